//! A place inside a hierarchy: its path, the way down to it, made and removed component by component.

use super::find::Hierarchy;
use super::{failed, remove};
use crate::error::{Error, Result};
use crate::prepare::lock::Lock;
use crate::text::{PathText, shown};
use core::ffi::CStr;
use nix::errno::Errno;
use nix::sys::stat::Mode;
use nix::unistd::{AccessFlags, access, mkdir};

const MODE: Mode = Mode::from_bits_truncate(0o755);

/// The path of `place` in a hierarchy, with `file` behind it (`"/tasks"` or nothing); of the base where there is no place.
pub fn path_of(hierarchy: &Hierarchy<'_>, place: &[u8], file: &[u8]) -> nix::Result<PathText> {
    let slash: &[u8] = if place.is_empty() { b"" } else { b"/" };
    let parts = [hierarchy.mountpoint.to_bytes(), hierarchy.base.to_bytes(), slash, place, file];
    PathText::join(&parts).map_err(|_| Errno::ENAMETOOLONG)
}

/// The same for a start.
pub fn path(hierarchy: &Hierarchy<'_>, place: &CStr, file: &[u8]) -> Result<PathText> {
    path_of(hierarchy, place.to_bytes(), file)
        .map_err(|_| Error::new("cgroup", format_args!("path of {} is too long", shown(place))))
}

/// The way down: nothing, which is the base, then every place on the way, the whole last.
pub fn way(place: &CStr) -> impl DoubleEndedIterator<Item = &[u8]> {
    let whole = place.to_bytes();
    let ends = memchr::memchr_iter(b'/', whole).chain([whole.len()]);
    core::iter::once(0).chain(ends).map(|end| whole.get(..end).unwrap_or_default())
}

/// Whose a place is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The container's by its name. It may be there already, made by a hook.
    Named,
    /// The container's if it is made for it: nothing says that one that is there is ours.
    New,
    /// Everybody's: it is removed when it is empty.
    Shared,
}

/// Makes a place and what is missing on the way to it. How many groups on the way were made.
pub fn make(hierarchy: &Hierarchy<'_>, place: &CStr, whose: Whose) -> Result<u8> {
    let own = path(hierarchy, place, b"")?;
    let mut made = 0;
    let mut last = Errno::ENOENT;
    // Another container's end may remove the parent between two calls: then once more.
    for _ in 0..8 {
        last = match mkdir(own.c(), MODE) {
            Ok(()) => return Ok(made),
            Err(Errno::EEXIST) if whose != Whose::New => return Ok(made),
            Err(errno) => errno,
        };
        if last != Errno::ENOENT {
            break;
        }
        if let Err(error) = make_parents(hierarchy, place, &mut made) {
            remove_parents(hierarchy, place, made);
            return Err(error);
        }
    }
    remove_parents(hierarchy, place, made);
    if last == Errno::EEXIST {
        let own = shown(own.c());
        return Err(Error::new(
            "cgroup",
            format_args!("{own} is there already: another container's or somebody else's"),
        ));
    }
    Err(failed("mkdir", &own, last))
}

fn make_parents(hierarchy: &Hierarchy<'_>, place: &CStr, made: &mut u8) -> Result<()> {
    for parent in way(place).filter(|parent| !parent.is_empty() && parent.len() < place.count_bytes()) {
        let path = path_of(hierarchy, parent, b"").map_err(|errno| Error::os("cgroup", errno, format_args!("path")))?;
        match mkdir(path.c(), MODE) {
            Ok(()) => *made = made.saturating_add(1),
            Err(Errno::EEXIST | Errno::ENOENT) => {}
            Err(errno) => return Err(failed("mkdir", &path, errno)),
        }
    }
    Ok(())
}

/// Removes the last `count` groups on the way to a place, the innermost first, as far as they are empty: another container's
/// are not.
pub fn remove_parents(hierarchy: &Hierarchy<'_>, place: &CStr, count: u8) {
    for parent in way(place).rev().skip(1).take(count.into()).filter(|parent| !parent.is_empty()) {
        let Ok(path) = path_of(hierarchy, parent, b"") else { return };
        // A parent that was never made, because making it failed, is no reason to stop.
        if remove::rmdir(path.c()).is_err_and(|errno| errno != Errno::ENOENT) {
            return;
        }
    }
}

/// Writes down that a place is about to be made, so that the next start can clean up after a supervisor that was killed.
pub fn note(hierarchy: &Hierarchy<'_>, place: &CStr, whose: Whose, lock: &Lock<'_>) -> Result<()> {
    let mut missing = 0u8;
    for step in way(place).filter(|step| !step.is_empty()) {
        let there = path_of(hierarchy, step, b"").is_ok_and(|path| access(path.c(), AccessFlags::F_OK).is_ok());
        missing = missing.saturating_add(u8::from(!there));
    }
    if whose == Whose::New && missing == 0 {
        // Not ours; to make it fails.
        return Ok(());
    }
    let own = path(hierarchy, place, b"")?;
    lock.note(whose != Whose::Shared, missing.saturating_sub(1), own.c())
        .map_err(|errno| Error::os("lock", errno, format_args!("write down {}", shown(own.c()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn way_goes_down_from_the_base_to_the_whole() {
        let steps: Vec<_> = way(c"a/b/c").map(|step| str::from_utf8(step).unwrap()).collect();
        assert_eq!(steps, ["", "a", "a/b", "a/b/c"]);
    }

    #[test]
    fn path_of_a_place_begins_at_the_base() {
        let mut hierarchy = Hierarchy { mountpoint: c"/m", v2: true, ..Hierarchy::default() };
        let path = |hierarchy: &Hierarchy<'_>, place: &[u8]| {
            path_of(hierarchy, place, b"/f").unwrap().c().to_str().unwrap().to_owned()
        };
        assert_eq!(path(&hierarchy, b"lxc/a"), "/m/lxc/a/f");
        hierarchy.base = c"/user/x";
        assert_eq!(path(&hierarchy, b"lxc/a"), "/m/user/x/lxc/a/f");
        assert_eq!(path(&hierarchy, b""), "/m/user/x/f");
    }
}
