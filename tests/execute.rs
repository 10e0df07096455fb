//! `execute`: a container for one command, under a small init of ours.

use crate::support::{Guest, NO_LOADER, Running, dynamic, wait_until};

/// Runs `words` by `execute`.
fn execute<'g>(guest: &'g Guest, options: &[&str], words: &[&str]) -> Running<'g> {
    guest.state_before();
    guest.install("");
    Running::new(guest, guest.tool("execute", &[options, &["--"], words].concat()))
}

#[test]
fn exit_code_of_execute_is_the_commands() {
    let test = "exit_code_of_execute_is_the_commands";
    if dynamic(test, NO_LOADER) {
        return;
    }
    let guest = Guest::new("execute_codes");
    if !guest.busybox(test) {
        return;
    }
    let script = |script: &'static str| ["/bin/busybox", "sh", "-c", script];
    for (words, code) in [
        (&script("exit 0")[..], 0),
        (&script("exit 3"), 3),
        (&script("kill -9 $$"), 137),
        (&script("kill -15 $$"), 143),
        (&["/none"], 127),
        (&["none"], 127),
        (&["/etc"], 126),
    ] {
        std::fs::create_dir_all(guest.rootfs().join("etc")).unwrap();
        let ended = execute(&guest, &[], words).wait();
        assert_eq!(ended.code, Some(code), "{words:?} {ended}");
        guest.assert_nothing_left();
    }
}

#[test]
fn streams_of_the_command_are_ours() {
    let test = "streams_of_the_command_are_ours";
    if dynamic(test, NO_LOADER) {
        return;
    }
    let guest =
        Guest::new("execute_streams").config("lxc.console.path =\nlxc.mount.auto = proc:mixed\nlxc.log.level = ERROR");
    if !guest.busybox(test) {
        return;
    }
    let script = "read line; echo \"out $line\"; echo err >&2; echo $PPID; exit 6";
    guest.install("");
    let mut command = guest.tool("execute", &["--", "/bin/busybox", "sh", "-c", script]);
    command.stdin(std::process::Stdio::piped());
    let mut running = Running::new(&guest, command);
    running.write(b"hello\n");
    let ended = running.wait();
    // A command's own code is no failure of ours: there is nothing to say about it.
    assert_eq!(ended.code, Some(6), "{ended}");
    assert_eq!(ended.stdout, "out hello\n1\n", "{ended}");
    assert_eq!(ended.stderr, "err\n", "{ended}");
}

#[test]
fn init_of_execute_reaps_orphans_and_passes_signals_on() {
    let test = "init_of_execute_reaps_orphans_and_passes_signals_on";
    if dynamic(test, NO_LOADER) {
        return;
    }
    let guest = Guest::new("execute_signals").config("lxc.mount.auto = proc:mixed");
    if !guest.busybox(test) {
        return;
    }
    // Twenty orphans, then no zombie may be left; a signal ends it with a code of its own.
    let script = "i=0; while [ $i -lt 20 ]; do (busybox sleep 0.01 &); i=$((i+1)); done; busybox sleep 0.5; \
        busybox grep -l '^State:.Z' /proc/[0-9]*/status > /zombies; trap 'exit 9' USR1; echo > /ready; \
        while :; do busybox sleep 0.05; done";
    let running = execute(&guest, &[], &["/bin/busybox", "sh", "-c", script]);
    wait_until("the command", || !guest.rootfs_file("ready").is_empty());
    assert_eq!(guest.rootfs_file("zombies"), "");
    running.signal(libc::SIGUSR1);
    let ended = running.wait();
    assert_eq!(ended.code, Some(9), "{ended}");
    guest.assert_nothing_left();
}

#[test]
fn command_and_ids_come_from_the_line_or_the_config() {
    let test = "command_and_ids_come_from_the_line_or_the_config";
    if dynamic(test, NO_LOADER) {
        return;
    }
    let guest = Guest::new("execute_config").config("lxc.execute.cmd = /bin/busybox id");
    if !guest.busybox(test) {
        return;
    }
    guest.install("");
    let ended = Running::new(&guest, guest.tool("execute", &[])).wait();
    assert_eq!(ended.stdout, "uid=0 gid=0\n", "{ended}");
    let ended = execute(&guest, &["-u", "5", "-g", "7"], &["/bin/busybox", "id"]).wait();
    assert_eq!(ended.stdout, "uid=5 gid=7\n", "{ended}");
}

#[test]
fn container_without_a_rootfs_or_a_config_executes_on_the_hosts_files() {
    let guest = Guest::new("execute_bare").without_config();
    let ended =
        Running::new(&guest, guest.tool("execute", &["--", "sh", "-c", "echo $PPID; hostname bare && exit 4"])).wait();
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(4), "1\n"), "{ended}");
    assert_ne!(std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim(), "bare");
}

#[test]
fn execute_runs_one_command_and_ends_as_it() {
    if dynamic("execute_runs_one_command_and_ends_as_it", NO_LOADER) {
        return;
    }
    let guest = Guest::new("execute");
    guest.install("exit 99");
    let execute = |command: &[&str]| guest.client("execute", &[&["--"], command].concat());
    for (command, code) in [
        (&["/init", "exit", "0"][..], 0),
        (&["/init", "exit", "7"], 7),
        (&["/init", "crash"], 128 + libc::SIGSEGV),
        (&["/nowhere"], 127),
        (&["/"], 126),
    ] {
        let ended = execute(command);
        assert_eq!(ended.code, Some(code), "{command:?} {ended}");
        guest.assert_nothing_left();
    }
    let ended = execute(&["/init", "print", "to", "our", "stdout"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "to our stdout\n"), "{ended}");
}

#[test]
fn execute_reaps_orphans_and_passes_signals_on() {
    if dynamic("execute_reaps_orphans_and_passes_signals_on", NO_LOADER) {
        return;
    }
    let guest = Guest::new("execute_init").config("lxc.mount.auto = proc:mixed");
    guest.install("exit 99");
    let command = guest.tool("execute", &["--", "/init", "orphans", "200", ",", "signals", "1", ",", "exit", "3"]);
    let running = Running::new(&guest, command);
    guest.wait_said("ready");
    // The tiny init and its one command: the orphans are reaped.
    wait_until("the orphans to be gone", || guest.pids().len() == 2);
    running.signal(libc::SIGUSR1);
    let ended = running.wait();
    assert_eq!(ended.code, Some(3), "{ended}");
    guest.assert_nothing_left();
}
