//! `lxc.ephemeral`: the container's directory goes with it, that whole directory and nothing else. And `lxc.monitor.unshare`.

use crate::support::Guest;
use std::fs;
use std::os::unix::fs::{FileTypeExt, symlink};

/// A guest that will be removed; its log and what hooks say lie elsewhere.
fn ephemeral(label: &str, lines: &str) -> Guest {
    Guest::new(label).config(&format!("lxc.ephemeral = 1\n{lines}"))
}

#[test]
fn ephemeral_container_is_removed_when_it_has_ended_and_not_before() {
    let guest = ephemeral("ephemeral", "monopod.restart.delay = 0ms\nlxc.hook.destroy = {dir}/../destroy");
    let above = guest.dir().parent().unwrap().to_owned();
    let outside = above.join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("kept"), "").unwrap();
    fs::rename(guest.script("destroy", "ls $dir >> $dir/../out"), above.join("destroy")).unwrap();
    symlink(&outside, guest.rootfs().join("mnt/link")).unwrap();
    fs::hard_link(outside.join("kept"), guest.rootfs().join("mnt/hard")).unwrap();
    nix::unistd::mkfifo(&guest.rootfs().join("mnt/fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(fs::metadata(guest.rootfs().join("mnt/fifo")).unwrap().file_type().is_fifo());
    // Deeper than the walk goes, and wider than one read.
    let mut deep = guest.rootfs().join("mnt");
    for _ in 0..150 {
        deep.push("d");
    }
    fs::create_dir_all(&deep).unwrap();
    (0..300).for_each(|n| fs::write(deep.join(format!("file-{n}")), "x").unwrap());

    let ended = guest.run("restart-times 1 , exit 7");
    assert_eq!(ended.code, Some(7), "{ended}");
    assert!(!guest.dir().exists(), "{:?}", fs::read_dir(guest.dir()).unwrap().collect::<Vec<_>>());
    assert!(outside.join("kept").exists());
    // Once, after both lives, while it was still there.
    let out = fs::read_to_string(above.join("out")).unwrap();
    assert_eq!(out.matches("rootfs").count(), 1, "{out}");
}

#[test]
fn ephemeral_container_stays_whole_where_anything_speaks_against_it() {
    for (label, lines, code, says) in [
        ("bad_start", "lxc.cgroup.nonsense.file = 1", 255, ""),
        ("bad_hook", "lxc.hook.destroy = /bin/false", 0, "destroy hook failed"),
        ("mounted", "lxc.hook.pre-start = {dir}/mount", 0, "something is mounted"),
    ] {
        let guest = ephemeral(label, lines);
        guest.script(
            "mount",
            "[ -e $dir/rootfs/tmp/there ] || { mount -t tmpfs none $dir/rootfs/tmp && : > $dir/rootfs/tmp/there; }",
        );
        let ended = guest.run("exit 0");
        assert_eq!(ended.code, Some(code), "{label}{ended}");
        assert!(guest.rootfs().join("init").exists() && guest.dir().join("config").exists(), "{label}");
        assert!(guest.file("log").contains(says), "{label}{ended}");
    }
}

#[test]
fn ephemeral_container_that_cannot_be_removed_whole_is_refused() {
    let guest = ephemeral("elsewhere", "");
    let elsewhere = guest.dir().parent().unwrap().join("elsewhere");
    fs::rename(guest.rootfs(), &elsewhere).unwrap();
    let guest = guest.config(&format!("lxc.rootfs.path = dir:{}", elsewhere.display()));
    let ended = guest.run("exit 0");
    assert!(ended.code == Some(255) && ended.stderr.contains("the rootfs is not in there"), "{ended}");
    let guest = guest.config("lxc.rootfs.managed = 0");
    let ended = guest.run("exit 0");
    assert_eq!(ended.code, Some(0), "{ended}");
    assert!(!guest.dir().exists() && elsewhere.join("init").exists());
}

#[test]
fn monitor_unshare_keeps_the_mounts_of_hooks_to_itself() {
    for (lines, left) in [("", 1), ("lxc.monitor.unshare = 1", 0)] {
        let guest = Guest::new("unshare").config(&format!("lxc.hook.pre-start = {{dir}}/mount\n{lines}"));
        guest.script("mount", "mount -t tmpfs none $dir/rootfs/mnt && : > $dir/rootfs/mnt/there");
        let ended = guest.run("read /mnt/there");
        assert_eq!(ended.code, Some(0), "{ended}");
        assert_eq!(guest.results().trim(), "read /mnt/there:");
        let mounts = guest.sandbox.sh("cat /proc/self/mountinfo");
        let ours = guest.rootfs().join("mnt");
        assert_eq!(mounts.matches(&*ours.to_string_lossy()).count(), left, "{lines}");
    }
}
