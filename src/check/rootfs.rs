//! What a start executes and mounts: init, hooks, mount entries. Looked at where the guest would find it.

use super::path::{Lost, resolve};
use super::program::{self, Program};
use super::{Findings, Verdict, machine, places};
use crate::config::{Config, Create, Hook, HookKind, MountEntry};
use crate::files;
use crate::hooks::is_plain;
use crate::rootfs::beneath::{Root, components};
use crate::rootfs::{Kind, Source, entries};
use crate::sys::process;
use crate::text::{Shown, shown};
use core::ffi::CStr;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{SFlag, fstat, stat};
use nix::sys::uio::pread;
use nix::sys::utsname::uname;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Interpreters of interpreters that the kernel follows.
const DEPTH: u32 = 4;

/// Why a program cannot be executed.
struct Trouble {
    /// For a person.
    text: String,
    /// The file that it is about, without links and first slash.
    at: Vec<u8>,
    /// Another kernel, or a handler of binfmt_misc, might execute it.
    foreign: bool,
}

/// Judges the rootfs and all that is looked up in it. `argv` is init's command line.
pub fn judge(config: &Config<'_>, source: &Source<'_>, argv: &[&CStr], findings: &mut Findings) {
    let host = Root::open(c"/").ok();
    if source.kind != Kind::Directory {
        let (path, what) = (shown(source.path), source.kind.name());
        let what = format_args!("{path} is {what}, not looked into: init and targets may be missing");
        findings.add(Verdict::Warn, "rootfs", what);
        if let Some(host) = &host {
            hooks(config, None, host, findings);
        }
        return;
    }
    let root = match Root::open(source.path) {
        Ok(root) => root,
        Err(errno) => {
            let what = format_args!("{}: {}", shown(source.path), errno.desc());
            return findings.add(Verdict::Fail, "rootfs", what);
        }
    };
    findings.add(Verdict::Ok, "rootfs", format_args!("{}", shown(source.path)));
    places::directories(config, &root, findings);
    init(config, &root, argv, findings);
    mounts(config, source, &root, findings);
    if let Some(host) = &host {
        hooks(config, Some(&root), host, findings);
    }
    sysctls(config, findings);
}

/// Whether hooks or mounts may put something at a path of the rootfs before it is needed.
fn may_come(config: &Config<'_>, at: &[u8]) -> bool {
    use HookKind::{Autodev, Mount, PreMount, PreStart};
    let early = [PreStart, PreMount, Mount, Autodev];
    config.hooks.iter().any(|hook| early.contains(&hook.kind))
        || config.mounts.iter().any(|entry| lies_in(at, entry.target.to_bytes()))
}

/// Whether a path lies at or below a directory, both without regard to slashes at their ends.
fn lies_in(path: &[u8], directory: &[u8]) -> bool {
    let mut names = components(path);
    components(directory).all(|name| names.next() == Some(name))
}

fn init(config: &Config<'_>, root: &Root, argv: &[&CStr], findings: &mut Findings) {
    let Some(command) = argv.first() else { return };
    let word = command.to_bytes();
    let found = if word.starts_with(b"/") {
        look(root, word, DEPTH)
    } else if word.contains(&b'/') {
        let directory = config.init.cwd.unwrap_or(c"/");
        look(root, &[directory.to_bytes(), b"/", word].concat(), DEPTH)
    } else {
        let directories = process::PATH.split(|byte| *byte == b':');
        let mut all = directories.map(|directory| look(root, &[directory, b"/", word].concat(), DEPTH));
        let first = all.next().unwrap_or_else(|| Ok(String::new()));
        all.fold(first, |found, next| if found.is_ok() || next.is_err() { found } else { next })
    };
    match found {
        Ok(what) => findings.add(Verdict::Ok, "init", format_args!("{}{what}", Shown(word))),
        Err(trouble) => {
            let later = may_come(config, &trouble.at);
            let (verdict, but) = match (later, trouble.foreign && has_handlers()) {
                (true, _) => (Verdict::Warn, " (a hook or a mount may bring it)"),
                (_, true) => (Verdict::Warn, " (a handler of binfmt_misc may execute it)"),
                _ => (Verdict::Fail, "; lxc.init.cmd names another"),
            };
            findings.add(verdict, "init", format_args!("{}: {}{but}", Shown(word), trouble.text));
        }
    }
    if let Some(directory) = config.init.cwd
        && let Err(lost) = resolve(root, directory.to_bytes())
        && !may_come(config, &lost.at)
    {
        findings.add(Verdict::Fail, "init", format_args!("lxc.init.cwd = {}: {}", shown(directory), lost.errno.desc()));
    }
}

/// Whether binfmt_misc has a handler, apart from its two control files.
fn has_handlers() -> bool {
    files::names(c"/proc/sys/fs/binfmt_misc").is_ok_and(|names| names.len() > 2)
}

/// Looks at a program as the kernel would; what it is reached by, if that is another path.
fn look(root: &Root, path: &[u8], depth: u32) -> Result<String, Trouble> {
    let trouble = |at: &[u8], text: String| Trouble { text, at: at.to_vec(), foreign: false };
    let real = resolve(root, path).map_err(|Lost { errno, at }| {
        let text = match lies_in(path, &at) && lies_in(&at, path) {
            true => errno.desc().to_string(),
            false => format!("/{}: {}", Shown(&at), errno.desc()),
        };
        Trouble { text, at, foreign: false }
    })?;
    let os = |errno: Errno| trouble(&real, errno.desc().to_string());
    let status = root.look_up(&real, OFlag::O_PATH).and_then(fstat).map_err(os)?;
    if SFlag::from_bits_truncate(status.st_mode & libc::S_IFMT) != SFlag::S_IFREG {
        return Err(trouble(&real, String::from("it is no file")));
    }
    if status.st_mode & 0o111 == 0 {
        return Err(trouble(&real, format!("it is not executable (chmod +x, mode is {:o})", status.st_mode & 0o7777)));
    }
    let file = root.look_up(&real, OFlag::O_RDONLY | OFlag::O_NONBLOCK).map_err(os)?;
    let mut head = vec![0; 4096];
    let length = pread(&file, &mut head, 0).map_err(os)?;
    let mut interpreter = Vec::new();
    match program::read(head.get(..length).unwrap_or_default()) {
        Program::Elf { wide, machine, loader } => {
            let kernel = uname().map(|name| name.machine().to_string_lossy().into_owned()).unwrap_or_default();
            if !program::fits(&kernel, machine, wide) {
                let text =
                    format!("it is a program for {}, and this kernel is {kernel}", program::machine_name(machine));
                return Err(Trouble { foreign: true, ..trouble(&real, text) });
            }
            if let Some((offset, length)) = loader {
                let mut text = vec![0; usize::try_from(length).unwrap_or(0).min(crate::limits::PATH_BYTES)];
                let length = pread(&file, &mut text, offset as libc::off_t).map_err(os)?;
                let text = text.get(..length).unwrap_or_default();
                interpreter.extend(text.split(|byte| *byte == 0).next().unwrap_or_default());
            }
        }
        Program::Script(path) => interpreter.extend(path),
        Program::Unknown => {
            let text = String::from("it is neither a program nor a script that begins with #!");
            return Err(Trouble { foreign: true, ..trouble(&real, text) });
        }
    }
    let mut what = String::new();
    if !(lies_in(&real, path) && lies_in(path, &real)) {
        what = format!(", which is /{}", Shown(&real));
    }
    if interpreter.is_empty() {
        return Ok(what);
    }
    if depth == 0 {
        return Err(trouble(&real, String::from("too many interpreters")));
    }
    match look(root, &interpreter, depth - 1) {
        Ok(_) => Ok(format!("{what}, by {}", Shown(&interpreter))),
        Err(inner) => {
            Err(Trouble { text: format!("its interpreter {}: {}", Shown(&interpreter), inner.text), ..inner })
        }
    }
}

fn mounts(config: &Config<'_>, source: &Source<'_>, root: &Root, findings: &mut Findings) {
    let types = std::fs::read("/proc/filesystems").unwrap_or_default();
    let mut fine = 0;
    for (index, entry) in config.mounts.iter().enumerate() {
        let place = config.place(entry.at);
        let mut bad = |verdict, what: core::fmt::Arguments<'_>| {
            let verdict = if entry.optional { Verdict::Warn } else { verdict };
            let optional = if entry.optional { " (optional: it is left out)" } else { "" };
            findings.add(verdict, "mounts", format_args!("{place}: {what}{optional}"));
        };
        let earlier = config.mounts.get(..index).unwrap_or_default();
        if let Some(errno) = lost_source(entry, root, &types) {
            let early = config.hooks.iter().any(|hook| matches!(hook.kind, HookKind::PreStart | HookKind::PreMount));
            let (verdict, but) = if early { (Verdict::Warn, "; a hook may make it") } else { (Verdict::Fail, "") };
            bad(verdict, format_args!("source {}: {}{but}", shown(entry.source), errno.desc()));
        } else if let Some(why) = lost_target(config, source, root, entry, earlier) {
            bad(Verdict::Fail, format_args!("target {}: {why}", shown(entry.target)));
        } else if is_typed(entry) && !machine::has_filesystem(&types, entry.fstype.to_bytes()) {
            // The kernel asks this program for a module.
            let helper = std::fs::read("/proc/sys/kernel/modprobe").unwrap_or_default();
            let loads =
                Path::new(OsStr::from_bytes(helper.trim_ascii())).is_file() && Path::new("/lib/modules").exists();
            let (verdict, but) = if loads { (Verdict::Warn, " yet (a module?)") } else { (Verdict::Fail, "") };
            bad(verdict, format_args!("the kernel does not know {}{but}", shown(entry.fstype)));
        } else {
            fine += 1;
        }
    }
    if fine > 0 {
        findings.add(Verdict::Ok, "mounts", format_args!("{fine} of {} have source and target", config.mounts.len()));
    }
}

/// Whether an entry mounts a filesystem by its type.
fn is_typed(entry: &MountEntry<'_>) -> bool {
    #[allow(clippy::unnecessary_cast)] // libc's type is the machine's word
    let other = (libc::MS_BIND | libc::MS_REMOUNT | libc::MS_MOVE) as u64;
    entry.options.flags & other == 0
}

/// The kernel's reason for which an entry has no source.
fn lost_source(entry: &MountEntry<'_>, root: &Root, types: &[u8]) -> Option<Errno> {
    #[allow(clippy::unnecessary_cast)]
    let bind = entry.options.flags & libc::MS_BIND as u64 != 0 && entry.options.flags & libc::MS_REMOUNT as u64 == 0;
    let named = is_typed(entry) && entry.source.to_bytes().starts_with(b"/dev/") && {
        let virtual_one = [b"nodev\t", entry.fstype.to_bytes(), b"\n"].concat();
        crate::text::find(types, &virtual_one).is_none()
    };
    match (bind, entry.relative) {
        (true, true) => root.target(entry.source.to_bytes()).err(),
        (true, false) => stat(entry.source).err(),
        (false, _) => {
            if named {
                stat(entry.source).err()
            } else {
                None
            }
        }
    }
}

/// Why an entry has no target; None also where what is mounted before it decides that.
fn lost_target(
    config: &Config<'_>,
    source: &Source<'_>,
    root: &Root,
    entry: &MountEntry<'_>,
    earlier: &[MountEntry<'_>],
) -> Option<String> {
    use crate::config::{AutoProc, AutoSys};
    let target = entries::inside(source, entry.target.to_bytes());
    let covered = earlier.iter().any(|one| lies_in(target, entries::inside(source, one.target.to_bytes())))
        || config.mount_auto.proc != AutoProc::No && lies_in(target, b"proc")
        || config.mount_auto.sys != AutoSys::No && lies_in(target, b"sys");
    if covered {
        return None;
    }
    let make = entry.create != Create::No;
    let fresh = config.autodev && lies_in(target, b"dev") && components(target).count() > 1;
    if fresh {
        let say = || String::from("/dev is made anew (lxc.autodev) and empty: add create=dir or create=file");
        return (!make).then(say);
    }
    if config.hooks.iter().any(|hook| matches!(hook.kind, HookKind::PreStart | HookKind::PreMount)) {
        return None;
    }
    match root.target(target) {
        Ok(_) => None,
        Err(Errno::ENOENT) if make => None,
        Err(Errno::ENOENT) => Some(String::from("not in the rootfs: make it, or add create=dir or create=file")),
        Err(Errno::ELOOP) => Some(String::from("a symbolic link is on the way: name what it leads to")),
        Err(Errno::EINVAL) => Some(String::from(".. is not allowed")),
        Err(errno) => Some(errno.desc().to_string()),
    }
}

fn hooks(config: &Config<'_>, inside: Option<&Root>, host: &Root, findings: &mut Findings) {
    let mut fine = 0;
    for hook in config.hooks.iter().filter(|hook| !matches!(hook.kind, HookKind::Clone | HookKind::Destroy)) {
        // All but the start hook run before the child goes into the rootfs.
        let root = if hook.kind == HookKind::Start { inside } else { Some(host) };
        match root.and_then(|root| hook_trouble(hook, root)) {
            None => fine += 1,
            Some((mut verdict, text, at)) => {
                let late = matches!(hook.kind, HookKind::Stop | HookKind::PostStop);
                if late || hook.kind == HookKind::Start && may_come(config, &at) {
                    verdict = Verdict::Warn;
                }
                let (place, kind) = (config.place(hook.at), hook.kind.name().trim_start_matches("LXC_HOOK_TYPE="));
                findings.add(verdict, "hooks", format_args!("{place}: {kind} {}: {text}", shown(hook.command)));
            }
        }
    }
    if fine > 0 {
        findings.add(Verdict::Ok, "hooks", format_args!("{fine} can be executed"));
    }
}

/// What is wrong with a hook's program, and which file that is about. A shell's line is looked at as far as its first word goes.
fn hook_trouble(hook: &Hook<'_>, root: &Root) -> Option<(Verdict, String, Vec<u8>)> {
    let command = hook.command.to_bytes();
    let plain = is_plain(command);
    if !plain && [&b"/bin/sh"[..], b"/system/bin/sh"].into_iter().all(|shell| look(root, shell, 1).is_err()) {
        return Some((Verdict::Fail, String::from("it needs a shell, and there is none"), b"bin/sh".to_vec()));
    }
    let word = command.split(u8::is_ascii_whitespace).next().unwrap_or_default();
    if !is_plain(word) {
        return None;
    }
    match look(root, word, DEPTH) {
        Ok(_) => None,
        // A script without #! is run by a shell.
        Err(Trouble { foreign: true, .. }) => None,
        Err(trouble) => Some((if plain { Verdict::Fail } else { Verdict::Warn }, trouble.text, trouble.at)),
    }
}

fn sysctls(config: &Config<'_>, findings: &mut Findings) {
    for sysctl in &config.sysctls {
        let path = [b"/proc/sys/", sysctl.name.to_bytes().to_vec().as_slice()].concat();
        let path: Vec<u8> = path.iter().map(|byte| if *byte == b'.' { b'/' } else { *byte }).collect();
        if !Path::new(OsStr::from_bytes(&path)).exists() {
            let place = config.place(sysctl.at);
            let what = format_args!("{place}: lxc.sysctl.{}: there is no {}", shown(sysctl.name), Shown(&path));
            findings.add(Verdict::Fail, "sysctls", what);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lies_in_counts_whole_components() {
        assert!(lies_in(b"/usr/bin/sh", b"usr/") && lies_in(b"usr", b"/usr") && lies_in(b"a", b""));
        assert!(!lies_in(b"usrlib/x", b"usr") && !lies_in(b"usr", b"usr/lib"));
    }
}
