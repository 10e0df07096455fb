//! The shipped binary under valgrind(1): what it hands to the kernel and decides by is written before, in the supervisor, in the
//! child up to its exec, and in the clients. `make valgrind`; ignored elsewhere, because it is slow.
//!
//! The binary has no symbols, so the heap is not looked into; the supervisor has none. That is AddressSanitizer's part.

use crate::support::{DEADLINE, Ended, Guest, Running, binary, is_static, skip, wait_for};
use std::process::{Command, Stdio};
use std::time::Duration;

/// How often the container starts and stops: `MONOPOD_CYCLES`, else a few times.
fn cycles() -> u32 {
    std::env::var("MONOPOD_CYCLES").ok().and_then(|text| text.parse().ok()).unwrap_or(10)
}

fn available(test: &str) -> bool {
    let version = Command::new("valgrind").arg("--version").stdout(Stdio::null()).status();
    let found = version.is_ok_and(|status| status.success());
    if !found {
        skip(test, "no valgrind (package valgrind)", true);
    }
    found && is_static(&binary())
}

/// `command` under valgrind, which says what is wrong to the guest's file `log`, forked children included.
fn under(guest: &Guest, command: &Command, log: &str) -> Command {
    let mut valgrind = Command::new("valgrind");
    valgrind.args([
        "-q",
        "--error-exitcode=99",
        "--track-fds=no",
        concat!("--suppressions=", env!("CARGO_MANIFEST_DIR"), "/tests/valgrind.supp"),
    ]);
    valgrind.arg(format!("--log-file={}", guest.dir().join(log).display()));
    valgrind.arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
    guest.enter(&mut valgrind);
    valgrind
}

/// Fails if valgrind found something: that has a place in the program. What it does not know of the kernel has none.
fn assert_clean(guest: &Guest, log: &str) {
    let text = guest.file(log);
    assert!(!text.contains("    at 0x"), "{log}:\n{text}");
}

fn client(guest: &Guest, tool: &str, words: &[&str]) -> Ended {
    let log = format!("valgrind-{tool}");
    let ended = Running::new(guest, under(guest, &guest.tool(tool, words), &log)).wait();
    assert_clean(guest, &log);
    assert_ne!(ended.code, Some(99), "{ended}");
    ended
}

#[test]
#[ignore = "slow: make valgrind"]
fn valgrind_finds_nothing_in_restarts() {
    if !available("valgrind_finds_nothing_in_restarts") {
        return;
    }
    let count = cycles();
    let guest = Guest::new("valgrind_restarts").config(&format!(
        "monopod.restart.delay = 0ms\nmonopod.restart.uptime = 0\nmonopod.restart.budget = {count}\nmonopod.restart.window = 1"
    ));
    let start = guest.start_command(&format!("restart-times {count} , exit 3"));
    let running = Running::new(&guest, under(&guest, &start, "valgrind-start"));
    let ended = running.wait_at_most(DEADLINE * (1 + count / 10));
    assert_eq!(ended.code, Some(3), "{ended}\n{}", guest.file("valgrind-start"));
    assert_clean(&guest, "valgrind-start");
    println!("valgrind: {count} restarts, 0 errors");
    guest.assert_nothing_left();
}

#[test]
#[ignore = "slow: make valgrind"]
fn valgrind_finds_nothing_in_starts_clients_and_stops() {
    if !available("valgrind_finds_nothing_in_starts_clients_and_stops") {
        return;
    }
    let guest = Guest::new("valgrind_clients")
        .config("lxc.console.path =\nlxc.tty.max = 2\nlxc.mount.auto = proc:mixed sys:mixed\nlxc.uts.name = box");
    let rounds = cycles().div_ceil(10);
    for _ in 0..rounds {
        let start = guest.start_command("signals 1 , exit 4");
        let running = Running::new(&guest, under(&guest, &start, "valgrind-start"));
        assert!(wait_for(DEADLINE, || guest.results().lines().any(|line| line == "ready")), "{}", guest.logs());
        assert!(client(&guest, "info", &[]).stdout.contains("RUNNING"));
        assert_eq!(client(&guest, "wait", &["-s", "RUNNING"]).code, Some(0));
        for (tool, words) in [
            ("config", &[][..]),
            ("freeze", &[]),
            ("unfreeze", &[]),
            ("ls", &["-f"]),
            ("check", &[]),
            ("explain", &[]),
            ("cgroup", &["cgroup.procs"]),
            ("console", &["--log"]),
            // It gets no further than to the limits, of which valgrind has its own.
            ("attach", &["--", "/init", "exit", "5"]),
        ] {
            client(&guest, tool, words);
        }
        let stopped = client(&guest, "stop", &[]);
        assert_eq!(stopped.code, Some(0), "{stopped}");
        let ended = running.wait_at_most(Duration::from_secs(60));
        assert_eq!(ended.code, Some(0), "{ended}");
        assert_clean(&guest, "valgrind-start");
        std::fs::remove_file(guest.rootfs().join("results")).unwrap();
    }
    guest.assert_nothing_left();
    let refused = guest.tool("start", &["-F", "-s", "lxc.no.such.key=1"]);
    let refused = Running::new(&guest, under(&guest, &refused, "valgrind-refused")).wait();
    assert!(refused.code != Some(0) && refused.code != Some(99), "{refused}");
    assert_clean(&guest, "valgrind-refused");
    println!("valgrind: {rounds} starts and stops, {} clients, 0 errors", rounds * 12);
}
