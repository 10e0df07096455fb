//! Signal masks and dispositions. nix's SigSet knows no realtime signals, and init must not inherit an ignored one.

use super::check;
use nix::sys::signal::SigSet;

/// Highest signal number of the kernel.
pub const MAX: i32 = 64;

/// The set of every signal a mask can hold.
pub fn all() -> SigSet {
    SigSet::all()
}

/// Sets the disposition of every signal in `ignored` (bit n-1 = signal n) to default. SIGKILL and SIGSTOP answer EINVAL
/// and are passed over; so are the two numbers that the C library keeps for itself.
pub fn reset_ignored(ignored: u64) {
    for signal in 1..=MAX {
        if ignored >> (signal - 1) & 1 == 1 {
            set_default(signal);
        }
    }
}

/// Default disposition for one signal.
pub fn set_default(signal: i32) {
    // SAFETY: SIG_DFL is no function pointer into our code; a refused number changes nothing.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

/// Ignores one signal.
pub fn set_ignored(signal: i32) {
    // SAFETY: as above, for SIG_IGN.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

/// Sets the mask of this thread to nothing blocked, by the kernel's own call: the C library's would leave the two
/// realtime signals blocked that it keeps for itself.
pub fn unblock_all() -> nix::Result<()> {
    set_mask(0)
}

/// Sets the mask of this thread (bit n-1 = signal n).
pub fn set_mask(mask: u64) -> nix::Result<()> {
    // SAFETY: the kernel reads 8 bytes, the size passed, from `mask`.
    check(unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &mask as *const u64,
            core::ptr::null_mut::<u64>(),
            size_of::<u64>(),
        )
    })
    .map(drop)
}
