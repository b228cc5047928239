//! Sorting of finished lists, so that evaluation can search them.
//!
//! An arrangement is a type with `keep` and `compare`: items that compare equal are duplicates, of which `keep` names
//! the survivor. The sort is stable, so "first" and "last" are those of the document.

const std = @import("std");
const failure = @import("failure.zig");
const scratch = @import("scratch.zig");

/// Which of several equal items stay.
pub const Keep = enum { all, first, last };

/// The arrangement of lists that stay as they came.
pub const AsGiven = struct {};

/// Arrange a pile in place. Returns how many of its items are left.
pub fn arrange(comptime T: type, comptime Order: type, pile: scratch.Pile(T)) failure.Error!usize {
    if (Order == AsGiven) return pile.count;
    sort(T, Order, pile.items(), try pile.spare());
    return if (Order.keep == .all) pile.count else unique(T, Order, pile.items());
}

fn before(comptime T: type, comptime Order: type, a: *const T, b: *const T) bool {
    return Order.compare(scratch.base(), a, b) == .lt;
}

fn sort(comptime T: type, comptime Order: type, items: []T, spare: []T) void {
    if (items.len <= 8) return insertionSort(T, Order, items);
    const middle = items.len / 2;
    sort(T, Order, items[0..middle], spare);
    sort(T, Order, items[middle..], spare);
    const left = spare[0..middle];
    @memcpy(left, items[0..middle]);
    var from_left: usize = 0;
    var from_right = middle;
    var to: usize = 0;
    while (from_left < middle) : (to += 1) {
        const takes_right = from_right < items.len and before(T, Order, &items[from_right], &left[from_left]);
        if (takes_right) {
            items[to] = items[from_right];
            from_right += 1;
        } else {
            items[to] = left[from_left];
            from_left += 1;
        }
    }
}

fn insertionSort(comptime T: type, comptime Order: type, items: []T) void {
    for (1..@max(items.len, 1)) |next| {
        const item = items[next];
        var to = next;
        while (to > 0 and before(T, Order, &item, &items[to - 1])) : (to -= 1) items[to] = items[to - 1];
        items[to] = item;
    }
}

fn unique(comptime T: type, comptime Order: type, items: []T) usize {
    if (items.len == 0) return 0;
    var kept: usize = 0;
    for (items[1..]) |item| {
        if (Order.compare(scratch.base(), &items[kept], &item) != .eq) {
            kept += 1;
        } else if (Order.keep == .first) continue;
        items[kept] = item;
    }
    return kept + 1;
}
