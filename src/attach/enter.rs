//! The transient process: it becomes like init, step by step, and has the program born.

use super::context::Context;
use super::{Options, program};
use crate::lsm;
use crate::sys::clone::{Fork, fork};
use crate::sys::process::{self, Exit, exit_now};
use crate::sys::{caps, fds, seccomp};
use core::convert::Infallible;
use core::mem::ManuallyDrop;
use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// What failed, for the report: the step and its errno.
pub type Fault = (&'static str, Errno);

/// Runs it. `pid` takes the program's pid, `report` what failed. `stays`: it waits for the program, and ends as that one did.
pub fn run(
    context: Context,
    options: &Options<'_>,
    terminal: Option<(BorrowedFd<'_>, [bool; 3])>,
    stays: bool,
    pid: &OwnedFd,
    report: &OwnedFd,
) -> ! {
    let (step, errno) = match become_like(context, options, terminal, stays, pid, report) {
        Err(fault) => fault,
        Ok(never) => match never {},
    };
    tell(report, 1, &format!("{step}: {}", errno.desc()));
    exit_now(1)
}

/// An exit code and a sentence, in one write, so that it comes whole.
pub fn tell(report: &OwnedFd, code: u8, why: &str) {
    let mut bytes = vec![code];
    bytes.extend(why.bytes());
    let _ = nix::unistd::write(report, &bytes);
}

fn become_like(
    context: Context,
    options: &Options<'_>,
    terminal: Option<(BorrowedFd<'_>, [bool; 3])>,
    stays: bool,
    pid_pipe: &OwnedFd,
    report: &OwnedFd,
) -> Result<Infallible, Fault> {
    // Its descriptors are closed below, all at once.
    let context = ManuallyDrop::new(context);
    let at = |step: &'static str| move |errno: Errno| (step, errno);
    for cgroup in &context.cgroups {
        nix::unistd::write(cgroup, b"0").map_err(at("join init's cgroups"))?;
    }
    if let Some((module, label)) = &context.label {
        let file = lsm::open_exec(*module).map_err(at("take init's label"))?;
        lsm::set_exec(&file, *module, label.as_bytes()).map_err(at("take init's label"))?;
    }
    for (resource, soft, hard) in &context.limits {
        process::set_limit(*resource, *soft, *hard).map_err(at("take init's limits"))?;
    }
    if let Some(persona) = context.personality {
        process::set_personality(persona).map_err(at("personality"))?;
    }
    let directory = std::env::current_dir().ok();
    // Under qemu-user another thread shares the working directory, with which no mount namespace can be entered.
    unshare(CloneFlags::CLONE_FS).map_err(at("a working directory of its own"))?;
    for (flag, namespace) in &context.namespaces {
        setns(namespace, *flag).map_err(at("enter init's namespaces"))?;
    }
    // Nothing of the host's but our streams: the program is visible in the container from its birth, and root there could look
    // through /proc into what it has open.
    let mut keep = [pid_pipe.as_raw_fd(), report.as_raw_fd(), terminal.map_or(-1, |(slave, _)| slave.as_raw_fd())];
    fds::close_all_but(3, &mut keep).map_err(at("close descriptors"))?;
    if options.remount {
        unshare(CloneFlags::CLONE_NEWNS).map_err(at("a mount namespace of its own"))?;
    }
    if !options.elevated.capabilities {
        caps::keep_within(context.bounding).map_err(at("drop capabilities"))?;
        if context.no_new_privs {
            nix::sys::prctl::set_no_new_privs().map_err(at("no_new_privs"))?;
        }
    }
    if !context.policy.is_empty() {
        seccomp::install(&context.policy).map_err(at("load the seccomp policy"))?;
    }
    // Its pid namespace is the one entered above. The caller becomes its parent when we end, if we do.
    match fork().map_err(at("fork inside the container"))? {
        Fork::Child => program::run(options, terminal, directory, report),
        Fork::Parent(pid) => {
            let _ = nix::unistd::write(pid_pipe, &pid.to_ne_bytes());
            if !stays {
                exit_now(0);
            }
            // The end of the reports is the program's exec.
            let _ = fds::close_range(3, i32::MAX);
            match process::wait(pid) {
                Ok(Exit::Code(code)) => exit_now(code),
                Ok(Exit::Signal(signal)) => exit_now(128 + signal),
                Err(_) => exit_now(1),
            }
        }
    }
}
