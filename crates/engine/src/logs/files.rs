//! The files of a log, oldest first, read line by line; the last one grows and is replaced when it rotates.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::ffi::OsStrExt;
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

    /// Goes on with the next file: one that waits, or those that rotations made. False if there is none.
    fn advance(&mut self) -> Result<bool> {
        if let Some(next) = self.older.pop_front() {
            self.begin(next);
            return Ok(true);
        }
        if self.end.is_some() {
            return Ok(false);
        }
        match &mut self.current {
            Some(current) if sys::fs::fstat(&*current)?.ino == inode(&self.path)?.unwrap_or_default() => {
                began_anew(current)
            }
            _ => self.follow_rotations(),
        }
    }

    /// Queues what came after the current file. That one is read to its end first: it may have grown between the last
    /// look at it and its rotation.
    fn follow_rotations(&mut self) -> Result<bool> {
        let mut files = all(&self.path)?;
        if let Some(current) = &self.current {
            let current = sys::fs::fstat(current)?.ino;
            let place =
                files.iter().position(|file| sys::fs::fstat(file).is_ok_and(|stat| stat.ino == current));
            // One that is not among them was rotated away, so that all of them are newer.
            files.drain(..place.map_or(0, |place| place + 1));
        }
        self.older = files;
        Ok(!self.older.is_empty())
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

/// With a single file a rotation empties it: then it is read from its beginning.
fn began_anew(file: &mut File) -> Result<bool> {
    let position = file.stream_position().call(|| "lseek log")?;
    let is_shorter = sys::fs::fstat(&*file)?.size < position;
    if is_shorter {
        file.rewind().call(|| "lseek log")?;
    }
    Ok(is_shorter)
}

/// All files of a log, oldest first. A rotation renames them one after the other, so they count only if they had their
/// places before they were opened and after.
fn all(path: &Path) -> Result<VecDeque<File>> {
    all_by(path, open_if_exists)
}

fn all_by(path: &Path, mut open: impl FnMut(&Path) -> Result<Option<File>>) -> Result<VecDeque<File>> {
    let mut files = VecDeque::new();
    for _ in 0..ATTEMPTS {
        let before = listed(path)?;
        files.clear();
        for (name, _) in &before {
            files.extend(open(name)?);
        }
        let opened = files.iter().map(|file| Ok(sys::fs::fstat(file)?.ino)).collect::<Result<Vec<u64>>>()?;
        if opened.iter().eq(before.iter().map(|(_, inode)| inode)) && listed(path)? == before {
            break;
        }
    }
    Ok(files)
}

/// Rotations are rare against openings; if they are not, lines are lost anyway.
const ATTEMPTS: u32 = 64;

/// `<path>.N` … `<path>.1`, `<path>`, those that exist, with their inodes.
fn listed(path: &Path) -> Result<Vec<(PathBuf, u64)>> {
    let (Some(folder), Some(newest)) = (path.parent(), path.file_name()) else { return Ok(Vec::new()) };
    let number = |name: &OsStr| -> Option<u32> {
        match name.as_bytes().strip_prefix(newest.as_bytes())? {
            b"" => Some(0),
            rest => std::str::from_utf8(rest).ok()?.strip_prefix('.')?.parse().ok(),
        }
    };
    let names = sys::fs::read_dir(folder)?.into_iter();
    let mut numbered: Vec<_> = names.filter_map(|name| Some((number(&name)?, folder.join(name)))).collect();
    numbered.sort_by(|one, other| other.cmp(one));
    let mut found = Vec::new();
    for (_, name) in numbered {
        if let Some(inode) = inode(&name)? {
            found.push((name, inode));
        }
    }
    Ok(found)
}

fn inode(path: &Path) -> Result<Option<u64>> {
    match sys::fs::metadata(path) {
        Err(error) if error.kind() == Kind::NotFound => Ok(None),
        stat => stat.map(|stat| Some(stat.ino)),
    }
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

    fn append(path: &Path, text: &str) {
        File::options().append(true).create(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn rotate(path: &Path) {
        let numbered = |number: u32| PathBuf::from(format!("{}.{number}", path.display()));
        for number in (1..4).rev().filter(|number| numbered(*number).exists()) {
            std::fs::rename(numbered(number), numbered(number + 1)).unwrap();
        }
        std::fs::rename(path, numbered(1)).unwrap();
    }

    #[test]
    fn a_follower_loses_nothing_by_rotations() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        append(&path, "1\n");
        let mut files = LogFiles::open(&path, None).unwrap();
        assert_eq!(lines(&mut files), ["1"]);
        // Its end was seen, then it grew and was rotated: that is looked at in this order.
        assert!(!files.fill().unwrap());
        append(&path, "2\n");
        rotate(&path);
        append(&path, "3\n");
        assert!(files.advance().unwrap());
        assert_eq!(lines(&mut files), ["2", "3"]);
        append(&path, "4\n");
        for line in ["5\n", "6\n"] {
            rotate(&path);
            append(&path, line);
        }
        assert_eq!(lines(&mut files), ["4", "5", "6"]);
        // The file that it reads goes, and the newest is not there yet.
        for line in ["7\n", "8\n", "9\n", "10\n", "11\n"] {
            rotate(&path);
            append(&path, line);
        }
        rotate(&path);
        assert_eq!(lines(&mut files), ["8", "9", "10", "11"]);
        append(&path, "12\n");
        assert_eq!(lines(&mut files), ["12"]);
    }

    #[test]
    fn a_single_file_that_is_emptied_is_read_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        append(&path, "1\n2\n");
        let mut files = LogFiles::open(&path, None).unwrap();
        assert_eq!(lines(&mut files), ["1", "2"]);
        std::fs::write(&path, "3\n").unwrap();
        assert_eq!(lines(&mut files), ["3"]);
    }

    #[test]
    fn a_gap_between_rotated_files_hides_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        for (name, text) in [("log.3", "1\n"), ("log.1", "2\n"), ("log.x", "x\n"), ("log", "3\n")] {
            append(&folder.path().join(name), text);
        }
        assert_eq!(lines(&mut LogFiles::open(&path, None).unwrap()), ["1", "2", "3"]);
    }

    #[test]
    fn a_rotation_between_two_openings_hides_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        append(&folder.path().join("log.1"), "1\n");
        append(&path, "2\n");
        let mut to_come = vec!["4\n", "3\n"];
        let files = all_by(&path, |name| {
            let file = open_if_exists(name);
            if let Some(line) = to_come.pop() {
                rotate(&path);
                append(&path, line);
            }
            file
        });
        let mut files = LogFiles::over(&path, files.unwrap(), None);
        assert_eq!(lines(&mut files), ["1", "2", "3", "4"]);
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
