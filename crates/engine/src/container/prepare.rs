//! All that blocks in a start, in one go: root, user, network, files, mounts, specification, descriptors.
//!
//! The run folder is made first: it is the stored intent. Whatever fails is undone by [`super::exit::let_go`].

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use api::host_config::HostConfig;
use fault::{Doing, Error, Kind, Result};
use network::Endpoint;
use oci::runtime::{Device, Spec};
use runtime::protocol::{Fds, Log, MountFd, Start};
use runtime::seccomp::Program;
use store::MountOptions;
use sys::fs::OpenHow;
use sys::namespace::Kinds;

use super::view::View;
use super::{etc, ports, validate};
use crate::record::MountKind;
use crate::resolve::{self, Facts, Filter};
use crate::state::Status;
use crate::user::{Accounts, User};
use crate::{ContainerId, Engine, Record, config, logs, pin};

/// A start that is wished for.
#[derive(Debug)]
pub(super) struct Wish {
    pub(super) record: Record,
    /// From an earlier run, if it is still held.
    pub(super) rootfs: Option<Arc<OwnedFd>>,
    pub(super) peers: Peers,
}

/// The containers whose namespaces are joined, as they were when the start was wished for.
#[derive(Debug, Default)]
pub(super) struct Peers {
    network: Option<Arc<View>>,
    ipc: Option<Arc<View>>,
    pid: Option<Arc<View>>,
}

/// What is taken of them. A pid would not do: it may be another process's when the monitor looks.
#[derive(Debug, Default)]
struct Borrowed {
    network: Option<OwnedFd>,
    ipc: Option<OwnedFd>,
    pid: Option<OwnedFd>,
    /// The `/dev/shm` of whose IPC namespace is joined.
    shm: Option<OwnedFd>,
}

/// A start that only needs to be sent.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) start: Start,
    pub(super) fds: Fds,
    /// To be held past the exit, if the kernel lets us.
    pub(super) rootfs: Option<Arc<OwnedFd>>,
    pub(super) endpoint: Option<Endpoint>,
    /// To be held until the monitor has opened them by their paths.
    pub(super) joined: Vec<OwnedFd>,
}

impl Peers {
    /// They must run.
    pub(super) fn find(engine: &Engine, own: &ContainerId, host: &HostConfig) -> Result<Self> {
        let find = |what: Joined, mode: &str| peer(engine, own, what, mode);
        Ok(Self {
            network: find(Joined::Network, &host.network_mode)?,
            ipc: find(Joined::Ipc, &host.ipc_mode)?,
            pid: find(Joined::Pid, &host.pid_mode)?,
        })
    }

    /// Opens what is joined; a container that has ended meanwhile is one that does not run. Blocks.
    fn open(&self) -> Result<Borrowed> {
        let open = |peer: &Option<Arc<View>>, what: Joined, kind: Kinds| {
            let Some(peer) = peer else { return Ok(None) };
            let found = pin::namespace(&peer.record.state, kind)?;
            found.ok_or_else(|| what.has_ended(&peer.record)).map(Some)
        };
        Ok(Borrowed {
            network: open(&self.network, Joined::Network, Kinds::NET)?,
            ipc: open(&self.ipc, Joined::Ipc, Kinds::IPC)?,
            pid: open(&self.pid, Joined::Pid, Kinds::PID)?,
            shm: self.ipc.as_ref().map(|peer| shared_memory_of(&peer.record)).transpose()?,
        })
    }
}

/// Which namespace of another container is joined. The words are Docker's, which differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Joined {
    Network,
    Ipc,
    Pid,
}

impl Joined {
    fn failed(self, why: impl std::fmt::Display) -> Error {
        Error::conflict(match self {
            Self::Network => format!("joining network namespace of container: {why}"),
            Self::Ipc => format!("failed to join IPC namespace: {why}"),
            Self::Pid => format!("failed to join PID namespace: {why}"),
        })
    }

    fn not_running(self, record: &Record) -> Error {
        self.not_running_but(record, record.state.status)
    }

    fn has_ended(self, record: &Record) -> Error {
        self.not_running_but(record, Status::Exited)
    }

    fn not_running_but(self, record: &Record, status: Status) -> Error {
        match self {
            Self::Network => Error::conflict(format!(
                "cannot join network namespace of a non running container: container {} is {}",
                record.name,
                status.as_str()
            )),
            Self::Ipc | Self::Pid => self.failed(format!("container {} is not running", record.id)),
        }
    }
}

fn peer(engine: &Engine, own: &ContainerId, what: Joined, mode: &str) -> Result<Option<Arc<View>>> {
    let Some(id) = mode.strip_prefix("container:") else { return Ok(None) };
    let peer = engine.containers().find(id).map_err(|error| what.failed(error))?;
    if peer.id == *own {
        return Err(what.failed("cannot join own namespace"));
    }
    let view = peer.view();
    let record = &view.record;
    match record.state.status {
        Status::Restarting => Err(Error::conflict(format!(
            "Container {} is restarting, wait until the container is running",
            peer.id
        ))),
        status if !status.has_process() => Err(what.not_running(record)),
        _ if what == Joined::Ipc && !is_shareable(&record.host_config) => Err(what.failed(format!(
            "container {}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)",
            peer.id
        ))),
        _ => Ok(Some(view)),
    }
}

fn is_shareable(host: &HostConfig) -> bool {
    !matches!(host.ipc_mode.as_str(), "private" | "none")
}

pub(super) fn prepare(engine: &Engine, wish: Wish) -> Result<Prepared> {
    let Wish { record, rootfs, peers } = wish;
    intend(engine, &record)?;
    let mut root = Root::of(match rootfs {
        Some(rootfs) => rootfs,
        None => mount(engine, &record.id, record.is_volatile())?,
    })?;
    sys::crash::point("container.start.rootfs");
    check_working_dir(root.given.as_fd(), &record.config.working_dir)?;
    let user = Accounts::read(root.given.as_fd())?
        .resolve(&record.config.user, record.host_config.group_add.as_deref().unwrap_or_default())?;
    let mut borrowed = peers.open()?;
    let mut net = connect(engine, &record, borrowed.network.take())?;
    sys::crash::point("container.start.connected");
    let endpoint = net.endpoint.take();
    etc::write(engine, &record, endpoint.as_ref())?;
    let rootfs = root.kept.take();
    let joined = [&mut borrowed.ipc, &mut borrowed.pid].map(Option::take);
    let [ipc, pid] = joined.each_ref().map(|fd| fd.as_ref().map(sys::namespace::path_of));
    let parts = Parts { root, user: &user, ipc, pid, shm: borrowed.shm, net };
    let (start, fds) = compose(engine, record, parts)?;
    sys::crash::point("container.start.prepared");
    Ok(Prepared { start, fds, rootfs, endpoint, joined: joined.into_iter().flatten().collect() })
}

/// A missing folder is made later, by the process that needs it; a file cannot be one.
fn check_working_dir(root: BorrowedFd<'_>, dir: &str) -> Result<()> {
    if matches!(dir, "" | "/") {
        return Ok(());
    }
    match sys::fs::open_beneath(root, dir.trim_start_matches('/'), &OpenHow::PATH) {
        Ok(found) if !sys::fs::fstat(&found)?.is_dir() => {
            Err(Error::invalid(format!("Cannot mkdir: {dir} is not a directory")))
        }
        _ => Ok(()),
    }
}

/// Stored before anything else is touched: the run folder, and the note that a run begins.
fn intend(engine: &Engine, record: &Record) -> Result<()> {
    let folder = engine.config().run_folder(&record.id);
    sys::fs::create_dir_all(&folder, 0o700)?;
    // Both an earlier run's, if its exit could not be recorded for want of room.
    sys::fs::remove_file_if_exists(config::monitor_socket(&folder))?;
    let cgroup = record.next_cgroup(engine.config());
    record.intend_run(&engine.config().folder(&record.id), engine.boot_id(), cgroup)?;
    sys::fs::remove_file_if_exists(config::exit_file(&folder))?;
    sys::crash::point("container.start.intended");
    Ok(())
}

/// The container's root, mounted nowhere. Blocks.
pub(super) fn mount(engine: &Engine, id: &ContainerId, volatile: bool) -> Result<Arc<OwnedFd>> {
    let snapshot = engine.store().snapshot(id.as_str())?;
    snapshot.mount(MountOptions { volatile, readonly: false }).doing(|| format!("mounting the root of {id}"))
}

/// The root as the process gets it and as we keep it. A mount can be attached once and dies with the process, so ours
/// must be another one over the same file system.
#[derive(Debug)]
struct Root {
    given: OwnedFd,
    kept: Option<Arc<OwnedFd>>,
}

impl Root {
    /// Kernels before 6.15 cannot clone what is attached nowhere: there ours is given away.
    fn of(mount: Arc<OwnedFd>) -> Result<Self> {
        match sys::mount::bind(mount.as_fd(), Path::new(""), false) {
            Ok(given) => Ok(Self { given, kept: Some(mount) }),
            Err(_) => Ok(Self { given: sys::fs::duplicate(&*mount)?, kept: None }),
        }
    }
}

/// A container's place in a network.
#[derive(Debug, Default)]
struct Net {
    /// Absent: the host's.
    netns: Option<OwnedFd>,
    endpoint: Option<Endpoint>,
    held: Vec<OwnedFd>,
}

fn connect(engine: &Engine, record: &Record, joined: Option<OwnedFd>) -> Result<Net> {
    if joined.is_some() {
        return Ok(Net { netns: joined, ..Net::default() });
    }
    match record.host_config.network_mode.as_str() {
        "host" => Ok(Net::default()),
        "none" => Ok(Net { netns: Some(engine.networks().isolated_netns()?), ..Net::default() }),
        network => connect_to(engine, record, network),
    }
}

fn connect_to(engine: &Engine, record: &Record, network: &str) -> Result<Net> {
    let mac = match record.endpoints.get(network).map(|settings| settings.mac_address.as_str()) {
        None | Some("") => record.config.mac_address.as_str(),
        Some(mac) => mac,
    };
    let request = network::Request {
        id: record.id.as_str(),
        network,
        mac: if mac.is_empty() { None } else { Some(mac.parse()?) },
        ip: None,
        ports: ports::wishes(record)?,
    };
    let connection = engine.networks().connect(&request).map_err(|error| in_docker_s_words(error, record))?;
    let network::Connection { endpoint, netns, reserved, relays } = connection;
    engine.relays().start(engine, &record.id, &endpoint, relays);
    Ok(Net { netns: Some(netns), endpoint: Some(endpoint), held: reserved })
}

/// Docker names the endpoint, which for us never came to be.
fn in_docker_s_words(error: Error, record: &Record) -> Error {
    let text = error.to_string();
    let port = text.contains("Bind for ") || text.contains("failed to bind host port for ");
    if !port {
        return Error::new(error.kind(), format!("failed to set up container networking: {text}"));
    }
    let endpoint = crate::id::random_hex().unwrap_or_default();
    Error::internal(format!(
        "failed to set up container networking: driver failed programming external connectivity on endpoint {} \
         ({endpoint}): {text}",
        record.name
    ))
}

/// What a start is made of beside the record.
#[derive(Debug)]
struct Parts<'a> {
    root: Root,
    user: &'a User,
    /// Paths of the namespaces that are joined.
    ipc: Option<PathBuf>,
    pid: Option<PathBuf>,
    shm: Option<OwnedFd>,
    net: Net,
}

fn compose(engine: &Engine, record: Record, parts: Parts<'_>) -> Result<(Start, Fds)> {
    let Parts { root, user, ipc, pid, shm, net } = parts;
    let folder = etc::folder(engine, &record);
    let run_folder = engine.config().run_folder(&record.id);
    let mut record = located(engine, record)?;
    engine.live().defaults.overlay(&mut record.host_config);
    let facts = Facts { ipc_peer: ipc, pid_peer: pid, ..facts(engine, &record, user, &folder)? };
    let spec = resolve::spec(&record, facts)?;
    let mut fds = Fds::default();
    let mounts = sources(&spec, &record, shm, &mut fds)?;
    let listener = sys::socket::listen(sys::socket::Kind::Stream, &config::monitor_socket(&run_folder))?;
    let capabilities = spec.process.as_ref().and_then(|process| process.capabilities.as_ref());
    let seccomp = filter(&record, capabilities.map_or(&[], |sets| &sets.bounding))?;
    let start = Start {
        id: record.id.to_string(),
        spec,
        rootfs: Some(fds.put(root.given)),
        mounts,
        netns: net.netns.map(|netns| fds.put(netns)),
        listener: Some(fds.put(listener)),
        held: net.held.into_iter().map(|held| fds.put(held)).collect(),
        attaches: Vec::new(),
        log: log(engine, &record)?,
        exit_file: config::exit_file(&run_folder),
        // The record is what survives a power loss; the exit file only has to survive the daemon.
        durable: false,
        open_stdin: record.config.open_stdin,
        stdin_once: record.config.stdin_once,
        seccomp,
    };
    Ok((start, fds))
}

/// Without what is joined.
fn facts<'a>(engine: &'a Engine, record: &Record, user: &'a User, folder: &'a Path) -> Result<Facts<'a>> {
    let host_devices = match record.host_config.privileged {
        true => runtime::defaults::host_devices()?,
        false => Vec::new(),
    };
    Ok(Facts {
        user,
        cgroup: record.next_cgroup(engine.config()),
        folder,
        init: &engine.config().runtime,
        ipc_peer: None,
        pid_peer: None,
        host_devices,
        find_devices,
        confinement: crate::system::confinement()?,
    })
}

/// The record with its volumes' places on the host, and the missing folders of binds made.
fn located(engine: &Engine, mut record: Record) -> Result<Record> {
    for mount in &mut record.mounts {
        match mount.kind {
            MountKind::Volume => {
                mount.source = engine.volumes().enter(&mount.name, record.id.as_str())?;
            }
            MountKind::Bind if mount.create_source && !sys::fs::exists(&mount.source)? => {
                sys::fs::create_dir_all(&mount.source, 0o755).doing(|| {
                    format!("error while creating mount source path '{}'", mount.source.display())
                })?;
            }
            MountKind::Bind | MountKind::Tmpfs => {}
        }
    }
    Ok(record)
}

/// Detached clones of everything that is bound, made here, in the host's mount namespace.
fn sources(spec: &Spec, record: &Record, mut shm: Option<OwnedFd>, fds: &mut Fds) -> Result<Vec<MountFd>> {
    let binds = spec.mounts.iter().enumerate().filter(|(_, mount)| mount.kind == "bind");
    binds
        .map(|(index, mount)| {
            let recursive = mount.options.iter().any(|option| option == "rbind");
            let volume = record.mounts.iter().find(|own| own.destination == mount.destination);
            let subpath = volume.filter(|own| !own.subpath.is_empty());
            let peer_shm = shm.take_if(|_| mount.source == Path::new(resolve::mounts::PEER_SHM));
            let fd = match (peer_shm, subpath) {
                (Some(shm), _) => shm,
                (None, Some(volume)) => beneath(&volume.source, &volume.subpath, recursive)?,
                (None, None) => sys::mount::bind(sys::mount::current_folder(), &mount.source, recursive)
                    .map_err(|error| bind_failed(error, &mount.source))?,
            };
            Ok(MountFd { mount: index, fd: fds.put(fd) })
        })
        .collect()
}

fn bind_failed(error: Error, source: &Path) -> Error {
    if error.kind() != Kind::NotFound {
        return error;
    }
    Error::invalid(format!(
        "invalid mount config for type \"bind\": bind source path does not exist: {}",
        source.display()
    ))
}

/// What a volume has at a subpath.
fn beneath(volume: &Path, subpath: &str, recursive: bool) -> Result<OwnedFd> {
    let place = crate::volume::beneath(volume, subpath).map_err(|error| error.with_kind(Kind::Invalid))?;
    sys::mount::bind(place.as_fd(), Path::new(""), recursive)
}

/// The `/dev/shm` that another container has.
fn shared_memory_of(peer: &Record) -> Result<OwnedFd> {
    let process = pin::first_process(&peer.state)?.ok_or_else(|| Joined::Ipc.has_ended(peer))?;
    sys::namespace::in_namespace(process.as_fd(), Kinds::MOUNT, || {
        let root = sys::fs::open_dir("/")?;
        sys::mount::bind(root.as_fd(), Path::new("/dev/shm"), false)
    })
}

fn log(engine: &Engine, record: &Record) -> Result<Option<Log>> {
    let wanted = &record.host_config.log_config;
    if wanted.kind == "none" {
        return Ok(None);
    }
    let max_size = wanted.config.get("max-size").filter(|size| *size != "-1");
    let max_file = wanted.config.get("max-file").and_then(|count| count.parse().ok()).unwrap_or(1);
    Ok(Some(Log {
        path: engine.config().log_file(&record.id),
        max_size: max_size.map(|size| validate::log_size(size)).transpose()?,
        max_file,
        attrs: logs::attributes(record)?,
    }))
}

/// The compiled filter; `None` where there is none.
fn filter(record: &Record, capabilities: &[String]) -> Result<Option<Program>> {
    let profile = match resolve::filter(record)? {
        Filter::Unconfined => return Ok(None),
        Filter::Default if capabilities == runtime::defaults::capabilities() => {
            return default_filter().map(Some);
        }
        Filter::Default => runtime::defaults::seccomp(capabilities),
        Filter::Profile(json) => runtime::defaults::seccomp_profile(json.as_bytes(), capabilities)?,
    };
    Ok(Some(runtime::seccomp::compile(&profile)?))
}

/// The one that nearly every container has is compiled once.
fn default_filter() -> Result<Program> {
    static COMPILED: OnceLock<Program> = OnceLock::new();
    if let Some(compiled) = COMPILED.get() {
        return Ok(compiled.clone());
    }
    let profile = runtime::defaults::seccomp(&runtime::defaults::capabilities());
    let compiled = runtime::seccomp::compile(&profile)?;
    Ok(COMPILED.get_or_init(|| compiled).clone())
}

/// The node at a path, or all nodes in a folder.
fn find_devices(path: &Path) -> Result<Vec<Device>> {
    let real = sys::fs::canonicalize(path).map_err(|error| match error.kind() {
        Kind::NotFound => Error::not_found("no such file or directory"),
        _ => error,
    })?;
    let stat = sys::fs::metadata(&real)?;
    if !stat.is_dir() {
        return device(path, &stat).map(|device| vec![device]);
    }
    let mut found = Vec::new();
    for name in sys::fs::read_dir(&real)? {
        let inner: PathBuf = path.join(name);
        let stat = sys::fs::metadata(&inner)?;
        if stat.is_dir() {
            found.extend(find_devices(&inner)?);
        } else {
            found.extend(device(&inner, &stat).ok());
        }
    }
    Ok(found)
}

fn device(path: &Path, stat: &sys::fs::Stat) -> Result<Device> {
    use sys::fs::FileKind;
    let kind = match stat.kind() {
        FileKind::CharDevice => "c",
        FileKind::BlockDevice => "b",
        _ => return Err(Error::invalid("not a device node")),
    };
    let (major, minor) = stat.device();
    Ok(Device {
        path: path.into(),
        kind: kind.into(),
        major: major.into(),
        minor: minor.into(),
        file_mode: Some(stat.permissions()),
        uid: Some(stat.uid),
        gid: Some(stat.gid),
    })
}
