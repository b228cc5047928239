//! The models of a company and a user, and of the options of one check.

const std = @import("std");
const arrange = @import("arrange.zig");
const credit_models = @import("credit_models.zig");
const flag_models = @import("flag_models.zig");
const image = @import("image.zig");
const names = @import("names.zig");
const values = @import("values.zig");

const Base = image.Base;
const Field = flag_models.Field;
const List = image.List;
const Map = image.Map;
const Optional = image.Optional;
const Text = image.Text;
const Order = std.math.Order;

pub const Trait = extern struct {
    value: values.Value = .{},
    trait_definition: flag_models.TraitDefinition = .{},

    pub const shape = image.Shape.model;
    pub const fields = [_]Field{
        .{ .name = "trait_definition", .need = .optional },
        .{ .name = "value", .need = .required },
    };
};

/// Traits are found by the id of their definition; the first of several counts.
const TraitOrder = struct {
    pub const keep = arrange.Keep.first;

    pub fn accepts(trait: *const Trait) bool {
        return trait.trait_definition.id.isGiven();
    }

    pub fn compare(base: Base, a: *const Trait, b: *const Trait) Order {
        return image.compare(base, a.trait_definition.id, base, b.trait_definition.id);
    }
};

pub const Traits = List(Trait, TraitOrder);

pub const Metric = extern struct {
    event_subtype: Text = .{},
    period: names.Period = .none,
    month_reset: names.MonthReset = .none,
    value: i64 = 0,

    pub const shape = image.Shape.model;
    pub const fields = [_]Field{
        .{ .name = "account_id", .need = .required, .as = image.Presence },
        .{ .name = "environment_id", .need = .required, .as = image.Presence },
        .{ .name = "company_id", .need = .required, .as = image.Presence },
        .{ .name = "event_subtype", .need = .required },
        .{ .name = "period", .need = .required },
        .{ .name = "month_reset", .need = .required },
        .{ .name = "value", .need = .required },
        .{ .name = "created_at", .need = .required, .as = image.Presence },
        .{ .name = "valid_until", .need = .optional, .as = image.Presence },
    };
};

/// Metrics are found by event, period and reset; the first of several counts.
pub const MetricOrder = struct {
    pub const keep = arrange.Keep.first;

    pub fn compare(base: Base, a: *const Metric, b: *const Metric) Order {
        const by_event = image.compare(base, a.event_subtype, base, b.event_subtype);
        return if (by_event != .eq) by_event else comparePeriods(a.period, a.month_reset, b);
    }

    pub fn comparePeriods(period: names.Period, reset: names.MonthReset, metric: *const Metric) Order {
        const by_period = std.math.order(@backingInt(period), @backingInt(metric.period));
        if (by_period != .eq) return by_period;
        return std.math.order(@backingInt(reset), @backingInt(metric.month_reset));
    }
};

pub const Subscription = extern struct {
    period_start: credit_models.Moment = .{},
    period_end: credit_models.Moment = .{},

    pub const shape = image.Shape.model;
    pub const fields = [_]Field{
        .{ .name = "id", .need = .required, .as = image.Presence },
        .{ .name = "period_start", .need = .required },
        .{ .name = "period_end", .need = .required },
    };
};

pub const WarningTier = extern struct {
    key: Text = .{},
    value: i64 = 0,

    pub const shape = image.Shape.model;
    pub const fields = [_]Field{
        .{ .name = "key", .need = .required },
        .{ .name = "value", .need = .required },
    };
};

pub const Entitlement = extern struct {
    feature_id: Text = .{},
    feature_key: Text = .{},
    event_name: Text = .{},
    event_subtype: Text = .{},
    credit_id: Text = .{},
    metric_reset_at: Text = .{},
    quantity_rates: Map(f64, .drop) = .{},
    warning_tiers: List(WarningTier, arrange.AsGiven) = .{},
    allocation: Optional(i64) = .{},
    soft_limit: Optional(i64) = .{},
    usage: Optional(i64) = .{},
    consumption_rate: Optional(f64) = .{},
    credit_total: Optional(f64) = .{},
    credit_used: Optional(f64) = .{},
    credit_remaining: Optional(f64) = .{},
    credit_reserved: Optional(f64) = .{},
    credit_settled: Optional(f64) = .{},
    value_type: names.ValueType = .none,
    metric_period: names.Period = .none,
    month_reset: names.MonthReset = .none,

    pub const shape = image.Shape.model;
    pub const fields = [_]Field{
        .{ .name = "feature_id", .need = .required },
        .{ .name = "feature_key", .need = .required },
        .{ .name = "value_type", .need = .required },
        .{ .name = "allocation", .need = .optional },
        .{ .name = "soft_limit", .need = .optional },
        .{ .name = "usage", .need = .optional },
        .{ .name = "event_name", .need = .optional },
        .{ .name = "event_subtype", .need = .optional },
        .{ .name = "credit_id", .need = .optional },
        .{ .name = "metric_reset_at", .need = .optional },
        .{ .name = "metric_period", .need = .optional },
        .{ .name = "month_reset", .need = .optional },
        .{ .name = "consumption_rate", .need = .optional },
        .{ .name = "credit_total", .need = .optional },
        .{ .name = "credit_used", .need = .optional },
        .{ .name = "credit_remaining", .need = .optional },
        .{ .name = "credit_reserved", .need = .optional },
        .{ .name = "credit_settled", .need = .optional },
        .{ .name = "quantity_rates", .need = .optional },
        .{ .name = "warning_tiers", .need = .defaulted },
    };
};

/// Entitlements are found by feature key; the first of several counts.
const EntitlementOrder = struct {
    pub const keep = arrange.Keep.first;

    pub fn compare(base: Base, a: *const Entitlement, b: *const Entitlement) Order {
        return image.compare(base, a.feature_key, base, b.feature_key);
    }
};

pub const Company = extern struct {
    id: Text = .{},
    base_plan_id: Text = .{},
    plan_ids: flag_models.StringSet = .{},
    plan_version_ids: flag_models.StringSet = .{},
    billing_product_ids: flag_models.StringSet = .{},
    traits: Traits = .{},
    metrics: List(Metric, MetricOrder) = .{},
    rules: flag_models.EntityRules = .{},
    entitlements: List(Entitlement, EntitlementOrder) = .{},
    credit_spend_policies: credit_models.SpendPolicies = .{},
    credit_balances: Map(f64, .reject) = .{},
    credit_postpaid: Map(credit_models.Postpaid, .drop) = .{},
    subscription: Optional(Subscription) = .{},

    pub const shape = image.Shape.model;
    pub const fields = [_]Field{
        .{ .name = "id", .need = .required },
        .{ .name = "account_id", .need = .required, .as = image.Presence },
        .{ .name = "environment_id", .need = .required, .as = image.Presence },
        .{ .name = "base_plan_id", .need = .optional },
        .{ .name = "plan_ids", .need = .defaulted },
        .{ .name = "plan_version_ids", .need = .defaulted },
        .{ .name = "billing_product_ids", .need = .defaulted },
        .{ .name = "traits", .need = .defaulted },
        .{ .name = "metrics", .need = .defaulted },
        .{ .name = "rules", .need = .defaulted },
        .{ .name = "entitlements", .need = .defaulted },
        .{ .name = "credit_spend_policies", .need = .defaulted },
        .{ .name = "credit_balances", .need = .defaulted },
        .{ .name = "credit_postpaid", .need = .defaulted },
        .{ .name = "keys", .need = .defaulted, .as = Map(image.Presence, .reject) },
        .{ .name = "subscription", .need = .optional },
    };
};

pub const User = extern struct {
    id: Text = .{},
    traits: Traits = .{},
    rules: flag_models.EntityRules = .{},
    credit_spend_policies: credit_models.SpendPolicies = .{},

    pub const shape = image.Shape.model;
    pub const fields = [_]Field{
        .{ .name = "id", .need = .required },
        .{ .name = "account_id", .need = .required, .as = image.Presence },
        .{ .name = "environment_id", .need = .required, .as = image.Presence },
        .{ .name = "keys", .need = .defaulted, .as = Map(image.Presence, .reject) },
        .{ .name = "traits", .need = .defaulted },
        .{ .name = "rules", .need = .defaulted },
        .{ .name = "credit_spend_policies", .need = .defaulted },
    };
};

pub const EventUsage = extern struct {
    event_subtype: Text = .{},
    quantity: i64 = 0,

    pub const shape = image.Shape.model;
    pub const takes_camel_case = false;
    pub const fields = [_]Field{
        .{ .name = "event_subtype", .need = .required },
        .{ .name = "quantity", .need = .required },
    };
};

pub const Options = extern struct {
    usage: Optional(i64) = .{},
    event_usage: Optional(EventUsage) = .{},
    credit_cost: Map(f64, .reject) = .{},

    pub const shape = image.Shape.model;
    pub const takes_camel_case = false;
    pub const fields = [_]Field{
        .{ .name = "usage", .need = .optional },
        .{ .name = "event_usage", .need = .optional },
        .{ .name = "credit_cost", .need = .not_null },
    };
};
