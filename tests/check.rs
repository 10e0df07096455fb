//! `check`: what it says of good and broken containers, held against what a start of the same container does.

use crate::support::strace;
use crate::support::{Ended, Guest, Running, command, emulated, program, skip};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn write(path: &Path, text: &[u8], mode: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Its lines that begin with `verdict`.
fn lines<'a>(ended: &'a Ended, verdict: &str) -> Vec<&'a str> {
    ended.stdout.lines().filter(|line| line.split(' ').next() == Some(verdict)).collect()
}

/// A container with a fault: `check` must say so in one FAIL line with `says`, and a start must fail as well.
struct Broken {
    name: &'static str,
    config: &'static str,
    prepare: fn(&Guest),
    says: &'static [&'static str],
}

fn nothing(_: &Guest) {}

/// `/init` is the guests' init, and the container's unless a row says otherwise.
#[rustfmt::skip]
const BROKEN: &[Broken] = &[
    Broken { name: "unknown key",         config: "lxc.utz.name = a",                                prepare: nothing, says: &["config:", "lxc.uts.name"] },
    Broken { name: "storage not made",    config: "lxc.rootfs.path = nbd:/x",                        prepare: nothing, says: &["lxc.rootfs.path", "pre-start hook"] },
    Broken { name: "host's pids",         config: "lxc.namespace.keep = pid",                        prepare: nothing, says: &["namespace", "pid"] },
    Broken { name: "share of nobody",     config: "lxc.namespace.share.net = nobody-of-that-name",   prepare: nothing, says: &["namespace", "not running"] },
    Broken { name: "no AppArmor",         config: "lxc.apparmor.profile = mine",                     prepare: nothing, says: &["lsm", "no AppArmor"] },
    Broken { name: "not removed whole",   config: "lxc.ephemeral = 1\nlxc.rootfs.path = /",          prepare: |guest| write(&guest.rootfs().join("x"), b"", 0o644), says: &["ephemeral", "the rootfs is not in there"] },
    Broken { name: "rootfs missing",      config: "lxc.rootfs.path = {dir}/none",                    prepare: nothing, says: &["rootfs:", "/none", "No such file"] },
    Broken { name: "rootfs a file",       config: "lxc.rootfs.path = {dir}/config",                  prepare: nothing, says: &["rootfs:", "loop:"] },
    Broken { name: "init missing",        config: "lxc.init.cmd = /none",                            prepare: nothing, says: &["init: /none", "No such file"] },
    Broken { name: "init a dead link",    config: "lxc.init.cmd = /sbin/x",                          prepare: |guest| {
        fs::create_dir(guest.rootfs().join("sbin")).unwrap();
        symlink("/bin/none", guest.rootfs().join("sbin/x")).unwrap();
    }, says: &["init: /sbin/x: /bin: No such file"] },
    Broken { name: "init not executable", config: "lxc.init.cmd = /x",                               prepare: |guest| write(&guest.rootfs().join("x"), b"#!/init\n", 0o644), says: &["init: /x", "chmod"] },
    Broken { name: "init a directory",    config: "lxc.init.cmd = /tmp",                             prepare: nothing, says: &["init: /tmp", "no file"] },
    Broken { name: "init no program",     config: "lxc.init.cmd = /x",                               prepare: |guest| write(&guest.rootfs().join("x"), b"text", 0o755), says: &["init: /x", "neither a program"] },
    Broken { name: "no interpreter",      config: "lxc.init.cmd = /x",                               prepare: |guest| write(&guest.rootfs().join("x"), b"#!/bin/sh\n", 0o755), says: &["init: /x", "interpreter /bin/sh"] },
    Broken { name: "no loader",           config: "lxc.init.cmd = /x",                               prepare: |guest| write(&guest.rootfs().join("x"), &elf(62, "/lib/ld-none.so"), 0o755), says: &["init: /x", "/lib/ld-none.so"] },
    Broken { name: "another machine",     config: "lxc.init.cmd = /x",                               prepare: |guest| write(&guest.rootfs().join("x"), &elf(4242, ""), 0o755), says: &["init: /x", "another machine"] },
    Broken { name: "init's directory",    config: "lxc.init.cwd = /none",                            prepare: nothing, says: &["lxc.init.cwd"] },
    Broken { name: "mount source",        config: "lxc.mount.entry = {dir}/none mnt none bind 0 0",  prepare: nothing, says: &["mounts:", "source", "/none", "No such file"] },
    Broken { name: "mount target",        config: "lxc.mount.entry = {dir} none none bind 0 0",      prepare: nothing, says: &["mounts:", "target none", "create=dir"] },
    Broken { name: "mount target in dev", config: "lxc.mount.entry = {dir} dev/x none bind 0 0",     prepare: |guest| fs::create_dir(guest.rootfs().join("dev/x")).unwrap(), says: &["mounts:", "target dev/x", "lxc.autodev"] },
    Broken { name: "mount target a link", config: "lxc.mount.entry = {dir} x none bind 0 0",         prepare: |guest| symlink("mnt", guest.rootfs().join("x")).unwrap(), says: &["mounts:", "target x", "link"] },
    Broken { name: "hook missing",        config: "lxc.hook.pre-start = {dir}/none",                 prepare: nothing, says: &["hooks:", "pre-start", "No such file"] },
    Broken { name: "hook not executable", config: "lxc.hook.pre-start = {dir}/x",                    prepare: |guest| write(&guest.dir().join("x"), b"#!/bin/sh\n", 0o644), says: &["hooks:", "pre-start", "chmod"] },
    Broken { name: "start hook outside",  config: "lxc.hook.start = {dir}/x",                        prepare: |guest| write(&guest.dir().join("x"), b"#!/bin/sh\n", 0o755), says: &["hooks:", "start", "No such file"] },
    Broken { name: "limit unknown",       config: "lxc.cgroup.none.limit = 1\nlxc.cgroup2.none.limit = 1", prepare: nothing, says: &["limits:", "none.limit"] },
    Broken { name: "sysctl unknown",      config: "lxc.sysctl.net.none = 1",                         prepare: nothing, says: &["sysctls:", "lxc.sysctl.net.none"] },
];

/// A 64-bit ELF file with nothing but its headers; with a loader, if one is named.
fn elf(machine: u16, loader: &str) -> Vec<u8> {
    let mut file = vec![0; 4096];
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &[0x7f, b'E', b'L', b'F', 2, 1, 1]);
    put(16, &[2, 0]);
    put(18, &machine.to_le_bytes());
    put(20, &[1, 0, 0, 0]);
    put(24, &0x40_0000u64.to_le_bytes());
    put(32, &64u64.to_le_bytes());
    put(52, &[64, 0, 56, 0, u8::from(!loader.is_empty()), 0]);
    put(64, &3u32.to_le_bytes());
    put(72, &256u64.to_le_bytes());
    put(96, &(loader.len() as u64 + 1).to_le_bytes());
    put(256, loader.as_bytes());
    file
}

#[test]
fn check_every_fault_is_said_and_stops_a_start() {
    if emulated("check_every_fault_is_said_and_stops_a_start", "the emulator executes other machines' programs") {
        return;
    }
    for row in BROKEN {
        let guest = Guest::new("broken").config(row.config);
        (row.prepare)(&guest);
        let own_init = row.config.contains("lxc.init.cmd");
        let steps = if own_init { "" } else { "exit 0" };
        guest.install(steps);
        let before = guest.sandbox_state();
        let checked = guest.client("check", &[]);
        let fails = lines(&checked, "FAIL");
        assert!(fails.iter().any(|line| row.says.iter().all(|word| line.contains(word))), "{}: {checked}", row.name);
        assert_eq!(checked.code, Some(1), "{}: {checked}", row.name);
        assert_eq!(guest.sandbox_state(), before, "{}", row.name);
        let started = guest.run(steps);
        assert_ne!(started.code, Some(0), "{}: {started}", row.name);
        guest.assert_nothing_left();
    }
}

#[test]
fn check_keys_that_do_nothing_alone_are_warned_of() {
    let guest = Guest::new("alone").config(
        "monopod.preset = android\nmonopod.reboot.recovery = hook\nmonopod.stop.method = command
        lxc.signal.halt = SIGPWR",
    );
    guest.install("exit 0");
    let checked = guest.client("check", &[]);
    let warnings = lines(&checked, "warn");
    for word in ["no monopod.hook.reboot", "no monopod.stop.command", "lxc.signal.halt"] {
        assert!(warnings.iter().any(|line| line.contains(word)), "{word}{checked}");
    }
}

/// A name, lines of config, init's command line, and what is made before.
type Sound = (&'static str, &'static str, &'static str, fn(&Guest));

/// Containers without a fault, odd as they may look.
#[test]
fn check_what_it_finds_sound_starts() {
    if emulated(
        "check_what_it_finds_sound_starts",
        "the guests are programs of this machine, which the emulated one cannot run",
    ) {
        return;
    }
    let v1 = Path::new("/sys/fs/cgroup/pids").exists();
    let limits = match v1 {
        true => "lxc.sysctl.net.ipv4.ip_forward = 1\nlxc.cgroup.pids.max = 100",
        false => "lxc.sysctl.net.ipv4.ip_forward = 1\nlxc.cgroup2.pids.max = 100",
    };
    let rows: &[Sound] = &[
        ("plain", "", "/init exit 7", nothing),
        ("linked init", "", "/sbin/init exit 7", |guest| {
            fs::create_dir_all(guest.rootfs().join("usr/sbin")).unwrap();
            symlink("usr/sbin", guest.rootfs().join("sbin")).unwrap();
            symlink("/init", guest.rootfs().join("usr/sbin/init")).unwrap();
        }),
        ("searched init", "", "x exit 7", |guest| {
            fs::create_dir(guest.rootfs().join("bin")).unwrap();
            symlink("../../../init", guest.rootfs().join("bin/x")).unwrap();
        }),
        ("script", "", "/x", |guest| write(&guest.rootfs().join("x"), b"#!/init exit 7,\n", 0o755)),
        (
            "mounts",
            "lxc.mount.entry = {dir} a/b none bind,create=dir 0 0\nlxc.mount.entry = tmpfs a/b/c tmpfs optional 0 0
            lxc.mount.entry = {dir}/none mnt none bind,optional 0 0\nlxc.mount.entry = tmpfs dev/x tmpfs create=dir 0 0
            lxc.mount.auto = proc sys\nlxc.mount.entry = tmpfs proc/sys tmpfs optional 0 0",
            "/init exit 7",
            nothing,
        ),
        (
            "hooks",
            "lxc.hook.pre-start = true || {dir}/none\nlxc.hook.post-stop = {dir}/none\nlxc.hook.mount = {dir}/x",
            "/init exit 7",
            |guest| write(&guest.dir().join("x"), b"exit 0\n", 0o755),
        ),
        ("old names", "lxc.utsname = box\nlcx.uts.name = a\nlxc.kmsg = 0", "/init exit 7", nothing),
        ("limits", limits, "/init exit 7", nothing),
    ];
    for (name, config, init, prepare) in rows {
        let guest = Guest::new("sound").config(config).config(&format!("lxc.init.cmd = {init}"));
        prepare(&guest);
        guest.install("");
        let checked = guest.client("check", &[]);
        assert_eq!(checked.code, Some(0), "{name}: {checked}");
        assert!(lines(&checked, "FAIL").is_empty(), "{name}: {checked}");
        let started = guest.run("");
        // The script is all that its interpreter is told.
        let code = if *name == "script" { 99 } else { 7 };
        assert_eq!(started.code, Some(code), "{name}: {started}");
        guest.assert_nothing_left();
    }
}

#[test]
fn check_what_loading_passes_over_is_a_warning() {
    if emulated(
        "check_what_loading_passes_over_is_a_warning",
        "the guests are programs of this machine, which the emulated one cannot run",
    ) {
        return;
    }
    let guest = Guest::new("check_lint");
    let at = guest.next_line();
    let guest = guest.config("lcx.uts.name = a\nlxc.utsname = box\nlxc.kmsg = 0\nlxc.cap.drop = sys_boot\nlxc.pivotdir = old\nlxc.rootfs.backend = dir");
    guest.install("exit 0");
    let ended = guest.client("check", &[]);
    let warnings = lines(&ended, "warn");
    for (line, words) in [
        (at, ["lcx.uts.name", "lxc.uts.name"]),
        (at + 1, ["lxc.utsname", "lxc.uts.name today"]),
        (at + 2, ["lxc.kmsg", "no effect"]),
        (at + 3, ["CAP_SYS_BOOT", "reboot"]),
        (at + 4, ["lxc.pivotdir", "no effect"]),
        (at + 5, ["lxc.rootfs.backend", "no effect"]),
    ] {
        let place = format!("config:{line}: ");
        let said = |text: &&str| text.contains(&place) && words.iter().all(|word| text.contains(word));
        assert!(warnings.iter().any(said), "{place}{words:?}: {ended}");
    }
    assert_eq!(ended.code, Some(0), "{ended}");
}

#[test]
fn check_machine_alone_and_as_json() {
    let guest = Guest::new("check_machine");
    let run = |words: &[&str]| {
        let mut check = command();
        check.arg("check").args(words);
        guest.enter(&mut check);
        Running::new(&guest, check).wait()
    };
    let plain = run(&[]);
    assert_eq!(plain.code, Some(0), "{plain}");
    for what in ["ok    kernel: Linux ", "ok    cgroups: ", "ok    reboot: "] {
        assert!(plain.stdout.contains(what), "{what}: {plain}");
    }
    let json = run(&["--json"]);
    assert_eq!(json.code, Some(0), "{json}");
    assert!(json.stdout.starts_with("[{\"verdict\":\"ok\",\"what\":\"kernel\",\"detail\":\"Linux "), "{json}");
    assert_eq!(json.stdout.matches("\"verdict\"").count(), plain.stdout.lines().count(), "{json}");
}

#[test]
fn check_kernel_config_of_a_board_is_judged() {
    let guest = Guest::new("check_kernel");
    guest.install("exit 0");
    let kernel = guest.dir().join("kernel");
    fs::write(&kernel, "# Linux/arm 3.10.108 Kernel Configuration\nCONFIG_NAMESPACES=y\n# CONFIG_PID_NS is not set\n")
        .unwrap();
    let ended = guest.client("check", &["--kernel-config", kernel.to_str().unwrap()]);
    assert_eq!(ended.code, Some(1), "{ended}");
    let fails = lines(&ended, "FAIL").join("\n");
    assert!(fails.contains("CONFIG_PID_NS ") && fails.contains("CONFIG_DEVPTS_MULTIPLE_INSTANCES "), "{ended}");
    assert!(!fails.contains("CONFIG_NAMESPACES "), "{ended}");
    let missing = guest.client("check", &["--kernel-config", "/none"]);
    assert!(missing.code == Some(1) && missing.stderr.contains("/none"), "{missing}");
}

#[test]
fn check_running_container_is_a_warning() {
    let guest = Guest::new("check_running");
    let mut running = guest.start("say up , sleep 30000");
    guest.wait_said("up");
    let ended = guest.client("check", &[]);
    assert!(lines(&ended, "warn").iter().any(|line| line.contains("is RUNNING already")), "{ended}");
    assert!(running.is_running());
    let _ = guest.client("stop", &["-k"]);
    running.wait();
    guest.assert_nothing_left();
}

#[test]
fn check_changes_nothing() {
    let test = "check_changes_nothing";
    if !strace::available(test) {
        return;
    }
    let guest = Guest::new("check_reads")
        .config("lxc.hook.pre-start = {dir}/hook\nlxc.mount.entry = {dir} tmp/new none bind,create=dir 0 0");
    guest.script("hook", "touch $dir/ran");
    guest.install("exit 0");
    let before = guest.sandbox_state();
    let inner = guest.tool("check", &[]);
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
    assert_eq!(text.lines().filter(bad).collect::<Vec<_>>(), Vec::<&str>::new());
    assert!(!guest.dir().join("ran").exists());
    assert_eq!(guest.sandbox_state(), before);
}

#[test]
fn lxc_checkconfig_prints_as_lxcs_own() {
    let test = "lxc_checkconfig_prints_as_lxcs_own";
    let stock = Path::new("/usr/bin/lxc-checkconfig");
    if !fs::canonicalize(stock).is_ok_and(|real| real == stock) {
        return skip(test, "LXC is not installed (package lxc)", true);
    }
    let [binary]: [PathBuf; 1] = match program().try_into() {
        Ok(one) => one,
        Err(_) => return skip(test, "under MONOPOD_RUNNER: no program by the name of LXC's tool", false),
    };
    let guest = Guest::new("checkconfig");
    let ours = guest.dir().join("lxc-checkconfig");
    symlink(binary, &ours).unwrap();
    let file = guest.dir().join("kernel");
    let configs = [
        "# Linux/x86 6.1.55 Kernel Configuration\nCONFIG_USER_NS=y\nCONFIG_SMP=y\nCONFIG_VETH=m\nCONFIG_CPUSETS=m\n",
        "# Linux/arm 3.10.108 Kernel Configuration\nCONFIG_NAMESPACES=y\nCONFIG_CGROUP_MEM_RES_CTLR=y\nCONFIG_MEMCG=y\n",
        "# Linux/arm64 4.14.99 Kernel Configuration\nCONFIG_DEVPTS_MULTIPLE_INSTANCES=y\nCONFIG_NF_NAT_IPV4=y\n",
        "CONFIG_PID_NS=y\n",
    ];
    let output = |program: &Path, config: Option<&Path>| {
        let mut tool = Command::new(program);
        tool.envs(config.map(|file| ("CONFIG", file)));
        guest.enter(&mut tool);
        let ended = Running::new(&guest, tool).wait();
        // Its own path stands in the last line.
        (ended.code, ended.stdout.replace(program.to_str().unwrap(), "TOOL"), ended.stderr)
    };
    assert_eq!(output(&ours, None), output(stock, None));
    let missing = guest.dir().join("missing");
    assert_eq!(output(&ours, Some(&missing)), output(stock, Some(&missing)));
    for config in configs {
        fs::write(&file, config).unwrap();
        assert_eq!(output(&ours, Some(&file)), output(stock, Some(&file)), "{config}");
    }
}
