//! Who the process becomes and what it may do: planned from the specification, then applied in the one order that
//! the kernel allows.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;

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
        let (permitted, inheritable) = (bits(&named.permitted), bits(&named.inheritable));
        Ok(Self {
            uid: process.user.uid,
            gid: process.user.gid,
            groups: process.user.additional_gids.clone(),
            umask: process.user.umask.unwrap_or(0o022),
            bounding: bits(&named.bounding),
            sets: CapabilitySets { effective: bits(&named.effective), permitted, inheritable },
            // The kernel raises no others.
            ambient: bits(&named.ambient) & permitted & inheritable,
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
    /// no_new_privs or CAP_SYS_ADMIN. Returns the filter's listener, if it has one.
    pub(super) fn lock(&self) -> Result<Option<OwnedFd>> {
        let Some(filter) = &self.filter else { return Ok(None) };
        let listener = sys::seccomp::install(&filter.program, filter.flags)?;
        if self.borrowed() & !self.sets.permitted != 0 || self.borrowed() & !self.sets.effective != 0 {
            identity::set_capabilities(self.sets)?;
        }
        Ok(listener)
    }

    /// Whether the filter has a listener, which the parent has to hand on.
    pub(super) fn has_listener(&self) -> bool {
        self.filter.as_ref().is_some_and(|filter| filter.flags.contains(Flags::NEW_LISTENER))
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

/// Capabilities that nobody knows, or that this kernel does not have yet, are left out: config.md, "capabilities", wants
/// no error for what cannot be mapped to the kernel's; see [`refused_capabilities`].
fn capability_bits(names: &[String], last: u32) -> CapabilitySet {
    let numbers = names.iter().filter_map(|name| capability_number(name));
    numbers.filter(|number| *number <= last).fold(0, |set, number| set | 1 << number)
}

fn capability_number(name: &str) -> Option<u32> {
    let name = name.strip_prefix("CAP_")?;
    let place = CAPABILITIES.iter().position(|known| *known == name)?;
    u32::try_from(place).ok()
}

/// What a process asks for and does not get, for whoever can warn: names without a meaning, and, after them, ambient
/// capabilities that are not inheritable (capabilities(7), "Ambient").
pub fn refused_capabilities(process: &runtime::Process) -> (Vec<String>, Vec<String>) {
    let Some(named) = &process.capabilities else { return Default::default() };
    let sets = [&named.bounding, &named.effective, &named.permitted, &named.inheritable, &named.ambient];
    let unknown: BTreeSet<_> =
        sets.into_iter().flatten().filter(|name| capability_number(name).is_none()).cloned().collect();
    let is_raised = |name: &&String| {
        named.inheritable.contains(name) && named.permitted.contains(name) || unknown.contains(*name)
    };
    let ambient = named.ambient.iter().filter(|name| !is_raised(name)).cloned().collect();
    (unknown.into_iter().collect(), ambient)
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
        assert_eq!([bits("CAP_CHOWN", 40), bits("CAP_BPF", 37), bits("CHOWN", 40)], [1, 0, 0]);
    }

    #[test]
    fn what_is_not_given_is_named() {
        let process = serde_json::from_str(
            r#"{"capabilities": {"bounding": ["CAP_X"], "permitted": ["CAP_KILL", "CAP_CHOWN"],
                "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL", "CAP_CHOWN", "CAP_X"]}}"#,
        );
        let (unknown, ambient) = refused_capabilities(&process.unwrap());
        assert_eq!((unknown, ambient), (vec!["CAP_X".to_owned()], vec!["CAP_CHOWN".to_owned()]));
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
