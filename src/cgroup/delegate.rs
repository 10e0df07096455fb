//! The container's own groups, given to the root of its user namespace, so that it may make groups below them
//! (cgroups(7), "Cgroups delegation"). Limits stay the host's.

use super::find::Hierarchy;
use super::limit;
use crate::error::{Error, Result};
use crate::text::shown;
use core::ffi::CStr;
use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat};
use nix::unistd::{Gid, fchownat};
use std::os::fd::BorrowedFd;

/// What v2 gives away where the kernel does not list it (before Linux 4.15).
const V2: [&[u8]; 3] = [b"cgroup.procs", b"cgroup.threads", b"cgroup.subtree_control"];
const V1: [&[u8]; 2] = [b"tasks", b"cgroup.procs"];

/// Gives a directory and its files of administration to the container's root, `uid` and `gid` on the host: to its group, as LXC
/// does. Who starts the container, a user without root perhaps, stays their owner and can still put commands into it.
pub fn give(hierarchy: &Hierarchy<'_>, directory: BorrowedFd<'_>, uid: u32, gid: u32) -> Result<()> {
    let refuse = |errno| {
        let place = shown(hierarchy.mountpoint);
        Error::os("cgroup", errno, format_args!("{place}: give the group to {uid}:{gid}, the container's root"))
    };
    let one = |name: &CStr, mode: u32| {
        let group = Some(Gid::from_raw(gid));
        let given = fchownat(directory, name, None, group, AtFlags::AT_SYMLINK_NOFOLLOW)
            .and_then(|()| fchmodat(directory, name, Mode::from_bits_truncate(mode), FchmodatFlags::FollowSymlink));
        match given {
            // A file of a younger kernel, or of a controller that is not switched on.
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(refuse(errno)),
        }
    };
    one(c".", 0o775)?;
    let file = |name: &[u8]| one(crate::rootfs::beneath::Name::new(name).map_err(refuse)?.c(), 0o664);
    const LIST: &CStr = c"/sys/kernel/cgroup/delegate";
    match limit::read(LIST) {
        _ if !hierarchy.v2 => V1.into_iter().try_for_each(file),
        Ok(list) => list.split(|byte| *byte == b'\n').filter(|name| !name.is_empty()).try_for_each(file),
        Err(_) => V2.into_iter().try_for_each(file),
    }
}
