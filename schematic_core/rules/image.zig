//! The parts an entity's image is made of: texts, lists and optional values, all addressed by offsets.
//!
//! An image holds no pointers, so finishing an entity is one copy and freeing it is one call. Offset 0 belongs to the
//! root record; a text or list at 0 is therefore absent.

const std = @import("std");

/// Which way a type is read; every type below declares one, and so does each model.
pub const Shape = enum { text, named, presence, value, moment, dated_text, list, map, optional, model };

/// Where the bytes of an image begin.
pub const Base = [*]align(8) const u8;

/// A string. The hash settles most comparisons without touching the bytes.
pub const Text = extern struct {
    at: u32 = 0,
    len: u32 = 0,
    hash: u32 = hashOf(""),

    pub const shape = Shape.text;

    pub fn isGiven(self: Text) bool {
        return self.at != 0;
    }

    pub fn bytes(self: Text, base: Base) []const u8 {
        return base[self.at..][0..self.len];
    }
};

/// Whether a string that only matters by being empty or not had any bytes.
pub const Presence = extern struct {
    is_filled: bool = false,

    pub const shape = Shape.presence;
};

pub fn Optional(comptime T: type) type {
    return extern struct {
        is_given: bool = false,
        value: T = std.mem.zeroes(T),

        pub const shape = Shape.optional;
        pub const Inner = T;

        pub fn get(self: @This()) ?T {
            return if (self.is_given) self.value else null;
        }
    };
}

/// Items in the order of the document, or as `Arrangement` sorts them (see arrange.zig).
pub fn List(comptime T: type, comptime Arrangement: type) type {
    return extern struct {
        at: u32 = 0,
        len: u32 = 0,

        pub const shape = Shape.list;
        pub const Item = T;
        pub const Order = Arrangement;

        pub fn items(self: @This(), base: Base) []const T {
            return slice(T, base, self.at, self.len);
        }
    };
}

pub fn Entry(comptime V: type) type {
    return extern struct {
        name: Text = .{},
        /// False for a null; such entries are gone once the map is read.
        is_kept: bool = true,
        value: V = std.mem.zeroes(V),
    };
}

/// What a null inside a map does.
pub const Nulls = enum { reject, drop };

/// Entries sorted by name, one for each name.
pub fn Map(comptime V: type, comptime null_handling: Nulls) type {
    return extern struct {
        at: u32 = 0,
        len: u32 = 0,

        pub const shape = Shape.map;
        pub const Item = Entry(V);
        pub const nulls = null_handling;

        pub fn items(self: @This(), base: Base) []const Entry(V) {
            return slice(Entry(V), base, self.at, self.len);
        }

        pub fn find(self: @This(), base: Base, name: Text, name_base: Base) ?*const V {
            const entries = self.items(base);
            var low: usize = 0;
            var high = entries.len;
            while (low < high) {
                const middle = low + (high - low) / 2;
                switch (compare(base, entries[middle].name, name_base, name)) {
                    .eq => return &entries[middle].value,
                    .lt => low = middle + 1,
                    .gt => high = middle,
                }
            }
            return null;
        }
    };
}

fn slice(comptime T: type, base: Base, at: u32, len: u32) []const T {
    const first: [*]const T = @ptrCast(@alignCast(base + at));
    return first[0..len];
}

/// The order in which images keep texts: any order will do that is total and quick.
pub fn compare(base_a: Base, a: Text, base_b: Base, b: Text) std.math.Order {
    if (a.hash != b.hash) return std.math.order(a.hash, b.hash);
    if (a.len != b.len) return std.math.order(a.len, b.len);
    return std.mem.order(u8, a.bytes(base_a), b.bytes(base_b));
}

pub fn same(base_a: Base, a: Text, base_b: Base, b: Text) bool {
    return a.hash == b.hash and a.len == b.len and std.mem.eql(u8, a.bytes(base_a), b.bytes(base_b));
}

/// FNV-1a: short, and good enough where equal hashes are settled by the bytes.
pub fn hashOf(bytes: []const u8) u32 {
    var hash: u32 = 0x811c9dc5;
    for (bytes) |byte| hash = (hash ^ byte) *% 0x01000193;
    return hash;
}

/// The place of the only item that `probe` says equals, in a list sorted the way `probe` compares.
pub fn search(comptime T: type, items: []const T, probe: anytype) ?usize {
    var low: usize = 0;
    var high = items.len;
    while (low < high) {
        const middle = low + (high - low) / 2;
        switch (probe.against(&items[middle])) {
            .eq => return middle,
            .lt => low = middle + 1,
            .gt => high = middle,
        }
    }
    return null;
}
