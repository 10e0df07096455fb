//! Which Android an image is: `ro.build.version.sdk` of its build.prop. An image is data from somebody else.

use crate::sys::mounts::open_in_root;
use core::ffi::CStr;
use nix::fcntl::OFlag;
use nix::sys::stat::{SFlag, fstat};
use std::os::fd::{BorrowedFd, OwnedFd};

/// As a rootfs has it, and where the image's root is a directory of the rootfs.
const FILES: [&CStr; 2] = [c"system/build.prop", c"system/system/build.prop"];
/// A build.prop has 5 to 30 KB, the line that is wanted among its first.
const MOST_BYTES: usize = 16 * 1024;

/// The SDK of the image whose root directory is open as `root`; None: it says none.
#[inline(never)] // its buffer is for those who ask
pub fn sdk(root: BorrowedFd<'_>) -> Option<u32> {
    FILES.iter().find_map(|path| {
        let file = open_in_root(root, path, (OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits()).ok()?;
        let kind = SFlag::from_bits_truncate(fstat(&file).ok()?.st_mode & libc::S_IFMT);
        if kind == SFlag::S_IFREG { read(&file) } else { None }
    })
}

fn read(file: &OwnedFd) -> Option<u32> {
    let mut buffer = [0u8; MOST_BYTES];
    let length = nix::unistd::read(file, &mut buffer).ok()?;
    let text = buffer.get(..length)?;
    let value = text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"ro.build.version.sdk="))?;
    crate::text::number(value.trim_ascii())?.try_into().ok()
}
