//! Network links: `lxc.net.*` and the older `lxc.network.*`, by rtnetlink(7).
//!
//! The supervisor does all of it. The child, as soon as it is in its network namespace, opens a netlink socket there and
//! hands it up; with that socket the supervisor configures what it has put inside, keeps the namespace alive beyond init's
//! death, and takes back what it lent: no link is left to the kernel's own clean-up, which is late and renames.
//!
//! `settle` draws names and addresses once, `kinds` and `message` build the messages (pure), `make` makes a link, `inside` and
//! `outside` configure its two ends, `undo` ends it.

use crate::config::{Config, NamedValue, Nic, NicType};
use crate::error::Error;
use crate::hooks::{self, Moment};
use crate::limits;
use crate::prepare::host::Host;
use crate::spawn::namespaces::Plan;
use crate::sys::netlink::{self, Netlink};
use crate::text::shown;
use ask::Name;
use core::ffi::CStr;
use nix::errno::Errno;
use std::os::fd::OwnedFd;

pub mod address;
mod ask;
mod inside;
mod kinds;
mod make;
pub mod message;
mod outside;
mod settle;
mod undo;

pub use make::make;
pub use netlink::open;
pub use settle::settle;
pub use undo::undo;

/// The links of a life.
#[derive(Default)]
pub struct Links {
    /// The socket in the container's namespace.
    inner: Option<Netlink>,
    /// init's pid, which scripts are told even when it has ended.
    pid: i32,
    made: heapless::Vec<Made, { limits::NICS }>,
}

/// What has to be undone of a link.
#[derive(Clone, Copy)]
struct Made {
    /// Which one of the config's.
    nic: usize,
    /// Index of the host's end of a veth; 0: none.
    host: u32,
    /// Index in the container; 0: it is not there.
    inside: u32,
    /// What was borrowed from the host.
    before: Option<Before>,
}

/// A link of the host's before it was lent.
#[derive(Clone, Copy)]
struct Before {
    name: Name,
    link: ask::Link,
}

/// Whether there is something to make.
pub fn wanted(config: &Config<'_>, namespaces: &Plan) -> bool {
    namespaces.has_net() && config.nics.iter().any(Nic::needs_the_host)
}

/// What failed about a link: its field, if the fault is one's, else its type; `hint` is what a person may do.
#[inline(never)]
fn fault(config: &Config<'_>, nic: &Nic<'_>, name: &CStr, hint: &str, errno: Errno) -> Error {
    let kind = NamedValue { name: c"type", value: nic.kind_name, at: nic.at };
    fault_of(config, nic, kinds::field(nic, name).unwrap_or(&kind), hint, errno)
}

/// The same about one of several fields of a name.
fn fault_of(config: &Config<'_>, nic: &Nic<'_>, field: &NamedValue<'_>, hint: &str, errno: Errno) -> Error {
    let NamedValue { name, value, at } = *field;
    let place = config.place(at);
    Error::os("network", errno, format_args!("{place}: lxc.net.{}.{} = {}{hint}", nic.index, shown(name), shown(value)))
}

/// Runs `script.up` or `script.down`.
fn run_script(host: &mut Host<'_>, at: usize, up: bool, pid: i32) -> Result<(), Error> {
    use crate::config::{Hook, HookKind};
    let config = host.config;
    let (name, kind) = if up { (c"script.up", HookKind::NetUp) } else { (c"script.down", HookKind::NetDown) };
    let Some(nic) = config.nics.get(at) else { return Ok(()) };
    let Some(script) = kinds::field(nic, name) else { return Ok(()) };
    let word = |name| kinds::value(nic, name).unwrap_or(c"");
    let peer = if nic.kind == NicType::Veth { word(c"veth.pair") } else { c"" };
    let link = [nic.kind_name, word(c"link"), peer];
    let hook = Hook { kind, command: script.value, at: script.at };
    hooks::run_one(host, &hook, &Moment { pid: Some(pid), link: Some(&link), ..Moment::default() })
}

/// A socket from the child, as the supervisor uses it.
fn from_child(socket: Option<OwnedFd>) -> Result<Netlink, Error> {
    socket.map(Netlink::from).ok_or_else(|| {
        Error::new("network", format_args!("the container's process did not hand up its netlink socket"))
    })
}
