//! Where messages go: file, syslog, kernel ring, standard error; and that no reader of them is ever waited for.

use crate::support::{Guest, wait_until};
use std::fs;
use std::os::unix::net::UnixDatagram;

/// Gives the sandbox a /dev of its own, in which /dev/log and /dev/kmsg lead to files of the guest's directory.
fn private_dev(guest: &Guest) {
    guest.sandbox.sh(&format!(
        "mkdir /run/dev
        mount -t tmpfs -o mode=755 dev /run/dev
        cd /run/dev
        for node in null zero full random urandom tty ptmx; do cp -a /dev/$node $node; done
        mkdir pts
        mount --move /dev/pts pts
        ln -s {0}/syslog log
        ln -s {0}/kmsg kmsg
        cd /
        mount --move /run/dev /dev
        rmdir /run/dev",
        guest.dir().display()
    ));
}

/// A syslog daemon's socket.
fn daemon(guest: &Guest) -> UnixDatagram {
    let path = guest.dir().join("syslog");
    let _ = fs::remove_file(&path);
    let socket = UnixDatagram::bind(path).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

/// What has arrived so far: (priority, text).
fn received(socket: &UnixDatagram) -> Vec<(u8, String)> {
    let mut messages = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(length) = socket.recv(&mut buffer) {
        let text = String::from_utf8(buffer[..length].to_vec()).unwrap();
        let (priority, text) = text.strip_prefix('<').unwrap().split_once('>').unwrap();
        messages.push((priority.parse().unwrap(), text.to_owned()));
    }
    messages
}

/// One line of a log file: level and message. Fails unless it has LXC's shape.
fn parse<'l>(guest: &Guest, line: &'l str) -> (&'l str, &'l str) {
    fields(guest, line).unwrap_or_else(|| panic!("not a log line: {line:?}"))
}

/// `monopod NAME YYYYMMDDhhmmss.mmm LEVEL    module - file.rs:LINE - message`
fn fields<'l>(guest: &Guest, line: &'l str) -> Option<(&'l str, &'l str)> {
    let (stamp, rest) = line.strip_prefix(&format!("monopod {} ", guest.name()))?.split_once(' ')?;
    let (seconds, milliseconds) = stamp.split_once('.')?;
    let digits = |text: &str, count| text.len() == count && text.bytes().all(|b| b.is_ascii_digit());
    let (level, rest) = rest.split_once(' ')?;
    let (module, rest) = rest.trim_start().split_once(" - ")?;
    let (place, message) = rest.split_once(" - ")?;
    let (file, number) = place.split_once(':')?;
    let whole = digits(seconds, 14)
        && digits(milliseconds, 3)
        && module.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
        && file.ends_with(".rs")
        && number.parse::<u32>().is_ok();
    whole.then_some((level, message))
}

#[test]
fn file_has_lxcs_lines_from_the_configured_level_on() {
    for (level, expected) in [("DEBUG", &["DEBUG", "INFO"][..]), ("INFO", &["INFO"]), ("ERROR", &[])] {
        let guest = Guest::new("log_file").without_config();
        let guest = guest.config(&format!(
            "lxc.rootfs.path = {{rootfs}}
            lxc.console.path = none
            lxc.mount.entry = /nonexistent mnt none bind,optional 0 0
            lxc.log.file = {{dir}}/chosen
            lxc.log.level = {level}"
        ));
        let ended = guest.start_plain("exit 0", &[]).wait();
        assert_eq!(ended.code, Some(0), "{ended}");
        let text = guest.file("chosen");
        let seen: Vec<_> = text.lines().map(|line| parse(&guest, line).0).collect();
        assert!(seen.iter().all(|level| expected.contains(level)), "{level}: {text}");
        if !expected.is_empty() {
            assert!(seen.contains(&"INFO"), "{level}: {text}");
            assert!(text.contains("optional: ") && text.contains("/nonexistent"), "{text}");
        }
    }
}

#[test]
fn error_of_a_start_is_in_the_file_too() {
    let guest = Guest::new("log_error").config("lxc.mount.entry = /nonexistent mnt none bind 0 0");
    let ended = guest.run("exit 0");
    assert_eq!(ended.code, Some(255), "{ended}");
    let log = guest.file("log");
    let line = log.lines().find(|line| line.contains("/nonexistent")).unwrap_or_else(|| panic!("not there{ended}"));
    assert_eq!(parse(&guest, line).0, "ERROR");
}

#[test]
fn syslog_gets_what_the_file_gets_with_its_priority() {
    let guest = Guest::new("log_syslog").config("lxc.log.syslog = local3");
    private_dev(&guest);
    let socket = daemon(&guest);
    let ended = guest.run("crash");
    assert_eq!(ended.code, Some(128 + libc::SIGSEGV), "{ended}");
    let log = guest.file("log");
    let expected: Vec<(u8, String)> = log
        .lines()
        .map(|line| {
            let (level, message) = parse(&guest, line);
            let severity = match level {
                "ERROR" => 3,
                "WARN" => 4,
                "INFO" => 6,
                _ => 7,
            };
            (19 << 3 | severity, format!("{}: {message}", guest.name()))
        })
        .collect();
    let messages = received(&socket);
    let tag = |text: &str| text.split_once("]: ").map_or("", |(_, message)| message).to_owned();
    assert!(messages.iter().all(|(_, text)| text.starts_with("monopod[")), "{messages:?}");
    let seen: Vec<_> = messages.iter().map(|(priority, text)| (*priority, tag(text))).collect();
    assert!(seen.iter().any(|(priority, _)| *priority == 19 << 3 | 3), "{seen:?}");
    // As many as the socket's queue takes; the rest is lost, not waited for.
    assert_eq!(seen, expected[..seen.len()], "{ended}");
    drop(socket);
    guest.assert_nothing_left();
}

#[test]
fn syslog_daemon_that_does_not_read_holds_up_nobody() {
    let guest = Guest::new("log_unread").config(
        "lxc.log.syslog = daemon
        monopod.restart.delay = 0ms
        monopod.restart.budget = 200",
    );
    private_dev(&guest);
    let socket = daemon(&guest);
    let ended = guest.start("say life , restart").wait();
    assert_eq!(ended.code, Some(254), "{ended}");
    assert_eq!(guest.results().lines().count(), 201);
    assert!(received(&socket).len() < guest.file("log").lines().count(), "the daemon's queue took it all");
    drop(socket);
    guest.assert_nothing_left();
}

#[test]
fn syslog_daemon_that_is_not_there_or_comes_back_is_no_matter() {
    let guest = Guest::new("log_restarted").config("lxc.log.syslog = daemon\nmonopod.restart.delay = 0ms");
    private_dev(&guest);
    // Not there at the start, there for the second life, gone and another one for the third.
    let running = guest.start("say life , signals 1 , restart-times 3 , exit 4");
    let next_life = |lives: usize| {
        wait_until(&format!("life {lives}"), || guest.results().matches("life\nready\n").count() == lives);
    };
    next_life(1);
    let first = daemon(&guest);
    running.signal(libc::SIGUSR1);
    next_life(2);
    assert!(!received(&first).is_empty());
    drop(first);
    running.signal(libc::SIGUSR1);
    next_life(3);
    let second = daemon(&guest);
    running.signal(libc::SIGUSR1);
    next_life(4);
    let messages = received(&second);
    assert!(messages.iter().any(|(priority, _)| *priority == 3 << 3 | 6), "{messages:?}");
    running.signal(libc::SIGUSR1);
    assert_eq!(running.wait().code, Some(4));
    drop(second);
    guest.assert_nothing_left();
}

#[test]
fn kmsg_gets_lines_with_the_kernels_levels() {
    let guest = Guest::new("log_kmsg").config("monopod.log.kmsg = 1");
    private_dev(&guest);
    fs::write(guest.dir().join("kmsg"), "").unwrap();
    let ended = guest.run("crash");
    assert_eq!(ended.code, Some(128 + libc::SIGSEGV), "{ended}");
    let kmsg = guest.file("kmsg");
    let tag = format!("monopod[{}]: ", guest.name());
    for line in kmsg.lines() {
        let (level, rest) = line.strip_prefix('<').and_then(|rest| rest.split_once('>')).unwrap();
        assert!(["3", "4", "6", "7"].contains(&level) && rest.starts_with(&tag), "{line}");
    }
    assert!(kmsg.lines().any(|line| line.starts_with("<3>") && line.contains("init")), "{kmsg}");
    guest.assert_nothing_left();
}

#[test]
fn kmsg_that_nobody_reads_is_not_waited_for() {
    let guest = Guest::new("log_kmsg_fifo").config("monopod.log.kmsg = 1");
    private_dev(&guest);
    nix::unistd::mkfifo(&guest.dir().join("kmsg"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let ended = guest.run("exit 3");
    assert_eq!(ended.code, Some(3), "{ended}");
    // With a reader that does not read.
    let guest = guest.config("monopod.restart.delay = 0ms\nmonopod.restart.budget = 200");
    let flags = nix::fcntl::OFlag::O_RDONLY | nix::fcntl::OFlag::O_NONBLOCK;
    let reader = nix::fcntl::open(&guest.dir().join("kmsg"), flags, nix::sys::stat::Mode::empty()).unwrap();
    assert_eq!(guest.run("restart").code, Some(254));
    drop(reader);
    guest.assert_nothing_left();
}

#[test]
fn quiet_start_says_nothing_on_stderr() {
    let guest = Guest::new("log_quiet").config("lxc.mount.entry = /nonexistent mnt none bind 0 0").options(&["-q"]);
    let ended = guest.run("exit 0");
    assert_eq!(ended.code, Some(255), "{ended}");
    assert_eq!(ended.stderr, "");
    // A guest that crashes is worth an error line, too.
    let guest = Guest::new("log_quiet_crash").options(&["-q"]);
    let ended = guest.run("crash");
    assert_eq!(ended.code, Some(128 + libc::SIGSEGV), "{ended}");
    assert_eq!(ended.stderr, "");
    let guest = Guest::new("log_loud_crash");
    assert_ne!(guest.run("crash").stderr, "");
}

#[test]
fn full_disk_below_the_log_does_not_stop_the_container() {
    let guest = Guest::new("log_full").without_config().config(
        "lxc.rootfs.path = {rootfs}
        lxc.console.path =
        lxc.console.logfile = {dir}/full/console
        lxc.log.file = {dir}/full/log
        lxc.log.level = DEBUG",
    );
    let full = guest.dir().join("full");
    fs::create_dir(&full).unwrap();
    guest.sandbox.sh(&format!(
        "mount -t tmpfs -o size=16k full {0}
        head -c 1000000 /dev/zero > {0}/filler 2>/dev/null || :",
        full.display()
    ));
    let ended = guest.start_plain("spew 200000 , say went on , exit 6", &[]).wait();
    assert_eq!(ended.code, Some(6), "{ended}");
    assert_eq!(guest.results(), "went on\n");
    assert_eq!(guest.sandbox.sh(&format!("cat {0}/log {0}/console", full.display())), "");
    guest.assert_nothing_left();
}
