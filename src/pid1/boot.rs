//! What is done once, before the containers: modules, the watchdog, mounts, the rc command.

use super::children::{Stdio, launch};
use super::console::say;
use super::machine::{Event, Machine, asked};
use super::policy::Fall;
use super::settings::{Mount, Settings};
use super::{cgroups, early, watchdog};
use crate::config::lex;
use crate::error::{Error, Result};
use crate::files;
use crate::mountinfo;
use crate::prepare::host::now_ms;
use crate::sys::fds::open;
use crate::sys::machine::load_module;
use crate::sys::process::{self, Exit};
use crate::text::{Line, PathText, shown};
use core::ffi::CStr;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::mount::MsFlags;
use nix::sys::stat::Mode;
use nix::unistd::{AccessFlags, access, mkdir};
use std::os::fd::AsFd;

/// How long the rc command may take.
const RC_MS: u64 = 60_000;
/// How often a device that is waited for is looked for. Nothing tells of it without udev's socket or inotify on a /dev
/// that may not be the kernel's.
const LOOK_MS: u64 = 50;

/// Why there is no going on.
pub enum Stop<'t> {
    /// Something failed.
    Failed(Box<Error>),
    /// Somebody asked the machine to go down.
    Down(Fall<'t>),
}

impl From<Error> for Stop<'_> {
    fn from(error: Error) -> Self {
        Stop::Failed(Box::new(error))
    }
}

/// Does all of it. `again`: process 1 executed itself anew, the rc command has run.
pub fn prepare<'t>(
    machine: &mut Machine,
    settings: &Settings<'t>,
    environment: &[&CStr],
    again: bool,
) -> Result<(), Stop<'t>> {
    for module in &settings.modules {
        load(module)?;
    }
    // Whatever waits below has a deadline of its own; until they are over all is well.
    machine.well_until_ms = u64::MAX;
    if machine.watchdog.is_none() {
        machine.watchdog = watchdog::arm(settings)?;
    }
    mount_cgroups(settings)?;
    for mount in &settings.mounts {
        mount_one(machine, settings, mount)?;
    }
    if !again && let Some(program) = settings.rc.first() {
        run_rc(machine, settings, program, environment)?;
    }
    Ok(())
}

/// A file and its parameters.
fn load(module: &CStr) -> Result<()> {
    let failed = |errno| Error::os("module", errno, format_args!("{}", shown(module)));
    let mut words = lex::words(module.to_bytes());
    let file = words.next().unwrap_or_default();
    let mut parameters = Line::<1024>::new();
    for word in words {
        parameters.push(word);
        parameters.push(b" ");
    }
    parameters.push(b"\0");
    let path = PathText::join(&[file]).map_err(|_| failed(Errno::ENAMETOOLONG))?;
    let opened = open(path.c(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).map_err(failed)?;
    let parameters = CStr::from_bytes_until_nul(parameters.bytes()).map_err(|_| failed(Errno::E2BIG))?;
    match load_module(opened.as_fd(), parameters, !file.ends_with(b".ko")) {
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        // The file is there: it is the kernel's word for a symbol that nothing has (finit_module(2)).
        Err(Errno::ENOENT) => Err(Error::new(
            "module",
            format_args!("{}: needs another module to be loaded before it (modinfo names it)", shown(module)),
        )),
        Err(errno) => Err(failed(errno)),
    }
}

fn mount_cgroups(settings: &Settings<'_>) -> Result<()> {
    let read = |path| files::read(path).unwrap_or_default();
    let (controllers, filesystems) = (read(c"/proc/cgroups"), read(c"/proc/filesystems"));
    let command_line = read(c"/proc/cmdline");
    let kernel = cgroups::Kernel { controllers: &controllers, filesystems: &filesystems, command_line: &command_line };
    cgroups::mount(settings.cgroup, &kernel)
}

fn mount_one<'t>(machine: &mut Machine, settings: &Settings<'t>, mount: &Mount<'t>) -> Result<(), Stop<'t>> {
    let entry = &mount.entry;
    let result = match find_source(machine, settings, mount)? {
        Some(source) => mount_source(source.c(), mount),
        None => Err(Errno::ENOENT),
    };
    match result {
        Err(errno) if entry.optional => {
            say(format_args!("optional: mount {} on {}: {}", shown(entry.source), shown(entry.target), errno.desc()));
            Ok(())
        }
        Err(errno) => {
            let what = format_args!("{} on {} ({})", shown(entry.source), shown(entry.target), shown(entry.fstype));
            Err(Error::os("mount", errno, what).into())
        }
        Ok(()) => Ok(()),
    }
}

fn mount_source(source: &CStr, mount: &Mount<'_>) -> nix::Result<()> {
    let entry = &mount.entry;
    // A second try, or process 1 executed anew: it is done already.
    if mountinfo::is_mounted(entry.target) {
        return Ok(());
    }
    make_directories(entry.target);
    let flags = MsFlags::from_bits_retain(entry.options.flags as _);
    nix::mount::mount(Some(source), entry.target, Some(entry.fstype), flags, entry.options.data)?;
    if flags.contains(MsFlags::MS_BIND | MsFlags::MS_RDONLY) {
        // A bind takes its flags only when it is mounted once more (mount(2)).
        let again = flags | MsFlags::MS_REMOUNT;
        nix::mount::mount(None::<&CStr>, entry.target, None::<&CStr>, again, None::<&CStr>)?;
    }
    if entry.options.propagation != 0 {
        let propagation = MsFlags::from_bits_retain(entry.options.propagation as _);
        nix::mount::mount(None::<&CStr>, entry.target, None::<&CStr>, propagation, None::<&CStr>)?;
    }
    Ok(())
}

/// Every directory on the way that is missing.
fn make_directories(target: &CStr) {
    let bytes = target.to_bytes();
    for end in memchr::memchr_iter(b'/', bytes).skip(1).chain([bytes.len()]) {
        if let Ok(path) = PathText::<{ crate::limits::PATH_BYTES }>::of(&[bytes.get(..end).unwrap_or(bytes)]) {
            let _ = mkdir(path.c(), Mode::from_bits_truncate(0o755));
        }
    }
}

/// The path of a mount's source, once it is there. `PARTLABEL=NAME` is the partition of that name.
fn find_source<'t>(
    machine: &mut Machine,
    settings: &Settings<'t>,
    mount: &Mount<'t>,
) -> Result<Option<PathText>, Stop<'t>> {
    let source = mount.entry.source;
    let until = now_ms().saturating_add(mount.wait_ms);
    loop {
        let found = match source.to_bytes().strip_prefix(b"PARTLABEL=") {
            Some(label) => partition(label),
            None => PathText::join(&[source.to_bytes()]).ok(),
        };
        let there =
            |path: &PathText| !path.c().to_bytes().starts_with(b"/dev/") || access(path.c(), AccessFlags::F_OK).is_ok();
        if let Some(path) = found.filter(there) {
            return Ok(Some(path));
        }
        let now = now_ms();
        if now >= until {
            return Ok(None);
        }
        match machine.next(Some((now + LOOK_MS).min(until))) {
            Event::Signal(signal) => {
                if let Some(fall) = asked(signal, settings.ctrlaltdel) {
                    return Err(Stop::Down(fall));
                }
            }
            Event::Deadline => early::renew_nodes(),
            Event::Ended(..) | Event::Notice(..) => {}
        }
    }
}

fn partition(label: &[u8]) -> Option<PathText> {
    let mut found = None;
    early::for_each_device(c"/sys/dev/block", &mut |device| {
        if device.label == Some(label) {
            found = PathText::join(&[b"/dev/", device.name]).ok();
        }
    });
    found
}

fn run_rc<'t>(
    machine: &mut Machine,
    settings: &Settings<'t>,
    program: &CStr,
    environment: &[&CStr],
) -> Result<(), Stop<'t>> {
    let rc = launch(program, &settings.rc, environment, Stdio::Console)
        .map_err(|errno| Error::os("rc", errno, format_args!("{}", shown(program))))?;
    let until = now_ms() + RC_MS;
    loop {
        match machine.next(Some(until)) {
            Event::Ended(pid, exit) if pid == rc => {
                return match exit {
                    Exit::Code(0) => Ok(()),
                    Exit::Code(code) => {
                        Err(Error::new("rc", format_args!("{} ended with exit code {code}", shown(program))).into())
                    }
                    Exit::Signal(signal) => {
                        Err(Error::new("rc", format_args!("{} was killed by signal {signal}", shown(program))).into())
                    }
                };
            }
            Event::Deadline => {
                // The whole session: a shell's own children, too.
                let _ = process::kill(-rc, libc::SIGKILL);
                let what = format_args!("{} did not end within {} s", shown(program), RC_MS / 1_000);
                return Err(Error::new("rc", what).into());
            }
            Event::Signal(signal) => {
                if let Some(fall) = asked(signal, settings.ctrlaltdel) {
                    return Err(Stop::Down(fall));
                }
            }
            Event::Ended(..) | Event::Notice(..) => {}
        }
    }
}
