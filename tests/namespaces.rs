//! Namespaces of somebody else, shifted clocks, and what a container is without a pid namespace of its own.

use crate::support::{Guest, NO_LOADER, Report, Running, dynamic, emulated, strace, wait_until};
use std::fs;
use std::process::{Command, Stdio};

const NO_CLONE: &str = "qemu-user clones no namespaces";

/// A guest that runs until it is killed, for others to share with.
fn running<'g>(guest: &'g Guest) -> Running<'g> {
    let running = guest.start("say up , forever");
    guest.wait_said("up");
    running
}

fn kill(guest: &Guest, running: Running<'_>) {
    assert_eq!(guest.client("stop", &["-k"]).code, Some(0));
    running.wait();
    guest.assert_nothing_left();
}

/// A process of the host.
fn own() -> i32 {
    std::process::id() as i32
}

fn namespace(pid: i32, kind: &str) -> String {
    fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap().to_string_lossy().into_owned()
}

/// Runs a guest with these config lines and returns what init found.
fn report(label: &str, lines: &str) -> Report {
    let guest = Guest::new(label).config(lines);
    let ended = guest.run("report");
    assert_eq!(ended.code, Some(0), "{ended}");
    guest.assert_nothing_left();
    guest.report()
}

/// Options with which a guest lives in another's lxcpath, where it can name that one.
fn beside(guest: Guest, other: &Guest) -> Guest {
    guest.install("report");
    let (path, config) = (other.dir(), guest.dir().join("config"));
    let (path, config) = (path.parent().unwrap().to_str().unwrap(), config.to_str().unwrap().to_owned());
    guest.options(&["-P", path, "-f", &config])
}

#[test]
fn shared_namespaces_are_those_of_a_container_a_pid_or_a_file() {
    if emulated("shared_namespaces_are_those_of_a_container_a_pid_or_a_file", NO_CLONE) {
        return;
    }
    let other = Guest::new("share_with").config("lxc.uts.name = theirs");
    let container = running(&other);
    let init = other.init();
    for of in [other.name().to_owned(), init.to_string(), format!("/proc/{init}/ns/")] {
        let lines: String = ["net", "ipc", "uts", "cgroup"]
            .map(|kind| {
                let file = if of.starts_with('/') { kind } else { "" };
                format!("lxc.namespace.share.{kind} = {of}{file}\n")
            })
            .concat();
        let guest = beside(Guest::new("shares").config(&format!("{lines}lxc.uts.name = ours")), &other);
        let ended = guest.run("report");
        assert_eq!(ended.code, Some(0), "{of}{ended}");
        let report = guest.report();
        for kind in ["net", "ipc", "uts", "cgroup"] {
            assert_eq!(report.entry("ns", kind), namespace(init, kind), "{of}");
        }
        for kind in ["pid", "mnt"] {
            assert_ne!(report.entry("ns", kind), namespace(init, kind), "{of}");
        }
        // It is not ours to name.
        assert_eq!((report.one("hostname"), report.one("pid")), ("theirs", "1"));
        guest.assert_nothing_left();
    }
    kill(&other, container);
}

#[test]
fn options_of_start_and_execute_share_and_attach_follows() {
    if dynamic("options_of_start_and_execute_share_and_attach_follows", NO_LOADER) {
        return;
    }
    if emulated("options_of_start_and_execute_share_and_attach_follows", NO_CLONE) {
        return;
    }
    let other = Guest::new("share_options").config("lxc.uts.name = theirs");
    let container = running(&other);
    let init = other.init().to_string();
    let words = ["--share-net", &init, "--share-ipc", &init, "--share-uts", &init, "--share-pid", &init];

    let guest = Guest::new("by_options").config("lxc.mount.auto = proc").options(&words);
    let started = guest.start("say up , forever");
    guest.wait_said("up");
    assert_eq!(guest.client("attach", &["--", "/init", "report"]).code, Some(0));
    for kind in ["net", "ipc", "uts", "pid"] {
        assert_eq!(guest.report().entry("ns", kind), namespace(other.init(), kind));
    }
    assert_eq!(guest.client("stop", &["-k"]).code, Some(0));
    started.wait();
    guest.assert_nothing_left();

    let guest = Guest::new("execute_shares");
    guest.install("exit 99");
    let ended = guest.client("execute", &[&words[..], &["--", "/init", "report"]].concat());
    assert_eq!(ended.code, Some(0), "{ended}");
    assert_eq!(guest.report().entry("ns", "net"), namespace(other.init(), "net"));
    assert_ne!(guest.report().one("pid"), "1");
    kill(&other, container);
}

#[test]
fn shared_pid_namespace_loses_the_container_and_nothing_else() {
    if emulated("shared_pid_namespace_loses_the_container_and_nothing_else", NO_CLONE) {
        return;
    }
    let other = Guest::new("pid_with");
    let container = running(&other);
    let init = other.init();
    let guest = Guest::new("pid_shared")
        .config(&format!("lxc.namespace.share.pid = {init}\nlxc.mount.auto = proc\nlxc.hook.stop = {{dir}}/stop"));
    guest.script(
        "stop",
        "cat /sys/fs/cgroup/*/lxc/$1/cgroup.procs /sys/fs/cgroup/lxc/$1/cgroup.procs > $dir/left 2>/dev/null; :",
    );

    // What init leaves behind would live on as the other's, so the cgroup is emptied.
    let ended = guest.run("report , forks 3 , exit 7");
    assert_eq!(ended.code, Some(7), "{ended}");
    let report = guest.report();
    assert_ne!(report.one("pid"), "1");
    assert_eq!(report.entry("ns", "pid"), namespace(init, "pid"));
    // CAP_SYS_BOOT: its reboot would be the other's.
    assert_eq!(report.capabilities("CapBnd:") >> 22 & 1, 0);
    wait_until("the cgroup to be empty", || guest.pids().is_empty());
    guest.assert_nothing_left();
    assert_eq!(guest.file("left").trim(), "");

    // Only process 1 dies of SIGHUP by rebooting.
    let running = guest.start("say lives , forever");
    guest.wait_said("lives");
    let pids = guest.pids();
    assert_eq!(pids.len(), 1);
    crate::support::sandbox::kill(pids[0], libc::SIGHUP);
    let ended = running.wait();
    assert_eq!(ended.code, Some(128 + libc::SIGHUP), "{ended}");
    guest.assert_nothing_left();
    assert_eq!(other.init(), init);
    kill(&other, container);
}

#[test]
fn shared_user_namespace_makes_its_root_init() {
    if emulated("shared_user_namespace_makes_its_root_init", NO_CLONE) {
        return;
    }
    let mut holder = Command::new("unshare");
    holder.args(["-U", "sleep", "60"]).stdin(Stdio::null());
    let mut holder = holder.spawn().unwrap();
    let pid = holder.id() as i32;
    wait_until("the user namespace", || namespace(pid, "user") != namespace(own(), "user"));
    // As root of this one is root on the host, the rootfs is its own.
    for (file, text) in [("setgroups", "deny"), ("uid_map", "0 0 65536"), ("gid_map", "0 0 65536")] {
        fs::write(format!("/proc/{pid}/{file}"), text).unwrap();
    }
    let guest = Guest::new("user_shared").config(&format!(
        "lxc.namespace.share.user = {pid}\nlxc.mount.auto = proc
        monopod.stop.method = command
        monopod.stop.command = /init report , signal-init 10"
    ));
    let ended = guest.run("report");
    assert_eq!(ended.code, Some(0), "{ended}");
    let report = guest.report();
    assert_eq!(report.entry("ns", "user"), namespace(pid, "user"));
    assert_eq!((report.one("uid"), report.one("pid")), ("0", "1"));
    guest.assert_nothing_left();

    // Whoever enters it later is its root as well, and not the host's.
    fs::remove_file(guest.rootfs().join("report")).unwrap();
    let running = guest.start("say up , signals 1 , exit 5");
    guest.wait_said("ready");
    assert_eq!(guest.client("attach", &["--", "/init", "report"]).code, Some(0));
    assert_eq!(guest.report().entry("ns", "user"), namespace(pid, "user"));
    fs::remove_file(guest.rootfs().join("report")).unwrap();
    assert_eq!(guest.client("stop", &[]).code, Some(0));
    assert_eq!(running.wait().code, Some(0));
    assert_eq!(guest.report().entry("ns", "user"), namespace(pid, "user"));
    assert_eq!(guest.report().one("uid"), "0");
    guest.assert_nothing_left();
    holder.kill().unwrap();
    holder.wait().unwrap();
}

#[test]
fn time_offsets_shift_the_clocks_inside_only() {
    if emulated("time_offsets_shift_the_clocks_inside_only", NO_CLONE) {
        return;
    }
    let uptime = |text: &str| text.split(['.', ' ']).next().unwrap().parse::<u64>().unwrap();
    let before = uptime(&fs::read_to_string("/proc/uptime").unwrap());
    let guest = Guest::new("clocks")
        .config("lxc.time.offset.boot = 240h\nlxc.time.offset.monotonic = -1ms\nlxc.mount.auto = proc");
    let ended = guest.run("report , read /proc/uptime , read /proc/self/timens_offsets");
    assert_eq!(ended.code, Some(0), "{ended}");
    let results = guest.results();
    let line = |key: &str| results.lines().find_map(|line| line.strip_prefix(key)).unwrap().to_owned();
    assert!((before..before + 60).contains(&(uptime(&line("read /proc/uptime: ")) - 864_000)), "{results}");
    assert!(results.contains("999000000"), "{results}");
    assert_ne!(guest.report().entry("ns", "time"), namespace(own(), "time"));
    guest.assert_nothing_left();
}

#[test]
fn stop_hook_gets_the_namespaces_that_are_the_containers_own() {
    if emulated("stop_hook_gets_the_namespaces_that_are_the_containers_own", NO_CLONE) {
        return;
    }
    let guest = Guest::new("stop_hook").config(&format!(
        "lxc.namespace.share.uts = {}
        lxc.namespace.keep = ipc
        lxc.time.offset.boot = 1s
        lxc.hook.stop = {{dir}}/stop",
        own()
    ));
    guest.script("stop", "shift 3; for word; do echo ${word%%:*}; done > $dir/held");
    let ended = guest.run("exit 0");
    assert_eq!(ended.code, Some(0), "{ended}");
    let mut held: Vec<_> = guest.file("held").lines().map(str::to_owned).collect();
    held.sort();
    assert_eq!(held, ["cgroup", "mnt", "net", "pid", "time"]);
    guest.assert_nothing_left();
}

#[test]
fn cgroup_namespace_is_there_unless_it_is_kept() {
    let own = namespace(own(), "cgroup");
    assert_ne!(report("cgroup_on", "").entry("ns", "cgroup"), own);
    assert_eq!(report("cgroup_off", "lxc.namespace.keep = cgroup").entry("ns", "cgroup"), own);
}

#[test]
fn shares_that_cannot_be_are_refused_by_name() {
    let own = own();
    for (lines, says) in [
        ("lxc.namespace.share.net = nobody-of-that-name", "not running"),
        ("lxc.namespace.share.net = 999999999", "No such file"),
        ("lxc.namespace.share.net = /nowhere", "No such file"),
        ("lxc.namespace.share.net = /dev/null", "no namespace"),
        ("lxc.namespace.share.net = {dir}/fifo", "no namespace"),
        (&format!("lxc.namespace.share.net = /proc/{own}/ns/uts"), "another kind"),
        (&format!("lxc.namespace.share.pid = {own}"), "host's own"),
        ("lxc.namespace.share.mnt = 1", "mounts"),
        ("lxc.namespace.share.time = 1\nlxc.time.offset.boot = 1s", "lxc.time.offset"),
        ("lxc.namespace.keep = time\nlxc.time.offset.boot = 1s", "lxc.time.offset"),
        ("lxc.namespace.clone = user mnt pid", "lxc.idmap"),
        ("lxc.time.offset.monotonic = -1000000h", "before its zero"),
    ] {
        if lines.contains("monotonic") && emulated("time offsets", NO_CLONE) {
            continue;
        }
        if says == "another kind" && emulated("a share of another kind", "qemu-user does not tell kinds of namespaces")
        {
            continue;
        }
        let guest = Guest::new("refused_share").config(lines);
        nix::unistd::mkfifo(&guest.dir().join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let ended = guest.run("report");
        assert_eq!(ended.code, Some(255), "{lines}{ended}");
        assert!(ended.stderr.contains(says) && ended.stderr.lines().count() == 1, "{lines}{ended}");
        guest.assert_nothing_left();
    }
    let guest = Guest::new("itself");
    let guest = {
        let line = format!("lxc.namespace.share.net = {}", guest.name());
        guest.config(&line)
    };
    let ended = guest.run("report");
    assert!(ended.code == Some(255) && ended.stderr.contains("itself"), "{ended}");
}

#[test]
fn failures_on_the_way_to_a_shared_namespace_leave_nothing() {
    if !strace::available("failures_on_the_way_to_a_shared_namespace_leave_nothing") {
        return;
    }
    let own = own();
    let guest = Guest::new("stage_faults").config(&format!(
        "lxc.namespace.share.uts = {own}
        lxc.namespace.share.ipc = {own}
        lxc.namespace.share.cgroup = {own}
        lxc.time.offset.boot = 1s"
    ));
    for (injection, says) in [
        ("setns:error=EPERM:when=1+", "join lxc.namespace.share.uts"),
        ("setns:error=EINVAL:when=2", "join lxc.namespace.share.ipc"),
        ("unshare:error=EINVAL:when=1", "time namespaces"),
        ("pipe2:error=EMFILE:when=1", "clone: namespaces"),
        ("setns:signal=KILL:when=2", "clone: namespaces"),
    ] {
        let ended = strace::run(&guest, "report", &[injection.to_owned()]);
        assert_eq!(ended.code, Some(255), "{injection}{ended}");
        assert!(ended.stderr.contains(says) && ended.stderr.lines().count() == 1, "{injection}{ended}");
        assert!(!guest.rootfs().join("report").exists(), "{injection}");
        guest.assert_nothing_left();
    }
    // Without clone3 the old way is gone; where that fails as well, whoever's fork it is, there is no container.
    let mut refused = 0;
    for place in 1..=3 {
        let injections = ["clone3:error=ENOSYS".to_owned(), format!("clone:error=ENOMEM:when={place}")];
        let ended = strace::run(&guest, "report", &injections);
        refused += usize::from(ended.code == Some(255) && ended.stderr.contains("clone: namespaces"));
        assert!([Some(0), Some(255)].contains(&ended.code), "{place}{ended}");
        guest.assert_nothing_left();
    }
    assert!(refused > 0);
}

#[test]
fn containers_nest() {
    if dynamic("containers_nest", NO_LOADER) {
        return;
    }
    if emulated("containers_nest", NO_CLONE) {
        return;
    }
    // `execute` for the outer one: its init reaps, and its command is a supervisor.
    let guest = Guest::new("nesting").config(
        "lxc.mount.auto = proc:rw sys:rw cgroup:rw
        lxc.mount.entry = tmpfs run tmpfs create=dir 0 0
        lxc.uts.name = outer",
    );
    let inner = guest.rootfs().join("lxc/inner");
    for directory in ["dev", "proc", "sys"] {
        fs::create_dir_all(inner.join("rootfs").join(directory)).unwrap();
    }
    fs::copy(guest.rootfs().join("init"), inner.join("rootfs/init")).unwrap();
    fs::copy(crate::support::binary(), guest.rootfs().join("monopod")).unwrap();
    fs::write(
        inner.join("config"),
        "lxc.rootfs.path = dir:/lxc/inner/rootfs
        lxc.mount.auto = proc:mixed sys:mixed cgroup:mixed
        lxc.uts.name = inner
        lxc.init.cmd = /init report , restart-times 1 , exit 7",
    )
    .unwrap();
    guest.install("");
    for _ in 0..2 {
        let command = ["--", "/monopod", "start", "-F", "-n", "inner", "-P", "/lxc", "-o", "/log", "-l", "DEBUG"];
        let ended = guest.client("execute", &command);
        assert_eq!(ended.code, Some(7), "{ended}{}", guest.rootfs_file("log"));
        let report = Report::new(fs::read_to_string(inner.join("rootfs/report")).unwrap());
        assert_eq!((report.one("hostname"), report.one("pid")), ("inner", "1"));
        assert_eq!(report.mount("/proc").unwrap().fstype, "proc");
        guest.assert_nothing_left();
    }
}
