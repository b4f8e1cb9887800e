//! Containers with a terminal.

use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use oci::runtime::{ConsoleSize, IdMapping, NamespaceKind};

use crate::bundle::Bundle;

/// Starts detached and returns the terminal that was sent.
fn with_console(bundle: &Bundle, words: &[&str]) -> std::fs::File {
    let path = bundle.path("console.sock");
    let listener = sys::socket::listen(sys::socket::Kind::Stream, &path).unwrap();
    let mut words = words.to_vec();
    let socket = path.to_str().unwrap().to_owned();
    words.insert(1, "--console-socket");
    words.insert(2, &socket);
    let mut child = bundle.prepared(&words, &[]).spawn().unwrap();
    assert!(sys::poll::wait_readable(&listener, Some(std::time::Duration::from_secs(60))).unwrap());
    let stream = sys::socket::accept(&listener).unwrap();
    let mut fds: Vec<OwnedFd> = Vec::new();
    let mut text = [0; 64];
    sys::socket::recv_with_fds(&stream, &mut text, &mut fds).unwrap();
    assert!(child.wait().unwrap().success());
    std::fs::remove_file(path).unwrap();
    fds.remove(0).into()
}

/// What comes until the program closes its terminal.
fn read_all(mut console: &std::fs::File) -> String {
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    // EIO: the other end is closed.
    while let Ok(count @ 1..) = console.read(&mut buffer) {
        text.extend(&buffer[..count]);
    }
    String::from_utf8(text).unwrap()
}

#[test]
fn a_terminal_is_the_containers_own() {
    let bundle = Bundle::script("tty; test -t 0 && test -t 2 && echo all; stty size; ls -l /dev/console | cut -c1; echo input: $(head -n1)")
        .with_process(|process| {
            process.terminal = true;
            process.console_size = Some(ConsoleSize { height: 33, width: 101 });
        });
    let mut console = with_console(&bundle, &["run", "-d", "--bundle", "BUNDLE", "ID"]);
    console.write_all(b"typed\n").unwrap();
    let text = read_all(&console);
    for line in ["/dev/pts/0\r\n", "all\r\n", "33 101\r\n", "input: typed\r\n"] {
        assert!(text.contains(line), "{line:?} is missing in {text:?}");
    }
    assert!(sys::tty::is_terminal(console.as_fd()));
}

#[test]
fn a_terminal_works_in_a_user_namespace() {
    let map = IdMapping { container_id: 0, host_id: 100_000, size: 65_536 };
    let bundle = Bundle::script("tty; stat -c %u:%g $(tty); id -u")
        .with_process(|process| process.terminal = true)
        .with_linux(|linux| {
            linux.namespaces.push(NamespaceKind::User.into());
            (linux.uid_mappings, linux.gid_mappings) = (vec![map], vec![map]);
        });
    std::fs::set_permissions(bundle.path(""), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let console = with_console(&bundle, &["run", "-d", "--bundle", "BUNDLE", "ID"]);
    assert_eq!(read_all(&console), "/dev/pts/0\r\n0:5\r\n0\r\n");
}

#[test]
fn control_c_reaches_the_foreground() {
    let bundle = Bundle::script("trap 'echo caught; exit 0' INT; echo ready; while :; do sleep 0.05; done")
        .with_process(|process| process.terminal = true);
    let mut console = with_console(&bundle, &["run", "-d", "--bundle", "BUNDLE", "ID"]);
    let mut text = String::new();
    while !text.contains("ready") {
        let mut buffer = [0; 64];
        let count = console.read(&mut buffer).unwrap();
        text += &String::from_utf8_lossy(&buffer[..count]);
    }
    console.write_all(b"\x03").unwrap();
    assert!(read_all(&console).contains("caught"));
}

#[test]
fn exec_gets_a_terminal_of_the_containers_devpts() {
    let bundle = Bundle::program(&["sleep", "600"]);
    bundle.detached(&["run", "-d", "--bundle", "BUNDLE", "ID"]).succeeded();
    let console = with_console(&bundle, &["exec", "-d", "-t", "ID", "tty"]);
    assert_eq!(read_all(&console), "/dev/pts/0\r\n");
}

#[test]
fn run_stays_between_its_own_streams_and_the_terminal() {
    let bundle = Bundle::script("tty; exit 4").with_process(|process| process.terminal = true);
    let answer = bundle.run();
    assert_eq!((answer.code, answer.stdout.as_str()), (4, "/dev/pts/0\n"));
    bundle.assert_nothing_left();
}

#[test]
fn a_terminal_that_nobody_takes_is_refused() {
    let bundle = Bundle::script("true").with_process(|process| process.terminal = true);
    bundle.create().failed_with("cannot allocate tty if runc will detach without setting console socket");
    bundle.assert_nothing_left();
}
