//! The supervisor's own group, for those who want one: `lxc.cgroup.dir.monitor`, and where a user's own group is the base of
//! the container's. There v2 has its rule that a group which hands down controllers holds no processes.

use super::find::{Hierarchies, Hierarchy};
use super::limit::{self, Value};
use super::place::{self, Whose};
use super::{does_without, inherit_cpuset, remove};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::limits;
use crate::logging::log;
use crate::prepare::lock::Lock;
use crate::sys::fds::{self, open};
use crate::text::{Arena, PathText, shown};
use core::ffi::CStr;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use std::os::fd::AsFd;

/// We are in the groups of the supervisor until this is dropped.
pub struct Monitor<'t> {
    hierarchies: &'t Hierarchies<'t>,
    place: &'t CStr,
    pivot: Option<&'t CStr>,
    /// By the index of the hierarchy: how many groups on the way were made; None: we were not moved there.
    moved: heapless::Vec<Option<u8>, { limits::HIERARCHIES }>,
    /// The controllers that the group we came from handed down in v2.
    handed_down: Value,
}

impl<'t> Monitor<'t> {
    /// Moves us, if anything says so.
    #[inline(never)] // for those who are moved
    pub fn enter(
        config: &Config<'t>,
        hierarchies: &'t Hierarchies<'t>,
        lock: &Lock<'_>,
        arena: &Arena<'t>,
    ) -> Result<Option<Self>> {
        let needs_leaf = |one: &Hierarchy<'_>| one.v2 && one.base == one.own && must_hand_down(config, one);
        let asked = config.groups.monitor;
        let place = match asked {
            Some(place) => place,
            None if hierarchies.iter().any(needs_leaf) => arena
                .join(&[b"lxc.monitor.", config.name.to_bytes()])
                .map_err(|_| Error::new("cgroup", format_args!("out of text memory")))?,
            None => return Ok(None),
        };
        let mut monitor = Monitor {
            hierarchies,
            place,
            pivot: config.groups.pivot,
            moved: heapless::Vec::new(),
            handed_down: Value::new(),
        };
        for one in hierarchies {
            let wanted = asked.is_some() || needs_leaf(one);
            let moved = if wanted { monitor.enter_one(one, lock)? } else { None };
            let _ = monitor.moved.push(moved);
        }
        Ok(Some(monitor))
    }

    fn enter_one(&mut self, hierarchy: &Hierarchy<'_>, lock: &Lock<'_>) -> Result<Option<u8>> {
        place::note(hierarchy, self.place, Whose::Shared, lock)?;
        let made = match place::make(hierarchy, self.place, Whose::Shared) {
            Ok(made) => made,
            Err(error) if error.errno().is_some_and(|errno| does_without(hierarchy, errno)) => return Ok(None),
            Err(error) => return Err(error),
        };
        if hierarchy.v2 {
            self.handed_down = handed_down(hierarchy).unwrap_or_default();
        }
        let entered = match hierarchy.has(b"cpuset") {
            true => inherit_cpuset(hierarchy, self.place),
            false => Ok(()),
        };
        let entered = entered.and_then(|()| {
            let whole = place::path(hierarchy, self.place, hierarchy.entrance())?;
            limit::write_file(whole.c(), b"0").map_err(|errno| super::failed("enter", &whole, errno))
        });
        entered.inspect_err(|_| self.remove(hierarchy, made))?;
        Ok(Some(made))
    }

    fn remove(&self, hierarchy: &Hierarchy<'_>, made: u8) {
        let Ok(path) = place::path(hierarchy, self.place, b"") else { return };
        match remove::rmdir(path.c()) {
            // EBUSY: another supervisor is in it.
            Ok(()) | Err(Errno::EBUSY) => place::remove_parents(hierarchy, self.place, made),
            Err(errno) => log::warn!("cgroup {} stays: {}", shown(path.c()), errno.desc()),
        }
    }

    /// Moves us out of a hierarchy's group.
    fn leave(&self, hierarchy: &Hierarchy<'_>) -> Result<()> {
        if let Some(pivot) = self.pivot {
            place::make(hierarchy, pivot, Whose::Shared)?;
            if hierarchy.has(b"cpuset") {
                inherit_cpuset(hierarchy, pivot)?;
            }
            let whole = place::path(hierarchy, pivot, hierarchy.entrance())?;
            return limit::write_file(whole.c(), b"0").map_err(|errno| super::failed("enter", &whole, errno));
        }
        let parts = [hierarchy.mountpoint.to_bytes(), hierarchy.own.to_bytes(), hierarchy.entrance()];
        let back = PathText::join(&parts).map_err(|_| Error::new("cgroup", format_args!("path too long")))?;
        let mut went = limit::write_file(back.c(), b"0");
        if went == Err(Errno::EBUSY) && hierarchy.v2 && self.is_alone(hierarchy) {
            self.take_back(hierarchy);
            went = limit::write_file(back.c(), b"0");
        }
        went.map_err(|errno| super::failed("enter", &back, errno))
    }

    /// Whether the group we came from has no group in it but ours: nobody else needs what it hands down.
    fn is_alone(&self, hierarchy: &Hierarchy<'_>) -> bool {
        let first = place::way(self.place).nth(1).unwrap_or_default();
        let mut others = 0;
        let looked = place::path_of(hierarchy, b"", b"")
            .and_then(|path| open(path.c(), OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()))
            .and_then(|base| {
                fds::for_each_directory(base.as_fd(), &mut |name| {
                    others += u32::from(name.to_bytes() != first);
                })
            });
        looked.is_ok() && others == 0 && hierarchy.base == hierarchy.own
    }

    /// Switches off the controllers that we switched on for our container, which has gone.
    fn take_back(&self, hierarchy: &Hierarchy<'_>) {
        let Ok(now) = handed_down(hierarchy) else { return };
        let before = || self.handed_down.split(|byte| *byte == b' ');
        for controller in now.split(|byte| *byte == b' ').filter(|one| !before().any(|other| other == *one)) {
            if let Ok(word) = PathText::join(&[b"-", controller])
                && let Ok(file) = place::path_of(hierarchy, b"", b"/cgroup.subtree_control")
            {
                let _ = limit::write_file(file.c(), word.c().to_bytes());
            }
        }
    }
}

impl Drop for Monitor<'_> {
    fn drop(&mut self) {
        for (hierarchy, made) in self.hierarchies.iter().zip(&self.moved) {
            let Some(made) = made else { continue };
            // Twice: a shortage may pass.
            match self.leave(hierarchy).or_else(|_| self.leave(hierarchy)) {
                Ok(()) => self.remove(hierarchy, *made),
                Err(error) => log::warn!("{error}: the supervisor's group stays"),
            }
        }
    }
}

/// What the base hands down.
fn handed_down(hierarchy: &Hierarchy<'_>) -> nix::Result<Value> {
    limit::read(place::path_of(hierarchy, b"", b"/cgroup.subtree_control")?.c())
}

/// Whether a limit needs a controller that the base, in which we are ourselves, does not hand down.
fn must_hand_down(config: &Config<'_>, hierarchy: &Hierarchy<'_>) -> bool {
    if hierarchy.own.is_empty() {
        return false;
    }
    let now = handed_down(hierarchy).unwrap_or_default();
    let has = |controller: &[u8]| now.split(|byte| *byte == b' ').any(|one| one == controller);
    let of_v2 = config.cgroup.iter().filter(|setting| setting.v2).map(limit::controller);
    of_v2.filter(|controller| *controller != b"devices" && *controller != b"cgroup").any(|one| !has(one))
}
