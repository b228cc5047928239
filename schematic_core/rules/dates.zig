//! Date texts: the five shapes that trait values may take, and RFC 3339 alone for the timestamps of entities.

const std = @import("std");
const calendar = @import("calendar.zig");

const Instant = calendar.Instant;

const month_names = [_]*const [3]u8{
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
};
const weekday_names = [_]*const [3]u8{ "sun", "mon", "tue", "wed", "thu", "fri", "sat" };
const unicode_minus = "\u{2212}";
const max_offset = calendar.seconds_per_day - 1;

const Failed = error{NotADate};

/// Read a trait value. The shapes are tried in the order of the contract: the first that fits the whole text wins.
pub fn ofTrait(text: []const u8) ?Instant {
    // No shape is shorter than "1-1-1 0:0:0"; most values are, and leave here.
    if (text.len < 9) return null;
    return isoWithZoneName(text) catch isoWithOffset(text) catch named(text) catch rfc3339(text);
}

/// Read an entity's timestamp.
pub fn rfc3339(text: []const u8) ?Instant {
    return strict(text) catch null;
}

const Clock = struct {
    day: i64,
    second_of_day: i64,
    nanos: u32,

    fn at(self: Clock, offset: i64) Instant {
        const seconds = self.day * calendar.seconds_per_day + self.second_of_day - offset;
        return .{ .seconds = seconds, .nanos = self.nanos };
    }
};

fn dayOf(year: i64, month: i64, day: i64) Failed!i64 {
    if (month < 1 or month > 12) return error.NotADate;
    const month_number: u8 = @intCast(month);
    if (day < 1 or day > calendar.daysInMonth(year, month_number)) return error.NotADate;
    return calendar.dayNumber(.{ .year = year, .month = month_number, .day = @intCast(day) });
}

fn clockOf(day: i64, hour: i64, minute: i64, second: i64) Failed!Clock {
    if (hour > 23 or minute > 59 or second > 60) return error.NotADate;
    const is_leap = second == 60;
    return .{
        .day = day,
        .second_of_day = hour * 3600 + minute * 60 + @min(second, 59),
        .nanos = if (is_leap) std.time.ns_per_s else 0,
    };
}

/// `2024-01-15 13:52:16 WORD`; the word is not looked at.
fn isoWithZoneName(text: []const u8) Failed!Instant {
    var cursor = Cursor{ .rest = text };
    const day = try cursor.isoDay();
    cursor.space();
    const clock = try cursor.clock(day);
    cursor.space();
    try cursor.word();
    return clock.at(0);
}

/// `2024-01-15T21:59:40[.mmm]+hhmm`.
fn isoWithOffset(text: []const u8) Failed!Instant {
    var cursor = Cursor{ .rest = text };
    const day = try cursor.isoDay();
    try cursor.literal("T");
    var clock = try cursor.clock(day);
    if (cursor.take(".")) {
        clock.nanos += @as(u32, @intCast(try cursor.fixed(3))) * std.time.ns_per_ms;
    }
    return clock.at(try cursor.looseOffset());
}

/// `Mon Jan 15 2024 12:44:18` and then `GMT+hhmm` or any word; the word is not looked at.
fn named(text: []const u8) Failed!Instant {
    var cursor = Cursor{ .rest = text };
    const weekday = try cursor.name(&weekday_names);
    cursor.space();
    const month = try cursor.name(&month_names);
    const day_of_month = try cursor.number(2);
    const year = try cursor.year();
    cursor.space();
    const day = try dayOf(year, month + 1, day_of_month);
    const clock = try cursor.clock(day);
    if (calendar.weekday(day) != weekday) return error.NotADate;
    cursor.space();
    var zone = cursor;
    if (zone.take("GMT")) {
        if (zone.looseOffset()) |offset| return clock.at(offset) else |_| {}
    }
    try cursor.word();
    return clock.at(0);
}

/// RFC 3339 with `T`, `t` or a space in the middle.
fn strict(text: []const u8) Failed!Instant {
    var cursor = Cursor{ .rest = text };
    const year = try cursor.fixed(4);
    try cursor.literal("-");
    const month = try cursor.fixed(2);
    try cursor.literal("-");
    const day = try dayOf(year, month, try cursor.fixed(2));
    if (!cursor.take("T") and !cursor.take("t")) try cursor.literal(" ");
    const hour = try cursor.fixed(2);
    try cursor.literal(":");
    const minute = try cursor.fixed(2);
    try cursor.literal(":");
    var clock = try clockOf(day, hour, minute, try cursor.fixed(2));
    if (cursor.take(".")) clock.nanos += try cursor.fraction();
    return clock.at(try cursor.strictOffset());
}

const Cursor = struct {
    rest: []const u8,

    fn take(self: *Cursor, prefix: []const u8) bool {
        if (!std.mem.startsWith(u8, self.rest, prefix)) return false;
        self.rest = self.rest[prefix.len..];
        return true;
    }

    fn literal(self: *Cursor, expected: []const u8) Failed!void {
        if (!self.take(expected)) return error.NotADate;
    }

    fn space(self: *Cursor) void {
        while (true) {
            const size = whiteSpaceAt(self.rest);
            if (size == 0) return;
            self.rest = self.rest[size..];
        }
    }

    /// The last element of a shape: everything to the end, free of white space.
    fn word(self: *Cursor) Failed!void {
        while (self.rest.len > 0) : (self.rest = self.rest[1..]) {
            if (whiteSpaceAt(self.rest) > 0) return error.NotADate;
        }
    }

    fn digit(self: *Cursor) ?i64 {
        if (self.rest.len == 0 or !std.ascii.isDigit(self.rest[0])) return null;
        defer self.rest = self.rest[1..];
        return self.rest[0] - '0';
    }

    /// Up to `max` digits, at least one. Numbers beyond any year stop growing.
    fn digits(self: *Cursor, max: usize) Failed!i64 {
        var value = self.digit() orelse return error.NotADate;
        for (1..max) |_| {
            value = value * 10 + (self.digit() orelse break);
            if (value > 1_000_000_000) value = 1_000_000_000;
        }
        return value;
    }

    fn fixed(self: *Cursor, comptime count: usize) Failed!i64 {
        var value: i64 = 0;
        for (0..count) |_| value = value * 10 + (self.digit() orelse return error.NotADate);
        return value;
    }

    fn number(self: *Cursor, max: usize) Failed!i64 {
        self.space();
        return self.digits(max);
    }

    fn year(self: *Cursor) Failed!i64 {
        self.space();
        const is_negative = self.take("-");
        const is_signed = is_negative or self.take("+");
        const size = try self.digits(if (is_signed) std.math.maxInt(usize) else 4);
        const value = if (is_negative) -size else size;
        if (value < -262_143 or value > 262_142) return error.NotADate;
        return value;
    }

    fn isoDay(self: *Cursor) Failed!i64 {
        const year_number = try self.year();
        try self.literal("-");
        const month = try self.number(2);
        try self.literal("-");
        return dayOf(year_number, month, try self.number(2));
    }

    fn clock(self: *Cursor, day: i64) Failed!Clock {
        const hour = try self.number(2);
        try self.literal(":");
        const minute = try self.number(2);
        try self.literal(":");
        return clockOf(day, hour, minute, try self.number(2));
    }

    /// Which of some three-letter names stands here, in any case.
    fn name(self: *Cursor, names: []const *const [3]u8) Failed!u8 {
        if (self.rest.len < 3) return error.NotADate;
        for (names, 0..) |candidate, index| {
            if (!std.ascii.eqlIgnoreCase(candidate, self.rest[0..3])) continue;
            self.rest = self.rest[3..];
            return @intCast(index);
        }
        return error.NotADate;
    }

    /// Any number of digits, in nanoseconds; those beyond nine are dropped.
    fn fraction(self: *Cursor) Failed!u32 {
        var scale: u32 = 100_000_000;
        var nanos = @as(u32, @intCast(self.digit() orelse return error.NotADate)) * scale;
        while (self.digit()) |value| {
            scale /= 10;
            nanos += @as(u32, @intCast(value)) * scale;
        }
        return nanos;
    }

    fn sign(self: *Cursor) Failed!i64 {
        if (self.take("+")) return 1;
        if (self.take("-") or self.take(unicode_minus)) return -1;
        return error.NotADate;
    }

    /// The end of a shape: `+hhmm` with leniencies. A day or more is as good as no offset.
    fn looseOffset(self: *Cursor) Failed!i64 {
        self.space();
        const direction = try self.sign();
        const hours = try self.fixed(2);
        while (self.take(":") or whiteSpaceAt(self.rest) > 0) self.space();
        const minutes = try self.fixed(2);
        if (minutes > 59 or self.rest.len > 0) return error.NotADate;
        const size = hours * 3600 + minutes * 60;
        return if (size > max_offset) 0 else direction * size;
    }

    /// The end of an RFC 3339 text: `Z` or `+hh:mm`.
    fn strictOffset(self: *Cursor) Failed!i64 {
        if (self.take("Z") or self.take("z")) {
            if (self.rest.len > 0) return error.NotADate;
            return 0;
        }
        const direction = try self.sign();
        const hours = try self.fixed(2);
        try self.literal(":");
        const minutes = try self.fixed(2);
        if (hours > 23 or minutes > 59 or self.rest.len > 0) return error.NotADate;
        return direction * (hours * 3600 + minutes * 60);
    }
};

/// The size in bytes of the white space character at the start of a UTF-8 text, 0 if there is none.
fn whiteSpaceAt(text: []const u8) usize {
    if (text.len == 0) return 0;
    return switch (text[0]) {
        '\t'...'\r', ' ' => 1,
        0xc2 => if (text.len > 1 and (text[1] == 0x85 or text[1] == 0xa0)) 2 else 0,
        0xe1 => if (std.mem.startsWith(u8, text, "\u{1680}")) 3 else 0,
        0xe2 => if (text.len > 2 and isGeneralSpace(text[1], text[2])) 3 else 0,
        0xe3 => if (std.mem.startsWith(u8, text, "\u{3000}")) 3 else 0,
        else => 0,
    };
}

/// U+2000 to U+200A, U+2028, U+2029, U+202F and U+205F, after their first byte.
fn isGeneralSpace(second: u8, third: u8) bool {
    if (second == 0x81) return third == 0x9f;
    return second == 0x80 and switch (third) {
        0x80...0x8a, 0xa8, 0xa9, 0xaf => true,
        else => false,
    };
}
