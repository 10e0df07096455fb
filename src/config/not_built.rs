//! What a config asks for that is not in this build, or in any: noted where it is set, refused by name at a start.

use super::keys::Given;
use super::{Config, List, NicType, RootfsKind};
use crate::limits;
use crate::text::shown;
use core::ffi::CStr;
use core::fmt;

/// A key that is set to something that a start would need and that is not here.
#[derive(Clone, Copy, Debug)]
pub struct NotBuilt {
    /// Its current name (`lxc.seccomp.profile`).
    pub key: &'static CStr,
    /// Where it stands.
    pub at: super::Origin,
    /// What it needs.
    pub needs: Needs,
}

/// What a key needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// A cargo feature, by its name.
    Feature(&'static str),
    /// A driver of LXC's for storage that no build has.
    Driver,
}

/// All that a config asks for in vain.
pub type Notes = List<NotBuilt, { limits::KEPT }>;

impl NotBuilt {
    /// The same key and need, wherever it stands.
    fn is_about(&self, other: &NotBuilt) -> bool {
        (self.key, self.needs) == (other.key, other.needs)
    }
}

impl fmt::Display for NotBuilt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = shown(self.key);
        match self.needs {
            Needs::Feature(name) => write!(f, "{key} needs the cargo feature {name}, which this build does not have"),
            Needs::Driver => write!(
                f,
                "{key} names a storage driver that monopod does not make (lvm, zfs, btrfs, rbd, nbd, aufs): mount it in a \
                 pre-start hook, and name the directory"
            ),
        }
    }
}

/// A key, and the values that ask for nothing, blanks between them.
type Key = (&'static CStr, &'static str);

const PRESET: &CStr = c"monopod.preset";
const GUARD: &[Key] =
    &[(PRESET, "none"), (c"monopod.protect", "0"), (c"monopod.keyctl", "allow"), (c"monopod.reboot", "")];
const READY: &[Key] = &[(PRESET, "none"), (c"monopod.ready", "none")];
const ISOLATION: &[Key] = &[
    (c"lxc.namespace.share", ""),
    (c"lxc.time.offset.boot", "0"),
    (c"lxc.time.offset.monotonic", "0"),
    (c"lxc.cgroup.dir.monitor", ""),
    (c"lxc.cgroup.relative", "0"),
    (c"lxc.ephemeral", "0"),
];

const fn unless(built: bool, keys: &'static [Key]) -> &'static [Key] {
    if built { &[] } else { keys }
}

/// The features that this build may lack, with their keys if it does.
const FEATURES: [(&str, &[Key]); 5] = [
    ("guard", unless(cfg!(feature = "guard"), GUARD)),
    ("ready", unless(cfg!(feature = "ready"), READY)),
    ("isolation", unless(cfg!(feature = "isolation"), ISOLATION)),
    ("seccomp", unless(cfg!(feature = "seccomp"), &[(c"lxc.seccomp.profile", "")])),
    ("idmap", unless(cfg!(feature = "idmap"), &[(c"lxc.idmap", "")])),
];

/// A key was set: notes what is not here of what it asks for, or that it asks for nothing any more.
pub(super) fn note(config: &mut Config<'_>, key: &'static CStr, given: &Given<'_, '_>) {
    for (name, keys) in FEATURES {
        let Some((key, nothing)) = keys.iter().find(|(known, _)| *known == key) else { continue };
        let asks = !given.value.is_empty() && !nothing.split(' ').any(|word| word.as_bytes() == given.value);
        let noted = NotBuilt { key, at: given.at, needs: Needs::Feature(name) };
        match asks {
            true => add(&mut config.not_built, noted),
            // A member that is cleared leaves the family's others.
            false if given.sub.is_empty() => config.not_built.retain(|known| !known.is_about(&noted)),
            false => {}
        }
    }
}

/// One note a key is enough, and a full list refuses the start already.
fn add(list: &mut Notes, note: NotBuilt) {
    if !list.iter().any(|known| known.is_about(&note)) {
        let _ = list.push(note);
    }
}

/// What only the whole config tells.
pub(super) fn finish(config: &mut Config<'_>) {
    // The preset's own wishes may be taken back.
    let unguarded = config.own.protect.on == Some(false);
    let unready = config.own.ready.is_some();
    let Config { not_built, rootfs, nics, mounts, .. } = config;
    not_built.retain(|note| match (note.key == PRESET, note.needs) {
        (true, Needs::Feature("guard")) => !unguarded,
        (true, Needs::Feature("ready")) => !unready,
        _ => true,
    });
    let mut note = |key, at, needs| add(not_built, NotBuilt { key, at, needs });
    if let Some(path) = rootfs.path
        && rootfs.kind == RootfsKind::Other
    {
        note(c"lxc.rootfs.path", path.at, Needs::Driver);
    }
    if !cfg!(feature = "images") {
        if let Some(path) = rootfs.path.filter(|_| matches!(rootfs.kind, RootfsKind::Loop | RootfsKind::Overlay)) {
            note(c"lxc.rootfs.path", path.at, Needs::Feature("images"));
        }
        if let Some(entry) = mounts.iter().find(|entry| entry.image) {
            note(c"lxc.mount.entry", entry.at, Needs::Feature("images"));
        }
    }
    if !cfg!(feature = "net")
        && let Some(nic) = nics.iter().find(|nic| !matches!(nic.kind, NicType::None | NicType::Empty))
    {
        note(c"lxc.net", nic.at, Needs::Feature("net"));
    }
    if !cfg!(feature = "idmap") {
        if let Some(options) = rootfs.options.filter(|_| rootfs.idmap.is_some()) {
            note(c"lxc.rootfs.options", options.at, Needs::Feature("idmap"));
        }
        if let Some(entry) = mounts.iter().find(|entry| entry.idmap.is_some()) {
            note(c"lxc.mount.entry", entry.at, Needs::Feature("idmap"));
        }
    }
}
