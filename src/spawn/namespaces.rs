//! Which namespaces the container gets. Pure.

use crate::config::{Config, NicType};
use crate::error::{Error, Result};

/// CLONE_NEWCGROUP (Linux 4.6).
pub const CGROUP: u64 = libc::CLONE_NEWCGROUP as u64;
/// CLONE_NEWUSER.
pub const USER: u64 = libc::CLONE_NEWUSER as u64;
/// CLONE_NEWTIME (Linux 5.6), which the libc crate lacks for musl.
pub const TIME: u64 = 0x80;
/// CLONE_NEWPID.
pub const PID: u64 = libc::CLONE_NEWPID as u64;
const NET: u64 = libc::CLONE_NEWNET as u64;
const MOUNT: u64 = libc::CLONE_NEWNS as u64;
const UTS: u64 = libc::CLONE_NEWUTS as u64;
const IPC: u64 = libc::CLONE_NEWIPC as u64;
const USUAL: u64 = MOUNT | PID | UTS | IPC | NET | CGROUP;

/// The ones that a process can make for itself and be in, with their names in `lxc.namespace.clone`.
pub const NAMES: [(u64, &str); 4] = [(MOUNT, "mnt"), (UTS, "uts"), (IPC, "ipc"), (NET, "net")];

/// The namespaces of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Flags for clone: all but the cgroup and the time namespace.
    pub clone: u64,
    /// The child unshares its cgroup namespace, once it is in its groups: a namespace made before would have the
    /// supervisor's group as its root.
    pub cgroup: bool,
    /// A time namespace is made, and its offsets set, before anybody is in it.
    pub time: bool,
    /// The ones of somebody else that are joined.
    pub shared: u64,
}

impl Plan {
    /// All that are made, as GET_CLONE_FLAGS tells them.
    pub fn flags(&self) -> u64 {
        self.clone | if self.cgroup { CGROUP } else { 0 } | if self.time { TIME } else { 0 }
    }

    /// The container has a network namespace of its own.
    pub fn has_net(&self) -> bool {
        self.clone & NET != 0
    }

    /// The container has a UTS namespace of its own.
    pub fn has_uts(&self) -> bool {
        self.clone & UTS != 0
    }

    /// init is process 1 of a pid namespace of its own: everything in there ends with it, and it can reboot.
    pub fn has_pid(&self) -> bool {
        self.clone & PID != 0
    }
}

/// Decides: everything but what is kept, or just what is listed, and nothing of what is shared; no network namespace where
/// links of type `none`, and no others, ask for the host's network.
pub fn plan(config: &Config<'_>) -> Result<Plan> {
    let isolation = &config.isolation;
    let refuse = |at, why| Err(Error::new("namespace", format_args!("{}: {why}", config.place(at))));
    let maps = isolation.idmap.first();
    let offsets = isolation.time_boot.is_some() || isolation.time_monotonic.is_some();
    let wanted = USUAL | if maps.is_some() { USER } else { 0 } | if offsets { TIME } else { 0 };
    let mut flags = match (config.namespaces.clone, config.namespaces.keep) {
        // What else is set asks for these two.
        (Some(listed), _) => listed | wanted & (USER | TIME),
        (None, Some(kept)) => wanted & !kept,
        (None, None) => wanted,
    };
    if !config.nics.is_empty() && config.nics.iter().all(|nic| nic.kind == NicType::None) {
        flags &= !NET;
    }
    let mut shared = 0;
    for share in &isolation.share {
        if share.namespace == MOUNT {
            return refuse(
                share.at,
                "the mounts of another container cannot be shared: the rootfs would replace its own",
            );
        }
        if share.namespace == TIME && offsets {
            return refuse(share.at, "a time namespace that is shared has its offsets (lxc.time.offset)");
        }
        shared |= share.namespace;
    }
    flags &= !shared;
    let at = config.namespaces.at;
    for (flag, why) in
        [(MOUNT, "the host's mnt namespace cannot be kept"), (PID, "the host's pid namespace cannot be kept")]
    {
        if (flags | shared) & flag == 0 {
            return refuse(at, why);
        }
    }
    if offsets && (flags | shared) & TIME == 0 {
        return refuse(at, "lxc.time.offset sets clocks of a time namespace, which is not to be kept");
    }
    match maps {
        None if flags & USER != 0 => return refuse(at, "a user namespace needs lxc.idmap"),
        Some(map) if flags & USER == 0 => return refuse(map.at, "lxc.idmap needs a user namespace of its own"),
        _ => {}
    }
    Ok(Plan { clone: flags & !(CGROUP | TIME), cgroup: flags & CGROUP != 0, time: flags & TIME != 0, shared })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::isolation::{IdMap, Share};
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
        let beside = Nic { kind: NicType::Empty, ..nic.clone() };
        assert!(!with(|config| config.nics.push(nic.clone()).unwrap()).unwrap().has_net());
        let both = |config: &mut Config<'static>| {
            config.nics.push(nic.clone()).unwrap();
            config.nics.push(beside.clone()).unwrap();
        };
        assert!(with(both).unwrap().has_net());
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
        assert_eq!(listed, Plan { clone: MOUNT | PID, cgroup: false, time: false, shared: 0 });
    }

    fn share(namespace: u64) -> impl Fn(&mut Config<'static>) {
        move |config| config.isolation.share.push(Share { namespace, of: c"other", at: DEFAULT }).unwrap()
    }

    #[test]
    fn plan_shared_namespaces_are_not_made() {
        let plan = with(share(PID)).unwrap();
        assert_eq!((plan.clone, plan.shared), (USUAL & !CGROUP & !PID, PID));
        assert!(!plan.has_pid() && plan.cgroup);
        assert!(!with(share(CGROUP)).unwrap().cgroup);
        assert!(with(share(MOUNT)).is_err());
    }

    #[test]
    fn plan_time_offsets_make_a_time_namespace_that_is_neither_kept_nor_shared() {
        let offset = |config: &mut Config<'static>| config.isolation.time_boot = Some(1);
        let plan = with(offset).unwrap();
        assert!(plan.time && plan.clone & TIME == 0 && plan.flags() == USUAL | TIME);
        assert!(with(|config| config.namespaces.clone = Some(TIME | MOUNT | PID)).unwrap().time);
        assert!(with(|config| (offset(config), share(TIME)(config)).0).is_err());
        assert!(with(|config| (offset(config), config.namespaces.keep = Some(TIME)).0).is_err());
    }

    #[test]
    fn plan_user_namespace_comes_with_id_maps_and_only_with_them() {
        let map = IdMap { groups: false, inside: 0, outside: 100_000, count: 1, at: DEFAULT };
        let mapped = |config: &mut Config<'static>| config.isolation.idmap.push(map).unwrap();
        assert_eq!(with(mapped).unwrap().clone, USUAL & !CGROUP | USER);
        assert!(with(|config| (mapped(config), config.namespaces.keep = Some(USER)).0).is_err());
        assert!(with(|config| (mapped(config), share(USER)(config)).0).is_err());
        assert!(with(|config| config.namespaces.clone = Some(USER | MOUNT | PID)).is_err());
    }
}
