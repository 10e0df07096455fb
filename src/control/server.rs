//! The supervisor's end of the command socket: fixed slots, no heap after `bind`, nobody is waited for.

use crate::config::Config;
use crate::state::State;
use core::ffi::CStr;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollFlags};

/// Top byte of every epoll token that belongs to the server.
pub const TOKEN: u64 = 0x01 << 56;

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

/// The ways of a STOP_ORDER.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopMode {
    /// `lxc.signal.halt`, and no restart.
    Halt,
    /// `lxc.signal.reboot`, and start again.
    Reboot,
    /// `lxc.signal.stop`, and no restart.
    Kill,
}

/// Why there is no server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindError {
    /// Another supervisor of the same container has the address.
    AlreadyRunning,
    /// Anything else.
    Os(Errno),
}

/// The command socket with its clients.
pub struct Server {}

impl Server {
    /// Takes the container's address. The socket is close-on-exec and non-blocking.
    pub fn bind(_lxcpath: &CStr, _name: &CStr) -> Result<Server, BindError> {
        Err(BindError::Os(Errno::ENOSYS))
    }

    /// Adds the listening socket to `epoll`.
    pub fn register(&self, _epoll: &Epoll) -> nix::Result<()> {
        Ok(())
    }

    /// Handles one epoll event whose token has `TOKEN` as its top byte. `now_ms` is monotonic time. An order, if one came,
    /// is to be carried out by the caller; requests behind it are still in their sockets and come with the next event.
    pub fn handle(
        &mut self,
        _token: u64,
        _events: EpollFlags,
        _epoll: &Epoll,
        _now_ms: u64,
        _facts: &Facts<'_>,
    ) -> Option<Order> {
        None
    }

    /// Tells the waiters of `state`. Their connections are closed behind the message, as LXC does.
    pub fn state_changed(&mut self, _state: State, _name: &CStr, _epoll: &Epoll) {}

    /// When `expire` is next needed, in monotonic milliseconds; None while no request is under way.
    pub fn next_deadline(&self) -> Option<u64> {
        None
    }

    /// Closes the clients that did not finish their request in time.
    pub fn expire(&mut self, _now_ms: u64, _epoll: &Epoll) {}

    /// Gives up the address, then closes all clients: the end of the connection tells waiters STOPPED.
    pub fn shut(self) {}
}
