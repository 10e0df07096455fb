//! The whole sweep of faults: each system call of supervisor and child fails, at each of its places, with each errno that the
//! kernel could answer; or its process is killed there. `make faults`; the sample of it that always runs is in faults.rs.
//!
//! After each point either everything is as if nothing had happened (same digest of the container), or the start was refused in
//! one line and nothing is left. Points that cannot be told from others by strace (the counts of supervisor, child and init
//! are their own) are left out.

use crate::faults;
use crate::support::strace::{self, Trace};
use crate::support::{Ended, Guest, Running, leaks, wait_for};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Longest that anything may take, with strace around it, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Calls that cannot fail, or whose failure by strace would not be one: a descriptor that is not closed stays open.
const NEVER: [&str; 17] = [
    "execve",
    "exit",
    "exit_group",
    "mprotect",
    "brk",
    "close",
    "munmap",
    "arch_prctl",
    "set_tid_address",
    "rt_sigreturn",
    "rt_sigaction",
    "rt_sigprocmask",
    "getpid",
    "getuid",
    "geteuid",
    "umask",
    "restart_syscall",
];

/// What each class is, and the calls that can answer so.
const CLASSES: [(&str, &[&str], &[&str]); 6] = [
    ("memory", &["ENOMEM"], &[]),
    (
        "descriptors",
        &["EMFILE", "ENFILE"],
        &[
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
            "fcntl",
            "ioctl",
        ],
    ),
    (
        "files",
        &["EACCES", "EROFS", "ENOSPC", "EIO"],
        &[
            "open",
            "openat",
            "openat2",
            "mkdir",
            "mkdirat",
            "mknodat",
            "symlinkat",
            "unlinkat",
            "write",
            "read",
            "mount",
            "rmdir",
            "stat",
            "newfstatat",
            "fchownat",
            "fchmod",
            "getdents64",
        ],
    ),
    (
        "rights",
        &["EPERM"],
        &[
            "mount",
            "clone",
            "clone3",
            "setns",
            "unshare",
            "prctl",
            "capset",
            "setgroups",
            "bpf",
            "seccomp",
            "sethostname",
            "pivot_root",
            "kill",
            "pidfd_send_signal",
        ],
    ),
    (
        "try again",
        &["EINTR", "EAGAIN"],
        &[
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
            "clone",
            "clone3",
        ],
    ),
    (
        "not there",
        &["ENOSYS"],
        &[
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
        ],
    ),
];

/// That of the sample, with a hook, a limit, and no pauses.
fn guest(label: &str) -> Guest {
    faults::guest(label).config(
        "lxc.hook.pre-start = true
        lxc.prlimit.nofile = 512
        monopod.timeout.stop = 2s
        monopod.restart.delay = 0ms",
    )
}

/// The occurrences of a call that are the supervisor's or the child's and not init's.
fn places(trace: &Trace, call: &str) -> impl Iterator<Item = usize> {
    let [supervisor, child, init] = [&trace.supervisor, &trace.child, &trace.init].map(|c| strace::count(c, call));
    (1..=supervisor.max(child)).filter(move |n| !(child + 1..=child + init).contains(n))
}

fn names(trace: &Trace) -> BTreeSet<String> {
    let calls = trace.supervisor.iter().chain(&trace.child).filter_map(|call| call.split('(').next());
    calls.filter(|name| !NEVER.contains(name)).map(str::to_owned).collect()
}

/// What a sweep found.
#[derive(Default)]
struct Found {
    points: usize,
    whole: usize,
    refused: usize,
    wrong: Vec<String>,
}

impl Found {
    fn add(&mut self, injection: &str, ended: Option<&Ended>, problems: Vec<String>) {
        self.points += 1;
        match ended {
            None => self.wrong.push(format!("{injection}: hangs")),
            Some(_) if !problems.is_empty() => self.wrong.push(format!("{injection}: {}", problems.join(", "))),
            Some(ended) if ended.code == Some(255) => self.refused += 1,
            Some(_) => self.whole += 1,
        }
    }

    #[track_caller]
    fn report(self, what: &str) {
        let Found { points, whole, refused, wrong } = self;
        println!("faults: {what}: {points} points: {whole} without effect, {refused} refused, {} wrong", wrong.len());
        let mut text = String::new();
        wrong.iter().for_each(|line| writeln!(text, "{line}").unwrap());
        assert!(wrong.is_empty() && points > 0, "{what}: {} of {points}:\n{text}", wrong.len());
    }
}

fn forget(guest: &Guest) {
    for file in ["report", "count", "results"] {
        let _ = fs::remove_file(guest.rootfs().join(file));
    }
}

/// The end of a process; None if it does not come.
fn end<'g>(mut running: Running<'g>, guest: &'g Guest) -> Option<Ended> {
    if wait_for(PATIENCE, || !running.is_running()) {
        return Some(running.wait());
    }
    guest.clean_up();
    None
}

/// Each errno at each place of a start that goes through `steps` and ends with 7.
fn sweep_start(label: &str, steps: &str) {
    if !strace::available(label) {
        return;
    }
    let guest = guest(label);
    let trace = Trace::of(&guest, steps);
    let expected = guest.report().digest();
    for (class, errors, calls) in CLASSES {
        let mut found = Found::default();
        for call in names(&trace).iter().filter(|name| calls.is_empty() || calls.contains(&name.as_str())) {
            for (place, error) in places(&trace, call).flat_map(|place| errors.iter().map(move |e| (place, e))) {
                forget(&guest);
                let injection = format!("{call}:error={error}:when={place}");
                let ended = end(strace::start_with(&guest, steps, std::slice::from_ref(&injection)), &guest);
                let problems =
                    ended.as_ref().map(|ended| faults::problems(&guest, ended, &expected, call)).unwrap_or_default();
                if !problems.is_empty() {
                    guest.clean_up();
                }
                found.add(&injection, ended.as_ref(), problems);
            }
        }
        found.report(&format!("{label}: {class}"));
    }
}

#[test]
#[ignore = "takes long: make faults"]
fn sweep_of_a_start_is_all_or_nothing() {
    sweep_start("sweep_start", "report , exit 7");
}

#[test]
#[ignore = "takes long: make faults"]
fn sweep_of_a_restart_is_all_or_nothing() {
    sweep_start("sweep_restart", "restart-times 1 , report , exit 7");
}

/// Each call of a stop that a client asks for.
#[test]
#[ignore = "takes long: make faults"]
fn sweep_of_a_stop_ends_the_container() {
    let label = "sweep_stop";
    if !strace::available(label) {
        return;
    }
    const STEPS: &str = "signals 1 , exit 7";
    let guest = guest(label);
    let drive = |injection: &[String]| {
        forget(&guest);
        let mut running = strace::start_with(&guest, STEPS, injection);
        if wait_for(PATIENCE, || !running.is_running() || guest.results().contains("ready")) {
            guest.client("stop", &["-t", "1"]);
        }
        end(running, &guest)
    };
    // The calls of the supervisor from the moment on at which init was ready.
    let before = Trace::of(&guest, "exit 7");
    let running = strace::start(&guest, STEPS, &[]);
    guest.wait_said("ready");
    guest.client("stop", &[]);
    assert_eq!(running.wait().code, Some(7));
    let text = fs::read_to_string(guest.dir().join("strace")).unwrap();
    let pid = text.split(' ').next().unwrap().to_owned();
    let calls: Vec<_> =
        text.lines().filter_map(|line| line.strip_prefix(&pid)).map(|line| line.trim_start().to_owned()).collect();
    let names: BTreeSet<_> = calls.iter().filter_map(|call| call.split('(').next()).map(str::to_owned).collect();
    let mut found = Found::default();
    for call in names.iter().filter(|name| !NEVER.contains(&name.as_str()) && !name.contains(' ')) {
        let (all, start) = (strace::count(&calls, call), strace::count(&before.supervisor, call));
        for place in start.saturating_sub(4).max(1)..=all {
            let errors = CLASSES.iter().filter(|(.., calls)| calls.is_empty() || calls.contains(&call.as_str()));
            for error in errors.flat_map(|(_, errors, _)| errors.iter()) {
                let injection = format!("{call}:error={error}:when={place}");
                let ended = drive(std::slice::from_ref(&injection));
                let problems = match &ended {
                    Some(ended) => {
                        let mut problems = leaks::after_grace(&guest);
                        if !matches!(ended.code, Some(7 | 137 | 255)) {
                            problems.push(format!("code {:?}, stderr:\n{}", ended.code, ended.stderr));
                        }
                        problems
                    }
                    None => Vec::new(),
                };
                if !problems.is_empty() {
                    guest.clean_up();
                }
                found.add(&injection, ended.as_ref(), problems);
            }
        }
    }
    found.report(label);
}

/// Each call of a client that runs a command in the container: it says so, and the container does not notice.
#[test]
#[ignore = "takes long: make faults"]
fn sweep_of_attach_leaves_the_container_alone() {
    let label = "sweep_attach";
    if !strace::available(label) {
        return;
    }
    let guest = guest(label);
    let running = guest.start("signals 1 , exit 7");
    guest.wait_said("ready");
    let attach = |words: &[String]| {
        let client = guest.tool("attach", &["--", "/init", "print", "inside"]);
        let mut command = Command::new("strace");
        command.args(["-f", "-qqq", "-o"]).arg(guest.dir().join("strace")).args(words);
        command.arg(client.get_program()).args(client.get_args()).stdin(Stdio::null());
        guest.sandbox.enter(&mut command);
        end(Running::new(&guest, command), &guest)
    };
    assert_eq!(attach(&[]).unwrap().stdout, "inside\n");
    let text = fs::read_to_string(guest.dir().join("strace")).unwrap();
    let calls: Vec<_> =
        text.lines().filter_map(|line| line.split_once(' ')).map(|(pid, call)| (pid, call.trim_start())).collect();
    let pids: BTreeSet<_> = calls.iter().map(|(pid, _)| *pid).collect();
    let most = |name: &str| {
        let of = |pid: &&str| calls.iter().filter(|(p, call)| p == pid && strace::is(call, name)).count();
        pids.iter().map(of).max().unwrap_or(0)
    };
    let names: BTreeSet<_> = calls.iter().filter_map(|(_, call)| call.split('(').next()).collect();
    let mut found = Found::default();
    for call in names.iter().filter(|name| !NEVER.contains(*name) && !name.contains([' ', '<', '+'])) {
        for place in 1..=most(call) {
            let errors = CLASSES.iter().filter(|(.., calls)| calls.is_empty() || calls.contains(call));
            for error in errors.flat_map(|(_, errors, _)| errors.iter()) {
                let injection = format!("{call}:error={error}:when={place}");
                let words = ["-e".to_owned(), format!("trace={call}"), "-e".into(), format!("inject={injection}")];
                let ended = attach(&words);
                let mut problems = Vec::new();
                if let Some(ended) = &ended {
                    let fine = ended.code == Some(0) && ended.stdout == "inside\n";
                    let refused = ended.code != Some(0) && (!ended.stderr.is_empty() || *call == "write");
                    // The command itself may be what cannot print.
                    if !fine && !refused && *call != "write" {
                        problems.push(format!("{ended}"));
                    }
                }
                if !wait_for(Duration::from_secs(2), || guest.pids().len() == 1) {
                    problems.push(format!("processes {:?}", guest.pids()));
                }
                found.add(&injection, ended.as_ref(), problems);
            }
        }
    }
    guest.client("stop", &[]);
    assert_eq!(running.wait().code, Some(7));
    guest.assert_nothing_left();
    found.report(label);
}

/// Supervisor or child is killed at each call: the container ends with it, and the next start is as the first.
#[test]
#[ignore = "takes long: make faults"]
fn sweep_of_kills_leaves_nothing_that_the_next_start_does_not_clean() {
    let label = "sweep_kill";
    if !strace::available(label) {
        return;
    }
    const STEPS: &str = "report , exit 7";
    let guest = guest(label);
    let trace = Trace::of(&guest, STEPS);
    let expected = guest.report().digest();
    let mut found = Found::default();
    for call in names(&trace) {
        for place in places(&trace, &call) {
            forget(&guest);
            let injection = format!("{call}:signal=KILL:when={place}");
            let ended = end(strace::start_with(&guest, STEPS, std::slice::from_ref(&injection)), &guest);
            let mut problems = Vec::new();
            if !wait_for(Duration::from_secs(2), || guest.pids().is_empty() && guest.sandbox.processes().is_empty()) {
                problems.push(format!("lives: {:?} {:?}", guest.pids(), guest.sandbox.processes()));
                guest.clean_up();
            }
            forget(&guest);
            let again = guest.run(STEPS);
            problems.extend(faults::problems(&guest, &again, &expected, ""));
            if again.code != Some(7) {
                problems.push(format!("the next start: {again}"));
            }
            if !problems.is_empty() {
                guest.clean_up();
            }
            found.add(&injection, ended.as_ref(), problems);
        }
    }
    found.report(label);
}
