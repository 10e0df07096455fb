//! Questions and orders to the kernel that are the same on either side, each one message.

use super::address::Ip;
use super::message::{self, Attributes, DUMP, Message, NEW, number_at};
use crate::sys::netlink::Netlink;
use core::ffi::CStr;
use nix::errno::Errno;

/// An interface's name with its NUL.
pub type Name = [u8; libc::IFNAMSIZ];

/// The name as text.
pub fn text(name: &Name) -> &CStr {
    CStr::from_bytes_until_nul(name).unwrap_or(c"")
}

/// A name from text; longer ones are cut, which the config's own check keeps from happening.
pub fn name(text: &CStr) -> Name {
    let mut name = [0; libc::IFNAMSIZ];
    name.iter_mut().take(libc::IFNAMSIZ - 1).zip(text.to_bytes()).for_each(|(to, from)| *to = *from);
    name
}

/// What a link is.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// Its number in its namespace.
    pub index: u32,
    /// Largest packet, in bytes.
    pub mtu: u32,
    /// IFF_UP
    pub up: bool,
    /// Its hardware address; six bytes for all that we are asked to move.
    pub address: [u8; 6],
    /// What makes it, cut to this length; nothing for a piece of hardware, which nobody can make.
    pub maker: [u8; 12],
}

/// An order: only its success is of interest.
#[inline(never)]
pub fn order(netlink: &mut Netlink, message: &mut Message) -> nix::Result<()> {
    let sequence = netlink.sequence();
    netlink.ask(message.seal(sequence)?, &mut |_, _| {})
}

/// Which link.
#[derive(Clone, Copy)]
pub enum Which<'a> {
    /// By name.
    Name(&'a CStr),
    /// By number.
    Index(u32),
}

/// Looks a link up. ENODEV if there is none.
#[inline(never)]
pub fn link(netlink: &mut Netlink, which: Which<'_>) -> nix::Result<Link> {
    let mut request = match which {
        Which::Index(index) => Message::link(libc::RTM_GETLINK, 0, 0, index),
        Which::Name(_) => Message::link(libc::RTM_GETLINK, 0, 0, 0),
    };
    if let Which::Name(name) = which {
        request.text(libc::IFLA_IFNAME, name);
    }
    let mut found = None;
    let sequence = netlink.sequence();
    netlink.ask(request.seal(sequence)?, &mut |kind, body| {
        if kind == libc::RTM_NEWLINK {
            found = read_link(body);
        }
    })?;
    found.ok_or(Errno::EBADMSG)
}

fn read_link(body: &[u8]) -> Option<Link> {
    let (index, flags) = (number_at(body, 4)?, number_at(body, 8)?);
    let mut link = Link { index, mtu: 0, up: flags & libc::IFF_UP as u32 != 0, address: [0; 6], maker: [0; 12] };
    for (kind, payload) in Attributes(body.get(16..)?) {
        match kind {
            libc::IFLA_MTU => link.mtu = number_at(payload, 0)?,
            libc::IFLA_ADDRESS => link.address = payload.first_chunk().copied().unwrap_or_default(),
            libc::IFLA_LINKINFO => {
                let name = Attributes(payload).find(|(kind, _)| *kind == libc::IFLA_INFO_KIND);
                link.maker.iter_mut().zip(name.map_or(&[][..], |(_, name)| name)).for_each(|(to, from)| *to = *from);
            }
            _ => {}
        }
    }
    Some(link)
}

/// The first address of a link, of a family; one that is good beyond the link before one that is not.
#[inline(never)]
pub fn first_address(netlink: &mut Netlink, index: u32, family: u8) -> nix::Result<Option<Ip>> {
    let mut request = Message::address(libc::RTM_GETADDR, DUMP, family, 0, 0);
    let (mut best, mut narrow) = (None, None);
    let sequence = netlink.sequence();
    netlink.ask(request.seal(sequence)?, &mut |kind, body| {
        if kind != libc::RTM_NEWADDR || body.first() != Some(&family) || number_at(body, 4) != Some(index) {
            return;
        }
        let wanted = |wanted: u16| Attributes(body.get(8..).unwrap_or(&[])).find(|(kind, _)| *kind == wanted);
        let Some((_, octets)) = wanted(libc::IFA_LOCAL).or_else(|| wanted(libc::IFA_ADDRESS)) else { return };
        let place = if body.get(3) == Some(&libc::RT_SCOPE_UNIVERSE) { &mut best } else { &mut narrow };
        *place = place.or(Ip::from_octets(octets));
    })?;
    Ok(best.or(narrow))
}

/// Adds a route to `to/prefix` (a default route if that is none), by way of `gateway` or of the link itself.
#[inline(never)]
pub fn add_route(
    netlink: &mut Netlink,
    family: u8,
    to: Option<(&Ip, u8)>,
    gateway: Option<&Ip>,
    index: u32,
) -> nix::Result<()> {
    order(netlink, &mut route(libc::RTM_NEWROUTE, NEW, family, to, gateway, index))
}

/// The message of that.
pub fn route(kind: u16, flags: u16, family: u8, to: Option<(&Ip, u8)>, gateway: Option<&Ip>, index: u32) -> Message {
    let scope = if to.is_some() { libc::RT_SCOPE_LINK } else { libc::RT_SCOPE_UNIVERSE };
    let mut message = Message::route(kind, flags, family, to.map_or(0, |(_, prefix)| prefix), scope);
    if let Some((to, _)) = to {
        message.attribute(libc::RTA_DST, to.octets());
    }
    if let Some(gateway) = gateway {
        message.attribute(libc::RTA_GATEWAY, gateway.octets());
    }
    message.number(libc::RTA_OIF, index);
    message
}

/// Lets a link answer for an address that is behind another one, or no longer.
#[inline(never)]
pub fn proxy(netlink: &mut Netlink, add: bool, ip: &Ip, index: u32) -> nix::Result<()> {
    let (kind, flags) = if add { (libc::RTM_NEWNEIGH, NEW) } else { (libc::RTM_DELNEIGH, 0) };
    let mut message = message::Message::proxy(kind, flags, ip.family(), index);
    message.attribute(libc::NDA_DST, ip.octets());
    order(netlink, &mut message)
}

/// Removes a link.
pub fn delete(netlink: &mut Netlink, index: u32) -> nix::Result<()> {
    order(netlink, &mut Message::link(libc::RTM_DELLINK, 0, 0, index))
}
