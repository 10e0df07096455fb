//! One guest that is used for point after point, and what each comes to.

use super::Point;
use super::judge::{Verdict, killed, may_be_silent, may_leave, must_be_unchanged};
use super::phases::{PATIENCE, Phase};
use crate::support::injector::{Call, Fault, Injected};
use crate::support::{Ended, Guest, Running, leaks, wait_for};
use std::fs;
use std::time::Duration;

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
