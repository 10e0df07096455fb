//! The relay between the container's console and its readers: the mirror, and clients' views.
//!
//! The console is always drained: a guest that writes must never wait for a reader for good. A reader that cannot keep up
//! holds the guest back for at most `PATIENCE_MS`; after that its bytes are dropped and counted until it reads again. Log
//! file and ring get every byte.

use crate::control::lend::{Lent, Reader};
use crate::limits;
use crate::logging::log;
use crate::prepare::console::ConsoleSide;
use crate::prepare::host::{Host, Source, now_ms};
use crate::sys::pty;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Turns at one event, so that a chatty guest does not keep signals and clients waiting.
const TURNS: usize = 8;
/// How long a reader may hold the guest back.
const PATIENCE_MS: u64 = 1_000;

/// The console of one life.
pub struct Console {
    master: OwnedFd,
    /// Held so that the master never reports a hang-up while the guest has the console closed.
    _slave: OwnedFd,
    mirror: Reader,
    /// A reader holds the guest back: the master is not watched.
    held: bool,
}

/// The descriptors of a reader; a terminal has one for both.
struct Ends<'a> {
    input: Option<BorrowedFd<'a>>,
    output: BorrowedFd<'a>,
    input_token: u64,
    output_token: u64,
    epoll: &'a Epoll,
}

impl Ends<'_> {
    fn of_view<'a>(slave: &'a OwnedFd, index: usize, epoll: &'a Epoll) -> Ends<'a> {
        let token = Source::View(index).token();
        Ends { input: Some(slave.as_fd()), output: slave.as_fd(), input_token: token, output_token: token, epoll }
    }

    fn watch_input(&self) -> bool {
        let event = EpollEvent::new(EpollFlags::EPOLLIN, self.input_token);
        self.input.is_some_and(|input| self.epoll.add(input, event).is_ok())
    }

    fn watch_output(&self) -> bool {
        self.epoll.add(self.output, EpollEvent::new(EpollFlags::EPOLLOUT, self.output_token)).is_ok()
    }

    fn forget(&self, fd: BorrowedFd<'_>) {
        let _ = self.epoll.delete(fd);
    }
}

/// The mirror's; None: there is none.
fn mirror_ends<'a>(side: &'a ConsoleSide<'_>, epoll: &'a Epoll) -> Option<Ends<'a>> {
    Some(Ends {
        input: side.peer.input(),
        output: side.peer.output()?,
        input_token: Source::PeerInput.token(),
        output_token: Source::PeerOutput.token(),
        epoll,
    })
}

/// What becomes of a reader's output.
impl Reader {
    /// Gives it what was read; what it does not take now waits for it.
    fn put(&mut self, chunk: &[u8], ends: &Ends<'_>) {
        if self.lagging {
            self.dropped += chunk.len() as u64;
            return;
        }
        self.rest = chunk.len() - write_some(ends.output, chunk).min(chunk.len());
        if self.rest == 0 {
            return;
        }
        // Input and output may be one descriptor, and epoll has each only once.
        if self.input {
            ends.forget(ends.output);
        }
        self.full = ends.watch_output();
        if self.full {
            self.stalled = Some(now_ms());
        } else {
            // Nothing will tell us: give up on these bytes.
            self.rest = 0;
        }
    }

    /// It has room again.
    fn ready(&mut self, chunk: &[u8], ends: &Ends<'_>) {
        let rest = self.rest_of(chunk);
        if !rest.is_empty() {
            self.rest -= write_some(ends.output, rest).min(rest.len());
        }
        if self.rest > 0 {
            return;
        }
        ends.forget(ends.output);
        self.full = false;
        if self.input {
            ends.watch_input();
        }
        self.report();
        self.stalled = None;
        self.lagging = false;
    }

    /// What it has not taken of the last read.
    fn rest_of<'c>(&self, chunk: &'c [u8]) -> &'c [u8] {
        chunk.get(chunk.len().saturating_sub(self.rest)..).unwrap_or_default()
    }

    /// Our patience with it is over: it gets nothing until it has room.
    fn give_up(&mut self) {
        self.dropped += self.rest as u64;
        self.rest = 0;
        self.lagging = true;
    }

    /// Whether it holds the guest back.
    fn holds(&self) -> bool {
        self.deadline().is_some()
    }

    /// When our patience with it ends.
    fn deadline(&self) -> Option<u64> {
        self.stalled.filter(|_| !self.lagging).map(|since| since + PATIENCE_MS)
    }

    /// What is left is written as far as it goes until `deadline`; then nothing of it is watched any more.
    fn finish(&mut self, ends: &Ends<'_>) {
        if self.full {
            ends.forget(ends.output);
        }
        if let Some(input) = ends.input.filter(|_| self.input) {
            ends.forget(input);
        }
        self.report();
        (self.full, self.lagging, self.stalled, self.rest) = (false, false, None, 0);
    }

    /// Writes what is left of a life, waiting for room.
    fn put_last(&mut self, bytes: &[u8], output: BorrowedFd<'_>, deadline: u64) {
        self.dropped += write_until(output, bytes, deadline);
    }

    fn report(&mut self) {
        if self.dropped > 0 {
            log::warn!("console: {} bytes were not shown to a reader that had stopped", self.dropped);
            self.dropped = 0;
        }
    }
}

impl Console {
    /// Takes over a new pty, whose master does not block, and has the loop watch it.
    pub fn attach(
        master: OwnedFd,
        slave: OwnedFd,
        side: &mut ConsoleSide<'_>,
        host: &mut Host<'_>,
    ) -> nix::Result<Console> {
        side.recent.clear();
        host.watch(&master, Source::Console, EpollFlags::EPOLLIN)?;
        let mut mirror = Reader::default();
        if let Some(terminal) = side.peer.input() {
            let _ = pty::copy_window_size(terminal, master.as_fd());
        }
        if let Some(ends) = mirror_ends(side, &host.epoll) {
            // A regular file or /dev/null cannot be watched: there is no input then.
            mirror.input = ends.watch_input();
        }
        host.lent.relayed = true;
        for (index, view) in host.lent.views() {
            view.reader.input = Ends::of_view(&view.slave, index, &host.epoll).watch_input();
            let _ = pty::copy_window_size(view.slave.as_fd(), master.as_fd());
        }
        Ok(Console { master, _slave: slave, mirror, held: false })
    }

    /// Guest to readers, log and ring.
    pub fn read_guest(&mut self, side: &mut ConsoleSide<'_>, host: &mut Host<'_>) {
        for _ in 0..TURNS {
            if !side.recent.read(&self.master) {
                return;
            }
            keep(side, &mut host.lent);
            if let Some(ends) = mirror_ends(side, &host.epoll) {
                self.mirror.put(side.recent.newest(), &ends);
            }
            for (index, view) in host.lent.views() {
                view.reader.put(side.recent.newest(), &Ends::of_view(&view.slave, index, &host.epoll));
            }
            self.hold(host);
            if self.held {
                return;
            }
        }
    }

    /// Reads the guest exactly while no reader holds it back.
    fn hold(&mut self, host: &mut Host<'_>) {
        let hold = self.mirror.holds() || host.lent.views().any(|(_, view)| view.reader.holds());
        match (self.held, hold) {
            (false, true) => host.forget(&self.master),
            (true, false) => drop(host.watch(&self.master, Source::Console, EpollFlags::EPOLLIN)),
            _ => {}
        }
        self.held = hold;
    }

    /// The mirror has room.
    pub fn mirror_ready(&mut self, side: &ConsoleSide<'_>, host: &mut Host<'_>) {
        if let Some(ends) = mirror_ends(side, &host.epoll) {
            self.mirror.ready(side.recent.newest(), &ends);
        }
        self.hold(host);
    }

    /// A view has room, or input, or is gone.
    pub fn view_ready(&mut self, index: usize, side: &ConsoleSide<'_>, host: &mut Host<'_>) {
        let Some(view) = host.lent.view_at(index) else { return };
        if view.reader.full {
            view.reader.ready(side.recent.newest(), &Ends::of_view(&view.slave, index, &host.epoll));
        } else if !self.read_input(view.slave.as_fd()) {
            // Its client has closed it; the slot is free when the connection ends, too.
            let _ = host.epoll.delete(&view.slave);
            view.reader.input = false;
        }
        self.hold(host);
    }

    /// When our patience with the first of the readers ends.
    pub fn deadline(&self, host: &mut Host<'_>) -> Option<u64> {
        if !self.held {
            return None;
        }
        let views = host.lent.views().filter_map(|(_, view)| view.reader.deadline()).min();
        [self.mirror.deadline(), views].into_iter().flatten().min()
    }

    /// It ended: the guest goes on, the reader's bytes are dropped until it reads.
    pub fn lose_patience(&mut self, now: u64, host: &mut Host<'_>) {
        let views = host.lent.views().map(|(_, view)| &mut view.reader);
        for reader in views.chain([&mut self.mirror]) {
            if reader.deadline().is_some_and(|at| at <= now) {
                reader.give_up();
            }
        }
        self.hold(host);
    }

    /// Mirror to guest. The end of input is no reason to end anything.
    pub fn read_mirror(&mut self, side: &ConsoleSide<'_>, host: &Host<'_>) {
        let Some(input) = side.peer.input() else { return };
        if !self.read_input(input) {
            host.forget(&input);
            self.mirror.input = false;
        }
    }

    /// A reader's input to the guest; false: there will be no more.
    fn read_input(&self, input: BorrowedFd<'_>) -> bool {
        // Only as much as the guest can take now; the rest waits in the terminal.
        if !has_room(self.master.as_fd()) {
            return true;
        }
        let mut chunk = [0u8; 256];
        match nix::unistd::read(input, &mut chunk) {
            Ok(length @ 1..) => {
                let _ = nix::unistd::write(&self.master, chunk.get(..length).unwrap_or(&[]));
                true
            }
            Err(errno) => matches!(errno, Errno::EAGAIN | Errno::EINTR),
            Ok(_) => false,
        }
    }

    /// The window of our terminal changed, or that of a client: the last to come decides.
    pub fn resized(&self, side: &ConsoleSide<'_>, host: &mut Host<'_>) {
        let view = host.lent.views().last().map(|(_, view)| view.slave.as_fd());
        if let Some(terminal) = view.or(side.peer.input()) {
            let _ = pty::copy_window_size(terminal, self.master.as_fd());
        }
    }

    /// Reads what is left after init's end, and lets go of the readers, who have once more `PATIENCE_MS` to take it.
    pub fn drain(mut self, side: &mut ConsoleSide<'_>, host: &mut Host<'_>) {
        let deadline = now_ms() + PATIENCE_MS;
        if let Some(output) = side.peer.output() {
            self.mirror.put_last(self.mirror.rest_of(side.recent.newest()), output, deadline);
        }
        for (_, view) in host.lent.views() {
            view.reader.put_last(view.reader.rest_of(side.recent.newest()), view.slave.as_fd(), deadline);
        }
        while side.recent.read(&self.master) {
            keep(side, &mut host.lent);
            if let Some(output) = side.peer.output() {
                self.mirror.put_last(side.recent.newest(), output, deadline);
            }
            for (_, view) in host.lent.views() {
                view.reader.put_last(side.recent.newest(), view.slave.as_fd(), deadline);
            }
        }
        if let Some(ends) = mirror_ends(side, &host.epoll) {
            self.mirror.finish(&ends);
        }
        host.lent.relayed = false;
        for (index, view) in host.lent.views() {
            view.reader.finish(&Ends::of_view(&view.slave, index, &host.epoll));
        }
        host.forget(&self.master);
    }
}

/// Log file and ring get every byte.
fn keep(side: &mut ConsoleSide<'_>, lent: &mut Lent) {
    if let Some(log) = side.log.as_mut() {
        log.append(side.recent.newest());
    }
    if let Some(ring) = lent.ring.as_mut() {
        ring.push(side.recent.newest());
    }
}

/// Writes as much as goes without waiting. Our own stdout may be a blocking pipe: one that reports room takes 4 KiB, so the
/// pieces are smaller.
fn write_some(output: BorrowedFd<'_>, bytes: &[u8]) -> usize {
    let mut rest = bytes;
    while !rest.is_empty() && has_room(output) {
        let piece = rest.get(..limits::CONSOLE_CHUNK).unwrap_or(rest);
        match nix::unistd::write(output, piece) {
            Ok(written @ 1..) => rest = rest.get(written..).unwrap_or_default(),
            Ok(_) | Err(Errno::EAGAIN | Errno::EINTR) => break,
            // A mirror that is gone (EIO, EPIPE) takes everything.
            Err(_) => return bytes.len(),
        }
    }
    bytes.len() - rest.len()
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
