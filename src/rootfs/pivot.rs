//! pivot_root(2), also where it answers EINVAL (lxc.md row 107).
//!
//! The new root is stacked onto the old one and the old one unmounted from below it, so no directory for the old root is
//! needed in the rootfs (`lxc.pivotdir` has no meaning any more).
//!
//! An initramfs cannot be pivoted away: it has no parent mount. Neither can a chroot that is no mount point. There the
//! present root is first bound onto itself, which gives it a mount of its own with a parent, the rootfs is moved on top of
//! that, and then it works.

use super::beneath::Root;
use crate::sys::mounts::pivot_here;
use core::ffi::CStr;
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
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
    chdir(c"/")?;
    // What the guest mounts is shared among its own namespaces, as under LXC; nothing of it leads to the host, because the
    // mounts were made slaves first.
    mount(None::<&CStr>, c"/", None::<&CStr>, MsFlags::MS_SHARED | MsFlags::MS_REC, None::<&CStr>)
}

fn make_root_movable(root: &Root) -> nix::Result<()> {
    mount(Some(c"/"), c"/", None::<&CStr>, MsFlags::MS_BIND, None::<&CStr>)?;
    // `..` of the root directory is what is mounted on top of it: the bind we have just made.
    chdir(c"/..")?;
    chroot(c".")?;
    fchdir(root.fd())?;
    mount(Some(c"."), c"/", None::<&CStr>, MsFlags::MS_MOVE, None::<&CStr>)
}
