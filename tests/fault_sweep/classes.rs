//! The classes of faults, and at which calls each can come about.

use super::Point;
use super::phases::Phase;
use super::session::Session;
use crate::support::injector::{Call, Fault};
use std::time::Duration;

/// A class of faults.
pub struct Class {
    /// Its name in the table.
    pub name: &'static str,
    kind: Kind,
    /// The calls that it can come about at; none: all.
    calls: &'static [&'static str],
}

#[derive(Clone, Copy)]
enum Kind {
    Errors(&'static [i32]),
    Short,
    KillFirst,
    KillOthers,
    Delay,
    Two,
}

/// Calls that cannot fail.
const NEVER: [&str; 19] = [
    "exit",
    "exit_group",
    "arch_prctl",
    "set_tid_address",
    "rt_sigreturn",
    "rt_sigaction",
    "rt_sigprocmask",
    "getpid",
    "getppid",
    "gettid",
    "getuid",
    "geteuid",
    "getgid",
    "getegid",
    "umask",
    "restart_syscall",
    "set_robust_list",
    "getsid",
    "personality",
];

/// Longer than anything that another process does meanwhile.
const DELAY: Duration = Duration::from_millis(40);
/// How many pairs of faults are tried in each phase.
const PAIRS: usize = 500;

const DESCRIPTORS: &[&str] = &[
    "open",
    "openat",
    "openat2",
    "socket",
    "socketpair",
    "pipe2",
    "epoll_create1",
    "signalfd4",
    "accept4",
    "memfd_create",
    "inotify_init1",
    "timerfd_create",
    "pidfd_open",
    "open_tree",
    "fcntl",
    "ioctl",
    "recvmsg",
    "seccomp",
    "bpf",
];
const FILES: &[&str] = &[
    "open",
    "openat",
    "openat2",
    "mkdir",
    "mkdirat",
    "mknodat",
    "symlinkat",
    "unlink",
    "unlinkat",
    "write",
    "pwrite64",
    "read",
    "pread64",
    "mount",
    "rmdir",
    "stat",
    "lstat",
    "newfstatat",
    "statx",
    "fstatfs",
    "statfs",
    "fchown",
    "fchownat",
    "fchmod",
    "fchmodat",
    "getdents64",
    "readlink",
    "readlinkat",
    "ftruncate",
    "execve",
    "execveat",
    "rename",
    "renameat",
    "bind",
    "connect",
    "flock",
    "pivot_root",
    "chdir",
    "fchdir",
    "umount2",
];
// Without a right to mknodat the host's nodes are bound, without one to keyctl there is no keyring to be hidden: both are ways of
// their own, with tests of their own.
const RIGHTS: &[&str] = &[
    "mount",
    "umount2",
    "clone",
    "clone3",
    "setns",
    "unshare",
    "prctl",
    "capset",
    "setgroups",
    "setuid",
    "setgid",
    "setresuid",
    "setresgid",
    "bpf",
    "seccomp",
    "sethostname",
    "pivot_root",
    "kill",
    "pidfd_send_signal",
    "prlimit64",
    "setsid",
    "ioctl",
];
const WAITS: &[&str] = &[
    "epoll_wait",
    "epoll_pwait",
    "poll",
    "ppoll",
    "wait4",
    "waitid",
    "recvmsg",
    "recvfrom",
    "sendmsg",
    "sendto",
    "read",
    "write",
    "accept4",
    "connect",
    "flock",
    "clock_nanosleep",
];
const AGAIN: &[&str] = &["recvmsg", "recvfrom", "sendmsg", "sendto", "read", "write", "accept4", "connect"];
const YOUNG: &[&str] = &[
    "clone3",
    "openat2",
    "close_range",
    "pidfd_open",
    "pidfd_send_signal",
    "bpf",
    "seccomp",
    "memfd_create",
    "execveat",
    "statx",
    "mount_setattr",
    "open_tree",
];

/// All of them.
pub const CLASSES: [Class; 13] = [
    Class { name: "memory", kind: Kind::Errors(&[libc::ENOMEM]), calls: &[] },
    Class { name: "descriptors", kind: Kind::Errors(&[libc::EMFILE, libc::ENFILE]), calls: DESCRIPTORS },
    Class { name: "files", kind: Kind::Errors(&[libc::EACCES, libc::EROFS, libc::ENOSPC, libc::EIO]), calls: FILES },
    Class { name: "rights", kind: Kind::Errors(&[libc::EPERM]), calls: RIGHTS },
    Class { name: "interrupted", kind: Kind::Errors(&[libc::EINTR]), calls: WAITS },
    Class { name: "try again", kind: Kind::Errors(&[libc::EAGAIN]), calls: AGAIN },
    Class { name: "processes", kind: Kind::Errors(&[libc::EAGAIN]), calls: &["clone", "clone3", "fork", "vfork"] },
    Class { name: "not there", kind: Kind::Errors(&[libc::ENOSYS]), calls: YOUNG },
    Class { name: "short", kind: Kind::Short, calls: &["read", "write"] },
    Class { name: "kill first", kind: Kind::KillFirst, calls: &[] },
    Class { name: "kill others", kind: Kind::KillOthers, calls: &[] },
    Class { name: "delay", kind: Kind::Delay, calls: &[] },
    Class { name: "two", kind: Kind::Two, calls: &[] },
];

impl Class {
    fn has(&self, call: &Call) -> bool {
        self.calls.is_empty() || self.calls.contains(&call.name)
    }

    /// Each `step`th point of this class among the calls of a phase.
    pub fn points(&self, phase: Phase, calls: &[Call], step: usize) -> Vec<Point> {
        let can_fail = calls.iter().filter(|call| !NEVER.contains(&call.name));
        let one = |call: &Call, fault: Fault| vec![(call.clone(), fault)];
        let points: Vec<Point> = match self.kind {
            Kind::Errors(errors) => can_fail
                .filter(|call| self.has(call) && possible(call, errors))
                .flat_map(|call| errors.iter().map(move |errno| one(call, Fault::Errno(*errno))))
                .collect(),
            Kind::Short => can_fail
                .filter(|call| self.has(call) && can_be_short(call))
                .map(|call| one(call, Fault::Short))
                .collect(),
            Kind::KillFirst => {
                calls.iter().filter(|call| call.process == 0).map(|call| one(call, Fault::Kill)).collect()
            }
            Kind::KillOthers => {
                calls.iter().filter(|call| call.process != 0).map(|call| one(call, Fault::Kill)).collect()
            }
            Kind::Delay => calls.iter().map(|call| one(call, Fault::Delay(DELAY))).collect(),
            Kind::Two => return pairs(phase, calls, PAIRS.div_ceil(step)),
        };
        points.into_iter().skip(self.name.len() % step).step_by(step).collect()
    }
}

/// A descriptor is closed whatever the kernel answers; a child is waited for with what the caller brings along.
fn possible(call: &Call, errors: &[i32]) -> bool {
    match call.name {
        "close" => errors.contains(&libc::EIO),
        "wait4" | "waitid" => errors.contains(&libc::EINTR),
        _ => true,
    }
}

/// The kernel answers whole or not at all in its own filesystems, for descriptors of events, and for as little as we write into
/// a pipe; packets are not cut.
fn can_be_short(call: &Call) -> bool {
    let whole: &[&str] = match call.name {
        "write" => &["/proc/", "/sys/", "anon_inode:", "socket:", "pipe:"],
        _ => &["anon_inode:", "socket:"],
    };
    !call.object.is_empty() && !whole.iter().any(|prefix| call.object.starts_with(prefix))
}

/// All errors of all classes at a call.
fn errors(call: &Call) -> Vec<i32> {
    let of = |class: &Class| match class.kind {
        Kind::Errors(errors) if class.has(call) && possible(call, errors) => errors,
        _ => &[],
    };
    CLASSES.iter().flat_map(|class| of(class).iter().copied()).collect()
}

/// A first fault anywhere, and a second at a call that is made after it: the way out has its own calls.
fn pairs(phase: Phase, calls: &[Call], count: usize) -> Vec<Point> {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let guest = phase.guest();
    let mut session = Session::open(phase, &guest);
    let can_fail: Vec<_> = calls.iter().filter(|call| !NEVER.contains(&call.name)).collect();
    let mut points = Vec::new();
    for _ in 0..count.div_ceil(10) {
        let first = can_fail[random.below(can_fail.len())];
        let fails = errors(first);
        if fails.is_empty() {
            continue;
        }
        let first = (first.clone(), Fault::Errno(fails[random.below(fails.len())]));
        let after = session.calls_after(std::slice::from_ref(&first));
        let after: Vec<_> = after.into_iter().filter(|call| !NEVER.contains(&call.name)).collect();
        for _ in 0..10 {
            if after.is_empty() {
                break;
            }
            let second = &after[random.below(after.len())];
            let fails = errors(second);
            if !fails.is_empty() {
                points.push(vec![first.clone(), (second.clone(), Fault::Errno(fails[random.below(fails.len())]))]);
            }
        }
    }
    points
}

/// The same numbers in each run (xorshift64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}
