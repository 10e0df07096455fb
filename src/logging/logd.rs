//! Android's log daemon, on a host that is Android: a datagram a message to /dev/socket/logdw.

use crate::text::Line;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, sendto, socket};
use nix::time::{ClockId, clock_gettime};
use std::os::fd::{AsRawFd, OwnedFd};

const SOCKET: &str = "/dev/socket/logdw";
/// The log that `logcat` shows without being asked for another: main.
const MAIN: u8 = 0;

/// logd, which may come and go.
pub struct Logd(OwnedFd);

impl Logd {
    /// None where there are no sockets of this kind.
    pub fn new() -> Option<Logd> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        socket(AddressFamily::Unix, SockType::Datagram, flags, None).ok().map(Logd)
    }

    /// Sends one message; false if there is no daemon or it does not read.
    #[allow(clippy::unnecessary_cast)] // Both are 32 bits wide on 32-bit targets.
    pub fn send(&self, level: log::Level, text: &[u8]) -> bool {
        let now =
            clock_gettime(ClockId::CLOCK_REALTIME).map_or((0, 0), |now| (now.tv_sec() as u32, now.tv_nsec() as u32));
        let message = encode(nix::unistd::getpid().as_raw() as u16, now, level, text);
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        UnixAddr::new(SOCKET).is_ok_and(|address| sendto(self.0.as_raw_fd(), message.bytes(), &address, flags).is_ok())
    }
}

/// The log, the thread, the time in seconds and nanoseconds, little-endian and without gaps; then priority, tag and text,
/// both with a NUL.
fn encode(thread: u16, (seconds, nanoseconds): (u32, u32), level: log::Level, text: &[u8]) -> Line<1024> {
    let priority: u8 = match level {
        log::Level::Error => 6,
        log::Level::Warn => 5,
        log::Level::Info => 4,
        log::Level::Debug => 3,
        log::Level::Trace => 2,
    };
    let mut message = Line::new();
    message.push(&[MAIN]);
    message.push(&thread.to_le_bytes());
    message.push(&seconds.to_le_bytes());
    message.push(&nanoseconds.to_le_bytes());
    message.push(&[priority]);
    message.push(b"monopod\0");
    message.push(text);
    message.push(b"\0");
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encode_header_is_eleven_bytes_and_texts_end_with_a_nul() {
        let message = encode(0x0102, (0x0304_0506, 7), log::Level::Warn, b"here");
        let bytes = message.bytes();
        assert_eq!(&bytes[..11], [0, 2, 1, 6, 5, 4, 3, 7, 0, 0, 0]);
        assert_eq!(&bytes[11..], b"\x05monopod\0here\0");
    }
}
