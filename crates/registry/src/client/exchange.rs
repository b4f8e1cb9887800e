//! One request and its answer: connections from a pool, redirects by hand, patience and sizes bounded.
//!
//! A redirect to another scheme, host or port gets no `Authorization`; one from TLS to plain HTTP is not followed unless
//! the operator allows plain HTTP there.

use std::error::Error as _;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use fault::{Error, Result};
use futures_util::future::{Either, select};
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{
    AUTHORIZATION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, LOCATION, PROXY_AUTHORIZATION,
    RETRY_AFTER, USER_AGENT, WWW_AUTHENTICATE,
};
use hyper::http::Uri;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::{sleep, timeout};

use crate::client::address::{join, same_place};
use crate::client::challenge::{self, Challenge};
use crate::client::dial::{DialError, Dialer, Plain};
use crate::client::headers::retry_after;
use crate::client::refusal::Refusal;
use crate::client::routes::Routes;
use crate::client::trouble::Trouble;
use crate::client::{Config, dial};

/// A request that can be sent more than once.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) method: Method,
    pub(crate) address: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Payload,
}

impl Ask {
    pub(crate) fn new(method: Method, address: Uri) -> Self {
        Self { method, address, headers: HeaderMap::new(), payload: Payload::Empty }
    }

    #[must_use]
    pub(crate) fn with_header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.append(name, value);
        }
        self
    }

    #[must_use]
    pub(crate) fn with_payload(self, payload: Payload) -> Self {
        Self { payload, ..self }
    }

    /// As Go words it in errors: `Get "https://host/v2/"`.
    pub(crate) fn words(&self) -> String {
        request_words(&self.method, &self.address)
    }
}

fn request_words(method: &Method, address: &Uri) -> String {
    let method = method.as_str();
    let (first, rest) = method.split_at(1);
    format!("{first}{} \"{address}\"", rest.to_ascii_lowercase())
}

/// What a request carries.
#[derive(Clone, Debug)]
pub(crate) enum Payload {
    Empty,
    Bytes(Bytes),
    File(Section),
}

/// A part of a file, read as it is sent.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    pub(crate) file: Arc<File>,
    pub(crate) range: Range<u64>,
    /// How far the file has been read.
    pub(crate) sent: Arc<AtomicU64>,
}

type Body = UnsyncBoxBody<Bytes, io::Error>;

impl Payload {
    fn length(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File(section) => section.range.end - section.range.start,
        }
    }

    fn body(&self) -> Body {
        match self {
            Self::Empty => Empty::new().map_err(|never| match never {}).boxed_unsync(),
            Self::Bytes(bytes) => Full::new(bytes.clone()).map_err(|never| match never {}).boxed_unsync(),
            Self::File(section) => section.clone().body(),
        }
    }

    /// A number that changes while something goes out.
    fn progress(&self) -> u64 {
        match self {
            Self::File(section) => section.sent.load(Ordering::Relaxed),
            _ => 0,
        }
    }
}

impl Section {
    fn body(self) -> Body {
        let start = self.range.start;
        let parts = stream::try_unfold(start, move |at| {
            let section = self.clone();
            async move {
                let length = CHUNK_BYTES.min(section.range.end - at);
                if length == 0 {
                    return Ok(None);
                }
                let file = Arc::clone(&section.file);
                let reading = tokio::task::spawn_blocking(move || read_at(&file, at, length)).await;
                let bytes = reading.map_err(io::Error::other)??;
                section.sent.store(at + length, Ordering::Relaxed);
                Ok(Some((Frame::data(bytes), at + length)))
            }
        });
        StreamBody::new(parts).boxed_unsync()
    }
}

fn read_at(file: &File, at: u64, length: u64) -> io::Result<Bytes> {
    let mut buffer = vec![0; length as usize];
    file.read_exact_at(&mut buffer, at)?;
    Ok(buffer.into())
}

/// What came back; its body is still to be read.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Where it came from, after redirects.
    pub(crate) address: Uri,
    request: String,
    /// Bytes that were read already.
    rest: Bytes,
    body: Incoming,
}

impl Answer {
    pub(crate) fn header(&self, name: impl hyper::header::AsHeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub(crate) fn content_length(&self) -> Option<u64> {
        self.header(CONTENT_LENGTH).and_then(|length| length.parse().ok())
    }

    /// Where the registry wants the next request.
    pub(crate) fn location(&self) -> Result<Uri, Trouble> {
        let location = self.header(LOCATION).ok_or_else(|| self.broken("no Location in the answer"))?;
        Ok(join(&self.address, location)?)
    }

    pub(crate) fn challenges(&self) -> Vec<Challenge> {
        let headers = self.headers.get_all(WWW_AUTHENTICATE).into_iter();
        headers.filter_map(|value| value.to_str().ok()).flat_map(challenge::parse).collect()
    }

    /// The next bytes, `None` at the end.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, Trouble> {
        if !self.rest.is_empty() {
            return Ok(Some(std::mem::take(&mut self.rest)));
        }
        loop {
            let next = timeout(STALL_PATIENCE, self.body.frame()).await;
            match next.map_err(|_| self.broken("i/o timeout"))? {
                None => return Ok(None),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
                Some(Err(error)) => return Err(self.broken(&broken_words(&error))),
            }
        }
    }

    /// Reads so many bytes away.
    pub(crate) async fn skipped(mut self, bytes: u64) -> Result<Self, Trouble> {
        let mut left = bytes;
        while left > 0 {
            let Some(mut chunk) = self.chunk().await? else { return Err(self.broken("unexpected EOF")) };
            let skipped = left.min(chunk.len() as u64);
            left -= skipped;
            self.rest = chunk.split_off(skipped as usize);
        }
        Ok(self)
    }

    /// All of a body that may have so many bytes.
    pub(crate) async fn bytes(&mut self, bytes_max: u64) -> Result<Bytes, Trouble> {
        let mut all = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            if (all.len() + chunk.len()) as u64 > bytes_max {
                let words = format!("{}: the answer has more than {bytes_max} bytes", self.request);
                return Err(Error::invalid(words).into());
            }
            all.extend_from_slice(&chunk);
        }
        Ok(all.freeze())
    }

    /// Together with all of its body.
    pub(crate) async fn with_bytes(mut self, bytes_max: u64) -> Result<(Self, Bytes), Trouble> {
        let bytes = self.bytes(bytes_max).await?;
        Ok((self, bytes))
    }

    /// Reads a failing answer; an error if even that fails. Other answers come back.
    pub(crate) async fn judged(mut self) -> Result<Self, Trouble> {
        if self.status.is_success() {
            return Ok(self);
        }
        let challenges = self.challenges();
        let asked = self.header(RETRY_AFTER).and_then(|value| retry_after(value, SystemTime::now()));
        // What is too long or breaks off is no message for people either.
        let body = self.bytes(REFUSAL_BYTES_MAX).await.unwrap_or_default();
        let refusal = Refusal::read(self.status.as_u16(), &challenges, &body);
        Err(Trouble::Refused { request: None, refusal: Refusal { retry_after: asked, ..refusal } })
    }

    pub(crate) fn broken(&self, why: &str) -> Trouble {
        Trouble::Broken { request: self.request.clone(), why: why.into() }
    }
}

/// The connections to all registries.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    dialer: Dialer,
    strict: Client<Dialer, Body>,
    lenient: Client<Dialer, Body>,
    user_agent: HeaderValue,
}

impl Exchange {
    pub(crate) fn new(config: &Config, routes: &Routes) -> Result<Self> {
        let dialer = Dialer::new(config, routes)?;
        let user_agent = HeaderValue::from_str(&config.user_agent)
            .map_err(|_| Error::invalid(format!("invalid user agent {:?}", config.user_agent)))?;
        Ok(Self {
            strict: client(dialer.with_plain(Plain::Listed)),
            lenient: client(dialer.with_plain(Plain::Anywhere)),
            dialer,
            user_agent,
        })
    }

    /// Sends, and follows redirects. Any status is an answer.
    pub(crate) async fn send(
        &self,
        ask: &Ask,
        authorization: Option<&HeaderValue>,
        plain: Plain,
    ) -> Result<Answer, Trouble> {
        let mut ask = ask.clone();
        let first = ask.address.clone();
        for _ in 0..=REDIRECTS_MAX {
            let authorization = authorization.filter(|_| same_place(&ask.address, &first));
            let answer = self.hop(&ask, authorization, plain).await?;
            if !is_redirect(answer.status, &ask.method) {
                return Ok(answer);
            }
            let next = answer.location()?;
            let loses_tls = ask.address.scheme_str() == Some("https") && next.scheme_str() == Some("http");
            if loses_tls && plain == Plain::Listed {
                return Err(answer.broken(&format!("redirected to {next} without TLS")));
            }
            ask.address = next;
        }
        Err(Trouble::Broken { request: ask.words(), why: format!("stopped after {REDIRECTS_MAX} redirects") })
    }

    async fn hop(
        &self,
        ask: &Ask,
        authorization: Option<&HeaderValue>,
        plain: Plain,
    ) -> Result<Answer, Trouble> {
        let client = match plain {
            Plain::Listed => &self.strict,
            Plain::Anywhere => &self.lenient,
        };
        let request = self.request(ask, authorization)?;
        let response = match select(client.request(request), pin!(patience(ask))).await {
            Either::Left((response, _)) => response.map_err(|error| unsent(ask, &error))?,
            Either::Right(_) => {
                let why = "net/http: timeout awaiting response headers".into();
                return Err(Trouble::Broken { request: ask.words(), why });
            }
        };
        let (parts, body) = Response::into_parts(response);
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            address: ask.address.clone(),
            request: ask.words(),
            rest: Bytes::new(),
            body,
        })
    }

    fn request(&self, ask: &Ask, authorization: Option<&HeaderValue>) -> Result<Request<Body>> {
        let mut request = Request::new(ask.payload.body());
        *request.method_mut() = ask.method.clone();
        *request.uri_mut() = ask.address.clone();
        let headers = request.headers_mut();
        headers.clone_from(&ask.headers);
        headers.insert(USER_AGENT, self.user_agent.clone());
        headers.extend(authorization.map(|secret| (AUTHORIZATION, secret.clone())));
        headers.extend(
            self.dialer.proxy_authorization(&ask.address).map(|secret| (PROXY_AUTHORIZATION, secret)),
        );
        if !matches!(ask.method, Method::GET | Method::HEAD) {
            headers.insert(CONTENT_LENGTH, ask.payload.length().into());
        }
        Ok(request)
    }
}

/// Ends when nothing happens any more: neither an answer nor, while there is something to send, anything sent.
async fn patience(ask: &Ask) {
    let longest = match ask.method {
        Method::GET | Method::HEAD => READ_PATIENCE,
        _ => WRITE_PATIENCE,
    };
    let mut before = ask.payload.progress();
    let mut quiet = Duration::ZERO;
    while quiet < longest {
        sleep(LOOK_AGAIN).await;
        let now = ask.payload.progress();
        quiet = if now == before { quiet + LOOK_AGAIN } else { Duration::ZERO };
        before = now;
    }
}

fn client(dialer: Dialer) -> Client<Dialer, Body> {
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(IDLE_MAX)
        .build(dialer)
}

/// Other methods are repeated only where the status says that they are to be (RFC 9110, 15.4).
fn is_redirect(status: StatusCode, method: &Method) -> bool {
    match status.as_u16() {
        307 | 308 => true,
        301..=303 => matches!(*method, Method::GET | Method::HEAD),
        _ => false,
    }
}

fn unsent(ask: &Ask, error: &hyper_util::client::legacy::Error) -> Trouble {
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(dial) = inner.downcast_ref::<DialError>() {
            // The path says nothing about a connection; dockerd has asked for this one first.
            let base = join(&ask.address, "/v2/").unwrap_or_else(|_| ask.address.clone());
            let request = request_words(&Method::GET, &base);
            return Trouble::Unreached { request, why: dial.to_string(), may_be_plain: dial.may_be_plain };
        }
        if let Some(broken) = inner.downcast_ref::<hyper::Error>() {
            return Trouble::Broken { request: ask.words(), why: broken_words(broken) };
        }
        source = inner.source();
    }
    Trouble::Broken { request: ask.words(), why: error.to_string() }
}

fn broken_words(error: &hyper::Error) -> String {
    if error.is_incomplete_message() || error.is_body_write_aborted() {
        return "unexpected EOF".into();
    }
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(io) = inner.downcast_ref::<io::Error>() {
            let is_eof = io.kind() == io::ErrorKind::UnexpectedEof;
            return if is_eof { "unexpected EOF".into() } else { dial::words(io) };
        }
        source = inner.source();
    }
    error.to_string()
}

/// A piece of a file on its way out.
const CHUNK_BYTES: u64 = 256 * 1024;
/// What a registry may say when it refuses.
const REFUSAL_BYTES_MAX: u64 = 64 * 1024;
/// As Go has it.
const REDIRECTS_MAX: usize = 10;
/// Until a registry begins to answer.
const READ_PATIENCE: Duration = Duration::from_secs(60);
/// It may have to move a whole blob before that.
const WRITE_PATIENCE: Duration = Duration::from_secs(300);
const LOOK_AGAIN: Duration = Duration::from_secs(15);
/// Between two pieces of a body.
const STALL_PATIENCE: Duration = Duration::from_secs(60);
/// An unused connection is closed soon: registries do so after a minute.
const IDLE: Duration = Duration::from_secs(30);
/// As many as a pull uses at once, and some.
const IDLE_MAX: usize = 8;
