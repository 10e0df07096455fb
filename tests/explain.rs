//! `explain`: what it says of a start, held against the system calls of that start; and it does nothing itself.

use crate::support::strace;
use crate::support::{Guest, Running};
use std::fs;
use std::process::{Command, Stdio};

const CONFIG: &str = "
    lxc.uts.name = box
    lxc.tty.max = 2
    lxc.mount.auto = proc sys
    lxc.mount.entry = tmpfs mnt tmpfs nosuid,size=64k 0 0
    lxc.mount.entry = {dir} tmp/shared none bind,ro,create=dir 0 0
    lxc.hook.pre-start = {dir}/hook
    lxc.hook.mount = {dir}/hook
    lxc.cap.drop = sys_time mac_admin
    lxc.environment = A=b
    lxc.prlimit.nofile = 1000:2000
    lxc.init.cwd = /mnt
    lxc.namespace.keep = ipc
    monopod.restart.when = failure
    monopod.restart.budget = 3
";

/// The step of this name, with the lines that belong to it.
fn step<'a>(text: &'a str, name: &str) -> &'a str {
    let from = text.find(&format!(". {name}: ")).unwrap_or_else(|| panic!("no step {name}:\n{text}"));
    let rest = &text[from..];
    let mut ends = rest.match_indices('\n').map(|(at, _)| at);
    let end = ends.find(|at| !rest[at + 1..].starts_with("      ")).unwrap_or(rest.len());
    &rest[..end]
}

#[test]
fn explain_steps_are_numbered_and_named_with_values() {
    let guest = Guest::new("explain").config(CONFIG);
    guest.install("exit 0");
    let (dir, rootfs) = (guest.dir().display().to_string(), guest.rootfs().display().to_string());
    let ended = guest.client("explain", &["-s", "lxc.uts.name = other", "--", "/init", "a b"]);
    assert_eq!(ended.code, Some(0), "{ended}");
    let text = &ended.stdout;
    let numbers = text.lines().filter(|line| !line.starts_with("      "));
    for (index, line) in numbers.enumerate() {
        assert!(line.trim_start().starts_with(&format!("{}. ", index + 1)), "{line}:\n{text}");
    }
    for (name, words) in [
        ("config", ["{dir}/config", ""]),
        ("lock", ["/run/monopod/{name}/lock", ""]),
        ("command socket", ["@{dir}/command", ""]),
        ("pre-start", ["{dir}/hook", "on the host"]),
        ("clone", ["CLONE_NEWNS CLONE_NEWPID CLONE_NEWUTS CLONE_NEWNET", ""]),
        ("rootfs", ["{rootfs} on {rootfs} rbind", ""]),
        ("mounts", ["tmpfs on {rootfs}/mnt tmpfs nosuid,size=64k", "config:"]),
        ("mounts", ["{dir} on {rootfs}/tmp/shared none bind,ro,create=dir", "directory made"]),
        ("nodes", ["/dev/null /dev/zero /dev/full", "/dev/tty"]),
        ("ttys", ["tty1 to tty2", ""]),
        ("host name", ["other", ""]),
        ("resource limits", ["nofile 1000 2000", ""]),
        ("capabilities", ["mac_admin", "sys_time"]),
        ("user", ["uid 0 gid 0", "in /mnt"]),
        ("environment", ["container=lxc", "A=b"]),
        ("environment", ["container_ttys=tty1 tty2", ""]),
        ("exec", ["\"/init\" \"a b\"", ""]),
        ("restart", ["when it reboots or fails", "3 times in 600000 ms"]),
        ("stop", ["kill by 9", "60000 ms"]),
    ] {
        let said = step(text, name);
        for word in words {
            let word = word.replace("{dir}", &dir).replace("{rootfs}", &rootfs).replace("{name}", guest.name());
            assert!(said.contains(&word), "{name}: {word} in {said}");
        }
    }
    assert!(!step(text, "clone").contains("CLONE_NEWIPC"), "{text}");
    assert!(step(text, "post-stop").contains("no hooks"), "{text}");
}

#[test]
fn explain_mounts_come_in_the_order_of_a_start() {
    let test = "explain_mounts_come_in_the_order_of_a_start";
    if !strace::available(test) {
        return;
    }
    let guest = Guest::new("explain_order").config(CONFIG);
    guest.script("hook", "exit 0");
    guest.install("exit 0");
    let ended = guest.client("explain", &[]);
    let trace = strace::Trace::of(&guest, "exit 0");
    let done = trace.child.join("\n");
    // What a step says, and the call of the start that is it.
    let order = [
        (". clone: ", None),
        (". rootfs: ", Some("MS_BIND|MS_REC")),
        (". autodev: tmpfs", Some("size=500000,mode=755")),
        (". mounts: ", Some("size=64k")),
        (". devpts: ", Some("\"devpts\"")),
        (". pivot_root: ", Some("pivot_root(")),
        (". host name: box", Some("sethostname(\"box\"")),
        (". resource limits: ", Some("RLIMIT_NOFILE")),
        (". capabilities: ", Some("PR_CAPBSET_DROP")),
    ];
    let (mut said, mut called) = (0, 0);
    for (step, call) in order {
        let at = ended.stdout.find(step).unwrap_or_else(|| panic!("no {step}{ended}"));
        assert!(at >= said, "{step}{ended}");
        said = at;
        if let Some(call) = call {
            let at = done[called..].find(call).unwrap_or_else(|| panic!("no {call} behind the one before:\n{done}"));
            called += at;
        }
    }
    guest.assert_nothing_left();
}

#[test]
fn explain_and_check_change_nothing() {
    let test = "explain_and_check_change_nothing";
    if !strace::available(test) {
        return;
    }
    let guest = Guest::new("explain_reads").config(CONFIG);
    guest.script("hook", "touch $dir/ran");
    guest.install("exit 0");
    let before = guest.sandbox_state();
    for verb in ["explain", "check"] {
        let inner = guest.tool(verb, &[]);
        let out = guest.dir().join("trace");
        let mut traced = Command::new("strace");
        traced.args(["-f", "-qqq", "-o"]).arg(&out).arg(inner.get_program()).args(inner.get_args());
        traced.stdin(Stdio::null());
        guest.sandbox.enter(&mut traced);
        let ended = Running::new(&guest, traced).wait();
        assert_eq!(ended.code, Some(0), "{ended}");
        let text = fs::read_to_string(&out).unwrap();
        let changing = [
            "mount(",
            "umount2(",
            "mkdir",
            "mknod",
            "unlink",
            "rename",
            "symlink",
            "link(",
            "chmod",
            "fchmod",
            "chown",
            "unshare(",
            "setns(",
            "pivot_root(",
            "sethostname(",
            "kill(",
            "bind(",
            "truncate",
            "O_CREAT",
            "O_TRUNC",
        ];
        // `PID NAME(ARGUMENTS`
        let call = |line: &'_ str| line.split_once(' ').map_or(String::new(), |(_, call)| call.trim_start().to_owned());
        let bad = |line: &&str| {
            let call = call(line);
            changing.iter().any(|name| call.starts_with(name) || name.starts_with("O_") && call.contains(name))
                || call.starts_with("open") && call.contains("O_WRONLY")
        };
        assert!(text.lines().any(|line| call(line).starts_with("execve(")), "{text}");
        assert_eq!(text.lines().filter(bad).collect::<Vec<_>>(), Vec::<&str>::new(), "{verb}");
    }
    assert!(!guest.dir().join("ran").exists());
    assert_eq!(guest.sandbox_state(), before);
}

#[test]
fn explain_refusal_is_said_where_it_comes() {
    let guest = Guest::new("explain_refused").config("lxc.rootfs.path = /none/at/all");
    guest.install("exit 0");
    let ended = guest.client("explain", &[]);
    assert_eq!(ended.code, Some(1), "{ended}");
    assert!(ended.stdout.contains(". lock: ") && !ended.stdout.contains(". clone: "), "{ended}");
    assert!(ended.stderr.contains("refused") && ended.stderr.contains("/none/at/all"), "{ended}");
    assert_ne!(guest.run("exit 0").code, Some(0));
}
