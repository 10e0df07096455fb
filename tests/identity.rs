//! Who init is: ids, capabilities, limits, environment, namespaces, names.

use crate::support::report::Report;
use crate::support::{Guest, Running, emulated, sandbox};
use std::fs;

/// Runs a guest with these config lines and returns what init found.
fn report(label: &str, lines: &str) -> Report {
    let guest = Guest::new(label).config(lines);
    let ended = guest.run("report");
    assert_eq!(ended.code, Some(0), "{ended}");
    guest.report()
}

/// Our own value of a key of /proc/self/status.
fn own_capabilities(set: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(set)).unwrap();
    u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap()
}

fn own_namespace(name: &str) -> String {
    fs::read_link(format!("/proc/self/ns/{name}")).unwrap().to_string_lossy().into_owned()
}

const CAP_CHOWN: u64 = 1 << 0;
const CAP_NET_ADMIN: u64 = 1 << 12;
const CAP_SYS_TIME: u64 = 1 << 25;
const CAP_MAC_OVERRIDE: u64 = 1 << 32;
const CAP_MAC_ADMIN: u64 = 1 << 33;

#[test]
fn capabilities_undropped_are_the_supervisors_and_none_inheritable() {
    let report = report("caps", "");
    assert_eq!(report.capabilities("CapBnd:"), own_capabilities("CapBnd:"));
    assert_eq!(report.capabilities("CapEff:"), own_capabilities("CapBnd:"));
    assert_eq!(report.capabilities("CapInh:"), 0);
    assert_eq!(report.capabilities("CapAmb:"), 0);
}

#[test]
fn capabilities_dropped_are_gone_from_every_set() {
    let dropped = CAP_MAC_ADMIN | CAP_MAC_OVERRIDE | CAP_SYS_TIME;
    let report = report("caps_drop", "lxc.cap.drop = mac_admin mac_override\nlxc.cap.drop = sys_time");
    for set in ["CapBnd:", "CapEff:", "CapPrm:"] {
        assert_eq!(report.capabilities(set), own_capabilities("CapBnd:") & !dropped, "{set}");
    }
    assert_eq!(report.capabilities("CapInh:"), 0);
}

#[test]
fn capabilities_kept_are_all_there_is() {
    let kept = report("caps_keep", "lxc.cap.keep = chown net_admin sys_admin sys_boot");
    let expected = CAP_CHOWN | CAP_NET_ADMIN | 1 << 21 | 1 << 22;
    for set in ["CapBnd:", "CapEff:", "CapPrm:"] {
        assert_eq!(kept.capabilities(set), expected, "{set}");
    }
}

#[test]
fn capabilities_keep_none_leaves_none() {
    // Without CAP_SYS_ADMIN init cannot mount the /proc it needs for the report.
    let report = report("caps_none", "lxc.cap.keep = none\nlxc.mount.auto = proc");
    for set in ["CapBnd:", "CapEff:", "CapPrm:", "CapInh:", "CapAmb:"] {
        assert_eq!(report.capabilities(set), 0, "{set}");
    }
}

#[test]
fn ids_groups_and_working_directory_are_the_configured_ones() {
    let guest = Guest::new("ids").config(
        "lxc.init.uid = 1000
        lxc.init.gid = 1001
        lxc.init.groups = 3003,3009
        lxc.init.cwd = /tmp
        lxc.mount.auto = proc",
    );
    std::os::unix::fs::chown(guest.rootfs(), Some(1000), Some(1001)).unwrap();
    let ended = guest.run("report");
    assert_eq!(ended.code, Some(0), "{ended}");
    let report = guest.report();
    assert_eq!(report.one("uid"), "1000");
    assert_eq!(report.one("gid"), "1001");
    assert_eq!(report.one("groups"), "[3003, 3009]");
    assert_eq!(report.one("cwd"), "/tmp");
    assert_eq!(report.capabilities("CapEff:"), 0);
    // Changing credentials clears it: it has to be set again.
    assert_eq!(report.one("pdeath"), "9");
}

/// Rust's start-up code in the test init ignores SIGPIPE, nobody ignores anything else.
#[track_caller]
fn assert_ignores_nothing(report: &Report) {
    let mut ignored = u64::from_str_radix(report.entry("status", "SigIgn:"), 16).unwrap();
    if emulated("ignored signals 32 and 33 are not looked at", "qemu-user keeps them for itself") {
        ignored &= !(0b11 << 31);
    }
    assert_eq!(ignored, 1 << (libc::SIGPIPE - 1), "{ignored:#x}");
}

#[test]
fn init_of_an_empty_config_starts_from_a_clean_process() {
    let report = report("clean", "");
    assert_eq!(report.one("pid"), "1");
    assert_eq!(report.one("sid"), "1");
    assert_eq!((report.one("uid"), report.one("gid"), report.one("groups")), ("0", "0", "[]"));
    assert_eq!(report.one("cwd"), "/");
    assert_eq!(report.one("umask"), "022");
    assert_eq!(report.one("pdeath"), "9");
    assert_eq!(report.all("env"), ["container=lxc"]);
    assert_eq!(report.all("arg"), ["/init", "report"]);
    assert_eq!(report.entry("status", "SigBlk:"), "0000000000000000");
    assert_ignores_nothing(&report);
    assert_eq!(report.entry("status", "NoNewPrivs:"), "0");
}

#[test]
fn signals_that_our_caller_ignores_are_not_ignored_in_init() {
    let guest = Guest::new("ignored");
    let mut command = guest.start_command("report");
    sandbox::ignore(&mut command, &[libc::SIGHUP, libc::SIGINT, libc::SIGUSR1, libc::SIGCHLD, 40]);
    let ended = Running::new(&guest, command).wait();
    assert_eq!(ended.code, Some(0), "{ended}");
    assert_ignores_nothing(&guest.report());
}

#[test]
fn pdeath_signal_can_be_another() {
    assert_eq!(report("pdeath", "lxc.monitor.signal.pdeath = SIGTERM").one("pdeath"), "15");
}

#[test]
fn environment_is_container_and_what_the_config_says() {
    let guest = Guest::new("environment").env("FROM_OUTSIDE", "taken").env("NOT_ASKED", "x").config(
        "lxc.environment = PATH=/sbin:/system/bin
        lxc.environment = FROM_OUTSIDE
        lxc.environment.runtime = ONLY=init
        lxc.environment.hooks = ONLY=hooks",
    );
    let ended = guest.run("report");
    assert_eq!(ended.code, Some(0), "{ended}");
    let mut all: Vec<_> = guest.report().all("env").into_iter().map(str::to_owned).collect();
    all.sort();
    assert_eq!(all, ["FROM_OUTSIDE=taken", "ONLY=init", "PATH=/sbin:/system/bin", "container=lxc"]);
}

#[test]
fn limits_are_set_hard_and_soft() {
    let report = report(
        "limits",
        "lxc.prlimit.nofile = 100:200
        lxc.prlimit.core = 0
        lxc.prlimit.nproc = 500:600",
    );
    for (name, values) in
        [("Max open files", ["100", "200"]), ("Max core file size", ["0", "0"]), ("Max processes", ["500", "600"])]
    {
        let found: Vec<_> = report.entry("limit", name).split_whitespace().take(2).collect();
        assert_eq!(found, values, "{name}");
    }
}

#[test]
fn no_new_privs_is_set_when_asked_for() {
    assert_eq!(report("nnp", "lxc.no_new_privs = 1").entry("status", "NoNewPrivs:"), "1");
}

#[test]
fn host_name_and_personality_are_the_configured_ones() {
    let before = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let report = report("names", "lxc.uts.name = inside\nlxc.arch = i686");
    assert_eq!(report.one("hostname"), "inside");
    assert_eq!(report.one("personality"), "0x8");
    assert!(!report.one("machine").contains("64"), "{}", report.one("machine"));
    assert_eq!(fs::read_to_string("/proc/sys/kernel/hostname").unwrap(), before);
}

#[test]
fn sysctls_and_proc_files_are_written_inside_only() {
    let path = "/proc/sys/net/ipv4/ip_forward";
    let before = fs::read_to_string(path).unwrap();
    let other = if before.trim() == "1" { "0" } else { "1" };
    let report = report(
        "sysctl",
        &format!(
            "lxc.sysctl.net.ipv4.ip_forward = {other}\nlxc.sysctl.kernel.domainname = inside\nlxc.proc.oom_score_adj = 500"
        ),
    );
    assert_eq!(report.all("sysctl"), [&*format!("net.ipv4.ip_forward={other}"), "kernel.domainname=inside"]);
    assert_eq!(report.one("oom_score_adj"), "500");
    assert_eq!(fs::read_to_string(path).unwrap(), before);
}

#[test]
fn namespaces_are_new_but_for_user_and_time() {
    let report = report("namespaces", "");
    for name in ["mnt", "pid", "uts", "ipc", "net", "cgroup"] {
        assert_ne!(report.entry("ns", name), own_namespace(name), "{name}");
    }
    for name in ["user", "time"] {
        assert_eq!(report.entry("ns", name), own_namespace(name), "{name}");
    }
    assert_eq!(report.all("iface"), ["lo up"]);
}

#[test]
fn namespaces_kept_and_cloned_as_configured() {
    let kept = report("ns_keep", "lxc.namespace.keep = net uts user");
    for name in ["net", "uts"] {
        assert_eq!(kept.entry("ns", name), own_namespace(name), "{name}");
    }
    assert_ne!(kept.entry("ns", "ipc"), own_namespace("ipc"));

    let cloned = report("ns_clone", "lxc.namespace.clone = mnt pid ipc");
    for name in ["net", "uts", "cgroup"] {
        assert_eq!(cloned.entry("ns", name), own_namespace(name), "{name}");
    }
    assert_ne!(cloned.entry("ns", "ipc"), own_namespace("ipc"));
}

#[test]
fn network_none_is_the_hosts_and_empty_has_a_loopback() {
    let none = report("net_none", "lxc.net.0.type = none");
    assert_eq!(none.entry("ns", "net"), own_namespace("net"));

    let empty = report("net_empty", "lxc.net.0.type = empty");
    assert_ne!(empty.entry("ns", "net"), own_namespace("net"));
    assert_eq!(empty.all("iface"), ["lo up"]);
}

#[test]
fn legacy_keys_mean_the_same() {
    let guest = Guest::new("legacy").without_config().config(
        "lxc.rootfs = {rootfs}
        lxc.utsname = old
        lxc.network.type = none
        lxc.devttydir = lxc
        lxc.tty = 2
        lxc.pts = 16
        lxc.arch = i686
        lxc.cap.drop = mac_admin mac_override
        lxc.pivotdir = lxc_putold
        lxc.aa_profile = unconfined
        lxc.autodev = 1
        lxc.init_cmd = /init report",
    );
    let ended = guest.run("");
    assert_eq!(ended.code, Some(0), "{ended}");
    let report = guest.report();
    assert_eq!((report.one("hostname"), report.one("personality")), ("old", "0x8"));
    assert_eq!(report.entry("ns", "net"), own_namespace("net"));
    assert_eq!(report.capabilities("CapBnd:") & (CAP_MAC_ADMIN | CAP_MAC_OVERRIDE), 0);
    assert_eq!(report.entry("dev", "/dev/tty2"), "l lxc/tty2");
    assert!(report.mount("/dev/pts").is_some());
}
