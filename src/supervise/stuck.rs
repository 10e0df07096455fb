//! Who keeps a container from ending: processes of its pid namespace, and where in the kernel they are. Without a heap.

use crate::cgroup::limit;
use crate::sys::fds::{for_each_entry, open};
use crate::text::{Line, PathText, Shown, number};
use core::fmt::{self, Write};
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, stat};
use std::os::fd::AsFd;

/// One of them.
pub struct Process {
    /// Its pid, as the host counts.
    pub pid: u64,
    /// The letter of proc_pid_stat(5): D sleeps and hears nothing, Z has ended and waits for its parent.
    pub state: u8,
    parent: u64,
    name: Line<64>,
    place: Line<64>,
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = char::from(self.state);
        write!(f, "pid {} ({}), state {state}", self.pid, Shown(self.name.bytes()))?;
        match (self.state, self.place.bytes()) {
            (b'Z', _) => write!(f, ": process {} does not reap it", self.parent),
            (_, b"" | b"0") => Ok(()),
            (_, place) => write!(f, " in {}", Shown(place)),
        }
    }
}

/// The pid namespace of a process, by its inode number; None: there is no such process.
pub fn namespace_of(pid: u64) -> Option<u64> {
    // A number is no larger on 32 bits.
    #[allow(clippy::unnecessary_cast)]
    stat(path(pid, "ns/pid")?.c()).ok().map(|stat| stat.st_ino as u64)
}

/// Calls `each` with every process of a pid namespace.
pub fn for_each(namespace: u64, each: &mut dyn FnMut(&Process)) {
    let Ok(proc) = open(c"/proc", OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty()) else { return };
    let _ = for_each_entry(proc.as_fd(), &mut |name, _| {
        if let Some(pid) = number(name.to_bytes())
            && namespace_of(pid) == Some(namespace)
            && let Some(process) = look(pid)
        {
            each(&process);
        }
    });
}

fn look(pid: u64) -> Option<Process> {
    let read = |file| limit::read(path(pid, file)?.c()).ok();
    let mut process = parse(pid, &read("stat")?)?;
    process.place.push(&read("wchan").unwrap_or_default());
    Some(process)
}

fn path(pid: u64, file: &str) -> Option<PathText> {
    let mut line = Line::<40>::new();
    let _ = write!(line, "/proc/{pid}/{file}");
    PathText::join(&[line.bytes()]).ok()
}

/// Name, state and parent of a /proc/PID/stat. The name is the guest's and may hold blanks and brackets.
fn parse(pid: u64, stat: &[u8]) -> Option<Process> {
    let open = memchr::memchr(b'(', stat)?;
    let close = memchr::memrchr(b')', stat)?;
    let mut rest = stat.get(close + 1..)?.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let state = *rest.next()?.first()?;
    let parent = number(rest.next()?)?;
    let mut name = Line::new();
    name.push(stat.get(open + 1..close)?);
    Some(Process { pid, state, parent, name, place: Line::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shows(stat: &[u8], place: &[u8]) -> Option<String> {
        let mut process = parse(7, stat)?;
        process.place.push(place);
        Some(process.to_string())
    }

    #[test]
    fn process_is_shown_with_its_place_in_the_kernel() {
        let stat = b"7 (a) b (c) D 1 7 7 0";
        assert_eq!(shows(stat, b"wait_on_page").unwrap(), "pid 7 (a) b (c), state D in wait_on_page");
        assert_eq!(shows(stat, b"0").unwrap(), "pid 7 (a) b (c), state D");
        assert_eq!(shows(b"7 (sh\x1b) Z 42 7", b"0").unwrap(), "pid 7 (sh?), state Z: process 42 does not reap it");
        for garbage in [&b"garbage"[..], b"1 (x)", b"1 (x) ", b"1 )x( D 1"] {
            assert_eq!(shows(garbage, b""), None);
        }
    }

    #[test]
    fn for_each_finds_this_process_in_its_own_namespace() {
        let own = u64::from(std::process::id());
        let mut found = false;
        for_each(namespace_of(own).unwrap(), &mut |process| found |= process.pid == own);
        assert!(found);
        assert_eq!(namespace_of(u64::MAX), None);
    }
}
