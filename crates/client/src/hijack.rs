//! A connection that left HTTP behind: raw bytes both ways, for attach and exec.

use std::fmt;

use fault::{Error, Result};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{ReadHalf, WriteHalf};
use tokio::task::JoinSet;

use crate::Answer;

/// Dropping it ends the connection. Shutting the writer tells the other side that input is over.
pub struct Hijacked {
    pub reader: ReadHalf<TokioIo<Upgraded>>,
    pub writer: WriteHalf<TokioIo<Upgraded>>,
    /// Held for its connection.
    _tasks: JoinSet<()>,
}

impl Hijacked {
    pub(crate) async fn from_answer(answer: Answer) -> Result<Self> {
        let status = answer.status();
        if status != 101 {
            return Err(Error::internal(format!("unable to upgrade to tcp, received {status}")));
        }
        let (response, tasks) = answer.into_parts();
        let upgraded = hyper::upgrade::on(response)
            .await
            .map_err(|error| Error::unavailable("taking the connection over").with_source(error))?;
        let (reader, writer) = tokio::io::split(TokioIo::new(upgraded));
        Ok(Self { reader, writer, _tasks: tasks })
    }
}

impl fmt::Debug for Hijacked {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Hijacked")
    }
}
