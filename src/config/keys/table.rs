//! The table itself, in the order in which a config is printed.

use super::super::isolation;
use super::super::own::{Binder, Exhausted, ReadyFailed, StopMethod};
use super::super::{Alive, AutoProc, AutoSys, ConsolePath, MountAuto, RestartWhen, lex, mounts, readiness, values};
use super::families::*;
use super::{Fault, HookKind, Keep, Key, Kind, limits, raw, shown};
use core::ffi::CStr;

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
        Kind::Time(|c| &c.restart.delay_ms, |c| &mut c.restart.delay_ms, super::super::Restart::DEFAULT.delay_ms),
    ),
    row(
        c"monopod.restart.factor",
        &[],
        Kind::One(
            |c, g| {
                g.put(&mut c.restart.factor, super::super::Restart::DEFAULT.factor, |value| {
                    match values::whole32(value)? {
                        0 => Err(Fault::Expected("a whole number from 1")),
                        factor => Ok(factor),
                    }
                })
            },
            |c, out| out.one(c.restart.factor),
        ),
    ),
    row(
        c"monopod.restart.cap",
        &[],
        Kind::Time(|c| &c.restart.cap_ms, |c| &mut c.restart.cap_ms, super::super::Restart::DEFAULT.cap_ms),
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
        Kind::Time(|c| &c.restart.window_ms, |c| &mut c.restart.window_ms, super::super::Restart::DEFAULT.window_ms),
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
        Kind::Time(|c| &c.timeouts.hook_ms, |c| &mut c.timeouts.hook_ms, super::super::Timeouts::DEFAULT.hook_ms),
    ),
    row(
        c"monopod.timeout.start",
        &[],
        Kind::Time(|c| &c.timeouts.start_ms, |c| &mut c.timeouts.start_ms, super::super::Timeouts::DEFAULT.start_ms),
    ),
    row(
        c"monopod.timeout.stop",
        &[],
        Kind::Time(|c| &c.timeouts.stop_ms, |c| &mut c.timeouts.stop_ms, super::super::Timeouts::DEFAULT.stop_ms),
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
