//! A layer's tar put together again from its files and its recipe (the format of the Go module `vbatts/tar-split`).
//!
//! The recipe is gzip of JSON objects, one a line: segments of raw bytes (headers, padding) and entries that stand for a
//! file's content, in the order of the tar. What a recipe says is foreign: its files are looked up beneath the layer's
//! folder without following links, and a file gives exactly the bytes that its entry counts.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fault::{Error, Result};
use serde::Deserialize;
use sys::fs;

/// The tar, as a stream.
pub(super) struct Recipe {
    lines: BufReader<archive::compression::Reader<File>>,
    files: OwnedFd,
    current: Piece,
}

/// What is being given.
enum Piece {
    Segment(Cursor<Vec<u8>>),
    Content(io::Take<File>),
}

/// A line of the recipe.
#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "type")]
    kind: u8,
    #[serde(default)]
    name: Option<String>,
    /// In base64, where the name is not UTF-8.
    #[serde(default)]
    name_raw: Option<String>,
    #[serde(default)]
    size: u64,
    /// A segment's bytes; for a file its checksum, which the diffID makes superfluous. In base64.
    #[serde(default)]
    payload: Option<String>,
}

const FILE: u8 = 1;
const SEGMENT: u8 = 2;

impl Recipe {
    pub(super) fn open(recipe: &Path, files: &Path) -> Result<Self> {
        let lines = archive::compression::reader(fs::open(recipe, &fs::OpenHow::READ)?)?;
        let current = Piece::Segment(Cursor::default());
        Ok(Self { lines: BufReader::new(lines), files: fs::open_dir(files)?, current })
    }

    /// The next piece that is not empty; `None` at the end.
    fn next(&mut self) -> Result<Option<Piece>> {
        while let Some(entry) = self.entry()? {
            match entry.kind {
                SEGMENT => return segment(&entry).map(Some),
                FILE if entry.size > 0 => return self.content(&entry).map(Some),
                FILE => {}
                kind => return Err(Error::unsupported(format!("entries of type {kind} in a tar's recipe"))),
            }
        }
        Ok(None)
    }

    fn entry(&mut self) -> Result<Option<Entry>> {
        let mut line = Vec::new();
        let read = self.lines.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
        let length = read.map_err(|error| Error::io("read a tar's recipe", error))?;
        if length == 0 {
            return Ok(None);
        }
        let understood = serde_json::from_slice(&line);
        understood.map(Some).map_err(|error| Error::invalid("a tar's recipe is broken").with_source(error))
    }

    fn content(&self, entry: &Entry) -> Result<Piece> {
        let name = name(entry)?;
        let how = fs::OpenHow { nonblock: true, no_links: true, ..fs::OpenHow::READ };
        let file = File::from(fs::open_beneath(&self.files, OsStr::from_bytes(&name), &how)?);
        let size = fs::fstat(&file)?.size;
        if size != entry.size {
            let (name, wanted) = (String::from_utf8_lossy(&name), entry.size);
            return Err(Error::invalid(format!("{name} has {size} bytes instead of {wanted}")));
        }
        Ok(Piece::Content(file.take(size)))
    }
}

fn segment(entry: &Entry) -> Result<Piece> {
    Ok(Piece::Segment(Cursor::new(decoded(entry.payload.as_deref().unwrap_or_default())?)))
}

fn name(entry: &Entry) -> Result<Vec<u8>> {
    match (&entry.name, &entry.name_raw) {
        (Some(name), _) => Ok(name.clone().into_bytes()),
        (None, Some(raw)) => decoded(raw),
        (None, None) => Err(Error::invalid("a tar's recipe has a file without a name")),
    }
}

fn decoded(text: &str) -> Result<Vec<u8>> {
    STANDARD.decode(text).map_err(|error| Error::invalid("a tar's recipe is broken").with_source(error))
}

impl Read for Recipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let length = match &mut self.current {
                Piece::Segment(bytes) => bytes.read(buffer)?,
                Piece::Content(file) => file.read(buffer)?,
            };
            if length > 0 || buffer.is_empty() {
                return Ok(length);
            }
            match self.next().map_err(io::Error::other)? {
                Some(piece) => self.current = piece,
                None => return Ok(0),
            }
        }
    }
}

/// Headers of one entry, with all its attributes and padding, in base64: far less in real recipes.
const LINE_BYTES_MAX: u64 = 4 << 20;
