//! What Android's init says to the kernel's log, which is where it says everything, and whom it blames.
//!
//! Records of /dev/kmsg carry no process id that tells one container's init from another's or from the host's: all that was
//! written from the start of a life to its end is looked at. The kernel's own messages are told apart by their facility.

use crate::sys::fds::open;
use crate::text::Line;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::{Whence, lseek, read};
use std::os::fd::OwnedFd;

/// How many lines are kept, the last ones.
const LINES: usize = 20;
/// Records that are read at most; a full ring of the kernel's has fewer.
const RECORDS: usize = 50_000;
/// Bytes of a record: the kernel's CONSOLE_EXT_LOG_MAX (PRINTKRB_RECORD_MAX); a smaller buffer gets EINVAL.
const RECORD: usize = 8192;

/// A line as it is kept.
pub type Text = Line<200>;
/// The name of a service.
pub type Service = Line<64>;

/// Marks the present end of the kernel's log. None: it cannot be read (Linux before 3.5, no right to).
pub fn mark() -> Option<OwnedFd> {
    let log = open(c"/dev/kmsg", OFlag::O_RDONLY | OFlag::O_NONBLOCK, Mode::empty()).ok()?;
    lseek(&log, 0, Whence::SeekEnd).ok()?;
    Some(log)
}

/// What was found since the mark.
#[derive(Default)]
pub struct Found {
    /// The last lines.
    pub lines: heapless::Deque<Text, LINES>,
    /// The service that is to blame, or empty.
    pub service: Service,
    /// init gave up because a service that it cannot do without crashed again and again.
    pub critical: bool,
    /// How sure `service` is.
    rank: Rank,
    /// init has begun to take everything down: who ends now does so because it is told to.
    going_down: bool,
}

/// How sure it is who is to blame.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    #[default]
    Nobody,
    /// It ended badly.
    Ended,
    /// It ended badly so often that init looks for updates to take back.
    Updatable,
    /// It ended badly so often that init gives up.
    Critical,
}

impl Found {
    /// Reads what has been logged since the mark.
    #[inline(never)] // its buffers are for the end of a life
    pub fn since(log: &OwnedFd) -> Found {
        let mut found = Found::default();
        let mut record = [0u8; RECORD];
        for _ in 0..RECORDS {
            match read(log, &mut record) {
                Ok(length) if length > 0 => found.take(record.get(..length).unwrap_or(&[])),
                // Records were lost to newer ones: the next read goes on after the gap.
                Err(Errno::EPIPE | Errno::EINTR) => {}
                _ => break,
            }
        }
        found
    }

    /// Takes one record, `PRIORITY,SEQUENCE,TIME,FLAGS;TEXT` (Documentation/ABI/testing/dev-kmsg).
    pub fn take(&mut self, record: &[u8]) {
        let Some(text) = message(record) else { return };
        let Some(words) = text.strip_prefix(b"init: ") else {
            if text.starts_with(b"libprocessgroup: ") {
                self.keep(text);
            }
            return;
        };
        self.keep(text);
        self.going_down |= words.starts_with(b"Reboot start") || words.starts_with(b"Shutdown");
        let Some((rank, name)) = blame(words) else { return };
        self.critical |= rank == Rank::Critical;
        if rank >= self.rank && !(rank == Rank::Ended && self.going_down) {
            self.rank = rank;
            self.service.clear();
            self.service.push(name);
        }
    }

    fn keep(&mut self, text: &[u8]) {
        if self.lines.is_full() {
            self.lines.pop_front();
        }
        let mut line = Text::new();
        line.push(text);
        let _ = self.lines.push_back(line);
    }
}

/// The text of a record of a process; None: it is the kernel's own, or no record.
fn message(record: &[u8]) -> Option<&[u8]> {
    let (head, text) = record.split_at(memchr::memchr(b';', record)?);
    let priority = head.split(|byte| *byte == b',').next().and_then(crate::text::number)?;
    // Lines behind the first are the kernel's notes on it.
    let text = text.get(1..)?.split(|byte| *byte == b'\n').next()?;
    (priority >> 3 != 0).then_some(text)
}

/// Whom a line of init's blames. These are Android's words from 4.4 to 16 (system/core/init/service.cpp).
fn blame(words: &[u8]) -> Option<(Rank, &[u8])> {
    let named = |lead: &[u8]| {
        let rest = words.strip_prefix(lead)?;
        let quote = memchr::memchr(b'\'', rest)?;
        Some((rest.get(..quote)?, rest.get(quote..)?))
    };
    if let Some((name, rest)) = named(b"critical process '") {
        return rest.starts_with(b"' exited").then_some((Rank::Critical, name));
    }
    if let Some((name, rest)) = named(b"process with updatable components '") {
        return rest.starts_with(b"' exited").then_some((Rank::Updatable, name));
    }
    let (name, rest) = named(b"Service '").or_else(|| named(b"service '"))?;
    let rest = rest.strip_prefix(b"' (pid ")?;
    let has = |text: &[u8]| crate::text::find(rest, text);
    let badly = match has(b"exited with status ") {
        Some(at) => rest.get(at + 19) != Some(&b'0'),
        None => has(b"received signal ").or_else(|| has(b"killed by signal ")).is_some(),
    };
    badly.then_some((Rank::Ended, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(records: &[&str]) -> Found {
        let mut found = Found::default();
        records.iter().for_each(|record| found.take(record.as_bytes()));
        found
    }

    #[test]
    fn take_keeps_init_and_libprocessgroup_of_processes_only() {
        let found = found(&[
            "14,1,1,-;init: starting service 'zygote'...\n SUBSYSTEM=x\n",
            "12,2,2,-,caller=T1;libprocessgroup: Failed to kill",
            "6,3,3,-;init: the kernel never says this",
            "14,4,4,-;initial: no",
            "14,5,5,-;apexd: no",
            "no record at all",
            ";",
            "x,1,1,-;init: no",
        ]);
        let lines: Vec<_> = found.lines.iter().map(Text::text).collect();
        assert_eq!(lines, ["init: starting service 'zygote'...", "libprocessgroup: Failed to kill"]);
        assert!(!found.critical && found.service.bytes().is_empty());
    }

    #[test]
    fn take_keeps_the_last_lines_and_cuts_long_ones() {
        let mut found = Found::default();
        for number in 0..100 {
            found.take(format!("14,1,1,-;init: {number} {}", "x".repeat(500)).as_bytes());
        }
        assert_eq!(found.lines.len(), LINES);
        assert!(found.lines.front().unwrap().text().starts_with("init: 80 x"));
        assert_eq!(found.lines.back().unwrap().bytes().len(), 200);
    }

    #[test]
    fn blame_names_the_service_in_every_versions_words() {
        let critical = [
            "critical process 'zygote' exited 4 times in 4 minutes; rebooting into recovery mode",
            "critical process 'zygote' exited 4 times before boot completed",
        ];
        for line in critical {
            let found = found(&[&format!("11,1,1,-;init: {line}")]);
            assert!(found.critical && found.service.text() == "zygote", "{line}");
        }
        let ended = [
            "Service 'vold' (pid 12) exited with status 1",
            "Service 'vold' (pid 12) received signal 6 oneshot service",
            "Service 'vold' (pid 12) killed by signal 11",
            "process with updatable components 'vold' exited 4 times in 4 minutes",
        ];
        for line in ended {
            let found = found(&[&format!("11,1,1,-;init: {line}")]);
            assert!(!found.critical && found.service.text() == "vold", "{line}");
        }
        for line in
            ["Service 'x' (pid 12) exited with status 0", "Service 'x", "critical process 'x' is fine", "Service"]
        {
            assert!(found(&[&format!("14,1,1,-;init: {line}")]).service.bytes().is_empty(), "{line}");
        }
    }

    #[test]
    fn blame_the_worst_word_wins_and_a_shutdown_blames_nobody() {
        let found = found(&[
            "14,1,1,-;init: Service 'first' (pid 1) exited with status 1",
            "14,1,1,-;init: Service 'last' (pid 1) received signal 6",
            "14,1,1,-;init: Reboot start, reason: reboot, reboot_target: ",
            "14,1,1,-;init: Service 'told' (pid 1) received signal 9",
        ]);
        assert_eq!(found.service.text(), "last");
        let found = self::found(&[
            "11,1,1,-;init: critical process 'hwservicemanager' exited 4 times",
            "14,1,1,-;init: Service 'later' (pid 1) exited with status 1",
        ]);
        assert_eq!(found.service.text(), "hwservicemanager");
    }
}
