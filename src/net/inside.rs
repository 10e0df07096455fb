//! A link's end in the container: addresses, up, default routes.

use super::address::{Address, Ip};
use super::ask::{self, order};
use super::kinds;
use super::make::Work;
use super::message::{Message, NEW};
use crate::config::lex::words;
use crate::error::Result;
use core::ffi::CStr;
use nix::errno::Errno;

/// The fields with addresses.
pub(super) const ADDRESSES: [&CStr; 2] = [c"ipv4.address", c"ipv6.address"];
/// The fields with gateways, and their families.
pub(super) const GATEWAYS: [(&CStr, i32); 2] = [(c"ipv4.gateway", libc::AF_INET), (c"ipv6.gateway", libc::AF_INET6)];

/// Configures link `index`.
pub(super) fn configure(work: &mut Work<'_, '_>, index: u32) -> Result<()> {
    let nic = work.nic;
    for field in nic.fields.iter().filter(|field| ADDRESSES.contains(&field.name)) {
        let mut add = || {
            let address = Address::parse(field.value.to_bytes()).ok_or(Errno::EINVAL)?;
            order(work.inner, &mut address_message(&address, index))
        };
        add().map_err(|errno| super::fault_of(work.config, nic, field, no_family(errno), errno))?;
    }
    let up = kinds::value(nic, c"flags").is_some_and(|flags| words(flags.to_bytes()).any(|word| word == b"up"));
    if up {
        order(work.inner, &mut Message::link_up(index)).map_err(|errno| work.fault(c"flags", "", errno))?;
    }
    for (name, family) in GATEWAYS {
        let Some(gateway) = kinds::value(nic, name) else { continue };
        if !up {
            return Err(work.fault(name, ": a gateway needs lxc.net.N.flags = up", Errno::ENETDOWN));
        }
        let gateway = match gateway.to_bytes() {
            b"dev" => None,
            b"auto" => Some(links_own(work, name, family as u8)?),
            text => Some(Ip::parse(text).ok_or(Errno::EINVAL).map_err(|errno| work.fault(name, "", errno))?),
        };
        default_route(work, index, family as u8, gateway.as_ref())
            .map_err(|errno| work.fault(name, no_family(errno), errno))?;
    }
    Ok(())
}

fn address_message(address: &Address, index: u32) -> Message {
    let (ip, prefix) = (&address.ip, address.prefix);
    let mut message = Message::address(libc::RTM_NEWADDR, NEW, ip.family(), prefix, index);
    message.attribute(libc::IFA_LOCAL, ip.octets());
    message.attribute(libc::IFA_ADDRESS, ip.octets());
    if let Some(broadcast) = &address.broadcast {
        message.attribute(libc::IFA_BROADCAST, broadcast.octets());
    }
    message
}

/// `auto`: the address that the host has on `link`.
fn links_own(work: &mut Work<'_, '_>, name: &CStr, family: u8) -> Result<Ip> {
    let parent = work.parent()?.index;
    let found = ask::first_address(work.outer, parent, family).and_then(|ip| ip.ok_or(Errno::EADDRNOTAVAIL));
    found.map_err(|errno| work.fault(name, ": the host has no such address on lxc.net.N.link", errno))
}

/// A gateway that no network of the link holds is reached by a route of its own.
fn default_route(work: &mut Work<'_, '_>, index: u32, family: u8, gateway: Option<&Ip>) -> nix::Result<()> {
    let first = ask::add_route(work.inner, family, None, gateway, index);
    let Some(gateway) = gateway else { return first };
    match first {
        Err(Errno::ENETUNREACH | Errno::EHOSTUNREACH | Errno::EINVAL) => {
            ask::add_route(work.inner, family, Some((gateway, gateway.bits())), None, index)?;
            ask::add_route(work.inner, family, None, Some(gateway), index)
        }
        other => other,
    }
}

fn no_family(errno: Errno) -> &'static str {
    match errno {
        Errno::EAFNOSUPPORT | Errno::EOPNOTSUPP => ": this kernel has no such addresses (CONFIG_INET, CONFIG_IPV6)",
        _ => "",
    }
}
