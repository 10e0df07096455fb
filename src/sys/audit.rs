//! The proof behind "no heap in steady state": an allocation after `arm` ends the process.
//!
//! Built only with the feature `alloc-audit`; tests run a hundred restarts with it.

use core::sync::atomic::{AtomicBool, Ordering};

/// What the process ends with when it allocates after `arm`.
pub const VIOLATION: i32 = 99;

static ARMED: AtomicBool = AtomicBool::new(false);

/// From here on an allocation ends the process (and a forked child).
pub fn arm() {
    ARMED.store(true, Ordering::Relaxed);
}

/// Something is allocated.
pub fn count() {
    if ARMED.load(Ordering::Relaxed) {
        let _ = nix::unistd::write(super::fds::standard(2), b"monopod: heap used after the container was started\n");
        super::process::exit_now(VIOLATION);
    }
}
