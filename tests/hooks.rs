//! Hooks: which are called when, with what arguments and environment, and what a bad one does.

use crate::support::{Guest, sandbox, wait_for, wait_until};
use std::time::Duration;

/// The hooks that run as host programs, in the order in which a life meets them. (`start` runs inside the container.)
const KINDS: [&str; 7] = ["pre-start", "pre-mount", "mount", "autodev", "start-host", "stop", "post-stop"];

/// A guest with one recording script for each hook: `calls` gets `KIND ARGUMENTS`, `env.KIND` the environment, every time.
fn recorded(label: &str) -> Guest {
    let mut guest = Guest::new(label);
    for kind in KINDS {
        let script = format!("echo \"{kind} $*\" >> $dir/calls\nenv > $dir/env.{kind}.$(grep -c ^{kind} $dir/calls)");
        let script = guest.script(&format!("hook.{kind}"), &script);
        guest = guest.config(&format!("lxc.hook.{kind} = {script}"));
    }
    guest
}

/// The value of a variable in a recorded environment.
fn variable(environment: &str, name: &str) -> Option<String> {
    environment.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix('=')?.to_owned()))
}

#[test]
fn version_0_every_hook_gets_name_section_and_type_in_order() {
    let guest = recorded("hooks_v0");
    let ended = guest.run("exit 0");
    assert_eq!(ended.code, Some(0), "{ended}");
    let calls = guest.file("calls");
    let kinds: Vec<_> = calls.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(kinds, KINDS, "{ended}");
    for line in calls.lines() {
        let kind = line.split(' ').next().unwrap();
        assert!(line.starts_with(&format!("{kind} {} lxc {kind}", guest.name())), "{line}");
    }
    // The stop hook gets the namespaces of the container that is ending, as paths it can open.
    let stop = calls.lines().find(|line| line.starts_with("stop")).unwrap();
    for namespace in [" mnt:/proc/", " pid:/proc/", " uts:/proc/", " ipc:/proc/", " net:/proc/"] {
        assert!(stop.contains(namespace), "{stop}");
    }
    guest.assert_nothing_left();
}

#[test]
fn version_1_hooks_get_no_arguments_but_variables() {
    let guest = recorded("hooks_v1").config("lxc.hook.version = 1");
    let ended = guest.run("exit 0");
    assert_eq!(ended.code, Some(0), "{ended}");
    assert_eq!(guest.file("calls"), KINDS.map(|kind| format!("{kind} \n")).concat());
    for kind in KINDS {
        let environment = guest.file(&format!("env.{kind}.1"));
        assert_eq!(variable(&environment, "LXC_HOOK_TYPE").as_deref(), Some(kind));
        assert_eq!(variable(&environment, "LXC_HOOK_SECTION").as_deref(), Some("lxc"));
        assert_eq!(variable(&environment, "LXC_HOOK_VERSION").as_deref(), Some("1"));
    }
}

#[test]
fn environment_names_the_container() {
    let guest = recorded("hook_env").config(
        "lxc.environment = BOTH=1
        lxc.environment.hooks = HOOKS=2
        lxc.environment.runtime = INIT=3
        lxc.console.logfile = {dir}/console.log",
    );
    let ended = guest.run("exit 0");
    assert_eq!(ended.code, Some(0), "{ended}");
    let environment = guest.file("env.pre-start.1");
    let expected = [
        ("LXC_NAME", Some(guest.name().to_owned())),
        ("LXC_CONFIG_FILE", Some(guest.dir().join("config").to_string_lossy().into_owned())),
        ("LXC_ROOTFS_PATH", Some(guest.rootfs().to_string_lossy().into_owned())),
        ("LXC_CONSOLE_LOGPATH", Some(guest.dir().join("console.log").to_string_lossy().into_owned())),
        ("LXC_HOOK_VERSION", Some("0".into())),
        ("BOTH", Some("1".into())),
        ("HOOKS", Some("2".into())),
        ("INIT", None),
        ("LXC_PID", None),
        ("LXC_TARGET", None),
    ];
    for (name, value) in expected {
        assert_eq!(variable(&environment, name), value, "{name} in\n{environment}");
    }
    assert!(variable(&environment, "LXC_ROOTFS_MOUNT").is_some_and(|path| path.starts_with('/')), "{environment}");
    assert!(variable(&guest.file("env.start-host.1"), "LXC_PID").is_some_and(|pid| pid.parse::<i32>().is_ok()));
    for kind in ["stop", "post-stop"] {
        assert_eq!(variable(&guest.file(&format!("env.{kind}.1")), "LXC_TARGET").as_deref(), Some("stop"), "{kind}");
    }
}

#[test]
fn environment_is_made_anew_in_each_round() {
    let guest = recorded("hook_rounds").config("monopod.restart.delay = 0ms");
    let ended = guest.run("restart-times 1 , exit 0");
    assert_eq!(ended.code, Some(0), "{ended}");
    assert_eq!(guest.file("calls").lines().count(), 2 * KINDS.len(), "{}", guest.file("calls"));
    for (round, target) in [(1, "reboot"), (2, "stop")] {
        let environment = guest.file(&format!("env.post-stop.{round}"));
        assert_eq!(variable(&environment, "LXC_TARGET").as_deref(), Some(target), "round {round}");
    }
    let first = guest.file("env.pre-start.1");
    let second = guest.file("env.pre-start.2");
    for name in ["LXC_PID", "LXC_TARGET", "LXC_MNT_NS", "LXC_PID_NS", "LXC_NET_NS"] {
        assert_eq!(variable(&second, name), variable(&first, name), "{name} is the last round's");
    }
}

#[test]
fn pre_mount_mount_and_autodev_see_the_rootfs_at_its_mount_point() {
    let guest = Guest::new("hook_mounts");
    let pre_mount = guest.script("hook.pre-mount", "echo ok > $dir/pre-mount");
    let mount = guest.script("hook.mount", "test -x $LXC_ROOTFS_MOUNT/init && echo made > $LXC_ROOTFS_MOUNT/by-mount");
    let autodev = guest.script("hook.autodev", "mknod $LXC_ROOTFS_MOUNT/dev/mine c 1 3");
    let guest = guest
        .config(&format!("lxc.hook.pre-mount = {pre_mount}\nlxc.hook.mount = {mount}\nlxc.hook.autodev = {autodev}"));
    let ended = guest.run("report , read /by-mount");
    assert_eq!(ended.code, Some(0), "{ended}");
    assert_eq!(guest.file("pre-mount"), "ok\n");
    assert!(guest.results().contains("read /by-mount: made"), "{ended}");
    assert!(guest.report().entry("dev", "/dev/mine").starts_with("c 1:3"));
    // The node is in the container's own /dev, not in the rootfs.
    assert!(!guest.rootfs().join("dev/mine").exists());
}

#[test]
fn start_hook_runs_inside_the_container_before_init() {
    let guest = Guest::new("hook_start").config("lxc.hook.start = /hook.start\nlxc.uts.name = inside");
    if !guest.busybox("start_hook_runs_inside_the_container_before_init") {
        return;
    }
    let host_script = guest.script("hook.start", "cat /proc/sys/kernel/hostname > /by-start\necho \"$*\" >> /by-start");
    std::fs::rename(host_script, guest.rootfs().join("hook.start")).unwrap();
    let guest = guest.config("lxc.mount.auto = proc");
    let ended = guest.run("read /by-start");
    assert_eq!(ended.code, Some(0), "{ended}");
    assert_eq!(guest.results(), format!("read /by-start: inside\n{} lxc start\n", guest.name()), "{ended}");
}

#[test]
fn hooks_of_one_kind_run_in_the_order_written() {
    let guest = Guest::new("hook_order");
    let first = guest.script("first", "echo first >> $dir/calls");
    let second = guest.script("second", "echo second >> $dir/calls");
    let guest = guest.config(&format!(
        "lxc.hook.pre-start = {second}
        lxc.hook.pre-start =
        lxc.hook.pre-start = {first}
        lxc.hook.pre-start = {second} argument"
    ));
    assert_eq!(guest.run("exit 0").code, Some(0));
    assert_eq!(guest.file("calls"), "first\nsecond\n");
}

#[test]
fn failing_hook_refuses_the_start_and_is_named() {
    for kind in ["pre-start", "pre-mount", "mount", "autodev", "start-host"] {
        for (script, why) in [("exit 3", "3"), ("kill -9 $$", "9")] {
            let guest = Guest::new("hook_fails");
            let path = guest.script("the-hook", script);
            let guest = guest.config(&format!("lxc.hook.{kind} = {path}"));
            let ended = guest.run("say lived");
            assert_eq!(ended.code, Some(255), "{kind}, {script}{ended}");
            assert_eq!(ended.stderr.lines().count(), 1, "{kind}, {script}{ended}");
            for part in [&path, &format!("config:{}", guest.next_line() - 1), why] {
                assert!(ended.stderr.contains(part), "no {part} for {kind}, {script}{ended}");
            }
            assert_eq!(guest.results(), "", "{kind}: init ran");
            guest.assert_nothing_left();
        }
    }
}

#[test]
fn hanging_hook_is_killed_with_its_children_at_the_deadline() {
    // Hooks inside the container's process are covered by the deadline of the start.
    for (kind, deadline) in [("pre-start", "hook"), ("start-host", "hook"), ("pre-mount", "start"), ("mount", "start")]
    {
        let guest = Guest::new("hook_hangs");
        let path = guest.script("the-hook", "sleep 1000 &\nsleep 1000");
        let guest = guest.config(&format!("monopod.timeout.{deadline} = 300ms\nlxc.hook.{kind} = {path}"));
        let ended = guest.run("say lived");
        assert_eq!(ended.code, Some(255), "{kind}{ended}");
        assert!(ended.stderr.lines().count() == 1 && ended.stderr.contains("monopod.timeout."), "{kind}{ended}");
        assert_eq!(guest.results(), "", "{kind}: init ran");
        guest.assert_nothing_left();
    }
}

#[test]
fn chatty_hook_is_read_to_its_end() {
    let guest = Guest::new("hook_chatty");
    let path = guest.script("the-hook", "head -c 100000000 /dev/zero | tr '\\0' x && echo done > $dir/chatted");
    let guest = guest.config(&format!("lxc.hook.pre-start = {path}"));
    let ended = guest.run("exit 8");
    assert_eq!(ended.code, Some(8), "{}", ended.stderr);
    assert_eq!(guest.file("chatted"), "done\n");
    let log = std::fs::metadata(guest.dir().join("log")).unwrap().len();
    assert!(log < 25_000_000, "the log took {log} bytes of it");
}

#[test]
fn hook_output_goes_to_the_log() {
    let guest = Guest::new("hook_output");
    let path = guest.script("the-hook", "echo said on stdout\necho said on stderr >&2");
    let guest = guest.config(&format!("lxc.hook.pre-start = {path}"));
    let ended = guest.run("exit 0");
    assert_eq!(ended.code, Some(0), "{ended}");
    let log = guest.file("log");
    assert!(log.contains("said on stdout") && log.contains("said on stderr"), "{log}");
    assert!(!ended.stderr.contains("said on"), "{ended}");
}

#[test]
fn hook_that_leaves_a_daemon_with_its_pipe_does_not_hold_up_the_start() {
    let guest = Guest::new("hook_daemon");
    let path = guest.script("the-hook", "sleep 1000 &\necho $! > $dir/daemon");
    let guest = guest.config(&format!("lxc.hook.pre-start = {path}"));
    let ended = guest.run("exit 6");
    assert_eq!(ended.code, Some(6), "{ended}");
    // A daemon that a hook started on purpose is the hook's business.
    sandbox::kill(guest.file("daemon").trim().parse().unwrap(), libc::SIGKILL);
    guest.assert_nothing_left();
}

#[test]
fn container_child_killed_before_exec_is_reported_and_cleaned_up() {
    for kind in ["pre-mount", "mount", "autodev"] {
        let guest = Guest::new("child_killed");
        let path = guest.script("the-hook", "echo begun > $dir/begun\nsleep 1000");
        let guest = guest.config(&format!("lxc.hook.{kind} = {path}"));
        let running = guest.start("say lived");
        wait_until("the hook", || guest.file("begun") == "begun\n");
        // The container's first process, which was about to become init.
        sandbox::kill(guest.init(), libc::SIGKILL);
        let ended = running.wait();
        assert_eq!(ended.code, Some(255), "{kind}{ended}");
        assert_eq!(ended.stderr.lines().count(), 1, "{kind}{ended}");
        guest.assert_nothing_left();
    }
}

#[test]
fn failing_post_stop_cancels_the_restart() {
    let guest = Guest::new("post_stop_fails").config("monopod.restart.delay = 0ms");
    let path = guest.script("the-hook", "exit 1");
    let guest = guest.config(&format!("lxc.hook.post-stop = {path}"));
    let ended = guest.run("say life , restart-times 3");
    assert_eq!(guest.results(), "life\n", "{ended}");
    assert!(ended.stderr.contains(&path), "{ended}");
    guest.assert_nothing_left();
}

#[test]
fn supervisor_told_to_end_while_a_hook_runs_ends_with_it() {
    let guest = Guest::new("term_in_hook");
    let path = guest.script("the-hook", "echo begun > $dir/begun\nsleep 1000");
    let guest = guest.config(&format!("lxc.hook.pre-start = {path}"));
    let running = guest.start("exit 0");
    wait_until("the hook", || guest.file("begun") == "begun\n");
    running.signal(libc::SIGTERM);
    let ended = running.wait_at_most(Duration::from_secs(10));
    // It was asked to stop, and it did.
    assert_eq!(ended.code, Some(0), "{ended}");
    assert!(wait_for(Duration::from_secs(1), || guest.sandbox.processes().is_empty()));
    guest.assert_nothing_left();
}
