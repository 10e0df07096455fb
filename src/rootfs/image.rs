//! Filesystems on block devices and in image files, mounted by the child in its own mount namespace.
//!
//! An image is shown by a loop device, which the kernel takes back when nobody has it mounted any more: nothing is left when
//! the container goes, however it goes. The file's lock (flock(2)) goes with the device. So the next life waits until the last
//! one's filesystem is really written, and two containers cannot write one image.

use super::format;
use super::writable;
use crate::cgroup::limit;
use crate::cgroup::remove::{PAUSE_MS, pause};
use crate::spawn::barrier::Step;
use crate::sys::fds::{self, open};
use crate::sys::loopdev;
use crate::text::Line;
use core::ffi::CStr;
use core::fmt::{self, Write};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, SFlag, fstat, makedev, mknodat};
use nix::sys::uio::pread;
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Without it only block devices are mounted: a config that names files or layers is refused.
pub const BUILT: bool = cfg!(feature = "images");

/// Filesystems that Linux and Android partitions have, the frequent ones first.
const TYPES: [&CStr; 8] = [c"ext4", c"f2fs", c"erofs", c"squashfs", c"btrfs", c"xfs", c"ext3", c"ext2"];
/// Major number of loop devices (Documentation/admin-guide/devices.txt, which has /dev/loop-control as well).
const LOOP: u64 = 7;
/// Somebody may take a free loop device before we do; nobody is faster this often.
const RACES: u32 = 64;
/// How often an image's lock is tried, with a pause: 5 s. It takes the kernel some milliseconds to let go of a dead
/// container's mounts.
const LOCK_ROUNDS: u32 = 5_000 / PAUSE_MS as u32;

/// What could not be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The image cannot be opened.
    Open(Errno),
    /// Somebody else writes it, or reads it while we want to write.
    InUse,
    /// There is no loop device to be had.
    Loop(Errno),
    /// No filesystem of a known type, or the mount was refused.
    Mount(Errno),
}

impl Failure {
    /// For a report; `mount` is the step that has to do with the whole.
    pub fn step(self, mount: Step) -> (Step, Errno) {
        match self {
            Failure::Open(errno) | Failure::Mount(errno) => (mount, errno),
            Failure::InUse => (Step::Loop, Errno::ETXTBSY),
            Failure::Loop(errno) => (Step::Loop, errno),
        }
    }
}

/// Where something is mounted, and how.
pub struct Place<'a> {
    /// The mount point.
    pub target: &'a CStr,
    /// The filesystem's type; None: it is found by trying.
    pub fstype: Option<&'a CStr>,
    /// As for mount(2).
    pub flags: MsFlags,
    /// The same.
    pub data: Option<&'a CStr>,
}

/// Whether a filesystem that should be writable is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mounted {
    /// As asked for.
    AsAsked,
    /// Read-only, because what it is on cannot be written.
    ReadOnly,
}

/// What an image is that cannot be mounted, if it is that: looked at by the supervisor.
#[inline(never)] // its buffer is for those who have an image
pub fn fault(path: &CStr) -> nix::Result<Option<&'static str>> {
    let file = open(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY, Mode::empty())?;
    let mut head = [0u8; format::HEAD];
    let length = pread(&file, &mut head, 0)?;
    Ok(format::fault(head.get(..length).unwrap_or(&[]), fstat(&file)?.st_size as u64))
}

/// Mounts the filesystem in an image file.
#[inline(never)] // its paths are for those who have an image
pub fn mount_file(file: &CStr, place: &Place<'_>) -> Result<Mounted, Failure> {
    let (image, can_write) = open_image(file, !place.flags.contains(MsFlags::MS_RDONLY)).map_err(Failure::Open)?;
    lock(&image, can_write, LOCK_ROUNDS)?;
    let device = attach(image.as_fd(), file, !can_write).map_err(Failure::Loop)?;
    mount_device(device.path(), place).map_err(Failure::Mount)
}

/// Opens an image to be written, if it is to be and can be.
fn open_image(file: &CStr, write: bool) -> nix::Result<(OwnedFd, bool)> {
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    if write {
        match open(file, flags | OFlag::O_RDWR, Mode::empty()) {
            Err(Errno::EROFS | Errno::EACCES | Errno::EPERM) => {}
            other => return other.map(|image| (image, true)),
        }
    }
    open(file, flags | OFlag::O_RDONLY, Mode::empty()).map(|image| (image, false))
}

/// An image, or a layer, that is written is ours alone. A filesystem without locks has none.
pub fn lock(image: &OwnedFd, write: bool, rounds: u32) -> Result<(), Failure> {
    let take = if write { fds::lock } else { fds::lock_shared };
    for _ in 0..rounds {
        match take(image.as_fd()) {
            Err(Errno::EWOULDBLOCK) => pause(),
            _ => return Ok(()),
        }
    }
    Err(Failure::InUse)
}

/// A node of a device, opened.
struct Node {
    path: Line<40>,
    fd: OwnedFd,
    /// We made it, where the host's /dev has none, so we remove it.
    made: bool,
}

impl Node {
    fn path(&self) -> &CStr {
        c_text(&self.path)
    }

    /// Opens it wherever it is, or one of our own making. Android's ueventd makes block devices in a folder.
    fn open(name: fmt::Arguments<'_>, kind: SFlag, device: libc::dev_t, flags: OFlag) -> nix::Result<Node> {
        let place = |folder: &str| {
            let mut path = Line::new();
            let _ = write!(path, "{folder}{name}\0");
            path
        };
        let (folder, path) = (place("/dev/block/"), place("/dev/"));
        for path in [folder, path.clone()] {
            match open(c_text(&path), flags, Mode::empty()) {
                Err(Errno::ENOENT) => {}
                other => return other.map(|fd| Node { path, fd, made: false }),
            }
        }
        mknodat(AT_FDCWD, c_text(&path), kind, Mode::S_IRUSR | Mode::S_IWUSR, device)?;
        let opened = open(c_text(&path), flags, Mode::empty());
        if opened.is_err() {
            remove(&path);
        }
        opened.map(|fd| Node { path, fd, made: true })
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if self.made {
            remove(&self.path);
        }
    }
}

fn c_text(path: &Line<40>) -> &CStr {
    CStr::from_bytes_until_nul(path.bytes()).unwrap_or(c"")
}

fn remove(path: &Line<40>) {
    let _ = unlinkat(AT_FDCWD, c_text(path), UnlinkatFlags::NoRemoveDir);
}

/// Has a free loop device show the image.
fn attach(image: BorrowedFd<'_>, file: &CStr, read_only: bool) -> nix::Result<Node> {
    let control = Node::open(format_args!("loop-control"), SFlag::S_IFCHR, makedev(10, 237), OFlag::O_RDWR)?;
    for _ in 0..RACES {
        let number = loopdev::free(control.fd.as_fd())?;
        let flags = if read_only { OFlag::O_RDONLY } else { OFlag::O_RDWR };
        let device = match Node::open(format_args!("loop{number}"), SFlag::S_IFBLK, device(number), flags) {
            // It was taken away again.
            Err(Errno::ENXIO | Errno::EBUSY) => continue,
            other => other?,
        };
        let shown = match loopdev::configure(device.fd.as_fd(), image, read_only, file.to_bytes()) {
            Err(Errno::EINVAL | Errno::ENOTTY | Errno::ENOSYS) => {
                loopdev::configure_in_two(device.fd.as_fd(), image, file.to_bytes())
            }
            other => other,
        };
        match shown {
            Ok(()) => return Ok(device),
            Err(Errno::EBUSY) => {}
            Err(errno) => return Err(errno),
        }
    }
    Err(Errno::EBUSY)
}

/// The minor number of a loop device is its own number, unless the kernel keeps some for its partitions.
fn device(number: u32) -> libc::dev_t {
    let mut path = Line::new();
    let _ = write!(path, "/sys/block/loop{number}/dev\0");
    let known = limit::read(c_text(&path)).ok();
    let minor = known.and_then(|text| crate::text::number(text.strip_prefix(b"7:")?));
    makedev(LOOP, minor.unwrap_or(number.into()) as _)
}

/// Mounts the filesystem of a block device.
pub fn mount_device(device: &CStr, place: &Place<'_>) -> nix::Result<Mounted> {
    match try_types(device, place, place.flags) {
        // What it is on cannot be written.
        Err(Errno::EACCES | Errno::EROFS) if !place.flags.contains(MsFlags::MS_RDONLY) => {
            try_types(device, place, place.flags | MsFlags::MS_RDONLY).map(|()| Mounted::ReadOnly)
        }
        // It is mounted elsewhere, and read-only.
        Err(Errno::EBUSY) if writable::may_become(device, place) => {
            try_types(device, place, place.flags | MsFlags::MS_RDONLY)?;
            match mount(None::<&CStr>, place.target, None::<&CStr>, MsFlags::MS_REMOUNT | place.flags, place.data) {
                Ok(()) => Ok(Mounted::AsAsked),
                Err(_) => Ok(Mounted::ReadOnly),
            }
        }
        other => other.map(|()| Mounted::AsAsked),
    }
}

fn try_types(device: &CStr, place: &Place<'_>, flags: MsFlags) -> nix::Result<()> {
    let one = |fstype| mount(Some(device), place.target, Some(fstype), flags, place.data);
    if let Some(fstype) = place.fstype {
        return one(fstype);
    }
    let mut last = Errno::ENODEV;
    for fstype in TYPES {
        match one(fstype) {
            // Not this type, or a type this kernel does not have.
            Err(Errno::EINVAL) => last = Errno::EINVAL,
            Err(Errno::ENODEV) => {}
            other => return other,
        }
    }
    Err(last)
}
