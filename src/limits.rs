//! Every capacity of the program: the number, why it is that number, and what the user sees when it is full.
//!
//! Config text, argv and environments live in fixed storage, so that the supervisor never allocates once the container
//! runs. A full list is an ordinary error that names the limit and the config line; nothing is ever dropped in silence.

/// Bytes of config text, file names, argv and environment kept for the whole run. The largest real config seen is 7 KB
/// (Waydroid's, rendered); pages that are never written cost nothing.
pub const TEXT_BYTES: usize = 256 * 1024;
/// Longest line of a config file, in bytes. LXC has no limit; the longest real line seen is 300 bytes.
pub const LINE_BYTES: usize = 4096;
/// Longest path, with its NUL: the kernel's PATH_MAX.
pub const PATH_BYTES: usize = 4096;
/// Largest config or fstab file read, in bytes. Anything larger is not a config.
pub const CONFIG_FILE_BYTES: u64 = 1024 * 1024;
/// Longest path that is put together from parts (mount point, cgroup and file; a mount's target inside the rootfs), with
/// its NUL. A path that is used as the user wrote it may be `PATH_BYTES` long.
pub const BUILT_PATH_BYTES: usize = 1024;
/// Config files that may take part through `lxc.include`, the first one counted.
pub const FILES: usize = 64;
/// How deep `lxc.include` may nest before it is taken for a cycle.
pub const INCLUDE_DEPTH: usize = 16;
/// Mounts: `lxc.mount.entry` and fstab lines together. Waydroid renders about 45.
pub const MOUNTS: usize = 192;
/// Hooks of all kinds together.
pub const HOOKS: usize = 32;
/// Words of init's command line.
pub const ARGS: usize = 64;
/// `lxc.environment*` entries.
pub const ENVIRONMENT: usize = 128;
/// `lxc.cgroup.*` and `lxc.cgroup2.*` settings. A device list of a distribution has about 20.
pub const CGROUP_SETTINGS: usize = 160;
/// Resource limits: one a kind, the kernel has 16.
pub const PRLIMITS: usize = 16;
/// `lxc.sysctl.*` and `lxc.proc.*` settings, each.
pub const SYSCTLS: usize = 64;
/// Bytes of a reboot's argument; the kernel takes 255 of the host's init, Android's longest is about 60. A longer one is cut.
pub const REBOOT_ARGUMENT: usize = 128;
/// `monopod.reboot.ARGUMENT` rules.
pub const REBOOTS: usize = 32;
/// Conditions of `monopod.ready`. Nobody has more than a few.
pub const CONDITIONS: usize = 16;
/// Network links.
pub const NICS: usize = 16;
/// Fields of one network link (addresses and routes may repeat).
pub const NIC_FIELDS: usize = 24;
/// `lxc.idmap` lines. A map with a few holes for a device's groups has about a dozen.
pub const ID_MAPS: usize = 32;
/// Rules of a seccomp policy: the kernel has fewer than 500 calls a machine, and takes programs of 4096 instructions.
pub const POLICY_RULES: usize = 4096;
/// Supplementary groups of init.
pub const GROUPS: usize = 32;
/// `lxc.tty.max`: LXC has no limit; Android uses 4.
pub const TTYS: usize = 64;
/// Cgroup hierarchies: the kernel's v1 controllers are 14, with named ones and v2 beside them.
pub const HIERARCHIES: usize = 24;
/// Values kept only to be printed again (`lxc.group` and its like).
pub const KEPT: usize = 128;
/// `-s KEY=VALUE` on one command line.
pub const DEFINES: usize = 64;
/// Words in a hook's environment: our own, LXC_*, and the config's.
pub const HOOK_ENVIRONMENT: usize = 400;
/// Words of our caller's environment that hooks inherit. More is an error at the start.
pub const CALLER_ENVIRONMENT: usize = 200;
/// Clients of the command socket that are sending a request. A tool needs one for a millisecond; when all are taken the
/// one silent for longest goes.
pub const CLIENTS: usize = 32;
/// Clients that wait for a state, follow all states, or have borrowed a tty. One more gets EBUSY: to close an old one would
/// tell it STOPPED.
pub const STATE_WAITERS: usize = 64;
/// Clients of LXC's STOP, which wait for the end. Kept apart, so that waiters cannot keep anybody from stopping.
pub const STOP_WAITERS: usize = 8;
/// Clients that look at the console at once. One more gets EBUSY.
pub const VIEWS: usize = 8;
/// Bytes that a read of the console takes, and a write to a reader. The kernel's pty hands out at most 4 KiB, and 2 KiB reads
/// are the fastest by measurement: larger ones drain it fully, so that reader and writer keep waking each other.
pub const CONSOLE_CHUNK: usize = 2048;
/// Bytes of the console that are gathered before they are handed on. Four reads for one write is what costs least.
pub const CONSOLE_GATHER: usize = 4 * CONSOLE_CHUNK;
/// Bytes of the console's ring in one reply: what a socket's buffer takes at once. Who wants more asks again.
pub const CONSOLE_LOG_BYTES: usize = 128 * 1024;
/// Device rules that may be added to a running container's v2 cgroup.
pub const DEVICE_RULES: usize = 32;
/// How long a client may take for one request, in milliseconds.
pub const REQUEST_MS: u64 = 5_000;
/// Connections that wait to be accepted; who comes later waits in connect(2), first come, first served. As many as there
/// are slots: a longer queue only makes honest clients wait behind a flood.
pub const BACKLOG: i32 = CLIENTS as i32;
/// Connections accepted at one event, so that a flood of them does not keep the supervisor from its child.
pub const ACCEPT_BATCH: usize = 64;
/// Body of a request that is kept. The longest that means something is a config key; longer ones get E2BIG.
pub const REQUEST_BYTES: usize = 512;
/// Body of a reply: the longest value of a config key (a list has one value a line).
pub const REPLY_BYTES: usize = 16 * 1024;
/// Containers that the machine's init starts. A phone has one or two.
pub const PODS: usize = 16;
/// Kernel modules that the machine's init loads.
pub const MODULES: usize = 64;
/// Bytes of text of the machine's init: its file, the kernel command line (4 KiB at most), argv of each supervisor.
pub const INIT_TEXT_BYTES: usize = 64 * 1024;
/// How long an error's own text may become; the rest is cut. Long enough for two paths of ordinary length.
pub const ERROR_BYTES: usize = 480;
/// Errors that exist at once; one more has no text. Two or three is the most that any path of the program holds. (Unit tests
/// run side by side in one process.)
pub const ERRORS: usize = if cfg!(test) { 254 } else { 8 };
/// Sockets that a service manager may hand to init (LISTEN_FDS).
pub const SOCKETS: i32 = 64;
