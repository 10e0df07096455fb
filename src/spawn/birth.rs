//! The fork that makes the container's process, by the best way that the kernel has.
//!
//! 1. clone3: born in its namespaces and in the v2 group.
//! 2. clone: born in its namespaces; it writes itself into the v2 group.
//! 3. unshare and fork, where clone takes no flags of namespaces: under qemu-user, which knows clone only as fork or thread,
//!    and under kernels that were cut down. unshare(CLONE_NEWPID) moves nobody, it makes the *next* child process 1 of a
//!    new namespace. So the supervisor unshares, forks, and goes back by setns, or its hooks would be born in the
//!    container as well; the child makes its other namespaces itself.
//!
//! In the third way, too, the child is the supervisor's own, with nobody between them: its wait status (a reboot is a death
//! by SIGHUP), its parent-death signal and the end of the barrier mean what they mean after a clone.
//!
//! Where namespaces of somebody else are joined, or a time namespace gets its offsets, a stage does that: a process that lives
//! only until the birth, so that the supervisor itself never leaves its own namespaces. The child is the supervisor's own here
//! as well (CLONE_PARENT). That needs the first or the second way.

use super::barrier::{Report, Step};
use super::namespaces::{Plan, TIME, USER};
use super::shares::{self, Shares};
use crate::cgroup::limit::write_file;
use crate::config::Config;
use crate::logging::log;
use crate::sys::clone::{Fork, PARENT, clone, clone_into_cgroup, fork};
use crate::sys::fds::open;
use crate::sys::process::{self, exit_now};
use crate::text::Line;
use core::fmt::Write;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::stat::Mode;
use nix::unistd::{getpid, getppid, pipe2, read, write};
use std::os::fd::{AsFd, BorrowedFd};

/// What the newborn is in already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Birth {
    /// The v2 group.
    pub in_v2: bool,
    /// Its namespaces. Otherwise only the pid namespace.
    pub in_namespaces: bool,
}

/// For a report of `Step::Namespace`: the clone itself.
pub const CLONE: u16 = u16::MAX;
/// How long the stage may take, in milliseconds; it takes microseconds.
const STAGE_MS: u16 = 10_000;

/// Forks the container's process into its namespaces, but for the cgroup namespace.
pub fn fork_off(
    plan: &Plan,
    shares: &Shares,
    config: &Config<'_>,
    v2: Option<BorrowedFd<'_>>,
) -> Result<(Fork, Birth), Report> {
    if shares::need_a_stage(plan, shares) {
        return by_stage(plan, shares, config, v2);
    }
    born(plan.clone, v2).map_err(|errno| Report::new(Step::Namespace, CLONE, errno))
}

fn born(flags: u64, v2: Option<BorrowedFd<'_>>) -> nix::Result<(Fork, Birth)> {
    if let Some(directory) = v2 {
        match clone_into_cgroup(flags, directory) {
            Ok(fork) => return Ok((fork, Birth { in_v2: true, in_namespaces: true })),
            // No clone3, no such flag, a policy around us that forbids it, or a group that takes no process this way (a
            // threaded one): the old way says which.
            Err(_) => log::debug!("clone3 into the cgroup is not possible, entering it by name"),
        }
    }
    match clone(flags) {
        Ok(fork) => Ok((fork, Birth { in_v2: false, in_namespaces: true })),
        // A namespace that this kernel does not have answers so as well; the child then says which one it is.
        // A pid namespace that the supervisor made would not be the user namespace's.
        Err(Errno::EINVAL | Errno::ENOSYS) if flags & (PARENT | USER) == 0 => {
            log::debug!("clone with namespaces is not possible, unsharing them");
            Ok((fork_into_pid_namespace()?, Birth { in_v2: false, in_namespaces: false }))
        }
        Err(errno) => Err(errno),
    }
}

#[inline(never)] // for those who share or shift
fn by_stage(
    plan: &Plan,
    shares: &Shares,
    config: &Config<'_>,
    v2: Option<BorrowedFd<'_>>,
) -> Result<(Fork, Birth), Report> {
    let failed = |errno| Report::new(Step::Namespace, CLONE, errno);
    let (output, input) = pipe2(OFlag::O_CLOEXEC).map_err(failed)?;
    let supervisor = getpid();
    let stage = match fork().map_err(failed)? {
        Fork::Parent(stage) => stage,
        Fork::Child => {
            let _ = process::set_parent_death_signal(libc::SIGKILL);
            if getppid() != supervisor {
                exit_now(255);
            }
            let birth = shares.join().and_then(|()| shift_clocks(plan, config));
            let report = match birth.and_then(|()| born(plan.clone | PARENT, v2).map_err(failed)) {
                Ok((Fork::Parent(pid), _)) => Report { value: pid, ..Report::ready() },
                Ok(child) => return Ok(child),
                Err(report) => report,
            };
            let _ = write(&input, &report.to_bytes());
            exit_now(0)
        }
    };
    drop(input);
    let mut bytes = [0u8; 8];
    let mut ready = [PollFd::new(output.as_fd(), PollFlags::POLLIN)];
    let length = match poll(&mut ready, PollTimeout::from(STAGE_MS)) {
        Ok(1..) => read(&output, &mut bytes),
        _ => process::kill(stage, libc::SIGKILL).map(|()| 0),
    };
    let _ = process::wait(stage);
    match Report::from_bytes(bytes.get(..length.unwrap_or(0)).unwrap_or(&[])) {
        Some(Report { step: Step::Ready, value, .. }) => {
            Ok((Fork::Parent(value), Birth { in_v2: true, in_namespaces: true }))
        }
        Some(report) => Err(report),
        // It was killed; a child that it may have had ends with the barrier.
        None => Err(failed(Errno::ESRCH)),
    }
}

/// Makes the time namespace of the children to come, and sets how far its clocks are ahead.
fn shift_clocks(plan: &Plan, config: &Config<'_>) -> Result<(), Report> {
    if !plan.time {
        return Ok(());
    }
    let failed = |errno| Report::new(Step::TimeOffset, 0, errno);
    unshare(CloneFlags::from_bits_retain(TIME as i32)).map_err(failed)?;
    let mut text = Line::<96>::new();
    let offsets =
        [(libc::CLOCK_MONOTONIC, config.isolation.time_monotonic), (libc::CLOCK_BOOTTIME, config.isolation.time_boot)];
    for (clock, offset) in offsets {
        if let Some(offset) = offset {
            const SECOND: i64 = 1_000_000_000;
            let _ = writeln!(text, "{clock} {} {}", offset.div_euclid(SECOND), offset.rem_euclid(SECOND));
        }
    }
    match text.bytes() {
        [] => Ok(()),
        text => write_file(c"/proc/self/timens_offsets", text).map_err(failed),
    }
}

fn fork_into_pid_namespace() -> nix::Result<Fork> {
    let own = open(c"/proc/self/ns/pid", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    unshare(CloneFlags::CLONE_NEWPID)?;
    let forked = fork();
    if forked == Ok(Fork::Child) {
        return forked;
    }
    let back = setns(&own, CloneFlags::CLONE_NEWPID);
    if let (Err(errno), Ok(Fork::Parent(pid))) = (back, forked) {
        // A supervisor whose hooks would run in the container must not have one.
        let _ = process::kill(pid, libc::SIGKILL);
        let _ = process::wait(pid);
        return Err(errno);
    }
    forked
}
