//! The cgroups of this host, and whether they have what a config's limits need.

use super::{Findings, Verdict, machine};
use crate::cgroup::find::{Hierarchies, Hierarchy};
use crate::cgroup::{limit, place};
use crate::config::{CgroupSetting, Config};
use crate::files;
use crate::text::shown;
use nix::unistd::{AccessFlags, access};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Judges hierarchies and limits.
pub fn judge(config: &Config<'_>, hierarchies: &Hierarchies<'_>, findings: &mut Findings) {
    let v2 = hierarchies.iter().any(|one| one.v2);
    let v1 = hierarchies.iter().any(|one| !one.v2);
    let layout = match (v1, v2) {
        (true, true) => "hybrid",
        (true, false) => "v1",
        (false, true) => "v2",
        (false, false) => {
            let verdict = if config.cgroup.is_empty() { Verdict::Warn } else { Verdict::Fail };
            let what = format_args!("no hierarchy is mounted: no limits, no freezing; mount /sys/fs/cgroup");
            return findings.add(verdict, "cgroups", what);
        }
    };
    let mut places = String::new();
    for one in hierarchies {
        places.push_str(&format!(" {}", shown(one.mountpoint)));
    }
    findings.add(Verdict::Ok, "cgroups", format_args!("{layout}:{places}"));
    for one in hierarchies {
        let base = place::path_of(one, b"", b"").and_then(|base| access(base.c(), AccessFlags::W_OK));
        if let Err(errno) = base {
            let needed = config.cgroup.iter().any(|setting| is_home(setting, one));
            findings.add(
                if needed { Verdict::Fail } else { Verdict::Warn },
                "cgroups",
                format_args!("{}: {}: the container gets no group there", shown(one.mountpoint), errno.desc()),
            );
        }
    }
    let own_devices = |setting: &CgroupSetting<'_>| setting.v2 && limit::controller(setting) == b"devices";
    if v2 {
        machine::devices_on_v2(config.cgroup.iter().any(own_devices), findings);
    }
    if let Err(error) = limit::check(config, hierarchies) {
        return findings.add(Verdict::Fail, "limits", format_args!("{error}"));
    }
    for setting in config.cgroup.iter().filter(|setting| !own_devices(setting)) {
        let Some(home) = hierarchies.iter().find(|one| is_home(setting, one)) else { continue };
        look_for(config, setting, home, findings);
    }
}

fn is_home(setting: &CgroupSetting<'_>, hierarchy: &Hierarchy<'_>) -> bool {
    if setting.v2 { hierarchy.v2 } else { hierarchy.has(limit::controller(setting)) }
}

/// Looks for a limit's file. A hierarchy's root lacks some that every group below it has, so those are looked at as well.
fn look_for(config: &Config<'_>, setting: &CgroupSetting<'_>, home: &Hierarchy<'_>, findings: &mut Findings) {
    let root = Path::new(OsStr::from_bytes(home.mountpoint.to_bytes()));
    let controller = limit::controller(setting);
    let version = if setting.v2 { "2" } else { "" };
    let place = config.place(setting.at);
    let name = shown(setting.file);
    if setting.v2 && controller != b"cgroup" && !words_have(&root.join("cgroup.controllers"), controller) {
        let where_ = shown(home.mountpoint);
        return findings.add(
            Verdict::Fail,
            "limits",
            format_args!("{place}: lxc.cgroup{version}.{name}: {where_} does not have that controller"),
        );
    }
    let file = OsStr::from_bytes(setting.file.to_bytes());
    let names = files::names(home.mountpoint).unwrap_or_default();
    let mut groups = names.iter().map(|name| root.join(OsStr::from_bytes(name.to_bytes())));
    let mut tried = false;
    let there = root.join(file).exists()
        || groups.any(|group| {
            if !group.is_dir() {
                return false;
            }
            tried |= !setting.v2 || words_have(&group.join("cgroup.controllers"), controller);
            group.join(file).exists()
        });
    match (there, tried) {
        (true, _) => findings.add(Verdict::Ok, "limits", format_args!("{place}: lxc.cgroup{version}.{name}")),
        (false, true) => findings.add(
            Verdict::Fail,
            "limits",
            format_args!("{place}: lxc.cgroup{version}.{name}: no group of this host has such a file"),
        ),
        (false, false) => findings.add(
            Verdict::Warn,
            "limits",
            format_args!("{place}: lxc.cgroup{version}.{name}: cannot be looked at before there is a group"),
        ),
    }
}

fn words_have(file: &Path, word: &[u8]) -> bool {
    fs::read(file).unwrap_or_default().split(u8::is_ascii_whitespace).any(|one| one == word)
}
