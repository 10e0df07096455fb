//! Any bytes as a seccomp policy. What comes of them the kernel would take: no jump leaves the program, and every way ends.

#![no_main]

use libfuzzer_sys::fuzz_target;
use monopod::seccomp::compile::compile;
use monopod::seccomp::machine::{AARCH64, ARM, I386, Machine, X32, X86_64};
use monopod::seccomp::policy::Policy;

const X86: &[&Machine] = &[&X86_64, &I386, &X32];
const ARMS: &[&Machine] = &[&AARCH64, &ARM];
const RETURN: u16 = 6;
const JUMP: u16 = 5;

fuzz_target!(|text: &[u8]| {
    let Ok(policy) = Policy::parse(text, &mut |_, _| {}) else { return };
    for machines in [X86, ARMS] {
        let Ok(program) = compile(&policy, machines) else { continue };
        assert!(program.last().is_some_and(|last| last.code == RETURN));
        for (at, one) in program.iter().enumerate() {
            let furthest = if one.code == JUMP { one.k as usize } else { usize::from(one.jt.max(one.jf)) };
            assert!(one.code == RETURN || at + 1 + furthest < program.len());
        }
    }
});
