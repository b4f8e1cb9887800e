//! Volumes that are file systems of their own: the local driver's `type`, `device` and `o`.
//!
//! ```text
//! nobody --enter: mount(2) at _data--> used by one --enter--> by several --leave--> ... --leave: umount2(2)--> nobody
//! ```
//!
//! The only mounts that the engine attaches in the host's tree: several containers share one file system, which must
//! outlive the daemon and be found again by the next one. Users are kept in memory only; who uses what is known from
//! the containers that run ([`super::Volumes::converge`]).

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, ToSocketAddrs};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fault::{Error, Result};
use sys::mount::Words;

use crate::container::parse_size;

/// Who uses each of the volumes that have a device. A device that does not answer keeps only its own users waiting.
#[derive(Debug, Default)]
pub(super) struct Uses(Mutex<BTreeMap<String, Arc<Mutex<BTreeSet<String>>>>>);

impl Uses {
    pub(super) fn of(&self, volume: &str) -> Arc<Mutex<BTreeSet<String>>> {
        lock(&self.0).entry(volume.to_owned()).or_default().clone()
    }

    /// Of a volume that has been used.
    pub(super) fn known(&self, volume: &str) -> Option<Arc<Mutex<BTreeSet<String>>>> {
        lock(&self.0).get(volume).cloned()
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Refuses what the driver does not know, and what is incomplete.
pub(super) fn check(options: &BTreeMap<String, String>) -> Result<()> {
    if let Some(unknown) = options.keys().find(|key| !KNOWN.contains(&key.as_str())) {
        return Err(Error::invalid(format!("invalid option: {unknown:?}")));
    }
    for (given, needed) in NEEDED {
        if options.contains_key(*given) && !options.contains_key(*needed) {
            return Err(Error::invalid(format!("missing required option: {needed:?}")));
        }
    }
    if let Some((_, Some(_))) = cifs_server(options).map(split_port) {
        return Err(Error::invalid("port not allowed in CIFS device URL, include 'port' in 'o='"));
    }
    match options.get("size").map(String::as_str) {
        None | Some("0") => Ok(()),
        Some(size) => {
            parse_size(size)?;
            Err(Error::invalid("quota size requested but no quota support"))
        }
    }
}

/// Who serves a share that is named `//server/share`.
fn cifs_server(options: &BTreeMap<String, String>) -> Option<&str> {
    let is_cifs = options.get("type").is_some_and(|kind| kind == "cifs");
    server_of(options.get("device").filter(|_| is_cifs)?)
}

fn server_of(device: &str) -> Option<&str> {
    let server = device.strip_prefix("//")?.split('/').next()?;
    server.rsplit('@').next().filter(|server| !server.is_empty())
}

fn split_port(server: &str) -> (&str, Option<&str>) {
    match server.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => {
            (host, Some(port))
        }
        _ => (server, None),
    }
}

const KNOWN: &[&str] = &["type", "o", "device", "size"];

const NEEDED: &[(&str, &str)] = &[("device", "type"), ("type", "device"), ("o", "device"), ("o", "type")];

/// What to mount.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Device {
    source: String,
    kind: String,
    options: String,
}

impl Device {
    /// `None`: a mere folder.
    pub(super) fn of(options: &BTreeMap<String, String>) -> Option<Self> {
        let word = |key: &str| options.get(key).cloned().unwrap_or_default();
        let device = Self { source: word("device"), kind: word("type"), options: word("o") };
        (!device.source.is_empty() || !device.kind.is_empty()).then_some(device)
    }

    /// Blocks as long as the device does.
    pub(super) fn mount(&self, data: &Path) -> Result<()> {
        let failed =
            |why: String| Error::internal(format!("error while mounting volume '{}': {why}", data.display()));
        if self.source.is_empty() {
            return Err(failed("missing device in volume options".into()));
        }
        let resolved = self.resolved().map_err(|error| failed(error.to_string()))?;
        let words = Words::parse(&resolved.options);
        words.mount(&resolved.source, data, &self.kind).map_err(|error| {
            let reason = error.errno().map(std::io::Error::from_raw_os_error);
            let reason = reason.map_or_else(|| error.to_string(), |reason| reason.to_string());
            let reason = reason.split(" (os error").next().unwrap_or_default().to_lowercase();
            failed(format!("failed to mount local volume: {}: {reason}", resolved.line(data, &words)))
        })
    }

    /// With the address of a network file system's server, of whom the kernel does not know the name.
    fn resolved(&self) -> Result<Self> {
        let (mut source, mut options) = (self.source.clone(), self.options.clone());
        match self.server() {
            Some(Server::Option(name)) => {
                options = options.replacen(&format!("addr={name}"), &format!("addr={}", resolve(name)?), 1);
            }
            Some(Server::Source(name)) => source = source.replacen(name, &resolve(name)?.to_string(), 1),
            None => {}
        }
        Ok(Self { source, kind: self.kind.clone(), options })
    }

    /// The name that is to be looked up; an address needs none. An option goes before what the device says.
    fn server(&self) -> Option<Server<'_>> {
        if !matches!(self.kind.as_str(), "nfs" | "cifs") {
            return None;
        }
        let is_name = |name: &&str| !name.is_empty() && name.parse::<IpAddr>().is_err();
        match self.options.split(',').find_map(|option| option.strip_prefix("addr=")).filter(is_name) {
            Some(name) => Some(Server::Option(name)),
            None if self.kind == "cifs" => server_of(&self.source).filter(is_name).map(Server::Source),
            None => None,
        }
    }

    /// As dockerd tells of it, secrets left out.
    fn line(&self, data: &Path, words: &Words) -> String {
        let mut line = format!("mount {}:{}", self.source, data.display());
        if words.flags != 0 {
            line += &format!(", flags: {:#x}", words.flags);
        }
        if !words.data.is_empty() {
            let shown = words.data.split(',').map(|option| match option.split_once('=') {
                Some(("password", _)) => "password=********",
                _ => option,
            });
            line += &format!(", data: {}", shown.collect::<Vec<_>>().join(","));
        }
        line
    }
}

/// Where the name of a server stands.
#[derive(Debug, PartialEq, Eq)]
enum Server<'a> {
    Option(&'a str),
    Source(&'a str),
}

fn resolve(name: &str) -> Result<IpAddr> {
    let failed =
        |why: String| Error::internal(format!("error resolving passed in network volume address: {why}"));
    let mut found = (name, 0).to_socket_addrs().map_err(|error| failed(format!("lookup {name}: {error}")))?;
    found.next().map(|address| address.ip()).ok_or_else(|| failed(format!("lookup {name}: no such host")))
}

/// Takes away what is mounted at a folder, however often; a folder that is not there is fine.
pub(super) fn unmount(data: &Path) -> Result<()> {
    while sys::fs::exists(data)? && is_mounted(data)? {
        sys::mount::detach(data)?;
    }
    Ok(())
}

/// Whether something is mounted at exactly this folder, as this thread sees it.
pub(super) fn is_mounted(data: &Path) -> Result<bool> {
    let data = sys::fs::canonicalize(data)?;
    Ok(sys::mount::mountinfo("thread-self")?.iter().any(|mount| mount.target == data))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(text: &str) -> BTreeMap<String, String> {
        let pairs = text.split(' ').filter_map(|pair| pair.split_once('='));
        pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn options_are_refused_in_docker_s_words() {
        let refused =
            |text: &str| check(&options(text)).map_or_else(|error| error.to_string(), |()| String::new());
        assert_eq!(refused("foo=bar"), "invalid option: \"foo\"");
        assert_eq!(refused("type=tmpfs"), "missing required option: \"device\"");
        assert_eq!(refused("device=/x"), "missing required option: \"type\"");
        assert_eq!(refused("o=bind"), "missing required option: \"device\"");
        assert_eq!(refused("size=10m"), "quota size requested but no quota support");
        assert_eq!(refused("size=much"), "invalid size: 'much'");
        assert_eq!(refused("size=0"), "");
        assert_eq!(
            refused("type=cifs device=//files:445/x"),
            "port not allowed in CIFS device URL, include 'port' in 'o='"
        );
        assert_eq!(refused("type=cifs device=//files/x o=port=445"), "");
        assert_eq!(refused("type=none device=/x o=bind"), "");
        assert_eq!(refused(""), "");
    }

    #[test]
    fn a_failure_tells_what_was_mounted_but_no_secret() {
        let told = |text: &str| {
            let device = Device::of(&options(text)).unwrap();
            device.mount(Path::new("/dev/null/x")).unwrap_err().to_string()
        };
        assert_eq!(
            told("type=none device=/nope o=ro,bind"),
            "error while mounting volume '/dev/null/x': failed to mount local volume: \
             mount /nope:/dev/null/x, flags: 0x1001: not a directory"
        );
        assert_eq!(
            told("type=tmpfs device="),
            "error while mounting volume '/dev/null/x': missing device in volume options"
        );
        assert_eq!(
            told("type=nfs device=:/x o=addr=127.0.0.1,rw,password=secret"),
            "error while mounting volume '/dev/null/x': failed to mount local volume: \
             mount :/x:/dev/null/x, data: addr=127.0.0.1,password=********: not a directory"
        );
    }

    #[test]
    fn only_names_of_servers_are_looked_up() {
        let check = |text: &str, expected: Option<Server<'_>>| {
            assert_eq!(Device::of(&options(text)).unwrap().server(), expected, "{text}");
        };
        check("type=nfs device=:/x o=rw,addr=files", Some(Server::Option("files")));
        check("type=nfs device=:/x o=addr=10.0.0.1", None);
        check("type=nfs4 device=:/x o=addr=files", None);
        check("type=cifs device=//files/x o=user=me", Some(Server::Source("files")));
        check("type=cifs device=//files/x o=addr=other", Some(Server::Option("other")));
        check("type=cifs device=//10.0.0.1/x", None);
    }
}
