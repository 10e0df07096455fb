//! devpts, the console and the ttys.
//!
//! The ptys come from the container's own devpts instance, so that `tty` inside names a file that exists there, and the
//! host's count of ptys is not used up. They are bound by descriptor: the slave of a master is asked of the kernel
//! (TIOCGPTPEER), never opened by a name that the rootfs could have planted. The masters go up to the supervisor.

use super::Site;
use super::beneath::{Name, Root, Source, bind_in, bind_on_new, bind_over, mount_on, open_in};
use crate::limits;
use crate::spawn::barrier::{Report, Step};
use crate::sys::{fds, pty};
use crate::text::{Line, PathText};
use core::ffi::CStr;
use core::fmt::Write;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::mount::MsFlags;
use nix::sys::stat::{Mode, SFlag, mkdirat, mknodat};
use nix::sys::statfs::{DEVPTS_SUPER_MAGIC, fstatfs};
use nix::unistd::{UnlinkatFlags, symlinkat, unlinkat};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

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

/// Mounts devpts, opens the ptys and binds them. `dev` is the rootfs's /dev.
pub fn open(site: &Site<'_>, root: &Root, dev: BorrowedFd<'_>) -> Result<Terminals, Report> {
    let config = site.config;
    let fail = |step: Step, item: u16| move |errno: Errno| Report::new(step, item, errno);
    let mut terminals = Terminals { console: None, ttys: heapless::Vec::new() };
    let own = if config.pty_max > 0 {
        let most = config.pty_max.saturating_add(config.tty_max);
        let has_group = config.isolation.outside(true, TTY).is_some();
        let pts = mount_devpts(dev, most, has_group).map_err(fail(Step::Devpts, 0))?;
        link_ptmx(dev, &pts).map_err(fail(Step::Ptmx, 0))?;
        Some(pts)
    } else {
        None
    };
    let own = own.as_ref();
    let directory = config.tty_dir.filter(|directory| !directory.is_empty()).map(CStr::to_bytes);
    let folder = match directory {
        Some(directory) if site.console || config.tty_max > 0 => {
            let path = inside_dev(directory).map_err(fail(Step::Console, 0))?;
            let fd = root.make_directories(path.c().to_bytes()).map_err(fail(Step::Console, 0))?;
            Some(Folder { fd, name: directory })
        }
        _ => None,
    };
    if site.console {
        let (master, number) = open_master(own, OFlag::O_NONBLOCK).map_err(fail(Step::OpenPty, 0))?;
        let slave = open_slave(own, master.as_fd(), number).map_err(fail(Step::OpenPty, 0))?;
        if config.init.uid != 0 {
            // It may be opened by name as well, not only used as the descriptors that init begins with.
            nix::unistd::fchown(&slave, Some(nix::unistd::Uid::from_raw(config.init.uid)), None)
                .map_err(fail(Step::Console, 0))?;
        }
        let source = Source::Opened(slave.as_fd());
        if let Some(folder) = &folder {
            bind_in(folder.fd.as_fd(), b"console", source).map_err(fail(Step::Console, 0))?;
        }
        bind_in(dev, b"console", source).map_err(fail(Step::Console, 0))?;
        terminals.console = Some(Pty { master, slave });
    }
    for number in 1..=u16::try_from(config.tty_max).unwrap_or(u16::MAX) {
        let (master, pts) = open_master(own, OFlag::empty()).map_err(fail(Step::OpenPty, number))?;
        bind_tty(dev, number, pts, own, folder.as_ref()).map_err(fail(Step::Tty, number))?;
        terminals.ttys.push(master).map_err(|_| Report::new(Step::Tty, number, Errno::E2BIG))?;
    }
    Ok(terminals)
}

/// The console of a container without a rootfs: a pty of the host, bound nowhere.
pub fn open_bare(site: &Site<'_>) -> Result<Terminals, Report> {
    let fail = |errno: Errno| Report::new(Step::OpenPty, 0, errno);
    let mut terminals = Terminals { console: None, ttys: heapless::Vec::new() };
    if site.console {
        let (master, slave) = pty::open_host(OFlag::O_NONBLOCK).map_err(fail)?;
        terminals.console = Some(Pty { master, slave });
    }
    Ok(terminals)
}

/// `lxc.tty.dir` inside /dev.
struct Folder<'a> {
    fd: OwnedFd,
    name: &'a [u8],
}

fn inside_dev(directory: &[u8]) -> nix::Result<PathText> {
    PathText::join(&[b"dev/", directory]).map_err(|_| Errno::ENAMETOOLONG)
}

/// The group `tty`, which every distribution has.
const TTY: u32 = 5;

/// Mounts our own devpts on pts. Its root directory, in which only the kernel makes files: no name in there can be a trap.
fn mount_devpts(dev: BorrowedFd<'_>, most: u32, has_group: bool) -> nix::Result<OwnedFd> {
    let mut options = Line::<96>::new();
    // A group that is not mapped is none that the kernel takes.
    let group = if has_group { "gid=5," } else { "" };
    let _ = write!(options, "newinstance,ptmxmode=0666,mode=0620,{group}max={most}\0");
    let options = CStr::from_bytes_until_nul(options.bytes()).unwrap_or(c"newinstance");
    match mkdirat(dev, c"pts", Mode::from_bits_truncate(0o755)) {
        Ok(()) | Err(Errno::EEXIST | Errno::EROFS) => {}
        Err(errno) => return Err(errno),
    }
    let open = || open_in(dev, b"pts", OFlag::O_DIRECTORY);
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    mount_on(&open()?, Some(c"devpts"), Some(c"devpts"), flags, Some(options))?;
    let pts = open()?;
    // Somebody who can write the rootfs may have put another directory there.
    if fstatfs(&pts)?.filesystem_type() == DEVPTS_SUPER_MAGIC { Ok(pts) } else { Err(Errno::ESTALE) }
}

/// /dev/ptmx must be the one of our instance: a file that is there is replaced, and pts/ptmx bound on it. On a read-only
/// rootfs the file that is there serves.
fn link_ptmx(dev: BorrowedFd<'_>, pts: &OwnedFd) -> nix::Result<()> {
    let make = || mknodat(dev, c"ptmx", SFlag::S_IFREG, Mode::empty(), 0);
    let made = match make() {
        Err(Errno::EEXIST) => match unlinkat(dev, c"ptmx", UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => make(),
            other => other,
        },
        made => made,
    };
    match made {
        Ok(()) => bind_on_new(dev, b"ptmx", Source::In(pts.as_fd(), c"ptmx")),
        Err(Errno::EROFS) => bind_over(dev, b"ptmx", Source::In(pts.as_fd(), c"ptmx")),
        other => other,
    }
}

/// Opens a pty of `own` devpts instance, or the host's, and says its number.
fn open_master(own: Option<&OwnedFd>, more: OFlag) -> nix::Result<(OwnedFd, u32)> {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC | more;
    let master = match own {
        Some(pts) => openat(pts, c"ptmx", flags, Mode::empty())?,
        None => fds::open(c"/dev/ptmx", flags, Mode::empty())?,
    };
    let number = pty::unlock(master.as_fd())?;
    Ok((master, number))
}

fn open_slave(own: Option<&OwnedFd>, master: BorrowedFd<'_>, number: u32) -> nix::Result<OwnedFd> {
    match pty::open_peer(master) {
        // Before Linux 4.13: by name.
        Err(Errno::ENOTTY | Errno::EINVAL | Errno::ENOSYS) => {
            let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
            let slave = match own {
                Some(pts) => {
                    let mut name = Line::<16>::new();
                    let _ = write!(name, "{number}");
                    openat(pts, Name::new(name.bytes())?.c(), flags, Mode::empty())?
                }
                None => {
                    let path = PathText::format(format_args!("/dev/pts/{number}")).map_err(|_| Errno::ENAMETOOLONG)?;
                    fds::open(path.c(), flags, Mode::empty())?
                }
            };
            if pty::is_slave(slave.as_fd())? { Ok(slave) } else { Err(Errno::ENOTTY) }
        }
        other => other,
    }
}

/// With `lxc.tty.dir` the tty is bound inside it and /dev/ttyN is a link to it; otherwise it is bound on /dev/ttyN.
fn bind_tty(
    dev: BorrowedFd<'_>,
    number: u16,
    pts: u32,
    own: Option<&OwnedFd>,
    folder: Option<&Folder<'_>>,
) -> nix::Result<()> {
    let mut name = Line::<16>::new();
    let _ = write!(name, "tty{number}");
    let place = if own.is_some() { "" } else { "/dev/pts/" };
    let pts = PathText::format(format_args!("{place}{pts}")).map_err(|_| Errno::ENAMETOOLONG)?;
    let slave = own.map_or(Source::Path(pts.c()), |directory| Source::In(directory.as_fd(), pts.c()));
    let Some(folder) = folder else { return bind_in(dev, name.bytes(), slave) };
    bind_in(folder.fd.as_fd(), name.bytes(), slave)?;
    let link = Name::new(name.bytes())?;
    let to = PathText::join(&[folder.name, b"/", name.bytes()]).map_err(|_| Errno::ENAMETOOLONG)?;
    match symlinkat(to.c(), dev, link.c()) {
        Err(Errno::EEXIST) => {
            unlinkat(dev, link.c(), UnlinkatFlags::NoRemoveDir)?;
            symlinkat(to.c(), dev, link.c())
        }
        other => other,
    }
}
