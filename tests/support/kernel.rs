//! Kernels that lack what this one has: a seccomp filter on the program and on everything it starts, clients included.
//!
//! ```ignore
//! guest.set_kernel(Kernel::of_3_10().answer(libc::SYS_setns, &[], libc::EPERM));
//! ```

use super::{sandbox, skip};
use libc::{c_long, sock_filter};

/// The highest system call number of Linux 3.10: finit_module, of 3.8. Whatever came later has a higher one.
#[cfg(target_arch = "x86_64")]
pub const LAST_OF_3_10: c_long = 313;
#[cfg(target_arch = "aarch64")]
pub const LAST_OF_3_10: c_long = 273;
#[cfg(target_arch = "arm")]
pub const LAST_OF_3_10: c_long = 379;

/// What an argument must be for a rule to apply. Only its low 32 bits are looked at.
#[derive(Clone, Copy)]
pub enum Is {
    /// Argument N is that.
    Value(u32, u32),
    /// Argument N is that or more.
    AtLeast(u32, u32),
    /// Argument N has one of these bits.
    Any(u32, u32),
}

/// What the kernel answers: rules, of which the first that applies counts.
#[derive(Clone, Default)]
pub struct Kernel(Vec<sock_filter>);

impl Kernel {
    /// This machine's kernel, with a filter that refuses nothing: what a process sees of filters is the same then.
    pub fn new() -> Self {
        Kernel::default()
    }

    /// `call` answers `errno` where its arguments are all as said. errno 0: the call is made.
    pub fn answer(mut self, call: c_long, arguments: &[Is], errno: i32) -> Self {
        let beyond = 2 * arguments.len() as u8 + 1;
        self.push(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, NUMBER);
        self.push(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, beyond, call as u32);
        for (index, argument) in (1u8..).zip(arguments) {
            let beyond = 2 * (arguments.len() as u8 - index) + 1;
            let (test, number, value) = match *argument {
                Is::Value(number, value) => (libc::BPF_JEQ, number, value),
                Is::AtLeast(number, value) => (libc::BPF_JGE, number, value),
                Is::Any(number, bits) => (libc::BPF_JSET, number, bits),
            };
            self.push(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, ARGUMENTS + 8 * number);
            self.push(libc::BPF_JMP | test | libc::BPF_K, 0, beyond, value);
        }
        self.push(libc::BPF_RET | libc::BPF_K, 0, 0, verdict(errno));
        self
    }

    /// Every call younger than Linux 3.10 answers `errno`.
    pub fn without_calls_after_3_10(mut self, errno: i32) -> Self {
        self.push(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, NUMBER);
        self.push(libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K, 0, 1, LAST_OF_3_10 as u32);
        self.push(libc::BPF_RET | libc::BPF_K, 0, 0, verdict(errno));
        self
    }

    /// What old calls have learnt since Linux 3.10 is not known either, nor what a board's kernel may be built without.
    pub fn without_flags_after_3_10(self) -> Self {
        use Is::{Any, AtLeast, Value};
        const NAMESPACES: u32 = (libc::CLONE_NEWCGROUP | libc::CLONE_NEWUSER | CLONE_NEWTIME) as u32;
        const CLONE_NEWTIME: i32 = 0x80;
        const LAST_CAPABILITY: u32 = 36; // CAP_BLOCK_SUSPEND
        self.answer(libc::SYS_unshare, &[Any(0, NAMESPACES)], libc::EINVAL)
            .answer(libc::SYS_setns, &[Any(1, NAMESPACES)], libc::EINVAL)
            .answer(libc::SYS_clone, &[Any(0, libc::CLONE_NEWUSER as u32)], libc::EINVAL)
            // TIOCGPTPEER is of 4.13.
            .answer(libc::SYS_ioctl, &[Value(1, 0x5441)], libc::ENOTTY)
            // Options from PR_SET_THP_DISABLE (3.15) on, PR_CAP_AMBIENT (4.3) among them; PR_SET_PTRACER is older.
            .answer(libc::SYS_prctl, &[Value(0, libc::PR_SET_PTRACER as u32)], 0)
            .answer(libc::SYS_prctl, &[AtLeast(0, libc::PR_SET_THP_DISABLE as u32)], libc::EINVAL)
            .answer(
                libc::SYS_prctl,
                &[Value(0, libc::PR_CAPBSET_DROP as u32), AtLeast(1, LAST_CAPABILITY + 1)],
                libc::EINVAL,
            )
            .answer(
                libc::SYS_prctl,
                &[Value(0, libc::PR_CAPBSET_READ as u32), AtLeast(1, LAST_CAPABILITY + 1)],
                libc::EINVAL,
            )
            // Seals (3.17) and what follows; locks of open file descriptions (3.15).
            .answer(libc::SYS_fcntl, &[AtLeast(1, 1033)], libc::EINVAL)
            .answer(libc::SYS_fcntl, &[AtLeast(1, 1024)], 0)
            .answer(libc::SYS_fcntl, &[AtLeast(1, 36)], libc::EINVAL)
            .answer(libc::SYS_waitid, &[AtLeast(0, libc::P_PIDFD)], libc::EINVAL)
            // O_TMPFILE (3.11) is a directory to be written.
            .answer(libc::SYS_openat, &[Any(2, (libc::O_TMPFILE & !libc::O_DIRECTORY) as u32)], libc::EISDIR)
            // MS_LAZYTIME (4.0), MS_NOSYMFOLLOW (5.10).
            .answer(libc::SYS_mount, &[Any(3, 1 << 25 | 1 << 8)], libc::EINVAL)
            // Options of sockets from SO_BUSY_POLL (3.11) on; MSG_ZEROCOPY (4.14).
            .answer(libc::SYS_setsockopt, &[Value(1, libc::SOL_SOCKET as u32), AtLeast(2, 46)], libc::ENOPROTOOPT)
            .answer(libc::SYS_getsockopt, &[Value(1, libc::SOL_SOCKET as u32), AtLeast(2, 46)], libc::ENOPROTOOPT)
            .answer(libc::SYS_sendmsg, &[Any(2, libc::MSG_ZEROCOPY as u32)], libc::EINVAL)
            // Only MODULE_INIT_IGNORE_MODVERSIONS and _VERMAGIC; compressed modules are of 5.17.
            .answer(libc::SYS_finit_module, &[Any(2, !3)], libc::EINVAL)
    }

    /// Linux 3.10, as far as calls and their flags go.
    pub fn of_3_10() -> Self {
        Kernel::new().without_calls_after_3_10(libc::ENOSYS).without_flags_after_3_10()
    }

    /// The filter, complete.
    pub fn program(&self) -> Vec<sock_filter> {
        let mut program = self.clone();
        program.push(libc::BPF_RET | libc::BPF_K, 0, 0, verdict(0));
        program.0
    }

    fn push(&mut self, code: u32, jt: u8, jf: u8, k: u32) {
        self.0.push(sock_filter { code: code as u16, jt, jf, k });
    }
}

/// `struct seccomp_data`: the call's number, the architecture, the instruction, six arguments of 8 bytes (seccomp(2)).
const NUMBER: u32 = 0;
const ARGUMENTS: u32 = 16;

fn verdict(errno: i32) -> u32 {
    if errno == 0 { libc::SECCOMP_RET_ALLOW } else { libc::SECCOMP_RET_ERRNO | errno as u32 }
}

/// False, with the skip said, where there are no filters.
#[must_use]
pub fn available(test: &str) -> bool {
    if super::emulated(test, "the filter is for the calls of this machine") {
        return false;
    }
    let available = cfg!(target_endian = "little") && sandbox::has_filters();
    if !available {
        skip(test, "this kernel has no seccomp filters", false);
    }
    available
}
