//! An engine behind a socket, and what is done with it.

use std::fs::File;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fault::{Call, Error, Result};
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

    pub(crate) fn load(&mut self, archive: &Path) -> Result<()> {
        let what = || format!("read {}", archive.display());
        let file = File::open(archive).call(what)?;
        let length = file.metadata().call(what)?.len();
        self.connection.upload("POST", "/images/load?quiet=1", "application/x-tar", length, file).map(drop)
    }

    /// All failures come in the stream.
    pub(crate) fn pull(&mut self, name: &str) -> Result<()> {
        let (repository, tag) = name.rsplit_once(':').unwrap_or((name, "latest"));
        let path = format!("/images/create?fromImage={repository}&tag={tag}");
        self.connection.call("POST", &path, None)?;
        self.has(name)
    }

    /// Whether it arrived is the registry's to say.
    pub(crate) fn push(&mut self, repository: &str, tag: &str) -> Result<()> {
        let path = format!("/images/{repository}/push?tag={tag}");
        let anonymous = "X-Registry-Auth: e30=\r\n";
        self.connection.call_with("POST", &path, anonymous).map(drop)
    }

    pub(crate) fn tag(&mut self, name: &str, repository: &str, tag: &str) -> Result<()> {
        let path = format!("/images/{name}/tag?repo={repository}&tag={tag}");
        self.connection.call("POST", &path, None).map(drop)
    }

    pub(crate) fn has(&mut self, name: &str) -> Result<()> {
        self.connection.call("GET", &format!("/images/{name}/json"), None).map(drop)
    }

    /// Those that are not there are as good as forgotten.
    pub(crate) fn forget(&mut self, names: &[&str]) -> Result<()> {
        for name in names {
            if self.has(name).is_ok() {
                self.connection.call("DELETE", &format!("/images/{name}?force=1"), None)?;
            }
        }
        Ok(())
    }

    /// Of the process behind the socket, and of its children that have ended.
    pub(crate) fn processor_time(&self) -> Result<Duration> {
        let stream =
            UnixStream::connect(&self.socket).call(|| format!("connect {}", self.socket.display()))?;
        let pid = sys::socket::peer(&stream)?.pid;
        let stat = sys::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // proc_pid_stat(5): utime, stime, cutime and cstime are fields 14 to 17; a name may hold blanks.
        let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().skip(11).take(4);
        let ticks: u64 = fields.filter_map(|field| field.parse::<u64>().ok()).sum();
        Ok(Duration::from_millis(ticks * MILLISECONDS_PER_TICK))
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

/// USER_HZ is 100 on all of Linux.
const MILLISECONDS_PER_TICK: u64 = 10;

fn text(value: &Value, key: &str) -> Result<String> {
    let found = value[key].as_str().map(str::to_owned);
    found.ok_or_else(|| Error::internal(format!("the answer has no {key}: {value}")))
}
