//! Messages with a file descriptor beside them, without a heap, and the pidfd that is sent that way.
//!
//! nix's `sendmsg` and `recvmsg` build their control buffer in a `Vec`; the supervisor must not allocate, so both are
//! written here over a fixed buffer.

use core::mem::{MaybeUninit, size_of};
use core::ptr;
use nix::errno::Errno;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// The most descriptors that `Beside::Fds` takes; more are left out.
pub const FDS: usize = 24;

/// Room for one control message of `FDS` descriptors or one set of credentials, aligned as `cmsghdr` must be.
#[repr(C)]
union Control {
    header: libc::cmsghdr,
    bytes: [u8; 128],
}

/// What travels beside the bytes.
#[derive(Clone, Copy)]
pub enum Beside<'fd> {
    /// Nothing.
    Nothing,
    /// A descriptor (SCM_RIGHTS).
    Fd(BorrowedFd<'fd>),
    /// Some of them.
    Fds(&'fd [OwnedFd]),
    /// Our own pid and ids (SCM_CREDENTIALS): LXC's server accepts no request without.
    Credentials,
}

/// Sends up to four `parts` as one message, `beside` with it. `flags` are MSG_*. Returns the number of bytes taken.
///
/// # Errors
/// sendmsg(2); EAGAIN for a full socket with MSG_DONTWAIT, EPIPE (no signal with MSG_NOSIGNAL) for a closed one.
pub fn send(socket: BorrowedFd<'_>, parts: &[&[u8]], beside: Beside<'_>, flags: libc::c_int) -> nix::Result<usize> {
    let mut vector = [part(&[]); 4];
    vector.iter_mut().zip(parts).for_each(|(slot, bytes)| *slot = part(bytes));
    let mut control = Control { bytes: [0; 128] };
    let mut message = empty(&mut vector);
    match beside {
        Beside::Nothing => {}
        Beside::Fd(fd) => attach(&mut message, &mut control, libc::SCM_RIGHTS, &[fd.as_raw_fd()]),
        Beside::Fds(fds) => {
            let mut numbers = [0; FDS];
            numbers.iter_mut().zip(fds).for_each(|(number, fd)| *number = fd.as_raw_fd());
            let count = fds.len().min(FDS);
            attach(&mut message, &mut control, libc::SCM_RIGHTS, numbers.get(..count).unwrap_or(&[]));
        }
        Beside::Credentials => {
            let me = libc::ucred {
                pid: nix::unistd::getpid().as_raw(),
                uid: nix::unistd::getuid().as_raw(),
                gid: nix::unistd::getgid().as_raw(),
            };
            attach(&mut message, &mut control, libc::SCM_CREDENTIALS, &[me]);
        }
    }
    // SAFETY: message points at `vector` and `control`, both alive and unmoved until the call returns; the kernel only
    // reads through them.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &message, flags) };
    Errno::result(sent).map(|n| n.unsigned_abs())
}

/// Receives up to `buffer.len()` bytes and a descriptor, if one came with them (close-on-exec). 0 bytes: the end.
///
/// # Errors
/// recvmsg(2); EAGAIN when the receive timeout of the socket is over.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> nix::Result<(usize, Option<OwnedFd>)> {
    let mut parts = [libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() }];
    let mut control = Control { bytes: [0; 128] };
    let mut message = empty(&mut parts);
    message.msg_control = (&raw mut control).cast();
    // SAFETY: CMSG_LEN only computes. The room is for one descriptor: the kernel closes what does not fit. CMSG_SPACE would be
    // rounded up, which on 64 bits lets a second one in that nobody owns.
    message.msg_controllen = unsafe { libc::CMSG_LEN(size_of::<RawFd>() as u32) } as _;
    // SAFETY: the first part is `buffer`, borrowed mutably for the call; `control` outlives it as well.
    let got = unsafe { libc::recvmsg(socket.as_raw_fd(), &mut message, libc::MSG_CMSG_CLOEXEC) };
    let got = Errno::result(got)?.unsigned_abs();
    // SAFETY: the kernel filled in msg_control and msg_controllen; CMSG_FIRSTHDR gives null or a whole header inside it.
    let header = unsafe { libc::CMSG_FIRSTHDR(&message).as_ref() };
    let fd = header.filter(|h| h.cmsg_level == libc::SOL_SOCKET && h.cmsg_type == libc::SCM_RIGHTS).map(|h| {
        // SAFETY: an SCM_RIGHTS message of a room for one descriptor holds exactly one, new and owned by nobody else.
        unsafe { OwnedFd::from_raw_fd(ptr::read_unaligned(libc::CMSG_DATA(h).cast::<RawFd>())) }
    });
    Ok((got, fd))
}

/// Receives a datagram and the pid of its sender, which the kernel vouches for; 0 for one in a foreign pid namespace. The
/// socket must have SO_PASSCRED set.
///
/// # Errors
/// recvmsg(2); EAGAIN when there is none.
pub fn receive_from(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> nix::Result<(usize, i32)> {
    let mut parts = [libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() }];
    let mut control = Control { bytes: [0; 128] };
    let mut message = empty(&mut parts);
    message.msg_control = (&raw mut control).cast();
    // SAFETY: CMSG_SPACE only computes. The room is for credentials only: the kernel closes descriptors that do not fit.
    message.msg_controllen = unsafe { libc::CMSG_SPACE(size_of::<libc::ucred>() as u32) } as _;
    let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: the first part is `buffer`, borrowed mutably for the call; `control` outlives it as well.
    let got = Errno::result(unsafe { libc::recvmsg(socket.as_raw_fd(), &mut message, flags) })?.unsigned_abs();
    // SAFETY: the kernel filled in msg_control and msg_controllen; CMSG_FIRSTHDR gives null or a whole header inside it.
    let header = unsafe { libc::CMSG_FIRSTHDR(&message).as_ref() };
    let pid = header.filter(|h| h.cmsg_level == libc::SOL_SOCKET && h.cmsg_type == libc::SCM_CREDENTIALS).map(|h| {
        // SAFETY: an SCM_CREDENTIALS message holds one ucred, plain data.
        unsafe { ptr::read_unaligned(libc::CMSG_DATA(h).cast::<libc::ucred>()) }.pid
    });
    Ok((got, pid.unwrap_or(0)))
}

/// A pidfd of process `pid`.
///
/// # Errors
/// pidfd_open(2); ENOSYS before Linux 5.3.
pub fn pidfd_open(pid: i32) -> nix::Result<OwnedFd> {
    // SAFETY: the call takes two integers and touches no memory of ours. What is returned is new.
    unsafe { super::fds::made(libc::syscall(libc::SYS_pidfd_open, pid, 0)) }
}

/// Sends `signal` to the process behind `pidfd`.
///
/// # Errors
/// pidfd_send_signal(2); ESRCH when it has ended.
pub fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> nix::Result<()> {
    let info: *const libc::siginfo_t = ptr::null();
    // SAFETY: a null siginfo makes the kernel fill in its own, as for kill(2).
    let done = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, info, 0) };
    Errno::result(done).map(drop)
}

fn part(bytes: &[u8]) -> libc::iovec {
    libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() }
}

fn empty(parts: &mut [libc::iovec]) -> libc::msghdr {
    // SAFETY: all zero bytes is a valid msghdr: null pointers with zero lengths.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_iov = parts.as_mut_ptr();
    message.msg_iovlen = parts.len() as _;
    message
}

/// Makes `control` one SOL_SOCKET message of `kind` holding `values`, and hangs it on `message`.
fn attach<T: Copy>(message: &mut libc::msghdr, control: &mut Control, kind: libc::c_int, values: &[T]) {
    let size = size_of_val(values);
    if size_of::<libc::cmsghdr>() + size + 8 > size_of::<Control>() {
        return;
    }
    message.msg_control = (&raw mut *control).cast();
    // SAFETY: the CMSG macros compute inside `control`, which the check above proves large enough for a header and the
    // values; its alignment is that of cmsghdr, and CMSG_DATA is written unaligned.
    unsafe {
        message.msg_controllen = libc::CMSG_SPACE(size as u32) as _;
        let header = libc::CMSG_FIRSTHDR(message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = kind;
        (*header).cmsg_len = libc::CMSG_LEN(size as u32) as _;
        let data = libc::CMSG_DATA(header).cast::<T>();
        for (index, value) in values.iter().enumerate() {
            data.add(index).write_unaligned(*value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn descriptor_sent_arrives_and_works() {
        let (a, b) = UnixStream::pair().unwrap();
        let (mut gift, other_end) = UnixStream::pair().unwrap();
        assert_eq!(send(a.as_fd(), &[b"ab", b"c"], Beside::Fd(other_end.as_fd()), libc::MSG_NOSIGNAL), Ok(3));
        let mut buffer = [0; 8];
        let (n, fd) = receive(b.as_fd(), &mut buffer).unwrap();
        assert_eq!(&buffer[..n], b"abc");
        gift.write_all(b"x").unwrap();
        let (n, none) = receive(fd.unwrap().as_fd(), &mut buffer).unwrap();
        assert_eq!((n, none.is_none()), (1, true));
    }

    #[test]
    fn descriptors_beyond_the_first_are_closed() {
        let (a, b) = UnixStream::pair().unwrap();
        let (mut watched, left) = UnixStream::pair().unwrap();
        let second = left.as_fd().try_clone_to_owned().unwrap();
        let gifts = [a.as_fd().try_clone_to_owned().unwrap(), second];
        assert_eq!(send(a.as_fd(), &[b"x"], Beside::Fds(&gifts), libc::MSG_NOSIGNAL), Ok(1));
        let (_, first) = receive(b.as_fd(), &mut [0; 8]).unwrap();
        assert!(first.is_some());
        drop((gifts, left));
        // Nobody has the second one's connection any more.
        assert_eq!(watched.read(&mut [0; 8]).unwrap(), 0);
    }

    #[test]
    fn credentials_sent_are_accepted() {
        let (a, _b) = UnixStream::pair().unwrap();
        assert_eq!(send(a.as_fd(), &[b"ab"], Beside::Credentials, libc::MSG_NOSIGNAL), Ok(2));
    }

    #[test]
    fn pidfd_of_ourselves_takes_signal_zero() {
        match pidfd_open(nix::unistd::getpid().as_raw()) {
            Ok(pidfd) => assert_eq!(pidfd_send_signal(pidfd.as_fd(), 0), Ok(())),
            Err(Errno::ENOSYS) => eprintln!("SKIPPED: this kernel has no pidfd_open"),
            Err(other) => panic!("pidfd_open: {other}"),
        }
    }
}
