//! The console and the ttys: what goes in and out, what is logged, and that nobody has to read it.

use crate::support::{Guest, Running, sandbox, wait_for, wait_until};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::process::Stdio;

#[test]
fn none_gives_dev_null_and_no_console_node() {
    let guest = Guest::new("console_none");
    let ended = guest.run("report");
    assert_eq!(ended.code, Some(0), "{ended}");
    let report = guest.report();
    assert_eq!(report.all("isatty"), ["0 0", "1 0", "2 0"]);
    for fd in ["0", "1", "2"] {
        assert!(report.entry("fd", fd).ends_with("/null"), "{:?}", report.all("fd"));
    }
}

#[test]
fn stdio_console_carries_both_ways() {
    let guest = Guest::new("console_stdio").config("lxc.console.path =\nmonopod.console = stdio");
    let mut command = guest.start_command("report , echo 2 , exit 3");
    command.stdin(Stdio::piped());
    let mut running = Running::new(&guest, command);
    running.wait_stdout("ready");
    running.write(b"one\n");
    running.wait_stdout("echo: one");
    running.write(b"two\n");
    let ended = running.wait();
    assert_eq!(ended.code, Some(3), "{ended}");
    assert!(ended.stdout.contains("echo: two"), "{ended}");
    let report = guest.report();
    assert_eq!(report.all("isatty"), ["0 1", "1 1", "2 1"]);
    assert!(report.find("dev", "/dev/console").is_some());
    guest.assert_nothing_left();
}

#[test]
fn last_words_are_never_lost() {
    // As much as a pipe holds, so that a slow reader is no excuse.
    let guest = Guest::new("last_words").config("lxc.console.path =\nmonopod.console = stdio");
    for round in 0..20 {
        let ended = guest.run(&format!("spew 32768 , print last words {round} , exit 0"));
        let last = format!("last words {round}\r\n");
        assert!(ended.stdout.ends_with(&last), "{}", ended.stderr);
        // 512 lines, each with the terminal's carriage return.
        assert_eq!(ended.stdout.len(), 32768 + 512 + last.len());
    }
}

#[test]
fn our_terminal_is_the_console_with_its_size() {
    let guest = Guest::new("console_tty").config("lxc.console.path =");
    let (ours, theirs) = sandbox::pty(97, 41);
    let mut command = guest.start_command("report , echo 1 , report , exit 0");
    command.stdin(theirs.try_clone().unwrap()).stdout(theirs.try_clone().unwrap()).stderr(theirs);
    sandbox::control_terminal(&mut command);
    let running = Running::spawn(&guest, command);
    let mut terminal = File::from(ours);
    wait_until("the guest's report", || !guest.rootfs_file("report").is_empty());
    assert_eq!(guest.report().one("winsize"), "97x41");
    sandbox::resize(&terminal, 132, 43);
    let mut reader = terminal.try_clone().unwrap();
    let heard = std::thread::spawn(move || {
        let (mut text, mut buffer) = (Vec::new(), [0; 4096]);
        while let Ok(n @ 1..) = reader.read(&mut buffer) {
            text.extend_from_slice(&buffer[..n]);
        }
        String::from_utf8_lossy(&text).into_owned()
    });
    terminal.write_all(b"hello\n").unwrap();
    let ended = running.wait();
    assert_eq!(ended.code, Some(0), "{ended}");
    drop(terminal);
    assert!(heard.join().unwrap().contains("echo: hello"));
    assert_eq!(guest.report().one("winsize"), "132x43");
    guest.assert_nothing_left();
}

#[test]
fn console_path_is_a_tty_that_mirrors_the_console() {
    let guest = Guest::new("console_path");
    let (ours, theirs) = sandbox::pty(80, 24);
    // The sandbox has a devpts of its own; this pty is one of the host's, so it goes by its descriptor.
    let guest = guest.config(&format!("lxc.console.path = /proc/{}/fd/{}", std::process::id(), theirs.as_raw_fd()));
    let ended = guest.run("print on the mirror , exit 0");
    assert_eq!(ended.code, Some(0), "{ended}");
    let mut text = [0; 256];
    let n = File::from(ours).read(&mut text).unwrap();
    assert!(String::from_utf8_lossy(&text[..n]).contains("on the mirror"));
}

#[test]
fn logfile_gets_the_console_output() {
    let guest = Guest::new("console_log").config("lxc.console.path =\nlxc.console.logfile = {dir}/console.log");
    let ended = guest.run("print to the log , exit 0");
    assert_eq!(ended.code, Some(0), "{ended}");
    assert!(guest.file("console.log").contains("to the log"), "{ended}");
}

#[test]
fn console_options_of_the_command_line_win_over_the_config() {
    let guest = Guest::new("console_options").config("lxc.console.logfile = {dir}/other");
    let file = guest.dir().join("console.log").to_string_lossy().into_owned();
    let guest = guest.config("lxc.console.path =").options(&["-L", &file]);
    let ended = guest.run("print to the log , exit 0");
    assert_eq!(ended.code, Some(0), "{ended}");
    assert!(guest.file("console.log").contains("to the log"), "{ended}");
    assert!(!guest.dir().join("other").exists());
}

#[test]
fn logfile_is_bounded_and_rotated() {
    let guest = Guest::new("console_rotate").config(
        "lxc.console.path =
        lxc.console.logfile = {dir}/console.log
        lxc.console.size = 65536
        lxc.console.rotate = 1",
    );
    let ended = guest.run("spew 300000 , print the end , exit 0");
    assert_eq!(ended.code, Some(0), "{ended}");
    for name in ["console.log", "console.log.1"] {
        let size = std::fs::metadata(guest.dir().join(name)).map(|meta| meta.len());
        assert!(size.as_ref().is_ok_and(|size| *size <= 65536), "{name}: {size:?}");
    }
    assert!(guest.file("console.log").ends_with("the end\r\n"));
}

/// `spew`'s line, as a terminal hands it on.
const LINE: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde\r\n";

#[test]
fn logfile_gets_every_byte_of_a_flood() {
    for bytes in [1_000_000, 20_000_000] {
        let guest = Guest::new("console_flood").config("lxc.console.path =\nlxc.console.logfile = {dir}/console.log");
        let ended = guest.run(&format!("spew {bytes} , print the end , exit 0"));
        assert_eq!(ended.code, Some(0), "{ended}");
        let log = std::fs::read(guest.dir().join("console.log")).unwrap();
        let (lines, end) = log.split_at(bytes / 64 * LINE.len());
        assert!(lines.chunks(LINE.len()).all(|line| line == LINE.as_bytes()), "a line of {bytes} bytes is not whole");
        assert_eq!(end, b"the end\r\n");
        guest.assert_nothing_left();
    }
}

#[test]
fn logfile_is_whole_though_the_mirror_is_not_read() {
    let guest = Guest::new("console_stalled")
        .config("lxc.console.path =\nmonopod.console = stdio\nlxc.console.logfile = {dir}/console.log");
    let (reader, writer) = std::io::pipe().unwrap();
    let mut command = guest.start_command("spew 1000000 , print the end , exit 5");
    command.stdout(writer);
    let ended = Running::spawn(&guest, command).wait();
    assert_eq!(ended.code, Some(5), "{ended}");
    drop(reader);
    let log = std::fs::read(guest.dir().join("console.log")).unwrap();
    assert_eq!(log.len(), 1_000_000 / 64 * LINE.len() + "the end\r\n".len());
    assert!(log.ends_with(b"the end\r\n"));
    guest.assert_nothing_left();
}

#[test]
fn unread_console_never_blocks_the_guest_or_the_clients() {
    let guest = Guest::new("console_unread").config("lxc.console.path =\nmonopod.console = stdio");
    let (reader, writer) = std::io::pipe().unwrap();
    let mut command = guest.start_command("spew 4000000 , say went on , signals 1 , exit 0");
    command.stdout(writer);
    let running = Running::spawn(&guest, command);
    guest.wait_said("went on");
    assert_eq!(guest.client("info", &["-s", "-H"]).stdout, "RUNNING\n");
    guest.wait_said("ready");
    running.signal(libc::SIGTERM);
    assert_eq!(running.wait().code, Some(0));
    drop(reader);
}

#[test]
fn closed_stdout_does_not_end_the_container() {
    let guest = Guest::new("console_closed").config("lxc.console.path =\nmonopod.console = stdio");
    let (reader, writer) = std::io::pipe().unwrap();
    let mut command = guest.start_command("say up , signals 1 , spew 100000 , exit 5");
    command.stdout(writer);
    let running = Running::spawn(&guest, command);
    guest.wait_said("ready");
    drop(reader);
    running.signal(libc::SIGTERM);
    assert_eq!(running.wait().code, Some(5));
    guest.assert_nothing_left();
}

#[test]
fn ttys_are_bound_and_linked_in_their_directory() {
    let guest = Guest::new("ttys")
        .config("lxc.console.path =\nlxc.console.logfile = {dir}/log.c\nlxc.tty.max = 4\nlxc.tty.dir = lxc");
    let ended = guest.run("report , print-to /dev/tty1 hello");
    assert_eq!(ended.code, Some(0), "{ended}");
    let report = guest.report();
    for n in 1..=4 {
        assert!(report.entry("dev", &format!("/dev/lxc/tty{n}")).starts_with("c 136:"), "tty{n}");
        assert_eq!(report.entry("dev", &format!("/dev/tty{n}")), format!("l lxc/tty{n}"));
    }
    assert!(report.find("dev", "/dev/lxc/tty5").is_none());
    assert!(report.entry("dev", "/dev/lxc/console").starts_with("c 136:"));
    assert!(report.entry("dev", "/dev/console").starts_with("c 136:"));
    assert_eq!(guest.results(), "print-to /dev/tty1: ok\n");
    guest.assert_nothing_left();
}

#[test]
fn ttys_without_a_directory_are_in_dev_itself() {
    let guest = Guest::new("ttys_flat").config("lxc.tty.max = 2");
    let ended = guest.run("report");
    assert_eq!(ended.code, Some(0), "{ended}");
    let report = guest.report();
    for n in 1..=2 {
        assert!(report.entry("dev", &format!("/dev/tty{n}")).starts_with("c 136:"), "tty{n}");
    }
    assert!(report.find("dev", "/dev/tty3").is_none());
}

#[test]
fn console_survives_a_restart() {
    let guest = Guest::new("console_restart")
        .config("lxc.console.path =\nmonopod.console = stdio\nmonopod.restart.delay = 0ms");
    let running = guest.start("print life , restart-times 2 , exit 0");
    let ended = running.wait();
    assert_eq!(ended.code, Some(0), "{ended}");
    assert!(wait_for(std::time::Duration::from_secs(1), || ended.stdout == "life\r\n".repeat(3)), "{ended}");
}
