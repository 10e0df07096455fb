//! What the guest's console said last: the newest bytes, for its readers, and what came before, for a report.

use crate::limits::{CONSOLE_CHUNK, CONSOLE_GATHER};
use crate::logging::log;
use crate::text::Shown;
use std::os::fd::OwnedFd;

/// What is kept of the output for the report about an init that died early.
const TAIL: usize = 1_024;
/// Lines of it that are shown.
const LINES: usize = 8;

/// A window over the output.
#[derive(Default)]
pub struct Recent {
    /// What is kept, then the newest.
    bytes: Vec<u8>,
    kept: usize,
    end: usize,
}

impl Recent {
    /// Takes its memory, without which it reads nothing. It begins as zeroes, which are no memory until the guest writes; so it
    /// comes behind what is used at once.
    pub fn reserve(&mut self) {
        self.bytes = vec![0; TAIL + CONSOLE_GATHER];
    }

    /// Another life begins.
    pub fn clear(&mut self) {
        (self.kept, self.end) = (0, 0);
    }

    /// Reads what the guest has written now, as far as there is room; false: nothing. What was the newest is kept for the tail
    /// alone: the caller has no reader left that wants the rest of it.
    ///
    /// The readers get it in one piece: a write costs the relay more than a read.
    pub fn read(&mut self, master: &OwnedFd) -> bool {
        self.kept = self.end.min(TAIL);
        self.bytes.copy_within(self.end - self.kept..self.end, 0);
        self.end = self.kept;
        while let Some(room) = self.bytes.get_mut(self.end..).filter(|room| !room.is_empty()) {
            let piece = room.len().min(CONSOLE_CHUNK);
            match nix::unistd::read(master, room.get_mut(..piece).unwrap_or_default()) {
                Ok(length @ 1..) => self.end += length,
                _ => break,
            }
        }
        self.end > self.kept
    }

    /// What was read last.
    pub fn newest(&self) -> &[u8] {
        self.bytes.get(self.kept..self.end).unwrap_or_default()
    }

    /// The last output of a life.
    pub fn tail(&self) -> Tail<'_> {
        Tail(self.bytes.get(self.end.saturating_sub(TAIL)..self.end).unwrap_or_default())
    }
}

/// The last output of a life.
#[derive(Clone, Copy)]
pub struct Tail<'a>(&'a [u8]);

impl Tail<'_> {
    /// Logs the last lines, each as an error line of its own: the reason of an early death usually stands there.
    pub fn log(self) {
        self.for_each(&mut |line| log::error!("console: {}", Shown(line)));
    }

    /// Calls `each` with the last lines, none of them empty.
    pub fn for_each(self, each: &mut dyn FnMut(&[u8])) {
        let lines = || self.0.split(|b| *b == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
        lines().skip(lines().count().saturating_sub(LINES)).for_each(each);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::fcntl::OFlag;

    /// As a master does, the pipe's end does not block.
    fn pipe() -> (OwnedFd, OwnedFd) {
        nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).unwrap()
    }

    fn ready() -> Recent {
        let mut recent = Recent::default();
        recent.reserve();
        recent
    }

    fn lines(recent: &Recent) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        recent.tail().for_each(&mut |line| lines.push(line.to_vec()));
        lines
    }

    #[test]
    fn recent_gathers_pieces_and_keeps_what_came_before() {
        let (master, guest) = pipe();
        let mut recent = ready();
        assert!(!recent.read(&master));
        nix::unistd::write(&guest, b"one\r\n").unwrap();
        nix::unistd::write(&guest, b"two\r\n").unwrap();
        assert!(recent.read(&master));
        assert_eq!(recent.newest(), b"one\r\ntwo\r\n");
        assert!(!recent.read(&master));
        assert_eq!((recent.newest(), lines(&recent)), (&b""[..], vec![b"one".to_vec(), b"two".to_vec()]));
        recent.clear();
        assert!(lines(&recent).is_empty());
    }

    #[test]
    fn recent_flood_is_read_as_far_as_there_is_room_and_its_end_is_the_tail() {
        let (master, guest) = pipe();
        let flood: Vec<u8> = (0..2_000u32).flat_map(|n| format!("line {n:05}\n").into_bytes()).collect();
        nix::unistd::write(&guest, &flood).unwrap();
        let (mut recent, mut seen) = (ready(), Vec::new());
        while recent.read(&master) {
            assert!(recent.newest().len() <= TAIL + CONSOLE_GATHER);
            seen.extend_from_slice(recent.newest());
        }
        assert_eq!(seen, flood);
        let wanted: Vec<Vec<u8>> = (1_992..2_000).map(|n| format!("line {n:05}").into_bytes()).collect();
        assert_eq!(lines(&recent), wanted);
        // A short piece behind a long one leaves the end of the long one in the tail.
        nix::unistd::write(&guest, b"last").unwrap();
        assert!(recent.read(&master));
        assert_eq!((lines(&recent).last().unwrap().as_slice(), lines(&recent).len()), (&b"last"[..], 8));
    }
}
