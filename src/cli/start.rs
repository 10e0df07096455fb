//! `start`: hands the command line to the start sequence.

use super::prepass::Operands;
use super::{Call, Target, Word, fail, log_level, parse, word};
use crate::config::LogLevel;
use crate::start::{self, Options};
use crate::text::shown;
use argh::{ArgsInfo, FromArgs};

/// Starts a container, and stays with it until its init has ended. COMMAND takes the place of the config's init.
#[derive(FromArgs, ArgsInfo)]
struct Args {
    /// the container
    #[argh(option, short = 'n', arg_name = "NAME", from_str_fn(word))]
    name: Option<Word>,
    /// run in the background; what 'lxc-start' does by itself
    #[argh(switch, short = 'd')]
    daemon: bool,
    /// run in the foreground; what 'monopod start' does by itself
    #[argh(switch, short = 'F')]
    foreground: bool,
    /// config file instead of DIR/NAME/config
    #[argh(option, short = 'f', arg_name = "FILE", from_str_fn(word))]
    rcfile: Option<Word>,
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
    /// not built: share the network of another container
    #[argh(option, arg_name = "NAME|PID", from_str_fn(word))]
    share_net: Option<Word>,
    /// not built: share the IPC namespace
    #[argh(option, arg_name = "NAME|PID", from_str_fn(word))]
    share_ipc: Option<Word>,
    /// not built: share the host name
    #[argh(option, arg_name = "NAME|PID", from_str_fn(word))]
    share_uts: Option<Word>,
    /// not built: share the process ids
    #[argh(option, arg_name = "NAME|PID", from_str_fn(word))]
    share_pid: Option<Word>,
    /// directory of the containers
    #[argh(option, short = 'P', arg_name = "DIR", from_str_fn(word))]
    lxcpath: Option<Word>,
    /// print no errors
    #[argh(switch, short = 'q')]
    quiet: bool,
    /// log file
    #[argh(option, short = 'o', arg_name = "FILE", from_str_fn(word))]
    logfile: Option<Word>,
    /// log level: TRACE DEBUG INFO NOTICE WARN ERROR CRIT ALERT FATAL
    #[argh(option, short = 'l', arg_name = "LEVEL", from_str_fn(log_level))]
    logpriority: Option<LogLevel>,
}

/// Runs the verb.
pub fn run(call: &Call<'_>) -> i32 {
    let (args, mut operands) = match parse::<Args>(call, Operands::NameThenCommand, " [-- COMMAND...]") {
        Ok(parsed) => parsed,
        Err(code) => return code,
    };
    let target = match Target::new(call, args.name, args.lxcpath, &mut operands) {
        Ok(target) => target,
        Err(code) => return code,
    };
    let shares =
        [("net", &args.share_net), ("ipc", &args.share_ipc), ("uts", &args.share_uts), ("pid", &args.share_pid)];
    if let Some((kind, _)) = shares.into_iter().find(|(_, with)| with.is_some()) {
        return fail(call.program, format_args!("--share-{kind} is not built"));
    }
    let Some(daemon) = daemon(call.stock, args.daemon, args.foreground) else {
        return fail(call.program, format_args!("--daemon and --foreground exclude each other"));
    };
    let mut defines = heapless::Vec::new();
    for define in &args.define {
        if !define.to_bytes().contains(&b'=') {
            return fail(call.program, format_args!("-s {}: not KEY=VALUE", shown(define)));
        }
        if defines.push(define.to_bytes()).is_err() {
            return fail(call.program, format_args!("more than {} times -s", defines.capacity()));
        }
    }
    start::run(Options {
        name: target.name,
        lxcpath: target.lxcpath,
        rcfile: args.rcfile,
        defines,
        command: &operands,
        daemon,
        pidfile: args.pidfile,
        console: args.console,
        console_log: args.console_log,
        close_fds: args.close_all_fds || daemon,
        ready_fd: args.ready_fd,
        logfile: args.logfile,
        loglevel: args.logpriority,
        quiet: args.quiet,
        program: call.program,
    })
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
    let (args, mut operands) = parse::<Args>(call, Operands::NameThenCommand, "")?;
    let target = Target::new(call, args.name, args.lxcpath, &mut operands)?;
    let daemon = daemon(call.stock, args.daemon, args.foreground);
    Ok(Parsed { name: target.name, command: operands, daemon, defines: args.define })
}
