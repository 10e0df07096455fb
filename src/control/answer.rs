//! What the supervisor answers to each command.

use super::lend::Loan;
use super::proto::{self, Command, ConsoleLog, Header, StopMode, StopOrder, Wanted};
use super::server::{After, Client, Purpose, Round, SEND, Server};
use crate::aside;
use crate::cgroup::find::{Hierarchies, Hierarchy};
use crate::cgroup::{self, devices, freeze};
use crate::config::{self, Config};
use crate::limits;
use crate::rootfs::beneath::Root;
use crate::state::State;
use crate::sys::socket::{self, Beside};
use crate::text::Line;
use core::ffi::CStr;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

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
    /// The hierarchies of this host.
    pub hierarchies: &'a Hierarchies<'a>,
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
        /// Milliseconds until the kill; -1 = the config's `monopod.timeout.stop`.
        timeout_ms: i64,
    },
    /// Somebody freezes (true) or thaws: look when it is done.
    Frozen(bool),
    /// The size of a viewer's terminal changed.
    Resized,
}

impl Order {
    /// Whether it calls a start off, or ends the wait for one.
    pub fn ends(self) -> bool {
        matches!(self, Order::Kill | Order::Stop { mode: StopMode::Halt | StopMode::Kill, .. })
    }
}

/// Answers a whole request.
pub fn answer(server: &Server, client: &Client, round: &mut Round<'_>) -> (After, Option<Order>) {
    let reply = Reply { stream: &client.stream };
    let facts = round.facts;
    let header = client.frame.header();
    let Some((command, data)) = header.and_then(|header| Some((Command::from_wire(header.number)?, header.data)))
    else {
        return (reply.refuse(Errno::ENOSYS), None);
    };
    let Some(body) = client.frame.body() else { return (reply.refuse(Errno::E2BIG), None) };
    // What stays takes a waiter's slot.
    let place = || server.free_waiter(0).ok_or(Errno::EBUSY);
    let after = match command {
        Command::TerminalWinch => return (reply.number(0, 0), Some(Order::Resized)),
        Command::GetState => reply.number(0, facts.state as i32),
        Command::GetInitPid => reply.number(0, facts.init_pid),
        Command::GetCloneFlags => reply.number(0, facts.clone_flags),
        Command::GetName => reply.text(facts.config.name.to_bytes_with_nul()),
        Command::GetLxcpath => reply.text(facts.config.lxcpath.to_bytes_with_nul()),
        Command::Status => reply.text(facts.status),
        Command::GetCgroup | Command::GetLimitCgroup => match CStr::from_bytes_until_nul(body) {
            Ok(controller) => {
                let base = hierarchy_of(facts, controller.to_bytes()).map_or(c"", |hierarchy| hierarchy.base);
                reply.parts(&[base.to_bytes(), b"/", group_of(facts, command).to_bytes_with_nul()])
            }
            Err(_) => reply.refuse(Errno::EINVAL),
        },
        Command::GetConfigItem => config_item(&reply, facts.config, body),
        Command::GetInitPidfd => match facts.init_pid {
            0 => reply.refuse(Errno::ESRCH),
            pid => reply.fd(socket::pidfd_open(pid)),
        },
        Command::GetDevptsFd => reply.fd(devpts(facts.init_pid)),
        Command::GetCgroup2Fd | Command::GetLimitCgroup2Fd => {
            reply.fd(directory_of(facts, b"", group_of(facts, command)).map(|(_, fd)| fd))
        }
        Command::GetCgroupFd | Command::GetLimitCgroupFd => cgroup_fd(&reply, facts, body, group_of(facts, command)),
        Command::GetCgroupCtx => cgroup_ctx(&reply, facts),
        Command::AddBpfDeviceCgroup => add_device(&reply, round, body),
        Command::ConsoleLog => console_log(&reply, round, body),
        Command::ConsoleTail => console_tail(&reply, round, body),
        Command::GetTtyFd => match place() {
            Ok(place) => lend(&reply, round, data as i32, place),
            Err(errno) => reply.refuse(errno),
        },
        Command::AddStateClient => match Wanted::from_bytes(body) {
            None => reply.refuse(Errno::EINVAL),
            Some(wanted) if wanted.met_by(facts.state) => reply.number(facts.state as i32, facts.state as i32),
            Some(wanted) => {
                reply.stay(place(), State::ALL.len() as i32, State::ALL.len() as i32, Purpose::State(wanted))
            }
        },
        Command::Subscribe => reply.stay(place(), 0, facts.state as i32, Purpose::News),
        Command::ServeStateClients => {
            // The freezer itself is asked what is true.
            let order = match State::from_wire(data as i32) {
                Some(State::Freezing | State::Frozen) => Some(Order::Frozen(true)),
                Some(State::Thawed | State::Running) => Some(Order::Frozen(false)),
                _ => None,
            };
            return (reply.number(0, 0), order);
        }
        Command::Freeze | Command::Unfreeze => return frozen(&reply, round, command == Command::Freeze, place()),
        Command::Stop => {
            return match server.free_waiter(limits::STATE_WAITERS) {
                Some(place) => (After::Wait(place, Purpose::End), Some(Order::Kill)),
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

    /// The same, and the connection stays, if there is a place for it.
    fn stay(&self, place: nix::Result<usize>, result: i32, data: i32, purpose: Purpose) -> After {
        match place.map(|place| (place, self.number(result, data))) {
            Ok((place, After::Keep)) => After::Wait(place, purpose),
            Ok((_, other)) => other,
            Err(errno) => self.refuse(errno),
        }
    }

    fn text(&self, body: &[u8]) -> After {
        self.bytes([body, &[]])
    }

    fn bytes(&self, body: [&[u8]; 2]) -> After {
        let length = body.iter().map(|part| part.len()).sum::<usize>();
        let Ok(length) = i32::try_from(length) else { return self.refuse(Errno::E2BIG) };
        self.send(Header { number: 0, length, data: 0 }, &body, Beside::Nothing)
    }

    fn parts(&self, parts: &[&[u8]]) -> After {
        let mut whole = Line::<{ limits::PATH_BYTES }>::new();
        parts.iter().for_each(|part| whole.push(part));
        if whole.truncated() { self.refuse(Errno::E2BIG) } else { self.text(whole.bytes()) }
    }

    /// Success with a descriptor beside it.
    fn fd(&self, fd: nix::Result<OwnedFd>) -> After {
        match fd {
            Ok(fd) => self.send(Header { number: 0, length: 0, data: 0 }, &[], Beside::Fd(fd.as_fd())),
            Err(errno) => self.refuse(errno),
        }
    }

    fn send(&self, header: Header, body: &[&[u8]], beside: Beside<'_>) -> After {
        let header = header.to_bytes();
        let mut parts: heapless::Vec<&[u8], 4> = heapless::Vec::new();
        let _ = parts.push(&header);
        parts.extend(body.iter().copied());
        let whole = parts.iter().map(|part| part.len()).sum::<usize>();
        match socket::send(self.stream.as_fd(), &parts, beside, SEND) {
            Ok(sent) if sent == whole => After::Keep,
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

/// The container's own devpts. The path is the guest's, so no link is followed; and it must be a devpts.
fn devpts(init: i32) -> nix::Result<OwnedFd> {
    if init == 0 {
        return Err(Errno::ESRCH);
    }
    let look = || {
        let fd = Root::of(init)?.look_up(b"dev/pts", OFlag::O_PATH | OFlag::O_DIRECTORY)?;
        let kind = nix::sys::statfs::fstatfs(&fd)?.filesystem_type();
        if kind == nix::sys::statfs::DEVPTS_SUPER_MAGIC { Ok(([0; 3], Some(fd))) } else { Err(Errno::ENOTTY) }
    };
    aside::ask(&look)?.1.ok_or(Errno::ENOTTY)
}

/// Which group a command asks for: init's, or the one with the limits.
fn group_of<'a>(facts: &Facts<'a>, command: Command) -> &'a CStr {
    match command {
        Command::GetLimitCgroup | Command::GetLimitCgroup2Fd | Command::GetLimitCgroupFd => facts.config.groups.limit,
        _ => facts.config.groups.container,
    }
}

/// The hierarchy of `controller`, or v2 where that has it or none is named.
fn hierarchy_of<'h, 't>(facts: &Facts<'h>, controller: &[u8]) -> Option<&'h Hierarchy<'t>>
where
    'h: 't,
{
    let hierarchies = facts.hierarchies;
    let v1 = hierarchies.iter().find(|one| !controller.is_empty() && one.has(controller));
    v1.or_else(|| hierarchies.iter().find(|one| one.v2))
}

/// A group in that hierarchy.
fn directory_of<'h, 't>(facts: &Facts<'h>, controller: &[u8], group: &CStr) -> nix::Result<(&'h Hierarchy<'t>, OwnedFd)>
where
    'h: 't,
{
    let hierarchy = hierarchy_of(facts, controller).ok_or(Errno::ENOENT)?;
    cgroup::directory(hierarchy, group).map(|fd| (hierarchy, fd))
}

/// LXC's number for how the hierarchies are laid out: legacy, hybrid, unified.
fn layout(hierarchies: &Hierarchies<'_>) -> i32 {
    let (v1, v2) = (hierarchies.iter().any(|one| !one.v2), hierarchies.iter().any(|one| one.v2));
    match (v1, v2) {
        (true, false) => 0,
        (true, true) => 1,
        (false, _) => 2,
    }
}

fn cgroup_fd(reply: &Reply<'_>, facts: &Facts<'_>, body: &[u8], group: &CStr) -> After {
    let Some(controller) = proto::cgroup_fd_controller(body) else { return reply.refuse(Errno::EINVAL) };
    match directory_of(facts, controller, group) {
        Ok((hierarchy, fd)) => {
            let kind = if hierarchy.v2 { libc::CGROUP2_SUPER_MAGIC } else { libc::CGROUP_SUPER_MAGIC };
            let ints = [layout(facts.hierarchies), 0, kind as i32, fd.as_raw_fd()];
            let body: [u8; proto::CGROUP_FD_BYTES] = proto::with_ints(&ints, body);
            let header = Header { number: 0, length: body.len() as i32, data: 0 };
            reply.send(header, &[&body], Beside::Fd(fd.as_fd()))
        }
        Err(errno) => reply.refuse(errno),
    }
}

fn cgroup_ctx(reply: &Reply<'_>, facts: &Facts<'_>) -> After {
    let mut fds: heapless::Vec<OwnedFd, 20> = heapless::Vec::new();
    let directories =
        facts.hierarchies.iter().filter_map(|one| cgroup::directory(one, facts.config.groups.container).ok());
    fds.extend(directories.take(20));
    if fds.is_empty() {
        return reply.refuse(Errno::ENOENT);
    }
    let mut ints: heapless::Vec<i32, 24> = heapless::Vec::new();
    ints.extend([layout(facts.hierarchies), 0, fds.len() as i32]);
    ints.extend(fds.iter().map(AsRawFd::as_raw_fd));
    let body: [u8; proto::CGROUP_CTX_BYTES] = proto::with_ints(&ints, &[]);
    reply.send(Header { number: 0, length: body.len() as i32, data: 0 }, &[&body], Beside::Fds(&fds))
}

fn add_device(reply: &Reply<'_>, round: &mut Round<'_>, body: &[u8]) -> After {
    let Some(rule) = devices::from_wire(body) else { return reply.refuse(Errno::EINVAL) };
    let v2 = round.facts.hierarchies.iter().find(|one| one.v2).ok_or(Errno::ENOENT);
    let directory = v2.and_then(|v2| cgroup::directory(v2, round.facts.config.groups.limit));
    match directory.and_then(|directory| round.devices.add(rule, round.facts.config, directory.as_fd())) {
        Ok(()) => reply.number(0, 0),
        Err(errno) => reply.refuse(errno),
    }
}

/// LXC's reading of the console's ring: what was read is forgotten.
fn console_log(reply: &Reply<'_>, round: &mut Round<'_>, body: &[u8]) -> After {
    let Some(asked) = ConsoleLog::from_bytes(body) else { return reply.refuse(Errno::EINVAL) };
    // What LXC answers where no ring is configured.
    let Some(ring) = round.lent.ring.as_mut() else { return reply.refuse(Errno::EFAULT) };
    let most = if asked.most == 0 { usize::MAX } else { usize::try_from(asked.most).unwrap_or(usize::MAX) };
    let after = match asked.read {
        true if ring.is_empty() => reply.refuse(Errno::ENODATA),
        true => reply.bytes(ring.slice(0, most.min(limits::CONSOLE_LOG_BYTES))),
        false => reply.number(0, 0),
    };
    if asked.clear {
        ring.forget(usize::MAX);
    } else if asked.read && matches!(after, After::Keep) {
        ring.forget(most.min(limits::CONSOLE_LOG_BYTES));
    } else if !asked.read && asked.most > 0 {
        ring.forget(most);
    }
    after
}

/// Our own: a look at the ring. The number beside the text is how many bytes there are in all.
fn console_tail(reply: &Reply<'_>, round: &mut Round<'_>, body: &[u8]) -> After {
    let Some(ring) = round.lent.ring.as_ref() else { return reply.refuse(Errno::EFAULT) };
    let Ok(from) = body.try_into().map(u64::from_ne_bytes) else { return reply.refuse(Errno::EINVAL) };
    reply.bytes(ring.slice(usize::try_from(from).unwrap_or(usize::MAX), limits::CONSOLE_LOG_BYTES))
}

/// Lends a tty, or a view of the console for 0.
fn lend(reply: &Reply<'_>, round: &mut Round<'_>, number: i32, place: usize) -> After {
    let header = |number: usize| Header { number: 0, length: 0, data: number };
    let (loan, sent) = if number == 0 {
        match round.lent.view(round.epoll) {
            Ok((index, master)) => (Loan::View(index), reply.send(header(0), &[], Beside::Fd(master.as_fd()))),
            Err(errno) => return reply.refuse(errno),
        }
    } else {
        match round.lent.tty(number) {
            Ok((index, master)) => (Loan::Tty(index), reply.send(header(index + 1), &[], Beside::Fd(master))),
            Err(errno) => return reply.refuse(errno),
        }
    };
    if matches!(sent, After::Keep) {
        return After::Wait(place, Purpose::Loan(loan));
    }
    round.lent.release(loan, round.epoll);
    sent
}

/// Begins to freeze or thaw; the client hears of it when it is done.
fn frozen(reply: &Reply<'_>, round: &mut Round<'_>, frozen: bool, place: nix::Result<usize>) -> (After, Option<Order>) {
    let facts = round.facts;
    let begun = match facts.state {
        State::Running | State::Freezing | State::Frozen | State::Thawed => {
            place.and_then(|place| freeze::set(facts.hierarchies, facts.config.groups.limit, frozen).map(|()| place))
        }
        _ => Err(Errno::ESRCH),
    };
    match begun {
        Err(errno) => (reply.refuse(errno), None),
        // Nothing to wait for: no change of state will come.
        Ok(_) if frozen == (facts.state == State::Frozen) && facts.state != State::Freezing => {
            (reply.number(0, 0), None)
        }
        Ok(place) => (After::Wait(place, Purpose::Frozen(frozen)), Some(Order::Frozen(frozen))),
    }
}
