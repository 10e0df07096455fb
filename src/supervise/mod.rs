//! A life from init's exec to its end: an epoll loop that dispatches and never decides.
//!
//! `outcome` says what an end means, `lifecycle` what follows; both are pure. `console` relays.

use crate::android::crash;
use crate::config::own::ReadyFailed;
use crate::control::answer::Order;
use crate::control::proto::StopMode;
use crate::prepare::console::ConsoleSide;
use crate::prepare::daemon::Caller;
use crate::prepare::host::{Event, Host, Source, now_ms};
use crate::ready::Watch;
use crate::spawn::{Life, ends_us};
use crate::sys::process::{self, Exit};
use crate::sys::signals;
use lifecycle::Asked;
use outcome::Outcome;

pub mod console;
pub mod lifecycle;
pub mod outcome;

/// Supervises until init has ended, and reaps it. `caller` waits until the container runs or, if that is asked for, is ready.
pub fn run<'t>(
    life: &mut Life<'_, 't>,
    side: &mut ConsoleSide<'_>,
    host: &mut Host<'t>,
    caller: &mut Caller,
) -> Outcome {
    let Some(pid) = life.pid else { return Outcome::Exit(0) };
    let mut ready = Watch::begin(host, pid, caller);
    crate::sys::stack::trim();
    // When init is killed, because a stop was asked for and its time is up.
    let mut kill_at: Option<u64> = None;
    let held = core::mem::take(&mut host.held_signals);
    for signal in (1..=signals::MAX).filter(|signal| held >> (signal - 1) & 1 == 1) {
        kill_at = signalled(host, pid, signal).or(kill_at);
    }
    // init may have ended while the start still read the barrier, and its SIGCHLD be gone.
    let mut look = true;
    loop {
        let mut look_again_at = None;
        if look {
            match process::try_wait(pid) {
                Ok(Some(exit)) => return ended(life, side, host, exit, ready),
                Ok(None) => ready.children(host, caller),
                // Not our child any more: nothing will ever tell us how it ended.
                Err(nix::errno::Errno::ECHILD) => {
                    return ended(life, side, host, Exit::Signal(libc::SIGKILL), ready);
                }
                Err(_) => look_again_at = Some(now_ms() + 100),
            }
        }
        look = look_again_at.is_some();
        if ready.dooms() {
            tell(host, pid, libc::SIGKILL);
        }
        let patience = life.console.as_ref().and_then(|console| console.deadline(host));
        match host.next([patience, kill_at, look_again_at, ready.deadline()].into_iter().flatten().min()) {
            Event::Child => {
                look = true;
                life.guard.reap(pid, host);
            }
            Event::Ready(source @ (Source::Progress | Source::Hook)) => ready.heard(host, source),
            Event::Ready(source) => relay(life, side, host, source),
            Event::Signal(libc::SIGWINCH) => {
                if let Some(console) = &life.console {
                    console.resized(side, host);
                }
            }
            // Writing to a mirror that is gone; the write itself says so.
            Event::Signal(libc::SIGPIPE) => {}
            Event::Signal(signal) => kill_at = signalled(host, pid, signal).or(kill_at),
            // A reboot that is asked for meanwhile takes back no deadline.
            Event::Order(order) => kill_at = obey(host, pid, order).or(kill_at),
            Event::Deadline => {
                let now = now_ms();
                if patience.is_some_and(|at| at <= now)
                    && let Some(console) = life.console.as_mut()
                {
                    console.lose_patience(now, host);
                }
                if kill_at.is_some_and(|at| at <= now) {
                    log::warn!("stop: init did not end in time and is killed");
                    tell(host, pid, libc::SIGKILL);
                    kill_at = None;
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
    exit: Exit,
    mut ready: Watch<'t>,
) -> Outcome {
    life.pid = None;
    life.guard.end(host);
    ready.end(host);
    let outcome = match host.config.own.ready_failed {
        policy if ready.failed => Outcome::NotReady { again: policy == ReadyFailed::Restart },
        _ => Outcome::of(exit),
    };
    let tail = life.console.take().map(|console| console.drain(side, host));
    crash::conclude(life, host, outcome, tail.as_ref())
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
        Source::View(index) => console.view_ready(index, host),
        Source::Signals | Source::Barrier | Source::Hook | Source::Guard | Source::Mounts | Source::Progress => {}
    }
}

/// The one signal that is for us, which service managers stop us with, is a client's `stop`; the others are for init. When
/// init shall be killed if it has not ended by then.
fn signalled(host: &mut Host<'_>, pid: i32, signal: i32) -> Option<u64> {
    if signal == host.config.signals.ours {
        return obey(host, pid, Order::Stop { mode: StopMode::Halt, never_kill: false, timeout_ms: -1 });
    }
    forward(pid, signal);
    None
}

/// As lxc-start does: SIGHUP, which would mean "re-read your configuration" to many inits when our terminal goes away,
/// becomes SIGTERM; everything else is passed on as it is.
fn forward(pid: i32, signal: i32) {
    let signal = if signal == libc::SIGHUP { libc::SIGTERM } else { signal };
    if let Err(errno) = process::kill(pid, signal) {
        log::warn!("signal {signal} could not be forwarded: {}", errno.desc());
    }
}

/// Sends what a client ordered. When init shall be killed if it has not ended by then.
fn obey(host: &mut Host<'_>, pid: i32, order: Order) -> Option<u64> {
    let signals = host.config.signals;
    let (asked, signal, kill_at) = match order {
        Order::Kill => (Asked::Stop, signals.stop, None),
        Order::Stop { mode, never_kill, timeout_ms } => {
            let wait = u64::try_from(timeout_ms).unwrap_or(host.config.timeouts.stop_ms);
            let kill_at = (!never_kill).then(|| now_ms().saturating_add(wait));
            match mode {
                StopMode::Halt => (Asked::Stop, halt_signal(pid, signals.halt, signals.halt_set), kill_at),
                StopMode::Kill => (Asked::Stop, libc::SIGKILL, None),
                // The guest's own business: what follows is decided by how it ends.
                StopMode::Reboot => (host.asked, signals.reboot, None),
                StopMode::Restart => (Asked::Restart, signals.reboot, kill_at),
            }
        }
        Order::Frozen(_) | Order::Resized => return None,
    };
    host.asked = asked;
    log::info!("sending signal {signal} to init as somebody asked");
    tell(host, pid, signal);
    // Whatever it is, only a thawed init hears it.
    host.thaw(false);
    kill_at
}

/// Sends init a signal. A frozen v1 task dies only when it is thawed.
fn tell(host: &mut Host<'_>, pid: i32, signal: i32) {
    if let Err(errno) = process::kill(pid, signal) {
        log::warn!("signal {signal} could not be sent: {}", errno.desc());
    }
    if signal == libc::SIGKILL {
        host.thaw(true);
    }
}

/// systemd halts on SIGRTMIN+3 (37, as the kernel counts) and ignores SIGPWR; like LXC, an init that blocks 37 is taken for
/// one that waits for it, unless the config says which signal it wants.
#[inline(never)] // 4 KB of path that the loop need not carry
fn halt_signal(pid: i32, configured: i32, was_configured: bool) -> i32 {
    const RTMIN_3: i32 = 37;
    if was_configured {
        return configured;
    }
    let mut text = [0u8; 4096];
    let flags = nix::fcntl::OFlag::O_RDONLY | nix::fcntl::OFlag::O_CLOEXEC;
    let read = crate::text::PathText::format(format_args!("/proc/{pid}/status"))
        .map_err(|_| nix::errno::Errno::ENAMETOOLONG)
        .and_then(|path| crate::sys::fds::open(path.c(), flags, nix::sys::stat::Mode::empty()))
        .and_then(|file| nix::unistd::read(&file, &mut text));
    let text = text.get(..read.unwrap_or(0)).unwrap_or(&[]);
    let blocked = memchr::memmem::find(text, b"SigBlk:").and_then(|at| text.get(at + 7..at + 7 + 17));
    let mask =
        blocked.and_then(|hex| core::str::from_utf8(hex).ok()).and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    match mask {
        Some(mask) if mask >> (RTMIN_3 - 1) & 1 == 1 => RTMIN_3,
        _ => configured,
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
