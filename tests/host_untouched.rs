//! After a guest with everything switched on, the host is what it was before.

use crate::support::{Guest, wait_for};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Values under /proc/sys that change by themselves.
const RESTLESS: [&str; 8] = ["random", "_nr", "-nr", "/nr", "ns_last_pid", "inode-", "dentry-state", "nr_"];

/// Every value under /proc/sys that can be read.
fn sysctls() -> BTreeMap<String, String> {
    fn walk(dir: &Path, values: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = path.to_string_lossy().into_owned();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                walk(&path, values);
            } else if !RESTLESS.iter().any(|part| name.contains(part))
                && let Ok(value) = fs::read_to_string(&path)
            {
                values.insert(name, value);
            }
        }
    }
    let mut values = BTreeMap::new();
    walk(Path::new("/proc/sys"), &mut values);
    values
}

fn differences(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<String> {
    let changed = |(name, value): (&String, &String)| (after.get(name) != Some(value)).then(|| name.clone());
    before.iter().filter_map(changed).collect()
}

/// The cgroup directories, network links, and mode of /proc/cmdline as the sandbox sees them.
fn machine(guest: &Guest) -> String {
    guest.sandbox.sh("
        find /sys/fs/cgroup -type d
        ls /sys/class/net
        stat -c '%a %n' /proc/cmdline
        hostname
        cat /sys/fs/cgroup/cpuset/cpuset.cpus /sys/fs/cgroup/*/cgroup.subtree_control 2>/dev/null || :
    ")
}

#[test]
fn guest_with_everything_leaves_the_host_as_it_was() {
    let guest = Guest::new("untouched").with_cgroup_view().config(
        "lxc.uts.name = inside
        lxc.tty.max = 4
        lxc.tty.dir = lxc
        lxc.console.path =
        lxc.console.logfile = {dir}/console.log
        lxc.mount.auto = proc sys
        lxc.mount.entry = tmpfs mnt tmpfs defaults 0 0
        lxc.sysctl.net.ipv4.ip_forward = 1
        lxc.prlimit.nofile = 64
        lxc.cap.drop = mac_admin
        monopod.restart.delay = 0ms",
    );
    let hook = guest.script("hook", "exit 0");
    let guest = guest.config(
        &["pre-start", "pre-mount", "mount", "autodev", "start-host", "stop", "post-stop"]
            .map(|kind| format!("lxc.hook.{kind} = {hook}\n"))
            .concat(),
    );
    let (sysctls_before, machine_before) = (sysctls(), machine(&guest));
    let own_mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();

    let ended = guest.run("report , print hello , restart-times 2 , exit 0");

    assert_eq!(ended.code, Some(0), "{ended}");
    guest.assert_nothing_left();
    assert!(wait_for(Duration::from_secs(1), || machine(&guest) == machine_before), "{}", machine(&guest));
    assert_eq!(differences(&sysctls_before, &sysctls()), [] as [&str; 0]);
    let name = guest.name();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(name) && !own_mounts.contains(name), "{mounts}");
}

#[test]
fn refused_start_leaves_the_host_as_it_was() {
    let guest = Guest::new("untouched_refused").with_cgroup_view();
    let guest = guest.config("lxc.tty.max = 4\nlxc.mount.entry = /nonexistent mnt none bind 0 0");
    let (sysctls_before, machine_before) = (sysctls(), machine(&guest));
    let ended = guest.run("exit 0");
    assert_eq!(ended.code, Some(255), "{ended}");
    guest.assert_nothing_left();
    assert!(wait_for(Duration::from_secs(1), || machine(&guest) == machine_before), "{}", machine(&guest));
    assert_eq!(differences(&sysctls_before, &sysctls()), [] as [&str; 0]);
}
