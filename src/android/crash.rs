//! The report of a life that ended badly: one block in the log, and one JSON file (`monopod.crash.file`).
//!
//! A reboot is no crash, unless it is one of a loop, or its argument or init's own words say that init gave up. Where neither
//! the preset nor the file's key is there, only init's end and the console's last lines are told; the kernel's log is not
//! looked at.

use super::kmsg::{self, Found};
use super::reasons::{self, Text};
use crate::config::Config;
use crate::logging::log;
use crate::prepare::host::Host;
use crate::prepare::recent::Tail;
use crate::spawn::Life;
use crate::supervise::lifecycle::Asked;
use crate::supervise::outcome::{Outcome, Told};
use crate::sys::fds::open;
use crate::text::{Line, PathText, Quoted, Shown};
use core::fmt::{self, Write};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::os::fd::OwnedFd;

/// How an end looks before anything is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// As it should.
    Well,
    /// init's words decide.
    Unclear,
    /// A crash.
    Crash,
}

/// Looks at an end. `is_loop`: it is not the first short life in a row. `exits`: this init exits with 0 whatever it means.
pub fn look(outcome: Outcome, argument: &[u8], is_loop: bool, exits: bool) -> Look {
    match outcome {
        _ if outcome.is_failure() => Look::Crash,
        Outcome::Reboot if is_loop || is_panic(argument) => Look::Crash,
        // Where init goes when it gives up, and where people go, too.
        Outcome::Reboot if matches!(argument, b"" | b"bootloader" | b"recovery" | b"fastboot") => Look::Unclear,
        Outcome::Exit(0) if exits => Look::Unclear,
        _ => Look::Well,
    }
}

/// Whether a reboot's argument is the word of an init that gave up: `kernel_panic`, `rescueparty`,
/// `mount_userdata_failed`, `init_fatal_reboot`, ...
pub fn is_panic(argument: &[u8]) -> bool {
    ["panic", "fatal", "fail", "crash", "rescueparty", "watchdog"]
        .iter()
        .any(|word| crate::text::find(argument, word.as_bytes()).is_some())
}

/// Whether the kernel's log is of interest.
pub fn is_wanted(config: &Config<'_>) -> bool {
    config.own.android || config.own.crash_file.is_some()
}

/// What is known of an ended life.
struct End<'a> {
    outcome: Outcome,
    look: Look,
    uptime_ms: u64,
    /// Android's reason, where it was looked for; empty: none was found.
    reason: &'a Text,
    /// The console's last output.
    tail: Option<Tail<'a>>,
}

/// What the end of init means after all that can be known of it, which is also said: `outcome` is what wait(2) says, `tail`
/// the console's last output. The argument of a reboot is in `host`, the life knows whether it was a crash.
#[inline(never)] // its buffers are for the end of a life
pub fn conclude(life: &mut Life<'_, '_>, host: &mut Host<'_>, outcome: Outcome, tail: Option<Tail<'_>>) -> Outcome {
    let before = life.before.take();
    let exits = before.as_ref().is_some_and(|before| before.exits);
    let reason = match &before {
        Some(before) if outcome == Outcome::Reboot || exits => before.reason(host.config),
        _ => Text::new(),
    };
    let heard = reasons::clean(host.reboot_argument.bytes());
    let (outcome, argument) = reasons::settle(outcome, exits, heard.bytes(), reason.bytes());
    host.reboot_argument = reasons::clean(argument);
    let uptime_ms = life.uptime_ms();
    let is_loop = host.lifecycle.is_loop(uptime_ms);
    let look = match host.asked {
        Asked::Nothing if !life.is_command => look(outcome, argument, is_loop, exits),
        _ => Look::Well,
    };
    let end = End { outcome, look, uptime_ms, reason: &reason, tail };
    match report(life, host, &end) {
        Some(critical) => life.crashed = critical,
        None => log::info!("init {}", Told(outcome, argument)),
    }
    match outcome {
        // It gave up, and where it may that is a reboot.
        Outcome::Exit(0) if life.crashed => Outcome::Reboot,
        outcome => outcome,
    }
}

/// Reports an end if it is a crash. None: it is not. Some(true): of the kind that comes again.
fn report(life: &Life<'_, '_>, host: &mut Host<'_>, end: &End<'_>) -> Option<bool> {
    let found = match (end.look, &life.kernel_log) {
        (Look::Crash | Look::Unclear, Some(log)) => Found::since(log),
        _ => Found::default(),
    };
    if end.look != Look::Crash && !found.critical {
        return None;
    }
    let argument = host.reboot_argument.clone();
    let told = Told(end.outcome, argument.bytes());
    log::error!("init {told}");
    for line in &found.lines {
        log::error!("kmsg: {}", Shown(line.bytes()));
    }
    if let Some(tail) = end.tail {
        tail.log();
    }
    host.last_crash.clear();
    let _ = write!(host.last_crash, "{told} after {} ms", end.uptime_ms);
    if !found.service.bytes().is_empty() {
        let why = if found.critical { "critical service" } else { "service" };
        let _ = write!(host.last_crash, ", {why} {}", Shown(found.service.bytes()));
        log::error!("crash: {}", host.last_crash);
    }
    if let Some(file) = host.config.own.crash_file
        && let Err(errno) = write_file(file.value.to_bytes(), host, end, &argument, &found)
    {
        let place = host.config.place(file.at);
        log::warn!("crash file: {place}: {}: {}", Shown(file.value.to_bytes()), errno.desc());
    }
    Some(found.critical || is_panic(argument.bytes()))
}

/// Writes the report beside its place and moves it there.
fn write_file(path: &[u8], host: &Host<'_>, end: &End<'_>, argument: &Text, found: &Found) -> nix::Result<()> {
    let long = |_| Errno::ENAMETOOLONG;
    let place = PathText::join(&[path]).map_err(long)?;
    let beside = PathText::join(&[path, b".new"]).map_err(long)?;
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let mut file =
        File { file: open(beside.c(), flags, Mode::from_bits_truncate(0o644))?, line: Line::new(), fault: None };
    let _ = write_json(&mut file, host, end, argument, found);
    file.flush();
    let done = match file.fault {
        Some(errno) => Err(errno),
        None => renameat(AT_FDCWD, beside.c(), AT_FDCWD, place.c()),
    };
    if done.is_err() {
        let _ = unlinkat(AT_FDCWD, beside.c(), UnlinkatFlags::NoRemoveDir);
    }
    done
}

fn write_json(out: &mut dyn Write, host: &Host<'_>, end: &End<'_>, argument: &Text, found: &Found) -> fmt::Result {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_REALTIME).map_or(0, |now| now.tv_sec());
    write!(out, "{{\"name\":{},\"time\":{now},\"uptime_ms\":{}", Quoted(host.config.name.to_bytes()), end.uptime_ms)?;
    write!(out, ",\"end\":\"{}\",\"critical\":{}", end.outcome, found.critical)?;
    let words =
        [("reboot_argument", argument.bytes()), ("reason", end.reason.bytes()), ("service", found.service.bytes())];
    for (key, value) in words {
        write!(out, ",\"{key}\":{}", Quoted(value))?;
    }
    out.write_str(",\"kmsg\":[")?;
    let mut comma = "";
    for line in &found.lines {
        write!(out, "{comma}{}", Quoted(line.bytes()))?;
        comma = ",";
    }
    out.write_str("],\"console\":[")?;
    let mut comma = "";
    let mut result = Ok(());
    if let Some(tail) = end.tail {
        tail.for_each(&mut |line| {
            result = result.and_then(|()| write!(out, "{comma}{}", Quoted(line)));
            comma = ",";
        });
    }
    result?;
    out.write_str("]}\n")
}

/// A file that is written in pieces, without a heap.
struct File {
    file: OwnedFd,
    line: Line<512>,
    fault: Option<Errno>,
}

impl File {
    fn flush(&mut self) {
        match nix::unistd::write(&self.file, self.line.bytes()) {
            Ok(length) if length == self.line.bytes().len() => {}
            Ok(_) => self.fault = Some(Errno::ENOSPC),
            Err(errno) => self.fault = Some(errno),
        }
        self.line.clear();
    }
}

impl Write for File {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for piece in text.as_bytes().chunks(256) {
            if self.line.bytes().len() > 256 {
                self.flush();
            }
            self.line.push(piece);
        }
        Ok(())
    }
}

/// Marks the kernel's log at the begin of a life, if it is of interest.
pub fn mark(config: &Config<'_>) -> Option<OwnedFd> {
    if !is_wanted(config) {
        return None;
    }
    let log = kmsg::mark();
    if log.is_none() {
        log::info!("crash report: /dev/kmsg cannot be read");
    }
    log
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn look_a_reboot_is_a_crash_in_a_loop_or_by_its_word() {
        use Outcome::{Exit, Halt, Reboot, Signal};
        for failure in [Exit(1), Signal(6)] {
            assert_eq!(look(failure, b"", false, false), Look::Crash);
        }
        assert_eq!(look(Reboot, b"userrequested", false, false), Look::Well);
        assert_eq!(look(Reboot, b"userrequested", true, false), Look::Crash);
        assert_eq!(look(Reboot, b"kernel_panic,hung", false, false), Look::Crash);
        assert_eq!(look(Reboot, b"recovery", false, false), Look::Unclear);
        assert_eq!(look(Reboot, b"", false, false), Look::Unclear);
        assert_eq!(look(Exit(0), b"", false, true), Look::Unclear);
        for well in [Halt, Exit(0)] {
            assert_eq!(look(well, b"", true, false), Look::Well);
        }
    }

    #[test]
    fn is_panic_words_of_people_are_none() {
        for word in [&b"bootloader"[..], b"recovery", b"userrequested,shell", b"quiescent", b""] {
            assert!(!is_panic(word));
        }
        for word in [&b"rescueparty"[..], b"mount_userdata_failed", b"apexd-failed", b"init_fatal"] {
            assert!(is_panic(word));
        }
    }
}
