//! Processes in running containers.

use api::exec::{Create, Created, Start};
use bytes::{BufMut, Bytes, BytesMut};
use engine::exec;
use fault::{Error, Kind, Result};
use hyper::StatusCode;

use super::answer::{self, Answer};
use super::containers::media;
use super::hijack::Takeover;
use super::request::Request;

pub(crate) async fn create(mut request: Request) -> Result<Answer> {
    let wanted: Create = request.json().await?;
    if wanted.cmd.is_empty() {
        return Err(Error::invalid("No exec command specified"));
    }
    let id = exec::create(&request.door.engine, &request.name, wanted).await?;
    Ok(request.answer(StatusCode::CREATED, &Created { id }))
}

pub(crate) async fn start(mut request: Request) -> Result<Answer> {
    let mut wanted: Start = request.json().await?;
    if !wanted.tty {
        wanted.console_size = None;
    }
    let (detach, tty) = (wanted.detach, wanted.tty);
    match exec::start(&request.door.engine, &request.name, wanted).await {
        Ok(None) => Ok(answer::empty(StatusCode::OK).into()),
        Ok(Some(attached)) => {
            let tty = attached.tty;
            Ok(takeover(&request, tty, Bytes::new(), Some(attached.io)))
        }
        Err(error) if detach || told_by_status(&error) => Err(error),
        Err(error) => Ok(takeover(&request, tty, complaint(&error, tty), None)),
    }
}

/// What is wrong with the request gets a status; what went wrong with the process is its output, as in Docker.
fn told_by_status(error: &Error) -> bool {
    matches!(error.kind(), Kind::NotFound | Kind::Conflict | Kind::Denied | Kind::Unsupported)
}

fn complaint(error: &Error, tty: bool) -> Bytes {
    let text = format!("{error}\r\n");
    let mut bytes = BytesMut::new();
    if !tty {
        let length = u32::try_from(text.len()).expect("a message is shorter than 4 GiB");
        bytes.put_slice(&api::stdcopy::header(api::stdcopy::Stream::Stdout, length));
    }
    bytes.put_slice(text.as_bytes());
    bytes.freeze()
}

fn takeover(request: &Request, tty: bool, preface: Bytes, process: Option<tokio::net::UnixStream>) -> Answer {
    Answer::Takeover(Takeover {
        upgrade: request.upgrade(),
        media: media(tty, request.version),
        preface,
        process,
    })
}

pub(crate) async fn resize(request: Request) -> Result<Answer> {
    let (height, width) = (request.query.size("h", "height")?, request.query.size("w", "width")?);
    exec::resize(&request.door.engine, &request.name, height, width).await?;
    Ok(answer::empty(StatusCode::OK).into())
}

pub(crate) async fn inspect(request: Request) -> Result<Answer> {
    request.ok(&exec::inspect(&request.door.engine, &request.name).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_start_is_the_processes_output() {
        let error = Error::internal("no such program");
        assert_eq!(&complaint(&error, true)[..], b"no such program\r\n");
        assert_eq!(&complaint(&error, false)[..], b"\x01\0\0\0\0\0\0\x11no such program\r\n");
    }
}
