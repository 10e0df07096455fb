//! What the end of init means. Pure.
//!
//! Only "killed by SIGINT" and "killed by SIGHUP" mean halt and reboot: a pid namespace's init dies of them only through
//! reboot(2) (reboot(2), pid_namespaces(7)). Exit codes 130 and 129 are ordinary exits.

use crate::sys::process::Exit;
use core::fmt;

/// How a life ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// reboot(2) with HALT or POWER_OFF.
    Halt,
    /// reboot(2) with RESTART or RESTART2.
    Reboot,
    /// init exited.
    Exit(i32),
    /// init was killed.
    Signal(i32),
    /// It was killed and did not die, and was left behind.
    Stuck,
    /// It was killed by us, because the guest was not ready in time (`monopod.ready.failed`).
    NotReady {
        /// The restart policy decides what follows; else nothing does.
        again: bool,
    },
}

impl Outcome {
    /// Reads a wait status. `is_first`: of the first process of a pid namespace; any other can be killed by these two signals.
    pub fn of(exit: Exit, is_first: bool) -> Outcome {
        match exit {
            Exit::Signal(libc::SIGINT) if is_first => Outcome::Halt,
            Exit::Signal(libc::SIGHUP) if is_first => Outcome::Reboot,
            Exit::Signal(signal) => Outcome::Signal(signal),
            Exit::Code(code) => Outcome::Exit(code),
        }
    }

    /// Our exit code for it: 0 halted; init's own code; 128+n killed by signal n. Codes above 126 are passed on as they are,
    /// like a shell does; only 254 and 255, which are our own words, become 253.
    pub fn code(self) -> i32 {
        match self {
            Outcome::Halt => 0,
            Outcome::Reboot => 128 + libc::SIGHUP,
            Outcome::Exit(code) => code.clamp(0, 253),
            Outcome::Signal(signal) => 128 + signal,
            Outcome::Stuck => crate::FAILED,
            Outcome::NotReady { .. } => crate::FAILED,
        }
    }

    /// The status of wait(2) for it, as LXC's monitor is told.
    pub fn wait_status(self) -> i32 {
        match self {
            Outcome::Halt => libc::SIGINT,
            Outcome::Reboot => libc::SIGHUP,
            Outcome::Exit(code) => (code & 0xff) << 8,
            Outcome::Signal(signal) => signal,
            Outcome::Stuck => libc::SIGKILL,
            Outcome::NotReady { .. } => libc::SIGKILL,
        }
    }

    /// Whether this is what nobody wishes for.
    pub fn is_failure(self) -> bool {
        match self {
            Outcome::Halt | Outcome::Reboot | Outcome::Exit(0) => false,
            Outcome::Exit(_) | Outcome::Signal(_) | Outcome::Stuck | Outcome::NotReady { .. } => true,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Halt => f.write_str("halted"),
            Outcome::Reboot => f.write_str("rebooted"),
            Outcome::Exit(code) => write!(f, "exited with code {code}"),
            Outcome::Signal(libc::SIGSYS) => {
                f.write_str("was killed by signal 31: its seccomp policy forbids what it did")
            }
            Outcome::Signal(signal) => write!(f, "was killed by signal {signal}"),
            Outcome::Stuck => f.write_str("was killed and does not die"),
            Outcome::NotReady { .. } => f.write_str("was not ready in time and was killed"),
        }
    }
}

/// An outcome and what the guest said with it, for people: `rebooted (recovery)`.
#[derive(Clone, Copy)]
pub struct Told<'a>(pub Outcome, pub &'a [u8]);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Told(outcome, argument) = self;
        outcome.fmt(f)?;
        match argument {
            [] => Ok(()),
            argument => write!(f, " ({})", crate::text::Shown(argument)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcome_every_code_and_signal_is_reported_exactly() {
        for code in 0..=253 {
            assert_eq!(Outcome::of(Exit::Code(code), true).code(), code);
        }
        assert_eq!(Outcome::Exit(254).code(), 253);
        assert_eq!(Outcome::Exit(255).code(), 253);
        for signal in (1..=64).filter(|s| ![libc::SIGINT, libc::SIGHUP].contains(s)) {
            assert_eq!(Outcome::of(Exit::Signal(signal), true).code(), 128 + signal);
        }
        assert_eq!(Outcome::of(Exit::Signal(libc::SIGINT), true), Outcome::Halt);
        assert_eq!(Outcome::of(Exit::Signal(libc::SIGHUP), true), Outcome::Reboot);
        assert_eq!(Outcome::of(Exit::Signal(libc::SIGHUP), false), Outcome::Signal(libc::SIGHUP));
        assert_eq!(Outcome::of(Exit::Code(130), true), Outcome::Exit(130));
    }
}
