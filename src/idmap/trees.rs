//! What only the host's root may mount, mounted by a process of the host's for the child, which has waited: a root filesystem on
//! a device, in an image or of layers where the container has a user namespace, and mounts with other ids than the filesystem's
//! (`idmap=`, mount_setattr(2), Linux 5.12).
//!
//! The process has a mount namespace of its own, so that the host sees nothing of it, and sends up a copy of each mount that is
//! mounted nowhere (open_tree(2), Linux 5.2). The supervisor hands them on to the child, which attaches them. All that may take
//! its time happens here, within the start's deadline.

use crate::cgroup::remove::{PAUSE_MS, pause};
use crate::config::{Config, MountEntry};
use crate::logging::log;
use crate::rootfs::handed::{wants_entry, wants_rootfs};
use crate::rootfs::{self, Source, pivot};
use crate::spawn::barrier::{ROOTFS, Report, Step};
use crate::spawn::child::{supervisor_lives, tell};
use crate::sys::fds::open;
use crate::sys::mounts::{copy_tree, map_ids};
use crate::sys::process::{self, exit_now};
use crate::sys::rights;
use crate::text::PathText;
use core::convert::Infallible;
use core::ffi::CStr;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::Mode;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// How often the end of a killed process is looked for, with a pause: 5 s.
const ROUNDS: u32 = 5_000 / PAUSE_MS as u32;

/// Whether the child needs any.
pub fn wanted(config: &Config<'_>, source: &Source<'_>) -> bool {
    wants_rootfs(config, source) || config.mounts.iter().any(wants_entry)
}

/// Makes them, sends them or what went wrong, and ends. `child` is the newborn, whose maps are written.
pub fn run(config: &Config<'_>, source: &Source<'_>, child: i32, socket: BorrowedFd<'_>) -> ! {
    let _ = process::set_parent_death_signal(libc::SIGKILL);
    if !supervisor_lives(socket) {
        exit_now(255);
    }
    let Err(report) = make(config, source, child, socket);
    tell(socket, report);
    exit_now(255)
}

/// Ends the process that makes them. One that a dead device holds up is left behind.
pub fn end(pid: i32) {
    let _ = process::kill(pid, libc::SIGKILL);
    if !wait(pid) {
        log::error!("idmap: process {pid} does not die and is left behind");
    }
}

/// Waits for a process of ours that ends by itself, but not for ever.
pub fn wait(pid: i32) -> bool {
    for _ in 0..ROUNDS {
        if process::try_wait(pid) != Ok(None) {
            return true;
        }
        pause();
    }
    false
}

fn make(config: &Config<'_>, source: &Source<'_>, child: i32, socket: BorrowedFd<'_>) -> Result<Infallible, Report> {
    let fail = |step: Step, item: u16| move |errno: Errno| Report::new(step, item, errno);
    unshare(CloneFlags::CLONE_NEWNS).map_err(fail(Step::SlaveMounts, 0))?;
    pivot::make_slaves(source.path).map_err(fail(Step::SlaveMounts, 0))?;
    let mut trees: heapless::Vec<OwnedFd, { rights::MOST }> = heapless::Vec::new();
    if wants_rootfs(config, source) {
        rootfs::mount_source(config, source, &|report| tell(socket, report))?;
        let tree =
            tree(source.mountpoint, true, config.rootfs.idmap, child).map_err(fail(Step::IdmappedMount, ROOTFS))?;
        let _ = trees.push(tree);
    }
    for (index, entry) in (0u16..).zip(&config.mounts).filter(|(_, entry)| wants_entry(entry)) {
        let tree = match tree(entry.source, is_deep(entry), entry.idmap, child) {
            Err(errno) if entry.optional => {
                tell(socket, Report::new(Step::IdmappedMount, index, errno).as_warning());
                // Something that is none.
                socket.try_clone_to_owned().map_err(|_| Report::new(Step::IdmappedMount, index, Errno::EMFILE))?
            }
            other => other.map_err(fail(Step::IdmappedMount, index))?,
        };
        trees.push(tree).map_err(|_| Report::new(Step::IdmappedMount, index, Errno::E2BIG))?;
    }
    let mut borrowed: heapless::Vec<BorrowedFd<'_>, { rights::MOST }> = heapless::Vec::new();
    borrowed.extend(trees.iter().map(AsFd::as_fd));
    rights::send(socket, &Report::ready().to_bytes(), &borrowed).map_err(fail(Step::IdmappedMount, ROOTFS))?;
    exit_now(0)
}

fn is_deep(entry: &MountEntry<'_>) -> bool {
    entry.options.flags as libc::c_ulong & libc::MS_REC != 0
}

/// A copy of what is at `path`, with its ids mapped if that is asked for.
fn tree(path: &CStr, deep: bool, idmap: Option<&CStr>, child: i32) -> nix::Result<OwnedFd> {
    let tree = copy_tree(path, deep)?;
    let Some(whose) = idmap else { return Ok(tree) };
    let users = match whose.to_bytes() {
        b"container" => PathText::format(format_args!("/proc/{child}/ns/user")),
        path => PathText::join(&[path]),
    };
    let users = open(users.map_err(|_| Errno::ENAMETOOLONG)?.c(), OFlag::O_RDONLY, Mode::empty())?;
    map_ids(tree.as_fd(), users.as_fd(), deep)?;
    Ok(tree)
}
