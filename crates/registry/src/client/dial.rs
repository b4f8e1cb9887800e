//! Connections: name to address, perhaps through a proxy, TLS. Errors have Go's texts (`dial tcp 127.0.0.1:5000: connect:
//! connection refused`), because people search for those.
//!
//! ```text
//!   https --> address [--> proxy: CONNECT] --> TLS, verified unless the host or the address is insecure
//!   http  --> address [--> proxy: absolute form]; only to where the operator allows it
//! ```

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use fault::{Error, Result};
use futures_util::FutureExt;
use futures_util::future::select_ok;
use hyper::header::HeaderValue;
use hyper::http::Uri;
use hyper::rt::ReadBufCursor;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tower_service::Service;

use crate::client::address::{bare_host, port};
use crate::client::names::Names;
use crate::client::routes::{Insecure, Routes};
use crate::client::tls::{self, Tls};
use crate::client::{Config, Proxies};

/// Makes connections for the pool.
#[derive(Clone, Debug)]
pub(crate) struct Dialer {
    shared: Arc<Shared>,
    plain: Plain,
}

/// Where plain HTTP may be spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plain {
    /// To insecure hosts and networks.
    Listed,
    /// The operator has said so for the registry that leads here.
    Anywhere,
}

struct Shared {
    insecure: Insecure,
    proxies: Matcher,
    tls: Tls,
}

impl fmt::Debug for Shared {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Shared")
            .field("insecure", &self.insecure)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

/// No connection came about.
#[derive(Debug)]
pub(crate) struct DialError {
    text: String,
    /// The address is one where plain HTTP may be tried.
    pub(crate) may_be_plain: bool,
}

impl fmt::Display for DialError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl std::error::Error for DialError {}

fn failed(text: impl Into<String>) -> DialError {
    DialError { text: text.into(), may_be_plain: false }
}

impl Dialer {
    /// `Invalid` for a proxy that is no address.
    pub(crate) fn new(config: &Config, routes: &Routes) -> Result<Self> {
        let shared = Shared {
            insecure: routes.insecure().clone(),
            proxies: matcher(&config.proxies)?,
            tls: Tls::new(&config.certificates),
        };
        Ok(Self { shared: Arc::new(shared), plain: Plain::Listed })
    }

    pub(crate) fn with_plain(&self, plain: Plain) -> Self {
        Self { plain, ..self.clone() }
    }

    /// For requests that go to a proxy as a whole: what the proxy wants to see.
    pub(crate) fn proxy_authorization(&self, address: &Uri) -> Option<HeaderValue> {
        let is_plain = address.scheme_str() == Some("http");
        self.proxy(address).filter(|_| is_plain)?.basic_auth().cloned()
    }

    /// This machine is always reached directly, as Go has it.
    fn proxy(&self, address: &Uri) -> Option<Intercept> {
        let host = bare_host(address);
        let is_here = host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
        if is_here { None } else { self.shared.proxies.intercept(address) }
    }

    async fn connect(self, address: Uri) -> Result<Wire, DialError> {
        let Some(proxy) = self.proxy(&address) else { return self.direct(&address).await };
        if address.scheme_str() == Some("http") {
            if self.plain == Plain::Listed && !self.shared.insecure.has_host(authority(&address)) {
                return Err(refused(&address));
            }
            let wire = Hop(self.shared).open(proxy.uri().clone()).await.map_err(|error| via_proxy(&error))?;
            return Ok(Wire { is_proxied: true, ..wire });
        }
        let mut tunnel = Tunnel::new(proxy.uri().clone(), Hop(Arc::clone(&self.shared)));
        if let Some(secret) = proxy.basic_auth() {
            tunnel = tunnel.with_auth(secret.clone());
        }
        let opening = timeout(DIAL_PATIENCE, tunnel.call(address.clone())).await;
        let wire =
            opening.map_err(|_| via_proxy(&"i/o timeout"))?.map_err(|error| via_proxy(&sources(&error)))?;
        let verified = !self.shared.insecure.has_host(authority(&address));
        self.shared.secure(wire.io.into_inner(), &address, verified).await
    }

    async fn direct(&self, address: &Uri) -> Result<Wire, DialError> {
        let host_is_insecure = self.shared.insecure.has_host(authority(address));
        let addresses = resolve(address).await?;
        let some_insecure = addresses.iter().any(|one| self.shared.insecure.has_address(one.ip()));
        let tcp = connect_any(&addresses).await;
        let tcp = tcp.map_err(|text| DialError { text, may_be_plain: host_is_insecure || some_insecure })?;
        let peer = tcp.peer_addr().ok();
        let is_insecure =
            host_is_insecure || peer.is_some_and(|peer| self.shared.insecure.has_address(peer.ip()));
        match address.scheme_str() {
            Some("http") if is_insecure || self.plain == Plain::Anywhere => Ok(Wire::new(Box::new(tcp))),
            Some("http") => Err(refused(address)),
            _ => {
                let secured = self.shared.secure(Box::new(tcp), address, !is_insecure).await;
                secured.map_err(|error| DialError { may_be_plain: is_insecure, ..error })
            }
        }
    }
}

impl Shared {
    async fn secure(&self, io: Box<dyn Stream>, address: &Uri, verified: bool) -> Result<Wire, DialError> {
        let config =
            self.tls.config(authority(address), verified).await.map_err(|error| failed(error.to_string()))?;
        let name = ServerName::try_from(bare_host(address).to_owned());
        let name = name.map_err(|_| failed(format!("tls: invalid server name {:?}", bare_host(address))))?;
        let shaking_hands = TlsConnector::from(config).connect(name, io);
        let secured = timeout(HANDSHAKE_PATIENCE, shaking_hands).await;
        let secured = secured.map_err(|_| failed("net/http: TLS handshake timeout"))?;
        Ok(Wire::new(Box::new(secured.map_err(|error| failed(tls::words(&error, bare_host(address))))?)))
    }
}

impl Service<Uri> for Dialer {
    type Response = Wire;
    type Error = DialError;
    type Future = Pin<Box<dyn Future<Output = Result<Wire, DialError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, address: Uri) -> Self::Future {
        self.clone().connect(address).boxed()
    }
}

/// The way to a proxy, which may itself want TLS.
#[derive(Clone, Debug)]
struct Hop(Arc<Shared>);

impl Hop {
    async fn open(self, proxy: Uri) -> Result<Wire, DialError> {
        let tcp = connect_any(&resolve(&proxy).await?).await.map_err(failed)?;
        match proxy.scheme_str() {
            Some("https") => self.0.secure(Box::new(tcp), &proxy, true).await,
            _ => Ok(Wire::new(Box::new(tcp))),
        }
    }
}

impl Service<Uri> for Hop {
    type Response = Wire;
    type Error = DialError;
    type Future = Pin<Box<dyn Future<Output = Result<Wire, DialError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, proxy: Uri) -> Self::Future {
        self.clone().open(proxy).boxed()
    }
}

async fn resolve(address: &Uri) -> Result<Vec<SocketAddr>, DialError> {
    let names = Names::of_machine().await;
    let found =
        names.lookup(bare_host(address)).await.map_err(|error| failed(format!("dial tcp: {error}")))?;
    Ok(found.into_iter().map(|ip| SocketAddr::new(ip, port(address))).collect())
}

/// Tries the addresses of the first one's family, and a little later those of the other (RFC 8305, cut down).
async fn connect_any(addresses: &[SocketAddr]) -> Result<TcpStream, String> {
    let is_first_family =
        |address: &SocketAddr| Some(address.is_ipv4()) == addresses.first().map(SocketAddr::is_ipv4);
    let (first, other): (Vec<_>, Vec<_>) = addresses.iter().partition(|address| is_first_family(address));
    let mut ways = vec![connect_each(first).boxed()];
    if !other.is_empty() {
        ways.push(sleep(FALLBACK_DELAY).then(|()| connect_each(other)).boxed());
    }
    match timeout(DIAL_PATIENCE, select_ok(ways)).await {
        Ok(connected) => connected.map(|(stream, _)| stream),
        Err(_) => {
            Err(addresses.first().map_or_else(String::new, |first| format!("dial tcp {first}: i/o timeout")))
        }
    }
}

async fn connect_each(addresses: Vec<&SocketAddr>) -> Result<TcpStream, String> {
    let mut failure = "dial tcp: no address".to_owned();
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                drop(stream.set_nodelay(true));
                return Ok(stream);
            }
            Err(error) => failure = format!("dial tcp {address}: connect: {}", words(&error)),
        }
    }
    Err(failure)
}

/// A system error as Go words it.
pub(crate) fn words(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_lowercase(),
        None => text,
    }
}

/// An error with what lies under it.
fn sources(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => sources(source),
        None => error.to_string(),
    }
}

fn via_proxy(error: &dyn fmt::Display) -> DialError {
    failed(format!("proxyconnect tcp: {error}"))
}

fn refused(address: &Uri) -> DialError {
    failed(format!("plain HTTP to {} is not allowed: it is no insecure registry", authority(address)))
}

fn authority(address: &Uri) -> &str {
    address.authority().map_or("", |authority| authority.as_str())
}

fn matcher(proxies: &Proxies) -> Result<Matcher> {
    for proxy in [&proxies.http, &proxies.https].into_iter().flatten() {
        let with_scheme = if proxy.contains("://") { proxy.clone() } else { format!("http://{proxy}") };
        let parsed = with_scheme.parse::<Uri>().ok();
        let is_http = parsed.is_some_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")));
        if !is_http {
            return Err(Error::invalid("invalid proxy: it has to be http://host:port or https://host:port"));
        }
    }
    let text = |proxy: &Option<String>| proxy.clone().unwrap_or_default();
    let builder = Matcher::builder().http(text(&proxies.http)).https(text(&proxies.https));
    Ok(builder.no(proxies.none.clone()).build())
}

/// A byte stream both ways.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection as the pool keeps it.
pub(crate) struct Wire {
    io: TokioIo<Box<dyn Stream>>,
    is_proxied: bool,
}

impl Wire {
    fn new(io: Box<dyn Stream>) -> Self {
        Self { io: TokioIo::new(io), is_proxied: false }
    }
}

impl Connection for Wire {
    fn connected(&self) -> Connected {
        Connected::new().proxy(self.is_proxied)
    }
}

impl hyper::rt::Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl hyper::rt::Write for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, buffers)
    }
}

/// dockerd's limits (moby, daemon/internal/distribution/registry.go).
const DIAL_PATIENCE: Duration = Duration::from_secs(30);
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);
/// Go's `FallbackDelay`.
const FALLBACK_DELAY: Duration = Duration::from_millis(300);
