//! Kernels that lack what came after them, played by strace: the same container comes about, by the older way.

use crate::support::report::Report;
use crate::support::strace::{self, Trace};
use crate::support::{Guest, Running, sandbox, skip, wait_until};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// System calls for which there is an older way, with the first kernel that has them.
const NEW: [&str; 4] = ["clone3", "openat2", "close_range", "pidfd_open"]; // 5.3 (5.7 for cgroups), 5.6, 5.9, 5.3

fn missing(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| format!("{name}:error=ENOSYS")).collect()
}

fn guest(label: &str) -> Guest {
    Guest::new(label).config(
        "lxc.console.path =
        lxc.console.logfile = {dir}/console.log
        lxc.tty.max = 2
        lxc.uts.name = inside
        lxc.mount.auto = proc:mixed sys:ro
        lxc.mount.entry = tmpfs mnt/deep/er tmpfs create=dir 0 0
        lxc.cap.drop = mac_admin
        monopod.restart.delay = 0ms",
    )
}

/// Two lives, console, cgroups, stop; what init found in the second life.
fn live(guest: &Guest, injections: &[String]) -> String {
    for file in ["rootfs/count", "rootfs/report", "rootfs/results", "console.log"] {
        let _ = fs::remove_file(guest.dir().join(file));
    }
    let steps = "restart-times 1 , report , print on the console , signals 1 , say not reached , forever";
    let running = strace::start_with(guest, steps, injections);
    guest.wait_said("ready");
    let digest = guest.report().digest();
    let init = guest.init();
    let cgroups = fs::read_to_string(format!("/proc/{init}/cgroup")).unwrap();
    let path = format!("/lxc/{}", guest.name());
    for line in cgroups.lines().filter(|line| !line.contains(":name=")) {
        assert!(line.ends_with(&path), "{injections:?}: {line}");
    }
    wait_until("the console's log", || guest.file("console.log").contains("on the console"));
    let stopped = guest.client("stop", &["-k"]);
    assert_eq!(stopped.code, Some(0), "{injections:?}{stopped}");
    let ended = running.wait();
    assert_eq!(ended.code, Some(0), "{injections:?}{ended}");
    guest.assert_nothing_left();
    digest
}

#[test]
fn missing_system_calls_one_by_one_and_all_make_no_difference() {
    if !strace::available("missing_system_calls_one_by_one_and_all_make_no_difference") {
        return;
    }
    let guest = guest("old_kernel");
    let expected = live(&guest, &[]);
    let each = NEW.iter().map(|name| vec![*name]).chain([NEW.to_vec()]);
    for names in each {
        assert_eq!(live(&guest, &missing(&names)), expected, "without {names:?}");
    }
}

#[test]
fn missing_calls_are_really_missed() {
    let test = "missing_calls_are_really_missed";
    if !strace::available(test) {
        return;
    }
    // Or the test above would prove nothing.
    let guest = guest("old_kernel_trace");
    let trace = Trace::of(&guest, "exit 7");
    assert!(strace::count(&trace.supervisor, "close_range") > 0);
    assert!(strace::count(&trace.child, "openat2") > 0);
    if Path::new("/sys/fs/cgroup/unified").exists() || Path::new("/sys/fs/cgroup/cgroup.procs").exists() {
        assert!(strace::count(&trace.supervisor, "clone3") > 0);
    } else {
        skip(test, "no v2 hierarchy on this machine: clone3 is not used", false);
    }
}

#[test]
fn policy_that_forbids_what_it_does_not_know_makes_no_difference() {
    if !strace::available("policy_that_forbids_what_it_does_not_know_makes_no_difference") {
        return;
    }
    // Seccomp policies of container managers answer EPERM for calls younger than themselves.
    let guest = guest("old_policy");
    let expected = live(&guest, &[]);
    let forbidden: Vec<_> = NEW.iter().map(|name| format!("{name}:error=EPERM")).collect();
    assert_eq!(live(&guest, &forbidden), expected);
}

#[test]
fn cgroup_namespace_that_the_kernel_does_not_have_is_done_without() {
    if !strace::available("cgroup_namespace_that_the_kernel_does_not_have_is_done_without") {
        return;
    }
    let guest = Guest::new("no_cgroup_namespace");
    let ended = strace::run(&guest, "report , exit 7", &["unshare:error=EINVAL".into()]);
    assert_eq!(ended.code, Some(7), "{ended}");
    let hosts = fs::read_link("/proc/self/ns/cgroup").unwrap();
    assert_eq!(guest.report().entry("ns", "cgroup"), hosts.to_string_lossy());
    guest.assert_nothing_left();
}

#[test]
fn pty_peer_that_the_kernel_cannot_open_is_opened_by_name() {
    if !strace::available("pty_peer_that_the_kernel_cannot_open_is_opened_by_name") {
        return;
    }
    // Only the console's other end is opened; ttys are bound by name.
    let guest = Guest::new("no_peer").config("lxc.console.path =");
    let trace = Trace::of(&guest, "report , exit 7");
    let expected = guest.report().digest();
    let mut ioctls = trace.child.iter().filter(|call| strace::is(call, "ioctl"));
    let place = ioctls.position(|call| call.contains("TIOCGPTPEER")).unwrap() + 1;
    for errno in ["ENOTTY", "EINVAL"] {
        let ended = strace::run(&guest, "report , exit 7", &[format!("ioctl:error={errno}:when={place}")]);
        assert_eq!(ended.code, Some(7), "{errno}{ended}");
        assert_eq!(guest.report().digest(), expected, "{errno}");
        guest.assert_nothing_left();
    }
}

#[test]
fn old_version_number_has_the_kernel_asked_about_reboot() {
    let test = "old_version_number_has_the_kernel_asked_about_reboot";
    if !strace::available(test) {
        return;
    }
    let old = ["--uname-2.6", "uname", "-r"];
    if !Command::new("setarch").args(old).output().is_ok_and(|output| output.stdout.starts_with(b"2.6.")) {
        return skip(test, "setarch --uname-2.6 does not work here", false);
    }
    let guest = Guest::new("old_number").config("monopod.restart.delay = 0ms");
    let start = guest.start_command("restart-times 1 , report , exit 7");
    let mut command = Command::new("setarch");
    command.args(["--uname-2.6", "strace", "-f", "-qqq", "-e", "trace=reboot", "-o"]).arg(guest.dir().join("strace"));
    command.arg(start.get_program()).args(start.get_args()).stdin(Stdio::null());
    guest.sandbox.enter(&mut command);
    let ended = Running::new(&guest, command).wait();
    assert_eq!(ended.code, Some(7), "{ended}");
    // The probe's, which must do nothing, and init's own.
    let calls = guest.file("strace");
    assert!(calls.lines().next().is_some_and(|call| call.contains("_CAD") && call.contains("EINVAL")), "{calls}");
    const CAP_SYS_BOOT: u64 = 1 << 22;
    assert_ne!(guest.report().capabilities("CapEff:") & CAP_SYS_BOOT, 0);
    assert_eq!(guest.rootfs_file("count"), "1");
    guest.assert_nothing_left();
}

#[test]
fn pivot_root_that_answers_einval_is_done_another_way() {
    if !strace::available("pivot_root_that_answers_einval_is_done_another_way") {
        return;
    }
    // As in an initramfs.
    let guest = guest("no_pivot");
    let expected = live(&guest, &[]);
    assert_eq!(live(&guest, &["pivot_root:error=EINVAL:when=1".into()]), expected);
}

/// Runs the binary in a chroot that holds it, a guest, and what it needs of the host; `prepare` is run in the jail first.
fn run_in_chroot(test: &str, prepare: &str) {
    if crate::support::emulated(test, "the emulator is not in the chroot") {
        return;
    }
    if !crate::support::is_static(&crate::support::binary()) {
        return skip(test, "the binary under test is not static (make test has it so)", true);
    }
    let guest = Guest::new("chroot");
    let jail = guest.dir().join("jail");
    let inside = jail.join("lxc").join(guest.name());
    for dir in ["proc", "sys", "dev", "run", "tmp"] {
        fs::create_dir_all(jail.join(dir)).unwrap();
    }
    for dir in ["dev", "proc", "sys"] {
        fs::create_dir_all(inside.join("rootfs").join(dir)).unwrap();
    }
    fs::copy(guest.rootfs().join("init"), inside.join("rootfs/init")).unwrap();
    fs::copy(crate::support::binary(), jail.join("monopod")).unwrap();
    let config = format!(
        "lxc.rootfs.path = dir:/lxc/{}/rootfs\nlxc.mount.auto = proc sys\nlxc.init.cmd = /init report , exit 0\n",
        guest.name()
    );
    fs::write(inside.join("config"), config).unwrap();
    guest.sandbox.sh(&format!(
        "cd {0}; {prepare}; cd {0}; for dir in proc sys dev; do mount --rbind /$dir $dir; done",
        jail.display()
    ));
    guest.state_before();
    let mut command = Command::new("/monopod");
    command.args(["start", "-F", "-n", guest.name(), "-P", "/lxc"]).stdin(Stdio::null());
    guest.sandbox.enter(&mut command);
    sandbox::chroot(&mut command, &jail);
    let ended = Running::new(&guest, command).wait();
    assert_eq!(ended.code, Some(0), "{ended}");
    let report = Report::new(fs::read_to_string(inside.join("rootfs/report")).unwrap());
    let root = report.mount("/").unwrap();
    assert!(root.root.ends_with(&format!("/jail/lxc/{}/rootfs", guest.name())), "{root:?}");
    for mount in report.mounts() {
        let place = mount.target.split('/').nth(1).unwrap();
        assert!(["", "dev", "proc", "sys"].contains(&place), "{mount:?}");
    }
    assert!(report.mount("/proc/sys").unwrap().has("ro"));
    guest.assert_nothing_left();
}

#[test]
fn chroot_that_is_a_mount_point_is_a_host_like_any_other() {
    run_in_chroot("chroot_that_is_a_mount_point_is_a_host_like_any_other", "mount --bind . .");
}

#[test]
fn chroot_that_is_no_mount_point_is_a_host_like_any_other() {
    run_in_chroot("chroot_that_is_no_mount_point_is_a_host_like_any_other", ":");
}
