//! The machine and the versions, without which the figures cannot be compared with another day's.

use std::fs;
use std::process::{Command, Stdio};

fn first_line(program: &str, argument: &str) -> Option<String> {
    let output = Command::new(program).arg(argument).stdin(Stdio::null()).output().ok()?;
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .next()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
}

/// One sentence: kernel, processors, load when the run began, the peers' versions.
pub fn sentence() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let load = read("/proc/loadavg");
    let lxc = first_line("lxc-start", "--version").map_or("no lxc".to_owned(), |version| format!("lxc {version}"));
    format!(
        "Linux {} on {}, {processors} processors, load {} at the beginning; {lxc}, {}.",
        read("/proc/sys/kernel/osrelease").trim(),
        std::env::consts::ARCH,
        load.split_whitespace().next().unwrap_or("unknown"),
        first_line("bwrap", "--version").unwrap_or("no bubblewrap".to_owned()),
    )
}
