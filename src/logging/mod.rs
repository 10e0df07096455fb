//! The log: one line per message, built on the stack, to standard error, a file, /dev/kmsg, syslog and Android's logd.
//!
//! A sink that cannot take a line (full disk, no reader, no daemon) loses that line and counts it; it never blocks and
//! never ends the supervisor. The child does not log: it has only its barrier.

use crate::config::LogLevel;
use crate::sys::fds::open;
use crate::text::{Line, Shown};
use core::ffi::CStr;
use core::fmt::Write;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::time::{ClockId, clock_gettime};
use std::os::fd::OwnedFd;
use std::sync::OnceLock;

pub mod log;
mod logd;
mod syslogd;
pub mod trace;

pub use syslogd::facility;

/// Longest log line in bytes; what is longer is cut. /dev/kmsg takes about as much in one record.
const LINE: usize = 960;

/// What the user wants to read, and where.
pub struct Settings<'a> {
    /// The program's name in front of each line.
    pub program: &'a CStr,
    /// The container's name.
    pub name: &'a CStr,
    /// Least level for file, kmsg and syslog, and for standard error when there is no other sink.
    pub level: Option<LogLevel>,
    /// Nothing on standard error.
    pub quiet: bool,
    /// Log file.
    pub file: Option<&'a CStr>,
    /// Syslog facility.
    pub syslog: Option<&'a CStr>,
    /// Log to the kernel's ring as well.
    pub kmsg: bool,
    /// Log to Android's log daemon as well.
    pub logd: bool,
}

struct Sinks {
    name: heapless::String<64>,
    stderr: Option<::log::Level>,
    others: ::log::LevelFilter,
    file: Option<OwnedFd>,
    kmsg: Option<OwnedFd>,
    syslog: Option<syslogd::Daemon>,
    logd: Option<logd::Logd>,
}

static SINKS: OnceLock<Sinks> = OnceLock::new();
static LOST: AtomicU32 = AtomicU32::new(0);
static STDERR_OPEN: AtomicBool = AtomicBool::new(true);
static QUIET: AtomicBool = AtomicBool::new(false);

/// Lines that some sink could not take.
pub fn lost() -> u32 {
    LOST.load(Ordering::Relaxed)
}

/// From here on nothing more goes to standard error (a daemon whose caller has its answer).
pub fn close_stderr() {
    STDERR_OPEN.store(false, Ordering::Relaxed);
}

/// Opens the sinks. Errno and path of a log file that cannot be opened.
pub fn open_sinks(settings: &Settings<'_>) -> Result<(), Errno> {
    let file = match settings.file {
        Some(path) if path != c"none" => Some(append(path, OFlag::O_CREAT)?),
        _ => None,
    };
    let kmsg = if settings.kmsg { append(c"/dev/kmsg", OFlag::empty()).ok() } else { None };
    let syslog = settings.syslog.and_then(|name| facility(name.to_bytes())).map(syslogd::Daemon::new);
    let logd = if settings.logd { logd::Logd::new() } else { None };
    let elsewhere = file.is_some() || kmsg.is_some() || syslog.is_some() || logd.is_some();
    let others = settings.level.map_or(::log::LevelFilter::Error, threshold);
    let stderr = match (settings.quiet, settings.level) {
        (true, _) => None,
        (false, Some(level)) if !elsewhere => threshold(level).to_level(),
        (false, _) => Some(::log::Level::Warn),
    };
    let mut name = heapless::String::new();
    let _ = write!(name, "{}", Shown(settings.name.to_bytes().get(..60).unwrap_or(settings.name.to_bytes())));
    let _ = SINKS.set(Sinks { name, stderr, others, file, kmsg, syslog, logd });
    let widest = stderr.map_or(::log::LevelFilter::Off, |level| level.to_level_filter());
    ::log::set_max_level(if elsewhere { widest.max(others) } else { widest });
    Ok(())
}

/// LXC's levels are nine, ours five: NOTICE counts as INFO, everything above ERROR as ERROR.
fn threshold(level: LogLevel) -> ::log::LevelFilter {
    match level {
        LogLevel::Trace => ::log::LevelFilter::Trace,
        LogLevel::Debug => ::log::LevelFilter::Debug,
        LogLevel::Info | LogLevel::Notice => ::log::LevelFilter::Info,
        LogLevel::Warn => ::log::LevelFilter::Warn,
        LogLevel::Error | LogLevel::Crit | LogLevel::Alert | LogLevel::Fatal => ::log::LevelFilter::Error,
    }
}

/// Opens for appending, never waiting: a FIFO without a reader answers ENXIO instead of blocking the start.
fn append(path: &CStr, create: OFlag) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_CLOEXEC | OFlag::O_NOCTTY | OFlag::O_NONBLOCK;
    open(path, flags | create, Mode::from_bits_truncate(0o600))
}

/// Writes a line to every sink that wants its level.
fn write(level: ::log::Level, place: &log::Place, text: core::fmt::Arguments<'_>) {
    let Some(sinks) = SINKS.get() else { return };
    if sinks.stderr.is_some_and(|least| level <= least) && STDERR_OPEN.load(Ordering::Relaxed) {
        let mut line = Line::<LINE>::new();
        let _ = writeln!(line, "monopod: {text}");
        put(&crate::sys::fds::standard(2), &line);
    }
    if level > sinks.others {
        return;
    }
    if let Some(log_file) = &sinks.file {
        let mut line = Line::<LINE>::new();
        let (module, file) = source(place.file);
        let (name, now) = (&sinks.name, Stamp::now());
        let _ = writeln!(line, "monopod {name} {now} {level:<8} {module} - {file}:{} - {text}", place.line);
        put(log_file, &line);
    }
    if let Some(kmsg) = &sinks.kmsg {
        let mut line = Line::<LINE>::new();
        let _ = writeln!(line, "<{}>monopod[{}]: {text}", severity(level), sinks.name);
        put(kmsg, &line);
    }
    if let Some(syslog) = &sinks.syslog {
        let mut line = Line::<LINE>::new();
        let pid = nix::unistd::getpid();
        let priority = syslog.priority(severity(level));
        let _ = write!(line, "<{priority}>monopod[{pid}]: {}: {text}", sinks.name);
        if !syslog.send(line.bytes()) {
            LOST.fetch_add(1, Ordering::Relaxed);
        }
    }
    if let Some(logd) = &sinks.logd {
        let mut line = Line::<LINE>::new();
        let _ = write!(line, "{}: {text}", sinks.name);
        if !logd.send(level, line.bytes()) {
            LOST.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The kernel's and syslog's number of a level.
fn severity(level: ::log::Level) -> u8 {
    match level {
        ::log::Level::Error => 3,
        ::log::Level::Warn => 4,
        ::log::Level::Info => 6,
        ::log::Level::Debug | ::log::Level::Trace => 7,
    }
}

/// The module and the name of a source file: `src/net/mod.rs` is the module `net`.
fn source(path: &str) -> (&str, &str) {
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    match file.strip_suffix(".rs") {
        Some(module) if module != "mod" => (module, file),
        _ => (folder.rsplit_once('/').map_or(folder, |(_, last)| last), file),
    }
}

fn put(fd: &impl std::os::fd::AsFd, line: &Line<LINE>) {
    let mut bytes: Line<{ LINE + 1 }> = Line::new();
    bytes.push(line.bytes());
    if line.truncated() {
        bytes.push(b"\n");
    }
    if nix::unistd::write(fd, bytes.bytes()).is_err() {
        LOST.fetch_add(1, Ordering::Relaxed);
    }
}

/// Nothing more on standard error, not even what ends the program (`-q`): the exit code has to do.
pub fn be_quiet() {
    QUIET.store(true, Ordering::Relaxed);
}

/// One line to standard error, whatever the sinks: for what ends the program.
pub fn complain(args: core::fmt::Arguments<'_>) {
    if QUIET.load(Ordering::Relaxed) {
        return;
    }
    let mut line = Line::<LINE>::new();
    let _ = writeln!(line, "monopod: {args}");
    put(&crate::sys::fds::standard(2), &line);
}

/// What ends the program: to standard error once, whatever its threshold, and to every other sink.
pub fn fatal(args: core::fmt::Arguments<'_>) {
    let logged_to_stderr = SINKS.get().is_some_and(|sinks| sinks.stderr.is_some());
    if !logged_to_stderr {
        complain(args);
    }
    log::error!("{args}");
}

/// UTC as LXC writes it: YYYYMMDDhhmmss.mmm.
struct Stamp {
    seconds: i64,
    milliseconds: i64,
}

impl Stamp {
    #[allow(clippy::unnecessary_cast)] // Both are 32 bits wide on 32-bit targets.
    fn now() -> Stamp {
        match clock_gettime(ClockId::CLOCK_REALTIME) {
            Ok(now) => Stamp { seconds: now.tv_sec() as i64, milliseconds: now.tv_nsec() as i64 / 1_000_000 },
            Err(_) => Stamp { seconds: 0, milliseconds: 0 },
        }
    }
}

impl core::fmt::Display for Stamp {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let (year, month, day) = civil(self.seconds.div_euclid(86_400));
        let second = self.seconds.rem_euclid(86_400);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}.{:03}", self.milliseconds)
    }
}

/// The Gregorian date of a day counted from 1970-01-01. Years begin in March here, so that the leap day is the last.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamp_known_moments_are_written_as_lxc_does() {
        assert_eq!(Stamp { seconds: 0, milliseconds: 7 }.to_string(), "19700101000000.007");
        assert_eq!(Stamp { seconds: 951_827_696, milliseconds: 0 }.to_string(), "20000229123456.000");
        assert_eq!(Stamp { seconds: 4_107_542_400, milliseconds: 999 }.to_string(), "21000301000000.999");
    }

    #[test]
    fn source_is_named_by_its_module() {
        assert_eq!(source("src/net/mod.rs"), ("net", "mod.rs"));
        assert_eq!(source("src/net/make.rs"), ("make", "make.rs"));
        assert_eq!(source("src/teardown.rs"), ("teardown", "teardown.rs"));
    }

    #[test]
    fn threshold_notice_is_info_and_fatal_is_error() {
        assert_eq!(threshold(LogLevel::Notice), ::log::LevelFilter::Info);
        assert_eq!(threshold(LogLevel::Fatal), ::log::LevelFilter::Error);
    }
}
