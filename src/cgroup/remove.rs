//! Emptying and removing a cgroup directory: kill what is inside, innermost first, bounded in time.

use crate::rootfs::beneath::Name;
use crate::sys::fds::open;
use crate::sys::{fds, process};
use core::ffi::CStr;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::time::{ClockId, ClockNanosleepFlags, clock_nanosleep};
use nix::unistd::{UnlinkatFlags, Whence, lseek, read, unlinkat, write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// How deep the walk goes by calling itself; no guest that means well nests its cgroups deeper. What lies below goes by
/// `empty_deep`, which needs no stack.
const DEPTH: usize = 16;
/// How often the kill and remove round is repeated, with `PAUSE_MS` in between: killed tasks leave a cgroup only when they
/// have gone through exit. Two seconds in all.
const ROUNDS: u32 = 200;
/// How long `pause` is, in milliseconds.
pub const PAUSE_MS: i64 = 10;

/// rmdir(2).
pub fn rmdir(path: &CStr) -> Result<(), Errno> {
    unlinkat(nix::fcntl::AT_FDCWD, path, UnlinkatFlags::RemoveDir)
}

/// Removes the directory at `path` with everything below it. ENOENT if there is none.
pub fn remove_tree(path: &CStr, v2: bool) -> Result<(), Errno> {
    let mut last = Errno::EBUSY;
    for round in 0..ROUNDS {
        // The usual case is one rmdir: init has ended, and with it everything in its pid namespace.
        match rmdir(path) {
            Ok(()) => return Ok(()),
            Err(errno @ (Errno::ENOENT | Errno::ENOTDIR)) => return Err(errno),
            // Said twice, it is meant.
            Err(errno @ (Errno::EROFS | Errno::EACCES | Errno::EPERM)) if last == errno => return Err(errno),
            // Not empty, or a shortage that may pass.
            Err(errno) => last = errno,
        }
        if round > 0 {
            pause();
        }
        // A directory that cannot be opened now may be in the next round.
        if let Ok(directory) = open(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()) {
            let _ = empty(directory.as_fd(), v2, DEPTH);
        }
    }
    Err(last)
}

/// Kills the tasks of a directory and of those below it, which are removed with them, and waits until they are gone, at most as
/// long as `remove_tree` does.
pub fn kill_tree(path: &CStr, v2: bool) {
    for _ in 0..ROUNDS {
        let Ok(directory) = open(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()) else {
            return;
        };
        let _ = empty(directory.as_fd(), v2, DEPTH);
        let mut left = false;
        if let Ok(procs) = openat(&directory, c"cgroup.procs", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()) {
            for_each_number(&procs, &mut |_| left = true);
        }
        // It was read to its end.
        let _ = lseek(&directory, 0, Whence::SeekSet);
        let _ = fds::for_each_directory(directory.as_fd(), &mut |_| left = true);
        if !left {
            return;
        }
        pause();
    }
}

/// Kills the tasks of a directory and removes the directories below it.
fn empty(directory: BorrowedFd<'_>, v2: bool, depth: usize) -> Result<(), Errno> {
    if depth == 0 {
        return empty_deep(directory, v2);
    }
    kill_tasks(directory, v2);
    fds::for_each_directory(directory, &mut |name| {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        if let Ok(child) = openat(directory, name, flags, Mode::empty()) {
            let _ = empty(child.as_fd(), v2, depth - 1);
        }
        let _ = unlinkat(directory, name, UnlinkatFlags::RemoveDir);
    })
}

/// The same one directory at a time: always down to the innermost of the first ones, which is removed from the one above it.
fn empty_deep(top: BorrowedFd<'_>, v2: bool) -> Result<(), Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut here = openat(top, c".", flags, Mode::empty())?;
    let mut depth = 0u32;
    kill_tasks(here.as_fd(), v2);
    loop {
        if let Some(name) = first_below(&here)? {
            here = openat(&here, name.c(), flags, Mode::empty())?;
            depth += 1;
            kill_tasks(here.as_fd(), v2);
        } else if depth > 0 {
            here = openat(&here, c"..", flags, Mode::empty())?;
            depth -= 1;
            // Nobody is left who could have made another one before it.
            if let Some(name) = first_below(&here)? {
                unlinkat(&here, name.c(), UnlinkatFlags::RemoveDir)?;
            }
        } else {
            return Ok(());
        }
    }
}

/// The first directory in a directory.
fn first_below(directory: &OwnedFd) -> Result<Option<Name>, Errno> {
    lseek(directory, 0, Whence::SeekSet)?;
    let mut first = None;
    fds::for_each_directory(directory.as_fd(), &mut |name| {
        if first.is_none() {
            first = Name::new(name.to_bytes()).ok();
        }
    })?;
    Ok(first)
}

fn kill_tasks(directory: BorrowedFd<'_>, v2: bool) {
    // cgroup.kill (Linux 5.14) takes the whole subtree at once and cannot miss a fork.
    if v2
        && let Ok(file) = openat(directory, c"cgroup.kill", OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())
        && write(&file, b"1").is_ok()
    {
        return;
    }
    thaw(directory);
    let Ok(procs) = openat(directory, c"cgroup.procs", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()) else {
        return;
    };
    for_each_number(&procs, &mut |pid| {
        // Pid 0 stands for a task of another pid namespace: not ours to name.
        if pid > 1 {
            let _ = process::kill(pid, libc::SIGKILL);
        }
    });
}

/// A frozen v1 task dies only when it is thawed.
fn thaw(directory: BorrowedFd<'_>) {
    if let Ok(file) = openat(directory, c"freezer.state", OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty()) {
        let _ = write(&file, b"THAWED");
    }
}

/// Reads a file of one decimal number a line.
fn for_each_number(file: &OwnedFd, each: &mut dyn FnMut(i32)) {
    let mut buffer = [0u8; 512];
    let mut number: Option<i32> = None;
    while let Ok(length @ 1..) = read(file, &mut buffer) {
        for byte in buffer.get(..length).unwrap_or(&[]) {
            match byte {
                b'0'..=b'9' => {
                    let digit = i32::from(byte - b'0');
                    number = Some(number.unwrap_or(0).saturating_mul(10).saturating_add(digit));
                }
                _ => {
                    if let Some(whole) = number.take() {
                        each(whole);
                    }
                }
            }
        }
    }
}

/// A moment in which the kernel finishes what it does later.
pub fn pause() {
    let time = nix::sys::time::TimeSpec::new(0, (PAUSE_MS * 1_000_000) as _);
    let _ = clock_nanosleep(ClockId::CLOCK_MONOTONIC, ClockNanosleepFlags::empty(), &time);
}
