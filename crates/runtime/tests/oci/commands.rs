//! The life of a container by commands.

use crate::bundle::Bundle;

fn sleeping() -> Bundle {
    let bundle = Bundle::program(&["sleep", "600"]);
    bundle.detached(&["run", "-d", "--bundle", "BUNDLE", "ID"]).succeeded();
    bundle
}

#[test]
fn run_passes_output_and_exit_code_on() {
    let bundle = Bundle::script("echo out; echo err >&2; exit 7");
    let answer = bundle.run();
    assert_eq!((answer.code, answer.stdout.as_str(), answer.stderr.as_str()), (7, "out\n", "err\n"));
    bundle.assert_nothing_left();
}

#[test]
fn a_container_lives_through_its_states() {
    let bundle = Bundle::script("echo started; exec sleep 600");
    bundle
        .detached(&["create", "--bundle", "BUNDLE", "--pid-file", bundle.path("pid").to_str().unwrap(), "ID"])
        .succeeded();
    assert_eq!(bundle.status(), "created");
    assert_eq!(bundle.output(), "");
    let pid = std::fs::read_to_string(bundle.path("pid")).unwrap();
    assert_eq!(bundle.state()["pid"].to_string(), pid);
    bundle.command(&["start", "ID"]).succeeded();
    assert_eq!(bundle.status(), "running");
    while bundle.output().is_empty() {
        std::thread::yield_now();
    }
    bundle.command(&["start", "ID"]).failed_with("cannot start an already running container");
    bundle.command(&["delete", "ID"]).failed_with("that is not stopped: running");
    bundle.command(&["pause", "ID"]).succeeded();
    assert_eq!(bundle.status(), "paused");
    bundle.command(&["exec", "ID", "true"]).failed_with("cannot exec in a paused container");
    bundle.command(&["resume", "ID"]).succeeded();
    bundle.command(&["kill", "ID", "KILL"]).succeeded();
    bundle.wait();
    assert_eq!(bundle.status(), "stopped");
    bundle.command(&["kill", "ID"]).failed_with("container not running");
    assert_eq!(bundle.output(), "started\n");
    bundle.command(&["delete", "ID"]).succeeded();
    bundle.command(&["state", "ID"]).failed_with("container does not exist");
    bundle.assert_nothing_left();
}

#[test]
fn a_created_container_is_deleted_without_force() {
    let bundle = Bundle::script("true");
    bundle.create().succeeded();
    bundle.command(&["delete", "ID"]).succeeded();
    bundle.assert_nothing_left();
}

#[test]
fn kill_takes_names_and_numbers() {
    let bundle = Bundle::script("trap 'exit 5' USR1; echo ready; while :; do sleep 0.05; done");
    let mut child = bundle
        .prepared(&["run", "--bundle", "BUNDLE", "ID"], &[])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = [0; 6];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
    bundle.command(&["kill", "ID", "NOPE"]).failed_with("unknown signal");
    bundle.command(&["kill", "ID", "SIGUSR1"]).succeeded();
    assert_eq!(child.wait().unwrap().code(), Some(5));
}

#[test]
fn delete_force_ends_every_process() {
    let bundle = Bundle::script("sleep 600 & sleep 600 & exec sleep 600");
    bundle.detached(&["run", "-d", "--bundle", "BUNDLE", "ID"]).succeeded();
    bundle.command(&["delete", "--force", "ID"]).succeeded();
    bundle.assert_nothing_left();
    bundle.command(&["delete", "--force", "ID"]).succeeded();
    bundle.command(&["delete", "ID"]).failed_with("container does not exist");
}

#[test]
fn an_id_is_used_once() {
    let bundle = sleeping();
    bundle.create().failed_with("container with given ID already exists");
    assert_eq!(bundle.status(), "running");
}

#[test]
fn exec_joins_everything() {
    let bundle = sleeping();
    let script = "hostname; echo $$; pwd; for kind in pid net ipc uts mnt cgroup; do readlink /proc/self/ns/$kind; readlink /proc/1/ns/$kind; done | awk 'NR%2{a=$0;next} a!=$0{print \"differs\", a, $0}'; grep -c ':/$' /proc/self/cgroup; wc -l < /proc/self/cgroup";
    let text = bundle.command(&["exec", "--cwd", "/tmp", "ID", "sh", "-c", script]).succeeded();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!((lines[0], lines[2]), ("boxed", "/tmp"));
    assert_eq!(lines.len(), 5, "{text}");
    assert_eq!(lines[3], lines[4], "{text}");
}

#[test]
fn exec_counts_in_the_containers_limits() {
    let bundle = sleeping();
    let before = bundle.cgroup().pids().unwrap();
    assert_eq!(before.len(), 1);
    bundle
        .detached(&["exec", "-d", "--pid-file", bundle.path("pid").to_str().unwrap(), "ID", "sleep", "601"])
        .succeeded();
    let pid: i32 = std::fs::read_to_string(bundle.path("pid")).unwrap().parse().unwrap();
    assert!(bundle.cgroup().pids().unwrap().contains(&pid));
    for folder in bundle.cgroup().folders() {
        let members = std::fs::read_to_string(folder.join("cgroup.procs")).unwrap();
        assert!(members.lines().any(|line| line == pid.to_string()), "not in {}", folder.display());
    }
    let text = bundle.command(&["ps", "ID"]).succeeded();
    assert!(text.contains("sleep 601"), "{text}");
}

#[test]
fn exec_takes_users_and_environment() {
    let bundle = sleeping();
    let words = [
        "exec",
        "--user",
        "1000:1001",
        "-g",
        "7",
        "-e",
        "A=b c",
        "--no-new-privs",
        "ID",
        "sh",
        "-c",
        "id; echo $A; grep -E 'CapEff|CapBnd|NoNewPrivs|Seccomp:' /proc/self/status",
    ];
    open_to_all(&bundle);
    insta::assert_snapshot!(bundle.command(&words).succeeded(), @r"
    uid=1000(user) gid=1001 groups=7
    b c
    CapEff:	0000000000000000
    CapBnd:	00000000a80425fb
    NoNewPrivs:	1
    Seccomp:	2
    ");
}

fn open_to_all(bundle: &Bundle) {
    std::fs::set_permissions(bundle.path(""), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
}

#[test]
fn exec_takes_a_process_file() {
    let bundle = sleeping();
    let process = serde_json::json!({"args": ["sh", "-c", "echo $X; exit 9"], "env": ["X=y", "PATH=/bin"], "cwd": "/", "user": {"uid": 0, "gid": 0}});
    std::fs::write(bundle.path("process.json"), process.to_string()).unwrap();
    let answer = bundle.command(&["exec", "--process", bundle.path("process.json").to_str().unwrap(), "ID"]);
    assert_eq!((answer.code, answer.stdout.as_str()), (9, "y\n"));
}

#[test]
fn exec_refuses_what_it_would_not_apply() {
    let bundle = sleeping();
    let process = r#"{"args":["true"],"cwd":"/","selinuxLabel":"a"}"#;
    std::fs::write(bundle.path("process.json"), process).unwrap();
    let path = bundle.path("process.json");
    bundle
        .command(&["exec", "--process", path.to_str().unwrap(), "ID"])
        .failed_with("not supported: process.selinuxLabel");
}

#[test]
fn exec_says_what_cannot_be_executed() {
    let bundle = sleeping();
    let cases: [(&[&str], &str); 3] = [
        (&["exec", "ID", "foo"], r#"exec: \"foo\": executable file not found in $PATH"#),
        (&["exec", "ID", "/etc/passwd"], r#"exec: \"/etc/passwd\": permission denied"#),
        (
            &["exec", "--cwd", "/nope", "ID", "true"],
            r#"chdir to cwd (\"/nope\") set in config.json failed: no such file or directory"#,
        ),
    ];
    for (words, message) in cases {
        bundle.command(words).failed_with(message);
    }
    assert_eq!(bundle.cgroup().pids().unwrap().len(), 1);
    assert_eq!(bundle.status(), "running");
}

#[test]
fn exec_needs_a_running_container() {
    let bundle = Bundle::program(&["true"]);
    bundle.detached(&["run", "-d", "--bundle", "BUNDLE", "ID"]).succeeded();
    bundle.wait();
    bundle.command(&["exec", "ID", "true"]).failed_with("cannot exec in a stopped container");
    bundle.command(&["exec", "nobody", "true"]).failed_with("container does not exist");
}

#[test]
fn list_shows_all() {
    let bundle = sleeping();
    assert_eq!(bundle.command(&["list", "-q"]).succeeded(), format!("{}\n", bundle.id));
    let table = bundle.command(&["list"]).succeeded();
    assert!(table.starts_with("ID ") && table.contains(" running "), "{table}");
    let json: serde_json::Value =
        serde_json::from_str(&bundle.command(&["list", "-f", "json"]).succeeded()).unwrap();
    assert_eq!(json[0]["status"], "running");
    assert_eq!(json[0]["bundle"], bundle.path("").to_str().unwrap().trim_end_matches('/'));
}

#[test]
fn spec_writes_a_bundle_that_runs() {
    let bundle = Bundle::script("true");
    std::fs::create_dir(bundle.path("fresh")).unwrap();
    let folder = bundle.path("fresh");
    bundle.command(&["spec", "--bundle", folder.to_str().unwrap()]).succeeded();
    bundle.command(&["spec", "--bundle", folder.to_str().unwrap()]).failed_with("exists. Remove it first");
    let spec: oci::runtime::Spec =
        serde_json::from_slice(&std::fs::read(folder.join("config.json")).unwrap()).unwrap();
    let bundle = bundle.with(|ours| {
        let cgroup = ours.linux.as_ref().unwrap().cgroups_path.clone();
        *ours = spec;
        ours.linux.as_mut().unwrap().cgroups_path = cgroup;
    });
    let bundle = bundle.with_process(|process| {
        process.terminal = false;
        process.args = vec!["hostname".into()];
    });
    assert_eq!(bundle.run().succeeded(), "kogge\n");
}

#[test]
fn features_are_json() {
    let text = Bundle::script("true").command(&["features"]).succeeded();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["linux"]["cgroup"]["v1"], true);
}

#[test]
fn what_is_not_there_says_so() {
    let bundle = Bundle::script("true");
    bundle.command(&["checkpoint", "ID"]).failed_with("not supported: `checkpoint`");
    bundle.command(&["--systemd-cgroup", "list"]).failed_with("not supported: --systemd-cgroup");
    bundle.command(&["frobnicate"]).failed_with("no such command: frobnicate");
    bundle.command(&["list", "--frobnicate"]).failed_with("flag provided but not defined: -frobnicate");
    bundle.command(&["state", "a/b"]).failed_with("invalid container ID format");
}

#[test]
fn a_log_gets_the_reason_as_json() {
    let bundle = Bundle::script("true");
    let log = bundle.path("log.json");
    bundle
        .command(&["--log", log.to_str().unwrap(), "--log-format", "json", "state", "nobody"])
        .failed_with("container does not exist");
    let line: serde_json::Value =
        serde_json::from_str(std::fs::read_to_string(log).unwrap().trim_end()).unwrap();
    assert_eq!(
        (line["level"].as_str(), line["msg"].as_str()),
        (Some("error"), Some("container does not exist"))
    );
}

#[test]
fn version_and_help() {
    let bundle = Bundle::script("true");
    assert!(bundle.command(&["--version"]).succeeded().contains("spec: 1.2"));
    assert!(bundle.command(&["--help"]).succeeded().contains("COMMANDS:"));
}

#[test]
fn every_command_has_help() {
    let bundle = Bundle::script("true");
    let help = bundle.command(&["exec", "-h"]).succeeded();
    assert!(
        help.starts_with("NAME:\n   kogge-runtime exec - execute new process inside the container\n"),
        "{help}"
    );
    assert!(help.contains("   --cwd DIR "), "{help}");
    bundle.command(&["foo", "-h"]).failed_with("No help topic for 'foo'");
}

#[test]
fn debug_tells_what_is_done_and_warnings_are_told_anyway() {
    let bundle = Bundle::script("true").with_process(|process| {
        let capabilities = process.capabilities.as_mut().unwrap();
        capabilities.ambient = vec!["CAP_CHOWN".into()];
        capabilities.bounding.push("CAP_MAGIC".into());
    });
    let log = bundle.path("log");
    let words = ["--log", log.to_str().unwrap(), "--debug", "run", "--bundle", "BUNDLE", "ID"];
    let answer = bundle.command(&words);
    assert_eq!((answer.code, answer.stderr.as_str()), (0, ""));
    let text = std::fs::read_to_string(&log).unwrap();
    for part in [
        "level=debug msg=\"nsexec container setup",
        "level=debug msg=\"seccomp filter flags: 4\"",
        "level=warning msg=\"can't raise ambient capability CAP_CHOWN: ",
        "level=warning msg=\"ignoring unknown or unavailable capabilities: CAP_MAGIC\"",
    ] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
}

#[test]
fn exec_goes_beneath_the_cgroup() {
    let bundle = sleeping();
    let memory = bundle.cgroup().folder_of("memory").unwrap();
    std::fs::create_dir(memory.join("below")).unwrap();
    let cgroup = bundle.command(&["exec", "--cgroup", "memory:below", "ID", "cat", "/proc/self/cgroup"]);
    let cgroup = cgroup.succeeded();
    assert!(cgroup.contains(":memory:/below\n") && cgroup.contains(":cpu:/\n"), "{cgroup}");
    let check =
        |place, message| bundle.command(&["exec", "--cgroup", place, "ID", "true"]).failed_with(message);
    check("..", "bad sub cgroup path");
    check("whaaat:/", "unknown controller whaaat");
    check("memory:nowhere", "error adding pid to cgroups");
}

#[test]
fn an_exec_that_cannot_be_started_has_a_code_of_its_own() {
    let bundle = sleeping();
    assert_eq!(bundle.command(&["exec", "ID", "nosuch"]).code, 255);
    assert_eq!(bundle.command(&["exec", "nobody", "true"]).code, 255);
    assert_eq!(bundle.command(&["exec", "ID", "sh", "-c", "exit 1"]).code, 1);
}

#[test]
fn kill_ends_everybody_where_pids_are_the_hosts() {
    let bundle = Bundle::program(&["sleep", "600"])
        .with_linux(|linux| linux.namespaces.retain(|ns| ns.kind != oci::runtime::NamespaceKind::Pid));
    bundle.detached(&["run", "-d", "--bundle", "BUNDLE", "ID"]).succeeded();
    bundle.detached(&["exec", "-d", "ID", "sleep", "600"]).succeeded();
    let pids = bundle.cgroup().pids().unwrap();
    let processes: Vec<_> = pids.iter().map(|pid| sys::process::PidFd::open(*pid).unwrap()).collect();
    assert_eq!(processes.len(), 2);
    bundle.command(&["kill", "ID", "KILL"]).succeeded();
    for process in &processes {
        let patience = std::time::Duration::from_secs(60);
        assert!(sys::poll::wait_readable(process, Some(patience)).unwrap(), "a process does not end");
    }
    while !bundle.cgroup().pids().unwrap().is_empty() {
        std::thread::yield_now();
    }
    bundle.command(&["kill", "ID", "KILL"]).failed_with("container not running");
}

#[test]
fn a_created_container_heeds_sigterm_and_holds_nothing_of_the_host() {
    let bundle = Bundle::script("true");
    bundle.create().succeeded();
    let fds = format!("/proc/{}/fd", bundle.state()["pid"]);
    let names =
        std::fs::read_dir(fds).unwrap().map(|entry| std::fs::read_link(entry.unwrap().path()).unwrap());
    for name in names.map(|name| name.display().to_string()) {
        let is_needed = ["output", "error", "exec.fifo", "null"].iter().any(|end| name.ends_with(end));
        assert!(
            is_needed || name.starts_with("socket:") || name.starts_with("anon_inode:"),
            "{name} is open"
        );
    }
    bundle.command(&["kill", "ID", "TERM"]).succeeded();
    bundle.wait();
    assert_eq!(bundle.status(), "stopped");
}

#[test]
fn list_is_for_programs_too() {
    let bundle = sleeping();
    let text = bundle.command(&["list", "--format", "json"]).succeeded();
    assert!(text.starts_with("[{\"ociVersion\":\"") && text.ends_with("}]\n"), "{text}");
    bundle.command(&["--root", "/nowhere", "list"]).failed_with("No such file or directory");
}

#[test]
fn run_works_without_pivot() {
    let bundle = Bundle::script("ls /");
    let text = bundle.command(&["run", "--no-pivot", "--bundle", "BUNDLE", "ID"]).succeeded();
    assert!(text.contains("root\n") && !text.contains("home\n"), "{text}");
    bundle.assert_nothing_left();
}
