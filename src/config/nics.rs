//! `lxc.net.N.*` and the older `lxc.network.*`.
//!
//! Old files have no numbers: each `lxc.network.type` opens the next link, the lines after it belong to that one. With
//! a number (`lxc.network.0.name`) they name a link like the new keys do.

use super::keys::{Given, Out};
use super::lex::words;
use super::values::{self, Fault};
use super::{Config, List, NamedValue, Nic, NicType};
use crate::limits;
use crate::text::{Shown, number, shown};
use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};

/// One field of a link.
struct Field {
    /// Today's name.
    name: &'static core::ffi::CStr,
    /// Whether it may stand more than once.
    list: bool,
    check: fn(&[u8]) -> Result<(), Fault>,
}

const fn field(name: &'static core::ffi::CStr, list: bool, check: fn(&[u8]) -> Result<(), Fault>) -> Field {
    Field { name, list, check }
}

/// Every field but `type`.
const FIELDS: [Field; 24] = [
    field(c"flags", false, any),
    field(c"link", false, interface),
    field(c"name", false, interface),
    field(c"hwaddr", false, hwaddr),
    field(c"mtu", false, |v| values::whole32(v).map(drop)),
    field(c"ipv4.address", true, |v| address(v, 32, is::<Ipv4Addr>, "an address such as 10.0.3.5/24")),
    field(c"ipv4.gateway", false, |v| gateway(v, is::<Ipv4Addr>, "an IPv4 address, auto or dev")),
    field(c"ipv6.address", true, |v| address(v, 128, is::<Ipv6Addr>, "an address such as fd00::5/64")),
    field(c"ipv6.gateway", false, |v| gateway(v, is::<Ipv6Addr>, "an IPv6 address, auto or dev")),
    field(c"script.up", false, any),
    field(c"script.down", false, any),
    field(c"l2proxy", false, |v| values::flag(v).map(drop)),
    field(c"vlan.id", false, vlan),
    field(c"macvlan.mode", false, |v| {
        one_of(v, &["private", "vepa", "bridge", "passthru"], "a macvlan mode: private, vepa, bridge or passthru")
    }),
    field(c"ipvlan.mode", false, |v| one_of(v, &["l2", "l3", "l3s"], "an ipvlan mode: l2, l3 or l3s")),
    field(c"ipvlan.isolation", false, |v| {
        one_of(v, &["bridge", "private", "vepa"], "an ipvlan isolation: bridge, private or vepa")
    }),
    field(c"veth.mode", false, |v| one_of(v, &["bridge", "router"], "a veth mode: bridge or router")),
    field(c"veth.pair", false, interface),
    field(c"veth.vlan.id", false, |v| if v == b"none" { Ok(()) } else { vlan(v) }),
    field(c"veth.vlan.tagged.id", true, vlan),
    field(c"veth.ipv4.route", true, |v| address(v, 32, is::<Ipv4Addr>, "a route such as 10.0.3.0/24")),
    field(c"veth.ipv6.route", true, |v| address(v, 128, is::<Ipv6Addr>, "a route such as fd00::/64")),
    field(c"veth.n_rxqueues", false, |v| values::whole32(v).map(drop)),
    field(c"veth.n_txqueues", false, |v| values::whole32(v).map(drop)),
];

fn any(_: &[u8]) -> Result<(), Fault> {
    Ok(())
}

fn one_of(value: &[u8], names: &[&str], wanted: &'static str) -> Result<(), Fault> {
    if names.iter().any(|name| name.as_bytes() == value) { Ok(()) } else { Err(Fault::Expected(wanted)) }
}

/// The kernel's rule: 1 to 15 bytes without blanks and slashes.
fn interface(value: &[u8]) -> Result<(), Fault> {
    let fine = value.len() < libc::IFNAMSIZ && !value.iter().any(|b| *b == b'/' || b.is_ascii_whitespace());
    if fine { Ok(()) } else { Err(Fault::Expected("an interface's name of at most 15 bytes")) }
}

/// Six bytes in hexadecimal; a digit may be `x`, which stands for any.
fn hwaddr(value: &[u8]) -> Result<(), Fault> {
    let digit = |b: &u8| b.is_ascii_hexdigit() || b.eq_ignore_ascii_case(&b'x');
    let byte = |part: &[u8]| matches!(part, [a, b] if digit(a) && digit(b));
    let parts = || value.split(|b| *b == b':');
    if parts().count() == 6 && parts().all(byte) {
        Ok(())
    } else {
        Err(Fault::Expected("a hardware address such as 00:16:3e:xx:xx:xx"))
    }
}

fn vlan(value: &[u8]) -> Result<(), Fault> {
    match number(value) {
        Some(0..=4095) => Ok(()),
        _ => Err(Fault::Expected("a VLAN number up to 4095")),
    }
}

/// Whether a text is an address.
fn is<A: core::str::FromStr>(text: &[u8]) -> bool {
    core::str::from_utf8(text).is_ok_and(|text| text.parse::<A>().is_ok())
}

/// `ADDRESS[/BITS]`, for IPv4 a broadcast address may follow.
fn address(value: &[u8], bits: u64, is_address: fn(&[u8]) -> bool, wanted: &'static str) -> Result<(), Fault> {
    let mut words = words(value);
    let first = words.next().unwrap_or_default();
    let mut parts = first.splitn(2, |b| *b == b'/');
    let fine = parts.next().is_some_and(is_address)
        && parts.next().is_none_or(|prefix| number(prefix).is_some_and(|n| n <= bits))
        && words.next().is_none_or(is_address)
        && words.next().is_none();
    if fine { Ok(()) } else { Err(Fault::Expected(wanted)) }
}

fn gateway(value: &[u8], is_address: fn(&[u8]) -> bool, wanted: &'static str) -> Result<(), Fault> {
    if matches!(value, b"auto" | b"dev") { Ok(()) } else { address(value, 0, is_address, wanted) }
}

/// The link's number and the field's name in what follows `lxc.net.`.
fn split(sub: &[u8]) -> (Option<u32>, &[u8]) {
    let mut parts = sub.splitn(2, |b| *b == b'.');
    let first = parts.next().unwrap_or_default();
    match number(first).and_then(|n| u32::try_from(n).ok()) {
        Some(index) => (Some(index), parts.next().unwrap_or_default()),
        None => (None, sub),
    }
}

/// Today's name of a field that an old file names.
fn today(old: &[u8]) -> &[u8] {
    match old {
        b"ipv4" => b"ipv4.address",
        b"ipv6" => b"ipv6.address",
        _ => old,
    }
}

fn unknown(name: &[u8]) -> Fault {
    let names = FIELDS.iter().map(|field| field.name.to_bytes()).chain([&b"type"[..]]);
    let nearest = names.min_by_key(|known| values::distance(name, known)).unwrap_or_default();
    Fault::unknown(format_args!("lxc.net.N.{}", Shown(nearest)))
}

/// Sets a field, opens a link, or clears: nothing after `lxc.net` clears all, a number alone that link.
pub(super) fn set<'t>(config: &mut Config<'t>, given: &Given<'_, 't>) -> Result<(), Fault> {
    let nics = &mut config.nics;
    let (index, name) = split(given.sub);
    let name = if given.old { today(name) } else { name };
    if name.is_empty() {
        if !given.value.is_empty() {
            return Err(Fault::Expected("nothing, which clears"));
        }
        nics.retain(|nic| index.is_some_and(|index| nic.index != index));
        return Ok(());
    }
    let known = FIELDS.iter().find(|field| field.name.to_bytes() == name);
    if known.is_none() && name != b"type" {
        return Err(unknown(name));
    }
    let last = nics.last().map(|nic| nic.index);
    let index = match index {
        Some(index) => index,
        // A new key without a number, made right.
        None if !given.old => return Err(Fault::unknown(format_args!("lxc.net.0.{}", Shown(name)))),
        None if name == b"type" => last.map_or(Some(0), |last| last.checked_add(1)).unwrap_or(u32::MAX),
        None => last.ok_or(Fault::Expected("lxc.network.type before it, which opens the link"))?,
    };
    let nic = match nics.iter().position(|nic| nic.index >= index) {
        Some(at) if nics.get(at).is_some_and(|nic| nic.index == index) => nics.get_mut(at),
        found => {
            let at = found.unwrap_or(nics.len());
            let nic = Nic { index, kind: NicType::Empty, kind_name: c"empty", fields: List::new(), at: given.at };
            nics.insert(at, nic).map_err(|_| Fault::Full(&("network links", limits::NICS, "NICS")))?;
            nics.get_mut(at)
        }
    };
    let Some(nic) = nic else { return Ok(()) };
    match known {
        None => set_type(nic, given),
        Some(field) => set_field(nic, field, given),
    }
}

fn set_type<'t>(nic: &mut Nic<'t>, given: &Given<'_, 't>) -> Result<(), Fault> {
    (nic.kind, nic.kind_name) = match given.value {
        b"" | b"empty" => (NicType::Empty, c"empty"),
        b"none" => (NicType::None, c"none"),
        b"veth" => (NicType::Veth, c"veth"),
        b"macvlan" => (NicType::Macvlan, c"macvlan"),
        b"ipvlan" => (NicType::Ipvlan, c"ipvlan"),
        b"vlan" => (NicType::Vlan, c"vlan"),
        b"phys" => (NicType::Phys, c"phys"),
        _ => return Err(Fault::Expected("a type of link: none empty veth macvlan ipvlan vlan phys")),
    };
    nic.at = given.at;
    Ok(())
}

fn set_field<'t>(nic: &mut Nic<'t>, field: &Field, given: &Given<'_, 't>) -> Result<(), Fault> {
    if !field.list || given.value.is_empty() {
        nic.fields.retain(|known| known.name != field.name);
    }
    if given.value.is_empty() {
        return Ok(());
    }
    (field.check)(given.value)?;
    let value = NamedValue { name: field.name, value: given.arena.copy(given.value)?, at: given.at };
    nic.fields.push(value).map_err(|_| Fault::Full(&("fields of a network link", limits::NIC_FIELDS, "NIC_FIELDS")))
}

/// Shows one field, or all: for printing every field of every link, for a client the links' types.
pub(super) fn show(config: &Config<'_>, sub: &[u8], old: bool, out: &mut Out<'_>) -> fmt::Result {
    let (index, name) = split(sub);
    let name = if old { today(name) } else { name };
    for nic in config.nics.iter().filter(|nic| index.is_none_or(|index| nic.index == index)) {
        if out.printing || name == b"type" || sub.is_empty() {
            out.member(format_args!("{}.type", nic.index), format_args!("{}", shown(nic.kind_name)))?;
        }
        let printing = out.printing;
        for field in nic.fields.iter().filter(|field| printing || field.name.to_bytes() == name) {
            let member = format_args!("{}.{}", nic.index, shown(field.name));
            out.member(member, format_args!("{}", super::keys::raw(field.value)))?;
        }
    }
    Ok(())
}

/// Whether there is a value to ask for behind `lxc.net.`: nothing, or a link that is there and a field that is known.
pub(super) fn answers(config: &Config<'_>, sub: &[u8], old: bool) -> bool {
    let (index, name) = split(sub);
    let name = if old { today(name) } else { name };
    let known = name == b"type" || FIELDS.iter().any(|field| field.name.to_bytes() == name);
    sub.is_empty() || known && config.nics.iter().any(|nic| Some(nic.index) == index)
}
