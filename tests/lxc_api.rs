//! What LXC's own tests of its library look at, asked of our commands: the names in front of the tests are those of LXC's.

use crate::support::report::Report;
use crate::support::{Ended, Guest, Running, is_lxc, sandbox, skip, wait_until};
use std::process::Command;

fn state(guest: &Guest) -> String {
    guest.client("info", &["-s", "-H"]).stdout.trim().to_owned()
}

#[track_caller]
fn succeeds(ended: &Ended) {
    assert_eq!(ended.code, Some(0), "{ended}");
}

/// What a shell says that is attached to the container.
#[track_caller]
fn attached(guest: &Guest, script: &str) -> String {
    let ended = guest.client("attach", &["--", "/bin/sh", "-c", script]);
    succeeds(&ended);
    ended.stdout
}

fn end(guest: &Guest, running: Running<'_>) {
    succeeds(&guest.client("stop", &["-k"]));
    succeeds(&running.wait());
    guest.assert_nothing_left();
}

#[test]
fn state_server_tells_a_crowd_of_waiters() {
    let guest = Guest::new("state_server");
    guest.install("");
    let early: Vec<_> =
        (0..10).map(|_| Running::new(&guest, guest.tool("wait", &["-s", "RUNNING", "-t", "25"]))).collect();
    let running = guest.start("signals 1 , exit 0");
    guest.wait_said("ready");
    early.into_iter().for_each(|waiter| succeeds(&waiter.wait()));
    let late: Vec<_> =
        (0..10).map(|_| Running::new(&guest, guest.tool("wait", &["-s", "STOPPED", "-t", "25"]))).collect();
    sandbox::kill(guest.init(), libc::SIGTERM);
    late.into_iter().for_each(|waiter| succeeds(&waiter.wait()));
    succeeds(&running.wait());
    assert_eq!(state(&guest), "STOPPED");
    guest.assert_nothing_left();
}

#[test]
fn shortlived_init_ends_well_each_time() {
    let guest = Guest::new("shortlived");
    for life in 1..=5 {
        let ended = guest.run("say life , exit 0");
        succeeds(&ended);
        assert_eq!(guest.results().lines().count(), life);
        assert_eq!(state(&guest), "STOPPED");
    }
    let failed = guest.run("exit 12");
    assert_eq!(failed.code, Some(12), "{failed}");
    guest.assert_nothing_left();
}

#[test]
fn shortlived_init_in_the_background_ends_well_each_time() {
    let guest = Guest::new("shortlived_d").options(&["-d"]);
    for life in 1..=5 {
        succeeds(&guest.run("say life , exit 0"));
        succeeds(&guest.client("wait", &["-s", "STOPPED", "-t", "20"]));
        wait_until("a life", || guest.results().lines().count() == life);
    }
    guest.assert_nothing_left();
}

#[test]
fn api_reboot_waits_for_the_next_life_or_does_not() {
    let guest = Guest::new("api_reboot").config("lxc.signal.reboot = SIGUSR1\nmonopod.restart.delay = 0ms");
    let running = guest.start("signals 1 , restart-times 3 , signals 1 , forever");
    for life in 1..=3 {
        let ready = "ready\nsignal 10\n".repeat(life - 1) + "ready\n";
        wait_until("a life", || guest.results() == ready);
        let how: &[&str] = if life == 2 { &["-r", "-W"] } else { &["-r", "-t", "20"] };
        succeeds(&guest.client("stop", how));
    }
    wait_until("the last life", || guest.results().ends_with("signal 10\nready\n"));
    // This one hears and goes on.
    let ignored = guest.client("stop", &["-r", "-t", "1"]);
    assert_eq!(ignored.code, Some(1), "{ignored}");
    assert_eq!(state(&guest), "RUNNING");
    end(&guest, running);
}

/// Capabilities, as a mask has them.
const CHOWN: u64 = 1;
const NET_RAW: u64 = 1 << 13;
const SYS_RESOURCE: u64 = 1 << 24;

/// What this process may hand on.
fn bounding_set() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("CapBnd:\t")).unwrap();
    u64::from_str_radix(mask, 16).unwrap()
}

#[test]
fn capabilities_of_an_attached_program_are_those_of_init() {
    let test = "capabilities_of_an_attached_program_are_those_of_init";
    for (config, bounding) in [
        ("lxc.cap.keep = none", 0),
        ("lxc.cap.keep = chown net_raw", CHOWN | NET_RAW),
        ("lxc.cap.drop = chown net_raw", bounding_set() & !(CHOWN | NET_RAW)),
    ] {
        let guest = Guest::new("capabilities").config(config).config("lxc.mount.auto = proc:rw");
        if !guest.busybox(test) {
            return;
        }
        let running = guest.start("report , signals 9");
        guest.wait_said("ready");
        let status = attached(&guest, "cat /proc/self/status");
        let status =
            Report::new(status.lines().map(|line| format!("status: {line}\n")).collect::<String>().replace('\t', " "));
        assert_eq!(guest.report().capabilities("CapBnd:"), bounding, "{config}");
        for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:"] {
            assert_eq!(status.capabilities(set), guest.report().capabilities(set), "{config}: {set}");
        }
        end(&guest, running);
    }
}

#[test]
fn sys_mixed_is_read_only_but_for_the_virtual_network() {
    let test = "sys_mixed_is_read_only_but_for_the_virtual_network";
    let guest = Guest::new("sys_mixed").config("lxc.mount.auto = sys:mixed proc:mixed\nlxc.net.0.type = empty");
    if !guest.busybox(test) {
        return;
    }
    let running = guest.start("signals 9");
    guest.wait_said("ready");
    let mounts = attached(&guest, "cat /proc/self/mountinfo");
    let options = |target: &str| {
        let line = mounts.lines().rfind(|line| line.split(' ').nth(4) == Some(target));
        line.unwrap_or_else(|| panic!("no {target}: {mounts}")).split(' ').nth(5).unwrap().to_owned()
    };
    assert!(options("/sys").starts_with("ro"), "{mounts}");
    assert!(options("/sys/devices/virtual/net").starts_with("rw"), "{mounts}");
    let wrote = guest.client("attach", &["--", "/bin/sh", "-c", "echo > /sys/kernel/profiling"]);
    assert_ne!(wrote.code, Some(0), "{wrote}");
    end(&guest, running);
}

#[test]
fn sysctls_are_the_containers_own() {
    let test = "sysctls_are_the_containers_own";
    let file = "/proc/sys/net/ipv4/ip_forward";
    let before = std::fs::read_to_string(file).unwrap();
    let value = if before.trim() == "0" { "1" } else { "0" };
    let config = format!("lxc.net.0.type = empty\nlxc.mount.auto = proc\nlxc.sysctl.net.ipv4.ip_forward = {value}");
    let guest = Guest::new("sysctls").config(&config);
    if !guest.busybox(test) {
        return;
    }
    let running = guest.start("signals 9");
    guest.wait_said("ready");
    assert_eq!(attached(&guest, &format!("cat {file}")), format!("{value}\n"));
    assert_eq!(std::fs::read_to_string(file).unwrap(), before);
    let told = guest.client("info", &["-H", "-c", "lxc.sysctl.net.ipv4.ip_forward"]);
    assert_eq!(told.stdout.trim(), value, "{told}");
    end(&guest, running);
}

#[test]
fn proc_pid_sets_the_oom_score_of_init() {
    let test = "proc_pid_sets_the_oom_score_of_init";
    // Without this capability, it may only rise.
    let score = if bounding_set() & SYS_RESOURCE != 0 { "-1000" } else { "1000" };
    let config = format!("lxc.mount.auto = proc:rw\nlxc.proc.oom_score_adj = {score}");
    let guest = Guest::new("proc_pid").config(&config);
    if !guest.busybox(test) {
        return;
    }
    let running = guest.start("signals 9");
    guest.wait_said("ready");
    assert_eq!(attached(&guest, "cat /proc/1/oom_score_adj"), format!("{score}\n"));
    end(&guest, running);
}

#[test]
fn rootfs_options_are_seen_by_an_attached_program() {
    let test = "rootfs_options_are_seen_by_an_attached_program";
    let guest = Guest::new("rootfs_options").config("lxc.rootfs.options = nodev,nosuid,ro\nlxc.mount.auto = proc");
    if !guest.busybox(test) {
        return;
    }
    let running = guest.start("print up , forever");
    guest.wait_running();
    let mounts = attached(&guest, "cat /proc/self/mountinfo");
    let root = mounts.lines().find(|line| line.split(' ').nth(4) == Some("/")).unwrap();
    let options = root.split(' ').nth(5).unwrap();
    assert!(["ro", "nosuid", "nodev"].iter().all(|word| options.split(',').any(|option| option == *word)), "{root}");
    let wrote = guest.client("attach", &["--", "/bin/sh", "-c", "echo > /file"]);
    assert_ne!(wrote.code, Some(0), "{wrote}");
    end(&guest, running);
}

#[test]
fn console_log_keeps_the_last_bytes_and_the_file_keeps_all_lives() {
    let guest = Guest::new("console_log").config(
        "lxc.console.path =
        lxc.console.buffer.size = 4096
        lxc.console.logfile = {dir}/console.log",
    );
    for life in ["one", "two"] {
        let running = guest.start(&format!("spew 64000 , print the end of life {life} , signals 9"));
        wait_until("the life", || state(&guest) == "RUNNING" && guest.results().ends_with("ready\n"));
        let last = format!("the end of life {life}\r\n");
        wait_until("the console's last line", || guest.client("console", &["--log"]).stdout.ends_with(&last));
        let kept = guest.client("console", &["--log"]).stdout;
        assert!((2048..=4096).contains(&kept.len()), "{} bytes are kept", kept.len());
        end(&guest, running);
        std::fs::remove_file(guest.rootfs().join("results")).unwrap();
        assert_eq!(guest.client("console", &["--log"]).code, Some(1));
    }
    let log = guest.file("console.log");
    for line in ["the end of life one\r\n", "the end of life two\r\n"] {
        assert_eq!(log.matches(line).count(), 1, "{line}");
    }
}

#[test]
fn startone_goes_through_a_whole_life() {
    let guest = Guest::new("startone").config("lxc.uts.name = bobo\nlxc.environment = FOO=BAR");
    guest.install("signals 9");
    assert_eq!(state(&guest), "STOPPED");
    let asked = ["info", "-H", "-c", "lxc.uts.name"];
    assert_eq!(guest.client(asked[0], &asked[1..]).stdout.trim(), "bobo");
    for tool in ["freeze", "unfreeze"] {
        assert_ne!(guest.client(tool, &[]).code, Some(0), "{tool} of nothing");
    }
    let running = guest.start("signals 9");
    guest.wait_said("ready");
    // What runs keeps the config that it was started with.
    let file = guest.dir().join("config");
    let text = std::fs::read_to_string(&file).unwrap().replace("bobo", "other");
    std::fs::write(&file, text).unwrap();
    assert_eq!(guest.client(asked[0], &asked[1..]).stdout.trim(), "bobo");
    let again = Running::new(&guest, guest.tool("start", &["-F"])).wait();
    assert_eq!(again.code, Some(0), "{again}");
    assert!(again.stderr.contains("already running"), "{again}");
    assert_eq!(guest.pids().len(), 1);
    succeeds(&guest.client("freeze", &[]));
    assert_eq!(state(&guest), "FROZEN");
    succeeds(&guest.client("unfreeze", &[]));
    assert_eq!(state(&guest), "RUNNING");
    end(&guest, running);
    assert_eq!(state(&guest), "STOPPED");
    assert_eq!(guest.client(asked[0], &asked[1..]).stdout.trim(), "other");
}

#[test]
fn share_ns_is_refused_by_name() {
    let guest = Guest::new("share_ns").config("lxc.namespace.share.net = other");
    let line = guest.next_line() - 1;
    let refused = guest.run("exit 0");
    assert_eq!(refused.code, Some(255), "{refused}");
    let (name, place) = ("lxc.namespace.share.net", format!("config:{line}"));
    assert!(refused.stderr.contains(name) && refused.stderr.contains(&place), "{refused}");
    guest.assert_nothing_left();
}

/// Lines that a config may have, capabilities in the order of their numbers (LXC's tool keeps the file's order); what LXC's lxc-info and ours say of their keys is the same.
const LINES: &str = "
    lxc.arch = x86_64
    lxc.pty.max = 1000
    lxc.tty.max = 4
    lxc.tty.dir = not-dev
    lxc.apparmor.profile = unconfined
    lxc.apparmor.allow_incomplete = 1
    lxc.selinux.context = system_u:system_r:lxc_t:s0:c22
    lxc.cgroup.cpuset.cpus = 1-100
    lxc.cgroup.memory.limit_in_bytes = 123456789
    lxc.cgroup2.memory.max = 123456789
    lxc.cgroup.dir = some/dir
    lxc.idmap = u 0 100000 1000000000
    lxc.log.level = DEBUG
    lxc.log.file = /some/path
    lxc.log.syslog = local0
    lxc.mount.fstab = /some/path
    lxc.mount.auto = proc:rw sys:rw cgroup-full:rw
    lxc.mount.entry = /dev/dri dev/dri none bind,optional,create=dir
    lxc.rootfs.mount = /some/path
    lxc.rootfs.options = ext4,discard
    lxc.uts.name = the-shire
    lxc.hook.pre-start = /some/pre-start
    lxc.hook.pre-mount = /some/pre-mount
    lxc.hook.mount = /some/mount
    lxc.hook.autodev = /some/autodev
    lxc.hook.start = /some/start
    lxc.hook.stop = /some/stop
    lxc.hook.post-stop = /some/post-stop
    lxc.hook.clone = /some/clone
    lxc.hook.destroy = /some/destroy
    lxc.hook.version = 1
    lxc.cap.drop = setuid net_raw sys_module mknod
    lxc.cap.keep = setuid net_raw sys_module mknod
    lxc.console.path = none
    lxc.console.logfile = /some/logfile
    lxc.console.rotate = 1
    lxc.console.buffer.size = 1048576
    lxc.console.size = 1048576
    lxc.seccomp.profile = /some/seccomp/file
    lxc.autodev = 1
    lxc.autodev.tmpfs.size = 1
    lxc.signal.halt = SIGRTMIN+3
    lxc.signal.halt = 1
    lxc.signal.reboot = 1
    lxc.signal.stop = 1
    lxc.start.auto = 1
    lxc.start.delay = 5
    lxc.start.order = 1
    lxc.monitor.unshare = 1
    lxc.group = some,container,groups
    lxc.environment = FOO=BAR
    lxc.init.cmd = /bin/bash
    lxc.init.uid = 1000
    lxc.init.gid = 1000
    lxc.init.cwd = /some/path
    lxc.execute.cmd = /bin/true
    lxc.ephemeral = 1
    lxc.no_new_privs = 1
    lxc.sysctl.net.core.somaxconn = 256
    lxc.proc.oom_score_adj = 10
    lxc.prlimit.nofile = 65536
    lxc.prlimit.nice = 0:unlimited
    lxc.prlimit.stack = unlimited
    lxc.prlimit.core = 1:2
    lxc.namespace.keep = user net
    lxc.namespace.clone = pid mnt
    lxc.namespace.share.net = other
    lxc.keyring.session = 0
    lxc.net.0.type = veth
    lxc.net.0.type = empty";

#[test]
fn parse_config_file_reads_back_as_lxc_reads_it() {
    let test = "parse_config_file_reads_back_as_lxc_reads_it";
    let guest = Guest::new("parse_config_file").without_config();
    if guest.stock_tool("info", &[]).is_none() || is_lxc() {
        return skip(test, "LXC's own tools are not installed (package lxc)", true);
    }
    let asked = |command: Command| {
        let ended = Running::new(&guest, command).wait();
        (ended.code, ended.stdout.trim_end().to_owned())
    };
    let mut wrong = Vec::new();
    for line in LINES.lines().map(str::trim).filter(|line| !line.is_empty()) {
        std::fs::write(guest.dir().join("config"), format!("{line}\n")).unwrap();
        let words = ["-H", "-c", line.split(' ').next().unwrap()];
        let theirs = asked(guest.stock_tool("info", &words).unwrap());
        let ours = asked(guest.tool("info", &words));
        if theirs != ours {
            wrong.push(format!("{line}: LXC's says {theirs:?}, ours {ours:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
