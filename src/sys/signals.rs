//! Signal masks and dispositions. nix's SigSet knows no realtime signals, and init must not inherit an ignored one.

use super::check;
use core::sync::atomic::{AtomicI32, Ordering};
use nix::errno::Errno;
use nix::sys::signal::SigSet;

/// Highest signal number of the kernel.
pub const MAX: i32 = 64;

/// The set of every signal a mask can hold.
pub fn all() -> SigSet {
    SigSet::all()
}

/// `struct sigaction` of the kernel, all zeroes: SIG_DFL, no flags, empty mask. Its parts differ by architecture, its size
/// never exceeds this.
#[repr(C, align(8))]
struct KernelAction([u64; 8]);

/// Sets the disposition of every signal in `ignored` (bit n-1 = signal n) to default. SIGKILL and SIGSTOP answer EINVAL
/// and are passed over.
///
/// By the kernel's own call: the C library's refuses the realtime signals that it keeps for itself, and callers that were
/// started by glibc's posix_spawn have just those ignored.
pub fn reset_ignored(ignored: u64) {
    for signal in 1..=MAX {
        if ignored >> (signal - 1) & 1 == 1 {
            set_default(signal);
        }
    }
}

/// Default disposition for one signal.
pub fn set_default(signal: i32) {
    let default = KernelAction([0; 8]);
    // SAFETY: the kernel reads one sigaction, which `default` is large enough for, and SIG_DFL is no pointer into our code;
    // 8 is the size of the kernel's signal set. A refused number changes nothing.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            signal,
            &default as *const KernelAction,
            core::ptr::null_mut::<KernelAction>(),
            size_of::<u64>(),
        )
    };
}

/// Whom `pass_on` tells; 0: nobody.
static HEIR: AtomicI32 = AtomicI32::new(0);

/// The handler. A pid that is free again is not another's so soon: it would have to go once around all pids.
extern "C" fn pass_on(signal: libc::c_int) {
    let before = Errno::last_raw();
    let heir = HEIR.load(Ordering::Relaxed);
    if heir > 0 {
        // SAFETY: kill(2) is async-signal-safe, and no memory is passed.
        unsafe { libc::kill(heir, signal) };
    }
    Errno::set_raw(before);
}

/// From now on a signal that is sent to us goes to process `pid` (0: to nobody), but for SIGCHLD, those that nobody can catch
/// and those by which the kernel says that we are broken.
pub fn pass_on_to(pid: i32) {
    const OURS: [i32; 5] = [libc::SIGCHLD, libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE];
    HEIR.store(pid, Ordering::Relaxed);
    // SAFETY: all zeroes is a valid sigaction: no flags but what is set below, an empty mask.
    let mut action: libc::sigaction = unsafe { core::mem::zeroed() };
    action.sa_sigaction = pass_on as *const () as usize;
    action.sa_flags = libc::SA_RESTART;
    for signal in (1..=MAX).filter(|signal| !OURS.contains(signal)) {
        // SAFETY: the handler only makes an async-signal-safe call. Numbers that cannot be had change nothing.
        unsafe { libc::sigaction(signal, &action, core::ptr::null_mut()) };
    }
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
