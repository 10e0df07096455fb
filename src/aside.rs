//! A look at what may keep whoever looks waiting for ever: files of a running guest, which may lie on a FUSE of its own that does
//! not answer, or the memory of its processes. A process of its own looks, and is waited for a moment and no longer.

use crate::sys::clone::{Fork, fork};
use crate::sys::{fds, process, rights};
use core::sync::atomic::{AtomicI32, Ordering::Relaxed};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::unistd::{getpid, getppid};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// What is seen.
pub type Seen = ([u64; 3], Option<OwnedFd>);

/// How long a look may take, in milliseconds. One that is answered at all takes less than a millisecond.
const PATIENCE_MS: u8 = 250;
/// An errno and the numbers.
const BYTES: usize = 4 * 8;

/// The process that is still waiting. As long as it is, nobody else is sent.
static LATE: AtomicI32 = AtomicI32::new(0);

/// Has `look` called in another process, which has no descriptor of ours. What it opens comes back.
///
/// # Errors
/// Its own; ETIMEDOUT: it waits, and has been killed, if that is possible; EIO: somebody else killed it.
pub fn ask(look: &dyn Fn() -> nix::Result<Seen>) -> nix::Result<Seen> {
    let late = LATE.load(Relaxed);
    if late != 0 && process::try_wait(late) == Ok(None) {
        return Err(Errno::ETIMEDOUT);
    }
    LATE.store(0, Relaxed);
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
    let supervisor = getpid();
    let pid = match fork()? {
        Fork::Child => {
            let _ = process::set_parent_death_signal(libc::SIGKILL);
            if getppid() == supervisor && fds::close_all_but(0, &mut [theirs.as_raw_fd()]).is_ok() {
                answer(&theirs, look());
            }
            process::exit_now(0)
        }
        Fork::Parent(pid) => pid,
    };
    drop(theirs);
    let mut bytes = [0u8; BYTES];
    let mut found = heapless::Vec::new();
    let mut waits = [PollFd::new(ours.as_fd(), PollFlags::POLLIN)];
    let got = match poll(&mut waits, PollTimeout::from(PATIENCE_MS)) {
        Ok(1..) => rights::receive(ours.as_fd(), &mut bytes, &mut found),
        _ => Err(Errno::ETIMEDOUT),
    };
    if got == Ok(BYTES) {
        // It only ends.
        let _ = process::wait(pid);
    } else {
        let _ = process::kill(pid, libc::SIGKILL);
        if process::try_wait(pid) == Ok(None) {
            LATE.store(pid, Relaxed);
        }
        return Err(if got == Ok(0) { Errno::EIO } else { Errno::ETIMEDOUT });
    }
    let mut words = bytes.chunks_exact(8).map(|word| word.first_chunk().map_or(0, |word| u64::from_ne_bytes(*word)));
    match words.next() {
        Some(0) => Ok((core::array::from_fn(|_| words.next().unwrap_or(0)), found.pop())),
        errno => Err(Errno::from_raw(errno.unwrap_or(0) as i32)),
    }
}

fn answer(socket: &OwnedFd, seen: nix::Result<Seen>) {
    let (errno, ([a, b, c], file)) = seen.map_or_else(|errno| (errno as u64, Default::default()), |seen| (0, seen));
    let mut bytes = [0u8; BYTES];
    let words = [errno, a, b, c].map(u64::to_ne_bytes);
    bytes.iter_mut().zip(words.as_flattened()).for_each(|(to, from)| *to = *from);
    match &file {
        Some(file) => drop(rights::send(socket.as_fd(), &bytes, &[file.as_fd()])),
        None => drop(rights::send(socket.as_fd(), &bytes, &[])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ask_numbers_errors_and_files_come_back_and_nobody_waits_for_ever() {
        // One after the other: there is one process that may be late.
        let seen = ask(&|| Ok(([1, u64::MAX, 3], None))).unwrap();
        assert_eq!((seen.0, seen.1.is_none()), ([1, u64::MAX, 3], true));
        assert_eq!(ask(&|| Err(Errno::ELOOP)).unwrap_err(), Errno::ELOOP);
        let null = || fds::open(c"/dev/null", nix::fcntl::OFlag::O_RDONLY, nix::sys::stat::Mode::empty());
        let file = ask(&|| Ok(([0; 3], Some(null()?)))).unwrap().1.unwrap();
        assert!(nix::sys::stat::fstat(&file).is_ok());
        let dies = || {
            let _ = process::kill(getpid().as_raw(), libc::SIGKILL);
            Ok(([0; 3], None))
        };
        assert_eq!(ask(&dies).unwrap_err(), Errno::EIO);
        let sleeps = || {
            std::thread::sleep(core::time::Duration::from_secs(60));
            Ok(([0; 3], None))
        };
        assert_eq!(ask(&sleeps).unwrap_err(), Errno::ETIMEDOUT);
        // It was killed.
        let again = (0..1000).find_map(|_| {
            std::thread::sleep(core::time::Duration::from_millis(1));
            ask(&|| Ok(([7; 3], None))).ok()
        });
        assert_eq!(again.unwrap().0, [7; 3]);
    }
}
