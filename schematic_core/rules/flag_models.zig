//! The models of a flag and what hangs on it: rules, conditions, and the trait definitions they name.
//!
//! A model is a record as the image holds it, and a table of the fields a document may have. A field with `as` is
//! checked in that shape and dropped, or handed to `settle`; all others fill the record's field of the same name.

const std = @import("std");
const arrange = @import("arrange.zig");
const image = @import("image.zig");
const names = @import("names.zig");
const values = @import("values.zig");

const Base = image.Base;
const List = image.List;
const Optional = image.Optional;
const Text = image.Text;
const Order = std.math.Order;

/// What a missing or null field does: reject the document, stay absent, or take the record's default; or the default
/// when missing, but reject when null.
pub const Need = enum { required, optional, defaulted, not_null };

pub const Field = struct {
    name: []const u8,
    need: Need,
    /// The shape of a field that is checked without being kept.
    as: type = void,
};

/// A list of strings that is only ever searched.
pub const StringSet = List(Text, SetOrder);

pub const SetOrder = struct {
    pub const keep = arrange.Keep.first;

    pub fn compare(base: Base, a: *const Text, b: *const Text) Order {
        return image.compare(base, a.*, base, b.*);
    }
};

pub const TraitDefinition = extern struct {
    id: Text = .{},
    comparable_type: names.ComparableType = .none,
    entity_type: names.EntityType = .none,

    pub const shape = image.Shape.model;
    pub const fields = [_]Field{
        .{ .name = "id", .need = .required },
        .{ .name = "comparable_type", .need = .required },
        .{ .name = "entity_type", .need = .required },
    };
};

pub const Condition = extern struct {
    id: image.Presence = .{},
    condition_type: names.ConditionType = .none,
    operator: names.Operator = .none,
    metric_period: names.Period = .none,
    metric_period_month_reset: names.MonthReset = .none,
    resource_ids: StringSet = .{},
    event_subtype: Text = .{},
    credit_id: Text = .{},
    metric_value: Optional(i64) = .{},
    consumption_rate: f64 = 1,
    trait_value: values.Value = .{},
    trait_definition: TraitDefinition = .{},
    comparison_trait_definition: TraitDefinition = .{},

    pub const shape = image.Shape.model;
    pub const fields = [_]Field{
        .{ .name = "id", .need = .required },
        .{ .name = "account_id", .need = .required, .as = image.Presence },
        .{ .name = "environment_id", .need = .required, .as = image.Presence },
        .{ .name = "condition_type", .need = .required },
        .{ .name = "operator", .need = .required },
        .{ .name = "resource_ids", .need = .defaulted },
        .{ .name = "event_subtype", .need = .optional },
        .{ .name = "metric_value", .need = .optional },
        .{ .name = "metric_period", .need = .optional },
        .{ .name = "metric_period_month_reset", .need = .optional },
        .{ .name = "credit_id", .need = .optional },
        .{ .name = "consumption_rate", .need = .optional },
        .{ .name = "quantity_rates", .need = .optional, .as = image.Map(f64, .drop) },
        .{ .name = "trait_definition", .need = .optional },
        .{ .name = "trait_value", .need = .required },
        .{ .name = "comparison_trait_definition", .need = .optional },
    };
};

pub const ConditionGroup = extern struct {
    conditions: List(Condition, arrange.AsGiven) = .{},

    pub const shape = image.Shape.model;
    pub const fields = [_]Field{.{ .name = "conditions", .need = .defaulted }};
};

pub const Rule = extern struct {
    id: Text = .{},
    name: Text = .{},
    flag_id: Text = .{},
    conditions: List(Condition, arrange.AsGiven) = .{},
    condition_groups: List(ConditionGroup, arrange.AsGiven) = .{},
    /// Smaller comes first among rules of one type.
    rank: i64 = 0,
    priority: i64 = 0,
    rule_type: names.RuleType = .none,
    value: bool = false,

    pub const shape = image.Shape.model;
    pub const fields = [_]Field{
        .{ .name = "id", .need = .required },
        .{ .name = "account_id", .need = .required, .as = image.Presence },
        .{ .name = "environment_id", .need = .required, .as = image.Presence },
        .{ .name = "name", .need = .required },
        .{ .name = "rule_type", .need = .required },
        .{ .name = "priority", .need = .required },
        .{ .name = "value", .need = .required },
        .{ .name = "flag_id", .need = .optional },
        .{ .name = "conditions", .need = .defaulted },
        .{ .name = "condition_groups", .need = .defaulted },
    };

    pub fn settle(self: *Rule) void {
        if (self.rule_type == .standard) self.rank = self.priority;
        if (self.rule_type.isAboutEntitlement()) self.rank = @intFromBool(!self.value);
    }

    /// The order of evaluation, ties apart.
    pub fn order(a: *const Rule, b: *const Rule) Order {
        const by_type = std.math.order(@backingInt(a.rule_type), @backingInt(b.rule_type));
        return if (by_type != .eq) by_type else std.math.order(a.rank, b.rank);
    }
};

/// A flag's own rules: all of them, whatever flag they name.
const FlagRuleOrder = struct {
    pub const keep = arrange.Keep.all;

    pub fn compare(_: Base, a: *const Rule, b: *const Rule) Order {
        return a.order(b);
    }
};

/// The rules of a company or user: those of one flag lie together.
pub const EntityRuleOrder = struct {
    pub const keep = arrange.Keep.all;

    pub fn accepts(rule: *const Rule) bool {
        return rule.flag_id.isGiven();
    }

    pub fn compare(base: Base, a: *const Rule, b: *const Rule) Order {
        const by_flag = image.compare(base, a.flag_id, base, b.flag_id);
        return if (by_flag != .eq) by_flag else a.order(b);
    }
};

pub const EntityRules = List(Rule, EntityRuleOrder);

pub const Flag = extern struct {
    id: Text = .{},
    key: Text = .{},
    rules: List(Rule, FlagRuleOrder) = .{},
    default_value: bool = false,

    pub const shape = image.Shape.model;
    pub const fields = [_]Field{
        .{ .name = "id", .need = .required },
        .{ .name = "account_id", .need = .required, .as = image.Presence },
        .{ .name = "environment_id", .need = .required, .as = image.Presence },
        .{ .name = "key", .need = .required },
        .{ .name = "default_value", .need = .required },
        .{ .name = "rules", .need = .defaulted },
    };
};
