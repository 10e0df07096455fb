//! Many containers: held at once, and many that end at once.

use crate::footprint;
use crate::life::{self, Life, Mode};
use crate::place::Place;
use crate::report::{Row, median};
use crate::subject::Subject;
use std::process::Stdio;
use std::time::Duration;

/// Samples at each end of the row of starts.
const ENDS: usize = 10;

/// What holding many costs.
#[derive(Clone, Copy)]
pub struct Held {
    /// The median start of the last ten over that of the first ten behind the first.
    pub slowdown: f64,
    /// Proportional share of one supervisor, in kB.
    pub pss: u64,
}

/// Starts `count` containers of each subject back to back and ends them again. All hierarchies are left out
/// where that is possible: the question is whether starts get slower, not what a hierarchy costs.
pub fn measure(place: &Place, rows: &mut [Row], count: usize) {
    for row in rows.iter_mut().filter(|row| row.subject.is_held()) {
        eprint!("\rbench: holding {count} of {:<30}", row.subject.label);
        let mut held = Vec::new();
        match hold(place, &row.subject, count, &mut held) {
            Ok(figures) => row.held = Some(figures),
            Err(reason) => row.failed(place, "held", &reason),
        }
        let killed: Vec<bool> = held.iter().map(|life| life.kill_init().is_ok()).collect();
        for (number, (mut life, killed)) in held.into_iter().zip(killed).enumerate() {
            if !killed || life.gone().is_err() {
                life.give_up();
            }
            place.sweep(&numbered(&row.subject, number));
        }
    }
    eprintln!();
}

fn numbered(subject: &Subject, number: usize) -> String {
    format!("{}n{number}", subject.name())
}

fn hold(place: &Place, subject: &Subject, count: usize, held: &mut Vec<Life>) -> Result<Held, String> {
    let mut starts = Vec::new();
    for number in 0..count {
        let mut life =
            life::begin(place, subject, &numbered(subject, number), Mode::Hold, Stdio::null(), Duration::ZERO)?;
        let begun = life.lives(place, 1);
        starts.push(life.start(place));
        held.push(life);
        begun?;
    }
    let pss: u64 = held.iter().map(footprint::pss).sum();
    let early: Vec<f64> = starts.iter().skip(1).take(ENDS).copied().collect();
    let late: Vec<f64> = starts.iter().rev().take(ENDS).copied().collect();
    Ok(Held { slowdown: median(&late) / median(&early), pss: pss / count.max(1) as u64 })
}

/// Runs `count` inits that exit at once under monopod, back to back, and counts hangs and cgroups left.
pub fn many_exits(place: &Place, rows: &mut [Row], count: usize) {
    for row in rows.iter_mut().filter(|row| row.subject.build.is_some()) {
        eprintln!("bench: {count} inits that exit at once under {}", row.subject.label);
        let (mut hangs, mut left) = (0, 0);
        for _ in 0..count {
            let ended = life::begin(place, &row.subject, row.subject.name(), Mode::Exit, Stdio::null(), Duration::ZERO)
                .and_then(|mut life| life.gone());
            hangs += usize::from(ended.is_err());
            left += place.sweep(row.subject.name());
        }
        row.exits = Some((count, hangs, left));
    }
}
