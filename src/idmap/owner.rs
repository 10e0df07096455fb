//! The container's groups for its root, by a supervisor without root. The kernel lets such a user give nothing away; but a
//! process in a user namespace that has both his ids and those of the container's root may, so he makes one for it.

use super::write::pair;
use crate::cgroup::Group;
use crate::error::{Error, Result};
use crate::prepare::host::Host;
use crate::sys::clone::{Fork, fork};
use crate::sys::process::{self, Exit, exit_now};
use crate::sys::rights;
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, setsockopt, socketpair, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};
use nix::unistd::{getegid, geteuid};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// How long one side waits for the other, in milliseconds; the tools in between have the start's own deadline.
const WAIT_MS: i64 = 5_000;

/// Gives `group` to the container's root.
#[inline(never)] // for those without root
pub fn give(host: &mut Host<'_>, group: &Group<'_, '_>) -> Result<()> {
    let failed = |what: &'static str| move |errno: Errno| Error::os("idmap", errno, format_args!("{what}"));
    let flags = SockFlag::SOCK_CLOEXEC;
    let (ours, theirs) =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).map_err(failed("socketpair"))?;
    let pid = match fork().map_err(failed("fork"))? {
        Fork::Child => {
            drop(ours);
            exit_now(i32::from(give_inside(group, &theirs).is_err()))
        }
        Fork::Parent(pid) => pid,
    };
    drop(theirs);
    let given = map(host, pid, &ours);
    // Its end tells a process that still waits that nothing comes any more.
    drop(ours);
    match (given, process::wait(pid)) {
        (Err(error), _) => Err(error),
        (Ok(()), Ok(Exit::Code(0))) => Ok(()),
        _ => Err(Error::new("idmap", format_args!("the groups could not be given to the container's root"))),
    }
}

/// The process's half. Without a heap and without the log.
fn give_inside(group: &Group<'_, '_>, socket: &OwnedFd) -> core::result::Result<(), ()> {
    let _ = process::set_parent_death_signal(libc::SIGKILL);
    unshare(CloneFlags::CLONE_NEWUSER).map_err(drop)?;
    rights::send(socket.as_fd(), b"r", &[]).map_err(drop)?;
    hear(socket).map_err(drop)?;
    group.give(0, 0).map_err(drop)
}

fn hear(socket: &OwnedFd) -> nix::Result<()> {
    let mut byte = [0u8; 1];
    match recv(socket.as_raw_fd(), &mut byte, MsgFlags::empty())? {
        1 => Ok(()),
        _ => Err(Errno::EPIPE),
    }
}

/// The supervisor's half: 0 becomes the container's root, 1 ourselves.
fn map(host: &mut Host<'_>, pid: i32, socket: &OwnedFd) -> Result<()> {
    let failed = |errno| Error::os("idmap", errno, format_args!("a user namespace for the groups"));
    setsockopt(socket, sockopt::ReceiveTimeout, &TimeVal::milliseconds(WAIT_MS as _)).map_err(failed)?;
    hear(socket).map_err(failed)?;
    for (groups, own) in [(false, geteuid().as_raw()), (true, getegid().as_raw())] {
        let root = host.config.isolation.outside(groups, 0).unwrap_or(own);
        pair(host, groups, pid, format_args!("0 {root} 1 1 {own} 1"))?;
    }
    rights::send(socket.as_fd(), b"g", &[]).map_err(failed)
}
