//! The protocol between the supervisor and the child: one SOCK_SEQPACKET pair, fixed messages.
//!
//! Child to supervisor: where it has links, its netlink socket; any number of `Warning`s, then `Ready` with the ptys beside it,
//! or `Failed`. Supervisor to child: one byte, "go", if there is something that it does meanwhile. Then the socket closes by
//! exec: the end of the connection is the news that init runs (or that the child was killed, which its wait status tells).
//!
//! The child has no heap and no log; its report is a step, an index and an errno. The supervisor, which owns the config,
//! makes the sentence of it.

use crate::config::{At, Config, DEFAULT, HookKind, values};
use crate::error::Error;
use crate::hooks::HookFailure;
use crate::rootfs::overlay::Layers;
use crate::text::{Line, Shown, shown};
use core::fmt::Write;
use nix::errno::Errno;

/// What the child was doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs)] // The sentences in `describe` are the documentation.
pub enum Step {
    Ready = 0,
    ParentGone,
    Namespace,
    TimeOffset,
    BecomeRoot,
    Keyring,
    IdmappedMount,
    Network,
    SchedCore,
    Label,
    Policy,
    EnterCgroup,
    CgroupNamespace,
    SlaveMounts,
    PreMountHook,
    Rootfs,
    RootfsDevice,
    Loop,
    Overlay,
    Writable,
    ProcForMounts,
    AutodevDir,
    Autodev,
    AutoProc,
    AutoSys,
    AutoCgroup,
    MountTarget,
    Mount,
    MountFlags,
    MountPropagation,
    MountHook,
    AutodevHook,
    DeviceNode,
    Clean,
    AndroidInit,
    AndroidDevice,
    Binder,
    BootArguments,
    Mask,
    Devpts,
    Ptmx,
    OpenPty,
    Console,
    Tty,
    DevLink,
    Pivot,
    Hostname,
    Loopback,
    Personality,
    Sysctl,
    Limit,
    OomScore,
    Filter,
    Capabilities,
    NoNewPrivs,
    StartHook,
    Session,
    WorkingDirectory,
    Groups,
    Gid,
    Uid,
    ParentDeath,
    StandardStreams,
    Exec,
}

const LAST: u8 = Step::Exec as u8;

/// `Report::item` where it is about the rootfs and not about one of the mounts.
pub const ROOTFS: u16 = u16::MAX;

impl Step {
    fn from_byte(byte: u8) -> Option<Step> {
        ALL.get(usize::from(byte)).copied()
    }
}

/// Every step by its number. A test compares it with the enum.
const ALL: [Step; LAST as usize + 1] = {
    use Step::*;
    [
        Ready,
        ParentGone,
        Namespace,
        TimeOffset,
        BecomeRoot,
        Keyring,
        IdmappedMount,
        Network,
        SchedCore,
        Label,
        Policy,
        EnterCgroup,
        CgroupNamespace,
        SlaveMounts,
        PreMountHook,
        Rootfs,
        RootfsDevice,
        Loop,
        Overlay,
        Writable,
        ProcForMounts,
        AutodevDir,
        Autodev,
        AutoProc,
        AutoSys,
        AutoCgroup,
        MountTarget,
        Mount,
        MountFlags,
        MountPropagation,
        MountHook,
        AutodevHook,
        DeviceNode,
        Clean,
        AndroidInit,
        AndroidDevice,
        Binder,
        BootArguments,
        Mask,
        Devpts,
        Ptmx,
        OpenPty,
        Console,
        Tty,
        DevLink,
        Pivot,
        Hostname,
        Loopback,
        Personality,
        Sysctl,
        Limit,
        OomScore,
        Filter,
        Capabilities,
        NoNewPrivs,
        StartHook,
        Session,
        WorkingDirectory,
        Groups,
        Gid,
        Uid,
        ParentDeath,
        StandardStreams,
        Exec,
    ]
};

/// How a report's `value` is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reading {
    /// An errno.
    Errno = 0,
    /// A hook's exit code.
    Code = 1,
    /// The signal that killed a hook.
    Signal = 2,
}

/// What the child reports: 8 bytes on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// What it was doing.
    pub step: Step,
    /// Not the end: an optional thing that could not be had.
    pub warning: bool,
    /// How to read `value`.
    pub reading: Reading,
    /// Which one of several: a mount, a hook, a tty.
    pub item: u16,
    /// errno, exit code or signal.
    pub value: i32,
}

impl Report {
    /// A step that failed with `errno`.
    pub fn new(step: Step, item: u16, errno: Errno) -> Report {
        Report { step, warning: false, reading: Reading::Errno, item, value: errno as i32 }
    }

    /// A hook that failed.
    pub fn hook(step: Step, item: u16, failure: HookFailure) -> Report {
        let (reading, value) = match failure {
            HookFailure::Code(code) => (Reading::Code, code),
            HookFailure::Signal(signal) => (Reading::Signal, signal),
            HookFailure::Os(errno) => (Reading::Errno, errno as i32),
        };
        Report { step, warning: false, reading, item, value }
    }

    /// The message that everything is set up.
    pub fn ready() -> Report {
        Report::new(Step::Ready, 0, Errno::UnknownErrno)
    }

    /// The same report as a warning.
    pub fn as_warning(self) -> Report {
        Report { warning: true, ..self }
    }

    /// The wire form.
    pub fn to_bytes(self) -> [u8; 8] {
        let [i0, i1] = self.item.to_ne_bytes();
        let [v0, v1, v2, v3] = self.value.to_ne_bytes();
        let how = self.reading as u8 | if self.warning { 0x80 } else { 0 };
        [self.step as u8, how, i0, i1, v0, v1, v2, v3]
    }

    /// Reads the wire form. None for bytes that no child of ours sends.
    pub fn from_bytes(bytes: &[u8]) -> Option<Report> {
        let &[step, how, i0, i1, v0, v1, v2, v3] = bytes else { return None };
        let reading = match how & 0x7f {
            0 => Reading::Errno,
            1 => Reading::Code,
            2 => Reading::Signal,
            _ => return None,
        };
        Some(Report {
            step: Step::from_byte(step)?,
            warning: how & 0x80 != 0,
            reading,
            item: u16::from_ne_bytes([i0, i1]),
            value: i32::from_ne_bytes([v0, v1, v2, v3]),
        })
    }

    /// The report as the one line that a person gets. `cgroup_place` names the hierarchy of an index.
    pub fn describe(&self, config: &Config<'_>, init: &core::ffi::CStr, cgroup_place: &core::ffi::CStr) -> Error {
        let mut what = Line::<400>::new();
        let step = self.sentence(config, init, cgroup_place, &mut what);
        match self.reading {
            Reading::Errno if self.value == 0 => Error::new(step, format_args!("{what}")),
            Reading::Errno => Error::os(step, Errno::from_raw(self.value), format_args!("{what}")),
            Reading::Code => Error::new(step, format_args!("{what} exited with code {}", self.value)),
            Reading::Signal => Error::new(step, format_args!("{what} was killed by signal {}", self.value)),
        }
    }

    fn sentence(
        &self,
        config: &Config<'_>,
        init: &core::ffi::CStr,
        cgroup_place: &core::ffi::CStr,
        out: &mut Line<400>,
    ) -> &'static str {
        let item = usize::from(self.item);
        let place = |at| config.place(at);
        let (step, written) = match self.step {
            Step::Ready => ("start", write!(out, "ready")),
            Step::ParentGone => ("start", write!(out, "the supervisor is gone")),
            Step::Namespace => {
                if self.item == super::birth::CLONE {
                    let flags = super::namespaces::plan(config).map_or(0, |plan| plan.clone);
                    #[cfg(feature = "idmap")]
                    let why = if flags & super::namespaces::USER != 0 {
                        crate::idmap::why_none(Errno::from_raw(self.value))
                    } else {
                        ""
                    };
                    #[cfg(not(feature = "idmap"))]
                    let why = "";
                    let rootless = flags & super::namespaces::USER == 0 && !nix::unistd::geteuid().is_root();
                    let hint = if rootless { ": a user without root needs lxc.idmap" } else { "" };
                    let _ = write!(out, "namespaces {flags:#x}{why}{hint}");
                    return "clone";
                }
                let name = super::namespaces::NAMES.get(item).map_or("?", |(_, name)| name);
                match super::shares::share_of(self.item, config) {
                    Some(share) => {
                        let kind = values::namespace_names(share.namespace).next().unwrap_or("?");
                        let of = shown(share.of);
                        ("namespace", write!(out, "{}: join lxc.namespace.share.{kind} = {of}", place(share.at)))
                    }
                    None => ("namespace", write!(out, "unshare the {name} namespace")),
                }
            }
            Step::TimeOffset => {
                let why = match Errno::from_raw(self.value) {
                    Errno::EINVAL => ": has this kernel time namespaces (Linux 5.6, CONFIG_TIME_NS)?",
                    Errno::ERANGE => ": no clock can be set to before its zero, or so far ahead",
                    _ => "",
                };
                ("namespace", write!(out, "lxc.time.offset: set the clocks of the time namespace{why}"))
            }
            Step::BecomeRoot => ("idmap", write!(out, "become root of the user namespace")),
            Step::Keyring => {
                ("keyring", write!(out, "a session keyring for init: lxc.keyring.session = 0 does without"))
            }
            Step::IdmappedMount => {
                let entry = config.mounts.get(item).map(|entry| At { value: entry.source, at: entry.at });
                let mount = entry.or(config.rootfs.path).unwrap_or(At { value: c"/", at: DEFAULT });
                let why = match Errno::from_raw(self.value) {
                    Errno::ENOSYS => {
                        ": this kernel cannot (Linux 5.2 for a rootfs that is no directory, 5.12 for idmap=)"
                    }
                    Errno::EINVAL => {
                        ": the filesystem does not let its ids be mapped, or something mounted below it does not"
                    }
                    Errno::EPERM => ": only the host's root may",
                    Errno::E2BIG => ": too many mounts with idmap=",
                    _ => "",
                };
                ("mount", write!(out, "{}: mount {} for the container's ids{why}", place(mount.at), shown(mount.value)))
            }
            Step::Network => ("network", write!(out, "open a netlink socket in the container")),
            Step::SchedCore => {
                let why = match Errno::from_raw(self.value) {
                    Errno::EINVAL => ": has this kernel core scheduling (Linux 5.14, CONFIG_SCHED_CORE)?",
                    Errno::ENODEV => ": no core of this machine runs two threads at once",
                    _ => "",
                };
                ("sched", write!(out, "lxc.sched.core = 1{why}"))
            }
            Step::Label => {
                let (set, key, why) = crate::lsm::explain(config, self.item, Errno::from_raw(self.value));
                let set = set.unwrap_or(At { value: c"?", at: DEFAULT });
                ("lsm", write!(out, "{}: {key} = {}{why}", place(set.at), shown(set.value)))
            }
            Step::Policy => (
                "seccomp",
                match config.isolation.seccomp {
                    Some(policy) => {
                        let why = match Errno::from_raw(self.value) {
                            Errno::EACCES => " (without CAP_SYS_ADMIN it needs lxc.no_new_privs = 1)",
                            _ => "",
                        };
                        write!(out, "{}: load {}{why}", place(policy.at), shown(policy.value))
                    }
                    None => write!(out, "load the policy"),
                },
            ),
            Step::EnterCgroup => ("cgroup", write!(out, "enter lxc/{} in {}", shown(config.name), shown(cgroup_place))),
            Step::CgroupNamespace => ("namespace", write!(out, "unshare the cgroup namespace")),
            Step::SlaveMounts => ("rootfs", write!(out, "make / a slave mount")),
            Step::PreMountHook | Step::MountHook | Step::AutodevHook | Step::StartHook => (
                "hook",
                match config.hooks.get(item) {
                    Some(hook) => write!(out, "{}: {} {}", place(hook.at), hook.kind.name(), shown(hook.command)),
                    None => write!(out, "hook {item}"),
                },
            ),
            Step::Rootfs | Step::RootfsDevice => (
                "rootfs",
                match config.rootfs.path {
                    Some(path) if path.value.to_bytes().len() >= item && item > 0 && self.step == Step::Rootfs => {
                        let directory = Shown(path.value.to_bytes().get(..item).unwrap_or_default());
                        let root = config.isolation.outside(false, 0).unwrap_or(0);
                        let place = place(path.at);
                        write!(
                            out,
                            "{place}: {directory} cannot be entered by user {root}, the container's root: chmod o+x"
                        )
                    }
                    Some(path) => {
                        let unknown = self.step == Step::RootfsDevice && self.value == Errno::EINVAL as i32;
                        let why = if unknown { ": no filesystem that this kernel has" } else { "" };
                        write!(out, "{}: mount {}{why}", place(path.at), shown(path.value))
                    }
                    None => write!(out, "mount /"),
                },
            ),
            Step::Loop => {
                let at = config.mounts.get(item).map(|entry| At { value: entry.source, at: entry.at });
                let file = at.or(config.rootfs.path).unwrap_or(At { value: c"/", at: DEFAULT });
                let why = match Errno::from_raw(self.value) {
                    Errno::ETXTBSY => ": another container uses it",
                    Errno::EBUSY | Errno::ENOSPC => ": all loop devices are busy",
                    Errno::ENOENT | Errno::ENXIO | Errno::ENODEV => ": has this kernel any (CONFIG_BLK_DEV_LOOP)?",
                    _ => "",
                };
                ("loop", write!(out, "{}: a loop device for {}{why}", place(file.at), shown(file.value)))
            }
            Step::Overlay => {
                let path = config.rootfs.path.unwrap_or(At { value: c"/", at: DEFAULT });
                let layers = Layers::read(path.value.to_bytes());
                let one = layers.and_then(|layers| layers.all().nth(item)).unwrap_or(path.value.to_bytes());
                let lacks = self.value == Errno::ENODEV as i32;
                let why = if lacks { ": this kernel has no overlay filesystem (CONFIG_OVERLAY_FS)" } else { "" };
                ("overlay", write!(out, "{}: {}{why}", place(path.at), Shown(one)))
            }
            Step::Writable => ("rootfs", write!(out, "make the rootfs writable")),
            Step::ProcForMounts => ("rootfs", write!(out, "/proc/self/fd of the host: is /proc mounted?")),
            Step::AutodevDir => ("autodev", write!(out, "the rootfs's /dev")),
            Step::Autodev => ("autodev", write!(out, "mount a tmpfs of {} bytes on /dev", config.autodev_size)),
            Step::AutoProc => ("mount", write!(out, "{}: lxc.mount.auto: proc", place(config.mount_auto.at))),
            Step::AutoSys => {
                let foreign = self.value == Errno::EPERM as i32 && !config.isolation.idmap.is_empty();
                // It shows the links of the network namespace.
                let why =
                    if foreign { ": lxc.idmap needs a network namespace of the container's own for it" } else { "" };
                ("mount", write!(out, "{}: lxc.mount.auto: sys{why}", place(config.mount_auto.at)))
            }
            Step::AutoCgroup => ("mount", write!(out, "{}: lxc.mount.auto: cgroup", place(config.mount_auto.at))),
            Step::MountTarget | Step::Mount | Step::MountFlags | Step::MountPropagation => (
                "mount",
                match config.mounts.get(item) {
                    Some(entry) => {
                        let object = match self.step {
                            Step::MountTarget => "target of",
                            Step::MountFlags => "flags of",
                            Step::MountPropagation => "propagation of",
                            _ => "mount",
                        };
                        let (source, target) = (shown(entry.source), shown(entry.target));
                        write!(out, "{}: {object} {source} on {target}", place(entry.at))
                    }
                    None => {
                        let (place, paths) =
                            (place(config.mount_auto.at), config.mount_auto.shmounts.unwrap_or_default());
                        write!(out, "{place}: lxc.mount.auto: shmounts:{}", shown(paths))
                    }
                },
            ),
            Step::DeviceNode => ("autodev", write!(out, "make device node {item}")),
            Step::Clean => ("clean", write!(out, "{item}")),
            Step::AndroidInit => ("android", write!(out, "SDK {item}")),
            Step::AndroidDevice => (
                "device",
                match config.own.devices.get(item) {
                    Some(entry) => write!(out, "{}: {}", place(entry.at), shown(entry.value)),
                    None => {
                        let text = crate::android::devices::text_of(item, config.own.devices.len());
                        write!(out, "monopod.devices: {}", Shown(text))
                    }
                },
            ),
            Step::Binder => {
                let lacks = if self.value == Errno::ENODEV as i32 {
                    ": this kernel has no binder of that name (CONFIG_ANDROID_BINDERFS, CONFIG_ANDROID_BINDER_DEVICES)"
                } else {
                    ""
                };
                ("binder", write!(out, "{}: monopod.binder{lacks}", place(config.own.binder.at)))
            }
            Step::BootArguments => (
                "cmdline",
                write!(out, "bind the guest's own over /proc/cmdline and /proc/bootconfig: is /proc mounted?"),
            ),
            Step::Mask => (
                "protect",
                write!(out, "{}: make the dangerous files of /proc and /sys read-only", place(config.own.protect.at)),
            ),
            Step::OomScore => ("oom score", write!(out, "give init back the one that we had")),
            Step::Filter => ("seccomp", write!(out, "install the filter that hears of reboots and mounts")),
            Step::Devpts => ("devpts", write!(out, "mount devpts on /dev/pts")),
            Step::Ptmx => ("devpts", write!(out, "/dev/ptmx")),
            Step::OpenPty => ("console", write!(out, "open pty {item}")),
            Step::Console => ("console", write!(out, "bind the console on /dev/console")),
            Step::Tty => ("tty", write!(out, "bind /dev/tty{item}")),
            Step::DevLink => ("autodev", write!(out, "make the links of /dev")),
            Step::Pivot => ("pivot_root", write!(out, "the rootfs")),
            Step::Hostname => (
                "uts name",
                match config.uts_name {
                    Some(name) => write!(out, "{}: lxc.uts.name = {}", place(name.at), shown(name.value)),
                    None => write!(out, "?"),
                },
            ),
            Step::Loopback => ("network", write!(out, "bring lo up")),
            Step::Personality => (
                "personality",
                match config.personality {
                    Some(persona) => {
                        write!(out, "{}: lxc.arch = {}", place(persona.at), shown(config.arch.unwrap_or(c"?")))
                    }
                    None => write!(out, "?"),
                },
            ),
            Step::Sysctl => (
                "sysctl",
                match config.sysctls.get(item) {
                    Some(one) => write!(out, "{}: {} = {}", place(one.at), shown(one.name), shown(one.value)),
                    None => write!(out, "{item}"),
                },
            ),
            Step::Limit => (
                "limit",
                match config.prlimits.get(item) {
                    Some(one) => {
                        write!(out, "{}: resource {} = {}:{}", place(one.at), one.resource, one.soft, one.hard)
                    }
                    None => write!(out, "{item}"),
                },
            ),
            Step::Capabilities => ("capabilities", write!(out, "{}: capability {item}", place(config.caps.at))),
            Step::NoNewPrivs => ("no_new_privs", write!(out, "prctl")),
            Step::Session => ("session", write!(out, "setsid")),
            Step::WorkingDirectory => {
                ("init", write!(out, "lxc.init.cwd = {}", shown(config.init.cwd.unwrap_or(c"/"))))
            }
            Step::Groups => ("init", write!(out, "setgroups")),
            Step::Gid => ("init", write!(out, "lxc.init.gid = {}", config.init.gid)),
            Step::Uid => ("init", write!(out, "lxc.init.uid = {}", config.init.uid)),
            Step::ParentDeath => ("init", write!(out, "lxc.monitor.signal.pdeath = {}", config.pdeath_signal)),
            Step::StandardStreams => ("console", write!(out, "make the console standard input and output")),
            Step::Exec => ("exec", write!(out, "{}", shown(init))),
        };
        let _ = written;
        step
    }
}

/// The step that belongs to a hook point inside the container.
pub fn hook_step(kind: HookKind) -> Step {
    match kind {
        HookKind::PreMount => Step::PreMountHook,
        HookKind::Mount => Step::MountHook,
        HookKind::Autodev => Step::AutodevHook,
        _ => Step::StartHook,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_every_step_round_trips() {
        for (number, step) in ALL.into_iter().enumerate() {
            assert_eq!(step as usize, number);
            let report = Report::new(step, 513, Errno::ENOENT).as_warning();
            assert_eq!(Report::from_bytes(&report.to_bytes()), Some(report));
        }
        let hook = Report::hook(Step::MountHook, 3, HookFailure::Signal(9));
        assert_eq!(Report::from_bytes(&hook.to_bytes()), Some(hook));
    }

    #[test]
    fn report_foreign_bytes_are_none() {
        for bytes in [&[][..], &[0; 7], &[0; 9], &[LAST + 1, 0, 0, 0, 0, 0, 0, 0], &[1, 3, 0, 0, 0, 0, 0, 0]] {
            assert_eq!(Report::from_bytes(bytes), None);
        }
    }
}
