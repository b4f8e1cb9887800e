//! Runs a compiled filter as the kernel would, and judges a profile without compiling it: what one says, the other must.

use oci::runtime::{Seccomp, SeccompAction, SeccompArg, SeccompOperator};

use super::Instruction;

/// What the kernel shows to a filter.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Call {
    pub(super) number: u32,
    pub(super) arch: u32,
    pub(super) args: [u64; 6],
}

impl Call {
    fn word(&self, offset: u32) -> u32 {
        let argument = |at: u32| self.args[(at / 8) as usize] >> (at % 8 * 8);
        match offset {
            0 => self.number,
            4 => self.arch,
            8 | 12 => 0,
            _ => (argument(offset - 16) & u64::from(u32::MAX)) as u32,
        }
    }
}

/// The verdict, and how many instructions it took.
pub(super) fn run(program: &[Instruction], call: &Call) -> (u32, usize) {
    let (mut accumulator, mut at, mut steps) = (0, 0, 0);
    loop {
        let (code, yes, no, operand) = program[at];
        steps += 1;
        at += 1;
        let mut branch = |taken: bool| at += usize::from(if taken { yes } else { no });
        match code {
            0x20 => accumulator = call.word(operand),
            0x54 => accumulator &= operand,
            0x05 => at += operand as usize,
            0x15 => branch(accumulator == operand),
            0x25 => branch(accumulator > operand),
            0x35 => branch(accumulator >= operand),
            0x06 => return (operand, steps),
            other => panic!("instruction {other:#x}"),
        }
    }
}

/// The action and errno that the profile asks for, for a call that the profile's architectures include. `newest` is
/// the greatest number of any call that the profile names on this architecture.
pub(super) fn judge(seccomp: &Seccomp, name: &str, number: u32, newest: u32, args: &[u64; 6]) -> u32 {
    let rules = || seccomp.syscalls.iter().filter(|rule| rule.names.iter().any(|known| known == name));
    let unconditional = rules().find(|rule| rule.args.is_empty());
    let conditional = || rules().find(|rule| matches(&rule.args, args));
    if let Some(rule) = unconditional.or_else(conditional) {
        return value(rule.action, rule.errno_ret);
    }
    let lenient =
        matches!(seccomp.default_action, SeccompAction::Allow | SeccompAction::Log | SeccompAction::Trace);
    if number > newest && !lenient {
        return value(SeccompAction::Errno, Some(38));
    }
    value(seccomp.default_action, seccomp.default_errno_ret)
}

fn matches(conditions: &[SeccompArg], args: &[u64; 6]) -> bool {
    let repeated = conditions.iter().any(|a| conditions.iter().filter(|b| a.index == b.index).count() > 1);
    let mut results = conditions.iter().map(|condition| holds(condition, args[condition.index as usize]));
    if repeated { results.any(|holds| holds) } else { results.all(|holds| holds) }
}

fn holds(condition: &SeccompArg, argument: u64) -> bool {
    match condition.op {
        SeccompOperator::NotEqual => argument != condition.value,
        SeccompOperator::LessThan => argument < condition.value,
        SeccompOperator::LessEqual => argument <= condition.value,
        SeccompOperator::EqualTo => argument == condition.value,
        SeccompOperator::GreaterEqual => argument >= condition.value,
        SeccompOperator::GreaterThan => argument > condition.value,
        SeccompOperator::MaskedEqual => argument & condition.value == condition.value_two,
    }
}

fn value(action: SeccompAction, errno: Option<u32>) -> u32 {
    let errno = errno.unwrap_or(1);
    match action {
        SeccompAction::Kill | SeccompAction::KillThread => 0,
        SeccompAction::KillProcess => 0x8000_0000,
        SeccompAction::Trap => 0x3_0000,
        SeccompAction::Errno => 0x5_0000 + errno,
        SeccompAction::Trace => 0x7ff0_0000 + errno,
        SeccompAction::Log => 0x7ffc_0000,
        SeccompAction::Allow => 0x7fff_0000,
        SeccompAction::Notify => unreachable!("refused"),
    }
}
