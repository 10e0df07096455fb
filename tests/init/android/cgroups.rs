//! The cgroup hierarchies that Android mounts for itself, and the groups that it leaves in them.

use super::Init;
use super::services::Services;
use crate::{done, outcome, say};
use nix::mount::{MsFlags, mount};
use std::fs;

/// Controller, where, groups that init makes there.
const OLD: [(&str, &str, &[&str]); 5] = [
    ("cpuacct", "/acct", &[]),
    ("cpu", "/dev/cpuctl", &["apps", "bg_non_interactive"]),
    ("memory", "/dev/memcg", &["apps"]),
    ("cpuset", "/dev/cpuset", &["foreground", "background"]),
    ("schedtune", "/dev/stune", &["foreground"]),
];
const NEW: [(&str, &str, &[&str]); 6] = [
    ("blkio", "/dev/blkio", &["background"]),
    ("cpu", "/dev/cpuctl", &["foreground", "background"]),
    ("cpuacct", "/acct", &[]),
    ("cpuset", "/dev/cpuset", &["foreground", "background"]),
    ("memory", "/dev/memcg", &["apps"]),
    ("schedtune", "/dev/stune", &["foreground"]),
];
const NEWEST: [(&str, &str, &[&str]); 4] = [
    ("blkio", "/dev/blkio", &["background"]),
    ("cpu", "/dev/cpuctl", &["foreground", "background"]),
    ("cpuset", "/dev/cpuset", &["foreground", "background"]),
    ("memory", "/dev/memcg", &["apps"]),
];

impl Init {
    /// Mounts what its version does; a failure is only said. A service is put into a group of its own.
    pub fn mount_cgroups(&self, services: &mut Services) {
        let unified = match self.options.sdk {
            _ if self.options.cgroups == "none" => return,
            ..=28 => "",
            29..=30 => "/dev/cg2_bpf",
            _ => "/sys/fs/cgroup",
        };
        let table: &[_] = match self.options.sdk {
            ..=28 => &OLD,
            29..=30 => &NEW,
            _ => &NEWEST,
        };
        for (controller, target, groups) in table {
            let _ = fs::create_dir_all(target);
            let flags = MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | MsFlags::MS_NOSUID;
            let once = |data: &str| done(mount(Some("none"), *target, Some("cgroup"), flags, Some(data)));
            // Halium tries a hierarchy of two controllers once more by both names.
            let pair = controller.starts_with("cpu") && *controller != "cpuset" && self.options.halium();
            let result = once(controller).or_else(|e| if pair { once("cpu,cpuacct") } else { Err(e) });
            let mounted = result.is_ok();
            say(&format!("cgroup {controller} {target}: {}", outcome(result)));
            if mounted && self.may_leave_groups(controller) {
                groups.iter().for_each(|group| make(target, group));
                if matches!(*controller, "cpuacct" | "cpu") {
                    move_service(target, services);
                }
            }
        }
        if !unified.is_empty() {
            let _ = fs::create_dir_all(unified);
            let result = done(mount(Some("none"), unified, Some("cgroup2"), MsFlags::empty(), None::<&str>));
            let mounted = result.is_ok();
            say(&format!("cgroup2 {unified}: {}", outcome(result)));
            if mounted && self.may_leave_groups("") {
                move_service(unified, services);
            }
        }
    }

    /// Not where the hierarchy's root is the machine's, unless this is a machine for it.
    fn may_leave_groups(&self, controller: &str) -> bool {
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let is_it = |line: &&str| line.split(':').nth(1).is_some_and(|names| names.split(',').any(|n| n == controller));
        let at_root = own.lines().find(is_it).is_some_and(|line| line.ends_with(":/"));
        (at_root && own_namespace()) || self.options.cgroups == "host"
    }
}

/// Whether the cgroup namespace is not the machine's first, whose number the kernel fixes.
fn own_namespace() -> bool {
    let link = fs::read_link("/proc/self/ns/cgroup").unwrap_or_default();
    !link.as_os_str().is_empty() && link.as_os_str() != "cgroup:[4026531835]"
}

fn make(target: &str, group: &str) {
    let made = fs::create_dir(format!("{target}/{group}"));
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if let Ok(text) = fs::read(format!("{target}/{file}")) {
            let _ = fs::write(format!("{target}/{group}/{file}"), text);
        }
    }
    say(&format!("group {target}/{group}: {}", outcome(made.map(|()| "ok".into()))));
}

/// A service goes to `uid_U/pid_P`, as libprocessgroup does it, and init itself back to the top.
fn move_service(target: &str, services: &mut Services) {
    let pid = services.start(false);
    let group = format!("{target}/uid_10001/pid_{pid}");
    let result = fs::create_dir_all(&group).and_then(|()| fs::write(format!("{group}/cgroup.procs"), pid.to_string()));
    let _ = fs::write(format!("{target}/cgroup.procs"), "1");
    say(&format!("group {target}/uid_10001: {}", outcome(result.map(|()| "ok".into()))));
}
