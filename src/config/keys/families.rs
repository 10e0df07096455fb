//! What rows with more than a plain value set and show: families, lists, commands.

use super::super::isolation::Share;
use super::super::own::{Danger, Protect, RebootAction, RebootRule};
use super::super::{CgroupSetting, Config, Hook, HookKind, List, NamedValue, Prlimit, RootfsKind, values};
use super::{Fault, Given, Out, raw};
use crate::limits;
use crate::text::shown;
use core::ffi::CStr;
use core::fmt;

pub(super) fn set_rootfs<'t>(c: &mut Config<'t>, g: &Given<'_, 't>) -> Result<(), Fault> {
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

pub(super) fn hook<'t>(c: &mut Config<'t>, g: &Given<'_, 't>, kind: HookKind) -> Result<(), Fault> {
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

pub(super) fn hooks(c: &Config<'_>, kind: HookKind, out: &mut Out<'_>) -> fmt::Result {
    c.hooks(kind).try_for_each(|hook| out.one(raw(hook.command)))
}

/// Init's words as one line that splits into the same words again.
pub(super) struct Command<'a>(pub &'a [&'a CStr]);

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
pub(super) struct Groups<'a>(pub &'a [u32]);

impl fmt::Display for Groups<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, group) in self.0.iter().enumerate() {
            write!(f, "{}{group}", if index > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

/// `KEY=VALUE`, or a bare KEY, whose value is that of our own environment.
pub(super) fn environment<'t>(
    list: &mut List<&'t CStr, { limits::ENVIRONMENT }>,
    g: &Given<'_, 't>,
) -> Result<(), Fault> {
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

pub(super) fn set_cgroup<'t>(c: &mut Config<'t>, g: &Given<'_, 't>, v2: bool) -> Result<(), Fault> {
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

pub(super) fn show_cgroup(c: &Config<'_>, sub: &[u8], v2: bool, out: &mut Out<'_>) -> fmt::Result {
    let wanted = |known: &&CgroupSetting<'_>| known.v2 == v2 && (sub.is_empty() || known.file.to_bytes() == sub);
    c.cgroup
        .iter()
        .filter(wanted)
        .try_for_each(|known| out.member(format_args!("{}", shown(known.file)), format_args!("{}", raw(known.value))))
}

pub(super) fn set_prlimit<'t>(c: &mut Config<'t>, g: &Given<'_, 't>) -> Result<(), Fault> {
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

pub(super) fn show_prlimit(c: &Config<'_>, sub: &[u8], out: &mut Out<'_>) -> fmt::Result {
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

pub(super) fn set_named<'t>(
    list: &mut List<NamedValue<'t>, { limits::SYSCTLS }>,
    g: &Given<'_, 't>,
) -> Result<(), Fault> {
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

pub(super) fn show_named(list: &[NamedValue<'_>], sub: &[u8], out: &mut Out<'_>) -> fmt::Result {
    let wanted = |known: &&NamedValue<'_>| sub.is_empty() || known.name.to_bytes() == sub;
    list.iter()
        .filter(wanted)
        .try_for_each(|known| out.member(format_args!("{}", shown(known.name)), format_args!("{}", raw(known.value))))
}

pub(super) fn set_boot<'t>(c: &mut Config<'t>, g: &Given<'_, 't>) -> Result<(), Fault> {
    let fine = |byte: &u8| byte.is_ascii_graphic() && *byte != b'=' && *byte != b'"';
    if !g.sub.iter().all(fine) || !g.value.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'"') {
        return Err(Fault::Expected("a name and a value without blanks and quotes, as a kernel command line has them"));
    }
    set_named(&mut c.own.boot, g)
}

pub(super) fn set_allowed<'t>(c: &mut Config<'t>, g: &Given<'_, 't>) -> Result<(), Fault> {
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

pub(super) fn show_allowed(c: &Config<'_>, sub: &[u8], out: &mut Out<'_>) -> fmt::Result {
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

pub(super) fn set_reboot<'t>(c: &mut Config<'t>, g: &Given<'_, 't>) -> Result<(), Fault> {
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

pub(super) fn show_reboot(c: &Config<'_>, sub: &[u8], out: &mut Out<'_>) -> fmt::Result {
    let wanted = |rule: &&RebootRule<'_>| sub.is_empty() || rule.argument.to_bytes() == sub;
    c.own.reboots.iter().filter(wanted).try_for_each(|rule| {
        let word = RebootAction::WORDS.iter().find(|(_, action)| *action == rule.action).map_or("", |(word, _)| word);
        out.member(format_args!("{}", shown(rule.argument)), format_args!("{word}"))
    })
}

pub(super) fn set_share<'t>(c: &mut Config<'t>, g: &Given<'_, 't>) -> Result<(), Fault> {
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

pub(super) fn show_share(c: &Config<'_>, sub: &[u8], out: &mut Out<'_>) -> fmt::Result {
    c.isolation.share.iter().try_for_each(|share| {
        let name = values::namespace_names(share.namespace).next().unwrap_or_default();
        let wanted = sub.is_empty() || name.as_bytes() == sub;
        if wanted { out.member(format_args!("{name}"), format_args!("{}", raw(share.of))) } else { Ok(()) }
    })
}

pub(super) fn namespaces(before: Option<u64>, g: &Given<'_, '_>) -> Result<Option<u64>, Fault> {
    g.or(None, |value| Ok(Some(before.unwrap_or(0) | values::namespaces(value)?)))
}
