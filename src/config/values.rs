//! The small grammars of values: numbers, sizes, times, signals, capabilities, limits, namespaces, names.
//!
//! All are strict. A number has no sign, no `0x` and nothing behind it; a name is one of a table. What is wrong comes
//! back as a `Fault`, to which the caller adds the place and the key.

use super::LogLevel;
use super::lex::words;
use crate::text::{Full, Line, Shown, number};
use caps::Capability;
use core::fmt::{self, Write};

/// Why a value is refused. Small: it passes through every setter, and the long complaints are rare.
#[derive(Debug)]
pub enum Fault {
    /// What should have stood there.
    Expected(&'static str),
    /// Another complaint, about this value.
    Said(Box<Line<160>>),
    /// There is no such key; this one is the nearest.
    Unknown(Box<Line<96>>),
    /// A list is full: what it lists, how many it takes, the constant in `limits`.
    Full(&'static (&'static str, usize, &'static str)),
    /// The text arena is full.
    Text,
}

impl From<Full> for Fault {
    fn from(_: Full) -> Self {
        Fault::Text
    }
}

impl Fault {
    /// A complaint in its own words.
    pub fn said(text: fmt::Arguments<'_>) -> Self {
        let mut line = Box::new(Line::new());
        let _ = line.write_fmt(text);
        Fault::Said(line)
    }

    /// There is no such key, `nearest` is the nearest.
    pub fn unknown(nearest: fmt::Arguments<'_>) -> Self {
        let mut line = Box::new(Line::new());
        let _ = line.write_fmt(nearest);
        Fault::Unknown(line)
    }
}

/// A whole number.
pub fn whole(value: &[u8]) -> Result<u64, Fault> {
    number(value).ok_or(Fault::Expected("a whole number"))
}

/// A whole number of 32 bits.
pub fn whole32(value: &[u8]) -> Result<u32, Fault> {
    whole(value)?.try_into().map_err(|_| Fault::Expected("a whole number up to 4294967295"))
}

/// A whole number of 32 bits that may have a minus sign.
pub fn signed(value: &[u8]) -> Result<i32, Fault> {
    let digits = value.strip_prefix(b"-").unwrap_or(value);
    number(digits)
        .and_then(|_| core::str::from_utf8(value).ok()?.parse().ok())
        .ok_or(Fault::Expected("a whole number, - before it allowed"))
}

/// `0` or `1`.
pub fn flag(value: &[u8]) -> Result<bool, Fault> {
    match value {
        b"0" => Ok(false),
        b"1" => Ok(true),
        _ => Err(Fault::Expected("0 or 1")),
    }
}

/// One of some words.
pub fn word<T: Copy>(value: &[u8], words: &[(&'static str, T)]) -> Result<T, Fault> {
    let found = words.iter().find(|(word, _)| word.as_bytes() == value).map(|(_, meaning)| *meaning);
    found.ok_or_else(|| none_of(words.len(), &|index| words.get(index).map_or("", |(word, _)| word)))
}

/// A value that is none of so many words.
#[inline(never)]
fn none_of(count: usize, word: &dyn Fn(usize) -> &'static str) -> Fault {
    let mut line = Box::new(Line::new());
    let _ = line.write_str("expected");
    for index in 0..count {
        let gap = match index {
            0 => " ",
            _ if index + 1 == count => " or ",
            _ => ", ",
        };
        let _ = write!(line, "{gap}{}", word(index));
    }
    Fault::Said(line)
}

/// Splits a number from the letters behind it.
fn with_unit(value: &[u8]) -> Option<(u64, &[u8])> {
    let digits = value.iter().take_while(|b| b.is_ascii_digit()).count();
    let (digits, unit) = value.split_at_checked(digits)?;
    Some((number(digits)?, unit.trim_ascii_start()))
}

/// Bytes: a number with nothing, B, K, KB, M, MB, G or GB behind it, in either case; units are powers of 1024.
pub fn size(value: &[u8]) -> Result<u64, Fault> {
    let bytes = with_unit(value).and_then(|(count, unit)| {
        let factor: u64 = match unit.to_ascii_uppercase().as_slice() {
            b"" | b"B" => 1,
            b"K" | b"KB" => 1 << 10,
            b"M" | b"MB" => 1 << 20,
            b"G" | b"GB" => 1 << 30,
            _ => return None,
        };
        count.checked_mul(factor)
    });
    bytes.ok_or(Fault::Expected("a size such as 4096, 64KB, 4MB or 1GB"))
}

/// A size for console buffers and logs as LXC rounds it: `auto` is 128 KiB, at least a page of 4 KiB, up to a power of 2.
pub fn console_size(value: &[u8]) -> Result<u64, Fault> {
    let bytes = if value == b"auto" { 128 << 10 } else { size(value)? };
    bytes.max(4096).checked_next_power_of_two().ok_or(Fault::Expected("a size below 8 EiB"))
}

/// Milliseconds: a number with nothing or s (seconds), ms, m (minutes) or h (hours) behind it.
pub fn duration_ms(value: &[u8]) -> Result<u64, Fault> {
    let ms = with_unit(value).and_then(|(count, unit)| {
        let factor: u64 = match unit {
            b"ms" => 1,
            b"" | b"s" => 1_000,
            b"m" => 60_000,
            b"h" => 3_600_000,
            _ => return None,
        };
        count.checked_mul(factor)
    });
    ms.ok_or(Fault::Expected("a time such as 10, 1500ms, 10s, 5m or 1h"))
}

/// The names of the signals that have one number on every machine this project runs on.
const SIGNALS: [(&str, i32); 34] = [
    ("HUP", libc::SIGHUP),
    ("INT", libc::SIGINT),
    ("QUIT", libc::SIGQUIT),
    ("ILL", libc::SIGILL),
    ("TRAP", libc::SIGTRAP),
    ("ABRT", libc::SIGABRT),
    ("IOT", libc::SIGIOT),
    ("BUS", libc::SIGBUS),
    ("FPE", libc::SIGFPE),
    ("KILL", libc::SIGKILL),
    ("USR1", libc::SIGUSR1),
    ("SEGV", libc::SIGSEGV),
    ("USR2", libc::SIGUSR2),
    ("PIPE", libc::SIGPIPE),
    ("ALRM", libc::SIGALRM),
    ("TERM", libc::SIGTERM),
    ("STKFLT", libc::SIGSTKFLT),
    ("CHLD", libc::SIGCHLD),
    ("CLD", libc::SIGCHLD),
    ("CONT", libc::SIGCONT),
    ("STOP", libc::SIGSTOP),
    ("TSTP", libc::SIGTSTP),
    ("TTIN", libc::SIGTTIN),
    ("TTOU", libc::SIGTTOU),
    ("URG", libc::SIGURG),
    ("XCPU", libc::SIGXCPU),
    ("XFSZ", libc::SIGXFSZ),
    ("VTALRM", libc::SIGVTALRM),
    ("PROF", libc::SIGPROF),
    ("WINCH", libc::SIGWINCH),
    ("IO", libc::SIGIO),
    ("POLL", libc::SIGPOLL),
    ("PWR", libc::SIGPWR),
    ("SYS", libc::SIGSYS),
];
/// The kernel's first and last realtime signal. The C library moves its own SIGRTMIN; the guest counts from the kernel's.
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

/// A signal: its number, or its name with or without `SIG` in either case, `SIGRTMIN+n`, `SIGRTMAX-n`.
pub fn signal(value: &[u8]) -> Result<i32, Fault> {
    let upper = value.to_ascii_uppercase();
    let name = upper.strip_prefix(b"SIG").unwrap_or(&upper);
    let offset = |text: &[u8], sign: u8| match text {
        [] => Some(0),
        [first, digits @ ..] if *first == sign => number(digits).and_then(|n| i32::try_from(n).ok()),
        _ => None,
    };
    let found = if let Some(rest) = name.strip_prefix(b"RTMIN") {
        offset(rest, b'+').and_then(|n| RTMIN.checked_add(n))
    } else if let Some(rest) = name.strip_prefix(b"RTMAX") {
        offset(rest, b'-').and_then(|n| RTMAX.checked_sub(n)).filter(|signal| *signal >= RTMIN)
    } else if let Some(n) = number(value) {
        i32::try_from(n).ok()
    } else {
        SIGNALS.iter().find(|(known, _)| known.as_bytes() == name).map(|(_, signal)| *signal)
    };
    found
        .filter(|signal| (1..=RTMAX).contains(signal))
        .ok_or(Fault::Expected("a signal such as SIGTERM, SIGRTMIN+3 or a number from 1 to 64"))
}

/// All capabilities of the `caps` crate, by number.
const CAPABILITIES: [Capability; 41] = [
    Capability::CAP_CHOWN,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_DAC_READ_SEARCH,
    Capability::CAP_FOWNER,
    Capability::CAP_FSETID,
    Capability::CAP_KILL,
    Capability::CAP_SETGID,
    Capability::CAP_SETUID,
    Capability::CAP_SETPCAP,
    Capability::CAP_LINUX_IMMUTABLE,
    Capability::CAP_NET_BIND_SERVICE,
    Capability::CAP_NET_BROADCAST,
    Capability::CAP_NET_ADMIN,
    Capability::CAP_NET_RAW,
    Capability::CAP_IPC_LOCK,
    Capability::CAP_IPC_OWNER,
    Capability::CAP_SYS_MODULE,
    Capability::CAP_SYS_RAWIO,
    Capability::CAP_SYS_CHROOT,
    Capability::CAP_SYS_PTRACE,
    Capability::CAP_SYS_PACCT,
    Capability::CAP_SYS_ADMIN,
    Capability::CAP_SYS_BOOT,
    Capability::CAP_SYS_NICE,
    Capability::CAP_SYS_RESOURCE,
    Capability::CAP_SYS_TIME,
    Capability::CAP_SYS_TTY_CONFIG,
    Capability::CAP_MKNOD,
    Capability::CAP_LEASE,
    Capability::CAP_AUDIT_WRITE,
    Capability::CAP_AUDIT_CONTROL,
    Capability::CAP_SETFCAP,
    Capability::CAP_MAC_OVERRIDE,
    Capability::CAP_MAC_ADMIN,
    Capability::CAP_SYSLOG,
    Capability::CAP_WAKE_ALARM,
    Capability::CAP_BLOCK_SUSPEND,
    Capability::CAP_AUDIT_READ,
    Capability::CAP_PERFMON,
    Capability::CAP_BPF,
    Capability::CAP_CHECKPOINT_RESTORE,
];

/// The config's name of a capability: `sys_admin`.
fn capability_name(capability: Capability) -> Line<32> {
    let mut upper = Line::<32>::new();
    let _ = write!(upper, "{capability}");
    let mut name = Line::new();
    for byte in upper.bytes().strip_prefix(b"CAP_").unwrap_or(upper.bytes()) {
        name.push(&[byte.to_ascii_lowercase()]);
    }
    name
}

/// One capability as its bit: its name without `CAP_` (with it works too), or its number.
pub fn capability(word: &[u8]) -> Result<u64, Fault> {
    if let Some(bit) = number(word) {
        let bit = u32::try_from(bit).ok().and_then(|bit| 1u64.checked_shl(bit));
        return bit.ok_or(Fault::Expected("a capability's number up to 63"));
    }
    // Not by the crate's FromStr: it takes Unicode's tables of cases along, 12 KB.
    let lower = word.to_ascii_lowercase();
    let name = lower.strip_prefix(b"cap_").unwrap_or(&lower);
    if let Some(known) = CAPABILITIES.into_iter().find(|known| capability_name(*known).bytes() == name) {
        return Ok(known.bitmask());
    }
    let nearest = CAPABILITIES.into_iter().min_by_key(|known| distance(name, capability_name(*known).bytes()));
    let nearest = nearest.map(capability_name).unwrap_or_default();
    let word = word.get(..40).unwrap_or(word);
    Err(Fault::said(format_args!("unknown capability \"{}\", did you mean \"{nearest}\"?", Shown(word))))
}

/// Calls `each` with the name of every capability in `mask`; bits without a name come as numbers.
pub fn capabilities(mask: u64, each: &mut dyn FnMut(fmt::Arguments<'_>) -> fmt::Result) -> fmt::Result {
    for bit in (0..64usize).filter(|bit| mask >> bit & 1 == 1) {
        match CAPABILITIES.get(bit) {
            Some(capability) => each(format_args!("{}", capability_name(*capability)))?,
            None => each(format_args!("{bit}"))?,
        }
    }
    Ok(())
}

/// The kernel's resource limits, by RLIMIT_* number.
const RESOURCES: [&str; 16] = [
    "cpu",
    "fsize",
    "data",
    "stack",
    "core",
    "rss",
    "nproc",
    "nofile",
    "memlock",
    "as",
    "locks",
    "sigpending",
    "msgqueue",
    "nice",
    "rtprio",
    "rttime",
];

/// The RLIMIT_* number of a limit's name.
pub fn resource(name: &[u8]) -> Option<u32> {
    RESOURCES.iter().position(|known| known.as_bytes() == name).and_then(|index| u32::try_from(index).ok())
}

/// The name of a RLIMIT_* number.
pub fn resource_name(resource: u32) -> &'static str {
    usize::try_from(resource).ok().and_then(|index| RESOURCES.get(index)).copied().unwrap_or("")
}

/// The name of a limit that is nearest to one that is none.
pub fn nearest_resource(name: &[u8]) -> &'static str {
    RESOURCES.into_iter().min_by_key(|known| distance(known.as_bytes(), name)).unwrap_or("")
}

/// A limit as the config writes it.
pub struct Limit(pub u64);

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == u64::MAX { f.write_str("unlimited") } else { write!(f, "{}", self.0) }
    }
}

/// `LIMIT` or `SOFT:HARD`, each a number or `unlimited` (`-1`); u64::MAX is unlimited.
pub fn limits(value: &[u8]) -> Result<(u64, u64), Fault> {
    const WANTED: Fault = Fault::Expected("LIMIT or SOFT:HARD, each a whole number or unlimited");
    let one = |text: &[u8]| match text.trim_ascii() {
        b"unlimited" | b"-1" => Some(u64::MAX),
        text => number(text),
    };
    let (soft, hard) = match memchr::memchr(b':', value).and_then(|colon| value.split_at_checked(colon)) {
        Some((soft, hard)) => (one(soft), one(hard.strip_prefix(b":").unwrap_or(hard))),
        None => (one(value), one(value)),
    };
    let (Some(soft), Some(hard)) = (soft, hard) else { return Err(WANTED) };
    if soft > hard { Err(Fault::Expected("a soft limit that is not above the hard one")) } else { Ok((soft, hard)) }
}

/// The namespaces in the order in which LXC lists them.
const NAMESPACES: [(&str, i32); 8] = [
    ("user", libc::CLONE_NEWUSER),
    ("mnt", libc::CLONE_NEWNS),
    ("pid", libc::CLONE_NEWPID),
    ("uts", libc::CLONE_NEWUTS),
    ("ipc", libc::CLONE_NEWIPC),
    ("net", libc::CLONE_NEWNET),
    ("cgroup", libc::CLONE_NEWCGROUP),
    ("time", CLONE_NEWTIME),
];
/// The kernel's CLONE_NEWTIME, which the libc crate lacks for musl.
const CLONE_NEWTIME: i32 = 0x80;

/// The CLONE_NEW* bit of a namespace's name.
pub fn namespace(name: &[u8]) -> Option<u64> {
    let bit = NAMESPACES.iter().find(|(known, _)| known.as_bytes() == name)?.1;
    u64::try_from(bit).ok()
}

/// The CLONE_NEW* bits of a list of namespaces.
pub fn namespaces(value: &[u8]) -> Result<u64, Fault> {
    words(value).try_fold(0, |mask, word| {
        let bit = namespace(word).ok_or(Fault::Expected("namespaces out of mnt pid uts ipc user net cgroup time"))?;
        Ok(mask | bit)
    })
}

/// The names of the namespaces in `mask`.
pub fn namespace_names(mask: u64) -> impl Iterator<Item = &'static str> {
    NAMESPACES.into_iter().filter(move |(_, bit)| u64::try_from(*bit).is_ok_and(|bit| mask & bit != 0)).map(|(n, _)| n)
}

/// `lxc.arch`: PER_LINUX32 for a machine of 32 bits, PER_LINUX for one of 64. Only the word size counts: real Android
/// configs say `armhf` on hosts of any kind.
pub fn personality(arch: &[u8]) -> Result<u64, Fault> {
    const PER_LINUX: u64 = 0;
    const PER_LINUX32: u64 = 8;
    const NARROW: &[u8] =
        b"x86 i386 i486 i586 i686 athlon linux32 arm armel armhf armv5l armv6l armv7l armv7a armv7hl \
        armv8l mips mipsel powerpc ppc sparc s390 riscv32";
    const WIDE: &[u8] = b"x86_64 amd64 linux64 aarch64 arm64 armv8 mips64 mips64el powerpc64 powerpc64le powerpc64el \
        ppc64 ppc64le ppc64el s390x riscv64 sparc64 loongarch64";
    if words(NARROW).any(|known| known == arch) {
        Ok(PER_LINUX32)
    } else if words(WIDE).any(|known| known == arch) {
        Ok(PER_LINUX)
    } else if arch == b"LXCARCH" {
        Err(Fault::said(format_args!(
            "a template's placeholder, expected the guest's machine such as arm64, armhf or x86_64"
        )))
    } else {
        Err(Fault::Expected("a machine such as arm64, armhf, x86_64 or i686"))
    }
}

/// LXC's names of the log levels, by number.
const LEVELS: [(&str, LogLevel); 9] = [
    ("TRACE", LogLevel::Trace),
    ("DEBUG", LogLevel::Debug),
    ("INFO", LogLevel::Info),
    ("NOTICE", LogLevel::Notice),
    ("WARN", LogLevel::Warn),
    ("ERROR", LogLevel::Error),
    ("CRIT", LogLevel::Crit),
    ("ALERT", LogLevel::Alert),
    ("FATAL", LogLevel::Fatal),
];

/// A log level by name, in either case, or by LXC's number (0 is TRACE).
pub fn log_level(value: &[u8]) -> Result<LogLevel, Fault> {
    let by_number = number(value).and_then(|n| usize::try_from(n).ok()).and_then(|n| LEVELS.get(n));
    by_number
        .or_else(|| LEVELS.iter().find(|(name, _)| name.as_bytes().eq_ignore_ascii_case(value)))
        .map(|(_, level)| *level)
        .ok_or(Fault::Expected("TRACE DEBUG INFO NOTICE WARN ERROR CRIT ALERT FATAL or 0 to 8"))
}

/// LXC's name of a log level.
pub fn level_name(level: LogLevel) -> &'static str {
    LEVELS.iter().find(|(_, known)| *known == level).map_or("", |(name, _)| name)
}

/// Checks the name of a syslog facility.
pub fn facility(value: &[u8]) -> Result<(), Fault> {
    const NAMES: [&str; 10] =
        ["daemon", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7", "user"];
    if NAMES.iter().any(|name| name.as_bytes() == value) {
        Ok(())
    } else {
        Err(Fault::Expected("a facility: daemon, user or local0 to local7"))
    }
}

/// How many bytes must be put in, taken out or changed to make one text of the other. Texts over 63 bytes count as far
/// from everything: nobody mistyped those.
pub fn distance(a: &[u8], b: &[u8]) -> usize {
    const MOST: usize = 64;
    if a.len() >= MOST || b.len() >= MOST {
        return usize::MAX;
    }
    let mut row: heapless::Vec<usize, MOST> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let (mut diagonal, mut left) = (i, i + 1);
        for (j, to) in b.iter().enumerate() {
            let above = row.get(j + 1).copied().unwrap_or(MOST);
            let cost = (diagonal + usize::from(from != to)).min(above + 1).min(left + 1);
            if let Some(cell) = row.get_mut(j) {
                *cell = left;
            }
            (diagonal, left) = (above, cost);
        }
        if let Some(cell) = row.last_mut() {
            *cell = left;
        }
    }
    row.last().copied().unwrap_or(MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_sign_prefix_or_overflow_is_refused() {
        assert_eq!(whole32(b"4294967295").unwrap(), u32::MAX);
        for bad in [&b""[..], b"-1", b"0x10", b"4x", b"4294967296", b" 4"] {
            assert!(whole32(bad).is_err());
        }
        assert_eq!(signed(b"-3").unwrap(), -3);
        assert!(signed(b"--3").is_err() && signed(b"-").is_err() && signed(b"2147483648").is_err());
    }

    #[test]
    fn size_units_are_powers_of_1024() {
        assert_eq!(size(b"4M").unwrap(), 4 << 20);
        assert_eq!(size(b"5 kB").unwrap(), 5 << 10);
        assert_eq!(size(b"1GB").unwrap(), 1 << 30);
        assert_eq!(console_size(b"5000").unwrap(), 8192);
        assert_eq!(console_size(b"auto").unwrap(), 131_072);
        for bad in [&b"MB"[..], b"4T", b"-4", b"99999999999GB", b"4 M B"] {
            assert!(size(bad).is_err());
        }
    }

    #[test]
    fn duration_plain_number_is_seconds() {
        assert_eq!(duration_ms(b"10").unwrap(), 10_000);
        assert_eq!(duration_ms(b"1500ms").unwrap(), 1_500);
        assert_eq!(duration_ms(b"2h").unwrap(), 7_200_000);
        assert!(duration_ms(b"1d").is_err() && duration_ms(b"18446744073709551615h").is_err());
    }

    #[test]
    fn signal_names_and_numbers_agree_with_the_kernel() {
        for text in [&b"SIGPWR"[..], b"pwr", b"30", b"sigpwr"] {
            assert_eq!(signal(text).unwrap(), 30);
        }
        assert_eq!(signal(b"SIGRTMIN+3").unwrap(), 37);
        assert_eq!(signal(b"SIGRTMAX-2").unwrap(), 62);
        for bad in [&b"0"[..], b"65", b"SIGRTMIN+31", b"SIGRTMAX-31", b"SIGRTMIN-1", b"SIGFOO", b"", b"-1"] {
            assert!(signal(bad).is_err());
        }
    }

    #[test]
    fn capability_table_is_in_order_of_numbers() {
        for (index, capability) in CAPABILITIES.into_iter().enumerate() {
            assert_eq!(usize::from(capability.index()), index);
            assert_eq!(super::capability(capability_name(capability).bytes()).unwrap(), capability.bitmask());
        }
    }

    #[test]
    fn capability_unknown_names_the_nearest() {
        assert_eq!(capability(b"CAP_sys_admin").unwrap(), 1 << 21);
        assert_eq!(capability(b"63").unwrap(), 1 << 63);
        let Err(Fault::Said(text)) = capability(b"mac_admni") else { panic!("expected a complaint") };
        assert_eq!(text.text(), "unknown capability \"mac_admni\", did you mean \"mac_admin\"?");
        assert!(capability(b"64").is_err());
    }

    #[test]
    fn limits_soft_above_hard_is_refused() {
        assert_eq!(limits(b"10").unwrap(), (10, 10));
        assert_eq!(limits(b"10 : unlimited").unwrap(), (10, u64::MAX));
        for bad in [&b"10:5"[..], b"", b":", b"10:", b"a:1", b"1:2:3"] {
            assert!(limits(bad).is_err());
        }
        assert_eq!(resource(b"nofile"), Some(7));
        assert_eq!(resource_name(7), "nofile");
    }

    #[test]
    fn namespaces_unknown_name_is_refused() {
        assert_eq!(namespaces(b"net user").unwrap(), 0x5000_0000);
        assert_eq!(namespace_names(0x5000_0000).collect::<std::vec::Vec<_>>(), ["user", "net"]);
        assert!(namespaces(b"net network").is_err());
    }

    #[test]
    fn distance_counts_single_changes() {
        assert_eq!(distance(b"abc", b"abc"), 0);
        assert_eq!(distance(b"kitten", b"sitting"), 3);
        assert_eq!(distance(b"", b"ab"), 2);
        assert_eq!(distance(b"ab", b""), 2);
    }
}
