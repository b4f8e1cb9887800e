//! A request on its way into a handler: its version is checked, its query bent to the newest meaning.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fault::{Error, Result};
use futures_util::Stream;
use http_body_util::{BodyExt, BodyStream, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_TYPE, UPGRADE};
use hyper::{HeaderMap, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::answer::{self, Answer};
use super::query::Query;
use super::router::Route;
use super::version::Version;
use super::{Door, json, versions};

#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) door: Arc<Door>,
    pub(crate) route: &'static Route,
    pub(crate) version: Version,
    /// What the path names: a container, an image, …; empty if it names nothing.
    pub(crate) name: String,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Incoming,
}

impl Request {
    /// The body as JSON, bent to the newest version. An empty body is a default.
    pub(crate) async fn json<T: DeserializeOwned + Default>(&mut self) -> Result<T> {
        self.check_json()?;
        if self.body.is_end_stream() {
            return Ok(T::default());
        }
        let value = self.json_value().await?;
        api::from_value(value)
    }

    /// The body as JSON, bent to the newest version; there must be one.
    pub(crate) async fn json_value(&mut self) -> Result<serde_json::Value> {
        self.check_json()?;
        let mut value = json::parse(&self.bytes().await?)?;
        versions::bend_request(self.route, self.version, &mut value)?;
        Ok(value)
    }

    /// The whole body, which must be short.
    pub(crate) async fn bytes(&mut self) -> Result<Bytes> {
        let collected = Limited::new(&mut self.body, BODY_BYTES_MAX).collect();
        let body = tokio::time::timeout(BODY_PATIENCE, collected)
            .await
            .map_err(|_| Error::invalid("the request's body did not arrive in time"))?
            .map_err(|error| match error.is::<LengthLimitError>() {
                true => {
                    Error::invalid(format!("the request's body is longer than {} MiB", BODY_BYTES_MAX >> 20))
                }
                false => Error::invalid(format!("reading the request's body: {error}")),
            })?;
        Ok(body.to_bytes())
    }

    /// The body as it arrives, of any length.
    pub(crate) fn into_stream(self) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
        let frames = BodyStream::new(self.body);
        futures_util::StreamExt::filter_map(frames, |frame| async {
            match frame {
                Ok(frame) => frame.into_data().ok().map(Ok),
                Err(error) => Some(Err(Error::invalid(format!("reading the request's body: {error}")))),
            }
        })
    }

    /// An answer in JSON, bent back to the client's version.
    pub(crate) fn answer(&self, status: StatusCode, value: &impl Serialize) -> Answer {
        match versions::bend_answer(self.route, self.version, value) {
            Some(bent) => answer::json(status, &bent).into(),
            None => answer::json(status, value).into(),
        }
    }

    pub(crate) fn ok(&self, value: &impl Serialize) -> Result<Answer> {
        Ok(self.answer(StatusCode::OK, value))
    }

    /// Whether a takeover is to be answered with 101.
    pub(crate) fn upgrade(&self) -> bool {
        self.headers.contains_key(UPGRADE)
    }

    /// No type is fine without a body; otherwise it has to be JSON.
    fn check_json(&self) -> Result<()> {
        let given = self.headers.get(CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default());
        if given.unwrap_or_default().is_empty() {
            return if self.body.is_end_stream() {
                Ok(())
            } else {
                Err(Error::invalid("malformed Content-Type header (): mime: no media type"))
            };
        }
        let given = given.unwrap_or_default();
        let kind = given.split(';').next().unwrap_or_default().trim();
        if kind.eq_ignore_ascii_case("application/json") {
            return Ok(());
        }
        Err(Error::invalid(format!("unsupported Content-Type header ({given}): must be 'application/json'")))
    }
}

/// 204, the usual answer to a command.
pub(crate) fn done() -> Result<Answer> {
    Ok(answer::empty(StatusCode::NO_CONTENT).into())
}

/// The largest requests in use (create with many mounts) are a few hundred kilobytes.
const BODY_BYTES_MAX: usize = 4 << 20;

/// How long the short body of a command may take; a slow one would hold its connection for ever.
const BODY_PATIENCE: Duration = Duration::from_secs(60);
