//! The host's side of the console: the terminal that mirrors it, and its log file.
//!
//! All of it is opened once and outlives restarts; the pty behind it is new in every life (`supervise::console`).

use super::recent::Recent;
use crate::config::{Config, ConsolePath};
use crate::error::{Error, Result};
use crate::limits;
use crate::sys::fds::open;
use crate::sys::{fds, pty};
use crate::text::{PathText, shown};
use core::ffi::CStr;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What mirrors the console: where the guest's output goes, and where its input comes from.
pub enum Peer {
    /// Nothing.
    None,
    /// A terminal or file opened by path, non-blocking.
    Opened(OwnedFd),
    /// Our own standard input and output.
    Stdio,
}

impl Peer {
    /// Where input comes from.
    pub fn input(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Peer::None => None,
            Peer::Opened(fd) => Some(fd.as_fd()),
            Peer::Stdio => Some(fds::standard(0)),
        }
    }

    /// Where output goes.
    pub fn output(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Peer::None => None,
            Peer::Opened(fd) => Some(fd.as_fd()),
            Peer::Stdio => Some(fds::standard(1)),
        }
    }
}

/// The console's host side.
pub struct ConsoleSide<'t> {
    /// The mirror.
    pub peer: Peer,
    /// The log file.
    pub log: Option<LogFile<'t>>,
    /// What it said last.
    pub recent: Recent,
    /// The container gets a console at all.
    pub wanted: bool,
    saved: Option<Termios>,
}

impl<'t> ConsoleSide<'t> {
    /// Opens what the config names. A terminal goes into raw mode, so that every key reaches the guest.
    #[inline(never)] // its frame would live as long as the container
    pub fn open(config: &Config<'t>, daemon: bool) -> Result<Self> {
        let peer = match config.console.path {
            ConsolePath::None => Peer::None,
            ConsolePath::Stdio => Peer::Stdio,
            ConsolePath::Path(path) => Peer::Opened(open_peer(path)?),
            ConsolePath::Auto => own_terminal(daemon),
        };
        let log = match config.console.logfile {
            Some(path) => {
                Some(LogFile::open(path.value, config.console.log_size, config.console.rotate).map_err(|errno| {
                    let place = config.place(path.at);
                    Error::os("console", errno, format_args!("{place}: lxc.console.logfile = {}", shown(path.value)))
                })?)
            }
            None => None,
        };
        let mut side = ConsoleSide {
            peer,
            log,
            recent: Recent::default(),
            wanted: config.console.path != ConsolePath::None,
            saved: None,
        };
        side.go_raw();
        Ok(side)
    }

    fn go_raw(&mut self) {
        let Some(terminal) = self.peer.input().filter(|fd| pty::is_terminal(*fd)) else { return };
        if let Ok(saved) = tcgetattr(terminal) {
            let mut raw = saved.clone();
            cfmakeraw(&mut raw);
            let _ = tcsetattr(terminal, SetArg::TCSANOW, &raw);
            self.saved = Some(saved);
        }
    }
}

impl Drop for ConsoleSide<'_> {
    fn drop(&mut self) {
        if let (Some(saved), Some(terminal)) = (self.saved.take(), self.peer.input()) {
            let _ = tcsetattr(terminal, SetArg::TCSANOW, &saved);
        }
    }
}

/// In the foreground on a terminal the console is mirrored there, as lxc-start does. The terminal is opened anew, so that
/// our non-blocking mode is nobody else's.
fn own_terminal(daemon: bool) -> Peer {
    if daemon || !pty::is_terminal(fds::standard(0)) {
        return Peer::None;
    }
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    open(c"/dev/tty", flags, Mode::empty()).map_or(Peer::None, Peer::Opened)
}

/// Opens a mirror by path. A file is made if it is missing; a device is not, that would be a file in the place of one.
fn open_peer(path: &CStr) -> Result<OwnedFd> {
    let create = if path.to_bytes().starts_with(b"/dev/") { OFlag::empty() } else { OFlag::O_CREAT };
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_APPEND;
    open(path, flags | create, Mode::from_bits_truncate(0o600))
        .map_err(|errno| Error::os("console", errno, format_args!("open {}", shown(path))))
}

/// `lxc.console.logfile` with its size limit: what is full is cut to nothing, after a copy to FILE.1 if so configured.
pub struct LogFile<'t> {
    path: &'t CStr,
    file: OwnedFd,
    size: u64,
    limit: u64,
    rotate: bool,
}

impl<'t> LogFile<'t> {
    fn open(path: &'t CStr, limit: u64, rotate: bool) -> core::result::Result<Self, Errno> {
        let file = open_log(path)?;
        let stat = fstat(&file)?;
        // A limit makes sense for a regular file only.
        let regular = SFlag::from_bits_truncate(stat.st_mode & libc::S_IFMT) == SFlag::S_IFREG;
        Ok(LogFile { path, file, size: stat.st_size as u64, limit: if regular { limit } else { 0 }, rotate })
    }

    /// Appends; what cannot be written (full disk, FIFO without reader) is lost, never waited for. Where the size is limited, in
    /// pieces of which several fit into the smallest file that makes sense, so that none is cut before it is rotated away.
    pub fn append(&mut self, bytes: &[u8]) {
        let piece = if self.limit > 0 { limits::CONSOLE_CHUNK } else { usize::MAX };
        bytes.chunks(piece).for_each(|piece| self.append_piece(piece));
    }

    fn append_piece(&mut self, bytes: &[u8]) {
        if self.limit > 0 && self.size + bytes.len() as u64 > self.limit {
            self.begin_anew();
        }
        let fits = if self.limit > 0 { bytes.len().min(self.limit as usize) } else { bytes.len() };
        if let Ok(written) = nix::unistd::write(&self.file, bytes.get(bytes.len() - fits..).unwrap_or(bytes)) {
            self.size += written as u64;
        }
    }

    #[inline(never)] // 4 KB of path that the relay need not carry
    fn begin_anew(&mut self) {
        if self.rotate
            && let Ok(old) = PathText::join(&[self.path.to_bytes(), b".1"])
            && nix::fcntl::renameat(nix::fcntl::AT_FDCWD, self.path, nix::fcntl::AT_FDCWD, old.c()).is_ok()
            && let Ok(file) = open_log(self.path)
        {
            self.file = file;
        } else {
            let _ = nix::unistd::ftruncate(&self.file, 0);
        }
        self.size = 0;
    }
}

fn open_log(path: &CStr) -> core::result::Result<OwnedFd, Errno> {
    let flags =
        OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_CREAT | OFlag::O_NOCTTY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    open(path, flags, Mode::from_bits_truncate(0o600))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_file_at_its_limit_begins_anew_and_keeps_one_old_file() {
        let folder = std::env::temp_dir().join(format!("monopod-log-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("console");
        let text = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
        let mut log = LogFile::open(&text, 8, true).unwrap();
        for chunk in [&b"12345"[..], b"678", b"9"] {
            log.append(chunk);
        }
        assert_eq!(std::fs::read(&path).unwrap(), b"9");
        assert_eq!(std::fs::read(folder.join("console.1")).unwrap(), b"12345678");
        let mut cut = LogFile::open(&text, 4, false).unwrap();
        cut.append(b"abcdef");
        assert_eq!(std::fs::read(&path).unwrap(), b"cdef");
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn log_file_smaller_than_what_was_gathered_loses_nothing_but_its_oldest_file() {
        let folder = std::env::temp_dir().join(format!("monopod-log-gathered-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("console");
        let text = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
        let gathered: Vec<u8> = (0..limits::CONSOLE_GATHER).map(|n| (n / 7) as u8).collect();
        let limit = 2 * limits::CONSOLE_CHUNK;
        LogFile::open(&text, limit as u64, true).unwrap().append(&gathered);
        let kept = [std::fs::read(folder.join("console.1")).unwrap(), std::fs::read(&path).unwrap()].concat();
        assert_eq!(kept, gathered[gathered.len() - 2 * limit..]);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
