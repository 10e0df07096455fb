//! `attach` with terminals that stop, go or are led away, and with guests that mean harm.

use crate::support::kernel::{self, Kernel};
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

fn stop(guest: &Guest, running: Running<'_>) {
    assert_eq!(guest.client("stop", &["-k"]).code, Some(0));
    running.wait();
    guest.assert_nothing_left();
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

#[test]
fn old_kernel_without_files_in_memory_attaches_and_executes_as_well() {
    let test = "old_kernel_without_files_in_memory_attaches_and_executes_as_well";
    let Some(mut guest) = shelled(test, "attach_old", "") else { return };
    if emulated(test, "qemu-user makes the calls of its own") {
        return;
    }
    if !kernel::available(test) {
        return;
    }
    guest.set_kernel(Kernel::of_3_10());
    guest.install("");
    let script = ["--", "/bin/busybox", "sh", "-c", "exit 4"];
    let executed = guest.client("execute", &script);
    assert_eq!(executed.code, Some(4), "{executed}");
    guest.assert_nothing_left();
    let running = guest.start("say up , forever");
    guest.wait_said("up");
    let attached = guest.client("attach", &script);
    assert_eq!(attached.code, Some(4), "{attached}");
    let (mut terminal, _, attached) = on_terminal(&guest, &["--", "/bin/sh", "-c", "tty; exit 5"]);
    let heard = read_all(&mut terminal);
    assert!(heard.starts_with(b"/dev/pts/"), "{:?}", String::from_utf8_lossy(&heard));
    assert_eq!(attached.wait().code, Some(5));
    stop(&guest, running);
}
