//! The models of what limits a draw of credits: spend policies and postpaid terms; and the timestamps of entities.

const arrange = @import("arrange.zig");
const calendar = @import("calendar.zig");
const flag_models = @import("flag_models.zig");
const image = @import("image.zig");
const names = @import("names.zig");

const Field = flag_models.Field;
const List = image.List;
const Optional = image.Optional;
const Text = image.Text;

/// An RFC 3339 text, of which only the instant is kept; unreadable is as good as absent.
pub const Moment = extern struct {
    is_readable: bool = false,
    instant: calendar.Instant = .{ .seconds = 0, .nanos = 0 },

    pub const shape = image.Shape.moment;

    pub fn get(self: Moment) ?calendar.Instant {
        return if (self.is_readable) self.instant else null;
    }
};

/// An RFC 3339 text that is also echoed.
pub const DatedText = extern struct {
    text: Text = .{},
    moment: Moment = .{},

    pub const shape = image.Shape.dated_text;
};

/// A name that is echoed as it was given, and means something if it is one of a set.
pub fn Named(comptime Names: type) type {
    return extern struct {
        text: Text = .{},
        name: Names = .none,

        pub const shape = image.Shape.named;
        pub const Meaning = Names;
    };
}

pub const Window = extern struct {
    unit: Text = .{},
    count: Optional(i64) = .{},

    pub const shape = image.Shape.model;
    pub const fields = [_]Field{
        .{ .name = "unit", .need = .defaulted },
        .{ .name = "count", .need = .optional },
    };
};

pub const SpendPolicy = extern struct {
    id: Text = .{},
    credit_id: Text = .{},
    kind: Named(names.PolicyKind) = .{},
    scope: names.Scope = .none,
    company_id: Text = .{},
    label: Text = .{},
    limit: Optional(f64) = .{},
    consumed: f64 = 0,
    window: Optional(Window) = .{},
    resets_at: DatedText = .{},

    pub const shape = image.Shape.model;
    pub const fields = [_]Field{
        .{ .name = "id", .need = .defaulted },
        .{ .name = "credit_id", .need = .defaulted },
        .{ .name = "kind", .need = .defaulted },
        .{ .name = "scope", .need = .defaulted },
        .{ .name = "company_id", .need = .optional },
        .{ .name = "label", .need = .optional },
        .{ .name = "limit", .need = .optional },
        .{ .name = "consumed", .need = .defaulted },
        .{ .name = "window", .need = .optional },
        .{ .name = "resets_at", .need = .optional },
    };
};

pub const SpendPolicies = List(SpendPolicy, arrange.AsGiven);

pub const Postpaid = extern struct {
    overdraft_limit: Optional(f64) = .{},

    pub const shape = image.Shape.model;
    pub const fields = [_]Field{.{ .name = "overdraft_limit", .need = .optional }};
};
