//! The first stage: what it mounts, in order, and that from Android 10 on any failure ends it.

use super::Init;
use crate::{done, outcome, say};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{self, Mode, SFlag};
use std::io;

/// AID_READPROC, whose members see all processes.
const READPROC: u32 = 3009;

/// The calls of a first stage: what they come to, said and collected.
struct Calls(Vec<String>);

impl Calls {
    fn call(&mut self, what: String, result: nix::Result<()>) {
        let outcome = outcome(done(result));
        if outcome != "ok" {
            self.0.push(format!("{what} failed {outcome}"));
        }
        say(&format!("{what}: {outcome}"));
    }

    fn mount(&mut self, fstype: &str, target: &str, flags: MsFlags, data: &str) {
        let data = (!data.is_empty()).then_some(data);
        self.call(format!("mount {fstype} {target}"), mount(Some(fstype), target, Some(fstype), flags, data));
    }

    fn mkdir(&mut self, path: &str) {
        self.call(format!("mkdir {path}"), nix::unistd::mkdir(path, Mode::from_bits_truncate(0o755)));
    }

    fn mknod(&mut self, path: &str, minor: u64, mode: u32) {
        let major = if path == "/dev/ptmx" { 5 } else { 1 };
        let mode = Mode::from_bits_truncate(mode);
        self.call(format!("mknod {path}"), stat::mknod(path, SFlag::S_IFCHR, mode, stat::makedev(major, minor)));
    }
}

impl Init {
    /// All of it; comes back where the next stage may follow.
    pub fn first_stage(&self) {
        say(&format!("stage first, sdk {}", self.options.sdk));
        stat::umask(Mode::empty());
        let mut calls = Calls(Vec::new());
        match (self.options.halium(), self.options.sdk) {
            (false, ..=25) => old(&mut calls, self),
            (false, _) => stock(&mut calls, self),
            (true, ..=25) => {
                calls.mount("proc", "/proc", MsFlags::empty(), "");
                calls.mount("sysfs", "/sys", MsFlags::empty(), "");
            }
            (true, ..=28) => {
                calls.mkdir("/dev/socket");
                self.shut_cmdline(&mut calls);
                calls.mount("selinuxfs", "/sys/fs/selinux", MsFlags::empty(), "");
                kernel_nodes(&mut calls);
            }
            (true, _) => {
                calls.mkdir("/dev/socket");
                kernel_nodes(&mut calls);
                calls.mount("tmpfs", "/debug_ramdisk", private(), "mode=0755,uid=0,gid=0");
            }
        }
        self.press_sysrq(&self.options.early_sysrq);
        let tolerant = self.options.sdk < 29 || self.options.halium() || self.options.redroid();
        if let (false, Some(first)) = (tolerant, calls.0.first()) {
            self.log(first);
            self.fatal("Init encountered errors starting first stage, aborting");
        }
    }

    /// Global on kernels whose proc mounts share their files, so only where it is asked for.
    fn shut_cmdline(&self, calls: &mut Calls) {
        if self.options.chmod_cmdline {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o440);
            let result = std::fs::set_permissions("/proc/cmdline", mode);
            calls.call("chmod /proc/cmdline".into(), result.map_err(|e: io::Error| e.try_into().unwrap()));
        }
    }
}

fn private() -> MsFlags {
    MsFlags::MS_NOEXEC | MsFlags::MS_NOSUID | MsFlags::MS_NODEV
}

fn kernel_nodes(calls: &mut Calls) {
    calls.mknod("/dev/kmsg", 11, 0o600);
    calls.mknod("/dev/random", 8, 0o666);
    calls.mknod("/dev/urandom", 9, 0o666);
}

/// 4.4 to 7: nobody looks at what a call says.
fn old(calls: &mut Calls, init: &Init) {
    for path in ["/dev", "/proc", "/sys"] {
        calls.mkdir(path);
    }
    calls.mount("tmpfs", "/dev", MsFlags::MS_NOSUID, "mode=0755");
    calls.mkdir("/dev/pts");
    calls.mkdir("/dev/socket");
    calls.mount("devpts", "/dev/pts", MsFlags::empty(), "");
    calls.mount("proc", "/proc", MsFlags::empty(), "");
    calls.mount("sysfs", "/sys", MsFlags::empty(), "");
    calls.mknod("/dev/__null__", 3, 0o600);
    init.shut_cmdline(calls);
}

/// 8 and later.
fn stock(calls: &mut Calls, init: &Init) {
    let sdk = init.options.sdk;
    calls.mount("tmpfs", "/dev", MsFlags::MS_NOSUID, "mode=0755");
    calls.mkdir("/dev/pts");
    calls.mkdir("/dev/socket");
    if sdk >= 33 {
        calls.mkdir("/dev/dm-user");
    }
    calls.mount("devpts", "/dev/pts", MsFlags::empty(), "");
    calls.mount("proc", "/proc", MsFlags::empty(), &format!("hidepid=2,gid={READPROC}"));
    init.shut_cmdline(calls);
    let groups = nix::unistd::setgroups(&[READPROC.into()]);
    calls.call("setgroups".into(), groups);
    calls.mount("sysfs", "/sys", MsFlags::empty(), "");
    if !init.options.no_selinux {
        calls.mount("selinuxfs", "/sys/fs/selinux", MsFlags::empty(), "");
    }
    kernel_nodes(calls);
    if sdk >= 29 {
        calls.mknod("/dev/ptmx", 2, 0o666);
        calls.mknod("/dev/null", 3, 0o666);
    }
    calls.mount("tmpfs", "/mnt", private(), "mode=0755,uid=0,gid=1000");
    calls.mkdir("/mnt/vendor");
    if sdk >= 29 {
        calls.mkdir("/mnt/product");
        calls.mount("tmpfs", "/debug_ramdisk", private(), "mode=0755,uid=0,gid=0");
    }
    if sdk >= 33 {
        calls.mount("tmpfs", "/second_stage_resources", private(), "mode=0755,uid=0,gid=0");
    }
}
