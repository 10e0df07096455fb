//! An interpreter of classic BPF for tests.

use libc::sock_filter;
use libc::{
    BPF_ABS, BPF_ALU, BPF_AND, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JGT, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET, BPF_W,
};

const LOAD: u32 = BPF_LD | BPF_W | BPF_ABS;
const AND: u32 = BPF_ALU | BPF_AND | BPF_K;
const ALWAYS: u32 = BPF_JMP | BPF_JA;
const EQUAL: u32 = BPF_JMP | BPF_JEQ | BPF_K;
const GREATER: u32 = BPF_JMP | BPF_JGT | BPF_K;
const AT_LEAST: u32 = BPF_JMP | BPF_JGE | BPF_K;
const HAS: u32 = BPF_JMP | BPF_JSET | BPF_K;
const RETURN: u32 = BPF_RET | BPF_K;

/// What a program answers for a call.
pub fn run(program: &[sock_filter], arch: u32, number: u32, args: [u64; 6]) -> u32 {
    interpret(program, arch, number, args).0
}

/// How many instructions it takes for that, with no arguments.
#[allow(dead_code)] // by whom it is included
pub fn steps(program: &[sock_filter], arch: u32, number: u32) -> usize {
    interpret(program, arch, number, [0; 6]).1
}

fn interpret(program: &[sock_filter], arch: u32, number: u32, args: [u64; 6]) -> (u32, usize) {
    let mut data = [0u32; 16];
    (data[0], data[1]) = (number, arch);
    for (index, argument) in args.into_iter().enumerate() {
        (data[4 + 2 * index], data[5 + 2 * index]) = (argument as u32, (argument >> 32) as u32);
    }
    let (mut at, mut a) = (0, 0u32);
    for step in 1.. {
        let sock_filter { code, jt, jf, k } = program[at];
        at += 1;
        let jump = |holds: bool| at + usize::from(if holds { jt } else { jf });
        match u32::from(code) {
            LOAD => a = data[k as usize / 4],
            AND => a &= k,
            ALWAYS => at += k as usize,
            EQUAL => at = jump(a == k),
            GREATER => at = jump(a > k),
            AT_LEAST => at = jump(a >= k),
            HAS => at = jump(a & k != 0),
            RETURN => return (k, step),
            other => panic!("{other:#x} {k:#x}"),
        }
    }
    unreachable!()
}
