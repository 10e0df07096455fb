//! The phases of a container's life that faults are swept through: how each is driven.

use super::session::Session;
use crate::faults;
use crate::support::injector::{Call, Fault, Injected};
use crate::support::{Ended, Guest, Running, binary, wait_for};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Longest that anything may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// From the command line to init's end by itself, and what follows it.
    Start,
    /// The same with id maps and mounts that a process of the host's makes.
    #[cfg(feature = "idmap")]
    Mapped,
    /// The same with links of its own.
    #[cfg(feature = "net")]
    Linked,
    /// From a first life's reboot to the end of the second.
    Restart,
    /// From a client's stop on.
    Stop,
    /// A container that runs: clients, console output, signals, processes that come and go.
    Steady,
    /// A client that runs a command inside.
    Attach,
}

impl Phase {
    /// All of them.
    pub const ALL: &[Phase] = &[
        Phase::Start,
        #[cfg(feature = "idmap")]
        Phase::Mapped,
        #[cfg(feature = "net")]
        Phase::Linked,
        Phase::Restart,
        Phase::Stop,
        Phase::Steady,
        Phase::Attach,
    ];

    /// init's steps.
    pub fn steps(self) -> &'static str {
        match self {
            Phase::Restart => "restart-times 1 , report , exit 7",
            Phase::Stop | Phase::Attach => "signals 1 , exit 7",
            Phase::Steady => "say up , await-file /go , orphans 3 , spew 6500 , say done , signals 1 , exit 7",
            _ => "report , exit 7",
        }
    }

    /// The code that it ends with when nothing happens. Who is asked to stop has no other end.
    pub fn code(self) -> i32 {
        if self.reports() { 7 } else { 0 }
    }

    /// Whether init says what it is like, and ends by itself.
    pub fn reports(self) -> bool {
        !matches!(self, Phase::Stop | Phase::Steady | Phase::Attach)
    }

    /// A guest for it: that of the sample, with a hook, a limit, and no pauses.
    pub fn guest(self) -> Guest {
        let mut guest = faults::guest("sweep").config(
            "lxc.hook.pre-start = true
            lxc.prlimit.nofile = 512
            monopod.timeout.stop = 2s
            monopod.restart.delay = 0ms",
        );
        match self {
            #[cfg(feature = "idmap")]
            Phase::Mapped => guest.config(
                "lxc.idmap = u 0 100000 65536
                lxc.idmap = g 0 100000 65536
                lxc.rootfs.options = idmap=container
                lxc.mount.entry = {dir} mnt none bind,idmap=container 0 0",
            ),
            #[cfg(feature = "net")]
            Phase::Linked => {
                guest.sandbox.isolate_network();
                guest.sandbox.sh("ip link add br0 type bridge; ip addr add 10.9.0.1/24 dev br0; ip link set br0 up");
                guest.config(
                    "lxc.net.0.type = veth
                    lxc.net.0.link = br0
                    lxc.net.0.flags = up
                    lxc.net.0.name = wan0
                    lxc.net.0.mtu = 1400
                    lxc.net.0.ipv4.address = 10.9.0.5/24
                    lxc.net.0.ipv4.gateway = 10.9.0.1
                    lxc.net.1.type = veth",
                )
            }
            _ => guest,
        }
    }

    /// Starts the container.
    pub fn start<'g>(self, guest: &'g Guest, point: &[(Call, Fault)], records: bool) -> Injected<'g> {
        for file in ["report", "count", "results", "go"] {
            let _ = fs::remove_file(guest.rootfs().join(file));
        }
        Injected::start(guest, guest.start_command(self.steps()), point, records)
    }

    /// Runs a command in the container, which says what it is like.
    pub fn attach<'g>(self, guest: &'g Guest, point: &[(Call, Fault)], records: bool) -> Injected<'g> {
        let _ = fs::remove_file(guest.rootfs().join("report"));
        let words = ["--", "/init", "report", ",", "print", "inside"];
        Injected::start(guest, guest.tool("attach", &words), point, records)
    }

    /// Runs the phase to its end with what drives it. Its end, if it comes, and the numbers of the first and last call in it.
    pub fn run<'g>(
        self,
        guest: &'g Guest,
        point: &[(Call, Fault)],
        records: bool,
    ) -> (Injected<'g>, Option<Ended>, Driven) {
        let injected = match self {
            Phase::Attach => self.attach(guest, point, records),
            _ => self.start(guest, point, records),
        };
        let driven = match self {
            Phase::Stop => {
                wait_for(PATIENCE, || injected.has_ended() || guest.results().contains("ready"));
                let from = injected.made();
                stop(guest, &injected);
                Driven { from, ..Driven::default() }
            }
            Phase::Steady => steady(guest, &injected),
            _ => Driven::default(),
        };
        let ended = injected.wait(PATIENCE);
        (injected, ended, driven)
    }

    /// The calls of an undisturbed run of this phase.
    pub fn calls(self) -> Vec<Call> {
        let guest = self.guest();
        let _session = Session::open(self, &guest);
        let (injected, ended, driven) = self.run(&guest, &[], true);
        let ended = ended.unwrap();
        assert_eq!(ended.code, Some(self.code()), "{ended}");
        let (from, to) = match self {
            Phase::Restart => (injected.before("/init", 0).unwrap(), None),
            _ => (driven.from, driven.to),
        };
        let mut calls = injected.calls();
        calls.truncate(to.unwrap_or(calls.len()));
        let mut calls = calls.split_off(from);
        // Our own binary is copied in as many pieces as it is large; the first and the last stand for all.
        let is_copy = |call: &Call| matches!(call.name, "read" | "write") && is_binary(&call.object);
        let copies: Vec<_> = (0..calls.len()).filter(|at| is_copy(&calls[*at])).collect();
        let middle = copies.get(4..copies.len().saturating_sub(4)).unwrap_or(&[]);
        middle.iter().rev().for_each(|at| drop(calls.remove(*at)));
        calls
    }
}

/// Whether a descriptor is of the program under test, or of its copy.
fn is_binary(object: &str) -> bool {
    object.starts_with("/memfd:") || Path::new(object) == binary()
}

/// What driving a phase came to.
#[derive(Default)]
pub struct Driven {
    from: usize,
    to: Option<usize>,
    /// What went wrong on the way.
    pub problems: Vec<String>,
}

/// Runs a client, whose own failure is its own; None if it does not end.
fn client(guest: &Guest, tool: &str, words: &[&str]) -> Option<Ended> {
    let mut running = Running::new(guest, guest.tool(tool, words));
    wait_for(PATIENCE, || !running.is_running()).then(|| running.wait())
}

/// Stops the container, again where a supervisor that could not hear the first client still runs.
fn stop(guest: &Guest, injected: &Injected<'_>) {
    for _ in 0..3 {
        if !injected.has_ended() {
            client(guest, "stop", &["-t", "1"]);
        }
    }
}

/// All that a supervisor does while a container runs; then a stop.
fn steady(guest: &Guest, injected: &Injected<'_>) -> Driven {
    wait_for(PATIENCE, || injected.has_ended() || guest.results().contains("up"));
    let mut driven = Driven { from: injected.made(), ..Driven::default() };
    let mut ask = |tool: &str, words: &[&str]| {
        let ended = client(guest, tool, words);
        if ended.is_none() {
            driven.problems.push(format!("{tool} {words:?} hangs"));
        }
        ended
    };
    ask("info", &["-H"]);
    ask("info", &["-c", "lxc.uts.name"]);
    ask("wait", &["-s", "RUNNING", "-t", "0"]);
    ask("freeze", &[]);
    ask("unfreeze", &[]);
    // Somebody looks on, and is gone before the container is.
    let console = Running::new(guest, guest.tool("console", &["-t", "0"]));
    let _ = fs::write(guest.rootfs().join("go"), "");
    wait_for(PATIENCE, || injected.has_ended() || guest.results().contains("ready"));
    drop(console);
    let to = injected.made();
    // A client that came in vain comes again.
    let runs = (0..3).any(|_| {
        ask("unfreeze", &[]);
        ask("info", &["-s", "-H"]).is_some_and(|state| state.stdout.trim() == "RUNNING")
    });
    if !injected.has_ended() && !runs {
        driven.problems.push("is not RUNNING any more".into());
    }
    stop(guest, injected);
    driven.to = Some(to);
    driven
}
