//! What a point must come to: as if nothing had happened (the same digest of the container), or refused in one line with nothing
//! left behind. Whoever is killed takes the container along, and the next start is as the first.

use super::Point;
use crate::support::injector::Fault;

/// What came of a point.
pub enum Verdict {
    /// As if nothing had happened.
    Unchanged,
    /// Refused, or ended, in one line, with nothing left.
    Refused,
    /// The call was not made this time.
    NotReached,
    /// Anything else.
    Wrong(String),
}

impl Verdict {
    /// What is wrong, in one paragraph.
    pub fn complaint(&self, point: &Point) -> Option<String> {
        let Verdict::Wrong(why) = self else { return None };
        let places: Vec<_> = point.iter().map(|(call, fault)| place(call, fault)).collect();
        Some(format!("{}: {why}", places.join(" + ")))
    }
}

fn place(call: &crate::support::injector::Call, fault: &Fault) -> String {
    let fault = match fault {
        Fault::Errno(errno) => format!("{:?}", nix::errno::Errno::from_raw(*errno)),
        other => format!("{other:?}"),
    };
    format!("process {} {}({}) #{} {fault}", call.process, call.name, call.object, call.nth)
}

/// Whether the faults are ones that nobody may notice.
pub fn must_be_unchanged(point: &Point) -> bool {
    const WAITS: [&str; 6] = ["epoll_wait", "epoll_pwait", "poll", "ppoll", "wait4", "waitid"];
    point.iter().all(|(call, fault)| match fault {
        Fault::Short | Fault::Delay(_) => true,
        Fault::Errno(libc::EINTR) => WAITS.contains(&call.name),
        _ => false,
    })
}

/// Whether somebody is killed: None, or whether it is the first process.
pub fn killed(point: &Point) -> Option<bool> {
    point.iter().find(|(_, fault)| matches!(fault, Fault::Kill)).map(|(call, _)| call.process == 0)
}

/// Whether what must be removed is what could not be, twice.
pub fn may_leave(point: &Point) -> bool {
    const REMOVE: [&str; 4] = ["unlink", "unlinkat", "rmdir", "umount2"];
    point.len() > 1 && point.iter().any(|(call, _)| REMOVE.contains(&call.name))
}

/// Whether the line that says what is wrong may be what could not be written.
pub fn may_be_silent(point: &Point) -> bool {
    point.iter().any(|(call, fault)| matches!(fault, Fault::Errno(_)) && call.name == "write")
}
