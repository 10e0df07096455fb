//! Life as process 1, in a pid namespace: there reboot(2) ends it by SIGINT (halt, power-off) or SIGHUP (reboot), and the
//! machine around it stays. What only a machine of its own can show is in tests/qemu.

use crate::old_kernels::NEW;
use crate::soak::times;
use crate::support::kernel::{self, Kernel, LAST_OF_3_10};
use crate::support::{self, DEADLINE, Ended, Guest, Running, sandbox, strace, wait_for};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

/// A root directory with monopod as /init and one container, to be run as a machine.
struct Host {
    guest: Guest,
    root: PathBuf,
}

impl Host {
    /// `conf` is its init.conf, `steps` what the container's init does. None: there is no static binary or busybox.
    fn new(test: &str, conf: &str, steps: &str) -> Option<Host> {
        // Without binfmt_misc the kernel cannot execute it.
        if support::emulated(test, "process 1 executes itself, as the supervisor of a container") {
            return None;
        }
        if !support::is_static(&support::binary()) {
            support::skip(test, "the binary under test is not static (make test has it so)", true);
            return None;
        }
        let guest = Guest::new("pid1");
        if !guest.busybox(test) {
            return None;
        }
        let root = guest.dir().join("host");
        for dir in ["proc", "sys", "dev", "run", "etc/monopod", "var/lib/lxc"] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        fs::copy(support::binary(), root.join("init")).unwrap();
        let container = root.join("var/lib/lxc").join(guest.name());
        fs::create_dir(&container).unwrap();
        fs::rename(guest.rootfs(), container.join("rootfs")).unwrap();
        symlink(container.join("rootfs"), guest.rootfs()).unwrap();
        symlink(format!("var/lib/lxc/{}/rootfs/bin", guest.name()), root.join("bin")).unwrap();
        let host = Host { guest, root };
        host.install(conf, steps);
        host.guest.sandbox.sh(&format!(
            "mount -t tmpfs dev {0}/dev
             mknod -m 666 {0}/dev/null c 1 3
             mknod -m 666 {0}/dev/ptmx c 5 2
             mount --rbind /sys {0}/sys",
            host.root.display()
        ));
        host.guest.state_before();
        Some(host)
    }

    fn install(&self, conf: &str, steps: &str) {
        // Most guests here know nothing of a halt.
        let stop = if conf.contains("monopod.init.stop") { "" } else { "monopod.init.stop = 1" };
        let conf = format!("{conf}\n{stop}\n");
        fs::write(self.root.join("etc/monopod/init.conf"), conf).unwrap();
        let rootfs = format!("/var/lib/lxc/{}/rootfs", self.guest.name());
        let init = format!("lxc.rootfs.path = {rootfs}\nlxc.init.cmd = /init {steps}\nlxc.tty.max = 0\n");
        self.write_config(&init);
    }

    fn config(&self) -> PathBuf {
        self.root.join("var/lib/lxc").join(self.guest.name()).join("config")
    }

    fn write_config(&self, config: &str) {
        fs::write(self.config(), config).unwrap();
    }

    fn script(&self, name: &str, body: &str) {
        let path = self.root.join(name);
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn boot(&self) -> Running<'_> {
        self.boot_by(Command::new("unshare"))
    }

    /// `command` is unshare, or something that runs it.
    fn boot_by(&self, mut command: Command) -> Running<'_> {
        command.args(["--mount", "--pid", "--net", "--uts", "--fork", "--kill-child", "chroot"]);
        command.arg(&self.root).args(["/init", "quiet"]).stdin(Stdio::piped());
        self.guest.enter(&mut command);
        Running::new(&self.guest, command)
    }

    /// What `monopod WORDS -n NAME`, called beside process 1, prints.
    fn tool(&self, running: &Running<'_>, words: &[&str]) -> String {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.process1(running).to_string(), "-p", "-n", "-r", "-m", "/init"]);
        command.args(words).args(["-n", self.guest.name()]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn is_running(&self, running: &Running<'_>) -> bool {
        self.tool(running, &["info", "-s", "-H"]) == "RUNNING\n"
    }

    /// The machine's process 1, as this machine sees it.
    fn process1(&self, running: &Running<'_>) -> i32 {
        child_of(running.pid())
    }

    /// What the machine said, the pids left out.
    fn lines(text: &str) -> Vec<String> {
        let said = text.lines().filter_map(|line| line.strip_prefix("monopod: init: "));
        said.map(|line| line.split(" (pid ").next().unwrap().to_owned()).collect()
    }

    fn supervisor(&self, running: &Running<'_>) -> i32 {
        child_of(self.process1(running))
    }

    /// The same, with the container's name put in.
    fn named(&self, lines: &[&str]) -> Vec<String> {
        lines.iter().map(|line| line.replace("NAME", self.guest.name())).collect()
    }
}

/// The first child of a process.
fn child_of(pid: i32) -> i32 {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let children = || fs::read_to_string(&path).unwrap_or_default();
    assert!(wait_for(DEADLINE, || !children().is_empty()), "process {pid} has no child");
    children().split(' ').next().unwrap().parse().unwrap()
}

const POWER_OFF: Option<i32> = Some(libc::SIGINT);
const REBOOT: Option<i32> = Some(libc::SIGHUP);

fn assert_said(host: &Host, ended: &Ended, lines: &[&str]) {
    assert_eq!(Host::lines(&ended.stderr), host.named(lines), "{ended}");
}

#[test]
fn container_halts_the_machine_powers_off() {
    let Some(host) = Host::new("container_halts", "", "say up , poweroff") else { return };
    let ended = host.boot().wait();
    assert_eq!(ended.signal, POWER_OFF, "{ended}");
    let said =
        ["up", "NAME: started", "NAME: ready", "NAME: halted: poweroff", "going down: poweroff", "now: poweroff"];
    assert_said(&host, &ended, &said);
    assert_eq!(host.guest.results(), "up\n");
    host.guest.assert_nothing_left();
}

#[test]
fn container_reboots_the_machine_stays() {
    let Some(host) = Host::new("container_reboots", "", "say life , restart-times 2 , halt") else { return };
    let ended = host.boot().wait();
    assert_eq!(ended.signal, POWER_OFF, "{ended}");
    assert_eq!(host.guest.results(), "life\nlife\nlife\n");
    assert!(!ended.stderr.contains("supervisor died"), "{ended}");
    host.guest.assert_nothing_left();
}

#[test]
fn policy_maps_each_end_to_its_action() {
    let own = "monopod.init.on.halt = none\nmonopod.init.on.NAME.halt = reboot";
    let cases = [
        ("monopod.init.on.reboot = reboot", "restart", REBOOT, "asked for a reboot: reboot"),
        ("monopod.init.on.reboot = poweroff", "restart", POWER_OFF, "asked for a reboot: poweroff"),
        ("monopod.init.on.failure = halt", "exit 7", POWER_OFF, "failed (exit code 7): halt"),
        ("monopod.init.on.failure = reboot", "crash", REBOOT, "failed (exit code 139): reboot"),
        (own, "halt", REBOOT, "halted: reboot"),
    ];
    for (conf, steps, signal, line) in cases {
        let Some(host) = Host::new("policy_maps", "", steps) else { return };
        host.install(&conf.replace("NAME", host.guest.name()), steps);
        let ended = host.boot().wait();
        assert_eq!(ended.signal, signal, "{conf}{ended}");
        assert!(Host::lines(&ended.stderr).contains(&format!("{}: {line}", host.guest.name())), "{conf}{ended}");
        host.guest.assert_nothing_left();
    }
}

#[test]
fn container_with_a_rule_of_its_own_takes_the_machine_into_recovery() {
    // The rule wins over what process 1 would do at a reboot, and over the restart that the supervisor was told not to make.
    let cases = [
        ("monopod.reboot.recovery = host-reboot-arg", "", REBOOT, "asked for the machine's reboot: reboot:recovery"),
        ("monopod.reboot.* = host-reboot", "", REBOOT, "asked for the machine's reboot: reboot"),
        ("monopod.reboot.recovery = stop", "monopod.init.on.reboot = poweroff", None, "was stopped: none"),
        ("monopod.reboot.recovery = restart", "monopod.init.on.reboot = reboot", POWER_OFF, "halted: poweroff"),
    ];
    for (rule, conf, signal, line) in cases {
        let steps = "write /metadata/bootstat/persist.sys.boot.reason reboot,recovery , restart-times 1 , poweroff";
        let Some(host) = Host::new("own_rule", conf, steps) else { return };
        fs::create_dir_all(host.guest.rootfs().join("metadata/bootstat")).unwrap();
        let config = fs::read_to_string(host.config()).unwrap();
        host.write_config(&format!("{config}{rule}\n"));
        let running = host.boot();
        let line = format!("{}: {line}", host.guest.name());
        assert!(wait_for(DEADLINE, || Host::lines(&running.stderr()).contains(&line)), "{rule}{}", running.stderr());
        if signal.is_none() {
            sandbox::kill(host.process1(&running), libc::SIGUSR2);
        }
        assert_eq!(running.wait().signal, signal.or(POWER_OFF), "{rule}");
        host.guest.assert_nothing_left();
    }
}

#[test]
fn container_that_spends_its_budget_takes_the_machine_along_if_told_so() {
    let steps = "write /metadata/bootstat/persist.sys.boot.reason reboot,bootloader , restart";
    let Some(host) = Host::new("exhausted", "", steps) else { return };
    fs::create_dir_all(host.guest.rootfs().join("metadata/bootstat")).unwrap();
    let config = fs::read_to_string(host.config()).unwrap();
    let more = "monopod.restart.delay = 0\nmonopod.restart.exhausted = host-reboot-arg\nmonopod.preset = android\n";
    host.write_config(&format!("{config}{more}"));
    let ended = host.boot().wait();
    assert_eq!(ended.signal, REBOOT, "{ended}");
    let line = format!("{}: asked for the machine's reboot: reboot:bootloader", host.guest.name());
    assert!(Host::lines(&ended.stderr).contains(&line), "{ended}");
    host.guest.assert_nothing_left();
}

#[test]
fn supervisor_killed_is_started_again_in_the_same_cgroups() {
    let Some(host) = Host::new("supervisor_killed", "", "say life , forever") else { return };
    let running = host.boot();
    host.guest.wait_said("life");
    let cgroups = |pid: i32| fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let before = cgroups(child_of(host.supervisor(&running)));
    assert!(before.contains(&format!("/lxc/{}\n", host.guest.name())), "{before}");
    sandbox::kill(host.supervisor(&running), libc::SIGKILL);
    assert!(wait_for(DEADLINE, || host.guest.results() == "life\nlife\n"), "{}", host.guest.logs());
    assert_eq!(cgroups(child_of(host.supervisor(&running))), before);
    sandbox::kill(host.process1(&running), libc::SIGUSR2);
    let ended = running.wait();
    assert_eq!(ended.signal, POWER_OFF, "{ended}");
    assert!(ended.stderr.contains("supervisor died (signal 9): restart"), "{ended}");
    host.guest.assert_nothing_left();
}

#[test]
fn everything_killed_from_inside_the_container_comes_back() {
    let Some(host) = Host::new("everything_killed", "monopod.init.rc = /kill-all", "say life , forever") else {
        return;
    };
    // `kill -9 -1` spares process 1 and whoever calls it.
    host.script(
        "kill-all",
        "(while ! grep -qx life /var/lib/lxc/*/rootfs/results; do sleep 0.1; done; kill -9 -1; sleep 60) &",
    );
    let running = host.boot();
    assert!(wait_for(DEADLINE, || host.guest.results() == "life\nlife\n"), "{}", host.guest.logs());
    sandbox::kill(host.process1(&running), libc::SIGTERM);
    let ended = running.wait();
    assert_eq!(ended.signal, REBOOT, "{ended}");
    host.guest.assert_nothing_left();
}

#[test]
fn signals_mean_what_other_inits_take_them_for() {
    let conf = "monopod.init.ctrlaltdel = halt\nmonopod.init.on.halt = reboot\nmonopod.init.stop = 20";
    let table = [
        (libc::SIGTERM, REBOOT),
        (libc::SIGUSR1, POWER_OFF),
        (libc::SIGUSR2, POWER_OFF),
        (libc::SIGPWR, POWER_OFF),
        (libc::SIGINT, POWER_OFF),
        (39, REBOOT),
    ];
    for (signal, end) in table {
        let Some(host) = Host::new("signals_mean", conf, "say up , signals 1 , halt") else { return };
        let running = host.boot();
        host.guest.wait_said("ready");
        sandbox::kill(host.process1(&running), signal);
        let ended = running.wait();
        assert_eq!(ended.signal, end, "signal {signal}{ended}");
        // The container was asked to halt, and did, before the machine went down. Its policy is not asked any more.
        assert!(host.guest.results().contains(&format!("signal {}", libc::SIGPWR)), "{}", host.guest.results());
        assert!(Host::lines(&ended.stderr).contains(&format!("{}: down", host.guest.name())), "{ended}");
        host.guest.assert_nothing_left();
    }
}

#[test]
fn container_that_does_not_halt_is_killed_in_time() {
    let Some(host) = Host::new("does_not_halt", "", "say up , forever") else { return };
    let running = host.boot();
    host.guest.wait_said("up");
    sandbox::kill(host.process1(&running), libc::SIGUSR1);
    let ended = running.wait();
    assert_eq!(ended.signal, POWER_OFF, "{ended}");
    host.guest.assert_nothing_left();
}

#[test]
fn stop_by_an_admin_leaves_the_machine_up() {
    let Some(host) = Host::new("stop_by_an_admin", "", "say life , forever") else { return };
    let running = host.boot();
    host.guest.wait_said("life");
    host.tool(&running, &["stop", "-k"]);
    let stopped = format!("{}: was stopped: none", host.guest.name());
    let said = |line: &str| Host::lines(&running.stderr()).contains(&line.to_owned());
    assert!(wait_for(DEADLINE, || said(&stopped)), "{}", running.stderr());
    // SIGHUP starts what is not running.
    sandbox::kill(host.process1(&running), libc::SIGHUP);
    assert!(wait_for(DEADLINE, || host.guest.results() == "life\nlife\n"), "{}", running.stderr());
    sandbox::kill(host.process1(&running), libc::SIGUSR2);
    assert_eq!(running.wait().signal, POWER_OFF);
    host.guest.assert_nothing_left();
}

#[test]
fn broken_config_prints_one_line_and_offers_a_shell() {
    let Some(host) = Host::new("broken_config", "", "poweroff") else { return };
    host.write_config("lxc.rootfs.path = /x\nlxc.tty.max = many\n");
    let mut running = host.boot();
    let offer = "emergency shell: exit to try again".to_owned();
    assert!(wait_for(DEADLINE, || Host::lines(&running.stderr()).contains(&offer)), "{}", running.stderr());
    running.write(b"echo shell-$((40+2))\n");
    running.wait_stdout("shell-42");
    let of_the_config = |text: &str| text.lines().filter(|line| line.contains("/config:2: lxc.tty.max")).count();
    assert_eq!(of_the_config(&running.stderr()), 1, "{}", running.stderr());
    // Mended by the person at the shell.
    host.install("", "poweroff");
    running.write(b"exit\n");
    let ended = running.wait();
    assert_eq!(ended.signal, POWER_OFF, "{ended}");
    host.guest.assert_nothing_left();
}

#[test]
fn broken_init_conf_is_named_and_tried_again() {
    let Some(host) = Host::new("broken_init_conf", "\nmonopod.init.cgroup = v3\n", "poweroff") else { return };
    let mut running = host.boot();
    let line = "config: /etc/monopod/init.conf:2: monopod.init.cgroup = v3: expected auto, v1, v2, hybrid or none";
    let shell = "emergency shell: exit to try again";
    let said = |running: &Running<'_>| Host::lines(&running.stderr());
    assert!(wait_for(DEADLINE, || said(&running) == [line, shell]), "{}", running.stderr());
    host.install("", "poweroff");
    running.write(b"exit\n");
    assert_eq!(running.wait().signal, POWER_OFF);
    host.guest.assert_nothing_left();
}

#[test]
fn no_shell_wanted_the_machine_waits_for_a_signal() {
    let conf = "monopod.init.shell = none";
    let Some(host) = Host::new("no_shell_wanted", conf, "poweroff") else { return };
    host.write_config("lxc.rootfs.path = /nothing-here\n");
    let running = host.boot();
    assert!(wait_for(DEADLINE, || running.stderr().contains("waiting: monopod.init.shell = none")));
    host.install(conf, "poweroff");
    sandbox::kill(host.process1(&running), libc::SIGHUP);
    assert_eq!(running.wait().signal, POWER_OFF);
}

#[test]
fn rc_that_fails_is_named_with_its_code() {
    let Some(host) = Host::new("rc_that_fails", "monopod.init.rc = /rc one", "poweroff") else { return };
    host.script("rc", "echo rc got $1; exit 3");
    let running = host.boot();
    running.wait_stdout("rc got one");
    assert!(wait_for(DEADLINE, || Host::lines(&running.stderr()).contains(&"rc: /rc ended with exit code 3".into())));
    sandbox::kill(host.process1(&running), libc::SIGUSR2);
    assert_eq!(running.wait().signal, POWER_OFF);
}

#[test]
fn mounts_are_made_before_the_container_starts() {
    let conf = "
        monopod.init.mount = none /data/deep tmpfs mode=0700
        monopod.init.mount = /dev/nothing /x ext4 nofail,wait=0
        monopod.init.rc = /rc";
    let Some(host) = Host::new("mounts_are_made", conf, "poweroff") else { return };
    host.script("rc", "grep ' /data/deep ' /proc/mounts");
    let ended = host.boot().wait();
    assert_eq!(ended.signal, POWER_OFF, "{ended}");
    assert!(ended.stdout.contains("none /data/deep tmpfs") && ended.stdout.contains("mode=700"), "{ended}");
    assert!(ended.stderr.contains("optional: mount /dev/nothing on /x: No such file"), "{ended}");

    let Some(host) = Host::new("mounts_are_made", "monopod.init.mount = /dev/nothing /x ext4 wait=0", "halt") else {
        return;
    };
    let running = host.boot();
    let line = "mount: /dev/nothing on /x (ext4): No such file or directory";
    assert!(wait_for(DEADLINE, || Host::lines(&running.stderr()).contains(&line.into())), "{}", running.stderr());
}

#[test]
fn kernel_without_devtmpfs_gets_nodes_of_our_making() {
    let test = "kernel_without_devtmpfs_gets_nodes_of_our_making";
    if !strace::available(test) {
        return;
    }
    // The console among the nodes is this very machine's: nobody shall sit there.
    let conf = "monopod.init.rc = /rc\nmonopod.init.shell = none\nmonopod.init.on.failure = poweroff";
    let Some(host) = Host::new(test, conf, "poweroff") else { return };
    host.script(
        "rc",
        "exec > /nodes 2>&1
        cd /dev
        busybox stat -c '%n %F %a %t:%T' null kmsg full tty
        busybox readlink fd
        busybox grep ' /dev ' /proc/mounts
        true",
    );
    host.guest.sandbox.sh(&format!("umount {}/dev", host.root.display()));
    // Its third mount: unshare has made one, /proc comes next, /sys is there. Whoever else makes a third one fails as well.
    let mut command = Command::new("strace");
    command.args(["-f", "-qqq", "-o"]).arg(host.guest.dir().join("trace"));
    command.args(["-e", "trace=mount", "-e", "inject=mount:error=ENODEV:when=3", "unshare"]);
    let ended = host.boot_by(command).wait();
    assert_eq!(ended.signal, POWER_OFF, "{ended}");
    let nodes = "null character special file 666 1:3
kmsg character special file 600 1:b
full character special file 666 1:7
tty character special file 666 5:0
/proc/self/fd
tmpfs /dev tmpfs rw,nosuid";
    let found = fs::read_to_string(host.root.join("nodes")).unwrap();
    assert!(found.starts_with(nodes), "{found}");
}

#[test]
fn crash_of_process_1_leaves_the_container_alone() {
    for signal in [libc::SIGSEGV, libc::SIGABRT] {
        let Some(host) = Host::new("crash_of_process_1", "", "say up , forever") else { return };
        let running = host.boot();
        host.guest.wait_said("up");
        let (process1, supervisor) = (host.process1(&running), host.supervisor(&running));
        sandbox::kill(process1, signal);
        let found = format!("{}: found", host.guest.name());
        let said = || Host::lines(&running.stderr());
        assert!(wait_for(DEADLINE, || said().contains(&found)), "{}", running.stderr());
        assert_eq!((host.process1(&running), host.supervisor(&running)), (process1, supervisor));
        sandbox::kill(process1, libc::SIGUSR2);
        let ended = running.wait();
        assert_eq!(ended.signal, POWER_OFF, "{ended}");
        assert_eq!(host.guest.results(), "up\n");
        host.guest.assert_nothing_left();
    }
}

#[test]
fn strangers_are_reaped() {
    let Some(host) = Host::new("strangers", "monopod.init.rc = /rc", "say up , forever") else { return };
    // Each `true` loses its parent before it ends.
    host.script("rc", "for i in $(seq 500); do (sleep 0.01 &) ; done");
    let running = host.boot();
    host.guest.wait_said("up");
    let process1 = host.process1(&running);
    let children = || fs::read_to_string(format!("/proc/{process1}/task/{process1}/children")).unwrap();
    assert!(wait_for(DEADLINE, || children().split_whitespace().count() == 1), "{}", children());
}

#[test]
fn hundred_thousand_orphans_are_reaped() {
    let count = times(100_000, 1_000_000);
    let Some(host) = Host::new("hundred_thousand_orphans", "monopod.init.rc = /rc", "say up , forever") else { return };
    fs::copy(host.guest.rootfs().join("init"), host.root.join("testinit")).unwrap();
    host.script("rc", &format!("/testinit orphans {count} &"));
    let running = host.boot();
    host.guest.wait_said("up");
    let process1 = host.process1(&running);
    let results = || fs::read_to_string(host.root.join("results")).unwrap_or_default();
    let done = || {
        // A client is answered all the while.
        assert!(host.is_running(&running));
        results() == format!("orphans {count}\n")
    };
    assert!(wait_for(20 * DEADLINE, done), "{}", results());
    // Only the supervisor is left.
    let left = || fs::read_to_string(format!("/proc/{process1}/task/{process1}/children")).unwrap();
    assert!(wait_for(DEADLINE, || left().split_whitespace().count() == 1), "{}", left());
    assert!(host.is_running(&running));
    println!("{count} orphans of a machine's init: all reaped");
    assert_eq!((host.process1(&running), host.guest.results()), (process1, "up\n".into()));
    sandbox::kill(process1, libc::SIGUSR2);
    assert_eq!(running.wait().signal, POWER_OFF);
    host.guest.assert_nothing_left();
}

#[test]
fn fork_bomb_in_the_container_meets_its_limit_and_nobody_else() {
    let Some(host) = Host::new("fork_bomb", "", "") else { return };
    host.install("", "forks 100000 , forever");
    let config = fs::read_to_string(host.config()).unwrap();
    host.write_config(&format!("{config}lxc.cgroup.pids.max = 200\n"));
    let running = host.boot();
    host.guest.wait_said("forked 199");
    assert!(host.is_running(&running));
    assert_eq!(host.guest.pids().len(), 200);
    host.tool(&running, &["stop", "-k"]);
    assert!(host.guest.pids().is_empty());
    sandbox::kill(host.process1(&running), libc::SIGUSR2);
    assert_eq!(running.wait().signal, POWER_OFF);
    host.guest.assert_nothing_left();
}

#[test]
fn container_that_kills_all_it_sees_reaches_nobody_outside() {
    let steps = "forks 5 , kill-all , forever";
    let Some(host) = Host::new("container_kills_all", "", steps) else { return };
    let running = host.boot();
    // The five and who killed them.
    host.guest.wait_said("reaped 6");
    assert!(host.is_running(&running));
    assert_eq!(host.guest.results(), "forked 5\nreaped 6\n");
    sandbox::kill(host.process1(&running), libc::SIGUSR2);
    let ended = running.wait();
    assert_eq!(ended.signal, POWER_OFF, "{ended}");
    assert!(!ended.stderr.contains("died"), "{ended}");
    host.guest.assert_nothing_left();
}

/// With a shell for rc, a container that is born twice, a client, and the way down.
#[test]
fn kernel_of_linux_3_10_is_enough() {
    if !kernel::available("kernel_of_linux_3_10_is_enough") {
        return;
    }
    let steps = "say life , restart-times 1 , report , signals 1 , poweroff";
    let mut cgroups = Vec::new();
    for kernel in [Kernel::new(), Kernel::of_3_10()] {
        let Some(mut host) = Host::new("linux_3_10", "monopod.init.rc = /rc\nmonopod.init.stop = 20", steps) else {
            return;
        };
        host.guest.set_kernel(kernel);
        host.script("rc", "echo rc");
        let running = host.boot();
        host.guest.wait_said("ready");
        assert!(host.is_running(&running));
        let paths = fs::read_to_string(format!("/proc/{}/cgroup", child_of(host.supervisor(&running)))).unwrap();
        cgroups.push(paths.replace(host.guest.name(), "NAME"));
        sandbox::kill(host.process1(&running), libc::SIGUSR2);
        let ended = running.wait();
        assert_eq!(ended.signal, POWER_OFF, "{ended}");
        assert_eq!(host.guest.results(), format!("life\nlife\nready\nsignal {}\n", libc::SIGPWR), "{ended}");
        assert!(ended.stdout.contains("rc\n"), "{ended}");
        host.guest.assert_nothing_left();
    }
    assert!(cgroups[0].contains(":/lxc/NAME\n"), "{}", cgroups[0]);
    assert_eq!(cgroups[0], cgroups[1]);
}

#[test]
fn calls_younger_than_linux_3_10_are_known() {
    let test = "calls_younger_than_linux_3_10_are_known";
    if !strace::available(test) {
        return;
    }
    let Some(host) = Host::new(test, "", "say life , restart-times 1 , poweroff") else { return };
    let mut command = Command::new("strace");
    command.args(["-f", "-n", "-qqq", "-o"]).arg(host.guest.dir().join("trace")).arg("unshare");
    let ended = host.boot_by(command).wait();
    assert_eq!(host.guest.results(), "life\nlife\n", "{ended}");
    let ours = |exec: &str| exec.contains("[\"/init\", \"quiet\"]") || exec.contains("[\"monopod\", ");
    let young = strace::calls_above(LAST_OF_3_10, &host.guest.file("trace"), ours);
    assert!(young.iter().all(|call| NEW.iter().any(|(known, _)| known == call)), "{young:?}");
    // The supervisor was looked at, too.
    assert!(young.contains("openat2"), "{young:?}");
    host.guest.assert_nothing_left();
}

/// A file in the place of /dev/watchdog keeps what it is told: a NUL for each sign of life, V for the end.
fn with_watchdog(test: &str, mode: &str, more: &str, steps: &str) -> Option<Host> {
    let conf = format!("monopod.init.watchdog = {mode}\nmonopod.init.watchdog.timeout = 4\n{more}");
    let host = Host::new(test, &conf, steps)?;
    host.guest.sandbox.sh(&format!("touch {}/dev/watchdog", host.root.display()));
    Some(host)
}

fn watchdog_heard(host: &Host) -> String {
    host.guest.sandbox.sh(&format!("tr '\\0' . < {}/dev/watchdog", host.root.display()))
}

#[test]
fn watchdog_of_the_boot_is_disarmed_when_all_is_ready() {
    let Some(host) = with_watchdog("watchdog_boot", "boot", "", "say up , forever") else { return };
    let running = host.boot();
    host.guest.wait_said("up");
    assert!(wait_for(DEADLINE, || watchdog_heard(&host).ends_with('V')), "{}", watchdog_heard(&host));
    sandbox::kill(host.process1(&running), libc::SIGUSR2);
    assert_eq!(running.wait().signal, POWER_OFF);
}

#[test]
fn watchdog_is_petted_while_the_loop_lives_and_no_longer() {
    let Some(host) = with_watchdog("watchdog_always", "always", "", "say up , forever") else { return };
    let running = host.boot();
    host.guest.wait_said("up");
    let heard = || watchdog_heard(&host).len();
    let before = heard();
    assert!(wait_for(DEADLINE, || heard() >= before + 3), "{}", watchdog_heard(&host));
    let supervisor = host.supervisor(&running);
    sandbox::kill(supervisor, libc::SIGSTOP);
    let reset = "watchdog: a container does not answer, the machine will be reset".to_owned();
    assert!(wait_for(DEADLINE, || Host::lines(&running.stderr()).contains(&reset)), "{}", running.stderr());
    let silent = heard();
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(heard(), silent);
    sandbox::kill(supervisor, libc::SIGCONT);
    assert!(wait_for(DEADLINE, || heard() > silent), "{}", watchdog_heard(&host));
    sandbox::kill(host.process1(&running), libc::SIGUSR2);
    assert_eq!(running.wait().signal, POWER_OFF);
    // A power-off needs no watchdog any more.
    assert!(watchdog_heard(&host).ends_with('V'));
}

#[test]
fn init_that_is_not_process_1_says_so() {
    let guest = Guest::new("not_first");
    for words in [&["init"][..], &["init", "--again", "b"]] {
        let mut command = support::command();
        command.args(words);
        let ended = Running::new(&guest, command).wait();
        assert_eq!(ended.code, Some(1), "{ended}");
        assert!(ended.stderr.contains("only process 1 can be the machine's init"), "{ended}");
    }
}
