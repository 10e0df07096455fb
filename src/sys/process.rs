//! Waiting, signalling, exec, limits: what nix has only with a heap, or not for realtime signals.

use super::check;
use crate::text::PathText;
use core::ffi::{CStr, c_char};
use core::ptr;
use nix::errno::Errno;
use std::os::fd::{AsRawFd, BorrowedFd};

/// How a child ended, from its wait status: never guessed from an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// exit(2) with this code, 0-255.
    Code(i32),
    /// Killed by this signal, realtime signals included.
    Signal(i32),
}

/// Asks whether child `pid` has ended, without blocking, and reaps it if so. EINTR is retried.
///
/// nix's waitid and waitpid lose a child that a realtime signal killed, so this is libc's.
pub fn try_wait(pid: i32) -> nix::Result<Option<Exit>> {
    Ok(wait_with(libc::P_PID, pid, libc::WEXITED | libc::WNOHANG)?.map(|(_, exit)| exit))
}

/// Reaps one child that has ended, whichever, without blocking. ECHILD when there are no children at all.
pub fn reap_any() -> nix::Result<Option<(i32, Exit)>> {
    wait_with(libc::P_ALL, 0, libc::WEXITED | libc::WNOHANG)
}

/// Waits until a child has ended, whichever, and reaps it. ECHILD when there is none.
pub fn wait_any() -> nix::Result<(i32, Exit)> {
    loop {
        if let Some(ended) = wait_with(libc::P_ALL, 0, libc::WEXITED)? {
            return Ok(ended);
        }
    }
}

/// Whether `pid` is a child of ours that was not reaped yet.
pub fn is_child(pid: i32) -> bool {
    wait_with(libc::P_PID, pid, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT).is_ok()
}

/// Whether there are children at all, ended ones included.
pub fn has_children() -> bool {
    wait_with(libc::P_ALL, 0, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT) != Err(Errno::ECHILD)
}

/// Waits until child `pid` has ended.
pub fn wait(pid: i32) -> nix::Result<Exit> {
    loop {
        if let Some((_, exit)) = wait_with(libc::P_PID, pid, libc::WEXITED)? {
            return Ok(exit);
        }
    }
}

fn wait_with(whose: libc::idtype_t, id: i32, options: i32) -> nix::Result<Option<(i32, Exit)>> {
    loop {
        // SAFETY: siginfo_t is plain data for which all zeroes is a valid value.
        let mut info: libc::siginfo_t = unsafe { core::mem::zeroed() };
        // SAFETY: `info` outlives the call and is of the type that the call fills.
        match check(unsafe { libc::waitid(whose, id as libc::id_t, &mut info, options) }.into()) {
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(errno),
            Ok(_) => {}
        }
        // SAFETY: waitid filled the SIGCHLD members, or left them zero when nothing had ended.
        let (ended, status) = unsafe { (info.si_pid(), info.si_status()) };
        return Ok(match (ended, info.si_code) {
            (0, _) => None,
            (pid, libc::CLD_EXITED) => Some((pid, Exit::Code(status))),
            (pid, _) => Some((pid, Exit::Signal(status))),
        });
    }
}

/// kill(2) with any signal number; a negative pid is a process group.
pub fn kill(pid: i32, signal: i32) -> nix::Result<()> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::kill(pid, signal) }.into()).map(drop)
}

/// Whether this program was made setuid, setgid or capable in the filesystem (getauxval(3), AT_SECURE).
pub fn runs_with_more_rights_than_its_caller() -> bool {
    auxiliary(libc::AT_SECURE) != 0
}

/// The effective user that we were executed as (getauxval(3), AT_EUID). For code that runs before anything changes it.
pub fn first_euid() -> u32 {
    auxiliary(libc::AT_EUID) as u32
}

fn auxiliary(kind: libc::c_ulong) -> libc::c_ulong {
    // SAFETY: the kernel's auxiliary vector is only read.
    unsafe { libc::getauxval(kind) }
}

/// A number that is another one at each start of the program; nobody's secret (getauxval(3), AT_RANDOM).
#[cfg(feature = "net")]
pub fn seed() -> u64 {
    // SAFETY: the entry is null, or the address of 16 bytes that the kernel has put on this process's stack for good.
    let bytes = unsafe { (auxiliary(libc::AT_RANDOM) as *const [u8; 16]).as_ref() };
    // The first half guards the stack, where a compiler asks for that.
    let half = bytes.and_then(|bytes| bytes.last_chunk::<8>());
    half.map_or(0, |half| u64::from_ne_bytes(*half)) ^ u64::from(nix::unistd::getpid().as_raw().unsigned_abs())
}

/// Ends this process at once: no destructors, no buffers, the only way out of the child before exec.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit takes no memory and does not return.
    unsafe { libc::_exit(code) }
}

/// Words that one exec may have, in argv and in the environment each, with the closing NULL.
const MOST_WORDS: usize = 512;
/// What nearly every exec makes do with, and an eighth of the stack to be touched.
const FEW_WORDS: usize = 64;

/// execve(2). Returns only its error; E2BIG when argv or the environment has more words than fit.
pub fn exec(path: &CStr, argv: &[&CStr], environment: &[&CStr]) -> Errno {
    if argv.len().max(environment.len()) < FEW_WORDS {
        exec_with::<FEW_WORDS>(None, path, argv, environment)
    } else {
        exec_with::<MOST_WORDS>(None, path, argv, environment)
    }
}

/// Where a command without a slash is looked for when nobody says: the usual directories, Android's last.
pub const PATH: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/system/bin:/system/xbin";

/// Executes `argv`, its command looked for in `path` if it has no slash. Returns only the error: as execvp(3) has it, the last
/// one that is not just "not here".
pub fn exec_in_path(path: &[u8], argv: &[&CStr], environment: &[&CStr]) -> Errno {
    let command = argv.first().copied().unwrap_or(c"");
    if command.to_bytes().contains(&b'/') {
        return exec(command, argv, environment);
    }
    let mut last = Errno::ENOENT;
    for directory in path.split(|byte| *byte == b':') {
        let whole: Result<PathText, _> = PathText::join(&[directory, b"/", command.to_bytes()]);
        if let Ok(whole) = whole {
            match exec(whole.c(), argv, environment) {
                Errno::ENOENT | Errno::ENOTDIR => {}
                errno => last = errno,
            }
        }
    }
    last
}

/// execveat(2) of an open file. Returns only its error; ENOSYS before Linux 3.19.
pub fn exec_file(file: BorrowedFd<'_>, argv: &[&CStr], environment: &[&CStr]) -> Errno {
    exec_with::<MOST_WORDS>(Some(file), c"", argv, environment)
}

#[inline(never)] // or the large frame would be the small one's
fn exec_with<const N: usize>(
    file: Option<BorrowedFd<'_>>,
    path: &CStr,
    argv: &[&CStr],
    environment: &[&CStr],
) -> Errno {
    let mut argv_pointers = [ptr::null::<c_char>(); N];
    let mut environment_pointers = [ptr::null::<c_char>(); N];
    for (words, pointers) in [(argv, &mut argv_pointers), (environment, &mut environment_pointers)] {
        if words.len() >= N {
            return Errno::E2BIG;
        }
        for (word, pointer) in words.iter().zip(pointers.iter_mut()) {
            *pointer = word.as_ptr();
        }
    }
    // SAFETY: both arrays hold pointers to C strings that outlive the call and end with a null, because they are longer
    // than their words.
    unsafe {
        match file {
            None => drop(libc::execve(path.as_ptr(), argv_pointers.as_ptr(), environment_pointers.as_ptr())),
            Some(file) => drop(libc::syscall(
                libc::SYS_execveat,
                file.as_raw_fd(),
                path.as_ptr(),
                argv_pointers.as_ptr(),
                environment_pointers.as_ptr(),
                libc::AT_EMPTY_PATH,
            )),
        }
    };
    Errno::last()
}

/// `struct rlimit64` of prlimit64(2).
#[repr(C)]
struct Limit {
    soft: u64,
    hard: u64,
}

/// Sets one limit of this process; u64::MAX is "unlimited".
pub fn set_limit(resource: u32, soft: u64, hard: u64) -> nix::Result<()> {
    set_limit_of(0, resource, soft, hard)
}

/// The same of process `pid`; 0 is this one.
pub fn set_limit_of(pid: i32, resource: u32, soft: u64, hard: u64) -> nix::Result<()> {
    prlimit(pid, resource, Some(&Limit { soft, hard }), None)
}

/// The soft and hard limit of process `pid`; u64::MAX is "unlimited".
pub fn limit_of(pid: i32, resource: u32) -> nix::Result<(u64, u64)> {
    let mut limit = Limit { soft: 0, hard: 0 };
    prlimit(pid, resource, None, Some(&mut limit))?;
    Ok((limit.soft, limit.hard))
}

fn prlimit(pid: i32, resource: u32, new: Option<&Limit>, old: Option<&mut Limit>) -> nix::Result<()> {
    let new = new.map_or(ptr::null(), ptr::from_ref);
    let old = old.map_or(ptr::null_mut(), ptr::from_mut);
    // SAFETY: the kernel reads one rlimit64 and writes one, each where the pointer is not null.
    check(unsafe { libc::syscall(libc::SYS_prlimit64, pid, resource, new, old) }).map(drop)
}

/// setgroups(2) for this thread, the process's only one (the C library's would signal other threads). Where a user namespace
/// forbids it, none may still be set if there are none.
pub fn set_groups(groups: &[u32]) -> nix::Result<()> {
    #[cfg(target_arch = "arm")]
    const SETGROUPS: libc::c_long = libc::SYS_setgroups32;
    #[cfg(not(target_arch = "arm"))]
    const SETGROUPS: libc::c_long = libc::SYS_setgroups;
    // SAFETY: the kernel reads `len` gids from the slice.
    match check(unsafe { libc::syscall(SETGROUPS, groups.len(), groups.as_ptr()) }) {
        // SAFETY: the kernel writes nothing, as no room is given.
        Err(Errno::EPERM) if groups.is_empty() && unsafe { libc::getgroups(0, ptr::null_mut()) } == 0 => Ok(()),
        other => other.map(drop),
    }
}

/// setgid(2) for this thread, the process's only one: not by the C library, as `set_groups`.
pub fn set_group(gid: u32) -> nix::Result<()> {
    #[cfg(target_arch = "arm")]
    const SETGID: libc::c_long = libc::SYS_setgid32;
    #[cfg(not(target_arch = "arm"))]
    const SETGID: libc::c_long = libc::SYS_setgid;
    set_id(SETGID, gid)
}

/// setuid(2), the same.
pub fn set_user(uid: u32) -> nix::Result<()> {
    #[cfg(target_arch = "arm")]
    const SETUID: libc::c_long = libc::SYS_setuid32;
    #[cfg(not(target_arch = "arm"))]
    const SETUID: libc::c_long = libc::SYS_setuid;
    set_id(SETUID, uid)
}

fn set_id(call: libc::c_long, id: u32) -> nix::Result<()> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::syscall(call, id) }).map(drop)
}

/// personality(2): sets the execution domain, e.g. PER_LINUX32 (8).
pub fn set_personality(persona: u64) -> nix::Result<()> {
    nix::sys::personality::set(nix::sys::personality::Persona::from_bits_retain(persona as _)).map(drop)
}

/// prctl(PR_SET_PDEATHSIG): this signal when the thread that created us ends; 0 = none.
pub fn set_parent_death_signal(signal: i32) -> nix::Result<()> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal as libc::c_ulong, 0, 0, 0) }.into()).map(drop)
}

/// keyctl(KEYCTL_JOIN_SESSION_KEYRING) with a new keyring.
pub fn join_session_keyring() -> nix::Result<()> {
    const JOIN_SESSION_KEYRING: libc::c_long = 1;
    // SAFETY: no memory is passed: no name is given.
    check(unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, 0, 0, 0, 0) }).map(drop)
}

/// prctl(PR_SCHED_CORE, PR_SCHED_CORE_CREATE): a core scheduling group of this process' own, which its children inherit.
///
/// EINVAL before Linux 5.14 or without CONFIG_SCHED_CORE, ENODEV where no core runs two threads at once.
pub fn share_no_core() -> nix::Result<()> {
    const SCHED_CORE: i32 = 62;
    const CREATE: libc::c_ulong = 1;
    const OF_THE_PROCESS: libc::c_ulong = 1;
    // SAFETY: no memory is passed.
    check(unsafe { libc::prctl(SCHED_CORE, CREATE, 0 as libc::c_ulong, OF_THE_PROCESS, 0 as libc::c_ulong) }.into())
        .map(drop)
}

/// prctl(PR_SET_DUMPABLE, 1): readable through /proc by its own uid again, after a change of ids took that away.
pub fn set_dumpable() -> nix::Result<()> {
    nix::sys::prctl::set_dumpable(true)
}

/// reboot(2) with `command`. Harmless only where the caller knows that it is: in a pid namespace, or with CAD_ON/OFF.
pub fn reboot(command: i32) -> nix::Result<()> {
    // SAFETY: these commands take no argument.
    check(unsafe { libc::reboot(command) }.into()).map(drop)
}
