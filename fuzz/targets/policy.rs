//! Any bytes as a seccomp policy and as device rules. What comes of them the kernel would take (no longer than it allows, no jump
//! leaves the program, every way ends), and every call gets an answer that the policy has.

#![no_main]

use libfuzzer_sys::fuzz_target;
use monopod::cgroup::devices::{self, Rule};
use monopod::seccomp::compile::compile;
use monopod::seccomp::machine::{AARCH64, ARM, I386, Machine, X32, X86_64};
use monopod::seccomp::policy::Policy;

#[path = "../../src/seccomp/interpreter.rs"]
mod interpreter;

const X86: &[&Machine] = &[&X86_64, &I386, &X32];
const ARMS: &[&Machine] = &[&AARCH64, &ARM];
const AUDIT_ARCHES: [u32; 5] = [0xc000_003e, 0x4000_0003, 0xc000_00b7, 0x4000_0028, 0];
/// The kernel's limit of instructions.
const MOST: usize = 4096;
const RETURN: u16 = 6;
const JUMP: u16 = 5;

fn policy(text: &[u8]) {
    let Ok(policy) = Policy::parse(text, &mut |_, _| {}) else { return };
    for machines in [X86, ARMS] {
        let Ok(program) = compile(&policy, machines) else { continue };
        assert!(program.len() <= MOST && program.last().is_some_and(|last| last.code == RETURN));
        for (at, one) in program.iter().enumerate() {
            let furthest = if one.code == JUMP { one.k as usize } else { usize::from(one.jt.max(one.jf)) };
            assert!(one.code == RETURN || at + 1 + furthest < program.len());
        }
        let plain: Vec<_> = program.iter().map(|one| (one.code, one.jt, one.jf, one.k)).collect();
        let plain: Vec<_> = plain.into_iter().map(|(code, jt, jf, k)| libc::sock_filter { code, jt, jf, k }).collect();
        for arch in AUDIT_ARCHES {
            for number in [0, 1, 59, 101, 0x4000_0000, u32::MAX] {
                let answer = interpreter::run(&plain, arch, number, [u64::from(number) << 31; 6]);
                assert!(program.iter().any(|one| one.code == RETURN && one.k == answer));
            }
        }
    }
}

/// An instruction of extended BPF: its code and how far it jumps.
fn parts(instruction: u64) -> (u8, i16) {
    let [code, _, low, high, ..] = instruction.to_ne_bytes();
    (code, i16::from_ne_bytes([low, high]))
}

fn device_rules(text: &[u8]) {
    let lines = text.split(|byte| *byte == b'\n');
    let rules: Vec<Rule> = lines.filter_map(|line| devices::parse(line.len().is_multiple_of(2), line)).collect();
    let Some(program) = devices::compile(&rules) else { return };
    assert_eq!(program.last().map(|last| parts(*last).0), Some(0x95), "it does not end with an exit");
    for (at, one) in program.iter().enumerate() {
        let (code, offset) = parts(*one);
        // Jumps lead forward only, as the oldest verifiers ask for.
        assert!(code & 7 != 5 || code == 0x95 || offset >= 0 && at + 1 + (offset as usize) < program.len());
    }
}

fuzz_target!(|text: &[u8]| {
    policy(text);
    device_rules(text);
});
