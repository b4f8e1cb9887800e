//! Filters of system calls that ask an agent.

use std::os::fd::OwnedFd;

use oci::runtime::{Seccomp, SeccompAction, SeccompSyscall};

use crate::bundle::Bundle;

/// Everything is allowed but what an agent at `agent` in the bundle is asked about.
fn asking(bundle: Bundle, calls: &[&str]) -> Bundle {
    let listener_path = bundle.path("agent");
    bundle.with_linux(|linux| {
        linux.seccomp = Some(Seccomp {
            default_action: SeccompAction::Allow,
            listener_path,
            listener_metadata: "about".into(),
            syscalls: vec![SeccompSyscall {
                names: calls.iter().map(|call| (*call).to_owned()).collect(),
                action: SeccompAction::Notify,
                ..SeccompSyscall::default()
            }],
            ..Seccomp::default()
        });
    })
}

const MAKE_FOLDERS: &[&str] = &["mkdir", "mkdirat"];

/// An agent that takes the listeners of `count` processes and leaves at once, so that the kernel answers for it.
fn agent(bundle: &Bundle, count: usize) -> std::thread::JoinHandle<Vec<serde_json::Value>> {
    let socket = sys::socket::listen(sys::socket::Kind::Stream, &bundle.path("agent")).unwrap();
    let serve = move || {
        let connection = sys::socket::accept(&socket).unwrap();
        let (mut buffer, mut fds): (_, Vec<OwnedFd>) = ([0; 16 * 1024], Vec::new());
        let count = sys::socket::recv_with_fds(&connection, &mut buffer, &mut fds).unwrap();
        assert_eq!(fds.len(), 1);
        serde_json::from_slice(&buffer[..count]).unwrap()
    };
    std::thread::spawn(move || (0..count).map(|_| serve()).collect())
}

#[test]
fn an_agent_gets_the_listener_and_the_state() {
    let bundle = asking(Bundle::script("mkdir /x 2>&1; true"), MAKE_FOLDERS);
    let agent = agent(&bundle, 1);
    assert_eq!(bundle.run().succeeded(), "mkdir: can't create directory '/x': Function not implemented\n");
    let state = &agent.join().unwrap()[0];
    assert_eq!(state["fds"], serde_json::json!(["seccompFd"]));
    assert_eq!(state["metadata"], "about");
    assert_eq!(state["state"]["id"], bundle.id);
    assert_eq!(state["pid"], state["state"]["pid"]);
    bundle.assert_nothing_left();
}

#[test]
fn an_agent_is_asked_about_execs_and_gated_starts() {
    let bundle = asking(Bundle::program(&["sleep", "600"]), MAKE_FOLDERS);
    let agent = agent(&bundle, 2);
    bundle.create().succeeded();
    bundle.command(&["start", "ID"]).succeeded();
    bundle.command(&["exec", "ID", "mkdir", "/x"]).failed_with("Function not implemented");
    let states = agent.join().unwrap();
    assert_eq!(states[0]["state"]["status"], "creating");
    assert_eq!(states[1]["state"]["status"], "running");
}

#[test]
fn without_an_agent_nothing_starts() {
    let bundle = asking(Bundle::script("true"), MAKE_FOLDERS);
    bundle.run().failed_with("failed to connect with seccomp agent");
    bundle.assert_nothing_left();
    let bundle = asking(Bundle::script("true"), MAKE_FOLDERS)
        .with_linux(|linux| linux.seccomp.as_mut().unwrap().listener_path.as_mut_os_string().clear());
    bundle.run().failed_with("SCMP_ACT_NOTIFY needs a listenerPath");
    asking(Bundle::script("true"), &["write"]).run().failed_with("cannot be used for the write syscall");
}
