//! A registry on a port of its own, and a client of a few lines that hides nothing of HTTP.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use oci::{Descriptor, Digest, media_type};
use registry::server::{Config, Server};
use tokio::sync::oneshot;

/// Served from a thread of its own until it is dropped.
pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) address: SocketAddr,
    end: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl World {
    pub(crate) fn new(root: &Path) -> Self {
        Self::with(Config::new(root))
    }

    pub(crate) fn with(config: Config) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let server = Server::open(config).unwrap();
        let (end, ended) = oneshot::channel::<()>();
        let served = server.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                served.run(listener, async { drop(ended.await) }).await.unwrap();
            });
        });
        Self { server, address, end: Some(end), thread: Some(thread) }
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address).unwrap()
    }

    /// One request on a connection of its own.
    pub(crate) fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        self.client().ask(method, path, headers, body)
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, &[], b"")
    }

    /// Pushes a blob in one request.
    #[track_caller]
    pub(crate) fn push_blob(&self, name: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::sha256(bytes);
        let reply = self.ask("POST", &format!("/v2/{name}/blobs/uploads/?digest={digest}"), &[], bytes);
        assert_eq!(reply.status, 201, "{}", reply.text());
        digest
    }

    /// Pushes an image of one layer under a tag; its manifest's digest.
    #[track_caller]
    pub(crate) fn push_image(&self, name: &str, tag: &str, layer: &[u8]) -> Digest {
        self.push_blob(name, CONFIG);
        self.push_blob(name, layer);
        let bytes = image(layer);
        let reply = self.put_manifest(name, tag, &bytes);
        assert_eq!(reply.status, 201, "{}", reply.text());
        Digest::sha256(&bytes)
    }

    pub(crate) fn put_manifest(&self, name: &str, key: &str, bytes: &[u8]) -> Reply {
        let content_type = ("Content-Type", media_type::OCI_MANIFEST);
        self.ask("PUT", &format!("/v2/{name}/manifests/{key}"), &[content_type], bytes)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.end.take().unwrap().send(()).unwrap();
        self.thread.take().unwrap().join().unwrap();
    }
}

pub(crate) const CONFIG: &[u8] = br#"{"architecture":"amd64","os":"linux"}"#;

/// The manifest of an image of one layer.
pub(crate) fn image(layer: &[u8]) -> Vec<u8> {
    let config = Descriptor::of(media_type::OCI_CONFIG, CONFIG);
    let layers = vec![Descriptor::of(media_type::OCI_LAYER, layer)];
    serde_json::to_vec(&oci::Manifest::new(config, layers)).unwrap()
}

/// A connection that is kept.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(String::as_str).unwrap_or_default()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The code of the first error.
    pub(crate) fn code(&self) -> String {
        let answer: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        answer["errors"][0]["code"].as_str().unwrap().to_owned()
    }
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Self> {
        Ok(Self { stream: BufReader::new(TcpStream::connect(address)?) })
    }

    pub(crate) fn ask(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        self.try_ask(method, path, headers, body).unwrap()
    }

    /// An error if the server is gone.
    pub(crate) fn try_ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Reply> {
        self.try_send(method, path, headers, body.len(), body)?;
        self.try_reply(method)
    }

    /// Sends a request that promises so many bytes of body.
    pub(crate) fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        promised: usize,
        body: &[u8],
    ) {
        self.try_send(method, path, headers, promised, body).unwrap();
    }

    fn try_send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        promised: usize,
        body: &[u8],
    ) -> io::Result<()> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {promised}\r\n");
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += "\r\n";
        self.stream.get_mut().write_all(&[head.as_bytes(), body].concat())
    }

    /// Status line and headers are read away; so many bytes of the body.
    pub(crate) fn begun(&mut self, length: usize) -> Vec<u8> {
        while !self.line().unwrap().is_empty() {}
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).unwrap();
        body
    }

    pub(crate) fn reply(&mut self, method: &str) -> Reply {
        self.try_reply(method).unwrap()
    }

    fn try_reply(&mut self, method: &str) -> io::Result<Reply> {
        let status_line = self.line()?;
        let status = status_line.split(' ').nth(1).and_then(|word| word.parse().ok());
        let status = status.ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut headers = HashMap::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(": ") else { break };
            headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        let length = headers.get("content-length").map_or(0, |text| text.parse().unwrap());
        let mut body = vec![0; if method == "HEAD" || status == 304 { 0 } else { length }];
        self.stream.read_exact(&mut body)?;
        Ok(Reply { status, headers, body })
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }
}

/// Bytes that do not repeat soon.
pub(crate) fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index * 31 + index / 251) as u8).collect()
}

/// What lies in a folder of the registry.
pub(crate) fn files(root: &Path, folder: &str) -> usize {
    std::fs::read_dir(root.join(folder)).unwrap().count()
}
