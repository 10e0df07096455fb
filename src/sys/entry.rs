//! The program's entry point, instead of Rust's own.
//!
//! Rust's start-up code aborts when fds 0-2 are closed and /dev/null does not exist yet (an init before /dev), and sets
//! SIGPIPE to ignored, which an exec'd init would inherit. Exporting `main` avoids both. On musl `std::env::args()` is
//! then empty, so argv is taken from `main`'s own parameters.
//!
//! This file is a module of the program, not of the library: a library that exports `main` could not be tested.
#![allow(unsafe_code)]

use core::ffi::{CStr, c_char, c_int};

/// How many words of a command line are looked at. `start` takes at most `limits::ARGS` for init and `limits::DEFINES`
/// settings, so more than this is an error there anyway.
const ARGV: usize = 512;

/// Called by the C library's start-up code.
#[unsafe(no_mangle)]
extern "C" fn main(argc: c_int, argv: *const *const c_char) -> c_int {
    let mut args: [&CStr; ARGV] = [c""; ARGV];
    let mut count = 0;
    for (index, slot) in (0..argc.max(0) as usize).zip(args.iter_mut()) {
        // SAFETY: the C library passes argc pointers to NUL-terminated strings that live as long as the process.
        *slot = unsafe { CStr::from_ptr(*argv.add(index)) };
        count += 1;
    }
    if argc > ARGV as c_int {
        monopod::complain(format_args!("{argc} words on the command line: at most {ARGV} are taken"));
        return monopod::FAILED;
    }
    monopod::run(args.get(..count).unwrap_or(&[]))
}
