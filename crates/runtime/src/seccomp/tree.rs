//! Verdict tables as BPF: the architecture first, then a binary search over the ranges of call numbers, then, where a
//! verdict depends on them, the arguments.

use oci::runtime::{SeccompArg, SeccompOperator};

use super::Instruction;
use super::assembler::{Assembler, Label, Test};
use super::policy::{KILL_THREAD, Rule, Table, Verdict};

/// The whole program.
pub(super) fn emit(tables: &[Table]) -> Vec<Instruction> {
    let mut program = Assembler::default();
    let mut next = program.ret(KILL_THREAD);
    for table in tables.iter().rev() {
        let search = search(&mut program, &table.ranges);
        let number = program.load(OFFSET_NUMBER, search);
        next = program.branch(Test::Equal, table.token, number, next);
    }
    program.load(OFFSET_ARCH, next);
    program.finish()
}

/// Offsets in `struct seccomp_data` (seccomp(2)): nr, arch, instruction pointer, six arguments of 64 bits.
const OFFSET_NUMBER: u32 = 0;
const OFFSET_ARCH: u32 = 4;
const OFFSET_ARGS: u32 = 16;

/// A binary search over at least one range, the loaded word being the number.
fn search(program: &mut Assembler, ranges: &[(u32, Verdict)]) -> Label {
    let (low, high) = ranges.split_at(ranges.len() / 2);
    if low.is_empty() {
        return verdict(program, &high[0].1);
    }
    let above = search(program, high);
    let below = search(program, low);
    program.branch(Test::GreaterEqual, high[0].0, above, below)
}

fn verdict(program: &mut Assembler, verdict: &Verdict) -> Label {
    match verdict {
        Verdict::Always(action) => program.ret(*action),
        Verdict::Depends { rules, otherwise } => {
            let otherwise = program.ret(*otherwise);
            groups(rules).iter().rev().fold(otherwise, |miss, group| alternatives(program, group, miss))
        }
    }
}

/// Neighbouring rules that ask for another value of the same argument share its loading.
fn groups(rules: &[Rule]) -> Vec<&[Rule]> {
    rules.chunk_by(|a, b| a.action == b.action && is_variant(a, b)).collect()
}

fn is_variant(a: &Rule, b: &Rule) -> bool {
    match (a.conditions.as_slice(), b.conditions.as_slice()) {
        ([a], [b]) => {
            let equal = a.op == SeccompOperator::EqualTo && b.op == SeccompOperator::EqualTo;
            equal && a.index == b.index && high(a.value) == high(b.value)
        }
        _ => false,
    }
}

/// The action if one rule of a group matches, else on to `miss`.
fn alternatives(program: &mut Assembler, group: &[Rule], miss: Label) -> Label {
    let hit = program.ret(group[0].action);
    if let [only] = group {
        return only.conditions.iter().rev().fold(hit, |hit, wanted| condition(program, wanted, hit, miss));
    }
    let wanted = group[0].conditions[0];
    let values = group.iter().rev().map(|rule| low(rule.conditions[0].value));
    let compare = values.fold(miss, |next, value| program.branch(Test::Equal, value, hit, next));
    let compare = program.load(offset_low(&wanted), compare);
    let compare = program.branch(Test::Equal, high(wanted.value), compare, miss);
    program.load(offset_high(&wanted), compare)
}

/// One comparison of 64 bits, in two halves because BPF's words have 32.
fn condition(program: &mut Assembler, wanted: &SeccompArg, hit: Label, miss: Label) -> Label {
    match wanted.op {
        SeccompOperator::EqualTo => equal(program, wanted, hit, miss),
        SeccompOperator::NotEqual => equal(program, wanted, miss, hit),
        SeccompOperator::MaskedEqual => masked_equal(program, wanted, hit, miss),
        SeccompOperator::GreaterThan => greater(program, wanted, Test::Greater, hit, miss),
        SeccompOperator::GreaterEqual => greater(program, wanted, Test::GreaterEqual, hit, miss),
        SeccompOperator::LessEqual => greater(program, wanted, Test::Greater, miss, hit),
        SeccompOperator::LessThan => greater(program, wanted, Test::GreaterEqual, miss, hit),
    }
}

fn equal(program: &mut Assembler, wanted: &SeccompArg, hit: Label, miss: Label) -> Label {
    let lower = program.branch(Test::Equal, low(wanted.value), hit, miss);
    let lower = program.load(offset_low(wanted), lower);
    let upper = program.branch(Test::Equal, high(wanted.value), lower, miss);
    program.load(offset_high(wanted), upper)
}

/// `(argument & value) == value_two`
fn masked_equal(program: &mut Assembler, wanted: &SeccompArg, hit: Label, miss: Label) -> Label {
    let lower = program.branch(Test::Equal, low(wanted.value_two), hit, miss);
    let lower = program.and(low(wanted.value), lower);
    let lower = program.load(offset_low(wanted), lower);
    let upper = program.branch(Test::Equal, high(wanted.value_two), lower, miss);
    let upper = program.and(high(wanted.value), upper);
    program.load(offset_high(wanted), upper)
}

/// The upper half decides unless it is equal; the lower half decides by `test`.
fn greater(program: &mut Assembler, wanted: &SeccompArg, test: Test, hit: Label, miss: Label) -> Label {
    let lower = program.branch(test, low(wanted.value), hit, miss);
    let lower = program.load(offset_low(wanted), lower);
    let upper = program.branch(Test::Equal, high(wanted.value), lower, miss);
    let upper = program.branch(Test::Greater, high(wanted.value), hit, upper);
    program.load(offset_high(wanted), upper)
}

/// Both supported families are little endian.
fn offset_low(argument: &SeccompArg) -> u32 {
    OFFSET_ARGS + 8 * argument.index
}

fn offset_high(argument: &SeccompArg) -> u32 {
    offset_low(argument) + 4
}

fn low(value: u64) -> u32 {
    (value & u64::from(u32::MAX)) as u32
}

fn high(value: u64) -> u32 {
    (value >> 32) as u32
}
