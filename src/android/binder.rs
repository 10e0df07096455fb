//! `monopod.binder`: the nodes of Android's IPC.
//!
//! Since Linux 5.0 they live in a binderfs, each mount of which is an instance of its own: who shall talk to each other needs
//! the same mount. Kernels without it have a few nodes like other devices, which all share.

use super::devices::Node;
use crate::config::own::{Binder, Own};
use crate::error::{Error, Result};
use crate::logging::log;
use crate::rootfs::Site;
use crate::rootfs::beneath::{FdPath, Name, Root};
use crate::spawn::barrier::{Report, Step};
use crate::sys::{binder, fds};
use crate::text::{PathText, number};
use core::ffi::CStr;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{FchmodatFlags, Mode, SFlag, fchmodat, makedev, stat};
use nix::sys::statfs::statfs;
use nix::unistd::{UnlinkatFlags, mkdir, symlinkat, unlinkat};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

const HOST: &CStr = c"/dev/binderfs";
const INSIDE: &[u8] = b"dev/binderfs";
/// BINDERFS_SUPER_MAGIC (include/uapi/linux/magic.h).
const MAGIC: u32 = 0x6c6f_6f70;

fn names<'a>(own: &'a Own<'_>) -> impl Iterator<Item = &'a [u8]> {
    let names = own.binder_nodes.unwrap_or(c"binder hwbinder vndbinder");
    names.to_bytes().split(|byte| *byte == b' ' || *byte == b'\t').filter(|name| !name.is_empty())
}

fn open_directory(path: &CStr) -> nix::Result<OwnedFd> {
    fds::open(path, OFlag::O_PATH | OFlag::O_DIRECTORY, Mode::empty())
}

/// Called by the supervisor before each life: the host's binderfs is there, with the nodes and their links.
pub fn prepare_host(own: &Own<'_>) -> Result<()> {
    if own.binder.value != Binder::Host {
        return Ok(());
    }
    if !is_binderfs(HOST) {
        let made = mkdir(HOST, Mode::from_bits_truncate(0o755)).is_ok();
        match mount_new(HOST) {
            Ok(()) => log::info!("binder: mounted the host's /dev/binderfs"),
            // The child makes do with the kernel's own nodes.
            Err(Errno::ENODEV | Errno::ENOENT) => {
                if made {
                    let _ = crate::cgroup::remove::rmdir(HOST);
                }
                return Ok(());
            }
            Err(errno) => return Err(Error::os("binder", errno, format_args!("mount /dev/binderfs on the host"))),
        }
    }
    let fill = || {
        fill(open_directory(HOST)?.as_fd(), own)?;
        let dev = open_directory(c"/dev")?;
        // A node that the host has by this name is the host's.
        names(own).try_for_each(|name| match link(dev.as_fd(), name) {
            Err(Errno::EEXIST) => Ok(()),
            other => other,
        })
    };
    fill().map_err(|errno| Error::os("binder", errno, format_args!("the nodes of the host's /dev/binderfs")))
}

/// Called by the child; `dev` is the rootfs's /dev.
pub fn provide(site: &Site<'_>, root: &Root, dev: BorrowedFd<'_>) -> core::result::Result<(), Report> {
    let own = &site.config.own;
    let given = match own.binder.value {
        Binder::None => return Ok(()),
        Binder::Own => mount_own(root, own),
        Binder::Host => bind_host(root),
    };
    match given {
        Ok(()) => names(own).try_for_each(|name| relink(dev, name)),
        Err(Errno::ENODEV) => module_nodes(root, own),
        Err(errno) => Err(errno),
    }
    .map_err(|errno| Report::new(Step::Binder, 0, errno))
}

fn mount_own(root: &Root, own: &Own<'_>) -> nix::Result<()> {
    let place = root.make_directories(INSIDE)?;
    mount_new(FdPath::of(&place).c())?;
    // Looked up again, the path means what is mounted there, unless somebody has exchanged it.
    let mounted = root.target(INSIDE)?;
    if is_binderfs(FdPath::of(&mounted).c()) { fill(mounted.as_fd(), own) } else { Err(Errno::ESTALE) }
}

fn bind_host(root: &Root) -> nix::Result<()> {
    if !is_binderfs(HOST) {
        return Err(Errno::ENODEV);
    }
    let place = root.make_directories(INSIDE)?;
    mount(Some(HOST), FdPath::of(&place).c(), None::<&CStr>, MsFlags::MS_BIND, None::<&CStr>)
}

fn is_binderfs(path: &CStr) -> bool {
    statfs(path).is_ok_and(|stat| stat.filesystem_type().0 as u32 == MAGIC)
}

/// ENODEV: the kernel has none.
fn mount_new(target: &CStr) -> nix::Result<()> {
    let mount = |data: Option<&CStr>| {
        mount(Some(c"binder"), target, Some(c"binder"), MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC, data)
    };
    // Before Linux 5.9 it knows no statistics.
    match mount(Some(c"stats=global")) {
        Err(Errno::EINVAL) => mount(None),
        other => other,
    }
}

/// Adds the nodes to a binderfs and lets everybody open them, as Android's services run under many ids.
fn fill(binderfs: BorrowedFd<'_>, own: &Own<'_>) -> nix::Result<()> {
    let control = openat(binderfs, c"binder-control", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    names(own).try_for_each(|name| {
        match binder::add(control.as_fd(), name) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno),
        }
        let mode = Mode::from_bits_truncate(0o666);
        fchmodat(binderfs, Name::new(name)?.c(), mode, FchmodatFlags::FollowSymlink)
    })
}

/// /dev/NAME is a link into the binderfs.
fn link(dev: BorrowedFd<'_>, name: &[u8]) -> nix::Result<()> {
    let target = PathText::join(&[b"binderfs/", name]).map_err(|_| Errno::ENAMETOOLONG)?;
    symlinkat(target.c(), dev, Name::new(name)?.c())
}

/// The same in place of whatever an earlier life has left there.
fn relink(dev: BorrowedFd<'_>, name: &[u8]) -> nix::Result<()> {
    match link(dev, name) {
        Err(Errno::EEXIST) => match unlinkat(dev, Name::new(name)?.c(), UnlinkatFlags::NoRemoveDir) {
            Ok(()) => link(dev, name),
            // An entry of the config has mounted one there.
            Err(Errno::EBUSY) => Ok(()),
            Err(errno) => Err(errno),
        },
        other => other,
    }
}

/// The nodes of a kernel without binderfs, all that are named in the config; of the usual ones those that it has.
fn module_nodes(root: &Root, own: &Own<'_>) -> nix::Result<()> {
    let mut made = false;
    for name in names(own) {
        let host = PathText::join(&[b"/dev/", name]).map_err(|_| Errno::ENAMETOOLONG)?;
        let Some(device) = numbers(host.c(), name) else {
            if own.binder_nodes.is_some() {
                return Err(Errno::ENODEV);
            }
            continue;
        };
        let node = Node { kind: SFlag::S_IFCHR, device, mode: 0o666, uid: 0, gid: 0 };
        node.make(root, host.c().to_bytes(), host.c())?;
        made = true;
    }
    if made { Ok(()) } else { Err(Errno::ENODEV) }
}

/// By the host's node, or by sysfs where nobody has made one.
fn numbers(host: &CStr, name: &[u8]) -> Option<libc::dev_t> {
    if let Ok(found) = stat(host)
        && SFlag::from_bits_truncate(found.st_mode & libc::S_IFMT) == SFlag::S_IFCHR
    {
        return Some(found.st_rdev);
    }
    let file = PathText::join(&[b"/sys/class/misc/", name, b"/dev"]).ok()?;
    let text = crate::cgroup::limit::read(file.c()).ok()?;
    let (major, minor) = text.split_at_checked(memchr::memchr(b':', &text)?)?;
    Some(makedev(number(major)? as _, number(minor.get(1..)?)? as _))
}
