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
