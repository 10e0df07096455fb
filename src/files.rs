//! Whole files and directories, for the time before a container runs and for commands: with a heap.

use crate::sys::fds;
use crate::text::PathText;
use core::ffi::CStr;
use core::fmt;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

/// What one read takes at least.
const ROOM: u64 = 4096;

/// A whole file.
pub fn read(path: &CStr) -> nix::Result<Vec<u8>> {
    rest(&fds::open(path, OFlag::O_RDONLY, Mode::empty())?, 0, u64::MAX)
}

/// A whole file whose path is to be put together.
pub fn read_at(path: fmt::Arguments<'_>) -> nix::Result<Vec<u8>> {
    read(PathText::format(path).map_err(|_| Errno::ENAMETOOLONG)?.c())
}

/// What is left to be read of a file, but no more than `most` bytes. It is `size` bytes, if that is not 0: then it is not
/// asked for more.
#[inline(never)]
pub fn rest(file: &OwnedFd, size: u64, most: u64) -> nix::Result<Vec<u8>> {
    let mut text = Vec::new();
    loop {
        let read = text.len();
        if read > 0 && read as u64 == size {
            return Ok(text);
        }
        let expected = if size == 0 { ROOM } else { size.saturating_sub(read as u64) };
        let room = (most - read as u64).min(expected) as usize;
        text.resize(read + room, 0);
        let more = nix::unistd::read(file, text.get_mut(read..).unwrap_or_default());
        text.truncate(read + more.unwrap_or(0));
        match more {
            Ok(0) => return Ok(text),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// The names in a directory, in the order of their bytes.
pub fn names(path: &CStr) -> nix::Result<Vec<CString>> {
    let directory = fds::open(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    let mut names: Vec<CString> = Vec::new();
    fds::for_each_entry(directory.as_fd(), &mut |name, _| {
        names.insert(names.partition_point(|before| before.as_c_str() < name), name.into());
    })?;
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_is_the_whole_file_or_as_much_as_is_wanted() {
        let path = std::env::temp_dir().join(format!("monopod-files-{}", std::process::id()));
        let text: Vec<u8> = (0..5000u32).map(|n| n as u8).collect();
        std::fs::write(&path, &text).unwrap();
        let open = || OwnedFd::from(std::fs::File::open(&path).unwrap());
        assert_eq!(rest(&open(), 0, u64::MAX).unwrap(), text);
        assert_eq!(rest(&open(), 5000, 1500).unwrap(), text[..1500]);
        assert_eq!(read_at(format_args!("{}", path.display())).unwrap(), text);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(read_at(format_args!("{}", path.display())), Err(Errno::ENOENT));
    }

    #[test]
    fn names_are_in_the_order_of_their_bytes() {
        let names = names(c"/proc/self").unwrap();
        assert!(names.is_sorted() && names.iter().any(|name| name.as_c_str() == c"status"));
    }
}
