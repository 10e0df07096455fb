//! `attach`: a command inside a container is confined as init is, and tells its end exactly.

use crate::support::{Ended, Guest, Report, Running, binary, emulated, is_64_bit, sandbox, skip, wait_until};
use std::fs::File;
use std::io::{Read, Write};
use std::process::Stdio;

/// A guest that runs until it is killed.
fn running<'g>(guest: &'g Guest) -> Running<'g> {
    let running = guest.start("report , say up , forever");
    guest.wait_said("up");
    running
}

fn attach(guest: &Guest, options: &[&str], command: &[&str]) -> Ended {
    guest.client("attach", &[options, &["--"], command].concat())
}

fn kill(guest: &Guest, running: Running<'_>) {
    assert_eq!(guest.client("stop", &["-k"]).code, Some(0));
    running.wait();
    guest.assert_nothing_left();
}

/// What the guests' own program reports when it is run by `attach`.
fn report_by_attach(guest: &Guest, options: &[&str]) -> Report {
    std::fs::remove_file(guest.rootfs().join("report")).unwrap();
    let ended = attach(guest, options, &["/init", "report"]);
    assert_eq!(ended.code, Some(0), "{ended}");
    guest.report()
}

#[test]
fn attached_command_is_confined_as_init_is() {
    let guest = Guest::new("attach_confined").config(
        "lxc.mount.auto = proc:mixed sys:ro
         lxc.cap.drop = sys_time mac_admin
         lxc.prlimit.nofile = 700:900
         lxc.no_new_privs = 1
         lxc.uts.name = inside",
    );
    let running = running(&guest);
    let init = guest.report();
    let program = report_by_attach(&guest, &[]);
    for key in ["ns", "cgroup", "limit", "personality", "hostname", "iface", "mount"] {
        assert_eq!(program.all(key), init.all(key), "{key}");
    }
    for set in ["CapBnd:", "CapEff:", "CapPrm:", "CapInh:", "CapAmb:"] {
        assert_eq!(program.capabilities(set), init.capabilities(set), "{set}");
    }
    for key in ["NoNewPrivs:", "SigBlk:", "SigIgn:", "Seccomp:", "Groups:", "Umask:"] {
        assert_eq!(program.entry("status", key), init.entry("status", key), "{key}");
    }
    assert_ne!(program.one("pid"), "1");
    kill(&guest, running);
}

#[test]
fn attached_command_has_nothing_of_the_host_open() {
    let guest = Guest::new("attach_fds").config("lxc.mount.auto = proc:mixed");
    let running = running(&guest);
    // One that our caller left open, as a careless shell does.
    let open = File::open("/etc/passwd").unwrap();
    let mut command = guest.tool("attach", &["--", "/init", "report"]);
    sandbox::inherit(&mut command, &open, 9);
    std::fs::remove_file(guest.rootfs().join("report")).unwrap();
    let ended = Running::new(&guest, command).wait();
    assert_eq!(ended.code, Some(0), "{ended}");
    let open: Vec<String> = guest.report().all("fd").iter().map(|line| line.chars().take(2).collect()).collect();
    assert!(open.iter().all(|fd| ["0 ", "1 ", "2 "].contains(&fd.as_str())), "{:?}", guest.report().all("fd"));
    kill(&guest, running);
}

#[test]
fn attach_runs_as_a_copy_that_nobody_can_write() {
    if emulated("attach_runs_as_a_copy_that_nobody_can_write", "the file of /proc/PID/exe is qemu's") {
        return;
    }
    let guest = Guest::new("attach_memory");
    let running = running(&guest);
    let attached = Running::new(&guest, guest.tool("attach", &["--", "/init", "say", "in", ",", "forever"]));
    guest.wait_said("in");
    // The supervisor is somebody else; this is the process that stays outside.
    let own = std::fs::read_link(format!("/proc/{}/exe", attached.pid())).unwrap();
    assert!(own.to_string_lossy().starts_with("/memfd:"), "{own:?}");
    let write = File::options().write(true).open(format!("/proc/{}/exe", attached.pid()));
    assert!(write.is_err());
    kill(&guest, running);
    assert_eq!(attached.wait().code, Some(128 + 9));
}

#[test]
fn attach_exit_code_is_the_commands() {
    let guest = Guest::new("attach_codes");
    std::fs::write(guest.rootfs().join("text"), "no program").unwrap();
    let running = running(&guest);
    for (command, code) in [
        (&["/init", "exit", "0"][..], 0),
        (&["/init", "exit", "7"], 7),
        (&["/init", "exit", "255"], 255),
        (&["/init", "crash"], 128 + libc::SIGSEGV),
        (&["/nowhere"], 127),
        (&["nowhere"], 127),
        (&["/text"], 126),
        (&["/"], 126),
    ] {
        let ended = attach(&guest, &[], command);
        assert_eq!(ended.code, Some(code), "{command:?} {ended}");
        let lines = usize::from(code == 126 || code == 127);
        assert_eq!(ended.stderr.lines().count(), lines, "{command:?} {ended}");
    }
    // Neither a shell of its own nor one of the usual ones.
    assert_eq!(attach(&guest, &[], &[]).code, Some(127));
    kill(&guest, running);
    let ended = attach(&guest, &[], &["/init"]);
    assert_eq!(ended.code, Some(1), "{ended}");
    assert!(ended.stderr.contains("is not running"), "{ended}");
}

#[test]
fn attach_passes_streams_on_as_they_are() {
    let guest = Guest::new("attach_streams");
    if !guest.busybox("attach_passes_streams_on_as_they_are") {
        return;
    }
    let running = running(&guest);
    let text: Vec<u8> = (0..1_000_000_u32).map(|at| (at.wrapping_mul(at) >> 5) as u8).collect();
    let mut command = guest.tool("attach", &["--", "/bin/sh", "-c", "echo to stderr >&2; cat; exit 3"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let sent = text.clone();
    let writer = std::thread::spawn(move || stdin.write_all(&sent).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(output.stdout == text);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "to stderr\n");
    kill(&guest, running);
}

#[test]
fn attach_without_a_command_finds_a_shell_on_android_too() {
    let test = "attach_without_a_command_finds_a_shell_on_android_too";
    let guest = Guest::new("attach_shell");
    if !guest.busybox(test) {
        return;
    }
    let folder = guest.rootfs().join("system/bin");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::rename(guest.rootfs().join("bin/busybox"), folder.join("sh")).unwrap();
    std::fs::remove_dir_all(guest.rootfs().join("bin")).unwrap();
    let running = running(&guest);
    let mut command = guest.tool("attach", &[]);
    command.stdin(Stdio::piped());
    let mut attached = Running::new(&guest, command);
    attached.write(b"echo $0; exit 5\n");
    let ended = attached.wait();
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(5), "/system/bin/sh\n"), "{ended}");
    kill(&guest, running);
}

#[test]
fn attach_environment_and_ids_are_as_asked() {
    let guest =
        Guest::new("attach_environment").config("lxc.mount.auto = proc:mixed").env("MINE", "1").env("OTHER", "2");
    let running = running(&guest);
    let kept = report_by_attach(&guest, &[]);
    assert!(kept.all("env").contains(&"MINE=1") && kept.all("env").contains(&"container=lxc"));
    let cleared = report_by_attach(&guest, &["--clear-env", "--keep-var", "MINE", "-v", "NEW=a=b", "-v", "NEW=c"]);
    let mut words = cleared.all("env");
    words.retain(|word| !word.starts_with("PATH="));
    words.sort_unstable();
    assert_eq!(words, ["MINE=1", "NEW=c", "container=lxc"]);
    std::fs::set_permissions(guest.rootfs(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let user = report_by_attach(&guest, &["-u", "1000", "-g", "1001"]);
    assert_eq!((user.one("uid"), user.one("gid"), user.one("groups")), ("1000", "1001", "[]"));
    assert_eq!(user.capabilities("CapEff:"), 0);
    kill(&guest, running);
}

#[test]
fn attach_with_privileges_keeps_only_what_is_named() {
    let guest = Guest::new("attach_elevated").config("lxc.mount.auto = proc:mixed\nlxc.cap.drop = sys_time");
    let running = running(&guest);
    let init = guest.report();
    let sys_time = 1_u64 << 25;
    assert_eq!(init.capabilities("CapBnd:") & sys_time, 0);
    let capable = report_by_attach(&guest, &["-e", "-v", "A=1"]);
    assert_ne!(capable.capabilities("CapBnd:") & sys_time, 0);
    assert_ne!(capable.all("cgroup"), init.all("cgroup"));
    let only = report_by_attach(&guest, &["--elevated-privileges=CGROUP"]);
    assert_eq!(only.capabilities("CapBnd:") & sys_time, 0);
    assert_ne!(only.all("cgroup"), init.all("cgroup"));
    kill(&guest, running);
}

#[test]
fn attach_on_a_terminal_gets_one_of_the_container() {
    let guest = Guest::new("attach_terminal").config("lxc.pty.max = 8\nlxc.mount.auto = proc:mixed");
    let running = running(&guest);
    let (ours, theirs) = sandbox::pty(97, 41);
    let mode = |terminal: &std::os::fd::OwnedFd| {
        let mode = nix::sys::termios::tcgetattr(terminal).unwrap();
        (mode.input_flags, mode.output_flags, mode.local_flags)
    };
    let before = mode(&theirs);
    std::fs::remove_file(guest.rootfs().join("report")).unwrap();
    let mut command = guest.tool("attach", &["--", "/init", "report", ",", "echo", "1", ",", "exit", "4"]);
    let end = || Stdio::from(theirs.try_clone().unwrap());
    command.stdin(end()).stdout(end()).stderr(end());
    let attached = Running::spawn(&guest, command);
    let mut terminal = File::from(ours);
    wait_until("the program's report", || !guest.rootfs_file("report").is_empty());
    let report = guest.report();
    assert_eq!(report.all("isatty"), ["0 1", "1 1", "2 1"]);
    assert_eq!(report.one("winsize"), "97x41");
    assert!(report.entry("fd", "0").starts_with("/dev/pts/"), "{:?}", report.all("fd"));
    terminal.write_all(b"hello\r").unwrap();
    let ended = attached.wait();
    assert_eq!(ended.code, Some(4), "{ended}");
    let mut text = [0; 4096];
    let length = terminal.read(&mut text).unwrap();
    assert!(String::from_utf8_lossy(&text[..length]).contains("echo: hello"));
    assert_eq!(mode(&theirs), before, "the terminal's mode is as it was");
    kill(&guest, running);
}

#[test]
fn attach_to_a_frozen_container_says_so_and_goes() {
    let guest = Guest::new("attach_frozen");
    let running = running(&guest);
    assert_eq!(guest.client("freeze", &[]).code, Some(0));
    let ended = attach(&guest, &[], &["/init"]);
    assert_eq!(ended.code, Some(1), "{ended}");
    assert!(ended.stderr.contains("frozen"), "{ended}");
    kill(&guest, running);
}

#[test]
fn attach_works_on_a_stock_container_of_lxc() {
    if !is_64_bit(&binary()) {
        return skip("attach_works_on_a_stock_container_of_lxc", "LXC here is of another word size", false);
    }
    let guest = Guest::new("attach_stock");
    guest.install("say up , forever");
    let Some(start) = guest.stock_tool("start", &[]) else {
        return skip("attach_works_on_a_stock_container_of_lxc", "LXC is not installed", true);
    };
    let started = Running::new(&guest, start).wait();
    assert_eq!(started.code, Some(0), "{started}");
    guest.wait_said("up");
    let ended = attach(&guest, &[], &["/init", "exit", "5"]);
    assert_eq!(ended.code, Some(5), "{ended}");
    let stopped = guest.client("stop", &["-k"]);
    assert_eq!(stopped.code, Some(0), "{stopped}");
}
