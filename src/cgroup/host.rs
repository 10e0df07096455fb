//! The hierarchies that this host has.

use super::base;
use super::find::{self, Hierarchies};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::limits;
use crate::mountinfo;
use crate::sys::process::first_euid;
use crate::text::Arena;
use nix::errno::Errno;
use nix::sys::stat::stat;

/// The cgroup hierarchies of this host that can really be seen.
#[inline(never)] // its frame would live as long as the container
pub fn hierarchies<'t>(arena: &Arena<'t>) -> Result<Box<Hierarchies<'t>>> {
    let mut found = Box::new(Hierarchies::new());
    let mut taken = Ok(());
    let read = mountinfo::for_each_line(&mut |line| {
        if taken.is_ok() {
            taken = find::take_line(line, &mut found, arena);
        }
    });
    taken.map_err(|problem| match problem {
        find::Problem::TooMany => Error::new(
            "cgroup",
            format_args!("this host has more than {} cgroup hierarchies mounted", limits::HIERARCHIES),
        ),
        find::Problem::Full => Error::new("cgroup", format_args!("out of text memory ({})", limits::TEXT_BYTES)),
    })?;
    match read.and_then(|()| usable(&mut found)) {
        // Without /proc there are no cgroups to be found; a config that needs them is refused where it asks for them.
        Ok(()) | Err(Errno::ENOENT) => {}
        Err(errno) => return Err(Error::os("cgroup", errno, format_args!("look for the hierarchies"))),
    }
    Ok(found)
}

/// Those that a container uses, and where in them its groups are made.
pub fn hierarchies_for<'t>(config: &Config<'t>, arena: &Arena<'t>) -> Result<Box<Hierarchies<'t>>> {
    let mut found = hierarchies(arena)?;
    base::settle(&mut found, config, arena)?;
    Ok(found)
}

/// Checks that each hierarchy is really visible and drops the ones that another mount hides.
///
/// # Errors
/// What the kernel said of one that is there.
fn usable(found: &mut Hierarchies<'_>) -> nix::Result<()> {
    let me = first_euid();
    let mut failed = Ok(());
    found.retain_mut(|hierarchy| match stat(hierarchy.mountpoint) {
        Ok(stat) => {
            hierarchy.foreign = stat.st_uid != me;
            stat.st_dev == hierarchy.device
        }
        Err(Errno::ENOENT | Errno::ENOTDIR) => false,
        Err(Errno::EACCES) if me != 0 => false,
        Err(errno) => {
            failed = Err(errno);
            false
        }
    });
    failed
}
