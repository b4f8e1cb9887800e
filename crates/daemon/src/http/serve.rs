//! One connection, from its first byte to its last.

use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use fault::{Error, Kind, Result};
use hyper::body::Incoming;
use hyper::header::{HeaderName, HeaderValue, SERVER};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;
use tracing::{Instrument, debug, debug_span, error};

use super::answer::{self, Answer, Body};
use super::hijack::Takeover;
use super::query::Query;
use super::request::Request;
use super::router::Match;
use super::routes::ROUTES;
use super::socket::{Hold, Socket, Tap};
use super::version::Version;
use super::{Door, router, versions};
use crate::ending::Ending;

/// Answers the requests of one client until it leaves, a handler takes the connection over, or the daemon ends.
pub(crate) async fn serve(socket: Socket, door: Arc<Door>, mut ending: Ending) {
    let hold = Hold::default();
    let (hand_over, mut taken) = mpsc::channel(1);
    let tap = TokioIo::new(Tap::new(socket, hold.clone()));
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let found = router::find(ROUTES, request.method(), request.uri().path());
        // Before the future is first polled: hyper looks for the end of input in between.
        hold.set(found.as_ref().is_some_and(|found| found.route.hijacks));
        Box::pin(respond(Arc::clone(&door), found, request, hold.clone(), hand_over.clone()))
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .serve_connection(tap, service);
    let takeover: Takeover = tokio::select! {
        biased;
        Some(takeover) = taken.recv() => takeover,
        served = poll_fn(|cx| connection.poll_without_shutdown(cx)) => {
            left(served);
            return linger(connection.into_parts().io.into_inner().into_socket()).await;
        }
        () = ending.wait() => {
            std::pin::Pin::new(&mut connection).graceful_shutdown();
            return left(connection.await);
        }
    };
    // Nothing was answered to this request yet, and hyper flushes each answer before it reads the next request: the
    // connection is quiet, and what hyper read too much is in `read_buf`.
    let parts = connection.into_parts();
    let socket = parts.io.into_inner().into_socket();
    tokio::select! {
        carried = takeover.run(socket, parts.read_buf) => if let Err(error) = carried {
            debug!(%error, "a hijacked connection ended early");
        },
        () = ending.wait() => {}
    }
}

/// How long a connection may be open without a whole head of a request, as in Docker.
const HEAD_PATIENCE: Duration = Duration::from_secs(5 * 60);

/// A socket that is closed over unread bytes breaks the pipe of a client that still sends a body, who then never reads
/// why it was refused.
async fn linger(mut socket: Socket) {
    let drained = async {
        socket.shutdown().await?;
        tokio::io::copy(&mut socket, &mut tokio::io::sink()).await
    };
    if let Ok(Err(error)) = tokio::time::timeout(LINGER, drained).await {
        debug!(%error, "a client left early");
    }
}

/// What Go's server waits as well.
const LINGER: Duration = Duration::from_millis(500);

fn left(served: hyper::Result<()>) {
    if let Err(error) = served {
        debug!(%error, "a client left early");
    }
}

/// hyper's view of a request: a response, or silence while the connection is handed over.
async fn respond(
    door: Arc<Door>,
    found: Option<Match>,
    request: hyper::Request<Incoming>,
    hold: Hold,
    hand_over: mpsc::Sender<Takeover>,
) -> Result<Response<Body>, Infallible> {
    let answer = match found {
        Some(found) => dispatch(door, found, request).await,
        None => not_found().into(),
    };
    let response = match answer {
        Answer::Response(response) => response,
        Answer::Takeover(takeover) => {
            // The receiver lives as long as this future, so the takeover arrives and drops us.
            drop(hand_over.send(takeover).await);
            std::future::pending().await
        }
    };
    hold.set(false);
    Ok(with_headers(response))
}

async fn dispatch(door: Arc<Door>, found: Match, request: hyper::Request<Incoming>) -> Answer {
    let (head, body) = request.into_parts();
    let version = found.version;
    let checked = match version.unwrap_or(Version::NEWEST).check() {
        Ok(checked) => checked,
        Err(error) => return answer::error(&error, version).into(),
    };
    let mut query = Query::parse(head.uri.query().unwrap_or_default());
    versions::bend_query(found.route, checked, &mut query);
    let span = debug_span!("request", method = %head.method, path = head.uri.path());
    let request = Request {
        door,
        route: found.route,
        version: checked,
        name: found.name,
        query,
        headers: head.headers,
        body,
    };
    match (found.route.handler)(request).instrument(span).await {
        Ok(answer) => answer,
        Err(error) => failed(&error, head.method.as_str(), head.uri.path()).into(),
    }
}

/// Here an error's story ends: ours go to the log, the client's only to the client.
fn failed(error: &Error, method: &str, path: &str) -> Response<Body> {
    match error.kind() {
        Kind::Internal => error!(%error, "handler for {method} {path} returned an error"),
        _ => debug!(%error, "handler for {method} {path} returned an error"),
    }
    answer::error(error, None)
}

fn not_found() -> Response<Body> {
    let message = "page not found".to_owned();
    answer::json(StatusCode::NOT_FOUND, &api::system::ErrorAnswer { message })
}

/// What every answer says of the server.
fn with_headers(mut response: Response<Body>) -> Response<Body> {
    let headers: &mut HeaderMap = response.headers_mut();
    headers.insert(HeaderName::from_static("api-version"), HeaderValue::from_static(api::VERSION));
    headers.insert(HeaderName::from_static("docker-experimental"), HeaderValue::from_static("false"));
    headers.insert(HeaderName::from_static("ostype"), HeaderValue::from_static("linux"));
    headers.insert(SERVER, HeaderValue::from_static(SERVER_NAME));
    response
}

const SERVER_NAME: &str = concat!("Kogge/", env!("CARGO_PKG_VERSION"), " (linux)");
