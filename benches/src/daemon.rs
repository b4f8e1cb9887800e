//! Our daemon, in a cgroup that counts its processor time.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use fault::{Call, Doing, Error, Result};
use sys::process::{PidFd, Program};
use sys::signal::SIGTERM;

use crate::cgroup::Meter;
use crate::engine::Engine;

/// Running; dropped, it is gone with its containers and its bridge.
#[derive(Debug)]
pub(crate) struct Daemon {
    program: PathBuf,
    places: Places,
    /// `None` between two.
    process: Option<PidFd>,
}

/// Where it has what.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    pub(crate) data: PathBuf,
    pub(crate) run: PathBuf,
    pub(crate) bridge: &'static str,
    pub(crate) cgroup_parent: String,
}

impl Places {
    fn socket(&self) -> PathBuf {
        self.run.join("kogge.sock")
    }

    fn log(&self) -> PathBuf {
        self.run.join("kogged.log")
    }

    fn flags(&self) -> Vec<OsString> {
        let socket = format!("unix://{}", self.socket().display());
        let values: [(&str, &OsStr); 6] = [
            ("--host", socket.as_ref()),
            ("--data-root", self.data.as_ref()),
            ("--exec-root", self.run.as_ref()),
            ("--pidfile", &self.run.join("kogged.pid").into_os_string()),
            ("--bridge", self.bridge.as_ref()),
            ("--cgroup-parent", self.cgroup_parent.as_ref()),
        ];
        values.into_iter().flat_map(|(flag, value)| [flag.into(), value.to_owned()]).collect()
    }
}

impl Daemon {
    pub(crate) fn start(programs: &Path, places: Places, meter: &Meter) -> Result<(Self, Engine)> {
        sys::fs::create_dir_all(&places.run, 0o700)?;
        let mut daemon = Self { program: programs.join("kogged"), places, process: None };
        let engine = daemon.begin(meter)?;
        Ok((daemon, engine))
    }

    /// A fresh process, containers and images as they were.
    pub(crate) fn restart(&mut self, meter: &Meter) -> Result<Engine> {
        if let Some(process) = self.process.take() {
            process.send_signal(SIGTERM)?;
            process.wait()?;
        }
        self.begin(meter)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.places.socket()
    }

    fn begin(&mut self, meter: &Meter) -> Result<Engine> {
        let log = self.places.log();
        let log = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .call(|| format!("open {}", log.display()))?;
        let null = File::options().read(true).open("/dev/null").call(|| "open /dev/null")?;
        let stdio = [(null.as_fd(), 0), (log.as_fd(), 1), (log.as_fd(), 2)];
        self.process = Some(spawn_in(meter, &self.program, &self.places.flags(), &stdio)?);
        self.wait_until_it_answers()
    }

    fn wait_until_it_answers(&self) -> Result<Engine> {
        let end = Instant::now() + PATIENCE;
        loop {
            match Engine::connect(&self.places.socket()) {
                Err(error) if Instant::now() > end || self.has_ended()? => {
                    let log = sys::fs::read_to_string(self.places.log())?;
                    return Err(error).doing(|| format!("kogged does not answer; its log:\n{log}"));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
                answered => return answered,
            }
        }
    }

    fn has_ended(&self) -> Result<bool> {
        self.process.as_ref().map_or(Ok(true), PidFd::has_ended)
    }

    fn take_away(&mut self) -> Result<()> {
        let output = Command::new(&self.program).arg("teardown").args(self.places.flags()).output();
        let output = output.call(|| "starting kogged teardown")?;
        if !output.status.success() {
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(Error::internal(format!("kogged teardown: {}: {told}", output.status)));
        }
        self.process.take().map_or(Ok(()), |process| process.wait().map(drop))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Err(error) = self.take_away() {
            eprintln!("bench: {error}");
        }
    }
}

/// How long it may take to open its socket.
const PATIENCE: Duration = Duration::from_secs(10);

/// Starts a program that is counted from its first instruction on: a shell walks into the cgroup and becomes it.
pub(crate) fn spawn_in(
    meter: &Meter,
    program: &Path,
    arguments: &[OsString],
    fds: &[(BorrowedFd<'_>, i32)],
) -> Result<PidFd> {
    let door = meter.door();
    let walk_in = ["sh", "-c", "echo $$ >\"$0\" && exec \"$@\""];
    let mut args: Vec<&OsStr> = walk_in.map(OsStr::new).to_vec();
    args.extend([door.as_os_str(), program.as_os_str()]);
    args.extend(arguments.iter().map(OsString::as_os_str));
    let path = OsString::from(format!("PATH={}", std::env::var("PATH").unwrap_or_default()));
    let command = sys::process::Command {
        program: Program::Path(Path::new("/bin/sh")),
        args: &args,
        env: &[&path],
        fds,
        session: true,
    };
    sys::process::spawn(&command).doing(|| format!("starting {}", program.display()))
}
