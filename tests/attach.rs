//! `attach`: what a command inside a running container is like, and what it must not reach.

use crate::support::{Guest, Running, binary, emulated, sandbox, wait_until};
use nix::sys::termios::{LocalFlags, tcgetattr};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;

/// A running container with a shell; None where there is no busybox.
fn shelled(test: &str, label: &str, config: &str) -> Option<Guest> {
    let guest = Guest::new(label).config("lxc.mount.auto = proc:mixed\nmonopod.timeout.stop = 0s").config(config);
    guest.busybox(test).then_some(guest)
}

/// Runs a shell's `script` inside and returns how it ended.
fn sh(guest: &Guest, options: &[&str], script: &str) -> crate::support::Ended {
    guest.client("attach", &[options, &["--", "/bin/busybox", "sh", "-c", script]].concat())
}

fn stop(guest: &Guest, running: Running<'_>) {
    assert_eq!(guest.client("stop", &["-k"]).code, Some(0));
    running.wait();
    guest.assert_nothing_left();
}

/// The lines of a /proc/PID/status that confine a process.
fn confinement(status: &str) -> Vec<String> {
    let keys = ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:", "NoNewPrivs:", "Uid:", "Gid:", "Groups:"];
    status.lines().filter(|line| keys.iter().any(|key| line.starts_with(key))).map(str::to_owned).collect()
}

#[test]
fn attached_command_is_confined_as_init_is() {
    let test = "attached_command_is_confined_as_init_is";
    let config = "lxc.cap.drop = sys_time sys_module\nlxc.no_new_privs = 1\nlxc.prlimit.nofile = 333:444";
    let Some(guest) = shelled(test, "attach_confined", config) else { return };
    let running = guest.start("say up , forever");
    guest.wait_said("up");
    let init = guest.init();
    let ended = sh(&guest, &[], "cat /proc/self/status");
    assert_eq!(ended.code, Some(0), "{ended}");
    let expected = confinement(&fs::read_to_string(format!("/proc/{init}/status")).unwrap());
    assert!(expected.len() >= 7, "{expected:?}");
    assert_eq!(confinement(&ended.stdout), expected);
    let limits = sh(&guest, &[], "cat /proc/self/limits").stdout;
    assert_eq!(limits, fs::read_to_string(format!("/proc/{init}/limits")).unwrap());
    for namespace in ["mnt", "pid", "uts", "ipc", "net", "cgroup"] {
        let theirs = fs::read_link(format!("/proc/{init}/ns/{namespace}")).unwrap();
        let ended = sh(&guest, &[], &format!("busybox readlink /proc/self/ns/{namespace}"));
        assert_eq!(ended.stdout.trim(), theirs.to_str().unwrap(), "{ended}");
    }
    // Seen from the host: a child of ours in init's cgroups.
    let inside = sh(&guest, &[], "cat /proc/1/cgroup > /a; cat /proc/self/cgroup > /b");
    assert_eq!(inside.code, Some(0), "{inside}");
    assert!(!guest.rootfs_file("a").is_empty());
    assert_eq!(guest.rootfs_file("a"), guest.rootfs_file("b"));
    stop(&guest, running);
}

#[test]
fn exit_code_is_the_commands_or_a_shells_word_for_it() {
    let test = "exit_code_is_the_commands_or_a_shells_word_for_it";
    let Some(guest) = shelled(test, "attach_codes", "") else { return };
    let before = guest.client("attach", &["--", "/bin/echo"]);
    assert_eq!(before.code, Some(1), "{before}");
    assert!(before.stderr.contains("not running"), "{before}");
    let running = guest.start("say up , forever");
    guest.wait_said("up");
    fs::write(guest.rootfs().join("plain"), "x").unwrap();
    for (script, code) in [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill -15 $$", 143)] {
        let ended = sh(&guest, &[], script);
        assert_eq!(ended.code, Some(code), "{script} {ended}");
        assert_eq!(ended.stderr, "", "{script}");
    }
    for (command, code, why) in
        [("/none", 127, "No such file"), ("none", 127, "No such file"), ("/plain", 126, "Permission denied")]
    {
        let ended = guest.client("attach", &["--", command]);
        assert_eq!(ended.code, Some(code), "{command} {ended}");
        assert_eq!(ended.stderr.lines().count(), 1, "{ended}");
        assert!(ended.stderr.contains(command) && ended.stderr.contains(why), "{ended}");
    }
    stop(&guest, running);
}

#[test]
fn environment_ids_and_directory_are_as_asked_for() {
    let test = "environment_ids_and_directory_are_as_asked_for";
    let Some(guest) = shelled(test, "attach_environment", "") else { return };
    let guest = guest.env("OURS", "kept").env("OTHER", "too");
    let running = guest.start("say up , forever");
    guest.wait_said("up");
    let words = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let kept = words(&guest.client("attach", &["-v", "NEW=a=b", "--", "/bin/env"]).stdout);
    for word in ["OURS=kept", "OTHER=too", "container=lxc", "NEW=a=b"] {
        assert!(kept.iter().any(|kept| kept == word), "{word} in {kept:?}");
    }
    let cleared = guest.client("attach", &["--clear-env", "--keep-var", "OURS", "--", "/bin/env"]);
    let mut cleared = words(&cleared.stdout);
    cleared.retain(|word| !word.starts_with("PATH="));
    cleared.sort_unstable();
    assert_eq!(cleared, ["OURS=kept", "container=lxc"]);
    let ids = sh(&guest, &["-u", "5", "-g", "7"], "busybox id -u; busybox id -g; busybox id -G; pwd");
    assert_eq!(ids.stdout, "5\n7\n7\n/\n", "{ids}");
    let mut command = guest.tool("attach", &["--", "/bin/busybox", "pwd"]);
    // Entering the sandbox leads to its root.
    // SAFETY: one system call between fork and exec.
    unsafe {
        std::os::unix::process::CommandExt::pre_exec(&mut command, || nix::unistd::chdir(c"/tmp").map_err(Into::into))
    };
    assert_eq!(Running::new(&guest, command).wait().stdout, "/tmp\n");
    stop(&guest, running);
}

#[test]
fn shell_is_the_users_or_one_that_is_there() {
    let test = "shell_is_the_users_or_one_that_is_there";
    let Some(guest) = shelled(test, "attach_shell", "") else { return };
    let running = guest.start("say up , forever");
    guest.wait_said("up");
    let shell = || {
        let mut command = guest.tool("attach", &[]);
        command.stdin(std::process::Stdio::piped());
        let mut running = Running::new(&guest, command);
        running.write(b"echo $0; exit\n");
        running.wait()
    };
    assert_eq!(shell().stdout, "/bin/sh\n");
    fs::create_dir_all(guest.rootfs().join("etc")).unwrap();
    std::os::unix::fs::symlink("busybox", guest.rootfs().join("bin/ash")).unwrap();
    fs::write(guest.rootfs().join("etc/passwd"), "u:x:5:5::/:/none\nroot:x:0:0:root:/:/bin/ash\n").unwrap();
    assert_eq!(shell().stdout, "/bin/ash\n");
    // Android's place, and a guest that would hold us up with a FIFO.
    fs::remove_file(guest.rootfs().join("etc/passwd")).unwrap();
    nix::unistd::mkfifo(&guest.rootfs().join("etc/passwd"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    fs::create_dir_all(guest.rootfs().join("system/bin")).unwrap();
    fs::remove_file(guest.rootfs().join("bin/sh")).unwrap();
    std::os::unix::fs::symlink("/bin/busybox", guest.rootfs().join("system/bin/sh")).unwrap();
    assert_eq!(shell().stdout, "/system/bin/sh\n");
    stop(&guest, running);
}

#[test]
fn elevated_command_keeps_what_it_is_told_to_keep() {
    let test = "elevated_command_keeps_what_it_is_told_to_keep";
    let Some(guest) = shelled(test, "attach_elevated", "lxc.cap.drop = sys_time") else { return };
    let running = guest.start("say up , forever");
    guest.wait_said("up");
    let bounding = |options: &[&str]| {
        let ended = sh(&guest, options, "cat /proc/self/status");
        let mask = ended.stdout.lines().find_map(|line| line.strip_prefix("CapBnd:\t")).map(str::to_owned);
        u64::from_str_radix(&mask.unwrap_or_else(|| panic!("{ended}")), 16).unwrap()
    };
    const SYS_TIME: u64 = 1 << 25;
    assert_eq!(bounding(&[]) & SYS_TIME, 0);
    assert_eq!(bounding(&["-eCGROUP"]) & SYS_TIME, 0);
    assert_eq!(bounding(&["-e"]) & SYS_TIME, SYS_TIME);
    assert_eq!(bounding(&["--elevated-privileges=CAP|LSM"]) & SYS_TIME, SYS_TIME);
    let outside = guest.client("attach", &["-s", "NETWORK|PID", "--", "readlink", "/proc/self/ns/net"]);
    let net = fs::read_link(format!("/proc/{}/ns/net", guest.init())).unwrap();
    assert_eq!(outside.stdout.trim(), net.to_str().unwrap(), "{outside}");
    let wrong = guest.client("attach", &["-s", "NONSENSE", "--", "true"]);
    assert_eq!(wrong.code, Some(1), "{wrong}");
    stop(&guest, running);
}

#[test]
fn no_descriptor_of_the_host_is_open_inside() {
    let test = "no_descriptor_of_the_host_is_open_inside";
    let Some(guest) = shelled(test, "attach_descriptors", "") else { return };
    let running = guest.start("say up , forever");
    guest.wait_said("up");
    let host = File::open("/etc").unwrap();
    let mut command = guest.tool("attach", &["--", "/bin/busybox", "ls", "/proc/self/fd"]);
    for number in [3, 9, 200] {
        sandbox::inherit(&mut command, &host, number);
    }
    let ended = Running::new(&guest, command).wait();
    // The fourth is the listing's own.
    assert_eq!(ended.stdout.split_whitespace().collect::<Vec<_>>(), ["0", "1", "2", "3"], "{ended}");
    stop(&guest, running);
}

#[test]
fn our_binary_cannot_be_written_from_inside() {
    let test = "our_binary_cannot_be_written_from_inside";
    if emulated(test, "the file of /proc/PID/exe is qemu's") {
        return;
    }
    let Some(guest) = shelled(test, "attach_binary", "") else { return };
    let running = guest.start("say up , forever");
    guest.wait_said("up");
    let before = fs::read(binary()).unwrap();
    // A script whose interpreter is whoever executes it: us, in the container.
    let trap = guest.rootfs().join("trap");
    fs::write(&trap, "#!/proc/self/exe\n").unwrap();
    fs::set_permissions(&trap, fs::Permissions::from_mode(0o755)).unwrap();
    let ended = guest.client("attach", &["--", "/trap"]);
    assert!(ended.code.is_some_and(|code| code != 0), "{ended}");
    let script = "echo > /there; exec busybox sleep 100";
    let attached = Running::new(&guest, guest.tool("attach", &["--", "/bin/busybox", "sh", "-c", script]));
    wait_until("the program", || !guest.rootfs_file("there").is_empty());
    let exe = format!("/proc/{}/exe", attached.pid());
    wait_until("the sealed copy", || {
        fs::read_link(&exe).is_ok_and(|path| path.starts_with("/memfd:monopod (deleted)"))
    });
    let file = File::open(&exe).unwrap();
    let seals = nix::fcntl::fcntl(&file, nix::fcntl::FcntlArg::F_GET_SEALS).unwrap();
    assert_eq!(seals & libc::F_SEAL_WRITE, libc::F_SEAL_WRITE);
    assert_eq!(fs::read(binary()).unwrap(), before);
    attached.signal(libc::SIGTERM);
    assert_eq!(attached.wait().code, Some(143));
    stop(&guest, running);
}

#[test]
fn frozen_container_is_refused_in_one_line() {
    let test = "frozen_container_is_refused_in_one_line";
    let Some(guest) = shelled(test, "attach_frozen", "") else { return };
    let running = guest.start("say up , forever");
    guest.wait_said("up");
    assert_eq!(guest.client("freeze", &[]).code, Some(0));
    let ended = sh(&guest, &[], "exit 0");
    assert_eq!(ended.code, Some(1), "{ended}");
    assert!(ended.stderr.contains("frozen") && ended.stderr.lines().count() == 1, "{ended}");
    assert_eq!(guest.client("unfreeze", &[]).code, Some(0));
    assert_eq!(sh(&guest, &[], "exit 5").code, Some(5));
    stop(&guest, running);
}

/// A command on a terminal of our own: our end of it, its modes, and the command.
fn on_terminal<'g>(guest: &'g Guest, words: &[&str]) -> (File, LocalFlags, Running<'g>) {
    let (ours, theirs) = sandbox::pty(97, 41);
    let modes = tcgetattr(&ours).unwrap().local_flags;
    let mut command = guest.tool("attach", words);
    command.stdin(theirs.try_clone().unwrap()).stdout(theirs.try_clone().unwrap()).stderr(theirs);
    sandbox::control_terminal(&mut command);
    (File::from(ours), modes, Running::spawn(guest, command))
}

/// Reads until the other side is closed.
fn read_all(terminal: &mut File) -> Vec<u8> {
    let (mut text, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(n @ 1..) = terminal.read(&mut buffer) {
        text.extend_from_slice(&buffer[..n]);
    }
    text
}

#[test]
fn terminal_inside_is_the_containers_own_with_our_size() {
    let test = "terminal_inside_is_the_containers_own_with_our_size";
    let Some(guest) = shelled(test, "attach_terminal", "") else { return };
    let running = guest.start("say up , forever");
    guest.wait_said("up");
    let script = "tty; busybox stty size; read line; echo \"got $line\"; busybox stty size";
    let (mut terminal, before, attached) = on_terminal(&guest, &["--", "/bin/sh", "-c", script]);
    let mut heard = Vec::new();
    while !String::from_utf8_lossy(&heard).contains("41 97") {
        let mut buffer = [0; 256];
        let n = terminal.read(&mut buffer).unwrap();
        heard.extend_from_slice(&buffer[..n]);
    }
    assert!(String::from_utf8_lossy(&heard).contains("/dev/pts/"), "{heard:?}");
    sandbox::resize(&terminal, 132, 43);
    terminal.write_all(b"hello\r").unwrap();
    let mut reader = terminal.try_clone().unwrap();
    let rest = std::thread::spawn(move || String::from_utf8_lossy(&read_all(&mut reader)).into_owned());
    let ended = attached.wait();
    assert_eq!(ended.code, Some(0), "{ended}");
    let rest = rest.join().unwrap();
    assert!(rest.contains("got hello") && rest.contains("43 132"), "{rest}");
    assert_eq!(tcgetattr(&terminal).unwrap().local_flags, before);
    stop(&guest, running);
}

#[test]
fn megabyte_through_the_terminal_arrives_whole_though_its_reader_is_late() {
    let test = "megabyte_through_the_terminal_arrives_whole_though_its_reader_is_late";
    let Some(guest) = shelled(test, "attach_megabyte", "") else { return };
    let running = guest.start("say up , forever");
    guest.wait_said("up");
    let script = "busybox dd if=/dev/zero bs=1024 count=1024 2>/dev/null | busybox tr '\\0' x; echo end > /end";
    let (mut terminal, _, mut attached) = on_terminal(&guest, &["--", "/bin/sh", "-c", script]);
    // Nobody reads: it fills up, and everybody waits.
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(attached.is_running() && guest.rootfs_file("end").is_empty());
    let heard = read_all(&mut terminal);
    assert_eq!(heard.iter().filter(|byte| **byte == b'x').count(), 1 << 20);
    assert_eq!(attached.wait().code, Some(0));
    stop(&guest, running);
}

#[test]
fn signal_is_passed_on_and_the_terminal_left_as_it_was() {
    let test = "signal_is_passed_on_and_the_terminal_left_as_it_was";
    let Some(guest) = shelled(test, "attach_signal", "") else { return };
    let running = guest.start("say up , forever");
    guest.wait_said("up");
    for signal in [libc::SIGTERM, libc::SIGHUP, libc::SIGINT, libc::SIGUSR1] {
        let (mut terminal, before, attached) =
            on_terminal(&guest, &["--", "/bin/sh", "-c", "echo on; exec busybox sleep 100"]);
        let mut buffer = [0; 16];
        assert!(terminal.read(&mut buffer).unwrap() > 0);
        assert_ne!(tcgetattr(&terminal).unwrap().local_flags, before, "not raw");
        attached.signal(signal);
        assert_eq!(attached.wait().code, Some(128 + signal));
        assert_eq!(tcgetattr(&terminal).unwrap().local_flags, before, "signal {signal}");
    }
    stop(&guest, running);
}

#[test]
fn terminal_that_hangs_up_hangs_up_the_one_inside() {
    let test = "terminal_that_hangs_up_hangs_up_the_one_inside";
    let Some(guest) = shelled(test, "attach_hangup", "") else { return };
    let running = guest.start("say up , forever");
    guest.wait_said("up");
    let script = "trap 'echo hup > /hup; exit 9' HUP; echo on; while :; do busybox sleep 0.1; done";
    let (mut terminal, _, attached) = on_terminal(&guest, &["--", "/bin/sh", "-c", script]);
    assert!(terminal.read(&mut [0; 16]).unwrap() > 0);
    drop(terminal);
    assert_eq!(attached.wait().code, Some(9));
    assert_eq!(guest.rootfs_file("hup"), "hup\n");
    stop(&guest, running);
}

#[test]
fn terminal_of_the_host_is_out_of_reach_where_no_stream_is_one() {
    let test = "terminal_of_the_host_is_out_of_reach_where_no_stream_is_one";
    let Some(guest) = shelled(test, "attach_no_terminal", "") else { return };
    let running = guest.start("say up , forever");
    guest.wait_said("up");
    // A host's session with a terminal, from which all three streams are led away.
    let (ours, theirs) = sandbox::pty(80, 24);
    let mut command = guest.tool("attach", &["--", "/bin/sh", "-c", "echo reached > /dev/tty || echo refused"]);
    let terminal = theirs.as_raw_fd();
    // SAFETY: one system call between fork and exec, on a descriptor that lives until then.
    unsafe {
        std::os::unix::process::CommandExt::pre_exec(&mut command, move || {
            nix::errno::Errno::result(libc::ioctl(terminal, libc::TIOCSCTTY, 0)).map(drop).map_err(Into::into)
        })
    };
    let ended = Running::new(&guest, command).wait();
    assert_eq!(ended.stdout, "refused\n", "{ended}");
    drop((ours, theirs));
    stop(&guest, running);
}
