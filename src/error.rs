//! The one error type: a step, what it was about, and the kernel's answer, in one line, without a heap.

use crate::text::Line;
use core::fmt;
use nix::errno::Errno;

/// How long an error's own text may become; the rest is cut. Long enough for two paths of ordinary length.
pub const ERROR_BYTES: usize = 480;

/// One line that tells a person at a serial console what to fix.
///
/// It is made where the fault is seen and printed once, at the top.
#[derive(Clone)]
pub struct Error {
    step: &'static str,
    text: Line<ERROR_BYTES>,
    errno: Option<Errno>,
}

/// The usual result of the library.
pub type Result<T, E = Error> = core::result::Result<T, E>;

impl Error {
    /// An error of `step` with its object and reason, e.g. `Error::new("config", format_args!("{file}:{line}: ..."))`.
    pub fn new(step: &'static str, what: fmt::Arguments<'_>) -> Self {
        let mut text = Line::new();
        let _ = fmt::Write::write_fmt(&mut text, what);
        Error { step, text, errno: None }
    }

    /// An error of `step` that the kernel gave for `what`.
    pub fn os(step: &'static str, errno: Errno, what: fmt::Arguments<'_>) -> Self {
        Error { errno: Some(errno), ..Self::new(step, what) }
    }

    /// The same error with more behind it.
    pub fn with_suffix(mut self, more: &str) -> Self {
        self.text.push(more.as_bytes());
        self
    }

    /// The step that failed.
    pub fn step(&self) -> &'static str {
        self.step
    }

    /// The kernel's answer, where there was one.
    pub fn errno(&self) -> Option<Errno> {
        self.errno
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.step, self.text)?;
        match self.errno {
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
