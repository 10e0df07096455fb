//! Setting a property of a running Android from outside: a message to init's socket, as its own `setprop` sends it.
//!
//! The socket is the guest's: what stands in its place may be a link, may never read, may say anything. So no link is
//! followed (one to an absolute path would lead to the host's own init), nothing here blocks, and of the answer one number is
//! looked at. Where the guest has a policy of SELinux, init judges who connects by that one's label.

use crate::rootfs::beneath::{FdPath, Root};
use crate::sys::socket::{Beside, send};
use core::fmt;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use nix::sys::stat::{SFlag, fstat};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// Where init listens.
const PLACE: &[u8] = b"dev/socket/property_service";
/// Android 8, the first that answers.
const ANSWERS_SINCE: u32 = 26;
/// Bytes of a name and of a value in the old message, with their NULs.
const NAME: usize = 32;
const VALUE: usize = 92;

/// A message that waits for init's answer.
pub struct Question {
    socket: OwnedFd,
}

/// What init answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was taken: said so, or by the end of the connection, which is all that the old protocol has.
    Taken,
    /// A number of the protocol, not 0.
    Refused(u32),
    /// The connection ended before the message was read.
    Unread,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::Taken => f.write_str("taken"),
            // PROP_ERROR_PERMISSION_DENIED
            Answer::Refused(0x18) => f.write_str("permission denied, by the guest's SELinux policy for our label"),
            Answer::Unread => f.write_str("not read"),
            Answer::Refused(code) => write!(f, "refused with {code:#x}"),
        }
    }
}

/// A message; the new form has a number before each text.
pub type Message = heapless::Vec<u8, { 3 * 4 + NAME + VALUE }>;

/// The message for an image of this SDK; every Android takes the old one, which is for those whose SDK is not known, too.
/// None: name or value are too long.
pub fn encode(name: &[u8], value: &[u8], sdk: Option<u32>) -> Option<Message> {
    let mut message = Message::new();
    let mut put = |bytes: &[u8]| message.extend_from_slice(bytes).ok();
    if name.len() >= NAME || value.len() >= VALUE {
        return None;
    }
    if sdk.is_some_and(|sdk| sdk >= ANSWERS_SINCE) {
        put(&0x0002_0001u32.to_ne_bytes())?;
        for text in [name, value] {
            put(&(text.len() as u32).to_ne_bytes())?;
            put(text)?;
        }
    } else {
        put(&1u32.to_ne_bytes())?;
        for (text, size) in [(name, NAME), (value, VALUE)] {
            put(text)?;
            (text.len()..size).try_for_each(|_| put(&[0]))?;
        }
    }
    Some(message)
}

/// Asks the init of the guest with this root to set a property.
///
/// # Errors
/// ENOENT: it does not listen; ELOOP, ENOTSOCK: what stands there is no socket; ECONNREFUSED; EAGAIN: it has not accepted
/// others either.
pub fn ask(root: &Root, name: &[u8], value: &[u8], sdk: Option<u32>) -> nix::Result<Question> {
    let message = encode(name, value, sdk).ok_or(Errno::EMSGSIZE)?;
    let place = root.look_up(PLACE, OFlag::O_PATH)?;
    if SFlag::from_bits_truncate(fstat(&place)?.st_mode & libc::S_IFMT) != SFlag::S_IFSOCK {
        return Err(Errno::ENOTSOCK);
    }
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    connect(socket.as_raw_fd(), &UnixAddr::new(FdPath::of(&place).c())?)?;
    // It is far smaller than any socket's buffer, so it is taken whole.
    match send(socket.as_fd(), &[&message], Beside::Nothing, libc::MSG_NOSIGNAL)? {
        sent if sent == message.len() => Ok(Question { socket }),
        _ => Err(Errno::EAGAIN),
    }
}

impl From<Question> for OwnedFd {
    fn from(question: Question) -> OwnedFd {
        question.socket
    }
}

impl From<OwnedFd> for Question {
    fn from(socket: OwnedFd) -> Question {
        Question { socket }
    }
}

impl Question {
    /// The answer, if it has come.
    pub fn answer(&self) -> Option<Answer> {
        let mut code = [0u8; 4];
        match nix::unistd::read(&self.socket, &mut code) {
            Err(Errno::EAGAIN | Errno::EINTR) => None,
            Ok(4) if code != [0; 4] => Some(Answer::Refused(u32::from_ne_bytes(code))),
            Ok(_) => Some(Answer::Taken),
            Err(_) => Some(Answer::Unread),
        }
    }
}

impl AsFd for Question {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encode_new_form_has_lengths_and_no_padding() {
        let message = encode(b"sys.powerctl", b"shutdown", Some(26)).unwrap();
        let mut expected = Vec::new();
        expected.extend(0x0002_0001u32.to_ne_bytes());
        expected.extend(12u32.to_ne_bytes());
        expected.extend(b"sys.powerctl");
        expected.extend(8u32.to_ne_bytes());
        expected.extend(b"shutdown");
        assert_eq!(message[..], expected[..]);
    }

    #[test]
    fn encode_old_form_is_128_bytes_for_old_and_unknown_versions() {
        for sdk in [None, Some(22), Some(25)] {
            let message = encode(b"sys.powerctl", b"reboot", sdk).unwrap();
            assert_eq!(message.len(), 128);
            assert_eq!(message[..4], 1u32.to_ne_bytes());
            assert_eq!((&message[4..17], &message[36..43]), (&b"sys.powerctl\0"[..], &b"reboot\0"[..]));
        }
    }

    #[test]
    fn encode_what_does_not_fit_is_refused() {
        for sdk in [Some(22), Some(30)] {
            assert_eq!(encode(&[b'x'; 32], b"y", sdk), None);
            assert_eq!(encode(b"x", &[b'y'; 92], sdk), None);
            assert!(encode(&[b'x'; 31], &[b'y'; 91], sdk).is_some());
        }
    }

    #[test]
    fn ask_follows_no_link_and_answers_are_read() {
        use std::io::{Read, Write};
        let dir = std::env::temp_dir().join(format!("monopod-property-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("dev/socket")).unwrap();
        let root = Root::open(&std::ffi::CString::new(dir.to_str().unwrap()).unwrap()).unwrap();
        let place = dir.join("dev/socket/property_service");
        assert_eq!(ask(&root, b"a", b"b", None).err(), Some(Errno::ENOENT));
        let listener = std::os::unix::net::UnixListener::bind(dir.join("real")).unwrap();
        std::os::unix::fs::symlink(dir.join("real"), &place).unwrap();
        assert_eq!(ask(&root, b"a", b"b", None).err(), Some(Errno::ELOOP));
        std::fs::remove_file(&place).unwrap();
        std::fs::rename(dir.join("real"), &place).unwrap();
        for (answer, expected) in [
            (&0u32.to_ne_bytes()[..], Answer::Taken),
            (&0x18u32.to_ne_bytes(), Answer::Refused(0x18)),
            (b"", Answer::Taken),
        ] {
            let question = ask(&root, b"a", b"b", Some(30)).unwrap();
            assert_eq!(question.answer(), None);
            let mut guest = listener.accept().unwrap().0;
            let mut message = [0; 14];
            guest.read_exact(&mut message).unwrap();
            guest.write_all(answer).unwrap();
            drop(guest);
            assert_eq!(question.answer(), Some(expected));
        }
        drop(listener);
        std::fs::remove_file(&place).unwrap();
        std::fs::write(&place, b"").unwrap();
        assert_eq!(ask(&root, b"a", b"b", None).err(), Some(Errno::ENOTSOCK));
        std::fs::remove_dir_all(dir).unwrap();
    }
}
