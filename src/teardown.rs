//! The end of a life, whether it ran or never came to be.
//!
//! Order: whatever lives is killed and reaped, stop hooks, ptys and descriptors closed, cgroups removed, STOPPED, post-stop
//! hooks. A post-stop hook that fails turns a restart into a stop: users rely on that to break reboot loops.

use crate::config::own::RebootAction;
use crate::config::{Hook, HookKind};
use crate::control::proto::News;
use crate::error::Error;
use crate::hooks::{self, Moment};
use crate::logging::log;
use crate::prepare::console::ConsoleSide;
use crate::prepare::host::{Event, Host, now_ms};
use crate::spawn::{Life, ends_us};
use crate::state::State;
use crate::supervise::lifecycle::{Asked, Next};
use crate::supervise::outcome::Outcome;
use crate::supervise::{self, stop};
use crate::sys::process;
use crate::text::{Arena, Shown};
use core::ffi::CStr;
use std::os::fd::AsRawFd;

/// Cleans up after a life and says what follows.
#[inline(never)] // its frame would live as long as the container
pub fn teardown(
    life: &mut Life<'_, '_>,
    result: Result<Outcome, Error>,
    side: &mut ConsoleSide<'_>,
    host: &mut Host<'_>,
) -> Result<Next, Error> {
    if let Ok(outcome) = &result {
        host.tell(News::Exit(outcome.wait_status()));
    }
    life.guard.end(host);
    #[cfg(feature = "seccomp")]
    life.proxy.end();
    host.set_state(if result.is_ok() { State::Stopping } else { State::Aborting });
    if let Some(pid) = life.pid.take() {
        put_down(pid, life, side, host);
    }
    if !host.owns_pids() {
        life.group.kill();
    }
    if let Some(console) = life.console.take() {
        console.drain(side, host);
    }
    host.set_init(0, 0);
    host.end_life();
    #[cfg(feature = "net")]
    crate::net::undo(&mut life.links, host);
    let argument = host.reboot_argument.clone();
    let argument = argument.bytes();
    let rule = match result {
        Ok(Outcome::Reboot) if host.asked == Asked::Nothing => rule(argument, host),
        _ => None,
    };
    let restart = result.as_ref().is_ok_and(|outcome| host.lifecycle.wants_restart(*outcome, host.asked, rule));
    let target = Some(if restart { "reboot" } else { "stop" });
    if result.is_ok()
        && let Err(error) = stop_hooks(life, Moment { target, argument, ..Moment::default() }, host)
    {
        log::warn!("{error}");
    }
    // What crashed again and again would do so in the next life, however long that takes.
    let uptime_ms = (!life.crashed).then(|| life.uptime_ms());
    life.ttys.clear();
    life.namespaces.clear();
    #[cfg(feature = "idmap")]
    if life.borrowed {
        match crate::idmap::borrow::fork(host) {
            Ok(None) => {
                life.group.remove();
                process::exit_now(0)
            }
            Ok(Some(pid)) if !crate::idmap::trees::wait(pid) => crate::idmap::trees::end(pid),
            Ok(Some(_)) => {}
            Err(error) => log::warn!("{error}"),
        }
    }
    life.group.remove();
    life.others.remove_new(host.hierarchies);
    host.set_state(State::Stopped);
    let post_stop = hooks::run_on_host(host, HookKind::PostStop, &Moment { target, argument, ..Moment::default() });
    let outcome = match result {
        Ok(outcome) => outcome,
        Err(error) => {
            if let Err(other) = post_stop {
                log::warn!("{other}");
            }
            return Err(error);
        }
    };
    if let Err(error) = post_stop {
        log::warn!("{error}");
        if restart {
            log::warn!("the restart is cancelled, because a post-stop hook failed");
            return Ok(Next::Leave { code: 0 });
        }
    }
    Ok(host.lifecycle.ended(outcome, host.asked, rule, uptime_ms, now_ms()))
}

/// The rule that `monopod.reboot.*` has for a reboot, and where that is to ask the hook, its answer.
fn rule(argument: &[u8], host: &mut Host<'_>) -> Option<RebootAction> {
    let own = &host.config.own;
    let rule = own.after_reboot(argument)?;
    let word = RebootAction::WORDS.iter().find(|(_, action)| *action == rule).map_or("", |(word, _)| word);
    log::info!("reboot: {}: {word}", Shown(if argument.is_empty() { b"no argument" } else { argument }));
    if rule != RebootAction::Hook {
        return Some(rule);
    }
    let Some(hook) = own.reboot_hook else {
        log::warn!("reboot: there is no monopod.hook.reboot to ask, so it is a stop");
        return Some(RebootAction::Stop);
    };
    let hook = Hook { kind: HookKind::Reboot, command: hook.value, at: hook.at };
    match hooks::run_one(host, &hook, &Moment { argument, ..Moment::default() }) {
        Ok(()) => Some(RebootAction::Restart),
        Err(error) => {
            log::warn!("{error}");
            log::warn!("reboot: the hook failed, so it is a stop");
            Some(RebootAction::Stop)
        }
    }
}

/// Ends the process of a start that failed. It is pid 1 of its namespace: everything in it ends with it, or soon is left behind.
fn put_down(pid: i32, life: &mut Life<'_, '_>, side: &mut ConsoleSide<'_>, host: &mut Host<'_>) {
    stop::send(host, pid, libc::SIGKILL);
    let until = now_ms().saturating_add(stop::DEATH_MS);
    while let Ok(None) = process::try_wait(pid) {
        match host.next(Some(until)) {
            Event::Deadline => return log::error!("stop: process {pid} does not die and is left behind"),
            Event::Ready(source) => supervise::relay(life, side, host, source),
            Event::Order(order) if !order.ends() => {}
            Event::Signal(signal) if !ends_us(host.config, signal) => {}
            Event::Order(_) | Event::Signal(_) => host.asked = Asked::Stop,
            Event::Child => {}
        }
    }
}

/// Stop hooks get the container's namespaces, which live on in our descriptors.
fn stop_hooks(life: &Life<'_, '_>, moment: Moment<'_>, host: &mut Host<'_>) -> Result<(), Error> {
    if host.config.hooks(HookKind::Stop).next().is_none() {
        return Ok(());
    }
    let mut storage = [0u8; 1024];
    let arena = Arena::new(&mut storage);
    let mut words: heapless::Vec<&CStr, 8> = heapless::Vec::new();
    let own = nix::unistd::getpid();
    for (name, fd) in &life.namespaces {
        if let Ok(word) = arena.format(format_args!("{name}:/proc/{own}/fd/{}", fd.as_raw_fd())) {
            let _ = words.push(word);
        }
    }
    hooks::run_on_host(host, HookKind::Stop, &Moment { namespaces: &words, ..moment })
}

/// Whether a failed start is tried again: only if an earlier life ran, and the policy restarts failures.
pub fn after_failed_start(host: &mut Host<'_>, lives: u32) -> Next {
    let outcome = Outcome::Exit(1);
    if lives == 0 || host.asked == Asked::Stop || !host.lifecycle.wants_restart(outcome, host.asked, None) {
        return Next::Leave { code: if host.asked == Asked::Stop { 0 } else { crate::FAILED } };
    }
    host.lifecycle.ended(outcome, host.asked, None, Some(0), now_ms())
}
