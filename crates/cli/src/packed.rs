//! A stream that a thread of its own writes while it is read: a tar that is packed while it is sent.
//!
//! Guarantees: it is never whole in memory; an error of the writing is an error at the end of the reading, so nobody takes
//! a part for the whole.

use std::io::{self, BufWriter, PipeReader, PipeWriter, Read};
use std::thread::JoinHandle;

use fault::{Call, Result};

pub(crate) struct Packed {
    pipe: PipeReader,
    work: Option<JoinHandle<Result<()>>>,
}

impl Packed {
    /// A reader that goes away ends the writing at its next write.
    pub(crate) fn by(
        write: impl FnOnce(BufWriter<PipeWriter>) -> Result<()> + Send + 'static,
    ) -> Result<Self> {
        let (pipe, writer) = io::pipe().call(|| "pipe")?;
        let work = std::thread::spawn(move || write(BufWriter::new(writer)));
        Ok(Self { pipe, work: Some(work) })
    }
}

impl Read for Packed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.pipe.read(buffer)?;
        if count == 0
            && let Some(work) = self.work.take()
        {
            work.join().map_err(|_| io::Error::other("writing stopped early"))?.map_err(io::Error::other)?;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use fault::Error;

    use super::*;

    #[test]
    fn a_failure_comes_after_what_was_written() {
        let mut stream = Packed::by(|mut writer| {
            writer.write_all(b"begun").call(|| "write")?;
            writer.flush().call(|| "flush")?;
            Err(Error::invalid("no more"))
        })
        .unwrap();
        let mut begun = [0; 5];
        stream.read_exact(&mut begun).unwrap();
        assert_eq!((&begun, stream.read(&mut [0]).unwrap_err().to_string()), (b"begun", "no more".into()));
    }
}
