//! What filters of several objects share: points in time, and patterns of names.

use fault::{Error, Result};

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

/// Go's `path.Match`: `*` and `?` stop at slashes, `[a-z]` and `[^a]` are classes, `\` escapes. A malformed pattern
/// matches nothing.
pub(crate) fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    matches(&pattern, &text)
}

fn matches(pattern: &[char], text: &[char]) -> bool {
    match pattern {
        [] => text.is_empty(),
        ['*', rest @ ..] => {
            let reach = text.iter().position(|character| *character == '/').unwrap_or(text.len());
            (0..=reach).any(|taken| matches(rest, &text[taken..]))
        }
        ['?', rest @ ..] => matches!(text, [first, after @ ..] if *first != '/' && matches(rest, after)),
        ['[', ..] => class(pattern, text),
        ['\\', literal, rest @ ..] | [literal, rest @ ..] => {
            matches!(text, [first, after @ ..] if first == literal && matches(rest, after))
        }
    }
}

fn class(pattern: &[char], text: &[char]) -> bool {
    let Some(length) = pattern.iter().skip(2).position(|character| *character == ']') else { return false };
    let (inside, rest) = (&pattern[1..length + 2], &pattern[length + 3..]);
    let [first, after @ ..] = text else { return false };
    let (negated, inside) = match inside {
        ['^', inside @ ..] => (true, inside),
        inside => (false, inside),
    };
    *first != '/' && in_class(inside, *first) != negated && matches(rest, after)
}

fn in_class(mut class: &[char], character: char) -> bool {
    loop {
        class = match class {
            [] => return false,
            [low, '-', high, rest @ ..] if (*low..=*high).contains(&character) || rest.is_empty() => {
                return (*low..=*high).contains(&character);
            }
            [_, '-', _, rest @ ..] => rest,
            [one, ..] if *one == character => return true,
            [_, rest @ ..] => rest,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_gos() {
        for (pattern, text) in [
            ("busy*", "busybox"),
            ("busy*:1", "busybox:1"),
            ("b?s[a-y]box", "busybox"),
            ("*/x", "a/x"),
            ("[^a]", "b"),
        ] {
            assert!(glob(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("busy", "busybox"), ("*", "a/x"), ("[a", "a"), ("[^a]", "a"), ("?", "/")] {
            assert!(!glob(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn moments_have_three_forms() {
        assert_eq!(moment("1700000000").unwrap(), 1_700_000_000);
        assert_eq!(moment("1970-01-01T00:01:00Z").unwrap(), 60);
        assert!(moment("10m").unwrap() <= sys::time::Timestamp::now().seconds - 600);
        assert!(moment("soon").is_err());
    }
}
