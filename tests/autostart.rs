//! `autostart`: what is chosen, in which order, and what becomes of it; beside LXC's own lxc-autostart where that is installed.

use crate::support::{Ended, Guest, Running, emulated, is_lxc, program, skip};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

/// A guest that has no config, and the containers beside it.
struct Yard {
    guest: Guest,
    names: Vec<String>,
}

/// Name, lxc.start.auto, lxc.start.order, lxc.start.delay, groups.
const MEMBERS: [(&str, u8, i32, u32, &[&str]); 6] = [
    ("z", 1, 0, 0, &[]),
    ("b", 1, 5, 0, &["web"]),
    ("c", 1, 3, 0, &["onboot"]),
    ("d", 1, 5, 1, &[]),
    ("e", 0, 0, 0, &[]),
    ("f", 1, -1, 0, &["web", "onboot"]),
];

impl Yard {
    fn new(label: &str) -> Yard {
        let guest = Guest::new(label);
        let mut yard = Yard { guest, names: Vec::new() };
        for (name, auto, order, delay, groups) in MEMBERS {
            let groups: String = groups.iter().map(|group| format!("lxc.group = {group}\n")).collect();
            yard.add(
                name,
                "signals 1 , exit 0",
                &format!("lxc.start.auto = {auto}\nlxc.start.order = {order}\nlxc.start.delay = {delay}\n{groups}"),
            );
        }
        yard
    }

    /// Defines a container whose init takes `steps`. Its cgroups have a name of the test's own.
    fn add(&mut self, name: &str, steps: &str, lines: &str) {
        // So named, the guest cleans up after it.
        let name = format!("{}-{name}", self.guest.name());
        let directory = self.guest.dir().parent().unwrap().join(&name);
        let rootfs = directory.join("rootfs");
        for inside in ["dev", "proc", "sys", "tmp"] {
            fs::create_dir_all(rootfs.join(inside)).unwrap();
        }
        fs::copy(self.guest.rootfs().join("init"), rootfs.join("init")).unwrap();
        let config = format!(
            "lxc.rootfs.path = dir:{}\nlxc.console.path = none\nlxc.net.0.type = empty\nlxc.signal.halt = SIGUSR2\n\
             lxc.init.cmd = /init {steps}\n{lines}",
            rootfs.display()
        );
        fs::write(directory.join("config"), config).unwrap();
        self.names.push(name);
    }

    fn run(&self, mut command: Command, words: &[&str]) -> Ended {
        command.arg("-P").arg(self.guest.dir().parent().unwrap()).args(words).stdin(Stdio::null());
        self.guest.enter(&mut command);
        Running::new(&self.guest, command).wait()
    }

    /// `autostart` of the binary under test.
    fn autostart(&self, words: &[&str]) -> Ended {
        let program = program();
        let mut command = Command::new(&program[0]);
        command.args(&program[1..]).arg("autostart");
        self.run(command, words)
    }

    /// The lines without the guest's own name before each container's.
    fn plain(&self, ended: &Ended) -> String {
        ended.stdout.replace(&format!("{}-", self.guest.name()), "")
    }

    fn active(&self) -> String {
        let program = program();
        let mut command = Command::new(&program[0]);
        command.args(&program[1..]).arg("ls");
        let listed = self.run(command, &["-1", "--running"]);
        self.plain(&listed).lines().collect::<Vec<_>>().join(" ")
    }
}

impl Drop for Yard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.autostart(&["-k", "-a", "-A"]);
        }
    }
}

/// Arguments, and what they list while nothing runs.
const LISTS: [(&[&str], &str); 12] = [
    (&["-L"], "z 0\nd 1\n"),
    (&["-L", "-a"], "f 0\nz 0\nc 0\nb 0\nd 1\n"),
    (&["-L", "-A"], "e 0\nz 0\nd 1\n"),
    (&["-L", "-a", "-A"], "f 0\ne 0\nz 0\nc 0\nb 0\nd 1\n"),
    (&["-L", "-g", "web"], "f 0\nb 0\n"),
    (&["-L", "-g", "web,onboot"], "f 0\nb 0\nc 0\n"),
    (&["-L", "-g", "onboot,web"], "f 0\nc 0\nb 0\n"),
    (&["-L", "-g", "onboot,"], "f 0\nc 0\nz 0\nd 1\n"),
    (&["-L", "-g", "web", "-g", "onboot"], "f 0\nb 0\nc 0\n"),
    (&["-L", "-g", "nobody"], ""),
    (&["-L", "-s", "-a"], ""),
    (&["-L", "-a", "-g", "web"], "f 0\nz 0\nc 0\nb 0\nd 1\n"),
];

#[test]
fn autostart_lists_by_group_then_order_then_name() {
    if is_lxc() {
        return skip("autostart_lists_by_group_then_order_then_name", "it is LXC's own that runs", false);
    }
    let yard = Yard::new("autostart_list");
    for (words, expected) in LISTS {
        let listed = yard.autostart(words);
        assert_eq!((listed.code, &*yard.plain(&listed)), (Some(0), expected), "{words:?}: {listed}");
    }
    // What LXC makes of an empty group that comes first is none: its tool takes it for the beginning of every other name.
    assert_eq!(yard.plain(&yard.autostart(&["-L", "-g", ",onboot"])), "z 0\nd 1\nf 0\nc 0\n");
    let none = yard.guest.dir().join("none");
    fs::create_dir(&none).unwrap();
    let empty = yard.autostart(&["-P", none.to_str().unwrap()]);
    assert_eq!(empty.code, Some(1), "{empty}");
    for words in [&["-t", "soon"][..], &["-L", "android"]] {
        assert_eq!(yard.autostart(words).code, Some(1), "{words:?}");
    }
}

#[test]
fn autostart_lists_what_lxcs_own_lists() {
    let test = "autostart_lists_what_lxcs_own_lists";
    let stock = Path::new("/usr/bin/lxc-autostart");
    if !fs::canonicalize(stock).is_ok_and(|real| real == stock) {
        return skip(test, "LXC's own tools are not installed (package lxc)", true);
    }
    if is_lxc() || emulated(test, "the link of LXC's name would need a qemu-user of its own") {
        return;
    }
    let yard = Yard::new("autostart_stock");
    let link = yard.guest.dir().join("lxc-autostart");
    symlink(fs::canonicalize(crate::support::binary()).unwrap(), &link).unwrap();
    let compare = || {
        for (words, _) in LISTS {
            for more in [&[][..], &["-s"], &["-k"], &["-r"], &["-s", "-r"]] {
                let words = [words, more].concat();
                let theirs = yard.run(Command::new(stock), &words);
                let ours = yard.run(Command::new(&link), &words);
                assert_eq!((ours.code, &ours.stdout), (theirs.code, &theirs.stdout), "{words:?} {ours} {theirs}");
            }
        }
    };
    compare();
    let started = yard.autostart(&["-a"]);
    assert_eq!(started.code, Some(0), "{started}");
    assert_eq!(yard.active(), "b c d f z");
    compare();
    assert_eq!(yard.autostart(&["-a", "-k"]).code, Some(0));
    assert_eq!(yard.active(), "");
}

#[test]
fn autostart_starts_reboots_and_stops() {
    if emulated("autostart_starts_reboots_and_stops", "it executes itself, which is a program of another machine here")
    {
        return;
    }
    let yard = Yard::new("autostart");
    let started = yard.autostart(&["-g", "web,"]);
    assert_eq!(started.code, Some(0), "{started}");
    assert_eq!(yard.active(), "b d f z");
    // What runs is left alone.
    let again = yard.autostart(&["-L", "-a"]);
    assert_eq!(yard.plain(&again), "c 0\n", "{again}");
    let ends = yard.autostart(&["-s", "-t", "20", "-g", "web"]);
    assert_eq!(ends.code, Some(0), "{ends}");
    assert_eq!(yard.active(), "d z");
    let rebooted = yard.autostart(&["-r"]);
    assert_eq!(rebooted.code, Some(0), "{rebooted}");
    let killed = yard.autostart(&["-k"]);
    assert_eq!(killed.code, Some(0), "{killed}");
    assert_eq!(yard.active(), "");
    yard.guest.assert_nothing_left();
}

#[test]
fn autostart_counts_what_failed() {
    if emulated("autostart_counts_what_failed", "it executes itself, which is a program of another machine here") {
        return;
    }
    let mut yard = Yard::new("autostart_fails");
    yard.add("broken", "", "lxc.start.auto = 1\nlxc.group = bad\nlxc.rootfs.path = dir:/no/such/rootfs");
    let partly = yard.autostart(&["-g", "bad,web"]);
    assert_eq!(partly.code, Some(2), "{partly}");
    assert!(partly.stderr.contains("/no/such/rootfs"), "{partly}");
    assert_eq!(yard.active(), "b f");
    // A config that cannot be read is told, and is no container to count.
    yard.add("unreadable", "", "lxc.start.auto = perhaps");
    let told = yard.autostart(&["-L", "-g", "web"]);
    assert_eq!(told.code, Some(0), "{told}");
    assert!(told.stderr.contains("lxc.start.auto"), "{told}");
    assert_eq!(yard.autostart(&["-k", "-g", "web"]).code, Some(0));
    for name in yard.names.iter().filter(|name| !name.ends_with("-broken")) {
        fs::remove_file(yard.guest.dir().parent().unwrap().join(name).join("config")).unwrap();
    }
    let all = yard.autostart(&["-a"]);
    assert_eq!(all.code, Some(1), "{all}");
}
