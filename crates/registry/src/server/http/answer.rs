//! Answers: documents, and files that are sent piece by piece.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::header::{
    ACCEPT, ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName, HeaderValue,
    IF_NONE_MATCH, LINK, LOCATION,
};
use hyper::{HeaderMap, Response, StatusCode};
use oci::Digest;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::server::cache::Following;
use crate::server::listing::Page;
use crate::server::sendfile::Sending;

pub(super) type Body = BoxBody<Bytes, io::Error>;

pub(super) enum Answer {
    Response(Response<Body>),
    File(Part),
}

impl From<Response<Body>> for Answer {
    fn from(response: Response<Body>) -> Self {
        Self::Response(response)
    }
}

impl Answer {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Response(response) => response.status(),
            Self::File(part) => part.status(),
        }
    }
}

/// A part of a blob, or all of it.
pub(super) struct Part {
    pub(super) file: File,
    pub(super) digest: Digest,
    pub(super) size: u64,
    /// `None` for all.
    pub(super) range: Option<Range<u64>>,
}

impl Part {
    fn status(&self) -> StatusCode {
        if self.range.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK }
    }

    fn bytes(&self) -> Range<u64> {
        self.range.clone().unwrap_or(0..self.size)
    }

    pub(super) fn length(&self) -> u64 {
        self.bytes().end - self.bytes().start
    }

    /// For the kernel to send.
    pub(super) fn sending(self, keep_alive: bool) -> Sending {
        let response = self.head();
        Sending {
            head: Sending::written_out(&response, keep_alive),
            bytes: self.bytes(),
            file: self.file,
            keep_alive,
        }
    }

    /// For hyper to send, under TLS.
    pub(super) fn streamed(self) -> Response<Body> {
        let (response, bytes) = (self.head(), self.bytes());
        let pieces = stream::try_unfold((self.file.into(), bytes), next_piece);
        response.map(|()| StreamBody::new(pieces).boxed())
    }

    /// Status and headers.
    pub(super) fn head(&self) -> Response<()> {
        let mut response = blob_head(&self.digest, self.length());
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        if let Some(range) = &self.range {
            let value = format!("bytes {}-{}/{}", range.start, range.end - 1, self.size);
            headers.insert(CONTENT_RANGE, text_value(&value));
        }
        response
    }
}

/// The headers of so many bytes of a blob.
pub(super) fn blob_head(digest: &Digest, length: u64) -> Response<()> {
    let mut response = Response::new(());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(OCTETS));
    headers.insert(CONTENT_LENGTH, length.into());
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CONTENT_DIGEST, text_value(digest.as_str()));
    headers.insert(ETAG, text_value(&format!("\"{digest}\"")));
    headers.insert(API, HeaderValue::from_static(API_VERSION));
    response
}

/// A blob that is still coming.
pub(super) fn following(digest: Digest, following: Following) -> Response<Body> {
    let head = blob_head(&digest, following.size());
    head.map(|()| StreamBody::new(following.pieces()).boxed())
}

/// Reads a piece in the pool; the state is the file and what is left of it.
async fn next_piece(
    (file, left): (std::sync::Arc<File>, Range<u64>),
) -> io::Result<Option<(Frame<Bytes>, (std::sync::Arc<File>, Range<u64>))>> {
    if left.is_empty() {
        return Ok(None);
    }
    let length = (left.end - left.start).min(PIECE_BYTES);
    let from = std::sync::Arc::clone(&file);
    let read = tokio::task::spawn_blocking(move || {
        let mut piece = vec![0; length as usize];
        from.read_exact_at(&mut piece, left.start).map(|()| piece)
    });
    let piece = read.await.map_err(io::Error::other)??;
    Ok(Some((Frame::data(piece.into()), (file, left.start + length..left.end))))
}

/// Whether a client has what an entity tag stands for (RFC 9110, 13.1.2).
pub(super) fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let known = headers.get_all(IF_NONE_MATCH).into_iter().filter_map(|value| value.to_str().ok());
    let mut known = known.flat_map(|value| value.split(',')).map(str::trim);
    known.any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

/// Whether a client understands a media type (RFC 9110, 12.5.1); who does not say understands all.
pub(super) fn is_accepted(headers: &HeaderMap, media_type: &str) -> bool {
    let accepted = headers.get_all(ACCEPT).into_iter().filter_map(|value| value.to_str().ok());
    let mut ranges = accepted.flat_map(|value| value.split(',')).map(str::trim).peekable();
    let fits = |range: &str| {
        let (name, parameters) = range.split_once(';').unwrap_or((range, ""));
        let refused = parameters.split(';').any(|parameter| matches!(parameter.trim(), "q=0" | "q=0.0"));
        !refused && (matches!(name.trim(), "*/*" | "application/*") || name.trim() == media_type)
    };
    ranges.peek().is_none() || ranges.any(fits)
}

pub(super) fn bytes(status: StatusCode, content_type: &str, content: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(content.into()).map_err(|never| match never {}).boxed());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, text_value(content_type));
    headers.insert(API, HeaderValue::from_static(API_VERSION));
    response
}

pub(super) fn json(status: StatusCode, document: &Value) -> Response<Body> {
    bytes(status, JSON, document.to_string())
}

pub(super) fn text(text: String) -> Response<Body> {
    bytes(StatusCode::OK, "text/plain; version=0.0.4", text)
}

/// A status and headers, without a body.
pub(super) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = bytes(status, OCTETS, Bytes::new());
    response.headers_mut().remove(CONTENT_TYPE);
    response
}

/// A page of a list, with the way to the next one.
pub(super) fn page(path: &str, page: &Page, next: Option<&str>, document: &Value) -> Response<Body> {
    let count = page.count.map(|count| ("n", count.to_string()));
    followed(json(StatusCode::OK, document), path, next, count)
}

/// Names the page behind this one (RFC 8288).
pub(super) fn followed(
    mut response: Response<Body>,
    path: &str,
    next: Option<&str>,
    more: Option<(&str, String)>,
) -> Response<Body> {
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    if let Some(last) = next {
        let more = more.map(|(name, value)| format!("&{name}={}", encoded(&value))).unwrap_or_default();
        let link = format!("<{path}?last={}{more}>; rel=\"next\"", encoded(last));
        response.headers_mut().insert(LINK, text_value(&link));
    }
    response
}

/// Adds headers whose values are digests, numbers and checked names.
pub(super) fn with(mut response: Response<Body>, headers: &[(HeaderName, String)]) -> Response<Body> {
    for (name, value) in headers {
        response.headers_mut().insert(name, text_value(value));
    }
    response
}

pub(super) fn located(status: StatusCode, location: String) -> Response<Body> {
    with(empty(status), &[(LOCATION, location)])
}

/// What is no header's value is left empty: clients send such things, we answer them.
fn text_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

pub(super) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const API: HeaderName = HeaderName::from_static("docker-distribution-api-version");
const API_VERSION: &str = "registry/2.0";
pub(super) const JSON: &str = "application/json";
const OCTETS: &str = "application/octet-stream";
const PIECE_BYTES: u64 = 256 << 10;
