//! Cgroups: exactly `lxc/NAME` wherever it counts, with every configured limit, and nothing afterwards.

use crate::support::realtime::Budget;
use crate::support::{Guest, emulated, sandbox, wait_for};
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Why a test cannot run where the machine has no v1 controller of that name mounted in the usual place.
fn missing(test: &str, controllers: &[&str]) -> bool {
    let missing = controllers.iter().find(|name| !PathBuf::from(format!("/sys/fs/cgroup/{name}/tasks")).exists());
    if let Some(name) = missing {
        crate::support::skip(test, &format!("no v1 hierarchy /sys/fs/cgroup/{name} on this machine"), false);
    }
    missing.is_some()
}

/// The container's directory in a v1 hierarchy.
fn v1(guest: &Guest, controller: &str) -> PathBuf {
    format!("/sys/fs/cgroup/{controller}/lxc/{}", guest.name()).into()
}

fn value(guest: &Guest, controller: &str, file: &str) -> String {
    fs::read_to_string(v1(guest, controller).join(file)).unwrap_or_else(|e| format!("{e}")).trim().to_owned()
}

/// Lines of /proc/PID/cgroup of the container's init.
fn paths_of_init(guest: &Guest) -> Vec<(String, String)> {
    paths_of(guest.init())
}

fn paths_of(pid: i32) -> Vec<(String, String)> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let field = |line: &str, n| line.splitn(3, ':').nth(n).unwrap_or("").to_owned();
    text.lines().map(|line| (field(line, 1), field(line, 2))).collect()
}

#[test]
fn hybrid_init_is_in_lxc_name_of_every_hierarchy() {
    let guest = Guest::new("hybrid");
    let running = guest.start("say up , signals 1");
    guest.wait_said("ready");
    let expected = format!("/lxc/{}", guest.name());
    for (controllers, path) in paths_of_init(&guest) {
        // A named hierarchy (systemd's) holds no controller: being in it or not is the supervisor's choice.
        if !controllers.starts_with("name=") {
            assert_eq!(path, expected, "hierarchy {controllers:?}");
        }
    }
    assert_eq!(guest.pids().len(), 1, "the supervisor stays where it was");
    running.signal(libc::SIGTERM);
    assert_eq!(running.wait().code, Some(0));
    guest.assert_nothing_left();
}

#[test]
fn v1_only_host_uses_the_controllers() {
    if missing("v1_only_host_uses_the_controllers", &["cpu", "memory", "devices"]) {
        return;
    }
    let guest = Guest::new("v1_only");
    guest.sandbox.sh("if [ -d /sys/fs/cgroup/unified ]; then umount /sys/fs/cgroup/unified; fi");
    let running = guest.start("say up , signals 1");
    guest.wait_said("ready");
    for (controllers, path) in paths_of_init(&guest) {
        if ["cpu", "memory", "devices"].contains(&&*controllers) {
            assert_eq!(path, format!("/lxc/{}", guest.name()), "{controllers}");
        }
        if controllers.is_empty() {
            assert!(!path.contains(guest.name()), "v2 is not mounted there: {path}");
        }
    }
    running.signal(libc::SIGTERM);
    assert_eq!(running.wait().code, Some(0));
    guest.assert_nothing_left();
}

#[test]
fn v2_only_host_uses_the_one_tree() {
    let guest = Guest::new("v2_only");
    guest.sandbox.sh("umount -R /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup");
    let running = guest.start("say up , signals 1");
    guest.wait_said("ready");
    for (controllers, path) in paths_of_init(&guest) {
        match controllers.is_empty() {
            true => assert_eq!(path, format!("/lxc/{}", guest.name())),
            false => assert!(!path.contains(guest.name()), "{controllers} is not mounted there: {path}"),
        }
    }
    running.signal(libc::SIGTERM);
    assert_eq!(running.wait().code, Some(0));
    guest.assert_nothing_left();
}

#[test]
fn read_only_hierarchy_is_passed_over_with_a_warning() {
    if missing("read_only_hierarchy_is_passed_over_with_a_warning", &["pids"]) {
        return;
    }
    for (hierarchy, controllers) in [("pids", "pids"), ("unified", "")] {
        let guest = Guest::new("read_only");
        guest.sandbox.sh(&format!("mount -o remount,bind,ro /sys/fs/cgroup/{hierarchy}"));
        let running = guest.start("report , signals 1");
        guest.wait_said("ready");
        let own = format!("/lxc/{}", guest.name());
        for (of, path) in paths_of_init(&guest).iter().filter(|(of, _)| !of.starts_with("name=")) {
            assert_eq!(*path == own, of != controllers, "{of}: {path}");
        }
        running.signal(libc::SIGTERM);
        let ended = running.wait();
        assert_eq!(ended.code, Some(0), "{ended}");
        let warnings: Vec<_> = ended.stderr.lines().collect();
        assert_eq!(warnings.len(), 1, "{ended}");
        assert!(warnings[0].contains(&format!("/sys/fs/cgroup/{hierarchy}/")), "{ended}");
        guest.assert_nothing_left();
    }
}

#[test]
fn read_only_hierarchy_with_a_limit_for_it_is_refused() {
    if missing("read_only_hierarchy_with_a_limit_for_it_is_refused", &["pids"]) {
        return;
    }
    let guest = Guest::new("read_only_limit");
    guest.sandbox.sh("mount -o remount,bind,ro /sys/fs/cgroup/pids");
    let line = guest.next_line();
    let guest = guest.config("lxc.cgroup.pids.max = 20");
    let ended = guest.run("exit 0");
    assert_eq!(ended.code, Some(255), "{ended}");
    let last = ended.stderr.lines().last().unwrap_or_default();
    for part in [&*format!("config:{line}"), "lxc.cgroup.pids.max", "20"] {
        assert!(last.contains(part), "{part}{ended}");
    }
    guest.assert_nothing_left();
}

#[test]
fn limits_are_in_force_before_init_runs() {
    if missing("limits_are_in_force_before_init_runs", &["memory", "pids", "cpu", "cpuset"]) {
        return;
    }
    let guest = Guest::new("limits").config(
        "lxc.cgroup.memory.limit_in_bytes = 64M
        lxc.cgroup.pids.max = 20
        lxc.cgroup.cpu.shares = 512
        lxc.cgroup.cpuset.cpus = 0",
    );
    let running = guest.start("signals 1");
    guest.wait_said("ready");
    for (controller, file, expected) in [
        ("memory", "memory.limit_in_bytes", "67108864"),
        ("pids", "pids.max", "20"),
        ("cpu", "cpu.shares", "512"),
        ("cpuset", "cpuset.cpus", "0"),
        ("cpuset", "cpuset.mems", &fs::read_to_string("/sys/fs/cgroup/cpuset/cpuset.mems").unwrap()),
    ] {
        assert_eq!(value(&guest, controller, file), expected.trim(), "{file}");
    }
    running.signal(libc::SIGTERM);
    running.wait();
    guest.assert_nothing_left();
}

#[test]
fn cpuset_not_configured_is_inherited() {
    if missing("cpuset_not_configured_is_inherited", &["cpuset"]) {
        return;
    }
    let guest = Guest::new("cpuset");
    let running = guest.start("signals 1");
    guest.wait_said("ready");
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let all = fs::read_to_string(format!("/sys/fs/cgroup/cpuset/{file}")).unwrap();
        assert_eq!(value(&guest, "cpuset", file), all.trim(), "{file}");
    }
    running.signal(libc::SIGTERM);
    running.wait();
}

#[test]
fn realtime_share_is_given_to_the_parent_first() {
    let test = "realtime_share_is_given_to_the_parent_first";
    if missing(test, &["cpu"]) {
        return;
    }
    if !PathBuf::from("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").exists() {
        return crate::support::skip(test, "this kernel has no CONFIG_RT_GROUP_SCHED", false);
    }
    let _budget = Budget::take();
    let guest = Guest::new("realtime").config("lxc.cgroup.cpu.rt_runtime_us = 100000");
    let running = guest.start("signals 1");
    guest.wait_said("ready");
    assert_eq!(value(&guest, "cpu", "cpu.rt_runtime_us"), "100000");
    running.signal(libc::SIGTERM);
    running.wait();
    guest.assert_nothing_left();
}

#[test]
fn devices_are_fenced_after_the_container_has_its_own() {
    if missing("devices_are_fenced_after_the_container_has_its_own", &["devices"]) {
        return;
    }
    let guest = Guest::new("devices").config(
        "lxc.cgroup.devices.deny = a
        lxc.cgroup.devices.allow = c 1:3 rwm",
    );
    let ended = guest.run("report , mknod /tmp/null 1 3 , mknod /tmp/zero 1 5 , write /dev/null x , write /dev/full x");
    assert_eq!(ended.code, Some(0), "{ended}");
    let expected = "mknod /tmp/null: ok
mknod /tmp/zero: Operation not permitted
write /dev/null: ok
write /dev/full: Operation not permitted
";
    assert_eq!(guest.results(), expected, "{ended}");
    // The forbidden node was made before the fence went up.
    assert!(guest.report().entry("dev", "/dev/full").starts_with("c 1:7"));
}

/// cgroup v2 has no device files: the list becomes a program, which the kernel has to accept.
#[test]
fn devices_on_v2_are_fenced_by_a_program() {
    if emulated("devices_on_v2_are_fenced_by_a_program", "qemu-user has no bpf(2)") {
        return;
    }
    let guest = Guest::new("devices_v2").config(
        "lxc.cgroup2.devices.allow = b *:* rwm
        lxc.cgroup2.devices.deny = a
        lxc.cgroup2.devices.allow = c 1:3 rwm
        lxc.cgroup2.devices.allow = c 1:5 r",
    );
    guest.sandbox.sh("umount -R /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup");
    let ended = guest
        .run("mknod /tmp/null 1 3 , mknod /tmp/zero 1 5 , write /dev/null x , write /dev/zero x , write /dev/full x");
    assert_eq!(ended.code, Some(0), "{ended}");
    let expected = "mknod /tmp/null: ok
mknod /tmp/zero: Operation not permitted
write /dev/null: ok
write /dev/zero: Operation not permitted
write /dev/full: Operation not permitted
";
    assert_eq!(guest.results(), expected, "{ended}");
    guest.assert_nothing_left();
}

#[test]
fn stale_cgroups_of_the_name_are_adopted() {
    let guest = Guest::new("stale");
    guest.sandbox.sh(&format!("for h in /sys/fs/cgroup/*/; do mkdir -p $h/lxc/{0}/old/older; done", guest.name()));
    let running = guest.start("say up , signals 1");
    guest.wait_said("ready");
    for (controllers, path) in paths_of_init(&guest) {
        if !controllers.starts_with("name=") {
            assert_eq!(path, format!("/lxc/{}", guest.name()), "{controllers}");
        }
    }
    running.signal(libc::SIGTERM);
    assert_eq!(running.wait().code, Some(0));
    // One that the supervisor had no use for is not its to remove.
    guest.sandbox.sh(&format!(
        "cd /sys/fs/cgroup/systemd/lxc/{0} 2>/dev/null && rmdir old/older old && cd .. && rmdir {0} || :",
        guest.name()
    ));
    guest.assert_nothing_left();
}

#[test]
fn cgroups_made_inside_go_with_the_container() {
    let guest = Guest::new("inner");
    let running = guest.start("signals 1");
    guest.wait_said("ready");
    for dir in crate::support::leaks::cgroups(&guest) {
        fs::create_dir_all(dir.join("inner/most")).unwrap();
    }
    running.signal(libc::SIGTERM);
    assert_eq!(running.wait().code, Some(0));
    guest.assert_nothing_left();
}

#[test]
fn cgroups_nested_however_deep_go_with_the_container() {
    let guest = Guest::new("nested");
    let running = guest.start("signals 1");
    guest.wait_said("ready");
    // Deeper than any stack or path would have room for, with something beside it at each of the first levels.
    for dir in crate::support::leaks::cgroups(&guest) {
        guest.sandbox.sh(&format!(
            "cd {}; i=0; while [ $i -lt 600 ]; do mkdir a; [ $i -gt 20 ] || mkdir b b/c; cd a; i=$((i+1)); done",
            dir.display()
        ));
    }
    running.signal(libc::SIGTERM);
    assert_eq!(running.wait().code, Some(0));
    guest.assert_nothing_left();
}

#[test]
fn process_put_into_the_cgroup_from_outside_ends_with_the_container() {
    if missing("process_put_into_the_cgroup_from_outside_ends_with_the_container", &["cpu"]) {
        return;
    }
    let guest = Guest::new("outsider");
    let running = guest.start("signals 1");
    guest.wait_said("ready");
    let mut outsider = Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap();
    for dir in crate::support::leaks::cgroups(&guest) {
        fs::write(dir.join("cgroup.procs"), outsider.id().to_string()).unwrap();
    }
    running.signal(libc::SIGTERM);
    let ended = running.wait();
    let died = wait_for(Duration::from_secs(2), || outsider.try_wait().unwrap().is_some());
    sandbox::kill(outsider.id() as i32, libc::SIGKILL);
    outsider.wait().unwrap();
    assert!(died, "the outsider lives on{ended}");
    assert_eq!(ended.code, Some(0), "{ended}");
    guest.assert_nothing_left();
}

#[test]
fn fork_bomb_stays_in_its_limit_and_stops_at_once() {
    if missing("fork_bomb_stays_in_its_limit_and_stops_at_once", &["pids"]) {
        return;
    }
    let guest = Guest::new("fork_bomb").config("lxc.cgroup.pids.max = 200");
    let running = guest.start("forks 1000 , say full , forever");
    guest.wait_said("full");
    assert!(guest.results().contains("forked 199"), "{}", guest.results());
    let stopped = guest.client("stop", &["-k"]);
    assert_eq!(stopped.code, Some(0), "{stopped}");
    let ended = running.wait();
    assert_eq!(ended.code, Some(0), "{ended}");
    guest.assert_nothing_left();
}

#[test]
fn memory_bomb_kills_only_the_container() {
    if missing("memory_bomb_kills_only_the_container", &["memory"]) {
        return;
    }
    let guest = Guest::new("memory_bomb").config("lxc.cgroup.memory.limit_in_bytes = 16M");
    let ended = guest.run("eat 200000000");
    assert_eq!(ended.code, Some(128 + libc::SIGKILL), "{ended}");
    guest.assert_nothing_left();
}

#[test]
fn android_host_with_hierarchies_in_its_own_places_is_found() {
    let test = "android_host_with_hierarchies_in_its_own_places_is_found";
    if missing(test, &["cpu", "cpuacct"]) {
        return;
    }
    let guest = Guest::new("android_host");
    let places = guest.dir().join("places");
    // As Android's init mounts them: each controller alone, none below /sys/fs/cgroup.
    guest.sandbox.sh(&format!(
        "mkdir -p {places}/cpuctl {places}/acct; mount --bind /sys/fs/cgroup/cpu {places}/cpuctl
        mount --bind /sys/fs/cgroup/cpuacct {places}/acct; for each in /sys/fs/cgroup/*; do umount $each; done",
        places = places.display()
    ));
    let running = guest.start("say up , signals 1");
    guest.wait_said("ready");
    let expected = format!("/lxc/{}", guest.name());
    // The test itself looks for init in the usual places.
    let info = guest.client("info", &["-pH"]);
    let paths = paths_of(info.stdout.trim().parse().unwrap_or_else(|_| panic!("no pid: {info}")));
    for controller in ["cpu", "cpuacct"] {
        let path = paths.iter().find(|(names, _)| names.split(',').any(|name| name == controller));
        assert_eq!(path.map(|(_, path)| path.as_str()), Some(expected.as_str()), "{controller}: {paths:?}");
    }
    running.signal(libc::SIGTERM);
    assert_eq!(running.wait().code, Some(0));
    guest.assert_nothing_left();
}
