//! What the user asked for: an LXC config, both vocabularies, as one typed value.
//!
//! * `lex` cuts a file into `key = value` lines, `include` follows `lxc.include`,
//! * `keys` is the one table of all keys: old name, new name, setter, printer,
//! * `mounts` reads fstab lines and mount options, `values` the small grammars (sizes, signals, capabilities, arch names),
//! * `own` holds what most `monopod.*` keys say,
//! * `nics` reads the network links in both vocabularies,
//! * `print` writes the effective config in today's vocabulary, `update` a file with its comments.
//!
//! Nothing here makes a system call but reading config files, so all of it is tested and fuzzed as plain functions.

pub use include::{Sources, load};
pub use print::{get, print};

use crate::limits;
use core::ffi::CStr;
pub use list::List;
pub use lxcpath::{default_lxcpath, lxc_conf};

pub mod groups;
pub mod include;
pub mod isolation;
pub mod keys;
pub mod lex;
pub mod list;
pub mod lxcpath;
pub mod mounts;
mod nics;
pub mod not_built;
pub mod own;
pub mod print;
pub mod readiness;
#[cfg(test)]
mod tests;
#[cfg(feature = "tools")]
pub mod update;
pub mod values;

/// Where a setting was written. Errors name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Index into `Config::files`; `COMMAND_LINE` for `-s` and options.
    pub file: u8,
    /// Line number from 1; for the command line, which `-s` it was.
    pub line: u32,
}

/// `Origin::file` of what came from the command line.
pub const COMMAND_LINE: u8 = u8::MAX;
/// `Origin` of values that nobody wrote.
pub const DEFAULT: Origin = Origin { file: COMMAND_LINE, line: 0 };

/// A value and where it was written.
#[derive(Clone, Copy, Debug)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub at: Origin,
}

/// Storage driver named by the prefix of `lxc.rootfs.path`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootfsKind {
    /// A directory, a block device or nothing said: decided by looking at the path when the container starts.
    Plain,
    /// `dir:`
    Dir,
    /// `loop:`
    Loop,
    /// `overlay:` (`overlayfs:` in old files)
    Overlay,
    /// A driver that this project does not have (`lvm:`, `zfs:`, `btrfs:`, `rbd:`, `nbd:`; `aufs:`, whose layers mark
    /// deleted files in a way that an overlay would show as files).
    Other,
}

/// `lxc.rootfs.*`
#[derive(Clone, Copy, Debug)]
pub struct Rootfs<'t> {
    /// The path without its driver prefix. None: the container shares the host's root (refused unless an init is named).
    pub path: Option<At<&'t CStr>>,
    /// The driver.
    pub kind: RootfsKind,
    /// The driver's name as written (`overlayfs`), for printing; empty if none was.
    pub driver: &'t CStr,
    /// `lxc.rootfs.mount`: where the rootfs is mounted before pivot_root. None: the rootfs directory itself.
    pub mount: Option<At<&'t CStr>>,
    /// `lxc.rootfs.options` as mount flags and the data that is left.
    pub options: Option<At<MountOptions<'t>>>,
    /// `lxc.rootfs.options` as written, for printing.
    pub options_text: Option<&'t CStr>,
    /// `idmap=` of the options: `container`, or the path of a user namespace.
    pub idmap: Option<&'t CStr>,
}

/// Mount options, decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MountOptions<'t> {
    /// MS_* bits for mount(2), propagation excluded.
    pub flags: u64,
    /// MS_SHARED, MS_SLAVE, MS_PRIVATE or MS_UNBINDABLE, with MS_REC for the r-forms; 0 = not asked for.
    pub propagation: u64,
    /// What the filesystem gets as data; None if empty.
    pub data: Option<&'t CStr>,
}

/// `create=` of a mount entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Create {
    /// The target must exist.
    No,
    /// `create=dir`
    Dir,
    /// `create=file`
    File,
}

/// One fstab line or `lxc.mount.entry`.
#[derive(Clone, Copy, Debug)]
pub struct MountEntry<'t> {
    /// First field (octal escapes such as `\040` decoded).
    pub source: &'t CStr,
    /// Second field as written: relative to the rootfs; an absolute one may start with the rootfs path or its mount.
    pub target: &'t CStr,
    /// Third field (`none` and `bind` for binds).
    pub fstype: &'t CStr,
    /// Fourth field, decoded.
    pub options: MountOptions<'t>,
    /// `create=dir|file`
    pub create: Create,
    /// `optional`: a failure is a log line.
    pub optional: bool,
    /// `relative`: the source is looked up under the rootfs.
    pub relative: bool,
    /// `loop`: the source is a file with a filesystem in it.
    pub image: bool,
    /// `idmap=`: `container`, or the path of a user namespace.
    pub idmap: Option<&'t CStr>,
    /// The whole line as written.
    pub text: &'t CStr,
    /// Where it stands.
    pub at: Origin,
}

/// A word of `lxc.mount.auto` for proc.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoProc {
    /// Not mounted.
    No,
    /// `proc`, `proc:mixed`: /proc/sys and /proc/sysrq-trigger read-only (/proc/sys/net stays writable).
    Mixed,
    /// `proc:rw`
    Rw,
}

/// A word of `lxc.mount.auto` for sys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoSys {
    /// Not mounted.
    No,
    /// `sys:mixed`: read-only but for /sys/devices/virtual/net; the default form of `sys`.
    Mixed,
    /// `sys:ro`
    Ro,
    /// `sys:rw`
    Rw,
}

/// How `lxc.mount.auto = cgroup...` mounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CgroupAccess {
    /// Only the container's own directory is writable; the default form (`mixed`).
    Mixed,
    /// All read-only.
    Ro,
    /// All writable.
    Rw,
}

/// `cgroup`, `cgroup-full` of `lxc.mount.auto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AutoCgroup {
    /// The access form.
    pub access: CgroupAccess,
    /// `cgroup-full`: the whole hierarchy, not only the container's part.
    pub full: bool,
    /// `:force`: mount even where a cgroup namespace lets the guest do it itself.
    pub force: bool,
}

/// `lxc.mount.auto`
#[derive(Clone, Copy, Debug)]
pub struct MountAuto<'t> {
    /// proc
    pub proc: AutoProc,
    /// sys
    pub sys: AutoSys,
    /// cgroup, cgroup-full
    pub cgroup: Option<AutoCgroup>,
    /// `shmounts:HOSTPATH[:CONTAINERPATH]`
    pub shmounts: Option<&'t CStr>,
    /// No access form was written for cgroup: `Rw` if the container keeps CAP_SYS_ADMIN, else `Mixed`, as LXC decides.
    pub cgroup_by_caps: bool,
    /// Where the last of them stands.
    pub at: Origin,
}

impl MountAuto<'_> {
    /// Nothing is mounted.
    pub const NONE: Self = MountAuto {
        proc: AutoProc::No,
        sys: AutoSys::No,
        cgroup: None,
        shmounts: None,
        cgroup_by_caps: false,
        at: DEFAULT,
    };
}

/// `lxc.console.*`
#[derive(Clone, Copy, Debug)]
pub struct Console<'t> {
    /// `lxc.console.path`; `none` is `ConsolePath::None`.
    pub path: ConsolePath<'t>,
    /// `lxc.console.logfile`
    pub logfile: Option<At<&'t CStr>>,
    /// `lxc.console.size`: bytes after which the log file is cut (0 = no limit).
    pub log_size: u64,
    /// `lxc.console.rotate`: keep one old log file, FILE.1.
    pub rotate: bool,
    /// `lxc.console.buffer.size`: bytes of the ring kept in memory (0 = none).
    pub buffer_size: u64,
}

/// `lxc.console.path`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsolePath<'t> {
    /// Nothing said: our own terminal if there is one and we are in the foreground.
    Auto,
    /// `none`: the container gets no console at all.
    None,
    /// A tty or file that mirrors the console.
    Path(&'t CStr),
    /// `monopod.console = stdio`: our own stdin and stdout, whatever they are (pipes of a test, a journal).
    Stdio,
}

/// Capability sets as bit masks by capability number.
#[derive(Clone, Copy, Debug)]
pub struct Caps {
    /// `lxc.cap.drop`
    pub drop: u64,
    /// `lxc.cap.keep`; `none` is Some(0).
    pub keep: Option<u64>,
    /// Where the last of them stands.
    pub at: Origin,
}

/// The hook points, in the order in which a life meets them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookKind {
    /// On the host, before anything is made.
    PreStart,
    /// In the container's mount namespace, before its rootfs is mounted.
    PreMount,
    /// After all mounts, before pivot_root.
    Mount,
    /// When /dev was made (only with `lxc.autodev`).
    Autodev,
    /// On the host, when the container is ready to exec.
    StartHost,
    /// In the container, right before exec.
    Start,
    /// `monopod.hook.ready`: on the host, when the guest is ready.
    Ready,
    /// On the host, when init has ended.
    Stop,
    /// On the host, when everything is cleaned up.
    PostStop,
    /// `clone`, `destroy`: kept, never run by us.
    Clone,
    /// `destroy`: kept, never run by us.
    Destroy,
    /// `monopod.hook.reboot`: on the host, when init has ended by a reboot whose rule says `hook`.
    Reboot,
    /// `monopod.host.reboot`: the program that reboots the host.
    HostReboot,
    /// newuidmap or newgidmap.
    IdMap,
    /// `lxc.net.N.script.up`: on the host, when a link is made.
    NetUp,
    /// `lxc.net.N.script.down`: on the host, before a link is removed.
    NetDown,
}

/// `lxc.hook.KIND`
#[derive(Clone, Copy, Debug)]
pub struct Hook<'t> {
    /// When it runs.
    pub kind: HookKind,
    /// The command as written.
    pub command: &'t CStr,
    /// Where it stands.
    pub at: Origin,
}

/// `lxc.init.*`
#[derive(Clone, Debug)]
pub struct Init<'t> {
    /// `lxc.init.cmd`, split at blanks outside quotes. Empty: /sbin/init.
    pub cmd: List<&'t CStr, { limits::ARGS }>,
    /// `lxc.init.uid`
    pub uid: u32,
    /// `lxc.init.gid`
    pub gid: u32,
    /// `lxc.init.groups`
    pub groups: List<u32, { limits::GROUPS }>,
    /// `lxc.init.cwd`
    pub cwd: Option<&'t CStr>,
}

/// Signal numbers as the kernel counts them (`SIGRTMIN+n` = 34+n, whatever the C library reserves).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signals {
    /// `lxc.signal.halt`; default SIGPWR.
    pub halt: i32,
    /// `lxc.signal.halt` was written: then it is sent even if init seems to prefer another.
    pub halt_set: bool,
    /// `lxc.signal.reboot`; default SIGINT.
    pub reboot: i32,
    /// `lxc.signal.reboot` was written.
    pub reboot_set: bool,
    /// `lxc.signal.stop`; default SIGKILL.
    pub stop: i32,
    /// `monopod.signal.halt`: what the supervisor itself takes for `stop`; default SIGPWR.
    pub ours: i32,
}

/// A `lxc.cgroup.FILE` (v1) or `lxc.cgroup2.FILE` setting, in the order written.
#[derive(Clone, Copy, Debug)]
pub struct CgroupSetting<'t> {
    /// True for `lxc.cgroup2.`.
    pub v2: bool,
    /// e.g. `memory.limit_in_bytes`
    pub file: &'t CStr,
    /// The value as written.
    pub value: &'t CStr,
    /// Where it stands.
    pub at: Origin,
}

/// `lxc.prlimit.NAME`
#[derive(Clone, Copy, Debug)]
pub struct Prlimit {
    /// RLIMIT_* number.
    pub resource: u32,
    /// Soft limit; u64::MAX = unlimited.
    pub soft: u64,
    /// Hard limit; u64::MAX = unlimited.
    pub hard: u64,
    /// Where it stands.
    pub at: Origin,
}

/// `lxc.sysctl.KEY` or `lxc.proc.KEY`
#[derive(Clone, Copy, Debug)]
pub struct NamedValue<'t> {
    /// What follows the prefix, as written.
    pub name: &'t CStr,
    /// The value.
    pub value: &'t CStr,
    /// Where it stands.
    pub at: Origin,
}

/// `lxc.net.N.type`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NicType {
    /// `none`: the host's network.
    None,
    /// `empty`: only loopback.
    Empty,
    /// A pair, one end of which stays on the host.
    Veth,
    /// A second address on a device of the host's.
    Macvlan,
    /// The same with the device's hardware address.
    Ipvlan,
    /// A VLAN of a device of the host's.
    Vlan,
    /// A device of the host's itself.
    Phys,
}

/// One `lxc.net.N` block.
#[derive(Clone, Debug)]
pub struct Nic<'t> {
    /// N (for old files: counted from 0 in order of `lxc.network.type`).
    pub index: u32,
    /// The type.
    pub kind: NicType,
    /// The type's name as written.
    pub kind_name: &'t CStr,
    /// Every other field, current name without the `lxc.net.N.` prefix, validated, in order.
    pub fields: List<NamedValue<'t>, { limits::NIC_FIELDS }>,
    /// Where its type stands.
    pub at: Origin,
}

impl Nic<'_> {
    /// Somebody on the host must do something for it: `empty` is nothing, unless it has a script.
    pub fn needs_the_host(&self) -> bool {
        match self.kind {
            NicType::None => false,
            NicType::Empty => self.fields.iter().any(|field| field.name.to_bytes().starts_with(b"script.")),
            _ => true,
        }
    }
}

/// `lxc.namespace.keep` / `lxc.namespace.clone` as CLONE_NEW* masks.
#[derive(Clone, Copy, Debug)]
pub struct Namespaces {
    /// Namespaces the container keeps from us.
    pub keep: Option<u64>,
    /// The namespaces that are made anew, if listed.
    pub clone: Option<u64>,
    /// Where the last of them stands.
    pub at: Origin,
}

/// `lxc.log.*`
#[derive(Clone, Copy, Debug)]
pub struct Log<'t> {
    /// `lxc.log.level`, as a priority of ours.
    pub level: Option<LogLevel>,
    /// `lxc.log.file`; `none` on the command line switches it off.
    pub file: Option<&'t CStr>,
    /// `lxc.log.syslog`: the facility's name, validated.
    pub syslog: Option<At<&'t CStr>>,
    /// `monopod.log.kmsg = 1`: log to /dev/kmsg.
    pub kmsg: bool,
}

/// LXC's log levels, in LXC's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum LogLevel {
    /// TRACE
    Trace,
    /// DEBUG
    Debug,
    /// INFO
    Info,
    /// NOTICE
    Notice,
    /// WARN
    Warn,
    /// ERROR
    Error,
    /// CRIT
    Crit,
    /// ALERT
    Alert,
    /// FATAL
    Fatal,
}

/// When an ended container is started again by itself: `monopod.restart.when`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartWhen {
    /// `reboot`: when the guest asked for it by reboot(2). LXC's behaviour, the default.
    Reboot,
    /// `failure`: also when init was killed or exited with a code other than 0.
    Failure,
    /// `always`: also after a halt (not after `stop`).
    Always,
    /// `never`
    Never,
}

/// `monopod.restart.*`: the crash-loop policy. Times in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restart {
    /// `monopod.restart.when`
    pub when: RestartWhen,
    /// `monopod.restart.delay`: first delay once a life was too short. Default 1 s (the first quick restart is immediate).
    pub delay_ms: u64,
    /// `monopod.restart.factor`: what the delay is multiplied by at each further short life. Default 2.
    pub factor: u32,
    /// `monopod.restart.cap`: the longest delay. Default 60 s.
    pub cap_ms: u64,
    /// `monopod.restart.budget`: restarts allowed inside the window; 0 = no limit, the default. None: as the preset says.
    pub budget: Option<u32>,
    /// `monopod.restart.window`: the window. Default 10 min.
    pub window_ms: u64,
    /// `monopod.restart.uptime`: a life that lasted this long resets delay and budget. Default 10 s. None: as the preset
    /// says.
    pub uptime_ms: Option<u64>,
}

impl Restart {
    /// What holds where nothing is written.
    pub const DEFAULT: Restart = Restart {
        when: RestartWhen::Reboot,
        delay_ms: 1_000,
        factor: 2,
        cap_ms: 60_000,
        budget: None,
        window_ms: 600_000,
        uptime_ms: None,
    };

    /// Restarts allowed inside the window; 0 = no limit.
    pub const fn budget(&self) -> u32 {
        match self.budget {
            Some(budget) => budget,
            None => 0,
        }
    }

    /// How long a life is no crash.
    pub const fn uptime_ms(&self) -> u64 {
        match self.uptime_ms {
            Some(uptime) => uptime,
            None => 10_000,
        }
    }

    /// What is not written, as an Android guest needs it: it reboots itself out of every failure, so its crash loops must
    /// have an end, and it takes most of a minute to find out that it cannot boot.
    pub fn for_android(self) -> Restart {
        Restart { budget: self.budget.or(Some(5)), uptime_ms: self.uptime_ms.or(Some(60_000)), ..self }
    }
}

/// What a service manager's watchdog is told: `monopod.alive`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alive<'t> {
    /// `running`: the supervisor answers for it. The default.
    Running,
    /// `file:PATH`: the guest changes this file of its own again and again.
    File(&'t CStr),
}

/// `monopod.timeout.*` in milliseconds; 0 = wait for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// `monopod.timeout.hook`: each hook. Default 60 s.
    pub hook_ms: u64,
    /// `monopod.timeout.start`: from clone to exec, hooks in the container included. Default 120 s.
    pub start_ms: u64,
    /// `monopod.timeout.stop`: what `stop` waits after the halt signal when it names no time. Default 60 s.
    pub stop_ms: u64,
}

impl Timeouts {
    /// What holds where nothing is written.
    pub const DEFAULT: Timeouts = Timeouts { hook_ms: 60_000, start_ms: 120_000, stop_ms: 60_000 };
}

/// A key that is only kept: validated and printed again, for whoever asks for it (`lxc.start.*`, `lxc.group`, ...).
#[derive(Clone, Copy, Debug)]
pub struct Kept<'t> {
    /// Current name.
    pub key: &'t CStr,
    /// The value as written.
    pub value: &'t CStr,
    /// Where it stands.
    pub at: Origin,
}

/// The effective config of one container.
#[derive(Debug)]
pub struct Config<'t> {
    /// `-n`
    pub name: &'t CStr,
    /// `-P`, without trailing slashes.
    pub lxcpath: &'t CStr,
    /// Config files read, in order; the first is LXC_CONFIG_FILE. Empty: no file.
    pub files: List<&'t CStr, { limits::FILES }>,
    /// `lxc.arch`: PER_LINUX or PER_LINUX32 for personality(2); None = leave.
    pub personality: Option<At<u64>>,
    /// `lxc.arch` as written, for printing.
    pub arch: Option<&'t CStr>,
    /// `lxc.uts.name`
    pub uts_name: Option<At<&'t CStr>>,
    /// `lxc.rootfs.*`
    pub rootfs: Rootfs<'t>,
    /// `lxc.mount.fstab`; its entries are in `mounts`, before those of `lxc.mount.entry`.
    pub fstab: Option<At<&'t CStr>>,
    /// Entries of fstab first, then `lxc.mount.entry` in order.
    pub mounts: List<MountEntry<'t>, { limits::MOUNTS }>,
    /// How many of `mounts` came from the fstab.
    pub fstab_mounts: usize,
    /// `lxc.mount.auto`
    pub mount_auto: MountAuto<'t>,
    /// `lxc.autodev`
    pub autodev: bool,
    /// `lxc.autodev.tmpfs.size` in bytes.
    pub autodev_size: u64,
    /// `lxc.tty.max`
    pub tty_max: u32,
    /// `lxc.tty.dir`; None = ttys directly in /dev.
    pub tty_dir: Option<&'t CStr>,
    /// `lxc.pty.max`; 0 = no devpts instance of its own.
    pub pty_max: u32,
    /// `lxc.console.*`
    pub console: Console<'t>,
    /// `lxc.cap.*`
    pub caps: Caps,
    /// All hooks, in the order written.
    pub hooks: List<Hook<'t>, { limits::HOOKS }>,
    /// `lxc.hook.version`: 0 or 1.
    pub hook_version: u8,
    /// `lxc.init.*`
    pub init: Init<'t>,
    /// `lxc.signal.*`
    pub signals: Signals,
    /// `lxc.environment`: `KEY=VALUE` for init and hooks. (A bare KEY was resolved from our environment when read.)
    pub environment: List<&'t CStr, { limits::ENVIRONMENT }>,
    /// `lxc.environment.runtime`: only for init.
    pub environment_runtime: List<&'t CStr, { limits::ENVIRONMENT }>,
    /// `lxc.environment.hooks`: only for hooks.
    pub environment_hooks: List<&'t CStr, { limits::ENVIRONMENT }>,
    /// `lxc.cgroup.*`, `lxc.cgroup2.*` (not `lxc.cgroup.dir*`, `lxc.cgroup.relative`: those are `kept`).
    pub cgroup: List<CgroupSetting<'t>, { limits::CGROUP_SETTINGS }>,
    /// `lxc.prlimit.*`
    pub prlimits: List<Prlimit, { limits::PRLIMITS }>,
    /// `lxc.sysctl.*`
    pub sysctls: List<NamedValue<'t>, { limits::SYSCTLS }>,
    /// `lxc.proc.*`
    pub procs: List<NamedValue<'t>, { limits::SYSCTLS }>,
    /// `lxc.net.*`
    pub nics: List<Nic<'t>, { limits::NICS }>,
    /// `lxc.namespace.*`
    pub namespaces: Namespaces,
    /// `lxc.no_new_privs`
    pub no_new_privs: bool,
    /// `lxc.monitor.signal.pdeath`: init dies with the supervisor (default SIGKILL = 9).
    pub pdeath_signal: i32,
    /// `lxc.log.*`
    pub log: Log<'t>,
    /// `lxc.ephemeral` and other keys without effect here.
    pub kept: List<Kept<'t>, { limits::KEPT }>,
    /// What a start must refuse.
    pub not_built: not_built::Notes,
    /// `monopod.restart.*`
    pub restart: Restart,
    /// `monopod.timeout.*`
    pub timeouts: Timeouts,
    /// `monopod.alive`
    pub alive: Alive<'t>,
    /// `monopod.alive.within`, in milliseconds; 0 = the manager's own time.
    pub alive_within_ms: u64,
    /// The other keys of our own.
    pub own: own::Own<'t>,
    /// What sets it apart from the host.
    pub isolation: isolation::Isolation<'t>,
    /// Where its cgroups are.
    pub groups: groups::Groups<'t>,
}

impl<'t> Config<'t> {
    /// LXC's defaults for container `name` under `lxcpath`.
    pub fn new(name: &'t CStr, lxcpath: &'t CStr) -> Self {
        Config {
            name,
            lxcpath,
            files: List::new(),
            personality: None,
            arch: None,
            uts_name: None,
            rootfs: Rootfs {
                path: None,
                kind: RootfsKind::Plain,
                driver: c"",
                mount: None,
                options: None,
                options_text: None,
                idmap: None,
            },
            fstab: None,
            mounts: List::new(),
            fstab_mounts: 0,
            mount_auto: MountAuto::NONE,
            autodev: true,
            autodev_size: 500_000,
            tty_max: 0,
            tty_dir: None,
            pty_max: 1024,
            console: Console { path: ConsolePath::Auto, logfile: None, log_size: 0, rotate: false, buffer_size: 0 },
            caps: Caps { drop: 0, keep: None, at: DEFAULT },
            hooks: List::new(),
            hook_version: 0,
            init: Init { cmd: List::new(), uid: 0, gid: 0, groups: List::new(), cwd: None },
            signals: Signals {
                halt: libc::SIGPWR,
                halt_set: false,
                reboot: libc::SIGINT,
                reboot_set: false,
                stop: libc::SIGKILL,
                ours: libc::SIGPWR,
            },
            environment: List::new(),
            environment_runtime: List::new(),
            environment_hooks: List::new(),
            cgroup: List::new(),
            prlimits: List::new(),
            sysctls: List::new(),
            procs: List::new(),
            nics: List::new(),
            namespaces: Namespaces { keep: None, clone: None, at: DEFAULT },
            no_new_privs: false,
            pdeath_signal: libc::SIGKILL,
            log: Log { level: None, file: None, syslog: None, kmsg: false },
            kept: List::new(),
            not_built: List::new(),
            restart: Restart::DEFAULT,
            timeouts: Timeouts::DEFAULT,
            alive: Alive::Running,
            alive_within_ms: 0,
            own: own::Own::new(),
            isolation: isolation::Isolation::default(),
            groups: groups::Groups::NONE,
        }
    }

    /// `FILE:LINE` of a setting, for errors.
    #[inline(never)]
    pub fn place(&self, at: Origin) -> Place<'t> {
        Place { file: self.files.get(usize::from(at.file)).copied(), line: at.line }
    }

    /// The restart policy, with the preset's own defaults.
    pub fn restart_policy(&self) -> Restart {
        if self.own.android { self.restart.for_android() } else { self.restart }
    }

    /// The hooks of one kind, in order.
    pub fn hooks(&self, kind: HookKind) -> impl Iterator<Item = &Hook<'t>> {
        self.hooks.iter().filter(move |hook| hook.kind == kind)
    }

    /// What LXC calls the config file of the container: the first one read.
    pub fn file(&self) -> Option<&'t CStr> {
        self.files.first().copied()
    }
}

/// A place in a config, ready to be shown.
#[derive(Clone, Copy, Debug)]
pub struct Place<'t> {
    file: Option<&'t CStr>,
    line: u32,
}

impl core::fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.file {
            Some(file) => write!(f, "{}:{}", crate::text::shown(file), self.line),
            None if self.line == 0 => f.write_str("default"),
            None => write!(f, "-s option {}", self.line),
        }
    }
}
