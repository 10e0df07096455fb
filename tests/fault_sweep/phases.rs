//! The phases of a container's life that faults are swept through: how each is driven, and what is looked at after it.

use super::Point;
use super::judge::{Verdict, killed, may_be_silent, may_leave, must_be_unchanged};
use crate::faults;
use crate::support::injector::{Call, Fault, Injected};
use crate::support::{Ended, Guest, Running, binary, leaks, wait_for};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Longest that anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

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
    fn steps(self) -> &'static str {
        match self {
            Phase::Restart => "restart-times 1 , report , exit 7",
            Phase::Stop | Phase::Attach => "signals 1 , exit 7",
            Phase::Steady => "say up , await-file /go , orphans 3 , spew 6500 , say done , signals 1 , exit 7",
            _ => "report , exit 7",
        }
    }

    /// The code that it ends with when nothing happens. Who is asked to stop has no other end.
    fn code(self) -> i32 {
        if self.reports() { 7 } else { 0 }
    }

    /// Whether init says what it is like, and ends by itself.
    fn reports(self) -> bool {
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

    fn start<'g>(self, guest: &'g Guest, point: &[(Call, Fault)], records: bool) -> Injected<'g> {
        for file in ["report", "count", "results", "go"] {
            let _ = fs::remove_file(guest.rootfs().join(file));
        }
        Injected::start(guest, guest.start_command(self.steps()), point, records)
    }

    fn attach<'g>(self, guest: &'g Guest, point: &[(Call, Fault)], records: bool) -> Injected<'g> {
        let _ = fs::remove_file(guest.rootfs().join("report"));
        let words = ["--", "/init", "report", ",", "print", "inside"];
        Injected::start(guest, guest.tool("attach", &words), point, records)
    }

    /// Runs the phase to its end with what drives it. Its end, if it comes, and the numbers of the first and last call in it.
    fn run<'g>(
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

/// A guest that is used for one point after the other.
pub struct Session<'g> {
    phase: Phase,
    guest: &'g Guest,
    /// What a report says when nothing happens.
    expected: String,
    /// The container that is attached to.
    running: Option<Running<'g>>,
}

impl<'g> Session<'g> {
    /// Looks what is right.
    pub fn open(phase: Phase, guest: &'g Guest) -> Self {
        let mut session = Session { phase, guest, expected: String::new(), running: None };
        match phase {
            phase if phase.reports() => {
                let injected = phase.start(guest, &[], false);
                injected.wait(PATIENCE).unwrap();
                session.expected = digest(guest, &injected);
            }
            Phase::Attach => {
                session.keep_running();
                let ended = phase.attach(guest, &[], false).wait(PATIENCE).unwrap();
                assert_eq!(ended.code, Some(0), "{ended}");
                session.expected = attached(guest);
            }
            _ => {}
        }
        session
    }

    fn keep_running(&mut self) {
        if self.running.as_mut().is_none_or(|running| !running.is_running()) {
            self.guest.clean_up();
            let _ = fs::remove_file(self.guest.rootfs().join("results"));
            self.running = Some(self.guest.start(self.phase.steps()));
            self.guest.wait_said("ready");
        }
    }

    /// The calls that a run makes after a fault.
    pub fn calls_after(&mut self, point: &[(Call, Fault)]) -> Vec<Call> {
        if self.phase == Phase::Attach {
            self.keep_running();
        }
        let (injected, ..) = self.phase.run(self.guest, point, true);
        let calls = injected.calls();
        if self.phase != Phase::Attach {
            self.guest.clean_up();
        }
        let (call, _) = &point[0];
        let same = |one: &Call| (one.process, one.name, one.nth) == (call.process, call.name, call.nth);
        let at = calls.iter().position(same);
        at.map_or(Vec::new(), |at| calls[at + 1..].to_vec())
    }

    /// Runs the phase with the faults of `point` in it.
    pub fn verdict(&mut self, point: &Point) -> Verdict {
        if self.phase == Phase::Attach {
            return self.attach_verdict(point);
        }
        let Session { phase, guest, expected, .. } = self;
        let (injected, ended, driven) = phase.run(guest, point, false);
        let Some(ended) = ended else { return Verdict::Wrong("hangs".into()) };
        let mut problems = driven.problems;
        match killed(point) {
            Some(true) => problems.extend(after_a_kill(guest)),
            who => {
                problems.extend(leaks::after_grace(guest).into_iter().filter(|_| !may_leave(point)));
                let fine = match ended.code {
                    code if code == Some(phase.code()) => {
                        expected.is_empty() || is_as(guest, &injected, &ended, expected)
                    }
                    // A process that is killed on its way to the exec counts as init.
                    Some(137) => who.is_some() || *phase == Phase::Stop,
                    Some(255) => (1..=point.len()).contains(&ended.stderr.lines().count()) || may_be_silent(point),
                    _ => false,
                };
                if !fine && ended.code == Some(phase.code()) {
                    problems.push("a lesser container".into());
                } else if !fine || must_be_unchanged(point) && ended.code != Some(phase.code()) {
                    problems
                        .push(format!("code {:?} signal {:?}, stderr:\n{}", ended.code, ended.signal, ended.stderr));
                }
            }
        }
        if !problems.is_empty() || may_leave(point) {
            guest.clean_up();
            // What it left to the next start is no fault of the next point.
            guest.run("exit 7");
        }
        match ended.code {
            _ if !problems.is_empty() => Verdict::Wrong(problems.join(", ")),
            _ if injected.hit() == 0 => Verdict::NotReached,
            code if code == Some(phase.code()) => Verdict::Unchanged,
            _ => Verdict::Refused,
        }
    }

    /// The client says so if the command does not run, and the container does not notice.
    fn attach_verdict(&mut self, point: &Point) -> Verdict {
        self.keep_running();
        let guest = self.guest;
        let (injected, ended, _) = self.phase.run(guest, point, false);
        let mut problems = Vec::new();
        let mut unchanged = false;
        match &ended {
            None => problems.push("hangs".into()),
            Some(ended) => {
                unchanged = ended.code == Some(0) && ended.stdout == "inside\n";
                // A process on its way inside that has no memory says so for itself.
                let lines = ended.stderr.lines().filter(|line| *line != "monopod: out of memory").count();
                let said = (1..=point.len()).contains(&lines) || may_be_silent(point) || killed(point).is_some();
                if unchanged && attached(guest) != self.expected {
                    problems.push("a lesser command".into());
                }
                if !unchanged && (ended.code == Some(0) || !said || must_be_unchanged(point)) {
                    problems
                        .push(format!("code {:?}, stdout {:?}, stderr:\n{}", ended.code, ended.stdout, ended.stderr));
                }
            }
        }
        let alone = || guest.pids().len() == 1 && guest.sandbox.processes().len() == 1;
        if !wait_for(Duration::from_secs(2), alone) {
            problems.push(format!("processes {:?}, outside {:?}", guest.pids(), guest.sandbox.processes()));
            self.running = None;
        }
        match injected.hit() {
            _ if !problems.is_empty() => Verdict::Wrong(problems.join(", ")),
            0 => Verdict::NotReached,
            _ if unchanged => Verdict::Unchanged,
            _ => Verdict::Refused,
        }
    }

    /// Ends what runs. What is wrong with it then.
    pub fn close(self) -> Option<String> {
        let running = self.running?;
        self.guest.client("stop", &["-t", "1"]);
        let ended = running.wait();
        let mut problems = leaks::after_grace(self.guest);
        problems.extend((ended.code != Some(0)).then(|| format!("the container: {ended}")));
        (!problems.is_empty()).then(|| problems.join(", "))
    }
}

/// The supervisor was killed: the container with it, and the next start is as the first.
fn after_a_kill(guest: &Guest) -> Vec<String> {
    let mut problems = Vec::new();
    if !wait_for(Duration::from_secs(2), || guest.pids().is_empty() && guest.sandbox.processes().is_empty()) {
        problems.push(format!("lives: {:?} {:?}", guest.pids(), guest.sandbox.processes()));
        guest.clean_up();
    }
    let again = guest.run("exit 7");
    problems.extend(leaks::after_grace(guest));
    if again.code != Some(7) {
        problems.push(format!("the next start: {again}"));
    }
    problems
}

/// Whether a descriptor is of the program under test, or of its copy.
fn is_binary(object: &str) -> bool {
    object.starts_with("/memfd:") || Path::new(object) == binary()
}

/// What driving a phase came to.
#[derive(Default)]
struct Driven {
    from: usize,
    to: Option<usize>,
    problems: Vec<String>,
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

/// What init says that it is, and the cgroups that it is in, of which it knows nothing.
fn digest(guest: &Guest, injected: &Injected<'_>) -> String {
    guest.report().digest() + &injected.cgroups()
}

/// Whether the container is the expected one. It may be without a group that could not be made, if that is said.
fn is_as(guest: &Guest, injected: &Injected<'_>, ended: &Ended, expected: &str) -> bool {
    let said = ended.stderr.contains("the container gets no group there");
    digest(guest, injected) == expected || said && expected.starts_with(&guest.report().digest())
}

/// What a command inside says that it is, without what differs from run to run.
fn attached(guest: &Guest) -> String {
    let text = guest.rootfs_file("report");
    if text.is_empty() {
        return text;
    }
    let digest = guest.report().digest();
    digest
        .lines()
        .filter(|line| !["pid:", "sid:", "fd:"].iter().any(|key| line.starts_with(key)))
        .collect::<Vec<_>>()
        .join("\n")
}
