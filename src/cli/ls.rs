//! `ls`: which containers there are, as names, as a table or as JSON.

use super::addresses;
use super::cgroup_files::{CgroupFiles, hierarchies};
use super::containers::{active, add, defined, items};
use super::figures::{Hundredths, scaled};
use super::json::Json;
use super::prepass::Operands;
use super::regex::Regex;
use super::usage;
use super::{Call, Outcome, Target, Word, lxcpath, parse, print, put, word};
use crate::cgroup::find::Hierarchies;
use crate::control::client::Container;
use crate::state::State;
use crate::sys::fds::standard;
use crate::sys::winsize;
use crate::text::{Shown, shown};
use argh::{ArgsInfo, FromArgs};
use core::fmt::Write;
use std::ffi::CString;

/// Lists containers: those that have a config below the lxcpath, and those that run.
#[derive(FromArgs, ArgsInfo)]
struct Args {
    /// one a line
    #[argh(switch, short = '1')]
    line: bool,
    /// a table
    #[argh(switch, short = 'f')]
    fancy: bool,
    /// columns of the table, with commas between them: NAME STATE PID RAM SWAP AUTOSTART GROUPS INTERFACE IPV4 IPV6 UNPRIVILEGED
    #[argh(option, short = 'F', arg_name = "COLUMNS", from_str_fn(word))]
    fancy_format: Option<Word>,
    /// only those that have a supervisor
    #[argh(switch)]
    active: bool,
    /// only those that run
    #[argh(switch)]
    running: bool,
    /// only those that are frozen
    #[argh(switch)]
    frozen: bool,
    /// only those that are stopped
    #[argh(switch)]
    stopped: bool,
    /// only those that have a config
    #[argh(switch)]
    defined: bool,
    /// only those that are in all of these groups, with commas between them
    #[argh(option, short = 'g', arg_name = "GROUPS", from_str_fn(word))]
    groups: Option<Word>,
    /// only names that match this extended regular expression (POSIX)
    #[argh(option, arg_name = "REGEX", from_str_fn(word))]
    filter: Option<Word>,
    /// all that is known, as one line of JSON
    #[argh(switch)]
    json: bool,
}

/// The columns by their places in a row.
const COLUMNS: [&str; 11] =
    ["NAME", "STATE", "PID", "RAM", "SWAP", "AUTOSTART", "GROUPS", "INTERFACE", "IPV4", "IPV6", "UNPRIVILEGED"];
/// Those of the table when none are named.
const USUAL: [usize; 7] = [0, 1, 5, 6, 8, 9, 10];
const RAM: usize = 3;
const SWAP: usize = 4;

/// What is known of a container.
struct Facts {
    name: String,
    state: State,
    runs: bool,
    pid: Option<i32>,
    ram: u64,
    swap: u64,
    autostart: bool,
    groups: Vec<String>,
    interfaces: Vec<String>,
    v4: Vec<String>,
    v6: Vec<String>,
    unprivileged: bool,
}

/// Runs the verb.
pub fn run(call: &Call<'_>) -> Outcome {
    let line = parse::<Args>(call, Operands::Anywhere, " [REGEX]")?;
    let args = &line.args;
    let only_operand = if let [only] = *line.operands { Some(only) } else { None };
    let filter = match args.filter.or(only_operand).map(|text| Regex::new(&text.to_string_lossy())).transpose() {
        Ok(filter) => filter,
        // An expression that is none matches nothing, to LXC's tool.
        Err(_) if call.stock => return Ok(0),
        Err(reason) => return Err(line.fail(format_args!("the filter is no regular expression known here: {reason}"))),
    };
    let lxcpath = lxcpath(&line.common);
    let defined = defined(lxcpath);
    let mut names = active(lxcpath, &defined);
    if !args.active && !args.frozen {
        defined.iter().for_each(|name| add(&mut names, name.clone()));
    }
    let wanted: Vec<&str> = match args.groups.map(|groups| groups.to_str().unwrap_or_default()) {
        Some(groups) => groups.split(',').map(str::trim_ascii).filter(|group| !group.is_empty()).collect(),
        None => Vec::new(),
    };
    let columns = args.fancy_format.filter(|_| args.fancy || !call.stock);
    let details = args.fancy || args.json || columns.is_some();
    let hierarchies = hierarchies();
    let mut found = Vec::new();
    for name in names {
        if filter.as_ref().is_some_and(|filter| !filter.matches(name.to_bytes()))
            || args.defined && !defined.contains(&name)
        {
            continue;
        }
        let container = Container { lxcpath, name: &name };
        // Who does not answer is there all the same.
        let state = container.state().unwrap_or(State::Stopped);
        let runs = state != State::Stopped;
        if args.running && !runs
            || args.frozen && !args.active && state != State::Frozen
            || args.stopped && state != State::Stopped
        {
            continue;
        }
        let facts = match facts(&container, state, details, hierarchies) {
            Ok(facts) => facts,
            Err(error) => {
                put(2, &format!("{error}\n"));
                if call.stock {
                    continue;
                }
                Facts::new(&container, state)
            }
        };
        let in_all = wanted.iter().all(|group| facts.groups.iter().any(|own| own == group));
        if args.groups.is_none() || in_all && !facts.groups.is_empty() {
            found.push(facts);
        }
    }
    if args.json {
        return Ok(print(&json(&found)));
    }
    if found.is_empty() {
        return Ok(0);
    }
    let rows: Vec<[String; 11]> = found.iter().map(Facts::row).collect();
    match (columns, details) {
        (Some(columns), _) => {
            let mut chosen = Vec::new();
            for column in columns.to_bytes().split(|b| *b == b',').map(<[u8]>::trim_ascii).filter(|c| !c.is_empty()) {
                match COLUMNS.iter().position(|known| known.as_bytes().eq_ignore_ascii_case(column)) {
                    Some(known) => chosen.push(known),
                    None => {
                        // LXC's words and, under its name, its exit code.
                        put(2, &format!("Invalid key: {}\n", Shown(column)));
                        return if call.stock { Ok(0) } else { Err(super::FAILED) };
                    }
                }
            }
            Ok(print(&table(&rows, &chosen)))
        }
        (None, true) => Ok(print(&table(&rows, &USUAL))),
        (None, false) => Ok(print(&listed(&rows, if args.line { 0 } else { terminal_width() }, args.line))),
    }
}

impl Facts {
    fn new(container: &Container<'_>, state: State) -> Facts {
        Facts {
            name: shown(container.name).to_string(),
            state,
            runs: state != State::Stopped,
            pid: None,
            ram: 0,
            swap: 0,
            autostart: false,
            groups: Vec::new(),
            interfaces: Vec::new(),
            v4: Vec::new(),
            v6: Vec::new(),
            unprivileged: false,
        }
    }

    /// The cells of the table.
    fn row(&self) -> [String; 11] {
        let dash = |text: String| if text.is_empty() { String::from("-") } else { text };
        let joined = |texts: &[String]| dash(texts.join(", "));
        let megabytes = |bytes: u64, hundredths: u64| match self.runs {
            true => Hundredths(hundredths.max(scaled(bytes, 20))).to_string(),
            false => dash(String::new()),
        };
        [
            self.name.clone(),
            self.state.name().into(),
            dash(self.pid.map_or(String::new(), |pid| pid.to_string())),
            megabytes(self.ram, 0),
            // Whole ones, in LXC's tool.
            megabytes(0, (self.swap >> 20) * 100),
            u8::from(self.autostart).to_string(),
            joined(&self.groups),
            joined(&self.interfaces),
            joined(&self.v4),
            joined(&self.v6),
            self.unprivileged.to_string(),
        ]
    }
}

/// Finds out about a container; `details`: all of it.
fn facts(
    container: &Container<'_>,
    state: State,
    details: bool,
    hierarchies: &'static Hierarchies<'static>,
) -> Result<Facts, crate::error::Error> {
    const KEYS: [&str; 3] = ["lxc.start.auto", "lxc.group", "lxc.idmap"];
    let mut facts = Facts::new(container, state);
    let [auto, groups, idmap] = match facts.runs {
        true => KEYS.map(|key| {
            let key = CString::new(key).unwrap_or_default();
            let value = container.config_item(&key).ok().flatten().unwrap_or_default();
            String::from_utf8_lossy(&value).into_owned()
        }),
        false => items(&Target { lxcpath: container.lxcpath, name: container.name, rcfile: None }, KEYS)?,
    };
    facts.groups = groups.lines().map(String::from).collect();
    facts.autostart = auto == "1";
    facts.unprivileged = !idmap.is_empty();
    if !details || !facts.runs {
        return Ok(facts);
    }
    facts.pid = container.init_pid().ok().flatten();
    if let Some(pid) = facts.pid {
        for address in addresses::of(pid) {
            if address.contains(':') { &mut facts.v6 } else { &mut facts.v4 }.push(address);
        }
        facts.interfaces = interfaces(pid);
        let files = CgroupFiles::new(*container, hierarchies);
        facts.ram = usage::memory(&files).unwrap_or(0);
        facts.swap = usage::swap(&files).unwrap_or(0);
    }
    Ok(facts)
}

/// Names of the interfaces in the network namespace of a process, in the order of their bytes.
fn interfaces(pid: i32) -> Vec<String> {
    let table = std::fs::read(format!("/proc/{pid}/net/dev")).unwrap_or_default();
    let mut names: Vec<CString> = Vec::new();
    // Two lines are headings.
    for line in table.split(|b| *b == b'\n').skip(2) {
        if let Some(end) = memchr::memrchr(b':', line) {
            add(&mut names, CString::new(line.get(..end).unwrap_or_default().trim_ascii()).unwrap_or_default());
        }
    }
    names.iter().map(|name| shown(name).to_string()).collect()
}

/// The table of some columns.
fn table(rows: &[[String; 11]], columns: &[usize]) -> String {
    let headings = COLUMNS.map(String::from);
    let cell = |row: &[String; 11], column: usize| row.get(column).cloned().unwrap_or_default();
    let mut text = String::new();
    for row in [&headings].into_iter().chain(rows) {
        let is_heading = core::ptr::eq(row, &headings);
        for column in columns {
            let width = rows.iter().chain([&headings]).map(|row| cell(row, *column).len()).max().unwrap_or(0);
            let value = cell(row, *column);
            // Writing to a String cannot fail.
            let _ = match (*column == RAM || *column == SWAP, is_heading || value == "-") {
                (true, true) => write!(text, "{value:<width$}   "),
                (true, false) => write!(text, "{value:>width$}MB "),
                (false, _) => write!(text, "{value:<width$} "),
            };
        }
        text.push('\n');
    }
    text
}

/// The names, as many beside each other as a terminal of `columns` has room for, as LXC counts.
fn listed(rows: &[[String; 11]], columns: usize, alone: bool) -> String {
    let names = rows.iter().map(|[name, ..]| name);
    // The heading that is not there counts.
    let width = names.clone().map(String::len).max().unwrap_or(0).max(4);
    let (mut text, mut used) = (String::new(), 0);
    for name in names {
        if alone {
            let _ = writeln!(text, "{name}");
            continue;
        }
        used += width;
        let full = used + width >= columns;
        let _ = write!(text, "{name:<width$}{}", if full { '\n' } else { ' ' });
        used = if full { 0 } else { used + 1 };
    }
    if used > 0 {
        text.push('\n');
    }
    text
}

/// Columns of the terminal at stdout, stderr or stdin; 0 without one.
fn terminal_width() -> usize {
    let sizes = [1, 2, 0].into_iter().filter_map(|stream| winsize::of(standard(stream)).ok());
    sizes.map(|(_, columns)| columns.into()).next().unwrap_or(0)
}

/// One line of JSON.
fn json(found: &[Facts]) -> String {
    let mut json = Json::default();
    json.open('[');
    for facts in found {
        json.open('{').key("name").string(&facts.name).key("state").string(facts.state.name());
        json.key("pid").number(facts.pid.map(|pid| pid as u64));
        json.key("ram_bytes").number(facts.pid.map(|_| facts.ram));
        json.key("swap_bytes").number(facts.pid.map(|_| facts.swap));
        json.key("autostart").flag(facts.autostart).key("unprivileged").flag(facts.unprivileged);
        let lists =
            [("groups", &facts.groups), ("interfaces", &facts.interfaces), ("ipv4", &facts.v4), ("ipv6", &facts.v6)];
        for (key, list) in lists {
            json.key(key).strings(list.iter().map(String::as_str));
        }
        json.close('}');
    }
    json.close(']');
    json.line()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, ram: &str) -> [String; 11] {
        let mut row = [const { String::new() }; 11];
        row[0] = name.into();
        row[RAM] = ram.into();
        row
    }

    #[test]
    fn table_is_as_wide_as_its_widest_cell() {
        let rows = [row("abcdef", "12.50"), row("a", "-")];
        let text = "NAME   RAM     \nabcdef 12.50MB \na      -       \n";
        assert_eq!(table(&rows, &[0, RAM]), text);
    }

    #[test]
    fn names_fill_the_terminal_as_lxc_fills_it() {
        let rows = [row("a", ""), row("bbbbb", ""), row("c", "")];
        assert_eq!(listed(&rows, 0, false), "a    \nbbbbb\nc    \n");
        assert_eq!(listed(&rows, 80, false), "a     bbbbb c     \n");
        assert_eq!(listed(&rows, 14, false), "a     bbbbb\nc     \n");
        assert_eq!(listed(&rows, 0, true), "a\nbbbbb\nc\n");
    }
}
