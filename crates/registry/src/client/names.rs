//! Host names to addresses: `/etc/hosts`, then the name servers of `/etc/resolv.conf` (RFC 1035, RFC 3596), as Go's own
//! resolver does it for dockerd.
//!
//! Our programs are linked statically, and the C library's resolver would load modules of another C library at run time.
//! Answers are taken from the server that was asked, for the question that was asked; nothing is cached.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use futures_util::future::join;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

mod message;

pub use message::{Answer, Outcome, Question, read};

/// How names are looked up on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    hosts: Vec<(IpAddr, Vec<String>)>,
    servers: Vec<SocketAddr>,
    search: Vec<String>,
    /// A name with fewer dots is first looked for in the search domains.
    dots: usize,
    patience: Duration,
    attempts: u32,
}

impl Names {
    /// Reads the machine's files anew: networks come and go.
    pub(crate) async fn of_machine() -> Self {
        let read = |path: &'static str| sys::fs::read_bounded(path, FILE_BYTES_MAX).unwrap_or_default();
        let files = tokio::task::spawn_blocking(move || (read("/etc/hosts"), read("/etc/resolv.conf"))).await;
        let (hosts, resolv_conf) = files.unwrap_or_default();
        Self::parse(&String::from_utf8_lossy(&hosts), &String::from_utf8_lossy(&resolv_conf))
    }

    /// hosts(5) and resolv.conf(5).
    pub(crate) fn parse(hosts: &str, resolv_conf: &str) -> Self {
        let mut names = Self {
            hosts: hosts.lines().filter_map(hosts_line).collect(),
            servers: Vec::new(),
            search: Vec::new(),
            dots: 1,
            patience: Duration::from_secs(5),
            attempts: 2,
        };
        for line in resolv_conf.lines() {
            names.add(line);
        }
        if names.servers.is_empty() {
            names.servers.push(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), DNS_PORT));
        }
        names
    }

    fn add(&mut self, line: &str) {
        let mut words = line.split_ascii_whitespace();
        match words.next() {
            Some("nameserver") if self.servers.len() < SERVERS_MAX => {
                // A zone (`fe80::1%eth0`) is left out: link-local servers are not reached without it.
                let address = words.next().and_then(|word| word.parse().ok());
                self.servers.extend(address.map(|address: IpAddr| SocketAddr::new(address, DNS_PORT)));
            }
            Some("domain" | "search") => {
                self.search = words.take(SEARCH_MAX).map(|word| word.trim_end_matches('.').into()).collect();
            }
            Some("options") => words.for_each(|word| self.option(word)),
            _ => {}
        }
    }

    fn option(&mut self, word: &str) {
        let number = |value: &str| value.parse::<u32>().ok();
        match word.split_once(':').map(|(name, value)| (name, number(value))) {
            Some(("ndots", Some(dots))) => self.dots = dots.min(15) as usize,
            Some(("timeout", Some(seconds))) => {
                self.patience = Duration::from_secs(seconds.clamp(1, 30).into());
            }
            Some(("attempts", Some(attempts))) => self.attempts = attempts.clamp(1, 5),
            _ => {}
        }
    }

    /// The addresses of a host, IPv6 among them; the error is Go's text. An address stands for itself.
    pub(crate) async fn lookup(&self, host: &str) -> Result<Vec<IpAddr>, String> {
        if let Ok(address) = host.parse() {
            return Ok(vec![address]);
        }
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let mut known = self.known(&host);
        if known.is_empty() && is_local(&host) {
            known = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        }
        if !known.is_empty() {
            return Ok(known);
        }
        let mut failure = format!("lookup {host}: no such host");
        for name in self.candidates(&host) {
            match self.ask_all(&name).await {
                Ok(addresses) if !addresses.is_empty() => return Ok(addresses),
                Ok(_) => failure = format!("lookup {host} on {}: no such host", self.servers[0]),
                Err(error) => failure = format!("lookup {host}{error}"),
            }
        }
        Err(failure)
    }

    fn known(&self, host: &str) -> Vec<IpAddr> {
        let lines = self.hosts.iter().filter(|(_, names)| names.iter().any(|name| name == host));
        lines.map(|(address, _)| *address).collect()
    }

    /// The names to ask for, in order.
    fn candidates(&self, host: &str) -> Vec<String> {
        let searched = self.search.iter().map(|domain| format!("{host}.{domain}"));
        let dotted = host.bytes().filter(|byte| *byte == b'.').count() >= self.dots;
        let mut candidates: Vec<String> = searched.collect();
        candidates.insert(if dotted { 0 } else { candidates.len() }, host.into());
        candidates.retain(|name| Question::new(name, message::A).is_some());
        candidates
    }

    /// IPv4 and IPv6 side by side. Empty if there is no such name.
    async fn ask_all(&self, name: &str) -> Result<Vec<IpAddr>, String> {
        let (four, six) = join(self.ask(name, message::A), self.ask(name, message::AAAA)).await;
        match (four, six) {
            (Ok(mut addresses), Ok(more)) => {
                addresses.extend(more);
                Ok(addresses)
            }
            (Ok(addresses), _) | (_, Ok(addresses)) if !addresses.is_empty() => Ok(addresses),
            (Err(error), _) | (_, Err(error)) => Err(error),
        }
    }

    async fn ask(&self, name: &str, kind: u16) -> Result<Vec<IpAddr>, String> {
        let mut failure = String::new();
        for _ in 0..self.attempts {
            for server in &self.servers {
                match timeout(self.patience, exchange(*server, name, kind)).await {
                    Ok(Ok(Outcome::Found(addresses))) => return Ok(addresses),
                    Ok(Ok(Outcome::NoSuchName)) => return Ok(Vec::new()),
                    Ok(Ok(Outcome::Misbehaving | Outcome::Truncated)) => {
                        failure = format!(" on {server}: server misbehaving");
                    }
                    Ok(Err(error)) => failure = format!(" on {server}: read: {}", super::dial::words(&error)),
                    Err(_) => failure = format!(" on {server}: i/o timeout"),
                }
            }
        }
        Err(failure)
    }
}

/// One question to one server: by UDP, and by TCP if the answer does not fit.
async fn exchange(server: SocketAddr, name: &str, kind: u16) -> std::io::Result<Outcome> {
    let Some(question) = Question::new(name, kind) else { return Ok(Outcome::NoSuchName) };
    let id = random();
    match by_udp(server, &question, id).await? {
        Outcome::Truncated => by_tcp(server, &question, id).await,
        outcome => Ok(outcome),
    }
}

async fn by_udp(server: SocketAddr, question: &Question, id: u16) -> std::io::Result<Outcome> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    // Connected, the socket takes answers of this server only.
    socket.connect(server).await?;
    socket.send(&question.encode(id)).await?;
    let mut buffer = vec![0; UDP_BYTES_MAX];
    loop {
        let length = socket.recv(&mut buffer).await?;
        // What does not answer our question may be forged: the right one may still come.
        if let Answer::Ours(outcome) = read(&buffer[..length], question, id) {
            return Ok(outcome);
        }
    }
}

async fn by_tcp(server: SocketAddr, question: &Question, id: u16) -> std::io::Result<Outcome> {
    let mut stream = TcpStream::connect(server).await?;
    let message = question.encode(id);
    let length = u16::try_from(message.len()).expect("a question is shorter than a name and some");
    stream.write_all(&[&length.to_be_bytes()[..], &message].concat()).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; length.into()];
    stream.read_exact(&mut answer).await?;
    match read(&answer, question, id) {
        Answer::Ours(outcome) => Ok(outcome),
        Answer::Foreign => Ok(Outcome::Misbehaving),
    }
}

fn hosts_line(line: &str) -> Option<(IpAddr, Vec<String>)> {
    let line = line.split_once('#').map_or(line, |(before, _)| before);
    let mut words = line.split_ascii_whitespace();
    let address = words.next()?.parse().ok()?;
    Some((address, words.map(|name| name.trim_end_matches('.').to_ascii_lowercase()).collect()))
}

/// RFC 6761, 6.3.
fn is_local(host: &str) -> bool {
    host == "localhost" || host.ends_with(".localhost")
}

/// Hard to guess from outside: the standard library seeds its hashers from the kernel.
fn random() -> u16 {
    RandomState::new().build_hasher().finish() as u16
}

const DNS_PORT: u16 = 53;
/// resolv.conf(5): MAXNS.
const SERVERS_MAX: usize = 3;
const SEARCH_MAX: usize = 32;
/// Nobody's hosts file is longer, but for blockers' lists.
const FILE_BYTES_MAX: u64 = 8 << 20;
/// Larger than servers send without being asked for.
const UDP_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTS: &str = "127.0.0.1 localhost # a comment\n::1 localhost ip6-localhost\n10.0.0.9\tReg.Example reg\n\nrubbish\n";

    #[tokio::test]
    async fn addresses_and_hosts_need_no_server() {
        let names = Names::parse(HOSTS, "nameserver 192.0.2.1");
        let check = async |host: &str, expected: &[&str]| {
            let found = names.lookup(host).await.unwrap();
            assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), expected, "{host}");
        };
        check("10.1.2.3", &["10.1.2.3"]).await;
        check("::2", &["::2"]).await;
        check("localhost", &["127.0.0.1", "::1"]).await;
        check("REG.example.", &["10.0.0.9"]).await;
        check("a.localhost", &["127.0.0.1", "::1"]).await;
    }

    #[test]
    fn resolv_conf_is_read_as_its_manual_says() {
        let names = Names::parse(
            "",
            "# comment\nnameserver 10.0.0.1\nnameserver ::1\nnameserver x\nsearch a.example b.example.\n\
             options ndots:2 timeout:0 attempts:99 rotate\n",
        );
        assert_eq!(names.servers, ["10.0.0.1:53".parse().unwrap(), "[::1]:53".parse().unwrap()]);
        assert_eq!((names.dots, names.patience.as_secs(), names.attempts), (2, 1, 5));
        assert_eq!(names.candidates("r.x"), ["r.x.a.example", "r.x.b.example", "r.x"]);
        assert_eq!(names.candidates("r.x.y"), ["r.x.y", "r.x.y.a.example", "r.x.y.b.example"]);
        assert_eq!(Names::parse("", "").servers, ["127.0.0.1:53".parse().unwrap()]);
    }

    /// A name server with one name, whose answers over UDP are cut short.
    async fn server() -> SocketAddr {
        let tcp = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = tcp.local_addr().unwrap();
        let udp = UdpSocket::bind(address).await.unwrap();
        #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
        tokio::spawn(async move {
            let mut buffer = [0; 512];
            loop {
                let (length, peer) = udp.recv_from(&mut buffer).await.unwrap();
                let answer = message::tests::answer(&buffer[..length], true);
                udp.send_to(b"forged", peer).await.unwrap();
                udp.send_to(&answer, peer).await.unwrap();
            }
        });
        #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = tcp.accept().await.unwrap();
                let mut question = vec![0; stream.read_u16().await.unwrap().into()];
                stream.read_exact(&mut question).await.unwrap();
                let answer = message::tests::answer(&question, false);
                stream.write_u16(answer.len() as u16).await.unwrap();
                stream.write_all(&answer).await.unwrap();
            }
        });
        address
    }

    #[tokio::test]
    async fn servers_are_asked_and_long_answers_fetched_by_tcp() {
        let address = server().await;
        let names = Names { servers: vec![address], ..Names::parse("", "search known.example") };
        let found = names.lookup("registry").await.unwrap();
        assert_eq!(found, ["192.0.2.7".parse::<IpAddr>().unwrap(), "2001:db8::7".parse().unwrap()]);
        let error = names.lookup("other.example").await.unwrap_err();
        assert_eq!(error, format!("lookup other.example on {address}: no such host"));
    }

    #[tokio::test]
    async fn a_dead_server_is_an_error_and_the_next_one_is_asked() {
        let address = server().await;
        let dead = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let names = Names { servers: vec![dead], ..Names::parse("", "") };
        let error = names.lookup("registry.known.example").await.unwrap_err();
        assert_eq!(error, format!("lookup registry.known.example on {dead}: read: connection refused"));
        let names = Names { servers: vec![dead, address], ..names };
        assert_eq!(names.lookup("registry.known.example").await.unwrap().len(), 2);
    }
}
