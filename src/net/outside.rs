//! A link's side on the host: the bridge's port, routes to the container, addresses that the host answers for.

use super::address::{Address, Ip};
use super::ask::{self, Which, order};
use super::inside::{ADDRESSES, GATEWAYS};
use super::make::Work;
use super::message::Message;
use super::{fault_of, kinds};
use crate::cgroup::limit::write_file;
use crate::config::{NamedValue, Nic, NicType};
use crate::error::Result;
use crate::sys::fds::open;
use crate::text::{PathText, number, shown};
use core::ffi::CStr;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

/// `veth.mode = router`
fn is_router(nic: &Nic<'_>) -> bool {
    kinds::value(nic, c"veth.mode") == Some(c"router")
}

/// Brings the host's end `index` of a veth up and connects it.
pub(super) fn connect(work: &mut Work<'_, '_>, index: u32) -> Result<()> {
    let nic = work.nic;
    if kinds::field(nic, c"link").is_some() && !is_router(nic) {
        let bridge = work.parent()?.index;
        let own = ask::link(work.outer, Which::Index(index)).map_err(|errno| work.fault(c"veth.pair", "", errno))?;
        order(work.outer, &mut kinds::enslave(index, bridge, own.address)).map_err(|errno| {
            work.fault(c"link", if errno == Errno::EOPNOTSUPP { ": it is no bridge" } else { "" }, errno)
        })?;
        vlans(work, index)?;
    }
    order(work.outer, &mut Message::link_up(index)).map_err(|errno| work.fault(c"veth.pair", "", errno))?;
    for field in fields(nic, &[c"veth.ipv4.route", c"veth.ipv6.route"]) {
        route(work, field, index, None)?;
    }
    if is_router(nic) {
        for field in fields(nic, &ADDRESSES) {
            route(work, field, index, Some(()))?;
        }
    }
    Ok(())
}

fn fields<'n, 't>(nic: &'n Nic<'t>, names: &[&CStr; 2]) -> impl Iterator<Item = &'n NamedValue<'t>> {
    let names = *names;
    nic.fields.iter().filter(move |field| names.contains(&field.name))
}

/// A route to what a field names by way of the link; `alone`: to the address, not to its network.
fn route(work: &mut Work<'_, '_>, field: &NamedValue<'_>, index: u32, alone: Option<()>) -> Result<()> {
    let mut add = || {
        let Address { ip, prefix, .. } = Address::parse(field.value.to_bytes()).ok_or(Errno::EINVAL)?;
        let prefix = alone.map_or(prefix, |()| ip.bits());
        ask::add_route(work.outer, ip.family(), Some((&ip, prefix)), None, index)
    };
    add().map_err(|errno| fault_of(work.config, work.nic, field, ": a route on the host", errno))
}

/// `veth.vlan.*` on the bridge's port.
fn vlans(work: &mut Work<'_, '_>, index: u32) -> Result<()> {
    let nic = work.nic;
    if !nic.fields.iter().any(|field| field.name.to_bytes().starts_with(b"veth.vlan.")) {
        return Ok(());
    }
    let bridge = kinds::value(nic, c"link").unwrap_or(c"");
    let read = |file: &str| {
        PathText::format(format_args!("/sys/class/net/{}/bridge/{file}", shown(bridge)))
            .map_or(Err(Errno::ENAMETOOLONG), |path| read_number(path.c()))
    };
    match read("vlan_filtering") {
        Ok(1) => {}
        Ok(_) => return Err(work.fault(c"link", ": it filters no VLANs (vlan_filtering is 0)", Errno::EINVAL)),
        Err(errno) => {
            return Err(work.fault(c"link", ": does it filter VLANs (CONFIG_BRIDGE_VLAN_FILTERING)?", errno));
        }
    }
    if let Some(field) = kinds::field(nic, c"veth.vlan.id") {
        let wanted = kinds::whole(nic, c"veth.vlan.id").map(|id| id as u16);
        let usual = read("default_pvid").unwrap_or(1) as u16;
        let fault = |errno| fault_of(work.config, nic, field, "", errno);
        if usual != 0 && wanted != Some(usual) {
            order(work.outer, &mut kinds::port_vlan(index, usual, true, false)).map_err(fault)?;
        }
        if let Some(id) = wanted {
            order(work.outer, &mut kinds::port_vlan(index, id, true, true)).map_err(fault)?;
        }
    }
    for field in nic.fields.iter().filter(|field| field.name == c"veth.vlan.tagged.id") {
        let id = number(field.value.to_bytes()).unwrap_or(0) as u16;
        order(work.outer, &mut kinds::port_vlan(index, id, false, true))
            .map_err(|errno| fault_of(work.config, nic, field, "", errno))?;
    }
    Ok(())
}

/// What the host says "that is me" to: a router's gateway on `veth`, with `l2proxy` the container's addresses on `link`. Last,
/// because a link that has no carrier yet forgets what it was told to answer for.
pub(super) fn answer_for(work: &mut Work<'_, '_>, veth: u32) -> Result<()> {
    let nic = work.nic;
    if veth != 0 && is_router(nic) {
        let host = kinds::value(nic, c"veth.pair").unwrap_or(c"");
        for (name, family) in GATEWAYS {
            // `auto` and `dev` are no addresses.
            let Some(gateway) = kinds::value(nic, name).and_then(|text| Ip::parse(text.to_bytes())) else { continue };
            let set = |version: &str, file: &str| sysctl(version, host, file);
            let done = match family {
                libc::AF_INET => set("4", "forwarding"),
                _ => set("6", "forwarding").and_then(|()| set("6", "proxy_ndp")),
            };
            done.and_then(|()| ask::proxy(work.outer, true, &gateway, veth))
                .map_err(|errno| work.fault(name, ": let the host answer for it", errno))?;
        }
    }
    if !proxies(nic) {
        return Ok(());
    }
    let link = kinds::value(nic, c"link").unwrap_or(c"");
    let parent = work.parent()?.index;
    for field in fields(nic, &ADDRESSES) {
        let Some(Address { ip, .. }) = Address::parse(field.value.to_bytes()) else { continue };
        let needed: &[(&str, &str)] = match i32::from(ip.family()) {
            libc::AF_INET => &[("4", "forwarding")],
            _ => &[("6", "proxy_ndp"), ("6", "forwarding")],
        };
        for (version, file) in needed {
            let on = sysctl_path(version, link, file).and_then(|path| read_number(path.c()));
            if on != Ok(1) {
                let hint = ": it needs net.ipvN.conf.LINK.forwarding = 1, for IPv6 also proxy_ndp = 1";
                return Err(work.fault(c"l2proxy", hint, on.err().unwrap_or(Errno::EPERM)));
            }
        }
        proxy_one(work, true, &ip, parent).map_err(|errno| work.fault(c"l2proxy", "", errno))?;
    }
    Ok(())
}

/// `l2proxy = 1`
fn proxies(nic: &Nic<'_>) -> bool {
    kinds::whole(nic, c"l2proxy") == Some(1)
}

fn proxy_one(work: &mut Work<'_, '_>, add: bool, ip: &Ip, parent: u32) -> nix::Result<()> {
    let mut result = ask::proxy(work.outer, add, ip, parent);
    // An ipvlan hands the host's packets for it to the host itself: it must take them for its own.
    if work.nic.kind == NicType::Ipvlan && (result.is_ok() || !add) {
        let lo = ask::link(work.outer, Which::Name(c"lo"))?.index;
        let kind = if add { libc::RTM_NEWROUTE } else { libc::RTM_DELROUTE };
        let flags = if add { super::message::NEW } else { 0 };
        let mut route = ask::route(kind, flags, ip.family(), Some((ip, ip.bits())), None, lo);
        result = order(work.outer, &mut route);
    }
    result
}

/// Takes the entries of `l2proxy` away, which no end of the container does.
pub(super) fn stop_answering(work: &mut Work<'_, '_>) {
    if !proxies(work.nic) {
        return;
    }
    let Ok(parent) = work.parent() else { return };
    for field in fields(work.nic, &ADDRESSES) {
        if let Some(Address { ip, .. }) = Address::parse(field.value.to_bytes()) {
            let _ = proxy_one(work, false, &ip, parent.index);
        }
    }
}

fn sysctl_path(version: &str, link: &CStr, file: &str) -> nix::Result<PathText> {
    PathText::join(&[b"/proc/sys/net/ipv", version.as_bytes(), b"/conf/", link.to_bytes(), b"/", file.as_bytes()])
        .map_err(|_| Errno::ENAMETOOLONG)
}

fn sysctl(version: &str, link: &CStr, file: &str) -> nix::Result<()> {
    write_file(sysctl_path(version, link, file)?.c(), b"1")
}

fn read_number(path: &CStr) -> nix::Result<u64> {
    let file = open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    let mut text = [0u8; 16];
    let length = nix::unistd::read(&file, &mut text)?;
    number(text.get(..length).unwrap_or(&[]).trim_ascii()).ok_or(Errno::EINVAL)
}
