//! The default seccomp profile: which calls a container may make, as Docker's default profile allows them.
//!
//! The facts are those of moby's `profiles/seccomp/default.json` (June 2026); the container's capabilities open more.

use oci::runtime::{Seccomp, SeccompAction, SeccompArg, SeccompOperator, SeccompSyscall};

/// The default profile for a container that is given these capabilities (`CAP_SYS_ADMIN` and so on).
pub fn seccomp(capabilities: &[String]) -> Seccomp {
    let has = |name: &str| capabilities.iter().any(|capability| capability == name);
    let mut syscalls = vec![
        allow(ALWAYS, Vec::new()),
        allow(NATIVE, Vec::new()),
        allow("socket", socket_families()),
        allow(
            "personality",
            PERSONALITIES.iter().map(|value| first(SeccompOperator::EqualTo, *value)).collect(),
        ),
    ];
    let opened = BY_CAPABILITY.iter().filter(|(capability, _)| has(capability));
    syscalls.extend(opened.map(|(_, names)| allow(names, Vec::new())));
    if !has("CAP_SYS_ADMIN") {
        syscalls.extend(clone_without_namespaces());
    }
    Seccomp {
        default_action: SeccompAction::Errno,
        default_errno_ret: Some(EPERM),
        architectures: ARCHITECTURES.iter().map(ToString::to_string).collect(),
        syscalls,
        ..Seccomp::default()
    }
}

/// The architectures that the processor runs, the native one first.
pub(super) const ARCHITECTURES: &[&str] = if cfg!(target_arch = "aarch64") {
    &["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]
} else {
    &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
};

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

/// clone(2) makes no namespace: CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET are off. The flags of
/// clone3 lie in memory, where a filter cannot look, so that it does not exist and callers fall back to clone.
fn clone_without_namespaces() -> [SeccompSyscall; 2] {
    let no_namespace = first(SeccompOperator::MaskedEqual, CLONE_NAMESPACES);
    let gone = SeccompSyscall {
        names: vec!["clone3".into()],
        action: SeccompAction::Errno,
        errno_ret: Some(ENOSYS),
        ..SeccompSyscall::default()
    };
    [allow("clone", vec![no_namespace]), gone]
}

const CLONE_NAMESPACES: u64 = 0x7e02_0000;

/// Address families that are often attacked and rarely wanted are left out: obsolete networks, AF_ALG (38),
/// AF_VSOCK (40, which reaches the host of a virtual machine). Conditions on one argument are alternatives.
fn socket_families() -> Vec<SeccompArg> {
    let few = FAMILIES_ABOVE.iter().map(|family| first(SeccompOperator::EqualTo, *family));
    std::iter::once(first(SeccompOperator::LessThan, FAMILIES_BELOW)).chain(few).collect()
}

const FAMILIES_BELOW: u64 = 12;
const FAMILIES_ABOVE: &[u64] =
    &[13, 14, 15, 16, 17, 18, 21, 22, 24, 26, 27, 28, 29, 30, 31, 32, 33, 35, 36, 39, 41, 42, 43, 44, 45];

/// Linux, Linux on 32 bits, each also as if uname(2) said 2.6, and the question which it is.
const PERSONALITIES: &[u64] = &[0x0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// Calls that only some architectures have.
const NATIVE: &str = if cfg!(target_arch = "aarch64") {
    "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls"
} else {
    "arch_prctl modify_ldt"
};

const BY_CAPABILITY: &[(&str, &str)] = &[
    ("CAP_DAC_READ_SEARCH", "open_by_handle_at"),
    (
        "CAP_SYS_ADMIN",
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr \
         lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl \
         quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare",
    ),
    ("CAP_SYS_BOOT", "reboot"),
    ("CAP_SYS_CHROOT", "chroot"),
    ("CAP_SYS_MODULE", "delete_module init_module finit_module"),
    ("CAP_SYS_PACCT", "acct"),
    ("CAP_SYS_PTRACE", "kcmp pidfd_getfd process_madvise"),
    ("CAP_SYS_RAWIO", "iopl ioperm"),
    ("CAP_SYS_TIME", "settimeofday stime clock_settime clock_settime64"),
    ("CAP_SYS_TTY_CONFIG", "vhangup"),
    ("CAP_SYS_NICE", "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"),
    ("CAP_SYSLOG", "syslog"),
    ("CAP_BPF", "bpf"),
    ("CAP_PERFMON", "perf_event_open"),
];

/// Those of ptrace(2) are safe since Linux 4.8, which asks the filter after the tracer.
const ALWAYS: &str = "\
    process_vm_readv process_vm_writev ptrace \
    _llseek _newselect accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod \
    chown chown32 clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime \
    clock_gettime64 clock_nanosleep clock_nanosleep_time64 close close_range connect copy_file_range creat \
    dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait \
    epoll_wait_old eventfd eventfd2 execve execveat exit exit_group faccessat faccessat2 fadvise64 \
    fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl \
    fcntl64 fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat fstat64 fstatat64 \
    fstatfs fstatfs64 fsync ftruncate ftruncate64 futex futex_requeue futex_time64 futex_wait futex_waitv \
    futex_wake futimesat get_robust_list get_thread_area getcpu getcwd getdents getdents64 getegid \
    getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getitimer getpeername getpgid getpgrp \
    getpid getppid getpriority getrandom getresgid getresgid32 getresuid getresuid32 getrlimit getrusage \
    getsid getsockname getsockopt gettid gettimeofday getuid getuid32 getxattr getxattrat inotify_add_watch \
    inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy io_getevents io_pgetevents \
    io_pgetevents_time64 io_setup io_submit ioctl ioprio_get ioprio_set ipc kill landlock_add_rule \
    landlock_create_ruleset landlock_restrict_self lchown lchown32 lgetxattr link linkat listen listmount \
    listxattr listxattrat llistxattr lremovexattr lseek lsetxattr lstat lstat64 madvise map_shadow_stack \
    membarrier memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap \
    mmap2 mprotect mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend \
    mq_timedsend_time64 mq_unlink mremap mseal msgctl msgget msgrcv msgsnd msync munlock munlockall munmap \
    name_to_handle_at nanosleep newfstatat open openat openat2 pause pidfd_open pidfd_send_signal pipe \
    pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll ppoll_time64 prctl pread64 preadv preadv2 prlimit64 \
    process_mrelease pselect6 pselect6_time64 pwrite64 pwritev pwritev2 read readahead readlink readlinkat \
    readv recv recvfrom recvmmsg recvmmsg_time64 recvmsg remap_file_pages removexattr removexattrat rename \
    renameat renameat2 restart_syscall rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask \
    rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo \
    sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam \
    sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr \
    sched_setparam sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop \
    semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg sendto set_robust_list set_thread_area \
    set_tid_address setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setitimer \
    setpgid setpriority setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 \
    setrlimit setsid setsockopt setuid setuid32 setxattr setxattrat shmat shmctl shmdt shmget shutdown \
    sigaltstack signalfd signalfd4 sigprocmask sigreturn socketcall socketpair splice stat stat64 statfs \
    statfs64 statmount statx symlink symlinkat sync sync_file_range syncfs sysinfo tee tgkill time \
    timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 \
    timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 times tkill truncate \
    truncate64 ugetrlimit umask uname unlink unlinkat uretprobe utime utimensat utimensat_time64 utimes \
    vfork vmsplice wait4 waitid waitpid write writev";

fn allow(names: &str, args: Vec<SeccompArg>) -> SeccompSyscall {
    let names = names.split_ascii_whitespace().map(str::to_owned).collect();
    SeccompSyscall { names, action: SeccompAction::Allow, args, errno_ret: None }
}

/// A condition on the first argument.
fn first(op: SeccompOperator, value: u64) -> SeccompArg {
    SeccompArg { index: 0, value, value_two: 0, op }
}
