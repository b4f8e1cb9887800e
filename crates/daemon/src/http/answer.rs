//! Answers: whole ones, streamed ones, and those that take the connection over.

use bytes::Bytes;
use fault::{Error, Kind, Result};
use futures_util::{Stream, StreamExt};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;

use super::hijack::Takeover;
use super::status;
use super::version::Version;

/// Pulled by the connection as the client reads, so nothing piles up.
pub(crate) type Body = UnsyncBoxBody<Bytes, Error>;

#[derive(Debug)]
pub(crate) enum Answer {
    Response(Response<Body>),
    Takeover(Takeover),
}

impl From<Response<Body>> for Answer {
    fn from(response: Response<Body>) -> Self {
        Self::Response(response)
    }
}

pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub(crate) const TAR: HeaderValue = HeaderValue::from_static("application/x-tar");
const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// A status without a body.
pub(crate) fn empty(status: StatusCode) -> Response<Body> {
    whole(status, Bytes::new())
}

pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    let mut response = whole(status, line(value).into());
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

pub(crate) fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = whole(status, text.into());
    response.headers_mut().insert(CONTENT_TYPE, PLAIN);
    response
}

/// A body of unknown length, sent as it comes; the head goes out at once.
pub(crate) fn stream(
    content_type: HeaderValue,
    parts: impl Stream<Item = Result<Bytes>> + Send + 'static,
) -> Response<Body> {
    let body = StreamBody::new(parts.map(|part| part.map(Frame::data)));
    let mut response = Response::new(BodyExt::boxed_unsync(body));
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// One JSON value and a line feed, as Go's encoder writes it.
pub(crate) fn line(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(value).expect("answers have string keys and finite numbers");
    bytes.push(b'\n');
    bytes
}

/// `{"message":"…"}`, or bare text for clients that are too old for JSON errors. A 304 has no body.
pub(crate) fn error(error: &Error, version: Option<Version>) -> Response<Body> {
    let status = status::of(error.kind());
    if error.kind() == Kind::Unchanged {
        return empty(status);
    }
    let message = error.to_string();
    if version.is_some_and(|version| version < Version::OLDEST) {
        return text(status, message + "\n");
    }
    json(status, &api::system::ErrorAnswer { message })
}

fn whole(status: StatusCode, bytes: Bytes) -> Response<Body> {
    let body = Full::new(bytes).map_err(|never| match never {});
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = status;
    response
}
