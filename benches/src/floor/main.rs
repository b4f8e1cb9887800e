//! The floor: what the kernel itself needs to start a container and to take it away, as one dense sequence of calls.
//!
//! ```text
//! bench --"none" or "bridge", a line a run--> floor --"ok"--> bench     the overlay and the tree go after the answer
//! ```
//!
//! It does for one fixed program what an engine does by default: an overlay on two layers, all namespaces in one clone3,
//! the cgroup of every hierarchy, the default mounts, read-only and masked paths, capabilities, the system call filter,
//! and for "bridge" a veth that is born in the namespace. It keeps no record, no log and no standard streams, and checks
//! nothing. An engine's processor time is divided by this program's.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "its answers")]

mod cgroups;
mod child;
mod endpoint;
mod rights;

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use fault::{Call, Error, Result};
use sys::fs;
use sys::mount::{self, Overlay};
use sys::namespace::Kinds;
use sys::process::{CloneArgs, Fork};

use cgroups::{Cgroups, Joined};
use child::Child;
use endpoint::{Bridge, Endpoint};
use rights::Rights;

fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-floor: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Answers until standard input ends. Arguments: the folder with `image` and `etc`, the parent cgroup, the bridge.
fn serve() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, cgroup, bridge] = arguments.as_slice() else {
        return Err(Error::invalid("usage: bench-floor FOLDER CGROUP BRIDGE"));
    };
    sys::identity::set_umask(0);
    let floor = Floor {
        folder: folder.into(),
        cgroups: Cgroups::under(Path::new(cgroup))?,
        bridge: Bridge::create(bridge)?,
        rights: Rights::of_docker()?,
    };
    let served = std::io::stdin().lines().try_for_each(|line| {
        let line = line.call(|| "read standard input")?;
        let used = floor.run(line == "bridge")?;
        println!("ok");
        std::io::stdout().flush().call(|| "write standard output")?;
        floor.let_go(used)
    });
    floor.bridge.delete().and(served)
}

struct Floor {
    folder: PathBuf,
    cgroups: Cgroups,
    bridge: Bridge,
    rights: Rights,
}

/// What outlives a container, because its end is slow and nobody waits for it.
struct Used {
    _root: OwnedFd,
    _endpoint: Option<Endpoint>,
}

impl Floor {
    /// From nothing to the program's end.
    fn run(&self, bridged: bool) -> Result<Used> {
        let root = self.mount_root()?;
        let cgroup = self.cgroups.create()?;
        let endpoint = bridged.then(|| self.bridge.connect()).transpose()?;
        let result = self.start_and_wait(&root, &cgroup, endpoint.as_ref());
        cgroup.remove()?;
        result?;
        Ok(Used { _root: root, _endpoint: endpoint })
    }

    fn mount_root(&self) -> Result<OwnedFd> {
        let (upper, work) = (self.folder.join("upper"), self.folder.join("work"));
        fs::create_dir(&upper, 0o755)?;
        fs::create_dir(&work, 0o700)?;
        let lower = [self.folder.join("image"), self.folder.join("bottom")];
        let lower = [lower[0].as_path(), lower[1].as_path()];
        mount::overlay(&Overlay {
            lower: &lower,
            upper: Some(&upper),
            work: Some(&work),
            ..Overlay::default()
        })
    }

    fn start_and_wait(&self, root: &OwnedFd, cgroup: &Joined, endpoint: Option<&Endpoint>) -> Result<()> {
        let birthplace = cgroup.birthplace()?;
        let netns = if endpoint.is_some() { Kinds::NONE } else { Kinds::NET };
        let args = CloneArgs {
            namespaces: Kinds::PID | Kinds::MOUNT | Kinds::IPC | Kinds::UTS | netns,
            cgroup: birthplace.as_ref().map(AsFd::as_fd),
            sibling: false,
        };
        match sys::process::clone3(&args)? {
            Fork::Parent { pidfd, .. } => match pidfd.wait()?.code {
                0 => Ok(()),
                code => Err(Error::internal(format!("the container ended with {code}"))),
            },
            Fork::Child => {
                let netns = endpoint.map(|endpoint| endpoint.netns.as_fd());
                let etc = &self.folder.join("etc");
                let child = Child { root: root.as_fd(), etc, cgroup, netns, rights: &self.rights };
                let Err(error) = child::execute(&child);
                eprintln!("bench-floor: child: {error}");
                sys::process::exit_now(1)
            }
        }
    }

    /// The rest of the work, which still counts as processor time.
    fn let_go(&self, used: Used) -> Result<()> {
        drop(used);
        fs::remove_tree(self.folder.join("upper"))?;
        fs::remove_tree(self.folder.join("work"))
    }
}
