//! One question: the held entities it is about, its options and its clock; and finding things in those entities.

const std = @import("std");
const calendar = @import("calendar.zig");
const entity_models = @import("entity_models.zig");
const flag_models = @import("flag_models.zig");
const image = @import("image.zig");
const names = @import("names.zig");
const values = @import("values.zig");

const Base = image.Base;
const Order = std.math.Order;
const Text = image.Text;

/// An entity inside its image.
pub fn View(comptime Root: type) type {
    return struct {
        base: Base,
        root: *const Root,
        handle: i32,

        pub fn of(base: Base, handle: i32) @This() {
            return .{ .base = base, .root = @ptrCast(base), .handle = handle };
        }
    };
}

pub const Question = struct {
    flag: View(flag_models.Flag),
    company: ?View(entity_models.Company),
    user: ?View(entity_models.User),
    options: ?View(entity_models.Options),
    now: calendar.Instant,

    /// Units about to be used, 0 when not given.
    pub fn usage(self: *const Question) i64 {
        const options = self.options orelse return 0;
        return options.root.usage.get() orelse 0;
    }

    /// Events about to happen, 0 when not given or of another kind.
    pub fn eventQuantity(self: *const Question, base: Base, event_subtype: Text) i64 {
        const options = self.options orelse return 0;
        const event = options.root.event_usage.get() orelse return 0;
        return if (image.same(options.base, event.event_subtype, base, event_subtype)) event.quantity else 0;
    }

    pub fn creditCost(self: *const Question, base: Base, credit_id: Text) ?f64 {
        const options = self.options orelse return null;
        const cost = options.root.credit_cost.find(options.base, credit_id, base) orelse return null;
        return cost.*;
    }
};

/// A text looked for among items of another image.
pub const TextProbe = struct {
    item_base: Base,
    base: Base,
    text: Text,

    pub fn against(self: TextProbe, item: *const Text) Order {
        return image.compare(self.item_base, item.*, self.base, self.text);
    }
};

const TraitProbe = struct {
    ids: TextProbe,

    pub fn against(self: TraitProbe, item: *const entity_models.Trait) Order {
        return self.ids.against(&item.trait_definition.id);
    }
};

const MetricProbe = struct {
    events: TextProbe,
    period: names.Period,
    reset: names.MonthReset,

    pub fn against(self: MetricProbe, item: *const entity_models.Metric) Order {
        const by_event = self.events.against(&item.event_subtype);
        if (by_event != .eq) return by_event;
        return entity_models.MetricOrder.comparePeriods(self.period, self.reset, item).invert();
    }
};

const EntitlementProbe = struct {
    keys: TextProbe,

    pub fn against(self: EntitlementProbe, item: *const entity_models.Entitlement) Order {
        return self.keys.against(&item.feature_key);
    }
};

/// The traits of a company or user, beside the image they are in.
pub const TraitsView = struct {
    base: Base,
    traits: entity_models.Traits,

    pub fn find(self: TraitsView, base: Base, id: Text) ?*const entity_models.Trait {
        const items = self.traits.items(self.base);
        const probe = TraitProbe{ .ids = .{ .item_base = self.base, .base = base, .text = id } };
        return &items[image.search(entity_models.Trait, items, probe) orelse return null];
    }

    /// The strict integer of a trait. Null when the trait is missing or its value is none.
    pub fn integer(self: TraitsView, base: Base, id: Text) ?i64 {
        const trait = self.find(base, id) orelse return null;
        return trait.value.strictInteger();
    }
};

pub fn traitsOfCompany(question: *const Question) ?TraitsView {
    const company = question.company orelse return null;
    return .{ .base = company.base, .traits = company.root.traits };
}

pub fn traitsOf(question: *const Question, kind: names.EntityType) ?TraitsView {
    if (kind == .company) return traitsOfCompany(question);
    const user = question.user orelse return null;
    return .{ .base = user.base, .traits = user.root.traits };
}

/// The company's count for a metric condition; 0 when the company has none.
pub fn metricValue(company: View(entity_models.Company), base: Base, condition: *const flag_models.Condition) i64 {
    const items = company.root.metrics.items(company.base);
    const probe = MetricProbe{
        .events = .{ .item_base = company.base, .base = base, .text = condition.event_subtype },
        .period = periodOf(condition),
        .reset = if (condition.metric_period_month_reset == .none)
            .first_of_month
        else
            condition.metric_period_month_reset,
    };
    return items[image.search(entity_models.Metric, items, probe) orelse return 0].value;
}

pub fn periodOf(condition: *const flag_models.Condition) names.Period {
    return if (condition.metric_period == .none) .all_time else condition.metric_period;
}

/// The place of the company's entitlement for a feature key.
pub fn entitlementSlot(company: View(entity_models.Company), base: Base, key: Text) ?usize {
    const items = company.root.entitlements.items(company.base);
    const probe = EntitlementProbe{ .keys = .{ .item_base = company.base, .base = base, .text = key } };
    return image.search(entity_models.Entitlement, items, probe);
}
