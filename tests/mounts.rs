//! What the container's filesystem looks like: rootfs, /dev, entries, automatic mounts, and nothing of the host.

use crate::support::report::Report;
use crate::support::{Guest, skip};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Runs a guest with these config lines and returns what init found.
fn report(label: &str, lines: &str) -> Report {
    let guest = Guest::new(label).config(lines);
    let ended = guest.run("report");
    assert_eq!(ended.code, Some(0), "{ended}");
    guest.report()
}

#[test]
fn pivot_leaves_nothing_of_the_host() {
    let guest = Guest::new("pivot");
    let ended = guest.run("report");
    assert_eq!(ended.code, Some(0), "{ended}");
    let report = guest.report();
    for mount in report.mounts() {
        assert!(mount.target == "/" || mount.target.starts_with("/dev"), "{mount:?}");
    }
    let root = report.mount("/").unwrap();
    assert!(root.root.ends_with("/rootfs"), "{root:?}");
    guest.assert_nothing_left();
}

#[test]
fn rootfs_plain_path_mount_point_and_options_are_used() {
    let guest = Guest::new("rootfs").without_config().config(
        "lxc.rootfs.path = {rootfs}
        lxc.rootfs.mount = {dir}/at
        lxc.rootfs.options = ro,nodev
        lxc.mount.entry = tmpfs tmp tmpfs rw 0 0
        lxc.console.path = none",
    );
    fs::create_dir(guest.dir().join("at")).unwrap();
    let path = guest.script("hook", "echo $LXC_ROOTFS_MOUNT > $dir/mount");
    let guest = guest.config(&format!("lxc.hook.pre-start = {path}"));
    let ended = guest.run("write /file x , write /tmp/file x");
    assert_eq!(ended.code, Some(0), "{ended}");
    assert_eq!(guest.file("mount").trim(), guest.dir().join("at").to_string_lossy());
    // On a read-only root what the guest says goes nowhere; what it did shows.
    assert!(!guest.rootfs().join("file").exists());
    guest.assert_nothing_left();
}

#[test]
fn rootfs_shared_host_mounts_get_nothing_from_the_container() {
    let guest = Guest::new("shared");
    guest.sandbox.sh("mount --make-rshared /");
    let guest = guest.config("lxc.mount.entry = tmpfs mnt tmpfs defaults 0 0\nlxc.mount.auto = proc sys");
    let ended = guest.run("report");
    assert_eq!(ended.code, Some(0), "{ended}");
    assert!(guest.report().mount("/mnt").is_some());
    guest.assert_nothing_left();
}

/// An ext4 image with the guest's rootfs in it. None, with the skip said, where mkfs.ext4 or loop devices are missing.
fn image(guest: &Guest, test: &str) -> Option<String> {
    let image = guest.dir().join("image").to_string_lossy().into_owned();
    let made = Command::new("mkfs.ext4").args(["-q", "-d"]).arg(guest.rootfs()).args([&image, "16M"]).output();
    if !made.is_ok_and(|output| output.status.success()) {
        skip(test, "no mkfs.ext4 (package e2fsprogs)", true);
        return None;
    }
    if !Path::new("/dev/loop-control").exists() {
        skip(test, "this kernel has no loop devices", false);
        return None;
    }
    Some(image)
}

/// An attached loop device; detached when dropped.
pub struct LoopDevice(pub String);

impl LoopDevice {
    pub fn new(image: &str) -> Self {
        let output = Command::new("losetup").args(["--find", "--show", image]).output().unwrap();
        LoopDevice(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["--detach", &self.0]).status();
    }
}

#[test]
fn rootfs_on_a_block_device_is_mounted() {
    let guest = Guest::new("blockdev");
    let Some(image) = image(&guest, "rootfs_on_a_block_device_is_mounted") else { return };
    let device = LoopDevice::new(&image);
    let guest = guest.without_config().config(&format!("lxc.rootfs.path = {}\nlxc.console.path = none", device.0));
    let ended = guest.run("report , exit 17");
    assert_eq!(ended.code, Some(17), "{ended}");
    guest.assert_nothing_left();
    // What the guest wrote is in the image, not in the directory it was made from.
    let report = guest.sandbox.sh(&format!("mount -o ro {} /mnt; cat /mnt/report; umount /mnt", device.0));
    assert_eq!(Report::new(report).mount("/").unwrap().fstype, "ext4");
}

#[test]
fn autodev_fills_a_dev_of_its_own() {
    let guest = Guest::new("autodev")
        .config("lxc.autodev = 1\nlxc.autodev.tmpfs.size = 102400\nlxc.pty.max = 7\nlxc.tty.max = 1");
    let ended = guest.run("report");
    assert_eq!(ended.code, Some(0), "{ended}");
    let report = guest.report();
    let dev = report.mount("/dev").unwrap();
    assert_eq!(dev.fstype, "tmpfs");
    assert!(dev.super_options.contains("size=100k") && dev.super_options.contains("mode=755"), "{dev:?}");
    for (name, numbers) in
        [("null", "1:3"), ("zero", "1:5"), ("full", "1:7"), ("random", "1:8"), ("urandom", "1:9"), ("tty", "5:0")]
    {
        let node = report.entry("dev", &format!("/dev/{name}"));
        assert!(node.starts_with(&format!("c {numbers} 666")), "{name}: {node}");
    }
    for (name, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        assert_eq!(report.entry("dev", &format!("/dev/{name}")), format!("l {target}"));
    }
    let pts = report.mount("/dev/pts").unwrap();
    assert_eq!(pts.fstype, "devpts");
    for option in ["gid=5", "mode=620", "ptmxmode=666", "max="] {
        assert!(pts.super_options.contains(option), "{option} in {pts:?}");
    }
    assert!(report.find("dev", "/dev/ptmx").is_some());
    // The rootfs' own /dev stays empty.
    assert_eq!(fs::read_dir(guest.rootfs().join("dev")).unwrap().count(), 0);
}

#[test]
fn autodev_off_uses_the_rootfs_dev() {
    let guest = Guest::new("autodev_off").config("lxc.autodev = 0\nlxc.pty.max = 0");
    guest.sandbox.sh(&format!("mknod -m 640 {}/dev/mine c 1 3", guest.rootfs().display()));
    let ended = guest.run("report");
    assert_eq!(ended.code, Some(0), "{ended}");
    let report = guest.report();
    assert!(report.mount("/dev").is_none());
    assert!(report.entry("dev", "/dev/mine").starts_with("c 1:3 640"));
}

#[test]
fn entries_and_fstab_are_mounted_as_written() {
    let guest = Guest::new("entries").config(
        "lxc.mount.fstab = {dir}/fstab
        lxc.mount.entry = tmpfs mnt/sized tmpfs size=1m,nosuid,nodev,noexec,create=dir 0 0
        lxc.mount.entry = {dir}/source mnt/bound none bind,ro,create=dir 0 0
        lxc.mount.entry = {dir}/source/file mnt/made/file none bind,create=file 0 0
        lxc.mount.entry = {dir}/missing mnt none bind,optional 0 0
        lxc.mount.entry = inside mnt/relative none bind,relative,create=dir 0 0
        lxc.mount.entry = {dir}/tree mnt/tree none rbind,create=dir 0 0
        lxc.mount.entry = {dir}/tree mnt/flat none bind,create=dir 0 0
        lxc.mount.entry = {dir}/a\\040blank mnt/a\\040blank none bind,create=dir 0 0",
    );
    for dir in ["source", "tree/sub", "rootfs/inside", "a blank"] {
        fs::create_dir_all(guest.dir().join(dir)).unwrap();
    }
    fs::write(guest.dir().join("source/file"), "from the host").unwrap();
    fs::write(guest.dir().join("rootfs/inside/file"), "from the rootfs").unwrap();
    fs::write(guest.dir().join("fstab"), "# comment\n\ntmpfs mnt tmpfs mode=700 0 0\n").unwrap();
    guest.sandbox.sh(&format!("mount -t tmpfs sub {}", guest.dir().join("tree/sub").display()));
    let ended = guest.run(
        "report , read /mnt/made/file , read /mnt/relative/file , write /mnt/bound/new x , write /mnt/made/file changed",
    );
    assert_eq!(ended.code, Some(0), "{ended}");
    let report = guest.report();
    let mount = |target: &str| report.mount(target).unwrap_or_else(|| panic!("{target} is not mounted{ended}"));
    assert!(mount("/mnt").super_options.contains("mode=700"));
    let sized = mount("/mnt/sized");
    assert!(sized.super_options.contains("size=1024k"), "{sized:?}");
    assert!(["nosuid", "nodev", "noexec"].iter().all(|option| sized.has(option)), "{sized:?}");
    assert!(mount("/mnt/bound").has("ro"));
    assert_eq!(mount("/mnt/tree/sub").fstype, "tmpfs");
    assert!(report.mount("/mnt/flat/sub").is_none());
    assert!(report.mount("/mnt/a\\040blank").is_some());
    let expected = "read /mnt/made/file: from the host
read /mnt/relative/file: from the rootfs
write /mnt/bound/new: Read-only file system
write /mnt/made/file: ok
";
    assert_eq!(guest.results(), expected, "{ended}");
    guest.sandbox.sh(&format!("umount {}", guest.dir().join("tree/sub").display()));
}

#[test]
fn entry_absolute_target_under_the_rootfs_is_taken_as_inside() {
    let report = report("absolute", "lxc.mount.entry = tmpfs {rootfs}/mnt tmpfs defaults 0 0");
    assert_eq!(report.mount("/mnt").unwrap().fstype, "tmpfs");
}

#[test]
fn entry_propagation_is_set() {
    let report = report("propagation", "lxc.mount.entry = tmpfs mnt/shared tmpfs shared,create=dir 0 0");
    assert!(report.mount("/mnt/shared").unwrap().propagation.contains("shared:"));
}

#[test]
fn mount_auto_proc_and_sys_have_their_forms() {
    let mixed = report("auto_mixed", "lxc.mount.auto = proc:mixed sys:mixed");
    assert!(!mixed.mount("/proc").unwrap().has("ro"));
    // Not every kernel has the magic key.
    let sysrq = Path::new("/proc/sysrq-trigger").exists().then_some("/proc/sysrq-trigger");
    for target in ["/proc/sys", "/sys"].into_iter().chain(sysrq) {
        assert!(mixed.mount(target).is_some_and(|mount| mount.has("ro")), "{target}: {:?}", mixed.mount(target));
    }
    assert!(mixed.mount("/sys/devices/virtual/net").is_some_and(|mount| !mount.has("ro")));

    let writable = report("auto_rw", "lxc.mount.auto = proc:rw sys:rw");
    for target in ["/proc", "/sys"] {
        assert!(writable.mount(target).is_some_and(|mount| !mount.has("ro")), "{target}");
    }
    assert!(writable.mount("/proc/sys").is_none());

    let read_only = report("auto_ro", "lxc.mount.auto = sys:ro");
    assert!(read_only.mount("/sys").unwrap().has("ro"));
    assert!(read_only.mount("/proc").is_none());

    let default = report("auto_default", "lxc.mount.auto = proc sys");
    assert!(default.mount("/proc/sys").unwrap().has("ro"));
    assert!(default.mount("/sys").unwrap().has("ro"));
}

#[test]
fn mount_auto_proc_mixed_keeps_the_hosts_switches_out_of_reach() {
    let before = fs::read_to_string("/proc/sys/kernel/panic").unwrap();
    let guest = Guest::new("masked").config("lxc.mount.auto = proc:mixed");
    let ended = guest.run("write /proc/sys/kernel/panic 77");
    assert_eq!(ended.code, Some(0), "{ended}");
    assert_eq!(guest.results(), "write /proc/sys/kernel/panic: Read-only file system\n");
    assert_eq!(fs::read_to_string("/proc/sys/kernel/panic").unwrap(), before);
}

#[test]
fn mount_auto_cgroup_forms_say_what_the_guest_may_write() {
    if !Path::new("/sys/fs/cgroup/cpu/tasks").exists() {
        return skip("mount_auto_cgroup_forms", "no v1 hierarchy /sys/fs/cgroup/cpu on this machine", false);
    }
    for (form, writable) in [("cgroup:mixed:force", true), ("cgroup:ro:force", false), ("cgroup:rw:force", true)] {
        let guest = Guest::new("auto_cgroup").config(&format!("lxc.mount.auto = sys:ro {form}"));
        // In a cgroup namespace the container's own directory is the root of what it sees.
        let hook = guest.script("hook", "cat /sys/fs/cgroup/cpu/lxc/$LXC_NAME/cpu.shares > $dir/shares");
        let guest = guest.config(&format!("lxc.hook.stop = {hook}"));
        let ended = guest.run("write /sys/fs/cgroup/cpu/cpu.shares 512 , write /sys/fs/cgroup/new x");
        assert_eq!(ended.code, Some(0), "{form}{ended}");
        let results = guest.results();
        let wrote = results.lines().next().unwrap_or_default();
        assert_eq!(wrote.ends_with(": ok"), writable, "{form}: {results}");
        assert_eq!(guest.file("shares").trim(), if writable { "512" } else { "1024" }, "{form}: {results}");
        guest.assert_nothing_left();
    }
}
