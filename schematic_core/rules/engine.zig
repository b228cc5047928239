//! The rules engine as a WebAssembly module: evaluates flags held in its own memory. It imports nothing.
//!
//! # Interface, version 1
//!
//! All numbers are little-endian. Calls are made one at a time; what a call left in a block stays until the next call.
//!
//! | export | gives |
//! | --- | --- |
//! | `abi() -> i32` | the version of this interface |
//! | `input(size) -> i32` | where to write a document of that size, 0 when it is too large |
//! | `put_flag(size)`, `put_company(size)`, `put_user(size)`, `put_options(size) -> i32` | reads the written document: a handle above 0; 0 for a company, user or options document that is `null`; a failure code below 0 with the rest in the error block |
//! | `drop(handle) -> i32` | frees an entity; nothing for a handle that is not valid. 0 |
//! | `check(flag, company, user, options, now_millis: i64) -> i32` | fills the answer block; handle 0 means "not given". 0, or -1 when a handle is not valid |
//! | `text(kind, handle, slot) -> i32` | the length of a text written at `text_block()`, or -1 when there is none |
//! | `answer_block()`, `error_block()`, `text_block()`, `stats_block() -> i32` | fixed addresses |
//!
//! Answer block (96 bytes): 0 value (u8), 1 outcome (u8), 2 rule type (u8), 3 parts (u8: 1 usage, 2 reset, 4 event,
//! 8 policy) · the question's handles: 4 flag, 8 company, 12 user, 16 options · the rule that held: 20 handle of its
//! owner, 24 slot · 28 entitlement slot · 32 usage, 40 allocation (i64) · 48 reset in seconds since 1970 (i64),
//! 56 nanoseconds (u32; a billion or more in a leap second) · 60 period (u8) · 64 horizon: the answer holds for every
//! clock from this one to before this millisecond (i64, 2^63-1 = for ever) · the breached policy: 72 handle of its
//! owner, 76 slot, 80 cost (f64) · 88 clock (i64). Slots are -1 when there is none.
//!
//! Error block (12 bytes): 0 code, as returned but positive, 4 what was expected (u32), 8 byte of the document (u32).
//! Stats block (8 bytes): 0 entities held, 4 their bytes.
//!
//! Outcomes, codes, kinds of text and enums are numbered in the order of answer.zig, failure.zig, texts.zig, names.zig.

const answers = @import("answer.zig");
const calendar = @import("calendar.zig");
const checks = @import("check.zig");
const decode = @import("decode.zig");
const entity_models = @import("entity_models.zig");
const failure = @import("failure.zig");
const flag_models = @import("flag_models.zig");
const handles = @import("handles.zig");
const questions = @import("question.zig");
const scratch = @import("scratch.zig");
const texts = @import("texts.zig");

const not_valid = -1;

var answer: answers.Block align(64) = undefined;

export fn abi() i32 {
    return 1;
}

export fn input(size: u32) i32 {
    return if (size > scratch.max_document) 0 else addressOf(&scratch.document);
}

export fn put_flag(size: u32) i32 {
    return put(flag_models.Flag, .flag, size);
}

export fn put_company(size: u32) i32 {
    return put(entity_models.Company, .company, size);
}

export fn put_user(size: u32) i32 {
    return put(entity_models.User, .user, size);
}

export fn put_options(size: u32) i32 {
    return put(entity_models.Options, .options, size);
}

fn put(comptime Root: type, kind: handles.Kind, size: u32) i32 {
    return tryPut(Root, kind, size) catch -@backingInt(failure.block.code);
}

fn tryPut(comptime Root: type, kind: handles.Kind, size: u32) failure.Error!i32 {
    failure.reset();
    if (size > scratch.max_document) return failure.reject(.too_large, .none, 0);
    const finished = try decode.document(Root, scratch.document[0..size], kind != .flag);
    return if (finished) |bytes| handles.hold(kind, bytes) else 0;
}

export fn drop(handle: i32) i32 {
    handles.drop(handle);
    return 0;
}

export fn check(flag: i32, company: i32, user: i32, options: i32, now_millis: i64) i32 {
    const flag_base = handles.get(.flag, flag) orelse return not_valid;
    const question = questions.Question{
        .flag = .of(flag_base, flag),
        .company = view(entity_models.Company, .company, company) catch return not_valid,
        .user = view(entity_models.User, .user, user) catch return not_valid,
        .options = view(entity_models.Options, .options, options) catch return not_valid,
        .now = calendar.Instant.ofMillis(now_millis),
    };
    checks.run(&question, now_millis, &answer);
    return 0;
}

fn view(comptime Root: type, kind: handles.Kind, handle: i32) error{NotValid}!?questions.View(Root) {
    if (handle == 0) return null;
    return .of(handles.get(kind, handle) orelse return error.NotValid, handle);
}

export fn text(kind: i32, handle: i32, slot: i32) i32 {
    const size = texts.write(kind, handle, slot, &answer) catch return not_valid;
    return @intCast(size);
}

export fn answer_block() i32 {
    return addressOf(&answer);
}

export fn error_block() i32 {
    return addressOf(&failure.block);
}

export fn text_block() i32 {
    return addressOf(scratch.text_out.ptr);
}

export fn stats_block() i32 {
    return addressOf(&handles.stats);
}

fn addressOf(pointer: anytype) i32 {
    return @intCast(@intFromPtr(pointer));
}
