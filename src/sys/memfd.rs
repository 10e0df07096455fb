//! Our own binary as a file that nobody can write: what a guest could reach of it through /proc/PID/exe is then of no use to it.

use super::{check, fds};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

const MFD_CLOEXEC: libc::c_uint = 1;
const MFD_ALLOW_SEALING: libc::c_uint = 2;
const F_ADD_SEALS: libc::c_int = 1033;
/// F_SEAL_SEAL, SHRINK, GROW, WRITE: memfd_create(2), fcntl(2).
const EVERY_SEAL: libc::c_int = 1 | 2 | 4 | 8;

/// A sealed copy of the running binary, close-on-exec.
///
/// # Errors
/// ENOSYS before Linux 3.17; ENOENT without /proc.
pub fn own_binary() -> nix::Result<OwnedFd> {
    let own = fds::open(c"/proc/self/exe", OFlag::O_RDONLY, Mode::empty())?;
    let name = c"monopod";
    // SAFETY: the kernel copies the name, a C string that outlives the call.
    let made = unsafe { libc::syscall(libc::SYS_memfd_create, name.as_ptr(), MFD_CLOEXEC | MFD_ALLOW_SEALING) };
    // SAFETY: the kernel has just made this descriptor for us.
    let copy = unsafe { fds::adopt(check(made)? as i32) };
    let mut chunk = [0u8; 16 * 1024];
    loop {
        let mut rest = match nix::unistd::read(&own, &mut chunk)? {
            0 => break,
            length => chunk.get(..length).ok_or(Errno::EIO)?,
        };
        while !rest.is_empty() {
            let written = nix::unistd::write(&copy, rest)?;
            rest = rest.get(written..).ok_or(Errno::EIO)?;
        }
    }
    // SAFETY: no memory is passed.
    check(unsafe { libc::fcntl(copy.as_fd().as_raw_fd(), F_ADD_SEALS, EVERY_SEAL) }.into())?;
    Ok(copy)
}

/// Whether the running binary is such a copy.
pub fn is_in_memory() -> bool {
    std::fs::read_link("/proc/self/exe").is_ok_and(|path| path.as_os_str().as_encoded_bytes().starts_with(b"/memfd:"))
}
