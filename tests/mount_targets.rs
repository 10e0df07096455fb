//! Mount entries against a rootfs and a config that mean harm: nothing is made, mounted or written outside the rootfs.

use crate::support::Guest;
use std::fs;
use std::os::unix::fs::symlink;

/// A guest with a directory `outside` beside its rootfs, and links to it in the rootfs.
fn guest(label: &str) -> Guest {
    let guest = Guest::new(label);
    let outside = guest.dir().join("outside");
    fs::create_dir_all(outside.join("sub")).unwrap();
    fs::write(outside.join("file"), "untouched").unwrap();
    let mnt = guest.rootfs().join("mnt");
    symlink(&outside, mnt.join("absolute")).unwrap();
    symlink("../../outside", mnt.join("relative")).unwrap();
    symlink(outside.join("file"), mnt.join("file")).unwrap();
    symlink("../tmp", mnt.join("within")).unwrap();
    fs::write(guest.dir().join("source"), "source").unwrap();
    guest
}

#[test]
fn target_through_a_link_is_refused() {
    let entries = [
        "tmpfs mnt/absolute tmpfs defaults",
        "tmpfs mnt/relative tmpfs defaults",
        "tmpfs mnt/within tmpfs defaults",
        "tmpfs mnt/absolute/sub tmpfs defaults",
        "tmpfs mnt/relative/sub tmpfs defaults",
        "tmpfs mnt/absolute tmpfs create=dir",
        "tmpfs mnt/absolute/new tmpfs create=dir",
        "tmpfs mnt/relative/new tmpfs create=dir",
        "tmpfs mnt/relative/new/deep tmpfs create=dir",
        "{dir}/source mnt/file none bind",
        "{dir}/source mnt/file none bind,create=file",
        "{dir}/source mnt/absolute/new none bind,create=file",
        "{dir}/source mnt/relative/new/deep none bind,create=file",
    ];
    for entry in entries {
        let guest = guest("target_link");
        let line = guest.next_line();
        let guest = guest.config(&format!("lxc.mount.entry = {entry} 0 0"));
        let ended = guest.run("report");
        assert_eq!(ended.code, Some(255), "{entry}{ended}");
        assert_eq!(ended.stderr.lines().count(), 1, "{entry}{ended}");
        assert!(ended.stderr.contains(&format!("config:{line}")), "{entry}{ended}");
        assert_eq!(outside(&guest), ["file", "sub"], "{entry}");
        assert_eq!(guest.file("outside/file"), "untouched", "{entry}");
        guest.assert_nothing_left();
    }
}

/// What is in the directory that nothing may be written to, and below.
fn outside(guest: &Guest) -> Vec<String> {
    let list = guest.sandbox.sh(&format!("cd {}/outside; find . -mindepth 1 | sort", guest.dir().display()));
    list.lines().map(|line| line.trim_start_matches("./").to_owned()).collect()
}

#[test]
fn target_above_the_rootfs_is_refused() {
    for entry in [
        "tmpfs ../outside tmpfs defaults",
        "tmpfs ../.. tmpfs defaults",
        "tmpfs mnt/../../outside tmpfs create=dir",
        "tmpfs ../outside/new tmpfs create=dir",
        "{dir}/source ../outside/new none bind,create=file",
        "tmpfs /../../outside tmpfs defaults",
        "tmpfs {rootfs}/../outside tmpfs defaults",
    ] {
        let guest = guest("target_above");
        let line = guest.next_line();
        let guest = guest.config(&format!("lxc.mount.entry = {entry} 0 0"));
        let ended = guest.run("report");
        assert_eq!(ended.code, Some(255), "{entry}{ended}");
        assert!(ended.stderr.contains(&format!("config:{line}")), "{entry}{ended}");
        assert_eq!(outside(&guest), ["file", "sub"], "{entry}");
        guest.assert_nothing_left();
    }
}

#[test]
fn relative_source_through_a_link_is_refused() {
    // A source inside the rootfs is as little to be trusted as a target.
    let guest = guest("source_link").config("lxc.mount.entry = mnt/absolute tmp none bind,relative 0 0");
    let ended = guest.run("report");
    assert_eq!(ended.code, Some(255), "{ended}");
    guest.assert_nothing_left();
}

#[test]
fn read_only_bind_keeps_the_flags_of_source_and_submount() {
    let guest = guest("bind_flags").config(
        "lxc.mount.entry = {dir}/tree mnt/tree none rbind,ro,create=dir 0 0
        lxc.mount.entry = {dir}/tree/strict mnt/strict none bind,ro,create=dir 0 0
        lxc.mount.entry = {dir}/source mnt/one none bind,ro,create=file 0 0",
    );
    for dir in ["tree/sub", "tree/strict"] {
        fs::create_dir_all(guest.dir().join(dir)).unwrap();
    }
    guest.sandbox.sh(&format!(
        "cd {}/tree
        mount -t tmpfs -o nosuid sub sub
        mount -t tmpfs -o nosuid,nodev,noexec strict strict",
        guest.dir().display()
    ));
    let ended = guest
        .run("report , write /mnt/tree/new x , write /mnt/tree/sub/new x , write /mnt/strict/new x , write /mnt/one x");
    assert_eq!(ended.code, Some(0), "{ended}");
    let refused = "Read-only file system";
    let expected = format!(
        "write /mnt/tree/new: {refused}\nwrite /mnt/tree/sub/new: ok\nwrite /mnt/strict/new: {refused}\nwrite /mnt/one: {refused}\n"
    );
    assert_eq!(guest.results(), expected, "{ended}");
    let report = guest.report();
    for (target, has, has_not) in [
        ("/mnt/tree", &["ro"][..], &["nosuid", "noexec"][..]),
        ("/mnt/tree/sub", &["rw", "nosuid"], &["nodev", "noexec"]),
        ("/mnt/tree/strict", &["rw", "nosuid", "nodev", "noexec"], &[]),
        ("/mnt/strict", &["ro", "nosuid", "nodev", "noexec"], &[]),
        ("/mnt/one", &["ro"], &["nosuid"]),
    ] {
        let mount = report.mount(target).unwrap_or_else(|| panic!("{target}{ended}"));
        assert!(has.iter().all(|option| mount.has(option)), "{has:?} in {mount:?}");
        assert!(!has_not.iter().any(|option| mount.has(option)), "{has_not:?} in {mount:?}");
    }
    assert_eq!(guest.file("source"), "source");
    guest.assert_nothing_left();
}

#[test]
fn optional_entries_only_say_what_they_lack() {
    let guest = guest("optional").config(
        "lxc.mount.entry = /nonexistent mnt none bind,optional 0 0
        lxc.mount.entry = tmpfs mnt/absolute tmpfs optional 0 0
        lxc.mount.entry = tmpfs missing tmpfs optional 0 0
        lxc.mount.entry = nothing mnt nosuchfs optional 0 0
        lxc.mount.entry = tmpfs tmp tmpfs defaults 0 0",
    );
    let ended = guest.run("report , exit 0");
    assert_eq!(ended.code, Some(0), "{ended}");
    assert_eq!(ended.stderr, "", "{ended}");
    let log = guest.file("log");
    let said: Vec<_> = log.lines().filter(|line| line.contains("optional: ")).collect();
    assert_eq!(said.len(), 4, "{ended}");
    assert!(said.iter().all(|line| line.contains(" INFO ") && line.contains("config:")), "{ended}");
    assert_eq!(guest.report().mount("/tmp").unwrap().fstype, "tmpfs");
    assert_eq!(outside(&guest), ["file", "sub"]);
    guest.assert_nothing_left();
}
