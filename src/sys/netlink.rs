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
            let answer = buffer.get(..length).ok_or(Errno::EMSGSIZE)?;
            if take(answer, self.sequence, each)? {
                return Ok(());
            }
        }
        Err(Errno::ETIMEDOUT)
    }
}

/// Gives the messages in `bytes` that answer request number `sequence` to `each`; true: the last one was among them.
///
/// # Errors
/// The errno of NLMSG_ERROR; EBADMSG for what is no message.
pub fn take(bytes: &[u8], sequence: u32, each: &mut dyn FnMut(u16, &[u8])) -> nix::Result<bool> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let message = Message::first(rest).ok_or(Errno::EBADMSG)?;
        rest = rest.get(message.whole..).unwrap_or(&[]);
        match i32::from(message.kind) {
            _ if message.sequence != sequence => {}
            libc::NLMSG_ERROR => return errno(message.body).map(|()| true),
            libc::NLMSG_DONE => return Ok(true),
            _ => each(message.kind, message.body),
        }
    }
    Ok(false)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: i32, sequence: u32, body: &[u8]) -> Vec<u8> {
        let mut bytes = (16 + body.len() as u32).to_ne_bytes().to_vec();
        bytes.extend((kind as u16).to_ne_bytes());
        bytes.extend([0; 2]);
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(body);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn take_answers_of_other_requests_are_passed_over_and_the_last_one_ends() {
        let mut bytes = message(16, 7, b"old");
        bytes.extend(message(16, 8, b"ours"));
        let mut seen = Vec::new();
        let mut each = |kind: u16, body: &[u8]| seen.push((kind, body.to_vec()));
        assert_eq!(take(&bytes, 8, &mut each), Ok(false));
        bytes.extend(message(libc::NLMSG_ERROR, 8, &0_i32.to_ne_bytes()));
        bytes.extend(message(16, 8, b"never looked at"));
        assert_eq!(take(&bytes, 8, &mut each), Ok(true));
        assert_eq!(seen, [(16, b"ours".to_vec()), (16, b"ours".to_vec())]);
        let refused = message(libc::NLMSG_ERROR, 8, &(-libc::EPERM).to_ne_bytes());
        assert_eq!(take(&refused, 8, &mut |_, _| {}), Err(Errno::EPERM));
        assert_eq!(take(&message(libc::NLMSG_DONE, 8, b""), 8, &mut |_, _| {}), Ok(true));
    }

    #[test]
    fn take_messages_cut_short_or_of_no_length_are_refused() {
        let whole = message(16, 8, b"body");
        for end in 1..whole.len() {
            assert_eq!(take(&whole[..end], 8, &mut |_, _| {}), Err(Errno::EBADMSG), "{end}");
        }
        for length in [0_u32, 15, u32::MAX] {
            let mut bytes = whole.clone();
            bytes[..4].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(take(&bytes, 8, &mut |_, _| {}), Err(Errno::EBADMSG), "{length}");
        }
        assert_eq!(take(&message(libc::NLMSG_ERROR, 8, b"ab"), 8, &mut |_, _| {}), Err(Errno::EBADMSG));
    }
}
