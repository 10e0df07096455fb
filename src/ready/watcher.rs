//! A process that watches a guest until it is ready, one condition after the other, and ends.
//!
//! It is a process because it looks at the guest's files, which may keep it waiting or kill it; because a futex and a
//! descriptor cannot be waited for at once; and so that what it holds of the guest goes with it. It sleeps until inotify
//! tells of a new name in one of the directories on the way to what it looks for, until the guest mounts something, or
//! until its `reader` ends; then it looks again. It allocates nothing and ends with the supervisor.

use super::reader;
use crate::android::areas::{Area, Areas, SERIAL_PATH};
use crate::config::readiness::{Condition, conditions};
use crate::rootfs::beneath::{FdPath, Root, components};
use crate::sys::clone::{Fork, fork};
use crate::sys::process::{self, Exit};
use crate::sys::{fds, signals};
use crate::text::PathText;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::time::{ClockId, ClockNanosleepFlags, clock_nanosleep};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// How often a guest may kill the reader, by cutting its property areas short, before it is believed to mean it.
const DEATHS: u32 = 16;

/// Bytes of an area's header.
const HEADER: usize = 128;

/// Watches the guest whose first process is `init` for all `conditions`. After each it writes a byte to `progress`.
///
/// The exit code is 0 when all have come true, else the errno of what went wrong; ESRCH: the guest has gone. The descriptors
/// of the supervisor are closed, but for `progress`.
pub fn run(init: i32, text: &[u8], progress: OwnedFd, supervisor: nix::unistd::Pid) -> ! {
    let _ = process::set_parent_death_signal(libc::SIGKILL);
    if nix::unistd::getppid() != supervisor {
        process::exit_now(Errno::ESRCH as i32);
    }
    let result = alone(progress).and_then(|progress| Watcher::new(init)?.watch_all(text, progress.as_fd()));
    process::exit_now(result.err().unwrap_or(Errno::UnknownErrno) as i32)
}

/// Leaves everything that is the supervisor's: sockets whose end somebody waits for, the caller's terminal.
fn alone(progress: OwnedFd) -> nix::Result<OwnedFd> {
    let null = fds::open(c"/dev/null", OFlag::O_RDWR | OFlag::O_NOCTTY, Mode::empty())?;
    (0..3).try_for_each(|number| fds::dup_onto(null.as_fd(), number))?;
    drop(null);
    let number = progress.as_raw_fd();
    fds::close_range(3, number - 1)?;
    fds::close_range(number + 1, i32::MAX)?;
    // What a guest does to the reader is no crash that anybody has to look into.
    let _ = nix::sys::prctl::set_dumpable(false);
    signals::set_default(libc::SIGBUS);
    Ok(progress)
}

/// Whoever is woken by a guest looks at most a hundred times a second, however often it is woken.
pub fn breathe() {
    let pause = nix::sys::time::TimeSpec::new(0, 10_000_000);
    let _ = clock_nanosleep(ClockId::CLOCK_MONOTONIC, ClockNanosleepFlags::empty(), &pause);
}

struct Watcher {
    init: i32,
    names: Inotify,
    mounts: OwnedFd,
    children: SignalFd,
    reader: Option<Reader>,
    deaths: u32,
}

/// A `reader` process, and the file whose futex it waits on.
struct Reader {
    pid: i32,
    serial: (u64, u64),
}

impl Watcher {
    fn new(init: i32) -> nix::Result<Watcher> {
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGCHLD);
        Ok(Watcher {
            init,
            names: Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?,
            mounts: mounts(init)?,
            // Blocked like every signal, as in the supervisor.
            children: SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?,
            reader: None,
            deaths: 0,
        })
    }

    fn watch_all(&mut self, text: &[u8], progress: BorrowedFd<'_>) -> nix::Result<()> {
        for condition in conditions(text) {
            while !self.holds(&condition)? {
                self.sleep()?;
            }
            self.dismiss();
            // One byte each: the supervisor only counts. If it is gone, so are we.
            let _ = nix::unistd::write(progress, b"+");
        }
        Ok(())
    }

    fn holds(&mut self, condition: &Condition<'_>) -> nix::Result<bool> {
        // Both opened anew each time: init may have another root, or be in another mount namespace, as Android's is.
        self.mounts = mounts(self.init)?;
        let root = Root::of(self.init).map_err(gone)?;
        if let Some(path) = condition.path() {
            self.watch_way(&root, path)?;
            let wanted = if matches!(condition, Condition::Socket(_)) { SFlag::S_IFSOCK } else { SFlag::empty() };
            if is_there(&root, path, wanted) {
                return Ok(true);
            }
        }
        match condition.property() {
            Some((name, value)) => self.property(&root, name, value),
            None => Ok(false),
        }
    }

    /// Has inotify tell of every new name in the directories on the way to `path`, as far as they are there. Each is watched
    /// before the next is looked for, so nothing appears unseen.
    fn watch_way(&self, root: &Root, path: &[u8]) -> nix::Result<()> {
        let news = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_DELETE_SELF;
        let mut way: PathText = PathText::join(&[]).map_err(|_| Errno::ENAMETOOLONG)?;
        for name in components(path) {
            let Ok(directory) = root.look_up(way.c().to_bytes(), OFlag::O_PATH | OFlag::O_DIRECTORY) else { break };
            self.names.add_watch(FdPath::of(&directory).c(), news)?;
            way.push(b"/").and_then(|()| way.push(name)).map_err(|_| Errno::ENAMETOOLONG)?;
        }
        Ok(())
    }

    /// Whether the property has the value: it has when the reader says so. One is sent out as soon as there is an area.
    fn property(&mut self, root: &Root, name: &[u8], value: Option<&[u8]>) -> nix::Result<bool> {
        self.watch_way(root, SERIAL_PATH)?;
        let there = Areas::beneath(root).and_then(|areas| areas.serial().map(|serial| (areas, serial)));
        let Ok((areas, serial)) = there else {
            self.dismiss();
            return Ok(false);
        };
        if let Some(reader) = self.reader.take_if(|reader| reader.serial == serial.identity) {
            match process::try_wait(reader.pid)? {
                Some(Exit::Code(0)) => return Ok(true),
                None => {
                    self.reader = Some(reader);
                    return Ok(false);
                }
                Some(_) => self.deaths += 1,
            }
            if self.deaths >= DEATHS {
                return Err(Errno::EIO);
            }
        }
        self.dismiss();
        // It is made empty and then grows. Its bytes come unseen, but the first property that is set wakes the reader.
        let changes = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_ATTRIB;
        self.names.add_watch(FdPath::of(&serial.file).c(), changes)?;
        let Ok(serial) = areas.serial() else { return Ok(false) };
        if serial.length >= HEADER {
            self.send_reader(&areas, &serial, name, value)?;
        }
        Ok(false)
    }

    fn send_reader(&mut self, areas: &Areas, serial: &Area, name: &[u8], value: Option<&[u8]>) -> nix::Result<()> {
        let watcher = nix::unistd::getpid();
        match fork()? {
            Fork::Parent(pid) => self.reader = Some(Reader { pid, serial: serial.identity }),
            Fork::Child => {
                let _ = process::set_parent_death_signal(libc::SIGKILL);
                let result = match nix::unistd::getppid() == watcher {
                    true => reader::wait_for(areas, serial, name, value),
                    false => Err(Errno::ESRCH),
                };
                process::exit_now(result.err().unwrap_or(Errno::UnknownErrno) as i32)
            }
        }
        Ok(())
    }

    /// Ends the reader, if there is one.
    fn dismiss(&mut self) {
        if let Some(reader) = self.reader.take() {
            let _ = process::kill(reader.pid, libc::SIGKILL);
            let _ = process::wait(reader.pid);
        }
    }

    /// Until there is a reason to look again. What has been told up to here is forgotten before that look.
    fn sleep(&mut self) -> nix::Result<()> {
        let mut fds = [
            PollFd::new(self.names.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.children.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.mounts.as_fd(), PollFlags::POLLPRI),
        ];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
        breathe();
        let mut told = [0u8; 4096];
        while nix::unistd::read(self.names.as_fd(), &mut told).is_ok_and(|length| length > 0) {}
        while let Ok(Some(_)) = self.children.read_signal() {}
        Ok(())
    }
}

/// The mounts of a process, which tell poll(2) of every change from now on.
fn mounts(init: i32) -> nix::Result<OwnedFd> {
    let path: PathText = PathText::format(format_args!("/proc/{init}/mountinfo")).map_err(|_| Errno::ENAMETOOLONG)?;
    fds::open(path.c(), OFlag::O_RDONLY, Mode::empty()).map_err(gone)
}

/// What /proc says of a process that has just ended.
fn gone(errno: Errno) -> Errno {
    match errno {
        Errno::ENOENT | Errno::EINVAL => Errno::ESRCH,
        other => other,
    }
}

/// Whether `path` is there, of the kind `wanted` if that is one. A link is not there: nobody knows where it leads.
fn is_there(root: &Root, path: &[u8], wanted: SFlag) -> bool {
    let Ok(found) = root.look_up(path, OFlag::O_PATH) else { return false };
    let kind = |mode| SFlag::from_bits_truncate(mode & libc::S_IFMT);
    wanted.is_empty() || fstat(&found).is_ok_and(|stat| kind(stat.st_mode) == wanted)
}
