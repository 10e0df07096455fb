//! What keeps a guest from hurting the host by accident, and hears what it says when it reboots.
//!
//! `masks` makes dangerous files read-only at the start. `filter` has the kernel hand over the calls that could uncover them,
//! and reboots with an argument; `helper` answers each in a process of its own. Where the kernel has no such filter (before
//! Linux 5.7), init's table of mounts is watched and the masks put on what it has mounted, after the fact.

use crate::config::own::Danger;
use crate::config::{AutoProc, Config, MountEntry};
use crate::prepare::host::{Host, Source};
use crate::spawn::barrier::{Report, Step};
use crate::sys::clone::{Fork, fork};
use crate::sys::process::{self, Exit};
use crate::sys::{rights, seccomp};
use crate::text::{PathText, Shown};
use filter::Wanted;
use helper::Job;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::mount::MsFlags;
use nix::sys::epoll::EpollFlags;
use nix::unistd::{AccessFlags, pipe2, read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

pub mod filter;
mod helper;
pub mod masks;

/// Helpers at work at once; more calls wait in the kernel.
const HELPERS: usize = 8;

/// The guard of one life.
#[derive(Default)]
pub struct Guard {
    /// Hands over calls.
    listener: Option<OwnedFd>,
    /// init's table of mounts, where there is no listener.
    table: Option<OwnedFd>,
    /// The pipe through which helpers say a reboot's argument.
    words: Option<(OwnedFd, OwnedFd)>,
    helpers: heapless::Vec<Helper, HELPERS>,
    /// All helpers are at work, and the listener is not watched.
    full: bool,
    /// The table changed while it was read.
    again: bool,
}

/// A process that answers a call, or (no id) masks what init has mounted.
struct Helper {
    pid: i32,
    id: Option<u64>,
}

impl Guard {
    /// The child has its filter, whose listener this is, or cannot have one, and says why.
    pub fn begin(&mut self, listener: Option<OwnedFd>, why: i32, init: i32, host: &mut Host<'_>) {
        let wanted = Wanted::of(&host.config.own);
        if let Some(listener) = listener {
            let words = if wanted.reboots { pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).ok() } else { None };
            if let Err(errno) = host.watch(&listener, Source::Guard, EpollFlags::EPOLLIN) {
                log::error!("guard: {}", errno.desc());
            }
            (self.listener, self.words) = (Some(listener), words);
            return;
        }
        let why = Errno::from_raw(why).desc();
        if wanted.reboots {
            log::info!(
                "guard: no seccomp notifications ({why}): the argument of a reboot is not heard from the kernel"
            );
        }
        if !wanted.mounts {
            return;
        }
        log::warn!(
            "guard: no seccomp notifications ({why}): what the guest mounts is protected a moment later, and only in its \
             init's mount namespace"
        );
        let table = PathText::format(format_args!("/proc/{init}/mountinfo"))
            .map_err(|_| Errno::ENAMETOOLONG)
            .and_then(|path| crate::sys::fds::open(path.c(), OFlag::O_RDONLY, nix::sys::stat::Mode::empty()))
            .and_then(|table| host.watch(&table, Source::Mounts, EpollFlags::EPOLLPRI).map(|()| table));
        match table {
            Ok(table) => {
                self.table = Some(table);
                // The child does not wait for us.
                self.scan(init, host);
            }
            Err(errno) => log::error!("guard: the guest's mounts cannot be watched: {}", errno.desc()),
        }
    }

    /// A call waits for its answer.
    pub fn serve(&mut self, init: i32, host: &mut Host<'_>) {
        let Some(listener) = &self.listener else { return };
        let call = match seccomp::receive(listener.as_fd()) {
            Ok(call) => call,
            Err(Errno::ENOTCONN) => {
                host.forget(listener);
                self.listener = None;
                return;
            }
            // Its caller is gone.
            Err(_) => return,
        };
        let words = self.words.as_ref().map(|(_, input)| input.as_fd());
        let job = Job { listener: listener.as_fd(), call, init, own: &host.config.own, words };
        match fork() {
            Ok(Fork::Child) => helper::answer(&job),
            Ok(Fork::Parent(pid)) => {
                let _ = self.helpers.push(Helper { pid, id: Some(call.id) });
            }
            Err(errno) => {
                log::warn!("guard: {}", errno.desc());
                let _ = seccomp::answer(listener.as_fd(), call.id, errno as i32);
            }
        }
        if self.helpers.is_full() {
            host.forget(listener);
            self.full = true;
        }
    }

    /// init has mounted or unmounted something.
    pub fn scan(&mut self, init: i32, host: &Host<'_>) {
        if self.helpers.iter().any(|helper| helper.id.is_none()) {
            self.again = true;
            return;
        }
        match fork() {
            Ok(Fork::Child) => helper::scan(init, &host.config.own),
            Ok(Fork::Parent(pid)) => drop(self.helpers.push(Helper { pid, id: None })),
            Err(errno) => log::warn!("guard: {}", errno.desc()),
        }
    }

    /// A child has ended: helpers that were it are done.
    pub fn reap(&mut self, init: i32, host: &mut Host<'_>) {
        let mut scanned = false;
        let listener = self.listener.as_ref().map(AsFd::as_fd);
        self.helpers.retain(|helper| match process::try_wait(helper.pid) {
            Ok(None) => true,
            ended => {
                scanned |= helper.id.is_none();
                helper.ended(ended.ok().flatten(), listener);
                false
            }
        });
        self.hear(host);
        if self.full
            && !self.helpers.is_full()
            && let Some(listener) = &self.listener
        {
            self.full = host.watch(listener, Source::Guard, EpollFlags::EPOLLIN).is_err();
        }
        if scanned && core::mem::take(&mut self.again) {
            self.scan(init, host);
        }
    }

    /// Takes what a reboot was asked for with.
    fn hear(&self, host: &mut Host<'_>) {
        let Some((output, _)) = &self.words else { return };
        let mut buffer = [0u8; crate::limits::REBOOT_ARGUMENT];
        while let Ok(1..) = read(output, &mut buffer) {
            let said = buffer.split(|byte| *byte == b'\n').next().unwrap_or(&[]);
            host.reboot_argument.clear();
            host.reboot_argument.push(said);
            log::info!("the guest reboots with the argument \"{}\"", Shown(said));
        }
    }

    /// The life is over.
    pub fn end(&mut self, host: &mut Host<'_>) {
        for fd in self.listener.iter().chain(&self.table) {
            host.forget(fd);
        }
        for helper in &self.helpers {
            let _ = process::kill(helper.pid, libc::SIGKILL);
            let _ = process::wait(helper.pid);
        }
        self.hear(host);
        *self = Guard::default();
    }
}

impl Helper {
    /// A call whose helper could not answer is answered here.
    fn ended(&self, exit: Option<Exit>, listener: Option<BorrowedFd<'_>>) {
        match (exit, self.id) {
            (Some(Exit::Code(helper::ANSWERED)), _) => {}
            (Some(Exit::Code(code)), None) => {
                log::error!("guard: the guest's mounts are not protected: {}", Errno::from_raw(code).desc());
            }
            (Some(Exit::Code(_)), Some(_)) => log::info!("guard: refused what would uncover a protected file"),
            (_, id) => {
                log::warn!("guard: a look at the guest's mounts took too long");
                if let (Some(listener), Some(id)) = (listener, id) {
                    let _ = seccomp::answer(listener, id, Errno::ETIMEDOUT as i32);
                }
            }
        }
    }
}

/// Says so where a config, which does not say that it wants that, leaves the guest what kills every process of the host.
pub fn warn(config: &Config<'_>) {
    let own = &config.own;
    let decided = own.protect.on.is_some() || own.protects() || own.protect.allowed >> Danger::Sysrq as u8 & 1 == 1;
    let writable = |entry: &MountEntry<'_>| {
        entry.fstype == c"proc" && !MsFlags::from_bits_retain(entry.options.flags as _).contains(MsFlags::MS_RDONLY)
    };
    if !decided
        && (config.mount_auto.proc == AutoProc::Rw || config.mounts.iter().any(writable))
        && nix::unistd::access(c"/proc/sysrq-trigger", AccessFlags::F_OK).is_ok()
    {
        log::warn!(
            "the guest can write the host's /proc/sysrq-trigger; monopod.protect = 1 keeps it from that (0: be silent)"
        );
    }
}

/// The child's part: puts itself, and so the guest, under the filter, and hands the listener up. Without a listener it says
/// why and goes on: there is another way.
pub fn install(config: &Config<'_>, barrier: BorrowedFd<'_>) -> Result<(), Report> {
    let wanted = Wanted::of(&config.own);
    let report = |errno| Report::new(Step::Filter, 0, errno);
    if wanted.listens() {
        let listener =
            if seccomp::has_notifications() { seccomp::listen(&filter::program(wanted)) } else { Err(Errno::ENOSYS) };
        match listener {
            Ok(listener) => {
                let word = Report { value: 0, ..report(Errno::UnknownErrno) }.as_warning();
                return rights::send(barrier, &word.to_bytes(), &[listener.as_fd()]).map_err(report);
            }
            Err(errno) => crate::spawn::child::tell(barrier, report(errno).as_warning()),
        }
    }
    if wanted.no_keyctl {
        let alone = Wanted { reboots: false, mounts: false, ..wanted };
        return seccomp::install(&filter::program(alone)).map_err(report);
    }
    Ok(())
}
