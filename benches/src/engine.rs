//! An engine behind a socket, and what is done with it.

use std::io::Read;
use std::path::{Path, PathBuf};

use fault::{Error, Result};
use serde_json::{Value, json};

use crate::http::Connection;

/// Ours or another, no difference.
#[derive(Debug)]
pub(crate) struct Engine {
    socket: PathBuf,
    connection: Connection,
}

/// The image that is run. Its name tells whose it is, because the other engine's store is not ours.
pub(crate) const IMAGE: &str = "kogge-bench:busybox";
/// The image whose making is measured.
const IMPORTED: &str = "kogge-bench:import";

impl Engine {
    pub(crate) fn connect(socket: &Path) -> Result<Self> {
        let mut connection = Connection::open(socket)?;
        connection.call("GET", "/_ping", None)?;
        Ok(Self { socket: socket.to_owned(), connection })
    }

    /// From nothing to nothing: the container's whole life.
    pub(crate) fn cycle(&mut self, network: &str) -> Result<()> {
        let id = self.create(network, &["true"])?;
        self.start(&id)?;
        let ended = self.connection.call("POST", &format!("/containers/{id}/wait"), None)?;
        self.connection.call("DELETE", &format!("/containers/{id}"), None)?;
        match ended["StatusCode"].as_i64() {
            Some(0) => Ok(()),
            _ => Err(Error::internal(format!("the container ended with {ended}"))),
        }
    }

    /// A container that stays.
    pub(crate) fn sleeper(&mut self, network: &str) -> Result<String> {
        let id = self.create(network, &["sleep", "100000"])?;
        self.start(&id)?;
        Ok(id)
    }

    pub(crate) fn remove(&mut self, id: &str) -> Result<()> {
        self.connection.call("DELETE", &format!("/containers/{id}?force=1"), None).map(drop)
    }

    /// In a running container, output attached as a client has it; the exit code is asked for at the end.
    pub(crate) fn exec(&mut self, id: &str) -> Result<()> {
        let wish = json!({"Cmd": ["true"], "AttachStdout": true, "AttachStderr": true});
        let made = self.connection.call("POST", &format!("/containers/{id}/exec"), Some(&wish))?;
        let exec = text(&made, "Id")?;
        let stream = Connection::open(&self.socket)?;
        stream.upgrade(&format!("/exec/{exec}/start"), &json!({"Detach": false, "Tty": false}))?;
        let ended = self.connection.call("GET", &format!("/exec/{exec}/json"), None)?;
        match ended["ExitCode"].as_i64() {
            Some(0) => Ok(()),
            _ => Err(Error::internal(format!("the exec ended with {}", ended["ExitCode"]))),
        }
    }

    pub(crate) fn make_image(&mut self, tar: &[u8]) -> Result<()> {
        self.import_as(IMAGE, tar.len() as u64, tar)
    }

    pub(crate) fn import(&mut self, length: u64, tar: impl Read) -> Result<()> {
        self.import_as(IMPORTED, length, tar)
    }

    pub(crate) fn forget_import(&mut self) -> Result<()> {
        self.connection.call("DELETE", &format!("/images/{IMPORTED}?force=1"), None).map(drop)
    }

    /// Also what an interrupted run has left of it.
    pub(crate) fn forget_image(&mut self) -> Result<()> {
        let filters = format!("%7B%22ancestor%22:%5B%22{IMAGE}%22%5D%7D");
        let left = self.connection.call("GET", &format!("/containers/json?all=1&filters={filters}"), None)?;
        for container in left.as_array().into_iter().flatten() {
            self.remove(&text(container, "Id")?)?;
        }
        self.connection.call("DELETE", &format!("/images/{IMAGE}?force=1"), None).map(drop)
    }

    /// Failures come in the stream, after the 200.
    fn import_as(&mut self, name: &str, length: u64, tar: impl Read) -> Result<()> {
        let (repository, tag) = name.split_once(':').unwrap_or((name, "latest"));
        let path = format!("/images/create?fromSrc=-&repo={repository}&tag={tag}");
        self.connection.upload("POST", &path, "application/x-tar", length, tar)?;
        self.connection.call("GET", &format!("/images/{name}/json"), None).map(drop)
    }

    fn create(&mut self, network: &str, command: &[&str]) -> Result<String> {
        let wish = json!({"Image": IMAGE, "Cmd": command, "HostConfig": {"NetworkMode": network}});
        let made = self.connection.call("POST", "/containers/create", Some(&wish))?;
        text(&made, "Id")
    }

    fn start(&mut self, id: &str) -> Result<()> {
        self.connection.call("POST", &format!("/containers/{id}/start"), None).map(drop)
    }
}

fn text(value: &Value, key: &str) -> Result<String> {
    let found = value[key].as_str().map(str::to_owned);
    found.ok_or_else(|| Error::internal(format!("the answer has no {key}: {value}")))
}
