//! What follows a reboot of the guest: `monopod.reboot.*`, its argument, `monopod.restart.exhausted`.
//!
//! The argument comes from what Android writes down before it reboots. No machine is rebooted: `monopod.host.reboot` is a
//! script in each test, and the sandbox has no reboot(8).

use crate::support::Guest;
use std::fs;
use std::os::unix::fs::symlink;

const BOOTSTAT: &str = "metadata/bootstat/persist.sys.boot.reason";

/// A guest with the directories that Android keeps its reasons in, which starts again at once.
fn guest(label: &str, config: &str) -> Guest {
    let guest = Guest::new(label).config("monopod.restart.delay = 0ms\nmonopod.restart.budget = 3").config(config);
    for directory in ["metadata/bootstat", "data/property"] {
        fs::create_dir_all(guest.rootfs().join(directory)).unwrap();
    }
    guest.sandbox.sh("[ ! -e /sbin/reboot ] || mount --bind /bin/false /sbin/reboot");
    guest
}

/// The same; what would reboot the machine writes its words to `rebooted`.
fn with_host_reboot(label: &str, config: &str) -> Guest {
    let guest = guest(label, config);
    let script = guest.script("reboot", "for word in host \"$@\"; do echo \"[$word]\" >> $dir/rebooted; done");
    guest.config(&format!("monopod.host.reboot = {script}"))
}

/// Steps of a life that reboots with an argument: the first one, and a second that ends well.
fn reboots_once(reason: &str) -> String {
    format!("say life , write /{BOOTSTAT} {reason} , restart-times 1 , exit 0")
}

#[test]
fn rule_of_the_argument_decides_what_follows() {
    // (config, reason, code, lives)
    let rows = [
        ("monopod.reboot.recovery = stop", "reboot,recovery", 0, 1),
        ("monopod.reboot.recovery = stop", "reboot,bootloader", 0, 2),
        ("monopod.reboot.userrequested = stop", "reboot,userrequested,shell", 0, 1),
        ("monopod.reboot.* = stop", "reboot", 0, 1),
        ("monopod.reboot.recovery = restart\nmonopod.restart.when = never", "reboot,recovery", 0, 2),
        ("monopod.reboot.recovery = restart\nmonopod.restart.when = never", "reboot,other", 129, 1),
        ("monopod.preset = android", "reboot,recovery", 0, 2),
    ];
    for (config, reason, code, lives) in rows {
        let guest = guest("reboot_rule", config);
        let ended = guest.run(&reboots_once(reason));
        assert_eq!(ended.code, Some(code), "{config}, {reason}{ended}");
        assert_eq!(guest.results().lines().filter(|line| *line == "life").count(), lives, "{config}, {reason}{ended}");
        guest.assert_nothing_left();
    }
}

#[test]
fn rule_hears_what_the_guest_says_with_the_call_itself() {
    if !crate::guard::available("rule_hears_what_the_guest_says_with_the_call_itself") {
        return;
    }
    let guest = guest("reboot_heard", "monopod.reboot.fastboot = stop\nmonopod.reboot.recovery = stop");
    // What it wrote down says something else.
    let ended = guest.run(&format!("say life , write /{BOOTSTAT} reboot,recovery , restart-for other"));
    assert_eq!(ended.code, Some(254), "{ended}");
    let ended = guest.run("restart-for fastboot");
    assert_eq!(ended.code, Some(0), "{ended}");
    assert!(guest.file("log").contains("init rebooted (fastboot)"), "{}", guest.logs());
}

#[test]
fn rule_hooks_are_told_the_argument_and_what_follows() {
    for (action, target) in [("stop", "stop"), ("restart", "reboot"), ("host-reboot", "stop")] {
        let mut guest = with_host_reboot("reboot_told", &format!("monopod.reboot.recovery = {action}"));
        for kind in ["stop", "post-stop"] {
            let script = guest.script(kind, &format!("echo {kind} $LXC_TARGET $MONOPOD_REBOOT_ARG >> $dir/told"));
            guest = guest.config(&format!("lxc.hook.{kind} = {script}"));
        }
        guest.run(&reboots_once("reboot,recovery"));
        let first = format!("stop {target} recovery\npost-stop {target} recovery\n");
        let told = guest.file("told");
        // The second life ends without a word.
        let second = if action == "restart" { "stop stop\npost-stop stop\n" } else { "" };
        assert_eq!(told, first + second, "{action}");
        assert!(guest.file("log").contains("init rebooted (recovery)"), "{}", guest.logs());
        guest.assert_nothing_left();
    }
}

#[test]
fn rule_hook_decides_by_its_code() {
    for (code, lives) in [(0, 2), (1, 1)] {
        let guest = guest("reboot_hook", "monopod.reboot.* = hook");
        let script = guest.script("asked", &format!("echo $MONOPOD_REBOOT_ARG >> $dir/asked.with; exit {code}"));
        let guest = guest.config(&format!("monopod.hook.reboot = {script}"));
        let ended = guest.run(&reboots_once("reboot,quiescent"));
        assert_eq!(ended.code, Some(0), "{ended}");
        assert_eq!(guest.results().lines().filter(|line| *line == "life").count(), lives, "{ended}");
        assert_eq!(guest.file("asked.with"), "quiescent\n");
        guest.assert_nothing_left();
    }
}

#[test]
fn rule_that_restarts_is_cancelled_by_a_post_stop_hook_that_fails() {
    let guest = guest("reboot_cancel", "monopod.reboot.* = restart\nlxc.hook.post-stop = /bin/false");
    let ended = guest.run("say life , restart");
    assert_eq!((ended.code, guest.results().as_str()), (Some(0), "life\n"), "{ended}");
    assert!(guest.file("log").contains("the restart is cancelled"), "{}", guest.logs());
}

#[test]
fn host_reboots_when_everything_is_cleaned_up() {
    let cases = [
        ("monopod.reboot.recovery = host-reboot-arg", "reboot,recovery", "[host]\n[recovery]\n"),
        ("monopod.reboot.recovery = host-reboot", "reboot,recovery", "[host]\n"),
        ("monopod.reboot.* = host-reboot-arg", "reboot", "[host]\n"),
        // Neither an option of the host's program nor anything that a shell would look at.
        ("monopod.reboot.* = host-reboot-arg", "reboot,--poweroff", "[host]\n"),
        ("monopod.reboot.* = host-reboot-arg", "reboot,$(touch$IFS/x);a", "[host]\n[$(touch$IFS/x);a]\n"),
    ];
    for (config, reason, words) in cases {
        let guest = with_host_reboot("host_reboot", config);
        let script = guest.script("after", "echo post-stop >> $dir/rebooted");
        let guest = guest.config(&format!("lxc.hook.post-stop = {script}"));
        let ended = guest.run(&format!("write /{BOOTSTAT} {reason} , restart"));
        assert_eq!(ended.code, Some(129), "{config}, {reason}{ended}");
        assert_eq!(guest.file("rebooted"), format!("post-stop\n{words}"), "{config}, {reason}{ended}");
        guest.assert_nothing_left();
    }
}

#[test]
fn host_reboot_through_a_shell_keeps_the_argument_one_word() {
    let guest = with_host_reboot("host_reboot_shell", "monopod.reboot.* = host-reboot-arg");
    let script = guest.dir().join("reboot").display().to_string();
    let guest = guest.config(&format!("monopod.host.reboot = {script} \"by shell\""));
    let ended = guest.run(&format!("write /{BOOTSTAT} reboot,a;echo , restart"));
    assert_eq!(guest.file("rebooted"), "[host]\n[by shell]\n[a;echo]\n", "{ended}");
}

#[test]
fn host_reboot_that_fails_is_a_failure_of_ours() {
    let guest = guest("host_reboot_fails", "monopod.reboot.* = host-reboot\nmonopod.host.reboot = /bin/false");
    let ended = guest.run("restart");
    assert_eq!(ended.code, Some(255), "{ended}");
    assert!(ended.stderr.contains("/bin/false exited with code 1"), "{ended}");
    guest.assert_nothing_left();
}

#[test]
fn exhausted_budget_reboots_the_host_if_told_so() {
    for (word, words) in [("host-reboot", "[host]\n"), ("host-reboot-arg", "[host]\n[bootloader]\n"), ("stop", "")] {
        let config = format!("monopod.preset = android\nmonopod.restart.exhausted = {word}");
        let guest = with_host_reboot("exhausted", &config);
        let ended = guest.run(&format!("say life , write /{BOOTSTAT} reboot,bootloader , restart"));
        assert_eq!(ended.code, Some(254), "{word}{ended}");
        assert_eq!(guest.file("rebooted"), words, "{word}{ended}");
        guest.assert_nothing_left();
    }
}

#[test]
fn exit_without_the_right_to_reboot_means_what_was_written_down() {
    // (reason, lives, code)
    for (reason, lives, code) in [("reboot,shell", 2, 9), ("shutdown,userrequested", 1, 0), ("?", 1, 0)] {
        let guest = guest("exits", "monopod.preset = android\nlxc.cap.drop = sys_boot");
        let steps = format!("say life , write /{BOOTSTAT} {reason} , exit-times 1 0 , exit 9");
        let ended = guest.run(&steps);
        assert_eq!(ended.code, Some(code), "{reason}{ended}");
        assert_eq!(guest.results().lines().filter(|line| *line == "life").count(), lives, "{reason}{ended}");
    }
    let guest = guest("exits_may", "monopod.preset = android");
    let ended = guest.run(&format!("write /{BOOTSTAT} reboot,shell , exit 0"));
    assert_eq!(ended.code, Some(0), "with the right an exit is an exit{ended}");
}

#[test]
fn argument_is_found_wherever_this_image_writes_it() {
    let property = b"\x0a\x29\x0a\x17persist.sys.boot.reason\x12\x0ereboot,quiet,1";
    let old = "data/property/persist.sys.boot.reason";
    for (file, steps) in [
        ("", format!("write /{old} reboot,quiet,1")),
        ("new", "rename /new /data/property/persistent_properties".into()),
    ] {
        let guest = guest("reason_places", "monopod.reboot.quiet = stop\nmonopod.restart.when = always");
        if !file.is_empty() {
            fs::write(guest.rootfs().join(file), property).unwrap();
        }
        let ended = guest.run(&format!("{steps} , restart"));
        assert_eq!(ended.code, Some(0), "{steps}{ended}");
    }
    let guest = guest("reason_misc", "monopod.reboot.recovery = stop\nmonopod.android.misc = {rootfs}/misc");
    fs::write(guest.rootfs().join("misc"), [0; 2048]).unwrap();
    let ended = guest.run("write /misc boot-recovery , restart");
    assert_eq!(ended.code, Some(0), "{ended}");
}

#[test]
fn argument_of_an_earlier_life_counts_for_nothing() {
    let guest = guest("reason_old", "monopod.reboot.recovery = stop\nmonopod.android.misc = {rootfs}/misc");
    fs::write(guest.rootfs().join(BOOTSTAT), "reboot,recovery").unwrap();
    fs::write(guest.rootfs().join("misc"), "boot-recovery").unwrap();
    let ended = guest.run("say life , restart-times 1 , exit 7");
    assert_eq!(ended.code, Some(7), "{ended}");
}

#[test]
fn argument_in_a_trap_is_not_read() {
    for trap in ["fifo", "link", "directory", "huge"] {
        let guest = guest("reason_trap", "monopod.reboot.recovery = stop");
        let (secret, place) = (guest.dir().join("secret"), guest.rootfs().join("trap"));
        fs::write(&secret, "reboot,recovery").unwrap();
        match trap {
            "fifo" => drop(guest.sandbox.sh(&format!("mkfifo {}", place.display()))),
            "link" => symlink(secret, place).unwrap(),
            "directory" => fs::create_dir(place).unwrap(),
            _ => fs::File::create(place).unwrap().set_len(1 << 40).unwrap(),
        }
        let ended = guest.run(&format!("say life , rename /trap /{BOOTSTAT} , restart-times 1 , exit 7"));
        assert_eq!(ended.code, Some(7), "{trap}{ended}");
        guest.assert_nothing_left();
    }
}

#[test]
fn info_tells_the_argument_of_the_last_reboot() {
    let guest = guest("reboot_info", "monopod.preset = android");
    let steps = format!("write /{BOOTSTAT} reboot,recovery , restart-times 1 , signals 1");
    let running = guest.start(&steps);
    guest.wait_said("ready");
    let info = guest.client("info", &[]).stdout;
    assert!(info.lines().any(|line| line == format!("{:<15} recovery", "Reboot:")), "{info}");
    assert!(guest.client("info", &["--json"]).stdout.contains("\"reboot_argument\":\"recovery\""));
    guest.client("stop", &["-k"]);
    running.wait();
}
