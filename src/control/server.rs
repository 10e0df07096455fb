//! The supervisor's end of the command socket: fixed slots, no heap after `bind`, nobody is waited for.
//!
//! A connection is first a client: it has one of a few slots and a few seconds for its request. One that waits for a
//! state moves to a waiter's slot, where it may stay for as long as the container lives. Every socket is non-blocking; a
//! reply is one `sendmsg`, and who cannot take it at once is dropped. A slot's generation is part of its epoll token, so
//! an event that was meant for an earlier client never reaches a later one.

use super::proto::{self, Command, Frame, Header, StopOrder, Wanted};
use crate::config::{self, Config};
use crate::limits;
use crate::state::State;
use crate::sys::socket::{self, Beside};
use crate::text::Line;
use core::ffi::CStr;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};
use nix::sys::socket::{getsockopt, sockopt};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

pub use super::proto::StopMode;

/// Top byte of every epoll token that belongs to the server.
pub const TOKEN: u64 = 0x01 << 56;
const LISTENER: u64 = 0;
const CLIENT: u64 = 1;
const WAITER: u64 = 2;

/// Reads at one event of one client: enough for the longest body, few enough to be fair.
const READS: usize = 16;

/// What the answers are made of, gathered by the supervisor for one call.
pub struct Facts<'a> {
    /// The container's state.
    pub state: State,
    /// init's pid as the host counts it; 0 = there is none.
    pub init_pid: i32,
    /// The CLONE_* flags that init was cloned with.
    pub clone_flags: i32,
    /// The effective config.
    pub config: &'a Config<'a>,
    /// Where the container is inside a cgroup hierarchy, without the leading slash: `lxc/NAME`.
    pub cgroup: &'a CStr,
    /// The text of a STATUS reply: `key=value` lines.
    pub status: &'a [u8],
}

/// What a client asked the supervisor to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// LXC's STOP: send init `lxc.signal.stop`. The client is told by the end of its connection, when the server shuts.
    Kill,
    /// Our own STOP_ORDER. The client has its reply already.
    Stop {
        /// What to do to the container.
        mode: StopMode,
        /// Never follow up with a kill.
        never_kill: bool,
        /// Milliseconds until the kill; -1 = the config's `monopod.timeout.stop`, 0 = do not wait.
        timeout_ms: i64,
    },
}

/// Why there is no server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindError {
    /// Another supervisor of the same container has the address.
    AlreadyRunning,
    /// Anything else.
    Os(Errno),
}

struct Client {
    stream: UnixStream,
    generation: u32,
    /// When its present request began, or was allowed to begin.
    since_ms: u64,
    frame: Frame,
}

struct Waiter {
    stream: UnixStream,
    generation: u32,
    /// Empty for a client of STOP, which waits for the end.
    wanted: Wanted,
}

/// The command socket with its clients.
///
/// Dropping it first gives up the address, then closes all clients (the order of the fields): the end of the connection tells
/// waiters STOPPED, and one that asks again must find the address free.
pub struct Server {
    listener: UnixListener,
    /// A descriptor to give up when none is left, so that a connection can still be accepted and closed: left in the
    /// backlog, it would wake the supervisor for ever.
    spare: Option<OwnedFd>,
    /// Room for `CLIENTS` from the start; a slot's memory is touched only when it is first needed.
    clients: Vec<Option<Client>>,
    /// The first `STATE_WAITERS` for waiters, the others only for clients of STOP.
    waiters: [Option<Waiter>; limits::STATE_WAITERS + limits::STOP_WAITERS],
    generation: u32,
}

/// What one call of `handle` works with.
struct Round<'a> {
    epoll: &'a Epoll,
    now_ms: u64,
    facts: &'a Facts<'a>,
}

/// What becomes of a connection after its request.
enum After {
    /// It may send another one.
    Keep,
    /// It is closed.
    Close,
    /// It stays until a state comes or the server shuts.
    Wait(usize, Wanted),
}

impl Server {
    /// Takes the container's address. The socket is close-on-exec and non-blocking.
    pub fn bind(lxcpath: &CStr, name: &CStr) -> Result<Server, BindError> {
        let address = proto::address(lxcpath.to_bytes(), name.to_bytes());
        let bind = || -> io::Result<(UnixListener, OwnedFd)> {
            let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&address)?)?;
            listener.set_nonblocking(true)?;
            let spare = listener.as_fd().try_clone_to_owned()?;
            Ok((listener, spare))
        };
        let (listener, spare) = bind().map_err(|error| match errno(&error) {
            Errno::EADDRINUSE => BindError::AlreadyRunning,
            other => BindError::Os(other),
        })?;
        Ok(Server {
            listener,
            spare: Some(spare),
            clients: Vec::with_capacity(limits::CLIENTS),
            waiters: [const { None }; limits::STATE_WAITERS + limits::STOP_WAITERS],
            generation: 0,
        })
    }

    /// Adds the listening socket to `epoll`.
    pub fn register(&self, epoll: &Epoll) -> nix::Result<()> {
        epoll.add(&self.listener, EpollEvent::new(EpollFlags::EPOLLIN, TOKEN | (LISTENER << 48)))
    }

    /// Handles one epoll event whose token has `TOKEN` as its top byte. `now_ms` is monotonic time. An order, if one came,
    /// is to be carried out by the caller; requests behind it are still in their sockets and come with the next event.
    pub fn handle(
        &mut self,
        token: u64,
        _events: EpollFlags,
        epoll: &Epoll,
        now_ms: u64,
        facts: &Facts<'_>,
    ) -> Option<Order> {
        let round = Round { epoll, now_ms, facts };
        let index = usize::from((token >> 32) as u16);
        let generation = token as u32;
        match (token >> 48) & 0xff {
            LISTENER => self.accept(&round),
            CLIENT => {
                let client = self.clients.get(index)?.as_ref()?;
                if client.generation == generation { self.serve(index, &round) } else { None }
            }
            // A waiter is watched for its leaving only.
            WAITER => {
                let slot = self.waiters.get_mut(index)?;
                if let Some(waiter) = slot.take_if(|waiter| waiter.generation == generation) {
                    close(waiter.stream, epoll);
                }
                None
            }
            _ => None,
        }
    }

    /// Tells the waiters of `state`. Their connections are closed behind the message, as LXC does.
    pub fn state_changed(&mut self, state: State, name: &CStr, epoll: &Epoll) {
        let message = proto::state_message(state, name.to_bytes());
        for slot in &mut self.waiters {
            if let Some(waiter) = slot.take_if(|waiter| waiter.wanted.wants(state)) {
                let _ = socket::send(waiter.stream.as_fd(), &message, &[], Beside::Nothing, SEND);
                close(waiter.stream, epoll);
            }
        }
    }

    /// When `expire` is next needed, in monotonic milliseconds; None while no client is connected.
    pub fn next_deadline(&self) -> Option<u64> {
        self.clients.iter().flatten().map(|client| client.since_ms + limits::REQUEST_MS).min()
    }

    /// Closes the clients that did not finish their request in time.
    pub fn expire(&mut self, now_ms: u64, epoll: &Epoll) {
        for slot in &mut self.clients {
            if let Some(client) = slot.take_if(|client| client.since_ms + limits::REQUEST_MS <= now_ms) {
                close(client.stream, epoll);
            }
        }
    }

    fn accept(&mut self, round: &Round<'_>) -> Option<Order> {
        for _ in 0..limits::ACCEPT_BATCH {
            match self.listener.accept() {
                Ok((stream, _)) if trusted(&stream) => {
                    let order = self.admit(stream, round);
                    if order.is_some() {
                        return order;
                    }
                }
                Ok(_) => {}
                Err(error) => match errno(&error) {
                    Errno::EMFILE | Errno::ENFILE => {
                        self.spare = None;
                        drop(self.listener.accept());
                        self.spare = self.listener.as_fd().try_clone_to_owned().ok();
                    }
                    Errno::EINTR | Errno::ECONNABORTED => {}
                    _ => return None,
                },
            }
        }
        None
    }

    /// Gives a new connection a slot and looks at once whether its request is there already.
    fn admit(&mut self, stream: UnixStream, round: &Round<'_>) -> Option<Order> {
        stream.set_nonblocking(true).ok()?;
        let (index, order) = self.room(round)?;
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let event = EpollEvent::new(EpollFlags::EPOLLIN, token(CLIENT, index, generation));
        if round.epoll.add(&stream, event).is_ok() {
            *self.clients.get_mut(index)? =
                Some(Client { stream, generation, since_ms: round.now_ms, frame: Frame::new() });
        }
        if order.is_some() { order } else { self.serve(index, round) }
    }

    /// A free slot; if there is none, that of the client silent for longest, after a last look at what it sent.
    fn room(&mut self, round: &Round<'_>) -> Option<(usize, Option<Order>)> {
        if let Some(index) = self.clients.iter().position(Option::is_none) {
            return Some((index, None));
        }
        if self.clients.len() < limits::CLIENTS {
            self.clients.push(None);
            return Some((self.clients.len() - 1, None));
        }
        let ages = self.clients.iter().map(|slot| slot.as_ref().map(|client| (client.since_ms, client.generation)));
        let (index, _) = ages.enumerate().min_by_key(|(_, age)| *age)?;
        let order = self.serve(index, round);
        if let Some(client) = self.clients.get_mut(index)?.take() {
            close(client.stream, round.epoll);
        }
        Some((index, order))
    }

    /// Reads what a client has sent and answers if that is a whole request.
    fn serve(&mut self, index: usize, round: &Round<'_>) -> Option<Order> {
        let mut client = self.clients.get_mut(index)?.take()?;
        match receive(&mut client) {
            Received::Part => {
                *self.clients.get_mut(index)? = Some(client);
                None
            }
            Received::End => {
                close(client.stream, round.epoll);
                None
            }
            Received::Request => {
                let (after, order) = self.answer(&client, round.facts);
                match after {
                    After::Keep => {
                        client.frame.clear();
                        client.since_ms = round.now_ms;
                        *self.clients.get_mut(index)? = Some(client);
                    }
                    After::Close => close(client.stream, round.epoll),
                    After::Wait(place, wanted) => self.wait(client, place, wanted, round.epoll),
                }
                order
            }
        }
    }

    /// Moves a client to the waiters' slot `place`. Only its leaving is watched from here on.
    fn wait(&mut self, client: Client, place: usize, wanted: Wanted, epoll: &Epoll) {
        let Client { stream, generation, .. } = client;
        let mut event = EpollEvent::new(EpollFlags::EPOLLRDHUP, token(WAITER, place, generation));
        match self.waiters.get_mut(place) {
            Some(slot) if epoll.modify(&stream, &mut event).is_ok() => {
                *slot = Some(Waiter { stream, generation, wanted });
            }
            _ => close(stream, epoll),
        }
    }

    /// Answers a whole request.
    fn answer(&self, client: &Client, facts: &Facts<'_>) -> (After, Option<Order>) {
        let reply = Reply { stream: &client.stream };
        let command = client.frame.header().and_then(|header| Command::from_wire(header.number));
        let Some(command) = command else { return (reply.refuse(Errno::ENOSYS), None) };
        let Some(body) = client.frame.body() else { return (reply.refuse(Errno::E2BIG), None) };
        let after = match command {
            Command::TerminalWinch => reply.number(0, 0),
            Command::GetState => reply.number(0, facts.state as i32),
            Command::GetInitPid => reply.number(0, facts.init_pid),
            Command::GetCloneFlags => reply.number(0, facts.clone_flags),
            Command::GetName => reply.text(facts.config.name.to_bytes_with_nul()),
            Command::GetLxcpath => reply.text(facts.config.lxcpath.to_bytes_with_nul()),
            Command::Status => reply.text(facts.status),
            Command::GetCgroup => match CStr::from_bytes_until_nul(body) {
                // The path is the same in every hierarchy, whatever the controller.
                Ok(_) => reply.parts(b"/", facts.cgroup.to_bytes_with_nul()),
                Err(_) => reply.refuse(Errno::EINVAL),
            },
            Command::GetConfigItem => config_item(&reply, facts.config, body),
            Command::GetInitPidfd => init_pidfd(&reply, facts.init_pid),
            // What LXC answers when no tty is free.
            Command::GetTtyFd => reply.refuse(Errno::EBADF),
            Command::ConsoleLog
            | Command::ServeStateClients
            | Command::AddBpfDeviceCgroup
            | Command::Freeze
            | Command::Unfreeze
            | Command::GetCgroup2Fd
            | Command::GetLimitCgroup
            | Command::GetLimitCgroup2Fd
            | Command::GetDevptsFd
            | Command::GetCgroupFd
            | Command::GetLimitCgroupFd
            | Command::Subscribe => reply.refuse(Errno::ENOSYS),
            Command::AddStateClient => match Wanted::from_bytes(body) {
                None => reply.refuse(Errno::EINVAL),
                Some(wanted) if wanted.met_by(facts.state) => reply.number(facts.state as i32, facts.state as i32),
                Some(wanted) => match self.free_waiter(0) {
                    None => reply.refuse(Errno::EBUSY),
                    Some(place) => match reply.number(State::ALL.len() as i32, State::ALL.len() as i32) {
                        After::Keep => After::Wait(place, wanted),
                        other => other,
                    },
                },
            },
            Command::Stop => {
                return match self.free_waiter(limits::STATE_WAITERS) {
                    Some(place) => (After::Wait(place, Wanted::default()), Some(Order::Kill)),
                    None => (reply.refuse(Errno::EBUSY), None),
                };
            }
            Command::StopOrder => {
                return match StopOrder::from_bytes(body) {
                    Some(StopOrder { mode, never_kill, timeout_ms }) => {
                        (reply.number(0, 0), Some(Order::Stop { mode, never_kill, timeout_ms }))
                    }
                    None => (reply.refuse(Errno::EINVAL), None),
                };
            }
        };
        (after, None)
    }

    /// A free slot of the waiters (`first` = 0) or of the clients of STOP (`first` = `STATE_WAITERS`).
    fn free_waiter(&self, first: usize) -> Option<usize> {
        let count = if first == 0 { limits::STATE_WAITERS } else { limits::STOP_WAITERS };
        self.waiters.iter().skip(first).take(count).position(Option::is_none).map(|index| first + index)
    }
}

/// How replies are sent: nobody is waited for, nobody's death is our signal.
const SEND: libc::c_int = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;

/// A reply about to be sent. Each form ends the same: `Keep` if it went out whole, else `Close`.
struct Reply<'a> {
    stream: &'a UnixStream,
}

impl Reply<'_> {
    fn refuse(&self, errno: Errno) -> After {
        self.number(-(errno as i32), 0)
    }

    /// A result and a number in the place of the pointer.
    fn number(&self, result: i32, data: i32) -> After {
        self.send(Header { number: result, length: 0, data: data as isize as usize }, &[], Beside::Nothing)
    }

    fn text(&self, body: &[u8]) -> After {
        let Ok(length) = i32::try_from(body.len()) else { return self.refuse(Errno::E2BIG) };
        self.send(Header { number: 0, length, data: 0 }, body, Beside::Nothing)
    }

    fn parts(&self, first: &[u8], second: &[u8]) -> After {
        let mut whole = Line::<{ limits::PATH_BYTES }>::new();
        whole.push(first);
        whole.push(second);
        if whole.truncated() { self.refuse(Errno::E2BIG) } else { self.text(whole.bytes()) }
    }

    fn send(&self, header: Header, body: &[u8], beside: Beside<'_>) -> After {
        let header = header.to_bytes();
        match socket::send(self.stream.as_fd(), &header, body, beside, SEND) {
            Ok(sent) if sent == header.len() + body.len() => After::Keep,
            _ => After::Close,
        }
    }
}

fn config_item(reply: &Reply<'_>, config: &Config<'_>, body: &[u8]) -> After {
    let Ok(key) = CStr::from_bytes_until_nul(body) else { return reply.refuse(Errno::EINVAL) };
    let mut value = Line::<{ limits::REPLY_BYTES }>::new();
    // LXC's answer for a key that has no value is -1, which is -EPERM by number.
    if config::get(config, key.to_bytes(), &mut value).is_none() || value.bytes().is_empty() {
        return reply.refuse(Errno::EPERM);
    }
    value.push(b"\0");
    if value.truncated() { reply.refuse(Errno::E2BIG) } else { reply.text(value.bytes()) }
}

fn init_pidfd(reply: &Reply<'_>, pid: i32) -> After {
    if pid == 0 {
        return reply.refuse(Errno::ESRCH);
    }
    match socket::pidfd_open(pid) {
        Ok(pidfd) => reply.send(Header { number: 0, length: 0, data: 0 }, &[], Beside::Fd(pidfd.as_fd())),
        Err(errno) => reply.refuse(errno),
    }
}

enum Received {
    /// More is to come.
    Part,
    /// A whole request is in the frame.
    Request,
    /// The client has left, or speaks something else.
    End,
}

/// Reads up to the end of the present request, never beyond it.
fn receive(client: &mut Client) -> Received {
    let mut buffer = [0; 1024];
    for _ in 0..READS {
        let Ok(missing) = client.frame.missing() else { return Received::End };
        let Some(space) = buffer.get_mut(..missing.min(1024)) else { return Received::End };
        match client.stream.read(space) {
            Ok(0) => return Received::End,
            Ok(n) => client.frame.push(buffer.get(..n).unwrap_or_default()),
            Err(error) => {
                return match errno(&error) {
                    Errno::EAGAIN | Errno::EINTR => Received::Part,
                    _ => Received::End,
                };
            }
        }
        match client.frame.missing() {
            Ok(0) => return Received::Request,
            Ok(_) => {}
            Err(proto::Bad) => return Received::End,
        }
    }
    Received::Part
}

/// root and our own user may give orders, nobody else.
fn trusted(stream: &UnixStream) -> bool {
    getsockopt(stream, sockopt::PeerCredentials)
        .is_ok_and(|peer| peer.uid() == 0 || peer.uid() == nix::unistd::geteuid().as_raw())
}

/// Takes a connection out of the epoll set before closing it: while a child between fork and exec still holds a copy, the
/// close alone would leave it there, waking us for ever.
fn close(stream: UnixStream, epoll: &Epoll) {
    let _ = epoll.delete(&stream);
}

fn token(kind: u64, index: usize, generation: u32) -> u64 {
    TOKEN | (kind << 48) | ((index as u64) << 32) | u64::from(generation)
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(0))
}

#[cfg(test)]
mod tests;
