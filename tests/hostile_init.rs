//! Inits that mean harm to whoever supervises them.

use crate::support::{Guest, Running, emulated, sandbox, skip, wait_until};
use std::fs;
use std::path::Path;

#[test]
fn every_exit_code_is_reported_as_it_is() {
    let guest = Guest::new("all_codes").config(
        "monopod.restart.when = always
        monopod.restart.delay = 0ms
        monopod.restart.budget = 255",
    );
    let ended = guest.run("exit-counting");
    assert_eq!(ended.code, Some(254), "{ended}");
    let log = guest.file("log");
    let codes: Vec<_> = log.lines().filter_map(|line| line.split(" - init exited with code ").nth(1)).collect();
    // None of them is a halt or a reboot, 129 and 130 neither.
    assert_eq!(codes, (0..=255).map(|code| code.to_string()).collect::<Vec<_>>(), "{ended}");
    guest.assert_nothing_left();
}

#[test]
fn every_signal_that_the_kernel_forces_on_init_is_reported_as_it_is() {
    if emulated("every_signal_that_the_kernel_forces_on_init_is_reported_as_it_is", "the guest is of this machine") {
        return;
    }
    for (name, signal) in [("ill", libc::SIGILL), ("bus", libc::SIGBUS), ("kill", libc::SIGKILL)] {
        let guest = Guest::new("fault");
        let ended = guest.run(&format!("fault {name}"));
        assert_eq!(ended.code, Some(128 + signal), "{name}{ended}");
        assert!(ended.stderr.contains(&format!("signal {signal}")), "{name}{ended}");
        guest.assert_nothing_left();
    }
}

#[test]
fn init_that_reaches_out_finds_nothing_of_the_host() {
    let guest = Guest::new("reach").config("lxc.console.path =\nmonopod.console = stdio\nlxc.tty.max = 2");
    let ended = guest.run("reach-out");
    assert_eq!(ended.code, Some(0), "{ended}");
    let names = r#"["dev", "init", "mnt", "proc", "sys", "tmp"]"#;
    assert_eq!(guest.results(), format!("parent 0, traced 0, descriptors [0, 1, 2], above {names}\n"), "{ended}");
    guest.assert_nothing_left();
}

#[test]
fn typing_into_the_console_from_inside_reaches_no_terminal_of_the_host() {
    let guest = Guest::new("inject").config("lxc.console.path =");
    let (ours, theirs) = sandbox::pty(80, 25);
    let mut command = guest.start_command("inject , echo 1 , exit 0");
    let end = || theirs.try_clone().unwrap();
    command.stdin(end()).stdout(end()).stderr(end());
    sandbox::control_terminal(&mut command);
    let running = Running::spawn(&guest, command);
    guest.wait_said("injected");
    // What was typed there comes back to its own reader, who echoes it; nothing waits at the user's shell.
    let mut ours = fs::File::from(ours);
    std::io::Write::write_all(&mut ours, b"\n").unwrap();
    let ended = running.wait();
    assert_eq!(ended.code, Some(0), "{ended}");
    assert_eq!(sandbox::waiting(&theirs), 0);
    guest.assert_nothing_left();
}

#[test]
fn control_codes_of_a_guest_reach_no_log_and_no_tool() {
    let guest = Guest::new("escapes").config(
        "lxc.console.path =
        monopod.crash.file = {dir}/crash
        monopod.restart.when = always
        monopod.restart.delay = 60s",
    );
    // Clears the screen, sets the title, forges a line, goes to the line's begin; C1 in UTF-8 and alone.
    let running =
        guest.start("print-hex 1b5b324a1b5d303b6576696c070a6d6f6e6f706f643a20666f726765640d78c29b326a9b32ff0a , crash");
    wait_until("a crash report", || guest.dir().join("crash").exists());
    wait_until("the end of the life", || guest.file("log").contains("-> STOPPED") || guest.pids().is_empty());
    let told = guest.client("info", &[]);
    let stopped = guest.client("stop", &["-k"]);
    assert_eq!(stopped.code, Some(0), "{stopped}");
    let ended = running.wait();
    for (what, text) in [
        ("the log", guest.file("log")),
        ("stderr", ended.stderr.clone()),
        ("the crash file", guest.file("crash")),
        ("info", told.stdout),
    ] {
        let is_bad = |c: char| c.is_control() && c != '\n';
        assert!(!text.contains(is_bad), "{what}: {text:?}");
        assert!(!text.lines().any(|line| line.starts_with("monopod: forged")), "{what}: {text:?}");
    }
    assert!(guest.file("log").contains("[2J"), "what it printed is there{ended}");
    guest.assert_nothing_left();
}

#[test]
fn guest_that_freezes_itself_is_told_of_and_stopped() {
    for (hierarchy, file, word) in [("freezer", "freezer.state", "FROZEN"), ("unified", "cgroup.freeze", "1")] {
        let place = format!("/sys/fs/cgroup/{hierarchy}");
        if !Path::new(&place).exists() {
            skip("guest_that_freezes_itself_is_told_of_and_stopped", &format!("no {place} here"), false);
            continue;
        }
        let guest = Guest::new("self_frozen").config("lxc.mount.auto = proc sys cgroup:rw:force");
        let running = guest.start(&format!("say up , write {place}/{file} {word} , say thawed , forever"));
        guest.wait_said("up");
        let status = format!("/proc/{}/wchan", guest.init());
        wait_until("the freeze", || {
            fs::read_to_string(&status).is_ok_and(|place| place.contains("refrigerator") || place.contains("freez"))
                || fs::read_to_string(format!("/sys/fs/cgroup/unified/lxc/{}/cgroup.events", guest.name()))
                    .is_ok_and(|events| events.contains("frozen 1"))
        });
        let state = guest.client("info", &["-s", "-H"]);
        assert!(["FROZEN\n", "RUNNING\n"].contains(&&*state.stdout), "{state}");
        let stopped = guest.client("stop", &["-t", "1"]);
        assert_eq!(stopped.code, Some(0), "{stopped}");
        assert_eq!(running.wait().code, Some(0));
        guest.assert_nothing_left();
    }
}

#[test]
fn guest_that_hides_in_groups_below_its_own_is_stopped_with_all_it_has() {
    if !Path::new("/sys/fs/cgroup/pids").exists() {
        return skip("guest_that_hides_in_groups_below_its_own_is_stopped_with_all_it_has", "no v1 pids here", false);
    }
    let guest = Guest::new("hidden").config("lxc.mount.auto = proc sys cgroup:rw:force");
    let deep = "/a".repeat(40);
    let move_to = |hierarchy: &str| {
        let place = format!("/sys/fs/cgroup/{hierarchy}{deep}");
        format!("ready mkdir {place} , write {place}/cgroup.procs 1 , ")
    };
    let steps: String = ["pids", "freezer", "unified"].map(move_to).concat();
    let running = guest.start(&format!("{steps} forks 20 , forever"));
    guest.wait_said("forked 20");
    assert_eq!(guest.pids().len(), 21);
    let frozen = guest.client("freeze", &[]);
    assert_eq!(frozen.code, Some(0), "{frozen}");
    let stopped = guest.client("stop", &["-k"]);
    assert_eq!(stopped.code, Some(0), "{stopped}");
    assert_eq!(running.wait().code, Some(0));
    guest.assert_nothing_left();
}

#[test]
fn guest_whose_files_never_answer_holds_up_neither_clients_nor_its_stop() {
    let test = "guest_whose_files_never_answer_holds_up_neither_clients_nor_its_stop";
    if !fs::read_to_string("/proc/filesystems").unwrap().contains("\tfuse\n") {
        return skip(test, "this kernel has no FUSE", false);
    }
    // What the supervisor looks for in a running guest: how to stop it, its devpts for a client.
    for (path, config) in [
        ("/system", "monopod.preset = android"),
        ("/dev/socket", "monopod.stop.method = property\nmonopod.android.sdk = 30"),
        ("/dev", "lxc.autodev = 0"),
    ] {
        let guest = Guest::new("unanswered").config(config);
        let running = guest.start(&format!("unanswered {path} , say up , forever"));
        guest.wait_said("up");
        if path == "/dev" {
            let mut stream = crate::clients::connect(&guest);
            std::io::Write::write_all(&mut stream, &crate::clients::request(21, 0)).unwrap();
            let mut answer = [0; 64];
            let length = std::io::Read::read(&mut stream, &mut answer).unwrap();
            assert!(length >= 4 && i32::from_ne_bytes(answer[..4].try_into().unwrap()) < 0, "{answer:?}");
        }
        let stop = Running::new(&guest, guest.tool("stop", &["-t", "1"]));
        for _ in 0..5 {
            let state = guest.client("info", &["-s", "-H"]);
            assert!(["RUNNING\n", "STOPPING\n", "STOPPED\n"].contains(&&*state.stdout), "{path}{state}");
        }
        let stopped = stop.wait();
        assert_eq!(stopped.code, Some(0), "{path}{stopped}");
        assert_eq!(running.wait().code, Some(0), "{path}");
        guest.assert_nothing_left();
    }
}

#[test]
fn guest_that_hangs_up_its_terminals_wakes_nobody() {
    let guest = Guest::new("hang_up").config("lxc.console.path =\nmonopod.console = stdio\nlxc.tty.max = 1");
    let running = guest.start("hang-up , forever");
    guest.wait_said("hung up");
    guest.wait_running();
    // A supervisor that is woken again and again by an end that is gone is hardly ever found asleep.
    let sleeps = || fs::read_to_string(format!("/proc/{}/wchan", running.pid())).unwrap().contains("poll");
    let asleep = |_: &usize| (0..10).all(|_| sleeps());
    wait_until("the supervisor to sleep", || (0..5).filter(asleep).count() == 5);
    let stopped = guest.client("stop", &["-k"]);
    assert_eq!(stopped.code, Some(0), "{stopped}");
    assert_eq!(running.wait().code, Some(0));
    guest.assert_nothing_left();
}
