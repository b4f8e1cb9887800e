//! The 512-byte header block: its fields, numbers and checksum (POSIX.1-2017 pax, "ustar Interchange Format"; GNU tar
//! manual, "Basic Tar Format").

use std::ops::Range;

use fault::Result;

use super::{field_too_long, invalid_header};

pub(super) const BLOCK_BYTES: usize = 512;

pub(super) const NAME: Range<usize> = 0..100;
pub(super) const MODE: Range<usize> = 100..108;
pub(super) const UID: Range<usize> = 108..116;
pub(super) const GID: Range<usize> = 116..124;
pub(super) const SIZE: Range<usize> = 124..136;
pub(super) const MTIME: Range<usize> = 136..148;
pub(super) const CHECKSUM: Range<usize> = 148..156;
pub(super) const TYPE_FLAG: usize = 156;
pub(super) const LINK: Range<usize> = 157..257;
pub(super) const MAGIC: Range<usize> = 257..265;
pub(super) const USER: Range<usize> = 265..297;
pub(super) const GROUP: Range<usize> = 297..329;
pub(super) const MAJOR: Range<usize> = 329..337;
pub(super) const MINOR: Range<usize> = 337..345;
pub(super) const PREFIX: Range<usize> = 345..500;
// GNU keeps other things where ustar has its prefix.
pub(super) const GNU_ATIME: Range<usize> = 345..357;
pub(super) const GNU_CTIME: Range<usize> = 357..369;
pub(super) const GNU_SPARSE: Range<usize> = 386..483;
pub(super) const GNU_REAL_SIZE: Range<usize> = 483..495;
// And star has a shorter prefix.
const STAR_PREFIX: Range<usize> = 345..476;
const STAR_ATIME: Range<usize> = 476..488;
const STAR_CTIME: Range<usize> = 488..500;
const STAR_TRAILER: Range<usize> = 508..512;

pub(super) const USTAR_MAGIC: &[u8; 8] = b"ustar\x0000";
const GNU_MAGIC: &[u8; 8] = b"ustar  \0";

/// Who wrote a block, as far as reading differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    V7,
    /// ustar and PAX.
    Ustar,
    Star,
    Gnu,
}

pub(super) struct Block(pub(super) [u8; BLOCK_BYTES]);

impl Block {
    pub(super) fn zeroed() -> Self {
        Self([0; BLOCK_BYTES])
    }

    pub(super) fn is_zero(&self) -> bool {
        self.0.iter().all(|byte| *byte == 0)
    }

    pub(super) fn bytes(&self, field: Range<usize>) -> &[u8] {
        &self.0[field]
    }

    /// Text up to the first NUL.
    pub(super) fn text(&self, field: Range<usize>) -> &[u8] {
        text(self.bytes(field))
    }

    pub(super) fn number(&self, field: Range<usize>) -> Result<i64> {
        number(self.bytes(field))
    }

    /// Fails if the checksum, by the standard or by old writers' signed sum, does not fit.
    pub(super) fn format(&self) -> Result<Format> {
        let stored = octal(self.bytes(CHECKSUM))?;
        if stored != self.checksum() && stored != self.checksum_signed() {
            return Err(invalid_header());
        }
        let magic = self.bytes(MAGIC);
        Ok(match (magic == GNU_MAGIC, magic.starts_with(b"ustar\0")) {
            (true, _) => Format::Gnu,
            (_, true) if self.bytes(STAR_TRAILER) == b"tar\0" => Format::Star,
            (_, true) => Format::Ustar,
            _ => Format::V7,
        })
    }

    pub(super) fn prefix(&self, format: Format) -> &[u8] {
        match format {
            Format::Ustar => self.text(PREFIX),
            Format::Star => self.text(STAR_PREFIX),
            Format::V7 | Format::Gnu => &[],
        }
    }

    /// The fields of (atime, ctime) if this format has them.
    pub(super) fn time_fields(&self, format: Format) -> Option<(&[u8], &[u8])> {
        match format {
            Format::Star => Some((self.bytes(STAR_ATIME), self.bytes(STAR_CTIME))),
            Format::Gnu => Some((self.bytes(GNU_ATIME), self.bytes(GNU_CTIME))),
            Format::V7 | Format::Ustar => None,
        }
    }

    fn checksum(&self) -> i64 {
        self.summed().map(i64::from).sum()
    }

    fn checksum_signed(&self) -> i64 {
        self.summed().map(|byte| i64::from(byte.cast_signed())).sum()
    }

    /// The checksum's own field counts as spaces.
    fn summed(&self) -> impl Iterator<Item = u8> {
        let bytes = self.0.iter().enumerate();
        bytes.map(|(index, byte)| if CHECKSUM.contains(&index) { b' ' } else { *byte })
    }

    /// Writes text, cut to the field.
    pub(super) fn set_text(&mut self, field: Range<usize>, value: &[u8]) {
        let length = value.len().min(field.len());
        self.0[field.start..field.start + length].copy_from_slice(&value[..length]);
    }

    /// Writes zero-padded octal and a NUL; a value that does not fit becomes zero, for a PAX record then has it.
    pub(super) fn set_number(&mut self, field: Range<usize>, value: i64) {
        let value = if fits_octal(field.len(), value) { value } else { 0 };
        let text = format!("{value:0width$o}\0", width = field.len() - 1);
        self.set_text(field, text.as_bytes());
    }

    pub(super) fn set_checksum(&mut self) {
        let text = format!("{:06o}\0 ", self.checksum());
        self.set_text(CHECKSUM, text.as_bytes());
    }
}

/// Whether a number goes into a field of this width, less the final NUL.
pub(super) fn fits_octal(width: usize, value: i64) -> bool {
    let bits = (width - 1) * 3;
    value >= 0 && (bits >= 63 || value < 1 << bits)
}

pub(super) fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// A number in octal text or, with the top bit set, in base 256 (two's complement behind that bit).
pub(super) fn number(field: &[u8]) -> Result<i64> {
    if field.first().is_some_and(|byte| byte & 0x80 != 0) { base_256(field) } else { octal(field) }
}

fn base_256(field: &[u8]) -> Result<i64> {
    let inverted: u8 = if field[0] & 0x40 == 0 { 0 } else { 0xff };
    let mut value: u64 = 0;
    for (index, byte) in field.iter().enumerate() {
        let byte = if index == 0 { (byte ^ inverted) & 0x7f } else { byte ^ inverted };
        if value >> 56 > 0 {
            return Err(invalid_header());
        }
        value = value << 8 | u64::from(byte);
    }
    let value = i64::try_from(value).map_err(|_| invalid_header())?;
    Ok(if inverted == 0 { value } else { !value })
}

fn octal(field: &[u8]) -> Result<i64> {
    let is_filler = |byte: &u8| matches!(byte, b' ' | 0);
    let start = field.iter().position(|byte| !is_filler(byte)).unwrap_or(field.len());
    let end = field.iter().rposition(|byte| !is_filler(byte)).map_or(start, |last| last + 1);
    let digits = text(&field[start..end]);
    digits.iter().try_fold(0_i64, |value, digit| match digit {
        b'0'..=b'7' if value < 1 << 60 => Ok(value << 3 | i64::from(digit - b'0')),
        _ => Err(invalid_header()),
    })
}

/// Bytes that fill content up to a whole block.
pub(super) fn padding(size: u64) -> u64 {
    size.next_multiple_of(BLOCK_BYTES as u64) - size
}

/// Refuses what would overflow when it is rounded up to blocks.
pub(super) fn size(value: i64) -> Result<u64> {
    let size = u64::try_from(value).map_err(|_| invalid_header())?;
    size.checked_add(BLOCK_BYTES as u64).map(|_| size).ok_or_else(field_too_long)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_go_reads_them() {
        let table: &[(&[u8], Option<i64>)] = &[
            (b"0000644\0", Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"\0\0\0\0", Some(0)),
            (b"", Some(0)),
            (b"00000000", Some(0)),
            (b"12\x0034", Some(0o12)),
            (b"0138\0", None),
            (b"-12\0", None),
            (b"777777777777", Some(0o777_777_777_777)),
            (b"\x80\0\0\x01", Some(1)),
            (b"\xff\xff\xff\xfe", Some(-2)),
            (b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", Some(i64::MAX)),
            (b"\x80\0\0\0\x80\0\0\0\0\0\0\0", None),
            (b"\xff\xff\xff\xff\x80\0\0\0\0\0\0\0", Some(i64::MIN)),
            (b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", None),
        ];
        for (field, expected) in table {
            assert_eq!(number(field).ok(), *expected, "{}", field.escape_ascii());
        }
    }

    #[test]
    fn octal_fields_know_their_limits() {
        assert!(fits_octal(8, 0o7_777_777));
        assert!(!fits_octal(8, 0o10_000_000));
        assert!(fits_octal(12, (8 << 30) - 1));
        assert!(!fits_octal(12, 8 << 30));
        assert!(!fits_octal(12, -1));
    }

    #[test]
    fn padding_fills_blocks() {
        assert_eq!([0, 1, 511, 512, 513].map(padding), [0, 511, 1, 0, 511]);
        assert!(size(-1).is_err());
        assert_eq!(size(i64::MAX).unwrap(), i64::MAX as u64);
    }
}
