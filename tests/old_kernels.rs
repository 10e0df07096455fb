//! Kernels that lack what came after them, played by a seccomp filter or by strace: the same container comes about, by the
//! older way.

use crate::supervisor_death::kill_with_its_container;
use crate::support::kernel::{self, Is, Kernel, LAST_OF_3_10};
use crate::support::report::Report;
use crate::support::strace;
use crate::support::{Guest, Running, binary, dynamic, sandbox, skip, wait_until};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Every system call of the program that Linux 3.10 does not have, with the kernel that brought it and its older way.
pub const NEW: [(&str, libc::c_long); 8] = [
    ("clone3", libc::SYS_clone3),           // 5.3, 5.7 for cgroups: clone, then `cgroup.procs`
    ("openat2", libc::SYS_openat2),         // 5.6: openat, component by component
    ("close_range", libc::SYS_close_range), // 5.9, 5.11 for close-on-exec: /proc/self/fd
    ("pidfd_open", libc::SYS_pidfd_open),   // 5.3: kill by pid
    ("pidfd_send_signal", libc::SYS_pidfd_send_signal), // 5.1: the same
    ("open_tree", libc::SYS_open_tree),     // 5.2: a bind of /proc/self/fd
    ("move_mount", libc::SYS_move_mount),   // 5.2: the same
    ("bpf", libc::SYS_bpf),                 // 3.18: for device lists of v2 alone, and v2 is younger than it
];

/// The kernels of this file, each with its name.
fn kernels() -> Vec<(String, Kernel)> {
    let mut kernels = vec![
        ("Linux 3.10".into(), Kernel::of_3_10()),
        ("Linux 3.10 whose clone takes no namespaces".into(), without_clone(Kernel::of_3_10())),
        ("clone that takes no namespaces".into(), without_clone(Kernel::new())),
        // Seccomp policies of container managers answer EPERM for calls younger than themselves.
        ("old policy".into(), Kernel::new().without_calls_after_3_10(libc::EPERM)),
    ];
    for (name, call) in NEW {
        kernels.push((format!("no {name}"), Kernel::new().answer(call, &[], libc::ENOSYS)));
    }
    // Before Linux 4.13.
    for errno in [libc::ENOTTY, libc::EINVAL] {
        let kernel = Kernel::new().answer(libc::SYS_ioctl, &[Is::Value(1, TIOCGPTPEER)], errno);
        kernels.push((format!("TIOCGPTPEER with errno {errno}"), kernel));
    }
    kernels
}

const TIOCGPTPEER: u32 = 0x5441;

/// As under qemu-user.
fn without_clone(kernel: Kernel) -> Kernel {
    const NAMESPACES: i32 = libc::CLONE_NEWNS
        | libc::CLONE_NEWCGROUP
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUSER
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET;
    kernel.answer(libc::SYS_clone3, &[], libc::ENOSYS).answer(
        libc::SYS_clone,
        &[Is::Any(0, NAMESPACES as u32)],
        libc::EINVAL,
    )
}

fn guest(label: &str) -> Guest {
    let guest = Guest::new(label);
    let hook = guest.script("hook", "exec readlink /proc/self/ns/pid >> $dir/hooks");
    guest.config(&format!(
        "lxc.console.path =
        lxc.console.logfile = {{dir}}/console.log
        lxc.tty.max = 2
        lxc.uts.name = inside
        lxc.mount.auto = proc:mixed sys:ro
        lxc.mount.entry = tmpfs mnt/deep/er tmpfs create=dir 0 0
        lxc.cap.drop = mac_admin
        lxc.hook.pre-start = {hook}
        lxc.hook.start-host = {hook}
        lxc.hook.stop = {hook}
        lxc.hook.post-stop = {hook}
        lxc.signal.halt = SIGRTMIN+3
        monopod.restart.delay = 0ms"
    ))
}

/// Two lives, console, hooks, cgroups, info, stop; what init found in the second life.
fn live(guest: &Guest, what: &str) -> String {
    for file in ["rootfs/count", "rootfs/report", "rootfs/results", "console.log", "hooks"] {
        let _ = fs::remove_file(guest.dir().join(file));
    }
    let running = guest.start("restart-times 1 , report , print on the console , signals 1 , poweroff");
    guest.wait_said("ready");
    let digest = guest.report().digest();
    let init = guest.init();
    let cgroups = fs::read_to_string(format!("/proc/{init}/cgroup")).unwrap();
    let path = format!("/lxc/{}", guest.name());
    let mounts = guest.sandbox.sh("cat /proc/self/mounts");
    let mounted = |line: &str| mounts.contains(if line.starts_with("0::") { " cgroup2 " } else { " cgroup " });
    for line in cgroups.lines().filter(|line| !line.contains(":name=") && mounted(line)) {
        assert!(line.ends_with(&path), "{what}: {line}");
    }
    wait_until("the console's log", || guest.file("console.log").contains("on the console"));
    assert_eq!(guest.client("info", &["-p", "-H"]).stdout, format!("{init}\n"), "{what}");
    let stopped = guest.client("stop", &["-t", "20"]);
    assert_eq!(stopped.code, Some(0), "{what}{stopped}");
    let ended = running.wait();
    assert_eq!(ended.code, Some(0), "{what}{ended}");
    assert_eq!(guest.results(), "ready\nsignal 37\n", "{what}{ended}");
    // Four in each life, and none in the container's.
    let hosts = fs::read_link("/proc/self/ns/pid").unwrap();
    assert_eq!(guest.file("hooks"), format!("{}\n", hosts.display()).repeat(8), "{what}{ended}");
    guest.assert_nothing_left();
    digest
}

/// Fails unless `found` is what `expected` is, but for the cgroup namespace, which is of Linux 4.6.
#[track_caller]
fn assert_same_but_cgroup_namespace(found: &str, expected: &str) {
    let rest = |digest: &str| -> Vec<String> {
        let of_it = |line: &&str| line.starts_with("cgroup: ") || line.starts_with("ns cgroup ");
        digest.lines().filter(|line| !of_it(line)).map(str::to_owned).collect()
    };
    assert_eq!(rest(found), rest(expected));
    assert!(found.contains("\nns cgroup the host's\n"), "{found}");
    assert!(expected.contains("\ncgroup: 1:") && expected.contains("\npid: 1\n"), "{expected}");
}

#[test]
fn missing_calls_and_flags_one_by_one_and_all_at_once_make_no_difference() {
    if !kernel::available("missing_calls_and_flags_one_by_one_and_all_at_once_make_no_difference") {
        return;
    }
    let mut guest = guest("old_kernel");
    guest.set_kernel(Kernel::new());
    let expected = live(&guest, "this kernel");
    for (what, kernel) in kernels() {
        guest.set_kernel(kernel);
        let found = live(&guest, &what);
        if what.starts_with("Linux 3.10") {
            assert_same_but_cgroup_namespace(&found, &expected);
        } else {
            assert_eq!(found, expected, "{what}");
        }
    }
}

/// v2 is of 4.5.
#[test]
fn machine_of_linux_3_10_has_only_v1_hierarchies() {
    if !kernel::available("machine_of_linux_3_10_has_only_v1_hierarchies") {
        return;
    }
    let mut guest = guest("old_machine");
    guest.sandbox.sh("! mountpoint -q /sys/fs/cgroup/unified || umount /sys/fs/cgroup/unified");
    guest.set_kernel(Kernel::new());
    let expected = live(&guest, "this kernel");
    guest.set_kernel(Kernel::of_3_10());
    assert_same_but_cgroup_namespace(&live(&guest, "Linux 3.10"), &expected);
}

#[test]
fn machine_with_v2_alone_is_entered_by_name() {
    if !kernel::available("machine_with_v2_alone_is_entered_by_name") {
        return;
    }
    let mut guest = guest("v2_alone");
    guest.sandbox.sh("umount -R /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup");
    guest.set_kernel(Kernel::new());
    let expected = live(&guest, "this kernel");
    // E2BIG: clone3 of 5.3 knows no cgroup yet.
    for errno in [libc::ENOSYS, libc::E2BIG, libc::EINVAL] {
        guest.set_kernel(Kernel::new().answer(libc::SYS_clone3, &[], errno));
        assert_eq!(live(&guest, "no clone3 into a cgroup"), expected, "{errno}");
    }
    guest.set_kernel(without_clone(Kernel::new()));
    assert_eq!(live(&guest, "clone that takes no namespaces"), expected);
}

/// Strace's view of the program, its clients included: whatever it calls that Linux 3.10 does not have is in `NEW`, and has
/// been missed above.
#[test]
fn calls_younger_than_linux_3_10_are_known() {
    if dynamic("calls_younger_than_linux_3_10_are_known", "its loader makes calls of its own") {
        return;
    }
    if !strace::available("calls_younger_than_linux_3_10_are_known") {
        return;
    }
    let guest = guest("young_calls");
    let numbered = |mut command: Command, name: &str| {
        let mut strace = Command::new("strace");
        strace.args(["-f", "-n", "-qqq", "-o"]).arg(guest.dir().join(name));
        strace.arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
        guest.enter(&mut strace);
        command = strace;
        Running::new(&guest, command)
    };
    let running = numbered(guest.start_command("restart-times 1 , signals 1 , poweroff"), "trace-start");
    guest.wait_said("ready");
    assert_eq!(numbered(guest.tool("info", &[]), "trace-info").wait().code, Some(0));
    assert_eq!(numbered(guest.tool("stop", &[]), "trace-stop").wait().code, Some(0));
    let ended = running.wait();
    assert_eq!(ended.code, Some(0), "{ended}");
    let ours = format!("execve(\"{}\"", binary().display());
    let text = ["trace-start", "trace-info", "trace-stop"].map(|name| guest.file(name)).concat();
    let young = strace::calls_above(LAST_OF_3_10, &text, |exec| exec.starts_with(&ours));
    let known: BTreeSet<String> = NEW.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert!(young.is_subset(&known), "{young:?}");
    // Or nothing would have been missed.
    assert!(young.contains("openat2") && young.contains("close_range"), "{young:?}");
    if Path::new("/sys/fs/cgroup/unified").exists() || Path::new("/sys/fs/cgroup/cgroup.procs").exists() {
        assert!(young.contains("clone3"), "{young:?}");
    } else {
        skip("calls_younger_than_linux_3_10_are_known", "no v2 hierarchy on this machine: clone3 is not used", false);
    }
}

/// Capabilities above 36 and the ambient set are younger, and so is what closes descriptors in bulk.
#[test]
fn what_linux_3_10_never_had_needs_not_be_taken_away() {
    let test = "what_linux_3_10_never_had_needs_not_be_taken_away";
    if !kernel::available(test) {
        return;
    }
    let mut guest = Guest::new("old_rights").config("lxc.cap.keep = kill sys_admin");
    let start = guest.start_command("report , exit 7");
    // What init must not inherit.
    let mut command = Command::new("setpriv");
    command.args(["--inh-caps", "+kill", "sh", "-c", "exec 9< /dev/null; exec \"$@\"", "sh"]);
    command.arg(start.get_program()).args(start.get_args()).args(["-C"]).stdin(Stdio::null());
    guest.set_kernel(Kernel::of_3_10());
    guest.enter(&mut command);
    let ended = Running::new(&guest, command).wait();
    assert_eq!(ended.code, Some(7), "{ended}");
    let report = guest.report();
    assert_eq!((report.capabilities("CapInh:"), report.capabilities("CapAmb:")), (0, 0));
    // This kernel's own younger ones could not be dropped.
    const OF_3_10: u64 = (1 << 37) - 1;
    assert_eq!(report.capabilities("CapBnd:") & OF_3_10, 1 << 5 | 1 << 21);
    assert_eq!(report.all("fd").len(), 3, "{:?}", report.all("fd"));
    guest.assert_nothing_left();
}

#[test]
fn hosts_pid_namespace_lost_is_a_refused_start() {
    let test = "hosts_pid_namespace_lost_is_a_refused_start";
    if !kernel::available(test) {
        return;
    }
    // The supervisor could not come back from where its child was born: its hooks would run in the container.
    let mut guest = Guest::new("no_way_back");
    guest.set_kernel(without_clone(Kernel::new()).answer(libc::SYS_setns, &[], libc::EPERM));
    let ended = guest.run("say lives");
    assert_eq!(ended.code, Some(255), "{ended}");
    assert!(ended.stderr.starts_with("monopod: clone: namespaces 0x"), "{ended}");
    assert!(ended.stderr.ends_with("Operation not permitted\n"), "{ended}");
    assert_eq!(guest.results(), "");
    guest.assert_nothing_left();
}

#[test]
fn fork_that_fails_after_unshare_leaves_the_supervisor_where_it_was() {
    if !strace::available("fork_that_fails_after_unshare_leaves_the_supervisor_where_it_was") {
        return;
    }
    let guest = Guest::new("no_fork");
    let hook = guest.script("hook", "exec readlink /proc/self/ns/pid >> $dir/hooks");
    let guest = guest.config(&format!("lxc.hook.post-stop = {hook}"));
    // The clone, then the fork; the third is the hook's.
    let injections = ["clone3:error=ENOSYS".into(), "clone:error=EINVAL:when=1..2".into()];
    let ended = strace::run(&guest, "say lives", &injections);
    assert_eq!(ended.code, Some(255), "{ended}");
    let hosts = fs::read_link("/proc/self/ns/pid").unwrap();
    assert_eq!(guest.file("hooks"), format!("{}\n", hosts.display()), "{ended}");
    assert_eq!(guest.results(), "");
    guest.assert_nothing_left();
}

#[test]
fn namespace_that_the_kernel_does_not_have_is_named() {
    if !kernel::available("namespace_that_the_kernel_does_not_have_is_named") {
        return;
    }
    for (flag, name) in [
        (libc::CLONE_NEWUTS, "uts"),
        (libc::CLONE_NEWIPC, "ipc"),
        (libc::CLONE_NEWNET, "net"),
        (libc::CLONE_NEWNS, "mnt"),
    ] {
        let mut guest = Guest::new("no_namespace");
        let kernel = without_clone(Kernel::new());
        guest.set_kernel(kernel.answer(libc::SYS_unshare, &[Is::Any(0, flag as u32)], libc::EINVAL));
        let ended = guest.run("say lives");
        assert_eq!(ended.code, Some(255), "{ended}");
        let line = format!("monopod: namespace: unshare the {name} namespace: Invalid argument\n");
        assert_eq!(ended.stderr, line, "{ended}");
        guest.assert_nothing_left();
    }
}

#[test]
fn supervisor_killed_takes_an_unshared_container_along() {
    if !kernel::available("supervisor_killed_takes_an_unshared_container_along") {
        return;
    }
    let mut guest = Guest::new("unshared_death");
    guest.set_kernel(without_clone(Kernel::new()));
    kill_with_its_container(&guest);
    assert_eq!(guest.run("exit 7").code, Some(7));
    guest.assert_nothing_left();
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
    let live = |injections: &[String]| {
        let ended = strace::run(&guest, "report , exit 7", injections);
        assert_eq!(ended.code, Some(7), "{ended}");
        guest.assert_nothing_left();
        guest.report().digest()
    };
    assert_eq!(live(&["pivot_root:error=EINVAL:when=1".into()]), live(&[]));
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
