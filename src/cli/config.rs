//! `config`: the effective config, in today's key names.

use super::prepass::Operands;
use super::{Call, Outcome, Word, parse, print, with_config, word};
use crate::config::print as print_config;
use argh::{ArgsInfo, FromArgs};

/// Prints the effective config of a container: includes followed, old key names replaced, defaults left out.
#[derive(FromArgs, ArgsInfo)]
struct Args {
    /// set a config key after the file; may be repeated
    #[argh(option, short = 's', arg_name = "KEY=VALUE", from_str_fn(word))]
    define: Vec<Word>,
}

/// Runs the verb.
pub fn run(call: &Call<'_>) -> Outcome {
    #[cfg(feature = "tools")]
    if call.stock {
        return super::tools::system_config::run(call);
    }
    let mut line = parse::<Args>(call, Operands::Anywhere, "")?;
    let target = line.only_target()?;
    let defines: Vec<&[u8]> = line.args.define.iter().map(|define| define.to_bytes()).collect();
    let mut text = String::new();
    let printed = with_config(&target, &defines, &mut |config, _| {
        // Writing to a String cannot fail.
        let _ = print_config(config, &mut text);
    });
    match printed {
        Ok(()) => Ok(print(&text)),
        Err(error) => Err(line.fail(format_args!("{error}"))),
    }
}
