//! System calls and files opened in one cycle, by strace, one file for each process. The container's init is left out:
//! the process that becomes it is counted up to the exec that does.

use crate::life;
use crate::place::Place;
use crate::report::Row;
use std::fs;
use std::process::{Command, Stdio};

/// Counts of one cycle.
#[derive(Default, Clone, Copy)]
pub struct Calls {
    /// System calls.
    pub all: usize,
    /// Of these, files opened with success.
    pub opens: usize,
}

/// Traces one cycle of each subject.
pub fn measure(place: &Place, rows: &mut [Row]) {
    if !Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_ok_and(|status| status.success()) {
        eprintln!("bench: strace is not here: system calls are left out");
        return;
    }
    for row in rows {
        match one(place, row) {
            Ok(calls) => row.calls = Some(calls),
            Err(reason) => row.failed(place, "trace", &reason),
        }
    }
}

fn one(place: &Place, row: &Row) -> Result<Calls, String> {
    let folder = place.file("trace");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let traced = row.subject.start(place, row.subject.name(), life::Mode::Exit);
    let mut command = Command::new("strace");
    command.args(["-ff", "-qq", "-e", "signal=none", "-o"]).arg(folder.join("t"));
    command.arg(traced.get_program()).args(traced.get_args());
    fs::write(place.rootfs().join("stamps"), b"").map_err(|e| format!("stamps: {e}"))?;
    life::run(place, &row.subject, &mut command)?;

    let mut calls = Calls::default();
    for entry in fs::read_dir(&folder).map_err(|e| e.to_string())?.flatten() {
        let text = fs::read(entry.path()).map_err(|e| e.to_string())?;
        count(&String::from_utf8_lossy(&text), &mut calls);
    }
    Ok(calls)
}

/// Adds one process's trace, up to its becoming init.
fn count(text: &str, calls: &mut Calls) {
    for line in text.lines() {
        let Some((call, rest)) = line.split_once('(') else { continue };
        if !call.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') {
            continue;
        }
        calls.all += 1;
        let failed = rest.contains(" = -1 ");
        if matches!(call, "open" | "openat" | "openat2" | "creat") && !failed {
            calls.opens += 1;
        }
        if call.starts_with("exec") && rest.contains("[\"/init\"") && !failed {
            return;
        }
    }
}
