//! A crowd at the command socket: the supervisor answers whoever asks properly, and is afterwards what it was before.

use crate::support::{Guest, Running, emulated, wait_until};
use std::io::{Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::{fs, thread};

const SILENT: usize = 1000;
const CONNECTS: usize = 10_000;
/// A page that is written for the first time meanwhile, and one that a page's copy of the program's data takes.
const PAGES_KB: u64 = 8;
/// The 32 slots for clients, each with room for a request, in kB: touched when they are first needed, kept for good.
const SLOTS_KB: u64 = 24;

fn connect(address: &SocketAddr) -> Option<UnixStream> {
    UnixStream::connect_addr(address).ok()
}

/// What no honest client sends: half headers, bodies that never come, lengths and commands that there are not, noise.
fn frames() -> Vec<Vec<u8>> {
    let request = |command: i32, length: i32| [&command.to_ne_bytes()[..], &length.to_ne_bytes(), &[0; 8]].concat();
    let half = request(3, 0)[..7].to_vec();
    let body = [request(7, 200), vec![b'x'; 100]].concat();
    let noise: Vec<u8> = (0..4096_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    vec![half, body, request(3, -1), request(3, i32::MAX), request(999, 0), request(7, 8192), vec![0xff; 64], noise]
}

/// Ends the senders of garbage, also when the test fails: who waits for their threads would wait for ever.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// 1,000 silent clients; then 10,000 that come and go, while three threads send garbage.
fn crowd(address: &SocketAddr, mut meanwhile: impl FnMut()) {
    let silent: Vec<_> = (0..SILENT).filter_map(|_| connect(address)).collect();
    assert_eq!(silent.len(), SILENT);
    meanwhile();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut held = Vec::new();
                for frame in frames().iter().cycle() {
                    if over.load(Relaxed) {
                        return;
                    }
                    let Some(mut stream) = connect(address) else { continue };
                    // The door may be shut on it in the middle.
                    let _ = stream.write_all(frame);
                    held.push(stream);
                    held.truncate(if held.len() > 40 { 0 } else { held.len() });
                }
            });
        }
        let _over = Over(&over);
        let connects = scope.spawn(|| (0..CONNECTS).filter_map(|_| connect(address)).count());
        while !connects.is_finished() {
            meanwhile();
        }
        meanwhile();
        assert_eq!(connects.join().unwrap(), CONNECTS);
    });
    drop(silent);
}

fn own_kb(pid: i32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = text.lines().find(|line| line.starts_with("Anonymous:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn descriptors(pid: i32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

#[test]
fn crowd_of_clients_leaves_answers_memory_and_descriptors_as_they_were() {
    if emulated(
        "crowd_of_clients_leaves_answers_memory_and_descriptors_as_they_were",
        "an emulated supervisor is too slow for a crowd",
    ) {
        return;
    }
    let guest = Guest::new("crowds");
    let running = guest.start("signals 1 , exit 1");
    guest.wait_said("ready");
    let name = format!("{}/command", guest.dir().display());
    let address = SocketAddr::from_abstract_name(name).unwrap();
    let pid = running.pid();
    let mut asked = 0;
    let mut ask = || {
        let info = Running::new(&guest, guest.tool("info", &["-s", "-H"])).wait();
        assert_eq!(info.stdout, "RUNNING\n", "question {asked}{info}");
        asked += 1;
    };
    ask();
    let (before, open) = (own_kb(pid), descriptors(pid));
    // The first crowd touches the fixed slots for clients, once and for all; what comes after must cost nothing.
    crowd(&address, &mut ask);
    wait_until("the clients to be gone", || descriptors(pid) == open);
    let slots = own_kb(pid);
    crowd(&address, &mut ask);
    wait_until("the clients to be gone", || descriptors(pid) == open);
    let after = own_kb(pid);
    ask();
    assert!(asked >= 8, "asked only {asked} times");
    assert!(after <= slots + PAGES_KB, "{before} kB before, {slots} after one crowd, {after} after two");
    assert!(slots <= before + SLOTS_KB + PAGES_KB, "{before} kB before, {slots} after one crowd");
    running.signal(libc::SIGTERM);
    assert_eq!(running.wait().code, Some(1));
    guest.assert_nothing_left();
}

/// One who is turned away sees the end of the connection, and no rubbish.
#[test]
fn client_turned_away_for_a_newer_one_sees_the_end() {
    if emulated("client_turned_away_for_a_newer_one_sees_the_end", "an emulated supervisor is too slow for a crowd") {
        return;
    }
    let guest = Guest::new("turned_away");
    let running = guest.start("signals 1 , exit 1");
    guest.wait_said("ready");
    let name = format!("{}/command", guest.dir().display());
    let address = SocketAddr::from_abstract_name(name).unwrap();
    let mut first = connect(&address).unwrap();
    first.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    let others: Vec<_> = (0..200).filter_map(|_| connect(&address)).collect();
    assert_eq!(first.read(&mut [0; 64]).unwrap(), 0);
    drop(others);
    running.signal(libc::SIGTERM);
    assert_eq!(running.wait().code, Some(1));
    guest.assert_nothing_left();
}
