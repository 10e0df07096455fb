//! The wait between two lives of a crash loop: the supervisor is there for everybody meanwhile.

use crate::support::{Guest, Running, wait_until};

/// A guest whose second restart waits for a minute, in that wait.
fn waiting<'g>(guest: &'g Guest, steps: &str) -> Running<'g> {
    let mut running = guest.start(steps);
    wait_until("the wait after two lives", || {
        guest.results().lines().filter(|line| *line == "life").count() == 2
            && next_start(guest).is_some_and(|ms| ms > 0)
    });
    assert!(running.is_running());
    running
}

fn guest(label: &str) -> Guest {
    Guest::new(label).config("monopod.restart.delay = 60s\nmonopod.restart.uptime = 1h\nlxc.signal.reboot = SIGUSR1")
}

/// Milliseconds until the next start, as `info --json` tells.
fn next_start(guest: &Guest) -> Option<u64> {
    let json = guest.client("info", &["--json"]).stdout;
    let (_, rest) = json.split_once("\"next_start_ms\":")?;
    rest.split([',', '}']).next()?.parse().ok()
}

#[test]
fn info_answers_and_tells_when_the_next_start_is() {
    let guest = guest("backoff_info");
    let running = waiting(&guest, "say life , restart");
    let first = next_start(&guest).unwrap();
    assert!(first <= 60_000, "{first}");
    let info = guest.client("info", &[]);
    assert_eq!(info.code, Some(0), "{info}");
    assert!(info.stdout.lines().any(|line| line == format!("{:<15} STOPPED", "State:")), "{info}");
    assert!(info.stdout.lines().any(|line| line.starts_with("Next start:")), "{info}");
    assert!(next_start(&guest).unwrap() <= first);
    running.signal(libc::SIGTERM);
    assert_eq!(running.wait().code, Some(0));
    guest.assert_nothing_left();
}

#[test]
fn stop_ends_the_wait_at_once_with_0() {
    for words in [&["-t", "20"][..], &["-k"], &["-W"]] {
        let guest = guest("backoff_stop");
        let running = waiting(&guest, "say life , restart");
        let stopped = guest.client("stop", words);
        assert_eq!(stopped.code, Some(0), "{words:?}{stopped}");
        let ended = running.wait();
        assert_eq!(ended.code, Some(0), "{words:?}{ended}");
        assert_eq!(guest.results(), "life\nlife\n");
        guest.assert_nothing_left();
    }
}

#[test]
fn stop_reboot_begins_the_next_life_at_once() {
    let guest = guest("backoff_reboot");
    let running = waiting(&guest, "say life , restart-times 2 , signals 1 , exit 3");
    let stopped = guest.client("stop", &["-r"]);
    assert_eq!(stopped.code, Some(0), "{stopped}");
    guest.wait_said("ready");
    assert_eq!(guest.results(), "life\nlife\nlife\nready\n");
    assert_eq!(next_start(&guest), None);
    running.signal(libc::SIGTERM);
    assert_eq!(running.wait().code, Some(3));
    guest.assert_nothing_left();
}

#[test]
fn signals_that_end_the_wait_end_it_others_do_not() {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT] {
        let guest = guest("backoff_signal");
        let mut running = waiting(&guest, "say life , restart");
        running.signal(libc::SIGUSR1);
        assert!(next_start(&guest).is_some() && running.is_running());
        running.signal(signal);
        let ended = running.wait();
        assert_eq!(ended.code, Some(0), "signal {signal}{ended}");
        assert_eq!(guest.results(), "life\nlife\n");
        guest.assert_nothing_left();
    }
}
