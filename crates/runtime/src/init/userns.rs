//! User namespaces as what they are to a start: maps of ids, read from one that others live in, or put into one that
//! nobody lives in.

use std::io::{Read, Write};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use fault::{Call, Doing, Error, Result};
use oci::runtime::IdMapping;
use sys::namespace::{self, Kinds};
use sys::process::{CloneArgs, Fork, PidFd};
use sys::signal::SIGKILL;

/// What ids inside are outside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct IdMaps {
    pub(super) uids: Vec<IdMapping>,
    pub(super) gids: Vec<IdMapping>,
}

impl IdMaps {
    /// Of a namespace that exists, as seen from ours.
    pub(super) fn of(namespace: BorrowedFd<'_>) -> Result<Self> {
        let resident = Resident::start(Kinds::NONE, || namespace::setns(namespace, Kinds::USER))?;
        let read = |file| Ok(parse(&sys::fs::read_to_string(format!("/proc/{}/{file}", resident.pid))?));
        Ok(Self { uids: read("uid_map")?, gids: read("gid_map")? })
    }

    /// A new namespace with these maps, for idmapped mounts.
    pub(super) fn namespace(&self) -> Result<OwnedFd> {
        let resident = Resident::start(Kinds::USER, || Ok(()))?;
        self.write(resident.pid).doing(|| "mapping the ids of a mount")?;
        namespace::open(&resident.pid.to_string(), Kinds::USER)
    }

    /// Gives them to the new namespace of process `pid`. user_namespaces(7): all lines in one write.
    pub(super) fn write(&self, pid: i32) -> Result<()> {
        for (file, maps) in [("gid_map", &self.gids), ("uid_map", &self.uids)] {
            sys::fs::write(format!("/proc/{pid}/{file}"), lines(maps))?;
        }
        Ok(())
    }
}

fn lines(maps: &[IdMapping]) -> String {
    maps.iter().map(|map| format!("{} {} {}\n", map.container_id, map.host_id, map.size)).collect()
}

fn parse(text: &str) -> Vec<IdMapping> {
    let line = |line: &str| {
        let mut numbers = line.split_ascii_whitespace().map_while(|word| word.parse().ok());
        Some(IdMapping { container_id: numbers.next()?, host_id: numbers.next()?, size: numbers.next()? })
    };
    text.lines().filter_map(line).collect()
}

/// What an id inside is outside; without maps the same.
pub(super) fn host_id(maps: &[IdMapping], inside: u32) -> u32 {
    let offset = |map: &IdMapping| inside.checked_sub(map.container_id).filter(|offset| *offset < map.size);
    let outside = maps.iter().find_map(|map| Some(map.host_id.wrapping_add(offset(map)?)));
    outside.unwrap_or(inside)
}

/// A process that does nothing but keep a namespace alive, as long as this value lives.
struct Resident {
    pid: i32,
    pidfd: PidFd,
    /// The process ends with the other end of this.
    _leash: UnixStream,
}

impl Resident {
    fn start(new: Kinds, enter: impl FnOnce() -> Result<()>) -> Result<Self> {
        let (mut ours, mut theirs) = UnixStream::pair().call(|| "socketpair")?;
        match sys::process::clone3(&CloneArgs { namespaces: new, ..CloneArgs::default() })? {
            Fork::Child => {
                drop(ours);
                if enter().is_ok() && theirs.write_all(b"E").is_ok() {
                    theirs.read_exact(&mut [0]).ok();
                }
                sys::process::exit_now(0)
            }
            Fork::Parent { pid, pidfd } => {
                drop(theirs);
                let entered = ours.read(&mut [0]).call(|| "waiting for a process in a user namespace");
                let resident = Self { pid, pidfd, _leash: ours };
                match entered? {
                    0 => Err(Error::invalid("the user namespace cannot be joined")),
                    _ => Ok(resident),
                }
            }
        }
    }
}

impl Drop for Resident {
    fn drop(&mut self) {
        self.pidfd.send_signal(SIGKILL).ok();
        self.pidfd.wait().ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_inside_are_found_outside() {
        let maps = parse("         0     100000      10\n        10        500          1\nbroken\n");
        assert_eq!(maps.len(), 2);
        assert_eq!([0, 9, 10, 11].map(|id| host_id(&maps, id)), [100_000, 100_009, 500, 11]);
        assert_eq!(lines(&maps), "0 100000 10\n10 500 1\n");
    }
}
