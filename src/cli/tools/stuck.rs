//! Which processes keep a container from ending, for the report of `stop`.

use crate::control::client::Container;
use crate::text::Shown;
use std::fs::{read, read_link};

/// How many are named: the screen is small, and one is enough to know where to look.
const MOST: usize = 8;

/// The container's processes as `pid 12 (name), state D in wait_on_page`, those in uninterruptible sleep first.
pub fn processes(container: &Container<'_>) -> Vec<String> {
    let mut found = Vec::new();
    let Ok(Some(init)) = container.init_pid() else { return found };
    let Ok(namespace) = read_link(format!("/proc/{init}/ns/pid")) else { return found };
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let path = entry.path();
        if read_link(path.join("ns/pid")).is_ok_and(|other| other == namespace)
            && let Ok(stat) = read(path.join("stat"))
            && let Some((pid, name, state)) = parse(&stat)
            && state != b'Z'
        {
            let place = read(path.join("wchan")).unwrap_or_default();
            let at = if place.is_empty() || place == b"0" { "" } else { " in " };
            let place = if at.is_empty() { &[][..] } else { &place };
            let line = format!("pid {} ({}), state {}{at}{}", Shown(pid), Shown(name), char::from(state), Shown(place));
            if state == b'D' { found.insert(0, line) } else { found.push(line) }
        }
    }
    found.truncate(MOST);
    found
}

/// pid, name and state of a /proc/PID/stat. The name is the guest's and may hold blanks and brackets.
fn parse(stat: &[u8]) -> Option<(&[u8], &[u8], u8)> {
    let open = memchr::memchr(b'(', stat)?;
    let close = memchr::memrchr(b')', stat)?;
    Some((stat.get(..open)?.trim_ascii(), stat.get(open + 1..close)?, *stat.get(close + 2)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_with_brackets_in_the_name_is_read() {
        assert_eq!(parse(b"7 (a) b (c) D 1 7"), Some((&b"7"[..], &b"a) b (c"[..], b'D')));
        assert_eq!(parse(b"garbage"), None);
        assert_eq!(parse(b"1 (x)"), None);
    }
}
