//! Whether the kernel has a system call: called with arguments that every kernel that has it refuses before it does anything.

use super::check;
use nix::errno::Errno;

/// The calls that we have another way for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// clone3(2), Linux 5.3.
    Clone3,
    /// pidfd_open(2), Linux 5.3.
    PidfdOpen,
    /// close_range(2), Linux 5.9.
    CloseRange,
    /// openat2(2), Linux 5.6.
    Openat2,
}

/// ENOSYS: it does not have the call. EPERM: something around us forbids it.
pub fn ask(call: Call) -> nix::Result<()> {
    let number = match call {
        Call::Clone3 => libc::SYS_clone3,
        Call::PidfdOpen => libc::SYS_pidfd_open,
        Call::CloseRange => libc::SYS_close_range,
        Call::Openat2 => libc::SYS_openat2,
    };
    // A structure of 0 bytes (clone3, openat2), process -1 (pidfd_open), a range whose end lies before its start.
    let none: libc::c_long = 0;
    // SAFETY: each of the four answers EINVAL to these numbers before it reads memory or changes anything.
    match check(unsafe { libc::syscall(number, -1 as libc::c_long, none, none, none) }) {
        Err(errno @ (Errno::ENOSYS | Errno::EPERM)) => Err(errno),
        _ => Ok(()),
    }
}
