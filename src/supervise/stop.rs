//! How a life is ended: politely by what init understands, then by a command inside, then by force, and never without end.
//!
//! `methods` and `Plan` decide, purely: which ways there are, and when the next one is due. `Stop` does what they say.
//! At once the first way; one that cannot work is followed by the next. When half of the time is left, the next way; when the
//! time is up, SIGKILL, which ends everything in init's pid namespace; when init has not gone even then (it sleeps in the
//! kernel, or somebody outside does not reap a child of his in it) a report of who is stuck, and we leave.

use super::command::Command;
use super::family::{self, Family, Init};
use super::stuck;
use crate::android::{image, property_service};
use crate::aside;
use crate::cgroup::freeze;
use crate::config::own::{Own, StopMethod};
use crate::config::{Config, Signals};
use crate::control::answer::Order;
use crate::control::proto::StopMode;
use crate::logging::log;
use crate::prepare::host::{Host, Source, now_ms};
use crate::rootfs::beneath::Root;
use crate::supervise::lifecycle::Asked;
use crate::sys::process::{self, Exit};
use nix::errno::Errno;
use nix::sys::epoll::EpollFlags;
use property_service::{Answer, Question};
use std::os::fd::OwnedFd;

/// For how long init may go on after SIGKILL, in milliseconds.
pub const DEATH_MS: u64 = 10_000;
/// How many of the stuck are named.
const NAMED: usize = 8;

/// A way to ask for an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// sys.powerctl over Android's property socket.
    Property,
    /// A signal to init.
    Signal(i32),
    /// `monopod.stop.command`
    Command,
}

/// As many as there are, in the order in which they are tried.
pub type Methods = heapless::Vec<Method, 3>;

/// What shall become of the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// It halts.
    Halt,
    /// It reboots; nothing but a reboot will do.
    Reboot,
    /// It ends, as if it rebooted if it can.
    Restart,
}

/// The ways to this init's end. What the config says of signals wins over what we know of inits.
pub fn methods(own: &Own<'_>, signals: &Signals, init: &Init, sdk: Option<u32>, goal: Goal) -> Methods {
    let (written, signal, best) = match goal {
        Goal::Halt => (signals.halt_set, signals.halt, init.halt_signal(signals.halt, sdk)),
        _ => (signals.reboot_set, signals.reboot, init.reboot_signal(signals.reboot, sdk)),
    };
    let property = match own.stop_method {
        StopMethod::Property => true,
        StopMethod::Signal => false,
        _ => !written && init.family == family::Family::Android && !init.ends_by_term(sdk),
    };
    let signal = if written || own.stop_method == StopMethod::Signal { signal } else { best };
    // It ends the guest, and that alone is no reboot.
    let command = own.stop_command.is_some() && goal != Goal::Reboot;
    let command_first = own.stop_method == StopMethod::Command && command;
    let all = [
        command_first.then_some(Method::Command),
        (property && !command_first).then_some(Method::Property),
        Some(Method::Signal(signal)),
        (command && !command_first).then_some(Method::Command),
    ];
    all.into_iter().flatten().collect()
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The next way.
    Next,
    /// SIGKILL.
    Kill,
    /// It does not end: we do.
    GiveUp,
}

/// When what is due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    next_at: Option<u64>,
    kill_at: Option<u64>,
    give_up_at: Option<u64>,
}

impl Plan {
    /// The first way was taken at `now`, and it may take `wait` milliseconds until the kill, if there is to be one.
    fn polite(now: u64, wait: u64, kills: bool) -> Plan {
        let at = |ms| Some(now.saturating_add(ms));
        Plan { next_at: at(wait / 2), kill_at: if kills { at(wait) } else { None }, give_up_at: None }
    }

    /// A newer plan takes back no deadline.
    fn followed_by(self, newer: Plan) -> Plan {
        let next_at = if self.give_up_at.is_some() { None } else { newer.next_at };
        let kill_at = if self.give_up_at.is_some() { None } else { newer.kill_at.or(self.kill_at) };
        Plan { next_at, kill_at, give_up_at: self.give_up_at }
    }

    /// The next deadline.
    pub fn deadline(&self) -> Option<u64> {
        [self.next_at, self.kill_at, self.give_up_at].into_iter().flatten().min()
    }

    /// What is due at `now`, once.
    pub fn due(&mut self, now: u64) -> Option<Action> {
        let passed = |at: Option<u64>| at.is_some_and(|at| at <= now);
        if passed(self.kill_at) {
            self.killed(now);
            Some(Action::Kill)
        } else if passed(self.give_up_at) {
            self.give_up_at = None;
            Some(Action::GiveUp)
        } else if passed(self.next_at) {
            self.next_at = None;
            Some(Action::Next)
        } else {
            None
        }
    }

    fn killed(&mut self, now: u64) {
        let give_up_at = self.give_up_at.or(Some(now.saturating_add(DEATH_MS)));
        *self = Plan { next_at: None, kill_at: None, give_up_at };
    }
}

/// The end that was asked for, if one was.
#[derive(Default)]
pub struct Stop {
    plan: Plan,
    left: Methods,
    init: Option<Init>,
    sdk: Option<u32>,
    reboots: bool,
    question: Option<Question>,
    command: Option<Command>,
    namespace: Option<u64>,
}

impl Stop {
    /// See `Plan`.
    pub fn deadline(&self) -> Option<u64> {
        self.plan.deadline()
    }

    /// Begins what a client ordered.
    pub fn obey(&mut self, host: &mut Host<'_>, pid: i32, order: Order) {
        let (mode, never_kill, timeout_ms) = match order {
            Order::Kill if host.config.signals.stop != libc::SIGKILL => {
                host.asked = Asked::Stop;
                return send(host, pid, host.config.signals.stop);
            }
            Order::Kill => (StopMode::Kill, false, -1),
            Order::Stop { mode, never_kill, timeout_ms } => (mode, never_kill, timeout_ms),
            Order::Frozen(_) | Order::Resized => return,
        };
        let goal = match mode {
            StopMode::Kill => {
                host.asked = Asked::Stop;
                log::info!("init is killed as somebody asked");
                return self.kill(host, pid);
            }
            StopMode::Halt => Goal::Halt,
            StopMode::Reboot => Goal::Reboot,
            StopMode::Restart => Goal::Restart,
        };
        match goal {
            Goal::Halt => host.asked = Asked::Stop,
            Goal::Restart => host.asked = Asked::Restart,
            // The guest's own business: what follows is decided by how it ends.
            Goal::Reboot => {}
        }
        self.choose(host.config, pid, goal);
        let unhurried = never_kill && timeout_ms <= 0;
        let configured = host.config.timeouts.stop_ms;
        let wait = if unhurried { configured } else { u64::try_from(timeout_ms).unwrap_or(configured) };
        self.plan = self.plan.followed_by(Plan::polite(now_ms(), wait, !never_kill && goal != Goal::Reboot));
        // Whatever it is, only a thawed init hears it.
        host.thaw(true);
        self.next(host, pid);
    }

    /// Looks at init and decides.
    fn choose(&mut self, config: &Config<'_>, pid: i32, goal: Goal) {
        let own = &config.own;
        let is_android = |init: &Init| init.family == Family::Android || own.stop_method == StopMethod::Property;
        let look = || {
            let root = Root::of(pid).ok();
            let init = family::look(pid, root.as_ref(), own.android);
            let sdk = own.sdk.or_else(|| root.filter(|_| is_android(&init)).and_then(|root| image::sdk(root.fd())));
            let [flags, heard] = init.to_words();
            Ok(([flags, heard, sdk.map_or(u64::MAX, u64::from)], None))
        };
        let (init, sdk) = match aside::ask(&look) {
            Ok(([flags, heard, sdk], _)) => (Init::of_words([flags, heard]), u32::try_from(sdk).ok()),
            Err(errno) => {
                log::warn!("stop: init cannot be looked at: {}", errno.desc());
                (Init::UNKNOWN, own.sdk)
            }
        };
        let is_android = is_android(&init);
        self.sdk = sdk;
        self.left = methods(own, &config.signals, &init, self.sdk, goal);
        self.init = Some(init);
        self.reboots = goal != Goal::Halt;
        if is_android && goal == Goal::Reboot && !init.can_reboot {
            log::warn!("stop: this init may not reboot: it will end, and what follows is as after a halt");
        }
    }

    /// Goes the next way, and further ones as long as they lead nowhere.
    fn next(&mut self, host: &mut Host<'_>, pid: i32) {
        while !self.left.is_empty() {
            let goes = match self.left.remove(0) {
                Method::Property => self.set_property(host, pid),
                Method::Signal(signal) => self.signal(host, pid, signal),
                Method::Command => self.run_command(host, pid),
            };
            if goes {
                return;
            }
        }
        if let Some(at) = self.plan.kill_at {
            log::warn!("stop: no way is left but the kill in {} ms", at.saturating_sub(now_ms()));
        }
    }

    fn signal(&self, host: &mut Host<'_>, pid: i32, signal: i32) -> bool {
        let init = self.init.unwrap_or(Init::UNKNOWN);
        log::info!("sending signal {signal} to init ({}) as somebody asked", init.family.name());
        send(host, pid, signal);
        let hears = init.hears(signal);
        if !hears {
            log::warn!("stop: init does not listen to signal {signal}");
        }
        hears
    }

    fn set_property(&mut self, host: &mut Host<'_>, pid: i32) -> bool {
        let value: &[u8] = if self.reboots { b"reboot" } else { b"shutdown" };
        let ask = || {
            let question = property_service::ask(&Root::of(pid)?, b"sys.powerctl", value, self.sdk)?;
            Ok(([0; 3], Some(OwnedFd::from(question))))
        };
        let asked = aside::ask(&ask).and_then(|(_, socket)| socket.map(Question::from).ok_or(Errno::EBADF));
        let shown = crate::text::Shown(value);
        match asked {
            Ok(question) => {
                log::info!("setting sys.powerctl to {shown} as somebody asked");
                self.forget(host);
                if host.watch(&question, Source::StopReply, EpollFlags::EPOLLIN).is_ok() {
                    self.question = Some(question);
                }
                true
            }
            Err(errno) => {
                log::warn!("stop: sys.powerctl={shown} through init's property socket: {}", errno.desc());
                false
            }
        }
    }

    fn run_command(&mut self, host: &mut Host<'_>, pid: i32) -> bool {
        let Some(command) = host.config.own.stop_command.filter(|_| self.command.is_none()) else { return true };
        let shown = crate::text::shown(command.value);
        log::info!("running {shown} in the container, to stop it");
        match Command::start(host, pid, command.value) {
            Ok(command) => self.command = Some(command),
            Err(errno) => log::warn!("{}: {shown}: {}", host.config.place(command.at), errno.desc()),
        }
        self.command.is_some()
    }

    /// A descriptor of ours is ready.
    pub fn ready(&mut self, host: &mut Host<'_>, pid: i32, source: Source) {
        if source == Source::StopOutput
            && let Some(command) = self.command.as_mut()
        {
            command.read(host);
        } else if let Some(answer) = self.question.as_ref().and_then(Question::answer) {
            self.forget(host);
            if answer != Answer::Taken {
                log::warn!("stop: sys.powerctl: {answer}");
                self.next(host, pid);
            }
        }
    }

    /// A child of ours has ended; it may be the command.
    pub fn child(&mut self, host: &mut Host<'_>, pid: i32) {
        let Some(exit) = self.command.as_mut().and_then(|command| command.ended(host)) else { return };
        self.command = None;
        match exit {
            Exit::Code(0) => log::info!("stop command: done"),
            Exit::Code(code) => log::warn!("stop command: exited with code {code}"),
            Exit::Signal(signal) => log::warn!("stop command: killed by signal {signal}"),
        }
        if exit != Exit::Code(0) {
            self.next(host, pid);
        }
    }

    /// Does what is due. True: init is stuck.
    pub fn due(&mut self, host: &mut Host<'_>, pid: i32, now: u64) -> bool {
        match self.plan.due(now) {
            Some(Action::Next) if !self.left.is_empty() => {
                log::info!("stop: half of the time is over");
                self.next(host, pid);
            }
            None | Some(Action::Next) => {}
            Some(Action::Kill) => {
                log::warn!("stop: init did not end in time and is killed");
                self.kill(host, pid);
            }
            Some(Action::GiveUp) => {
                self.report(pid);
                return true;
            }
        }
        false
    }

    /// Ends everything in init's pid namespace, by init's death. Frozen meanwhile, nothing of it does anything any more; but a
    /// frozen v1 task dies only when it is thawed.
    pub fn kill(&mut self, host: &mut Host<'_>, pid: i32) {
        // The others in a shared one are another container's.
        let shared = !host.owns_pids();
        self.namespace = self.namespace.or_else(|| stuck::namespace_of(pid.unsigned_abs().into()).filter(|_| !shared));
        self.left.clear();
        self.plan.killed(now_ms());
        let _ = freeze::set(host.hierarchies, host.config.groups.limit, true);
        send(host, pid, libc::SIGKILL);
    }

    #[inline(never)]
    fn report(&self, pid: i32) {
        log::error!("stop: init did not end within {DEATH_MS} ms of SIGKILL; it is left behind, with these");
        let mut room = NAMED;
        stuck::for_each(self.namespace.unwrap_or(0), &mut |process| {
            if room > 0 {
                log::error!("stop: still there: {process}");
            }
            room = room.saturating_sub(1);
        });
        if room == NAMED {
            log::error!("stop: still there: pid {pid}");
        }
    }

    fn forget(&mut self, host: &Host<'_>) {
        if let Some(question) = self.question.take() {
            host.forget(&question);
        }
    }

    /// init has ended, or is left behind `stuck`.
    pub fn end(mut self, host: &mut Host<'_>, stuck: bool) {
        self.forget(host);
        if let Some(command) = self.command.take() {
            command.kill(host, !stuck);
        }
    }
}

/// Sends init a signal, which it gets only when it is thawed.
pub fn send(host: &mut Host<'_>, pid: i32, signal: i32) {
    if let Err(errno) = process::kill(pid, signal) {
        log::warn!("signal {signal} could not be sent: {}", errno.desc());
    }
    host.thaw(signal == libc::SIGKILL);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{At, DEFAULT};

    const SIGNALS: Signals = Signals {
        halt: libc::SIGPWR,
        halt_set: false,
        reboot: libc::SIGINT,
        reboot_set: false,
        stop: libc::SIGKILL,
        ours: libc::SIGPWR,
    };

    fn own(method: StopMethod, command: bool) -> Own<'static> {
        let mut own = Own::new();
        own.stop_method = method;
        own.stop_command = command.then_some(At { value: c"/bin/halt", at: DEFAULT });
        own
    }

    fn android(can_reboot: bool) -> Init {
        Init { family: family::Family::Android, can_reboot, ..Init::UNKNOWN }
    }

    #[test]
    fn android_is_asked_by_property_unless_it_hears_sigterm() {
        use Method::{Command, Property, Signal};
        let auto = |init: Init, sdk| methods(&own(StopMethod::Auto, false), &SIGNALS, &init, sdk, Goal::Halt);
        assert_eq!(auto(android(true), Some(30)), [Property, Signal(libc::SIGPWR)]);
        assert_eq!(auto(android(false), Some(22)), [Property, Signal(libc::SIGPWR)]);
        assert_eq!(auto(android(false), Some(30)), [Signal(libc::SIGTERM)]);
        assert_eq!(auto(Init::UNKNOWN, None), [Signal(libc::SIGPWR)]);
        let all = methods(&own(StopMethod::Auto, true), &SIGNALS, &android(true), None, Goal::Restart);
        assert_eq!(all, [Property, Signal(libc::SIGINT), Command]);
    }

    #[test]
    fn written_signal_wins_over_what_is_known() {
        let signals = Signals { halt: 10, halt_set: true, reboot: 12, reboot_set: true, ..SIGNALS };
        for (goal, signal) in [(Goal::Halt, 10), (Goal::Reboot, 12), (Goal::Restart, 12)] {
            let own = own(StopMethod::Auto, false);
            assert_eq!(methods(&own, &signals, &android(true), Some(30), goal), [Method::Signal(signal)]);
        }
    }

    #[test]
    fn method_of_the_config_comes_first_and_the_command_is_for_no_mere_reboot() {
        use Method::{Command, Property, Signal};
        let busybox = Init { family: family::Family::Busybox, ..Init::UNKNOWN };
        let (usr2, term, pwr) = (libc::SIGUSR2, libc::SIGTERM, libc::SIGPWR);
        for (method, goal, expected) in [
            (StopMethod::Auto, Goal::Halt, &[Signal(usr2), Command][..]),
            (StopMethod::Signal, Goal::Halt, &[Signal(pwr), Command]),
            (StopMethod::Property, Goal::Halt, &[Property, Signal(usr2), Command]),
            (StopMethod::Command, Goal::Halt, &[Command, Signal(usr2)]),
            (StopMethod::Command, Goal::Restart, &[Command, Signal(term)]),
            (StopMethod::Command, Goal::Reboot, &[Signal(term)]),
        ] {
            assert_eq!(methods(&own(method, true), &SIGNALS, &busybox, None, goal), expected, "{method:?} {goal:?}");
        }
    }

    #[test]
    fn plan_polite_then_next_then_kill_then_give_up() {
        let mut plan = Plan::polite(1_000, 600, true);
        assert_eq!((plan.due(1_299), plan.deadline()), (None, Some(1_300)));
        assert_eq!((plan.due(1_300), plan.due(1_300)), (Some(Action::Next), None));
        assert_eq!((plan.due(1_600), plan.due(1_600)), (Some(Action::Kill), None));
        assert_eq!(plan.deadline(), Some(1_600 + DEATH_MS));
        assert_eq!(plan.due(1_600 + DEATH_MS), Some(Action::GiveUp));
        assert_eq!(plan, Plan::default());
    }

    #[test]
    fn plan_late_look_kills_and_asks_no_more() {
        let mut plan = Plan::polite(0, 100, true);
        assert_eq!(plan.due(500), Some(Action::Kill));
        assert_eq!(plan.deadline(), Some(500 + DEATH_MS));
        assert_eq!(Plan::polite(0, 0, true).due(0), Some(Action::Kill));
        assert_eq!(Plan::polite(0, u64::MAX, false).deadline(), Some(u64::MAX / 2));
    }

    #[test]
    fn plan_newer_order_takes_back_no_kill() {
        let hard = Plan::polite(0, 100, true);
        let soft = Plan::polite(10, 1_000, false);
        assert_eq!(hard.followed_by(soft).kill_at, Some(100));
        assert_eq!(soft.followed_by(hard).kill_at, Some(100));
        let mut killed = hard;
        killed.killed(50);
        assert_eq!(killed.followed_by(soft), killed);
        killed.killed(5_000);
        assert_eq!(killed.give_up_at, Some(50 + DEATH_MS));
    }
}
