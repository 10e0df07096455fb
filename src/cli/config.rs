//! `config`: the effective config, in today's key names.

use super::prepass::Operands;
use super::{Call, Target, c_string, fail, parse, print, with_config};
use crate::config::print as print_config;
use argh::{ArgsInfo, FromArgs};

/// Prints the effective config of a container: includes followed, old key names replaced, defaults left out.
#[derive(FromArgs, ArgsInfo)]
struct Args {
    /// the container
    #[argh(option, short = 'n', arg_name = "NAME")]
    name: Option<String>,
    /// config file instead of DIR/NAME/config
    #[argh(option, short = 'f', arg_name = "FILE")]
    rcfile: Option<String>,
    /// set a config key after the file; may be repeated
    #[argh(option, short = 's', arg_name = "KEY=VALUE")]
    define: Vec<String>,
    /// directory of the containers
    #[argh(option, short = 'P', arg_name = "DIR")]
    lxcpath: Option<String>,
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
    let rcfile = args.rcfile.as_deref().map(c_string);
    let defines: Vec<&[u8]> = args.define.iter().map(String::as_bytes).collect();
    let text = with_config(&target, rcfile.as_deref(), &defines, |config| {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = print_config(config, &mut text);
        text
    });
    match text {
        Ok(text) => print(&text),
        Err(error) => fail(call.program, format_args!("{error}")),
    }
}
