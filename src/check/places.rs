//! The places that a start writes to or mounts on, besides what the config's entries name.

use super::{Findings, Verdict};
use crate::config::{AutoProc, AutoSys, Config, ConsolePath, HookKind};
use crate::rootfs::beneath::{Root, split};
use crate::text::{Shown, shown};
use core::ffi::CStr;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::{AccessFlags, access};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Judges log files, the console's mirror, and files of /proc that the config writes.
pub fn files(config: &Config<'_>, findings: &mut Findings) {
    let mut look = |key: &str, path: &CStr, make: bool| {
        if let Err(errno) = writable(path, make) {
            findings.add(Verdict::Fail, "files", format_args!("{key} = {}: {}", shown(path), errno.desc()));
        }
    };
    if let ConsolePath::Path(path) = config.console.path {
        // A device is not made, that would be a file in the place of one.
        look("lxc.console.path", path, !path.to_bytes().starts_with(b"/dev/"));
    }
    if let Some(path) = config.console.logfile {
        look("lxc.console.logfile", path.value, true);
    }
    if let Some(path) = config.log.file.filter(|path| *path != c"none") {
        look("lxc.log.file", path, true);
    }
    for file in &config.procs {
        let path = [b"/proc/self/", file.name.to_bytes()].concat();
        if !Path::new(OsStr::from_bytes(&path)).exists() {
            let place = config.place(file.at);
            let what = format_args!("{place}: lxc.proc.{}: a process has no such file", shown(file.name));
            findings.add(Verdict::Fail, "files", what);
        }
    }
}

/// Whether a file can be written: it itself, or its directory where it may be made.
fn writable(path: &CStr, make: bool) -> nix::Result<()> {
    match access(path, AccessFlags::W_OK) {
        Err(Errno::ENOENT) if make => {
            let path = path.to_bytes();
            let directory = match split(path) {
                (b"", _) if path.starts_with(b"/") => b"/".to_vec(),
                (b"", _) => b".".to_vec(),
                (directory, _) if path.starts_with(b"/") => [b"/", directory].concat(),
                (directory, _) => directory.to_vec(),
            };
            access(OsStr::from_bytes(&directory), AccessFlags::W_OK)
        }
        other => other,
    }
}

/// Judges the directories of the rootfs that a start mounts on: real ones, or ones that it can make.
pub fn directories(config: &Config<'_>, root: &Root, findings: &mut Findings) {
    let early = config.hooks.iter().any(|hook| matches!(hook.kind, HookKind::PreStart | HookKind::PreMount));
    let wanted = [
        ("dev", true),
        ("dev/pts", config.pty_max > 0 && !config.autodev),
        ("proc", config.mount_auto.proc != AutoProc::No),
        ("sys", config.mount_auto.sys != AutoSys::No),
    ];
    for (path, _) in wanted.into_iter().filter(|(_, wanted)| *wanted) {
        let why = match root.look_up(path.as_bytes(), OFlag::O_PATH | OFlag::O_DIRECTORY) {
            // Made at the start.
            Ok(_) | Err(Errno::ENOENT) => continue,
            Err(Errno::ELOOP) => "it is a symbolic link, make it a directory",
            Err(errno) => errno.desc(),
        };
        let verdict = if early { Verdict::Warn } else { Verdict::Fail };
        findings.add(verdict, "rootfs", format_args!("/{}: {why}", Shown(path.as_bytes())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writable_a_missing_file_needs_its_directory() {
        assert_eq!(writable(c"/proc/none/log", true), Err(Errno::ENOENT));
        assert_eq!(writable(c"/dev/monopod-none", false), Err(Errno::ENOENT));
        assert_eq!(writable(c"/dev/null", false), Ok(()));
        let new = std::env::temp_dir().join("monopod-writable-none");
        assert_eq!(writable(&std::ffi::CString::new(new.to_str().unwrap()).unwrap(), true), Ok(()));
        assert!(!new.exists());
    }
}
