//! Numbers inside texts: the strict integers and loose numbers of trait values, and doubles written out.

const std = @import("std");

/// `[+-]?[0-9]+` within 64 bits, else null.
pub fn strictInteger(text: []const u8) ?i64 {
    const digits = if (text.len > 0 and isSign(text[0])) text[1..] else text;
    if (digits.len == 0 or countDigits(digits) != digits.len) return null;
    return std.fmt.parseInt(i64, text, 10) catch null;
}

/// `[+-]?(digits[.digits*] | .digits)([eE][+-]?digits)?` as a double, else null; null also when infinite.
pub fn looseNumber(text: []const u8) ?f64 {
    if (!isLoose(text)) return null;
    // The grammar is checked first because the parser also takes `1_000`, `0x10` and `nan`.
    const value = std.fmt.parseFloat(f64, text) catch return null;
    return if (std.math.isFinite(value)) value else null;
}

/// Given the shortest decimal of a double as the standard library writes it, take the one away from zero where two are
/// equally near; the standard library takes the even one.
///
/// Whole numbers are never halfway: what lies halfway between two multiples of 10^k is no multiple of 2^k, and doubles
/// that are 10^k or more apart all are. The upper decimal reads back as the same double because the lower one, just as
/// far away, does: the gap above a double is never the narrower one.
pub fn takeUpperOfTie(text: []u8, value: f64) void {
    const point = std.mem.indexOfScalar(u8, text, '.') orelse return;
    var digits: u64 = 0;
    for (text) |byte| {
        if (std.ascii.isDigit(byte)) digits = digits * 10 + (byte - '0');
    }
    if (!isHalfway(value, 2 * digits + 1, text.len - point - 1)) return;
    // The even one of two neighbours does not end in 9, so nothing is carried.
    text[text.len - 1] += 1;
}

/// Whether twice the double is exactly `odd` divided by 10^places.
fn isHalfway(value: f64, odd: u64, places: usize) bool {
    const bits: u64 = @bitCast(value);
    const biased: i32 = @intCast(bits >> 52 & 0x7ff);
    const fraction = bits & ((1 << 52) - 1);
    const mantissa = if (biased == 0) fraction else fraction | 1 << 52;
    const exponent: i32 = @max(biased, 1);
    const twos = exponent - 1074 + @ctz(mantissa);
    if (twos != -@as(i32, @intCast(places))) return false;
    // Now both sides have the same power of two; left to compare are odd numbers below 10^18.
    var left = mantissa >> @intCast(@ctz(mantissa));
    for (0..places) |_| {
        if (left > odd) return false;
        left *= 5;
    }
    return left == odd;
}

fn isLoose(text: []const u8) bool {
    var at: usize = 0;
    if (text.len > 0 and isSign(text[0])) at = 1;
    const whole = countDigits(text[at..]);
    at += whole;
    if (at < text.len and text[at] == '.') {
        const fraction = countDigits(text[at + 1 ..]);
        if (whole == 0 and fraction == 0) return false;
        at += 1 + fraction;
    } else if (whole == 0) return false;
    if (at == text.len) return true;
    if (text[at] != 'e' and text[at] != 'E') return false;
    at += 1;
    if (at < text.len and isSign(text[at])) at += 1;
    const exponent = countDigits(text[at..]);
    return exponent > 0 and at + exponent == text.len;
}

fn isSign(byte: u8) bool {
    return byte == '+' or byte == '-';
}

fn countDigits(text: []const u8) usize {
    for (text, 0..) |byte, index| {
        if (!std.ascii.isDigit(byte)) return index;
    }
    return text.len;
}
