//! The smallest client of the Engine API that keeps its connection: blocking, over a unix socket.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use fault::{Call, Error, Result};
use serde_json::Value;

/// One request at a time.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: BufReader<UnixStream>,
}

/// Spoken by all engines that are measured.
const API: &str = "/v1.41";

impl Connection {
    pub(crate) fn open(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket).call(|| format!("connect {}", socket.display()))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Asks and reads the whole answer. An answer of 400 and above is an error with the engine's message.
    pub(crate) fn call(&mut self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let body = body.map(Value::to_string).unwrap_or_default();
        self.upload(method, path, "application/json", body.len() as u64, body.as_bytes())
    }

    /// The same without a body, and with further lines of the head.
    pub(crate) fn call_with(&mut self, method: &str, path: &str, lines: &str) -> Result<Value> {
        let what = || format!("{method} {path}");
        let head =
            format!("{method} {API}{path} HTTP/1.1\r\nHost: bench\r\n{lines}Content-Length: 0\r\n\r\n");
        self.stream.get_mut().write_all(head.as_bytes()).call(what)?;
        self.answer().and_then(|answer| answer.value(&what()))
    }

    /// The same with a body of any length.
    pub(crate) fn upload(
        &mut self,
        method: &str,
        path: &str,
        content: &str,
        length: u64,
        mut body: impl Read,
    ) -> Result<Value> {
        let head = format!(
            "{method} {API}{path} HTTP/1.1\r\nHost: bench\r\nContent-Type: {content}\r\nContent-Length: {length}\r\n\r\n"
        );
        let what = || format!("{method} {path}");
        let stream = self.stream.get_mut();
        if length <= SMALL_BYTES {
            // One write for all, as clients do it.
            let mut whole = head.into_bytes();
            body.read_to_end(&mut whole).and_then(|_| stream.write_all(&whole)).call(what)?;
        } else {
            stream.write_all(head.as_bytes()).call(what)?;
            std::io::copy(&mut body, stream).call(what)?;
        }
        self.answer().and_then(|answer| answer.value(&what()))
    }

    /// Asks for a stream in place of HTTP, and reads it to its end.
    pub(crate) fn upgrade(mut self, path: &str, body: &Value) -> Result<Vec<u8>> {
        let body = body.to_string();
        let request = format!(
            "POST {API}{path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nConnection: Upgrade\r\n\
             Upgrade: tcp\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.get_mut().write_all(request.as_bytes()).call(|| format!("POST {path}"))?;
        let head = self.head()?;
        if head.status != 101 {
            let body = self.body(&head)?;
            return Err(Error::internal(format!("POST {path}: {}: {}", head.status, text(&body))));
        }
        let mut output = Vec::new();
        self.stream.read_to_end(&mut output).call(|| format!("the stream of {path}"))?;
        Ok(output)
    }

    fn answer(&mut self) -> Result<Answer> {
        let head = self.head()?;
        let body = self.body(&head)?;
        Ok(Answer { status: head.status, body })
    }

    fn head(&mut self) -> Result<Head> {
        let status = self.line()?;
        let status = status.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| Error::internal("the answer is not HTTP"))?;
        let mut length = Length::UntilClosed;
        loop {
            let line = self.line()?.to_ascii_lowercase();
            match line.split_once(':').map(|(name, value)| (name, value.trim())) {
                None => break,
                Some(("content-length", value)) => length = Length::Bytes(value.parse().unwrap_or(0)),
                Some(("transfer-encoding", "chunked")) => length = Length::Chunks,
                Some(_) => {}
            }
        }
        // RFC 9112, 6.3: these have no body whatever their fields say.
        let length = if matches!(status, 204 | 304) { Length::Bytes(0) } else { length };
        Ok(Head { status, length })
    }

    fn body(&mut self, head: &Head) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        match head.length {
            Length::Bytes(count) => self.append(&mut body, count)?,
            Length::UntilClosed => drop(self.stream.read_to_end(&mut body).call(|| "read the answer")?),
            Length::Chunks => loop {
                let count = u64::from_str_radix(self.line()?.trim(), 16)
                    .map_err(|_| Error::internal("a chunk's length is no number"))?;
                self.append(&mut body, count)?;
                self.line()?;
                if count == 0 {
                    break;
                }
            },
        }
        Ok(body)
    }

    fn append(&mut self, body: &mut Vec<u8>, count: u64) -> Result<()> {
        let read = (&mut self.stream).take(count).read_to_end(body).call(|| "read the answer")?;
        if read as u64 == count { Ok(()) } else { Err(Error::internal("the answer ends early")) }
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line).call(|| "read the answer")?;
        if line.is_empty() { Err(Error::internal("the connection was closed")) } else { Ok(line) }
    }
}

/// Bodies up to here are sent together with their head.
const SMALL_BYTES: u64 = 64 * 1024;

struct Head {
    status: u16,
    length: Length,
}

enum Length {
    Bytes(u64),
    Chunks,
    UntilClosed,
}

struct Answer {
    status: u16,
    body: Vec<u8>,
}

impl Answer {
    /// `Null` if the answer is no JSON.
    fn value(self, what: &str) -> Result<Value> {
        if self.status >= 400 {
            return Err(Error::internal(format!("{what}: {}: {}", self.status, text(&self.body))));
        }
        Ok(serde_json::from_slice(&self.body).unwrap_or_default())
    }
}

fn text(body: &[u8]) -> String {
    String::from_utf8_lossy(body).trim_end().to_owned()
}
