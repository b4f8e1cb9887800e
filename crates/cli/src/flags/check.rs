//! Values as Go reads them: numbers, switches, durations, sizes. The error texts are Go's, because they are shown.

use api::units::{self, go_error};

/// `1`, `t`, `T`, `true`, `TRUE`, `True` and their opposites.
pub(crate) fn bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

pub(super) fn switch(text: &str) -> Result<String, String> {
    match bool(text) {
        Some(on) => Ok(on.to_string()),
        None => Err(format!("strconv.ParseBool: parsing {text:?}: invalid syntax")),
    }
}

pub(super) fn int(text: &str) -> Result<String, String> {
    integer(text).map(|number| number.to_string()).map_err(|problem| go_error("ParseInt", text, &problem))
}

/// Decimal, or with Go's prefixes `0x`, `0o`, `0b`, `0`.
pub(crate) fn integer(text: &str) -> Result<i64, String> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let magnitude = unsigned(digits)?;
    let signed = if negative { -i128::from(magnitude) } else { i128::from(magnitude) };
    i64::try_from(signed).map_err(|_| OUT_OF_RANGE.into())
}

/// The same without a sign.
pub(crate) fn unsigned(text: &str) -> Result<u64, String> {
    let (digits, radix) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&text[2..], 16),
        [b'0', b'o' | b'O', ..] => (&text[2..], 8),
        [b'0', b'b' | b'B', ..] => (&text[2..], 2),
        [b'0', _, ..] => (&text[1..], 8),
        _ => (text, 10),
    };
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return Err(INVALID.into());
    }
    u64::from_str_radix(digits, radix).map_err(|_| OUT_OF_RANGE.into())
}

pub(super) fn span(text: &str) -> Result<String, String> {
    duration(text).map(|_| text.to_owned())
}

/// Nanoseconds of a Go duration: `1h15m30.5s`.
pub(crate) fn duration(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {text:?}");
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let (digits, after) = decimal(rest);
        let number: f64 = digits.parse().map_err(|_| invalid())?;
        rest = after;
        let unit = &rest[..rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len())];
        let scale = match unit {
            "" => return Err(format!("time: missing unit in duration {text:?}")),
            unit => unit_nanoseconds(unit)
                .ok_or_else(|| format!("time: unknown unit {unit:?} in duration {text:?}"))?,
        };
        total += number * scale;
        rest = &rest[unit.len()..];
    }
    if total >= i64::MAX as f64 {
        return Err(invalid());
    }
    Ok((sign * total).round() as i64)
}

/// Digits with at most one point among them, and what follows.
fn decimal(text: &str) -> (&str, &str) {
    let is_other = |c: char| !c.is_ascii_digit();
    let whole = text.find(is_other).unwrap_or(text.len());
    let end = match text[whole..].strip_prefix('.') {
        Some(fraction) => text.len() - fraction.len() + fraction.find(is_other).unwrap_or(fraction.len()),
        None => whole,
    };
    text.split_at(end)
}

fn unit_nanoseconds(unit: &str) -> Option<f64> {
    Some(match unit {
        "ns" => 1.0,
        "us" | "µs" | "μs" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        "m" => 60e9,
        "h" => 3600e9,
        _ => return None,
    })
}

pub(super) fn size(text: &str) -> Result<String, String> {
    units::bytes(text).map(|bytes| bytes.to_string())
}

/// Comma-separated values, or none.
pub(super) fn strings(text: &str) -> Result<String, String> {
    if text.is_empty() { Ok(String::new()) } else { super::csv::fields(text).map(|_| text.to_owned()) }
}

pub(super) fn filter(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains('=') {
        return Ok(text.to_owned());
    }
    Err("bad format of filter (expected name=value)".into())
}

const INVALID: &str = "invalid syntax";
const OUT_OF_RANGE: &str = "value out of range";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_read_as_in_go() {
        for (text, number) in [("12", 12), ("-1", -1), ("0x10", 16), ("010", 8), ("0", 0), ("0b11", 3)] {
            assert_eq!(integer(text), Ok(number), "{text}");
        }
        assert_eq!(int("abc").unwrap_err(), r#"strconv.ParseInt: parsing "abc": invalid syntax"#);
        assert_eq!(
            int("99999999999999999999").unwrap_err(),
            r#"strconv.ParseInt: parsing "99999999999999999999": value out of range"#
        );
    }

    #[test]
    fn durations_read_as_in_go() {
        for (text, nanoseconds) in [
            ("1s", 1_000_000_000),
            ("1h1m", 3_660_000_000_000),
            ("1.5ms", 1_500_000),
            ("0", 0),
            ("-2us", -2_000),
        ] {
            assert_eq!(duration(text), Ok(nanoseconds), "{text}");
        }
        for (text, problem) in [
            ("5", r#"time: missing unit in duration "5""#),
            ("1.5.5s", r#"time: missing unit in duration "1.5.5s""#),
            ("abc", r#"time: invalid duration "abc""#),
            ("5x", r#"time: unknown unit "x" in duration "5x""#),
            ("", r#"time: invalid duration """#),
        ] {
            assert_eq!(duration(text).unwrap_err(), problem);
        }
    }
}
