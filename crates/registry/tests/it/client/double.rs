//! A registry in front of the registry: passes requests on, remembers them, and answers itself where it is told to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// An answer in place of the registry's: status line, headers, body.
#[derive(Clone, Debug)]
pub(crate) struct Says(pub(crate) &'static str, pub(crate) Vec<(&'static str, String)>, pub(crate) Vec<u8>);

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

type Rule = Box<dyn FnMut(&Seen) -> Option<Says> + Send>;

pub(crate) struct Double {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<std::thread::JoinHandle<()>>,
}

struct Shared {
    behind: SocketAddr,
    rule: Mutex<Rule>,
    seen: Mutex<Vec<Seen>>,
    ended: AtomicBool,
    knows_no_referrers: AtomicBool,
}

impl Double {
    pub(crate) fn new(behind: SocketAddr, rule: impl FnMut(&Seen) -> Option<Says> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            behind,
            rule: Mutex::new(Box::new(rule)),
            seen: Mutex::default(),
            ended: AtomicBool::new(false),
            knows_no_referrers: AtomicBool::new(false),
        });
        let served = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if served.ended.load(Ordering::Relaxed) {
                    break;
                }
                let served = Arc::clone(&served);
                // Ends with its connection.
                std::thread::spawn(move || serve(&served, stream.unwrap()));
            }
        });
        Self { address, shared, thread: Some(thread) }
    }

    /// All requests so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// Requests of a method whose path holds these words.
    pub(crate) fn count(&self, method: &str, words: &str) -> usize {
        self.seen().iter().filter(|seen| seen.method == method && seen.path.contains(words)).count()
    }

    /// Behaves as registries did before there were referrers.
    pub(crate) fn forget_referrers(&self) {
        self.shared.knows_no_referrers.store(true, Ordering::Relaxed);
    }

    pub(crate) fn forget(&self) {
        self.shared.seen.lock().unwrap().clear();
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(self.address));
        self.thread.take().unwrap().join().unwrap();
    }
}

fn serve(shared: &Shared, stream: TcpStream) {
    let mut stream = BufReader::new(stream);
    while let Some((seen, body)) = request(&mut stream) {
        shared.seen.lock().unwrap().push(seen.clone());
        let says = (shared.rule.lock().unwrap())(&seen);
        let answer = match says {
            Some(Says(status, headers, body)) => {
                let mut head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n", body.len());
                headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
                [head.as_bytes(), b"\r\n", &body].concat()
            }
            None if !shared.knows_no_referrers.load(Ordering::Relaxed) => {
                passed_on(shared.behind, &seen, &body)
            }
            None if seen.path.contains("/referrers/") => {
                b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec()
            }
            None => without_subject(passed_on(shared.behind, &seen, &body)),
        };
        if stream.get_mut().write_all(&answer).is_err() {
            return;
        }
    }
}

fn request(stream: &mut BufReader<TcpStream>) -> Option<(Seen, Vec<u8>)> {
    let first = line(stream)?;
    let mut words = first.split(' ').map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let headers = headers(stream)?;
    let seen = Seen { method, path, headers };
    let body = if seen.header("transfer-encoding").is_some() {
        chunks(stream)?
    } else {
        let length = seen.header("content-length").map_or(0, |text| text.parse().unwrap());
        let mut body = vec![0; length];
        stream.read_exact(&mut body).ok()?;
        body
    };
    Some((seen, body))
}

fn chunks(stream: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let length = usize::from_str_radix(&line(stream)?, 16).unwrap();
        let mut chunk = vec![0; length];
        stream.read_exact(&mut chunk).ok()?;
        line(stream)?;
        if length == 0 {
            return Some(body);
        }
        body.extend(chunk);
    }
}

fn headers(stream: &mut BufReader<TcpStream>) -> Option<Vec<(String, String)>> {
    let mut headers = Vec::new();
    while let Some((name, value)) = line(stream)?.split_once(':') {
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    Some(headers)
}

fn line(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = String::new();
    let length = stream.read_line(&mut line).ok()?;
    (length > 0).then(|| line.trim_end().to_owned())
}

fn without_subject(answer: Vec<u8>) -> Vec<u8> {
    let name = b"oci-subject";
    let found = answer.windows(name.len()).position(|window| window.eq_ignore_ascii_case(name));
    let mut answer = answer;
    if let Some(at) = found {
        answer[at] = b'X';
    }
    answer
}

/// The real answer, on a connection that goes on.
fn passed_on(behind: SocketAddr, seen: &Seen, body: &[u8]) -> Vec<u8> {
    let mut request =
        format!("{} {} HTTP/1.1\r\nHost: behind\r\nConnection: close\r\n", seen.method, seen.path);
    let own = ["host", "connection", "content-length", "transfer-encoding"];
    for (name, value) in
        seen.headers.iter().filter(|(name, _)| !own.contains(&name.to_ascii_lowercase().as_str()))
    {
        request += &format!("{name}: {value}\r\n");
    }
    request += &format!("Content-Length: {}\r\n\r\n", body.len());
    let mut stream = TcpStream::connect(behind).unwrap();
    stream.write_all(&[request.as_bytes(), body].concat()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let kept = head.split("\r\n").filter(|line| !line.to_ascii_lowercase().starts_with("connection:"));
    [kept.collect::<Vec<_>>().join("\r\n").as_bytes(), &answer[end..]].concat()
}
