//! What outlives a restart: lock, command socket, signals, epoll, the state; and the one place where the program waits.
//!
//! Every phase, from the first hook to the back-off between two lives, waits in `Host::next`. So a client is answered and
//! a signal is heard while a hook runs, a barrier is open, or nothing runs at all.

use super::lock::Lock;
use super::notify::{self, Watchdog};
use crate::cgroup::find::Hierarchies;
use crate::config::Config;
use crate::control::server::{BindError, Facts, Order, Server, TOKEN as CONTROL};
use crate::error::{Error, Result};
use crate::hooks::Scene;
use crate::state::State;
use crate::supervise::lifecycle::{Asked, Lifecycle};
use crate::supervise::outcome::Outcome;
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

/// What an epoll event is about: the token's top byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Source {
    /// The signalfd.
    Signals = 2,
    /// The console's master.
    Console = 3,
    /// The terminal or pipe that mirrors the console: input from it.
    PeerInput = 4,
    /// The same: room for output.
    PeerOutput = 5,
    /// The barrier between supervisor and child.
    Barrier = 6,
    /// Output of a hook.
    Hook = 7,
}

impl Source {
    fn token(self) -> u64 {
        (self as u64) << 56
    }

    fn of(token: u64) -> Option<Source> {
        [Source::Signals, Source::Console, Source::PeerInput, Source::PeerOutput, Source::Barrier, Source::Hook]
            .into_iter()
            .find(|source| source.token() == token)
    }
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
    /// When a life is followed by another.
    pub lifecycle: Lifecycle,
    /// What somebody asked for: nothing, or the end.
    pub asked: Asked,
    /// Signals that came before init could take them (bit n-1 = signal n).
    pub held_signals: u64,
    epoll: Epoll,
    signals: SignalFd,
    server: Server,
    state: State,
    init_pid: i32,
    clone_flags: u64,
    since_ms: u64,
    next_start_ms: Option<u64>,
    last: Option<Outcome>,
    cgroup: Line<300>,
    watchdog: Option<Watchdog>,
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
        let mut cgroup = Line::new();
        let _ = write!(cgroup, "lxc/{}\0", crate::text::shown(config.name));
        let host = Box::new(Host {
            config,
            hierarchies,
            environment,
            ignored_signals: super::inherited::ignored_signals(),
            lifecycle: Lifecycle::new(config.restart),
            asked: Asked::Nothing,
            held_signals: 0,
            epoll,
            signals,
            server,
            state: State::Stopped,
            init_pid: 0,
            clone_flags: 0,
            since_ms: now_ms(),
            next_start_ms: None,
            last: None,
            cgroup,
            watchdog: Watchdog::from_environment(),
            lock,
        });
        host.watch(&host.signals, Source::Signals, EpollFlags::EPOLLIN).map_err(failed("epoll_ctl"))?;
        host.server.register(&host.epoll).map_err(failed("epoll_ctl"))?;
        Ok(Some(host))
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
            let earliest = [deadline_ms, self.server.next_deadline(), sign_of_life].into_iter().flatten().min();
            match self.epoll.wait(&mut events, timeout(earliest, now)) {
                Ok(0) => self.server.expire(now_ms(), &self.epoll),
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
            return self.ask_server(token, event.events());
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

    fn ask_server(&mut self, token: u64, events: EpollFlags) -> Option<Event> {
        let status = self.status();
        let facts = Facts {
            state: self.state,
            init_pid: self.init_pid,
            clone_flags: self.clone_flags as i32,
            config: self.config,
            cgroup: CStr::from_bytes_until_nul(self.cgroup.bytes()).unwrap_or(c""),
            status: status.bytes(),
        };
        self.server.handle(token, events, &self.epoll, now_ms(), &facts).map(Event::Order)
    }

    /// `key=value` lines for `monopod info`.
    fn status(&self) -> Line<512> {
        let mut text = Line::new();
        let now = now_ms();
        let _ = writeln!(text, "state={}\npid={}", self.state.name(), self.init_pid);
        let _ = writeln!(text, "restarts={}", self.lifecycle.restarts());
        if self.init_pid > 0 {
            let _ = writeln!(text, "uptime_ms={}", now.saturating_sub(self.since_ms));
        }
        if let Some(outcome) = self.last {
            let _ = writeln!(text, "last_exit={outcome}");
        }
        if let Some(at) = self.next_start_ms {
            let _ = writeln!(text, "next_start_ms={}", at.saturating_sub(now));
        }
        let _ = writeln!(text, "supervisor_pid={}\nlog_lines_lost={}", nix::unistd::getpid(), crate::logging::lost());
        text
    }

    /// What hooks are made from.
    pub fn scene(&self) -> Scene<'t> {
        Scene { config: self.config, environment: self.environment, ignored_signals: self.ignored_signals }
    }

    /// Changes the state and tells everybody who waits for it.
    pub fn set_state(&mut self, state: State) {
        if state == self.state {
            return;
        }
        log::debug!("state {} -> {}", self.state.name(), state.name());
        self.state = state;
        if state == State::Running {
            self.since_ms = now_ms();
            let (own, init) = (nix::unistd::getpid(), self.init_pid);
            notify::tell(format_args!("READY=1\nMAINPID={own}\nSTATUS=running, init is process {init}"));
        } else if state == State::Stopping && self.asked == Asked::Stop {
            notify::tell(format_args!("STOPPING=1\nSTATUS=stopping"));
        }
        self.server.state_changed(state, self.config.name, &self.epoll);
    }

    /// init's pid, for clients; 0 when it is gone.
    pub fn set_init(&mut self, pid: i32, clone_flags: u64) {
        self.init_pid = pid;
        self.clone_flags = clone_flags;
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
        self.lock.remove();
        core::mem::forget(self);
    }

    /// How the last life ended, and when the next begins, for clients.
    pub fn set_next(&mut self, outcome: Outcome, next_start_ms: Option<u64>) {
        if let Some(at) = next_start_ms {
            let seconds = at.saturating_sub(now_ms()).div_ceil(1_000);
            notify::tell(format_args!("STATUS=init {outcome}, starting again in {seconds} s"));
        }
        self.last = Some(outcome);
        self.next_start_ms = next_start_ms;
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
