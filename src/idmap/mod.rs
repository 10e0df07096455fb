//! User namespaces: `lxc.idmap`.
//!
//! The child is born in its user namespace and waits; `write` gives it its ids, the child then becomes root of what it has got.
//! `subid` knows what /etc/subuid grants to a supervisor without root. `trees` mounts, in a process of the host's, what the
//! child has not the right to mount: root filesystems on devices, and mounts with their ids mapped (`idmap=`). `borrow` is how a
//! supervisor without root works on what is the container's.

use crate::config::Config;
use crate::config::isolation::IdMap;
use crate::error::{Error, Result};
use crate::logging::log;
use crate::rootfs::{Kind, Source};
use crate::spawn::barrier::{Report, Step};
use crate::spawn::child::supervisor_lives;
use crate::sys::process;
use crate::text::shown;
use nix::errno::Errno;
use nix::sys::stat::stat;

use std::os::fd::BorrowedFd;

pub mod borrow;
pub mod subid;
pub mod trees;
pub mod write;

/// Looks at the maps before anything is made.
///
/// # Errors
/// Ranges that overlap, a root that is not mapped, `idmap=` where there is nothing to map.
#[inline(never)] // its frame would live as long as the container
pub fn check(config: &Config<'_>) -> Result<()> {
    let maps = &config.isolation.idmap;
    let refuse =
        |at, what: core::fmt::Arguments<'_>| Err(Error::new("idmap", format_args!("{}: {what}", config.place(at))));
    for (index, map) in maps.iter().enumerate() {
        if let Some(other) = maps.iter().take(index).find(|other| overlap(map, other)) {
            return refuse(map.at, format_args!("lxc.idmap = {map} overlaps {other} of {}", config.place(other.at)));
        }
    }
    if let Some(first) = maps.first() {
        for (groups, what) in [(false, "user"), (true, "group")] {
            if config.isolation.outside(groups, 0).is_none() {
                return refuse(
                    first.at,
                    format_args!("lxc.idmap maps no {what} 0: root of the container is not mapped"),
                );
            }
        }
    }
    let container = |idmap| idmap == Some(c"container");
    for entry in config.mounts.iter().filter(|entry| entry.idmap.is_some()) {
        if entry.relative || entry.options.flags & BIND == 0 || entry.image {
            return refuse(entry.at, format_args!("idmap= is for mounts with bind or rbind of a path of the host's"));
        }
        if container(entry.idmap) && maps.is_empty() {
            return refuse(entry.at, format_args!("idmap=container: the container has no lxc.idmap"));
        }
    }
    match config.rootfs.options.filter(|_| container(config.rootfs.idmap) && maps.is_empty()) {
        Some(options) => refuse(options.at, format_args!("idmap=container: the container has no lxc.idmap")),
        None => Ok(()),
    }
}

/// libc's type is the machine's word.
#[allow(clippy::unnecessary_cast)]
const BIND: u64 = libc::MS_BIND as u64;

fn overlap(one: &IdMap, other: &IdMap) -> bool {
    let meet = |a: u32, b: u32| {
        u64::from(a) < u64::from(b) + u64::from(other.count) && u64::from(b) < u64::from(a) + u64::from(one.count)
    };
    one.groups == other.groups && (meet(one.inside, other.inside) || meet(one.outside, other.outside))
}

/// Says so where a rootfs belongs to somebody whom the container does not have.
pub fn warn(config: &Config<'_>, source: &Source<'_>) {
    let (maps, mapped) = (&config.isolation.idmap, config.rootfs.idmap.is_some());
    if maps.is_empty() || mapped || source.kind != Kind::Directory || config.rootfs.path.is_none() {
        return;
    }
    let Ok(found) = stat(source.path) else { return };
    let has = |map: &IdMap| !map.groups && (0..map.count).contains(&found.st_uid.wrapping_sub(map.outside));
    if !maps.iter().any(has) {
        log::warn!(
            "idmap: {} belongs to user {}, whom the container does not have: chown it to {} and on, or lxc.rootfs.options = \
             idmap=container",
            shown(source.path),
            found.st_uid,
            config.isolation.outside(false, 0).unwrap_or(0)
        );
    }
}

/// Why the kernel makes no user namespace.
pub fn why_none(errno: Errno) -> &'static str {
    match errno {
        Errno::EINVAL => ": this kernel has no user namespaces (CONFIG_USER_NS)",
        Errno::ENOSPC | Errno::EUSERS => {
            ": as many user namespaces as there may be (/proc/sys/user/max_user_namespaces)"
        }
        Errno::EPERM | Errno::EACCES => {
            ": something forbids user namespaces (/proc/sys/kernel/unprivileged_userns_clone, a security module, a chroot)"
        }
        _ => "",
    }
}

/// Called by the child when its maps are written: from nobody to root.
pub fn become_root(barrier: BorrowedFd<'_>) -> core::result::Result<(), Report> {
    let fail = |step: Step| move |errno: Errno| Report::new(step, 0, errno);
    give_up_groups().map_err(fail(Step::BecomeRoot))?;
    process::set_group(0).map_err(fail(Step::BecomeRoot))?;
    process::set_user(0).map_err(fail(Step::BecomeRoot))?;
    // A change of ids clears it, and the supervisor may have died before it was set again.
    process::set_parent_death_signal(libc::SIGKILL).map_err(fail(Step::ParentDeath))?;
    if !supervisor_lives(barrier) {
        return Err(Report::new(Step::ParentGone, 0, Errno::ESRCH));
    }
    // Or its own files in /proc would belong to the host's root.
    process::set_dumpable().map_err(fail(Step::BecomeRoot))
}

/// Our caller's groups; one who mapped its own group alone must keep them (user_namespaces(7), setgroups).
pub fn give_up_groups() -> nix::Result<()> {
    match process::set_groups(&[]) {
        Err(Errno::EPERM) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DEFAULT;

    fn checked(maps: &[(bool, u32, u32, u32)]) -> String {
        let mut config = Box::new(Config::new(c"test", c"/var/lib/lxc"));
        for (groups, inside, outside, count) in maps.iter().copied() {
            config.isolation.idmap.push(IdMap { groups, inside, outside, count, at: DEFAULT }).unwrap();
        }
        check(&config).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn check_maps_with_holes_are_fine() {
        assert_eq!(checked(&[]), "");
        assert_eq!(checked(&[(false, 0, 100_000, 10), (false, 20, 100_020, 10), (true, 0, 100_000, 10)]), "");
        assert_eq!(checked(&[(false, 0, 7, 1), (false, 1, 100_000, 65_535), (true, 0, 7, 1)]), "");
    }

    #[test]
    fn check_overlaps_on_either_side_are_refused() {
        for second in [(false, 9, 200_000, 1), (false, 20, 100_009, 1), (false, 0, 0, 4_000_000_000)] {
            let said = checked(&[(false, 0, 100_000, 10), second, (true, 0, 100_000, 10)]);
            assert!(said.contains("overlaps u 0 100000 10"), "{said}");
        }
        assert_eq!(checked(&[(false, 0, 100_000, 10), (true, 0, 100_000, 10)]), "");
    }

    #[test]
    fn check_a_root_that_is_not_mapped_is_refused() {
        assert!(checked(&[(false, 0, 100_000, 10)]).contains("no group 0"));
        assert!(checked(&[(false, 1, 100_000, 10), (true, 0, 1, 1)]).contains("no user 0"));
    }
}
