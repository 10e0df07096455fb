//! What the machine's init is told: `monopod.init.*`, in /etc/monopod/init.conf and on the kernel command line. Pure.
//!
//! The file comes first and the command line's words win, so that a boot loader's prompt can mend or rescue a machine.
//! Every other `lxc.*` or `monopod.*` word of the command line is no setting of ours: it goes to each container's start as
//! `-s KEY=VALUE`.

use super::policy::{Action, Fall, Policy};
use crate::config::values::{self, Fault};
use crate::config::{DEFAULT, LogLevel, MountEntry, lex, mounts};
use crate::error::{Error, Result};
use crate::limits;
use crate::text::{Arena, Full, Line, Shown, number};
use core::ffi::CStr;
use core::fmt::Write;

/// Where the settings are.
pub const FILE: &str = "/etc/monopod/init.conf";
/// What a place on the kernel command line is called in an error.
const WORDS: &str = "kernel command line";
/// In front of every key.
const PREFIX: &[u8] = b"monopod.init.";

/// Which cgroup hierarchies are mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// What is mounted stays; otherwise what suits the kernel.
    Auto,
    /// Each controller at /sys/fs/cgroup/CONTROLLER.
    V1,
    /// The unified one at /sys/fs/cgroup.
    V2,
    /// v1, and v2 at /sys/fs/cgroup/unified.
    Hybrid,
    /// Nothing.
    None,
}

/// When the hardware watchdog is armed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchdogMode {
    /// Never.
    Off,
    /// Until every container is ready.
    Boot,
    /// Until the machine goes down.
    Always,
}

/// A filesystem to mount before the containers start.
#[derive(Clone, Copy, Debug)]
pub struct Mount<'t> {
    /// As a line of fstab; `nofail` and `optional` are the same.
    pub entry: MountEntry<'t>,
    /// How long a missing device is waited for.
    pub wait_ms: u64,
}

type Words<'t> = heapless::Vec<&'t CStr, { limits::ARGS }>;

/// Everything that can be set, with its defaults.
pub struct Settings<'t> {
    /// `containers`; none named: all that lxcpath has.
    pub containers: heapless::Vec<&'t CStr, { limits::PODS }>,
    /// `lxcpath`; None: where the tools look, too.
    pub lxcpath: Option<&'t CStr>,
    /// `console`: whose console is the machine's. None: the first container's.
    pub console: Option<&'t CStr>,
    /// `cgroup`
    pub cgroup: Layout,
    /// `modules`: a file and its parameters each.
    pub modules: heapless::Vec<&'t CStr, { limits::MODULES }>,
    /// `mount`
    pub mounts: Vec<Mount<'t>>,
    /// `rc`
    pub rc: Words<'t>,
    /// `on.END`
    pub policy: Policy<'t>,
    /// `on.NAME.END`, in order.
    pub exceptions: heapless::Vec<(&'t CStr, Which, Action<'t>), { limits::PODS }>,
    /// `ctrlaltdel`; None: nothing.
    pub ctrlaltdel: Option<Fall<'t>>,
    /// `shell`; None: the first that exists. `none`: none.
    pub shell: Option<&'t CStr>,
    /// `stop`, in milliseconds.
    pub stop_ms: u64,
    /// `watchdog`
    pub watchdog: WatchdogMode,
    /// `watchdog.device`
    pub watchdog_device: &'t CStr,
    /// `watchdog.timeout`, in seconds.
    pub watchdog_seconds: u32,
    /// `loglevel`
    pub loglevel: Option<LogLevel>,
    /// `KEY=VALUE` for every container.
    pub defines: heapless::Vec<&'t CStr, { limits::DEFINES }>,
}

/// An end that has a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// It halted or powered off.
    Halt,
    /// It asked for a reboot.
    Reboot,
    /// It failed.
    Failure,
}

impl Default for Settings<'_> {
    fn default() -> Self {
        Settings {
            containers: heapless::Vec::new(),
            lxcpath: None,
            console: None,
            cgroup: Layout::Auto,
            modules: heapless::Vec::new(),
            mounts: Vec::new(),
            rc: Words::new(),
            policy: Policy::default(),
            exceptions: heapless::Vec::new(),
            ctrlaltdel: Some(Fall::Reboot(None)),
            shell: None,
            stop_ms: 30_000,
            watchdog: WatchdogMode::Off,
            watchdog_device: c"/dev/watchdog",
            watchdog_seconds: 30,
            loglevel: None,
            defines: heapless::Vec::new(),
        }
    }
}

impl<'t> Settings<'t> {
    /// Takes the file's text. What was read before a fault stays.
    pub fn take_file(&mut self, text: &[u8], arena: &Arena<'t>) -> Result<()> {
        for (line_number, line) in lex::lines(text) {
            let place = format_args!("{FILE}:{line_number}");
            let line = lex::sound(line).map_err(|broken| Error::new("config", format_args!("{place}: {broken}")))?;
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let pair = lex::pair(line).map_err(|broken| Error::new("config", format_args!("{place}: {broken}")))?;
            self.take(pair.key, pair.value, arena).map_err(|fault| refused(place, pair.key, pair.value, &fault))?;
        }
        Ok(())
    }

    /// Takes the kernel command line: words between blanks, a quoted part may hold some (Documentation/admin-guide/
    /// kernel-parameters.rst). Words of others are passed over.
    pub fn take_command_line(&mut self, text: &[u8], arena: &Arena<'t>) -> Result<()> {
        let place = format_args!("{WORDS}");
        // It is a C string, whatever the file makes of it.
        let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
        for word in kernel_words(text) {
            let Ok(pair) = lex::pair(word.bytes()) else { continue };
            if pair.key.starts_with(PREFIX) {
                self.take(pair.key, pair.value, arena).map_err(|fault| refused(place, pair.key, pair.value, &fault))?;
            } else if pair.key.starts_with(b"lxc.") || pair.key.starts_with(b"monopod.") {
                let define = arena.join(&[pair.key, b"=", pair.value]);
                let fault = match define.map(|define| self.defines.push(define)) {
                    Ok(Ok(())) => continue,
                    Ok(Err(_)) => Fault::Full(&("words for containers", limits::DEFINES, "DEFINES")),
                    Err(Full) => Fault::Text,
                };
                return Err(refused(place, pair.key, pair.value, &fault));
            }
        }
        Ok(())
    }

    /// What follows the ends of container `name`.
    pub fn policy_of(&self, name: &CStr) -> Policy<'t> {
        let mut policy = self.policy;
        for (_, which, action) in self.exceptions.iter().filter(|(whose, ..)| *whose == name) {
            *policy.of(*which) = *action;
        }
        policy
    }

    fn take(&mut self, key: &[u8], value: &[u8], arena: &Arena<'t>) -> Result<(), Fault> {
        let Some(name) = key.strip_prefix(PREFIX) else { return Err(Fault::Expected("monopod.init.* keys only")) };
        let copy = |text: &[u8]| arena.copy(text).map_err(Fault::from);
        match name {
            b"containers" => {
                self.containers.clear();
                for word in value.split(|b| *b == b',' || b.is_ascii_whitespace()).filter(|word| !word.is_empty()) {
                    let full = Fault::Full(&("containers", limits::PODS, "PODS"));
                    self.containers.push(copy(container(word)?)?).map_err(|_| full)?;
                }
            }
            b"lxcpath" => self.lxcpath = Some(copy(absolute(value)?)?),
            b"console" => self.console = Some(copy(value)?),
            b"cgroup" => {
                self.cgroup = match value {
                    b"auto" => Layout::Auto,
                    b"v1" => Layout::V1,
                    b"v2" => Layout::V2,
                    b"hybrid" => Layout::Hybrid,
                    b"none" => Layout::None,
                    _ => return Err(Fault::Expected("auto, v1, v2, hybrid or none")),
                }
            }
            b"modules" => {
                let full = Fault::Full(&("modules", limits::MODULES, "MODULES"));
                self.modules.push(copy(absolute(value)?)?).map_err(|_| full)?;
            }
            b"mount" => {
                let full = Fault::Full(&("mounts", limits::MOUNTS, "MOUNTS"));
                if self.mounts.len() == limits::MOUNTS {
                    return Err(full);
                }
                self.mounts.push(mount(arena, value)?);
            }
            b"rc" => {
                self.rc.clear();
                absolute(value)?;
                for word in lex::words(value) {
                    let full = Fault::Full(&("words of a command", limits::ARGS, "ARGS"));
                    self.rc.push(copy(word)?).map_err(|_| full)?;
                }
            }
            b"ctrlaltdel" => self.ctrlaltdel = if value == b"none" { None } else { Some(fall(arena, value)?) },
            b"shell" => self.shell = Some(if value == b"none" { c"none" } else { copy(absolute(value)?)? }),
            b"stop" => self.stop_ms = values::duration_ms(value)?,
            b"watchdog" => {
                self.watchdog = match value {
                    b"off" => WatchdogMode::Off,
                    b"boot" => WatchdogMode::Boot,
                    b"always" => WatchdogMode::Always,
                    _ => return Err(Fault::Expected("off, boot or always")),
                }
            }
            b"watchdog.device" => self.watchdog_device = copy(absolute(value)?)?,
            b"watchdog.timeout" => {
                let seconds = number(value).and_then(|seconds| u32::try_from(seconds).ok());
                self.watchdog_seconds = seconds
                    .filter(|seconds| (4..=86_400).contains(seconds))
                    .ok_or(Fault::Expected("seconds, 4 to 86400"))?;
            }
            b"loglevel" => self.loglevel = Some(values::log_level(value)?),
            _ => return self.take_policy(name, value, arena),
        }
        Ok(())
    }

    /// `on.END` and `on.NAME.END`. A name may have dots, an end has none.
    fn take_policy(&mut self, name: &[u8], value: &[u8], arena: &Arena<'t>) -> Result<(), Fault> {
        let unknown = || Fault::Expected("another key: there is no such one, the README lists them");
        let rest = name.strip_prefix(b"on.").ok_or_else(unknown)?;
        let (whose, end) = match memchr::memrchr(b'.', rest) {
            Some(dot) => (rest.get(..dot), rest.get(dot + 1..).unwrap_or_default()),
            None => (None, rest),
        };
        let which = match end {
            b"halt" => Which::Halt,
            b"reboot" => Which::Reboot,
            b"failure" => Which::Failure,
            _ => return Err(unknown()),
        };
        let action = action(arena, value)?;
        match whose {
            None => *self.policy.of(which) = action,
            Some(whose) => {
                let full = Fault::Full(&("policies of one container", limits::PODS, "PODS"));
                self.exceptions.push((arena.copy(container(whose)?)?, which, action)).map_err(|_| full)?;
            }
        }
        Ok(())
    }
}

/// The words of a kernel command line, without the quotes that hold blanks together.
fn kernel_words(text: &[u8]) -> impl Iterator<Item = Line<{ limits::LINE_BYTES }>> {
    let mut quoted = false;
    let blank = move |byte: &u8| {
        quoted ^= *byte == b'"';
        !quoted && byte.is_ascii_whitespace()
    };
    text.split(blank).filter(|word| !word.is_empty()).map(|word| {
        let mut line = Line::new();
        word.split(|byte| *byte == b'"').for_each(|part| line.push(part));
        line
    })
}

fn container(name: &[u8]) -> Result<&[u8], Fault> {
    let fits = !name.is_empty() && name.len() < 256 && name != b"." && name != b".." && !name.contains(&b'/');
    fits.then_some(name).ok_or(Fault::Expected("names of containers"))
}

fn absolute(path: &[u8]) -> Result<&[u8], Fault> {
    path.starts_with(b"/").then_some(path).ok_or(Fault::Expected("an absolute path"))
}

fn fall<'t>(arena: &Arena<'t>, value: &[u8]) -> Result<Fall<'t>, Fault> {
    match value {
        b"poweroff" => Ok(Fall::PowerOff),
        b"halt" => Ok(Fall::Halt),
        b"reboot" => Ok(Fall::Reboot(None)),
        _ => match value.strip_prefix(b"reboot:").filter(|argument| !argument.is_empty() && argument.len() < 256) {
            Some(argument) => Ok(Fall::Reboot(Some(arena.copy(argument)?))),
            None => Err(Fault::Expected("poweroff, halt, reboot, reboot:ARGUMENT or none")),
        },
    }
}

fn action<'t>(arena: &Arena<'t>, value: &[u8]) -> Result<Action<'t>, Fault> {
    match value {
        b"none" => Ok(Action::Nothing),
        b"restart" => Ok(Action::Restart),
        b"shell" => Ok(Action::Shell),
        _ => fall(arena, value)
            .map(Action::GoDown)
            .map_err(|_| Fault::Expected("none, restart, shell, poweroff, halt, reboot or reboot:ARGUMENT")),
    }
}

/// One line of fstab, with `wait=SECONDS` and `nofail` taken out of its options.
fn mount<'t>(arena: &Arena<'t>, value: &[u8]) -> Result<Mount<'t>, Fault> {
    const WAIT_MS: u64 = 10_000;
    let mut wait_ms = WAIT_MS;
    let mut line = Line::<{ limits::LINE_BYTES }>::new();
    for (index, field) in lex::words(value).enumerate() {
        if index != 3 {
            let _ = write!(line, " {}", Shown(field));
            continue;
        }
        let mut gap = " ";
        for option in field.split(|byte| *byte == b',') {
            match option.strip_prefix(b"wait=") {
                Some(wait) => wait_ms = values::duration_ms(wait)?,
                None => {
                    let _ =
                        write!(line, "{gap}{}", if option == b"nofail" { Shown(b"optional") } else { Shown(option) });
                    gap = ",";
                }
            }
        }
        if gap == " " {
            line.push(b" defaults");
        }
    }
    let entry = mounts::entry(arena, line.bytes().trim_ascii(), DEFAULT)?;
    absolute(entry.target.to_bytes()).map(|_| Mount { entry, wait_ms })
}

fn refused(place: core::fmt::Arguments<'_>, key: &[u8], value: &[u8], fault: &Fault) -> Error {
    let (key, value) = (Shown(key), Shown(value));
    match fault {
        Fault::Expected(what) => Error::new("config", format_args!("{place}: {key} = {value}: expected {what}")),
        Fault::Said(text) => Error::new("config", format_args!("{place}: {key} = {value}: {text}")),
        Fault::Unknown(nearest) => {
            Error::new("config", format_args!("{place}: {key}: unknown, the nearest is {nearest}"))
        }
        Fault::Full((what, most, constant)) => {
            Error::new("config", format_args!("{place}: {key}: more than {most} {what} (limits::{constant})"))
        }
        Fault::Text => Error::new("config", format_args!("{place}: {key}: out of text memory")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(file: &str, words: &str, check: impl FnOnce(Result<()>, &Settings<'_>)) {
        let mut storage = vec![0u8; 1 << 16];
        let arena = Arena::new(&mut storage);
        let mut settings = Settings::default();
        let result = settings
            .take_file(file.as_bytes(), &arena)
            .and_then(|()| settings.take_command_line(words.as_bytes(), &arena));
        check(result, &settings);
    }

    fn said(file: &str, words: &str) -> String {
        let mut text = String::new();
        with(file, words, |result, _| text = result.unwrap_err().to_string());
        text
    }

    #[test]
    fn settings_of_the_command_line_win_over_the_file() {
        let file = "# a board\nmonopod.init.containers = android, debian\nmonopod.init.cgroup = v1\n";
        with(file, "quiet root=/dev/sda1 monopod.init.cgroup=v2 x.y=1\n", |result, settings| {
            result.unwrap();
            assert_eq!(settings.containers, [c"android", c"debian"]);
            assert_eq!(settings.cgroup, Layout::V2);
            assert!(settings.defines.is_empty());
        });
    }

    #[test]
    fn command_line_words_for_containers_become_defines() {
        with("", "lxc.init.cmd=\"/bin/sh -i\" monopod.restart.when=never androidboot.x=1", |result, settings| {
            result.unwrap();
            assert_eq!(settings.defines, [c"lxc.init.cmd=/bin/sh -i", c"monopod.restart.when=never"]);
        });
    }

    #[test]
    fn command_line_ends_at_a_nul() {
        with("", "monopod.init.containers=a\0b monopod.init.cgroup=nonsense", |result, settings| {
            result.unwrap();
            assert_eq!(settings.containers, [c"a"]);
        });
    }

    #[test]
    fn policy_of_one_container_is_its_own() {
        let file =
            "monopod.init.on.halt=halt\nmonopod.init.on.a.b.halt = none\nmonopod.init.on.a.b.reboot = reboot:recovery";
        with(file, "", |result, settings| {
            result.unwrap();
            assert_eq!(settings.policy_of(c"x").halt, Action::GoDown(Fall::Halt));
            let policy = settings.policy_of(c"a.b");
            assert_eq!(policy.halt, Action::Nothing);
            assert_eq!(policy.reboot, Action::GoDown(Fall::Reboot(Some(c"recovery"))));
            assert_eq!(policy.failure, Action::Shell);
        });
    }

    #[test]
    fn mount_wait_and_nofail_are_not_for_the_kernel() {
        let file = "monopod.init.mount = /dev/vda2 /data ext4 noatime,wait=3,nofail,discard\nmonopod.init.mount = t /t tmpfs wait=1";
        with(file, "", |result, settings| {
            result.unwrap();
            let [data, t] = settings.mounts.as_slice() else { panic!("two mounts") };
            assert_eq!((data.entry.source, data.entry.target, data.wait_ms), (c"/dev/vda2", c"/data", 3_000));
            assert_eq!(data.entry.options.data, Some(c"discard"));
            assert!(data.entry.optional && !t.entry.optional);
            assert_eq!((t.entry.fstype, t.entry.options.data, t.wait_ms), (c"tmpfs", None, 1_000));
        });
    }

    #[test]
    fn fault_names_place_key_and_what_is_expected() {
        assert_eq!(
            said("\nmonopod.init.cgroup = v3", ""),
            "config: /etc/monopod/init.conf:2: monopod.init.cgroup = v3: expected auto, v1, v2, hybrid or none"
        );
        assert_eq!(
            said("", "monopod.init.watchdog=on"),
            "config: kernel command line: monopod.init.watchdog = on: expected off, boot or always"
        );
        for bad in [
            "lxc.rootfs.path = /x",
            "monopod.init.on.x.crash = none",
            "monopod.init.nonsense = 1",
            "just a word",
            "monopod.init.watchdog.timeout = 2",
            "monopod.init.lxcpath = here",
            "monopod.init.containers = a/b",
            "monopod.init.mount = /dev/x",
            "monopod.init.on.halt = explode",
            "monopod.init.ctrlaltdel = shell",
        ] {
            assert!(said(bad, "").starts_with("config: /etc/monopod/init.conf:1: "), "{bad}");
        }
    }
}
