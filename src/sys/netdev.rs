//! The one network ioctl pair that a container without links needs: bringing an interface up (netdevice(7)).

use super::check;
use core::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Sets IFF_UP on interface `name` of this network namespace. ENODEV if there is none.
pub fn bring_up(socket: BorrowedFd<'_>, name: &CStr) -> nix::Result<()> {
    // SAFETY: ifreq is plain data for which all zeroes is a valid value.
    let mut request: libc::ifreq = unsafe { core::mem::zeroed() };
    // One byte is left for the terminating NUL.
    let room = request.ifr_name.len() - 1;
    for (to, from) in request.ifr_name.iter_mut().take(room).zip(name.to_bytes()) {
        *to = *from as _;
    }
    // SAFETY: both ioctls take a pointer to one ifreq, which outlives them; the flags member is the one they use.
    unsafe {
        check(libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS as _, &mut request as *mut libc::ifreq).into())?;
        request.ifr_ifru.ifru_flags |= libc::IFF_UP as libc::c_short;
        check(libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &request as *const libc::ifreq).into())?;
    }
    Ok(())
}
