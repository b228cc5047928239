//! The answer block: what one check found, at a fixed address, laid out for the host.

const names = @import("names.zig");

/// Where the reason comes from.
pub const Outcome = enum(u8) {
    no_rule_held,
    rule_held,
    policy_breached,
    flag_without_id,
    negative_usage,
    negative_credit_cost,
};

/// No slot, in the fields that hold one.
pub const none = -1;

/// Little-endian whatever the host is; see engine.zig for the offsets.
pub const Block = extern struct {
    value: bool,
    outcome: Outcome,
    rule_type: names.RuleType,
    parts: Parts,
    flag: i32,
    company: i32,
    user: i32,
    options: i32,
    rule_owner: i32,
    rule_slot: i32,
    entitlement_slot: i32,
    usage: i64,
    allocation: i64,
    reset_seconds: i64,
    reset_nanos: u32,
    period: names.Period,
    horizon_millis: i64,
    policy_owner: i32,
    policy_slot: i32,
    policy_cost: f64,
    now_millis: i64,
};

/// Which optional parts are set.
pub const Parts = packed struct(u8) {
    usage: bool = false,
    reset: bool = false,
    event: bool = false,
    policy: bool = false,
    unused: u4 = 0,
};
