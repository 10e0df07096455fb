//! Addresses as the config writes them. Pure.

use crate::config::lex::words;
use crate::text::number;
use core::net::IpAddr;

/// An IP address of either family, as the kernel takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ip {
    bytes: [u8; 16],
    four: bool,
}

impl Ip {
    /// From its text.
    pub fn parse(text: &[u8]) -> Option<Ip> {
        let mut bytes = [0; 16];
        let four = match core::str::from_utf8(text).ok()?.parse().ok()? {
            IpAddr::V4(address) => {
                bytes.first_chunk_mut::<4>()?.copy_from_slice(&address.octets());
                true
            }
            IpAddr::V6(address) => {
                bytes = address.octets();
                false
            }
        };
        Some(Ip { bytes, four })
    }

    /// From the kernel's bytes.
    pub fn from_octets(octets: &[u8]) -> Option<Ip> {
        let mut bytes = [0; 16];
        bytes.get_mut(..octets.len())?.copy_from_slice(octets);
        Some(Ip { bytes, four: octets.len() == 4 })
    }

    /// Its bytes.
    pub fn octets(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.bits() / 8)).unwrap_or(&[])
    }

    /// How many bits it has.
    pub fn bits(&self) -> u8 {
        if self.four { 32 } else { 128 }
    }

    /// AF_INET or AF_INET6.
    pub fn family(&self) -> u8 {
        (if self.four { libc::AF_INET } else { libc::AF_INET6 }) as u8
    }
}

/// `ADDRESS[/BITS] [BROADCAST]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The address.
    pub ip: Ip,
    /// Bits of its network.
    pub prefix: u8,
    /// Only for IPv4, and where the network has one.
    pub broadcast: Option<Ip>,
}

impl Address {
    /// From its text. Without bits an IPv4 address has those of its class, an IPv6 address 64; the broadcast address is the
    /// network's last one.
    pub fn parse(text: &[u8]) -> Option<Address> {
        let mut words = words(text);
        let mut parts = words.next()?.splitn(2, |b| *b == b'/');
        let ip = Ip::parse(parts.next()?)?;
        let prefix = match parts.next() {
            Some(bits) => u8::try_from(number(bits)?).ok().filter(|bits| *bits <= ip.bits())?,
            None => usual_prefix(&ip),
        };
        let broadcast = match words.next() {
            Some(text) => Some(Ip::parse(text)?),
            None if ip.four && prefix < 31 => last(&ip, prefix),
            None => None,
        };
        Some(Address { ip, prefix, broadcast })
    }
}

fn usual_prefix(ip: &Ip) -> u8 {
    match ip.bytes.first() {
        _ if !ip.four => 64,
        Some(0..=127) => 8,
        Some(128..=191) => 16,
        _ => 24,
    }
}

fn last(ip: &Ip, prefix: u8) -> Option<Ip> {
    let host = u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
    let number = u32::from_be_bytes(*ip.bytes.first_chunk()?) | host;
    Ip::from_octets(&number.to_be_bytes())
}

/// A hardware address of six bytes, as `settle` leaves it.
pub fn hardware(text: &[u8]) -> Option<[u8; 6]> {
    let mut bytes = [0; 6];
    let mut parts = text.split(|b| *b == b':');
    for byte in &mut bytes {
        let digits = core::str::from_utf8(parts.next()?).ok()?;
        *byte = u8::from_str_radix(digits, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_forms_mean_what_lxc_makes_of_them() {
        let parse = |text: &str| Address::parse(text.as_bytes());
        let whole = |text: &str| {
            let Address { ip, prefix, broadcast } = parse(text).unwrap();
            (ip.octets().to_vec(), prefix, broadcast.map(|ip| ip.octets().to_vec()))
        };
        assert_eq!(whole("10.0.3.5/24"), (vec![10, 0, 3, 5], 24, Some(vec![10, 0, 3, 255])));
        assert_eq!(whole("10.0.3.5/24 10.0.3.7"), (vec![10, 0, 3, 5], 24, Some(vec![10, 0, 3, 7])));
        assert_eq!(whole("10.0.3.5"), (vec![10, 0, 3, 5], 8, Some(vec![10, 255, 255, 255])));
        assert_eq!(whole("192.168.1.5").1, 24);
        assert_eq!(whole("10.0.3.5/32").2, None);
        assert_eq!(whole("0.0.0.0/0").2, Some(vec![255; 4]));
        let (ip, prefix, broadcast) = whole("fd00::5");
        assert_eq!((ip.len(), prefix, broadcast), (16, 64, None));
        assert!(["10.0.3.5/33", "fd00::/129", "", "x", "1.2.3.4/x", "1.2.3.4 x"].iter().all(|t| parse(t).is_none()));
    }

    #[test]
    fn hardware_address_is_six_bytes() {
        assert_eq!(hardware(b"00:16:3e:0a:FF:01"), Some([0, 0x16, 0x3e, 0x0a, 0xff, 1]));
        assert_eq!(hardware(b"00:16:3e:xx:ff:01"), None);
        assert_eq!(hardware(b"00:16"), None);
    }
}
