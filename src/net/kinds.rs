//! The message that makes a link of each type, or moves one. Pure.
//!
//! Every link is born in the container's namespace under its name there: the host never sees it, and a message that fails has
//! made nothing.

use super::address::hardware;
use super::message::{Message, NEW, link_header};
use crate::config::{NamedValue, Nic, NicType};
use crate::text::number;
use core::ffi::CStr;

/// From linux/if_link.h, where the libc crate has no name for it.
mod numbers {
    pub const INFO_KIND: u16 = 1;
    pub const INFO_DATA: u16 = 2;
    pub const VETH_PEER: u16 = 1;
    pub const MACVLAN_MODE: u16 = 1;
    pub const IPVLAN_MODE: u16 = 1;
    pub const IPVLAN_FLAGS: u16 = 2;
    pub const VLAN_ID: u16 = 1;
    pub const BRIDGE_VLAN_INFO: u16 = 2;
    pub const VLAN_PVID: u16 = 2;
    pub const VLAN_UNTAGGED: u16 = 4;
}
use numbers::*;

/// What a link is made from.
pub struct Wanted<'a> {
    /// Its name in the container.
    pub name: &'a CStr,
    /// Its hardware address, if it is not to be the kernel's choice.
    pub address: Option<[u8; 6]>,
    /// Its mtu.
    pub mtu: Option<u32>,
    /// The container's process, in whose network namespace it is to be.
    pub pid: i32,
}

impl Wanted<'_> {
    fn write(&self, message: &mut Message) {
        message.text(libc::IFLA_IFNAME, self.name);
        if let Some(address) = &self.address {
            message.attribute(libc::IFLA_ADDRESS, address);
        }
        if let Some(mtu) = self.mtu {
            message.number(libc::IFLA_MTU, mtu);
        }
        message.number(libc::IFLA_NET_NS_PID, self.pid as u32);
    }
}

/// A field that is set.
pub fn field<'n, 't>(nic: &'n Nic<'t>, name: &CStr) -> Option<&'n NamedValue<'t>> {
    nic.fields.iter().find(|field| field.name == name)
}

/// Its value.
pub fn value<'t>(nic: &Nic<'t>, name: &CStr) -> Option<&'t CStr> {
    field(nic, name).map(|field| field.value)
}

/// A number that the config has checked.
pub fn whole(nic: &Nic<'_>, name: &CStr) -> Option<u32> {
    value(nic, name).and_then(|text| number(text.to_bytes())).and_then(|number| u32::try_from(number).ok())
}

/// The hardware address.
pub fn address(nic: &Nic<'_>) -> Option<[u8; 6]> {
    value(nic, c"hwaddr").and_then(|text| hardware(text.to_bytes()))
}

/// A pair: `host` stays on the host.
pub fn veth(nic: &Nic<'_>, host: &CStr, wanted: &Wanted<'_>) -> Message {
    let mut message = Message::link(libc::RTM_NEWLINK, NEW, 0, 0);
    message.text(libc::IFLA_IFNAME, host);
    if let Some(mtu) = wanted.mtu {
        message.number(libc::IFLA_MTU, mtu);
    }
    queues(nic, &mut message);
    let info = message.open(libc::IFLA_LINKINFO);
    message.attribute(INFO_KIND, b"veth");
    let data = message.open(INFO_DATA);
    let peer = message.open(VETH_PEER);
    message.push(&link_header(0, 0, false));
    wanted.write(&mut message);
    queues(nic, &mut message);
    [peer, data, info].into_iter().for_each(|at| message.close(at));
    message
}

fn queues(nic: &Nic<'_>, message: &mut Message) {
    for (name, kind) in [(c"veth.n_txqueues", libc::IFLA_NUM_TX_QUEUES), (c"veth.n_rxqueues", libc::IFLA_NUM_RX_QUEUES)]
    {
        if let Some(count) = whole(nic, name) {
            message.number(kind, count);
        }
    }
}

/// A macvlan, ipvlan or vlan on link `parent`.
pub fn on_a_link(nic: &Nic<'_>, parent: u32, wanted: &Wanted<'_>) -> Message {
    let mut message = Message::link(libc::RTM_NEWLINK, NEW, 0, 0);
    message.number(libc::IFLA_LINK, parent);
    wanted.write(&mut message);
    let info = message.open(libc::IFLA_LINKINFO);
    message.attribute(INFO_KIND, nic.kind_name.to_bytes());
    let data = message.open(INFO_DATA);
    match nic.kind {
        NicType::Macvlan => {
            let modes: [&[u8]; 4] = [b"private", b"vepa", b"bridge", b"passthru"];
            let mode = place(nic, c"macvlan.mode", &modes).unwrap_or(0);
            message.number(MACVLAN_MODE, 1 << mode);
        }
        NicType::Ipvlan => {
            let mode = place(nic, c"ipvlan.mode", &[b"l2", b"l3", b"l3s"]).unwrap_or(1);
            message.attribute(IPVLAN_MODE, &mode.to_ne_bytes());
            // Before Linux 4.15 there are no such flags, and "bridge" is what it does then.
            if let Some(isolation @ 1..) = place(nic, c"ipvlan.isolation", &[b"bridge", b"private", b"vepa"]) {
                message.attribute(IPVLAN_FLAGS, &isolation.to_ne_bytes());
            }
        }
        _ => message.attribute(VLAN_ID, &(whole(nic, c"vlan.id").unwrap_or(0) as u16).to_ne_bytes()),
    }
    message.close(data);
    message.close(info);
    message
}

/// Which of `names` a field's value is.
fn place(nic: &Nic<'_>, field: &CStr, names: &[&[u8]]) -> Option<u16> {
    let value = value(nic, field)?;
    names.iter().position(|name| *name == value.to_bytes()).map(|at| at as u16)
}

/// Moves link `index` into the container. What follows the move is done there.
pub fn move_in(index: u32, wanted: &Wanted<'_>) -> Message {
    let mut message = Message::link(libc::RTM_NEWLINK, 0, 0, index);
    wanted.write(&mut message);
    message
}

/// Makes a link a port of a bridge, with a hardware address above all others: a bridge takes the lowest one of its ports for
/// its own and shall not change it with each container.
pub fn enslave(index: u32, bridge: u32, address: [u8; 6]) -> Message {
    let mut message = Message::link(libc::RTM_NEWLINK, 0, 0, index);
    let [_, b, c, d, e, f] = address;
    message.attribute(libc::IFLA_ADDRESS, &[0xfe, b, c, d, e, f]);
    message.number(libc::IFLA_MASTER, bridge);
    message
}

/// Adds a VLAN to a bridge's port, or removes it. The untagged one is also where untagged packets go.
pub fn port_vlan(index: u32, id: u16, untagged: bool, add: bool) -> Message {
    let kind = if add { libc::RTM_SETLINK } else { libc::RTM_DELLINK };
    let mut message = Message::link(kind, 0, libc::AF_BRIDGE as u8, index);
    let specific = message.open(libc::IFLA_AF_SPEC);
    let flags = if untagged && add { VLAN_PVID | VLAN_UNTAGGED } else { 0 };
    let ([a, b], [c, d]) = (flags.to_ne_bytes(), id.to_ne_bytes());
    message.attribute(BRIDGE_VLAN_INFO, &[a, b, c, d]);
    message.close(specific);
    message
}
