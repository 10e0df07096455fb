//! The long run of loads: frames that nobody sends, a crowd of containers, everything mixed. Seeded, so that what fails fails
//! again. `make soak` makes it long.

use crate::soak::{Held, times, touch_slots};
use crate::support::{DEADLINE, Guest, Running, emulated, patience, wait_until};
use std::io::{Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::time::{Duration, Instant};

/// Marsaglia's xorshift.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 11) % end
    }
}

/// Commands that a stranger may well send: they change nothing. Those for a number that there is not are made of any.
const HARMLESS: [i32; 18] = [1, 3, 4, 5, 6, 7, 8, 9, 11, 17, 19, 20, 21, 23, 24, 25, 1001, 1003];
/// What really stops, freezes, or changes the container's rules: left to `soak_of_a_mixed_load`.
const MEANT: [i32; 8] = [2, 12, 14, 15, 16, 0, 10, 1000];

/// A frame: a command of ours or of nobody, with a body of the length it says, or not.
fn frame(random: &mut Random, bytes: &mut Vec<u8>) {
    let command = match random.below(4) {
        0 => random.next() as i32,
        1 => random.below(2048) as i32,
        _ => HARMLESS[random.below(HARMLESS.len() as u64) as usize],
    };
    let command = if MEANT.contains(&command) || command == 1002 { 3 } else { command };
    let length = match random.below(64) {
        0 => random.next() as i32,
        1 => -1,
        2 => 9000,
        _ => random.below(120) as i32,
    };
    bytes.extend(command.to_ne_bytes());
    bytes.extend(length.to_ne_bytes());
    bytes.extend((random.next() as usize).to_ne_bytes());
    // One in many says more than it sends.
    let sent = if random.below(100) == 0 { length / 2 } else { length };
    (0..sent.clamp(0, 9000)).for_each(|_| bytes.push(random.next() as u8));
}

/// Sends frames over connections of 64 each, until the supervisor ends it. How many went out whole.
fn throw(address: &SocketAddr, random: &mut Random) -> u32 {
    let Ok(mut stream) = UnixStream::connect_addr(address) else { return 0 };
    stream.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.set_nonblocking(true).unwrap();
    let mut bytes = Vec::new();
    for number in 0..64 {
        bytes.clear();
        frame(random, &mut bytes);
        if stream.write(&bytes).ok() != Some(bytes.len()) {
            return number;
        }
        // What it answers is taken, so that it is not in its way.
        while matches!(stream.read(&mut [0; 4096]), Ok(1..)) {}
    }
    64
}

#[test]
fn soak_of_random_frames_changes_nothing() {
    if emulated("soak_of_random_frames_changes_nothing", "the word size of the protocol is another") {
        return;
    }
    let (count, limit) = (times(5_000, 10_000_000), Duration::from_secs(times(20, 600).into()));
    let guest = Guest::new("soak_frames").config("lxc.console.path =\nlxc.console.buffer.size = 4kB");
    let running = guest.start("signals 1 , exit 3");
    guest.wait_said("ready");
    guest.wait_running();
    let address = SocketAddr::from_abstract_name(format!("{}/command", guest.dir().display())).unwrap();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    // The first ones touch what all touch.
    touch_slots(&address);
    for _ in 0..200 {
        throw(&address, &mut random);
    }
    let before = Held::at_rest(running.pid(), &guest);
    let begin = Instant::now();
    let (mut sent, mut rounds) = (0, 0_u32);
    while sent < count && begin.elapsed() < limit {
        sent += throw(&address, &mut random);
        rounds += 1;
        if rounds.is_multiple_of(20_000) {
            assert_eq!(guest.client("info", &["-s", "-H"]).stdout, "RUNNING\n", "after {sent} frames");
        }
    }
    guest.wait_running();
    wait_until("the clients to be gone", || Held::by(running.pid(), &guest).has_put_back(&before));
    Held::by(running.pid(), &guest).assert_as_before(&before, &format!("{sent} random frames"));
    running.signal(libc::SIGTERM);
    assert_eq!(running.wait().code, Some(3));
    guest.assert_nothing_left();
}

#[test]
fn soak_of_many_containers_at_once_mixes_nothing_up() {
    let count = times(8, 100) as usize;
    let guests: Vec<Guest> =
        (0..count).map(|number| Guest::new("soak_many").config(&format!("lxc.uts.name = box{number}"))).collect();
    let code = |number: usize| 3 + number as i32 % 100;
    let running: Vec<Running<'_>> = guests
        .iter()
        .enumerate()
        .map(|(number, guest)| guest.start(&format!("report , signals 1 , exit {}", code(number))))
        .collect();
    for (number, guest) in guests.iter().enumerate() {
        guest.wait_said("ready");
        assert_eq!(guest.report().one("hostname"), format!("box{number}"));
        assert_eq!(guest.client("info", &["-H", "-c", "lxc.uts.name"]).stdout.trim(), format!("box{number}"));
    }
    // Every other one, then the rest: nobody goes with another.
    for half in 0..2 {
        let ours = |number: &usize| number % 2 == half;
        (0..count).filter(ours).for_each(|number| running[number].signal(libc::SIGTERM));
        for number in (0..count).filter(ours) {
            wait_until("it to have heard", || guests[number].results().contains("signal"));
        }
        for number in (0..count).filter(|number| number % 2 > half) {
            assert_eq!(guests[number].client("info", &["-s", "-H"]).stdout, "RUNNING\n");
        }
    }
    for (number, running) in running.into_iter().enumerate() {
        assert_eq!(running.wait_at_most(2 * DEADLINE).code, Some(code(number)));
    }
    guests.iter().for_each(Guest::assert_nothing_left);
    println!("{count} containers started and stopped together: nothing left");
}

/// What the mixed load does to a container that runs. Afterwards it runs again.
fn act(guest: &Guest, random: &mut Random, address: &SocketAddr) {
    let ok = |tool: &str, words: &[&str]| {
        let ended = guest.client(tool, words);
        assert_eq!(ended.code, Some(0), "{tool} {words:?}{ended}");
        ended.stdout
    };
    match random.below(12) {
        0 => {
            ok("freeze", &[]);
            assert_eq!(ok("info", &["-s", "-H"]), "FROZEN\n");
            ok("unfreeze", &[]);
        }
        1 => assert_eq!(guest.client("attach", &["--", "/init", "exit", "5"]).code, Some(5)),
        2 => drop(ok("restart", &[])),
        3 => drop(ok("console", &["--log"])),
        4 => drop(ok("wait", &["-s", "RUNNING"])),
        5 => drop(ok("config", &[])),
        6 => drop(ok("ls", &["-f"])),
        7 => drop(ok("cgroup", &["cgroup.procs"])),
        // A client that goes away in the middle.
        8 => drop(Running::new(guest, guest.tool("wait", &["-s", "STOPPED"]))),
        _ => {
            throw(address, random);
        }
    }
    guest.wait_running();
}

#[test]
fn soak_of_a_mixed_load_gains_nothing() {
    if emulated("soak_of_a_mixed_load_gains_nothing", "the word size of the protocol is another") {
        return;
    }
    let guest = Guest::new("soak_mixed").config(
        "lxc.console.path =\nlxc.console.buffer.size = 4kB\nlxc.mount.auto = proc:mixed
         monopod.restart.delay = 0ms\nmonopod.restart.budget = 100000\nmonopod.restart.window = 1",
    );
    let running = guest.start("signals 1 , exit 3");
    guest.wait_said("ready");
    guest.wait_running();
    let address = SocketAddr::from_abstract_name(format!("{}/command", guest.dir().display())).unwrap();
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    // Each of them once, so that what they touch is touched.
    touch_slots(&address);
    (0..times(12, 60)).for_each(|_| act(&guest, &mut random, &address));
    let before = Held::at_rest(running.pid(), &guest);
    let (count, limit) = (times(12, 5_000), Duration::from_secs(times(20, 600).into()) * patience());
    let begin = Instant::now();
    let mut done = 0;
    while done < count && begin.elapsed() < limit {
        act(&guest, &mut random, &address);
        done += 1;
    }
    wait_until("the clients to be gone", || Held::by(running.pid(), &guest).has_put_back(&before));
    Held::by(running.pid(), &guest).assert_as_before(&before, &format!("{done} mixed orders"));
    assert_eq!(guest.client("stop", &["-k"]).code, Some(0));
    running.wait();
    guest.assert_nothing_left();
}
