//! The container's view of the filesystem, made by the child in its own mount namespace.
//!
//! The order is LXC's: slave mounts, pre-mount hook, rootfs, /dev, proc and sys, fstab and entries, cgroups, mount hook,
//! autodev hook, device nodes, devpts, console and ttys, links, pivot_root.
//!
//! Everything here runs between clone and exec: no heap, no log, no unbounded wait. What fails is a `Report`.

use crate::android;
use crate::cgroup::find::Hierarchies;
use crate::config::{AutoProc, AutoSys, Config, HookKind, MountOptions, RootfsKind};
use crate::error::{Error, Result};
use crate::hooks::{self, Scene};
use crate::logging::trace;
use crate::spawn::barrier::{ROOTFS, Report, Step, hook_step};
use crate::sys::mounts::attach_tree;
use crate::text::{PathText, shown};
use beneath::{FdPath, Root};
use core::ffi::CStr;
use handed::Handed;
use image::{Mounted, Place};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{SFlag, stat};
use nix::unistd::{AccessFlags, access};
use std::os::fd::{AsFd, BorrowedFd};
use terminals::Terminals;

pub mod auto;
pub mod beneath;
pub mod dev;
pub mod entries;
pub mod format;
pub mod handed;
pub mod image;
pub mod label;
pub mod overlay;
pub mod pivot;
mod shmounts;
pub mod terminals;
pub mod writable;

/// What a rootfs is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory of the host's.
    Directory,
    /// A filesystem on a block device.
    Device,
    /// A filesystem in a file.
    Image,
    /// Directories over each other.
    Overlay,
}

impl Kind {
    /// For a person.
    #[cfg(feature = "tools")]
    pub fn name(self) -> &'static str {
        match self {
            Kind::Directory => "a directory",
            Kind::Device => "a block device",
            Kind::Image => "an image",
            Kind::Overlay => "an overlay",
        }
    }
}

/// What the child is told about the rootfs; looked at by the supervisor, so that a missing one is refused before anything
/// is made.
#[derive(Clone, Copy, Debug)]
pub struct Source<'t> {
    /// The directory, block device or image; of an overlay its layers.
    pub path: &'t CStr,
    /// Where it is mounted before pivot_root: the directory itself unless the config names one.
    pub mountpoint: &'t CStr,
    /// What it is.
    pub kind: Kind,
}

/// Looks at the configured rootfs.
#[inline(never)] // its frame would live as long as the container
pub fn source<'t>(config: &Config<'t>, state_directory: &'t CStr) -> Result<Source<'t>> {
    let Some(path) = config.rootfs.path else {
        return Ok(Source { path: c"/", mountpoint: c"/", kind: Kind::Directory });
    };
    let place = config.place(path.at);
    let refuse = |errno: Errno| Error::os("rootfs", errno, format_args!("{place}: {}", shown(path.value)));
    let wrong = |what| Error::new("rootfs", format_args!("{place}: {} is {what}", shown(path.value)));
    let kind = match config.rootfs.kind {
        RootfsKind::Overlay => Kind::Overlay,
        driver => match (kind_of(path.value).map_err(refuse)?, driver) {
            (SFlag::S_IFDIR, RootfsKind::Plain | RootfsKind::Dir) => Kind::Directory,
            (SFlag::S_IFBLK, RootfsKind::Plain | RootfsKind::Loop) => Kind::Device,
            (SFlag::S_IFREG, RootfsKind::Loop) if image::BUILT => match image::fault(path.value).map_err(refuse)? {
                Some(fault) => return Err(wrong(fault)),
                None => Kind::Image,
            },
            (SFlag::S_IFREG, _) => return Err(wrong("a file: write loop: in front of an image")),
            _ => return Err(refuse(Errno::ENOTDIR)),
        },
    };
    if image::BUILT && kind == Kind::Overlay && overlay::Layers::read(path.value.to_bytes()).is_none() {
        return Err(wrong("not LOWER[:LOWER...]:UPPER, absolute paths of directories without commas"));
    }
    let mountpoint = match config.rootfs.mount {
        Some(mount) => {
            let refuse = |errno| {
                let place = config.place(mount.at);
                Error::os("rootfs", errno, format_args!("{place}: lxc.rootfs.mount = {}", shown(mount.value)))
            };
            match kind_of(mount.value).map_err(refuse)? {
                SFlag::S_IFDIR => mount.value,
                _ => return Err(refuse(Errno::ENOTDIR)),
            }
        }
        None if kind == Kind::Directory => path.value,
        None => state_directory,
    };
    Ok(Source { path: path.value, mountpoint, kind })
}

fn kind_of(path: &CStr) -> nix::Result<SFlag> {
    Ok(SFlag::from_bits_truncate(stat(path)?.st_mode & libc::S_IFMT))
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
pub fn build(site: &Site<'_>, handed: &Handed) -> core::result::Result<Terminals, Report> {
    let config = site.config;
    let fail = |step: Step| move |errno: Errno| Report::new(step, 0, errno);
    trace::step("make the mounts slaves");
    pivot::make_slaves(site.source.path).map_err(fail(Step::SlaveMounts))?;
    run_hooks(site, HookKind::PreMount)?;
    if config.rootfs.path.is_none() {
        // No rootfs: the container shares the host's files, in mounts of its own.
        return terminals::open_bare(site);
    }
    trace::step_with("mount the rootfs", site.source.path);
    let root = match (handed.rootfs(), &handed.mountpoint) {
        (Some(tree), Some(place)) => {
            attach_tree(tree.as_fd(), FdPath::of(place).c()).map_err(fail(Step::IdmappedMount))?;
            Root::at(tree.as_fd())
        }
        _ => {
            mount_source(config, &site.source, site.warn)?;
            Root::open(site.source.mountpoint)
        }
    }
    .map_err(fail(Step::Rootfs))?;
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
        auto::sys(site, &root, config.mount_auto.sys).map_err(fail(Step::AutoSys))?;
    }
    shmounts::bind(config, &root).map_err(|errno| Report::new(Step::Mount, ROOTFS, errno))?;
    entries::mount_all(site, &root, handed)?;
    if let Some(cgroup) = config.mount_auto.cgroup {
        trace::step("mount the cgroups");
        auto::cgroup(site, &root, cgroup).map_err(fail(Step::AutoCgroup))?;
    }
    run_hooks(site, HookKind::Mount)?;
    if config.autodev {
        run_hooks(site, HookKind::Autodev)?;
    }
    android::boot_arguments::bind(site, &root, &handed.boot_arguments)?;
    trace::step("make the device nodes");
    // After the mounts and hooks, any of which may have put something on /dev.
    let dev = root.make_directories(b"dev").map_err(fail(Step::AutodevDir))?;
    if config.autodev {
        dev::populate(dev.as_fd())?;
    }
    android::devices::make_all(site, &root)?;
    android::binder::provide(site, &root, dev.as_fd())?;
    trace::step("mount devpts, open console and ttys");
    let terminals = terminals::open(site, &root, dev.as_fd())?;
    dev::link_standard(dev.as_fd(), config.autodev).map_err(fail(Step::DevLink))?;
    trace::step("pivot_root");
    pivot::enter(&root).map_err(fail(Step::Pivot))?;
    shmounts::settle(config, &root).map_err(|errno| Report::new(Step::MountPropagation, ROOTFS, errno))?;
    Ok(terminals)
}

fn run_hooks(site: &Site<'_>, kind: HookKind) -> core::result::Result<(), Report> {
    hooks::run_in_child(&site.scene, kind, site.hook_output)
        .map_err(|(index, failure)| Report::hook(hook_step(kind), index, failure))
}

/// Mounts the rootfs at its mount point. A directory is bound with everything that pre-start hooks mounted below it; anything
/// else is mounted.
pub fn mount_source(
    config: &Config<'_>,
    source: &Source<'_>,
    warn: &dyn Fn(Report),
) -> core::result::Result<(), Report> {
    let options = config.rootfs.options.map(|options| options.value).unwrap_or_default();
    let Source { path, mountpoint, kind } = *source;
    let flags = MsFlags::from_bits_truncate(options.flags as _);
    let place = Place { target: mountpoint, fstype: None, flags, data: options.data };
    let layers = overlay::Layers::read(path.to_bytes()).filter(|_| image::BUILT && kind == Kind::Overlay);
    let written = layers.and_then(|layers| PathText::join(&[layers.upper]).ok());
    let written = written.as_ref().map_or(path, PathText::c);
    if matches!(kind, Kind::Directory | Kind::Overlay)
        && !flags.contains(MsFlags::MS_RDONLY)
        && let Some(restored) = writable::restore(written)
    {
        warn(writable::report(ROOTFS, restored));
    }
    let mounted = match (kind, layers) {
        (Kind::Directory, _) => bind_directory(path, mountpoint, &options).map_err(|errno| (Step::Rootfs, errno)),
        (Kind::Overlay, Some(layers)) if image::BUILT => {
            overlay::mount_layers(&layers, &place).map(|()| Ok(Mounted::AsAsked))?
        }
        (Kind::Image, _) if image::BUILT => {
            image::mount_file(path, &place).map_err(|failure| failure.step(Step::RootfsDevice))
        }
        _ => image::mount_device(path, &place).map_err(|errno| (Step::RootfsDevice, errno)),
    };
    match mounted {
        Ok(Mounted::AsAsked) => {}
        Ok(Mounted::ReadOnly) => warn(writable::report(ROOTFS, Err(Errno::EROFS))),
        Err((Step::Rootfs, Errno::EACCES)) => return Err(Report::new(Step::Rootfs, closed(path), Errno::EACCES)),
        Err((step, errno)) => return Err(Report::new(step, ROOTFS, errno)),
    }
    if options.propagation != 0 {
        let propagation = MsFlags::from_bits_truncate(options.propagation as _);
        mount(None::<&CStr>, mountpoint, None::<&CStr>, propagation, None::<&CStr>)
            .map_err(|errno| Report::new(Step::Rootfs, ROOTFS, errno))?;
    }
    Ok(())
}

/// How many bytes of the path name the first directory that we may not enter, which is whom it is about in a user namespace.
fn closed(path: &CStr) -> u16 {
    let bytes = path.to_bytes();
    let ends = memchr::memchr_iter(b'/', bytes).filter(|end| *end > 0).chain([bytes.len()]);
    let shut = |end: &usize| {
        let part = PathText::join(&[bytes.get(..*end).unwrap_or(bytes)]);
        part.is_ok_and(|part| access(part.c(), AccessFlags::X_OK) == Err(Errno::EACCES))
    };
    ends.into_iter().find(shut).and_then(|end| u16::try_from(end).ok()).unwrap_or(ROOTFS)
}

fn bind_directory(path: &CStr, mountpoint: &CStr, options: &MountOptions<'_>) -> nix::Result<Mounted> {
    let bind = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some(path), mountpoint, None::<&CStr>, bind, None::<&CStr>)?;
    let flags = MsFlags::from_bits_truncate(options.flags as _) - bind;
    if !flags.is_empty() {
        let again = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | flags;
        mount(None::<&CStr>, mountpoint, None::<&CStr>, again, None::<&CStr>)?;
    }
    Ok(Mounted::AsAsked)
}
