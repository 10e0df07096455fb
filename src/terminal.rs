//! A user's terminal at one end of a pty of the container: `attach` and `console`.

use crate::sys::{fds, pty};
use core::ffi::CStr;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signalfd::SignalFd;
use nix::sys::stat::Mode;
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

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
        tcsetattr(terminal, SetArg::TCSAFLUSH, &raw).ok()?;
        Some(Raw { terminal, saved })
    }
}

impl Drop for Raw<'_> {
    fn drop(&mut self) {
        let _ = tcsetattr(self.terminal, SetArg::TCSAFLUSH, &self.saved);
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

/// Bytes between a terminal and a pty's master.
pub struct Relay<'a> {
    far: Option<BorrowedFd<'a>>,
    input: Option<BorrowedFd<'a>>,
    output: BorrowedFd<'a>,
    /// The key that leads out, and whether it was the last one.
    escape: Option<u8>,
    escaping: bool,
    up: Pipe,
    down: Pipe,
    log: Option<OwnedFd>,
}

impl<'a> Relay<'a> {
    /// `far` must not block. Without one only signals are waited for.
    pub fn new(far: Option<BorrowedFd<'a>>, input: Option<BorrowedFd<'a>>, output: BorrowedFd<'a>) -> Relay<'a> {
        Relay {
            far,
            input,
            output,
            escape: None,
            escaping: false,
            up: Pipe::default(),
            down: Pipe::default(),
            log: None,
        }
    }

    /// The key before `q` that leads out (Ctrl-a is 1); twice it goes to the other side, once.
    pub fn escape(&mut self, key: u8) {
        self.escape = Some(key);
    }

    /// Keeps what is shown in a file, too.
    pub fn log(&mut self, path: &CStr) -> nix::Result<()> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_APPEND | OFlag::O_NOCTTY;
        self.log = Some(fds::open(path, flags, Mode::from_bits_truncate(0o600))?);
        Ok(())
    }

    /// Gives the other side the size of our terminal.
    pub fn resize(&self) {
        if let Some(far) = self.far {
            let _ = pty::copy_window_size(self.input.unwrap_or(self.output), far);
        }
    }

    /// Relays. `on_signal` hears every signal but SIGWINCH, and ends it by true.
    pub fn run(&mut self, signals: &SignalFd, on_signal: &mut dyn FnMut(i32) -> bool) -> End {
        loop {
            let none = PollFlags::empty();
            let room = |pipe: &Pipe| if pipe.bytes.is_empty() { PollFlags::POLLIN } else { none };
            let waiting = |pipe: &Pipe| if pipe.bytes.is_empty() { none } else { PollFlags::POLLOUT };
            let mut fds: heapless::Vec<PollFd<'_>, 4> = heapless::Vec::new();
            let _ = fds.push(PollFd::new(signals.as_fd(), PollFlags::POLLIN));
            // What is not there is looked at in its place as nothing.
            let far = self.far.unwrap_or(signals.as_fd());
            let far_events = if self.far.is_some() { room(&self.down) | waiting(&self.up) } else { none };
            let _ = fds.push(PollFd::new(far, far_events));
            let input_events = if self.far.is_some() && self.input.is_some() { room(&self.up) } else { none };
            let _ = fds.push(PollFd::new(self.input.unwrap_or(signals.as_fd()), input_events));
            let _ = fds.push(PollFd::new(self.output, waiting(&self.down)));
            if poll(&mut fds, PollTimeout::NONE).is_err() {
                continue;
            }
            let events = |index: usize| fds.get(index).and_then(PollFd::revents).unwrap_or(none);
            let [signalled, far_ready, input_ready, output_ready] = [events(0), events(1), events(2), events(3)];
            if output_ready.intersects(PollFlags::POLLOUT | PollFlags::POLLERR | PollFlags::POLLHUP)
                && !self.down.bytes.is_empty()
            {
                self.down.flush(self.output);
            }
            if let Some(far) = self.far.filter(|_| !far_events.is_empty() && !far_ready.is_empty()) {
                if far_ready.contains(PollFlags::POLLOUT) {
                    self.up.flush(far);
                }
                if self.down.bytes.is_empty()
                    && far_ready.intersects(PollFlags::POLLIN | PollFlags::POLLHUP)
                    && !self.receive(far)
                {
                    self.far = None;
                    return End::FarClosed;
                }
            }
            if self.far.is_some()
                && self.up.bytes.is_empty()
                && !input_events.is_empty()
                && !input_ready.is_empty()
                && self.read_input()
            {
                return End::Escaped;
            }
            while let (PollFlags::POLLIN, Ok(Some(signal))) = (signalled & PollFlags::POLLIN, signals.read_signal()) {
                match signal.ssi_signo as i32 {
                    libc::SIGWINCH => {
                        self.resize();
                        if on_signal(libc::SIGWINCH) {
                            return End::Signal;
                        }
                    }
                    number if on_signal(number) => return End::Signal,
                    _ => {}
                }
            }
        }
    }

    /// Shows what the other side has written; false: it is closed.
    fn receive(&mut self, far: BorrowedFd<'_>) -> bool {
        let mut chunk = [0; BUFFER];
        match nix::unistd::read(far, &mut chunk) {
            Ok(length @ 1..) => {
                let bytes = chunk.get(..length).unwrap_or_default();
                let _ = self.down.bytes.extend_from_slice(bytes);
                if let Some(log) = &self.log {
                    let _ = nix::unistd::write(log, bytes);
                }
                self.down.flush(self.output);
                true
            }
            Err(Errno::EAGAIN | Errno::EINTR) => true,
            _ => false,
        }
    }

    /// Takes what the user typed; true: the way out. The end of input is passed on as nothing: the other side goes on.
    fn read_input(&mut self) -> bool {
        let Some(input) = self.input else { return false };
        let mut chunk = [0; BUFFER];
        let length = match nix::unistd::read(input, &mut chunk) {
            Ok(length @ 1..) => length,
            Err(Errno::EAGAIN | Errno::EINTR) => return false,
            _ => {
                self.input = None;
                return false;
            }
        };
        for byte in chunk.get(..length).unwrap_or_default() {
            match (self.escape, self.escaping) {
                (Some(key), false) if *byte == key => {
                    self.escaping = true;
                    continue;
                }
                (Some(_), true) if *byte == b'q' => return true,
                (Some(key), true) if *byte != key => drop(self.up.bytes.push(key)),
                _ => {}
            }
            self.escaping = false;
            let _ = self.up.bytes.push(*byte);
        }
        if let Some(far) = self.far {
            self.up.flush(far);
        }
        false
    }

    /// What is still to be shown, when the other side has ended.
    pub fn drain(&mut self) {
        self.up.bytes.clear();
        loop {
            while !self.down.bytes.is_empty() && self.down.flush(self.output) {
                let mut fds = [PollFd::new(self.output, PollFlags::POLLOUT)];
                let _ = poll(&mut fds, PollTimeout::NONE);
            }
            let mut fds = match self.far {
                Some(far) => [PollFd::new(far, PollFlags::POLLIN)],
                None => return,
            };
            let ready = poll(&mut fds, PollTimeout::ZERO).is_ok_and(|count| count > 0);
            let Some(far) = self.far.filter(|_| ready) else { return };
            if !self.receive(far) {
                self.far = None;
            }
        }
    }
}
