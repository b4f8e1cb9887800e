//! `spec`: a specification to begin with, as runc writes it.

use std::path::PathBuf;
use std::process::ExitCode;

use fault::{Error, Kind, Result};
use oci::runtime::{
    Capabilities, DeviceRule, Linux, Namespace, NamespaceKind, Process, Resources, Rlimit, Root, Spec,
    VERSION,
};
use runtime::defaults;
use sys::fs::{Access, Create, OpenHow};

use super::args::{Args, Global, Word};

pub(super) fn spec(_: &Global, mut args: Args) -> Result<ExitCode> {
    let mut bundle = PathBuf::from(".");
    while let Some(word) = args.next()? {
        match word {
            Word::Flag(flag) if flag == "b" || flag == "bundle" => bundle = args.path()?,
            Word::Flag(flag) if flag == "rootless" => return Err(Error::unsupported("--rootless")),
            Word::Flag(flag) => return Err(args.unknown(&flag)),
            Word::Positional(word) => return Err(Error::invalid(format!("unexpected argument {word:?}"))),
        }
    }
    write(&bundle.join("config.json"))?;
    Ok(ExitCode::SUCCESS)
}

fn write(path: &std::path::Path) -> Result<()> {
    let how = OpenHow { access: Access::Write, create: Create::New, mode: 0o666, ..OpenHow::READ };
    let file = match sys::fs::open(path, &how) {
        Err(error) if error.kind() == Kind::Conflict => {
            return Err(Error::conflict(format!("file {} exists. Remove it first", path.display())));
        }
        result => result?,
    };
    serde_json::to_writer_pretty(file, &example())
        .map_err(|error| Error::internal(format!("writing {}", path.display())).with_source(error))
}

/// A shell in a folder `rootfs`, with few rights.
pub(super) fn example() -> Spec {
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
        linux: Some(linux()),
        ..Spec::default()
    }
}

fn linux() -> Linux {
    let kinds = [
        NamespaceKind::Pid,
        NamespaceKind::Network,
        NamespaceKind::Ipc,
        NamespaceKind::Uts,
        NamespaceKind::Mount,
        NamespaceKind::Cgroup,
    ];
    Linux {
        resources: Some(Resources {
            devices: vec![DeviceRule { access: "rwm".to_owned(), ..DeviceRule::default() }],
            ..Resources::default()
        }),
        namespaces: kinds.map(Namespace::from).into(),
        masked_paths: defaults::masked_paths(),
        readonly_paths: defaults::readonly_paths(),
        ..Linux::default()
    }
}
