//! A daemon's answer: its status, headers, and a body that is read as it comes.

use bytes::Bytes;
use fault::{Error, Kind, Result};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;

use crate::Lines;
use crate::body::decode;

/// Dropping it ends the connection.
#[derive(Debug)]
pub struct Answer {
    response: hyper::Response<Incoming>,
    /// The connection's own work, which must go on while the body is read.
    tasks: JoinSet<()>,
}

impl Answer {
    pub(crate) fn new(response: hyper::Response<Incoming>, tasks: JoinSet<()>) -> Self {
        Self { response, tasks }
    }

    pub(crate) fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    /// The next piece of the body; `None` at its end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        while let Some(frame) = self.response.body_mut().frame().await {
            // All that Docker's client tells.
            let frame = frame.map_err(|_| Error::unavailable("unexpected EOF"))?;
            if let Ok(bytes) = frame.into_data() {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }

    /// The whole body, for answers that are known to be small.
    pub(crate) async fn bytes(mut self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > BODY_LEN_MAX {
                return Err(Error::internal("error from daemon: the answer is too long"));
            }
        }
        Ok(bytes)
    }

    pub(crate) async fn json<T: DeserializeOwned>(self) -> Result<T> {
        decode(&self.bytes().await?)
    }

    /// A list, which Go writes as `null` when nobody filled it.
    pub(crate) async fn list<T: DeserializeOwned>(self) -> Result<Vec<T>> {
        match self.bytes().await?.trim_ascii() {
            b"null" => Ok(Vec::new()),
            bytes => decode(bytes),
        }
    }

    /// The body as JSON values, one a line.
    pub fn lines<T: DeserializeOwned>(self) -> Lines<T> {
        Lines::new(self)
    }

    /// An answer with a failing status becomes an error in the daemon's words.
    pub(crate) async fn checked(self) -> Result<Self> {
        let status = self.response.status();
        if status.is_success() || status.is_informational() {
            return Ok(self);
        }
        let kind = kind(self.status());
        let text = message(&self.bytes().await?);
        Err(match text.trim() {
            "" => Error::new(kind, format!("request returned {status} for API route and version")),
            text => Error::new(kind, format!("Error response from daemon: {text}")),
        })
    }

    pub(crate) fn into_parts(self) -> (hyper::Response<Incoming>, JoinSet<()>) {
        (self.response, self.tasks)
    }
}

/// A list of a hundred thousand containers is shorter; an answer without an end must not fill the memory.
const BODY_LEN_MAX: usize = 256 << 20;

fn kind(status: u16) -> Kind {
    match status {
        304 => Kind::Unchanged,
        400 => Kind::Invalid,
        401 => Kind::Unauthorized,
        403 => Kind::Denied,
        404 => Kind::NotFound,
        409 => Kind::Conflict,
        501 => Kind::Unsupported,
        _ => Kind::Internal,
    }
}

fn message(bytes: &[u8]) -> String {
    match serde_json::from_slice::<api::system::ErrorAnswer>(bytes) {
        Ok(answer) => answer.message,
        Err(_) => String::from_utf8_lossy(bytes).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_errors_keep_their_words() {
        assert_eq!(message(b"page not found\n"), "page not found\n");
        assert_eq!(message(br#"{"message":"No such container: x"}"#), "No such container: x");
    }
}
