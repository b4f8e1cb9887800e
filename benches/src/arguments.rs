//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use fault::{Error, Result};

/// What to measure, and with what.
#[derive(Debug)]
pub(crate) struct Arguments {
    /// The folder with kogge, kogged, kogge-runtime and bench-floor.
    pub(crate) programs: PathBuf,
    /// The stock client.
    pub(crate) client: Option<PathBuf>,
    /// The socket of the dockerd to compare with.
    pub(crate) peer: Option<PathBuf>,
    /// The registry to compare with.
    pub(crate) registry: Option<Registry>,
    /// The words that start podman.
    pub(crate) podman: Option<String>,
    /// The root file system whose import is measured.
    pub(crate) root: Option<PathBuf>,
    pub(crate) runs: usize,
    /// The size of the image that is pulled, pushed and loaded, not compressed.
    pub(crate) megabytes: u64,
    /// Empty: all.
    pub(crate) only: Vec<String>,
    pub(crate) json: Option<PathBuf>,
}

impl Arguments {
    pub(crate) fn from_command_line() -> Result<Self> {
        let mut arguments = Self {
            programs: PathBuf::new(),
            client: None,
            peer: None,
            registry: None,
            podman: None,
            root: None,
            runs: RUNS,
            megabytes: MEGABYTES,
            only: Vec::new(),
            json: None,
        };
        arguments.read(lexopt::Parser::from_env()).map_err(|error| Error::invalid(error.to_string()))?;
        Ok(arguments)
    }

    fn read(&mut self, mut parser: lexopt::Parser) -> Result<(), lexopt::Error> {
        use lexopt::{Arg::Long, ValueExt};
        while let Some(argument) = parser.next()? {
            match argument {
                Long("programs") => self.programs = parser.value()?.into(),
                Long("client") => self.client = Some(parser.value()?.into()),
                Long("peer-docker") => self.peer = Some(parser.value()?.parse_with(socket)?),
                Long("peer-registry") => self.registry = Some(parser.value()?.parse_with(registry)?),
                Long("podman") => self.podman = Some(parser.value()?.string()?),
                Long("root") => self.root = Some(parser.value()?.into()),
                Long("runs") => self.runs = parser.value()?.parse()?,
                Long("megabytes") => self.megabytes = parser.value()?.parse()?,
                Long("only") => self.only.push(parser.value()?.string()?),
                Long("json") => self.json = Some(parser.value()?.into()),
                other => return Err(other.unexpected()),
            }
        }
        Ok(())
    }

    pub(crate) fn wants(&self, group: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == group)
    }
}

/// A registry that is served by a process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Registry {
    pub(crate) address: SocketAddr,
    pub(crate) pid: u32,
}

const RUNS: usize = 30;
/// Half a gigabyte and a little.
const MEGABYTES: u64 = 504;

fn socket(host: &str) -> Result<PathBuf, String> {
    let path = host.strip_prefix("unix://").ok_or_else(|| format!("{host}: only unix:// is measured"))?;
    Ok(path.into())
}

fn registry(text: &str) -> Result<Registry, String> {
    let parts =
        text.split_once('@').and_then(|(address, pid)| Some((address.parse().ok()?, pid.parse().ok()?)));
    let (address, pid) = parts.ok_or_else(|| format!("{text} is not of the form ADDRESS:PORT@PID"))?;
    Ok(Registry { address, pid })
}
