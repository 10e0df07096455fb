//! `freeze` and `unfreeze`: stop the clocks of all processes of a container, and let them go on.

use super::prepass::Operands;
use super::{Call, FAILED, Outcome, parse, seconds};
use crate::cgroup::find;
use crate::control::client::{Container, Failure};
use crate::limits;
use crate::state::State;
use crate::text::{Arena, PathText, shown};
use argh::{ArgsInfo, FromArgs};
use core::time::Duration;
use nix::errno::Errno;
use std::time::Instant;

/// Freezes all processes of a container (or thaws them) and waits until it is done. Exit code: 0 done, 1 not.
#[derive(FromArgs, ArgsInfo)]
struct Args {
    /// seconds to wait; without it for as long as it takes
    #[argh(option, short = 't', arg_name = "SEC", from_str_fn(seconds))]
    timeout: Option<Option<u32>>,
}

/// `freeze`
pub fn freeze(call: &Call<'_>) -> Outcome {
    run(call, true)
}

/// `unfreeze`
pub fn unfreeze(call: &Call<'_>) -> Outcome {
    run(call, false)
}

fn run(call: &Call<'_>, frozen: bool) -> Outcome {
    let mut line = parse::<Args>(call, Operands::Anywhere, "")?;
    let target = line.only_target()?;
    let deadline = line.args.timeout.flatten().map(|span| Instant::now() + Duration::from_secs(span.into()));
    match set(&target.container(), frozen, deadline) {
        Ok(()) => Ok(0),
        Err(failure) => {
            line.fail(format_args!("{} '{}': {failure}", call.verb, shown(target.name)));
            Err(FAILED)
        }
    }
}

/// Freezes or thaws a container, whoever supervises it.
pub fn set(container: &Container<'_>, frozen: bool, deadline: Option<Instant>) -> Result<(), Failure> {
    match container.set_frozen(frozen, deadline) {
        // LXC's supervisor does it for cgroup v2 alone, and leaves v1 to the client.
        Err(Failure::Refused(Errno::ENOSYS | Errno::EINVAL | Errno::ENOENT | Errno::EPERM)) => {
            by_ourselves(container, frozen, deadline)
        }
        other => other,
    }
}

/// Writes v1's freezer, waits for it, and tells the supervisor, as LXC's tools do.
fn by_ourselves(container: &Container<'_>, frozen: bool, deadline: Option<Instant>) -> Result<(), Failure> {
    let path = container.cgroup(c"freezer")?;
    let mut storage = vec![0; limits::INIT_TEXT_BYTES];
    let arena = Arena::new(&mut storage);
    let hierarchies = crate::cgroup::host::hierarchies(&arena).map_err(|_| Failure::Os(Errno::ENOENT))?;
    let freezer = hierarchies.iter().find(|hierarchy: &&find::Hierarchy<'_>| hierarchy.has(b"freezer"));
    let freezer = freezer.ok_or(Failure::Os(Errno::EOPNOTSUPP))?;
    let file = PathText::join(&[freezer.mountpoint.to_bytes(), &path, b"/freezer.state"]);
    let file: PathText = file.map_err(|_| Failure::Os(Errno::ENAMETOOLONG))?;
    let goal: &[u8] = if frozen { b"FROZEN" } else { b"THAWED" };
    if frozen {
        container.serve(State::Freezing)?;
    }
    // Written again and again: a task that forks while it is being frozen may keep v1 from getting there.
    loop {
        crate::cgroup::limit::write_file(file.c(), goal).map_err(Failure::Os)?;
        if crate::cgroup::limit::read(file.c()).map_err(Failure::Os)?.as_slice() == goal {
            break;
        }
        if deadline.is_some_and(|end| end <= Instant::now()) {
            return Err(Failure::TimedOut);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    if !frozen {
        container.serve(State::Thawed)?;
    }
    container.serve(if frozen { State::Frozen } else { State::Running })
}
