//! The child's half: from clone to exec, one step a line.
//!
//! Nothing here allocates, locks, logs or returns into the supervisor's code. A step that fails ends in a `Report`.

use super::barrier::{Report, Step};
use super::birth::Birth;
use super::namespaces;
use super::newborn;
use super::shares::Shares;
use crate::android;
use crate::cgroup::Group;
use crate::config::{Config, HookKind};
use crate::guard::{self, masks};
use crate::hooks;
use crate::logging::trace;
use crate::lsm::{self, Labels};
use crate::prepare::{inherited, oom};
use crate::rootfs::handed::{Handed, Trees, wants_entry};
use crate::rootfs::terminals::Terminals;
use crate::rootfs::{self, Site};
use crate::sys::fds::open;
use crate::sys::process::{self, exit_now};
use crate::sys::seccomp::{self, Instruction};
use crate::sys::{caps, fds, rights, signals};
use crate::text::PathText;
use core::convert::Infallible;
use core::ffi::CStr;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, socket};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{chdir, sethostname, setsid};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

/// Everything the child needs, made by the supervisor before the clone.
pub struct Plan<'a> {
    /// Config, rootfs and hooks inside the container.
    pub site: Site<'a>,
    /// Where it belongs.
    pub group: &'a Group<'a, 'a>,
    /// What it is in already.
    pub birth: Birth,
    /// Its namespaces.
    pub namespaces: namespaces::Plan,
    /// Those of somebody else.
    pub shares: &'a Shares,
    /// init's command line.
    pub argv: &'a [&'a CStr],
    /// See there.
    pub chooses_init: bool,
    /// Executed instead of what argv names.
    pub image: Option<BorrowedFd<'a>>,
    /// See there.
    pub inside: Option<super::Inside>,
    /// init gets the supervisor's own streams, where there is no console.
    pub own_streams: bool,
    /// Its labels.
    pub labels: Labels<'a>,
    /// init's environment.
    pub environment: &'a [&'a CStr],
    /// How many descriptors of the caller's it gets.
    pub sockets: i32,
    /// The kernel cannot tell a container's reboot from the host's: CAP_SYS_BOOT goes.
    pub drop_sys_boot: bool,
    /// The seccomp policy's program, or nothing.
    pub policy: &'a [Instruction],
}

const SYS_BOOT: u32 = 22;

/// Sends a report; there is nobody to tell if that fails.
pub fn tell(barrier: BorrowedFd<'_>, report: Report) {
    let _ = rights::send(barrier, &report.to_bytes(), &[]);
}

/// Runs the child to its exec, or to its report.
pub fn run(plan: &Plan<'_>, barrier: BorrowedFd<'_>) -> ! {
    let Err(report) = become_init(plan, barrier);
    tell(barrier, report);
    exit_now(255)
}

fn become_init(plan: &Plan<'_>, barrier: BorrowedFd<'_>) -> Result<Infallible, Report> {
    let config = plan.site.config;
    let fail = |step: Step| move |errno: Errno| Report::new(step, 0, errno);

    // The signal does not come if the supervisor died before this call: the barrier's other end tells.
    process::set_parent_death_signal(libc::SIGKILL).map_err(fail(Step::ParentDeath))?;
    if !supervisor_lives(barrier) {
        return Err(Report::new(Step::ParentGone, 0, Errno::ESRCH));
    }
    if !plan.birth.in_namespaces {
        unshare_all(&plan.namespaces)?;
    }
    let trees = if needs_the_host(config) {
        #[cfg(feature = "net")]
        if crate::net::wanted(config, &plan.namespaces) {
            lend_network(barrier).map_err(fail(Step::Network))?;
        }
        wait_for_help(barrier)?
    } else {
        Trees::new()
    };
    oom::restore(plan.site.scene.oom_before).map_err(fail(Step::OomScore))?;
    trace::step("join the cgroups");
    plan.group.enter(plan.birth.in_v2).map_err(|(index, errno)| Report::new(Step::EnterCgroup, index, errno))?;
    if plan.namespaces.cgroup {
        unshare_cgroups().map_err(fail(Step::CgroupNamespace))?;
    }
    plan.shares.join_cgroup()?;
    if config.isolation.sched_core == Some(true) {
        process::share_no_core().map_err(fail(Step::SchedCore))?;
    }
    // While /proc is the host's.
    let label = plan.labels.exec.map(|(module, _)| lsm::open_exec(module)).transpose().map_err(fail(Step::Label))?;
    // What is made in the rootfs gets exactly the mode it is made with.
    umask(Mode::empty());
    trace::step("write the sysctls");
    write_sysctls(config)?;
    let streams = if plan.site.console || plan.own_streams {
        None
    } else {
        Some(open_null().map_err(fail(Step::StandardStreams))?)
    };
    let proc = masks::keep_proc(&config.own)?;
    let handed = Handed::new(&plan.site, trees)?;
    #[cfg(feature = "idmap")]
    if !config.isolation.idmap.is_empty() {
        trace::step("become root of the user namespace");
        crate::idmap::become_root(barrier)?;
    }
    // It is of the user that we are by now.
    lsm::join_keyring(config, &plan.labels)?;
    let terminals = rootfs::build(&plan.site, &handed)?;
    trace::step("protect the host");
    masks::apply_at_start(proc, &config.own)?;
    let choice = android::init::look(config, plan.chooses_init, plan.site.warn);
    if let Some(name) = config.uts_name.filter(|_| plan.namespaces.has_uts()) {
        sethostname(std::ffi::OsStr::from_bytes(name.value.to_bytes())).map_err(fail(Step::Hostname))?;
    }
    if plan.namespaces.has_net() {
        loopback_up().map_err(fail(Step::Loopback))?;
    }
    let streams = streams.as_ref().or(terminals.console.as_ref().map(|console| &console.slave));
    if let Some(streams) = streams {
        (0..3).try_for_each(|number| fds::dup_onto(streams.as_fd(), number)).map_err(fail(Step::StandardStreams))?;
    }
    hand_up(barrier, &terminals).map_err(fail(Step::Ready))?;
    if newborn::waits(config) {
        wait_for_go(barrier)?;
    }
    // Closed by exec, all at once.
    core::mem::forget(terminals);

    umask(Mode::from_bits_truncate(0o022));
    trace::step("limits and personality");
    if config.isolation.idmap.is_empty() {
        set_limits(config)?;
    }
    if let Some(persona) = config.personality {
        process::set_personality(persona.value).map_err(fail(Step::Personality))?;
    }
    if let (Some(file), Some((module, label))) = (&label, plan.labels.exec) {
        trace::step_with("label", label);
        lsm::set_exec(file, module, label.to_bytes()).map_err(fail(Step::Label))?;
    }
    trace::step("seccomp filter");
    guard::install(config, barrier)?;
    trace::step("drop capabilities");
    drop_capabilities(config, plan.drop_sys_boot)?;
    if config.no_new_privs {
        nix::sys::prctl::set_no_new_privs().map_err(fail(Step::NoNewPrivs))?;
    }
    if !plan.policy.is_empty() {
        trace::step("load the seccomp policy");
        load_policy(plan.policy, barrier).map_err(fail(Step::Policy))?;
    }
    hooks::run_in_child(&plan.site.scene, HookKind::Start, plan.site.hook_output)
        .map_err(|(index, failure)| Report::hook(Step::StartHook, index, failure))?;
    setsid().map_err(fail(Step::Session))?;
    if let Some(directory) = config.init.cwd {
        chdir(directory).map_err(fail(Step::WorkingDirectory))?;
    }
    trace::step_with("become init's user, execute", plan.argv.first().copied().unwrap_or(c""));
    become_user(config)?;
    // A change of ids clears it, and the config may want another one than the start needs.
    if config.init.uid != 0 || config.init.gid != 0 || config.pdeath_signal != libc::SIGKILL {
        process::set_parent_death_signal(config.pdeath_signal).map_err(fail(Step::ParentDeath))?;
    }
    signals::reset_ignored(plan.site.scene.ignored_signals);
    signals::unblock_all().map_err(fail(Step::Exec))?;
    inherited::pass_sockets(plan.sockets).map_err(fail(Step::Exec))?;
    let errno = match (plan.inside, plan.image) {
        (None, _) => {
            let (argv, without) = choice.map_or((plan.argv, 0), |choice| (choice.argv, choice.without));
            let words = plan.environment.len().saturating_sub(without);
            process::exec_in_path(process::PATH, argv, plan.environment.get(..words).unwrap_or_default())
        }
        (Some(inside), None) => run_inside(inside, plan),
        (Some(inside), Some(image)) => match process::exec_file(image, plan.argv, plan.environment) {
            Errno::ENOSYS => run_inside(inside, plan),
            errno => errno,
        },
    };
    Err(Report::new(Step::Exec, 0, errno))
}

/// What an exec would do: all of the host's is closed, the barrier with it, which tells the supervisor.
fn run_inside(inside: super::Inside, plan: &Plan<'_>) -> Errno {
    let _ = nix::sys::prctl::set_dumpable(false);
    match fds::close_range(3, i32::MAX) {
        Ok(()) => exit_now(inside(plan.argv, plan.environment)),
        Err(errno) => errno,
    }
}

/// The supervisor does something for the newborn, which waits for it: id maps, mounts, network links.
pub fn needs_the_host(config: &Config<'_>) -> bool {
    let mapped = config.rootfs.idmap.is_some() || config.mounts.iter().any(wants_entry);
    mapped
        || !config.isolation.idmap.is_empty()
        || cfg!(feature = "net") && config.nics.iter().any(crate::config::Nic::needs_the_host)
}

/// A netlink socket of our network namespace, with which the supervisor makes our links.
#[cfg(feature = "net")]
fn lend_network(barrier: BorrowedFd<'_>) -> nix::Result<()> {
    let socket = crate::net::open()?;
    let word = Report { step: Step::Network, warning: true, ..Report::ready() };
    rights::send(barrier, &word.to_bytes(), &[socket.as_fd()])
}

/// Whether the other end of the barrier is still there.
pub fn supervisor_lives(barrier: BorrowedFd<'_>) -> bool {
    let mut byte = [0u8; 1];
    let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
    // Its word may be there already.
    matches!(recv(barrier.as_raw_fd(), &mut byte, flags), Ok(1..) | Err(Errno::EAGAIN))
}

/// All but the pid namespace, in which it was born. One by one, so that the one that cannot be had is named.
fn unshare_all(wanted: &namespaces::Plan) -> Result<(), Report> {
    for (index, (flag, _)) in (0u16..).zip(namespaces::NAMES) {
        if wanted.clone & flag != 0 {
            unshare(CloneFlags::from_bits_truncate(flag as i32))
                .map_err(|errno| Report::new(Step::Namespace, index, errno))?;
        }
    }
    Ok(())
}

/// Before Linux 4.6 there is no such namespace; the container sees the host's paths then, as it would under LXC.
fn unshare_cgroups() -> nix::Result<()> {
    match unshare(CloneFlags::CLONE_NEWCGROUP) {
        Err(Errno::EINVAL) => Ok(()),
        other => other,
    }
}

/// `lxc.sysctl.*`, through the host's procfs: a sysctl that belongs to a namespace is looked up in the writer's, and the
/// container's own /proc/sys may be read-only or not there.
fn write_sysctls(config: &Config<'_>) -> Result<(), Report> {
    for (index, sysctl) in (0u16..).zip(&config.sysctls) {
        let write = || {
            let mut path = PathText::join(&[b"/proc/sys/"]).map_err(|_| Errno::ENAMETOOLONG)?;
            for part in sysctl
                .name
                .to_bytes()
                .split(|b| *b == b'.')
                .enumerate()
                .flat_map(|(n, part)| [if n == 0 { &b""[..] } else { b"/" }, part])
            {
                path.push(part).map_err(|_| Errno::ENAMETOOLONG)?;
            }
            crate::cgroup::limit::write_file(path.c(), sysctl.value.to_bytes())
        };
        write().map_err(|errno| Report::new(Step::Sysctl, index, errno))?;
    }
    Ok(())
}

fn open_null() -> nix::Result<OwnedFd> {
    open(c"/dev/null", OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC, Mode::empty())
}

fn loopback_up() -> nix::Result<()> {
    let any = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None);
    match any {
        Ok(socket) => crate::sys::netdev::bring_up(socket.as_fd(), c"lo"),
        // A kernel without IPv4: there is no address that lo could have.
        Err(Errno::EAFNOSUPPORT) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// One message: "ready", with the console's two ends and the ttys' masters beside it.
fn hand_up(barrier: BorrowedFd<'_>, terminals: &Terminals) -> nix::Result<()> {
    let mut descriptors: heapless::Vec<BorrowedFd<'_>, { rights::MOST + 1 }> = heapless::Vec::new();
    if let Some(console) = &terminals.console {
        let _ = descriptors.push(console.master.as_fd());
        let _ = descriptors.push(console.slave.as_fd());
    }
    for tty in &terminals.ttys {
        let _ = descriptors.push(tty.as_fd());
    }
    rights::send(barrier, &Report::ready().to_bytes(), &descriptors)
}

/// The supervisor's "go". The end of the connection instead of it means that the start was called off.
fn wait_for_go(barrier: BorrowedFd<'_>) -> Result<(), Report> {
    let mut byte = [0u8; 1];
    loop {
        match recv(barrier.as_raw_fd(), &mut byte, MsgFlags::empty()) {
            Ok(1) => return Ok(()),
            Ok(_) => exit_now(255),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(Report::new(Step::ParentGone, 0, errno)),
        }
    }
}

/// The same, with what the host has mounted for us beside it.
fn wait_for_help(barrier: BorrowedFd<'_>) -> Result<Trees, Report> {
    let mut byte = [0u8; 1];
    let mut trees = Trees::new();
    // Until it is there; it is received below, where no wait is.
    while recv(barrier.as_raw_fd(), &mut byte, MsgFlags::MSG_PEEK) == Err(Errno::EINTR) {}
    match rights::receive(barrier, &mut byte, &mut trees) {
        Ok(1) => Ok(trees),
        Ok(_) => exit_now(255),
        Err(errno) => Err(Report::new(Step::ParentGone, 0, errno)),
    }
}

/// Where the policy hands over calls, its listener goes up.
fn load_policy(policy: &[Instruction], barrier: BorrowedFd<'_>) -> nix::Result<()> {
    if !seccomp::hands_over(policy) {
        return seccomp::install(policy);
    }
    let listener = seccomp::listen(policy)?;
    let word = Report { value: 0, ..Report::new(Step::Policy, 0, Errno::UnknownErrno) }.as_warning();
    rights::send(barrier, &word.to_bytes(), &[listener.as_fd()])
}

fn set_limits(config: &Config<'_>) -> Result<(), Report> {
    for (index, limit) in (0u16..).zip(&config.prlimits) {
        process::set_limit(limit.resource, limit.soft, limit.hard)
            .map_err(|errno| Report::new(Step::Limit, index, errno))?;
    }
    Ok(())
}

/// The capabilities that go, as a mask; those that the kernel does not have among them.
pub fn dropped(config: &Config<'_>, drop_sys_boot: bool) -> u64 {
    let boot = if drop_sys_boot { 1 << SYS_BOOT } else { 0 };
    config.caps.drop | boot | config.own.dangerous_capabilities() | config.caps.keep.map_or(0, |keep| !keep)
}

/// The bounding set as configured, nothing inheritable, nothing ambient.
fn drop_capabilities(config: &Config<'_>, drop_sys_boot: bool) -> Result<(), Report> {
    let fail = |number: u32| move |errno: Errno| Report::new(Step::Capabilities, number as u16, errno);
    let drop = dropped(config, drop_sys_boot);
    for number in (0..64).filter(|number| drop >> number & 1 == 1) {
        match caps::drop_bounding(number) {
            Ok(()) => {}
            // The first number that the kernel does not know ends the list of those that it has. A capability that was
            // asked for by name and that an old kernel does not have cannot be held either.
            Err(Errno::EINVAL) => break,
            Err(errno) => return Err(fail(number)(errno)),
        }
    }
    // Nothing is ambient that is not inheritable.
    let sets = caps::get().map_err(fail(0))?;
    if sets.inheritable == 0 {
        return Ok(());
    }
    caps::set(caps::Sets { inheritable: 0, ..sets }).map_err(fail(0))?;
    match caps::clear_ambient() {
        Ok(()) | Err(Errno::EINVAL) => Ok(()),
        Err(errno) => Err(fail(0)(errno)),
    }
}

fn become_user(config: &Config<'_>) -> Result<(), Report> {
    let fail = |step: Step| move |errno: Errno| Report::new(step, 0, errno);
    let init = &config.init;
    // Our caller's supplementary groups are none of the guest's business.
    match process::set_groups(&init.groups) {
        // A user namespace may deny it (user_namespaces(7)); then there is nobody's business to be done with them.
        Err(Errno::EPERM) if init.groups.is_empty() && !config.isolation.idmap.is_empty() => {}
        other => other.map_err(fail(Step::Groups))?,
    }
    if init.gid != 0 {
        process::set_group(init.gid).map_err(fail(Step::Gid))?;
    }
    if init.uid != 0 {
        process::set_user(init.uid).map_err(fail(Step::Uid))?;
        // Or its own /proc/self would belong to root.
        process::set_dumpable().map_err(fail(Step::Uid))?;
    }
    Ok(())
}
