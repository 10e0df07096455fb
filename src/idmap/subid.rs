//! /etc/subuid and /etc/subgid (subuid(5)): which ids newuidmap lets a user map. Only to say what is missing there; who decides
//! is newuidmap.

use crate::config::isolation::IdMap;
use crate::sys::fds::open;
use crate::text::{Line, number};
use core::ffi::CStr;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

/// A name as /etc/passwd has it.
pub type Name = Line<40>;

/// Whether the user's lines of the file grant all ids of the map. No file grants nothing.
pub fn grants(file: &CStr, name: &Name, own: u32, map: &IdMap) -> bool {
    // One's own id needs nobody's leave.
    let mut granted = map.count == 1 && map.outside == own;
    for_each_line(file, &mut |line| granted |= grant(line, name.bytes(), own, map));
    granted
}

/// Whether one line, `USER:FIRST:COUNT`, is the user's and has all ids of the map.
pub fn grant(line: &[u8], name: &[u8], own: u32, map: &IdMap) -> bool {
    let mut fields = line.split(|byte| *byte == b':');
    let (Some(user), Some(first), Some(count)) =
        (fields.next(), fields.next().and_then(number), fields.next().and_then(number))
    else {
        return false;
    };
    let (from, to) = (u64::from(map.outside), u64::from(map.outside) + u64::from(map.count));
    (user == name || number(user) == Some(own.into())) && first <= from && to <= first.saturating_add(count)
}

/// The user's name; its number where it has none.
pub fn name_of(uid: u32) -> Name {
    let mut name = Name::new();
    for_each_line(c"/etc/passwd", &mut |line| {
        let mut fields = line.split(|byte| *byte == b':');
        if let (Some(text), Some(id)) = (fields.next(), fields.nth(1))
            && number(id) == Some(uid.into())
            && name.bytes().is_empty()
        {
            name.push(text);
        }
    });
    if name.bytes().is_empty() {
        let _ = core::fmt::Write::write_fmt(&mut name, format_args!("{uid}"));
    }
    name
}

fn for_each_line(path: &CStr, each: &mut dyn FnMut(&[u8])) {
    let Ok(file) = open(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK, Mode::empty()) else { return };
    let (mut line, mut chunk) = (Line::<256>::new(), [0u8; 512]);
    while let Ok(length @ 1..) = nix::unistd::read(&file, &mut chunk) {
        for part in chunk.get(..length).unwrap_or(&[]).split_inclusive(|byte| *byte == b'\n') {
            line.push(part.trim_ascii_end());
            if part.ends_with(b"\n") {
                each(line.bytes());
                line.clear();
            }
        }
    }
    each(line.bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grant_is_by_name_or_number_and_for_the_whole_range() {
        let map = |outside, count| IdMap { groups: false, inside: 0, outside, count, at: crate::config::DEFAULT };
        let granted = |line: &str, map| grant(line.as_bytes(), b"ada", 1000, &map);
        assert!(granted("ada:100000:65536", map(100_000, 65_536)));
        assert!(granted("1000:100000:65536", map(165_535, 1)));
        assert!(!granted("ada:100000:65536", map(165_535, 2)));
        assert!(!granted("ada:100000:65536", map(99_999, 1)));
        assert!(!granted("bob:100000:65536", map(100_000, 1)));
        assert!(!granted("ada:100000", map(100_000, 1)) && !granted("", map(0, 1)));
    }

    #[test]
    fn name_of_root_and_of_nobody_known() {
        assert_eq!(name_of(0).text(), "root");
        assert_eq!(name_of(4_000_000_000).text(), "4000000000");
        let own = IdMap { groups: false, inside: 0, outside: 7, count: 1, at: crate::config::DEFAULT };
        assert!(grants(c"/none", &name_of(7), 7, &own) && !grants(c"/none", &name_of(8), 8, &own));
    }
}
