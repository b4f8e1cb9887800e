//! A session with a client as text that two clients can be compared by: ids, times and addresses made alike.

use std::ffi::OsStr;
use std::fmt::Write;

use crate::{Client, Output};

/// Runs commands and keeps what they printed.
#[derive(Debug)]
pub struct Transcript {
    pub client: Client,
    text: String,
}

impl Transcript {
    pub fn new(client: Client) -> Self {
        Self { client, text: String::new() }
    }

    /// Runs a command, notes it with its output and code, and returns both as they were.
    pub fn run(&mut self, arguments: &[&str]) -> Output {
        self.run_with(arguments, b"")
    }

    /// The same with standard input.
    pub fn run_with(&mut self, arguments: &[&str], input: &[u8]) -> Output {
        let output = self.client.run_with(arguments, input);
        self.note(arguments, &output);
        output
    }

    /// Runs a command that must succeed and returns its standard output without the last line end.
    ///
    /// # Panics
    /// If it fails.
    #[track_caller]
    pub fn ok(&mut self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(
            output.code,
            0,
            "{} {arguments:?}\n{}{}",
            self.client.name(),
            output.stdout,
            output.stderr
        );
        output.stdout.trim_end_matches('\n').to_owned()
    }

    /// The same for a command whose lines come in any order; they are noted sorted.
    ///
    /// # Panics
    /// If it fails.
    #[track_caller]
    pub fn ok_in_any_order(&mut self, arguments: &[&str]) {
        let stdout = self.client.ok(arguments);
        let mut lines: Vec<&str> = stdout.lines().collect();
        lines.sort_unstable();
        self.note(arguments, &Output { stdout: lines.join("\n") + "\n", stderr: String::new(), code: 0 });
    }

    /// Runs a command whose output is not compared, because it depends on time.
    pub fn quiet<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Output {
        self.client.run(arguments)
    }

    /// Makes alike what every host has of its own.
    pub fn replace(&mut self, own: &str, common: &str) {
        self.text = self.text.replace(own, common);
    }

    /// The session so far, with ids, times and program names made alike.
    pub fn finish(self) -> String {
        self.text
    }

    fn note(&mut self, arguments: &[&str], output: &Output) {
        let Output { stdout, stderr, code } = output;
        let session = format!("$ {}\n{stdout}{stderr}[{code}]\n", arguments.join(" "));
        for line in session.lines() {
            writeln!(self.text, "{}", alike(line)).expect("a string takes everything");
        }
    }
}

/// Where two sessions differ: lines that one has in the place of the other's.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Difference<'t> {
    /// The command in whose output they stand, if that is not among them.
    pub command: &'t str,
    pub left: Vec<&'t str>,
    pub right: Vec<&'t str>,
}

impl std::fmt::Display for Difference<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.command.is_empty() {
            writeln!(out, " {}", self.command)?;
        }
        self.left.iter().try_for_each(|line| writeln!(out, "-{line}"))?;
        self.right.iter().try_for_each(|line| writeln!(out, "+{line}"))
    }
}

/// The differences of two sessions, in order.
pub fn differences<'t>(left: &'t str, right: &'t str) -> Vec<Difference<'t>> {
    let (left, right): (Vec<&str>, Vec<&str>) = (left.lines().collect(), right.lines().collect());
    let common = common_lines(&left, &right);
    let (mut found, mut open) = (Vec::new(), Difference::default());
    let (mut l, mut r) = (0, 0);
    while l < left.len() || r < right.len() {
        if l < left.len() && r < right.len() && left[l] == right[r] {
            let command = if left[l].starts_with("$ ") { left[l] } else { open.command };
            found.push(std::mem::replace(&mut open, Difference { command, ..Difference::default() }));
            (l, r) = (l + 1, r + 1);
        } else if r == right.len() || (l < left.len() && common[l + 1][r] >= common[l][r + 1]) {
            open.left.push(left[l]);
            l += 1;
        } else {
            open.right.push(right[r]);
            r += 1;
        }
    }
    found.push(open);
    found.retain(|difference| !difference.left.is_empty() || !difference.right.is_empty());
    found
}

/// A difference that stays, and why.
#[derive(Debug)]
pub struct Known {
    pub theirs: &'static [&'static str],
    pub ours: &'static [&'static str],
    pub because: &'static str,
}

/// Compares a peer's session with ours, and prints the known differences.
///
/// # Errors
/// A diff of those that are not known: `-` lines are the peer's, `+` lines ours.
pub fn compare(theirs: &str, ours: &str, known: &[Known]) -> Result<(), String> {
    let mut diff = String::new();
    for difference in differences(theirs, ours) {
        match known.iter().find(|known| known.theirs == difference.left && known.ours == difference.right) {
            Some(known) => println!("{difference}known: {}\n", known.because),
            None => write!(diff, "\n{difference}").expect("a string takes everything"),
        }
    }
    if diff.is_empty() { Ok(()) } else { Err(format!("the sessions differ\n{diff}")) }
}

/// How many lines the rests of both have in common at most: the table of the longest common subsequence.
fn common_lines(left: &[&str], right: &[&str]) -> Vec<Vec<u32>> {
    let mut common = vec![vec![0; right.len() + 1]; left.len() + 1];
    for l in (0..left.len()).rev() {
        for r in (0..right.len()).rev() {
            common[l][r] = match left[l] == right[r] {
                true => common[l + 1][r + 1] + 1,
                false => common[l + 1][r].max(common[l][r + 1]),
            };
        }
    }
    common
}

/// Makes ids, times, sizes in padding and program names alike.
pub fn alike(line: &str) -> String {
    let line = line.replace("kogge:", "docker:").replace("kogge ", "docker ");
    let line = without_durations(&line);
    let mut out = String::new();
    let mut word = String::new();
    for character in line.chars().chain(std::iter::once('\n')) {
        if character.is_ascii_alphanumeric() || "-_.:+".contains(character) {
            word.push(character);
            continue;
        }
        out.push_str(&alike_word(&word));
        word.clear();
        // Columns are as wide as their widest entry, which differs with ids and times.
        if !(character == ' ' && out.ends_with("  ")) {
            out.push(character);
        }
    }
    while out.ends_with(['\n', ' ']) {
        out.pop();
    }
    out
}

/// `Less than a second` and `3 seconds` depend on how fast the session went.
fn without_durations(line: &str) -> String {
    let line = without_exec_duration(&line.replace("Less than a second", "<duration>"));
    let mut words: Vec<&str> = Vec::new();
    for word in line.split(' ') {
        let counted = words.last().is_some_and(|before| before.parse::<u32>().is_ok());
        if word.starts_with("second") && counted {
            words.pop();
            words.push("<duration>");
        } else {
            words.push(word);
        }
    }
    words.join(" ")
}

/// An event of an end says how many seconds the container ran.
fn without_exec_duration(line: &str) -> String {
    let Some((before, after)) = line.split_once(EXEC_DURATION) else { return line.to_owned() };
    format!("{before}{EXEC_DURATION}{}", after.trim_start_matches(|digit: char| digit.is_ascii_digit()))
}

const EXEC_DURATION: &str = r#""execDuration":""#;

fn alike_word(word: &str) -> String {
    // Progress is told of an id: `4f1c2a9b8d7e: Pull complete`.
    if let Some(word) = word.strip_suffix(':') {
        return alike_word(word) + ":";
    }
    let bare = word.strip_prefix("sha256:").unwrap_or(word);
    let hex = bare.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if hex && matches!(bare.len(), 12 | 64) {
        return "<id>".into();
    }
    if word.len() >= 20 && word.starts_with("20") && word.contains('T') {
        return "<time>".into();
    }
    word.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_told_line_by_line() {
        let found = differences("a\nold\n$ b\nc\n", "a\nnew\nnewer\n$ b\nc\nd\n");
        let told: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(told, ["-old\n+new\n+newer\n", " $ b\n+d\n"]);
        assert_eq!(differences("a\n", "a\n"), []);
    }

    #[test]
    fn a_difference_that_is_known_is_none() {
        let known = [Known { theirs: &["old"], ours: &["new"], because: "it was bad" }];
        assert_eq!(compare("a\nold\n", "a\nnew\n", &known), Ok(()));
        let told = compare("a\nold\nb\n", "a\nnew\nc\n", &known).unwrap_err();
        assert!(told.ends_with("\n-old\n-b\n+new\n+c\n"), "{told}");
    }

    #[test]
    fn ids_and_times_are_alike() {
        let id = "4f1c2a9b8d7e".to_owned();
        assert_eq!(
            alike(&format!("{id}   busybox  2026-11-21T09:00:00.123456789Z")),
            "<id>  busybox  <time>"
        );
        assert_eq!(alike(&format!("{id}: Pull complete")), "<id>: Pull complete");
        assert_eq!(alike("kogge: no such thing"), "docker: no such thing");
        assert_eq!(alike("deadbeef"), "deadbeef");
        assert_eq!(alike(r#"{"execDuration":"10","k":"1"}"#), r#"{"execDuration":"","k":"1"}"#);
        assert_eq!(alike("Up 1 second  x"), alike("Up Less than a second  x"));
    }
}
