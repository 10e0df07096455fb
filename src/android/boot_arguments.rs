//! The kernel command line and boot configuration that the guest reads: the host's without its androidboot words, and the
//! config's own (`monopod.android.boot.NAME`) in their place.
//!
//! Android makes a property `ro.boot.NAME` of each, the first one counts. The device tree's `firmware/android` stays as it is.

use crate::config::own::Own;
use crate::config::{Config, DEFAULT};
use crate::error::{Error, Result};
use crate::rootfs::Site;
use crate::rootfs::beneath::{FdPath, Root, mount_on};
use crate::spawn::barrier::{Report, Step};
use crate::sys::fds::open;
use crate::text::{PathText, shown};
use core::ffi::CStr;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::Mode;
use nix::sys::statfs::{PROC_SUPER_MAGIC, statfs};
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::os::fd::OwnedFd;

/// Of both the name, in /proc and in the state directory.
const NAMES: [&[u8]; 2] = [b"/cmdline", b"/bootconfig"];
/// COMMAND_LINE_SIZE of the smaller architectures, the newline and the NUL in it.
const CMDLINE_BYTES: usize = 4096;
const PREFIX: &[u8] = b"androidboot.";

/// The files, in the state directory for as long as they are wanted.
pub struct Files<'t> {
    directory: &'t CStr,
}

impl<'t> Files<'t> {
    /// The state directory.
    pub fn directory(&self) -> &'t CStr {
        self.directory
    }
}

impl Drop for Files<'_> {
    fn drop(&mut self) {
        remove(self.directory);
    }
}

/// Removes the files of a start, this one or one that was killed.
pub fn remove(directory: &CStr) {
    for name in NAMES {
        if let Ok(path) = PathText::join(&[directory.to_bytes(), name]) {
            let _ = unlinkat(AT_FDCWD, path.c(), UnlinkatFlags::NoRemoveDir);
        }
    }
}

/// Writes the files, if the guest is to read anything else than the host.
#[inline(never)] // its frame would live as long as the container
pub fn write<'t>(config: &Config<'_>, directory: &'t CStr) -> Result<Option<Files<'t>>> {
    let own = &config.own;
    if !own.hides_boot() && own.boot.is_empty() {
        return Ok(None);
    }
    let mut files = None;
    for (index, name) in NAMES.iter().enumerate() {
        let path = |directory: &[u8]| {
            PathText::join(&[directory, name]).map_err(|_| Error::new("cmdline", format_args!("the path is too long")))
        };
        let source = path(b"/proc")?;
        // An old kernel has no bootconfig.
        let Ok(host) = crate::files::read(source.c()) else { continue };
        let guest = if index == 0 { cmdline(&host, own) } else { bootconfig(&host, own) };
        if guest == host {
            continue;
        }
        if index == 0 && guest.len() >= CMDLINE_BYTES {
            let place = config.place(own.boot.iter().last().map_or(DEFAULT, |one| one.at));
            return Err(Error::new(
                "cmdline",
                format_args!(
                    "{place}: a kernel command line has no room for all monopod.android.boot: {CMDLINE_BYTES} bytes"
                ),
            ));
        }
        files = Some(Files { directory });
        let target = path(directory.to_bytes())?;
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_NOFOLLOW;
        open(target.c(), flags, Mode::from_bits_truncate(0o444))
            .and_then(|file| nix::unistd::write(&file, &guest))
            .map_err(|errno| Error::os("cmdline", errno, format_args!("write {}", shown(target.c()))))?;
    }
    Ok(files)
}

/// Whether a word or line of the host's goes: all androidboot, or those of which the config has another value.
fn goes(text: &[u8], own: &Own<'_>) -> bool {
    let Some(rest) = text.strip_prefix(b"\"").unwrap_or(text).strip_prefix(PREFIX) else { return false };
    let name = rest.split(|byte| *byte == b'=').next().unwrap_or(rest).trim_ascii();
    own.hides_boot() || own.boot.iter().any(|one| one.name.to_bytes() == name)
}

/// The host's words, which have their blanks in quotes, then the config's.
pub fn cmdline(host: &[u8], own: &Own<'_>) -> Vec<u8> {
    let mut line = Vec::new();
    let mut add = |parts: &[&[u8]]| {
        if !line.is_empty() {
            line.push(b' ');
        }
        parts.iter().for_each(|part| line.extend_from_slice(part));
    };
    let mut quoted = false;
    let blank = |byte: &u8| {
        quoted ^= *byte == b'"';
        byte.is_ascii_whitespace() && !quoted
    };
    host.trim_ascii().split(blank).filter(|word| !word.is_empty() && !goes(word, own)).for_each(|word| add(&[word]));
    for one in &own.boot {
        let value = one.value.to_bytes();
        let quote: &[u8] = if value.contains(&b' ') { b"\"" } else { b"" };
        add(&[PREFIX, one.name.to_bytes(), b"=", quote, value, quote]);
    }
    line.push(b'\n');
    line
}

/// The host's lines, one a key. The config's own are on the command line.
pub fn bootconfig(host: &[u8], own: &Own<'_>) -> Vec<u8> {
    host.split_inclusive(|byte| *byte == b'\n').filter(|line| !goes(line, own)).flatten().copied().collect()
}

/// The files as the child has opened them.
pub type Opened = [Option<OwnedFd>; 2];

/// Called by the child before a rootfs may be mounted over the state directory.
pub fn open_files(site: &Site<'_>) -> Opened {
    let open = |name| {
        let path = PathText::join(&[site.boot_arguments?.to_bytes(), name]).ok()?;
        open(path.c(), OFlag::O_PATH | OFlag::O_NOFOLLOW, Mode::empty()).ok()
    };
    NAMES.map(open)
}

/// Called by the child after all mounts: binds the files over those of the rootfs's /proc, if it has one.
pub fn bind(site: &Site<'_>, root: &Root, files: &Opened) -> core::result::Result<(), Report> {
    for (name, file) in NAMES.iter().zip(files) {
        let Some(file) = file else { continue };
        match bind_one(root, name, file) {
            Ok(()) => {}
            Err(Errno::ENOENT) => (site.warn)(Report::new(Step::BootArguments, 0, Errno::ENOENT).as_warning()),
            Err(errno) => return Err(Report::new(Step::BootArguments, 0, errno)),
        }
    }
    Ok(())
}

fn bind_one(root: &Root, name: &[u8], file: &OwnedFd) -> nix::Result<()> {
    let path = PathText::join(&[b"proc", name]).map_err(|_| Errno::ENAMETOOLONG)?;
    let path = path.c().to_bytes();
    mount_on(&root.target(path)?, Some(FdPath::of(file).c()), None, MsFlags::MS_BIND, None)?;
    mount_on(&root.target(path)?, None, None, READ_ONLY, None)
}

const READ_ONLY: MsFlags = MsFlags::MS_REMOUNT
    .union(MsFlags::MS_BIND)
    .union(MsFlags::MS_RDONLY)
    .union(MsFlags::MS_NOSUID)
    .union(MsFlags::MS_NODEV)
    .union(MsFlags::MS_NOEXEC);

/// For the guard, in the guest's mount namespace and root, when a procfs has been mounted at `place` and /proc is still the one
/// that the guest had: what is bound over the files of that one is bound over those of the new one as well.
pub fn carry_over(place: &CStr) -> nix::Result<()> {
    for name in NAMES {
        let path = |procfs: &[u8]| PathText::join(&[procfs, name]).map_err(|_| Errno::ENAMETOOLONG);
        let (old, new) = (path(b"/proc")?, path(place.to_bytes())?);
        let covered = |path: &CStr| statfs(path).is_ok_and(|found| found.filesystem_type() != PROC_SUPER_MAGIC);
        if covered(old.c()) && !covered(new.c()) {
            mount(Some(old.c()), new.c(), None::<&CStr>, MsFlags::MS_BIND, None::<&CStr>)?;
            mount(None::<&CStr>, new.c(), None::<&CStr>, READ_ONLY, None::<&CStr>)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::NamedValue;

    fn own(hide: Option<bool>, boot: &[(&'static CStr, &'static CStr)]) -> Own<'static> {
        let mut own = Own::new();
        own.hide_boot = hide;
        for (name, value) in boot {
            own.boot.push(NamedValue { name, value, at: DEFAULT }).unwrap();
        }
        own
    }

    #[test]
    fn cmdline_host_words_go_and_ours_come() {
        let host = b"root=/dev/x \"androidboot.a=b c\" androidboot.slot_suffix=_a quiet dyndbg=\"file x +p\"\n";
        let ours = own(None, &[(c"hardware", c"box"), (c"serialno", c"a b")]);
        let wanted = "root=/dev/x quiet dyndbg=\"file x +p\" androidboot.hardware=box androidboot.serialno=\"a b\"\n";
        assert_eq!(String::from_utf8(cmdline(host, &ours)).unwrap(), wanted);
        assert_eq!(cmdline(b"", &own(Some(true), &[])), b"\n");
    }

    #[test]
    fn cmdline_kept_host_words_give_way_to_ours_of_the_same_name() {
        let ours = own(Some(false), &[(c"mode", c"normal")]);
        let text = cmdline(b"androidboot.mode=charger androidboot.slot_suffix=_a\n", &ours);
        assert_eq!(text, b"androidboot.slot_suffix=_a androidboot.mode=normal\n");
    }

    #[test]
    fn bootconfig_loses_its_androidboot_lines() {
        let host = b"androidboot.hardware = \"x\"\nkernel.quiet = \"1\"\nandroidboot.mode = \"a\", \"b\"\n";
        assert_eq!(bootconfig(host, &own(Some(true), &[])), b"kernel.quiet = \"1\"\n");
        let ours = own(Some(false), &[(c"mode", c"normal")]);
        assert_eq!(bootconfig(host, &ours), b"androidboot.hardware = \"x\"\nkernel.quiet = \"1\"\n");
    }
}
