//! What the running kernel has, asked of the kernel itself.

use super::{Findings, Verdict, options};
use crate::config::{AutoProc, AutoSys, Config, values};
use crate::files;
use crate::prepare::reboot_probe;
use crate::spawn::namespaces;
use crate::sys::probe::{self, Call};
use crate::sys::{bpf, caps, seccomp};
use nix::errno::Errno;
use nix::sys::utsname::uname;
use std::ffi::OsStr;
use std::path::Path;

/// Calls, and what happens without them.
const CALLS: [(Call, &str, &str); 4] = [
    (Call::Clone3, "clone3", "clone or unshare take its place"),
    (Call::PidfdOpen, "pidfd_open", "processes are waited for by their parent only"),
    (Call::CloseRange, "close_range", "descriptors are closed one by one"),
    (Call::Openat2, "openat2", "paths in the rootfs are walked step by step"),
];

/// Judges the kernel: that whose config is `file`, else the running one.
///
/// # Errors
/// Why `file` cannot be read.
pub fn judge(config: &Config<'_>, file: Option<&Path>, findings: &mut Findings) -> Result<(), String> {
    if let Some(file) = file {
        let kernel = options::read(file)?;
        findings.add(Verdict::Ok, "kernel", format_args!("its options are those of {}", file.display()));
        options::judge(&kernel, config, findings);
        return Ok(());
    }
    let name = uname().ok();
    let text = |text: Option<&OsStr>| text.map(|text| text.to_string_lossy().into_owned()).unwrap_or_default();
    let release = text(name.as_ref().map(|name| name.release()));
    let old = options::release(release.as_bytes()).is_some_and(|version| version < (3, 4));
    findings.add(
        Verdict::Warn.unless(!old),
        "kernel",
        format_args!("Linux {release} on {}", text(name.as_ref().map(|name| name.machine()))),
    );
    rights(findings);
    match options::find(&release) {
        Some((path, kernel)) => {
            options::judge(&kernel, config, findings);
            if let Some(last) = findings.0.last_mut() {
                last.detail.push_str(&format!(" ({path})"));
            }
        }
        None => findings.add(
            Verdict::Ok,
            "kernel options",
            format_args!("not known (no /proc/config.gz, no /boot/config-{release}), so the kernel is asked"),
        ),
    }
    own_namespaces(config, findings);
    calls(findings);
    filesystems(config, findings);
    let dropped = reboot_probe::must_drop_sys_boot();
    findings.add(
        Verdict::Warn.unless(!dropped),
        "reboot",
        match dropped {
            true => format_args!("reboot(2) in a container would restart this machine: CAP_SYS_BOOT will be dropped"),
            false => format_args!("a container's reboot(2) ends the container only"),
        },
    );
    let notifies = seccomp::has_notifications().is_ok();
    let needed = config.own.protects() || config.own.hears_reboots();
    findings.add(
        Verdict::Warn.unless(notifies || !needed),
        "seccomp notifications",
        match notifies {
            true => format_args!("the guest's mounts and reboots can be heard (monopod.protect, monopod.reboot.*)"),
            false => format_args!(
                "not here (Linux 5.7): masks follow the guest's own mounts a moment later, reboots are told by files"
            ),
        },
    );
    let filters = Path::new("/proc/sys/kernel/seccomp").exists();
    findings.add(
        Verdict::Warn.unless(filters),
        "seccomp",
        match filters {
            true => format_args!("the kernel has filters"),
            false => format_args!("no sign of filters in /proc/sys/kernel/seccomp; none is needed"),
        },
    );
    #[cfg(feature = "seccomp")]
    if let Err(error) = crate::seccomp::prepare(config) {
        findings.add(Verdict::Fail, "seccomp", format_args!("{error}"));
    }
    Ok(())
}

/// Whether we may do at all what a start does.
fn rights(findings: &mut Findings) {
    const SYS_ADMIN: u32 = 21;
    let admin = caps::get().is_ok_and(|sets| sets.effective >> SYS_ADMIN & 1 == 1);
    if !admin {
        findings.add(
            Verdict::Fail,
            "rights",
            format_args!("no CAP_SYS_ADMIN: namespaces and mounts need it; start as root"),
        );
    }
}

fn own_namespaces(config: &Config<'_>, findings: &mut Findings) {
    let wanted = namespaces::plan(config).map(|plan| plan.flags()).unwrap_or(0);
    let mut missing = 0;
    for name in ["mnt", "pid", "uts", "ipc", "net", "cgroup", "user"] {
        let flag = values::namespace(name.as_bytes()).unwrap_or(0);
        // /proc/self/ns itself is of 3.0, and mnt and pid in it of 3.8.
        if Path::new("/proc/self/ns").join(name).exists() {
            continue;
        }
        missing += 1;
        match (name, wanted & flag != 0) {
            ("cgroup", _) => findings.add(
                Verdict::Warn,
                "namespaces",
                format_args!("no cgroup namespace (Linux 4.6): the guest sees the host's paths of cgroups"),
            ),
            ("user", _) => findings.add(Verdict::Warn, "namespaces", format_args!("no user namespace; none is needed")),
            ("mnt" | "pid", true) => {
                findings.add(Verdict::Warn, "namespaces", format_args!("no /proc/self/ns/{name} (Linux 3.8)"));
            }
            (_, true) => findings.add(
                Verdict::Fail,
                "namespaces",
                format_args!("no {name} namespace: build the kernel with it, or write lxc.namespace.keep = {name}"),
            ),
            (_, false) => {
                findings.add(Verdict::Warn, "namespaces", format_args!("no {name} namespace; this config needs none"));
            }
        }
    }
    if missing == 0 {
        findings.add(Verdict::Ok, "namespaces", format_args!("mnt pid uts ipc net cgroup user"));
    }
}

fn calls(findings: &mut Findings) {
    let mut there = String::new();
    for (call, name, without) in CALLS {
        match probe::ask(call) {
            Ok(()) => {
                there.push_str(if there.is_empty() { "" } else { " " });
                there.push_str(name);
            }
            Err(Errno::EPERM) => {
                findings.add(Verdict::Warn, "system calls", format_args!("{name} is forbidden to us: {without}"));
            }
            Err(_) => findings.add(Verdict::Warn, "system calls", format_args!("no {name}: {without}")),
        }
    }
    if !there.is_empty() {
        findings.add(Verdict::Ok, "system calls", format_args!("{there}"));
    }
}

/// The types in /proc/filesystems.
pub fn has_filesystem(table: &[u8], name: &[u8]) -> bool {
    let mut lines = table.split(|byte| *byte == b'\n');
    lines.any(|line| line.rsplit(|byte| *byte == b'\t').next() == Some(name))
}

fn filesystems(config: &Config<'_>, findings: &mut Findings) {
    let table = std::fs::read("/proc/filesystems").unwrap_or_default();
    let own = config.rootfs.path.is_some() || config.name.is_empty();
    let wanted = [
        ("tmpfs", own && config.autodev, "lxc.autodev"),
        ("devpts", own && config.pty_max > 0, "lxc.pty.max"),
        ("proc", config.mount_auto.proc != AutoProc::No, "lxc.mount.auto"),
        ("sysfs", config.mount_auto.sys != AutoSys::No, "lxc.mount.auto"),
    ];
    for (name, _, key) in
        wanted.into_iter().filter(|(name, needed, _)| *needed && !has_filesystem(&table, name.as_bytes()))
    {
        findings.add(
            Verdict::Fail,
            "filesystems",
            format_args!("no {name}, which {key} mounts: build the kernel with it"),
        );
    }
    let device = files::names(c"/dev").unwrap_or_default().iter().any(|name| name.to_bytes().starts_with(b"binder"));
    match device || has_filesystem(&table, b"binder") {
        true => findings.add(Verdict::Ok, "binder", format_args!("the kernel has it, for Android")),
        false => findings.add(
            Verdict::Warn,
            "binder",
            format_args!(
                "neither /dev/binder nor binderfs: Android's services need one (CONFIG_ANDROID_BINDERFS, or its module)"
            ),
        ),
    }
}

/// Whether a device program can be loaded: one is, attached to nothing, and closed.
pub fn devices_on_v2(needed: bool, findings: &mut Findings) {
    let Some(program) = crate::cgroup::devices::compile(&[]) else { return };
    match bpf::load_device_program(&program) {
        Ok(_) => findings.add(Verdict::Ok, "devices on v2", format_args!("BPF device programs can be loaded")),
        Err(errno) => findings.add(
            if needed { Verdict::Fail } else { Verdict::Warn },
            "devices on v2",
            format_args!("no BPF device program can be loaded: {} (CONFIG_CGROUP_BPF, Linux 4.15)", errno.desc()),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_filesystem_whole_names_with_and_without_nodev() {
        let table = b"nodev\ttmpfs\n\text4\nnodev\tdevtmpfs\n";
        assert!(has_filesystem(table, b"tmpfs") && has_filesystem(table, b"ext4"));
        assert!(!has_filesystem(table, b"ext") && !has_filesystem(table, b"nodev"));
    }
}
