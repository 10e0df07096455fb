//! From a policy to the program that the kernel runs at each call.
//!
//! First the machine is looked at; one that the policy does not know ends in death, as libseccomp has it. Then the number is
//! found by halving: all numbers are one list of ranges with one answer each. A call with conditions is a range of its own,
//! whose answer is that of the first of its rules that applies.

use super::assemble::{Assembler, Label};
use super::machine::{self, Machine, X32, X32_BIT, X86_64};
use super::policy::{Action, Call, Condition, KILL, Op, Policy, Rule};
use super::table;
use crate::sys::seccomp::Instruction;
use libc::{BPF_JEQ, BPF_JGE, BPF_JGT};

/// The program has more instructions than the kernel takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;

/// Where the low half of an argument lies; all our machines have it first.
const fn argument(index: u8) -> u32 {
    16 + 8 * index as u32
}

/// A rule as one machine has it.
struct Entry<'p> {
    number: u32,
    action: Action,
    /// The multiplexer's sub-call.
    sub_call: Option<Condition>,
    conditions: &'p [Condition],
    wide: bool,
}

impl Entry<'_> {
    fn is_plain(&self) -> bool {
        self.sub_call.is_none() && self.conditions.is_empty()
    }
}

/// What becomes of a range of numbers.
#[derive(Clone, Copy, PartialEq)]
enum Leaf {
    Answer(Action),
    /// These entries, looked at one after the other.
    Rules {
        first: usize,
        count: usize,
    },
}

/// A range: its first number; it ends where the next begins.
type Range = (u32, Leaf);

/// The program for these machines, the native one first.
pub fn compile(policy: &Policy, machines: &[&Machine]) -> Result<Vec<Instruction>, TooLong> {
    let machines = if policy.native_only { machines.get(..1).unwrap_or_default() } else { machines };
    let mut program = Assembler::default();
    let mut next = program.answer(KILL);
    for machine in machines.iter().rev().filter(|machine| machine.base == 0) {
        let x32 = machines.iter().find(|other| machine.arch == X86_64.arch && other.bit == X32.bit);
        let mut entries = Vec::new();
        for machine in [Some(machine), x32].into_iter().flatten() {
            for rule in &policy.rules {
                add(&mut entries, policy, rule, machine);
            }
        }
        let ranges = ranges(&entries, policy.default, machine.arch == X86_64.arch && x32.is_none());
        let body = Body { entries: &entries, default: policy.default }.search(&mut program, &ranges);
        let body = program.load(NUMBER, body);
        next = program.branch(BPF_JEQ, machine.arch, body, next);
    }
    program.load(ARCH, next);
    program.finish().ok_or(TooLong)
}

/// Adds what a rule means for a machine, in the order of numbers and, for one number, of the policy.
fn add<'p>(entries: &mut Vec<Entry<'p>>, policy: &'p Policy, rule: &Rule, machine: &Machine) {
    if rule.machines & machine.bit == 0 {
        return;
    }
    let conditions = policy.conditions_of(rule);
    let mut put = |number, sub_call| {
        let at = entries.partition_point(|entry| entry.number <= number);
        entries.insert(at, Entry { number, action: rule.action, sub_call, conditions, wide: machine.wide });
    };
    let row = match rule.call {
        Call::Number(number) => return put(number, None),
        Call::Row(row) => row,
    };
    if let Some(number) = machine.number(row) {
        put(number, None);
    }
    // Its arguments are in memory there, where no filter can look.
    if machine.multiplexes
        && conditions.is_empty()
        && let Some((number, mask, value)) = machine::multiplexed(table::name(row))
    {
        put(number, Some(Condition { index: 0, op: Op::Masked, value: value.into(), mask: mask.into() }));
    }
}

/// All numbers from 0 on.
fn ranges(entries: &[Entry<'_>], default: Action, without_x32: bool) -> Vec<Range> {
    let mut ranges: Vec<Range> = vec![(0, Leaf::Answer(default))];
    let mut put = |start: u32, leaf: Leaf| {
        if ranges.last().is_some_and(|last| last.0 == start) {
            ranges.pop();
        }
        if ranges.last().is_none_or(|last| last.1 != leaf) {
            ranges.push((start, leaf));
        }
    };
    let mut first = 0;
    for group in entries.chunk_by(|one, other| one.number == other.number) {
        let number = group.first().map_or(0, |entry| entry.number);
        // One without conditions is at least as wide as all the others.
        let leaf = match group.iter().find(|entry| entry.is_plain()) {
            Some(plain) => Leaf::Answer(plain.action),
            None => Leaf::Rules { first, count: group.len() },
        };
        put(number, leaf);
        put(number.saturating_add(1), Leaf::Answer(default));
        first += group.len();
    }
    if without_x32 {
        put(X32_BIT, Leaf::Answer(KILL));
        // The number of a call that a tracer has taken back.
        put(u32::MAX, Leaf::Answer(default));
    }
    ranges
}

struct Body<'e, 'p> {
    entries: &'e [Entry<'p>],
    default: Action,
}

impl Body<'_, '_> {
    /// Finds the number's range by halving.
    fn search(&self, program: &mut Assembler, ranges: &[Range]) -> Label {
        match *ranges {
            [] => program.answer(self.default),
            [(_, leaf)] => self.leaf(program, leaf),
            // One number between two that are the same.
            [(_, before), (number, leaf), (after, other)] if before == other && after == number.saturating_add(1) => {
                let no = self.leaf(program, before);
                let yes = self.leaf(program, leaf);
                program.branch(BPF_JEQ, number, yes, no)
            }
            _ => {
                let (low, high) = ranges.split_at(ranges.len() / 2);
                let first = high.first().map_or(0, |range| range.0);
                let yes = self.search(program, high);
                let no = self.search(program, low);
                program.branch(BPF_JGE, first, yes, no)
            }
        }
    }

    fn leaf(&self, program: &mut Assembler, leaf: Leaf) -> Label {
        let (first, count) = match leaf {
            Leaf::Answer(action) => return program.answer(action),
            Leaf::Rules { first, count } => (first, count),
        };
        let entries = self.entries.get(first..first + count).unwrap_or_default();
        let mut no = program.answer(self.default);
        for entry in entries.iter().rev() {
            let mut yes = program.answer(entry.action);
            for condition in entry.conditions.iter().rev().chain(&entry.sub_call) {
                yes = test(program, condition, entry.wide, yes, no);
            }
            no = yes;
        }
        no
    }
}

/// One condition, in halves: a program sees 32 bits at once.
fn test(program: &mut Assembler, condition: &Condition, wide: bool, yes: Label, no: Label) -> Label {
    let Condition { index, op, value, mask } = *condition;
    let (low, high) = (value as u32, (value >> 32) as u32);
    let at = argument(index);
    // Either is the opposite of another.
    let (op, yes, no) = match op {
        Op::Ne => (Op::Eq, no, yes),
        Op::Lt => (Op::Ge, no, yes),
        Op::Le => (Op::Gt, no, yes),
        op => (op, yes, no),
    };
    let jump = match op {
        Op::Gt => BPF_JGT,
        Op::Ge => BPF_JGE,
        _ => BPF_JEQ,
    };
    let mask = if op == Op::Masked { mask } else { u64::MAX };
    let (mask_low, mask_high) = (mask as u32, (mask >> 32) as u32);
    let lower = program.branch(jump, low, yes, no);
    let lower = program.mask(mask_low, lower);
    let lower = program.load(at, lower);
    if !wide || mask_high == 0 && high == 0 {
        return lower;
    }
    let equal = program.branch(BPF_JEQ, high, lower, no);
    let upper = if jump == BPF_JEQ { equal } else { program.branch(BPF_JGT, high, yes, equal) };
    let upper = program.mask(mask_high, upper);
    program.load(at + 4, upper)
}

#[cfg(test)]
mod tests {
    use super::super::interpreter::run;
    use super::super::machine::{AARCH64, ARM, I386};
    use super::super::policy::{self, ERRNO};
    use super::*;

    const X86: &[&Machine] = &[&X86_64, &I386, &X32];

    fn program(text: &str, machines: &[&Machine]) -> Vec<Instruction> {
        compile(&Policy::parse(text.as_bytes(), &mut |_, _| {}).unwrap(), machines).unwrap()
    }

    #[test]
    fn compile_a_machine_that_the_policy_does_not_know_is_killed() {
        let program = program("2\ndenylist\nread errno 5", X86);
        let is = |arch, number| run(&program, arch, number, [0; 6]);
        assert_eq!([is(X86_64.arch, 0), is(I386.arch, 3), is(X86_64.arch, X32_BIT)], [ERRNO | 5; 3]);
        assert_eq!([is(X86_64.arch, 1), is(I386.arch, 0), is(X86_64.arch, X32_BIT | 1)], [policy::ALLOW; 3]);
        assert_eq!([is(AARCH64.arch, 63), is(0, 0)], [KILL; 2]);
    }

    #[test]
    fn compile_arguments_are_compared_whole_where_they_are_long() {
        let text = "2\ndenylist\nkill errno 1 [0,5,SCMP_CMP_GT]\ntkill errno 1 [1,0x4,&=,0x6]";
        for (machines, wide, narrow) in [(X86, &X86_64, &I386), (&[&AARCH64, &ARM], &AARCH64, &ARM)] {
            let program = program(text, machines);
            let is = |machine: &Machine, name: &[u8], args| {
                run(&program, machine.arch, machine.number(table::find(name).unwrap()).unwrap(), args) == ERRNO | 1
            };
            for (value, everywhere) in [(5, false), (6, true), (0xffff_ffff, true), (0, false)] {
                assert_eq!(is(wide, b"kill", [value, 0, 0, 0, 0, 0]), everywhere);
                assert_eq!(is(narrow, b"kill", [value, 0, 0, 0, 0, 0]), everywhere);
            }
            assert!(is(wide, b"kill", [1 << 32, 0, 0, 0, 0, 0]));
            // Nothing in the upper half hides what the mask is for.
            assert!(is(wide, b"tkill", [0, 0xffff_ffff_ffff_fffc, 0, 0, 0, 0]));
            assert!(!is(wide, b"tkill", [0, 6, 0, 0, 0, 0]));
        }
    }

    #[test]
    fn compile_i386_multiplexers_are_no_way_round_a_rule() {
        let program = program("2\ndenylist\naccept errno 1\nshmat errno 2", X86);
        let is = |number, call| run(&program, I386.arch, number, [call, 0, 0, 0, 0, 0]);
        assert_eq!(
            [is(102, 5), is(117, 21), is(117, 0x1_0015), is(397, 0)],
            [ERRNO | 1, ERRNO | 2, ERRNO | 2, ERRNO | 2]
        );
        assert_eq!([is(102, 4), is(117, 22)], [policy::ALLOW; 2]);
    }

    #[test]
    fn compile_far_jumps_arrive_and_too_much_is_refused() {
        let rules = |count: u32| {
            let rule = |n: u32| format!("ioctl errno {} [1,{},==] [0,{n},>=]\n", n % 4000 + 1, 0x5400 + n);
            format!("2\ndenylist\nread errno 77\nmseal errno 78\n{}", (0..count).map(rule).collect::<String>())
        };
        let long = program(&rules(200), X86);
        assert!(long.len() > 2048, "{}", long.len());
        for n in [0, 1, 100, 198, 199] {
            let args = [n, 0x5400 + n, 0, 0, 0, 0];
            assert_eq!(run(&long, X86_64.arch, 16, args), ERRNO | (n as u32 + 1));
            assert_eq!(run(&long, I386.arch, 54, args), ERRNO | (n as u32 + 1));
        }
        assert_eq!(run(&long, X86_64.arch, 0, [0; 6]), ERRNO | 77);
        assert_eq!(run(&long, X86_64.arch, 462, [0; 6]), ERRNO | 78);
        let policy = Policy::parse(rules(4000).as_bytes(), &mut |_, _| {}).unwrap();
        assert_eq!(compile(&policy, X86).err(), Some(TooLong));
    }

    #[test]
    fn compile_a_long_list_takes_few_instructions_a_call() {
        let names = (0..table::COUNT as u16).filter(|row| row % 2 == 0).map(table::name);
        let text = names.map(|name| format!("{}\n", core::str::from_utf8(name).unwrap())).collect::<String>();
        let program = program(&format!("2\nallowlist errno 38\n{text}"), X86);
        let most = (0..600).map(|number| super::super::interpreter::steps(&program, X86_64.arch, number)).max();
        assert!(most.is_some_and(|most| most <= 16), "{most:?}");
    }
}
