//! System calls that fail, and processes that die, in the middle of a start: either the container runs, whole, or there is
//! one line that says why not, and nothing is left.

#[cfg(feature = "seccomp")]
use crate::support::injector::{self, Call, Fault, Injected};
use crate::support::strace::{self, Trace};
use crate::support::{Ended, Guest, leaks, sandbox, wait_until};
#[cfg(feature = "seccomp")]
use crate::support::{dynamic, skip};
use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

/// Longest that a start may take, with strace around it, on a machine that is busy with the other tests.
const PATIENCE: Duration = Duration::from_secs(20);

const STEPS: &str = "report , exit 7";

/// A guest with something of everything that a start does.
pub fn guest(label: &str) -> Guest {
    let guest = Guest::new(label);
    fs::write(guest.dir().join("policy"), "2\ndenylist\nadjtimex errno 1\n").unwrap();
    guest.config(
        "lxc.console.path =
        lxc.console.logfile = {dir}/console.log
        lxc.tty.max = 1
        lxc.uts.name = inside
        lxc.mount.auto = proc:mixed sys:ro
        lxc.mount.entry = tmpfs mnt/made tmpfs create=dir 0 0
        lxc.cap.drop = mac_admin
        lxc.seccomp.profile = {dir}/policy
        monopod.protect = 1
        monopod.reboot.recovery = restart",
    )
}

/// First, middle and last occurrence of a call in supervisor and child. strace counts in each process by itself, so those
/// numbers that would hit init are left out: its failures are its own.
fn places(trace: &Trace, call: &str) -> BTreeSet<usize> {
    let [supervisor, child, init] = [&trace.supervisor, &trace.child, &trace.init].map(|c| strace::count(c, call));
    let of = |count: usize| [1, count.div_ceil(2), count].into_iter().filter(move |n| (1..=count).contains(n));
    of(supervisor).chain(of(child)).filter(|n| !(child + 1..=child + init).contains(n)).collect()
}

/// What is wrong after a start that something failed in.
///
/// With a failing `write` the line that says so may be the one that could not be written.
pub fn problems(guest: &Guest, ended: &Ended, expected: &str, call: &str) -> Vec<String> {
    let mut problems = leaks::after_grace(guest);
    match ended.code {
        Some(7) if guest.report().digest() == expected => {}
        Some(7) => problems.push("a lesser container".into()),
        Some(255) if ended.stderr.lines().count() == 1 || call == "write" => {}
        code => problems.push(format!("code {code:?}, stderr:\n{}", ended.stderr)),
    }
    problems
}

#[test]
fn interrupted_waits_go_on() {
    if !strace::available("interrupted_waits_go_on") {
        return;
    }
    // A stop and a continue, or a debugger, end these waits early whatever signals are blocked.
    let guest = guest("eintr");
    let trace = Trace::of(&guest, STEPS);
    let expected = guest.report().digest();
    let (mut points, mut wrong) = (0, Vec::new());
    for call in ["epoll_wait", "epoll_pwait", "poll", "ppoll", "wait4", "waitid"] {
        for place in places(&trace, call) {
            let injection = format!("{call}:error=EINTR:when={place}");
            let ended = strace::run(&guest, STEPS, std::slice::from_ref(&injection));
            let problems = problems(&guest, &ended, &expected, call);
            if ended.code != Some(7) || !problems.is_empty() {
                wrong.push(format!("{injection}: {:?}, {}{}", ended.code, ended.stderr, problems.join(", ")));
                guest.clean_up();
            }
            points += 1;
        }
    }
    assert!(wrong.is_empty(), "{} of {points}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(points > 0);
}

#[test]
fn child_killed_before_exec_is_a_refused_start() {
    if !strace::available("child_killed_before_exec_is_a_refused_start") {
        return;
    }
    let guest = guest("killed_child");
    for place in ["mount:when=1", "mount:when=3", "mknodat:when=2", "sethostname", "pivot_root"] {
        let (call, when) = place.split_once(':').unwrap_or((place, "when=1"));
        let ended = strace::run(&guest, STEPS, &[format!("{call}:signal=KILL:{when}")]);
        assert_eq!(ended.code, Some(255), "{place}{ended}");
        assert_eq!(ended.stderr.lines().count(), 1, "{place}{ended}");
        assert!(ended.stderr.contains("killed by signal 9"), "{place}{ended}");
        assert!(!guest.rootfs().join("report").exists(), "{place}");
        guest.assert_nothing_left();
    }
}

#[test]
fn child_killed_on_the_way_from_go_to_exec_counts_as_init() {
    if !strace::available("child_killed_on_the_way_from_go_to_exec_counts_as_init") {
        return;
    }
    // The barrier's end is the sign of the exec, so from "go" on the process is init to those who ask.
    let guest = guest("killed_late");
    let ended = strace::run(&guest, STEPS, &["setsid:signal=KILL:when=1".into()]);
    assert!([Some(128 + libc::SIGKILL), Some(255)].contains(&ended.code), "{ended}");
    assert_eq!(ended.stderr.lines().count(), 1, "{ended}");
    guest.assert_nothing_left();
}

/// Children of a process.
fn children(pid: i32) -> Vec<i32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

#[test]
fn supervisor_killed_while_its_child_dawdles_takes_it_along() {
    if !strace::available("supervisor_killed_while_its_child_dawdles_takes_it_along") {
        return;
    }
    // Before it has asked for a signal at its parent's death, and at later places.
    for call in ["prctl", "umask", "pivot_root", "setsid"] {
        let guest = guest("killed_supervisor");
        let injection = format!("inject={call}:delay_enter=1500000:when=1");
        let running = strace::start(&guest, "say lives , forever", &["-e", &format!("trace={call}"), "-e", &injection]);
        let mut supervisor = 0;
        wait_until("the container's process", || {
            // strace has short-lived children of its own.
            let parent = children(running.pid()).into_iter().find(|pid| !children(*pid).is_empty());
            supervisor = parent.unwrap_or(0);
            supervisor != 0
        });
        sandbox::kill(supervisor, libc::SIGKILL);
        // strace stays as long as anybody lives whom the supervisor started.
        running.wait_at_most(PATIENCE);
        assert_eq!(guest.results(), "", "{call}");
        assert_eq!(guest.pids(), [], "{call}");
        let again = guest.run("exit 3");
        assert_eq!(again.code, Some(3), "{call}{again}");
        guest.assert_nothing_left();
    }
}

/// A start with `errno` for the first call that `which` chooses. Several processes share the work, so that the number of a call
/// may be another one the next time: then once more.
#[cfg(feature = "seccomp")]
fn with_fault(guest: &Guest, which: impl Fn(&Call) -> bool, errno: i32) -> Ended {
    for _ in 0..50 {
        let calm = Injected::start(guest, guest.start_command(STEPS), &[], true);
        let ended = calm.wait(PATIENCE).unwrap();
        assert_eq!(ended.code, Some(7), "{ended}");
        let call = calm.calls().into_iter().find(&which).unwrap();
        fs::remove_file(guest.rootfs().join("report")).unwrap();
        let fault = [(call.clone(), Fault::Errno(errno))];
        let injected = Injected::start(guest, guest.start_command(STEPS), &fault, true);
        let ended = injected.wait(PATIENCE).unwrap();
        let met = injected.calls().into_iter().find(&which);
        if met.is_some_and(|met| (met.process, met.name, met.nth) == (call.process, call.name, call.nth)) {
            return ended;
        }
    }
    panic!("no start comes to the same call twice")
}

#[cfg(feature = "seccomp")]
#[track_caller]
fn assert_refused(guest: &Guest, ended: &Ended, why: &str) {
    assert_eq!(ended.code, Some(255), "{ended}");
    assert_eq!(ended.stderr.lines().count(), 1, "{ended}");
    assert!(ended.stderr.contains(why), "{ended}");
    guest.assert_nothing_left();
}

#[cfg(feature = "seccomp")]
#[test]
fn child_that_fails_on_its_last_steps_says_why() {
    if !injector::available("child_that_fails_on_its_last_steps_says_why") {
        return;
    }
    // It ends without having read the word to go on, which resets the connection that its report is in.
    let guest = guest("unread");
    let go = |call: &Call| call.process > 0 && call.name == "recvfrom" && call.nth == 2;
    let ended = with_fault(&guest, go, libc::ENOMEM);
    assert_refused(&guest, &ended, "Out of memory");
}

#[cfg(feature = "seccomp")]
#[test]
fn links_that_cannot_be_made_in_our_own_dev_refuse_the_start() {
    if !injector::available("links_that_cannot_be_made_in_our_own_dev_refuse_the_start") {
        return;
    }
    let guest = guest("dev_links");
    let ended = with_fault(&guest, |call| call.name == "symlinkat" && call.object == "stdin", libc::EROFS);
    assert_refused(&guest, &ended, "make the links of /dev");
}

#[cfg(feature = "seccomp")]
#[test]
fn cgroup_hierarchy_that_cannot_be_looked_at_is_not_passed_over() {
    if dynamic("cgroup_hierarchy_that_cannot_be_looked_at_is_not_passed_over", "its C library makes other calls") {
        return;
    }
    if !injector::available("cgroup_hierarchy_that_cannot_be_looked_at_is_not_passed_over") {
        return;
    }
    let guest = guest("hierarchy");
    let hierarchy = |call: &Call| call.name == "stat" && call.object.starts_with("/sys/fs/cgroup");
    let ended = with_fault(&guest, hierarchy, libc::ENOMEM);
    assert_refused(&guest, &ended, "cgroup");
}

#[cfg(feature = "seccomp")]
#[test]
fn cgroup_that_is_not_removed_at_once_is_removed_later() {
    if !injector::available("cgroup_that_is_not_removed_at_once_is_removed_later") {
        return;
    }
    let guest = guest("rmdir");
    let own = |call: &Call| call.name == "unlinkat" && call.object.ends_with(guest.name());
    let ended = with_fault(&guest, own, libc::EACCES);
    assert_eq!(ended.code, Some(7), "{ended}");
    guest.assert_nothing_left();
}

/// Whatever of init's confinement cannot be read refuses the attach: the command must not run with less.
#[cfg(feature = "seccomp")]
#[test]
fn attach_that_cannot_read_what_init_is_like_is_refused() {
    if dynamic("attach_that_cannot_read_what_init_is_like_is_refused", "its C library makes other calls") {
        return;
    }
    if !injector::available("attach_that_cannot_read_what_init_is_like_is_refused") {
        return;
    }
    let guest = guest("attach_blind");
    let running = guest.start("signals 1 , exit 7");
    guest.wait_said("ready");
    let attach = |faults: &[(Call, Fault)]| {
        let injected = Injected::start(&guest, guest.tool("attach", &["--", "/init", "print", "in"]), faults, true);
        (injected.wait(PATIENCE).unwrap(), injected.calls())
    };
    let (ended, calls) = attach(&[]);
    assert_eq!(ended.stdout, "in\n", "{ended}");
    let facts: [(&str, &str); 7] = [
        ("readlink", "/ns/net"),
        ("readlink", "/ns/ipc"),
        ("open", "/cgroup"),
        ("open", "/mountinfo"),
        ("stat", "/sys/fs/cgroup/"),
        ("prlimit64", ""),
        ("memfd_create", ""),
    ];
    for (name, object) in facts {
        let is = |call: &&Call| call.process == 0 && call.name.starts_with(name) && call.object.contains(object);
        let call = calls.iter().rfind(is);
        let call = call.unwrap_or_else(|| panic!("{name} {object}"));
        let (ended, _) = attach(&[(call.clone(), Fault::Errno(libc::ENOMEM))]);
        assert_eq!(ended.code, Some(1), "{name} {object}{ended}");
        assert_eq!(ended.stderr.lines().count(), 1, "{name} {object}{ended}");
        assert_eq!(ended.stdout, "", "{name} {object}{ended}");
    }
    // The last of what it asks the supervisor for is the policy, after the state, init and the environment.
    let asked: Vec<_> = calls.iter().filter(|call| call.process == 0 && call.name == "connect").collect();
    for call in asked {
        let (ended, _) = attach(&[(call.clone(), Fault::Errno(libc::ENOMEM))]);
        assert!(ended.code == Some(1) && ended.stdout.is_empty(), "{call:?}{ended}");
    }
    guest.client("stop", &[]);
    assert_eq!(running.wait().code, Some(0));
    guest.assert_nothing_left();
}

/// Where one hierarchy cannot be thawed and the next can, the client must not wait for a thaw that has never begun.
#[cfg(feature = "seccomp")]
#[test]
fn thaw_that_fails_in_the_first_hierarchy_is_told() {
    let test = "thaw_that_fails_in_the_first_hierarchy_is_told";
    if !injector::available(test) {
        return;
    }
    let guest = guest("thaw");
    let drive = |faults: &[(Call, Fault)]| {
        let _ = fs::remove_file(guest.rootfs().join("results"));
        let injected = Injected::start(&guest, guest.start_command("signals 1 , exit 7"), faults, true);
        guest.wait_said("ready");
        guest.wait_running();
        assert_eq!(guest.client("freeze", &[]).code, Some(0));
        let before = injected.made();
        let thawed = guest.client("unfreeze", &["-t", "5"]);
        guest.client("unfreeze", &[]);
        guest.client("stop", &[]);
        assert_eq!(injected.wait(PATIENCE).unwrap().code, Some(0));
        guest.assert_nothing_left();
        (thawed, injected.calls().split_off(before))
    };
    let (thawed, calls) = drive(&[]);
    assert_eq!(thawed.code, Some(0), "{thawed}");
    let is_freezer = |call: &&Call| call.name == "openat" && call.object.ends_with("/cgroup.freeze");
    let Some(call) = calls.iter().find(is_freezer).cloned() else {
        return skip(test, "the container is not in a hierarchy of cgroup v2", false);
    };
    // The number of the call may be another one the next time.
    let mut drives = (0..50).map(|_| drive(&[(call.clone(), Fault::Errno(libc::ENOMEM))]));
    let (thawed, _) =
        drives.find(|(_, calls)| calls.iter().find(is_freezer).is_some_and(|it| it.nth == call.nth)).unwrap();
    assert_eq!(thawed.code, Some(1), "{thawed}");
    assert!(thawed.stderr.contains("Out of memory"), "{thawed}");
}

/// A mount with ids of its own that cannot be looked at must not be made without them.
#[cfg(all(feature = "seccomp", feature = "idmap"))]
#[test]
fn mapped_mount_that_cannot_be_looked_at_is_made_or_refused() {
    if !injector::available("mapped_mount_that_cannot_be_looked_at_is_made_or_refused") {
        return;
    }
    let guest = guest("mapped_blind").config(
        "lxc.idmap = u 0 100000 65536
        lxc.idmap = g 0 100000 65536
        lxc.rootfs.options = idmap=container
        lxc.mount.entry = {dir} mnt none bind,idmap=container 0 0",
    );
    guest.run(STEPS);
    let expected = guest.report().digest();
    let ended = with_fault(&guest, |call| call.process > 0 && call.name == "fstat", libc::ENOMEM);
    assert_eq!(problems(&guest, &ended, &expected, ""), Vec::<String>::new(), "{ended}");
}
