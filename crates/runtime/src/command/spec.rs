//! `spec`: a specification to begin with, as runc writes it.

use std::path::PathBuf;
use std::process::ExitCode;

use fault::{Error, Kind, Result};
use oci::runtime::{
    Capabilities, DeviceRule, IdMapping, Linux, Mount, Namespace, NamespaceKind, Process, Resources, Rlimit,
    Root, Spec, VERSION,
};
use runtime::cgroup::Layout;
use runtime::defaults;
use sys::fs::{Access, Create, OpenHow};

use super::args::{Args, Global, Word};

pub(super) fn spec(_: &Global, mut args: Args) -> Result<ExitCode> {
    let (mut bundle, mut is_rootless) = (PathBuf::from("."), false);
    while let Some(word) = args.next()? {
        match word {
            Word::Flag(flag) if flag == "b" || flag == "bundle" => bundle = args.path()?,
            Word::Flag(flag) if flag == "rootless" => is_rootless = true,
            Word::Flag(flag) => return Err(args.unknown(&flag)),
            Word::Positional(word) => return Err(Error::invalid(format!("unexpected argument {word:?}"))),
        }
    }
    let mut spec = example(Layout::of_this_machine()?.v1.is_empty());
    if is_rootless {
        make_rootless(&mut spec);
    }
    write(&bundle.join("config.json"), &spec)?;
    Ok(ExitCode::SUCCESS)
}

fn write(path: &std::path::Path, spec: &Spec) -> Result<()> {
    let how = OpenHow { access: Access::Write, create: Create::New, mode: 0o666, ..OpenHow::READ };
    let file = match sys::fs::open(path, &how) {
        Err(error) if error.kind() == Kind::Conflict => {
            return Err(Error::conflict(format!("file {} exists. Remove it first", path.display())));
        }
        result => result?,
    };
    serde_json::to_writer_pretty(file, spec)
        .map_err(|error| Error::internal(format!("writing {}", path.display())).with_source(error))
}

/// A shell in a folder `rootfs`, with few rights. A cgroup namespace of its own it gets as runc has it: where there is
/// only cgroup v2.
fn example(is_v2: bool) -> Spec {
    let capabilities: Vec<_> =
        ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"].map(str::to_owned).into();
    Spec {
        version: VERSION.to_owned(),
        process: Some(Process {
            terminal: true,
            args: vec!["sh".to_owned()],
            env: vec![
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
                "TERM=xterm".to_owned(),
            ],
            cwd: "/".into(),
            capabilities: Some(Capabilities::bounded_by(capabilities)),
            rlimits: vec![Rlimit { kind: "RLIMIT_NOFILE".to_owned(), soft: 1024, hard: 1024 }],
            no_new_privileges: true,
            ..Process::default()
        }),
        root: Some(Root { path: "rootfs".into(), readonly: true }),
        hostname: "kogge".to_owned(),
        mounts: defaults::mounts(),
        linux: Some(linux(is_v2)),
        ..Spec::default()
    }
}

fn linux(is_v2: bool) -> Linux {
    let kinds = [
        NamespaceKind::Pid,
        NamespaceKind::Network,
        NamespaceKind::Ipc,
        NamespaceKind::Uts,
        NamespaceKind::Mount,
    ];
    let kinds = kinds.into_iter().chain(is_v2.then_some(NamespaceKind::Cgroup));
    Linux {
        resources: Some(Resources {
            devices: vec![DeviceRule { access: "rwm".to_owned(), ..DeviceRule::default() }],
            ..Resources::default()
        }),
        namespaces: kinds.map(Namespace::from).collect(),
        masked_paths: defaults::masked_paths(),
        readonly_paths: defaults::readonly_paths(),
        ..Linux::default()
    }
}

/// For a user without rights: his own id is the container's root, the network is the host's, and what takes rights over the
/// host is left out.
fn make_rootless(spec: &mut Spec) {
    let needs_rights = |option: &String| option.starts_with("uid=") || option.starts_with("gid=");
    spec.mounts.retain(|mount| !mount.destination.starts_with("/sys"));
    spec.mounts.iter_mut().for_each(|mount| mount.options.retain(|option| !needs_rights(option)));
    // A new sysfs takes rights over the network.
    spec.mounts.push(Mount {
        destination: "/sys".into(),
        kind: "none".to_owned(),
        source: "/sys".into(),
        options: ["rbind", "nosuid", "noexec", "nodev", "ro"].map(str::to_owned).into(),
        ..Mount::default()
    });
    let Some(linux) = &mut spec.linux else { return };
    linux.namespaces.retain(|namespace| namespace.kind != NamespaceKind::Network);
    linux.namespaces.push(NamespaceKind::User.into());
    let own = |host_id| vec![IdMapping { container_id: 0, host_id, size: 1 }];
    linux.uid_mappings = own(sys::identity::user());
    linux.gid_mappings = own(sys::identity::group());
    linux.resources = None;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_rights_there_is_a_user_namespace_and_no_limit() {
        let mut spec = example(true);
        make_rootless(&mut spec);
        let linux = spec.linux.unwrap();
        let kinds: Vec<_> = linux.namespaces.iter().map(|namespace| namespace.kind).collect();
        assert!(kinds.contains(&NamespaceKind::User) && !kinds.contains(&NamespaceKind::Network));
        assert_eq!((linux.uid_mappings.len(), linux.resources), (1, None));
        assert!(spec.mounts.iter().flat_map(|mount| &mount.options).all(|option| option != "gid=5"));
    }
}
