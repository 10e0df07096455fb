//! The proof behind "no heap in steady state": a global allocator that ends the process on use after `arm`.
//!
//! Built only with the feature `alloc-audit`; tests run a hundred restarts with it.

use core::sync::atomic::{AtomicBool, Ordering};
use std::alloc::{GlobalAlloc, Layout, System};

/// What the process ends with when it allocates after `arm`.
pub const VIOLATION: i32 = 99;

static ARMED: AtomicBool = AtomicBool::new(false);

/// From here on an allocation ends the process (and a forked child).
pub fn arm() {
    ARMED.store(true, Ordering::Relaxed);
}

struct Audited;

#[global_allocator]
static ALLOCATOR: Audited = Audited;

fn count() {
    if ARMED.load(Ordering::Relaxed) {
        let _ = nix::unistd::write(super::fds::standard(2), b"monopod: heap used after the container was started\n");
        super::process::exit_now(VIOLATION);
    }
}

// SAFETY: every call is handed to the system's allocator unchanged.
unsafe impl GlobalAlloc for Audited {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's contract is the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract is the system allocator's. Freeing what the start had allocated is no use of the heap.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's contract is the system allocator's.
        unsafe { System.realloc(pointer, layout, size) }
    }
}
