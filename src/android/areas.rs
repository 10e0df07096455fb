//! Where a guest keeps its property areas: opened without following a link, and without opening what is no plain file.
//!
//! Until Android 6 (SDK 23) it is the file /dev/__properties__. From 7 on that is a directory with an area for each SELinux
//! context, of which any may hold a given property, and `properties_serial`, which only counts. Looking at a guest's files
//! may take as long as the guest likes (a FUSE of its own), so this is for a process that nobody waits for.

use super::properties::{self, Value};
use crate::rootfs::beneath::{FdPath, Root};
use crate::sys::fds;
use core::ffi::CStr;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::sys::uio::pread;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Where the areas are.
pub const PATH: &[u8] = b"/dev/__properties__";
/// The file that counts the changes in all of them.
pub const SERIAL_PATH: &[u8] = b"/dev/__properties__/properties_serial";
const SERIAL: &CStr = c"properties_serial";
/// Larger than any area: bionic's are 128 KiB, vendors' 256. More of a file is not looked at.
const MOST: usize = 4 << 20;

/// An area, opened for reading.
pub struct Area {
    /// The file.
    pub file: OwnedFd,
    /// Its length in bytes, or as much of it as is looked at.
    pub length: usize,
    /// Which file it is: device and inode.
    pub identity: (u64, u64),
}

/// The areas of a guest. What is held is one descriptor, so that they can be read even when the guest is gone.
pub struct Areas(OwnedFd);

impl Areas {
    /// Those of the guest whose first process is `init`, while that lives.
    pub fn open(init: i32) -> nix::Result<Areas> {
        Areas::beneath(&Root::of(init)?)
    }

    /// Those in a root directory.
    pub fn beneath(root: &Root) -> nix::Result<Areas> {
        root.look_up(PATH, OFlag::O_PATH | OFlag::O_NOFOLLOW).map(Areas)
    }

    /// The area whose own serial counts every change.
    pub fn serial(&self) -> nix::Result<Area> {
        match kind(self.0.as_fd())? {
            SFlag::S_IFDIR => named(self.0.as_fd(), SERIAL),
            _ => opened(self.0.as_fd()),
        }
    }

    /// Calls `each` with every area, until it returns false.
    pub fn for_each(&self, each: &mut dyn FnMut(Area) -> bool) -> nix::Result<()> {
        if kind(self.0.as_fd())? != SFlag::S_IFDIR {
            each(opened(self.0.as_fd())?);
            return Ok(());
        }
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let directory = openat(&self.0, c".", flags, Mode::empty())?;
        let mut more = true;
        fds::for_each_entry(directory.as_fd(), &mut |name, _| {
            if more
                && name != SERIAL
                && let Ok(area) = named(directory.as_fd(), name)
            {
                more = each(area);
            }
        })
    }

    /// The value of the property `name`, if it has one.
    pub fn read(&self, name: &[u8]) -> Option<Value> {
        let mut value = None;
        let _ = self.for_each(&mut |area| {
            let word = |at: usize| {
                let mut bytes = [0u8; 4];
                let at = libc::off_t::try_from(at).ok().filter(|_| at < area.length)?;
                matches!(pread(&area.file, &mut bytes, at), Ok(4)).then_some(u32::from_ne_bytes(bytes))
            };
            value = properties::read(&word, name);
            value.is_none()
        });
        value
    }
}

/// The area `name` in a directory.
fn named(directory: BorrowedFd<'_>, name: &CStr) -> nix::Result<Area> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    opened(openat(directory, name, flags, Mode::empty())?.as_fd())
}

/// Opens what was looked up, if it is a plain file: opening a device may do something, opening a FIFO waits.
fn opened(found: BorrowedFd<'_>) -> nix::Result<Area> {
    if kind(found)? != SFlag::S_IFREG {
        return Err(Errno::EINVAL);
    }
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = fds::open(FdPath::of(&found).c(), flags, Mode::empty())?;
    let stat = fstat(&file)?;
    #[allow(clippy::unnecessary_cast)] // They are as wide as the machine has them.
    let identity = (stat.st_dev as u64, stat.st_ino as u64);
    let length = usize::try_from(stat.st_size).unwrap_or(0).min(MOST);
    Ok(Area { file, length, identity })
}

fn kind(fd: BorrowedFd<'_>) -> nix::Result<SFlag> {
    Ok(SFlag::from_bits_truncate(fstat(fd)?.st_mode & libc::S_IFMT))
}

#[cfg(test)]
mod tests {
    use super::super::area::Area as Maker;
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn area(name: &str, value: &str) -> Vec<u8> {
        let mut bytes = vec![0; 4096];
        Maker::format(&mut bytes).set(name, value);
        bytes
    }

    #[test]
    fn areas_one_file_or_a_directory_are_read_and_nothing_but_plain_files() {
        let path = std::env::temp_dir().join(format!("monopod-areas-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(path.join("dev")).unwrap();
        let root = Root::open(&std::ffi::CString::new(path.to_str().unwrap()).unwrap()).unwrap();
        let place = path.join("dev/__properties__");

        assert!(Areas::beneath(&root).is_err());
        fs::write(&place, area("a.b", "1")).unwrap();
        let old = Areas::beneath(&root).unwrap();
        assert_eq!(old.read(b"a.b").unwrap(), b"1");
        assert_eq!(old.serial().unwrap().length, 4096);
        fs::remove_file(&place).unwrap();
        assert_eq!(old.read(b"a.b").unwrap(), b"1", "what is held outlives its name");

        fs::create_dir(&place).unwrap();
        let areas = Areas::beneath(&root).unwrap();
        assert_eq!(areas.serial().err(), Some(Errno::ENOENT));
        fs::write(place.join("u:object_r:x:s0"), area("a.b", "2")).unwrap();
        fs::write(place.join("property_info"), "no area").unwrap();
        fs::write(place.join("properties_serial"), area("a.c", "3")).unwrap();
        nix::unistd::mkfifo(&place.join("fifo"), Mode::S_IRWXU).unwrap();
        fs::write(path.join("outside"), area("a.d", "4")).unwrap();
        symlink("../../outside", place.join("link")).unwrap();
        assert_eq!(areas.read(b"a.b").unwrap(), b"2");
        assert!(areas.read(b"a.c").is_none() && areas.read(b"a.d").is_none());
        assert_eq!(areas.serial().unwrap().length, 4096);

        fs::remove_dir_all(&place).unwrap();
        symlink(path.join("outside"), &place).unwrap();
        assert!(Areas::beneath(&root).and_then(|areas| areas.serial()).is_err(), "a link is not followed");
        fs::remove_dir_all(path).unwrap();
    }
}
