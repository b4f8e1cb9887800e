//! Who the process becomes and what it may do: planned from the specification, then applied in the one order that
//! the kernel allows.

use fault::{Error, Result};
use oci::runtime::{self, Seccomp};
use sys::identity::{self, CapabilitySet, CapabilitySets};
use sys::seccomp::{Flags, SockFilter};

use crate::seccomp::Program;

/// Everything about a process's rights, as numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) uid: u32,
    pub(super) gid: u32,
    groups: Vec<u32>,
    umask: u32,
    bounding: CapabilitySet,
    sets: CapabilitySets,
    ambient: CapabilitySet,
    last_capability: u32,
    /// (number, soft, hard)
    limits: Vec<(u32, u64, u64)>,
    no_new_privileges: bool,
    oom_score_adj: Option<i32>,
    filter: Option<Filter>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Filter {
    program: Vec<SockFilter>,
    flags: Flags,
}

impl Identity {
    pub(super) fn plan(process: &runtime::Process, filter: Option<&Program>) -> Result<Self> {
        let last_capability = identity::last_capability()?;
        let none = runtime::Capabilities::default();
        let named = process.capabilities.as_ref().unwrap_or(&none);
        let bits = |names: &[String]| capability_bits(names, last_capability);
        Ok(Self {
            uid: process.user.uid,
            gid: process.user.gid,
            groups: process.user.additional_gids.clone(),
            umask: process.user.umask.unwrap_or(0o022),
            bounding: bits(&named.bounding)?,
            sets: CapabilitySets {
                effective: bits(&named.effective)?,
                permitted: bits(&named.permitted)?,
                inheritable: bits(&named.inheritable)?,
            },
            ambient: bits(&named.ambient)?,
            last_capability,
            limits: limits(&process.rlimits)?,
            no_new_privileges: process.no_new_privileges,
            oom_score_adj: process.oom_score_adj,
            filter: filter.map(Filter::new),
        })
    }

    /// What needs rights that are given away later.
    pub(super) fn apply_limits(&self) -> Result<()> {
        for (number, soft, hard) in &self.limits {
            identity::set_resource_limit(*number, *soft, *hard)?;
        }
        Ok(())
    }

    /// Before /proc is the container's.
    pub(super) fn apply_oom_score(&self) -> Result<()> {
        self.oom_score_adj.map_or(Ok(()), identity::set_oom_score_adj)
    }

    /// Becomes the user. Only what [`Self::lock`] needs is kept beside the wanted capabilities.
    pub(super) fn become_user(&self) -> Result<()> {
        identity::set_umask(self.umask);
        if self.no_new_privileges {
            identity::set_no_new_privileges()?;
        }
        identity::limit_bounding_set(self.bounding, self.last_capability)?;
        identity::set_keep_capabilities(true)?;
        identity::set_groups(&self.groups)?;
        identity::set_group(self.gid)?;
        identity::set_user(self.uid)?;
        identity::set_keep_capabilities(false)?;
        identity::set_capabilities(CapabilitySets {
            effective: self.sets.effective | self.borrowed(),
            permitted: self.sets.permitted | self.borrowed(),
            inheritable: self.sets.inheritable,
        })?;
        identity::set_ambient(self.ambient, self.last_capability)
    }

    /// The filter comes last, so that a strict one need not allow what we do before; seccomp(2) then wants either
    /// no_new_privs or CAP_SYS_ADMIN.
    pub(super) fn lock(&self) -> Result<()> {
        let Some(filter) = &self.filter else { return Ok(()) };
        sys::seccomp::install(&filter.program, filter.flags)?;
        if self.borrowed() & !self.sets.permitted != 0 || self.borrowed() & !self.sets.effective != 0 {
            identity::set_capabilities(self.sets)?;
        }
        Ok(())
    }

    fn borrowed(&self) -> CapabilitySet {
        if self.filter.is_some() && !self.no_new_privileges { 1 << CAP_SYS_ADMIN } else { 0 }
    }
}

const CAP_SYS_ADMIN: u32 = 21;

impl Filter {
    fn new(program: &Program) -> Self {
        let instruction = |&(code, jump_true, jump_false, value): &(u16, u8, u8, u32)| SockFilter {
            code,
            jump_true,
            jump_false,
            value,
        };
        Self {
            program: program.instructions.iter().map(instruction).collect(),
            flags: Flags::from_bits(program.flags),
        }
    }
}

/// The filter of a specification, compiled.
pub(super) fn compile(seccomp: Option<&Seccomp>) -> Result<Option<Program>> {
    seccomp.map(crate::seccomp::compile).transpose()
}

/// Twice the same kind is an error (config.md, "rlimits").
fn limits(wanted: &[runtime::Rlimit]) -> Result<Vec<(u32, u64, u64)>> {
    for (place, limit) in wanted.iter().enumerate() {
        if wanted[..place].iter().any(|before| before.kind == limit.kind) {
            return Err(Error::invalid(format!("rlimit {} is given twice", limit.kind)));
        }
    }
    wanted.iter().map(limit).collect()
}

fn limit(limit: &runtime::Rlimit) -> Result<(u32, u64, u64)> {
    let number = identity::resource_number(&limit.kind)
        .ok_or_else(|| Error::invalid(format!("invalid rlimit type: {}", limit.kind)))?;
    Ok((number, limit.soft, limit.hard))
}

/// Capabilities that this kernel does not have yet are left out.
fn capability_bits(names: &[String], last: u32) -> Result<CapabilitySet> {
    let mut set = 0;
    for name in names {
        let number = CAPABILITIES
            .iter()
            .position(|known| name.strip_prefix("CAP_") == Some(known))
            .ok_or_else(|| Error::invalid(format!("unknown capability {name:?}")))?;
        if number <= last as usize {
            set |= 1 << number;
        }
    }
    Ok(set)
}

/// Every name that [`oci::runtime::Capabilities`] may hold here, without its prefix, by number (capabilities(7)).
pub(crate) const CAPABILITIES: &[&str] = &[
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_have_their_numbers() {
        assert_eq!(CAPABILITIES[CAP_SYS_ADMIN as usize], "SYS_ADMIN");
        assert_eq!(CAPABILITIES.len(), 41);
        let bits = |name: &str, last| capability_bits(&[name.to_owned()], last);
        assert_eq!(bits("CAP_CHOWN", 40).unwrap(), 1);
        assert_eq!(bits("CAP_BPF", 37).unwrap(), 0);
        assert!(bits("CHOWN", 40).is_err());
    }

    #[test]
    fn limits_are_known_and_given_once() {
        let limit = |kind: &str| runtime::Rlimit { kind: kind.to_owned(), soft: 1, hard: 2 };
        assert_eq!(limits(&[limit("RLIMIT_CORE")]).unwrap(), [(4, 1, 2)]);
        let message = |wanted: &[runtime::Rlimit]| limits(wanted).unwrap_err().to_string();
        assert_eq!(message(&[limit("RLIMIT_MIND")]), "invalid rlimit type: RLIMIT_MIND");
        let twice = [limit("RLIMIT_CORE"), limit("RLIMIT_CPU"), limit("RLIMIT_CORE")];
        assert_eq!(message(&twice), "rlimit RLIMIT_CORE is given twice");
    }

    #[test]
    fn a_filter_without_no_new_privileges_borrows_sys_admin() {
        let filter = Some(Filter { program: Vec::new(), flags: Flags::NONE });
        let identity = Identity { filter, ..Identity::default() };
        assert_eq!(identity.borrowed(), 1 << CAP_SYS_ADMIN);
        assert_eq!(Identity { no_new_privileges: true, ..identity }.borrowed(), 0);
    }
}
