//! `autostart`: starts the containers that are to be started with the machine, or stops them.

use super::containers::{defined, items};
use super::prepass::Operands;
use super::{Call, Outcome, Target, Word, kept, lxcpath, parse, print, put, stop, word};
use crate::control::client::Container;
use crate::state::State;
use crate::sys::clone::{Fork, fork};
use crate::sys::process::{self, Exit};
use crate::text::{number, shown};
use argh::{ArgsInfo, FromArgs};
use core::ffi::CStr;
use core::time::Duration;
use std::ffi::CString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Exit code when some of the containers failed.
const PARTLY: i32 = 2;

/// Starts the containers whose config says so (lxc.start.auto), by lxc.start.order and name; stopping goes the other way.
/// Exit code: 0 done, 1 all failed or there are none, 2 some failed.
#[derive(FromArgs, ArgsInfo)]
struct Args {
    /// kill them instead
    #[argh(switch, short = 'k')]
    kill: bool,
    /// only list those that it is about, and the delays
    #[argh(switch, short = 'L')]
    list: bool,
    /// reboot them instead
    #[argh(switch, short = 'r')]
    reboot: bool,
    /// shut them down instead
    #[argh(switch, short = 's')]
    shutdown: bool,
    /// whatever their groups
    #[argh(switch, short = 'a')]
    all: bool,
    /// whatever lxc.start.auto says
    #[argh(switch, short = 'A')]
    ignore_auto: bool,
    /// groups in this order, with commas between them; an empty one is for containers without a group
    #[argh(option, short = 'g', arg_name = "GROUPS", from_str_fn(word))]
    groups: Vec<Word>,
    /// seconds until a shutdown becomes a kill (60)
    #[argh(option, short = 't', arg_name = "SEC", from_str_fn(whole))]
    timeout: Option<Word>,
}

/// argh: a whole number, for another command line.
fn whole(text: &str) -> Result<Word, String> {
    match number(text.strip_prefix('-').unwrap_or(text).as_bytes()) {
        Some(_) => word(text),
        None => Err(format!("'{text}' is no number of seconds")),
    }
}

/// What is done.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Act {
    Start,
    Reboot,
    Shutdown,
    Kill,
}

/// A container that could be meant.
struct Candidate {
    name: CString,
    order: i64,
    /// Seconds after its start.
    delay: u64,
    auto: bool,
    /// One a line.
    groups: String,
    done: bool,
}

/// Runs the verb.
pub fn run(call: &Call<'_>) -> Outcome {
    let line = parse::<Args>(call, Operands::Anywhere, "")?;
    line.no_operands()?;
    let args = &line.args;
    let lxcpath = lxcpath(&line.common);
    let act = match (args.shutdown, args.kill, args.reboot) {
        (true, ..) => Act::Shutdown,
        (_, true, _) => Act::Kill,
        (.., true) => Act::Reboot,
        _ => Act::Start,
    };
    let mut candidates: Vec<Candidate> = Vec::new();
    // By their order; they come by their names.
    for candidate in defined(lxcpath).into_iter().filter_map(|name| load(lxcpath, name)) {
        let place = candidates.iter().take_while(|other| other.order <= candidate.order).count();
        candidates.insert(place, candidate);
    }
    if matches!(act, Act::Shutdown | Act::Kill) {
        candidates.reverse();
    }
    let mut failed = 0;
    for group in groups(&args.groups) {
        for candidate in &mut candidates {
            let meant = (candidate.auto || args.ignore_auto) && (args.all || belongs(&candidate.groups, group));
            if !meant || candidate.done {
                continue;
            }
            candidate.done = true;
            let name = candidate.name.as_c_str();
            // Who does not answer is taken for running: it is not to be started beside what is there.
            let runs = Container { lxcpath, name }.state() != Ok(State::Stopped);
            if runs == (act == Act::Start) {
                continue;
            }
            let waits = matches!(act, Act::Start | Act::Reboot);
            if args.list {
                print(&match waits {
                    true => format!("{} {}\n", shown(name), candidate.delay),
                    false => format!("{}\n", shown(name)),
                });
                continue;
            }
            let timeout = args.timeout.unwrap_or(c"60");
            if !perform(call, act, lxcpath, name, timeout) {
                failed += 1;
            } else if waits {
                std::thread::sleep(Duration::from_secs(candidate.delay));
            }
        }
    }
    match failed {
        _ if failed == candidates.len() => Err(super::FAILED),
        0 => Ok(0),
        _ => Err(PARTLY),
    }
}

/// Reads what a config says of the start; a config with a fault is said and left out, as by LXC.
fn load(lxcpath: Word, name: CString) -> Option<Candidate> {
    let target = Target { lxcpath, name: &name, rcfile: None };
    let keys = [c"lxc.start.order", c"lxc.start.delay", c"lxc.start.auto", c"lxc.group"];
    match items(&target, keys) {
        Ok([order, delay, auto, groups]) => Some(Candidate {
            name,
            order: order.parse().unwrap_or(0),
            delay: number(delay.as_bytes()).unwrap_or(0),
            auto: auto == "1",
            groups,
            done: false,
        }),
        Err(error) => {
            put(2, &format!("{error}\n"));
            None
        }
    }
}

/// The groups of all `-g`, each once; without one the empty group alone.
fn groups(given: &[Word]) -> Vec<&[u8]> {
    let mut found: Vec<&[u8]> = Vec::new();
    for group in given.iter().flat_map(|list| list.to_bytes().split(|b| *b == b',')) {
        if !found.contains(&group) {
            found.push(group);
        }
    }
    if found.is_empty() {
        found.push(b"");
    }
    found
}

/// Whether a container of these groups is meant by `group`.
fn belongs(groups: &str, group: &[u8]) -> bool {
    match group {
        b"" => groups.is_empty(),
        _ => groups.lines().any(|own| own.as_bytes() == group),
    }
}

/// Does it, by the verb for it. False: it failed, and the verb has said why.
fn perform(call: &Call<'_>, act: Act, lxcpath: &CStr, name: &CStr, timeout: &CStr) -> bool {
    let common = [c"-n", name, c"-P", lxcpath];
    let stop = |options: &[&CStr]| {
        let args = [&common, options].concat();
        stop::run(&Call { verb: "stop", args: &args, ..*call }).is_ok()
    };
    match act {
        Act::Start => start(&common),
        Act::Reboot => stop(&[c"-r", c"-W"]),
        Act::Kill => stop(&[c"-k"]),
        Act::Shutdown => stop(&[c"-t", timeout]),
    }
}

/// Executes our own `start -d` and waits until the container runs. Its process becomes the supervisor, so that a supervisor
/// always has the command line of one.
fn start(common: &[&CStr]) -> bool {
    let own = std::env::current_exe().map_or_else(|_| c"/proc/self/exe", |own| kept(own.into_os_string().into_vec()));
    let argv = [&[c"monopod", c"start", c"-d"], common].concat();
    let variables = std::env::vars_os().map(|(name, value)| kept([name.as_bytes(), b"=", value.as_bytes()].concat()));
    let environment: Vec<&CStr> = variables.collect();
    match fork() {
        Ok(Fork::Child) => {
            let errno = process::exec(own, &argv, &environment);
            put(2, &format!("execute {}: {}\n", shown(own), errno.desc()));
            process::exit_now(super::FAILED)
        }
        Ok(Fork::Parent(pid)) => process::wait(pid) == Ok(Exit::Code(0)),
        Err(errno) => {
            put(2, &format!("fork: {}\n", errno.desc()));
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_keep_their_order_and_come_once() {
        assert_eq!(groups(&[]), [&b""[..]]);
        assert_eq!(groups(&[c"b,a", c"a,,c"]), [&b"b"[..], b"a", b"", b"c"]);
    }

    #[test]
    fn empty_group_is_that_of_the_containers_without_one() {
        assert!(belongs("", b"") && !belongs("web\n", b""));
        assert!(belongs("web\nonboot\n", b"onboot") && !belongs("web\n", b"we") && !belongs("", b"web"));
    }
}
