//! The containers of the machine: a supervisor process each, which process 1 starts and starts again.

use super::children::{Stdio, launch};
use super::console::say;
use super::machine::NOTICES;
use super::policy::{Action, Argument, End, Fall, Notice, Policy, Word};
use super::settings::{Settings, WatchdogMode};
use super::watchdog::silence_ms;
use crate::config::{Restart, RestartWhen, values};
use crate::error::{Error, Result};
use crate::limits;
use crate::prepare::host::now_ms;
use crate::supervise::lifecycle::{Asked, Lifecycle, Next};
use crate::supervise::outcome::Outcome;
use crate::sys::fds::{for_each_directory, open};
use crate::sys::process::{self, Exit};
use crate::text::{Arena, Full, PathText, Shown, number, shown};
use core::ffi::CStr;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use std::os::fd::AsFd;

/// How long a supervisor may take until it first says that it is alive.
const BEGINNING_MS: u64 = 10_000;

/// How supervisors that die are brought back: at once, then with pauses that double up to a minute.
const BACK_OFF: Restart = Restart { when: RestartWhen::Always, ..Restart::DEFAULT };

/// A container and its supervisor.
pub struct Pod<'t> {
    /// Its name.
    pub name: &'t CStr,
    /// What follows its ends.
    pub policy: Policy<'t>,
    /// Its supervisor.
    pub pid: Option<i32>,
    /// It said that it is ready, in this life.
    pub ready: bool,
    /// When it is started next.
    pub start_at_ms: Option<u64>,
    /// It waits for the emergency shell to end.
    pub parked: bool,
    argv: Vec<&'t CStr>,
    stop: Vec<&'t CStr>,
    stdio: Stdio,
    word: Option<Word>,
    argument: Argument,
    silent_until_ms: u64,
    silence_ms: Option<u64>,
    started_ms: u64,
    lives: Lifecycle,
}

/// Plans every container. None at all is an error: the machine would have nothing to do.
pub fn plan<'t>(settings: &Settings<'t>, lxcpath: &CStr, arena: &Arena<'t>) -> Result<Vec<Pod<'t>>> {
    let full = |_: Full| Error::new("init", format_args!("text needs more than {} bytes", limits::INIT_TEXT_BYTES));
    let mut names = settings.containers.clone();
    if names.is_empty() {
        names = found(lxcpath, arena)?;
    }
    if names.is_empty() {
        return Err(Error::new(
            "init",
            format_args!(
                "no container: there is no {}/NAME/config, and monopod.init.containers names none",
                shown(lxcpath)
            ),
        ));
    }
    let console = settings.console.or(names.first().copied());
    names.iter().map(|name| Pod::new(settings, name, console == Some(*name), arena).map_err(full)).collect()
}

/// Every directory in `lxcpath` that has a config, in the order of names.
fn found<'t>(lxcpath: &CStr, arena: &Arena<'t>) -> Result<heapless::Vec<&'t CStr, { limits::PODS }>> {
    let mut names: heapless::Vec<&'t CStr, { limits::PODS }> = heapless::Vec::new();
    let mut problem = None;
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    if let Ok(directory) = open(lxcpath, flags, Mode::empty()) {
        let _ = for_each_directory(directory.as_fd(), &mut |name| {
            let config = PathText::join(&[lxcpath.to_bytes(), b"/", name.to_bytes(), b"/config"]);
            if !config.is_ok_and(|config| nix::unistd::access(config.c(), nix::unistd::AccessFlags::F_OK).is_ok()) {
                return;
            }
            let place = names.partition_point(|other| *other < name);
            match arena.copy(name.to_bytes()).map(|name| names.insert(place, name)) {
                Ok(Ok(())) => {}
                _ => {
                    problem =
                        Some(Error::new("init", format_args!("more than {} containers (limits::PODS)", limits::PODS)))
                }
            }
        });
    }
    match problem {
        Some(problem) => Err(problem),
        None => Ok(names),
    }
}

impl<'t> Pod<'t> {
    fn new(
        settings: &Settings<'t>,
        name: &'t CStr,
        console: bool,
        arena: &Arena<'t>,
    ) -> core::result::Result<Self, Full> {
        let policy = settings.policy_of(name);
        let mut argv = vec![c"monopod", c"start", c"-F", c"-n", name];
        let mut stop = vec![c"monopod", c"stop", c"-n", name, c"-t"];
        stop.push(arena.format(format_args!("{}", settings.stop_ms.div_ceil(1_000)))?);
        if let Some(lxcpath) = settings.lxcpath {
            argv.extend([c"-P", lxcpath]);
            stop.extend([c"-P", lxcpath]);
        }
        if let Some(level) = settings.loglevel {
            argv.extend([c"-l", arena.copy(values::level_name(level).as_bytes())?]);
        }
        if console {
            argv.extend([c"-s", c"monopod.console=stdio"]);
        }
        if policy.reboot != Action::Restart {
            // Its reboot is the machine's business.
            argv.extend([c"-s", c"monopod.restart.when=never"]);
        }
        argv.extend(settings.defines.iter().flat_map(|define| [c"-s", *define]));
        Ok(Pod {
            name,
            policy,
            pid: None,
            ready: false,
            start_at_ms: Some(0),
            parked: false,
            argv,
            stop,
            stdio: if console { Stdio::Console } else { Stdio::Output },
            word: None,
            argument: Argument::default(),
            silent_until_ms: u64::MAX,
            silence_ms: (settings.watchdog != WatchdogMode::Off).then(|| silence_ms(settings)),
            started_ms: 0,
            lives: Lifecycle::new(BACK_OFF),
        })
    }

    /// Starts the supervisor, or finds the one that an earlier program of process 1 started.
    pub fn start(&mut self, program: &CStr, environment: &[&CStr]) {
        (self.start_at_ms, self.parked, self.word) = (None, false, None);
        self.started_ms = now_ms();
        self.silent_until_ms = match self.silence_ms {
            Some(silence) => self.started_ms + silence.max(BEGINNING_MS),
            None => u64::MAX,
        };
        let name = shown(self.name);
        if let Some(pid) = self.orphan() {
            say(format_args!("{name}: found (pid {pid})"));
            self.pid = Some(pid);
            self.ready = true;
            return;
        }
        match launch(program, &self.argv, environment, self.stdio) {
            Ok(pid) => {
                say(format_args!("{name}: started (pid {pid})"));
                self.pid = Some(pid);
            }
            Err(errno) => {
                say(format_args!("{name}: cannot be started: {}", errno.desc()));
                self.later(Outcome::Exit(1));
            }
        }
    }

    /// Asks it to stop, through a process that waits for it.
    pub fn stop(&self, program: &CStr, environment: &[&CStr]) {
        if let Err(errno) = launch(program, &self.stop, environment, Stdio::Output) {
            say(format_args!("{}: cannot be asked to stop: {}", shown(self.name), errno.desc()));
        }
    }

    /// Its supervisor says something.
    pub fn hear(&mut self, notice: Notice) {
        if notice.ready && !self.ready {
            self.ready = true;
            say(format_args!("{}: ready", shown(self.name)));
        }
        if let Some(silence) = self.silence_ms.filter(|_| notice.alive || notice.ready) {
            self.silent_until_ms = now_ms() + silence;
        }
        if notice.end.is_some() {
            (self.word, self.argument) = (notice.end, notice.argument);
        }
    }

    /// Its supervisor has ended. What follows for the machine; a restart is seen to.
    pub fn ended(&mut self, exit: Exit) -> Action<'t> {
        (self.pid, self.ready) = (None, false);
        let end = End::of(self.word.take(), exit);
        let action = match (end, self.argument.text()) {
            // The machine ends with it, so nobody will free it.
            (End::HostReboot, Some(text)) => {
                Action::GoDown(Fall::Reboot(Some(Box::leak(text.to_owned().into_boxed_c_str()))))
            }
            _ => self.policy.after(end),
        };
        say(format_args!("{}: {end}: {action}", shown(self.name)));
        match action {
            Action::Restart => self.later(match exit {
                Exit::Code(code) => Outcome::Exit(code),
                Exit::Signal(signal) => Outcome::Signal(signal),
            }),
            Action::Shell => self.parked = true,
            Action::Nothing | Action::GoDown(_) => {}
        }
        action
    }

    fn later(&mut self, outcome: Outcome) {
        let now = now_ms();
        let uptime = now.saturating_sub(self.started_ms);
        if let Next::Restart { after_ms } = self.lives.ended(outcome, Asked::Nothing, None, Some(uptime), now) {
            self.start_at_ms = Some(now + after_ms);
        }
    }

    /// Until when it is known to be well. One that waits for a restart or was stopped is; one that is parked is not.
    pub fn well_until_ms(&self) -> u64 {
        match (self.pid, self.parked) {
            (Some(_), _) => self.silent_until_ms,
            (None, true) => 0,
            (None, false) => u64::MAX,
        }
    }

    /// A supervisor of this name that is our child: process 1 may have executed itself anew.
    fn orphan(&self) -> Option<i32> {
        let path = PathText::join(&[b"/run/monopod/", self.name.to_bytes(), b"/lock"]).ok()?;
        let mut text = [0u8; 128];
        let file = open(path.c(), OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK, Mode::empty()).ok()?;
        let length = nix::unistd::read(&file, &mut text).ok()?;
        // `supervisor PID`
        let word = crate::config::lex::words(text.get(..length)?).nth(1)?;
        number(word).and_then(|pid| i32::try_from(pid).ok()).filter(|pid| process::is_child(*pid))
    }
}

/// The environment of programs that process 1 starts: what the kernel gave it, with a PATH.
pub fn environment<'t>(arena: &Arena<'t>) -> core::result::Result<Vec<&'t CStr>, Full> {
    use std::os::unix::ffi::OsStrExt;
    let mut words = Vec::new();
    for (name, value) in std::env::vars_os() {
        words.push(arena.join(&[name.as_bytes(), b"=", value.as_bytes()])?);
    }
    let defaults = [c"PATH=/sbin:/bin:/usr/sbin:/usr/bin:/system/bin", c"HOME=/", c"TERM=linux"];
    for default in defaults {
        let name = default.to_bytes().split(|byte| *byte == b'=').next().unwrap_or_default();
        if !words.iter().any(|word| word.to_bytes().strip_prefix(name).is_some_and(|rest| rest.starts_with(b"="))) {
            words.push(default);
        }
    }
    Ok(words)
}

/// The same for a supervisor: where to send notices, and how often.
pub fn supervisor_environment<'t>(
    base: &[&'t CStr],
    settings: &Settings<'_>,
    arena: &Arena<'t>,
) -> core::result::Result<Vec<&'t CStr>, Full> {
    let mut words = base.to_vec();
    words.push(arena.format(format_args!("NOTIFY_SOCKET=@{}", Shown(NOTICES)))?);
    if settings.watchdog != WatchdogMode::Off {
        // Twice as often as a silence may last: sd_watchdog_enabled(3) halves it once more.
        words.push(arena.format(format_args!("WATCHDOG_USEC={}", silence_ms(settings) * 1_000))?);
    }
    Ok(words)
}
