//! The monitor through its binary and its protocol, with real containers.

#[expect(clippy::unwrap_used, reason = "a test fails by a panic")]
mod world;

use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixListener;

use oci::runtime::Memory;
use runtime::protocol::{
    Attach, Container, Event, Exec, ExecState, Fds, LogEnd, Patience, Reason, Request, Start, Target,
};
use world::{Link, Monitor, Terminal, World, frames, process};

fn exec(world: &World, id: &str, script: &str) -> Exec {
    Exec {
        exec_id: id.into(),
        process: process(&["sh", "-c", script]),
        exit_file: world.path(&format!("{id}.json")),
        ..Exec::default()
    }
}

fn signal(monitor: &mut Monitor, signal: i32) {
    monitor.link.ask(Request::Signal { target: Target::Container, signal }, Fds::default());
}

#[test]
fn output_reaches_the_client_and_the_log_and_the_exit_its_file() {
    let (world, mut fds) = (World::new(), Fds::default());
    let (mut terminal, attachment) = Terminal::attach(&mut fds, false);
    let mut monitor = world.monitor();
    let start =
        Start { attaches: vec![attachment], ..world.script("echo out; echo err >&2; printf rest; exit 3") };
    let running = monitor.start(start, fds);
    assert_eq!(running.id, world.id);

    let output = frames(&terminal.rest());
    let of = |number: u8| -> String {
        output.iter().filter(|(stream, _)| *stream == number).map(|(_, text)| text.as_str()).collect()
    };
    assert_eq!((of(1).as_str(), of(2).as_str()), ("out\nrest", "err\n"));

    let exit = monitor.exited();
    assert_eq!((exit.code, exit.pid, exit.start_time), (3, running.pid, running.start_time));
    assert_eq!(world.exit("exit.json"), exit);
    let mut log = world.log();
    log.sort();
    let expected = [("stderr", "err\n"), ("stdout", "out\n"), ("stdout", "rest")];
    assert_eq!(log, expected.map(|(stream, text)| (stream.to_owned(), text.to_owned())));
}

#[test]
fn nothing_is_left_after_the_exit() {
    let world = World::new();
    let mut monitor = world.monitor();
    monitor.start(world.program(&["true"]), Fds::default());
    assert_eq!(monitor.exited().code, 0);
    let cgroup = world.cgroup();
    assert!(!cgroup.exists().unwrap());
}

#[test]
fn a_missing_program_is_told_with_the_shells_code() {
    let world = World::new();
    let mut monitor = world.monitor();
    monitor.link.send(Request::Start(Box::new(world.program(&["no-such-program"]))), Fds::default());
    let Event::StartFailed { message, exit_code } = monitor.link.event() else { panic!("it cannot start") };
    assert_eq!(exit_code, 127);
    assert!(message.contains(r#"exec: "no-such-program": executable file not found in $PATH"#), "{message}");
    monitor.ended();
    let exit = world.exit("exit.json");
    assert_eq!((exit.code, exit.pid, exit.error), (127, 0, Some(message)));
}

#[test]
fn signals_end_the_container() {
    let world = World::new();
    let mut monitor = world.monitor();
    monitor.start(world.program(&["sleep", "1000"]), Fds::default());
    signal(&mut monitor, 9);
    assert_eq!(monitor.exited().code, 137);
}

#[test]
fn stdin_ends_with_its_first_client() {
    let (world, mut fds) = (World::new(), Fds::default());
    let (mut terminal, attachment) = Terminal::attach(&mut fds, true);
    let mut monitor = world.monitor();
    let start =
        Start { attaches: vec![attachment], open_stdin: true, stdin_once: true, ..world.program(&["cat"]) };
    monitor.start(start, fds);
    let text = "line\n".repeat(100_000);
    let mut writer = terminal.0.try_clone().unwrap();
    let sent = text.clone();
    let writing = std::thread::spawn(move || {
        writer.write_all(sent.as_bytes()).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let output = frames(&terminal.rest());
    writing.join().unwrap();
    assert!(output == [(1, text)], "all came back");
    assert_eq!(monitor.exited().code, 0);
    assert_eq!(world.log().len(), 100_000);
}

#[test]
fn a_shared_stdin_outlives_its_clients() {
    let (world, mut fds) = (World::new(), Fds::default());
    let (mut first, attachment) = Terminal::attach(&mut fds, true);
    let mut monitor = world.monitor();
    let start = Start { attaches: vec![attachment], open_stdin: true, ..world.program(&["cat"]) };
    monitor.start(start, fds);
    first.0.write_all(b"one\n").unwrap();
    first.until("one\n");
    first.0.shutdown(Shutdown::Write).unwrap();
    assert_eq!(first.rest(), b"", "a client that is done is let go");

    let mut fds = Fds::default();
    let (mut second, attachment) = Terminal::attach(&mut fds, true);
    let attach =
        Attach { target: Target::Container, attachment, patience: Patience::Drop, continues_log: false };
    monitor.link.ask(Request::Attach(attach), fds);
    second.0.write_all(b"two\n").unwrap();
    second.until("two\n");
    signal(&mut monitor, 9);
    assert_eq!(monitor.exited().code, 137);
}

#[test]
fn a_closed_stdin_reads_as_empty() {
    let world = World::new();
    let mut monitor = world.monitor();
    monitor.start(world.program(&["cat"]), Fds::default());
    assert_eq!(monitor.exited().code, 0);
}

#[test]
fn a_terminal_has_a_size_and_raw_output() {
    let (world, mut fds) = (World::new(), Fds::default());
    let (mut terminal, attachment) = Terminal::attach(&mut fds, true);
    let mut monitor = world.monitor();
    let script = "stty size; read line; stty size; echo got $line; exit 5";
    let mut start = Start { attaches: vec![attachment], open_stdin: true, ..world.script(script) };
    let process = start.spec.process.as_mut().unwrap();
    process.terminal = true;
    process.console_size = Some(oci::runtime::ConsoleSize { height: 10, width: 20 });
    monitor.start(start, fds);
    terminal.until("10 20\r\n");
    monitor.link.ask(Request::Resize { target: Target::Container, width: 132, height: 43 }, Fds::default());
    terminal.0.write_all(b"word\n").unwrap();
    let output = terminal.until("got word\r\n");
    assert!(output.contains("43 132\r\n"), "{output}");
    assert_eq!(monitor.exited().code, 5);
    assert!(world.log().contains(&("stdout".into(), "got word\r\n".into())));
}

#[test]
fn a_first_client_slows_the_container_and_loses_nothing() {
    let (world, mut fds) = (World::new(), Fds::default());
    let (mut terminal, attachment) = Terminal::attach(&mut fds, false);
    let mut monitor = world.monitor();
    let start = Start { attaches: vec![attachment], ..world.script("yes 0123456789 | head -c 4000000") };
    monitor.start(start, fds);
    let output = frames(&terminal.rest());
    assert_eq!(output.iter().map(|(_, text)| text.len()).sum::<usize>(), 4_000_000);
    assert_eq!(monitor.exited().code, 0);
}

#[test]
fn a_late_client_that_does_not_read_is_dropped() {
    let (world, mut fds) = (World::new(), Fds::default());
    let mut monitor = world.monitor();
    let script = "read go; yes 0123456789 | head -c 4000000";
    let (mut driver, driver_end) = Terminal::attach(&mut fds, true);
    let start = Start { open_stdin: true, ..world.script(script) };
    let start = Start {
        attaches: vec![runtime::protocol::Attachment { stdout: false, stderr: false, ..driver_end }],
        ..start
    };
    monitor.start(start, fds);
    let mut fds = Fds::default();
    let (mut lazy, attachment) = Terminal::attach(&mut fds, false);
    let attach =
        Attach { target: Target::Container, attachment, patience: Patience::Drop, continues_log: false };
    monitor.link.ask(Request::Attach(attach), fds);
    driver.0.write_all(b"\n").unwrap();
    assert_eq!(monitor.exited().code, 0, "the container is not slowed");
    assert!(lazy.rest().len() < 4_000_000, "it was dropped");
    assert_eq!(world.log().iter().map(|(_, text)| text.len()).sum::<usize>(), 4_000_000);
}

/// What an exec leaves behind in the container may go on writing to the exec's streams.
#[test]
fn a_writer_that_outlives_its_exec_holds_nobody_up() {
    let world = World::new();
    let mut monitor = world.monitor();
    monitor.start(world.program(&["sleep", "1000"]), Fds::default());
    let mut fds = Fds::default();
    let (mut lazy, attachment) = Terminal::attach(&mut fds, false);
    let request = Exec {
        attach: Some(attachment),
        ..exec(&world, "e1", "for i in 1 2 3 4; do dd if=/dev/zero bs=1M & done; true")
    };
    monitor.link.send(Request::Exec(Box::new(request)), fds);
    assert!(matches!(monitor.link.event(), Event::ExecStarted { .. }));
    let Event::ExecExited { exit, .. } = monitor.link.event() else { panic!("the exec has ended") };
    assert_eq!(exit.code, 0);
    let got = lazy.rest().len();
    assert!(got < 4 << 20, "{got} bytes, and so much was held for a client that did not read");
    signal(&mut monitor, 9);
    assert_eq!(monitor.exited().code, 137);
}

#[test]
fn a_client_behind_the_log_gets_what_is_not_in_it() {
    let (world, mut fds) = (World::new(), Fds::default());
    let mut monitor = world.monitor();
    let (mut driver, driver_end) = Terminal::attach(&mut fds, true);
    let script = "echo logged; printf 'un'; read go; echo finished; echo last";
    let start = Start { open_stdin: true, attaches: vec![driver_end], ..world.script(script) };
    monitor.start(start, fds);
    driver.until("un");
    let mut fds = Fds::default();
    let (mut late, attachment) = Terminal::attach(&mut fds, false);
    let attach =
        Attach { target: Target::Container, attachment, patience: Patience::Drop, continues_log: true };
    let number = monitor.link.send(Request::Attach(attach), fds);
    let Event::Attached { number: answered, log_end } = monitor.link.event() else {
        panic!("it is attached")
    };
    let log = sys::fs::metadata(world.path("json.log")).unwrap();
    assert_eq!((answered, log_end), (number, LogEnd { inode: log.ino, size: log.size }));
    assert_eq!(world.log(), [("stdout".into(), "logged\n".into())]);
    driver.0.write_all(b"\n").unwrap();
    assert_eq!(frames(&late.rest()), [(1, "unfinished\nlast\n".into())]);
    assert_eq!(monitor.exited().code, 0);
}

#[test]
fn a_new_daemon_finds_the_container_and_its_execs() {
    let (world, mut fds) = (World::new(), Fds::default());
    let socket = world.path("monitor.sock");
    let mut monitor = world.monitor();
    let listener = Some(fds.put(UnixListener::bind(&socket).unwrap()));
    let running = monitor.start(Start { listener, ..world.program(&["sleep", "1000"]) }, fds);
    monitor.link.send(Request::Exec(Box::new(exec(&world, "e1", "exit 7"))), Fds::default());
    let Event::ExecStarted { pid, .. } = monitor.link.event() else { panic!("it starts") };
    let Event::ExecExited { exit, .. } = monitor.link.event() else { panic!("it ends") };
    assert_eq!(exit.code, 7);
    assert_eq!(world.exit("e1.json"), exit);

    let connect = || sys::socket::connect(sys::socket::Kind::Stream, &socket).unwrap();
    monitor.link = Link::new(connect());
    let Event::Hello(hello) = monitor.link.event() else { panic!("hello comes first") };
    assert_eq!(hello.container, Container::Running(running));
    assert_eq!(hello.execs, [ExecState { exec_id: "e1".into(), pid, exit: Some(exit) }]);
    monitor.link.ask(Request::Forget { exec_id: "e1".into() }, Fds::default());

    let mut second = Link::new(connect());
    let Event::Hello(hello) = second.event() else { panic!("hello comes first") };
    assert_eq!(hello.execs, []);
    signal(&mut monitor, 15);
    signal(&mut monitor, 9);
    let Event::Exited(exit) = second.event() else { panic!("all daemons are told") };
    assert_eq!(monitor.exited(), exit);
}

#[test]
fn an_exit_without_a_daemon_is_in_its_file() {
    let (world, mut fds) = (World::new(), Fds::default());
    let (mut terminal, attachment) = Terminal::attach(&mut fds, true);
    let mut monitor = world.monitor();
    let start = Start {
        attaches: vec![attachment],
        open_stdin: true,
        durable: true,
        ..world.script("read x; exit 9")
    };
    monitor.start(start, fds);
    let process = monitor.process;
    drop(monitor.link);
    terminal.0.write_all(b"\n").unwrap();
    assert_eq!(process.wait().unwrap().code, 0);
    assert_eq!(world.exit("exit.json").code, 9);
}

#[test]
fn a_spare_ends_with_its_daemon() {
    let monitor = World::new().monitor();
    let process = monitor.process;
    drop(monitor.link);
    assert_eq!(process.wait().unwrap().code, 0);
}

#[test]
fn the_container_dies_with_its_monitor() {
    let world = World::new();
    let mut monitor = world.monitor();
    let running = monitor.start(world.program(&["sleep", "1000"]), Fds::default());
    let container = sys::process::PidFd::open(running.pid).unwrap();
    monitor.process.send_signal(9).unwrap();
    monitor.process.wait().unwrap();
    let patience = std::time::Duration::from_secs(60);
    assert!(sys::poll::wait_readable(&container, Some(patience)).unwrap());
    let cgroup = world.cgroup();
    cgroup.kill().unwrap();
    cgroup.remove().unwrap();
}

#[test]
fn an_exec_has_streams_of_its_own() {
    let world = World::new();
    let mut monitor = world.monitor();
    monitor.start(world.program(&["sleep", "1000"]), Fds::default());

    let mut fds = Fds::default();
    let (mut terminal, attachment) = Terminal::attach(&mut fds, true);
    let request = Exec { attach: Some(attachment), ..exec(&world, "e1", "cat; echo done >&2; exit 4") };
    monitor.link.send(Request::Exec(Box::new(request)), fds);
    assert!(matches!(monitor.link.event(), Event::ExecStarted { .. }));
    terminal.0.write_all(b"hello\n").unwrap();
    terminal.0.shutdown(Shutdown::Write).unwrap();
    assert_eq!(frames(&terminal.rest()), [(1, "hello\n".into()), (2, "done\n".into())]);
    let Event::ExecExited { exit, .. } = monitor.link.event() else { panic!("it ends") };
    assert_eq!(exit.code, 4);
    assert_eq!(world.log(), [], "an exec is not logged");

    let again = exec(&world, "e1", "true");
    let number = monitor.link.send(Request::Exec(Box::new(again)), Fds::default());
    let Event::Failed { number: answered, reason, .. } = monitor.link.event() else { panic!("it exists") };
    assert_eq!((answered, reason), (number, Reason::Conflict));

    let missing = Exec { process: process(&["nope"]), ..exec(&world, "e2", "") };
    monitor.link.send(Request::Exec(Box::new(missing)), Fds::default());
    let Event::ExecFailed { exit_code, message, .. } = monitor.link.event() else {
        panic!("it cannot start")
    };
    assert_eq!(exit_code, 127);
    assert!(message.contains("executable file not found"), "{message}");
    assert_eq!(world.exit("e2.json").code, 127);
    signal(&mut monitor, 9);
    assert_eq!(monitor.exited().code, 137);
}

#[test]
fn execs_that_run_end_before_their_container() {
    let world = World::new();
    let mut monitor = world.monitor();
    monitor.start(world.program(&["sleep", "1000"]), Fds::default());
    monitor.link.send(Request::Exec(Box::new(exec(&world, "e1", "sleep 1000"))), Fds::default());
    assert!(matches!(monitor.link.event(), Event::ExecStarted { .. }));
    let number = monitor.link.send(Request::Signal { target: Target::Container, signal: 9 }, Fds::default());
    assert_eq!(monitor.link.event(), Event::Done { number });
    let Event::ExecExited { exit, .. } = monitor.link.event() else { panic!("the exec first") };
    assert_eq!(exit.code, 137);
    assert_eq!(monitor.exited().code, 137);
}

#[test]
fn reserved_ports_are_free_when_the_exit_is_told() {
    let (world, mut fds) = (World::new(), Fds::default());
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = port.local_addr().unwrap();
    let mut monitor = world.monitor();
    let held = vec![fds.put(port)];
    monitor.start(Start { held, ..world.program(&["sleep", "1000"]) }, fds);
    assert!(std::net::TcpListener::bind(address).is_err());
    let number = monitor.link.send(Request::Signal { target: Target::Container, signal: 9 }, Fds::default());
    assert_eq!(monitor.link.event(), Event::Done { number });
    assert!(matches!(monitor.link.event(), Event::Exited(_)));
    assert!(std::net::TcpListener::bind(address).is_ok());
    monitor.ended();
}

#[test]
fn running_out_of_memory_is_told() {
    let world = World::new();
    let mut monitor = world.monitor();
    let mut start = world.program(&["tail", "/dev/zero"]);
    let resources = start.spec.linux.as_mut().unwrap().resources.as_mut().unwrap();
    resources.memory = Some(Memory { limit: Some(16 << 20), swap: Some(16 << 20), ..Memory::default() });
    monitor.start(start, Fds::default());
    let mut is_told = false;
    let exit = loop {
        match monitor.link.event() {
            Event::Oom => is_told = true,
            Event::Exited(exit) => break exit,
            other => panic!("{other:?}"),
        }
    };
    assert!(is_told && exit.oom_killed, "{exit:?}");
    assert_eq!(exit.code, 137);
    monitor.ended();
}

#[test]
fn a_full_log_disk_does_not_stop_the_container() {
    let world = World::new();
    let mut monitor = world.monitor();
    let mut start = world.script("echo one; echo two; exit 6");
    start.log.as_mut().unwrap().path = "/dev/full".into();
    monitor.start(start, Fds::default());
    let Event::Trouble { message } = monitor.link.event() else { panic!("it is told") };
    assert_eq!(message, "write /dev/full: No space left on device (os error 28)");
    let exit = monitor.exited();
    assert_eq!(exit.code, 6);
    assert!(exit.log_errors > 0);
}

#[test]
fn nonsense_is_answered_or_cut_off() {
    let world = World::new();
    let mut monitor = world.monitor();
    monitor.start(world.program(&["sleep", "1000"]), Fds::default());
    let target = Target::Exec("unknown".into());
    let number = monitor.link.send(Request::Signal { target, signal: 9 }, Fds::default());
    let Event::Failed { number: answered, reason, .. } = monitor.link.event() else { panic!("nobody there") };
    assert_eq!((answered, reason), (number, Reason::NotFound));
    let number = monitor.link.send(Request::Start(Box::default()), Fds::default());
    let Event::Failed { number: answered, reason, .. } = monitor.link.event() else { panic!("it has one") };
    assert_eq!((answered, reason), (number, Reason::Conflict));
    signal(&mut monitor, 9);
    assert_eq!(monitor.exited().code, 137);
}
