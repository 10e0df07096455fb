//! The one error type: a step, what it was about, and the kernel's answer, in one line, without a heap.

use crate::sys::notes::Lease;
use core::fmt::{self, Write};
use nix::errno::Errno;

/// One line that tells a person at a serial console what to fix.
///
/// It is made where the fault is seen and printed once, at the top. On the way it is as small as a number.
pub struct Error(Lease);

/// The usual result of the library.
pub type Result<T, E = Error> = core::result::Result<T, E>;

impl Error {
    /// An error of `step` with its object and reason, e.g. `Error::new("config", format_args!("{file}:{line}: ..."))`.
    #[inline(never)]
    pub fn new(step: &'static str, what: fmt::Arguments<'_>) -> Self {
        let mut lease = Lease::empty();
        if let Some(note) = lease.note_mut() {
            note.step = Some(step);
            let _ = note.text.write_fmt(what);
        }
        Error(lease)
    }

    /// An error of `step` that the kernel gave for `what`.
    #[inline(never)]
    pub fn os(step: &'static str, errno: Errno, what: fmt::Arguments<'_>) -> Self {
        let mut error = Self::new(step, what);
        if let Some(note) = error.0.note_mut() {
            note.errno = errno as i32;
        }
        error
    }

    /// The same error with more behind it.
    pub fn with_suffix(mut self, more: &str) -> Self {
        if let Some(note) = self.0.note_mut() {
            note.text.push(more.as_bytes());
        }
        self
    }

    /// The step that failed.
    pub fn step(&self) -> &'static str {
        self.0.note().step.unwrap_or("error")
    }

    /// The kernel's answer, where there was one.
    pub fn errno(&self) -> Option<Errno> {
        match self.0.note().errno {
            0 => None,
            errno => Some(Errno::from_raw(errno)),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.step(), self.0.note().text)?;
        match self.errno() {
            Some(errno) => write!(f, ": {}", errno.desc()),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
