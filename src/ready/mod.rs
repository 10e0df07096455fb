//! When the guest is ready: what `monopod.ready` asks for has come true.
//!
//! `watcher` is a process that finds out, with `reader` as its helper for Android's properties. Here is the supervisor's
//! side: it hears of the watcher's progress and end, keeps the deadline, and has everybody told. Nothing of it exists
//! without `monopod.ready` or the preset.

use crate::config::own::ReadyFailed;
use crate::config::readiness::{Condition, conditions};
use crate::config::{Config, Hook, HookKind};
use crate::error::Error;
use crate::hooks::{self, Ended, Moment};
use crate::logging::log;
use crate::prepare::daemon::Caller;
use crate::prepare::host::{Host, Source, now_ms};
use crate::supervise::lifecycle::Asked;
use crate::sys::clone::{Fork, fork};
use crate::sys::process::{self, Exit};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::EpollFlags;
use nix::unistd::{getpid, pipe2};
use std::os::fd::{AsFd, OwnedFd};

/// Without it nothing here is ever asked for: a config that would is refused.
const BUILT: bool = cfg!(feature = "ready");

mod reader;
pub mod state_file;
pub mod wakelock;
mod watcher;

/// How ready a guest is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// There is no guest, or nobody asked for its readiness.
    Unasked,
    /// It waits for the condition of this number.
    Waits(u8),
    /// Everything has come true.
    Ready,
}

impl Readiness {
    /// What the guest waits for.
    pub fn waits_for<'c>(self, config: &'c Config<'_>) -> Option<Condition<'c>> {
        let Readiness::Waits(number) = self else { return None };
        conditions(config.own.readiness()?.to_bytes()).nth(number.into())
    }
}

/// A process that watches, and the pipe on which it counts what has come true. Its reader holds the pipe, too.
struct Watcher {
    pid: i32,
    progress: OwnedFd,
}

impl Watcher {
    #[inline(never)] // its frame would live as long as the container
    fn start(host: &Host<'_>, init: i32, text: &[u8]) -> nix::Result<Watcher> {
        let (progress, input) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        let supervisor = getpid();
        let pid = match fork()? {
            Fork::Child => watcher::run(init, text, input, supervisor),
            Fork::Parent(pid) => pid,
        };
        drop(input);
        let watcher = Watcher { pid, progress };
        match host.watch(&watcher.progress, Source::Progress, EpollFlags::EPOLLIN) {
            Ok(()) => Ok(watcher),
            Err(errno) => {
                watcher.end(host);
                Err(errno)
            }
        }
    }

    /// How many conditions have come true since the last look. None: the pipe is at its end.
    fn count(&self) -> Option<u8> {
        let mut bytes = [0u8; crate::limits::CONDITIONS];
        match nix::unistd::read(&self.progress, &mut bytes) {
            Ok(0) => None,
            Ok(count) => Some(count as u8),
            Err(_) => Some(0),
        }
    }

    /// Kills it, and waits until neither it nor its reader holds anything of the guest; but not for ever.
    fn end(self, host: &Host<'_>) {
        host.forget(&self.progress);
        let _ = process::kill(self.pid, libc::SIGKILL);
        let mut closed = [PollFd::new(self.progress.as_fd(), PollFlags::empty())];
        match poll(&mut closed, PollTimeout::from(1_000u16)) {
            Ok(1..) => drop(process::wait(self.pid)),
            // A filesystem of the guest's keeps it. The kernel ends it when that is gone.
            _ => log::warn!("ready: the watcher (process {}) cannot be killed", self.pid),
        }
    }
}

/// The supervisor's side, for one life.
pub struct Watch<'t> {
    init: i32,
    watcher: Option<Watcher>,
    hook: Option<hooks::Running<'t>>,
    deadline_ms: Option<u64>,
    doomed: bool,
    /// init is killed because it was not ready in time.
    pub failed: bool,
}

impl<'t> Watch<'t> {
    /// init runs. Without conditions that is all that whoever waits for the start needs to know.
    pub fn begin(host: &mut Host<'t>, init: i32, caller: &mut Caller) -> Self {
        let mut watch = Watch { init, watcher: None, hook: None, deadline_ms: None, doomed: false, failed: false };
        let own = &host.config.own;
        let Some(text) = own.readiness() else {
            caller.running();
            return watch;
        };
        caller.waits_for_ready = true;
        watch.deadline_ms = (own.ready_ms > 0).then(|| now_ms().saturating_add(own.ready_ms));
        match Watcher::start(host, init, text.to_bytes()) {
            Ok(watcher) => watch.watcher = Some(watcher),
            Err(errno) => watch.fail(host, caller, Some(Cause::Os(errno))),
        }
        watch
    }

    /// When `late` is to be called.
    pub fn deadline(&self) -> Option<u64> {
        let hook = self.hook.as_ref().and_then(|hook| hook.deadline);
        [self.deadline_ms, hook].into_iter().flatten().min()
    }

    /// Whether init is to be killed, told once.
    pub fn dooms(&mut self) -> bool {
        core::mem::take(&mut self.doomed)
    }

    /// Something came from the watcher or from the hook.
    pub fn heard(&mut self, host: &mut Host<'t>, source: Source) {
        match (source, &mut self.hook, &self.watcher) {
            _ if !BUILT => {}
            (Source::Hook, Some(hook), _) => hook.read(host),
            (Source::Progress, _, Some(watcher)) => match watcher.count() {
                None => host.forget(&watcher.progress),
                Some(count) => advance(host, count),
            },
            _ => {}
        }
    }

    /// A child has ended: it may be the watcher or the hook.
    pub fn children(&mut self, host: &mut Host<'t>, caller: &mut Caller) {
        if !BUILT {
            return;
        }
        if let Some(hook) = &self.hook
            && let Some(ended) = hook.ended()
        {
            self.end_hook(host, ended);
        }
        let Some(watcher) = &self.watcher else { return };
        let Ok(Some(exit)) = process::try_wait(watcher.pid) else { return };
        host.forget(&watcher.progress);
        advance(host, watcher.count().unwrap_or(0));
        self.watcher = None;
        match exit {
            Exit::Code(0) => self.ready(host, caller),
            // The guest has just gone: that is told by its end.
            Exit::Code(libc::ESRCH) => {}
            Exit::Code(errno) => self.fail(host, caller, Some(Cause::Os(Errno::from_raw(errno)))),
            Exit::Signal(signal) => self.fail(host, caller, Some(Cause::Killed(signal))),
        }
    }

    /// A deadline may have passed.
    pub fn late(&mut self, now: u64, host: &mut Host<'t>, caller: &mut Caller) {
        if !BUILT {
            return;
        }
        if let Some(hook) = self.hook.as_ref().filter(|hook| hook.deadline.is_some_and(|at| at <= now)) {
            hook.kill();
            self.end_hook(host, Ended::TooLate);
        }
        if self.deadline_ms.is_some_and(|at| at <= now) {
            self.deadline_ms = None;
            // Who stops it waits for nothing any more.
            if host.asked == Asked::Nothing {
                self.fail(host, caller, None);
            }
        }
    }

    /// The life is over.
    pub fn end(&mut self, host: &mut Host<'t>) {
        if !BUILT {
            return;
        }
        if let Some(watcher) = self.watcher.take() {
            watcher.end(host);
        }
        if let Some(hook) = &self.hook {
            hook.kill();
            self.end_hook(host, Ended::ChildGone);
        }
    }

    fn ready(&mut self, host: &mut Host<'t>, caller: &mut Caller) {
        self.deadline_ms = None;
        log::info!("ready");
        host.set_readiness(Readiness::Ready);
        caller.running();
        let Some(command) = host.config.own.ready_hook else { return };
        let hook = Hook { kind: HookKind::Ready, command: command.value, at: command.at };
        let moment = Moment { pid: Some(self.init), ..Moment::default() };
        match hooks::Running::begin(host, &hook, &moment) {
            Ok(running) => self.hook = Some(running),
            Err(error) => log::warn!("{error}"),
        }
    }

    fn end_hook(&mut self, host: &Host<'t>, ended: Ended) {
        if let Some(hook) = self.hook.take()
            && let Err(error) = hook.finish(host, ended)
        {
            log::warn!("{error}");
        }
    }

    /// It is not ready in time, or that cannot be known. Whoever waits for the start is let go where that is ignored: the
    /// start is over, and well enough for its user.
    #[inline(never)]
    fn fail(&mut self, host: &mut Host<'t>, caller: &mut Caller, cause: Option<Cause>) {
        self.deadline_ms = None;
        let error = error(host, cause);
        match host.config.own.ready_failed {
            ReadyFailed::Ignore => {
                log::warn!("{error}");
                host.not_ready(&error);
                caller.running_but(&error);
            }
            ReadyFailed::Stop | ReadyFailed::Restart => {
                (self.doomed, self.failed) = (true, true);
                host.not_ready(&error);
                host.ready_error = Some(error);
            }
        }
    }
}

/// Why a guest's readiness will never be known.
enum Cause {
    Os(Errno),
    Killed(i32),
}

fn error(host: &Host<'_>, cause: Option<Cause>) -> Error {
    let Some(waits_for) = host.readiness().waits_for(host.config) else {
        return Error::new("ready", format_args!("not ready"));
    };
    match cause {
        None => Error::new(
            "ready",
            format_args!(
                "not ready after {} ms (monopod.timeout.ready): waits for {waits_for}",
                host.config.own.ready_ms
            ),
        ),
        Some(Cause::Os(errno)) => Error::os("ready", errno, format_args!("watch for {waits_for}")),
        Some(Cause::Killed(signal)) => {
            Error::new("ready", format_args!("watch for {waits_for}: the watcher was killed by signal {signal}"))
        }
    }
}

/// `count` more conditions have come true.
fn advance(host: &mut Host<'_>, count: u8) {
    for _ in 0..count {
        let Readiness::Waits(number) = host.readiness() else { return };
        if let Some(condition) = host.readiness().waits_for(host.config) {
            log::info!("ready: there is {condition}");
        }
        let next = Readiness::Waits(number.saturating_add(1));
        if next.waits_for(host.config).is_some() {
            host.set_readiness(next);
        }
    }
}
