//! `monopod.trace`: each step of a start goes to /dev/kmsg before it is done, so that what the kernel keeps over a crash
//! (pstore, ramoops) ends with the step that froze the machine.
//!
//! Supervisor and child write alike; off, a step is one load. The kernel lets one open file write ten lines in five seconds
//! (printk.devkmsg = ratelimit), so each line opens it anew, from a directory that is still the host's after pivot_root.

use crate::sys::fds::open;
use crate::text::{Line, Shown};
use core::ffi::CStr;
use core::fmt::Write;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;

struct Trace {
    dev: OwnedFd,
    name: heapless::String<64>,
}

static TRACE: OnceLock<Trace> = OnceLock::new();

/// Switches it on for the container `name`. Without a /dev it stays off.
pub fn begin(name: &CStr) {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let Ok(dev) = open(c"/dev", flags, Mode::empty()) else { return };
    let mut text = heapless::String::new();
    let bytes = name.to_bytes();
    let _ = write!(text, "{}", Shown(bytes.get(..60).unwrap_or(bytes)));
    let _ = TRACE.set(Trace { dev, name: text });
}

/// `what` is about to be done.
#[inline]
pub fn step(what: &'static str) {
    if let Some(trace) = TRACE.get() {
        trace.write(what, c"");
    }
}

/// `what` is about to be done with `object`.
#[inline]
pub fn step_with(what: &'static str, object: &CStr) {
    if let Some(trace) = TRACE.get() {
        trace.write(what, object);
    }
}

impl Trace {
    #[inline(never)]
    fn write(&self, what: &str, object: &CStr) {
        let mut line = Line::<400>::new();
        let _ = writeln!(line, "<6>monopod[{}]: step: {what} {}", self.name, Shown(object.to_bytes()));
        // Without the newline the kernel would keep the record open for more, and show it to nobody.
        let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC | OFlag::O_NOCTTY | OFlag::O_NONBLOCK;
        if let Ok(kmsg) = nix::fcntl::openat(self.dev.as_fd(), c"kmsg", flags, Mode::empty()) {
            let _ = nix::unistd::write(&kmsg, line.bytes());
        }
    }
}
