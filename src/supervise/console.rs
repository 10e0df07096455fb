//! The relay between the container's console and its mirror.
//!
//! The console is always drained: a guest that writes must never wait for a reader for good. A mirror that cannot keep up
//! holds the guest back for at most `PATIENCE_MS`; after that its bytes are dropped and counted until it reads again. Log
//! file and ring get every byte.

use crate::prepare::console::ConsoleSide;
use crate::prepare::host::{Host, Source, now_ms};
use crate::sys::pty;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::EpollFlags;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Bytes a read takes. The kernel's pty hands out at most 4 KiB, and 2 KiB reads are the fastest by measurement: larger
/// ones drain it fully, so that reader and writer keep waking each other.
const CHUNK: usize = 2048;
/// Reads at one event, so that a chatty guest does not keep signals and clients waiting.
const READS: usize = 16;
/// How long a mirror may hold the guest back.
const PATIENCE_MS: u64 = 1_000;
/// What is kept of the output for the report about an init that died early.
const TAIL: usize = 1_024;

/// The console of one life.
pub struct Console {
    master: OwnedFd,
    /// Held so that the master never reports a hang-up while the guest has the console closed.
    _slave: OwnedFd,
    tail: heapless::Deque<u8, TAIL>,
    mirror: Mirror,
}

/// What is going on with the mirror.
struct Mirror {
    pending: heapless::Vec<u8, CHUNK>,
    /// Since when it takes nothing.
    stalled: Option<u64>,
    /// It lost our patience: bytes are dropped until there is room.
    lagging: bool,
    dropped: u64,
    watching_output: bool,
    input: bool,
}

impl Console {
    /// Takes over a new pty, whose master does not block, and has the loop watch it.
    pub fn attach(master: OwnedFd, slave: OwnedFd, side: &ConsoleSide<'_>, host: &Host<'_>) -> nix::Result<Console> {
        host.watch(&master, Source::Console, EpollFlags::EPOLLIN)?;
        let mut input = false;
        if let Some(terminal) = side.peer.input() {
            let _ = pty::copy_window_size(terminal, master.as_fd());
            // A regular file or /dev/null cannot be watched: there is no input then.
            input = host.watch(&terminal, Source::PeerInput, EpollFlags::EPOLLIN).is_ok();
        }
        let mirror = Mirror {
            pending: heapless::Vec::new(),
            stalled: None,
            lagging: false,
            dropped: 0,
            watching_output: false,
            input,
        };
        Ok(Console { master, _slave: slave, tail: heapless::Deque::new(), mirror })
    }

    /// Guest to mirror, log and ring.
    pub fn read_guest(&mut self, side: &mut ConsoleSide<'_>, host: &Host<'_>) {
        for _ in 0..READS {
            if !self.mirror.pending.is_empty() && !self.mirror.lagging {
                return;
            }
            let mut chunk = [0u8; CHUNK];
            let Ok(length @ 1..) = nix::unistd::read(&self.master, &mut chunk) else { return };
            let bytes = chunk.get(..length).unwrap_or(&[]);
            self.keep(bytes, side);
            self.mirror_out(bytes, side, host);
        }
    }

    /// Log file, ring and tail get every byte.
    fn keep(&mut self, bytes: &[u8], side: &mut ConsoleSide<'_>) {
        self.remember(bytes);
        if let Some(log) = side.log.as_mut() {
            log.append(bytes);
        }
        if let Some(ring) = side.ring.as_mut() {
            ring.push(bytes);
        }
    }

    fn remember(&mut self, bytes: &[u8]) {
        for byte in bytes.get(bytes.len().saturating_sub(TAIL)..).unwrap_or(bytes) {
            if self.tail.is_full() {
                self.tail.pop_front();
            }
            let _ = self.tail.push_back(*byte);
        }
    }

    fn mirror_out(&mut self, bytes: &[u8], side: &ConsoleSide<'_>, host: &Host<'_>) {
        let Some(output) = side.peer.output() else { return };
        if self.mirror.lagging {
            self.mirror.dropped += bytes.len() as u64;
            return;
        }
        let written = write_some(output, bytes);
        let rest = bytes.get(written..).unwrap_or(&[]);
        if !rest.is_empty() {
            let _ = self.mirror.pending.extend_from_slice(rest);
            self.mirror.stalled = Some(now_ms());
            self.pause_guest(output, host);
        }
    }

    /// Stops reading the guest until the mirror has room again.
    fn pause_guest(&mut self, output: BorrowedFd<'_>, host: &Host<'_>) {
        // Input and output may be one descriptor, and epoll has each only once: watch for both then.
        if self.mirror.input {
            host.forget(&output);
        }
        self.mirror.watching_output = host.watch(&output, Source::PeerOutput, EpollFlags::EPOLLOUT).is_ok();
        if self.mirror.watching_output {
            host.forget(&self.master);
        } else {
            // Nothing will tell us: give up on these bytes.
            self.mirror.pending.clear();
            self.mirror.stalled = None;
        }
    }

    /// The mirror has room.
    pub fn mirror_ready(&mut self, side: &mut ConsoleSide<'_>, host: &Host<'_>) {
        let Some(output) = side.peer.output() else { return };
        let written = write_some(output, &self.mirror.pending).min(self.mirror.pending.len());
        let left = self.mirror.pending.len() - written;
        self.mirror.pending.rotate_left(written);
        self.mirror.pending.truncate(left);
        if !self.mirror.pending.is_empty() {
            return;
        }
        host.forget(&output);
        self.mirror.watching_output = false;
        if self.mirror.input
            && let Some(terminal) = side.peer.input()
        {
            let _ = host.watch(&terminal, Source::PeerInput, EpollFlags::EPOLLIN);
        }
        if self.mirror.lagging {
            log::warn!("console: {} bytes were not mirrored, the reader had stopped", self.mirror.dropped);
            self.mirror.dropped = 0;
        } else {
            let _ = host.watch(&self.master, Source::Console, EpollFlags::EPOLLIN);
        }
        self.mirror.stalled = None;
        self.mirror.lagging = false;
    }

    /// When the mirror's patience ends.
    pub fn deadline(&self) -> Option<u64> {
        self.mirror.stalled.filter(|_| !self.mirror.lagging).map(|since| since + PATIENCE_MS)
    }

    /// It ended: the guest goes on, the mirror's bytes are dropped until it reads.
    pub fn lose_patience(&mut self, host: &Host<'_>) {
        self.mirror.lagging = true;
        let _ = host.watch(&self.master, Source::Console, EpollFlags::EPOLLIN);
    }

    /// Mirror to guest. The end of input is no reason to end anything.
    pub fn read_mirror(&mut self, side: &ConsoleSide<'_>, host: &Host<'_>) {
        let Some(input) = side.peer.input() else { return };
        // Only as much as the guest can take now; the rest waits in the terminal.
        if !has_room(self.master.as_fd()) {
            return;
        }
        let mut chunk = [0u8; 256];
        match nix::unistd::read(input, &mut chunk) {
            Ok(length @ 1..) => {
                let _ = nix::unistd::write(&self.master, chunk.get(..length).unwrap_or(&[]));
            }
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Ok(_) | Err(_) => {
                host.forget(&input);
                self.mirror.input = false;
            }
        }
    }

    /// The window of our terminal changed.
    pub fn resized(&self, side: &ConsoleSide<'_>) {
        if let Some(terminal) = side.peer.input() {
            let _ = pty::copy_window_size(terminal, self.master.as_fd());
        }
    }

    /// Reads what is left after init's end, and lets go of the mirror, which has once more its `PATIENCE_MS` to take it.
    pub fn drain(mut self, side: &mut ConsoleSide<'_>, host: &Host<'_>) -> Tail {
        let deadline = now_ms() + PATIENCE_MS;
        if let Some(output) = side.peer.output() {
            if self.mirror.watching_output {
                host.forget(&output);
            }
            let pending = core::mem::take(&mut self.mirror.pending);
            self.mirror.dropped += write_until(output, &pending, deadline);
        }
        loop {
            let mut chunk = [0u8; CHUNK];
            let Ok(length @ 1..) = nix::unistd::read(&self.master, &mut chunk) else { break };
            let bytes = chunk.get(..length).unwrap_or(&[]);
            self.keep(bytes, side);
            if let Some(output) = side.peer.output() {
                self.mirror.dropped += write_until(output, bytes, deadline);
            }
        }
        if self.mirror.dropped > 0 {
            log::warn!("console: {} bytes were not mirrored, the reader had stopped", self.mirror.dropped);
        }
        if self.mirror.input
            && let Some(terminal) = side.peer.input()
        {
            host.forget(&terminal);
        }
        host.forget(&self.master);
        Tail(self.tail)
    }
}

/// The last output of a life.
pub struct Tail(heapless::Deque<u8, TAIL>);

impl Tail {
    /// Logs the last lines, each as an error line of its own: the reason of an early death usually stands there.
    pub fn log(&self) {
        const LINES: usize = 8;
        let mut bytes: heapless::Vec<u8, TAIL> = heapless::Vec::new();
        bytes.extend(self.0.iter().copied());
        let lines = || bytes.split(|b| *b == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
        for line in lines().skip(lines().count().saturating_sub(LINES)) {
            log::error!("console: {}", crate::text::Shown(line));
        }
    }
}

/// Writes as much as goes without waiting. Our own stdout may be a blocking pipe: a pipe that reports room takes 4 KiB.
fn write_some(output: BorrowedFd<'_>, bytes: &[u8]) -> usize {
    if !has_room(output) {
        return 0;
    }
    match nix::unistd::write(output, bytes) {
        Ok(written) => written,
        Err(Errno::EAGAIN | Errno::EINTR) => 0,
        // A mirror that is gone (EIO, EPIPE) takes everything.
        Err(_) => bytes.len(),
    }
}

fn has_room(output: BorrowedFd<'_>) -> bool {
    ready(output, PollTimeout::ZERO)
}

/// Writes everything, waiting for room until `deadline`. How many bytes were left over.
fn write_until(output: BorrowedFd<'_>, bytes: &[u8], deadline: u64) -> u64 {
    let mut rest = bytes;
    while !rest.is_empty() {
        let left = deadline.saturating_sub(now_ms());
        if !ready(output, PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO)) {
            break;
        }
        rest = rest.get(write_some(output, rest)..).unwrap_or(&[]);
    }
    rest.len() as u64
}

fn ready(output: BorrowedFd<'_>, timeout: PollTimeout) -> bool {
    let mut wanted = [PollFd::new(output, PollFlags::POLLOUT)];
    poll(&mut wanted, timeout).is_ok_and(|count| count > 0)
}
