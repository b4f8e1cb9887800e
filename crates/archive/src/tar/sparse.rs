//! Sparse files: which stretches of a file the archive stores, in the four ways that GNU tar has written it down
//! (GNU tar manual, "Storing Sparse Files").

use std::io::Read;
use std::ops::Range;

use fault::{Error, Result};

use super::block::{BLOCK_BYTES, Block, GNU_SPARSE, number};
use super::pax::{self, Records};
use super::{invalid_header, read_failed};

/// The stored stretches of a file in order, without overlaps and none empty, within its size. What lies between is zeros.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Map {
    stretches: Vec<Range<u64>>,
}

impl Map {
    /// Fails if stretches overlap, go backwards or reach beyond the size.
    pub(super) fn new(pairs: &[(i64, i64)], size: u64) -> Result<Self> {
        let mut stretches = Vec::with_capacity(pairs.len());
        let mut before = 0;
        for (offset, length) in pairs {
            let start = u64::try_from(*offset).map_err(|_| invalid_header())?;
            let length = u64::try_from(*length).map_err(|_| invalid_header())?;
            // Two values below 2^63 cannot overflow.
            let end = start + length;
            if start < before || end > size {
                return Err(invalid_header());
            }
            before = end;
            if start < end {
                stretches.push(start..end);
            }
        }
        Ok(Self { stretches })
    }

    /// The stored bytes that continue at or after `position`.
    pub(super) fn next(&self, position: u64) -> Option<Range<u64>> {
        let index = self.stretches.partition_point(|stretch| stretch.end <= position);
        let stretch = self.stretches.get(index)?;
        Some(stretch.start.max(position)..stretch.end)
    }
}

/// How the records describe a sparse file, if they do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PaxVersion {
    /// 0.0 and 0.1: the map is in the records.
    InRecords,
    /// 1.0: the map precedes the content.
    InContent,
}

pub(super) fn pax_version(records: &Records) -> Option<PaxVersion> {
    let value = |key: &[u8]| records.get(key).map_or(&b""[..], Vec::as_slice);
    match (value(pax::SPARSE_MAJOR), value(pax::SPARSE_MINOR)) {
        (b"0", b"0" | b"1") => Some(PaxVersion::InRecords),
        (b"1", b"0") => Some(PaxVersion::InContent),
        (b"", b"") if !value(pax::SPARSE_MAP).is_empty() => Some(PaxVersion::InRecords),
        _ => None,
    }
}

/// The file's size with its holes, if the records tell it.
pub(super) fn pax_size(records: &Records) -> Result<Option<u64>> {
    let value = |key: &[u8]| records.get(key).filter(|value| !value.is_empty());
    let Some(text) = value(pax::SPARSE_SIZE).or_else(|| value(pax::SPARSE_REAL_SIZE)) else {
        return Ok(None);
    };
    super::block::size(pax::integer(text)?).map(Some)
}

/// The map of formats 0.0 and 0.1: `offset,length,…`.
pub(super) fn pairs_in_records(records: &Records) -> Result<Vec<(i64, i64)>> {
    let count = records.get(pax::SPARSE_COUNT).ok_or_else(invalid_header)?;
    let count = usize::try_from(pax::integer(count)?).map_err(|_| invalid_header())?;
    let map = records.get(pax::SPARSE_MAP).map_or(&b""[..], Vec::as_slice);
    let numbers = if map.is_empty() { Vec::new() } else { integers(map.split(|byte| *byte == b','))? };
    if count.checked_mul(2) != Some(numbers.len()) {
        return Err(invalid_header());
    }
    Ok(paired(&numbers))
}

fn integers<'a>(texts: impl Iterator<Item = &'a [u8]>) -> Result<Vec<i64>> {
    texts.map(pax::integer).collect()
}

fn paired(numbers: &[i64]) -> Vec<(i64, i64)> {
    numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()
}

/// The map of format 1.0: lines of decimal numbers, the count first, filled up to a whole block.
/// `content` is the stored content, and is left at the file's first stored byte.
pub(super) fn pairs_in_content(content: &mut impl Read) -> Result<Vec<(i64, i64)>> {
    let mut lines = Lines { content, text: Vec::new(), used: 0 };
    let count = usize::try_from(lines.integer()?).map_err(|_| invalid_header())?;
    let mut pairs = Vec::new();
    for _ in 0..count {
        pairs.push((lines.integer()?, lines.integer()?));
    }
    Ok(pairs)
}

struct Lines<'a, R> {
    content: &'a mut R,
    text: Vec<u8>,
    used: usize,
}

impl<R: Read> Lines<'_, R> {
    fn integer(&mut self) -> Result<i64> {
        // Each byte is looked at once: a number may be a megabyte of zeros.
        let mut searched = self.used;
        loop {
            if let Some(length) = self.text[searched..].iter().position(|byte| *byte == b'\n') {
                let value = pax::integer(&self.text[self.used..searched + length]);
                self.used = searched + length + 1;
                return value;
            }
            searched = self.text.len();
            self.read_block()?;
        }
    }

    fn read_block(&mut self) -> Result<()> {
        if self.text.len() >= MAP_BYTES_MAX {
            return Err(too_long());
        }
        let mut block = [0; BLOCK_BYTES];
        self.content.read_exact(&mut block).map_err(read_failed)?;
        self.text.extend_from_slice(&block);
        Ok(())
    }
}

/// The map of the old GNU format: four pairs in the header and 21 in each block that follows while the last byte
/// says so.
pub(super) fn pairs_in_blocks(header: &Block, input: &mut impl Read) -> Result<Vec<(i64, i64)>> {
    let mut pairs = Vec::new();
    let mut table = header.bytes(GNU_SPARSE).to_vec();
    for _ in 0..MAP_BYTES_MAX / BLOCK_BYTES {
        let (entries, extended) = table.split_at(table.len() / PAIR_BYTES * PAIR_BYTES);
        append_pairs(entries, &mut pairs)?;
        if extended[0] == 0 {
            return Ok(pairs);
        }
        table = vec![0; BLOCK_BYTES];
        input.read_exact(&mut table).map_err(read_failed)?;
    }
    Err(too_long())
}

fn append_pairs(entries: &[u8], pairs: &mut Vec<(i64, i64)>) -> Result<()> {
    for entry in entries.chunks_exact(PAIR_BYTES).take_while(|entry| entry[0] != 0) {
        let (offset, length) = entry.split_at(PAIR_BYTES / 2);
        pairs.push((number(offset)?, number(length)?));
    }
    Ok(())
}

fn too_long() -> Error {
    Error::invalid("archive/tar: sparse map too long")
}

const PAIR_BYTES: usize = 24;
/// As Go since 1.24.8: a map takes memory, and no real file has more stretches.
const MAP_BYTES_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_must_be_in_order_and_inside() {
        assert!(Map::new(&[(0, 2), (2, 3), (9, 1)], 10).is_ok());
        for pairs in [&[(0, 3), (2, 3)][..], &[(5, 1), (2, 1)], &[(0, 11)], &[(-1, 2)], &[(0, -1)]] {
            assert!(Map::new(pairs, 10).is_err(), "{pairs:?}");
        }
        assert!(Map::new(&[(i64::MAX, i64::MAX)], u64::MAX / 2).is_err());
    }

    #[test]
    fn next_finds_the_stored_bytes() {
        let map = Map::new(&[(0, 2), (4, 0), (6, 2), (10, 0)], 10).unwrap();
        assert_eq!(map.next(0), Some(0..2));
        assert_eq!(map.next(1), Some(1..2));
        assert_eq!(map.next(2), Some(6..8));
        assert_eq!(map.next(8), None);
    }

    #[test]
    fn numbers_may_begin_with_zeros_over_many_blocks() {
        let mut text = [&[b'0'; 2000], &b"1\n7\n"[..], &[b'0'; 600], b"2\n"].concat();
        text.resize(text.len().next_multiple_of(BLOCK_BYTES), 0);
        text.extend(b"content");
        let mut content = &text[..];
        assert_eq!(pairs_in_content(&mut content).unwrap(), [(7, 2)]);
        assert_eq!(content, b"content");
    }

    #[test]
    fn endless_maps_are_refused() {
        let mut endless = std::io::repeat(b'1');
        assert_eq!(
            pairs_in_content(&mut endless).unwrap_err().to_string(),
            "archive/tar: sparse map too long"
        );
        let mut endless = std::io::repeat(1);
        let mut block = Block::zeroed();
        block.0[482] = 1;
        assert!(pairs_in_blocks(&block, &mut endless).is_err());
    }
}
