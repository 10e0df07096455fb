//! `info`: what is known of a container, in LXC's lines or as JSON.

use super::addresses;
use super::prepass::Operands;
use super::{Call, FAILED, Outcome, Target, Word, parse, print, put, with_config, word};
use crate::control::client::Container;
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
    if args.json {
        return Ok(print(&json(target.name, state, pid, &status)));
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
        stats(&mut lines, &container);
    }
    if all {
        own(&mut lines, &status);
    }
    for key in &args.config {
        let label = shown(key);
        match value(&target, running, key) {
            Some(value) if human || args.config.len() > 1 => {
                let _ = writeln!(lines.text, "{label} = {}", Shown(value.trim_ascii_end().as_bytes()));
            }
            Some(value) => {
                let _ = writeln!(lines.text, "{}", value.trim_ascii_end());
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

/// The use of CPU and memory, from whichever cgroup version keeps it. A file that is not there is a line that is not there.
fn stats(lines: &mut Lines, container: &Container<'_>) {
    let file = |controller: &CStr, v1: &str, v2: &str| -> Option<String> {
        let path = String::from_utf8(container.cgroup(controller).ok()?).ok()?;
        let controller = controller.to_str().ok()?;
        let places = [
            format!("/sys/fs/cgroup/{controller}{path}/{v1}"),
            format!("/sys/fs/cgroup/unified{path}/{v2}"),
            format!("/sys/fs/cgroup{path}/{v2}"),
        ];
        places.iter().find_map(|place| std::fs::read_to_string(place).ok())
    };
    if let Some(nanoseconds) = file(c"cpuacct", "cpuacct.usage", "cpu.stat").and_then(|text| cpu(&text)) {
        match lines.human {
            true => {
                lines.add("CPU use:", format_args!("{} seconds", Hundredths((nanoseconds / 5_000_000).div_ceil(2))))
            }
            false => lines.add("CPU use:", format_args!("{nanoseconds}")),
        }
    }
    let blocks = file(c"blkio", "blkio.throttle.io_service_bytes", "io.stat");
    if let Some(bytes) = blocks.map(|text| block_bytes(&text)) {
        lines.bytes("BlkIO use:", bytes);
    }
    let memory = file(c"memory", "memory.usage_in_bytes", "memory.current");
    if let Some(bytes) = memory.and_then(|text| number(text.as_bytes().trim_ascii())) {
        lines.bytes("Memory use:", bytes);
    }
    let kernel = file(c"memory", "memory.kmem.usage_in_bytes", "memory.kernel");
    if let Some(bytes) = kernel.and_then(|text| number(text.as_bytes().trim_ascii())) {
        lines.bytes("KMem use:", bytes);
    }
}

/// Nanoseconds from a `cpuacct.usage` (v1, one number) or a `cpu.stat` (v2, `usage_usec N` among others).
fn cpu(text: &str) -> Option<u64> {
    let v2 = text.lines().find_map(|line| line.strip_prefix("usage_usec "));
    match v2 {
        Some(microseconds) => number(microseconds.as_bytes())?.checked_mul(1_000),
        None => number(text.as_bytes().trim_ascii()),
    }
}

/// Bytes read and written, from v1's `Total N` line or v2's `rbytes=N` and `wbytes=N` words.
fn block_bytes(text: &str) -> u64 {
    let total = text.lines().filter_map(|line| line.strip_prefix("Total "));
    let words = text.split_ascii_whitespace();
    let each = words.filter_map(|word| word.strip_prefix("rbytes=").or(word.strip_prefix("wbytes=")));
    total.chain(each).filter_map(|value| number(value.as_bytes())).fold(0, u64::saturating_add)
}

/// The value of a `key=value` line.
fn field<'s>(status: &'s str, key: &str) -> Option<&'s str> {
    status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
}

/// One line of JSON: LXC's facts, then all that our supervisor tells.
fn json(name: &CStr, state: State, pid: Option<i32>, status: &str) -> String {
    let mut text = String::from("{\"name\":");
    quote(&mut text, &name.to_string_lossy());
    let _ = write!(text, ",\"state\":\"{}\",\"pid\":", state.name());
    let _ = match pid {
        Some(pid) => write!(text, "{pid}"),
        None => write!(text, "null"),
    };
    let lines = status.lines().filter_map(|line| line.split_once('='));
    for (key, value) in lines.filter(|(key, _)| *key != "state" && *key != "pid") {
        text.push(',');
        quote(&mut text, key);
        text.push(':');
        match number(value.as_bytes()) {
            Some(number) => drop(write!(text, "{number}")),
            None => quote(&mut text, value),
        }
    }
    text.push_str("}\n");
    text
}

/// A JSON string.
fn quote(text: &mut String, value: &str) {
    text.push('"');
    for letter in value.chars() {
        match letter {
            '"' | '\\' => text.extend(['\\', letter]),
            control if control.is_control() => drop(write!(text, "\\u{:04x}", u32::from(control))),
            other => text.push(other),
        }
    }
    text.push('"');
}

/// Bytes with LXC's units.
struct Size(u64);

impl core::fmt::Display for Size {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
        match units.into_iter().find(|(shift, _)| self.0 >> shift != 0) {
            Some((shift, unit)) => {
                let (whole, rest) = (self.0 >> shift, self.0 & ((1 << shift) - 1));
                // To the nearest; from the middle to the even one, as printf does.
                let odd = ((rest * 100) >> shift) & 1;
                let hundredths = (rest * 100 + (1 << (shift - 1)) - 1 + odd) >> shift;
                write!(f, "{} {unit}", Hundredths(whole * 100 + hundredths))
            }
            None => write!(f, "{} bytes", self.0),
        }
    }
}

/// A number of hundredths as a decimal fraction. The formatting of floats would be 12 KB of the program.
struct Hundredths(u64);

impl core::fmt::Display for Hundredths {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

/// Seconds as `1d 2h 3m 4s`, the leading zeroes left out.
struct Span(u64);

impl core::fmt::Display for Span {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let units = [(86_400, "d"), (3_600, "h"), (60, "m")];
        let mut rest = self.0;
        for (length, unit) in units {
            if self.0 >= length {
                write!(f, "{}{unit} ", rest / length)?;
                rest %= length;
            }
        }
        write!(f, "{rest}s")
    }
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
    fn cpu_use_is_read_from_both_versions() {
        assert_eq!(cpu("12345\n"), Some(12_345));
        assert_eq!(cpu("usage_usec 7\nuser_usec 3\n"), Some(7_000));
        assert_eq!(cpu("nonsense"), None);
    }

    #[test]
    fn block_use_is_read_from_both_versions() {
        assert_eq!(block_bytes("8:0 Read 4\n8:0 Total 9\nTotal 9\n"), 9);
        assert_eq!(block_bytes("8:0 rbytes=3 wbytes=4 rios=9\n8:16 rbytes=1 wbytes=0\n"), 8);
        assert_eq!(block_bytes(""), 0);
    }

    #[test]
    fn json_quotes_text_and_leaves_numbers() {
        let status = "state=RUNNING\npid=4\nrestarts=2\nlast_exit=exit \"7\"\n";
        let text = json(c"a\\b", State::Running, Some(4), status);
        let expected = r#"{"name":"a\\b","state":"RUNNING","pid":4,"restarts":2,"last_exit":"exit \"7\""}"#;
        assert_eq!(text.trim_end(), expected);
        assert_eq!(json(c"x", State::Stopped, None, ""), "{\"name\":\"x\",\"state\":\"STOPPED\",\"pid\":null}\n");
    }

    #[test]
    fn size_rounds_as_a_float_is_rounded() {
        for (shift, unit) in [(10, "KiB"), (20, "MiB"), (30, "GiB"), (40, "TiB")] {
            let step = 1_u64 << (shift - 10);
            for count in (1_024..12_000).chain(1_048_000..1_048_576) {
                let bytes = count * step;
                let expected = format!("{:.2} {unit}", bytes as f64 / (1_u64 << shift) as f64);
                assert_eq!(Size(bytes).to_string(), expected, "{bytes}");
            }
        }
        assert_eq!(Size(1_023).to_string(), "1023 bytes");
        assert_eq!(Size(u64::MAX).to_string(), "16777216.00 TiB");
    }

    #[test]
    fn span_leaves_out_leading_zeroes() {
        assert_eq!(Span(59).to_string(), "59s");
        assert_eq!(Span(90_061).to_string(), "1d 1h 1m 1s");
        assert_eq!(Span(3_600).to_string(), "1h 0m 0s");
    }
}
