//! `start`: from a config on disk to a running init, a supervised life, and a clean end.

use crate::android;
use crate::cgroup::monitor::Monitor;
use crate::cgroup::{self, find};
use crate::config::own::Exhausted;
use crate::config::{At, Config, ConsolePath, DEFAULT, LogLevel, Sources};
use crate::ephemeral;
use crate::error::{Error, Result};
use crate::host_reboot;
use crate::limits;
use crate::logging;
use crate::logging::log;
use crate::lsm;
use crate::prepare::console::ConsoleSide;
use crate::prepare::daemon::{self, Caller, Side};
use crate::prepare::host::Host;
use crate::prepare::lock::{self, Left, Taken};
use crate::prepare::{inherited, monitord, notify, reboot_probe};
use crate::rootfs;
use crate::spawn::{self, Blueprint, Inside, Life, namespaces};
use crate::supervise;
use crate::supervise::lifecycle::{Asked, Next, last_word};
use crate::supervise::outcome::{Outcome, Told};
use crate::sys::fds::{self, open};
use crate::sys::{memfd, pty};
use crate::teardown;
use crate::text::{Arena, Line, Shown, shown};
use core::ffi::CStr;
use core::fmt::Write;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

mod words;

use words::{caller_environment, init_environment, text};
pub use words::{init_command, init_words};

/// Exit code of a failure of ours: bad config, refused start.
pub const FAILED: i32 = 255;
/// Exit code when the restart budget is spent.
pub const GAVE_UP: i32 = 254;

/// A config that asks for what a build lacks is refused.
const ISOLATION: bool = cfg!(feature = "isolation");
/// A user's supervisor may have to leave its group, too.
const MONITOR: bool = cfg!(any(feature = "isolation", feature = "idmap"));
/// What a caller is told who waits until the container is ready.
const EARLY: core::fmt::Arguments<'static> = format_args!("the container ended before it was ready");

/// What the command line asks for.
pub struct Options<'a> {
    /// `-n`
    pub name: &'a CStr,
    /// `-P`
    pub lxcpath: &'a CStr,
    /// `-f`
    pub rcfile: Option<&'a CStr>,
    /// `-s KEY=VALUE`, in order.
    pub defines: &'a [&'a [u8]],
    /// What stands behind `--`: init's command line instead of the config's.
    pub command: &'a [&'a CStr],
    /// What is init, whatever the command line names.
    pub inside: Option<Inside>,
    /// init gets our own standard streams, where none is a terminal.
    pub own_streams: bool,
    /// `-d`
    pub daemon: bool,
    /// `-p`
    pub pidfile: Option<&'a CStr>,
    /// `-c`
    pub console: Option<&'a CStr>,
    /// `-L`
    pub console_log: Option<&'a CStr>,
    /// `-C`
    pub close_fds: bool,
    /// `--ready-fd`
    pub ready_fd: Option<i32>,
    /// `-o`
    pub logfile: Option<&'a CStr>,
    /// `-l`
    pub loglevel: Option<LogLevel>,
    /// `-q`
    pub quiet: bool,
    /// Under which name we were called.
    pub program: &'a CStr,
}

/// What init is, apart from its environment.
struct Program<'t> {
    argv: &'t [&'t CStr],
    chooses_init: bool,
    inside: Option<Inside>,
    own_streams: bool,
    sockets: i32,
}

/// Runs the verb; its exit code.
pub fn run(options: Options<'_>) -> i32 {
    if options.quiet {
        logging::be_quiet();
    }
    inherited::open_standard();
    let ready = options.ready_fd.map(inherited::keep).transpose();
    let sockets = if options.inside.is_none() { inherited::sockets() } else { 0 };
    inherited::hear_of_children();
    notify::open();
    let result = ready.and_then(|ready| {
        inherited::settle(options.close_fds, ready.as_ref(), sockets)?;
        read_and_run(&options, ready, sockets)
    });
    result.unwrap_or_else(|error| {
        logging::fatal(format_args!("{error}"));
        tell_failed(&error);
        FAILED
    })
}

fn tell_failed(error: &Error) {
    notify::tell(format_args!("X_MONOPOD_END=failed\nSTATUS={error}"));
}

fn read_and_run(options: &Options<'_>, ready: Option<OwnedFd>, sockets: i32) -> Result<i32> {
    // Texts and config live as long as the process: both are leaked on purpose, and nothing of them is ever freed.
    let arena = Arena::new(vec![0u8; limits::TEXT_BYTES].leak());
    // Hooks are told these paths, and a daemon works in /: all are made absolute.
    let absolute = |path| absolute(path, &arena);
    let rcfile = options.rcfile.map(absolute).transpose()?;
    let lxcpath = absolute(options.lxcpath)?;
    let sources = Sources { name: options.name, lxcpath, rcfile, defines: options.defines };
    let mut config = crate::config::load(&arena, &sources)?;
    rootfs::label::resolve(&mut config, &arena)?;
    #[cfg(feature = "net")]
    text(crate::net::settle(&mut config, &arena, crate::sys::process::seed))?;
    // Hooks are told of it.
    config.log.level = options.loglevel.or(config.log.level);
    if let Some(path) = options.console {
        config.console.path = if path == c"none" { ConsolePath::None } else { ConsolePath::Path(absolute(path)?) };
    }
    if let Some(path) = options.console_log {
        config.console.logfile = Some(At { value: absolute(path)?, at: DEFAULT });
    }
    if options.own_streams && config.console.path == ConsolePath::Auto {
        // A pipe or a file stays what it is; a terminal of the host's is none of the container's.
        let terminals = [0, 1, 2].map(|number| pty::is_terminal(fds::standard(number)));
        config.console.path = match terminals {
            [false, false, false] => ConsolePath::None,
            [true, ..] => ConsolePath::Auto,
            _ => ConsolePath::Stdio,
        };
    }
    let config: &'static Config<'static> = Box::leak(config);
    let argv: &[&CStr] = init_command(config, options.command, &arena)?.leak();
    let chooses_init = android::init::is_ours(config, options.command);
    let program = Program { argv, chooses_init, inside: options.inside, own_streams: options.own_streams, sockets };
    refuse_not_built(config)?;
    let pidfile = options.pidfile.map(absolute).transpose()?;
    open_log(config, options)?;
    if !options.daemon {
        return container(config, pidfile, program, &arena, Caller::none(ready));
    }
    match daemon::daemonize(ready)? {
        Side::Caller(code) => Ok(code),
        Side::Supervisor(caller) => container(config, pidfile, program, &arena, caller),
    }
}

/// A path as it will still be right when the working directory has changed.
fn absolute<'t>(path: &CStr, arena: &Arena<'t>) -> Result<&'t CStr> {
    let bytes = path.to_bytes();
    if bytes.starts_with(b"/") || path == c"none" {
        return text(arena.copy(bytes));
    }
    let here = std::env::current_dir()
        .map_err(|_| Error::new("start", format_args!("{}: the working directory is gone", shown(path))))?;
    text(arena.join(&[here.as_os_str().as_bytes(), b"/", bytes]))
}

/// All or nothing: what is asked for and cannot be given is refused by name and line.
pub fn refuse_not_built(config: &Config<'_>) -> Result<()> {
    match config.not_built.first() {
        None => Ok(()),
        Some(missing) => Err(Error::new("config", format_args!("{}: {missing}", config.place(missing.at)))),
    }
}

/// Everything that needs the name's lock.
fn container<'t>(
    config: &'t Config<'t>,
    pidfile: Option<&'t CStr>,
    program: Program<'t>,
    arena: &Arena<'t>,
    mut caller: Caller,
) -> Result<i32> {
    let result = prepare_and_run(config, pidfile, program, arena, &mut caller);
    match &result {
        Err(error) if caller.failed(FAILED, Some(error)) => {
            // The caller has shown it; this is for the log.
            logging::fatal(format_args!("{error}"));
            tell_failed(error);
            Ok(FAILED)
        }
        Ok(code) => {
            match caller.awaits_ready() {
                // Who waits for a ready container must not take a halt for one.
                true => caller.failed(if *code == 0 { FAILED } else { *code }, Some(&Error::new("ready", EARLY))),
                false => caller.failed(*code, None),
            };
            result
        }
        _ => result,
    }
}

/// What the lives of a container have in common.
struct Prepared<'t> {
    blueprint: Blueprint<'t>,
    side: ConsoleSide<'t>,
    host: Box<Host<'t>>,
    monitor: Option<Monitor<'t>>,
    pidfile: Option<PidFile<'t>>,
}

/// Makes it. None: the container runs already.
#[inline(never)] // its frame would live as long as the container
fn prepare<'t>(
    config: &'t Config<'t>,
    pidfile: Option<&'t CStr>,
    program: Program<'t>,
    arena: &Arena<'t>,
    waits: bool,
) -> Result<Option<Box<Prepared<'t>>>> {
    if config.isolation.monitor_unshare == Some(true) {
        unshare_mounts()?;
    }
    let (lock, dead, left) = match lock::take(config.name, arena)? {
        Taken::Ours { lock, dead, left } => (lock, dead, left),
        Taken::Busy => return Ok(None),
    };
    let state = lock.directory();
    if dead.is_some() {
        android::boot_arguments::remove(state);
    }
    let source = rootfs::source(config, state)?;
    if ISOLATION {
        ephemeral::check(config, &source)?;
    }
    if rootfs::image::BUILT {
        rootfs::overlay::hold(config, &source)?;
    }
    let namespaces = namespaces::plan(config)?;
    #[cfg(feature = "idmap")]
    {
        crate::idmap::check(config)?;
        crate::idmap::warn(config, &source);
    }
    let labels = lsm::plan(config)?;
    #[cfg(feature = "seccomp")]
    let policy = crate::seccomp::prepare(config)?;
    #[cfg(not(feature = "seccomp"))]
    let policy = Vec::new();
    let Program { argv, chooses_init, inside, own_streams, sockets } = program;
    let mut environment =
        if chooses_init { android::init::environment(config) } else { init_environment(config, arena)? };
    if sockets > 0 && !chooses_init {
        environment.extend([c"LISTEN_PID=1", text(arena.format(format_args!("LISTEN_FDS={sockets}")))?]);
    }
    let caller_environment = caller_environment(arena)?;
    let hierarchies: &'t find::Hierarchies<'t> = Box::leak(cgroup::host::hierarchies_for(config, arena)?);
    let environment_of_hooks = caller_environment.leak();
    let monitor_fifo = text(monitord::fifo(config.lxcpath, arena))?;
    let Some(host) = Host::open(config, lock, hierarchies, environment_of_hooks, source.mountpoint, monitor_fifo)?
    else {
        return Ok(None);
    };
    clean_up_after_the_dead(&host, dead, left)?;
    let monitor = if MONITOR { Monitor::enter(config, hierarchies, host.lock(), arena)? } else { None };
    let pidfile = pidfile.map(write_pidfile).transpose()?;
    let boot_arguments = android::boot_arguments::write(config, state)?;
    let side = ConsoleSide::open(config, waits)?;
    // In a pid namespace that is shared a reboot would be the other container's.
    let drop_sys_boot = !namespaces.has_pid() || reboot_probe::must_drop_sys_boot();
    // A kernel before 3.17 has no such files.
    let image = match inside.map(|_| memfd::own_binary()) {
        None => None,
        Some(Ok(image)) => Some(image),
        Some(Err(Errno::ENOSYS)) => {
            log::debug!("no sealed copy of us");
            None
        }
        Some(Err(errno)) => return Err(Error::os("start", errno, format_args!("make a sealed copy of our binary"))),
    };
    let blueprint = Blueprint {
        source,
        namespaces,
        argv,
        chooses_init,
        inside,
        image,
        own_streams,
        labels,
        environment,
        boot_arguments,
        sockets,
        drop_sys_boot,
        policy,
    };
    crate::guard::warn(config);
    Ok(Some(Box::new(Prepared { blueprint, side, host, monitor, pidfile })))
}

fn prepare_and_run<'t>(
    config: &'t Config<'t>,
    pidfile: Option<&'t CStr>,
    program: Program<'t>,
    arena: &Arena<'t>,
    caller: &mut Caller,
) -> Result<i32> {
    let Some(mut prepared) = prepare(config, pidfile, program, arena, caller.waits())? else {
        return Ok(already_running(config));
    };
    prepared.host.reserve();
    prepared.side.recent.reserve();
    crate::arm();
    let Prepared { blueprint, side, host, .. } = &mut *prepared;
    let result = run_container(blueprint, side, host, caller);
    // Neither a start that failed nor a guest that does not end is one that has had its day.
    if ISOLATION && config.isolation.ephemeral == Some(true) && result.as_ref().is_ok_and(|code| *code != FAILED) {
        ephemeral::remove(host);
    }
    prepared.end();
    result
}

impl Prepared<'_> {
    /// Takes down what no life has: in this order, the lock last.
    fn end(self: Box<Self>) {
        let Prepared { blueprint, side, host, monitor, pidfile } = *self;
        drop(pidfile);
        drop(side);
        drop(blueprint);
        drop(monitor);
        host.leave();
    }
}

/// `lxc.monitor.unshare`: what hooks of the host mount is seen by us and the container alone, and ends with us.
fn unshare_mounts() -> Result<()> {
    let refuse = |errno| Error::os("start", errno, format_args!("lxc.monitor.unshare: a mount namespace of our own"));
    unshare(CloneFlags::CLONE_NEWNS).map_err(refuse)?;
    rootfs::pivot::make_slaves(c"/").map_err(refuse)
}

/// Life after life.
fn run_container<'t>(
    blueprint: &Blueprint<'t>,
    side: &mut ConsoleSide<'t>,
    host: &mut Host<'t>,
    caller: &mut Caller,
) -> Result<i32> {
    let mut lives = 0u32;
    loop {
        let (outcome, next) = one_life(blueprint, side, host, caller, &mut lives);
        let next = match next {
            Ok(next) => next,
            Err(error) => match teardown::after_failed_start(host, lives) {
                Next::Leave { code: FAILED } => return Err(error),
                next => {
                    log::error!("{error}");
                    next
                }
            },
        };
        match (host.ready_error.take(), next) {
            (Some(error), Next::Leave { code: FAILED }) => return Err(error),
            (Some(error), _) => log::error!("{error}"),
            (None, _) => {}
        }
        let after_ms = match next {
            Next::Leave { code } => return leave(host, outcome, code),
            Next::HostReboot { with_argument } => return reboot_host(host, with_argument, Outcome::Reboot.code()),
            Next::GiveUp => {
                let policy = host.config.restart_policy();
                log::error!("restart: given up after {} restarts in {} ms", policy.budget(), policy.window_ms);
                return match host.config.own.exhausted {
                    Exhausted::Stop => leave(host, outcome, GAVE_UP),
                    Exhausted::HostReboot => reboot_host(host, false, GAVE_UP),
                    Exhausted::HostRebootArg => reboot_host(host, true, GAVE_UP),
                };
            }
            Next::Restart { after_ms } => after_ms,
        };
        if let Some(outcome) = outcome {
            let told = Told(outcome, host.reboot_argument.bytes());
            log::info!("restart: init {told}, starting again in {after_ms} ms");
            host.set_next(outcome, (after_ms > 0).then(|| crate::prepare::host::now_ms() + after_ms));
        }
        if after_ms > 0 && !supervise::idle(host, after_ms) || host.asked == Asked::Stop {
            host.asked = Asked::Stop;
            return leave(host, outcome, 0);
        }
        if let Some(outcome) = outcome {
            host.set_next(outcome, None);
        }
        host.asked = Asked::Nothing;
    }
}

/// From the first pre-start hook to the last post-stop one: how init ended, if there was one, and what follows.
#[inline(never)] // the loop's frame below it is small
fn one_life<'t>(
    blueprint: &Blueprint<'t>,
    side: &mut ConsoleSide<'t>,
    host: &mut Host<'t>,
    caller: &mut Caller,
    lives: &mut u32,
) -> (Option<Outcome>, Result<Next>) {
    let mut life = Life::new(host.hierarchies, host.config.groups, *lives > 0);
    let result = spawn::spawn(&mut life, blueprint, side, host).map(|()| {
        *lives = lives.saturating_add(1);
        supervise::run(&mut life, side, host, caller, *lives == 1)
    });
    (result.as_ref().ok().copied(), teardown::teardown(&mut life, result, side, host))
}

/// The last word to a service manager, and our exit code.
fn leave(host: &Host<'_>, outcome: Option<Outcome>, code: i32) -> Result<i32> {
    tell_end(last_word(host.asked, outcome, code), host.reboot_argument.bytes());
    Ok(code)
}

/// The machine reboots.
fn reboot_host(host: &mut Host<'_>, with_argument: bool, code: i32) -> Result<i32> {
    let argument = host.reboot_argument.clone();
    let argument = if with_argument { argument.bytes() } else { &[] };
    host_reboot::run(host, argument)?;
    tell_end("host-reboot", argument);
    Ok(code)
}

fn tell_end(word: &str, argument: &[u8]) {
    let argument = Shown(argument);
    notify::tell(format_args!("X_MONOPOD_END={word}\nX_MONOPOD_ARGUMENT={argument}"));
}

#[inline(never)] // its frame would live as long as the container
fn open_log(config: &Config<'_>, options: &Options<'_>) -> Result<()> {
    let file = options.logfile.or(config.log.file);
    let settings = logging::Settings {
        program: options.program,
        name: config.name,
        level: config.log.level,
        quiet: options.quiet,
        file,
        syslog: config.log.syslog.map(|facility| facility.value),
        kmsg: config.log.kmsg,
        logd: config.own.logd,
    };
    if config.own.trace {
        logging::trace::begin(config.name);
    }
    logging::open_sinks(&settings)
        .map_err(|errno| Error::os("log", errno, format_args!("open {}", shown(file.unwrap_or(c"?")))))
}

/// As lxc-start: a container that runs already is no failure of this start.
fn already_running(config: &Config<'_>) -> i32 {
    logging::complain(format_args!("{} is already running", shown(config.name)));
    0
}

/// A supervisor that was killed takes its container with it, but not its cgroups.
#[inline(never)] // its frame would live as long as the container
fn clean_up_after_the_dead(host: &Host<'_>, dead: Option<i32>, left: Vec<Left>) -> Result<()> {
    let removed = cgroup::remove_stale(host.hierarchies, &host.config.groups, &left)?;
    match (dead, removed) {
        (Some(pid), _) => log::warn!("cleaned up after supervisor {pid}, which was killed: {removed} cgroups removed"),
        (None, 1..) => log::warn!("cleaned up {removed} cgroups that an earlier container left behind"),
        (None, 0) => {}
    }
    Ok(())
}

/// A pid file, removed at the end.
struct PidFile<'a>(&'a CStr);

#[inline(never)] // its frame would live as long as the container
fn write_pidfile(path: &CStr) -> Result<PidFile<'_>> {
    let refuse = |errno| Error::os("pidfile", errno, format_args!("{}", shown(path)));
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let file = open(path, flags, Mode::from_bits_truncate(0o600)).map_err(refuse)?;
    let mut line = Line::<16>::new();
    let _ = write!(line, "{}", nix::unistd::getpid());
    nix::unistd::write(&file, line.bytes()).map_err(refuse)?;
    Ok(PidFile(path))
}

impl Drop for PidFile<'_> {
    fn drop(&mut self) {
        let _ = unlinkat(nix::fcntl::AT_FDCWD, self.0, UnlinkatFlags::NoRemoveDir);
    }
}
