//! The first process of `--init` through its binary, known by its name.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use sys::process::{Command, PidFd, Program};

struct Init {
    process: PidFd,
    output: std::io::PipeReader,
}

impl Init {
    fn start(args: &[&str]) -> Self {
        let (output, theirs) = std::io::pipe().unwrap();
        let null: OwnedFd = std::fs::File::open("/dev/null").unwrap().into();
        let args: Vec<_> = ["/sbin/docker-init", "--"].iter().chain(args).map(|arg| arg.as_ref()).collect();
        let process = sys::process::spawn(&Command {
            program: Program::Path(Path::new(env!("CARGO_BIN_EXE_kogge-runtime"))),
            args: &args,
            env: &["PATH=/usr/bin:/bin".as_ref()],
            fds: &[(null.as_fd(), 0), (theirs.as_fd(), 1), (theirs.as_fd(), 2)],
            session: true,
        })
        .unwrap();
        Self { process, output }
    }

    /// What it said and how it ended.
    fn end(mut self) -> (String, i32) {
        let mut text = String::new();
        self.output.read_to_string(&mut text).unwrap();
        (text, self.process.wait().unwrap().code)
    }

    fn until(&mut self, wanted: &str) {
        let (mut text, mut byte) = (String::new(), [0]);
        while !text.contains(wanted) {
            self.output.read_exact(&mut byte).unwrap();
            text.push(byte[0].into());
        }
    }
}

#[test]
fn ends_as_its_program_ends() {
    assert_eq!(Init::start(&["sh", "-c", "echo hello; exit 3"]).end(), ("hello\n".into(), 3));
    assert_eq!(Init::start(&["sh", "-c", "kill -9 $$"]).end(), (String::new(), 137));
}

#[test]
fn passes_signals_on() {
    let mut init = Init::start(&[
        "sh",
        "-c",
        "trap 'echo usr1' USR1; trap 'exit 7' TERM; echo ready; while :; do :; done",
    ]);
    init.until("ready\n");
    init.process.send_signal(10).unwrap();
    init.until("usr1\n");
    init.process.send_signal(15).unwrap();
    assert_eq!(init.end().1, 7);
}

#[test]
fn a_program_gets_signals_as_they_are_by_default() {
    let (text, _) = Init::start(&["sh", "-c", "grep -E 'SigBlk|SigIgn' /proc/self/status"]).end();
    let masks =
        text.lines().map(|line| u64::from_str_radix(line.split_whitespace().last().unwrap(), 16).unwrap());
    // 32 and 33 are the C library's own (signal(7)); whoever runs this test may have them ignored.
    let masks: Vec<u64> = masks.map(|mask| mask & !(0b11 << 31)).collect();
    assert_eq!(masks, [0, 0], "{text}");
}

#[test]
fn tells_what_cannot_be_executed_as_tini_does() {
    let (text, code) = Init::start(&["no-such-program"]).end();
    assert_eq!(code, 127);
    assert!(
        text.starts_with("[FATAL tini (")
            && text.ends_with(")] exec no-such-program failed: No such file or directory\n"),
        "{text}"
    );
    assert_eq!(Init::start(&["/etc/passwd"]).end().1, 126);
}
