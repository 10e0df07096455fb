//! The helper: a forked process that looks at one call which the filter handed over, and answers it.
//!
//! Whatever may wait for the guest (its memory may lie in a file that a process of its own serves, its paths may lead through
//! such files) waits here, never in the supervisor, and for [`PATIENCE_S`] at most.
//!
//! A filesystem that needs masks is mounted on the caller's behalf: in the caller's namespaces, in a copy of its mounts that
//! nobody else sees, the masks on top; then the whole tree is attached at once, so that it is nowhere without them, not even
//! in namespaces that the mount propagates to.
//!
//! What this does not hold: a thread that exchanges the type's text between our look and the kernel's, a mask's path written
//! in other words (through links), copies made by descriptor. It is a guard against what ordinary programs do, not a wall
//! against root in the guest, who has other ways.

use super::filter::{Call, MAGIC, PROPAGATION, call_of};
use super::masks::{self, Kind};
use crate::config::own::Own;
use crate::limits::{PATH_BYTES, REBOOT_ARGUMENT};
use crate::sys::clone::{Fork, fork};
use crate::sys::fds::{self, open};
use crate::sys::mounts::{attach_tree, copy_tree};
use crate::sys::process::{self, Exit, exit_now};
use crate::sys::seccomp::{self, Notification};
use crate::sys::signals;
use crate::text::{Line, PathText};
use core::ffi::CStr;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::stat::{FileStat, Mode, fstat, stat};
use nix::sys::uio::pread;
use nix::unistd::{chdir, chroot, fchdir};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

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

/// A path as the guest wrote it.
type Path = PathText<PATH_BYTES>;

/// What becomes of a call.
enum Answer {
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
        Some(Call::Unmount) => unmount(job),
        Some(Call::SetAttributes) => set_attributes(job),
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
                _ => may_be_dangerous(path.c()),
            };
            if dangerous { Err(Errno::ENOSYS) } else { Ok(Answer::GoOn) }
        }
        Some(Call::Mount) => {
            let flags = plain_flags(d);
            if flags.contains(MsFlags::MS_REMOUNT) {
                keep(job, b)
            } else if flags.contains(MsFlags::MS_BIND) {
                carry(job)
            } else if flags.bits() as u32 & PROPAGATION != 0 {
                Ok(Answer::GoOn)
            } else if flags.contains(MsFlags::MS_MOVE) {
                keep(job, a)
            } else {
                match kind_at(job, c)? {
                    Some(kind) => mount_masked(job, kind, flags),
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

/// Reads memory of process `pid`, as much of `buffer` as is mapped. How much that was.
///
/// Not by process_vm_readv(2): a 32-bit supervisor could not name the addresses of a 64-bit guest.
fn read_memory(pid: i32, address: u64, buffer: &mut [u8]) -> nix::Result<usize> {
    let offset = i64::try_from(address).map_err(|_| Errno::EFAULT)?;
    match pread(of(pid, "mem", OFlag::O_RDONLY)?, buffer, offset) {
        Ok(0) | Err(Errno::EIO) => Err(Errno::EFAULT),
        other => other,
    }
}

/// Reads the text at `address` of process `pid` into `buffer`, up to its NUL. ENAMETOOLONG: there is none in as many bytes.
fn read_text(pid: i32, address: u64, buffer: &mut [u8]) -> nix::Result<&[u8]> {
    let got = read_memory(pid, address, buffer)?;
    let text = buffer.get(..got).unwrap_or(&[]);
    match memchr::memchr(0, text) {
        Some(end) => Ok(text.get(..end).unwrap_or(&[])),
        None => Err(if got < buffer.len() { Errno::EFAULT } else { Errno::ENAMETOOLONG }),
    }
}

fn text(pid: i32, address: u64) -> nix::Result<Path> {
    let mut buffer = [0u8; PATH_BYTES];
    Path::of(&[read_text(pid, address, &mut buffer)?]).map_err(|_| Errno::ENAMETOOLONG)
}

/// Whether a path may lie on one of the filesystems: what is decided without walking it, because most paths do not.
fn may_be_dangerous(path: &CStr) -> bool {
    let names: [&[u8]; 5] = [b"proc", b"sys", b"debug", b"tracing", b"d"];
    let path = path.to_bytes();
    !path.starts_with(b"/") || path.split(|byte| *byte == b'/').any(|name| names.contains(&name))
}

/// `/proc/self/` is us; the caller means itself.
fn as_the_caller(path: Path, caller: &Caller) -> nix::Result<Path> {
    let Some(rest) = path.c().to_bytes().strip_prefix(b"/proc/self/") else { return Ok(path) };
    let mut number = Line::<16>::new();
    let _ = core::fmt::Write::write_fmt(&mut number, format_args!("{}", caller.inside));
    Path::of(&[b"/proc/", number.bytes(), b"/", rest]).map_err(|_| Errno::ENAMETOOLONG)
}

/// What /proc/PID/status says of the caller.
struct Caller {
    capabilities: u64,
    /// Its process in its own pid namespace.
    inside: i32,
}

const SYS_ADMIN: u32 = 21;
const SYS_BOOT: u32 = 22;

impl Caller {
    fn of(pid: i32) -> nix::Result<Caller> {
        let mut buffer = [0u8; 4096];
        let got = nix::unistd::read(of(pid, "status", OFlag::O_RDONLY)?, &mut buffer)?;
        let text = core::str::from_utf8(buffer.get(..got).unwrap_or(&[])).unwrap_or("");
        let last = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_ascii_whitespace().last()).unwrap_or("")
        };
        Ok(Caller {
            capabilities: u64::from_str_radix(last("CapEff:"), 16).unwrap_or(0),
            inside: last("NStgid:").parse().unwrap_or(0),
        })
    }

    fn has(&self, capability: u32) -> bool {
        self.capabilities >> capability & 1 == 1
    }
}

/// Opens a file of /proc/PID.
fn of(pid: i32, name: &str, flags: OFlag) -> nix::Result<OwnedFd> {
    let path = PathText::format(format_args!("/proc/{pid}/{name}")).map_err(|_| Errno::ENAMETOOLONG)?;
    open(path.c(), flags, Mode::empty())
}

/// What a descriptor of the caller's refers to.
fn descriptor_of(pid: i32, number: i32) -> nix::Result<OwnedFd> {
    let path = PathText::format(format_args!("/proc/{pid}/fd/{number}")).map_err(|_| Errno::ENAMETOOLONG)?;
    open(path.c(), OFlag::O_PATH, Mode::empty())
}

fn is_same(one: &FileStat, other: &FileStat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

fn same_namespace(name: &str, one: i32, other: i32) -> nix::Result<bool> {
    let of = |pid| of(pid, name, OFlag::O_PATH).and_then(fstat);
    Ok(is_same(&of(one)?, &of(other)?))
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

/// Where the caller stands, by descriptor.
struct Place {
    mounts: OwnedFd,
    net: OwnedFd,
    pids: OwnedFd,
    /// Its user namespace, if it is not ours.
    users: Option<OwnedFd>,
    root: OwnedFd,
    directory: OwnedFd,
}

impl Place {
    fn of(job: &Job<'_>) -> nix::Result<Place> {
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
    fn enter(&self) -> nix::Result<()> {
        self.enter_mounts()?;
        self.users.as_ref().map_or(Ok(()), |users| setns(users, CloneFlags::CLONE_NEWUSER))
    }

    fn enter_mounts(&self) -> nix::Result<()> {
        setns(&self.mounts, CloneFlags::CLONE_NEWNS)?;
        fchdir(&self.root)?;
        chroot(c".")?;
        fchdir(&self.directory)
    }
}

/// Goes where the caller is and opens the path at `address`, if that lies on one of the filesystems; else None: the kernel
/// does what is to be done, or refuses it by itself.
fn look_up(job: &Job<'_>, address: u64) -> nix::Result<Option<(Path, Caller, OwnedFd)>> {
    let pid = job.call.pid;
    let path = text(pid, address)?;
    if !may_be_dangerous(path.c()) {
        return Ok(None);
    }
    let caller = Caller::of(pid)?;
    if !caller.has(SYS_ADMIN) {
        return Ok(None);
    }
    let path = as_the_caller(path, &caller)?;
    Place::of(job)?.enter()?;
    let found = open(path.c(), OFlag::O_PATH, Mode::empty()).ok().filter(masks::is_dangerous);
    Ok(found.map(|found| (path, caller, found)))
}

/// Lets a call go on unless what it acts on is a mask.
fn keep(job: &Job<'_>, address: u64) -> nix::Result<Answer> {
    let found = look_up(job, address)?;
    Ok(if found.is_some_and(|(.., found)| masks::is_mask(&found)) { Answer::Refuse } else { Answer::GoOn })
}

/// mount_setattr(2) makes no mask writable, neither by path nor by descriptor.
fn set_attributes(job: &Job<'_>) -> nix::Result<Answer> {
    const CLEAR_AT: usize = 8;
    const READ_ONLY: u8 = 1;
    let Notification { pid, args: [descriptor, path, _, attributes, ..], .. } = job.call;
    // The first two members of `struct mount_attr`: what is set, what is cleared.
    let mut head = [0u8; 16];
    read_memory(pid, attributes, &mut head)?;
    if head.get(CLEAR_AT).is_none_or(|low| low & READ_ONLY == 0) {
        return Ok(Answer::GoOn);
    }
    match text(pid, path)?.c().to_bytes() {
        [] if masks::is_mask(&descriptor_of(pid, descriptor as i32)?) => Ok(Answer::Refuse),
        [b'/', ..] => keep(job, path),
        _ => Ok(Answer::GoOn),
    }
}

/// A mask stays; what has masks goes with them, which the kernel would call busy.
fn unmount(job: &Job<'_>) -> nix::Result<Answer> {
    let [path, flags, ..] = job.call.args;
    let flags = MntFlags::from_bits_retain(flags as i32);
    match look_up(job, path)? {
        Some((.., found)) if masks::is_mask(&found) => Ok(Answer::Refuse),
        Some((path, _, found)) if !flags.intersects(MntFlags::MNT_DETACH | MntFlags::MNT_EXPIRE) => {
            drop(found);
            umount2(path.c(), flags | MntFlags::MNT_DETACH).map(|()| Answer::Done)
        }
        _ => Ok(Answer::GoOn),
    }
}

/// A bind of a part of these filesystems takes along what is mounted below, the masks.
fn carry(job: &Job<'_>) -> nix::Result<Answer> {
    let Notification { pid, args: [source, target, ..], .. } = job.call;
    let target = text(pid, target)?;
    let Some((source, caller, found)) = look_up(job, source)? else { return Ok(Answer::GoOn) };
    drop(found);
    let target = as_the_caller(target, &caller)?;
    attach_tree(copy_tree(source.c())?.as_fd(), target.c())?;
    Ok(Answer::Done)
}

/// Mounts a fresh filesystem for the caller, with the masks on it.
fn mount_masked(job: &Job<'_>, kind: Kind, flags: MsFlags) -> nix::Result<Answer> {
    let Notification { pid, args: [source, target, _, _, data, _], .. } = job.call;
    let caller = Caller::of(pid)?;
    if !caller.has(SYS_ADMIN) {
        // The kernel refuses it.
        return Ok(Answer::GoOn);
    }
    let maybe = |address| if address == 0 { Ok(None) } else { text(pid, address).map(Some) };
    let wish = Wish {
        source: maybe(source)?,
        target: as_the_caller(text(pid, target)?, &caller)?,
        kind,
        flags,
        data: maybe(data)?,
    };
    let place = Place::of(job)?;
    setns(&place.net, CloneFlags::CLONE_NEWNET)?;
    // Before there is a process of ours that the guest can see.
    setns(&place.mounts, CloneFlags::CLONE_NEWNS)?;
    setns(&place.pids, CloneFlags::CLONE_NEWPID)?;
    // A procfs shows the pid namespace of the process that mounts it, which one gets by birth.
    match fork()? {
        Fork::Child => exit_now(mount_inside(&wish, &place, job.own).err().map_or(0, |errno| errno as i32)),
        Fork::Parent(child) => match process::wait(child)? {
            Exit::Code(0) => Ok(Answer::Done),
            Exit::Code(errno) => Err(Errno::from_raw(errno)),
            Exit::Signal(_) => Err(Errno::EINTR),
        },
    }
}

/// A mount as the caller wants it.
struct Wish {
    source: Option<Path>,
    target: Path,
    kind: Kind,
    flags: MsFlags,
    data: Option<Path>,
}

fn mount_inside(wish: &Wish, place: &Place, own: &Own<'_>) -> nix::Result<()> {
    process::set_parent_death_signal(libc::SIGKILL)?;
    // The guest sees this process: nothing of the host's stays open in it.
    let users = place.users.as_ref().map_or(-1, AsRawFd::as_raw_fd);
    let mut kept = [place.mounts.as_raw_fd(), place.root.as_raw_fd(), place.directory.as_raw_fd(), users];
    fds::close_all_but(0, &mut kept)?;
    if let Some(users) = &place.users {
        setns(users, CloneFlags::CLONE_NEWUSER)?;
    }
    unshare(CloneFlags::CLONE_NEWNS)?;
    let private = MsFlags::MS_PRIVATE | MsFlags::MS_REC;
    mount(None::<&CStr>, c"/", None::<&CStr>, private, None::<&CStr>)?;
    let name = wish.kind.name();
    mount(wish.source.as_ref().map(Path::c), c"/", Some(name), wish.flags, wish.data.as_ref().map(Path::c))?;
    // `..` of the root directory is what is mounted on top of it.
    chdir(c"/..")?;
    masks::apply(c".", b"/", wish.kind, own)?;
    let tree = copy_tree(c".")?;
    let made = fstat(&tree)?;
    place.enter_mounts()?;
    let there = stat(wish.target.c())?;
    if there.st_mode & libc::S_IFMT != libc::S_IFDIR {
        return Err(Errno::ENOTDIR);
    }
    // The same filesystem twice on one place, which mount(2) refuses.
    if is_same(&made, &there) {
        return Err(Errno::EBUSY);
    }
    attach_tree(tree.as_fd(), wish.target.c())
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn may_be_dangerous_looks_at_whole_components() {
        for path in [c"/proc", c"/proc/sys", c"/mnt/root/sys/power", c".", c"x", c"/d", c"/sys/kernel/debug"] {
            assert!(may_be_dangerous(path), "{path:?}");
        }
        for path in [c"/system", c"/data/processed", c"/mnt/user/0", c"/"] {
            assert!(!may_be_dangerous(path), "{path:?}");
        }
    }

    #[test]
    fn plain_flags_the_old_mark_means_nothing() {
        assert_eq!(plain_flags(0xc0ed_0000 | libc::MS_NOSUID), MsFlags::MS_NOSUID);
        assert_eq!(plain_flags(libc::MS_PRIVATE), MsFlags::MS_PRIVATE);
    }

    #[test]
    fn as_the_caller_self_is_its_process() {
        let caller = Caller { capabilities: 0, inside: 7 };
        let path = |text: &CStr| as_the_caller(Path::of(&[text.to_bytes()]).unwrap(), &caller).unwrap();
        assert_eq!(path(c"/proc/self/fd/3").c(), c"/proc/7/fd/3");
        assert_eq!(path(c"/proc/selfish").c(), c"/proc/selfish");
    }
}
