//! The end of a life, whether it ran or never came to be.
//!
//! Order: whatever lives is killed and reaped, stop hooks, ptys and descriptors closed, cgroups removed, STOPPED, post-stop
//! hooks. A post-stop hook that fails turns a restart into a stop: users rely on that to break reboot loops.

use crate::config::HookKind;
use crate::control::proto::News;
use crate::error::Error;
use crate::hooks::{self, Moment};
use crate::prepare::console::ConsoleSide;
use crate::prepare::host::{Host, now_ms};
use crate::spawn::Life;
use crate::state::State;
use crate::supervise::lifecycle::{Asked, Next};
use crate::supervise::outcome::Outcome;
use crate::sys::process;
use crate::text::Arena;
use core::ffi::CStr;
use std::os::fd::AsRawFd;

/// Cleans up after a life and says what follows.
#[inline(never)] // its frame would live as long as the container
pub fn teardown(
    life: Life<'_, '_>,
    result: Result<Outcome, Error>,
    side: &mut ConsoleSide<'_>,
    host: &mut Host<'_>,
) -> Result<Next, Error> {
    let mut life = life;
    if let Ok(outcome) = &result {
        host.tell(News::Exit(outcome.wait_status()));
    }
    host.set_state(if result.is_ok() { State::Stopping } else { State::Aborting });
    if let Some(pid) = life.pid.take() {
        // A start that failed. The child is pid 1 of its namespace: everything in it ends with it.
        let _ = process::kill(pid, libc::SIGKILL);
        let _ = process::wait(pid);
    }
    if let Some(console) = life.console.take() {
        console.drain(side, host);
    }
    host.set_init(0, 0);
    host.end_life();
    let restart = result.as_ref().is_ok_and(|outcome| host.lifecycle.wants_restart(*outcome, host.asked));
    let target = Some(if restart { "reboot" } else { "stop" });
    if result.is_ok()
        && let Err(error) = stop_hooks(&life, target, host)
    {
        log::warn!("{error}");
    }
    let uptime_ms = life.began_ms.map_or(0, |began| now_ms().saturating_sub(began));
    let Life { group, ttys, namespaces, others, .. } = life;
    drop((ttys, namespaces));
    group.remove();
    others.remove_new(host.hierarchies);
    host.set_state(State::Stopped);
    let post_stop = hooks::run_on_host(host, HookKind::PostStop, &Moment { target, ..Moment::default() });
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
    Ok(host.lifecycle.ended(outcome, host.asked, uptime_ms, now_ms()))
}

/// Stop hooks get the container's namespaces, which live on in our descriptors.
fn stop_hooks(life: &Life<'_, '_>, target: Option<&'static str>, host: &mut Host<'_>) -> Result<(), Error> {
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
    hooks::run_on_host(host, HookKind::Stop, &Moment { target, namespaces: &words, pid: None })
}

/// Whether a failed start is tried again: only if an earlier life ran, and the policy restarts failures.
pub fn after_failed_start(host: &mut Host<'_>, lives: u32) -> Next {
    let outcome = Outcome::Exit(1);
    if lives == 0 || host.asked == Asked::Stop || !host.lifecycle.wants_restart(outcome, host.asked) {
        return Next::Leave { code: if host.asked == Asked::Stop { 0 } else { crate::FAILED } };
    }
    host.lifecycle.ended(outcome, host.asked, 0, now_ms())
}
