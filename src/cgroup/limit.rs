//! `lxc.cgroup.*` and `lxc.cgroup2.*`: every configured limit is in force, or the start is refused.

use super::find::{Hierarchies, Hierarchy};
use super::{HINT, devices, place};
use crate::config::{CgroupSetting, Config};
use crate::error::{Error, Result};
use crate::sys::fds::open;
use crate::text::{PathText, number, shown};
use core::ffi::CStr;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use std::os::fd::BorrowedFd;

/// The contents of a small control file, without its newline.
pub type Value = heapless::Vec<u8, 512>;

/// How often a realtime budget is tried that does not fit yet.
const RT_ROUNDS: u32 = 50;

/// The controller of a control file: what stands before the first dot.
pub fn controller<'a>(setting: &CgroupSetting<'a>) -> &'a [u8] {
    setting.file.to_bytes().split(|b| *b == b'.').next().unwrap_or(b"")
}

/// The hierarchy that a setting belongs to.
fn home<'h, 't>(setting: &CgroupSetting<'_>, hierarchies: &'h Hierarchies<'t>) -> Option<&'h Hierarchy<'t>> {
    hierarchies.iter().find(|one| if setting.v2 { one.v2 } else { one.has(controller(setting)) })
}

/// Configs are written for hosts of both kinds: a setting whose hierarchy this host does not have may be passed over only
/// if the config also says it in the vocabulary that the host does have.
pub fn check(config: &Config<'_>, hierarchies: &Hierarchies<'_>) -> Result<()> {
    for setting in &config.cgroup {
        if home(setting, hierarchies).is_none() && !has_twin(setting, config, hierarchies) {
            let (version, other) =
                if setting.v2 { ("2", "v2 hierarchy") } else { ("", "v1 hierarchy of that controller") };
            return Err(Error::new(
                "cgroup limit",
                format_args!(
                    "{}: lxc.cgroup{version}.{}: this host has no {other}",
                    config.place(setting.at),
                    shown(setting.file)
                ),
            ));
        }
    }
    Ok(())
}

fn has_twin(setting: &CgroupSetting<'_>, config: &Config<'_>, hierarchies: &Hierarchies<'_>) -> bool {
    let same = |other: &&CgroupSetting<'_>| other.v2 != setting.v2 && controller(other) == controller(setting);
    config.cgroup.iter().filter(same).any(|other| home(other, hierarchies).is_some())
}

fn is_devices(setting: &CgroupSetting<'_>) -> bool {
    controller(setting) == b"devices"
}

/// Applies all settings but the device lists, in the order written.
pub fn apply(config: &Config<'_>, hierarchies: &Hierarchies<'_>) -> Result<()> {
    for setting in config.cgroup.iter().filter(|setting| !is_devices(setting)) {
        if let Some(hierarchy) = home(setting, hierarchies) {
            put(config, setting, hierarchy)?;
        }
    }
    Ok(())
}

/// Applies the device lists: v1 by its files, v2 by a program.
pub fn apply_devices(
    config: &Config<'_>,
    hierarchies: &Hierarchies<'_>,
    v2: Option<BorrowedFd<'_>>,
    in_force: &mut devices::InForce,
) -> Result<()> {
    for setting in config.cgroup.iter().filter(|setting| is_devices(setting) && !setting.v2) {
        if let Some(hierarchy) = home(setting, hierarchies) {
            put(config, setting, hierarchy)?;
        }
    }
    match v2 {
        Some(directory) if config.cgroup.iter().any(|setting| is_devices(setting) && setting.v2) => {
            in_force.attach(config, directory)
        }
        _ => Ok(()),
    }
}

fn put(config: &Config<'_>, setting: &CgroupSetting<'_>, hierarchy: &Hierarchy<'_>) -> Result<()> {
    let refuse = |errno: Errno| {
        Error::os(
            "cgroup limit",
            errno,
            format_args!(
                "{}: lxc.cgroup{}.{} = {}",
                config.place(setting.at),
                if setting.v2 { "2" } else { "" },
                shown(setting.file),
                shown(setting.value)
            ),
        )
    };
    let file = setting.file.to_bytes();
    let slashed = PathText::<64>::of(&[b"/", file]).map_err(|_| refuse(Errno::ENAMETOOLONG))?;
    let slashed = slashed.c().to_bytes();
    let limit = config.groups.limit;
    let own = place::path_of(hierarchy, limit.to_bytes(), slashed).map_err(refuse)?;
    if !setting.v2 && file == b"cpu.rt_runtime_us" {
        // A child's realtime budget must fit into its parent's, which is 0 in a new one: the outermost first.
        for parent in place::way(limit).filter(|one| !one.is_empty() && one.len() < limit.count_bytes()) {
            let parent = place::path_of(hierarchy, parent, slashed).map_err(refuse)?;
            raise_rt(parent.c(), setting.value).map_err(refuse)?;
        }
        return write_rt(own.c(), setting.value.to_bytes()).map_err(refuse);
    }
    match write_file(own.c(), setting.value.to_bytes()) {
        // A v2 controller that nobody has switched on for this branch yet shows as a file that is not there.
        Err(Errno::ENOENT) if setting.v2 => {
            let words = controller(setting);
            enable(hierarchy, config.groups.container, words).map_err(|errno| match errno {
                Errno::ENOENT | Errno::EACCES if !hierarchy.base.is_empty() || hierarchy.foreign => {
                    refuse(errno).with_suffix(HINT)
                }
                errno => refuse(errno),
            })?;
            write_file(own.c(), setting.value.to_bytes()).map_err(refuse)
        }
        other => other.map_err(refuse),
    }
}

fn raise_rt(parent: &CStr, wanted: &CStr) -> core::result::Result<(), Errno> {
    let has = number(&read(parent)?).unwrap_or(0);
    match number(wanted.to_bytes()) {
        Some(wants) if wants > has => write_file(parent, wanted.to_bytes()),
        _ => Ok(()),
    }
}

/// The budget of an earlier life, or of a group that the guest made in it, counts until the kernel has let go of the removed
/// group: a little later than the next life may begin.
fn write_rt(path: &CStr, value: &[u8]) -> core::result::Result<(), Errno> {
    for _ in 0..RT_ROUNDS {
        match write_file(path, value) {
            Err(Errno::EINVAL) => super::remove::pause(),
            other => return other,
        }
    }
    Err(Errno::EINVAL)
}

/// Switches one v2 controller on for a group, from the base down to its parent.
pub fn enable(hierarchy: &Hierarchy<'_>, group: &CStr, controller: &[u8]) -> core::result::Result<(), Errno> {
    let word = PathText::<64>::of(&[b"+", controller]).map_err(|_| Errno::ENAMETOOLONG)?;
    for level in place::way(group).filter(|level| level.len() < group.count_bytes()) {
        let file = place::path_of(hierarchy, level, b"/cgroup.subtree_control")?;
        write_file(file.c(), word.c().to_bytes())?;
    }
    Ok(())
}

/// Reads a control file, at most as much of it as a `Value` holds.
pub fn read(path: &CStr) -> core::result::Result<Value, Errno> {
    let file = open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    let mut buffer = [0u8; 512];
    let length = nix::unistd::read(&file, &mut buffer)?;
    let mut value = Value::new();
    let text = buffer.get(..length).unwrap_or(&[]).trim_ascii_end();
    let _ = value.extend_from_slice(text);
    Ok(value)
}

/// Writes a control file in one write, as the kernel wants it.
pub fn write_file(path: &CStr, value: &[u8]) -> core::result::Result<(), Errno> {
    let file = open(path, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    match nix::unistd::write(&file, value)? {
        written if written == value.len() => Ok(()),
        _ => Err(Errno::EIO),
    }
}
