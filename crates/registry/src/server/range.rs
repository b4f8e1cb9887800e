//! The two range headers: `Range` of a reader (RFC 9110, 14.2) and `Content-Range` of a chunk (distribution-spec,
//! "Pushing a blob in chunks"). Pure.

use std::ops::Range;

/// What a reader wants of a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    All,
    Part(Range<u64>),
    /// A range that the blob does not have.
    Outside,
}

/// Reads `bytes=a-b`, `bytes=a-` and `bytes=-n`; a range that runs backwards lies outside. Whatever else stands there, or
/// several ranges, asks for all: a server may ignore the header (RFC 9110, 14.2).
pub(crate) fn wanted(header: Option<&str>, size: u64) -> Wanted {
    let Some((first, last)) = header.and_then(|text| text.strip_prefix("bytes=")?.split_once('-')) else {
        return Wanted::All;
    };
    let range = match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(size),
        (Some(first), None) if last.is_empty() => first..size,
        (None, Some(last)) if first.is_empty() => size.saturating_sub(last)..size,
        (Some(_), Some(_)) => return Wanted::Outside,
        _ => return Wanted::All,
    };
    if range.start >= range.end { Wanted::Outside } else { Wanted::Part(range) }
}

/// `<first>-<last>`, with or without `bytes ` in front: where a chunk begins and how long it is.
pub(crate) fn chunk(header: &str) -> Option<(u64, u64)> {
    let text = header.strip_prefix("bytes ").or_else(|| header.strip_prefix("bytes=")).unwrap_or(header);
    let (first, last) = text.split_once('-')?;
    let last = last.split_once('/').map_or(last, |(last, _)| last);
    let (first, last) = (number(first)?, number(last)?);
    let length = last.checked_sub(first)?.checked_add(1)?;
    Some((first, length))
}

/// Digits only: `parse` would take a sign too.
fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn readers_ask_for_parts() {
        assert_eq!(wanted(None, 10), Wanted::All);
        assert_eq!(wanted(Some("bytes=2-4"), 10), Wanted::Part(2..5));
        assert_eq!(wanted(Some("bytes=2-"), 10), Wanted::Part(2..10));
        assert_eq!(wanted(Some("bytes=-3"), 10), Wanted::Part(7..10));
        assert_eq!(wanted(Some("bytes=-30"), 10), Wanted::Part(0..10));
        assert_eq!(wanted(Some("bytes=2-400"), 10), Wanted::Part(2..10));
        assert_eq!(wanted(Some("bytes=10-"), 10), Wanted::Outside);
        assert_eq!(wanted(Some("bytes=0-0"), 0), Wanted::Outside);
        assert_eq!(wanted(Some("bytes=4-2"), 10), Wanted::Outside);
        for other in ["bytes=a-b", "bytes=-", "lines=1-2", "bytes=0-1,3-4", "bytes=+1-2"] {
            assert_eq!(wanted(Some(other), 10), Wanted::All, "{other}");
        }
    }

    #[test]
    fn chunks_say_where_they_begin() {
        assert_eq!(chunk("0-9"), Some((0, 10)));
        assert_eq!(chunk("bytes 10-10/100"), Some((10, 1)));
        for other in ["", "-", "9-0", "0", "0-18446744073709551615", "a-b"] {
            assert_eq!(chunk(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn a_part_lies_in_the_blob(header in "bytes=[0-9-]{0,24}|.{0,30}", size: u64) {
            if let Wanted::Part(range) = wanted(Some(&header), size) {
                prop_assert!(range.start < range.end && range.end <= size);
            }
            if let Some((first, length)) = chunk(&header) {
                prop_assert!(length > 0 && first.checked_add(length - 1).is_some());
            }
        }
    }
}
