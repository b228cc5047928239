//! The closed sets of names in the models. Tag `none` stands for absent, and for unknown where that is accepted.

const std = @import("std");

/// In the order of evaluation.
pub const RuleType = enum(u8) {
    none,
    global_override,
    company_override,
    plan_entitlement,
    company_override_usage_exceeded,
    plan_entitlement_usage_exceeded,
    standard,
    default,

    pub const rejects_unknown = true;

    pub fn isUsageExceeded(self: RuleType) bool {
        return self == .company_override_usage_exceeded or self == .plan_entitlement_usage_exceeded;
    }

    /// Whether rules of this type come with usage fields, and rules that allow come first.
    pub fn isAboutEntitlement(self: RuleType) bool {
        return self == .company_override or self == .plan_entitlement or self.isUsageExceeded();
    }
};

pub const ConditionType = enum(u8) {
    none,
    company,
    user,
    plan,
    plan_version,
    base_plan,
    billing_product,
    metric,
    trait,
    credit,

    pub const rejects_unknown = false;
};

pub const Operator = enum(u8) {
    none,
    eq,
    ne,
    gt,
    lt,
    gte,
    lte,
    is_empty,
    not_empty,

    pub const rejects_unknown = false;
};

pub const Period = enum(u8) {
    none,
    all_time,
    current_day,
    current_week,
    current_month,

    pub const rejects_unknown = true;
};

pub const MonthReset = enum(u8) {
    none,
    first_of_month,
    billing_cycle,

    pub const rejects_unknown = true;
};

pub const ComparableType = enum(u8) {
    none,
    bool,
    int,
    date,
    string,

    pub const rejects_unknown = true;
};

pub const EntityType = enum(u8) {
    none,
    company,
    user,

    pub const rejects_unknown = true;
};

pub const ValueType = enum(u8) {
    none,
    boolean,
    credit,
    numeric,
    trait,
    unknown,
    unlimited,

    pub const rejects_unknown = true;
};

/// Whom a spend policy limits.
pub const Scope = enum(u8) {
    none,
    company,
    user,
    group,

    pub const rejects_unknown = false;
    /// How `none` is echoed.
    pub const unknown_name = "Unknown";
};

pub const PolicyKind = enum(u8) {
    none,
    per_draw,
    window,

    pub const rejects_unknown = false;
};

/// The tag that `text` names, null if none does.
pub fn find(comptime Names: type, text: []const u8) ?Names {
    const tag_names = @typeInfo(Names).@"enum".field_names;
    inline for (tag_names[1..], 1..) |name, tag| {
        if (std.mem.eql(u8, name, text)) return @fromBackingInt(@intCast(tag));
    }
    return null;
}
