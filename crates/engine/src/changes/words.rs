//! The forms in which a Dockerfile's instructions take their arguments.

use fault::{Error, Result};

/// A command line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// `["a", "b"]`
    Exec(Vec<String>),
    /// Anything else: for a shell.
    Shell(String),
}

pub(super) fn command(text: &str) -> Command {
    match json(text) {
        Some(words) => Command::Exec(words),
        None => Command::Shell(text.to_owned()),
    }
}

/// `["a", "b"]`, or words between blanks.
pub(super) fn list(text: &str) -> Vec<String> {
    json(text).unwrap_or_else(|| text.split_whitespace().map(str::to_owned).collect())
}

/// Only a list of strings counts as the JSON form.
fn json(text: &str) -> Option<Vec<String>> {
    if text.starts_with('[') { serde_json::from_str(text).ok() } else { None }
}

/// `a=b c="d e"`, or the older `name the rest`.
pub(super) fn pairs(instruction: &str, text: &str) -> Result<Vec<(String, String)>> {
    let words = split(text);
    if words.first().is_some_and(|word| !word.contains('=')) {
        let (name, value) = text
            .split_once(char::is_whitespace)
            .ok_or_else(|| Error::invalid(format!("{instruction} must have two arguments")))?;
        return Ok(vec![(name.to_owned(), unquote(value.trim()))]);
    }
    let pair = |word: &String| {
        let (name, value) = word.split_once('=').unwrap_or_default();
        if name.is_empty() {
            return Err(Error::invalid(format!(
                "Syntax error - can't find = in \"{word}\". Must be of the form: name=value"
            )));
        }
        Ok((unquote(name), unquote(value)))
    };
    words.iter().map(pair).collect()
}

/// Words between blanks that are neither quoted nor escaped; quotes and escapes stay in.
fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (character, quote) {
            (blank, None) if blank.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            ('\\', None | Some('"')) => {
                word.push(character);
                word.extend(characters.next());
                continue;
            }
            ('"' | '\'', None) => quote = Some(character),
            (mark, Some(open)) if mark == open => quote = None,
            _ => {}
        }
        word.push(character);
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Takes quotes and escapes away, as a shell does. Within double quotes only `\"`, `\$` and `\\` are escapes.
fn unquote(text: &str) -> String {
    let mut out = String::new();
    let mut quote = None;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match (character, quote) {
            ('\\', None) => out.extend(characters.next()),
            ('\\', Some('"')) if matches!(characters.peek(), Some('"' | '$' | '\\')) => {
                out.extend(characters.next());
            }
            ('"' | '\'', None) => quote = Some(character),
            (mark, Some(open)) if mark == open => quote = None,
            (character, _) => out.push(character),
        }
    }
    out
}

/// Go's durations in nanoseconds: `1h30m`, `1.5s`, `300ms`.
pub(crate) fn duration(text: &str) -> Option<i64> {
    let mut rest = text;
    let mut sum = 0.0_f64;
    if rest == "0" {
        return Some(0);
    }
    while !rest.is_empty() {
        let digits = rest.find(|character: char| !character.is_ascii_digit() && character != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let unit_len =
            rest[digits..].find(|character: char| character.is_ascii_digit()).unwrap_or(rest.len() - digits);
        let unit = match &rest[digits..digits + unit_len] {
            "ns" => 1.0,
            "us" | "µs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        sum += number * unit;
        rest = &rest[digits + unit_len..];
    }
    if text.is_empty() || sum > 9e18 { None } else { Some(sum as i64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_keep_blanks_in_quotes() {
        let pairs = |text| pairs("ENV", text).unwrap();
        let owned = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(pairs(r#"a=b c="d e" f=g\ h"#), [owned("a", "b"), owned("c", "d e"), owned("f", "g h")]);
        assert_eq!(pairs("a b c"), [owned("a", "b c")]);
        assert_eq!(pairs(r#"a='x "y"'"#), [owned("a", "x \"y\"")]);
    }

    #[test]
    fn durations_are_gos() {
        assert_eq!(duration("1m30s"), Some(90_000_000_000));
        assert_eq!(duration("1.5s"), Some(1_500_000_000));
        assert_eq!(duration("300ms"), Some(300_000_000));
        assert_eq!((duration("5"), duration(""), duration("x")), (None, None, None));
    }

    #[test]
    fn only_lists_of_strings_are_json() {
        assert_eq!(command("[\"a\"]"), Command::Exec(vec!["a".into()]));
        assert_eq!(command("[a]"), Command::Shell("[a]".into()));
        assert_eq!(list("/a  /b"), ["/a", "/b"]);
    }
}
