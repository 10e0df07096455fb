//! Which namespaces the container gets. Pure.

use crate::config::{Config, NicType};
use crate::error::{Error, Result};

/// CLONE_NEWCGROUP (Linux 4.6).
pub const CGROUP: u64 = libc::CLONE_NEWCGROUP as u64;
const NET: u64 = libc::CLONE_NEWNET as u64;
const MOUNT: u64 = libc::CLONE_NEWNS as u64;
const PID: u64 = libc::CLONE_NEWPID as u64;
const UTS: u64 = libc::CLONE_NEWUTS as u64;
const IPC: u64 = libc::CLONE_NEWIPC as u64;
/// CLONE_NEWUSER: wherever there are id maps, whatever is listed.
pub const USER: u64 = libc::CLONE_NEWUSER as u64;
const USUAL: u64 = MOUNT | PID | UTS | IPC | NET | CGROUP;

/// The ones that a process can make for itself and be in, with their names in `lxc.namespace.clone`.
pub const NAMES: [(u64, &str); 4] = [(MOUNT, "mnt"), (UTS, "uts"), (IPC, "ipc"), (NET, "net")];

/// The namespaces of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Flags for clone: all but the cgroup namespace.
    pub clone: u64,
    /// The child unshares its cgroup namespace, once it is in its groups: a namespace made before would have the
    /// supervisor's group as its root.
    pub cgroup: bool,
}

impl Plan {
    /// All flags, as GET_CLONE_FLAGS tells them.
    pub fn flags(&self) -> u64 {
        self.clone | if self.cgroup { CGROUP } else { 0 }
    }

    /// The container has a network namespace of its own.
    pub fn has_net(&self) -> bool {
        self.clone & NET != 0
    }

    /// The container has a UTS namespace of its own.
    pub fn has_uts(&self) -> bool {
        self.clone & UTS != 0
    }
}

/// Decides: everything but what is kept, or just what is listed; no network namespace where a link of type `none` asks for
/// the host's network.
pub fn plan(config: &Config<'_>) -> Result<Plan> {
    let mut flags = match (config.namespaces.clone, config.namespaces.keep) {
        (Some(listed), _) => listed & USUAL,
        (None, Some(kept)) => USUAL & !kept,
        (None, None) => USUAL,
    };
    if config.nics.iter().any(|nic| nic.kind == NicType::None) {
        flags &= !NET;
    }
    for (flag, name) in [(MOUNT, "mnt"), (PID, "pid")] {
        if flags & flag == 0 {
            return Err(Error::new(
                "namespace",
                format_args!("{}: the host's {name} namespace cannot be kept", config.place(config.namespaces.at)),
            ));
        }
    }
    if !config.isolation.idmap.is_empty() {
        flags |= USER;
    }
    Ok(Plan { clone: flags & !CGROUP, cgroup: flags & CGROUP != 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{DEFAULT, List, Namespaces, Nic};

    fn with(change: impl FnOnce(&mut Config<'static>)) -> Result<Plan> {
        let mut config = Box::new(Config::new(c"test", c"/var/lib/lxc"));
        change(&mut config);
        plan(&config)
    }

    #[test]
    fn plan_nothing_said_makes_all_but_user() {
        let plan = with(|_| {}).unwrap();
        assert_eq!(plan.flags(), USUAL);
        assert!(plan.cgroup && plan.clone & CGROUP == 0);
    }

    #[test]
    fn plan_network_none_keeps_the_hosts() {
        let nic = Nic { index: 0, kind: NicType::None, kind_name: c"none", fields: List::new(), at: DEFAULT };
        assert!(!with(|config| config.nics.push(nic).unwrap()).unwrap().has_net());
    }

    #[test]
    fn plan_keep_and_clone_are_obeyed() {
        let keep = |mask| {
            move |config: &mut Config<'static>| {
                config.namespaces = Namespaces { keep: Some(mask), clone: None, at: DEFAULT };
            }
        };
        assert_eq!(with(keep(NET | IPC)).unwrap().flags(), MOUNT | PID | UTS | CGROUP);
        assert!(with(keep(PID)).is_err());
        let listed = with(|config| config.namespaces.clone = Some(MOUNT | PID)).unwrap();
        assert_eq!(listed, Plan { clone: MOUNT | PID, cgroup: false });
    }
}
