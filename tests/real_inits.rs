//! Stopping Debian's own inits, from the files that `make glue` unpacks.

use crate::support::{self, Guest};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The tree of a small host with every init in it.
const TREE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/.cache/glue/tree");

/// A guest of that tree, which it sees through an overlay: some inits remount their root read-only in the end. None, with
/// the skip said, where it is not there.
fn guest(test: &str, init: &str, files: &[(&str, &str)]) -> Option<Guest> {
    if !Path::new(TREE).join("sbin/runit").exists() {
        support::skip(test, "no tree of Debian's inits (make glue unpacks it)", false);
        return None;
    }
    let guest = Guest::new("real").config(&format!(
        "lxc.init.cmd = {init}
        lxc.mount.auto = proc sys
        lxc.autodev = 1
        lxc.mount.entry = tmpfs run tmpfs rw,create=dir 0 0
        lxc.mount.entry = {{dir}}/shared shared none bind,create=dir 0 0"
    ));
    let (upper, shared) = (guest.dir().join("upper"), guest.dir().join("shared"));
    for (path, text) in files {
        let path = upper.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    for dir in [&shared, &guest.dir().join("work"), &upper.join("proc"), &upper.join("sys"), &upper.join("dev")] {
        fs::create_dir_all(dir).unwrap();
    }
    let (work, root) = (guest.dir().join("work"), guest.rootfs());
    guest.sandbox.sh(&format!(
        "mount -t overlay -o lowerdir={TREE},upperdir={},workdir={} overlay {}",
        upper.display(),
        work.display(),
        root.display()
    ));
    Some(guest)
}

/// Starts it, waits until it has written `/shared/up`, stops it, and looks for the sentence in the log.
fn stops(test: &str, init: &str, files: &[(&str, &str)], by: &str) {
    let Some(guest) = guest(test, init, files) else { return };
    let running = guest.start("");
    let up = guest.dir().join("shared/up");
    assert!(support::wait_for(support::DEADLINE, || up.exists()), "{init} is not up\n{}", guest.logs());
    let order = guest.client("stop", &[]);
    assert_eq!(order.code, Some(0), "{order}");
    let ended = running.wait();
    let log = guest.file("log");
    assert!(log.contains(by), "{init}{ended}");
    assert!(log.contains("init halted") && !log.contains("is killed"), "{init}{ended}");
}

const UP: &str = "#!/bin/sh\necho up >/shared/up\nexec sleep 1000\n";

#[test]
fn runit_of_debian_is_stopped() {
    let files = [("etc/runit/1", "#!/bin/sh\n"), ("etc/runit/2", UP), ("etc/runit/3", "#!/bin/sh\n")];
    stops("runit_of_debian_is_stopped", "/sbin/runit", &files, "sending signal 30 to init (runit)");
}

#[test]
fn s6_of_debian_is_stopped() {
    let halt = "#!/bin/sh\n/bin/busybox poweroff -f\n";
    let files = [("scan/.s6-svscan/finish", halt), ("scan/up/run", UP)];
    stops("s6_of_debian_is_stopped", "/usr/bin/s6-svscan /scan", &files, "sending signal 15 to init (s6)");
}

#[test]
fn sysvinit_of_debian_is_stopped() {
    let table =
        "id:2:initdefault:\nup:2:once:/bin/sh -c \"echo up >/shared/up\"\npf::powerwait:/bin/busybox poweroff -f\n";
    stops("sysvinit_of_debian_is_stopped", "/sbin/init", &[("etc/inittab", table)], "sending signal 30 to init");
}

#[test]
fn systemd_of_debian_is_stopped() {
    if support::emulated("systemd_of_debian_is_stopped", "qemu-user gives realtime signals other numbers") {
        return;
    }
    let unit = "[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nExecStart=/bin/sh -c \"echo up >/shared/up\"\nRemainAfterExit=yes\n";
    let target = "[Unit]\nRequires=up.service\nAfter=up.service\nAllowIsolate=yes\n";
    let files = [
        ("etc/systemd/system/up.service", unit),
        ("etc/systemd/system/up.target", target),
        ("etc/machine-id", "0123456789abcdef0123456789abcdef\n"),
    ];
    let init = "/lib/systemd/systemd --unit=up.target";
    stops("systemd_of_debian_is_stopped", init, &files, "sending signal 37 to init (systemd)");
}

#[test]
fn openrc_of_debian_is_stopped() {
    let service = "#!/sbin/openrc-run\nstart() { echo up >/shared/up; }\n";
    let files = [("etc/init.d/up", service), ("etc/runlevels/default/up", "")];
    stops("openrc_of_debian_is_stopped", "/sbin/openrc-init", &files, "sending signal 15 to init (openrc)");
}
