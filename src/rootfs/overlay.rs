//! `overlay:LOWER[:LOWER...]:UPPER`: a writable layer over one or more directories that stay as they are.
//!
//! Mounted in the container's own mount namespace, so that the host sees nothing of it. The last directory is the upper one, as
//! LXC has it; it is made if need be, and UPPER.work beside it, which the kernel wants.

use super::image::{self, Place};
use super::{Kind, Source};
use crate::cgroup::remove::PAUSE_MS;
use crate::config::{Config, DEFAULT};
use crate::error::{Error, Result};
use crate::limits::PATH_BYTES;
use crate::spawn::barrier::{ROOTFS, Report, Step};
use crate::sys::fds::open;
use crate::text::{PathText, shown};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, stat};
use nix::unistd::mkdir;

/// What is written behind `overlay:`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layers<'a> {
    /// Colons between them, the uppermost first, as the kernel wants them.
    pub lower: &'a [u8],
    /// The writable one.
    pub upper: &'a [u8],
}

/// What no path of a layer may hold: the kernel would take it for the end of the path.
const RESERVED: &[u8] = b",\\";

impl<'a> Layers<'a> {
    /// Takes it apart. None: a directory is missing, not absolute, or has a comma or backslash.
    pub fn read(text: &'a [u8]) -> Option<Layers<'a>> {
        let colon = memchr::memrchr(b':', text)?;
        let layers = Layers { lower: text.get(..colon)?, upper: text.get(colon + 1..)? };
        let plain = |path: &[u8]| path.first() == Some(&b'/') && !path.iter().any(|byte| RESERVED.contains(byte));
        layers.all().all(plain).then_some(layers)
    }

    /// Every directory, the upper one last.
    pub fn all(&self) -> impl Iterator<Item = &'a [u8]> {
        self.lower.split(|byte| *byte == b':').chain([self.upper])
    }
}

/// Keeps others from writing the upper directory as long as this process lives, as an image's lock does (`image`): two overlays
/// on one spoil it. The directory is made if need be; why it cannot be had shows when it is mounted.
///
/// # Errors
/// Another container has it.
#[inline(never)] // its path is for those who have an overlay
pub fn hold(config: &Config<'_>, source: &Source<'_>) -> Result<()> {
    let layers = Layers::read(source.path.to_bytes()).filter(|_| source.kind == Kind::Overlay);
    let Some(upper) = layers.and_then(|layers| PathText::<PATH_BYTES>::of(&[layers.upper]).ok()) else { return Ok(()) };
    let _ = mkdir(upper.c(), MODE);
    let Ok(directory) = open(upper.c(), OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty()) else { return Ok(()) };
    let flags = config.rootfs.options.map_or(0, |options| options.value.flags);
    let write = !MsFlags::from_bits_truncate(flags as _).contains(MsFlags::MS_RDONLY);
    if image::lock(&directory, write, LOCK_ROUNDS).is_err() {
        let place = config.rootfs.path.map_or(DEFAULT, |path| path.at);
        let what = format_args!("{}: {}: another container writes it", config.place(place), shown(upper.c()));
        return Err(Error::new("rootfs", what));
    }
    // Closed by our end.
    core::mem::forget(directory);
    Ok(())
}

/// How often the lock is tried, with a pause: 1 s, for the end of a supervisor that has been told to end.
const LOCK_ROUNDS: u32 = 1_000 / PAUSE_MS as u32;

/// Of directories that are made.
const MODE: Mode = Mode::from_bits_truncate(0o755);

/// Mounts it. A report's item is the directory that it is about, if it is about one, counted from 0.
#[inline(never)] // its paths are for those who have an overlay
pub fn mount_layers(layers: &Layers<'_>, place: &Place<'_>) -> core::result::Result<(), Report> {
    let failed = |errno| Report::new(Step::Overlay, ROOTFS, errno);
    let long = |_| failed(Errno::ENAMETOOLONG);
    let path = |parts: &[&[u8]]| PathText::join(parts).map_err(long);
    let upper = path(&[layers.upper])?;
    let work = path(&[layers.upper, b".work"])?;
    // Why one cannot be made shows when it is looked for.
    let _ = mkdir(upper.c(), MODE);
    let _ = mkdir(work.c(), MODE);
    for (index, layer) in (0u16..).zip(layers.all()) {
        stat(path(&[layer])?.c()).map_err(|errno| Report::new(Step::Overlay, index, errno))?;
    }
    let mut result = Err(Errno::ENODEV);
    // Under its old name, in kernels that vendors patched it into before 3.18, maybe without a work directory.
    for (fstype, works) in [(c"overlay", true), (c"overlayfs", true), (c"overlayfs", false)] {
        let [comma, more] = place.data.map_or([&b""[..]; 2], |data| [b",", data.to_bytes()]);
        let [key, work] = if works { [&b",workdir="[..], work.c().to_bytes()] } else { [&b""[..]; 2] };
        let parts = [b"lowerdir=", layers.lower, b",upperdir=", layers.upper, key, work, comma, more];
        let data = PathText::<PATH_BYTES>::of(&parts).map_err(long)?;
        match mount(Some(fstype), place.target, Some(fstype), place.flags, Some(data.c())) {
            Err(Errno::ENODEV) => {}
            Err(Errno::EINVAL) if fstype == c"overlayfs" => result = Err(Errno::EINVAL),
            other => return other.map_err(failed),
        }
    }
    result.map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_the_last_one_is_the_upper() {
        let read = |text| Layers::read(text).map(|layers| (layers.lower, layers.upper));
        assert_eq!(read(b"/a:/b"), Some((&b"/a"[..], &b"/b"[..])));
        assert_eq!(read(b"/a:/b:/c d"), Some((&b"/a:/b"[..], &b"/c d"[..])));
        let bad = [&b"/a"[..], b"", b":/b", b"/a:", b"/a:b", b"a:/b", b"/a::/b", b"loop:/a:/b", b"/a,x:/b", b"/a:/b\\"];
        bad.into_iter().for_each(|text| assert_eq!(read(text), None, "{text:?}"));
    }
}
