//! Our own binary as a file that nobody can write: what a guest could reach of it through /proc/PID/exe is then of no use to it.

use super::fds;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::Mode;
use std::os::fd::OwnedFd;

const EVERY_SEAL: SealFlag =
    SealFlag::F_SEAL_SEAL.union(SealFlag::F_SEAL_SHRINK).union(SealFlag::F_SEAL_GROW).union(SealFlag::F_SEAL_WRITE);

/// A sealed copy of the running binary, close-on-exec.
///
/// # Errors
/// ENOSYS before Linux 3.17; ENOENT without /proc.
pub fn own_binary() -> nix::Result<OwnedFd> {
    let own = fds::open(c"/proc/self/exe", OFlag::O_RDONLY, Mode::empty())?;
    let copy = memfd_create(c"monopod", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
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
    fcntl(&copy, FcntlArg::F_ADD_SEALS(EVERY_SEAL))?;
    Ok(copy)
}

/// Whether the running binary is such a copy.
pub fn is_in_memory() -> bool {
    std::fs::read_link("/proc/self/exe").is_ok_and(|path| path.as_os_str().as_encoded_bytes().starts_with(b"/memfd:"))
}
