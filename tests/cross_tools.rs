//! LXC's own tools on a container that we supervise, and ours on one of LXC's own lxc-start: each scenario runs both ways.
//! (What `info`, `ls` and `cgroup` say both ways is in look.rs.)

use crate::support::{
    DEADLINE, Ended, Guest, Running, binary, emulated, is_64_bit, is_lxc, sandbox, skip, wait_for, wait_until,
};
use std::fs::File;
use std::io::{Read, Write};
use std::process::Command;

/// Whose tools.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Side {
    Ours,
    Lxcs,
}

/// (who supervises, who asks)
const BOTH_WAYS: [(Side, Side); 2] = [(Side::Ours, Side::Lxcs), (Side::Lxcs, Side::Ours)];

impl Side {
    fn tool(self, guest: &Guest, tool: &str, words: &[&str]) -> Command {
        match self {
            Side::Ours => guest.tool(tool, words),
            Side::Lxcs => guest.stock_tool(tool, words).unwrap(),
        }
    }

    fn ask(self, guest: &Guest, tool: &str, words: &[&str]) -> Ended {
        self.begin(guest, tool, words).wait()
    }

    fn begin<'g>(self, guest: &'g Guest, tool: &str, words: &[&str]) -> Running<'g> {
        Running::new(guest, self.tool(guest, tool, words))
    }

    /// Starts the guest, whose steps say `ready`.
    fn start<'g>(self, guest: &'g Guest, steps: &str) -> Running<'g> {
        guest.state_before();
        guest.install(steps);
        let log = guest.dir().join("log");
        let running = self.begin(guest, "start", &["-F", "-l", "DEBUG", "-o", log.to_str().unwrap()]);
        guest.wait_said("ready");
        running
    }
}

/// Runs a scenario both ways, each with a guest of this config: (guest, who supervises, who asks).
fn both_ways(test: &str, config: &str, scenario: impl Fn(&Guest, Side, Side)) {
    for (supervisor, asker) in BOTH_WAYS {
        let guest = Guest::new("cross").config(config);
        if guest.stock_tool("start", &[]).is_none() {
            return skip(test, "LXC's own tools are not installed (package lxc)", true);
        }
        // There is a pointer in LXC's requests.
        if is_lxc() || is_64_bit(&binary()) != cfg!(target_pointer_width = "64") {
            return skip(test, "LXC's own tools are of another word size than the binary under test", false);
        }
        if emulated(test, "who asks would be another machine's") {
            return;
        }
        eprintln!("{supervisor:?} supervises, {asker:?} ask");
        scenario(&guest, supervisor, asker);
        wait_until("the end of the container's processes", || guest.pids().is_empty());
        if supervisor == Side::Ours {
            guest.assert_nothing_left();
        }
    }
}

fn state(guest: &Guest, asker: Side) -> String {
    asker.ask(guest, "info", &["-s", "-H"]).stdout.trim().to_owned()
}

#[track_caller]
fn succeeds(ended: &Ended) {
    assert_eq!(ended.code, Some(0), "{ended}");
}

#[test]
fn stop_asks_init_first_both_ways() {
    let config = "lxc.signal.halt = SIGUSR2";
    both_ways("stop_asks_init_first_both_ways", config, |guest, supervisor, asker| {
        let running = supervisor.start(guest, "signals 1 , poweroff");
        succeeds(&asker.ask(guest, "stop", &["-t", "20"]));
        succeeds(&running.wait());
        assert_eq!(guest.results(), "ready\nsignal 12\n");
        assert_eq!(state(guest, asker), "STOPPED");
    });
}

#[test]
fn stop_kills_a_deaf_init_at_the_deadline_both_ways() {
    let test = "stop_kills_a_deaf_init_at_the_deadline_both_ways";
    both_ways(test, "", |guest, supervisor, asker| {
        let running = supervisor.start(guest, "signals 9");
        succeeds(&asker.ask(guest, "stop", &["-t", "1"]));
        running.wait();
        assert_eq!(state(guest, asker), "STOPPED");
    });
}

#[test]
fn stop_nokill_leaves_a_deaf_init_running_both_ways() {
    let test = "stop_nokill_leaves_a_deaf_init_running_both_ways";
    both_ways(test, "", |guest, supervisor, asker| {
        let running = supervisor.start(guest, "signals 9");
        let stopped = asker.ask(guest, "stop", &["--nokill", "-t", "1"]);
        assert_eq!(stopped.code, Some(1), "{stopped}");
        assert_eq!(state(guest, asker), "RUNNING");
        succeeds(&asker.ask(guest, "stop", &["-k"]));
        running.wait();
        assert_eq!(state(guest, asker), "STOPPED");
    });
}

#[test]
fn stop_reboot_lets_it_live_again_both_ways() {
    let test = "stop_reboot_lets_it_live_again_both_ways";
    both_ways(test, "lxc.signal.reboot = SIGUSR1", |guest, supervisor, asker| {
        let running = supervisor.start(guest, "signals 1 , restart-times 1 , signals 9");
        succeeds(&asker.ask(guest, "stop", &["-r", "-t", "20"]));
        wait_until("the second life", || guest.results() == "ready\nsignal 10\nready\n");
        wait_until("RUNNING", || state(guest, asker) == "RUNNING");
        succeeds(&asker.ask(guest, "stop", &["-k"]));
        running.wait();
    });
}

#[test]
fn wait_sees_the_end_both_ways() {
    both_ways("wait_sees_the_end_both_ways", "", |guest, supervisor, asker| {
        let running = supervisor.start(guest, "signals 1 , exit 0");
        succeeds(&asker.ask(guest, "wait", &["-s", "RUNNING|FROZEN", "-t", "5"]));
        let late = asker.ask(guest, "wait", &["-s", "STOPPED", "-t", "1"]);
        assert_ne!(late.code, Some(0), "{late}");
        let waiting = asker.begin(guest, "wait", &["-s", "STOPPED", "-t", "20"]);
        sandbox::kill(guest.init(), libc::SIGTERM);
        succeeds(&waiting.wait());
        succeeds(&running.wait());
    });
}

#[test]
fn freeze_and_unfreeze_are_seen_both_ways() {
    both_ways("freeze_and_unfreeze_are_seen_both_ways", "", |guest, supervisor, asker| {
        let running = supervisor.start(guest, "signals 9");
        succeeds(&asker.ask(guest, "freeze", &[]));
        for side in [Side::Ours, Side::Lxcs] {
            assert_eq!(state(guest, side), "FROZEN", "{side:?} are asked");
        }
        sandbox::kill(guest.init(), libc::SIGUSR1);
        succeeds(&asker.ask(guest, "unfreeze", &[]));
        guest.wait_said("signal 10");
        for side in [Side::Ours, Side::Lxcs] {
            assert_eq!(state(guest, side), "RUNNING", "{side:?} are asked");
        }
        succeeds(&asker.ask(guest, "stop", &["-k"]));
        running.wait();
    });
}

#[test]
fn config_items_are_told_both_ways() {
    let test = "config_items_are_told_both_ways";
    let config = "lxc.uts.name = box\nlxc.cap.drop = sys_time mknod\nlxc.environment = A=b c\nlxc.environment = D=";
    both_ways(test, config, |guest, supervisor, asker| {
        let running = supervisor.start(guest, "signals 9");
        let keys = ["lxc.uts.name", "lxc.cap.drop", "lxc.environment", "lxc.init.cmd", "lxc.tty.max"];
        for key in keys {
            let [theirs, ours] = [supervisor, asker].map(|side| side.ask(guest, "info", &["-H", "-c", key]));
            let [first, second] = [&theirs, &ours].map(|ended| (ended.code, ended.stdout.trim_end().to_owned()));
            assert_eq!(first, second, "{key}: {theirs}{ours}");
        }
        succeeds(&asker.ask(guest, "stop", &["-k"]));
        running.wait();
    });
}

#[test]
fn monitor_tells_states_until_the_end_both_ways() {
    let test = "monitor_tells_states_until_the_end_both_ways";
    both_ways(test, "", |guest, supervisor, asker| {
        let running = supervisor.start(guest, "signals 9");
        let monitor = asker.begin(guest, "monitor", &[]);
        let told = |state: &str| monitor.stdout().contains(&format!("'{}' changed state to [{state}]", guest.name()));
        // It does not say when it listens.
        wait_until("both states", || {
            succeeds(&asker.ask(guest, "freeze", &[]));
            succeeds(&asker.ask(guest, "unfreeze", &[]));
            told("FROZEN") && told("RUNNING")
        });
        succeeds(&asker.ask(guest, "stop", &["-k"]));
        running.wait();
        wait_until("the last state", || told("STOPPED"));
        monitor.signal(libc::SIGTERM);
        monitor.wait();
        // LXC's daemon behind lxc-monitor waits for others for half a minute.
        if asker == Side::Lxcs {
            succeeds(&asker.ask(guest, "monitor", &["-Q"]));
        }
    });
}

#[test]
fn console_lends_a_tty_and_takes_it_back_both_ways() {
    let test = "console_lends_a_tty_and_takes_it_back_both_ways";
    both_ways(test, "lxc.tty.max = 2", |guest, supervisor, asker| {
        let running = supervisor.start(guest, "signals 1 , print-to /dev/tty2 on-tty-2 , signals 9");
        let (ours, theirs) = sandbox::pty(80, 24);
        let mut command = asker.tool(guest, "console", &["-t", "2"]);
        command.stdin(theirs.try_clone().unwrap()).stdout(theirs.try_clone().unwrap()).stderr(theirs);
        sandbox::control_terminal(&mut command);
        let console = Running::spawn(guest, command);
        let mut terminal = File::from(ours);
        let mut text = String::new();
        until(&mut terminal, &mut text, "onnected to tty 2");
        sandbox::kill(guest.init(), libc::SIGUSR1);
        guest.wait_said("print-to /dev/tty2: ok");
        until(&mut terminal, &mut text, "on-tty-2");
        terminal.write_all(b"\x01q").unwrap();
        succeeds(&console.wait());
        succeeds(&asker.ask(guest, "stop", &["-k"]));
        running.wait();
    });
}

/// Reads on until the text has `word` in it.
#[track_caller]
fn until(terminal: &mut File, text: &mut String, word: &str) {
    nix::fcntl::fcntl(&*terminal, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK)).unwrap();
    let mut buffer = [0; 256];
    let seen = wait_for(DEADLINE, || {
        let read = terminal.read(&mut buffer).unwrap_or(0);
        text.push_str(&String::from_utf8_lossy(&buffer[..read]));
        text.contains(word)
    });
    assert!(seen, "no {word:?} on the terminal: {text}");
}

#[test]
fn attach_runs_a_command_with_its_code_and_output_both_ways() {
    let test = "attach_runs_a_command_with_its_code_and_output_both_ways";
    both_ways(test, "lxc.uts.name = box\nlxc.mount.auto = proc", |guest, supervisor, asker| {
        if !guest.busybox(test) {
            return;
        }
        let running = supervisor.start(guest, "signals 9");
        let script = "cat /proc/sys/kernel/hostname; echo $$PPID; echo err >&2; exit 7".replace("$$PPID", "$PPID");
        let ended = asker.ask(guest, "attach", &["--", "/bin/sh", "-c", &script]);
        assert_eq!((ended.code, &*ended.stdout, ended.stderr.trim()), (Some(7), "box\n0\n", "err"), "{ended}");
        let ended = asker.ask(guest, "attach", &["--", "/bin/none-such"]);
        assert_eq!(ended.code, Some(127), "{ended}");
        let ended = asker.ask(guest, "attach", &["--clear-env", "-v", "A=b", "--", "/bin/env"]);
        assert!(ended.stdout.contains("A=b\n") && ended.stdout.contains("container=lxc\n"), "{ended}");
        succeeds(&asker.ask(guest, "stop", &["-k"]));
        running.wait();
    });
}
