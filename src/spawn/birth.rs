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

use super::namespaces::USER;
use crate::sys::clone::{Fork, clone, clone_into_cgroup, fork};
use crate::sys::fds::open;
use crate::sys::process;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::stat::Mode;
use std::os::fd::BorrowedFd;

/// What the newborn is in already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Birth {
    /// The v2 group.
    pub in_v2: bool,
    /// Its namespaces. Otherwise only the pid namespace.
    pub in_namespaces: bool,
}

/// Forks the container's process with namespace `flags`, CLONE_NEWPID among them.
pub fn fork_off(flags: u64, v2: Option<BorrowedFd<'_>>) -> nix::Result<(Fork, Birth)> {
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
        Err(Errno::EINVAL | Errno::ENOSYS) if flags & USER == 0 => {
            log::debug!("clone with namespaces is not possible, unsharing them");
            Ok((fork_into_pid_namespace()?, Birth { in_v2: false, in_namespaces: false }))
        }
        Err(errno) => Err(errno),
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
