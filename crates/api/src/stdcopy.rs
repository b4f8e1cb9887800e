//! The framing of output without a terminal: one byte of stream, three of zero, a big-endian length, the bytes.

pub const HEADER_LEN: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Stdin = 0,
    Stdout = 1,
    Stderr = 2,
    /// An error of the daemon's, in place of output.
    System = 3,
}

pub fn header(stream: Stream, length: u32) -> [u8; HEADER_LEN] {
    let [a, b, c, d] = length.to_be_bytes();
    [stream as u8, 0, 0, 0, a, b, c, d]
}

/// The stream and length of a header; `None` if it is none.
pub fn parse(header: [u8; HEADER_LEN]) -> Option<(Stream, u32)> {
    let stream = match header[0] {
        0 => Stream::Stdin,
        1 => Stream::Stdout,
        2 => Stream::Stderr,
        3 => Stream::System,
        _ => return None,
    };
    Some((stream, u32::from_be_bytes([header[4], header[5], header[6], header[7]])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_back() {
        assert_eq!(header(Stream::Stderr, 258), [2, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(parse(header(Stream::Stdout, 70_000)), Some((Stream::Stdout, 70_000)));
        assert_eq!(parse([9, 0, 0, 0, 0, 0, 0, 0]), None);
    }
}
