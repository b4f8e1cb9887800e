//! Async work that tells one client how far it is, for as long as that client listens.
//!
//! ```text
//! work --tell--> board --take--> the client's stream, which also drives the work
//! ```
//! A client that goes away drops the stream, and the work with it. A slow one holds the work back; what its threads tell
//! meanwhile waits on the board, where a line that comes again takes the place of the one before.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use api::progress::Message;
use fault::{Error, Result};
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt};
use tokio::sync::{Notify, watch};

use crate::Engine;
use crate::transport::Lines;

/// Runs work until its first line. An error before that is an error, a later one is the last line.
pub(crate) async fn told<W>(engine: &Engine, work: impl FnOnce(Arc<Board>) -> W) -> Result<Lines>
where
    W: Future<Output = Result<()>> + Send + 'static,
{
    let board = Arc::new(Board::default());
    let work = Box::pin(work(Arc::clone(&board)));
    let mut telling = Telling { work, board, ending: engine.tasks().ending(), is_over: false, failure: None };
    let first = telling.next().await.transpose()?;
    let rest = stream::unfold(telling, |mut telling| async move {
        let line = telling.next().await?;
        Some((line.unwrap_or_else(|error| Message::error(error.to_string())), telling))
    });
    Ok(stream::iter(first).chain(rest).boxed())
}

/// What was told and not yet taken.
#[derive(Debug, Default)]
pub(crate) struct Board {
    lines: Mutex<VecDeque<Line>>,
    news: Notify,
}

#[derive(Debug)]
struct Line {
    message: Message,
    comes_again: bool,
}

impl Board {
    /// Never blocks.
    pub(crate) fn tell(&self, message: Message) {
        self.put(Line { message, comes_again: false });
    }

    /// Of something that moves: only the newest of such lines in a row is of interest.
    pub(crate) fn tell_again(&self, message: Message) {
        self.put(Line { message, comes_again: true });
    }

    fn put(&self, line: Line) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let before = lines.iter_mut().rev().find(|before| before.message.id == line.message.id);
        match before {
            Some(before) if before.comes_again && line.comes_again => *before = line,
            _ => lines.push_back(line),
        }
        drop(lines);
        self.news.notify_one();
    }

    fn take(&self) -> Option<Message> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.pop_front().map(|line| line.message)
    }
}

struct Telling {
    work: BoxFuture<'static, Result<()>>,
    board: Arc<Board>,
    ending: watch::Receiver<bool>,
    is_over: bool,
    failure: Option<Error>,
}

impl Telling {
    /// Everything that was told comes before the failure.
    async fn next(&mut self) -> Option<Result<Message>> {
        loop {
            if let Some(message) = self.board.take() {
                return Some(Ok(message));
            }
            if self.is_over {
                return self.failure.take().map(Err);
            }
            tokio::select! {
                biased;
                () = self.board.news.notified() => {}
                result = &mut self.work => {
                    self.is_over = true;
                    self.failure = result.err();
                }
                _ = self.ending.wait_for(|ending| *ending) => {
                    self.is_over = true;
                    self.failure = Some(Error::unavailable("the daemon ends"));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: &str, status: &str) -> Message {
        Message { id: id.into(), ..Message::status(status) }
    }

    fn telling(board: &Arc<Board>, work: impl Future<Output = Result<()>> + Send + 'static) -> Telling {
        let (_, ending) = watch::channel(false);
        Telling { work: Box::pin(work), board: Arc::clone(board), ending, is_over: false, failure: None }
    }

    #[test]
    fn a_line_that_comes_again_replaces_its_own_kind_only() {
        let board = Board::default();
        board.tell(message("a", "begins"));
        board.tell_again(message("a", "1"));
        board.tell_again(message("b", "1"));
        board.tell_again(message("a", "2"));
        board.tell(message("a", "ends"));
        board.tell_again(message("a", "3"));
        let told: Vec<String> =
            std::iter::from_fn(|| board.take()).map(|message| message.id + " " + &message.status).collect();
        assert_eq!(told, ["a begins", "a 2", "b 1", "a ends", "a 3"]);
    }

    #[tokio::test]
    async fn a_failure_comes_after_what_was_told() {
        let board = Arc::new(Board::default());
        let told = Arc::clone(&board);
        let mut telling = telling(&board, async move {
            told.tell(message("", "one"));
            told.tell(message("", "two"));
            Err(Error::invalid("three"))
        });
        let mut said = Vec::new();
        while let Some(line) = telling.next().await {
            said.push(line.map_or_else(|error| error.to_string(), |message| message.status));
        }
        assert_eq!(said, ["one", "two", "three"]);
    }

    #[tokio::test]
    async fn the_engines_end_ends_the_work() {
        let board = Arc::new(Board::default());
        let (end, ending) = watch::channel(false);
        let mut telling = Telling { ending, ..telling(&board, std::future::pending()) };
        end.send_replace(true);
        assert_eq!(telling.next().await.unwrap().unwrap_err().to_string(), "the daemon ends");
        assert!(telling.next().await.is_none());
    }
}
