//! Sizes and times as people read them, in the words and roundings that Docker's output has.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// A size in decimal units with three digits: `1.23MB`.
pub(crate) fn size(bytes: i64) -> String {
    scaled(bytes as f64, 1000.0, &DECIMAL, 3)
}

/// The same with four digits, as totals are shown.
pub(crate) fn size_exact(bytes: i64) -> String {
    scaled(bytes as f64, 1000.0, &DECIMAL, 4)
}

/// A size in binary units with four digits: `1.5MiB`.
pub(crate) fn size_binary(bytes: f64) -> String {
    scaled(bytes, 1024.0, &BINARY, 4)
}

const DECIMAL: [&str; 9] = ["B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"];
const BINARY: [&str; 9] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"];

fn scaled(mut size: f64, base: f64, units: &[&str; 9], digits: usize) -> String {
    let mut unit = 0;
    while size >= base && unit < units.len() - 1 {
        size /= base;
        unit += 1;
    }
    format!("{}{}", general(size, digits), units[unit])
}

/// C's `%.{digits}g`.
fn general(number: f64, digits: usize) -> String {
    if number == 0.0 {
        return "0".into();
    }
    let scientific = format!("{number:.*e}", digits - 1);
    let (mantissa, exponent) = scientific.split_once('e').expect("the format has an exponent");
    let exponent: i32 = exponent.parse().expect("the format's exponent is a number");
    let precision = i32::try_from(digits).expect("few digits");
    if exponent < -4 || exponent >= precision {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", trimmed(mantissa), exponent.abs());
    }
    let decimals = usize::try_from(precision - 1 - exponent).unwrap_or(0);
    trimmed(&format!("{number:.decimals$}")).to_owned()
}

fn trimmed(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

/// A length of time in one unit: `About a minute`.
pub(crate) fn duration(seconds: i64) -> String {
    let minutes = seconds / 60;
    let hours = (seconds as f64 / 3600.0).round() as i64;
    match () {
        () if seconds < 1 => "Less than a second".into(),
        () if seconds == 1 => "1 second".into(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".into(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".into(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        () if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", seconds / 3600 / 24 / 365),
    }
}

/// How long ago a Unix time was.
pub(crate) fn ago(unix_seconds: i64, now: Timestamp) -> String {
    format!("{} ago", duration(now.as_second() - unix_seconds))
}

/// `2026-11-21 09:37:57 +0000 UTC`, in the user's time zone.
pub(crate) fn moment(unix_seconds: i64) -> String {
    local(unix_seconds, "%Y-%m-%d %H:%M:%S %z %Z")
}

/// `2026-11-21T09:37:57Z`, in the user's time zone.
pub(crate) fn rfc3339(unix_seconds: i64) -> String {
    utc_as_z(local(unix_seconds, "%Y-%m-%dT%H:%M:%S%:z"))
}

/// The same with nanoseconds, none of them left out.
pub(crate) fn rfc3339_nano(unix_nanoseconds: i64) -> String {
    let time = Timestamp::from_nanosecond(unix_nanoseconds.into()).unwrap_or_default();
    utc_as_z(time.to_zoned(TimeZone::system()).strftime("%Y-%m-%dT%H:%M:%S.%9f%:z").to_string())
}

fn local(unix_seconds: i64, format: &str) -> String {
    let time = Timestamp::from_second(unix_seconds).unwrap_or_default();
    time.to_zoned(TimeZone::system()).strftime(format).to_string()
}

fn utc_as_z(text: String) -> String {
    match text.strip_suffix("+00:00") {
        Some(start) => format!("{start}Z"),
        None => text,
    }
}

/// `Fri May 30 12:07:14 2025` from an RFC 3339 time; anything else stays as it is.
pub(crate) fn date(text: &str) -> String {
    match text.parse::<Timestamp>() {
        Ok(time) => time.strftime("%a %b %e %H:%M:%S %Y").to_string(),
        Err(_) => text.to_owned(),
    }
}

/// An RFC 3339 time as Go prints times: `2026-11-21 09:37:57.5 +0000 UTC`.
pub(crate) fn go_time(text: &str) -> String {
    match text.parse::<Timestamp>() {
        Ok(time) => time.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S%.f +0000 UTC").to_string(),
        Err(_) => text.to_owned(),
    }
}

/// The first twelve digits of an id, without its algorithm.
pub(crate) fn short_id(id: &str) -> &str {
    let digits = id.split_once(':').map_or(id, |(_, digits)| digits);
    digits.get(..12).unwrap_or(digits)
}

/// Cuts text to a width, with a sign that it was cut.
pub(crate) fn ellipsis(text: &str, width: usize) -> String {
    if super::tabs::display_width(text) <= width {
        return text.to_owned();
    }
    let mut cut = String::new();
    for letter in text.chars() {
        cut.push(letter);
        if super::tabs::display_width(&cut) > width.saturating_sub(1) {
            cut.pop();
            break;
        }
    }
    cut + "…"
}

/// Text in double quotes, with Go's escapes.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{b}' => quoted.push_str("\\v"),
            '\u{c}' => quoted.push_str("\\f"),
            control if control.is_ascii_control() => {
                quoted.push_str(&format!("\\x{:02x}", u32::from(control)));
            }
            other => quoted.push(other),
        }
    }
    quoted + "\""
}

/// Go's words for what the kernel said: `no such file or directory`.
pub(crate) fn kernel_words(error: &std::io::Error) -> String {
    let text = error.to_string();
    let Some((words, _)) = text.split_once(" (os error") else { return text };
    let (first, rest) = words.split_at(words.chars().next().map_or(0, char::len_utf8));
    first.to_lowercase() + rest
}

/// Orders names as people do: `a2` before `a10`.
pub(crate) fn natural(a: &str, b: &str) -> std::cmp::Ordering {
    let (mut left, mut right) = (a, b);
    while let (Some(x), Some(y)) = (left.chars().next(), right.chars().next()) {
        let order = if x.is_ascii_digit() && y.is_ascii_digit() {
            let (m, n) = (digits(left), digits(right));
            left = &left[m.len()..];
            right = &right[n.len()..];
            let (m, n) = (m.trim_start_matches('0'), n.trim_start_matches('0'));
            m.len().cmp(&n.len()).then_with(|| m.cmp(n))
        } else {
            left = &left[x.len_utf8()..];
            right = &right[y.len_utf8()..];
            x.cmp(&y)
        };
        if order.is_ne() {
            return order;
        }
    }
    left.len().cmp(&right.len()).then_with(|| a.cmp(b))
}

fn digits(text: &str) -> &str {
    &text[..text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rounded_as_docker_rounds_them() {
        for (bytes, three, four) in [
            (0, "0B", "0B"),
            (999, "999B", "999B"),
            (1000, "1kB", "1kB"),
            (1_234_567, "1.23MB", "1.235MB"),
            (123_456_789, "123MB", "123.5MB"),
            (999_999, "1e+03kB", "1000kB"),
            (4_269_000, "4.27MB", "4.269MB"),
        ] {
            assert_eq!((size(bytes), size_exact(bytes)), (three.into(), four.into()));
        }
        assert_eq!(size_binary(1536.0), "1.5KiB");
        assert_eq!(size_binary(100.0 * 1024.0 * 1024.0), "100MiB");
    }

    #[test]
    fn times_have_one_unit() {
        for (seconds, text) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (3600, "About an hour"),
            (5400, "2 hours"),
            (172_800, "2 days"),
            (1_209_600, "2 weeks"),
            (5_184_000, "2 months"),
            (63_072_000, "2 years"),
        ] {
            assert_eq!(duration(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn long_text_is_cut_and_odd_text_is_quoted() {
        assert_eq!(ellipsis("sleep 1000000000000000", 20), "sleep 1000000000000…");
        assert_eq!(ellipsis("exactly twenty chars", 20), "exactly twenty chars");
        assert_eq!(quoted("say \"hi\"\n\u{1}"), r#""say \"hi\"\n\x01""#);
        assert_eq!(short_id("sha256:0123456789abcdef"), "0123456789ab");
        assert_eq!(date("2025-05-30T12:07:14.000000000+00:00"), "Fri May 30 12:07:14 2025");
    }

    #[test]
    fn the_kernel_speaks_as_in_go() {
        let words = |errno| kernel_words(&std::io::Error::from_raw_os_error(errno));
        assert_eq!(
            (words(2), words(28)),
            ("no such file or directory".into(), "no space left on device".into())
        );
    }

    #[test]
    fn names_are_ordered_as_people_order_them() {
        let mut names = ["a10", "b", "a2", "a02x", "A"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(names, ["A", "a2", "a02x", "a10", "b"]);
    }
}
