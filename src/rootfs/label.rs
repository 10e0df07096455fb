//! Partitions by their names, and the slot of a phone that has two of each: `PARTLABEL=system${slot}` as the rootfs or as the
//! source of a mount entry, so that no hook need look for them.
//!
//! Looked up once, by the supervisor, before anything is made; a config without these words pays a glance at each source.

use crate::config::values::distance;
use crate::config::{Config, Origin};
use crate::error::{Error, Result};
use crate::files;
use crate::pid1::early::{Device, for_each_device};
use crate::text::{Arena, Line, PathText, Shown};
use core::ffi::CStr;
use core::fmt;
use nix::unistd::{AccessFlags, access};

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
    if !named && crate::text::find(source, SLOT).is_none() {
        return Ok(None);
    }
    let refuse =
        |why: fmt::Arguments<'_>| Error::new("rootfs", format_args!("{}: {}: {why}", config.place(at), Shown(source)));
    let mut text = source.to_vec();
    while let Some(place) = crate::text::find(&text, SLOT) {
        let read = |path| files::read(path).unwrap_or_default();
        let slot = slot(&read(c"/proc/cmdline")).or_else(|| slot(&read(c"/proc/bootconfig")));
        let slot =
            slot.ok_or_else(|| refuse(format_args!("the kernel command line has no androidboot.slot_suffix")))?;
        text.splice(place..place + SLOT.len(), slot);
    }
    let device;
    let found = match KINDS.iter().find_map(|(kind, links)| Some((text.strip_prefix(kind.as_bytes())?, *links))) {
        None => &text[..],
        Some((name, _)) if name.is_empty() || name.contains(&b'/') => {
            return Err(refuse(format_args!("expected a partition's name")));
        }
        Some((name, links)) => {
            device = self::device(name, links, &refuse)?;
            device.c().to_bytes()
        }
    };
    arena.copy(found).map(Some).map_err(|_| refuse(format_args!("no room for its path (limits::TEXT_BYTES)")))
}

/// The device of a partition.
///
/// Of several disks with the same names, as a card and the memory it was copied to, Android's links mean the one that was
/// booted from. Where the kernel alone has to tell they are ambiguous; udev's links would mean any of them.
fn device(name: &[u8], links: &[&str], refuse: &dyn Fn(fmt::Arguments<'_>) -> Error) -> Result<PathText> {
    let there = |folder: &[u8], name: &[u8]| {
        PathText::join(&[folder, name]).ok().filter(|path| access(path.c(), AccessFlags::F_OK).is_ok())
    };
    let mut links = links.iter().map(|folder| there(folder.as_bytes(), name));
    // Only partition labels have a link of Android's, and only these does the kernel know.
    let labels = links.len() > 1;
    if labels && let Some(Some(link)) = links.next() {
        return Ok(link);
    }
    let (mut same, mut least) = (0, usize::MAX);
    let (mut nearest, mut node) = (Line::<72>::new(), Line::<64>::new());
    let mut look = |device: &Device<'_>| {
        let Some(label) = device.label.filter(|_| labels) else { return };
        same += u32::from(label == name);
        let distance = if label == name { 0 } else { distance(label, name).max(1) };
        if distance < least {
            least = distance;
            (nearest, node) = (Line::new(), Line::new());
            nearest.push(label);
            node.push(device.name);
        }
    };
    for_each_device(c"/sys/dev/block", &mut look);
    match same {
        0 => links.find_map(|link| link).ok_or_else(|| match nearest.text() {
            "" => refuse(format_args!("no partition of that name")),
            nearest => refuse(format_args!("no partition of that name, the nearest is {nearest}")),
        }),
        1 => there(b"/dev/", node.bytes())
            .or_else(|| there(b"/dev/block/", node.bytes()))
            .ok_or_else(|| refuse(format_args!("/dev has no {node}"))),
        _ => Err(refuse(format_args!("{same} partitions have that name"))),
    }
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
}
