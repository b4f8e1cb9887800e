//! One HTTP/1.1 exchange with the daemon: connect, send, and hand over the answer.
//!
//! Guarantees: a failing status becomes an error with the daemon's own words; a daemon that cannot be reached gives the
//! sentence that people know. A connection lives as long as its answer.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;

use api::registry::{AUTH_HEADER, AuthConfig};
use bytes::Bytes;
use fault::{Error, Kind, Result};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::HeaderMap;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, UPGRADE, USER_AGENT};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;

use crate::{Answer, Body, Endpoint, Hijacked};

/// A daemon to talk to. Cheap to make: nothing is sent before the first request.
#[derive(Debug)]
pub struct Client {
    endpoint: Endpoint,
    version: RefCell<String>,
    headers: HeaderMap,
}

impl Client {
    pub fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, version: RefCell::new(api::VERSION.into()), headers: HeaderMap::new() }
    }

    /// Speaks this version instead of the newest.
    #[must_use]
    pub fn with_version(self, version: &str) -> Self {
        self.version.replace(version.trim_start_matches('v').into());
        self
    }

    /// Sends these with every request. Those that a request needs itself cannot be replaced.
    pub fn with_headers(mut self, headers: &BTreeMap<String, String>) -> Result<Self> {
        for (name, value) in headers {
            let key = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| Error::invalid(format!("invalid header field name {name:?}")))?;
            let value = HeaderValue::from_str(value)
                .map_err(|_| Error::invalid(format!("invalid header field value for {name:?}")))?;
            self.headers.insert(key, value);
        }
        Ok(self)
    }

    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The version that is spoken; lower than ours after the daemon asked for that.
    pub fn version(&self) -> String {
        self.version.borrow().clone()
    }

    pub(crate) fn get(&self, path: impl Into<String>) -> Request<'_> {
        self.request("GET", path)
    }

    pub(crate) fn head(&self, path: impl Into<String>) -> Request<'_> {
        self.request("HEAD", path)
    }

    pub(crate) fn post(&self, path: impl Into<String>) -> Request<'_> {
        self.request("POST", path)
    }

    pub(crate) fn put(&self, path: impl Into<String>) -> Request<'_> {
        self.request("PUT", path)
    }

    pub(crate) fn delete(&self, path: impl Into<String>) -> Request<'_> {
        self.request("DELETE", path)
    }

    fn request(&self, method: &'static str, path: impl Into<String>) -> Request<'_> {
        Request {
            client: self,
            method,
            path: path.into(),
            query: Vec::new(),
            body: Body::Empty,
            auth: None,
            upgrade: false,
        }
    }
}

/// A request in the making.
#[derive(Debug)]
pub(crate) struct Request<'c> {
    client: &'c Client,
    method: &'static str,
    path: String,
    query: Vec<(&'static str, String)>,
    body: Body,
    /// The value of the header that says who asks a registry.
    auth: Option<String>,
    upgrade: bool,
}

impl Request<'_> {
    #[must_use]
    pub(crate) fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    /// The parameter is there as `1` or not at all.
    #[must_use]
    pub(crate) fn flag(self, name: &'static str, on: bool) -> Self {
        if on { self.query(name, "1") } else { self }
    }

    /// The parameter is left out if its value is empty.
    #[must_use]
    pub(crate) fn text(self, name: &'static str, value: &str) -> Self {
        if value.is_empty() { self } else { self.query(name, value) }
    }

    #[must_use]
    pub(crate) fn filters(self, filters: &api::filters::Filters) -> Self {
        if filters.is_empty() { self } else { self.query("filters", filters.to_json()) }
    }

    /// Who asks a registry; nobody is told as well, as some daemons insist on the header.
    #[must_use]
    pub(crate) fn auth(mut self, auth: &AuthConfig) -> Self {
        self.auth = Some(auth.to_header());
        self
    }

    #[must_use]
    pub(crate) fn body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }

    /// Sends the request; an answer with a failing status is an error.
    pub(crate) async fn send(self) -> Result<Answer> {
        let again = self.again();
        let error = match self.exchange().await?.checked().await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let (Some(version), Some(again)) = (older_version(&error), again) else { return Err(error) };
        again.client.version.replace(version);
        again.exchange().await?.checked().await
    }

    /// The same request once more, if its body can be sent twice.
    fn again(&self) -> Option<Self> {
        Some(Self {
            body: self.body.again()?,
            path: self.path.clone(),
            query: self.query.clone(),
            auth: self.auth.clone(),
            ..*self
        })
    }

    /// Sends the request and takes the connection over as a raw stream of bytes.
    pub(crate) async fn hijack(mut self) -> Result<Hijacked> {
        self.upgrade = true;
        Hijacked::from_answer(self.send().await?).await
    }

    async fn exchange(self) -> Result<Answer> {
        match &self.client.endpoint {
            Endpoint::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(|error| self.unreachable(&error))?;
                self.over(stream).await
            }
            Endpoint::Tcp(address) => {
                let stream = TcpStream::connect(address).await.map_err(|error| self.unreachable(&error))?;
                // An interactive stream of key strokes must not wait for more of them.
                stream.set_nodelay(true).map_err(|error| self.unreachable(&error))?;
                self.over(stream).await
            }
        }
    }

    async fn over(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<Answer> {
        let broken = |error: hyper::Error| {
            Error::unavailable(format!("error during connect: {} {}", self.method, self.path))
                .with_source(error)
        };
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let mut tasks = JoinSet::new();
        // Its errors reach us through the exchange that they break.
        tasks.spawn(async move { drop(connection.with_upgrades().await) });
        let (method, path) = (self.method, self.path.clone());
        let response = sender.send_request(self.into_http()).await.map_err(|error| {
            Error::unavailable(format!("error during connect: {method} {path}")).with_source(error)
        })?;
        Ok(Answer::new(response, tasks))
    }

    fn into_http(self) -> hyper::Request<UnsyncBoxBody<Bytes, io::Error>> {
        let mut builder = hyper::Request::builder()
            .method(self.method)
            .uri(self.uri())
            .header(HOST, self.client.endpoint.host())
            .header(USER_AGENT, concat!("kogge/", env!("CARGO_PKG_VERSION"), " (linux)"));
        if let Some(kind) = self.body.content_type() {
            builder = builder.header(CONTENT_TYPE, kind);
        }
        if let Some(auth) = &self.auth {
            builder = builder.header(AUTH_HEADER, auth);
        }
        if self.upgrade {
            builder = builder.header(CONNECTION, "Upgrade").header(UPGRADE, "tcp");
        }
        let mut request = builder
            .body(self.body.into_http())
            .expect("the path is percent-encoded and the headers are constants");
        for (name, value) in &self.client.headers {
            request.headers_mut().entry(name).or_insert_with(|| value.clone());
        }
        request
    }

    fn uri(&self) -> String {
        let mut uri = format!("/v{}{}", self.client.version.borrow(), self.path);
        for (index, (name, value)) in self.query.iter().enumerate() {
            uri.push(if index == 0 { '?' } else { '&' });
            uri.push_str(name);
            uri.push('=');
            uri.push_str(&encode(value));
        }
        uri
    }

    fn unreachable(&self, error: &io::Error) -> Error {
        let endpoint = &self.client.endpoint;
        if error.kind() == io::ErrorKind::PermissionDenied {
            return Error::denied(format!(
                "permission denied while trying to connect to the Docker daemon socket at {endpoint}"
            ));
        }
        Error::unavailable(format!(
            "Cannot connect to the Docker daemon at {endpoint}. Is the docker daemon running?"
        ))
    }
}

/// One segment of a path, or a query's value, made safe.
pub(crate) fn encode(text: &str) -> String {
    utf8_percent_encode(text, UNRESERVED).to_string()
}

/// The version that a daemon names when ours is too new for it.
fn older_version(error: &Error) -> Option<String> {
    if error.kind() != Kind::Invalid {
        return None;
    }
    let text = error.to_string();
    let (_, version) = text.split_once("is too new. Maximum supported API version is ")?;
    Some(version.trim().to_owned())
}

/// RFC 3986, 2.3; `:` and `/` stay readable in values, as they mean nothing there.
const UNRESERVED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/').remove(b':');

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_encoded() {
        let client = Client::new(Endpoint::unix("/x")).with_version("v1.41");
        let request =
            client.get("/events").text("since", "").query("filters", r#"{"a":1}"#).flag("all", true);
        assert_eq!(request.uri(), "/v1.41/events?filters=%7B%22a%22:1%7D&all=1");
    }

    #[test]
    fn more_headers_are_sent_beside_our_own() {
        let headers = |pairs: &[(&str, &str)]| {
            let headers = pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
            Client::new(Endpoint::unix("/x")).with_headers(&headers)
        };
        let client = headers(&[("X-Meta", "a"), ("Host", "elsewhere")]).unwrap();
        let request = client.get("/info").into_http();
        assert_eq!(request.headers()["x-meta"], "a");
        assert_eq!(request.headers()["host"], "api.moby.localhost");
        let refusal = |name, value| headers(&[(name, value)]).unwrap_err().to_string();
        assert_eq!(refusal("a b", "c"), r#"invalid header field name "a b""#);
        assert_eq!(refusal("a", "b\n"), r#"invalid header field value for "a""#);
    }

    #[test]
    fn a_daemon_that_is_too_old_names_its_version() {
        let error = Error::invalid(
            "Error response from daemon: client version 1.51 is too new. Maximum supported API version is 1.47",
        );
        assert_eq!(older_version(&error).as_deref(), Some("1.47"));
        assert_eq!(older_version(&Error::invalid("no")), None);
    }
}
