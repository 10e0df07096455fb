//! The end of the machine: containers, processes, filesystems, power.

use super::console::{self, say};
use super::machine::{Event, Machine};
use super::pods::Pod;
use super::policy::Fall;
use crate::mountinfo::{self, Target};
use crate::prepare::host::now_ms;
use crate::sys::clone::{Fork, fork};
use crate::sys::{machine as kernel, process};
use crate::text::shown;
use core::ffi::CStr;
use nix::mount::{MntFlags, MsFlags, umount2};

/// What the end of a container may take beyond the time for its halt: hooks, cgroups.
const GRACE_MS: u64 = 10_000;
/// How long processes have after SIGTERM, and again after SIGKILL.
const LAST_MS: u64 = 2_000;

/// How the programs that stop containers are started.
pub struct Tools<'a> {
    /// Our own program.
    pub program: &'a CStr,
    /// Their environment.
    pub environment: &'a [&'a CStr],
    /// What a container may take to halt.
    pub stop_ms: u64,
}

/// Brings the machine down. It never comes back.
pub fn go_down(machine: &mut Machine, pods: &mut [Pod<'_>], tools: &Tools<'_>, fall: Fall<'_>) -> ! {
    say(format_args!("going down: {fall}"));
    let deadline = now_ms().saturating_add(tools.stop_ms).saturating_add(GRACE_MS);
    machine.well_until_ms = deadline.saturating_add(3 * LAST_MS);
    stop_pods(machine, pods, tools, deadline);
    end_processes(machine);
    nix::unistd::sync();
    // In a container the mount namespace ends with us, and to make a filesystem read-only would do so for its host.
    if !machine.contained {
        unmount();
        nix::unistd::sync();
    }
    // After a reset nobody needs it; before one it is what helps if the reset hangs.
    if !matches!(fall, Fall::Reboot(_))
        && let Some(watchdog) = machine.watchdog.take()
    {
        watchdog.disarm();
    }
    say(format_args!("now: {fall}"));
    console::flush();
    machine.well_until_ms = 0;
    // By a child: some machines end the process that calls, and this one must not end.
    if let Ok(Fork::Child) | Err(_) = fork() {
        if let Err(errno) = reboot(fall) {
            say(format_args!("{fall}: {}", errno.desc()));
        }
        if nix::unistd::getpid().as_raw() != 1 {
            process::exit_now(0);
        }
    }
    loop {
        machine.next(None);
    }
}

fn reboot(fall: Fall<'_>) -> nix::Result<()> {
    match fall {
        Fall::PowerOff => process::reboot(libc::RB_POWER_OFF),
        Fall::Halt => process::reboot(libc::RB_HALT_SYSTEM),
        Fall::Reboot(None) => process::reboot(libc::RB_AUTOBOOT),
        Fall::Reboot(Some(argument)) => kernel::reboot_with(argument),
    }
}

fn stop_pods(machine: &mut Machine, pods: &mut [Pod<'_>], tools: &Tools<'_>, deadline: u64) {
    for pod in pods.iter().filter(|pod| pod.pid.is_some()) {
        pod.stop(tools.program, tools.environment);
    }
    while pods.iter().any(|pod| pod.pid.is_some()) {
        match machine.next(Some(deadline)) {
            Event::Ended(pid, _) => {
                if let Some(pod) = pods.iter_mut().find(|pod| pod.pid == Some(pid)) {
                    say(format_args!("{}: down", shown(pod.name)));
                    pod.pid = None;
                }
            }
            Event::Deadline => {
                for pod in pods.iter().filter(|pod| pod.pid.is_some()) {
                    say(format_args!("{}: does not end, its supervisor is killed", shown(pod.name)));
                }
                return;
            }
            Event::Notice(..) | Event::Signal(_) => {}
        }
    }
}

/// Everything that still runs, politely and then not. All processes descend from us: when we have no child there is none.
fn end_processes(machine: &mut Machine) {
    // A shell that a person sits at does not end by SIGTERM, but by SIGHUP.
    for signals in [&[libc::SIGTERM, libc::SIGHUP, libc::SIGCONT][..], &[libc::SIGKILL]] {
        for signal in signals {
            let _ = process::kill(-1, *signal);
        }
        let until = now_ms() + LAST_MS;
        while process::has_children() {
            if let Event::Deadline = machine.next(Some(until)) {
                break;
            }
        }
    }
}

/// Filesystems, the last mounted first; what cannot be unmounted is made read-only. /proc stays: it has the list.
fn unmount() {
    for _ in 0..3 {
        let mut targets: Vec<Target> = Vec::new();
        mountinfo::for_each(&mut |target| {
            let keep = [c"/", c"/proc", c"/sys", c"/dev"].contains(&target);
            if let Some(target) = Target::of(&[target.to_bytes()]).ok().filter(|_| !keep) {
                targets.push(target);
            }
        });
        let busy =
            targets.iter().rev().filter(|target| umount2(target.c(), MntFlags::UMOUNT_NOFOLLOW).is_err()).count();
        // Nothing left, or nothing gained.
        if busy == 0 || busy == targets.len() {
            break;
        }
    }
    mountinfo::for_each(&mut |target| {
        let flags = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        if nix::mount::mount(None::<&CStr>, target, None::<&CStr>, flags, None::<&CStr>).is_err() {
            // A bind mount of something that others still write to.
            let _ = nix::mount::mount(None::<&CStr>, target, None::<&CStr>, flags | MsFlags::MS_BIND, None::<&CStr>);
        }
    });
}
