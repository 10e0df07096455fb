//! The end that somebody asks for: by what init understands, by a command inside, by force, and never without end.

use crate::support::{self, Ended, Guest, Running, sandbox};
use std::fs;

/// A copy of the guests' init under another init's name.
fn init_named(guest: &Guest, name: &str) {
    let sbin = guest.rootfs().join("sbin");
    fs::create_dir_all(&sbin).unwrap();
    fs::copy(guest.rootfs().join("init"), sbin.join(name)).unwrap();
}

fn stop(guest: &Guest, words: &[&str]) {
    let ended = guest.client("stop", words);
    assert_eq!(ended.code, Some(0), "{ended}");
}

/// Waits for the supervisor's end, which was asked for and went well.
fn assert_stopped(guest: &Guest, running: Running<'_>) -> Ended {
    let ended = running.wait();
    assert_eq!(ended.code, Some(0), "{ended}");
    guest.assert_nothing_left();
    ended
}

#[test]
fn init_of_a_known_family_gets_its_own_signal() {
    let (term, usr2, pwr) = (libc::SIGTERM, libc::SIGUSR2, libc::SIGPWR);
    for (name, signal) in
        [("openrc-init", term), ("dinit", term), ("s6-svscan", term), ("tini", term), ("finit", usr2), ("runit", pwr)]
    {
        let guest = Guest::new("family").config(&format!("lxc.init.cmd = /sbin/{name} signals 1 , exit 0"));
        init_named(&guest, name);
        let running = guest.start("");
        guest.wait_said("ready");
        stop(&guest, &[]);
        assert_eq!(guest.results(), format!("ready\nsignal {signal}\n"), "{name}{}", guest.logs());
        assert_stopped(&guest, running);
    }
}

#[test]
fn service_managers_signal_goes_the_same_way() {
    let guest = Guest::new("service").config("lxc.init.cmd = /sbin/finit signals 1 , exit 0");
    init_named(&guest, "finit");
    let running = guest.start("");
    guest.wait_said("ready");
    running.signal(libc::SIGPWR);
    assert_stopped(&guest, running);
    assert_eq!(guest.results(), format!("ready\nsignal {}\n", libc::SIGUSR2));
}

#[test]
fn written_signal_wins_over_the_familys() {
    let guest = Guest::new("written").config(
        "lxc.init.cmd = /sbin/finit signals 1 , exit 0
        lxc.signal.halt = SIGUSR1",
    );
    init_named(&guest, "finit");
    let running = guest.start("");
    guest.wait_said("ready");
    stop(&guest, &[]);
    assert_stopped(&guest, running);
    assert_eq!(guest.results(), format!("ready\nsignal {}\n", libc::SIGUSR1));
}

#[test]
fn reboot_is_asked_for_in_the_familys_way() {
    let guest = Guest::new("reboot").config(
        "lxc.init.cmd = /sbin/finit signals 1 , restart-times 1 , say life , exit 0
        monopod.restart.delay = 0ms",
    );
    init_named(&guest, "finit");
    let running = guest.start("");
    guest.wait_said("ready");
    stop(&guest, &["-r"]);
    support::wait_until("the second life", || guest.results().matches("ready").count() == 2);
    stop(&guest, &[]);
    assert_stopped(&guest, running);
    let (reboot, halt) = (libc::SIGTERM, libc::SIGUSR2);
    assert_eq!(guest.results(), format!("ready\nsignal {reboot}\nready\nsignal {halt}\nlife\n"));
}

#[test]
fn busybox_itself_halts_and_reboots() {
    let guest = Guest::new("busybox").config(
        "lxc.init.cmd = /sbin/init
        monopod.restart.delay = 0ms",
    );
    if !guest.busybox("busybox_itself_halts_and_reboots") {
        return;
    }
    for dir in ["sbin", "etc"] {
        fs::create_dir_all(guest.rootfs().join(dir)).unwrap();
    }
    std::os::unix::fs::symlink("/bin/busybox", guest.rootfs().join("sbin/init")).unwrap();
    fs::write(guest.rootfs().join("etc/inittab"), "::once:/bin/sh -c \"echo up >>/results\"\n").unwrap();
    let running = guest.start("");
    guest.wait_said("up");
    stop(&guest, &["-r"]);
    support::wait_until("the second life", || guest.results() == "up\nup\n");
    stop(&guest, &[]);
    let ended = assert_stopped(&guest, running);
    let log = guest.file("log");
    assert!(!log.contains("does not listen"), "{ended}");
    assert!(log.contains("init halted") && log.contains("init rebooted") && !log.contains("killed"), "{ended}");
}

/// Starts an Android whose init has a property socket that replies so, and stops it.
fn stop_android(guest: &Guest, reply: &str, then: &str, words: &[&str]) -> Ended {
    let running = guest.start(&format!("properties {reply} , {then}"));
    guest.wait_said("ready");
    stop(guest, words);
    assert_stopped(guest, running)
}

const ANDROID: &str = "
    monopod.preset = android
    monopod.android.init = 0
    lxc.autodev = 0
";

#[test]
fn android_is_shut_down_through_its_property_socket_in_the_form_of_its_version() {
    for (sdk, form) in [("22", "old"), ("25", "old"), ("26", "new"), ("34", "new")] {
        let guest = Guest::new("property").config(ANDROID).config(&format!("monopod.android.sdk = {sdk}"));
        let ended = stop_android(&guest, "0", "poweroff", &[]);
        assert_eq!(guest.results(), format!("ready\nproperty sys.powerctl=shutdown {form}\n"), "{ended}");
    }
}

#[test]
fn android_and_its_version_are_known_by_the_image() {
    let guest = Guest::new("image");
    fs::create_dir(guest.rootfs().join("system")).unwrap();
    fs::write(guest.rootfs().join("system/build.prop"), "# x\nro.build.version.sdk=30\n").unwrap();
    let ended = stop_android(&guest, "0", "poweroff", &[]);
    assert_eq!(guest.results(), "ready\nproperty sys.powerctl=shutdown new\n", "{ended}");
}

#[test]
fn android_is_restarted_through_its_property_socket() {
    let guest = Guest::new("restart").config(ANDROID).config(
        "monopod.android.sdk = 30
        monopod.restart.delay = 0ms",
    );
    let running = guest.start("properties 0 , restart-times 1 , poweroff");
    guest.wait_said("ready");
    let restart = guest.client("restart", &[]);
    assert_eq!(restart.code, Some(0), "{restart}");
    support::wait_until("the second life", || guest.results().matches("ready").count() == 2);
    stop(&guest, &[]);
    let ended = assert_stopped(&guest, running);
    let said = |value| format!("ready\nproperty sys.powerctl={value} new\n");
    assert_eq!(guest.results(), said("reboot") + &said("shutdown"), "{ended}");
}

#[test]
fn android_without_sys_boot_hears_sigterm_from_version_9_on() {
    for (sdk, said) in [("28", "signal 15"), ("27", "property sys.powerctl=shutdown new")] {
        let guest = Guest::new("sys_boot").config(ANDROID).config(&format!(
            "monopod.android.sdk = {sdk}
            lxc.cap.drop = sys_boot"
        ));
        let verb = if sdk == "28" { "signals 1" } else { "properties 0" };
        let running = guest.start(&format!("{verb} , exit 0"));
        guest.wait_said("ready");
        stop(&guest, &[]);
        let ended = assert_stopped(&guest, running);
        assert_eq!(guest.results(), format!("ready\n{said}\n"), "{ended}");
    }
}

#[test]
fn android_that_refuses_the_property_gets_the_signal() {
    let guest = Guest::new("refused").config(ANDROID).config("monopod.android.sdk = 30");
    // PROP_ERROR_PERMISSION_DENIED
    stop_android(&guest, "24", "signals 1 , exit 0", &[]);
    assert!(guest.results().ends_with("ready\nsignal 30\n"), "{}", guest.results());
    assert!(guest.file("log").contains("permission denied, by the guest's SELinux policy"), "{}", guest.logs());
}

#[test]
fn android_whose_socket_is_a_link_gets_the_signal() {
    let guest = Guest::new("link").config(ANDROID).config("monopod.android.sdk = 30");
    stop_android(&guest, "link", "signals 1 , exit 0", &[]);
    assert_eq!(guest.results(), "ready\nsignal 30\n", "{}", guest.logs());
}

#[test]
fn android_that_never_reads_the_property_gets_the_signal_at_half_time() {
    let guest = Guest::new("deaf").config(ANDROID).config("monopod.android.sdk = 30");
    stop_android(&guest, "deaf", "signals 1 , exit 0", &["-t", "1"]);
    assert_eq!(guest.results(), "ready\nsignal 30\n", "{}", guest.logs());
}

#[test]
fn frozen_guest_is_thawed_for_each_way() {
    let property = Guest::new("frozen").config(ANDROID).config("monopod.android.sdk = 30");
    let signal = Guest::new("frozen");
    let command =
        Guest::new("frozen").config("monopod.stop.method = command\nmonopod.stop.command = /init signal-init 10");
    for (guest, steps) in
        [(property, "properties 0 , poweroff"), (signal, "signals 1 , exit 0"), (command, "signals 1 , exit 0")]
    {
        let running = guest.start(steps);
        guest.wait_said("ready");
        let frozen = guest.client("freeze", &[]);
        assert_eq!(frozen.code, Some(0), "{frozen}");
        stop(&guest, &[]);
        let ended = assert_stopped(&guest, running);
        let log = guest.file("log");
        assert!(!log.contains("is killed") && !log.contains("does not listen"), "{steps}{ended}");
    }
}

#[test]
fn stop_command_runs_like_init_inside() {
    let guest = Guest::new("command").config(
        "monopod.stop.method = command
        monopod.stop.command = /init print hello , report , signal-init 10
        lxc.environment = FLAVOUR=plum
        lxc.uts.name = inside
        lxc.cap.drop = sys_module",
    );
    let running = guest.start("signals 1 , exit 0");
    guest.wait_said("ready");
    stop(&guest, &[]);
    let ended = assert_stopped(&guest, running);
    assert_eq!(guest.results(), "ready\nsignal 10\n", "{ended}");
    assert!(guest.file("log").contains("stop command: hello"), "{ended}");
    let report = guest.report();
    assert_eq!(report.one("hostname"), "inside");
    assert!(report.all("env").contains(&"FLAVOUR=plum"), "{:?}", report.all("env"));
    assert!(report.all("env").contains(&"container=lxc"), "{:?}", report.all("env"));
    assert_eq!(
        report.all("fd").iter().map(|fd| fd.split(' ').next().unwrap().to_owned()).collect::<Vec<_>>(),
        ["0", "1", "2"]
    );
    assert_eq!(capabilities(&guest) >> 16 & 1, 0, "CAP_SYS_MODULE");
    // As the cgroup namespace shows it, a place elsewhere would be `/..`.
    let groups = report.all("cgroup");
    assert!(!groups.is_empty() && groups.iter().all(|line| line.ends_with(":/")), "{groups:?}");
}

#[test]
fn stop_command_mounts_nothing_where_the_host_is_protected() {
    for (protect, can) in [("0", 1), ("1", 0)] {
        let guest = Guest::new("protected").config(&format!(
            "lxc.mount.auto = proc
            monopod.protect = {protect}
            monopod.stop.method = command
            monopod.stop.command = /init report , signal-init 10"
        ));
        let running = guest.start("signals 1 , exit 0");
        guest.wait_said("ready");
        stop(&guest, &[]);
        let ended = assert_stopped(&guest, running);
        let mask = capabilities(&guest);
        assert_eq!(mask >> 21 & 1, can, "CAP_SYS_ADMIN in {mask:x}{ended}");
    }
}

/// The effective ones of who wrote the report.
fn capabilities(guest: &Guest) -> u64 {
    let report = guest.report();
    let status = report.all("status");
    u64::from_str_radix(status.iter().find_map(|line| line.strip_prefix("CapEff: ")).unwrap(), 16).unwrap()
}

#[test]
fn stop_command_that_fails_is_followed_by_the_signal() {
    for (command, why) in [("/nowhere", "exited with code 127"), ("/init exit 3", "exited with code 3")] {
        let guest = Guest::new("command_fails")
            .config(&format!("monopod.stop.method = command\nmonopod.stop.command = {command}"));
        let running = guest.start("signals 1 , exit 0");
        guest.wait_said("ready");
        stop(&guest, &[]);
        let ended = assert_stopped(&guest, running);
        assert_eq!(guest.results(), "ready\nsignal 30\n", "{ended}");
        assert!(guest.file("log").contains(why), "{ended}");
    }
}

#[test]
fn stop_command_waits_for_half_of_the_time_if_init_listens() {
    let guest = Guest::new("half").config("monopod.stop.command = /init signal-init 10");
    let running = guest.start("signals 2 , exit 0");
    guest.wait_said("ready");
    stop(&guest, &["-t", "1"]);
    let ended = assert_stopped(&guest, running);
    assert_eq!(guest.results(), "ready\nsignal 30\nsignal 10\n", "{ended}");
    assert!(guest.file("log").contains("half of the time"), "{ended}");
}

#[test]
fn stop_command_runs_at_once_if_init_listens_to_no_signal() {
    let guest = Guest::new("unheard").config("monopod.stop.command = /init say inside");
    let running = guest.start("say ready , forever");
    guest.wait_said("ready");
    let order = guest.client("stop", &["-W"]);
    assert_eq!(order.code, Some(0), "{order}");
    guest.wait_said("inside");
    stop(&guest, &["-k"]);
    let ended = assert_stopped(&guest, running);
    assert!(guest.file("log").contains("does not listen to signal 30"), "{ended}");
}

#[test]
fn stop_command_that_hangs_ends_with_the_kill() {
    let guest =
        Guest::new("hangs").config("monopod.stop.method = command\nmonopod.stop.command = /init say inside , forever");
    let running = guest.start("signals 9 , exit 0");
    guest.wait_said("ready");
    stop(&guest, &["-t", "1"]);
    let ended = assert_stopped(&guest, running);
    assert!(guest.results().contains("inside") && guest.file("log").contains("is killed"), "{ended}");
}

#[test]
fn init_that_cannot_die_is_left_behind_with_a_report() {
    let guest = Guest::new("stuck");
    let running = guest.start("say up , forever");
    guest.wait_said("up");
    let init = guest.init();
    // A process in init's pid namespace whose parent, outside, does not reap it: init's end waits for that one's.
    let mut enter = std::process::Command::new("nsenter");
    enter.args(["-p", "-t", &init.to_string(), "sleep", "1000"]);
    let mut parent = enter.spawn().unwrap();
    let inside = || {
        let pids = fs::read_to_string(format!("/proc/{0}/task/{0}/children", parent.id())).unwrap_or_default();
        let pid: i32 = pids.trim().parse().ok()?;
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm == "sleep\n").then_some(pid)
    };
    support::wait_until("the process inside", || inside().is_some());
    let child = inside().unwrap();
    sandbox::kill(parent.id() as i32, libc::SIGSTOP);
    let order = guest.client("stop", &["-k"]);
    let ended = running.wait();
    sandbox::kill(parent.id() as i32, libc::SIGKILL);
    parent.wait().unwrap();
    assert_eq!(ended.code, Some(255), "{ended}");
    let log = guest.file("log");
    assert!(log.contains(&format!("still there: pid {init} (")), "{ended}");
    let zombie = format!("still there: pid {child} (sleep), state Z: process {} does not reap it", parent.id());
    assert!(log.contains(&zombie), "{ended}");
    assert_eq!(order.code, Some(1), "{order}");
    assert!(order.stderr.contains("did not stop") && order.stderr.contains(&zombie), "{order}");
    support::wait_until("init's end", || !std::path::Path::new(&format!("/proc/{init}")).exists());
}
