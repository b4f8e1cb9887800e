//! One entry of a log: a line of JSON on disk, and how the client gets it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use api::container::LogOptions;
use api::stdcopy::{self, Stream};
use serde::Deserialize;

/// `{"log":"text\n","stream":"stdout","attrs":{…},"time":"2025-01-31T23:59:59.000000001Z"}`
#[derive(Debug, Deserialize)]
pub(super) struct Entry<'a> {
    #[serde(borrow)]
    log: Cow<'a, str>,
    #[serde(borrow)]
    stream: Cow<'a, str>,
    #[serde(borrow)]
    time: Cow<'a, str>,
    #[serde(default)]
    attrs: BTreeMap<String, String>,
}

/// What of an entry is wanted, and in which form.
#[derive(Clone, Debug)]
pub(super) struct Format {
    pub(super) options: LogOptions,
    pub(super) framed: bool,
}

/// What became of an entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Written,
    LeftOut,
    /// It is later than what was asked for, and so is all that follows.
    Over,
}

impl Format {
    /// Appends the entry on this line, if it is wanted. A line that is no entry (a torn write before a power loss) is
    /// left out.
    pub(super) fn append(&self, line: &[u8], out: &mut Vec<u8>) -> Outcome {
        let Ok(entry) = serde_json::from_slice::<Entry<'_>>(line) else { return Outcome::LeftOut };
        let stream = if entry.stream == "stderr" { Stream::Stderr } else { Stream::Stdout };
        let wanted = if stream == Stream::Stderr { self.options.stderr } else { self.options.stdout };
        match self.when(&entry.time) {
            When::Before => return Outcome::LeftOut,
            When::After => return Outcome::Over,
            When::Within if !wanted => return Outcome::LeftOut,
            When::Within => {}
        }
        let start = out.len();
        if self.framed {
            out.extend([0; stdcopy::HEADER_LEN]);
        }
        self.append_text(&entry, out);
        if self.framed {
            let length = out.len() - start - stdcopy::HEADER_LEN;
            let length = u32::try_from(length).expect("lines are read up to a mebibyte");
            out[start..start + stdcopy::HEADER_LEN].copy_from_slice(&stdcopy::header(stream, length));
        }
        Outcome::Written
    }

    fn append_text(&self, entry: &Entry<'_>, out: &mut Vec<u8>) {
        if self.options.timestamps {
            out.extend(with_nine_digits(&entry.time).as_bytes());
            out.push(b' ');
        }
        if self.options.details {
            let details: Vec<String> = entry
                .attrs
                .iter()
                .map(|(key, value)| format!("{}={}", query_escaped(key), query_escaped(value)))
                .collect();
            out.extend(details.join(",").as_bytes());
            out.push(b' ');
        }
        out.extend(entry.log.as_bytes());
    }

    fn when(&self, time: &str) -> When {
        let LogOptions { since, until, .. } = self.options;
        if since.is_none() && until.is_none() {
            return When::Within;
        }
        // Unreadable times are better shown than lost.
        let Ok(time) = time.parse::<jiff::Timestamp>() else { return When::Within };
        let time = i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX);
        match (since, until) {
            (Some(since), _) if time < since => When::Before,
            (_, Some(until)) if time > until => When::After,
            _ => When::Within,
        }
    }
}

/// Go's `url.QueryEscape`.
fn query_escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => escaped.push(byte.into()),
            b' ' => escaped.push('+'),
            _ => escaped += &format!("%{byte:02X}"),
        }
    }
    escaped
}

/// Logs leave out zeros at the end of a fraction, which are shown.
fn with_nine_digits(time: &str) -> String {
    let Some(time) = time.strip_suffix('Z') else { return time.to_owned() };
    let (seconds, fraction) = time.split_once('.').unwrap_or((time, ""));
    format!("{seconds}.{fraction:0<9}Z")
}

enum When {
    Before,
    Within,
    After,
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &[u8] = br#"{"log":"a \"b\"\n","stream":"stderr","time":"2025-01-31T23:59:59.000000001Z"}"#;

    fn format(options: LogOptions) -> Format {
        Format { options: LogOptions { stdout: true, stderr: true, ..options }, framed: false }
    }

    fn text(format: &Format, line: &[u8]) -> (String, Outcome) {
        let mut out = Vec::new();
        let outcome = format.append(line, &mut out);
        (String::from_utf8(out).unwrap(), outcome)
    }

    #[test]
    fn entries_are_shown_as_asked() {
        assert_eq!(text(&format(LogOptions::default()), LINE), ("a \"b\"\n".into(), Outcome::Written));
        let stamped = format(LogOptions { timestamps: true, ..LogOptions::default() });
        assert_eq!(text(&stamped, LINE).0, "2025-01-31T23:59:59.000000001Z a \"b\"\n");
        let round = br#"{"log":"x\n","stream":"stdout","time":"2025-01-31T23:59:59Z"}"#;
        assert_eq!(text(&stamped, round).0, "2025-01-31T23:59:59.000000000Z x\n");
        let round = br#"{"log":"x\n","stream":"stdout","time":"2025-01-31T23:59:59.25Z"}"#;
        assert_eq!(text(&stamped, round).0, "2025-01-31T23:59:59.250000000Z x\n");
        let detailed = format(LogOptions { details: true, ..LogOptions::default() });
        let line = br#"{"log":"x\n","stream":"stdout","attrs":{"a":"1","b":"2/ \u00fc"},"time":""}"#;
        assert_eq!(text(&detailed, line).0, "a=1,b=2%2F+%C3%BC x\n");
    }

    #[test]
    fn frames_carry_stream_and_length() {
        let format = Format { framed: true, ..format(LogOptions::default()) };
        let mut out = Vec::new();
        format.append(LINE, &mut out);
        assert_eq!(out, [&stdcopy::header(Stream::Stderr, 6)[..], b"a \"b\"\n"].concat());
    }

    #[test]
    fn other_streams_times_and_torn_lines_are_left_out() {
        let only_stdout =
            Format { options: LogOptions { stdout: true, ..LogOptions::default() }, framed: false };
        assert_eq!(text(&only_stdout, LINE).1, Outcome::LeftOut);
        let second: i64 = 1_738_367_999_000_000_000;
        let later = format(LogOptions { since: Some(second + 2), ..LogOptions::default() });
        assert_eq!(text(&later, LINE).1, Outcome::LeftOut);
        let earlier = format(LogOptions { until: Some(second), ..LogOptions::default() });
        assert_eq!(text(&earlier, LINE).1, Outcome::Over);
        assert_eq!(text(&format(LogOptions::default()), &LINE[..20]).1, Outcome::LeftOut);
    }
}
