//! Partitions by their names, and the slot of a phone that has two of each.

use crate::support::Guest;
use std::fs;

/// A host whose kernel was started from slot b, and that knows a partition `data_b`, which is /dev/null, and
/// two of one name.
fn phone(guest: &Guest, cmdline: &str) {
    let file = guest.dir().join("cmdline");
    fs::write(&file, cmdline).unwrap();
    guest.sandbox.sh(&format!(
        "mount --bind {} /proc/cmdline; mount -t tmpfs block /sys/dev/block; cd /sys/dev/block; mkdir 8:7 8:1 179:1
        printf 'MAJOR=8\\nMINOR=7\\nDEVNAME=null\\nPARTNAME=data_b\\n' >8:7/uevent
        for each in 8:1 179:1; do printf 'MAJOR=8\\nMINOR=1\\nDEVNAME=sda1\\nPARTNAME=twice\\n' >$each/uevent; done",
        file.display()
    ));
}

#[test]
fn partition_of_the_slot_is_mounted_by_its_name() {
    let guest = Guest::new("label").config("lxc.mount.entry = PARTLABEL=data${slot} data none bind,create=file 0 0");
    phone(&guest, "quiet androidboot.slot_suffix=_b\n");
    let ended = guest.run("write /data gone");
    assert_eq!(ended.code, Some(0), "{ended}");
    assert!(guest.results().contains("write /data: ok"), "{ended}");
    assert_eq!(guest.rootfs_file("data"), "", "{ended}");
    guest.assert_nothing_left();
}

#[test]
fn partition_that_is_not_there_is_refused_by_its_line() {
    for (entry, cmdline, says) in [
        ("PARTLABEL=vendor_a vendor none bind", "", "no partition of that name, the nearest is data_b"),
        ("PARTLABEL=data data none bind", "", "the nearest is data_b"),
        ("PARTLABEL=twice data none bind", "", "2 partitions have that name"),
        ("PARTLABEL=data${slot} data none bind", "quiet", "no androidboot.slot_suffix"),
        ("PARTLABEL=../x data none bind", "", "expected a partition's name"),
    ] {
        let guest = Guest::new("no_label");
        let line = guest.next_line();
        let guest = guest.config(&format!("lxc.mount.entry = {entry} 0 0"));
        phone(&guest, cmdline);
        let ended = guest.run("exit 0");
        assert_eq!(ended.code, Some(255), "{ended}");
        assert!(ended.stderr.contains(says) && ended.stderr.contains(&format!("config:{line}: ")), "{ended}");
        guest.assert_nothing_left();
    }
}

#[test]
fn partition_that_is_optional_may_be_missing() {
    let guest = Guest::new("optional").config("lxc.mount.entry = PARTLABEL=vendor_a vendor none bind,optional 0 0");
    phone(&guest, "");
    let ended = guest.run("exit 3");
    assert_eq!(ended.code, Some(3), "{ended}");
}

#[test]
fn rootfs_may_be_a_partition() {
    let guest = Guest::new("root_label").config("lxc.rootfs.path = PARTLABEL=data${slot}");
    phone(&guest, "androidboot.slot=b");
    let ended = guest.run("exit 0");
    // It is found, and no filesystem.
    assert!(ended.code == Some(255) && ended.stderr.contains("/dev/null: Not a directory"), "{ended}");
}
