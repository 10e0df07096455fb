//! Every key there is, in one table: today's name, older names, how it is set, how it is shown.
//!
//! The table is in the order in which a config is printed. A `Family` answers to what stands behind its name and a dot;
//! its bare name means all members. Older names are those of LXC 1.x and 2.0 and follow what `lxc-update-config` makes
//! of them. An empty value puts a key back to its default or clears a list; a repeated list key appends, any other
//! key's last value wins.

use super::isolation::Share;
use super::own::{Binder, Danger, Exhausted, Protect, ReadyFailed, RebootAction, RebootRule, StopMethod};
use super::values::{self, Fault};
use super::{
    Alive, At, AutoProc, AutoSys, CgroupSetting, Config, ConsolePath, Hook, HookKind, Kept, List, MountAuto,
    NamedValue, Origin, Prlimit, RestartWhen, RootfsKind, isolation, lex, mounts, nics, readiness,
};
use crate::limits;
use crate::text::{Arena, Shown, shown};
use core::ffi::CStr;
use core::fmt::{self, Write};

/// One row of the table.
pub struct Key {
    /// Today's name.
    pub name: &'static CStr,
    /// Names of older LXC versions.
    pub old: &'static [&'static str],
    /// What the key does.
    pub kind: Kind,
}

/// Sets a key from what was given.
pub type Set = for<'g, 't> fn(&mut Config<'t>, &Given<'g, 't>) -> Result<(), Fault>;
/// Shows a key's values.
pub type Show = fn(&Config<'_>, &mut Out<'_>) -> fmt::Result;
/// Shows one member of a family, or all if none is named.
pub type ShowMember = fn(&Config<'_>, &[u8], &mut Out<'_>) -> fmt::Result;

/// Where a value lies in the config.
pub type Get<T> = for<'c> fn(&'c Config<'_>) -> &'c T;
/// The same, to be written.
pub type GetMut<T> = for<'c> fn(&'c mut Config<'_>) -> &'c mut T;
/// Where a text lies.
pub type GetText = for<'c, 't> fn(&'c Config<'t>) -> &'c Option<&'t CStr>;
/// The same, to be written.
pub type GetTextMut = for<'c, 't> fn(&'c mut Config<'t>) -> &'c mut Option<&'t CStr>;
/// Where a text with its place lies.
pub type GetTextAt = for<'c, 't> fn(&'c Config<'t>) -> &'c Option<At<&'t CStr>>;
/// The same, to be written.
pub type GetTextAtMut = for<'c, 't> fn(&'c mut Config<'t>) -> &'c mut Option<At<&'t CStr>>;
/// Entries of an environment.
pub type Entries<'t> = List<&'t CStr, { limits::ENVIRONMENT }>;

/// What a key does.
pub enum Kind {
    /// 0 or 1; the default.
    Flag(Get<bool>, GetMut<bool>, bool),
    /// 0 or 1, or what the preset says.
    Switch(Get<Option<bool>>, GetMut<Option<bool>>),
    /// Any text.
    Text(GetText, GetTextMut),
    /// Any text that an error may name with its place.
    TextAt(GetTextAt, GetTextAtMut),
    /// A whole number; the default.
    Number(Get<u32>, GetMut<u32>, u32),
    /// A time in milliseconds; the default.
    Time(Get<u64>, GetMut<u64>, u64),
    /// A signal; the default.
    Signal(Get<i32>, GetMut<i32>, i32),
    /// A size of a console's log or buffer.
    ConsoleSize(Get<u64>, GetMut<u64>),
    /// Commands to be run at a moment.
    Hook(HookKind),
    /// A list of KEY=VALUE.
    Environment(
        for<'c, 't> fn(&'c Config<'t>) -> &'c Entries<'t>,
        for<'c, 't> fn(&'c mut Config<'t>) -> &'c mut Entries<'t>,
    ),
    /// One value.
    One(Set, Show),
    /// A list; for a client each value ends its line.
    List(Set, Show),
    /// A name with members behind it.
    Family(Set, ShowMember),
    /// The network links, whose older keys have another form.
    Links,
    /// Only clears what it heads.
    Head(for<'t> fn(&mut Config<'t>)),
    /// Kept to be shown again. The function checks a value.
    Kept(Keep, fn(&[u8]) -> Result<(), Fault>),
    /// Read by `include`.
    Include,
    /// Removed from LXC long ago, still found in files, without effect.
    Ignored,
}

/// How a kept key adds up.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// The last value wins.
    Last,
    /// Each line is a value.
    Lines,
    /// Each word is a value.
    Words,
}

/// What a setter gets.
pub struct Given<'g, 't> {
    /// What stands behind a family's name and dot; empty for its bare name and for any other key.
    pub sub: &'g [u8],
    /// An older name was used.
    pub old: bool,
    /// The value, without blanks and quotes round it.
    pub value: &'g [u8],
    /// Where it stands.
    pub at: Origin,
    /// Where text goes.
    pub arena: &'g Arena<'t>,
}

impl<'t> Given<'_, 't> {
    /// The value as text; None if it is empty.
    fn text(&self) -> Result<Option<&'t CStr>, Fault> {
        if self.value.is_empty() { Ok(None) } else { Ok(Some(self.arena.copy(self.value)?)) }
    }

    /// The value as text with its place; None if it is empty.
    fn text_at(&self) -> Result<Option<At<&'t CStr>>, Fault> {
        Ok(self.text()?.map(|value| self.at(value)))
    }

    /// A value with the place of this line.
    fn at<T>(&self, value: T) -> At<T> {
        At { value, at: self.at }
    }

    /// What `read` makes of the value, or `default` if it is empty.
    fn or<T>(&self, default: T, read: impl FnOnce(&[u8]) -> Result<T, Fault>) -> Result<T, Fault> {
        if self.value.is_empty() { Ok(default) } else { read(self.value) }
    }
}

/// What most rows do. Called, not copied into each row.
impl<'t> Given<'_, 't> {
    /// Puts what `read` makes of the value in its place, or `default` if the value is empty.
    #[inline(never)]
    fn put<T>(&self, place: &mut T, default: T, read: fn(&[u8]) -> Result<T, Fault>) -> Result<(), Fault> {
        *place = self.or(default, read)?;
        Ok(())
    }

    /// One of some words.
    fn put_word<T: Copy>(&self, place: &mut T, default: T, words: &[(&'static str, T)]) -> Result<(), Fault> {
        *place = self.or(default, |value| values::word(value, words))?;
        Ok(())
    }

    /// 0, 1, or what the preset says.
    #[inline(never)]
    fn put_switch(&self, place: &mut Option<bool>) -> Result<(), Fault> {
        *place = self.or(None, |value| values::flag(value).map(Some))?;
        Ok(())
    }

    #[inline(never)]
    fn put_text(&self, place: &mut Option<&'t CStr>) -> Result<(), Fault> {
        *place = self.text()?;
        Ok(())
    }

    #[inline(never)]
    fn put_text_at(&self, place: &mut Option<At<&'t CStr>>) -> Result<(), Fault> {
        *place = self.text_at()?;
        Ok(())
    }
}

/// Text as it is in the file, but for bytes that are not UTF-8 and control codes other than the tab: those would not
/// survive a terminal or end the line, and become `?`.
pub struct Raw<'a>(&'a CStr);

/// `Raw` of a C string.
pub fn raw(text: &CStr) -> Raw<'_> {
    Raw(text)
}

impl fmt::Display for Raw<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, part) in self.0.to_bytes().split(|byte| *byte == b'\t').enumerate() {
            if index > 0 {
                f.write_char('\t')?;
            }
            write!(f, "{}", Shown(part))?;
        }
        Ok(())
    }
}

/// What a shower writes to: it calls `one` or `member` for each value.
pub struct Out<'a> {
    /// The whole config is printed, to be loaded again; else a client asked for one key.
    pub printing: bool,
    /// Gets a member's name behind its family's (empty for other keys) and a value.
    pub each: &'a mut dyn FnMut(fmt::Arguments<'_>, fmt::Arguments<'_>) -> fmt::Result,
}

impl Out<'_> {
    /// A value.
    #[inline(never)]
    pub fn one(&mut self, value: impl fmt::Display) -> fmt::Result {
        (self.each)(format_args!(""), format_args!("{value}"))
    }

    /// A member of a family and its value.
    pub fn member(&mut self, name: fmt::Arguments<'_>, value: fmt::Arguments<'_>) -> fmt::Result {
        (self.each)(name, value)
    }

    #[inline(never)]
    fn text(&mut self, text: Option<&CStr>) -> fmt::Result {
        text.map_or(Ok(()), |text| self.one(raw(text)))
    }

    #[inline(never)]
    fn text_at(&mut self, text: Option<At<&CStr>>) -> fmt::Result {
        self.text(text.map(|text| text.value))
    }

    #[inline(never)]
    fn flag(&mut self, flag: bool) -> fmt::Result {
        self.one(u8::from(flag))
    }

    /// The word of a value; nothing for a value without one.
    fn word<T: Copy + PartialEq>(&mut self, value: T, words: &[(&'static str, T)]) -> fmt::Result {
        words.iter().find(|(_, known)| *known == value).map_or(Ok(()), |(word, _)| self.one(word))
    }

    #[inline(never)]
    fn switch(&mut self, switch: Option<bool>) -> fmt::Result {
        switch.map_or(Ok(()), |on| self.flag(on))
    }

    fn texts(&mut self, texts: &[&CStr]) -> fmt::Result {
        texts.iter().try_for_each(|text| self.one(raw(text)))
    }

    /// A size that can be written only if it is not 0: LXC reads 0 as one page.
    fn size(&mut self, bytes: u64) -> fmt::Result {
        if self.printing && bytes == 0 { Ok(()) } else { self.one(bytes) }
    }

    /// A time in seconds, or in milliseconds if it is not whole.
    #[inline(never)]
    fn ms(&mut self, ms: u64) -> fmt::Result {
        if ms.is_multiple_of(1000) { self.one(ms / 1000) } else { self.one(format_args!("{ms}ms")) }
    }
}

const fn row(name: &'static CStr, old: &'static [&'static str], kind: Kind) -> Key {
    Key { name, old, kind }
}

/// A kept switch without effect.
const KEPT_FLAG: Kind = Kind::Kept(Keep::Last, flag);

fn any(_: &[u8]) -> Result<(), Fault> {
    Ok(())
}

fn flag(value: &[u8]) -> Result<(), Fault> {
    values::flag(value).map(drop)
}

/// `monopod.preset`, `monopod.devices`
const PRESETS: [(&str, bool); 2] = [("none", false), ("android", true)];
/// `monopod.android.cmdline`
const CMDLINE: [(&str, Option<bool>); 2] = [("host", Some(false)), ("hide", Some(true))];
/// `monopod.keyctl`
const KEYCTL: [(&str, bool); 2] = [("allow", false), ("enosys", true)];

/// All keys.
pub static TABLE: &[Key] = &[
    row(c"lxc.include", &[], Kind::Include),
    row(
        c"lxc.arch",
        &[],
        Kind::One(
            |c, g| {
                c.personality = g.or(None, |v| Ok(Some(g.at(values::personality(v)?))))?;
                g.put_text(&mut c.arch)
            },
            |c, out| out.text(c.arch),
        ),
    ),
    row(
        c"lxc.uts.name",
        &["lxc.utsname"],
        Kind::One(
            |c, g| {
                if g.value.len() > 64 {
                    return Err(Fault::Expected("a host name of at most 64 bytes"));
                }
                g.put_text_at(&mut c.uts_name)
            },
            |c, out| out.text_at(c.uts_name),
        ),
    ),
    row(
        c"lxc.rootfs.path",
        &["lxc.rootfs"],
        Kind::One(set_rootfs, |c, out| match c.rootfs.path {
            Some(path) if out.printing && !c.rootfs.driver.is_empty() => {
                out.one(format_args!("{}:{}", shown(c.rootfs.driver), raw(path.value)))
            }
            path => out.text_at(path),
        }),
    ),
    row(c"lxc.rootfs.mount", &[], Kind::TextAt(|c| &c.rootfs.mount, |c| &mut c.rootfs.mount)),
    row(
        c"lxc.rootfs.options",
        &[],
        Kind::One(
            |c, g| {
                let options = mounts::options(g.arena, g.value)?;
                c.rootfs.options_text = g.text()?;
                c.rootfs.options = c.rootfs.options_text.map(|_| g.at(options.mount));
                c.rootfs.idmap = options.idmap;
                Ok(())
            },
            |c, out| out.text(c.rootfs.options_text),
        ),
    ),
    row(c"lxc.rootfs.managed", &[], KEPT_FLAG),
    row(c"lxc.rootfs.backend", &[], Kind::Ignored),
    row(c"lxc.pivotdir", &[], Kind::Ignored),
    row(c"lxc.mount.fstab", &["lxc.mount"], Kind::TextAt(|c| &c.fstab, |c| &mut c.fstab)),
    row(
        c"lxc.mount.auto",
        &[],
        Kind::One(
            |c, g| {
                if g.value.is_empty() {
                    c.mount_auto = MountAuto::NONE;
                }
                for word in lex::words(g.value) {
                    mounts::auto(g.arena, &mut c.mount_auto, word)?;
                }
                c.mount_auto.at = g.at;
                Ok(())
            },
            |c, out| {
                let auto = &c.mount_auto;
                let nothing = auto.proc == AutoProc::No && auto.sys == AutoSys::No && auto.cgroup.is_none();
                if nothing && auto.shmounts.is_none() { Ok(()) } else { out.one(auto) }
            },
        ),
    ),
    row(
        c"lxc.mount.entry",
        &[],
        Kind::List(
            |c, g| {
                if g.value.is_empty() {
                    c.mounts.clear();
                    return Ok(());
                }
                let entry = mounts::entry(g.arena, g.value, g.at)?;
                c.mounts.push(entry).map_err(|_| Fault::Full(&("mounts", limits::MOUNTS, "MOUNTS")))
            },
            |c, out| c.mounts.iter().skip(c.fstab_mounts).try_for_each(|entry| out.one(raw(entry.text))),
        ),
    ),
    row(c"lxc.autodev", &[], Kind::Flag(|c| &c.autodev, |c| &mut c.autodev, true)),
    row(
        c"lxc.autodev.tmpfs.size",
        &[],
        Kind::One(|c, g| g.put(&mut c.autodev_size, 500_000, values::size), |c, out| out.one(c.autodev_size)),
    ),
    row(
        c"lxc.tty.max",
        &["lxc.tty"],
        Kind::One(
            |c, g| {
                let max = g.or(0, values::whole32)?;
                if usize::try_from(max).is_ok_and(|max| max <= limits::TTYS) {
                    c.tty_max = max;
                    Ok(())
                } else {
                    Err(Fault::Full(&("ttys", limits::TTYS, "TTYS")))
                }
            },
            |c, out| out.one(c.tty_max),
        ),
    ),
    row(
        c"lxc.tty.dir",
        &["lxc.devttydir"],
        Kind::One(
            |c, g| {
                if g.value.split(|b| *b == b'/').any(|part| part == b"..") {
                    return Err(Fault::Expected("a directory below /dev"));
                }
                g.put_text(&mut c.tty_dir)
            },
            |c, out| out.text(c.tty_dir),
        ),
    ),
    row(c"lxc.tty.min", &[], Kind::Ignored),
    row(c"lxc.pty.max", &["lxc.pts"], Kind::Number(|c| &c.pty_max, |c| &mut c.pty_max, 1024)),
    row(
        c"lxc.console.path",
        &["lxc.console"],
        Kind::One(
            |c, g| {
                c.console.path = match g.text()? {
                    None => ConsolePath::Auto,
                    Some(path) if path == c"none" => ConsolePath::None,
                    Some(path) => ConsolePath::Path(path),
                };
                Ok(())
            },
            |c, out| match c.console.path {
                ConsolePath::Auto | ConsolePath::Stdio => Ok(()),
                ConsolePath::None => out.one("none"),
                ConsolePath::Path(path) => out.text(Some(path)),
            },
        ),
    ),
    row(c"lxc.console.logfile", &[], Kind::TextAt(|c| &c.console.logfile, |c| &mut c.console.logfile)),
    row(c"lxc.console.size", &[], Kind::ConsoleSize(|c| &c.console.log_size, |c| &mut c.console.log_size)),
    row(c"lxc.console.rotate", &[], Kind::Flag(|c| &c.console.rotate, |c| &mut c.console.rotate, false)),
    row(c"lxc.console.buffer.size", &[], Kind::ConsoleSize(|c| &c.console.buffer_size, |c| &mut c.console.buffer_size)),
    row(c"lxc.kmsg", &[], Kind::Ignored),
    row(
        c"lxc.cap.drop",
        &[],
        Kind::List(
            |c, g| {
                if g.value.is_empty() {
                    c.caps.drop = 0;
                }
                for word in lex::words(g.value) {
                    if word == b"none" {
                        return Err(Fault::Expected("capabilities to drop; none is a word of lxc.cap.keep"));
                    }
                    c.caps.drop |= values::capability(word)?;
                }
                c.caps.at = g.at;
                Ok(())
            },
            |c, out| values::capabilities(c.caps.drop, &mut |name| out.one(name)),
        ),
    ),
    row(
        c"lxc.cap.keep",
        &[],
        Kind::List(
            |c, g| {
                if g.value.is_empty() {
                    c.caps.keep = None;
                }
                for word in lex::words(g.value) {
                    c.caps.keep = Some(match word {
                        b"none" => 0,
                        _ => c.caps.keep.unwrap_or(0) | values::capability(word)?,
                    });
                }
                c.caps.at = g.at;
                Ok(())
            },
            |c, out| match c.caps.keep {
                None => Ok(()),
                Some(0) => out.one("none"),
                Some(keep) => values::capabilities(keep, &mut |name| out.one(name)),
            },
        ),
    ),
    row(c"lxc.hook", &[], Kind::Head(|c| c.hooks.clear())),
    row(
        c"lxc.hook.version",
        &[],
        Kind::One(
            |c, g| g.put(&mut c.hook_version, 0, |v| values::flag(v).map(u8::from)),
            |c, out| out.one(c.hook_version),
        ),
    ),
    row(c"lxc.hook.pre-start", &[], Kind::Hook(HookKind::PreStart)),
    row(c"lxc.hook.pre-mount", &[], Kind::Hook(HookKind::PreMount)),
    row(c"lxc.hook.mount", &[], Kind::Hook(HookKind::Mount)),
    row(c"lxc.hook.autodev", &[], Kind::Hook(HookKind::Autodev)),
    row(c"lxc.hook.start-host", &[], Kind::Hook(HookKind::StartHost)),
    row(c"lxc.hook.start", &[], Kind::Hook(HookKind::Start)),
    row(c"lxc.hook.stop", &[], Kind::Hook(HookKind::Stop)),
    row(c"lxc.hook.post-stop", &[], Kind::Hook(HookKind::PostStop)),
    row(c"lxc.hook.clone", &[], Kind::Hook(HookKind::Clone)),
    row(c"lxc.hook.destroy", &[], Kind::Hook(HookKind::Destroy)),
    row(
        c"lxc.init.cmd",
        &["lxc.init_cmd"],
        Kind::One(
            |c, g| {
                c.init.cmd.clear();
                lex::command(g.value, &mut |word| {
                    let word = g.arena.copy(word)?;
                    c.init.cmd.push(word).map_err(|_| Fault::Full(&("words of a command", limits::ARGS, "ARGS")))
                })
            },
            |c, out| if c.init.cmd.is_empty() { Ok(()) } else { out.one(Command(&c.init.cmd)) },
        ),
    ),
    row(c"lxc.init.uid", &["lxc.init_uid"], Kind::Number(|c| &c.init.uid, |c| &mut c.init.uid, 0)),
    row(c"lxc.init.gid", &["lxc.init_gid"], Kind::Number(|c| &c.init.gid, |c| &mut c.init.gid, 0)),
    row(
        c"lxc.init.groups",
        &[],
        Kind::One(
            |c, g| {
                if g.value.is_empty() {
                    c.init.groups.clear();
                    return Ok(());
                }
                for word in g.value.split(|b| *b == b',') {
                    let group = values::whole32(word.trim_ascii())
                        .map_err(|_| Fault::Expected("group numbers with commas between them"))?;
                    c.init.groups.push(group).map_err(|_| Fault::Full(&("groups", limits::GROUPS, "GROUPS")))?;
                }
                Ok(())
            },
            |c, out| if c.init.groups.is_empty() { Ok(()) } else { out.one(Groups(&c.init.groups)) },
        ),
    ),
    row(c"lxc.init.cwd", &[], Kind::Text(|c| &c.init.cwd, |c| &mut c.init.cwd)),
    row(c"lxc.execute.cmd", &[], Kind::Kept(Keep::Last, any)),
    row(
        c"lxc.signal.halt",
        &["lxc.haltsignal"],
        Kind::One(
            |c, g| {
                c.signals.halt = g.or(libc::SIGPWR, values::signal)?;
                c.signals.halt_set = !g.value.is_empty();
                Ok(())
            },
            |c, out| if out.printing && !c.signals.halt_set { Ok(()) } else { out.one(c.signals.halt) },
        ),
    ),
    row(
        c"lxc.signal.reboot",
        &["lxc.rebootsignal"],
        Kind::One(
            |c, g| {
                c.signals.reboot = g.or(libc::SIGINT, values::signal)?;
                c.signals.reboot_set = !g.value.is_empty();
                Ok(())
            },
            |c, out| out.one(c.signals.reboot),
        ),
    ),
    row(
        c"lxc.signal.stop",
        &["lxc.stopsignal"],
        Kind::Signal(|c| &c.signals.stop, |c| &mut c.signals.stop, libc::SIGKILL),
    ),
    row(c"lxc.environment", &[], Kind::Environment(|c| &c.environment, |c| &mut c.environment)),
    row(c"lxc.environment.runtime", &[], Kind::Environment(|c| &c.environment_runtime, |c| &mut c.environment_runtime)),
    row(c"lxc.environment.hooks", &[], Kind::Environment(|c| &c.environment_hooks, |c| &mut c.environment_hooks)),
    row(c"lxc.cgroup.dir", &[], Kind::TextAt(|c| &c.isolation.cgroup_dir, |c| &mut c.isolation.cgroup_dir)),
    row(
        c"lxc.cgroup.dir.monitor",
        &[],
        Kind::TextAt(|c| &c.isolation.cgroup_monitor, |c| &mut c.isolation.cgroup_monitor),
    ),
    row(
        c"lxc.cgroup.dir.monitor.pivot",
        &[],
        Kind::TextAt(|c| &c.isolation.cgroup_monitor_pivot, |c| &mut c.isolation.cgroup_monitor_pivot),
    ),
    row(
        c"lxc.cgroup.dir.container",
        &[],
        Kind::TextAt(|c| &c.isolation.cgroup_container, |c| &mut c.isolation.cgroup_container),
    ),
    row(
        c"lxc.cgroup.dir.container.inner",
        &[],
        Kind::TextAt(|c| &c.isolation.cgroup_inner, |c| &mut c.isolation.cgroup_inner),
    ),
    row(
        c"lxc.cgroup.relative",
        &[],
        Kind::Switch(|c| &c.isolation.cgroup_relative, |c| &mut c.isolation.cgroup_relative),
    ),
    row(
        c"lxc.cgroup",
        &[],
        Kind::Family(|c, g| set_cgroup(c, g, false), |c, sub, out| show_cgroup(c, sub, false, out)),
    ),
    row(c"lxc.cgroup2", &[], Kind::Family(|c, g| set_cgroup(c, g, true), |c, sub, out| show_cgroup(c, sub, true, out))),
    row(c"lxc.prlimit", &["lxc.limit"], Kind::Family(set_prlimit, show_prlimit)),
    row(
        c"lxc.sysctl",
        &[],
        Kind::Family(|c, g| set_named(&mut c.sysctls, g), |c, sub, out| show_named(&c.sysctls, sub, out)),
    ),
    row(
        c"lxc.proc",
        &[],
        Kind::Family(|c, g| set_named(&mut c.procs, g), |c, sub, out| show_named(&c.procs, sub, out)),
    ),
    row(c"lxc.net", &["lxc.network"], Kind::Links),
    row(
        c"lxc.namespace.keep",
        &[],
        Kind::List(
            |c, g| {
                c.namespaces.keep = namespaces(c.namespaces.keep, g)?;
                c.namespaces.at = g.at;
                Ok(())
            },
            |c, out| values::namespace_names(c.namespaces.keep.unwrap_or(0)).try_for_each(|name| out.one(name)),
        ),
    ),
    row(
        c"lxc.namespace.clone",
        &[],
        Kind::List(
            |c, g| {
                c.namespaces.clone = namespaces(c.namespaces.clone, g)?;
                c.namespaces.at = g.at;
                Ok(())
            },
            |c, out| values::namespace_names(c.namespaces.clone.unwrap_or(0)).try_for_each(|name| out.one(name)),
        ),
    ),
    row(c"lxc.namespace.share", &[], Kind::Family(set_share, show_share)),
    row(
        c"lxc.time.offset.boot",
        &[],
        Kind::One(
            |c, g| g.put(&mut c.isolation.time_boot, None, |v| isolation::time_offset(v).map(Some)),
            |c, out| c.isolation.time_boot.map_or(Ok(()), |ns| out.one(isolation::Offset(ns))),
        ),
    ),
    row(
        c"lxc.time.offset.monotonic",
        &[],
        Kind::One(
            |c, g| g.put(&mut c.isolation.time_monotonic, None, |v| isolation::time_offset(v).map(Some)),
            |c, out| c.isolation.time_monotonic.map_or(Ok(()), |ns| out.one(isolation::Offset(ns))),
        ),
    ),
    row(
        c"lxc.idmap",
        &["lxc.id_map"],
        Kind::List(
            |c, g| {
                if g.value.is_empty() {
                    c.isolation.idmap.clear();
                    return Ok(());
                }
                let map = isolation::idmap(g)?;
                c.isolation.idmap.push(map).map_err(|_| Fault::Full(&("id maps", limits::ID_MAPS, "ID_MAPS")))
            },
            |c, out| c.isolation.idmap.iter().try_for_each(|map| out.one(map)),
        ),
    ),
    row(c"lxc.no_new_privs", &[], Kind::Flag(|c| &c.no_new_privs, |c| &mut c.no_new_privs, false)),
    row(
        c"lxc.apparmor.profile",
        &["lxc.aa_profile"],
        Kind::TextAt(|c| &c.isolation.apparmor, |c| &mut c.isolation.apparmor),
    ),
    row(c"lxc.apparmor.allow_incomplete", &["lxc.aa_allow_incomplete"], KEPT_FLAG),
    row(c"lxc.apparmor.allow_nesting", &[], KEPT_FLAG),
    row(c"lxc.apparmor.raw", &[], Kind::Kept(Keep::Lines, any)),
    row(
        c"lxc.selinux.context",
        &["lxc.se_context"],
        Kind::TextAt(|c| &c.isolation.selinux, |c| &mut c.isolation.selinux),
    ),
    row(
        c"lxc.selinux.context.keyring",
        &[],
        Kind::TextAt(|c| &c.isolation.selinux_keyring, |c| &mut c.isolation.selinux_keyring),
    ),
    row(c"lxc.seccomp.profile", &["lxc.seccomp"], Kind::TextAt(|c| &c.isolation.seccomp, |c| &mut c.isolation.seccomp)),
    row(
        c"lxc.seccomp.allow_nesting",
        &[],
        Kind::Switch(|c| &c.isolation.seccomp_nesting, |c| &mut c.isolation.seccomp_nesting),
    ),
    row(
        c"lxc.seccomp.notify.proxy",
        &[],
        Kind::TextAt(|c| &c.isolation.seccomp_proxy, |c| &mut c.isolation.seccomp_proxy),
    ),
    row(
        c"lxc.seccomp.notify.cookie",
        &[],
        Kind::Text(|c| &c.isolation.seccomp_cookie, |c| &mut c.isolation.seccomp_cookie),
    ),
    row(
        c"lxc.keyring.session",
        &[],
        Kind::Switch(|c| &c.isolation.keyring_session, |c| &mut c.isolation.keyring_session),
    ),
    row(c"lxc.sched.core", &[], Kind::Switch(|c| &c.isolation.sched_core, |c| &mut c.isolation.sched_core)),
    row(c"lxc.ephemeral", &[], Kind::Switch(|c| &c.isolation.ephemeral, |c| &mut c.isolation.ephemeral)),
    row(
        c"lxc.monitor.unshare",
        &[],
        Kind::Switch(|c| &c.isolation.monitor_unshare, |c| &mut c.isolation.monitor_unshare),
    ),
    row(
        c"lxc.monitor.signal.pdeath",
        &[],
        Kind::One(
            |c, g| {
                g.put(&mut c.pdeath_signal, libc::SIGKILL, |value| match value {
                    b"NONE" | b"none" | b"0" => Ok(0),
                    _ => values::signal(value),
                })
            },
            |c, out| out.one(c.pdeath_signal),
        ),
    ),
    row(
        c"lxc.log.level",
        &["lxc.loglevel"],
        Kind::One(
            |c, g| g.put(&mut c.log.level, None, |v| values::log_level(v).map(Some)),
            |c, out| c.log.level.map_or(Ok(()), |level| out.one(values::level_name(level))),
        ),
    ),
    row(c"lxc.log.file", &["lxc.logfile"], Kind::Text(|c| &c.log.file, |c| &mut c.log.file)),
    row(
        c"lxc.log.syslog",
        &["lxc.syslog"],
        Kind::One(
            |c, g| {
                g.or((), values::facility)?;
                g.put_text_at(&mut c.log.syslog)
            },
            |c, out| out.text_at(c.log.syslog),
        ),
    ),
    row(c"lxc.start.auto", &[], KEPT_FLAG),
    row(c"lxc.start.delay", &[], Kind::Kept(Keep::Last, |v| values::whole32(v).map(drop))),
    row(c"lxc.start.order", &[], Kind::Kept(Keep::Last, |v| values::signed(v).map(drop))),
    row(c"lxc.group", &[], Kind::Kept(Keep::Words, any)),
    row(
        c"monopod.alive",
        &[],
        Kind::One(
            |c, g| {
                c.alive = match (g.value, g.value.strip_prefix(b"file:")) {
                    (b"" | b"running", _) => Alive::Running,
                    (_, Some(path @ [b'/', ..])) => Alive::File(g.arena.copy(path)?),
                    _ => return Err(Fault::Expected("running or file:/PATH")),
                };
                Ok(())
            },
            |c, out| match c.alive {
                Alive::Running => out.one("running"),
                Alive::File(path) => out.one(format_args!("file:{}", shown(path))),
            },
        ),
    ),
    row(c"monopod.alive.within", &[], Kind::Time(|c| &c.alive_within_ms, |c| &mut c.alive_within_ms, 0)),
    row(
        c"monopod.console",
        &[],
        Kind::One(
            |c, g| {
                c.console.path = match g.value {
                    b"stdio" => ConsolePath::Stdio,
                    b"" | b"auto" => ConsolePath::Auto,
                    _ => return Err(Fault::Expected("stdio or auto")),
                };
                Ok(())
            },
            |c, out| out.one(if c.console.path == ConsolePath::Stdio { "stdio" } else { "auto" }),
        ),
    ),
    row(c"monopod.log.kmsg", &[], Kind::Flag(|c| &c.log.kmsg, |c| &mut c.log.kmsg, false)),
    row(
        c"monopod.restart.when",
        &[],
        Kind::One(
            |c, g| {
                c.restart.when = match g.value {
                    b"" | b"reboot" => RestartWhen::Reboot,
                    b"failure" => RestartWhen::Failure,
                    b"always" => RestartWhen::Always,
                    b"never" => RestartWhen::Never,
                    _ => return Err(Fault::Expected("reboot, failure, always or never")),
                };
                Ok(())
            },
            |c, out| {
                out.one(match c.restart.when {
                    RestartWhen::Reboot => "reboot",
                    RestartWhen::Failure => "failure",
                    RestartWhen::Always => "always",
                    RestartWhen::Never => "never",
                })
            },
        ),
    ),
    row(
        c"monopod.restart.delay",
        &[],
        Kind::Time(|c| &c.restart.delay_ms, |c| &mut c.restart.delay_ms, super::Restart::DEFAULT.delay_ms),
    ),
    row(
        c"monopod.restart.factor",
        &[],
        Kind::One(
            |c, g| {
                g.put(&mut c.restart.factor, super::Restart::DEFAULT.factor, |value| match values::whole32(value)? {
                    0 => Err(Fault::Expected("a whole number from 1")),
                    factor => Ok(factor),
                })
            },
            |c, out| out.one(c.restart.factor),
        ),
    ),
    row(
        c"monopod.restart.cap",
        &[],
        Kind::Time(|c| &c.restart.cap_ms, |c| &mut c.restart.cap_ms, super::Restart::DEFAULT.cap_ms),
    ),
    row(
        c"monopod.restart.budget",
        &[],
        Kind::One(
            |c, g| g.put(&mut c.restart.budget, None, |v| values::whole32(v).map(Some)),
            |c, out| out.one(c.restart_policy().budget()),
        ),
    ),
    row(
        c"monopod.restart.window",
        &[],
        Kind::Time(|c| &c.restart.window_ms, |c| &mut c.restart.window_ms, super::Restart::DEFAULT.window_ms),
    ),
    row(
        c"monopod.restart.uptime",
        &[],
        Kind::One(
            |c, g| g.put(&mut c.restart.uptime_ms, None, |v| values::duration_ms(v).map(Some)),
            |c, out| out.ms(c.restart_policy().uptime_ms()),
        ),
    ),
    row(c"monopod.signal.halt", &[], Kind::Signal(|c| &c.signals.ours, |c| &mut c.signals.ours, libc::SIGPWR)),
    row(
        c"monopod.timeout.hook",
        &[],
        Kind::Time(|c| &c.timeouts.hook_ms, |c| &mut c.timeouts.hook_ms, super::Timeouts::DEFAULT.hook_ms),
    ),
    row(
        c"monopod.timeout.start",
        &[],
        Kind::Time(|c| &c.timeouts.start_ms, |c| &mut c.timeouts.start_ms, super::Timeouts::DEFAULT.start_ms),
    ),
    row(
        c"monopod.timeout.stop",
        &[],
        Kind::Time(|c| &c.timeouts.stop_ms, |c| &mut c.timeouts.stop_ms, super::Timeouts::DEFAULT.stop_ms),
    ),
    row(
        c"monopod.preset",
        &[],
        Kind::One(|c, g| g.put_word(&mut c.own.android, false, &PRESETS), |c, out| out.word(c.own.android, &PRESETS)),
    ),
    row(c"monopod.android.init", &[], Kind::Switch(|c| &c.own.choose_init, |c| &mut c.own.choose_init)),
    row(
        c"monopod.android.sdk",
        &[],
        Kind::One(
            |c, g| g.put(&mut c.own.sdk, None, |v| values::whole32(v).map(Some)),
            |c, out| c.own.sdk.map_or(Ok(()), |sdk| out.one(sdk)),
        ),
    ),
    row(c"monopod.android.boot", &[], Kind::Family(set_boot, |c, sub, out| show_named(&c.own.boot, sub, out))),
    row(
        c"monopod.android.cmdline",
        &[],
        Kind::One(
            |c, g| g.put_word(&mut c.own.hide_boot, None, &CMDLINE),
            |c, out| out.word(c.own.hide_boot, &CMDLINE),
        ),
    ),
    row(c"monopod.android.clean", &[], Kind::Switch(|c| &c.own.clean, |c| &mut c.own.clean)),
    row(c"monopod.android.misc", &[], Kind::TextAt(|c| &c.own.misc, |c| &mut c.own.misc)),
    row(
        c"monopod.binder",
        &[],
        Kind::One(
            |c, g| {
                c.own.binder.at = g.at;
                g.put_word(&mut c.own.binder.value, Binder::None, &Binder::WORDS)
            },
            |c, out| out.word(c.own.binder.value, &Binder::WORDS),
        ),
    ),
    row(c"monopod.binder.nodes", &[], Kind::Text(|c| &c.own.binder_nodes, |c| &mut c.own.binder_nodes)),
    row(
        c"monopod.device.entry",
        &[],
        Kind::List(
            |c, g| {
                if g.value.is_empty() {
                    c.own.devices.clear();
                    return Ok(());
                }
                crate::android::devices::parse(g.value)?;
                let entry = g.at(g.arena.copy(g.value)?);
                c.own.devices.push(entry).map_err(|_| Fault::Full(&("devices", limits::MOUNTS, "MOUNTS")))
            },
            |c, out| c.own.devices.iter().try_for_each(|entry| out.one(raw(entry.value))),
        ),
    ),
    row(
        c"monopod.devices",
        &[],
        Kind::One(
            |c, g| g.put_word(&mut c.own.android_devices, false, &PRESETS),
            |c, out| out.word(c.own.android_devices, &PRESETS),
        ),
    ),
    row(
        c"monopod.protect",
        &[],
        Kind::One(
            |c, g| {
                c.own.protect.at = g.at;
                g.put_switch(&mut c.own.protect.on)
            },
            |c, out| out.switch(c.own.protect.on),
        ),
    ),
    row(c"monopod.allow", &[], Kind::Family(set_allowed, show_allowed)),
    row(
        c"monopod.keyctl",
        &[],
        Kind::One(|c, g| g.put_word(&mut c.own.no_keyctl, false, &KEYCTL), |c, out| out.word(c.own.no_keyctl, &KEYCTL)),
    ),
    row(c"monopod.hook.reboot", &[], Kind::TextAt(|c| &c.own.reboot_hook, |c| &mut c.own.reboot_hook)),
    row(c"monopod.hook.ready", &[], Kind::TextAt(|c| &c.own.ready_hook, |c| &mut c.own.ready_hook)),
    row(c"monopod.host.reboot", &[], Kind::Text(|c| &c.own.host_reboot, |c| &mut c.own.host_reboot)),
    row(c"monopod.reboot", &[], Kind::Family(set_reboot, show_reboot)),
    row(
        c"monopod.restart.exhausted",
        &[],
        Kind::One(
            |c, g| g.put_word(&mut c.own.exhausted, Exhausted::Stop, &Exhausted::WORDS),
            |c, out| out.word(c.own.exhausted, &Exhausted::WORDS),
        ),
    ),
    row(
        c"monopod.stop.method",
        &[],
        Kind::One(
            |c, g| g.put_word(&mut c.own.stop_method, StopMethod::Auto, &StopMethod::WORDS),
            |c, out| out.word(c.own.stop_method, &StopMethod::WORDS),
        ),
    ),
    row(c"monopod.stop.command", &[], Kind::TextAt(|c| &c.own.stop_command, |c| &mut c.own.stop_command)),
    row(
        c"monopod.ready",
        &[],
        Kind::One(
            |c, g| {
                g.or((), readiness::check)?;
                g.put_text_at(&mut c.own.ready)
            },
            |c, out| out.text_at(c.own.ready),
        ),
    ),
    row(
        c"monopod.ready.failed",
        &[],
        Kind::One(
            |c, g| g.put_word(&mut c.own.ready_failed, ReadyFailed::Ignore, &ReadyFailed::WORDS),
            |c, out| out.word(c.own.ready_failed, &ReadyFailed::WORDS),
        ),
    ),
    row(c"monopod.timeout.ready", &[], Kind::Time(|c| &c.own.ready_ms, |c| &mut c.own.ready_ms, 60_000)),
    row(c"monopod.wakelock", &[], Kind::Text(|c| &c.own.wakelock, |c| &mut c.own.wakelock)),
    row(c"monopod.state.file", &[], Kind::TextAt(|c| &c.own.state_file, |c| &mut c.own.state_file)),
    row(c"monopod.crash.file", &[], Kind::TextAt(|c| &c.own.crash_file, |c| &mut c.own.crash_file)),
    row(c"monopod.trace", &[], Kind::Flag(|c| &c.own.trace, |c| &mut c.own.trace, false)),
    row(
        c"monopod.oom.score",
        &[],
        Kind::One(
            |c, g| {
                c.own.oom_score = g.or(None, |value| match values::signed(value)? {
                    score @ -1000..=1000 => Ok(Some(g.at(score))),
                    _ => Err(Fault::Expected("a whole number from -1000 to 1000")),
                })?;
                Ok(())
            },
            |c, out| c.own.oom_score.map_or(Ok(()), |score| out.one(score.value)),
        ),
    ),
    row(c"monopod.log.logd", &[], Kind::Flag(|c| &c.own.logd, |c| &mut c.own.logd, false)),
];

fn set_rootfs<'t>(c: &mut Config<'t>, g: &Given<'_, 't>) -> Result<(), Fault> {
    let colon = memchr::memchr2(b':', b'/', g.value).filter(|at| *at > 0 && g.value.get(*at) == Some(&b':'));
    let (driver, path) = match colon.and_then(|at| g.value.split_at_checked(at)) {
        Some((driver, path)) => (driver, path.strip_prefix(b":").unwrap_or(path)),
        None => (&b""[..], g.value),
    };
    if path.is_empty() && !g.value.is_empty() {
        return Err(Fault::Expected("a path behind the driver's name"));
    }
    c.rootfs.kind = match driver {
        b"" => RootfsKind::Plain,
        b"dir" => RootfsKind::Dir,
        b"loop" => RootfsKind::Loop,
        b"overlay" | b"overlayfs" => RootfsKind::Overlay,
        _ => RootfsKind::Other,
    };
    c.rootfs.driver = if driver.is_empty() { c"" } else { g.arena.copy(driver)? };
    c.rootfs.path = if path.is_empty() { None } else { Some(g.at(g.arena.copy(path)?)) };
    Ok(())
}

fn hook<'t>(c: &mut Config<'t>, g: &Given<'_, 't>, kind: HookKind) -> Result<(), Fault> {
    match g.text()? {
        None => {
            c.hooks.retain(|hook| hook.kind != kind);
            Ok(())
        }
        Some(command) => {
            let hook = Hook { kind, command, at: g.at };
            c.hooks.push(hook).map_err(|_| Fault::Full(&("hooks", limits::HOOKS, "HOOKS")))
        }
    }
}

fn hooks(c: &Config<'_>, kind: HookKind, out: &mut Out<'_>) -> fmt::Result {
    c.hooks(kind).try_for_each(|hook| out.one(raw(hook.command)))
}

/// Init's words as one line that splits into the same words again.
struct Command<'a>(&'a [&'a CStr]);

impl fmt::Display for Command<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, word) in self.0.iter().enumerate() {
            let bytes = word.to_bytes();
            let plain = !bytes.is_empty()
                && !bytes.iter().any(u8::is_ascii_whitespace)
                && !bytes.starts_with(b"'")
                && !bytes.starts_with(b"\"");
            let quote = match (plain, bytes.contains(&b'"')) {
                (true, _) => "",
                (false, true) => "'",
                (false, false) => "\"",
            };
            let gap = if index > 0 { " " } else { "" };
            write!(f, "{gap}{quote}{}{quote}", raw(word))?;
        }
        Ok(())
    }
}

/// Group numbers with commas between them.
struct Groups<'a>(&'a [u32]);

impl fmt::Display for Groups<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, group) in self.0.iter().enumerate() {
            write!(f, "{}{group}", if index > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

/// `KEY=VALUE`, or a bare KEY, whose value is that of our own environment.
fn environment<'t>(list: &mut List<&'t CStr, { limits::ENVIRONMENT }>, g: &Given<'_, 't>) -> Result<(), Fault> {
    if g.value.is_empty() {
        list.clear();
        return Ok(());
    }
    let entry = if g.value.contains(&b'=') {
        g.arena.copy(g.value)?
    } else {
        use std::os::unix::ffi::OsStrExt;
        let value = std::env::var_os(std::ffi::OsStr::from_bytes(g.value))
            .ok_or(Fault::Expected("KEY=VALUE, or a KEY that our own environment has"))?;
        g.arena.join(&[g.value, b"=", value.as_bytes()])?
    };
    list.push(entry).map_err(|_| Fault::Full(&("environment entries", limits::ENVIRONMENT, "ENVIRONMENT")))
}

fn set_cgroup<'t>(c: &mut Config<'t>, g: &Given<'_, 't>, v2: bool) -> Result<(), Fault> {
    if g.value.is_empty() {
        c.cgroup.retain(|known| known.v2 != v2 || !g.sub.is_empty() && known.file.to_bytes() != g.sub);
        return Ok(());
    }
    if g.sub.is_empty() || g.sub.contains(&b'/') {
        return Err(Fault::Expected("a cgroup file's name behind the key, such as lxc.cgroup2.memory.max"));
    }
    let setting = CgroupSetting { v2, file: g.arena.copy(g.sub)?, value: g.arena.copy(g.value)?, at: g.at };
    c.cgroup.push(setting).map_err(|_| Fault::Full(&("cgroup settings", limits::CGROUP_SETTINGS, "CGROUP_SETTINGS")))
}

fn show_cgroup(c: &Config<'_>, sub: &[u8], v2: bool, out: &mut Out<'_>) -> fmt::Result {
    let wanted = |known: &&CgroupSetting<'_>| known.v2 == v2 && (sub.is_empty() || known.file.to_bytes() == sub);
    c.cgroup
        .iter()
        .filter(wanted)
        .try_for_each(|known| out.member(format_args!("{}", shown(known.file)), format_args!("{}", raw(known.value))))
}

fn set_prlimit<'t>(c: &mut Config<'t>, g: &Given<'_, 't>) -> Result<(), Fault> {
    if g.sub.is_empty() {
        c.prlimits.clear();
        return g.or((), |_| Err(Fault::Expected("nothing, which clears")));
    }
    let Some(resource) = values::resource(g.sub) else {
        return Err(Fault::unknown(format_args!("lxc.prlimit.{}", values::nearest_resource(g.sub))));
    };
    c.prlimits.retain(|known| known.resource != resource);
    if g.value.is_empty() {
        return Ok(());
    }
    let (soft, hard) = values::limits(g.value)?;
    let limit = Prlimit { resource, soft, hard, at: g.at };
    c.prlimits.push(limit).map_err(|_| Fault::Full(&("resource limits", limits::PRLIMITS, "PRLIMITS")))
}

fn show_prlimit(c: &Config<'_>, sub: &[u8], out: &mut Out<'_>) -> fmt::Result {
    for limit in &c.prlimits {
        let name = values::resource_name(limit.resource);
        if sub.is_empty() || name.as_bytes() == sub {
            let (soft, hard) = (values::Limit(limit.soft), values::Limit(limit.hard));
            let name = format_args!("{name}");
            match limit.soft == limit.hard {
                true => out.member(name, format_args!("{soft}"))?,
                false => out.member(name, format_args!("{soft}:{hard}"))?,
            }
        }
    }
    Ok(())
}

fn set_named<'t>(list: &mut List<NamedValue<'t>, { limits::SYSCTLS }>, g: &Given<'_, 't>) -> Result<(), Fault> {
    if g.value.is_empty() {
        list.retain(|known| !g.sub.is_empty() && known.name.to_bytes() != g.sub);
        return Ok(());
    }
    if g.sub.is_empty() {
        return Err(Fault::Expected("nothing, which clears; a name goes behind the key"));
    }
    list.retain(|known| known.name.to_bytes() != g.sub);
    let named = NamedValue { name: g.arena.copy(g.sub)?, value: g.arena.copy(g.value)?, at: g.at };
    list.push(named).map_err(|_| Fault::Full(&("settings of this family", limits::SYSCTLS, "SYSCTLS")))
}

fn show_named(list: &[NamedValue<'_>], sub: &[u8], out: &mut Out<'_>) -> fmt::Result {
    let wanted = |known: &&NamedValue<'_>| sub.is_empty() || known.name.to_bytes() == sub;
    list.iter()
        .filter(wanted)
        .try_for_each(|known| out.member(format_args!("{}", shown(known.name)), format_args!("{}", raw(known.value))))
}

fn set_boot<'t>(c: &mut Config<'t>, g: &Given<'_, 't>) -> Result<(), Fault> {
    let fine = |byte: &u8| byte.is_ascii_graphic() && *byte != b'=' && *byte != b'"';
    if !g.sub.iter().all(fine) || !g.value.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'"') {
        return Err(Fault::Expected("a name and a value without blanks and quotes, as a kernel command line has them"));
    }
    set_named(&mut c.own.boot, g)
}

fn set_allowed<'t>(c: &mut Config<'t>, g: &Given<'_, 't>) -> Result<(), Fault> {
    c.own.protect.at = g.at;
    if g.sub.is_empty() {
        c.own.protect.allowed = Protect::ALLOWED;
        return g.or((), |_| Err(Fault::Expected("nothing, which clears")));
    }
    let danger = values::word(g.sub, &Danger::NAMES)?;
    let bit = 1 << danger as u8;
    let allow = g.or(Protect::ALLOWED & bit != 0, values::flag)?;
    c.own.protect.allowed = c.own.protect.allowed & !bit | if allow { bit } else { 0 };
    Ok(())
}

fn show_allowed(c: &Config<'_>, sub: &[u8], out: &mut Out<'_>) -> fmt::Result {
    for (name, danger) in Danger::NAMES {
        let bit = 1 << danger as u8;
        let written = (c.own.protect.allowed ^ Protect::ALLOWED) & bit != 0;
        if sub == name.as_bytes() || sub.is_empty() && written {
            let allowed = u8::from(c.own.protect.allowed & bit != 0);
            out.member(format_args!("{name}"), format_args!("{allowed}"))?;
        }
    }
    Ok(())
}

fn set_reboot<'t>(c: &mut Config<'t>, g: &Given<'_, 't>) -> Result<(), Fault> {
    if g.sub.is_empty() {
        c.own.reboots.clear();
        return g.or((), |_| Err(Fault::Expected("nothing, which clears; an argument goes behind the key")));
    }
    c.own.reboots.retain(|rule| rule.argument.to_bytes() != g.sub);
    if g.value.is_empty() {
        return Ok(());
    }
    let rule = RebootRule { argument: g.arena.copy(g.sub)?, action: values::word(g.value, &RebootAction::WORDS)? };
    c.own.reboots.push(rule).map_err(|_| Fault::Full(&("rules for reboots", limits::REBOOTS, "REBOOTS")))
}

fn show_reboot(c: &Config<'_>, sub: &[u8], out: &mut Out<'_>) -> fmt::Result {
    let wanted = |rule: &&RebootRule<'_>| sub.is_empty() || rule.argument.to_bytes() == sub;
    c.own.reboots.iter().filter(wanted).try_for_each(|rule| {
        let word = RebootAction::WORDS.iter().find(|(_, action)| *action == rule.action).map_or("", |(word, _)| word);
        out.member(format_args!("{}", shown(rule.argument)), format_args!("{word}"))
    })
}

fn set_share<'t>(c: &mut Config<'t>, g: &Given<'_, 't>) -> Result<(), Fault> {
    let share = &mut c.isolation.share;
    if g.sub.is_empty() {
        share.clear();
        return g.or((), |_| Err(Fault::Expected("nothing, which clears")));
    }
    let Some(namespace) = values::namespace(g.sub) else {
        return Err(Fault::unknown(format_args!("lxc.namespace.share.net")));
    };
    share.retain(|known| known.namespace != namespace);
    let Some(of) = g.text()? else { return Ok(()) };
    // As many as there are kinds.
    let _ = share.push(Share { namespace, of, at: g.at });
    Ok(())
}

fn show_share(c: &Config<'_>, sub: &[u8], out: &mut Out<'_>) -> fmt::Result {
    c.isolation.share.iter().try_for_each(|share| {
        let name = values::namespace_names(share.namespace).next().unwrap_or_default();
        let wanted = sub.is_empty() || name.as_bytes() == sub;
        if wanted { out.member(format_args!("{name}"), format_args!("{}", raw(share.of))) } else { Ok(()) }
    })
}

fn namespaces(before: Option<u64>, g: &Given<'_, '_>) -> Result<Option<u64>, Fault> {
    g.or(None, |value| Ok(Some(before.unwrap_or(0) | values::namespaces(value)?)))
}

/// Puts a value of a kept key away.
fn keep<'t>(c: &mut Config<'t>, g: &Given<'_, 't>, key: &'static CStr, keep: Keep) -> Result<(), Fault> {
    if matches!(keep, Keep::Last) || g.value.is_empty() {
        c.kept.retain(|known| known.key != key);
    }
    if g.value.is_empty() {
        return Ok(());
    }
    let mut push = |value: &[u8]| {
        let kept = Kept { key, value: g.arena.copy(value)?, at: g.at };
        c.kept.push(kept).map_err(|_| Fault::Full(&("kept values", limits::KEPT, "KEPT")))
    };
    if keep == Keep::Words { lex::words(g.value).try_for_each(push) } else { push(g.value) }
}

/// Finds the row of a key as written; with it what stands behind a family's name, and whether an older name was used.
pub fn find(key: &[u8]) -> Option<(&'static Key, &[u8], bool)> {
    let exact = |row: &'static Key| {
        let old = row.old.iter().any(|old| old.as_bytes() == key);
        (old || row.name.to_bytes() == key).then_some((row, &b""[..], old))
    };
    let behind = |name: &[u8]| key.strip_prefix(name).and_then(|rest| rest.strip_prefix(b"."));
    let member = |row: &'static Key| {
        if !row.is_family() {
            return None;
        }
        let new = behind(row.name.to_bytes()).map(|sub| (row, sub, false));
        new.or_else(|| row.old.iter().find_map(|old| behind(old.as_bytes()).map(|sub| (row, sub, true))))
    };
    TABLE.iter().find_map(exact).or_else(|| TABLE.iter().find_map(member)).filter(|(_, sub, _)| {
        // `lxc.net.` is no key.
        !sub.is_empty() || !key.ends_with(b".")
    })
}

/// The name in the table that is nearest to a key that is not in it; None if not even half of it is alike.
pub fn nearest(key: &[u8]) -> Option<&'static str> {
    let (mut nearest, mut least) = (None, key.len() / 2 + 1);
    let mut look = |name: &'static str| {
        let distance = values::distance(name.as_bytes(), key);
        if distance < least {
            (nearest, least) = (Some(name), distance);
        }
    };
    for row in TABLE {
        row.name.to_str().into_iter().for_each(&mut look);
        row.old.iter().copied().for_each(&mut look);
    }
    nearest
}

impl Key {
    /// Whether members stand behind the name.
    pub fn is_family(&self) -> bool {
        matches!(self.kind, Kind::Family(..) | Kind::Links)
    }

    /// Sets the key.
    pub fn set<'t>(&self, config: &mut Config<'t>, given: &Given<'_, 't>) -> Result<(), Fault> {
        match &self.kind {
            Kind::Flag(_, at, default) => given.put(at(config), *default, values::flag),
            Kind::Switch(_, at) => given.put(at(config), None, |value| values::flag(value).map(Some)),
            Kind::Text(_, at) => {
                *at(config) = given.text()?;
                Ok(())
            }
            Kind::TextAt(_, at) => {
                *at(config) = given.text_at()?;
                Ok(())
            }
            Kind::Number(_, at, default) => given.put(at(config), *default, values::whole32),
            Kind::Time(_, at, default) => given.put(at(config), *default, values::duration_ms),
            Kind::Signal(_, at, default) => given.put(at(config), *default, values::signal),
            Kind::ConsoleSize(_, at) => given.put(at(config), 0, values::console_size),
            Kind::Hook(kind) => hook(config, given, *kind),
            Kind::Environment(_, at) => environment(at(config), given),
            Kind::One(set, _) | Kind::List(set, _) | Kind::Family(set, _) => set(config, given),
            Kind::Links => nics::set(config, given),
            Kind::Head(clear) => {
                clear(config);
                given.or((), |_| Err(Fault::Expected("nothing, which clears")))
            }
            Kind::Kept(how, check) => {
                given.or((), check)?;
                keep(config, given, self.name, *how)
            }
            Kind::Include | Kind::Ignored => Ok(()),
        }
    }

    /// Shows the key's values, of a family those of the member `sub` or of all.
    pub fn show(&self, config: &Config<'_>, sub: &[u8], old: bool, out: &mut Out<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Flag(at, ..) => out.flag(*at(config)),
            Kind::Switch(at, _) => at(config).map_or(Ok(()), |on| out.flag(on)),
            Kind::Text(at, _) => out.text(*at(config)),
            Kind::TextAt(at, _) => out.text_at(*at(config)),
            Kind::Number(at, ..) => out.one(at(config)),
            Kind::Time(at, ..) => out.ms(*at(config)),
            Kind::Signal(at, ..) => out.one(at(config)),
            Kind::ConsoleSize(at, _) => out.size(*at(config)),
            Kind::Hook(kind) => hooks(config, *kind, out),
            Kind::Environment(at, _) => out.texts(at(config)),
            Kind::One(_, show) | Kind::List(_, show) => show(config, out),
            Kind::Family(_, show) => show(config, sub, out),
            Kind::Links => nics::show(config, sub, old, out),
            Kind::Kept(..) => {
                config.kept.iter().filter(|kept| kept.key == self.name).try_for_each(|kept| out.one(raw(kept.value)))
            }
            Kind::Head(_) | Kind::Include | Kind::Ignored => Ok(()),
        }
    }
}
