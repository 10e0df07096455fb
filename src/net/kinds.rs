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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{DEFAULT, List};
    use crate::net::message::Attributes;

    fn nic(kind: NicType, kind_name: &'static CStr, fields: &[(&'static CStr, &'static CStr)]) -> Nic<'static> {
        let mut nic = Nic { index: 0, kind, kind_name, fields: List::new(), at: DEFAULT };
        for (name, value) in fields {
            nic.fields.push(NamedValue { name, value, at: DEFAULT }).unwrap();
        }
        nic
    }

    const WANTED: Wanted<'_> = Wanted { name: c"wan0", address: Some([2, 0, 0, 0, 0, 7]), mtu: Some(1400), pid: 99 };

    /// The request behind its first header.
    fn bytes(mut message: Message) -> Vec<u8> {
        message.seal(1).unwrap()[16..].to_vec()
    }

    fn hex(text: &str) -> Vec<u8> {
        text.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
    }

    /// The attribute of a type, header and all, behind a link's header.
    fn attribute(message: &[u8], kind: u16) -> Vec<u8> {
        let (_, payload) = Attributes(&message[16..]).find(|(found, _)| *found == kind).unwrap();
        let mut whole = ((payload.len() + 4) as u16).to_le_bytes().to_vec();
        whole.extend_from_slice(&kind.to_le_bytes());
        whole.extend_from_slice(payload);
        whole
    }

    // The expected bytes are what iproute2 6.1 sends for the same, seen with strace on a little-endian machine.

    #[test]
    #[cfg(target_endian = "little")]
    fn vlan_ipvlan_and_macvlan_are_described_as_iproute2_does() {
        let of = |nic: Nic<'_>| attribute(&bytes(on_a_link(&nic, 4, &WANTED)), libc::IFLA_LINKINFO);
        let vlan = of(nic(NicType::Vlan, c"vlan", &[(c"vlan.id", c"7")]));
        assert_eq!(vlan, hex("18 00 12 00 08 00 01 00 76 6c 61 6e 0c 00 02 00 06 00 01 00 07 00 00 00"));
        let fields = [(c"ipvlan.mode", c"l2"), (c"ipvlan.isolation", c"private")];
        let ipvlan = of(nic(NicType::Ipvlan, c"ipvlan", &fields));
        let expected = "24 00 12 00 0a 00 01 00 69 70 76 6c 61 6e 00 00
            14 00 02 00 06 00 01 00 00 00 00 00 06 00 02 00 01 00 00 00";
        assert_eq!(ipvlan, hex(expected));
        let macvlan = of(nic(NicType::Macvlan, c"macvlan", &[(c"macvlan.mode", c"passthru")]));
        let expected = "1c 00 12 00 0b 00 01 00 6d 61 63 76 6c 61 6e 00 0c 00 02 00 08 00 01 00 08 00 00 00";
        assert_eq!(macvlan, hex(expected));
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn port_vlans_are_changed_as_iproute2_does() {
        let rows = [(7, true, true, "06 00 07 00"), (1, true, false, "00 00 01 00"), (9, false, true, "00 00 09 00")];
        for (id, untagged, add, last) in rows {
            let expected = format!("07 00 00 00 04 00 00 00 00 00 00 00 00 00 00 00 0c 00 1a 00 08 00 02 00 {last}");
            let mut message = port_vlan(4, id, untagged, add);
            let whole = message.seal(1).unwrap();
            assert_eq!(whole[16..], hex(&expected));
            assert_eq!(whole[4], if add { 0x13 } else { 0x11 });
        }
    }

    #[test]
    fn veth_peer_is_born_inside_and_the_host_has_the_other() {
        let pair = nic(NicType::Veth, c"veth", &[(c"veth.n_txqueues", c"3")]);
        let message = bytes(veth(&pair, c"vethhost", &WANTED));
        let host: Vec<_> = Attributes(&message[16..]).collect();
        assert_eq!(host[0], (libc::IFLA_IFNAME, &b"vethhost\0"[..]));
        assert_eq!(host[1], (libc::IFLA_MTU, &1400u32.to_ne_bytes()[..]));
        assert_eq!(host[2], (libc::IFLA_NUM_TX_QUEUES, &3u32.to_ne_bytes()[..]));
        let info: Vec<_> = Attributes(host[3].1).collect();
        assert_eq!(info[0], (INFO_KIND, &b"veth"[..]));
        let data: Vec<_> = Attributes(info[1].1).collect();
        let peer: Vec<_> = Attributes(&data[0].1[16..]).collect();
        let expected = [
            (libc::IFLA_IFNAME, &b"wan0\0"[..]),
            (libc::IFLA_ADDRESS, &[2, 0, 0, 0, 0, 7][..]),
            (libc::IFLA_MTU, &1400u32.to_ne_bytes()[..]),
            (libc::IFLA_NET_NS_PID, &99u32.to_ne_bytes()[..]),
            (libc::IFLA_NUM_TX_QUEUES, &3u32.to_ne_bytes()[..]),
        ];
        assert_eq!(peer, expected);
    }

    #[test]
    fn enslaved_port_has_an_address_above_all_others() {
        let message = bytes(enslave(5, 3, [0x12, 1, 2, 3, 4, 5]));
        let all: Vec<_> = Attributes(&message[16..]).collect();
        assert_eq!(all[0], (libc::IFLA_ADDRESS, &[0xfe, 1, 2, 3, 4, 5][..]));
        assert_eq!(all[1], (libc::IFLA_MASTER, &3u32.to_ne_bytes()[..]));
    }
}
