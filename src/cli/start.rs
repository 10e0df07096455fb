//! `start`: hands the command line to the start sequence.

use super::prepass::Operands;
use super::{Call, Outcome, Word, fail, parse, word};
use crate::limits;
use crate::start::{self, Options};
use crate::text::{Shown, shown};
use argh::{ArgsInfo, FromArgs};

/// Starts a container, and stays with it until its init has ended. COMMAND takes the place of the config's init.
#[derive(FromArgs, ArgsInfo)]
struct Args {
    /// run in the background; what 'lxc-start' does by itself
    #[argh(switch, short = 'd')]
    daemon: bool,
    /// run in the foreground; what 'monopod start' does by itself
    #[argh(switch, short = 'F')]
    foreground: bool,
    /// set a config key after the file; may be repeated
    #[argh(option, short = 's', arg_name = "KEY=VALUE", from_str_fn(word))]
    define: Vec<Word>,
    /// terminal or file for the console
    #[argh(option, short = 'c', arg_name = "FILE", from_str_fn(word))]
    console: Option<Word>,
    /// file that keeps what the console prints
    #[argh(option, short = 'L', arg_name = "FILE", from_str_fn(word))]
    console_log: Option<Word>,
    /// close inherited descriptors instead of warning of them; -d implies it
    #[argh(switch, short = 'C')]
    close_all_fds: bool,
    /// file to write the supervisor's pid to
    #[argh(option, short = 'p', arg_name = "FILE", from_str_fn(word))]
    pidfile: Option<Word>,
    /// write a newline to this open descriptor when the container runs, and close it
    #[argh(option, arg_name = "N", from_str_fn(descriptor))]
    ready_fd: Option<i32>,
    /// share the network of another container
    #[argh(option, arg_name = "NAME|PID", from_str_fn(word))]
    share_net: Option<Word>,
    /// share its IPC namespace
    #[argh(option, arg_name = "NAME|PID", from_str_fn(word))]
    share_ipc: Option<Word>,
    /// share its host name
    #[argh(option, arg_name = "NAME|PID", from_str_fn(word))]
    share_uts: Option<Word>,
    /// share its process ids
    #[argh(option, arg_name = "NAME|PID", from_str_fn(word))]
    share_pid: Option<Word>,
}

/// Runs the verb.
pub fn run(call: &Call<'_>) -> Outcome {
    let mut line = parse::<Args>(call, Operands::NameThenCommand, " [-- COMMAND...]")?;
    let target = line.target()?;
    let args = &line.args;
    let shares = shares([&args.share_net, &args.share_ipc, &args.share_uts, &args.share_pid]);
    let Some(daemon) = daemon(call.stock, args.daemon, args.foreground) else {
        return Err(fail(call.program, format_args!("--daemon and --foreground exclude each other")));
    };
    let mut defines = Vec::new();
    for define in args.define.iter().map(|define| define.to_bytes()).chain(shares.iter().map(String::as_bytes)) {
        if !define.contains(&b'=') {
            return Err(fail(call.program, format_args!("-s {}: not KEY=VALUE", Shown(define))));
        }
        defines.push(define);
    }
    if defines.len() > limits::DEFINES {
        return Err(fail(call.program, format_args!("more than {} times -s", limits::DEFINES)));
    }
    let code = start::run(Options {
        name: target.name,
        lxcpath: target.lxcpath,
        rcfile: target.rcfile,
        defines: &defines,
        command: &line.operands,
        inside: None,
        own_streams: false,
        daemon,
        pidfile: args.pidfile,
        console: args.console,
        console_log: args.console_log,
        close_fds: args.close_all_fds || daemon,
        ready_fd: args.ready_fd,
        logfile: line.common.logfile,
        loglevel: line.common.level().unwrap_or_default(),
        quiet: line.common.quiet,
        program: call.program,
    });
    Ok(as_called(call, code))
}

/// `--share-net`, `-ipc`, `-uts` and `-pid` as the config says them.
pub fn shares(given: [&Option<Word>; 4]) -> Vec<String> {
    let named = ["net", "ipc", "uts", "pid"].into_iter().zip(given);
    named.filter_map(|(kind, of)| Some(format!("lxc.namespace.share.{kind}={}", shown(of.as_ref()?)))).collect()
}

/// The exit code of a start: our own failures have one that no init has, which by LXC's name is LXC's.
pub fn as_called(call: &Call<'_>, code: i32) -> i32 {
    if call.stock && code == start::FAILED { super::FAILED } else { code }
}

/// argh: the number of an open descriptor.
fn descriptor(text: &str) -> Result<i32, String> {
    let number = crate::text::number(text.as_bytes()).and_then(|number| i32::try_from(number).ok());
    number.ok_or_else(|| format!("'{text}' is no number of a descriptor"))
}

/// Whether to run in the background. Since 1.1 that is lxc-start's habit, ours is the foreground; None: both were asked for.
fn daemon(stock: bool, daemon: bool, foreground: bool) -> Option<bool> {
    match (daemon, foreground) {
        (true, true) => None,
        (false, false) => Some(stock),
        (daemon, _) => Some(daemon),
    }
}

/// What the tests look at.
#[cfg(test)]
#[derive(Debug, PartialEq, Eq)]
pub struct Parsed<'a> {
    pub name: &'a core::ffi::CStr,
    pub command: Vec<&'a core::ffi::CStr>,
    pub daemon: Option<bool>,
    pub defines: Vec<Word>,
}

#[cfg(test)]
pub fn parsed<'a>(call: &Call<'a>) -> Result<Parsed<'a>, i32> {
    let mut line = parse::<Args>(call, Operands::NameThenCommand, "")?;
    let target = line.target()?;
    let daemon = daemon(call.stock, line.args.daemon, line.args.foreground);
    Ok(Parsed { name: target.name, command: line.operands, daemon, defines: line.args.define })
}
