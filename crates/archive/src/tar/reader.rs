//! Reading a tar stream once, from front to back, without seeking.
//!
//! Memory is bounded whatever the archive says: one buffer, and 1 MiB for each kind of extended header.

use std::io::{self, BufRead, BufReader, Read};
use std::path::PathBuf;

use fault::{Error, Result};
use sys::time::Timestamp;

use super::block::{self, BLOCK_BYTES, Block, Format};
use super::pax::{self, Records};
use super::sparse::{self, Map, PaxVersion};
use super::{EntryKind, Header, field_too_long, invalid_header, read_failed, unexpected_eof};

/// A tar stream. Entries come one after the other; what is not read of one is skipped.
#[derive(Debug)]
pub struct Reader<R> {
    input: BufReader<R>,
    content: Content,
    finished: bool,
}

/// What is left of the current entry.
#[derive(Debug, Default)]
struct Content {
    /// Stored bytes that were not read yet.
    stored: u64,
    padding: u64,
    /// The logical size, and how far reading has come in it.
    size: u64,
    position: u64,
    sparse: Option<Map>,
}

/// An entry under the reader: its header, and its content through [`Read`] or [`Entry::next_chunk`].
#[derive(Debug)]
pub struct Entry<'a, R> {
    pub header: Header,
    reader: &'a mut Reader<R>,
    /// Bytes of the last chunk, still to be taken from the buffer.
    lent: usize,
}

/// Headers that describe the entry after them.
#[derive(Default)]
struct Meta {
    records: Records,
    name: Vec<u8>,
    link: Vec<u8>,
}

impl<R: Read> Reader<R> {
    pub fn new(input: R) -> Self {
        let input = BufReader::with_capacity(BUFFER_BYTES, input);
        Self { input, content: Content::default(), finished: false }
    }

    /// The next entry, or `None` at the end of the archive: two zero blocks, or the end of the input between entries.
    #[expect(
        clippy::should_implement_trait,
        reason = "an entry borrows the reader, which iterators cannot say"
    )]
    pub fn next(&mut self) -> Result<Option<Entry<'_, R>>> {
        if self.finished {
            return Ok(None);
        }
        let mut meta = Meta::default();
        loop {
            self.skip_content()?;
            let Some(block) = self.read_block()? else {
                self.finished = true;
                return Ok(None);
            };
            if !self.read_meta(&block, &mut meta)? {
                let header = self.begin(&block, &meta)?;
                return Ok(Some(Entry { header, reader: self, lent: 0 }));
            }
        }
    }

    /// Reads the input to its end, beyond the archive's, so that whoever counts or hashes it sees all. Returns the
    /// bytes that followed.
    pub fn drain(&mut self) -> Result<u64> {
        io::copy(&mut self.input, &mut io::sink()).map_err(read_failed)
    }

    fn skip_content(&mut self) -> Result<()> {
        let Content { stored, padding, .. } = std::mem::take(&mut self.content);
        self.skip(stored)?;
        // A missing filling of the last entry is forgiven, as Go does.
        io::copy(&mut self.input.by_ref().take(padding), &mut io::sink()).map_err(read_failed)?;
        Ok(())
    }

    fn skip(&mut self, bytes: u64) -> Result<()> {
        let skipped = io::copy(&mut self.input.by_ref().take(bytes), &mut io::sink()).map_err(read_failed)?;
        if skipped < bytes { Err(read_failed(unexpected_eof())) } else { Ok(()) }
    }

    fn read_block(&mut self) -> Result<Option<Block>> {
        let Some(block) = self.read_block_or_end()? else { return Ok(None) };
        if !block.is_zero() {
            return Ok(Some(block));
        }
        match self.read_block_or_end()? {
            Some(second) if !second.is_zero() => Err(invalid_header()),
            _ => Ok(None),
        }
    }

    fn read_block_or_end(&mut self) -> Result<Option<Block>> {
        if self.input.fill_buf().map_err(read_failed)?.is_empty() {
            return Ok(None);
        }
        let mut block = Block::zeroed();
        self.input.read_exact(&mut block.0).map_err(read_failed)?;
        Ok(Some(block))
    }

    /// Whether the block begins a header about the next entry, which is read then.
    fn read_meta(&mut self, block: &Block, meta: &mut Meta) -> Result<bool> {
        let flag = block.0[block::TYPE_FLAG];
        if !matches!(flag, b'x' | b'g' | b'L' | b'K') {
            return Ok(false);
        }
        // Fields that matter to nobody here must parse all the same, as in Go.
        header_of_block(block, block.format()?)?;
        let text = self.read_special(block::size(block.number(block::SIZE)?)?)?;
        match flag {
            b'x' => meta.records = pax::parse(&text)?,
            // Checked and forgotten: Docker ignores global headers, and what is before one does not pass it.
            b'g' => {
                pax::parse(&text)?;
                *meta = Meta::default();
            }
            b'L' => meta.name = block::text(&text).to_vec(),
            _ => meta.link = block::text(&text).to_vec(),
        }
        Ok(true)
    }

    fn read_special(&mut self, size: u64) -> Result<Vec<u8>> {
        if size > SPECIAL_BYTES_MAX {
            return Err(field_too_long());
        }
        let mut text = Vec::new();
        self.input.by_ref().take(size).read_to_end(&mut text).map_err(read_failed)?;
        if (text.len() as u64) < size {
            return Err(read_failed(unexpected_eof()));
        }
        self.content.padding = block::padding(size);
        Ok(text)
    }

    /// Puts the header together and the reader at the entry's content.
    fn begin(&mut self, block: &Block, meta: &Meta) -> Result<Header> {
        let (mut header, stored) = header(block, meta)?;
        self.content =
            Content { stored, padding: block::padding(stored), size: stored, ..Content::default() };
        if block.0[block::TYPE_FLAG] == b'S' {
            self.begin_sparse_blocks(block, &mut header)?;
        } else if let Some(version) = sparse::pax_version(&meta.records) {
            self.begin_sparse_pax(version, &meta.records, &mut header)?;
        }
        Ok(header)
    }

    fn begin_sparse_blocks(&mut self, block: &Block, header: &mut Header) -> Result<()> {
        if block.format()? != Format::Gnu {
            return Err(invalid_header());
        }
        header.size = block::size(block.number(block::GNU_REAL_SIZE)?)?;
        let pairs = sparse::pairs_in_blocks(block, &mut self.input)?;
        self.set_map(&pairs, header.size)
    }

    fn begin_sparse_pax(
        &mut self,
        version: PaxVersion,
        records: &Records,
        header: &mut Header,
    ) -> Result<()> {
        if header.kind.is_header_only() {
            return Err(invalid_header());
        }
        if let Some(name) = records.get(pax::SPARSE_NAME).filter(|name| !name.is_empty()) {
            header.name = pax::path(name);
        }
        if let Some(size) = sparse::pax_size(records)? {
            header.size = size;
        }
        let pairs = match version {
            PaxVersion::InRecords => sparse::pairs_in_records(records)?,
            PaxVersion::InContent => self.read_map()?,
        };
        self.set_map(&pairs, header.size)
    }

    fn read_map(&mut self) -> Result<Vec<(i64, i64)>> {
        let mut content = self.input.by_ref().take(self.content.stored);
        let pairs = sparse::pairs_in_content(&mut content)?;
        self.content.stored = content.limit();
        Ok(pairs)
    }

    fn set_map(&mut self, pairs: &[(i64, i64)], size: u64) -> Result<()> {
        self.content.sparse = Some(Map::new(pairs, size)?);
        self.content.size = size;
        Ok(())
    }

    /// Up to `bytes_max` of the next stored bytes, left in the buffer.
    fn peek(&mut self, bytes_max: u64) -> io::Result<&[u8]> {
        let bytes_max = bytes_max.min(self.content.stored);
        let buffer = self.input.fill_buf()?;
        if buffer.is_empty() {
            return Err(unexpected_eof());
        }
        let length = usize::try_from(bytes_max).unwrap_or(usize::MAX).min(buffer.len());
        Ok(&buffer[..length])
    }

    fn take(&mut self, bytes: usize) {
        self.input.consume(bytes);
        self.content.stored -= bytes as u64;
        self.content.position += bytes as u64;
    }

    /// The stretch of stored bytes at or after the position; `None` if only zeros, or nothing, follow.
    fn stretch(&self) -> io::Result<Option<std::ops::Range<u64>>> {
        let Content { stored, size, position, sparse, .. } = &self.content;
        let stretch = match sparse {
            Some(map) => map.next(*position),
            None => (position < size).then_some(*position..*size),
        };
        match stretch {
            Some(_) if *stored == 0 => Err(broken("archive/tar: sparse file references non-existent data")),
            None if *stored > 0 => Err(broken("archive/tar: sparse file contains unreferenced data")),
            stretch => Ok(stretch),
        }
    }
}

fn broken(message: &'static str) -> io::Error {
    io::Error::other(Error::invalid(message))
}

impl<R: Read> Entry<'_, R> {
    /// The next stored bytes and where they belong in the file, or `None` when there are no more; a file that then
    /// is shorter than `header.size` ends in a hole. Chunks come in order, with holes between them if the file is
    /// sparse.
    pub fn next_chunk(&mut self) -> Result<Option<(u64, &[u8])>> {
        let lent = std::mem::take(&mut self.lent);
        self.reader.take(lent);
        let Some(stretch) = self.reader.stretch().map_err(read_failed)? else { return Ok(None) };
        self.reader.content.position = stretch.start;
        let chunk = self.reader.peek(stretch.end - stretch.start).map_err(read_failed)?;
        self.lent = chunk.len();
        Ok(Some((stretch.start, chunk)))
    }
}

/// The content with its holes as zeros: a small archive can hold a file of any size, so bound what is kept in memory.
impl<R: Read> Read for Entry<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let lent = std::mem::take(&mut self.lent);
        self.reader.take(lent);
        let position = self.reader.content.position;
        let stretch = self.reader.stretch()?;
        let data = stretch.as_ref().map_or(self.reader.content.size, |stretch| stretch.start);
        if position < data {
            return Ok(self.read_zeros(buffer, data - position));
        }
        let Some(stretch) = stretch else { return Ok(0) };
        if buffer.is_empty() {
            return Ok(0);
        }
        let chunk = self.reader.peek(stretch.end - stretch.start)?;
        let length = chunk.len().min(buffer.len());
        buffer[..length].copy_from_slice(&chunk[..length]);
        self.reader.take(length);
        Ok(length)
    }
}

impl<R: Read> Entry<'_, R> {
    fn read_zeros(&mut self, buffer: &mut [u8], bytes_max: u64) -> usize {
        let length = usize::try_from(bytes_max).unwrap_or(usize::MAX).min(buffer.len());
        buffer[..length].fill(0);
        self.reader.content.position += length as u64;
        length
    }
}

/// The entry's header, and how many bytes the archive stores for it.
fn header(block: &Block, meta: &Meta) -> Result<(Header, u64)> {
    let format = block.format()?;
    let mut header = header_of_block(block, format)?;
    let mut stored = block.number(block::SIZE)?;
    if let Some(size) = meta.records.get(&b"size"[..]).filter(|size| !size.is_empty()) {
        stored = pax::integer(size)?;
    }
    pax::apply(&meta.records, &mut header)?;
    if !meta.name.is_empty() {
        header.name = pax::path(&meta.name);
    }
    if !meta.link.is_empty() {
        header.link = pax::path(&meta.link);
    }
    // v7 has no directories but by their slash.
    if block.0[block::TYPE_FLAG] == 0 && header.name.as_os_str().as_encoded_bytes().ends_with(b"/") {
        header.kind = EntryKind::Directory;
    }
    header.size = if header.kind.is_header_only() { 0 } else { block::size(stored)? };
    let stored = header.size;
    Ok((header, stored))
}

fn header_of_block(block: &Block, format: Format) -> Result<Header> {
    let mut header = Header {
        name: name(block, format),
        kind: EntryKind::from_flag(block.0[block::TYPE_FLAG]),
        link: pax::path(block.text(block::LINK)),
        mode: (block.number(block::MODE)? & 0o7777) as u32,
        uid: block.number(block::UID)?,
        gid: block.number(block::GID)?,
        mtime: Timestamp::new(block.number(block::MTIME)?, 0),
        ..Header::default()
    };
    if format != Format::V7 {
        header.user = pax::path(block.text(block::USER)).into_os_string();
        header.group = pax::path(block.text(block::GROUP)).into_os_string();
        let (major, minor) = (block.number(block::MAJOR)?, block.number(block::MINOR)?);
        if matches!(header.kind, EntryKind::CharDevice | EntryKind::BlockDevice) {
            header.device = (device(major)?, device(minor)?);
        }
    }
    if let Some((atime, ctime)) = block.time_fields(format) {
        (header.atime, header.ctime) = (optional_time(atime), optional_time(ctime));
    }
    Ok(header)
}

fn name(block: &Block, format: Format) -> PathBuf {
    match (block.prefix(format), block.text(block::NAME)) {
        ([], name) => pax::path(name),
        (prefix, name) => pax::path(&[prefix, b"/", name].concat()),
    }
}

fn device(number: i64) -> Result<u32> {
    u32::try_from(number).map_err(|_| invalid_header())
}

/// Often unset, and before Go 1.8 filled with other things: what is no number is no time.
fn optional_time(field: &[u8]) -> Option<Timestamp> {
    let seconds = block::number(field).ok().filter(|_| field[0] != 0)?;
    Some(Timestamp::new(seconds, 0))
}

/// One read from the decoder fills it; chunks of this size go to write(2) at full speed.
const BUFFER_BYTES: usize = 256 * 1024;
/// As Go: names and records beyond are an attack.
const SPECIAL_BYTES_MAX: u64 = 1 << 20;

const _: () = assert!(BUFFER_BYTES.is_multiple_of(BLOCK_BYTES));
