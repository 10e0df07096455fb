//! One supervisor per name, and the traces of one that died.
//!
//! `<run>/monopod/NAME/lock` is held by flock(2) for as long as the supervisor lives; the kernel lets go of it whatever
//! happens. Its text says who holds it, and which groups it made beside the usual ones, each with the machine's boot id. A
//! supervisor that ends in order removes the file; text in a lock that nobody holds is the trace of a dead one.

use crate::error::{Error, Result};
use crate::limits::BUILT_PATH_BYTES;
use crate::sys::fds::{self, open};
use crate::sys::process::first_euid;
use crate::text::{Arena, Line, PathText, shown};
use core::ffi::CStr;
use core::fmt::Write;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag};
use nix::sys::stat::{Mode, SFlag, fstat, fstatat};
use nix::unistd::{AccessFlags, UnlinkatFlags, access, ftruncate, mkdir, unlinkat};
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

/// Where state may live, in the order in which it is tried. An Android host has no /run.
pub const RUN: [&CStr; 3] = [c"/run", c"/var/run", c"/dev"];

/// The lock of one name, held.
pub struct Lock<'t> {
    file: OwnedFd,
    directory: &'t CStr,
}

/// What taking a lock found.
pub enum Taken<'t> {
    /// It is ours. `dead`: the pid of a supervisor of this name that died without cleaning up.
    Ours {
        /// The lock.
        lock: Lock<'t>,
        /// Pid of the supervisor that died.
        dead: Option<i32>,
        /// The groups that it wrote down, if this machine was not booted since.
        left: Vec<Left>,
    },
    /// Another supervisor lives.
    Busy,
}

/// A cgroup that a dead supervisor made.
pub struct Left {
    /// Where it is.
    pub path: CString,
    /// How many directories above it were made with it.
    pub parents: u8,
    /// Everything in it was the container's.
    pub whole: bool,
}

/// Takes the lock of container `name`.
#[inline(never)] // its frame would live as long as the container
pub fn take<'t>(name: &CStr, arena: &Arena<'t>) -> Result<Taken<'t>> {
    let base = base()?;
    let directory = join(&[base.c().to_bytes(), b"/", name.to_bytes()])?;
    // The holder removes the directory when it ends, maybe between our mkdir and our open: then once more.
    let mut last = Errno::EAGAIN;
    for _ in 0..8 {
        match mkdir(directory.c(), Mode::from_bits_truncate(0o700)) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(failed("mkdir", &directory, errno)),
        }
        let path = join(&[directory.c().to_bytes(), b"/lock"])?;
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let file = match open(path.c(), flags, Mode::from_bits_truncate(0o600)) {
            Ok(file) => file,
            Err(Errno::ENOENT) => continue,
            Err(errno) => return Err(failed("open", &path, errno)),
        };
        match fds::lock(file.as_fd()) {
            Ok(()) => {}
            Err(Errno::EWOULDBLOCK) => return Ok(Taken::Busy),
            // A shortage that may pass.
            Err(errno) => {
                last = errno;
                continue;
            }
        }
        let stat = match fstat(&file) {
            Ok(stat) if stat.st_nlink > 0 => stat,
            Ok(_) => continue,
            Err(errno) => {
                last = errno;
                continue;
            }
        };
        let kept = arena.copy(directory.c().to_bytes());
        let kept = kept.map_err(|_| Error::new("lock", format_args!("out of text memory")))?;
        let lock = Lock { file, directory: kept };
        let used = stat.st_size > 0;
        let dead = if used { lock.read_dead() } else { None };
        let left = if dead.is_some() { lock.read_left() } else { Vec::new() };
        if used {
            ftruncate(&lock.file, 0).map_err(|errno| failed("write", &path, errno))?;
        }
        lock.sign().map_err(|errno| failed("write", &path, errno))?;
        return Ok(Taken::Ours { lock, dead, left });
    }
    Err(failed("lock", &directory, last))
}

/// `<run>/monopod`, made if need be. It must be a directory of root's (or ours) that nobody else can write.
///
/// A user without root has it in the directory that the login made for him, or as LXC in his home's cache.
pub fn base() -> Result<PathText> {
    let root = first_euid() == 0;
    let given = std::env::var_os("XDG_RUNTIME_DIR").filter(|path| path.as_bytes().starts_with(b"/"));
    let given = given.map(|path| join(&[path.as_bytes(), b"/monopod"])).transpose()?;
    let mut last = Errno::ENOENT;
    if root {
        for run in RUN {
            let name: &[u8] = if run == c"/dev" { b"/.monopod" } else { b"/monopod" };
            match usable(&join(&[run.to_bytes(), name])?)? {
                Ok(path) => return Ok(path),
                Err(errno) => last = errno,
            }
        }
    }
    if let Some(path) = given {
        match usable(&path)? {
            Ok(path) => return Ok(path),
            Err(errno) => last = errno,
        }
    }
    if let Some(home) = std::env::var_os("HOME").filter(|_| !root) {
        let cache = join(&[home.as_bytes(), b"/.cache"])?;
        let _ = mkdir(cache.c(), Mode::from_bits_truncate(0o700));
        match usable(&join(&[cache.c().to_bytes(), b"/monopod"])?)? {
            Ok(path) => return Ok(path),
            Err(errno) => last = errno,
        }
    }
    let tried = if root { "/run, /var/run and /dev" } else { "XDG_RUNTIME_DIR and .cache in HOME" };
    Err(Error::os("lock", last, format_args!("no place for state: tried {tried}")))
}

/// Makes a place for state, if it is none yet. The inner error: there can be none.
fn usable(path: &PathText) -> Result<nix::Result<PathText>> {
    let look = || fstatat(AT_FDCWD, path.c(), AtFlags::AT_SYMLINK_NOFOLLOW);
    let found = match look() {
        Err(Errno::ENOENT) => match mkdir(path.c(), Mode::from_bits_truncate(0o700)) {
            Ok(()) | Err(Errno::EEXIST) => look(),
            Err(errno) => return Ok(Err(errno)),
        },
        Err(errno @ (Errno::ENOTDIR | Errno::EACCES)) => return Ok(Err(errno)),
        found => found,
    };
    let stat = found.map_err(|errno| failed("stat", path, errno))?;
    let mine = stat.st_uid == 0 || stat.st_uid == first_euid();
    let writable =
        stat.st_mode & 0o022 != 0 || SFlag::from_bits_truncate(stat.st_mode & libc::S_IFMT) != SFlag::S_IFDIR;
    if mine && !writable {
        return Ok(Ok(path.clone()));
    }
    match access(path.c(), AccessFlags::W_OK) {
        // Root of a user namespace, to whom the host's belongs to nobody.
        Err(errno @ Errno::EACCES) if !mine && !writable => Ok(Err(errno)),
        _ => {
            let path = shown(path.c());
            Err(Error::new("lock", format_args!("{path} can be written by others than its owner root")))
        }
    }
}

impl<'t> Lock<'t> {
    /// The pid that a dead supervisor left in the lock, if it is really dead.
    fn read_dead(&self) -> Option<i32> {
        let mut text = [0u8; 128];
        let length = nix::sys::uio::pread(self.file.as_fd(), &mut text, 0).ok()?;
        let word = crate::config::lex::words(text.get(..length)?).nth(1)?;
        crate::text::number(word).and_then(|pid| i32::try_from(pid).ok())
    }

    /// The groups that a dead supervisor wrote down.
    fn read_left(&self) -> Vec<Left> {
        let mut text = vec![0; 32 * 1024];
        let length = nix::sys::uio::pread(self.file.as_fd(), &mut text, 0).unwrap_or(0);
        text.truncate(length);
        let boot = boot_id();
        text.split(|byte| *byte == b'\n').skip(1).filter_map(|line| parse_left(line, boot.bytes())).collect()
    }

    /// Writes down a group that is about to be made; see `Left`.
    pub fn note(&self, whole: bool, parents: u8, path: &CStr) -> nix::Result<()> {
        let mut line = Line::<{ BUILT_PATH_BYTES + 64 }>::new();
        let _ = write!(line, "{} {parents} {} ", if whole { "whole" } else { "empty" }, boot_id());
        line.push(path.to_bytes());
        line.push(b"\n");
        let end = fstat(&self.file)?.st_size;
        nix::sys::uio::pwrite(self.file.as_fd(), line.bytes(), end).map(drop)
    }

    /// Writes who holds the lock.
    fn sign(&self) -> nix::Result<()> {
        let mut line = Line::<32>::new();
        let _ = writeln!(line, "supervisor {}", nix::unistd::getpid());
        nix::sys::uio::pwrite(self.file.as_fd(), line.bytes(), 0).map(drop)
    }

    /// The directory for this container's state.
    pub fn directory(&self) -> &'t CStr {
        self.directory
    }
}

impl<'t> Lock<'t> {
    /// An end in order: nothing stays. The file goes while it is still locked, so nobody can take a lock that vanishes; the
    /// lock itself ends with the process.
    pub fn remove(&self) {
        if let Ok(path) = join(&[self.directory.to_bytes(), b"/lock"]) {
            // Twice: a shortage may pass.
            let _ = (0..2).any(|_| unlinkat(AT_FDCWD, path.c(), UnlinkatFlags::NoRemoveDir).is_ok());
        }
        let _ = unlinkat(AT_FDCWD, self.directory, UnlinkatFlags::RemoveDir);
    }
}

impl Drop for Lock<'_> {
    fn drop(&mut self) {
        self.remove();
    }
}

/// A line of `Lock::note`, if the machine was not booted since: `boot` is its boot id now.
fn parse_left(line: &[u8], boot: &[u8]) -> Option<Left> {
    let mut words = line.splitn(4, |byte| *byte == b' ');
    let whole = words.next()? == b"whole";
    let parents = u8::try_from(crate::text::number(words.next()?)?).ok()?;
    words.next().filter(|then| *then == boot)?;
    let path = words.next().filter(|path| path.starts_with(b"/"))?;
    Some(Left { path: CString::new(path).ok()?, parents, whole })
}

/// What is another one after each boot of the machine; `-` where it cannot be read.
fn boot_id() -> Line<40> {
    let mut id = Line::new();
    let read = crate::cgroup::limit::read(c"/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.push(if read.is_empty() { b"-" } else { &read });
    id
}

fn join(parts: &[&[u8]]) -> Result<PathText> {
    PathText::join(parts).map_err(|_| Error::new("lock", format_args!("the path of the state directory is too long")))
}

fn failed(what: &str, path: &PathText, errno: Errno) -> Error {
    Error::os("lock", errno, format_args!("{what} {}", shown(path.c())))
}
