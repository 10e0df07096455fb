//! bpf(2): loading a cgroup device program and attaching it to a v2 cgroup.

use super::{check, fds};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

const PROG_LOAD: i32 = 5;
const PROG_ATTACH: i32 = 8;
const PROG_DETACH: i32 = 9;
const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
/// `BPF_F_ALLOW_MULTI`: programs of the cgroups above (systemd's) stay in force beside ours.
const ALLOW_MULTI: u32 = 2;

/// The first members of `union bpf_attr` for PROG_LOAD.
#[repr(C)]
struct Load {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

/// The members of `union bpf_attr` for PROG_ATTACH.
#[repr(C)]
struct Attach {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

/// Loads `instructions` (the kernel's 8-byte form) as a device program.
pub fn load_device_program(instructions: &[u64]) -> nix::Result<OwnedFd> {
    let license = c"Dual MIT/GPL";
    let attributes = Load {
        kind: PROG_TYPE_CGROUP_DEVICE,
        count: instructions.len() as u32,
        instructions: instructions.as_ptr() as usize as u64,
        license: license.as_ptr() as usize as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
    };
    // SAFETY: the kernel reads `count` instructions and the licence; both outlive the call, and the size is `attributes`'. What
    // is returned is new.
    unsafe { fds::made(libc::syscall(libc::SYS_bpf, PROG_LOAD, &attributes as *const Load, size_of::<Load>())) }
}

/// Attaches a loaded program to the v2 cgroup of directory `cgroup`. It goes with the cgroup.
pub fn attach_device_program(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> nix::Result<()> {
    attachment(PROG_ATTACH, cgroup, program, ALLOW_MULTI)
}

/// Takes an attached program away again.
pub fn detach_device_program(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> nix::Result<()> {
    attachment(PROG_DETACH, cgroup, program, 0)
}

fn attachment(command: i32, cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>, flags: u32) -> nix::Result<()> {
    let attributes = Attach {
        target: cgroup.as_raw_fd() as u32,
        program: program.as_raw_fd() as u32,
        kind: ATTACH_CGROUP_DEVICE,
        flags,
    };
    // SAFETY: the kernel reads `attributes` in the size passed.
    check(unsafe { libc::syscall(libc::SYS_bpf, command, &attributes as *const Attach, size_of::<Attach>()) }).map(drop)
}
