//! `execute`: a container for one command.

use super::prepass::Operands;
use super::start::{as_called, shares};
use super::{Call, Outcome, Word, fail, parse, with_config, word};
use crate::start::{self, Options};
use crate::text::shown;
use crate::{execute, limits};
use argh::{ArgsInfo, FromArgs};
use core::ffi::CStr;
use std::ffi::CString;

/// Starts a container for one command, with a small init of ours before it. Exit code: the command's, 128 + n if signal n
/// killed it, 127 it is not there, 126 it cannot be run, 255 the container could not be started.
#[derive(FromArgs, ArgsInfo)]
struct Args {
    /// run in the background
    #[argh(switch, short = 'd')]
    daemon: bool,
    /// set a config key after the file; may be repeated
    #[argh(option, short = 's', arg_name = "KEY=VALUE", from_str_fn(word))]
    define: Vec<Word>,
    /// user id of the command
    #[argh(option, short = 'u', arg_name = "UID")]
    uid: Option<u32>,
    /// group id of the command
    #[argh(option, short = 'g', arg_name = "GID")]
    gid: Option<u32>,
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
    let ids = [("uid", args.uid), ("gid", args.gid)];
    let ids: Vec<String> = ids.iter().filter_map(|(key, id)| id.map(|id| format!("lxc.init.{key}={id}"))).collect();
    let given =
        args.define.iter().map(|define| define.to_bytes()).chain(ids.iter().chain(&shares).map(String::as_bytes));
    let mut defines: heapless::Vec<&[u8], { limits::DEFINES }> = heapless::Vec::new();
    for define in given {
        if !define.contains(&b'=') || defines.push(define).is_err() {
            return Err(fail(call.program, format_args!("-s: not KEY=VALUE, or more than {}", limits::DEFINES)));
        }
    }
    let mut command: Vec<&CStr> = vec![execute::NAME, c"--"];
    let mut configured = String::new();
    if line.operands.is_empty() {
        // What is wrong with the config is said by the start.
        let _ = with_config(&target, &defines, &mut |config, _| {
            let _ = crate::config::get(config, b"lxc.execute.cmd", &mut configured);
        });
    }
    let configured: Vec<CString> = configured.split_whitespace().filter_map(|word| CString::new(word).ok()).collect();
    command.extend(configured.iter().map(CString::as_c_str));
    command.extend(&line.operands);
    if command.len() < 3 {
        return Err(line.fail(format_args!("{}: no command named, and no lxc.execute.cmd", shown(target.name))));
    }
    let code = start::run(Options {
        name: target.name,
        lxcpath: target.lxcpath,
        rcfile: target.rcfile,
        defines: &defines,
        command: &command,
        inside: Some(execute::init),
        own_streams: !args.daemon,
        daemon: args.daemon,
        pidfile: None,
        console: None,
        console_log: None,
        close_fds: args.daemon,
        ready_fd: None,
        logfile: line.common.logfile,
        loglevel: line.common.level().unwrap_or_default(),
        quiet: line.common.quiet,
        program: call.program,
    });
    Ok(as_called(call, code))
}
