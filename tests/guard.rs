//! What a guest could harm the host by is out of its reach, also after it has mounted its own; what it says when it reboots is
//! heard.
//!
//! The one letter that these tests let a guest write to sysrq-trigger is `h`, the help text in the kernel's log.

use crate::support::kernel::{self, Is, Kernel};
use crate::support::{Guest, emulated, skip, strace};
use std::path::Path;

const PROC: &str = "lxc.mount.entry = proc proc proc nodev,noexec,nosuid 0 0";

/// Help texts of sysrq in the kernel's log.
fn helps() -> usize {
    let log = std::process::Command::new("dmesg").output().unwrap();
    String::from_utf8_lossy(&log.stdout).matches("sysrq: HELP").count()
}

/// False, with the skip said, where nothing can be heard of: before Linux 5.7, and under qemu-user.
#[must_use]
pub fn available(test: &str) -> bool {
    const NEW_LISTENER: i32 = 8;
    const TSYNC_ESRCH: i32 = 16;
    if emulated(test, "its system calls are not the kernel's") {
        return false;
    }
    // SAFETY: without a program nothing changes.
    let known = unsafe { libc::syscall(libc::SYS_seccomp, 1, NEW_LISTENER | TSYNC_ESRCH, std::ptr::null::<u8>()) };
    let known = known == -1 && std::io::Error::last_os_error().raw_os_error() == Some(libc::EFAULT);
    if !known {
        skip(test, "this kernel has no seccomp notifications", false);
    }
    known
}

/// Runs a guest to its end with steps of several lines. Fails unless every try was refused; what it said.
#[track_caller]
fn all_refused(guest: &Guest, steps: &str) -> String {
    let before = helps();
    let ended = guest.run(&steps.split_whitespace().collect::<Vec<_>>().join(" "));
    assert_eq!(ended.code, Some(0), "{ended}");
    guest.assert_nothing_left();
    let said = guest.results();
    let tries = |text: &str| text.matches("try").count();
    assert_eq!(tries(&said), tries(steps), "{said}{ended}");
    for line in said.lines().filter(|line| line.starts_with("try")) {
        assert!(line.ends_with(": refused"), "{said}{ended}");
    }
    assert_eq!(helps(), before);
    said
}

/// A guest with procfs, sysfs and protection.
fn protected(label: &str) -> Guest {
    Guest::new(label).config(PROC).config("lxc.mount.auto = sys:rw\nmonopod.protect = 1")
}

#[test]
fn protect_masks_hold_at_the_start() {
    let said = all_refused(
        &protected("masks"),
        "try /proc , try-sys /sys , write /proc/sys/net/ipv4/ip_forward x , read /proc/sys/kernel/ostype",
    );
    assert!(said.contains("write /proc/sys/net/ipv4/ip_forward: Invalid argument\n"), "{said}");
    assert!(said.contains("read /proc/sys/kernel/ostype: Linux\n"), "{said}");
}

#[test]
fn protect_what_is_allowed_or_not_protected_stays_as_it_is() {
    if !available("protect_what_is_allowed_or_not_protected_stays_as_it_is") {
        return;
    }
    let guest = protected("allowed").config("monopod.allow.sysctl = 1");
    let ended = guest.run("try /proc , try-sys /sys");
    let said = guest.results();
    assert_eq!(
        said, "try /proc: sys/kernel/panic sys/vm/swappiness sys/fs/file-max\ntry-sys /sys: refused\n",
        "{ended}"
    );
    let guest = Guest::new("unprotected").config(PROC);
    let ended = guest.run("mount proc /proc , write /proc/sys/kernel/panic x , read /proc/self/status");
    let said = guest.results();
    assert!(said.contains("write /proc/sys/kernel/panic: Invalid argument\n"), "{said}{ended}");
    assert!(said.contains("\nSeccomp:\t0\n"), "{said}{ended}");
}

#[test]
fn protect_masks_hold_on_what_the_guest_mounts() {
    if !available("protect_masks_hold_on_what_the_guest_mounts") {
        return;
    }
    // Android's way, a second time, other places, by a link, another namespace.
    let said = all_refused(
        &protected("own_mounts"),
        "mount proc /proc hidepid=2,gid=3009 , try /proc , mount sysfs /sys , try-sys /sys , mount proc /proc , try /proc ,
        mount proc /tmp/proc , try /tmp/proc , namespace , try /proc , mount proc /proc , try /proc , mount tmpfs /mnt ,
        mount nonsense /mnt , mount proc /init",
    );
    assert!(said.contains("mount proc /proc hidepid=2,gid=3009: ok\n"), "{said}");
    // The same superblock on the same place: what the kernel says to that.
    assert!(said.contains("mount sysfs /sys: Device or resource busy\n"), "{said}");
    assert!(said.contains("mount proc /tmp/proc: ok\n"), "{said}");
    assert!(said.contains("mount tmpfs /mnt: ok\n"), "{said}");
    assert!(said.contains("mount nonsense /mnt: No such device\n"), "{said}");
    assert!(said.contains("mount proc /init: Not a directory\n"), "{said}");
}

#[test]
fn protect_mounts_are_the_callers_own() {
    if !available("protect_mounts_are_the_callers_own") {
        return;
    }
    let said = all_refused(
        &protected("callers"),
        "mount proc /proc hidepid=2,gid=3009 , read /proc/mounts , read /proc/1/comm , mount sysfs /tmp/sys ,
        read /tmp/sys/class/net/lo/type , jail /tmp/jail , try /tmp/jail/proc , stranger /tmp",
    );
    assert!(said.contains("gid=3009") && said.contains("read /proc/1/comm: init\n"), "{said}");
    // The caller's own root, pid and network namespace.
    assert!(said.contains("read /tmp/sys/class/net/lo/type: 772\n"), "{said}");
    assert!(said.contains("jail /tmp/jail: 1\n"), "{said}");
    // Masks hide something, and then the kernel gives no fresh one to a user namespace.
    assert!(said.contains("stranger /tmp: Operation not permitted\n"), "{said}");
}

#[test]
fn protect_masks_hold_on_binds_and_against_unmounts() {
    if !available("protect_masks_hold_on_binds_and_against_unmounts") {
        return;
    }
    let said = all_refused(
        &protected("binds"),
        "bind /proc /tmp/a , try /tmp/a , bind /proc /tmp/b rec , try /tmp/b , bind /sys /tmp/c , try-sys /tmp/c ,
        bind /proc/sys /tmp/d/sys , try /tmp/d , unmount /proc/sys/kernel , remount-rw /proc/sys/vm , try /proc ,
        bind /tmp /mnt , unmount /mnt , remount-rw /proc , try /proc , fsopen proc , fsopen tmpfs",
    );
    assert!(said.contains("bind /proc /tmp/a: ok\n"), "{said}");
    assert!(said.contains("unmount /proc/sys/kernel: Operation not permitted\n"), "{said}");
    assert!(said.contains("remount-rw /proc/sys/vm: Operation not permitted\n"), "{said}");
    assert!(said.contains("bind /tmp /mnt: ok\nunmount /mnt: ok\nremount-rw /proc: ok\n"), "{said}");
    assert!(said.contains("fsopen proc: Function not implemented\nfsopen tmpfs: ok\n"), "{said}");
}

#[test]
fn protect_what_the_guest_has_mounted_it_can_unmount() {
    if !available("protect_what_the_guest_has_mounted_it_can_unmount") {
        return;
    }
    let said = all_refused(
        &protected("unmounts"),
        "mount proc /tmp/proc , unmount /tmp/proc , bind /sys /tmp/sys , unmount /tmp/sys , mount proc /proc ,
        unmount /proc , try /proc , unmount /tmp/proc",
    );
    for path in ["/tmp/proc", "/tmp/sys", "/proc"] {
        assert!(said.contains(&format!("unmount {path}: ok\n")), "{said}");
    }
    assert!(said.ends_with("unmount /tmp/proc: Invalid argument\n"), "{said}");
}

#[test]
fn protect_without_notifications_masks_follow_the_mounts() {
    if !kernel::available("protect_without_notifications") {
        return;
    }
    // Before Linux 5.7: no seccomp(2) at all, or none of its flags.
    let without = |rule: &[Is]| Kernel::new().answer(libc::SYS_seccomp, rule, libc::EINVAL);
    for kernel in [without(&[]), without(&[Is::Value(0, 1)]), Kernel::of_3_10()] {
        let mut guest = protected("followed").config("monopod.keyctl = enosys");
        guest.set_kernel(kernel);
        let before = helps();
        let ended = guest.run(
            "try /proc , mount proc /proc , await /proc , bind /proc/sys /tmp/d/sys , await /tmp/d , mount proc /tmp/proc , await /tmp/proc , keyctl",
        );
        assert_eq!(ended.code, Some(0), "{ended}");
        assert_eq!(guest.results().matches(": refused\n").count(), 4, "{ended}{}", guest.results());
        assert!(guest.results().contains("keyctl : Function not implemented\n"), "{}", guest.results());
        assert_eq!(ended.stderr.matches("no seccomp notifications").count(), 1, "{ended}");
        assert_eq!(helps(), before);
        guest.assert_nothing_left();
    }
}

#[test]
fn keyctl_is_not_there_if_the_config_says_so() {
    if !available("keyctl_is_not_there_if_the_config_says_so") {
        return;
    }
    let guest = Guest::new("keyctl");
    let ended = guest.run("keyctl");
    assert_eq!(guest.results(), "keyctl : ok\n", "{ended}");
    let guest = Guest::new("no_keyctl").config("monopod.keyctl = enosys");
    let ended = guest.run("keyctl , mount tmpfs /tmp");
    assert_eq!(guest.results(), "keyctl : Function not implemented\nmount tmpfs /tmp: ok\n", "{ended}");
}

/// Ends by that step; its log.
fn rebooted(label: &str, lines: &str, steps: &str) -> String {
    let guest = Guest::new(label).config(lines).config("monopod.restart.when = never");
    let ended = guest.run(steps);
    let log = guest.file("log");
    assert!(log.contains("init rebooted"), "{ended}");
    guest.assert_nothing_left();
    log
}

#[test]
fn reboot_argument_is_heard_and_changes_nothing() {
    if !available("reboot_argument_is_heard_and_changes_nothing") {
        return;
    }
    let heard = |log: &str| {
        log.lines()
            .filter_map(|line| line.split_once("with the argument "))
            .map(|(_, said)| said.to_owned())
            .collect::<Vec<_>>()
    };
    let rule = "monopod.reboot.other = restart";
    assert_eq!(heard(&rebooted("argument", rule, "restart-for recovery")), ["\"recovery\""]);
    assert_eq!(heard(&rebooted("grandchild", rule, "by-grandchild restart2")), ["\"recovery\""]);
    assert_eq!(
        heard(&rebooted("long", rule, &format!("restart-for {}", "x".repeat(300)))),
        [format!("\"{}\"", "x".repeat(127))]
    );
    // What is no text is shown as none.
    assert_eq!(heard(&rebooted("bytes", rule, "restart-for a\u{1b}[2J\u{e9}")), ["\"a?[2J??\""]);
    // Of another pid namespace; without an argument; nobody listens.
    let nested = "restart-for nested fastboot , restart";
    let none: [String; 0] = [];
    assert_eq!(heard(&rebooted("nested", rule, nested)), none);
    assert_eq!(heard(&rebooted("unheard", "", "restart-for recovery")), none);
}

#[test]
fn reboot_argument_is_heard_of_an_init_that_may_gain_nothing() {
    if !available("reboot_argument_is_heard_of_an_init_that_may_gain_nothing") {
        return;
    }
    let config = "monopod.reboot.other = restart\nlxc.no_new_privs = 1\nlxc.cap.keep = sys_boot";
    assert!(rebooted("rights", config, "restart-for recovery").contains("with the argument \"recovery\""));
}

#[test]
fn protect_attached_programs_are_not_under_the_filter() {
    if !available("protect_attached_programs_are_not_under_the_filter") {
        return;
    }
    let guest = protected("attached").config("monopod.keyctl = enosys");
    let running = guest.start("say up , forever");
    guest.wait_said("up");
    let ended = guest.client("attach", &["--", "/init", "keyctl", ",", "try", "/proc"]);
    assert_eq!(ended.code, Some(0), "{ended}");
    assert_eq!(guest.results(), "up\nkeyctl : ok\ntry /proc: refused\n", "{ended}");
    assert_eq!(guest.client("stop", &["-k"]).code, Some(0));
    running.wait();
    guest.assert_nothing_left();
}

#[test]
fn warn_only_a_config_that_leaves_the_trigger_writable_is_spoken_of() {
    let warned = |lines: &str| Guest::new("warn").config(lines).run("exit 0").stderr.contains("sysrq-trigger");
    assert_eq!(warned(PROC), Path::new("/proc/sysrq-trigger").exists());
    for lines in [
        "lxc.mount.auto = proc:mixed",
        &format!("{PROC}\nmonopod.protect = 0"),
        &format!("{PROC}\nmonopod.protect = 1"),
    ] {
        assert!(!warned(lines), "{lines}");
    }
}

#[test]
fn protect_debugfs_and_tracefs_are_read_only_where_the_guest_mounts_them() {
    if !available("protect_debugfs_and_tracefs_are_read_only_where_the_guest_mounts_them") {
        return;
    }
    let guest = protected("debugfs");
    let ended = guest.run("mount debugfs /tmp/d , write /tmp/d/x x , mount tracefs /tmp/t , write /tmp/t/x x");
    for path in ["/tmp/d", "/tmp/t"] {
        let said = guest.results();
        let refused = format!(" {path}: ok\nwrite {path}/x: Read-only file system\n");
        assert!(said.contains(&refused) || said.contains(&format!(" {path}: No such device\n")), "{said}{ended}");
    }
}

#[test]
fn protect_masks_hold_for_32_bit_callers_propagated_mounts_and_a_crowd() {
    if !available("protect_masks_hold_for_32_bit_callers_propagated_mounts_and_a_crowd") {
        return;
    }
    let said = all_refused(
        &protected("others"),
        "mount-32 proc /tmp/32 , try /tmp/32 , beside /tmp/beside , crowd 30 , clone-tree /proc , clone-tree /tmp ,
        set-rw /proc/sys/kernel , set-ro /proc/sys/kernel , set-rw /proc , try /proc",
    );
    assert!(said.starts_with("mount-32 proc /tmp/32: ok\n") || cfg!(not(target_arch = "x86_64")), "{said}");
    assert!(said.contains("beside: true refused\nbeside /tmp/beside: ok\n"), "{said}");
    assert!(said.contains("crowd 30: 30\n"), "{said}");
    // mount_setattr(2) is of Linux 5.12.
    assert!(said.contains("set-rw /proc/sys/kernel: Operation not permitted\n"), "{said}");
    let newer = !said.contains("set-rw /proc: Function not implemented\n");
    assert!(!newer || said.contains("set-ro /proc/sys/kernel: ok\nset-rw /proc: ok\n"), "{said}");
    assert!(said.contains("clone-tree /proc: Function not implemented\nclone-tree /tmp: ok\n"), "{said}");
}

#[test]
fn protect_path_that_nobody_serves_keeps_nobody_waiting_but_its_caller() {
    let test = "protect_path_that_nobody_serves_keeps_nobody_waiting_but_its_caller";
    if !available(test) {
        return;
    }
    if !Path::new("/dev/fuse").exists() {
        return skip(test, "no /dev/fuse", false);
    }
    let guest = protected("unserved");
    let running = guest.start("unserved , say never");
    guest.wait_said("waiting");
    // The call waits for its helper, and the helper for the filesystem.
    guest.wait_running();
    assert_eq!(guest.results(), "waiting\n");
    assert_eq!(guest.client("stop", &["-k"]).code, Some(0));
    running.wait();
    guest.assert_nothing_left();
}

#[test]
fn protect_guest_that_has_ended_before_its_mounts_are_watched_is_no_error() {
    if !strace::available("protect_guest_that_has_ended_before_its_mounts_are_watched_is_no_error") {
        return;
    }
    let guest = protected("short");
    let ended = strace::run(&guest, "exit 7", &["seccomp:error=ENOSYS".into(), "epoll_pwait:delay_exit=300000".into()]);
    assert_eq!(ended.code, Some(7), "{ended}");
    guest.assert_nothing_left();
}
