//! Broken configs and root filesystems: each is refused with one line that says what to mend and where, exit code 255, and
//! nothing stays behind.

use crate::support::{Guest, Running};
use std::fs;

/// A start that must be refused.
pub struct Refusal {
    /// For the failing test's output.
    pub name: &'static str,
    /// Config lines; the last one is at fault. `{dir}` and `{rootfs}` are replaced.
    pub config: &'static str,
    /// Shell commands that break something first, in the guest's directory, inside its sandbox.
    pub setup: &'static str,
    /// What the line must say, besides the place of the fault.
    pub says: &'static [&'static str],
}

const NOT_THERE: &str = "No such file or directory";

/// Faults of the config's text and values: known before anything is done.
#[rustfmt::skip]
pub const TEXTS: &[Refusal] = &[
    Refusal { name: "unknown key",            config: "lxc.rootfs.paht = /x",              setup: "", says: &["lxc.rootfs.paht"] },
    Refusal { name: "no equals sign",         config: "lxc.tty.max 4",                     setup: "", says: &["="] },
    Refusal { name: "number with a tail",     config: "lxc.tty.max = 4x",                  setup: "", says: &["lxc.tty.max", "4x"] },
    Refusal { name: "negative number",        config: "lxc.pty.max = -1",                  setup: "", says: &["lxc.pty.max", "-1"] },
    Refusal { name: "hexadecimal number",     config: "lxc.tty.max = 0x4",                 setup: "", says: &["lxc.tty.max", "0x4"] },
    Refusal { name: "overflowing number",     config: "lxc.init.uid = 99999999999999999999", setup: "", says: &["lxc.init.uid"] },
    Refusal { name: "too many ttys",          config: "lxc.tty.max = 100000",              setup: "", says: &["lxc.tty.max", "64"] },
    Refusal { name: "bool that is none",      config: "lxc.autodev = yes",                 setup: "", says: &["lxc.autodev", "yes"] },
    Refusal { name: "unknown capability",     config: "lxc.cap.drop = sys_tiem",           setup: "", says: &["sys_tiem"] },
    Refusal { name: "unknown signal",         config: "lxc.signal.halt = SIGPOWER",        setup: "", says: &["lxc.signal.halt", "SIGPOWER"] },
    Refusal { name: "unknown namespace",      config: "lxc.namespace.keep = network",      setup: "", says: &["network"] },
    Refusal { name: "unknown architecture",   config: "lxc.arch = z80",                    setup: "", says: &["lxc.arch", "z80"] },
    Refusal { name: "unknown network type",   config: "lxc.net.0.type = wifi",             setup: "", says: &["wifi"] },
    Refusal { name: "unknown resource",       config: "lxc.prlimit.openfiles = 10",        setup: "", says: &["openfiles"] },
    Refusal { name: "soft limit above hard",  config: "lxc.prlimit.nofile = 200:100",      setup: "", says: &["lxc.prlimit.nofile"] },
    Refusal { name: "unknown hook version",   config: "lxc.hook.version = 2",              setup: "", says: &["lxc.hook.version"] },
    Refusal { name: "unknown hook",           config: "lxc.hook.before = /bin/true",       setup: "", says: &["lxc.hook.before"] },
    Refusal { name: "unknown log level",      config: "lxc.log.level = CHATTY",            setup: "", says: &["lxc.log.level", "CHATTY"] },
    Refusal { name: "unknown mount.auto",     config: "lxc.mount.auto = proc:half",        setup: "", says: &["proc:half"] },
    Refusal { name: "mount entry too short",  config: "lxc.mount.entry = tmpfs",           setup: "", says: &["lxc.mount.entry"] },
    Refusal { name: "unknown create",         config: "lxc.mount.entry = a mnt none bind,create=pipe 0 0", setup: "", says: &["create=pipe"] },
    Refusal { name: "unknown restart word",   config: "monopod.restart.when = perhaps",    setup: "", says: &["monopod.restart.when", "perhaps"] },
    Refusal { name: "time without unit sense", config: "monopod.restart.delay = 5 parsecs", setup: "", says: &["monopod.restart.delay"] },
    Refusal { name: "include that is missing", config: "lxc.include = {dir}/missing",      setup: "", says: &["missing", NOT_THERE] },
    Refusal { name: "fstab that is missing",  config: "lxc.mount.fstab = {dir}/missing",   setup: "", says: &["missing", NOT_THERE] },
    Refusal { name: "storage not made here",  config: "lxc.rootfs.path = zfs:tank/guest",  setup: "", says: &["lxc.rootfs.path", "pre-start hook"] },
    Refusal { name: "layers of aufs",         config: "lxc.rootfs = aufs:{dir}:{dir}",     setup: "", says: &["lxc.rootfs.path", "pre-start hook"] },
];

/// Faults of what the config names: found while starting.
#[rustfmt::skip]
pub const WORLDS: &[Refusal] = &[
    Refusal { name: "rootfs missing",         config: "lxc.rootfs.path = dir:{dir}/missing", setup: "", says: &["{dir}/missing", NOT_THERE] },
    Refusal { name: "policy missing",         config: "lxc.seccomp.profile = {dir}/policy", setup: "", says: &["{dir}/policy", NOT_THERE] },
    Refusal { name: "policy with a fault",    config: "lxc.seccomp.profile = {dir}/policy", setup: "printf '2\\ndenylist\\nread deny\\n' > policy", says: &["{dir}/policy:3: no action that is known: deny"] },
    Refusal { name: "rootfs is a file",       config: "lxc.rootfs.path = dir:{dir}/file",  setup: "echo > file", says: &["{dir}/file"] },
    Refusal { name: "image missing",          config: "lxc.rootfs.path = loop:{dir}/image", setup: "", says: &["{dir}/image", NOT_THERE] },
    Refusal { name: "rootfs mount missing",   config: "lxc.rootfs.mount = {dir}/missing",  setup: "", says: &["{dir}/missing", NOT_THERE] },
    Refusal { name: "rootfs is an image",     config: "lxc.rootfs.path = {dir}/file",      setup: "head -c 65536 /dev/zero > file", says: &["{dir}/file"] },
    Refusal { name: "mount source missing",   config: "lxc.mount.entry = {dir}/missing mnt none bind 0 0", setup: "", says: &["{dir}/missing", NOT_THERE] },
    Refusal { name: "mount target missing",   config: "lxc.mount.entry = {dir} not/there none bind 0 0", setup: "", says: &["not/there", NOT_THERE] },
    Refusal { name: "mount type unknown",     config: "lxc.mount.entry = x mnt nosuchfs defaults 0 0", setup: "", says: &["mnt", "No such device"] },
    Refusal { name: "mount option unknown",   config: "lxc.mount.entry = x mnt tmpfs nosuchoption 0 0", setup: "", says: &["mnt", "Invalid argument"] },
    Refusal { name: "relative source missing", config: "lxc.mount.entry = missing mnt none bind,relative 0 0", setup: "", says: &["missing", NOT_THERE] },
    Refusal { name: "mount target is a link out", config: "lxc.mount.entry = tmpfs link tmpfs defaults 0 0", setup: "mkdir victim; ln -s $PWD/victim rootfs/link", says: &["link"] },
    Refusal { name: "mount target through a link", config: "lxc.mount.entry = tmpfs link/in tmpfs create=dir 0 0", setup: "mkdir victim; ln -s $PWD/victim rootfs/link", says: &["link/in"] },
    Refusal { name: "mount target climbs out", config: "lxc.mount.entry = tmpfs ../../victim tmpfs create=dir 0 0", setup: "mkdir victim", says: &["../../victim"] },
    Refusal { name: "relative source is a link out", config: "lxc.mount.entry = link mnt none bind,relative 0 0", setup: "mkdir victim; ln -s $PWD/victim rootfs/link", says: &["link"] },
    Refusal { name: "proc is a link out",     config: "lxc.mount.auto = proc",             setup: "mkdir victim; rmdir rootfs/proc; ln -s $PWD/victim rootfs/proc", says: &["proc"] },
    Refusal { name: "pre-start hook missing", config: "lxc.hook.pre-start = {dir}/missing", setup: "", says: &["{dir}/missing", "127"] },
    Refusal { name: "mount hook missing",     config: "lxc.hook.mount = {dir}/missing",    setup: "", says: &["{dir}/missing", "127"] },
    Refusal { name: "start hook missing",     config: "lxc.hook.start = /missing",         setup: "", says: &["/missing", "127"] },
    Refusal { name: "hook not executable",    config: "lxc.hook.pre-start = {dir}/file",   setup: "echo true > file", says: &["{dir}/file", "126"] },
    Refusal { name: "console log directory missing", config: "lxc.console.logfile = {dir}/missing/log", setup: "", says: &["{dir}/missing/log", NOT_THERE] },
    Refusal { name: "sysctl unknown",         config: "lxc.sysctl.no.such.key = 1",        setup: "", says: &["no", NOT_THERE] },
    Refusal { name: "sysctl value refused",   config: "lxc.sysctl.net.ipv4.ip_forward = many", setup: "", says: &["net", "ip_forward", "Invalid argument"] },
    Refusal { name: "proc file unknown",      config: "lxc.proc.no_such_file = 1",         setup: "", says: &["no_such_file"] },
    Refusal { name: "cgroup limit refused",   config: "lxc.cgroup.memory.limit_in_bytes = plenty", setup: "", says: &["memory.limit_in_bytes", "plenty", "Invalid argument"] },
    Refusal { name: "cgroup file unknown",    config: "lxc.cgroup.memory.no_such_file = 1", setup: "", says: &["memory.no_such_file"] },
    Refusal { name: "cgroup controller unknown", config: "lxc.cgroup.nosuch.file = 1",     setup: "", says: &["nosuch.file"] },
    Refusal { name: "cgroup path climbs out", config: "lxc.cgroup.memory.../limit = 1",    setup: "", says: &["lxc.cgroup"] },
];

/// Faults that are named without a line: things of the rootfs that nobody wrote, and values whose line is not kept.
#[rustfmt::skip]
pub const UNPLACED: &[Refusal] = &[
    Refusal { name: "console missing",        config: "lxc.console.path = {dir}/missing/tty", setup: "", says: &["{dir}/missing/tty", NOT_THERE] },
    Refusal { name: "dev is a link out",      config: "lxc.autodev = 1",                   setup: "mkdir victim; rmdir rootfs/dev; ln -s $PWD/victim rootfs/dev", says: &["dev"] },
    Refusal { name: "init missing",           config: "lxc.init.cmd = /missing",           setup: "", says: &["/missing", NOT_THERE] },
    Refusal { name: "init not executable",    config: "lxc.init.cmd = /file",              setup: "echo > rootfs/file", says: &["/file", "Permission denied"] },
    Refusal { name: "init's directory missing", config: "lxc.init.cwd = /missing",         setup: "", says: &["/missing", NOT_THERE] },
];

/// Starts what must be refused, and checks all that a refusal promises.
fn assert_refused(refusal: &Refusal, place: bool) {
    let Refusal { name, config, setup, says } = *refusal;
    let guest = Guest::new("refused").config("lxc.init.cmd = /init say lived").config(config);
    let place = place.then(|| format!("config:{}", guest.next_line() - 1));
    guest.state_before();
    guest.sandbox.sh(&format!("cd {}\n{setup}", guest.dir().display()));
    let ended = guest.run("");
    assert_eq!(ended.code, Some(255), "{name}{ended}");
    assert!(ended.stderr.starts_with("monopod: ") && ended.stderr.lines().count() == 1, "{name}: not one line{ended}");
    let says = says.iter().map(|part| part.replace("{dir}", &guest.dir().to_string_lossy()));
    for part in says.chain(place) {
        assert!(ended.stderr.contains(&part), "{name}: {part:?} is not in it{ended}");
    }
    assert_eq!(ended.stdout, "", "{name}");
    assert_eq!(guest.results(), "", "{name}: init ran");
    let victim = guest.dir().join("victim");
    assert!(fs::read_dir(victim).into_iter().flatten().count() == 0, "{name}: the host's directory was written");
    guest.assert_nothing_left();
}

/// Checks the whole table and names every row that fails, not only the first.
fn assert_all_refused(table: &[Refusal], place: bool) {
    let failed: Vec<&str> = table
        .iter()
        .filter(|refusal| std::panic::catch_unwind(|| assert_refused(refusal, place)).is_err())
        .map(|refusal| refusal.name)
        .collect();
    assert!(failed.is_empty(), "{} of {} refusals are wrong: {failed:#?}", failed.len(), table.len());
}

#[test]
fn broken_config_texts_are_refused_in_one_line() {
    assert_all_refused(TEXTS, true);
}

#[test]
fn broken_worlds_are_refused_in_one_line() {
    assert_all_refused(WORLDS, true);
}

#[test]
fn broken_things_without_a_line_are_refused_in_one_line() {
    assert_all_refused(UNPLACED, false);
}

#[test]
fn broken_bytes_are_refused_with_their_line() {
    // (what stands in the file, the line at fault, what is said)
    let long = format!("lxc.uts.name = {}\n", "x".repeat(100 * 1024));
    let rows = [
        ("nul", "lxc.tty.max = 1\nlxc.uts.name = a\0b\n", 2),
        ("long line", &*long, 1),
        ("no newline at the end", "lxc.tty.max = 1\nlxc.nonsense = 1", 2),
        ("carriage returns", "lxc.tty.max = 1\r\nlxc.nonsense = 1\r\n", 2),
    ];
    for (name, text, line) in rows {
        let guest = Guest::new("bytes");
        fs::write(guest.dir().join("config"), text).unwrap();
        let ended = Running::new(&guest, guest.tool("start", &["-F"])).wait();
        assert_eq!(ended.code, Some(255), "{name}{ended}");
        assert_eq!(ended.stderr.lines().count(), 1, "{name}{ended}");
        assert!(ended.stderr.contains(&format!("config:{line}")), "{name}{ended}");
    }
}

#[test]
fn include_cycle_is_refused() {
    let guest = Guest::new("cycle");
    fs::write(guest.dir().join("other"), format!("lxc.include = {}/config\n", guest.dir().display())).unwrap();
    let guest = guest.config("lxc.include = {dir}/other");
    let ended = guest.run("exit 0");
    assert_eq!(ended.code, Some(255), "{ended}");
    assert!(ended.stderr.contains("other:1") && ended.stderr.lines().count() == 1, "{ended}");
}

#[test]
fn one_more_than_the_limit_is_refused_by_name() {
    for (line, count, limit) in
        [("lxc.hook.mount = /bin/true", 33, "32"), ("lxc.mount.entry = a b c d 0 0", 193, "192")]
    {
        let guest = Guest::new("limit").config(&format!("{line}\n").repeat(count));
        let ended = guest.run("exit 0");
        assert_eq!(ended.code, Some(255), "{ended}");
        assert!(ended.stderr.contains(limit) && ended.stderr.lines().count() == 1, "{ended}");
        guest.assert_nothing_left();
    }
}

#[test]
fn bad_command_lines_are_refused() {
    let guest = Guest::new("command_line");
    for words in [&["-F", "--no-such-option"][..], &["-F", "-s", "no-equals-sign"], &["-F", "-s", "lxc.nonsense=1"]] {
        guest.install("exit 0");
        let ended = Running::new(&guest, guest.tool("start", words)).wait();
        assert!(ended.code.is_some_and(|code| code != 0), "{words:?}{ended}");
        assert!(ended.stderr.contains(words[words.len() - 1].split('=').next().unwrap()), "{words:?}{ended}");
        assert_eq!(guest.results(), "");
    }
}
