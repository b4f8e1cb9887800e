//! Where a daemon listens: `unix:///path` or `tcp://host:port`, as `-H` and `DOCKER_HOST` name it.

use std::fmt;
use std::path::{Path, PathBuf};

use fault::{Error, Result};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    Unix(PathBuf),
    /// `host:port`.
    Tcp(String),
}

impl Endpoint {
    pub fn unix(path: impl AsRef<Path>) -> Self {
        Self::Unix(path.as_ref().to_owned())
    }

    /// Reads a host as people write it; without a scheme it is a TCP address.
    pub fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        let (scheme, address) = text.split_once("://").unwrap_or(("tcp", text));
        match scheme {
            "unix" => unix(address),
            "tcp" => tcp(address),
            "ssh" | "npipe" | "fd" => Err(Error::unsupported(format!("{scheme}:// hosts"))),
            _ => Err(Error::invalid(format!("invalid bind address format: {text}"))),
        }
    }

    /// The `Host` header. A unix socket has no name of its own.
    pub(crate) fn host(&self) -> &str {
        match self {
            Self::Unix(_) => "api.moby.localhost",
            Self::Tcp(address) => address,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(out, "unix://{}", path.display()),
            Self::Tcp(address) => write!(out, "tcp://{address}"),
        }
    }
}

fn unix(path: &str) -> Result<Endpoint> {
    if path.contains("://") {
        return Err(Error::invalid(format!("invalid proto, expected unix: {path}")));
    }
    Ok(Endpoint::unix(if path.is_empty() { DOCKER_SOCKET } else { path }))
}

fn tcp(address: &str) -> Result<Endpoint> {
    if address.contains("://") {
        return Err(Error::invalid(format!("invalid proto, expected tcp: {address}")));
    }
    let whole = format!("tcp://{address}");
    let (address, path) = address.split_once('/').unwrap_or((address, ""));
    if !path.trim_matches('/').is_empty() {
        return Err(Error::unsupported(format!("a path in {whole}")));
    }
    let (host, port) =
        split_port(address).map_err(|why| Error::invalid(format!("parse {whole:?}: {why}")))?;
    let host = if host.is_empty() { "localhost" } else { host };
    let port = if port.is_empty() { PORT } else { port };
    if port.parse::<u16>().is_err() {
        return Err(Error::invalid(format!("invalid bind address format: {whole}")));
    }
    Ok(Endpoint::Tcp(format!("{host}:{port}")))
}

/// Splits at the last colon that stands outside of an IPv6 address's brackets; what is wrong is told as Go tells it.
fn split_port(address: &str) -> Result<(&str, &str), String> {
    let host_len = match address.starts_with('[') {
        true => address.find(']').ok_or("missing ']' in host")? + 1,
        false => address.rfind(':').unwrap_or(address.len()),
    };
    let (host, rest) = address.split_at(host_len);
    let port = rest.strip_prefix(':').unwrap_or(rest);
    match port.bytes().all(|byte| byte.is_ascii_digit()) && (rest.is_empty() || rest.starts_with(':')) {
        true => Ok((host, port)),
        false => Err(format!("invalid port {rest:?} after host")),
    }
}

const DOCKER_SOCKET: &str = "/var/run/docker.sock";

/// The unencrypted port that IANA gave to Docker.
const PORT: &str = "2375";

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, wanted: &str) {
        let got = match Endpoint::parse(text) {
            Ok(endpoint) => endpoint.to_string(),
            Err(error) => error.to_string(),
        };
        assert_eq!(got, wanted, "{text}");
    }

    #[test]
    fn hosts_read_as_docker_reads_them() {
        check("unix:///run/x.sock", "unix:///run/x.sock");
        check("unix://", "unix:///var/run/docker.sock");
        check("tcp://", "tcp://localhost:2375");
        check("127.0.0.1:2375", "tcp://127.0.0.1:2375");
        check("tcp://box", "tcp://box:2375");
        check("tcp://[::1]:99", "tcp://[::1]:99");
        check("tcp://[::1]", "tcp://[::1]:2375");
        check("tcp://box/", "tcp://box:2375");
        check("tcp://box:http", "parse \"tcp://box:http\": invalid port \":http\" after host");
        check("tcp://box:99999", "invalid bind address format: tcp://box:99999");
        check("tcp://[::1", "parse \"tcp://[::1\": missing ']' in host");
        check("tcp://[::1]2", "parse \"tcp://[::1]2\": invalid port \"2\" after host");
        check("tcp://box/path", "not supported: a path in tcp://box/path");
        check("tcp://a://b", "invalid proto, expected tcp: a://b");
        check("http://box", "invalid bind address format: http://box");
        check("ssh://me@box", "not supported: ssh:// hosts");
        check("gopher://box", "invalid bind address format: gopher://box");
    }
}
