//! What is told of a life that ended badly: the block in the log, `monopod.crash.file`, `info`; and what follows a crash loop.
//!
//! Guests speak to this machine's own kernel log, a few lines each, with names of their own. Its records do not say which
//! container they come from, so that only one such guest speaks at a time.

use crate::support::{self, Guest};
use std::fs;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A guest with a crash file. None: the kernel's log cannot be read here.
fn guest(test: &str, config: &str) -> Option<(Guest, MutexGuard<'static, ()>)> {
    static SPEAKS: Mutex<()> = Mutex::new(());
    let mut log = fs::OpenOptions::new();
    let log = log.read(true).custom_flags(libc::O_NONBLOCK).open("/dev/kmsg");
    let readable = log.is_ok_and(|mut log| match log.read(&mut [0; 8192]) {
        Ok(_) => true,
        Err(error) => matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EPIPE)),
    });
    if !readable {
        support::skip(test, "/dev/kmsg cannot be read", false);
        return None;
    }
    let turn = SPEAKS.lock().unwrap_or_else(PoisonError::into_inner);
    let guest = Guest::new(test).config("monopod.crash.file = {dir}/crash.json").config(config);
    Some((guest, turn))
}

/// A step that says what Android's init says of a service.
fn service(guest: &Guest, what: &str) -> String {
    format!("kmsg \"{}\"", what.replace("NAME", guest.name()))
}

#[test]
fn crash_is_told_with_inits_last_words_and_the_service_to_blame() {
    let Some((guest, _turn)) = guest("crash_words", "lxc.console.path = {dir}/console") else { return };
    let early = service(&guest, "init: NAME from before");
    // The first life's words are none of the second's.
    let steps = format!(
        "{early} , kmsg apexd: {name} no , {} , print last words , exit-times 1 7 , {} , print \"quo\\te\" , crash",
        service(&guest, "init: Service 'vold-NAME' (pid 7) exited with status 1"),
        service(&guest, "libprocessgroup: NAME second life"),
        name = guest.name(),
    );
    let config = "monopod.restart.when = failure\nmonopod.restart.delay = 0ms\nmonopod.restart.budget = 1";
    let guest = guest.config(config);
    let ended = guest.run(&steps);
    assert_eq!(ended.code, Some(254), "{ended}");
    let (log, name) = (guest.file("log"), guest.name());
    let block = |line: &str| log.lines().filter(|each| each.ends_with(line)).count();
    assert_eq!(block("init exited with code 7"), 1, "{log}");
    assert_eq!(block(&format!("kmsg: init: {name} from before")), 1 + 1, "{log}");
    assert_eq!(block(&format!("kmsg: libprocessgroup: {name} second life")), 1, "{log}");
    assert_eq!(block(&format!("apexd: {name} no")), 0, "{log}");
    assert!(log.contains("console: last words"), "{log}");
    assert!(log.contains(&format!("service vold-{name}")), "{log}");
    // The file tells of the last one.
    let json = guest.file("crash.json");
    for part in [
        &format!("{{\"name\":\"{name}\",\"time\":"),
        ",\"end\":\"was killed by signal 11\",\"critical\":false,\"reboot_argument\":\"\",\"reason\":\"\"",
        &format!(",\"service\":\"vold-{name}\",\"kmsg\":["),
        &format!("\"libprocessgroup: {name} second life\""),
    ] {
        assert!(json.contains(part), "{part}: {json}");
    }
    assert!(json.ends_with("]}\n") && !guest.dir().join("crash.json.new").exists(), "{json}");
    guest.assert_nothing_left();
}

#[test]
fn critical_service_that_crashes_spends_the_budget_however_long_it_lived() {
    for end in ["restart", "exit 0"] {
        let config = "monopod.preset = android\nmonopod.restart.uptime = 0\nmonopod.restart.delay = 0ms\nlxc.cap.drop = sys_boot";
        // Without the right to reboot init exits.
        let config = if end == "restart" { config.trim_end_matches("lxc.cap.drop = sys_boot") } else { config };
        let Some((guest, _turn)) = guest("critical", config) else { return };
        let step = service(&guest, "init: critical process 'zygote-NAME' exited 4 times in 4 minutes");
        let ended = guest.run(&format!("say life , {step} , {end}"));
        // The preset's own budget.
        assert_eq!(ended.code, Some(254), "{end}{ended}");
        assert_eq!(guest.results(), "life\n".repeat(6), "{end}");
        let json = guest.file("crash.json");
        assert!(
            json.contains(&format!(
                "\"critical\":true,\"reboot_argument\":\"\",\"reason\":\"\",\"service\":\"zygote-{}\"",
                guest.name()
            )),
            "{json}"
        );
        guest.assert_nothing_left();
    }
}

#[test]
fn reboot_with_a_word_of_panic_is_a_crash_and_info_tells() {
    let Some((guest, _turn)) = guest("panic_word", "monopod.preset = android\nmonopod.restart.delay = 0ms") else {
        return;
    };
    fs::create_dir_all(guest.rootfs().join("metadata/bootstat")).unwrap();
    let write = "write /metadata/bootstat/persist.sys.boot.reason reboot,mount_userdata_failed";
    let running = guest.start(&format!("{write} , restart-times 1 , signals 1"));
    guest.wait_said("ready");
    let json = guest.file("crash.json");
    assert!(
        json.contains("\"reboot_argument\":\"mount_userdata_failed\",\"reason\":\"reboot,mount_userdata_failed\""),
        "{json}"
    );
    let info = guest.client("info", &[]).stdout;
    let label = format!("{:<15} rebooted (mount_userdata_failed) after ", "Last crash:");
    assert!(info.lines().any(|line| line.starts_with(&label) && line.ends_with(" ms")), "{info}");
    guest.client("stop", &["-k"]);
    running.wait();
    guest.assert_nothing_left();
}

#[test]
fn life_that_ends_well_or_as_asked_leaves_no_report() {
    for steps in ["exit 0", "poweroff", "exit-times 0 0 , restart-times 1 , poweroff"] {
        let Some((guest, _turn)) = guest("no_crash", "monopod.restart.delay = 0ms") else { return };
        let ended = guest.run(steps);
        assert_eq!(ended.code, Some(0), "{steps}{ended}");
        assert!(!guest.dir().join("crash.json").exists(), "{steps}: {}", guest.file("crash.json"));
    }
    let Some((guest, _turn)) = guest("no_crash_killed", "") else { return };
    let running = guest.start("say up , forever");
    guest.wait_said("up");
    guest.client("stop", &["-k"]);
    running.wait();
    assert!(!guest.dir().join("crash.json").exists());
}

#[test]
fn crash_file_that_cannot_be_written_is_said_and_nothing_else_changes() {
    let guest = Guest::new("crash_file").config("monopod.crash.file = {dir}/missing/crash.json");
    let ended = guest.run("exit 7");
    assert_eq!(ended.code, Some(7), "{ended}");
    assert!(ended.stderr.contains("missing/crash.json: No such file or directory"), "{ended}");
    guest.assert_nothing_left();
}
