//! Configs that phones run today, unchanged but for the rootfs and the hook, which are given on the command line.

use crate::support::{Guest, skip, wait_until};
use std::path::{Path, PathBuf};

/// A file of the corpus of real configs, which lies beside the checkout where it is available.
fn corpus(test: &str, file: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus");
    let path = std::env::var_os("MONOPOD_CORPUS").map_or(beside, PathBuf::from).join(file);
    if !path.exists() {
        skip(test, &format!("no ../shared/corpus/{file}: real configs are not part of the repository"), false);
        return None;
    }
    Some(path)
}

/// A guest named `android` for a config of the corpus: a busybox rootfs, and a sandbox whose root has what such a host has.
fn android(test: &str, file: &str) -> Option<Guest> {
    let config = corpus(test, file)?;
    let guest = Guest::named("android", test).with_cgroup_view();
    if !guest.busybox(test) {
        return None;
    }
    guest.sandbox.sh("
        mkdir -p /run/root /run/changes/upper /run/changes/work
        mount -t overlay -o lowerdir=/,upperdir=/run/changes/upper,workdir=/run/changes/work overlay /run/root
        for dir in proc sys run tmp; do mount --rbind /$dir /run/root/$dir; done
        mount -t tmpfs -o mode=755 dev /run/root/dev
        cd /run/root/dev
        mknod -m 666 null c 1 3; mknod -m 666 zero c 1 5; mknod -m 666 urandom c 1 9; mknod -m 666 tty c 5 0
        mkdir pts shm socket __properties__
        mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts pts
        ln -s pts/ptmx ptmx
        mkdir -p /run/root/android/data
        mount --move /run/root /
    ");
    for dir in ["data", "dev/pts"] {
        std::fs::create_dir_all(guest.rootfs().join(dir)).unwrap();
    }
    let hook = guest.script("pre-start", "echo $LXC_ROOTFS_PATH > $dir/hooked");
    let options = [
        format!("lxc.rootfs.path={}", guest.rootfs().display()),
        "lxc.hook.pre-start=".into(),
        format!("lxc.hook.pre-start={hook}"),
        "monopod.restart.delay=0ms".into(),
    ];
    let mut words = vec!["-f".to_owned(), config.to_string_lossy().into_owned()];
    words.extend(options.into_iter().flat_map(|option| ["-s".to_owned(), option]));
    words.extend(
        ["--", "/init", "say", "life", ",", "signals", "1", ",", "restart-times", "1", ",", "report", ",", "poweroff"]
            .map(str::to_owned),
    );
    Some(guest.options(&words.iter().map(String::as_str).collect::<Vec<_>>()))
}

/// Boots, is found where other software looks for it, reboots, powers off.
fn boots_reboots_and_powers_off(guest: &Guest) {
    let running = guest.start("");
    for life in 1..=2 {
        wait_until("a life", || guest.results().lines().filter(|line| *line == "ready").count() == life);
        guest.wait_running();
        let tasks = guest.sandbox.sh("cat /sys/fs/cgroup/cpu/lxc/android/tasks");
        let pid = guest.client("info", &["-p", "-H"]).stdout;
        assert!(tasks.lines().any(|task| task == pid.trim()), "{tasks:?} {pid:?}\n{}", guest.logs());
        running.signal(libc::SIGUSR1);
    }
    let ended = running.wait();
    assert_eq!(ended.code, Some(0), "{ended}");
    assert_eq!(guest.file("hooked").trim(), guest.rootfs().to_string_lossy());
    let report = guest.report();
    assert_eq!(report.one("hostname"), "armhf");
    assert_eq!(report.capabilities("CapBnd:") >> 32 & 0b11, 0, "mac_admin and mac_override");
    guest.assert_nothing_left();
}

#[test]
fn halium_legacy_config_boots_reboots_and_powers_off() {
    let test = "halium_legacy_config_boots_reboots_and_powers_off";
    let Some(guest) = android(test, "halium-Halium_lxc-android-2017-05-30-9ca6014.conf") else { return };
    boots_reboots_and_powers_off(&guest);
}

#[test]
fn ubports_legacy_config_boots_reboots_and_powers_off() {
    let test = "ubports_legacy_config_boots_reboots_and_powers_off";
    let Some(guest) = android(test, "halium-ubports_lxc-android-config-2015-09-02-171eafe.conf") else { return };
    boots_reboots_and_powers_off(&guest);
}

#[test]
fn droidian_current_config_boots_reboots_and_powers_off() {
    let test = "droidian_current_config_boots_reboots_and_powers_off";
    let Some(guest) = android(test, "halium-droidian_lxc-android-2023-12-02-a3c548c.conf") else { return };
    boots_reboots_and_powers_off(&guest);
    let report = guest.report();
    for target in ["/dev", "/dev/__properties__", "/dev/socket", "/proc", "/sys", "/data", "/mnt"] {
        assert!(report.mount(target).is_some(), "{target} is not mounted");
    }
    // Optional ones whose source is not there.
    for target in ["/dev/binderfs", "/apex", "/odm"] {
        assert!(report.mount(target).is_none(), "{target} is mounted");
    }
}
