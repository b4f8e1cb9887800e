//! The device cgroup of v2: a BPF program that the kernel asks at every open and mknod of a device.
//!
//! The program is written instruction by instruction; the last rule that matches decides, as with cgroup v1.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use fault::{Call, Result};

use crate::raw::check;

/// What a rule is about. `None` means any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    pub allow: bool,
    pub kind: Option<DeviceKind>,
    pub major: Option<u32>,
    pub minor: Option<u32>,
    pub access: Access,
}

impl Rule {
    fn matches_all(&self) -> bool {
        self.kind.is_none() && self.major.is_none() && self.minor.is_none() && self.access == Access::ALL
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    Block,
    Character,
}

/// Which uses a rule speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    pub read: bool,
    pub write: bool,
    pub mknod: bool,
}

impl Access {
    pub const ALL: Self = Self { read: true, write: true, mknod: true };

    /// `BPF_DEVCG_ACC_*`
    fn bits(self) -> i32 {
        i32::from(self.mknod) | i32::from(self.read) << 1 | i32::from(self.write) << 2
    }
}

/// Restricts a cgroup v2 folder to the rules. Programs that hang there already stay; all must agree.
pub fn attach(cgroup: BorrowedFd<'_>, rules: &[Rule]) -> Result<()> {
    let program = load(&program(rules))?;
    let attach = AttachAttributes {
        target_fd: cgroup.as_raw_fd() as u32,
        program_fd: program.as_raw_fd() as u32,
        kind: BPF_CGROUP_DEVICE,
        flags: BPF_F_ALLOW_MULTI,
    };
    // SAFETY: `attach` has the size given and lives during the call.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_PROG_ATTACH, &raw const attach, size_of::<AttachAttributes>())
    };
    check(result).call(|| "bpf BPF_PROG_ATTACH")?;
    Ok(())
}

fn load(program: &[Instruction]) -> Result<OwnedFd> {
    let attributes = LoadAttributes {
        kind: BPF_PROG_TYPE_CGROUP_DEVICE,
        count: program.len() as u32,
        instructions: program.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        ..LoadAttributes::default()
    };
    // SAFETY: pointer and count are of one slice, the licence ends in NUL; the kernel copies and verifies.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &raw const attributes, size_of::<LoadAttributes>())
    };
    let fd = check(result).call(|| "bpf BPF_PROG_LOAD")?;
    // SAFETY: a success is a new descriptor, which is ours alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

const BPF_PROG_LOAD: u32 = 5;
const BPF_PROG_ATTACH: u32 = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;

/// The first part of `union bpf_attr` for BPF_PROG_LOAD.
#[repr(C)]
#[derive(Default)]
struct LoadAttributes {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
}

/// The first part of `union bpf_attr` for BPF_PROG_ATTACH.
#[repr(C)]
struct AttachAttributes {
    target_fd: u32,
    program_fd: u32,
    kind: u32,
    flags: u32,
}

/// `struct bpf_insn`
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Instruction {
    code: u8,
    /// Destination in the low four bits, source above.
    registers: u8,
    offset: i16,
    value: i32,
}

/// Load a word of the context; r1 is the context at the entry.
const LOAD: u8 = 0x61;
const AND_VALUE: u8 = 0x54;
const SHIFT_RIGHT: u8 = 0x74;
const MOVE_VALUE: u8 = 0xb4;
const MOVE: u8 = 0xbc;
const JUMP_IF_NOT: u8 = 0x55;
const JUMP_IF_IS: u8 = 0x15;
const EXIT: u8 = 0x95;

const RESULT: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
const SCRATCH: u8 = 6;

/// `struct bpf_cgroup_dev_ctx`: access_type (access << 16 | kind), major, minor.
fn program(rules: &[Rule]) -> Vec<Instruction> {
    let mut program = vec![
        instruction(LOAD, KIND, CONTEXT, 0, 0),
        instruction(MOVE, ACCESS, KIND, 0, 0),
        instruction(AND_VALUE, KIND, 0, 0, 0xffff),
        instruction(SHIFT_RIGHT, ACCESS, 0, 0, 16),
        instruction(LOAD, MAJOR, CONTEXT, 4, 0),
        instruction(LOAD, MINOR, CONTEXT, 8, 0),
    ];
    for rule in rules.iter().rev() {
        program.extend(rule_block(rule));
        // The kernel refuses instructions that nothing leads to.
        if rule.matches_all() {
            return program;
        }
    }
    program.extend([instruction(MOVE_VALUE, RESULT, 0, 0, 0), instruction(EXIT, 0, 0, 0, 0)]);
    program
}

/// Checks one rule and answers if it matches, else falls through to the next.
fn rule_block(rule: &Rule) -> Vec<Instruction> {
    let mut checks = Vec::new();
    if let Some(kind) = rule.kind {
        // BPF_DEVCG_DEV_BLOCK is 1, BPF_DEVCG_DEV_CHAR is 2.
        let kind = if kind == DeviceKind::Block { 1 } else { 2 };
        checks.push(instruction(JUMP_IF_NOT, KIND, 0, 0, kind));
    }
    if rule.access != Access::ALL {
        checks.push(instruction(MOVE, SCRATCH, ACCESS, 0, 0));
        checks.extend(if rule.allow {
            // An allowance must cover all that is asked: nothing is left beside it.
            [
                instruction(AND_VALUE, SCRATCH, 0, 0, !rule.access.bits()),
                instruction(JUMP_IF_NOT, SCRATCH, 0, 0, 0),
            ]
        } else {
            [
                instruction(AND_VALUE, SCRATCH, 0, 0, rule.access.bits()),
                instruction(JUMP_IF_IS, SCRATCH, 0, 0, 0),
            ]
        });
    }
    for (register, number) in [(MAJOR, rule.major), (MINOR, rule.minor)] {
        if let Some(number) = number {
            checks.push(instruction(JUMP_IF_NOT, register, 0, 0, number as i32));
        }
    }
    let answer =
        [instruction(MOVE_VALUE, RESULT, 0, 0, i32::from(rule.allow)), instruction(EXIT, 0, 0, 0, 0)];
    let length = checks.len() + answer.len();
    for (index, check) in checks.iter_mut().enumerate() {
        if matches!(check.code, JUMP_IF_NOT | JUMP_IF_IS) {
            check.offset = (length - index - 1) as i16;
        }
    }
    checks.extend(answer);
    checks
}

fn instruction(code: u8, destination: u8, source: u8, offset: i16, value: i32) -> Instruction {
    Instruction { code, registers: destination | source << 4, offset, value }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::process;

    const NULL: Rule = Rule {
        allow: true,
        kind: Some(DeviceKind::Character),
        major: Some(1),
        minor: Some(3),
        access: Access::ALL,
    };
    const DENY_ALL: Rule = Rule { allow: false, kind: None, major: None, minor: None, access: Access::ALL };

    #[test]
    fn the_kernel_accepts_the_program() {
        let read_only = Rule { access: Access { read: true, write: false, mknod: false }, ..NULL };
        let no_mknod = Rule { access: Access { read: false, write: false, mknod: true }, ..DENY_ALL };
        load(&program(&[DENY_ALL, NULL, read_only, no_mknod])).unwrap();
        load(&program(&[])).unwrap();
    }

    /// A cgroup v2 folder of our own, on a hybrid machine too.
    struct Cgroup(PathBuf);

    impl Cgroup {
        fn new() -> Self {
            let mounts = crate::mount::mountinfo("self").unwrap();
            let unified = mounts.into_iter().find(|mount| mount.kind == "cgroup2").unwrap();
            let folder = unified.target.join(format!("kogge-bpf-test-{}", std::process::id()));
            std::fs::create_dir(&folder).unwrap();
            Self(folder)
        }
    }

    impl Drop for Cgroup {
        fn drop(&mut self) {
            std::fs::remove_dir(&self.0).unwrap();
        }
    }

    #[test]
    fn the_kernel_asks_the_program() {
        let cgroup = Cgroup::new();
        let folder = std::fs::File::open(&cgroup.0).unwrap();
        attach(folder.as_fd(), &[DENY_ALL, NULL]).unwrap();
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let script = "read go <&5; (: < /dev/null) && echo null >&5; (: < /dev/zero) || echo no zero >&5";
        let child = process::spawn(&process::Command {
            program: process::Program::Path(Path::new("/bin/sh")),
            args: &["sh", "-c", &format!("echo $$ >&5; exec 2>&-; {script}")].map(OsStr::new),
            env: &[],
            fds: &[(theirs.as_fd(), 5)],
            session: true,
        })
        .unwrap();
        drop(theirs);
        let mut pid = [0; 32];
        let count = ours.read(&mut pid).unwrap();
        std::fs::write(cgroup.0.join("cgroup.procs"), &pid[..count]).unwrap();
        ours.write_all(b"go\n").unwrap();
        let mut answer = String::new();
        ours.read_to_string(&mut answer).unwrap();
        child.wait().unwrap();
        assert_eq!(answer, "null\nno zero\n");
    }

    #[test]
    fn jumps_lead_to_the_next_rule() {
        let block = rule_block(&NULL);
        assert_eq!(block.len(), 5);
        assert_eq!([block[0].offset, block[1].offset, block[2].offset], [4, 3, 2]);
    }
}
