//! fstab lines and `lxc.mount.entry`.

use super::beneath::{FdPath, Root, mount_on, trim};
use super::handed::{Handed, wants_entry};
use super::image::{self, Mounted};
use super::{Site, Source, writable};
use crate::config::{Create, MountEntry};
use crate::guard::masks::{self, Kind};
use crate::logging::trace;
use crate::spawn::barrier::{Report, Step};
use crate::sys::mounts::attach_tree;
use core::ffi::CStr;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{FileStat, fstat, stat};
use nix::sys::statvfs::{FsFlags, statvfs};
use std::os::fd::{AsFd, OwnedFd};

/// Mounts every entry in order. An optional one that cannot be mounted is a warning.
pub fn mount_all(site: &Site<'_>, root: &Root, handed: &Handed) -> Result<(), Report> {
    for (index, entry) in (0u16..).zip(&site.config.mounts) {
        trace::step_with("mount entry", entry.text);
        let tree = handed.entry(site, index);
        if wants_entry(entry) && tree.is_none() {
            // Its maker has said so.
            continue;
        }
        if let Err((step, errno)) = mount_entry(site, root, entry, index, tree) {
            let report = Report::new(step, index, errno);
            if !entry.optional {
                return Err(report);
            }
            (site.warn)(report.as_warning());
        }
    }
    Ok(())
}

/// Where an entry's target lies inside the rootfs: relative as written, absolute with the rootfs or its mount point taken off.
pub fn inside<'a>(source: &Source<'_>, target: &'a [u8]) -> &'a [u8] {
    if target.first() != Some(&b'/') {
        return trim(target);
    }
    for prefix in [source.mountpoint.to_bytes(), source.path.to_bytes()] {
        let prefix = trim(prefix);
        let path = trim(target);
        if let Some(rest) = path.strip_prefix(prefix)
            && !prefix.is_empty()
            && (rest.is_empty() || rest.first() == Some(&b'/'))
        {
            return trim(rest);
        }
    }
    trim(target)
}

fn mount_entry(
    site: &Site<'_>,
    root: &Root,
    entry: &MountEntry<'_>,
    index: u16,
    tree: Option<&OwnedFd>,
) -> Result<(), (Step, Errno)> {
    let target = inside(&site.source, entry.target.to_bytes());
    let at = |step: Step| move |errno: Errno| (step, errno);
    match entry.create {
        Create::No => {}
        Create::Dir => drop(root.make_directories(target).map_err(at(Step::MountTarget))?),
        Create::File => root.make_file(target).map_err(at(Step::MountTarget))?,
    }
    let place = root.target(target).map_err(at(Step::MountTarget))?;
    let flags = MsFlags::from_bits_truncate(entry.options.flags as _);
    let bind = flags.contains(MsFlags::MS_BIND);
    if flags.contains(MsFlags::MS_REMOUNT) {
        return mount_on(&place, Some(entry.source), Some(entry.fstype), flags, entry.options.data)
            .map_err(at(Step::Mount));
    }
    let relative;
    let relative_path;
    let source = if entry.relative {
        relative = root.target(entry.source.to_bytes()).map_err(at(Step::Mount))?;
        relative_path = FdPath::of(&relative);
        relative_path.c()
    } else {
        entry.source
    };
    if let Some(tree) = tree {
        attach_tree(tree.as_fd(), FdPath::of(&place).c()).map_err(at(Step::IdmappedMount))?;
    } else if bind {
        let how = flags & (MsFlags::MS_BIND | MsFlags::MS_REC);
        mount_on(&place, Some(source), None, how, None).map_err(at(Step::Mount))?;
    } else if entry.image || entry.fstype == c"auto" {
        let fstype = Some(entry.fstype).filter(|fstype| *fstype != c"auto");
        let target = FdPath::of(&place);
        let place = image::Place { target: target.c(), fstype, flags, data: entry.options.data };
        let mounted = if image::BUILT && entry.image {
            image::mount_file(source, &place).map_err(|failure| failure.step(Step::Mount))
        } else {
            image::mount_device(source, &place).map_err(at(Step::Mount))
        };
        if mounted? == Mounted::ReadOnly {
            (site.warn)(writable::report(index, Err(Errno::EROFS)));
        }
    } else {
        mount_on(&place, Some(source), Some(entry.fstype), flags, entry.options.data).map_err(at(Step::Mount))?;
        if let Some(kind) = Kind::named(entry.fstype.to_bytes()) {
            masks::apply_in(root, target, kind, &site.config.own).map_err(at(Step::Mask))?;
        }
    }
    let more = flags - (MsFlags::MS_BIND | MsFlags::MS_REC);
    if (!bind || more.is_empty()) && entry.options.propagation == 0 {
        return Ok(());
    }
    // The descriptor still means what is covered now; looked up again, the path means the new mount.
    let found = root.target(target).map_err(at(Step::MountTarget))?;
    let mounted = FdPath::of(&found);
    if bind && !more.is_empty() {
        // Somebody who can write the rootfs may have exchanged the targets of two entries: the other would get the flags.
        let shown = if let Some(tree) = tree { fstat(tree) } else { stat(source) };
        if shown.map(identity) != fstat(&found).map(identity) {
            return Err((Step::MountFlags, Errno::ESTALE));
        }
        // A bind takes its flags only in a second step, which must repeat those that the source already has.
        let kept = inherited(mounted.c());
        let again = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | more | kept;
        mount(None::<&CStr>, mounted.c(), None::<&CStr>, again, None::<&CStr>).map_err(at(Step::MountFlags))?;
    }
    if entry.options.propagation != 0 {
        let propagation = MsFlags::from_bits_truncate(entry.options.propagation as _);
        mount(None::<&CStr>, mounted.c(), None::<&CStr>, propagation, None::<&CStr>)
            .map_err(at(Step::MountPropagation))?;
    }
    Ok(())
}

fn identity(file: FileStat) -> (libc::dev_t, libc::ino_t) {
    (file.st_dev, file.st_ino)
}

/// Restrictions that a mount has already and a remount must not lift.
fn inherited(path: &CStr) -> MsFlags {
    let Ok(stat) = statvfs(path) else { return MsFlags::empty() };
    [
        (FsFlags::ST_RDONLY, MsFlags::MS_RDONLY),
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
    ]
    .into_iter()
    .filter(|(has, _)| stat.flags().contains(*has))
    .fold(MsFlags::empty(), |all, (_, flag)| all | flag)
}
