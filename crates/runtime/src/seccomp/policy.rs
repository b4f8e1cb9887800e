//! From rules by name to verdicts by call number, one table for each of the kernel's architecture tokens.

use std::collections::{BTreeMap, BTreeSet};

use fault::{Error, Result};
use oci::runtime::{Seccomp, SeccompAction, SeccompArg};

use super::arch::{Arch, Family};
use super::{INSTRUCTIONS_MAX, too_large};

/// What the kernel shall do, as its SECCOMP_RET_* value.
pub(super) type Action = u32;

pub(super) const KILL_THREAD: Action = 0;
pub(super) const KILL_PROCESS: Action = 0x8000_0000;
const TRAP: Action = 0x0003_0000;
const ERRNO: Action = 0x0005_0000;
const NOTIFY: Action = 0x7fc0_0000;
const TRACE: Action = 0x7ff0_0000;
const LOG: Action = 0x7ffc_0000;
const ALLOW: Action = 0x7fff_0000;

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

/// MAX_ERRNO of the kernel.
const ERRNO_MAX: u32 = 4095;

/// What happens to one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Always(Action),
    /// The first rule that matches decides.
    Depends {
        rules: Vec<Rule>,
        otherwise: Action,
    },
}

/// An action, if all conditions hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) conditions: Vec<SeccompArg>,
    pub(super) action: Action,
}

/// Verdicts of all call numbers of one architecture token.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) token: u32,
    /// The first number of each range of equal verdicts; the first range starts at 0.
    pub(super) ranges: Vec<(u32, Verdict)>,
}

/// The tables of a profile, for the tokens that it lists.
pub(super) fn tables(seccomp: &Seccomp, family: Family) -> Result<Vec<Table>> {
    check(seccomp)?;
    let listed = architectures(seccomp, family)?;
    let mut tables = Vec::new();
    for &(token, archs) in family.tokens() {
        if archs.iter().any(|arch| listed.contains(arch)) {
            tables.push(Table { token, ranges: ranges(seccomp, archs, &listed)? });
        }
    }
    Ok(tables)
}

fn check(seccomp: &Seccomp) -> Result<()> {
    if seccomp.default_action == SeccompAction::Notify {
        return Err(Error::invalid("SCMP_ACT_NOTIFY cannot be used as default action"));
    }
    // With it the process tells where the listener is.
    if notified(seccomp).any(|name| name == "write") {
        return Err(Error::invalid("SCMP_ACT_NOTIFY cannot be used for the write syscall"));
    }
    for argument in seccomp.syscalls.iter().flat_map(|rule| &rule.args) {
        if argument.index > 5 {
            return Err(Error::invalid(format!(
                "seccomp argument index {} is not in 0 to 5",
                argument.index
            )));
        }
    }
    Ok(())
}

/// The calls that somebody else decides about.
pub(super) fn notified(seccomp: &Seccomp) -> impl Iterator<Item = &str> {
    let rules = seccomp.syscalls.iter().filter(|rule| rule.action == SeccompAction::Notify);
    rules.flat_map(|rule| rule.names.iter().map(String::as_str))
}

fn architectures(seccomp: &Seccomp, family: Family) -> Result<Vec<Arch>> {
    if seccomp.architectures.is_empty() {
        return Ok(vec![family.native_arch()]);
    }
    for name in &seccomp.architectures {
        if !name.starts_with("SCMP_ARCH_") {
            return Err(Error::invalid(format!("seccomp architecture {name:?} is not known")));
        }
    }
    Ok(seccomp.architectures.iter().filter_map(|name| Arch::parse(name)).collect())
}

/// The ranges of one token, from the numberings that share it; one that is not listed kills.
fn ranges(seccomp: &Seccomp, archs: &[Arch], listed: &[Arch]) -> Result<Vec<(u32, Verdict)>> {
    let default = action(seccomp.default_action, seccomp.default_errno_ret)?;
    let mut ranges = Vec::new();
    for &arch in archs {
        let first = arch.first();
        if !listed.contains(&arch) {
            append(&mut ranges, first, Verdict::Always(KILL_THREAD));
            continue;
        }
        append(&mut ranges, first, Verdict::Always(default));
        let verdicts = verdicts(seccomp, arch, default)?;
        let newest = verdicts.keys().rev().find(|number| arch.is_counted(**number)).copied();
        for (number, verdict) in verdicts {
            let is_past = wants_enosys(seccomp) && newest.is_some_and(|newest| newest <= number);
            append(&mut ranges, number, verdict);
            append(&mut ranges, number + 1, Verdict::Always(if is_past { ERRNO | ENOSYS } else { default }));
        }
    }
    append(&mut ranges, u32::MAX, Verdict::Always(default));
    Ok(ranges)
}

/// Starts a range; the numbers come in ascending order, an empty range before is replaced, an equal one goes on.
fn append(ranges: &mut Vec<(u32, Verdict)>, first: u32, verdict: Verdict) {
    ranges.pop_if(|(number, _)| *number == first);
    if ranges.last().is_none_or(|(_, before)| *before != verdict) {
        ranges.push((first, verdict));
    }
}

/// A tracer or a log wants to see new calls itself; an allowing default lets them through.
fn wants_enosys(seccomp: &Seccomp) -> bool {
    !matches!(seccomp.default_action, SeccompAction::Allow | SeccompAction::Log | SeccompAction::Trace)
}

/// The verdicts of all calls that the profile names on this architecture.
fn verdicts(seccomp: &Seccomp, arch: Arch, default: Action) -> Result<BTreeMap<u32, Verdict>> {
    let mut verdicts = BTreeMap::new();
    let mut count = 0;
    for call in &seccomp.syscalls {
        let action = action(call.action, call.errno_ret)?;
        for number in call.names.iter().filter_map(|name| arch.number(name)) {
            let verdict = verdicts
                .entry(number)
                .or_insert_with(|| Verdict::Depends { rules: Vec::new(), otherwise: default });
            let Verdict::Depends { rules, .. } = verdict else { continue };
            let alternatives = alternatives(&call.args);
            if alternatives.is_empty() {
                *verdict = Verdict::Always(action);
                continue;
            }
            // Names times arguments; each takes an instruction at least.
            count += alternatives.len();
            if count > INSTRUCTIONS_MAX {
                return Err(too_large(count));
            }
            rules.extend(alternatives.into_iter().map(|conditions| Rule { conditions, action }));
        }
    }
    Ok(verdicts)
}

/// The sets of conditions of which one must hold; none at all if there are no conditions.
fn alternatives(conditions: &[SeccompArg]) -> Vec<Vec<SeccompArg>> {
    let indices: BTreeSet<_> = conditions.iter().map(|condition| condition.index).collect();
    if conditions.is_empty() {
        Vec::new()
    } else if indices.len() == conditions.len() {
        vec![conditions.to_vec()]
    } else {
        conditions.iter().map(|condition| vec![*condition]).collect()
    }
}

fn action(action: SeccompAction, errno: Option<u32>) -> Result<Action> {
    let code = errno.unwrap_or(EPERM);
    if code > ERRNO_MAX {
        return Err(Error::invalid(format!("seccomp errno {code} is above {ERRNO_MAX}")));
    }
    Ok(match action {
        SeccompAction::Kill | SeccompAction::KillThread => KILL_THREAD,
        SeccompAction::KillProcess => KILL_PROCESS,
        SeccompAction::Trap => TRAP,
        SeccompAction::Errno => ERRNO | code,
        SeccompAction::Trace => TRACE | code,
        SeccompAction::Log => LOG,
        SeccompAction::Allow => ALLOW,
        SeccompAction::Notify => NOTIFY,
    })
}
