//! `start`: hands the command line to the start sequence.

use super::prepass::Operands;
use super::{Call, Target, c_string, fail, log_level, parse};
use crate::config::LogLevel;
use crate::start::{self, Options};
use argh::{ArgsInfo, FromArgs};
use std::ffi::CString;

/// Starts a container, and stays with it until its init has ended. COMMAND takes the place of the config's init.
#[derive(FromArgs, ArgsInfo)]
struct Args {
    /// the container
    #[argh(option, short = 'n', arg_name = "NAME")]
    name: Option<String>,
    /// run in the background; what 'lxc-start' does by itself
    #[argh(switch, short = 'd')]
    daemon: bool,
    /// run in the foreground; what 'monopod start' does by itself
    #[argh(switch, short = 'F')]
    foreground: bool,
    /// config file instead of DIR/NAME/config
    #[argh(option, short = 'f', arg_name = "FILE")]
    rcfile: Option<String>,
    /// set a config key after the file; may be repeated
    #[argh(option, short = 's', arg_name = "KEY=VALUE")]
    define: Vec<String>,
    /// terminal or file for the console
    #[argh(option, short = 'c', arg_name = "FILE")]
    console: Option<String>,
    /// file that keeps what the console prints
    #[argh(option, short = 'L', arg_name = "FILE")]
    console_log: Option<String>,
    /// close inherited descriptors instead of warning of them; -d implies it
    #[argh(switch, short = 'C')]
    close_all_fds: bool,
    /// file to write the supervisor's pid to
    #[argh(option, short = 'p', arg_name = "FILE")]
    pidfile: Option<String>,
    /// not built: share the network of another container
    #[argh(option, arg_name = "NAME|PID")]
    share_net: Option<String>,
    /// not built: share the IPC namespace
    #[argh(option, arg_name = "NAME|PID")]
    share_ipc: Option<String>,
    /// not built: share the host name
    #[argh(option, arg_name = "NAME|PID")]
    share_uts: Option<String>,
    /// not built: share the process ids
    #[argh(option, arg_name = "NAME|PID")]
    share_pid: Option<String>,
    /// directory of the containers
    #[argh(option, short = 'P', arg_name = "DIR")]
    lxcpath: Option<String>,
    /// print no errors
    #[argh(switch, short = 'q')]
    quiet: bool,
    /// log file
    #[argh(option, short = 'o', arg_name = "FILE")]
    logfile: Option<String>,
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
        if !define.contains('=') {
            return fail(call.program, format_args!("-s {define}: not KEY=VALUE"));
        }
        if defines.push(define.as_bytes()).is_err() {
            return fail(call.program, format_args!("more than {} times -s", defines.capacity()));
        }
    }
    let [rcfile, pidfile, console, console_log, logfile] =
        [args.rcfile, args.pidfile, args.console, args.console_log, args.logfile].map(owned);
    start::run(Options {
        name: &target.name,
        lxcpath: &target.lxcpath,
        rcfile: rcfile.as_deref(),
        defines,
        command: &operands,
        daemon,
        pidfile: pidfile.as_deref(),
        console: console.as_deref(),
        console_log: console_log.as_deref(),
        close_fds: args.close_all_fds || daemon,
        logfile: logfile.as_deref(),
        loglevel: args.logpriority,
        quiet: args.quiet,
        program: call.program,
    })
}

/// Whether to run in the background. Since 1.1 that is lxc-start's habit, ours is the foreground; None: both were asked for.
fn daemon(stock: bool, daemon: bool, foreground: bool) -> Option<bool> {
    match (daemon, foreground) {
        (true, true) => None,
        (false, false) => Some(stock),
        (daemon, _) => Some(daemon),
    }
}

fn owned(text: Option<String>) -> Option<CString> {
    text.map(|text| c_string(&text))
}

/// What the tests look at.
#[cfg(test)]
#[derive(Debug, PartialEq, Eq)]
pub struct Parsed {
    pub name: CString,
    pub command: Vec<CString>,
    pub daemon: Option<bool>,
    pub defines: Vec<String>,
}

#[cfg(test)]
pub fn parsed(call: &Call<'_>) -> Result<Parsed, i32> {
    let (args, mut operands) = parse::<Args>(call, Operands::NameThenCommand, "")?;
    let target = Target::new(call, args.name, args.lxcpath, &mut operands)?;
    let command = operands.into_iter().map(ToOwned::to_owned).collect();
    let daemon = daemon(call.stock, args.daemon, args.foreground);
    Ok(Parsed { name: target.name, command, daemon, defines: args.define })
}
