//! openat2(2): looking a path up beneath a directory, so that nothing in a rootfs can lead outside of it. Trees of mounts.

use super::{check, fds};
use core::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// `struct open_how` of openat2(2).
#[repr(C)]
struct How {
    flags: u64,
    mode: u64,
    resolve: u64,
}

const RESOLVE_NO_MAGICLINKS: u64 = 0x02;
const RESOLVE_NO_SYMLINKS: u64 = 0x04;
const RESOLVE_IN_ROOT: u64 = 0x10;

/// Opens `path` as if `root` were `/`, refusing every symbolic link on the way (ELOOP). ENOSYS before Linux 5.6.
pub fn open_in_root(root: BorrowedFd<'_>, path: &CStr, flags: i32) -> nix::Result<OwnedFd> {
    open_how(root, path, flags, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS)
}

/// The same with links followed, which mean what they mean where `root` is `/`.
pub fn follow_in_root(root: BorrowedFd<'_>, path: &CStr, flags: i32) -> nix::Result<OwnedFd> {
    open_how(root, path, flags, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
}

fn open_how(root: BorrowedFd<'_>, path: &CStr, flags: i32, resolve: u64) -> nix::Result<OwnedFd> {
    let how = How { flags: (flags | libc::O_CLOEXEC) as u32 as u64, mode: 0, resolve };
    let size = size_of::<How>();
    // SAFETY: `path` is a C string and `how` an open_how of the size passed; both outlive the call. What is returned is new.
    unsafe { fds::made(libc::syscall(libc::SYS_openat2, root.as_raw_fd(), path.as_ptr(), &how as *const How, size)) }
}

/// pivot_root(".", "."): the current directory becomes the root, and the old root is stacked on top of it.
pub fn pivot_here() -> nix::Result<()> {
    // SAFETY: both arguments are constant C strings.
    check(unsafe { libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()) }).map(drop)
}

/// open_tree(2), the same number on every architecture.
const SYS_OPEN_TREE: libc::c_long = 428;
/// AT_RECURSIVE
const RECURSIVE: i32 = 0x8000;
/// move_mount(2)
const SYS_MOVE_MOUNT: libc::c_long = 429;

/// A copy, mounted nowhere yet, of the directory or file `path` and, if `deep`, of all that is mounted below it (Linux 5.2).
pub fn copy_tree(path: &CStr, deep: bool) -> nix::Result<OwnedFd> {
    const CLONE: i32 = 1;
    let flags = CLONE | libc::O_CLOEXEC | if deep { RECURSIVE } else { 0 };
    // SAFETY: the kernel reads the C string. What is returned is new.
    unsafe { fds::made(libc::syscall(SYS_OPEN_TREE, libc::AT_FDCWD, path.as_ptr(), flags)) }
}

/// Mounts what `copy_tree` made at `target`, whose links are followed as mount(2) does (Linux 5.2).
pub fn attach_tree(tree: BorrowedFd<'_>, target: &CStr) -> nix::Result<()> {
    const FROM_EMPTY_PATH: u32 = 0x04;
    const TO_SYMLINKS: u32 = 0x10;
    const TO_AUTOMOUNTS: u32 = 0x20;
    let flags = FROM_EMPTY_PATH | TO_SYMLINKS | TO_AUTOMOUNTS;
    // SAFETY: the kernel reads the two C strings.
    check(unsafe {
        libc::syscall(SYS_MOVE_MOUNT, tree.as_raw_fd(), c"".as_ptr(), libc::AT_FDCWD, target.as_ptr(), flags)
    })
    .map(drop)
}

/// What is called `name` in `directory`, or what was opened as `directory` if that is empty.
pub type At<'a> = (BorrowedFd<'a>, &'a CStr);

/// Binds one on another: without a path through procfs, of which each costs more than the bind itself (Linux 5.2). If the other
/// one is a link by that name, the link itself is covered.
pub fn bind((directory, name): At<'_>, (onto, place): At<'_>) -> nix::Result<()> {
    const CLONE: i32 = 1;
    const FROM_EMPTY_PATH: u32 = 0x04;
    const TO_EMPTY_PATH: u32 = 0x40;
    let empty_paths = if place.is_empty() { FROM_EMPTY_PATH | TO_EMPTY_PATH } else { FROM_EMPTY_PATH };
    let flags = CLONE | libc::O_CLOEXEC | libc::AT_EMPTY_PATH;
    // SAFETY: the kernel reads the C string. What is returned is new.
    let tree = unsafe { fds::made(libc::syscall(SYS_OPEN_TREE, directory.as_raw_fd(), name.as_ptr(), flags)) }?;
    let (from, onto) = (tree.as_raw_fd(), onto.as_raw_fd());
    // SAFETY: the kernel reads two C strings.
    check(unsafe { libc::syscall(SYS_MOVE_MOUNT, from, c"".as_ptr(), onto, place.as_ptr(), empty_paths) }).map(drop)
}

/// mount_setattr(2), the same number on every architecture.
const SYS_MOUNT_SETATTR: libc::c_long = 442;

/// `struct mount_attr` of mount_setattr(2).
#[repr(C)]
struct Attributes {
    set: u64,
    clear: u64,
    propagation: u64,
    users: u64,
}

/// Has what `copy_tree` made show the ids of its files as user namespace `users` maps them; if `deep`, with all mounts below.
/// ENOSYS before Linux 5.12; EINVAL: one of the filesystems does not let its ids be mapped.
pub fn map_ids(tree: BorrowedFd<'_>, users: BorrowedFd<'_>, deep: bool) -> nix::Result<()> {
    const IDMAP: u64 = 0x10_0000;
    let attributes = Attributes { set: IDMAP, clear: 0, propagation: 0, users: users.as_raw_fd() as u64 };
    let flags = libc::AT_EMPTY_PATH | if deep { RECURSIVE } else { 0 };
    // SAFETY: the kernel reads the C string and a mount_attr of the size passed; both outlive the call.
    check(unsafe {
        libc::syscall(
            SYS_MOUNT_SETATTR,
            tree.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &attributes as *const Attributes,
            size_of::<Attributes>(),
        )
    })
    .map(drop)
}
