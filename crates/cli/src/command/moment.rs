//! Times as users give them: Unix seconds, dates of any exactness, or how long ago.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::flags::parse_duration;

/// Unix seconds with nanoseconds, `1136073600.000000001`, as the API takes them; empty stays empty.
pub(super) fn unix(text: &str) -> Result<String, String> {
    read(text, Timestamp::now())
}

fn read(text: &str, now: Timestamp) -> Result<String, String> {
    if text.is_empty()
        || text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') && !text.contains("..")
    {
        return Ok(text.to_owned());
    }
    if let Ok(nanoseconds) = parse_duration(text) {
        return Ok(written(now - SignedDuration::from_nanos(nanoseconds)));
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(written(time));
    }
    let local = complete(text).parse::<DateTime>().and_then(|date| date.to_zoned(TimeZone::system()));
    match local {
        Ok(time) => Ok(written(time.timestamp())),
        Err(_) => Err(format!("failed to parse value as time or duration: {text:?}")),
    }
}

/// Adds what is left out of `2006-01-02T15`.
fn complete(text: &str) -> String {
    match text.len() {
        13 if text.contains('T') => format!("{text}:00"),
        10 => format!("{}T00:00:00", text.trim_end_matches('Z')),
        _ => text.to_owned(),
    }
}

fn written(time: Timestamp) -> String {
    format!("{}.{:09}", time.as_second(), time.subsec_nanosecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_in_all_forms() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        for (text, wanted) in [
            ("", ""),
            ("1136073600.000000001", "1136073600.000000001"),
            ("10m", "999400.000000000"),
            ("2013-01-02T13:23:37Z", "1357133017.000000000"),
            ("2013-01-02T13:23:37.5+01:00", "1357129417.500000000"),
        ] {
            assert_eq!(read(text, now).unwrap(), wanted, "{text}");
        }
        assert!(read("2013-01-02", now).is_ok() && read("2013-01-02T13", now).is_ok());
        assert!(read("yesterday", now).is_err());
    }
}
