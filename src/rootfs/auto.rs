//! `lxc.mount.auto`: proc, sys and cgroups (lxc.container.conf(5)).

use super::Site;
use super::beneath::{FdPath, Root, mount_on};
use crate::cgroup::find::Hierarchy;
use crate::cgroup::place::path_of;
use crate::config::{AutoCgroup, AutoProc, AutoSys, CgroupAccess};
use crate::guard::masks::{self, Kind};
use crate::text::PathText;
use core::ffi::CStr;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, PROC_SUPER_MAGIC, SYSFS_MAGIC, TMPFS_MAGIC};

const QUIET: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV).union(MsFlags::MS_NOEXEC);

/// Binds what is at `path` onto itself, so that it can have flags of its own.
fn bind_onto_itself(root: &Root, path: &[u8], deep: bool) -> nix::Result<()> {
    let place = root.target(path)?;
    let flags = if deep { MsFlags::MS_BIND | MsFlags::MS_REC } else { MsFlags::MS_BIND };
    mount_on(&place, Some(FdPath::of(&place).c()), None, flags, None)
}

/// Makes the topmost mount at `path` read-only; mounts below it keep their own mode.
fn make_read_only(root: &Root, path: &[u8], keep: MsFlags) -> nix::Result<()> {
    let mounted = root.target(path)?;
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY | keep;
    mount_on(&mounted, None, None, flags, None)
}

/// proc; in the mixed form with /proc/sys and /proc/sysrq-trigger read-only, and /proc/sys/net writable for a guest that has
/// CAP_NET_ADMIN.
pub fn proc(site: &Site<'_>, root: &Root, form: AutoProc) -> nix::Result<()> {
    let place = root.make_directories(b"proc")?;
    mount_on(&place, Some(c"proc"), Some(c"proc"), QUIET, None)?;
    masks::apply_in(root, b"proc", Kind::Proc, &site.config.own)?;
    if form == AutoProc::Rw {
        return Ok(());
    }
    let proc = root.mounted(b"proc", PROC_SUPER_MAGIC)?;
    // A kernel without networking has no /proc/sys/net, one without sysrq no trigger.
    let missing_is_fine = |errno| if errno == Errno::ENOENT { Ok(()) } else { Err(errno) };
    if wants_capability(site, NET_ADMIN) {
        bind_onto_itself(&proc, b"sys/net", false).or_else(missing_is_fine)?;
    }
    bind_onto_itself(&proc, b"sys", true)?;
    make_read_only(&proc, b"sys", QUIET)?;
    bind_onto_itself(&proc, b"sysrq-trigger", false)
        .and_then(|()| make_read_only(&proc, b"sysrq-trigger", QUIET))
        .or_else(missing_is_fine)
}

/// sysfs; in the mixed form read-only but for /sys/devices/virtual/net.
pub fn sys(site: &Site<'_>, root: &Root, form: AutoSys) -> nix::Result<()> {
    let place = root.make_directories(b"sys")?;
    let flags = if form == AutoSys::Ro { QUIET | MsFlags::MS_RDONLY } else { QUIET };
    mount_on(&place, Some(c"sysfs"), Some(c"sysfs"), flags, None)?;
    masks::apply_in(root, b"sys", Kind::Sysfs, &site.config.own)?;
    if form != AutoSys::Mixed {
        return Ok(());
    }
    let sys = root.mounted(b"sys", SYSFS_MAGIC)?;
    match bind_onto_itself(&sys, b"devices/virtual/net", false) {
        Ok(()) | Err(Errno::ENOENT) => {}
        Err(errno) => return Err(errno),
    }
    make_read_only(&sys, b"", QUIET)
}

/// cgroups. In a cgroup namespace a guest with CAP_SYS_ADMIN mounts them itself, so on a v1 or hybrid host nothing is done
/// without `:force`; on a v2-only host they are always mounted, because many guests expect to find them there.
pub fn cgroup(site: &Site<'_>, root: &Root, form: AutoCgroup) -> nix::Result<()> {
    let pure_v2 = site.hierarchies.iter().all(|hierarchy| hierarchy.v2);
    let can_mount = wants_capability(site, SYS_ADMIN);
    if site.hierarchies.is_empty() || site.cgroup_namespace && !form.force && can_mount && !pure_v2 {
        return Ok(());
    }
    let place = root.make_directories(b"sys/fs/cgroup")?;
    if pure_v2 {
        let Some(hierarchy) = site.hierarchies.first() else { return Ok(()) };
        return one_hierarchy(site, root, hierarchy, b"sys/fs/cgroup", form);
    }
    mount_on(&place, Some(c"tmpfs"), Some(c"tmpfs"), QUIET, Some(SIZE))?;
    let all = root.mounted(b"sys/fs/cgroup", TMPFS_MAGIC)?;
    for hierarchy in site.hierarchies {
        let name = hierarchy.mountpoint.to_bytes().rsplit(|b| *b == b'/').next().unwrap_or(b"cgroup");
        all.make_directories(name)?;
        one_hierarchy(site, &all, hierarchy, name, form)?;
    }
    if form.access == CgroupAccess::Rw {
        return Ok(());
    }
    make_read_only(&all, b"", QUIET)
}

/// Options of the tmpfs that shows the hierarchies.
const SIZE: &CStr = c"mode=755,size=10240k";
const NET_ADMIN: u32 = 12;
const SYS_ADMIN: u32 = 21;

fn wants_capability(site: &Site<'_>, number: u32) -> bool {
    let caps = site.config.caps;
    caps.drop >> number & 1 == 0 && caps.keep.is_none_or(|keep| keep >> number & 1 == 1)
}

fn one_hierarchy(
    site: &Site<'_>,
    root: &Root,
    hierarchy: &Hierarchy<'_>,
    path: &[u8],
    form: AutoCgroup,
) -> nix::Result<()> {
    if site.cgroup_namespace {
        // The hierarchy's own filesystem shows the container's group as its root.
        let place = root.target(path)?;
        let flags = if form.access == CgroupAccess::Ro { QUIET | MsFlags::MS_RDONLY } else { QUIET };
        return if hierarchy.v2 {
            mount_on(&place, Some(c"cgroup2"), Some(c"cgroup2"), flags, None)
        } else {
            mount_on(&place, Some(c"cgroup"), Some(c"cgroup"), flags, Some(hierarchy.controllers))
        };
    }
    let group = site.config.groups.container.to_bytes();
    let own = PathText::join(&[hierarchy.base.to_bytes(), b"/", group]).map_err(|_| Errno::ENAMETOOLONG)?;
    let own = own.c().to_bytes();
    let place = root.target(path)?;
    if form.full {
        mount_on(&place, Some(hierarchy.mountpoint), None, MsFlags::MS_BIND, None)?;
        let shown = root.mounted(path, if hierarchy.v2 { CGROUP2_SUPER_MAGIC } else { CGROUP_SUPER_MAGIC })?;
        match form.access {
            CgroupAccess::Rw => return Ok(()),
            CgroupAccess::Mixed => bind_onto_itself(&shown, own, false)?,
            CgroupAccess::Ro => {}
        }
        return make_read_only(&shown, b"", QUIET);
    }
    // Only the container's own group, at the place where it is on the host; the way there is tmpfs.
    let source = path_of(hierarchy, group, b"")?;
    let above = if hierarchy.v2 && path == b"sys/fs/cgroup" {
        mount_on(&place, Some(c"tmpfs"), Some(c"tmpfs"), QUIET, Some(SIZE))?;
        root.mounted(path, TMPFS_MAGIC)?
    } else {
        Root::on(place)
    };
    let place = above.make_directories(own)?;
    mount(Some(source.c()), FdPath::of(&place).c(), None::<&CStr>, MsFlags::MS_BIND, None::<&CStr>)?;
    if form.access == CgroupAccess::Ro { make_read_only(&above, own, QUIET) } else { Ok(()) }
}
