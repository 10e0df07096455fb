//! The local syslog daemon, by a datagram socket that never blocks and reconnects by itself.
//!
//! The names and numbers of facilities are the `syslog` crate's. Its writers are not used: they allocate for every
//! message, block when the daemon does not read, and never come back after the daemon's restart.

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, connect, send, socket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Mutex;
use syslog::Facility;

/// Where daemons listen, in the order in which they are tried.
const SOCKETS: [&str; 3] = ["/dev/log", "/var/run/syslog", "/var/run/log"];

/// The facilities that `lxc.log.syslog` may name. The crate's own parser would bring Unicode's tables of cases along.
const FACILITIES: [(&[u8], Facility); 10] = [
    (b"daemon", Facility::LOG_DAEMON),
    (b"user", Facility::LOG_USER),
    (b"local0", Facility::LOG_LOCAL0),
    (b"local1", Facility::LOG_LOCAL1),
    (b"local2", Facility::LOG_LOCAL2),
    (b"local3", Facility::LOG_LOCAL3),
    (b"local4", Facility::LOG_LOCAL4),
    (b"local5", Facility::LOG_LOCAL5),
    (b"local6", Facility::LOG_LOCAL6),
    (b"local7", Facility::LOG_LOCAL7),
];

/// The number of a facility name (`daemon`, `local0`); None for an unknown one.
pub fn facility(name: &[u8]) -> Option<u8> {
    FACILITIES.iter().find(|(known, _)| *known == name).map(|(_, facility)| *facility as u8)
}

/// A daemon that may come and go.
pub struct Daemon {
    facility: u8,
    socket: Mutex<Option<OwnedFd>>,
}

impl Daemon {
    /// Nothing is connected before the first message.
    pub fn new(facility: u8) -> Self {
        Daemon { facility, socket: Mutex::new(None) }
    }

    /// The number in front of a message.
    pub fn priority(&self, severity: u8) -> u8 {
        self.facility | severity
    }

    /// Sends one message; false if there is no daemon or it does not read.
    pub fn send(&self, message: &[u8]) -> bool {
        let Ok(mut kept) = self.socket.lock() else { return false };
        // Twice: the kept socket may belong to a daemon that was restarted since.
        for _ in 0..2 {
            if kept.is_none() {
                *kept = dial();
            }
            let Some(connected) = kept.as_ref() else { return false };
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            match send(connected.as_raw_fd(), message, flags) {
                Ok(_) => return true,
                Err(nix::errno::Errno::EAGAIN) => return false,
                Err(_) => *kept = None,
            }
        }
        false
    }
}

fn dial() -> Option<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Unix, SockType::Datagram, flags, None).ok()?;
    let reached = |path: &&str| UnixAddr::new(*path).is_ok_and(|address| connect(fd.as_raw_fd(), &address).is_ok());
    SOCKETS.iter().any(reached).then_some(fd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facility_known_names_have_syslog_numbers() {
        assert_eq!(facility(b"daemon"), Some(3 << 3));
        assert_eq!(facility(b"local7"), Some(23 << 3));
        assert_eq!(facility(b"nonsense"), None);
    }
}
