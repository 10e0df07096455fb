//! Telling a service manager (systemd, or our own process 1) how things are: sd_notify(3), and its watchdog.
//!
//! With WATCHDOG_USEC set the supervisor wakes up every half of it and says that it is alive, as long as the container is
//! what `monopod.alive` calls alive. Without it nothing ever wakes up for this.

use super::host::now_ms;
use crate::aside;
use crate::config::{Alive, Config};
use crate::rootfs::beneath::Root;
use crate::text::{Line, number};
use core::fmt::Write;
use nix::fcntl::OFlag;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, sendto, socket};
use nix::sys::stat::fstat;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::OnceLock;

/// Words of our environment that are for us alone: neither hooks nor the guest get them.
pub const OURS: [&[u8]; 3] = [b"NOTIFY_SOCKET", b"WATCHDOG_USEC", b"WATCHDOG_PID"];

/// Who is told.
struct Manager {
    socket: OwnedFd,
    address: UnixAddr,
    is_process_1: bool,
}

/// Where our own process 1 hears notices, in the abstract namespace: it needs no filesystem, and ends with it.
pub const PROCESS_1: &[u8] = b"monopod/init/notify";

static MANAGER: OnceLock<Manager> = OnceLock::new();

/// Finds the manager in the environment. Without one, or with an address that is none, nobody is told anything.
pub fn open() {
    let Some(address) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let mut is_process_1 = false;
    let address = match address.as_bytes().split_first() {
        Some((b'@', name)) => {
            is_process_1 = name == PROCESS_1;
            UnixAddr::new_abstract(name)
        }
        _ => UnixAddr::new(address.as_os_str()),
    };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    if let Ok(address) = address
        && let Ok(socket) = socket(AddressFamily::Unix, SockType::Datagram, flags, None)
    {
        let _ = MANAGER.set(Manager { socket, address, is_process_1 });
    }
}

/// Tells the manager something, lines of `KEY=VALUE`. It may be gone or be a new one: each message finds its own way.
pub fn tell(message: core::fmt::Arguments<'_>) {
    let Some(manager) = MANAGER.get() else { return };
    let mut line = Line::<700>::new();
    let _ = line.write_fmt(message);
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    let _ = sendto(manager.socket.as_raw_fd(), line.bytes(), &manager.address, flags);
}

/// Whether the manager is our own process 1.
pub fn is_process_1() -> bool {
    MANAGER.get().is_some_and(|manager| manager.is_process_1)
}

/// The manager's watchdog.
pub struct Watchdog {
    period_ms: u64,
    next_ms: u64,
    /// The last change of the file of `monopod.alive`: its time there, and ours.
    seen: Option<(u64, u64)>,
    changed_ms: u64,
}

impl Watchdog {
    /// From the environment, if it is meant for this process (sd_watchdog_enabled(3)).
    pub fn from_environment() -> Option<Watchdog> {
        let value = |name: &str| std::env::var_os(name).and_then(|value| number(value.as_bytes()));
        let period_ms = value("WATCHDOG_USEC")? / 2_000;
        if value("WATCHDOG_PID").is_some_and(|pid| pid != nix::unistd::getpid().as_raw() as u64) {
            return None;
        }
        (period_ms > 0).then(|| Watchdog { period_ms, next_ms: 0, seen: None, changed_ms: now_ms() })
    }

    /// A sign of life if it is time for one. When the next is due.
    pub fn tick(&mut self, now: u64, config: &Config<'_>, init: Option<i32>) -> u64 {
        if now >= self.next_ms {
            self.next_ms = now + self.period_ms;
            if self.is_alive(now, config, init) {
                tell(format_args!("WATCHDOG=1"));
            }
        }
        self.next_ms
    }

    /// Whether the container is alive. Between two lives, and until init runs, other deadlines hold.
    fn is_alive(&mut self, now: u64, config: &Config<'_>, init: Option<i32>) -> bool {
        let (Alive::File(path), Some(pid)) = (config.alive, init) else {
            self.changed_ms = now;
            return true;
        };
        let stamp = changed(pid, path.to_bytes());
        if stamp.is_some() && stamp != self.seen {
            (self.seen, self.changed_ms) = (stamp, now);
        }
        let within = if config.alive_within_ms > 0 { config.alive_within_ms } else { self.period_ms * 2 };
        now.saturating_sub(self.changed_ms) <= within
    }
}

/// When the file at `path` in the guest was changed last. The guest decides what lies there: nothing is followed or opened.
fn changed(pid: i32, path: &[u8]) -> Option<(u64, u64)> {
    let look = || {
        let file = Root::of(pid)?.look_up(path, OFlag::O_PATH | OFlag::O_NOFOLLOW)?;
        let stat = fstat(&file)?;
        Ok(([stat.st_mtime as u64, stat.st_mtime_nsec as u64, 0], None))
    };
    aside::ask(&look).ok().map(|([seconds, nanoseconds, _], _)| (seconds, nanoseconds))
}
