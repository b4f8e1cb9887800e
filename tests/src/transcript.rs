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

    /// Runs a command whose output is not compared, because it depends on time.
    pub fn quiet<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Output {
        self.client.run(arguments)
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

/// Makes ids, times, sizes in padding and program names alike.
pub fn alike(line: &str) -> String {
    let line = line.replace("kogge:", "docker:").replace("'kogge ", "'docker ");
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
    let line = line.replace("Less than a second", "<duration>");
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

fn alike_word(word: &str) -> String {
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
    fn ids_and_times_are_alike() {
        let id = "4f1c2a9b8d7e".to_owned();
        assert_eq!(
            alike(&format!("{id}   busybox  2026-11-21T09:00:00.123456789Z")),
            "<id>  busybox  <time>"
        );
        assert_eq!(alike("kogge: no such thing"), "docker: no such thing");
        assert_eq!(alike("deadbeef"), "deadbeef");
        assert_eq!(alike("Up 1 second  x"), alike("Up Less than a second  x"));
    }
}
