//! The tools that change a running container: freeze, restart, the console and the ttys; and monitor, which sees it all.

use crate::support::{Guest, Running, binary, is_64_bit, sandbox, skip, wait_until};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::process::Stdio;
use std::time::Duration;

fn state(guest: &Guest) -> String {
    guest.client("info", &["-sH"]).stdout.trim().to_owned()
}

fn ok(guest: &Guest, tool: &str, words: &[&str]) {
    let ended = guest.client(tool, words);
    assert_eq!(ended.code, Some(0), "{tool} {words:?}: {ended}");
}

#[test]
fn freeze_stops_every_process_and_unfreeze_lets_it_go_on() {
    let guest = Guest::new("freeze");
    let running = guest.start("say up , sleep 50 , say later , forever");
    guest.wait_said("up");
    ok(&guest, "freeze", &[]);
    assert_eq!(state(&guest), "FROZEN");
    ok(&guest, "wait", &["-s", "FROZEN", "-t", "20"]);
    // Twice is no mistake.
    ok(&guest, "freeze", &["-t", "20"]);
    std::thread::sleep(Duration::from_millis(150));
    let said = guest.results();
    ok(&guest, "unfreeze", &[]);
    assert_eq!(state(&guest), "RUNNING");
    guest.wait_said("later");
    assert!(!said.contains("later"), "{said}");
    ok(&guest, "unfreeze", &[]);
    ok(&guest, "stop", &["-k"]);
    running.wait();
    assert_eq!(guest.client("freeze", &[]).code, Some(1));
    guest.assert_nothing_left();
}

#[test]
fn frozen_container_hears_a_stop_a_kill_and_a_restart() {
    let guest = Guest::new("freeze_stop").config("lxc.signal.halt = SIGTERM");
    let running = guest.start("signals 1 , exit 0");
    guest.wait_said("ready");
    ok(&guest, "freeze", &[]);
    ok(&guest, "stop", &["-t", "20"]);
    assert!(guest.results().contains("signal 15"), "{}", guest.results());
    assert_eq!(running.wait().code, Some(0));
    let running = guest.start("forever");
    guest.wait_running();
    let first = guest.init();
    ok(&guest, "freeze", &[]);
    ok(&guest, "restart", &["-t", "0"]);
    assert_eq!(state(&guest), "RUNNING");
    assert_ne!(guest.init(), first);
    ok(&guest, "freeze", &[]);
    ok(&guest, "stop", &["-k"]);
    running.wait();
    guest.assert_nothing_left();
}

#[test]
fn stock_freeze_and_unfreeze_work_on_ours_and_ours_on_theirs() {
    if !is_64_bit(&binary()) {
        return skip(
            "stock_freeze_and_unfreeze_work_on_ours_and_ours_on_theirs",
            "LXC here is of another word size",
            false,
        );
    }
    let guest = Guest::new("freeze_stock");
    let Some(start) = guest.stock_tool("start", &[]) else {
        return skip("stock_freeze_and_unfreeze_work_on_ours_and_ours_on_theirs", "LXC is not installed", true);
    };
    let stock = |tool: &str, words: &[&str]| Running::new(&guest, guest.stock_tool(tool, words).unwrap()).wait();
    let running = guest.start("forever");
    guest.wait_running();
    assert_eq!(stock("freeze", &[]).code, Some(0));
    assert_eq!((state(&guest), stock("info", &["-sH"]).stdout.trim()), ("FROZEN".to_owned(), "FROZEN"));
    assert_eq!(stock("unfreeze", &[]).code, Some(0));
    assert_eq!(state(&guest), "RUNNING");
    ok(&guest, "stop", &["-k"]);
    running.wait();
    let started = Running::new(&guest, start).wait();
    assert_eq!(started.code, Some(0), "{started}");
    ok(&guest, "freeze", &[]);
    assert_eq!(stock("info", &["-sH"]).stdout.trim(), "FROZEN");
    ok(&guest, "unfreeze", &[]);
    assert_eq!(stock("info", &["-sH"]).stdout.trim(), "RUNNING");
    ok(&guest, "stop", &["-k"]);
}

#[test]
fn restart_begins_another_life_whatever_init_does() {
    let guest = Guest::new("restart");
    assert_eq!(guest.client("restart", &[]).code, Some(2));
    // It has a handler for no signal, so SIGINT does nothing to it.
    let running = guest.start("say up , forever");
    guest.wait_said("up");
    let first = guest.init();
    ok(&guest, "restart", &["-t", "1"]);
    assert_ne!(guest.init(), first);
    let info = guest.client("info", &["--json"]).stdout;
    assert!(info.contains("\"restarts\":1") && info.contains("\"last_exit\":\"was killed by signal 9\""), "{info}");
    ok(&guest, "stop", &["-k"]);
    assert_eq!(running.wait().code, Some(0));
    guest.assert_nothing_left();
}

#[test]
fn stop_that_is_too_late_names_who_is_stuck() {
    let guest = Guest::new("stuck");
    let running = guest.start("say up , forever");
    guest.wait_said("up");
    let ended = guest.client("stop", &["--nokill", "-t", "1"]);
    assert_eq!(ended.code, Some(1), "{ended}");
    let expected = format!("still there: pid {} (init), state ", guest.init());
    assert!(ended.stderr.contains(&expected), "{ended}");
    ok(&guest, "stop", &["-k"]);
    running.wait();
}

#[test]
fn monitor_tells_every_state_and_exit_of_all_lives() {
    let guest = Guest::new("monitor");
    guest.install("");
    let monitor = Running::new(&guest, guest.tool("monitor", &[]));
    // It begins before the container, and is told of it.
    wait_until("the monitor to wait", || {
        let wait = std::fs::read_to_string(format!("/proc/{}/wchan", monitor.pid())).unwrap_or_default();
        wait.contains("poll")
    });
    let running = guest.start("signals 1 , restart-times 1 , exit 7");
    let told = |what: &str| monitor.stdout().matches(what).count();
    // Each life goes on when the monitor knows of it: of the first the beginning may be missed, no more.
    for life in 1..=2 {
        wait_until("the life to be told", || told("[RUNNING]") == life);
        wait_until("the guest to listen", || guest.results().matches("ready").count() == life);
        running.signal(libc::SIGUSR1);
    }
    running.wait();
    wait_until("the end to be told", || told("[STOPPED]") == 2);
    let name = guest.name();
    let told = monitor.stdout();
    let told: Vec<&str> = told.lines().collect();
    let life = |code: i32| {
        let state = |state: &str| format!("'{name}' changed state to [{state}]");
        let exit = format!("'{name}' exited with status [{code}]");
        [state("STARTING"), state("RUNNING"), exit, state("STOPPING"), state("STOPPED")]
    };
    let expected = [life(0), life(7)].concat();
    assert!(expected.ends_with(&told.iter().map(ToString::to_string).collect::<Vec<_>>()), "{told:?}");
    assert!(told.len() >= 9, "{told:?}");
    monitor.signal(libc::SIGTERM);
    monitor.wait();
    guest.assert_nothing_left();
}

/// Our `console` on a pty of its own: its terminal, and the process.
fn console<'g>(guest: &'g Guest, words: &[&str]) -> (File, Running<'g>) {
    let (ours, theirs) = sandbox::pty(80, 24);
    let mut command = guest.tool("console", words);
    let end = || Stdio::from(theirs.try_clone().unwrap());
    command.stdin(end()).stdout(end()).stderr(end());
    let process = Running::spawn(guest, command);
    (File::from(ours), process)
}

/// Reads a terminal until `text` has come.
fn read_until(terminal: &mut File, text: &str) -> String {
    let (mut seen, mut chunk) = (String::new(), [0; 4096]);
    while !seen.contains(text) {
        let mut fds = [nix::poll::PollFd::new(terminal.as_fd(), nix::poll::PollFlags::POLLIN)];
        assert!(nix::poll::poll(&mut fds, 20_000_u16).unwrap() > 0, "waited for {text:?}, saw {seen:?}");
        let length = terminal.read(&mut chunk).unwrap();
        seen.push_str(&String::from_utf8_lossy(&chunk[..length]));
    }
    seen
}

#[test]
fn several_viewers_see_the_console_and_each_may_type() {
    let guest = Guest::new("console_views").config("lxc.console.path =");
    let running = guest.start("say up , echo 3 , exit 0");
    guest.wait_said("up");
    let (mut one, first) = console(&guest, &["-t", "0"]);
    let (mut two, second) = console(&guest, &["-t", "0", "-e", "b"]);
    read_until(&mut one, "Connected to tty 0");
    read_until(&mut two, "Ctrl+b");
    one.write_all(b"from one\r").unwrap();
    read_until(&mut one, "echo: from one");
    read_until(&mut two, "echo: from one");
    two.write_all(b"from two\r").unwrap();
    read_until(&mut one, "echo: from two");
    // One leaves by its key; the other stays.
    two.write_all(b"\x02q").unwrap();
    assert_eq!(second.wait().code, Some(0));
    one.write_all(b"last\r").unwrap();
    read_until(&mut one, "echo: last");
    assert_eq!(running.wait().code, Some(0));
    assert_eq!(first.wait().code, Some(0));
    guest.assert_nothing_left();
}

#[test]
fn viewer_that_stops_reading_stalls_nobody() {
    let guest = Guest::new("console_stalled").config("lxc.console.path =\nlxc.console.buffer.size = 64kB");
    let running = guest.start("say up , echo 1 , spew 100000000 , print the end , say done , forever");
    guest.wait_said("up");
    let stalled = lend(&guest, 0).expect("a view of the console");
    // Nobody ever reads it. The input starts the flood.
    let mut view = File::from(stalled.0);
    view.write_all(b"go\r").unwrap();
    wait_until("the guest to be heard", || state(&guest) == "RUNNING");
    guest.wait_said("done");
    assert_eq!(state(&guest), "RUNNING");
    let tail = guest.client("console", &["--log"]).stdout;
    assert!(tail.ends_with("the end\r\n"), "{}", &tail[tail.len().saturating_sub(100)..]);
    assert_eq!(tail.len(), 64 * 1024);
    // Looking takes nothing away.
    assert_eq!(guest.client("console", &["--log"]).stdout, tail);
    drop((view, stalled.1));
    ok(&guest, "stop", &["-k"]);
    running.wait();
    guest.assert_nothing_left();
}

/// Borrows a tty over the socket, as a client does that then never reads: its master, and the connection that holds it.
fn lend(guest: &Guest, number: i64) -> Option<(OwnedFd, UnixStream)> {
    let name = format!("{}/command", guest.dir().display());
    let mut stream = UnixStream::connect_addr(&SocketAddr::from_abstract_name(name).unwrap()).unwrap();
    stream.write_all(&[&0_u64.to_ne_bytes()[..], &number.to_ne_bytes()].concat()).unwrap();
    Some((sandbox::receive_fd(&stream)?, stream))
}

#[test]
fn tty_is_lent_to_one_client_at_a_time() {
    let guest = Guest::new("console_ttys").config("lxc.tty.max = 2\nlxc.pty.max = 8");
    let running = guest.start("report , say up , forever");
    guest.wait_said("up");
    let one = lend(&guest, -1).expect("the first tty");
    let two = lend(&guest, 2).expect("the second");
    assert!(lend(&guest, -1).is_none() && lend(&guest, 1).is_none() && lend(&guest, 3).is_none());
    // What is written to the guest's end comes out at ours.
    let mut tty = File::from(one.0);
    File::options().write(true).open(guest_path(&guest, "dev/tty1")).unwrap().write_all(b"hello\n").unwrap();
    read_until(&mut tty, "hello");
    drop(one.1);
    wait_until("the tty to be free again", || lend(&guest, 1).is_some());
    drop(two);
    let (mut terminal, process) = console(&guest, &["-t", "2"]);
    read_until(&mut terminal, "Connected to tty 2");
    // It ends with the container.
    ok(&guest, "stop", &["-k"]);
    assert_eq!(process.wait().code, Some(0));
    running.wait();
    let none = guest.client("console", &[]);
    assert_eq!(none.code, Some(1), "{none}");
    guest.assert_nothing_left();
}

/// A path inside the container, by init's root.
fn guest_path(guest: &Guest, path: &str) -> String {
    format!("/proc/{}/root/{path}", guest.init())
}
