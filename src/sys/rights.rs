//! Passing many descriptors in one message (SCM_RIGHTS, unix(7)) without a heap: the container's ptys on their way up.

use super::check;
use crate::limits;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// The console and every tty.
pub const MOST: usize = limits::TTYS + 1;

/// Room for one control message with `MOST` descriptors, aligned as the kernel's `cmsghdr` wants it.
#[repr(C, align(8))]
struct Control([u8; 512]);

const _: () = assert!(MOST * size_of::<RawFd>() + 32 <= 512);

/// Sends `bytes` as one message, with `descriptors` beside them. EINTR is retried.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> nix::Result<()> {
    let mut control = Control([0; 512]);
    let size = descriptors.len().min(MOST) * size_of::<RawFd>();
    let mut part = libc::iovec { iov_base: bytes.as_ptr() as *mut _, iov_len: bytes.len() };
    // SAFETY: msghdr is plain data for which all zeroes is a valid value (it has padding on some targets).
    let mut message: libc::msghdr = unsafe { core::mem::zeroed() };
    message.msg_iov = &mut part;
    message.msg_iovlen = 1;
    if size > 0 {
        message.msg_control = control.0.as_mut_ptr().cast();
        // SAFETY: the control buffer holds CMSG_SPACE(MOST descriptors), checked above; it is aligned for a cmsghdr, so the
        // first header lies within it, and the descriptors are copied into its data part byte by byte.
        unsafe {
            message.msg_controllen = libc::CMSG_SPACE(size as u32) as _;
            let header = libc::CMSG_FIRSTHDR(&message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(size as u32) as _;
            let data = libc::CMSG_DATA(header).cast::<RawFd>();
            for (index, descriptor) in descriptors.iter().take(MOST).enumerate() {
                data.add(index).write_unaligned(descriptor.as_raw_fd());
            }
        }
    }
    loop {
        // SAFETY: `message` points at `bytes` and `control`, which outlive the call; the kernel only reads them.
        match check(unsafe { libc::sendmsg(socket.as_raw_fd(), &message, libc::MSG_NOSIGNAL) } as libc::c_long) {
            Err(nix::errno::Errno::EINTR) => continue,
            other => return other.map(drop),
        }
    }
}

/// Receives one message into `buffer` and its descriptors into `descriptors`, close-on-exec. The message's length; 0 is the
/// end of the connection. Never blocks: EAGAIN when there is none.
pub fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    descriptors: &mut heapless::Vec<OwnedFd, MOST>,
) -> nix::Result<usize> {
    let mut control = Control([0; 512]);
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: as in `send`.
    let mut message: libc::msghdr = unsafe { core::mem::zeroed() };
    message.msg_iov = &mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = control.0.len() as _;
    let flags = libc::MSG_CMSG_CLOEXEC | libc::MSG_DONTWAIT;
    let length = loop {
        // SAFETY: `message` points at `buffer` and `control`, which outlive the call, with their true lengths.
        match check(unsafe { libc::recvmsg(socket.as_raw_fd(), &mut message, flags) } as libc::c_long) {
            Err(nix::errno::Errno::EINTR) => continue,
            other => break other?,
        }
    };
    // SAFETY: the kernel filled the control buffer and set its length; the CMSG macros stay within it, and every number in
    // an SCM_RIGHTS message is a new descriptor of ours.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(&message);
        while !header.is_null() {
            if (*header).cmsg_level == libc::SOL_SOCKET && (*header).cmsg_type == libc::SCM_RIGHTS {
                let data = libc::CMSG_DATA(header).cast::<RawFd>();
                let bytes = (*header).cmsg_len as usize - libc::CMSG_LEN(0) as usize;
                for index in 0..bytes / size_of::<RawFd>() {
                    // A descriptor too many is dropped here, which closes it.
                    let _ = descriptors.push(OwnedFd::from_raw_fd(data.add(index).read_unaligned()));
                }
            }
            header = libc::CMSG_NXTHDR(&message, header);
        }
    }
    Ok(length as usize)
}
