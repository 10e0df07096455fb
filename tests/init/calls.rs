//! System calls by their numbers.

use crate::{number, outcome, say};
use std::io::Error;

/// Makes a call as this machine does, or as a 32-bit program; its outcome is said.
pub fn run(verb: &str, args: &[&str]) {
    let words: Vec<u64> = args.iter().map(|word| number(word)).collect();
    let mut all = [0; 7];
    all[..words.len()].copy_from_slice(&words);
    let [call, a, b, c, d, e, f] = all;
    let result = if verb == "call" {
        // SAFETY: tests make calls with numbers only, none of which is an address.
        unsafe { libc::syscall(call as libc::c_long, a, b, c, d, e, f) as i64 }
    } else {
        call_32(call as u32, [a, b, c, d].map(|word| word as u32))
    };
    let result = match result {
        -1 if verb == "call" => Err(Error::last_os_error()),
        errno if errno < 0 => Err(Error::from_raw_os_error(-errno as i32)),
        _ => Ok("ok".into()),
    };
    say(&format!("{verb} {}: {}", args.join(" "), outcome(result)));
}

#[cfg(target_arch = "x86_64")]
fn call_32(call: u32, [a, b, c, d]: [u32; 4]) -> i64 {
    let mut result = call as i32;
    // SAFETY: rbx, which the compiler keeps for itself, is put back.
    unsafe {
        std::arch::asm!(
            "xchg rbx, {a}", "int 0x80", "xchg rbx, {a}",
            a = inout(reg) u64::from(a) => _,
            inout("eax") result,
            in("ecx") b,
            in("edx") c,
            in("esi") d,
            in("edi") 0,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    i64::from(result)
}

#[cfg(not(target_arch = "x86_64"))]
fn call_32(_: u32, _: [u32; 4]) -> i64 {
    -i64::from(libc::ENOSYS)
}
