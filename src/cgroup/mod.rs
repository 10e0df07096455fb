//! The container's cgroups: exactly `lxc/NAME` in every usable hierarchy, v1, v2 and hybrid.
//!
//! * `find` reads which hierarchies there are, `delegate` gives groups to a container with ids of its own, `limits` writes `lxc.cgroup.*`, `devices` compiles the v2 device list,
//!   `freeze` freezes and thaws, `remove` empties and removes directories.
//! * The child joins v1 by writing "0" to inherited `tasks` descriptors: a single thread that moves itself needs no
//!   kernel-wide lock, while moving a pid through `cgroup.procs` waits 7-12 ms for a grace period. v2 is joined by being
//!   born there (CLONE_INTO_CGROUP), or by writing "0" to `cgroup.procs` on older kernels.
//! * The supervisor itself is never moved.

use crate::android;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::limits;
use crate::sys::fds::open;
use crate::text::{PathText, shown};
use core::ffi::CStr;
use find::{Hierarchies, Hierarchy};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, stat};
use nix::unistd::{mkdir, write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

#[cfg(feature = "idmap")]
mod delegate;
pub mod devices;
pub mod find;
pub mod freeze;
pub mod limit;
pub mod remove;

/// What stands between the hierarchy's mount point and the container's name.
pub const PARENT: &[u8] = b"/lxc/";

/// Checks that each hierarchy is really visible and drops the ones that another mount hides.
pub fn usable(found: &mut Hierarchies<'_>) {
    found.retain(|hierarchy| stat(hierarchy.mountpoint).is_ok_and(|stat| stat.st_dev == hierarchy.device));
}

/// The path of the container's directory in one hierarchy, with `file` behind it (`"/tasks"` or nothing).
fn path(hierarchy: &Hierarchy<'_>, name: &CStr, file: &[u8]) -> Result<PathText> {
    PathText::join(&[hierarchy.mountpoint.to_bytes(), PARENT, name.to_bytes(), file])
        .map_err(|_| Error::new("cgroup", format_args!("path of {} is too long", shown(name))))
}

/// Opens the container's directory in one hierarchy, for clients (O_PATH).
///
/// # Errors
/// ENOENT: it has none there.
pub fn directory(hierarchy: &Hierarchy<'_>, name: &CStr) -> nix::Result<OwnedFd> {
    let path = PathText::join(&[hierarchy.mountpoint.to_bytes(), PARENT, name.to_bytes()]);
    open(path.map_err(|_| Errno::ENAMETOOLONG)?.c(), OFlag::O_PATH | OFlag::O_DIRECTORY, Mode::empty())
}

/// One hierarchy's part of a group.
struct Member {
    /// Opened for the child: `tasks` of v1, `cgroup.procs` of v2.
    entrance: OwnedFd,
    /// The directory, for CLONE_INTO_CGROUP and device programs; only v2.
    directory: Option<OwnedFd>,
    /// We made `lxc/`, so we remove it.
    made_parent: bool,
}

/// The container's directories for one life.
#[must_use = "a group is removed by `remove`"]
pub struct Group<'h, 't> {
    hierarchies: &'h Hierarchies<'t>,
    name: &'t CStr,
    /// By the index of the hierarchy; None where this host does not let us make a directory.
    members: heapless::Vec<Option<Member>, { limits::HIERARCHIES }>,
}

impl<'h, 't> Group<'h, 't> {
    /// A group of which nothing exists yet.
    pub fn new(hierarchies: &'h Hierarchies<'t>, name: &'t CStr) -> Self {
        Group { hierarchies, name, members: heapless::Vec::new() }
    }

    /// Makes the directories and applies every limit but the device lists.
    pub fn create(&mut self, config: &Config<'_>) -> Result<()> {
        limit::check(config, self.hierarchies)?;
        for hierarchy in self.hierarchies {
            let member = match self.make(hierarchy) {
                Ok(made_parent) => {
                    if hierarchy.has(b"cpuset") {
                        inherit_cpuset(hierarchy, self.name)?;
                    }
                    if hierarchy.v2 && config.own.android {
                        android::cgroups::delegate(hierarchy);
                    }
                    Some(self.enter_later(hierarchy, made_parent)?)
                }
                // Mounted read-only, or not ours to write: the container does without, unless its config needs it, which
                // `limit::apply` then says.
                Err(error) if error.errno().is_some_and(|errno| does_without(hierarchy, errno)) => {
                    log::warn!("{error}: the container gets no group there");
                    None
                }
                Err(error) => return Err(error),
            };
            let _ = self.members.push(member);
        }
        limit::apply(config, self.hierarchies)
    }

    fn make(&self, hierarchy: &Hierarchy<'_>) -> Result<bool> {
        let mode = Mode::from_bits_truncate(0o755);
        let own = path(hierarchy, self.name, b"")?;
        let parent = PathText::join(&[hierarchy.mountpoint.to_bytes(), b"/lxc"])
            .map_err(|_| Error::new("cgroup", format_args!("{}: path too long", shown(hierarchy.mountpoint))))?;
        let mut made_parent = false;
        // Another container's end may remove `lxc/` between our two calls: then once more.
        for _ in 0..8 {
            match mkdir(own.c(), mode) {
                // A directory without a supervisor is one that a pre-start hook made for us: adopted as it is.
                Ok(()) | Err(Errno::EEXIST) => return Ok(made_parent),
                Err(Errno::ENOENT) => match mkdir(parent.c(), mode) {
                    Ok(()) => made_parent = true,
                    Err(Errno::EEXIST) => {}
                    Err(errno) => return Err(failed("mkdir", &parent, errno)),
                },
                Err(errno) => {
                    if made_parent {
                        let _ = remove::rmdir(parent.c());
                    }
                    return Err(failed("mkdir", &own, errno));
                }
            }
        }
        Err(failed("mkdir", &own, Errno::ENOENT))
    }

    fn enter_later(&self, hierarchy: &Hierarchy<'_>, made_parent: bool) -> Result<Member> {
        let file = path(hierarchy, self.name, if hierarchy.v2 { b"/cgroup.procs" } else { b"/tasks" })?;
        let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        let entrance = open(file.c(), flags, Mode::empty()).map_err(|errno| failed("open", &file, errno))?;
        let directory = if hierarchy.v2 {
            let place = path(hierarchy, self.name, b"")?;
            let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
            Some(open(place.c(), flags, Mode::empty()).map_err(|errno| failed("open", &place, errno))?)
        } else {
            None
        };
        Ok(Member { entrance, directory, made_parent })
    }

    /// There is a directory of the container's in some hierarchy.
    pub fn exists(&self) -> bool {
        self.members.iter().any(Option::is_some)
    }

    /// Ends everything inside. Where init is process 1 of a pid namespace its end does that.
    pub fn kill(&self) {
        for hierarchy in self.hierarchies {
            if let Ok(own) = path(hierarchy, self.name, b"") {
                remove::kill_tree(own.c(), hierarchy.v2);
            }
        }
    }

    /// The v2 directory, where there is one.
    pub fn v2_directory(&self) -> Option<BorrowedFd<'_>> {
        self.members.iter().flatten().find_map(|member| member.directory.as_ref()).map(AsFd::as_fd)
    }

    /// Called by the child: joins every hierarchy; `born_in_v2` when clone3 did that one already. On failure the index of
    /// the hierarchy, for the report.
    pub fn enter(&self, born_in_v2: bool) -> core::result::Result<(), (u16, Errno)> {
        for (index, member) in (0u16..).zip(&self.members).filter_map(|(index, one)| one.as_ref().map(|m| (index, m))) {
            if member.directory.is_some() && born_in_v2 {
                continue;
            }
            write(&member.entrance, b"0").map_err(|errno| (index, errno))?;
        }
        Ok(())
    }

    /// Gives the directories to the container's root, whom the id maps name.
    #[cfg(feature = "idmap")]
    pub fn delegate(&self, config: &Config<'_>) -> Result<()> {
        let [Some(uid), Some(gid)] = [false, true].map(|groups| config.isolation.outside(groups, 0)) else {
            return Ok(());
        };
        let members = self.hierarchies.iter().zip(&self.members).filter(|(_, member)| member.is_some());
        members.map(|(hierarchy, _)| hierarchy).try_for_each(|hierarchy| {
            let opened = directory(hierarchy, self.name)
                .map_err(|errno| Error::os("cgroup", errno, format_args!("{}", shown(hierarchy.mountpoint))))?;
            delegate::give(hierarchy, opened.as_fd(), uid, gid)
        })
    }

    /// The second pass, when the child has made its nodes: device lists.
    pub fn limit_devices(&self, config: &Config<'_>, in_force: &mut devices::InForce) -> Result<()> {
        limit::apply_devices(config, self.hierarchies, self.v2_directory(), in_force)
    }

    /// Closes what only the start needed.
    pub fn started(&mut self) {
        // The directories stay; `remove` knows them by path.
        for member in self.members.iter_mut().flatten() {
            member.directory = None;
        }
    }

    /// The mount point of hierarchy `index`, for a report of the child.
    pub fn place(&self, index: u16) -> &'t CStr {
        self.hierarchies.get(usize::from(index)).map_or(c"?", |hierarchy| hierarchy.mountpoint)
    }

    /// Kills what is left inside and removes the directories. What cannot be removed is logged, not forgotten in silence.
    pub fn remove(self) {
        for (index, hierarchy) in self.hierarchies.iter().enumerate() {
            if matches!(self.members.get(index), Some(None)) {
                continue;
            }
            let Ok(own) = path(hierarchy, self.name, b"") else { continue };
            if let Err(errno) = remove::remove_tree(own.c(), hierarchy.v2)
                && errno != Errno::ENOENT
            {
                log::warn!("cgroup {} stays: {}", shown(own.c()), errno.desc());
            }
            if self.members.get(index).and_then(Option::as_ref).is_some_and(|member| member.made_parent) {
                remove_parent(hierarchy);
            }
        }
    }
}

/// Whether a container does without a group where mkdir(2) gives this errno: it is not ours to make, or the hierarchy is
/// schedtune's, which has groups of one level only.
fn does_without(hierarchy: &Hierarchy<'_>, errno: Errno) -> bool {
    match errno {
        Errno::EROFS | Errno::EACCES | Errno::EPERM => true,
        Errno::ENOMEM | Errno::ENOSPC => hierarchy.has(b"schedtune"),
        _ => false,
    }
}

/// Removes `lxc/` if it is empty; another container's is not.
fn remove_parent(hierarchy: &Hierarchy<'_>) {
    if let Ok(parent) = PathText::join(&[hierarchy.mountpoint.to_bytes(), b"/lxc"]) {
        let _ = remove::rmdir(parent.c());
    }
}

/// Removes what a dead supervisor of the same name left behind. How many directories there were.
///
/// The caller holds the lock of this name, so nobody who is alive owns them.
pub fn remove_stale(hierarchies: &Hierarchies<'_>, name: &CStr) -> Result<usize> {
    let mut removed = 0;
    for hierarchy in hierarchies {
        let own = path(hierarchy, name, b"")?;
        match remove::remove_tree(own.c(), hierarchy.v2) {
            Ok(()) => removed += 1,
            // Nothing there, or nothing that could ever have been ours.
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::EROFS | Errno::EACCES | Errno::EPERM) => {}
            Err(errno) => return Err(failed("remove the stale", &own, errno)),
        }
    }
    if removed > 0 {
        hierarchies.iter().for_each(remove_parent);
    }
    Ok(removed)
}

/// A new cpuset directory has no CPUs and no memory nodes, and refuses every task; it gets its parent's, level by level.
fn inherit_cpuset(hierarchy: &Hierarchy<'_>, name: &CStr) -> Result<()> {
    let mountpoint = hierarchy.mountpoint.to_bytes();
    for base in [&b"cpus"[..], b"mems"] {
        let prefix: &[u8] = if hierarchy.noprefix { b"" } else { b"cpuset." };
        let mut inherited = limit::Value::new();
        for level in [&[mountpoint, b"/"][..], &[mountpoint, b"/lxc/"], &[mountpoint, PARENT, name.to_bytes(), b"/"]] {
            let mut file = PathText::join(level).map_err(|_| Error::new("cgroup", format_args!("path too long")))?;
            if file.push(prefix).and_then(|()| file.push(base)).is_err() {
                return Err(Error::new("cgroup", format_args!("{}: path too long", shown(hierarchy.mountpoint))));
            }
            let value = limit::read(file.c()).map_err(|errno| failed("read", &file, errno))?;
            if value.is_empty() && !inherited.is_empty() {
                limit::write_file(file.c(), &inherited).map_err(|errno| failed("write", &file, errno))?;
            } else {
                inherited = value;
            }
        }
    }
    Ok(())
}

fn failed(what: &str, path: &PathText, errno: Errno) -> Error {
    Error::os("cgroup", errno, format_args!("{what} {}", shown(path.c())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn does_without_only_where_groups_are_not_ours_or_only_one_level() {
        let with = |controllers| Hierarchy { mountpoint: c"/x", controllers, v2: false, device: 0, noprefix: false };
        for errno in [Errno::ENOMEM, Errno::ENOSPC] {
            assert!(does_without(&with(c"schedtune"), errno));
            assert!(!does_without(&with(c"cpuset"), errno));
        }
        assert!(does_without(&with(c"cpuset"), Errno::EROFS));
        assert!(!does_without(&with(c"schedtune"), Errno::EIO));
    }
}
