//! Our end of the floor program.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::path::Path;

use fault::{Call, Error, Result};
use sys::fs;
use sys::process::PidFd;

use crate::cgroup::Meter;
use crate::daemon;

/// Running; dropped, it is gone.
#[derive(Debug)]
pub(crate) struct Floor {
    process: PidFd,
    /// `None` once it was told to end.
    orders: Option<std::io::PipeWriter>,
    answers: BufReader<std::io::PipeReader>,
}

impl Floor {
    /// With the same root as our engine's image, in a folder of the same disk.
    pub(crate) fn start(
        programs: &Path,
        folder: &Path,
        root: &[u8],
        meter: &Meter,
        cgroup: &str,
    ) -> Result<Self> {
        lay_out(folder, root)?;
        let (orders_far, orders) = std::io::pipe().call(|| "pipe")?;
        let (answers, answers_far) = std::io::pipe().call(|| "pipe")?;
        let stderr = std::io::stderr();
        let stdio = [(orders_far.as_fd(), 0), (answers_far.as_fd(), 1), (stderr.as_fd(), 2)];
        let arguments = [folder.as_os_str(), cgroup.as_ref(), BRIDGE.as_ref()].map(ToOwned::to_owned);
        let process = daemon::spawn_in(meter, &programs.join("bench-floor"), &arguments, &stdio)?;
        Ok(Self { process, orders: Some(orders), answers: BufReader::new(answers) })
    }

    /// One container; returns when it has ended.
    pub(crate) fn run(&mut self, network: &str) -> Result<()> {
        let Some(orders) = &mut self.orders else { return Err(Error::internal("the floor was told to end")) };
        orders.write_all(format!("{network}\n").as_bytes()).call(|| "write to bench-floor")?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer).call(|| "read from bench-floor")?;
        if answer == "ok\n" { Ok(()) } else { Err(Error::internal("bench-floor has ended")) }
    }
}

const BRIDGE: &str = "kgfloor0";

/// What the floor's overlay lies on, and the files that it binds.
fn lay_out(folder: &Path, root: &[u8]) -> Result<()> {
    let image = folder.join("image");
    fs::create_dir_all(&image, 0o755)?;
    fixtures::image::unpack(root, &image).call(|| format!("unpack into {}", image.display()))?;
    for etc in ["bottom/etc", "etc"].map(|etc| folder.join(etc)) {
        fs::create_dir_all(&etc, 0o755)?;
        for name in ["hosts", "hostname", "resolv.conf"] {
            File::create(etc.join(name)).call(|| format!("create {name}"))?;
        }
    }
    Ok(())
}

impl Drop for Floor {
    fn drop(&mut self) {
        drop(self.orders.take());
        if let Err(error) = self.process.wait() {
            eprintln!("bench: {error}");
        }
    }
}
