//! The commands' end of the command socket: one connection a question, every wait with a deadline.

use super::proto::{self, Command, HEADER_BYTES, Header, News, STATE_MESSAGE_BYTES, StopOrder, Wanted};
use crate::state::State;
use crate::sys::socket::{self, Beside};
use core::ffi::CStr;
use core::fmt;
use core::time::Duration;
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, getsockopt, setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Instant;

/// How long a supervisor may take for an answer. Ours takes microseconds; LXC's is busy while a hook runs.
const ANSWER: Duration = Duration::from_secs(10);
/// How often a container is looked for that has not bound its address yet.
const POLL: Duration = Duration::from_millis(250);
/// The longest body that is taken from a supervisor.
const BODY_MAX: usize = 1 << 20;

/// How often a question for the state is asked whose connection is closed.
const TRIES: usize = 16;

/// Why a question has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nobody has the container's address.
    NotRunning,
    /// The deadline is over.
    TimedOut,
    /// The connection ended before the answer: the supervisor went away, or refuses us.
    Closed,
    /// The supervisor answered with this error; ENOSYS: it does not know the command.
    Refused(Errno),
    /// What came is no answer.
    Garbled,
    /// Another user, not root, has the container's address.
    Foreign,
    /// A system call failed.
    Os(Errno),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::NotRunning => f.write_str("not running"),
            Failure::TimedOut => f.write_str("no answer in time"),
            Failure::Closed => f.write_str("the supervisor closed the connection"),
            Failure::Refused(errno) => write!(f, "refused: {}", errno.desc()),
            Failure::Garbled => f.write_str("the answer is not LXC's protocol of this word size"),
            Failure::Foreign => f.write_str("another user's process has the container's address"),
            Failure::Os(errno) => f.write_str(errno.desc()),
        }
    }
}

/// An answer.
pub struct Answer {
    /// The result; LXC gives numbers >= 0 for success.
    pub result: i32,
    /// The word in place of a pointer.
    pub data: usize,
    /// The body.
    pub body: Vec<u8>,
    /// A descriptor that came with it.
    pub fd: Option<OwnedFd>,
}

/// A borrowed tty. Dropping it gives it back.
pub struct Tty {
    /// The master's end.
    pub fd: OwnedFd,
    /// Its number; 0 is the console.
    pub number: i32,
    /// Its end is the loan's.
    pub connection: OwnedFd,
}

/// A container as the commands name it.
#[derive(Clone, Copy)]
pub struct Container<'a> {
    /// `-P`, without trailing slashes.
    pub lxcpath: &'a CStr,
    /// `-n`
    pub name: &'a CStr,
}

impl Container<'_> {
    /// Asks one question.
    pub fn ask(&self, command: Command, body: &[u8]) -> Result<Answer, Failure> {
        self.ask_on(self.connect()?.as_fd(), command, 0, body)
    }

    /// The state; STOPPED if nobody has the address, or nobody who talks to us.
    pub fn state(&self) -> Result<State, Failure> {
        // A supervisor in a crowd closes the connection of who is slow; one that went away has no address any more.
        let mut answers = (0..TRIES).map(|_| self.ask(Command::GetState, &[]));
        let answer = match answers.find(|answer| !matches!(answer, Err(Failure::Closed))) {
            None | Some(Err(Failure::NotRunning)) => return Ok(State::Stopped),
            Some(other) => other?,
        };
        State::from_wire(answer.data as i32).ok_or(Failure::Garbled)
    }

    /// init's pid in the supervisor's pid namespace; None while there is no init.
    pub fn init_pid(&self) -> Result<Option<i32>, Failure> {
        let pid = self.ask(Command::GetInitPid, &[])?.data as i32;
        Ok(Some(pid).filter(|pid| *pid > 0))
    }

    /// The value of a config key in the running container; None if it has none.
    pub fn config_item(&self, key: &CStr) -> Result<Option<Vec<u8>>, Failure> {
        match self.ask(Command::GetConfigItem, key.to_bytes_with_nul()) {
            Ok(answer) => Ok(Some(text(answer.body))),
            // -1, LXC's "no such key or no value".
            Err(Failure::Refused(Errno::EPERM)) => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// The container's path inside the hierarchy of `controller`, with a leading slash.
    pub fn cgroup(&self, controller: &CStr) -> Result<Vec<u8>, Failure> {
        Ok(text(self.ask(Command::GetCgroup, controller.to_bytes_with_nul())?.body))
    }

    /// Borrows a tty: 1 and up, 0 for the console, -1 for the next free one. EBADF or the end of the connection: there is none.
    pub fn tty(&self, number: i32) -> Result<Tty, Failure> {
        let socket = self.connect()?;
        let answer = self.ask_on(socket.as_fd(), Command::GetTtyFd, number as isize as usize, &[])?;
        let fd = answer.fd.ok_or(Failure::Garbled)?;
        Ok(Tty { fd, number: answer.data as i32, connection: socket })
    }

    /// The lines of our own STATUS; ENOSYS from LXC's supervisor.
    pub fn status(&self) -> Result<Vec<u8>, Failure> {
        Ok(text(self.ask(Command::Status, &[])?.body))
    }

    /// Gives our own supervisor a stop order; ENOSYS from LXC's.
    pub fn order(&self, order: StopOrder) -> Result<(), Failure> {
        self.ask(Command::StopOrder, &order.to_bytes()).map(drop)
    }

    /// LXC's STOP: kills init. The watch ends when the supervisor has gone.
    pub fn kill(&self) -> Result<Watch, Failure> {
        let socket = self.connect()?;
        send_request(socket.as_fd(), Command::Stop, 0, &[])?;
        Ok(Watch { socket })
    }

    /// Signals init: by the supervisor's pidfd where it gives one, else by pid.
    pub fn signal_init(&self, signal: i32) -> Result<(), Failure> {
        let pidfd = self.ask(Command::GetInitPidfd, &[]).ok().and_then(|answer| answer.fd);
        if let Some(pidfd) = pidfd {
            match socket::pidfd_send_signal(pidfd.as_fd(), signal) {
                // A policy around us that knows less than the kernel.
                Err(Errno::ENOSYS | Errno::EPERM) => {}
                other => return other.map_err(Failure::Os),
            }
        }
        let pid = self.init_pid()?.ok_or(Failure::Refused(Errno::ESRCH))?;
        crate::sys::process::kill(pid, signal).map_err(Failure::Os)
    }

    /// Asks to be told of `wanted` states.
    pub fn watch(&self, wanted: Wanted) -> Result<Watched, Failure> {
        let socket = self.connect()?;
        let answer = self.ask_on(socket.as_fd(), Command::AddStateClient, 0, &wanted.to_bytes())?;
        match State::from_wire(answer.data as i32) {
            Some(state) => Ok(Watched::Already(state)),
            None if answer.data == State::ALL.len() => Ok(Watched::Waiting(Watch { socket })),
            None => Err(Failure::Garbled),
        }
    }

    /// Asks our own supervisor to tell every state and exit code from now on; the state now. ENOSYS from LXC's.
    pub fn follow(&self) -> Result<(State, Watch), Failure> {
        let socket = self.connect()?;
        let answer = self.ask_on(socket.as_fd(), Command::Subscribe, 0, &[])?;
        let state = State::from_wire(answer.data as i32).ok_or(Failure::Garbled)?;
        Ok((state, Watch { socket }))
    }

    /// Freezes (true) or thaws, and waits until it is done.
    ///
    /// # Errors
    /// `Refused(ENOSYS)`: an old supervisor, or one of LXC's that leaves it to the client (cgroup v1).
    pub fn set_frozen(&self, frozen: bool, deadline: Option<Instant>) -> Result<(), Failure> {
        let command = if frozen { Command::Freeze } else { Command::Unfreeze };
        let socket = self.connect()?;
        // In the pointer LXC's tools pass how long its supervisor may wait for the kernel: for ever.
        send_request(socket.as_fd(), command, usize::MAX, &[])?;
        let (header, _) = receive_header(socket.as_fd(), deadline)?;
        if header.number < 0 { Err(refused(header)) } else { Ok(()) }
    }

    /// Tells LXC's supervisor of a state that we brought about.
    pub fn serve(&self, state: State) -> Result<(), Failure> {
        self.ask_on(self.connect()?.as_fd(), Command::ServeStateClients, state as usize, &[]).map(drop)
    }

    /// Waits until a wanted state is there; false when the deadline came first. No container counts as STOPPED; while
    /// another state is wanted its start is waited for.
    pub fn wait(&self, wanted: Wanted, deadline: Option<Instant>) -> Result<bool, Failure> {
        loop {
            let met = match self.watch(wanted) {
                Ok(Watched::Already(_)) => true,
                Ok(Watched::Waiting(watch)) => match watch.next(deadline) {
                    Ok(Some(state)) => wanted.wants(state),
                    Ok(None) => wanted.wants(State::Stopped),
                    Err(Failure::TimedOut) => return Ok(false),
                    Err(other) => return Err(other),
                },
                Err(Failure::NotRunning | Failure::Closed) => wanted.met_by(State::Stopped),
                // No room for one more waiter, or a supervisor that knows no waiters.
                Err(Failure::Refused(_)) => wanted.met_by(self.state()?),
                Err(other) => return Err(other),
            };
            if met {
                return Ok(true);
            }
            if !pause(deadline) {
                return Ok(false);
            }
        }
    }

    /// Waits until the container is ready, by its `monopod.ready`, or in a state of `wanted`; false when the deadline came first
    /// or the container is gone. Without conditions a container is ready when it runs. One that is not there yet is waited for.
    pub fn wait_ready(&self, wanted: Wanted, deadline: Option<Instant>) -> Result<bool, Failure> {
        loop {
            match self.follow() {
                // Asked only when news are on their way, so that none is missed.
                Ok((state, watch)) => return self.follow_ready(state, &watch, wanted, deadline),
                Err(Failure::NotRunning | Failure::Closed) if wanted.met_by(State::Stopped) => return Ok(true),
                Err(Failure::NotRunning | Failure::Closed) => {}
                Err(other) => return Err(other),
            }
            if !pause(deadline) {
                return Ok(false);
            }
        }
    }

    fn follow_ready(
        &self,
        state: State,
        watch: &Watch,
        wanted: Wanted,
        deadline: Option<Instant>,
    ) -> Result<bool, Failure> {
        let status = self.status().unwrap_or_default();
        let says = |line: &[u8]| crate::text::find(&status, line).is_some();
        let asked = says(b"\nready=");
        let is_ready = |state: State| !asked && state.is_alive() || wanted.wants(state);
        if says(b"\nready=yes") || is_ready(state) {
            return Ok(true);
        }
        loop {
            match watch.news(deadline) {
                Ok(Some(News::Ready)) => return Ok(true),
                Ok(Some(News::State(state))) if is_ready(state) => return Ok(true),
                Ok(Some(_)) => {}
                Ok(None) => return Ok(wanted.wants(State::Stopped)),
                Err(Failure::TimedOut) => return Ok(false),
                Err(other) => return Err(other),
            }
        }
    }

    fn connect(&self) -> Result<OwnedFd, Failure> {
        let socket = nix::sys::socket::socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)
            .map_err(Failure::Os)?;
        // It bounds the connect as well, which waits while the backlog is full.
        setsockopt(&socket, sockopt::SendTimeout, &time(ANSWER)).map_err(Failure::Os)?;
        let address = proto::address(self.lxcpath.to_bytes(), self.name.to_bytes());
        let address = UnixAddr::new_abstract(&address).map_err(Failure::Os)?;
        match connect(socket.as_raw_fd(), &address) {
            // Anybody can bind a name: only root's word and our own counts.
            Ok(()) if self.trusts(&socket) => Ok(socket),
            Ok(()) => Err(Failure::Foreign),
            Err(Errno::ECONNREFUSED) => Err(Failure::NotRunning),
            Err(errno) => Err(failure(errno)),
        }
    }

    /// Whether the other end was bound by root, by us, or by whose containers these are.
    fn trusts(&self, socket: &OwnedFd) -> bool {
        let Ok(peer) = getsockopt(socket, sockopt::PeerCredentials) else { return false };
        let owner = || nix::sys::stat::stat(self.lxcpath).map(|stat| stat.st_uid);
        peer.uid() == 0 || peer.uid() == nix::unistd::geteuid().as_raw() || owner() == Ok(peer.uid())
    }

    /// Asks on a connection that is there already: one order, one answer, whatever the other end makes of it.
    pub fn ask_on(
        &self,
        socket: BorrowedFd<'_>,
        command: Command,
        data: usize,
        body: &[u8],
    ) -> Result<Answer, Failure> {
        let deadline = Some(Instant::now() + ANSWER);
        send_request(socket, command, data, body)?;
        let (header, fd) = receive_header(socket, deadline)?;
        if header.number < 0 {
            return Err(refused(header));
        }
        let length = usize::try_from(header.length).ok().filter(|n| *n <= BODY_MAX).ok_or(Failure::Garbled)?;
        let mut body = vec![0; length];
        let (got, _) = receive_all(socket, &mut body, deadline)?;
        if got < length {
            return Err(Failure::Closed);
        }
        Ok(Answer { result: header.number, data: header.data, body, fd })
    }
}

/// Waits a moment for a container that is not there. False when the deadline has passed.
fn pause(deadline: Option<Instant>) -> bool {
    let rest = deadline.map_or(POLL, |end| end.saturating_duration_since(Instant::now()));
    std::thread::sleep(rest.min(POLL));
    !rest.is_zero()
}

/// The outcome of `Container::watch`.
pub enum Watched {
    /// The container is in a wanted state.
    Already(State),
    /// It is not yet.
    Waiting(Watch),
}

/// A connection that will tell of one state; one of `follow`, of all.
pub struct Watch {
    socket: OwnedFd,
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Watch {
    /// Waits for the state; None when the supervisor went away. Without a deadline it waits for as long as it takes.
    pub fn next(&self, deadline: Option<Instant>) -> Result<Option<State>, Failure> {
        match self.news(deadline)? {
            None => Ok(None),
            Some(News::State(state)) => Ok(Some(state)),
            Some(News::Exit(_) | News::Ready) => Err(Failure::Garbled),
        }
    }

    /// Waits for whatever is told next.
    pub fn news(&self, deadline: Option<Instant>) -> Result<Option<News>, Failure> {
        let mut message = [0; STATE_MESSAGE_BYTES];
        match receive_all(self.socket.as_fd(), &mut message, deadline) {
            Ok((0, _)) | Err(Failure::Closed) => Ok(None),
            Ok((STATE_MESSAGE_BYTES, _)) => proto::parse_message(&message).map(Some).ok_or(Failure::Garbled),
            Ok(_) => Err(Failure::Garbled),
            Err(other) => Err(other),
        }
    }
}

fn send_request(socket: BorrowedFd<'_>, command: Command, data: usize, body: &[u8]) -> Result<(), Failure> {
    let length = i32::try_from(body.len()).map_err(|_| Failure::Os(Errno::E2BIG))?;
    let header = Header { number: command as i32, length, data }.to_bytes();
    let sent = socket::send(socket, &[&header, body], Beside::Credentials, libc::MSG_NOSIGNAL).map_err(failure)?;
    if sent == header.len() + body.len() { Ok(()) } else { Err(Failure::TimedOut) }
}

fn receive_header(socket: BorrowedFd<'_>, deadline: Option<Instant>) -> Result<(Header, Option<OwnedFd>), Failure> {
    let mut header = [0; HEADER_BYTES];
    match receive_all(socket, &mut header, deadline)? {
        (0, _) => Err(Failure::Closed),
        (HEADER_BYTES, fd) => Header::from_bytes(&header).map(|header| (header, fd)).ok_or(Failure::Garbled),
        _ => Err(Failure::Garbled),
    }
}

fn refused(header: Header) -> Failure {
    Failure::Refused(Errno::from_raw(header.number.saturating_neg()))
}

/// Fills `buffer`, as far as the connection gives; returns how far, and a descriptor if one came.
fn receive_all(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    deadline: Option<Instant>,
) -> Result<(usize, Option<OwnedFd>), Failure> {
    let (mut got, mut gift) = (0, None);
    while let Some(space) = buffer.get_mut(got..).filter(|space| !space.is_empty()) {
        // A timeout of zero means none at all to the kernel.
        let rest = match deadline {
            None => Duration::ZERO,
            Some(end) => end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1)),
        };
        setsockopt(&socket, sockopt::ReceiveTimeout, &time(rest)).map_err(Failure::Os)?;
        match socket::receive(socket, space) {
            Ok((0, _)) => break,
            Ok((n, fd)) => {
                got += n;
                gift = gift.or(fd);
            }
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) if deadline.is_none_or(|end| Instant::now() < end) => {}
            Err(errno) => return Err(failure(errno)),
        }
    }
    Ok((got, gift))
}

fn failure(errno: Errno) -> Failure {
    match errno {
        Errno::EAGAIN => Failure::TimedOut,
        Errno::ECONNRESET | Errno::EPIPE => Failure::Closed,
        other => Failure::Os(other),
    }
}

/// A span for the kernel, not longer than some weeks.
fn time(span: Duration) -> TimeVal {
    TimeVal::milliseconds(i32::try_from(span.as_millis()).unwrap_or(i32::MAX).into())
}

/// A C string's bytes without the NUL.
fn text(mut body: Vec<u8>) -> Vec<u8> {
    if body.last() == Some(&0) {
        body.pop();
    }
    body
}
