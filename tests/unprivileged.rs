//! Containers of a user without root: in a cgroup that was delegated to him, with ids that /etc/subuid grants him.

use crate::support::{Ended, Guest, Running, emulated, skip};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// He has no account on this machine, but in the sandbox' /etc.
const USER: u32 = 54_321;
const MAPS: &str = "lxc.idmap = u 0 100000 65536
    lxc.idmap = g 0 100000 65536
    lxc.mount.auto = proc:mixed";

fn cannot(test: &str) -> bool {
    let found = Path::new("/usr/bin/newuidmap").exists() && Path::new("/etc/subuid").exists();
    if !found {
        skip(test, "no newuidmap (package uidmap)", true);
    }
    !found || emulated(test, "newuidmap does not know the emulator")
}

/// A guest of that user, whose only hierarchy is v2's, with a delegated group `user` in it.
fn guest(label: &str, lines: &str) -> Guest {
    let guest = Guest::new(label).with_cgroup_view().config(lines);
    guest.sandbox.sh(&format!(
        "mkdir /run/etc /run/user /run/home
         cp /etc/passwd /etc/group /run/etc
         echo 'ada:x:{USER}:{USER}::/run/home:/bin/sh' >> /run/etc/passwd
         echo 'ada:x:{USER}:' >> /run/etc/group
         echo 'ada:100000:65536' | tee /run/etc/subuid > /run/etc/subgid
         for file in passwd group subuid subgid; do mount --bind /run/etc/$file /etc/$file; done
         chown {USER}:{USER} /run/user /run/home
         mkdir -p /run/v2
         mount --bind /sys/fs/cgroup/unified /run/v2
         umount -R /sys/fs/cgroup
         mount --move /run/v2 /sys/fs/cgroup
         mkdir /sys/fs/cgroup/user /sys/fs/cgroup/user/session
         chown -R {USER}:{USER} /sys/fs/cgroup/user"
    ));
    let owner = |path: &Path, uid| std::os::unix::fs::chown(path, Some(uid), Some(uid)).unwrap();
    owner(&guest.dir(), USER);
    owner(guest.dir().parent().unwrap(), USER);
    owner(&guest.rootfs(), 100_000);
    guest
}

/// `command` as that user, in his group (or, without a delegation, where we are ourselves).
fn as_user(guest: &Guest, command: &Command, delegated: bool) -> Command {
    let enter = if delegated { "echo 0 > /sys/fs/cgroup/user/session/cgroup.procs" } else { ":" };
    let script = format!("{enter}; exec setpriv --reuid {USER} --regid {USER} --clear-groups \"$@\"");
    let mut user = Command::new("sh");
    user.args(["-c", &script, "sh"]).arg(command.get_program()).args(command.get_args());
    user.env("HOME", "/run/home").env("XDG_RUNTIME_DIR", "/run/user").stdin(Stdio::null());
    guest.enter(&mut user);
    user
}

fn start<'g>(guest: &'g Guest, steps: &str) -> Running<'g> {
    let start = guest.start_command(steps);
    Running::new(guest, as_user(guest, &start, true))
}

fn client(guest: &Guest, tool: &str, words: &[&str]) -> Ended {
    let command = guest.tool(tool, words);
    Running::new(guest, as_user(guest, &command, true)).wait()
}

fn groups(guest: &Guest) -> Vec<String> {
    let found = guest.sandbox.sh("cd /sys/fs/cgroup; find . -mindepth 1 -type d | sort");
    found.lines().map(|line| line.trim_start_matches("./").to_owned()).collect()
}

#[test]
fn container_lives_in_the_delegated_group() {
    if cannot("container_lives_in_the_delegated_group") {
        return;
    }
    let guest = guest("user", MAPS);
    let running = start(&guest, "report , say up , forever");
    guest.wait_said("up");
    let init = guest.init();
    let place = fs::read_to_string(format!("/proc/{init}/cgroup")).unwrap();
    let expected = format!("/user/session/lxc/{}", guest.name());
    assert!(place.lines().any(|line| line.starts_with("0:") && line.ends_with(&expected)), "{place}");
    assert_eq!(fs::metadata(format!("/proc/{init}")).unwrap().uid(), 100_000);
    assert_eq!(guest.report().one("uid"), "0");
    // His own commands, and those of nobody else but root.
    let said = |words: &[&str]| client(&guest, words[0], &words[1..]).stdout.trim().to_owned();
    assert_eq!(said(&["info", "-s", "-H"]), "RUNNING");
    assert_eq!(said(&["ls", "-1", "--active"]), guest.name());
    assert_eq!(said(&["cgroup", "cgroup.type"]), "domain");
    assert_eq!(client(&guest, "attach", &["--", "/init", "exit", "7"]).code, Some(7));
    assert_eq!(client(&guest, "freeze", &[]).code, Some(0));
    assert_eq!(said(&["info", "-s", "-H"]), "FROZEN");
    assert_eq!(client(&guest, "unfreeze", &[]).code, Some(0));
    assert_eq!(guest.client("info", &["-s", "-H"]).stdout.trim(), "RUNNING", "root asks");
    let mut stranger = Command::new("setpriv");
    let info = guest.tool("info", &["-s", "-H"]);
    stranger.args(["--reuid", "54322", "--regid", "54322", "--clear-groups"]).arg(info.get_program());
    stranger.args(info.get_args()).stdin(Stdio::null());
    guest.enter(&mut stranger);
    let ended = Running::new(&guest, stranger).wait();
    assert_ne!(ended.stdout.trim(), "RUNNING", "{ended}");
    assert_eq!(client(&guest, "stop", &["-k"]).code, Some(0));
    let ended = running.wait();
    assert_eq!(ended.code, Some(0), "{ended}");
    assert!(ended.stderr.is_empty(), "{ended}");
    assert_eq!(groups(&guest), ["user", "user/session"]);
    assert_eq!(guest.sandbox.sh("ls -A /run/user/monopod /run/home"), "/run/home:\n\n/run/user/monopod:\n");
    guest.assert_nothing_left();
}
