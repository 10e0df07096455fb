//! What is used up or stands in the way on the host: descriptors, processes, and files that do not take what is written.

use crate::support::races::rounds;
use crate::support::{Guest, Running, emulated, sandbox, skip, wait_until};
use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::Path;
use std::process::Command;

fn descriptors(pid: i32) -> Vec<i32> {
    let list = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    list.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect()
}

#[test]
fn descriptors_used_up_turn_clients_away_and_nothing_else() {
    let guest = Guest::new("few_fds");
    let running = guest.start("signals 1 , exit 7");
    guest.wait_said("ready");
    guest.wait_running();
    let before = descriptors(running.pid());
    let most = before.iter().max().unwrap() + 1 + 4;
    let limit = ["--pid".into(), running.pid().to_string(), format!("--nofile={most}:{most}")];
    assert!(Command::new("prlimit").args(limit).status().unwrap().success());
    let address = SocketAddr::from_abstract_name(format!("{}/command", guest.dir().display())).unwrap();
    let crowd: Vec<_> = (0..100).map(|_| UnixStream::connect_addr(&address).unwrap()).collect();
    // They go, one way or the other; whoever asks properly is answered in the end.
    wait_until("an answer", || guest.client("info", &["-s", "-H"]).stdout == "RUNNING\n");
    drop(crowd);
    wait_until("the descriptors to be closed", || descriptors(running.pid()).len() <= before.len());
    running.signal(libc::SIGUSR1);
    let ended = running.wait();
    assert_eq!(ended.code, Some(7), "{ended}");
    guest.assert_nothing_left();
}

#[test]
fn start_with_few_descriptors_is_refused_in_one_line() {
    if emulated("start_with_few_descriptors_is_refused_in_one_line", "the emulator has descriptors of its own") {
        return;
    }
    for most in [6, 9, 12, 15] {
        let guest = Guest::new("few_fds_start").config("lxc.tty.max = 4");
        let start = guest.start_command("exit 0");
        let mut command = Command::new("prlimit");
        command.arg(format!("--nofile={most}:{most}")).arg("--").arg(start.get_program()).args(start.get_args());
        command.stdin(std::process::Stdio::null());
        guest.enter(&mut command);
        let ended = Running::new(&guest, command).wait();
        assert!(matches!(ended.code, Some(0 | 255)), "{most}{ended}");
        assert!(ended.code == Some(0) || ended.stderr.lines().count() == 1, "{most}{ended}");
        guest.assert_nothing_left();
    }
}

#[test]
fn no_room_for_another_process_is_a_refused_start() {
    let test = "no_room_for_another_process_is_a_refused_start";
    let pids = Path::new("/sys/fs/cgroup/pids");
    if emulated(test, "the emulator has threads of its own") {
        return;
    }
    if !pids.exists() {
        return skip(test, "no v1 pids here", false);
    }
    let guest = Guest::new("no_pids");
    let group = pids.join(format!("{}.outer", guest.name()));
    fs::create_dir(&group).unwrap();
    let start = guest.start_command("exit 0");
    let mut command = Command::new("sh");
    let script = "echo $$ > $0/cgroup.procs; echo 1 > $0/pids.max; exec \"$@\"";
    command.args(["-euc", script]).arg(&group).arg(start.get_program()).args(start.get_args());
    guest.enter(&mut command);
    let ended = Running::new(&guest, command).wait();
    crate::support::remove_cgroup(group);
    assert_eq!(ended.code, Some(255), "{ended}");
    assert_eq!(ended.stderr.lines().count(), 1, "{ended}");
    assert!(ended.stderr.contains("Try again"), "{ended}");
    guest.assert_nothing_left();
}

#[test]
fn files_that_nobody_reads_hold_up_nobody() {
    for (line, options) in [
        ("lxc.log.file = {dir}/fifo", &[][..]),
        ("lxc.console.path =\nmonopod.console = stdio\nlxc.console.logfile = {dir}/fifo", &[]),
        ("lxc.console.path = {dir}/fifo", &[]),
        ("monopod.state.file = {dir}/fifo", &[]),
        ("monopod.crash.file = {dir}/fifo", &[]),
        ("monopod.wakelock = fifo", &[]),
        ("lxc.mount.fstab = {dir}/fifo", &[]),
        ("lxc.include = {dir}/fifo", &[]),
        ("lxc.seccomp.profile = {dir}/fifo", &[]),
        ("lxc.rootfs.path = loop:{dir}/fifo", &[]),
        ("lxc.rootfs.path = {dir}/fifo", &[]),
        ("lxc.hook.pre-start = {dir}/fifo", &[]),
        ("", &["-p", "{dir}/fifo"]),
        ("", &["-o", "{dir}/fifo"]),
    ] {
        let guest = Guest::new("fifo");
        nix::unistd::mkfifo(&guest.dir().join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let dir = guest.dir().display().to_string();
        let options: Vec<_> = options.iter().map(|word| word.replace("{dir}", &dir)).collect();
        let guest = guest.config(line);
        let words: Vec<_> = options.iter().map(String::as_str).collect();
        let ended = guest.start_plain("print text , crash", &words).wait();
        assert!(matches!(ended.code, Some(139 | 255)), "{line} {options:?}{ended}");
        guest.assert_nothing_left();
    }
}

#[test]
fn storm_of_signals_has_no_effect_but_its_own() {
    let guest = Guest::new("signal_storm");
    let running = guest.start("say up , forever");
    guest.wait_said("up");
    guest.wait_running();
    let (init, before) = (guest.init(), descriptors(running.pid()));
    // What is passed on to an init that has no handler is nothing to it.
    let signals = [
        libc::SIGCHLD,
        libc::SIGCONT,
        libc::SIGWINCH,
        libc::SIGURG,
        libc::SIGIO,
        libc::SIGPIPE,
        libc::SIGALRM,
        libc::SIGVTALRM,
        libc::SIGUSR1,
        libc::SIGUSR2,
        libc::SIGTTIN,
        libc::SIGTTOU,
        libc::SIGTSTP,
        40,
    ];
    for round in 0..rounds(20_000) {
        running.signal(signals[round % signals.len()]);
        if round % 5_000 == 0 {
            let told = guest.client("info", &["-s", "-H"]);
            assert_eq!(told.stdout, "RUNNING\n", "after {round}{told}");
        }
    }
    assert_eq!(guest.client("info", &["-s", "-H"]).stdout, "RUNNING\n");
    assert_eq!((guest.init(), descriptors(running.pid()).len()), (init, before.len()));
    sandbox::kill(init, libc::SIGKILL);
    let ended = running.wait();
    assert_eq!(ended.code, Some(128 + libc::SIGKILL), "{ended}");
    guest.assert_nothing_left();
}

#[test]
fn seccomp_policy_too_long_to_be_read_whole_is_refused() {
    let guest = Guest::new("long_policy").config("lxc.seccomp.profile = {dir}/policy");
    // What stands behind the part that is read would be allowed.
    let comments = "# comment\n".repeat(120_000);
    fs::write(guest.dir().join("policy"), format!("2\ndenylist\n{comments}reboot errno 1\n")).unwrap();
    let ended = guest.run("exit 0");
    assert_eq!(ended.code, Some(255), "{ended}");
    assert!(ended.stderr.contains("File too large"), "{ended}");
}
