//! The heap: the C library's. Where that has no more, std would abort; we end in one line, as any start that is refused.

use core::ffi::c_char;
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};
use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::CString;

struct Heap;

#[global_allocator]
static HEAP: Heap = Heap;

/// A C string of the heap's, or null.
static LEFT: AtomicPtr<c_char> = AtomicPtr::new(ptr::null_mut());

/// Has the file at `path`, which is ours by now, removed when the heap is exhausted; what was named before is forgotten.
pub fn remove_when_exhausted(path: CString) {
    LEFT.store(path.into_raw(), Ordering::Release);
}

#[cold]
fn exhausted() -> ! {
    let left = LEFT.load(Ordering::Acquire);
    if !left.is_null() {
        // SAFETY: the text came from `CString::into_raw` and nobody takes it back.
        unsafe { libc::unlink(left) };
    }
    let _ = nix::unistd::write(super::fds::standard(2), b"monopod: out of memory\n");
    super::process::exit_now(crate::FAILED)
}

/// What the C library gave, unless that is nothing.
fn some(memory: *mut u8) -> *mut u8 {
    if memory.is_null() {
        exhausted();
    }
    memory
}

fn count() {
    #[cfg(feature = "alloc-audit")]
    super::audit::count();
}

// SAFETY: every call is handed to the system's allocator unchanged.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's contract is the system allocator's.
        some(unsafe { System.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's contract is the system allocator's.
        some(unsafe { System.alloc_zeroed(layout) })
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract is the system allocator's. Freeing what the start had allocated is no use of the heap.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's contract is the system allocator's.
        some(unsafe { System.realloc(pointer, layout, size) })
    }
}
