//! What a namespace's file is.

use super::check;
use nix::errno::Errno;
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// NS_GET_NSTYPE of ioctl_ns(2) (Linux 4.11).
const GET_TYPE: u32 = 0xb703;
/// NSFS_MAGIC (Linux 3.19; before, these files were procfs').
const NSFS: i64 = 0x6e73_6673;

/// The CLONE_NEW* bit of a namespace's file. EINVAL: it is none; ENOTTY: this kernel cannot tell.
pub fn kind(file: BorrowedFd<'_>) -> nix::Result<u64> {
    // The type differs by machine.
    #[allow(clippy::unnecessary_cast)]
    let magic = fstatfs(file.as_fd())?.filesystem_type().0 as i64;
    #[allow(clippy::unnecessary_cast)]
    let known = [NSFS, PROC_SUPER_MAGIC.0 as i64];
    if !known.contains(&magic) {
        return Err(Errno::EINVAL);
    }
    // SAFETY: no memory is passed.
    check(unsafe { libc::ioctl(file.as_raw_fd(), GET_TYPE as _) }.into()).map(|kind| kind as u64)
}
