//! What the child gets hold of before it becomes root of its user namespace: files that this root may not open, and trees of
//! mounts, mounted nowhere yet, that the host has made for it (`idmap::trees`).

use super::{Kind, Site, Source};
use crate::android::boot_arguments::{Opened, open_files};
use crate::config::{Config, MountEntry};
use crate::spawn::barrier::{ROOTFS, Report, Step};
use crate::sys::{fds, rights};
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, SFlag, fstat};
use std::os::fd::OwnedFd;

/// Trees in the order in which they are used: the rootfs, then entries.
pub type Trees = heapless::Vec<OwnedFd, { rights::MOST }>;

/// All of it.
pub struct Handed {
    /// See `android::boot_arguments`.
    pub boot_arguments: Opened,
    /// Where the rootfs goes, if it is a tree.
    pub mountpoint: Option<OwnedFd>,
    trees: Trees,
}

/// The host makes the tree of the rootfs.
pub fn wants_rootfs(config: &Config<'_>, source: &Source<'_>) -> bool {
    let device = source.kind != Kind::Directory && !config.isolation.idmap.is_empty();
    cfg!(feature = "idmap") && config.rootfs.path.is_some() && (device || config.rootfs.idmap.is_some())
}

/// The host makes the tree of this entry.
pub fn wants_entry(entry: &MountEntry<'_>) -> bool {
    cfg!(feature = "idmap") && entry.idmap.is_some()
}

impl Handed {
    /// With the trees that came with the supervisor's first word.
    pub fn new(site: &Site<'_>, trees: Trees) -> Result<Handed, Report> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        let mountpoint = wants_rootfs(site.config, &site.source)
            .then(|| fds::open(site.source.mountpoint, flags, Mode::empty()))
            .transpose()
            .map_err(|errno| Report::new(Step::Rootfs, ROOTFS, errno))?;
        Ok(Handed { boot_arguments: open_files(site), mountpoint, trees })
    }

    /// The rootfs's.
    pub fn rootfs(&self) -> Option<&OwnedFd> {
        self.trees.first().filter(|_| self.mountpoint.is_some())
    }

    /// An entry's. None: it has none, or none that could be had.
    pub fn entry(&self, site: &Site<'_>, index: u16) -> Option<&OwnedFd> {
        let before = site.config.mounts.iter().take(index.into()).filter(|entry| wants_entry(entry)).count();
        let place = before + usize::from(self.mountpoint.is_some());
        // A socket stands where an optional one is not to be had. What cannot be looked at is no reason to do without the ids.
        let is_tree =
            |tree: &&OwnedFd| !fstat(tree).is_ok_and(|stat| stat.st_mode & libc::S_IFMT == SFlag::S_IFSOCK.bits());
        self.trees.get(place).filter(is_tree)
    }
}
