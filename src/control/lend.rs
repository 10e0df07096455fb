//! What clients borrow: the container's ttys, each by one client at a time, and views of its console.
//!
//! A view is a pty of the host: the client has the master, as LXC's tools expect it, the supervisor relays between the slave
//! and the console (`supervise::console`). What is borrowed goes back when the client's connection ends.

use super::ring::Ring;
use crate::config::Config;
use crate::limits;
use crate::sys::pty;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Top byte of the epoll token of a view; its index is the lowest byte.
pub const VIEW: u64 = 0x08 << 56;

/// What somebody borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loan {
    /// The tty of this index, from 0.
    Tty(usize),
    /// The view of this index.
    View(usize),
}

struct Tty {
    master: OwnedFd,
    lent: bool,
    /// Held while it is lent, so that the borrower sees no hang-up between two gettys, but one when the life is over.
    slave: Option<OwnedFd>,
}

/// One reader of the console, whoever it is: what of the output waits for it, and since when.
#[derive(Default)]
pub struct Reader {
    /// Output that it has not taken.
    pub pending: heapless::Vec<u8, { limits::CONSOLE_CHUNK }>,
    /// Since when it takes nothing, in monotonic milliseconds.
    pub stalled: Option<u64>,
    /// It lost our patience: bytes are dropped until there is room.
    pub lagging: bool,
    /// How many were.
    pub dropped: u64,
    /// We wait for room, not for input.
    pub full: bool,
    /// Its input is watched when there is room.
    pub input: bool,
}

/// A client's view of the console.
pub struct View {
    /// Our end.
    pub slave: OwnedFd,
    /// What waits for it.
    pub reader: Reader,
}

/// The ttys, views and the ring of one supervisor.
pub struct Lent {
    ttys: heapless::Vec<Tty, { limits::TTYS }>,
    /// Room for `VIEWS` from the start, touched only when needed.
    views: Vec<Option<View>>,
    /// The console's last bytes.
    pub ring: Option<Ring>,
    /// There is a console now whose views are relayed.
    pub relayed: bool,
    /// The container gets a console at all.
    console: bool,
}

impl Lent {
    /// Nothing is lent yet. The memory that will be needed is taken here.
    pub fn new(config: &Config<'_>) -> Lent {
        let size = usize::try_from(config.console.buffer_size).unwrap_or(usize::MAX);
        Lent {
            ttys: heapless::Vec::new(),
            views: Vec::with_capacity(limits::VIEWS),
            ring: (size > 0).then(|| Ring::new(size)),
            relayed: false,
            console: config.console.path != crate::config::ConsolePath::None,
        }
    }

    /// A life begins: these are its ttys.
    pub fn begin(&mut self, ttys: impl IntoIterator<Item = OwnedFd>) {
        self.ttys = ttys.into_iter().map(|master| Tty { master, lent: false, slave: None }).collect();
    }

    /// The life is over, and its ttys with it.
    pub fn end(&mut self) {
        self.ttys.clear();
    }

    /// Lends tty `number` (from 1), or the next free one for -1. EBADF, as LXC says it: there is no such tty, or it is lent.
    pub fn tty(&mut self, number: i32) -> nix::Result<(usize, BorrowedFd<'_>)> {
        let wanted = match number {
            -1 => self.ttys.iter().position(|tty| !tty.lent),
            _ => usize::try_from(number).ok().and_then(|number| number.checked_sub(1)),
        };
        let index = wanted.ok_or(Errno::EBADF)?;
        let tty = self.ttys.get_mut(index).filter(|tty| !tty.lent).ok_or(Errno::EBADF)?;
        tty.lent = true;
        tty.slave = pty::open_peer(tty.master.as_fd()).ok();
        Ok((index, tty.master.as_fd()))
    }

    /// Makes a view of the console and gives the client's end. EBADF: the container has no console; EBUSY: no room.
    pub fn view(&mut self, epoll: &Epoll) -> nix::Result<(usize, OwnedFd)> {
        if !self.console {
            return Err(Errno::EBADF);
        }
        let index = match self.views.iter().position(Option::is_none) {
            Some(index) => index,
            None if self.views.len() < limits::VIEWS => {
                self.views.push(None);
                self.views.len() - 1
            }
            None => return Err(Errno::EBUSY),
        };
        let (master, slave) = pty::open_host(OFlag::empty())?;
        // Raw: the console's own pty does what a terminal does.
        let mut mode = tcgetattr(&slave)?;
        cfmakeraw(&mut mode);
        tcsetattr(&slave, SetArg::TCSANOW, &mode)?;
        let flags = nix::fcntl::fcntl(&slave, nix::fcntl::FcntlArg::F_GETFL)?;
        let flags = OFlag::from_bits_truncate(flags) | OFlag::O_NONBLOCK;
        nix::fcntl::fcntl(&slave, nix::fcntl::FcntlArg::F_SETFL(flags))?;
        let mut reader = Reader::default();
        if self.relayed {
            reader.input = watch(epoll, &slave, index, EpollFlags::EPOLLIN).is_ok();
        }
        *self.views.get_mut(index).ok_or(Errno::EBUSY)? = Some(View { slave, reader });
        Ok((index, master))
    }

    /// Takes back what was lent.
    pub fn release(&mut self, loan: Loan, epoll: &Epoll) {
        match loan {
            Loan::Tty(index) => {
                if let Some(tty) = self.ttys.get_mut(index) {
                    tty.lent = false;
                    tty.slave = None;
                }
            }
            Loan::View(index) => {
                if let Some(view) = self.views.get_mut(index).and_then(Option::take) {
                    let _ = epoll.delete(&view.slave);
                }
            }
        }
    }

    /// The views that there are, each with its index.
    pub fn views(&mut self) -> impl Iterator<Item = (usize, &mut View)> {
        self.views.iter_mut().enumerate().filter_map(|(index, view)| view.as_mut().map(|view| (index, view)))
    }

    /// The view of this index.
    pub fn view_at(&mut self, index: usize) -> Option<&mut View> {
        self.views.get_mut(index).and_then(Option::as_mut)
    }
}

/// Has epoll tell of a view.
pub fn watch(epoll: &Epoll, slave: &OwnedFd, index: usize, events: EpollFlags) -> nix::Result<()> {
    epoll.add(slave, EpollEvent::new(events, VIEW | index as u64))
}
