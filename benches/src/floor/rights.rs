//! What a container may do by default: capabilities and system calls, prepared once.

use fault::{Error, Result};
use runtime::{defaults, seccomp};
use sys::identity::{self, CapabilitySet, CapabilitySets};
use sys::seccomp::{Flags, SockFilter};

pub(crate) struct Rights {
    capabilities: CapabilitySet,
    last: u32,
    filter: Vec<SockFilter>,
    flags: Flags,
}

impl Rights {
    pub(crate) fn of_docker() -> Result<Self> {
        let names = defaults::capabilities();
        let program = seccomp::compile(&defaults::seccomp(&names))?;
        let instruction =
            |(code, jump_true, jump_false, value)| SockFilter { code, jump_true, jump_false, value };
        Ok(Self {
            capabilities: numbers(&names)?,
            last: identity::last_capability()?,
            filter: program.instructions.into_iter().map(instruction).collect(),
            flags: Flags::from_bits(program.flags),
        })
    }

    /// Filter first: it needs a right that goes with the rest.
    pub(crate) fn apply(&self) -> Result<()> {
        sys::seccomp::install(&self.filter, self.flags)?;
        identity::limit_bounding_set(self.capabilities, self.last)?;
        identity::set_capabilities(CapabilitySets {
            effective: self.capabilities,
            permitted: self.capabilities,
            inheritable: 0,
        })
    }
}

/// The list of all is in the order of their numbers.
fn numbers(names: &[String]) -> Result<CapabilitySet> {
    let all = defaults::all_capabilities();
    names.iter().try_fold(0, |set, name| {
        let number = all.iter().position(|known| known == name);
        let number = number.ok_or_else(|| Error::internal(format!("{name} has no number")))?;
        Ok(set | 1 << number)
    })
}
