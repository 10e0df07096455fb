//! `wait`: until a container has one of some states.

use super::{Call, FAILED, Messages, Target, Word, log_level, parse, seconds, word};
use crate::config::LogLevel;
use crate::control::proto::Wanted;
use crate::state::State;
use crate::text::shown;
use argh::{ArgsInfo, FromArgs};
use core::time::Duration;
use std::time::Instant;

/// Waits until a container has one of some states. Exit code: 0 it has, 1 it had not in time.
#[derive(FromArgs, ArgsInfo)]
struct Args {
    /// the container
    #[argh(option, short = 'n', arg_name = "NAME", from_str_fn(word))]
    name: Option<Word>,
    /// the states, as in 'RUNNING|STOPPED'
    #[argh(option, short = 's', arg_name = "STATES", from_str_fn(wanted))]
    state: Option<Wanted>,
    /// seconds to wait; without it for as long as it takes
    #[argh(option, short = 't', arg_name = "SEC", from_str_fn(seconds))]
    timeout: Option<Option<u32>>,
    /// directory of the containers
    #[argh(option, short = 'P', arg_name = "DIR", from_str_fn(word))]
    lxcpath: Option<Word>,
    /// accepted for LXC's sake
    #[argh(option, arg_name = "FILE", from_str_fn(word))]
    #[allow(dead_code)]
    rcfile: Option<Word>,
    /// print no errors
    #[argh(switch, short = 'q')]
    quiet: bool,
    /// file for the errors
    #[argh(option, short = 'o', arg_name = "FILE", from_str_fn(word))]
    logfile: Option<Word>,
    /// accepted for LXC's sake
    #[argh(option, short = 'l', arg_name = "LEVEL", from_str_fn(log_level))]
    #[allow(dead_code)]
    logpriority: Option<LogLevel>,
}

/// argh: the states of 'A|B'.
fn wanted(text: &str) -> Result<Wanted, String> {
    text.split('|').try_fold(Wanted::default(), |wanted, word| {
        let state = State::from_name(word.as_bytes());
        state.map(|state| wanted.with(state)).ok_or_else(|| format!("'{word}' is no state"))
    })
}

/// Runs the verb.
pub fn run(call: &Call<'_>) -> i32 {
    let (args, operands) = match parse::<Args>(call, super::Operands::Anywhere, " -s STATES") {
        Ok(parsed) => parsed,
        Err(code) => return code,
    };
    let messages = Messages { program: call.program, quiet: args.quiet, file: args.logfile };
    let target = match Target::only(call, args.name, args.lxcpath, operands) {
        Ok(target) => target,
        Err(code) => return code,
    };
    let Some(wanted) = args.state else { return messages.fail(format_args!("no state named: -s STATES")) };
    let deadline = args.timeout.flatten().map(|span| Instant::now() + Duration::from_secs(span.into()));
    match target.container().wait(wanted, deadline) {
        Ok(true) => 0,
        Ok(false) => FAILED,
        Err(failure) => messages.fail(format_args!("wait for '{}': {failure}", shown(target.name))),
    }
}
