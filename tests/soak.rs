//! The long run: restarts, client calls, orphans and idling leave the supervisor as it was. `make soak` makes it long; else each
//! is a short one.

use crate::support::{Guest, binary, emulated, is_static, leaks, wait_for, wait_until};
use std::fs;
use std::io::{Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::time::Duration;

/// A page or two that are written for the first time, in kB.
const PAGES_KB: u64 = 8;

/// How often: `long` under `make soak`; a part of that with `MONOPOD_SOAK=10` (a tenth).
pub fn times(short: u32, long: u32) -> u32 {
    match std::env::var("MONOPOD_SOAK") {
        Ok(part) => long / part.parse::<u32>().unwrap_or(1).max(1),
        Err(_) => short,
    }
}

/// Has as many clients at once as there are places for them: each takes memory when it is first needed, and keeps it.
pub fn touch_slots(address: &SocketAddr) {
    let request = [&3_i32.to_ne_bytes()[..], &[0; 11]].concat();
    let mut clients: Vec<_> = (0..64).map(|_| UnixStream::connect_addr(address).unwrap()).collect();
    for client in &mut clients {
        // All but its last byte. Who is turned away for a later one has had his place.
        let _ = client.write_all(&request);
    }
    wait_until("the last one to be answered", || {
        let last = clients.last_mut().unwrap();
        last.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        last.write_all(&[0]).is_ok() && last.read(&mut [0; 64]).is_ok_and(|got| got >= 16)
    });
}

/// What a process holds.
#[derive(Debug, PartialEq, Eq)]
pub struct Held {
    descriptors: usize,
    own_kb: u64,
    switches: u64,
    cgroups: usize,
}

impl Held {
    /// What it holds now.
    pub fn by(pid: i32, guest: &Guest) -> Held {
        let text = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap();
        let number = |text: &str, key: &str| -> u64 {
            let line = text.lines().find(|line| line.starts_with(key)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        Held {
            descriptors: fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count(),
            own_kb: number(&text("smaps_rollup"), "Anonymous:"),
            switches: number(&text("status"), "voluntary_ctxt_switches:"),
            cgroups: leaks::cgroups(guest).len(),
        }
    }

    /// Whether it holds as many descriptors and cgroups as before.
    pub fn has_put_back(&self, before: &Held) -> bool {
        (self.descriptors, self.cgroups) == (before.descriptors, before.cgroups)
    }

    /// Fails if it has gained anything; prints a row of the table that `make soak` shows.
    #[track_caller]
    pub fn assert_as_before(&self, before: &Held, what: &str) {
        let kb = self.own_kb as i64 - before.own_kb as i64;
        println!(
            "| {what} | {} | {kb} | {} |",
            self.descriptors as i64 - before.descriptors as i64,
            self.cgroups as i64 - before.cgroups as i64
        );
        assert!(self.has_put_back(before), "{what}: {self:?}, before {before:?}");
        // A sanitizer writes down what it has seen, and keeps for a while what was freed.
        let allowed = if is_static(&binary()) { PAGES_KB } else { 1024 };
        assert!(self.own_kb <= before.own_kb + allowed, "{what}: {self:?}, before {before:?}");
    }

    /// Waits until a process rests: until nothing has changed for a moment.
    pub fn at_rest(pid: i32, guest: &Guest) -> Held {
        let mut last = Held::by(pid, guest);
        wait_until("the supervisor to rest", || {
            std::thread::sleep(Duration::from_millis(200));
            let now = Held::by(pid, guest);
            core::mem::replace(&mut last, now) == last
        });
        last
    }
}

#[test]
fn soak_of_restarts_gains_nothing() {
    let count = times(100, 10_000);
    let guest = Guest::new("soak_restarts").config(&format!(
        "monopod.restart.delay = 0ms\nmonopod.restart.uptime = 0\nmonopod.restart.budget = {}\nmonopod.restart.window = 1",
        count + 10
    ));
    // The first lives touch what every life touches.
    let steps =
        format!("restart-times 10 , say life , await-file /go , restart-times {} , signals 1 , exit 3", count + 10);
    let running = guest.start(&steps);
    guest.wait_said("life");
    guest.wait_running();
    let before = Held::by(running.pid(), &guest);
    fs::write(guest.rootfs().join("go"), "").unwrap();
    assert!(wait_for(Duration::from_secs(3600), || guest.results().contains("ready")), "{}", guest.results());
    wait_until("the last start to be over", || Held::by(running.pid(), &guest).has_put_back(&before));
    Held::by(running.pid(), &guest).assert_as_before(&before, &format!("{count} restarts"));
    running.signal(libc::SIGTERM);
    assert_eq!(running.wait().code, Some(3));
    guest.assert_nothing_left();
}

#[test]
fn soak_of_client_calls_gains_nothing() {
    if emulated("soak_of_client_calls_gains_nothing", "the word size of the protocol is another") {
        return;
    }
    let count = times(1_000, 100_000);
    let guest = Guest::new("soak_calls");
    let running = guest.start("signals 1 , exit 3");
    guest.wait_said("ready");
    let address = SocketAddr::from_abstract_name(format!("{}/command", guest.dir().display())).unwrap();
    let call = |command: i32| {
        let mut stream = UnixStream::connect_addr(&address).unwrap();
        stream.write_all(&[&command.to_ne_bytes()[..], &[0; 12]].concat()).unwrap();
        assert!(stream.read(&mut [0; 64]).unwrap() >= 16);
    };
    // GET_STATE, GET_INIT_PID, GET_CLONE_FLAGS, GET_NAME, GET_LXCPATH
    let commands = [3, 4, 5, 8, 9];
    // The first calls touch the places that clients have, once and for all.
    touch_slots(&address);
    commands.iter().cycle().take(500).for_each(|command| call(*command));
    guest.wait_running();
    let before = Held::at_rest(running.pid(), &guest);
    commands.iter().cycle().take(count as usize).for_each(|command| call(*command));
    wait_until("the clients to be gone", || Held::by(running.pid(), &guest).has_put_back(&before));
    Held::by(running.pid(), &guest).assert_as_before(&before, &format!("{count} client calls"));
    running.signal(libc::SIGTERM);
    assert_eq!(running.wait().code, Some(3));
    guest.assert_nothing_left();
}

#[test]
fn soak_of_idling_wakes_nobody() {
    if emulated("soak_of_idling_wakes_nobody", "the emulator has threads of its own") {
        return;
    }
    let seconds = times(1, 1_200);
    let guest = Guest::new("soak_idle");
    let running = guest.start("signals 1 , exit 3");
    guest.wait_said("ready");
    guest.wait_running();
    // What the start leaves to do is done when nothing has happened for a while.
    let last = Held::at_rest(running.pid(), &guest);
    std::thread::sleep(Duration::from_secs(seconds.into()));
    let after = Held::by(running.pid(), &guest);
    after.assert_as_before(&last, &format!("{seconds} s idle, {} wake-ups", after.switches - last.switches));
    assert_eq!(after, last);
    running.signal(libc::SIGTERM);
    assert_eq!(running.wait().code, Some(3));
    guest.assert_nothing_left();
}
