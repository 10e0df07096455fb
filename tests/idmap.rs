//! User namespaces: a container whose root is nobody on the host, with everything that it needs and nothing more.

use crate::support::kernel::Kernel;
use crate::support::strace::{self, Trace};
use crate::support::{Guest, NO_LOADER, Running, dynamic, emulated, sandbox, skip, wait_until};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The usual maps.
const MAPS: &str = "lxc.idmap = u 0 100000 65536\nlxc.idmap = g 0 100000 65536";

/// Gives a directory tree to others, without following links.
fn chown(directory: &Path, owner: u32) {
    let done = Command::new("chown").args(["-hR", &format!("{owner}:{owner}")]).arg(directory).status().unwrap();
    assert!(done.success());
}

/// A guest with `lines`, whose init is a file of its own, so that its owner can be another.
fn guest(label: &str, lines: &str) -> Guest {
    let guest = Guest::new(label).config(lines);
    let init = guest.rootfs().join("init");
    fs::copy(&init, guest.dir().join("copy")).unwrap();
    fs::rename(guest.dir().join("copy"), init).unwrap();
    guest
}

/// The same with the usual maps and a rootfs that belongs to its root.
fn shifted(label: &str, lines: &str) -> Guest {
    let guest = guest(label, &format!("{MAPS}\n{lines}"));
    chown(&guest.rootfs(), 100_000);
    guest
}

/// Under qemu-user no process is born in a user namespace.
fn cannot(test: &str) -> bool {
    emulated(test, "qemu-user clones no namespaces")
}

fn refused(guest: &Guest, what: &str) {
    let ended = guest.run("exit 0");
    assert_eq!(ended.code, Some(255), "{ended}");
    assert!(ended.stderr.contains(what), "{what}\n{ended}");
    guest.assert_nothing_left();
}

fn stop(guest: &Guest, running: Running<'_>) {
    assert_eq!(guest.client("stop", &["-k"]).code, Some(0));
    running.wait();
    guest.assert_nothing_left();
}

fn status(pid: i32, key: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn mapped_root_is_root_inside_and_nobody_outside() {
    if cannot("mapped_root_is_root_inside_and_nobody_outside") {
        return;
    }
    let guest =
        shifted("idmap", "lxc.mount.auto = proc:mixed sys:mixed\nlxc.uts.name = inside\nlxc.prlimit.nofile = 512:700");
    let running = guest.start("report , read /proc/self/uid_map , read /proc/self/gid_map , say up , forever");
    guest.wait_said("up");
    let report = guest.report();
    assert_eq!((report.one("uid"), report.one("gid"), report.one("groups")), ("0", "0", "[]"));
    assert_eq!(report.one("hostname"), "inside");
    let results = guest.results();
    for kind in ["uid_map", "gid_map"] {
        let line = results.lines().find(|line| line.contains(kind)).unwrap();
        let numbers: Vec<_> = line.rsplit(": ").next().unwrap().split_whitespace().collect();
        assert_eq!(numbers, ["0", "100000", "65536"], "{kind}");
    }
    let init = guest.init();
    assert_eq!(status(init, "Uid:"), "100000 100000 100000 100000");
    assert_eq!(status(init, "Gid:"), "100000 100000 100000 100000");
    assert_eq!(report.capabilities("CapEff:").count_ones(), 41, "all of them, in its namespace");
    let made = fs::metadata(guest.rootfs().join("results")).unwrap();
    assert_eq!((made.uid(), made.gid()), (100_000, 100_000));
    assert!(report.all("limit").iter().any(|line| line.contains("512") && line.contains("700")));
    let user = fs::read_link("/proc/self/ns/user").unwrap();
    assert_ne!(report.entry("ns", "user"), user.to_string_lossy());
    stop(&guest, running);
}

#[test]
fn devices_console_and_ttys_of_mapped_root_work() {
    if cannot("devices_console_and_ttys_of_mapped_root_work") {
        return;
    }
    let lines =
        "lxc.console.path =\nlxc.console.logfile = {dir}/console.log\nlxc.tty.max = 2\nlxc.mount.auto = proc:mixed";
    let guest = shifted("idmap_dev", lines);
    let steps = "write /dev/null x , write /dev/full x , read /dev/null , print hello console , print-to /dev/console by-name , \
                 write /dev/tty1 x , mknod /dev/made 1 3 , report , exit 7";
    let ended = guest.run(steps);
    assert_eq!(ended.code, Some(7), "{ended}");
    let results = guest.results();
    for line in [
        "write /dev/null: ok",
        "write /dev/full: No space left on device",
        "read /dev/null: ",
        "print-to /dev/console: ok",
        "write /dev/tty1: ok",
        "mknod /dev/made: Operation not permitted",
    ] {
        assert!(results.lines().any(|said| said.trim() == line.trim()), "{line}\n{results}");
    }
    let log = guest.file("console.log");
    assert!(log.contains("hello console") && log.contains("by-name"), "{log}");
    let report = guest.report();
    assert!(report.mount("/dev/pts").unwrap().super_options.contains("gid=100005"));
    for node in ["null", "zero", "full", "random", "urandom", "tty"] {
        assert!(report.mount(&format!("/dev/{node}")).is_some(), "{node}");
    }
    guest.assert_nothing_left();
}

#[test]
fn maps_with_holes_map_just_that() {
    if cannot("maps_with_holes_map_just_that") {
        return;
    }
    let lines = "lxc.idmap = u 0 200000 5
                 lxc.idmap = u 1000 201000 1
                 lxc.idmap = g 0 300000 1
                 lxc.idmap = g 100 1500 2
                 lxc.init.uid = 1000
                 lxc.init.gid = 101
                 lxc.mount.auto = proc:mixed";
    let guest = guest("idmap_holes", lines);
    chown(&guest.rootfs(), 201_000);
    let running = guest.start("report , say up , forever");
    guest.wait_said("up");
    let init = guest.init();
    assert_eq!(
        (status(init, "Uid:"), status(init, "Gid:")),
        ("201000 ".repeat(4).trim().into(), "1501 ".repeat(4).trim().into())
    );
    let report = guest.report();
    assert_eq!((report.one("uid"), report.one("gid")), ("1000", "101"));
    // Group 5, tty, is not mapped.
    assert!(!report.mount("/dev/pts").unwrap().super_options.contains("gid="));
    stop(&guest, running);
}

#[test]
fn maps_that_cannot_be_are_refused_by_line() {
    let check = |lines: &str, what: &str| {
        let guest = Guest::new("idmap_bad").config(lines);
        let file = guest.dir().join("config");
        refused(&guest, &what.replace("{file}", &file.to_string_lossy()));
    };
    let both = "lxc.idmap = g 0 100000 10\n";
    check(
        &format!("{both}lxc.idmap = u 0 100000 10\nlxc.idmap = u 5 200000 1"),
        "idmap: {file}:7: lxc.idmap = u 5 200000 1 overlaps u 0 100000 10 of {file}:6",
    );
    check(
        &format!("{both}lxc.idmap = u 0 100000 10\nlxc.idmap = u 50 100009 1"),
        "lxc.idmap = u 50 100009 1 overlaps u 0 100000 10",
    );
    check(
        "lxc.idmap = u 0 100000 10",
        "idmap: {file}:5: lxc.idmap maps no group 0: root of the container is not mapped",
    );
    check(&format!("{both}lxc.idmap = u 1 100000 10"), "maps no user 0: root of the container is not mapped");
    check("lxc.rootfs.options = idmap=container", "idmap=container: the container has no lxc.idmap");
    check("lxc.mount.entry = /tmp mnt none bind,idmap=container", "idmap=container: the container has no lxc.idmap");
    check("lxc.mount.entry = none mnt tmpfs idmap=/proc/self/ns/user", "idmap= is for mounts with bind or rbind");
}

#[test]
fn rootfs_that_mapped_root_cannot_reach_is_named() {
    if cannot("rootfs_that_mapped_root_cannot_reach_is_named") {
        return;
    }
    let guest = shifted("idmap_path", "");
    let closed = guest.dir();
    let mode = |mode| fs::set_permissions(&closed, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    mode(0o700);
    refused(&guest, &format!("{} cannot be entered by user 100000, the container's root", closed.display()));
    mode(0o711);
    assert_eq!(guest.run("exit 3").code, Some(3));
}

#[test]
fn rootfs_of_somebody_who_is_not_mapped_is_warned_of() {
    if cannot("rootfs_of_somebody_who_is_not_mapped_is_warned_of") {
        return;
    }
    let guest = guest("idmap_owner", MAPS);
    let ended = guest.run("exit 3");
    let log = guest.file("log");
    assert!(log.contains("belongs to user 0, whom the container does not have: chown it to 100000"), "{ended}");
    guest.assert_nothing_left();
}

#[test]
fn mapped_root_restarts_in_the_same_process() {
    if cannot("mapped_root_restarts_in_the_same_process") {
        return;
    }
    let guest = shifted("idmap_restart", "monopod.restart.delay = 0ms\nlxc.mount.auto = proc:mixed");
    let ended = guest.run("say life , restart-times 3 , exit 4");
    assert_eq!(ended.code, Some(4), "{ended}");
    assert_eq!(guest.results(), "life\n".repeat(4));
    guest.assert_nothing_left();
}

/// The container's directories, one a hierarchy.
fn groups(guest: &Guest) -> Vec<PathBuf> {
    let all = fs::read_dir("/sys/fs/cgroup").unwrap().flatten().map(|entry| entry.path());
    all.map(|hierarchy| hierarchy.join("lxc").join(guest.name())).filter(|group| group.is_dir()).collect()
}

#[test]
fn cgroups_are_given_to_mapped_root_who_makes_groups_below() {
    if cannot("cgroups_are_given_to_mapped_root_who_makes_groups_below") {
        return;
    }
    let guest = shifted("idmap_cgroup", "lxc.mount.auto = proc:mixed sys:rw cgroup:rw:force");
    if !guest.busybox("cgroups_are_given_to_mapped_root_who_makes_groups_below") {
        return;
    }
    let script = "for d in /sys/fs/cgroup/*/; do mkdir $d/mine && echo 0 > $d/mine/cgroup.procs || echo bad $d; done; \
                  echo made > /results; exec /init forever";
    fs::write(guest.rootfs().join("script"), script).unwrap();
    let guest = guest.config("lxc.init.cmd = /bin/sh /script");
    let running = guest.start("");
    wait_until("the groups", || guest.results().contains("made"));
    assert_eq!(guest.results(), "made\n", "{}", guest.logs());
    let groups = groups(&guest);
    assert!(!groups.is_empty());
    for group in &groups {
        assert!(group.join("mine").is_dir(), "{}", group.display());
        let owner = |path: &Path| fs::metadata(path).map(|data| (data.uid(), data.gid()));
        assert_eq!(owner(group).unwrap(), (0, 100_000), "{}", group.display());
        assert_eq!(owner(&group.join("cgroup.procs")).unwrap(), (0, 100_000));
        for limit in ["memory.max", "pids.max", "cpu.max", "memory.limit_in_bytes", "devices.deny"] {
            assert!(owner(&group.join(limit)).map_or(0, |owner| owner.1) == 0, "{limit} stays the host's");
        }
    }
    stop(&guest, running);
}

#[test]
fn attached_command_is_mapped_root_too() {
    if cannot("attached_command_is_mapped_root_too") {
        return;
    }
    let guest = shifted("idmap_attach", "lxc.mount.auto = proc:mixed\nlxc.cap.drop = sys_time");
    let running = guest.start("report , say up , forever");
    guest.wait_said("up");
    let init = guest.report();
    fs::remove_file(guest.rootfs().join("report")).unwrap();
    let ended = guest.client("attach", &["--", "/init", "report"]);
    assert_eq!(ended.code, Some(0), "{ended}");
    let report = guest.report();
    for key in ["uid", "gid", "groups", "ns", "cgroup", "limit"] {
        assert_eq!(report.all(key), init.all(key), "{key}");
    }
    assert_eq!(report.capabilities("CapEff:"), init.capabilities("CapEff:"));
    fs::remove_file(guest.rootfs().join("report")).unwrap();
    fs::set_permissions(guest.rootfs(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let ended = guest.client("attach", &["--uid", "1000", "--gid", "1001", "--", "/init", "report"]);
    assert_eq!(ended.code, Some(0), "{ended}");
    assert_eq!((guest.report().one("uid"), guest.report().one("gid")), ("1000", "1001"));
    assert_eq!(fs::metadata(guest.rootfs().join("report")).unwrap().uid(), 101_000);
    stop(&guest, running);
}

#[test]
fn rootfs_with_mapped_ids_needs_no_other_owner() {
    if cannot("rootfs_with_mapped_ids_needs_no_other_owner") {
        return;
    }
    let guest =
        guest("idmap_rootfs", &format!("{MAPS}\nlxc.rootfs.options = idmap=container\nlxc.mount.auto = proc:mixed"));
    fs::write(guest.rootfs().join("mine"), "").unwrap();
    // Nobody has to reach it but the host's root.
    fs::set_permissions(guest.dir(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let ended = guest.run("write /mine x , write /new x , report , restart-times 1 , exit 7");
    assert_eq!(ended.code, Some(7), "{ended}");
    let report = guest.report();
    assert_eq!(report.one("uid"), "0");
    let root = report.mounts().into_iter().rfind(|mount| mount.target == "/").unwrap();
    assert!(root.has("idmapped"), "{root:?}");
    for file in ["mine", "new", "report"] {
        assert_eq!(fs::metadata(guest.rootfs().join(file)).unwrap().uid(), 0, "{file}");
    }
    assert!(!guest.file("log").contains("belongs to user"));
    guest.assert_nothing_left();
}

#[test]
fn rootfs_with_mapped_ids_keeps_its_other_options() {
    if cannot("rootfs_with_mapped_ids_keeps_its_other_options") {
        return;
    }
    let lines =
        "lxc.rootfs.options = ro,nosuid,idmap=container\nlxc.mount.entry = {dir}/shared mnt none bind,idmap=container";
    let guest = guest("idmap_ro", &format!("{MAPS}\n{lines}"));
    fs::create_dir(guest.dir().join("shared")).unwrap();
    let ended = guest.run("write /mnt/made x , write /new x , exit 7");
    assert_eq!(ended.code, Some(7), "{ended}");
    assert!(!guest.rootfs().join("new").exists());
    assert_eq!(fs::metadata(guest.dir().join("shared/made")).unwrap().uid(), 0);
    guest.assert_nothing_left();
}

#[test]
fn entries_with_mapped_ids_are_mapped_and_others_are_not() {
    if cannot("entries_with_mapped_ids_are_mapped_and_others_are_not") {
        return;
    }
    let lines = "lxc.mount.entry = {dir}/missing mnt/missing none bind,optional,create=dir,idmap=container
                 lxc.mount.entry = {dir}/one mnt/one none bind,create=dir,idmap=container
                 lxc.mount.entry = {dir}/two mnt/two none rbind,ro,create=dir,idmap=container
                 lxc.mount.entry = {dir}/three mnt/three none bind,create=dir
                 lxc.mount.auto = proc:mixed";
    let guest = shifted("idmap_entries", lines);
    for directory in ["one", "two", "three"] {
        fs::create_dir(guest.dir().join(directory)).unwrap();
    }
    let ended = guest.run("write /mnt/one/a x , write /mnt/two/a x , write /mnt/three/a x , report , exit 7");
    assert_eq!(ended.code, Some(7), "{ended}");
    let results = guest.results();
    assert!(results.contains("write /mnt/one/a: ok"), "{results}");
    assert!(results.contains("write /mnt/two/a: Read-only file system"), "{results}");
    assert!(results.contains("write /mnt/three/a: Permission denied"), "{results}");
    assert_eq!(fs::metadata(guest.dir().join("one/a")).unwrap().uid(), 0);
    let report = guest.report();
    assert!(report.mount("/mnt/one").unwrap().has("idmapped") && report.mount("/mnt/two").unwrap().has("ro"));
    assert!(report.mount("/mnt/missing").is_none());
    let log = guest.file("log");
    assert!(
        log.contains("optional: mount: ") && log.contains("missing for the container's ids: No such file"),
        "{log}"
    );
    guest.assert_nothing_left();
}

#[test]
fn entry_mapped_by_another_user_namespace_needs_no_maps() {
    if cannot("entry_mapped_by_another_user_namespace_needs_no_maps") {
        return;
    }
    let guest = Guest::new("idmap_foreign");
    let mut holder = Command::new("unshare").args(["-U", "sleep", "60"]).spawn().unwrap();
    let file = |name: &str| format!("/proc/{}/{name}", holder.id());
    wait_until("the namespace", || {
        fs::read_link(file("ns/user")).unwrap() != fs::read_link("/proc/self/ns/user").unwrap()
    });
    fs::write(file("uid_map"), "0 500 10").unwrap();
    fs::write(file("gid_map"), "0 500 10").unwrap();
    let entry = format!("lxc.mount.entry = {{dir}}/shared mnt none bind,idmap={}", file("ns/user"));
    let guest = guest.config(&entry);
    fs::create_dir(guest.dir().join("shared")).unwrap();
    chown(&guest.dir().join("shared"), 3);
    let ended = guest.run("exit 7");
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert_eq!(ended.code, Some(7), "{ended}");
    guest.assert_nothing_left();
}

#[test]
fn mount_whose_ids_cannot_be_mapped_is_refused_by_line() {
    if cannot("mount_whose_ids_cannot_be_mapped_is_refused_by_line") {
        return;
    }
    let guest = shifted("idmap_proc", "lxc.mount.entry = /proc mnt none bind,idmap=container");
    refused(&guest, "mount /proc for the container's ids: the filesystem does not let its ids be mapped");
}

#[test]
fn image_and_layers_are_mounted_by_the_host() {
    if cannot("image_and_layers_are_mounted_by_the_host") {
        return;
    }
    let base = shifted("idmap_image", "lxc.mount.auto = proc:mixed");
    let image = base.dir().join("image");
    let words = ["-q", "-E", "root_owner=100000:100000", "-d"];
    let made = Command::new("mkfs.ext4").args(words).args([&base.rootfs(), &image]).arg("16M").output();
    if !made.is_ok_and(|output| output.status.success()) || !Path::new("/dev/loop-control").exists() {
        return skip(
            "image_and_layers_are_mounted_by_the_host",
            "no mkfs.ext4 (package e2fsprogs) or no loop devices",
            true,
        );
    }
    let base = base.config("lxc.rootfs.path = loop:{dir}/image");
    let ended = base.run("write /file x , restart-times 2 , exit 7");
    assert_eq!(ended.code, Some(7), "{ended}");
    base.assert_nothing_left();
    let layers = shifted("idmap_layers", "lxc.mount.auto = proc:mixed\nlxc.rootfs.path = overlay:{rootfs}:{dir}/upper");
    fs::create_dir(layers.dir().join("upper")).unwrap();
    chown(&layers.dir().join("upper"), 100_000);
    let ended = layers.run("write /file x , restart-times 1 , exit 7");
    assert_eq!(ended.code, Some(7), "{ended}");
    assert_eq!(fs::metadata(layers.dir().join("upper/file")).unwrap().uid(), 100_000);
    layers.assert_nothing_left();
    let broken = shifted("idmap_no_image", "lxc.rootfs.path = loop:{dir}/image");
    fs::write(broken.dir().join("image"), vec![0; 65536]).unwrap();
    refused(&broken, "no filesystem that this kernel has");
}

#[test]
fn attached_terminal_belongs_to_mapped_root() {
    let test = "attached_terminal_belongs_to_mapped_root";
    if cannot(test) {
        return;
    }
    let guest = shifted("idmap_tty", "lxc.mount.auto = proc:mixed");
    if !guest.busybox(test) {
        return;
    }
    let running = guest.start("say up , forever");
    guest.wait_said("up");
    let (ours, theirs) = sandbox::pty(80, 24);
    let script = "t=$(tty) && echo named > $t && echo $t > /results";
    let mut command = guest.tool("attach", &["--", "/bin/sh", "-c", script]);
    command.stdin(theirs.try_clone().unwrap()).stdout(theirs.try_clone().unwrap()).stderr(theirs);
    let mut attached = Running::spawn(&guest, command);
    wait_until("the command", || !attached.is_running());
    assert!(guest.results().starts_with("/dev/pts/"), "{}\n{}", guest.results(), guest.logs());
    drop(ours);
    stop(&guest, running);
}

#[test]
fn stop_command_runs_as_mapped_root() {
    if cannot("stop_command_runs_as_mapped_root") {
        return;
    }
    let lines = "lxc.mount.auto = proc:mixed
                 monopod.stop.method = command
                 monopod.stop.command = /init report , signal-init 10";
    let guest = shifted("idmap_stop", lines);
    let running = guest.start("say up , signals 1");
    guest.wait_said("ready");
    assert_eq!(guest.client("stop", &[]).code, Some(0));
    running.wait();
    let report = guest.report();
    assert_eq!((report.one("uid"), report.one("gid"), report.one("groups")), ("0", "0", "[]"));
    assert_ne!(report.entry("ns", "user"), fs::read_link("/proc/self/ns/user").unwrap().to_string_lossy());
    assert_eq!(fs::metadata(guest.rootfs().join("report")).unwrap().uid(), 100_000);
    guest.assert_nothing_left();
}

#[test]
fn host_is_protected_from_mapped_root_as_from_any() {
    if cannot("host_is_protected_from_mapped_root_as_from_any") {
        return;
    }
    let lines =
        "lxc.mount.auto = proc:rw sys:rw\nmonopod.protect = 1\nmonopod.reboot.recovery = restart\nlxc.console.path =";
    let guest = shifted("idmap_guard", lines);
    let ended = guest
        .run("write /proc/sysrq-trigger h , remount-rw /proc/sysrq-trigger , write /proc/sysrq-trigger h , exit 7");
    assert_eq!(ended.code, Some(7), "{ended}");
    let results = guest.results();
    assert!(!results.contains("/proc/sysrq-trigger: ok"), "{results}");
    guest.assert_nothing_left();
}

#[test]
fn command_is_init_of_mapped_root() {
    if dynamic("command_is_init_of_mapped_root", NO_LOADER) {
        return;
    }
    if cannot("command_is_init_of_mapped_root") {
        return;
    }
    let guest = shifted("idmap_execute", "lxc.mount.auto = proc:mixed");
    guest.install("");
    guest.state_before();
    let ended = guest.client("execute", &["--", "/init", "report", ",", "exit", "9"]);
    assert_eq!(ended.code, Some(9), "{ended}");
    assert_eq!(guest.report().one("uid"), "0");
    assert_eq!(fs::metadata(guest.rootfs().join("report")).unwrap().uid(), 100_000);
    guest.assert_nothing_left();
}

#[test]
fn kernel_without_user_namespaces_says_what_to_do() {
    let test = "kernel_without_user_namespaces_says_what_to_do";
    if !strace::available(test) {
        return;
    }
    let guest = shifted("idmap_none", "");
    for (error, what) in [
        ("ENOSPC", "as many user namespaces as there may be (/proc/sys/user/max_user_namespaces)"),
        ("EINVAL", "this kernel has no user namespaces (CONFIG_USER_NS)"),
        ("EPERM", "something forbids user namespaces"),
    ] {
        let injections = ["clone3", "clone"].map(|call| format!("{call}:error={error}"));
        let ended = strace::run(&guest, "exit 0", &injections);
        assert_eq!(ended.code, Some(255), "{ended}");
        assert!(ended.stderr.contains("clone: ") && ended.stderr.contains(what), "{ended}");
        guest.assert_nothing_left();
    }
}

/// A user of no account on this machine, with lines of its own in /etc/subuid, which only the sandbox has.
fn user(guest: &Guest, granted: &str) {
    guest.sandbox.sh(&format!(
        "chmod 1777 /run
         mkdir /run/etc
         cp /etc/passwd /etc/group /run/etc
         echo 'ada:x:54321:54321::/:/bin/sh' >> /run/etc/passwd
         echo 'ada:x:54321:' >> /run/etc/group
         printf '{granted}' | tee /run/etc/subuid > /run/etc/subgid
         for file in passwd group subuid subgid; do
             [ -e /etc/$file ] || exit 1
             mount --bind /run/etc/$file /etc/$file
         done"
    ));
}

/// The start by that user.
fn start_as_user<'g>(guest: &'g Guest, steps: &str) -> Running<'g> {
    let start = guest.start_command(steps);
    chown(&guest.dir(), 54_321);
    chown(&guest.rootfs(), 100_000);
    as_user(guest, &start)
}

/// A command by that user.
fn as_user<'g>(guest: &'g Guest, wanted: &Command) -> Running<'g> {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "54321", "--regid", "54321", "--clear-groups"]).env("XDG_RUNTIME_DIR", "/run");
    command.arg(wanted.get_program()).args(wanted.get_args()).stdin(std::process::Stdio::null());
    guest.enter(&mut command);
    Running::new(guest, command)
}

fn has_tools(test: &str) -> bool {
    let found = Path::new("/usr/bin/newuidmap").exists() && Path::new("/etc/subuid").exists();
    if !found {
        skip(test, "no newuidmap (package uidmap)", true);
    }
    found && !cannot(test)
}

#[test]
fn user_without_root_maps_what_subuid_grants() {
    if !has_tools("user_without_root_maps_what_subuid_grants") {
        return;
    }
    let guest = guest("idmap_user", &format!("{MAPS}\nlxc.mount.auto = proc:mixed"));
    user(&guest, "ada:100000:65536\\n");
    let ended = start_as_user(&guest, "report , exit 7").wait();
    assert_eq!(ended.code, Some(7), "{ended}");
    let report = guest.report();
    assert_eq!((report.one("uid"), report.one("gid"), report.one("groups")), ("0", "0", "[]"));
    assert_eq!(fs::metadata(guest.rootfs().join("report")).unwrap().uid(), 100_000);
    assert!(guest.sandbox.processes().is_empty());
}

#[test]
fn user_without_root_attaches_and_stops_what_it_started() {
    if !has_tools("user_without_root_attaches_and_stops_what_it_started") {
        return;
    }
    let guest = guest(
        "idmap_user_attach",
        &format!(
            "{MAPS}\nlxc.mount.auto = proc:mixed\nmonopod.stop.method = command\nmonopod.stop.command = /init say stopping , signal-init 10"
        ),
    );
    user(&guest, "ada:100000:65536\\n");
    let running = start_as_user(&guest, "say up , signals 1");
    guest.wait_said("ready");
    let attached = as_user(&guest, &guest.tool("attach", &["--", "/init", "report"])).wait();
    assert_eq!(attached.code, Some(0), "{attached}");
    assert_eq!(guest.report().one("uid"), "0");
    assert_eq!(fs::metadata(guest.rootfs().join("report")).unwrap().uid(), 100_000);
    let stopped = as_user(&guest, &guest.tool("stop", &[])).wait();
    assert_eq!(stopped.code, Some(0), "{stopped}");
    let ended = running.wait();
    assert_eq!(ended.code, Some(0), "{ended}");
    assert!(guest.results().contains("stopping"), "{ended}{}", guest.results());
}

#[test]
fn user_without_root_is_told_which_line_is_missing() {
    if !has_tools("user_without_root_is_told_which_line_is_missing") {
        return;
    }
    let guest =
        guest("idmap_ungranted", "lxc.idmap = u 0 100000 10\nlxc.idmap = u 10 300000 7\nlxc.idmap = g 0 100000 10");
    user(&guest, "ada:100000:65536\\n");
    let ended = start_as_user(&guest, "exit 0").wait();
    assert_eq!(ended.code, Some(255), "{ended}");
    assert!(ended.stderr.contains("/usr/bin/newuidmap "), "{ended}");
    let line = format!("/etc/subuid needs the line ada:300000:7 for {}/config:6", guest.dir().display());
    assert!(ended.stderr.contains(&line), "{ended}");
    assert!(guest.sandbox.processes().is_empty());
}

#[test]
fn user_without_root_and_tools_may_map_itself_alone() {
    let test = "user_without_root_and_tools_may_map_itself_alone";
    if !has_tools(test) {
        return;
    }
    let lines = "lxc.idmap = u 0 54321 1\nlxc.idmap = g 0 54321 1\nlxc.mount.auto = proc:mixed";
    let alone = guest("idmap_alone", lines).env("PATH", "/nowhere");
    user(&alone, "");
    let many = guest("idmap_no_tool", MAPS).env("PATH", "/nowhere");
    user(&many, "");
    for (guest, code) in [(&alone, 7), (&many, 255)] {
        let start = guest.start_command("report , exit 7");
        chown(&guest.dir(), 54_321);
        let mut command = Command::new("/usr/bin/setpriv");
        command.args(["--reuid", "54321", "--regid", "54321", "--clear-groups"]);
        command.env("PATH", "/nowhere").env("XDG_RUNTIME_DIR", "/run");
        command.arg(start.get_program()).args(start.get_args()).stdin(std::process::Stdio::null());
        guest.enter(&mut command);
        let ended = Running::new(guest, command).wait();
        assert_eq!(ended.code, Some(code), "{ended}");
        if code == 255 {
            assert!(ended.stderr.contains("we are not root, and there is no newuidmap (package uidmap)"), "{ended}");
        }
    }
    assert_eq!((alone.report().one("uid"), alone.report().one("gid")), ("0", "0"));
}

#[test]
fn refused_call_is_a_refused_start_with_nothing_left() {
    let test = "refused_call_is_a_refused_start_with_nothing_left";
    if !strace::available(test) {
        return;
    }
    let lines = "lxc.rootfs.options = idmap=container
                 lxc.mount.entry = {dir}/one mnt none bind,idmap=container
                 lxc.mount.auto = proc:mixed cgroup:rw:force";
    let guest = guest("idmap_faults", &format!("{MAPS}\n{lines}"));
    fs::create_dir(guest.dir().join("one")).unwrap();
    let faults = [
        ("setgroups:error=EINVAL:when=1", "idmap: become root of the user namespace"),
        ("setgid:error=EINVAL:when=1", "idmap: become root of the user namespace"),
        ("setuid:error=EINVAL:when=1", "idmap: become root of the user namespace"),
        ("fchownat:error=EIO:when=1", "give the group to 100000:100000, the container's root"),
        ("fchownat:error=EIO:when=5", "give the group to 100000:100000, the container's root"),
        ("open_tree:error=ENOSYS:when=1", "this kernel cannot (Linux 5.2"),
        ("open_tree:error=ENOMEM:when=2", "one for the container's ids"),
        ("mount_setattr:error=ENOSYS:when=1", "this kernel cannot (Linux 5.2"),
        ("mount_setattr:error=EPERM:when=2", "one for the container's ids: only the host's root may"),
        ("move_mount:error=EINVAL:when=1", "for the container's ids"),
        ("move_mount:error=EINVAL:when=2", "for the container's ids"),
        ("unshare:error=ENOMEM:when=1", ""),
    ];
    for (injection, what) in faults {
        let ended = strace::run(&guest, "exit 0", &[injection.to_owned()]);
        assert_eq!(ended.code, Some(255), "{injection}{ended}");
        assert_eq!(ended.stderr.lines().count(), 1, "{injection}{ended}");
        assert!(ended.stderr.contains(what), "{injection}: {what}{ended}");
        guest.assert_nothing_left();
    }
    // Which of the supervisor's writes are those of the maps.
    let trace = Trace::of(&guest, "exit 7");
    let writes = trace.supervisor.iter().filter(|call| strace::is(call, "write"));
    let maps: Vec<_> =
        (1..).zip(writes).filter(|(_, call)| call.contains("\"0 100000 65536")).map(|(n, _)| n).collect();
    assert_eq!(maps.len(), 2, "{:?}", trace.supervisor);
    for (place, name) in maps.into_iter().zip(["uid_map", "gid_map"]) {
        let ended = strace::run(&guest, "exit 0", &[format!("write:error=EPERM:when={place}")]);
        assert_eq!(ended.code, Some(255), "{ended}");
        assert!(
            ended.stderr.contains(&format!("write the {name} of the container: not all ids outside are mapped")),
            "{ended}"
        );
        guest.assert_nothing_left();
    }
}

/// LXC's own configs, whole.
#[test]
fn configs_of_lxc_for_user_namespaces_start() {
    let test = "configs_of_lxc_for_user_namespaces_start";
    let directory = Path::new("/usr/share/lxc/config");
    if cannot(test) {
        return;
    }
    if !directory.join("userns.conf").exists() {
        return skip(test, "no /usr/share/lxc/config/userns.conf (package lxc)", false);
    }
    let lines = "lxc.include = /usr/share/lxc/config/common.conf
                 lxc.include = /usr/share/lxc/config/userns.conf
                 lxc.console.path =";
    let guest = shifted("idmap_lxc", lines);
    let ended = guest.run("report , write /dev/tty4 x , exit 7");
    assert_eq!(ended.code, Some(7), "{ended}");
    assert!(guest.results().contains("write /dev/tty4: ok"), "{}", guest.results());
    let report = guest.report();
    assert!(report.mount("/sys").is_some() && report.mount("/proc").is_some());
    assert_eq!(report.capabilities("CapBnd:").count_ones(), 41);
    guest.assert_nothing_left();
}

#[test]
fn mount_auto_shmounts_shows_what_the_host_mounts_later() {
    let test = "mount_auto_shmounts_shows_what_the_host_mounts_later";
    let plain = Guest::new("shmounts").config("lxc.mount.auto = proc:mixed shmounts:/run/shared");
    let lines = "lxc.mount.auto = proc:mixed shmounts:/run/shared:/mnt/given";
    let mapped = (!cannot(test)).then(|| shifted("idmap_shmounts", lines));
    for (guest, place) in [(Some(plain), "/dev/.lxc-mounts"), (mapped, "/mnt/given")] {
        let Some(guest) = guest else { continue };
        refused(&guest, "lxc.mount.auto: shmounts:/run/shared");
        guest
            .sandbox
            .sh("mkdir /run/shared; mount -t tmpfs -o mode=755 shared /run/shared; mount --make-shared /run/shared");
        let steps = format!("report , say up , await-file {place}/new/file , read {place}/new/file , signals 1");
        let mut running = Running::new(&guest, guest.start_command(&steps));
        guest.wait_said("up");
        guest.sandbox.sh(
            "mkdir /run/shared/new; mount -t tmpfs -o mode=755 new /run/shared/new; echo seen > /run/shared/new/part; mv /run/shared/new/part /run/shared/new/file",
        );
        guest.wait_said(&format!("read {place}/new/file: seen"));
        let mount = guest.report().mount(place).unwrap();
        assert!(mount.propagation.contains("master:") && !mount.propagation.contains("shared:"), "{mount:?}");
        assert!(running.is_running());
        assert_eq!(guest.client("stop", &["-k"]).code, Some(0));
        running.wait();
    }
}

#[test]
fn old_kernel_maps_ids_and_refuses_what_it_cannot_mount() {
    if cannot("old_kernel_maps_ids_and_refuses_what_it_cannot_mount") {
        return;
    }
    let mut guest = shifted("idmap_old", "lxc.mount.auto = proc:mixed sys:ro\nlxc.uts.name = inside\nlxc.tty.max = 1");
    let report = |guest: &Guest| {
        let ended = guest.run("report , exit 7");
        assert_eq!(ended.code, Some(7), "{ended}");
        guest.assert_nothing_left();
        guest.report().digest()
    };
    // A kernel like this one, but seen through a filter as well.
    guest.set_kernel(Kernel::new());
    let expected = report(&guest);
    for errno in [libc::ENOSYS, libc::EPERM] {
        guest.set_kernel(Kernel::new().without_calls_after_3_10(errno));
        assert_eq!(report(&guest), expected);
    }
    for line in ["lxc.rootfs.options = idmap=container", "lxc.mount.entry = /tmp mnt none bind,idmap=container"] {
        let mut guest = shifted("idmap_too_old", line);
        guest.set_kernel(Kernel::new().without_calls_after_3_10(libc::ENOSYS));
        refused(
            &guest,
            "for the container's ids: this kernel cannot (Linux 5.2 for a rootfs that is no directory, 5.12",
        );
    }
}

#[test]
fn stock_tools_enter_mapped_containers() {
    if cannot("stock_tools_enter_mapped_containers") {
        return;
    }
    let guest = shifted("idmap_stock", "lxc.mount.auto = proc:mixed");
    let Some(attach) = guest.stock_tool("attach", &["--", "/init", "report"]) else {
        return skip("stock_tools_enter_mapped_containers", "no lxc-attach (package lxc)", false);
    };
    let running = guest.start("say up , forever");
    guest.wait_said("up");
    let ended = Running::new(&guest, attach).wait();
    assert_eq!(ended.code, Some(0), "{ended}");
    let report = guest.report();
    assert_eq!((report.one("uid"), report.one("gid")), ("0", "0"));
    assert_eq!(fs::metadata(guest.rootfs().join("report")).unwrap().uid(), 100_000);
    stop(&guest, running);
}

#[test]
fn user_without_root_gives_its_groups_and_takes_them_back() {
    let test = "user_without_root_gives_its_groups_and_takes_them_back";
    if !has_tools(test) {
        return;
    }
    let guest = guest("idmap_user_groups", &format!("{MAPS}\nlxc.mount.auto = proc:mixed sys:rw cgroup:rw:force"));
    let guest = guest.with_cgroup_view();
    if !guest.busybox(test) {
        return;
    }
    let script = "cd /sys/fs/cgroup; mkdir mine mine/deep && echo 0 > mine/deep/cgroup.procs || exec /init exit 3; \
                  exec /init say made , restart-times 1 , forever";
    fs::write(guest.rootfs().join("script"), script).unwrap();
    user(&guest, "ada:100000:65536\\n");
    guest.sandbox.sh("mkdir /run/v2
         mount --bind /sys/fs/cgroup/unified /run/v2
         umount -R /sys/fs/cgroup
         mount --move /run/v2 /sys/fs/cgroup
         mkdir -p /sys/fs/cgroup/user/session
         chown -R 54321:54321 /sys/fs/cgroup/user");
    let guest = guest.config("lxc.init.cmd = /bin/sh /script");
    let start = guest.start_command("");
    chown(&guest.dir(), 54_321);
    chown(&guest.rootfs(), 100_000);
    let script = "echo 0 > /sys/fs/cgroup/user/session/cgroup.procs
                  exec setpriv --reuid 54321 --regid 54321 --clear-groups \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).arg(start.get_program()).args(start.get_args()).env("XDG_RUNTIME_DIR", "/run");
    command.stdin(std::process::Stdio::null());
    guest.enter(&mut command);
    let running = Running::new(&guest, command);
    wait_until("both lives", || guest.results() == "made\nmade\n" || guest.file("log").contains("init exited"));
    assert_eq!(guest.results(), "made\nmade\n", "{}", guest.logs());
    let place = format!("/sys/fs/cgroup/user/session/lxc/{}", guest.name());
    let owners = guest.sandbox.sh(&format!("cd {place}; stat -c %u . cgroup.procs cgroup.kill mine/deep"));
    assert_eq!(owners.split_whitespace().collect::<Vec<_>>(), ["54321", "54321", "54321", "100000"]);
    running.signal(libc::SIGTERM);
    sandbox::kill(guest.init(), libc::SIGKILL);
    let ended = running.wait();
    assert!(!guest.file("log").contains(" stays: "), "{ended}");
    assert_eq!(guest.sandbox.sh("find /sys/fs/cgroup/user -mindepth 2 -type d"), "", "{ended}");
}
