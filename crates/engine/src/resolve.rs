//! From a container's record to the runtime's specification. Pure: what must be looked up comes in with [`Facts`].
//!
//! ```text
//! record + user + mounts + facts --spec--> oci::runtime::Spec     (mount sources by path, replaced by fds later)
//!                                 --filter-> which seccomp filter
//! ```

mod capabilities;
mod devices;
mod limits;
pub(crate) mod mounts;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fault::{Error, Result};
use oci::runtime::{
    Capabilities, ConsoleSize, Device, Linux, Namespace, NamespaceKind, Process, Rlimit, Root, Spec,
};

pub(crate) use capabilities::for_container as container_capabilities;

use crate::Record;
use crate::user::User;

/// What a spec depends on beside the record.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) user: &'a User,
    /// The container's cgroup, below the mount of every hierarchy.
    pub(crate) cgroup: PathBuf,
    /// Where `hosts`, `hostname` and `resolv.conf` lie.
    pub(crate) folder: &'a Path,
    /// The program that becomes PID 1 where one is asked for.
    pub(crate) init: &'a Path,
    /// Namespaces of other containers that are joined, by a path that the monitor can open.
    pub(crate) ipc_peer: Option<PathBuf>,
    pub(crate) pid_peer: Option<PathBuf>,
    /// The host's device nodes; only read for privileged containers.
    pub(crate) host_devices: Vec<Device>,
    /// Looks up a device node, or all nodes in a folder.
    pub(crate) find_devices: fn(&Path) -> Result<Vec<Device>>,
    pub(crate) confinement: Confinement,
}

/// Which of its own confinements the kernel has switched on; containers get none of them from us.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Confinement {
    pub(crate) apparmor: bool,
    pub(crate) selinux: bool,
}

/// Which system call filter a container gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Filter {
    Unconfined,
    Default,
    /// JSON in Docker's form.
    Profile(String),
}

/// The whole specification but for the filter.
pub(crate) fn spec(record: &Record, facts: Facts<'_>) -> Result<Spec> {
    let host = &record.host_config;
    Security::parse(host)?.check(facts.confinement)?;
    let own_name = host.uts_mode != "host";
    let text = |text: &String| if own_name { text.clone() } else { String::new() };
    Ok(Spec {
        version: oci::runtime::VERSION.into(),
        process: Some(process(record, facts.user)?),
        root: Some(Root { path: "rootfs".into(), readonly: host.readonly_rootfs }),
        hostname: text(&record.config.hostname),
        domainname: text(&record.config.domainname),
        mounts: mounts::all(record, facts.folder, facts.init),
        annotations: host.annotations.clone(),
        linux: Some(linux(record, facts)?),
        ..Spec::default()
    })
}

fn process(record: &Record, user: &User) -> Result<Process> {
    let (config, host) = (&record.config, &record.host_config);
    let mut args: Vec<String> = record.command().cloned().collect();
    if host.init == Some(true) {
        args.splice(0..0, [mounts::INIT.to_owned(), "--".to_owned()]);
    }
    let [height, width] = host.console_size;
    Ok(Process {
        terminal: config.tty,
        console_size: (config.tty && height > 0 && width > 0).then_some(ConsoleSize { height, width }),
        user: oci_user(user),
        args,
        env: environment(record, config.tty, config.env.iter().flatten(), user),
        cwd: working_dir(&config.working_dir),
        capabilities: Some(sets(container_capabilities(host)?)),
        rlimits: host.resources.ulimits.iter().flatten().map(rlimit).collect(),
        no_new_privileges: Security::parse(host)?.no_new_privileges,
        oom_score_adj: Some(i32::try_from(host.oom_score_adj).unwrap_or_default()),
        ..Process::default()
    })
}

/// A process that is started in a running container.
pub(crate) fn exec(record: &Record, wanted: &api::exec::Create, user: &User) -> Result<Process> {
    let capabilities = match wanted.privileged {
        true => capabilities::available().to_vec(),
        false => container_capabilities(&record.host_config)?,
    };
    let own_env = record.config.env.iter().flatten().chain(&wanted.env);
    let dir = if wanted.working_dir.is_empty() { &record.config.working_dir } else { &wanted.working_dir };
    Ok(Process {
        terminal: wanted.tty,
        console_size: wanted.console_size.map(|[height, width]| ConsoleSize { height, width }),
        user: oci_user(user),
        args: wanted.cmd.clone(),
        env: environment(record, wanted.tty, own_env, user),
        cwd: working_dir(dir),
        capabilities: Some(sets(capabilities)),
        rlimits: record.host_config.resources.ulimits.iter().flatten().map(rlimit).collect(),
        no_new_privileges: Security::parse(&record.host_config)?.no_new_privileges,
        oom_score_adj: Some(i32::try_from(record.host_config.oom_score_adj).unwrap_or_default()),
        ..Process::default()
    })
}

fn oci_user(user: &User) -> oci::runtime::User {
    oci::runtime::User { uid: user.uid, gid: user.gid, umask: None, additional_gids: user.groups.clone() }
}

fn working_dir(text: &str) -> PathBuf {
    if text.is_empty() { "/".into() } else { text.into() }
}

/// Docker's own variables first; each later one of the same name takes the place of the earlier. A name without a
/// value takes the variable away.
fn environment<'a>(
    record: &Record,
    tty: bool,
    own: impl Iterator<Item = &'a String>,
    user: &User,
) -> Vec<String> {
    let mut env = vec![DEFAULT_PATH.to_owned(), format!("HOSTNAME={}", record.config.hostname)];
    if tty {
        env.push("TERM=xterm".into());
    }
    for entry in own {
        let name = entry.split('=').next().unwrap_or_default();
        let same = |other: &String| other.split('=').next() == Some(name);
        match (env.iter().position(same), entry.contains('=')) {
            (Some(place), true) => env[place].clone_from(entry),
            (Some(place), false) => drop(env.remove(place)),
            (None, true) => env.push(entry.clone()),
            (None, false) => {}
        }
    }
    if !env.iter().any(|entry| entry.starts_with("HOME=")) {
        env.push(format!("HOME={}", user.home.display()));
    }
    env
}

const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

fn sets(names: Vec<String>) -> Capabilities {
    Capabilities {
        bounding: names.clone(),
        effective: names.clone(),
        permitted: names,
        ..Capabilities::default()
    }
}

fn rlimit(limit: &api::host_config::Ulimit) -> Rlimit {
    // -1 is infinity, as the kernel has it.
    let value = |value: i64| value.cast_unsigned();
    let kind = format!("RLIMIT_{}", limit.name.to_ascii_uppercase());
    Rlimit { kind, soft: value(limit.soft), hard: value(limit.hard) }
}

fn linux(record: &Record, facts: Facts<'_>) -> Result<Linux> {
    let host = &record.host_config;
    let paths = |list: &Option<Vec<String>>| list.iter().flatten().map(PathBuf::from).collect();
    let asked = devices::asked(host, facts.find_devices)?;
    let mut resources = limits::resources(&host.resources, facts.find_devices)?;
    resources.devices = devices::rules(host, &asked)?;
    Ok(Linux {
        sysctl: sysctls(record),
        resources: Some(resources),
        cgroups_path: facts.cgroup.clone(),
        namespaces: namespaces(record, &facts),
        devices: match host.privileged {
            true => facts.host_devices,
            false => asked.into_iter().map(|asked| asked.device).collect(),
        },
        masked_paths: paths(&host.masked_paths),
        readonly_paths: paths(&host.readonly_paths),
        ..Linux::default()
    })
}

/// Every kind that is not shared with the host; a joined one has a path. The network namespace comes as a descriptor.
fn namespaces(record: &Record, facts: &Facts<'_>) -> Vec<Namespace> {
    use NamespaceKind as K;
    let host = &record.host_config;
    let own = |kind: NamespaceKind| Namespace { kind, path: PathBuf::new() };
    let of = |path: &PathBuf, kind: NamespaceKind| Namespace { kind, path: path.clone() };
    let mut all = vec![own(K::Mount)];
    if host.network_mode != "host" {
        all.push(own(K::Network));
    }
    if host.uts_mode != "host" {
        all.push(own(K::Uts));
    }
    match (&facts.pid_peer, host.pid_mode.as_str()) {
        (Some(peer), _) => all.push(of(peer, K::Pid)),
        (None, "host") => {}
        (None, _) => all.push(own(K::Pid)),
    }
    match (&facts.ipc_peer, host.ipc_mode.as_str()) {
        (Some(peer), _) => all.push(of(peer, K::Ipc)),
        (None, "host") => {}
        (None, _) => all.push(own(K::Ipc)),
    }
    if host.cgroupns_mode == "private" {
        all.push(own(K::Cgroup));
    }
    all
}

/// Docker opens low ports and ping to every user of a container with a network of its own.
fn sysctls(record: &Record) -> BTreeMap<String, String> {
    let mode = record.host_config.network_mode.as_str();
    let mut all = BTreeMap::new();
    if mode != "host" && !mode.starts_with("container:") {
        all.insert("net.ipv4.ip_unprivileged_port_start".into(), "0".into());
        all.insert("net.ipv4.ping_group_range".into(), "0 2147483647".into());
    }
    all.extend(record.host_config.sysctls.clone());
    all
}

/// `--security-opt`
#[derive(Clone, Debug, PartialEq, Eq)]
struct Security {
    no_new_privileges: bool,
    filter: Filter,
    /// A profile of AppArmor, a label of SELinux that would confine.
    profile: Option<String>,
    label: Option<String>,
}

impl Security {
    fn parse(host: &api::host_config::HostConfig) -> Result<Self> {
        let filter = if host.privileged { Filter::Unconfined } else { Filter::Default };
        let mut security = Self { no_new_privileges: false, filter, profile: None, label: None };
        for option in host.security_opt.iter().flatten() {
            security.apply(option)?;
        }
        // As with dockerd, whatever profile a privileged container names.
        security.profile = security.profile.filter(|_| !host.privileged);
        Ok(security)
    }

    fn apply(&mut self, option: &str) -> Result<()> {
        let wrong = |number: u8| Error::invalid(format!("invalid --security-opt {number}: \"{option}\""));
        match option {
            "no-new-privileges" => {
                self.no_new_privileges = true;
                return Ok(());
            }
            "disable" => return Ok(()),
            "writable-cgroups" => return Err(Error::unsupported("--security-opt writable-cgroups")),
            _ => {}
        }
        let (key, value) =
            option.split_once('=').or_else(|| option.split_once(':')).ok_or_else(|| wrong(1))?;
        match (key, value) {
            ("no-new-privileges", "true") => self.no_new_privileges = true,
            ("no-new-privileges", "false") => self.no_new_privileges = false,
            ("seccomp", "unconfined") => self.filter = Filter::Unconfined,
            ("seccomp", "builtin") => self.filter = Filter::Default,
            ("seccomp", profile) => self.filter = Filter::Profile(profile.to_owned()),
            ("apparmor", "" | "unconfined") => self.profile = None,
            ("apparmor", profile) => self.profile = Some(profile.to_owned()),
            ("label", "disable") => {}
            ("label", label) => self.label = Some(label.to_owned()),
            ("writable-cgroups", _) => return Err(Error::unsupported("--security-opt writable-cgroups")),
            _ => return Err(wrong(2)),
        }
        Ok(())
    }

    /// Refuses to leave out what the kernel could do. Where it cannot, dockerd does nothing either.
    fn check(&self, kernel: Confinement) -> Result<()> {
        match (&self.profile, &self.label) {
            (Some(profile), _) if kernel.apparmor => {
                Err(Error::unsupported(format!("--security-opt apparmor={profile}")))
            }
            (_, Some(label)) if kernel.selinux => {
                Err(Error::unsupported(format!("--security-opt label={label}")))
            }
            _ => Ok(()),
        }
    }
}

/// The container's filter.
pub(crate) fn filter(record: &Record) -> Result<Filter> {
    Ok(Security::parse(&record.host_config)?.filter)
}

/// What can be refused before anything is made. For the creation.
pub(crate) fn check(host: &api::host_config::HostConfig, kernel: Confinement) -> Result<()> {
    let security = Security::parse(host)?;
    security.check(kernel)?;
    if let Filter::Profile(json) = &security.filter {
        runtime::defaults::seccomp_profile(json.as_bytes(), &[])?;
    }
    container_capabilities(host)?;
    host.resources
        .device_cgroup_rules
        .iter()
        .flatten()
        .try_for_each(|rule| devices::parse_rule(rule).map(drop))
}

#[cfg(test)]
mod tests;
