//! Help texts: an overview of the verbs, and for each verb its options, from argh's own table.

use super::prepass::{COMMON, Shared};
use super::{Call, verbs};
use crate::text::shown;
use argh::{CommandInfoWithArgs, FlagInfoKind};
use core::fmt::Write;

/// Where the descriptions begin.
const COLUMN: usize = 26;

/// What `monopod`, `monopod help` and `monopod --help` print.
pub fn overview() -> String {
    let mut text = String::from(
        "monopod starts one container from its LXC config and keeps it running.\n\n\
         Usage: monopod VERB [-n] NAME [OPTIONS]\n\n",
    );
    for verb in verbs() {
        let _ = writeln!(text, "  {:<13} {}", verb.name, verb.summary);
    }
    text.push_str(
        "\n'monopod VERB --help' lists the options of a verb. Called by LXC's name of one (lxc-start, ...) it\n\
         behaves as that tool of LXC.\n",
    );
    text
}

/// Verbs that are about all containers.
const OF_ALL: [&str; 3] = ["ls", "top", "autostart"];

/// The first line of a verb's help; the whole answer to `--usage`.
pub fn usage(call: &Call<'_>, operands: &str) -> String {
    let verb = if call.stock { "" } else { call.verb };
    let gap = if call.stock { "" } else { " " };
    let name = if OF_ALL.contains(&call.verb) { "" } else { "[-n] NAME " };
    format!("Usage: {}{gap}{verb} {name}[OPTIONS]{operands}\n", shown(call.program))
}

/// A verb's help.
pub fn of(call: &Call<'_>, info: &CommandInfoWithArgs, operands: &str) -> String {
    let mut text = usage(call, operands);
    let _ = writeln!(text, "\n{}\n\nOptions:", info.description);
    for flag in info.flags.iter().filter(|flag| !flag.hidden && flag.long != "--help") {
        let value = match flag.kind {
            FlagInfoKind::Option { arg_name } => arg_name,
            FlagInfoKind::Switch => "",
        };
        option(&mut text, flag.short, flag.long, value, flag.description);
    }
    for &Shared { flag, letter, value, description, .. } in &COMMON {
        let of_one = matches!(flag, "--name" | "--rcfile") && OF_ALL.contains(&call.verb);
        if of_one || info.flags.iter().any(|own| own.long == flag && flag != "--help") {
            continue;
        }
        let letter = letter.filter(|letter| !info.flags.iter().any(|own| own.short == Some(*letter)));
        option(&mut text, letter, flag, value, description);
    }
    text
}

/// One option; a long one gets its description on the next line.
fn option(text: &mut String, letter: Option<char>, flag: &str, value: &str, description: &str) {
    let letter = letter.map_or(String::from("    "), |letter| format!("-{letter}, "));
    let gap = if value.is_empty() { "" } else { " " };
    let option = format!("{letter}{flag}{gap}{value}");
    let _ = match option.len() < COLUMN - 2 {
        true => writeln!(text, "  {option:<width$}{description}", width = COLUMN - 2),
        false => writeln!(text, "  {option}\n{:COLUMN$}{description}", ""),
    };
}
