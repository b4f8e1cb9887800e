//! A streamed body of JSON values, one a line: events, statistics, progress.

use std::marker::PhantomData;

use fault::{Error, Result};
use serde::de::DeserializeOwned;

use crate::Answer;
use crate::body::decode;

#[derive(Debug)]
pub struct Lines<T> {
    answer: Answer,
    buffer: Vec<u8>,
    ended: bool,
    kind: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Lines<T> {
    pub(crate) fn new(answer: Answer) -> Self {
        Self { answer, buffer: Vec::new(), ended: false, kind: PhantomData }
    }

    /// The next value; `None` at the end of the stream.
    pub async fn next(&mut self) -> Result<Option<T>> {
        loop {
            if let Some(line) = self.line() {
                if line.trim_ascii().is_empty() {
                    continue;
                }
                return decode(&line).map(Some);
            }
            if self.ended {
                return Ok(None);
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> Result<()> {
        match self.answer.chunk().await? {
            Some(chunk) => self.buffer.extend_from_slice(&chunk),
            None => self.ended = true,
        }
        if self.buffer.len() > LINE_LEN_MAX {
            return Err(Error::internal("error from daemon: a line of the stream is too long"));
        }
        Ok(())
    }

    fn line(&mut self) -> Option<Vec<u8>> {
        match self.buffer.iter().position(|&byte| byte == b'\n') {
            Some(end) => Some(self.buffer.drain(..=end).collect()),
            None if self.ended && !self.buffer.is_empty() => Some(std::mem::take(&mut self.buffer)),
            None => None,
        }
    }
}

/// Far above any event or statistic; a stream without lines must not fill the memory.
const LINE_LEN_MAX: usize = 16 << 20;
