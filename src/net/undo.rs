//! The end of the links: scripts, then what was borrowed goes back and what was made goes away.

use super::ask::{self, Which, order, text};
use super::make::Work;
use super::message::Message;
use super::{Before, Links, Made, kinds, outside, run_script};
use crate::config::NicType;
use crate::logging::log;
use crate::prepare::host::Host;
use crate::sys::netlink::{self, Netlink};
use crate::text::shown;
use nix::errno::Errno;
use nix::unistd::getpid;

/// Undoes all of it. What cannot be done is logged: the end goes on.
#[inline(never)] // its frame would live as long as the container
pub fn undo(links: &mut Links, host: &mut Host<'_>) {
    let Links { inner, made, pid } = core::mem::take(links);
    let Some(mut inner) = inner else { return };
    let config = host.config;
    let is_empty = |at: usize| config.nics.get(at).is_some_and(|nic| nic.kind == NicType::Empty);
    for made in made.iter().filter(|made| made.host | made.inside != 0 || is_empty(made.nic)) {
        if let Err(error) = run_script(host, made.nic, false, pid) {
            log::warn!("{error}");
        }
    }
    // Without it nothing can be removed, but everything still be brought back.
    let mut outer = netlink::open().map(Netlink::from);
    for Made { nic: at, host: veth, inside, before } in made.iter().copied() {
        let Some(nic) = config.nics.get(at) else { continue };
        if let Some(before) = before {
            // If its move was only half done it is under one of its names.
            let names = [kinds::value(nic, c"name").unwrap_or(c""), text(&before.name)];
            let indexes = names.iter().filter_map(|name| Some(ask::link(&mut inner, Which::Name(name)).ok()?.index));
            let mut strays = indexes.filter(|index| made.iter().all(|made| made.inside != *index));
            let inside = if inside != 0 { Some(inside) } else { strays.next() };
            if let Some(inside) = inside {
                bring_back(&mut inner, inside, &before, kinds::address(nic).is_some());
            }
            continue;
        }
        if let Ok(outer) = &mut outer {
            outside::stop_answering(&mut Work { config, nic, outer, inner: &mut inner });
        }
        let done = match (&mut outer, veth) {
            (Ok(outer), 1..) => ask::delete(outer, veth),
            _ if inside != 0 => ask::delete(&mut inner, inside),
            _ => Ok(()),
        };
        // The guest may have removed it.
        if let Err(errno) = done
            && errno != Errno::ENODEV
        {
            log::warn!("network: remove lxc.net.{}: {}", nic.index, errno.desc());
        }
    }
}

/// Gives a link back to the host as it was: name, mtu, up or down, and its hardware address if that was ours to set.
fn bring_back(inner: &mut Netlink, inside: u32, before: &Before, readdress: bool) {
    let name = text(&before.name);
    // A guest may have put a link of its own making in the place of the one that it was lent.
    if ask::link(inner, Which::Index(inside)).is_ok_and(|link| link.maker != before.link.maker) {
        return log::warn!("network: {} does not come back: the container has another link in its place", shown(name));
    }
    let mut message = match before.link.up {
        true => Message::link_up(inside),
        false => Message::link(libc::RTM_NEWLINK, 0, 0, inside),
    };
    message.number(libc::IFLA_NET_NS_PID, getpid().as_raw() as u32);
    message.text(libc::IFLA_IFNAME, name);
    message.number(libc::IFLA_MTU, before.link.mtu);
    if readdress {
        message.attribute(libc::IFLA_ADDRESS, &before.link.address);
    }
    // What is out of memory now need not be so the next time.
    let mut result = Ok(());
    for _ in 0..3 {
        result = order(inner, &mut message);
        if result.is_ok() || ask::link(inner, Which::Index(inside)).is_err() {
            break;
        }
    }
    let Err(errno) = result else { return };
    let reason = errno.desc();
    // Both its names may be taken on the host by now: then under one that the kernel makes up.
    if ask::link(inner, Which::Index(inside)).is_ok() {
        let mut message = Message::link(libc::RTM_NEWLINK, 0, 0, inside);
        message.number(libc::IFLA_NET_NS_PID, getpid().as_raw() as u32);
        message.text(libc::IFLA_IFNAME, c"dev%d");
        if let Err(errno) = order(inner, &mut message) {
            log::error!("network: {} does not come back to the host: {}", shown(name), errno.desc());
            return;
        }
    }
    let what = match errno {
        Errno::EEXIST => "back on the host, but under another name",
        Errno::ENODEV => "not in the container any more",
        _ => "back on the host, but not as it was",
    };
    log::warn!("network: {} is {what}: {reason}", shown(name));
}
