//! Somebody else's file in our memory, to look at and to wait on: words and their futexes, nothing else.
//!
//! The file belongs to a guest. It may write to it at any time, so words are read one by one, as atomics. It may make it
//! shorter as well: a look at what is gone then ends the process by SIGBUS. Only a process that may end so maps a file.

use super::check;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicU32, Ordering};
use std::os::fd::{AsRawFd, BorrowedFd};

/// The first bytes of a file, read-only and shared.
pub struct Mapping {
    start: NonNull<libc::c_void>,
    length: usize,
}

impl Mapping {
    /// Maps the first `length` bytes, of which there must be at least one.
    pub fn of(file: BorrowedFd<'_>, length: usize) -> nix::Result<Mapping> {
        // SAFETY: no address is asked for, so nothing that is mapped already is touched.
        let start =
            unsafe { libc::mmap(ptr::null_mut(), length, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd(), 0) };
        match NonNull::new(start) {
            Some(start) if start.as_ptr() != libc::MAP_FAILED => Ok(Mapping { start, length }),
            _ => Err(nix::errno::Errno::last()),
        }
    }

    fn at(&self, at: usize) -> Option<&AtomicU32> {
        if !at.is_multiple_of(4) || at.checked_add(4)? > self.length {
            return None;
        }
        // SAFETY: the four bytes lie in the mapping, which lives as long as `self`, at a multiple of 4 from a page's start;
        // others change them only as the whole system does, and an atomic that is only loaded may lie in read-only memory.
        Some(unsafe { &*self.start.as_ptr().cast::<u8>().add(at).cast::<AtomicU32>() })
    }

    /// The word at byte `at`; None outside of the mapping or between words.
    pub fn word(&self, at: usize) -> Option<u32> {
        self.at(at).map(|word| word.load(Ordering::Acquire))
    }

    /// FUTEX_WAIT, shared: until somebody wakes the word at byte `at`, unless it is not `seen` any more. It may return without
    /// a reason, too.
    ///
    /// # Errors
    /// EFAULT: the file has become too short.
    pub fn wait(&self, at: usize, seen: u32) -> nix::Result<()> {
        let word = self.at(at).ok_or(nix::errno::Errno::EFAULT)?;
        let forever = ptr::null::<libc::timespec>();
        // SAFETY: the word lives as long as `self`; FUTEX_WAIT only reads it, and without a time.
        match check(unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, seen, forever) }) {
            Ok(_) | Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno),
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this length, and nobody borrows from `self` any more.
        unsafe { libc::munmap(self.start.as_ptr(), self.length) };
    }
}
