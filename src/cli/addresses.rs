//! The addresses of a container, read from /proc/PID/net: the kernel shows there the network of that process, so nobody has
//! to enter it.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The addresses of process `pid`'s network, loopback and link-local ones left out, as LXC does.
pub fn of(pid: i32) -> Vec<IpAddr> {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/net/{file}")).unwrap_or_default();
    let mut addresses = v4(&read("fib_trie"));
    addresses.extend(v6(&read("if_inet6")));
    addresses
}

/// Our own addresses in a fib_trie: each is a `|-- ADDRESS` line followed by one that ends with `host LOCAL`. The same tree may stand
/// there twice.
fn v4(trie: &str) -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = Vec::new();
    let mut last = None;
    for line in trie.lines().map(str::trim_ascii) {
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse::<Ipv4Addr>().ok();
        } else if line.ends_with(" host LOCAL") {
            let address = last.filter(|address| !address.is_loopback()).map(IpAddr::V4);
            found.extend(address.filter(|address| !found.contains(address)));
        }
    }
    found
}

/// The addresses of an if_inet6, whose lines begin with 32 hexadecimal digits.
fn v6(table: &str) -> Vec<IpAddr> {
    let digits = table.lines().filter_map(|line| line.split_ascii_whitespace().next());
    let addresses = digits.filter_map(|digits| u128::from_str_radix(digits, 16).ok()).map(Ipv6Addr::from);
    addresses.filter(|a| !a.is_loopback() && !a.is_unicast_link_local()).map(IpAddr::V6).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v4_local_hosts_are_found_once() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n        |-- 192.0.2.2\n           \
                    /32 host LOCAL\n        |-- 127.0.0.1\n           /32 host LOCAL\n        |-- 192.0.2.255\n           \
                    /32 link BROADCAST\nLocal:\n        |-- 192.0.2.2\n           /32 host LOCAL\n";
        assert_eq!(v4(trie), [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2))]);
        assert!(v4("").is_empty());
    }

    #[test]
    fn v6_loopback_and_link_local_are_left_out() {
        let table = "00000000000000000000000000000001 01 80 10 80       lo\n\
                     fd000000000000000000000000000002 02 40 00 80     eth0\n\
                     fe800000000000000000000000000001 02 40 20 80     eth0\nnonsense\n";
        assert_eq!(v6(table), ["fd00::2".parse::<IpAddr>().unwrap()]);
    }
}
