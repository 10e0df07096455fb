//! What getopt_long allows and argh does not, brought into argh's form: `--key=value`, `-nX`, `-Fd`, unambiguous prefixes
//! of long names, repeats (the last wins), options after operands, operands that are not UTF-8.
//!
//! Pure. The table of a verb's options is argh's own (`ArgsInfo`), so nothing is listed twice. The options that every verb has
//! are taken out here, and operands (the name, the command) never reach argh: both stay the bytes they were.

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
    /// What every verb has.
    pub common: Common<'a>,
}

/// The options that every verb has, as they were given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Common<'a> {
    /// `-n`
    pub name: Option<&'a CStr>,
    /// `-P`
    pub lxcpath: Option<&'a CStr>,
    /// `-f`, where the verb has no other use for the letter
    pub rcfile: Option<&'a CStr>,
    /// `-o`
    pub logfile: Option<&'a CStr>,
    /// `-l`
    pub logpriority: Option<&'a CStr>,
    /// `-q`
    pub quiet: bool,
}

/// Questions that every verb answers.
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

/// What becomes of an option.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    /// It is the verb's own, for argh.
    Own,
    Ask(Ask),
    Name,
    Lxcpath,
    Rcfile,
    Logfile,
    Logpriority,
    Quiet,
}

/// One option of the table.
#[derive(Clone, Copy)]
struct Known<'i> {
    /// With its dashes.
    flag: &'i str,
    short: Option<char>,
    value: bool,
    /// The value may be left out; then it is the empty text, and what follows is none of it.
    optional: bool,
    repeats: bool,
    used: Use,
}

impl<'i> Known<'i> {
    fn long(&self) -> &'i str {
        self.flag.get(2..).unwrap_or_default()
    }
}

/// An option that every verb has, where it has none of its own by that name or letter.
pub struct Shared {
    /// With its dashes.
    pub flag: &'static str,
    /// The letter.
    pub letter: Option<char>,
    /// What help texts call the value; empty: there is none.
    pub value: &'static str,
    /// What help texts say of it.
    pub description: &'static str,
    used: Use,
}

const fn shared(
    flag: &'static str,
    letter: Option<char>,
    value: &'static str,
    description: &'static str,
    used: Use,
) -> Shared {
    Shared { flag, letter, value, description, used }
}

/// All of them, in the order of the help texts.
pub static COMMON: [Shared; 9] = [
    shared("--name", Some('n'), "NAME", "the container; may stand without -n", Use::Name),
    shared("--lxcpath", Some('P'), "DIR", "directory of the containers", Use::Lxcpath),
    shared("--rcfile", Some('f'), "FILE", "config file instead of DIR/NAME/config", Use::Rcfile),
    shared("--logfile", Some('o'), "FILE", "file for messages", Use::Logfile),
    shared(
        "--logpriority",
        Some('l'),
        "LEVEL",
        "TRACE DEBUG INFO NOTICE WARN ERROR CRIT ALERT or FATAL",
        Use::Logpriority,
    ),
    shared("--quiet", Some('q'), "", "print no errors", Use::Quiet),
    shared("--help", Some('?'), "", "print this help", Use::Ask(Ask::Help)),
    shared("--usage", None, "", "print one line of help", Use::Ask(Ask::Usage)),
    shared("--version", None, "", "print the version", Use::Ask(Ask::Version)),
];

/// The verb's own options, then the common ones.
fn table(info: &CommandInfoWithArgs) -> Vec<Known<'static>> {
    let mut table: Vec<Known<'static>> = info.flags.iter().filter_map(known).collect();
    let common = COMMON.iter().map(|shared| Known {
        flag: shared.flag,
        short: shared.letter,
        value: !shared.value.is_empty(),
        optional: false,
        repeats: false,
        used: shared.used,
    });
    for option in common {
        if !table.iter().any(|own| own.flag == option.flag) {
            table.push(option);
        }
    }
    table
}

/// Sorts `args` (without the program's name) into options for argh and operands.
pub fn split<'a>(info: &CommandInfoWithArgs, operands: Operands, args: &[&'a CStr]) -> Result<Split<'a>, Stop> {
    let table = table(info);
    let mut found = Found { own: Vec::new(), common: Common::default() };
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
                (true, Some(value)) => Some(tail(arg, value)),
                (true, None) if option.optional => Some(c""),
                (true, None) => Some(next(&mut args, option.flag)?),
                (false, Some(_)) => return wrong(format_args!("{} takes no value", option.flag)),
                (false, None) => None,
            };
            found.take(option, value)?;
        } else if let Some(mut cluster) = bytes.strip_prefix(b"-").filter(|cluster| !cluster.is_empty()) {
            while let Some((letter, rest)) = cluster.split_first() {
                let option = by_short(&table, *letter)?;
                cluster = if option.value { &[] } else { rest };
                let value = match (option.value, rest) {
                    (false, _) => None,
                    (true, []) if option.optional => Some(c""),
                    (true, []) => Some(next(&mut args, option.flag)?),
                    (true, value) => Some(tail(arg, value)),
                };
                found.take(option, value)?;
            }
        } else {
            rest.push(*arg);
            let named = rest.len() > 1 || found.common.name.is_some();
            if operands == Operands::NameThenCommand && named {
                rest.extend(args);
                break;
            }
        }
    }
    let mut options = Vec::new();
    for (option, value) in found.own {
        options.push(option.flag);
        options.extend(value);
    }
    Ok(Split { options, operands: rest, common: found.common })
}

/// The table's row of one of argh's flags. argh's own `--help` is ours already.
fn known<'i>(flag: &FlagInfo<'i>) -> Option<Known<'i>> {
    let (value, optional) = match flag.kind {
        FlagInfoKind::Option { arg_name } => (true, arg_name.starts_with('[')),
        FlagInfoKind::Switch => (false, false),
    };
    let repeats = matches!(flag.optionality, Optionality::Repeating);
    (flag.long != "--help").then_some(Known {
        flag: flag.long,
        short: flag.short,
        value,
        optional,
        repeats,
        used: Use::Own,
    })
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
    let help = table.iter().find(|option| letter == 'h' && option.used == Use::Ask(Ask::Help));
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

/// The end of `arg` that `value` is.
fn tail<'a>(arg: &'a CStr, value: &[u8]) -> &'a CStr {
    let all = arg.to_bytes_with_nul();
    let end = all.get(all.len().saturating_sub(value.len() + 1)..).unwrap_or_default();
    CStr::from_bytes_with_nul(end).unwrap_or_default()
}

fn next<'s>(args: &mut core::slice::Iter<'_, &'s CStr>, flag: &str) -> Result<&'s CStr, Stop> {
    match args.next() {
        Some(arg) => Ok(arg),
        None => wrong(format_args!("{flag} needs a value")),
    }
}

/// The options so far.
struct Found<'i, 'a> {
    own: Vec<(&'i Known<'static>, Option<&'a str>)>,
    common: Common<'a>,
}

impl<'i, 'a> Found<'i, 'a> {
    /// Notes an option. One that does not repeat replaces its earlier self.
    fn take(&mut self, option: &'i Known<'static>, value: Option<&'a CStr>) -> Result<(), Stop> {
        match option.used {
            Use::Own => {}
            Use::Ask(ask) => return Err(Stop::Ask(ask)),
            Use::Name => self.common.name = value,
            Use::Lxcpath => self.common.lxcpath = value,
            Use::Rcfile => self.common.rcfile = value,
            Use::Logfile => self.common.logfile = value,
            Use::Logpriority => self.common.logpriority = value,
            Use::Quiet => self.common.quiet = true,
        }
        if option.used != Use::Own {
            return Ok(());
        }
        let value = match value.map(CStr::to_str) {
            None => None,
            Some(Ok(text)) => Some(text),
            Some(Err(_)) => return wrong(format_args!("the value of {} is not UTF-8", option.flag)),
        };
        if !option.repeats {
            self.own.retain(|(earlier, _)| earlier.flag != option.flag);
        }
        self.own.push((option, value));
        Ok(())
    }
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
