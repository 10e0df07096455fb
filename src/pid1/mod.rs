//! Life as process 1: what only the machine's init needs.
//!
//! 1. `early` mounts what nothing works without and opens the console.
//! 2. `settings` reads /etc/monopod/init.conf and the kernel command line.
//! 3. `boot` loads modules, arms the `watchdog`, mounts `cgroups` and filesystems, runs the rc command.
//! 4. `pods` starts a supervisor process for each container; `machine` is where process 1 waits from then on.
//! 5. `policy` says, purely, what a container's end means; `shell` is for a person, `shutdown` the end.
//!
//! It never returns: the kernel panics when process 1 ends.

mod boot;
mod cgroups;
mod children;
mod console;
pub mod early;
mod machine;
mod pods;
mod policy;
pub mod settings;
mod shell;
mod shutdown;
mod watchdog;

use crate::error::{Error, Result};
use crate::files;
use crate::limits;
use crate::prepare::host::now_ms;
use crate::sys::{crash, process};
use crate::text::Arena;
use boot::Stop;
use console::say;
use core::ffi::CStr;
use machine::{Event, Machine, asked};
use pods::Pod;
use policy::Action;
use settings::{Settings, WatchdogMode};
use shutdown::{Tools, go_down};
use std::ffi::CString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// A shell that ends sooner was no person's doing (there is no terminal); the next try waits a little.
const HASTE_MS: u64 = 5_000;

/// Runs as process 1. `again`: how often this process has executed itself anew after a fatal signal.
pub fn run(again: u8) -> ! {
    early::settle();
    let program = program();
    if let Err(errno) = crash::execute_anew(program, again) {
        say(format_args!("a crash of process 1 will end the machine: {}", errno.desc()));
    }
    // Ctrl-alt-del shall come to us as SIGINT. Only the machine's own process 1 may say so: reboot(2) answers EINVAL to
    // that of a pid namespace.
    let contained = process::reboot(libc::RB_DISABLE_CAD) == Err(nix::errno::Errno::EINVAL);
    let mut machine = Machine::open(contained);
    if again > 0 {
        say(format_args!("crashed and executed anew, {again} times so far"));
        // Ever longer, so that a fault which comes back at once does not burn the machine.
        let until = now_ms() + u64::from(again.min(10)).pow(2) * 100;
        while !matches!(machine.next(Some(until)), Event::Deadline) {}
    }
    let mut again = again > 0;
    loop {
        attempt(&mut machine, program, again);
        again = false;
    }
}

/// From reading the settings to the end of the machine. Returns when something is wrong with them and somebody has been at
/// the shell.
fn attempt(machine: &mut Machine, program: &'static CStr, again: bool) {
    let mut storage = vec![0u8; limits::INIT_TEXT_BYTES];
    let arena = Arena::new(&mut storage);
    let mut settings = Settings::default();
    let environment = pods::environment(&arena).unwrap_or_default();
    let planned = read(&mut settings, &arena)
        .map_err(Stop::from)
        .and_then(|()| boot::prepare(machine, &settings, &environment, again))
        .and_then(|()| plan(&settings, &environment, &arena).map_err(Stop::from));
    let tools = Tools { program, environment: &environment, stop_ms: settings.stop_ms };
    match planned {
        Ok((mut pods, supervisors)) => serve(machine, &settings, &mut pods, &supervisors, &tools),
        Err(Stop::Down(fall)) => go_down(machine, &mut [], &tools, fall),
        Err(Stop::Failed(error)) => {
            say(format_args!("{error}"));
            emergency(machine, &settings, &tools);
        }
    }
}

fn read<'t>(settings: &mut Settings<'t>, arena: &Arena<'t>) -> Result<()> {
    match files::read_at(format_args!("{}", settings::FILE)) {
        Ok(text) => settings.take_file(&text, arena)?,
        Err(nix::errno::Errno::ENOENT) => {}
        Err(errno) => return Err(Error::os("config", errno, format_args!("{}", settings::FILE))),
    }
    settings.take_command_line(&files::read(c"/proc/cmdline").unwrap_or_default(), arena)
}

type Planned<'t> = (Vec<Pod<'t>>, Vec<&'t CStr>);

/// The containers, and the environment of their supervisors.
fn plan<'t>(settings: &Settings<'t>, environment: &[&'t CStr], arena: &Arena<'t>) -> Result<Planned<'t>> {
    let lxcpath = match settings.lxcpath {
        Some(path) => path.to_owned(),
        None => CString::new(crate::config::default_lxcpath()).unwrap_or_default(),
    };
    let pods = pods::plan(settings, &lxcpath, arena)?;
    let supervisors = pods::supervisor_environment(environment, settings, arena)
        .map_err(|_| Error::new("init", format_args!("text needs more than {} bytes", limits::INIT_TEXT_BYTES)))?;
    Ok((pods, supervisors))
}

/// Keeps the containers running until the machine goes down.
fn serve(
    machine: &mut Machine,
    settings: &Settings<'_>,
    pods: &mut [Pod<'_>],
    supervisors: &[&CStr],
    tools: &Tools<'_>,
) -> ! {
    let mut shell: Option<i32> = None;
    // Until there is a person's shell to be opened; not before `haste` has passed after the last one.
    let mut haste_until = 0;
    say(format_args!("up"));
    loop {
        let now = now_ms();
        for pod in pods.iter_mut().filter(|pod| pod.start_at_ms.is_some_and(|at| at <= now)) {
            pod.start(tools.program, supervisors);
        }
        if settings.watchdog == WatchdogMode::Boot
            && pods.iter().all(|pod| pod.ready)
            && let Some(watchdog) = machine.watchdog.take()
        {
            watchdog.disarm();
            say(format_args!("watchdog: disarmed, every container is ready"));
        }
        // Who sits at the shell is not reset.
        let wells = pods.iter().map(Pod::well_until_ms);
        machine.well_until_ms = if shell.is_some() { u64::MAX } else { wells.min().unwrap_or(u64::MAX) };
        match machine.next(pods.iter().filter_map(|pod| pod.start_at_ms).min()) {
            Event::Notice(sender, notice) => {
                if let Some(pod) = pods.iter_mut().find(|pod| pod.pid == Some(sender)) {
                    pod.hear(notice);
                }
            }
            Event::Ended(pid, _) if shell == Some(pid) => {
                shell = None;
                let at = now_ms().max(haste_until);
                pods.iter_mut().filter(|pod| pod.parked).for_each(|pod| pod.start_at_ms = Some(at));
            }
            Event::Ended(pid, exit) => {
                let Some(pod) = pods.iter_mut().find(|pod| pod.pid == Some(pid)) else { continue };
                match pod.ended(exit) {
                    Action::GoDown(fall) => go_down(machine, pods, tools, fall),
                    Action::Shell if shell.is_none() => {
                        haste_until = now_ms() + HASTE_MS;
                        shell = shell::open(settings, tools.environment);
                    }
                    Action::Shell | Action::Nothing | Action::Restart => {}
                }
            }
            Event::Signal(libc::SIGHUP) => {
                let now = now_ms();
                pods.iter_mut().filter(|pod| pod.pid.is_none()).for_each(|pod| pod.start_at_ms = Some(now));
            }
            Event::Signal(signal) => {
                if let Some(fall) = asked(signal, settings.ctrlaltdel) {
                    go_down(machine, pods, tools, fall);
                }
            }
            Event::Deadline => {}
        }
    }
}

/// Nothing can be started: a shell on the console, and another try when it ends.
fn emergency(machine: &mut Machine, settings: &Settings<'_>, tools: &Tools<'_>) {
    let haste_until = now_ms() + HASTE_MS;
    let mut again_at = None;
    let shell = shell::open(settings, tools.environment);
    machine.well_until_ms = if shell.is_some() { u64::MAX } else { 0 };
    loop {
        match machine.next(again_at) {
            Event::Deadline => return,
            Event::Ended(pid, _) if shell == Some(pid) => again_at = Some(haste_until),
            Event::Signal(libc::SIGHUP) if shell.is_none() => return,
            Event::Signal(signal) => {
                if let Some(fall) = asked(signal, settings.ctrlaltdel) {
                    go_down(machine, &mut [], tools, fall);
                }
            }
            Event::Ended(..) | Event::Notice(..) => {}
        }
    }
}

/// Our own program's path: by name, so that `ps` shows a name; through /proc where that is not to be had.
fn program() -> &'static CStr {
    const BY_PROC: &CStr = c"/proc/self/exe";
    let same = |path: &CStr| match (nix::sys::stat::stat(path), nix::sys::stat::stat(BY_PROC)) {
        (Ok(named), Ok(own)) => (named.st_dev, named.st_ino) == (own.st_dev, own.st_ino),
        _ => false,
    };
    let named = std::fs::read_link(std::ffi::OsStr::from_bytes(BY_PROC.to_bytes()))
        .ok()
        .and_then(|path| CString::new(path.into_os_string().into_vec()).ok())
        .filter(|path| same(path));
    match named {
        Some(path) => Box::leak(path.into_boxed_c_str()),
        None => BY_PROC,
    }
}

/// Whether this process shall be the machine's init: it is process 1, and is called so or with nothing that is a verb. The
/// kernel passes words of its command line on as arguments.
pub fn is_wanted(program: &[u8], first_is_verb: bool) -> bool {
    (matches!(program, b"init" | b"linuxrc") || !first_is_verb) && nix::unistd::getpid().as_raw() == 1
}
