//! pivot_root(2), also where it answers EINVAL.
//!
//! The new root is stacked onto the old one and the old one unmounted from below it, so no directory for the old root is
//! needed in the rootfs (`lxc.pivotdir` has no meaning any more).
//!
//! An initramfs cannot be pivoted away: it has no parent mount. Neither can a chroot that is no mount point. There the
//! present root is first bound onto itself, which gives it a mount of its own with a parent, the rootfs is moved on top of
//! that, and then it works.

use super::beneath::Root;
use crate::sys::fds;
use crate::sys::mounts::pivot_here;
use core::ffi::CStr;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::Mode;
use nix::unistd::{chdir, chroot, fchdir};

/// Makes the rootfs the root directory of this process and its mount namespace.
pub fn enter(root: &Root) -> nix::Result<()> {
    fchdir(root.fd())?;
    match pivot_here() {
        Err(Errno::EINVAL) => {
            make_root_movable(root)?;
            pivot_here()?;
        }
        other => other?,
    }
    umount2(c".", MntFlags::MNT_DETACH)?;
    // What the guest mounts is shared among its own namespaces, as under LXC; nothing of it leads to the host, because the
    // mounts were made slaves first.
    mount(None::<&CStr>, c"/", None::<&CStr>, MsFlags::MS_SHARED | MsFlags::MS_REC, None::<&CStr>)
}

/// Makes every mount of this namespace a slave: what is mounted from now on stays here.
///
/// In a chroot that is no mount point `/` answers EINVAL. The root directory above is then reached the way out that every
/// chroot leaves to root (into `folder`, any directory inside, and up from where we stand), and the chroot entered again.
pub fn make_slaves(folder: &CStr) -> nix::Result<()> {
    let slaves = MsFlags::MS_SLAVE | MsFlags::MS_REC;
    let make = || mount(None::<&CStr>, c"/", None::<&CStr>, slaves, None::<&CStr>);
    match make() {
        Err(Errno::EINVAL) => {}
        other => return other,
    }
    let back = fds::open(c"/", OFlag::O_PATH | OFlag::O_DIRECTORY, Mode::empty())?;
    chdir(c"/")?;
    chroot(folder)?;
    for _ in 0..DEEPEST_CHROOT {
        chdir(c"..")?;
    }
    chroot(c".")?;
    let made = make();
    fchdir(&back)?;
    chroot(c".")?;
    made
}

/// How many directories deep a chroot may lie: more than PATH_MAX has room for in any sensible path.
const DEEPEST_CHROOT: u32 = 256;

fn make_root_movable(root: &Root) -> nix::Result<()> {
    mount(Some(c"/"), c"/", None::<&CStr>, MsFlags::MS_BIND, None::<&CStr>)?;
    // `..` of the root directory is what is mounted on top of it: the bind we have just made.
    chdir(c"/..")?;
    chroot(c".")?;
    fchdir(root.fd())?;
    mount(Some(c"."), c"/", None::<&CStr>, MsFlags::MS_MOVE, None::<&CStr>)
}
