//! `explain`: what a start would do.

use super::prepass::Operands;
use super::{Call, Outcome, Word, parse, print, word};
use crate::config::{Sources, load};
use crate::explain::explain;
use crate::text::Arena;
use argh::{ArgsInfo, FromArgs};

/// Prints the start of a container as numbered steps, with paths and values, and does none of it. COMMAND takes the place
/// of the config's init.
#[derive(FromArgs, ArgsInfo)]
struct Args {
    /// set a config key after the file; may be repeated
    #[argh(option, short = 's', arg_name = "KEY=VALUE", from_str_fn(word))]
    define: Vec<Word>,
}

/// Runs the verb.
pub fn run(call: &Call<'_>) -> Outcome {
    let mut line = parse::<Args>(call, Operands::NameThenCommand, " [-- COMMAND...]")?;
    let target = line.target()?;
    let defines: Vec<&[u8]> = line.args.define.iter().map(|define| define.to_bytes()).collect();
    let mut storage = vec![0; crate::limits::TEXT_BYTES];
    let arena = Arena::new(&mut storage);
    let sources = Sources { name: target.name, lxcpath: target.lxcpath, rcfile: target.rcfile, defines: &defines };
    let config = load(&arena, &sources).map_err(|error| line.fail(format_args!("{error}")))?;
    let (text, result) = explain(&config, &line.operands, &arena);
    print(&text);
    match result {
        Ok(()) => Ok(0),
        Err(error) => Err(line.fail(format_args!("a start is refused here: {error}"))),
    }
}
