//! `config`: the effective config, in today's key names.

use super::prepass::Operands;
use super::{Call, Target, Word, fail, parse, print, with_config, word};
use crate::config::print as print_config;
use argh::{ArgsInfo, FromArgs};

/// Prints the effective config of a container: includes followed, old key names replaced, defaults left out.
#[derive(FromArgs, ArgsInfo)]
struct Args {
    /// the container
    #[argh(option, short = 'n', arg_name = "NAME", from_str_fn(word))]
    name: Option<Word>,
    /// config file instead of DIR/NAME/config
    #[argh(option, short = 'f', arg_name = "FILE", from_str_fn(word))]
    rcfile: Option<Word>,
    /// set a config key after the file; may be repeated
    #[argh(option, short = 's', arg_name = "KEY=VALUE", from_str_fn(word))]
    define: Vec<Word>,
    /// directory of the containers
    #[argh(option, short = 'P', arg_name = "DIR", from_str_fn(word))]
    lxcpath: Option<Word>,
}

/// Runs the verb.
pub fn run(call: &Call<'_>) -> i32 {
    let (args, operands) = match parse::<Args>(call, Operands::Anywhere, "") {
        Ok(parsed) => parsed,
        Err(code) => return code,
    };
    let target = match Target::only(call, args.name, args.lxcpath, operands) {
        Ok(target) => target,
        Err(code) => return code,
    };
    let defines: Vec<&[u8]> = args.define.iter().map(|define| define.to_bytes()).collect();
    let mut text = String::new();
    let printed = with_config(&target, args.rcfile, &defines, &mut |config| {
        // Writing to a String cannot fail.
        let _ = print_config(config, &mut text);
    });
    match printed {
        Ok(()) => print(&text),
        Err(error) => fail(call.program, format_args!("{error}")),
    }
}
