//! devpts, the console and the ttys (lxc.md rows 103, 105, 108).
//!
//! The ptys come from the container's own devpts instance, so that `tty` inside names a file that exists there, and the
//! host's count of ptys is not used up. They are bound by descriptor: the slave of a master is asked of the kernel
//! (TIOCGPTPEER), never opened by a name that the rootfs could have planted. The masters go up to the supervisor.

use super::Site;
use super::beneath::{FdPath, Name, Root, mount_on, touch};
use crate::limits;
use crate::spawn::barrier::{Report, Step};
use crate::sys::pty;
use crate::text::{Line, PathText};
use core::ffi::CStr;
use core::fmt::Write;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::mount::MsFlags;
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, symlinkat, unlinkat};
use std::os::fd::{AsFd, OwnedFd};

/// The two ends of a pty.
pub struct Pty {
    /// The supervisor's end.
    pub master: OwnedFd,
    /// The guest's end.
    pub slave: OwnedFd,
}

/// What was opened.
pub struct Terminals {
    /// The console, if the container has one.
    pub console: Option<Pty>,
    /// Masters of /dev/tty1 and up.
    pub ttys: heapless::Vec<OwnedFd, { limits::TTYS }>,
}

/// Mounts devpts, opens the ptys and binds them.
pub fn open(site: &Site<'_>, root: &Root) -> Result<Terminals, Report> {
    let config = site.config;
    let mut terminals = Terminals { console: None, ttys: heapless::Vec::new() };
    let has_rootfs = config.rootfs.path.is_some();
    let own_instance = config.pty_max > 0 && has_rootfs;
    if own_instance {
        mount_devpts(root, config.pty_max.saturating_add(config.tty_max))
            .map_err(|errno| Report::new(Step::Devpts, 0, errno))?;
        link_ptmx(root).map_err(|errno| Report::new(Step::Ptmx, 0, errno))?;
    }
    let directory = config.tty_dir.filter(|directory| !directory.is_empty() && has_rootfs).map(CStr::to_bytes);
    if let Some(directory) = directory
        && (site.console || config.tty_max > 0)
    {
        let path = inside_dev(directory, b"").map_err(|errno| Report::new(Step::Console, 0, errno))?;
        root.make_directories(path.c().to_bytes()).map_err(|errno| Report::new(Step::Console, 0, errno))?;
    }
    if site.console {
        let console = open_pty(root, own_instance).map_err(|errno| Report::new(Step::OpenPty, 0, errno))?;
        if has_rootfs {
            bind_console(root, &console, directory).map_err(|errno| Report::new(Step::Console, 0, errno))?;
        }
        terminals.console = Some(console);
    }
    for number in 1..=u16::try_from(config.tty_max).unwrap_or(u16::MAX) {
        if !has_rootfs {
            break;
        }
        let tty = open_pty(root, own_instance).map_err(|errno| Report::new(Step::OpenPty, number, errno))?;
        bind_tty(root, &tty, number, directory).map_err(|errno| Report::new(Step::Tty, number, errno))?;
        terminals.ttys.push(tty.master).map_err(|_| Report::new(Step::Tty, number, Errno::E2BIG))?;
    }
    Ok(terminals)
}

fn mount_devpts(root: &Root, most: u32) -> nix::Result<()> {
    let place = root.make_directories(b"dev/pts")?;
    let mut options = Line::<96>::new();
    let _ = write!(options, "newinstance,ptmxmode=0666,mode=0620,gid=5,max={most}\0");
    let options = CStr::from_bytes_until_nul(options.bytes()).unwrap_or(c"newinstance");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    mount_on(&place, Some(c"devpts"), Some(c"devpts"), flags, Some(options))
}

/// /dev/ptmx must be the one of our instance: the file is replaced, and pts/ptmx bound on it.
fn link_ptmx(root: &Root) -> nix::Result<()> {
    let dev = root.target(b"dev")?;
    match unlinkat(&dev, c"ptmx", UnlinkatFlags::NoRemoveDir) {
        // On a read-only rootfs the file that is there serves as the place to bind on.
        Ok(()) | Err(Errno::ENOENT | Errno::EROFS) => {}
        Err(errno) => return Err(errno),
    }
    match touch(dev.as_fd(), b"ptmx") {
        Ok(()) | Err(Errno::EROFS) => {}
        Err(errno) => return Err(errno),
    }
    let ours = root.target(b"dev/pts/ptmx")?;
    let place = root.target(b"dev/ptmx")?;
    mount_on(&place, Some(FdPath::of(&ours).c()), None, MsFlags::MS_BIND, None)
}

fn open_pty(root: &Root, own_instance: bool) -> nix::Result<Pty> {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let master = if own_instance {
        root.look_up(b"dev/pts/ptmx", flags)?
    } else {
        nix::fcntl::open(c"/dev/ptmx", flags, Mode::empty())?
    };
    let number = pty::unlock(master.as_fd())?;
    let slave = match pty::open_peer(master.as_fd()) {
        Ok(slave) => slave,
        // Before Linux 4.13: by name, in the devpts that we have just mounted ourselves.
        Err(Errno::ENOTTY | Errno::EINVAL | Errno::ENOSYS) => {
            let mut name = Line::<16>::new();
            let _ = write!(name, "{number}");
            let name = Name::new(name.bytes())?;
            if own_instance {
                openat(root.target(b"dev/pts")?, name.c(), flags | OFlag::O_NOFOLLOW, Mode::empty())?
            } else {
                let path = PathText::join(&[b"/dev/pts/", name.c().to_bytes()]).map_err(|_| Errno::ENAMETOOLONG)?;
                nix::fcntl::open(path.c(), flags | OFlag::O_NOFOLLOW, Mode::empty())?
            }
        }
        Err(errno) => return Err(errno),
    };
    if pty::is_slave(slave.as_fd())? { Ok(Pty { master, slave }) } else { Err(Errno::ENOTTY) }
}

/// Binds the pty on a file at `path`, made if it is missing.
fn bind(root: &Root, pty: &Pty, path: &[u8]) -> nix::Result<()> {
    let place = match root.target(path) {
        Err(Errno::ENOENT) => {
            root.make_file(path)?;
            root.target(path)?
        }
        other => other?,
    };
    mount_on(&place, Some(FdPath::of(&pty.slave).c()), None, MsFlags::MS_BIND, None)
}

fn inside_dev(directory: &[u8], name: &[u8]) -> nix::Result<PathText> {
    PathText::join(&[b"dev/", directory, b"/", name]).map_err(|_| Errno::ENAMETOOLONG)
}

fn bind_console(root: &Root, console: &Pty, directory: Option<&[u8]>) -> nix::Result<()> {
    if let Some(directory) = directory {
        bind(root, console, inside_dev(directory, b"console")?.c().to_bytes())?;
    }
    bind(root, console, b"dev/console")
}

/// With `lxc.tty.dir` the tty is bound inside it and /dev/ttyN is a link to it; otherwise it is bound on /dev/ttyN.
fn bind_tty(root: &Root, tty: &Pty, number: u16, directory: Option<&[u8]>) -> nix::Result<()> {
    let mut name = Line::<16>::new();
    let _ = write!(name, "tty{number}");
    let Some(directory) = directory else {
        let path = PathText::join(&[b"dev/", name.bytes()]).map_err(|_| Errno::ENAMETOOLONG)?;
        return bind(root, tty, path.c().to_bytes());
    };
    bind(root, tty, inside_dev(directory, name.bytes())?.c().to_bytes())?;
    let dev = root.target(b"dev")?;
    let link = Name::new(name.bytes())?;
    match unlinkat(&dev, link.c(), UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => {}
        Err(errno) => return Err(errno),
    }
    let to = PathText::join(&[directory, b"/", name.bytes()]).map_err(|_| Errno::ENAMETOOLONG)?;
    symlinkat(to.c(), &dev, link.c())
}
