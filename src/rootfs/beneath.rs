//! The one way to a path inside the rootfs.
//!
//! A rootfs is data from somebody else. Before pivot_root an absolute link in it means a path of the host, so no link is
//! followed at all: openat2 with RESOLVE_IN_ROOT and RESOLVE_NO_SYMLINKS, or on kernels before 5.6 a walk that opens one
//! component after the other with O_NOFOLLOW. `..` is refused. Mounts and nodes are made by descriptor.

use crate::sys::mounts::{At, bind, open_in_root};
use crate::text::{Line, PathText};
use core::ffi::CStr;
use core::fmt::Write;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, SFlag, fstat, mkdirat, mknodat};
use nix::sys::statfs::{FsType, TMPFS_MAGIC, fstatfs};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// The mounted rootfs, by descriptor.
pub struct Root {
    fd: OwnedFd,
}

/// What a kernel without tmpfs has under that name (linux/magic.h).
const RAMFS_MAGIC: FsType = FsType(0x8584_58f6_u32 as _);

/// Longest name of one component, with its NUL.
const NAME: usize = 256;

impl Root {
    /// The directory at `path`, a path of the host, is the rootfs.
    pub fn open(path: &CStr) -> nix::Result<Root> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        crate::sys::fds::open(path, flags, Mode::empty()).map(|fd| Root { fd })
    }

    /// The root directory of a process, as it sees it now.
    #[inline(never)] // its path is for those who look into a container that runs
    pub fn of(pid: i32) -> nix::Result<Root> {
        let path: PathText = PathText::format(format_args!("/proc/{pid}/root")).map_err(|_| Errno::ENAMETOOLONG)?;
        Root::open(path.c())
    }

    /// What was opened is looked at as a root of its own.
    pub fn on(fd: OwnedFd) -> Root {
        Root { fd }
    }

    /// An open directory is the rootfs.
    pub fn at(directory: BorrowedFd<'_>) -> nix::Result<Root> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        openat(directory, c".", flags, Mode::empty()).map(|fd| Root { fd })
    }

    /// The rootfs's own descriptor.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Opens a path inside, with O_PATH unless `flags` says otherwise. ELOOP: a link is on the way; EINVAL: `..` is.
    pub fn look_up(&self, path: &[u8], flags: OFlag) -> nix::Result<OwnedFd> {
        if components(path).any(|name| name == b"..") {
            return Err(Errno::EINVAL);
        }
        let path = trim(path);
        let whole = PathText::join(&[if path.is_empty() { b"." } else { path }]);
        let whole = whole.map_err(|_| Errno::ENAMETOOLONG)?;
        match open_in_root(self.fd(), whole.c(), flags.bits()) {
            // EPERM: a seccomp policy of an old container manager around us that does not know the call.
            Err(Errno::ENOSYS | Errno::EPERM) => self.walk(path, flags),
            other => other,
        }
    }

    /// `look_up` for the target of a mount.
    pub fn target(&self, path: &[u8]) -> nix::Result<OwnedFd> {
        self.look_up(path, OFlag::O_PATH)
    }

    /// What has just been mounted at `path`, to be looked at as a root of its own: further mounts there are made by way of it,
    /// not of the path. ESTALE: somebody who can write the rootfs has put something else there.
    pub fn mounted(&self, path: &[u8], kind: FsType) -> nix::Result<Root> {
        let fd = self.target(path)?;
        let found = fstatfs(&fd)?.filesystem_type();
        let fits = found == kind || kind == TMPFS_MAGIC && found == RAMFS_MAGIC;
        if fits { Ok(Root { fd }) } else { Err(Errno::ESTALE) }
    }

    fn walk(&self, path: &[u8], flags: OFlag) -> nix::Result<OwnedFd> {
        let step = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mut here = openat(&self.fd, c".", step | OFlag::O_DIRECTORY, Mode::empty())?;
        let mut names = components(path).peekable();
        while let Some(name) = names.next() {
            let name = Name::new(name)?;
            let last = names.peek().is_none();
            let next = openat(&here, name.c(), step, Mode::empty())?;
            let kind = kind(&next)?;
            if kind == SFlag::S_IFLNK {
                return Err(Errno::ELOOP);
            }
            if !last && kind != SFlag::S_IFDIR {
                return Err(Errno::ENOTDIR);
            }
            if last && !flags.contains(OFlag::O_PATH) {
                return openat(&here, name.c(), flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty());
            }
            here = next;
        }
        Ok(here)
    }

    /// Makes the directory at `path` and those above it, 0755, as far as they are missing.
    pub fn make_directories(&self, path: &[u8]) -> nix::Result<OwnedFd> {
        match self.look_up(path, OFlag::O_PATH | OFlag::O_DIRECTORY) {
            Err(Errno::ENOENT) => {}
            other => return other,
        }
        let mut end = 0;
        let path = trim(path);
        let mut here = None;
        for name in components(path) {
            let text = Name::new(name)?;
            let parent = here.as_ref().map_or(self.fd(), |fd: &OwnedFd| fd.as_fd());
            match mkdirat(parent, text.c(), Mode::from_bits_truncate(0o755)) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(errno) => return Err(errno),
            }
            end = offset_after(path, name).max(end);
            let so_far = path.get(..end).unwrap_or(path);
            here = Some(self.look_up(so_far, OFlag::O_PATH | OFlag::O_DIRECTORY)?);
        }
        here.ok_or(Errno::ENOENT)
    }

    /// Makes an empty file at `path` for something to be mounted on, its directory included; what is there already serves.
    pub fn make_file(&self, path: &[u8]) -> nix::Result<()> {
        let (directory, name) = split(path);
        let directory = if directory.is_empty() {
            openat(&self.fd, c".", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?
        } else {
            self.make_directories(directory)?
        };
        touch(directory.as_fd(), &Name::new(name)?).map(drop)
    }
}

/// Makes an empty regular file without permissions in a directory. False: something is there by that name, at which the caller
/// looks later.
fn touch(directory: BorrowedFd<'_>, name: &Name) -> nix::Result<bool> {
    match mknodat(directory, name.c(), SFlag::S_IFREG, Mode::empty(), 0) {
        Ok(()) => Ok(true),
        Err(Errno::EEXIST) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// What is to be bound.
#[derive(Clone, Copy)]
pub enum Source<'a> {
    /// By a path of the host's.
    Path(&'a CStr),
    /// What was opened.
    Opened(BorrowedFd<'a>),
    /// By its name in a directory that is known to have no links.
    In(BorrowedFd<'a>, &'a CStr),
}

impl<'a> Source<'a> {
    fn at(self) -> At<'a> {
        match self {
            Source::Path(path) => (AT_FDCWD, path),
            Source::Opened(file) => (file, c""),
            Source::In(directory, name) => (directory, name),
        }
    }
}

/// Binds `source` on `name` in a directory. The file is made if it is missing.
pub fn bind_in(directory: BorrowedFd<'_>, name: &[u8], source: Source<'_>) -> nix::Result<()> {
    match touch(directory, &Name::new(name)?) {
        Ok(true) => bind_on_new(directory, name, source),
        // What is there serves, if anything is.
        Ok(false) | Err(Errno::EROFS) => bind_over(directory, name, source),
        Err(errno) => Err(errno),
    }
}

/// The same on a file that we have just made, which need not be looked at: whatever somebody else may put in its place is covered
/// there, and a link leads nowhere.
pub fn bind_on_new(directory: BorrowedFd<'_>, name: &[u8], source: Source<'_>) -> nix::Result<()> {
    match bind(source.at(), (directory, Name::new(name)?.c())) {
        // Before Linux 5.2, or under a policy that does not know these calls.
        Err(Errno::ENOSYS | Errno::EPERM) => bind_over(directory, name, source),
        other => other,
    }
}

/// The same on what is there.
pub fn bind_over(directory: BorrowedFd<'_>, name: &[u8], source: Source<'_>) -> nix::Result<()> {
    let target = open_in(directory, name, OFlag::empty())?;
    match bind(source.at(), (target.as_fd(), c"")) {
        // Before Linux 5.2, or under a policy that does not know these calls.
        Err(Errno::ENOSYS | Errno::EPERM) => {}
        other => return other,
    }
    let by_path = match source {
        Source::Path(path) => return mount_on(&target, Some(path), None, MsFlags::MS_BIND, None),
        Source::Opened(file) => FdPath::of(&file),
        Source::In(directory, name) => FdPath::inside(&directory, name.to_bytes())?,
    };
    mount_on(&target, Some(by_path.c()), None, MsFlags::MS_BIND, None)
}

/// What is called `name` in a directory, with O_PATH: whoever else can write there may have exchanged it a moment ago, so that
/// everything is done with what was opened. ELOOP: it is a link.
pub fn open_in(directory: BorrowedFd<'_>, name: &[u8], more: OFlag) -> nix::Result<OwnedFd> {
    let name = Name::new(name)?;
    match open_in_root(directory, name.c(), (OFlag::O_PATH | more).bits()) {
        Err(Errno::ENOSYS | Errno::EPERM) => {}
        other => return other,
    }
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | more;
    let found = openat(directory, name.c(), flags, Mode::empty())?;
    // With O_DIRECTORY the kernel has refused a link already.
    if more.is_empty() && kind(&found)? == SFlag::S_IFLNK { Err(Errno::ELOOP) } else { Ok(found) }
}

/// What kind of file it is.
pub fn kind(file: &OwnedFd) -> nix::Result<SFlag> {
    Ok(SFlag::from_bits_truncate(fstat(file)?.st_mode & libc::S_IFMT))
}

/// One component, with its NUL.
pub struct Name(heapless::Vec<u8, NAME>);

impl Name {
    /// ENAMETOOLONG for more than 255 bytes.
    pub fn new(name: &[u8]) -> nix::Result<Name> {
        let mut bytes = heapless::Vec::new();
        bytes
            .extend_from_slice(name)
            .and_then(|()| bytes.push(0).map_err(|_| Default::default()))
            .map_err(|_| Errno::ENAMETOOLONG)?;
        Ok(Name(bytes))
    }

    /// For a system call.
    pub fn c(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.0).unwrap_or(c"")
    }
}

/// `/proc/self/fd/N` and below: how mount(2), which knows no descriptors, is given one.
pub struct FdPath(Line<{ NAME + 40 }>);

impl FdPath {
    /// The path of a descriptor.
    pub fn of(fd: &impl AsRawFd) -> FdPath {
        let mut line = Line::new();
        let _ = write!(line, "/proc/self/fd/{}\0", fd.as_raw_fd());
        FdPath(line)
    }

    /// The path of `name` below an open directory. Only for what is known to be no link.
    pub fn inside(directory: &impl AsRawFd, name: &[u8]) -> nix::Result<FdPath> {
        let mut line = Line::new();
        let _ = write!(line, "/proc/self/fd/{}/", directory.as_raw_fd());
        line.push(name);
        line.push(b"\0");
        if line.truncated() { Err(Errno::ENAMETOOLONG) } else { Ok(FdPath(line)) }
    }

    /// For a system call.
    pub fn c(&self) -> &CStr {
        CStr::from_bytes_until_nul(self.0.bytes()).unwrap_or(c"")
    }
}

/// mount(2) on an open target.
pub fn mount_on(
    target: &OwnedFd,
    source: Option<&CStr>,
    fstype: Option<&CStr>,
    flags: MsFlags,
    data: Option<&CStr>,
) -> nix::Result<()> {
    mount(source, FdPath::of(target).c(), fstype, flags, data)
}

/// Components of a path, without empty ones and `.`.
pub fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|b| *b == b'/').filter(|name| !name.is_empty() && *name != b".")
}

/// A path without slashes at its ends.
pub fn trim(path: &[u8]) -> &[u8] {
    let start = path.iter().position(|b| *b != b'/').unwrap_or(path.len());
    let end = path.iter().rposition(|b| *b != b'/').map_or(start, |last| last + 1);
    path.get(start..end).unwrap_or(&[])
}

/// Directory and last component of a path.
pub fn split(path: &[u8]) -> (&[u8], &[u8]) {
    let path = trim(path);
    match memchr::memrchr(b'/', path) {
        Some(slash) => (path.get(..slash).unwrap_or(&[]), path.get(slash + 1..).unwrap_or(&[])),
        None => (&[], path),
    }
}

/// Where in `path` the component `name`, a slice of it, ends.
fn offset_after(path: &[u8], name: &[u8]) -> usize {
    (name.as_ptr() as usize).saturating_sub(path.as_ptr() as usize) + name.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sandbox(tag: &str) -> (std::path::PathBuf, Root) {
        let path = std::env::temp_dir().join(format!("monopod-beneath-{tag}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(path.join("a/b")).unwrap();
        std::os::unix::fs::symlink("/etc", path.join("out")).unwrap();
        std::os::unix::fs::symlink("b", path.join("a/link")).unwrap();
        let text = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
        (path, Root::open(&text).unwrap())
    }

    #[test]
    fn look_up_links_and_dots_are_refused_by_both_ways() {
        let (path, root) = sandbox("links");
        for way in [Root::look_up, Root::walk] {
            assert!(way(&root, b"a/b", OFlag::O_PATH).is_ok());
            assert!(way(&root, b"/a//./b/", OFlag::O_PATH).is_ok());
            assert_eq!(way(&root, b"out", OFlag::O_PATH).unwrap_err(), Errno::ELOOP);
            assert_eq!(way(&root, b"out/passwd", OFlag::O_PATH).unwrap_err(), Errno::ELOOP);
            assert_eq!(way(&root, b"a/link", OFlag::O_RDONLY).unwrap_err(), Errno::ELOOP);
            assert_eq!(way(&root, b"a/none/b", OFlag::O_PATH).unwrap_err(), Errno::ENOENT);
        }
        assert_eq!(root.target(b"../etc").unwrap_err(), Errno::EINVAL);
        std::fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn make_directories_missing_ones_are_made_but_never_through_a_link() {
        let (path, root) = sandbox("make");
        root.make_directories(b"a/c/d").unwrap();
        assert!(path.join("a/c/d").is_dir());
        root.make_file(b"x/y/file").unwrap();
        root.make_file(b"x/y/file").unwrap();
        assert!(path.join("x/y/file").is_file());
        assert_eq!(root.make_directories(b"out/monopod-test").unwrap_err(), Errno::ELOOP);
        assert!(!std::path::Path::new("/etc/monopod-test").exists());
        std::fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn split_and_trim_odd_slashes_are_tolerated() {
        assert_eq!(split(b"/dev/tty1"), (&b"dev"[..], &b"tty1"[..]));
        assert_eq!(split(b"dev"), (&b""[..], &b"dev"[..]));
        assert_eq!(trim(b"///"), b"");
    }
}
