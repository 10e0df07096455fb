//! Cgroups elsewhere than at `lxc/NAME`: where LXC makes them, with everything that knows the place following, and nothing
//! left but where the config says so.

use crate::support::{Ended, Guest, Running, binary, emulated, is_64_bit, is_lxc, sandbox, strace, wait_until};
use std::fs;
use std::path::{Path, PathBuf};

/// A hierarchy with a controller, and the one without.
const BOTH: [&str; 2] = ["pids", "unified"];

/// False, with the skip said, where a test's hierarchies are not mounted.
fn hybrid(test: &str) -> bool {
    let missing = BOTH.iter().find(|name| !Path::new("/sys/fs/cgroup").join(name).join("cgroup.procs").exists());
    if let Some(name) = missing {
        crate::support::skip(test, &format!("no hierarchy /sys/fs/cgroup/{name} on this machine"), false);
    }
    missing.is_none()
}

/// Where a process is in a hierarchy (`pids`, `unified`), from the root of the machine's.
fn place(pid: i32, hierarchy: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let mark = if hierarchy == "unified" { ":".into() } else { format!("{hierarchy}:") };
    let found = text.lines().find_map(|line| line.split_once(':').unwrap().1.strip_prefix(&*mark));
    found.unwrap_or_else(|| panic!("not in {hierarchy}: {text}")).to_owned()
}

/// The directories of the guest's view of a hierarchy, without its root.
fn groups(guest: &Guest, hierarchy: &str) -> Vec<String> {
    let found = guest.sandbox.sh(&format!("cd /sys/fs/cgroup/{hierarchy}; find . -mindepth 1 -type d | sort"));
    found.lines().map(|line| line.trim_start_matches("./").to_owned()).collect()
}

fn parent(pid: i32) -> i32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim().parse().unwrap()
}

/// Asserts where init is in both kinds of hierarchy.
fn assert_at(guest: &Guest, expected: &str) {
    let expected = expected.replace("{name}", guest.name());
    for hierarchy in BOTH {
        let found = place(guest.init(), hierarchy);
        assert!(found.ends_with(&format!("/{expected}")), "{hierarchy}: {found} is not {expected}");
    }
}

fn assert_no_groups(guest: &Guest) {
    for hierarchy in BOTH {
        assert!(groups(guest, hierarchy).is_empty(), "{hierarchy}: {:?}", groups(guest, hierarchy));
    }
}

fn stop(guest: &Guest, running: Running<'_>) -> Ended {
    assert_eq!(guest.client("stop", &["-k"]).code, Some(0));
    running.wait()
}

#[test]
fn every_placement_is_where_lxc_makes_it() {
    if !hybrid("every_placement_is_where_lxc_makes_it") {
        return;
    }
    let pair = "lxc.cgroup.dir.monitor = mon/{name}\nlxc.cgroup.dir.container = pay/{name}";
    for (config, group, monitor) in [
        ("lxc.cgroup.dir = my/first".to_owned(), "my/first/lxc.payload.{name}", None),
        (pair.to_owned(), "pay/{name}", Some("mon/{name}")),
        (format!("{pair}\nlxc.cgroup.dir.container.inner = in"), "pay/{name}/in", Some("mon/{name}")),
    ] {
        let guest = Guest::new("placement").with_cgroup_view().config(&config);
        // LXC cannot enter a cpuset without CPUs.
        guest.sandbox.sh("umount /sys/fs/cgroup/cpuset && umount /sys/fs/cgroup/cpuset");
        let before = place(std::process::id() as i32, "pids");
        let running = guest.start("say up , forever");
        guest.wait_said("up");
        assert_at(&guest, group);
        let supervisor = parent(guest.init());
        match monitor {
            Some(monitor) => {
                for hierarchy in BOTH {
                    let monitor = monitor.replace("{name}", guest.name());
                    assert!(place(supervisor, hierarchy).ends_with(&format!("/{monitor}")), "{hierarchy}");
                }
            }
            None if is_lxc() => {}
            None => assert_eq!(place(supervisor, "pids"), before, "the supervisor stays"),
        }
        // The same by LXC's own start.
        let ours: Vec<_> = BOTH.map(|hierarchy| groups(&guest, hierarchy)).into();
        let ended = stop(&guest, running);
        assert_eq!(ended.code, Some(0), "{ended}");
        assert_no_groups(&guest);
        guest.assert_nothing_left();
        let stock = guest.stock_tool("start", &["-F", "-s", "lxc.apparmor.profile=unconfined"]);
        let Some(stock) = stock.filter(|_| !emulated("lxc's own placement", "LXC's start is not emulated")) else {
            continue;
        };
        fs::remove_file(guest.rootfs().join("results")).unwrap();
        let stock = Running::new(&guest, stock);
        guest.wait_said("up");
        let of_lxc = BOTH.map(|hierarchy| groups(&guest, hierarchy));
        for (ours, theirs) in ours.iter().zip(&of_lxc) {
            // In `dir` LXC has its monitor too; ours is not moved.
            let theirs: Vec<_> = theirs.iter().filter(|one| !one.contains("lxc.monitor.")).collect();
            assert_eq!(ours.iter().collect::<Vec<_>>(), theirs);
        }
        assert_at(&guest, group);
        let _ = stop(&guest, stock);
        guest.sandbox.sh("find /sys/fs/cgroup -mindepth 2 -depth -type d -name lxc.pivot -exec rmdir {} + || true");
    }
}

#[test]
fn inner_group_has_init_and_the_outer_one_the_limits() {
    if !hybrid("inner_group_has_init_and_the_outer_one_the_limits") {
        return;
    }
    let guest = Guest::new("inner").with_cgroup_view().config(
        "lxc.cgroup.dir.monitor = mon/{name}
        lxc.cgroup.dir.container = pay/{name}
        lxc.cgroup.dir.container.inner = in
        lxc.cgroup.pids.max = 77
        lxc.cgroup.cpuset.cpus = 0",
    );
    let guest = match emulated("the device list of the outer group", "qemu-user has no bpf(2)") {
        true => guest,
        false => guest.config("lxc.cgroup2.devices.deny = c 10:200 rwm"),
    };
    let running = guest.start("say up , forever");
    guest.wait_said("up");
    guest.wait_running();
    assert_at(&guest, "pay/{name}/in");
    let read = |path: &str| {
        let path = path.replace("{name}", guest.name());
        guest.sandbox.sh(&format!("cat /sys/fs/cgroup/{path}")).trim().to_owned()
    };
    assert_eq!(read("pids/pay/{name}/pids.max"), "77");
    assert_eq!(read("pids/pay/{name}/in/pids.max"), "max");
    assert_eq!(read("cpuset/pay/{name}/cpuset.cpus"), "0");
    assert_eq!(read("cpuset/pay/{name}/in/cpuset.cpus"), "0", "inherited along the whole way");
    // The commands know both.
    let said = |tool: &str, words: &[&str]| {
        let ended = guest.client(tool, words);
        assert_eq!(ended.code, Some(0), "{tool} {words:?}{ended}");
        ended.stdout.trim().to_owned()
    };
    assert_eq!(said("cgroup", &["pids.max"]), "77", "the group with the limits");
    said("cgroup", &["pids.max", "78"]);
    assert_eq!(read("pids/pay/{name}/pids.max"), "78");
    // The stock tool speaks the protocol of its own word size.
    if is_64_bit(&binary())
        && let Some(stock) = guest.stock_tool("cgroup", &["pids.max"])
    {
        let ended = Running::new(&guest, stock).wait();
        assert_eq!(ended.stdout.trim(), "78", "{ended}");
    }
    said("freeze", &[]);
    assert_eq!(said("info", &["-s", "-H"]), "FROZEN");
    assert_eq!(read("unified/pay/{name}/cgroup.freeze"), "1");
    said("unfreeze", &[]);
    assert_eq!(guest.client("attach", &["--", "/init", "exit", "7"]).code, Some(7));
    let ended = stop(&guest, running);
    assert_eq!(ended.code, Some(0), "{ended}");
    assert_no_groups(&guest);
    guest.assert_nothing_left();
}

#[test]
fn pivot_keeps_the_supervisor_when_its_own_group_goes() {
    if !hybrid("pivot_keeps_the_supervisor_when_its_own_group_goes") {
        return;
    }
    let hook = "lxc.hook.post-stop = {dir}/hook";
    let guest = Guest::new("pivot").with_cgroup_view().config(
        "lxc.cgroup.dir.monitor = mon/{name}
        lxc.cgroup.dir.container = pay/{name}
        lxc.cgroup.dir.monitor.pivot = piv/y",
    );
    let guest = guest.config(hook);
    guest.script("hook", "cat /proc/self/cgroup > $dir/cgroups");
    let ended = guest.run("exit 0");
    assert_eq!(ended.code, Some(0), "{ended}");
    assert!(
        guest.file("cgroups").lines().any(|line| line.ends_with(&format!("/mon/{}", guest.name()))),
        "{}",
        guest.file("cgroups")
    );
    for hierarchy in BOTH {
        assert_eq!(groups(&guest, hierarchy), ["piv", "piv/y"], "{hierarchy}");
    }
}

#[test]
fn groups_that_were_there_before_stay() {
    if !hybrid("groups_that_were_there_before_stay") {
        return;
    }
    let guest = Guest::new("there").with_cgroup_view().config("lxc.cgroup.dir = their/ours");
    guest.sandbox.sh("mkdir /sys/fs/cgroup/pids/their /sys/fs/cgroup/unified/their");
    for _ in 0..2 {
        let ended = guest.run("exit 0");
        assert_eq!(ended.code, Some(0), "{ended}");
        for hierarchy in BOTH {
            assert_eq!(groups(&guest, hierarchy), ["their"], "{hierarchy}");
        }
    }
}

#[test]
fn restarts_leave_nothing_in_any_placement() {
    if !hybrid("restarts_leave_nothing_in_any_placement") {
        return;
    }
    for config in [
        "lxc.cgroup.dir = a/b",
        "lxc.cgroup.dir.monitor = m\nlxc.cgroup.dir.container = p/q\nlxc.cgroup.dir.container.inner = i",
    ] {
        let guest = Guest::new("restarts").with_cgroup_view().config(config);
        let guest =
            guest.config("monopod.restart.delay = 0ms\nmonopod.restart.uptime = 1h\nmonopod.restart.budget = 100");
        let ended = guest.run("restart-times 20 , exit 0");
        assert_eq!(ended.code, Some(0), "{ended}");
        assert_no_groups(&guest);
        guest.assert_nothing_left();
    }
}

#[test]
fn group_of_somebody_else_is_refused_and_left_alone() {
    if !hybrid("group_of_somebody_else_is_refused_and_left_alone") {
        return;
    }
    let guest = Guest::new("foreign").with_cgroup_view();
    let guest = guest.config("lxc.cgroup.dir.monitor = m\nlxc.cgroup.dir.container = p/q");
    // Their process, in one hierarchy only, in a group below.
    guest.sandbox.sh("mkdir -p /sys/fs/cgroup/unified/p/q/theirs");
    let mut sleeper = std::process::Command::new("sh");
    sleeper.args(["-c", "echo 0 > /sys/fs/cgroup/unified/p/q/theirs/cgroup.procs; exec sleep 60"]);
    guest.sandbox.enter(&mut sleeper);
    let mut theirs = sleeper.spawn().unwrap();
    wait_until("their process", || place(theirs.id() as i32, "unified").ends_with("/theirs"));
    let ended = guest.run("exit 0");
    assert_eq!(ended.code, Some(255), "{ended}");
    let last = ended.stderr.lines().last().unwrap_or_default();
    assert!(last.contains("/sys/fs/cgroup/unified/p/q is there already"), "{ended}");
    assert!(theirs.try_wait().unwrap().is_none(), "their process lives");
    assert_eq!(groups(&guest, "unified"), ["p", "p/q", "p/q/theirs"]);
    assert!(groups(&guest, "pids").is_empty(), "{:?}", groups(&guest, "pids"));
    theirs.kill().unwrap();
    theirs.wait().unwrap();
}

#[test]
fn two_containers_cannot_have_one_group() {
    if !hybrid("two_containers_cannot_have_one_group") {
        return;
    }
    let guest = Guest::new("twins").with_cgroup_view();
    let guest = guest.config("lxc.cgroup.dir.monitor = m\nlxc.cgroup.dir.container = p/{name}");
    let running = guest.start("say up , forever");
    guest.wait_said("up");
    let mut other = guest.tool("start", &["-F", "-f"]);
    other.arg(guest.dir().join("config")).args(["-n", &format!("{}-b", guest.name())]);
    let ended = Running::new(&guest, other).wait();
    assert_eq!(ended.code, Some(255), "{ended}");
    assert!(ended.stderr.contains("is there already"), "{ended}");
    assert_at(&guest, "p/{name}");
    assert_eq!(stop(&guest, running).code, Some(0));
    assert_no_groups(&guest);
    guest.assert_nothing_left();
}

#[test]
fn killed_supervisors_groups_go_at_the_next_start_whatever_its_config_says() {
    let test = "killed_supervisors_groups_go_at_the_next_start_whatever_its_config_says";
    if !hybrid(test) || emulated(test, "the kill hits the emulator") {
        return;
    }
    for config in [
        "lxc.cgroup.dir = a/b",
        "lxc.cgroup.dir.monitor = m/n\nlxc.cgroup.dir.container = p/{name}\nlxc.cgroup.dir.container.inner = i",
    ] {
        let guest = Guest::new("killed").with_cgroup_view().config(config);
        let running = guest.start("say up , forever");
        guest.wait_said("up");
        let supervisor = parent(guest.init());
        sandbox::kill(supervisor, libc::SIGKILL);
        running.wait();
        wait_until("the container's end", || guest.pids().is_empty());
        assert!(!groups(&guest, "pids").is_empty());
        // With another config, so that nothing but the note of the dead one tells where its groups are.
        let config = fs::read_to_string(guest.dir().join("config")).unwrap();
        let config = config.lines().filter(|line| !line.starts_with("lxc.cgroup")).collect::<Vec<_>>().join("\n");
        fs::write(guest.dir().join("config"), config.replace("say up , forever", "exit 0")).unwrap();
        let ended = Running::new(&guest, guest.tool("start", &["-F"])).wait();
        assert_eq!(ended.code, Some(0), "{ended}");
        assert!(ended.stderr.contains("cleaned up after supervisor"), "{ended}");
        assert_no_groups(&guest);
        guest.assert_nothing_left();
    }
}

#[test]
fn nonsense_is_refused_by_key_and_line() {
    for (lines, key, why) in [
        ("lxc.cgroup.dir = /abs", "lxc.cgroup.dir", "relative"),
        ("lxc.cgroup.dir = a/../../b", "lxc.cgroup.dir", ".."),
        ("lxc.cgroup.dir.container = a", "lxc.cgroup.dir.container", "must both be set"),
        ("lxc.cgroup.dir.monitor = a", "lxc.cgroup.dir.monitor", "must both be set"),
        ("lxc.cgroup.dir.container.inner = a/b", "lxc.cgroup.dir.container.inner", "one group"),
        ("lxc.cgroup.dir.container.inner = a", "lxc.cgroup.dir.container.inner", "must both be set"),
        ("lxc.cgroup.dir = a\nlxc.cgroup.dir.monitor = b\nlxc.cgroup.dir.container = c", "lxc.cgroup.dir", "together"),
        (
            "lxc.cgroup.dir.monitor = b\nlxc.cgroup.dir.container = b/c",
            "lxc.cgroup.dir.container",
            "inside of each other",
        ),
    ] {
        let guest = Guest::new("nonsense");
        let guest = guest.config(lines);
        let ended = guest.run("exit 0");
        assert_eq!(ended.code, Some(255), "{lines}{ended}");
        let last = ended.stderr.lines().last().unwrap_or_default();
        assert!(last.contains("/config:") && last.contains(key) && last.contains(why), "{lines}{ended}");
        guest.assert_nothing_left();
    }
}

#[test]
fn system_config_says_pattern_and_which_controllers() {
    if !hybrid("system_config_says_pattern_and_which_controllers") {
        return;
    }
    let guest = Guest::new("system").with_cgroup_view();
    let system = |text: &str| {
        fs::create_dir_all(guest.dir().join("etc")).unwrap();
        fs::write(guest.dir().join("etc/lxc.conf"), text).unwrap();
    };
    guest.sandbox.sh(&format!("mkdir -p /etc/lxc {0}/etc; mount --bind {0}/etc /etc/lxc", guest.dir().display()));
    system("lxc.cgroup.pattern = /boxes/%n\nlxc.cgroup.use = pids, cpu\n");
    let running = guest.start("say up , forever");
    guest.wait_said("up");
    assert_at(&guest, &format!("boxes/{}/payload", guest.name()));
    assert!(groups(&guest, "memory").is_empty(), "not used: {:?}", groups(&guest, "memory"));
    assert_eq!(stop(&guest, running).code, Some(0));
    assert_no_groups(&guest);
    for (text, why) in
        [("lxc.cgroup.use = nonsense\n", "\"nonsense\""), ("lxc.cgroup.pattern = ../%n\n", "lxc.cgroup.pattern")]
    {
        system(text);
        let ended = guest.run("exit 0");
        assert_eq!(ended.code, Some(255), "{ended}");
        assert!(ended.stderr.contains(why), "{ended}");
    }
}

#[test]
fn relative_groups_are_refused_where_our_own_is_not_seen() {
    let guest = Guest::new("outside").with_cgroup_view().config("lxc.cgroup.relative = 1");
    let ended = guest.run("exit 0");
    assert_eq!(ended.code, Some(255), "{ended}");
    assert!(ended.stderr.lines().last().unwrap_or_default().contains("does not show our own group"), "{ended}");
    guest.assert_nothing_left();
}

#[test]
fn relative_groups_are_below_the_supervisors_own() {
    let test = "relative_groups_are_below_the_supervisors_own";
    if !hybrid(test) {
        return;
    }
    let guest = Guest::new("relative").with_cgroup_view().config("lxc.cgroup.relative = 1");
    let start = guest.start_command("say up , forever");
    // A service's group, in which the supervisor is.
    guest.sandbox.sh("cd /sys/fs/cgroup
         for group in serve serve/me; do
             for hierarchy in *; do
                 mkdir $hierarchy/$group
                 for file in cpuset.cpus cpuset.mems; do
                     [ ! -e $hierarchy/$file ] || cat $hierarchy/$file > $hierarchy/$group/$file
                 done
             done
         done");
    let mut inside = std::process::Command::new("sh");
    inside.args([
        "-c",
        "for group in /sys/fs/cgroup/*/serve/me; do echo 0 > $group/cgroup.procs; done; exec \"$@\"",
        "sh",
    ]);
    inside.arg(start.get_program()).args(start.get_args()).stdin(std::process::Stdio::null());
    guest.sandbox.enter(&mut inside);
    let running = Running::new(&guest, inside);
    guest.wait_said("up");
    assert_at(&guest, &format!("serve/me/lxc/{}", guest.name()));
    let ended = guest.client("cgroup", &["pids.current"]);
    assert_eq!(ended.stdout.trim(), "1", "{ended}");
    assert_eq!(stop(&guest, running).code, Some(0));
    for hierarchy in BOTH {
        assert_eq!(groups(&guest, hierarchy), ["serve", "serve/me"], "{hierarchy}");
    }
}

#[test]
fn mounted_cgroups_show_the_place_or_hide_it() {
    let test = "mounted_cgroups_show_the_place_or_hide_it";
    if !hybrid(test) {
        return;
    }
    for (namespace, expected) in [("", "pids/a/lxc.payload.{name}/pids.max"), ("cgroup", "pids/pids.max")] {
        let guest = Guest::new("auto").with_cgroup_view();
        let guest = guest.config("lxc.cgroup.dir = a\nlxc.mount.auto = proc cgroup:rw:force");
        let guest = if namespace.is_empty() { guest.config("lxc.namespace.keep = cgroup net") } else { guest };
        let running = guest.start("say up , forever");
        guest.wait_said("up");
        let file: PathBuf =
            format!("/proc/{}/root/sys/fs/cgroup/{}", guest.init(), expected.replace("{name}", guest.name())).into();
        assert!(file.exists(), "{}", file.display());
        stop(&guest, running);
        assert_no_groups(&guest);
    }
}

#[test]
fn explain_and_check_know_the_place() {
    let guest = Guest::new("explain").config("lxc.cgroup.dir = my/first");
    guest.install("exit 0");
    let ended = guest.client("explain", &[]);
    assert!(ended.stdout.contains(&format!("/my/first/lxc.payload.{}", guest.name())), "{ended}");
    let guest = Guest::new("explain").config("lxc.cgroup.dir.container = my");
    guest.install("exit 0");
    let ended = guest.client("check", &[]);
    assert!(ended.stdout.contains("must both be set"), "{ended}");
}

#[test]
fn failing_call_refuses_the_start_and_leaves_nothing() {
    let test = "failing_call_refuses_the_start_and_leaves_nothing";
    if !hybrid(test) || !strace::available(test) {
        return;
    }
    let config = "lxc.cgroup.dir.monitor = m/n
        lxc.cgroup.dir.container = p/q
        lxc.cgroup.dir.container.inner = i
        lxc.cgroup.pids.max = 50";
    let trace = {
        let guest = Guest::new("trace").with_cgroup_view().config(config);
        strace::Trace::of(&guest, "exit 0")
    };
    let nth = |name: &str, mark: &str| -> Vec<usize> {
        let calls = trace.supervisor.iter().filter(|call| strace::is(call, name));
        calls.enumerate().filter(|(_, call)| call.contains(mark)).map(|(index, _)| index + 1).collect()
    };
    let mut injections = Vec::new();
    // Some of many: the first, one in the middle, the last.
    let some = |all: Vec<usize>| [all[0], all[all.len() / 2], all[all.len() - 1]];
    let either = |one: &'static str, other: &'static str| if nth(one, "").is_empty() { other } else { one };
    let mkdir = either("mkdir", "mkdirat");
    injections.extend(some(nth(mkdir, "/sys/fs/cgroup")).map(|n| (format!("{mkdir}:error=ENOSPC:when={n}"), 255)));
    let writes: Vec<_> = nth("write", "\"0\", 1");
    injections.push((format!("write:error=EIO:when={}", writes[0]), 255));
    injections.push((format!("write:error=EIO:when={}", nth("write", "\"50\"")[0]), 255));
    // The way back, and the end of the groups: what fails once is tried again.
    injections.push((format!("write:error=EIO:when={}", writes[writes.len() - 1]), 0));
    // strace counts each process' own calls: one that the container's process does not come to.
    let early = strace::count(&trace.child, "unlinkat");
    let removal = nth("unlinkat", "/sys/fs/cgroup").into_iter().find(|n| *n > early).unwrap();
    injections.push((format!("unlinkat:error=EBUSY:when={removal}"), 0));
    for (injection, code) in injections {
        let guest = Guest::new("inject").with_cgroup_view().config(config);
        let ended = strace::run(&guest, "exit 0", std::slice::from_ref(&injection));
        assert_no_groups(&guest);
        guest.assert_nothing_left();
        assert_eq!(ended.code, Some(code), "{injection}{ended}");
    }
}
