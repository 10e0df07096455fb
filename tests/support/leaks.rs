//! The leak oracle: everything on the host that a container of this name could have left behind.

use super::Guest;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long the kernel may take to remove what is already doomed (dying processes, their cgroups).
const GRACE: Duration = Duration::from_millis(1000);

/// Fails the test if anything of `guest` is still there.
pub fn assert_none(guest: &Guest) {
    let left = after_grace(guest);
    assert!(left.is_empty(), "left behind:\n  {}\n{}", left.join("\n  "), guest.logs());
}

/// One line for each thing that is left of `guest` when the kernel has had its time.
pub fn after_grace(guest: &Guest) -> Vec<String> {
    let deadline = Instant::now() + GRACE;
    loop {
        let left = find(guest);
        if left.is_empty() || Instant::now() > deadline {
            return left;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// One line for each thing that is left of `guest`.
fn find(guest: &Guest) -> Vec<String> {
    let mut left = Vec::new();
    left.extend(guest.sandbox.processes().into_iter().map(|pid| format!("process {}", describe(pid))));
    left.extend(in_cgroup(guest).into_iter().map(|pid| format!("process of the container {}", describe(pid))));
    left.extend(cgroups(guest).into_iter().map(|dir| format!("cgroup {}", dir.display())));
    left.extend(sockets(guest).into_iter().map(|line| format!("socket {line}")));
    let now = guest.sandbox_state();
    let before = guest.state_before();
    left.extend(now.lines().filter(|line| !before.lines().any(|b| b == *line)).map(|l| format!("new: {l}")));
    left.extend(before.lines().filter(|line| !now.lines().any(|n| n == *line)).map(|l| format!("gone: {l}")));
    left
}

/// All process ids.
pub fn all_pids() -> Vec<i32> {
    fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Living processes in a cgroup of the guest.
pub fn in_cgroup(guest: &Guest) -> Vec<i32> {
    let is_ours = |pid: &i32| {
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        text.lines().any(|line| guest.owns_cgroup(line.rsplit(':').next().unwrap_or("")))
    };
    all_pids().into_iter().filter(is_ours).filter(|pid| !describe(*pid).contains(" Z ")).collect()
}

/// `PID NAME STATE PARENT...` of a process.
fn describe(pid: i32) -> String {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.split(' ').take(4).collect::<Vec<_>>().join(" ")
}

/// Cgroup directories of the guest, in any hierarchy, at most four levels deep. What is below them is not listed.
pub fn cgroups(guest: &Guest) -> Vec<PathBuf> {
    fn walk(dir: &Path, guest: &Guest, depth: u32, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if guest.owns_cgroup(&entry.path().to_string_lossy()) {
                    found.push(entry.path());
                } else if depth > 0 {
                    walk(&entry.path(), guest, depth - 1, found);
                }
            }
        }
    }
    let mut found = Vec::new();
    walk(Path::new("/sys/fs/cgroup"), guest, 4, &mut found);
    found
}

fn sockets(guest: &Guest) -> Vec<String> {
    let all = fs::read_to_string("/proc/net/unix").unwrap();
    all.lines().filter(|line| line.contains(&*guest.dir().to_string_lossy())).map(str::to_owned).collect()
}
