//! The leak oracle: everything on the host that a container of this name could have left behind.

use super::Guest;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long the kernel may take to remove what is already doomed (dying processes, their cgroups).
const GRACE: Duration = Duration::from_millis(1000);

/// Fails the test if anything of `guest` is still there.
pub fn assert_none(guest: &Guest) {
    let deadline = Instant::now() + GRACE;
    loop {
        let left = find(guest);
        if left.is_empty() {
            return;
        }
        if Instant::now() > deadline {
            panic!("left behind:\n  {}\n{}", left.join("\n  "), guest.logs());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// One line for each thing that is left of `guest`.
fn find(guest: &Guest) -> Vec<String> {
    let mut left = Vec::new();
    left.extend(guest.sandbox.processes().into_iter().map(|pid| format!("process {}", describe(pid))));
    left.extend(in_cgroup(guest.name()).into_iter().map(|pid| format!("process of the container {}", describe(pid))));
    left.extend(cgroups(guest.name()).into_iter().map(|dir| format!("cgroup {}", dir.display())));
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

/// Living processes with `name` as a whole component of a cgroup path.
pub fn in_cgroup(name: &str) -> Vec<i32> {
    all_pids()
        .into_iter()
        .filter(|pid| {
            fs::read_to_string(format!("/proc/{pid}/cgroup"))
                .unwrap_or_default()
                .lines()
                .any(|line| line.rsplit(':').next().unwrap_or("").split('/').any(|part| part == name))
        })
        .filter(|pid| !describe(*pid).contains(" Z "))
        .collect()
}

/// `PID NAME STATE PARENT...` of a process.
fn describe(pid: i32) -> String {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.split(' ').take(4).collect::<Vec<_>>().join(" ")
}

/// Cgroup directories of that name, in any hierarchy, at most four levels deep.
pub fn cgroups(name: &str) -> Vec<PathBuf> {
    fn walk(dir: &Path, name: &str, depth: u32, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let file = entry.file_name();
                let file = file.to_string_lossy();
                if file == name || file.starts_with(&format!("{name}-")) || file.ends_with(&format!(".{name}")) {
                    found.push(entry.path());
                } else if depth > 0 {
                    walk(&entry.path(), name, depth - 1, found);
                }
            }
        }
    }
    let mut found = Vec::new();
    walk(Path::new("/sys/fs/cgroup"), name, 4, &mut found);
    found
}

fn sockets(guest: &Guest) -> Vec<String> {
    let all = fs::read_to_string("/proc/net/unix").unwrap();
    all.lines().filter(|line| line.contains(&*guest.dir().to_string_lossy())).map(str::to_owned).collect()
}
