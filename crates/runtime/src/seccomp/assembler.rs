//! Puts BPF instructions together from the last to the first, so that the target of every jump is known when the
//! jump is written. Conditional jumps reach 255 instructions; further targets get a long jump in between.

use super::Instruction;

/// A written instruction, counted from the end of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Label(usize);

/// How two numbers are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Test {
    Equal,
    Greater,
    GreaterEqual,
}

/// A program that grows towards its start.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    /// The last instruction first.
    reversed: Vec<Instruction>,
    /// Where each value is returned, the latest place.
    returns: Vec<(u32, Label)>,
}

impl Assembler {
    /// The program in the kernel's order.
    pub(super) fn finish(mut self) -> Vec<Instruction> {
        self.reversed.reverse();
        self.reversed
    }

    /// A place that returns `value`: one that exists and is near, or a new one.
    pub(super) fn ret(&mut self, value: u32) -> Label {
        let known = self.returns.iter_mut().find(|(known, _)| *known == value);
        if let Some(&mut (_, label)) = known
            && self.reversed.len() - label.0 <= NEAR
        {
            return label;
        }
        let label = push(&mut self.reversed, (BPF_RET_K, 0, 0, value));
        match self.returns.iter_mut().find(|(known, _)| *known == value) {
            Some(place) => place.1 = label,
            None => self.returns.push((value, label)),
        }
        label
    }

    /// Loads a 32-bit word of the kernel's record and goes on at `next`.
    pub(super) fn load(&mut self, offset: u32, next: Label) -> Label {
        self.step((BPF_LD_W_ABS, 0, 0, offset), next)
    }

    /// Masks the loaded word and goes on at `next`.
    pub(super) fn and(&mut self, mask: u32, next: Label) -> Label {
        self.step((BPF_ALU_AND_K, 0, 0, mask), next)
    }

    /// Compares the loaded word and goes to one of two places.
    pub(super) fn branch(&mut self, test: Test, value: u32, yes: Label, no: Label) -> Label {
        // Room for both jumps: the far one's long jump moves the near one by one.
        let yes = self.reachable(yes, 1);
        let no = self.reachable(no, 0);
        let code = match test {
            Test::Equal => BPF_JEQ_K,
            Test::Greater => BPF_JGT_K,
            Test::GreaterEqual => BPF_JGE_K,
        };
        let (yes, no) = (self.distance(yes), self.distance(no));
        push(&mut self.reversed, (code, yes, no, value))
    }

    /// An instruction that cannot jump stands right before `next`, or before a jump there.
    fn step(&mut self, instruction: Instruction, next: Label) -> Label {
        if next.0 != self.reversed.len() {
            self.jump(next);
        }
        push(&mut self.reversed, instruction)
    }

    /// The target itself, or a long jump to it if it is too far after `more` further instructions.
    fn reachable(&mut self, target: Label, more: usize) -> Label {
        let distance = self.reversed.len() - target.0;
        if distance + more <= usize::from(u8::MAX) {
            return target;
        }
        self.jump(target)
    }

    fn jump(&mut self, target: Label) -> Label {
        let distance =
            u32::try_from(self.reversed.len() - target.0).expect("a program is thousands long, not billions");
        push(&mut self.reversed, (BPF_JA, 0, 0, distance))
    }

    fn distance(&self, target: Label) -> u8 {
        u8::try_from(self.reversed.len() - target.0).expect("reachable() just made sure")
    }
}

/// Below the reach of a jump, because the jumps to a return are written somewhat later than it was asked for.
const NEAR: usize = 200;

const BPF_LD_W_ABS: u16 = 0x20;
const BPF_ALU_AND_K: u16 = 0x54;
const BPF_JA: u16 = 0x05;
const BPF_JEQ_K: u16 = 0x15;
const BPF_JGT_K: u16 = 0x25;
const BPF_JGE_K: u16 = 0x35;
const BPF_RET_K: u16 = 0x06;

fn push(reversed: &mut Vec<Instruction>, instruction: Instruction) -> Label {
    reversed.push(instruction);
    Label(reversed.len())
}
