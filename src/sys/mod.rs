//! Everything unsafe: the system calls that nix lacks or cannot make without a heap, behind safe functions.
//!
//! Contract: a function here takes and returns ordinary Rust values (descriptors, C strings, numbers), never allocates,
//! and returns the kernel's errno. It decides nothing: no fallback policy, no log line, no error text.
#![allow(unsafe_code)]

#[cfg(feature = "alloc-audit")]
pub mod audit;
pub mod binder;
pub mod bpf;
pub mod caps;
pub mod clone;
pub mod crash;
pub mod fds;
pub mod heap;
pub mod loopdev;
pub mod machine;
pub mod mapping;
pub mod memfd;
pub mod mounts;
pub mod namespace;
pub mod netdev;
#[cfg(feature = "net")]
pub mod netlink;
pub mod notes;
#[cfg(feature = "tools")]
pub mod probe;
pub mod process;
pub mod pty;
pub mod rights;
pub mod seccomp;
pub mod signals;
pub mod socket;
pub mod stack;
pub mod unwind;

use nix::errno::Errno;

/// Turns the C library's `-1 and errno` into a result.
pub(crate) fn check(result: libc::c_long) -> nix::Result<libc::c_long> {
    if result < 0 { Err(Errno::last()) } else { Ok(result) }
}
