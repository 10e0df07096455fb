//! Labels: what the kernel cannot enforce is refused, and what it can is written, to a procfs and nothing else. This machine's
//! kernel has no security module, so that a made /sys says what it would have.

use crate::support::strace;
use crate::support::{Ended, Guest};
use std::fs;

/// A guest that thinks that the kernel has AppArmor.
fn under_apparmor(label: &str, lines: &str) -> Guest {
    let guest = Guest::new(label).config(lines);
    guest.sandbox.sh("
        mount -t tmpfs none /sys/module
        mkdir -p /sys/module/apparmor/parameters
        echo Y > /sys/module/apparmor/parameters/enabled
        mount -t tmpfs none /sys/kernel/security
        mkdir -p /sys/kernel/security/apparmor/features/mount
        : > /sys/kernel/security/apparmor/features/mount/mask
    ");
    guest
}

#[track_caller]
fn assert_refused(guest: &Guest, ended: &Ended, says: &str) {
    assert_eq!(ended.code, Some(255), "{ended}");
    assert!(ended.stderr.contains(says) && ended.stderr.lines().count() == 1, "{says}{ended}");
    assert!(!guest.rootfs().join("report").exists());
    guest.assert_nothing_left();
}

#[test]
fn labels_of_modules_that_the_kernel_lacks_are_refused_by_name() {
    for (line, says) in [
        ("lxc.apparmor.profile = lxc-container-default", "no AppArmor"),
        ("lxc.aa_profile = generated", "no profiles are made"),
        ("lxc.selinux.context = system_u:system_r:lxc_t:s0", "no SELinux"),
        ("lxc.selinux.context.keyring = system_u:system_r:lxc_t:s0", "no SELinux"),
    ] {
        let guest = Guest::new("no_lsm").config(line);
        assert_refused(&guest, &guest.run("report"), says);
    }
    for lines in [
        "lxc.apparmor.profile = unconfined",
        "lxc.apparmor.profile = unchanged\nlxc.apparmor.raw = mount,",
        "lxc.selinux.context = unconfined_t",
    ] {
        let guest = Guest::new("no_label").config(lines);
        let ended = guest.run("report");
        assert_eq!(ended.code, Some(0), "{lines}{ended}");
    }
}

/// strace says what was written, and lets it succeed: this kernel would refuse it.
fn labelled(guest: &Guest, injections: &[&str]) -> (Ended, String) {
    let options: Vec<_> = injections.iter().flat_map(|one| ["-e", one]).collect();
    let ended = strace::start(
        guest,
        "report",
        &[&["-y", "-e", "trace=write,prctl,execve,fstatfs,keyctl"], &options[..]].concat(),
    )
    .wait();
    (ended, guest.file("strace"))
}

#[test]
fn apparmor_profile_is_written_after_the_rootfs_and_before_no_new_privs() {
    if !strace::available("apparmor_profile_is_written_after_the_rootfs_and_before_no_new_privs") {
        return;
    }
    let guest = under_apparmor("aa_profile", "lxc.apparmor.profile = mine\nlxc.no_new_privs = 1");
    let (ended, trace) = labelled(&guest, &[]);
    // Without AppArmor nobody takes it.
    assert_refused(&guest, &ended, "lxc.apparmor.profile = mine: does the policy know it?: Invalid argument");
    let write = trace.lines().find(|line| line.contains("exec mine")).unwrap();
    assert!(write.contains("/attr/exec>"), "{write}");
    assert!(!trace.contains("PR_SET_NO_NEW_PRIVS"), "{trace}");
}

#[test]
fn label_goes_to_no_file_but_procfs() {
    if !strace::available("label_goes_to_no_file_but_procfs") {
        return;
    }
    let guest = under_apparmor("aa_fake_proc", "lxc.apparmor.profile = mine");
    // What fstatfs(2) says of the directory is made that of a tmpfs: f_type is the first word.
    let (ended, trace) = labelled(&guest, &["inject=fstatfs:poke_exit=@arg2=9419020100000000:when=1+"]);
    assert_refused(&guest, &ended, "/proc is not the kernel's");
    assert!(!trace.contains("exec mine"), "{trace}");
}

#[test]
fn apparmor_without_mounts_needs_to_be_put_up_with() {
    let lines = "lxc.apparmor.profile = mine";
    for (lines, says) in [
        (lines.to_owned(), "allow_incomplete"),
        (format!("{lines}\nlxc.apparmor.allow_incomplete = 1"), "Invalid argument"),
    ] {
        let guest = under_apparmor("aa_incomplete", &lines);
        guest.sandbox.sh("rm /sys/kernel/security/apparmor/features/mount/mask");
        assert_refused(&guest, &guest.run("report"), says);
    }
}

#[test]
fn session_keyring_is_inits_own_unless_it_is_kept() {
    if crate::support::emulated("session_keyring_is_inits_own_unless_it_is_kept", "qemu-user knows no keyrings") {
        return;
    }
    let keyring = |lines: &str| {
        let guest = Guest::new("keyring").config(&format!("{lines}\nlxc.mount.auto = proc"));
        let ended = guest.run("read /proc/keys , read /proc/key-users , report");
        assert_eq!(ended.code, Some(0), "{lines}{ended}");
        guest.results()
    };
    if fs::metadata("/proc/keys").is_err() {
        return crate::support::skip(
            "session_keyring_is_inits_own_unless_it_is_kept",
            "no keyrings in this kernel",
            false,
        );
    }
    assert!(keyring("").contains("_ses"), "{}", keyring(""));
}

#[test]
fn keyring_and_core_group_that_cannot_be_had_are_refused_or_done_without() {
    if !strace::available("keyring_and_core_group_that_cannot_be_had_are_refused_or_done_without") {
        return;
    }
    let guest = Guest::new("keyctl");
    for errno in ["ENOSYS", "EPERM", "EACCES"] {
        let ended = strace::run(&guest, "report", &[format!("keyctl:error={errno}")]);
        assert_eq!(ended.code, Some(0), "{errno}{ended}");
        fs::remove_file(guest.rootfs().join("report")).unwrap();
    }
    let ended = strace::run(&guest, "report", &["keyctl:error=EDQUOT".to_owned()]);
    assert_refused(&guest, &ended, "lxc.keyring.session");
    let kept = Guest::new("keyctl_off").config("lxc.keyring.session = 0");
    let ended = strace::run(&kept, "report", &["keyctl:error=EDQUOT".to_owned()]);
    assert_eq!(ended.code, Some(0), "{ended}");

    let guest = Guest::new("sched_core").config("lxc.sched.core = 1");
    for (errno, says) in [("EINVAL", "Linux 5.14"), ("ENODEV", "two threads"), ("EPERM", "lxc.sched.core = 1")] {
        // The first prctl is for the parent-death signal; those of the supervisor do not matter to it.
        let ended = strace::run(&guest, "report", &[format!("prctl:error={errno}:when=2")]);
        assert_refused(&guest, &ended, says);
    }
}
