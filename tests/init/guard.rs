//! Steps that mount, and ask the kernel for what the guard hears of.

use crate::{done, errno_text, forever, fork, outcome, say, write};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::ffi::CString;
use std::fs;

/// One step; its outcome is said.
pub fn run(verb: &str, args: &[&str]) {
    let answer = match (verb, args) {
        // mount TYPE TARGET [DATA]
        ("mount", [kind, target, data @ ..]) => made(kind, target, MsFlags::empty(), data.first().copied()),
        // bind SOURCE TARGET [FLAG...]
        ("bind", [source, target, words @ ..]) => {
            let flags = words.iter().fold(MsFlags::MS_BIND, |flags, word| flags | flag(word));
            let _ = fs::create_dir_all(target);
            done(mount(Some(*source), *target, None::<&str>, flags, None::<&str>))
        }
        // Writes what the kernel would refuse by itself, were it not read-only; `h` is harmless.
        ("try", [proc]) => tried(proc, &TRIES),
        // The same, until it is so.
        ("await", [proc]) => await_refused(proc),
        ("try-sys", [sys]) => tried(sys, &[("power/pm_freeze_timeout", "x")]),
        ("unmount", [target]) => done(umount2(*target, MntFlags::empty())),
        // A mount namespace of its own, as Android gives to each app.
        ("namespace", []) => done(nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS)),
        ("fsopen", [kind]) => {
            let kind = CString::new(*kind).unwrap();
            // SAFETY: the kernel reads the C string.
            done(Errno::result(unsafe { libc::syscall(430, kind.as_ptr(), 0) }).map(drop))
        }
        // The session keyring's number.
        // SAFETY: no memory is passed.
        ("keyctl", []) => done(Errno::result(unsafe { libc::syscall(libc::SYS_keyctl, 0, -3, 0) }).map(drop)),
        ("restart-for", [argument]) => restart_for(argument),
        // In a pid namespace of its own, whose end is its own.
        ("restart-for", ["nested", argument]) => nested(argument),
        _ => {
            eprintln!("init: no such step: {verb} {args:?}");
            std::process::exit(99)
        }
    };
    say(&format!("{verb} {}: {}", args.join(" "), outcome(answer)));
}

const TRIES: [(&str, &str); 4] =
    [("sysrq-trigger", "h"), ("sys/kernel/panic", "x"), ("sys/vm/swappiness", "x"), ("sys/fs/file-max", "x")];

fn await_refused(proc: &str) -> std::io::Result<String> {
    for _ in 0..2_000 {
        if tried(proc, &TRIES)? == "refused" {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    tried(proc, &TRIES)
}

/// Which files are there and not read-only.
fn tried(base: &str, files: &[(&str, &str)]) -> std::io::Result<String> {
    let mut open = Vec::new();
    // Not every kernel has a trigger.
    let there = |file: &str| file != "sysrq-trigger" || fs::exists(format!("{base}/{file}")).unwrap();
    for (file, text) in files.iter().filter(|(file, _)| there(file)) {
        let errno = write(&format!("{base}/{file}"), text).err().and_then(|e| e.raw_os_error());
        if errno != Some(libc::EROFS) {
            open.push(*file);
        }
    }
    Ok(if open.is_empty() { "refused".into() } else { open.join(" ") })
}

fn made(kind: &str, target: &str, flags: MsFlags, data: Option<&str>) -> std::io::Result<String> {
    let _ = fs::create_dir_all(target);
    done(mount(Some(kind), target, Some(kind), flags, data))
}

fn flag(word: &str) -> MsFlags {
    match word {
        "rec" => MsFlags::MS_REC,
        other => panic!("no such flag: {other}"),
    }
}

fn restart_for(argument: &str) -> std::io::Result<String> {
    let argument = CString::new(argument).unwrap();
    // SAFETY: the magic numbers and the command are the kernel's, the text ends with a NUL.
    let result = unsafe {
        libc::syscall(
            libc::SYS_reboot,
            libc::LINUX_REBOOT_MAGIC1,
            libc::LINUX_REBOOT_MAGIC2,
            libc::LINUX_REBOOT_CMD_RESTART2,
            argument.as_ptr(),
        )
    };
    if let Err(errno) = Errno::result(result) {
        return Ok(errno_text(&errno.into()));
    }
    // The kernel kills pid 1 on its own time.
    forever();
    Ok(String::new())
}

fn nested(argument: &str) -> std::io::Result<String> {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWPID)?;
    if fork() {
        restart_for(argument)?;
    }
    let ended = nix::sys::wait::wait()?;
    Ok(format!("{}", matches!(ended, nix::sys::wait::WaitStatus::Signaled(_, nix::sys::signal::Signal::SIGHUP, _))))
}
