//! `explain` says what a start would do, and does none of it.

use crate::support::{Guest, Running, emulated, skip};
use std::process::Command;

const CONFIG: &str = "lxc.uts.name = inside
    lxc.autodev = 1
    lxc.tty.max = 2
    lxc.pty.max = 8
    lxc.mount.auto = proc:mixed sys:ro
    lxc.mount.entry = tmpfs tmp tmpfs nosuid,create=dir 0 0
    lxc.cap.drop = sys_time
    lxc.prlimit.nofile = 700:900
    lxc.hook.pre-start = /bin/true
    monopod.restart.when = always";

#[test]
fn explain_names_the_steps_in_the_order_of_the_start() {
    let guest = Guest::new("explain").config(CONFIG);
    guest.install("exit 7");
    let ended = guest.client("explain", &[]);
    assert_eq!(ended.code, Some(0), "{ended}");
    let rootfs = guest.rootfs().display().to_string();
    let mut from = 0;
    for step in [
        "1. read the config",
        "take the lock",
        &format!("the rootfs is there: {rootfs}"),
        &format!("@{}/command", guest.dir().display()),
        "pre-start hooks, on the host",
        "/bin/true (",
        &format!("/lxc/{} (", guest.name()),
        "CLONE_NEWNS | CLONE_NEWPID",
        &format!("mount the rootfs {rootfs}"),
        "mount tmpfs on /dev",
        "proc:mixed",
        "tmpfs tmp tmpfs",
        "null zero full",
        "10 ptys",
        "2 ttys",
        "pivot_root",
        "sethostname inside",
        "limit nofile: 700 (soft), 900 (hard)",
        "drop the capabilities sys_time",
        "execute /init exit 7",
        "start again always",
    ] {
        let at = ended.stdout[from..].find(step);
        from += at.unwrap_or_else(|| panic!("'{step}' is not there, or too early:\n{}", ended.stdout));
    }
    guest.assert_nothing_left();
}

#[test]
fn explain_says_what_the_preset_does() {
    let guest = Guest::new("explain_preset").config(
        "monopod.preset = android\nmonopod.allow.power = 1\nmonopod.stop.command = /bin/off
        monopod.reboot.recovery = host-reboot-arg",
    );
    guest.install("exit 0");
    let ended = guest.client("explain", &[]);
    assert_eq!(ended.code, Some(0), "{ended}");
    for step in [
        "protect the host: sysrq sysctl debugfs wake_alarm",
        "a seccomp filter for reboots, mounts and keyrings",
        "sys_time",
        "then, inside: /bin/off",
        "ready when this holds: coldboot property_service",
        "a reboot with the argument recovery: host-reboot-arg",
    ] {
        assert!(ended.stdout.contains(step), "{step}{ended}");
    }
}

#[test]
fn explain_of_a_refused_start_says_why() {
    let guest = Guest::new("explain_refused").config("lxc.rootfs.path = dir:/nowhere");
    guest.install("");
    let ended = guest.client("explain", &[]);
    assert_eq!(ended.code, Some(1), "{ended}");
    assert!(ended.stderr.contains("refused") && ended.stderr.contains("/nowhere"), "{ended}");
    let start = Running::new(&guest, guest.start_command("exit 0")).wait();
    assert_ne!(start.code, Some(0), "{start}");
}

#[test]
fn explain_makes_no_call_that_changes_anything() {
    if emulated("explain_makes_no_call_that_changes_anything", "strace sees the emulator") {
        return;
    }
    if Command::new("strace").arg("-V").output().is_err() {
        return skip("explain_makes_no_call_that_changes_anything", "no strace", true);
    }
    let guest = Guest::new("explain_quiet").config(CONFIG);
    guest.install("exit 0");
    let tool = guest.tool("explain", &[]);
    let log = guest.dir().join("trace");
    let mut command = Command::new("strace");
    command.args(["-f", "-o"]).arg(&log).arg(tool.get_program()).args(tool.get_args());
    guest.enter(&mut command);
    let ended = Running::new(&guest, command).wait();
    assert_eq!(ended.code, Some(0), "{ended}");
    let trace = std::fs::read_to_string(log).unwrap();
    assert!(trace.contains("mountinfo"), "{trace}");
    let changes = ["O_CREAT", "O_WRONLY", "O_RDWR", "mkdir", "mount(", "clone", "fork", "unlink", "mknod", "bind("];
    let found: Vec<&str> = trace.lines().filter(|line| changes.iter().any(|change| line.contains(change))).collect();
    assert!(found.is_empty(), "{found:#?}");
}
