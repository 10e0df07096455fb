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
#[inline(never)] // its frame is large
pub fn for_each(each: &mut dyn FnMut(&CStr)) {
    let Ok(table) = open(c"/proc/self/mountinfo", OFlag::O_RDONLY, Mode::empty()) else { return };
    // Of a line what stands before its sixth field.
    let mut line = Line::<{ 2 * PATH_BYTES }>::new();
    let (mut chunk, mut blanks) = ([0u8; 2048], 0);
    while let Ok(length @ 1..) = nix::unistd::read(&table, &mut chunk) {
        for byte in chunk.get(..length).unwrap_or(&[]) {
            match byte {
                b'\n' => {
                    if let Some(target) = target(line.bytes()).filter(|_| !line.truncated()) {
                        each(target.c());
                    }
                    line.clear();
                    blanks = 0;
                }
                _ if blanks < 5 => {
                    blanks += u32::from(*byte == b' ');
                    line.push(&[*byte]);
                }
                _ => {}
            }
        }
    }
}

/// Whether something is mounted at `path`.
pub fn is_mounted(path: &CStr) -> bool {
    let mut found = false;
    for_each(&mut |target| found |= target == path);
    found
}

/// The fifth field of a line.
fn target(line: &[u8]) -> Option<Target> {
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
