//! `check` and `start` agree: what a start refuses `check` names before it, and what `check` passes starts.

use crate::config_errors::{Refusal, TEXTS, UNPLACED, WORLDS};
use crate::support::{Guest, emulated};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

/// Values whose refusal only the kernel knows, once it is asked in earnest.
const FORESEEN_BY_NOBODY: [&str; 3] = ["mount option unknown", "sysctl value refused", "cgroup limit refused"];

/// The lines of an answer that begin with FAIL.
fn failures(answer: &str) -> Vec<&str> {
    answer.lines().filter(|line| line.trim_start().starts_with("FAIL")).collect()
}

/// Why `check` does not see what a start refuses; None: it does.
fn unseen(refusal: &Refusal) -> Option<String> {
    let guest = Guest::new("check_refused").config("lxc.init.cmd = /init say lived").config(refusal.config);
    guest.sandbox.sh(&format!("cd {}\n{}", guest.dir().display(), refusal.setup));
    guest.install("");
    let before = guest.sandbox_state();
    let ended = guest.client("check", &[]);
    assert_eq!(guest.sandbox_state(), before, "{}: something was left{ended}", refusal.name);
    assert_eq!(guest.results(), "", "{}: init ran", refusal.name);
    let seen = ended.code == Some(1) && failures(&ended.stdout).len() == 1;
    (!seen).then(|| format!("{}: {ended}", refusal.name))
}

#[test]
fn check_names_every_fault_that_a_start_refuses() {
    if emulated(
        "check_names_every_fault_that_a_start_refuses",
        "the guests are programs of this machine, which the emulated one cannot run",
    ) {
        return;
    }
    let rows = [TEXTS, WORLDS, UNPLACED].into_iter().flatten();
    let unseen: Vec<_> = rows.filter(|row| !FORESEEN_BY_NOBODY.contains(&row.name)).filter_map(unseen).collect();
    assert!(unseen.is_empty(), "{} faults are not named: {}", unseen.len(), unseen.join("\n"));
}

/// A container that `check` passes, and that then runs.
#[track_caller]
fn assert_fine(guest: &Guest, steps: &str) {
    guest.install(steps);
    let ended = guest.client("check", &[]);
    assert_eq!((ended.code, failures(&ended.stdout).len()), (Some(0), 0), "{ended}");
    let ended = guest.run(steps);
    assert_eq!(ended.code, Some(0), "{ended}");
    guest.assert_nothing_left();
}

#[test]
fn check_passes_what_then_starts() {
    let guest = Guest::new("check_fine");
    let hook = guest.script("hook", "exit 0");
    symlink("/init", guest.rootfs().join("linked")).unwrap();
    let guest = guest.config(&format!(
        "lxc.uts.name = box
        lxc.mount.auto = proc sys
        lxc.tty.max = 2
        lxc.cap.drop = sys_time
        lxc.hook.pre-start = {hook}
        lxc.hook.mount = {hook}
        lxc.hook.post-stop = {hook} && true
        lxc.mount.entry = {{dir}} mnt none bind 0 0
        lxc.mount.entry = {{dir}}/missing tmp none bind,optional 0 0
        lxc.mount.entry = tmpfs new/place tmpfs create=dir 0 0
        lxc.mount.entry = tmpfs dev/shm tmpfs create=dir 0 0
        lxc.console.logfile = {{dir}}/console"
    ));
    assert_fine(&guest.config("lxc.init.cmd = /linked exit 0"), "");
}

#[test]
fn check_init_that_a_hook_brings_is_no_failure() {
    let guest = Guest::new("check_later");
    let brings = guest.script("brings", "ln $dir/rootfs/init $dir/rootfs/later 2>/dev/null || true");
    let guest = guest.config(&format!("lxc.hook.pre-start = {brings}\nlxc.init.cmd = /later exit 0"));
    guest.install("");
    let ended = guest.client("check", &[]);
    assert_eq!(ended.code, Some(0), "{ended}");
    assert!(
        ended.stdout.lines().any(|line| line.trim_start().starts_with("warn") && line.contains("/later")),
        "{ended}"
    );
    let ended = guest.run("");
    assert_eq!(ended.code, Some(0), "{ended}");
}

#[test]
fn check_program_that_cannot_be_executed_fails_until_it_is_mended() {
    if emulated(
        "check_program_that_cannot_be_executed_fails_until_it_is_mended",
        "the guests are programs of this machine, which the emulated one cannot run",
    ) {
        return;
    }
    let guest = Guest::new("check_program").config("lxc.init.cmd = /program exit 0");
    let program = guest.rootfs().join("program");
    // (what the file holds, what is said of it)
    let rows: [(&[u8], &str); 3] =
        [(b"#!/bin/none\n", "/bin/none"), (b"no program at all\n", "/program"), (b"\x7fELF\x01\x01", "/program")];
    for (bytes, said) in rows {
        fs::write(&program, bytes).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        guest.install("");
        let ended = guest.client("check", &[]);
        assert_eq!((ended.code, failures(&ended.stdout).len()), (Some(1), 1), "{ended}");
        assert!(failures(&ended.stdout)[0].contains(said), "{said}{ended}");
        assert_eq!(guest.run("").code, Some(255), "{said}: it started");
    }
    fs::copy(guest.rootfs().join("init"), &program).unwrap();
    assert_fine(&guest, "");
}
