//! `ls`: which containers there are, as names, as a table or as JSON.

use super::addresses::{self, within};
use super::cgroup_files::{CgroupFiles, hierarchies};
use super::containers::{active, active_in, add, defined, items};
use super::figures::{Hundredths, scaled};
use super::json::Json;
use super::prepass::Operands;
use super::regex::Regex;
use super::usage;
use super::{Call, Outcome, Target, Word, lxcpath, parse, print, put, word};
use crate::cgroup::find::Hierarchies;
use crate::control::client::Container;
use crate::control::proto::Command;
use crate::state::State;
use crate::sys::fds::standard;
use crate::sys::winsize;
use crate::text::{Shown, number, shown};
use argh::{ArgsInfo, FromArgs};
use core::ffi::CStr;
use core::fmt::Write;
use std::ffi::CString;
use std::os::fd::AsRawFd;

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
    /// containers inside of containers, too, so many levels deep (5): those that run, in network namespaces of their own
    #[argh(option, arg_name = "NUM", from_str_fn(levels))]
    nesting: Option<u32>,
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
    /// How many containers it is inside of.
    level: u32,
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

/// argh: a number of levels; what is none is LXC's usual one.
fn levels(text: &str) -> Result<u32, String> {
    Ok(number(text.as_bytes()).and_then(|levels| u32::try_from(levels).ok()).unwrap_or(USUAL_LEVELS))
}

const USUAL_LEVELS: u32 = 5;

/// Runs the verb.
pub fn run(call: &Call<'_>) -> Outcome {
    // The one option whose value may be left out.
    let alone = |arg: &&CStr| arg.to_bytes().len() > 3 && c"--nesting".to_bytes().starts_with(arg.to_bytes());
    let words: Vec<&CStr> = call.args.iter().map(|arg| if alone(arg) { c"--nesting=" } else { *arg }).collect();
    let line = parse::<Args>(&Call { args: &words, ..*call }, Operands::Anywhere, " [REGEX]")?;
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
    let columns = args.fancy_format.filter(|_| args.fancy || !call.stock);
    let details = args.fancy || args.json || columns.is_some();
    let mut search =
        Search { args, filter, lxcpath, details, stock: call.stock, hierarchies: hierarchies(), found: Vec::new() };
    for name in &names {
        search.look_at(name, defined.contains(name));
    }
    let found = search.found;
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

/// What is looked for, and what was found.
struct Search<'a> {
    args: &'a Args,
    filter: Option<Regex>,
    lxcpath: &'a CStr,
    details: bool,
    stock: bool,
    hierarchies: &'static Hierarchies<'static>,
    found: Vec<Facts>,
}

impl Search<'_> {
    /// A container of this host.
    fn look_at(&mut self, name: &CStr, defined: bool) {
        let container = Container { lxcpath: self.lxcpath, name };
        if self.args.defined && !defined || !self.is_named(name) {
            return;
        }
        // Who does not answer is there all the same.
        let state = container.state().unwrap_or(State::Stopped);
        if !self.is_in(state) {
            return;
        }
        let facts = match facts(&container, state, self.details, self.hierarchies) {
            Ok(facts) => facts,
            Err(error) => {
                put(2, &format!("{error}\n"));
                if self.stock {
                    return;
                }
                Facts::new(&container, state)
            }
        };
        if self.is_grouped(&facts) {
            let (name, pid) = (facts.name.clone(), container.init_pid());
            self.found.push(facts);
            self.look_inside(&name, pid.ok().flatten(), 1);
        }
    }

    /// The containers inside of one whose init is `pid`, by their sockets alone: nothing is looked up in its files.
    fn look_inside(&mut self, parent: &str, pid: Option<i32>, level: u32) {
        let Some(pid) = pid.filter(|_| self.args.nesting.is_some_and(|most| level <= most)) else { return };
        let namespace = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/net")).ok();
        if self.args.defined || namespace("self") == namespace(&pid.to_string()) {
            return;
        }
        for name in active_in(&format!("/proc/{pid}/net/unix"), self.lxcpath, &[]) {
            let container = Container { lxcpath: self.lxcpath, name: &name };
            if !self.is_named(&name) {
                continue;
            }
            let Some((mut facts, inner)) = within(pid, || inner_facts(&container)).flatten() else { continue };
            if !self.is_in(facts.state) || !self.is_grouped(&facts) {
                continue;
            }
            facts.level = level;
            if !self.details || self.args.json {
                facts.name = format!("{parent}/{}", facts.name);
            }
            if let Some(pid) = inner.filter(|_| self.details) {
                facts.take_addresses(pid);
            }
            let name = facts.name.clone();
            self.found.push(facts);
            self.look_inside(&name, inner, level + 1);
        }
    }

    fn is_named(&self, name: &CStr) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.matches(name.to_bytes()))
    }

    fn is_in(&self, state: State) -> bool {
        let Args { active, running, frozen, stopped, .. } = *self.args;
        (!running || state != State::Stopped)
            && (!frozen || active || state == State::Frozen)
            && (!stopped || state == State::Stopped)
    }

    fn is_grouped(&self, facts: &Facts) -> bool {
        let Some(groups) = self.args.groups.map(|groups| groups.to_str().unwrap_or_default()) else { return true };
        let mut groups = groups.split(',').map(str::trim_ascii).filter(|group| !group.is_empty());
        !facts.groups.is_empty() && groups.all(|group| facts.groups.iter().any(|own| own == group))
    }
}

impl Facts {
    fn new(container: &Container<'_>, state: State) -> Facts {
        Facts {
            name: shown(container.name).to_string(),
            level: 0,
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
        let megabytes = |bytes: u64, hundredths: u64| match self.runs && self.level == 0 {
            true => Hundredths(hundredths.max(scaled(bytes, 20))).to_string(),
            false => dash(String::new()),
        };
        [
            match self.level {
                // Before the cell, not in it, to LXC's tool: it comes out the same.
                1.. if self.name.find('/').is_none() => format!("{:>1$}{2}", "\\", self.level as usize, self.name),
                _ => self.name.clone(),
            },
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

const KEYS: [&CStr; 3] = [c"lxc.start.auto", c"lxc.group", c"lxc.idmap"];

impl Facts {
    /// Takes over the values of `KEYS`.
    fn take_items(&mut self, [auto, groups, idmap]: [String; 3]) {
        self.groups = groups.lines().map(String::from).collect();
        self.autostart = auto == "1";
        self.unprivileged = !idmap.is_empty();
    }

    /// Looks into the network namespace of process `pid`.
    fn take_addresses(&mut self, pid: i32) {
        for address in addresses::of(pid) {
            if address.contains(':') { &mut self.v6 } else { &mut self.v4 }.push(address);
        }
        self.interfaces = interfaces(pid);
    }
}

/// The values of `KEYS` in a running container.
fn running_items(container: &Container<'_>) -> [String; 3] {
    KEYS.map(|key| {
        let value = container.config_item(key).ok().flatten().unwrap_or_default();
        String::from_utf8_lossy(&value).into_owned()
    })
}

/// Finds out about a container; `details`: all of it.
fn facts(
    container: &Container<'_>,
    state: State,
    details: bool,
    hierarchies: &'static Hierarchies<'static>,
) -> Result<Facts, crate::error::Error> {
    let mut facts = Facts::new(container, state);
    facts.take_items(match facts.runs {
        true => running_items(container),
        false => items(&Target { lxcpath: container.lxcpath, name: container.name, rcfile: None }, KEYS)?,
    });
    if !details || !facts.runs {
        return Ok(facts);
    }
    facts.pid = container.init_pid().ok().flatten();
    if let Some(pid) = facts.pid {
        facts.take_addresses(pid);
        let files = CgroupFiles::new(*container, hierarchies);
        facts.ram = usage::memory(&files).unwrap_or(0);
        facts.swap = usage::swap(&files).unwrap_or(0);
    }
    Ok(facts)
}

/// Finds out about a container inside of another one, from inside of that one's network; and its init's pid to this host.
/// What its supervisor says of pids and cgroups is true in there only.
fn inner_facts(container: &Container<'_>) -> Option<(Facts, Option<i32>)> {
    let state = container.state().ok()?;
    let mut facts = Facts::new(container, state);
    facts.take_items(running_items(container));
    facts.pid = container.init_pid().ok().flatten();
    let pidfd = container.ask(Command::GetInitPidfd, &[]).ok().and_then(|answer| answer.fd);
    let pid = pidfd.and_then(|pidfd| {
        let about = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).ok()?;
        let pid = about.lines().find_map(|line| line.strip_prefix("Pid:"))?;
        pid.trim_ascii().parse().ok().filter(|pid| *pid > 0)
    });
    Some((facts, pid))
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
        let pid = facts.pid.filter(|_| facts.level == 0);
        json.key("ram_bytes").number(pid.map(|_| facts.ram)).key("swap_bytes").number(pid.map(|_| facts.swap));
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
