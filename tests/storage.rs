//! Root filesystems and mounts from image files, overlays and partitions, and filesystems that a guest left read-only.

use crate::mounts::LoopDevice;
use crate::support::kernel::{self, Is, Kernel};
use crate::support::report::Report;
use crate::support::{Guest, skip, wait_until};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Makes an ext4 image of a directory. False, with the skip said, where mkfs.ext4 or loop devices are missing.
#[must_use]
fn make_image(test: &str, directory: &Path, image: &Path) -> bool {
    let made = Command::new("mkfs.ext4").args(["-q", "-d"]).args([directory, image]).arg("16M").output();
    if !made.is_ok_and(|output| output.status.success()) {
        skip(test, "no mkfs.ext4 (package e2fsprogs)", true);
        return false;
    }
    if !Path::new("/dev/loop-control").exists() {
        skip(test, "this kernel has no loop devices", false);
        return false;
    }
    true
}

/// A guest whose rootfs is an ext4 image of the usual one.
fn on_image(test: &str, label: &str, lines: &str) -> Option<Guest> {
    let guest = Guest::new(label)
        .without_config()
        .config("lxc.rootfs.path = loop:{dir}/image\nlxc.console.path = none\nlxc.log.level = DEBUG")
        .config(lines);
    make_image(test, &guest.rootfs(), &guest.dir().join("image")).then_some(guest)
}

/// A file of a guest's image, read when nothing has it mounted any more; the filesystem must be as it should be.
fn in_image(guest: &Guest, name: &str) -> String {
    let image = guest.dir().join("image");
    let check = Command::new("e2fsck").args(["-f", "-n"]).arg(&image).output().unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
    let read = Command::new("debugfs").args(["-R", &format!("cat {name}")]).arg(&image).output().unwrap();
    String::from_utf8(read.stdout).unwrap()
}

#[test]
fn image_rootfs_is_written_and_leaves_no_loop_device() {
    let Some(guest) = on_image("image_rootfs_is_written", "image", "") else { return };
    let ended = guest.run("report , exit 17");
    assert_eq!(ended.code, Some(17), "{ended}");
    guest.assert_nothing_left();
    let report = Report::new(in_image(&guest, "report"));
    assert_eq!(report.mount("/").unwrap().fstype, "ext4");
}

#[test]
fn image_rootfs_restarted_at_once_is_whole_after_each_life() {
    let lines = "monopod.restart.delay = 0ms\nlxc.rootfs.options = noatime";
    let Some(guest) = on_image("image_rootfs_restarted_at_once", "image_lives", lines) else { return };
    let ended = guest.run("say life , restart-times 20 , exit 0");
    assert_eq!(ended.code, Some(0), "{ended}");
    guest.assert_nothing_left();
    assert_eq!(in_image(&guest, "results"), "life\n".repeat(21));
}

#[test]
fn image_rootfs_that_the_guest_left_read_only_is_writable_in_the_next_life() {
    let Some(guest) = on_image("image_rootfs_left_read_only", "image_ro", "") else { return };
    let ended = guest.run("say life , ro-restart-times 2 , exit 0");
    assert_eq!(ended.code, Some(0), "{ended}");
    guest.assert_nothing_left();
    assert_eq!(in_image(&guest, "results"), "life\n".repeat(3));
}

#[test]
fn image_read_only_is_shared_and_not_written() {
    let lines = "lxc.rootfs.options = ro\nlxc.mount.entry = {dir}/shared mnt none bind 0 0";
    let Some(first) = on_image("image_read_only_is_shared", "image_shared", lines) else { return };
    fs::create_dir(first.dir().join("shared")).unwrap();
    let image = first.dir().join("image");
    let before = fs::read(&image).unwrap();
    let second = Guest::new("image_sharer").without_config().config(&format!(
        "lxc.rootfs.path = loop:{}\nlxc.rootfs.options = ro\nlxc.console.path = none",
        image.display()
    ));
    let running = first.start("write /file x , write /mnt/up x , forever");
    first.wait_running();
    let ended = second.run("exit 4");
    assert_eq!(ended.code, Some(4), "{ended}");
    let writer = Guest::new("image_writer")
        .without_config()
        .config(&format!("lxc.rootfs.path = loop:{}\nlxc.console.path = none", image.display()));
    let refused = writer.run("exit 0");
    assert_eq!(refused.code, Some(255), "{refused}");
    assert!(refused.stderr.contains("another container uses it"), "{refused}");
    first.client("stop", &["-k"]);
    running.wait();
    assert!(fs::read(&image).unwrap() == before, "a read-only image was written");
    first.assert_nothing_left();
}

#[test]
fn image_that_is_no_filesystem_is_named() {
    for (head, what) in [
        (&[0x3a, 0xff, 0x26, 0xed, 1, 0][..], "is an Android sparse image: convert it with simg2img"),
        (&[0x1f, 0x8b, 8], "is compressed: unpack it with gunzip"),
        (b"", "is empty"),
        (b"x", "is too short for a filesystem"),
    ] {
        let guest = Guest::new("no_image")
            .without_config()
            .config("lxc.rootfs.path = loop:{dir}/image\nlxc.console.path = none");
        fs::write(guest.dir().join("image"), head).unwrap();
        let ended = guest.run("exit 0");
        assert_eq!(ended.code, Some(255), "{ended}");
        assert!(ended.stderr.contains(&format!("/image {what}")), "{ended}");
        guest.assert_nothing_left();
    }
    let guest =
        Guest::new("zeros").without_config().config("lxc.rootfs.path = loop:{dir}/image\nlxc.console.path = none");
    fs::write(guest.dir().join("image"), vec![0; 65536]).unwrap();
    let ended = guest.run("exit 0");
    assert!(ended.stderr.contains("no filesystem that this kernel has"), "{ended}");
    guest.assert_nothing_left();
}

#[test]
fn image_of_a_read_only_kind_needs_no_word_for_it() {
    for (tool, package) in [("mksquashfs", "squashfs-tools"), ("mkfs.erofs", "erofs-utils")] {
        let guest =
            Guest::new(tool).without_config().config("lxc.rootfs.path = loop:{dir}/image\nlxc.console.path = none");
        let mut command = Command::new(tool);
        match tool {
            "mksquashfs" => command.args([guest.rootfs(), guest.dir().join("image")]).args(["-quiet", "-no-progress"]),
            _ => command.args([guest.dir().join("image"), guest.rootfs()]),
        };
        if !command.output().is_ok_and(|output| output.status.success()) {
            skip("image_of_a_read_only_kind", &format!("no {tool} (package {package})"), false);
            continue;
        }
        let ended = guest.run("exit 5");
        assert_eq!(ended.code, Some(5), "{ended}");
        assert!(!guest.file("log").contains("read-only"), "{ended}");
        guest.assert_nothing_left();
    }
}

#[test]
fn image_that_cannot_be_written_is_read_only_and_said_to_be() {
    let Some(guest) = on_image("image_that_cannot_be_written", "image_ro_medium", "") else { return };
    guest
        .sandbox
        .sh(&format!("mount --bind {0} {0}; mount -o remount,bind,ro {0}", guest.dir().join("image").display()));
    let ended = guest.run("write /file x , exit 4");
    assert_eq!(ended.code, Some(4), "{ended}");
    let says = "/image stays read-only: Read-only file system";
    assert!(ended.stderr.contains(says) || guest.file("log").contains(says), "{ended}");
    guest.assert_nothing_left();
}

const CONFIGURE: u32 = 0x4c0a;
const GET_FREE: u32 = 0x4c82;

#[test]
fn loop_devices_of_old_kernels_serve_and_busy_ones_are_named() {
    let test = "loop_devices_of_old_kernels";
    if !kernel::available(test) {
        return;
    }
    let Some(mut guest) = on_image(test, "loop_old", "") else { return };
    guest.set_kernel(Kernel::new().answer(libc::SYS_ioctl, &[Is::Value(1, CONFIGURE)], libc::EINVAL));
    let ended = guest.run("say here , exit 6");
    assert_eq!(ended.code, Some(6), "{ended}");
    guest.assert_nothing_left();
    assert_eq!(in_image(&guest, "results"), "here\n");
    for (request, errno, what) in
        [(CONFIGURE, libc::EBUSY, "all loop devices are busy"), (GET_FREE, libc::ENOSPC, "all loop devices are busy")]
    {
        guest.set_kernel(Kernel::new().answer(libc::SYS_ioctl, &[Is::Value(1, request)], errno));
        let ended = guest.run("exit 0");
        assert_eq!(ended.code, Some(255), "{ended}");
        assert!(ended.stderr.contains("loop: ") && ended.stderr.contains(what), "{ended}");
        guest.assert_nothing_left();
    }
}

#[test]
fn loop_nodes_that_dev_lacks_are_made_and_removed() {
    let Some(guest) = on_image("loop_nodes_that_dev_lacks", "loop_nodes", "") else { return };
    guest.sandbox.sh("mkdir /run/dev
        mount -t tmpfs -o mode=755 dev /run/dev
        cp -a /dev/null /run/dev
        mount --move /run/dev /dev
        rmdir /run/dev
        mkdir /dev/pts
        mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts /dev/pts
        ln -s pts/ptmx /dev/ptmx");
    let ended = guest.run("exit 7");
    assert_eq!(ended.code, Some(7), "{ended}");
    assert_eq!(guest.sandbox.sh("ls /dev").split_whitespace().collect::<Vec<_>>(), ["null", "ptmx", "pts"]);
}

#[test]
fn entry_with_loop_mounts_an_image() {
    let test = "entry_with_loop";
    let guest = Guest::new("loop_entry").config(
        "lxc.mount.entry = {dir}/vendor.img mnt ext4 loop,ro 0 0
        lxc.mount.entry = {dir}/vendor.img tmp auto loop,ro 0 0
        lxc.mount.entry = {dir}/none.img mnt ext4 loop,optional 0 0",
    );
    let vendor = guest.dir().join("vendor");
    fs::create_dir(&vendor).unwrap();
    fs::write(vendor.join("build.prop"), "vendor").unwrap();
    if !make_image(test, &vendor, &guest.dir().join("vendor.img")) {
        return;
    }
    let ended = guest.run("read /mnt/build.prop , read /tmp/build.prop , write /mnt/build.prop x");
    assert_eq!(ended.code, Some(0), "{ended}");
    let told =
        "read /mnt/build.prop: vendor\nread /tmp/build.prop: vendor\nwrite /mnt/build.prop: Read-only file system\n";
    assert_eq!(guest.results(), told);
    guest.assert_nothing_left();
}

/// A directory of the guest's.
fn made(guest: &Guest, name: &str, file: &str) -> PathBuf {
    let path = guest.dir().join(name);
    fs::create_dir_all(&path).unwrap();
    fs::write(path.join(file), name).unwrap();
    path
}

#[test]
fn overlay_writes_go_to_the_upper_directory_alone() {
    let guest = Guest::new("overlay").without_config().config(
        "lxc.rootfs.path = overlay:{dir}/middle:{rootfs}:{dir}/delta
        lxc.console.path = none",
    );
    made(&guest, "middle", "layer");
    made(&guest, "rootfs", "layer");
    let ended = guest.run("read /layer , write /layer uppers , restart-times 1 , exit 3");
    assert_eq!(ended.code, Some(3), "{ended}");
    guest.assert_nothing_left();
    assert_eq!(
        guest.file("delta/results"),
        "read /layer: middle\nwrite /layer: ok\nread /layer: uppers\nwrite /layer: ok\n"
    );
    assert_eq!((guest.file("middle/layer"), guest.rootfs_file("layer")), ("middle".into(), "rootfs".into()));
    assert!(guest.dir().join("delta.work").is_dir());
}

#[test]
fn overlay_written_by_a_container_that_runs_is_refused_to_another() {
    let first = Guest::new("overlay_first").without_config().config(
        "lxc.rootfs.path = overlay:{rootfs}:{dir}/delta
        lxc.console.path = none",
    );
    let lines = first.logs();
    let path = lines.lines().find_map(|line| line.strip_prefix("lxc.rootfs.path = ")).unwrap();
    let other = |options: &str| {
        let guest = Guest::new("overlay_other").without_config();
        guest.config(&format!("lxc.rootfs.path = {path}\nlxc.console.path = none\n{options}"))
    };
    let running = first.start("say up , signals 1 , restart-times 1 , exit 3");
    wait_until("the first to run", || first.file("delta/results").contains("ready"));
    for options in ["", "lxc.rootfs.options = ro"] {
        let refused = other(options);
        let ended = refused.run("exit 0");
        assert_eq!(ended.code, Some(255), "{ended}");
        assert!(ended.stderr.contains("delta: another container writes it"), "{ended}");
        refused.assert_nothing_left();
    }
    running.signal(libc::SIGKILL);
    running.wait();
    // The lock is gone with whoever had it.
    let next = other("");
    assert_eq!(next.run("exit 4").code, Some(4));
    next.assert_nothing_left();
}

#[test]
fn overlay_keeps_its_writes_for_the_next_start_unless_read_only() {
    let guest = Guest::new("overlay_again").without_config().config(
        "lxc.rootfs.path = overlay:{rootfs}:{dir}/delta
        lxc.rootfs.mount = {dir}/mnt
        lxc.console.path = none",
    );
    fs::create_dir(guest.dir().join("mnt")).unwrap();
    let ended = guest.run("write /kept first , exit 3");
    assert_eq!(ended.code, Some(3), "{ended}");
    guest.assert_nothing_left();
    let ended = guest.run("read /kept , exit 4");
    assert_eq!(ended.code, Some(4), "{ended}");
    assert_eq!(guest.file("delta/results"), "write /kept: ok\nread /kept: first\n");
    let guest = guest.config("lxc.rootfs.options = ro");
    let ended = guest.run("write /lost x , exit 5");
    assert_eq!(ended.code, Some(5), "{ended}");
    assert!(!guest.dir().join("delta/lost").exists() && !guest.rootfs().join("kept").exists(), "{ended}");
    guest.assert_nothing_left();
}

#[test]
fn overlay_that_cannot_be_is_named() {
    for (layers, what) in [
        ("{dir}/none:{rootfs}:{dir}/delta", "overlay: {config}:1: {dir}/none: No such file or directory"),
        ("loop:{dir}/image:{dir}/delta", "is not LOWER[:LOWER...]:UPPER"),
        ("{rootfs}", "is not LOWER[:LOWER...]:UPPER"),
    ] {
        let guest = Guest::new("no_overlay")
            .without_config()
            .config(&format!("lxc.rootfs.path = overlayfs:{layers}\nlxc.console.path = none"));
        let ended = guest.run("exit 0");
        let dir = guest.dir().to_string_lossy().into_owned();
        let what = what.replace("{config}", &format!("{dir}/config")).replace("{dir}", &dir);
        assert_eq!(ended.code, Some(255), "{ended}");
        assert!(ended.stderr.contains(&what), "{what}{ended}");
        guest.assert_nothing_left();
    }
    if !kernel::available("overlay_that_cannot_be") {
        return;
    }
    let mut guest = Guest::new("lacks_overlay")
        .without_config()
        .config("lxc.rootfs.path = overlay:{rootfs}:{dir}/delta\nlxc.console.path = none");
    guest.set_kernel(Kernel::new().answer(libc::SYS_mount, &[Is::Value(3, 0)], libc::ENODEV));
    let ended = guest.run("exit 0");
    assert!(ended.stderr.contains("CONFIG_OVERLAY_FS"), "{ended}");
    guest.assert_nothing_left();
}

/// A guest whose rootfs lies on a tmpfs of its own.
fn on_tmpfs(label: &str, options: &str) -> Guest {
    let guest = Guest::new(label)
        .without_config()
        .config("lxc.rootfs.path = {dir}/base/rootfs\nlxc.console.path = none\nlxc.log.level = DEBUG");
    guest.sandbox.sh(&format!(
        "cd {}
        mkdir base
        mount -t tmpfs -o {options} base base
        cp -a rootfs base/rootfs",
        guest.dir().display()
    ));
    guest
}

const AGAIN: &str = "was left read-only by an earlier guest: writable again";

#[test]
fn directory_left_read_only_by_the_guest_is_writable_in_the_next_life_and_the_next_start() {
    let guest = on_tmpfs("left_ro", "nosuid");
    let results = || guest.sandbox.sh(&format!("cat {}/base/rootfs/results", guest.dir().display()));
    let ended = guest.run("say life , report , ro-restart-times 2 , exit 0");
    assert_eq!(ended.code, Some(0), "{ended}");
    assert_eq!(results(), "life\nlife\nlife\n");
    assert_eq!(guest.file("log").matches(AGAIN).count(), 2, "{ended}");
    guest
        .sandbox
        .sh(&format!("mount -o remount,ro {0}/base; mount -o remount,bind,rw {0}/base", guest.dir().display()));
    let ended = guest.run("say again , report , exit 0");
    assert_eq!(ended.code, Some(0), "{ended}");
    assert!(results().ends_with("life\nagain\n"));
    assert_eq!(guest.file("log").matches(AGAIN).count(), 3, "{ended}");
    // What else the host's mount says of itself is the guest's, too.
    let report = guest.sandbox.sh(&format!("cat {}/base/rootfs/report", guest.dir().display()));
    let root = Report::new(report);
    assert!(root.mount("/").unwrap().has("nosuid") && root.mount("/").unwrap().has("rw"));
}

#[test]
fn directory_mounted_read_only_on_purpose_stays_so() {
    let guest = on_tmpfs("ro_on_purpose", "rw");
    guest.sandbox.sh(&format!("mount -o remount,ro {}/base", guest.dir().display()));
    let ended = guest.run("write /file x , exit 2");
    assert_eq!(ended.code, Some(2), "{ended}");
    assert!(!guest.file("log").contains("read-only"), "{ended}");
    guest.sandbox.sh(&format!("! test -e {}/base/rootfs/file", guest.dir().display()));
}

#[test]
fn directory_that_stays_read_only_is_said_and_started() {
    let test = "directory_that_stays_read_only";
    if !kernel::available(test) {
        return;
    }
    let mut guest = on_tmpfs("stays_ro", "rw");
    guest
        .sandbox
        .sh(&format!("mount -o remount,ro {0}/base; mount -o remount,bind,rw {0}/base", guest.dir().display()));
    guest.set_kernel(Kernel::new().answer(libc::SYS_mount, &[Is::Value(3, libc::MS_REMOUNT as u32)], libc::EROFS));
    let ended = guest.run("exit 2");
    assert_eq!(ended.code, Some(2), "{ended}");
    assert!(guest.file("log").contains("base/rootfs stays read-only: Read-only file system"), "{ended}");
}

#[test]
fn block_device_left_read_only_elsewhere_is_writable_unless_on_purpose() {
    let test = "block_device_left_read_only_elsewhere";
    let guest = Guest::new("block_ro");
    let image = guest.dir().join("image");
    if !make_image(test, &guest.rootfs(), &image) {
        return;
    }
    let device = LoopDevice::new(&image.to_string_lossy());
    let guest = guest.without_config().config(&format!("lxc.rootfs.path = {}\nlxc.console.path = none", device.0));
    guest.sandbox.sh(&format!("mount {} /mnt; mount -o remount,ro /mnt; mount -o remount,bind,rw /mnt", device.0));
    let ended = guest.run("say here , exit 3");
    assert_eq!(ended.code, Some(3), "{ended}");
    assert_eq!(guest.sandbox.sh("cat /mnt/results"), "here\n");
    guest.sandbox.sh("mount -o remount,ro /mnt");
    let ended = guest.run("exit 0");
    assert!(ended.code == Some(255) && ended.stderr.contains("Device or resource busy"), "{ended}");
    guest.sandbox.sh("umount /mnt");
}
