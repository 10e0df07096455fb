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

/// Runs `make` on the project's Makefile with the binary under test as what was built.
fn make(goal: &str, destination: &Path) -> std::process::Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = binary().parent().unwrap().file_name().unwrap().to_owned();
    let mut command = Command::new("make");
    command.arg("-C").arg(root).args([goal, "PREFIX=/usr"]).stdin(Stdio::null());
    command.arg(format!("DESTDIR={}", destination.display())).arg(format!("TARGET={}", target.display()));
    // What an outer make says of its jobs is not meant for this one.
    command.env_remove("MAKEFLAGS").env_remove("MAKELEVEL").env_remove("MFLAGS");
    command.output().unwrap()
}

#[test]
fn installed_links_answer_and_uninstall_takes_them_away() {
    let test = "installed_links_answer_and_uninstall_takes_them_away";
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("out");
    if emulated(test, "a link does not run under an emulator by itself") {
        return;
    }
    if !binary().starts_with(&built) {
        return skip(test, "the binary under test was not built by make", false);
    }
    let guest = Guest::new("install");
    fs::create_dir_all(guest.dir()).unwrap();
    let destination = guest.dir().join("destination");
    let installed = make("install", &destination);
    assert!(installed.status.success(), "{installed:?}");
    let bin = destination.join("usr/bin");
    let mut names: Vec<_> = fs::read_dir(&bin).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort_unstable();
    assert!(names.len() > 10 && names.iter().any(|name| name == "lxc-start"), "{names:?}");
    for name in &names {
        for option in ["--version", "--help"] {
            if name == "lxc-config" && option == "--version" {
                continue; // a key's name to LXC's tool
            }
            let mut command = Command::new(bin.join(name));
            command.arg(option).stdin(Stdio::null());
            let ended = Running::new(&guest, command).wait();
            assert_eq!(ended.code, Some(0), "{name:?} {option}{ended}");
            assert!(!ended.stdout.is_empty(), "{name:?} {option}{ended}");
        }
    }
    // What is somebody else's stays.
    fs::write(bin.join("lxc-copy"), "").unwrap();
    fs::remove_file(bin.join("lxc-ls")).unwrap();
    fs::write(bin.join("lxc-ls"), "").unwrap();
    let refused = make("install", &destination);
    assert!(!refused.status.success(), "{refused:?}");
    let removed = make("uninstall", &destination);
    assert!(removed.status.success(), "{removed:?}");
    let mut left: Vec<_> = fs::read_dir(&bin).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort_unstable();
    assert_eq!(left, ["lxc-copy", "lxc-ls"]);
}

#[test]
fn own_failure_has_lxcs_code_by_lxcs_name() {
    if emulated("own_failure_has_lxcs_code_by_lxcs_name", "a link does not run under an emulator by itself") {
        return;
    }
    let guest = Guest::new("codes").config("lxc.no.such.key = 1");
    guest.install("exit 0");
    let link = guest.dir().join("lxc-start");
    std::os::unix::fs::symlink(fs::canonicalize(binary()).unwrap(), &link).unwrap();
    let start = |program: &Path, words: &[&str]| {
        let mut command = Command::new(program);
        command.args(words).args(["-n", guest.name(), "-P"]).arg(guest.dir().parent().unwrap()).stdin(Stdio::null());
        guest.enter(&mut command);
        Running::new(&guest, command).wait().code
    };
    assert_eq!(start(&link, &["-F"]), Some(1));
    assert_eq!(start(&link, &["-d"]), Some(1));
    assert_eq!(start(&binary(), &["start"]), Some(255));
}
