//! `info`: what is known of a container, in LXC's lines or as JSON.

use super::addresses;
#[cfg(any(feature = "tools", test))]
use super::figures::Size;
use super::figures::Span;
use super::prepass::Operands;
#[cfg(feature = "tools")]
use super::tools::resources;
use super::{Call, FAILED, Outcome, Target, Word, parse, print, put, with_config, word};
use crate::state::State;
use crate::text::{Shown, number, shown};
use argh::{ArgsInfo, FromArgs};
use core::ffi::CStr;
use core::fmt::Write;

/// Shows a container's state, init's pid and its use of resources. Exit code: 1 if there is no such container.
#[derive(FromArgs, ArgsInfo)]
struct Args {
    /// show the state
    #[argh(switch, short = 's')]
    state: bool,
    /// show init's pid
    #[argh(switch, short = 'p')]
    pid: bool,
    /// show the addresses
    #[argh(switch, short = 'i')]
    ips: bool,
    /// show the use of resources
    #[argh(switch, short = 'S')]
    stats: bool,
    /// show the value of a config key; may be repeated
    #[argh(option, short = 'c', arg_name = "KEY", from_str_fn(word))]
    config: Vec<Word>,
    /// numbers as they are, and one value alone without its label
    #[argh(switch, short = 'H')]
    no_humanize: bool,
    /// all of it as one line of JSON
    #[argh(switch)]
    json: bool,
}

/// The lines that are to be printed.
pub struct Lines {
    text: String,
    /// Numbers with units.
    pub human: bool,
    /// Only the value: -H and exactly one selector.
    bare: bool,
}

impl Lines {
    /// A line, or only its value.
    pub fn add(&mut self, label: &str, value: core::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = match self.bare {
            true => writeln!(self.text, "{value}"),
            false => writeln!(self.text, "{label:<15} {value}"),
        };
    }

    /// A line about so many bytes.
    #[cfg(any(feature = "tools", test))]
    pub fn bytes(&mut self, label: &str, value: u64) {
        if self.human {
            self.add(label, format_args!("{}", Size(value)))
        } else {
            self.add(label, format_args!("{value}"))
        }
    }
}

/// Runs the verb.
pub fn run(call: &Call<'_>) -> Outcome {
    let mut line = parse::<Args>(call, Operands::Anywhere, "")?;
    let target = line.only_target()?;
    let (args, quiet) = (&line.args, line.common.quiet);
    let container = target.container();
    let name = shown(target.name);
    let state = match container.state() {
        Ok(state) => state,
        Err(failure) => return Err(line.fail(format_args!("info '{name}': {failure}"))),
    };
    let file = target.rcfile.unwrap_or_else(|| target.config_file());
    let running = state != State::Stopped || container.init_pid().is_ok();
    if !running && nix::sys::stat::stat(file).is_err() {
        // LXC's words, with no program's name before them: scripts look for them.
        if !quiet {
            put(2, &format!("{name} doesn't exist\n"));
        }
        return Err(FAILED);
    }
    let pid = if running { container.init_pid().ok().flatten() } else { None };
    let status = if running { container.status().unwrap_or_default() } else { Vec::new() };
    let status = String::from_utf8_lossy(&status);
    #[cfg(not(feature = "tools"))]
    if args.json || args.stats {
        return Err(
            line.fail(format_args!("this is the small build: the use of resources and JSON are in the full one"))
        );
    }
    #[cfg(feature = "tools")]
    if args.json {
        return Ok(print(&resources::json(target.name, state, pid, &status, running.then_some(container))));
    }
    let selectors = [args.state, args.pid, args.ips, args.stats].into_iter().filter(|selected| *selected).count();
    let all = selectors == 0 && args.config.is_empty();
    let human = !args.no_humanize;
    let mut lines = Lines { text: String::new(), human, bare: !human && selectors == 1 };
    if all {
        lines.add("Name:", format_args!("{name}"));
    }
    if all || args.state {
        lines.add("State:", format_args!("{}", state.name()));
    }
    if let Some(pid) = pid.filter(|_| all || args.pid) {
        lines.add("PID:", format_args!("{pid}"));
    }
    if let Some(pid) = pid.filter(|_| all || args.ips) {
        for address in addresses::of(pid) {
            lines.add("IP:", format_args!("{address}"));
        }
    }
    if running && (all || args.stats) {
        // Several lines, so LXC never leaves out their labels.
        lines.bare = false;
        #[cfg(feature = "tools")]
        resources::lines(&mut lines, container);
    }
    if all && !call.stock {
        own(&mut lines, &status);
    }
    for key in &args.config {
        let label = shown(key);
        match value(&target, running, key) {
            Some(value) => {
                // LXC's tool leaves the newline at the end of a list where it is.
                let value = if call.stock { &value } else { value.trim_ascii_end() };
                if human || args.config.len() > 1 {
                    let gap = if value.is_empty() { "" } else { " " };
                    let _ = write!(lines.text, "{label} ={gap}");
                }
                for line in value.split('\n') {
                    let _ = writeln!(lines.text, "{}", Shown(line.as_bytes()));
                }
            }
            // LXC prints this, without its own name before it, and goes on.
            None if quiet => {}
            None => put(2, &format!("{label} invalid\n")),
        }
    }
    Ok(print(&lines.text))
}

/// The value of a key: the running container's, else the config file's.
fn value(target: &Target<'_>, running: bool, key: &CStr) -> Option<String> {
    if running {
        let value = target.container().config_item(key);
        if let Ok(Some(value)) = value {
            return Some(String::from_utf8_lossy(&value).into_owned());
        }
    }
    let (mut value, mut known) = (String::new(), false);
    let read = with_config(target, &[], &mut |config, _| {
        known = crate::config::get(config, key.to_bytes(), &mut value).is_some();
    });
    (read.is_ok() && known).then_some(value)
}

/// What our own supervisor tells beyond LXC's lines.
fn own(lines: &mut Lines, status: &str) {
    if let Some(ready) = field(status, "ready") {
        let ready = Shown(ready.as_bytes());
        match field(status, "waits_for") {
            Some(condition) => lines.add("Ready:", format_args!("{ready}, waits for {}", Shown(condition.as_bytes()))),
            None => lines.add("Ready:", format_args!("{ready}")),
        }
    }
    if let Some(restarts) = field(status, "restarts") {
        lines.add("Restarts:", format_args!("{restarts}"));
    }
    let mut span = |key, label, before| {
        let milliseconds = field(status, key).and_then(|ms| number(ms.as_bytes()));
        match (milliseconds, lines.human) {
            (Some(span), true) => lines.add(label, format_args!("{before}{}", Span(span / 1_000))),
            (Some(span), false) => lines.add(label, format_args!("{span}")),
            (None, _) => {}
        }
    };
    span("uptime_ms", "Uptime:", "");
    span("next_start_ms", "Next start:", "in ");
    if let Some(exit) = field(status, "last_exit").filter(|exit| !exit.is_empty()) {
        lines.add("Last exit:", format_args!("{}", Shown(exit.as_bytes())));
    }
    for (key, label) in [("reboot_argument", "Reboot:"), ("last_crash", "Last crash:")] {
        if let Some(text) = field(status, key) {
            lines.add(label, format_args!("{}", Shown(text.as_bytes())));
        }
    }
}

/// The value of a `key=value` line.
fn field<'s>(status: &'s str, key: &str) -> Option<&'s str> {
    status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_bare_or_labelled_as_lxc_prints_it() {
        let mut lines = Lines { text: String::new(), human: true, bare: false };
        lines.add("State:", format_args!("RUNNING"));
        lines.bytes("Memory use:", 569_344);
        lines.bytes("BlkIO use:", 0);
        assert_eq!(lines.text, "State:          RUNNING\nMemory use:     556.00 KiB\nBlkIO use:      0 bytes\n");
        let mut bare = Lines { text: String::new(), human: false, bare: true };
        bare.bytes("Memory use:", 569_344);
        assert_eq!(bare.text, "569344\n");
    }
}
