//! Which init the guest has, and what stops it. Decided from a few files of /proc that are read once, when a stop is asked for.
//!
//! No signal stops every init: what halts one reboots another and is nothing to a third. A signal from outside reaches the
//! process 1 of a pid namespace only where that process has a handler for it, or has it blocked to read it from a signalfd.

use crate::cgroup::limit;
use crate::rootfs::beneath::Root;
use crate::sys::fds::{open, read_link};
use crate::text::PathText;
use core::fmt::Write;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

/// systemd's signals count from SIGRTMIN as the kernel and glibc have it, 34.
const RTMIN_3: i32 = 37;
const SYS_BOOT: u32 = 22;

/// A family of inits that are stopped in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// None of the others.
    Unknown,
    /// BusyBox's init.
    Busybox,
    /// systemd.
    Systemd,
    /// openrc-init.
    Openrc,
    /// runit: SIGPWR with Debian's patch, and else nothing that can be sent from outside.
    Runit,
    /// s6-svscan, and what is built on it.
    S6,
    /// dinit.
    Dinit,
    /// finit.
    Finit,
    /// Toybox's oneit.
    Oneit,
    /// OpenWrt's procd.
    Procd,
    /// tini, dumb-init, catatonit: every signal is passed on to the one program.
    Forwarder,
    /// Android's.
    Android,
}

impl Family {
    /// All of them, in order.
    const ALL: [Family; 12] = [
        Family::Unknown,
        Family::Busybox,
        Family::Systemd,
        Family::Openrc,
        Family::Runit,
        Family::S6,
        Family::Dinit,
        Family::Finit,
        Family::Oneit,
        Family::Procd,
        Family::Forwarder,
        Family::Android,
    ];
    /// By the name of the executed file.
    const NAMES: [(&'static [u8], Family); 14] = [
        (b"busybox", Family::Busybox),
        (b"systemd", Family::Systemd),
        (b"openrc-init", Family::Openrc),
        (b"runit", Family::Runit),
        (b"runit-init", Family::Runit),
        (b"s6-svscan", Family::S6),
        (b"dinit", Family::Dinit),
        (b"finit", Family::Finit),
        (b"toybox", Family::Oneit),
        (b"oneit", Family::Oneit),
        (b"procd", Family::Procd),
        (b"tini", Family::Forwarder),
        (b"dumb-init", Family::Forwarder),
        (b"catatonit", Family::Forwarder),
    ];

    /// For the log.
    pub fn name(self) -> &'static str {
        match self {
            Family::Unknown => "an init of no known kind",
            Family::Busybox => "busybox",
            Family::Systemd => "systemd",
            Family::Openrc => "openrc",
            Family::Runit => "runit",
            Family::S6 => "s6",
            Family::Dinit => "dinit",
            Family::Finit => "finit",
            Family::Oneit => "oneit",
            Family::Procd => "procd",
            Family::Forwarder => "a forwarder of signals",
            Family::Android => "Android",
        }
    }

    /// What halts it; None: nothing better than lxc.signal.halt.
    fn halt(self) -> Option<i32> {
        match self {
            Family::Unknown | Family::Runit | Family::Android => None,
            Family::Busybox | Family::Finit | Family::Oneit | Family::Procd => Some(libc::SIGUSR2),
            Family::Systemd => Some(RTMIN_3),
            Family::Openrc | Family::S6 | Family::Dinit | Family::Forwarder => Some(libc::SIGTERM),
        }
    }

    /// What reboots it; None: nothing better than lxc.signal.reboot. By SIGINT most do; some only if their table has a line
    /// for it.
    fn reboot(self) -> Option<i32> {
        match self {
            Family::Busybox | Family::Finit | Family::Oneit | Family::Procd => Some(libc::SIGTERM),
            _ => None,
        }
    }
}

/// What /proc says of a running init.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Init {
    /// Its family.
    pub family: Family,
    /// It may call reboot(2). Android's ends by exit if it may not, and hears SIGTERM only then.
    pub can_reboot: bool,
    /// Signals that it catches or blocks, bit n-1 = signal n. None: it cannot be said.
    pub heard: Option<u64>,
}

impl Init {
    /// What is known of a process that cannot be looked at.
    pub const UNKNOWN: Init = Init { family: Family::Unknown, can_reboot: true, heard: None };

    /// `executed` is the file that it is, `called` its name and its first words, `status` its /proc/PID/status, `place` where
    /// in the kernel it sleeps.
    fn of(executed: &[u8], called: [&[u8]; 3], status: &[u8], place: &[u8], android: bool) -> Init {
        let executed = executed.strip_suffix(b" (deleted)").unwrap_or(executed);
        let name = base(executed);
        // A script's name is the process's too; what runs is what the words say.
        let [process, first, second] = called.map(base);
        let applet = match first {
            b"busybox" | b"toybox" => second,
            b"" => process,
            other => other,
        };
        let known = Family::NAMES.iter().find(|(known, _)| *known == name).map(|(_, family)| *family);
        let mask = |key: &[u8]| field(status, key);
        let family = match known {
            // Each is a hundred programs in one.
            Some(Family::Busybox) if applet != b"init" && applet != b"linuxrc" => Family::Unknown,
            Some(Family::Oneit) if applet != b"oneit" => Family::Unknown,
            Some(family) => family,
            None if android || executed == b"/system/bin/init" => Family::Android,
            // As LXC: who blocks it waits for it.
            None if mask(b"SigBlk:").is_some_and(|mask| has(mask, RTMIN_3)) => Family::Systemd,
            None => Family::Unknown,
        };
        // While it waits for signals by sigwait(3), those are shown as not blocked; when it is frozen it may just do that.
        let places: [&[u8]; 3] = [b"sigtimedwait", b"freezer", b"refrigerator"];
        let waits = place.len() < 2 || places.iter().any(|name| crate::text::find(place, name).is_some());
        let heard = mask(b"SigBlk:").zip(mask(b"SigCgt:")).map(|(blocked, caught)| blocked | caught);
        Init {
            family,
            can_reboot: mask(b"CapEff:").is_none_or(|mask| mask >> SYS_BOOT & 1 == 1),
            heard: heard.filter(|_| !waits),
        }
    }

    /// As numbers, for `aside`.
    pub fn to_words(self) -> [u64; 2] {
        let flags = u64::from(self.can_reboot) | u64::from(self.heard.is_some()) << 1;
        [flags | (self.family as u64) << 2, self.heard.unwrap_or(0)]
    }

    /// The same again.
    pub fn of_words([flags, heard]: [u64; 2]) -> Init {
        let family = Family::ALL.get((flags >> 2) as usize).copied().unwrap_or(Family::Unknown);
        Init { family, can_reboot: flags & 1 == 1, heard: Some(heard).filter(|_| flags & 2 == 2) }
    }

    /// Whether `signal` does anything to it.
    pub fn hears(&self, signal: i32) -> bool {
        signal == libc::SIGKILL || signal == libc::SIGSTOP || self.heard.is_none_or(|heard| has(heard, signal))
    }

    /// What halts it, `configured` where nothing better is known. `sdk` is Android's version.
    pub fn halt_signal(&self, configured: i32, sdk: Option<u32>) -> i32 {
        match self.family {
            Family::Android if self.ends_by_term(sdk) => libc::SIGTERM,
            family => family.halt().filter(|signal| self.hears(*signal)).unwrap_or(configured),
        }
    }

    /// What reboots it, `configured` where nothing better is known.
    pub fn reboot_signal(&self, configured: i32, sdk: Option<u32>) -> i32 {
        match self.family {
            Family::Android if self.ends_by_term(sdk) => libc::SIGTERM,
            family => family.reboot().filter(|signal| self.hears(*signal)).unwrap_or(configured),
        }
    }

    /// Android 9 and later take SIGTERM from outside for "shut down" where they may not call reboot(2).
    pub fn ends_by_term(&self, sdk: Option<u32>) -> bool {
        self.family == Family::Android && !self.can_reboot && sdk.is_some_and(|sdk| sdk >= 28)
    }
}

fn base(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}

fn has(mask: u64, signal: i32) -> bool {
    mask >> (signal - 1) & 1 == 1
}

/// A mask of a /proc/PID/status.
fn field(status: &[u8], key: &[u8]) -> Option<u64> {
    let line = status.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(key))?;
    u64::from_str_radix(core::str::from_utf8(line).ok()?.trim_ascii(), 16).ok()
}

/// Looks at process `pid`, whose root is `root`. `android`: the config says that it is Android's.
#[inline(never)] // 5 KB that the loop need not carry
pub fn look(pid: i32, root: Option<&Root>, android: bool) -> Init {
    let path = |file: &str| {
        let mut line = crate::text::Line::<32>::new();
        let _ = write!(line, "/proc/{pid}/{file}");
        PathText::join(&[line.bytes()]).map_err(|_| Errno::ENAMETOOLONG)
    };
    let mut status = [0u8; 4096];
    let read = path("status")
        .and_then(|path| open(path.c(), OFlag::O_RDONLY, Mode::empty()))
        .and_then(|file| nix::unistd::read(&file, &mut status));
    let status = status.get(..read.unwrap_or(0)).unwrap_or(&[]);
    let small = |file| path(file).and_then(|path| limit::read(path.c())).unwrap_or_default();
    let (name, words, place) = (small("comm"), small("cmdline"), small("wchan"));
    let mut words = words.split(|byte| *byte == 0);
    let called = [&name[..], words.next().unwrap_or_default(), words.next().unwrap_or_default()];
    let mut executed = [0u8; 512];
    let executed = path("exe").and_then(|path| read_link(None, path.c(), &mut executed)).unwrap_or(&[]);
    let is_image = || root.is_some_and(|root| root.look_up(b"system/build.prop", OFlag::O_PATH).is_ok());
    Init::of(executed, called, status, &place, android || executed == b"/init" && is_image())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &[u8] = b"SigBlk:\tffffffffffffffff\nSigCgt:\t0000000000000000\nCapEff:\t000001ffffffffff\n";
    const NONE: &[u8] = b"SigBlk:\t0000000000000000\nSigCgt:\t0000000000004000\nCapEff:\t000001ffffbfffff\n";

    const CATCHES: &[u8] = b"SigBlk:\t0000000000000000\nSigCgt:\tffffffffffffffff\nCapEff:\t000001ffffffffff\n";

    fn halts(executed: &str, called: [&[u8]; 3]) -> (Family, i32, i32) {
        let init = Init::of(executed.as_bytes(), called, CATCHES, b"ep_poll", false);
        (init.family, init.halt_signal(libc::SIGPWR, None), init.reboot_signal(libc::SIGINT, None))
    }

    #[test]
    fn every_known_init_gets_what_it_understands() {
        use Family::*;
        let (pwr, usr2, term, int) = (libc::SIGPWR, libc::SIGUSR2, libc::SIGTERM, libc::SIGINT);
        let table: [(&str, [&[u8]; 3], _); 18] = [
            ("/bin/busybox", [b"init", b"", b""], (Busybox, usr2, term)),
            ("/bin/busybox", [b"linuxrc", b"", b""], (Busybox, usr2, term)),
            ("/bin/busybox", [b"busybox", b"/bin/busybox", b"init"], (Busybox, usr2, term)),
            ("/bin/busybox", [b"sh", b"", b""], (Unknown, pwr, int)),
            // A script: `#!/bin/busybox sh` in /init.
            ("/bin/busybox", [b"init", b"/bin/busybox", b"sh"], (Unknown, pwr, int)),
            ("/sbin/init", [b"init", b"", b""], (Unknown, pwr, int)),
            ("/usr/lib/systemd/systemd (deleted)", [b"systemd", b"", b""], (Systemd, 37, int)),
            ("/sbin/openrc-init", [b"openrc-init", b"", b""], (Openrc, term, int)),
            ("/sbin/runit", [b"runit", b"", b""], (Runit, pwr, int)),
            ("/bin/s6-svscan", [b"s6-svscan", b"", b""], (S6, term, int)),
            ("/sbin/dinit", [b"dinit", b"", b""], (Dinit, term, int)),
            ("/sbin/finit", [b"finit", b"", b""], (Finit, usr2, term)),
            ("/usr/bin/toybox", [b"oneit", b"", b""], (Oneit, usr2, term)),
            ("/usr/bin/toybox", [b"cat", b"", b""], (Unknown, pwr, int)),
            ("/sbin/procd", [b"procd", b"", b""], (Procd, usr2, term)),
            ("/usr/bin/tini", [b"tini", b"", b""], (Forwarder, term, int)),
            ("/system/bin/init", [b"init", b"", b""], (Android, pwr, int)),
            ("", [b"", b"", b""], (Unknown, pwr, int)),
        ];
        for (executed, called, expected) in table {
            assert_eq!(halts(executed, called), expected, "{executed} {called:?}");
        }
    }

    #[test]
    fn init_as_numbers_is_the_same_again() {
        for (family, (can_reboot, heard)) in
            Family::ALL.iter().zip([(true, None), (false, Some(u64::MAX))].iter().cycle())
        {
            let init = Init { family: *family, can_reboot: *can_reboot, heard: *heard };
            assert_eq!(Init::of_words(init.to_words()), init);
        }
    }

    #[test]
    fn signal_of_the_family_that_it_does_not_hear_is_not_sent() {
        let init = Init::of(b"/bin/busybox", [b"init", b"", b""], NONE, b"ep_poll", false);
        assert_eq!((init.family, init.halt_signal(libc::SIGPWR, None)), (Family::Busybox, libc::SIGPWR));
    }

    #[test]
    fn init_that_blocks_37_is_taken_for_one_that_waits_for_it() {
        let init = Init::of(b"/sbin/init", [b"init", b"", b""], ALL, b"ep_poll", false);
        assert_eq!(init.halt_signal(libc::SIGPWR, None), 37);
    }

    #[test]
    fn android_is_terminated_only_where_it_listens() {
        let able = Init::of(b"/init", [b"init", b"", b""], ALL, b"ep_poll", true);
        let unable = Init::of(b"/init", [b"init", b"", b""], NONE, b"ep_poll", true);
        for (init, sdk, term) in [
            (able, Some(30), false),
            (unable, Some(30), true),
            (unable, Some(28), true),
            (unable, Some(27), false),
            (unable, None, false),
        ] {
            assert_eq!(init.ends_by_term(sdk), term, "{init:?} {sdk:?}");
            assert_eq!(init.halt_signal(libc::SIGPWR, sdk) == libc::SIGTERM, term);
        }
    }

    #[test]
    fn signal_is_heard_if_it_is_caught_or_blocked() {
        let init = Init::of(b"/sbin/init", [b"init", b"", b""], NONE, b"ep_poll", false);
        assert!(init.hears(libc::SIGTERM) && init.hears(libc::SIGKILL) && !init.hears(libc::SIGPWR));
        assert!(Init::of(b"", [b"", b"", b""], b"", b"ep_poll", false).hears(libc::SIGPWR));
        for place in [&b"do_sigtimedwait"[..], b"0"] {
            assert!(Init::of(b"/sbin/init", [b"init", b"", b""], NONE, place, false).hears(libc::SIGPWR));
        }
    }
}
