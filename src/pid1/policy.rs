//! What the end of a container means for the machine. Pure.

use super::settings::Which;
use crate::limits;
use crate::sys::process::Exit;
use core::ffi::CStr;
use core::fmt;

/// How the machine goes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fall<'t> {
    /// Power off.
    PowerOff,
    /// Halt, power stays on.
    Halt,
    /// Reboot, with the argument that firmware and boot loader understand.
    Reboot(Option<&'t CStr>),
}

impl fmt::Display for Fall<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fall::PowerOff => f.write_str("poweroff"),
            Fall::Halt => f.write_str("halt"),
            Fall::Reboot(None) => f.write_str("reboot"),
            Fall::Reboot(Some(argument)) => write!(f, "reboot:{}", crate::text::shown(argument)),
        }
    }
}

/// What follows an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<'t> {
    /// It stays down.
    Nothing,
    /// It is started again, with a pause if it ends too often.
    Restart,
    /// It stays down until somebody has been at the emergency shell.
    Shell,
    /// The machine goes down.
    GoDown(Fall<'t>),
}

impl fmt::Display for Action<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Nothing => f.write_str("none"),
            Action::Restart => f.write_str("restart"),
            Action::Shell => f.write_str("shell"),
            Action::GoDown(fall) => fall.fmt(f),
        }
    }
}

/// What follows which end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy<'t> {
    /// A halt or power-off inside.
    pub halt: Action<'t>,
    /// A reboot inside. `Restart` leaves it to the supervisor, which needs no help of ours for it.
    pub reboot: Action<'t>,
    /// A start that was refused, a crash, a restart budget that is spent.
    pub failure: Action<'t>,
}

impl Default for Policy<'_> {
    fn default() -> Self {
        Policy { halt: Action::GoDown(Fall::PowerOff), reboot: Action::Restart, failure: Action::Shell }
    }
}

impl<'t> Policy<'t> {
    /// The action for an end.
    pub fn of(&mut self, which: Which) -> &mut Action<'t> {
        match which {
            Which::Halt => &mut self.halt,
            Which::Reboot => &mut self.reboot,
            Which::Failure => &mut self.failure,
        }
    }

    /// What follows.
    pub fn after(&self, end: End) -> Action<'t> {
        match end {
            End::Halted => self.halt,
            End::Reboot => self.reboot,
            End::Failed(_) => self.failure,
            End::Stopped => Action::Nothing,
            // The container's own rule, or its spent budget's: it is nearer than ours. The argument is with the pod.
            End::HostReboot => Action::GoDown(Fall::Reboot(None)),
            End::Died(_) => Action::Restart,
        }
    }
}

/// How a supervisor and its container ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The container halted or powered off.
    Halted,
    /// It rebooted, and its supervisor was told not to follow.
    Reboot,
    /// Somebody stopped it.
    Stopped,
    /// Its supervisor asks for the machine's reboot.
    HostReboot,
    /// It could not be started, or crashed.
    Failed(Exit),
    /// The supervisor ended without a word: killed, or it found another one of this name.
    Died(Exit),
}

impl End {
    /// From the supervisor's last word, if it sent one, and its exit.
    pub fn of(word: Option<Word>, exit: Exit) -> End {
        match (word, exit) {
            (Some(Word::Halted), _) => End::Halted,
            (Some(Word::Reboot), _) => End::Reboot,
            (Some(Word::Stopped), _) => End::Stopped,
            (Some(Word::HostReboot), _) => End::HostReboot,
            (Some(Word::Failed), _) | (None, Exit::Code(1 | crate::start::FAILED)) => End::Failed(exit),
            (None, _) => End::Died(exit),
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Halted => f.write_str("halted"),
            End::Reboot => f.write_str("asked for a reboot"),
            End::Stopped => f.write_str("was stopped"),
            End::HostReboot => f.write_str("asked for the machine's reboot"),
            End::Failed(Exit::Code(code)) => write!(f, "failed (exit code {code})"),
            End::Failed(Exit::Signal(signal)) => write!(f, "failed (signal {signal})"),
            End::Died(Exit::Code(code)) => write!(f, "supervisor died (exit code {code})"),
            End::Died(Exit::Signal(signal)) => write!(f, "supervisor died (signal {signal})"),
        }
    }
}

/// What a supervisor says in `X_MONOPOD_END=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// `halted`
    Halted,
    /// `reboot`
    Reboot,
    /// `stopped`
    Stopped,
    /// `failed`
    Failed,
    /// `host-reboot`
    HostReboot,
}

/// A message of sd_notify(3), as far as it matters here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notice {
    /// `READY=1`
    pub ready: bool,
    /// `WATCHDOG=1`
    pub alive: bool,
    /// `X_MONOPOD_END=...`
    pub end: Option<Word>,
    /// `X_MONOPOD_ARGUMENT=...`
    pub argument: Argument,
}

/// What a guest said when it asked for a reboot: at most so many bytes, and a NUL behind them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argument([u8; limits::REBOOT_ARGUMENT + 1]);

impl Argument {
    /// Cuts what is too long.
    fn of(text: &[u8]) -> Self {
        let mut bytes = [0; limits::REBOOT_ARGUMENT + 1];
        bytes.iter_mut().zip(text).take(limits::REBOOT_ARGUMENT).for_each(|(to, from)| *to = *from);
        Argument(bytes)
    }

    /// None: it said nothing.
    pub fn text(&self) -> Option<&CStr> {
        CStr::from_bytes_until_nul(&self.0).ok().filter(|text| !text.is_empty())
    }
}

impl Default for Argument {
    fn default() -> Self {
        Argument::of(b"")
    }
}

impl Notice {
    /// Reads a datagram: lines of `KEY=VALUE`. What is unknown is passed over.
    pub fn parse(datagram: &[u8]) -> Notice {
        let mut notice = Notice::default();
        for line in datagram.split(|byte| *byte == b'\n') {
            match line {
                b"READY=1" => notice.ready = true,
                b"WATCHDOG=1" => notice.alive = true,
                b"X_MONOPOD_END=halted" => notice.end = Some(Word::Halted),
                b"X_MONOPOD_END=reboot" => notice.end = Some(Word::Reboot),
                b"X_MONOPOD_END=stopped" => notice.end = Some(Word::Stopped),
                b"X_MONOPOD_END=failed" => notice.end = Some(Word::Failed),
                b"X_MONOPOD_END=host-reboot" => notice.end = Some(Word::HostReboot),
                line => {
                    if let Some(text) = line.strip_prefix(b"X_MONOPOD_ARGUMENT=") {
                        notice.argument = Argument::of(text);
                    }
                }
            }
        }
        notice
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notice_unknown_lines_are_passed_over() {
        let seen = Notice::parse(b"STATUS=all is well\nREADY=1\nX_MONOPOD_END=perhaps\nWATCHDOG=1");
        assert_eq!(seen, Notice { ready: true, alive: true, ..Notice::default() });
        assert_eq!(Notice::parse(b"\n\n=\xff"), Notice::default());
        assert_eq!(Notice::parse(b"X_MONOPOD_END=reboot").end, Some(Word::Reboot));
    }

    #[test]
    fn notice_argument_of_any_length_is_a_text() {
        let argument = |text: &[u8]| {
            let notice = Notice::parse(&[b"X_MONOPOD_END=host-reboot\nX_MONOPOD_ARGUMENT=", text].concat());
            assert_eq!(notice.end, Some(Word::HostReboot));
            notice.argument.text().map(|text| text.to_bytes().to_vec())
        };
        assert_eq!(argument(b"recovery"), Some(b"recovery".to_vec()));
        assert_eq!(argument(b""), None);
        assert_eq!(argument(b"a\0b"), Some(b"a".to_vec()));
        assert_eq!(argument(&[b'x'; 1000]), Some(vec![b'x'; limits::REBOOT_ARGUMENT]));
    }

    #[test]
    fn end_is_the_word_and_without_one_the_exit() {
        let code = Exit::Code;
        assert_eq!(End::of(Some(Word::Halted), code(0)), End::Halted);
        assert_eq!(End::of(Some(Word::Failed), code(7)), End::Failed(code(7)));
        // Wrong arguments and a refused start happen before anything can be said.
        assert_eq!(End::of(None, code(255)), End::Failed(code(255)));
        assert_eq!(End::of(None, code(1)), End::Failed(code(1)));
        // A supervisor of this name runs already, or ours was killed.
        assert_eq!(End::of(None, code(0)), End::Died(code(0)));
        assert_eq!(End::of(None, Exit::Signal(9)), End::Died(Exit::Signal(9)));
    }

    #[test]
    fn after_a_stop_nothing_follows_and_a_dead_supervisor_comes_back() {
        let policy = Policy { halt: Action::Shell, ..Policy::default() };
        assert_eq!(policy.after(End::Stopped), Action::Nothing);
        assert_eq!(policy.after(End::Died(Exit::Signal(9))), Action::Restart);
        assert_eq!(policy.after(End::Halted), Action::Shell);
        assert_eq!(policy.after(End::Failed(Exit::Code(255))), Action::Shell);
        // What the container's own rule says wins.
        let policy = Policy { reboot: Action::Nothing, failure: Action::Nothing, ..policy };
        assert_eq!(policy.after(End::HostReboot), Action::GoDown(Fall::Reboot(None)));
    }
}
