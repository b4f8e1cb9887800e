//! Everything about a start that can be known before the kernel is touched: the specification checked and translated,
//! namespaces to join opened. What is wrong in a specification is found here, before there is anything to undo.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use fault::{Call, Doing, Error, Result};
use oci::runtime::{
    self, ConsoleSize, Device, Linux, Mount, Namespace, NamespaceKind, Spec, State, Status, TimeOffset,
};
use sys::fs::FileKind;
use sys::mount::Propagation;
use sys::namespace::Kinds;

use super::identity::{self, Identity};
use super::options::{self, Options};
use super::scheduling::Scheduling;
use super::unsupported::{refuse_container, refuse_process};
use super::userns::IdMaps;
use super::{Launch, Rootfs, listener};
use crate::defaults::DEVICES;
use crate::seccomp::Program;

/// A container's start.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    pub(super) spec: &'a Spec,
    pub(super) linux: &'a Linux,
    pub(super) bundle: &'a Path,
    pub(super) id: &'a str,
    pub(super) rootfs: &'a Rootfs<'a>,
    pub(super) gate: Option<&'a Path>,
    pub(super) dies_with_caller: bool,
    pub(super) no_pivot: bool,
    /// Of the container's user namespace, if it has another one than ours.
    pub(super) id_maps: Option<IdMaps>,
    /// Made by the clone, except the cgroup namespace.
    pub(super) new: Kinds,
    pub(super) joined: Vec<(Kinds, OwnedFd)>,
    pub(super) mounts: Vec<MountPlan<'a>>,
    pub(super) devices: Vec<DevicePlan<'a>>,
    /// Whether /dev is ours to fill, and not a folder of the host.
    pub(super) fills_dev: bool,
    pub(super) sysctls: Vec<(PathBuf, &'a str)>,
    /// For /proc/PID/timens_offsets.
    pub(super) time_offsets: String,
    pub(super) propagation: Option<(Propagation, bool)>,
    pub(super) process: ProcessPlan,
}

/// One process, first or executed later.
#[derive(Debug)]
pub(super) struct ProcessPlan {
    pub(super) identity: Identity,
    pub(super) scheduling: Scheduling,
    pub(super) args: Vec<CString>,
    pub(super) env: Vec<CString>,
    pub(super) cwd: PathBuf,
    pub(super) terminal: Option<ConsoleSize>,
    /// Inherited after the standard streams.
    pub(super) kept_fds: u16,
}

#[derive(Debug)]
pub(super) struct MountPlan<'a> {
    pub(super) destination: &'a Path,
    /// What the specification calls the source; for messages.
    pub(super) origin: &'a Path,
    pub(super) source: Source<'a>,
    pub(super) options: Options,
    pub(super) id_map: Option<IdMap>,
    /// Others are mounted beneath, or devices made, before it becomes read-only.
    pub(super) read_only_late: bool,
}

/// Whose files those of a mount look like.
#[derive(Debug)]
pub(super) struct IdMap {
    pub(super) maps: IdMaps,
    /// In all mounts beneath too.
    pub(super) recursive: bool,
}

/// What is mounted.
#[derive(Debug)]
pub(super) enum Source<'a> {
    /// A detached mount from outside.
    Given(BorrowedFd<'a>),
    /// A file or folder of the host.
    Host(PathBuf),
    /// The container's own cgroup.
    Cgroup,
    /// A new instance.
    FileSystem { kind: &'a str, source: &'a str },
}

#[derive(Debug)]
pub(super) struct DevicePlan<'a> {
    pub(super) path: &'a Path,
    pub(super) kind: FileKind,
    pub(super) number: (u32, u32),
    pub(super) mode: u32,
    pub(super) owner: (u32, u32),
}

impl<'a> Plan<'a> {
    pub(super) fn new(launch: &'a Launch<'a>) -> Result<Self> {
        let spec = launch.spec;
        let linux = spec.linux.as_ref().ok_or_else(|| Error::invalid("the spec has no `linux` part"))?;
        let process = spec.process.as_ref().ok_or_else(|| Error::invalid("the spec has no `process`"))?;
        refuse_container(linux)?;
        if launch.no_pivot && matches!(launch.rootfs, Rootfs::Mount(_)) {
            return Err(Error::unsupported("a root file system from outside without pivot_root"));
        }
        let (new, joined) = namespaces(linux, launch.netns)?;
        let id_maps = id_maps(linux, new, &joined)?;
        let mounts = mounts(launch, id_maps.as_ref())?;
        let fills_dev = !mounts.iter().any(|mount| is_host_dev(mount));
        let compiled;
        let filter = match launch.seccomp {
            Some(filter) => Some(filter),
            None => {
                compiled = identity::compile(linux.seccomp.as_ref())?;
                compiled.as_ref()
            }
        };
        if filter.is_some_and(Program::has_listener) {
            listener::check(linux.seccomp.as_ref())?;
        }
        Ok(Self {
            spec,
            linux,
            bundle: launch.bundle,
            id: launch.id,
            rootfs: &launch.rootfs,
            gate: launch.gate,
            dies_with_caller: launch.dies_with_caller,
            no_pivot: launch.no_pivot,
            id_maps,
            new,
            joined,
            mounts,
            devices: devices(&linux.devices, fills_dev)?,
            fills_dev,
            sysctls: sysctls(linux, new, launch.netns.is_some())
                .and_then(|files| refuse_two_names(spec, files))?,
            time_offsets: time_offsets(linux, new)?,
            propagation: root_propagation(&linux.rootfs_propagation)?,
            process: ProcessPlan {
                kept_fds: launch.kept_fds,
                ..ProcessPlan::new(process, Some(linux), filter)?
            },
        })
    }

    /// The mounted devpts, which a terminal comes from.
    pub(super) fn devpts(&mut self) -> Option<&mut MountPlan<'a>> {
        self.mounts.iter_mut().find(|mount| mount.destination == Path::new("/dev/pts"))
    }

    /// Whether the child must wait for what only the parent can do.
    pub(super) fn needs_parent(&self) -> bool {
        let hooks = self.spec.hooks.as_ref();
        let has_hooks =
            hooks.is_some_and(|hooks| !hooks.prestart.is_empty() || !hooks.create_runtime.is_empty());
        has_hooks || self.new.contains(Kinds::USER)
    }

    /// What others are told about the container while it is made.
    pub(super) fn state(&self, status: Status, pid: i32) -> State {
        State {
            version: runtime::VERSION.to_owned(),
            id: self.id.to_owned(),
            status,
            pid,
            bundle: self.bundle.to_owned(),
            annotations: self.spec.annotations.clone(),
        }
    }
}

impl ProcessPlan {
    pub(super) fn new(
        process: &runtime::Process,
        linux: Option<&Linux>,
        filter: Option<&Program>,
    ) -> Result<Self> {
        refuse_process(process)?;
        if process.args.is_empty() {
            return Err(Error::invalid("args must not be empty"));
        }
        if !process.cwd.is_absolute() {
            return Err(Error::invalid("Cwd must be an absolute path"));
        }
        Ok(Self {
            identity: Identity::plan(process, filter)?,
            scheduling: Scheduling::plan(process, linux)?,
            args: strings(&process.args)?,
            env: strings(&last_of_each(&process.env))?,
            cwd: process.cwd.clone(),
            terminal: process.terminal.then(|| process.console_size.unwrap_or_default()),
            kept_fds: 0,
        })
    }
}

/// Of several values for one name the last holds, at the place of the first.
fn last_of_each(env: &[String]) -> Vec<String> {
    let name = |entry: &String| entry.split('=').next().unwrap_or_default().to_owned();
    let mut kept: Vec<String> = Vec::with_capacity(env.len());
    let mut places: HashMap<String, usize> = HashMap::with_capacity(env.len());
    for entry in env {
        match places.entry(name(entry)) {
            Entry::Occupied(place) => kept[*place.get()].clone_from(entry),
            Entry::Vacant(place) => {
                place.insert(kept.len());
                kept.push(entry.clone());
            }
        }
    }
    kept
}

fn strings(texts: &[String]) -> Result<Vec<CString>> {
    let string = |text: &String| {
        CString::new(text.as_str()).map_err(|_| Error::invalid(format!("{text:?} holds a NUL byte")))
    };
    texts.iter().map(string).collect()
}

/// Those to make and those to join.
fn namespaces(linux: &Linux, netns: Option<BorrowedFd<'_>>) -> Result<(Kinds, Vec<(Kinds, OwnedFd)>)> {
    let mut new = Kinds::NONE;
    let mut joined = Vec::new();
    for Namespace { kind, path } in &linux.namespaces {
        let kinds = kinds(*kind);
        if new.contains(kinds) || joined.iter().any(|(known, _)| *known == kinds) {
            return Err(Error::invalid(format!("malformed spec file: duplicated ns {kind:?}")));
        }
        match (kind, netns) {
            (NamespaceKind::Network, Some(netns)) => joined.push((kinds, duplicate(netns)?)),
            _ if path.as_os_str().is_empty() => new = new | kinds,
            (NamespaceKind::Mount, _) => return Err(Error::unsupported("joining a mount namespace")),
            _ => joined.push((kinds, open_namespace(path)?)),
        }
    }
    if let Some(netns) = netns
        && !joined.iter().any(|(kind, _)| *kind == Kinds::NET)
    {
        joined.push((Kinds::NET, duplicate(netns)?));
    }
    if !new.contains(Kinds::MOUNT) {
        return Err(Error::unsupported("a container without a mount namespace of its own"));
    }
    let has_user = linux.namespaces.iter().any(|ns| ns.kind == NamespaceKind::User);
    if !has_user && (!linux.uid_mappings.is_empty() || !linux.gid_mappings.is_empty()) {
        return Err(Error::invalid(
            "user namespace mappings specified, but user namespace isn't enabled in the config",
        ));
    }
    drop_own_user_namespace(&mut joined)?;
    Ok((new, joined))
}

/// The kernel refuses to join the user namespace that one is in.
fn drop_own_user_namespace(joined: &mut Vec<(Kinds, OwnedFd)>) -> Result<()> {
    let place = joined.iter().position(|(kind, _)| *kind == Kinds::USER);
    if let Some(place) = place
        && sys::namespace::is_own(joined[place].1.as_fd(), Kinds::USER)?
    {
        joined.remove(place);
    }
    Ok(())
}

/// Of the user namespace to make or to join.
fn id_maps(linux: &Linux, new: Kinds, joined: &[(Kinds, OwnedFd)]) -> Result<Option<IdMaps>> {
    let wanted = IdMaps { uids: linux.uid_mappings.clone(), gids: linux.gid_mappings.clone() };
    if new.contains(Kinds::USER) {
        if wanted.uids.is_empty() || wanted.gids.is_empty() {
            return Err(Error::invalid("user namespaces enabled, but no uid or gid mappings found"));
        }
        return Ok(Some(wanted));
    }
    let Some((_, namespace)) = joined.iter().find(|(kind, _)| *kind == Kinds::USER) else { return Ok(None) };
    let found = IdMaps::of(namespace.as_fd())?;
    if wanted != IdMaps::default() && wanted != found {
        return Err(Error::invalid("the user namespace to join has other mappings than the config"));
    }
    Ok(Some(found))
}

fn open_namespace(path: &Path) -> Result<OwnedFd> {
    sys::namespace::open_path(path).doing(|| "joining a namespace")
}

fn duplicate(fd: BorrowedFd<'_>) -> Result<OwnedFd> {
    fd.try_clone_to_owned().call(|| "dup")
}

fn kinds(kind: NamespaceKind) -> Kinds {
    match kind {
        NamespaceKind::Pid => Kinds::PID,
        NamespaceKind::Network => Kinds::NET,
        NamespaceKind::Mount => Kinds::MOUNT,
        NamespaceKind::Ipc => Kinds::IPC,
        NamespaceKind::Uts => Kinds::UTS,
        NamespaceKind::User => Kinds::USER,
        NamespaceKind::Cgroup => Kinds::CGROUP,
        NamespaceKind::Time => Kinds::TIME,
    }
}

fn mounts<'a>(launch: &'a Launch<'a>, id_maps: Option<&IdMaps>) -> Result<Vec<MountPlan<'a>>> {
    let plan = |(index, mount): (usize, &'a Mount)| {
        let given = launch.mount_fds.iter().find(|(known, _)| *known == index).map(|(_, fd)| fd.as_fd());
        mount_plan(launch, mount, given, id_maps)
            .doing(|| format!("error mounting {:?} to rootfs at {:?}", mount.source, mount.destination))
    };
    launch.spec.mounts.iter().enumerate().map(plan).collect()
}

fn mount_plan<'a>(
    launch: &'a Launch<'a>,
    mount: &'a Mount,
    given: Option<BorrowedFd<'a>>,
    id_maps: Option<&IdMaps>,
) -> Result<MountPlan<'a>> {
    // config.md, "mounts": relative ones, which older versions had, begin at the root.
    if !is_plain(&Path::new("/").join(&mount.destination)) {
        return Err(Error::invalid(format!(
            "mount destination {:?} is no place beneath the root",
            mount.destination
        )));
    }
    let options = options::parse(&mount.options)?;
    let source = match given {
        Some(fd) => Source::Given(fd),
        None if options.bind || mount.kind == "bind" => Source::Host(launch.bundle.join(&mount.source)),
        None if mount.kind == "cgroup" || mount.kind == "cgroup2" => Source::Cgroup,
        None if mount.kind.is_empty() => {
            return Err(Error::invalid("a mount needs a type or the option bind"));
        }
        None => {
            let source = mount.source.to_str().filter(|source| !source.is_empty()).unwrap_or("none");
            Source::FileSystem { kind: &mount.kind, source }
        }
    };
    let options = options.for_source(matches!(source, Source::FileSystem { .. }))?;
    let is_tmpfs = matches!(source, Source::FileSystem { kind: "tmpfs", .. } | Source::Cgroup);
    let is_dev = mount.destination == Path::new("/dev") && !options.bind;
    let id_map = id_map(mount, options.id_map, id_maps)?;
    if id_map.is_some() && !matches!(source, Source::Given(_) | Source::Host(_)) {
        return Err(Error::invalid("id-mapped mounts are only supported for bind-mounts"));
    }
    Ok(MountPlan {
        destination: &mount.destination,
        origin: &mount.source,
        source,
        options,
        id_map,
        read_only_late: is_tmpfs || is_dev,
    })
}

/// The mount's own map, else with the options `idmap` or `ridmap` the container's.
fn id_map(mount: &Mount, option: Option<bool>, container: Option<&IdMaps>) -> Result<Option<IdMap>> {
    let recursive = option.unwrap_or(false);
    match (mount.uid_mappings.is_empty(), mount.gid_mappings.is_empty()) {
        (false, false) => {
            let maps = IdMaps { uids: mount.uid_mappings.clone(), gids: mount.gid_mappings.clone() };
            Ok(Some(IdMap { maps, recursive }))
        }
        (true, true) if option.is_none() => Ok(None),
        (true, true) => {
            let no_map = || Error::invalid("a mount with idmap but without mappings needs a user namespace");
            Ok(Some(IdMap { maps: container.cloned().ok_or_else(no_map)?, recursive }))
        }
        _ => Err(Error::invalid("id-mapped mounts must have both uid and gid mappings specified")),
    }
}

fn is_plain(path: &Path) -> bool {
    path.is_absolute()
        && path.components().any(|part| matches!(part, Component::Normal(_)))
        && !path.components().any(|part| part == Component::ParentDir)
}

fn is_host_dev(mount: &MountPlan<'_>) -> bool {
    mount.destination == Path::new("/dev") && !matches!(mount.source, Source::FileSystem { .. })
}

/// The default devices of the specification (config-linux, "Default Devices") and the wanted ones, which win.
fn devices(wanted: &[Device], fills_dev: bool) -> Result<Vec<DevicePlan<'_>>> {
    if !fills_dev {
        return Ok(Vec::new());
    }
    let mut plans: Vec<_> = wanted.iter().map(device).collect::<Result<_>>()?;
    for (path, number) in DEVICES {
        let path = Path::new(path);
        if !plans.iter().any(|plan| plan.path == path) {
            plans.push(DevicePlan {
                path,
                kind: FileKind::CharDevice,
                number: *number,
                mode: 0o666,
                owner: (0, 0),
            });
        }
    }
    Ok(plans)
}

fn device(device: &Device) -> Result<DevicePlan<'_>> {
    let kind = match device.kind.as_str() {
        "c" | "u" => FileKind::CharDevice,
        "b" => FileKind::BlockDevice,
        "p" => FileKind::Fifo,
        other => return Err(Error::invalid(format!("invalid device type: {other:?}"))),
    };
    if !is_plain(&device.path) {
        return Err(Error::invalid(format!("device path {:?} is no place beneath the root", device.path)));
    }
    let number = |value: i64| {
        u32::try_from(value)
            .map_err(|_| Error::invalid(format!("invalid device number {value} of {:?}", device.path)))
    };
    Ok(DevicePlan {
        path: &device.path,
        kind,
        number: (number(device.major)?, number(device.minor)?),
        mode: device.file_mode.unwrap_or(0o666) & 0o7777,
        owner: (device.uid.unwrap_or(0), device.gid.unwrap_or(0)),
    })
}

/// Only what belongs to one of the container's own namespaces; all else would change the host.
fn sysctls(linux: &Linux, new: Kinds, has_netns: bool) -> Result<Vec<(PathBuf, &str)>> {
    let is_private = |kind| {
        let joined =
            linux.namespaces.iter().any(|ns| kinds(ns.kind) == kind && !ns.path.as_os_str().is_empty());
        new.contains(kind) || joined || (kind == Kinds::NET && has_netns)
    };
    let mut files = Vec::with_capacity(linux.sysctl.len());
    for (key, value) in &linux.sysctl {
        // sysctl(8): with slashes first, dots are part of a name (net/ipv4/conf/eth0.1/forwarding).
        let is_path = key.find(['.', '/']).is_some_and(|at| key.as_bytes()[at] == b'/');
        let path = if is_path { key.clone() } else { key.replace('.', "/") };
        if path.split('/').any(|part| part.is_empty() || part == "..") {
            return Err(Error::invalid(format!("invalid sysctl {key:?}")));
        }
        let kind = sysctl_namespace(&path)
            .ok_or_else(|| Error::invalid(format!("sysctl {key:?} is not in a separate kernel namespace")))?;
        if !is_private(kind) {
            let host = if kind == Kinds::NET {
                "not allowed in host network namespace"
            } else {
                "not allowed in the hosts namespace"
            };
            return Err(Error::invalid(format!("sysctl {key:?} {host}")));
        }
        files.push((Path::new("/proc/sys").join(path), value.as_str()));
    }
    Ok(files)
}

/// The fields of the specification and the sysctls are one and the same in the kernel.
fn refuse_two_names<'a>(spec: &Spec, files: Vec<(PathBuf, &'a str)>) -> Result<Vec<(PathBuf, &'a str)>> {
    for (field, value) in [("hostname", &spec.hostname), ("domainname", &spec.domainname)] {
        let file = Path::new("/proc/sys/kernel").join(field);
        if !value.is_empty() && files.iter().any(|(path, _)| *path == file) {
            return Err(Error::invalid(format!(
                "sysctl \"kernel.{field}\" is not allowed as it conflicts with the OCI {field:?} field"
            )));
        }
    }
    Ok(files)
}

fn sysctl_namespace(path: &str) -> Option<Kinds> {
    const IPC: &[&str] = &[
        "kernel/msgmax",
        "kernel/msgmnb",
        "kernel/msgmni",
        "kernel/sem",
        "kernel/shmall",
        "kernel/shmmax",
        "kernel/shmmni",
        "kernel/shm_rmid_forced",
    ];
    match path {
        _ if path.starts_with("net/") => Some(Kinds::NET),
        _ if IPC.contains(&path) || path.starts_with("fs/mqueue/") => Some(Kinds::IPC),
        "kernel/hostname" | "kernel/domainname" => Some(Kinds::UTS),
        _ => None,
    }
}

/// time_namespaces(7): a line for each clock.
fn time_offsets(linux: &Linux, new: Kinds) -> Result<String> {
    if !linux.time_offsets.is_empty() && !new.contains(Kinds::TIME) {
        return Err(Error::invalid(
            "time namespace offsets specified, but time namespace isn't enabled in the config",
        ));
    }
    let mut lines = String::new();
    for (clock, TimeOffset { secs, nanosecs }) in &linux.time_offsets {
        if clock != "monotonic" && clock != "boottime" {
            return Err(Error::invalid(format!("invalid clock {clock:?} in timeOffsets")));
        }
        lines += &format!("{clock} {secs} {nanosecs}\n");
    }
    Ok(lines)
}

fn root_propagation(name: &str) -> Result<Option<(Propagation, bool)>> {
    if name.is_empty() {
        return Ok(None);
    }
    let known = options::propagation(name);
    known.map(Some).ok_or_else(|| Error::invalid(format!("rootfsPropagation={name} is not supported")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linux(json: &str) -> Linux {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_sysctl_needs_its_namespace() {
        let linux = linux(r#"{"sysctl": {"net.ipv4.ip_forward": "1"}}"#);
        let files = sysctls(&linux, Kinds::NET, false).unwrap();
        assert_eq!(files, [(PathBuf::from("/proc/sys/net/ipv4/ip_forward"), "1")]);
        assert_eq!(
            sysctls(&linux, Kinds::NONE, false).unwrap_err().to_string(),
            r#"sysctl "net.ipv4.ip_forward" not allowed in host network namespace"#
        );
    }

    #[test]
    fn a_sysctl_of_the_whole_machine_is_refused() {
        let linux = linux(r#"{"sysctl": {"kernel.panic": "1"}}"#);
        assert_eq!(
            sysctls(&linux, Kinds::IPC, false).unwrap_err().to_string(),
            r#"sysctl "kernel.panic" is not in a separate kernel namespace"#
        );
    }

    #[test]
    fn slashes_keep_dots() {
        let linux = linux(r#"{"sysctl": {"net/ipv4/conf/eth0.1/forwarding": "1"}}"#);
        let files = sysctls(&linux, Kinds::NET, false).unwrap();
        assert_eq!(files[0].0, Path::new("/proc/sys/net/ipv4/conf/eth0.1/forwarding"));
    }

    #[test]
    fn wanted_devices_replace_default_ones() {
        let wanted =
            [Device { path: "/dev/null".into(), kind: "c".into(), major: 9, minor: 9, ..Device::default() }];
        let plans = devices(&wanted, true).unwrap();
        assert_eq!(plans.len(), DEVICES.len());
        assert_eq!(plans[0].number, (9, 9));
    }

    #[test]
    fn clocks_are_set_in_a_namespace_of_their_own() {
        let linux =
            linux(r#"{"timeOffsets": {"boottime": {"secs": 3, "nanosecs": 5}, "monotonic": {"secs": -1}}}"#);
        assert_eq!(time_offsets(&linux, Kinds::TIME).unwrap(), "boottime 3 5\nmonotonic -1 0\n");
        assert!(time_offsets(&linux, Kinds::NONE).is_err());
        let wrong = self::linux(r#"{"timeOffsets": {"realtime": {"secs": 3}}}"#);
        assert!(time_offsets(&wrong, Kinds::TIME).is_err());
    }

    #[test]
    fn the_last_value_of_a_variable_holds() {
        let env = ["A=1", "B=2", "A=3", "C", "B="].map(str::to_owned);
        assert_eq!(last_of_each(&env), ["A=3", "B=", "C"]);
    }

    #[test]
    fn one_namespace_of_a_kind() {
        let linux = linux(r#"{"namespaces": [{"type": "mount"}, {"type": "mount"}]}"#);
        assert!(namespaces(&linux, None).is_err());
    }
}
