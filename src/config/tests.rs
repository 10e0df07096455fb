//! Tests of the whole reader: files in, errors and effective configs out.

use super::keys::{self, Keep, Kind};
use super::*;
use crate::text::Arena;
use std::ffi::CString;
use std::fs;
use std::path::{Path, PathBuf};
use std::string::String;

/// A directory of its own, removed at the end.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("monopod-config-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Dir(path)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_string()
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Loads and hands the outcome to `check`.
fn load_with<R>(
    rcfile: Option<&str>,
    defines: &[&[u8]],
    check: impl FnOnce(crate::error::Result<&Config<'_>>) -> R,
) -> R {
    let mut storage = vec![0u8; limits::TEXT_BYTES];
    let arena = Arena::new(&mut storage);
    let rcfile = rcfile.map(|path| CString::new(path).unwrap());
    let sources = Sources { name: c"nobody", lxcpath: c"/nonexistent//", rcfile: rcfile.as_deref(), defines };
    let config = load(&arena, &sources);
    match config {
        Ok(config) => check(Ok(&*config)),
        Err(error) => check(Err(error)),
    }
}

/// The config of `-s` options only.
fn defined<R>(defines: &[&str], check: impl FnOnce(&Config<'_>) -> R) -> R {
    let defines: std::vec::Vec<&[u8]> = defines.iter().map(|define| define.as_bytes()).collect();
    load_with(None, &defines, |config| check(config.unwrap()))
}

/// The error of one `-s` option.
fn define_error(define: &str) -> String {
    load_with(None, &[define.as_bytes()], |config| config.err().map(|e| e.to_string())).unwrap_or_default()
}

/// The error of a file, its path written as FILE.
fn file_error(path: &str) -> String {
    load_with(Some(path), &[], |config| config.err().map(|e| e.to_string())).unwrap_or_default().replace(path, "FILE")
}

fn got(config: &Config<'_>, key: &str) -> Option<String> {
    let mut text = String::new();
    get(config, key.as_bytes(), &mut text).map(|()| text)
}

fn printed(config: &Config<'_>) -> String {
    let mut text = String::new();
    print(config, &mut text).unwrap();
    text
}

/// A value each key takes, and what a client then gets for it.
const SAMPLES: &[(&str, &str, &str)] = &[
    ("lxc.arch", "armhf", "armhf"),
    ("lxc.uts.name", "halium", "halium"),
    ("lxc.rootfs.path", "dir:/a b", "/a b"),
    ("lxc.rootfs.mount", "/mnt", "/mnt"),
    ("lxc.rootfs.options", "ro,size=4", "ro,size=4"),
    ("lxc.rootfs.managed", "0", "0"),
    ("lxc.mount.auto", "sys:ro proc", "proc:mixed sys:ro"),
    ("lxc.mount.entry", "/a b none bind,create=dir 0 0", "/a b none bind,create=dir 0 0\n"),
    ("lxc.autodev", "0", "0"),
    ("lxc.autodev.tmpfs.size", "10M", "10485760"),
    ("lxc.tty.max", "4", "4"),
    ("lxc.tty.dir", "lxc", "lxc"),
    ("lxc.pty.max", "10", "10"),
    ("lxc.console.path", "none", "none"),
    ("lxc.console.logfile", "/log", "/log"),
    ("lxc.console.size", "4MB", "4194304"),
    ("lxc.console.rotate", "1", "1"),
    ("lxc.console.buffer.size", "auto", "131072"),
    ("lxc.cap.drop", "mac_admin chown", "chown\nmac_admin\n"),
    ("lxc.cap.keep", "sys_time none chown 63", "chown\n63\n"),
    ("lxc.hook.version", "1", "1"),
    ("lxc.hook.pre-start", "/a b", "/a b\n"),
    ("lxc.hook.pre-mount", "/a", "/a\n"),
    ("lxc.hook.mount", "/a", "/a\n"),
    ("lxc.hook.autodev", "/a", "/a\n"),
    ("lxc.hook.start-host", "/a", "/a\n"),
    ("lxc.hook.start", "/a", "/a\n"),
    ("lxc.hook.stop", "/a", "/a\n"),
    ("lxc.hook.post-stop", "/a", "/a\n"),
    ("lxc.hook.clone", "/a", "/a\n"),
    ("lxc.hook.destroy", "/a", "/a\n"),
    ("lxc.init.cmd", "/init  'a b' c\"d", "/init \"a b\" c\"d"),
    ("lxc.init.uid", "1000", "1000"),
    ("lxc.init.gid", "1001", "1001"),
    ("lxc.init.groups", "1, 2", "1,2"),
    ("lxc.init.cwd", "/root", "/root"),
    ("lxc.execute.cmd", "/bin/x", "/bin/x"),
    ("lxc.signal.halt", "SIGRTMIN+3", "37"),
    ("lxc.signal.reboot", "TERM", "15"),
    ("lxc.signal.stop", "SIGKILL", "9"),
    ("lxc.environment", "A=b c", "A=b c\n"),
    ("lxc.environment.runtime", "A=", "A=\n"),
    ("lxc.environment.hooks", "A=b", "A=b\n"),
    ("lxc.cgroup.dir", "a/b", "a/b"),
    ("lxc.cgroup.dir.monitor", "a", "a"),
    ("lxc.cgroup.dir.monitor.pivot", "a", "a"),
    ("lxc.cgroup.dir.container", "a", "a"),
    ("lxc.cgroup.dir.container.inner", "a", "a"),
    ("lxc.cgroup.relative", "1", "1"),
    ("lxc.cgroup.devices.allow", "c 1:3 rwm", "c 1:3 rwm\n"),
    ("lxc.cgroup2.memory.max", "1G", "1G\n"),
    ("lxc.prlimit.nofile", "10:unlimited", "10:unlimited"),
    ("lxc.sysctl.net.ipv4.ip_forward", "1", "1"),
    ("lxc.proc.oom_score_adj", "10", "10"),
    ("lxc.net.3.type", "veth", "veth"),
    ("lxc.net.3.veth.pair", "v0", "v0"),
    ("lxc.net.3.hwaddr", "00:16:3e:xx:XX:0f", "00:16:3e:xx:XX:0f"),
    ("lxc.net.3.ipv4.address", "10.0.0.2/24", "10.0.0.2/24"),
    ("lxc.net.3.ipv6.gateway", "fe80::1", "fe80::1"),
    ("lxc.namespace.keep", "net user", "user\nnet\n"),
    ("lxc.namespace.clone", "pid", "pid\n"),
    ("lxc.namespace.share.net", "other", "other"),
    ("lxc.time.offset.boot", "-3 s", "-3s"),
    ("lxc.time.offset.monotonic", "3h", "10800s"),
    ("lxc.idmap", "u 0 100000 65536", "u 0 100000 65536\n"),
    ("lxc.no_new_privs", "1", "1"),
    ("lxc.apparmor.profile", "unconfined", "unconfined"),
    ("lxc.apparmor.allow_incomplete", "1", "1"),
    ("lxc.apparmor.allow_nesting", "1", "1"),
    ("lxc.apparmor.raw", "deny x,", "deny x,\n"),
    ("lxc.selinux.context", "u:r:x:s0", "u:r:x:s0"),
    ("lxc.selinux.context.keyring", "x", "x"),
    ("lxc.seccomp.profile", "/x", "/x"),
    ("lxc.seccomp.allow_nesting", "1", "1"),
    ("lxc.seccomp.notify.proxy", "unix:/x", "unix:/x"),
    ("lxc.seccomp.notify.cookie", "x", "x"),
    ("lxc.keyring.session", "0", "0"),
    ("lxc.sched.core", "1", "1"),
    ("lxc.ephemeral", "1", "1"),
    ("lxc.monitor.unshare", "1", "1"),
    ("lxc.monitor.signal.pdeath", "NONE", "0"),
    ("lxc.log.level", "1", "DEBUG"),
    ("lxc.log.file", "/log", "/log"),
    ("lxc.log.syslog", "local3", "local3"),
    ("lxc.start.auto", "1", "1"),
    ("lxc.start.delay", "5", "5"),
    ("lxc.start.order", "-3", "-3"),
    ("lxc.group", "a b", "a\nb\n"),
    ("monopod.alive", "file:/run/alive", "file:/run/alive"),
    ("monopod.alive.within", "30s", "30"),
    ("monopod.console", "stdio", "stdio"),
    ("monopod.log.kmsg", "1", "1"),
    ("monopod.restart.when", "always", "always"),
    ("monopod.restart.delay", "1500ms", "1500ms"),
    ("monopod.restart.factor", "3", "3"),
    ("monopod.restart.cap", "2m", "120"),
    ("monopod.restart.budget", "5", "5"),
    ("monopod.restart.window", "1h", "3600"),
    ("monopod.restart.uptime", "0", "0"),
    ("monopod.signal.halt", "TERM", "15"),
    ("monopod.timeout.hook", "5", "5"),
    ("monopod.timeout.start", "5s", "5"),
    ("monopod.timeout.stop", "0", "0"),
    ("monopod.preset", "android", "android"),
    ("monopod.android.init", "0", "0"),
    ("monopod.android.sdk", "30", "30"),
    ("monopod.android.boot.hardware", "qcom", "qcom"),
    ("monopod.android.cmdline", "host", "host"),
    ("monopod.android.clean", "1", "1"),
    ("monopod.android.misc", "/dev/misc", "/dev/misc"),
    ("monopod.binder", "own", "own"),
    ("monopod.binder.nodes", "binder a", "binder a"),
    ("monopod.device.entry", "/dev/uinput optional", "/dev/uinput optional\n"),
    ("monopod.devices", "android", "android"),
    ("monopod.protect", "1", "1"),
    ("monopod.allow.sys_time", "1", "1"),
    ("monopod.allow.sys_boot", "0", "0"),
    ("monopod.keyctl", "enosys", "enosys"),
    ("monopod.hook.reboot", "/a b", "/a b"),
    ("monopod.hook.ready", "/a b", "/a b"),
    ("monopod.host.reboot", "/sbin/reboot", "/sbin/reboot"),
    ("monopod.reboot.recovery", "host-reboot-arg", "host-reboot-arg"),
    ("monopod.restart.exhausted", "host-reboot", "host-reboot"),
    ("monopod.stop.method", "property", "property"),
    ("monopod.stop.command", "/bin/x y", "/bin/x y"),
    ("monopod.ready", "coldboot file:/x", "coldboot file:/x"),
    ("monopod.ready.failed", "restart", "restart"),
    ("monopod.timeout.ready", "0", "0"),
    ("monopod.wakelock", "boot", "boot"),
    ("monopod.state.file", "/run/x", "/run/x"),
    ("monopod.crash.file", "/run/x", "/run/x"),
    ("monopod.trace", "1", "1"),
    ("monopod.oom.score", "-1000", "-1000"),
    ("monopod.log.logd", "1", "1"),
];

#[test]
fn table_every_key_is_set_shown_printed_and_reset() {
    let untouched = defined(&[], printed);
    for (key, value, shown) in SAMPLES {
        let set = format!("{key} = {value}");
        let print = defined(&[&set], |config| {
            assert_eq!(got(config, key).as_deref(), Some(*shown), "{set}");
            printed(config)
        });
        let lines: std::vec::Vec<&str> = print.lines().collect();
        let again = defined(&lines, printed);
        assert_eq!(again, print, "{set}");
        // A link lives on without its field; a family's head clears it.
        let reset = if key.starts_with("lxc.net.") { "lxc.net =".to_string() } else { format!("{key} =") };
        assert_eq!(defined(&[&set, &reset], printed), untouched, "{reset}");
    }
}

#[test]
fn table_every_row_has_a_sample() {
    for row in keys::TABLE {
        let name = row.name.to_str().unwrap();
        let silent = matches!(row.kind, Kind::Include | Kind::Ignored | Kind::Head(_)) || name == "lxc.mount.fstab";
        let sampled = SAMPLES.iter().any(|(key, ..)| {
            *key == name || row.is_family() && key.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'))
        });
        assert!(silent || sampled, "{name}");
    }
}

#[test]
fn table_older_names_find_the_row_of_todays() {
    for row in keys::TABLE {
        assert!(core::ptr::eq(keys::find(row.name.to_bytes()).unwrap().0, row));
        for old in row.old {
            let (found, _, is_old) = keys::find(old.as_bytes()).unwrap();
            assert!(core::ptr::eq(found, row) && is_old, "{old}");
        }
    }
}

#[test]
fn kept_scalar_given_twice_keeps_the_last() {
    for row in keys::TABLE {
        if let Kind::Kept(Keep::Last, ..) = row.kind {
            let name = row.name.to_str().unwrap();
            let (set, other) = (format!("{name} = 1"), format!("{name} = 0"));
            defined(&[&set, &other], |config| assert_eq!(got(config, name).as_deref(), Some("0"), "{name}"));
        }
    }
}

#[test]
fn unknown_key_names_the_nearest() {
    let cases = [
        ("lxc.utsnam = x", r#"config: -s option 1: unknown key "lxc.utsnam", did you mean "lxc.utsname"?"#),
        ("lxc.tty.mx = x", r#"config: -s option 1: unknown key "lxc.tty.mx", did you mean "lxc.tty.max"?"#),
        ("lxc.net.0.tpye = x", r#"config: -s option 1: unknown key "lxc.net.0.tpye", did you mean "lxc.net.N.type"?"#),
        ("lxc.net.type = x", r#"config: -s option 1: unknown key "lxc.net.type", did you mean "lxc.net.0.type"?"#),
        (
            "lxc.prlimit.nofil = 1",
            r#"config: -s option 1: unknown key "lxc.prlimit.nofil", did you mean "lxc.prlimit.nofile"?"#,
        ),
        (
            "monopod.restart.wen = 1",
            r#"config: -s option 1: unknown key "monopod.restart.wen", did you mean "monopod.restart.when"?"#,
        ),
        ("lxc.hook.foo = 1", r#"config: -s option 1: unknown key "lxc.hook.foo", did you mean "lxc.hook.stop"?"#),
    ];
    for (define, error) in cases {
        assert_eq!(define_error(define), error);
    }
    assert_eq!(define_error("foo = 1"), r#"config: -s option 1: unknown key "foo""#);
}

#[test]
fn bad_value_says_what_was_expected() {
    let cases = [
        ("lxc.tty.max = abc", r#"lxc.tty.max = "abc": expected a whole number"#),
        ("lxc.tty.max = 65", r#"lxc.tty.max = "65": more than 64 ttys (limits::TTYS)"#),
        (
            "monopod.ready = coldboot booted",
            r#"monopod.ready = "coldboot booted": booted: none of coldboot, property_service, boot_completed, property:NAME[=VALUE], file:/PATH, socket:/PATH"#,
        ),
        ("lxc.tty = 0x4", r#"lxc.tty = "0x4": expected a whole number"#),
        ("lxc.autodev = 2", r#"lxc.autodev = "2": expected 0 or 1"#),
        (
            "lxc.arch = LXCARCH",
            r#"lxc.arch = "LXCARCH": a template's placeholder, expected the guest's machine such as arm64, armhf or x86_64"#,
        ),
        ("lxc.arch = z80", r#"lxc.arch = "z80": expected a machine such as arm64, armhf, x86_64 or i686"#),
        (
            "lxc.cap.drop = mac_admni",
            r#"lxc.cap.drop = "mac_admni": unknown capability "mac_admni", did you mean "mac_admin"?"#,
        ),
        (
            "lxc.cap.drop = none",
            r#"lxc.cap.drop = "none": expected capabilities to drop; none is a word of lxc.cap.keep"#,
        ),
        (
            "lxc.net.0.type = bogus",
            r#"lxc.net.0.type = "bogus": expected a type of link: none empty veth macvlan ipvlan vlan phys"#,
        ),
        (
            "lxc.network.link = br0",
            r#"lxc.network.link = "br0": expected lxc.network.type before it, which opens the link"#,
        ),
        ("lxc.net = x", r#"lxc.net = "x": expected nothing, which clears"#),
        ("lxc.hook = x", r#"lxc.hook = "x": expected nothing, which clears"#),
        ("lxc.mount.entry = a", r#"lxc.mount.entry = "a": expected SOURCE TARGET TYPE OPTIONS"#),
        ("lxc.init.cmd = 'a", r#"lxc.init.cmd = "'a": expected a closing quote"#),
        ("lxc.tty.dir = ../x", r#"lxc.tty.dir = "../x": expected a directory below /dev"#),
        (
            "lxc.environment = MONOPOD_NO_SUCH",
            r#"lxc.environment = "MONOPOD_NO_SUCH": expected KEY=VALUE, or a KEY that our own environment has"#,
        ),
        ("monopod.restart.factor = 0", r#"monopod.restart.factor = "0": expected a whole number from 1"#),
        ("monopod.restart.when = x", r#"monopod.restart.when = "x": expected reboot, failure, always or never"#),
        ("lxc.arch", "expected key = value, there is no ="),
    ];
    for (define, error) in cases {
        assert_eq!(define_error(define), format!("config: -s option 1: {error}"));
    }
}

#[test]
fn bad_values_of_every_small_grammar_are_refused() {
    for define in [
        "lxc.pty.max = -1",
        "lxc.pty.max = 4294967296",
        "lxc.autodev.tmpfs.size = 1T",
        "lxc.console.size = x",
        "lxc.signal.halt = 0",
        "lxc.signal.stop = SIGFOO",
        "lxc.log.level = 9",
        "lxc.log.syslog = foo",
        "lxc.prlimit.nofile = 10:5",
        "lxc.prlimit = 1",
        "lxc.namespace.keep = network",
        "lxc.namespace.share.foo = x",
        "lxc.mount.auto = proc:ro",
        "lxc.hook.version = 2",
        "lxc.net.0.mtu = 1500x",
        "lxc.net.0.hwaddr = zz:1",
        "lxc.net.0.ipv4.address = 10.0.0.300/24",
        "lxc.net.0.ipv4.address = 10.0.0.3/33",
        "lxc.net.0.vlan.id = 5000",
        "lxc.net.0.name = abcdefghijklmnopq",
        "lxc.net.0.macvlan.mode = x",
        "lxc.idmap = x 0 1 2",
        "lxc.idmap = u 0 1",
        "lxc.init.groups = 1,2 3",
        "lxc.start.auto = 2",
        "lxc.start.delay = -3",
        "lxc.time.offset.boot = x",
        "lxc.cgroup = 3",
        "lxc.cgroup.a/b = 3",
        "lxc.rootfs.path = overlay:",
        "lxc.cap.keep = 64",
        "lxc.sysctl = 3",
        "monopod.timeout.hook = 1d",
        "monopod.console = x",
        "monopod.log.kmsg = yes",
        "lxc.rootfs.managed = 2",
        "lxc.rootfs.options = create=x",
        "lxc.init.uid = root",
        "lxc.network.0 = x",
        "lxc.net. = 1",
    ] {
        let error = define_error(define);
        assert!(error.starts_with("config: -s option 1: "), "{define}: {error}");
    }
}

#[test]
fn full_list_names_the_limit_and_the_line() {
    let dir = Dir::new("full");
    let file = dir.write("config", "lxc.hook.mount = /a\n".repeat(limits::HOOKS + 1));
    assert_eq!(file_error(&file), r#"config: FILE:33: lxc.hook.mount = "/a": more than 32 hooks (limits::HOOKS)"#);
    let long = format!("lxc.environment = A={}\n", "x".repeat(4000));
    let file = dir.write("text", long.repeat(80));
    assert_eq!(
        file_error(&file),
        "config: FILE:66: lxc.environment: more than 262144 bytes of text (limits::TEXT_BYTES)"
    );
}

#[test]
fn broken_lines_name_file_and_line() {
    let dir = Dir::new("broken");
    for (text, error) in [
        ("\n\nlxc.arch\n", "config: FILE:3: expected key = value, there is no ="),
        ("lxc.utsnam = 1", r#"config: FILE:1: unknown key "lxc.utsnam", did you mean "lxc.utsname"?"#),
        ("# a\0b\n", "config: FILE:1: the line holds a NUL byte"),
    ] {
        let file = dir.write("config", text);
        assert_eq!(file_error(&file), error);
    }
    let file = dir.write("config", format!("lxc.arch = {}", "x".repeat(limits::LINE_BYTES)));
    assert_eq!(file_error(&file), "config: FILE:1: the line is longer than 4096 bytes (limits::LINE_BYTES)");
}

#[test]
fn sources_missing_file_is_an_error_only_when_named() {
    assert_eq!(file_error("/nonexistent/x"), "config: FILE: No such file or directory");
    load_with(None, &[], |config| {
        let config = config.unwrap();
        assert!(config.files.is_empty() && config.file().is_none());
        assert_eq!((config.name, config.lxcpath), (c"nobody", c"/nonexistent"));
    });
    load_with(Some("/dev/null"), &[], |config| assert_eq!(config.unwrap().file(), Some(c"/dev/null")));
}

#[test]
fn sources_container_directory_is_read_and_defines_come_last() {
    let dir = Dir::new("named");
    dir.write("box/config", "\u{feff}lxc.uts.name = file\r\nlxc.tty.max = 3");
    let path = CString::new(dir.path()).unwrap();
    let mut storage = vec![0u8; 4096];
    let defines: [&[u8]; 1] = [b"lxc.tty.max=4"];
    let sources = Sources { name: c"box", lxcpath: &path, rcfile: None, defines: &defines };
    let config = load(&Arena::new(&mut storage), &sources).unwrap();
    assert_eq!(config.uts_name.unwrap().value, c"file");
    assert_eq!(config.tty_max, 4);
    assert_eq!(config.place(config.uts_name.unwrap().at).to_string(), format!("{}/box/config:1", dir.path()));
}

#[test]
fn include_directory_that_is_not_there_is_empty() {
    defined(&["lxc.include = /nonexistent/directory/", "lxc.tty.max = 3"], |config| assert_eq!(config.tty_max, 3));
}

#[test]
fn include_directory_is_read_in_order_of_names() {
    let dir = Dir::new("sorted");
    for name in ["c.conf", "a.conf", "b.conf", "z.txt"] {
        dir.write(&format!("d/{name}"), format!("lxc.hook.mount = /{name}\n"));
    }
    let file = dir.write("config", format!("lxc.include = {}/d\nlxc.hook.mount = /last\n", dir.path()));
    load_with(Some(&file), &[], |config| {
        let config = config.unwrap();
        assert_eq!(got(config, "lxc.hook.mount").unwrap(), "/a.conf\n/b.conf\n/c.conf\n/last\n");
        assert_eq!(config.files.len(), 4);
        assert_eq!(config.file().unwrap().to_str().unwrap(), file);
    });
}

#[test]
fn include_cycle_missing_fifo_and_size_are_errors_with_the_line() {
    let dir = Dir::new("include");
    let file = dir.write("config", "");
    let error = |text: String| {
        dir.write("config", text);
        file_error(&file).replace(dir.path(), "DIR")
    };
    assert_eq!(
        error(format!("#\nlxc.include = {file}\n")).replace("FILE", "DIR/config"),
        r#"config: DIR/config:2: lxc.include = "DIR/config": the file includes itself"#
    );
    let other = dir.write("other", format!("\n\nlxc.include = {file}\n"));
    assert_eq!(
        error(format!("lxc.include = {other}")).replace("FILE", "DIR/config"),
        r#"config: DIR/other:3: lxc.include = "DIR/config": the file includes itself"#
    );
    assert_eq!(
        error("lxc.include = /nonexistent/x".into()),
        r#"config: FILE:1: lxc.include = "/nonexistent/x": No such file or directory"#
    );
    let fifo = dir.0.join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR).unwrap();
    assert_eq!(
        error(format!("lxc.include = {}", fifo.display())),
        r#"config: FILE:1: lxc.include = "DIR/fifo": not a regular file"#
    );
    let large = dir.write("large", vec![b'\n'; 1024 * 1024 + 1]);
    assert_eq!(
        error(format!("lxc.include = {large}")),
        r#"config: FILE:1: lxc.include = "DIR/large": larger than 1048576 bytes (limits::CONFIG_FILE_BYTES)"#
    );
    for depth in 0..=limits::INCLUDE_DEPTH {
        dir.write(&format!("deep{depth}"), format!("lxc.include = {}/deep{}\n", dir.path(), depth + 1));
    }
    assert_eq!(
        file_error(&dir.0.join("deep0").to_string_lossy()).replace(dir.path(), "DIR"),
        r#"config: DIR/deep15:1: lxc.include = "DIR/deep16": nested deeper than 16 (limits::INCLUDE_DEPTH)"#
    );
    let many = format!("lxc.include = {}\n", dir.write("empty", "")).repeat(limits::FILES);
    assert_eq!(error(many), r#"config: FILE:64: lxc.include = "DIR/empty": more than 64 files (limits::FILES)"#);
    assert_eq!(file_error(dir.path()), "config: FILE: Is a directory");
}

#[test]
fn fstab_entries_come_first_with_their_own_lines() {
    let dir = Dir::new("fstab");
    let fstab = dir.write("fstab", "# comment\n\nlxc.a a none bind 0 0\n/b b none bind\n");
    let file = dir.write("config", format!("lxc.mount.entry = /c c none bind\nlxc.mount = {fstab}\n"));
    load_with(Some(&file), &[], |config| {
        let config = config.unwrap();
        let sources: std::vec::Vec<_> = config.mounts.iter().map(|entry| entry.source).collect();
        assert_eq!(sources, [c"lxc.a", c"/b", c"/c"]);
        assert_eq!(config.fstab_mounts, 2);
        assert_eq!(config.place(config.mounts[1].at).to_string(), format!("{fstab}:4"));
        assert_eq!(got(config, "lxc.mount.entry").unwrap(), "/c c none bind\n");
        let lines = printed(config);
        assert!(lines.contains(&format!("lxc.mount.fstab = {fstab}\n")) && !lines.contains("lxc.a a"));
    });
    let file = dir.write("config", "lxc.mount.fstab = /nonexistent/x\n");
    assert_eq!(file_error(&file), r#"config: FILE:1: lxc.mount.fstab = "/nonexistent/x": No such file or directory"#);
    let fstab = dir.write("fstab", "/a a none create=x\n");
    let file = dir.write("config", format!("lxc.mount.fstab = {fstab}\n"));
    assert_eq!(
        file_error(&file).replace(&fstab, "FSTAB"),
        r#"config: FSTAB:1: mount = "/a a none create=x": expected create=dir or create=file"#
    );
}

#[test]
fn cross_checks_refuse_what_cannot_be_together() {
    for (defines, error) in [
        (["lxc.cap.drop=chown", "lxc.cap.keep=kill"], "lxc.cap.drop and lxc.cap.keep cannot be used together"),
        (
            ["lxc.namespace.keep=net", "lxc.namespace.clone=pid"],
            "lxc.namespace.keep and lxc.namespace.clone cannot be used together",
        ),
    ] {
        let defines = defines.map(str::as_bytes);
        let found = load_with(None, &defines, |config| config.err().map(|e| e.to_string()));
        assert_eq!(found.unwrap(), format!("config: -s option 2: {error}"));
    }
    defined(&["lxc.cap.drop=chown", "lxc.cap.drop=", "lxc.cap.keep=kill"], |config| assert_eq!(config.caps.drop, 0));
}

fn noted(defines: &[&str]) -> std::vec::Vec<String> {
    defined(defines, |config| config.not_built.iter().map(ToString::to_string).collect())
}

#[test]
fn not_built_is_storage_that_no_build_has() {
    for define in ["lxc.rootfs = lvm:/a", "lxc.rootfs.path = zfs:/a", "lxc.rootfs = aufs:/a:/b"] {
        let [note] = &noted(&[define])[..] else { panic!("{define}") };
        assert!(note.starts_with("lxc.rootfs.path names a storage driver"), "{note}");
    }
}

#[test]
fn not_built_is_what_needs_a_feature_that_is_not_there() {
    for (feature, there, define) in [
        ("seccomp", cfg!(feature = "seccomp"), "lxc.seccomp.profile = /x"),
        ("idmap", cfg!(feature = "idmap"), "lxc.idmap = u 0 1 1"),
        ("idmap", cfg!(feature = "idmap"), "lxc.mount.entry = /a b none bind,idmap=container"),
        ("net", cfg!(feature = "net"), "lxc.net.0.type = veth"),
        ("images", cfg!(feature = "images"), "lxc.rootfs.path = overlay:/a:/b"),
        ("images", cfg!(feature = "images"), "lxc.rootfs.path = loop:/a"),
        ("images", cfg!(feature = "images"), "lxc.mount.entry = /a b ext4 loop"),
        ("isolation", cfg!(feature = "isolation"), "lxc.namespace.share.net = other"),
        ("isolation", cfg!(feature = "isolation"), "lxc.time.offset.boot = 1h"),
        ("isolation", cfg!(feature = "isolation"), "lxc.time.offset.monotonic = -1s"),
        ("isolation", cfg!(feature = "isolation"), "lxc.cgroup.dir.monitor = a"),
        ("isolation", cfg!(feature = "isolation"), "lxc.cgroup.relative = 1"),
        ("isolation", cfg!(feature = "isolation"), "lxc.ephemeral = 1"),
        ("guard", cfg!(feature = "guard"), "monopod.protect = 1"),
        ("guard", cfg!(feature = "guard"), "monopod.keyctl = enosys"),
        ("guard", cfg!(feature = "guard"), "monopod.reboot.recovery = stop"),
        ("ready", cfg!(feature = "ready"), "monopod.ready = coldboot"),
    ] {
        let notes = noted(&[define]);
        let word = format!(" needs the cargo feature {feature}, which this build does not have");
        assert_eq!(notes.len(), usize::from(!there), "{define}: {notes:?}");
        assert!(notes.iter().all(|note| define.starts_with(note.strip_suffix(&word).unwrap())), "{define}: {notes:?}");
    }
}

#[test]
fn not_built_is_nothing_that_asks_for_nothing() {
    for defines in [
        &["lxc.apparmor.profile = unconfined"][..],
        &["lxc.net.0.type = none"],
        &["lxc.net.0.type = empty"],
        &["lxc.rootfs = dir:/a"],
        &["lxc.ephemeral = 0"],
        &["lxc.ephemeral = 1", "lxc.ephemeral = 0"],
        &["lxc.seccomp.allow_nesting = 0"],
        &["lxc.start.auto = 1"],
        &["lxc.seccomp.profile ="],
        &["lxc.namespace.share.net = other", "lxc.namespace.share ="],
        &["lxc.net.0.type = veth", "lxc.net ="],
        &["monopod.protect = 0", "monopod.ready = none", "monopod.preset = android"],
        &["monopod.preset = android", "monopod.preset = none"],
    ] {
        assert_eq!(noted(defines), [""; 0], "{defines:?}");
    }
}

#[test]
fn not_built_preset_is_noted_for_what_it_wants_of_itself() {
    let wanted = [cfg!(feature = "guard"), cfg!(feature = "ready")].iter().filter(|there| !**there).count();
    assert_eq!(noted(&["monopod.preset = android"]).len(), wanted);
    assert_eq!(
        noted(&["monopod.preset = android", "monopod.protect = 0"]).len(),
        usize::from(!cfg!(feature = "ready"))
    );
}

#[test]
fn legacy_links_are_numbered_in_order() {
    let all = [
        "lxc.network.type = none",
        "lxc.network.type = veth",
        "lxc.network.link = br0",
        "lxc.network.ipv4 = 10.0.0.1/24",
        "lxc.network.0.name = x",
        "lxc.net.7.type = empty",
        "lxc.net.5.link = y",
    ];
    defined(&all, |config| {
        assert_eq!(got(config, "lxc.net").unwrap(), "none\nveth\nempty\nempty\n");
        assert_eq!(got(config, "lxc.network.1.ipv4").unwrap(), "10.0.0.1/24");
        assert_eq!(got(config, "lxc.net.1.link").unwrap(), "br0");
        assert_eq!(got(config, "lxc.net.0.name").unwrap(), "x");
        assert_eq!(got(config, "lxc.net.5.type").unwrap(), "empty");
        assert_eq!(got(config, "lxc.net.4.type"), None);
        assert_eq!(got(config, "lxc.net.0.bogus"), None);
    });
    defined(&["lxc.network.type = veth", "lxc.net.0 ="], |config| assert!(config.nics.is_empty()));
    defined(&["lxc.network.type = veth", "lxc.network ="], |config| assert!(config.nics.is_empty()));
}

#[test]
fn get_unknown_or_silent_key_is_none() {
    defined(&[], |config| {
        for key in ["lxc.foo", "lxc.hook", "lxc.include", "lxc.pivotdir", "", "lxc", "lxc.net.0"] {
            assert_eq!(got(config, key), None, "{key}");
        }
        assert_eq!(got(config, "lxc.tty.dir").as_deref(), Some(""));
        assert_eq!(got(config, "lxc.pts").as_deref(), Some("1024"));
    });
    defined(&["lxc.cgroup.a = 1", "lxc.cgroup2.b = 2", "lxc.limit.nice = 3"], |config| {
        assert_eq!(got(config, "lxc.cgroup").unwrap(), "lxc.cgroup.a = 1\n");
        assert_eq!(got(config, "lxc.limit").unwrap(), "lxc.prlimit.nice = 3\n");
        assert_eq!(got(config, "lxc.limit.nice").unwrap(), "3");
    });
}

#[test]
fn cgroup_automount_without_form_follows_the_capabilities() {
    let access = |defines: &[&str]| defined(defines, |config| config.mount_auto.cgroup.unwrap().access);
    assert_eq!(access(&["lxc.mount.auto = cgroup"]), CgroupAccess::Rw);
    assert_eq!(access(&["lxc.mount.auto = cgroup", "lxc.cap.drop = sys_admin"]), CgroupAccess::Mixed);
    assert_eq!(access(&["lxc.mount.auto = cgroup", "lxc.cap.keep = chown"]), CgroupAccess::Mixed);
    assert_eq!(access(&["lxc.mount.auto = cgroup:mixed"]), CgroupAccess::Mixed);
    assert_eq!(access(&["lxc.mount.auto = cgroup2:ro"]), CgroupAccess::Ro);
}

#[test]
fn print_values_with_blanks_and_quotes_survive() {
    let dir = Dir::new("quotes");
    let file = dir.write(
        "config",
        "lxc.uts.name = \" a \"\nlxc.tty.dir = \"'x'\"\nlxc.environment = A=\t\"b\nlxc.init.cwd = '\"'\n",
    );
    let first = load_with(Some(&file), &[], |config| printed(config.unwrap()));
    assert!(first.contains("lxc.uts.name = \" a \"\n") && first.contains("lxc.tty.dir = \"'x'\"\n"));
    assert!(first.contains("lxc.environment = A=\t\"b\n") && first.contains("lxc.init.cwd = \"\n"));
    let again = dir.write("again", &first);
    assert_eq!(load_with(Some(&again), &[], |config| printed(config.unwrap())), first);
}

#[test]
fn load_any_bytes_never_panics_and_prints_again() {
    let dir = Dir::new("bytes");
    let words: std::vec::Vec<String> = SAMPLES.iter().map(|(key, value, _)| format!("{key} = {value}\n")).collect();
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed % below as u64).unwrap()
    };
    let mut loaded = 0;
    for _ in 0..if cfg!(miri) { 10 } else { 600 } {
        let mut text = std::vec::Vec::new();
        for _ in 0..random(6) {
            text.extend_from_slice(words[random(words.len())].as_bytes());
        }
        for _ in 0..random(4) {
            let at = random(text.len() + 1);
            match random(3) {
                0 => text.insert(at, u8::try_from(random(256)).unwrap()),
                1 if at < text.len() => drop(text.remove(at)),
                _ => text.truncate(at),
            }
        }
        let file = dir.write("config", &text);
        let Some(print) = load_with(Some(&file), &[], |config| config.ok().map(printed)) else { continue };
        loaded += 1;
        let again = dir.write("again", &print);
        let second = load_with(Some(&again), &[], |config| config.map(printed).map_err(|e| e.to_string()));
        assert_eq!(second.as_ref(), Ok(&print), "{}", String::from_utf8_lossy(&text));
    }
    assert!(loaded > 50, "{loaded}");
}

/// The directory of real configs beside the repository, if it is there.
fn corpus() -> Option<std::vec::Vec<PathBuf>> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found = [manifest.join("../shared/corpus"), manifest.join("../../shared/corpus")];
    let Some(Ok(entries)) = found.iter().map(fs::read_dir).find(Result::is_ok) else {
        eprintln!("SKIPPED: no corpus of real configs at {}", found[0].display());
        return None;
    };
    let mut files: std::vec::Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| {
        let name = path.file_name().unwrap().to_string_lossy();
        (name.ends_with(".conf") || name.ends_with(".conf.in")) && !name.contains("seccomp")
    });
    files.sort();
    Some(files)
}

#[test]
fn corpus_real_configs_load_and_print_the_same_again() {
    let Some(files) = corpus() else { return };
    let dir = Dir::new("corpus");
    let empty = dir.write("empty", "");
    for path in files {
        let name = path.file_name().unwrap().to_str().unwrap();
        let bytes = fs::read(&path).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        // The included files and fstabs of other machines are not here.
        let absent = |line: &str| {
            let (key, _) = line.split_once('=')?;
            matches!(key.trim(), "lxc.include" | "lxc.mount" | "lxc.mount.fstab").then(|| format!("{key}= {empty}"))
        };
        let text: String = text.lines().map(|line| absent(line).unwrap_or(line.into()) + "\n").collect();
        let file = dir.write(name, &text);
        let outcome = load_with(Some(&file), &[], |config| config.map(printed).map_err(|e| e.to_string()));
        let wants_arch = text.lines().any(|line| line.trim_end().ends_with("LXCARCH"));
        match outcome {
            Err(error) if wants_arch => {
                assert!(error.contains("lxc.arch = \"LXCARCH\": a template's placeholder"), "{error}")
            }
            outcome => {
                let print = outcome.unwrap_or_else(|e| panic!("{name}: {e}"));
                let again = dir.write("again", &print);
                let second = load_with(Some(&again), &[], |config| config.map(printed).map_err(|e| e.to_string()));
                assert_eq!(second, Ok(print), "{name}");
            }
        }
    }
}

#[test]
fn legacy_vocabulary_agrees_with_lxc_update_config() {
    let old = "lxc.rootfs = /var/lib/lxc/android/rootfs\nlxc.utsname = armhf\nlxc.network.type = none\nlxc.devttydir = lxc\n\
        lxc.tty = 4\nlxc.pts = 1024\nlxc.arch = armhf\nlxc.cap.drop = mac_admin mac_override\nlxc.pivotdir = lxc_putold\n\
        lxc.hook.pre-start = /var/lib/lxc/android/pre-start.sh\nlxc.init_cmd = /init\nlxc.aa_profile = unconfined\n\
        lxc.autodev = 0\nlxc.loglevel = 1\nlxc.console = none\nlxc.se_context = x\nlxc.id_map = u 0 1 2\n\
        lxc.haltsignal = 3\nlxc.init_uid = 3\nlxc.aa_allow_incomplete = 1\nlxc.network.type = veth\n\
        lxc.network.link = br0\nlxc.network.ipv4 = 10.0.0.1/24\nlxc.network.script.up = /a\n";
    let dir = Dir::new("update");
    let (before, after) = (dir.write("old", old), dir.write("new", old));
    match std::process::Command::new("lxc-update-config").args(["-c", &after]).output() {
        Err(e) => return eprintln!("SKIPPED: lxc-update-config cannot be run: {e}"),
        Ok(done) => assert!(done.status.success()),
    }
    assert_ne!(fs::read_to_string(&after).unwrap(), old);
    let ours = load_with(Some(&before), &[], |config| printed(config.unwrap()));
    let theirs = load_with(Some(&after), &[], |config| printed(config.unwrap()));
    // The tool writes the driver out; a path without one means the same.
    assert_eq!(ours.replace("lxc.rootfs.path = ", "lxc.rootfs.path = dir:"), theirs);
}
