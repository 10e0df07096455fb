//! The one place where the machine's init waits: signals, ended processes, what supervisors say, deadlines. Who waits here
//! also reaps strangers and keeps the watchdog content.

use super::console::say;
use super::policy::{Fall, Notice};
use super::watchdog::Watchdog;
use crate::prepare::host::now_ms;
use crate::sys::process::{self, Exit};
use crate::sys::{signals, socket};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, bind, setsockopt, sockopt};
use std::os::fd::{AsFd, OwnedFd};

pub use crate::prepare::notify::PROCESS_1 as NOTICES;

/// Something happened.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    /// A process ended and was reaped; maybe a stranger.
    Ended(i32, Exit),
    /// Process so-and-so says something.
    Notice(i32, Notice),
    /// A signal, by number.
    Signal(i32),
    /// The deadline passed.
    Deadline,
}

/// What process 1 holds.
pub struct Machine {
    signals: Option<SignalFd>,
    notices: Option<OwnedFd>,
    /// Children may have ended.
    reap: bool,
    /// The hardware watchdog, while it is armed.
    pub watchdog: Option<Watchdog>,
    /// This is process 1 of a pid namespace only: the filesystems are somebody else's.
    pub contained: bool,
    /// Until then all is known to be well, in milliseconds.
    pub well_until_ms: u64,
}

impl Machine {
    /// Hears of everything from now on. What is not to be had is said, and gone without.
    pub fn open(contained: bool) -> Machine {
        let mut mask = signals::all();
        for fault in [Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGILL, Signal::SIGFPE, Signal::SIGABRT, Signal::SIGTRAP]
        {
            mask.remove(fault);
        }
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let signals = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&mask), None)
            .and_then(|()| SignalFd::with_flags(&mask, flags))
            .inspect_err(|errno| say(format_args!("signals: {}", errno.desc())))
            .ok();
        let notices = listen().inspect_err(|errno| say(format_args!("notices: {}", errno.desc()))).ok();
        Machine { signals, notices, reap: true, watchdog: None, contained, well_until_ms: 0 }
    }

    /// Waits for the next event, at most until `deadline_ms`.
    pub fn next(&mut self, deadline_ms: Option<u64>) -> Event {
        loop {
            // What a supervisor said before it ended is heard before its end.
            if let Some(event) = self.hear() {
                return event;
            }
            if self.reap {
                match process::reap_any() {
                    Ok(Some((pid, exit))) => return Event::Ended(pid, exit),
                    _ => self.reap = false,
                }
            }
            let now = now_ms();
            if deadline_ms.is_some_and(|deadline| deadline <= now) {
                return Event::Deadline;
            }
            let pet_at = self.watchdog.as_mut().and_then(|watchdog| watchdog.pet(now, self.well_until_ms));
            // Without a signalfd nothing says when a child ends.
            let look_at = self.signals.is_none().then(|| now + 1_000);
            self.wait([deadline_ms, pet_at, look_at].into_iter().flatten().min().map(|at| at.saturating_sub(now)));
            if let Some(signal) = self.read_signal() {
                return Event::Signal(signal);
            }
        }
    }

    fn hear(&mut self) -> Option<Event> {
        let notices = self.notices.as_ref()?;
        let mut datagram = [0u8; 1024];
        let (length, sender) = socket::receive_from(notices.as_fd(), &mut datagram).ok()?;
        Some(Event::Notice(sender, Notice::parse(datagram.get(..length).unwrap_or(&[]))))
    }

    fn wait(&mut self, ms: Option<u64>) {
        let timeout = match ms {
            None => PollTimeout::NONE,
            // Rounded up, so that a deadline has passed when the wait ends.
            Some(ms) => PollTimeout::try_from(ms.min(i32::MAX as u64 - 1) as i32 + 1).unwrap_or(PollTimeout::MAX),
        };
        let mut sources: heapless::Vec<PollFd<'_>, 2> = heapless::Vec::new();
        for fd in [self.signals.as_ref().map(AsFd::as_fd), self.notices.as_ref().map(AsFd::as_fd)].into_iter().flatten()
        {
            let _ = sources.push(PollFd::new(fd, PollFlags::POLLIN));
        }
        if !matches!(poll(&mut sources, timeout), Ok(_) | Err(Errno::EINTR)) {
            // A shortage of memory passes; to spin meanwhile helps nobody.
            let time = nix::sys::time::TimeSpec::new(0, 10_000_000);
            let flags = nix::time::ClockNanosleepFlags::empty();
            let _ = nix::time::clock_nanosleep(nix::time::ClockId::CLOCK_MONOTONIC, flags, &time);
        }
        self.reap |= self.signals.is_none();
    }

    /// The next signal that is not SIGCHLD.
    fn read_signal(&mut self) -> Option<i32> {
        loop {
            let signal = self.signals.as_ref()?.read_signal().ok()??.ssi_signo as i32;
            if signal != libc::SIGCHLD {
                return Some(signal);
            }
            self.reap = true;
        }
    }
}

fn listen() -> nix::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = nix::sys::socket::socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
    setsockopt(&socket, sockopt::PassCred, &true)?;
    use std::os::fd::AsRawFd;
    bind(socket.as_raw_fd(), &UnixAddr::new_abstract(NOTICES)?)?;
    Ok(socket)
}

/// What a signal asks of the machine, by the conventions of busybox's init and of systemd; None: nothing.
pub fn asked<'t>(signal: i32, ctrlaltdel: Option<Fall<'t>>) -> Option<Fall<'t>> {
    // SIGRTMIN+3, +4 and +5 as the kernel counts.
    const HALT: i32 = 37;
    const POWER_OFF: i32 = 38;
    const REBOOT: i32 = 39;
    match signal {
        libc::SIGINT => ctrlaltdel,
        libc::SIGTERM | REBOOT => Some(Fall::Reboot(None)),
        libc::SIGUSR1 | HALT => Some(Fall::Halt),
        libc::SIGUSR2 | libc::SIGPWR | POWER_OFF => Some(Fall::PowerOff),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asked_signals_mean_what_other_inits_take_them_for() {
        assert_eq!(asked(libc::SIGTERM, None), Some(Fall::Reboot(None)));
        assert_eq!(asked(libc::SIGUSR1, None), Some(Fall::Halt));
        assert_eq!(asked(libc::SIGUSR2, None), Some(Fall::PowerOff));
        assert_eq!(asked(libc::SIGPWR, None), Some(Fall::PowerOff));
        assert_eq!(asked(38, None), Some(Fall::PowerOff));
        assert_eq!(asked(libc::SIGINT, None), None);
        assert_eq!(asked(libc::SIGINT, Some(Fall::Halt)), Some(Fall::Halt));
        assert_eq!(asked(libc::SIGHUP, Some(Fall::Halt)), None);
    }
}
