//! The container's view of the filesystem, made by the child in its own mount namespace.
//!
//! The order is LXC's: slave mounts, pre-mount hook, rootfs, /dev, proc and sys, fstab and entries, cgroups, mount hook,
//! autodev hook, device nodes, devpts, console and ttys, links, pivot_root.
//!
//! Everything here runs between clone and exec: no heap, no log, no unbounded wait. What fails is a `Report`.

use crate::android;
use crate::cgroup::find::Hierarchies;
use crate::config::{AutoProc, AutoSys, Config, HookKind, RootfsKind};
use crate::error::{Error, Result};
use crate::hooks::{self, Scene};
use crate::logging::trace;
use crate::spawn::barrier::{Report, Step, hook_step};
use crate::text::shown;
use beneath::Root;
use core::ffi::CStr;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{SFlag, stat};
use std::os::fd::{AsFd, BorrowedFd};
use terminals::Terminals;

pub mod auto;
pub mod beneath;
pub mod dev;
pub mod entries;
pub mod label;
pub mod pivot;
pub mod terminals;

/// What the child is told about the rootfs; looked at by the supervisor, so that a missing one is refused before anything
/// is made.
#[derive(Clone, Copy, Debug)]
pub struct Source<'t> {
    /// The directory or block device.
    pub path: &'t CStr,
    /// Where it is mounted before pivot_root: the directory itself unless the config names one.
    pub mountpoint: &'t CStr,
    /// A filesystem on a block device.
    pub device: bool,
}

/// Looks at the configured rootfs.
#[inline(never)] // its frame would live as long as the container
pub fn source<'t>(config: &Config<'t>, state_directory: &'t CStr) -> Result<Source<'t>> {
    let Some(path) = config.rootfs.path else {
        let source = Source { path: c"/", mountpoint: c"/", device: false };
        return Ok(source);
    };
    let place = config.place(path.at);
    let refuse = |errno: Errno| Error::os("rootfs", errno, format_args!("{place}: {}", shown(path.value)));
    let kind = stat(path.value).map_err(refuse)?.st_mode & libc::S_IFMT;
    let device = match SFlag::from_bits_truncate(kind) {
        SFlag::S_IFDIR => false,
        SFlag::S_IFBLK if config.rootfs.kind == RootfsKind::Plain => true,
        SFlag::S_IFBLK => return Err(refuse(Errno::ENOTDIR)),
        SFlag::S_IFREG => {
            return Err(Error::new(
                "rootfs",
                format_args!("{place}: {} is a file: write loop:{} for an image", shown(path.value), shown(path.value)),
            ));
        }
        _ => return Err(refuse(Errno::ENOTDIR)),
    };
    let mountpoint = match config.rootfs.mount {
        Some(mount) => {
            let refuse = |errno| {
                let place = config.place(mount.at);
                Error::os("rootfs", errno, format_args!("{place}: lxc.rootfs.mount = {}", shown(mount.value)))
            };
            match SFlag::from_bits_truncate(stat(mount.value).map_err(refuse)?.st_mode & libc::S_IFMT) {
                SFlag::S_IFDIR => mount.value,
                _ => return Err(refuse(Errno::ENOTDIR)),
            }
        }
        None if device => state_directory,
        None => path.value,
    };
    Ok(Source { path: path.value, mountpoint, device })
}

/// What the child knows while it builds.
pub struct Site<'a> {
    /// The config.
    pub config: &'a Config<'a>,
    /// What hooks are made from.
    pub scene: Scene<'a>,
    /// The rootfs.
    pub source: Source<'a>,
    /// Where the files of `android::boot_arguments` are, if there are any.
    pub boot_arguments: Option<&'a CStr>,
    /// The host's hierarchies.
    pub hierarchies: &'a Hierarchies<'a>,
    /// The container has a cgroup namespace of its own.
    pub cgroup_namespace: bool,
    /// A console is wanted.
    pub console: bool,
    /// Where hooks write.
    pub hook_output: BorrowedFd<'a>,
    /// Called for what is optional and could not be had.
    pub warn: &'a dyn Fn(Report),
}

/// Builds the view and goes into it. The ptys to be handed to the supervisor.
pub fn build(site: &Site<'_>) -> core::result::Result<Terminals, Report> {
    let config = site.config;
    let fail = |step: Step| move |errno: Errno| Report::new(step, 0, errno);
    trace::step("make the mounts slaves");
    pivot::make_slaves(site.source.path).map_err(fail(Step::SlaveMounts))?;
    run_hooks(site, HookKind::PreMount)?;
    if config.rootfs.path.is_none() {
        // No rootfs: the container shares the host's files, in mounts of its own.
        return terminals::open_bare(site);
    }
    let boot_arguments = android::boot_arguments::open_files(site);
    trace::step_with("mount the rootfs", site.source.path);
    mount_rootfs(site).map_err(fail(if site.source.device { Step::RootfsDevice } else { Step::Rootfs }))?;
    let root = Root::open(site.source.mountpoint).map_err(fail(Step::Rootfs))?;
    android::clean::rootfs(site, &root);
    if config.autodev {
        trace::step("mount a tmpfs on /dev");
        dev::mount_tmpfs(&root, config)?;
    }
    if config.mount_auto.proc != AutoProc::No {
        trace::step("mount proc");
        auto::proc(site, &root, config.mount_auto.proc).map_err(fail(Step::AutoProc))?;
    }
    if config.mount_auto.sys != AutoSys::No {
        trace::step("mount sys");
        auto::sys(&root, config.mount_auto.sys).map_err(fail(Step::AutoSys))?;
    }
    entries::mount_all(site, &root)?;
    if let Some(cgroup) = config.mount_auto.cgroup {
        trace::step("mount the cgroups");
        auto::cgroup(site, &root, cgroup).map_err(fail(Step::AutoCgroup))?;
    }
    run_hooks(site, HookKind::Mount)?;
    if config.autodev {
        run_hooks(site, HookKind::Autodev)?;
    }
    android::boot_arguments::bind(site, &root, &boot_arguments)?;
    trace::step("make the device nodes");
    // After the mounts and hooks, any of which may have put something on /dev.
    let dev = root.make_directories(b"dev").map_err(fail(Step::AutodevDir))?;
    if config.autodev {
        dev::populate(&root, dev.as_fd())?;
    }
    android::devices::make_all(site, &root)?;
    android::binder::provide(site, &root, dev.as_fd())?;
    trace::step("mount devpts, open console and ttys");
    let terminals = terminals::open(site, &root, dev.as_fd())?;
    dev::link_standard(dev.as_fd()).map_err(fail(Step::DevLink))?;
    trace::step("pivot_root");
    pivot::enter(&root).map_err(fail(Step::Pivot))?;
    Ok(terminals)
}

fn run_hooks(site: &Site<'_>, kind: HookKind) -> core::result::Result<(), Report> {
    hooks::run_in_child(&site.scene, kind, site.hook_output)
        .map_err(|(index, failure)| Report::hook(hook_step(kind), index, failure))
}

/// A directory is bound with everything that pre-start hooks mounted below it; a block device is mounted, its type found by
/// trying the ones the kernel knows.
fn mount_rootfs(site: &Site<'_>) -> nix::Result<()> {
    let options = site.config.rootfs.options.map(|options| options.value).unwrap_or_default();
    let Source { path, mountpoint, device } = site.source;
    let flags = MsFlags::from_bits_truncate(options.flags as _);
    if device {
        return mount_device(path, mountpoint, flags, options.data);
    }
    let bind = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some(path), mountpoint, None::<&CStr>, bind, None::<&CStr>)?;
    let flags = flags - bind;
    if !flags.is_empty() {
        let again = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | flags;
        mount(None::<&CStr>, mountpoint, None::<&CStr>, again, None::<&CStr>)?;
    }
    if options.propagation != 0 {
        let propagation = MsFlags::from_bits_truncate(options.propagation as _);
        mount(None::<&CStr>, mountpoint, None::<&CStr>, propagation, None::<&CStr>)?;
    }
    Ok(())
}

/// Filesystems that Linux and Android root partitions have, the frequent ones first.
const DEVICE_TYPES: [&CStr; 8] = [c"ext4", c"f2fs", c"erofs", c"squashfs", c"btrfs", c"xfs", c"ext3", c"ext2"];

fn mount_device(path: &CStr, mountpoint: &CStr, flags: MsFlags, data: Option<&CStr>) -> nix::Result<()> {
    let mut last = Errno::ENODEV;
    for fstype in DEVICE_TYPES {
        match mount(Some(path), mountpoint, Some(fstype), flags, data) {
            Ok(()) => return Ok(()),
            // Not this type, or a type this kernel does not have.
            Err(Errno::EINVAL) => last = Errno::EINVAL,
            Err(Errno::ENODEV) => {}
            Err(errno) => return Err(errno),
        }
    }
    Err(last)
}
