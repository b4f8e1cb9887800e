//! Variables and labels: from files first, then from flags, so that flags override.

use std::collections::BTreeMap;
use std::path::Path;

use super::Checked;
use crate::format::human::kernel_words;

/// Environment variables; in a file a bare name takes our own value, if there is one.
pub(crate) fn collect(files: &[String], given: &[String]) -> Checked<Vec<String>> {
    let own = |name: &str| std::env::var(name).ok().map(|value| format!("{name}={value}"));
    read_all(files, given, own)
}

pub(super) fn labels(files: &[String], given: &[String]) -> Checked<BTreeMap<String, String>> {
    Ok(pairs(&read_all(files, given, |_| None)?))
}

/// `key=value`; a bare key has an empty value.
pub(crate) fn pairs(list: &[String]) -> BTreeMap<String, String> {
    let pair = |entry: &String| {
        let (key, value) = entry.split_once('=').unwrap_or((entry, ""));
        (key.to_owned(), value.to_owned())
    };
    list.iter().map(pair).collect()
}

fn read_all(
    files: &[String],
    given: &[String],
    bare: impl Fn(&str) -> Option<String>,
) -> Checked<Vec<String>> {
    let mut all = Vec::new();
    for file in files {
        let bytes = std::fs::read(Path::new(file)).map_err(|error| unreadable(file, &error))?;
        let entries =
            parse(&bytes, &bare).map_err(|problem| format!("invalid env file ({file}): {problem}"))?;
        all.extend(entries);
    }
    all.extend_from_slice(given);
    Ok(all)
}

/// Go's words for a file that does not open.
pub(crate) fn unreadable(file: &str, error: &std::io::Error) -> String {
    format!("open {file}: {}", kernel_words(error))
}

fn parse(bytes: &[u8], bare: impl Fn(&str) -> Option<String>) -> Checked<Vec<String>> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut entries = Vec::new();
    for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        let line = std::str::from_utf8(line.strip_suffix(b"\r").unwrap_or(line))
            .map_err(|_| format!("invalid utf8 bytes at line {}: {line:?}", index + 1))?
            .trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let key = line.split('=').next().unwrap_or_default();
        if key.is_empty() {
            return Err(format!("no variable name on line '{line}'"));
        }
        if key.contains([' ', '\t']) {
            return Err(format!("variable '{key}' contains whitespaces"));
        }
        entries.extend(if line.contains('=') { Some(line.to_owned()) } else { bare(line) });
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_a_variable_a_line() {
        let text = b"\xef\xbb\xbf# comment\n\nA=1\n  B=two words \nNAME\nOTHER\n";
        let bare = |name: &str| (name == "NAME").then(|| "NAME=mine".to_owned());
        assert_eq!(parse(text, bare).unwrap(), ["A=1", "B=two words ", "NAME=mine"]);
        assert_eq!(parse(b"A B=1", bare).unwrap_err(), "variable 'A B' contains whitespaces");
        assert_eq!(parse(b"=1", bare).unwrap_err(), "no variable name on line '=1'");
    }
}
