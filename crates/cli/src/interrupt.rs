//! SIGINT and SIGTERM, where dying of them would leave something behind, or is not to happen at once.

use std::future::Future;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::{Exit, Outcome};

/// Work that has something to put back: the first signal drops it, and the command ends with the code that a shell shows
/// for a process that died of the signal.
pub(crate) async fn ending<T>(work: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    let mut signals = Signals::caught();
    tokio::select! {
        done = work => done,
        code = signals.next() => Err(Exit::new(code, "")),
    }
}

/// Work for whose process the signals are: only the third ends the command, for a user who is tired of waiting.
pub(crate) async fn ending_third<T>(work: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    let mut signals = Signals::caught();
    let third = async {
        for _ in 0..SIGNALS_MAX {
            signals.next().await;
        }
    };
    tokio::select! {
        done = work => done,
        () = third => Err(Exit::failure(format!("\ngot {SIGNALS_MAX} SIGTERM/SIGINTs, forcefully exiting"))),
    }
}

/// As Docker's client counts.
const SIGNALS_MAX: usize = 3;

/// `None` if the runtime cannot catch one: then it ends the process as ever.
struct Signals {
    interrupt: Option<Signal>,
    terminate: Option<Signal>,
}

impl Signals {
    fn caught() -> Self {
        Self {
            interrupt: signal(SignalKind::interrupt()).ok(),
            terminate: signal(SignalKind::terminate()).ok(),
        }
    }

    /// The code for the next signal.
    async fn next(&mut self) -> u8 {
        tokio::select! {
            () = received(&mut self.interrupt) => INTERRUPTED,
            () = received(&mut self.terminate) => TERMINATED,
        }
    }
}

async fn received(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// What a shell shows for a process that died of SIGINT.
pub(crate) const INTERRUPTED: u8 = 130;
const TERMINATED: u8 = 143;
