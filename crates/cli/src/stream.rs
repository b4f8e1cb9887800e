//! The user's side of an attached process: keys and pipes in, output out, signals and window sizes passed on.
//!
//! Guarantees: a terminal in raw mode is restored on every way out; the end of input is told to the process; output is
//! whole before the command ends.

mod detach;
mod signals;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::time::Duration;

use api::container::Attach;
use api::stdcopy::Stream;
use bytes::Bytes;
use client::{Client, Demux, Hijacked};
use fault::{Error, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::signal::unix::SignalKind;
use tokio::sync::mpsc::Receiver;

use crate::exit::{Exit, Outcome};
use crate::terminal;

pub(crate) use signals::forward as forward_signals;

use detach::{Filter, keys};

/// Which streams are held, and how.
#[derive(Clone, Debug, Default)]
pub(crate) struct Streams {
    pub(crate) stdin: bool,
    /// Output is shown; else it is only waited for.
    pub(crate) output: bool,
    pub(crate) tty: bool,
    /// Docker's notation; empty means `ctrl-p,ctrl-q`.
    pub(crate) detach_keys: String,
}

impl Streams {
    /// The request that joins a container to them.
    pub(crate) fn request(&self) -> Attach {
        Attach {
            stdin: self.stdin,
            stdout: true,
            stderr: true,
            stream: true,
            detach_keys: self.detach_keys.clone(),
            ..Attach::default()
        }
    }
}

/// Why the streams ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The process closed its output.
    Closed,
    /// The user typed the keys to leave.
    Detached,
}

/// What `docker` says when the user left by the keys.
pub(crate) const ESCAPED: &str = "read escape sequence";

/// Refuses a terminal for the process where ours is none, before anything is started.
pub(crate) fn check_input(attach_stdin: bool, tty: bool) -> Outcome {
    if attach_stdin && tty && !terminal::input_is_terminal() {
        return Err(Exit::failure("the input device is not a TTY"));
    }
    Ok(())
}

/// Joins the user's streams with the process's until one side ends; meanwhile a process that is named with its daemon
/// has the size of our terminal.
pub(crate) async fn join(
    connection: Hijacked,
    streams: Streams,
    sized: Option<(&Client, Resized<'_>)>,
) -> Outcome<Ending> {
    let joined = carry(connection, streams);
    match sized {
        Some((client, target)) => beside(joined, follow_size(client, target)).await,
        None => joined.await,
    }
}

async fn carry(connection: Hijacked, streams: Streams) -> Outcome<Ending> {
    let raw = match streams.stdin && streams.tty && terminal::input_is_terminal() {
        true => Some(sys::tty::Raw::enter(io::stdin())?),
        false => None,
    };
    let ending = run(connection, &streams).await;
    drop(raw);
    ending
}

async fn run(mut connection: Hijacked, streams: &Streams) -> Outcome<Ending> {
    let output = show(&mut connection.reader, streams.tty);
    let input = send(&mut connection.writer, streams);
    tokio::pin!(output, input);
    let mut has_input = true;
    loop {
        tokio::select! {
            shown = &mut output, if streams.output => return shown.map(|()| Ending::Closed),
            ending = &mut input, if has_input => match ending? {
                Ending::Detached => return Ok(Ending::Detached),
                Ending::Closed if streams.output => has_input = false,
                Ending::Closed => return Ok(Ending::Closed),
            },
        }
    }
}

/// Shows output until its end: as it is from a terminal, taken apart else.
async fn show(reader: &mut (impl AsyncReadExt + Unpin), tty: bool) -> Outcome {
    let mut buffer = vec![0; BUFFER_SIZE];
    let mut demux = Demux::default();
    loop {
        let count = match reader.read(&mut buffer).await {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            // A daemon that dies resets the connection; what came before it has been shown.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
            Err(error) => return Err(Error::io("reading output", error).into()),
        };
        show_piece(&buffer[..count], tty, &mut demux)?;
    }
}

/// Writes one piece of output to where it belongs.
pub(crate) fn show_piece(bytes: &[u8], tty: bool, demux: &mut Demux) -> Outcome {
    if tty {
        return terminal::write(bytes);
    }
    let mut outcome = Ok(());
    demux
        .feed(bytes, |stream, payload| {
            let written = match stream {
                Stream::Stderr => terminal::write_error(payload),
                _ => terminal::write(payload),
            };
            written.map_err(|exit| {
                outcome = Err(exit);
                Error::unavailable("output is gone")
            })
        })
        .map_err(Exit::from)
        .or_else(|error| outcome.and(Err(error)))
}

/// Sends input until its end, then says so.
async fn send(writer: &mut (impl AsyncWriteExt + Unpin), streams: &Streams) -> Outcome<Ending> {
    if streams.stdin {
        let keys = keys(&streams.detach_keys);
        let filter = if streams.tty { Some(Filter::new(keys)) } else { None };
        if copy(client::chunks(io::stdin()), writer, filter).await? == Ending::Detached {
            return Ok(Ending::Detached);
        }
    }
    // The process may be gone already, and with it whoever would listen.
    writer.shutdown().await.ok();
    Ok(Ending::Closed)
}

async fn copy(
    mut input: Receiver<io::Result<Bytes>>,
    writer: &mut (impl AsyncWriteExt + Unpin),
    mut filter: Option<Filter>,
) -> Outcome<Ending> {
    while let Some(chunk) = input.recv().await {
        let Ok(chunk) = chunk else { break };
        let (bytes, detached) = match &mut filter {
            Some(filter) => filter.pass(&chunk),
            None => (chunk.to_vec(), false),
        };
        // Writing fails when the process ends first; its output tells the rest.
        if writer.write_all(&bytes).await.is_err() {
            break;
        }
        if detached {
            return Ok(Ending::Detached);
        }
    }
    Ok(Ending::Closed)
}

/// Runs what never ends of itself beside what does.
pub(crate) async fn beside<T>(
    main: impl Future<Output = T>,
    background: impl Future<Output = Infallible>,
) -> T {
    tokio::select! {
        done = main => done,
        never = background => match never {},
    }
}

/// Whose terminal is resized.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Resized<'i> {
    Container(&'i str),
    Exec(&'i str),
}

/// Gives the process our terminal's size, now and whenever it changes.
async fn follow_size(client: &Client, target: Resized<'_>) -> Infallible {
    let Ok(mut changes) = tokio::signal::unix::signal(SignalKind::window_change()) else {
        return std::future::pending().await;
    };
    first_size(client, target).await;
    loop {
        changes.recv().await;
        // A process that just ended needs no size.
        resize(client, target).await.ok();
    }
}

/// Right after a start the terminal may not be there yet, so the first size is tried again a few times.
async fn first_size(client: &Client, target: Resized<'_>) {
    for attempt in 0..RESIZE_TRIES {
        if resize(client, target).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10) * (attempt + 1)).await;
    }
    terminal::warn(format_args!("failed to resize tty, using default size"));
}

async fn resize(client: &Client, target: Resized<'_>) -> Result<()> {
    let (height, width) = terminal::size();
    if (height, width) == (0, 0) {
        return Ok(());
    }
    match target {
        Resized::Container(id) => client::container::resize(client, id, height, width).await,
        Resized::Exec(id) => client::exec::resize(client, id, height, width).await,
    }
}

/// Output is often small and often large; one pipe's worth serves both.
const BUFFER_SIZE: usize = 64 << 10;
const RESIZE_TRIES: u32 = 10;
