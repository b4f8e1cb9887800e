//! A registry in front of the registry: passes requests on, remembers them, and breaks the answers that it is told to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// What becomes of an answer.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// In place of the answer: status line, headers, body.
    Say(&'static str, Vec<(&'static str, String)>, Vec<u8>),
    /// The connection ends after so many bytes of the body.
    Cut(usize),
    /// The body, with as many bytes as before.
    Tamper,
    /// The request goes on without its `Range`.
    ForgetRange,
    /// The answer claims so many bytes more than there are, and has them.
    Longer(usize),
}

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

type Rule = Box<dyn FnMut(&Seen) -> Option<Fault> + Send>;

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
}

impl Double {
    pub(crate) fn new(behind: SocketAddr, rule: impl FnMut(&Seen) -> Option<Fault> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            behind,
            rule: Mutex::new(Box::new(rule)),
            seen: Mutex::default(),
            ended: AtomicBool::new(false),
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
        let fault = (shared.rule.lock().unwrap())(&seen);
        if let Some(Fault::Say(status, headers, body)) = &fault {
            let mut answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n", body.len());
            headers.iter().for_each(|(name, value)| answer += &format!("{name}: {value}\r\n"));
            answer += "\r\n";
            if stream.get_mut().write_all(&[answer.as_bytes(), body].concat()).is_err() {
                return;
            }
            continue;
        }
        let (head, body) = passed_on(shared.behind, &seen, &body, matches!(fault, Some(Fault::ForgetRange)));
        let (answer, ends) = broken(head, body, fault);
        if stream.get_mut().write_all(&answer).is_err() || ends {
            return;
        }
    }
}

/// The answer's bytes, and whether the connection ends behind them.
fn broken(mut head: String, mut body: Vec<u8>, fault: Option<Fault>) -> (Vec<u8>, bool) {
    match fault {
        Some(Fault::Cut(at)) => {
            body.truncate(at);
            return ([head.as_bytes(), &body].concat(), true);
        }
        Some(Fault::Tamper) => body.iter_mut().for_each(|byte| *byte ^= 1),
        Some(Fault::Longer(more)) => {
            let length = |body: &[u8]| format!("content-length: {}\r\n", body.len());
            let before = length(&body);
            body.extend(vec![b' '; more]);
            head = head.to_ascii_lowercase().replace(&before, &length(&body));
        }
        _ => {}
    }
    ([head.as_bytes(), &body].concat(), false)
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

/// Head and body of the real answer.
fn passed_on(behind: SocketAddr, seen: &Seen, body: &[u8], without_range: bool) -> (String, Vec<u8>) {
    let mut request =
        format!("{} {} HTTP/1.1\r\nHost: behind\r\nConnection: close\r\n", seen.method, seen.path);
    let own = ["host", "connection", "content-length", "transfer-encoding"];
    for (name, value) in &seen.headers {
        let is_range = name.eq_ignore_ascii_case("range");
        let is_dropped = own.contains(&name.to_ascii_lowercase().as_str()) || is_range && without_range;
        if !is_dropped {
            request += &format!("{name}: {value}\r\n");
        }
    }
    request += &format!("Content-Length: {}\r\n\r\n", body.len());
    let mut stream = TcpStream::connect(behind).unwrap();
    stream.write_all(&[request.as_bytes(), body].concat()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    let body = answer.split_off(end);
    let head = String::from_utf8(answer).unwrap();
    let kept = head.split("\r\n").filter(|line| !line.to_ascii_lowercase().starts_with("connection:"));
    (kept.collect::<Vec<_>>().join("\r\n"), body)
}
