//! `lxc.ephemeral`: a container that is removed with its directory when it has ended.
//!
//! Only LXCPATH/NAME goes, and only if the rootfs, where it is the container's own, lies in it: `check` refuses a start after
//! which something would be left, or something else be lost. The walk follows no link, enters no other filesystem, and does not
//! begin while anything is mounted below; what a guest may have nested however deep neither fills our stack nor ends it early.

use crate::config::{Config, HookKind};
use crate::error::{Error, Result};
use crate::hooks::{self, Moment};
use crate::limits::PATH_BYTES;
use crate::logging::log;
use crate::mountinfo;
use crate::prepare::host::Host;
use crate::rootfs::beneath::FdPath;
use crate::rootfs::overlay::Layers;
use crate::rootfs::{Kind, Source};
use crate::sys::fds::{self, open};
use crate::text::{Line, PathText, shown};
use core::cell::Cell;
use core::ffi::CStr;
use core::fmt::Write;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::{Mode, SFlag, fstat, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// How deep the walk goes; what lies deeper is moved up first.
const DEPTH: u32 = 32;
/// How often a directory is read again that is not empty yet.
const ROUNDS: u32 = 64;
const DIRECTORY: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// Refuses what could not be removed whole.
///
/// # Errors
/// One line that says what lies where it would not be found.
pub fn check(config: &Config<'_>, source: &Source<'_>) -> Result<()> {
    if config.isolation.ephemeral != Some(true) {
        return Ok(());
    }
    let own = [config.lxcpath.to_bytes(), b"/", config.name.to_bytes(), b"/"];
    let refuse = |why: &str| {
        let (lxcpath, name) = (shown(config.lxcpath), shown(config.name));
        Err(Error::new("ephemeral", format_args!("lxc.ephemeral = 1 removes {lxcpath}/{name} at the end, but {why}")))
    };
    if config.file().and_then(|file| below(file.to_bytes(), &own)) != Some(b"config") {
        return refuse("the config is not in there");
    }
    let managed = !config.kept.iter().any(|kept| kept.key == c"lxc.rootfs.managed" && kept.value == c"0");
    let path = source.path.to_bytes();
    let rootfs = match (config.rootfs.path, source.kind) {
        (None, _) => return Ok(()),
        (_, Kind::Device) => None,
        (_, Kind::Overlay) => Layers::read(path).and_then(|layers| below(layers.upper, &own)),
        (_, Kind::Directory | Kind::Image) => below(path, &own),
    };
    match (managed, rootfs) {
        (true, None) => refuse("the rootfs is not in there (lxc.rootfs.managed = 0 would leave it where it is)"),
        (false, Some(_)) => refuse("the rootfs, which lxc.rootfs.managed = 0 is to leave, is in there"),
        _ => Ok(()),
    }
}

/// What follows `directory` in a path that goes no way back up.
fn below<'p>(path: &'p [u8], directory: &[&[u8]]) -> Option<&'p [u8]> {
    let rest = directory.iter().try_fold(path, |path, part| path.strip_prefix(*part))?;
    let plain = rest.split(|byte| *byte == b'/').all(|part| part != b"..");
    (plain && !rest.is_empty()).then_some(rest)
}

/// Removes the container, which has ended. What stays is logged.
#[inline(never)] // its paths are for those who are removed
pub fn remove(host: &mut Host<'_>) {
    let config = host.config;
    if let Err(error) = hooks::run_on_host(host, HookKind::Destroy, &Moment::default()) {
        log::error!("{error}");
        return log::error!("ephemeral: the container stays, because a destroy hook failed");
    }
    let (lxcpath, name) = (shown(config.lxcpath), shown(config.name));
    match remove_directory(config.lxcpath, config.name) {
        Ok(()) => log::info!("ephemeral: removed {lxcpath}/{name}"),
        Err((why, errno)) => log::error!("ephemeral: {lxcpath}/{name} stays, or a part of it: {why}: {}", errno.desc()),
    }
}

fn remove_directory(lxcpath: &CStr, name: &CStr) -> core::result::Result<(), (&'static str, Errno)> {
    let at = |why: &'static str| move |errno: Errno| (why, errno);
    let parent = open(lxcpath, OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty()).map_err(at("open its parent"))?;
    let top = openat(&parent, name, DIRECTORY, Mode::empty()).map_err(at("open it"))?;
    let config = fstatat(&top, c"config", nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW).map_err(at("its config"))?;
    if SFlag::from_bits_truncate(config.st_mode & libc::S_IFMT) != SFlag::S_IFREG {
        return Err(("its config is no file", Errno::EINVAL));
    }
    if has_mounts(&top).map_err(at("where it is"))? {
        return Err(("something is mounted there", Errno::EBUSY));
    }
    let walk = Walk { top: top.as_fd(), device: fstat(&top).map_err(at("stat"))?.st_dev, moved: Cell::new(0) };
    walk.directory(parent.as_fd(), top.as_fd(), name, DEPTH).map_err(at("remove it"))
}

/// Whether anything is mounted at a directory or below it.
fn has_mounts(directory: &OwnedFd) -> nix::Result<bool> {
    let mut buffer = [0; PATH_BYTES];
    let path = fds::read_link(None, FdPath::of(directory).c(), &mut buffer)?;
    let mut found = false;
    mountinfo::for_each(&mut |target| {
        found |= target.to_bytes().strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"));
    });
    Ok(found)
}

struct Walk<'a> {
    top: BorrowedFd<'a>,
    device: libc::dev_t,
    /// How many directories were moved up.
    moved: Cell<u32>,
}

impl Walk<'_> {
    /// Removes `directory`, which is called `name` in `parent`, with everything in it.
    fn directory(&self, parent: BorrowedFd<'_>, directory: BorrowedFd<'_>, name: &CStr, depth: u32) -> nix::Result<()> {
        if fstat(directory)?.st_dev != self.device {
            return Err(Errno::EXDEV);
        }
        let mut last = Errno::ENOTEMPTY;
        for _ in 0..ROUNDS {
            nix::unistd::lseek(directory, 0, nix::unistd::Whence::SeekSet)?;
            let mut failed = None;
            fds::for_each_entry(directory, &mut |entry, _| {
                if let Err(errno) = self.entry(directory, entry, depth) {
                    failed = Some(errno);
                }
            })?;
            match unlinkat(parent, name, UnlinkatFlags::RemoveDir) {
                Err(Errno::ENOTEMPTY | Errno::EEXIST) => last = failed.unwrap_or(Errno::ENOTEMPTY),
                other => return other,
            }
            if failed.is_some() {
                break;
            }
        }
        Err(last)
    }

    fn entry(&self, directory: BorrowedFd<'_>, name: &CStr, depth: u32) -> nix::Result<()> {
        match unlinkat(directory, name, UnlinkatFlags::NoRemoveDir) {
            Err(Errno::EISDIR | Errno::EPERM) => {}
            other => return other,
        }
        if depth == 0 {
            let mut up = Line::<32>::new();
            let _ = write!(up, ".removed-{}", self.moved.replace(self.moved.get() + 1));
            let up: PathText = PathText::join(&[up.bytes()]).map_err(|_| Errno::ENAMETOOLONG)?;
            return renameat(directory, name, self.top, up.c());
        }
        let child = openat(directory, name, DIRECTORY, Mode::empty())?;
        self.directory(directory, child.as_fd(), name, depth - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{At, DEFAULT, Kept, List};

    fn checked(file: Option<&'static CStr>, rootfs: &'static CStr, kind: Kind, managed: bool) -> bool {
        let mut config = Box::new(Config::new(c"c1", c"/var/lib/lxc"));
        config.isolation.ephemeral = Some(true);
        config.files = file.into_iter().fold(List::new(), |mut files, file| (files.push(file).unwrap(), files).1);
        config.rootfs.path = Some(At { value: rootfs, at: DEFAULT });
        if !managed {
            config.kept.push(Kept { key: c"lxc.rootfs.managed", value: c"0", at: DEFAULT }).unwrap();
        }
        check(&config, &Source { path: rootfs, mountpoint: rootfs, kind }).is_ok()
    }

    #[test]
    fn check_wants_config_and_rootfs_in_the_directory_that_goes() {
        let file = Some(c"/var/lib/lxc/c1/config");
        let rootfs = c"/var/lib/lxc/c1/rootfs";
        assert!(checked(file, rootfs, Kind::Directory, true));
        assert!(checked(file, c"/base:/var/lib/lxc/c1/delta", Kind::Overlay, true));
        assert!(checked(file, c"/srv/rootfs", Kind::Directory, false));
        for (path, kind) in [
            (c"/srv/rootfs", Kind::Directory),
            (c"/var/lib/lxc/c1/../c2/rootfs", Kind::Directory),
            (c"/var/lib/lxc/c10/rootfs", Kind::Directory),
            (c"/var/lib/lxc/c1", Kind::Directory),
            (c"/var/lib/lxc/c1/lower:/srv/delta", Kind::Overlay),
            (c"/dev/sda1", Kind::Device),
        ] {
            assert!(!checked(file, path, kind, true), "{path:?}");
        }
        assert!(!checked(file, rootfs, Kind::Directory, false));
        assert!(!checked(Some(c"/etc/lxc/c1.conf"), rootfs, Kind::Directory, true));
        assert!(!checked(Some(c"/var/lib/lxc/c2/config"), rootfs, Kind::Directory, true));
        assert!(!checked(None, rootfs, Kind::Directory, true));
    }
}
