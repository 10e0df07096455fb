//! `update-config` and `lxc-config`: ours beside LXC's own on the same files.

use crate::support::{Ended, Guest, Running, command, program, skip};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A config of LXC 1.0 with all that matters: links with and without numbers, comments, odd blanks, keys that are gone.
const OLD: &str = "\
# the container
lxc.rootfs = /srv/guest
lxc.utsname=box
#lxc.utsname = other
  lxc.tty = 4
lxc.pts\t= 1024
lxc.devttydir = lxc
lxc.pivotdir = old
lxc.kmsg = 0
lxc.mount = /srv/fstab
lxc.mount.entry = proc proc proc nodev,noexec,nosuid 0 0
lxc.aa_profile = unconfined
lxc.id_map = u 0 100000 65536
lxc.cgroup.memory.limit_in_bytes = 64M

lxc.network.type = veth
lxc.network.link = br0
lxc.network.ipv4 = 10.0.3.2/24
lxc.network.ipv4.gateway = auto
lxc.network.type = empty
lxc.loglevel = 1
lxc.haltsignal = SIGUSR1
lxc.init_cmd = /init a b
";

/// The verb or tool with its words.
fn run(guest: &Guest, tool: &str, words: &[&str]) -> Ended {
    let mut ours = command();
    ours.arg(tool).args(words);
    guest.enter(&mut ours);
    Running::new(guest, ours).wait()
}

/// The binary under test by the name of LXC's tool. None: it is run by an emulator, which does not pass the name on.
fn by_lxcs_name(guest: &Guest, test: &str, tool: &str) -> Option<PathBuf> {
    let [binary] = program().try_into().ok().or_else(|| {
        skip(test, "under MONOPOD_RUNNER: no program by the name of LXC's tool", false);
        None
    })?;
    let link = guest.dir().join(tool);
    symlink::<PathBuf, _>(binary, &link).unwrap();
    Some(link)
}

fn output(guest: &Guest, program: &Path, words: &[&str]) -> Ended {
    let mut command = Command::new(program);
    command.args(words).current_dir(guest.dir());
    guest.enter(&mut command);
    Running::new(guest, command).wait()
}

#[test]
fn update_config_old_file_becomes_what_lxcs_script_makes_of_it() {
    let test = "update_config_old_file_becomes_what_lxcs_script_makes_of_it";
    let script = Path::new("/usr/bin/lxc-update-config");
    if !fs::canonicalize(script).is_ok_and(|real| real == script) {
        return skip(test, "LXC is not installed (package lxc)", true);
    }
    let guest = Guest::new("update_stock");
    let Some(ours) = by_lxcs_name(&guest, test, "lxc-update-config") else { return };
    for (program, name) in [(script, "theirs"), (&ours, "ours")] {
        fs::write(guest.dir().join(name), OLD).unwrap();
        let ended = output(&guest, program, &["-c", guest.dir().join(name).to_str().unwrap()]);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""), "{ended}");
        assert_eq!(guest.file(&format!("{name}.backup")), OLD);
    }
    assert_eq!(guest.file("ours"), guest.file("theirs"));
}

#[test]
fn update_config_changes_names_and_nothing_else() {
    let guest = Guest::new("update").without_config();
    let file = guest.dir().join("real");
    fs::write(&file, OLD.replace("/srv/fstab", "/dev/null")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::chown(&file, Some(4321), Some(1234)).unwrap();
    symlink("real", guest.dir().join("config")).unwrap();
    let before = guest.client("config", &[]);
    assert_eq!(before.code, Some(0), "{before}");
    let ended = guest.client("update-config", &[]);
    assert_eq!(ended.code, Some(0), "{ended}");
    assert!(ended.stdout.contains("config.backup"), "{ended}");
    // The same config, in other words; still a link, with the same mode and owner.
    let after = guest.client("config", &[]).stdout;
    assert_eq!(after.replace("dir:/", "/"), before.stdout);
    assert!(fs::symlink_metadata(guest.dir().join("config")).unwrap().is_symlink());
    for name in ["real", "config.backup"] {
        let new = fs::symlink_metadata(guest.dir().join(name)).unwrap();
        assert_eq!((new.mode(), new.uid(), new.gid()), (0o100640, 4321, 1234), "{name}");
    }
    let old = OLD.lines().filter(|line| line.starts_with("# ") || line.is_empty()).collect::<Vec<_>>();
    let new = guest.file("real");
    assert_eq!(new.lines().filter(|line| line.starts_with("# ") || line.is_empty()).collect::<Vec<_>>(), old);
    assert_eq!(fs::read_dir(guest.dir()).unwrap().count(), 4, "config, real, backup, rootfs");
}

#[test]
fn update_config_new_file_is_left_alone() {
    let guest = Guest::new("update_new").config("lxc.uts.name = box");
    guest.install("");
    let inode = fs::metadata(guest.dir().join("config")).unwrap().ino();
    let ended = guest.client("update-config", &[]);
    assert_eq!(ended.code, Some(0), "{ended}");
    assert_eq!(fs::metadata(guest.dir().join("config")).unwrap().ino(), inode);
    assert!(!guest.dir().join("config.backup").exists());
}

#[test]
fn update_config_without_a_file_says_which_one_is_missing() {
    let guest = Guest::new("update_missing");
    let missing = guest.dir().join("none");
    let ended = run(&guest, "update-config", &["-c", missing.to_str().unwrap()]);
    assert_eq!(ended.code, Some(1), "{ended}");
    assert!(ended.stderr.contains(&format!("{}: No such file", missing.display())), "{ended}");
    assert!(!guest.dir().join("none.backup").exists());
}

#[test]
fn lxc_config_answers_as_lxcs_own() {
    let test = "lxc_config_answers_as_lxcs_own";
    let stock = Path::new("/usr/bin/lxc-config");
    if !fs::canonicalize(stock).is_ok_and(|real| real == stock) {
        return skip(test, "LXC is not installed (package lxc)", true);
    }
    let guest = Guest::new("lxc_config");
    let Some(ours) = by_lxcs_name(&guest, test, "lxc-config") else { return };
    for words in [&["-l"][..], &["lxc.lxcpath"], &["lxc.default_config"], &["lxc.cgroup.use"], &["lxc.none"]] {
        let [ours, theirs] = [&ours, stock].map(|program| output(&guest, program, words));
        assert_eq!((ours.code, &ours.stdout, &ours.stderr), (theirs.code, &theirs.stdout, &theirs.stderr), "{words:?}");
    }
}
