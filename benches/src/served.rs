//! `kogged registry serve`, as a place to pull from and push to.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use fault::{Call, Error, Result};
use serde_json::Value;
use sys::process::PidFd;
use sys::signal::SIGTERM;

use crate::cgroup::Meter;
use crate::daemon;

/// Running; dropped, it is gone, and what it serves stays.
#[derive(Debug)]
pub(crate) struct Served {
    process: PidFd,
    address: SocketAddr,
}

impl Served {
    pub(crate) fn start(programs: &Path, root: &Path, meter: &Meter) -> Result<Self> {
        // Free when it was looked for; nobody else is started here.
        let listener = TcpListener::bind("127.0.0.1:0").call(|| "look for a free port")?;
        let address = listener.local_addr().call(|| "getsockname")?;
        drop(listener);
        let listen = address.to_string();
        let words = ["registry", "serve", "--listen", &listen, "--root"].map(OsString::from);
        let words = [&words[..], &[root.as_os_str().to_owned()]].concat();
        let process = daemon::spawn_in(meter, &programs.join("kogged"), &words, &[])?;
        let end = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            if Instant::now() > end || process.has_ended()? {
                return Err(Error::unavailable("kogged registry serve does not answer"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(Self { process, address })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// As engines call it.
    pub(crate) fn repository(&self, path: &str) -> String {
        format!("{}/{path}", self.address)
    }

    /// The digests of an image's layers, lowest first.
    pub(crate) fn layers_of(&self, path: &str, tag: &str) -> Result<Vec<String>> {
        let what = || format!("asking for {path}:{tag}");
        let mut stream = TcpStream::connect(self.address).call(what)?;
        let accept = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";
        let head = format!("GET /v2/{path}/manifests/{tag} HTTP/1.1\r\nHost: bench\r\nAccept: {accept}\r\n");
        stream.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes()).call(what)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).call(what)?;
        let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
        let manifest: Value = serde_json::from_str(body).unwrap_or_default();
        let layers = manifest["layers"].as_array();
        let layers =
            layers.ok_or_else(|| Error::not_found(format!("{path}:{tag} is not there: {answer}")))?;
        Ok(layers.iter().filter_map(|layer| Some(layer["digest"].as_str()?.to_owned())).collect())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let ended = self.process.send_signal(SIGTERM).and_then(|()| self.process.wait().map(drop));
        if let Err(error) = ended {
            eprintln!("bench: {error}");
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(10);
