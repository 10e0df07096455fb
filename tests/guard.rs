//! What a guest could harm the host by is out of its reach, also after it has mounted its own; what it says when it reboots is
//! heard.
//!
//! The one letter that these tests let a guest write to sysrq-trigger is `h`, the help text in the kernel's log.

use crate::support::Guest;

const PROC: &str = "lxc.mount.entry = proc proc proc nodev,noexec,nosuid 0 0";

/// Help texts of sysrq in the kernel's log.
fn helps() -> usize {
    let log = std::process::Command::new("dmesg").output().unwrap();
    String::from_utf8_lossy(&log.stdout).matches("sysrq: HELP").count()
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
    let guest = protected("allowed").config("monopod.allow.sysctl = 1");
    let ended = guest.run("try /proc , try-sys /sys");
    let said = guest.results();
    assert_eq!(
        said, "try /proc: sys/kernel/panic sys/vm/swappiness sys/fs/file-max\ntry-sys /sys: refused\n",
        "{ended}"
    );
    let guest = Guest::new("unprotected").config(PROC);
    let ended = guest.run("mount proc /proc , try /proc , read /proc/self/status");
    let said = guest.results();
    assert!(said.contains("try /proc: ") && said.contains("sys/kernel/panic"), "{ended}");
    assert!(said.contains("\nSeccomp:\t0\n"), "{said}");
}

#[test]
fn protect_masks_hold_on_what_the_guest_mounts() {
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
fn protect_masks_hold_on_binds_and_against_unmounts() {
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
