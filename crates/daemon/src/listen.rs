//! Listening sockets: opened early, so that clients queue while the engine opens; answered once it is open.

use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fault::{Call, Error, Result};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

use crate::ending::Ending;
use crate::host::Host;
use crate::http::{self, Door, Socket};
use crate::settings::DEFAULT_GROUP;

/// An open socket, and the path that goes with it.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: Kind,
    /// As the log shows it.
    address: String,
    /// Removed at the end.
    path: Option<PathBuf>,
}

#[derive(Debug)]
enum Kind {
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(path) = &self.path
            && let Err(error) = sys::fs::remove_file_if_exists(path)
        {
            warn!(%error, "the socket stays behind");
        }
    }
}

/// Opens what a host names; `inherited` are the supervisor's sockets.
pub(crate) async fn open(host: &Host, group: &str, inherited: &mut Vec<OwnedFd>) -> Result<Vec<Listener>> {
    match host {
        Host::Unix(path) => Ok(vec![unix(path, group_id(group)?)?]),
        Host::Tcp(address) => Ok(vec![tcp(address).await?]),
        Host::Inherited if inherited.is_empty() => Err(Error::invalid(
            "no sockets found via socket activation: make sure the service was started by systemd",
        )),
        Host::Inherited => inherited.drain(..).map(adopt).collect(),
    }
}

fn unix(path: &Path, group: u32) -> Result<Listener> {
    if let Some(folder) = path.parent() {
        sys::fs::create_dir_all(folder, 0o755)?;
    }
    let called = |call: &str| format!("{call} {}", path.display());
    // A socket that is left over from a daemon that is gone: we hold its lock and its pid file.
    if std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        sys::fs::remove_file(path)?;
    }
    let socket = UnixListener::bind(path).call(|| called("bind"))?;
    std::os::unix::fs::chown(path, None, Some(group)).call(|| called("chown"))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)).call(|| called("chmod"))?;
    Ok(Listener {
        socket: Kind::Unix(socket),
        address: path.display().to_string(),
        path: Some(path.to_owned()),
    })
}

async fn tcp(address: &str) -> Result<Listener> {
    let socket = TcpListener::bind(address).await.call(|| format!("listen tcp {address}"))?;
    let address = socket.local_addr().call(|| "getsockname")?.to_string();
    warn!(
        address,
        "binding to an IP address without TLS gives root access on this machine to everyone who can reach it"
    );
    Ok(Listener { socket: Kind::Tcp(socket), address, path: None })
}

fn adopt(fd: OwnedFd) -> Result<Listener> {
    let socket = std::os::unix::net::UnixListener::from(fd);
    socket.set_nonblocking(true).call(|| "fcntl O_NONBLOCK")?;
    let name =
        socket.local_addr().call(|| "getsockname of an inherited socket, which must be a unix socket")?;
    let address = name.as_pathname().map_or_else(|| "fd://".to_owned(), |path| path.display().to_string());
    let socket = UnixListener::from_std(socket).call(|| "epoll_ctl")?;
    Ok(Listener { socket: Kind::Unix(socket), address, path: None })
}

/// The group's number, read from the file itself: a static program must not load name services. Without a group, or
/// without the default one, the socket stays with root's.
fn group_id(name: &str) -> Result<u32> {
    let file = sys::fs::read_to_string("/etc/group").unwrap_or_default();
    match parse_group(&file, name).or_else(|| name.parse().ok()) {
        Some(id) => Ok(id),
        None if matches!(name, "" | DEFAULT_GROUP) => {
            debug!(group = name, "the group is not there, so the socket stays with root's");
            Ok(0)
        }
        None => Err(Error::not_found(format!("group {name} not found"))),
    }
}

fn parse_group(file: &str, name: &str) -> Option<u32> {
    let line = file.lines().find(|line| line.split(':').next() == Some(name))?;
    line.split(':').nth(2)?.parse().ok()
}

/// Accepts until the daemon ends, then gives the connections a moment to finish.
pub(crate) async fn serve(listener: Listener, door: Arc<Door>, mut ending: Ending) {
    info!("API listen on {}", listener.address);
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener.socket), if connections.len() < CONNECTIONS_MAX => accepted,
            Some(_) = connections.join_next() => continue,
            () = ending.wait() => break,
        };
        match accepted {
            Ok(socket) => {
                connections.spawn(http::serve(socket, Arc::clone(&door), ending.clone()));
            }
            Err(error) => {
                warn!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(PATIENCE, all).await.is_err() {
        connections.shutdown().await;
    }
}

async fn accept(socket: &Kind) -> std::io::Result<Socket> {
    match socket {
        Kind::Unix(listener) => listener.accept().await.map(|(stream, _)| Socket::Unix(stream)),
        Kind::Tcp(listener) => {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            Ok(Socket::Tcp(stream))
        }
    }
}

/// Attached clients stay for as long as their containers; beyond this, new ones wait to be accepted.
const CONNECTIONS_MAX: usize = 8192;

/// Out of descriptors, most likely: let some connection end first.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers that are nearly done get this long at the end; streams are cut.
const PATIENCE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_found_by_name() {
        let file = "root:x:0:\ndocker:x:999:alice,bob\nbroken\n";
        assert_eq!(parse_group(file, "docker"), Some(999));
        assert_eq!(parse_group(file, "broken"), None);
        assert_eq!(parse_group(file, "wheel"), None);
    }
}
