//! What filters of several objects share: points in time, and patterns of names.

use std::iter::Peekable;
use std::str::Chars;

use api::filters::Filters;
use fault::{Error, Result};
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};
use regex::bytes::{Regex, RegexBuilder};

/// The moment that `until` names, if it is among the filters of a prune.
pub(crate) fn until(filters: &Filters) -> Result<Option<Timestamp>> {
    match filters.values("until").collect::<Vec<_>>()[..] {
        [] => Ok(None),
        [text] => moment(text).map(Some),
        _ => Err(Error::invalid("more than one until filter specified")),
    }
}

/// A duration before now (`10m`, `1h30m`), a date with or without time and zone, or unix seconds, also with a fraction.
pub(crate) fn moment(text: &str) -> Result<Timestamp> {
    let now = Timestamp::now();
    let here = TimeZone::system().to_offset(now);
    moment_at(text, now, here)
        .ok_or_else(|| Error::invalid(format!("failed to parse value as time or duration: \"{text}\"")))
}

/// As dockerd reads it (moby, api/types/time/timestamp.go): a date without a zone is one of the zone that is here now.
fn moment_at(text: &str, now: Timestamp, here: Offset) -> Option<Timestamp> {
    if text != "0"
        && let Some(nanoseconds) = crate::changes::duration(text)
    {
        return now.checked_sub(SignedDuration::from_nanos(nanoseconds)).ok();
    }
    if text.contains('-') { date(text, here) } else { unix(text) }
}

/// `2024-01-04`, `…T15`, `…T15:04`, `…T15:04:05`, `…T15:04:05.999`, each also with `Z` or `+07:00` behind.
fn date(text: &str, here: Offset) -> Option<Timestamp> {
    let sign = text.get(DATE_LEN..)?.find(['+', '-']).map(|place| DATE_LEN + place);
    let (civil, offset) = match (text.strip_suffix('Z'), sign) {
        (Some(civil), _) => (civil, Offset::UTC),
        (None, Some(place)) => (&text[..place], offset(&text[place..])?),
        (None, None) => (text, here),
    };
    let clock = civil.get(DATE_LEN..)?;
    let whole = match (clock.len(), clock.starts_with('T')) {
        (0, _) => format!("{civil}T00:00:00"),
        (3, true) => format!("{civil}:00:00"),
        (6, true) => format!("{civil}:00"),
        (9.., true) => civil.to_owned(),
        _ => return None,
    };
    offset.to_timestamp(whole.parse().ok()?).ok()
}

const DATE_LEN: usize = "2024-01-04".len();

/// `+07:00`
fn offset(text: &str) -> Option<Offset> {
    let (hours, minutes) = text.get(1..)?.split_once(':')?;
    let two_digits = |text: &str| -> Option<i32> {
        let is_whole = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|_| is_whole)
    };
    let seconds = two_digits(hours)? * 3600 + two_digits(minutes)? * 60;
    Offset::from_seconds(if text.starts_with('-') { -seconds } else { seconds }).ok()
}

/// What lies beyond all times that there are is the last or the first of them.
fn unix(text: &str) -> Option<Timestamp> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let seconds: i64 = seconds.parse().ok()?;
    if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanoseconds = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    let end = if seconds < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Some(Timestamp::new(seconds, nanoseconds).unwrap_or(end))
}

/// Names that a filter chooses: each value is a name, or a regular expression that is somewhere in one. As with
/// dockerd, one that is malformed chooses nothing.
#[derive(Debug)]
pub(crate) struct Names {
    literal: Vec<String>,
    patterns: Vec<Regex>,
}

impl Names {
    pub(crate) fn of(filters: &Filters, name: &str) -> Self {
        let literal: Vec<String> = filters.values(name).map(str::to_owned).collect();
        let patterns = literal.iter().filter_map(|pattern| regex(pattern)).collect();
        Self { literal, patterns }
    }

    /// Everything, if nothing is asked.
    pub(crate) fn hold(&self, name: &str) -> bool {
        self.literal.is_empty()
            || self.literal.iter().any(|literal| literal == name)
            || self.patterns.iter().any(|pattern| pattern.is_match(name.as_bytes()))
    }
}

/// Patterns come from clients: what would take much memory or depth counts as malformed.
pub(crate) fn regex(pattern: &str) -> Option<Regex> {
    RegexBuilder::new(pattern)
        .unicode(false)
        .size_limit(REGEX_BYTES)
        .dfa_size_limit(REGEX_BYTES)
        .nest_limit(50)
        .build()
        .ok()
}

/// Compiled; enough for thousands of alternatives.
const REGEX_BYTES: usize = 1 << 20;

/// A pattern of Go's `path.Match`: `*` and `?` stop at slashes, `[a-z]` and `[^a]` are classes, `\` escapes.
#[derive(Debug)]
pub(crate) struct Glob(Vec<Part>);

#[derive(Debug)]
enum Part {
    Any,
    One,
    Literal(char),
    Class { negated: bool, ranges: Vec<(char, char)> },
}

impl Glob {
    pub(crate) fn parse(pattern: &str) -> Result<Self> {
        let wrong = || Error::invalid("syntax error in pattern");
        let mut rest = pattern.chars().peekable();
        let mut parts = Vec::new();
        while let Some(character) = rest.next() {
            parts.push(match character {
                '*' => Part::Any,
                '?' => Part::One,
                '[' => class(&mut rest).ok_or_else(wrong)?,
                '\\' => Part::Literal(rest.next().ok_or_else(wrong)?),
                literal => Part::Literal(literal),
            });
        }
        Ok(Self(parts))
    }

    /// In time of the product of both lengths: `reached[n]` tells whether the first n parts match what was read so far.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let mut reached = vec![false; self.0.len() + 1];
        reached[0] = true;
        self.pass_any(&mut reached);
        for character in text.chars() {
            let mut next = vec![false; reached.len()];
            for (index, part) in self.0.iter().enumerate().filter(|(index, _)| reached[*index]) {
                next[index] |= matches!(part, Part::Any) && character != '/';
                next[index + 1] |= part.takes(character);
            }
            self.pass_any(&mut next);
            reached = next;
        }
        reached.last().is_some_and(|whole| *whole)
    }

    /// A star may take nothing.
    fn pass_any(&self, reached: &mut [bool]) {
        for (index, part) in self.0.iter().enumerate() {
            reached[index + 1] |= reached[index] && matches!(part, Part::Any);
        }
    }
}

impl Part {
    fn takes(&self, character: char) -> bool {
        match self {
            Self::Any => false,
            Self::One => character != '/',
            Self::Literal(literal) => *literal == character,
            Self::Class { negated, ranges } => {
                character != '/'
                    && *negated != ranges.iter().any(|(low, high)| (*low..=*high).contains(&character))
            }
        }
    }
}

/// What follows the opening bracket; `None` if it is malformed.
fn class(rest: &mut Peekable<Chars<'_>>) -> Option<Part> {
    let negated = rest.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    while ranges.is_empty() || rest.next_if_eq(&']').is_none() {
        let low = class_end(rest)?;
        let high = if rest.next_if_eq(&'-').is_some() { class_end(rest)? } else { low };
        ranges.push((low, high));
    }
    Some(Part::Class { negated, ranges })
}

/// One end of a range; a bare hyphen or bracket is none.
fn class_end(rest: &mut Peekable<Chars<'_>>) -> Option<char> {
    match rest.next()? {
        '-' | ']' => None,
        '\\' => rest.next(),
        character => Some(character),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_gos() {
        let glob = |pattern: &str, text: &str| Glob::parse(pattern).unwrap().matches(text);
        for (pattern, text) in [
            ("busy*", "busybox"),
            ("busy*:1", "busybox:1"),
            ("b?s[a-y]box", "busybox"),
            ("*/x", "a/x"),
            ("[^a]", "b"),
            ("[\\]-_]", "^"),
            ("**a*", "ba"),
            ("", ""),
        ] {
            assert!(glob(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("busy", "busybox"), ("*", "a/x"), ("[^a]", "a"), ("?", "/"), ("[^a]", "/")] {
            assert!(!glob(pattern, text), "{pattern} {text}");
        }
        assert!(!glob(&"*a".repeat(500), &"a".repeat(499)), "many stars take no long time");
        for bad in ["[", "[]", "[a", "[-a]", "[a-]", "\\", "[^]"] {
            assert_eq!(Glob::parse(bad).unwrap_err().to_string(), "syntax error in pattern", "{bad}");
        }
    }

    #[test]
    fn names_are_chosen_by_regular_expressions() {
        let chosen = |pattern: &str, name: &str| {
            let mut filters = Filters::default();
            filters.insert("name", pattern);
            Names::of(&filters, "name").hold(name)
        };
        for pattern in ["eb", "w[a-f]b", "^web1$", "db|web", "(?i)WEB", "^.{4}$", "w.*\\d"] {
            assert!(chosen(pattern, "web1"), "{pattern}");
        }
        for pattern in ["^eb", "^web$", "[", "(", "web1(", "a{1000}{1000}{1000}", &"(".repeat(100_000)] {
            assert!(!chosen(pattern, "web1"), "{pattern}");
        }
        assert!(Names::of(&Filters::default(), "name").hold("anything"));
    }

    #[test]
    fn moments_have_three_forms() {
        let now: Timestamp = "2024-01-04T12:00:00Z".parse().unwrap();
        let last = Timestamp::MAX.to_string();
        let told = |text: &str| {
            moment_at(text, now, jiff::tz::offset(2)).map_or("none".to_owned(), |time| time.to_string())
        };
        for (text, moment) in [
            ("10m", "2024-01-04T11:50:00Z"),
            ("1h30m", "2024-01-04T10:30:00Z"),
            ("0", "1970-01-01T00:00:00Z"),
            ("1700000000", "2023-11-14T22:13:20Z"),
            ("1700000000.5", "2023-11-14T22:13:20.5Z"),
            ("99999999999999", last.as_str()),
            ("2024-01-04", "2024-01-03T22:00:00Z"),
            ("2024-01-04T15", "2024-01-04T13:00:00Z"),
            ("2024-01-04T15:04", "2024-01-04T13:04:00Z"),
            ("2024-01-04T15:04:05", "2024-01-04T13:04:05Z"),
            ("2024-01-04T15:04:05.25", "2024-01-04T13:04:05.25Z"),
            ("2024-01-04Z", "2024-01-04T00:00:00Z"),
            ("2024-01-04-07:00", "2024-01-04T07:00:00Z"),
            ("2024-01-04T15Z", "2024-01-04T15:00:00Z"),
            ("2024-01-04T15:04+07:00", "2024-01-04T08:04:00Z"),
            ("2024-01-04T15:04:05.999-01:30", "2024-01-04T16:34:05.999Z"),
        ] {
            assert_eq!(told(text), moment, "{text}");
        }
        for wrong in [
            "soon",
            "",
            "1.",
            "1.x",
            "-5",
            "2024-13-01",
            "2024-01-04T",
            "2024-01-04x",
            "2024-01-04T1+7",
            "2024-01-é4",
        ] {
            assert_eq!(told(wrong), "none", "{wrong}");
        }
    }

    #[test]
    fn a_duration_counts_back_from_now() {
        let before = Timestamp::now();
        let time = moment("10m").unwrap();
        let ago = |now: Timestamp| now - SignedDuration::from_mins(10);
        assert!(ago(before) <= time && time <= ago(Timestamp::now()));
        assert_eq!(
            moment("soon").unwrap_err().to_string(),
            "failed to parse value as time or duration: \"soon\""
        );
        let two = Filters::parse(r#"{"until":["1","2"]}"#).unwrap();
        assert_eq!(until(&two).unwrap_err().to_string(), "more than one until filter specified");
    }
}
