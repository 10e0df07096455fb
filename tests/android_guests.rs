//! Android's own inits, of several versions, on a fake one that behaves as they do.

use crate::support::kernel::{self, Is, Kernel};
use crate::support::{self, android};

/// Boots an Android by hand, without any preset: what every other test of it stands on.
#[test]
fn android_second_stage_boots_and_its_own_powerctl_ends_it() {
    for sdk in android::SDKS {
        let guest = android::guest("second_stage", sdk, "").config(android::STOCK).config(android::second_stage(sdk));
        let running = guest.start("");
        guest.wait_said("booted");
        guest.power(sdk, "shutdown");
        let ended = running.wait();
        assert_eq!(ended.code, Some(0), "{sdk}{ended}\n{}", guest.results());
        assert_eq!(guest.said("poweroff"), 1, "{}", guest.results());
        guest.assert_nothing_left();
    }
}

/// A rootfs made for the first stage: /dev and /sys are its own to mount.
const EMPTY: &str = "
    lxc.autodev = 0
    lxc.mount.entry = proc proc proc nodev,noexec,nosuid 0 0
    monopod.restart.when = never
";

#[test]
fn android_first_stage_is_fatal_from_10_on_where_a_call_fails() {
    for sdk in android::SDKS {
        for lacks_a_directory in [false, true] {
            let guest = android::guest("first_stage", sdk, "no-selinux\npowerctl shutdown").config(EMPTY);
            let guest = guest.config("lxc.init.cmd = /init");
            if lacks_a_directory {
                std::fs::remove_dir(guest.rootfs().join("mnt")).unwrap();
            }
            let ended = guest.run("");
            let fatal = guest.results().contains("fatal: Init encountered errors starting first stage");
            assert_eq!(fatal, sdk >= 29 && lacks_a_directory, "{sdk}{ended}\n{}", guest.results());
            assert_eq!(ended.code, Some(if fatal { 129 } else { 0 }), "{sdk}{ended}\n{}", guest.results());
            assert_eq!(guest.said("booted"), usize::from(!fatal), "{}", guest.results());
            guest.assert_nothing_left();
        }
    }
}

#[test]
fn android_critical_service_that_crashes_reboots_to_where_its_version_goes() {
    for (sdk, target) in [(22, "recovery"), (28, "bootloader"), (30, "bootloader"), (34, "bootloader")] {
        let guest = android::guest("critical", sdk, "critical vold").config(android::STOCK);
        let guest =
            guest.config(android::second_stage(sdk)).config("monopod.restart.budget = 1\nmonopod.restart.delay = 0ms");
        let ended = guest.run("");
        assert_eq!(ended.code, Some(254), "{sdk}{ended}\n{}", guest.results());
        assert_eq!(guest.said(&format!("reboot {target}")), 2, "{}", guest.results());
        guest.assert_nothing_left();
    }
}

#[test]
fn android_without_cap_sys_boot_stops_by_sigterm_from_9_on() {
    for sdk in [28, 30, 34] {
        let guest = android::guest("sigterm", sdk, "stubborn 2\norphans 3\nhold completed").config(android::STOCK);
        let guest =
            guest.config(android::second_stage(sdk)).config("lxc.cap.drop = sys_boot\nlxc.signal.halt = SIGTERM");
        let running = guest.start("");
        guest.wait_said("holds completed");
        guest.go("completed");
        guest.wait_said_times("booted", 1);
        let stopped = guest.client("stop", &["-t", "20"]);
        assert_eq!(stopped.code, Some(0), "{stopped}");
        assert_eq!(running.wait().code, Some(0));
        assert_eq!(guest.said("powerctl shutdown,container"), 1, "{}", guest.results());
        assert_eq!(guest.said("exit instead of reboot"), 1, "{}", guest.results());
        guest.assert_nothing_left();
    }
}

#[test]
fn android_finds_stale_properties_it_crashes() {
    for sdk in android::SDKS {
        let guest = android::guest("stale", sdk, "").config("lxc.autodev = 0").config(android::second_stage(sdk));
        let guest = guest
            .config("lxc.mount.entry = {dir}/dev dev none bind 0 0\nlxc.mount.entry = proc proc proc defaults 0 0");
        let place = guest.dir().join("dev/__properties__");
        std::fs::create_dir_all(if sdk <= 22 { place.parent().unwrap() } else { &place }).unwrap();
        let file = if sdk <= 22 { place } else { place.join("u:object_r:default_prop:s0") };
        std::fs::write(file, [0; 4096]).unwrap();
        // 5.1 mounts a /dev of its own, unless it is Halium's.
        let conf = guest.rootfs().join("android.conf");
        let text = std::fs::read_to_string(&conf).unwrap();
        std::fs::write(conf, text + "flavor halium\n").unwrap();
        let ended = guest.run("");
        assert_eq!(ended.code, Some(128 + libc::SIGSEGV), "{sdk}{ended}\n{}", guest.results());
        guest.assert_nothing_left();
    }
}

/// What Droidian and its like share with their host, where it stays when the container is gone.
const SHARED: &str = "
    lxc.autodev = 0
    lxc.mount.entry = tmpfs dev tmpfs nosuid 0 0
    lxc.mount.entry = /dev/__properties__ dev/__properties__ none bind,create=dir 0 0
    lxc.mount.entry = /dev/socket dev/socket none bind,create=dir 0 0
    lxc.mount.entry = /apex apex none rbind,optional 0 0
    lxc.mount.entry = proc proc proc nodev,noexec,nosuid 0 0
    lxc.mount.entry = sys sys sysfs nodev,noexec,nosuid 0 0
    monopod.preset = android
    monopod.restart.delay = 0ms
";

/// What lives of other supervisors, or of none, have left; the first life finds it, and some later ones.
const DIRT: &str = "
    mkdir -p /dev/__properties__ /dev/socket /apex
    for node in binder hwbinder vndbinder; do ln -sfn /dev/binderfs/$node /dev/$node; done
    head -c 131072 /dev/zero >/dev/__properties__/u:object_r:default_prop:s0
    echo >/dev/__properties__/properties_serial
    chmod 444 /dev/__properties__/*
    for i in 1 2; do
        mkdir -p /apex/com.android.runtime /apex/com.android.art
        mount -t tmpfs apex /apex/com.android.runtime
        mkdir -p /apex/com.android.runtime/deep
        mount --bind /dev/socket /apex/com.android.art
    done
    for hierarchy in /sys/fs/cgroup/*/; do
        mkdir -p $hierarchy/lxc/$name/apps/uid_10001/pid_77
    done
";

/// Number of rounds; the whole hundred is for `MONOPOD_ROUNDS=100`.
fn rounds() -> usize {
    std::env::var("MONOPOD_ROUNDS").map_or(24, |rounds| rounds.parse().unwrap())
}

#[test]
fn dirty_leftovers_every_start_is_as_the_first_and_nothing_accumulates() {
    for sdk in [28, 34] {
        let guest =
            android::guest("dirty", sdk, "flavor halium\norphans 2\nstubborn 1").config(SHARED).with_cgroup_view();
        android::machine(&guest);
        guest.sandbox.sh("mkdir -p /dev/__properties__ /dev/socket /apex");
        guest.state_before();
        let files = || guest.sandbox.sh("find /dev/__properties__ /dev/socket /apex | sort; ls /dev");
        let mut first = None;
        for round in 1..=rounds() / 2 {
            if round % 2 == 1 {
                guest.sandbox.sh(&format!("name={}\n{DIRT}", guest.name()));
            }
            let mut running = guest.start("");
            guest.wait_said_times("booted", round);
            if round % 3 == 1 {
                // The dirtiest end: nobody is left who could clean up.
                running.signal(libc::SIGKILL);
                support::wait_until("the guest's death", || guest.pids().is_empty());
            } else {
                let stopped = guest.client("stop", &[]);
                assert_eq!(stopped.code, Some(0), "round {round}{stopped}");
                support::wait_until("the supervisor's end", || !running.is_running());
                let now = files();
                assert_eq!(first.get_or_insert_with(|| now.clone()), &now, "round {round}");
                guest.assert_nothing_left();
            }
        }
        assert_eq!(guest.said("booted"), rounds() / 2, "{}", guest.results());
    }
}

#[test]
fn guest_that_reboots_again_and_again_leaves_its_supervisor_as_it_was() {
    let times = rounds();
    let options = format!("flavor halium\npowerctl reboot\npowerctl-times {times}");
    let guest = android::guest("reboots", 30, &options).config(SHARED).with_cgroup_view();
    let guest = guest.config(&format!("monopod.restart.budget = {}", times + 1));
    android::machine(&guest);
    guest.sandbox.sh("mkdir -p /dev/__properties__ /dev/socket /apex");
    let running = guest.start("");
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", running.pid())).unwrap().count();
    let settled = |times| {
        guest.wait_said_times("booted", times);
        assert_eq!(guest.client("wait", &["-s", "READY", "-t", "20"]).code, Some(0), "{}", guest.logs());
    };
    settled(times + 1);
    let (many, groups) = (descriptors(), support::leaks::cgroups(&guest).len());
    assert!(guest.set_property("sys.powerctl", "reboot"));
    settled(times + 2);
    // A client's connection may not be forgotten yet.
    support::wait_until("no more descriptors than before", || descriptors() <= many);
    assert_eq!(support::leaks::cgroups(&guest).len(), groups);
    assert!(guest.set_property("sys.powerctl", "shutdown"));
    assert_eq!(running.wait().code, Some(0));
    guest.assert_nothing_left();
}

/// Everything that the preset does at once, on an image that knows of no container.
const PRESET: &str = "
    lxc.autodev = 0
    lxc.mount.entry = tmpfs dev tmpfs nosuid 0 0
    lxc.mount.entry = proc proc proc nodev,noexec,nosuid 0 0
    lxc.mount.entry = sys sys sysfs nodev,noexec,nosuid 0 0
    monopod.preset = android
    monopod.devices = android
    monopod.restart.delay = 0ms
    monopod.ready.failed = stop
";

#[test]
fn preset_boots_every_android_is_ready_stops_it_by_its_own_ways_and_starts_it_again() {
    for sdk in android::SDKS {
        for config in ["", "lxc.cap.drop = sys_boot"] {
            if sdk < 27 && !config.is_empty() {
                // It could not even end: reboot(2) is all it knows.
                continue;
            }
            let guest = android::guest("preset", sdk, "stubborn 1\norphans 2\nown-proc").config(PRESET).config(config);
            let guest = guest.options(&["-d"]);
            for life in 1..=2 {
                let started = guest.run("");
                assert_eq!(started.code, Some(0), "{sdk} {config}{started}\n{}", guest.results());
                let ready = guest.client("wait", &["-s", "READY", "-t", "0"]);
                assert_eq!(ready.code, Some(0), "{ready}");
                guest.wait_said_times("booted", life);
                let stopped = guest.client("stop", &[]);
                assert_eq!(stopped.code, Some(0), "{sdk} {config}{stopped}\n{}", guest.results());
                support::wait_until("the supervisor's end", || guest.sandbox.processes().is_empty());
            }
            let how = if config.is_empty() { "powerctl shutdown" } else { "powerctl shutdown,container" };
            assert_eq!(guest.said(how), 2, "{sdk}\n{}", guest.results());
            assert_eq!(guest.said("services stopped"), 2, "{sdk}\n{}", guest.results());
            guest.assert_nothing_left();
        }
    }
}

#[test]
fn boot_arguments_of_the_config_become_properties() {
    if support::emulated("boot_arguments_of_the_config_become_properties", "its system calls are not the kernel's") {
        return;
    }
    for sdk in android::SDKS {
        let guest = android::guest("boot", sdk, "powerctl shutdown").config(PRESET);
        let guest = guest.config("monopod.android.boot.hardware = fake\nmonopod.android.boot.slot_suffix = _b");
        let ended = guest.run("");
        assert_eq!(ended.code, Some(0), "{sdk}{ended}\n{}", guest.results());
        for line in ["prop ro.boot.hardware=fake", "prop ro.boot.slot_suffix=_b", "prop ro.hardware=fake"] {
            assert_eq!(guest.said(line), 1, "{sdk} {line}\n{}", guest.results());
        }
        guest.assert_nothing_left();
    }
}

#[test]
fn reboot_arguments_of_every_android_find_their_rules() {
    // By the call itself; where init may not make it, or nobody hears it, by what it writes down before.
    let deaf = || Kernel::new().answer(libc::SYS_seccomp, &[Is::Any(1, NEW_LISTENER)], libc::EINVAL);
    for sdk in android::SDKS {
        for (rights, kernel) in [("", None), ("lxc.cap.drop = sys_boot", None), ("", Some(deaf()))] {
            if sdk < 28 && !rights.is_empty() {
                continue;
            }
            let mut guest = android::guest("arguments", sdk, "misc /misc").config(PRESET).config(rights);
            if let Some(kernel) = kernel {
                if !kernel::available("reboot_arguments_of_every_android_find_their_rules") {
                    continue;
                }
                guest.set_kernel(kernel);
            }
            let guest = guest.config("monopod.reboot.recovery = stop\nmonopod.android.misc = {rootfs}/misc");
            std::fs::write(guest.rootfs().join("misc"), [0; 4096]).unwrap();
            let running = guest.start("");
            guest.wait_said_times("booted", 1);
            guest.power(sdk, "reboot,bootloader");
            guest.wait_said_times("booted", 2);
            guest.power(sdk, "reboot,recovery");
            let ended = running.wait();
            assert_eq!(ended.code, Some(0), "{sdk} {rights}{ended}\n{}", guest.results());
            assert_eq!(guest.said("booted"), 2, "{sdk} {rights}\n{}", guest.results());
            guest.assert_nothing_left();
        }
    }
}

/// SECCOMP_FILTER_FLAG_NEW_LISTENER, without which a filter cannot be listened to.
const NEW_LISTENER: u32 = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER as u32;

#[test]
fn android_that_never_completes_its_boot_is_not_ready() {
    for (sdk, step) in [(22, "coldboot"), (28, "socket"), (30, "coldboot"), (34, "completed")] {
        let guest = android::guest("ready", sdk, &format!("hold {step}")).config(PRESET);
        let guest = guest.config("monopod.ready = coldboot property_service boot_completed");
        let running = guest.start("");
        guest.wait_said(&format!("holds {step}"));
        assert_ne!(guest.client("wait", &["-s", "READY", "-t", "0"]).code, Some(0));
        guest.go(step);
        let waited = guest.client("wait", &["-s", "READY", "-t", "20"]);
        assert_eq!(waited.code, Some(0), "{sdk}{waited}\n{}", guest.results());
        assert_eq!(guest.client("stop", &[]).code, Some(0));
        assert_eq!(running.wait().code, Some(0));
    }
}
