//! The texts that belong to an answer: reasons, ids and echoes, written only when the host asks for them.

const std = @import("std");
const answers = @import("answer.zig");
const calendar = @import("calendar.zig");
const credits = @import("credits.zig");
const credit_models = @import("credit_models.zig");
const entity_models = @import("entity_models.zig");
const failure = @import("failure.zig");
const flag_models = @import("flag_models.zig");
const handles = @import("handles.zig");
const image = @import("image.zig");
const pools = @import("pool.zig");
const scratch = @import("scratch.zig");
const usages = @import("usage.zig");
const Output = @import("output.zig").Output;

/// What the host may ask for. Most are of an entity and a place in it; the rest say what they are of.
pub const Kind = enum(i32) {
    rule_reason,
    rule_id,
    /// The event whose metric decides a rule's usage fields.
    rule_event,
    entitlement,
    policy,
    /// Of the draw in the answer block.
    policy_reason,
    entity_id,
    flag_key,
    /// Of the answer block.
    reset_at,
    /// Of the error block.
    error_path,
};

const Error = error{ TooLarge, NotThere };

/// Write a text and give its length.
pub fn write(kind: i32, handle: i32, slot: i32, answer: *const answers.Block) Error!usize {
    if (kind < 0 or kind > @backingInt(Kind.error_path)) return error.NotThere;
    var out = Output{};
    switch (@as(Kind, @fromBackingInt(@intCast(kind)))) {
        .rule_reason => try putRuleReason(&out, try ruleAt(handle, slot)),
        .rule_id => {
            const found = try ruleAt(handle, slot);
            try out.put(found.rule.id.bytes(found.base));
        },
        .rule_event => {
            const found = try ruleAt(handle, slot);
            const condition = usages.decidingCondition(found) orelse return error.NotThere;
            try out.put(condition.event_subtype.bytes(found.base));
        },
        .entitlement => {
            const base = handles.get(.company, handle) orelse return error.NotThere;
            const company: *const entity_models.Company = @ptrCast(base);
            const found = try itemAt(entity_models.Entitlement, company.entitlements.items(base), slot);
            try out.putModel(entity_models.Entitlement, base, found);
        },
        .policy => {
            const found = try policyAt(handle, slot);
            try out.putModel(credit_models.SpendPolicy, found.base, found.policy);
        },
        .policy_reason => try putPolicyReason(&out, try policyAt(handle, slot), answer.policy_cost),
        .entity_id => try putEntityId(&out, handle),
        .flag_key => {
            const base = handles.get(.flag, handle) orelse return error.NotThere;
            const flag: *const flag_models.Flag = @ptrCast(base);
            try out.put(flag.key.bytes(base));
        },
        .reset_at => try putInstant(&out, .{ .seconds = answer.reset_seconds, .nanos = answer.reset_nanos }),
        .error_path => return failure.writePath(scratch.text_out),
    }
    return out.used;
}

fn itemAt(comptime T: type, items: []const T, slot: i32) Error!*const T {
    if (slot < 0 or slot >= items.len) return error.NotThere;
    return &items[@intCast(slot)];
}

fn ruleAt(handle: i32, slot: i32) Error!pools.Candidate {
    const kind = handles.kindOf(handle);
    const base = handles.get(kind, handle) orelse return error.NotThere;
    const rules = switch (kind) {
        .flag => @as(*const flag_models.Flag, @ptrCast(base)).rules.items(base),
        .company => @as(*const entity_models.Company, @ptrCast(base)).rules.items(base),
        .user => @as(*const entity_models.User, @ptrCast(base)).rules.items(base),
        .options, .free => return error.NotThere,
    };
    const rule = try itemAt(flag_models.Rule, rules, slot);
    return .{ .rule = rule, .base = base, .owner = handle, .slot = @intCast(slot) };
}

const FoundPolicy = struct { base: image.Base, policy: *const credit_models.SpendPolicy };

fn policyAt(handle: i32, slot: i32) Error!FoundPolicy {
    const kind = handles.kindOf(handle);
    const base = handles.get(kind, handle) orelse return error.NotThere;
    const policies = switch (kind) {
        .company => @as(*const entity_models.Company, @ptrCast(base)).credit_spend_policies,
        .user => @as(*const entity_models.User, @ptrCast(base)).credit_spend_policies,
        .flag, .options, .free => return error.NotThere,
    };
    return .{ .base = base, .policy = try itemAt(credit_models.SpendPolicy, policies.items(base), slot) };
}

fn putEntityId(out: *Output, handle: i32) Error!void {
    const kind = handles.kindOf(handle);
    const base = handles.get(kind, handle) orelse return error.NotThere;
    const id = switch (kind) {
        .flag => @as(*const flag_models.Flag, @ptrCast(base)).id,
        .company => @as(*const entity_models.Company, @ptrCast(base)).id,
        .user => @as(*const entity_models.User, @ptrCast(base)).id,
        .options, .free => return error.NotThere,
    };
    try out.put(id.bytes(base));
}

fn putRuleReason(out: *Output, found: pools.Candidate) Error!void {
    try out.put("Matched ");
    try out.putWords(@tagName(found.rule.rule_type));
    try out.put(" rule \"");
    try out.put(found.rule.name.bytes(found.base));
    try out.put("\" (");
    try out.put(found.rule.id.bytes(found.base));
    try out.put(")");
}

fn putPolicyReason(out: *Output, found: FoundPolicy, cost: f64) Error!void {
    const policy = found.policy;
    const who = if (policy.scope == .none) "spend" else @tagName(policy.scope);
    try out.put("A draw of ");
    try putCredits(out, cost);
    try out.put(" exceeds the ");
    try out.put(who);
    try out.put(" limit of ");
    try putCredits(out, policy.limit.get() orelse return error.NotThere);
    try out.put(" per ");
    try putSpan(out, found);
}

fn putCredits(out: *Output, amount: f64) Error!void {
    try out.putDecimal(amount);
    try out.put(if (amount == 1) " credit" else " credits");
}

/// `request`, `day`, `2 days`, or `period` when nothing better is known.
fn putSpan(out: *Output, found: FoundPolicy) Error!void {
    if (found.policy.kind.name == .per_draw) return out.put("request");
    const window = found.policy.window.get() orelse return out.put("period");
    if (window.unit.len == 0) return out.put("period");
    const count = window.count.get() orelse 1;
    if (count != 1) try out.print("{d} ", .{count});
    try out.putWords(window.unit.bytes(found.base));
    if (count != 1) try out.put("s");
}

/// RFC 3339 with as many groups of three decimals as there are.
fn putInstant(out: *Output, instant: calendar.Instant) Error!void {
    const day = calendar.dayOf(instant);
    const date = calendar.dateOf(day);
    const second_of_day: u64 = @intCast(instant.seconds - day * calendar.seconds_per_day);
    const is_leap = instant.nanos >= std.time.ns_per_s;
    const nanos = if (is_leap) instant.nanos - std.time.ns_per_s else instant.nanos;
    const year: u64 = @abs(date.year);
    if (date.year < 0) try out.put("-") else if (date.year > 9999) try out.put("+");
    try out.print("{d:0>4}-{d:0>2}-{d:0>2}", .{ year, date.month, date.day });
    try out.print("T{d:0>2}:{d:0>2}:{d:0>2}", .{
        second_of_day / 3600,
        second_of_day / 60 % 60,
        second_of_day % 60 + @intFromBool(is_leap),
    });
    if (nanos % std.time.ns_per_us != 0) {
        try out.print(".{d:0>9}", .{nanos});
    } else if (nanos % std.time.ns_per_ms != 0) {
        try out.print(".{d:0>6}", .{nanos / std.time.ns_per_us});
    } else if (nanos != 0) {
        try out.print(".{d:0>3}", .{nanos / std.time.ns_per_ms});
    }
    try out.put("+00:00");
}
