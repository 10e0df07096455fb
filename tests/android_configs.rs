//! Configs that phones run today, unchanged, paths included: each starts where its own software would start it, on the fake
//! init of an Android that fits, with hooks that only do what the real ones must.

use crate::support::realtime::Budget;
use crate::support::{Guest, Running, android, program, skip};
use std::fs;
use std::path::{Path, PathBuf};

/// One config, and the machine that it is made for.
struct Case {
    /// Its name in the corpus, without `.conf`.
    file: &'static str,
    /// The container's name.
    name: &'static str,
    /// Where the config has its root directory.
    rootfs: &'static str,
    sdk: u32,
    /// The fake init's options.
    options: &'static str,
    /// Words of the command line beside `-f`.
    words: &'static [&'static str],
    /// The hooks that it names.
    hooks: &'static [&'static str],
    /// What its host does beforehand.
    host: &'static str,
}

const ANDROID: &str = "/var/lib/lxc/android/rootfs";
const PRE_START: &str = "/var/lib/lxc/android/pre-start.sh";
const POST_STOP: &str = "/var/lib/lxc/android/post-stop.sh";
/// What shares its properties and sockets with its host.
const SHARED: &str = "mkdir -p /android/data/property /dev/socket /dev/__properties__
    touch /android/data/property/persistent_properties";

const CASES: [Case; 10] = [
    Case {
        file: "halium-Halium_lxc-android-2017-05-30-9ca6014",
        name: "android",
        rootfs: ANDROID,
        sdk: 22,
        options: "flavor halium",
        words: &[],
        hooks: &[PRE_START],
        host: "",
    },
    Case {
        file: "halium-ubports_lxc-android-config-2015-09-02-171eafe",
        name: "android",
        rootfs: ANDROID,
        sdk: 22,
        options: "flavor halium",
        words: &["--", "/init"],
        hooks: &[PRE_START],
        host: "",
    },
    Case {
        file: "halium-droidian_lxc-android-2023-12-02-a3c548c",
        name: "android",
        rootfs: ANDROID,
        sdk: 30,
        options: "flavor halium",
        words: &[],
        hooks: &[PRE_START],
        host: SHARED,
    },
    Case {
        file: "halium-FuriLabs_lxc-android-2024-05-03-52a84ae",
        name: "android",
        rootfs: ANDROID,
        sdk: 34,
        options: "flavor halium",
        words: &[],
        hooks: &[PRE_START],
        host: SHARED,
    },
    Case {
        file: "luneos-meta-smartphone-2013-08-03-ed0a010e",
        name: "android",
        rootfs: ANDROID,
        sdk: 22,
        options: "flavor halium",
        words: &["--", "/init"],
        hooks: &[PRE_START, POST_STOP],
        host: "",
    },
    Case {
        file: "luneos-meta-smartphone-2020-06-29-d6ce857a",
        name: "android",
        rootfs: ANDROID,
        sdk: 25,
        options: "flavor halium",
        words: &["--", "/init"],
        hooks: &[PRE_START, POST_STOP],
        host: "",
    },
    // lxc-create wrote the first lines of redroid's config; here the command line does.
    Case {
        file: "redroid-doc-deploy_lxc",
        name: "redroid11",
        rootfs: "/var/lib/lxc/redroid11/rootfs",
        sdk: 30,
        options: "flavor redroid",
        words: &["-s", "lxc.rootfs.path=/var/lib/lxc/redroid11/rootfs", "-s", "lxc.console.path=none"],
        hooks: &[],
        host: "mkdir -p /run/data-redroid11/property; touch /run/data-redroid11/property/persistent_properties",
    },
    // Its hook makes the groups up to the container's before anything else, or no budget of theirs could be set.
    Case {
        file: "sharkbait-KireinaHoro-2018-05-26-36fdd48",
        name: "android",
        rootfs: ANDROID,
        sdk: 25,
        options: "",
        words: &[],
        hooks: &[PRE_START, POST_STOP],
        host: "mkdir -p /sys/fs/cgroup/cpu/lxc
            ! [ -e /sys/fs/cgroup/cpu/cpu.rt_runtime_us ] || for group in . lxc; do
                echo 950000 >/sys/fs/cgroup/cpu/$group/cpu.rt_runtime_us
            done",
    },
    Case {
        file: "anbox-rendered-lxc3",
        name: "anbox",
        rootfs: "/var/lib/anbox/rootfs",
        sdk: 25,
        options: "",
        words: &[],
        hooks: &[],
        host: "mkdir -p /var/lib/anbox/logs /var/lib/anbox/data /var/lib/anbox/devices; touch /var/lib/anbox/logs/console.log
            ln /var/lib/anbox/rootfs/init /var/lib/anbox/rootfs/anbox-init.sh
            ip link add anbox0 type bridge; ip link set anbox0 up",
    },
    Case {
        file: "waydroid-rendered-lxc4-config",
        name: "waydroid",
        rootfs: "/var/lib/waydroid/rootfs",
        sdk: 33,
        options: "flavor halium",
        words: &[],
        hooks: &["/usr/lib/waydroid/data/scripts/waydroid-post-stop.sh"],
        host: "mkdir -p /var/lib/waydroid/lxc/waydroid /vendor /var/lib/waydroid/host-permissions
            cp $corpus/waydroid-rendered-config_nodes.conf /var/lib/waydroid/lxc/waydroid/config_nodes
            cp $corpus/waydroid.seccomp /var/lib/waydroid/lxc/waydroid/waydroid.seccomp
            touch /var/lib/waydroid/lxc/waydroid/config_session
            ip link add waydroid0 type bridge; ip link set waydroid0 up",
    },
];

/// A file of the corpus of real configs, which lies beside the checkout where it is available.
fn corpus(test: &str, file: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus");
    let path = std::env::var_os("MONOPOD_CORPUS").map_or(beside, PathBuf::from).join(format!("{file}.conf"));
    if !path.exists() {
        skip(test, &format!("no ../shared/corpus/{file}.conf: real configs are not part of the repository"), false);
        return None;
    }
    Some(path)
}

/// A guest for a config: in a sandbox whose root directory is the machine's with what such a host has.
fn prepare(test: &str, case: &Case, preset: bool) -> Option<Guest> {
    let config = corpus(test, case.file)?;
    let mut guest = Guest::named(case.name, test).with_cgroup_view();
    guest.sandbox.isolate_network();
    let guest = android::prepare(guest, case.sdk, case.options);
    for folder in ["dev/pts", "mnt_extra", "var", "run", "vendor_extra", "vendor/etc/host-permissions"] {
        fs::create_dir_all(guest.rootfs().join(folder)).unwrap();
    }
    // Android's own hooks make the root directory anew from a ramdisk, or empty what it shares with the host. Under the
    // preset nobody has to.
    let clean = match preset {
        true => "",
        false => "rm -rf $LXC_ROOTFS_PATH/dev $LXC_ROOTFS_PATH/apex/* /dev/__properties__/* /dev/socket/*",
    };
    let hook = guest.script(
        "hook",
        &format!(
            "
        echo $3 $LXC_ROOTFS_PATH >> $dir/hooked
        if [ $3 = pre-start ]; then
            {clean}
            mkdir -p $LXC_ROOTFS_PATH/dev/pts
            {}
        fi",
            case.host
        ),
    );
    let hooks: String =
        case.hooks.iter().map(|path| format!("mkdir -p $(dirname {path}); ln -s {hook} {path}\n")).collect();
    android::machine(&guest);
    let (inside, host) = (case.rootfs, case.host);
    let folder = config.parent().unwrap().display();
    guest.sandbox.sh(&format!(
        "
        corpus={folder}
        mkdir -p {inside}
        mount --bind {} {inside}
        {hooks}
        {host}",
        guest.rootfs().display()
    ));
    // The one path that its file leaves to a shell.
    let text = fs::read_to_string(config).unwrap().replace("$HOME", "/run");
    let path = guest.dir().join(case.file);
    fs::write(&path, &text).unwrap();
    let mut words = vec!["-f", path.to_str().unwrap(), "-s", "monopod.restart.delay=0ms"];
    if case.file.starts_with("anbox") && !may_raise_limits() {
        words.extend(["-s", "lxc.prlimit.nice="]);
    }
    if preset {
        words.extend(["-s", "monopod.preset=android"]);
    }
    if is_emulated() && text.contains("veth") {
        // qemu-user knows neither links nor filters.
        words.extend(["-s", "lxc.net.0.type=empty", "-s", "lxc.seccomp.profile=", "-s", "lxc.seccomp.allow_nesting=0"]);
    }
    words.extend(case.words);
    Some(guest.options(&words))
}

fn is_emulated() -> bool {
    program().len() > 1
}

/// CAP_SYS_RESOURCE, which not every machine for tests gives to its root.
fn may_raise_limits() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    u64::from_str_radix(mask.trim(), 16).unwrap() >> 24 & 1 == 1
}

fn case(test: &str, file: &str, preset: bool) -> Option<(Guest, &'static Case)> {
    static ALL: [Case; 10] = CASES;
    let case = ALL.iter().find(|case| case.file.starts_with(file)).unwrap();
    Some((prepare(test, case, preset)?, case))
}

/// Boots, is found where other software looks for it, reboots, powers off.
fn boots_reboots_and_powers_off(guest: &Guest, case: &Case) {
    let running = guest.start("");
    for life in 1..=2 {
        booted(guest, life);
        guest.power(case.sdk, if life == 1 { "reboot" } else { "shutdown" });
    }
    let ended = running.wait();
    assert_eq!(ended.code, Some(0), "{ended}\n{}", guest.results());
    let pre_starts = case.hooks.iter().filter(|hook| **hook == PRE_START).count() * 2;
    let line = format!("pre-start {}", case.rootfs);
    assert_eq!(
        guest.file("hooked").lines().filter(|each| *each == line).count(),
        pre_starts,
        "{}",
        guest.file("hooked")
    );
    guest.assert_nothing_left();
}

/// Waits until it has booted this often, and looks where other software does.
fn booted(guest: &Guest, life: usize) {
    guest.wait_said_times("booted", life);
    guest.wait_running();
    let pid = guest.client("info", &["-p", "-H"]).stdout;
    let tasks = guest.sandbox.sh(&format!("cat /sys/fs/cgroup/cpu/lxc/{}/tasks", guest.name()));
    assert!(tasks.lines().any(|task| task == pid.trim()), "{tasks:?} {pid:?}\n{}", guest.logs());
}

macro_rules! boots_unchanged {
    ($($test:ident $file:literal;)+) => {$(
        #[test]
        fn $test() {
            let _budget = $file.starts_with("sharkbait").then(Budget::take);
            if let Some((guest, case)) = case(stringify!($test), $file, false) {
                boots_reboots_and_powers_off(&guest, case);
            }
        }
    )+};
}

boots_unchanged! {
    halium_config_boots_reboots_and_powers_off "halium-Halium";
    ubports_config_boots_reboots_and_powers_off "halium-ubports";
    furios_config_boots_reboots_and_powers_off "halium-FuriLabs";
    luneos_config_of_2013_boots_reboots_and_powers_off "luneos-meta-smartphone-2013";
    luneos_config_of_2020_boots_reboots_and_powers_off "luneos-meta-smartphone-2020";
    sharkbait_config_boots_reboots_and_powers_off "sharkbait";
    anbox_config_boots_reboots_and_powers_off "anbox";
}

#[test]
fn droidian_config_boots_reboots_and_powers_off() {
    let Some((guest, case)) = case("droidian_config_boots_reboots_and_powers_off", "halium-droidian", false) else {
        return;
    };
    boots_reboots_and_powers_off(&guest, case);
    let report = guest.report();
    assert_eq!(report.one("hostname"), "armhf");
    assert_eq!(report.capabilities("CapBnd:") >> 32 & 0b11, 0, "mac_admin and mac_override");
    for target in ["/dev", "/dev/__properties__", "/dev/socket", "/proc", "/sys", "/data", "/mnt"] {
        assert!(report.mount(target).is_some(), "{target} is not mounted");
    }
    // Optional ones whose source is not there.
    for target in ["/dev/binderfs", "/odm"] {
        assert!(report.mount(target).is_none(), "{target} is mounted");
    }
}

#[test]
fn configs_under_the_preset_need_no_hook_that_cleans_up() {
    for file in ["halium-Halium", "halium-droidian", "halium-FuriLabs", "luneos-meta-smartphone-2020"] {
        let Some((guest, case)) = case("configs_under_the_preset_need_no_hook_that_cleans_up", file, true) else {
            return;
        };
        boots_reboots_and_powers_off(&guest, case);
    }
}

#[test]
fn redroid_config_boots_with_boot_arguments_on_its_command_line() {
    let Some((guest, case)) = case("redroid_config_boots_with_boot_arguments_on_its_command_line", "redroid", false)
    else {
        return;
    };
    boots_reboots_and_powers_off(&guest, case);
    assert_eq!(guest.said("prop ro.boot.hardware=redroid"), 2, "{}", guest.results());
    assert_eq!(guest.said("prop ro.boot.redroid_gpu_mode=guest"), 2, "{}", guest.results());
}

#[test]
fn waydroid_config_boots_and_stops_by_sigterm() {
    let Some((guest, case)) = case("waydroid_config_boots_and_stops_by_sigterm", "waydroid", false) else { return };
    let running = guest.start("");
    booted(&guest, 1);
    if !is_emulated() {
        has_its_link_and_filter(&guest);
    }
    stopped(&guest, running);
    // Its list of capabilities to keep has no sys_boot, which is how Android knows that it is in a container.
    assert_eq!(guest.said("powerctl shutdown,container"), 1, "{}", guest.results());
    assert_eq!(guest.file("hooked"), format!("post-stop {}\n", case.rootfs));
    guest.assert_nothing_left();
}

/// What Waydroid's config asks for beside a container: a link on its bridge, and its policy.
fn has_its_link_and_filter(guest: &Guest) {
    let init = guest.init();
    let link = guest.sandbox.sh(&format!("nsenter -t {init} -n ip -o link show eth0"));
    assert!(link.contains("00:16:3e:f9:d3:03") && link.contains("UP"), "{link}");
    let ports = guest.sandbox.sh("ip -o link show master waydroid0");
    assert_eq!(ports.lines().count(), 1, "{ports}");
    let status = fs::read_to_string(format!("/proc/{init}/status")).unwrap();
    assert!(status.contains("Seccomp:\t2") && status.contains("NoNewPrivs:\t1"), "{status}");
}

fn stopped(guest: &Guest, running: Running) {
    let stopped = guest.client("stop", &["-t", "20"]);
    assert_eq!(stopped.code, Some(0), "{stopped}");
    let ended = running.wait();
    assert_eq!(ended.code, Some(0), "{ended}");
}
