//! The mount points of /proc/self/mountinfo (proc_pid_mountinfo(5)).

use crate::limits::PATH_BYTES;
use crate::sys::fds::open;
use crate::text::{Line, PathText};
use core::ffi::CStr;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

/// A mount point's path, which the kernel lets be this long.
pub type Target = PathText<PATH_BYTES>;

/// Calls `each` for every mount point, in the order in which they were mounted, without a heap. Without /proc for none.
pub fn for_each(each: &mut dyn FnMut(&CStr)) {
    let _ = for_each_line(&mut |line| {
        if let Some(target) = target(line) {
            each(target.c());
        }
    });
}

/// Calls `each` for every line, cut where it is longer than two paths: its first six fields are whole.
///
/// # Errors
/// ENOENT without /proc; else what kept us from reading all of it.
#[inline(never)] // its frame is large
pub fn for_each_line(each: &mut dyn FnMut(&[u8])) -> nix::Result<()> {
    let table = open(c"/proc/self/mountinfo", OFlag::O_RDONLY, Mode::empty())?;
    let mut line = Line::<{ 2 * PATH_BYTES + 256 }>::new();
    let mut chunk = [0u8; 2048];
    loop {
        let mut rest = match nix::unistd::read(&table, &mut chunk)? {
            0 => return Ok(()),
            length => chunk.get(..length).unwrap_or(&[]),
        };
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (head, tail) = rest.split_at(end);
            if line.bytes().is_empty() {
                each(head);
            } else {
                line.push(head);
                each(line.bytes());
                line.clear();
            }
            rest = tail.get(1..).unwrap_or(&[]);
        }
        line.push(rest);
    }
}

/// Whether something is mounted at `path`.
pub fn is_mounted(path: &CStr) -> bool {
    let mut found = false;
    for_each(&mut |target| found |= target == path);
    found
}

/// The fifth field of a line, the mount point.
pub fn target(line: &[u8]) -> Option<Target> {
    decoded(line.split(|byte| *byte == b' ').nth(4)?)
}

/// A field with `\040` and its like decoded.
pub fn decoded(field: &[u8]) -> Option<Target> {
    let mut rest = field;
    let mut path = Target::of(&[]).ok()?;
    while let Some((first, after)) = rest.split_first() {
        let (byte, after) = match rest {
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..] => {
                ((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'), after)
            }
            _ => (*first, after),
        };
        path.push(&[byte]).ok()?;
        rest = after;
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn target_escapes_are_decoded() {
        let line = br"36 35 98:0 /mnt1 /a\040b\134c rw,noatime master:1 - ext3 /dev/root rw";
        assert_eq!(target(line).unwrap().c(), c"/a b\\c");
        assert!(target(b"36 35 98:0").is_none());
    }

    #[test]
    fn is_mounted_knows_proc() {
        assert!(is_mounted(c"/proc"));
        assert!(!is_mounted(c"/proc/self"));
    }
}
