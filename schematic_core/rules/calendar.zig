//! The proleptic Gregorian calendar in UTC: instants, dates and days since 1970.

const std = @import("std");

pub const seconds_per_day = 86_400;

/// A point in time. A leap second has the second before it and a billion or more nanoseconds, so it sorts right.
pub const Instant = extern struct {
    seconds: i64,
    nanos: u32,

    pub fn ofMillis(millis: i64) Instant {
        return .{ .seconds = @divFloor(millis, 1000), .nanos = @intCast(@mod(millis, 1000) * 1_000_000) };
    }

    pub fn order(a: Instant, b: Instant) std.math.Order {
        if (a.seconds != b.seconds) return std.math.order(a.seconds, b.seconds);
        return std.math.order(a.nanos, b.nanos);
    }

    pub fn isAfter(a: Instant, b: Instant) bool {
        return a.order(b) == .gt;
    }

    /// The first whole millisecond at which a clock has reached this instant.
    pub fn reachedAtMillis(self: Instant) i64 {
        // A clock never shows a leap second, so one is over when the next second starts.
        const millis = @min((self.nanos + 999_999) / 1_000_000, 1000);
        return self.seconds *| 1000 +| millis;
    }
};

pub const Date = struct { year: i64, month: u8, day: u8 };

pub fn isLeapYear(year: i64) bool {
    return @mod(year, 4) == 0 and (@mod(year, 100) != 0 or @mod(year, 400) == 0);
}

pub fn daysInMonth(year: i64, month: u8) u8 {
    return switch (month) {
        2 => if (isLeapYear(year)) 29 else 28,
        4, 6, 9, 11 => 30,
        else => 31,
    };
}

/// Days of a common year before each month, counted from March, where a leap day is the year's last.
fn daysBeforeMonth(months_after_march: i64) i64 {
    return @divFloor(153 * months_after_march + 2, 5);
}

const days_per_era = 146_097;
/// From 1 March of year 0 to 1 January 1970.
const days_to_epoch = 719_468;

/// Days since 1 January 1970.
pub fn dayNumber(date: Date) i64 {
    const year = if (date.month <= 2) date.year - 1 else date.year;
    const month_after_march = @mod(@as(i64, date.month) + 9, 12);
    const leap_days = @divFloor(year, 4) - @divFloor(year, 100) + @divFloor(year, 400);
    return year * 365 + leap_days + daysBeforeMonth(month_after_march) + date.day - 1 - days_to_epoch;
}

pub fn dateOf(day_number: i64) Date {
    const shifted = day_number + days_to_epoch;
    const era = @divFloor(shifted, days_per_era);
    const day_of_era = @mod(shifted, days_per_era);
    const leap_days = @divFloor(day_of_era, 1460) - @divFloor(day_of_era, 36_524) + @divFloor(day_of_era, 146_096);
    const year_of_era = @divFloor(day_of_era - leap_days, 365);
    const year_start = 365 * year_of_era + @divFloor(year_of_era, 4) - @divFloor(year_of_era, 100);
    const day_of_year = day_of_era - year_start;
    const month_after_march = @divFloor(5 * day_of_year + 2, 153);
    const month: u8 = @intCast(@mod(month_after_march + 2, 12) + 1);
    return .{
        .year = era * 400 + year_of_era + @intFromBool(month <= 2),
        .month = month,
        .day = @intCast(day_of_year - daysBeforeMonth(month_after_march) + 1),
    };
}

/// 0 is Sunday.
pub fn weekday(day_number: i64) u8 {
    return @intCast(@mod(day_number + 4, 7));
}

pub fn dayOf(instant: Instant) i64 {
    return @divFloor(instant.seconds, seconds_per_day);
}

pub fn startOfDay(day_number: i64) Instant {
    return .{ .seconds = day_number * seconds_per_day, .nanos = 0 };
}

/// The first day of the month after the one `date` is in.
pub fn nextMonth(date: Date) Date {
    return if (date.month == 12)
        .{ .year = date.year + 1, .month = 1, .day = 1 }
    else
        .{ .year = date.year, .month = date.month + 1, .day = 1 };
}
