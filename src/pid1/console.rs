//! What the machine's init says: to the console and to the kernel's ring, one line each.

use crate::sys::fds::{self, open, standard};
use crate::sys::pty;
use crate::text::Line;
use core::ffi::CStr;
use core::fmt::{Arguments, Write};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use nix::sys::termios::{OutputFlags, tcgetattr};
use std::os::fd::{AsFd, OwnedFd};

/// The machine's console.
pub const PATH: &CStr = c"/dev/console";

/// How long a console that takes nothing is waited for, in milliseconds: it may be stopped by flow control.
const PATIENCE_MS: u8 = 100;

/// Makes the console standard input, output and error. Where it cannot be opened, what the kernel gave us stays.
///
/// Our own is non-blocking: a terminal stopped by ^S must not stop process 1. Children get theirs opened anew.
pub fn take() {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let Ok(console) = open(PATH, flags, Mode::empty()) else { return };
    for number in 0..3 {
        let _ = fds::dup_onto(console.as_fd(), number);
    }
    if console_is_standard(&console) {
        // Where 0-2 were closed it is one of them itself.
        core::mem::forget(console);
    }
}

fn console_is_standard(console: &OwnedFd) -> bool {
    use std::os::fd::AsRawFd;
    console.as_raw_fd() < 3
}

/// Says one line.
pub fn say(args: Arguments<'_>) {
    let mut line = Line::<600>::new();
    let _ = write!(line, "monopod: init: {args}");
    let console = standard(2);
    // A supervisor may have put the terminal into raw mode.
    let raw = tcgetattr(console).is_ok_and(|settings| !settings.output_flags.contains(OutputFlags::OPOST));
    write_out(line.bytes());
    write_out(if raw { b"\r\n" } else { b"\n" });
    // As a debug message, which no kernel prints on the console by itself: it would be there twice.
    let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    if let Ok(kmsg) = open(c"/dev/kmsg", flags, Mode::empty()) {
        let mut record = Line::<620>::new();
        let _ = write!(record, "<31>{line}");
        let _ = nix::unistd::write(&kmsg, record.bytes());
    }
}

fn write_out(mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match nix::unistd::write(standard(2), bytes) {
            Ok(written) => bytes = bytes.get(written..).unwrap_or(&[]),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => {
                let mut room = [PollFd::new(standard(2), PollFlags::POLLOUT)];
                if !matches!(poll(&mut room, PollTimeout::from(PATIENCE_MS)), Ok(1..)) {
                    return;
                }
            }
            Err(_) => return,
        }
    }
}

/// Waits until the console has sent what it took, half a second at most: the power goes off next.
pub fn flush() {
    for _ in 0..50 {
        if !matches!(pty::unsent(standard(2)), Ok(1..)) {
            return;
        }
        let _ = poll(&mut [], PollTimeout::from(10u8));
    }
}
