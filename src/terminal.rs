//! A user's terminal at one end of a pty of the container: `attach` and `console`.

use crate::sys::{fds, pty};
use core::ffi::CStr;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Takes the signals out of their usual way, to be read. What job control does to us stays as it is, or a command in the
/// background could change the terminal's mode.
pub fn signals() -> nix::Result<SignalFd> {
    let mut mask = crate::sys::signals::all();
    for stop in [Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU, Signal::SIGCONT] {
        mask.remove(stop);
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&mask), None)?;
    SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}

/// Standard input (0), output (1) or error (2) for a relay: opened anew where that can be done, so that a reader who has
/// stopped never blocks us and our non-blocking mode is nobody else's.
pub fn stream(number: i32) -> nix::Result<OwnedFd> {
    let standard = fds::standard(number);
    let pipe = fstat(standard).is_ok_and(|stat| stat.st_mode & libc::S_IFMT == SFlag::S_IFIFO.bits());
    let path = [c"/proc/self/fd/0", c"/proc/self/fd/1", c"/proc/self/fd/2"];
    if let Some(path) = path.get(number.unsigned_abs() as usize)
        && (pipe || pty::is_terminal(standard))
    {
        let access = if number == 0 { OFlag::O_RDONLY } else { OFlag::O_WRONLY };
        if let Ok(own) = fds::open(path, access | OFlag::O_NOCTTY | OFlag::O_NONBLOCK, Mode::empty()) {
            return Ok(own);
        }
    }
    standard.try_clone_to_owned().map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EBADF)))
}

/// Raw mode, until it is dropped.
pub struct Raw<'a> {
    terminal: BorrowedFd<'a>,
    saved: Termios,
}

impl<'a> Raw<'a> {
    /// None: it is no terminal.
    pub fn enter(terminal: BorrowedFd<'a>) -> Option<Raw<'a>> {
        let saved = tcgetattr(terminal).ok()?;
        let mut raw = saved.clone();
        cfmakeraw(&mut raw);
        // What was typed ahead is kept.
        tcsetattr(terminal, SetArg::TCSANOW, &raw).ok()?;
        Some(Raw { terminal, saved })
    }
}

impl Drop for Raw<'_> {
    fn drop(&mut self) {
        // Without waiting for output, which a terminal that has stopped would never take.
        let _ = tcsetattr(self.terminal, SetArg::TCSANOW, &self.saved);
    }
}

/// Why a relay returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Nobody has the pty's other side any more.
    FarClosed,
    /// The user typed the way out.
    Escaped,
    /// The caller's handler of signals said so.
    Signal,
    /// Our side is gone: the terminal hung up, or nobody reads what is shown.
    NearClosed,
}

const BUFFER: usize = 4096;

/// Bytes on their way.
#[derive(Default)]
struct Pipe {
    bytes: heapless::Vec<u8, BUFFER>,
}

impl Pipe {
    /// Writes what goes; false: nobody is there to take it.
    fn flush(&mut self, to: BorrowedFd<'_>) -> bool {
        match nix::unistd::write(to, &self.bytes) {
            Ok(written) => {
                let written = written.min(self.bytes.len());
                let left = self.bytes.len() - written;
                self.bytes.rotate_left(written);
                self.bytes.truncate(left);
                true
            }
            Err(Errno::EAGAIN | Errno::EINTR) => true,
            Err(_) => {
                self.bytes.clear();
                false
            }
        }
    }
}

/// The way out that a user types: a key, then `q`. The key twice is the key once.
#[derive(Default)]
pub struct Escape {
    /// The key; None: there is no way out.
    pub key: Option<u8>,
    /// It was the last byte, and is held back.
    held: bool,
}

impl Escape {
    /// Takes one byte and gives `pass` what goes to the other side; true: it was the way out.
    pub fn typed(&mut self, byte: u8, pass: &mut dyn FnMut(u8)) -> bool {
        match (self.key, self.held) {
            (Some(key), false) if byte == key => {
                self.held = true;
                return false;
            }
            (Some(_), true) if byte == b'q' => return true,
            (Some(key), true) if byte != key => pass(key),
            _ => {}
        }
        self.held = false;
        pass(byte);
        false
    }
}

/// Bytes between a terminal and a pty's master.
pub struct Relay<'a> {
    far: Option<OwnedFd>,
    input: Option<BorrowedFd<'a>>,
    output: BorrowedFd<'a>,
    /// A connection whose end is the other side's, too.
    lifeline: Option<BorrowedFd<'a>>,
    /// The end of input is the end of all.
    ends_with_input: bool,
    escape: Escape,
    up: Pipe,
    down: Pipe,
    log: Option<OwnedFd>,
}

impl<'a> Relay<'a> {
    /// `far` must not block. Without one only signals are waited for.
    pub fn new(far: Option<OwnedFd>, input: Option<BorrowedFd<'a>>, output: BorrowedFd<'a>) -> Relay<'a> {
        Relay {
            far,
            input,
            output,
            lifeline: None,
            ends_with_input: false,
            escape: Escape::default(),
            up: Pipe::default(),
            down: Pipe::default(),
            log: None,
        }
    }

    /// The key before `q` that leads out (Ctrl-a is 1); twice it goes to the other side, once.
    pub fn escape(&mut self, key: u8) {
        self.escape.key = Some(key);
    }

    /// Ends when this connection does: a pty that nobody has opened inside reports no hang-up.
    pub fn lifeline(&mut self, connection: BorrowedFd<'a>) {
        self.lifeline = Some(connection);
    }

    /// The end of input ends the relay; that of a terminal always does.
    pub fn end_with_input(&mut self) {
        self.ends_with_input = true;
    }

    /// Lets go of the other side, to which that is a hang-up.
    pub fn hang_up(&mut self) {
        self.far = None;
    }

    /// Keeps what is shown in a file, too.
    pub fn log(&mut self, path: &CStr) -> nix::Result<()> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_APPEND | OFlag::O_NOCTTY;
        self.log = Some(fds::open(path, flags, Mode::from_bits_truncate(0o600))?);
        Ok(())
    }

    /// Gives the other side the size of our terminal.
    pub fn resize(&self) {
        if let Some(far) = &self.far {
            let _ = pty::copy_window_size(self.output, far.as_fd())
                .or_else(|errno| self.input.map_or(Err(errno), |input| pty::copy_window_size(input, far.as_fd())));
        }
    }

    /// Relays. `on_signal` hears every signal but SIGWINCH, and ends it by true.
    pub fn run(&mut self, signals: &SignalFd, on_signal: &mut dyn FnMut(i32) -> bool) -> End {
        let none = PollFlags::empty();
        loop {
            let room = |pipe: &Pipe| if pipe.bytes.is_empty() { PollFlags::POLLIN } else { none };
            let waiting = |pipe: &Pipe| if pipe.bytes.is_empty() { none } else { PollFlags::POLLOUT };
            // A hang-up is reported of whatever is looked at, wanted or not: what nothing is wanted of is not looked at.
            let look = |fd: Option<BorrowedFd<'a>>, events: PollFlags| fd.filter(|_| !events.is_empty());
            let far_events = if self.far.is_some() { room(&self.down) | waiting(&self.up) } else { none };
            let far = self.far.as_ref().map(AsFd::as_fd).filter(|_| !far_events.is_empty());
            let input_events = if self.far.is_some() { room(&self.up) } else { none };
            let input = look(self.input, input_events);
            let output_events = waiting(&self.down);
            let output = look(Some(self.output), output_events);
            let idle = signals.as_fd();
            let mut fds = [
                PollFd::new(idle, PollFlags::POLLIN),
                far.map_or(PollFd::new(idle, none), |fd| PollFd::new(fd, far_events)),
                input.map_or(PollFd::new(idle, none), |fd| PollFd::new(fd, input_events)),
                output.map_or(PollFd::new(idle, none), |fd| PollFd::new(fd, output_events)),
                self.lifeline.map_or(PollFd::new(idle, none), |fd| PollFd::new(fd, PollFlags::POLLIN)),
            ];
            if poll(&mut fds, PollTimeout::NONE).is_err() {
                continue;
            }
            let [signalled, far_ready, input_ready, output_ready, ended] = fds.map(|fd| fd.revents().unwrap_or(none));
            if !output_ready.is_empty() && !self.down.flush(self.output) {
                return End::NearClosed;
            }
            if !far_ready.is_empty()
                && let Some(end) = self.serve_far(far_ready)
            {
                return end;
            }
            // Before the input: who resizes and then types expects the new size.
            while signalled.contains(PollFlags::POLLIN)
                && let Ok(Some(signal)) = signals.read_signal()
            {
                if signal.ssi_signo as i32 == libc::SIGWINCH {
                    self.resize();
                }
                if on_signal(signal.ssi_signo as i32) {
                    return End::Signal;
                }
            }
            if !input_ready.is_empty()
                && let Some(end) = self.read_input()
            {
                return end;
            }
            if !ended.is_empty() {
                self.drain(signals);
                return End::FarClosed;
            }
        }
    }

    /// Does what the other side is ready for.
    fn serve_far(&mut self, ready: PollFlags) -> Option<End> {
        let far = self.far.take()?;
        if ready.contains(PollFlags::POLLOUT) {
            self.up.flush(far.as_fd());
        }
        if ready.intersects(PollFlags::POLLHUP | PollFlags::POLLERR) {
            // Nobody will read it.
            self.up.bytes.clear();
        }
        if self.down.bytes.is_empty() && ready.intersects(PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR) {
            match self.receive(far.as_fd()) {
                Received::Some => {}
                Received::FarClosed => return Some(End::FarClosed),
                Received::NearClosed => {
                    self.far = Some(far);
                    return Some(End::NearClosed);
                }
            }
        }
        self.far = Some(far);
        None
    }

    /// Shows what the other side has written.
    fn receive(&mut self, far: BorrowedFd<'_>) -> Received {
        let mut chunk = [0; BUFFER];
        match nix::unistd::read(far, &mut chunk) {
            Ok(length @ 1..) => {
                let bytes = chunk.get(..length).unwrap_or_default();
                let _ = self.down.bytes.extend_from_slice(bytes);
                if let Some(log) = &self.log {
                    let _ = nix::unistd::write(log, bytes);
                }
                if self.down.flush(self.output) { Received::Some } else { Received::NearClosed }
            }
            Err(Errno::EAGAIN | Errno::EINTR) => Received::Some,
            _ => Received::FarClosed,
        }
    }

    /// Takes what the user typed.
    fn read_input(&mut self) -> Option<End> {
        let input = self.input?;
        // Room for a key that was held back.
        let mut chunk = [0; BUFFER - 1];
        let length = match nix::unistd::read(input, &mut chunk) {
            Ok(length @ 1..) => length,
            Err(Errno::EAGAIN | Errno::EINTR) => return None,
            _ => {
                self.input = None;
                return (self.ends_with_input || pty::is_terminal(input)).then_some(End::NearClosed);
            }
        };
        let mut end = None;
        for byte in chunk.get(..length).unwrap_or_default() {
            let mut pass = |byte| {
                let _ = self.up.bytes.push(byte);
            };
            if self.escape.typed(*byte, &mut pass) {
                end = Some(End::Escaped);
                break;
            }
        }
        if let Some(far) = &self.far {
            self.up.flush(far.as_fd());
        }
        end
    }

    /// Shows what is left when the other side has ended, for as long as our terminal takes it and nobody ends us.
    pub fn drain(&mut self, signals: &SignalFd) {
        let Some(far) = self.far.take() else { return };
        loop {
            while !self.down.bytes.is_empty() {
                let mut fds =
                    [PollFd::new(self.output, PollFlags::POLLOUT), PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
                let _ = poll(&mut fds, PollTimeout::NONE);
                let ended = signals.read_signal().ok().flatten().is_some_and(|signal| ends_us(signal.ssi_signo as i32));
                if ended || !self.down.flush(self.output) {
                    return;
                }
            }
            let mut fds = [PollFd::new(far.as_fd(), PollFlags::POLLIN)];
            let ready = poll(&mut fds, PollTimeout::ZERO).is_ok_and(|count| count > 0);
            if !ready || self.receive(far.as_fd()) != Received::Some {
                return;
            }
        }
    }
}

/// What came of reading the other side.
#[derive(PartialEq, Eq)]
enum Received {
    Some,
    FarClosed,
    NearClosed,
}

/// Signals that end a program.
pub fn ends_us(signal: i32) -> bool {
    matches!(signal, libc::SIGTERM | libc::SIGHUP | libc::SIGINT | libc::SIGQUIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(key: Option<u8>, typed: &[u8]) -> (Vec<u8>, bool) {
        let mut escape = Escape { key, held: false };
        let mut passed = Vec::new();
        let out = typed.iter().any(|byte| escape.typed(*byte, &mut |byte| passed.push(byte)));
        (passed, out)
    }

    #[test]
    fn escape_key_then_q_leads_out_and_nothing_else_is_lost() {
        assert_eq!(passed(Some(1), b"ab\x01qz"), (b"ab".to_vec(), true));
        assert_eq!(passed(Some(1), b"\x01\x01q"), (b"\x01q".to_vec(), false));
        assert_eq!(passed(Some(1), b"\x01x\x01q"), (b"\x01x".to_vec(), true));
        assert_eq!(passed(Some(b'q'), b"qq"), (b"".to_vec(), true));
        assert_eq!(passed(None, b"\x01q"), (b"\x01q".to_vec(), false));
    }
}
