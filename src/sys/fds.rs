//! Descriptors in bulk, and the few calls on one that nix makes with a heap or not at all.

use super::check;
use core::ffi::CStr;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// open(2), close-on-exec. The C library's own `open` would repeat that by a second system call, for kernels before 2.6.23.
pub fn open(path: &CStr, flags: OFlag, mode: Mode) -> nix::Result<OwnedFd> {
    nix::fcntl::openat(nix::fcntl::AT_FDCWD, path, flags | OFlag::O_CLOEXEC, mode)
}

/// flock(2), exclusive, without waiting: EWOULDBLOCK when somebody else has it. It ends with the last copy of the descriptor.
///
/// nix's own type for it panics where unlocking fails.
pub fn lock(fd: BorrowedFd<'_>) -> nix::Result<()> {
    lock_as(fd, libc::LOCK_EX)
}

/// The same shared with others who do not want it for themselves.
pub fn lock_shared(fd: BorrowedFd<'_>) -> nix::Result<()> {
    lock_as(fd, libc::LOCK_SH)
}

fn lock_as(fd: BorrowedFd<'_>, kind: libc::c_int) -> nix::Result<()> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::flock(fd.as_raw_fd(), kind | libc::LOCK_NB) }.into()).map(drop)
}

/// Marks every descriptor from `first` on close-on-exec (Linux 5.11); ENOSYS or EINVAL before.
pub fn cloexec_from(first: u32) -> nix::Result<()> {
    const CLOSE_RANGE_CLOEXEC: u32 = 4;
    // SAFETY: no memory is passed; flags of descriptors change, none is closed.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, CLOSE_RANGE_CLOEXEC) }).map(drop)
}

/// Closes every descriptor from `first` to `last`, whoever owns it: for a process that will only execute another program.
pub fn close_range(first: i32, last: i32) -> nix::Result<()> {
    /// Before Linux 5.9 they are closed one by one; nobody has more.
    const MOST: i32 = 65_536;
    if first > last {
        return Ok(());
    }
    // SAFETY: no memory is passed; the caller does not use what it owns among them any more.
    match check(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) }) {
        Err(nix::errno::Errno::ENOSYS | nix::errno::Errno::EPERM) => {
            (first..=last.min(MOST)).for_each(close_inherited);
            Ok(())
        }
        other => other.map(drop),
    }
}

/// Closes every descriptor from `first` on but those to `keep` (-1: none), for a process that the guest can look into.
pub fn close_all_but(first: i32, keep: &mut [i32]) -> nix::Result<()> {
    keep.sort_unstable();
    let mut from = first;
    for fd in keep.iter().filter(|fd| **fd >= first) {
        close_range(from, fd - 1)?;
        from = fd + 1;
    }
    close_range(from, i32::MAX)
}

/// Sets close-on-exec on a descriptor number that nobody in this program owns (one that we inherited).
pub fn cloexec(fd: RawFd) -> nix::Result<()> {
    set_flags(fd, libc::FD_CLOEXEC)
}

/// Takes close-on-exec away from an inherited descriptor that nobody in this program owns.
pub fn pass_on(fd: RawFd) -> nix::Result<()> {
    set_flags(fd, 0)
}

fn set_flags(fd: RawFd, flags: libc::c_int) -> nix::Result<()> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::fcntl(fd, libc::F_SETFD, flags) }.into()).map(drop)
}

/// Closes an inherited descriptor that nobody in this program owns.
pub fn close_inherited(fd: RawFd) {
    // SAFETY: called before anything of ours is open, or for a number found in /proc/self/fd and known not to be ours.
    unsafe { libc::close(fd) };
}

/// Takes over an inherited descriptor, named by our caller on the command line. EBADF when it is not open.
pub fn take_over(fd: RawFd) -> nix::Result<OwnedFd> {
    // SAFETY: no memory is passed, and what is returned is new.
    let copy = unsafe { made(libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3).into()) }?;
    close_inherited(fd);
    Ok(copy)
}

/// A copy of a descriptor, close-on-exec. As with `open`, the C library would say so twice.
pub fn copy(fd: BorrowedFd<'_>) -> nix::Result<OwnedFd> {
    // SAFETY: no memory is passed, and what is returned is new.
    unsafe { made(libc::syscall(libc::SYS_fcntl, fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 3)) }
}

/// Whether descriptors 0, 1 and 2 are open, by one system call. False also where that call fails.
pub fn standard_are_open() -> bool {
    let mut standard = [0, 1, 2].map(|fd| libc::pollfd { fd, events: 0, revents: 0 });
    // SAFETY: the array has as many entries as the call is told.
    let looked = unsafe { libc::poll(standard.as_mut_ptr(), standard.len() as libc::nfds_t, 0) };
    looked >= 0 && standard.iter().all(|one| one.revents & libc::POLLNVAL == 0)
}

/// Whether descriptor number `fd` is open.
pub fn is_open(fd: RawFd) -> bool {
    // SAFETY: no memory is passed.
    unsafe { libc::fcntl(fd, libc::F_GETFD) >= 0 }
}

/// Makes descriptor number `to` (0, 1 or 2) a copy of `from`, closing what it was.
pub fn dup_onto(from: BorrowedFd<'_>, to: RawFd) -> nix::Result<()> {
    if from.as_raw_fd() == to {
        // dup2 onto itself would leave close-on-exec set.
        return pass_on(to);
    }
    dup_number(from.as_raw_fd(), to)
}

/// `dup_onto` for a number that is about to be left to an exec.
pub fn dup_number(from: RawFd, to: RawFd) -> nix::Result<()> {
    // SAFETY: no memory is passed; 0-2 are owned by no OwnedFd of this program.
    check(unsafe { libc::dup2(from, to) }.into()).map(drop)
}

/// Takes over the descriptor that a system call has made, or its error.
///
/// # Safety
/// `result` must be what a system call has just returned that makes a descriptor for its caller.
pub unsafe fn made(result: libc::c_long) -> nix::Result<OwnedFd> {
    // SAFETY: so it is open, and nobody else knows of it.
    check(result).map(|fd| unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Borrows standard input, output or error.
///
/// The program makes sure at its start that 0-2 are open (`prepare::inherited`), so the numbers stay valid.
pub fn standard(number: RawFd) -> BorrowedFd<'static> {
    // SAFETY: see above; -1 is never passed.
    unsafe { BorrowedFd::borrow_raw(number.clamp(0, 2)) }
}

/// readlink(2) without a heap, of `path` below `directory`: what of the text fits.
pub fn read_link<'b>(directory: Option<BorrowedFd<'_>>, path: &CStr, buffer: &'b mut [u8]) -> nix::Result<&'b [u8]> {
    let at = directory.map_or(libc::AT_FDCWD, |fd| fd.as_raw_fd());
    // SAFETY: the kernel reads a C string and writes at most `len` bytes into the buffer.
    let length = unsafe { libc::readlinkat(at, path.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len()) };
    let length = check(length as libc::c_long)?;
    Ok(buffer.get(..length as usize).unwrap_or(&[]))
}

/// Calls `each` with the name of every directory in `directory` (but `.` and `..`), without a heap.
///
/// Names are those of one getdents64(2) after the other; entries that `each` removes meanwhile do no harm.
pub fn for_each_directory(directory: BorrowedFd<'_>, each: &mut dyn FnMut(&CStr)) -> nix::Result<()> {
    for_each_entry(directory, &mut |name, kind| {
        if kind == libc::DT_DIR {
            each(name);
        }
    })
}

/// Calls `each` with name and DT_* kind of every entry in `directory` but `.` and `..`, without a heap.
pub fn for_each_entry(directory: BorrowedFd<'_>, each: &mut dyn FnMut(&CStr, u8)) -> nix::Result<()> {
    // struct linux_dirent64: 8 bytes inode, 8 bytes offset, 2 bytes record length, 1 byte kind, then the name.
    const LENGTH_AT: usize = 16;
    const KIND_AT: usize = 18;
    const NAME_AT: usize = 19;
    let mut buffer = [0u8; 2048];
    loop {
        // SAFETY: the kernel writes at most `len` bytes into the buffer.
        let got = check(unsafe {
            libc::syscall(libc::SYS_getdents64, directory.as_raw_fd(), buffer.as_mut_ptr(), buffer.len())
        })?;
        let mut rest = buffer.get(..got as usize).unwrap_or(&[]);
        if rest.is_empty() {
            return Ok(());
        }
        while let Some(&[low, high]) = rest.get(LENGTH_AT..LENGTH_AT + 2) {
            let length = usize::from(u16::from_ne_bytes([low, high]));
            let name = rest.get(NAME_AT..length).and_then(|bytes| CStr::from_bytes_until_nul(bytes).ok());
            if let (Some(name), Some(kind)) = (name, rest.get(KIND_AT))
                && name != c"."
                && name != c".."
            {
                each(name, *kind);
            }
            match rest.get(length..) {
                Some(tail) if length > 0 => rest = tail,
                _ => break,
            }
        }
    }
}
