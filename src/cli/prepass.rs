//! What getopt_long allows and argh does not, brought into argh's form: `--key=value`, `-nX`, `-Fd`, unambiguous prefixes
//! of long names, repeats (the last wins), options after operands, operands that are not UTF-8.
//!
//! Pure. The table of options is argh's own (`ArgsInfo`), so nothing is listed twice. Operands (the name, the command)
//! never reach argh: they stay the bytes they were.

use argh::{CommandInfoWithArgs, FlagInfo, FlagInfoKind, Optionality};
use core::ffi::CStr;
use core::fmt;

use crate::text::{Shown, shown};

/// What an argument that is no option means.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Operands {
    /// An operand; options may follow.
    Anywhere,
    /// The name, unless `-n` was given; from the next one on a command, whose words are not looked at.
    NameThenCommand,
}

/// Arguments in argh's form.
#[derive(Debug, PartialEq, Eq)]
pub struct Split<'a> {
    /// `--long`, `value`, `--switch`: for argh.
    pub options: Vec<&'a str>,
    /// All else, in order.
    pub operands: Vec<&'a CStr>,
}

/// Options that every verb has and argh does not see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// `-h`, `-?`, `--help`
    Help,
    /// `--usage`
    Usage,
    /// `--version`
    Version,
}

/// Why there is nothing for argh.
#[derive(Debug, PartialEq, Eq)]
pub enum Stop {
    /// Only an information is wanted.
    Ask(Ask),
    /// The arguments are wrong; the reason.
    Wrong(String),
}

/// One option of the table.
#[derive(Clone, Copy)]
struct Known<'i> {
    /// With its dashes.
    flag: &'i str,
    short: Option<char>,
    value: bool,
    repeats: bool,
    ask: Option<Ask>,
}

impl<'i> Known<'i> {
    fn long(&self) -> &'i str {
        self.flag.get(2..).unwrap_or_default()
    }
}

/// The three that every verb has, before its own.
static COMMON: [Known<'static>; 3] = [
    Known { flag: "--help", short: Some('?'), value: false, repeats: false, ask: Some(Ask::Help) },
    Known { flag: "--usage", short: None, value: false, repeats: false, ask: Some(Ask::Usage) },
    Known { flag: "--version", short: None, value: false, repeats: false, ask: Some(Ask::Version) },
];

/// Sorts `args` (without the program's name) into options for argh and operands.
pub fn split<'a>(info: &CommandInfoWithArgs, operands: Operands, args: &[&'a CStr]) -> Result<Split<'a>, Stop> {
    let table: Vec<Known<'static>> = COMMON.iter().copied().chain(info.flags.iter().filter_map(known)).collect();
    let mut found: Vec<(&Known<'static>, Option<&'a str>)> = Vec::new();
    let mut rest = Vec::new();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let bytes = arg.to_bytes();
        if bytes == b"--" {
            rest.extend(args);
            break;
        } else if let Some(long) = bytes.strip_prefix(b"--") {
            let (name, value) = match memchr::memchr(b'=', long) {
                Some(at) => (long.get(..at).unwrap_or(long), long.get(at + 1..)),
                None => (long, None),
            };
            let option = by_long(&table, name)?;
            let value = match (option.value, value) {
                (true, Some(value)) => Some(value),
                (true, None) => Some(next(&mut args, option.flag)?),
                (false, Some(_)) => return wrong(format_args!("{} takes no value", option.flag)),
                (false, None) => None,
            };
            take(&mut found, option, value)?;
        } else if let Some(mut cluster) = bytes.strip_prefix(b"-").filter(|cluster| !cluster.is_empty()) {
            while let Some((letter, tail)) = cluster.split_first() {
                let option = by_short(&table, *letter)?;
                cluster = if option.value { &[] } else { tail };
                let value = match (option.value, tail) {
                    (false, _) => None,
                    (true, []) => Some(next(&mut args, option.flag)?),
                    (true, tail) => Some(tail),
                };
                take(&mut found, option, value)?;
            }
        } else {
            rest.push(*arg);
            let named = rest.len() > 1 || found.iter().any(|(option, _)| option.flag == "--name");
            if operands == Operands::NameThenCommand && named {
                rest.extend(args);
                break;
            }
        }
    }
    let mut options = Vec::new();
    for (option, value) in found {
        options.push(option.flag);
        options.extend(value);
    }
    Ok(Split { options, operands: rest })
}

/// The table's row of one of argh's flags. argh's own `--help` is ours already.
fn known<'i>(flag: &FlagInfo<'i>) -> Option<Known<'i>> {
    let value = matches!(flag.kind, FlagInfoKind::Option { .. });
    let repeats = matches!(flag.optionality, Optionality::Repeating);
    (flag.long != "--help").then_some(Known { flag: flag.long, short: flag.short, value, repeats, ask: None })
}

fn by_long<'i>(table: &'i [Known<'static>], name: &[u8]) -> Result<&'i Known<'static>, Stop> {
    if let Some(exact) = table.iter().find(|option| option.long().as_bytes() == name) {
        return Ok(exact);
    }
    let mut matching = table.iter().filter(|option| option.long().as_bytes().starts_with(name));
    match (matching.next(), matching.next()) {
        (Some(only), None) => Ok(only),
        (Some(one), Some(other)) => wrong(format_args!("--{} may be {} or {}", Shown(name), one.flag, other.flag)),
        (None, _) => {
            let nearest = table.iter().min_by_key(|option| distance(option.long().as_bytes(), name));
            let nearest = nearest.map_or("--help", |option| option.flag);
            wrong(format_args!("there is no option --{}; the nearest is {nearest}", Shown(name)))
        }
    }
}

fn by_short<'i>(table: &'i [Known<'static>], letter: u8) -> Result<&'i Known<'static>, Stop> {
    let letter = char::from(letter);
    let fits = |option: &&Known<'_>| option.short == Some(letter);
    // -h is help where no option of the verb has the letter; LXC's tools differ in that, too.
    let help = COMMON.first().filter(|_| letter == 'h');
    let option = table.iter().find(fits).or(help);
    let other_case = |option: &&Known<'_>| option.short.is_some_and(|short| short.eq_ignore_ascii_case(&letter));
    match (option, table.iter().find(other_case)) {
        (Some(option), _) => Ok(option),
        (None, Some(Known { short: Some(short), flag, .. })) => {
            wrong(format_args!("there is no option -{}; the nearest is -{short} ({flag})", Shown(&[letter as u8])))
        }
        (None, _) => wrong(format_args!("there is no option -{}; --help lists them", Shown(&[letter as u8]))),
    }
}

fn next<'s>(args: &mut core::slice::Iter<'_, &'s CStr>, flag: &str) -> Result<&'s [u8], Stop> {
    match args.next() {
        Some(arg) => Ok(arg.to_bytes()),
        None => wrong(format_args!("{flag} needs a value")),
    }
}

/// Notes an option. One that does not repeat replaces its earlier self.
fn take<'i, 'a>(
    found: &mut Vec<(&'i Known<'static>, Option<&'a str>)>,
    option: &'i Known<'static>,
    value: Option<&'a [u8]>,
) -> Result<(), Stop> {
    if let Some(ask) = option.ask {
        return Err(Stop::Ask(ask));
    }
    let value = match value.map(core::str::from_utf8) {
        None => None,
        Some(Ok(text)) => Some(text),
        Some(Err(_)) => return wrong(format_args!("the value of {} is not UTF-8", option.flag)),
    };
    if !option.repeats {
        found.retain(|(earlier, _)| earlier.flag != option.flag);
    }
    found.push((option, value));
    Ok(())
}

fn wrong<T>(reason: fmt::Arguments<'_>) -> Result<T, Stop> {
    Err(Stop::Wrong(reason.to_string()))
}

/// How many letters must be added, removed or replaced to make `a` of `b`.
pub fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (line, x) in a.iter().enumerate() {
        let mut before = line;
        let mut left = line + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(b) {
            let replaced = before + usize::from(x != y);
            before = *cell;
            left = replaced.min(left + 1).min(*cell + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = line + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

/// The last part of a path, as a program names itself.
pub fn basename(path: &CStr) -> &CStr {
    let start = memchr::memrchr(b'/', path.to_bytes()).map_or(0, |at| at + 1);
    path.to_bytes_with_nul().get(start..).and_then(|tail| CStr::from_bytes_with_nul(tail).ok()).unwrap_or(path)
}

/// A name that a container can have: one path component.
pub fn check_name(name: &CStr) -> Result<(), Stop> {
    let bytes = name.to_bytes();
    let fits = !bytes.is_empty() && bytes.len() < 256 && bytes != b"." && bytes != b".." && !bytes.contains(&b'/');
    if fits { Ok(()) } else { wrong(format_args!("'{}' cannot be a container's name", shown(name))) }
}
