//! Writing a tar stream, the same bytes for the same entries: ustar where an entry fits, else a PAX header with what
//! does not fit before it, laid out as Go's `archive/tar` does.

use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use fault::{Call, Error, Result};

use super::block::{self, BLOCK_BYTES, Block, fits_octal};
use super::pax::{self, Records};
use super::{EntryKind, Header};

/// A tar stream being written. Nothing ends it but [`Writer::finish`].
#[derive(Debug)]
pub struct Writer<W> {
    output: W,
    buffer: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// `output` gets one write for each header and one for each chunk of content.
    pub fn new(output: W) -> Self {
        Self { output, buffer: Vec::new() }
    }

    /// Adds an entry whose content is the first `header.size` bytes of `content`; fewer are an error.
    pub fn append(&mut self, header: &Header, content: impl Read) -> Result<()> {
        let size = if header.kind.is_header_only() { 0 } else { header.size };
        self.append_header(header)?;
        self.copy(content.take(size), size)?;
        self.write(&ZEROS[..usize::try_from(block::padding(size)).expect("below a block")])
    }

    /// Adds an entry with no content, or with the content at hand; the header's size is not looked at.
    pub fn append_bytes(&mut self, header: &Header, content: &[u8]) -> Result<()> {
        let header = Header { size: content.len() as u64, ..header.clone() };
        self.append(&header, content)
    }

    /// Writes the end of the archive, two zero blocks, and gives the output back, flushed.
    pub fn finish(mut self) -> Result<W> {
        self.write(&[0; 2 * BLOCK_BYTES])?;
        self.output.flush().call(|| WRITING)?;
        Ok(self.output)
    }

    fn append_header(&mut self, header: &Header) -> Result<()> {
        let name = name(header)?;
        let records = records(header, &name)?;
        let mut bytes = Vec::new();
        if !records.is_empty() {
            append_pax(&name, &records, &mut bytes)?;
        }
        bytes.extend_from_slice(&block_of(header, &name, !records.is_empty())?.0);
        self.write(&bytes)
    }

    fn copy(&mut self, mut content: impl Read, mut left: u64) -> Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(COPY_BYTES, 0);
        while left > 0 {
            let length = read(&mut content, &mut buffer)?;
            if length == 0 {
                return Err(Error::invalid(format!("archive/tar: missed writing {left} bytes")));
            }
            self.write(&buffer[..length])?;
            left -= length as u64;
        }
        self.buffer = buffer;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.output.write_all(bytes).call(|| WRITING)
    }
}

fn read(content: &mut impl Read, buffer: &mut [u8]) -> Result<usize> {
    loop {
        match content.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result.map_err(super::read_failed),
        }
    }
}

/// The name as stored: a directory's ends with a slash.
fn name(header: &Header) -> Result<Vec<u8>> {
    let mut name = header.name.as_os_str().as_bytes().to_vec();
    if name.is_empty() || name.contains(&0) {
        return Err(Error::invalid(format!("archive/tar: cannot store the name {:?}", header.name)));
    }
    if header.kind == EntryKind::Directory && !name.ends_with(b"/") {
        name.push(b'/');
    }
    Ok(name)
}

/// What the header block cannot hold.
fn records(header: &Header, name: &[u8]) -> Result<Records> {
    let link = header.link.as_os_str().as_bytes();
    let mut records = Records::new();
    let mut add = |key: &[u8], value: Vec<u8>| records.insert(key.to_vec(), value);
    if ustar_name(name).is_none() {
        add(b"path", name.to_vec());
    }
    if !fits_text(link, block::LINK.len()) {
        add(b"linkpath", link.to_vec());
    }
    for (key, text, field) in [("uname", &header.user, block::USER), ("gname", &header.group, block::GROUP)] {
        if !fits_text(text.as_bytes(), field.len()) {
            add(key.as_bytes(), text.as_bytes().to_vec());
        }
    }
    for (key, value, field) in numbers(header)? {
        if !fits_octal(field, value) {
            add(key.as_bytes(), value.to_string().into_bytes());
        }
    }
    add_times(header, &mut add);
    for (attribute, value) in &header.xattrs {
        let (key, value) = pax::xattr(attribute, value);
        add(&key, value);
    }
    Ok(records)
}

fn numbers(header: &Header) -> Result<[(&'static str, i64, usize); 3]> {
    let size = i64::try_from(header.size).map_err(|_| super::field_too_long())?;
    Ok([
        ("size", size, block::SIZE.len()),
        ("uid", header.uid, block::UID.len()),
        ("gid", header.gid, block::GID.len()),
    ])
}

fn add_times(header: &Header, add: &mut impl FnMut(&[u8], Vec<u8>) -> Option<Vec<u8>>) {
    if header.mtime.nanoseconds != 0 || !fits_octal(block::MTIME.len(), header.mtime.seconds) {
        add(b"mtime", pax::format_time(header.mtime).into_bytes());
    }
    for (key, time) in [("atime", header.atime), ("ctime", header.ctime)] {
        if let Some(time) = time {
            add(key.as_bytes(), pax::format_time(time).into_bytes());
        }
    }
}

/// The PAX header's own entry is named `PaxHeaders.0/<name>` beside the file, for old readers that extract it.
fn append_pax(name: &[u8], records: &Records, bytes: &mut Vec<u8>) -> Result<()> {
    let text = pax::format(records)?;
    let path = Path::new(std::ffi::OsStr::from_bytes(name));
    let beside = path.parent().unwrap_or(Path::new("")).join("PaxHeaders.0");
    let own = ascii(beside.join(path.file_name().unwrap_or_default()).as_os_str().as_bytes());
    let own = own[..own.len().min(block::NAME.len())].trim_ascii_end();
    let header = Header { size: text.len() as u64, kind: EntryKind::Other(b'x'), ..Header::default() };
    bytes.extend_from_slice(&block_of(&header, own.strip_suffix(b"/").unwrap_or(own), true)?.0);
    bytes.extend_from_slice(&text);
    bytes.resize(bytes.len().next_multiple_of(BLOCK_BYTES), 0);
    Ok(())
}

fn block_of(header: &Header, name: &[u8], has_records: bool) -> Result<Block> {
    let mut block = Block::zeroed();
    let (prefix, rest) = ustar_name(name).unwrap_or((b"", name));
    debug_assert!(has_records || ustar_name(name).is_some(), "a record has what does not fit");
    block.set_text(block::NAME, &ascii(rest));
    block.set_text(block::PREFIX, prefix);
    block.set_text(block::LINK, &ascii(header.link.as_os_str().as_bytes()));
    block.set_text(block::USER, &ascii(header.user.as_bytes()));
    block.set_text(block::GROUP, &ascii(header.group.as_bytes()));
    block.set_text(block::MAGIC, block::USTAR_MAGIC);
    block.0[block::TYPE_FLAG] = header.kind.flag();
    let size = i64::try_from(header.size).map_err(|_| super::field_too_long())?;
    for (field, value) in [
        (block::MODE, i64::from(header.mode & 0o7777)),
        (block::UID, header.uid),
        (block::GID, header.gid),
        (block::SIZE, if header.kind.is_header_only() { 0 } else { size }),
        (block::MTIME, header.mtime.seconds),
        (block::MAJOR, i64::from(header.device.0)),
        (block::MINOR, i64::from(header.device.1)),
    ] {
        block.set_number(field, value);
    }
    for (number, field) in [(header.device.0, block::MAJOR), (header.device.1, block::MINOR)] {
        if !fits_octal(field.len(), number.into()) {
            return Err(super::field_too_long());
        }
    }
    block.set_checksum();
    Ok(block)
}

/// Old readers get other bytes dropped; the record has them.
fn ascii(text: &[u8]) -> Vec<u8> {
    text.iter().copied().filter(|byte| byte.is_ascii() && *byte != 0).collect()
}

fn fits_text(text: &[u8], width: usize) -> bool {
    text.len() <= width && text.is_ascii() && !text.contains(&0)
}

/// (prefix, name) if ustar can hold the name: whole, or cut at a slash.
fn ustar_name(name: &[u8]) -> Option<(&[u8], &[u8])> {
    if fits_text(name, block::NAME.len()) {
        return Some((b"", name));
    }
    let head = &name[..name.len().saturating_sub(1).min(block::PREFIX.len() + 1)];
    let cut = head.iter().rposition(|byte| *byte == b'/').filter(|cut| *cut > 0)?;
    let (prefix, rest) = (&name[..cut], &name[cut + 1..]);
    (fits_text(prefix, block::PREFIX.len()) && fits_text(rest, block::NAME.len())).then_some((prefix, rest))
}

const WRITING: &str = "write archive";
const ZEROS: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];
const COPY_BYTES: usize = 256 * 1024;
