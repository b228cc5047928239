//! One check: the steps from a question to the answer block.

const std = @import("std");
const answers = @import("answer.zig");
const conditions = @import("conditions.zig");
const credits = @import("credits.zig");
const flag_models = @import("flag_models.zig");
const names = @import("names.zig");
const pools = @import("pool.zig");
const questions = @import("question.zig");
const usages = @import("usage.zig");

const Breach = credits.Breach;
const Candidate = pools.Candidate;
const Question = questions.Question;

const never: i64 = std.math.maxInt(i64);

/// Fill every field of `answer`. Nothing is allocated.
pub fn run(question: *const Question, now_millis: i64, answer: *answers.Block) void {
    answer.* = startOf(question, now_millis);
    if (fault(question)) |outcome| {
        answer.outcome = outcome;
        return;
    }
    if (question.flag.root.id.len == 0) {
        answer.outcome = .flag_without_id;
        return;
    }
    if (question.company) |company| {
        const slot = questions.entitlementSlot(company, question.flag.base, question.flag.root.key);
        answer.entitlement_slot = if (slot) |found| @intCast(found) else answers.none;
    }
    answer.horizon_millis = policyHorizon(question);
    decide(question, answer);
}

fn startOf(question: *const Question, now_millis: i64) answers.Block {
    return .{
        .value = question.flag.root.default_value,
        .outcome = .no_rule_held,
        .rule_type = .none,
        .parts = .{},
        .flag = question.flag.handle,
        .company = if (question.company) |company| company.handle else 0,
        .user = if (question.user) |user| user.handle else 0,
        .options = if (question.options) |options| options.handle else 0,
        .rule_owner = 0,
        .rule_slot = answers.none,
        .entitlement_slot = answers.none,
        .usage = 0,
        .allocation = 0,
        .reset_seconds = 0,
        .reset_nanos = 0,
        .period = .none,
        .horizon_millis = never,
        .policy_owner = 0,
        .policy_slot = answers.none,
        .policy_cost = 0,
        .now_millis = now_millis,
    };
}

/// Quantities that no caller can mean.
fn fault(question: *const Question) ?answers.Outcome {
    const options = question.options orelse return null;
    const event_quantity = if (options.root.event_usage.get()) |event| event.quantity else 0;
    if (question.usage() < 0 or event_quantity < 0) return .negative_usage;
    for (options.root.credit_cost.items(options.base)) |cost| {
        if (cost.value < 0) return .negative_credit_cost;
    }
    return null;
}

fn policyHorizon(question: *const Question) i64 {
    var horizon = never;
    if (question.company) |company| {
        horizon = credits.nextReset(question, company.base, company.root.credit_spend_policies);
    }
    if (question.user) |user| {
        horizon = @min(horizon, credits.nextReset(question, user.base, user.root.credit_spend_policies));
    }
    return horizon;
}

fn decide(question: *const Question, answer: *answers.Block) void {
    var pool = pools.Pool.of(question);
    var first_breach: ?Breach = null;
    while (pool.next()) |candidate| {
        var breach: ?Breach = null;
        if (holds(question, candidate, &breach)) {
            putRule(question, candidate, answer);
            const rule_type = candidate.rule.rule_type;
            if (rule_type == .default) return putBreach(first_breach, answer);
            if (rule_type.isUsageExceeded()) return putBreach(breach, answer);
            return;
        }
        if (first_breach == null) first_breach = breach;
    }
    putBreach(first_breach, answer);
}

fn holds(question: *const Question, candidate: Candidate, breach: *?Breach) bool {
    const rule = candidate.rule;
    if (rule.id.len == 0) return false;
    if (rule.rule_type == .global_override or rule.rule_type == .default) return true;
    return meets(question, candidate, breach) catch false;
}

/// Every condition, and of every group at least one. Stops at the first that fails.
fn meets(question: *const Question, candidate: Candidate, breach: *?Breach) conditions.Fault!bool {
    const base = candidate.base;
    for (candidate.rule.conditions.items(base)) |*condition| {
        if (!try conditions.holds(question, base, condition, breach)) return false;
    }
    for (candidate.rule.condition_groups.items(base)) |group| {
        const holds_one = for (group.conditions.items(base)) |*condition| {
            if (try conditions.holds(question, base, condition, breach)) break true;
        } else false;
        if (!holds_one) return false;
    }
    return true;
}

fn putRule(question: *const Question, held: Candidate, answer: *answers.Block) void {
    answer.value = held.rule.value;
    answer.outcome = .rule_held;
    answer.rule_type = held.rule.rule_type;
    answer.rule_owner = held.owner;
    answer.rule_slot = @intCast(held.slot);
    const usage = usages.of(question, held) orelse return;
    answer.parts.usage = true;
    answer.parts.event = usage.period != .none;
    answer.usage = usage.used;
    answer.allocation = usage.allocation;
    answer.period = usage.period;
    const reset = usage.reset orelse return;
    answer.parts.reset = true;
    answer.reset_seconds = reset.seconds;
    answer.reset_nanos = reset.nanos;
    if (reset.isAfter(question.now)) answer.horizon_millis = @min(answer.horizon_millis, reset.reachedAtMillis());
}

/// A denial is explained by the policy that caused it.
fn putBreach(breach: ?Breach, answer: *answers.Block) void {
    const found = breach orelse return;
    if (answer.value) return;
    answer.outcome = .policy_breached;
    answer.parts.policy = true;
    answer.policy_owner = found.owner;
    answer.policy_slot = @intCast(found.slot);
    answer.policy_cost = found.cost;
}
