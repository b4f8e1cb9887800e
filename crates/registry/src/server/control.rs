//! The operator's way into a registry that is being served: `<root>/control.sock`, for who may open it.
//!
//! ```text
//! client: collect <grace in seconds>\n
//! server: {"blobs": …, "bytes": …, "uploads": …}\n or {"error": "…"}\n, then the end
//! ```

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fault::{Call, Doing, Error, Result};
use serde_json::{Value, json};
use sys::fs;
use sys::socket::{self, Kind};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixListener;

use crate::server::collect::Collected;
use crate::server::storage::Storage;

/// Opens the socket; only who holds the folder's lock may.
pub(crate) fn listen(storage: &Storage) -> Result<UnixListener> {
    let path = storage.path(SOCKET);
    fs::remove_file_if_exists(&path)?;
    let listener = std::os::unix::net::UnixListener::from(socket::listen(Kind::Stream, &path)?);
    listener.set_nonblocking(true).call(|| "fcntl O_NONBLOCK")?;
    UnixListener::from_std(listener).call(|| "epoll_ctl")
}

/// Takes the socket away, when nobody serves any more.
pub(crate) fn close(storage: &Storage) {
    if let Err(error) = fs::remove_file_if_exists(storage.path(SOCKET)) {
        tracing::debug!(%error, "the control socket stays behind");
    }
}

/// Answers one after the other: there is one thing to ask for, and it can run once at a time.
pub(crate) async fn serve(listener: UnixListener, storage: Arc<Storage>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        if let Err(error) = answer(stream, &storage).await {
            tracing::debug!(%error, "an operator left early");
        }
    }
}

async fn answer(mut stream: tokio::net::UnixStream, storage: &Arc<Storage>) -> std::io::Result<()> {
    let mut line = String::new();
    let asking = BufReader::new((&mut stream).take(LINE_BYTES_MAX)).read_line(&mut line).await;
    asking?;
    let said = match line.trim_end().strip_prefix("collect ").and_then(|grace| grace.parse().ok()) {
        Some(grace) => collect(Arc::clone(storage), grace).await,
        None => json!({"error": "not understood"}),
    };
    stream.write_all(format!("{said}\n").as_bytes()).await?;
    stream.shutdown().await
}

async fn collect(storage: Arc<Storage>, grace: u64) -> Value {
    let done = tokio::task::spawn_blocking(move || storage.collect(grace)).await;
    match done.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic())) {
        Ok(Collected { bytes, blobs, uploads }) => {
            json!({"bytes": bytes, "blobs": blobs, "uploads": uploads})
        }
        Err(failure) => json!({"error": failure.into_error().to_string()}),
    }
}

/// Asks the process that serves a folder to collect now. Blocks until it has.
pub fn ask_to_collect(root: &Path, grace: Duration) -> Result<Collected> {
    asked(&root.join(SOCKET), grace).doing(|| format!("asking the registry that serves {}", root.display()))
}

fn asked(path: &Path, grace: Duration) -> Result<Collected> {
    use std::io::{Read, Write};
    let stream = UnixStream::from(socket::connect(Kind::Stream, path)?);
    let mut said = String::new();
    (&stream)
        .write_all(format!("collect {}\n", grace.as_secs()).as_bytes())
        .and_then(|()| (&stream).take(LINE_BYTES_MAX).read_to_string(&mut said))
        .call(|| "speak over the control socket")?;
    let said: Value = serde_json::from_str(&said)
        .map_err(|error| Error::internal("the answer is not understood").with_source(error))?;
    if let Some(error) = said["error"].as_str() {
        return Err(Error::internal(error.to_owned()));
    }
    let count = |key: &str| said[key].as_u64().unwrap_or_default();
    Ok(Collected {
        bytes: count("bytes"),
        blobs: count("blobs") as usize,
        uploads: count("uploads") as usize,
    })
}

const SOCKET: &str = "control.sock";
const LINE_BYTES_MAX: u64 = 4096;
const PAUSE: Duration = Duration::from_millis(50);
