//! Which processes keep a container from ending, for the report of `stop`.

use crate::supervise::stuck;

/// How many are named: the screen is small, and one is enough to know where to look.
const MOST: usize = 8;

/// A pid namespace's processes as `pid 12 (name), state D in wait_on_page`, those in uninterruptible sleep first.
pub fn processes(namespace: Option<u64>) -> Vec<String> {
    let mut found = Vec::new();
    let Some(namespace) = namespace else { return found };
    stuck::for_each(namespace, &mut |process| match process.state {
        b'D' => found.insert(0, process.to_string()),
        _ => found.push(process.to_string()),
    });
    found.truncate(MOST);
    found
}
