//! Trait values: what a text means as a number or date, and how two of them compare.
//!
//! The meaning is worked out when an entity arrives. One text has one meaning at most: no date looks like a number.

const std = @import("std");
const calendar = @import("calendar.zig");
const dates = @import("dates.zig");
const image = @import("image.zig");
const numbers = @import("numbers.zig");
const names = @import("names.zig");

const Instant = calendar.Instant;
const Operator = names.Operator;
const Order = std.math.Order;

const Meaning = enum(u8) { none, integer, number, date };

pub const Value = extern struct {
    text: image.Text = .{},
    meaning: Meaning = .none,
    /// Of a date.
    nanos: u32 = 0,
    /// An integer, the bits of a double, or a date's seconds.
    payload: i64 = 0,

    pub const shape = image.Shape.value;

    pub fn of(text: image.Text, bytes: []const u8) Value {
        if (numbers.strictInteger(bytes)) |integer| {
            return .{ .text = text, .meaning = .integer, .payload = integer };
        }
        if (numbers.looseNumber(bytes)) |double| {
            return .{ .text = text, .meaning = .number, .payload = @bitCast(double) };
        }
        if (dates.ofTrait(bytes)) |instant| {
            return .{ .text = text, .meaning = .date, .payload = instant.seconds, .nanos = instant.nanos };
        }
        return .{ .text = text };
    }

    pub fn ofInteger(integer: i64) Value {
        return .{ .meaning = .integer, .payload = integer };
    }

    pub fn strictInteger(self: Value) ?i64 {
        return if (self.meaning == .integer) self.payload else null;
    }

    fn number(self: Value) f64 {
        return switch (self.meaning) {
            .integer => @floatFromInt(self.payload),
            .number => @bitCast(self.payload),
            else => 0,
        };
    }

    fn date(self: Value) ?Instant {
        if (self.meaning != .date) return null;
        return .{ .seconds = self.payload, .nanos = self.nanos };
    }
};

/// A value beside the image its text lives in.
pub const Operand = struct {
    value: Value = .{},
    base: image.Base,

    fn bytes(self: Operand) []const u8 {
        return self.value.text.bytes(self.base);
    }

    fn isTrue(self: Operand) bool {
        return std.mem.eql(u8, self.bytes(), "true") or std.mem.eql(u8, self.bytes(), "1");
    }
};

/// Compare trait values the way their comparable type asks for.
pub fn holds(kind: names.ComparableType, operator: Operator, left: Operand, right: Operand) bool {
    return switch (kind) {
        .string => holdsForText(operator, left, right),
        .int => holdsForNumber(operator, left.value, right.value),
        .bool => holdsForTruth(operator, left, right),
        .date => holdsForDate(operator, left.value.date(), right.value.date()),
        .none => false,
    };
}

fn holdsForText(operator: Operator, left: Operand, right: Operand) bool {
    return switch (operator) {
        .is_empty => left.value.text.len == 0,
        .not_empty => left.value.text.len > 0,
        else => holdsForOrder(operator, std.mem.order(u8, left.bytes(), right.bytes())),
    };
}

fn holdsForNumber(operator: Operator, left: Value, right: Value) bool {
    if (left.strictInteger()) |left_integer| {
        if (operator == .is_empty or operator == .not_empty) return holdsForInteger(operator, left_integer, 0);
        if (right.strictInteger()) |right_integer| return holdsForInteger(operator, left_integer, right_integer);
    }
    return switch (operator) {
        .is_empty => left.number() == 0,
        .not_empty => left.number() > 0,
        else => holdsForOrder(operator, std.math.order(left.number(), right.number())),
    };
}

pub fn holdsForInteger(operator: Operator, left: i64, right: i64) bool {
    return switch (operator) {
        .is_empty => left == 0,
        .not_empty => left > 0,
        else => holdsForOrder(operator, std.math.order(left, right)),
    };
}

fn holdsForTruth(operator: Operator, left: Operand, right: Operand) bool {
    return switch (operator) {
        .eq => left.isTrue() == right.isTrue(),
        .ne => left.isTrue() != right.isTrue(),
        .not_empty => true,
        else => false,
    };
}

fn holdsForDate(operator: Operator, left: ?Instant, right: ?Instant) bool {
    return switch (operator) {
        .is_empty => left == null,
        .not_empty => left != null,
        else => holdsForOrder(operator, orderOfDates(left, right)),
    };
}

/// What cannot be read comes before every date.
fn orderOfDates(left: ?Instant, right: ?Instant) Order {
    const left_instant = left orelse return if (right == null) .eq else .lt;
    return left_instant.order(right orelse return .gt);
}

fn holdsForOrder(operator: Operator, order: Order) bool {
    return switch (operator) {
        .eq => order == .eq,
        .ne => order != .eq,
        .gt => order == .gt,
        .lt => order == .lt,
        .gte => order != .lt,
        .lte => order != .gt,
        .is_empty, .not_empty, .none => false,
    };
}
