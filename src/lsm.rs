//! AppArmor profiles and SELinux contexts: what init becomes at its exec, and what attached programs become.
//!
//! Decided before anything is made: what the kernel cannot enforce is refused, unless the config only asks for what is so
//! anyway. A label is written to a file of /proc/self/attr that is opened before the rootfs is entered, and only if it proves to
//! be procfs': whatever else lies there would take the label and leave the guest without.

use crate::config::{At, Config};
use crate::error::{Error, Result};
use crate::spawn::barrier::{Report, Step};
use crate::sys::fds::open;
use crate::sys::process;
use crate::text::{Line, shown};
use core::ffi::CStr;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};
use nix::unistd::{AccessFlags, access, write};
use std::os::fd::{AsFd, OwnedFd};

/// `Report::item` of `Step::Label`: init's label, the keyring's.
pub const KEYRING: u16 = 1;

/// A security module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Module {
    /// AppArmor: profiles.
    AppArmor,
    /// SELinux: contexts.
    SeLinux,
}

/// What this kernel enforces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kernel {
    /// AppArmor is on.
    pub apparmor: bool,
    /// It knows of mounts, without which a profile confines no container.
    pub apparmor_mounts: bool,
    /// We are confined by a profile ourselves.
    pub confined: bool,
    /// SELinux is on.
    pub selinux: bool,
}

impl Kernel {
    /// Looks; for SELinux only where there are `contexts`.
    #[inline(never)] // its buffer is for those who name labels
    pub fn look(contexts: bool) -> Kernel {
        let there = |path: &CStr| access(path, AccessFlags::F_OK).is_ok();
        let begins =
            |path: &CStr, with: &[u8]| crate::cgroup::limit::read(path).is_ok_and(|text| text.starts_with(with));
        let apparmor = begins(c"/sys/module/apparmor/parameters/enabled", b"Y");
        Kernel {
            apparmor,
            apparmor_mounts: apparmor && there(c"/sys/kernel/security/apparmor/features/mount/mask"),
            confined: apparmor && !begins(c"/proc/self/attr/current", b"unconfined"),
            selinux: contexts && there(c"/sys/fs/selinux"),
        }
    }
}

/// What is written where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Labels<'t> {
    /// What init becomes at its exec.
    pub exec: Option<(Module, &'t CStr)>,
    /// What its session keyring gets.
    pub keyring: Option<&'t CStr>,
}

/// Reads the config, and looks at the kernel only if it must.
pub fn plan<'t>(config: &Config<'t>) -> Result<Labels<'t>> {
    let isolation = &config.isolation;
    let contexts = isolation.selinux.is_some() || isolation.selinux_keyring.is_some();
    if isolation.apparmor.is_none() && !contexts {
        return Ok(Labels::default());
    }
    decide(config, Kernel::look(contexts))
}

/// Decides. Pure.
fn decide<'t>(config: &Config<'t>, kernel: Kernel) -> Result<Labels<'t>> {
    let mut labels = Labels::default();
    let refuse = |key: &str, set: At<&CStr>, why: &str| {
        let place = config.place(set.at);
        Err(Error::new("lsm", format_args!("{place}: {key} = {}: {why}", shown(set.value))))
    };
    if let Some(profile) = config.isolation.apparmor {
        let refuse = |why| refuse("lxc.apparmor.profile", profile, why);
        let incomplete =
            || config.kept.iter().any(|kept| kept.key == c"lxc.apparmor.allow_incomplete" && kept.value == c"1");
        match profile.value.to_bytes() {
            b"unchanged" => {}
            b"unconfined" if !kernel.confined => {}
            b"generated" => return refuse("no profiles are made here: name one that is loaded, or write unconfined"),
            _ if !kernel.apparmor => return refuse("this kernel has no AppArmor, or it is off"),
            name if name != b"unconfined" && !kernel.apparmor_mounts && !incomplete() => {
                return refuse(
                    "this AppArmor does not know of mounts (is /sys/kernel/security mounted?), which only lxc.apparmor.allow_incomplete = 1 puts up with",
                );
            }
            _ => labels.exec = Some((Module::AppArmor, profile.value)),
        }
    }
    // What it is without a policy for containers.
    let context = config.isolation.selinux.filter(|context| context.value != c"unconfined_t");
    for (key, set) in
        [("lxc.selinux.context", context), ("lxc.selinux.context.keyring", config.isolation.selinux_keyring)]
    {
        match set {
            Some(set) if !kernel.selinux => return refuse(key, set, "this kernel has no SELinux, or it is off"),
            // The keyring has the label of init unless it is said.
            Some(set) => labels.keyring = Some(set.value),
            None => {}
        }
    }
    match (context, labels.exec) {
        (Some(set), Some(_)) => {
            refuse("lxc.selinux.context", set, "init has one label, and lxc.apparmor.profile names it")
        }
        (Some(set), None) => Ok(Labels { exec: Some((Module::SeLinux, set.value)), ..labels }),
        (None, _) => Ok(labels),
    }
}

/// A file of our own attributes, which is procfs'. ENODEV: what is there is something else.
fn attribute(names: &[&CStr]) -> nix::Result<OwnedFd> {
    let prove = |file: OwnedFd| match fstatfs(file.as_fd())?.filesystem_type() {
        PROC_SUPER_MAGIC => Ok(file),
        _ => Err(Errno::ENODEV),
    };
    let directory = prove(open(c"/proc/self/attr", OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty())?)?;
    let mut last = Errno::ENOENT;
    for name in names {
        let flags = OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        match openat(&directory, *name, flags, Mode::empty()) {
            Ok(file) => return prove(file),
            Err(errno) => last = errno,
        }
    }
    Err(last)
}

/// Opens the file for the label that the next exec takes. It is this process' alone, whatever becomes of its mounts.
pub fn open_exec(module: Module) -> nix::Result<OwnedFd> {
    match module {
        // A directory of its own since Linux 5.1, for kernels with several modules.
        Module::AppArmor => attribute(&[c"apparmor/exec", c"exec"]),
        Module::SeLinux => attribute(&[c"exec"]),
    }
}

/// Sets the label that the next exec takes; forks inherit it.
pub fn set_exec(file: &OwnedFd, module: Module, label: &[u8]) -> nix::Result<()> {
    let mut text = Line::<512>::new();
    if module == Module::AppArmor {
        text.push(b"exec ");
    }
    text.push(label);
    if text.truncated() {
        return Err(Errno::ENAMETOOLONG);
    }
    write(file, text.bytes()).map(drop)
}

/// A session keyring of init's own, or its keys would be those of whoever started the supervisor.
pub fn join_keyring(config: &Config<'_>, labels: &Labels<'_>) -> core::result::Result<(), Report> {
    if let Some(label) = labels.keyring {
        attribute(&[c"keycreate"])
            .and_then(|file| write(&file, label.to_bytes()))
            .map_err(|errno| Report::new(Step::Label, KEYRING, errno))?;
    }
    if config.isolation.keyring_session == Some(false) {
        return Ok(());
    }
    match process::join_session_keyring() {
        // A kernel without keyrings has none to be hidden; a policy around us that forbids the call forbids it to init.
        Ok(()) | Err(Errno::ENOSYS | Errno::EPERM | Errno::EACCES) => Ok(()),
        Err(errno) => Err(Report::new(Step::Keyring, 0, errno)),
    }
}

/// What `Step::Label` with `errno` means in a config.
pub fn explain<'t>(config: &Config<'t>, item: u16, errno: Errno) -> (Option<At<&'t CStr>>, &'static str, &'static str) {
    let isolation = &config.isolation;
    let selinux = isolation.selinux.filter(|context| context.value != c"unconfined_t");
    let (set, key) = match (item, selinux) {
        (KEYRING, context) => (isolation.selinux_keyring.or(context), "lxc.selinux.context.keyring"),
        (_, Some(context)) => (Some(context), "lxc.selinux.context"),
        _ => (isolation.apparmor, "lxc.apparmor.profile"),
    };
    let why = match errno {
        Errno::ENODEV => ": /proc is not the kernel's",
        Errno::ENOENT => ": is that profile loaded?",
        Errno::EINVAL => ": does the policy know it?",
        _ => "",
    };
    (set, key, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{DEFAULT, Kept};

    const NONE: Kernel = Kernel { apparmor: false, apparmor_mounts: false, confined: false, selinux: false };
    const APPARMOR: Kernel = Kernel { apparmor: true, apparmor_mounts: true, ..NONE };
    const SELINUX: Kernel = Kernel { selinux: true, ..NONE };

    fn with(kernel: Kernel, change: impl FnOnce(&mut Config<'static>)) -> Result<Labels<'static>> {
        let mut config = Box::new(Config::new(c"test", c"/var/lib/lxc"));
        change(&mut config);
        decide(&config, kernel)
    }

    fn at(value: &'static CStr) -> Option<At<&'static CStr>> {
        Some(At { value, at: DEFAULT })
    }

    #[test]
    fn apparmor_profile_needs_a_kernel_that_enforces_it() {
        let profile =
            |kernel, name| with(kernel, |config| config.isolation.apparmor = at(name)).map(|labels| labels.exec);
        for kernel in [NONE, APPARMOR, SELINUX] {
            for name in [c"unconfined", c"unchanged"] {
                assert_eq!(profile(kernel, name).unwrap(), None);
            }
            assert!(profile(kernel, c"generated").is_err());
        }
        assert!(profile(NONE, c"mine").is_err() && profile(SELINUX, c"mine").is_err());
        assert_eq!(profile(APPARMOR, c"mine").unwrap(), Some((Module::AppArmor, c"mine")));
        let confined = Kernel { confined: true, ..APPARMOR };
        assert_eq!(profile(confined, c"unconfined").unwrap(), Some((Module::AppArmor, c"unconfined")));
        assert_eq!(profile(confined, c"unchanged").unwrap(), None);
    }

    #[test]
    fn apparmor_that_is_incomplete_is_put_up_with_only_if_that_is_said() {
        let kernel = Kernel { apparmor_mounts: false, ..APPARMOR };
        for (allowed, works) in [(c"0", false), (c"1", true)] {
            let labels = with(kernel, |config| {
                config.isolation.apparmor = at(c"mine");
                let key = c"lxc.apparmor.allow_incomplete";
                config.kept.push(Kept { key, value: allowed, at: DEFAULT }).unwrap();
            });
            assert_eq!(labels.is_ok(), works);
        }
    }

    #[test]
    fn selinux_context_is_for_init_and_its_keyring_unless_that_has_its_own() {
        let labels = |kernel, context, keyring| {
            with(kernel, |config| (config.isolation.selinux, config.isolation.selinux_keyring) = (context, keyring))
        };
        let exec = Some((Module::SeLinux, c"a:b:c"));
        assert_eq!(labels(SELINUX, at(c"a:b:c"), None).unwrap(), Labels { exec, keyring: Some(c"a:b:c") });
        assert_eq!(labels(SELINUX, at(c"a:b:c"), at(c"k")).unwrap(), Labels { exec, keyring: Some(c"k") });
        assert_eq!(labels(SELINUX, None, at(c"k")).unwrap(), Labels { exec: None, keyring: Some(c"k") });
        assert_eq!(labels(NONE, at(c"unconfined_t"), None).unwrap(), Labels::default());
        for kernel in [NONE, APPARMOR] {
            assert!(labels(kernel, at(c"a:b:c"), None).is_err());
            assert!(labels(kernel, None, at(c"k")).is_err());
        }
        let both = Kernel { selinux: true, ..APPARMOR };
        assert!(with(both, |c| (c.isolation.selinux, c.isolation.apparmor) = (at(c"a:b:c"), at(c"mine"))).is_err());
    }
}
