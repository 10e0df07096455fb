//! `monopod.stop.command`: a command that the supervisor has run inside the container, as `attach` would.
//!
//! A helper process becomes like init, step by step: its cgroups, its namespaces, no more capabilities than it may have. It
//! forks once more, because the pid namespace that it entered is its children's, and waits for that one. Neither allocates.

use crate::cgroup::find::{Hierarchies, path_in};
use crate::cgroup::{limit, place};
use crate::config::Config;
use crate::hooks::{self, Output};
use crate::limits;
use crate::lsm;
use crate::prepare::host::{Host, Source};
use crate::spawn::namespaces;
use crate::sys::clone::{Fork, fork};
use crate::sys::fds::{self, open};
use crate::sys::process::{self, Exit, exit_now};
use crate::sys::{caps, signals};
use crate::text::{Line, PathText};
use core::convert::Infallible;
use core::ffi::CStr;
use core::fmt::Write;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::epoll::EpollFlags;
use nix::sys::stat::{Mode, fstat, umask};
use nix::unistd::{Pid, chdir, geteuid, getpid, getppid, pipe2, setpgid, setsid};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// After the mount namespace no file of the host can be opened; after the user namespace none of the host's can be entered, while
/// who is not root needs it first.
const NAMESPACES: [(&str, CloneFlags); 8] = [
    ("ns/pid", CloneFlags::CLONE_NEWPID),
    ("ns/uts", CloneFlags::CLONE_NEWUTS),
    ("ns/ipc", CloneFlags::CLONE_NEWIPC),
    ("ns/net", CloneFlags::CLONE_NEWNET),
    ("ns/cgroup", CloneFlags::CLONE_NEWCGROUP),
    ("ns/time", CloneFlags::from_bits_retain(namespaces::TIME as i32)),
    ("ns/mnt", CloneFlags::CLONE_NEWNS),
    (USERS, CloneFlags::CLONE_NEWUSER),
];

const USERS: &str = "ns/user";

const SYS_ADMIN: u64 = 1 << 21;
/// The last step.
const RUN: &str = "run it";

/// A command that runs.
pub struct Command {
    pid: i32,
    output: OwnedFd,
    open: bool,
    lines: Output,
}

impl Command {
    /// Starts it in the container whose init is `init`, a child of ours that was not reaped yet.
    #[inline(never)]
    pub fn start(host: &Host<'_>, init: i32, command: &CStr) -> nix::Result<Command> {
        let (output, input) = pipe2(OFlag::O_CLOEXEC)?;
        nix::fcntl::fcntl(&output, nix::fcntl::FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let supervisor = getpid();
        let pid = match fork()? {
            Fork::Child => {
                let _ = process::set_parent_death_signal(libc::SIGKILL);
                if getppid() != supervisor {
                    exit_now(126);
                }
                let _ = crate::prepare::oom::restore(host.oom_before);
                let Err((step, errno)) = enter_and_run(host, init, command, input.as_fd());
                crate::logging::complain(format_args!("{step}: {}", errno.desc()));
                exit_now(if step == RUN && errno == Errno::ENOENT { 127 } else { 126 })
            }
            Fork::Parent(pid) => pid,
        };
        let _ = setpgid(Pid::from_raw(pid), Pid::from_raw(pid));
        let open = host.watch(&output, Source::StopOutput, EpollFlags::EPOLLIN).is_ok();
        Ok(Command { pid, output, open, lines: Output::named("stop", "command") })
    }

    /// Logs what it says.
    pub fn read(&mut self, host: &Host<'_>) {
        if !self.lines.read(self.output.as_fd()) {
            self.close(host);
        }
    }

    fn close(&mut self, host: &Host<'_>) {
        if core::mem::take(&mut self.open) {
            host.forget(&self.output);
        }
    }

    /// How it ended, if it has.
    pub fn ended(&mut self, host: &Host<'_>) -> Option<Exit> {
        let exit = process::try_wait(self.pid).ok().flatten()?;
        self.lines.read(self.output.as_fd());
        self.lines.finish();
        self.close(host);
        Some(exit)
    }

    /// Its time is up, or there is nothing any more that it could end. `wait`: until it is gone, which is at once unless the
    /// container is stuck.
    pub fn kill(mut self, host: &Host<'_>, wait: bool) {
        if self.ended(host).is_none() {
            let _ = process::kill(-self.pid, libc::SIGKILL);
            let _ = if wait { process::wait(self.pid).map(Some) } else { process::try_wait(self.pid) };
            self.close(host);
        }
    }
}

/// The helper's way into the container, and its end.
fn enter_and_run(
    host: &Host<'_>,
    init: i32,
    command: &CStr,
    output: BorrowedFd<'_>,
) -> Result<Infallible, (&'static str, Errno)> {
    let at = |step: &'static str| move |errno: Errno| (step, errno);
    let _ = setpgid(Pid::from_raw(0), Pid::from_raw(0));
    // Those of ours may be among 0-2, if they were closed when we started.
    let output = nix::fcntl::fcntl(output, nix::fcntl::FcntlArg::F_DUPFD_CLOEXEC(3)).map_err(at("output"))?;
    let null = open(c"/dev/null", OFlag::O_RDONLY, Mode::empty()).map_err(at("open /dev/null"))?;
    fds::dup_onto(null.as_fd(), 0).map_err(at("input"))?;
    for number in [1, 2] {
        fds::dup_number(output, number).map_err(at("output"))?;
    }
    signals::reset_ignored(u64::MAX);
    let _ = signals::unblock_all();
    let mut text = [0u8; 4096];
    let status = read(init, "status", &mut text).map_err(at("read init's status"))?;
    let field = |key: &[u8]| status.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(key));
    let bounding = field(b"CapBnd:").and_then(|mask| core::str::from_utf8(mask).ok());
    let bounding = bounding.and_then(|mask| u64::from_str_radix(mask.trim_ascii(), 16).ok());
    let bounding = bounding.ok_or(("read init's status", Errno::EINVAL))?;
    let no_new_privs = field(b"NoNewPrivs:").is_some_and(|value| value.trim_ascii() == b"1");
    // What could not be had would have kept init from being started.
    let labels = lsm::plan(host.config).unwrap_or_default();
    if let Some((module, label)) = labels.exec {
        lsm::open_exec(module)
            .and_then(|file| lsm::set_exec(&file, module, label.to_bytes()))
            .map_err(at("take init's label"))?;
    }
    join_cgroups(host.hierarchies, host.config.groups.container, init).map_err(at("join init's cgroups"))?;
    let mut namespaces: heapless::Vec<(CloneFlags, OwnedFd), { NAMESPACES.len() }> = heapless::Vec::new();
    let users = has_users(host.config);
    for (name, flag) in NAMESPACES {
        if name == USERS && !users || is_ours(init, name) {
            continue;
        }
        match open_of(init, name) {
            Ok(namespace) => drop(namespaces.push((flag, namespace))),
            // A kernel without this kind.
            Err(Errno::ENOENT) => {}
            Err(errno) => return Err(("open init's namespaces", errno)),
        }
    }
    // Under qemu-user another thread shares the working directory, with which no mount namespace can be entered.
    unshare(CloneFlags::CLONE_FS).map_err(at("a working directory of its own"))?;
    if !geteuid().is_root() {
        namespaces.rotate_right(1);
    }
    // In a user namespace it may be forbidden.
    let _ = process::set_groups(&[]);
    for (flag, namespace) in &namespaces {
        setns(namespace, *flag).map_err(at("enter init's namespaces"))?;
    }
    // Root in the container could look through /proc at what is open, and into our memory.
    core::mem::forget((namespaces, null));
    fds::close_range(3, i32::MAX).map_err(at("close descriptors"))?;
    let _ = nix::sys::prctl::set_dumpable(false);
    // It is not under the guard's filter, so it may mount nothing: a /proc of its own would be without masks.
    let mounts = if host.config.own.protects() { SYS_ADMIN } else { 0 };
    caps::keep_within(bounding & !mounts).map_err(at("drop capabilities"))?;
    if no_new_privs {
        nix::sys::prctl::set_no_new_privs().map_err(at("no_new_privs"))?;
    }
    match fork().map_err(at("fork inside the container"))? {
        Fork::Child => run(host.config, command),
        Fork::Parent(pid) => match process::wait(pid) {
            Ok(Exit::Code(code)) => exit_now(code),
            Ok(Exit::Signal(signal)) => exit_now(128 + signal),
            Err(errno) => Err(("wait", errno)),
        },
    }
}

fn has_users(config: &Config<'_>) -> bool {
    namespaces::plan(config).is_ok_and(|plan| plan.has_users())
}

/// The command: with init's environment.
fn run(config: &Config<'_>, command: &CStr) -> Result<Infallible, (&'static str, Errno)> {
    let _ = process::set_parent_death_signal(libc::SIGKILL);
    let _ = setsid();
    let _ = chdir(c"/");
    umask(Mode::from_bits_truncate(0o022));
    let _ = process::set_groups(&[]);
    if has_users(config) {
        process::set_group(0).map_err(|errno| ("setgid", errno))?;
        process::set_user(0).map_err(|errno| ("setuid", errno))?;
        // Which a change of ids clears.
        let _ = process::set_parent_death_signal(libc::SIGKILL);
    }
    let path = PathText::join(&[b"PATH=", process::PATH]).map_err(|_| ("PATH", Errno::E2BIG))?;
    let mut words: heapless::Vec<&CStr, { limits::HOOK_ENVIRONMENT }> = heapless::Vec::new();
    let configured = config.environment.iter().chain(&config.environment_runtime);
    for word in [c"container=lxc"].into_iter().chain(configured.copied()) {
        let _ = words.push(word);
    }
    if !words.iter().any(|word| word.to_bytes().starts_with(b"PATH=")) {
        let _ = words.push(path.c());
    }
    Err((RUN, hooks::exec_hook(command, &[], &[], &words)))
}

/// Where we made its groups, or, where a group with groups below it takes no process, where init is.
fn join_cgroups(hierarchies: &Hierarchies<'_>, group: &CStr, init: i32) -> nix::Result<()> {
    let mut text = [0u8; 4096];
    let table = read(init, "cgroup", &mut text).unwrap_or_default();
    for hierarchy in hierarchies {
        let file: &[u8] = if hierarchy.v2 { b"/cgroup.procs" } else { b"/tasks" };
        let mut joined =
            place::path_of(hierarchy, group.to_bytes(), file).and_then(|path| limit::write_file(path.c(), b"0"));
        if joined.is_err()
            && let Some(path) = table.split(|byte| *byte == b'\n').find_map(|line| path_in(line, hierarchy))
            && let Ok(path) = PathText::join(&[hierarchy.mountpoint.to_bytes(), path, file])
            && limit::write_file(path.c(), b"0").is_ok()
        {
            joined = Ok(());
        }
        match joined {
            // The container has no group there.
            Ok(()) | Err(Errno::ENOENT | Errno::EROFS) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn read<'b>(pid: i32, file: &str, buffer: &'b mut [u8]) -> nix::Result<&'b [u8]> {
    let file = open_of(pid, file)?;
    let length = nix::unistd::read(&file, buffer)?;
    Ok(buffer.get(..length).unwrap_or(&[]))
}

/// Whether the namespace is the one that we are in.
fn is_ours(init: i32, name: &str) -> bool {
    let of = |pid| open_of(pid, name).and_then(fstat).map(|found| (found.st_dev, found.st_ino));
    matches!((of(init), of(getpid().as_raw())), (Ok(one), Ok(other)) if one == other)
}

fn open_of(pid: i32, file: &str) -> nix::Result<OwnedFd> {
    let mut line = Line::<40>::new();
    let _ = write!(line, "/proc/{pid}/{file}");
    let path = PathText::join(&[line.bytes()]).map_err(|_| Errno::ENAMETOOLONG)?;
    open(path.c(), OFlag::O_RDONLY, Mode::empty())
}
