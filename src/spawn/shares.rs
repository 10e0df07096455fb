//! Namespaces of somebody else (`lxc.namespace.share.*`): named by a container, a pid or a file; opened by the supervisor before
//! anything is made, and joined before the container's process is born.

use super::barrier::{Report, Step};
use super::namespaces::{CGROUP, PID, Plan, USER};
use crate::config::isolation::Share;
use crate::config::{Config, values};
use crate::control::client::{Container, Failure};
use crate::error::{Error, Result};
use crate::sys::fds::open;
use crate::sys::process;
use crate::text::{PathText, number, shown};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sched::{CloneFlags, setns};
use nix::sys::stat::{Mode, fstat, stat};
use std::os::fd::{AsFd, OwnedFd};

/// Without it there are none: a config that would have any is refused.
const BUILT: bool = cfg!(feature = "isolation");

/// In a report of `Step::Namespace`: the item is a share, not one of `namespaces::NAMES`.
pub const SHARE: u16 = 0x100;

/// As many as there are kinds; by the index of the share in the config.
#[derive(Default)]
pub struct Shares {
    open: heapless::Vec<(u64, OwnedFd), 8>,
}

/// Opens them all.
///
/// # Errors
/// One line that names the setting: nobody has that namespace, or the file is none, or it must not be shared.
#[inline(never)] // its paths are for those who share
pub fn open_all(config: &Config<'_>) -> Result<Shares> {
    let mut shares = Shares::default();
    for share in config.isolation.share.iter().filter(|_| BUILT) {
        let kind = values::namespace_names(share.namespace).next().unwrap_or_default();
        let what = format_args!("{}: lxc.namespace.share.{kind} = {}", config.place(share.at), shown(share.of));
        let opened = open_one(config, share, kind).map_err(|why| match why {
            Why::Os(errno) => Error::os("namespace", errno, what),
            Why::Said(why) => Error::new("namespace", format_args!("{what}: {why}")),
        })?;
        let _ = shares.open.push((share.namespace, opened));
    }
    Ok(shares)
}

/// Why a namespace cannot be had.
enum Why {
    Os(Errno),
    Said(&'static str),
}

impl From<Errno> for Why {
    fn from(errno: Errno) -> Why {
        Why::Os(errno)
    }
}

fn open_one(config: &Config<'_>, share: &Share<'_>, kind: &str) -> core::result::Result<OwnedFd, Why> {
    let of = share.of.to_bytes();
    let named = !of.starts_with(b"/") && number(of).is_none();
    if named && share.of == config.name {
        return Err(Why::Said("that is this container itself"));
    }
    let container = Container { lxcpath: config.lxcpath, name: share.of };
    let init = || match container.init_pid() {
        Ok(Some(pid)) => Ok(pid),
        Ok(None) | Err(Failure::NotRunning | Failure::Closed) => Err(Why::Said("that container is not running")),
        Err(Failure::Os(errno) | Failure::Refused(errno)) => Err(Why::Os(errno)),
        Err(_) => Err(Why::Said("that container's supervisor does not answer")),
    };
    let too_long = |_| Errno::ENAMETOOLONG;
    let (path, pid): (PathText, _) = match (named, number(of)) {
        (true, _) => {
            let pid = init()?;
            (PathText::format(format_args!("/proc/{pid}/ns/{kind}")).map_err(too_long)?, Some(pid))
        }
        (_, Some(pid)) => (PathText::format(format_args!("/proc/{pid}/ns/{kind}")).map_err(too_long)?, None),
        (_, None) => (PathText::join(&[of]).map_err(too_long)?, None),
    };
    let file = open(path.c(), OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY, Mode::empty())?;
    // Whoever has its pid by now would have been opened.
    if let Some(pid) = pid
        && init()? != pid
    {
        return Err(Why::Said("that container ended meanwhile"));
    }
    match crate::sys::namespace::kind(file.as_fd()) {
        Ok(flag) if flag == share.namespace => {}
        // Before Linux 4.11, and under qemu-user, joining it tells.
        Err(Errno::ENOTTY | Errno::ENOSYS) => {}
        Ok(_) => return Err(Why::Said("that is another kind of namespace")),
        Err(Errno::EINVAL) => return Err(Why::Said("that is no namespace")),
        Err(errno) => return Err(errno.into()),
    }
    if share.namespace == PID {
        let (theirs, own) = (fstat(&file)?, stat(c"/proc/self/ns/pid")?);
        if (theirs.st_dev, theirs.st_ino) == (own.st_dev, own.st_ino) {
            return Err(Why::Said("the host's own cannot be shared: a guest ends all that it sees when it halts"));
        }
    }
    Ok(file)
}

impl Shares {
    /// Whether there are any that are joined before the birth.
    pub fn before_birth(&self) -> bool {
        self.open.iter().any(|(kind, _)| *kind != CGROUP)
    }

    /// Joins all but the cgroup namespace. `PID` is that of the children that are made from then on.
    ///
    /// A namespace is joined by the right that one has in the user namespace that owns it: root on the host has it in all, but in
    /// no other user namespace any more once it has joined one. So that one comes last, unless it gives the right to the others.
    pub fn join(&self) -> core::result::Result<(), Report> {
        let mut joined = CGROUP;
        for (pass, user) in [(0, false), (0, true), (1, false)] {
            for (index, (kind, file)) in (SHARE..).zip(&self.open) {
                if joined & kind != 0 || (*kind == USER) != user {
                    continue;
                }
                if user {
                    // In there it may be forbidden.
                    process::set_groups(&[]).map_err(|errno| Report::new(Step::Groups, 0, errno))?;
                }
                match setns(file, CloneFlags::from_bits_retain(*kind as i32)) {
                    Ok(()) => joined |= kind,
                    Err(Errno::EPERM) if pass == 0 && !user => {}
                    Err(errno) => return Err(Report::new(Step::Namespace, index, errno)),
                }
            }
        }
        if joined & USER != 0 {
            become_root().map_err(|errno| Report::new(Step::BecomeRoot, 0, errno))?;
        }
        Ok(())
    }

    /// The cgroup namespace: once the process is in its groups, which may lie outside of it.
    pub fn join_cgroup(&self) -> core::result::Result<(), Report> {
        for (index, (_, file)) in (SHARE..).zip(&self.open).filter(|(_, (kind, _))| BUILT && *kind == CGROUP) {
            setns(file, CloneFlags::CLONE_NEWCGROUP).map_err(|errno| Report::new(Step::Namespace, index, errno))?;
        }
        Ok(())
    }
}

/// Root of the user namespace that was joined, in which we are nobody.
fn become_root() -> nix::Result<()> {
    process::set_group(0)?;
    process::set_user(0)?;
    // Or our own /proc/self would be the host's root's.
    process::set_dumpable()
}

/// The share that a report is about.
pub fn share_of<'c>(item: u16, config: &'c Config<'c>) -> Option<&'c Share<'c>> {
    config.isolation.share.get(usize::from(item.checked_sub(SHARE)?)).filter(|_| BUILT)
}

/// What has to be made before the birth can be, by a process of its own.
pub fn need_a_stage(plan: &Plan, shares: &Shares) -> bool {
    BUILT && (plan.time || shares.before_birth())
}
