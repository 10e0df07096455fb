//! What the command line promises beyond the config: paths as the caller sees them, and no trust in whoever is not root.

use crate::support::{Guest, Running, binary, emulated, program, skip, wait_until};
use nix::sys::statvfs::{FsFlags, statvfs};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// Why a setuid bit means nothing here.
fn setuid_is_ignored(dir: &Path) -> Option<&'static str> {
    let nosuid = statvfs(dir).unwrap().flags().contains(FsFlags::ST_NOSUID);
    let no_new_privileges = fs::read_to_string("/proc/self/status").unwrap().contains("NoNewPrivs:\t1");
    match (nosuid, no_new_privileges) {
        (true, _) => Some("the directory for temporary files is mounted nosuid"),
        (_, true) => Some("the tests run with no_new_privs"),
        _ => None,
    }
}

#[test]
fn setuid_or_setgid_copy_refuses_to_work_for_others() {
    let test = "setuid_or_setgid_copy_refuses_to_work_for_others";
    if emulated(test, "the bits of a file that is only read mean nothing") {
        return;
    }
    let guest = Guest::new("setuid");
    if let Some(reason) = setuid_is_ignored(&guest.dir()) {
        return skip(test, reason, false);
    }
    guest.install("exit 0");
    let copy = guest.dir().join("copy");
    fs::copy(binary(), &copy).unwrap();
    for (mode, refused) in [(0o4755, true), (0o2755, true), (0o755, false)] {
        fs::set_permissions(&copy, fs::Permissions::from_mode(mode)).unwrap();
        let mut command = Command::new(&copy);
        command.args(["version"]).uid(1000).gid(1000).stdin(Stdio::null());
        let ended = Running::new(&guest, command).wait();
        assert_eq!(ended.code, Some(if refused { 255 } else { 0 }), "{mode:o}{ended}");
        assert_eq!(ended.stderr.lines().count(), usize::from(refused), "{mode:o}{ended}");
        assert_eq!(ended.stderr.contains("setuid"), refused, "{mode:o}{ended}");
        assert_eq!(ended.stdout.is_empty(), refused, "{mode:o}{ended}");
    }
}

#[test]
fn daemon_relative_paths_are_the_callers() {
    let guest = Guest::new("relative").config("lxc.console.path =\nlxc.uts.name = other");
    guest.install("print on the console , report , signals 1 , poweroff");
    guest.state_before();
    let lxcpath = guest.dir().parent().unwrap().to_owned();
    fs::rename(guest.dir().join("config"), lxcpath.join("other")).unwrap();
    // Entering the sandbox leads to its root directory, so the shell goes back.
    let mut command = Command::new("sh");
    command.args(["-c", "cd $0; exec \"$@\""]).arg(&lxcpath).args(program());
    command.args(["start", "-d", "-n", guest.name(), "-P", ".", "-f", "other", "-p", "pid"]);
    command.args(["-L", "./console.log", "-o", "log", "-l", "DEBUG"]);
    command.stdin(Stdio::null());
    guest.sandbox.enter(&mut command);
    let ended = Running::new(&guest, command).wait();
    assert_eq!(ended.code, Some(0), "{ended}");
    guest.wait_said("ready");
    assert_eq!(guest.report().one("hostname"), "other");
    let file = |name: &str| fs::read_to_string(lxcpath.join(name)).unwrap_or_default();
    let supervisor: i32 = file("pid").trim().parse().unwrap();
    assert!(guest.sandbox.processes().contains(&supervisor), "{supervisor}");
    wait_until("the console's log", || file("console.log").contains("on the console"));
    assert!(file("log").contains(guest.name()), "{}", file("log"));
    let program: Vec<_> = program().iter().map(|word| word.display().to_string()).collect();
    // However a client writes the same directory, it finds the container.
    for path in [".", "./", lxcpath.to_str().unwrap()] {
        let info = guest.sandbox.sh(&format!(
            "cd {}; {} info -s -H -n {} -P {path}",
            lxcpath.display(),
            program.join(" "),
            guest.name()
        ));
        assert_eq!(info, "RUNNING\n", "-P {path}");
    }
    let stopped = guest.client("stop", &["-k"]);
    assert_eq!(stopped.code, Some(0), "{stopped}");
    wait_until("the supervisor's end", || guest.sandbox.processes().is_empty());
    assert!(!lxcpath.join("pid").exists(), "the pidfile stays");
    guest.assert_nothing_left();
}

#[test]
fn installed_links_are_tools_of_lxc_and_go_away_alone() {
    if emulated("installed_links_are_tools_of_lxc_and_go_away_alone", "the links would be run by this machine") {
        return;
    }
    let folder = std::env::temp_dir().join(format!("monopod-install-{}", std::process::id()));
    let bin = folder.join("usr/bin");
    let make = |goal: &str| {
        let mut command = std::process::Command::new("make");
        command.args(["-s", goal, "PREFIX=/usr"]).arg(format!("DESTDIR={}", folder.display()));
        command.current_dir(env!("CARGO_MANIFEST_DIR")).env_remove("MAKEFLAGS");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    make("install");
    let links: Vec<_> = std::fs::read_dir(&bin).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(links.len() > 10, "{links:?}");
    for link in &links {
        // LXC's lxc-config knows no --version.
        let words: &[&str] = if link.ends_with("lxc-config") { &["--help"] } else { &["--help", "--version"] };
        for word in words {
            let output = std::process::Command::new(link).arg(word).output().unwrap();
            assert_eq!(output.status.code(), Some(0), "{} {word}", link.display());
            assert!(!output.stdout.is_empty(), "{} {word}", link.display());
        }
    }
    // A tool of LXC's own in the place of a link is none of ours.
    let other = bin.join("lxc-ls");
    std::fs::remove_file(&other).unwrap();
    std::fs::write(&other, "theirs").unwrap();
    make("uninstall");
    let left: Vec<_> = std::fs::read_dir(&bin).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(left, [other]);
    std::fs::remove_dir_all(&folder).unwrap();
}
