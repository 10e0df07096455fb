//! Device nodes beside those of `lxc.autodev`: `monopod.device.entry` and `monopod.devices = android`.
//!
//! A node gets the numbers that the host's node has now, because most of them differ from kernel to kernel. Who may open it is
//! the device cgroup's business.

use crate::config::values::{Fault, whole32};
use crate::rootfs::Site;
use crate::rootfs::beneath::{FdPath, Name, Root, Source, bind_in, components, open_in, split, trim};
use crate::spawn::barrier::{Report, Step};
use crate::sys::fds::{self, open};
use crate::text::PathText;
use core::ffi::CStr;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag};
use nix::sys::stat::{FchmodatFlags, Mode, SFlag, fchmodat, fstat, fstatat, mknodat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchownat, unlinkat};
use std::os::fd::AsFd;

/// A line: `PATH [optional] [mode=0666] [uid=N] [gid=N] [as=PATH]`.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The host's node; a directory stands for every node in it, `NAME*` for NAME0, NAME1 and so on.
    path: &'a [u8],
    /// A node that the host does not have is left out.
    optional: bool,
    /// As the host's, where it is not written.
    mode: Option<u32>,
    uid: Option<u32>,
    gid: Option<u32>,
    /// The same place in the rootfs; of several nodes the directory. None: where they are on the host.
    at: Option<&'a [u8]>,
}

const FORM: Fault = Fault::Expected("/dev/PATH [optional] [mode=0666] [uid=N] [gid=N] [as=/dev/PATH]");

/// Reads a line.
pub fn parse(text: &[u8]) -> Result<Entry<'_>, Fault> {
    let mut words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let path = words.next().ok_or(FORM)?;
    let mut entry = Entry { path, optional: false, mode: None, uid: None, gid: None, at: None };
    for word in words {
        match word.iter().position(|byte| *byte == b'=').and_then(|at| word.split_at_checked(at + 1)) {
            Some((b"mode=", digits)) => entry.mode = Some(octal(digits).ok_or(FORM)?),
            Some((b"uid=", digits)) => entry.uid = Some(whole32(digits)?),
            Some((b"gid=", digits)) => entry.gid = Some(whole32(digits)?),
            Some((b"as=", path)) => entry.at = Some(path),
            None if word == b"optional" => entry.optional = true,
            _ => return Err(FORM),
        }
    }
    let place = entry.at.unwrap_or(path);
    let leaves = |path: &[u8]| components(path).any(|name| name == b"..");
    if !path.starts_with(b"/") || !place.starts_with(b"/dev/") || leaves(path) || leaves(place) {
        return Err(FORM);
    }
    Ok(entry)
}

/// A mode of at most four octal digits behind zeroes.
fn octal(digits: &[u8]) -> Option<u32> {
    let add = |sum: u32, byte: &u8| matches!(byte, b'0'..=b'7').then(|| sum << 3 | u32::from(byte - b'0'));
    let mode = (1..=5).contains(&digits.len()).then(|| digits.iter().try_fold(0, add))??;
    (mode <= 0o7777).then_some(mode)
}

/// What Android's userspace expects to find, with the modes and owners of its ueventd.rc: system 1000, radio 1001, graphics
/// 1003, input 1004, audio 1005, camera 1006, log 1007, vpn 1016, usb 1018, uhid 3011. Its ueventd makes what is left.
const ANDROID: [&[u8]; 48] = [
    b"/dev/null mode=0666",
    b"/dev/zero mode=0666",
    b"/dev/full mode=0666",
    b"/dev/random mode=0666",
    b"/dev/urandom mode=0666",
    b"/dev/tty mode=0666",
    b"/dev/kmsg mode=0620 gid=1000",
    b"/dev/pmsg0 mode=0222 gid=1007",
    b"/dev/fuse mode=0666",
    b"/dev/net/tun mode=0660 uid=1000 gid=1016 as=/dev/tun",
    b"/dev/tun mode=0660 uid=1000 gid=1016",
    b"/dev/ppp mode=0660 uid=1001 gid=1016",
    b"/dev/ashmem mode=0666",
    b"/dev/ion mode=0664 uid=1000 gid=1000",
    b"/dev/dma_heap mode=0444 uid=1000 gid=1000",
    b"/dev/sw_sync mode=0666",
    b"/dev/dri mode=0666 gid=1003",
    b"/dev/kgsl-3d0 mode=0666 uid=1000 gid=1000",
    b"/dev/mali* mode=0666 uid=1000 gid=1003",
    b"/dev/pvrsrvkm mode=0666",
    b"/dev/graphics mode=0660 gid=1003",
    b"/dev/fb* mode=0660 gid=1003 as=/dev/graphics",
    b"/dev/input mode=0660 gid=1004",
    b"/dev/uinput mode=0660 uid=3011 gid=3011",
    b"/dev/uhid mode=0660 uid=3011 gid=3011",
    b"/dev/alarm mode=0664 uid=1000 gid=1001",
    b"/dev/rtc* mode=0640 uid=1000 gid=1000",
    b"/dev/hwrng mode=0440 gid=1000",
    b"/dev/hwrng mode=0440 gid=1000 as=/dev/hw_random",
    b"/dev/hw_random mode=0440 gid=1000",
    b"/dev/loop-control mode=0660",
    b"/dev/loop* mode=0600",
    b"/dev/loop* mode=0600 as=/dev/block",
    b"/dev/block/loop* mode=0600",
    b"/dev/mapper/control mode=0600 as=/dev/device-mapper",
    b"/dev/device-mapper mode=0600",
    b"/dev/snd mode=0660 uid=1000 gid=1005",
    b"/dev/video* mode=0660 uid=1000 gid=1006",
    b"/dev/media* mode=0660 uid=1000 gid=1006",
    b"/dev/v4l-subdev* mode=0660 uid=1000 gid=1006",
    b"/dev/bus/usb mode=0660 gid=1018",
    b"/dev/iio:device* mode=0660 uid=1000 gid=1000",
    b"/dev/cpu_dma_latency mode=0660 uid=1000 gid=1000",
    b"/dev/userfaultfd mode=0666",
    b"/dev/vhost-vsock mode=0666",
    b"/dev/vsock mode=0666",
    b"/dev/xt_qtaguid mode=0644",
    b"/dev/rfkill mode=0660 uid=1001 gid=1001",
];

/// The text of line `item`: the config's, then the table's. For a report.
pub fn text_of(item: usize, written: usize) -> &'static [u8] {
    item.checked_sub(written).and_then(|index| ANDROID.get(index)).copied().unwrap_or(b"?")
}

/// Makes all nodes. What is optional and cannot be made is a warning, and nothing where the host has no such node.
pub fn make_all(site: &Site<'_>, root: &Root) -> Result<(), Report> {
    let own = &site.config.own;
    let table: &[&[u8]] = if own.android_devices { &ANDROID } else { &[] };
    let written = own.devices.iter().map(|entry| entry.value.to_bytes());
    for (item, text) in (0u16..).zip(written.chain(table.iter().copied())) {
        let Ok(entry) = parse(text) else { continue };
        let optional = entry.optional || usize::from(item) >= own.devices.len();
        match make(root, &entry) {
            Ok(()) => {}
            Err(Errno::ENOENT) if optional => {}
            Err(errno) if optional => (site.warn)(Report::new(Step::AndroidDevice, item, errno).as_warning()),
            Err(errno) => return Err(Report::new(Step::AndroidDevice, item, errno)),
        }
    }
    Ok(())
}

/// How deep the nodes of a directory may lie below it (/dev/bus/usb/001/002).
const DEPTH: u32 = 2;

fn make(root: &Root, entry: &Entry<'_>) -> nix::Result<()> {
    if let Some(stem) = entry.path.strip_suffix(b"*") {
        let (directory, stem) = split(stem);
        let numbered =
            |name: &[u8]| name.strip_prefix(stem).is_some_and(|rest| rest.first().is_some_and(u8::is_ascii_digit));
        return make_in(root, entry, directory, entry.at.unwrap_or(directory), 0, &numbered);
    }
    let place = entry.at.unwrap_or(entry.path);
    let host = PathText::join(&[entry.path]).map_err(|_| Errno::ENAMETOOLONG)?;
    let found = nix::sys::stat::stat(host.c())?;
    match SFlag::from_bits_truncate(found.st_mode & libc::S_IFMT) {
        SFlag::S_IFDIR => make_in(root, entry, entry.path, place, DEPTH, &|_| true),
        SFlag::S_IFCHR | SFlag::S_IFBLK => Node::like(&found, entry).make(root, place, host.c()),
        _ => Err(Errno::ENODEV),
    }
}

/// Those nodes of the host's `directory` whose names are `wanted`, at `place`. ENOENT: there is none.
fn make_in(
    root: &Root,
    entry: &Entry<'_>,
    directory: &[u8],
    place: &[u8],
    depth: u32,
    wanted: &dyn Fn(&[u8]) -> bool,
) -> nix::Result<()> {
    let host = PathText::join(&[b"/", trim(directory)]).map_err(|_| Errno::ENAMETOOLONG)?;
    let opened = open(host.c(), OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty())?;
    let mut result = Err(Errno::ENOENT);
    fds::for_each_entry(opened.as_fd(), &mut |name, _| {
        if !wanted(name.to_bytes()) {
            return;
        }
        match make_one(root, entry, directory, place, depth, name) {
            Ok(()) if result == Err(Errno::ENOENT) => result = Ok(()),
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(errno) => result = Err(errno),
        }
    })?;
    result
}

fn make_one(
    root: &Root,
    entry: &Entry<'_>,
    directory: &[u8],
    place: &[u8],
    depth: u32,
    name: &CStr,
) -> nix::Result<()> {
    let below =
        |path: &[u8]| PathText::join(&[b"/", trim(path), b"/", name.to_bytes()]).map_err(|_| Errno::ENAMETOOLONG);
    let (host, place) = (below(directory)?, below(place)?);
    let found = fstatat(AT_FDCWD, host.c(), AtFlags::AT_SYMLINK_NOFOLLOW)?;
    match SFlag::from_bits_truncate(found.st_mode & libc::S_IFMT) {
        SFlag::S_IFCHR | SFlag::S_IFBLK => Node::like(&found, entry).make(root, place.c().to_bytes(), host.c()),
        SFlag::S_IFDIR if depth > 0 => {
            make_in(root, entry, host.c().to_bytes(), place.c().to_bytes(), depth - 1, &|_| true)
        }
        _ => Err(Errno::ENOENT),
    }
}

/// A node as it shall be.
pub struct Node {
    /// S_IFCHR or S_IFBLK.
    pub kind: SFlag,
    /// Its numbers.
    pub device: libc::dev_t,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

impl Node {
    fn like(found: &libc::stat, entry: &Entry<'_>) -> Node {
        Node {
            kind: SFlag::from_bits_truncate(found.st_mode & libc::S_IFMT),
            device: found.st_rdev,
            mode: entry.mode.unwrap_or(found.st_mode & 0o7777),
            uid: entry.uid.unwrap_or(found.st_uid),
            gid: entry.gid.unwrap_or(found.st_gid),
        }
    }

    fn is(&self, found: &libc::stat) -> bool {
        SFlag::from_bits_truncate(found.st_mode & libc::S_IFMT) == self.kind && found.st_rdev == self.device
    }

    /// Makes it at `path` in the rootfs with the directories above; another node that is there is replaced. Where nodes are
    /// not ours to make, `host` is bound there instead, with the mode that it has.
    pub fn make(&self, root: &Root, path: &[u8], host: &CStr) -> nix::Result<()> {
        let (directory, last) = split(path);
        let parent = root.make_directories(directory)?;
        let parent = parent.as_fd();
        let name = Name::new(last)?;
        let mode = Mode::from_bits_truncate(self.mode as _);
        match mknodat(parent, name.c(), self.kind, mode, self.device) {
            Ok(()) => {}
            Err(Errno::EPERM) => return bind_in(parent, last, Source::Path(host)),
            Err(errno @ (Errno::EEXIST | Errno::EROFS)) => {
                let there = fstatat(parent, name.c(), AtFlags::AT_SYMLINK_NOFOLLOW).map_err(|_| errno)?;
                if !self.is(&there) {
                    unlinkat(parent, name.c(), UnlinkatFlags::NoRemoveDir)?;
                    mknodat(parent, name.c(), self.kind, mode, self.device)?;
                }
            }
            Err(errno) => return Err(errno),
        }
        // Whoever else can write there may have put a link in its place since.
        let node = open_in(parent, last, OFlag::empty())?;
        let found = fstat(&node)?;
        if !self.is(&found) {
            return Err(Errno::ESTALE);
        }
        if found.st_mode & 0o7777 != self.mode {
            // It may be on a filesystem that cannot be written.
            let _ = fchmodat(AT_FDCWD, FdPath::of(&node).c(), mode, FchmodatFlags::FollowSymlink);
        }
        if (self.uid, self.gid) == (0, 0) {
            return Ok(());
        }
        let (uid, gid) = (Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid)));
        match fchownat(&node, c"", uid, gid, AtFlags::AT_EMPTY_PATH) {
            Err(Errno::EROFS) => Ok(()),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_every_word_counts() {
        let entry = parse(b"/dev/uinput  optional mode=0660 uid=1000 gid=3011 as=/dev/x/uinput").unwrap();
        let wanted = Entry {
            path: b"/dev/uinput",
            optional: true,
            mode: Some(0o660),
            uid: Some(1000),
            gid: Some(3011),
            at: Some(b"/dev/x/uinput"),
        };
        assert_eq!(entry, wanted);
        assert_eq!(parse(b"/mnt/node as=/dev/node").unwrap().mode, None);
    }

    #[test]
    fn parse_what_cannot_be_meant_is_refused() {
        for bad in [
            "",
            "dev/null",
            "/mnt/node",
            "/dev/../etc as=/dev/x",
            "/dev/null as=/etc/x",
            "/dev/null as=/dev/../etc/x",
            "/dev/null mode=0888",
            "/dev/null mode=",
            "/dev/null mode=77777",
            "/dev/null uid=-1",
            "/dev/null opt",
            "/dev/null foo=1",
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn table_every_line_can_be_read() {
        for line in ANDROID {
            assert!(parse(line).unwrap().mode.is_some(), "{}", String::from_utf8_lossy(line));
        }
        assert_eq!(text_of(3, 3), ANDROID[0]);
        assert_eq!(text_of(2, 3), b"?");
    }
}
