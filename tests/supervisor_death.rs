//! SIGKILL for the supervisor: the container goes with it, and the next start finds its place as it always was.

use crate::support::{Guest, Running, leaks, wait_for, wait_until};
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
