//! Texts for the host, written into one fixed buffer: plain pieces, and models as JSON.

const std = @import("std");
const image = @import("image.zig");
const numbers = @import("numbers.zig");
const scratch = @import("scratch.zig");

const Base = image.Base;

pub const Error = error{TooLarge};

/// The longest double without an exponent takes 326 bytes.
const longest_number = 400;

pub const Output = struct {
    buffer: []u8 = scratch.text_out,
    used: usize = 0,

    pub fn put(self: *Output, bytes: []const u8) Error!void {
        if (bytes.len > self.buffer.len - self.used) return error.TooLarge;
        @memcpy(self.buffer[self.used..][0..bytes.len], bytes);
        self.used += bytes.len;
    }

    fn putByte(self: *Output, byte: u8) Error!void {
        if (self.used == self.buffer.len) return error.TooLarge;
        self.buffer[self.used] = byte;
        self.used += 1;
    }

    pub fn print(self: *Output, comptime format: []const u8, arguments: anytype) Error!void {
        const room = self.buffer[self.used..];
        if (room.len < longest_number) return error.TooLarge;
        self.used += (std.fmt.bufPrint(room, format, arguments) catch return error.TooLarge).len;
    }

    /// The shortest decimal that reads back as the double, no exponent; of two equally near, the one away from zero.
    pub fn putDecimal(self: *Output, value: f64) Error!void {
        const start = self.used;
        try self.print("{d}", .{value});
        numbers.takeUpperOfTie(self.buffer[start..self.used], value);
    }

    /// A name with spaces for underscores.
    pub fn putWords(self: *Output, name: []const u8) Error!void {
        const start = self.used;
        try self.put(name);
        std.mem.replaceScalar(u8, self.buffer[start..self.used], '_', ' ');
    }

    /// The fields of a model that are kept and set, under their names with underscores.
    pub fn putModel(self: *Output, comptime Model: type, base: Base, model: *const Model) Error!void {
        var separator: u8 = '{';
        inline for (Model.fields) |field| {
            if (field.as == void) {
                const value = &@field(model, field.name);
                if (field.need == .required or isSet(@TypeOf(value.*), value, field.need == .optional)) {
                    try self.putByte(separator);
                    separator = ',';
                    try self.put("\"" ++ field.name ++ "\":");
                    try self.putValue(@TypeOf(value.*), base, value);
                }
            }
        }
        if (separator == '{') try self.putByte('{');
        try self.putByte('}');
    }

    fn putValue(self: *Output, comptime T: type, base: Base, value: *const T) Error!void {
        switch (T) {
            i64 => try self.print("{d}", .{value.*}),
            f64 => try self.putDouble(value.*),
            else => switch (@typeInfo(T)) {
                .@"enum" => try self.putString(nameOf(T, value.*)),
                else => try self.putShape(T, base, value),
            },
        }
    }

    fn putShape(self: *Output, comptime T: type, base: Base, value: *const T) Error!void {
        switch (T.shape) {
            .text => try self.putString(value.bytes(base)),
            .named, .dated_text => try self.putString(value.text.bytes(base)),
            .optional => try self.putValue(T.Inner, base, &value.value),
            .model => try self.putModel(T, base, value),
            .list => try self.putList(T, base, value),
            .map => try self.putMap(T, base, value),
            else => @compileError("this shape is never echoed"),
        }
    }

    fn putList(self: *Output, comptime T: type, base: Base, list: *const T) Error!void {
        try self.putByte('[');
        for (list.items(base), 0..) |*item, index| {
            if (index > 0) try self.putByte(',');
            try self.putValue(T.Item, base, item);
        }
        try self.putByte(']');
    }

    fn putMap(self: *Output, comptime T: type, base: Base, map: *const T) Error!void {
        try self.putByte('{');
        for (map.items(base), 0..) |*entry, index| {
            if (index > 0) try self.putByte(',');
            try self.putString(entry.name.bytes(base));
            try self.putByte(':');
            try self.putValue(@TypeOf(entry.value), base, &entry.value);
        }
        try self.putByte('}');
    }

    /// A double that stays one when it is read again.
    fn putDouble(self: *Output, value: f64) Error!void {
        const size = @abs(value);
        // An exponent keeps 1e308 from taking 309 bytes.
        if (size >= 1e21 or (size > 0 and size < 1e-6)) return self.print("{e}", .{value});
        const start = self.used;
        try self.print("{d}", .{value});
        const is_whole = std.mem.indexOfScalar(u8, self.buffer[start..self.used], '.') == null;
        if (is_whole) try self.put(".0");
    }

    fn putString(self: *Output, bytes: []const u8) Error!void {
        try self.putByte('"');
        var start: usize = 0;
        for (bytes, 0..) |byte, at| {
            if (byte >= ' ' and byte != '"' and byte != '\\') continue;
            try self.put(bytes[start..at]);
            start = at + 1;
            if (byte >= ' ') {
                try self.put(&.{ '\\', byte });
            } else {
                const digits = "0123456789abcdef";
                try self.put(&.{ '\\', 'u', '0', '0', digits[byte >> 4], digits[byte & 15] });
            }
        }
        try self.put(bytes[start..]);
        try self.putByte('"');
    }
};

fn nameOf(comptime Names: type, name: Names) []const u8 {
    if (@hasDecl(Names, "unknown_name") and name == .none) return Names.unknown_name;
    return @tagName(name);
}

fn isSet(comptime T: type, value: *const T, is_optional: bool) bool {
    switch (T) {
        i64, f64, bool => return true,
        else => {},
    }
    if (@typeInfo(T) == .@"enum") return !is_optional or value.* != .none;
    return switch (T.shape) {
        .text => !is_optional or value.isGiven(),
        .dated_text => value.text.isGiven(),
        .optional => value.is_given,
        .list, .map => value.len > 0,
        else => true,
    };
}
