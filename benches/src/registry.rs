//! Blobs, pushes and manifests of our registry, and of another one beside it: wall time and the server's processor time.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fault::{Call, Doing, Error, Result};
use oci::{Descriptor, Digest, media_type};

use crate::arguments::{Arguments, Registry};
use crate::report::{Budget, Row};
use crate::rounds::{Interrupts, milliseconds};
use crate::series::Series;

/// Kept open by clients that pull.
const CONNECTIONS: usize = 64;
/// A blob's size, and how many are fetched in a run: some gigabytes each.
const BLOBS: &[(&str, usize, usize)] =
    &[("64 KiB", 64 << 10, 16_384), ("1 MiB", 1 << 20, 2048), ("100 MiB", 100 << 20, 64)];
const PUSH: (&str, usize, usize) = ("16 MiB", 16 << 20, 16);
const MANIFESTS: usize = 4096;
const ROUNDS_MAX: usize = 5;
const GIGABYTE: f64 = 1e9;

/// Measures everything that a registry is asked for most.
pub(crate) fn measure(arguments: &Arguments, interrupts: &Interrupts) -> Result<Vec<Row>> {
    let ours = Ours::start(&arguments.programs)?;
    let all: Vec<Registry> = std::iter::once(ours.registry).chain(arguments.registry).collect();
    let rounds = arguments.runs.min(ROUNDS_MAX);
    let mut rows = Vec::new();
    for (name, size, count) in BLOBS {
        let content = noise(*size, *size as u64);
        for registry in &all {
            push(registry.address, &content)?;
        }
        let path = format!("/v2/bench/blobs/{}", Digest::sha256(&content));
        let taken =
            alternate(&all, rounds, interrupts, |registry, _| fetch(registry.address, &path, *size, *count))?;
        rows.extend(per_gigabyte(&format!("registry GET {name}"), SERVING, &taken, size * count));
    }
    let (name, size, count) = PUSH;
    let taken = alternate(&all, rounds, interrupts, |registry, round| {
        (0..count)
            .try_for_each(|number| push(registry.address, &noise(size, (round * count + number) as u64 + 1)))
    })?;
    rows.extend(per_gigabyte(&format!("registry push {name}"), None, &taken, size * count));
    rows.push(manifests(&all, rounds, interrupts)?);
    rows.push(memory(&all)?);
    Ok(rows)
}

/// Our own, on a folder in memory; it ends with this value.
struct Ours {
    process: Child,
    registry: Registry,
    _folder: Folder,
}

struct Folder(std::path::PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

impl Ours {
    fn start(programs: &Path) -> Result<Self> {
        let folder = Folder(format!("/dev/shm/kogge-bench-registry-{}", std::process::id()).into());
        let free = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).call(|| "bind")?;
        let process = Command::new(programs.join("kogged"))
            .args(["registry", "serve", "--listen", &free.to_string(), "--root"])
            .arg(&folder.0)
            .stderr(Stdio::null())
            .spawn()
            .call(|| "kogged registry serve")?;
        let registry = Registry { address: free, pid: process.id() };
        let ours = Self { process, registry, _folder: folder };
        for _ in 0..500 {
            if TcpStream::connect(free).is_ok() {
                return Ok(ours);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err(Error::unavailable("kogged registry serve: it does not answer"))
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Wall and processor time of every registry's runs, in milliseconds.
type Taken = Vec<(Series, Series)>;

/// Everybody once a round, who begins changes; the first round warms up.
fn alternate(
    all: &[Registry],
    rounds: usize,
    interrupts: &Interrupts,
    run: impl Fn(&Registry, usize) -> Result<()>,
) -> Result<Taken> {
    let mut taken: Taken = all.iter().map(|_| Default::default()).collect();
    for round in 0..=rounds {
        for turn in 0..all.len() {
            interrupts.check()?;
            let index = (round + turn) % all.len();
            let (before, start) = (cpu(all[index].pid)?, Instant::now());
            run(&all[index], round).doing(|| format!("{}, run {round}", all[index].address))?;
            let (wall, needed) = (milliseconds(start.elapsed()), cpu(all[index].pid)? - before);
            if round > 0 {
                taken[index].0.0.push(wall);
                taken[index].1.0.push(needed);
            }
        }
    }
    Ok(taken)
}

/// What a process has needed so far, in milliseconds (proc_pid_stat(5): utime, stime).
fn cpu(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let stat = sys::fs::read_to_string(&path)?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok());
    let (user, system) =
        ticks(11).zip(ticks(12)).ok_or_else(|| Error::internal(format!("{path} is short")))?;
    Ok((user + system) * TICK_MILLISECONDS)
}

/// Linux shows times to processes in hundredths of a second.
const TICK_MILLISECONDS: f64 = 10.0;

/// Blobs are served for half of the processor time.
const SERVING: Option<Budget> = Some(Budget::PartOfDockerd(2.0));

fn per_gigabyte(name: &str, budget: Option<Budget>, taken: &Taken, bytes: usize) -> [Row; 2] {
    let scaled = |series: &Series| Series(series.0.iter().map(|one| one * GIGABYTE / bytes as f64).collect());
    let row = |what: &str, budget, pick: fn(&(Series, Series)) -> &Series| Row {
        name: format!("{name}: {what}"),
        unit: "ms/GB",
        ours: scaled(pick(&taken[0])),
        dockerd: taken.get(1).map(|theirs| scaled(pick(theirs))),
        podman: None,
        floor: None,
        budget,
    };
    [row("wall", None, |taken| &taken.0), row("cpu", budget, |taken| &taken.1)]
}

/// The time from asking for a manifest by its tag to having it, one after the other.
fn manifests(all: &[Registry], rounds: usize, interrupts: &Interrupts) -> Result<Row> {
    let config = b"{}".as_slice();
    let manifest = oci::Manifest::new(Descriptor::of(media_type::OCI_CONFIG, config), Vec::new());
    let manifest = serde_json::to_vec(&manifest).expect("a manifest is always JSON");
    for registry in all {
        push(registry.address, config)?;
        let mut connection = Connection::open(registry.address)?;
        let content = format!("Content-Type: {}\r\n", media_type::OCI_MANIFEST);
        connection.ask("PUT", "/v2/bench/manifests/1", &content, &manifest)?;
    }
    let taken = alternate(all, rounds, interrupts, |registry, _| {
        let mut connection = Connection::open(registry.address)?;
        let accept = format!("Accept: {}\r\n", media_type::OCI_MANIFEST);
        (0..MANIFESTS)
            .try_for_each(|_| connection.ask("GET", "/v2/bench/manifests/1", &accept, b"").map(drop))
    })?;
    let each = |series: &Series| Series(series.0.iter().map(|wall| wall * 1e3 / MANIFESTS as f64).collect());
    let ours = each(&taken[0].0);
    let dockerd = taken.get(1).map(|theirs| each(&theirs.0));
    Ok(Row {
        name: "registry GET manifest: wall".into(),
        unit: "us",
        ours,
        dockerd,
        podman: None,
        floor: None,
        budget: None,
    })
}

/// After all that.
fn memory(all: &[Registry]) -> Result<Row> {
    let pss = |registry: &Registry| crate::memory::pss_of(registry.pid).map(|pss| Series(vec![pss]));
    let dockerd = all.get(1).map(pss).transpose()?;
    let name = "registry memory (PSS) after the runs".into();
    Ok(Row { name, unit: "KiB", ours: pss(&all[0])?, dockerd, podman: None, floor: None, budget: None })
}

/// Fetches a blob so many times over all connections.
fn fetch(address: SocketAddr, path: &str, size: usize, count: usize) -> Result<()> {
    std::thread::scope(|scope| {
        let fetching = |_| {
            scope.spawn(|| -> Result<()> {
                let mut connection = Connection::open(address)?;
                (0..count / CONNECTIONS).try_for_each(|_| connection.fetch(path, size))
            })
        };
        let all: Vec<_> = (0..CONNECTIONS).map(fetching).collect();
        all.into_iter().try_for_each(|one| one.join().map_err(|_| Error::internal("a client panicked"))?)
    })
}

fn push(address: SocketAddr, content: &[u8]) -> Result<()> {
    let mut connection = Connection::open(address)?;
    let place = connection.ask("POST", "/v2/bench/blobs/uploads/", "", b"")?;
    // With or without a host in front.
    let place = place.find("/v2/").map_or(place.as_str(), |at| &place[at..]);
    let join = if place.contains('?') { '&' } else { '?' };
    let path = format!("{place}{join}digest={}", Digest::sha256(content));
    connection.ask("PUT", &path, "Content-Type: application/octet-stream\r\n", content).map(drop)
}

struct Connection {
    stream: BufReader<TcpStream>,
    buffer: Vec<u8>,
}

impl Connection {
    fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).call(|| format!("connect {address}"))?;
        stream.set_nodelay(true).call(|| "TCP_NODELAY")?;
        Ok(Self { stream: BufReader::with_capacity(64 << 10, stream), buffer: vec![0; 256 << 10] })
    }

    fn fetch(&mut self, path: &str, size: usize) -> Result<()> {
        self.send("GET", path, "", b"")?;
        let (_, length) = self.head(path)?;
        if length != size {
            return Err(Error::internal(format!("{path} has {length} bytes, expected {size}")));
        }
        self.skip(length)
    }

    /// The `Location` of the answer, empty if there is none.
    fn ask(&mut self, method: &str, path: &str, headers: &str, body: &[u8]) -> Result<String> {
        self.send(method, path, headers, body)?;
        let (location, length) = self.head(path)?;
        self.skip(length)?;
        Ok(location)
    }

    fn send(&mut self, method: &str, path: &str, headers: &str, body: &[u8]) -> Result<()> {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: bench\r\nContent-Length: {}\r\n{headers}\r\n",
            body.len()
        );
        let stream = self.stream.get_mut();
        stream
            .write_all(head.as_bytes())
            .and_then(|()| stream.write_all(body))
            .call(|| format!("{method} {path}"))
    }

    fn head(&mut self, path: &str) -> Result<(String, usize)> {
        let status = self.line()?;
        if !status.starts_with("HTTP/1.1 2") {
            return Err(Error::internal(format!("{path}: {status}")));
        }
        let (mut location, mut length) = (String::new(), 0);
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(": ") else { return Ok((location, length)) };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse().unwrap_or(0),
                "location" => location = value.to_owned(),
                _ => {}
            }
        }
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line).call(|| "read the answer")?;
        Ok(line.trim_end().to_owned())
    }

    fn skip(&mut self, mut length: usize) -> Result<()> {
        while length > 0 {
            let share = length.min(self.buffer.len());
            let read = self.stream.read(&mut self.buffer[..share]).call(|| "read the answer")?;
            if read == 0 {
                return Err(Error::internal("the answer ends early"));
            }
            length -= read;
        }
        Ok(())
    }
}

/// Bytes that are the same for a seed and that nobody has sent before (xorshift64).
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed ^ 0x9e37_79b9_7f4a_7c15 ^ u64::from(std::process::id()) << 32;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
