//! Work on what belongs to the container's ids, for a supervisor without root: done by a process of ours in a user namespace that
//! has these ids, beside our own, under the same numbers. So cgroups are given to the container's root, and those that it made
//! are removed.

use super::{trees, write};
use crate::error::{Error, Result};
use crate::prepare::host::Host;
use crate::spawn::namespaces::USER;
use crate::sys::clone::{Fork, clone};
use crate::sys::process::{self, exit_now};
use crate::sys::rights;
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, socketpair};
use nix::unistd::geteuid;
use std::os::fd::{AsFd, AsRawFd};

/// Whether ids must be borrowed: we are not root, and the container's root is not ourselves.
pub fn needed(host: &Host<'_>) -> bool {
    let own = geteuid();
    let root = host.config.isolation.outside(false, 0);
    !own.is_root() && !host.config.isolation.idmap.is_empty() && root != Some(own.as_raw())
}

/// Forks. None: we are the one that has the ids, does its work, and ends by `exit_now`; else its pid, for `wait`.
pub fn fork(host: &mut Host<'_>) -> Result<Option<i32>> {
    let failed = |errno: Errno| Error::os("idmap", errno, format_args!("borrow the container's ids"));
    let (ours, theirs) =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).map_err(failed)?;
    let pid = match clone(USER).map_err(failed)? {
        Fork::Parent(pid) => pid,
        Fork::Child => {
            drop(ours);
            let _ = process::set_parent_death_signal(libc::SIGKILL);
            match recv(theirs.as_raw_fd(), &mut [0u8; 1], MsgFlags::empty()) {
                Ok(1) => return Ok(None),
                _ => exit_now(1),
            }
        }
    };
    drop(theirs);
    let mapped = write::borrow(host, pid).and_then(|()| rights::send(ours.as_fd(), b"g", &[]).map_err(failed));
    match mapped {
        Ok(()) => Ok(Some(pid)),
        Err(error) => {
            trees::end(pid);
            Err(error)
        }
    }
}
