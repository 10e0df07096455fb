//! One container's life under one subject: begun, watched, ended; every wait has a deadline.

use crate::place::Place;
use crate::stamps::{ms, now, stamps};
use crate::subject::Subject;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Rest before each start, so that the kernel's grace periods have ended, as on a device that starts one container at
/// boot. Back to back, every tool that moves a pid between cgroups looks three times better than it is.
pub const COOL: Duration = Duration::from_millis(120);
/// After this a subject counts as hung: a thousand times the slowest start.
const HUNG: Duration = Duration::from_secs(20);

/// What the container's init does (init.c).
#[derive(Clone, Copy)]
pub enum Mode {
    /// Ends at once.
    Exit,
    /// Waits for SIGKILL.
    Hold,
    /// Reboots once, then waits for SIGKILL.
    Restart,
    /// Writes so many bytes to its console and ends.
    Spew(u64),
}

impl Mode {
    /// Init's arguments.
    pub fn words(self) -> Vec<String> {
        match self {
            Mode::Exit => vec!["exit".to_owned()],
            Mode::Hold => vec!["hold".to_owned()],
            Mode::Restart => vec!["restart".to_owned()],
            Mode::Spew(bytes) => vec!["spew".to_owned(), bytes.to_string()],
        }
    }
}

/// A started subject.
pub struct Life {
    child: Child,
    signals: SignalFd,
    /// When the driver began to start it, in ns.
    pub started: u64,
}

/// Runs `command` with nothing on its standard streams but a file for its complaints. SIGCHLD is blocked behind it, so
/// that the wait for its end can have a deadline; the command itself starts with it open.
fn spawn(place: &Place, command: &mut Command, stdout: Stdio) -> Result<Life, String> {
    let mask: SigSet = [Signal::SIGCHLD].into_iter().collect();
    let errors = File::create(place.file("errors")).map_err(|e| format!("errors file: {e}"))?;
    let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).map_err(|e| e.desc())?;
    // cargo's LD_LIBRARY_PATH would send each peer's loader on a search of its folders.
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    let _ = mask.thread_unblock();
    let started = now();
    let child = command.stdin(Stdio::null()).stdout(stdout).stderr(errors).spawn();
    let _ = mask.thread_block();
    let child = child.map_err(|e| format!("{}: {e}", command.get_program().to_string_lossy()))?;
    Ok(Life { child, signals, started })
}

/// Runs another command for a subject, in its view, to its end: its status, when it began and when it was gone, in ns.
pub fn run(place: &Place, subject: &Subject, command: &mut Command) -> Result<(ExitStatus, u64, u64), String> {
    place.show(subject.view)?;
    spawn(place, command, Stdio::null()).and_then(|mut life| {
        let (status, gone) = life.gone()?;
        Ok((status, life.started, gone))
    })
}

/// Starts the subject's container under a name, after `rest`. All that the driver has to do itself it does before the rest.
pub fn begin(
    place: &Place,
    subject: &Subject,
    name: &str,
    mode: Mode,
    stdout: Stdio,
    rest: Duration,
) -> Result<Life, String> {
    place.show(subject.view)?;
    fs::write(place.rootfs().join("stamps"), b"").map_err(|e| format!("stamps: {e}"))?;
    let mut command = subject.start(place, name, mode);
    std::thread::sleep(rest);
    spawn(place, &mut command, stdout)
}

/// Starts the subject's one container on a rested machine.
pub fn begin_cold(place: &Place, subject: &Subject, mode: Mode) -> Result<Life, String> {
    begin(place, subject, subject.name(), mode, Stdio::null(), COOL)
}

impl Life {
    /// The supervisor's pid.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap_or(0)
    }

    /// The supervisor's children on the host; the container's init is one.
    pub fn children(&self) -> Vec<i32> {
        children_of(self.pid())
    }

    /// Init's pid on the host: the child in another pid namespace.
    pub fn init(&self) -> Result<i32, String> {
        let space = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        let ours = space(self.pid());
        self.children().into_iter().find(|pid| space(*pid) != ours).ok_or("no init under the supervisor".to_owned())
    }

    /// From the start to init's first instruction, in ms; not a number if init did not begin.
    pub fn start(&self, place: &Place) -> f64 {
        stamps(place).first.first().map_or(f64::NAN, |first| ms(self.started, *first))
    }

    /// Waits until init has begun its `count`th life.
    pub fn lives(&mut self, place: &Place, count: usize) -> Result<(), String> {
        let begun = Instant::now();
        while stamps(place).first.len() < count {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(complaint(place, &format!("ended early, {status}")));
            }
            if begun.elapsed() > HUNG {
                self.give_up();
                return Err(complaint(place, "init did not begin"));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Kills init with SIGKILL.
    pub fn kill_init(&self) -> Result<(), String> {
        kill(Pid::from_raw(self.init()?), Signal::SIGKILL).map_err(|e| format!("kill init: {}", e.desc()))
    }

    /// Waits for the supervisor's end: its status, and when the driver saw it, in ns.
    pub fn gone(&mut self) -> Result<(ExitStatus, u64), String> {
        let begun = Instant::now();
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Ok((status, now()));
            }
            if begun.elapsed() > HUNG {
                self.give_up();
                return Err("hung".to_owned());
            }
            let mut fds = [PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
            let _ = poll(&mut fds, PollTimeout::from(1000_u16));
            while let Ok(Some(_)) = self.signals.read_signal() {}
        }
    }

    /// Ends what we started, init first, and reaps it.
    pub fn give_up(&mut self) {
        let _ = self.kill_init();
        std::thread::sleep(Duration::from_millis(50));
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The children of all threads of a process.
pub fn children_of(pid: i32) -> Vec<i32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = threads.map(|thread| fs::read_to_string(thread.path().join("children")).unwrap_or_default());
    lists.flat_map(|list| list.split_whitespace().filter_map(|word| word.parse().ok()).collect::<Vec<_>>()).collect()
}

/// What went wrong, with the subject's own last word on it.
pub fn complaint(place: &Place, what: &str) -> String {
    let text = fs::read_to_string(place.file("errors")).unwrap_or_default();
    let last = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no message");
    format!("{what}: {last}")
}
