//! `info`: what is known of a container, in LXC's lines or as JSON.

use super::cgroup_files::{CgroupFiles, hierarchies};
use super::figures::{Size, Span, seconds};
use super::json::Json;
use super::prepass::Operands;
use super::{Call, FAILED, Outcome, Target, Word, parse, print, put, with_config, word};
use super::{addresses, usage};
use crate::control::client::Container;
use crate::state::State;
use crate::text::{Shown, number, shown};
use argh::{ArgsInfo, FromArgs};
use core::ffi::CStr;
use core::fmt::Write;
use std::ffi::CString;

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
struct Lines {
    text: String,
    /// Numbers with units.
    human: bool,
    /// Only the value: -H and exactly one selector.
    bare: bool,
}

impl Lines {
    fn add(&mut self, label: &str, value: core::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = match self.bare {
            true => writeln!(self.text, "{value}"),
            false => writeln!(self.text, "{label:<15} {value}"),
        };
    }

    fn bytes(&mut self, label: &str, value: u64) {
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
    let files = CgroupFiles::new(container, hierarchies());
    if args.json {
        let used = if running { Used::of(&files) } else { Used::default() };
        let ips = pid.map(addresses::of).unwrap_or_default();
        let links = if running { links(&container) } else { Vec::new() };
        return Ok(print(&json(target.name, state, pid, &status, &ips, &used, &links)));
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
        stats(&mut lines, &Used::of(&files));
        for link in links(&container) {
            link_lines(&mut lines, &link);
        }
    }
    if all {
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
    let read = with_config(target, &[], &mut |config| {
        known = crate::config::get(config, key.to_bytes(), &mut value).is_some();
    });
    (read.is_ok() && known).then_some(value)
}

/// What our own supervisor tells beyond LXC's lines.
fn own(lines: &mut Lines, status: &str) {
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
}

/// The use of resources; None for what this host does not keep.
#[derive(Default)]
struct Used {
    cpu: Option<u64>,
    blocks: Option<u64>,
    memory: Option<u64>,
    kernel: Option<u64>,
}

impl Used {
    fn of(files: &CgroupFiles<'_>) -> Used {
        Used {
            cpu: usage::cpu(files),
            blocks: usage::blocks(files),
            memory: usage::memory(files),
            kernel: usage::kernel(files),
        }
    }
}

/// A figure that is not there is a line that is not there.
fn stats(lines: &mut Lines, used: &Used) {
    match used.cpu {
        Some(nanoseconds) if lines.human => lines.add("CPU use:", format_args!("{} seconds", seconds(nanoseconds))),
        Some(nanoseconds) => lines.add("CPU use:", format_args!("{nanoseconds}")),
        None => {}
    }
    let sizes = [("BlkIO use:", used.blocks), ("Memory use:", used.memory), ("KMem use:", used.kernel)];
    for (label, bytes) in sizes {
        if let Some(bytes) = bytes {
            lines.bytes(label, bytes);
        }
    }
}

/// The host's end of a network link of the container.
struct Link {
    name: String,
    /// Bytes that the container sent, and received; None where the host has no such interface.
    sent: Option<u64>,
    received: Option<u64>,
}

/// The links by number, up to the first that has no name on the host, as LXC does.
fn links(container: &Container<'_>) -> Vec<Link> {
    let item = |number: usize, field: &str| {
        let key = CString::new(format!("lxc.net.{number}.{field}")).ok()?;
        let value = String::from_utf8(container.config_item(&key).ok()??).ok()?;
        Some(value).filter(|value| !value.is_empty() && !value.contains('/'))
    };
    let mut found = Vec::new();
    while let Some(kind) = item(found.len(), "type") {
        let field = if kind == "veth" { "veth.pair" } else { "link" };
        let Some(name) = item(found.len(), field) else { break };
        let bytes = |way: &str| {
            let text = std::fs::read_to_string(format!("/sys/class/net/{name}/statistics/{way}_bytes")).ok()?;
            number(text.as_bytes().trim_ascii())
        };
        // What the host's end received the container has sent.
        let (sent, received) = (bytes("rx"), bytes("tx"));
        found.push(Link { name, sent, received });
    }
    found
}

fn link_lines(lines: &mut Lines, link: &Link) {
    lines.add("Link:", format_args!("{}", Shown(link.name.as_bytes())));
    let (sent, received) = (link.sent, link.received);
    let total = sent.unwrap_or(0).saturating_add(received.unwrap_or(0));
    for (label, bytes) in [(" TX bytes:", sent), (" RX bytes:", received), (" Total bytes:", Some(total))] {
        if let Some(bytes) = bytes {
            lines.bytes(label, bytes);
        }
    }
}

/// The value of a `key=value` line.
fn field<'s>(status: &'s str, key: &str) -> Option<&'s str> {
    status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
}

/// One line of JSON: LXC's facts, then all that our supervisor tells.
fn json(
    name: &CStr,
    state: State,
    pid: Option<i32>,
    status: &str,
    ips: &[String],
    used: &Used,
    links: &[Link],
) -> String {
    let mut json = Json::default();
    json.open('{').key("name").string(&name.to_string_lossy()).key("state").string(state.name());
    json.key("pid").number(pid.map(|pid| pid as u64));
    json.key("ips").strings(ips.iter().map(String::as_str));
    let figures = [
        ("cpu_ns", used.cpu),
        ("blkio_bytes", used.blocks),
        ("memory_bytes", used.memory),
        ("kmem_bytes", used.kernel),
    ];
    for (key, figure) in figures {
        json.key(key).number(figure);
    }
    json.key("links").open('[');
    for link in links {
        json.open('{').key("name").string(&link.name);
        json.key("tx_bytes").number(link.sent).key("rx_bytes").number(link.received).close('}');
    }
    json.close(']');
    let lines = status.lines().filter_map(|line| line.split_once('='));
    for (key, value) in lines.filter(|(key, _)| *key != "state" && *key != "pid") {
        json.key(key);
        match number(value.as_bytes()) {
            Some(number) => json.number(Some(number)),
            None => json.string(value),
        };
    }
    json.close('}');
    json.line()
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

    #[test]
    fn json_has_lxcs_facts_and_what_our_supervisor_tells() {
        let status = "state=RUNNING\npid=4\nrestarts=2\nlast_exit=exit \"7\"\n";
        let used = Used { cpu: Some(7), memory: Some(1 << 40), ..Used::default() };
        let links = [Link { name: "veth1".into(), sent: Some(3), received: None }];
        let text = json(c"a\\b", State::Running, Some(4), status, &["fd00::7".into()], &used, &links);
        let expected = concat!(
            r#"{"name":"a\\b","state":"RUNNING","pid":4,"ips":["fd00::7"],"cpu_ns":7,"blkio_bytes":null,"#,
            r#""memory_bytes":1099511627776,"kmem_bytes":null,"links":[{"name":"veth1","tx_bytes":3,"rx_bytes":null}],"#,
            r#""restarts":2,"last_exit":"exit \"7\""}"#
        );
        assert_eq!(text.trim_end(), expected);
    }
}
