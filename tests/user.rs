//! What shows only with a binary of another machine, under qemu-user (`make test-user`). All other tests are run that way
//! as well.

use crate::support::{Guest, Running, program, skip};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// What runs the binary under test, and that binary. None, with the skip said, where it is this machine's own.
fn emulated(test: &str) -> Option<[PathBuf; 2]> {
    let words = program().try_into().ok();
    if words.is_none() {
        skip(test, "MONOPOD_RUNNER is not set (make test-user sets it)", false);
    }
    words
}

/// qemu-user clones no namespaces, it unshares them.
#[test]
fn foreign_binary_makes_the_same_container() {
    if emulated("foreign_binary_makes_the_same_container").is_none() {
        return;
    }
    let guest = Guest::new("foreign").config(
        "lxc.console.path =
        lxc.tty.max = 2
        lxc.uts.name = inside
        lxc.mount.auto = proc:mixed sys:ro
        lxc.mount.entry = tmpfs mnt/deep/er tmpfs create=dir 0 0
        lxc.cap.keep = kill sys_admin",
    );
    let start = guest.start_command("report , exit 7");
    let found = || {
        // qemu-user does not let go of ignored signals 32 and 33, and has no keyrings.
        let digest = guest.report().digest();
        let known = |line: &&str| !line.starts_with("status: SigIgn:") && !line.starts_with("session keyring ");
        digest.lines().filter(known).collect::<Vec<_>>().join("\n")
    };
    let mut own = Command::new(env!("CARGO_BIN_EXE_monopod"));
    own.args(start.get_args().skip(1)).stdin(Stdio::null());
    guest.enter(&mut own);
    let ended = Running::new(&guest, own).wait();
    assert_eq!(ended.code, Some(7), "{ended}");
    assert!(!guest.file("log").contains("unsharing them"), "{ended}");
    let expected = found();
    let ended = Running::new(&guest, start).wait();
    assert_eq!(ended.code, Some(7), "{ended}");
    assert!(guest.file("log").contains("unsharing them"), "{ended}");
    assert_eq!(found(), expected);
    guest.assert_nothing_left();
}

/// The system calls of all our binaries that Linux 3.10 has, by qemu's names.
const OLD: &str = "\
    accept4 access arch_prctl bind brk capget capset chdir chroot clock_gettime clock_nanosleep \
    clock_nanosleep_time64 clone close connect dup dup2 dup3 epoll_create1 epoll_ctl epoll_pwait execve exit \
    exit_group faccessat fchdir fchownat fcntl fcntl64 flock fstat fstat64 fstatat64 fstatfs fstatfs64 ftruncate ftruncate64 getdents64 \
    geteuid geteuid32 getegid getegid32 getgid getgid32 getgroups getgroups32 getpid getppid getsockopt gettid getuid getuid32 ioctl keyctl kill listen lseek lstat lstat64 madvise \
    mkdir mkdirat mknodat mmap mmap2 mount mprotect munmap nanosleep newfstatat open openat personality pipe2 \
    pivot_root poll ppoll prctl pread64 prlimit64 pwrite64 read readlink readlinkat readv recvfrom recvmsg \
    rt_sigaction rt_sigprocmask sendmsg sendto set_tid_address setgid setgid32 setgroups setgroups32 sethostname \
    setns setpgid setsid setsockopt setuid setuid32 signalfd4 socket socketpair stat stat64 statfs statfs64 symlinkat umask \
    umount2 uname unlink unlinkat unshare wait4 waitid write writev";

/// The younger ones: for the first four the C library has the older way, the rest are ours (`old_kernels::NEW`). qemu-user
/// knows open_tree and move_mount by their numbers only.
const YOUNG: &str = "clock_gettime64 clock_nanosleep_time64 ppoll_time64 statx clone3 openat2 close_range open_tree move_mount \
    428 429 mount_setattr";

/// Calls that the C library makes on this machine but not on that one would be missed by strace.
#[test]
fn foreign_binary_calls_nothing_young_that_is_not_known() {
    let Some([runner, binary]) = emulated("foreign_binary_calls_nothing_young_that_is_not_known") else { return };
    let guest = Guest::new("foreign_calls").config("lxc.console.path =\nlxc.tty.max = 2\nlxc.mount.auto = proc sys");
    let traced = |command: &Command, name: &str| {
        let mut traced = Command::new(&runner);
        traced.args(["-strace", "-D"]).arg(guest.dir().join(name)).arg(&binary);
        traced.args(command.get_args().skip(1)).stdin(Stdio::null());
        guest.enter(&mut traced);
        Running::new(&guest, traced)
    };
    let running = traced(&guest.start_command("restart-times 1 , signals 1 , poweroff"), "trace-start");
    guest.wait_said("ready");
    assert_eq!(traced(&guest.tool("info", &[]), "trace-info").wait().code, Some(0));
    assert_eq!(traced(&guest.tool("stop", &[]), "trace-stop").wait().code, Some(0));
    let ended = running.wait();
    assert_eq!(ended.code, Some(0), "{ended}");
    let traces = ["trace-start", "trace-info", "trace-stop"].map(|name| std::fs::read(guest.dir().join(name)).unwrap());
    let called = calls(&String::from_utf8_lossy(&traces.concat()));
    assert!(called.contains("unshare") && called.contains("openat2"), "{called:?}");
    let unknown = |call: &&String| ![OLD, YOUNG].iter().any(|list| list.split_whitespace().any(|known| known == *call));
    assert_eq!(called.iter().filter(unknown).collect::<Vec<_>>(), Vec::<&String>::new());
    guest.assert_nothing_left();
}

/// The names in a trace of qemu-user: `PID NAME(`, or `PID Unknown syscall NUMBER` for calls that it does not have. The
/// lines of several processes may run into each other.
fn calls(trace: &str) -> BTreeSet<String> {
    let is_pid = |word: &str| word.ends_with(|c: char| c.is_ascii_digit());
    let words: Vec<&str> = trace.split([' ', '\n']).collect();
    let mut called = BTreeSet::new();
    for three in words.windows(3) {
        let [pid, name, number] = three else { continue };
        match name.split_once('(') {
            Some((name, _)) if is_pid(pid) && name.starts_with(|c: char| c.is_ascii_lowercase()) => {
                called.insert(name.to_owned());
            }
            None if *pid == "Unknown" && *name == "syscall" => {
                let number = number.trim_end_matches(|c: char| !c.is_ascii_digit());
                let name = match number {
                    "435" => "clone3",
                    "437" => "openat2",
                    other => other,
                };
                called.insert(name.to_owned());
            }
            _ => {}
        }
    }
    called
}
