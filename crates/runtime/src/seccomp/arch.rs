//! Architectures: their names in a profile, the kernel's tokens for them, and the numbers of their calls.

use std::str::FromStr;

use syscalls::{aarch64, arm, x86, x86_64};

/// What one processor runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    X86,
    Arm,
}

impl Family {
    /// The family that this program was compiled for.
    pub(super) const NATIVE: Self = if cfg!(target_arch = "aarch64") { Self::Arm } else { Self::X86 };

    pub(super) fn native_arch(self) -> Arch {
        match self {
            Self::X86 => Arch::X86_64,
            Self::Arm => Arch::Aarch64,
        }
    }

    /// The value of `arch` in the kernel's record of a call, and which of the architectures it stands for.
    pub(super) fn tokens(self) -> &'static [(u32, &'static [Arch])] {
        match self {
            Self::X86 => &[(0xc000_003e, &[Arch::X86_64, Arch::X32]), (0x4000_0003, &[Arch::X86])],
            Self::Arm => &[(0xc000_00b7, &[Arch::Aarch64]), (0x4000_0028, &[Arch::Arm])],
        }
    }
}

/// One numbering of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arch {
    X86_64,
    X32,
    X86,
    Aarch64,
    Arm,
}

impl Arch {
    /// `SCMP_ARCH_X86_64`; none for one whose calls no supported processor makes.
    pub(super) fn parse(name: &str) -> Option<Self> {
        match name {
            "SCMP_ARCH_X86_64" => Some(Self::X86_64),
            "SCMP_ARCH_X32" => Some(Self::X32),
            "SCMP_ARCH_X86" => Some(Self::X86),
            "SCMP_ARCH_AARCH64" => Some(Self::Aarch64),
            "SCMP_ARCH_ARM" => Some(Self::Arm),
            _ => None,
        }
    }

    /// The number of a call, as the kernel's record shows it.
    pub(super) fn number(self, name: &str) -> Option<u32> {
        let number = match self {
            Self::X86_64 => x86_64::Sysno::from_str(name).ok()?.id(),
            Self::X86 => x86::Sysno::from_str(name).ok()?.id(),
            Self::Aarch64 => aarch64::Sysno::from_str(name).ok()?.id(),
            Self::Arm => {
                return arm_private(name).or_else(|| arm::Sysno::from_str(name).ok()?.id().try_into().ok());
            }
            Self::X32 => x32(name)?,
        };
        u32::try_from(number).ok()
    }

    /// Whether the number belongs to the calls that the kernel counts on, not to an architecture's own corner.
    pub(super) fn is_counted(self, number: u32) -> bool {
        self != Self::Arm || number < ARM_PRIVATE
    }

    /// The first number of this numbering. It goes on to that of the next with the same token; the last number of all,
    /// `u32::MAX`, belongs to none, because a tracer writes it to skip a call.
    pub(super) fn first(self) -> u32 {
        if self == Self::X32 { X32_BIT } else { 0 }
    }
}

/// `__X32_SYSCALL_BIT`.
const X32_BIT: u32 = 0x4000_0000;

/// x32 numbers its calls as x86_64 does, but for those whose structures differ: they start at 512.
const X32_OWN_FIRST: i32 = 512;
const X32_OWN: &[&str] = &[
    "rt_sigaction",
    "rt_sigreturn",
    "ioctl",
    "readv",
    "writev",
    "recvfrom",
    "sendmsg",
    "recvmsg",
    "execve",
    "ptrace",
    "rt_sigpending",
    "rt_sigtimedwait",
    "rt_sigqueueinfo",
    "sigaltstack",
    "timer_create",
    "mq_notify",
    "kexec_load",
    "waitid",
    "set_robust_list",
    "get_robust_list",
    "vmsplice",
    "move_pages",
    "preadv",
    "pwritev",
    "rt_tgsigqueueinfo",
    "recvmmsg",
    "sendmmsg",
    "process_vm_readv",
    "process_vm_writev",
    "setsockopt",
    "getsockopt",
    "io_setup",
    "io_submit",
    "execveat",
    "preadv2",
    "pwritev2",
];

/// `__ARM_NR_BASE`
const ARM_PRIVATE: u32 = 0x0f_0000;
const ARM_PRIVATE_OWN: &[(&str, u32)] =
    &[("breakpoint", 1), ("cacheflush", 2), ("usr26", 3), ("usr32", 4), ("set_tls", 5), ("get_tls", 6)];

fn arm_private(name: &str) -> Option<u32> {
    ARM_PRIVATE_OWN.iter().find(|(own, _)| *own == name).map(|(_, place)| ARM_PRIVATE + place)
}

fn x32(name: &str) -> Option<i32> {
    let plain = match X32_OWN.iter().position(|own| *own == name) {
        Some(place) => X32_OWN_FIRST + i32::try_from(place).ok()?,
        None => x86_64::Sysno::from_str(name).ok()?.id(),
    };
    Some(plain | X32_BIT.cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_kernels() {
        let table = [
            (Arch::X86_64, "read", Some(0)),
            (Arch::X86_64, "clone3", Some(435)),
            (Arch::X86_64, "mmap2", None),
            (Arch::X86, "read", Some(3)),
            (Arch::X86, "_llseek", Some(140)),
            (Arch::X86, "mmap2", Some(192)),
            (Arch::X32, "read", Some(0x4000_0000)),
            (Arch::X32, "pwritev2", Some(0x4000_0000 + 547)),
            (Arch::Aarch64, "read", Some(63)),
            (Arch::Aarch64, "open", None),
            (Arch::Arm, "open", Some(5)),
            (Arch::Arm, "cacheflush", Some(0x0f_0002)),
        ];
        for (arch, name, number) in table {
            assert_eq!(arch.number(name), number, "{arch:?} {name}");
        }
    }
}
