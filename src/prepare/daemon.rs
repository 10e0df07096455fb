//! Going to the background, with the true result of the start handed back to the caller.
//!
//! The caller's process waits until the container runs or has failed, prints the one error line if there is one, and ends
//! with the start's own exit code. Nothing is polled and nothing times out here: a start has its own deadlines.

use crate::error::{Error, Result};
use crate::sys::clone::{Fork, fork};
use crate::sys::fds;
use crate::sys::fds::open;
use crate::text::Line;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::sys::stat::Mode;
use std::os::fd::{AsFd, OwnedFd};

/// Longest answer: a code and an error line.
const ANSWER: usize = 700;

/// The way back to a caller who waits for the start; none in the foreground.
pub struct Caller {
    answer: Option<OwnedFd>,
    /// `--ready-fd`: a service manager that waits for one line.
    ready: Option<OwnedFd>,
    /// The container runs, and is waited for until it is ready.
    pub waits_for_ready: bool,
}

/// Which process this is after `daemonize`.
pub enum Side {
    /// The caller's process: it ends with this code.
    Caller(i32),
    /// The supervisor, in the background.
    Supervisor(Caller),
}

impl Caller {
    /// A start in the foreground: nobody waits.
    pub fn none(ready: Option<OwnedFd>) -> Self {
        Caller { answer: None, ready, waits_for_ready: false }
    }

    /// Whether somebody waits: then we are in the background, without a terminal.
    pub fn waits(&self) -> bool {
        self.answer.is_some()
    }

    /// Whether somebody waits who was told nothing of a container that ran.
    pub fn awaits_ready(&self) -> bool {
        self.waits_for_ready && self.waits()
    }

    /// Tells the caller that the container runs, or is ready where that was asked for, and lets it go.
    pub fn running(&mut self) {
        self.write_ready();
        self.tell(0, None);
    }

    /// The same, and what is not as it should be.
    pub fn running_but(&mut self, error: &Error) {
        self.write_ready();
        self.tell(0, Some(error));
    }

    fn write_ready(&mut self) {
        if let Some(ready) = self.ready.take() {
            let _ = nix::unistd::write(&ready, b"\n");
        }
    }

    /// Tells the caller that the start failed. False if nobody waits, so that the error has still to be shown.
    pub fn failed(&mut self, code: i32, error: Option<&Error>) -> bool {
        self.tell(code, error)
    }

    #[inline(never)]
    fn tell(&mut self, code: i32, error: Option<&Error>) -> bool {
        let Some(answer) = self.answer.take() else { return false };
        let mut message = Line::<ANSWER>::new();
        message.push(&[code as u8]);
        if let Some(error) = error {
            let _ = core::fmt::Write::write_fmt(&mut message, format_args!("{error}"));
        }
        crate::logging::close_stderr();
        let _ = null_standard();
        nix::unistd::write(&answer, message.bytes()).is_ok()
    }
}

/// Forks into the background (setsid, / as directory). Standard streams stay until the caller has its answer, so that a
/// hook's complaint is still seen; then they become /dev/null.
pub fn daemonize(ready: Option<OwnedFd>) -> Result<Side> {
    let failed = |what: &'static str| move |errno: Errno| Error::os("daemonize", errno, format_args!("{what}"));
    let flags = SockFlag::SOCK_CLOEXEC;
    let (ours, theirs) =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).map_err(failed("socketpair"))?;
    match fork().map_err(failed("fork"))? {
        Fork::Parent(_) => {
            drop(theirs);
            Ok(Side::Caller(wait_for_answer(&ours)))
        }
        Fork::Child => {
            drop(ours);
            nix::unistd::setsid().map_err(failed("setsid"))?;
            nix::unistd::chdir(c"/").map_err(failed("chdir /"))?;
            Ok(Side::Supervisor(Caller { answer: Some(theirs), ready, waits_for_ready: false }))
        }
    }
}

fn wait_for_answer(answer: &OwnedFd) -> i32 {
    let mut message = [0u8; ANSWER];
    let length = loop {
        match nix::unistd::read(answer, &mut message) {
            Err(Errno::EINTR) => {}
            other => break other.unwrap_or(0),
        }
    };
    match message.get(..length).and_then(<[u8]>::split_first) {
        Some((code, line)) => {
            if let Ok(line) = core::str::from_utf8(line)
                && !line.is_empty()
            {
                crate::logging::complain(format_args!("{line}"));
            }
            i32::from(*code)
        }
        // The supervisor is gone without a word: killed.
        None => {
            crate::logging::complain(format_args!("daemonize: the supervisor ended before the container ran"));
            crate::FAILED
        }
    }
}

/// Standard streams to /dev/null.
fn null_standard() -> core::result::Result<(), Errno> {
    let null = open(c"/dev/null", OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC, Mode::empty())?;
    (0..3).try_for_each(|number| fds::dup_onto(null.as_fd(), number))
}
