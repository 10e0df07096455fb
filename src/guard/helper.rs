//! The helper: a forked process that looks at one call which the filter handed over, and answers it.
//!
//! Whatever may wait for the guest (its memory may lie in a file that a process of its own serves, its paths may lead through
//! such files) waits here, never in the supervisor, and for [`PATIENCE_S`] at most.

use super::caller::{Caller, SYS_BOOT, descriptor_of, of, read_text, same_namespace, text};
use super::filter::{Call, MAGIC, PROPAGATION, call_of};
use super::masks::{self, Kind};
use super::mounts;
use crate::config::own::Own;
use crate::limits::REBOOT_ARGUMENT;
use crate::sys::process::{self, exit_now};
use crate::sys::seccomp::{self, Notification};
use crate::sys::signals;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::mount::MsFlags;
use nix::sched::{CloneFlags, setns};
use nix::unistd::{chroot, fchdir};
use std::os::fd::BorrowedFd;

/// How long a helper may take, in seconds.
const PATIENCE_S: u32 = 5;
/// Exit code of a helper that has answered, and of one that has refused what would uncover a mask.
pub const ANSWERED: i32 = 0;
/// See there.
pub const REFUSED: i32 = 1;

/// What a helper is told.
pub struct Job<'a> {
    /// The listener.
    pub listener: BorrowedFd<'a>,
    /// The call.
    pub call: Notification,
    /// The container's init.
    pub init: i32,
    /// What is forbidden.
    pub own: &'a Own<'a>,
    /// Where a reboot's argument goes.
    pub words: Option<BorrowedFd<'a>>,
}

/// What becomes of a call.
pub enum Answer {
    /// The kernel does it.
    GoOn,
    /// It was done on the caller's behalf.
    Done,
    /// It would uncover a mask.
    Refuse,
}

/// Looks at the call, answers it and ends.
#[inline(never)] // its frame is the helper's alone
pub fn answer(job: &Job<'_>) -> ! {
    limit_time();
    let (errno, code) = match decide(job) {
        Ok(Answer::GoOn) => {
            let _ = seccomp::go_on(job.listener, job.call.id);
            exit_now(ANSWERED)
        }
        Ok(Answer::Done) => (0, ANSWERED),
        Ok(Answer::Refuse) => (Errno::EPERM as i32, REFUSED),
        Err(errno) => (errno as i32, ANSWERED),
    };
    let _ = seccomp::answer(job.listener, job.call.id, errno);
    exit_now(code)
}

/// Masks what is mounted in init's mount namespace now, and ends.
#[inline(never)] // as above
pub fn scan(init: i32, own: &Own<'_>) -> ! {
    limit_time();
    let all = || {
        let table = of(init, "mountinfo", OFlag::O_RDONLY)?;
        let root = of(init, "root", OFlag::O_PATH)?;
        setns(of(init, "ns/mnt", OFlag::O_RDONLY)?, CloneFlags::CLONE_NEWNS)?;
        fchdir(&root)?;
        chroot(c".")?;
        masks::apply_all(&table, own)
    };
    exit_now(all().err().map_or(0, |errno| errno as i32))
}

/// It ends with the supervisor, and when its time is up.
fn limit_time() {
    let _ = process::set_parent_death_signal(libc::SIGKILL);
    signals::set_default(libc::SIGALRM);
    let _ = signals::set_mask(!(1 << (libc::SIGALRM - 1)));
    nix::unistd::alarm::set(PATIENCE_S);
}

fn decide(job: &Job<'_>) -> nix::Result<Answer> {
    let Notification { pid, number, arch, args, .. } = job.call;
    let [a, b, c, d, ..] = args;
    // Memory of 32-bit callers and flags are what the low half says.
    match call_of(arch, number) {
        Some(Call::Reboot) => {
            hear_reboot(job);
            Ok(Answer::GoOn)
        }
        Some(Call::Unmount) => mounts::unmount(job),
        Some(Call::SetAttributes) => mounts::set_attributes(job),
        // Programs fall back to mount(2), which is heard.
        Some(Call::Fsopen) => match kind_at(job, a)? {
            Some(_) => Err(Errno::ENOSYS),
            None => Ok(Answer::GoOn),
        },
        Some(Call::OpenTree) => {
            let path = text(pid, b)?;
            let dangerous = match path.c().to_bytes() {
                // What is open already.
                [] => masks::is_dangerous(&descriptor_of(pid, a as i32)?),
                _ => mounts::may_be_dangerous(path.c()),
            };
            if dangerous { Err(Errno::ENOSYS) } else { Ok(Answer::GoOn) }
        }
        Some(Call::Mount) => {
            let flags = plain_flags(d);
            if flags.contains(MsFlags::MS_REMOUNT) {
                mounts::keep(job, b)
            } else if flags.contains(MsFlags::MS_BIND) {
                mounts::carry(job)
            } else if flags.bits() as u32 & PROPAGATION != 0 {
                Ok(Answer::GoOn)
            } else if flags.contains(MsFlags::MS_MOVE) {
                mounts::keep(job, a)
            } else {
                match kind_at(job, c)? {
                    Some(kind) => mounts::mount_masked(job, kind, flags),
                    None => Ok(Answer::GoOn),
                }
            }
        }
        None => Ok(Answer::GoOn),
    }
}

/// mount(2)'s flags without the mark that some programs put into their upper half.
fn plain_flags(flags: u64) -> MsFlags {
    let flags = flags as u32;
    let flags = if flags & 0xffff_0000 == MAGIC { flags & 0xffff } else { flags };
    MsFlags::from_bits_retain(flags as _)
}

/// The filesystem that is named there, if it needs masks. Without a name nothing is mounted.
fn kind_at(job: &Job<'_>, address: u64) -> nix::Result<Option<Kind>> {
    let mut buffer = [0u8; 16];
    match read_text(job.call.pid, address, &mut buffer) {
        Ok(name) => Ok(Kind::named(name).filter(|kind| masks::wanted_in(*kind, job.own))),
        Err(Errno::ENAMETOOLONG) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Takes the argument of a reboot that will really end the container.
fn hear_reboot(job: &Job<'_>) {
    let Notification { pid, id, args: [magic, magic2, _, address, ..], .. } = job.call;
    let right =
        magic as u32 == 0xfee1_dead && [672_274_793, 85_072_278, 369_367_448, 537_993_216].contains(&(magic2 as u32));
    let ends_it = || Ok::<_, Errno>(Caller::of(pid)?.has(SYS_BOOT) && same_namespace("ns/pid", pid, job.init)?);
    let Some(words) = job.words.filter(|_| right && ends_it() == Ok(true)) else { return };
    let mut buffer = [0u8; REBOOT_ARGUMENT];
    // The kernel reads nothing of it in a pid namespace, so it may be anything.
    let said = match read_text(pid, address, &mut buffer) {
        Ok(text) => text.len(),
        Err(Errno::ENAMETOOLONG) => REBOOT_ARGUMENT - 1,
        Err(_) => 0,
    };
    if !seccomp::is_waiting(job.listener, id) {
        return;
    }
    for byte in buffer.iter_mut().filter(|byte| !(b' '..=b'~').contains(byte)) {
        *byte = b'?';
    }
    if let Some(end) = buffer.get_mut(said) {
        *end = b'\n';
    }
    let _ = nix::unistd::write(words, buffer.get(..=said).unwrap_or(&[]));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_flags_the_old_mark_means_nothing() {
        assert_eq!(plain_flags(0xc0ed_0000 | libc::MS_NOSUID), MsFlags::MS_NOSUID);
        assert_eq!(plain_flags(libc::MS_PRIVATE), MsFlags::MS_PRIVATE);
    }
}
