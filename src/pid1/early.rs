//! The filesystems without which nothing works, and the machine's console. What is mounted already stays.

use super::console::{self, say};
use crate::sys::fds::{for_each_entry, open};
use crate::sys::netdev;
use crate::text::{PathText, number, shown};
use core::ffi::CStr;
use core::sync::atomic::{AtomicBool, Ordering};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag};
use nix::mount::MsFlags;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use nix::sys::stat::{Mode, SFlag, makedev, mknodat, stat, umask};
use nix::unistd::{mkdir, symlinkat};
use std::os::fd::AsFd;

/// /dev is of our making.
static OWN_NODES: AtomicBool = AtomicBool::new(false);

const SAFE: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV).union(MsFlags::MS_NOEXEC);

/// Mounts /proc, /sys, /dev and below, /run; opens the console; brings the loopback interface up.
pub fn settle() {
    // The console can be opened only when /dev is there: what went wrong until then is said afterwards.
    let proc = mount(c"/proc", c"proc", SAFE, None);
    let sys = mount(c"/sys", c"sysfs", SAFE, None);
    let dev = mount_dev();
    console::take();
    let data = Some(c"mode=0620,ptmxmode=0666,gid=5");
    let pts = mount(c"/dev/pts", c"devpts", MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC, data);
    let shm = mount(c"/dev/shm", c"tmpfs", MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some(c"mode=1777"));
    let run = mount(c"/run", c"tmpfs", MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some(c"mode=0755"));
    let targets = [c"/proc", c"/sys", c"/dev", c"/dev/pts", c"/dev/shm", c"/run"];
    for (target, result) in targets.into_iter().zip([proc, sys, dev, pts, shm, run]) {
        if let Err(errno) = result {
            say(format_args!("mount {}: {}", shown(target), errno.desc()));
        }
    }
    let flags = SockFlag::SOCK_CLOEXEC;
    if let Ok(any) = socket(AddressFamily::Inet, SockType::Datagram, flags, None) {
        let _ = netdev::bring_up(any.as_fd(), c"lo");
    }
}

/// Mounts a filesystem that is no disk's, unless one is there. Its directory is made.
pub fn mount(target: &CStr, fstype: &CStr, flags: MsFlags, data: Option<&CStr>) -> nix::Result<()> {
    if is_mountpoint(target) {
        return Ok(());
    }
    match mkdir(target, Mode::from_bits_truncate(0o755)) {
        Ok(()) | Err(Errno::EEXIST | Errno::EROFS) => {}
        Err(errno) => return Err(errno),
    }
    match nix::mount::mount(Some(fstype), target, Some(fstype), flags, data) {
        Err(Errno::EBUSY) => Ok(()),
        other => other,
    }
}

/// Whether another filesystem than its parent's is there. Works before /proc does.
fn is_mountpoint(target: &CStr) -> bool {
    let Ok(parent) = PathText::join(&[target.to_bytes(), b"/.."]) else { return false };
    match (stat(target), stat(parent.c())) {
        (Ok(here), Ok(above)) => here.st_dev != above.st_dev,
        _ => false,
    }
}

/// The kernel's own /dev where it has one, else a tmpfs with nodes of our making.
fn mount_dev() -> nix::Result<()> {
    let data = Some(c"mode=0755");
    if mount(c"/dev", c"devtmpfs", MsFlags::MS_NOSUID, data) != Err(Errno::ENODEV) {
        return Ok(());
    }
    mount(c"/dev", c"tmpfs", MsFlags::MS_NOSUID, data)?;
    OWN_NODES.store(true, Ordering::Relaxed);
    make_nodes();
    Ok(())
}

/// Makes a node for each device that the kernel knows, below a /dev that is not the kernel's own.
fn make_nodes() {
    // The kernel starts process 1 with 022, and everybody may write to /dev/null.
    let before = umask(Mode::empty());
    // Before /sys is there, or without it.
    for (name, major, minor) in [("console", 5, 1), ("null", 1, 3), ("kmsg", 1, 11), ("tty", 5, 0), ("ptmx", 5, 2)] {
        make_node(name.as_bytes(), SFlag::S_IFCHR, major, minor);
    }
    for_each_device(c"/sys/dev/char", &mut |device| make_node(device.name, SFlag::S_IFCHR, device.major, device.minor));
    for_each_device(c"/sys/dev/block", &mut |device| {
        make_node(device.name, SFlag::S_IFBLK, device.major, device.minor)
    });
    let links = [
        (c"/proc/self/fd", c"/dev/fd"),
        (c"fd/0", c"/dev/stdin"),
        (c"fd/1", c"/dev/stdout"),
        (c"fd/2", c"/dev/stderr"),
    ];
    for (to, name) in links {
        let _ = symlinkat(to, AT_FDCWD, name);
    }
    umask(before);
}

/// `make_nodes` for devices that came later, where the kernel does not do it.
pub fn renew_nodes() {
    if OWN_NODES.load(Ordering::Relaxed) {
        make_nodes();
    }
}

fn make_node(name: &[u8], kind: SFlag, major: u64, minor: u64) {
    // Devices in folders: input/event0, snd/controlC0.
    if let Some(slash) = memchr::memrchr(b'/', name)
        && let Ok(folder) = PathText::join(&[b"/dev/", name.get(..slash).unwrap_or(name)])
    {
        let _ = mkdir(folder.c(), Mode::from_bits_truncate(0o755));
    }
    let open_to_all: [&[u8]; 7] = [b"null", b"zero", b"full", b"random", b"urandom", b"tty", b"ptmx"];
    let mode = if open_to_all.contains(&name) { 0o666 } else { 0o600 };
    if let Ok(path) = PathText::join(&[b"/dev/", name]) {
        let _ = mknodat(AT_FDCWD, path.c(), kind, Mode::from_bits_truncate(mode), makedev(major as _, minor as _));
    }
}

/// A device of the kernel's.
pub struct Device<'a> {
    /// Below /dev.
    pub name: &'a [u8],
    /// The partition's name, if it has one.
    pub label: Option<&'a [u8]>,
    major: u64,
    minor: u64,
}

/// Calls `each` for every device of `class`, /sys/dev/char or /sys/dev/block (Documentation/ABI/stable/sysfs-devices).
pub fn for_each_device(class: &CStr, each: &mut dyn FnMut(&Device<'_>)) {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let Ok(directory) = open(class, flags, Mode::empty()) else { return };
    let _ = for_each_entry(directory.as_fd(), &mut |entry, _| {
        let path = PathText::join(&[class.to_bytes(), b"/", entry.to_bytes(), b"/uevent"]);
        let mut text = [0u8; 1024];
        let read = path.map_err(|_| Errno::ENAMETOOLONG).and_then(|path| {
            nix::unistd::read(open(path.c(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?, &mut text)
        });
        let text = text.get(..read.unwrap_or(0)).unwrap_or(&[]);
        let value = |key: &[u8]| text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(key));
        if let (Some(name), Some(major), Some(minor)) =
            (value(b"DEVNAME="), value(b"MAJOR=").and_then(number), value(b"MINOR=").and_then(number))
        {
            each(&Device { name, label: value(b"PARTNAME="), major, minor });
        }
    });
}
