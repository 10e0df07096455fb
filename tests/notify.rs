//! What a service manager hears: sd_notify(3), its watchdog, --ready-fd.

use crate::support::{DEADLINE, Guest, sandbox, wait_for, wait_until};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

/// The manager's end.
struct Manager {
    socket: UnixDatagram,
    path: String,
}

impl Manager {
    fn of(guest: &Guest) -> Manager {
        let path = guest.dir().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        Manager { socket, path: path.to_str().unwrap().into() }
    }

    /// Every message so far, one line each.
    fn heard(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut datagram = [0; 2048];
        while let Ok(length) = self.socket.recv(&mut datagram) {
            lines.extend(String::from_utf8_lossy(&datagram[..length]).lines().map(str::to_owned));
        }
        lines
    }

    fn wait_heard(&self, line: &str) -> Vec<String> {
        let mut lines = Vec::new();
        wait_until(line, || {
            lines.extend(self.heard());
            lines.iter().any(|each| each == line)
        });
        lines
    }
}

#[test]
fn running_is_told_once_a_life_and_the_end_with_its_meaning() {
    let ends = [
        ("poweroff", "", "halted"),
        ("exit 0", "", "halted"),
        ("exit 3", "", "failed"),
        ("restart", "monopod.restart.when = never", "reboot"),
        ("restart", "monopod.restart.budget = 1", "failed"),
        ("restart", "lxc.hook.post-stop = /bin/false", "stopped"),
    ];
    for (steps, config, word) in ends {
        let guest = Guest::new("notify_end").config(config);
        let manager = Manager::of(&guest);
        let guest = guest.env("NOTIFY_SOCKET", &manager.path);
        let running = guest.start(steps);
        let pid = running.pid();
        running.wait();
        let heard = manager.heard();
        assert!(heard.contains(&"READY=1".into()) && heard.contains(&format!("MAINPID={pid}")), "{heard:?}");
        assert!(heard.contains(&format!("X_MONOPOD_END={word}")), "{steps}: {heard:?}");
        assert!(!heard.iter().any(|line| line.starts_with("WATCHDOG")), "{heard:?}");
    }
}

#[test]
fn failed_start_is_told_with_its_line() {
    let guest = Guest::new("notify_failed").config("lxc.tty.max = many");
    let manager = Manager::of(&guest);
    let ended = guest.env("NOTIFY_SOCKET", &manager.path).run("exit 0");
    assert_eq!(ended.code, Some(255), "{ended}");
    let heard = manager.heard();
    assert_eq!(heard[0], "X_MONOPOD_END=failed", "{heard:?}");
    assert!(heard[1].starts_with("STATUS=config: ") && heard[1].contains("lxc.tty.max"), "{heard:?}");
}

#[test]
fn stop_is_told_when_it_begins_and_when_it_is_done() {
    let guest = Guest::new("notify_stop");
    let manager = Manager::of(&guest);
    let guest = guest.env("NOTIFY_SOCKET", &manager.path);
    let running = guest.start("say up , forever");
    guest.wait_said("up");
    assert_eq!(guest.client("stop", &["-k"]).code, Some(0));
    running.wait();
    let heard = manager.wait_heard("X_MONOPOD_END=stopped");
    assert!(heard.contains(&"STOPPING=1".into()), "{heard:?}");
}

#[test]
fn abstract_address_is_understood() {
    use std::os::linux::net::SocketAddrExt;
    let guest = Guest::new("notify_abstract");
    let name = format!("monopod-test-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let socket = UnixDatagram::bind_addr(&address).unwrap();
    socket.set_nonblocking(true).unwrap();
    let manager = Manager { socket, path: String::new() };
    guest.env("NOTIFY_SOCKET", &format!("@{name}")).run("exit 0");
    manager.wait_heard("READY=1");
}

#[test]
fn words_for_us_reach_neither_hooks_nor_the_guest() {
    let guest = Guest::new("notify_leak").env("NOTIFY_SOCKET", "/nowhere").env("WATCHDOG_USEC", "60000000");
    let hook = guest.script("hook", "env > $dir/hook-environment");
    let guest = guest.config(&format!("lxc.hook.pre-start = {hook}"));
    let ended = guest.run("report , exit 0");
    assert_eq!(ended.code, Some(0), "{ended}");
    for text in [guest.rootfs_file("report"), guest.file("hook-environment")] {
        assert!(text.contains("container=lxc") || text.contains("LXC_NAME"), "{text}");
        assert!(!text.contains("NOTIFY_SOCKET") && !text.contains("WATCHDOG"), "{text}");
    }
}

/// Half a second of a watchdog's time: a sign of life every 250 ms.
const SHORT: &str = "500000";

#[test]
fn watchdog_hears_of_life_until_the_loop_stops() {
    let guest = Guest::new("notify_watchdog");
    let manager = Manager::of(&guest);
    let guest = guest.env("NOTIFY_SOCKET", &manager.path).env("WATCHDOG_USEC", SHORT);
    let running = guest.start("say up , forever");
    guest.wait_said("up");
    manager.wait_heard("WATCHDOG=1");
    manager.wait_heard("WATCHDOG=1");
    running.signal(libc::SIGSTOP);
    std::thread::sleep(Duration::from_millis(100));
    manager.heard();
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(manager.heard(), Vec::<String>::new());
    running.signal(libc::SIGCONT);
    manager.wait_heard("WATCHDOG=1");
}

#[test]
fn watchdog_of_another_process_is_left_alone() {
    let guest = Guest::new("notify_other");
    let manager = Manager::of(&guest);
    let guest = guest.env("NOTIFY_SOCKET", &manager.path).env("WATCHDOG_USEC", SHORT).env("WATCHDOG_PID", "1");
    let _running = guest.start("say up , forever");
    guest.wait_said("up");
    assert!(!wait_for(Duration::from_secs(1), || manager.heard().contains(&"WATCHDOG=1".into())));
}

#[test]
fn guest_whose_file_grows_old_is_not_alive() {
    let guest = Guest::new("notify_alive").config("monopod.alive = file:/tmp/alive\nmonopod.alive.within = 1s");
    let manager = Manager::of(&guest);
    let guest = guest.env("NOTIFY_SOCKET", &manager.path).env("WATCHDOG_USEC", SHORT);
    let _running = guest.start("say up , forever");
    guest.wait_said("up");
    let silent = || {
        manager.heard();
        std::thread::sleep(Duration::from_millis(800));
        manager.heard().is_empty()
    };
    // Nothing there, a link out of the guest, a FIFO that would block whoever opens it: no sign of life.
    assert!(wait_for(DEADLINE, silent));
    std::os::unix::fs::symlink("/etc/hostname", guest.rootfs().join("tmp/alive")).unwrap();
    assert!(wait_for(DEADLINE, silent));
    std::fs::remove_file(guest.rootfs().join("tmp/alive")).unwrap();
    std::fs::write(guest.rootfs().join("tmp/alive"), "1").unwrap();
    manager.wait_heard("WATCHDOG=1");
    assert!(wait_for(DEADLINE, silent));
    std::fs::write(guest.rootfs().join("tmp/alive"), "2").unwrap();
    manager.wait_heard("WATCHDOG=1");
}

#[test]
fn ready_fd_gets_one_line_when_the_guest_runs() {
    for (mode, close) in [("-F", ""), ("-F", "-C"), ("-d", "")] {
        let guest = Guest::new("ready_fd").options(&["--ready-fd", "7"]);
        let guest = if close.is_empty() { guest } else { guest.options(&[close]) };
        let guest = if mode == "-d" { guest.options(&["-d"]) } else { guest };
        let mut ends = [0; 2];
        // SAFETY: `ends` is room for two descriptors.
        assert_eq!(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) }, 0);
        // SAFETY: pipe2 has just made them for us.
        let (mut ours, theirs) = unsafe { (File::from_raw_fd(ends[0]), File::from_raw_fd(ends[1])) };
        let mut command = guest.start_command("report , say up , forever");
        sandbox::inherit(&mut command, &theirs, 7);
        let running = crate::support::Running::new(&guest, command);
        drop(theirs);
        let mut line = String::new();
        // Up to the end: nobody holds it any longer, the guest and its hooks least of all.
        ours.read_to_string(&mut line).unwrap();
        assert_eq!(line, "\n", "{mode} {close}: {}", running.stderr());
        guest.wait_said("up");
        assert!(ours.as_raw_fd() > 2);
        guest.client("stop", &["-k"]);
    }
}

#[test]
fn ready_fd_that_is_not_open_is_refused() {
    let guest = Guest::new("ready_fd_closed").options(&["--ready-fd", "77"]);
    let ended = guest.run("exit 0");
    assert_eq!(ended.code, Some(255), "{ended}");
    assert!(ended.stderr.contains("inherited descriptors: --ready-fd 77: Bad file number"), "{ended}");
}
