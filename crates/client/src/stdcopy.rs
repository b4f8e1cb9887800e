//! Takes the framed output of a container without terminal apart (`api::stdcopy`), however the bytes were cut.

use api::stdcopy::{HEADER_LEN, Stream, parse};
use fault::{Error, Result};

/// A decoder without input or output of its own.
#[derive(Debug, Default)]
pub struct Demux {
    header: Vec<u8>,
    current: Option<(Stream, usize)>,
}

impl Demux {
    /// Decodes the next bytes and hands each piece of payload to `sink`.
    pub fn feed(
        &mut self,
        mut bytes: &[u8],
        mut sink: impl FnMut(Stream, &[u8]) -> Result<()>,
    ) -> Result<()> {
        while !bytes.is_empty() {
            bytes = match self.current.take() {
                Some((stream, left)) => self.payload(stream, left, bytes, &mut sink)?,
                None => self.head(bytes)?,
            };
        }
        Ok(())
    }

    fn head<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8]> {
        let (now, later) = bytes.split_at(bytes.len().min(HEADER_LEN - self.header.len()));
        self.header.extend_from_slice(now);
        if let Ok(header) = <[u8; HEADER_LEN]>::try_from(self.header.as_slice()) {
            let (stream, length) = parse(header)
                .ok_or_else(|| Error::internal(format!("Unrecognized input header: {}", header[0])))?;
            self.header.clear();
            self.current = (length > 0).then_some((stream, length as usize));
        }
        Ok(later)
    }

    fn payload<'b>(
        &mut self,
        stream: Stream,
        left: usize,
        bytes: &'b [u8],
        sink: &mut impl FnMut(Stream, &[u8]) -> Result<()>,
    ) -> Result<&'b [u8]> {
        let (now, later) = bytes.split_at(bytes.len().min(left));
        if stream == Stream::System {
            let text = String::from_utf8_lossy(now);
            return Err(Error::internal(format!("error from daemon in stream: {text}")));
        }
        sink(stream, now)?;
        if now.len() < left {
            self.current = Some((stream, left - now.len()));
        }
        Ok(later)
    }
}

#[cfg(test)]
mod tests {
    use api::stdcopy::header;

    use super::*;

    fn framed() -> Vec<u8> {
        let mut bytes = Vec::new();
        for (stream, text) in [(Stream::Stdout, "out"), (Stream::Stderr, "error"), (Stream::Stdout, "")] {
            bytes.extend(header(stream, u32::try_from(text.len()).unwrap()));
            bytes.extend(text.as_bytes());
        }
        bytes
    }

    #[test]
    fn frames_come_out_whole_however_they_were_cut() {
        for cut in 1..framed().len() {
            let (mut demux, mut out, mut err) = (Demux::default(), Vec::new(), Vec::new());
            for piece in framed().chunks(cut) {
                let sink = |stream, bytes: &[u8]| {
                    if stream == Stream::Stdout { &mut out } else { &mut err }.extend_from_slice(bytes);
                    Ok(())
                };
                demux.feed(piece, sink).unwrap();
            }
            assert_eq!((out.as_slice(), err.as_slice()), (&b"out"[..], &b"error"[..]), "cut at {cut}");
        }
    }

    #[test]
    fn an_error_in_the_stream_is_an_error() {
        let mut bytes = header(Stream::System, 4).to_vec();
        bytes.extend(b"oops");
        let error = Demux::default().feed(&bytes, |_, _| Ok(())).unwrap_err();
        assert_eq!(error.to_string(), "error from daemon in stream: oops");
        assert!(Demux::default().feed(&[9; 8], |_, _| Ok(())).is_err());
    }
}
