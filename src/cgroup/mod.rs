//! The container's cgroups: exactly `lxc/NAME` in every usable hierarchy, v1, v2 and hybrid, unless the config places them
//! elsewhere (`config::groups`).
//!
//! * `host` finds the hierarchies that there are, `find` reads them from mountinfo, `base` says which of them are used and
//!   below which group, `place` makes the way to a group, `delegate` gives groups to a container with ids of its own, `limit`
//!   writes `lxc.cgroup.*`, `devices` compiles the v2 device list, `freeze` freezes and thaws, `remove` empties and removes
//!   directories.
//! * The child joins v1 by writing "0" to inherited `tasks` descriptors: a single thread that moves itself needs no
//!   kernel-wide lock, while moving a pid through `cgroup.procs` waits 7-12 ms for a grace period. v2 is joined by being
//!   born there (CLONE_INTO_CGROUP), or by writing "0" to `cgroup.procs` on older kernels.
//! * The supervisor itself is not moved, but where `monitor` says so.

use crate::android;
use crate::config::Config;
use crate::config::groups::Groups;
use crate::error::{Error, Result};
use crate::limits;
use crate::logging::log;
use crate::prepare::lock::{Left, Lock};
use crate::sys::fds::open;
use crate::text::{PathText, shown};
use core::ffi::CStr;
use find::{Hierarchies, Hierarchy};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::write;
use place::{Whose, path};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

pub mod base;
#[cfg(feature = "idmap")]
mod delegate;
pub mod devices;
pub mod find;
pub mod freeze;
pub mod host;
pub mod limit;
pub mod monitor;
pub mod place;
pub mod remove;

/// Opens a group in one hierarchy, for clients (O_PATH).
///
/// # Errors
/// ENOENT: there is none.
pub fn directory(hierarchy: &Hierarchy<'_>, place: &CStr) -> nix::Result<OwnedFd> {
    let path = place::path_of(hierarchy, place.to_bytes(), b"")?;
    open(path.c(), OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
}

/// One hierarchy's part of a group.
struct Member {
    /// Opened for the child: `tasks` of v1, `cgroup.procs` of v2; of init's own group.
    entrance: Option<OwnedFd>,
    /// init's group, for CLONE_INTO_CGROUP; only v2.
    directory: Option<OwnedFd>,
    /// The group with the limits, for device programs; only v2, and only if it is another one.
    outer: Option<OwnedFd>,
    /// How many groups on the way are ours to remove.
    made: u8,
}

/// The container's directories for one life.
#[must_use = "a group is removed by `remove`"]
pub struct Group<'h, 't> {
    hierarchies: &'h Hierarchies<'t>,
    groups: Groups<'t>,
    /// An earlier life had the same directories.
    again: bool,
    /// By the index of the hierarchy; None where this host does not let us make a directory.
    members: heapless::Vec<Option<Member>, { limits::HIERARCHIES }>,
}

impl<'h, 't> Group<'h, 't> {
    /// A group of which nothing exists yet. `again`: one of ours did before.
    pub fn new(hierarchies: &'h Hierarchies<'t>, groups: Groups<'t>, again: bool) -> Self {
        Group { hierarchies, groups, again, members: heapless::Vec::new() }
    }

    /// Makes the directories and applies every limit but the device lists.
    pub fn create(&mut self, config: &Config<'_>, lock: &Lock<'_>) -> Result<()> {
        limit::check(config, self.hierarchies)?;
        // What could not be removed after the last life is still ours.
        let whose = if self.groups.own || self.again { Whose::Named } else { Whose::New };
        for hierarchy in self.hierarchies {
            let usual = self.groups.usual && hierarchy.base.is_empty();
            if !usual && !self.again {
                place::note(hierarchy, self.groups.limit, whose, lock)?;
            }
            let member = match place::make(hierarchy, self.groups.limit, whose) {
                Ok(made) => Some(Member { entrance: None, directory: None, outer: None, made }),
                // Mounted read-only, or not ours to write: the container does without, unless its config needs it, which
                // `limit::apply` then says.
                Err(error) if error.errno().is_some_and(|errno| does_without(hierarchy, errno)) => {
                    let hint = if hierarchy.foreign { HINT } else { "" };
                    log::warn!("{error}: the container gets no group there{hint}");
                    None
                }
                Err(error) => return Err(error),
            };
            let there = member.is_some();
            let _ = self.members.push(member);
            if there && hierarchy.has(b"cpuset") {
                inherit_cpuset(hierarchy, self.groups.limit)?;
            }
            if there && hierarchy.v2 && config.own.android {
                android::cgroups::delegate(hierarchy, self.groups.container);
            }
        }
        limit::apply(config, self.hierarchies)?;
        for (hierarchy, member) in self.hierarchies.iter().zip(&mut self.members) {
            if let Some(member) = member {
                furnish(hierarchy, &self.groups, member)?;
            }
        }
        Ok(())
    }

    /// There is a directory of the container's in some hierarchy.
    pub fn exists(&self) -> bool {
        self.members.iter().any(Option::is_some)
    }

    /// Ends everything inside. Where init is process 1 of a pid namespace its end does that.
    pub fn kill(&self) {
        for (hierarchy, _) in self.hierarchies.iter().zip(&self.members).filter(|(_, member)| member.is_some()) {
            if let Ok(own) = path(hierarchy, self.groups.limit, b"") {
                remove::kill_tree(own.c(), hierarchy.v2);
            }
        }
    }

    /// init's v2 directory, where there is one.
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
            if let Some(entrance) = &member.entrance {
                write(entrance, b"0").map_err(|errno| (index, errno))?;
            }
        }
        Ok(())
    }

    /// Gives the directories to a user and a group, as the caller's user namespace counts them.
    #[cfg(feature = "idmap")]
    pub fn give(&self, uid: u32, gid: u32) -> Result<()> {
        let members = self.hierarchies.iter().zip(&self.members).filter(|(_, member)| member.is_some());
        members.map(|(hierarchy, _)| hierarchy).try_for_each(|hierarchy| {
            let opened = directory(hierarchy, self.groups.container)
                .map_err(|errno| Error::os("cgroup", errno, format_args!("{}", shown(hierarchy.mountpoint))))?;
            delegate::give(hierarchy, opened.as_fd(), uid, gid)
        })
    }

    /// The second pass, when the child has made its nodes: device lists.
    pub fn limit_devices(&self, config: &Config<'_>, in_force: &mut devices::InForce) -> Result<()> {
        let outer = self.members.iter().flatten().find_map(|member| member.outer.as_ref()).map(AsFd::as_fd);
        limit::apply_devices(config, self.hierarchies, outer.or(self.v2_directory()), in_force)
    }

    /// Closes what only the start needed.
    pub fn started(&mut self) {
        // The directories stay; `remove` knows them by path.
        for member in self.members.iter_mut().flatten() {
            member.directory = None;
            member.outer = None;
        }
    }

    /// The mount point of hierarchy `index`, for a report of the child.
    pub fn place(&self, index: u16) -> &'t CStr {
        self.hierarchies.get(usize::from(index)).map_or(c"?", |hierarchy| hierarchy.mountpoint)
    }

    /// Kills what is left inside and removes the directories. What cannot be removed is logged, not forgotten in silence.
    pub fn remove(&mut self) {
        for (index, hierarchy) in self.hierarchies.iter().enumerate() {
            let made = match self.members.get(index) {
                Some(Some(member)) => member.made,
                // What a hook made for us, of which we came to nothing.
                None if self.groups.own => 0,
                _ => continue,
            };
            let Ok(own) = path(hierarchy, self.groups.limit, b"") else { continue };
            if let Err(errno) = remove::remove_tree(own.c(), hierarchy.v2)
                && errno != Errno::ENOENT
            {
                log::warn!("cgroup {} stays: {}", shown(own.c()), errno.desc());
            }
            place::remove_parents(hierarchy, self.groups.limit, made);
        }
    }
}

/// init's group, below the one that has its limits by now, and the ways into it.
fn furnish(hierarchy: &Hierarchy<'_>, groups: &Groups<'_>, member: &mut Member) -> Result<()> {
    let inner = groups.container != groups.limit;
    if inner {
        place::make(hierarchy, groups.container, Whose::Named)?;
    }
    if inner && hierarchy.has(b"cpuset") {
        inherit_cpuset(hierarchy, groups.container)?;
    }
    let open_in = |place, file: &[u8], flags| {
        let file = path(hierarchy, place, file)?;
        open(file.c(), flags | OFlag::O_CLOEXEC, Mode::empty()).map_err(|errno| failed("open", &file, errno))
    };
    member.entrance = Some(open_in(groups.container, hierarchy.entrance(), OFlag::O_WRONLY)?);
    if hierarchy.v2 {
        let directory = OFlag::O_PATH | OFlag::O_DIRECTORY;
        member.directory = Some(open_in(groups.container, b"", directory)?);
        member.outer = if inner { Some(open_in(groups.limit, b"", directory)?) } else { None };
    }
    Ok(())
}

/// What helps a user who has no group of his own.
pub const HINT: &str = " (delegate one to this user, as systemd-run --user --scope -p Delegate=yes does)";

/// Whether a container does without a group where mkdir(2) gives this errno: it is not ours to make, or the hierarchy is
/// schedtune's, which has groups of one level only.
fn does_without(hierarchy: &Hierarchy<'_>, errno: Errno) -> bool {
    match errno {
        Errno::EROFS | Errno::EACCES | Errno::EPERM => true,
        Errno::ENOMEM | Errno::ENOSPC => hierarchy.has(b"schedtune"),
        _ => false,
    }
}

/// Removes what a dead supervisor of the same name left behind. How many directories there were.
///
/// The caller holds the lock of this name, so nobody who is alive owns them.
pub fn remove_stale(hierarchies: &Hierarchies<'_>, groups: &Groups<'_>, left: &[Left]) -> Result<usize> {
    let mut removed = 0;
    for Left { path, parents, whole } in left {
        // Only what is inside a hierarchy that is still mounted.
        let inside = |one: &&Hierarchy<'_>| {
            let below = path.to_bytes().strip_prefix(one.mountpoint.to_bytes());
            below.is_some_and(|below| below.starts_with(b"/"))
        };
        let Some(hierarchy) = hierarchies.iter().find(inside) else { continue };
        removed += take_away(path, hierarchy.v2, *whole)?;
        let steps = path.to_bytes().rsplitn(usize::from(*parents) + 2, |byte| *byte == b'/');
        let mut rest = path.to_bytes();
        for step in steps.take(usize::from(*parents)) {
            rest = rest.get(..rest.len().saturating_sub(step.len() + 1)).unwrap_or_default();
            match PathText::join(&[rest]).map(|parent| remove::rmdir(parent.c())) {
                Ok(Ok(()) | Err(Errno::ENOENT)) => {}
                _ => break,
            }
        }
    }
    if !groups.own {
        // Whoever's that is.
        return Ok(removed);
    }
    let mut named = 0;
    for hierarchy in hierarchies {
        named += take_away(path(hierarchy, groups.limit, b"")?.c(), hierarchy.v2, true)?;
    }
    if named > 0 && groups.usual {
        hierarchies.iter().for_each(|hierarchy| place::remove_parents(hierarchy, groups.limit, 1));
    }
    Ok(removed + named)
}

/// Removes one group, with everything in it or only if it is empty. 1 if it was there.
fn take_away(path: &CStr, v2: bool, whole: bool) -> Result<usize> {
    match if whole { remove::remove_tree(path, v2) } else { remove::rmdir(path) } {
        Ok(()) => Ok(1),
        // Nothing there, or nothing that could ever have been ours.
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::EROFS | Errno::EACCES | Errno::EPERM) => Ok(0),
        Err(_) if !whole => Ok(0),
        Err(errno) => Err(Error::os("cgroup", errno, format_args!("remove the stale {}", shown(path)))),
    }
}

/// A new cpuset directory has no CPUs and no memory nodes, and refuses every task; it gets its parent's, level by level.
fn inherit_cpuset(hierarchy: &Hierarchy<'_>, place: &CStr) -> Result<()> {
    let files: [&[u8]; 2] = if hierarchy.noprefix { [b"/cpus", b"/mems"] } else { [b"/cpuset.cpus", b"/cpuset.mems"] };
    for base in files {
        let mut inherited = limit::Value::new();
        for level in place::way(place) {
            let file = place::path_of(hierarchy, level, base);
            let file =
                file.map_err(|errno| Error::os("cgroup", errno, format_args!("{}", shown(hierarchy.mountpoint))))?;
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
        let with = |controllers| Hierarchy { mountpoint: c"/x", controllers, ..Hierarchy::default() };
        for errno in [Errno::ENOMEM, Errno::ENOSPC] {
            assert!(does_without(&with(c"schedtune"), errno));
            assert!(!does_without(&with(c"cpuset"), errno));
        }
        assert!(does_without(&with(c"cpuset"), Errno::EROFS));
        assert!(!does_without(&with(c"schedtune"), Errno::EIO));
    }
}
