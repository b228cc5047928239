//! Fixed memory in which one document is read and its image built before the image is copied away.
//!
//! `stage` is a stack of list items whose list is still being read; a finished list moves from there into `image` in
//! one piece. Both are checked at every take: three bytes of text can become a hundred bytes of image.

const std = @import("std");
const failure = @import("failure.zig");
const image_parts = @import("image.zig");

const Error = failure.Error;
const Base = image_parts.Base;
const Text = image_parts.Text;

/// Largest document, in bytes.
pub const max_document = 8 << 20;
const capacity = 32 << 20;

pub var document: [max_document]u8 align(16) = undefined;
var image: [capacity]u8 align(16) = undefined;
var stage: [capacity]u8 align(16) = undefined;
var image_len: usize = 0;
var stage_len: usize = 0;

/// Texts for the host are written where lists are staged: both live until the next call only.
pub const text_out: []u8 = &stage;

pub fn reset(comptime Root: type) void {
    image_len = @sizeOf(Root);
    stage_len = 0;
}

pub fn base() Base {
    return &image;
}

pub fn finished() []align(8) const u8 {
    return image[0..image_len];
}

/// How far the image has come; `rewind` to it drops what was added since.
pub fn mark() usize {
    return image_len;
}

pub fn rewind(to: usize) void {
    image_len = to;
}

pub fn putRoot(comptime Root: type, root: *const Root) void {
    @memcpy(image[0..@sizeOf(Root)], std.mem.asBytes(root));
}

fn take(size: usize, alignment: usize) Error!u32 {
    const at = std.mem.alignForward(usize, image_len, alignment);
    if (size > capacity - at) return failure.reject(.too_large, .none, 0);
    image_len = at + size;
    return @intCast(at);
}

pub fn putText(bytes: []const u8) Error!Text {
    const at = try take(bytes.len, 1);
    @memcpy(image[at..][0..bytes.len], bytes);
    return .{ .at = at, .len = @intCast(bytes.len), .hash = image_parts.hashOf(bytes) };
}

/// A list while it is being read.
pub fn Pile(comptime T: type) type {
    return struct {
        before: usize,
        first: usize,
        count: usize = 0,

        const Self = @This();

        pub fn begin() Self {
            const first = std.mem.alignForward(usize, stage_len, @alignOf(T));
            defer stage_len = first;
            return .{ .before = stage_len, .first = first };
        }

        pub fn push(self: *Self, item: T) Error!void {
            if (@sizeOf(T) > capacity - stage_len) return failure.reject(.too_large, .none, 0);
            stage_len += @sizeOf(T);
            self.count += 1;
            self.items()[self.count - 1] = item;
        }

        pub fn items(self: Self) []T {
            const start: [*]T = @ptrCast(@alignCast(stage[self.first..].ptr));
            return start[0..self.count];
        }

        /// Room beside the items for as many more, for sorting.
        pub fn spare(self: Self) Error![]T {
            if (self.count * @sizeOf(T) > capacity - stage_len) return failure.reject(.too_large, .none, 0);
            const start: [*]T = @ptrCast(@alignCast(stage[stage_len..].ptr));
            return start[0..self.count];
        }

        /// Move the items into the image. Returns where they are.
        pub fn end(self: Self, kept: usize) Error!u32 {
            const bytes = std.mem.sliceAsBytes(self.items()[0..kept]);
            const at = try take(bytes.len, @alignOf(T));
            @memcpy(image[at..][0..bytes.len], bytes);
            stage_len = self.before;
            return at;
        }
    };
}
