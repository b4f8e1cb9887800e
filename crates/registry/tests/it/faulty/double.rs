//! A registry that does what a test tells it to: one thread a connection, answers written byte by byte, so that they can be
//! cut, lie about their length, or never come.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;

use oci::Digest;
use serde_json::json;

/// A running double; it ends when the value goes.
pub(crate) struct Double {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    ended: AtomicBool,
    tls: Option<Arc<rustls::ServerConfig>>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) blobs: BTreeMap<(String, String), Vec<u8>>,
    /// By repository and tag or digest: media type and bytes.
    pub(crate) manifests: BTreeMap<(String, String), (String, Vec<u8>)>,
    pub(crate) auth: Auth,
    /// Without it clients are to ask for tags.
    pub(crate) has_referrers: bool,
    pub(crate) search: Option<serde_json::Value>,
    pub(crate) log: Vec<Seen>,
    faults: Vec<Fault>,
    uploads: HashMap<String, Vec<u8>>,
    tokens: Vec<String>,
    /// Connections whose client went away while an answer was held back.
    pub(crate) deserted: usize,
}

/// How clients have to identify themselves.
#[derive(Clone, Default)]
pub(crate) enum Auth {
    #[default]
    Open,
    Basic {
        user: &'static str,
        password: &'static str,
    },
    /// Tokens of this very server. Without a password anybody gets one.
    Bearer {
        user: Option<(&'static str, &'static str)>,
        /// How many requests a token is good for.
        uses: usize,
    },
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.method, self.target)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    fn path(&self) -> &str {
        self.target.split('?').next().unwrap()
    }

    fn query(&self) -> HashMap<String, String> {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        pairs(query).into_iter().collect()
    }
}

/// The pairs of a query or a form, unescaped.
pub(crate) fn pairs(text: &str) -> Vec<(String, String)> {
    let unescaped =
        |text: &str| percent_encoding::percent_decode_str(text).decode_utf8().unwrap().into_owned();
    let pair = |pair: &str| pair.split_once('=').map(|(name, value)| (unescaped(name), unescaped(value)));
    text.split('&').filter_map(pair).collect()
}

struct Fault {
    /// `GET /v2/app/blobs/`
    begins: String,
    times: usize,
    effect: Effect,
}

/// What happens in place of the answer, or to it.
#[derive(Clone)]
pub(crate) enum Effect {
    Answer(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// So many bytes of the body, then the connection ends.
    Cut(usize),
    /// So many bytes of the body, then nothing until the client goes.
    Hang(usize),
    /// All of it, whatever part was asked for.
    IgnoreRange,
    /// The header says so many bytes; that many come, cut or filled up.
    Length(usize),
    /// Other bytes of the same number.
    Spoil,
    /// The head has no length: the body ends with the connection.
    NoLength,
    /// The request's body is read up to here only; the upload keeps it.
    CutUpload(usize),
}

pub(crate) struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

fn reply(status: u16) -> Reply {
    Reply { status, headers: Vec::new(), body: Vec::new() }
}

impl Reply {
    fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn body(self, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..self }
    }
}

fn refused(status: u16, code: &str, message: &str) -> Reply {
    reply(status).body(json!({"errors": [{"code": code, "message": message, "detail": {}}]}).to_string())
}

impl Double {
    pub(crate) fn start() -> Self {
        Self::start_with(None)
    }

    pub(crate) fn start_with(tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = State { has_referrers: true, ..State::default() };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            changed: Condvar::new(),
            ended: AtomicBool::new(false),
            tls,
        });
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if serving.ended.load(Ordering::Relaxed) {
                    return;
                }
                let serving = Arc::clone(&serving);
                let stream = stream.unwrap();
                thread::spawn(move || serving.connection(stream));
            }
        });
        Self { address, shared }
    }

    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap()
    }

    /// Requests that begin so fail so, this many times.
    pub(crate) fn fault(&self, begins: &str, times: usize, effect: Effect) {
        self.state().faults.push(Fault { begins: begins.into(), times, effect });
    }

    /// `METHOD target` of all requests since the last time.
    pub(crate) fn take_log(&self) -> Vec<String> {
        let log = std::mem::take(&mut self.state().log);
        log.iter().map(Seen::line).collect()
    }

    pub(crate) fn put_blob(&self, repository: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::sha256(bytes);
        self.state().blobs.insert((repository.into(), digest.to_string()), bytes.into());
        digest
    }

    pub(crate) fn put_manifest(&self, repository: &str, tag: &str, media_type: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::sha256(bytes);
        let mut state = self.state();
        for key in [tag, digest.as_str()] {
            state.manifests.insert((repository.into(), key.into()), (media_type.into(), bytes.into()));
        }
        digest
    }

    /// Waits until something holds.
    pub(crate) fn wait_until(&self, holds: impl Fn(&State) -> bool) {
        let mut state = self.state();
        while !holds(&state) {
            let (next, timeout) =
                self.shared.changed.wait_timeout(state, std::time::Duration::from_secs(30)).unwrap();
            assert!(!timeout.timed_out(), "waited in vain");
            state = next;
        }
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(self.address));
    }
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

impl Shared {
    fn connection(&self, tcp: TcpStream) {
        let raw = tcp.try_clone().unwrap();
        let stream: Box<dyn Stream> = match &self.tls {
            None => Box::new(tcp),
            Some(config) => Box::new(self.secured(tcp, config)),
        };
        let mut stream = BufReader::new(stream);
        while let Some((seen, effect)) = self.request(&mut stream) {
            if seen.method == "CONNECT" && effect.is_none() {
                // The tunnel leads back here, to TLS.
                stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
                let config = self.tls_behind_tunnels();
                let secured = self.secured(raw.try_clone().unwrap(), &config);
                stream = BufReader::new(Box::new(secured));
                continue;
            }
            if matches!(effect, Some(Effect::CutUpload(_))) {
                drop(raw.shutdown(Shutdown::Both));
                return;
            }
            let reply = self.reply(&seen, effect.as_ref());
            if !self.write(stream.get_mut(), &raw, &seen, reply, effect) {
                drop(raw.shutdown(Shutdown::Both));
                return;
            }
        }
    }

    fn tls_behind_tunnels(&self) -> Arc<rustls::ServerConfig> {
        Arc::clone(self.tls.as_ref().unwrap_or(&crate::faulty::certificates::self_signed().server))
    }

    fn secured(
        &self,
        tcp: TcpStream,
        config: &Arc<rustls::ServerConfig>,
    ) -> rustls::StreamOwned<rustls::ServerConnection, TcpStream> {
        rustls::StreamOwned::new(rustls::ServerConnection::new(Arc::clone(config)).unwrap(), tcp)
    }

    /// Reads a request, with the fault that is set for it.
    fn request(&self, stream: &mut impl BufRead) -> Option<(Seen, Option<Effect>)> {
        let mut line = String::new();
        stream.read_line(&mut line).ok().filter(|length| *length > 0)?;
        let mut words = line.split_whitespace();
        let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
        let mut headers = HashMap::new();
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).ok().filter(|length| *length > 0)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let length: usize = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
        let mut seen = Seen { method, target, headers, body: Vec::new() };
        let effect = self.effect(&seen);
        let wanted = match effect {
            Some(Effect::CutUpload(at)) => at.min(length),
            _ => length,
        };
        let whole = stream.by_ref().take(wanted as u64).read_to_end(&mut seen.body).ok()? == wanted;
        let mut state = self.state.lock().unwrap();
        state.log.push(seen.clone());
        if matches!(effect, Some(Effect::CutUpload(_)))
            && let Some(upload) = state.uploads.get_mut(upload_id(seen.path()))
        {
            upload.extend(&seen.body);
        }
        self.changed.notify_all();
        whole.then_some((seen, effect))
    }

    fn effect(&self, seen: &Seen) -> Option<Effect> {
        let line = seen.line();
        let mut state = self.state.lock().unwrap();
        let fault =
            state.faults.iter_mut().find(|fault| fault.times > 0 && line.starts_with(&fault.begins))?;
        fault.times -= 1;
        Some(fault.effect.clone())
    }

    fn reply(&self, seen: &Seen, effect: Option<&Effect>) -> Reply {
        if let Some(Effect::Answer(status, headers, body)) = effect {
            return Reply { status: *status, headers: headers.clone(), body: body.clone() };
        }
        let mut state = self.state.lock().unwrap();
        // A proxy sees whole addresses.
        let path = match seen.path().split_once("://") {
            Some((_, rest)) => &rest[rest.find('/').unwrap_or(rest.len())..],
            None => seen.path(),
        };
        if path == "/token" {
            return state.token(seen);
        }
        if let Some(refusal) = state.refusal(seen) {
            return refusal;
        }
        let ranged = !matches!(effect, Some(Effect::IgnoreRange));
        state.serve(seen, path, ranged)
    }

    /// Says whether the connection goes on.
    fn write(
        &self,
        stream: &mut impl Write,
        raw: &TcpStream,
        seen: &Seen,
        mut reply: Reply,
        effect: Option<Effect>,
    ) -> bool {
        let mut length = reply.body.len();
        match effect {
            Some(Effect::Length(announced)) => {
                length = announced;
                reply.body.resize(announced, b'x');
            }
            Some(Effect::Spoil) => reply.body.iter_mut().for_each(|byte| *byte ^= 0x55),
            _ => {}
        }
        let mut head = format!("HTTP/1.1 {} Whatever\r\n", reply.status);
        for (name, value) in &reply.headers {
            head += &format!("{name}: {value}\r\n");
        }
        if !matches!(effect, Some(Effect::NoLength)) {
            head += &format!("content-length: {length}\r\n");
        }
        head += "\r\n";
        if stream.write_all(head.as_bytes()).is_err() {
            return false;
        }
        let body = if seen.method == "HEAD" { &[][..] } else { &reply.body };
        match effect {
            Some(Effect::Cut(at)) => {
                drop(stream.write_all(&body[..at.min(body.len())]).and_then(|()| stream.flush()));
                return false;
            }
            Some(Effect::Hang(at)) => {
                drop(stream.write_all(&body[..at.min(body.len())]).and_then(|()| stream.flush()));
                let mut raw = raw.try_clone().unwrap();
                // Nothing more is sent by a client that waits for us: this returns when it goes.
                drop(raw.read(&mut [0]));
                self.state.lock().unwrap().deserted += 1;
                self.changed.notify_all();
                return false;
            }
            _ => {}
        }
        let sent = stream.write_all(body).and_then(|()| stream.flush());
        sent.is_ok() && !matches!(effect, Some(Effect::NoLength))
    }
}

impl State {
    fn token(&mut self, seen: &Seen) -> Reply {
        let Auth::Bearer { user, .. } = &self.auth else { return reply(404) };
        let form = pairs(&String::from_utf8_lossy(&seen.body));
        let refresh = form.iter().find(|(name, _)| name == "refresh_token").map(|(_, value)| value.as_str());
        let is_known = match user {
            None => true,
            Some(_) if refresh == Some("identity") => true,
            Some((user, password)) => seen.header("authorization") == Some(&basic(user, password)),
        };
        if !is_known {
            return reply(401).body(r#"{"details":"incorrect username or password"}"#);
        }
        let token = format!("token-{}", self.tokens.len());
        self.tokens.push(token.clone());
        let mut answer = json!({"token": token, "expires_in": 300});
        if seen.query().get("offline_token").is_some_and(|wanted| wanted == "true") {
            answer["refresh_token"] = "identity".into();
        }
        reply(200).body(answer.to_string())
    }

    /// What a stranger is told.
    fn refusal(&self, seen: &Seen) -> Option<Reply> {
        let given = seen.header("authorization");
        match &self.auth {
            Auth::Open => None,
            Auth::Basic { user, password } => (given != Some(&basic(user, password))).then(|| {
                refused(401, "UNAUTHORIZED", "authentication required")
                    .header("www-authenticate", r#"Basic realm="double""#)
            }),
            Auth::Bearer { uses, .. } => {
                let token = given.and_then(|given| given.strip_prefix("Bearer ")).unwrap_or_default();
                let used = self.log.iter().filter(|seen| seen.header("authorization") == given).count();
                let is_good = self.tokens.iter().any(|known| known == token) && used <= *uses;
                (!is_good).then(|| self.challenge(seen))
            }
        }
    }

    fn challenge(&self, seen: &Seen) -> Reply {
        let host = seen.header("host").unwrap();
        refused(401, "UNAUTHORIZED", "authentication required")
            .header("www-authenticate", format!(r#"Bearer realm="http://{host}/token",service="double""#))
    }

    fn serve(&mut self, seen: &Seen, path: &str, ranged: bool) -> Reply {
        if path == "/v1/search" {
            return self
                .search
                .as_ref()
                .map_or_else(|| reply(404), |found| reply(200).body(found.to_string()));
        }
        let Some(rest) = path.strip_prefix("/v2/") else { return reply(404) };
        if rest.is_empty() {
            return reply(200).body("{}");
        }
        if rest == "_catalog" {
            return self.catalogue(seen);
        }
        for part in ["/manifests/", "/blobs/uploads/", "/blobs/", "/referrers/"] {
            if let Some((repository, key)) = rest.split_once(part) {
                return match part {
                    "/manifests/" => self.manifest(seen, repository, key),
                    "/blobs/uploads/" => self.upload(seen, repository, key),
                    "/blobs/" => self.blob(seen, repository, key, ranged),
                    _ => self.referrers(repository, key),
                };
            }
        }
        match rest.strip_suffix("/tags/list") {
            Some(repository) => self.tags(seen, repository),
            None => reply(404),
        }
    }

    fn manifest(&mut self, seen: &Seen, repository: &str, key: &str) -> Reply {
        let key = (repository.to_owned(), key.to_owned());
        match seen.method.as_str() {
            "PUT" => {
                let digest = Digest::sha256(&seen.body).to_string();
                let entry = (seen.header("content-type").unwrap().to_owned(), seen.body.clone());
                self.manifests.insert((repository.into(), digest.clone()), entry.clone());
                self.manifests.insert(key, entry);
                reply(201).header("docker-content-digest", digest)
            }
            "DELETE" => match self.manifests.remove(&key) {
                Some(_) => reply(202),
                None => refused(404, "MANIFEST_UNKNOWN", "manifest unknown"),
            },
            _ => match self.manifests.get(&key) {
                Some((media_type, bytes)) => reply(200)
                    .header("content-type", media_type)
                    .header("docker-content-digest", Digest::sha256(bytes).to_string())
                    .body(bytes.clone()),
                None if self.manifests.keys().any(|(known, _)| known == repository) => {
                    refused(404, "MANIFEST_UNKNOWN", "manifest unknown")
                }
                None => refused(404, "NAME_UNKNOWN", "repository name not known to registry"),
            },
        }
    }

    fn blob(&mut self, seen: &Seen, repository: &str, digest: &str, ranged: bool) -> Reply {
        let key = (repository.to_owned(), digest.to_owned());
        if seen.method == "DELETE" {
            return reply(if self.blobs.remove(&key).is_some() { 202 } else { 404 });
        }
        let Some(bytes) = self.blobs.get(&key) else {
            return refused(404, "BLOB_UNKNOWN", "blob unknown to registry");
        };
        let range = seen.header("range").and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
        match range.filter(|_| ranged) {
            None => reply(200).body(bytes.clone()),
            Some((first, last)) => {
                let first: usize = first.parse().unwrap();
                let end = last.parse::<usize>().map_or(bytes.len(), |last| bytes.len().min(last + 1));
                reply(206)
                    .header("content-range", format!("bytes {first}-{}/{}", end - 1, bytes.len()))
                    .body(&bytes[first..end])
            }
        }
    }

    fn upload(&mut self, seen: &Seen, repository: &str, id: &str) -> Reply {
        let query = seen.query();
        let location = |id: &str| format!("/v2/{repository}/blobs/uploads/{id}?state=s");
        match seen.method.as_str() {
            "POST" => {
                if let (Some(digest), Some(from)) = (query.get("mount"), query.get("from"))
                    && let Some(bytes) = self.blobs.get(&(from.clone(), digest.clone())).cloned()
                {
                    self.blobs.insert((repository.into(), digest.clone()), bytes);
                    return reply(201).header("location", format!("/v2/{repository}/blobs/{digest}"));
                }
                let id = format!("upload-{}", self.uploads.len());
                self.uploads.insert(id.clone(), Vec::new());
                reply(202).header("location", location(&id))
            }
            "GET" => match self.uploads.get(id) {
                None => refused(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry"),
                Some(bytes) => {
                    let range = format!("0-{}", bytes.len().saturating_sub(1));
                    reply(204).header("location", location(id)).header("range", range)
                }
            },
            "PATCH" => {
                let upload = self.uploads.get_mut(id).unwrap();
                let range = seen.header("content-range").unwrap().split_once('-').unwrap().0;
                if range.parse::<usize>().unwrap() != upload.len() {
                    return reply(416);
                }
                upload.extend(&seen.body);
                reply(202).header("location", location(id))
            }
            "PUT" => {
                let mut bytes = self.uploads.remove(id).unwrap();
                bytes.extend(&seen.body);
                if Digest::sha256(&bytes).as_str() != query["digest"] {
                    return refused(400, "DIGEST_INVALID", "provided digest did not match uploaded content");
                }
                self.blobs.insert((repository.into(), query["digest"].clone()), bytes);
                reply(201).header("location", format!("/v2/{repository}/blobs/{}", query["digest"]))
            }
            "DELETE" => reply(if self.uploads.remove(id).is_some() { 204 } else { 404 }),
            _ => reply(405),
        }
    }

    /// Two a page.
    fn page(seen: &Seen, path: &str, name: &str, all: &[String]) -> Reply {
        let last = seen.query().get("last").cloned().unwrap_or_default();
        let rest: Vec<_> = all.iter().filter(|one| **one > last).collect();
        let page: Vec<_> = rest.iter().take(2).collect();
        let answer = reply(200).body(json!({ name: page }).to_string());
        match page.last() {
            Some(last) if rest.len() > 2 => {
                answer.header("link", format!("<{path}?last={last}&n=2>; rel=\"next\""))
            }
            _ => answer,
        }
    }

    fn tags(&self, seen: &Seen, repository: &str) -> Reply {
        let keys = self.manifests.keys().filter(|(known, key)| known == repository && !key.contains(':'));
        let tags: Vec<String> = keys.map(|(_, tag)| tag.clone()).collect();
        if tags.is_empty() {
            return refused(404, "NAME_UNKNOWN", "repository name not known to registry");
        }
        Self::page(seen, &format!("/v2/{repository}/tags/list"), "tags", &tags)
    }

    fn catalogue(&self, seen: &Seen) -> Reply {
        let mut names: Vec<String> = self.manifests.keys().map(|(name, _)| name.clone()).collect();
        names.dedup();
        Self::page(seen, "/v2/_catalog", "repositories", &names)
    }

    fn referrers(&self, repository: &str, subject: &str) -> Reply {
        if !self.has_referrers {
            return reply(404);
        }
        let of_repository =
            self.manifests.iter().filter(|((known, key), _)| known == repository && key.contains(':'));
        let entries: Vec<_> = of_repository
            .filter_map(|((_, digest), (media_type, bytes))| {
                let manifest: serde_json::Value = serde_json::from_slice(bytes).unwrap();
                (manifest["subject"]["digest"] == subject).then(|| {
                    json!({"mediaType": media_type, "digest": digest, "size": bytes.len(), "artifactType": manifest["artifactType"]})
                })
            })
            .collect();
        let index =
            json!({"schemaVersion": 2, "mediaType": oci::media_type::OCI_INDEX, "manifests": entries});
        reply(200).header("content-type", oci::media_type::OCI_INDEX).body(index.to_string())
    }
}

fn upload_id(path: &str) -> &str {
    path.rsplit('/').next().unwrap()
}

fn basic(user: &str, password: &str) -> String {
    use base64::Engine;
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}")))
}
