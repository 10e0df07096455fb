//! A rtnetlink(7) socket: one request, all of its answers. Never blocks: the kernel works inside of send(2), so what it has
//! to say is in the queue when that returns.

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recvfrom, sendto, socket,
};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Bytes of the largest answer: the kernel makes none above 8 KiB.
const ANSWER: usize = 8192;
/// Messages read for one request, whoever sent them. The longest dump (every address of a router) has a few.
const MESSAGES: usize = 1024;

/// The socket, in the network namespace of the process that opened it. As long as it lives, so does the namespace.
pub struct Netlink {
    socket: OwnedFd,
    sequence: u32,
}

/// Opens the socket in this process's network namespace.
///
/// # Errors
/// socket(2); EAFNOSUPPORT or EPROTONOSUPPORT for a kernel without networking.
pub fn open() -> nix::Result<OwnedFd> {
    socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)
}

impl From<OwnedFd> for Netlink {
    fn from(socket: OwnedFd) -> Self {
        Netlink { socket, sequence: 0 }
    }
}

impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Netlink {
    /// The number for the next request.
    pub fn sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    /// Sends a request that asks for an acknowledgement (or for a dump) and gives type and body of each answer to `each`.
    ///
    /// # Errors
    /// The errno of NLMSG_ERROR; send(2), recvfrom(2); EAGAIN if the kernel did not answer, EMSGSIZE, EBADMSG.
    pub fn ask(&mut self, request: &[u8], each: &mut dyn FnMut(u16, &[u8])) -> nix::Result<()> {
        let socket = self.socket.as_raw_fd();
        // By its address the kernel asks for the rights of the sender only; else the opener must have them too, and one in a
        // user namespace cannot give a link back.
        sendto(socket, request, &NetlinkAddr::new(0, 0), MsgFlags::MSG_NOSIGNAL)?;
        let mut buffer = [0u8; ANSWER];
        for _ in 0..MESSAGES {
            let (length, sender) = recvfrom::<NetlinkAddr>(socket, &mut buffer)?;
            // A process of the namespace may write to any socket in it.
            if sender.is_none_or(|sender| sender.pid() != 0) {
                continue;
            }
            let mut rest = buffer.get(..length).ok_or(Errno::EMSGSIZE)?;
            while !rest.is_empty() {
                let message = Message::first(rest).ok_or(Errno::EBADMSG)?;
                rest = rest.get(message.whole..).unwrap_or(&[]);
                match i32::from(message.kind) {
                    _ if message.sequence != self.sequence => {}
                    libc::NLMSG_ERROR => return errno(message.body),
                    libc::NLMSG_DONE => return Ok(()),
                    _ => each(message.kind, message.body),
                }
            }
        }
        Err(Errno::ETIMEDOUT)
    }
}

/// One message of an answer.
struct Message<'b> {
    kind: u16,
    sequence: u32,
    body: &'b [u8],
    /// Its length with header and padding.
    whole: usize,
}

impl<'b> Message<'b> {
    /// Its header: length (4), type (2), flags (2), sequence (4), port (4).
    fn first(bytes: &'b [u8]) -> Option<Message<'b>> {
        let word = |at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let length = usize::try_from(word(0)?).ok()?;
        let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
        let body = bytes.get(16..length)?;
        Some(Message { kind, sequence: word(8)?, body, whole: length.next_multiple_of(4) })
    }
}

/// What NLMSG_ERROR says: 0 is the acknowledgement.
fn errno(body: &[u8]) -> nix::Result<()> {
    let number = body.first_chunk::<4>().map(|number| i32::from_ne_bytes(*number));
    match number {
        Some(0) => Ok(()),
        Some(number) => Err(Errno::from_raw(number.saturating_neg())),
        None => Err(Errno::EBADMSG),
    }
}
