//! What the supervisor does for the child that waits: links, id maps and mounts before it begins, limits and files of /proc
//! before it goes on.

#[cfg(any(feature = "net", feature = "idmap"))]
use super::Heard;
use super::barrier::{Report, Step};
use super::{Blueprint, Life, Start};
use crate::android::crash;
use crate::config::{Config, HookKind, values};
use crate::error::{Error, Result};
use crate::guard::filter::Wanted;
#[cfg(feature = "idmap")]
use crate::logging::log;
#[cfg(feature = "idmap")]
use crate::logging::trace;
use crate::prepare::console::ConsoleSide;
use crate::prepare::host::Host;
#[cfg(feature = "idmap")]
use crate::prepare::host::Source;
#[cfg(feature = "idmap")]
use crate::sys::clone::{Fork, fork};
use crate::sys::{process, rights};
use crate::text::{PathText, shown};
use nix::errno::Errno;
use nix::fcntl::OFlag;
#[cfg(feature = "idmap")]
use nix::sys::epoll::EpollFlags;
#[cfg(feature = "idmap")]
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use std::os::fd::{AsFd, BorrowedFd};

impl Start {
    /// Makes the container's links, by the socket that the child hands up.
    #[cfg(feature = "net")]
    #[inline(never)] // for those who have links
    pub(super) fn make_links<'t>(
        &mut self,
        life: &mut Life<'_, 't>,
        blueprint: &Blueprint<'t>,
        side: &mut ConsoleSide<'t>,
        host: &mut Host<'t>,
    ) -> Result<()> {
        if let Heard::Executed = self.hear(life, blueprint, side, host)? {
            return Err(self.died(life));
        }
        let (socket, pid) = (life.ttys.pop(), life.pid.unwrap_or(0));
        self.rest_hook_output(host, |host| crate::net::make(&mut life.links, socket, pid, host))
    }

    /// What only the supervisor can do for the child, before that does anything by itself.
    #[inline(never)] // for those who have id maps or links
    pub(super) fn help_the_newborn(
        &mut self,
        life: &mut Life<'_, '_>,
        blueprint: &Blueprint<'_>,
        side: &mut ConsoleSide<'_>,
        host: &mut Host<'_>,
    ) -> Result<()> {
        #[cfg(feature = "idmap")]
        if !host.config.isolation.idmap.is_empty() {
            trace::step("write the id maps");
            crate::idmap::write::apply(host, life.pid.unwrap_or(0))?;
            self.delegate(life, host)?;
        }
        #[cfg(feature = "idmap")]
        if crate::idmap::trees::wanted(host.config, &blueprint.source) {
            self.mount_for_the_newborn(life, blueprint, side, host)?;
        }
        let _ = (blueprint, side, host);
        let trees = core::mem::take(&mut life.ttys);
        let mut handed: heapless::Vec<BorrowedFd<'_>, { rights::MOST }> = heapless::Vec::new();
        handed.extend(trees.iter().map(AsFd::as_fd));
        rights::send(self.barrier.as_fd(), b"g", &handed)
            .map_err(|errno| Error::os("start", errno, format_args!("let the container's process begin")))
    }

    /// Gives the container's groups to its root.
    #[cfg(feature = "idmap")]
    fn delegate(&mut self, life: &mut Life<'_, '_>, host: &mut Host<'_>) -> Result<()> {
        use crate::idmap::{borrow, trees};
        if !borrow::needed(host) {
            return give_groups(life, host.config);
        }
        if life.group.v2_directory().is_none() {
            return Ok(());
        }
        match borrow::fork(host)? {
            None => {
                if let Err(error) = give_groups(life, host.config) {
                    log::warn!("{error}");
                }
                process::exit_now(0)
            }
            Some(pid) if !trees::wait(pid) => trees::end(pid),
            Some(_) => life.borrowed = true,
        }
        Ok(())
    }

    /// Has a process of the host's make the mounts that the child may not, and speak as the child does meanwhile.
    #[cfg(feature = "idmap")]
    fn mount_for_the_newborn(
        &mut self,
        life: &mut Life<'_, '_>,
        blueprint: &Blueprint<'_>,
        side: &mut ConsoleSide<'_>,
        host: &mut Host<'_>,
    ) -> Result<()> {
        let failed = |what: &'static str| move |errno: Errno| Error::os("mount", errno, format_args!("{what}"));
        trace::step("mount for the container's process");
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
            .map_err(failed("socketpair"))?;
        let pid = match fork().map_err(failed("fork"))? {
            Fork::Child => {
                drop(ours);
                let child = life.pid.unwrap_or(0);
                crate::idmap::trees::run(host.config, &blueprint.source, child, theirs.as_fd())
            }
            Fork::Parent(pid) => pid,
        };
        drop(theirs);
        host.forget(&self.barrier);
        let barrier = core::mem::replace(&mut self.barrier, ours);
        let heard = host
            .watch(&self.barrier, Source::Barrier, EpollFlags::EPOLLIN)
            .map_err(failed("epoll_ctl"))
            .and_then(|()| self.hear(life, blueprint, side, host));
        let helper = core::mem::replace(&mut self.barrier, barrier);
        host.forget(&helper);
        if matches!(heard, Ok(Heard::Ready)) {
            let _ = process::wait(pid);
        } else {
            crate::idmap::trees::end(pid);
        }
        host.watch(&self.barrier, Source::Barrier, EpollFlags::EPOLLIN).map_err(failed("epoll_ctl"))?;
        match heard? {
            Heard::Ready => Ok(()),
            Heard::Executed => {
                Err(Error::new("mount", format_args!("the process that mounts for the container ended")))
            }
        }
    }
}

/// The groups belong to the container's root, whom the id maps name, so that it can make groups of its own.
#[cfg(feature = "idmap")]
fn give_groups(life: &Life<'_, '_>, config: &Config<'_>) -> Result<()> {
    match [false, true].map(|groups| config.isolation.outside(groups, 0)) {
        [Some(uid), Some(gid)] => life.group.give(uid, gid),
        _ => Ok(()),
    }
}

/// Whether the child, when it has its filesystem, waits for what the supervisor does then. Where that is nothing it goes on at
/// once: two wake-ups less on the way to init.
pub(super) fn waits(config: &Config<'_>) -> bool {
    let hooked = [HookKind::StartHost, HookKind::Stop].iter().any(|kind| config.hooks(*kind).next().is_some());
    let limited = !config.prlimits.is_empty() || !config.procs.is_empty() || !config.cgroup.is_empty();
    let filtered = config.isolation.seccomp.is_some() || Wanted::of(&config.own).listens();
    hooked || limited || filtered || config.own.hears_reboots() || crash::is_wanted(config)
}

/// `lxc.proc.*`: files of /proc/PID, written for the child while it waits.
#[inline(never)] // its paths are for those who use lxc.proc
pub(super) fn write_proc(config: &Config<'_>, pid: i32) -> Result<()> {
    for file in &config.procs {
        let refuse = |errno| {
            let place = config.place(file.at);
            Error::os("proc", errno, format_args!("{place}: lxc.proc.{} = {}", shown(file.name), shown(file.value)))
        };
        let path = PathText::format(format_args!("/proc/{pid}/{}", shown(file.name)))
            .map_err(|_| refuse(Errno::ENAMETOOLONG))?;
        crate::cgroup::limit::write_file(path.c(), file.value.to_bytes()).map_err(refuse)?;
    }
    Ok(())
}

/// `lxc.prlimit.*` where the child has not the right to raise a limit, which is the host's to give.
pub(super) fn set_limits(config: &Config<'_>, pid: i32) -> Result<()> {
    let mut limits = (0u16..).zip(&config.prlimits).filter(|_| !config.isolation.idmap.is_empty());
    limits.try_for_each(|(index, limit)| {
        process::set_limit_of(pid, limit.resource, limit.soft, limit.hard)
            .map_err(|errno| Report::new(Step::Limit, index, errno).describe(config, c"", c""))
    })
}

/// Opens the container's namespaces while they are sure to exist, for stop hooks only.
#[inline(never)] // its paths are for those who have a stop hook
pub(super) fn hold_namespaces(life: &mut Life<'_, '_>, config: &Config<'_>, flags: u64) {
    if config.hooks(HookKind::Stop).next().is_none() {
        return;
    }
    let pid = life.pid.unwrap_or(0);
    for name in values::namespace_names(flags) {
        let opened =
            PathText::format(format_args!("/proc/{pid}/ns/{name}")).map_err(|_| Errno::ENAMETOOLONG).and_then(|path| {
                crate::sys::fds::open(path.c(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, nix::sys::stat::Mode::empty())
            });
        if let Ok(fd) = opened {
            let _ = life.namespaces.push((name, fd));
        }
    }
}
