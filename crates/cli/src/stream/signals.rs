//! Passes the signals that we get on to the container's process.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::Poll;

use client::Client;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Takes over every signal that can be passed on. From now on they do not end us.
pub(crate) fn forward<'a>(client: &'a Client, id: &'a str) -> impl Future<Output = Infallible> + 'a {
    let mut caught: Vec<(&'static str, Signal)> = SIGNALS
        .iter()
        .filter_map(|(name, number)| Some((*name, signal(SignalKind::from_raw(*number)).ok()?)))
        .collect();
    async move {
        loop {
            let name = next(&mut caught).await;
            // A process that just ended needs no signal.
            client::container::kill(client, id, name).await.ok();
        }
    }
}

async fn next(caught: &mut [(&'static str, Signal)]) -> &'static str {
    std::future::poll_fn(|context| {
        for (name, signal) in caught.iter_mut() {
            if Pin::new(signal).poll_recv(context).is_ready() {
                return Poll::Ready(*name);
            }
        }
        Poll::Pending
    })
    .await
}

/// Names and numbers on Linux (signal(7)). Left out: what cannot be caught, what tells of our own children, pipes and
/// window, and what the runtime refuses to catch.
const SIGNALS: &[(&str, i32)] = &[
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("TRAP", 5),
    ("ABRT", 6),
    ("BUS", 7),
    ("USR1", 10),
    ("USR2", 12),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CONT", 18),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
];
