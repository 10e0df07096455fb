//! Who makes a call: its memory, its rights, and where it stands. Read by the helper alone, as all of it may keep one waiting.

use super::helper::Job;
use crate::limits::PATH_BYTES;
use crate::sys::fds::open;
use crate::sys::seccomp;
use crate::text::{Line, PathText};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sched::{CloneFlags, setns};
use nix::sys::stat::{FileStat, Mode, fstat};
use nix::sys::uio::pread;
use nix::unistd::{chroot, fchdir};
use std::os::fd::OwnedFd;

/// A path as the guest wrote it.
pub type Path = PathText<PATH_BYTES>;

/// Reads memory of process `pid`, as much of `buffer` as is mapped. How much that was.
///
/// Not by process_vm_readv(2): a 32-bit supervisor could not name the addresses of a 64-bit guest.
pub fn read_memory(pid: i32, address: u64, buffer: &mut [u8]) -> nix::Result<usize> {
    let offset = i64::try_from(address).map_err(|_| Errno::EFAULT)?;
    match pread(of(pid, "mem", OFlag::O_RDONLY)?, buffer, offset) {
        Ok(0) | Err(Errno::EIO) => Err(Errno::EFAULT),
        other => other,
    }
}

/// Reads the text at `address` of process `pid` into `buffer`, up to its NUL. ENAMETOOLONG: there is none in as many bytes.
pub fn read_text(pid: i32, address: u64, buffer: &mut [u8]) -> nix::Result<&[u8]> {
    let got = read_memory(pid, address, buffer)?;
    let text = buffer.get(..got).unwrap_or(&[]);
    match memchr::memchr(0, text) {
        Some(end) => Ok(text.get(..end).unwrap_or(&[])),
        None => Err(if got < buffer.len() { Errno::EFAULT } else { Errno::ENAMETOOLONG }),
    }
}

/// The same, as a path.
pub fn text(pid: i32, address: u64) -> nix::Result<Path> {
    let mut buffer = [0u8; PATH_BYTES];
    Path::of(&[read_text(pid, address, &mut buffer)?]).map_err(|_| Errno::ENAMETOOLONG)
}

/// `/proc/self/` is us; the caller means itself.
pub fn as_the_caller(path: Path, caller: &Caller) -> nix::Result<Path> {
    let Some(rest) = path.c().to_bytes().strip_prefix(b"/proc/self/") else { return Ok(path) };
    let mut number = Line::<16>::new();
    let _ = core::fmt::Write::write_fmt(&mut number, format_args!("{}", caller.inside));
    Path::of(&[b"/proc/", number.bytes(), b"/", rest]).map_err(|_| Errno::ENAMETOOLONG)
}

/// What /proc/PID/status says of the caller.
pub struct Caller {
    capabilities: u64,
    /// Its process in its own pid namespace.
    inside: i32,
}

/// CAP_SYS_ADMIN
pub const SYS_ADMIN: u32 = 21;
/// CAP_SYS_BOOT
pub const SYS_BOOT: u32 = 22;

impl Caller {
    /// EPROTO: what is looked for is not there.
    pub fn of(pid: i32) -> nix::Result<Caller> {
        let mut buffer = [0u8; 4096];
        let got = nix::unistd::read(of(pid, "status", OFlag::O_RDONLY)?, &mut buffer)?;
        let text = buffer.get(..got).unwrap_or(&[]);
        let last = |name: &[u8]| {
            let lines = text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(name));
            let word = lines.and_then(|line| line.rsplit(|byte| *byte == b'\t').next());
            word.and_then(|word| core::str::from_utf8(word).ok()).ok_or(Errno::EPROTO)
        };
        Ok(Caller {
            capabilities: u64::from_str_radix(last(b"CapEff:")?, 16).map_err(|_| Errno::EPROTO)?,
            inside: last(b"NStgid:")?.parse().map_err(|_| Errno::EPROTO)?,
        })
    }

    /// Whether it has that capability, in its own user namespace.
    pub fn has(&self, capability: u32) -> bool {
        self.capabilities >> capability & 1 == 1
    }
}

/// Opens a file of /proc/PID.
pub fn of(pid: i32, name: &str, flags: OFlag) -> nix::Result<OwnedFd> {
    let path = PathText::format(format_args!("/proc/{pid}/{name}")).map_err(|_| Errno::ENAMETOOLONG)?;
    open(path.c(), flags, Mode::empty())
}

/// What a descriptor of the caller's refers to.
pub fn descriptor_of(pid: i32, number: i32) -> nix::Result<OwnedFd> {
    let path = PathText::format(format_args!("/proc/{pid}/fd/{number}")).map_err(|_| Errno::ENAMETOOLONG)?;
    open(path.c(), OFlag::O_PATH, Mode::empty())
}

/// The same file, or the same namespace.
pub fn is_same(one: &FileStat, other: &FileStat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

/// Whether two processes are in the same namespace, e.g. `ns/pid`.
pub fn same_namespace(name: &str, one: i32, other: i32) -> nix::Result<bool> {
    let of = |pid| of(pid, name, OFlag::O_PATH).and_then(fstat);
    Ok(is_same(&of(one)?, &of(other)?))
}

/// Where the caller stands, by descriptor.
pub struct Place {
    /// Its mount namespace.
    pub mounts: OwnedFd,
    /// Its network namespace.
    pub net: OwnedFd,
    /// Its pid namespace.
    pub pids: OwnedFd,
    /// Its user namespace, if it is not ours.
    pub users: Option<OwnedFd>,
    /// Its root directory.
    pub root: OwnedFd,
    /// Its working directory.
    pub directory: OwnedFd,
}

impl Place {
    /// Opens all of it. ESRCH: the caller is gone.
    pub fn of(job: &Job<'_>) -> nix::Result<Place> {
        let pid = job.call.pid;
        let namespace = |name| of(pid, name, OFlag::O_RDONLY);
        let stranger = !same_namespace("ns/user", pid, nix::unistd::getpid().as_raw()).unwrap_or(true);
        let place = Place {
            mounts: namespace("ns/mnt")?,
            net: namespace("ns/net")?,
            pids: namespace("ns/pid")?,
            users: if stranger { Some(namespace("ns/user")?) } else { None },
            root: of(pid, "root", OFlag::O_PATH)?,
            directory: of(pid, "cwd", OFlag::O_PATH)?,
        };
        // Another process may have its number by now.
        if seccomp::is_waiting(job.listener, job.call.id) { Ok(place) } else { Err(Errno::ESRCH) }
    }

    /// Sees what the caller sees, with its rights.
    pub fn enter(&self) -> nix::Result<()> {
        self.enter_mounts()?;
        self.users.as_ref().map_or(Ok(()), |users| setns(users, CloneFlags::CLONE_NEWUSER))
    }

    /// Its mount namespace, root and working directory.
    pub fn enter_mounts(&self) -> nix::Result<()> {
        setns(&self.mounts, CloneFlags::CLONE_NEWNS)?;
        fchdir(&self.root)?;
        chroot(c".")?;
        fchdir(&self.directory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::ffi::CStr;

    #[test]
    fn read_text_stops_at_its_end_and_knows_one_that_is_too_long() {
        let own = nix::unistd::getpid().as_raw();
        let text = c"recovery";
        let mut buffer = [0u8; 16];
        assert_eq!(read_text(own, text.as_ptr() as u64, &mut buffer), Ok(&b"recovery"[..]));
        let mut buffer = [0u8; 8];
        assert_eq!(read_text(own, text.as_ptr() as u64, &mut buffer), Err(Errno::ENAMETOOLONG));
        assert_eq!(read_text(own, 8, &mut buffer), Err(Errno::EFAULT));
    }

    #[test]
    fn as_the_caller_self_is_its_process() {
        let caller = Caller { capabilities: 0, inside: 7 };
        let path = |text: &CStr| as_the_caller(Path::of(&[text.to_bytes()]).unwrap(), &caller).unwrap();
        assert_eq!(path(c"/proc/self/fd/3").c(), c"/proc/7/fd/3");
        assert_eq!(path(c"/proc/selfish").c(), c"/proc/selfish");
    }

    #[test]
    fn caller_of_this_process_has_its_own_number_and_rights() {
        let own = nix::unistd::getpid().as_raw();
        let caller = Caller::of(own).unwrap();
        assert_eq!(caller.inside, own);
        assert_eq!(caller.has(SYS_ADMIN), crate::sys::caps::get().unwrap().effective >> SYS_ADMIN & 1 == 1);
    }
}
