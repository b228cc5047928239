//! The usage fields of an answer: how much is used and allowed, and when it starts anew.

const calendar = @import("calendar.zig");
const flag_models = @import("flag_models.zig");
const names = @import("names.zig");
const periods = @import("periods.zig");
const pool = @import("pool.zig");
const questions = @import("question.zig");

const Condition = flag_models.Condition;

pub const Usage = struct {
    used: i64,
    allocation: i64,
    /// Of a metric; `none` for a trait.
    period: names.Period = .none,
    reset: ?calendar.Instant = null,
};

/// Null when the rule that held says nothing about usage.
pub fn of(question: *const questions.Question, held: pool.Candidate) ?Usage {
    if (!held.rule.rule_type.isAboutEntitlement()) return null;
    const company = question.company orelse return null;
    const traits = questions.TraitsView{ .base = company.base, .traits = company.root.traits };
    const condition = decidingCondition(held) orelse return null;
    var usage = if (condition.condition_type == .metric) Usage{
        .used = questions.metricValue(company, held.base, condition),
        .allocation = condition.metric_value.get() orelse 0,
        .period = questions.periodOf(condition),
        .reset = periods.nextStart(
            condition.metric_period,
            condition.metric_period_month_reset,
            company.root.subscription.get(),
            question.now,
        ),
    } else Usage{
        .used = traits.integer(held.base, condition.trait_definition.id) orelse 0,
        .allocation = condition.trait_value.strictInteger() orelse 0,
    };
    const comparison = condition.comparison_trait_definition.id;
    if (comparison.isGiven()) {
        usage.allocation = traits.integer(held.base, comparison) orelse usage.allocation;
    }
    return usage;
}

/// The rule's first condition on a metric or trait; those in groups do not count.
pub fn decidingCondition(held: pool.Candidate) ?*const Condition {
    for (held.rule.conditions.items(held.base)) |*condition| {
        if (condition.condition_type == .metric or condition.condition_type == .trait) return condition;
    }
    return null;
}
