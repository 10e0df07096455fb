//! fork, clone and clone3, all fork-like: no shared memory, the child runs on its own copy of the caller's stack.
//!
//! The raw calls leave musl's cached thread id stale in the child. That is harmless for what the child does: system calls
//! with explicit arguments, further forks through here, exec. (`raise` and `abort` would be wrong; nothing calls them.)
//! The caller must be the process's only thread: PR_SET_PDEATHSIG fires when the cloning *thread* ends.

use super::check;
use nix::errno::Errno;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Which side of a fork this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fork {
    /// The caller; the child's pid as the caller sees it.
    Parent(i32),
    /// The new process.
    Child,
}

/// CLONE_PARENT: the child is our parent's, who is told of its end as of ours.
pub const PARENT: u64 = libc::CLONE_PARENT as u64;
/// `CLONE_INTO_CGROUP` (Linux 5.7).
const INTO_CGROUP: u64 = 0x2_0000_0000;

/// `struct clone_args` up to `cgroup` (Linux 5.7): clone(2).
#[repr(C)]
#[derive(Default)]
struct Args {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// fork(2) without the C library's at-fork work.
pub fn fork() -> nix::Result<Fork> {
    clone(0)
}

/// clone(2) with namespace `flags`; the exit signal is SIGCHLD.
pub fn clone(flags: u64) -> nix::Result<Fork> {
    let flags = flags as libc::c_ulong | libc::SIGCHLD as libc::c_ulong;
    // SAFETY: without CLONE_VM and with a null stack the child gets a copy of this very stack frame, as with fork(2);
    // the other arguments are unused for these flags, so their order, which differs by architecture, does not matter.
    side(unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) })
}

/// clone3(2) with namespace `flags`, the child born inside the v2 cgroup of directory `cgroup`.
///
/// ENOSYS before Linux 5.3, E2BIG or EINVAL before 5.7: the caller clones the old way then.
pub fn clone_into_cgroup(flags: u64, cgroup: BorrowedFd<'_>) -> nix::Result<Fork> {
    let args = Args {
        flags: flags | INTO_CGROUP,
        // clone3 takes none for somebody else's child, which has the one that we have.
        exit_signal: if flags & PARENT == 0 { libc::SIGCHLD as u64 } else { 0 },
        cgroup: cgroup.as_raw_fd() as u64,
        ..Args::default()
    };
    // SAFETY: `args` is a valid clone_args of the size passed; no CLONE_VM and no stack: fork-like, as above.
    side(unsafe { libc::syscall(libc::SYS_clone3, &args as *const Args, size_of::<Args>()) })
}

fn side(result: libc::c_long) -> nix::Result<Fork> {
    match check(result)? {
        0 => Ok(Fork::Child),
        pid => i32::try_from(pid).map(Fork::Parent).map_err(|_| Errno::EOVERFLOW),
    }
}
