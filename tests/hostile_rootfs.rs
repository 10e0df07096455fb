//! Root filesystems that mean harm: links where plain files are expected, and somebody who exchanges the two while a start looks.
//!
//! Whatever a start does with them, nothing on the host is written, made, removed, given another mode, or opened for writing, and
//! a container that does run has all that its config asks for.

use crate::support::races::{Canary, Swapper, rounds};
use crate::support::{Guest, Report, strace, wait_until};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

/// A config by which a start touches as much of a rootfs as any can.
const EVERYTHING: &str = "lxc.autodev = 0
    lxc.console.path =
    monopod.console = stdio
    lxc.tty.max = 1
    lxc.mount.auto = proc:mixed sys:mixed cgroup-full:mixed:force
    lxc.mount.entry = {dir}/source mnt/file none bind,ro,create=file 0 0
    lxc.mount.entry = {dir}/tree mnt/tree none rbind,ro,create=dir 0 0
    lxc.mount.entry = tmpfs mnt/deep/er tmpfs rw,create=dir 0 0
    lxc.mount.entry = tmp mnt/relative none bind,relative,create=dir 0 0
    monopod.device.entry = /dev/full mode=0666 uid=1 gid=1
    monopod.device.entry = /dev/zero as=/dev/folder/zero mode=0604
    monopod.android.boot.test = 1
    monopod.android.clean = 1";

fn guest(label: &str, config: &str) -> Guest {
    let guest = Guest::new(label).config(config);
    fs::write(guest.dir().join("source"), "source").unwrap();
    fs::create_dir_all(guest.dir().join("tree/sub")).unwrap();
    guest
}

/// Starts the guest again and again while `paths` of its rootfs are exchanged with links to the same names in the host's tree.
fn race(label: &str, paths: &[&str], usual: usize) {
    let guest = guest(label, EVERYTHING);
    let canary = Canary::new(&guest);
    let mut pairs = Vec::new();
    for path in paths {
        let place = guest.rootfs().join(path);
        let name = place.file_name().unwrap().to_owned();
        match *path {
            "dev/full" | "dev/folder/zero" => {
                // As a start leaves it, so that it is kept and given its mode and owner.
                fs::create_dir_all(place.parent().unwrap()).unwrap();
                let minor = if *path == "dev/full" { 7 } else { 5 };
                guest.sandbox.sh(&format!("mknod -m 600 {} c 1 {minor}", place.display()));
            }
            file if file.contains('.') => fs::write(place.with_extension(""), "").unwrap(),
            directory => fs::create_dir_all(guest.rootfs().join(directory)).unwrap(),
        }
        let place = place.with_extension("");
        let name = PathBuf::from(name).with_extension("");
        let bait =
            [canary.path().join(&name), canary.path().to_owned()].into_iter().find(|path| path.exists()).unwrap();
        let link = place.with_file_name(format!("swapped-{}", name.display()));
        symlink(bait, &link).unwrap();
        pairs.push((place, link));
    }
    let target = canary.path().to_owned();
    let swapper = Swapper::new(pairs, move |path| target.join(path.file_name().unwrap()));
    let (mut ran, mut refused) = (0, 0);
    for round in 0..rounds(usual) {
        let ended = guest.run("exit 0");
        match ended.code {
            Some(0) => ran += 1,
            // One line, whatever the step was.
            Some(255) if ended.stderr.lines().count() == 1 => refused += 1,
            _ => panic!("{paths:?} in round {round}{ended}"),
        }
        canary.assert_untouched(&format!("{paths:?} in round {round}{ended}"));
    }
    eprintln!("{paths:?}: {ran} ran, {refused} were refused, {} exchanges", swapper.count());
    drop(swapper);
    guest.assert_nothing_left();
}

#[test]
fn race_for_the_device_nodes_touches_nothing_of_the_host() {
    race("race_nodes", &["dev/full", "dev/folder/zero"], 16);
}

#[test]
fn race_for_terminals_touches_nothing_of_the_host() {
    race("race_pts", &["dev/pts"], 16);
    race("race_ttys", &["dev/ptmx.file", "dev/console.file", "dev/tty1.file"], 10);
}

#[test]
fn race_for_the_directories_of_the_kernels_filesystems_touches_nothing_of_the_host() {
    race("race_proc", &["proc"], 10);
    race("race_sys", &["sys"], 10);
    race("race_dev", &["dev"], 10);
}

#[test]
fn race_for_the_targets_of_mounts_touches_nothing_of_the_host() {
    race("race_file", &["mnt/file.file"], 10);
    race("race_tree", &["mnt/tree", "mnt/deep"], 10);
    race("race_source", &["tmp", "mnt/relative"], 10);
}

#[test]
fn race_for_what_is_cleaned_touches_nothing_of_the_host() {
    race("race_clean", &["dev/socket", "apex", "dev/__properties__"], 10);
}

#[test]
fn race_for_a_device_node_between_look_and_chmod_touches_nothing_of_the_host() {
    if !strace::available("race_for_a_device_node_between_look_and_chmod_touches_nothing_of_the_host") {
        return;
    }
    let guest = guest("race_chmod", "lxc.autodev = 0\nmonopod.device.entry = /dev/full mode=0666 uid=1 gid=1");
    let canary = Canary::new(&guest);
    let (node, link) = (guest.rootfs().join("dev/full"), guest.rootfs().join("dev/swapped"));
    symlink(canary.path().join("full"), &link).unwrap();
    guest.sandbox.sh(&format!("mknod -m 600 {} c 1 7", node.display()));
    let bait = canary.path().join("full");
    let _swapper = Swapper::new(vec![(node, link)], move |_| bait.clone());
    let slow = ["-e", "trace=chmod,fchmodat,fchownat", "-e", "inject=chmod,fchmodat,fchownat:delay_enter=1000"];
    for round in 0..rounds(10).min(100) {
        let ended = strace::start(&guest, "exit 0", &slow).wait();
        assert!(matches!(ended.code, Some(0 | 255)), "round {round}{ended}");
        canary.assert_untouched(&format!("round {round}{ended}"));
    }
}

/// Starts the guest while two directories of its rootfs are exchanged. Whenever it ran, its report must be `right`.
fn race_of_two(guest: &Guest, one: &str, other: &str, usual: usize, right: impl Fn(&Report) -> bool) {
    let [one, other] = [one, other].map(|path| guest.rootfs().join(path));
    fs::create_dir_all(&other).unwrap();
    fs::create_dir_all(&one).unwrap();
    let swapper = Swapper::new(vec![(one, other)], |path| path.to_owned());
    let mut ran = 0;
    for round in 0..rounds(usual) {
        let mut running = guest.start("say up , await-file /go , report , exit 0");
        wait_until("init or an end", || !guest.results().is_empty() || !running.is_running());
        // What it reports of itself is to be of one moment.
        let ended = swapper.paused(|| {
            fs::write(guest.rootfs().join("go"), "").unwrap();
            running.wait()
        });
        for file in ["go", "results"] {
            let _ = fs::remove_file(guest.rootfs().join(file));
        }
        match ended.code {
            Some(0) => assert!(right(&guest.report()), "round {round}: {:#?}{ended}", guest.report().mounts()),
            Some(255) => continue,
            _ => panic!("round {round}{ended}"),
        }
        ran += 1;
        fs::remove_file(guest.rootfs().join("report")).unwrap();
    }
    eprintln!("{ran} ran");
}

#[test]
fn race_for_the_flags_of_a_mount_gives_nobody_a_writable_one() {
    let guest = guest(
        "race_flags",
        "lxc.mount.entry = {dir}/tree mnt/b none bind 0 0
        lxc.mount.entry = {dir}/tree/sub mnt/a none bind,ro 0 0",
    );
    race_of_two(&guest, "mnt/a", "mnt/b", 16, |report| {
        report.mounts().iter().filter(|mount| mount.root.ends_with("/tree/sub")).all(|mount| mount.has("ro"))
    });
    guest.assert_nothing_left();
}

#[test]
fn race_for_proc_leaves_no_switch_of_the_host_writable() {
    for (label, lines) in
        [("race_mixed", "lxc.mount.auto = proc:mixed"), ("race_masks", "lxc.mount.auto = proc:rw\nmonopod.protect = 1")]
    {
        let guest = guest(label, lines);
        fs::create_dir_all(guest.rootfs().join("other/sys/kernel")).unwrap();
        fs::create_dir_all(guest.rootfs().join("other/sys/net")).unwrap();
        fs::write(guest.rootfs().join("other/sysrq-trigger"), "").unwrap();
        race_of_two(&guest, "proc", "other", 16, |report| {
            let proc: Vec<_> = report.mounts().into_iter().filter(|mount| mount.fstype == "proc").collect();
            let is_masked = |root: &str| proc.iter().any(|mount| mount.root == root && mount.has("ro"));
            is_masked("/sys") || is_masked("/sys/kernel")
        });
        guest.assert_nothing_left();
    }
}

#[test]
fn planted_links_and_files_in_dev_are_refused_or_not_used() {
    // What is planted, and whether a container can still be made as its config wants it.
    for (plant, runs) in [
        ("ln -s {canary}/null dev/null", true),
        ("echo > dev/null", true),
        ("mknod dev/null c 1 5", true),
        ("mkdir dev/pts; ln -s {canary}/pts/0 dev/pts/0; ln -s {canary}/ptmx dev/pts/ptmx", true),
        ("ln -s {canary}/ptmx dev/ptmx", true),
        ("ln -s {canary}/pts dev/pts", false),
        ("ln -s ../../canary/pts dev/pts", false),
        ("ln -s {canary}/console dev/console", false),
        ("ln -s {canary}/tty1 dev/tty1", false),
        ("mkdir dev/console", false),
        ("mkfifo dev/console dev/tty1 dev/ptmx", true),
        ("ln -s {canary}/full dev/full", true),
        ("mkfifo dev/full", true),
        ("mkdir dev/full", false),
        ("rmdir dev; ln -s {canary} dev", false),
        ("rmdir dev; ln -s ../canary dev", false),
        ("rmdir dev; ln -s /proc/self/fd dev", false),
        ("rmdir dev; ln -s dev dev", false),
        ("rmdir dev; echo > dev", false),
        ("rmdir proc; ln -s {canary} proc", false),
        ("rmdir proc; ln -s /proc proc", false),
        ("rmdir sys; ln -s {canary} sys", false),
        ("rmdir sys; mkfifo sys", false),
    ] {
        let guest = guest(
            "planted",
            "lxc.autodev = 0
            lxc.console.path =
            lxc.tty.max = 1
            lxc.mount.auto = proc:mixed sys:mixed
            monopod.device.entry = /dev/full mode=0666 uid=1 gid=1",
        );
        let canary = Canary::new(&guest);
        let script = plant.replace("{canary}", canary.path().to_str().unwrap());
        guest.sandbox.sh(&format!("cd {}; {script}", guest.rootfs().display()));
        let before = Canary::again(&guest);
        let ended = guest.run("report , exit 0");
        assert_eq!(ended.code, Some(if runs { 0 } else { 255 }), "{plant}{ended}");
        assert!(runs || ended.stderr.lines().count() == 1, "{plant}{ended}");
        before.assert_untouched(&format!("{plant}{ended}"));
        if runs {
            let report = guest.report();
            assert_eq!(report.entry("dev", "/dev/full"), "c 1:7 666 1:1", "{plant}");
            assert_eq!(report.all("isatty"), ["0 1", "1 1", "2 1"], "{plant}");
            assert_eq!(report.mount("/dev/pts").unwrap().fstype, "devpts", "{plant}");
            assert_eq!(report.mount("/dev/console").unwrap().fstype, "devpts", "{plant}");
        }
        guest.assert_nothing_left();
    }
}

#[test]
fn files_of_any_kind_where_others_are_expected_hold_up_nobody() {
    let kinds = [
        "mkfifo {}",
        "mkdir {}",
        "mknod {} c 5 0",
        "truncate -s 4T {}",
        "head -c 100000 /dev/urandom > {}",
        "ln -s {} {}",
        "python3 -c \"import socket; socket.socket(socket.AF_UNIX).bind('{}')\"",
    ];
    let places = [
        "system/build.prop",
        "default.prop",
        "apex",
        "dev/socket",
        "dev/__properties__",
        "dev/.coldboot_done",
        "metadata/bootstat/persist.sys.boot.reason",
        "data/property/persistent_properties",
        "mnt/target",
        "image",
    ];
    for kind in kinds {
        let guest = guest(
            "kinds",
            "lxc.autodev = 0
            monopod.android.init = 1
            monopod.android.clean = 1
            monopod.reboot.recovery = stop
            lxc.mount.entry = {dir}/source mnt/target none bind,ro,create=file,optional 0 0
            lxc.mount.entry = image mnt auto loop,ro,relative,optional 0 0",
        );
        for place in places {
            guest.sandbox.sh(&format!(
                "cd {}; mkdir -p $(dirname {place}); cd $(dirname {place}); name=$(basename {place}); {}",
                guest.rootfs().display(),
                kind.replace("{}", "$name")
            ));
        }
        let ended = guest.run("restart-times 1 , exit 0");
        assert_eq!(ended.code, Some(0), "{kind}{ended}");
        let checked = guest.client("check", &[]);
        assert!(checked.code.is_some(), "{kind}{checked}");
        guest.assert_nothing_left();
    }
}

#[test]
fn paths_too_long_too_deep_or_with_control_codes_are_refused_or_shown_as_text() {
    let long = "a/".repeat(2040);
    let name = "n".repeat(256);
    let links = |guest: &Guest| {
        for number in 0..41 {
            symlink(format!("link{}", number + 1), guest.rootfs().join(format!("mnt/link{number}"))).unwrap();
        }
        fs::create_dir(guest.rootfs().join("mnt/link41")).unwrap();
    };
    for target in [long.as_str(), name.as_str(), "mnt/link0/x", "mnt/\x1b[2J\x07", "mnt/link41/../../.."] {
        let guest = Guest::new("odd_paths").config(&format!("lxc.mount.entry = tmpfs {target} tmpfs defaults 0 0"));
        links(&guest);
        let ended = guest.run("exit 0");
        assert_eq!(ended.code, Some(255), "{target}{ended}");
        assert_eq!(ended.stderr.lines().count(), 1, "{target}{ended}");
        let said = format!("{}{}", ended.stderr, guest.file("log"));
        assert!(!said.contains(|c: char| c.is_control() && c != '\n'), "{said:?}");
        guest.assert_nothing_left();
    }
}
