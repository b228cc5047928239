//! When usage periods start anew: calendar periods in UTC, and months anchored to a subscription.

const calendar = @import("calendar.zig");
const entity_models = @import("entity_models.zig");
const names = @import("names.zig");

const Date = calendar.Date;
const Instant = calendar.Instant;
const Subscription = entity_models.Subscription;

/// The next start of a period. Null when there is none, or when the subscription's times cannot be read.
pub fn nextStart(period: names.Period, reset: names.MonthReset, subscription: ?Subscription, now: Instant) ?Instant {
    const today = calendar.dayOf(now);
    return switch (period) {
        .none, .all_time => null,
        .current_day => calendar.startOfDay(today + 1),
        .current_week => calendar.startOfDay(today + 7 - calendar.weekday(today)),
        .current_month => nextMonthStart(reset, subscription, now),
    };
}

fn nextMonthStart(reset: names.MonthReset, subscription: ?Subscription, now: Instant) ?Instant {
    if (reset == .billing_cycle) {
        if (subscription) |given| return nextBillingMonth(given, now);
    }
    return nextCalendarMonth(now);
}

fn nextCalendarMonth(now: Instant) Instant {
    const this_month = calendar.dateOf(calendar.dayOf(now));
    return calendar.startOfDay(calendar.dayNumber(calendar.nextMonth(this_month)));
}

fn nextBillingMonth(subscription: Subscription, now: Instant) ?Instant {
    const start = subscription.period_start.get() orelse return null;
    const end = subscription.period_end.get() orelse return null;
    if (start.isAfter(now)) return earlier(start, nextCalendarMonth(now));
    const this_month = calendar.dateOf(calendar.dayOf(now));
    const in_this_month = anchoredIn(this_month, start);
    const next = if (in_this_month.isAfter(now)) in_this_month else anchoredIn(calendar.nextMonth(this_month), start);
    return earlier(next, end);
}

/// The anchor's day and time of day in another month. The day shrinks to the month's last one, and does not drift.
fn anchoredIn(month: Date, anchor: Instant) Instant {
    const anchor_day = calendar.dayOf(anchor);
    const last_day = calendar.daysInMonth(month.year, month.month);
    const day = @min(calendar.dateOf(anchor_day).day, last_day);
    const start = calendar.startOfDay(calendar.dayNumber(.{ .year = month.year, .month = month.month, .day = day }));
    const second_of_day = anchor.seconds - anchor_day * calendar.seconds_per_day;
    return .{ .seconds = start.seconds + second_of_day, .nanos = anchor.nanos };
}

fn earlier(a: Instant, b: Instant) Instant {
    return if (b.isAfter(a)) a else b;
}
