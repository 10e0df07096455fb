//! The machine and the versions, without which the figures cannot be compared with another day's.

use std::fs;
use std::process::{Command, Stdio};

fn first_line(program: &str, argument: &str) -> Option<String> {
    let output = Command::new(program).arg(argument).stdin(Stdio::null()).output().ok()?;
    // dumb-init says it to stderr.
    [output.stdout, output.stderr]
        .iter()
        .filter_map(|text| String::from_utf8_lossy(text).lines().next().map(|line| line.trim().to_owned()))
        .find(|line| !line.is_empty())
}

/// The peers' names, and the programs that say their versions.
const PEERS: [(&str, &str); 8] = [
    ("lxc", "lxc-start"),
    ("crun", "crun"),
    ("runc", "runc"),
    ("systemd", "systemd-nspawn"),
    ("bubblewrap", "bwrap"),
    ("tini", "tini"),
    ("dumb-init", "dumb-init"),
    ("catatonit", "catatonit"),
];

/// One sentence: kernel, processors, load when the run began, the peers' versions.
pub fn sentence() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let load = read("/proc/loadavg");
    let named = |name: &str, version: Option<String>| {
        version.map_or(format!("no {name}"), |line| if line.contains(name) { line } else { format!("{name} {line}") })
    };
    let peers: Vec<String> =
        PEERS.iter().map(|(name, program)| named(name, first_line(program, "--version"))).collect();
    format!(
        "Linux {} on {}, {processors} processors, load {} at the beginning; {}.",
        read("/proc/sys/kernel/osrelease").trim(),
        std::env::consts::ARCH,
        load.split_whitespace().next().unwrap_or("unknown"),
        peers.join(", "),
    )
}
