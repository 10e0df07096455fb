//! Classic BPF, written from its end, so that every jump knows how far it goes.

use crate::sys::seccomp::Instruction;
use libc::{BPF_ABS, BPF_ALU, BPF_AND, BPF_JA, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W};

/// What the kernel takes at most (`BPF_MAXINSNS`).
pub const MOST: usize = 4096;
/// How far a conditional jump reaches, less the one that may still come between.
const REACH: usize = 254;
const RETURN: u16 = (BPF_RET | BPF_K) as u16;

/// An instruction that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label(usize);

/// A program in the making.
#[derive(Default)]
pub struct Assembler {
    reversed: Vec<Instruction>,
}

impl Assembler {
    fn put(&mut self, code: u32, k: u32, jt: u8, jf: u8) -> Label {
        // What is too long stays so, but takes no more memory.
        if self.reversed.len() <= MOST {
            self.reversed.push(Instruction { code: code as u16, jt, jf, k });
        }
        Label(self.reversed.len().saturating_sub(1))
    }

    /// How many instructions the next one would skip.
    fn distance(&self, to: Label) -> usize {
        self.reversed.len().saturating_sub(to.0 + 1)
    }

    /// Ends with this answer.
    pub fn answer(&mut self, action: u32) -> Label {
        let is_it = |one: &Instruction| one.code == RETURN && one.k == action;
        match self.reversed.iter().rposition(is_it).map(Label) {
            Some(known) if self.distance(known) < REACH / 2 => known,
            _ => self.put(RETURN.into(), action, 0, 0),
        }
    }

    /// The same within reach of the next instruction.
    fn near(&mut self, to: Label, reach: usize) -> Label {
        let distance = self.distance(to);
        match self.reversed.get(to.0) {
            _ if distance <= reach => to,
            Some(one) if one.code == RETURN => self.put(RETURN.into(), one.k, 0, 0),
            _ => self.put(BPF_JMP | BPF_JA, distance as u32, 0, 0),
        }
    }

    /// Compares (`BPF_JEQ`, `BPF_JGT`, `BPF_JGE`) what was loaded.
    pub fn branch(&mut self, test: u32, k: u32, yes: Label, no: Label) -> Label {
        let no = self.near(no, REACH);
        let yes = self.near(yes, REACH);
        if yes == no {
            return yes;
        }
        let (jt, jf) = (self.distance(yes) as u8, self.distance(no) as u8);
        self.put(BPF_JMP | BPF_K | test, k, jt, jf)
    }

    /// Loads 32 bits of `struct seccomp_data` and goes on.
    pub fn load(&mut self, offset: u32, next: Label) -> Label {
        self.near(next, 0);
        self.put(BPF_LD | BPF_W | BPF_ABS, offset, 0, 0)
    }

    /// Keeps some bits of what was loaded and goes on.
    pub fn mask(&mut self, bits: u32, next: Label) -> Label {
        if bits == u32::MAX {
            return next;
        }
        self.near(next, 0);
        self.put(BPF_ALU | BPF_AND | BPF_K, bits, 0, 0)
    }

    /// The program that begins with the last instruction; None if it is longer than the kernel takes.
    pub fn finish(mut self) -> Option<Vec<Instruction>> {
        self.reversed.reverse();
        Some(self.reversed).filter(|program| program.len() <= MOST)
    }
}
