//! Android's own inits, of several versions, on a fake one that behaves as they do.

use crate::support::android;

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
