//! What an earlier life left behind, removed before each start (`monopod.android.clean`, on by the preset).
//!
//! A stale property area kills Android's init, stale /apex mounts keep it rebooting. Only what is always Android's own is
//! touched: `/dev/__properties__`, `/dev/socket` and `/apex`, in the rootfs and, where the config shares them with the guest, on
//! the host. A guest that means harm may have filled them: they are walked by descriptor, no link is followed, no mount
//! is entered, depth and number are bounded.

use crate::config::Config;
use crate::logging::log;
use crate::mountinfo::{self, Target};
use crate::rootfs::Site;
use crate::rootfs::beneath::{FdPath, Root};
use crate::spawn::barrier::{Reading, Report, Step};
use crate::sys::fds::{self, open};
use crate::text::{PathText, shown};
use core::ffi::CStr;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::mount::{MntFlags, umount2};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use nix::sys::stat::{Mode, fstat, fstatat};
use nix::unistd::{UnlinkatFlags, Whence, lseek, unlinkat};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

const SHARED: [&CStr; 3] = [c"/dev/__properties__", c"/dev/socket", c"/apex"];
/// Files that init makes in /dev: markers of a boot, of which a stale one would tell that this one is done, and the property
/// area, which is one file up to Android 6.
const MARKERS: [&CStr; 3] = [c".coldboot_done", c".booting", c"__properties__"];
/// No guest nests them deeper.
const DEPTH: u32 = 16;
/// Entries removed from one directory tree, and mounts taken off: more was put there to keep us busy.
const MOST: u32 = 20_000;

/// What became of the leftovers.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
struct Count {
    removed: u32,
    kept: u32,
}

/// Called by the supervisor before the pre-start hooks of each life: the host's side, and what is mounted below the rootfs's /apex.
pub fn host(config: &Config<'_>) {
    if !config.own.cleans() {
        return;
    }
    let shares = |path: &CStr| config.mounts.iter().any(|entry| entry.source == path);
    if SHARED.iter().any(|path| shares(path)) {
        if is_served() {
            log::warn!("clean: an Android lives on this host's /dev/socket: nothing is removed there");
        } else {
            SHARED.iter().filter(|path| shares(path)).for_each(|path| host_directory(path));
            if let Ok(dev) = open(c"/dev", READ, Mode::empty()) {
                remove_links(dev.as_fd(), true);
            }
        }
    }
    let apex = config.rootfs.path.and_then(|path| PathText::join(&[path.value.to_bytes(), b"/apex"]).ok());
    if let Some(Ok(apex)) = apex.map(|path| open(path.c(), READ, Mode::empty())) {
        unmount_below(&apex);
    }
}

const READ: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW);

/// Whether somebody listens at the host's property service: the host's own Android, or another container's.
fn is_served() -> bool {
    let Ok(path) = UnixAddr::new(c"/dev/socket/property_service".to_bytes()) else { return false };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let Ok(client) = socket(AddressFamily::Unix, SockType::Stream, flags, None) else { return true };
    // EAGAIN: it is busy.
    matches!(connect(client.as_raw_fd(), &path), Ok(()) | Err(Errno::EAGAIN))
}

fn host_directory(path: &CStr) {
    let Ok(directory) = open(path, READ, Mode::empty()) else { return };
    if path == c"/apex" {
        unmount_below(&directory);
    }
    let count = empty(&directory);
    if count.removed > 0 {
        log::info!("clean: removed {} leftovers from the host's {}", count.removed, shown(path));
    }
    if count.kept > 0 {
        log::warn!("clean: {} leftovers stay in the host's {}", count.kept, shown(path));
    }
}

/// Takes off every mount strictly below a directory, the last one first.
#[inline(never)] // its paths are for those who clean
fn unmount_below(directory: &OwnedFd) {
    let mut path = [0u8; 1024];
    let Ok(above) = fds::read_link(None, FdPath::of(directory).c(), &mut path) else { return };
    let Ok(root) = Root::at(directory.as_fd()) else { return };
    let mut count = 0;
    while count < MOST {
        let mut last: Option<Target> = None;
        mountinfo::for_each(&mut |target| {
            let below = target.to_bytes().strip_prefix(above).filter(|rest| rest.first() == Some(&b'/'));
            last = below.and_then(|below| Target::of(&[below]).ok()).or(last.take());
        });
        let Some(below) = last else { break };
        // By its path, a guest that lives there could have a link lead us to a mount of the host's.
        let done = root
            .target(below.c().to_bytes())
            .and_then(|mounted| umount2(FdPath::of(&mounted).c(), MntFlags::MNT_DETACH));
        if let Err(errno) = done {
            log::warn!("clean: unmount {}{}: {}", crate::text::Shown(above), shown(below.c()), errno.desc());
            break;
        }
        count += 1;
    }
    if count > 0 {
        log::info!("clean: unmounted {count} leftovers below {}", crate::text::Shown(above));
    }
}

/// Called by the child when the rootfs is mounted and nothing else yet.
pub fn rootfs(site: &Site<'_>, root: &Root) {
    if !site.config.own.cleans() {
        return;
    }
    let mut sum = Count::default();
    let own = mount_of(root.fd());
    for path in SHARED {
        match root.look_up(path.to_bytes(), READ) {
            // What is mounted there is somebody's on purpose.
            Ok(directory) if mount_of(directory.as_fd()) == own => {
                let count = empty(&directory);
                sum = Count { removed: sum.removed + count.removed, kept: sum.kept + count.kept };
            }
            _ => {}
        }
    }
    if let Ok(dev) = root.look_up(b"dev", READ)
        && mount_of(dev.as_fd()) == own
    {
        remove_links(dev.as_fd(), false);
        for name in MARKERS {
            let _ = unlinkat(&dev, name, UnlinkatFlags::NoRemoveDir);
        }
    }
    if sum != Count::default() {
        let [item, value] = [sum.removed, sum.kept];
        let item = item.min(u16::MAX.into()) as u16;
        (site.warn)(Report { step: Step::Clean, warning: true, reading: Reading::Errno, item, value: value as i32 });
    }
}

/// Logs what `rootfs` has told.
pub fn say(report: Report) {
    log::info!("clean: removed {} leftovers from the rootfs's /dev and /apex", report.item);
    if report.value > 0 {
        log::warn!("clean: {} leftovers stay in the rootfs's /dev and /apex", report.value);
    }
}

/// Which mount an open file is on: its device and, where the kernel tells it (Linux 3.15), the mount's number.
fn mount_of(file: BorrowedFd<'_>) -> (libc::dev_t, Option<u64>) {
    let number = || {
        let path = PathText::format(format_args!("/proc/self/fdinfo/{}", file.as_raw_fd())).ok()?;
        let text = crate::cgroup::limit::read(path.c()).ok()?;
        let line = text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"mnt_id:"))?;
        crate::text::number(line.trim_ascii())
    };
    (fstat(file).map_or(0, |found| found.st_dev), number())
}

/// Removes everything in a directory, as far as it is on the same mount.
fn empty(directory: &OwnedFd) -> Count {
    let mut count = Count::default();
    empty_below(directory.as_fd(), mount_of(directory.as_fd()), DEPTH, &mut count);
    count
}

fn empty_below(directory: BorrowedFd<'_>, mount: (libc::dev_t, Option<u64>), depth: u32, count: &mut Count) {
    // Some filesystems pass over entries when others go, so until nothing more goes.
    loop {
        let (before, kept) = (count.removed, count.kept);
        if lseek(directory, 0, Whence::SeekSet).is_err() {
            return;
        }
        let _ = fds::for_each_entry(directory, &mut |name, _| match remove(directory, name, mount, depth, count) {
            Ok(()) => count.removed += 1,
            Err(_) => count.kept += 1,
        });
        if count.removed == before || count.removed > MOST {
            return;
        }
        count.kept = kept;
    }
}

fn remove(
    directory: BorrowedFd<'_>,
    name: &CStr,
    mount: (libc::dev_t, Option<u64>),
    depth: u32,
    count: &mut Count,
) -> nix::Result<()> {
    if count.removed > MOST {
        return Err(Errno::E2BIG);
    }
    match unlinkat(directory, name, UnlinkatFlags::NoRemoveDir) {
        // POSIX has EPERM for a directory, Linux EISDIR.
        Err(Errno::EISDIR) => {}
        other => return other,
    }
    if let Some(depth) = depth.checked_sub(1) {
        let inner = openat(directory, name, READ | OFlag::O_CLOEXEC, Mode::empty())?;
        if mount_of(inner.as_fd()) != mount {
            return Err(Errno::EXDEV);
        }
        empty_below(inner.as_fd(), mount, depth, count);
    }
    unlinkat(directory, name, UnlinkatFlags::RemoveDir)
}

/// Removes links to nodes of a binderfs; of the host's only those that lead nowhere.
fn remove_links(dev: BorrowedFd<'_>, dangling: bool) {
    let _ = fds::for_each_entry(dev, &mut |name, _| {
        let mut target = [0u8; 128];
        if !name.to_bytes().ends_with(b"binder") {
            return;
        }
        let leads_there = fds::read_link(Some(dev), name, &mut target)
            .is_ok_and(|target| crate::text::find(target, b"binderfs/").is_some());
        let leads_on = dangling && fstatat(dev, name, AtFlags::empty()).is_ok();
        if leads_there && !leads_on {
            let _ = unlinkat(dev, name, UnlinkatFlags::NoRemoveDir);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn empty_links_fifos_and_trees_go_but_nothing_behind_a_link() {
        let base = std::env::temp_dir().join(format!("monopod-clean-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&base);
        std::fs::create_dir_all(base.join("socket/a/b/c")).unwrap();
        std::fs::create_dir(base.join("outside")).unwrap();
        std::fs::write(base.join("outside/file"), "x").unwrap();
        std::fs::write(base.join("socket/a/b/file"), "x").unwrap();
        symlink("../outside", base.join("socket/link")).unwrap();
        symlink("../../outside/file", base.join("socket/a/link")).unwrap();
        nix::unistd::mkfifo(&base.join("socket/fifo"), Mode::S_IRWXU).unwrap();
        (0..300).for_each(|n| std::fs::write(base.join(format!("socket/a/{n}")), "").unwrap());
        let path = std::ffi::CString::new(base.join("socket").to_str().unwrap()).unwrap();
        let count = empty(&open(&path, READ, Mode::empty()).unwrap());
        assert_eq!(count, Count { removed: 307, kept: 0 });
        assert_eq!(std::fs::read_dir(base.join("socket")).unwrap().count(), 0);
        assert_eq!(std::fs::read_to_string(base.join("outside/file")).unwrap(), "x");
        std::fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn empty_what_is_too_deep_stays_and_is_counted() {
        let base = std::env::temp_dir().join(format!("monopod-deep-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&base);
        std::fs::create_dir_all(base.join("d/".repeat(40))).unwrap();
        let path = std::ffi::CString::new(base.to_str().unwrap()).unwrap();
        let count = empty(&open(&path, READ, Mode::empty()).unwrap());
        assert!(count.kept > 0 && base.join("d").exists());
        std::fs::remove_dir_all(base).unwrap();
    }
}
