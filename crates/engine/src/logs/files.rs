//! The files of a log, oldest first, read line by line; the last one grows and is replaced when it rotates.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};

use fault::{Call, Kind, Result};
use runtime::protocol::LogEnd;
use sys::fs::OpenHow;

use super::tail;

/// Bytes that are read at once.
const CHUNK: usize = 64 << 10;
/// A line without an end by then is no log entry: entries carry at most 16 KiB of text, escaped sixfold at the worst.
const LINE_MAX: usize = 1 << 20;

/// A position in the files of one log.
#[derive(Debug)]
pub(super) struct LogFiles {
    path: PathBuf,
    /// Those before the newest that are still to be read.
    older: VecDeque<File>,
    /// Being read; none if there is no log yet.
    current: Option<File>,
    /// Read, and not handed out: the rest begins at `from`.
    buffer: Vec<u8>,
    from: usize,
    /// How much of the last file is read; none if it may grow.
    end: Option<u64>,
}

impl LogFiles {
    /// Opens all files of the log at `path`, positioned `tail` lines before the end, or at the beginning.
    pub(super) fn open(path: &Path, tail: Option<u64>) -> Result<Self> {
        let mut files = all(path)?;
        if let Some(lines) = tail {
            tail::skip_to(&mut files, lines)?;
        }
        Ok(Self::over(path, files, None))
    }

    /// Opens what the log at `path` had when it ended there, as far as it was not rotated away since.
    pub(super) fn open_until(path: &Path, end: LogEnd) -> Result<Self> {
        let mut files = all(path)?;
        while let Some(newest) = files.back()
            && sys::fs::fstat(newest)?.ino != end.inode
        {
            files.pop_back();
        }
        Ok(Self::over(path, files, Some(end.size)))
    }

    fn over(path: &Path, mut files: VecDeque<File>, end: Option<u64>) -> Self {
        let current = files.pop_front();
        Self { path: path.to_owned(), older: files, current, buffer: Vec::new(), from: 0, end }
    }

    /// Gives whole lines to `each` until about a chunk was read. False if there is nothing more for now.
    pub(super) fn read(&mut self, mut each: impl FnMut(&[u8])) -> Result<bool> {
        loop {
            if self.fill()? {
                self.lines(&mut each);
                return Ok(true);
            }
            if !self.advance()? {
                return Ok(false);
            }
        }
    }

    /// Reads what the current file has. False at its end.
    fn fill(&mut self) -> Result<bool> {
        let Some(file) = &mut self.current else { return Ok(false) };
        self.buffer.drain(..self.from);
        self.from = 0;
        if self.buffer.len() > LINE_MAX {
            self.buffer.clear();
        }
        let old = self.buffer.len();
        self.buffer.resize(old + CHUNK, 0);
        let read = match self.end {
            Some(end) if self.older.is_empty() => read_until(file, end, &mut self.buffer[old..]),
            _ => file.read(&mut self.buffer[old..]),
        };
        let count = read.call(|| format!("read {}", self.path.display()))?;
        self.buffer.truncate(old + count);
        Ok(count > 0)
    }

    fn lines(&mut self, each: &mut impl FnMut(&[u8])) {
        while let Some(length) = self.buffer[self.from..].iter().position(|byte| *byte == b'\n') {
            each(&self.buffer[self.from..self.from + length]);
            self.from += length + 1;
        }
    }

    /// Goes on with the next file: an older one that waits, or the new one after a rotation. False if there is none.
    fn advance(&mut self) -> Result<bool> {
        if let Some(next) = self.older.pop_front() {
            self.begin(next);
            return Ok(true);
        }
        if self.end.is_some() {
            return Ok(false);
        }
        let Some(newest) = open_if_exists(&self.path)? else { return Ok(false) };
        let same = match &self.current {
            Some(current) => sys::fs::fstat(current)?.same_file(&sys::fs::fstat(&newest)?),
            None => false,
        };
        if !same {
            self.begin(newest);
        }
        Ok(!same)
    }

    /// A torn last line of the file before does not run into the new one.
    fn begin(&mut self, file: File) {
        self.buffer.clear();
        self.from = 0;
        self.current = Some(file);
    }
}

/// Where the log at `path` ends now, if there is one.
pub(crate) fn end(path: &Path) -> Result<Option<LogEnd>> {
    let Some(file) = open_if_exists(path)? else { return Ok(None) };
    let stat = sys::fs::fstat(&file)?;
    Ok(Some(LogEnd { inode: stat.ino, size: stat.size }))
}

fn read_until(file: &mut File, end: u64, buffer: &mut [u8]) -> std::io::Result<usize> {
    let left = end.saturating_sub(file.stream_position()?);
    file.take(left).read(buffer)
}

/// All files of a log, oldest first.
fn all(path: &Path) -> Result<VecDeque<File>> {
    let mut files = rotated(path)?;
    files.extend(open_if_exists(path)?);
    Ok(files)
}

/// `<path>.N` … `<path>.1`, those that exist.
fn rotated(path: &Path) -> Result<VecDeque<File>> {
    let mut found = VecDeque::new();
    for number in 1.. {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        match open_if_exists(Path::new(&name))? {
            Some(file) => found.push_front(file),
            None => break,
        }
    }
    Ok(found)
}

fn open_if_exists(path: &Path) -> Result<Option<File>> {
    match sys::fs::open(path, &OpenHow::READ) {
        Err(error) if error.kind() == Kind::NotFound => Ok(None),
        opened => opened.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn lines(files: &mut LogFiles) -> Vec<String> {
        let mut found = Vec::new();
        while files.read(|line| found.push(String::from_utf8(line.to_vec()).unwrap())).unwrap() {}
        found
    }

    #[test]
    fn rotated_files_come_first_and_growth_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(folder.path().join("log.2"), "1\n2\n").unwrap();
        std::fs::write(folder.path().join("log.1"), "3\n").unwrap();
        std::fs::write(&path, "4\n5").unwrap();
        let mut files = LogFiles::open(&path, None).unwrap();
        assert_eq!(lines(&mut files), ["1", "2", "3", "4"]);
        File::options().append(true).open(&path).unwrap().write_all(b"!\n").unwrap();
        assert_eq!(lines(&mut files), ["5!"]);
    }

    #[test]
    fn after_a_rotation_the_new_file_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut files = LogFiles::open(&path, None).unwrap();
        assert!(lines(&mut files).is_empty());
        std::fs::write(&path, "1\n").unwrap();
        assert_eq!(lines(&mut files), ["1"]);
        File::options().append(true).open(&path).unwrap().write_all(b"2\n").unwrap();
        std::fs::rename(&path, folder.path().join("log.1")).unwrap();
        std::fs::write(&path, "3\n").unwrap();
        assert_eq!(lines(&mut files), ["2", "3"]);
    }

    #[test]
    fn what_comes_behind_the_end_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        assert_eq!(end(&path).unwrap(), None);
        std::fs::write(folder.path().join("log.1"), "1\n").unwrap();
        std::fs::write(&path, "2\n").unwrap();
        let end = end(&path).unwrap().unwrap();
        File::options().append(true).open(&path).unwrap().write_all(b"3\n").unwrap();
        assert_eq!(lines(&mut LogFiles::open_until(&path, end).unwrap()), ["1", "2"]);
        std::fs::rename(&path, folder.path().join("log.1")).unwrap();
        std::fs::write(&path, "4\n").unwrap();
        assert_eq!(lines(&mut LogFiles::open_until(&path, end).unwrap()), ["2"]);
        std::fs::remove_file(folder.path().join("log.1")).unwrap();
        assert!(lines(&mut LogFiles::open_until(&path, end).unwrap()).is_empty());
    }

    #[test]
    fn the_tail_reaches_over_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(folder.path().join("log.1"), "1\n2\n3\n").unwrap();
        std::fs::write(&path, "4\n5\n").unwrap();
        for (count, expected) in
            [(0, &[][..]), (1, &["5"]), (3, &["3", "4", "5"]), (9, &["1", "2", "3", "4", "5"])]
        {
            assert_eq!(lines(&mut LogFiles::open(&path, Some(count)).unwrap()), expected, "{count} lines");
        }
    }
}
