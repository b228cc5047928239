//! The rules that a question is decided by, in the order in which they are tried.
//!
//! A flag's rules, and those of a company or user for one flag, are sorted when they arrive. The pool merges the three
//! runs as it goes; of equal rules the flag's come first, then the company's, then the user's.

const std = @import("std");
const flag_models = @import("flag_models.zig");
const image = @import("image.zig");
const questions = @import("question.zig");

const Rule = flag_models.Rule;

const Run = struct {
    rules: []const Rule = &.{},
    base: image.Base,
    owner: i32,
    /// The place of the first rule of the run in its owner's list.
    offset: usize = 0,
};

/// A rule, and where it is from.
pub const Candidate = struct {
    rule: *const Rule,
    base: image.Base,
    owner: i32,
    slot: u32,
};

pub const Pool = struct {
    runs: [3]Run,
    count: usize,

    pub fn of(question: *const questions.Question) Pool {
        const flag = question.flag;
        const own = Run{ .rules = flag.root.rules.items(flag.base), .base = flag.base, .owner = flag.handle };
        var pool = Pool{ .runs = @splat(own), .count = 1 };
        if (question.company) |company| pool.add(flag, company, company.root.rules);
        if (question.user) |user| pool.add(flag, user, user.root.rules);
        return pool;
    }

    fn add(self: *Pool, flag: questions.View(flag_models.Flag), owner: anytype, list: flag_models.EntityRules) void {
        const rules = list.items(owner.base);
        const first = firstNotBefore(rules, owner.base, flag, false);
        const last = firstNotBefore(rules, owner.base, flag, true);
        if (first == last) return;
        self.runs[self.count] = .{
            .rules = rules[first..last],
            .base = owner.base,
            .owner = owner.handle,
            .offset = first,
        };
        self.count += 1;
    }

    pub fn next(self: *Pool) ?Candidate {
        var best: ?*Run = null;
        for (self.runs[0..self.count]) |*run| {
            if (run.rules.len == 0) continue;
            const is_better = if (best) |other| run.rules[0].order(&other.rules[0]) == .lt else true;
            if (is_better) best = run;
        }
        const run = best orelse return null;
        defer {
            run.rules = run.rules[1..];
            run.offset += 1;
        }
        return .{ .rule = &run.rules[0], .base = run.base, .owner = run.owner, .slot = @intCast(run.offset) };
    }
};

/// Where the rules of a flag begin, or with `after`, where those behind them begin.
fn firstNotBefore(
    rules: []const Rule,
    base: image.Base,
    flag: questions.View(flag_models.Flag),
    after: bool,
) usize {
    var low: usize = 0;
    var high = rules.len;
    while (low < high) {
        const middle = low + (high - low) / 2;
        const order = image.compare(base, rules[middle].flag_id, flag.base, flag.root.id);
        if (order == .lt or (after and order == .eq)) low = middle + 1 else high = middle;
    }
    return low;
}
