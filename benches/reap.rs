//! Process 1 for one command: the CPU that it needs to reap orphans, and what it holds. Each runs in a pid namespace of its own,
//! in no container; init leaves processes to it one by one, and all but init itself must be gone before it is looked at.

use crate::footprint::{Footprint, as_after_a_boot, of, sizes};
use crate::life::children_of;
use crate::place::Place;
use crate::report::{Row, median};
use crate::subject::{Kind, installed};
use nix::sched::{CloneFlags, setns, unshare};
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Passes of each, in turn.
const PASSES: usize = 3;
/// No pass takes longer.
const HUNG: Duration = Duration::from_secs(60);

/// One of them.
pub struct Reaper {
    /// What the table calls it.
    pub label: &'static str,
    program: PathBuf,
    /// The name that it is called by.
    name: &'static str,
    /// What stands before the command.
    words: &'static [&'static str],
    /// Its CPU in ms for all orphans, one for each pass.
    pub cpu: Vec<f64>,
    /// Memory behind them.
    pub footprint: Footprint,
    /// Why it was not measured.
    pub failure: Option<String>,
}

/// Those that are here. The floor is the first.
fn present(rows: &[Row]) -> Vec<Reaper> {
    let built = |kind| rows.iter().find(|row| row.subject.kind == kind).map(|row| row.subject.program.clone());
    let wanted: [(_, _, _, &[&str]); 6] = [
        ("floor", built(Kind::Floor), "floor", &["-"]),
        ("monopod (init.lxc)", built(Kind::Monopod), "init.lxc", &["--"]),
        ("catatonit", installed("catatonit"), "catatonit", &["--"]),
        ("tini", installed("tini"), "tini", &["--"]),
        ("tini-static", installed("tini-static"), "tini-static", &["--"]),
        ("dumb-init", installed("dumb-init"), "dumb-init", &["--"]),
    ];
    let mut reapers = Vec::new();
    for (label, program, name, words) in wanted {
        match program {
            Some(program) => reapers.push(Reaper {
                label,
                program,
                name,
                words,
                cpu: Vec::new(),
                footprint: Footprint::default(),
                failure: None,
            }),
            None => eprintln!("bench: skipped: {label}, it is not here"),
        }
    }
    reapers
}

/// Has each reap `count` orphans, several times.
pub fn measure(place: &Place, rows: &[Row], count: usize) -> Vec<Reaper> {
    let mut reapers = present(rows);
    reapers.iter().for_each(|reaper| as_after_a_boot(&reaper.program));
    for _ in 0..PASSES {
        for reaper in reapers.iter_mut().filter(|reaper| reaper.failure.is_none()) {
            eprint!("\rbench: {count} orphans for {:<30}", reaper.label);
            match one(place, reaper, count) {
                Ok((cpu, footprint)) => {
                    reaper.cpu.push(cpu);
                    reaper.footprint = footprint;
                }
                Err(reason) => reaper.failure = Some(reason),
            }
        }
    }
    eprintln!();
    for reaper in &mut reapers {
        (reaper.footprint.file, reaper.footprint.libraries) = sizes(&reaper.program);
    }
    reapers
}

impl Reaper {
    /// The median of its passes.
    pub fn median(&self) -> f64 {
        median(&self.cpu)
    }
}

fn one(place: &Place, reaper: &Reaper, count: usize) -> Result<(f64, Footprint), String> {
    let stamps = place.rootfs().join("stamps");
    fs::write(&stamps, b"").map_err(|e| format!("stamps: {e}"))?;
    let init: OsString = place.rootfs().join("init").into();
    let mut command = Command::new(&reaper.program);
    command.arg0(reaper.name).args(reaper.words).arg(init).args(["orphans", &count.to_string()]);
    command.env_clear().env("STAMPS", &stamps).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = first_of_its_namespace(&mut command)?;
    let looked = look(&mut child, &stamps);
    let _ = child.kill();
    let _ = child.wait();
    looked
}

/// Spawns a process 1; the driver itself stays where it is.
fn first_of_its_namespace(command: &mut Command) -> Result<Child, String> {
    let own = File::open("/proc/self/ns/pid").map_err(|e| format!("/proc/self/ns/pid: {e}"))?;
    unshare(CloneFlags::CLONE_NEWPID).map_err(|e| format!("unshare: {}", e.desc()))?;
    let child = command.spawn();
    setns(own, CloneFlags::CLONE_NEWPID).map_err(|e| format!("setns: {}", e.desc()))?;
    child.map_err(|e| format!("{}: {e}", command.get_program().display()))
}

fn look(child: &mut Child, stamps: &Path) -> Result<(f64, Footprint), String> {
    let pid = i32::try_from(child.id()).unwrap_or(0);
    let begun = Instant::now();
    // Two records come before the last one, which says that all were left.
    while fs::metadata(stamps).map_or(0, |file| file.len()) < 3 * 16 || children_of(pid).len() > 1 {
        if child.try_wait().is_ok_and(|ended| ended.is_some()) {
            return Err("ended early".to_owned());
        }
        if begun.elapsed() > HUNG {
            return Err("did not reap them all".to_owned());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let times = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap_or_default();
    let on_cpu: Option<f64> = times.split_whitespace().next().and_then(|ns| ns.parse().ok());
    let on_cpu = on_cpu.ok_or("the kernel has no /proc/PID/schedstat")?;
    Ok((on_cpu / 1e6, of(&[pid])))
}
