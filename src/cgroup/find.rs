//! Which cgroup hierarchies this host has, from /proc/self/mountinfo. Pure but for the caller's reading of that file.

use crate::limits;
use crate::text::{Arena, Full};
use core::ffi::CStr;

/// One mounted hierarchy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hierarchy<'t> {
    /// Where it is mounted.
    pub mountpoint: &'t CStr,
    /// Its controllers joined by commas (`cpu,cpuacct`, `name=systemd`); empty for v2.
    pub controllers: &'t CStr,
    /// cgroup v2.
    pub v2: bool,
    /// Device number of the mount, to tell it from one that hides it.
    pub device: u64,
    /// Mounted with `noprefix` (Android's cpuset): files are `cpus`, not `cpuset.cpus`.
    pub noprefix: bool,
    /// Which group of the hierarchy is mounted there: `/` but in a bind mount or another cgroup namespace.
    pub root: &'t CStr,
    /// Another place where it is mounted and what of it, in case that the first one is hidden.
    pub elsewhere: (&'t CStr, &'t CStr),
    /// The directory is another user's.
    pub foreign: bool,
    /// The group that this process was in when it started, below the mount point: empty or `/user.slice/x`.
    pub own: &'t CStr,
    /// Below which group ours are made: none, or `own`.
    pub base: &'t CStr,
}

impl Hierarchy<'_> {
    /// Whether a v1 hierarchy has this controller (`cpu`, `name=systemd`).
    pub fn has(&self, controller: &[u8]) -> bool {
        !self.v2 && self.controllers.to_bytes().split(|b| *b == b',').any(|one| one == controller)
    }

    /// The file by which a process moves itself into a group.
    pub fn entrance(&self) -> &'static [u8] {
        if self.v2 { b"/cgroup.procs" } else { b"/tasks" }
    }
}

/// The hierarchies of a host.
pub type Hierarchies<'t> = heapless::Vec<Hierarchy<'t>, { limits::HIERARCHIES }>;

/// The path of a `/proc/PID/cgroup` line (`4:cpu,cpuacct:/lxc/android`) if it is about `hierarchy`. It must not lead upwards.
pub fn path_in<'l>(line: &'l [u8], hierarchy: &Hierarchy<'_>) -> Option<&'l [u8]> {
    let mut fields = line.splitn(3, |byte| *byte == b':');
    let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
    let mine = match controllers {
        b"" => hierarchy.v2,
        some => some.split(|byte| *byte == b',').any(|one| hierarchy.has(one)),
    };
    (mine && !path.split(|byte| *byte == b'/').any(|part| part == b"..")).then_some(path)
}

/// Why mountinfo could not be taken over.
#[derive(Debug, PartialEq, Eq)]
pub enum Problem {
    /// More than `limits::HIERARCHIES`.
    TooMany,
    /// The arena is full.
    Full,
}

impl From<Full> for Problem {
    fn from(_: Full) -> Self {
        Problem::Full
    }
}

/// Takes over one line of mountinfo if it is a cgroup mount (proc_pid_mountinfo(5)).
///
/// A hierarchy that is mounted at several places counts once, at the place under /sys/fs/cgroup if there is one, because
/// that is the path other software relies on. A later mount at the same place hides the earlier one.
pub fn take_line<'t>(line: &[u8], found: &mut Hierarchies<'t>, arena: &Arena<'t>) -> Result<(), Problem> {
    let Some(mount) = parse_line(line) else { return Ok(()) };
    let mut decoded = [0u8; limits::PATH_BYTES];
    let place = unescape(mount.mountpoint, &mut decoded);
    // It would be another one as soon as it is copied; the kernel writes none.
    if place.contains(&0) {
        return Ok(());
    }
    found.retain_mut(|known| {
        if known.mountpoint.to_bytes() == place {
            (known.mountpoint, known.root) = core::mem::take(&mut known.elsewhere);
        } else if known.elsewhere.0.to_bytes() == place {
            known.elsewhere = Default::default();
        }
        !known.mountpoint.is_empty()
    });
    let same = found.iter_mut().find(|known| known.v2 == mount.v2 && known.device == mount.device);
    if let Some(known) = same {
        let home = b"/sys/fs/cgroup";
        if !known.mountpoint.to_bytes().starts_with(home) && place.starts_with(home) {
            known.elsewhere = (known.mountpoint, known.root);
            (known.mountpoint, known.root) = (arena.copy(place)?, arena.copy(mount.root)?);
        } else if known.elsewhere.0.is_empty() {
            known.elsewhere = (arena.copy(place)?, arena.copy(mount.root)?);
        }
        return Ok(());
    }
    let mut controllers: heapless::Vec<u8, 256> = heapless::Vec::new();
    let mut noprefix = false;
    if !mount.v2 {
        for option in mount.options.split(|b| *b == b',') {
            match option {
                b"rw" | b"ro" | b"xattr" | b"clone_children" => {}
                b"noprefix" => noprefix = true,
                _ if option.starts_with(b"release_agent=") || option.starts_with(b"cpuset_v2_mode") => {}
                _ => {
                    if !controllers.is_empty() {
                        let _ = controllers.push(b',');
                    }
                    let _ = controllers.extend_from_slice(option);
                }
            }
        }
    }
    let hierarchy = Hierarchy {
        mountpoint: arena.copy(place)?,
        controllers: arena.copy(&controllers)?,
        v2: mount.v2,
        device: mount.device,
        noprefix,
        root: arena.copy(mount.root)?,
        ..Hierarchy::default()
    };
    found.push(hierarchy).map_err(|_| Problem::TooMany)
}

struct MountLine<'a> {
    device: u64,
    root: &'a [u8],
    mountpoint: &'a [u8],
    v2: bool,
    options: &'a [u8],
}

fn parse_line(line: &[u8]) -> Option<MountLine<'_>> {
    // Fields: id parent major:minor root mountpoint options [optional...] - fstype source superoptions
    let dash = crate::text::find(line, b" - ")?;
    let mut fields = line.get(..dash)?.split(|b| *b == b' ');
    let mut tail = line.get(dash + 3..)?.split(|b| *b == b' ');
    let v2 = match tail.next()? {
        b"cgroup" => false,
        b"cgroup2" => true,
        _ => return None,
    };
    let options = tail.nth(1).unwrap_or(b"");
    let device = fields.nth(2)?;
    let colon = memchr::memchr(b':', device)?;
    let major = crate::text::number(device.get(..colon)?)?;
    let minor = crate::text::number(device.get(colon + 1..)?)?;
    let root = fields.next()?;
    let mountpoint = fields.next()?;
    let device = nix::sys::stat::makedev(major as _, minor as _) as u64;
    Some(MountLine { device, root, mountpoint, v2, options })
}

/// Decodes the kernel's `\040` escapes.
fn unescape<'a>(text: &[u8], into: &'a mut [u8]) -> &'a [u8] {
    let mut rest = text;
    let mut length = 0;
    while let Some((&first, tail)) = rest.split_first() {
        let (byte, tail) = match (first, tail) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..]) => {
                ((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'), tail)
            }
            _ => (first, tail),
        };
        match into.get_mut(length) {
            Some(slot) => *slot = byte,
            None => break,
        }
        length += 1;
        rest = tail;
    }
    into.get(..length).unwrap_or(&[])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(text: &str) -> Vec<(String, String, bool)> {
        let mut storage = [0u8; 4096];
        let arena = Arena::new(&mut storage);
        let mut found = Hierarchies::new();
        for line in text.lines() {
            take_line(line.as_bytes(), &mut found, &arena).unwrap();
        }
        let text = |c: &CStr| c.to_str().unwrap().to_string();
        found.iter().map(|h| (text(h.mountpoint), text(h.controllers), h.v2)).collect()
    }

    #[test]
    fn find_hybrid_host_lists_v1_and_v2() {
        let found = find(
            "30 23 0:26 / /sys/fs/cgroup ro,nosuid shared:9 - tmpfs tmpfs ro,mode=755\n\
             31 30 0:27 / /sys/fs/cgroup/unified rw shared:10 - cgroup2 cgroup2 rw,nsdelegate\n\
             32 30 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
             33 30 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:12 - cgroup cgroup rw,cpu,cpuacct",
        );
        assert_eq!(found.len(), 3);
        assert_eq!(found[0], ("/sys/fs/cgroup/unified".into(), "".into(), true));
        assert_eq!(found[1].1, "name=systemd");
        assert_eq!(found[2].1, "cpu,cpuacct");
    }

    #[test]
    fn find_hierarchy_mounted_twice_counts_once_under_sys() {
        let found = find(
            "40 1 0:50 / /dev/cpuctl rw - cgroup none rw,cpu\n\
             41 1 0:50 / /sys/fs/cgroup/cpu rw - cgroup none rw,cpu",
        );
        assert_eq!(found, [("/sys/fs/cgroup/cpu".to_string(), "cpu".to_string(), false)]);
    }

    #[test]
    fn find_mount_point_with_a_nul_is_none() {
        let mut storage = [0u8; 4096];
        let arena = Arena::new(&mut storage);
        let mut found = Hierarchies::new();
        for place in ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu\\000x", "/sys/fs/cgroup/cpu\0x"] {
            let line = format!("36 31 0:{} / {place} rw - cgroup cgroup rw,cpu", 30 + place.len());
            take_line(line.as_bytes(), &mut found, &arena).unwrap();
        }
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].mountpoint, c"/sys/fs/cgroup/cpu");
    }

    #[test]
    fn find_mount_hidden_by_another_is_dropped() {
        let found = find("40 1 0:50 / /c rw - cgroup none rw,cpu\n41 40 0:51 / /c rw - cgroup none rw,pids");
        assert_eq!(found, [("/c".to_string(), "pids".to_string(), false)]);
    }

    #[test]
    fn find_mount_hidden_by_another_is_found_where_it_is_mounted_else() {
        let found = find(
            "40 1 0:50 / /sys/fs/cgroup/c rw - cgroup none rw,cpu\n40 1 0:50 / /d rw - cgroup none rw,cpu\n\
             41 40 0:51 / /sys/fs/cgroup/c rw - cgroup none rw,pids",
        );
        let place = |path: &str, controllers: &str| (path.to_string(), controllers.to_string(), false);
        assert_eq!(found, [place("/d", "cpu"), place("/sys/fs/cgroup/c", "pids")]);
        // The other place is hidden as well.
        assert_eq!(
            find(
                "40 1 0:50 / /c rw - cgroup none rw,cpu\n40 1 0:50 / /d rw - cgroup none rw,cpu\n\
                 41 1 0:51 / /d rw - cgroup none rw,pids\n41 1 0:51 / /c rw - cgroup none rw,pids"
            ),
            [place("/d", "pids")]
        );
    }

    #[test]
    fn find_escaped_place_is_decoded_and_garbage_ignored() {
        let found = find("garbage\n1 2 3\n40 1 0:50 / /a\\040b rw - cgroup none rw,cpuset,noprefix");
        assert_eq!(found, [("/a b".to_string(), "cpuset".to_string(), false)]);
    }

    #[test]
    fn cgroup_line_belongs_to_its_hierarchy_only() {
        let v1 = Hierarchy { mountpoint: c"/c", controllers: c"cpu,cpuacct", ..Hierarchy::default() };
        let v2 = Hierarchy { mountpoint: c"/u", v2: true, device: 2, ..Hierarchy::default() };
        assert_eq!(path_in(b"4:cpuacct,cpu:/lxc/a:b", &v1), Some(&b"/lxc/a:b"[..]));
        assert_eq!(path_in(b"4:cpuset:/lxc/a", &v1), None);
        assert_eq!(path_in(b"0::/lxc/a", &v2), Some(&b"/lxc/a"[..]));
        assert_eq!(path_in(b"0::/lxc/a", &v1), None);
        assert_eq!(path_in(b"0::/../../etc", &v2), None);
        assert_eq!(path_in(b"nonsense", &v2), None);
    }
}
