//! What filters of several objects share: points in time, and patterns of names.

use std::iter::Peekable;
use std::str::Chars;

use api::filters::Filters;
use fault::{Error, Result};
use regex::bytes::{Regex, RegexBuilder};

/// `until`: unix seconds (also with a fraction), RFC 3339, or a duration before now (`10m`, `1h30m`). In unix seconds.
pub(crate) fn moment(text: &str) -> Result<i64> {
    let now = sys::time::Timestamp::now().seconds;
    let seconds = text.split_once('.').map_or(text, |(seconds, _)| seconds);
    if let Ok(seconds) = seconds.parse() {
        return Ok(seconds);
    }
    if let Some(duration) = crate::changes::duration(text) {
        return Ok(now - duration / 1_000_000_000);
    }
    let time = text
        .parse::<jiff::Timestamp>()
        .map_err(|_| Error::invalid(format!("failed to parse value as time or duration: \"{text}\"")))?;
    Ok(time.as_second())
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
        assert_eq!(moment("1700000000").unwrap(), 1_700_000_000);
        assert_eq!(moment("1970-01-01T00:01:00Z").unwrap(), 60);
        assert!(moment("10m").unwrap() <= sys::time::Timestamp::now().seconds - 600);
        assert!(moment("soon").is_err());
    }
}
