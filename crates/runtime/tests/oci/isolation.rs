//! What a container sees and may do.

use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use oci::runtime::{
    Cpu, Device, IdMapping, Memory, Mount, Namespace, NamespaceKind, Pids, Resources, Rlimit, User,
};

use sys::mount::{self, Attributes, Propagation};
use sys::namespace::Kinds;

use crate::bundle::Bundle;

fn bind(source: impl Into<std::path::PathBuf>, destination: &str, options: &[&str]) -> Mount {
    Mount {
        source: source.into(),
        destination: destination.into(),
        kind: "bind".into(),
        options: options.iter().map(|option| (*option).to_owned()).collect(),
        ..Mount::default()
    }
}

#[test]
fn the_container_has_namespaces_of_its_own() {
    let script = "for kind in pid net ipc uts mnt cgroup; do readlink /proc/self/ns/$kind; done; echo pid $$; hostname";
    let inside = Bundle::script(script).run().succeeded();
    for kind in ["pid", "net", "ipc", "uts", "mnt", "cgroup"] {
        let ours = std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
        assert!(inside.contains(&format!("{kind}:[")), "{inside}");
        assert!(!inside.contains(ours.to_str().unwrap()), "{kind} is the host's");
    }
    assert!(inside.ends_with("pid 1\nboxed\n"), "{inside}");
}

#[test]
fn namespaces_left_out_are_the_hosts() {
    let bundle = Bundle::script("readlink /proc/self/ns/net; readlink /proc/self/ns/uts")
        .with(|spec| spec.hostname.clear())
        .with_linux(|linux| {
            linux.namespaces.retain(|ns| !matches!(ns.kind, NamespaceKind::Network | NamespaceKind::Uts));
        });
    let ours =
        |kind| std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().to_str().unwrap().to_owned();
    assert_eq!(bundle.run().succeeded(), format!("{}\n{}\n", ours("net"), ours("uts")));
}

#[test]
fn namespaces_are_joined_by_path() {
    let first = Bundle::program(&["sleep", "600"]);
    first.detached(&["run", "-d", "--bundle", "BUNDLE", "ID"]).succeeded();
    let pid = first.state()["pid"].as_i64().unwrap();
    let script = "hostname; for kind in pid net ipc uts; do readlink /proc/self/ns/$kind; done; ps | grep -c '[s]leep 600'";
    let second = Bundle::script(script).with(|spec| spec.hostname.clear()).with_linux(|linux| {
        for (kind, link) in [
            (NamespaceKind::Pid, "pid"),
            (NamespaceKind::Network, "net"),
            (NamespaceKind::Ipc, "ipc"),
            (NamespaceKind::Uts, "uts"),
        ] {
            linux.namespaces.retain(|ns| ns.kind != kind);
            linux.namespaces.push(Namespace { kind, path: format!("/proc/{pid}/ns/{link}").into() });
        }
    });
    let links: String = ["pid", "net", "ipc", "uts"]
        .map(|kind| format!("{}\n", std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap().display()))
        .concat();
    assert_eq!(second.run().succeeded(), format!("boxed\n{links}1\n"));
}

#[test]
fn a_user_namespace_maps_root_away() {
    let bundle = Bundle::script("id -u; cat /proc/self/uid_map; echo x > /dev/null; ls -l /tmp | wc -l")
        .with_linux(|linux| {
            linux.namespaces.push(NamespaceKind::User.into());
            let map = IdMapping { container_id: 0, host_id: 100_000, size: 65_536 };
            linux.uid_mappings = vec![map];
            linux.gid_mappings = vec![map];
        });
    open_to_all(&bundle);
    let text = bundle.run().succeeded();
    let words: Vec<_> = text.split_whitespace().collect();
    assert_eq!(words, ["0", "0", "100000", "65536", "1"]);
}

/// The mapped root is nobody in particular outside.
fn open_to_all(bundle: &Bundle) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(bundle.path(""), std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn the_default_devices_work() {
    let script =
        "ls /dev; echo x > /dev/null && head -c 3 /dev/zero | wc -c; readlink /dev/fd; readlink /dev/ptmx";
    let text = Bundle::script(script).run().succeeded();
    for name in [
        "null", "zero", "full", "tty", "random", "urandom", "fd", "stdin", "stdout", "stderr", "ptmx", "pts",
        "shm",
    ] {
        assert!(text.lines().any(|line| line == name), "{name} is missing in {text}");
    }
    assert!(text.ends_with("3\n/proc/self/fd\npts/ptmx\n"), "{text}");
}

#[test]
fn a_device_beyond_the_rules_cannot_be_opened() {
    let bundle = Bundle::script("head -c 1 /dev/disk").with_linux(|linux| {
        linux.devices = vec![Device {
            path: "/dev/disk".into(),
            kind: "b".into(),
            major: 7,
            minor: 0,
            ..Device::default()
        }];
    });
    bundle.run().failed_with("head: /dev/disk: Operation not permitted");
}

#[test]
fn wanted_devices_have_their_owner_and_mode() {
    let bundle = Bundle::script("stat -c '%F %t:%T %a %u:%g' /dev/x/mine").with_linux(|linux| {
        linux.devices = vec![Device {
            path: "/dev/x/mine".into(),
            kind: "c".into(),
            major: 10,
            minor: 200,
            file_mode: Some(0o640),
            uid: Some(5),
            gid: Some(6),
        }];
    });
    assert_eq!(bundle.run().succeeded(), "character special file a:c8 640 5:6\n");
}

#[test]
fn a_read_only_root_stays_so_but_for_its_mounts() {
    let bundle = Bundle::script("touch /x 2>&1; touch /tmp/x && echo tmp; touch /dev/shm/x && echo shm")
        .with(|spec| {
            spec.root.as_mut().unwrap().readonly = true;
            spec.mounts.push(Mount {
                destination: "/tmp".into(),
                kind: "tmpfs".into(),
                source: "tmpfs".into(),
                ..Mount::default()
            });
        });
    assert_eq!(bundle.run().succeeded(), "touch: /x: Read-only file system\ntmp\nshm\n");
}

#[test]
fn masked_and_read_only_paths_are_out_of_reach() {
    let script =
        "cat /hidden; ls /secrets; touch /fixed/x 2>&1; cat /fixed/old; echo 1 > /proc/sys/vm/swappiness";
    let bundle = Bundle::script(&format!("{{ {script}; }} 2>&1 || true")).with_linux(|linux| {
        linux.masked_paths.extend(["/hidden", "/secrets", "/does/not/exist"].map(Into::into));
        linux.readonly_paths.extend(["/fixed", "/nor/this"].map(Into::into));
    });
    std::fs::write(bundle.path("rootfs/hidden"), "secret").unwrap();
    std::fs::create_dir_all(bundle.path("rootfs/secrets/deep")).unwrap();
    std::fs::create_dir(bundle.path("rootfs/fixed")).unwrap();
    std::fs::write(bundle.path("rootfs/fixed/old"), "old\n").unwrap();
    let text = bundle.run().succeeded();
    assert!(!text.contains("secret") && !text.contains("deep"), "{text}");
    assert!(text.contains("touch: /fixed/x: Read-only file system\nold\n"), "{text}");
    assert!(text.contains("can't create /proc/sys/vm/swappiness: Read-only file system"), "{text}");
}

#[test]
fn bind_mounts_of_files_and_folders() {
    let bundle = Bundle::script("cat /etc/hosts /data/in; touch /data/x 2>&1; touch /rw/out; umask");
    std::fs::create_dir(bundle.path("data")).unwrap();
    std::fs::create_dir(bundle.path("rw")).unwrap();
    std::fs::write(bundle.path("data/in"), "in\n").unwrap();
    std::fs::write(bundle.path("hosts"), "hosts\n").unwrap();
    let mounts = [
        bind(bundle.path("hosts"), "/etc/hosts", &["rbind", "rprivate"]),
        bind(bundle.path("data"), "/data", &["rbind", "ro", "rprivate"]),
        bind("rw", "/rw", &["bind"]),
    ];
    let bundle = bundle.with(|spec| spec.mounts.extend(mounts));
    assert_eq!(bundle.run().succeeded(), "hosts\nin\ntouch: /data/x: Read-only file system\n0022\n");
    assert!(bundle.path("rw/out").exists());
}

#[test]
fn mount_places_are_resolved_beneath_the_root() {
    let bundle = Bundle::script("cat /link/inside");
    std::os::unix::fs::symlink("/escape", bundle.path("rootfs/link")).unwrap();
    std::fs::create_dir(bundle.path("rootfs/escape")).unwrap();
    std::fs::create_dir(bundle.path("data")).unwrap();
    std::fs::write(bundle.path("data/inside"), "here\n").unwrap();
    let mount = bind(bundle.path("data"), "/link", &["rbind"]);
    assert_eq!(bundle.with(|spec| spec.mounts.push(mount)).run().succeeded(), "here\n");
    assert!(!std::path::Path::new("/escape").exists());
}

#[test]
fn mounts_are_not_seen_by_the_host() {
    let bundle = Bundle::program(&["sleep", "600"]);
    bundle.detached(&["run", "-d", "--bundle", "BUNDLE", "ID"]).succeeded();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(bundle.path("rootfs").to_str().unwrap()), "{mounts}");
}

/// Whether a mount that the container makes in a folder of the host is seen there.
fn host_sees_inner_mount(propagation: &[&str]) -> bool {
    let script = "mkdir /x/inner && mount -t tmpfs none /x/inner && touch /x/inner/seen";
    let bundle = Bundle::script(script)
        .with_process(|process| {
            let own = process.capabilities.as_mut().unwrap();
            for set in [&mut own.bounding, &mut own.effective, &mut own.permitted] {
                set.push("CAP_SYS_ADMIN".into());
            }
        })
        .with_linux(|linux| linux.seccomp = None);
    let folder = bundle.path("shared");
    std::fs::create_dir(&folder).unwrap();
    let options = [&["rbind"], propagation].concat();
    let bundle = bundle.with(|spec| spec.mounts.push(bind(&folder, "/x", &options)));
    // A host of our own, whose mounts go with it.
    sys::namespace::in_new_namespace(Kinds::MOUNT, || {
        let tmpfs = mount::new_filesystem("tmpfs", None, &[], Attributes::NONE)?;
        mount::attach_at(tmpfs.as_fd(), mount::current_folder(), &folder)?;
        mount::set_propagation(mount::current_folder(), &folder, Propagation::Shared, false)?;
        bundle.run().succeeded();
        sys::fs::exists(folder.join("inner/seen"))
    })
    .unwrap()
}

#[test]
fn mounts_reach_the_host_only_from_what_is_shared_with_it() {
    assert!(host_sees_inner_mount(&["rshared"]));
    assert!(host_sees_inner_mount(&["shared"]));
    assert!(!host_sees_inner_mount(&["rslave"]));
    assert!(!host_sees_inner_mount(&["rprivate"]));
    assert!(!host_sees_inner_mount(&[]));
}

#[test]
fn tmpcopyup_begins_with_the_images_content() {
    let bundle = Bundle::script("cat /seed/a/b; stat -c %a /seed/a; touch /seed/new").with(|spec| {
        let options = vec!["tmpcopyup".into(), "mode=755".into()];
        spec.mounts.push(Mount {
            destination: "/seed".into(),
            kind: "tmpfs".into(),
            source: "tmpfs".into(),
            options,
            ..Mount::default()
        });
    });
    std::fs::create_dir_all(bundle.path("rootfs/seed/a")).unwrap();
    std::fs::write(bundle.path("rootfs/seed/a/b"), "seed\n").unwrap();
    assert_eq!(bundle.run().succeeded(), "seed\n755\n");
    assert!(!bundle.path("rootfs/seed/new").exists());
}

#[test]
fn the_own_cgroup_is_seen_and_not_written() {
    let script = "cat /proc/self/cgroup | grep -v ':/$'; mkdir /sys/fs/cgroup/pids/x 2>&1; cat /sys/fs/cgroup/pids/pids.max";
    let bundle = Bundle::script(script).with_linux(|linux| {
        linux.resources = Some(Resources { pids: Some(Pids { limit: Some(77) }), ..Resources::default() });
    });
    assert_eq!(
        bundle.run().succeeded(),
        "mkdir: can't create directory '/sys/fs/cgroup/pids/x': Read-only file system\n77\n"
    );
}

#[test]
fn limits_are_written_and_go_with_the_container() {
    let bundle = Bundle::program(&["sleep", "600"]).with_linux(|linux| {
        linux.resources = Some(Resources {
            memory: Some(Memory { limit: Some(64 << 20), reservation: Some(32 << 20), ..Memory::default() }),
            cpu: Some(Cpu {
                shares: Some(512),
                quota: Some(50_000),
                period: Some(100_000),
                cpus: "0".into(),
                ..Cpu::default()
            }),
            pids: Some(Pids { limit: Some(20) }),
            ..Resources::default()
        });
    });
    bundle.detached(&["run", "-d", "--bundle", "BUNDLE", "ID"]).succeeded();
    assert_eq!(bundle.limit("memory", "memory.limit_in_bytes"), (64 << 20).to_string());
    assert_eq!(bundle.limit("memory", "memory.soft_limit_in_bytes"), (32 << 20).to_string());
    assert_eq!(bundle.limit("cpu", "cpu.shares"), "512");
    assert_eq!(bundle.limit("cpu", "cpu.cfs_quota_us"), "50000");
    assert_eq!(bundle.limit("cpuset", "cpuset.cpus"), "0");
    assert_eq!(bundle.limit("pids", "pids.max"), "20");
    let stats = bundle.cgroup().stats().unwrap();
    assert_eq!(stats.pids.current, 1);
    assert_eq!(stats.memory.limit, 64 << 20);
    assert!(stats.memory.usage > 0 && stats.cpu.total_ns > 0);
    bundle.command(&["delete", "--force", "ID"]).succeeded();
    bundle.assert_nothing_left();
}

#[test]
fn memory_beyond_the_limit_is_refused_with_a_kill() {
    let bundle = Bundle::script("(head -c 100000000 /dev/zero | tail) ; exit 3").with_linux(|linux| {
        let memory = Memory { limit: Some(16 << 20), swap: Some(16 << 20), ..Memory::default() };
        linux.resources = Some(Resources { memory: Some(memory), ..Resources::default() });
    });
    bundle.create().succeeded();
    let events = bundle.cgroup().oom_events().unwrap();
    bundle.command(&["start", "ID"]).succeeded();
    assert!(sys::poll::wait_readable(&events, Some(std::time::Duration::from_secs(60))).unwrap());
    bundle.wait();
    assert!(bundle.cgroup().oom_kills().unwrap() > 0);
}

#[test]
fn capabilities_are_exactly_those_named() {
    let script = "grep -E 'Cap(Inh|Prm|Eff|Bnd|Amb)|NoNewPrivs|Seccomp:' /proc/self/status";
    let bundle = Bundle::script(script).with_process(|process| {
        let capabilities = process.capabilities.as_mut().unwrap();
        capabilities.bounding = vec!["CAP_CHOWN".into(), "CAP_NET_RAW".into()];
        capabilities.effective = vec!["CAP_NET_RAW".into()];
        capabilities.permitted = vec!["CAP_NET_RAW".into()];
        capabilities.inheritable = vec!["CAP_NET_RAW".into()];
        capabilities.ambient = vec!["CAP_NET_RAW".into()];
        process.user = User { uid: 1000, gid: 1000, ..User::default() };
    });
    let text = bundle.run().succeeded();
    let words: Vec<_> = text.split_whitespace().collect();
    let (raw, both) = ("0000000000002000", "0000000000002001");
    assert_eq!(
        words,
        [
            "CapInh:",
            raw,
            "CapPrm:",
            raw,
            "CapEff:",
            raw,
            "CapBnd:",
            both,
            "CapAmb:",
            raw,
            "NoNewPrivs:",
            "0",
            "Seccomp:",
            "2"
        ]
    );
}

#[test]
fn a_user_without_rights_is_one() {
    let script = "id; grep -E 'CapEff|NoNewPrivs' /proc/self/status; echo $HOME; umask; ls /root 2>&1; echo out > /dev/stdout";
    let bundle = Bundle::script(script).with_process(|process| {
        process.user = User { uid: 1000, gid: 1001, umask: Some(0o027), additional_gids: vec![7, 8] };
        process.no_new_privileges = true;
    });
    open_to_all(&bundle);
    std::fs::set_permissions(bundle.path("rootfs/root"), std::os::unix::fs::PermissionsExt::from_mode(0o700))
        .unwrap();
    insta::assert_snapshot!(bundle.run().succeeded(), @r"
    uid=1000(user) gid=1001 groups=7,8
    CapEff:	0000000000000000
    NoNewPrivs:	1
    /home/user
    0027
    ls: can't open '/root': Permission denied
    out
    ");
}

#[test]
fn resource_limits_and_the_oom_score() {
    let bundle =
        Bundle::script("ulimit -n; ulimit -H -n; cat /proc/self/oom_score_adj").with_process(|process| {
            process.rlimits = vec![Rlimit { kind: "RLIMIT_NOFILE".into(), soft: 100, hard: 200 }];
            process.oom_score_adj = Some(123);
        });
    assert_eq!(bundle.run().succeeded(), "100\n200\n123\n");
}

#[test]
fn sysctls_of_own_namespaces_are_set() {
    let bundle = Bundle::script("cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/msgmax")
        .with_linux(|linux| {
            linux.sysctl.insert("net.ipv4.ip_unprivileged_port_start".into(), "1024".into());
            linux.sysctl.insert("kernel.msgmax".into(), "4242".into());
        });
    let before = std::fs::read_to_string("/proc/sys/kernel/msgmax").unwrap();
    assert_eq!(bundle.run().succeeded(), "1024\n4242\n");
    assert_eq!(std::fs::read_to_string("/proc/sys/kernel/msgmax").unwrap(), before);
}

#[test]
fn the_loopback_is_up() {
    let text = Bundle::script("ip addr show lo").run().succeeded();
    assert!(text.contains("LOOPBACK,UP") && text.contains("127.0.0.1/8"), "{text}");
}

#[test]
fn the_default_filter_forbids_what_docker_forbids() {
    // Without a filter a process with CAP_SYS_ADMIN could mount; with it and without the capability it gets EPERM.
    let text = Bundle::script("mount -t tmpfs none /tmp 2>&1; exit 0").run().succeeded();
    assert!(text.contains("permission denied") || text.contains("Operation not permitted"), "{text}");
}

#[test]
fn a_strict_filter_still_lets_the_program_start() {
    use oci::runtime::{Seccomp, SeccompAction, SeccompSyscall};
    let names = [
        "execve",
        "write",
        "writev",
        "exit_group",
        "brk",
        "arch_prctl",
        "set_tid_address",
        "uname",
        "prctl",
        "capset",
        "mprotect",
        "getrandom",
        "readlink",
        "readlinkat",
        "prlimit64",
        "getuid",
        "getgid",
        "set_robust_list",
        "rseq",
        "mmap",
    ];
    let bundle = Bundle::program(&["/bin/busybox", "echo", "small"]).with_linux(|linux| {
        linux.seccomp = Some(Seccomp {
            default_action: SeccompAction::Errno,
            syscalls: vec![SeccompSyscall {
                names: names.map(str::to_owned).into(),
                action: SeccompAction::Allow,
                ..SeccompSyscall::default()
            }],
            ..Seccomp::default()
        });
    });
    assert_eq!(bundle.run().succeeded(), "small\n");
}

#[test]
fn no_descriptor_of_ours_is_left_open() {
    // The last one is the listing's own.
    assert_eq!(Bundle::program(&["ls", "/proc/self/fd"]).run().succeeded(), "0\n1\n2\n3\n");
}

#[test]
fn the_working_folder_is_made() {
    let bundle = Bundle::program(&["pwd"]).with_process(|process| process.cwd = "/new/place".into());
    assert_eq!(bundle.run().succeeded(), "/new/place\n");
    assert_eq!(std::fs::metadata(bundle.path("rootfs/new/place")).unwrap().mode() & 0o777, 0o755);
}

#[test]
fn our_own_binary_cannot_be_written_through_proc() {
    // The program is ourselves, reached as the container reaches us: CVE-2019-5736.
    let bundle =
        Bundle::script("echo x > /proc/1/exe").with_process(|process| process.args[0] = "/bin/sh".into());
    assert_ne!(bundle.run().code, 0);
    let stat = std::fs::metadata(env!("CARGO_BIN_EXE_kogge-runtime")).unwrap();
    assert!(stat.len() > 100_000);
}

#[test]
fn a_tmpfs_looks_like_what_it_covers() {
    use std::os::unix::fs::PermissionsExt;
    let tmpfs = |destination: &str, options: &[&str]| Mount {
        kind: "tmpfs".into(),
        ..bind("tmpfs", destination, options)
    };
    let bundle = Bundle::script("stat -c %a /tmp /new /root; mount | grep -c 'tmpfs on /dev type tmpfs (ro'")
        .with(|spec| {
            spec.mounts.push(tmpfs("/tmp", &["nosuid"]));
            spec.mounts.push(tmpfs("/new", &["mode=0444"]));
            spec.mounts.push(tmpfs("/root", &[]));
            let dev = spec.mounts.iter_mut().find(|mount| mount.destination.ends_with("dev")).unwrap();
            dev.options.push("ro".into());
        });
    std::fs::set_permissions(bundle.path("rootfs/tmp"), std::fs::Permissions::from_mode(0o7717)).unwrap();
    std::fs::set_permissions(bundle.path("rootfs/root"), std::fs::Permissions::from_mode(0o710)).unwrap();
    assert_eq!(bundle.run().succeeded(), "7717\n444\n710\n1\n");
}

#[test]
fn a_shared_root_is_shared_with_nobody_before() {
    let bundle = Bundle::script("awk '$5 == \"/\"' /proc/self/mountinfo")
        .with_linux(|linux| linux.rootfs_propagation = "shared".into());
    let line = bundle.run().succeeded();
    assert!(line.contains(" shared:") && !line.contains(" master:"), "{line}");
}

#[test]
fn a_path_that_is_masked_twice_is_masked_once() {
    let bundle = Bundle::script("grep -c /hidden /proc/self/mountinfo")
        .with_linux(|linux| linux.masked_paths.extend(["/hidden", "/hidden"].map(Into::into)));
    std::fs::create_dir(bundle.path("rootfs/hidden")).unwrap();
    assert_eq!(bundle.run().succeeded(), "1\n");
}

#[test]
fn proc_is_not_mounted_behind_a_link() {
    let bundle = Bundle::script("true");
    std::fs::remove_dir(bundle.path("rootfs/proc")).unwrap();
    std::fs::create_dir(bundle.path("rootfs/elsewhere")).unwrap();
    std::os::unix::fs::symlink("/elsewhere", bundle.path("rootfs/proc")).unwrap();
    bundle.run().failed_with("proc must be mounted on ordinary directory");
    bundle.assert_nothing_left();
}
