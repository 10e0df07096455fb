//! `lxc.mount.auto = shmounts:HOSTPATH[:PATH]`: a directory through which the host gives mounts to the container that runs. What
//! is mounted below HOSTPATH, itself a mount point with shared propagation, appears below PATH; nothing goes the other way.

use super::beneath::{FdPath, Root, mount_on};
use crate::config::Config;
use crate::text::PathText;
use core::ffi::CStr;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};

/// Where LXC has it if nothing is said.
const PLACE: &[u8] = b"/dev/.lxc-mounts";

fn paths<'a>(config: &Config<'a>) -> Option<(&'a [u8], &'a [u8])> {
    let text = config.mount_auto.shmounts?.to_bytes();
    let colon = memchr::memchr(b':', text).unwrap_or(text.len());
    let inside = text.get(colon + 1..).filter(|path| !path.is_empty());
    Some((text.get(..colon)?, inside.unwrap_or(PLACE)))
}

/// Binds it, if it is asked for.
pub fn bind(config: &Config<'_>, root: &Root) -> nix::Result<()> {
    let Some((host, inside)) = paths(config) else { return Ok(()) };
    let host: PathText = PathText::join(&[host]).map_err(|_| Errno::ENAMETOOLONG)?;
    let place = root.make_directories(inside)?;
    mount_on(&place, Some(host.c()), None, MsFlags::MS_BIND | MsFlags::MS_REC, None)
}

/// When all mounts of the new root were made shared: this one only hears.
pub fn settle(config: &Config<'_>, root: &Root) -> nix::Result<()> {
    let Some((_, inside)) = paths(config) else { return Ok(()) };
    let place = root.target(inside)?;
    mount(None::<&CStr>, FdPath::of(&place).c(), None::<&CStr>, MsFlags::MS_SLAVE | MsFlags::MS_REC, None::<&CStr>)
}
