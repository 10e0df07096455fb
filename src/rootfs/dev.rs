//! `lxc.autodev`: a fresh tmpfs on /dev with the nodes that every userspace expects.

use super::beneath::{Root, Source, bind_in, mount_on};
use crate::config::Config;
use crate::spawn::barrier::{Report, Step};
use crate::text::{Line, PathText};
use core::ffi::CStr;
use core::fmt::Write;
use nix::errno::Errno;
use nix::mount::MsFlags;
use nix::sys::stat::{Mode, SFlag, makedev, mknodat};
use nix::unistd::symlinkat;
use std::os::fd::BorrowedFd;

/// Mounts the tmpfs. The rootfs's own /dev is never written: it may be a trap.
pub fn mount_tmpfs(root: &Root, config: &Config<'_>) -> Result<(), Report> {
    let place = root.make_directories(b"dev").map_err(|errno| Report::new(Step::AutodevDir, 0, errno))?;
    let mut options = Line::<64>::new();
    let _ = write!(options, "size={},mode=755\0", config.autodev_size);
    let options = CStr::from_bytes_until_nul(options.bytes()).unwrap_or(c"mode=755");
    mount_on(&place, Some(c"none"), Some(c"tmpfs"), MsFlags::empty(), Some(options))
        .map_err(|errno| Report::new(Step::Autodev, 0, errno))
}

/// Names and numbers (Documentation/admin-guide/devices.txt).
const NODES: [(&CStr, u64, u64); 6] =
    [(c"null", 1, 3), (c"zero", 1, 5), (c"full", 1, 7), (c"random", 1, 8), (c"urandom", 1, 9), (c"tty", 5, 0)];

/// The names of the nodes.
pub fn node_names() -> impl Iterator<Item = &'static CStr> {
    NODES.into_iter().map(|(name, ..)| name)
}

/// Makes the nodes. Where mknod is not allowed (a user namespace), the host's own are bound instead.
pub fn populate(dev: BorrowedFd<'_>) -> Result<(), Report> {
    (1u16..).zip(NODES).try_for_each(|(item, (name, major, minor))| {
        let mode = Mode::from_bits_truncate(0o666);
        match mknodat(dev, name, SFlag::S_IFCHR, mode, makedev(major as _, minor as _)) {
            Ok(()) | Err(Errno::EEXIST) => Ok(()),
            Err(Errno::EPERM) => bind_host_node(dev, name),
            Err(errno) => Err(errno),
        }
        .map_err(|errno| Report::new(Step::DeviceNode, item, errno))
    })
}

fn bind_host_node(dev: BorrowedFd<'_>, name: &CStr) -> nix::Result<()> {
    let host = PathText::join(&[b"/dev/", name.to_bytes()]).map_err(|_| Errno::ENAMETOOLONG)?;
    bind_in(dev, name.to_bytes(), Source::Path(host.c()))
}

const LINKS: [(&CStr, &CStr); 4] = [
    (c"/proc/self/fd", c"fd"),
    (c"/proc/self/fd/0", c"stdin"),
    (c"/proc/self/fd/1", c"stdout"),
    (c"/proc/self/fd/2", c"stderr"),
];

/// /dev/fd and its three companions. In a /dev of the rootfs's, which may be read-only, they are left out, as LXC does.
pub fn link_standard(dev: BorrowedFd<'_>, ours: bool) -> nix::Result<()> {
    for (target, name) in LINKS {
        match symlinkat(target, dev, name) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(Errno::EROFS) if !ours => return Ok(()),
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
