//! The kernel's build options that containers need, and what each is for. Pure but for `find`.

use super::{Findings, Verdict};
use crate::config::isolation::Isolation;
use crate::config::{Config, NicType, RootfsKind};
use crate::spawn::namespaces;
use crate::sys::clone::{Fork, fork};
use crate::sys::fds::{self, open};
use crate::sys::process::{self, Exit};
use core::ffi::CStr;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use std::ffi::CString;
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// When an option is needed.
#[derive(Clone, Copy)]
enum Need {
    /// By every container.
    Always,
    /// By a container with a namespace of its own of this kind (CLONE_NEW*).
    Namespace(i32),
    /// By a container with ptys of its own.
    Ptys,
    /// By a container whose /dev is made.
    Autodev,
    /// By what is mounted from an image or an overlay.
    Storage(RootfsKind),
    /// By links of this type.
    Link(NicType),
    /// By what sets a container apart, if this says so.
    Isolation(fn(&Isolation<'_>) -> bool),
    /// By settings of this controller in one of the two vocabularies.
    Controller(bool, &'static str),
    /// By none; it is said what is lost.
    Nobody,
}

/// The table: the option's name, who needs it, what it is.
const TABLE: [(&str, Need, &str); 30] = [
    ("NAMESPACES", Need::Always, "namespaces"),
    ("PID_NS", Need::Always, "process ids of its own"),
    ("UTS_NS", Need::Namespace(libc::CLONE_NEWUTS), "a host name of its own"),
    ("IPC_NS", Need::Namespace(libc::CLONE_NEWIPC), "System V IPC of its own"),
    ("NET_NS", Need::Namespace(libc::CLONE_NEWNET), "a network of its own"),
    ("UNIX", Need::Always, "the command socket"),
    ("EPOLL", Need::Always, "the supervisor's loop"),
    ("SIGNALFD", Need::Always, "the supervisor's loop"),
    ("PROC_FS", Need::Always, "/proc"),
    ("TMPFS", Need::Autodev, "lxc.autodev"),
    ("BLK_DEV_LOOP", Need::Storage(RootfsKind::Loop), "images: loop:"),
    ("OVERLAY_FS", Need::Storage(RootfsKind::Overlay), "overlay:"),
    ("UNIX98_PTYS", Need::Ptys, "console and ttys"),
    ("CGROUPS", Need::Nobody, "limits, freezing, what info and top show"),
    ("CGROUP_FREEZER", Need::Controller(false, "freezer"), "freezing on v1"),
    ("CGROUP_DEVICE", Need::Controller(false, "devices"), "lxc.cgroup.devices"),
    ("CGROUP_BPF", Need::Controller(true, "devices"), "lxc.cgroup2.devices"),
    ("MEMCG", Need::Controller(false, "memory"), "limits of memory"),
    ("CPUSETS", Need::Controller(false, "cpuset"), "cpusets"),
    ("CGROUP_PIDS", Need::Controller(false, "pids"), "limits of processes"),
    ("CGROUP_SCHED", Need::Controller(false, "cpu"), "shares of CPU"),
    ("USER_NS", Need::Isolation(|own| !own.idmap.is_empty()), "ids of its own: lxc.idmap"),
    ("TIME_NS", Need::Isolation(|own| own.time_boot.is_some() || own.time_monotonic.is_some()), "lxc.time.offset"),
    ("SCHED_CORE", Need::Isolation(|own| own.sched_core == Some(true)), "lxc.sched.core"),
    ("SECCOMP_FILTER", Need::Isolation(|own| own.seccomp.is_some()), "filters of system calls: lxc.seccomp.profile"),
    ("VETH", Need::Link(NicType::Veth), "links of type veth"),
    ("MACVLAN", Need::Link(NicType::Macvlan), "links of type macvlan"),
    ("IPVLAN", Need::Link(NicType::Ipvlan), "links of type ipvlan"),
    ("VLAN_8021Q", Need::Link(NicType::Vlan), "links of type vlan"),
    ("ANDROID_BINDER_IPC", Need::Nobody, "binder, without which Android's services do not start"),
];

/// Multiple instances of devpts are an option until Linux 4.7.
const OWN_DEVPTS: &str = "DEVPTS_MULTIPLE_INSTANCES";

fn needed(need: Need, config: &Config<'_>) -> bool {
    match need {
        Need::Always => true,
        Need::Nobody => false,
        Need::Ptys => config.pty_max > 0,
        Need::Autodev => config.autodev && config.rootfs.path.is_some(),
        Need::Storage(kind) => {
            let images = kind == RootfsKind::Loop && config.mounts.iter().any(|entry| entry.image);
            config.rootfs.kind == kind || images
        }
        Need::Link(kind) => config.nics.iter().any(|nic| nic.kind == kind),
        Need::Isolation(asks) => asks(&config.isolation),
        Need::Namespace(flag) => namespaces::plan(config).is_ok_and(|plan| plan.flags() & flag as u64 != 0),
        Need::Controller(v2, name) => {
            let of = |file: &[u8]| file.split(|byte| *byte == b'.').next() == Some(name.as_bytes());
            config.cgroup.iter().any(|setting| setting.v2 == v2 && of(setting.file.to_bytes()))
        }
    }
}

/// Whether a kernel config switches an option on, built in or as a module.
pub fn is_set(kernel: &[u8], option: &str) -> bool {
    let value = kernel
        .split(|byte| *byte == b'\n')
        .find_map(|line| line.strip_prefix(b"CONFIG_")?.strip_prefix(option.as_bytes())?.strip_prefix(b"="));
    value.is_some_and(|value| value.starts_with(b"y") || value.starts_with(b"m"))
}

/// The version in a kernel config's head (`# Linux/x86 6.1.55 Kernel Configuration`): the first two numbers, of 2.6.x the
/// first and the third.
pub fn version(kernel: &[u8]) -> Option<(u64, u64)> {
    let head = kernel
        .split(|byte| *byte == b'\n')
        .find(|line| line.starts_with(b"# Linux") && crate::text::find(line, b"Kernel Configuration").is_some())?;
    head.split(|byte| *byte == b' ').find_map(release)
}

/// The numbers of a release such as `6.1.55-android`.
pub fn release(text: &[u8]) -> Option<(u64, u64)> {
    let mut numbers = text.split(|byte| !byte.is_ascii_digit()).map(crate::text::number);
    let (major, minor) = (numbers.next()??, numbers.next()??);
    Some((major, if major == 2 { numbers.next()?? } else { minor }))
}

/// Judges the options of a kernel whose config is known.
pub fn judge(kernel: &[u8], config: &Config<'_>, findings: &mut Findings) {
    let mut there = 0;
    let mut look = |option: &str, need, what: &str| {
        if is_set(kernel, option) {
            there += 1;
            return;
        }
        match needed(need, config) {
            true => findings.add(
                Verdict::Fail,
                "kernel option",
                format_args!("CONFIG_{option} is off: {what}; build the kernel with it"),
            ),
            false => findings.add(Verdict::Warn, "kernel option", format_args!("CONFIG_{option} is off: {what}")),
        }
    };
    for (option, need, what) in TABLE {
        look(option, need, what);
    }
    if version(kernel).is_some_and(|version| version < (4, 7)) {
        look(OWN_DEVPTS, Need::Ptys, "ptys that the host does not see");
    }
    findings.add(Verdict::Ok, "kernel options", format_args!("{there} of those that containers use are on"));
}

/// The running kernel's config, and where it was found.
pub fn find(release: &str) -> Option<(String, Vec<u8>)> {
    [String::from("/proc/config.gz"), format!("/boot/config-{release}")].into_iter().find_map(|path| {
        let text = read(Path::new(&path)).ok()?;
        Some((path, text))
    })
}

/// Reads a kernel config, by gzip, busybox or toybox if it is compressed.
///
/// # Errors
/// Why it cannot be read, for a person.
pub fn read(path: &Path) -> Result<Vec<u8>, String> {
    let bytes = std::fs::read(path).map_err(|error| match error.raw_os_error() {
        Some(errno) => nix::errno::Errno::from_raw(errno).desc().to_string(),
        None => error.to_string(),
    })?;
    if !bytes.starts_with(b"\x1f\x8b") {
        return Ok(bytes);
    }
    let unpackers: [&[&CStr]; 3] = [&[c"gzip", c"-dc"], &[c"busybox", c"zcat"], &[c"toybox", c"zcat"]];
    let unpacked = CString::new(path.as_os_str().as_bytes()).ok().and_then(|path| {
        unpackers
            .iter()
            .find_map(|words| output(&[words, &[path.as_c_str()][..]].concat()).filter(|text| !text.is_empty()))
    });
    unpacked.ok_or_else(|| String::from("it is compressed, and gzip cannot unpack it"))
}

/// What a command prints; None: it cannot be run, or fails.
fn output(argv: &[&CStr]) -> Option<Vec<u8>> {
    let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC).ok()?;
    let pid = match fork().ok()? {
        Fork::Child => {
            if let Ok(null) = open(c"/dev/null", OFlag::O_RDWR, Mode::empty()) {
                let _ = fds::dup_onto(null.as_fd(), 0);
                let _ = fds::dup_onto(null.as_fd(), 2);
            }
            if fds::dup_onto(write.as_fd(), 1).is_ok() {
                process::exec_in_path(process::PATH, argv, &[]);
            }
            process::exit_now(127)
        }
        Fork::Parent(pid) => pid,
    };
    drop(write);
    let mut text = Vec::new();
    let complete = File::from(read).read_to_end(&mut text);
    let ended = process::wait(pid);
    (complete.is_ok() && ended == Ok(Exit::Code(0))).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(kernel: &str, change: impl FnOnce(&mut Config<'static>)) -> Vec<(Verdict, String)> {
        let mut config = Box::new(Config::new(c"a", c"/b"));
        change(&mut config);
        let mut findings = Findings::default();
        judge(kernel.as_bytes(), &config, &mut findings);
        findings.0.into_iter().map(|finding| (finding.verdict, finding.detail)).collect()
    }

    fn verdict(found: &[(Verdict, String)], option: &str) -> Option<Verdict> {
        found.iter().find(|(_, detail)| detail.starts_with(&format!("CONFIG_{option} "))).map(|(verdict, _)| *verdict)
    }

    #[test]
    fn is_set_only_the_whole_name_counts() {
        let kernel =
            b"# Linux\nCONFIG_PID_NS=y\n# CONFIG_NET_NS is not set\nCONFIG_MEMCG_X=y\nCONFIG_VETH=m\nCONFIG_A=n";
        assert!(is_set(kernel, "PID_NS") && is_set(kernel, "VETH"));
        assert!(!is_set(kernel, "NET_NS") && !is_set(kernel, "MEMCG") && !is_set(kernel, "A"));
    }

    #[test]
    fn judge_what_the_config_does_without_is_a_warning() {
        let all = judged("", |_| {});
        assert_eq!(verdict(&all, "PID_NS"), Some(Verdict::Fail));
        assert_eq!(verdict(&all, "NET_NS"), Some(Verdict::Fail));
        assert_eq!(verdict(&all, "MEMCG"), Some(Verdict::Warn));
        let less = judged("CONFIG_PID_NS=y\n", |config| {
            config.namespaces.keep = Some(libc::CLONE_NEWNET as u64);
            config.pty_max = 0;
        });
        assert_eq!(verdict(&less, "PID_NS"), None);
        assert_eq!(verdict(&less, "NET_NS"), Some(Verdict::Warn));
        assert_eq!(verdict(&less, "UNIX98_PTYS"), Some(Verdict::Warn));
    }

    #[test]
    fn judge_devpts_instances_are_asked_for_before_4_7_only() {
        let of = |version: &str| judged(&format!("# Linux/arm {version} Kernel Configuration\n"), |_| {});
        assert_eq!(verdict(&of("3.10.108"), OWN_DEVPTS), Some(Verdict::Fail));
        assert_eq!(verdict(&of("4.7.0"), OWN_DEVPTS), None);
        assert_eq!(verdict(&of("6.1.0"), OWN_DEVPTS), None);
    }

    #[test]
    fn release_numbers_of_every_age() {
        assert_eq!(release(b"6.18.44-fc"), Some((6, 18)));
        assert_eq!(release(b"2.6.39"), Some((2, 39)));
        assert_eq!(release(b"Linux/x86"), None);
    }
}
