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
    pub(crate) fn may_include_below(&self, path: &Path) -> bool {
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
        let names: Option<Vec<_>> = cleaned(pattern).iter().map(|name| parse_names(name)).collect();
        let names = names.ok_or_else(|| Error::invalid("syntax error in pattern"))?;
        Ok(Self { includes, names: names.concat() })
    }

    /// Whether the rule matches the path or a directory above it. A final `**` matches at least one name, as in Docker.
    fn covers(&self, names: &[String]) -> bool {
        match self.names.as_slice() {
            [before @ .., Name::Any] => matched_ends(before, names)[..names.len()].contains(&true),
            pattern => matched_ends(pattern, names)[1..].contains(&true),
        }
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

/// `**` may begin a name: `**.go` is any Go file at any depth.
fn parse_names(name: &str) -> Option<Vec<Name>> {
    match name.strip_prefix("**") {
        Some("") => Some(vec![Name::Any]),
        Some(rest) => Some(vec![Name::Any, parse_name(&format!("*{rest}"))?]),
        None => Some(vec![parse_name(name)?]),
    }
}

fn parse_name(name: &str) -> Option<Name> {
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

/// For each length of the path's start, whether the whole pattern matches it. Linear in pattern times path, so that
/// no set of rules is slow.
fn matched_ends(pattern: &[Name], path: &[String]) -> Vec<bool> {
    let mut reached = vec![false; path.len() + 1];
    reached[0] = true;
    for name in pattern {
        reached = match name {
            Name::Any => from_first(&reached),
            Name::Glob(tokens) => after_one(&reached, |at| matches_name(tokens, &path[at])),
        };
    }
    reached
}

fn matches_name(tokens: &[Token], name: &str) -> bool {
    let name: Vec<char> = name.chars().collect();
    let mut reached = vec![false; name.len() + 1];
    reached[0] = true;
    for token in tokens {
        reached = match token {
            Token::Many => from_first(&reached),
            token => after_one(&reached, |at| token.takes(name[at])),
        };
    }
    reached[name.len()]
}

/// Everything at or after the first place reached.
fn from_first(reached: &[bool]) -> Vec<bool> {
    let first = reached.iter().position(|reached| *reached).unwrap_or(reached.len());
    (0..reached.len()).map(|at| at >= first).collect()
}

/// The places one step further, where the step is allowed.
fn after_one(reached: &[bool], allowed: impl Fn(usize) -> bool) -> Vec<bool> {
    (0..reached.len()).map(|at| at > 0 && reached[at - 1] && allowed(at - 1)).collect()
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
    let fixed = pattern.iter().position(|name| *name == Name::Any).unwrap_or(pattern.len());
    let common = fixed.min(folder.len());
    (fixed < pattern.len() || fixed > folder.len()) && matched_ends(&pattern[..common], folder)[common]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (rules, paths left out, paths kept)
    type Case<'a> = (&'a str, &'a [&'a str], &'a [&'a str]);

    const TABLE: &[Case<'_>] = &[
        ("", &[], &["a", "a/b"]),
        ("# words\n\n  \n", &[], &["a", "# words"]),
        ("\u{feff}a", &["a"], &["b"]),
        ("a", &["a", "a/b", "a/b/c"], &["b/a", "ab"]),
        ("/a/", &["a", "a/b"], &["b/a"]),
        ("./a/../b", &["b"], &["a"]),
        (".", &[], &["a"]),
        ("/", &[], &["a"]),
        ("../a", &[], &["a"]),
        ("*", &["a", "a/b"], &[]),
        ("*.md", &["a.md"], &["d/a.md", "a.mdx"]),
        ("*/*.md", &["d/a.md"], &["a.md", "d/e/a.md"]),
        ("**/*.md", &["a.md", "d/a.md", "d/e/a.md"], &["a.mdx"]),
        ("**", &["a", "a/b"], &[]),
        ("a/**", &["a/b", "a/b/c"], &["a", "b/a"]),
        ("a/**/z", &["a/z", "a/b/z", "a/b/c/z"], &["a/zz", "z", "b/z"]),
        ("**.go", &["a.go", "d/a.go"], &["a.gox"]),
        ("temp?", &["tempa", "temp1/x"], &["temp", "tempab"]),
        ("[a-c]x", &["ax", "cx"], &["dx", "x"]),
        ("[^a-c]x", &["dx"], &["ax"]),
        ("[\\]]x", &["]x"], &["ax"]),
        ("a\\*b", &["a*b"], &["axb"]),
        ("  spaced  ", &["spaced"], &[]),
        ("ü?", &["üñ"], &["ü"]),
        (".git", &[".git", ".git/config"], &[".gitignore", "sub/.git"]),
        // The last rule that matches decides.
        ("*.md\n!README.md", &["a.md"], &["README.md"]),
        ("*.md\n!README*.md\nREADME-secret.md", &["a.md", "README-secret.md"], &["README.md"]),
        ("*.md\nREADME-secret.md\n!README*.md", &["a.md"], &["README-secret.md"]),
        ("d\n!d/keep", &["d", "d/x", "d/keeper"], &["d/keep", "d/keep/y"]),
        ("*\n!src\nsrc/*.tmp", &["a", "src/x.tmp"], &["src", "src/a.rs", "src/d/x.tmp"]),
        ("! a\na", &["a"], &[]),
        ("a\n! a", &[], &["a"]),
        ("*a*a*a*a*a*a*a*a*a*b", &[], &["aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]),
    ];

    #[test]
    fn rules_are_dockers() {
        for (rules, excluded, kept) in TABLE {
            let matcher = Matcher::parse(rules).unwrap();
            for path in *excluded {
                assert!(matcher.excludes(Path::new(path)), "{rules:?} leaves out {path}");
            }
            for path in *kept {
                assert!(!matcher.excludes(Path::new(path)), "{rules:?} keeps {path}");
            }
        }
    }

    #[test]
    fn broken_rules_are_refused() {
        assert_eq!(Matcher::parse("!").unwrap_err().to_string(), r#"illegal exclusion pattern: "!""#);
        for rule in ["[", "[]", "[a", "[-]", "a\\", "[a-]", "[z\\"] {
            assert_eq!(Matcher::parse(rule).unwrap_err().to_string(), "syntax error in pattern", "{rule}");
        }
    }

    #[test]
    fn excluded_directories_are_walked_only_for_what_may_come_back() {
        let table = [
            ("d\n!d/keep", "d", true),
            ("d\n!e/keep", "d", false),
            ("d\n!*/keep", "d", true),
            ("d\n!**/keep", "d/e", true),
            ("d\n!d/e/keep", "d/e", true),
            ("d\n!d/e/keep", "d/f", false),
            ("d\n!d/e", "d/e", false),
            ("d", "d", false),
        ];
        for (rules, folder, expected) in table {
            let matcher = Matcher::parse(rules).unwrap();
            assert_eq!(matcher.may_include_below(Path::new(folder)), expected, "{rules:?} {folder}");
        }
    }
}
