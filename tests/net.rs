//! Network links: what is inside, what the host has meanwhile, traffic, and that nothing is left or lost at any end.
//!
//! Each test has a network namespace of its own for the host. What the guest has is asked of iproute2 in its namespace.

use crate::support::strace::{self, Trace};
use crate::support::{self, Guest, is_lxc, sandbox, wait_for, wait_until};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

/// A guest on a host of its own, on which `script` has run. None, with the skip said, where that cannot be.
fn guest(label: &str, script: &str) -> Option<Guest> {
    if support::emulated(label, "qemu-user has no namespaces for its clone") {
        return None;
    }
    for tool in ["ip", "nsenter"] {
        if Command::new(tool).arg("-V").output().is_err() {
            support::skip(label, "no iproute2 or nsenter (packages iproute2, util-linux)", true);
            return None;
        }
    }
    let mut guest = Guest::new(label);
    guest.sandbox.isolate_network();
    guest.sandbox.sh(script);
    Some(guest.config("lxc.uts.name = box"))
}

/// Whether this kernel makes links of a type.
fn kernel_has(guest: &Guest, test: &str, kind: &str, rest: &str) -> bool {
    let made =
        format!("ip link add probe0 {rest} type {kind} >/dev/null 2>&1 && ip link del probe0 && echo yes || echo no");
    let has = guest.sandbox.sh(&made).trim() == "yes";
    if !has {
        support::skip(test, &format!("this kernel has no links of type {kind}"), false);
    }
    has
}

/// A bridge with addresses, and a pair p0, p1.
const HOST: &str = "
    ip link add br0 type bridge
    ip link set br0 mtu 1400
    ip addr add 10.9.0.1/24 dev br0
    ip addr add fd09::1/64 dev br0 nodad
    ip link set br0 up
    ip link add p0 type veth peer name p1
    ip link set p0 up
    ip link set p1 mtu 1300
";

/// Every link of the host, with what a guest could change: name, hardware address, mtu, state, bridge.
fn host_links(guest: &Guest) -> String {
    let all = guest.sandbox.sh("ip -o link; ip -o route; ip -6 -o route show table main; ip -o neigh show proxy");
    // A bridge takes over its ports' addresses, and a link comes up when it likes.
    let stable = |line: &str| {
        let words = line.split_whitespace();
        let skip = ["br0:", "state", "UP", "DOWN", "LOWERLAYERDOWN", "UNKNOWN"];
        words
            .filter(|word| !skip.contains(word) && !word.contains("CARRIER") && !word.contains("LOWER_UP"))
            .collect::<Vec<_>>()
            .join(" ")
    };
    let mut lines: Vec<_> = all
        .lines()
        .filter(|line| ![" br0", " br1"].iter().any(|bridge| line.contains(bridge)) && !line.starts_with("fe80:"))
        .map(stable)
        .collect();
    lines.sort();
    lines.join("\n")
}

/// Runs a script in the guest's network namespace.
fn inside(guest: &Guest, script: &str) -> String {
    guest.sandbox.sh(&format!("nsenter -t {} -n sh -euc '{script}'", guest.init()))
}

/// Sends some megabytes from the host to `address` in the guest and back.
fn transfer(guest: &Guest, address: &'static str) {
    const BYTES: usize = 3_000_000;
    let namespace = File::open(format!("/proc/{}/ns/net", guest.init())).unwrap();
    let listener = sandbox::in_network(namespace, || TcpListener::bind(("::", 5001)).unwrap());
    let echo = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut taken = vec![0; BYTES];
        stream.read_exact(&mut taken).unwrap();
        stream.write_all(&taken).unwrap();
    });
    let mut stream = sandbox::in_network(guest.sandbox.network(), move || TcpStream::connect((address, 5001)).unwrap());
    let sent: Vec<u8> = (0..BYTES).map(|n| (n * n / 7) as u8).collect();
    stream.write_all(&sent).unwrap();
    let mut back = Vec::new();
    stream.read_to_end(&mut back).unwrap();
    assert!(back == sent, "{} bytes came back", back.len());
    echo.join().unwrap();
}

#[test]
fn veth_on_a_bridge_has_every_field_and_carries_traffic() {
    let Some(guest) = guest("veth", HOST) else { return };
    let guest = guest.config(
        "lxc.net.0.type = veth
        lxc.net.0.link = br0
        lxc.net.0.flags = up
        lxc.net.0.name = wan0
        lxc.net.0.veth.pair = vethtest
        lxc.net.0.hwaddr = 00:16:3e:11:22:33
        lxc.net.0.ipv4.address = 10.9.0.5/24 10.9.0.77
        lxc.net.0.ipv4.address = 10.9.1.5/16
        lxc.net.0.ipv4.gateway = auto
        lxc.net.0.ipv6.address = fd09::5/64
        lxc.net.0.ipv6.gateway = auto
        lxc.net.1.type = veth
        lxc.net.1.mtu = 1280",
    );
    let before = host_links(&guest);
    let running = guest.start("say up , forever");
    guest.wait_said("up");
    let links = inside(&guest, "ip -o -d link; ip -o addr; ip -o route; ip -6 -o route");
    let has = |wanted: &[&str]| {
        let found = links.lines().any(|line| wanted.iter().all(|word| line.contains(word)));
        assert!(found, "no line with {wanted:?} in\n{links}");
    };
    has(&["wan0@", "mtu 1400", "00:16:3e:11:22:33", ",UP", "veth"]);
    has(&["wan0", "inet 10.9.0.5/24 brd 10.9.0.77"]);
    has(&["wan0", "inet 10.9.1.5/16 brd 10.9.255.255"]);
    has(&["wan0", "inet6 fd09::5/64"]);
    has(&["default via 10.9.0.1 dev wan0"]);
    has(&["default via fd09::1 dev wan0"]);
    has(&["eth0@", "mtu 1280", "state DOWN"]);
    let outside = guest.sandbox.sh("ip -o -d link show dev vethtest");
    for wanted in ["master br0", "mtu 1400", "state UP", "link/ether fe:"] {
        assert!(outside.contains(wanted), "no {wanted} in {outside}");
    }
    // The kernel makes sure for a second that nobody else has an IPv6 address.
    let settled = || !inside(&guest, "ip -6 addr").contains("tentative");
    wait_until("the IPv6 addresses", settled);
    inside(&guest, "busybox ping -c 1 -W 5 10.9.0.1 && busybox ping -c 1 -W 5 fd09::1");
    guest.sandbox.sh("busybox ping -c 1 -W 5 10.9.0.5");
    transfer(&guest, "10.9.0.5");
    running.signal(libc::SIGTERM);
    running.signal(libc::SIGTERM);
    guest.client("stop", &["-k"]);
    running.wait();
    assert_eq!(host_links(&guest), before);
    guest.assert_nothing_left();
}

#[test]
fn veth_router_is_reached_by_the_hosts_routes() {
    let Some(guest) = guest("router", HOST) else { return };
    // A host answers for what it has a route to, elsewhere than to the asker.
    guest.sandbox.sh("sysctl -qw net.ipv6.conf.all.forwarding=1; ip route add default via 10.9.0.254 dev br0");
    let guest = guest.config(
        "lxc.net.0.type = veth
        lxc.net.0.veth.mode = router
        lxc.net.0.veth.pair = vethr
        lxc.net.0.flags = up
        lxc.net.0.ipv4.address = 10.7.0.5/32
        lxc.net.0.ipv4.gateway = 169.254.1.1
        lxc.net.0.ipv6.address = fd07::5/128
        lxc.net.0.ipv6.gateway = fe80::1
        lxc.net.0.veth.ipv4.route = 10.6.0.0/24
        lxc.net.0.veth.ipv6.route = fd06::/64",
    );
    let before = host_links(&guest);
    let running = guest.start("say up , forever");
    guest.wait_said("up");
    let host = guest.sandbox.sh("ip route; ip -6 route; ip neigh show proxy; ip -6 neigh show proxy
        cd /proc/sys/net; grep -H 1 ipv4/conf/vethr/forwarding ipv6/conf/vethr/forwarding ipv6/conf/vethr/proxy_ndp");
    for wanted in [
        "10.7.0.5 dev vethr scope link",
        "10.6.0.0/24 dev vethr scope link",
        "fd07::5 dev vethr",
        "fd06::/64 dev vethr",
        "169.254.1.1 dev vethr",
        "fe80::1 dev vethr",
        "ipv6/conf/vethr/proxy_ndp:1",
    ] {
        assert!(host.contains(wanted), "no {wanted} in\n{host}");
    }
    let routes = inside(&guest, "ip route; ip -6 route");
    for wanted in
        ["169.254.1.1 dev eth0 scope link", "default via 169.254.1.1 dev eth0", "default via fe80::1 dev eth0"]
    {
        assert!(routes.contains(wanted), "no {wanted} in\n{routes}");
    }
    // The host's own address elsewhere is behind the gateway that the host answers for.
    inside(&guest, "busybox ping -c 1 -W 5 10.9.0.1");
    transfer(&guest, "10.7.0.5");
    guest.client("stop", &["-k"]);
    running.wait();
    assert_eq!(host_links(&guest), before);
    guest.assert_nothing_left();
}

#[test]
fn gateway_forms_make_their_routes() {
    let Some(guest) = guest("gateway", HOST) else { return };
    let guest = guest.config(
        "lxc.net.0.type = veth
        lxc.net.0.flags = up
        lxc.net.0.ipv4.address = 10.7.0.5/24
        lxc.net.0.ipv4.gateway = 10.66.0.1
        lxc.net.0.ipv6.address = fd07::5
        lxc.net.0.ipv6.gateway = dev
        lxc.net.1.type = empty",
    );
    let running = guest.start("say up , forever");
    guest.wait_said("up");
    let routes = inside(&guest, "ip route; ip -6 route; ip -o link");
    for wanted in ["10.66.0.1 dev eth0", "default via 10.66.0.1 dev eth0", "default dev eth0", "fd07::/64 dev eth0"] {
        assert!(routes.contains(wanted), "no {wanted} in\n{routes}");
    }
    assert!(routes.lines().any(|line| line.contains("lo:") && line.contains("UP")), "{routes}");
    guest.client("stop", &["-k"]);
    running.wait();
    guest.assert_nothing_left();
}

#[test]
fn macvlan_modes_are_set_and_carry_traffic() {
    for mode in ["private", "vepa", "bridge", "passthru"] {
        let Some(guest) = guest("macvlan", HOST) else { return };
        if !kernel_has(&guest, "macvlan_modes_are_set_and_carry_traffic", "macvlan", "link p0") {
            return;
        }
        guest.sandbox.sh("ip addr add 10.8.0.1/24 dev p1; ip link set p1 up");
        let guest = guest.config(&format!(
            "lxc.net.0.type = macvlan
            lxc.net.0.link = p0
            lxc.net.0.flags = up
            lxc.net.0.macvlan.mode = {mode}
            lxc.net.0.ipv4.address = 10.8.0.5/24"
        ));
        let before = host_links(&guest);
        let running = guest.start("say up , forever");
        guest.wait_said("up");
        let link = inside(&guest, "ip -d -o link show eth0");
        assert!(link.contains(&format!("macvlan mode {mode}")), "{link}");
        inside(&guest, "busybox ping -c 1 -W 5 10.8.0.1");
        guest.client("stop", &["-k"]);
        running.wait();
        // passthru leaves the lower link promiscuous for a moment longer.
        assert!(wait_for(Duration::from_secs(5), || host_links(&guest) == before), "{before}\n{}", host_links(&guest));
        guest.assert_nothing_left();
    }
}

#[test]
fn link_types_that_a_kernel_may_lack_work_or_say_what_it_lacks() {
    const TEST: &str = "link_types_that_a_kernel_may_lack_work_or_say_what_it_lacks";
    // (type, what ip needs to make one, config, what is seen inside, what the kernel lacks)
    let rows = [
        ("vlan", "link p0", "lxc.net.0.vlan.id = 7", "802.1Q id 7", "CONFIG_VLAN_8021Q"),
        ("ipvlan", "link p0", "lxc.net.0.ipvlan.mode = l2", "ipvlan mode l2 bridge", "CONFIG_IPVLAN"),
        ("ipvlan", "link p0", "lxc.net.0.ipvlan.isolation = private", "ipvlan mode l3 private", "CONFIG_IPVLAN"),
    ];
    for (kind, parent, config, seen, lacks) in rows {
        let Some(guest) = guest("kinds", HOST) else { return };
        let id = if kind == "vlan" { "vlan id 5" } else { kind };
        let has = kernel_has(&guest, TEST, id, parent);
        let line = guest.next_line();
        let guest =
            guest.config(&format!("lxc.net.0.type = {kind}\nlxc.net.0.link = p0\nlxc.net.0.flags = up\n{config}"));
        let before = host_links(&guest);
        if has {
            let running = guest.start("say up , forever");
            guest.wait_said("up");
            let link = inside(&guest, "ip -d -o link show eth0");
            assert!(link.contains(seen), "{link}");
            guest.client("stop", &["-k"]);
            running.wait();
        } else {
            let ended = guest.run("exit 0");
            assert_eq!(ended.code, Some(255), "{ended}");
            let wanted = format!("config:{line}: lxc.net.0.type = {kind}: this kernel has no");
            assert!(ended.stderr.contains(&wanted) && ended.stderr.contains(lacks), "{ended}");
        }
        assert_eq!(host_links(&guest), before);
        guest.assert_nothing_left();
    }
}

/// p1 as the guest's phy9.
const PHYS: &str = "
    lxc.net.0.type = phys
    lxc.net.0.link = p1
    lxc.net.0.name = phy9
    lxc.net.0.mtu = 1200
    lxc.net.0.hwaddr = 00:16:3e:xx:xx:xx
    lxc.net.0.flags = up
    lxc.net.0.ipv4.address = 10.8.0.5/24
";

#[test]
fn phys_link_comes_back_as_it_was_on_every_end() {
    // How it ends, the rest of the config, init's steps, what the test does.
    type Act = fn(&Guest);
    let nothing: Act = |_| {};
    let kill: Act = |guest| sandbox::kill(guest.init(), libc::SIGKILL);
    let stop: Act = |guest| drop(guest.client("stop", &["-k"]));
    let rename: Act = |guest| {
        inside(guest, "ip link set phy9 down; ip link set phy9 name other; ip link set other mtu 1111");
        sandbox::kill(guest.init(), libc::SIGKILL);
    };
    let rows: [(&str, &str, &str, Act); 6] = [
        ("exit", "", "exit 3", nothing),
        ("stop", "", "say up , forever", stop),
        ("killed", "", "say up , forever", kill),
        ("renamed inside", "", "say up , forever", rename),
        ("failed start", "lxc.mount.entry = /nowhere mnt none bind 0 0", "say up", nothing),
        ("failed link", "lxc.net.1.type = veth\nlxc.net.1.link = nosuch", "say up", nothing),
    ];
    for up in ["up", "down"] {
        for (what, config, steps, act) in rows {
            let Some(guest) = guest("phys", HOST) else { return };
            guest.sandbox.sh(&format!("ip link set p1 {up}"));
            let guest = guest.config(PHYS).config(config);
            let before = host_links(&guest);
            let running = guest.start(steps);
            if steps.ends_with("forever") {
                guest.wait_said("up");
                let link = inside(&guest, "ip -o link show phy9; ip -o -4 addr show phy9");
                assert!(
                    link.contains("mtu 1200") && link.contains("00:16:3e") && link.contains("10.8.0.5/24"),
                    "{link}"
                );
                assert!(!guest.sandbox.sh("ip -o link").contains("p1"), "{what}");
            }
            act(&guest);
            let ended = running.wait();
            assert_eq!(host_links(&guest), before, "{what}, {up}{ended}");
            guest.assert_nothing_left();
        }
    }
}

#[test]
fn reboots_make_links_anew_and_keep_what_was_drawn() {
    let Some(guest) = guest("reboots", HOST) else { return };
    let guest = guest.config(PHYS).config(
        "lxc.net.1.type = veth
        lxc.net.1.link = br0
        lxc.net.1.veth.pair = fixed
        lxc.net.1.hwaddr = xx:xx:xx:xx:xx:xx
        lxc.net.1.script.up = {dir}/up.sh
        lxc.net.2.type = veth
        monopod.restart.delay = 0ms
        monopod.restart.uptime = 1h
        monopod.restart.budget = 20",
    );
    guest.script("up.sh", "nsenter -t $LXC_PID -n ip -o link show dev eth0 | grep -o 'ether [^ ]*' >> $dir/addresses");
    let before = host_links(&guest);
    let ended = guest.run("restart-times 10 , exit 4");
    assert_eq!(ended.code, Some(4), "{ended}");
    let addresses = guest.file("addresses");
    let mut all: Vec<_> = addresses.lines().collect();
    assert_eq!(all.len(), 11, "{addresses}");
    all.dedup();
    assert_eq!(all.len(), 1, "{addresses}");
    let digit = all[0].chars().nth("ether x".len()).unwrap();
    assert!("26ae".contains(digit), "{addresses}");
    assert_eq!(host_links(&guest), before, "{ended}");
    guest.assert_nothing_left();
}

#[test]
fn phys_link_that_the_guest_exchanged_for_another_does_not_come_back() {
    let Some(guest) = guest("phys_exchanged", HOST) else { return };
    let guest = guest.config(PHYS);
    let running = guest.start("say up , forever");
    guest.wait_said("up");
    // Of the same number and name, but of another kind.
    inside(
        &guest,
        "number=$(cat /sys/class/net/phy9/ifindex 2>/dev/null || ip -o link show phy9 | cut -d: -f1)
        ip link del phy9
        ip link add phy9 index $number type bridge
        ip link show phy9",
    );
    guest.client("stop", &["-k"]);
    let ended = running.wait();
    assert!(guest.file("log").contains("p1 does not come back: the container has another link"), "{ended}");
    assert!(!guest.sandbox.sh("ip -o link").contains("p1"), "{ended}");
}

#[test]
fn phys_link_whose_name_was_taken_comes_back_under_another() {
    let Some(guest) = guest("phys_taken", HOST) else { return };
    let guest = guest.config(PHYS);
    let running = guest.start("say up , forever");
    guest.wait_said("up");
    guest.sandbox.sh("ip link add p1 type bridge; ip link add phy9 type bridge");
    guest.client("stop", &["-k"]);
    let ended = running.wait();
    assert!(guest.file("log").contains("p1 is back on the host, but under another name: File exists"), "{ended}");
    let links = guest.sandbox.sh("ip -o link show type veth");
    assert_eq!(links.lines().count(), 2, "{links}");
}

#[test]
fn supervisor_killed_its_veth_is_gone_and_the_next_start_has_the_name() {
    let Some(guest) = guest("supervisor_killed", HOST) else { return };
    let guest = guest.config("lxc.net.0.type = veth\nlxc.net.0.link = br0\nlxc.net.0.veth.pair = fixed");
    let before = host_links(&guest);
    for _ in 0..3 {
        let running = guest.start("say up , forever");
        wait_until("the guest", || guest.results().ends_with("up\n"));
        running.signal(libc::SIGKILL);
        running.wait();
        let _ = std::fs::remove_file(guest.rootfs().join("results"));
    }
    let ended = guest.run("exit 6");
    assert_eq!(ended.code, Some(6), "{ended}");
    assert_eq!(host_links(&guest), before);
    guest.assert_nothing_left();
}

#[test]
fn errors_name_link_field_and_line_and_leave_nothing() {
    // (config, what the line says): the last config line is at fault.
    let rows = [
        ("lxc.net.0.type = veth\nlxc.net.0.link = nosuch", "lxc.net.0.link = nosuch: No such device"),
        ("lxc.net.0.type = veth\nlxc.net.0.link = p0", "lxc.net.0.link = p0: it is no bridge: "),
        (
            "lxc.net.0.type = veth\nlxc.net.0.name = lo",
            "lxc.net.0.name = lo: the container has a link of that name already",
        ),
        ("lxc.net.0.type = veth\nlxc.net.0.veth.pair = p0", "lxc.net.0.veth.pair = p0: File exists"),
        ("lxc.net.3.type = macvlan", "lxc.net.3.type = macvlan: it needs a link of the host's (link)"),
        ("lxc.net.0.type = phys\nlxc.net.0.link = lo", "lxc.net.0.link = lo: "),
        ("lxc.net.0.type = phys\nlxc.net.0.link = nosuch", "lxc.net.0.link = nosuch: No such device"),
        (
            "lxc.net.0.type = veth\nlxc.net.0.ipv4.gateway = dev",
            "lxc.net.0.ipv4.gateway = dev: a gateway needs lxc.net.N.flags = up",
        ),
        (
            "lxc.net.0.type = veth\nlxc.net.0.flags = up\nlxc.net.0.link = br1\nlxc.net.0.ipv4.gateway = auto",
            "auto: the host has no such address on lxc.net.N.link: ",
        ),
        ("lxc.net.0.type = veth\nlxc.net.0.link = br0\nlxc.net.0.veth.vlan.id = 7", "lxc.net.0.link = br0: "),
        (
            "lxc.net.0.type = veth\nlxc.net.0.ipv4.address = 10.0.0.1/24\nlxc.net.0.ipv4.address = 10.0.0.1/24",
            "lxc.net.0.ipv4.address = 10.0.0.1/24: File exists",
        ),
        ("lxc.net.0.type = veth\nlxc.net.0.script.up = false", "up false exited with code 1"),
        (
            "lxc.net.0.type = veth\nlxc.net.0.link = p0\nlxc.net.0.veth.mode = router\nlxc.net.0.ipv4.address = 10.0.0.1/24\nlxc.net.0.l2proxy = 1",
            "lxc.net.0.l2proxy = 1: it needs net.ipvN.conf",
        ),
    ];
    for (config, wanted) in rows {
        let Some(guest) = guest("errors", HOST) else { return };
        guest.sandbox.sh("ip link add br1 type bridge");
        let guest = guest.config("lxc.net.9.type = phys\nlxc.net.9.link = p1").config(config);
        let last = guest.next_line() - 1;
        let before = host_links(&guest);
        let ended = guest.run("exit 0");
        assert_eq!(ended.code, Some(255), "{config}{ended}");
        let line = ended.stderr.lines().last().unwrap_or_default().to_owned();
        let first = config.lines().count() - 1;
        let at = if wanted.contains("link = br0") { last - 1 } else { last };
        assert!(line.contains(wanted) && line.contains(&format!("config:{at}: ")), "{first} {config}{ended}");
        assert_eq!(host_links(&guest), before, "{config}");
        guest.assert_nothing_left();
    }
}

#[test]
fn legacy_keys_make_the_same_links() {
    let Some(guest) = guest("legacy", HOST) else { return };
    let guest = guest.config(
        "lxc.network.type = veth
        lxc.network.link = br0
        lxc.network.flags = up
        lxc.network.ipv4 = 10.9.0.5/24
        lxc.network.ipv4.gateway = 10.9.0.1
        lxc.network.type = veth
        lxc.network.name = second
        lxc.network.mtu = 1290",
    );
    let running = guest.start("say up , forever");
    guest.wait_said("up");
    let seen = inside(&guest, "ip -o link; ip -o addr; ip route; busybox ping -c 1 -W 5 10.9.0.1");
    for wanted in ["inet 10.9.0.5/24 brd 10.9.0.255", "default via 10.9.0.1 dev eth0", "second@", "mtu 1290"] {
        assert!(seen.contains(wanted), "no {wanted} in\n{seen}");
    }
    guest.client("stop", &["-k"]);
    running.wait();
    guest.assert_nothing_left();
}

#[test]
fn links_of_a_user_namespace_are_made_and_given_back() {
    let Some(guest) = guest("user", HOST) else { return };
    let guest = guest.config(PHYS).config(
        "lxc.idmap = u 0 100000 65536
        lxc.idmap = g 0 100000 65536
        lxc.net.1.type = veth
        lxc.net.1.link = br0
        lxc.net.1.flags = up
        lxc.net.1.ipv4.address = 10.9.0.5/24",
    );
    let init = guest.rootfs().join("init");
    std::fs::copy(&init, guest.dir().join("copy")).unwrap();
    std::fs::rename(guest.dir().join("copy"), &init).unwrap();
    guest.sandbox.sh(&format!("chown -R 100000:100000 {}", guest.rootfs().display()));
    let before = host_links(&guest);
    let running = guest.start("say up , forever");
    guest.wait_said("up");
    let seen = inside(&guest, "ip -o addr; busybox ping -c 1 -W 5 10.9.0.1");
    assert!(seen.contains("phy9    inet 10.8.0.5/24"), "{seen}");
    let map = std::fs::read_to_string(format!("/proc/{}/uid_map", guest.init())).unwrap();
    assert!(map.split_whitespace().eq(["0", "100000", "65536"]), "{map}");
    sandbox::kill(guest.init(), libc::SIGKILL);
    let ended = running.wait();
    assert_eq!(host_links(&guest), before, "{ended}");
    guest.assert_nothing_left();
}

#[test]
fn links_for_a_user_without_root_are_refused() {
    for (link, field) in [("veth", "type = veth"), ("phys\nlxc.net.0.link = p1", "link = p1")] {
        let Some(guest) = guest("rootless", HOST) else { return };
        let guest = guest.config("lxc.idmap = u 0 54321 1\nlxc.idmap = g 0 54321 1");
        let guest = guest.config(&format!("lxc.net.0.type = {link}"));
        guest.sandbox.sh("chmod 1777 /run");
        let before = host_links(&guest);
        let start = guest.start_command("exit 0");
        guest.sandbox.sh(&format!("chown -R 54321:54321 {}", guest.dir().display()));
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "54321", "--regid", "54321", "--clear-groups"]).env("XDG_RUNTIME_DIR", "/run");
        command.arg(start.get_program()).args(start.get_args());
        guest.enter(&mut command);
        let ended = support::Running::new(&guest, command).wait();
        let wanted = format!("lxc.net.0.{field}: it takes root on the host; there is no lxc-user-nic here: ");
        assert!(ended.code == Some(255) && ended.stderr.contains(&wanted), "{ended}");
        assert_eq!(host_links(&guest), before);
        assert!(guest.sandbox.processes().is_empty());
    }
}

#[test]
fn l2proxy_answers_on_the_link_until_the_end() {
    let Some(guest) = guest("l2proxy", HOST) else { return };
    guest.sandbox.sh("ip link set p1 up
        sysctl -qw net.ipv4.conf.p0.forwarding=1 net.ipv6.conf.p0.forwarding=1 net.ipv6.conf.p0.proxy_ndp=1");
    let guest = guest.config(
        "lxc.net.0.type = veth
        lxc.net.0.veth.mode = router
        lxc.net.0.link = p0
        lxc.net.0.l2proxy = 1
        lxc.net.0.flags = up
        lxc.net.0.ipv4.address = 10.7.0.5/32
        lxc.net.0.ipv6.address = fd07::5/128",
    );
    let before = host_links(&guest);
    let running = guest.start("say up , forever");
    guest.wait_said("up");
    let proxies = guest.sandbox.sh("ip neigh show proxy; ip -6 neigh show proxy");
    assert!(proxies.contains("10.7.0.5 dev p0") && proxies.contains("fd07::5 dev p0"), "{proxies}");
    guest.client("stop", &["-k"]);
    running.wait();
    assert_eq!(host_links(&guest), before);
    guest.assert_nothing_left();
}

#[test]
fn kept_network_namespace_gets_no_links() {
    let Some(guest) = guest("kept", HOST) else { return };
    let guest = guest.config("lxc.namespace.keep = net\nlxc.net.0.type = phys\nlxc.net.0.link = p1");
    let before = host_links(&guest);
    let running = guest.start("say up , forever");
    guest.wait_said("up");
    assert_eq!(host_links(&guest), before);
    guest.client("stop", &["-k"]);
    running.wait();
    guest.assert_nothing_left();
}

/// The words and the LXC_* environment of every call of the links' scripts.
fn transcript(guest: &Guest, start: Command) -> String {
    let _ = std::fs::remove_file(guest.dir().join("transcript"));
    support::Running::new(guest, start).wait();
    let text = guest.file("transcript");
    // Drawn anew each time; what an earlier script was told stays in LXC's own environment.
    let drawn = |word: &str| word.starts_with("veth") && word.len() == 10;
    text.lines()
        .map(|l| l.split(' ').map(|w| if drawn(w) { "VETH" } else { w }).collect::<Vec<_>>().join(" "))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn scripts_are_told_what_lxc_tells_them() {
    for version in [0, 1] {
        let Some(guest) = guest("scripts", HOST) else { return };
        let guest = guest.config(&format!(
            "lxc.hook.version = {version}
            lxc.apparmor.profile = unconfined
            lxc.net.0.type = veth
            lxc.net.0.link = br0
            lxc.net.0.script.up = {{dir}}/net.sh one 'two  words'
            lxc.net.0.script.down = {{dir}}/net.sh
            lxc.net.1.type = macvlan
            lxc.net.1.link = p0
            lxc.net.1.script.up = {{dir}}/net.sh
            lxc.net.1.script.down = {{dir}}/net.sh
            lxc.net.2.type = phys
            lxc.net.2.link = p1
            lxc.net.2.script.up = {{dir}}/net.sh
            lxc.net.2.script.down = {{dir}}/net.sh
            lxc.net.3.type = veth
            lxc.net.3.script.up = {{dir}}/net.sh
            lxc.net.4.type = empty
            lxc.net.4.script.up = {{dir}}/net.sh"
        ));
        guest.script(
            "net.sh",
            "{
                printf '<%s> ' \"$@\"; echo
                echo \"$LXC_HOOK_TYPE|$LXC_HOOK_SECTION|$LXC_NET_TYPE|$LXC_NET_PARENT|$LXC_NAME|$LXC_HOOK_VERSION|${LXC_PID:+pid}\"
            } | sed -E 's/<veth[A-Za-z0-9]{6}>/<VETH>/' >> $dir/transcript",
        );
        let ours = transcript(&guest, guest.start_command("exit 0"));
        assert_eq!(ours.lines().count(), 2 * 8, "{ours}\n{}", guest.logs());
        let words = ["-F", "--", "/init", "exit", "0"];
        let Some(stock) = guest.stock_tool("start", &words) else {
            support::skip("scripts_are_told_what_lxc_tells_them", "no lxc-start of LXC's own (package lxc)", true);
            return;
        };
        assert_eq!(ours, transcript(&guest, stock), "version {version}");
    }
}

#[test]
fn info_knows_the_names_that_were_drawn() {
    let Some(guest) = guest("info", HOST) else { return };
    let guest = guest.config(
        "lxc.net.0.type = veth
        lxc.net.0.link = br0
        lxc.net.0.flags = up
        lxc.net.0.hwaddr = 00:16:3e:xx:xx:xx
        lxc.net.0.ipv4.address = 10.9.0.5/24",
    );
    let running = guest.start("say up , forever");
    guest.wait_said("up");
    inside(&guest, "busybox ping -c 1 -W 5 10.9.0.1");
    let name = guest.client("info", &["-H", "-c", "lxc.net.0.veth.pair"]).stdout.trim().to_owned();
    assert!(guest.sandbox.sh("ip -o link show master br0").contains(&format!(" {name}@")), "{name}");
    let address = guest.client("info", &["-H", "-c", "lxc.net.0.hwaddr"]).stdout;
    assert!(inside(&guest, "ip -o link show eth0").contains(address.trim()), "{address}");
    let lines = |text: &str| {
        let figure =
            |line: &&str| ["Link:", " TX bytes:", " RX bytes:", " Total bytes:"].iter().any(|l| line.starts_with(l));
        text.lines().filter(figure).map(|line| line.split_whitespace().next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let ours = guest.client("info", &[]).stdout;
    assert!(ours.contains(&format!("Link:           {name}\n")), "{ours}");
    assert_eq!(lines(&ours).len(), 4, "{ours}");
    if let Some(stock) = guest.stock_tool("info", &[]) {
        let stock = support::Running::new(&guest, stock).wait();
        assert!(stock.stdout.contains(&format!("Link:           {name}\n")), "{stock}");
        assert_eq!(lines(&stock.stdout), lines(&ours));
    }
    guest.client("stop", &["-k"]);
    running.wait();
    guest.assert_nothing_left();
}

#[test]
fn netlink_call_fails_the_start_is_refused_and_nothing_is_left_or_lost() {
    const TEST: &str = "netlink_call_fails_the_start_is_refused_and_nothing_is_left_or_lost";
    if is_lxc() || !strace::available(TEST) {
        return;
    }
    let config = "
        lxc.net.0.type = veth
        lxc.net.0.link = br0
        lxc.net.0.flags = up
        lxc.net.0.ipv4.address = 10.9.0.5/24
        lxc.net.0.ipv4.gateway = auto
        lxc.net.1.type = phys
        lxc.net.1.link = p1
        lxc.net.1.name = phy9
        lxc.net.1.flags = up
        lxc.net.1.ipv6.address = fd08::5/64
    ";
    let Some(first) = guest("faults_count", HOST) else { return };
    let trace = Trace::of(&first.config(config), "exit 7");
    for (call, error) in [("sendto", "ENOBUFS"), ("recvfrom", "ENOMEM"), ("socket", "EMFILE")] {
        let count = strace::count(&trace.supervisor, call);
        assert!(count > 0, "{call}");
        for at in 1..=count {
            let Some(guest) = guest("faults", HOST) else { return };
            let guest = guest.config(config);
            let before = host_links(&guest);
            let ended = strace::run(&guest, "exit 7", &[format!("{call}:error={error}:when={at}")]);
            let whole = ended.code == Some(7) || ended.code == Some(255) && ended.stderr.lines().count() == 1;
            assert!(whole, "{call} {at}{ended}");
            // A pair of which the removal failed ends with its namespace, which takes the kernel a moment.
            let same = wait_for(Duration::from_secs(5), || host_links(&guest) == before);
            assert!(same, "{call} {at}:\n{before}\n{}{ended}", host_links(&guest));
            guest.assert_nothing_left();
        }
    }
}
