//! Compiles a system call filter of the runtime specification to BPF that the kernel takes (seccomp(2)).
//!
//! ```text
//! rules by name --policy--> verdict by number --tree--> ranges, binary search --assembler--> instructions
//! ```
//!
//! The kernel runs a new filter once for every call number to learn which are always allowed, so the length of the
//! path to a verdict is what installing costs: a search over ranges of equal verdicts keeps it logarithmic.
//!
//! What the specification leaves open is decided as libseccomp and runc do:
//! - A rule without arguments beats rules with arguments for the same call; among equals the first wins.
//! - Conditions of one rule on different arguments must all hold. If one argument is named twice, each condition
//!   counts as a rule of its own.
//! - Calls of an architecture that is not listed kill the thread.
//! - Calls newer than any in the profile give ENOSYS instead of the default errno, so that libraries fall back.
//! - Names that the architecture does not have are skipped.

mod arch;
mod assembler;
mod policy;
mod tree;

#[cfg(test)]
mod simulator;

use fault::{Error, Result};
use oci::runtime::Seccomp;
use serde::{Deserialize, Serialize};

use arch::Family;

/// One BPF instruction: code, jump if true, jump if false, operand.
pub type Instruction = (u16, u8, u8, u32);

/// A filter that is ready to be installed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    pub instructions: Vec<Instruction>,
    /// SECCOMP_FILTER_FLAG_* of seccomp(2).
    pub flags: u32,
}

impl Program {
    /// Whether somebody else decides about some calls, who has to get the filter's listener.
    pub fn has_listener(&self) -> bool {
        self.flags & NEW_LISTENER != 0
    }
}

/// Compiles for the processor that this program runs on. Pure, and cheap enough to do without a cache (well below a
/// millisecond), but the result may be kept: it depends on nothing else.
pub fn compile(seccomp: &Seccomp) -> Result<Program> {
    compile_for(seccomp, Family::NATIVE)
}

/// Compiles for a family of architectures that one processor runs.
fn compile_for(seccomp: &Seccomp, family: Family) -> Result<Program> {
    let mut flags = flags(seccomp.flags.as_deref())?;
    if policy::notified(seccomp).next().is_some() {
        flags |= NEW_LISTENER;
    }
    let instructions = tree::emit(&policy::tables(seccomp, family)?);
    if instructions.len() > INSTRUCTIONS_MAX {
        return Err(too_large(instructions.len()));
    }
    Ok(Program { instructions, flags })
}

fn too_large(found: usize) -> Error {
    Error::invalid(format!("seccomp profile too large: {found} instructions, {INSTRUCTIONS_MAX} fit"))
}

/// BPF_MAXINSNS.
const INSTRUCTIONS_MAX: usize = 4096;

const FLAGS: &[(&str, u32)] = &[
    // Who installs the filter has a single thread; and with a listener the kernel refuses it.
    ("SECCOMP_FILTER_FLAG_TSYNC", 0),
    ("SECCOMP_FILTER_FLAG_LOG", 1 << 1),
    ("SECCOMP_FILTER_FLAG_SPEC_ALLOW", SPEC_ALLOW),
    ("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", 1 << 5),
];

const NEW_LISTENER: u32 = 1 << 3;

/// Leaves the Speculative Store Bypass mitigation off; the default when nothing is said of flags, as with runc.
const SPEC_ALLOW: u32 = 1 << 2;

fn flags(names: Option<&[String]>) -> Result<u32> {
    let Some(names) = names else { return Ok(SPEC_ALLOW) };
    names.iter().try_fold(0, |flags, name| match FLAGS.iter().find(|(known, _)| known == name) {
        Some((_, flag)) => Ok(flags | flag),
        None => Err(Error::invalid(format!("seccomp flag {name:?} is not known"))),
    })
}

#[cfg(test)]
mod tests;
