//! Partitions by their names, and the slot of a phone that has two of each: `PARTLABEL=system${slot}` as the rootfs or as the
//! source of a mount entry, so that no hook need look for them.
//!
//! Looked up once, by the supervisor, before anything is made; a config without these words pays a glance at each source.

use crate::config::values::distance;
use crate::config::{Config, Origin};
use crate::error::{Error, Result};
use crate::text::{Arena, Shown};
use core::ffi::CStr;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const SLOT: &[u8] = b"${slot}";

/// What may be named, and where udev and Android have links by that name.
const KINDS: [(&str, &[&str]); 4] = [
    ("PARTLABEL=", &["/dev/block/by-name", "/dev/disk/by-partlabel"]),
    ("PARTUUID=", &["/dev/disk/by-partuuid"]),
    ("LABEL=", &["/dev/disk/by-label"]),
    ("UUID=", &["/dev/disk/by-uuid"]),
];

/// Puts devices in the place of names, in the rootfs and in the sources of mounts. An optional mount that names what is not
/// there stays as it is, and fails as one that is optional.
///
/// # Errors
/// One line that names the setting and what was looked for.
pub fn resolve<'t>(config: &mut Config<'t>, arena: &Arena<'t>) -> Result<()> {
    if let Some(path) = config.rootfs.path
        && let Some(found) = found(config, path.value, path.at, arena)?
        && let Some(path) = config.rootfs.path.as_mut()
    {
        path.value = found;
    }
    for index in 0..config.mounts.len() {
        let Some(&entry) = config.mounts.get(index) else { break };
        let source = match found(config, entry.source, entry.at, arena) {
            Err(_) if entry.optional => continue,
            other => other?,
        };
        if let (Some(source), Some(entry)) = (source, config.mounts.get_mut(index)) {
            entry.source = source;
        }
    }
    Ok(())
}

fn found<'t>(config: &Config<'t>, source: &CStr, at: Origin, arena: &Arena<'t>) -> Result<Option<&'t CStr>> {
    let source = source.to_bytes();
    let named = KINDS.iter().any(|(kind, _)| source.starts_with(kind.as_bytes()));
    if !named && memchr::memmem::find(source, SLOT).is_none() {
        return Ok(None);
    }
    let refuse = |why: &str| Error::new("rootfs", format_args!("{}: {}: {why}", config.place(at), Shown(source)));
    let mut text = source.to_vec();
    while let Some(place) = memchr::memmem::find(&text, SLOT) {
        let read = |path| fs::read(path).unwrap_or_default();
        let slot = slot(&read("/proc/cmdline")).or_else(|| slot(&read("/proc/bootconfig")));
        let slot = slot.ok_or_else(|| refuse("the kernel command line has no androidboot.slot_suffix"))?;
        text.splice(place..place + SLOT.len(), slot);
    }
    let device = match KINDS.iter().find_map(|(kind, links)| Some((text.strip_prefix(kind.as_bytes())?, *links))) {
        None => text,
        Some((name, _)) if name.is_empty() || name.contains(&b'/') => {
            return Err(refuse("expected a partition's name"));
        }
        Some((name, links)) => device(name, links).map_err(|why| refuse(&why))?,
    };
    arena.copy(&device).map(Some).map_err(|_| refuse("no room for its path (limits::TEXT_BYTES)"))
}

/// The device of a partition; the error is why there is none to be taken.
///
/// Of several disks with the same names, as a card and the memory it was copied to, Android's links mean the one that was
/// booted from. Where the kernel alone has to tell they are ambiguous; udev's links would mean any of them.
fn device(name: &[u8], links: &[&str]) -> core::result::Result<Vec<u8>, String> {
    let exists = |path: &Vec<u8>| Path::new(OsStr::from_bytes(path)).exists();
    let mut paths = links.iter().map(|directory| [directory.as_bytes(), b"/", name].concat());
    // Only partition labels have a link of Android's, and only these does the kernel know.
    let labels = links.len() > 1;
    if labels && let Some(link) = paths.next().filter(exists) {
        return Ok(link);
    }
    let known = if labels { known() } else { Vec::new() };
    let mut named = known.iter().filter(|(label, _)| label == name);
    if let Some((_, device)) = named.next() {
        return match named.next() {
            Some((_, other)) => Err(format!("{} and {} have that name", Shown(device), Shown(other))),
            None => {
                let nodes = [&b"/dev/"[..], b"/dev/block/"].map(|folder| [folder, device].concat());
                nodes
                    .into_iter()
                    .find(exists)
                    .ok_or_else(|| format!("it is {}, which has no node in /dev", Shown(device)))
            }
        };
    }
    let nearest = known.iter().min_by_key(|(label, _)| distance(label, name));
    let nearest = nearest.map(|(label, _)| format!(", the nearest is {}", Shown(label))).unwrap_or_default();
    paths.find(exists).ok_or_else(|| {
        format!("no partition of that name{nearest} (looked in /sys/class/block, /dev/block/by-name, /dev/disk)")
    })
}

/// Name and device of each partition that the kernel knows a name of.
fn known() -> Vec<(Vec<u8>, Vec<u8>)> {
    let entries = fs::read_dir("/sys/class/block").into_iter().flatten().flatten();
    let texts = entries.filter_map(|entry| fs::read(entry.path().join("uevent")).ok());
    texts.filter_map(|text| partition(&text).map(|(name, device)| (name.to_vec(), device.to_vec()))).collect()
}

/// Name and device in a uevent file, if it is that of a partition with a name.
fn partition(uevent: &[u8]) -> Option<(&[u8], &[u8])> {
    let value = |key: &[u8]| uevent.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(key));
    Some((value(b"PARTNAME=")?, value(b"DEVNAME=")?))
}

/// `_a` or `_b`, from a kernel command line or a bootconfig.
fn slot(text: &[u8]) -> Option<Vec<u8>> {
    let words = text.split(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty() && *word != b"=");
    let words: Vec<&[u8]> = words.collect();
    let value = |key: &[u8]| {
        let at = words
            .iter()
            .position(|word| word.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"=")))?;
        let rest = words.get(at)?.strip_prefix(key)?;
        let value = rest.strip_prefix(b"=").or_else(|| words.get(at + 1).copied())?;
        let value = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
        (!value.is_empty() && value.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')).then_some(value)
    };
    value(b"androidboot.slot_suffix")
        .map(<[u8]>::to_vec)
        .or_else(|| value(b"androidboot.slot").map(|slot| [b"_", slot].concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slot_is_read_from_both_forms() {
        for (text, slot_is) in [
            ("a=b androidboot.slot_suffix=_a c", Some("_a")),
            ("androidboot.slot=b\n", Some("_b")),
            ("androidboot.slot_suffix = \"_b\"\nx = \"y\"", Some("_b")),
            ("androidboot.slot_suffixes=_a", None),
            ("androidboot.slot_suffix=", None),
            ("androidboot.slot_suffix=../x", None),
            ("", None),
        ] {
            assert_eq!(slot(text.as_bytes()), slot_is.map(|text| text.as_bytes().to_vec()), "{text}");
        }
    }

    #[test]
    fn partition_has_a_name_and_a_device() {
        let text = b"MAJOR=8\nMINOR=3\nDEVNAME=sda3\nDEVTYPE=partition\nPARTN=3\nPARTNAME=system_a\n";
        assert_eq!(partition(text), Some((&b"system_a"[..], &b"sda3"[..])));
        assert_eq!(partition(b"DEVNAME=sda\n"), None);
    }
}
