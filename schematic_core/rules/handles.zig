//! Held entities behind small integers, so that a stale or invented number is noticed and never read as an address.
//!
//! A handle is a place in a table (20 bits) and the generation of that place (11 bits above). A place whose
//! generations are used up is retired: a handle never comes to mean another entity.

const std = @import("std");
const failure = @import("failure.zig");
const image = @import("image.zig");

const allocator = std.heap.wasm_allocator;
const place_bits = 20;
const max_places = 1 << place_bits;
const max_generation = (1 << 11) - 1;

pub const Kind = enum(u8) { free, flag, company, user, options };

const Place = struct {
    /// Of the image, or the next free place while this one is free.
    address: u32,
    size: u32,
    generation: u16,
    kind: Kind,
};

/// Zeroed memory costs nothing until it is touched. Place 0 is never used, so that 0 can mean "none".
var places: [max_places]Place = std.mem.zeroes([max_places]Place);
var places_used: u32 = 1;
var first_free: u32 = 0;

/// Read by the host at a fixed address.
pub const Stats = extern struct { entities: u32, bytes: u32 };

pub var stats: Stats = .{ .entities = 0, .bytes = 0 };

/// Copy a finished image and give its handle.
pub fn hold(kind: Kind, bytes: []align(8) const u8) failure.Error!i32 {
    if (first_free == 0 and places_used == max_places) return failure.reject(.handles, .none, 0);
    const block = allocator.alignedAlloc(u8, .@"8", bytes.len) catch return failure.reject(.memory, .none, 0);
    @memcpy(block, bytes);
    const index = takePlace();
    const place = &places[index];
    place.* = .{
        .address = @intCast(@intFromPtr(block.ptr)),
        .size = @intCast(bytes.len),
        .generation = place.generation,
        .kind = kind,
    };
    stats.entities += 1;
    stats.bytes += place.size;
    return @bitCast(@as(u32, place.generation) << place_bits | index);
}

fn takePlace() u32 {
    if (first_free == 0) {
        defer places_used += 1;
        return places_used;
    }
    defer first_free = places[first_free].address;
    return first_free;
}

fn find(handle: i32) ?*Place {
    if (handle <= 0) return null;
    const number: u32 = @intCast(handle);
    const place = &places[number % max_places];
    const is_current = place.kind != .free and place.generation == number >> place_bits;
    return if (is_current) place else null;
}

/// Where the image of a held entity begins; null when the handle is stale, invented or of another kind.
pub fn get(kind: Kind, handle: i32) ?image.Base {
    const place = find(handle) orelse return null;
    return if (place.kind == kind) @ptrFromInt(place.address) else null;
}

pub fn kindOf(handle: i32) Kind {
    return (find(handle) orelse return .free).kind;
}

/// Free an entity. Nothing happens when its handle is not valid.
pub fn drop(handle: i32) void {
    const place = find(handle) orelse return;
    const block: [*]align(8) u8 = @ptrFromInt(place.address);
    allocator.free(block[0..place.size]);
    stats.entities -= 1;
    stats.bytes -= place.size;
    place.kind = .free;
    if (place.generation == max_generation) return;
    place.generation += 1;
    const index = @as(u32, @intCast(handle)) % max_places;
    place.address = first_free;
    first_free = index;
}
