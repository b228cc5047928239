//! Reads a document into the image of its model, field by field, as the models' tables say.

const std = @import("std");
const arrange = @import("arrange.zig");
const dates = @import("dates.zig");
const failure = @import("failure.zig");
const flag_models = @import("flag_models.zig");
const image = @import("image.zig");
const names = @import("names.zig");
const scratch = @import("scratch.zig");
const values = @import("values.zig");
const Reader = @import("reader.zig").Reader;

const Error = failure.Error;
const Field = flag_models.Field;

/// Read a whole document. The image is then `scratch.finished()`, or there is none when a `null` was allowed and found.
pub fn document(comptime Root: type, text: []u8, may_be_null: bool) Error!?[]align(8) const u8 {
    scratch.reset(Root);
    var reader = try Reader.init(text);
    const is_absent = may_be_null and try reader.takeNull();
    var root: Root = .{};
    if (!is_absent) try readModel(Root, &reader, &root);
    try reader.finish();
    if (is_absent) return null;
    scratch.putRoot(Root, &root);
    return scratch.finished();
}

fn readModel(comptime Model: type, reader: *Reader, out: *Model) Error!void {
    const table = comptime NameTable(Model);
    var seen: u32 = 0;
    var more = try reader.openObject();
    while (more) : (more = try reader.moreFields()) {
        const name_at = reader.at;
        const index = table.get(try reader.fieldName()) orelse {
            try reader.skip();
            continue;
        };
        failure.enterField(table.labels[index]);
        const bit = @as(u32, 1) << @intCast(index);
        // Both spellings of a name have one bit, so they too repeat each other.
        if (seen & bit != 0) return failure.reject(.repeated, .none, name_at);
        seen |= bit;
        inline for (Model.fields, 0..) |field, candidate| {
            if (index == candidate) try readField(Model, field, reader, out);
        }
        failure.leave();
    }
    inline for (Model.fields, 0..) |field, index| {
        if (field.need == .required and seen & (1 << index) == 0) {
            failure.enterField(field.name);
            return failure.reject(.missing, .none, reader.at);
        }
    }
    if (@hasDecl(Model, "settle")) out.settle();
}

fn readField(comptime Model: type, comptime field: Field, reader: *Reader, out: *Model) Error!void {
    const may_be_null = field.need == .optional or field.need == .defaulted;
    if (may_be_null and try reader.takeNull()) return;
    if (field.as == void) return readValue(@FieldType(Model, field.name), reader, &@field(out, field.name));
    const mark = scratch.mark();
    var dropped: field.as = .{};
    try readValue(field.as, reader, &dropped);
    scratch.rewind(mark);
}

fn readValue(comptime T: type, reader: *Reader, out: *T) Error!void {
    switch (T) {
        bool => out.* = try reader.boolean(),
        i64 => out.* = try reader.integer(),
        f64 => out.* = try reader.double(),
        else => switch (@typeInfo(T)) {
            .@"enum" => out.* = try readName(T, reader),
            else => try readShape(T, reader, out),
        },
    }
}

fn readShape(comptime T: type, reader: *Reader, out: *T) Error!void {
    switch (T.shape) {
        .text => out.* = try scratch.putText(try reader.string()),
        .presence => out.is_filled = (try reader.string()).len > 0,
        .named => {
            const text = try reader.string();
            out.* = .{ .text = try scratch.putText(text), .name = names.find(T.Meaning, text) orelse .none };
        },
        .value => {
            const text = try reader.string();
            out.* = values.Value.of(try scratch.putText(text), text);
        },
        .moment => readMoment(try reader.string(), out),
        .dated_text => {
            const text = try reader.string();
            out.text = try scratch.putText(text);
            readMoment(text, &out.moment);
        },
        .list => try readList(T, reader, out),
        .map => try readMap(T, reader, out),
        .optional => {
            out.is_given = true;
            if (@typeInfo(T.Inner) == .@"struct") out.value = .{};
            try readValue(T.Inner, reader, &out.value);
        },
        .model => try readModel(T, reader, out),
    }
}

fn readName(comptime Names: type, reader: *Reader) Error!Names {
    const text = try reader.string();
    if (names.find(Names, text)) |name| return name;
    if (Names.rejects_unknown) return failure.reject(.choice, .none, reader.at);
    return .none;
}

fn readMoment(text: []const u8, out: anytype) void {
    const instant = dates.rfc3339(text) orelse return;
    out.* = .{ .is_readable = true, .instant = instant };
}

fn readList(comptime T: type, reader: *Reader, out: *T) Error!void {
    var pile = scratch.Pile(T.Item).begin();
    failure.enterItem();
    var more = try reader.openArray();
    while (more) : (more = try reader.moreItems()) {
        const mark = scratch.mark();
        var item: T.Item = .{};
        try readValue(T.Item, reader, &item);
        failure.nextItem();
        if (@hasDecl(T.Order, "accepts") and !T.Order.accepts(&item)) {
            scratch.rewind(mark);
        } else try pile.push(item);
    }
    failure.leave();
    const count = try arrange.arrange(T.Item, T.Order, pile);
    out.* = .{ .at = try pile.end(count), .len = @intCast(count) };
}

fn MapOrder(comptime Entry: type) type {
    return struct {
        pub const keep = arrange.Keep.last;

        pub fn compare(base: image.Base, a: *const Entry, b: *const Entry) std.math.Order {
            return image.compare(base, a.name, base, b.name);
        }
    };
}

fn readMap(comptime T: type, reader: *Reader, out: *T) Error!void {
    var pile = scratch.Pile(T.Item).begin();
    var more = try reader.openObject();
    while (more) : (more = try reader.moreFields()) {
        var entry: T.Item = .{ .name = try scratch.putText(try reader.fieldName()) };
        if (T.nulls == .drop and try reader.takeNull()) {
            entry.is_kept = false;
        } else try readValue(@TypeOf(entry.value), reader, &entry.value);
        try pile.push(entry);
    }
    var count = try arrange.arrange(T.Item, MapOrder(T.Item), pile);
    if (T.nulls == .drop) count = removeNulls(T.Item, pile.items()[0..count]);
    out.* = .{ .at = try pile.end(count), .len = @intCast(count) };
}

fn removeNulls(comptime Entry: type, entries: []Entry) usize {
    var kept: usize = 0;
    for (entries) |entry| {
        if (!entry.is_kept) continue;
        entries[kept] = entry;
        kept += 1;
    }
    return kept;
}

/// The places of a model's fields by name, in both spellings.
fn NameTable(comptime Model: type) type {
    @setEvalBranchQuota(20_000);
    const takes_camel_case = !@hasDecl(Model, "takes_camel_case");
    var pairs: [Model.fields.len * 2]struct { []const u8, u8 } = undefined;
    var count: usize = 0;
    for (Model.fields, 0..) |field, index| {
        pairs[count] = .{ field.name, index };
        count += 1;
        const other = camelCase(field.name);
        if (!takes_camel_case or std.mem.eql(u8, other, field.name)) continue;
        pairs[count] = .{ other, index };
        count += 1;
    }
    var all_labels: [Model.fields.len][]const u8 = undefined;
    for (Model.fields, &all_labels) |field, *label| label.* = field.name;
    const final = pairs[0..count].*;
    const final_labels = all_labels;
    return struct {
        const labels = final_labels;
        const map = std.StaticStringMap(u8).initComptime(final);

        fn get(name: []const u8) ?u8 {
            return map.get(name);
        }
    };
}

fn camelCase(comptime name: []const u8) []const u8 {
    var out: [name.len]u8 = undefined;
    var count: usize = 0;
    var is_upper = false;
    for (name) |byte| {
        if (byte == '_') {
            is_upper = true;
            continue;
        }
        out[count] = if (is_upper) std.ascii.toUpper(byte) else byte;
        is_upper = false;
        count += 1;
    }
    const final = out[0..count].*;
    return &final;
}
