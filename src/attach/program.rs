//! The program: inside the container already, up to its exec.

use super::Options;
use super::context::passwd;
use super::enter::tell;
use crate::sys::process::{self, exit_now};
use crate::sys::{fds, pty, signals};
use core::ffi::CStr;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::Mode;
use nix::unistd::{Uid, chdir, setsid};
use std::ffi::CString;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// How much of the container's /etc/passwd is read: the file is the guest's.
const PASSWD_BYTES: u64 = 64 * 1024;

/// Runs it.
pub fn run(
    options: &Options<'_>,
    terminal: Option<(BorrowedFd<'_>, [bool; 3])>,
    directory: Option<PathBuf>,
    report: &OwnedFd,
) -> ! {
    let (step, errno, code) = match prepare(options, terminal, directory) {
        Err((step, errno)) => (step.to_owned(), errno, 1),
        Ok(()) => execute(options),
    };
    tell(report, code, &format!("{step}: {}", errno.desc()));
    exit_now(i32::from(code))
}

fn prepare(
    options: &Options<'_>,
    terminal: Option<(BorrowedFd<'_>, [bool; 3])>,
    directory: Option<PathBuf>,
) -> Result<(), super::enter::Fault> {
    let at = |step: &'static str| move |errno: Errno| (step, errno);
    // Always: the controlling terminal of ours, whose input it could fake, is one of the host's.
    setsid().map_err(at("setsid"))?;
    if let Some((slave, terminals)) = terminal {
        // A host's pty, or another user namespace's, may not be ours to give.
        let _ = nix::unistd::fchown(slave, Some(Uid::from_raw(options.uid.unwrap_or(0))), None);
        pty::set_controlling(slave, false).map_err(at("take the terminal"))?;
        for (number, _) in (0..).zip(terminals).filter(|(_, is_terminal)| *is_terminal) {
            fds::dup_onto(slave, number).map_err(at("take the terminal"))?;
        }
    }
    if options.remount {
        remount().map_err(at("mount /proc and /sys anew"))?;
    }
    let there = directory.and_then(|directory| CString::new(directory.into_os_string().into_vec()).ok());
    if there.is_none_or(|there| chdir(there.as_c_str()).is_err()) {
        chdir(c"/").map_err(at("chdir /"))?;
    }
    // In a user namespace that denies setgroups there is nothing to clear.
    match process::set_groups(&[]) {
        Ok(()) | Err(Errno::EPERM) => {}
        Err(errno) => return Err(("setgroups", errno)),
    }
    process::set_group(options.gid.unwrap_or(0)).map_err(at("setgid"))?;
    process::set_user(options.uid.unwrap_or(0)).map_err(at("setuid"))?;
    signals::reset_ignored(u64::MAX);
    signals::unblock_all().map_err(at("signals"))
}

/// For who joined the pid or the network namespace and not the mount namespace.
fn remount() -> nix::Result<()> {
    let none: Option<&CStr> = None;
    mount(none, c"/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none)?;
    for (kind, place) in [(c"proc", c"/proc"), (c"sysfs", c"/sys")] {
        let _ = umount2(place, MntFlags::MNT_DETACH);
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC | MsFlags::MS_NODEV;
        mount(Some(kind), place, Some(kind), flags, none)?;
    }
    Ok(())
}

/// The exec, which returns only what went wrong and the exit code of it.
fn execute(options: &Options<'_>) -> (String, Errno, u8) {
    let environment = environment(options);
    let words: Vec<&CStr> = environment.iter().map(CString::as_c_str).collect();
    if options.command.is_empty() {
        return shell(options, &words);
    }
    let command = options.command.first().copied().unwrap_or(c"");
    let path = words.iter().find_map(|word| word.to_bytes().strip_prefix(b"PATH="));
    let errno = process::exec_in_path(path.unwrap_or(process::PATH), options.command, &words);
    (command.to_string_lossy().into_owned(), errno, code(errno))
}

/// What a shell answers for a command that cannot be run.
fn code(errno: Errno) -> u8 {
    if matches!(errno, Errno::ENOENT | Errno::ENOTDIR) { 127 } else { 126 }
}

/// The user's shell, or the first of the usual ones. Android has no /bin/sh.
fn shell(options: &Options<'_>, words: &[&CStr]) -> (String, Errno, u8) {
    let text = read_some(c"/etc/passwd");
    let own = passwd(&text, options.uid.unwrap_or(0)).and_then(|shell| CString::new(shell).ok());
    let mut last = Errno::ENOENT;
    for shell in own.as_deref().into_iter().chain([c"/bin/sh", c"/system/bin/sh"]) {
        match process::exec(shell, &[shell], words) {
            Errno::ENOENT | Errno::ENOTDIR => {}
            errno => last = errno,
        }
    }
    ("no shell of the user's, /bin/sh or /system/bin/sh".to_owned(), last, code(last))
}

fn read_some(path: &CStr) -> Vec<u8> {
    use std::io::Read;
    let mut text = Vec::new();
    // A FIFO in its place must not hold us up.
    if let Ok(file) = fds::open(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY, Mode::empty())
        && let file = std::fs::File::from(file)
        && file.metadata().is_ok_and(|data| data.is_file())
    {
        let _ = file.take(PASSWD_BYTES).read_to_end(&mut text);
    }
    text
}

/// Ours or none, the wished-for words, and `container=lxc`. A later word replaces an earlier one of the same name.
fn environment(options: &Options<'_>) -> Vec<CString> {
    let mut words: Vec<CString> = Vec::new();
    let mut put = |word: &[u8]| {
        let name = word.split(|byte| *byte == b'=').next().unwrap_or_default();
        words.retain(|known| known.to_bytes().split(|byte| *byte == b'=').next() != Some(name));
        words.extend(CString::new(word));
    };
    if options.clear_environment {
        put(&[b"PATH=", process::PATH].concat());
    }
    for (name, value) in std::env::vars_os() {
        let kept = options.keep.iter().any(|keep| keep.to_bytes() == name.as_bytes());
        if !options.clear_environment || kept {
            put(&[name.as_bytes(), b"=", value.as_bytes()].concat());
        }
    }
    put(b"container=lxc");
    for word in &options.set {
        put(word.to_bytes());
    }
    words
}
