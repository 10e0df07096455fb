//! The masks: what a guest could harm the host by, in procfs, sysfs, debugfs and tracefs, is made read-only.
//!
//! A read-only bind of the thing onto itself needs no source, works on every kernel, and lets a guest read what it may.

use crate::config::own::{Danger, Own};
use crate::mountinfo;
use crate::rootfs::beneath::{FdPath, Root};
use crate::spawn::barrier::{Report, Step};
use crate::sys::fds::open;
use crate::text::PathText;
use core::ffi::CStr;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, fstat};
use nix::sys::statfs::{DEBUGFS_MAGIC, FsType, PROC_SUPER_MAGIC, SYSFS_MAGIC, TRACEFS_MAGIC, fstatfs};
use nix::sys::statvfs::FsFlags;
use std::os::fd::{AsFd, OwnedFd};

/// A filesystem that shows the host's kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// procfs
    Proc,
    /// sysfs
    Sysfs,
    /// debugfs
    Debugfs,
    /// tracefs
    Tracefs,
}

impl Kind {
    const ALL: [(FsType, Kind); 4] = [
        (PROC_SUPER_MAGIC, Kind::Proc),
        (SYSFS_MAGIC, Kind::Sysfs),
        (DEBUGFS_MAGIC, Kind::Debugfs),
        (TRACEFS_MAGIC, Kind::Tracefs),
    ];

    /// By its name as mount(2) knows it.
    pub fn named(name: &[u8]) -> Option<Kind> {
        Kind::ALL.iter().map(|(_, kind)| *kind).find(|kind| kind.name().to_bytes() == name)
    }

    /// Its name as mount(2) knows it.
    pub const fn name(self) -> &'static CStr {
        match self {
            Kind::Proc => c"proc",
            Kind::Sysfs => c"sysfs",
            Kind::Debugfs => c"debugfs",
            Kind::Tracefs => c"tracefs",
        }
    }

    /// That of an open file, and whether its mount is read-only.
    fn of(file: &OwnedFd) -> nix::Result<(Option<Kind>, bool)> {
        let found = fstatfs(file)?;
        let kind = Kind::ALL.iter().find(|(magic, _)| *magic == found.filesystem_type()).map(|(_, kind)| *kind);
        Ok((kind, found.flags().contains(FsFlags::ST_RDONLY)))
    }
}

/// One thing to be masked; an empty path is the whole filesystem.
struct Mask {
    kind: Kind,
    path: &'static [u8],
    danger: Danger,
}

const fn mask(kind: Kind, path: &'static [u8], danger: Danger) -> Mask {
    Mask { kind, path, danger }
}

/// /proc/sys/net belongs to the guest's network namespace and stays as it is.
const MASKS: [Mask; 8] = [
    mask(Kind::Proc, b"sysrq-trigger", Danger::Sysrq),
    mask(Kind::Proc, b"sys/kernel", Danger::Sysctl),
    mask(Kind::Proc, b"sys/vm", Danger::Sysctl),
    mask(Kind::Proc, b"sys/fs", Danger::Sysctl),
    mask(Kind::Proc, b"sys/dev", Danger::Sysctl),
    mask(Kind::Sysfs, b"power", Danger::Power),
    mask(Kind::Debugfs, b"", Danger::Debugfs),
    mask(Kind::Tracefs, b"", Danger::Debugfs),
];

/// Whether there is anything to be masked.
pub fn wanted(own: &Own<'_>) -> bool {
    MASKS.iter().any(|mask| own.forbids(mask.danger))
}

/// Whether there is anything to be masked in such a filesystem.
pub fn wanted_in(kind: Kind, own: &Own<'_>) -> bool {
    MASKS.iter().any(|mask| mask.kind == kind && own.forbids(mask.danger))
}

const QUIET: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV).union(MsFlags::MS_NOEXEC);

/// Masks what is mounted at `place`, which shows what lies at `root` of its filesystem. What is masked already stays as it is.
pub fn apply(place: &CStr, root: &[u8], kind: Kind, own: &Own<'_>) -> nix::Result<()> {
    for mask in MASKS.iter().filter(|mask| mask.kind == kind && own.forbids(mask.danger)) {
        let Some(rest) = below(root, mask.path) else { continue };
        let slash: &[u8] = if rest.is_empty() { b"" } else { b"/" };
        let path = PathText::join(&[place.to_bytes(), slash, rest]).map_err(|_| Errno::ENAMETOOLONG)?;
        match make_read_only(path.c(), kind, rest.is_empty()) {
            // This kernel does not have it.
            Ok(()) | Err(Errno::ENOENT) => {}
            other => return other,
        }
    }
    Ok(())
}

/// Masks what the child has just mounted at `path` of the rootfs; `apply_at_start` sees what else there is.
pub fn apply_in(rootfs: &Root, path: &[u8], kind: Kind, own: &Own<'_>) -> nix::Result<()> {
    if !super::BUILT || !wanted_in(kind, own) {
        return Ok(());
    }
    let (magic, _) = Kind::ALL.iter().find(|(_, one)| *one == kind).ok_or(Errno::ENODEV)?;
    let place = rootfs.mounted(path, *magic)?;
    apply(FdPath::of(&place.fd()).c(), b"/", kind, own)
}

/// Where the mask at `path` is in a mount that shows `root` of the filesystem; empty: it is all of it. None: not in it.
pub fn below<'a>(root: &[u8], path: &'a [u8]) -> Option<&'a [u8]> {
    let root = root.strip_prefix(b"/").unwrap_or(root);
    let under = |whole: &[u8], part: &[u8]| whole.starts_with(part) && whole.get(part.len()) == Some(&b'/');
    if root.is_empty() {
        Some(path)
    } else if path.is_empty() || root == path || under(root, path) {
        Some(b"")
    } else if under(path, root) {
        path.get(root.len() + 1..)
    } else {
        None
    }
}

fn make_read_only(path: &CStr, kind: Kind, is_mount: bool) -> nix::Result<()> {
    let found = open(path, OFlag::O_PATH | OFlag::O_NOFOLLOW, Mode::empty())?;
    // Something else may be mounted there.
    if Kind::of(&found)? != (Some(kind), false) {
        return Ok(());
    }
    if !is_mount {
        mount(Some(path), path, None::<&CStr>, MsFlags::MS_BIND, None::<&CStr>)?;
    }
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY | QUIET;
    mount(None::<&CStr>, path, None::<&CStr>, flags, None::<&CStr>)
}

/// Whether this is on one of these filesystems at all.
pub fn is_dangerous(file: &OwnedFd) -> bool {
    Kind::of(file).is_ok_and(|(kind, _)| kind.is_some())
}

/// Whether this looks like a mask: read-only, and not the root of a whole procfs or sysfs, which a guest may mount as it likes.
pub fn is_mask(file: &OwnedFd) -> bool {
    /// Of both.
    const ROOT: u64 = 1;
    match Kind::of(file) {
        Ok((Some(Kind::Debugfs | Kind::Tracefs), true)) => true,
        #[allow(clippy::unnecessary_cast)] // Of 32 bits on some targets.
        Ok((Some(_), true)) => fstat(file).is_ok_and(|found| found.st_ino as u64 != ROOT),
        _ => false,
    }
}

/// Masks everything in a table of mounts: /proc/PID/mountinfo of a process that has our root directory.
#[inline(never)] // a page of stack that runs once
pub fn apply_all(table: &OwnedFd, own: &Own<'_>) -> nix::Result<()> {
    let mut buffer = [0u8; 4096];
    let mut filled = 0;
    loop {
        let room = buffer.get_mut(filled..).unwrap_or(&mut []);
        // A line that does not fit is none of ours that anybody would write.
        let got = if room.is_empty() {
            filled = 0;
            continue;
        } else {
            nix::unistd::read(table, room)?
        };
        if got == 0 {
            return Ok(());
        }
        filled += got;
        let text = buffer.get(..filled).unwrap_or(&[]);
        let end = memchr::memrchr(b'\n', text).map_or(0, |last| last + 1);
        for line in text.get(..end).unwrap_or(&[]).split(|byte| *byte == b'\n') {
            if let Some((kind, root, target)) = mounted(line)
                && let Some(place) = mountinfo::decoded(target)
            {
                match apply(place.c(), root, kind, own) {
                    // Unmounted, or covered by something else.
                    Ok(()) | Err(Errno::ENOENT | Errno::ENOTDIR) => {}
                    other => return other,
                }
            }
        }
        buffer.copy_within(end..filled, 0);
        filled -= end;
    }
}

/// A line's filesystem, root and mount point, if it is one of ours.
pub fn mounted(line: &[u8]) -> Option<(Kind, &[u8], &[u8])> {
    let end = crate::text::find(line, b" - ")?;
    let kind = Kind::named(line.get(end + 3..)?.split(|byte| *byte == b' ').next()?)?;
    let mut fields = line.split(|byte| *byte == b' ');
    Some((kind, fields.nth(3)?, fields.next()?))
}

/// The host's /proc, kept open over the change of the root directory. None where nothing is to be masked.
pub fn keep_proc(own: &Own<'_>) -> Result<Option<OwnedFd>, Report> {
    if !wanted(own) {
        return Ok(None);
    }
    let proc = open(c"/proc", OFlag::O_PATH | OFlag::O_DIRECTORY, Mode::empty());
    proc.map(Some).map_err(|errno| Report::new(Step::Mask, 0, errno))
}

/// Masks what the start has mounted.
pub fn apply_at_start(proc: Option<OwnedFd>, own: &Own<'_>) -> Result<(), Report> {
    let Some(proc) = proc else { return Ok(()) };
    openat(proc.as_fd(), c"self/mountinfo", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
        .and_then(|table| apply_all(&table, own))
        .map_err(|errno| Report::new(Step::Mask, 0, errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn below_a_mask_is_found_in_every_part_of_the_filesystem() {
        assert_eq!(below(b"/", b"sys/kernel"), Some(&b"sys/kernel"[..]));
        assert_eq!(below(b"/sys", b"sys/kernel"), Some(&b"kernel"[..]));
        assert_eq!(below(b"/sys/kernel", b"sys/kernel"), Some(&b""[..]));
        assert_eq!(below(b"/sys/kernel/random", b"sys/kernel"), Some(&b""[..]));
        assert_eq!(below(b"/sys/net", b"sys/kernel"), None);
        assert_eq!(below(b"/sy", b"sys/kernel"), None);
        assert_eq!(below(b"/tracing", b""), Some(&b""[..]));
    }

    #[test]
    fn mounted_only_these_filesystems_are_seen() {
        let line = b"36 35 0:4 /sys /a rw,noatime shared:1 - proc none rw";
        assert_eq!(mounted(line), Some((Kind::Proc, &b"/sys"[..], &b"/a"[..])));
        assert_eq!(mounted(b"36 35 0:4 / /a rw - tmpfs proc rw"), None);
        assert_eq!(mounted(b"36 35 0:4 / /proc"), None);
    }

    #[test]
    #[cfg(feature = "guard")]
    fn wanted_is_what_is_forbidden() {
        let mut own = Own::new();
        assert!(!wanted(&own));
        own.protect.on = Some(true);
        own.protect.allowed |= 1 << Danger::Debugfs as u8;
        assert!(wanted_in(Kind::Proc, &own) && wanted_in(Kind::Sysfs, &own) && !wanted_in(Kind::Debugfs, &own));
    }
}
