//! `attach`: a command inside a running container.

use super::prepass::Operands;
use super::{Call, Outcome, Word, fail, parse, word};
use crate::attach::{self, Elevated, Options};
use crate::config::values;
use crate::control::client::Failure;
use crate::logging;
use crate::logging::log;
use crate::sys::{memfd, process};
use crate::text::shown;
use argh::{ArgsInfo, FromArgs};
use core::ffi::CStr;
use nix::errno::Errno;
use std::ffi::CString;
use std::os::fd::AsFd;

/// Runs a command inside a running container, as init would start it; without one the shell of the container's root. Exit code:
/// the command's, 128 + n if signal n killed it, 127 it is not there, 126 it cannot be run, 1 the container cannot be entered.
#[derive(FromArgs, ArgsInfo)]
struct Args {
    /// keep our privileges, or only some: CGROUP|CAP|LSM
    #[argh(option, short = 'e', arg_name = "[PRIVILEGES]", from_str_fn(elevated))]
    elevated_privileges: Option<Elevated>,
    /// architecture that the command sees
    #[argh(option, short = 'a', arg_name = "ARCH", from_str_fn(personality))]
    arch: Option<u64>,
    /// only these namespaces: MOUNT|PID|UTSNAME|IPC|USER|NETWORK|CGROUP|TIME; implies -e
    #[argh(option, short = 's', arg_name = "NAMESPACES", from_str_fn(namespaces))]
    namespaces: Option<u64>,
    /// mount /proc and /sys anew, for who leaves MOUNT out
    #[argh(switch, short = 'R')]
    remount_sys_proc: bool,
    /// begin with an empty environment
    #[argh(switch)]
    clear_env: bool,
    /// keep ours; this is so by itself
    #[argh(switch)]
    #[allow(dead_code)]
    keep_env: bool,
    /// keep this variable of ours; may be repeated
    #[argh(option, arg_name = "NAME", from_str_fn(word))]
    keep_var: Vec<Word>,
    /// set a variable; may be repeated
    #[argh(option, short = 'v', arg_name = "NAME=VALUE", from_str_fn(word))]
    set_var: Vec<Word>,
    /// file that keeps what the terminal shows
    #[argh(option, short = 'L', arg_name = "FILE", from_str_fn(word))]
    pty_log: Option<Word>,
    /// user id inside
    #[argh(option, short = 'u', arg_name = "UID")]
    uid: Option<u32>,
    /// group id inside
    #[argh(option, short = 'g', arg_name = "GID")]
    gid: Option<u32>,
    /// SELinux context instead of init's
    #[argh(option, short = 'c', arg_name = "CONTEXT", from_str_fn(word))]
    context: Option<Word>,
}

/// argh: all privileges, or 'CGROUP|CAP|LSM'.
fn elevated(text: &str) -> Result<Elevated, String> {
    let all = Elevated { cgroup: true, capabilities: true, label: true };
    if text.is_empty() {
        return Ok(all);
    }
    text.split('|').try_fold(Elevated::default(), |some, name| match name {
        "CGROUP" => Ok(Elevated { cgroup: true, ..some }),
        "CAP" => Ok(Elevated { capabilities: true, ..some }),
        "LSM" => Ok(Elevated { label: true, ..some }),
        _ => Err(format!("'{name}' is none of CGROUP, CAP and LSM")),
    })
}

/// argh: the architectures that the config knows.
fn personality(text: &str) -> Result<u64, String> {
    values::personality(text.as_bytes()).map_err(|_| format!("'{text}' is no architecture"))
}

/// argh: the CLONE_NEW* flags of 'MOUNT|PID'.
fn namespaces(text: &str) -> Result<u64, String> {
    let flag = |name: &str| {
        Ok(match name {
            "MOUNT" => libc::CLONE_NEWNS as u64,
            "PID" => libc::CLONE_NEWPID as u64,
            "UTSNAME" => libc::CLONE_NEWUTS as u64,
            "IPC" => libc::CLONE_NEWIPC as u64,
            "USER" => libc::CLONE_NEWUSER as u64,
            "NETWORK" => libc::CLONE_NEWNET as u64,
            "CGROUP" => libc::CLONE_NEWCGROUP as u64,
            "TIME" => 0x80,
            _ => return Err(format!("'{name}' is no namespace")),
        })
    };
    text.split('|').try_fold(0, |flags, name| Ok(flags | flag(name)?))
}

/// Runs the verb.
pub fn run(call: &Call<'_>) -> Outcome {
    let mut line = parse::<Args>(call, Operands::NameThenCommand, " [-- COMMAND...]")?;
    let target = line.target()?;
    let args = &line.args;
    if let Some(word) = args.set_var.iter().find(|word| !word.to_bytes().contains(&b'=')) {
        return Err(fail(call.program, format_args!("-v {}: not NAME=VALUE", shown(word))));
    }
    let settings = logging::Settings {
        program: call.program,
        name: target.name,
        level: line.common.level().unwrap_or_default(),
        quiet: line.common.quiet,
        file: line.common.logfile,
        syslog: None,
        kmsg: false,
        logd: false,
    };
    // A log file that cannot be had is no reason not to attach.
    let _ = logging::open_sinks(&settings);
    if let Err(errno) = be_unwritable(call) {
        return Err(fail(call.program, format_args!("make a sealed copy of our binary: {}", errno.desc())));
    }
    let implied = Elevated { cgroup: true, capabilities: true, label: true };
    let elevated =
        args.elevated_privileges.unwrap_or(if args.namespaces.is_some() { implied } else { Elevated::default() });
    // What the config gives init, an attached program has as well.
    let given = match target.container().config_item(c"lxc.environment") {
        Ok(given) => given.unwrap_or_default(),
        // What is not running is told below; one that does not know the key has none.
        Err(Failure::NotRunning | Failure::Closed | Failure::Refused(_)) => Vec::new(),
        Err(failure) => return Err(fail(call.program, format_args!("{}: {failure}", shown(target.name)))),
    };
    let given: Vec<CString> = given
        .split(|byte| *byte == b'\n')
        .filter(|word| word.contains(&b'='))
        .filter_map(|word| CString::new(word).ok())
        .collect();
    let options = Options {
        container: target.container(),
        elevated,
        personality: args.arch,
        namespaces: args.namespaces,
        remount: args.remount_sys_proc,
        clear_environment: args.clear_env,
        keep: args.keep_var.clone(),
        set: given.iter().map(CString::as_c_str).chain(args.set_var.iter().copied()).collect(),
        uid: args.uid,
        gid: args.gid,
        label: args.context,
        log: args.pty_log,
        command: &line.operands,
    };
    attach::run(&options).map_err(|failed| {
        line.fail(format_args!("{}: {}", shown(target.name), failed.why));
        failed.code
    })
}

/// Goes on as a sealed copy of our binary, because the one on the disk can be reached from inside by /proc/PID/exe while we are
/// there. A kernel before 3.17 has no such thing; there it goes on as it is, as LXC does.
fn be_unwritable(call: &Call<'_>) -> nix::Result<()> {
    if memfd::is_in_memory() {
        let _ = nix::sys::prctl::set_name(call.program);
        return Ok(());
    }
    let copy = match memfd::own_binary() {
        Ok(copy) => copy,
        Err(Errno::ENOSYS) => {
            log::debug!("our binary stays writable: no sealed copy");
            return Ok(());
        }
        Err(errno) => return Err(errno),
    };
    let verb = CString::new(call.verb).unwrap_or_default();
    let verb = if call.stock { None } else { Some(verb.as_c_str()) };
    let words: Vec<&CStr> = [call.program].into_iter().chain(verb).chain(call.args.iter().copied()).collect();
    match process::exec_file(copy.as_fd(), &words, &super::environment()) {
        Errno::ENOSYS => Ok(()),
        errno => Err(errno),
    }
}
