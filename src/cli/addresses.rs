//! Addresses and interfaces of a container's network namespace, in the order in which LXC lists them.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};

/// Message types of rtnetlink(7) and netlink(7).
const NEWADDR: u16 = 20;
const GETADDR: u16 = 22;
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// NLM_F_REQUEST | NLM_F_DUMP
const DUMP: u16 = 0x301;
/// Bytes of a message's header, and of the ifaddrmsg behind it.
const HEADER: usize = 16;
const IFADDRMSG: usize = 8;
/// Attributes of an address: of an interface, or of the other end; of this end.
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
/// The number of `lo` in every network namespace.
const LOOPBACK: u32 = 1;

/// The addresses of the namespace of process `pid` as texts, in the order of their letters; loopback's and the link-local ones
/// of IPv6 are left out. None at all where the namespace cannot be entered.
pub fn of(pid: i32) -> Vec<String> {
    let mut sorted: Vec<String> = Vec::new();
    for address in ask(pid).unwrap_or_default() {
        let text = address.to_string();
        sorted.insert(sorted.iter().take_while(|other| **other <= text).count(), text);
    }
    sorted
}

/// Does something inside the network namespace of process `pid`. None: it cannot be entered.
pub fn within<T>(pid: i32, act: impl FnOnce() -> T) -> Option<T> {
    let here = File::open("/proc/self/ns/net").ok()?;
    let there = File::open(format!("/proc/{pid}/ns/net")).ok()?;
    setns(&there, CloneFlags::CLONE_NEWNET).ok()?;
    let done = act();
    setns(&here, CloneFlags::CLONE_NEWNET).ok()?;
    Some(done)
}

/// A socket belongs to the namespace in which it was made.
fn socket_of(pid: i32) -> Option<OwnedFd> {
    let (family, flags) = (AddressFamily::Netlink, SockFlag::SOCK_CLOEXEC);
    within(pid, || socket(family, SockType::Raw, flags, SockProtocol::NetlinkRoute))?.ok()
}

fn ask(pid: i32) -> Option<Vec<IpAddr>> {
    let socket = socket_of(pid)?;
    let mut request = Vec::with_capacity(HEADER + IFADDRMSG);
    request.extend(((HEADER + IFADDRMSG) as u32).to_ne_bytes());
    request.extend(GETADDR.to_ne_bytes());
    request.extend(DUMP.to_ne_bytes());
    request.resize(HEADER + IFADDRMSG, 0);
    send(socket.as_raw_fd(), &request, MsgFlags::empty()).ok()?;
    let mut found = Vec::new();
    let mut buffer = vec![0; 32 << 10];
    loop {
        let got = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()).ok()?;
        if got == 0 || !take(buffer.get(..got)?, &mut found) {
            return Some(found);
        }
    }
}

/// Takes the addresses out of a datagram; false when it was the last one.
fn take(mut messages: &[u8], found: &mut Vec<IpAddr>) -> bool {
    while let Some((length, kind)) = head(messages, 4) {
        let Some((message, rest)) = messages.split_at_checked(length) else { return false };
        match kind {
            DONE | ERROR => return false,
            NEWADDR => found.extend(address(message.get(HEADER..).unwrap_or_default())),
            _ => {}
        }
        messages = rest.get(length.next_multiple_of(4) - length..).unwrap_or_default();
    }
    true
}

/// The address of an ifaddrmsg with its attributes.
fn address(message: &[u8]) -> Option<IpAddr> {
    let index = u32::from_ne_bytes(*message.get(4..)?.first_chunk()?);
    let mut rest = message.get(IFADDRMSG..)?;
    let (mut own, mut other) = (None, None);
    while let Some((length, kind)) = head(rest, 2) {
        let value = rest.get(4..length)?;
        match kind {
            IFA_LOCAL => own = ip(value),
            IFA_ADDRESS => other = ip(value),
            _ => {}
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    let link_local = |ip: &IpAddr| matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    own.or(other).filter(|ip| index != LOOPBACK && !link_local(ip))
}

/// Length and type of a message (`size` 4) or of an attribute (2), whose header counts in the length.
fn head(bytes: &[u8], size: usize) -> Option<(usize, u16)> {
    let (length, rest) = bytes.split_at_checked(size)?;
    let length = match *length {
        [a, b] => usize::from(u16::from_ne_bytes([a, b])),
        [a, b, c, d] => u32::from_ne_bytes([a, b, c, d]) as usize,
        _ => return None,
    };
    let kind = u16::from_ne_bytes(*rest.first_chunk()?);
    (length >= if size == 2 { 4 } else { HEADER }).then_some((length, kind))
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).ok().map(|octets| IpAddr::V4(Ipv4Addr::from(octets)));
    v4.or_else(|| <[u8; 16]>::try_from(bytes).ok().map(|octets| IpAddr::V6(Ipv6Addr::from(octets))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, index: u32, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = vec![2, 24, 0, 0];
        body.extend(index.to_ne_bytes());
        for (kind, value) in attributes {
            body.extend((4 + value.len() as u16).to_ne_bytes());
            body.extend(kind.to_ne_bytes());
            body.extend(*value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        let mut whole = ((HEADER + body.len()) as u32).to_ne_bytes().to_vec();
        whole.extend(kind.to_ne_bytes());
        whole.resize(HEADER, 0);
        whole.extend(body);
        whole
    }

    #[test]
    fn dump_gives_own_addresses_without_loopback_and_link_local() {
        let v6: [u8; 16] = "fd00::2".parse::<Ipv6Addr>().unwrap().octets();
        let local: [u8; 16] = "fe80::2".parse::<Ipv6Addr>().unwrap().octets();
        let dump = [
            message(NEWADDR, 1, &[(IFA_ADDRESS, &[127, 0, 0, 1]), (IFA_LOCAL, &[127, 0, 0, 1])]),
            message(NEWADDR, 7, &[(IFA_ADDRESS, &[192, 0, 2, 9]), (IFA_LOCAL, &[192, 0, 2, 2]), (3, b"eth0\0")]),
            message(NEWADDR, 7, &[(IFA_ADDRESS, &v6)]),
            message(NEWADDR, 7, &[(IFA_ADDRESS, &local)]),
        ];
        let mut found = Vec::new();
        assert!(take(&dump.concat(), &mut found));
        assert_eq!(found, ["192.0.2.2".parse::<IpAddr>().unwrap(), "fd00::2".parse().unwrap()]);
        assert!(!take(&message(DONE, 0, &[]), &mut found));
    }

    #[test]
    fn dump_cut_short_or_lying_ends_quietly() {
        let whole = message(NEWADDR, 7, &[(IFA_LOCAL, &[192, 0, 2, 2])]);
        for end in 0..whole.len() {
            let mut found = Vec::new();
            take(&whole[..end], &mut found);
            assert!(found.is_empty());
        }
        let mut lying = whole;
        lying[HEADER + IFADDRMSG] = 200;
        let mut found = Vec::new();
        take(&lying, &mut found);
        assert!(found.is_empty());
    }
}
