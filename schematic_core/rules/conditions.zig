//! Whether one condition is true.

const credits = @import("credits.zig");
const flag_models = @import("flag_models.zig");
const image = @import("image.zig");
const names = @import("names.zig");
const questions = @import("question.zig");
const values = @import("values.zig");

const Base = image.Base;
const Condition = flag_models.Condition;
const Question = questions.Question;
const Text = image.Text;

/// A condition that makes its whole rule not hold, wherever it stands.
pub const Fault = error{Fault};

/// `base` is of the image the condition is in. A breached spend policy is put into `breach` if that is empty.
pub fn holds(
    question: *const Question,
    base: Base,
    condition: *const Condition,
    breach: *?credits.Breach,
) Fault!bool {
    if (!condition.id.is_filled) return false;
    if (condition.condition_type == .trait) return holdsForTrait(question, base, condition);
    if (condition.condition_type == .user) {
        const user = question.user orelse return false;
        return isAsAsked(condition, contains(base, condition.resource_ids, user.base, user.root.id));
    }
    const company = question.company orelse return false;
    const root = company.root;
    return switch (condition.condition_type) {
        .company => isAsAsked(condition, contains(base, condition.resource_ids, company.base, root.id)),
        .plan => isAsAsked(condition, intersects(base, condition.resource_ids, company.base, root.plan_ids)),
        .plan_version => isAsAsked(
            condition,
            intersects(base, condition.resource_ids, company.base, root.plan_version_ids),
        ),
        .billing_product => isAsAsked(
            condition,
            intersects(base, condition.resource_ids, company.base, root.billing_product_ids),
        ),
        .base_plan => holdsForBasePlan(base, condition, company.base, root.base_plan_id),
        .metric => holdsForMetric(question, base, condition),
        .credit => credits.holds(question, company, base, condition, breach),
        .user, .trait, .none => false,
    };
}

/// Membership conditions know `ne`; every other operator asks for membership.
fn isAsAsked(condition: *const Condition, is_member: bool) bool {
    return is_member != (condition.operator == .ne);
}

fn contains(set_base: Base, set: flag_models.StringSet, base: Base, text: Text) bool {
    const probe = questions.TextProbe{ .item_base = set_base, .base = base, .text = text };
    return image.search(Text, set.items(set_base), probe) != null;
}

fn intersects(base_a: Base, a: flag_models.StringSet, base_b: Base, b: flag_models.StringSet) bool {
    if (a.len < b.len) return intersects(base_b, b, base_a, a);
    for (b.items(base_b)) |text| {
        if (contains(base_a, a, base_b, text)) return true;
    }
    return false;
}

fn holdsForBasePlan(base: Base, condition: *const Condition, company_base: Base, plan: Text) bool {
    const is_member = plan.isGiven() and contains(base, condition.resource_ids, company_base, plan);
    return switch (condition.operator) {
        .eq => is_member,
        .ne => !is_member,
        .is_empty => !plan.isGiven(),
        .not_empty => plan.isGiven(),
        else => false,
    };
}

fn holdsForTrait(question: *const Question, base: Base, condition: *const Condition) bool {
    const definition = condition.trait_definition;
    if (!definition.id.isGiven()) return false;
    const traits = questions.traitsOf(question, definition.entity_type) orelse return false;
    var kind = if (definition.id.len == 0) .string else definition.comparable_type;
    var left = values.Operand{ .base = traits.base };
    if (definition.id.len > 0) {
        if (traits.find(base, definition.id)) |trait| {
            kind = trait.trait_definition.comparable_type;
            left.value = trait.value;
        }
    }
    if (kind == .int and question.usage() > 0) {
        left.value = values.Value.ofInteger((left.value.strictInteger() orelse 0) +% question.usage());
    }
    return values.holds(kind, condition.operator, left, rightOfTrait(traits, base, condition));
}

fn rightOfTrait(traits: questions.TraitsView, base: Base, condition: *const Condition) values.Operand {
    const comparison = condition.comparison_trait_definition.id;
    if (comparison.len == 0) return .{ .value = condition.trait_value, .base = base };
    const trait = traits.find(base, comparison) orelse return .{ .base = traits.base };
    return .{ .value = trait.value, .base = traits.base };
}

fn holdsForMetric(question: *const Question, base: Base, condition: *const Condition) Fault!bool {
    const company = question.company orelse return false;
    if (!condition.event_subtype.isGiven()) return false;
    const configured = condition.metric_value.get() orelse return error.Fault;
    const event_quantity = question.eventQuantity(base, condition.event_subtype);
    const ahead = if (event_quantity > 0) event_quantity else question.usage();
    const left = questions.metricValue(company, base, condition) +% ahead;
    return values.holdsForInteger(condition.operator, left, rightOfMetric(question, base, condition, configured));
}

fn rightOfMetric(question: *const Question, base: Base, condition: *const Condition, configured: i64) i64 {
    const comparison = condition.comparison_trait_definition.id;
    if (!comparison.isGiven()) return configured;
    const traits = questions.traitsOfCompany(question) orelse return 0;
    return if (comparison.len == 0) 0 else traits.integer(base, comparison) orelse 0;
}
