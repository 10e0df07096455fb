//! `monopod.state.file`: what is known of the container, for whoever rather reads a file than asks the supervisor.

use crate::sys::fds::open;
use crate::text::PathText;
use core::ffi::CStr;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

/// Puts `text` in the place of what the file says. Who reads it sees all of the old or all of the new.
///
/// # Errors
/// What the kernel says; the old file stays then.
#[inline(never)] // its path is for those who have such a file
pub fn write(path: &CStr, text: &[u8]) -> nix::Result<()> {
    let new: PathText = beside(path)?;
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = open(new.c(), flags, Mode::from_bits_truncate(0o644))?;
    let done = match nix::unistd::write(&file, text)? {
        written if written == text.len() => renameat(AT_FDCWD, new.c(), AT_FDCWD, path),
        _ => Err(Errno::ENOSPC),
    };
    if done.is_err() {
        remove(new.c());
    }
    done
}

/// Removes it: nobody knows anything any more.
pub fn remove(path: &CStr) {
    let _ = unlinkat(AT_FDCWD, path, UnlinkatFlags::NoRemoveDir);
}

/// Where the next version is written.
fn beside(path: &CStr) -> nix::Result<PathText> {
    PathText::join(&[path.to_bytes(), b".new"]).map_err(|_| Errno::ENAMETOOLONG)
}
