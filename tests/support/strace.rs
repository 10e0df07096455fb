//! System calls that fail, die or dawdle where a test wants them to: the supervisor and all it starts, under strace(1).

use super::{Ended, Guest, Running, skip};
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::process::{Command, Stdio};

/// False, with the skip said, where there is no strace, or where it would trace and disturb an emulator instead.
#[must_use]
pub fn available(test: &str) -> bool {
    if super::emulated(test, "strace sees the calls of the emulator") {
        return false;
    }
    let found = Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_ok_and(|status| status.success());
    if !found {
        skip(test, "no strace (package strace)", true);
    }
    found
}

/// The guest's start under strace with `words` for strace. It ends when the last process that the start made has ended.
pub fn start<'g>(guest: &'g Guest, steps: &str, words: &[&str]) -> Running<'g> {
    let start = guest.start_command(steps);
    let mut command = Command::new("strace");
    command.args(["-f", "-qqq", "-o"]).arg(guest.dir().join("strace")).args(words);
    command.arg(start.get_program()).args(start.get_args()).stdin(Stdio::null());
    guest.sandbox.enter(&mut command);
    Running::new(guest, command)
}

/// The same with each of `injections` (`NAME:error=ENOSYS`), to its end.
pub fn run(guest: &Guest, steps: &str, injections: &[String]) -> Ended {
    start_with(guest, steps, injections).wait()
}

/// The same, running.
pub fn start_with<'g>(guest: &'g Guest, steps: &str, injections: &[String]) -> Running<'g> {
    start(guest, steps, &injecting(injections).iter().map(String::as_str).collect::<Vec<_>>())
}

/// strace's words for `injections`.
fn injecting(injections: &[String]) -> Vec<String> {
    let mut names: Vec<_> = injections.iter().map(|one| one.split(':').next().unwrap()).collect();
    if names.is_empty() {
        names.push("none");
    }
    let trace = ["-e".to_owned(), format!("trace={}", names.join(","))];
    let inject = injections.iter().flat_map(|one| ["-e".to_owned(), format!("inject={one}")]);
    trace.into_iter().chain(inject).collect()
}

/// The system calls of an undisturbed start.
pub struct Trace {
    /// Of the supervisor.
    pub supervisor: Vec<String>,
    /// Of the container's process up to the exec of init.
    pub child: Vec<String>,
    /// Of the container's process after that.
    pub init: Vec<String>,
}

impl Trace {
    /// Starts the guest, waits for its end, and reads what it did.
    pub fn of(guest: &Guest, steps: &str) -> Trace {
        let ended = start(guest, steps, &[]).wait();
        let text = fs::read_to_string(guest.dir().join("strace")).unwrap();
        let calls = |pid: &str| -> Vec<String> {
            let ours = text.lines().filter_map(|line| line.strip_prefix(pid)?.strip_prefix(' '));
            let begun = ours.map(str::trim_start).filter(|call| call.starts_with(|c: char| c.is_ascii_lowercase()));
            begun.map(str::to_owned).collect()
        };
        let pid = |line: &str| line.split(' ').next().unwrap().to_owned();
        let child = text.lines().find(|line| line.contains(" execve(\"/init\"")).map(pid);
        let child = child.unwrap_or_else(|| panic!("no exec of init{ended}\n{text}"));
        let mut child = calls(&child);
        let exec = child.iter().position(|call| call.starts_with("execve(")).unwrap();
        let init = child.split_off(exec);
        Trace { supervisor: calls(&pid(&text)), child, init }
    }
}

/// How many of `calls` are of the system call `name`.
pub fn count(calls: &[String], name: &str) -> usize {
    calls.iter().filter(|call| is(call, name)).count()
}

/// Whether a call is of the system call `name`.
pub fn is(call: &str, name: &str) -> bool {
    call.strip_prefix(name).is_some_and(|rest| rest.starts_with('('))
}

/// The calls with a number above `last` in the text of `strace -f -n`, of processes that execute what `ours` says is ours,
/// and of what these fork. No other process must fork.
pub fn calls_above(last: i64, text: &str, ours: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let mut foreign: HashMap<&str, bool> = HashMap::new();
    let mut above = BTreeSet::new();
    for line in text.lines() {
        // `PID [ NUMBER] NAME(ARGUMENTS`; what only goes on, and signals, have no number or no name.
        let Some((pid, rest)) = line.split_once(" [") else { continue };
        let Some((number, call)) = rest.split_once("] ") else { continue };
        let Ok(number) = number.trim().parse::<i64>() else { continue };
        if is(call, "execve") && !call.contains(" = -1 ") {
            foreign.insert(pid, !ours(call));
        } else if number > last && !foreign.get(pid).copied().unwrap_or(false) && !call.starts_with('<') {
            above.insert(call.split('(').next().unwrap().to_owned());
        }
    }
    above
}
