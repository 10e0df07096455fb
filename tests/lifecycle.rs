//! From the command line to the exit code: what ends a life, what starts the next, what the caller is told.

use crate::support::{self, Guest, is_lxc, sandbox};
use std::fs;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

/// No waiting between lives, however short they are.
const AT_ONCE: &str = "
    monopod.restart.delay = 0ms
    monopod.restart.uptime = 1h
";

#[test]
fn init_exits_its_code_is_ours() {
    for code in [0, 1, 7, 126] {
        let guest = Guest::new("exit");
        let ended = guest.run(&format!("exit {code}"));
        assert_eq!(ended.code, Some(code), "{ended}");
        guest.assert_nothing_left();
    }
}

#[test]
fn init_exits_like_a_signal_is_no_halt_and_no_reboot() {
    for code in [129, 130] {
        let guest = Guest::new("exit_like_signal");
        let ended = guest.run(&format!("exit-times 1 {code} , exit 0"));
        assert_eq!(ended.code, Some(code), "{ended}");
        assert_eq!(guest.rootfs_file("count"), "1");
    }
}

#[test]
fn init_killed_by_a_signal_is_128_and_its_number() {
    let guest = Guest::new("crash");
    let ended = guest.run("crash");
    assert_eq!(ended.code, Some(128 + libc::SIGSEGV), "{ended}");
    guest.assert_nothing_left();

    let guest = Guest::new("killed");
    let running = guest.start("say up , forever");
    guest.wait_said("up");
    guest.pids().into_iter().for_each(|pid| sandbox::kill(pid, libc::SIGKILL));
    let ended = running.wait();
    assert_eq!(ended.code, Some(128 + libc::SIGKILL), "{ended}");
    guest.assert_nothing_left();
}

#[test]
fn guest_halts_code_is_0() {
    for end in ["halt", "poweroff", "by-grandchild poweroff"] {
        let guest = Guest::new("halt");
        let ended = guest.run(end);
        assert_eq!(ended.code, Some(0), "{end}{ended}");
        guest.assert_nothing_left();
    }
}

#[test]
fn guest_reboots_it_lives_again_under_the_same_supervisor() {
    for end in ["restart-times 2", "exit-times 0 0 , restart-times 2"] {
        let guest = Guest::new("reboot").config(AT_ONCE);
        let ended = guest.run(&format!("{end} , exit 5"));
        assert_eq!(ended.code, Some(5), "{ended}");
        assert_eq!(guest.rootfs_file("count"), "2");
        guest.assert_nothing_left();
    }
}

#[test]
fn guest_reboots_in_any_form_it_is_a_reboot() {
    for form in ["restart", "restart2", "by-grandchild restart"] {
        let guest = Guest::new("reboot_form").config(AT_ONCE).config("monopod.restart.budget = 1");
        let ended = guest.run(&format!("say life , {form}"));
        assert_eq!(ended.code, Some(254), "{form}{ended}");
        assert_eq!(guest.results(), "life\nlife\n", "{form}");
    }
}

#[test]
fn restart_policy_says_which_ends_are_lived_through() {
    // (policy, how the first life ends, code of the whole run, lives)
    let rows = [
        ("reboot", "exit-times 1 3", 3, 1),
        ("failure", "exit-times 1 3", 0, 2),
        ("failure", "restart-times 1", 0, 2),
        ("failure", "poweroff", 0, 1),
        ("never", "restart-times 1", 129, 1),
        ("never", "exit-times 1 3", 3, 1),
        ("always", "exit-times 1 0", 254, 3),
    ];
    for (when, end, code, lives) in rows {
        let guest = Guest::new("policy").config(AT_ONCE);
        let guest = guest.config(&format!("monopod.restart.when = {when}\nmonopod.restart.budget = 2"));
        let ended = guest.run(&format!("say life , {end} , exit 0"));
        assert_eq!(ended.code, Some(code), "{when}, {end}{ended}");
        assert_eq!(guest.results().lines().count(), lives, "{when}, {end}{ended}");
    }
}

#[test]
fn crash_loop_spends_its_budget_and_gives_up_with_254() {
    let guest = Guest::new("budget").config(AT_ONCE).config("monopod.restart.budget = 3");
    let ended = guest.run("say life , restart");
    assert_eq!(ended.code, Some(254), "{ended}");
    assert_eq!(guest.results().lines().count(), 4, "{ended}");
    guest.assert_nothing_left();
}

#[test]
fn crash_loop_is_slowed_down_up_to_the_cap() {
    let guest = Guest::new("backoff").config(
        "monopod.restart.delay = 100ms
        monopod.restart.factor = 2
        monopod.restart.cap = 150ms
        monopod.restart.budget = 4",
    );
    let begin = Instant::now();
    let ended = guest.run("restart");
    assert_eq!(ended.code, Some(254), "{ended}");
    // The first quick restart is immediate; then 100, 150 and 150 ms.
    assert!(begin.elapsed() >= Duration::from_millis(400), "{:?}", begin.elapsed());
}

#[test]
fn instant_exits_fifty_times_each_is_a_whole_life() {
    let guest = Guest::new("instant_exit");
    for round in 0..50 {
        let ended = guest.run("exit 9");
        assert_eq!(ended.code, Some(9), "round {round}{ended}");
    }
    guest.assert_nothing_left();
}

#[test]
fn instant_reboots_fifty_times_each_is_a_whole_life() {
    let guest = Guest::new("instant_reboot").config(AT_ONCE).config("monopod.restart.budget = 50");
    let ended = guest.run("say life , restart");
    assert_eq!(ended.code, Some(254), "{ended}");
    assert_eq!(guest.results().lines().count(), 51);
    guest.assert_nothing_left();
}

#[test]
fn hundred_restarts_make_no_heap_allocation() {
    let test = "hundred_restarts_make_no_heap_allocation";
    if support::emulated(test, "the same code is audited in this machine's own binary") {
        return;
    }
    let Some(audit) = std::env::var_os("MONOPOD_AUDIT_BIN") else {
        support::skip(test, "MONOPOD_AUDIT_BIN is not set (make test sets it)", true);
        return;
    };
    let guest = Guest::new("audit").config(AT_ONCE).config(
        "monopod.restart.budget = 100
        lxc.tty.max = 4
        monopod.ready = file:/ boot_completed
        monopod.state.file = {dir}/state",
    );
    let command = guest.start_command("restart");
    let mut audited = std::process::Command::new(audit);
    audited.args(command.get_args()).stdin(std::process::Stdio::null());
    guest.sandbox.enter(&mut audited);
    let ended = support::Running::new(&guest, audited).wait();
    // 99 is the audit's own code: an allocation after the first clone.
    assert_eq!(ended.code, Some(254), "{ended}");
    guest.assert_nothing_left();
}

#[test]
fn signals_are_forwarded_and_a_hangup_arrives_as_sigterm() {
    let guest = Guest::new("signals");
    let running = guest.start("signals 5 , exit 4");
    guest.wait_said("ready");
    let pairs = [(libc::SIGUSR1, 10), (libc::SIGHUP, 15), (libc::SIGTERM, 15), (libc::SIGUSR2, 12), (37, 37)];
    for (sent, arrives) in pairs {
        let count = guest.results().lines().count();
        running.signal(sent);
        support::wait_until(&format!("signal {sent}"), || guest.results().lines().count() > count);
        assert_eq!(guest.results().lines().last(), Some(&*format!("signal {arrives}")));
    }
    assert_eq!(running.wait().code, Some(4));
    guest.assert_nothing_left();
}

/// What a manager sends that can only signal: SIGPWR, or what the config names.
const OUR_SIGNALS: [(&str, i32); 2] = [("", libc::SIGPWR), ("monopod.signal.halt = TERM", libc::SIGTERM)];

#[test]
fn signal_of_our_own_is_a_stop_that_ends_well_and_for_good() {
    for (config, sent) in OUR_SIGNALS {
        let guest = Guest::new("own_signal").config("lxc.signal.halt = USR1\nmonopod.restart.when = always");
        let guest = guest.config(config);
        let running = guest.start("signals 1 , exit 4");
        guest.wait_said("ready");
        running.signal(sent);
        let ended = running.wait();
        assert_eq!(ended.code, Some(0), "{ended}");
        assert_eq!(guest.results().lines().last(), Some("signal 10"), "{ended}");
        guest.assert_nothing_left();
    }
}

#[test]
fn signal_of_our_own_kills_a_guest_that_does_not_listen() {
    let guest = Guest::new("own_signal_deaf").config("monopod.timeout.stop = 100ms");
    let running = guest.start("say up , forever");
    guest.wait_said("up");
    running.signal(libc::SIGPWR);
    let ended = running.wait();
    assert_eq!(ended.code, Some(0), "{ended}");
    guest.assert_nothing_left();
}

#[test]
fn signal_of_our_own_calls_a_start_off_and_ends_the_wait_for_the_next_life() {
    let guest = Guest::new("own_signal_early");
    let hook = guest.script("hook", "touch $dir/begun; exec sleep 60");
    let hooked = guest.config(&format!("lxc.hook.pre-start = {hook}"));
    let running = hooked.start("forever");
    support::wait_until("the hook", || hooked.dir().join("begun").exists());
    running.signal(libc::SIGPWR);
    let ended = running.wait();
    assert_eq!(ended.code, Some(0), "{ended}");
    hooked.assert_nothing_left();
    let waits = Guest::new("own_signal_wait").config("monopod.restart.when = always\nmonopod.restart.delay = 60s");
    let running = waits.start("say up , exit 1");
    support::wait_until("two lives", || waits.results().lines().count() == 2);
    support::wait_until("the pause", || waits.client("info", &["-s", "-H"]).stdout == "STOPPED\n");
    running.signal(libc::SIGPWR);
    let ended = running.wait();
    assert_eq!(ended.code, Some(0), "{ended}");
    waits.assert_nothing_left();
}

#[test]
fn daemon_start_returns_when_the_container_runs_and_writes_the_pidfile() {
    let guest = Guest::new("daemon");
    let pidfile = guest.dir().join("pid");
    let guest = guest.options(&["-d", "-p", pidfile.to_str().unwrap()]);
    let ended = guest.run("say up , forever");
    assert_eq!(ended.code, Some(0), "{ended}");
    let supervisor: i32 = guest.file("pid").trim().parse().unwrap();
    assert_eq!(
        fs::metadata(&pidfile).map(|m| std::os::unix::fs::PermissionsExt::mode(&m.permissions())).unwrap() & 0o777,
        0o600
    );
    assert!(guest.sandbox.processes().contains(&supervisor), "{ended}");
    assert_eq!(guest.client("info", &["-s", "-H"]).stdout, "RUNNING\n");
    // In the background for good: a session of its own, no terminal, /dev/null for stdio, no foot on any filesystem.
    let stat = fs::read_to_string(format!("/proc/{supervisor}/stat")).unwrap();
    assert_eq!(stat.split(' ').nth(6), Some("0"), "controlling terminal in {stat}");
    assert_eq!(fs::read_link(format!("/proc/{supervisor}/cwd")).unwrap().to_str(), Some("/"));
    for fd in 0..3 {
        assert_eq!(fs::read_link(format!("/proc/{supervisor}/fd/{fd}")).unwrap().to_str(), Some("/dev/null"));
    }
    assert_eq!(guest.client("stop", &["-k"]).code, Some(0));
    support::wait_until("the supervisor's end", || guest.sandbox.processes().is_empty());
    assert!(!pidfile.exists(), "the pidfile stays");
    guest.assert_nothing_left();
}

#[test]
fn daemon_start_that_fails_hands_back_the_failure() {
    let guest = Guest::new("daemon_fails").config("lxc.mount.entry = /nonexistent mnt none bind 0 0").options(&["-d"]);
    let ended = guest.run("forever");
    assert_eq!(ended.code, Some(255), "{ended}");
    assert!(ended.stderr.contains("/nonexistent") && ended.stderr.lines().count() == 1, "{ended}");
    guest.assert_nothing_left();
}

#[test]
fn daemon_start_whose_init_is_gone_at_once_still_ran() {
    let guest = Guest::new("daemon_short").options(&["-d"]);
    let ended = guest.run("exit 3");
    assert_eq!(ended.code, Some(0), "{ended}");
    support::wait_until("the supervisor's end", || guest.sandbox.processes().is_empty());
    guest.assert_nothing_left();
}

#[test]
fn second_start_of_a_running_name_leaves_the_first_alone() {
    let guest = Guest::new("twice");
    let running = guest.start("say up , signals 1 , exit 6");
    guest.wait_said("ready");
    let second = support::Running::new(&guest, guest.tool("start", &["-F"])).wait();
    // LXC's answer, and its code: what was asked for is the case.
    assert!(second.stderr.contains("already running"), "{second}");
    running.signal(libc::SIGTERM);
    assert_eq!(running.wait().code, Some(6));
    guest.assert_nothing_left();
}

#[test]
fn inherited_descriptors_do_not_reach_the_guest() {
    let guest = Guest::new("fds");
    let secret = fs::File::open("/etc").unwrap();
    let mut command = guest.start_command("report");
    sandbox::inherit(&mut command, &secret, 7);
    let ended = support::Running::new(&guest, command).wait();
    assert_eq!(ended.code, Some(0), "{ended}");
    let numbers: Vec<_> = guest.report().all("fd").iter().map(|fd| fd.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(numbers, ["0", "1", "2"]);
    assert!(secret.as_raw_fd() > 2);
}

#[test]
fn sockets_of_a_service_manager_reach_init_and_no_hook() {
    let guest = Guest::new("sockets").config("lxc.hook.start-host = {dir}/hook").env("LISTEN_FDS", "2");
    guest.script("hook", "ls /proc/self/fd > $dir/open");
    let socket = fs::File::open("/etc").unwrap();
    for options in [&[][..], &["-C"]] {
        let mut command = guest.start_command("report");
        command.args(options);
        for number in [3, 4, 7] {
            sandbox::inherit(&mut command, &socket, number);
        }
        let ended = support::Running::new(&guest, command).wait();
        assert_eq!(ended.code, Some(0), "{ended}");
        let report = guest.report();
        let numbers: Vec<_> = report.all("fd").iter().map(|fd| fd.split(' ').next().unwrap().to_owned()).collect();
        assert_eq!(numbers, ["0", "1", "2", "3", "4"]);
        assert!(report.all("env").contains(&"LISTEN_FDS=2") && report.all("env").contains(&"LISTEN_PID=1"));
        // ls has the directory open itself.
        assert_eq!(guest.file("open").split_whitespace().collect::<Vec<_>>(), ["0", "1", "2", "3"]);
        assert!(!report.all("fd").iter().any(|fd| fd.starts_with('7')));
    }
    // What is not there, or for somebody else, is not made up of what we open ourselves.
    for (name, value, open) in [("LISTEN_FDS", "9", 3), ("LISTEN_PID", "1", 5)] {
        let guest = Guest::new("no_sockets").env("LISTEN_FDS", "1").env(name, value);
        let mut command = guest.start_command("report");
        (3..open).for_each(|number| sandbox::inherit(&mut command, &socket, number));
        let ended = support::Running::new(&guest, command).wait();
        assert_eq!(ended.code, Some(0), "{ended}");
        assert_eq!(guest.report().all("fd").len(), 3);
        assert_eq!(guest.report().all("env"), ["container=lxc"]);
    }
}

#[test]
fn closed_stdio_start_works_and_guest_has_three_descriptors() {
    let guest = Guest::new("closed_stdio");
    let mut command = guest.start_command("report , exit 2");
    sandbox::close_stdio(&mut command);
    let ended = support::Running::new(&guest, command).wait();
    assert_eq!(ended.code, Some(2), "{ended}");
    let numbers: Vec<_> = guest.report().all("fd").iter().map(|fd| fd.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(numbers, ["0", "1", "2"]);
    guest.assert_nothing_left();
}

#[test]
fn command_after_the_dashes_wins_over_the_config() {
    let guest = Guest::new("command").options(&["--", "/init", "exit", "11"]);
    assert_eq!(guest.run("exit 12").code, Some(11));
}

#[test]
fn define_wins_over_the_file_and_rcfile_over_the_default() {
    let guest = Guest::new("define").config("lxc.uts.name = fromfile").options(&["-s", "lxc.uts.name=fromdefine"]);
    assert_eq!(guest.run("report").code, Some(0));
    assert_eq!(guest.report().one("hostname"), "fromdefine");

    let guest = Guest::new("rcfile");
    let other = guest.dir().join("other");
    let config = format!(
        "lxc.rootfs.path = dir:{}\nlxc.console.path = none\nlxc.init.cmd = /init exit 21\n",
        guest.rootfs().display()
    );
    fs::write(&other, config).unwrap();
    let guest = guest.options(&["-f", other.to_str().unwrap()]);
    let ended = guest.run("exit 12");
    assert_eq!(ended.code, Some(if is_lxc() { 0 } else { 21 }), "{ended}");
}

#[test]
fn log_options_of_the_command_line_win_over_the_config() {
    // The harness always passes -o and -l.
    let guest = Guest::new("log").config("lxc.log.file = {dir}/other");
    assert_eq!(guest.run("exit 0").code, Some(0));
    assert!(!guest.dir().join("other").exists());
    assert!(guest.file("log").contains(guest.name()), "{}", guest.file("log"));
}

#[test]
fn stopped_and_continued_init_is_no_ended_init() {
    let guest = Guest::new("stopped");
    // SIGCONT is one of the two.
    let mut running = guest.start("signals 2 , exit 7");
    guest.wait_said("ready");
    let init = guest.init();
    for signal in [libc::SIGSTOP, libc::SIGCONT] {
        sandbox::kill(init, signal);
        let info = guest.client("info", &["-s", "-H"]);
        assert_eq!(info.stdout, "RUNNING\n", "after signal {signal}{info}");
    }
    assert!(running.is_running());
    running.signal(libc::SIGUSR1);
    assert_eq!(running.wait().code, Some(7));
    guest.assert_nothing_left();
}

#[test]
fn no_config_and_no_command_is_refused() {
    let guest = Guest::new("no_config");
    let ended = support::Running::new(&guest, guest.tool("start", &["-F"])).wait();
    assert_eq!(ended.code, Some(255), "{ended}");
    assert_eq!(ended.stderr.lines().count(), 1, "{ended}");
    guest.assert_nothing_left();
}
