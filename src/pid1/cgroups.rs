//! Mounts the cgroup hierarchies: which ones is decided purely, from what the kernel has.

use super::early;
use super::settings::Layout;
use crate::error::{Error, Result};
use crate::text::{PathText, Shown};
use nix::errno::Errno;
use nix::mount::MsFlags;
use nix::sys::stat::Mode;
use nix::unistd::mkdir;

const BASE: &str = "/sys/fs/cgroup";
const FLAGS: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV).union(MsFlags::MS_NOEXEC);

/// What the kernel can do.
#[derive(Clone, Copy, Debug)]
pub struct Kernel<'a> {
    /// /proc/cgroups
    pub controllers: &'a [u8],
    /// /proc/filesystems
    pub filesystems: &'a [u8],
    /// /proc/cmdline
    pub command_line: &'a [u8],
}

impl<'a> Kernel<'a> {
    /// The controllers that v1 may have, in the kernel's order.
    fn v1(&self) -> impl Iterator<Item = &'a [u8]> {
        let (all, some) = self.not_for_v1();
        let rows = self.controllers.split(|byte| *byte == b'\n').filter(|line| !line.starts_with(b"#"));
        // Name, hierarchy, cgroups, enabled.
        let fields = rows.map(|row| row.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty()));
        let enabled = fields.filter_map(|mut fields| Some((fields.next()?, fields.nth(2)? == b"1")));
        let kept = move |name: &[u8]| !all && !some.split(|byte| *byte == b',').any(|other| other == name);
        enabled.filter_map(move |(name, enabled)| (enabled && kept(name)).then_some(name))
    }

    /// `cgroup_no_v1=`: all of them, or a list (Documentation/admin-guide/kernel-parameters.txt).
    fn not_for_v1(&self) -> (bool, &'a [u8]) {
        let words = self.command_line.split(u8::is_ascii_whitespace);
        let list = words.filter_map(|word| word.strip_prefix(b"cgroup_no_v1=")).next_back().unwrap_or(b"");
        (list.split(|byte| *byte == b',').any(|name| name == b"all"), list)
    }

    fn has_v2(&self) -> bool {
        self.filesystems.split(|byte| *byte == b'\n').any(|line| line.ends_with(b"\tcgroup2"))
    }

    /// What `layout` means on this kernel. `Auto` is v2 alone where there is no v1 cpu controller, else both: the v1 paths
    /// are what Android's hosts have always had, and v2 adds a kill and a freeze that are sure.
    pub fn settle(&self, layout: Layout) -> Layout {
        match (layout, self.v1().any(|name| name == b"cpu"), self.has_v2()) {
            (Layout::Auto, true, true) => Layout::Hybrid,
            (Layout::Auto, true, false) => Layout::V1,
            (Layout::Auto, false, true) => Layout::V2,
            (Layout::Auto, false, false) => Layout::None,
            (other, ..) => other,
        }
    }
}

/// Mounts them.
pub fn mount(layout: Layout, kernel: &Kernel<'_>) -> Result<()> {
    let failed = |errno, what: &[u8]| Error::os("cgroup", errno, format_args!("mount {BASE}{}", Shown(what)));
    if crate::mountinfo::is_mounted(c"/sys/fs/cgroup") {
        return Ok(());
    }
    match kernel.settle(layout) {
        Layout::V2 => early::mount(c"/sys/fs/cgroup", c"cgroup2", FLAGS, None).map_err(|errno| failed(errno, b"")),
        settled @ (Layout::V1 | Layout::Hybrid) => {
            early::mount(c"/sys/fs/cgroup", c"tmpfs", FLAGS, Some(c"mode=0755")).map_err(|errno| failed(errno, b""))?;
            for controller in kernel.v1() {
                match mount_v1(controller) {
                    // The kernel lists what it then refuses: a controller that v2 has taken, or one left out for v1.
                    Ok(()) | Err(Errno::EBUSY | Errno::EINVAL) => {}
                    Err(errno) => return Err(failed(errno, controller)),
                }
            }
            if settled == Layout::Hybrid {
                early::mount(c"/sys/fs/cgroup/unified", c"cgroup2", FLAGS, None)
                    .map_err(|errno| failed(errno, b"/unified"))?;
            }
            Ok(())
        }
        Layout::None | Layout::Auto => Ok(()),
    }
}

fn mount_v1(controller: &[u8]) -> nix::Result<()> {
    let long = |_| Errno::ENAMETOOLONG;
    let path = PathText::join(&[BASE.as_bytes(), b"/", controller]).map_err(long)?;
    let name: PathText<64> = PathText::of(&[controller]).map_err(long)?;
    let _ = mkdir(path.c(), Mode::from_bits_truncate(0o755));
    let result = nix::mount::mount(Some(name.c()), path.c(), Some(c"cgroup"), FLAGS, Some(name.c()));
    if result.is_err() {
        // No empty directory that looks like a controller.
        let _ = nix::unistd::unlinkat(nix::fcntl::AT_FDCWD, path.c(), nix::unistd::UnlinkatFlags::RemoveDir);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: Kernel<'_> = Kernel {
        controllers: b"#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpuset\t0\t1\t1\ncpu\t0\t1\t1\nmemory\t0\t1\t0\n",
        filesystems: b"nodev\tcgroup\nnodev\tcgroup2\n",
        command_line: b"quiet\n",
    };

    fn v1<'a>(kernel: &Kernel<'a>) -> Vec<&'a [u8]> {
        kernel.v1().collect()
    }

    #[test]
    fn settle_auto_takes_what_the_kernel_has() {
        assert_eq!(BOTH.settle(Layout::Auto), Layout::Hybrid);
        assert_eq!(Kernel { filesystems: b"nodev\tcgroup\n", ..BOTH }.settle(Layout::Auto), Layout::V1);
        assert_eq!(Kernel { command_line: b"a cgroup_no_v1=all b", ..BOTH }.settle(Layout::Auto), Layout::V2);
        assert_eq!(Kernel { command_line: b"cgroup_no_v1=memory,cpu", ..BOTH }.settle(Layout::Auto), Layout::V2);
        let none = Kernel { controllers: b"", filesystems: b"", command_line: b"" };
        assert_eq!(none.settle(Layout::Auto), Layout::None);
        assert_eq!(BOTH.settle(Layout::V1), Layout::V1);
    }

    #[test]
    fn v1_controllers_that_are_off_are_left_out() {
        assert_eq!(v1(&BOTH), [&b"cpuset"[..], b"cpu"]);
        assert_eq!(v1(&Kernel { command_line: b"cgroup_no_v1=cpuset", ..BOTH }), [&b"cpu"[..]]);
        assert!(v1(&Kernel { command_line: b"cgroup_no_v1=named,all", ..BOTH }).is_empty());
    }
}
