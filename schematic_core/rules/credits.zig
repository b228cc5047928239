//! Credit conditions: what a draw costs, whether the company can pay it, and whether a spend policy forbids it.

const std = @import("std");
const credit_models = @import("credit_models.zig");
const entity_models = @import("entity_models.zig");
const flag_models = @import("flag_models.zig");
const image = @import("image.zig");
const questions = @import("question.zig");

const Base = image.Base;
const Condition = flag_models.Condition;
const Question = questions.Question;
const SpendPolicy = credit_models.SpendPolicy;

/// A spend policy that a draw went over.
pub const Breach = struct {
    /// Of the company or user whose policy it is.
    owner: i32,
    slot: u32,
    cost: f64,
};

const Cost = struct {
    amount: f64,
    /// Costs that callers state are paid even when nothing is left.
    is_stated: bool = false,
};

pub fn holds(
    question: *const Question,
    company: questions.View(entity_models.Company),
    base: Base,
    condition: *const Condition,
    breach: *?Breach,
) bool {
    if (!condition.credit_id.isGiven()) return false;
    const cost = costOf(question, base, condition);
    const found = findBreach(question, company, base, condition.credit_id, cost.amount);
    if (breach.* == null) breach.* = found;
    const is_funded = found == null and isCovered(company, base, condition.credit_id, cost);
    const asks_for_shortage = condition.operator == .gt or condition.operator == .gte;
    return is_funded != asks_for_shortage;
}

fn costOf(question: *const Question, base: Base, condition: *const Condition) Cost {
    if (question.creditCost(base, condition.credit_id)) |stated| return .{ .amount = stated, .is_stated = true };
    const rate = condition.consumption_rate;
    if (condition.event_subtype.isGiven()) {
        const quantity = question.eventQuantity(base, condition.event_subtype);
        // A sum, as that of more than one quantity would be: it is never -0.0.
        if (quantity > 0) return .{ .amount = 0.0 + @as(f64, @floatFromInt(quantity)) * rate };
    }
    const usage = question.usage();
    return .{ .amount = if (usage > 0) @as(f64, @floatFromInt(usage)) * rate else rate };
}

fn isCovered(
    company: questions.View(entity_models.Company),
    base: Base,
    credit_id: image.Text,
    cost: Cost,
) bool {
    const balance = company.root.credit_balances.find(company.base, credit_id, base);
    var reach = if (balance) |amount| amount.* else 0;
    if (company.root.credit_postpaid.find(company.base, credit_id, base)) |postpaid| {
        reach += postpaid.overdraft_limit.get() orelse return true;
    }
    return if (cost.amount == 0 and !cost.is_stated) reach > 0 else reach >= cost.amount;
}

fn findBreach(
    question: *const Question,
    company: questions.View(entity_models.Company),
    base: Base,
    credit_id: image.Text,
    cost: f64,
) ?Breach {
    for (company.root.credit_spend_policies.items(company.base), 0..) |*policy, slot| {
        if (policy.scope == .user) continue;
        if (!image.same(company.base, policy.credit_id, base, credit_id)) continue;
        if (isBreached(question, policy, cost)) return .{ .owner = company.handle, .slot = @intCast(slot), .cost = cost };
    }
    const user = question.user orelse return null;
    for (user.root.credit_spend_policies.items(user.base), 0..) |*policy, slot| {
        if (policy.scope == .company) continue;
        if (!image.same(user.base, policy.credit_id, base, credit_id)) continue;
        const is_elsewhere = policy.company_id.isGiven() and
            !image.same(user.base, policy.company_id, company.base, company.root.id);
        if (is_elsewhere) continue;
        if (isBreached(question, policy, cost)) return .{ .owner = user.handle, .slot = @intCast(slot), .cost = cost };
    }
    return null;
}

fn isBreached(question: *const Question, policy: *const SpendPolicy, cost: f64) bool {
    const limit = policy.limit.get() orelse return false;
    return switch (policy.kind.name) {
        .none => false,
        .per_draw => cost > limit,
        .window => spentIn(question, policy) + cost > limit,
    };
}

/// What counts against a window: nothing once it has been reset.
fn spentIn(question: *const Question, policy: *const SpendPolicy) f64 {
    const resets_at = policy.resets_at.moment.get() orelse return policy.consumed;
    return if (resets_at.isAfter(question.now)) policy.consumed else 0;
}

/// The first whole millisecond after the question's clock at which some policy of a list starts a new window.
pub fn nextReset(question: *const Question, base: Base, policies: credit_models.SpendPolicies) i64 {
    var next: i64 = std.math.maxInt(i64);
    for (policies.items(base)) |*policy| {
        if (policy.kind.name != .window or !policy.limit.is_given) continue;
        const resets_at = policy.resets_at.moment.get() orelse continue;
        if (resets_at.isAfter(question.now)) next = @min(next, resets_at.reachedAtMillis());
    }
    return next;
}
