//! What outlives a restart: lock, command socket, signals, epoll, the state; and the one place where the program waits.
//!
//! Every phase, from the first hook to the back-off between two lives, waits in `Host::next`. So a client is answered and
//! a signal is heard while a hook runs, a barrier is open, or nothing runs at all.

use super::lock::Lock;
use super::monitord;
use super::notify::{self, Watchdog};
use crate::cgroup::devices::InForce;
use crate::cgroup::find::Hierarchies;
use crate::cgroup::freeze;
use crate::config::Config;
use crate::config::own::ReadyFailed;
use crate::control::answer::{Facts, Order};
use crate::control::lend::{Lent, VIEW};
use crate::control::proto::News;
use crate::control::server::{BindError, Round, Server, TOKEN as CONTROL};
use crate::error::{Error, Result};
use crate::hooks::Scene;
use crate::limits;
use crate::logging::log;
use crate::ready::wakelock::Wakelock;
use crate::ready::{Readiness, state_file};
use crate::state::State;
use crate::supervise::lifecycle::{Asked, Lifecycle};
use crate::supervise::outcome::{Outcome, Told};
use crate::sys::signals;
use crate::text::Line;
use core::ffi::CStr;
use core::fmt::Write;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::{SigmaskHow, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::time::{ClockId, clock_gettime};
use std::os::fd::AsFd;

/// Milliseconds of CLOCK_MONOTONIC: the clock of every deadline.
pub fn now_ms() -> u64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map_or(0, |now| now.tv_sec() as u64 * 1000 + now.tv_nsec() as u64 / 1_000_000)
}

/// Bytes of the lines that say how the container is.
const RECORD: usize = 1024;

/// What an epoll event is about: the token's top byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The signalfd.
    Signals,
    /// The console's master.
    Console,
    /// The terminal or pipe that mirrors the console: input from it.
    PeerInput,
    /// The same: room for output.
    PeerOutput,
    /// The barrier between supervisor and child.
    Barrier,
    /// Output of a hook.
    Hook,
    /// The guest asks the kernel for something that we want to hear of: the seccomp listener.
    Guard,
    /// Mounts changed in the container.
    Mounts,
    /// init's answer to what a stop asked of it.
    StopReply,
    /// Output of the stop command.
    StopOutput,
    /// What the guest's readiness asks for comes true.
    Progress,
    /// A client's view of the console, by its index.
    View(usize),
}

impl Source {
    /// The epoll token. The server has 1 as its top byte.
    pub const fn token(self) -> u64 {
        match self {
            Source::Signals => 0x02 << 56,
            Source::Console => 0x03 << 56,
            Source::PeerInput => 0x04 << 56,
            Source::PeerOutput => 0x05 << 56,
            Source::Barrier => 0x06 << 56,
            Source::Hook => 0x07 << 56,
            Source::Guard => 0x0a << 56,
            Source::Mounts => 0x0b << 56,
            Source::StopReply => 0x0c << 56,
            Source::StopOutput => 0x0d << 56,
            Source::Progress => 0x10 << 56,
            Source::View(index) => VIEW | index as u64,
        }
    }

    fn of(token: u64) -> Option<Source> {
        if token & (0xff << 56) == VIEW {
            return Some(Source::View(usize::from(token as u8)));
        }
        use Source::*;
        let all =
            [Signals, Console, PeerInput, PeerOutput, Barrier, Hook, Guard, Mounts, StopReply, StopOutput, Progress];
        all.into_iter().find(|source| source.token() == token)
    }
}

/// How often a freezer that is on its way is looked at, in milliseconds: at first, and at most.
const FREEZER_LOOK_MS: (u64, u64) = (5, 1_000);

/// A freeze or thaw on its way.
struct Freezing {
    frozen: bool,
    look_at_ms: u64,
    pause_ms: u64,
}

/// Something happened that a phase has to decide on. Clients that only ask were answered already.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    /// A child changed state: look with waitid. Sent and queued SIGCHLDs may be fewer than children.
    Child,
    /// A signal for us, by number.
    Signal(i32),
    /// A client ordered something.
    Order(Order),
    /// A descriptor is ready.
    Ready(Source),
    /// The deadline passed.
    Deadline,
}

/// The supervisor's own things.
pub struct Host<'t> {
    /// The effective config.
    pub config: &'t Config<'t>,
    /// Where cgroups are.
    pub hierarchies: &'t Hierarchies<'t>,
    /// Our own environment as our caller gave it, for hooks.
    pub environment: &'t [&'t CStr],
    /// Signals our caller ignored, to be set right in init.
    pub ignored_signals: u64,
    /// See `prepare::oom`.
    pub oom_before: Option<i32>,
    /// Where the rootfs is mounted.
    pub mountpoint: &'t CStr,
    /// When a life is followed by another.
    pub lifecycle: Lifecycle,
    /// What somebody asked for: nothing, or the end.
    pub asked: Asked,
    /// Signals that came before init could take them (bit n-1 = signal n).
    pub held_signals: u64,
    /// What clients borrow, and the console's ring.
    pub lent: Lent,
    /// The device rules of this life.
    pub devices: InForce,
    /// What the guest said when it asked for its last reboot (`recovery`); empty if nothing.
    pub reboot_argument: Line<{ limits::REBOOT_ARGUMENT }>,
    /// The last crash in one line; empty: there was none.
    pub last_crash: Line<200>,
    /// Why this life was not ready in time.
    pub ready_error: Option<Error>,
    /// Where every wait is.
    pub epoll: Epoll,
    freezing: Option<Freezing>,
    signals: SignalFd,
    server: Server,
    state: State,
    readiness: Readiness,
    wakelock: Wakelock,
    state_file_failed: bool,
    init_pid: i32,
    clone_flags: u64,
    since_ms: u64,
    next_start_ms: Option<u64>,
    last: Option<Outcome>,
    last_argument: Line<{ limits::REBOOT_ARGUMENT }>,
    watchdog: Option<Watchdog>,
    monitor_fifo: &'t CStr,
    lock: Lock<'t>,
}

impl<'t> Host<'t> {
    /// Blocks signals, binds the command socket and makes the epoll instance. Before the first clone.
    #[inline(never)] // its frame would live as long as the container
    pub fn open(
        config: &'t Config<'t>,
        lock: Lock<'t>,
        hierarchies: &'t Hierarchies<'t>,
        environment: &'t [&'t CStr],
        mountpoint: &'t CStr,
        monitor_fifo: &'t CStr,
    ) -> Result<Option<Box<Self>>> {
        let failed = |what: &'static str| move |errno: Errno| Error::os("prepare", errno, format_args!("{what}"));
        let server = match Server::bind(config.lxcpath, config.name) {
            Ok(server) => server,
            Err(BindError::AlreadyRunning) => return Ok(None),
            Err(BindError::Os(errno)) => return Err(Error::os("command socket", errno, format_args!("bind"))),
        };
        let mut mask = signals::all();
        for fatal in [libc::SIGILL, libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE] {
            if let Ok(signal) = nix::sys::signal::Signal::try_from(fatal) {
                mask.remove(signal);
            }
        }
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&mask), None).map_err(failed("sigprocmask"))?;
        let signals =
            SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).map_err(failed("signalfd"))?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(failed("epoll_create1"))?;
        let host = Box::new(Host {
            config,
            hierarchies,
            environment,
            ignored_signals: super::inherited::ignored_signals(),
            oom_before: super::oom::set(config)?,
            mountpoint,
            lifecycle: Lifecycle::new(config.restart_policy()),
            asked: Asked::Nothing,
            held_signals: 0,
            lent: Lent::new(config),
            devices: InForce::default(),
            reboot_argument: Line::new(),
            last_crash: Line::new(),
            last_argument: Line::new(),
            ready_error: None,
            freezing: None,
            epoll,
            signals,
            server,
            state: State::Stopped,
            readiness: Readiness::Unasked,
            wakelock: Wakelock::default(),
            state_file_failed: false,
            init_pid: 0,
            clone_flags: 0,
            since_ms: now_ms(),
            next_start_ms: None,
            last: None,
            watchdog: Watchdog::from_environment(),
            monitor_fifo,
            lock,
        });
        host.watch(&host.signals, Source::Signals, EpollFlags::EPOLLIN).map_err(failed("epoll_ctl"))?;
        host.server.register(&host.epoll).map_err(failed("epoll_ctl"))?;
        Ok(Some(host))
    }

    /// One of the last allocations.
    pub fn reserve(&mut self) {
        self.server.reserve();
    }

    /// Has `next` report `fd`. Level-triggered.
    pub fn watch(&self, fd: &impl AsFd, source: Source, events: EpollFlags) -> nix::Result<()> {
        self.epoll.add(fd, EpollEvent::new(events, source.token()))
    }

    /// Ends that.
    pub fn forget(&self, fd: &impl AsFd) {
        let _ = self.epoll.delete(fd);
    }

    /// Waits for the next event, at most until `deadline_ms`. Clients' questions are answered on the way.
    pub fn next(&mut self, deadline_ms: Option<u64>) -> Event {
        loop {
            let now = now_ms();
            if deadline_ms.is_some_and(|deadline| deadline <= now) {
                return Event::Deadline;
            }
            let init = (self.state == State::Running).then_some(self.init_pid).filter(|pid| *pid > 0);
            let sign_of_life = self.watchdog.as_mut().map(|watchdog| watchdog.tick(now, self.config, init));
            // One event a call: what is handled now cannot have been closed by the one before.
            let mut events = [EpollEvent::empty()];
            let look = self.freezing.as_ref().map(|freezing| freezing.look_at_ms);
            let earliest = [deadline_ms, self.server.next_deadline(), sign_of_life, look].into_iter().flatten().min();
            match self.epoll.wait(&mut events, timeout(earliest, now)) {
                Ok(0) => {
                    self.server.expire(now_ms(), &self.epoll);
                    self.look_at_freezer();
                }
                Ok(_) => {
                    let [event] = events;
                    if let Some(event) = self.dispatch(event) {
                        return event;
                    }
                }
                // EINTR cannot come, as every signal is blocked; anything else would be a programming error, and a
                // supervisor must not spin on it.
                Err(_) => pause(),
            }
        }
    }

    fn dispatch(&mut self, event: EpollEvent) -> Option<Event> {
        let token = event.data();
        if token & (0xff << 56) == CONTROL {
            return self.ask_server(token);
        }
        match Source::of(token)? {
            Source::Signals => match self.signals.read_signal() {
                Ok(Some(signal)) if signal.ssi_signo == libc::SIGCHLD as u32 => Some(Event::Child),
                Ok(Some(signal)) => Some(Event::Signal(signal.ssi_signo as i32)),
                _ => None,
            },
            other => Some(Event::Ready(other)),
        }
    }

    #[inline(never)] // its frame is for those who are asked, not for all who wait
    fn ask_server(&mut self, token: u64) -> Option<Event> {
        let status = self.status();
        let facts = Facts {
            state: self.state,
            init_pid: self.init_pid,
            clone_flags: self.clone_flags as i32,
            config: self.config,
            hierarchies: self.hierarchies,
            status: status.bytes(),
        };
        let mut round = Round {
            epoll: &self.epoll,
            now_ms: now_ms(),
            facts: &facts,
            lent: &mut self.lent,
            devices: &mut self.devices,
        };
        match self.server.handle(token, &mut round)? {
            Order::Frozen(frozen) => {
                self.await_freezer(frozen);
                None
            }
            Order::Resized => Some(Event::Signal(libc::SIGWINCH)),
            order => Some(Event::Order(order)),
        }
    }

    /// Somebody has begun to freeze the container or to thaw it: the state follows.
    fn await_freezer(&mut self, frozen: bool) {
        if !self.state.is_alive() {
            return;
        }
        if frozen && self.state == State::Running {
            self.set_state(State::Freezing);
        }
        self.freezing = Some(Freezing { frozen, look_at_ms: 0, pause_ms: FREEZER_LOOK_MS.0 });
        self.look_at_freezer();
    }

    /// The kernel tells nobody when v1's freezer is done, so it is asked, ever more rarely.
    fn look_at_freezer(&mut self) {
        let now = now_ms();
        let Some(freezing) = self.freezing.as_mut().filter(|freezing| freezing.look_at_ms <= now) else { return };
        let frozen = freezing.frozen;
        if freeze::is_frozen(self.hierarchies, self.config.groups.limit) != Ok(frozen) {
            freezing.look_at_ms = now + freezing.pause_ms;
            freezing.pause_ms = (freezing.pause_ms * 2).min(FREEZER_LOOK_MS.1);
            return;
        }
        self.freezing = None;
        if frozen {
            self.set_state(State::Frozen);
        } else if self.state != State::Running {
            self.set_state(State::Thawed);
            self.set_state(State::Running);
        }
    }

    /// Thaws the container, so that it can do what it is told. `always`: even if nobody froze it through us.
    pub fn thaw(&mut self, always: bool) {
        if !always && self.state == State::Running {
            return;
        }
        match freeze::set(self.hierarchies, self.config.groups.limit, false) {
            // No freezer that is ours, no frozen container.
            Ok(()) | Err(Errno::EOPNOTSUPP | Errno::EROFS) => {}
            Err(errno) => log::warn!("thaw: {}", errno.desc()),
        }
        if self.state != State::Running {
            self.await_freezer(false);
        }
    }

    /// `key=value` lines for `monopod info`: the record, and what changes all the time.
    fn status(&self) -> Line<RECORD> {
        let mut text = self.record();
        let now = now_ms();
        if self.init_pid > 0 {
            let _ = writeln!(text, "uptime_ms={}", now.saturating_sub(self.since_ms));
        }
        if let Some(at) = self.next_start_ms {
            let _ = writeln!(text, "next_start_ms={}", at.saturating_sub(now));
        }
        let _ = writeln!(text, "log_lines_lost={}", crate::logging::lost());
        text
    }

    /// The same, but only what somebody is told of when it changes.
    fn record(&self) -> Line<RECORD> {
        let mut text = Line::new();
        let _ = writeln!(text, "state={}\npid={}", self.state.name(), self.init_pid);
        if self.config.own.readiness().is_some() {
            let _ = writeln!(text, "ready={}", if self.readiness == Readiness::Ready { "yes" } else { "no" });
        }
        if let Some(condition) = self.readiness.waits_for(self.config) {
            let _ = writeln!(text, "waits_for={condition}");
        }
        let _ = writeln!(text, "restarts={}", self.lifecycle.restarts());
        if let Some(outcome) = self.last {
            let _ = writeln!(text, "last_exit={outcome}");
        }
        let argument =
            if self.reboot_argument.bytes().is_empty() { &self.last_argument } else { &self.reboot_argument };
        for (key, line) in [("reboot_argument", argument.bytes()), ("last_crash", self.last_crash.bytes())] {
            if !line.is_empty() {
                let _ = writeln!(text, "{key}={}", crate::text::Shown(line));
            }
        }
        let _ = writeln!(text, "supervisor_pid={}", nix::unistd::getpid());
        text
    }

    /// Writes the state file anew. What cannot be done is said once.
    fn write_record(&mut self) {
        let Some(path) = self.config.own.state_file else { return };
        if let Err(errno) = state_file::write(path.value, self.record().bytes())
            && !core::mem::replace(&mut self.state_file_failed, true)
        {
            let place = self.config.place(path.at);
            log::warn!("{place}: monopod.state.file = {}: {}", crate::text::shown(path.value), errno.desc());
        }
    }

    /// How ready the guest is.
    pub fn readiness(&self) -> Readiness {
        self.readiness
    }

    /// The guest has come nearer to being ready, or is.
    pub fn set_readiness(&mut self, readiness: Readiness) {
        self.readiness = readiness;
        if readiness == Readiness::Ready {
            notify::tell(format_args!("READY=1\nSTATUS=ready, init is process {}", self.init_pid));
            self.wakelock.hold(self.config.own.wakelock, false);
            self.server.tell(News::Ready, self.config.name, &self.epoll);
        } else {
            self.tell_what_it_waits_for();
        }
        self.write_record();
    }

    fn tell_what_it_waits_for(&self) {
        if let Some(condition) = self.readiness.waits_for(self.config) {
            let (own, init) = (nix::unistd::getpid(), self.init_pid);
            notify::tell(format_args!("MAINPID={own}\nSTATUS=running, init is process {init}, waits for {condition}"));
        }
    }

    /// It is not ready in time. Where that is ignored the service manager is told to wait no longer.
    pub fn not_ready(&mut self, error: &Error) {
        self.wakelock.hold(self.config.own.wakelock, false);
        match self.config.own.ready_failed {
            ReadyFailed::Ignore => notify::tell(format_args!("READY=1\nSTATUS={error}")),
            ReadyFailed::Stop | ReadyFailed::Restart => notify::tell(format_args!("STATUS={error}")),
        }
    }

    /// What hooks are made from.
    pub fn scene(&self) -> Scene<'t> {
        Scene {
            config: self.config,
            environment: self.environment,
            ignored_signals: self.ignored_signals,
            oom_before: self.oom_before,
            mountpoint: self.mountpoint,
        }
    }

    /// The lock of our name.
    pub fn lock(&self) -> &Lock<'t> {
        &self.lock
    }

    /// Changes the state and tells everybody who waits for it.
    pub fn set_state(&mut self, state: State) {
        if state == self.state {
            return;
        }
        log::debug!("state {} -> {}", self.state.name(), state.name());
        let starting = self.state == State::Starting;
        self.state = state;
        if !state.is_alive() {
            self.freezing = None;
        }
        if !state.is_alive() {
            self.readiness = Readiness::Unasked;
        }
        let own = &self.config.own;
        let asked = own.readiness().is_some();
        match state {
            State::Starting => self.wakelock.hold(own.wakelock, true),
            State::Running if asked => {}
            State::Running | State::Stopped | State::Aborting => self.wakelock.hold(own.wakelock, false),
            _ => {}
        }
        if state == State::Running && starting && asked {
            self.since_ms = now_ms();
            self.readiness = Readiness::Waits(0);
            self.tell_what_it_waits_for();
        } else if state == State::Running && starting {
            self.since_ms = now_ms();
            let (own, init) = (nix::unistd::getpid(), self.init_pid);
            notify::tell(format_args!("READY=1\nMAINPID={own}\nSTATUS=running, init is process {init}"));
        } else if state == State::Stopping && self.asked == Asked::Stop {
            notify::tell(format_args!("STOPPING=1\nSTATUS=stopping"));
        }
        self.tell(News::State(state));
        self.write_record();
    }

    /// Tells clients, and LXC's monitor if there is one, what is new.
    pub fn tell(&mut self, news: News) {
        self.server.tell(news, self.config.name, &self.epoll);
        monitord::tell(news, self.monitor_fifo, self.config.name);
    }

    /// A life is over: its ttys are nobody's any more, its device rules are gone with its cgroup.
    pub fn end_life(&mut self) {
        self.server.end_ttys(&self.epoll);
        self.lent.end();
        self.devices = InForce::default();
    }

    /// init's pid, for clients; 0 when it is gone.
    pub fn set_init(&mut self, pid: i32, clone_flags: u64) {
        self.init_pid = pid;
        self.clone_flags = clone_flags;
    }

    /// The container has a pid namespace of its own, so that all of it ends with its init. True while there is no init.
    pub fn owns_pids(&self) -> bool {
        self.clone_flags == 0 || self.clone_flags & crate::spawn::namespaces::PID != 0
    }

    /// Keeps a signal for init, which is not there yet. SIGCHLD and SIGWINCH are ours and never come here twice.
    pub fn hold_signal(&mut self, signal: i32) {
        if (1..=signals::MAX).contains(&signal) && signal != libc::SIGPIPE && signal != libc::SIGWINCH {
            self.held_signals |= 1 << (signal - 1);
        }
    }

    /// The end of the service, right before the program's: the lock's files go, everything else the kernel closes at once,
    /// so that who waits for our end finds the address and the lock free.
    pub fn leave(self: Box<Self>) {
        if let Some(path) = self.config.own.state_file {
            state_file::remove(path.value);
        }
        self.lock.remove();
        core::mem::forget(self);
    }

    /// How the last life ended, and when the next begins, for clients.
    pub fn set_next(&mut self, outcome: Outcome, next_start_ms: Option<u64>) {
        if let Some(at) = next_start_ms {
            let seconds = at.saturating_sub(now_ms()).div_ceil(1_000);
            let told = Told(outcome, self.reboot_argument.bytes());
            notify::tell(format_args!("STATUS=init {told}, starting again in {seconds} s"));
        }
        self.last = Some(outcome);
        self.last_argument = self.reboot_argument.clone();
        self.next_start_ms = next_start_ms;
        self.write_record();
    }
}

/// The time until `deadline`, for epoll_wait: rounded up, so that a deadline has passed when the wait ends.
fn timeout(deadline: Option<u64>, now: u64) -> EpollTimeout {
    match deadline {
        None => EpollTimeout::NONE,
        Some(at) => EpollTimeout::try_from(at.saturating_sub(now).min(i32::MAX as u64 - 1) as i32 + 1)
            .unwrap_or(EpollTimeout::ZERO),
    }
}

fn pause() {
    let time = nix::sys::time::TimeSpec::new(0, 10_000_000);
    let _ = nix::time::clock_nanosleep(ClockId::CLOCK_MONOTONIC, nix::time::ClockNanosleepFlags::empty(), &time);
}
