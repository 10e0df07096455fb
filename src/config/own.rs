//! What the `monopod.*` keys say beside restarts and time limits: Android, host safety, readiness, stop and reboot.
//!
//! Most switches have three positions: on, off, and not written, which means what `monopod.preset` says.

use super::{At, List, NamedValue, Origin};
use crate::limits;
use core::ffi::CStr;

/// What follows a reboot of the guest with a certain argument: `monopod.reboot.ARGUMENT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RebootAction {
    /// `restart`: the container starts again, whatever `monopod.restart.when` says.
    Restart,
    /// `stop`: the container stays down.
    Stop,
    /// `host-reboot`: the machine reboots.
    HostReboot,
    /// `host-reboot-arg`: the machine reboots with the guest's argument (into recovery, the boot loader, ...).
    HostRebootArg,
    /// `hook`: `monopod.hook.reboot` runs; if it fails the container stays down, else it starts again.
    Hook,
}

impl RebootAction {
    /// All, with their words.
    pub const WORDS: [(&'static str, RebootAction); 5] = [
        ("restart", RebootAction::Restart),
        ("stop", RebootAction::Stop),
        ("host-reboot", RebootAction::HostReboot),
        ("host-reboot-arg", RebootAction::HostRebootArg),
        ("hook", RebootAction::Hook),
    ];
}

/// One `monopod.reboot.ARGUMENT` line.
#[derive(Clone, Copy, Debug)]
pub struct RebootRule<'t> {
    /// The argument; `*` stands for any other.
    pub argument: &'t CStr,
    /// What follows.
    pub action: RebootAction,
}

/// What a guest could do to the host and may not under `monopod.protect`, unless `monopod.allow.NAME` says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Danger {
    /// Writing /proc/sysrq-trigger: kills every process, remounts every filesystem, crashes the kernel.
    Sysrq = 0,
    /// Writing /proc/sys/{kernel,vm,fs,dev}: global settings.
    Sysctl = 1,
    /// Writing /sys/power: suspends the machine.
    Power = 2,
    /// Writing /sys/kernel/debug and /sys/kernel/tracing.
    Debugfs = 3,
    /// CAP_WAKE_ALARM: wakes the machine from suspend.
    WakeAlarm = 4,
    /// CAP_BLOCK_SUSPEND: keeps it awake.
    BlockSuspend = 5,
    /// CAP_SYS_TIME: sets its clock.
    SysTime = 6,
    /// CAP_SYS_MODULE: loads kernel modules.
    SysModule = 7,
    /// CAP_SYS_RAWIO: raw memory and ports.
    SysRawio = 8,
    /// CAP_MAC_ADMIN and CAP_MAC_OVERRIDE: the host's security policy.
    Mac = 9,
    /// CAP_SYS_BOOT: allowed unless it is taken away: it ends the container, not the host, and by it init says why.
    SysBoot = 10,
}

impl Danger {
    /// All, with their names.
    pub const NAMES: [(&'static str, Danger); 11] = [
        ("sysrq", Danger::Sysrq),
        ("sysctl", Danger::Sysctl),
        ("power", Danger::Power),
        ("debugfs", Danger::Debugfs),
        ("wake_alarm", Danger::WakeAlarm),
        ("block_suspend", Danger::BlockSuspend),
        ("sys_time", Danger::SysTime),
        ("sys_module", Danger::SysModule),
        ("sys_rawio", Danger::SysRawio),
        ("mac", Danger::Mac),
        ("sys_boot", Danger::SysBoot),
    ];

    /// The capabilities that are dropped, as a mask by number; 0 for what is a file.
    pub const fn capabilities(self) -> u64 {
        match self {
            Danger::Sysrq | Danger::Sysctl | Danger::Power | Danger::Debugfs => 0,
            Danger::WakeAlarm => 1 << 35,
            Danger::BlockSuspend => 1 << 36,
            Danger::SysTime => 1 << 25,
            Danger::SysModule => 1 << 16,
            Danger::SysRawio => 1 << 17,
            Danger::Mac => 1 << 32 | 1 << 33,
            Danger::SysBoot => 1 << 22,
        }
    }
}

/// `monopod.protect` and `monopod.allow.*`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protect {
    /// `monopod.protect`; None: as the preset says.
    pub on: Option<bool>,
    /// `monopod.allow.NAME`, a bit a danger.
    pub allowed: u16,
    /// Where the last of them stands.
    pub at: Origin,
}

impl Protect {
    /// What is allowed where nothing is written.
    pub const ALLOWED: u16 = 1 << Danger::SysBoot as u8;
}

/// How a guest is asked to stop: `monopod.stop.method`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopMethod {
    /// `auto`: what the guest's init understands, found by looking at it. The default.
    Auto,
    /// `signal`: lxc.signal.halt and nothing else.
    Signal,
    /// `property`: sys.powerctl=shutdown over Android's property socket.
    Property,
    /// `command`: `monopod.stop.command` at once.
    Command,
}

impl StopMethod {
    /// All, with their words.
    pub const WORDS: [(&'static str, StopMethod); 4] = [
        ("auto", StopMethod::Auto),
        ("signal", StopMethod::Signal),
        ("property", StopMethod::Property),
        ("command", StopMethod::Command),
    ];
}

/// What follows a guest that is not ready in time: `monopod.ready.failed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadyFailed {
    /// `ignore`: it is said and runs on. The default.
    Ignore,
    /// `stop`: it is killed and stays down, a failure.
    Stop,
    /// `restart`: it is killed, and the restart policy decides as after a crash.
    Restart,
}

impl ReadyFailed {
    /// All, with their words.
    pub const WORDS: [(&'static str, ReadyFailed); 3] =
        [("ignore", ReadyFailed::Ignore), ("stop", ReadyFailed::Stop), ("restart", ReadyFailed::Restart)];
}

/// What follows a spent restart budget: `monopod.restart.exhausted`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exhausted {
    /// `stop`: the start ends with its own code. The default.
    Stop,
    /// `host-reboot`: the machine reboots.
    HostReboot,
    /// `host-reboot-arg`: the machine reboots with the argument of the guest's last reboot, if it had one.
    HostRebootArg,
}

impl Exhausted {
    /// All, with their words.
    pub const WORDS: [(&'static str, Exhausted); 3] = [
        ("stop", Exhausted::Stop),
        ("host-reboot", Exhausted::HostReboot),
        ("host-reboot-arg", Exhausted::HostRebootArg),
    ];
}

/// Whose binder devices the container gets: `monopod.binder`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binder {
    /// `none`: nothing is done. The default.
    None,
    /// `own`: a binderfs of its own on /dev/binderfs.
    Own,
    /// `host`: the host's binderfs, mounted and filled with the nodes if need be.
    Host,
}

impl Binder {
    /// All, with their words.
    pub const WORDS: [(&'static str, Binder); 3] =
        [("none", Binder::None), ("own", Binder::Own), ("host", Binder::Host)];
}

/// Everything of `monopod.*` that has to do with Android, the host's safety, readiness, stop and reboot.
#[derive(Clone, Debug)]
pub struct Own<'t> {
    /// `monopod.preset = android`
    pub android: bool,
    /// `monopod.android.init`: choose init's command line by the image's SDK.
    pub choose_init: Option<bool>,
    /// `monopod.android.sdk`: instead of what build.prop says.
    pub sdk: Option<u32>,
    /// `monopod.android.boot.NAME = VALUE`: androidboot.NAME on the guest's kernel command line.
    pub boot: List<NamedValue<'t>, { limits::SYSCTLS }>,
    /// `monopod.android.cmdline`: true: the host's androidboot.* are hidden from the guest.
    pub hide_boot: Option<bool>,
    /// `monopod.android.clean`: what an earlier life left behind is removed before each start.
    pub clean: Option<bool>,
    /// `monopod.android.misc`: the partition with the bootloader control block.
    pub misc: Option<At<&'t CStr>>,
    /// `monopod.binder`
    pub binder: At<Binder>,
    /// `monopod.binder.nodes`, blanks between them; None: binder hwbinder vndbinder.
    pub binder_nodes: Option<&'t CStr>,
    /// `monopod.device.entry`: `PATH [optional] [mode=0666] [uid=N] [gid=N] [as=PATH]`, as written.
    pub devices: List<At<&'t CStr>, { limits::MOUNTS }>,
    /// `monopod.devices = android`: the nodes that Android expects, those that the host has.
    pub android_devices: bool,
    /// `monopod.protect`, `monopod.allow.*`
    pub protect: Protect,
    /// `monopod.keyctl = enosys`: the kernel's keyrings are answered as if there were none.
    pub no_keyctl: bool,
    /// `monopod.reboot.ARGUMENT`
    pub reboots: List<RebootRule<'t>, { limits::REBOOTS }>,
    /// `monopod.hook.reboot`
    pub reboot_hook: Option<At<&'t CStr>>,
    /// `monopod.host.reboot`: the host's command that reboots it, the argument is appended. None: reboot(8), then reboot(2).
    pub host_reboot: Option<&'t CStr>,
    /// `monopod.restart.exhausted`
    pub exhausted: Exhausted,
    /// `monopod.stop.method`
    pub stop_method: StopMethod,
    /// `monopod.stop.command`: run in the container.
    pub stop_command: Option<At<&'t CStr>>,
    /// `monopod.ready`: conditions, blanks between them; all must hold.
    pub ready: Option<At<&'t CStr>>,
    /// `monopod.ready.failed`
    pub ready_failed: ReadyFailed,
    /// `monopod.hook.ready`
    pub ready_hook: Option<At<&'t CStr>>,
    /// `monopod.timeout.ready`, in milliseconds; 0 = no limit.
    pub ready_ms: u64,
    /// `monopod.wakelock`: the name of a wakelock that is held from the start until the guest is ready.
    pub wakelock: Option<&'t CStr>,
    /// `monopod.state.file`: rewritten at each change of the state.
    pub state_file: Option<At<&'t CStr>>,
    /// `monopod.crash.file`: the report of the last crash, as JSON.
    pub crash_file: Option<At<&'t CStr>>,
    /// `monopod.trace`: each step of a start goes to /dev/kmsg before it is done.
    pub trace: bool,
    /// `monopod.oom.score`: the supervisor's oom_score_adj; init gets the one that we had.
    pub oom_score: Option<At<i32>>,
    /// `monopod.log.logd`: log to Android's logd.
    pub logd: bool,
}

impl Own<'_> {
    /// Where nothing is written.
    pub const fn new() -> Self {
        Own {
            android: false,
            choose_init: None,
            sdk: None,
            boot: List::new(),
            hide_boot: None,
            clean: None,
            misc: None,
            binder: At { value: Binder::None, at: super::DEFAULT },
            binder_nodes: None,
            devices: List::new(),
            android_devices: false,
            protect: Protect { on: None, allowed: Protect::ALLOWED, at: super::DEFAULT },
            no_keyctl: false,
            reboots: List::new(),
            reboot_hook: None,
            host_reboot: None,
            exhausted: Exhausted::Stop,
            stop_method: StopMethod::Auto,
            stop_command: None,
            ready: None,
            ready_failed: ReadyFailed::Ignore,
            ready_hook: None,
            ready_ms: 60_000,
            wakelock: None,
            state_file: None,
            crash_file: None,
            trace: false,
            oom_score: None,
            logd: false,
        }
    }

    /// init's command line follows the image's SDK, where none is configured.
    pub fn chooses_init(&self) -> bool {
        self.choose_init.unwrap_or(self.android)
    }

    /// The host's androidboot.* are hidden.
    pub fn hides_boot(&self) -> bool {
        self.hide_boot.unwrap_or(self.android || !self.boot.is_empty())
    }

    /// Leftovers are removed before each start.
    pub fn cleans(&self) -> bool {
        self.clean.unwrap_or(self.android)
    }

    /// The host is protected.
    pub fn protects(&self) -> bool {
        cfg!(feature = "guard") && self.protect.on.unwrap_or(self.android)
    }

    /// The guest is kept from this.
    pub fn forbids(&self, danger: Danger) -> bool {
        self.protects() && self.protect.allowed >> danger as u8 & 1 == 0
    }

    /// Capabilities that are dropped for the host's safety, as a mask.
    pub fn dangerous_capabilities(&self) -> u64 {
        Danger::NAMES
            .iter()
            .filter(|(_, danger)| self.forbids(*danger))
            .fold(0, |mask, (_, danger)| mask | danger.capabilities())
    }

    /// The argument of the guest's reboot is wanted: by the preset, or because a rule asks for one.
    pub fn hears_reboots(&self) -> bool {
        cfg!(feature = "guard") && (self.android || !self.reboots.is_empty())
    }

    /// keyctl(2) is answered as by a kernel without keyrings.
    pub fn hides_keyrings(&self) -> bool {
        cfg!(feature = "guard") && self.no_keyctl
    }

    /// What the conditions of readiness are, if any; the preset has some of its own.
    pub fn readiness(&self) -> Option<&CStr> {
        match self.ready {
            _ if !cfg!(feature = "ready") => None,
            Some(ready) => (ready.value != c"none").then_some(ready.value),
            None => self.android.then_some(c"coldboot property_service"),
        }
    }

    /// What follows a reboot with this argument (empty: none): the rule of that name, that of what stands before its first
    /// comma, that of `*`. None: `monopod.restart.when` decides.
    pub fn after_reboot(&self, argument: &[u8]) -> Option<RebootAction> {
        let rule = |name: &[u8]| self.reboots.iter().find(|rule| rule.argument.to_bytes() == name);
        let head = argument.split(|byte| *byte == b',').next().unwrap_or_default();
        rule(argument).or_else(|| rule(head)).or_else(|| rule(b"*")).map(|rule| rule.action)
    }
}

impl Default for Own<'_> {
    fn default() -> Self {
        Own::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_reboot_the_nearest_rule_counts() {
        let mut own = Own::new();
        let rules = [
            (c"recovery", RebootAction::HostRebootArg),
            (c"userrequested", RebootAction::Restart),
            (c"userrequested,x", RebootAction::Stop),
        ];
        for (argument, action) in rules {
            own.reboots.push(RebootRule { argument, action }).unwrap();
        }
        assert_eq!(own.after_reboot(b"recovery"), Some(RebootAction::HostRebootArg));
        assert_eq!(own.after_reboot(b"userrequested,x"), Some(RebootAction::Stop));
        assert_eq!(own.after_reboot(b"userrequested,y"), Some(RebootAction::Restart));
        assert_eq!(own.after_reboot(b""), None);
        own.reboots.push(RebootRule { argument: c"*", action: RebootAction::HostReboot }).unwrap();
        assert_eq!(own.after_reboot(b"bootloader"), Some(RebootAction::HostReboot));
        assert_eq!(own.after_reboot(b""), Some(RebootAction::HostReboot));
    }

    #[test]
    #[cfg(feature = "guard")]
    fn forbids_only_under_protection_and_what_is_not_allowed() {
        let mut own = Own::new();
        assert!(!own.forbids(Danger::Sysrq) && own.dangerous_capabilities() == 0);
        own.android = true;
        assert!(own.forbids(Danger::Sysrq) && !own.forbids(Danger::SysBoot));
        own.protect.allowed |= 1 << Danger::SysTime as u8;
        let time = Danger::SysTime.capabilities();
        assert_eq!(own.dangerous_capabilities() & time, 0);
        assert_ne!(own.dangerous_capabilities() & Danger::WakeAlarm.capabilities(), 0);
        own.protect.on = Some(false);
        assert_eq!(own.dangerous_capabilities(), 0);
    }
}
