//! Groups that an Android leaves at the root of the host's hierarchies.
//!
//! Without a cgroup namespace (Linux 4.6) it mounts the hierarchies itself, sees the host's, and moves its tasks out of
//! `lxc/NAME` into groups of its own. Those go after its end: groups by the names that Android gives them that were not
//! there when the life began, and its `uid_N` and `pid_N`. A group with processes in it stays, whosever they are.

use crate::cgroup::find::{Hierarchies, Hierarchy};
use crate::cgroup::{limit, place};
use crate::config::Config;
use crate::limits;
use crate::logging::log;
use crate::sys::fds::{self, open};
use core::ffi::CStr;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::os::fd::{AsFd, BorrowedFd};

/// The groups of its task profiles and init.rc files.
const NAMES: [&[u8]; 23] = [
    b"apps",
    b"system",
    b"foreground",
    b"foreground_window",
    b"background",
    b"top-app",
    b"system-background",
    b"bg_non_interactive",
    b"bg_cached",
    b"key-background",
    b"camera-daemon",
    b"camera-daemon-dedicated",
    b"audio-app",
    b"rt",
    b"nnapi-hal",
    b"dex2oat",
    b"restricted",
    b"rs",
    b"display",
    b"boost",
    b"cpuctl",
    b"sf",
    b"fg_boost",
];
/// How deep its groups lie in each other: `apps/uid_N/pid_N`.
const DEPTH: u32 = 3;
const DIRECTORY: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// Which of the names there were when a life began: a bit a name, a word a hierarchy.
#[derive(Default)]
pub struct Before(heapless::Vec<u32, { limits::HIERARCHIES }>);

impl Before {
    /// Looks, if leftovers are to be removed.
    pub fn look(hierarchies: &Hierarchies<'_>, config: &Config<'_>) -> Before {
        let mut before = Before::default();
        if config.own.cleans() {
            for hierarchy in hierarchies {
                let mut found = 0;
                each_group(hierarchy.mountpoint, &mut |_, name| found |= bit(name));
                let _ = before.0.push(found);
            }
        }
        before
    }

    /// Removes what is new and empty.
    pub fn remove_new(&self, hierarchies: &Hierarchies<'_>) {
        let mut removed = 0;
        for (before, hierarchy) in self.0.iter().zip(hierarchies) {
            each_group(hierarchy.mountpoint, &mut |root, name| {
                if bit(name) & !before != 0 || is_androids(name) {
                    remove(root, name, DEPTH, &mut removed);
                }
            });
        }
        if removed > 0 {
            log::info!("clean: removed {removed} cgroups that the guest left outside of its own");
        }
    }
}

/// Switches on every controller of v2 for `group`, so that the guest has them to pass on to its own groups; lmkd wants
/// memory's. What cannot be had (a controller that v1 has, cpu beside realtime tasks) the guest does without.
pub fn delegate(hierarchy: &Hierarchy<'_>, group: &CStr) {
    let file = place::path_of(hierarchy, b"", b"/cgroup.controllers");
    let words = file.and_then(|file| limit::read(file.c())).unwrap_or_default();
    for controller in words.split(|byte| *byte == b' ').filter(|word| !word.is_empty()) {
        let _ = limit::enable(hierarchy, group, controller);
    }
}

fn each_group(mountpoint: &CStr, each: &mut dyn FnMut(BorrowedFd<'_>, &CStr)) {
    if let Ok(root) = open(mountpoint, OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty()) {
        let _ = fds::for_each_directory(root.as_fd(), &mut |name| each(root.as_fd(), name));
    }
}

/// The bit of a name; 0: none of Android's.
fn bit(name: &CStr) -> u32 {
    NAMES.iter().position(|one| *one == name.to_bytes()).map_or(0, |index| 1 << index)
}

/// `uid_N` and `pid_N`, which nobody else makes.
fn is_androids(name: &CStr) -> bool {
    let name = name.to_bytes();
    let number = name.strip_prefix(b"uid_").or_else(|| name.strip_prefix(b"pid_"));
    number.is_some_and(|number| crate::text::number(number).is_some())
}

/// rmdir(2) from the innermost outwards: it refuses a group with processes.
fn remove(parent: BorrowedFd<'_>, name: &CStr, depth: u32, removed: &mut u32) {
    if depth > 0
        && let Ok(group) = openat(parent, name, DIRECTORY, Mode::empty())
    {
        let _ = fds::for_each_directory(group.as_fd(), &mut |name| remove(group.as_fd(), name, depth - 1, removed));
    }
    *removed += u32::from(unlinkat(parent, name, UnlinkatFlags::RemoveDir).is_ok());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_each_has_a_bit_of_its_own_and_others_none() {
        let mut all = 0;
        for name in NAMES {
            let name = std::ffi::CString::new(name).unwrap();
            assert_eq!(all & bit(&name), 0);
            all |= bit(&name);
        }
        assert_eq!(all.count_ones() as usize, NAMES.len());
        assert_eq!(bit(c"system.slice") | bit(c"lxc") | bit(c""), 0);
        assert!(is_androids(c"uid_10001") && is_androids(c"pid_5"));
        assert!(!is_androids(c"uid_") && !is_androids(c"uid_x") && !is_androids(c"user.slice"));
    }
}
