//! What one idle container costs: memory, descriptors and wake-ups of its supervisor, and the size of its files.

use crate::life::{self, Life, Mode};
use crate::place::Place;
use crate::report::Row;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// How long the supervisors are watched for wake-ups.
const IDLE: Duration = Duration::from_secs(3);
/// Time for a supervisor to settle behind init's first instruction.
const SETTLE: Duration = Duration::from_millis(300);

/// Idle figures of a supervisor; its helpers outside the container are counted in.
#[derive(Default)]
pub struct Footprint {
    /// Resident, in kB.
    pub rss: u64,
    /// Proportional share, in kB.
    pub pss: u64,
    /// Private dirty pages, in kB.
    pub dirty: u64,
    /// Processes.
    pub processes: usize,
    /// Open descriptors.
    pub fds: usize,
    /// Context switches while nothing happens.
    pub switches: u64,
    /// The executable, in bytes.
    pub file: u64,
    /// The shared libraries it loads, in bytes.
    pub libraries: u64,
}

/// Measures each subject alone, then all of them together for wake-ups.
pub fn measure(place: &Place, rows: &mut [Row]) {
    rows.iter().for_each(|row| as_after_a_boot(&row.subject.program));
    let mut held: Vec<(usize, Life, u64)> = Vec::new();
    for (at, row) in rows.iter_mut().enumerate() {
        let begun = life::begin_cold(place, &row.subject, Mode::Hold).and_then(|mut life| {
            life.lives(place, 1)?;
            Ok(life)
        });
        match begun {
            Ok(life) => {
                std::thread::sleep(SETTLE);
                row.footprint = memory(&life);
                (row.footprint.file, row.footprint.libraries) = sizes(&row.subject.program);
                held.push((at, life, 0));
            }
            Err(reason) => row.failed(place, "hold", &reason),
        }
    }
    for (_, life, before) in &mut held {
        *before = switches(life);
    }
    std::thread::sleep(IDLE);
    for (at, mut life, before) in held {
        if let Some(row) = rows.get_mut(at) {
            row.footprint.switches = switches(&life).saturating_sub(before);
            if life.kill_init().and_then(|()| life.gone()).is_err() {
                life.give_up();
                row.failed(place, "hold", "did not end");
            }
        }
    }
}

/// Has a program come from the disk, as on a device. Of a file that was just built the pages count as private dirty until they
/// are written, and lie in the page cache in pieces so large that the first touch maps all of the program.
pub fn as_after_a_boot(program: &Path) {
    nix::unistd::sync();
    let advice = PosixFadviseAdvice::POSIX_FADV_DONTNEED;
    let dropped = File::open(program).is_ok_and(|file| posix_fadvise(&file, 0, 0, advice).is_ok());
    if !dropped {
        eprintln!("bench: {} stays in the page cache as it is", program.display());
    }
}

/// The supervisor and those of its children that are not in the container.
fn processes(life: &Life) -> Vec<i32> {
    let init = life.init().unwrap_or(0);
    std::iter::once(life.pid()).chain(life.children().into_iter().filter(|pid| *pid != init)).collect()
}

/// A number behind a key in one of /proc's files.
fn field(path: &str, key: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// The figures of a supervisor's memory and descriptors now.
pub fn memory(life: &Life) -> Footprint {
    of(&processes(life))
}

/// The same of some processes.
pub fn of(processes: &[i32]) -> Footprint {
    let mut sum = Footprint::default();
    for pid in processes {
        let rollup = format!("/proc/{pid}/smaps_rollup");
        sum.rss += field(&rollup, "Rss:");
        sum.pss += field(&rollup, "Pss:");
        sum.dirty += field(&rollup, "Private_Dirty:");
        sum.fds += fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, |dir| dir.count());
        sum.processes += 1;
    }
    sum
}

fn switches(life: &Life) -> u64 {
    processes(life).iter().map(|pid| field(&format!("/proc/{pid}/status"), "voluntary_ctxt_switches:")).sum()
}

/// The proportional share of a supervisor, in kB.
pub fn pss(life: &Life) -> u64 {
    memory(life).pss
}

/// The size of an executable and of all that ldd says it loads, in bytes.
pub fn sizes(program: &Path) -> (u64, u64) {
    let size = |path: &str| fs::metadata(path).map_or(0, |m| m.len());
    let output = Command::new("ldd").arg(program).stderr(Stdio::null()).output();
    let text = output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
    let libraries = text.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    (fs::metadata(program).map_or(0, |m| m.len()), libraries.map(size).sum())
}
