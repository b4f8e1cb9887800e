//! The rules of a .dockerignore file, as the Docker documentation and Go's `filepath.Match` define them: one pattern a
//! line, relative to the context's root; `*`, `?`, `[a-z]` and `\` within a name, `**` across names; `!` takes
//! back; the last matching rule decides; a rule for a directory covers what is in it.

use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use fault::{Error, Result};

/// Parsed rules in their order.
#[derive(Clone, Debug, Default)]
pub struct Matcher {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    includes: bool,
    names: Vec<Name>,
}

/// One component of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Name {
    /// `**`: any number of components.
    Any,
    Glob(Vec<Token>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Char(char),
    One,
    Many,
    /// Inclusive ranges, and whether it matches what is not in them.
    Class(Vec<(char, char)>, bool),
}

impl Matcher {
    /// Parses a file: empty lines, comments and a byte order mark are passed over.
    pub fn parse(text: &str) -> Result<Self> {
        let lines = text.trim_start_matches('\u{feff}').lines();
        Self::new(lines.filter(|line| !line.starts_with('#')))
    }

    /// Rules from patterns.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let patterns = patterns.into_iter().map(str::trim).filter(|pattern| !pattern.is_empty());
        let rules: Result<Vec<_>> = patterns.map(Rule::parse).collect();
        // A rule for the whole context would leave nothing; Docker drops `.` and `/`.
        Ok(Self { rules: rules?.into_iter().filter(|rule| !rule.names.is_empty()).collect() })
    }

    /// Whether a path relative to the context is left out.
    pub fn excludes(&self, path: &Path) -> bool {
        let names = names_of(path);
        let last = self.rules.iter().rev().find(|rule| rule.covers(&names));
        last.is_some_and(|rule| !rule.includes)
    }

    /// Whether something below an excluded directory may come back, so that it has to be walked.
    pub fn may_include_below(&self, path: &Path) -> bool {
        let names = names_of(path);
        self.rules.iter().any(|rule| rule.includes && may_match_below(&rule.names, &names))
    }
}

fn names_of(path: &Path) -> Vec<String> {
    let names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(String::from_utf8_lossy(name.as_bytes()).into_owned()),
        _ => None,
    });
    names.collect()
}

impl Rule {
    fn parse(text: &str) -> Result<Self> {
        let (includes, pattern) = match text.strip_prefix('!') {
            Some(rest) => (true, rest.trim()),
            None => (false, text),
        };
        if includes && pattern.is_empty() {
            return Err(Error::invalid("illegal exclusion pattern: \"!\""));
        }
        let names = cleaned(pattern).iter().map(|name| parse_name(name)).collect::<Option<_>>();
        let names = names.ok_or_else(|| Error::invalid("syntax error in pattern"))?;
        Ok(Self { includes, names })
    }

    /// Whether the rule matches the path or a directory above it.
    fn covers(&self, names: &[String]) -> bool {
        (1..=names.len()).any(|length| matches(&self.names, &names[..length]))
    }
}

/// Go's filepath.Clean, without a leading slash; backslashes stay, for they escape.
fn cleaned(pattern: &str) -> Vec<String> {
    let mut clean = PathBuf::new();
    for name in pattern.split('/') {
        match name {
            "" | "." => {}
            ".." if clean.file_name().is_some_and(|last| last != "..") => {
                clean.pop();
            }
            _ => clean.push(name),
        }
    }
    clean.iter().map(|name| name.to_string_lossy().into_owned()).collect()
}

fn parse_name(name: &str) -> Option<Name> {
    if name == "**" {
        return Some(Name::Any);
    }
    let mut tokens = Vec::new();
    let mut rest = name.chars().peekable();
    while let Some(char) = rest.next() {
        tokens.push(match char {
            '*' => Token::Many,
            '?' => Token::One,
            '\\' => Token::Char(rest.next()?),
            '[' => parse_class(&mut rest)?,
            char => Token::Char(char),
        });
    }
    Some(Name::Glob(tokens))
}

fn parse_class(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Token> {
    let negated = rest.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    while ranges.is_empty() || rest.peek()? != &']' {
        let low = class_char(rest)?;
        let high = if rest.next_if_eq(&'-').is_some() { class_char(rest)? } else { low };
        ranges.push((low, high));
    }
    rest.next();
    Some(Token::Class(ranges, negated))
}

fn class_char(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<char> {
    match rest.next()? {
        '-' | ']' => None,
        '\\' => rest.next(),
        char => Some(char),
    }
}

/// Whether the pattern matches all of the path. A final `**` matches at least one name, as in Docker.
fn matches(pattern: &[Name], path: &[String]) -> bool {
    match (pattern, path) {
        ([], []) => true,
        ([Name::Any], path) => !path.is_empty(),
        ([Name::Any, rest @ ..], path) => (0..=path.len()).any(|skipped| matches(rest, &path[skipped..])),
        ([Name::Glob(tokens), rest @ ..], [name, below @ ..]) => {
            let name: Vec<char> = name.chars().collect();
            matches_name(tokens, &name) && matches(rest, below)
        }
        _ => false,
    }
}

fn matches_name(tokens: &[Token], name: &[char]) -> bool {
    match (tokens, name) {
        ([], []) => true,
        ([Token::Many, rest @ ..], name) => {
            (0..=name.len()).any(|skipped| matches_name(rest, &name[skipped..]))
        }
        ([token, rest @ ..], [char, after @ ..]) => token.takes(*char) && matches_name(rest, after),
        _ => false,
    }
}

impl Token {
    fn takes(&self, char: char) -> bool {
        match self {
            Self::Char(own) => *own == char,
            Self::One | Self::Many => true,
            Self::Class(ranges, negated) => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&char)) != *negated
            }
        }
    }
}

/// Whether some path below `folder` could match.
fn may_match_below(pattern: &[Name], folder: &[String]) -> bool {
    match (pattern, folder) {
        ([Name::Any, ..], _) => true,
        ([], _) => false,
        (_, []) => true,
        ([Name::Glob(tokens), rest @ ..], [name, below @ ..]) => {
            let name: Vec<char> = name.chars().collect();
            matches_name(tokens, &name) && may_match_below(rest, below)
        }
    }
}
