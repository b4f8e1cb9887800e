//! Where a daemon listens, in Docker's notation.

use std::path::PathBuf;

use fault::{Error, Result};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    Unix(PathBuf),
    /// Host and port.
    Tcp(String),
    /// The sockets that a supervisor opened.
    Inherited,
}

impl Host {
    /// `unix:///path`, `tcp://host:port`, `fd://`, or a bare path.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let broken = || Error::invalid(format!("invalid bind address format: {text}"));
        match text.trim().split_once("://") {
            Some(("unix", path)) if path.starts_with('/') => Ok(Self::Unix(path.into())),
            Some(("fd", _)) => Ok(Self::Inherited),
            Some(("tcp", address)) => Ok(Self::Tcp(tcp(address).ok_or_else(broken)?)),
            None if text.starts_with('/') => Ok(Self::Unix(text.into())),
            _ => Err(broken()),
        }
    }
}

/// Fills in the loopback address and Docker's port without TLS.
fn tcp(address: &str) -> Option<String> {
    let address = address.trim_end_matches('/');
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (address, ""),
    };
    let host = if host.is_empty() { "127.0.0.1" } else { host };
    let port: u16 = if port.is_empty() { 2375 } else { port.parse().ok()? };
    Some(format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_read_as_docker_reads_them() {
        let check = |text: &str, wanted: Host| assert_eq!(Host::parse(text).unwrap(), wanted);
        check("unix:///run/x.sock", Host::Unix("/run/x.sock".into()));
        check("/run/x.sock", Host::Unix("/run/x.sock".into()));
        check("tcp://0.0.0.0:2375", Host::Tcp("0.0.0.0:2375".into()));
        check("tcp://", Host::Tcp("127.0.0.1:2375".into()));
        check("tcp://:80", Host::Tcp("127.0.0.1:80".into()));
        check("tcp://[::1]:80", Host::Tcp("[::1]:80".into()));
        check("fd://", Host::Inherited);
        for broken in ["", "unix://", "npipe:////./pipe/x", "tcp://a:port", "ftp://x"] {
            assert_eq!(
                Host::parse(broken).unwrap_err().to_string(),
                format!("invalid bind address format: {broken}")
            );
        }
    }
}
