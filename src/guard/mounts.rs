//! What a helper does with a call that makes or uncovers a mount.
//!
//! A filesystem that needs masks is mounted on the caller's behalf: in the caller's namespaces, in a copy of its mounts that
//! nobody else sees, the masks on top; then the whole tree is attached at once, so that it is nowhere without them, not even
//! in namespaces that the mount propagates to.
//!
//! What this does not hold: a thread that exchanges the type's text between our look and the kernel's, a mask's path written
//! in other words (through links), a mask moved away by descriptor, CAP_SYS_PTRACE on what is not under the filter. It is a
//! guard against what ordinary programs do, not a wall against root in the guest, who has other ways.

use super::caller::{Caller, Path, Place, SYS_ADMIN, as_the_caller, descriptor_of, is_same, read_memory, text};
use super::helper::{Answer, Job};
use super::masks::{self, Kind};
use crate::android::boot_arguments;
use crate::config::own::Own;
use crate::sys::clone::{Fork, fork};
use crate::sys::fds::{self, open};
use crate::sys::mounts::{attach_tree, copy_tree};
use crate::sys::process::{self, Exit, exit_now};
use crate::sys::seccomp::Notification;
use core::ffi::CStr;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::stat::{Mode, fstat, stat};
use nix::unistd::chdir;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// Whether a path may lie on one of the filesystems: what is decided without walking it, because most paths do not.
pub fn may_be_dangerous(path: &CStr) -> bool {
    let names: [&[u8]; 5] = [b"proc", b"sys", b"debug", b"tracing", b"d"];
    let path = path.to_bytes();
    !path.starts_with(b"/") || path.split(|byte| *byte == b'/').any(|name| names.contains(&name))
}

/// Goes where the caller is and opens the path at `address`, if that lies on one of the filesystems; else None: the kernel
/// does what is to be done, or refuses it by itself.
fn look_up(job: &Job<'_>, address: u64) -> nix::Result<Option<(Path, Caller, OwnedFd)>> {
    let pid = job.call.pid;
    let path = text(pid, address)?;
    if !may_be_dangerous(path.c()) {
        return Ok(None);
    }
    let caller = Caller::of(pid)?;
    if !caller.has(SYS_ADMIN) {
        return Ok(None);
    }
    let path = as_the_caller(path, &caller)?;
    Place::of(job)?.enter()?;
    let found = open(path.c(), OFlag::O_PATH, Mode::empty()).ok().filter(masks::is_dangerous);
    Ok(found.map(|found| (path, caller, found)))
}

/// Lets a call go on unless what it acts on is a mask.
pub fn keep(job: &Job<'_>, address: u64) -> nix::Result<Answer> {
    let found = look_up(job, address)?;
    Ok(if found.is_some_and(|(.., found)| masks::is_mask(&found)) { Answer::Refuse } else { Answer::GoOn })
}

/// mount_setattr(2) makes no mask writable, neither by path nor by descriptor.
pub fn set_attributes(job: &Job<'_>) -> nix::Result<Answer> {
    const CLEAR_AT: usize = 8;
    const READ_ONLY: u8 = 1;
    let Notification { pid, args: [descriptor, path, _, attributes, ..], .. } = job.call;
    // The first two members of `struct mount_attr`: what is set, what is cleared.
    let mut head = [0u8; 16];
    read_memory(pid, attributes, &mut head)?;
    if head.get(CLEAR_AT).is_none_or(|low| low & READ_ONLY == 0) {
        return Ok(Answer::GoOn);
    }
    match text(pid, path)?.c().to_bytes() {
        [] if masks::is_mask(&descriptor_of(pid, descriptor as i32)?) => Ok(Answer::Refuse),
        [b'/', ..] => keep(job, path),
        _ => Ok(Answer::GoOn),
    }
}

/// A mask stays; what has masks goes with them, which the kernel would call busy.
pub fn unmount(job: &Job<'_>) -> nix::Result<Answer> {
    let [path, flags, ..] = job.call.args;
    let flags = MntFlags::from_bits_retain(flags as i32);
    match look_up(job, path)? {
        Some((.., found)) if masks::is_mask(&found) => Ok(Answer::Refuse),
        Some((path, _, found)) if !flags.intersects(MntFlags::MNT_DETACH | MntFlags::MNT_EXPIRE) => {
            drop(found);
            umount2(path.c(), flags | MntFlags::MNT_DETACH).map(|()| Answer::Done)
        }
        _ => Ok(Answer::GoOn),
    }
}

/// A bind of a part of these filesystems takes along what is mounted below, the masks.
pub fn carry(job: &Job<'_>) -> nix::Result<Answer> {
    let Notification { pid, args: [source, target, ..], .. } = job.call;
    let target = text(pid, target)?;
    let Some((source, caller, found)) = look_up(job, source)? else { return Ok(Answer::GoOn) };
    drop(found);
    let target = as_the_caller(target, &caller)?;
    attach_tree(copy_tree(source.c(), true)?.as_fd(), target.c())?;
    Ok(Answer::Done)
}

/// Mounts a fresh filesystem for the caller, with the masks on it.
pub fn mount_masked(job: &Job<'_>, kind: Kind, flags: MsFlags) -> nix::Result<Answer> {
    let Notification { pid, args: [source, target, _, _, data, _], .. } = job.call;
    let caller = Caller::of(pid)?;
    if !caller.has(SYS_ADMIN) {
        // The kernel refuses it.
        return Ok(Answer::GoOn);
    }
    let maybe = |address| if address == 0 { Ok(None) } else { text(pid, address).map(Some) };
    let wish = Wish {
        source: maybe(source)?,
        target: as_the_caller(text(pid, target)?, &caller)?,
        kind,
        flags,
        data: maybe(data)?,
    };
    let place = Place::of(job)?;
    setns(&place.net, CloneFlags::CLONE_NEWNET)?;
    // Before there is a process of ours that the guest can see.
    setns(&place.mounts, CloneFlags::CLONE_NEWNS)?;
    setns(&place.pids, CloneFlags::CLONE_NEWPID)?;
    // A procfs shows the pid namespace of the process that mounts it, which one gets by birth.
    match fork()? {
        Fork::Child => exit_now(mount_inside(&wish, &place, job.own).err().map_or(0, |errno| errno as i32)),
        Fork::Parent(child) => match process::wait(child)? {
            Exit::Code(0) => Ok(Answer::Done),
            Exit::Code(errno) => Err(Errno::from_raw(errno)),
            Exit::Signal(_) => Err(Errno::EINTR),
        },
    }
}

/// A mount as the caller wants it.
struct Wish {
    source: Option<Path>,
    target: Path,
    kind: Kind,
    flags: MsFlags,
    data: Option<Path>,
}

fn mount_inside(wish: &Wish, place: &Place, own: &Own<'_>) -> nix::Result<()> {
    process::set_parent_death_signal(libc::SIGKILL)?;
    // The guest sees this process: nothing of the host's stays open in it.
    let users = place.users.as_ref().map_or(-1, AsRawFd::as_raw_fd);
    let mut kept = [place.mounts.as_raw_fd(), place.root.as_raw_fd(), place.directory.as_raw_fd(), users];
    fds::close_all_but(0, &mut kept)?;
    if let Some(users) = &place.users {
        setns(users, CloneFlags::CLONE_NEWUSER)?;
    }
    unshare(CloneFlags::CLONE_NEWNS)?;
    let private = MsFlags::MS_PRIVATE | MsFlags::MS_REC;
    mount(None::<&CStr>, c"/", None::<&CStr>, private, None::<&CStr>)?;
    let name = wish.kind.name();
    mount(wish.source.as_ref().map(Path::c), c"/", Some(name), wish.flags, wish.data.as_ref().map(Path::c))?;
    // `..` of the root directory is what is mounted on top of it.
    chdir(c"/..")?;
    masks::apply(c".", b"/", wish.kind, own)?;
    if wish.kind == Kind::Proc {
        boot_arguments::carry_over(c".")?;
    }
    let tree = copy_tree(c".", true)?;
    let made = fstat(&tree)?;
    place.enter_mounts()?;
    let there = stat(wish.target.c())?;
    if there.st_mode & libc::S_IFMT != libc::S_IFDIR {
        return Err(Errno::ENOTDIR);
    }
    // The same filesystem twice on one place, which mount(2) refuses.
    if is_same(&made, &there) {
        return Err(Errno::EBUSY);
    }
    attach_tree(tree.as_fd(), wish.target.c())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn may_be_dangerous_looks_at_whole_components() {
        for path in [c"/proc", c"/proc/sys", c"/mnt/root/sys/power", c".", c"x", c"/d", c"/sys/kernel/debug"] {
            assert!(may_be_dangerous(path), "{path:?}");
        }
        for path in [c"/system", c"/data/processed", c"/mnt/user/0", c"/"] {
            assert!(!may_be_dangerous(path), "{path:?}");
        }
    }
}
