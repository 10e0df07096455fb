//! The parts that are timed: what one container goes through, from the driver's side.

use crate::life::{COOL, Mode, begin, begin_cold, complaint, run};
use crate::place::Place;
use crate::stamps::{children_cpu, ms, now, stamps};
use crate::subject::Subject;
use std::fs::{self, File};
use std::process::Stdio;
use std::time::Duration;

/// A whole cycle with an init that exits at once: start, cycle, teardown and CPU, each in ms.
pub fn exit_at_once(place: &Place, subject: &Subject) -> Result<[f64; 4], String> {
    let before = children_cpu();
    let mut life = begin_cold(place, subject, Mode::Exit)?;
    let (status, gone) = life.gone()?;
    let stamps = stamps(place);
    match (stamps.first.first(), stamps.last.first()) {
        (Some(first), Some(last)) => {
            Ok([ms(life.started, *first), ms(life.started, gone), ms(*last, gone), children_cpu() - before])
        }
        _ => Err(complaint(place, &format!("init did not run, {status}"))),
    }
}

/// A reboot asked for by init, then SIGKILL to init: restart and kill-to-gone, each in ms. Restart is 0 for a tool that
/// has none.
pub fn restart_and_kill(place: &Place, subject: &Subject) -> Result<[f64; 2], String> {
    let (mode, lives) = if subject.restarts() { (Mode::Restart, 2) } else { (Mode::Hold, 1) };
    let mut life = begin_cold(place, subject, mode)?;
    life.lives(place, lives)?;
    std::thread::sleep(COOL);
    let stamps = stamps(place);
    let killed = now();
    life.kill_init()?;
    let (_, gone) = life.gone()?;
    let restart = stamps.last.first().zip(stamps.first.get(1)).map_or(0.0, |(end, begin)| ms(*end, *begin));
    Ok([restart, ms(killed, gone)])
}

/// The stop command, its exec included, until both it and the supervisor are gone, in ms.
pub fn stop(place: &Place, subject: &Subject) -> Result<f64, String> {
    let mut life = begin_cold(place, subject, Mode::Hold)?;
    life.lives(place, 1)?;
    let mut command = subject.stop(place, life.init()?);
    std::thread::sleep(COOL);
    let (status, started, stopped) = run(place, subject, &mut command)?;
    if !status.success() {
        life.give_up();
        return Err(complaint(place, &format!("the stop command failed, {status}")));
    }
    let (_, gone) = life.gone()?;
    Ok(ms(started, gone.max(stopped)))
}

/// Init writes `bytes` to its console, which ends in the place's file `console`: init's time for it in ms, the
/// supervisor's CPU in ms, and the bytes that arrived.
pub fn spew(place: &Place, subject: &Subject, bytes: u64) -> Result<(f64, f64, u64), String> {
    let path = place.file("console");
    let file = File::create(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let before = children_cpu();
    let stdout = if subject.relays_to_stdout() { file.into() } else { Stdio::null() };
    let mut life = begin(place, subject, subject.name(), Mode::Spew(bytes), stdout, Duration::ZERO)?;
    life.gone()?;
    let stamps = stamps(place);
    let (Some(first), Some(last)) = (stamps.first.first(), stamps.last.first()) else {
        return Err(complaint(place, "init did not run"));
    };
    let own = stamps.cpu.first().copied().unwrap_or(0);
    // The tty adds a carriage return to each line, unless somebody made it raw.
    let arrived = fs::read(&path).unwrap_or_default().iter().filter(|byte| **byte != b'\r').count() as u64;
    let _ = fs::remove_file(&path);
    Ok((ms(*first, *last), children_cpu() - before - own as f64 / 1e6, arrived))
}
