//! Freezing a whole container: `cgroup.freeze` of v2 (Linux 5.2), else `freezer.state` of v1.

use super::find::{Hierarchies, Hierarchy};
use super::limit;
use super::place::path_of;
use core::ffi::CStr;
use nix::errno::Errno;

/// Begins to freeze or to thaw the group at `place`. It is done when `is_frozen` says so.
///
/// # Errors
/// EOPNOTSUPP: no hierarchy of this host can freeze; else what the write gave.
pub fn set(hierarchies: &Hierarchies<'_>, place: &CStr, frozen: bool) -> nix::Result<()> {
    let mut done = Err(Errno::EOPNOTSUPP);
    let mut failed = None;
    for hierarchy in by_preference(hierarchies) {
        let (file, value): (&[u8], &[u8]) = match (hierarchy.v2, frozen) {
            (true, true) => (b"/cgroup.freeze", b"1"),
            (true, false) => (b"/cgroup.freeze", b"0"),
            (false, true) => (b"/freezer.state", b"FROZEN"),
            (false, false) => (b"/freezer.state", b"THAWED"),
        };
        match limit::write_file(path_of(hierarchy, place.to_bytes(), file)?.c(), value) {
            // This hierarchy has no such file, or not this container.
            Err(Errno::ENOENT) => {}
            // One freezes; but whatever somebody froze is thawed.
            Ok(()) if frozen => return Ok(()),
            Ok(()) => done = Ok(()),
            Err(errno) => failed = Some(errno),
        }
    }
    failed.map_or(done, Err)
}

/// Whether the container is frozen, whoever did it.
///
/// # Errors
/// One that could be could not be asked.
pub fn is_frozen(hierarchies: &Hierarchies<'_>, place: &CStr) -> nix::Result<bool> {
    for hierarchy in by_preference(hierarchies) {
        let (file, mark): (&[u8], &[u8]) =
            if hierarchy.v2 { (b"/cgroup.events", b"frozen 1") } else { (b"/freezer.state", b"FROZEN") };
        match path_of(hierarchy, place.to_bytes(), file).and_then(|path| limit::read(path.c())) {
            Ok(text) if crate::text::find(&text, mark).is_some() => return Ok(true),
            Ok(_) | Err(Errno::ENOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(false)
}

/// v2 first: what it has frozen can be killed without being thawed.
fn by_preference<'h, 't>(hierarchies: &'h Hierarchies<'t>) -> impl Iterator<Item = &'h Hierarchy<'t>> {
    let v2 = hierarchies.iter().filter(|hierarchy| hierarchy.v2);
    v2.chain(hierarchies.iter().filter(|hierarchy| hierarchy.has(b"freezer")))
}
