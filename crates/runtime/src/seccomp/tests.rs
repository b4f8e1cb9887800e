//! Profiles compiled and then judged call by call, as the kernel would.

use oci::runtime::{SeccompAction, SeccompArg, SeccompOperator, SeccompSyscall};
use proptest::prelude::*;

use super::arch::Arch;
use super::simulator::{Call, judge, run};
use super::*;

const X86_64: u32 = 0xc000_003e;
const I386: u32 = 0x4000_0003;
const ALLOW: u32 = 0x7fff_0000;
const EPERM: u32 = 0x5_0001;
const ENOSYS: u32 = 0x5_0026;
const KILL: u32 = 0;

fn rule(names: &[&str], action: SeccompAction, args: Vec<SeccompArg>) -> SeccompSyscall {
    let names = names.iter().map(ToString::to_string).collect();
    SeccompSyscall { names, action, args, errno_ret: None }
}

fn profile(syscalls: Vec<SeccompSyscall>, architectures: &[&str]) -> Seccomp {
    let architectures = architectures.iter().map(|name| format!("SCMP_ARCH_{name}")).collect();
    Seccomp { default_action: SeccompAction::Errno, syscalls, architectures, ..Seccomp::default() }
}

fn check(program: &Program, arch: u32, number: u32, args: &[u64], expected: u32) {
    let mut call = Call { number, arch, args: [0; 6] };
    call.args[..args.len()].copy_from_slice(args);
    assert_eq!(run(&program.instructions, &call).0, expected, "arch {arch:#x} number {number:#x} {args:?}");
}

#[test]
fn architectures_are_kept_apart() {
    let read = || vec![rule(&["read", "mmap2", "preadv2"], SeccompAction::Allow, vec![])];
    let all = compile_for(&profile(read(), &["X86_64", "X86", "X32", "MIPS"]), Family::X86).unwrap();
    check(&all, X86_64, 0, &[], ALLOW);
    check(&all, X86_64, 192, &[], EPERM);
    check(&all, X86_64, 0x4000_0000, &[], ALLOW);
    check(&all, X86_64, 0x4000_0000 + 546, &[], ALLOW);
    check(&all, X86_64, 0x4000_0000 + 1, &[], EPERM);
    check(&all, I386, 3, &[], ALLOW);
    check(&all, I386, 192, &[], ALLOW);
    check(&all, I386, 0, &[], EPERM);
    check(&all, 0xc000_00b7, 63, &[], KILL);

    let native = compile_for(&profile(read(), &[]), Family::X86).unwrap();
    check(&native, X86_64, 0, &[], ALLOW);
    check(&native, X86_64, 0x4000_0000, &[], KILL);
    check(&native, X86_64, u32::MAX, &[], EPERM);
    check(&native, I386, 3, &[], KILL);
}

#[test]
fn calls_newer_than_the_profile_do_not_exist() {
    let read = || rule(&["read"], SeccompAction::Allow, vec![]);
    let strict = compile_for(&profile(vec![read()], &[]), Family::X86).unwrap();
    check(&strict, X86_64, 1, &[], ENOSYS);

    let denying =
        Seccomp { syscalls: vec![rule(&["read"], SeccompAction::Errno, vec![])], ..Seccomp::default() };
    let lenient = compile_for(&denying, Family::X86).unwrap();
    check(&lenient, X86_64, 0, &[], EPERM);
    check(&lenient, X86_64, 1, &[], ALLOW);
}

#[test]
fn conditions_on_one_argument_are_alternatives() {
    let equal = |index, value| SeccompArg { index, value, value_two: 0, op: SeccompOperator::EqualTo };
    let rules = vec![
        rule(&["personality"], SeccompAction::Allow, vec![equal(0, 8), equal(0, 1 << 40)]),
        rule(&["socket"], SeccompAction::Allow, vec![equal(0, 1), equal(1, 2)]),
    ];
    let program = compile_for(&profile(rules, &[]), Family::X86).unwrap();
    check(&program, X86_64, 135, &[8], ALLOW);
    check(&program, X86_64, 135, &[1 << 40], ALLOW);
    check(&program, X86_64, 135, &[9], EPERM);
    check(&program, X86_64, 41, &[1, 2], ALLOW);
    check(&program, X86_64, 41, &[1, 3], EPERM);
}

#[test]
fn what_cannot_be_compiled_is_refused() {
    let message = |seccomp: &Seccomp| compile(seccomp).unwrap_err().to_string();
    let notify = profile(vec![rule(&["read", "write"], SeccompAction::Notify, vec![])], &[]);
    assert_eq!(message(&notify), "SCMP_ACT_NOTIFY cannot be used for the write syscall");
    let index = SeccompArg { index: 6, value: 0, value_two: 0, op: SeccompOperator::EqualTo };
    let argument = profile(vec![rule(&["read"], SeccompAction::Allow, vec![index])], &[]);
    assert_eq!(message(&argument), "seccomp argument index 6 is not in 0 to 5");
    let flag = Seccomp { flags: Some(vec!["SECCOMP_FILTER_FLAG_MAGIC".into()]), ..Seccomp::default() };
    assert_eq!(message(&flag), "seccomp flag \"SECCOMP_FILTER_FLAG_MAGIC\" is not known");
    let errno =
        Seccomp { default_action: SeccompAction::Errno, default_errno_ret: Some(5000), ..Seccomp::default() };
    assert_eq!(message(&errno), "seccomp errno 5000 is above 4095");
}

#[test]
fn a_profile_that_multiplies_itself_is_refused_early() {
    let equal = |value| SeccompArg { index: 0, value, value_two: 0, op: SeccompOperator::EqualTo };
    let rule = rule(&["read"; 10_000], SeccompAction::Allow, (0..10_000).map(equal).collect());
    let message = compile(&profile(vec![rule], &[])).unwrap_err().to_string();
    assert_eq!(message, "seccomp profile too large: 10000 instructions, 4096 fit");
}

#[test]
fn the_default_profile_is_short_and_found_quickly() {
    let seccomp = crate::defaults::seccomp(&crate::defaults::capabilities());
    let program = compile_for(&seccomp, Family::X86).unwrap();
    assert!(program.instructions.len() < 500, "{} instructions", program.instructions.len());
    let longest = (0..500).map(|number| {
        let call = Call { number, arch: X86_64, args: [0; 6] };
        run(&program.instructions, &call).1
    });
    let longest = longest.max().unwrap();
    assert!(longest < 20, "{longest} steps");
    check(&program, X86_64, 435, &[], ENOSYS);
    check(&program, X86_64, 56, &[0x11], ALLOW);
    check(&program, X86_64, 56, &[0x1000_0000], EPERM);
    check(&program, X86_64, 41, &[40], EPERM);
    check(&program, X86_64, 41, &[2], ALLOW);
    check(&program, X86_64, 101, &[], ALLOW);
    check(&program, X86_64, 165, &[], EPERM);
    check(&program, X86_64, 5000, &[], ENOSYS);
}

const NAMES: &[&str] =
    &["read", "write", "open", "personality", "socket", "clone", "execveat", "preadv2", "mmap2", "nope"];

fn argument() -> impl Strategy<Value = u64> {
    prop_oneof![0u64..4, Just(1 << 32), Just((1 << 32) + 1), Just(u64::MAX), any::<u64>()]
}

fn condition() -> impl Strategy<Value = SeccompArg> {
    let operators = prop::sample::select(vec![
        SeccompOperator::NotEqual,
        SeccompOperator::LessThan,
        SeccompOperator::LessEqual,
        SeccompOperator::EqualTo,
        SeccompOperator::GreaterEqual,
        SeccompOperator::GreaterThan,
        SeccompOperator::MaskedEqual,
    ]);
    (0u32..3, argument(), argument(), operators).prop_map(|(index, value, value_two, op)| SeccompArg {
        index,
        value,
        value_two: value & value_two,
        op,
    })
}

fn action() -> impl Strategy<Value = SeccompAction> {
    prop::sample::select(vec![
        SeccompAction::KillProcess,
        SeccompAction::Trap,
        SeccompAction::Errno,
        SeccompAction::Trace,
        SeccompAction::Allow,
        SeccompAction::Log,
    ])
}

fn any_rule() -> impl Strategy<Value = SeccompSyscall> {
    let names = prop::collection::vec(prop::sample::select(NAMES), 1..4);
    let conditions = prop::collection::vec(condition(), 0..4);
    (names, action(), conditions, prop::option::of(0u32..100)).prop_map(|(names, action, args, errno_ret)| {
        SeccompSyscall { errno_ret, ..rule(&names, action, args) }
    })
}

fn any_profile() -> impl Strategy<Value = Seccomp> {
    (action(), prop::collection::vec(any_rule(), 0..60)).prop_map(|(default_action, syscalls)| Seccomp {
        default_action,
        syscalls,
        architectures: ["X86_64", "X86", "X32"].map(|name| format!("SCMP_ARCH_{name}")).to_vec(),
        ..Seccomp::default()
    })
}

fn newest(seccomp: &Seccomp, arch: Arch) -> u32 {
    let names = seccomp.syscalls.iter().flat_map(|rule| &rule.names);
    names.filter_map(|name| arch.number(name)).max().unwrap_or(u32::MAX)
}

proptest! {
    #[test]
    fn compiled_profiles_judge_as_written(
        seccomp in any_profile(),
        calls in prop::collection::vec((prop::sample::select(NAMES), prop::array::uniform6(argument())), 1..40),
    ) {
        let program = compile_for(&seccomp, Family::X86).unwrap();
        for (name, args) in calls {
            for (arch, token) in [(Arch::X86_64, X86_64), (Arch::X32, X86_64), (Arch::X86, I386)] {
                let Some(number) = arch.number(name) else { continue };
                let (found, _) = run(&program.instructions, &Call { number, arch: token, args });
                prop_assert_eq!(found, judge(&seccomp, name, number, newest(&seccomp, arch), &args));
            }
        }
    }
}

#[test]
fn every_name_of_the_default_profile_is_a_call_somewhere() {
    let seccomp = crate::defaults::seccomp(&crate::defaults::all_capabilities());
    let archs = [Arch::X86, Arch::X86_64, Arch::X32, Arch::Aarch64, Arch::Arm];
    for name in seccomp.syscalls.iter().flat_map(|rule| &rule.names) {
        assert!(archs.iter().any(|arch| arch.number(name).is_some()), "{name}");
    }
}
