//! Hooks: pre-start, pre-mount, mount, autodev, start-host, start, stop, post-stop, and our own: ready and reboot.
//!
//! Each runs with a fresh environment (LXC leaks the last life's), stdin on /dev/null, its output in our log, in a process
//! group of its own, and with a deadline. On the host the supervisor keeps answering clients meanwhile; in the container the
//! child waits, and the supervisor's start deadline covers it.
//!
//! LXC runs every hook by a shell. A plain absolute command line means the same without one and is executed directly, so
//! that a host without a shell can have hooks; anything else goes to /bin/sh or /system/bin/sh.

use crate::config::{Config, Hook, HookKind};
use crate::error::{Error, Result};
use crate::limits;
use crate::logging::log;
use crate::logging::trace;
use crate::prepare::host::{Event, Host, Source, now_ms};
use crate::spawn::ends_us;
use crate::supervise::lifecycle::Asked;
use crate::sys::clone::{Fork, fork};
use crate::sys::fds::open;
use crate::sys::process::{self, Exit};
use crate::sys::{fds, signals};
use crate::text::{Arena, Line, PathText, Shown, shown};
use core::ffi::CStr;
use core::fmt::Write;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::epoll::EpollFlags;
use nix::sys::stat::Mode;
use nix::unistd::{Pid, getpid, getppid, pipe2, setpgid};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

type Environment<'a> = heapless::Vec<&'a CStr, { limits::HOOK_ENVIRONMENT }>;

/// What every hook of a container is made from.
#[derive(Clone, Copy)]
pub struct Scene<'a> {
    /// The config.
    pub config: &'a Config<'a>,
    /// The environment of the supervisor's caller.
    pub environment: &'a [&'a CStr],
    /// Signals that the caller ignored, as a mask; hooks shall not.
    pub ignored_signals: u64,
    /// See `prepare::oom`.
    pub oom_before: Option<i32>,
    /// Where the rootfs is or will be mounted.
    pub mountpoint: &'a CStr,
}

impl HookKind {
    /// LXC's name of the hook point.
    pub fn name(self) -> &'static str {
        kind_word(self).to_str().unwrap_or("")
    }
}

/// What only some hooks are told.
#[derive(Clone, Copy, Default)]
pub struct Moment<'a> {
    /// LXC_PID: init's pid, once there is one.
    pub pid: Option<i32>,
    /// LXC_TARGET: `reboot` or `stop`, once it is known.
    pub target: Option<&'static str>,
    /// `net:/proc/PID/fd/N` words for the stop hook.
    pub namespaces: &'a [&'a CStr],
    /// MONOPOD_REBOOT_ARG: what the guest said when it rebooted; empty: nothing. `monopod.host.reboot` gets it as a word.
    pub argument: &'a [u8],
    /// For a link's script: type, parent on the host, the host's end of a veth; the last two may be empty.
    pub link: Option<&'a [&'a CStr; 3]>,
}

/// Builds a hook's environment, in its own process. None: it is larger than `limits::HOOK_ENVIRONMENT` words or `arena`.
fn environment<'a>(
    scene: &Scene<'a>,
    kind: HookKind,
    moment: &Moment<'a>,
    arena: &Arena<'a>,
) -> Option<Environment<'a>> {
    let config = scene.config;
    let mut words = Environment::new();
    let mut add = |word: &'a CStr| words.push(word).ok();
    for word in scene.environment.iter().filter(|word| !word.to_bytes().starts_with(b"LXC_")) {
        add(word)?;
    }
    let text = |parts: &[&[u8]]| arena.join(parts).ok();
    let path = config.rootfs.path.map_or(c"", |path| path.value);
    let mount = config.rootfs.path.map_or(c"", |_| scene.mountpoint);
    add(text(&[b"LXC_NAME=", config.name.to_bytes()])?)?;
    add(text(&[b"LXC_ROOTFS_PATH=", path.to_bytes()])?)?;
    add(text(&[b"LXC_ROOTFS_MOUNT=", mount.to_bytes()])?)?;
    if let Some(file) = config.file() {
        add(text(&[b"LXC_CONFIG_FILE=", file.to_bytes()])?)?;
    }
    if let crate::config::ConsolePath::Path(console) = config.console.path {
        add(text(&[b"LXC_CONSOLE=", console.to_bytes()])?)?;
    }
    if let Some(logfile) = config.console.logfile {
        add(text(&[b"LXC_CONSOLE_LOGPATH=", logfile.value.to_bytes()])?)?;
    }
    let level = crate::config::values::level_name(config.log.level.unwrap_or(crate::config::LogLevel::Error));
    add(text(&[b"LXC_LOG_LEVEL=", level.as_bytes()])?)?;
    add(c"LXC_CGNS_AWARE=1")?;
    add(if config.hook_version == 1 { c"LXC_HOOK_VERSION=1" } else { c"LXC_HOOK_VERSION=0" })?;
    if config.hook_version == 1 {
        add(if moment.link.is_some() { c"LXC_HOOK_SECTION=net" } else { c"LXC_HOOK_SECTION=lxc" })?;
        add(type_word(kind))?;
        if let Some([kind, parent, peer]) = moment.link {
            add(text(&[b"LXC_NET_TYPE=", kind.to_bytes()])?)?;
            add(text(&[b"LXC_NET_PARENT=", parent.to_bytes()])?)?;
            if !peer.is_empty() {
                add(text(&[b"LXC_NET_PEER=", peer.to_bytes()])?)?;
            }
        }
        for namespace in moment.namespaces {
            let word = namespace.to_bytes();
            let colon = memchr::memchr(b':', word).unwrap_or(word.len());
            let (name, place) = word.split_at(colon);
            let mut upper = [0u8; 16];
            for (to, from) in upper.iter_mut().zip(name) {
                *to = from.to_ascii_uppercase();
            }
            let upper = upper.get(..name.len().min(16)).unwrap_or(&[]);
            add(text(&[b"LXC_", upper, b"_NS=", place.get(1..).unwrap_or(&[])])?)?;
        }
    }
    if let Some(pid) = moment.pid {
        add(arena.format(format_args!("LXC_PID={pid}")).ok()?)?;
    }
    if let Some(target) = moment.target {
        add(text(&[b"LXC_TARGET=", target.as_bytes()])?)?;
    }
    if !moment.argument.is_empty() {
        add(text(&[b"MONOPOD_REBOOT_ARG=", moment.argument])?)?;
    }
    for word in config.environment.iter().chain(&config.environment_hooks) {
        add(word)?;
    }
    Some(words)
}

/// Runs all hooks of `kind` on the host, one after the other. The first that fails ends the round.
pub fn run_on_host(host: &mut Host<'_>, kind: HookKind, moment: &Moment<'_>) -> Result<()> {
    let config = host.config;
    config.hooks(kind).try_for_each(|hook| run_one(host, hook, moment))
}

/// Runs one hook on the host.
pub fn run_one(host: &mut Host<'_>, hook: &Hook<'_>, moment: &Moment<'_>) -> Result<()> {
    let mut running = Running::begin(host, hook, moment)?;
    let ended = attend(host, &mut running);
    running.finish(host, ended)
}

/// A hook of the host that runs.
pub struct Running<'t> {
    hook: Hook<'t>,
    pid: i32,
    output: OwnedFd,
    lines: Output,
    /// When it is killed.
    pub deadline: Option<u64>,
}

impl<'t> Running<'t> {
    /// Starts it. Its output comes as `Source::Hook`, so there is never more than one.
    pub fn begin(host: &mut Host<'_>, hook: &Hook<'t>, moment: &Moment<'_>) -> Result<Self> {
        let os = |what: &'static str| move |errno: Errno| Error::os("hook", errno, format_args!("{what}"));
        let (output, input) = pipe2(OFlag::O_CLOEXEC).map_err(os("pipe"))?;
        nix::fcntl::fcntl(&output, nix::fcntl::FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(os("fcntl"))?;
        trace::step_with("hook on the host", hook.command);
        let supervisor = getpid();
        let pid = match fork().map_err(os("fork"))? {
            Fork::Child => {
                // A hook of the host dies with the supervisor; one in the container dies with its pid namespace.
                let _ = process::set_parent_death_signal(libc::SIGKILL);
                if getppid() != supervisor {
                    process::exit_now(126);
                }
                become_hook(&host.scene(), hook, moment, input.as_fd())
            }
            Fork::Parent(pid) => pid,
        };
        // Both sides set it, so that it holds whoever comes first.
        let _ = setpgid(Pid::from_raw(pid), Pid::from_raw(pid));
        drop(input);
        host.watch(&output, Source::Hook, EpollFlags::EPOLLIN).map_err(os("epoll_ctl"))?;
        let limit = host.config.timeouts.hook_ms;
        let deadline = (limit > 0).then(|| now_ms() + limit);
        Ok(Running { hook: *hook, pid, output, lines: Output::new(hook.kind), deadline })
    }

    /// Reads its output.
    pub fn read(&mut self, host: &Host<'_>) {
        if !self.lines.read(self.output.as_fd()) {
            host.forget(&self.output);
        }
    }

    /// How it has ended, if it has.
    pub fn ended(&self) -> Option<Ended> {
        process::try_wait(self.pid).ok().flatten().map(Ended::By)
    }

    /// Kills its whole group.
    pub fn kill(&self) {
        let _ = process::kill(-self.pid, libc::SIGKILL);
        let _ = process::wait(self.pid);
    }

    /// The end: what it was, as an error if it was none that a hook should have.
    pub fn finish(mut self, host: &Host<'_>, ended: Ended) -> Result<()> {
        let config = host.config;
        let (hook, lines) = (&self.hook, &mut self.lines);
        host.forget(&self.output);
        lines.read(self.output.as_fd());
        lines.finish();
        let mut why = Line::<300>::new();
        let _ = match ended {
            Ended::By(Exit::Code(0)) => return Ok(()),
            Ended::By(Exit::Code(code)) => write!(why, "exited with code {code}{}", lines.last_words()),
            Ended::By(Exit::Signal(signal)) => write!(why, "was killed by signal {signal}{}", lines.last_words()),
            Ended::TooLate => {
                let limit = config.timeouts.hook_ms;
                write!(why, "was killed: not done after {limit} ms (monopod.timeout.hook)")
            }
            Ended::Asked => why.write_str("was killed: the start was called off"),
            Ended::ChildGone => why.write_str("was killed: the container's process ended meanwhile"),
        };
        let (place, kind) = (config.place(hook.at), hook.kind.name());
        Err(Error::new("hook", format_args!("{place}: {kind} {} {why}", shown(hook.command))))
    }
}

/// Why a hook runs no more.
pub enum Ended {
    /// It ended.
    By(Exit),
    /// It was killed when its time was over.
    TooLate,
    /// It was killed because the start was called off.
    Asked,
    /// It was killed because the container's process had ended.
    ChildGone,
}

/// Waits for the hook's end; its whole group is killed if it is late, or if the start that it belongs to is called off.
fn attend(host: &mut Host<'_>, running: &mut Running<'_>) -> Ended {
    let starting =
        matches!(running.hook.kind, HookKind::PreStart | HookKind::StartHost | HookKind::NetUp | HookKind::IdMap);
    loop {
        if let Some(ended) = running.ended() {
            return ended;
        }
        let early = match host.next(running.deadline) {
            Event::Child => continue,
            Event::Ready(Source::Hook) => {
                running.read(host);
                continue;
            }
            Event::Ready(Source::Barrier) => Ended::ChildGone,
            Event::Ready(_) => continue,
            Event::Deadline => Ended::TooLate,
            Event::Signal(signal) if !ends_us(host.config, signal) => {
                host.hold_signal(signal);
                continue;
            }
            // It starts anyway, or starts again as asked.
            Event::Order(order) if !order.ends() => continue,
            Event::Order(_) | Event::Signal(_) => {
                host.asked = Asked::Stop;
                if !starting {
                    continue;
                }
                Ended::Asked
            }
        };
        running.kill();
        return early;
    }
}

/// Runs all hooks of `kind` inside the child, waiting for each. On failure the index of the hook in the config.
///
/// No allocation and no log: what goes wrong is a report, the hooks' own words go through `output` to the supervisor.
pub fn run_in_child(
    scene: &Scene<'_>,
    kind: HookKind,
    output: BorrowedFd<'_>,
) -> core::result::Result<(), (u16, HookFailure)> {
    for (index, hook) in (0u16..).zip(&scene.config.hooks).filter(|(_, hook)| hook.kind == kind) {
        trace::step_with("hook in the container", hook.command);
        let exit = match fork() {
            Ok(Fork::Child) => become_hook(scene, hook, &Moment::default(), output),
            Ok(Fork::Parent(pid)) => process::wait(pid),
            Err(errno) => Err(errno),
        };
        match exit {
            Ok(Exit::Code(0)) => {}
            Ok(Exit::Code(code)) => return Err((index, HookFailure::Code(code))),
            Ok(Exit::Signal(signal)) => return Err((index, HookFailure::Signal(signal))),
            Err(errno) => return Err((index, HookFailure::Os(errno))),
        }
    }
    Ok(())
}

/// Why a hook in the child failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookFailure {
    /// It exited.
    Code(i32),
    /// It was killed.
    Signal(i32),
    /// It could not be run.
    Os(Errno),
}

/// The forked process: sets itself up and becomes the hook. Ends with a shell's codes if it cannot: 127 not found, 126 not
/// executable.
fn become_hook(scene: &Scene<'_>, hook: &Hook<'_>, moment: &Moment<'_>, output: BorrowedFd<'_>) -> ! {
    let config = scene.config;
    let _ = setpgid(Pid::from_raw(0), Pid::from_raw(0));
    // The output's descriptor may be one of 0-2 if those were closed when we started; it must survive the first dup.
    let output = match nix::fcntl::fcntl(output, nix::fcntl::FcntlArg::F_DUPFD_CLOEXEC(3)) {
        Ok(fd) => fd,
        Err(_) => process::exit_now(126),
    };
    if let Ok(null) = open(c"/dev/null", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()) {
        let _ = fds::dup_onto(null.as_fd(), 0);
    }
    for number in [1, 2] {
        let _ = fds::dup_number(output, number);
    }
    let _ = crate::prepare::oom::restore(scene.oom_before);
    signals::reset_ignored(scene.ignored_signals);
    let _ = signals::unblock_all();
    let mut storage = [0u8; ENVIRONMENT_TEXT];
    let arena = Arena::new(&mut storage);
    let Some(words) = environment(scene, hook.kind, moment, &arena) else {
        let most = limits::HOOK_ENVIRONMENT;
        crate::logging::complain(format_args!(
            "its environment has more than {most} words or {ENVIRONMENT_TEXT} bytes"
        ));
        process::exit_now(126)
    };
    let section = if moment.link.is_some() { c"net" } else { c"lxc" };
    let usual: [&CStr; 3] = [config.name, section, kind_word(hook.kind)];
    // A word that there is not is left out, so the link's are told apart by their number only.
    let mut link: heapless::Vec<&CStr, 3> = heapless::Vec::new();
    link.extend(moment.link.into_iter().flatten().copied().filter(|word| !word.is_empty()));
    let said = arena.copy(moment.argument).unwrap_or(c"");
    let (arguments, namespaces): (&[&CStr], _) = match hook.kind {
        // A program of the host's, not a hook: it takes the guest's word for an option if it looks like one.
        HookKind::HostReboot if matches!(moment.argument.first(), None | Some(b'-')) => (&[], &[][..]),
        HookKind::IdMap => (&[], &[][..]),
        HookKind::HostReboot => (&[said], &[][..]),
        _ if config.hook_version == 0 => (&usual, if link.is_empty() { moment.namespaces } else { &link }),
        _ => (&[], &link[..]),
    };
    let errno = exec_hook(hook.command, arguments, namespaces, &words);
    process::exit_now(if errno == Errno::ENOENT { 127 } else { 126 })
}

/// Bytes for the LXC_* words of one hook: two paths and a few short ones.
const ENVIRONMENT_TEXT: usize = 16 * 1024;

/// `pre-start`, as a hook's argument.
fn kind_word(kind: HookKind) -> &'static CStr {
    let word = type_word(kind).to_bytes_with_nul();
    let name = word.get(b"LXC_HOOK_TYPE=".len()..).unwrap_or(word);
    CStr::from_bytes_with_nul(name).unwrap_or(c"")
}

/// What hooks of version 1 are told in their environment, and those of version 0 as an argument.
fn type_word(kind: HookKind) -> &'static CStr {
    match kind {
        HookKind::PreStart => c"LXC_HOOK_TYPE=pre-start",
        HookKind::PreMount => c"LXC_HOOK_TYPE=pre-mount",
        HookKind::Mount => c"LXC_HOOK_TYPE=mount",
        HookKind::Autodev => c"LXC_HOOK_TYPE=autodev",
        HookKind::StartHost => c"LXC_HOOK_TYPE=start-host",
        HookKind::Start => c"LXC_HOOK_TYPE=start",
        HookKind::Stop => c"LXC_HOOK_TYPE=stop",
        HookKind::PostStop => c"LXC_HOOK_TYPE=post-stop",
        HookKind::Clone => c"LXC_HOOK_TYPE=clone",
        HookKind::Destroy => c"LXC_HOOK_TYPE=destroy",
        HookKind::Reboot => c"LXC_HOOK_TYPE=reboot",
        HookKind::HostReboot => c"LXC_HOOK_TYPE=host-reboot",
        HookKind::IdMap => c"LXC_HOOK_TYPE=id map",
        HookKind::Ready => c"LXC_HOOK_TYPE=ready",
        HookKind::NetUp => c"LXC_HOOK_TYPE=up",
        HookKind::NetDown => c"LXC_HOOK_TYPE=down",
    }
}

/// Executes a command line of the config, by a shell if it needs one, with more words behind it. Returns only the error.
pub fn exec_hook(command: &CStr, arguments: &[&CStr], namespaces: &[&CStr], words: &[&CStr]) -> Errno {
    let mut line: heapless::Vec<u8, { limits::LINE_BYTES + 1 }> = heapless::Vec::new();
    let _ = line.extend_from_slice(command.to_bytes());
    if is_plain(command.to_bytes()) {
        for byte in line.iter_mut().filter(|byte| byte.is_ascii_whitespace()) {
            *byte = 0;
        }
        let _ = line.push(0);
        let mut argv: heapless::Vec<&CStr, 112> = heapless::Vec::new();
        for word in line.split_inclusive(|b| *b == 0) {
            if let Ok(word) = CStr::from_bytes_with_nul(word)
                && !word.is_empty()
            {
                let _ = argv.push(word);
            }
        }
        for word in arguments.iter().chain(namespaces) {
            let _ = argv.push(word);
        }
        let path = argv.first().copied().unwrap_or(c"");
        match process::exec(path, &argv, words) {
            // A script without an interpreter line: a shell would run it itself.
            Errno::ENOEXEC => {}
            errno => return errno,
        }
    }
    // The words stand beside the shell's text, not in it: a guest has chosen one of them.
    let text = match PathText::<{ limits::LINE_BYTES + 16 }>::of(&[b"exec ", command.to_bytes(), b" \"$@\""]) {
        Ok(text) => text,
        Err(_) => return Errno::E2BIG,
    };
    let mut argv: heapless::Vec<&CStr, 16> = heapless::Vec::new();
    for word in [c"sh", c"-c", text.c(), c"sh"].iter().chain(arguments).chain(namespaces) {
        let _ = argv.push(word);
    }
    match process::exec(c"/bin/sh", &argv, words) {
        Errno::ENOENT => process::exec(c"/system/bin/sh", &argv, words),
        errno => errno,
    }
}

/// An absolute command line without anything that a shell would look at.
pub fn is_plain(command: &[u8]) -> bool {
    let harmless = |b: &u8| b.is_ascii_alphanumeric() || b"_./,:@%+- \t".contains(b);
    command.first() == Some(&b'/') && command.iter().all(harmless)
}

/// A hook's output on its way to the log, line by line. Any amount is read; a line longer than the buffer is cut in pieces.
pub struct Output {
    what: (&'static str, &'static str),
    line: Line<240>,
    last: Line<240>,
}

impl Output {
    /// Nothing read yet.
    pub fn new(kind: HookKind) -> Self {
        Output::named("hook", kind.name())
    }

    /// The same for something that is no hook; its lines begin with these words.
    pub fn named(what: &'static str, name: &'static str) -> Self {
        Output { what: (what, name), line: Line::new(), last: Line::new() }
    }

    /// Reads what is there (at most 64 KiB at once). False at the end of the output.
    pub fn read(&mut self, from: BorrowedFd<'_>) -> bool {
        for _ in 0..16 {
            let mut chunk = [0u8; 4096];
            match nix::unistd::read(from, &mut chunk) {
                Ok(0) => return false,
                Ok(length) => self.take(chunk.get(..length).unwrap_or(&[])),
                Err(_) => return true,
            }
        }
        true
    }

    fn take(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            self.line.push(piece.trim_ascii_end());
            if piece.ends_with(b"\n") || self.line.truncated() {
                self.finish();
            }
        }
    }

    /// Ends the present line.
    pub fn finish(&mut self) {
        if !self.line.bytes().is_empty() {
            let (what, name) = self.what;
            log::info!("{what} {name}: {}", Shown(self.line.bytes()));
            core::mem::swap(&mut self.line, &mut self.last);
        }
        self.line.clear();
    }

    /// `: LAST LINE` for an error, or nothing.
    pub fn last_words(&self) -> Line<250> {
        let mut words = Line::new();
        if !self.last.bytes().is_empty() {
            let _ = write!(words, ": {}", Shown(self.last.bytes()));
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_plain_shell_words_are_not() {
        assert!(is_plain(b"/var/lib/lxc/android/pre-start.sh"));
        assert!(is_plain(b"/usr/bin/env FOO bar"));
        for shell in
            [&b"relative.sh"[..], b"/bin/a; b", b"/bin/a $X", b"/bin/a 'b c'", b"/bin/a > b", b"/bin/a *", b"/bin/a=b"]
        {
            assert!(!is_plain(shell));
        }
    }

    #[test]
    fn output_lines_are_cut_and_the_last_is_kept() {
        let mut output = Output::new(HookKind::Mount);
        output.take(b"one\ntwo");
        output.take(b" more\n\n");
        assert_eq!(output.last_words().text(), ": two more");
        output.take(&[b'x'; 1000]);
        output.finish();
        assert!(output.last_words().text().starts_with(": xxx"));
    }
}
