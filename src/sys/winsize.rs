//! How large a terminal is.

use super::check;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Rows and columns of a terminal. ENOTTY for anything else.
pub fn of(fd: BorrowedFd<'_>) -> nix::Result<(u16, u16)> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes one winsize, which outlives the call.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCGWINSZ as _, &mut size as *mut libc::winsize) }.into())?;
    Ok((size.ws_row, size.ws_col))
}
