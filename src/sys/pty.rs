//! Pseudo terminals of one devpts instance, by descriptor: never by a path that a rootfs could plant.

use super::{check, fds};
use crate::text::PathText;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// `TIOCGPTPEER` (Linux 4.13): the slave of a master, opened without a path.
#[cfg(not(any(target_arch = "mips", target_arch = "powerpc64")))]
const TIOCGPTPEER: u32 = 0x5441;

/// Unlocks the slave of `master` and says its number, `/dev/pts/N`.
pub fn unlock(master: BorrowedFd<'_>) -> nix::Result<u32> {
    let mut number: libc::c_uint = 0;
    let unlocked: libc::c_int = 0;
    // SAFETY: TIOCSPTLCK reads one int, TIOCGPTN writes one unsigned int; both outlive the calls.
    unsafe {
        check(libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK as _, &unlocked as *const libc::c_int).into())?;
        check(libc::ioctl(master.as_raw_fd(), libc::TIOCGPTN as _, &mut number as *mut libc::c_uint).into())?;
    }
    Ok(number)
}

/// Opens the slave of `master`; ENOTTY or EINVAL before Linux 4.13.
pub fn open_peer(master: BorrowedFd<'_>) -> nix::Result<OwnedFd> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: the argument is a number, not a pointer, and what is returned is new.
    unsafe { fds::made(libc::ioctl(master.as_raw_fd(), TIOCGPTPEER as _, flags as libc::c_ulong).into()) }
}

/// A pty of the devpts instance whose directory is `devpts`: master and slave, close-on-exec.
///
/// # Errors
/// ENOTTY: something else stands in the place of the slave.
pub fn open_in(devpts: BorrowedFd<'_>, more: OFlag) -> nix::Result<(OwnedFd, OwnedFd)> {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    let master = nix::fcntl::openat(devpts, c"ptmx", flags | more, Mode::empty())?;
    let number = unlock(master.as_fd())?;
    let slave = match open_peer(master.as_fd()) {
        // Before Linux 4.13: by its name, over which others may have mounted something.
        Err(Errno::ENOTTY | Errno::EINVAL | Errno::ENOSYS) => {
            let name: PathText = PathText::format(format_args!("{number}")).map_err(|_| Errno::ENAMETOOLONG)?;
            let slave = nix::fcntl::openat(devpts, name.c(), flags, Mode::empty())?;
            let (instance, found) = (nix::sys::stat::fstat(devpts)?, nix::sys::stat::fstat(&slave)?);
            let minor = nix::sys::stat::minor(found.st_rdev as _);
            let same = found.st_dev == instance.st_dev && minor == u64::from(number) as _;
            if same && is_slave(slave.as_fd())? { slave } else { return Err(Errno::ENOTTY) }
        }
        other => other?,
    };
    Ok((master, slave))
}

/// A pty of the host: master and slave, close-on-exec. `more` are O_* for the master.
pub fn open_host(more: OFlag) -> nix::Result<(OwnedFd, OwnedFd)> {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let master = fds::open(c"/dev/ptmx", flags | more, Mode::empty())?;
    let number = unlock(master.as_fd())?;
    let slave = match open_peer(master.as_fd()) {
        // Before Linux 4.13: by name.
        Err(Errno::ENOTTY | Errno::EINVAL | Errno::ENOSYS) => {
            let path = PathText::format(format_args!("/dev/pts/{number}")).map_err(|_| Errno::ENAMETOOLONG)?;
            let slave = fds::open(path.c(), flags | OFlag::O_NOFOLLOW, Mode::empty())?;
            if is_slave(slave.as_fd())? { slave } else { return Err(Errno::ENOTTY) }
        }
        other => other?,
    };
    Ok((master, slave))
}

/// Makes `terminal` the controlling terminal of this session; `steal` takes it from another session (needs CAP_SYS_ADMIN).
pub fn set_controlling(terminal: BorrowedFd<'_>, steal: bool) -> nix::Result<()> {
    // SAFETY: the argument is a number.
    check(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY as _, libc::c_ulong::from(steal)) }.into())
        .map(drop)
}

/// Copies the window size of one terminal to another. ENOTTY when either is none.
pub fn copy_window_size(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> nix::Result<()> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: both ioctls take a pointer to one winsize, which outlives them.
    unsafe {
        check(libc::ioctl(from.as_raw_fd(), libc::TIOCGWINSZ as _, &mut size as *mut libc::winsize).into())?;
        check(libc::ioctl(to.as_raw_fd(), libc::TIOCSWINSZ as _, &size as *const libc::winsize).into())?;
    }
    Ok(())
}

/// Rows and columns of a terminal. ENOTTY for anything else.
pub fn window_size(fd: BorrowedFd<'_>) -> nix::Result<(u16, u16)> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes one winsize, which outlives the call.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCGWINSZ as _, &mut size as *mut libc::winsize) }.into())?;
    Ok((size.ws_row, size.ws_col))
}

/// Bytes that a terminal has taken and not sent yet (TIOCOUTQ). ENOTTY for anything else.
pub fn unsent(fd: BorrowedFd<'_>) -> nix::Result<i32> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: TIOCOUTQ writes one int, which outlives the call.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCOUTQ as _, &mut bytes as *mut libc::c_int) }.into())?;
    Ok(bytes)
}

/// Whether `fd` is a terminal.
pub fn is_terminal(fd: BorrowedFd<'_>) -> bool {
    std::io::IsTerminal::is_terminal(&fd)
}

/// The `/dev/pts/N` a pty slave is known by inside its devpts, as a device number check: is `fd` a pty slave at all?
pub fn is_slave(fd: BorrowedFd<'_>) -> nix::Result<bool> {
    // Unix98 slaves have the major numbers 136-143 (Documentation/admin-guide/devices.txt).
    let stat = nix::sys::stat::fstat(fd).map_err(|errno| if errno == Errno::EBADF { Errno::ENOTTY } else { errno })?;
    let major = nix::sys::stat::major(stat.st_rdev as _);
    Ok(stat.st_mode & libc::S_IFMT == libc::S_IFCHR && (136..=143).contains(&major))
}
