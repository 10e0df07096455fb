//! A life from init's exec to its end: an epoll loop that dispatches and never decides.
//!
//! `outcome` says what an end means, `lifecycle` what follows; both are pure. `console` relays. `stop` ends a life that somebody
//! wants ended: by what init understands (`family`), by a `command` inside, by force; `stuck` names who does not even die.

use crate::android::crash;
use crate::config::own::ReadyFailed;
use crate::control::answer::Order;
use crate::control::proto::StopMode;
use crate::logging::log;
use crate::prepare::console::ConsoleSide;
use crate::prepare::daemon::Caller;
use crate::prepare::host::{Event, Host, Source, now_ms};
use crate::ready::Watch;
use crate::spawn::{Life, ends_us};
use crate::sys::process;
use crate::sys::signals;
use lifecycle::Asked;
use outcome::Outcome;
use stop::Stop;

pub mod command;
pub mod console;
pub mod family;
pub mod lifecycle;
pub mod outcome;
pub mod stop;
pub mod stuck;

/// Supervises until init has ended, and reaps it. `caller` waits until the container runs or, if that is asked for, is ready.
/// `first`: no life was before.
pub fn run<'t>(
    life: &mut Life<'_, 't>,
    side: &mut ConsoleSide<'_>,
    host: &mut Host<'t>,
    caller: &mut Caller,
    first: bool,
) -> Outcome {
    let Some(pid) = life.pid else { return Outcome::Exit(0) };
    let mut ready = Watch::begin(host, pid, caller);
    crate::sys::stack::trim();
    let mut stop = Stop::default();
    let held = core::mem::take(&mut host.held_signals);
    for signal in (1..=signals::MAX).filter(|signal| held >> (signal - 1) & 1 == 1) {
        signalled(&mut stop, host, pid, signal);
    }
    // init may have ended while the start still read the barrier, and its SIGCHLD be gone.
    let mut look = true;
    // Once: a restart goes through the same code again.
    let mut fresh = first;
    loop {
        let mut look_again_at = None;
        if look {
            match process::try_wait(pid) {
                Ok(Some(exit)) => {
                    let outcome = Outcome::of(exit, host.owns_pids());
                    return ended(life, side, host, outcome, stop, ready);
                }
                Ok(None) => {
                    stop.child(host, pid);
                    ready.children(host, caller);
                }
                // Not our child any more: nothing will ever tell us how it ended.
                Err(nix::errno::Errno::ECHILD) => {
                    return ended(life, side, host, Outcome::Signal(libc::SIGKILL), stop, ready);
                }
                Err(_) => look_again_at = Some(now_ms() + 100),
            }
        }
        look = look_again_at.is_some();
        if ready.dooms() {
            stop.kill(host, pid);
        }
        let patience = life.console.as_ref().and_then(|console| console.deadline(host));
        let deadlines = [patience, stop.deadline(), look_again_at, ready.deadline()];
        if core::mem::take(&mut fresh) {
            crate::sys::stack::give_code_back();
        }
        match host.next(deadlines.into_iter().flatten().min()) {
            Event::Child => {
                look = true;
                life.guard.reap(pid, host);
            }
            Event::Ready(source @ (Source::Progress | Source::Hook)) => ready.heard(host, source),
            Event::Ready(source @ (Source::StopReply | Source::StopOutput)) => stop.ready(host, pid, source),
            Event::Ready(source) => relay(life, side, host, source),
            Event::Signal(libc::SIGWINCH) => {
                if let Some(console) = &life.console {
                    console.resized(side, host);
                }
            }
            // Writing to a mirror that is gone; the write itself says so.
            Event::Signal(libc::SIGPIPE) => {}
            Event::Signal(signal) => signalled(&mut stop, host, pid, signal),
            Event::Order(order) => stop.obey(host, pid, order),
            Event::Deadline => {
                let now = now_ms();
                if patience.is_some_and(|at| at <= now)
                    && let Some(console) = life.console.as_mut()
                {
                    console.lose_patience(now, host);
                }
                if stop.due(host, pid, now) {
                    return ended(life, side, host, Outcome::Stuck, stop, ready);
                }
                ready.late(now, host, caller);
            }
        }
    }
}

fn ended<'t>(
    life: &mut Life<'_, 't>,
    side: &mut ConsoleSide<'_>,
    host: &mut Host<'t>,
    outcome: Outcome,
    stop: Stop,
    mut ready: Watch<'t>,
) -> Outcome {
    life.pid = None;
    life.guard.end(host);
    stop.end(host, outcome == Outcome::Stuck);
    ready.end(host);
    let outcome = match host.config.own.ready_failed {
        _ if outcome == Outcome::Stuck => outcome,
        policy if ready.failed => Outcome::NotReady { again: policy == ReadyFailed::Restart },
        _ => outcome,
    };
    let console = life.console.take();
    let tail = console.map(|console| console.drain(side, host)).map(|()| side.recent.tail());
    crash::conclude(life, host, outcome, tail)
}

/// Does what the console, its mirror or the guard is ready for.
pub fn relay(life: &mut Life<'_, '_>, side: &mut ConsoleSide<'_>, host: &mut Host<'_>, source: Source) {
    match (source, life.pid) {
        (Source::Guard, Some(pid)) => life.guard.serve(pid, host),
        (Source::Mounts, Some(pid)) => life.guard.scan(pid, host),
        _ => {}
    }
    let Some(console) = life.console.as_mut() else { return };
    match source {
        Source::Console => console.read_guest(side, host),
        Source::PeerInput => console.read_mirror(side, host),
        Source::PeerOutput => console.mirror_ready(side, host),
        Source::View(index) => console.view_ready(index, side, host),
        Source::Signals | Source::Barrier | Source::Hook | Source::Guard | Source::Mounts => {}
        Source::StopReply | Source::StopOutput | Source::Progress => {}
    }
}

/// The one signal that is for us, which service managers stop us with, is a client's `stop`; the others are for init.
fn signalled(stop: &mut Stop, host: &mut Host<'_>, pid: i32, signal: i32) {
    if signal == host.config.signals.ours {
        stop.obey(host, pid, Order::Stop { mode: StopMode::Halt, never_kill: false, timeout_ms: -1 });
    } else {
        forward(pid, signal);
    }
}

/// As lxc-start does: SIGHUP, which would mean "re-read your configuration" to many inits when our terminal goes away,
/// becomes SIGTERM; everything else is passed on as it is.
fn forward(pid: i32, signal: i32) {
    let signal = if signal == libc::SIGHUP { libc::SIGTERM } else { signal };
    if let Err(errno) = process::kill(pid, signal) {
        log::warn!("signal {signal} could not be forwarded: {}", errno.desc());
    }
}

/// Waits for the next life; clients are answered meanwhile, and a stop ends the wait. False if there shall be no next life.
pub fn idle(host: &mut Host<'_>, after_ms: u64) -> bool {
    let until = now_ms().saturating_add(after_ms);
    while host.asked == Asked::Nothing {
        match host.next(Some(until)) {
            Event::Deadline => return true,
            Event::Order(order) if !order.ends() => return true,
            Event::Signal(signal) if !ends_us(host.config, signal) => {}
            Event::Order(_) | Event::Signal(_) => host.asked = Asked::Stop,
            Event::Child | Event::Ready(_) => {}
        }
    }
    false
}
