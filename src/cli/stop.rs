//! `stop`: asks a container to halt or to reboot, or kills it.

use super::prepass::Operands;
use super::{Call, FAILED, Line, Outcome, Target, parse, seconds};
use crate::control::client::{Container, Failure, Watch, Watched};
use crate::control::proto::{StopMode, StopOrder, Wanted};
use crate::files;
use crate::state::State;
use crate::supervise::stuck;
use crate::text::{number, shown};
use argh::{ArgsInfo, FromArgs};
use core::time::Duration;
use nix::errno::Errno;
use std::time::Instant;

/// LXC's exit code for a container that does not run.
const NOT_RUNNING: i32 = 2;
/// What LXC waits for a halt or a reboot when no time is named.
const LXC_TIMEOUT: Duration = Duration::from_secs(60);
/// What the end itself may take beyond the time for a halt: hooks after the stop, cgroups, a restart.
const GRACE: Duration = Duration::from_secs(60);
/// How long the address may outlive the state STOPPED before it is left at that.
const FAREWELL: Duration = Duration::from_secs(2);
/// SIGRTMIN+3 as the kernel counts, whatever the C library keeps for itself: systemd's signal for a halt.
const SIGRTMIN_3: i32 = 37;

/// Stops a container: the halt signal, then after the time a kill. Exit code: 0 done, 1 failed, 2 it was not running.
#[derive(FromArgs, ArgsInfo)]
struct Args {
    /// let it reboot instead
    #[argh(switch, short = 'r')]
    reboot: bool,
    /// kill it at once
    #[argh(switch, short = 'k')]
    kill: bool,
    /// do not wait for the end
    #[argh(switch, short = 'W')]
    nowait: bool,
    /// seconds until the kill; -1 = never
    #[argh(option, short = 't', arg_name = "SEC", from_str_fn(seconds))]
    timeout: Option<Option<u32>>,
    /// never kill
    #[argh(switch)]
    nokill: bool,
    /// accepted for LXC's sake: there is no lock
    #[argh(switch)]
    #[allow(dead_code)]
    nolock: bool,
}

/// Lets a container end and start again. One whose init does not end in time is killed; it starts again all the same. Exit
/// code: 0 done, 1 failed, 2 it was not running.
#[derive(FromArgs, ArgsInfo)]
struct RestartArgs {
    /// seconds until the kill; -1 = never
    #[argh(option, short = 't', arg_name = "SEC", from_str_fn(seconds))]
    timeout: Option<Option<u32>>,
    /// do not wait until it runs again
    #[argh(switch, short = 'W')]
    nowait: bool,
}

/// What is to be done, decided.
struct Plan {
    mode: StopMode,
    wait: bool,
    never_kill: bool,
    /// None: the supervisor's default.
    timeout: Option<Duration>,
}

/// Runs the verb.
pub fn run(call: &Call<'_>) -> Outcome {
    let mut line = parse::<Args>(call, Operands::Anywhere, "")?;
    let target = line.only_target()?;
    let args = &line.args;
    let mode = match (args.kill, args.reboot) {
        (true, true) => return Err(line.fail(format_args!("--kill and --reboot exclude each other"))),
        (true, false) => StopMode::Kill,
        (false, true) => StopMode::Reboot,
        (false, false) => StopMode::Halt,
    };
    if args.kill && args.nokill {
        return Err(line.fail(format_args!("--kill and --nokill exclude each other")));
    }
    let plan = Plan {
        mode,
        wait: !args.nowait,
        never_kill: args.nokill || args.timeout == Some(None),
        timeout: args.timeout.flatten().map(|span| Duration::from_secs(span.into())),
    };
    carry_out(&line, &target, &plan)
}

/// `restart`
pub fn restart(call: &Call<'_>) -> Outcome {
    let mut line = parse::<RestartArgs>(call, Operands::Anywhere, "")?;
    let target = line.only_target()?;
    let plan = Plan {
        mode: StopMode::Restart,
        wait: !line.args.nowait,
        never_kill: line.args.timeout == Some(None),
        timeout: line.args.timeout.flatten().map(|span| Duration::from_secs(span.into())),
    };
    carry_out(&line, &target, &plan)
}

fn carry_out<T>(line: &Line<'_, T>, target: &Target<'_>, plan: &Plan) -> Outcome {
    let name = shown(target.name);
    let container = target.container();
    let init = container.init_pid().ok().flatten().and_then(|pid| u64::try_from(pid).ok());
    let alive = || stuck::namespace_of(init?);
    let before = alive();
    let result = match stop(&container, plan) {
        // The supervisor may have left it behind.
        Ok(()) if plan.wait && before.is_some() && alive() == before => Err(Failure::TimedOut),
        other => other,
    };
    match result {
        Ok(()) => Ok(0),
        Err(Failure::NotRunning) => {
            line.fail(format_args!("'{name}' is not running"));
            Err(NOT_RUNNING)
        }
        Err(Failure::TimedOut) => {
            line.fail(format_args!("'{name}' did not {} in time", verb(plan.mode)));
            #[cfg(feature = "tools")]
            for process in super::tools::stuck::processes(before) {
                line.fail(format_args!("still there: {process}"));
            }
            Err(FAILED)
        }
        Err(other) => Err(line.fail(format_args!("{} '{name}': {other}", verb(plan.mode)))),
    }
}

fn verb(mode: StopMode) -> &'static str {
    if comes_back(mode) { "restart" } else { "stop" }
}

/// Whether another life follows.
fn comes_back(mode: StopMode) -> bool {
    matches!(mode, StopMode::Reboot | StopMode::Restart)
}

/// Gives the order to our own supervisor, or does LXC's way if it is LXC's.
fn stop(container: &Container<'_>, plan: &Plan) -> Result<(), Failure> {
    // Thawing shows as RUNNING, too: that must not pass for the next life.
    if comes_back(plan.mode) && matches!(container.state()?, State::Frozen | State::Freezing) {
        container.set_frozen(false, Some(Instant::now() + GRACE))?;
    }
    // Asked for before the order, so that no state is missed.
    let watch = match container.watch(goal(plan.mode)) {
        Ok(Watched::Waiting(watch)) => Some(watch),
        Ok(Watched::Already(_)) => None,
        // All places for waiters are taken: the order goes out all the same, and the end shows by asking.
        Err(Failure::Refused(Errno::EBUSY)) if !comes_back(plan.mode) => None,
        Err(other) => return Err(other),
    };
    let timeout_ms = match (plan.wait, plan.timeout) {
        (false, None) => 0,
        (_, Some(span)) => i64::try_from(span.as_millis()).unwrap_or(i64::MAX),
        (true, None) => -1,
    };
    // Who does not wait asked for no kill either, unless they said when.
    let never_kill = plan.never_kill || !plan.wait && plan.timeout.is_none() && plan.mode != StopMode::Kill;
    let order = StopOrder { mode: plan.mode, never_kill, timeout_ms };
    match container.order(order) {
        Err(Failure::Refused(Errno::ENOSYS)) => return lxc(container, plan, watch),
        other => other?,
    }
    if !plan.wait {
        return Ok(());
    }
    // Our supervisor keeps the time for the kill itself; this one is only for a supervisor that hangs.
    let span = match (plan.mode, plan.timeout) {
        (StopMode::Kill, timeout) => Some(timeout.unwrap_or(GRACE)),
        // Nothing is killed: who names a time is told then that init did not listen.
        (StopMode::Reboot, timeout) => Some(timeout.unwrap_or(LXC_TIMEOUT + GRACE)),
        (StopMode::Restart, timeout) if plan.never_kill => timeout,
        (StopMode::Restart, timeout) => Some(timeout.unwrap_or(LXC_TIMEOUT) + GRACE),
        (StopMode::Halt, timeout) if plan.never_kill => timeout,
        (StopMode::Halt, timeout) => timeout.map(|span| span + GRACE),
    };
    finish(container, plan.mode, watch, span.map(|span| Instant::now() + span))
}

/// The state that shows that the order was carried out. It must come from now on: a supervisor that waits for its next
/// try to start counts as STOPPED, too.
fn goal(mode: StopMode) -> Wanted {
    Wanted::default().with_next(if comes_back(mode) { State::Running } else { State::Stopped })
}

/// Waits for the goal.
fn finish(
    container: &Container<'_>,
    mode: StopMode,
    watch: Option<Watch>,
    deadline: Option<Instant>,
) -> Result<(), Failure> {
    let state = match watch {
        Some(watch) => watch.next(deadline)?,
        None if container.wait(Wanted::default().with(State::Stopped), deadline)? => None,
        None => return Err(Failure::TimedOut),
    };
    if comes_back(mode) {
        // The end of the connection: it did not come back.
        return state.map(drop).ok_or(Failure::Closed);
    }
    // STOPPED is told a moment before the address is free, and who stops and then starts should find it so. Another
    // connection, answered or not, ends with the supervisor.
    if let Ok(Watched::Waiting(watch)) = container.watch(Wanted::default().with_next(State::Running)) {
        let _ = watch.next(Some(Instant::now() + FAREWELL));
    }
    Ok(())
}

/// The way for LXC's own supervisor: we signal init ourselves, and ask for the kill by LXC's STOP.
fn lxc(container: &Container<'_>, plan: &Plan, watch: Option<Watch>) -> Result<(), Failure> {
    let signal = match plan.mode {
        StopMode::Kill => return lxc_kill(container, plan),
        StopMode::Reboot | StopMode::Restart => configured(container, c"lxc.signal.reboot").unwrap_or(libc::SIGINT),
        StopMode::Halt => configured(container, c"lxc.signal.halt").unwrap_or_else(|| halt_signal(container)),
    };
    container.signal_init(signal)?;
    if !plan.wait {
        return Ok(());
    }
    let deadline = Instant::now() + plan.timeout.unwrap_or(LXC_TIMEOUT);
    match finish(container, plan.mode, watch, Some(deadline)) {
        Err(Failure::TimedOut) if plan.mode == StopMode::Halt && !plan.never_kill => lxc_kill(container, plan),
        other => other,
    }
}

fn lxc_kill(container: &Container<'_>, plan: &Plan) -> Result<(), Failure> {
    let watch = container.kill()?;
    let deadline = Instant::now() + GRACE;
    if plan.wait { finish(container, StopMode::Kill, Some(watch), Some(deadline)) } else { Ok(()) }
}

/// A signal of the running container's config. LXC gives its number, 0 for none set.
fn configured(container: &Container<'_>, key: &core::ffi::CStr) -> Option<i32> {
    let value = container.config_item(key).ok().flatten()?;
    i32::try_from(number(&value)?).ok().filter(|signal| *signal > 0)
}

/// SIGPWR, or SIGRTMIN+3 if init blocks that: the sign of a systemd.
fn halt_signal(container: &Container<'_>) -> i32 {
    let pid = container.init_pid().ok().flatten();
    let status = pid.and_then(|pid| files::read_at(format_args!("/proc/{pid}/status")).ok()).unwrap_or_default();
    if blocks(&status, SIGRTMIN_3) { SIGRTMIN_3 } else { libc::SIGPWR }
}

/// Whether the SigBlk line of a /proc/PID/status has `signal`.
fn blocks(status: &[u8], signal: i32) -> bool {
    let mask = status.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"SigBlk:"));
    let mask = mask.and_then(|mask| core::str::from_utf8(mask.trim_ascii()).ok());
    let mask = mask.and_then(|mask| u64::from_str_radix(mask, 16).ok()).unwrap_or(0);
    mask & (1 << (signal - 1)) != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocked_halt_signal_is_seen_in_the_mask() {
        assert!(blocks(b"Name:\tx\nSigBlk:\t0000001000000000\n", SIGRTMIN_3));
        assert!(!blocks(b"SigBlk:\t0000000800000000\n", SIGRTMIN_3));
        assert!(!blocks(b"", SIGRTMIN_3));
    }
}
