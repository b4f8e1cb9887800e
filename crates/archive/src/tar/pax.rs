//! PAX extended headers: records `<length> <key>=<value>\n` that override the next entry's fields
//! (POSIX.1-2017 pax, "pax Extended Header").

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use fault::Result;
use sys::time::Timestamp;

use super::{Header, invalid_header};

/// Records by key. An empty value leaves the field of the header block alone.
pub(super) type Records = BTreeMap<Vec<u8>, Vec<u8>>;

pub(super) const SPARSE_MAJOR: &[u8] = b"GNU.sparse.major";
pub(super) const SPARSE_MINOR: &[u8] = b"GNU.sparse.minor";
pub(super) const SPARSE_NAME: &[u8] = b"GNU.sparse.name";
pub(super) const SPARSE_SIZE: &[u8] = b"GNU.sparse.size";
pub(super) const SPARSE_REAL_SIZE: &[u8] = b"GNU.sparse.realsize";
pub(super) const SPARSE_MAP: &[u8] = b"GNU.sparse.map";
pub(super) const SPARSE_COUNT: &[u8] = b"GNU.sparse.numblocks";
const SPARSE_OFFSET: &[u8] = b"GNU.sparse.offset";
const SPARSE_LENGTH: &[u8] = b"GNU.sparse.numbytes";

/// star's prefix for extended attributes, with the value as it is; GNU tar, Go and Docker write it.
const XATTR: &[u8] = b"SCHILY.xattr.";
/// libarchive's, with a percent-encoded name and the value in base 64.
const XATTR_LIBARCHIVE: &[u8] = b"LIBARCHIVE.xattr.";

/// All records of one extended header. Sparse format 0.0 repeats two keys; its pairs become format 0.1's map.
pub(super) fn parse(mut text: &[u8]) -> Result<Records> {
    let mut records = Records::new();
    let mut map: Vec<&[u8]> = Vec::new();
    while !text.is_empty() {
        let (key, value, rest) = record(text)?;
        text = rest;
        if key != SPARSE_OFFSET && key != SPARSE_LENGTH {
            records.insert(key.to_vec(), value.to_vec());
            continue;
        }
        let wanted = if map.len().is_multiple_of(2) { SPARSE_OFFSET } else { SPARSE_LENGTH };
        if key != wanted || value.contains(&b',') {
            return Err(invalid_header());
        }
        map.push(value);
    }
    if !map.is_empty() {
        records.insert(SPARSE_MAP.to_vec(), map.join(&b','));
    }
    Ok(records)
}

/// The first record: (key, value, what follows).
fn record(text: &[u8]) -> Result<(&[u8], &[u8], &[u8])> {
    let (digits, rest) = cut(text, b' ').ok_or_else(invalid_header)?;
    let length = usize::try_from(integer(digits)?).map_err(|_| invalid_header())?;
    if length < 5 || length > text.len() || length <= digits.len() + 1 {
        return Err(invalid_header());
    }
    let (record, rest) = rest.split_at(length - digits.len() - 1);
    let pair = record.strip_suffix(b"\n").ok_or_else(invalid_header)?;
    let (key, value) = cut(pair, b'=').ok_or_else(invalid_header)?;
    if is_valid(key, value) { Ok((key, value, rest)) } else { Err(invalid_header()) }
}

fn cut(text: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|byte| *byte == separator)?;
    Some((&text[..at], &text[at + 1..]))
}

/// Names may not hold a NUL, for other readers would see a shorter name; neither may keys.
fn is_valid(key: &[u8], value: &[u8]) -> bool {
    let checked = match key {
        b"path" | b"linkpath" | b"uname" | b"gname" => value,
        _ => key,
    };
    !key.is_empty() && !checked.contains(&0)
}

/// Decimal with an optional sign, as Go's ParseInt.
pub(super) fn integer(text: &[u8]) -> Result<i64> {
    let text = std::str::from_utf8(text).map_err(|_| invalid_header())?;
    text.parse().map_err(|_| invalid_header())
}

/// `-12.34`: seconds and a fraction, cut after nanoseconds.
fn time(text: &[u8]) -> Result<Timestamp> {
    let (seconds, fraction) = cut(text, b'.').unwrap_or((text, b""));
    let whole = integer(seconds)?;
    if !fraction.iter().all(u8::is_ascii_digit) {
        return Err(invalid_header());
    }
    let digits = fraction.iter().copied().chain(std::iter::repeat(b'0')).take(9);
    let nanoseconds = digits.fold(0, |value, digit| value * 10 + u32::from(digit - b'0'));
    if seconds.starts_with(b"-") && nanoseconds > 0 {
        let floor = whole.checked_sub(1).ok_or_else(invalid_header)?;
        return Ok(Timestamp::new(floor, 1_000_000_000 - nanoseconds));
    }
    Ok(Timestamp::new(whole, nanoseconds))
}

/// Puts the records' values over the header block's. The size is left to the caller, which also needs the stored one.
pub(super) fn apply(records: &Records, header: &mut Header) -> Result<()> {
    for (key, value) in records.iter().filter(|(_, value)| !value.is_empty()) {
        match key.as_slice() {
            b"path" => header.name = path(value),
            b"linkpath" => header.link = path(value),
            b"uname" => header.user = OsString::from_vec(value.clone()),
            b"gname" => header.group = OsString::from_vec(value.clone()),
            b"uid" => header.uid = integer(value)?,
            b"gid" => header.gid = integer(value)?,
            b"mtime" => header.mtime = time(value)?,
            b"atime" => header.atime = Some(time(value)?),
            b"ctime" => header.ctime = Some(time(value)?),
            _ => apply_xattr(key, value, header),
        }
    }
    Ok(())
}

/// star's form wins where both are there, as bsdtar writes them.
fn apply_xattr(key: &[u8], value: &[u8], header: &mut Header) {
    if let Some(name) = key.strip_prefix(XATTR) {
        header.xattrs.insert(OsString::from_vec(name.to_vec()), value.to_vec());
    } else if let Some(name) = key.strip_prefix(XATTR_LIBARCHIVE)
        && let Some(value) = base_64(value)
    {
        header.xattrs.entry(OsString::from_vec(percent_decoded(name))).or_insert(value);
    }
}

pub(super) fn path(bytes: &[u8]) -> PathBuf {
    OsString::from_vec(bytes.to_vec()).into()
}

fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        let pair = tail.get(..2).and_then(|pair| std::str::from_utf8(pair).ok());
        let byte = pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()).filter(|_| first == b'%');
        decoded.push(byte.unwrap_or(first));
        rest = if byte.is_some() { &tail[2..] } else { tail };
    }
    decoded
}

/// Base 64 with or without padding; `None` for anything else.
fn base_64(text: &[u8]) -> Option<Vec<u8>> {
    let (mut decoded, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for byte in text.iter().filter(|byte| **byte != b'=') {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(digit)) & 0xff_ffff;
        count += 6;
        if count >= 8 {
            count -= 8;
            decoded.push((bits >> count & 0xff) as u8);
        }
    }
    Some(decoded)
}

/// The record of an extended attribute: star's form, or libarchive's where the name has what would end a key.
pub(super) fn xattr(name: &OsStr, value: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let name = name.as_bytes();
    if !name.iter().any(|byte| matches!(byte, b'=' | 0)) {
        return ([XATTR, name].concat(), value.to_vec());
    }
    ([XATTR_LIBARCHIVE, &percent_encoded(name)].concat(), base_64_of(value))
}

fn percent_encoded(text: &[u8]) -> Vec<u8> {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'%' | b'=');
    let encode = |byte: &u8| if is_plain(*byte) { vec![*byte] } else { format!("%{byte:02X}").into_bytes() };
    text.iter().flat_map(encode).collect()
}

/// Without padding, as libarchive writes it.
fn base_64_of(value: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = Vec::with_capacity(value.len().div_ceil(3) * 4);
    for group in value.chunks(3) {
        let bytes = [group[0], group.get(1).copied().unwrap_or(0), group.get(2).copied().unwrap_or(0)];
        let bits = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]);
        let digits = [18, 12, 6, 0].map(|shift| DIGITS[(bits >> shift & 63) as usize]);
        text.extend_from_slice(&digits[..=group.len()]);
    }
    text
}

/// `12.034`: without trailing zeros, and without a fraction if there is none.
pub(super) fn format_time(time: Timestamp) -> String {
    if time.nanoseconds == 0 {
        return time.seconds.to_string();
    }
    let (sign, seconds, nanoseconds) = if time.seconds < 0 {
        ("-", -i128::from(time.seconds) - 1, 1_000_000_000 - time.nanoseconds)
    } else {
        ("", i128::from(time.seconds), time.nanoseconds)
    };
    let fraction = format!("{nanoseconds:09}");
    format!("{sign}{seconds}.{}", fraction.trim_end_matches('0'))
}

/// The text of one extended header, or an error for what no reader would take back.
pub(super) fn format(records: &Records) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    for (key, value) in records {
        if !is_valid(key, value) || key.contains(&b'=') {
            return Err(invalid_header());
        }
        text.extend(record_length(key, value).to_string().into_bytes());
        text.push(b' ');
        text.extend_from_slice(key);
        text.push(b'=');
        text.extend_from_slice(value);
        text.push(b'\n');
    }
    Ok(text)
}

/// The length counts its own digits.
fn record_length(key: &[u8], value: &[u8]) -> usize {
    let fixed = key.len() + value.len() + " =\n".len();
    let first = fixed + fixed.to_string().len();
    fixed + first.to_string().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_cut_by_their_length() {
        let records = parse(b"12 path=a=b\n14 comment=\n\n\n8 uid=7\n").unwrap();
        assert_eq!(records[&b"path"[..]], b"a=b");
        assert_eq!(records[&b"comment"[..]], b"\n\n");
        assert_eq!(records[&b"uid"[..]], b"7");
    }

    #[test]
    fn malformed_records_are_refused() {
        let table: &[&[u8]] = &[
            b"12 path=a=b",
            b"x path=a\n",
            b"3 a=b\n",
            b"99 a=b\n",
            b"-6 a=b\n",
            b"6 =b1\n",
            b"6 ab1\n",
            b"10 path=\0\n",
            b"99999999999999999999 a=b\n",
            b"29 GNU.sparse.numbytes=123\n",
        ];
        for text in table {
            assert!(parse(text).is_err(), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn lengths_count_their_own_digits() {
        for size in [1, 3, 4, 80, 90, 91, 92, 93, 94, 95, 990, 991, 992, 993, 994] {
            let records = Records::from([(b"k".to_vec(), vec![b'v'; size])]);
            let text = format(&records).unwrap();
            assert_eq!(parse(&text).unwrap(), records, "{size}");
        }
    }

    #[test]
    fn times_keep_nanoseconds_on_both_sides_of_1970() {
        let table = [
            ("0", 0, 0),
            ("1.5", 1, 500_000_000),
            ("1.0000000019", 1, 1),
            ("-1", -1, 0),
            ("-1.25", -2, 750_000_000),
            ("-0.5", -1, 500_000_000),
        ];
        for (text, seconds, nanoseconds) in table {
            let expected = Timestamp::new(seconds, nanoseconds);
            assert_eq!(time(text.as_bytes()).unwrap(), expected, "{text}");
            assert_eq!(time(format_time(expected).as_bytes()).unwrap(), expected);
        }
        for text in ["", ".5", "1.x", "1.-5", "99999999999999999999"] {
            assert!(time(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn base_64_is_read_as_written() {
        for value in [&b""[..], b"f", b"fo", b"foo", b"foob", b"\xff\xfe\xfd\0"] {
            assert_eq!(base_64(&base_64_of(value)).unwrap(), value);
        }
        assert_eq!(base_64_of(b"foob"), b"Zm9vYg");
    }

    #[test]
    fn both_ways_to_write_attributes_are_read() {
        let mut header = Header::default();
        apply_xattr(b"LIBARCHIVE.xattr.user.a%3Db", b"aGVsbG8", &mut header);
        apply_xattr(b"LIBARCHIVE.xattr.user.both", b"bGF0ZQ==", &mut header);
        apply_xattr(b"SCHILY.xattr.user.both", b"wins\0", &mut header);
        assert_eq!(header.xattrs[&OsString::from("user.a=b")], b"hello");
        assert_eq!(header.xattrs[&OsString::from("user.both")], b"wins\0");
    }
}
