//! Compressed streams: what they are by their first bytes, and readers and writers for gzip and zstd.
//!
//! bzip2 and xz are recognised so that the error can name them.

use std::io::{self, BufReader, Cursor, Read, Write};

use fault::{Call, Error, Result};
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

/// A compression format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Compression {
    #[default]
    None,
    Gzip,
    Zstd,
    Bzip2,
    Xz,
}

/// The format of a stream that starts with these bytes; [`MAGIC_BYTES`] are enough to tell.
pub fn detect(start: &[u8]) -> Compression {
    match start {
        [0x1f, 0x8b, 0x08, ..] => Compression::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
        // A skippable frame may come first (RFC 8878, 3.1.2).
        [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
        [b'B', b'Z', b'h', ..] => Compression::Bzip2,
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Compression::Xz,
        _ => Compression::None,
    }
}

pub const MAGIC_BYTES: usize = 6;

type Input<R> = BufReader<io::Chain<Cursor<Vec<u8>>, R>>;

/// The plain bytes of a stream in whatever format it came.
pub struct Reader<R: Read> {
    compression: Compression,
    decoder: Decoder<R>,
}

enum Decoder<R: Read> {
    None(Input<R>),
    Gzip(Box<MultiGzDecoder<Input<R>>>),
    Zstd(Box<zstd::Decoder<'static, Input<R>>>),
}

impl<R: Read> Reader<R> {
    /// What the stream turned out to be.
    pub fn compression(&self) -> Compression {
        self.compression
    }
}

impl<R: Read> std::fmt::Debug for Reader<R> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Reader").field("compression", &self.compression).finish_non_exhaustive()
    }
}

/// Looks at the first bytes and decompresses what is known; several gzip members or zstd frames in a row are one
/// stream. bzip2 and xz are [`fault::Kind::Unsupported`].
pub fn reader<R: Read>(mut input: R) -> Result<Reader<R>> {
    let start = start_of(&mut input)?;
    let compression = detect(&start);
    let input = BufReader::with_capacity(BUFFER_BYTES, Cursor::new(start).chain(input));
    let decoder = match compression {
        Compression::None => Decoder::None(input),
        Compression::Gzip => Decoder::Gzip(Box::new(MultiGzDecoder::new(input))),
        Compression::Zstd => Decoder::Zstd(Box::new(zstd_decoder(input)?)),
        Compression::Bzip2 => return Err(Error::unsupported("bzip2 compression")),
        Compression::Xz => return Err(Error::unsupported("xz compression")),
    };
    Ok(Reader { compression, decoder })
}

fn start_of(input: &mut impl Read) -> Result<Vec<u8>> {
    let mut start = Vec::with_capacity(MAGIC_BYTES);
    input.by_ref().take(MAGIC_BYTES as u64).read_to_end(&mut start).map_err(crate::tar::read_failed)?;
    Ok(start)
}

fn zstd_decoder<R: Read>(input: Input<R>) -> Result<zstd::Decoder<'static, Input<R>>> {
    let mut decoder = zstd::Decoder::with_buffer(input).call(|| "set up zstd")?;
    decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).call(|| "set up zstd")?;
    Ok(decoder)
}

/// A frame says how far back it refers, and that much is kept in memory. 128 MiB is what the `zstd` command takes too.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.decoder {
            Decoder::None(input) => input.read(buffer),
            Decoder::Gzip(decoder) => decoder.read(buffer),
            Decoder::Zstd(decoder) => decoder.read(buffer),
        }
    }
}

/// The levels that a format knows, the fastest first; `None` if there is nothing to choose.
pub fn levels(compression: Compression) -> Option<std::ops::RangeInclusive<i32>> {
    match compression {
        Compression::Gzip => Some(1..=9),
        Compression::Zstd => Some(1..=22),
        _ => None,
    }
}

/// How much time to spend on size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Effort {
    /// For what stays on this machine: gzip 1, zstd 1.
    #[default]
    Fast,
    /// For what is sent: gzip 6, zstd 3.
    Small,
    /// The format's own number; one out of [`levels`] counts as the nearest.
    Level(i32),
}

/// Compresses what is written; ended by [`Writer::finish`]. The same input gives the same bytes.
pub struct Writer<W: Write> {
    encoder: Encoder<W>,
}

enum Encoder<W: Write> {
    None(W),
    Gzip(Box<GzEncoder<W>>),
    Zstd(Box<zstd::Encoder<'static, W>>),
}

impl<W: Write> std::fmt::Debug for Writer<W> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Writer").finish_non_exhaustive()
    }
}

/// A writer for none, gzip or zstd.
pub fn writer<W: Write>(output: W, compression: Compression, effort: Effort) -> Result<Writer<W>> {
    let (gzip, zstd) = match effort {
        Effort::Fast => (1, 1),
        Effort::Small => (6, 3),
        Effort::Level(level) => (level.clamp(1, 9) as u32, level.clamp(1, 22)),
    };
    let encoder = match compression {
        Compression::None => Encoder::None(output),
        Compression::Gzip => Encoder::Gzip(Box::new(GzEncoder::new(output, flate2::Compression::new(gzip)))),
        Compression::Zstd => Encoder::Zstd(Box::new(zstd_encoder(output, zstd)?)),
        Compression::Bzip2 => return Err(Error::unsupported("bzip2 compression")),
        Compression::Xz => return Err(Error::unsupported("xz compression")),
    };
    Ok(Writer { encoder })
}

fn zstd_encoder<W: Write>(output: W, level: i32) -> Result<zstd::Encoder<'static, W>> {
    let mut encoder = zstd::Encoder::new(output, level).call(|| "set up zstd")?;
    encoder.include_checksum(true).call(|| "set up zstd")?;
    Ok(encoder)
}

impl<W: Write> Writer<W> {
    /// Writes what is left and gives the output back, flushed.
    pub fn finish(self) -> Result<W> {
        let mut output = match self.encoder {
            Encoder::None(output) => output,
            Encoder::Gzip(encoder) => encoder.finish().call(|| "write gzip")?,
            Encoder::Zstd(encoder) => encoder.finish().call(|| "write zstd")?,
        };
        output.flush().call(|| "write archive")?;
        Ok(output)
    }
}

impl<W: Write> Write for Writer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.encoder {
            Encoder::None(output) => output.write(bytes),
            Encoder::Gzip(encoder) => encoder.write(bytes),
            Encoder::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.encoder {
            Encoder::None(output) => output.flush(),
            Encoder::Gzip(encoder) => encoder.flush(),
            Encoder::Zstd(encoder) => encoder.flush(),
        }
    }
}

const BUFFER_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pressed(content: &[u8], compression: Compression) -> Vec<u8> {
        let mut writer = writer(Vec::new(), compression, Effort::Fast).unwrap();
        writer.write_all(content).unwrap();
        writer.finish().unwrap()
    }

    fn plain(stream: &[u8]) -> Result<Vec<u8>> {
        let mut content = Vec::new();
        reader(stream)?.read_to_end(&mut content).map_err(crate::tar::read_failed)?;
        Ok(content)
    }

    #[test]
    fn streams_come_back_as_they_were() {
        let content: Vec<u8> = (0..300_000_u32).flat_map(|number| (number / 7).to_le_bytes()).collect();
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let stream = pressed(&content, compression);
            assert_eq!(detect(&stream), compression);
            assert_eq!(plain(&stream).unwrap(), content);
            assert_eq!(plain(&[&stream[..], &stream].concat()).unwrap().len(), 2 * content.len());
            assert_eq!(pressed(&content, compression), stream);
        }
        assert_eq!(plain(b"").unwrap(), b"");
        assert_eq!(plain(b"BZ").unwrap(), b"BZ");
    }

    #[test]
    fn a_frame_that_wants_too_much_memory_is_refused() {
        // RFC 8878, 3.1.1.1: no flags; a window of 2^10 times two to the upper five bits; then an empty last block.
        let frame = |exponent: u8| [0x28, 0xb5, 0x2f, 0xfd, 0, exponent << 3, 1, 0, 0];
        assert_eq!(plain(&frame(17)).unwrap(), b"");
        let error = plain(&frame(21)).unwrap_err().to_string();
        assert_eq!(error, "read archive: Frame requires too much memory for decoding");
    }

    proptest! {
        #[test]
        fn foreign_bytes_are_errors_and_nothing_else(
            start in prop::sample::select(vec![&b""[..], &[0x1f, 0x8b, 8, 0], &[0x28, 0xb5, 0x2f, 0xfd]]),
            rest in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let Ok(reader) = reader(Cursor::new([start, &rest].concat())) else { return Ok(()) };
            drop(io::copy(&mut reader.take(1 << 20), &mut io::sink()));
        }

        #[test]
        fn damaged_streams_are_errors_and_nothing_else(
            compression in prop::sample::select(vec![Compression::Gzip, Compression::Zstd]),
            hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
        ) {
            let mut stream = pressed(b"some text, some more text, and the same text again", compression);
            for (index, byte) in hits {
                let index = index.index(stream.len());
                stream[index] = byte;
            }
            let Ok(reader) = reader(Cursor::new(stream)) else { return Ok(()) };
            drop(io::copy(&mut reader.take(1 << 20), &mut io::sink()));
        }
    }

    #[test]
    fn truncated_and_foreign_streams_are_named() {
        for compression in [Compression::Gzip, Compression::Zstd] {
            let stream = pressed(&[7; 100_000], compression);
            let error = plain(&stream[..stream.len() - 5]).unwrap_err();
            assert_eq!(error.to_string(), "unexpected EOF", "{compression:?}");
        }
        let error = reader(&b"\xfd7zXZ\0\0"[..]).unwrap_err();
        assert_eq!(error.to_string(), "not supported: xz compression");
        assert_eq!(reader(&b"BZh91AY"[..]).unwrap_err().kind(), fault::Kind::Unsupported);
    }
}
