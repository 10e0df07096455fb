//! The container's own groups, given to the root of its user namespace, so that it may make groups below them
//! (cgroups(7), "Cgroups delegation"). Limits stay the host's.

use super::find::Hierarchy;
use super::limit;
use crate::error::{Error, Result};
use crate::text::shown;
use core::ffi::CStr;
use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::unistd::{Gid, Uid, fchownat};
use std::os::fd::BorrowedFd;

/// What v2 gives away where the kernel does not list it (before Linux 4.15).
const V2: [&[u8]; 3] = [b"cgroup.procs", b"cgroup.threads", b"cgroup.subtree_control"];
const V1: [&[u8]; 2] = [b"tasks", b"cgroup.procs"];

/// Gives a directory and its files of administration to the user and group, ids of the host.
pub fn give(hierarchy: &Hierarchy<'_>, directory: BorrowedFd<'_>, uid: u32, gid: u32) -> Result<()> {
    let owner = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    let refuse = |errno| {
        let place = shown(hierarchy.mountpoint);
        Error::os("cgroup", errno, format_args!("{place}: give the group to {uid}:{gid}, the container's root"))
    };
    fchownat(directory, c"", owner.0, owner.1, AtFlags::AT_EMPTY_PATH).map_err(refuse)?;
    let one = |name: &[u8]| {
        let name = crate::rootfs::beneath::Name::new(name).map_err(refuse)?;
        match fchownat(directory, name.c(), owner.0, owner.1, AtFlags::AT_SYMLINK_NOFOLLOW) {
            // A file of a younger kernel, or of a controller that is not switched on.
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(refuse(errno)),
        }
    };
    const LIST: &CStr = c"/sys/kernel/cgroup/delegate";
    match limit::read(LIST) {
        _ if !hierarchy.v2 => V1.into_iter().try_for_each(one),
        Ok(list) => list.split(|byte| *byte == b'\n').filter(|name| !name.is_empty()).try_for_each(one),
        Err(_) => V2.into_iter().try_for_each(one),
    }
}
