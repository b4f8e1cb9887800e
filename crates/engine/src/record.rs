//! A container's record: everything that is known of it, as it lies on disk.
//!
//! One versioned file of JSON lines, of which the last whole one counts: a change is a line more, so that it waits for the
//! disk once (decision 0009). Create, exit, rename and removal are durable before they are answered; that it runs is
//! not, and nothing of an auto-removed container is.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use api::container::Config;
use api::host_config::HostConfig;
use api::network::EndpointSettings;
use fault::{Call as _, Doing, Error, Kind, Result};
use serde::{Deserialize, Serialize};
use sys::fs::{Access, OpenHow};

use crate::ContainerId;
use crate::restart::Ended;
use crate::state::Status;

/// The version that is written; older ones are read.
const VERSION: u32 = 1;

/// A container: what was asked for, what was resolved at its creation, and its state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub version: u32,
    pub id: ContainerId,
    /// Without the slash in front.
    pub name: String,
    /// RFC 3339 with nanoseconds.
    pub created: String,
    /// `sha256:…`
    pub image_id: String,
    /// Merged with the image's.
    pub config: Config,
    /// Filled up with the defaults.
    pub host_config: HostConfig,
    /// What was asked for, by network.
    pub endpoints: BTreeMap<String, EndpointSettings>,
    pub mounts: Vec<Mount>,
    pub state: State,
    #[serde(default)]
    pub restart_count: i64,
    /// A user stopped it, so `unless-stopped` keeps it stopped.
    #[serde(default)]
    pub manually_stopped: bool,
}

/// What changes while a container lives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    pub status: Status,
    /// 0 unless there is a process.
    pub pid: i32,
    /// With the boot id it tells a pid from its reuse (field 22 of `/proc/PID/stat`).
    pub start_time: u64,
    pub boot_id: String,
    pub exit_code: i32,
    pub error: String,
    pub oom_killed: bool,
    /// Counts the runs; see [`Record::intend_run`].
    pub run: u64,
    /// Of the last run; the daemon may have had another parent for it than it has now.
    pub cgroup: PathBuf,
    /// RFC 3339; [`NEVER`] if it never was.
    pub started_at: String,
    pub finished_at: String,
}

impl Default for State {
    fn default() -> Self {
        Self {
            status: Status::Created,
            pid: 0,
            start_time: 0,
            boot_id: String::new(),
            exit_code: 0,
            error: String::new(),
            oom_killed: false,
            run: 0,
            cgroup: PathBuf::new(),
            started_at: NEVER.into(),
            finished_at: NEVER.into(),
        }
    }
}

/// Go's zero time.
pub(crate) const NEVER: &str = "0001-01-01T00:00:00Z";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MountKind {
    #[default]
    Bind,
    Volume,
    Tmpfs,
}

impl MountKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bind => "bind",
            Self::Volume => "volume",
            Self::Tmpfs => "tmpfs",
        }
    }
}

/// One mount beyond the default ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Mount {
    pub kind: MountKind,
    /// The volume's name.
    pub name: String,
    /// On the host; empty for a tmpfs.
    pub source: PathBuf,
    pub destination: PathBuf,
    /// As inspect shows it.
    pub mode: String,
    pub read_only: bool,
    /// Of a read-only bind: what is mounted beneath it stays as it is.
    pub writable_beneath: bool,
    pub propagation: String,
    pub non_recursive: bool,
    /// An anonymous volume, removed with its container on `rm -v` and `--rm`.
    pub anonymous: bool,
    /// Fill the empty volume with what the image has at the destination.
    pub copy: bool,
    /// A folder inside the volume.
    pub subpath: String,
    /// Options of a tmpfs.
    pub options: Vec<String>,
    /// It came by `--mount`; these are not shown in `Binds`.
    pub from_mounts: bool,
    /// Make the missing source of a bind.
    pub create_source: bool,
}

impl Record {
    pub(crate) fn new(id: ContainerId, name: String, created: String) -> Self {
        Self {
            version: VERSION,
            id,
            name,
            created,
            image_id: String::new(),
            config: Config::default(),
            host_config: HostConfig::default(),
            endpoints: BTreeMap::new(),
            mounts: Vec::new(),
            state: State::default(),
            restart_count: 0,
            manually_stopped: false,
        }
    }

    /// Nothing of it needs to survive a power loss.
    pub(crate) fn is_volatile(&self) -> bool {
        self.host_config.auto_remove
    }

    /// The program and its arguments, entrypoint first.
    pub fn command(&self) -> impl Iterator<Item = &String> {
        self.config.entrypoint.iter().flatten().chain(self.config.cmd.iter().flatten())
    }

    pub(crate) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a record has string keys only")
    }

    /// Puts the record on disk, durably unless it is volatile.
    pub(crate) fn save(&self, folder: &Path) -> Result<()> {
        let path = folder.join(FILE);
        match self.is_volatile() {
            true => sys::fs::write_swapped(path, self.to_json(), 0o600),
            false => append(&path, &self.to_json()),
        }
    }

    /// The cgroup of the container's last run, as the specification has it: below the mounts of all hierarchies.
    pub fn cgroup(&self, config: &crate::Config) -> PathBuf {
        match self.state.cgroup.as_os_str().is_empty() {
            true => self.next_cgroup(config),
            false => self.state.cgroup.clone(),
        }
    }

    /// Where its next run will be.
    pub(crate) fn next_cgroup(&self, config: &crate::Config) -> PathBuf {
        let parent = match self.host_config.resources.cgroup_parent.as_str() {
            "" => config.cgroup_parent.as_str(),
            parent => parent,
        };
        Path::new("/").join(parent).join(self.id.as_str())
    }

    /// Notes that the next run begins, beside the record: the record itself is durable and is not touched for what
    /// need not be. It counts until a record of that run is saved.
    pub(crate) fn intend_run(&self, folder: &Path, boot_id: &str, cgroup: PathBuf) -> Result<()> {
        let run = Run {
            cgroup,
            run: self.state.run + 1,
            boot_id: boot_id.to_owned(),
            began_at: sys::time::now_rfc3339_nano(),
            restart_count: self.restart_count,
            manually_stopped: self.manually_stopped,
        };
        let json = serde_json::to_vec(&run).expect("a run has string keys only");
        sys::fs::write_swapped(folder.join(RUN), json, 0o600)
    }

    /// The run that was noted, if the record does not know of it.
    pub(crate) fn unknown_run(&self, folder: &Path) -> Result<Option<Run>> {
        let noted = sys::fs::read_to_string_if_exists(folder.join(RUN))?;
        let noted: Option<Run> = noted.and_then(|json| serde_json::from_str(&json).ok());
        Ok(noted.filter(|noted| noted.run > self.state.run))
    }

    /// How a run ended, as the restart policy asks it.
    pub(crate) fn ended(&self, exit_code: i32) -> Ended {
        Ended { exit_code, manually_stopped: self.manually_stopped, restart_count: self.restart_count }
    }

    /// That run was not only intended.
    pub(crate) fn has_begun(&mut self, run: Run) {
        self.restart_count = run.restart_count;
        self.manually_stopped = run.manually_stopped;
        let state = &mut self.state;
        state.run = run.run;
        state.boot_id = run.boot_id;
        state.cgroup = run.cgroup;
        state.started_at = run.began_at;
        state.exit_code = 0;
        state.error.clear();
        state.oom_killed = false;
    }

    /// Reads a record; `file` is [`FILE`] or [`CREATING`].
    pub(crate) fn load(folder: &Path, file: &str) -> Result<Self> {
        let path = folder.join(file);
        let bytes = sys::fs::read(&path)?;
        Self::last_whole(&bytes).doing(|| format!("record {}", path.display()))
    }

    /// Of all lines; one that a crash tore, or a full disk, was told to nobody. Who edits a record may break its line.
    fn last_whole(bytes: &[u8]) -> Result<Self> {
        let is_settled =
            |found: &Result<Self>| found.as_ref().err().is_none_or(|error| error.kind() == Kind::Unsupported);
        let whole = Self::parse(bytes);
        if is_settled(&whole) {
            return whole;
        }
        let mut lines = bytes.rsplit(|byte| *byte == b'\n').map(Self::parse);
        lines.find(is_settled).unwrap_or(whole)
    }

    fn parse(json: &[u8]) -> Result<Self> {
        let parsed = serde_json::from_slice(json);
        let version = match &parsed {
            Ok(Self { version, .. }) => Some(*version),
            // A newer program's record need not look like ours.
            Err(_) => serde_json::from_slice(json).ok().map(|Versioned { version }| version),
        };
        if let Some(version) = version
            && version > VERSION
        {
            return Err(Error::unsupported(format!("version {version}, newer than this program")));
        }
        parsed.map_err(|error| Error::internal("not readable").with_source(error))
    }
}

/// Adds a line with one sync: the content of a file that is replaced, and its name, are two commits of a journal. The line
/// begins with its break, and so ends one that was cut short.
fn append(path: &Path, json: &[u8]) -> Result<()> {
    let mut file = match sys::fs::open(path, &APPEND) {
        Err(error) if error.kind() == Kind::NotFound => {
            return sys::fs::write_atomic_mode(path, json, 0o600);
        }
        opened => opened?,
    };
    if sys::fs::fstat(&file)?.size > FILE_BYTES_MAX {
        return sys::fs::write_atomic_mode(path, json, 0o600);
    }
    file.write_all(&[b"\n", json].concat()).call(|| format!("write {}", path.display()))?;
    sys::fs::fsync(&file)
}

const APPEND: OpenHow = OpenHow { access: Access::Write, append: true, ..OpenHow::READ };

/// Some ten lines; then the last one replaces them all.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// What all versions of a record have.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// A run that began, or was about to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Run {
    pub(crate) run: u64,
    pub(crate) boot_id: String,
    pub(crate) cgroup: PathBuf,
    /// RFC 3339
    pub(crate) began_at: String,
    /// As the record's were when it began.
    pub(crate) restart_count: i64,
    pub(crate) manually_stopped: bool,
}

impl Run {
    /// Where its processes are; an earlier version did not note it.
    pub(crate) fn cgroup(&self, record: &Record, config: &crate::Config) -> PathBuf {
        match self.cgroup.as_os_str().is_empty() {
            true => record.next_cgroup(config),
            false => self.cgroup.clone(),
        }
    }
}

pub(crate) const FILE: &str = "record.json";
pub(crate) const CREATING: &str = "creating.json";
const RUN: &str = "run.json";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut record = Record::new(ContainerId::random().unwrap(), "x".into(), NEVER.into());
        record.host_config.masked_paths = Some(Vec::new());
        record.mounts.push(Mount { destination: "/data".into(), ..Mount::default() });
        for volatile in [false, true] {
            record.host_config.auto_remove = volatile;
            record.save(folder.path()).unwrap();
            assert_eq!(Record::load(folder.path(), FILE).unwrap(), record);
        }
    }

    #[test]
    fn a_run_is_noted_until_its_record_is_saved() {
        let folder = tempfile::tempdir().unwrap();
        let mut record = Record { restart_count: 2, ..named("x") };
        record.save(folder.path()).unwrap();
        record.manually_stopped = true;
        record.intend_run(folder.path(), "boot", "/old/x".into()).unwrap();
        let mut found = Record::load(folder.path(), FILE).unwrap();
        let run = found.unknown_run(folder.path()).unwrap().unwrap();
        assert_eq!((run.run, run.boot_id.as_str()), (1, "boot"));
        found.has_begun(run);
        assert!(found.manually_stopped && found.restart_count == 2);
        assert_ne!(found.state.started_at, NEVER);
        found.save(folder.path()).unwrap();
        assert_eq!(Record::load(folder.path(), FILE).unwrap(), found);
        assert_eq!(found.unknown_run(folder.path()).unwrap(), None);
    }

    fn named(name: &str) -> Record {
        Record::new(ContainerId::random().unwrap(), name.into(), NEVER.into())
    }

    #[test]
    fn the_last_whole_line_counts() {
        let folder = tempfile::tempdir().unwrap();
        let [old, new] = ["old", "new"].map(named);
        old.save(folder.path()).unwrap();
        new.save(folder.path()).unwrap();
        let name = || Record::load(folder.path(), FILE).unwrap().name;
        assert_eq!(name(), "new");
        let file = folder.path().join(FILE);
        let whole = std::fs::read(&file).unwrap();
        assert_eq!(whole.iter().filter(|byte| **byte == b'\n').count(), 1);
        let first = old.to_json().len();
        for cut in [first, first + 1, first + 2, whole.len() - 1] {
            std::fs::write(&file, &whole[..cut]).unwrap();
            assert_eq!(name(), "old", "cut at {cut}");
            new.save(folder.path()).unwrap();
            assert_eq!(name(), "new", "saved after a cut at {cut}");
        }
        std::fs::write(&file, [&whole[..], &[b'\n', 0, 0, 0]].concat()).unwrap();
        assert_eq!(name(), "new");
    }

    #[test]
    fn a_record_does_not_grow_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        for count in 0..100 {
            named(&count.to_string()).save(folder.path()).unwrap();
        }
        let size = std::fs::metadata(folder.path().join(FILE)).unwrap().len();
        assert!(size < 2 * FILE_BYTES_MAX, "{size}");
        assert_eq!(Record::load(folder.path(), FILE).unwrap().name, "99");
    }

    #[test]
    fn a_record_may_be_edited() {
        let folder = tempfile::tempdir().unwrap();
        let pretty = serde_json::to_vec_pretty(&named("edited")).unwrap();
        std::fs::write(folder.path().join(FILE), pretty).unwrap();
        assert_eq!(Record::load(folder.path(), FILE).unwrap().name, "edited");
        named("saved").save(folder.path()).unwrap();
        assert_eq!(Record::load(folder.path(), FILE).unwrap().name, "saved");
    }

    #[test]
    fn a_newer_record_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        named("ours").save(folder.path()).unwrap();
        let file = folder.path().join(FILE);
        let ours = std::fs::read(&file).unwrap();
        let mut newer = named("x");
        newer.version = VERSION + 1;
        for newer in [newer.to_json(), format!("{{\"version\":{}}}", VERSION + 1).into_bytes()] {
            for content in [newer.clone(), [&ours[..], b"\n", &newer].concat()] {
                std::fs::write(&file, content).unwrap();
                let error = Record::load(folder.path(), FILE).unwrap_err();
                assert_eq!(error.kind(), Kind::Unsupported, "{error}");
                assert!(error.to_string().contains(FILE), "{error}");
            }
        }
    }
}
