//! Which hierarchies a start uses, and below which group: their root, or the group that we are in.
//!
//! Ours is the base where the config says so (`lxc.cgroup.relative`), and where the root is another user's, so that a user
//! makes groups where the system has delegated one to him.

use super::find::{Hierarchies, Hierarchy, path_in};
use crate::config::groups::conflict;
use crate::config::{Config, lxc_conf};
use crate::error::{Error, Result};
use crate::text::{Arena, Shown, shown};
use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};

/// Drops the hierarchies that `lxc.cgroup.use` leaves out, and finds the base of each other one.
pub fn settle<'t>(found: &mut Hierarchies<'t>, config: &Config<'t>, arena: &Arena<'t>) -> Result<()> {
    if let Some((key, at, why)) = conflict(config) {
        return Err(Error::new("config", format_args!("{}: {}: {why}", config.place(at), shown(key))));
    }
    if let Some(wanted) = lxc_conf("lxc.cgroup.use") {
        keep_used(found, wanted.as_bytes())?;
    }
    let relative = config.isolation.cgroup_relative == Some(true);
    let not_ours = |one: &Hierarchy<'_>| {
        one.foreign && access(one.mountpoint, AccessFlags::W_OK).is_err_and(|errno| errno == Errno::EACCES)
    };
    if !relative && config.groups.monitor.is_none() && !found.iter().any(not_ours) {
        return Ok(());
    }
    let table = crate::files::read(c"/proc/self/cgroup").unwrap_or_default();
    for one in found {
        let line = table.split(|byte| *byte == b'\n').find_map(|line| path_in(line, one));
        let Some(path) = line else { continue };
        let Some(own) = below(path, one.root.to_bytes()) else {
            if relative {
                let (own, place) = (Shown(path), shown(one.mountpoint));
                let what = format_args!("lxc.cgroup.relative: {place} does not show our own group {own}");
                return Err(Error::new("cgroup", what));
            }
            continue;
        };
        one.own = arena.copy(own).map_err(|_| Error::new("cgroup", format_args!("out of text memory")))?;
        if relative || not_ours(one) {
            one.base = one.own;
        }
    }
    Ok(())
}

/// v1 hierarchies without a listed controller go; v2 is always used.
fn keep_used(found: &mut Hierarchies<'_>, wanted: &[u8]) -> Result<()> {
    let wanted = || wanted.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|one| !one.is_empty());
    for name in wanted() {
        let has = |one: &Hierarchy<'_>| one.has(name) || one.v2 && v2_has(one, name);
        if !found.iter().any(has) {
            let name = Shown(name);
            return Err(Error::new("cgroup", format_args!("lxc.cgroup.use: this host has no controller \"{name}\"")));
        }
    }
    found.retain(|one| one.v2 || wanted().any(|name| one.has(name)));
    Ok(())
}

fn v2_has(hierarchy: &Hierarchy<'_>, controller: &[u8]) -> bool {
    let text =
        super::place::path_of(hierarchy, b"", b"/cgroup.controllers").and_then(|path| super::limit::read(path.c()));
    text.is_ok_and(|text| text.split(|byte| *byte == b' ').any(|one| one == controller))
}

/// What of a group's path is below the mounted one; None: it is elsewhere. Without a slash at the end.
fn below<'p>(path: &'p [u8], root: &[u8]) -> Option<&'p [u8]> {
    let root = root.strip_suffix(b"/").unwrap_or(root);
    let rest = path.strip_prefix(root)?;
    match rest {
        b"" | b"/" => Some(b""),
        [b'/', ..] => Some(rest),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn below_is_what_the_mount_point_shows() {
        assert_eq!(below(b"/user/x", b"/"), Some(&b"/user/x"[..]));
        assert_eq!(below(b"/", b"/"), Some(&b""[..]));
        assert_eq!(below(b"/view/x", b"/view"), Some(&b"/x"[..]));
        assert_eq!(below(b"/view", b"/view"), Some(&b""[..]));
        assert_eq!(below(b"/viewer", b"/view"), None);
        assert_eq!(below(b"/x", b"/view"), None);
    }

    #[test]
    fn used_are_v2_and_what_the_list_names() {
        let v1 = |controllers| Hierarchy { mountpoint: c"/nowhere", controllers, ..Hierarchy::default() };
        let mut found = Hierarchies::new();
        found.extend([v1(c"cpu,cpuacct"), v1(c"pids"), Hierarchy { v2: true, ..v1(c"") }]);
        assert!(keep_used(&mut found.clone(), b"cpu, nonsense").is_err());
        keep_used(&mut found, b"cpu,").unwrap();
        assert_eq!(found.iter().map(|one| one.v2).collect::<Vec<_>>(), [false, true]);
    }
}
