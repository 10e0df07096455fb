//! A command inside a running container, as init would start it: `monopod attach`.
//!
//! * `context` reads what init is like: namespaces, cgroups, capabilities, label, limits. From outside, by the host's /proc.
//! * `enter` is a transient process that becomes like that, and makes the program its sibling, as the program's pid namespace is
//!   that of its parent at its birth.
//! * `program` is the program up to its exec: session, terminal, ids, environment.
//!
//! Here is who stays outside: it relays the terminal, passes signals on and gives the exit code. Nothing of the host is open in
//! what the container can see: `enter` closes all descriptors before the program is made, and our own binary is one that nobody
//! can write (`sys::memfd`).

use crate::control::client::Container;
use crate::sys::clone::{Fork, fork};
use crate::sys::process::{self, Exit};
use crate::sys::{fds, pty, signals};
use crate::terminal::{Raw, Relay};
use core::ffi::CStr;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::signal::{SigmaskHow, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::pipe2;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

mod context;
mod enter;
mod program;

/// What of the container's confinement the program does without.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Elevated {
    /// It stays in our cgroups.
    pub cgroup: bool,
    /// It keeps our capabilities, and may gain privileges.
    pub capabilities: bool,
    /// It keeps our label.
    pub label: bool,
}

/// What is wanted.
pub struct Options<'a> {
    /// The container.
    pub container: Container<'a>,
    /// See there.
    pub elevated: Elevated,
    /// Instead of init's personality.
    pub personality: Option<u64>,
    /// Only these namespaces (CLONE_NEW* flags).
    pub namespaces: Option<u64>,
    /// Mount /proc and /sys anew, in a mount namespace of its own.
    pub remount: bool,
    /// Begin with an empty environment.
    pub clear_environment: bool,
    /// Names that are kept of ours.
    pub keep: Vec<&'a CStr>,
    /// `NAME=VALUE` to be set.
    pub set: Vec<&'a CStr>,
    /// Instead of root.
    pub uid: Option<u32>,
    /// Instead of root's.
    pub gid: Option<u32>,
    /// Instead of init's SELinux context.
    pub label: Option<&'a CStr>,
    /// File that keeps what the terminal shows.
    pub log: Option<&'a CStr>,
    /// The command; empty: the user's shell.
    pub command: &'a [&'a CStr],
}

/// Why the program did not run, and the exit code for it: 126 and 127 as a shell has them, else 1.
pub struct Failed {
    /// In one line.
    pub why: String,
    /// The exit code.
    pub code: i32,
}

fn failed<'w>(what: &'w str) -> impl Fn(Errno) -> Failed + 'w {
    move |errno| Failed { why: format!("{what}: {}", errno.desc()), code: 1 }
}

/// Runs the command; its exit code, or 128 + n if signal n killed it.
pub fn run(options: &Options<'_>) -> Result<i32, Failed> {
    let context = context::read(options)?;
    let mask = signals::all();
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&mask), None).map_err(failed("sigprocmask"))?;
    let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK);
    let signals = signals.map_err(failed("signalfd"))?;
    // Whichever of our streams is a terminal is one of the host's, which the container must not get hold of.
    let terminals = [0, 1, 2].map(|number| pty::is_terminal(fds::standard(number)));
    let terminal = if terminals.contains(&true) { Some(open_pty(options)?) } else { None };
    let (pids, pid) = pipe2(OFlag::O_CLOEXEC).map_err(failed("pipe"))?;
    let (reports, report) = pipe2(OFlag::O_CLOEXEC).map_err(failed("pipe"))?;
    let slave = terminal.as_ref().map(|(_, slave)| slave.as_fd());
    let transient = match fork().map_err(failed("fork"))? {
        Fork::Child => enter::run(context, options, slave.map(|slave| (slave, terminals)), &pid, &report),
        Fork::Parent(pid) => pid,
    };
    drop((pid, report));
    let master = terminal.map(|(master, _)| master);
    let program = hear(pids, reports, transient)?;
    Ok(match attend(program, master, terminals, &signals, options.log)? {
        Exit::Code(code) => code,
        Exit::Signal(signal) => 128 + signal,
    })
}

/// The program's pid, once it is executed; what went wrong otherwise.
fn hear(pids: OwnedFd, reports: OwnedFd, transient: i32) -> Result<i32, Failed> {
    let mut pid = [0; 4];
    let born = std::fs::File::from(pids).read_exact(&mut pid).is_ok();
    let _ = process::wait(transient);
    let mut text = Vec::new();
    let read = std::fs::File::from(reports).read_to_end(&mut text);
    let pid = i32::from_ne_bytes(pid);
    match (born, text.split_first()) {
        (true, None) if read.is_ok() => return Ok(pid),
        (true, _) => drop(process::wait(pid)),
        (false, _) => {}
    }
    let (code, why) = text.split_first().unwrap_or((&1, b"the process that entered the container was killed"));
    Err(Failed { why: String::from_utf8_lossy(why).into_owned(), code: i32::from(*code) })
}

/// A pty of the container, so that what runs there can name it; of the host where that cannot be had.
fn open_pty(options: &Options<'_>) -> Result<(OwnedFd, OwnedFd), Failed> {
    use crate::control::proto::Command;
    let devpts = options.container.ask(Command::GetDevptsFd, &[]).ok().and_then(|answer| answer.fd);
    let inside = devpts.and_then(|devpts| pty::open_in(devpts.as_fd(), OFlag::O_NONBLOCK).ok());
    match inside {
        Some(both) => Ok(both),
        None => pty::open_host(OFlag::O_NONBLOCK).map_err(failed("open a pty")),
    }
}

/// Stays until the program has ended.
fn attend(
    program: i32,
    master: Option<OwnedFd>,
    terminals: [bool; 3],
    signals: &SignalFd,
    log: Option<&CStr>,
) -> Result<Exit, Failed> {
    let [stdin, stdout, _] = terminals;
    let input: Option<BorrowedFd<'_>> = stdin.then(|| fds::standard(0));
    let output = fds::standard(if stdout {
        1
    } else if stdin {
        0
    } else {
        2
    });
    let _raw = input.filter(|_| master.is_some()).and_then(Raw::enter);
    let mut relay = Relay::new(master.as_ref().map(AsFd::as_fd), input, output);
    if let Some(path) = log {
        relay.log(path).map_err(|errno| failed("the terminal's log")(errno))?;
    }
    relay.resize();
    let mut ended = None;
    loop {
        // It also returns when the program has let go of its terminal and goes on without.
        relay.run(signals, &mut |signal| match signal {
            libc::SIGCHLD => {
                ended = process::try_wait(program).ok().flatten();
                ended.is_some()
            }
            // The terminal sends these to the program as well, where it has the same one; and a hang-up is its to survive.
            libc::SIGINT | libc::SIGQUIT | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU | libc::SIGPIPE => false,
            signal => {
                let _ = process::kill(program, signal);
                false
            }
        });
        if let Some(exit) = ended {
            relay.drain();
            return Ok(exit);
        }
    }
}
