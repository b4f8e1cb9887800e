//! A log as Docker's json-file driver writes it, with rotation.
//!
//! ```text
//! {"log":"text\n","stream":"stdout","attrs":{"k":"v"},"time":"2026-01-31T23:59:59.5Z"}
//! <path>  current    <path>.1  the one before    <path>.2  older    …
//! ```
//!
//! One time stamp and one write for each read of the container's output (seven times cheaper than one for each
//! line). A write that fails is counted and the file cut back to its last whole line; the container goes on.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use fault::{Call, Kind, Result};
use sys::fs::{Access, Create, OpenHow};
use sys::time::Timestamp;

use super::clock::rfc3339;
use super::json::escape;
use super::lines::{Line, Lines};
use super::stdio::Stream;
use crate::protocol::{Log, LogEnd};

/// An open log.
#[derive(Debug)]
pub(super) struct JsonFile {
    path: PathBuf,
    file: File,
    /// Of the current file, all whole lines.
    size: u64,
    size_max: Option<u64>,
    files_max: u32,
    /// `,"attrs":{…}` or nothing.
    attrs: Vec<u8>,
    lines: [Lines; 2],
    /// Lines that are not written yet; empty between two calls.
    buffer: Vec<u8>,
    errors: u64,
    is_failing: bool,
}

impl JsonFile {
    /// Opens the log for appending; it may be from an earlier run of the container.
    pub(super) fn open(log: &Log) -> Result<Self> {
        let file = open(&log.path)?;
        let size = sys::fs::fstat(&file)?.size;
        Ok(Self {
            path: log.path.clone(),
            file,
            size,
            size_max: log.max_size,
            files_max: log.max_file,
            attrs: attrs(log),
            lines: Default::default(),
            buffer: Vec::new(),
            errors: 0,
            is_failing: false,
        })
    }

    /// Writes that failed so far.
    pub(super) fn errors(&self) -> u64 {
        self.errors
    }

    /// Where the log ends now.
    pub(super) fn end(&self) -> Result<LogEnd> {
        Ok(LogEnd { inode: sys::fs::fstat(&self.file)?.ino, size: self.size })
    }

    /// What was written to a stream behind that end, and waits for its newline.
    pub(super) fn rest(&self, stream: Stream) -> &[u8] {
        self.lines[stream.index()].rest()
    }

    /// Gives back a buffer that has grown.
    pub(super) fn slim(&mut self) {
        self.buffer = Vec::new();
    }

    /// Logs what was read. An error is told at the first of a row of failures only.
    pub(super) fn write(&mut self, stream: Stream, bytes: &[u8], now: Timestamp) -> Result<()> {
        self.log(stream, now, |lines, give| lines.push(bytes, now, give))
    }

    /// The stream is over.
    pub(super) fn finish(&mut self, stream: Stream, now: Timestamp) -> Result<()> {
        self.log(stream, now, |lines, give| lines.finish(now, give))
    }

    fn log(
        &mut self,
        stream: Stream,
        now: Timestamp,
        cut: impl FnOnce(&mut Lines, &mut dyn FnMut(Line<'_>)),
    ) -> Result<()> {
        let mut lines = std::mem::take(&mut self.lines[stream.index()]);
        let tail = self.tail(stream, now);
        let mut result = Ok(());
        cut(&mut lines, &mut |line| {
            let written = self.line(stream, &line, &tail, now);
            result = std::mem::replace(&mut result, Ok(())).and(written);
        });
        self.lines[stream.index()] = lines;
        result.and(self.flush())
    }

    /// Adds one line to the buffer; makes room in the file first.
    fn line(&mut self, stream: Stream, line: &Line<'_>, tail: &[u8], now: Timestamp) -> Result<()> {
        let result = self.make_room();
        self.buffer.extend_from_slice(b"{\"log\":\"");
        escape(line.bytes, &mut self.buffer);
        if line.ends {
            self.buffer.extend_from_slice(b"\\n");
        }
        if line.time == now {
            self.buffer.extend_from_slice(tail);
        } else {
            let tail = self.tail(stream, line.time);
            self.buffer.extend_from_slice(&tail);
        }
        result
    }

    /// What follows the text in a line: the same for all lines of a read.
    fn tail(&self, stream: Stream, time: Timestamp) -> Vec<u8> {
        let mut tail = format!("\",\"stream\":\"{}\"", stream.name()).into_bytes();
        tail.extend_from_slice(&self.attrs);
        tail.extend_from_slice(b",\"time\":\"");
        tail.extend_from_slice(rfc3339(time).as_bytes());
        tail.extend_from_slice(b"\"}\n");
        tail
    }

    /// Starts a new file if the current one is full, as Docker does: before a line, not within. A full buffer is
    /// written early.
    fn make_room(&mut self) -> Result<()> {
        let size = self.size + self.buffer.len() as u64;
        if self.size_max.is_some_and(|size_max| size >= size_max) {
            return self.flush().and_then(|()| self.rotate());
        }
        if self.buffer.len() >= BUFFER_MAX { self.flush() } else { Ok(()) }
    }

    /// Writes the buffer; on an error its lines are lost.
    fn flush(&mut self) -> Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let written = self.file.write_all(&self.buffer);
        match written {
            Ok(()) => {
                self.size += self.buffer.len() as u64;
                self.is_failing = false;
            }
            // Half a line would make the next one unreadable. If this fails too, there is nothing left to do.
            Err(_) => drop(self.file.set_len(self.size)),
        }
        let result = written.call(|| format!("write {}", self.path.display()));
        self.buffer.clear();
        self.count(result)
    }

    fn count(&mut self, result: Result<()>) -> Result<()> {
        let Err(error) = result else { return Ok(()) };
        self.errors += 1;
        if std::mem::replace(&mut self.is_failing, true) { Ok(()) } else { Err(error) }
    }

    fn rotate(&mut self) -> Result<()> {
        let rotated = shift(&self.path, self.files_max).and_then(|()| open(&self.path));
        match rotated {
            Ok(file) => {
                self.file = file;
                // With a single file it is the old one.
                if self.files_max < 2 {
                    let emptied = self.file.set_len(0).call(|| format!("truncate {}", self.path.display()));
                    self.count(emptied)?;
                }
                self.size = 0;
                Ok(())
            }
            Err(error) => self.count(Err(error)),
        }
    }
}

/// A read of 64 KiB of short lines makes megabytes of JSON.
const BUFFER_MAX: usize = 256 << 10;

fn open(path: &Path) -> Result<File> {
    let how = OpenHow { access: Access::Write, create: Create::IfMissing, append: true, ..OpenHow::READ };
    sys::fs::open(path, &how.with_mode(0o640))
}

/// `.2` → `.3`, `.1` → `.2`, current → `.1`; the oldest is replaced. Nothing if only one file is kept.
fn shift(path: &Path, files_max: u32) -> Result<()> {
    for number in (1..files_max).rev() {
        let older = numbered(path, number);
        let newer = if number == 1 { path.to_owned() } else { numbered(path, number - 1) };
        match sys::fs::rename(&newer, &older) {
            Err(error) if error.kind() == Kind::NotFound => {}
            renamed => renamed?,
        }
    }
    Ok(())
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

fn attrs(log: &Log) -> Vec<u8> {
    if log.attrs.is_empty() {
        return Vec::new();
    }
    let mut out = b",\"attrs\":{".to_vec();
    for (place, (name, value)) in log.attrs.iter().enumerate() {
        out.extend_from_slice(if place == 0 { b"\"" } else { b",\"" });
        escape(name.as_bytes(), &mut out);
        out.extend_from_slice(b"\":\"");
        escape(value.as_bytes(), &mut out);
        out.push(b'"');
    }
    out.push(b'}');
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const NOON: Timestamp = Timestamp::new(1_767_268_800, 120_000_000);

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn log(&self) -> Log {
            Log { path: self.0.path().join("c-json.log"), ..Log::default() }
        }

        fn texts(&self) -> Vec<(String, String)> {
            let mut names = sys::fs::read_dir(self.0.path()).unwrap();
            names.sort();
            let text = |name: &std::ffi::OsString| sys::fs::read_to_string(self.0.path().join(name)).unwrap();
            names.iter().map(|name| (name.to_str().unwrap().to_owned(), text(name))).collect()
        }
    }

    #[test]
    fn lines_are_written_as_docker_writes_them() {
        let folder = Folder::new();
        let attrs = BTreeMap::from([("z".into(), "1".into()), ("a\"".into(), "<x>".into())]);
        let mut log = JsonFile::open(&Log { attrs, ..folder.log() }).unwrap();
        log.write(Stream::Stdout, b"one\ntwo\r\npart", NOON).unwrap();
        log.write(Stream::Stderr, b"oops\n", Timestamp::new(1_767_268_801, 0)).unwrap();
        log.finish(Stream::Stdout, Timestamp::new(1_767_268_802, 1)).unwrap();
        insta::assert_snapshot!(folder.texts()[0].1, @r#"
        {"log":"one\n","stream":"stdout","attrs":{"a\"":"\u003cx\u003e","z":"1"},"time":"2026-01-01T12:00:00.12Z"}
        {"log":"two\r\n","stream":"stdout","attrs":{"a\"":"\u003cx\u003e","z":"1"},"time":"2026-01-01T12:00:00.12Z"}
        {"log":"oops\n","stream":"stderr","attrs":{"a\"":"\u003cx\u003e","z":"1"},"time":"2026-01-01T12:00:01Z"}
        {"log":"part","stream":"stdout","attrs":{"a\"":"\u003cx\u003e","z":"1"},"time":"2026-01-01T12:00:02.000000001Z"}
        "#);
    }

    #[test]
    fn full_files_are_shifted() {
        let folder = Folder::new();
        let mut log = JsonFile::open(&Log { max_size: Some(60), max_file: 3, ..folder.log() }).unwrap();
        log.write(Stream::Stdout, b"1\n2\n3\n4\n", NOON).unwrap();
        log.write(Stream::Stdout, b"5\n", NOON).unwrap();
        let found: Vec<_> =
            folder.texts().into_iter().map(|(name, text)| (name, text.chars().nth(8).unwrap())).collect();
        let expected = [("c-json.log", '5'), ("c-json.log.1", '4'), ("c-json.log.2", '3')];
        assert_eq!(found, expected.map(|(name, line)| (name.to_owned(), line)));
    }

    #[test]
    fn a_single_file_is_emptied() {
        let folder = Folder::new();
        let mut log = JsonFile::open(&Log { max_size: Some(100), max_file: 1, ..folder.log() }).unwrap();
        log.write(Stream::Stdout, b"1\n2\n3\n", NOON).unwrap();
        let texts = folder.texts();
        assert_eq!(texts.len(), 1);
        assert_eq!(
            texts[0].1,
            "{\"log\":\"3\\n\",\"stream\":\"stdout\",\"time\":\"2026-01-01T12:00:00.12Z\"}\n"
        );
    }

    #[test]
    fn an_earlier_log_goes_on() {
        let folder = Folder::new();
        for text in [b"1\n", b"2\n"] {
            JsonFile::open(&folder.log()).unwrap().write(Stream::Stdout, text, NOON).unwrap();
        }
        assert_eq!(folder.texts()[0].1.lines().count(), 2);
    }

    #[test]
    fn a_full_disk_is_counted_and_told_once() {
        let folder = Folder::new();
        let mut log = JsonFile::open(&folder.log()).unwrap();
        log.file = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let error = log.write(Stream::Stdout, b"1\n", NOON).unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable);
        log.write(Stream::Stdout, b"2\n", NOON).unwrap();
        assert_eq!(log.errors(), 2);
        log.file = open(&log.path).unwrap();
        log.write(Stream::Stdout, b"3\n", NOON).unwrap();
        assert_eq!(folder.texts()[0].1.lines().count(), 1);
    }
}
