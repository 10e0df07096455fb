//! Filesystems that a guest has left read-only.
//!
//! An init that remounts `/` read-only when it goes down (sysvinit, OpenRC, finit, systemd; Android up to 7 has the kernel do it
//! to every filesystem) means the whole filesystem by that, not only its own mount of it: on a bind that is the host's. Then the
//! host's mount says rw of itself and ro of its filesystem, and the next life cannot write. A mount that says ro of itself
//! is somebody's wish and stays.

use super::beneath::FdPath;
use super::image::Place;
use crate::config::Config;
use crate::logging::log;
use crate::mountinfo::{self, Target};
use crate::spawn::barrier::{Report, Step};
use crate::sys::fds::{open, read_link};
use crate::text::{number, shown};
use core::ffi::CStr;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, makedev, stat};
use nix::sys::statvfs::{FsFlags, statvfs};

/// What a line of mountinfo says of a mount (proc_pid_mountinfo(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Said<'l> {
    /// Of its filesystem: the device, `MAJOR:MINOR`.
    device: &'l [u8],
    /// Of itself: read-only.
    own: bool,
    /// Of its filesystem: read-only.
    filesystem: bool,
}

fn said(line: &[u8]) -> Option<Said<'_>> {
    let (head, tail) = line.split_at(crate::text::find(line, b" - ")?);
    let mut fields = head.split(|byte| *byte == b' ');
    let (device, own) = (fields.nth(2)?, fields.nth(2)?);
    let filesystem = tail.get(3..)?.split(|byte| *byte == b' ').nth(2)?;
    let read_only = |options: &[u8]| options.split(|byte| *byte == b',').next() == Some(b"ro");
    Some(Said { device, own: read_only(own), filesystem: read_only(filesystem) })
}

/// What a remount must repeat, or it would be lifted.
const KEPT: MsFlags = MsFlags::MS_NOSUID
    .union(MsFlags::MS_NODEV)
    .union(MsFlags::MS_NOEXEC)
    .union(MsFlags::MS_SYNCHRONOUS)
    .union(MsFlags::MS_MANDLOCK);

/// Makes the filesystem at `path` writable again, if it was left read-only. None: it was not. The child's mount alone is touched,
/// and the filesystem.
pub fn restore(path: &CStr) -> Option<nix::Result<()>> {
    let flags = statvfs(path).ok()?.flags();
    if !flags.contains(FsFlags::ST_RDONLY) {
        return None;
    }
    let target = left_read_only(path)?;
    // The numbers are the same; what a remount does not say of access times stays.
    let again = MsFlags::MS_REMOUNT | MsFlags::from_bits_truncate(flags.bits() as _) & KEPT;
    Some(mount(None::<&CStr>, target.c(), None::<&CStr>, again, None::<&CStr>))
}

/// The mount point that `path` lies on, if it says of itself that it is writable and of its filesystem that it is not.
#[inline(never)] // its paths are for what is read-only
fn left_read_only(path: &CStr) -> Option<Target> {
    let directory = open(path, OFlag::O_PATH, Mode::empty()).ok()?;
    let mut real = [0u8; crate::limits::PATH_BYTES];
    let real = read_link(None, FdPath::of(&directory).c(), &mut real).ok()?;
    // The deepest one, and of several at one place the last.
    let mut found: Option<(Target, bool)> = None;
    let _ = mountinfo::for_each_line(&mut |line| {
        let Some(target) = mountinfo::target(line).filter(|target| holds(target.c().to_bytes(), real)) else { return };
        let length = |target: &Target| target.c().to_bytes().len();
        if found.as_ref().is_none_or(|(known, _)| length(known) <= length(&target)) {
            let left = said(line).is_some_and(|said| said.filesystem && !said.own);
            found = Some((target, left));
        }
    });
    found.filter(|(_, left)| *left).map(|(target, _)| target)
}

/// Whether a path lies at or below a directory, both absolute and plain.
fn holds(directory: &[u8], path: &[u8]) -> bool {
    let rest = path.strip_prefix(directory);
    directory == b"/" || rest.is_some_and(|rest| rest.is_empty() || rest.first() == Some(&b'/'))
}

/// Whether a block device that is mounted elsewhere, read-only, may be made writable: nobody has mounted it so on purpose.
pub fn may_become(device: &CStr, place: &Place<'_>) -> bool {
    let Ok(device) = stat(device).map(|found| found.st_rdev) else { return false };
    let mut on_purpose = place.flags.contains(MsFlags::MS_RDONLY);
    let _ = mountinfo::for_each_line(&mut |line| {
        on_purpose |= said(line).is_some_and(|said| said.own && number_of(said.device) == Some(device));
    });
    !on_purpose
}

fn number_of(device: &[u8]) -> Option<libc::dev_t> {
    let colon = memchr::memchr(b':', device)?;
    let (major, minor) = (number(device.get(..colon)?)?, number(device.get(colon + 1..)?)?);
    Some(makedev(major as _, minor as _))
}

/// What became of a filesystem that was not writable, for the supervisor. `item` is `ROOTFS` or a mount's index.
pub fn report(item: u16, restored: nix::Result<()>) -> Report {
    let errno = restored.err().map_or(0, |errno| errno as i32);
    Report { value: errno, ..Report::new(Step::Writable, item, Errno::UnknownErrno).as_warning() }
}

/// Logs it.
pub fn say(report: Report, config: &Config<'_>) {
    let entry = config.mounts.get(usize::from(report.item)).map(|entry| entry.source);
    let path = shown(entry.or(config.rootfs.path.map(|path| path.value)).unwrap_or(c"/"));
    match report.value {
        0 => log::info!("rootfs: {path} was left read-only by an earlier guest: writable again"),
        errno => log::warn!("rootfs: {path} stays read-only: {}", Errno::from_raw(errno).desc()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn said_own_options_and_the_filesystems_are_told_apart() {
        let line = b"36 35 98:1 /a /mnt rw,noatime shared:1 master:2 - ext4 /dev/x - y ro,errors=continue";
        assert_eq!(said(line).unwrap().device, b"98:1");
        let flags = |line: &[u8]| said(line).map(|said| (said.own, said.filesystem));
        assert_eq!(flags(b"36 35 98:1 / /m rw,nosuid - ext4 /dev/x ro,errors=continue"), Some((false, true)));
        assert_eq!(flags(b"36 35 98:1 / /m ro - ext4 /dev/x rw"), Some((true, false)));
        assert_eq!(flags(b"36 35 98:1 / /m rw,x=ro shared:3 - ext4 /dev/x rw,ro"), Some((false, false)));
        assert_eq!(flags(b"36 35 98:1 / /m rw - ext4"), None);
        assert_eq!(number_of(b"98:1"), Some(makedev(98, 1)));
    }

    #[test]
    fn holds_only_whole_components() {
        assert!(holds(b"/", b"/a") && holds(b"/a", b"/a") && holds(b"/a", b"/a/b"));
        assert!(!holds(b"/a", b"/ab") && !holds(b"/a/b", b"/a"));
    }
}
