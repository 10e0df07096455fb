//! The interleaved rounds: each round runs every subject once through each part, so that whatever else the machine does
//! meanwhile falls on all of them.

use crate::parts;
use crate::place::Place;
use crate::report::{Metric, Row};

/// A subject that failed so often is not tried again: a hang costs 20 s each time.
const HOPELESS: usize = 5;

/// Runs the rounds. A failure is counted for its subject, told, and does not end the run.
pub fn measure(place: &Place, rows: &mut [Row], rounds: usize) {
    for round in 1..=rounds {
        eprint!("\rbench: round {round} of {rounds} ");
        for row in rows.iter_mut().filter(|row| row.failures() < HOPELESS) {
            one(place, row);
        }
        rows.rotate_left(1); // nobody always follows the same neighbour
    }
    eprintln!();
    rows.sort_by_key(|row| row.order());
}

fn one(place: &Place, row: &mut Row) {
    match parts::exit_at_once(place, &row.subject) {
        Ok([start, cycle, teardown, cpu]) => {
            row.sample(Metric::Start, start);
            row.sample(Metric::Cycle, cycle);
            row.sample(Metric::Teardown, teardown);
            row.sample(Metric::Cpu, cpu);
        }
        Err(reason) => row.failed(place, "cycle", &reason),
    }
    match parts::restart_and_kill(place, &row.subject) {
        Ok([restart, kill]) => {
            if row.subject.restarts() {
                row.sample(Metric::Restart, restart);
            }
            row.sample(Metric::Kill, kill);
        }
        Err(reason) => row.failed(place, "restart and kill", &reason),
    }
    match parts::stop(place, &row.subject) {
        Ok(stop) => row.sample(Metric::Stop, stop),
        Err(reason) => row.failed(place, "stop", &reason),
    }
}
