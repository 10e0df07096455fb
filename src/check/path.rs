//! Following links inside of a rootfs, without ever leaving it: a link to `/bin/sh` there means the rootfs's own.

use crate::rootfs::beneath::{Root, components};
use nix::errno::Errno;
use nix::fcntl::{OFlag, readlinkat};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Links that may be followed for one path: the kernel's own limit.
const LINKS: usize = 40;

/// A path that leads nowhere: the kernel's reason, and as far as it was followed.
#[derive(Debug, PartialEq, Eq)]
pub struct Lost {
    /// ENOENT, ELOOP, ...
    pub errno: Errno,
    /// The path without links at which it ends, without its first slash.
    pub at: Vec<u8>,
}

/// What a path inside of the rootfs means once every link is followed, without its first slash. The last component exists.
pub fn resolve(root: &Root, path: &[u8]) -> Result<Vec<u8>, Lost> {
    // The components that are left, the next one last.
    let mut left: Vec<Vec<u8>> = Vec::new();
    push(&mut left, path);
    let mut done: Vec<Vec<u8>> = Vec::new();
    let mut links = 0;
    while let Some(name) = left.pop() {
        if name == b".." {
            done.pop();
            continue;
        }
        let parent = done.join(&b'/');
        done.push(name);
        let lost = |errno| Lost { errno, at: done.join(&b'/') };
        let directory = root.look_up(&parent, OFlag::O_PATH | OFlag::O_DIRECTORY).map_err(lost)?;
        let name = done.last().map_or(&b""[..], Vec::as_slice);
        match readlinkat(&directory, OsStr::from_bytes(name)) {
            // No link.
            Err(Errno::EINVAL) => {}
            Err(errno) => return Err(lost(errno)),
            Ok(_) if links == LINKS => return Err(lost(Errno::ELOOP)),
            Ok(target) => {
                links += 1;
                done.pop();
                if target.as_bytes().starts_with(b"/") {
                    done.clear();
                }
                push(&mut left, target.as_bytes());
            }
        }
    }
    Ok(done.join(&b'/'))
}

fn push(left: &mut Vec<Vec<u8>>, path: &[u8]) {
    let at = left.len();
    left.extend(components(path).map(<[u8]>::to_vec));
    left.get_mut(at..).unwrap_or_default().reverse();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn resolve_links_stay_inside() {
        let path = std::env::temp_dir().join(format!("monopod-resolve-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(path.join("usr/bin")).unwrap();
        std::fs::write(path.join("usr/bin/busybox"), "").unwrap();
        for (target, link) in [
            ("usr/bin", "bin"),
            ("/bin/busybox", "init"),
            ("../../../../usr", "usr/up"),
            ("loop", "loop"),
            ("/etc/none", "out"),
        ] {
            symlink(target, path.join(link)).unwrap();
        }
        let text = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
        let root = Root::open(&text).unwrap();
        let found =
            |path: &[u8]| resolve(&root, path).map_err(|lost| (lost.errno, String::from_utf8(lost.at).unwrap()));
        assert_eq!(found(b"/init"), Ok(b"usr/bin/busybox".to_vec()));
        assert_eq!(found(b"usr/up/bin/../bin/busybox"), Ok(b"usr/bin/busybox".to_vec()));
        assert_eq!(found(b"/"), Ok(Vec::new()));
        assert_eq!(found(b"loop"), Err((Errno::ELOOP, "loop".into())));
        assert_eq!(found(b"out"), Err((Errno::ENOENT, "etc".into())));
        assert_eq!(found(b"bin/none"), Err((Errno::ENOENT, "usr/bin/none".into())));
        std::fs::remove_dir_all(path).unwrap();
    }
}
