//! What an Android image needs at the start: its init, its nodes, its androidboot words, a clean place.

use crate::support::{Guest, Report, Running};
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

/// A guest whose image says this SDK, if any.
fn image(label: &str, sdk: &str, lines: &str) -> Guest {
    let guest = Guest::new(label).config("monopod.android.init = 1").config(lines);
    if !sdk.is_empty() {
        let system = guest.rootfs().join("system");
        fs::create_dir_all(&system).unwrap();
        fs::write(system.join("build.prop"), format!("# begin\nro.build.version.sdk={sdk}\n")).unwrap();
    }
    guest
}

fn words(report: &Report) -> (String, Vec<&str>) {
    (report.all("arg").join(" "), report.all("env").into_iter().filter(|word| !word.starts_with("PATH=")).collect())
}

#[test]
fn init_not_configured_its_stage_is_the_images() {
    for (sdk, argv, environment) in [
        ("22", "/init", &[][..]),
        (
            "28",
            "/init",
            &["INIT_STARTED_AT=0", "INIT_SELINUX_TOOK=0", "FIRST_STAGE_STARTED_AT=0", "INIT_SECOND_STAGE=true"],
        ),
        ("30", "/init second_stage", &["INIT_STARTED_AT=0", "INIT_SELINUX_TOOK=0", "FIRST_STAGE_STARTED_AT=0"]),
        ("", "/init", &[]),
    ] {
        let guest = image("stage", sdk, "lxc.environment = MINE=1");
        let ended = guest.run("");
        assert_eq!(ended.code, Some(0), "{sdk}{ended}");
        let report = guest.report();
        assert_eq!(words(&report), (argv.into(), [&["MINE=1"], environment].concat()), "{sdk}");
        let log = guest.file("log");
        match sdk {
            "" => assert!(log.contains("no ro.build.version.sdk"), "{ended}"),
            _ => assert!(log.contains(&format!("the image has SDK {sdk}, init is {argv}\n")), "{ended}"),
        }
    }
}

#[test]
fn init_configured_or_named_on_the_command_line_is_kept_and_a_first_stage_warned_of() {
    let guest = image("kept", "34", "lxc.autodev = 1\nlxc.cap.drop = mknod");
    let ended = guest.run("report , exit 3");
    assert_eq!(ended.code, Some(3), "{ended}");
    assert!(guest.report().all("env").contains(&"container=lxc"));
    assert!(!guest.file("log").contains("first stage"), "{ended}");

    let guest = image("warned", "34", "lxc.autodev = 1\nlxc.cap.drop = mknod\nlxc.init.cmd = /init");
    let ended = guest.run("");
    let log = guest.file("log");
    for fault in ["lxc.autodev = 0", "it needs CAP mknod"] {
        assert!(log.lines().any(|line| line.contains("first stage") && line.contains(fault)), "{fault}{ended}");
    }
}

#[test]
fn device_entries_are_made_with_the_hosts_numbers() {
    let guest = Guest::new("devices").config(
        "monopod.device.entry = /dev/kmsg mode=0620 gid=1000
        monopod.device.entry = /dev/zero as=/dev/deep/er/zero
        monopod.device.entry = /dev/tty* as=/dev/many mode=0600
        monopod.device.entry = /dev/none-such optional
        monopod.devices = android",
    );
    let ended = guest.run("report");
    assert_eq!(ended.code, Some(0), "{ended}");
    let report = guest.report();
    // The table's line for it is the later one and says the same.
    assert_eq!(report.entry("dev", "/dev/kmsg"), "c 1:11 620 0:1000");
    assert_eq!(report.entry("dev", "/dev/deep/er/zero"), "c 1:5 666 0:0");
    assert!(report.entry("dev", "/dev/many/tty1").starts_with("c 4:1 600 "));
    assert_eq!(report.find("dev", "/dev/many/tty"), None);
    assert_eq!(report.find("dev", "/dev/none-such"), None);
    for (host, inside, wanted) in [
        ("/dev/net/tun", "/dev/tun", "c 10:200 660 1000:1016"),
        ("/dev/loop0", "/dev/block/loop0", "b 7:0 600 0:"),
        ("/dev/hwrng", "/dev/hw_random", "c 10:183 440 0:1000"),
    ] {
        if fs::exists(host).unwrap() {
            assert!(report.entry("dev", inside).starts_with(wanted), "{inside}");
        }
    }
}

#[test]
fn device_entry_missing_is_refused_by_its_line_and_a_bad_one_when_it_is_read() {
    let guest = Guest::new("no_device");
    let line = guest.next_line();
    let guest = guest.config("monopod.device.entry = /dev/none-such");
    let ended = guest.run("report");
    assert_eq!(ended.code, Some(255), "{ended}");
    assert!(ended.stderr.contains(&format!("config:{line}: /dev/none-such: No such file")), "{ended}");

    let guest = Guest::new("bad_device");
    let line = guest.next_line();
    let ended = guest.config("monopod.device.entry = /dev/null mode=9").run("report");
    assert_eq!(ended.code, Some(255), "{ended}");
    assert!(ended.stderr.contains(&format!("config:{line}: ")), "{ended}");
}

#[test]
fn device_node_of_another_kind_in_the_way_is_replaced() {
    let guest = Guest::new("stale_node").config("lxc.autodev = 0\nmonopod.device.entry = /dev/full");
    fs::write(guest.rootfs().join("dev/full"), "").unwrap();
    let ended = guest.run("report");
    assert_eq!(ended.code, Some(0), "{ended}");
    assert!(guest.report().entry("dev", "/dev/full").starts_with("c 1:7 "));
}

#[test]
fn binder_its_own_nodes_or_those_of_the_kernel_or_a_reason() {
    let has_binderfs = fs::read_to_string("/proc/filesystems").unwrap().contains("\tbinder\n");
    let guest = Guest::new("binder").config("monopod.binder = own\nmonopod.binder.nodes = binder mp-binder");
    if has_binderfs {
        let ended = guest.run("report");
        assert_eq!(ended.code, Some(0), "{ended}");
        let report = guest.report();
        for name in ["binder", "mp-binder"] {
            assert_eq!(report.entry("dev", &format!("/dev/{name}")), format!("l binderfs/{name}"));
            assert!(report.entry("dev", &format!("/dev/binderfs/{name}")).contains(" 666 "));
        }
        return;
    }
    let ended = guest.run("report");
    assert_eq!(ended.code, Some(255), "{ended}");
    assert!(ended.stderr.contains("CONFIG_ANDROID_BINDERFS"), "{ended}");

    for whose in ["own", "host"] {
        let guest = Guest::new("binder_module").config(&format!("monopod.binder = {whose}"));
        guest.sandbox.sh("
            mount -t tmpfs misc /sys/class/misc
            mkdir /sys/class/misc/binder
            echo 10:57 > /sys/class/misc/binder/dev
        ");
        let ended = guest.run("report");
        assert_eq!(ended.code, Some(0), "{whose}{ended}");
        assert_eq!(guest.report().entry("dev", "/dev/binder"), "c 10:57 666 0:0");
    }
}

#[test]
fn boot_arguments_are_what_the_guest_reads_in_each_life() {
    let boot = "
        monopod.android.boot.hardware = box
        monopod.android.boot.slot_suffix = _b
        monopod.restart.delay = 0ms";
    let guest = Guest::new("boot").config("lxc.mount.auto = proc:rw").config(boot);
    guest.sandbox.sh("
        echo 'quiet androidboot.hardware=host androidboot.serialno=1' > /run/host-cmdline
        mount --bind /run/host-cmdline /proc/cmdline
    ");
    let ended = guest.run("read /proc/cmdline , write /proc/cmdline x , restart-times 1");
    assert_eq!(ended.code, Some(0), "{ended}");
    let life = "read /proc/cmdline: quiet androidboot.hardware=box androidboot.slot_suffix=_b\n\
                write /proc/cmdline: Read-only file system\n";
    assert_eq!(guest.results(), life.repeat(2), "{ended}");
    guest.assert_nothing_left();

    // Without a /proc there is nothing to be read.
    let guest = Guest::new("no_proc").config(boot);
    let ended = guest.run("exit 3");
    assert_eq!(ended.code, Some(3), "{ended}");
    assert!(guest.file("log").contains("is /proc mounted?"), "{ended}");
    guest.assert_nothing_left();
}

#[test]
fn boot_arguments_too_long_are_refused_by_the_line() {
    let guest = Guest::new("long_boot").config(&format!("monopod.android.boot.a = {}", "x".repeat(3000)));
    let line = guest.next_line();
    let ended = guest.config(&format!("monopod.android.boot.b = {}", "x".repeat(3000))).run("exit 3");
    assert_eq!(ended.code, Some(255), "{ended}");
    assert!(ended.stderr.contains(&format!("config:{line}: ")), "{ended}");
}

#[test]
fn leftovers_in_the_rootfs_go_before_each_life_and_nothing_else() {
    let guest = Guest::new("leftovers").config("lxc.autodev = 0\nmonopod.android.clean = 1");
    let rootfs = guest.rootfs();
    let precious = guest.dir().join("precious");
    let dirty = ["dev/__properties__/u:object_r:x", "dev/socket/property_service", "apex/com.x/etc/file"];
    for path in dirty.iter().map(|path| rootfs.join(path)).chain([precious.join("file"), rootfs.join("dev/mine")]) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "x").unwrap();
    }
    fs::create_dir(rootfs.join("apex/com.y")).unwrap();
    symlink(&precious, rootfs.join("dev/socket/link")).unwrap();
    symlink("/dev/binderfs/binder", rootfs.join("dev/binder")).unwrap();
    fs::write(rootfs.join("dev/.coldboot_done"), "").unwrap();
    guest.sandbox.sh(&format!(
        "mount --bind {0} {1}/apex/com.y; mount -t tmpfs x {1}/apex/com.y",
        precious.display(),
        rootfs.display()
    ));
    let ended = guest.run("exit 0");
    assert_eq!(ended.code, Some(0), "{ended}");
    for directory in ["dev/__properties__", "dev/socket", "apex"] {
        assert_eq!(fs::read_dir(rootfs.join(directory)).unwrap().count(), 0, "{directory}{ended}");
    }
    assert!(!rootfs.join("dev/.coldboot_done").exists());
    assert!(fs::symlink_metadata(rootfs.join("dev/binder")).is_err());
    assert!(precious.join("file").exists() && rootfs.join("dev/mine").exists());
    assert!(!guest.sandbox.sh("cat /proc/self/mountinfo").contains("com.y"));
    let log = guest.file("log");
    assert!(
        log.contains("unmounted 2 leftovers below") && log.contains("removed 7 leftovers from the rootfs"),
        "{ended}"
    );

    // What somebody mounted there is somebody's.
    guest.sandbox.sh(&format!("mount --bind {} {}/apex", precious.display(), rootfs.display()));
    assert_eq!(guest.run("exit 0").code, Some(0));
    assert!(precious.join("file").exists());
}

#[test]
fn leftovers_of_the_host_go_where_they_are_shared_and_no_android_lives_there() {
    let guest = Guest::new("host_leftovers").config(
        "lxc.autodev = 0
        monopod.android.clean = 1
        lxc.mount.entry = /dev/socket dev/socket none bind,create=dir 0 0",
    );
    let dirty = "touch /dev/socket/old /dev/__properties__/old; ln -sfn /dev/binderfs/binder /dev/binder";
    guest.sandbox.sh(&format!(
        "mkdir /run/dev
        mount -t tmpfs dev /run/dev
        for node in null zero full random urandom tty; do
            touch /run/dev/$node
            mount --bind /dev/$node /run/dev/$node
        done
        mkdir /run/dev/pts /run/dev/socket /run/dev/__properties__
        mount --bind /dev/pts /run/dev/pts
        mount --move /run/dev /dev
        rmdir /run/dev
        ln -s pts/ptmx /dev/ptmx
        {dirty}"
    ));
    let ended = guest.run("exit 0");
    assert_eq!(ended.code, Some(0), "{ended}");
    let left = guest.sandbox.sh("cd /dev; find socket __properties__ binder 2>/dev/null || true");
    assert_eq!(
        left.split_whitespace().collect::<Vec<_>>(),
        ["socket", "__properties__", "__properties__/old"],
        "{ended}"
    );

    let socket = guest.dir().join("socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    guest.sandbox.sh(&format!(
        "{dirty}; touch /dev/socket/property_service; mount --bind {} /dev/socket/property_service",
        socket.display()
    ));
    let ended = guest.run("exit 0");
    assert_eq!(ended.code, Some(0), "{ended}");
    assert!(guest.sandbox.sh("ls /dev/socket").contains("old"), "{ended}");
    assert!(guest.file("log").contains("an Android lives"), "{ended}");
}

#[test]
fn cgroups_left_outside_go_if_they_are_androids_and_new() {
    let guest = Guest::new("left_groups").with_cgroup_view().config(
        "monopod.android.clean = 1
        lxc.namespace.keep = cgroup
        lxc.mount.entry = /sys/fs/cgroup/pids mnt none bind 0 0",
    );
    if !guest.busybox("cgroups_left_outside_go_if_they_are_androids_and_new") {
        return;
    }
    guest.sandbox.sh("mkdir /sys/fs/cgroup/pids/system");
    let guest = guest.config(
        "lxc.init.cmd = /bin/sh -c \"mkdir -p /mnt/apps/uid_5/pid_6 /mnt/uid_7 /mnt/system/uid_8 /mnt/mine; echo 0 > /mnt/apps/tasks\"",
    );
    let ended = guest.run("");
    assert_eq!(ended.code, Some(0), "{ended}");
    let left = guest.sandbox.sh("cd /sys/fs/cgroup/pids; find . -type d | sort");
    assert_eq!(left.split_whitespace().collect::<Vec<_>>(), [".", "./mine", "./system", "./system/uid_8"], "{ended}");
}

#[test]
fn cgroups_of_v1_mounted_by_a_guest_without_a_namespace_show_its_group() {
    let guest = Guest::new("own_v1").config("lxc.namespace.keep = cgroup");
    if !guest.busybox("cgroups_of_v1_mounted_by_a_guest_without_a_namespace_show_its_group") {
        return;
    }
    let name = guest.name().to_owned();
    let guest = guest.config(&format!(
        "lxc.init.cmd = /bin/sh -c \"mount -t cgroup -o cpu none /mnt && cat /mnt/lxc/{name}/tasks > /results\"",
    ));
    let ended = guest.run("");
    assert_eq!(ended.code, Some(0), "{ended}");
    assert!(guest.results().lines().any(|pid| pid == "1"), "{}{ended}", guest.results());
    guest.assert_nothing_left();
}

#[test]
fn cgroup_v2_of_the_guest_is_its_own_to_divide() {
    let guest = Guest::new("own_v2");
    if !guest.busybox("cgroup_v2_of_the_guest_is_its_own_to_divide") {
        return;
    }
    let guest = guest.config(
        "lxc.init.cmd = /bin/sh -c \"mount -t cgroup2 none /mnt && mkdir -p /mnt/uid_1/pid_2 && echo 0 > /mnt/uid_1/pid_2/cgroup.procs && cat /mnt/uid_1/pid_2/cgroup.procs > /results && : > /mnt/uid_1/cgroup.subtree_control\"",
    );
    let ended = guest.run("");
    assert_eq!(ended.code, Some(0), "{ended}");
    assert!(guest.results().lines().any(|pid| pid == "1"), "{}{ended}", guest.results());
    guest.assert_nothing_left();
}

#[test]
fn rounds_with_leftovers_each_begins_as_the_first_and_without_a_heap() {
    let guest = Guest::new("rounds").config(
        "monopod.android.init = 1
        monopod.android.clean = 1
        monopod.android.boot.round = 1
        monopod.devices = android
        lxc.autodev = 0
        lxc.namespace.keep = cgroup
        lxc.mount.auto = proc:rw
        monopod.restart.delay = 0ms
        monopod.restart.budget = 20",
    );
    for directory in ["dev/socket", "apex"] {
        fs::create_dir_all(guest.rootfs().join(directory)).unwrap();
    }
    let command = guest.start_command("write /dev/socket/old x , write /apex/old x , restart");
    // 99 is the audit's own code: an allocation after the first clone.
    let ended = match std::env::var_os("MONOPOD_AUDIT_BIN") {
        Some(audit) => {
            let mut audited = std::process::Command::new(audit);
            audited.args(command.get_args()).stdin(std::process::Stdio::null());
            guest.sandbox.enter(&mut audited);
            Running::new(&guest, audited).wait()
        }
        None => Running::new(&guest, command).wait(),
    };
    assert_eq!(ended.code, Some(254), "{ended}");
    assert_eq!(guest.file("log").matches("removed 2 leftovers from the rootfs").count(), 20, "{ended}");
    assert_eq!(guest.results(), "write /dev/socket/old: ok\nwrite /apex/old: ok\n".repeat(21));
    guest.assert_nothing_left();
}

#[test]
fn boot_arguments_stay_when_the_guest_mounts_its_own_proc() {
    let test = "boot_arguments_stay_when_the_guest_mounts_its_own_proc";
    let guest = Guest::new("own_proc").config(
        "monopod.protect = 1
        monopod.android.boot.hardware = box
        lxc.mount.auto = proc:rw",
    );
    if !guest.busybox(test) || !crate::guard::available(test) {
        return;
    }
    let guest = guest.config(
        "lxc.init.cmd = /bin/sh -c \"mount -t proc proc /proc && mount -t proc proc /proc && cat /proc/cmdline > /results\"",
    );
    let ended = guest.run("");
    assert!(guest.results().contains("androidboot.hardware=box"), "{}{ended}", guest.results());
    guest.assert_nothing_left();
}
