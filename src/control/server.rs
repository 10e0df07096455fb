//! The supervisor's end of the command socket: fixed slots, no heap after `bind`, nobody is waited for.
//!
//! A connection is first a client: it has one of a few slots and a few seconds for its request. One that waits for a
//! state, or borrowed something, moves to a waiter's slot, where it may stay for as long as the container lives. Every socket
//! is non-blocking; a reply is one `sendmsg`, and who cannot take it at once is dropped. A slot's generation is part of its epoll
//! token, so an event that was meant for an earlier client never reaches a later one. What is answered is in `answer`.

use super::answer::{Facts, Order, answer};
use super::lend::{Lent, Loan};
use super::proto::{self, Frame, Header, News, Wanted};
use crate::cgroup::devices::InForce;
use crate::limits;
use crate::state::State;
use crate::sys::fds;
use crate::sys::socket::{self, Beside};
use core::ffi::CStr;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, getsockopt, listen, socket, sockopt,
};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};

/// Top byte of every epoll token that belongs to the server.
pub const TOKEN: u64 = 0x01 << 56;
const LISTENER: u64 = 0;
const CLIENT: u64 = 1;
const WAITER: u64 = 2;

/// Reads at one event of one client: enough for the longest body, few enough to be fair.
const READS: usize = 16;

/// Why there is no server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindError {
    /// Another supervisor of the same container has the address.
    AlreadyRunning,
    /// Anything else.
    Os(Errno),
}

/// A connection that has not said all yet.
pub struct Client {
    /// The connection.
    pub stream: UnixStream,
    generation: u32,
    /// When its present request began, or was allowed to begin.
    since_ms: u64,
    /// What it has said.
    pub frame: Frame,
}

/// What a waiter stays for.
#[derive(Clone, Copy)]
pub enum Purpose {
    /// One of some states.
    State(Wanted),
    /// All states and exit codes.
    News,
    /// That the container is frozen (true) or runs again.
    Frozen(bool),
    /// The end: a client of STOP.
    End,
    /// It has borrowed something.
    Loan(Loan),
}

struct Waiter {
    stream: UnixStream,
    generation: u32,
    purpose: Purpose,
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
    /// Room for `CLIENTS` once `reserve` was called; a slot's memory is touched only when it is first needed.
    clients: Vec<Option<Client>>,
    /// The first `STATE_WAITERS` for waiters, the others only for clients of STOP.
    waiters: [Option<Waiter>; limits::STATE_WAITERS + limits::STOP_WAITERS],
    generation: u32,
}

/// What one call of `handle` works with.
pub struct Round<'a> {
    /// The supervisor's.
    pub epoll: &'a Epoll,
    /// Monotonic milliseconds.
    pub now_ms: u64,
    /// What the answers are made of.
    pub facts: &'a Facts<'a>,
    /// What may be borrowed.
    pub lent: &'a mut Lent,
    /// The device rules, to which clients may add.
    pub devices: &'a mut InForce,
}

/// What becomes of a connection after its request.
pub enum After {
    /// It may send another one.
    Keep,
    /// It is closed.
    Close,
    /// It stays in this waiters' slot.
    Wait(usize, Purpose),
}

impl Server {
    /// Takes the container's address. The socket is close-on-exec and non-blocking.
    pub fn bind(lxcpath: &CStr, name: &CStr) -> Result<Server, BindError> {
        let address = proto::address(lxcpath.to_bytes(), name.to_bytes());
        // Not std's, which makes the queue as long as the system allows: 4,096 strangers would be answered before whoever comes
        // next.
        let bound = || -> nix::Result<(OwnedFd, OwnedFd)> {
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            let listener = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
            bind(listener.as_raw_fd(), &UnixAddr::new_abstract(&address)?)?;
            listen(&listener, Backlog::new(limits::BACKLOG)?)?;
            let spare = fds::copy(listener.as_fd())?;
            Ok((listener, spare))
        };
        let (listener, spare) = bound().map_err(|errno| match errno {
            Errno::EADDRINUSE => BindError::AlreadyRunning,
            other => BindError::Os(other),
        })?;
        Ok(Server {
            listener: listener.into(),
            spare: Some(spare),
            clients: Vec::new(),
            waiters: [const { None }; limits::STATE_WAITERS + limits::STOP_WAITERS],
            generation: 0,
        })
    }

    /// Makes room for the clients, one of the last things to be allocated, so that the untouched slots part nothing else.
    pub fn reserve(&mut self) {
        self.clients.reserve_exact(limits::CLIENTS);
    }

    /// Adds the listening socket to `epoll`.
    pub fn register(&self, epoll: &Epoll) -> nix::Result<()> {
        epoll.add(&self.listener, EpollEvent::new(EpollFlags::EPOLLIN, TOKEN | (LISTENER << 48)))
    }

    /// Handles one epoll event whose token has `TOKEN` as its top byte. An order, if one came, is to be carried out by the
    /// caller; requests behind it are still in their sockets and come with the next event.
    pub fn handle(&mut self, token: u64, round: &mut Round<'_>) -> Option<Order> {
        let index = usize::from((token >> 32) as u16);
        let generation = token as u32;
        match (token >> 48) & 0xff {
            LISTENER => self.accept(round),
            CLIENT => {
                let client = self.clients.get(index)?.as_ref()?;
                if client.generation == generation { self.serve(index, round) } else { None }
            }
            // A waiter is watched for its leaving only.
            WAITER => {
                let slot = self.waiters.get_mut(index)?;
                if let Some(waiter) = slot.take_if(|waiter| waiter.generation == generation) {
                    if let Purpose::Loan(loan) = waiter.purpose {
                        round.lent.release(loan, round.epoll);
                    }
                    close(waiter.stream, round.epoll);
                }
                None
            }
            _ => None,
        }
    }

    /// Tells the waiters what is new. Who waited for just this is closed behind the message, as LXC does.
    pub fn tell(&mut self, news: News, name: &CStr, epoll: &Epoll) {
        if self.waiters.iter().all(Option::is_none) {
            return;
        }
        let message = proto::message(news, name.to_bytes());
        for slot in &mut self.waiters {
            let Some(waiter) = slot else { continue };
            let (said, stays) = match (waiter.purpose, news) {
                (Purpose::News, _) => (send(&waiter.stream, &message), true),
                (Purpose::State(wanted), News::State(state)) if wanted.wants(state) => {
                    (send(&waiter.stream, &message), false)
                }
                (Purpose::Frozen(frozen), News::State(state)) => match frozen_answer(frozen, state) {
                    Some(result) => {
                        (send(&waiter.stream, &Header { number: result, length: 0, data: 0 }.to_bytes()), false)
                    }
                    None => continue,
                },
                _ => continue,
            };
            if !(said && stays)
                && let Some(waiter) = slot.take()
            {
                close(waiter.stream, epoll);
            }
        }
    }

    /// The life is over: who borrowed one of its ttys is told by the end of the connection.
    pub fn end_ttys(&mut self, epoll: &Epoll) {
        for slot in &mut self.waiters {
            if let Some(waiter) = slot.take_if(|waiter| matches!(waiter.purpose, Purpose::Loan(Loan::Tty(_)))) {
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

    fn accept(&mut self, round: &mut Round<'_>) -> Option<Order> {
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
                        self.spare = fds::copy(self.listener.as_fd()).ok();
                    }
                    Errno::EINTR | Errno::ECONNABORTED => {}
                    _ => return None,
                },
            }
        }
        None
    }

    /// Gives a new connection a slot and looks at once whether its request is there already.
    fn admit(&mut self, stream: UnixStream, round: &mut Round<'_>) -> Option<Order> {
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
    fn room(&mut self, round: &mut Round<'_>) -> Option<(usize, Option<Order>)> {
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
    fn serve(&mut self, index: usize, round: &mut Round<'_>) -> Option<Order> {
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
                let (after, order) = answer(self, &client, round);
                match after {
                    After::Keep => {
                        client.frame.clear();
                        client.since_ms = round.now_ms;
                        *self.clients.get_mut(index)? = Some(client);
                    }
                    After::Close => close(client.stream, round.epoll),
                    After::Wait(place, purpose) => self.wait(client, place, purpose, round),
                }
                order
            }
        }
    }

    /// Moves a client to the waiters' slot `place`. Only its leaving is watched from here on.
    fn wait(&mut self, client: Client, place: usize, purpose: Purpose, round: &mut Round<'_>) {
        let Client { stream, generation, .. } = client;
        let mut event = EpollEvent::new(EpollFlags::EPOLLRDHUP, token(WAITER, place, generation));
        match self.waiters.get_mut(place) {
            Some(slot) if round.epoll.modify(&stream, &mut event).is_ok() => {
                *slot = Some(Waiter { stream, generation, purpose });
            }
            _ => {
                if let Purpose::Loan(loan) = purpose {
                    round.lent.release(loan, round.epoll);
                }
                close(stream, round.epoll);
            }
        }
    }

    /// A free slot of the waiters (`first` = 0) or of the clients of STOP (`first` = `STATE_WAITERS`).
    pub fn free_waiter(&self, first: usize) -> Option<usize> {
        let count = if first == 0 { limits::STATE_WAITERS } else { limits::STOP_WAITERS };
        self.waiters.iter().skip(first).take(count).position(Option::is_none).map(|index| first + index)
    }
}

/// How everything is sent: nobody is waited for, nobody's death is our signal.
pub const SEND: libc::c_int = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;

fn send(stream: &UnixStream, bytes: &[u8]) -> bool {
    socket::send(stream.as_fd(), &[bytes], Beside::Nothing, SEND).is_ok_and(|sent| sent == bytes.len())
}

/// What a client of FREEZE or UNFREEZE is told in a state; None: it is on the way.
fn frozen_answer(frozen: bool, state: State) -> Option<i32> {
    match (frozen, state) {
        (true, State::Frozen) | (false, State::Running) => Some(0),
        (_, State::Freezing | State::Frozen | State::Running | State::Thawed) => None,
        _ => Some(-(Errno::ESRCH as i32)),
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
