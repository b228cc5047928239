//! Why a document was refused: a code, the byte and the path, kept here until the host reads them.
//!
//! The path is a stack that decoding pushes and pops as it descends. An error leaves it as it stood, so nothing is
//! spent on paths while a document is fine.

const std = @import("std");

pub const Error = error{Rejected};

/// Returned to the host as a negative number, and listed by the shell in the same order.
pub const Code = enum(i32) {
    none,
    too_large,
    syntax,
    encoding,
    depth,
    kind,
    missing,
    repeated,
    range,
    choice,
    memory,
    handles,
};

/// What would have been accepted, for `kind` errors.
pub const Expected = enum(u32) { none, object, array, string, integer, number, boolean };

/// The error block, read by the host at a fixed address.
pub const Block = extern struct {
    code: Code,
    expected: Expected,
    offset: u32,
};

pub var block: Block = .{ .code = .none, .expected = .none, .offset = 0 };

/// One step of the path: a field's name, or the place in a list when the name is empty.
const Step = struct { name: []const u8, index: u32 };

/// The models nest eight steps at most.
var steps: [16]Step = undefined;
var depth: usize = 0;

pub fn reset() void {
    block = .{ .code = .none, .expected = .none, .offset = 0 };
    depth = 0;
}

pub fn enterField(name: []const u8) void {
    steps[depth] = .{ .name = name, .index = 0 };
    depth += 1;
}

pub fn enterItem() void {
    steps[depth] = .{ .name = "", .index = 0 };
    depth += 1;
}

pub fn nextItem() void {
    steps[depth - 1].index += 1;
}

pub fn leave() void {
    depth -= 1;
}

pub fn reject(code: Code, expected: Expected, offset: usize) Error {
    block = .{ .code = code, .expected = expected, .offset = @intCast(offset) };
    return error.Rejected;
}

/// Write the path, such as `rules[2].priority`, and give its length. The longest path is far below 256 bytes.
pub fn writePath(out: []u8) usize {
    var used: usize = 0;
    for (steps[0..depth]) |step| {
        const written = if (step.name.len == 0)
            std.fmt.bufPrint(out[used..], "[{d}]", .{step.index})
        else
            std.fmt.bufPrint(out[used..], "{s}{s}", .{ if (used == 0) "" else ".", step.name });
        used += (written catch return used).len;
    }
    return used;
}
