//! What keeps a guest from hurting the host by accident, and hears what it says when it reboots.
//!
//! `masks` makes dangerous files read-only at the start. `filter` has the kernel hand over the calls that could uncover them,
//! and reboots with an argument; a `helper` answers each in a process of its own: `caller` is who makes it, `mounts` what
//! becomes of a mount. Where the kernel has no such filter (before Linux 5.7), init's table of mounts is watched and the masks
//! put on what it has mounted, after the fact.

use crate::config::own::Danger;
use crate::config::{AutoProc, Config, MountEntry};
use crate::error::{Error, Result};
use crate::logging::log;
use crate::prepare::host::{Host, Source};
use crate::spawn::barrier::{Report, Step};
use crate::sys::clone::{Fork, fork};
use crate::sys::process::{self, Exit};
use crate::sys::{rights, seccomp};
use crate::text::{PathText, Shown};
use filter::{Call, Wanted};
use helper::Job;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::mount::MsFlags;
use nix::sys::epoll::EpollFlags;
use nix::unistd::{AccessFlags, pipe2, read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

mod caller;
pub mod filter;
mod helper;
pub mod masks;
mod mounts;

/// Without it nothing here is ever asked for: a config that would is refused.
const BUILT: bool = cfg!(feature = "guard");
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

/// What a helper is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Work {
    /// Masks what init has mounted.
    Scan,
    /// Answers the call of that id, which may end in an error.
    Call(u64),
    /// Hears what a reboot says, which happens whatever becomes of the helper.
    Reboot(u64),
}

/// A helper at work.
struct Helper {
    pid: i32,
    work: Work,
}

impl Guard {
    /// The child has its filter, whose listener this is, or cannot have one, and says why.
    pub fn begin(&mut self, listener: Option<OwnedFd>, why: i32, init: i32, host: &mut Host<'_>) -> Result<()> {
        let failed = |what: &'static str| move |errno: Errno| Error::os("guard", errno, format_args!("{what}"));
        let wanted = Wanted::of(&host.config.own);
        if let Some(listener) = listener {
            if wanted.reboots {
                self.words = Some(pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).map_err(failed("pipe"))?);
            }
            host.watch(&listener, Source::Guard, EpollFlags::EPOLLIN).map_err(failed("epoll_ctl"))?;
            self.listener = Some(listener);
            return Ok(());
        }
        let why = Errno::from_raw(why).desc();
        if wanted.reboots {
            log::info!(
                "guard: no seccomp notifications ({why}): the argument of a reboot is not heard from the kernel"
            );
        }
        if !wanted.mounts {
            return Ok(());
        }
        log::warn!(
            "guard: no seccomp notifications ({why}): what the guest mounts is protected a moment later, and only in its \
             init's mount namespace"
        );
        let table = PathText::format(format_args!("/proc/{init}/mountinfo"))
            .map_err(|_| Errno::ENAMETOOLONG)
            .and_then(|path| crate::sys::fds::open(path.c(), OFlag::O_RDONLY, nix::sys::stat::Mode::empty()));
        let table = match table {
            Ok(table) => table,
            // init has ended already, has no mounts any more, and is not reaped yet.
            Err(Errno::EINVAL) => return Ok(()),
            Err(errno) => return Err(failed("the guest's mountinfo")(errno)),
        };
        host.watch(&table, Source::Mounts, EpollFlags::EPOLLPRI).map_err(failed("epoll_ctl"))?;
        self.table = Some(table);
        // The child does not wait for us.
        self.scan(init, host);
        Ok(())
    }

    /// A call waits for its answer.
    pub fn serve(&mut self, init: i32, host: &mut Host<'_>) {
        let Some(listener) = self.listener.as_ref().filter(|_| BUILT) else { return };
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
        let reboot = filter::call_of(call.arch, call.number) == Some(Call::Reboot);
        let work = if reboot { Work::Reboot(call.id) } else { Work::Call(call.id) };
        match fork() {
            Ok(Fork::Child) => helper::answer(&job),
            Ok(Fork::Parent(pid)) => drop(self.helpers.push(Helper { pid, work })),
            Err(errno) => {
                log::warn!("guard: fork: {}", errno.desc());
                work.give_up(listener.as_fd(), errno);
            }
        }
        if self.helpers.is_full() {
            host.forget(listener);
            self.full = true;
        }
    }

    /// init has mounted or unmounted something.
    pub fn scan(&mut self, init: i32, host: &Host<'_>) {
        if !BUILT {
            return;
        }
        if self.helpers.iter().any(|helper| helper.work == Work::Scan) {
            self.again = true;
            return;
        }
        match fork() {
            Ok(Fork::Child) => helper::scan(init, &host.config.own),
            Ok(Fork::Parent(pid)) => drop(self.helpers.push(Helper { pid, work: Work::Scan })),
            Err(errno) => log::error!("guard: the guest's mounts are not protected: fork: {}", errno.desc()),
        }
    }

    /// A child has ended: helpers that were it are done.
    pub fn reap(&mut self, init: i32, host: &mut Host<'_>) {
        if !BUILT {
            return;
        }
        let mut scanned = false;
        let listener = self.listener.as_ref().map(AsFd::as_fd);
        self.helpers.retain(|helper| match process::try_wait(helper.pid) {
            Ok(None) => true,
            ended => {
                scanned |= helper.work == Work::Scan;
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
        if !BUILT {
            return;
        }
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

impl Work {
    /// Nobody else will answer the call.
    fn give_up(self, listener: BorrowedFd<'_>, errno: Errno) {
        let _ = match self {
            Work::Scan => Ok(()),
            Work::Call(id) => seccomp::answer(listener, id, errno as i32),
            Work::Reboot(id) => seccomp::go_on(listener, id),
        };
    }
}

impl Helper {
    /// A call whose helper could not answer is answered here.
    fn ended(&self, exit: Option<Exit>, listener: Option<BorrowedFd<'_>>) {
        match (exit, self.work) {
            (Some(Exit::Code(helper::ANSWERED)), _) => {}
            (Some(Exit::Code(code)), Work::Scan) => {
                log::error!("guard: the guest's mounts are not protected: {}", Errno::from_raw(code).desc());
            }
            (Some(Exit::Code(_)), _) => log::info!("guard: refused what would uncover a protected file"),
            (_, work) => {
                log::warn!("guard: a look at the guest's mounts took too long");
                if let Some(listener) = listener {
                    work.give_up(listener, Errno::ETIMEDOUT);
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
        match seccomp::listen(&filter::program(wanted)) {
            Ok(listener) => {
                let word = Report { value: 0, ..report(Errno::UnknownErrno) }.as_warning();
                return rights::send(barrier, &word.to_bytes(), &[listener.as_fd()]).map_err(report);
            }
            // This kernel has no such thing, something around us forbids it, or listens itself.
            Err(errno @ (Errno::ENOSYS | Errno::EINVAL | Errno::EBUSY | Errno::EPERM | Errno::EACCES)) => {
                crate::spawn::child::tell(barrier, report(errno).as_warning());
            }
            Err(errno) => return Err(report(errno)),
        }
    }
    if wanted.no_keyctl {
        let alone = Wanted { reboots: false, mounts: false, ..wanted };
        return seccomp::install(&filter::program(alone)).map_err(report);
    }
    Ok(())
}
