//! The program's entry point, instead of Rust's own.
//!
//! Rust's start-up code aborts when fds 0-2 are closed and /dev/null does not exist yet (an init before /dev), and sets
//! SIGPIPE to ignored, which an exec'd init would inherit. Exporting `main` avoids both. On musl `std::env::args()` is
//! then empty, so argv is taken from `main`'s own parameters.
//!
//! This file is a module of the program, not of the library: a library that exports `main` could not be tested.
#![allow(unsafe_code)]

use core::ffi::{CStr, c_char, c_int};

/// Called by the C library's start-up code.
#[unsafe(no_mangle)]
extern "C" fn main(argc: c_int, argv: *const *const c_char) -> c_int {
    let words = 0..argc.max(0) as usize;
    // SAFETY: the C library passes argc pointers to NUL-terminated strings that live as long as the process.
    let args: Vec<&CStr> = words.map(|index| unsafe { CStr::from_ptr(*argv.add(index)) }).collect();
    monopod::run(&args)
}
