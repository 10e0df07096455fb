//! Why Android rebooted, where nobody heard the call itself: what it wrote down before.
//!
//! Android notes the reason of every shutdown and reboot, in a file of bootstat (11 and later) and in a persistent property,
//! and for recovery and boot loader in the control block of the misc partition. Without CAP_SYS_BOOT its init exits with 0
//! in either case, so that only these tell a reboot from a halt. What an earlier life wrote counts for nothing: only what has
//! changed since this one began does.
//!
//! The files are the guest's: opened beneath its root, regular ones only, and read up to a limit. The root is held by a
//! descriptor from the moment when it is whole, so that what is mounted in the container is seen; what the guest has
//! unmounted before its end is not.

use crate::config::Config;
use crate::limits::REBOOT_ARGUMENT;
use crate::rootfs::beneath::{FdPath, Root};
use crate::supervise::outcome::Outcome;
use crate::sys::fds::open;
use crate::text::{Line, PathText};
use core::ffi::CStr;
use nix::fcntl::OFlag;
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use std::os::fd::OwnedFd;

/// Android's reason in its own words: `reboot,recovery`.
pub type Text = Line<REBOOT_ARGUMENT>;

/// The files, the best first.
const FILES: [&[u8]; 3] =
    [b"metadata/bootstat/persist.sys.boot.reason", PERSISTENT, b"data/property/persist.sys.boot.reason"];
const PERSISTENT: &[u8] = b"data/property/persistent_properties";
/// The property that holds it.
const PROPERTY: &[u8] = b"persist.sys.boot.reason";
/// How much of a file is read. Persistent properties take a few KB.
const MOST: usize = 32 * 1024;
/// The command of `struct bootloader_message` (bootable/recovery), at the partition's begin.
const COMMAND: usize = 32;

/// Tells one version of a file from another: inode, change time.
type Stamp = (u64, i64, i64);

/// What was there when a life began.
pub struct Before {
    root: Root,
    /// Keeps what is mounted below the root in its place after the last process is gone.
    _mounts: Option<OwnedFd>,
    stamps: [Option<Stamp>; 3],
    command: [u8; COMMAND],
    /// init has no CAP_SYS_BOOT: an Android's exits with 0 instead of any reboot(2).
    pub exits: bool,
}

impl Before {
    /// Looks at the container of process `pid`, which has its root already but does not run yet.
    #[inline(never)] // its path is for Android
    pub fn look(config: &Config<'_>, pid: i32, exits: bool) -> Option<Before> {
        if !config.own.hears_reboots() {
            return None;
        }
        let root = Root::open(PathText::format(format_args!("/proc/{pid}/root")).ok()?.c()).ok()?;
        let mounts = PathText::format(format_args!("/proc/{pid}/ns/mnt")).ok()?;
        let mounts = open(mounts.c(), OFlag::O_RDONLY, Mode::empty()).ok();
        let stamps = FILES.map(|file| find(&root, file).map(|(_, stat)| stamp(&stat)));
        let command = command(config.own.misc.map(|misc| misc.value));
        Some(Before { root, _mounts: mounts, stamps, command, exits })
    }

    /// The reason that has been written since; empty: none.
    #[inline(never)] // its buffer is for the end of a life
    pub fn reason(&self, config: &Config<'_>) -> Text {
        let mut buffer = [0u8; MOST];
        for (file, before) in FILES.iter().zip(self.stamps) {
            let Some((place, stat)) = find(&self.root, file) else { continue };
            if before == Some(stamp(&stat)) {
                continue;
            }
            let content = read(&place, &mut buffer);
            let value = if *file == PERSISTENT { property(content, PROPERTY).unwrap_or(&[]) } else { content };
            let value = value.trim_ascii();
            if !value.is_empty() {
                return clean(value);
            }
        }
        match command(config.own.misc.map(|misc| misc.value)) {
            command if command == self.command => Text::new(),
            command => clean(by_command(&command).unwrap_or(&[])),
        }
    }
}

/// What a reason asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish<'a> {
    /// A reboot, with this argument; empty: none.
    Reboot(&'a [u8]),
    /// A halt.
    Halt,
}

/// Reads a reason: `reboot,ARGUMENT` or `shutdown,ANYTHING`. None: it is neither.
pub fn wish(reason: &[u8]) -> Option<Wish<'_>> {
    let (head, rest) = match memchr::memchr(b',', reason) {
        Some(comma) => (reason.get(..comma)?, reason.get(comma + 1..)?),
        None => (reason, &[][..]),
    };
    match head {
        b"reboot" => Some(Wish::Reboot(rest)),
        b"shutdown" => Some(Wish::Halt),
        _ => None,
    }
}

/// How a life ended, given what it wrote down. `exits` is an init without CAP_SYS_BOOT, whose exit with 0 may be anything;
/// the argument is `heard` unless nothing was.
pub fn settle<'a>(outcome: Outcome, exits: bool, heard: &'a [u8], reason: &'a [u8]) -> (Outcome, &'a [u8]) {
    match (outcome, wish(reason)) {
        (Outcome::Reboot, Some(Wish::Reboot(argument))) if heard.is_empty() => (outcome, argument),
        (Outcome::Exit(0), Some(Wish::Reboot(argument))) if exits => (Outcome::Reboot, argument),
        (Outcome::Exit(0), Some(Wish::Halt)) if exits => (Outcome::Halt, heard),
        _ => (outcome, heard),
    }
}

/// One printable word, whatever the guest wrote: it goes to logs, environments and command lines.
pub fn clean(text: &[u8]) -> Text {
    let mut line = Text::new();
    for byte in text {
        line.push(&[if byte.is_ascii_graphic() { *byte } else { b'?' }]);
    }
    line
}

/// A regular file of the guest's, not opened yet: its descriptor is O_PATH.
fn find(root: &Root, path: &[u8]) -> Option<(OwnedFd, FileStat)> {
    let place = root.look_up(path, OFlag::O_PATH | OFlag::O_NOFOLLOW).ok()?;
    let stat = fstat(&place).ok()?;
    (SFlag::from_bits_truncate(stat.st_mode & libc::S_IFMT) == SFlag::S_IFREG).then_some((place, stat))
}

#[allow(clippy::unnecessary_cast)] // Some are 32 bits wide on some targets.
fn stamp(stat: &FileStat) -> Stamp {
    (stat.st_ino as u64, stat.st_ctime as i64, stat.st_ctime_nsec as i64)
}

/// As much of a file as fits.
fn read<'b>(place: &OwnedFd, buffer: &'b mut [u8]) -> &'b [u8] {
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let mut length = 0;
    if let Ok(file) = open(FdPath::of(place).c(), flags, Mode::empty()) {
        while let Some(room) = buffer.get_mut(length..).filter(|room| !room.is_empty()) {
            match nix::unistd::read(&file, room) {
                Ok(0) | Err(_) => break,
                Ok(more) => length += more,
            }
        }
    }
    buffer.get(..length).unwrap_or(&[])
}

/// The boot loader's command; zeroes without a partition.
fn command(misc: Option<&CStr>) -> [u8; COMMAND] {
    let mut command = [0u8; COMMAND];
    if let Some(misc) = misc
        && let Ok(file) = open(misc, OFlag::O_RDONLY | OFlag::O_NONBLOCK, Mode::empty())
    {
        let _ = nix::unistd::read(&file, &mut command);
    }
    command
}

/// What the boot loader is told, as a reason.
fn by_command(command: &[u8]) -> Option<&'static [u8]> {
    match command.split(|byte| *byte == 0).next()? {
        b"boot-recovery" => Some(b"reboot,recovery"),
        b"bootonce-bootloader" => Some(b"reboot,bootloader"),
        b"boot-fastboot" => Some(b"reboot,fastboot"),
        b"boot-quiescent" => Some(b"reboot,quiescent"),
        _ => None,
    }
}

/// The value of a property in `persistent_properties`: protobuf, `repeated Record = 1` with `name = 1` and `value = 2`
/// (system/core/init/persistent_properties.proto). None: it is not there, or what stands before it is no such message.
pub fn property<'a>(message: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    let mut rest = message;
    while !rest.is_empty() {
        let (number, record) = field(&mut rest)?;
        if number != 1 {
            continue;
        }
        let (mut record, mut name, mut value) = (record, &[][..], &[][..]);
        while !record.is_empty() {
            match field(&mut record)? {
                (1, text) => name = text,
                (2, text) => value = text,
                _ => {}
            }
        }
        if name == wanted {
            return Some(value);
        }
    }
    None
}

/// Takes one field off a protobuf message: its number, and its bytes if it has a length of its own.
fn field<'a>(rest: &mut &'a [u8]) -> Option<(u64, &'a [u8])> {
    let key = varint(rest)?;
    let length = match key & 7 {
        0 => {
            varint(rest)?;
            return Some((key >> 3, &[]));
        }
        1 => 8,
        2 => usize::try_from(varint(rest)?).ok()?,
        5 => 4,
        _ => return None,
    };
    let (mine, others) = rest.split_at_checked(length)?;
    *rest = others;
    Some((key >> 3, mine))
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, others) = rest.split_first()?;
        *rest = others;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wish_reads_androids_reasons_and_no_others() {
        assert_eq!(wish(b"reboot,recovery"), Some(Wish::Reboot(b"recovery")));
        assert_eq!(wish(b"reboot,userrequested,shell"), Some(Wish::Reboot(b"userrequested,shell")));
        assert_eq!(wish(b"reboot"), Some(Wish::Reboot(b"")));
        assert_eq!(wish(b"shutdown,thermal"), Some(Wish::Halt));
        for other in [&b""[..], b"rebooted", b",", b"kernel_panic", b"\0reboot"] {
            assert_eq!(wish(other), None);
        }
    }

    #[test]
    fn settle_heard_words_and_real_ends_win_over_what_is_written() {
        use Outcome::{Exit, Halt, Reboot, Signal};
        assert_eq!(settle(Reboot, false, b"", b"reboot,recovery"), (Reboot, &b"recovery"[..]));
        assert_eq!(settle(Reboot, false, b"bootloader", b"reboot,recovery"), (Reboot, &b"bootloader"[..]));
        assert_eq!(settle(Reboot, false, b"", b"shutdown"), (Reboot, &b""[..]));
        assert_eq!(settle(Exit(0), true, b"", b"reboot,recovery"), (Reboot, &b"recovery"[..]));
        assert_eq!(settle(Exit(0), true, b"", b"shutdown,userrequested"), (Halt, &b""[..]));
        for (outcome, exits) in [(Exit(0), false), (Exit(1), true), (Signal(9), true), (Halt, true)] {
            assert_eq!(settle(outcome, exits, b"", b"reboot,recovery"), (outcome, &b""[..]));
        }
    }

    #[test]
    fn clean_makes_one_printable_word() {
        assert_eq!(clean(b"recovery").text(), "recovery");
        assert_eq!(clean(b"a b\nX_MONOPOD_END=halted\xff\x1b").text(), "a?b?X_MONOPOD_END=halted??");
        assert_eq!(clean(&[b'x'; 1000]).bytes().len(), REBOOT_ARGUMENT);
    }

    fn record(name: &[u8], value: &[u8]) -> Vec<u8> {
        let mut inner = vec![1 << 3 | 2, name.len() as u8];
        inner.extend(name);
        inner.extend([2 << 3 | 2, value.len() as u8]);
        inner.extend(value);
        let mut outer = vec![1 << 3 | 2, inner.len() as u8];
        outer.extend(inner);
        outer
    }

    #[test]
    fn property_is_found_among_others_and_unknown_fields() {
        let mut message = record(b"persist.sys.usb.config", b"adb");
        // Fields that nobody knows: a varint, 64 and 32 bits, a length.
        message.extend([
            7 << 3,
            0xff,
            0x01,
            8 << 3 | 1,
            1,
            2,
            3,
            4,
            5,
            6,
            7,
            8,
            9 << 3 | 5,
            1,
            2,
            3,
            4,
            10 << 3 | 2,
            1,
            0,
        ]);
        message.extend(record(PROPERTY, b"reboot,recovery"));
        assert_eq!(property(&message, PROPERTY), Some(&b"reboot,recovery"[..]));
        assert_eq!(property(&message, b"persist.none"), None);
    }

    #[test]
    fn property_of_a_hostile_message_is_none_and_every_cut_is_survived() {
        let message = record(PROPERTY, b"reboot,recovery");
        for cut in 0..message.len() {
            assert_eq!(property(&message[..cut], PROPERTY), None, "{cut}");
        }
        for bad in
            [&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01][..], &[0xff; 64], &[3], &[0x0b, 0]]
        {
            assert_eq!(property(bad, PROPERTY), None);
        }
        // Every byte in every place.
        for at in 0..message.len() {
            // An interpreter takes its time.
            for byte in (0..=255).step_by(if cfg!(miri) { 85 } else { 1 }) {
                let mut message = message.clone();
                message[at] = byte;
                let _ = property(&message, PROPERTY);
            }
        }
    }

    #[test]
    fn by_command_whole_words_only() {
        assert_eq!(by_command(b"boot-recovery\0\0junk"), Some(&b"reboot,recovery"[..]));
        assert_eq!(by_command(&[0; 32]), None);
        assert_eq!(by_command(b"boot-recoveryxxxxxxxxxxxxxxxxxxx"), None);
        assert_eq!(by_command(b""), None);
    }
}
