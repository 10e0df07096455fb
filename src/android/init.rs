//! Which stage of Android's init is executed, and with what: by the image's SDK.
//!
//! From Android 10 (SDK 29) on the first stage wants a machine of its own and ends the container where anything of it fails;
//! it has nothing to do in a container, which begins with the second. 8 and 9 (26 to 28) are told by the environment. The
//! second stage dies of a missing INIT_STARTED_AT (26 and later) or INIT_SELINUX_TOOK (26 to 29).

use super::image;
use crate::config::{AutoProc, AutoSys, Config};
use crate::logging::log;
use crate::rootfs::beneath::trim;
use crate::spawn::barrier::{Reading, Report, Step};
use crate::spawn::child;
use crate::sys::fds::open;
use crate::text::{Line, shown};
use core::ffi::CStr;
use core::fmt::{self, Write};
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag};
use nix::sys::stat::Mode;
use nix::unistd::{AccessFlags, faccessat};
use std::os::fd::AsFd;

/// init's environment beside the config's own. Each Android takes so many of them, from the front.
const ENVIRONMENT: [&CStr; 5] = [
    c"PATH=/sbin:/product/bin:/apex/com.android.runtime/bin:/apex/com.android.art/bin:/system_ext/bin:/system/bin:/system/xbin:/odm/bin:/vendor/bin:/vendor/xbin",
    c"INIT_STARTED_AT=0",
    c"INIT_SELINUX_TOOK=0",
    c"FIRST_STAGE_STARTED_AT=0",
    c"INIT_SECOND_STAGE=true",
];

/// What is executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The command line.
    pub argv: &'static [&'static CStr],
    /// How many words of what `environment` gave are left out at its end.
    pub without: usize,
}

/// The choice for an image; `has_init`: there is a /init, as there is but in images that are meant for its own partition.
pub fn choose(sdk: Option<u32>, has_init: bool) -> Choice {
    let (second_stage, words) = match sdk {
        None | Some(..=25) => (false, 1),
        Some(26..=28) => (false, 5),
        Some(29) => (true, 3),
        Some(30..) => (true, 4),
    };
    let argv: &[&CStr] = match (second_stage, has_init) {
        (false, true) => &[c"/init"],
        (false, false) => &[c"/system/bin/init"],
        (true, true) => &[c"/init", c"second_stage"],
        (true, false) => &[c"/system/bin/init", c"second_stage"],
    };
    Choice { argv, without: ENVIRONMENT.len() - words }
}

/// Whether init is ours to choose: nobody has written one, in the config or in the command line.
pub fn is_ours(config: &Config<'_>, command: &[&CStr]) -> bool {
    config.own.chooses_init() && config.init.cmd.is_empty() && command.is_empty() && config.rootfs.path.is_some()
}

/// The environment of a chosen init: the config's own, which counts where a name is there twice, then ours.
pub fn environment<'t>(config: &Config<'t>) -> Vec<&'t CStr> {
    config.environment.iter().chain(&config.environment_runtime).chain(&ENVIRONMENT).copied().collect()
}

/// Called by the child in its new root: looks at the image and reports what it has found. `ours`: the choice is ours.
pub fn look(config: &Config<'_>, ours: bool, tell: &dyn Fn(Report)) -> Option<Choice> {
    if !config.own.chooses_init() {
        return None;
    }
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
    let in_image = || image::sdk(open(c"/", flags, Mode::empty()).ok()?.as_fd());
    let sdk = config.own.sdk.or_else(in_image);
    let has_init = faccessat(AT_FDCWD, c"/init", AccessFlags::X_OK, AtFlags::empty()).is_ok();
    tell(Report {
        step: Step::AndroidInit,
        warning: true,
        reading: Reading::Errno,
        item: sdk.map_or(0, |sdk| sdk.min(u16::MAX.into()) as u16),
        value: has_init.into(),
    });
    ours.then(|| choose(sdk, has_init))
}

/// Logs what `look` has found: the SDK, the command line, and what would kill a first stage.
#[inline(never)] // its lines are for those who have an Android
pub fn say(report: Report, config: &Config<'_>, ours: bool, configured: &[&CStr]) {
    let sdk = Some(u32::from(report.item)).filter(|sdk| *sdk > 0);
    let choice = choose(sdk, report.value != 0);
    let argv = if ours { choice.argv } else { configured };
    let mut words = Line::<200>::new();
    for word in argv {
        let _ = write!(words, " {}", shown(word));
    }
    match sdk {
        Some(sdk) => log::info!("android: the image has SDK {sdk}, init is{words}"),
        None if ours => log::warn!(
            "android: no ro.build.version.sdk in /system/build.prop, init is{words}: monopod.android.sdk can say it"
        ),
        None => {}
    }
    if sdk.is_some_and(|sdk| sdk >= FIRST_FATAL) && is_first_stage(argv) {
        faults(config, has_selinux(), &mut |fault| {
            log::warn!(
                "android: the first stage of init is fatal here unless the image is made for containers: {fault}"
            );
        });
    }
}

/// From this SDK on the first stage checks every call.
const FIRST_FATAL: u32 = 29;

/// A plain `/init`.
fn is_first_stage(argv: &[&CStr]) -> bool {
    argv.first().is_some_and(|init| init.to_bytes().ends_with(b"/init")) && argv.len() == 1
}

fn has_selinux() -> bool {
    let mut text = [0u8; 4096];
    let length = open(c"/proc/filesystems", OFlag::O_RDONLY, Mode::empty())
        .and_then(|file| nix::unistd::read(&file, &mut text))
        .unwrap_or(0);
    crate::text::find(text.get(..length).unwrap_or(&[]), b"\tselinuxfs\n").is_some()
}

const SYS_ADMIN: u32 = 21;
const MKNOD: u32 = 27;

/// Calls `each` for everything in the config that a first stage does not survive.
fn faults(config: &Config<'_>, selinux: bool, each: &mut dyn FnMut(fmt::Arguments<'_>)) {
    if config.autodev {
        each(format_args!("it wants an empty /dev: lxc.autodev = 0"));
    }
    let auto = config.mount_auto;
    if auto.sys != AutoSys::No || auto.proc != AutoProc::No {
        let place = config.place(auto.at);
        each(format_args!("{place}: it mounts /proc and /sys itself: leave proc and sys out of lxc.mount.auto"));
    }
    for entry in &config.mounts {
        if matches!(trim(entry.target.to_bytes()), b"proc" | b"sys" | b"dev/pts") {
            let (place, target) = (config.place(entry.at), shown(entry.target));
            each(format_args!("{place}: it mounts {target} itself: leave the entry out"));
        }
    }
    if !selinux {
        each(format_args!("this kernel has no selinuxfs: lxc.init.cmd = /init second_stage"));
    }
    for (number, name) in [(SYS_ADMIN, "sys_admin"), (MKNOD, "mknod")] {
        if child::dropped(config, false) >> number & 1 == 1 {
            each(format_args!("{}: it needs CAP {name}", config.place(config.caps.at)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(sdk: u32) -> (Vec<&'static CStr>, Vec<&'static CStr>) {
        let config = Config::new(c"a", c"/");
        let choice = choose(Some(sdk), true);
        let mut environment = environment(&config);
        environment.truncate(environment.len() - choice.without);
        (choice.argv.to_vec(), environment)
    }

    #[test]
    fn choose_every_android_gets_its_stage() {
        for (sdk, argv, second) in [
            (19, &[c"/init"][..], false),
            (22, &[c"/init"], false),
            (25, &[c"/init"], false),
            (26, &[c"/init"], true),
            (28, &[c"/init"], true),
            (29, &[c"/init", c"second_stage"], false),
            (34, &[c"/init", c"second_stage"], false),
        ] {
            let (words, environment) = chosen(sdk);
            assert_eq!(words, argv, "{sdk}");
            assert_eq!(environment.contains(&c"INIT_SECOND_STAGE=true"), second, "{sdk}");
            assert_eq!(environment.contains(&c"INIT_STARTED_AT=0"), sdk >= 26, "{sdk}");
            assert_eq!(environment.contains(&c"INIT_SELINUX_TOOK=0"), sdk >= 26, "{sdk}");
            assert_eq!(environment.contains(&c"FIRST_STAGE_STARTED_AT=0"), sdk >= 26 && sdk != 29, "{sdk}");
            assert!(environment[0].to_bytes().starts_with(b"PATH="), "{sdk}");
        }
        assert_eq!(choose(Some(30), false).argv, [c"/system/bin/init", c"second_stage"]);
        assert_eq!(choose(None, true), choose(Some(22), true));
    }

    fn said(change: impl FnOnce(&mut Config<'static>), selinux: bool) -> Vec<String> {
        let mut config = Box::new(Config::new(c"a", c"/"));
        config.autodev = false;
        change(&mut config);
        let mut said = Vec::new();
        faults(&config, selinux, &mut |fault| said.push(fault.to_string()));
        said
    }

    #[test]
    fn faults_each_is_named_and_a_bare_layout_has_none() {
        assert!(said(|_| {}, true).is_empty());
        assert!(said(|config| config.autodev = true, true)[0].contains("lxc.autodev"));
        assert!(said(|config| config.mount_auto.sys = AutoSys::Rw, true)[0].contains("lxc.mount.auto"));
        assert!(said(|_| {}, false)[0].contains("selinuxfs"));
        let caps = said(|config| config.caps.drop = 1 << SYS_ADMIN | 1 << MKNOD, true);
        assert!(caps[0].contains("sys_admin") && caps[1].contains("mknod"), "{caps:?}");
    }

    #[test]
    fn first_stage_is_a_plain_init() {
        assert!(is_first_stage(&[c"/init"]));
        assert!(is_first_stage(&[c"/system/bin/init"]));
        assert!(!is_first_stage(&[c"/init", c"second_stage"]));
        assert!(!is_first_stage(&[c"/init", c"androidboot.hardware=redroid"]), "made for containers");
        assert!(!is_first_stage(&[c"/sbin/myinit"]));
    }
}
