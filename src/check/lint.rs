//! What is odd in a config that can be loaded.

use super::{Findings, Verdict};
use crate::config::keys::{self, Kind};
use crate::config::own::{RebootAction, StopMethod};
use crate::config::{Config, RestartWhen, lex};
use crate::spawn;
use crate::text::{Shown, shown};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What is odd about a line.
#[derive(Debug, PartialEq, Eq)]
enum Odd<'a> {
    /// It is no setting; the key that it may have been meant to be.
    Ignored(Option<&'static str>),
    /// An older name of a key, and today's name of its row.
    Old(&'a [u8], &'static str),
    /// A key without effect.
    Gone(&'a [u8]),
}

/// Looks at a line as `config::include` would.
fn odd(line: &[u8]) -> Option<Odd<'_>> {
    let line = lex::sound(line).ok()?;
    if line.is_empty() || line.starts_with(b"#") {
        return None;
    }
    let Ok(Some(pair)) = lex::setting(line) else {
        let key = lex::pair(line).ok().map(|pair| pair.key);
        return Some(Odd::Ignored(key.and_then(keys::nearest)));
    };
    let (row, _, old) = keys::find(pair.key)?;
    match row.kind {
        Kind::Ignored => Some(Odd::Gone(pair.key)),
        _ => old.then(|| Odd::Old(pair.key, row.name.to_str().unwrap_or(""))),
    }
}

/// Reads a config file again, for what loading it passes over.
pub fn file(path: &[u8], findings: &mut Findings) {
    let text = fs::read(Path::new(OsStr::from_bytes(path))).unwrap_or_default();
    for (number, line) in lex::lines(&text) {
        let place = format_args!("{}:{number}", Shown(path)).to_string();
        let brief = |text: &[u8]| Shown(text.get(..60).unwrap_or(text)).to_string();
        match odd(line) {
            None => {}
            Some(Odd::Ignored(nearest)) => {
                let line = brief(line.trim_ascii());
                let meant = nearest.map(|key| format!("; is {key} meant?")).unwrap_or_default();
                findings.add(
                    Verdict::Warn,
                    "config",
                    format_args!("{place}: \"{line}\" does not begin with lxc. or monopod. and is passed over{meant}"),
                );
            }
            Some(Odd::Old(key, today)) => {
                let key = brief(key);
                findings.add(
                    Verdict::Warn,
                    "config",
                    format_args!("{place}: {key} is {today} today ('monopod update-config' rewrites it)"),
                );
            }
            Some(Odd::Gone(key)) => {
                let key = brief(key);
                findings.add(Verdict::Warn, "config", format_args!("{place}: {key} has no effect any more"));
            }
        }
    }
}

/// Judges a config that was loaded.
pub fn judge(config: &Config<'_>, findings: &mut Findings) {
    match config.files.first() {
        Some(file) => {
            let files = config.files.len();
            findings.add(Verdict::Ok, "config", format_args!("{} can be read, {files} files in all", shown(file)));
        }
        None => findings.add(
            Verdict::Warn,
            "config",
            format_args!("no {}/{}/config: everything is as by default", shown(config.lxcpath), shown(config.name)),
        ),
    }
    for path in config.files.iter().filter(|path| config.fstab.is_none_or(|fstab| fstab.value != **path)) {
        file(path.to_bytes(), findings);
    }
    for missing in &config.not_built {
        findings.add(Verdict::Fail, "config", format_args!("{}: {missing}", config.place(missing.at)));
    }
    let refusals =
        [spawn::namespaces::plan(config).err(), spawn::shares::open_all(config).err(), crate::lsm::plan(config).err()];
    for error in refusals.into_iter().flatten() {
        findings.add(Verdict::Fail, "config", format_args!("{error}"));
    }
    own(config, findings);
    const SYS_BOOT: u64 = 1 << 22;
    let dropped = config.caps.drop & SYS_BOOT != 0 || config.caps.keep.is_some_and(|keep| keep & SYS_BOOT == 0);
    // Android ends in another way then, and says why in a file.
    if dropped && !config.own.android && config.restart.when != RestartWhen::Never {
        let place = config.place(config.caps.at);
        findings.add(
            Verdict::Warn,
            "config",
            format_args!("{place}: without CAP_SYS_BOOT the guest cannot reboot itself: keep sys_boot if it shall"),
        );
    }
}

/// Keys of our own that do nothing alone.
fn own(config: &Config<'_>, findings: &mut Findings) {
    let own = &config.own;
    let mut missing = |what: &str| findings.add(Verdict::Warn, "config", format_args!("{what}"));
    if own.reboots.iter().any(|rule| rule.action == RebootAction::Hook) && own.reboot_hook.is_none() {
        missing("a monopod.reboot.* rule says hook, and there is no monopod.hook.reboot");
    }
    if own.stop_method == StopMethod::Command && own.stop_command.is_none() {
        missing("monopod.stop.method = command, and there is no monopod.stop.command");
    }
    if own.android && config.signals.halt_set {
        missing("lxc.signal.halt is what is sent then, and most Androids ignore it: leave it out under the preset");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_lines_are_told_from_sound_ones() {
        for fine in
            ["", "# lcx.arch = x86", "lxc.arch = x86", "  lxc.cgroup.memory.limit_in_bytes = 1M", "monopod.alive ="]
        {
            assert_eq!(odd(fine.as_bytes()), None, "{fine}");
        }
        assert_eq!(odd(b"lcx.uts.name = a"), Some(Odd::Ignored(Some("lxc.uts.name"))));
        assert_eq!(odd(b"include /etc/x"), Some(Odd::Ignored(None)));
        assert_eq!(odd(b"lxc.utsname = a"), Some(Odd::Old(b"lxc.utsname", "lxc.uts.name")));
        assert_eq!(odd(b"lxc.network.type = veth"), Some(Odd::Old(b"lxc.network.type", "lxc.net")));
        assert_eq!(odd(b"lxc.kmsg = 0"), Some(Odd::Gone(b"lxc.kmsg")));
    }
}
