//! The supervisor's half of a start: cgroups, clone, barriers, until init runs.

use crate::android::{self, boot_arguments, crash, reasons::Before};
use crate::cgroup::{Group, find::Hierarchies};
use crate::config::groups::Groups;
use crate::config::{Config, HookKind};
use crate::error::{Error, Result};
use crate::guard::Guard;
use crate::hooks::{self, Moment, Output};
use crate::logging::log;
use crate::logging::trace;
use crate::lsm::Labels;
use crate::prepare::console::ConsoleSide;
use crate::prepare::host::{Event, Host, Source, now_ms};
use crate::rootfs::{self, Site};
use crate::state::State;
use crate::supervise::lifecycle::Asked;
use crate::supervise::{self, console::Console};
use crate::sys::clone::Fork;
use crate::sys::seccomp::Instruction;
use crate::sys::{process, rights};
use barrier::{Report, Step};
use birth::{Birth, fork_off};
use core::ffi::CStr;
use newborn::{hold_namespaces, set_limits, write_proc};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::epoll::EpollFlags;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::unistd::pipe2;
use shares::Shares;
use std::os::fd::{AsFd, OwnedFd};

pub mod barrier;
pub mod birth;
pub mod child;
pub mod namespaces;
mod newborn;
pub mod shares;

/// An init that is a part of this program: by its command line and environment its exit code. Where the kernel executes files
/// in memory it is called by a sealed copy of our binary, under the same command line; else by the child itself.
pub type Inside = fn(&[&CStr], &[&CStr]) -> i32;

/// What stays the same from life to life.
pub struct Blueprint<'t> {
    /// Where the rootfs is.
    pub source: rootfs::Source<'t>,
    /// The namespaces.
    pub namespaces: namespaces::Plan,
    /// init's command line.
    pub argv: &'t [&'t CStr],
    /// It is Android's, and the child chooses which.
    pub chooses_init: bool,
    /// See `child::Plan`.
    pub image: Option<OwnedFd>,
    /// See there.
    pub inside: Option<Inside>,
    /// See `child::Plan`.
    pub own_streams: bool,
    /// init's environment.
    pub environment: Vec<&'t CStr>,
    /// What it is labelled.
    pub labels: Labels<'t>,
    /// What the guest reads as the kernel's command line.
    pub boot_arguments: Option<boot_arguments::Files<'t>>,
    /// See `prepare::inherited::sockets`.
    pub sockets: i32,
    /// See `prepare::reboot_probe`.
    pub drop_sys_boot: bool,
    /// The compiled seccomp policy; empty: none is loaded.
    pub policy: Vec<Instruction>,
}

/// One life of the container. Whatever of it exists is taken down by `teardown`.
#[must_use = "a life is ended by teardown"]
pub struct Life<'h, 't> {
    /// Its cgroups.
    pub group: Group<'h, 't>,
    /// Android's groups that were there before it.
    pub others: android::cgroups::Before,
    /// init, until it is reaped.
    pub pid: Option<i32>,
    /// Its console.
    pub console: Option<Console>,
    /// Masters of its ttys, until it runs and they may be lent.
    pub ttys: heapless::Vec<OwnedFd, { rights::MOST }>,
    /// What it asks the kernel for and we hear of.
    pub guard: Guard,
    /// Its network links.
    #[cfg(feature = "net")]
    pub links: crate::net::Links,
    /// Who is asked about the calls that its policy hands over.
    #[cfg(feature = "seccomp")]
    pub proxy: crate::seccomp::proxy::Proxy,
    /// Its namespaces, held for the stop hook.
    pub namespaces: heapless::Vec<(&'static str, OwnedFd), 8>,
    /// Its init runs one command and ends with that one's code, which is nothing to report.
    pub is_command: bool,
    /// When init was executed.
    pub began_ms: Option<u64>,
    /// What Android had written down about its end before it began.
    pub before: Option<Before>,
    /// The kernel's log, from where it was when init began.
    pub kernel_log: Option<OwnedFd>,
    /// Its groups belong to ids that we had to borrow.
    pub borrowed: bool,
    /// It ended because something in it crashed again and again: it counts as a short one.
    pub crashed: bool,
}

impl<'h, 't> Life<'h, 't> {
    /// Nothing of it exists yet. `again`: it follows another.
    pub fn new(hierarchies: &'h Hierarchies<'t>, groups: Groups<'t>, again: bool) -> Self {
        Life {
            group: Group::new(hierarchies, groups, again),
            others: Default::default(),
            pid: None,
            console: None,
            ttys: heapless::Vec::new(),
            guard: Guard::default(),
            #[cfg(feature = "seccomp")]
            proxy: Default::default(),
            #[cfg(feature = "net")]
            links: Default::default(),
            namespaces: heapless::Vec::new(),
            is_command: false,
            began_ms: None,
            before: None,
            kernel_log: None,
            borrowed: false,
            crashed: false,
        }
    }

    /// For how long init has been running, in milliseconds.
    pub fn uptime_ms(&self) -> u64 {
        self.began_ms.map_or(0, |began| now_ms().saturating_sub(began))
    }
}

/// Starts a life: from the pre-start hooks to the exec of init.
#[inline(never)] // its frame would live as long as the container
pub fn spawn<'t>(
    life: &mut Life<'_, 't>,
    blueprint: &Blueprint<'t>,
    side: &mut ConsoleSide<'t>,
    host: &mut Host<'t>,
) -> Result<()> {
    host.set_state(State::Starting);
    host.reboot_argument.clear();
    life.is_command = blueprint.inside.is_some();
    trace::step("remove leftovers");
    android::clean::host(host.config);
    let shares = shares::open_all(host.config)?;
    hooks::run_on_host(host, HookKind::PreStart, &Moment::default())?;
    life.others = android::cgroups::Before::look(host.hierarchies, host.config);
    trace::step("make the cgroups");
    life.group.create(host.config, host.lock())?;
    android::binder::prepare_host(&host.config.own)?;
    trace::step("clone");
    if !blueprint.namespaces.has_pid() && !life.group.exists() {
        return Err(Error::new(
            "namespace",
            format_args!("without a cgroup what this init leaves in a shared pid namespace could not be ended"),
        ));
    }
    let mut start = Start::clone_child(life, blueprint, side, &shares, host)?;
    drop(shares);
    let result = start.follow(life, blueprint, side, host);
    host.forget(&start.barrier);
    if let Some(output) = &start.hook_output {
        host.forget(output);
        start.hook_lines.read(output.as_fd());
        start.hook_lines.finish();
    }
    result
}

/// The time between clone and exec.
struct Start {
    barrier: OwnedFd,
    hook_output: Option<OwnedFd>,
    hook_lines: Output,
    deadline: Option<u64>,
    /// The child goes on.
    gone: bool,
    /// Look at the barrier before anything else: a client that knows that init runs must not be told that it is being started.
    may_have_spoken: bool,
}

/// What the barrier said.
enum Heard {
    Ready,
    Executed,
}

impl Start {
    #[inline(never)] // its frame would live as long as the container
    fn clone_child<'t>(
        life: &mut Life<'_, 't>,
        blueprint: &Blueprint<'t>,
        side: &ConsoleSide<'t>,
        shares: &Shares,
        host: &mut Host<'t>,
    ) -> Result<Start> {
        let failed = |what: &'static str| move |errno: Errno| Error::os("start", errno, format_args!("{what}"));
        let config = host.config;
        let flags = SockFlag::SOCK_CLOEXEC;
        let (ours, theirs) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).map_err(failed("socketpair"))?;
        let inside = [HookKind::PreMount, HookKind::Mount, HookKind::Autodev, HookKind::Start];
        let hooked = inside.iter().any(|kind| config.hooks(*kind).next().is_some());
        let pipe = if hooked { Some(pipe2(OFlag::O_CLOEXEC).map_err(failed("pipe"))?) } else { None };
        let warn = |report: Report| child::tell(theirs.as_fd(), report);
        let mut plan = child::Plan {
            site: Site {
                config,
                scene: host.scene(),
                source: blueprint.source,
                boot_arguments: blueprint.boot_arguments.as_ref().map(boot_arguments::Files::directory),
                hierarchies: host.hierarchies,
                cgroup_namespace: blueprint.namespaces.cgroup,
                console: side.wanted,
                hook_output: pipe.as_ref().map_or(theirs.as_fd(), |(_, input)| input.as_fd()),
                warn: &warn,
            },
            group: &life.group,
            birth: Birth { in_v2: true, in_namespaces: true },
            namespaces: blueprint.namespaces,
            shares,
            argv: blueprint.argv,
            chooses_init: blueprint.chooses_init,
            image: blueprint.image.as_ref().map(AsFd::as_fd),
            inside: blueprint.inside,
            own_streams: blueprint.own_streams,
            labels: blueprint.labels,
            environment: &blueprint.environment,
            sockets: blueprint.sockets,
            drop_sys_boot: blueprint.drop_sys_boot,
            policy: &blueprint.policy,
        };
        let (side_of_fork, birth) = fork_off(&blueprint.namespaces, shares, config, life.group.v2_directory())
            .map_err(|report| report.describe(config, c"", c""))?;
        match side_of_fork {
            Fork::Child => {
                // The other end must close here too, or the child would never notice the supervisor's death.
                drop(ours);
                plan.birth = birth;
                child::run(&plan, theirs.as_fd())
            }
            Fork::Parent(pid) => {
                life.pid = Some(pid);
                host.set_init(pid, blueprint.namespaces.flags());
                host.watch(&ours, Source::Barrier, EpollFlags::EPOLLIN).map_err(failed("epoll_ctl"))?;
                let hook_output = pipe.map(|(output, _)| output);
                if let Some(output) = &hook_output {
                    nix::fcntl::fcntl(output, nix::fcntl::FcntlArg::F_SETFL(OFlag::O_NONBLOCK))
                        .map_err(failed("fcntl"))?;
                    host.watch(output, Source::Hook, EpollFlags::EPOLLIN).map_err(failed("epoll_ctl"))?;
                }
                let limit = config.timeouts.start_ms;
                let deadline = (limit > 0).then(|| now_ms() + limit);
                Ok(Start {
                    barrier: ours,
                    hook_output,
                    hook_lines: Output::new(HookKind::Mount),
                    deadline,
                    gone: false,
                    may_have_spoken: false,
                })
            }
        }
    }

    fn follow<'t>(
        &mut self,
        life: &mut Life<'_, 't>,
        blueprint: &Blueprint<'t>,
        side: &mut ConsoleSide<'t>,
        host: &mut Host<'t>,
    ) -> Result<()> {
        let config = host.config;
        #[cfg(feature = "net")]
        if crate::net::wanted(config, &blueprint.namespaces) {
            self.make_links(life, blueprint, side, host)?;
        }
        if child::needs_the_host(config) {
            self.help_the_newborn(life, blueprint, side, host)?;
        }
        if let Heard::Executed = self.hear(life, blueprint, side, host)? {
            return Err(self.died(life));
        }
        // Whatever has to be done from here on before init runs is named in `newborn::waits`.
        life.group.limit_devices(config, &mut host.devices)?;
        let pid = life.pid.unwrap_or(0);
        write_proc(config, pid)?;
        set_limits(config, pid)?;
        hold_namespaces(life, config, blueprint.namespaces.flags());
        life.before = Before::look(config, pid, child::dropped(config, blueprint.drop_sys_boot) >> 22 & 1 == 1);
        life.kernel_log = crash::mark(config);
        self.rest_hook_output(host, |host| {
            hooks::run_on_host(host, HookKind::StartHost, &Moment { pid: Some(pid), ..Moment::default() })
        })?;
        if side.wanted {
            attach_console(life, side, host)?;
        }
        #[cfg(feature = "seccomp")]
        if crate::sys::seccomp::hands_over(&blueprint.policy) {
            life.proxy.reach(config)?;
        }
        self.gone = true;
        if newborn::waits(config) {
            trace::step("let the container's process go on");
            match rights::send(self.barrier.as_fd(), b"g", &[]) {
                Ok(()) => {}
                // It ended already; what it said before says why.
                Err(Errno::EPIPE) => self.gone = false,
                Err(errno) => {
                    return Err(Error::os("start", errno, format_args!("let the container's process go on")));
                }
            }
        }
        self.may_have_spoken = true;
        while let Heard::Ready = self.hear(life, blueprint, side, host)? {}
        if !self.gone {
            return Err(self.died(life));
        }
        life.group.started();
        host.lent.begin(core::mem::take(&mut life.ttys));
        life.began_ms = Some(now_ms());
        trace::step("init runs");
        host.set_state(State::Running);
        Ok(())
    }

    /// Waits for the child's next word. Its warnings and its hooks' output are logged on the way.
    fn hear(
        &mut self,
        life: &mut Life<'_, '_>,
        blueprint: &Blueprint<'_>,
        side: &mut ConsoleSide<'_>,
        host: &mut Host<'_>,
    ) -> Result<Heard> {
        loop {
            let event = match core::mem::take(&mut self.may_have_spoken) {
                true => Event::Ready(Source::Barrier),
                false => host.next(self.deadline),
            };
            match event {
                Event::Ready(Source::Barrier) => {
                    let mut bytes = [0u8; 8];
                    let length = match rights::receive(self.barrier.as_fd(), &mut bytes, &mut life.ttys) {
                        Ok(0) => return Ok(Heard::Executed),
                        // Reset: it ended without having read what we sent it, maybe with a report, which comes next.
                        Err(Errno::EAGAIN | Errno::ECONNRESET) => continue,
                        Ok(length) => length,
                        Err(errno) => return Err(Error::os("start", errno, format_args!("read the barrier"))),
                    };
                    let Some(report) = Report::from_bytes(bytes.get(..length).unwrap_or(&[])) else {
                        return Err(Error::new(
                            "start",
                            format_args!("the container's process sent an unknown report"),
                        ));
                    };
                    if report.step == Step::Ready || report.step == Step::Network && report.warning {
                        return Ok(Heard::Ready);
                    }
                    if report.step == Step::Filter && report.warning {
                        let listener = if report.value == 0 { life.ttys.pop() } else { None };
                        life.guard.begin(listener, report.value, life.pid.unwrap_or(0), host)?;
                        continue;
                    }
                    #[cfg(feature = "seccomp")]
                    if report.step == Step::Policy
                        && report.warning
                        && let Some(listener) = life.ttys.pop()
                    {
                        life.proxy.begin(&listener, life.pid.unwrap_or(0), host.config)?;
                        continue;
                    }
                    match report.step {
                        Step::AndroidInit => {
                            android::init::say(report, host.config, blueprint.chooses_init, blueprint.argv);
                            continue;
                        }
                        Step::Clean => {
                            android::clean::say(report);
                            continue;
                        }
                        Step::Writable => {
                            rootfs::writable::say(report, host.config);
                            continue;
                        }
                        _ => {}
                    }
                    let init = blueprint.argv.first().copied().unwrap_or(c"");
                    let error = report.describe(host.config, init, life.group.place(report.item));
                    if !report.warning {
                        return Err(self.with_last_words(error));
                    }
                    log::info!("optional: {error}");
                }
                Event::Ready(Source::Hook) => {
                    if let Some(output) = &self.hook_output
                        && !self.hook_lines.read(output.as_fd())
                    {
                        host.forget(output);
                    }
                }
                Event::Deadline => {
                    return Err(Error::new(
                        "start",
                        format_args!(
                            "not done after {} ms (monopod.timeout.start), a hook in the container may hang",
                            host.config.timeouts.start_ms
                        ),
                    ));
                }
                // Once init may run it is the one to be told.
                Event::Signal(signal) if self.gone || !ends_us(host.config, signal) => host.hold_signal(signal),
                // It starts anyway.
                Event::Order(order) if !order.ends() => {}
                Event::Order(_) | Event::Signal(_) => {
                    host.asked = Asked::Stop;
                    return Err(Error::new("start", format_args!("called off")));
                }
                // A start hook may write to the console.
                Event::Ready(source) => supervise::relay(life, side, host, source),
                Event::Child => life.guard.reap(life.pid.unwrap_or(0), host),
            }
        }
    }

    /// Does something that waits for events of its own, with the output of the container's hooks left alone meanwhile.
    fn rest_hook_output<'t>(
        &mut self,
        host: &mut Host<'t>,
        wait: impl FnOnce(&mut Host<'t>) -> Result<()>,
    ) -> Result<()> {
        let Some(output) = &self.hook_output else { return wait(host) };
        self.hook_lines.read(output.as_fd());
        host.forget(output);
        wait(host)?;
        host.watch(output, Source::Hook, EpollFlags::EPOLLIN)
            .map_err(|errno| Error::os("start", errno, format_args!("epoll_ctl")))
    }

    /// A failed hook's own words are the best explanation there is.
    fn with_last_words(&mut self, error: Error) -> Error {
        if error.step() != "hook" {
            return error;
        }
        if let Some(output) = &self.hook_output {
            self.hook_lines.read(output.as_fd());
            self.hook_lines.finish();
        }
        error.with_suffix(self.hook_lines.last_words().text())
    }

    /// The child ended without a report: somebody killed it.
    fn died(&self, life: &mut Life<'_, '_>) -> Error {
        let ended = life.pid.map(process::wait);
        life.pid = None;
        match ended {
            Some(Ok(process::Exit::Signal(libc::SIGSYS))) => {
                Error::new("seccomp", format_args!("the policy killed the container's process before exec"))
            }
            Some(Ok(process::Exit::Signal(signal))) => {
                Error::new("start", format_args!("the container's process was killed by signal {signal} before exec"))
            }
            _ => Error::new("start", format_args!("the container's process ended before exec")),
        }
    }
}

/// Signals that call a start off, and end the wait between two lives.
pub fn ends_us(config: &Config<'_>, signal: i32) -> bool {
    signal == config.signals.ours || matches!(signal, libc::SIGTERM | libc::SIGINT | libc::SIGQUIT | libc::SIGHUP)
}

fn attach_console(life: &mut Life<'_, '_>, side: &mut ConsoleSide<'_>, host: &mut Host<'_>) -> Result<()> {
    let missing = || Error::new("console", format_args!("the container's process did not hand up its console"));
    if life.ttys.len() < 2 {
        return Err(missing());
    }
    let slave = life.ttys.remove(1);
    let master = life.ttys.remove(0);
    let console = Console::attach(master, slave, side, host)
        .map_err(|errno| Error::os("console", errno, format_args!("attach")))?;
    life.console = Some(console);
    Ok(())
}
