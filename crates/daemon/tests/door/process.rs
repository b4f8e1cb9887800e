//! The daemon as a process: its lock, its files, its signals, its names.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;

use crate::common::{Daemon, read_head, tool};

#[test]
fn it_cleans_up_after_itself() {
    let mut daemon = Daemon::start();
    let mode = std::fs::metadata(daemon.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    assert!(daemon.pid_file().exists());
    assert!(daemon.stop().success());
    assert!(!daemon.socket().exists() && !daemon.pid_file().exists());
}

#[test]
fn a_second_daemon_on_the_same_data_is_refused() {
    let daemon = Daemon::start();
    let rival = daemon.rival();
    assert_eq!(rival.status.code(), Some(1));
    let message = String::from_utf8(rival.stderr).unwrap();
    assert!(message.contains("another daemon is running on the data root"), "{message}");
    assert_eq!(daemon.send("GET", "/_ping", &[], ""), "200 OK", "the first one goes on");
}

#[test]
fn a_reload_does_not_end_it() {
    let mut daemon = Daemon::start();
    daemon.signal("-HUP");
    assert_eq!(daemon.send("GET", "/_ping", &[], ""), "200 OK");
    assert!(daemon.stop().success());
}

#[test]
fn teardown_ends_a_daemon_of_either_name() {
    for name in ["kogged", "dockerd"] {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join(name);
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_kogged"), &program).unwrap();
        let mut daemon = Daemon::start_program(&program, &[]);
        let output = daemon.command(&program).arg("teardown").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(daemon.ended().success());
        assert!(!daemon.socket().exists() && !daemon.pid_file().exists());
    }
}

#[test]
fn a_reload_changes_labels_and_is_told() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let file = folder.path().join("daemon.json");
    std::fs::write(&file, r#"{"labels":["old=1"]}"#).unwrap();
    let daemon = Daemon::start_in(folder, &["--config-file", file.to_str().unwrap()]);
    let labels = |text: &str| assert!(daemon.send("GET", "/info", &[], "").contains(text), "{text}");
    labels(r#""Labels":["old=1"]"#);
    let mut events = daemon.open("GET /events HTTP/1.1\r\nHost: d\r\n\r\n");
    read_head(&mut events);
    std::fs::write(&file, r#"{"labels":["new=2"],"debug":true,"registry-mirrors":["https://m.example"]}"#)
        .unwrap();
    daemon.signal("-HUP");
    let mut lines = BufReader::new(events).lines().map(Result::unwrap);
    let event = lines.find(|line| line.contains(r#""Type":"daemon""#)).unwrap();
    for part in [
        r#""Action":"reload""#,
        r#""labels":"[\"new=2\"]""#,
        r#""debug":"true""#,
        r#""registry-mirrors":"[\"https://m.example\"]""#,
        r#""max-concurrent-downloads":"3""#,
        r#""name":""#,
    ] {
        assert!(event.contains(part), "{part}: {event}");
    }
    labels(r#""Labels":["new=2"]"#);
}

#[test]
fn unknown_flags_are_refused_under_either_name() {
    let folder = tempfile::tempdir().unwrap();
    let dockerd = folder.path().join("dockerd");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_kogged"), &dockerd).unwrap();
    for (program, name) in [(env!("CARGO_BIN_EXE_kogged"), "kogged"), (dockerd.to_str().unwrap(), "dockerd")]
    {
        let output = tool(program).arg("--nonsense").output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(message, format!("unknown flag: --nonsense\nSee '{name} --help'.\n"));
    }
}

#[test]
fn a_group_that_is_asked_for_must_be_there() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let mut command = tool(env!("CARGO_BIN_EXE_kogged"));
    command.args(["-H", &format!("unix://{}", path("kogge.sock")), "--data-root", &path("data")]);
    command.args(["--exec-root", &path("run"), "--pidfile", &path("pid"), "--group", "no-such-group"]);
    let output = command.output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.ends_with("group no-such-group not found\n"), "{message}");
    assert_eq!((output.status.code(), folder.path().join("kogge.sock").exists()), (Some(1), false));
}

#[test]
fn it_listens_on_tcp_too() {
    let daemon = Daemon::start_with(&["-H", "tcp://127.0.0.1:0"]);
    let address = daemon.log.lines().find_map(|line| line.split("API listen on 127").nth(1)).unwrap();
    let mut stream = TcpStream::connect(format!("127{address}")).unwrap();
    stream.write_all(b"GET /_ping HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("\r\n\r\nOK"), "{answer}");
    assert_eq!(daemon.send("GET", "/_ping", &[], ""), "200 OK");
}
