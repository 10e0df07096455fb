//! Which processes keep a container from ending, for the report of `stop`.

use crate::control::client::Container;
use crate::supervise::stuck;

/// How many are named: the screen is small, and one is enough to know where to look.
const MOST: usize = 8;

/// The container's processes as `pid 12 (name), state D in wait_on_page`, those in uninterruptible sleep first.
pub fn processes(container: &Container<'_>) -> Vec<String> {
    let mut found = Vec::new();
    let init = container.init_pid().ok().flatten().and_then(|pid| u64::try_from(pid).ok());
    let Some(namespace) = init.and_then(stuck::namespace_of) else { return found };
    stuck::for_each(namespace, &mut |process| match process.state {
        b'Z' => {}
        b'D' => found.insert(0, process.to_string()),
        _ => found.push(process.to_string()),
    });
    found.truncate(MOST);
    found
}
