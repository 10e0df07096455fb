//! Those who talk to a running supervisor: our own commands, LXC's tools, and clients that mean harm.

use crate::support::races::rounds;
use crate::support::{Guest, Running, binary, is_64_bit, sandbox, skip, wait_until};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use std::io::{IoSlice, Read, Write};
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::time::Duration;

/// A connection to the supervisor's command socket.
pub fn connect(guest: &Guest) -> UnixStream {
    let name = format!("{}/command", guest.dir().display());
    let stream = UnixStream::connect_addr(&SocketAddr::from_abstract_name(name).unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// A request of the 64-bit protocol: command, length of the data that follows, an unused pointer.
pub fn request(command: i32, length: i32) -> Vec<u8> {
    [&command.to_ne_bytes()[..], &length.to_ne_bytes(), &[0; 8]].concat()
}

fn state(guest: &Guest) -> String {
    guest.client("info", &["-s", "-H"]).stdout.trim().to_owned()
}

#[test]
fn info_tells_state_and_pid() {
    let guest = Guest::new("info");
    guest.install("");
    assert_eq!(state(&guest), "STOPPED");
    assert_eq!(guest.client("info", &["-p", "-H"]).stdout, "");
    let running = guest.start("signals 1 , exit 2");
    guest.wait_said("ready");
    assert_eq!(state(&guest), "RUNNING");
    let pid: i32 = guest.client("info", &["-p", "-H"]).stdout.trim().parse().unwrap();
    assert_eq!(guest.pids(), [pid]);
    let text = guest.client("info", &[]).stdout;
    for line in [
        format!("{:<15} {}", "Name:", guest.name()),
        format!("{:<15} RUNNING", "State:"),
        format!("{:<15} {pid}", "PID:"),
    ] {
        assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
    }
    running.signal(libc::SIGTERM);
    running.wait();
    assert_eq!(state(&guest), "STOPPED");
}

#[test]
fn info_of_an_unknown_container_fails() {
    let guest = Guest::new("info_unknown").without_config();
    std::fs::remove_dir_all(guest.dir()).unwrap();
    let ended = guest.client("info", &["-s"]);
    assert_eq!(ended.code, Some(1), "{ended}");
    assert!(ended.stderr.contains(guest.name()), "{ended}");
}

#[test]
fn stop_kill_ends_the_container_well_and_for_good() {
    let guest = Guest::new("stop_kill").config("monopod.restart.when = always");
    let running = guest.start("say up , forever");
    guest.wait_said("up");
    let stopped = guest.client("stop", &["-k"]);
    assert_eq!(stopped.code, Some(0), "{stopped}");
    assert_eq!(state(&guest), "STOPPED");
    let ended = running.wait();
    assert_eq!(ended.code, Some(0), "{ended}");
    guest.assert_nothing_left();
}

#[test]
fn stop_asks_init_first() {
    let guest = Guest::new("stop_clean").config("lxc.signal.halt = SIGUSR2");
    let running = guest.start("signals 1 , poweroff");
    guest.wait_said("ready");
    let stopped = guest.client("stop", &["-t", "20"]);
    assert_eq!(stopped.code, Some(0), "{stopped}");
    assert_eq!(running.wait().code, Some(0));
    assert_eq!(guest.results(), "ready\nsignal 12\n");
    guest.assert_nothing_left();
}

#[test]
fn stop_kills_an_init_that_will_not_listen() {
    let guest = Guest::new("stop_deaf");
    let running = guest.start("say up , forever");
    guest.wait_said("up");
    let stopped = guest.client("stop", &["-t", "1"]);
    assert_eq!(stopped.code, Some(0), "{stopped}");
    assert_eq!(running.wait().code, Some(0));
    guest.assert_nothing_left();
}

#[test]
fn stop_reboot_lets_it_live_again() {
    let guest = Guest::new("stop_reboot").config("lxc.signal.reboot = SIGUSR1\nmonopod.restart.delay = 0ms");
    let running = guest.start("say life , signals 1 , restart-times 1 , exit 3");
    guest.wait_said("ready");
    let stopped = guest.client("stop", &["-r"]);
    assert_eq!(stopped.code, Some(0), "{stopped}");
    wait_until("the second life", || guest.results() == "life\nready\nsignal 10\nlife\nready\n");
    running.signal(libc::SIGTERM);
    assert_eq!(running.wait().code, Some(3));
}

#[test]
fn stop_of_nothing_is_2() {
    let guest = Guest::new("stop_nothing");
    guest.install("");
    let ended = guest.client("stop", &[]);
    assert_eq!(ended.code, Some(2), "{ended}");
}

#[test]
fn wait_returns_when_the_state_is_reached() {
    let guest = Guest::new("wait");
    guest.install("");
    let waiting = Running::new(&guest, guest.tool("wait", &["-s", "RUNNING", "-t", "20"]));
    let running = guest.start("signals 1 , exit 0");
    let ended = waiting.wait();
    assert_eq!(ended.code, Some(0), "{ended}");
    let late = guest.client("wait", &["-s", "STOPPED", "-t", "1"]);
    assert_eq!(late.code, Some(1), "{late}");
    let waiting = Running::new(&guest, guest.tool("wait", &["-s", "STOPPED|FROZEN", "-t", "20"]));
    guest.wait_said("ready");
    running.signal(libc::SIGTERM);
    assert_eq!(running.wait().code, Some(0));
    assert_eq!(waiting.wait().code, Some(0));
}

#[test]
fn state_is_told_while_a_hook_runs_and_between_lives() {
    let guest = Guest::new("states").config("monopod.restart.delay = 60s");
    let hook = guest.script("hook", "echo > $dir/hooked\nwhile [ ! -e $dir/go ]; do sleep 0.01; done");
    let guest = guest.config(&format!("lxc.hook.pre-start = {hook}"));
    let mut running = guest.start("say life , restart");
    wait_until("the hook", || guest.dir().join("hooked").exists());
    assert_eq!(state(&guest), "STARTING");
    std::fs::write(guest.dir().join("go"), "").unwrap();
    // Two short lives; the third start waits for its delay. Being asked to stop ends the wait.
    wait_until("two lives", || guest.results().lines().count() == 2 && guest.pids().is_empty());
    assert!(running.is_running());
    assert_eq!(guest.client("stop", &["-k"]).code, Some(0));
    assert_eq!(running.wait().code, Some(0));
    guest.assert_nothing_left();
}

#[test]
fn stock_tools_of_lxc_work_on_our_container() {
    let test = "stock_tools_of_lxc_work_on_our_container";
    let guest = Guest::new("stock").config("lxc.signal.halt = SIGUSR2");
    let Some(waiting) = guest.stock_tool("wait", &["-s", "RUNNING", "-t", "20"]) else {
        return skip(test, "LXC's own tools are not installed (package lxc)", true);
    };
    // There is a pointer in LXC's requests.
    if is_64_bit(&binary()) != cfg!(target_pointer_width = "64") {
        return skip(test, "LXC's own tools are of another word size than the binary under test", false);
    }
    let stock = |tool: &str, words: &[&str]| Running::new(&guest, guest.stock_tool(tool, words).unwrap()).wait();
    guest.install("");
    let waiting = Running::new(&guest, waiting);
    let running = guest.start("signals 5");
    let waited = waiting.wait();
    assert_eq!(waited.code, Some(0), "{waited}");
    guest.wait_said("ready");
    let info = stock("info", &["-s", "-H"]);
    assert_eq!(info.stdout, "RUNNING\n", "{info}");
    let pid = stock("info", &["-p", "-H"]);
    assert_eq!(pid.stdout, format!("{}\n", guest.init()), "{pid}");
    let listed = stock("stop", &["-k"]);
    assert_eq!(listed.code, Some(0), "{listed}");
    assert_eq!(running.wait().code, Some(0));
    let stopped = stock("info", &["-s", "-H"]);
    assert_eq!(stopped.stdout, "STOPPED\n", "{stopped}");
    guest.assert_nothing_left();
}

#[test]
fn lying_and_silent_clients_hold_up_nobody() {
    let guest = Guest::new("hostile");
    let running = guest.start("signals 1 , exit 1");
    guest.wait_said("ready");
    let fds = || std::fs::read_dir(format!("/proc/{}/fd", running.pid())).unwrap().count();
    let before = fds();
    let frames = [
        request(3, 100), // promises data that never comes
        request(3, -1),
        request(3, i32::MAX),
        request(-1, 0),
        request(1 << 20, 0),
        vec![0xff; 24],
        vec![3], // one byte, then silence
        vec![0xaa; 4096],
    ];
    let mut held: Vec<UnixStream> = Vec::new();
    for frame in frames.iter().cycle().take(200) {
        let mut stream = connect(&guest);
        // It may have hung up on us already.
        let _ = stream.write_all(frame);
        held.push(stream);
    }
    assert_eq!(state(&guest), "RUNNING");
    // Each gets an answer or the door, none is kept for ever.
    for mut stream in held {
        let _ = stream.read(&mut [0; 4096]).map_err(|e| assert_ne!(e.kind(), std::io::ErrorKind::WouldBlock, "kept"));
    }
    wait_until("the descriptors of the clients to be closed", || fds() <= before);
    assert_eq!(state(&guest), "RUNNING");
    running.signal(libc::SIGTERM);
    assert_eq!(running.wait().code, Some(1));
    guest.assert_nothing_left();
}

#[test]
fn crowd_of_idle_connections_leaves_room_for_others() {
    let guest = Guest::new("crowd");
    let running = guest.start("signals 1 , exit 1");
    guest.wait_said("ready");
    let crowd: Vec<UnixStream> = (0..500).map(|_| connect(&guest)).collect();
    let fds = std::fs::read_dir(format!("/proc/{}/fd", running.pid())).unwrap().count();
    assert!(fds < 200, "{fds} descriptors");
    // It may take until the idle ones have been shown out.
    wait_until("an answer", || state(&guest) == "RUNNING");
    drop(crowd);
    running.signal(libc::SIGTERM);
    assert_eq!(running.wait().code, Some(1));
}

#[test]
fn descriptors_that_clients_send_along_are_closed() {
    let guest = Guest::new("rights");
    let running = guest.start("signals 1 , exit 1");
    guest.wait_said("ready");
    let fds = || std::fs::read_dir(format!("/proc/{}/fd", running.pid())).unwrap().count();
    let before = fds();
    let file = std::fs::File::open("/dev/null").unwrap();
    let rights = [file.as_raw_fd(); 200];
    for round in 0..200 {
        let stream = connect(&guest);
        let frame = if round % 2 == 0 { request(3, 0) } else { vec![0xff; 24] };
        let beside = [ControlMessage::ScmRights(&rights)];
        let _ = sendmsg::<()>(stream.as_raw_fd(), &[IoSlice::new(&frame)], &beside, MsgFlags::MSG_NOSIGNAL, None);
        // It never has them, not even until it looks.
        assert!(fds() <= before + 40, "{} descriptors", fds());
    }
    assert_eq!(state(&guest), "RUNNING");
    wait_until("the clients to be gone", || fds() <= before);
    running.signal(libc::SIGTERM);
    assert_eq!(running.wait().code, Some(1));
    guest.assert_nothing_left();
}

#[test]
fn client_that_has_said_all_and_only_listens_is_answered() {
    let guest = Guest::new("half_closed");
    let running = guest.start("signals 1 , exit 1");
    guest.wait_said("ready");
    let mut stream = connect(&guest);
    stream.write_all(&request(3, 0)).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let pointer = if is_64_bit(&binary()) { 8 } else { 4 };
    assert_eq!(answer.len(), 8 + pointer, "{answer:?}");
    // One that does not listen is nobody's problem but its own.
    for _ in 0..50 {
        let mut stream = connect(&guest);
        stream.shutdown(std::net::Shutdown::Read).unwrap();
        let _ = stream.write_all(&request(3, 0));
    }
    assert_eq!(state(&guest), "RUNNING");
    running.signal(libc::SIGTERM);
    assert_eq!(running.wait().code, Some(1));
}

#[test]
fn client_of_another_user_is_shown_out_unheard() {
    let guest = Guest::new("other_user");
    let running = guest.start("signals 1 , exit 1");
    guest.wait_said("ready");
    let name = format!("{}/command", guest.dir().display());
    let heard = sandbox::as_user(54_321, move || {
        let address = SocketAddr::from_abstract_name(name).unwrap();
        // State, pid, config, tty, stop: none of it is for others.
        [3, 4, 7, 0, 2].map(|command| {
            let mut stream = UnixStream::connect_addr(&address).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let _ = stream.write_all(&request(command, 0));
            // The end of the connection, or its reset where our request lay unread.
            stream.read(&mut [0; 64]).unwrap_or(0)
        })
    });
    assert_eq!(heard, [0; 5]);
    assert_eq!(state(&guest), "RUNNING");
    running.signal(libc::SIGTERM);
    assert_eq!(running.wait().code, Some(1));
    guest.assert_nothing_left();
}

#[test]
fn frames_of_any_bytes_change_nothing() {
    let guest = Guest::new("noise");
    let running = guest.start("signals 1 , exit 1");
    guest.wait_said("ready");
    let fds = || std::fs::read_dir(format!("/proc/{}/fd", running.pid())).unwrap().count();
    let (before, init) = (fds(), guest.init());
    let mut seed = 7u64;
    let mut next = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as u32
    };
    for round in 0..rounds(5_000) {
        let mut stream = connect(&guest);
        // Half of them look like a request, of any command but STOP (2), with any length.
        let mut frame: Vec<u8> = (0..next() % 96).map(|_| next() as u8).collect();
        let command = next() % 24;
        if round % 2 == 0 && command != 2 {
            let length = [next() as i32, (next() % 100) as i32, -1, 0][round / 2 % 4];
            frame = [request(command as i32, length), frame].concat();
        } else if frame.starts_with(&[2, 0, 0, 0]) {
            continue;
        }
        let _ = stream.write_all(&frame);
        if round % 1_000 == 0 {
            assert_eq!(state(&guest), "RUNNING", "after {round}");
        }
    }
    // A frame may have asked for a freeze.
    guest.client("unfreeze", &[]);
    assert_eq!(state(&guest), "RUNNING");
    wait_until("the clients to be gone", || fds() <= before);
    assert_eq!(guest.init(), init);
    running.signal(libc::SIGTERM);
    assert_eq!(running.wait().code, Some(1));
    guest.assert_nothing_left();
}
