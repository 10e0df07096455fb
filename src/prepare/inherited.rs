//! Descriptors and signal dispositions that our caller left us (lxc_check_inherited).
//!
//! Nothing inherited may reach init: everything from 3 on is closed (`-C`, `-d`) or marked close-on-exec. Only the sockets that a
//! service manager opened for it (sd_listen_fds(3)) do, and hooks never get them.

use crate::error::{Error, Result};
use crate::limits;
use crate::sys::fds::open;
use crate::sys::{fds, signals};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// First descriptor that is not a standard one.
const FIRST: i32 = 3;

/// Makes sure that 0, 1 and 2 are open, on /dev/null where they were closed. Without /dev/null they stay closed, and
/// nothing of ours may land on them: that case is an init before /dev, which opens its own console later.
pub fn open_standard() {
    if fds::standard_are_open() {
        return;
    }
    for number in 0..FIRST {
        if fds::is_open(number) {
            continue;
        }
        // open(2) takes the lowest free number, which is this one, because all below are open.
        if let Ok(null) = open(c"/dev/null", OFlag::O_RDWR | OFlag::O_NOCTTY, Mode::empty()) {
            core::mem::forget(null);
        }
    }
}

/// Takes over descriptor `fd`, which our caller opened for us.
pub fn keep(fd: i32) -> Result<OwnedFd> {
    let refuse = |errno| Error::os("inherited descriptors", errno, format_args!("--ready-fd {fd}"));
    if fd < FIRST { Err(refuse(Errno::EBADF)) } else { fds::take_over(fd).map_err(refuse) }
}

/// How many descriptors from 3 on are sockets for init: LISTEN_FDS. Call it before anything of ours is open, which could pass
/// for one that is not there. 0 if they are another process', by LISTEN_PID, or not all open.
pub fn sockets() -> i32 {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<i32>().ok());
    let ours = std::env::var_os("LISTEN_PID").is_none() || number("LISTEN_PID") == Some(nix::unistd::getpid().as_raw());
    let count = number("LISTEN_FDS").filter(|count| ours && (1..=limits::SOCKETS).contains(count)).unwrap_or(0);
    if (FIRST..FIRST + count).all(fds::is_open) { count } else { 0 }
}

/// For the exec of init: it gets those.
pub fn pass_sockets(count: i32) -> nix::Result<()> {
    (FIRST..FIRST + count).try_for_each(fds::pass_on)
}

/// Deals with everything above 2 but `kept` and the sockets: closed if `close`, otherwise kept for nobody but us.
pub fn settle(close: bool, kept: Option<&OwnedFd>, sockets: i32) -> Result<()> {
    if !close {
        match fds::cloexec_from(FIRST as u32) {
            Ok(()) => return Ok(()),
            // Before Linux 5.11, or under a policy that does not know the call: one by one.
            Err(Errno::ENOSYS | Errno::EINVAL | Errno::EPERM) => {}
            Err(errno) => return Err(Error::os("inherited descriptors", errno, format_args!("close_range"))),
        }
    }
    one_by_one(close, kept.map(AsRawFd::as_raw_fd), FIRST + sockets);
    Ok(())
}

fn one_by_one(close: bool, kept: Option<i32>, first: i32) {
    let deal = |fd: i32| {
        if close && kept != Some(fd) && fd >= first {
            fds::close_inherited(fd);
        } else {
            let _ = fds::cloexec(fd);
        }
    };
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let Ok(directory) = open(c"/proc/self/fd", flags, Mode::empty()) else {
        // Without /proc: as many as a usual limit allows.
        (FIRST..1024).for_each(deal);
        return;
    };
    let own = directory.as_raw_fd();
    let _ = fds::for_each_entry(directory.as_fd(), &mut |name, _| {
        let number = crate::text::number(name.to_bytes()).and_then(|n| i32::try_from(n).ok());
        if let Some(fd) = number.filter(|fd| *fd >= FIRST && *fd != own) {
            deal(fd);
        }
    });
}

/// Signals that our caller ignores, as a mask (bit n-1 = signal n): init must not inherit them. Where /proc cannot be read it
/// may be any.
pub fn ignored_signals() -> u64 {
    const ANY: u64 = u64::MAX;
    let mut status = [0u8; 4096];
    let read = open(c"/proc/self/status", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
        .and_then(|file| nix::unistd::read(&file, &mut status));
    let Ok(length) = read else { return ANY };
    let text = status.get(..length).unwrap_or(&[]);
    let Some(at) = crate::text::find(text, b"SigIgn:") else { return ANY };
    let digits = text.get(at + 7..).unwrap_or(&[]).trim_ascii_start();
    let digits = digits.split(|b| *b == b'\n').next().and_then(|line| core::str::from_utf8(line).ok());
    digits.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(ANY)
}

/// SIGCHLD ignored by our caller would make the kernel reap our children itself, and their status would be lost.
pub fn hear_of_children() {
    signals::set_default(libc::SIGCHLD);
}
