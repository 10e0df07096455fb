//! seccomp(2): filters, and the listener that hears of the calls which a filter hands over (seccomp_unotify(2)).

use super::{check, fds};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// One instruction of a filter: classic BPF.
pub type Instruction = libc::sock_filter;

/// `SECCOMP_RET_USER_NOTIF`
pub const USER_NOTIF: u32 = 0x7fc0_0000;

const SET_MODE_FILTER: u32 = 1;
const GET_ACTION_AVAIL: u32 = 2;
const GET_NOTIF_SIZES: u32 = 3;
const NEW_LISTENER: u32 = 1 << 3;
/// Linux 5.7. The first flag that came after the answer "go on", which is of 5.5 and cannot be asked for.
const TSYNC_ESRCH: u32 = 1 << 4;
/// Linux 5.19: a call that was received is not interrupted, so that nobody makes it twice.
const WAIT_KILLABLE: u32 = 1 << 5;

const RECEIVE: u32 = 0xc050_2100;
const SEND: u32 = 0xc018_2101;
/// As it was before Linux 5.8; later kernels know it beside the right one.
const ID_VALID: u32 = 0x8008_2102;
/// `SECCOMP_USER_NOTIF_FLAG_CONTINUE`
const CONTINUE: u32 = 1;

/// `struct seccomp_notif` and `struct seccomp_notif_resp` in u64, and what newer kernels may add.
const ROOM: usize = 32;

/// A call that waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notification {
    /// Names it in the answer.
    pub id: u64,
    /// The calling thread, as the listener's process sees it.
    pub pid: i32,
    /// The call's number on its architecture.
    pub number: u32,
    /// `AUDIT_ARCH_*`
    pub arch: u32,
    /// Its arguments.
    pub args: [u64; 6],
}

fn call(operation: u32, flags: u32, argument: *const libc::c_void) -> nix::Result<libc::c_long> {
    // SAFETY: `argument` is null or points at what `operation` reads or writes; see the callers.
    check(unsafe { libc::syscall(libc::SYS_seccomp, operation, flags, argument) })
}

/// EINVAL: the kernel does not know one of these flags. It looks at them before the program, which is not there.
fn know(flags: u32) -> nix::Result<()> {
    match call(SET_MODE_FILTER, flags, core::ptr::null()) {
        Err(Errno::EFAULT) => Ok(()),
        Err(errno) => Err(errno),
        Ok(_) => Err(Errno::EINVAL),
    }
}

/// Whether calls can be heard of and let go on, which is so from Linux 5.7 on; else why not.
pub fn has_notifications() -> nix::Result<()> {
    know(NEW_LISTENER | TSYNC_ESRCH)?;
    sizes().map(drop)
}

/// Installs a filter on this thread, for good and for all its children, and returns its listener. EBUSY: there is one already.
pub fn listen(program: &[Instruction]) -> nix::Result<OwnedFd> {
    has_notifications()?;
    let killable = know(NEW_LISTENER | WAIT_KILLABLE).map_or(0, |()| WAIT_KILLABLE);
    let program = Program::of(program);
    let fd = call(SET_MODE_FILTER, NEW_LISTENER | killable, (&raw const program).cast())?;
    // SAFETY: the kernel has just made this descriptor for us.
    unsafe { fds::made(fd) }
}

/// Installs a filter without a listener (Linux 3.5).
pub fn install(program: &[Instruction]) -> nix::Result<()> {
    let program = Program::of(program);
    // SAFETY: the kernel reads the program, which outlives the call.
    check(unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) }.into()).map(drop)
}

/// Whether a filter (or strict mode) is in force on this thread already. EINVAL: the kernel has none.
pub fn is_confined() -> nix::Result<bool> {
    // SAFETY: the call takes no pointer.
    check(unsafe { libc::prctl(libc::PR_GET_SECCOMP) }.into()).map(|mode| mode != 0)
}

/// `struct sock_fprog`
#[repr(C)]
struct Program {
    length: u16,
    instructions: *const Instruction,
}

impl Program {
    fn of(instructions: &[Instruction]) -> Program {
        Program { length: instructions.len() as u16, instructions: instructions.as_ptr() }
    }
}

fn control(listener: BorrowedFd<'_>, request: u32, argument: *mut u64) -> nix::Result<()> {
    // SAFETY: `argument` points at as much as `request` reads or writes; see the callers.
    check(unsafe { libc::ioctl(listener.as_raw_fd(), request as _, argument) }.into()).map(drop)
}

/// A call as the kernel tells it, for those who hand it on.
pub struct Raw {
    words: [u64; ROOM],
}

impl Raw {
    /// Waits for the next call. ENOENT: its caller is gone.
    pub fn receive(listener: BorrowedFd<'_>) -> nix::Result<Raw> {
        let mut raw = Raw { words: [0; ROOM] };
        // The kernel writes what GET_NOTIF_SIZES said, which fits, or the filter would not have been installed.
        control(listener, RECEIVE, raw.words.as_mut_ptr()).map(|()| raw)
    }

    /// Names it in the answer.
    pub fn id(&self) -> u64 {
        self.words.first().copied().unwrap_or(0)
    }

    /// The calling thread, as the listener's process sees it.
    pub fn pid(&self) -> i32 {
        let [a, b, c, d, ..] = self.words.get(1).copied().unwrap_or(0).to_ne_bytes();
        i32::from_ne_bytes([a, b, c, d])
    }

    /// Its first bytes.
    pub fn bytes(&self, length: usize) -> impl Iterator<Item = u8> {
        self.words.iter().flat_map(|word| word.to_ne_bytes()).take(length)
    }

    /// Answers as `response` says, which the kernel checks.
    pub fn respond(listener: BorrowedFd<'_>, response: &[u8]) -> nix::Result<()> {
        let mut words = [0u64; ROOM];
        for (word, bytes) in words.iter_mut().zip(response.chunks(8)) {
            let mut whole = [0; 8];
            whole.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
            *word = u64::from_ne_bytes(whole);
        }
        // The kernel reads what GET_NOTIF_SIZES said.
        control(listener, SEND, words.as_mut_ptr())
    }
}

/// `struct seccomp_notif_sizes`: of a call, of an answer, of `struct seccomp_data`.
pub fn sizes() -> nix::Result<[u16; 3]> {
    let mut sizes = [0u16; 3];
    // The kernel writes three numbers of 16 bits.
    call(GET_NOTIF_SIZES, 0, sizes.as_mut_ptr().cast())?;
    if sizes.iter().all(|size| usize::from(*size) <= ROOM * 8) { Ok(sizes) } else { Err(Errno::EINVAL) }
}

/// Whether the kernel has an answer, which it can be asked from Linux 4.14 on; an older one takes it for a kill.
pub fn has_answer(answer: u32) -> bool {
    // The kernel reads one number of 32 bits.
    call(GET_ACTION_AVAIL, 0, (&raw const answer).cast()).is_ok()
}

/// Whether a program hands over calls, so that it needs a listener.
pub fn hands_over(program: &[Instruction]) -> bool {
    let is_return = |code: u16| u32::from(code) == libc::BPF_RET | libc::BPF_K;
    program.iter().any(|one| is_return(one.code) && one.k == USER_NOTIF)
}

/// The next call. EAGAIN: there is none; ENOENT: its caller is gone; ENOTCONN: nobody is under the filter any more.
pub fn receive(listener: BorrowedFd<'_>) -> nix::Result<Notification> {
    let mut ready = [PollFd::new(listener, PollFlags::POLLIN)];
    poll(&mut ready, PollTimeout::ZERO)?;
    let [ready] = ready;
    let events = ready.revents().unwrap_or(PollFlags::empty());
    if !events.contains(PollFlags::POLLIN) {
        return Err(if events.is_empty() { Errno::EAGAIN } else { Errno::ENOTCONN });
    }
    let mut buffer = [0u64; ROOM];
    // The kernel writes what GET_NOTIF_SIZES said, which fits, or the filter would not have been installed.
    control(listener, RECEIVE, buffer.as_mut_ptr())?;
    let [id, pid, call, _ip, a, b, c, d, e, f, ..] = buffer;
    // Two u32 in memory order, whatever the byte order.
    let halves = |word: u64| {
        let [a, b, c, d, e, f, g, h] = word.to_ne_bytes();
        (u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h]))
    };
    let (number, arch) = halves(call);
    Ok(Notification { id, pid: halves(pid).0 as i32, number, arch, args: [a, b, c, d, e, f] })
}

fn respond(listener: BorrowedFd<'_>, id: u64, error: i32, flags: u32) -> nix::Result<()> {
    let [a, b, c, d] = error.to_ne_bytes();
    let [e, f, g, h] = flags.to_ne_bytes();
    let mut buffer = [0u64; ROOM];
    let [first, _value, last, ..] = &mut buffer;
    (*first, *last) = (id, u64::from_ne_bytes([a, b, c, d, e, f, g, h]));
    // The kernel reads what GET_NOTIF_SIZES said.
    control(listener, SEND, buffer.as_mut_ptr())
}

/// The call is not made; it ends with this errno, or with success for 0. ENOENT: its caller is gone.
pub fn answer(listener: BorrowedFd<'_>, id: u64, errno: i32) -> nix::Result<()> {
    respond(listener, id, -errno, 0)
}

/// The call is made as if nobody had heard of it.
pub fn go_on(listener: BorrowedFd<'_>, id: u64) -> nix::Result<()> {
    respond(listener, id, 0, CONTINUE)
}

/// Whether the caller still waits: what was read by its pid before was then its own.
pub fn is_waiting(listener: BorrowedFd<'_>, id: u64) -> bool {
    let mut id = id;
    // The kernel reads one number of 64 bits.
    control(listener, ID_VALID, &raw mut id).is_ok()
}
