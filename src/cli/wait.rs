//! `wait`: until a container has one of some states.

use super::prepass::Operands;
use super::{Call, FAILED, Outcome, parse, seconds};
use crate::control::proto::Wanted;
use crate::state::State;
use crate::text::shown;
use argh::{ArgsInfo, FromArgs};
use core::time::Duration;
use std::time::Instant;

/// Waits until a container has one of some states, or is READY. Exit code: 0 it has, 1 it had not in time.
#[derive(FromArgs, ArgsInfo)]
struct Args {
    /// the states, as in 'RUNNING|STOPPED'; READY is what monopod.ready asks for
    #[argh(option, short = 's', arg_name = "STATES", from_str_fn(goal))]
    state: Option<Goal>,
    /// seconds to wait; without it for as long as it takes
    #[argh(option, short = 't', arg_name = "SEC", from_str_fn(seconds))]
    timeout: Option<Option<u32>>,
}

/// What is waited for.
#[derive(Default)]
struct Goal {
    states: Wanted,
    ready: bool,
}

/// argh: the states of 'A|B'.
fn goal(text: &str) -> Result<Goal, String> {
    text.split('|').try_fold(Goal::default(), |goal, word| match State::from_name(word.as_bytes()) {
        Some(state) => Ok(Goal { states: goal.states.with(state), ..goal }),
        None if word == "READY" => Ok(Goal { ready: true, ..goal }),
        None => Err(format!("'{word}' is no state")),
    })
}

/// Runs the verb.
pub fn run(call: &Call<'_>) -> Outcome {
    let mut line = parse::<Args>(call, Operands::Anywhere, " -s STATES")?;
    let target = line.only_target()?;
    let Some(Goal { states, ready }) = line.args.state else {
        return Err(line.fail(format_args!("no state named: -s STATES")));
    };
    let deadline = line.args.timeout.flatten().map(|span| Instant::now() + Duration::from_secs(span.into()));
    let container = target.container();
    let met = if ready { container.wait_ready(states, deadline) } else { container.wait(states, deadline) };
    match met {
        Ok(true) => Ok(0),
        Ok(false) => Err(FAILED),
        Err(failure) => Err(line.fail(format_args!("wait for '{}': {failure}", shown(target.name)))),
    }
}
