//! The wire between daemon and registry: it passes HTTP on, counts the bytes of layers, and cuts, stops, lies and refuses
//! where it is told to.
//!
//! ```text
//!   kogged ── Wire (a thread a connection, in the host's network) ── kogged registry serve
//! ```

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use fixtures::Host;

/// What becomes of one request.
#[derive(Clone)]
pub(crate) enum Fate {
    Pass,
    /// The connection ends after so many bytes of the body, which is the request's if that has one, else the answer's.
    CutAt(u64),
    /// All stands still there until this has run; then the connection ends.
    StopAt(u64, Arc<dyn Fn() + Send + Sync>),
    /// This is the whole answer; the registry hears nothing.
    Answer(&'static str),
    /// The answer's length is told as so much more.
    LongerBy(i64),
    /// One byte of the answer's body is another.
    FlipAt(u64),
}

/// A request as a rule sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    /// Where the blob is to begin.
    pub(crate) from: u64,
}

impl Asked {
    /// A layer's bytes or the config's are wanted.
    pub(crate) fn is_blob(&self) -> bool {
        self.method == "GET" && self.path.contains("/blobs/sha256:")
    }

    /// A blob's bytes are coming.
    pub(crate) fn is_upload(&self) -> bool {
        matches!(self.method.as_str(), "PUT" | "PATCH") && self.path.contains("/blobs/uploads/")
    }
}

type Rule = Box<dyn FnMut(&Asked) -> Fate + Send>;

pub(crate) struct Wire {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    behind: SocketAddr,
    rule: Mutex<Rule>,
    asked: Mutex<Vec<Asked>>,
    /// From the daemon.
    connections: Mutex<Vec<Weak<TcpStream>>>,
    /// Bytes of blobs, to the daemon and from it.
    carried: AtomicU64,
    ended: AtomicBool,
}

impl Wire {
    pub(crate) fn new(host: &Host, behind: SocketAddr) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], behind.port() + 1));
        let shared = Arc::new(Shared {
            behind,
            rule: Mutex::new(Box::new(|_| Fate::Pass)),
            asked: Mutex::default(),
            connections: Mutex::default(),
            carried: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        });
        let served = Arc::clone(&shared);
        host.inside(move || {
            let listener = TcpListener::bind(address).unwrap();
            std::thread::spawn(move || {
                for stream in listener.incoming().map_while(Result::ok) {
                    if served.ended.load(Ordering::Relaxed) {
                        return;
                    }
                    let (served, stream) = (Arc::clone(&served), Arc::new(stream));
                    served.connections.lock().unwrap().push(Arc::downgrade(&stream));
                    // Ends with its connection, however that ends.
                    std::thread::spawn(move || drop(served.connection(&stream)));
                }
            });
        });
        Self { address, shared }
    }

    pub(crate) fn name(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    pub(crate) fn rule(&self, rule: impl FnMut(&Asked) -> Fate + Send + 'static) {
        *self.shared.rule.lock().unwrap() = Box::new(rule);
    }

    /// For the nth request that is meant, from one; all others pass.
    pub(crate) fn nth(&self, nth: u32, is_meant: fn(&Asked) -> bool, fate: Fate) {
        let mut count = 0;
        self.rule(move |asked| {
            count += u32::from(is_meant(asked));
            if is_meant(asked) && count == nth { fate.clone() } else { Fate::Pass }
        });
    }

    /// Ends all connections, as the registry's end would.
    pub(crate) fn hang_up(&self) {
        for connection in self.shared.connections.lock().unwrap().drain(..) {
            // One that has ended is as good.
            drop(connection.upgrade().map(|connection| connection.shutdown(Shutdown::Both)));
        }
    }

    pub(crate) fn passes(&self) {
        self.rule(|_| Fate::Pass);
    }

    /// What was asked and how many bytes of blobs went over since this was called last.
    pub(crate) fn take(&self) -> (Vec<Asked>, u64) {
        let asked = std::mem::take(&mut *self.shared.asked.lock().unwrap());
        (asked, self.shared.carried.swap(0, Ordering::Relaxed))
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // The listener's thread sees it with the next connection, or goes with the process.
        self.shared.ended.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn connection(&self, stream: &TcpStream) -> io::Result<()> {
        let mut client = BufReader::new(stream.try_clone()?);
        let behind = TcpStream::connect(self.behind)?;
        let mut server = BufReader::new(behind.try_clone()?);
        while let Some(head) = Head::read(&mut client)? {
            let asked = head.asked();
            self.asked.lock().unwrap().push(asked.clone());
            let fate = (self.rule.lock().unwrap())(&asked);
            let going = match fate {
                Fate::Answer(answer) => {
                    self.body(&mut client, &mut io::sink(), head.length(), &Fate::Pass, false)?;
                    (&*stream).write_all(answer.as_bytes())?;
                    true
                }
                fate => self.exchange(&asked, &head, fate, (&mut client, &behind), (&mut server, stream))?,
            };
            if !going {
                stream.shutdown(Shutdown::Both)?;
                return behind.shutdown(Shutdown::Both);
            }
        }
        Ok(())
    }

    /// One request there and its answer back; whether the connection goes on.
    fn exchange(
        &self,
        asked: &Asked,
        head: &Head,
        fate: Fate,
        (client, mut to_server): (&mut impl Read, &TcpStream),
        (server, mut to_client): (&mut BufReader<TcpStream>, &TcpStream),
    ) -> io::Result<bool> {
        to_server.write_all(head.text.as_bytes())?;
        let (upward, downward) = if head.length() > 0 { (fate, Fate::Pass) } else { (Fate::Pass, fate) };
        if !self.body(client, &mut to_server, head.length(), &upward, asked.is_upload())? {
            return Ok(false);
        }
        let Some(answer) = Head::read(server)? else { return Ok(false) };
        to_client.write_all(answer.told_longer(&downward).as_bytes())?;
        let length = if asked.method == "HEAD" { 0 } else { answer.length() };
        self.body(server, &mut to_client, length, &downward, asked.is_blob())
    }

    /// Whether all of it went over.
    fn body(
        &self,
        from: &mut impl Read,
        to: &mut impl Write,
        length: u64,
        fate: &Fate,
        counts: bool,
    ) -> io::Result<bool> {
        let end = match fate {
            Fate::CutAt(end) | Fate::StopAt(end, _) => length.min(*end),
            _ => length,
        };
        let (mut at, mut buffer) = (0, vec![0; 16 << 10]);
        while at < end {
            let most = buffer.len().min(usize::try_from(end - at).unwrap_or(usize::MAX));
            let count = from.read(&mut buffer[..most])?;
            if count == 0 {
                return Ok(false);
            }
            if let Fate::FlipAt(place) = fate
                && (at..at + count as u64).contains(place)
            {
                buffer[(place - at) as usize] ^= 1;
            }
            to.write_all(&buffer[..count])?;
            at += count as u64;
            if counts {
                self.carried.fetch_add(count as u64, Ordering::Relaxed);
            }
        }
        match fate {
            Fate::StopAt(_, meanwhile) if length > 0 => {
                meanwhile();
                Ok(false)
            }
            Fate::CutAt(_) => Ok(end == length),
            Fate::LongerBy(_) => Ok(false),
            _ => Ok(true),
        }
    }
}

/// Of a request or an answer, with the empty line.
struct Head {
    text: String,
}

impl Head {
    fn read(stream: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut text = String::new();
        while !text.ends_with("\r\n\r\n") {
            if stream.read_line(&mut text)? == 0 {
                return Ok(None);
            }
        }
        let head = Self { text };
        assert_eq!(head.field("transfer-encoding"), None, "bodies have lengths here");
        Ok(Some(head))
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.text.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    fn length(&self) -> u64 {
        self.field("content-length").map_or(0, |text| text.parse().unwrap())
    }

    fn asked(&self) -> Asked {
        let mut words = self.text.split(' ').map(str::to_owned);
        let range = self.field("range").and_then(|range| range.strip_prefix("bytes=")?.split('-').next());
        Asked {
            method: words.next().unwrap_or_default(),
            path: words.next().unwrap_or_default(),
            from: range.map_or(0, |start| start.parse().unwrap()),
        }
    }

    fn told_longer(&self, fate: &Fate) -> String {
        let Fate::LongerBy(more) = fate else { return self.text.clone() };
        let told = self.length() as i64 + more;
        let lines = self.text.trim_end().lines().map(|line| match line.split_once(':') {
            Some((key, _)) if key.eq_ignore_ascii_case("content-length") => format!("{key}: {told}"),
            _ => line.to_owned(),
        });
        lines.collect::<Vec<_>>().join("\r\n") + "\r\n\r\n"
    }
}
