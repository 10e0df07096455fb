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
    // Its root makes groups of its own; the limits stay the user's.
    let group = format!("/sys/fs/cgroup{expected}");
    let owner = |file: &str| guest.sandbox.sh(&format!("stat -c %u:%g {group}/{file}")).trim().to_owned();
    let owners = [".", "cgroup.procs", "cgroup.max.depth"].map(owner);
    let (own, lent) = (format!("{USER}:{USER}"), format!("{USER}:100000"));
    assert_eq!(owners, [lent.clone(), lent, own]);
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

/// A limit of a controller that this machine's v2 has; None: it has none.
fn limit(test: &str) -> Option<&'static str> {
    let has = fs::read_to_string("/sys/fs/cgroup/unified/cgroup.controllers").unwrap_or_default();
    let known = [("pids", "lxc.cgroup2.pids.max = 50"), ("hugetlb", "lxc.cgroup2.hugetlb.2MB.max = 2097152")];
    let found = known.iter().find(|(name, _)| has.split_whitespace().any(|one| one == *name));
    if found.is_none() {
        skip(test, "v2 of this machine has no controller to limit", false);
    }
    found.map(|(_, line)| *line)
}

#[test]
fn limit_moves_the_supervisor_out_of_the_group_that_hands_down() {
    let test = "limit_moves_the_supervisor_out_of_the_group_that_hands_down";
    let Some(limit) = limit(test).filter(|_| !cannot(test)) else { return };
    let guest = guest("limit", &format!("{MAPS}\n{limit}"));
    // Nobody but the supervisor may be in it; what hands controllers to it is the host's business.
    let controller = limit.split('.').nth(2).unwrap();
    guest.sandbox.sh(&format!(
        "for group in . user; do echo +{controller} > /sys/fs/cgroup/$group/cgroup.subtree_control; done"
    ));
    let running = start(&guest, "say up , restart-times 3 , say later , forever");
    guest.wait_said("later");
    let own = format!("user/session/lxc.monitor.{}", guest.name());
    let place = fs::read_to_string(format!("/proc/{}/cgroup", running.pid())).unwrap();
    assert!(place.contains(&own), "{place}");
    let (file, value) = limit.trim_start_matches("lxc.cgroup2.").split_once(" = ").unwrap();
    assert_eq!(client_in_leaf(&guest, "cgroup", &[file]).stdout.trim(), value);
    assert_eq!(client_in_leaf(&guest, "stop", &["-k"]).code, Some(0));
    let ended = running.wait();
    assert_eq!(ended.code, Some(0), "{ended}");
    assert_eq!(groups(&guest), ["user", "user/session"]);
    assert_eq!(guest.sandbox.sh("cat /sys/fs/cgroup/user/session/cgroup.subtree_control").trim(), "");
    guest.assert_nothing_left();
}

/// A client in a group of its own: the one in which the supervisor was takes no processes.
fn client_in_leaf(guest: &Guest, tool: &str, words: &[&str]) -> Ended {
    let command = guest.tool(tool, words);
    Running::new(guest, as_user(guest, &command, false)).wait()
}

#[test]
fn missing_delegation_is_a_warning_or_a_refusal_that_says_what_helps() {
    let test = "missing_delegation_is_a_warning_or_a_refusal_that_says_what_helps";
    if cannot(test) {
        return;
    }
    let delegate = "systemd-run --user --scope -p Delegate=yes";
    for (line, code) in [("", 0), ("lxc.cgroup2.pids.max = 50", 255)] {
        let guest = guest("undelegated", &format!("{MAPS}\n{line}"));
        let command = guest.start_command("exit 0");
        let ended = Running::new(&guest, as_user(&guest, &command, false)).wait();
        assert_eq!(ended.code, Some(code), "{ended}");
        assert!(ended.stderr.lines().last().unwrap_or_default().contains(delegate), "{ended}");
        assert_eq!(groups(&guest), ["user", "user/session"]);
        guest.assert_nothing_left();
    }
}

#[test]
fn user_without_id_maps_is_told_so() {
    let test = "user_without_id_maps_is_told_so";
    if cannot(test) {
        return;
    }
    let guest = guest("unmapped", "");
    let ended = start(&guest, "exit 0").wait();
    assert_eq!(ended.code, Some(255), "{ended}");
    assert!(ended.stderr.lines().last().unwrap_or_default().contains("lxc.idmap"), "{ended}");
    assert_eq!(groups(&guest), ["user", "user/session"]);
    guest.assert_nothing_left();
}

#[test]
fn containers_and_system_config_are_in_the_home() {
    let test = "containers_and_system_config_are_in_the_home";
    if cannot(test) {
        return;
    }
    let guest = guest("home", MAPS);
    guest.install("say up , forever");
    let name = guest.name();
    guest.sandbox.sh(&format!(
        "mkdir -p /run/home/.local/share /run/home/.config/lxc
         chmod 755 /run/home
         ln -s {} /run/home/.local/share/lxc
         echo 'lxc.cgroup.pattern = boxes/%n' > /run/home/.config/lxc/lxc.conf",
        guest.dir().parent().unwrap().display()
    ));
    let mut command = crate::support::command();
    command.args(["start", "-F", "-n", name]);
    let running = Running::new(&guest, as_user(&guest, &command, true));
    guest.wait_said("up");
    assert_eq!(groups(&guest).last().unwrap(), &format!("user/session/boxes/{name}/payload"));
    let mut command = crate::support::command();
    command.args(["stop", "-k", "-n", name]);
    let ended = Running::new(&guest, as_user(&guest, &command, true)).wait();
    assert_eq!(ended.code, Some(0), "{ended}");
    assert_eq!(running.wait().code, Some(0));
    assert_eq!(groups(&guest), ["user", "user/session"]);
}

#[test]
fn strangers_socket_is_not_believed() {
    let guest = Guest::new("stranger");
    guest.install("exit 0");
    let address = format!("{}/command", guest.dir().display());
    // Whoever answers RUNNING to everything.
    let script = format!(
        "import socket,struct\n\
         s=socket.socket(socket.AF_UNIX)\n\
         s.bind('\\0{address}')\n\
         s.listen(4)\n\
         open('/run/bound','w').close()\n\
         while True:\n\
         \tc,_=s.accept()\n\
         \ttry:\n\
         \t\tc.recv(64); c.send(struct.pack('iiQ',0,0,2)); c.close()\n\
         \texcept OSError: pass"
    );
    if !Path::new("/usr/bin/python3").exists() {
        return skip("strangers_socket_is_not_believed", "no python3", true);
    }
    guest.sandbox.sh("chmod 1777 /run");
    let mut stranger = Command::new("setpriv");
    stranger.args(["--reuid", "54322", "--regid", "54322", "--clear-groups", "/usr/bin/python3", "-c", &script]);
    guest.enter(&mut stranger);
    let mut stranger = stranger.spawn().unwrap();
    crate::support::wait_until("the stranger", || guest.sandbox.sh("ls /run").contains("bound"));
    let ended = guest.client("info", &["-s", "-H"]);
    assert_ne!(ended.stdout.trim(), "RUNNING", "{ended}");
    assert!(ended.stderr.contains("another user's process"), "{ended}");
    let ended = guest.client("stop", &["-k"]);
    assert_ne!(ended.code, Some(0), "{ended}");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}
