//! Whole configs of ordinary containers: what LXC's package ships for its templates, with and without an id map, what its
//! templates add, and the examples of its documentation. Each starts unchanged but for paths.

use crate::support::{Guest, Report, Running, emulated, skip};
use std::fs;
use std::path::Path;

/// Where Debian's package has them.
const SHIPPED: &str = "/usr/share/lxc/config";
/// The first id of the maps, on the host.
const ROOT: u32 = 100_000;
/// The bridge of LXC's own network service.
const BRIDGE: &str = "
    ip link add lxcbr0 type bridge
    ip addr add 10.0.3.1/24 dev lxcbr0
    ip link set lxcbr0 up";
/// What lxc-create writes for each container.
const CREATED: &str = "
    lxc.net.0.type = veth
    lxc.net.0.link = lxcbr0
    lxc.net.0.flags = up
    lxc.net.0.hwaddr = 00:16:3e:xx:xx:xx
    lxc.apparmor.profile = unconfined
    lxc.uts.name = box";

/// A guest on a host with a network of its own, on which `host` has run. None, with the skip said, where that cannot be.
fn guest(test: &str, host: &str) -> Option<Guest> {
    if emulated(test, "qemu-user has no netlink and no filters") {
        return None;
    }
    if !Path::new(SHIPPED).join("common.conf").exists() {
        skip(test, "no /usr/share/lxc/config/common.conf (package lxc)", false);
        return None;
    }
    let mut guest = Guest::new(test);
    if !guest.busybox(test) {
        return None;
    }
    guest.sandbox.isolate_network();
    guest.sandbox.sh(host);
    Some(guest)
}

/// A file of the corpus of real configs with its paths filled in, beside the guest. None, with the skip said, where there
/// is none.
fn corpus(guest: &Guest, test: &str, file: &str) -> Option<String> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus");
    let source = std::env::var_os("MONOPOD_CORPUS").map_or(beside, Into::into).join(file);
    let Ok(text) = fs::read_to_string(&source) else {
        skip(test, &format!("no {}: real configs are not part of the repository", source.display()), false);
        return None;
    };
    let path = guest.dir().join(file);
    let text = text.replace("@LXCTEMPLATECONFIG@", SHIPPED).replace("@LXCHOOKDIR@", "/usr/share/lxc/hooks");
    fs::write(&path, text).unwrap();
    Some(path.to_str().unwrap().to_owned())
}

/// Starts it, and gives what init sees of its container.
fn started(guest: &Guest) -> (Running<'_>, Report) {
    let running = guest.start("report , say up , signals 1 , exit 0");
    guest.wait_said("up");
    guest.wait_said("ready");
    (running, guest.report())
}

/// Stops it by its own signal, and looks for anything that it left.
fn stopped(guest: &Guest, running: Running<'_>) {
    let stop = guest.client("stop", &["-t", "10"]);
    assert_eq!(stop.code, Some(0), "{stop}");
    let ended = running.wait();
    assert_eq!(ended.code, Some(0), "{ended}");
    guest.assert_nothing_left();
}

/// What iproute2 says in the container's network.
fn network(guest: &Guest, words: &str) -> String {
    guest.sandbox.sh(&format!("nsenter -t {} -n ip {words}", guest.init()))
}

/// What every container with common.conf has.
#[track_caller]
fn assert_common(report: &Report) {
    assert_eq!(report.one("hostname"), "box");
    assert_eq!(report.entry("status", "Seccomp:"), "2");
    for target in ["/proc", "/sys", "/dev/pts", "/proc/sys"] {
        assert!(report.mount(target).is_some(), "{target} is not mounted");
    }
    let terminals = report.all("dev").iter().filter(|line| line.contains("tty") && line.contains(" c 136:")).count();
    assert_eq!(terminals, 4, "{:?}", report.all("dev"));
}

#[test]
fn common_conf_of_debian_starts_an_ordinary_container() {
    let Some(guest) = guest("common_conf_of_debian_starts_an_ordinary_container", BRIDGE) else { return };
    let guest = guest.config(&format!("lxc.include = {SHIPPED}/common.conf\n{CREATED}"));
    let (running, report) = started(&guest);
    assert_common(&report);
    assert!(!report.mount("/sys").unwrap().has("rw"), "sys:mixed is read-only");
    // mac_override mac_admin sys_module sys_rawio sys_time
    assert_eq!(report.capabilities("CapBnd:") & (1 << 32 | 1 << 33 | 1 << 16 | 1 << 17 | 1 << 25), 0);
    let link = network(&guest, "-o link show eth0");
    assert!(link.contains("00:16:3e:") && link.contains("UP"), "{link}");
    let ports = guest.sandbox.sh("ip -o link show master lxcbr0");
    assert_eq!(ports.lines().count(), 1, "{ports}");
    stopped(&guest, running);
    assert_eq!(guest.sandbox.sh("ip -o link show type veth"), "");
}

#[test]
fn userns_conf_of_debian_starts_with_an_id_map() {
    let Some(guest) = guest("userns_conf_of_debian_starts_with_an_id_map", BRIDGE) else { return };
    let guest = guest.config(&format!(
        "lxc.include = {SHIPPED}/common.conf
        lxc.include = {SHIPPED}/userns.conf
        lxc.idmap = u 0 {ROOT} 65536
        lxc.idmap = g 0 {ROOT} 65536
        {CREATED}"
    ));
    let dir = guest.dir();
    guest.sandbox.sh(&format!(
        "chown -R {ROOT}:{ROOT} {}; chmod 755 {} {}",
        guest.rootfs().display(),
        dir.display(),
        dir.parent().unwrap().display()
    ));
    let (running, report) = started(&guest);
    assert_common(&report);
    assert_eq!((report.one("uid"), report.one("gid")), ("0", "0"));
    let map = fs::read_to_string(format!("/proc/{}/uid_map", guest.init())).unwrap();
    assert_eq!(map.split_whitespace().collect::<Vec<_>>(), ["0", "100000", "65536"]);
    // It has every capability, in its own user namespace.
    assert_eq!(report.capabilities("CapEff:") >> 21 & 1, 1);
    assert!(network(&guest, "-o link show eth0").contains("UP"));
    stopped(&guest, running);
}

#[test]
fn configs_of_templates_start_with_their_mounts_and_capabilities() {
    let test = "configs_of_templates_start_with_their_mounts_and_capabilities";
    for file in ["lxc-config_templates_common.conf.in", "lxc-templates-config_ubuntu.common.conf.in"] {
        let Some(guest) = guest(test, BRIDGE) else { return };
        let Some(path) = corpus(&guest, test, file) else { return };
        let guest = guest.config(&format!("lxc.include = {path}\n{CREATED}"));
        let (running, report) = started(&guest);
        assert_common(&report);
        assert_eq!(report.mount("/dev/mqueue").is_some(), file.contains("ubuntu"), "{file}");
        stopped(&guest, running);
    }
    let Some(guest) = guest(test, BRIDGE) else { return };
    let Some(path) = corpus(&guest, test, "lxc-templates-config_openwrt.common.conf.in") else { return };
    let guest = guest.config(&format!("lxc.include = {path}\nlxc.mount.auto = proc sys\n{CREATED}"));
    let (running, report) = started(&guest);
    assert_common(&report);
    assert_eq!(report.capabilities("CapBnd:") >> 21 & 1, 0, "sys_admin");
    stopped(&guest, running);
}

#[test]
fn nesting_conf_gives_a_container_proc_and_sys_for_its_own() {
    let test = "nesting_conf_gives_a_container_proc_and_sys_for_its_own";
    let Some(guest) = guest(test, BRIDGE) else { return };
    let guest =
        guest.config(&format!("lxc.include = {SHIPPED}/common.conf\nlxc.include = {SHIPPED}/nesting.conf\n{CREATED}"));
    let (running, report) = started(&guest);
    assert_common(&report);
    for (target, fstype) in [("/dev/.lxc/proc", "proc"), ("/dev/.lxc/sys", "sysfs")] {
        assert_eq!(report.mount(target).unwrap().fstype, fstype);
    }
    stopped(&guest, running);
}

#[test]
fn examples_of_the_documentation_have_their_links_and_addresses() {
    let test = "examples_of_the_documentation_have_their_links_and_addresses";
    let host = "
        ip link add br0 type bridge
        ip link set br0 up
        ip link add eth0 type veth peer name far0
        ip link set eth0 up
        ip link set far0 up";
    for (file, kind, address) in [
        ("lxc-doc_examples_lxc-veth.conf.in", "veth", "10.2.3.5/24"),
        ("lxc-doc_examples_lxc-macvlan.conf.in", "macvlan", "10.2.3.4/24"),
    ] {
        let Some(guest) = guest(test, host) else { return };
        let Some(path) = corpus(&guest, test, file) else { return };
        // Its root directory is what the example leaves to the reader; here the guest has one already.
        let rootfs = format!("lxc.rootfs.path = dir:{}", guest.rootfs().display());
        let guest = guest.config(&format!("lxc.include = {path}\n{rootfs}"));
        let (running, _) = started(&guest);
        let link = network(&guest, "-o -d link show eth0");
        assert!(link.contains(kind) && link.contains("4a:49:43:49:79:"), "{link}");
        let addresses = network(&guest, "-o addr show eth0");
        assert!(addresses.contains(address) && addresses.contains("2003:db8:1:0:214:1234:fe0b:359"), "{addresses}");
        stopped(&guest, running);
    }
}
