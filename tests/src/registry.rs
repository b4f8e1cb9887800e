//! Our own registry as a process on a host: what tests push to, kill, and count the bytes of.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use crate::Host;
use crate::daemon::program;

/// A running `kogged registry serve` in a host's network. It is killed when the value goes.
#[derive(Debug)]
pub struct Registry<'h> {
    host: &'h Host,
    process: Child,
    address: SocketAddr,
    root: PathBuf,
}

impl<'h> Registry<'h> {
    /// Serves a folder of the host on a port of the loopback device, and returns when it does.
    ///
    /// # Panics
    /// If it does not.
    pub fn start(host: &'h Host, folder: &str, port: u16) -> Self {
        Self::start_in(host, &host.folder().join(folder), port)
    }

    /// The same with any folder.
    ///
    /// # Panics
    /// If it does not serve.
    pub fn start_in(host: &'h Host, root: &Path, port: u16) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let listen = address.to_string();
        let words = ["registry", "serve", "--listen", &listen, "--root"];
        let mut command = host.command(&program("kogged").to_string_lossy(), &words);
        let mut process =
            command.arg(root).stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("nsenter is there");
        let mut log = BufReader::new(process.stderr.take().expect("it is piped"));
        let mut seen = String::new();
        while !seen.contains("registry serves") {
            let length = log.read_line(&mut seen).expect("it writes text");
            assert!(length > 0, "the registry ended early:\n{seen}");
        }
        // Keeps the pipe empty; ends with the registry.
        std::thread::spawn(move || io::copy(&mut log, &mut io::sink()));
        Self { host, process, address, root: root.to_owned() }
    }

    /// SIGKILL; then another one takes its place.
    ///
    /// # Panics
    /// If that does not serve.
    pub fn kill_and_start(&mut self) {
        self.kill();
        *self = Self::start_in(self.host, &self.root, self.address.port());
    }

    /// SIGKILL.
    ///
    /// # Panics
    /// If it cannot be waited for.
    pub fn kill(&mut self) {
        // One that is gone already is as good.
        drop(self.process.kill());
        self.process.wait().expect("it is our child");
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `127.0.0.1:5000/NAME`.
    pub fn name(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    /// Bytes of blobs and manifests that clients have been sent.
    pub fn sent(&self) -> u64 {
        self.metric("kogge_registry_sent_bytes_total")
    }

    /// Bytes of blobs and manifests that clients have sent.
    pub fn received(&self) -> u64 {
        self.metric("kogge_registry_received_bytes_total")
    }

    fn metric(&self, name: &str) -> u64 {
        let text = self.get("/metrics");
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("{name} is not among\n{text}")).parse().expect("it is a number")
    }

    /// An answer's body.
    ///
    /// # Panics
    /// If the registry does not answer.
    pub fn get(&self, path: &str) -> String {
        let ask = || {
            let mut stream = TcpStream::connect(self.address)?;
            write!(stream, "GET {path} HTTP/1.1\r\nHost: registry\r\nConnection: close\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok::<_, io::Error>(answer)
        };
        let answer = self.host.inside(ask).expect("the registry answers");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
        assert_eq!(head.get(9..12), Some("200"), "GET {path}: {answer}");
        body.to_owned()
    }
}

impl Drop for Registry<'_> {
    fn drop(&mut self) {
        self.kill();
    }
}
