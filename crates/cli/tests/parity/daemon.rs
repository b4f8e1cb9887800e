//! A daemon that only knows fixed answers, and remembers what it was asked.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use base64::Engine;
use serde_json::Value;

use super::answers::{Answer, UPGRADED, answer};

/// A request without what differs by client version.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: BTreeMap<String, Vec<String>>,
    pub(crate) body: Value,
    /// A header that the user's settings add.
    pub(crate) meta: Option<String>,
    /// Credentials for a registry, as JSON.
    pub(crate) auth: Value,
}

pub(crate) struct Daemon {
    folder: tempfile::TempDir,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Daemon {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("x.sock")).unwrap();
        add_context(folder.path());
        std::fs::write(
            folder.path().join("config.json"),
            r#"{"HttpHeaders":{"X-Meta":"a b"},"auths":{"box:5000":{"auth":"bWU6c2VjcmV0"}}}"#,
        )
        .unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let log = Arc::clone(&log);
                std::thread::spawn(move || serve(stream, &log));
            }
        });
        Self { folder, requests }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("x.sock")
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Waits until somebody has asked for this.
    pub(crate) fn wait_for(&self, count: usize, end: &str) {
        wait(|| {
            self.requests.lock().unwrap().iter().filter(|request| request.path.ends_with(end)).count()
                >= count
        });
    }

    /// What changed something, in an order that does not depend on what was sent side by side. Questions are left
    /// out: how often a client looks is its own affair.
    pub(crate) fn requests(&self) -> Vec<Request> {
        let mut requests = self.requests.lock().unwrap().clone();
        requests.retain(|request| {
            !matches!(request.method.as_str(), "GET" | "HEAD") || request.path.ends_with("/json")
        });
        requests.retain(|request| {
            !request.path.starts_with("/containers/")
                || request.path == "/containers/json"
                || request.method != "GET"
        });
        requests.retain(|request| !request.path.starts_with("/networks/") || request.method != "GET");
        requests.retain(|request| !request.path.starts_with("/exec/") || request.method != "GET");
        requests.sort_by_key(|request| (request.path.clone(), request.method.clone()));
        requests
    }
}

/// Waits until it is so, but not for ever.
pub(crate) fn wait(is_so: impl Fn() -> bool) {
    let start = std::time::Instant::now();
    while !is_so() {
        assert!(start.elapsed().as_secs() < 30, "waited in vain");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

/// A context `far`, in the folder that is named by its hash.
fn add_context(folder: &Path) {
    let meta = folder.join("contexts/meta/512eea46ceb3921dff4363c7069d89d4964d1d9fccaa0f411851a7aa60a5c868");
    std::fs::create_dir_all(&meta).unwrap();
    let text = r#"{"Name":"far","Metadata":{"Description":"elsewhere"},"Endpoints":{"docker":{"Host":"tcp://far:1","SkipTLSVerify":false}}}"#;
    std::fs::write(meta.join("meta.json"), text).unwrap();
}

fn serve(stream: UnixStream, log: &Mutex<Vec<Request>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while let Some(request) = read_request(&mut reader) {
        let answer = answer(&request);
        log.lock().unwrap().push(request);
        if !reply(&stream, answer) {
            return;
        }
    }
}

/// Returns whether the connection goes on.
fn reply(mut stream: &UnixStream, answer: Answer) -> bool {
    let head = "API-Version: 1.50\r\nOstype: linux\r\nDocker-Experimental: false\r\nSwarm: inactive\r\n";
    let (text, goes_on) = match answer {
        Answer::Json(status, body) => {
            let length = body.len();
            let kind = "Content-Type: application/json\r\n";
            (
                format!("HTTP/1.1 {status} X\r\n{head}{kind}Content-Length: {length}\r\n\r\n{body}")
                    .into_bytes(),
                true,
            )
        }
        Answer::Empty(status) => {
            (format!("HTTP/1.1 {status} X\r\n{head}Content-Length: 0\r\n\r\n").into_bytes(), true)
        }
        Answer::Bytes(kind, body) => {
            let length = body.len();
            let mut text =
                format!("HTTP/1.1 200 OK\r\n{head}Content-Type: {kind}\r\nContent-Length: {length}\r\n\r\n")
                    .into_bytes();
            text.extend(body);
            (text, true)
        }
        Answer::Archive(stat, body) => {
            let kind = format!("Content-Type: application/x-tar\r\nX-Docker-Container-Path-Stat: {stat}\r\n");
            let length = body.len();
            let mut text =
                format!("HTTP/1.1 200 OK\r\n{head}{kind}Content-Length: {length}\r\n\r\n").into_bytes();
            text.extend(body);
            (text, true)
        }
        Answer::Hijacked(body) => {
            let mut text = UPGRADED.as_bytes().to_vec();
            text.extend(body);
            (text, false)
        }
        Answer::Held(text) => {
            // Until the client goes away.
            stream.write_all(text.as_bytes()).ok();
            stream.read_to_end(&mut Vec::new()).ok();
            return false;
        }
    };
    stream.write_all(&text).is_ok() && goes_on
}

fn read_request(reader: &mut BufReader<UnixStream>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
    let mut parts = line.split_whitespace();
    let (method, target) = (parts.next()?.to_owned(), parts.next()?.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(": ") else { break };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    let body = read_body(reader, &headers)?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    Some(Request {
        method,
        path: decoded(without_version(path)),
        query: read_query(query),
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
        meta: headers.remove("x-meta"),
        auth: headers.get("x-registry-auth").map_or(Value::Null, |text| credentials(text)),
    })
}

/// Some of the client's code pads base 64, some does not.
fn credentials(text: &str) -> Value {
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text.trim_end_matches('='));
    serde_json::from_slice(&bytes.unwrap()).unwrap_or(Value::Null)
}

fn without_version(path: &str) -> &str {
    match path.strip_prefix("/v1.").and_then(|rest| rest.split_once('/')) {
        Some((version, _)) => &path["/v1.".len() + version.len()..],
        None => path,
    }
}

fn read_query(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut query: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        query.entry(name.to_owned()).or_default().push(decoded(value));
    }
    query
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        match (first, tail) {
            (b'%', [high, low, tail @ ..]) => {
                let digits = String::from_utf8(vec![*high, *low]).unwrap();
                bytes.push(u8::from_str_radix(&digits, 16).unwrap());
                rest = tail;
                continue;
            }
            (b'+', _) => bytes.push(b' '),
            (byte, _) => bytes.push(*byte),
        }
        rest = tail;
    }
    String::from_utf8(bytes).unwrap()
}

fn read_body(reader: &mut BufReader<UnixStream>, headers: &BTreeMap<String, String>) -> Option<Vec<u8>> {
    if let Some(length) = headers.get("content-length") {
        let mut body = vec![0; length.parse().ok()?];
        reader.read_exact(&mut body).ok()?;
        return Some(body);
    }
    let mut body = Vec::new();
    if headers.get("transfer-encoding").map(String::as_str) != Some("chunked") {
        return Some(body);
    }
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let length = usize::from_str_radix(line.trim(), 16).ok()?;
        let mut chunk = vec![0; length + 2];
        reader.read_exact(&mut chunk).ok()?;
        if length == 0 {
            return Some(body);
        }
        body.extend_from_slice(&chunk[..length]);
    }
}
