//! What a record, an image and the host come to as a spec.

use super::*;
use crate::ContainerId;
use crate::record::{Mount, MountKind, NEVER};

/// The spec of a request, with two peers and one device at hand.
fn resolved(json: &str, mounts: Vec<Mount>) -> Result<Spec> {
    resolved_on(Confinement::default(), json, mounts)
}

fn resolved_on(confinement: Confinement, json: &str, mounts: Vec<Mount>) -> Result<Spec> {
    let wanted: api::container::Create = api::from_slice(json.as_bytes()).unwrap();
    let id: ContainerId = "4f".repeat(32).parse().unwrap();
    let mut record = Record::new(id, "x".into(), NEVER.into());
    record.config = wanted.config;
    record.host_config = wanted.host_config;
    record.mounts = mounts;
    let user = User { uid: 33, gid: 34, groups: vec![1, 29], home: "/var/www".into() };
    let facts = Facts {
        user: &user,
        cgroup: "/kogge/4f".into(),
        folder: Path::new("/folder"),
        init: Path::new("/usr/bin/kogge-runtime"),
        ipc_peer: record.host_config.ipc_mode.starts_with("container:").then(|| "/proc/7/ns/ipc".into()),
        pid_peer: record.host_config.pid_mode.starts_with("container:").then(|| "/proc/8/ns/pid".into()),
        host_devices: vec![fuse()],
        find_devices: |path| match path.to_str() {
            Some("/dev/fuse") => Ok(vec![fuse()]),
            _ => Err(Error::not_found("stat /dev/none: no such file or directory")),
        },
        confinement,
    };
    spec(&record, facts)
}

fn fuse() -> Device {
    Device { path: "/dev/fuse".into(), kind: "c".into(), major: 10, minor: 229, ..Device::default() }
}

const PLAIN: &str = r#""Hostname":"host","Cmd":["sh"],"Image":"x""#;

#[test]
fn a_plain_container() {
    let spec = resolved(
        &format!(
            r#"{{{PLAIN},"HostConfig":{{"ShmSize":67108864,"CgroupnsMode":"private","NetworkMode":"bridge",
            "MaskedPaths":["/proc/kcore"],"ReadonlyPaths":["/proc/sys"]}}}}"#
        ),
        Vec::new(),
    );
    insta::assert_json_snapshot!(spec.unwrap());
}

#[test]
fn every_flag_at_once() {
    let mounts = vec![
        Mount {
            kind: MountKind::Bind,
            source: "/src".into(),
            destination: "/a/b".into(),
            read_only: true,
            propagation: "rslave".into(),
            ..Mount::default()
        },
        Mount {
            kind: MountKind::Volume,
            source: "/v/_data".into(),
            destination: "/a".into(),
            subpath: "s".into(),
            ..Mount::default()
        },
        Mount {
            kind: MountKind::Tmpfs,
            destination: "/run".into(),
            options: vec!["size=1m".into()],
            ..Mount::default()
        },
        Mount {
            kind: MountKind::Bind,
            source: "/hosts".into(),
            destination: "/etc/hosts".into(),
            non_recursive: true,
            ..Mount::default()
        },
    ];
    let spec = resolved(
        r#"{"Hostname":"host","Domainname":"example.org","Tty":true,"Entrypoint":["/e"],"Cmd":["c"],"WorkingDir":"/w",
        "Env":["PATH=/bin","A=1","TERM"],"HostConfig":{"Init":true,"ConsoleSize":[24,80],"CapAdd":["NET_ADMIN"],
        "CapDrop":["ALL"],"ReadonlyRootfs":true,"OomScoreAdj":-5,"ShmSize":1,"IpcMode":"container:a","PidMode":"container:b",
        "NetworkMode":"container:c","CgroupnsMode":"host","SecurityOpt":["no-new-privileges","seccomp=unconfined"],
        "Annotations":{"k":"v"},"Sysctls":{"net.core.somaxconn":"7"},"Memory":1,"MemorySwap":-1,"MemoryReservation":2,
        "MemorySwappiness":0,"NanoCpus":1500000000,"CpuShares":512,"CpusetCpus":"0","PidsLimit":9,"OomKillDisable":true,
        "BlkioWeight":10,"BlkioDeviceReadBps":[{"Path":"/dev/fuse","Rate":5}],
        "Ulimits":[{"Name":"nofile","Soft":1,"Hard":-1}],"DeviceCgroupRules":["c 1:* r"],
        "Devices":[{"PathOnHost":"/dev/fuse","PathInContainer":"/dev/x","CgroupPermissions":"r"}]}}"#,
        mounts,
    );
    insta::assert_json_snapshot!(spec.unwrap());
}

#[test]
fn a_privileged_container_on_the_host() {
    let spec = resolved(
        &format!(
            r#"{{{PLAIN},"HostConfig":{{"Privileged":true,"NetworkMode":"host","PidMode":"host","IpcMode":"host",
            "UTSMode":"host","CgroupnsMode":"host"}}}}"#
        ),
        Vec::new(),
    );
    let mut spec = spec.unwrap();
    let sets = spec.process.as_mut().unwrap().capabilities.take().unwrap();
    assert_eq!(sets.effective, capabilities::available());
    insta::assert_json_snapshot!(spec);
}

#[test]
fn an_own_dev_takes_the_place_of_all_beneath() {
    let dev = Mount { source: "/dev".into(), destination: "/dev".into(), ..Mount::default() };
    let spec = resolved(&format!("{{{PLAIN}}}"), vec![dev]).unwrap();
    let at: Vec<_> = spec.mounts.iter().map(|mount| mount.destination.to_str().unwrap()).collect();
    assert_eq!(
        at,
        ["/proc", "/sys", "/sys/fs/cgroup", "/dev", "/etc/resolv.conf", "/etc/hostname", "/etc/hosts"]
    );
}

#[test]
fn what_the_kernel_could_confine_with_is_not_left_out() {
    let on = |confinement: Confinement, option: &str| {
        let json = format!(r#"{{{PLAIN},"HostConfig":{{"SecurityOpt":["{option}"]}}}}"#);
        match resolved_on(confinement, &json, Vec::new()) {
            Ok(_) => "started".to_owned(),
            Err(error) => error.to_string(),
        }
    };
    let apparmor = Confinement { apparmor: true, selinux: false };
    let selinux = Confinement { apparmor: false, selinux: true };
    let texts = [
        on(Confinement::default(), "apparmor=strict"),
        on(Confinement::default(), "label=type:x"),
        on(apparmor, "apparmor=strict"),
        on(apparmor, "apparmor:unconfined"),
        on(apparmor, "label=type:x"),
        on(selinux, "label=type:x"),
        on(selinux, "label:disable"),
        on(selinux, "disable"),
        on(Confinement::default(), "systempaths=unconfined"),
        on(Confinement::default(), "writable-cgroups=true"),
    ];
    insta::assert_snapshot!(texts.join("\n"), @r#"
    started
    started
    not supported: --security-opt apparmor=strict
    started
    started
    not supported: --security-opt label=type:x
    started
    started
    invalid --security-opt 2: "systempaths=unconfined"
    not supported: --security-opt writable-cgroups
    "#);
}

#[test]
fn refusals_have_docker_s_words() {
    let refused = |host: &str| {
        resolved(&format!(r#"{{{PLAIN},"HostConfig":{{{host}}}}}"#), Vec::new()).unwrap_err().to_string()
    };
    assert_eq!(refused(r#""SecurityOpt":["foo"]"#), "invalid --security-opt 1: \"foo\"");
    assert_eq!(refused(r#""SecurityOpt":["foo=bar"]"#), "invalid --security-opt 2: \"foo=bar\"");
    assert_eq!(
        refused(r#""Devices":[{"PathOnHost":"/dev/none"}]"#),
        "error gathering device information while adding custom device \"/dev/none\": stat /dev/none: no such file or directory"
    );
}

#[test]
fn an_exec_has_the_container_s_ways() {
    let mut record = Record::new("4f".repeat(32).parse().unwrap(), "x".into(), NEVER.into());
    record.config.env = Some(vec!["A=1".into()]);
    record.config.working_dir = "/w".into();
    let wanted = api::exec::Create {
        cmd: vec!["ls".into()],
        env: vec!["A=2".into()],
        tty: true,
        ..Default::default()
    };
    let process = exec(&record, &wanted, &User { home: "/".into(), ..User::default() }).unwrap();
    assert_eq!((process.cwd.to_str().unwrap(), process.terminal), ("/w", true));
    assert!(process.env.contains(&"A=2".to_owned()) && process.env.contains(&"TERM=xterm".to_owned()));
    let privileged = api::exec::Create { privileged: true, ..wanted };
    let sets = exec(&record, &privileged, &User::default()).unwrap().capabilities.unwrap();
    assert_eq!(sets.bounding, capabilities::available());
}
