//! SIGKILL for the supervisor: the container goes with it, and the next start finds its place as it always was.

use crate::support::races::rounds;
use crate::support::{Guest, Running, binary, emulated, leaks, wait_for, wait_until};
use std::time::Duration;

/// Starts the guest again after a death, and expects the same cgroup paths and a word about the cleaning.
fn starts_again(guest: &Guest) {
    let running = guest.start("signals 1 , report , exit 0");
    guest.wait_said("ready");
    let path = format!("/lxc/{}", guest.name());
    let cgroup = std::fs::read_to_string(format!("/proc/{}/cgroup", guest.init())).unwrap();
    assert!(cgroup.lines().any(|line| line.ends_with(&path)), "{cgroup}");
    assert!(!cgroup.contains(&format!("{path}-")), "{cgroup}");
    running.signal(libc::SIGTERM);
    let ended = running.wait();
    assert_eq!(ended.code, Some(0), "{ended}");
    let said = format!("{}{}", ended.stderr, guest.file("log"));
    assert!(said.contains("died") || said.contains("clean"), "nothing was said about the dead supervisor{ended}");
    guest.assert_nothing_left();
}

/// Starts the guest with children that ignore every signal, and kills its supervisor: all of them are gone.
pub fn kill_with_its_container(guest: &Guest) {
    let running = guest.start("forks 10 , say ready , forever");
    guest.wait_said("ready");
    assert_eq!(guest.pids().len(), 11);
    running.signal(libc::SIGKILL);
    assert_eq!(running.wait().code, None);
    assert!(wait_for(Duration::from_secs(1), || guest.pids().is_empty()), "the container lives on");
}

#[test]
fn killed_while_running_takes_the_container_along() {
    let guest = Guest::new("death_running").config("lxc.tty.max = 2\nlxc.mount.auto = proc sys");
    kill_with_its_container(&guest);
    std::fs::remove_file(guest.rootfs().join("results")).unwrap();
    starts_again(&guest);
}

#[test]
fn killed_while_a_hook_runs_recovers() {
    for kind in ["pre-start", "mount", "start-host", "post-stop"] {
        let guest = Guest::new("death_hook");
        let hook = guest.script("hook", "[ -e $dir/hooked ] && exit 0\necho > $dir/hooked\nexec sleep 1000");
        let guest = guest.config(&format!("lxc.hook.{kind} = {hook}"));
        let running = guest.start("exit 0");
        wait_until("the hook", || guest.dir().join("hooked").exists());
        running.signal(libc::SIGKILL);
        running.wait();
        let gone = || guest.pids().is_empty() && guest.sandbox.processes().is_empty();
        assert!(wait_for(Duration::from_secs(1), gone), "{kind}: {:?} {:?}", guest.pids(), guest.sandbox.processes());
        starts_again(&guest);
    }
}

#[test]
fn killed_between_lives_recovers() {
    let guest = Guest::new("death_between").config("monopod.restart.delay = 60s");
    let running = guest.start("say life , restart");
    wait_until("two lives", || guest.results() == "life\nlife\n" && guest.pids().is_empty());
    running.signal(libc::SIGKILL);
    running.wait();
    std::fs::remove_file(guest.rootfs().join("results")).unwrap();
    starts_again(&guest);
}

#[test]
fn daemon_killed_leaves_a_pidfile_that_stops_nobody() {
    let guest = Guest::new("death_daemon");
    let pidfile = guest.dir().join("pid").to_string_lossy().into_owned();
    let guest = guest.options(&["-d", "-p", &pidfile]);
    assert_eq!(guest.run("say up , forever").code, Some(0));
    let first: i32 = guest.file("pid").trim().parse().unwrap();
    crate::support::sandbox::kill(first, libc::SIGKILL);
    assert!(wait_for(Duration::from_secs(1), || guest.pids().is_empty()), "the container lives on");
    let second = Running::new(&guest, guest.start_command("say up , forever")).wait();
    assert_eq!(second.code, Some(0), "{second}");
    assert_ne!(guest.file("pid").trim().parse(), Ok(first));
    assert_eq!(guest.client("stop", &["-k"]).code, Some(0));
    wait_until("the end", || guest.sandbox.processes().is_empty());
    assert!(leaks::cgroups(&guest).is_empty());
    guest.assert_nothing_left();
}

#[test]
fn killed_while_it_stops_the_container_recovers() {
    let guest = Guest::new("death_stop");
    let running = guest.start("forks 5 , signals 1 , say deaf , forever");
    guest.wait_said("ready");
    let stop = Running::new(&guest, guest.tool("stop", &["-t", "60"]));
    // It waits for an init that does not listen.
    guest.wait_said("deaf");
    running.signal(libc::SIGKILL);
    running.wait();
    // The end of the connection is all that its client hears.
    stop.wait();
    assert!(wait_for(Duration::from_secs(1), || guest.pids().is_empty()), "the container lives on");
    std::fs::remove_file(guest.rootfs().join("results")).unwrap();
    starts_again(&guest);
}

#[test]
fn killed_at_any_moment_of_many_restarts_recovers() {
    let guest = Guest::new("death_restarts").config(
        "lxc.console.path =
        lxc.mount.auto = proc sys
        monopod.restart.delay = 0ms
        monopod.restart.uptime = 0
        monopod.restart.budget = 1000000",
    );
    for round in 0..rounds(12) {
        let lives = || guest.results().lines().count();
        let running = guest.start("say life , restart");
        // A different number of lives each time, and a different moment of the last.
        wait_until("some lives", || lives() > round % 5);
        running.signal(libc::SIGKILL);
        running.wait();
        assert!(wait_for(Duration::from_secs(1), || guest.pids().is_empty()), "round {round}: it lives on");
        std::fs::remove_file(guest.rootfs().join("results")).unwrap();
    }
    assert_eq!(guest.run("exit 4").code, Some(4));
    guest.assert_nothing_left();
}

#[test]
fn program_replaced_while_it_runs_goes_on_through_restarts_and_stops() {
    if emulated("program_replaced_while_it_runs_goes_on_through_restarts_and_stops", "the program is the emulator") {
        return;
    }
    let guest = Guest::new("replaced").config("monopod.restart.delay = 0ms\nlxc.console.path =");
    let copy = guest.dir().join("monopod");
    std::fs::copy(binary(), &copy).unwrap();
    let start = guest.start_command("say life , signals 1 , restart-times 1 , exit 6");
    let mut command = std::process::Command::new(&copy);
    command.args(start.get_args()).stdin(std::process::Stdio::null());
    guest.enter(&mut command);
    let running = Running::new(&guest, command);
    guest.wait_said("ready");
    std::fs::write(guest.dir().join("new"), "not a program").unwrap();
    std::fs::rename(guest.dir().join("new"), &copy).unwrap();
    running.signal(libc::SIGUSR1);
    wait_until("the second life", || guest.results().matches("ready").count() == 2);
    assert_eq!(guest.client("info", &["-s", "-H"]).stdout, "RUNNING\n");
    running.signal(libc::SIGUSR1);
    let ended = running.wait();
    assert_eq!(ended.code, Some(6), "{ended}");
    guest.assert_nothing_left();
}

#[test]
fn state_directory_that_others_could_have_planted_is_refused() {
    for (plant, refused) in [
        ("ln -s {dir}/outside /run/monopod", true),
        ("mkdir -m 777 /run/monopod", true),
        ("mkdir /run/monopod; chown 1000 /run/monopod", true),
        ("touch /run/monopod", true),
        ("mkdir -p -m 700 /run/monopod/{name}; ln -s {dir}/outside/lock /run/monopod/{name}/lock", true),
        ("mkdir -p -m 700 /run/monopod/{name}; mkfifo /run/monopod/{name}/lock", true),
        ("mkdir -p -m 700 /run/monopod/{name}; echo nonsense > /run/monopod/{name}/lock", false),
    ] {
        let guest = Guest::new("planted_state");
        let outside = guest.dir().join("outside");
        std::fs::create_dir(&outside).unwrap();
        guest.sandbox.sh(&plant.replace("{dir}", guest.dir().to_str().unwrap()).replace("{name}", guest.name()));
        let ended = guest.run("exit 0");
        assert_eq!(ended.code, Some(if refused { 255 } else { 0 }), "{plant}{ended}");
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0, "{plant}{ended}");
    }
}
