//! The door: connections, requests, answers.
//!
//! Work on the disk goes to the blocking pool, in pieces that end; bodies are taken and given piece by piece.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use fault::Result;
use hyper::body::Incoming;
use hyper::header::{ALLOW, AsHeaderName, CONNECTION, HOST, HeaderValue, USER_AGENT, WWW_AUTHENTICATE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tracing::{debug, info};

use crate::server::access::{Access, Caller, Need};
use crate::server::cache::{Cache, Source};
use crate::server::collect::Collected;
use crate::server::config::Config;
use crate::server::control;
use crate::server::events::{Deliveries, Event, Events, Origin};
use crate::server::failure::{Failure, Outcome};
use crate::server::listing::{Listed, Page};
use crate::server::metrics::{Held, Metrics};
use crate::server::route::Route;
use crate::server::sendfile::{Rewound, Sending};
use crate::server::storage::Storage;
use crate::server::tls;

mod answer;
mod blobs;
mod manifests;

use answer::{Answer, Body};

/// A registry that is ready to serve.
#[derive(Clone)]
pub struct Server {
    door: Arc<Door>,
    tls: Option<TlsAcceptor>,
    /// Taken by whoever runs it.
    deliveries: Arc<Mutex<Option<Deliveries>>>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Server").field("door", &self.door).finish_non_exhaustive()
    }
}

/// What all requests share.
#[derive(Debug)]
struct Door {
    config: Config,
    storage: Arc<Storage>,
    access: Access,
    metrics: Metrics,
    events: Events,
    cache: Option<Arc<Cache>>,
}

impl Door {
    /// For whoever wants to know.
    fn tell(&self, origin: &Origin, event: impl FnOnce() -> Event) {
        if !self.events.are_wanted() {
            return;
        }
        match (self.storage.uploads.unique(), self.storage.uploads.unique()) {
            (Ok(id), Ok(request)) => self.events.tell(&event(), origin, &id, &request),
            (Err(error), _) | (_, Err(error)) => tracing::warn!(%error, "an event was not told"),
        }
    }
}

/// A request, understood.
struct Asked {
    route: Route,
    /// The registry that has it, if it is not ours.
    from: Option<Source>,
    query: Vec<(String, String)>,
    caller: Caller,
    origin: Origin,
    request: Request<Incoming>,
}

/// Where a connection comes from.
#[derive(Clone, Copy, Debug)]
struct Peer {
    address: SocketAddr,
    scheme: &'static str,
}

impl Server {
    /// Opens the folder and reads what the configuration names. Blocks.
    pub fn open(config: Config) -> Result<Self> {
        let tls = config.tls.as_ref().map(|(chain, key)| tls::acceptor(chain, key)).transpose()?;
        let (events, deliveries) = Events::open(&config.notify)?;
        let storage = Arc::new(Storage::open(&config)?);
        let door = Door {
            access: Access::open(&config)?,
            cache: Cache::open(&config, &storage)?,
            storage,
            metrics: Metrics::default(),
            events,
            config,
        };
        Ok(Self { door: Arc::new(door), tls, deliveries: Arc::new(Mutex::new(Some(deliveries))) })
    }

    /// Takes away what no manifest stands on and what has been so for longer than the grace. Blocks.
    pub fn collect(&self, grace: Duration) -> Result<Collected> {
        self.door.storage.collect(grace.as_secs()).map_err(Failure::into_error)
    }

    /// Serves until `ending`; then requests under way are answered, for a bounded time.
    pub async fn run(self, listener: TcpListener, ending: impl Future<Output = ()>) -> Result<()> {
        let (end, ended) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(collect_by_and_by(Arc::clone(&self.door), ended.clone()));
        tasks.spawn(operated(control::listen(&self.door.storage)?, Arc::clone(&self.door), ended.clone()));
        let deliveries = self.deliveries.lock().unwrap_or_else(PoisonError::into_inner).take();
        deliveries.unwrap_or_default().run(&mut tasks, &ended);
        tokio::pin!(ending);
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, address)) if tasks.len() < CONNECTIONS_MAX => {
                        tasks.spawn(connected(self.clone(), stream, address, ended.clone()));
                    }
                    Ok(_) => debug!("too many connections"),
                    // A client that was gone already, or no descriptors left for a moment.
                    Err(error) => {
                        debug!(%error, "a connection was not accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(_) = tasks.join_next() => {}
                () = &mut ending => break,
            }
        }
        end.send_replace(true);
        let all_left = async { while tasks.join_next().await.is_some() {} };
        drop(tokio::time::timeout(FAREWELL, all_left).await);
        if let Some(cache) = &self.door.cache {
            cache.close().await;
        }
        control::close(&self.door.storage);
        Ok(())
    }
}

async fn collect_by_and_by(door: Arc<Door>, mut ended: watch::Receiver<bool>) {
    if door.config.collect_every.is_zero() || door.config.read_only {
        return;
    }
    loop {
        tokio::select! {
            () = tokio::time::sleep(door.config.collect_every) => {}
            () = over(&mut ended) => return,
        }
        let grace = door.config.grace.as_secs();
        match blocking(&door, move |storage| storage.collect(grace)).await {
            Ok(collected) => tracing::info!(?collected, "collected"),
            Err(failure) => tracing::warn!(error = ?failure, "collecting failed"),
        }
    }
}

async fn operated(listener: tokio::net::UnixListener, door: Arc<Door>, mut ended: watch::Receiver<bool>) {
    tokio::select! {
        () = control::serve(listener, Arc::clone(&door.storage)) => {}
        () = over(&mut ended) => {}
    }
}

async fn connected(server: Server, stream: TcpStream, address: SocketAddr, ended: watch::Receiver<bool>) {
    // Small answers must not wait for more bytes. Without it they are only slower.
    drop(stream.set_nodelay(true));
    match &server.tls {
        None => serve_plain(server.door, stream, Peer { address, scheme: "http" }, ended).await,
        Some(acceptor) => match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => serve_tls(server.door, stream, Peer { address, scheme: "https" }, ended).await,
            Ok(Err(error)) => debug!(%error, "no TLS with a client"),
            Err(_) => debug!("a client did not finish its TLS handshake"),
        },
    }
}

/// Blobs are sent by the kernel: hyper is put aside for as long as that takes, and goes on behind it.
async fn serve_plain(door: Arc<Door>, stream: TcpStream, peer: Peer, mut ended: watch::Receiver<bool>) {
    let mut io = Rewound::new(stream, Bytes::new());
    loop {
        let (hand_over, mut taken) = mpsc::channel::<Sending>(1);
        let service = service_fn(|request| {
            Box::pin(respond(Arc::clone(&door), peer, request, Some(hand_over.clone())))
        });
        let mut connection =
            http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(io), service);
        let sending = tokio::select! {
            biased;
            Some(sending) = taken.recv() => sending,
            served = poll_fn(|cx| connection.poll_without_shutdown(cx)) => {
                left(served);
                return linger(connection.into_parts().io.into_inner()).await;
            }
            () = over(&mut ended) => {
                std::pin::Pin::new(&mut connection).graceful_shutdown();
                return left(connection.await);
            }
        };
        // Nothing was answered to this request yet, and what hyper read beyond it is in `read_buf`.
        let parts = connection.into_parts();
        let mut stream = parts.io.into_inner().into_stream(&parts.read_buf);
        let keep_alive = sending.keep_alive;
        match sending.run(&mut stream.0).await {
            Ok(bytes) => drop(door.metrics.bytes_out.fetch_add(bytes, Ordering::Relaxed)),
            Err(error) => return debug!(%error, "a client left early"),
        }
        if !keep_alive {
            return;
        }
        io = Rewound::new(stream.0, stream.1);
    }
}

/// A socket that is closed over unread bytes breaks the pipe of a client that still sends a body, who then never reads
/// why it was refused.
async fn linger(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let drained = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await
    };
    if let Ok(Err(error)) = tokio::time::timeout(LINGER, drained).await {
        debug!(%error, "a client left early");
    }
}

async fn serve_tls(
    door: Arc<Door>,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
    mut ended: watch::Receiver<bool>,
) {
    let service = service_fn(|request| Box::pin(respond(Arc::clone(&door), peer, request, None)));
    let mut connection =
        http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        served = &mut connection => left(served),
        () = over(&mut ended) => {
            std::pin::Pin::new(&mut connection).graceful_shutdown();
            left(connection.await);
        }
    }
}

/// The server ends.
async fn over(ended: &mut watch::Receiver<bool>) {
    drop(ended.wait_for(|ended| *ended).await);
}

fn left(served: hyper::Result<()>) {
    if let Err(error) = served {
        debug!(%error, "a client left early");
    }
}

/// hyper's view of a request: an answer, or silence while the connection is handed over.
async fn respond(
    door: Arc<Door>,
    peer: Peer,
    request: Request<Incoming>,
    hand_over: Option<mpsc::Sender<Sending>>,
) -> Result<Response<Body>, Infallible> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let keep_alive = keeps_alive(&request);
    let answer = match dispatch(&door, peer, request).await {
        Ok(answer) => answer,
        Err(failure) => Answer::Response(failed(&failure, &method, &path)),
    };
    let status = answer.status();
    door.metrics.answered(&method, status.as_u16());
    if door.config.access_log {
        info!(target: "access", peer = %peer.address, %method, path, status = status.as_u16(), "answered");
    } else {
        debug!(peer = %peer.address, %method, path, status = status.as_u16(), "answered");
    }
    let response = match (answer, hand_over) {
        (Answer::Response(response), _) => response,
        (Answer::File(file), Some(hand_over)) => {
            // The receiver lives as long as this future, so it arrives and drops us.
            drop(hand_over.send(file.sending(keep_alive)).await);
            std::future::pending().await
        }
        (Answer::File(file), None) => {
            door.metrics.bytes_out.fetch_add(file.length(), Ordering::Relaxed);
            file.streamed()
        }
    };
    Ok(response)
}

fn keeps_alive(request: &Request<Incoming>) -> bool {
    let says = |word: &str| {
        let header = request.headers().get(CONNECTION).and_then(|value| value.to_str().ok());
        header.is_some_and(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(word)))
    };
    if request.version() == Version::HTTP_10 { says("keep-alive") } else { !says("close") }
}

async fn dispatch(door: &Arc<Door>, peer: Peer, request: Request<Incoming>) -> Outcome<Answer> {
    let route = Route::of(request.uri().path())?;
    let query = query(request.uri().query().unwrap_or_default());
    let (route, from) = sourced(door, route, &query)?;
    let need = Need::of(&route, request.method());
    let caller = door.access.admit(request.headers(), need.as_ref()).await?;
    if from.is_some() && !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Err(Failure::cached());
    }
    check_writable(&door.config, &route, request.method())?;
    let origin = origin(&caller, peer, &request);
    let asked = Asked { route, from, query, caller, origin, request };
    match &asked.route {
        Route::Base | Route::Metrics | Route::Catalogue | Route::Tags { .. } => listings(door, asked).await,
        Route::Manifest { .. } | Route::Referrers { .. } => manifests::answer(door, asked).await,
        Route::Blob { .. } | Route::Uploads { .. } | Route::Upload { .. } => blobs::answer(door, asked).await,
    }
}

/// The route of a repository by our name for it, and where that comes from.
fn sourced(door: &Door, mut route: Route, query: &[(String, String)]) -> Outcome<(Route, Option<Source>)> {
    let (Some(cache), Some(name)) = (&door.cache, route.name_mut()) else { return Ok((route, None)) };
    let namespace = query.iter().find(|(key, _)| key == "ns").map(|(_, value)| value.as_str());
    let from = cache.source(name, namespace)?;
    if let Some(from) = &from {
        name.clone_from(&from.name);
    }
    Ok((route, from))
}

fn check_writable(config: &Config, route: &Route, method: &Method) -> Outcome<()> {
    let writes = !matches!(*method, Method::GET | Method::HEAD);
    if writes && config.read_only {
        return Err(Failure::read_only());
    }
    if *method == Method::DELETE && !config.deletion && !matches!(route, Route::Upload { .. }) {
        return Err(Failure::method());
    }
    Ok(())
}

fn origin(caller: &Caller, peer: Peer, request: &Request<Incoming>) -> Origin {
    Origin {
        caller: caller.name.clone(),
        peer: peer.address,
        method: request.method().clone(),
        host: header(request, HOST).to_owned(),
        user_agent: header(request, USER_AGENT).to_owned(),
        scheme: peer.scheme,
    }
}

/// Empty if it is not there, or no text.
fn header<T>(request: &Request<T>, name: impl AsHeaderName) -> &str {
    request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

async fn listings(door: &Arc<Door>, asked: Asked) -> Outcome<Answer> {
    if !matches!(*asked.request.method(), Method::GET | Method::HEAD) {
        return Err(Failure::method());
    }
    let page = Page::of(&asked.query)?;
    let path = asked.request.uri().path().to_owned();
    match asked.route {
        Route::Base => Ok(answer::json(StatusCode::OK, &serde_json::json!({})).into()),
        Route::Metrics => {
            let held = blocking(door, Held::of).await?;
            Ok(answer::text(door.metrics.text(&held, &door.events.counts, door.cache.as_deref())).into())
        }
        Route::Catalogue => {
            let wanted = page.clone();
            let listed = blocking(door, move |storage| storage.repositories(&wanted)).await?;
            let body = serde_json::json!({"repositories": listed.entries});
            Ok(answer::page(&path, &page, listed.next.as_deref(), &body).into())
        }
        Route::Tags { name } => {
            let listed = tags(door, asked.from.as_ref(), &name, &page).await?;
            let body = serde_json::json!({"name": name, "tags": listed.entries});
            Ok(answer::page(&path, &page, listed.next.as_deref(), &body).into())
        }
        _ => Err(Failure::not_found()),
    }
}

async fn tags(door: &Door, from: Option<&Source>, name: &str, page: &Page) -> Outcome<Listed> {
    if let (Some(cache), Some(from)) = (&door.cache, from)
        && let Some(tags) = cache.tags(from).await?
    {
        return Ok(page.of_all(tags));
    }
    let (of, wanted) = (name.to_owned(), page.clone());
    blocking(door, move |storage| storage.tags(&of, &wanted)).await
}

/// Here an error's story ends: ours go to the log, the client's only to the client.
fn failed(failure: &Failure, method: &Method, path: &str) -> Response<Body> {
    if let Some(error) = &failure.source {
        tracing::error!(%error, %method, path, "a request failed");
    }
    let mut response = answer::bytes(failure.status, answer::JSON, failure.body_json());
    let headers = response.headers_mut();
    if let Some(challenge) = &failure.challenge
        && let Ok(challenge) = HeaderValue::from_str(challenge)
    {
        headers.insert(WWW_AUTHENTICATE, challenge);
    }
    if failure.status == StatusCode::METHOD_NOT_ALLOWED
        && let Ok(route) = Route::of(path)
    {
        headers.insert(ALLOW, HeaderValue::from_static(route.methods()));
    }
    response
}

/// Runs one finite piece of work on the disk.
async fn blocking<T: Send + 'static>(
    door: &Door,
    work: impl FnOnce(&Storage) -> Outcome<T> + Send + 'static,
) -> Outcome<T> {
    let storage = Arc::clone(&door.storage);
    let done = tokio::task::spawn_blocking(move || work(&storage)).await;
    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

/// The pairs of a query, decoded.
pub(super) fn query(text: &str) -> Vec<(String, String)> {
    let decoded = |text: &str| {
        let text = text.replace('+', " ");
        percent_encoding::percent_decode_str(&text).decode_utf8_lossy().into_owned()
    };
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(key, value)| (decoded(key), decoded(value)))
        .collect()
}

/// More than any client opens; each costs a descriptor or two.
const CONNECTIONS_MAX: usize = 4096;
/// What requests under way may still take at the end.
const FAREWELL: Duration = Duration::from_secs(10);
const HANDSHAKE: Duration = Duration::from_secs(10);
/// What Go's server waits as well.
const LINGER: Duration = Duration::from_millis(500);
/// A client that sends or takes nothing for so long is gone.
pub(super) const STALL: Duration = Duration::from_secs(60);
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
