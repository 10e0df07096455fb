//! Which Android an image is: `ro.build.version.sdk` of its build.prop. An image is data from somebody else.

use crate::rootfs::beneath::Root;
use crate::sys::mounts::follow_in_root;
use core::ffi::CStr;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{SFlag, fstat};
use std::os::fd::{BorrowedFd, OwnedFd};

/// As a rootfs has it, and where the image's root is a directory of the rootfs (system-as-root).
const FILES: [&CStr; 2] = [c"system/build.prop", c"system/system/build.prop"];
/// Newer images have the second beside the first.
const PROPERTIES: [&[u8]; 2] = [b"ro.build.version.sdk=", b"ro.system.build.version.sdk="];
/// A build.prop has 5 to 30 KB.
const MOST_BYTES: usize = 256 * 1024;

/// The SDK of the image whose root directory is open as `root` (`/proc/PID/root` serves); None: it says none.
///
/// Links in it are followed, but never out of it; before Linux 5.6 they are not followed.
#[inline(never)] // its buffer is for those who ask
pub fn sdk(root: BorrowedFd<'_>) -> Option<u32> {
    FILES.iter().find_map(|path| read(&open(root, path).ok()?))
}

fn open(root: BorrowedFd<'_>, path: &CStr) -> nix::Result<OwnedFd> {
    // Whatever stands there, to open it shall neither wait nor do anything.
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = match follow_in_root(root, path, flags.bits()) {
        Err(Errno::ENOSYS | Errno::EPERM) => Root::at(root)?.look_up(path.to_bytes(), flags)?,
        other => other?,
    };
    match SFlag::from_bits_truncate(fstat(&file)?.st_mode & libc::S_IFMT) {
        SFlag::S_IFREG => Ok(file),
        _ => Err(Errno::EINVAL),
    }
}

/// Reads line by line; of a line that is longer than the buffer the rest is passed over.
fn read(file: &OwnedFd) -> Option<u32> {
    let mut buffer = [0u8; 2048];
    let (mut kept, mut total, mut whole) = (0, 0, true);
    loop {
        let got = nix::unistd::read(file, buffer.get_mut(kept..)?).ok()?;
        let filled = buffer.get(..kept + got)?;
        let mut rest = filled;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (line, after) = rest.split_at_checked(end)?;
            if whole && let Some(sdk) = value(line) {
                return Some(sdk);
            }
            whole = true;
            rest = after.get(1..)?;
        }
        total += got;
        if got == 0 || total > MOST_BYTES {
            return if whole { value(rest) } else { None };
        }
        whole &= rest.len() < buffer.len();
        let start = kept + got - rest.len();
        kept = if whole { rest.len() } else { 0 };
        buffer.copy_within(start..start + kept, 0);
    }
}

/// The number of a line that is one of the properties.
fn value(line: &[u8]) -> Option<u32> {
    let digits = PROPERTIES.iter().find_map(|name| line.strip_prefix(*name))?;
    crate::text::number(digits.trim_ascii())?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::path::{Path, PathBuf};

    fn image(tag: &str, path: &str, text: &str) -> (PathBuf, Option<u32>) {
        let root = std::env::temp_dir().join(format!("monopod-image-{tag}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&root);
        std::fs::create_dir_all(root.join(Path::new(path).parent().unwrap())).unwrap();
        std::fs::write(root.join(path), text).unwrap();
        (root.clone(), look(&root))
    }

    fn look(root: &Path) -> Option<u32> {
        sdk(std::fs::File::open(root).unwrap().as_fd())
    }

    #[test]
    fn sdk_is_found_in_both_places_and_behind_long_lines() {
        let long = format!("# {}\nro.x=y\n{}\nro.build.version.sdk=30\r\nlast=1", "x".repeat(5000), "y".repeat(2047));
        for path in ["system/build.prop", "system/system/build.prop"] {
            let (root, found) = image("found", path, &long);
            assert_eq!(found, Some(30), "{path}");
            std::fs::remove_dir_all(root).unwrap();
        }
        for (text, wanted) in [
            ("ro.build.version.sdk=22", Some(22)),
            ("ro.system.build.version.sdk=34\n", Some(34)),
            ("xro.build.version.sdk=22\n ro.build.version.sdk=1\n", None),
            ("ro.build.version.sdk=\nro.build.version.sdk=x\n", None),
            ("", None),
        ] {
            let (root, found) = image("text", "system/build.prop", text);
            assert_eq!(found, wanted, "{text}");
            std::fs::remove_dir_all(root).unwrap();
        }
        let (root, found) =
            image("tail", "system/build.prop", &format!("{}ro.build.version.sdk=9\n", "z".repeat(2048)));
        assert_eq!(found, None, "the end of a long line is no line");
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn sdk_links_stay_inside_and_a_fifo_is_no_file() {
        let (root, _) = image("traps", "real/build.prop", "ro.build.version.sdk=28\n");
        std::os::unix::fs::symlink("/real", root.join("system")).unwrap();
        assert_eq!(look(&root), Some(28), "an absolute link means the image's own root");
        std::fs::remove_file(root.join("system")).unwrap();
        let (outside, _) = image("outside", "build.prop", "ro.build.version.sdk=28\n");
        std::os::unix::fs::symlink(&outside, root.join("system")).unwrap();
        assert_eq!(look(&root), None);
        std::fs::remove_file(root.join("system")).unwrap();
        std::fs::create_dir(root.join("system")).unwrap();
        nix::unistd::mkfifo(&root.join("system/build.prop"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(look(&root), None);
        std::fs::remove_dir_all(root).unwrap();
        std::fs::remove_dir_all(outside).unwrap();
    }
}
