//! `ls`: which containers there are, as names, as a table or as JSON.

use super::addresses::within;
use super::cgroup_files::hierarchies;
use super::containers::{active, active_in, add, defined};
use super::facts::{Facts, facts, inner_facts};
use super::listing::{COLUMNS, USUAL, json, listed, table, terminal_width};
use super::prepass::Operands;
use super::regex::Regex;
use super::{Call, Outcome, Word, lxcpath, parse, print, put, word};
use crate::cgroup::find::Hierarchies;
use crate::control::client::Container;
use crate::state::State;
use crate::text::{Shown, number};
use argh::{ArgsInfo, FromArgs};
use core::ffi::CStr;

/// Lists containers: those that have a config below the lxcpath, and those that run.
#[derive(FromArgs, ArgsInfo)]
struct Args {
    /// one a line
    #[argh(switch, short = '1')]
    line: bool,
    /// a table
    #[argh(switch, short = 'f')]
    fancy: bool,
    /// columns: NAME STATE PID RAM SWAP AUTOSTART GROUPS INTERFACE IPV4 IPV6 UNPRIVILEGED, with commas between them
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
    /// running containers inside of containers, too, so many levels deep (5)
    #[argh(option, arg_name = "NUM", from_str_fn(levels))]
    nesting: Option<u32>,
    /// all that is known, as one line of JSON
    #[argh(switch)]
    json: bool,
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
        let state = container.state().ok();
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

    fn is_in(&self, state: Option<State>) -> bool {
        let Args { active, running, frozen, stopped, .. } = *self.args;
        (!running || state != Some(State::Stopped))
            && (!frozen || active || state == Some(State::Frozen))
            && (!stopped || state == Some(State::Stopped))
    }

    fn is_grouped(&self, facts: &Facts) -> bool {
        let Some(groups) = self.args.groups.map(|groups| groups.to_str().unwrap_or_default()) else { return true };
        let mut groups = groups.split(',').map(str::trim_ascii).filter(|group| !group.is_empty());
        !facts.groups.is_empty() && groups.all(|group| facts.groups.iter().any(|own| own == group))
    }
}
