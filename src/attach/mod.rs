//! A command inside a running container, as init would start it: `monopod attach`.
//!
//! * `context` reads what init is like: namespaces, cgroups, capabilities, label, limits. From outside, by the host's /proc.
//! * `enter` is a transient process that becomes like that, and has the program born there: the pid namespace that it entered is
//!   its children's.
//! * `program` is the program up to its exec: session, terminal, ids, environment.
//!
//! Here is who stays outside: it relays the terminal, passes signals on and gives the exit code. Nothing of the host is open in
//! what the container can see: `enter` closes all descriptors before the program is made, and our own binary is one that nobody
//! can write (`sys::memfd`).

use crate::control::client::Container;
use crate::sys::clone::{Fork, fork};
use crate::sys::process::{self, Exit};
use crate::sys::{fds, pty};
use crate::terminal::{self, End, Raw, Relay};
use core::ffi::CStr;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signalfd::SignalFd;
use nix::unistd::pipe2;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};

pub mod context;
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
    let signals = terminal::signals().map_err(failed("signalfd"))?;
    // Nobody in the container may look into what enters it; exec takes that back.
    let _ = nix::sys::prctl::set_dumpable(false);
    // Whichever of our streams is a terminal is one of the host's, which the container must not get hold of.
    let terminals = [0, 1, 2].map(|number| pty::is_terminal(fds::standard(number)));
    let terminal = if terminals.contains(&true) { Some(open_pty(options)?) } else { None };
    if let (Some((master, _)), Some(number)) = (&terminal, (0..).zip(terminals).find(|one| one.1).map(|one| one.0)) {
        // Before the program may ask for it.
        let _ = pty::copy_window_size(fds::standard(number), master.as_fd());
    }
    if let (Some((_, slave)), Some(owner)) = (&terminal, context.owner) {
        // Inside it could not be given to anybody, as it belongs to nobody whom the container has.
        let _ = nix::unistd::fchown(slave, Some(nix::unistd::Uid::from_raw(owner)), None);
    }
    let (pids, pid) = pipe2(OFlag::O_CLOEXEC).map_err(failed("pipe"))?;
    let (reports, report) = pipe2(OFlag::O_CLOEXEC).map_err(failed("pipe"))?;
    let slave = terminal.as_ref().map(|(_, slave)| slave.as_fd());
    // Only until the transient process has ended: then its child is ours. Before Linux 3.4 and under qemu-user it stays and waits.
    let adopts = nix::sys::prctl::set_child_subreaper(true).is_ok();
    let transient = match fork().map_err(failed("fork"))? {
        Fork::Child => enter::run(context, options, slave.map(|slave| (slave, terminals)), !adopts, &pid, &report),
        Fork::Parent(pid) => pid,
    };
    // Namespaces that we hold would outlive the container.
    drop((pid, report, context));
    let master = terminal.map(|(master, _)| master);
    let program = hear(pids, reports, transient, adopts, &signals)?;
    Ok(match attend(program, if adopts { program } else { transient }, master, terminals, &signals, options.log)? {
        Exit::Code(code) => code,
        Exit::Signal(signal) => 128 + signal,
    })
}

/// The program's pid, once it is executed; what went wrong otherwise. A signal calls it off.
fn hear(pids: OwnedFd, reports: OwnedFd, transient: i32, adopts: bool, signals: &SignalFd) -> Result<i32, Failed> {
    let born = readable(&pids, signals);
    if born.is_err() {
        let _ = process::kill(transient, libc::SIGKILL);
    }
    let mut pid = [0; 4];
    let program = std::fs::File::from(pids).read_exact(&mut pid).is_ok().then(|| i32::from_ne_bytes(pid));
    if adopts || program.is_none() {
        let _ = process::wait(transient);
        let _ = nix::sys::prctl::set_child_subreaper(false);
    }
    let called_off = born.and_then(|()| readable(&reports, signals));
    if let (Err(_), Some(program)) = (&called_off, program) {
        let _ = process::kill(program, libc::SIGKILL);
    }
    let mut text = Vec::new();
    let read = std::fs::File::from(reports).read_to_end(&mut text);
    match (program, text.split_first()) {
        (Some(program), None) if read.is_ok() && called_off.is_ok() => return Ok(program),
        (Some(program), _) => drop(process::wait(if adopts { program } else { transient })),
        (None, _) => {}
    }
    called_off?;
    let (code, why) = text.split_first().unwrap_or((&1, b"the process that entered the container was killed"));
    Err(Failed { why: String::from_utf8_lossy(why).into_owned(), code: i32::from(*code) })
}

/// Waits until there is something to read, or the end. Err: a signal came that ends us.
fn readable(pipe: &OwnedFd, signals: &SignalFd) -> Result<(), Failed> {
    loop {
        let mut fds = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN), PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        let _ = poll(&mut fds, PollTimeout::NONE);
        let [ready, _] = fds.map(|fd| fd.any().unwrap_or(true));
        if ready {
            return Ok(());
        }
        while let Ok(Some(signal)) = signals.read_signal() {
            let signal = signal.ssi_signo as i32;
            if terminal::ends_us(signal) {
                return Err(Failed { why: format!("called off by signal {signal}"), code: 128 + signal });
            }
        }
    }
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

/// Stays until the program has ended, or who waits for it.
fn attend(
    program: i32,
    waited_for: i32,
    master: Option<OwnedFd>,
    terminals: [bool; 3],
    signals: &SignalFd,
    log: Option<&CStr>,
) -> Result<Exit, Failed> {
    let [stdin, stdout, _] = terminals;
    let input = stdin.then(|| terminal::stream(0)).transpose().map_err(failed("standard input"))?;
    let output = terminal::stream(if stdout { 1 } else { 2 }).map_err(failed("standard output"))?;
    let _raw = input.as_ref().filter(|_| master.is_some()).and_then(|input| Raw::enter(input.as_fd()));
    let mut relay = Relay::new(master, input.as_ref().map(AsFd::as_fd), output.as_fd());
    if let Some(path) = log {
        relay.log(path).map_err(failed("the terminal's log"))?;
    }
    relay.resize();
    // A program that ended already has sent its signal while the start was waited for.
    let mut ended = process::try_wait(waited_for).ok().flatten();
    loop {
        if let Some(exit) = ended {
            relay.drain(signals);
            return Ok(exit);
        }
        let end = relay.run(signals, &mut |signal| match signal {
            libc::SIGCHLD => {
                ended = process::try_wait(waited_for).ok().flatten();
                ended.is_some()
            }
            libc::SIGWINCH | libc::SIGPIPE => false,
            // It is in a session of its own, so that none of these comes to it by itself.
            signal => {
                let _ = process::kill(program, signal);
                false
            }
        });
        // Otherwise it has let go of its terminal and goes on without.
        if end == End::NearClosed {
            relay.hang_up();
        }
    }
}
