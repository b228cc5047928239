//! Pull reader over the bytes of one JSON document: checks the grammar and hands out one token at a time.
//!
//! Strings are unescaped in place, so the document must be writable. UTF-8 is checked once, over the whole text.
//! Values that nobody asks for are skipped without judging numbers or surrogates, and without recursion.

const std = @import("std");
const failure = @import("failure.zig");

const Error = failure.Error;
const Expected = failure.Expected;

/// Brackets that may be open at once, in known and unknown parts alike.
pub const max_depth = 128;

pub const Reader = struct {
    text: []u8,
    at: usize = 0,
    depth: usize = 0,

    pub fn init(text: []u8) Error!Reader {
        if (!std.unicode.utf8ValidateSlice(text)) return failure.reject(.encoding, .none, 0);
        return .{ .text = text };
    }

    /// Nothing but white space may follow the document.
    pub fn finish(self: *Reader) Error!void {
        self.space();
        if (self.at != self.text.len) return self.broken();
    }

    fn broken(self: *const Reader) Error {
        return failure.reject(.syntax, .none, self.at);
    }

    fn space(self: *Reader) void {
        while (self.at < self.text.len) : (self.at += 1) {
            switch (self.text[self.at]) {
                ' ', '\t', '\n', '\r' => {},
                else => return,
            }
        }
    }

    /// The byte a value starts with; an error at the end of the text.
    fn head(self: *Reader) Error!u8 {
        self.space();
        if (self.at == self.text.len) return self.broken();
        return self.text[self.at];
    }

    /// Refuse what starts here: another kind of value, or no value at all.
    fn unexpected(self: *const Reader, expected: Expected) Error {
        return switch (self.text[self.at]) {
            '{', '[', '"', '-', '0'...'9', 't', 'f', 'n' => failure.reject(.kind, expected, self.at),
            else => self.broken(),
        };
    }

    /// Enter an object or array. Returns whether it has a first member.
    fn open(self: *Reader, comptime opener: u8, comptime closer: u8, expected: Expected) Error!bool {
        if (try self.head() != opener) return self.unexpected(expected);
        if (self.depth == max_depth) return failure.reject(.depth, .none, self.at);
        self.at += 1;
        self.depth += 1;
        if (try self.head() != closer) return true;
        self.at += 1;
        self.depth -= 1;
        return false;
    }

    pub fn openObject(self: *Reader) Error!bool {
        return self.open('{', '}', .object);
    }

    pub fn openArray(self: *Reader) Error!bool {
        return self.open('[', ']', .array);
    }

    /// After a member: whether another one follows.
    fn more(self: *Reader, comptime closer: u8) Error!bool {
        const byte = try self.head();
        if (byte != ',' and byte != closer) return self.broken();
        self.at += 1;
        if (byte == ',') return true;
        self.depth -= 1;
        return false;
    }

    pub fn moreFields(self: *Reader) Error!bool {
        return self.more('}');
    }

    pub fn moreItems(self: *Reader) Error!bool {
        return self.more(']');
    }

    /// The name of the next member, its colon consumed.
    pub fn fieldName(self: *Reader) Error![]const u8 {
        if (try self.head() != '"') return self.broken();
        const name = try self.string();
        try self.colon();
        return name;
    }

    fn colon(self: *Reader) Error!void {
        if (try self.head() != ':') return self.broken();
        self.at += 1;
    }

    /// Consume `null` if it stands here.
    pub fn takeNull(self: *Reader) Error!bool {
        if (try self.head() != 'n') return false;
        try self.word("null");
        return true;
    }

    pub fn boolean(self: *Reader) Error!bool {
        switch (try self.head()) {
            't' => {
                try self.word("true");
                return true;
            },
            'f' => {
                try self.word("false");
                return false;
            },
            else => return self.unexpected(.boolean),
        }
    }

    fn word(self: *Reader, comptime expected: []const u8) Error!void {
        if (!std.mem.startsWith(u8, self.text[self.at..], expected)) return self.broken();
        self.at += expected.len;
    }

    /// A whole number in 64 bits. `7.0`, `7e0` and `-0` are none.
    pub fn integer(self: *Reader) Error!i64 {
        switch (try self.head()) {
            '-', '0'...'9' => {},
            else => return self.unexpected(.integer),
        }
        const begin = self.at;
        const token = try self.number();
        const is_whole = std.mem.indexOfAny(u8, token, ".eE") == null and !std.mem.eql(u8, token, "-0");
        if (!is_whole) return failure.reject(.kind, .integer, begin);
        return std.fmt.parseInt(i64, token, 10) catch failure.reject(.range, .integer, begin);
    }

    /// Any finite number.
    pub fn double(self: *Reader) Error!f64 {
        switch (try self.head()) {
            '-', '0'...'9' => {},
            else => return self.unexpected(.number),
        }
        const begin = self.at;
        const value = std.fmt.parseFloat(f64, try self.number()) catch return self.broken();
        if (!std.math.isFinite(value)) return failure.reject(.range, .number, begin);
        return value;
    }

    fn digits(self: *Reader) Error!void {
        const start = self.at;
        while (self.at < self.text.len and std.ascii.isDigit(self.text[self.at])) self.at += 1;
        if (self.at == start) return self.broken();
    }

    fn is(self: *const Reader, byte: u8) bool {
        return self.at < self.text.len and self.text[self.at] == byte;
    }

    fn number(self: *Reader) Error![]const u8 {
        const start = self.at;
        if (self.is('-')) self.at += 1;
        if (self.is('0')) self.at += 1 else try self.digits();
        if (self.is('.')) {
            self.at += 1;
            try self.digits();
        }
        if (self.is('e') or self.is('E')) {
            self.at += 1;
            if (self.is('+') or self.is('-')) self.at += 1;
            try self.digits();
        }
        return self.text[start..self.at];
    }

    /// The decoded string. It lives in the document's own bytes.
    pub fn string(self: *Reader) Error![]const u8 {
        if (try self.head() != '"') return self.unexpected(.string);
        self.at += 1;
        const start = self.at;
        while (self.at < self.text.len) : (self.at += 1) {
            switch (self.text[self.at]) {
                '"' => {
                    self.at += 1;
                    return self.text[start .. self.at - 1];
                },
                '\\' => return self.unescape(start),
                0...0x1f => return self.broken(),
                else => {},
            }
        }
        return self.broken();
    }

    /// The rest of a string from its first escape on, written over itself.
    fn unescape(self: *Reader, start: usize) Error![]const u8 {
        var end = self.at;
        while (self.at < self.text.len) {
            const byte = self.text[self.at];
            switch (byte) {
                '"' => {
                    self.at += 1;
                    return self.text[start..end];
                },
                '\\' => {
                    const point = try self.escape();
                    end += std.unicode.utf8Encode(point, self.text[end..]) catch return self.broken();
                },
                0...0x1f => return self.broken(),
                else => {
                    self.text[end] = byte;
                    end += 1;
                    self.at += 1;
                },
            }
        }
        return self.broken();
    }

    fn escape(self: *Reader) Error!u21 {
        const begin = self.at;
        if (self.at + 1 >= self.text.len) return self.broken();
        const byte = self.text[self.at + 1];
        if (byte != 'u') {
            const point = plainEscape(byte) orelse return self.broken();
            self.at += 2;
            return point;
        }
        const first = try self.codeUnit();
        if (first < 0xd800 or first > 0xdfff) return first;
        if (first > 0xdbff or !self.is('\\')) return failure.reject(.encoding, .none, begin);
        const second = try self.codeUnit();
        if (second < 0xdc00 or second > 0xdfff) return failure.reject(.encoding, .none, begin);
        return 0x10000 + (@as(u21, first - 0xd800) << 10) + (second - 0xdc00);
    }

    /// Four hex digits after a backslash and `u`.
    fn codeUnit(self: *Reader) Error!u16 {
        if (self.text.len - self.at < 6 or self.text[self.at + 1] != 'u') return self.broken();
        var unit: u16 = 0;
        for (self.text[self.at + 2 ..][0..4]) |byte| {
            const digit = std.fmt.charToDigit(byte, 16) catch return self.broken();
            unit = unit << 4 | digit;
        }
        self.at += 6;
        return unit;
    }

    /// Pass over one value of any kind.
    pub fn skip(self: *Reader) Error!void {
        var closers: [max_depth]u8 = undefined;
        var count: usize = 0;
        while (true) {
            const opener = try self.head();
            if (opener == '{' or opener == '[') {
                if (self.depth + count == max_depth) return failure.reject(.depth, .none, self.at);
                const closer: u8 = if (opener == '{') '}' else ']';
                self.at += 1;
                if (try self.head() != closer) {
                    closers[count] = closer;
                    count += 1;
                    if (closer == '}') try self.skipName();
                    continue;
                }
                self.at += 1;
            } else {
                try self.skipScalar(opener);
            }
            count = try self.skipClosers(&closers, count);
            if (count == 0) return;
            if (closers[count - 1] == '}') try self.skipName();
        }
    }

    /// Close what ends here. Returns how many brackets remain open, a comma then being consumed.
    fn skipClosers(self: *Reader, closers: *const [max_depth]u8, open_count: usize) Error!usize {
        var count = open_count;
        while (count > 0) {
            const byte = try self.head();
            if (byte != ',' and byte != closers[count - 1]) return self.broken();
            self.at += 1;
            if (byte == ',') return count;
            count -= 1;
        }
        return 0;
    }

    fn skipName(self: *Reader) Error!void {
        if (try self.head() != '"') return self.broken();
        try self.skipString();
        try self.colon();
    }

    fn skipScalar(self: *Reader, first: u8) Error!void {
        switch (first) {
            '"' => try self.skipString(),
            't' => try self.word("true"),
            'f' => try self.word("false"),
            'n' => try self.word("null"),
            '-', '0'...'9' => _ = try self.number(),
            else => return self.broken(),
        }
    }

    fn skipString(self: *Reader) Error!void {
        self.at += 1;
        while (self.at < self.text.len) {
            switch (self.text[self.at]) {
                '"' => {
                    self.at += 1;
                    return;
                },
                '\\' => {
                    if (self.at + 1 >= self.text.len) return self.broken();
                    const byte = self.text[self.at + 1];
                    if (byte == 'u') {
                        _ = try self.codeUnit();
                        continue;
                    }
                    if (plainEscape(byte) == null) return self.broken();
                    self.at += 2;
                },
                0...0x1f => return self.broken(),
                else => self.at += 1,
            }
        }
        return self.broken();
    }
};

fn plainEscape(byte: u8) ?u21 {
    return switch (byte) {
        '"', '\\', '/' => byte,
        'b' => 8,
        'f' => 12,
        'n' => 10,
        'r' => 13,
        't' => 9,
        else => null,
    };
}
