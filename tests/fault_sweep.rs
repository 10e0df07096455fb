//! The whole sweep of faults: each system call of a start, a restart, a stop, a running container's supervisor and an attach
//! fails with each errno that the kernel could answer, falls short, comes late, or its process is killed there. `make faults`
//! runs all of it and prints a table; every tenth point runs with the other tests. What a point must come to is in `judge`.
//!
//! MONOPOD_SWEEP="Stop: files,Attach" tries only the phases and classes whose titles contain one of these.

mod classes;
mod judge;
mod phases;
mod session;

use crate::support::injector::{self, Call, Fault};
use classes::CLASSES;
use judge::Verdict;
use phases::Phase;
use session::Session;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

/// One run: what happens in it, and where.
pub type Point = Vec<(Call, Fault)>;

/// What came of a class in a phase.
#[derive(Default)]
struct Row {
    points: usize,
    unchanged: usize,
    refused: usize,
    not_reached: usize,
    wrong: Vec<String>,
}

impl Row {
    fn add(&mut self, point: &Point, verdict: &Verdict) {
        self.points += 1;
        match verdict {
            Verdict::Unchanged => self.unchanged += 1,
            Verdict::Refused => self.refused += 1,
            Verdict::NotReached => self.not_reached += 1,
            Verdict::Wrong(_) => {}
        }
        self.wrong.extend(verdict.complaint(point));
    }

    fn join(&mut self, other: Row) {
        self.points += other.points;
        self.unchanged += other.unchanged;
        self.refused += other.refused;
        self.not_reached += other.not_reached;
        self.wrong.extend(other.wrong);
    }

    fn print(&self, title: &str) {
        let Row { points, unchanged, refused, not_reached, wrong } = self;
        println!("| {title:24} | {points:6} | {unchanged:9} | {refused:7} | {not_reached:11} | {:5} |", wrong.len());
    }
}

/// Runs all points on several guests at once; most of a start is waiting.
fn run_all(phase: Phase, points: &[(usize, Point)], rows: &mut [Row]) {
    let workers = std::thread::available_parallelism().map_or(2, usize::from) * 2;
    let next = AtomicUsize::new(0);
    let rows = Mutex::new(rows);
    std::thread::scope(|scope| {
        for _ in 0..workers.min(points.len()) {
            scope.spawn(|| {
                let guest = phase.guest();
                let mut session = Session::open(phase, &guest);
                while let Some((class, point)) = points.get(next.fetch_add(1, Relaxed)) {
                    let verdict = session.verdict(point);
                    rows.lock().unwrap()[*class].add(point, &verdict);
                }
                if let Some(problem) = session.close() {
                    rows.lock().unwrap()[0].add(&Vec::new(), &Verdict::Wrong(problem));
                }
            });
        }
    });
}

/// About each `step`th point of each class in each phase that is wanted.
fn sweep(step: usize) {
    let wanted = std::env::var("MONOPOD_SWEEP").unwrap_or_default();
    let wanted = |title: &str| wanted.is_empty() || wanted.split(',').any(|word| title.contains(word));
    println!("| phase: class             | points | unchanged | refused | not reached | wrong |");
    println!("|--------------------------|--------|-----------|---------|-------------|-------|");
    let mut all = Row::default();
    for phase in Phase::ALL.iter().copied() {
        let begin = Instant::now();
        let titles = CLASSES.each_ref().map(|class| format!("{phase:?}: {}", class.name));
        if !titles.iter().any(|title| wanted(title)) {
            continue;
        }
        let calls = phase.calls();
        let mut points = Vec::new();
        for (number, class) in CLASSES.iter().enumerate().filter(|(number, _)| wanted(&titles[*number])) {
            points.extend(class.points(phase, &calls, step).into_iter().map(|point| (number, point)));
        }
        let mut rows = CLASSES.each_ref().map(|_| Row::default());
        run_all(phase, &points, &mut rows);
        for (row, title) in rows.into_iter().zip(titles).filter(|(row, _)| row.points > 0) {
            row.print(&title);
            all.join(row);
        }
        println!("{phase:?}: {} calls, {} points, {:.0} s", calls.len(), points.len(), begin.elapsed().as_secs_f64());
    }
    all.print("all");
    assert!(all.wrong.is_empty() && all.points > 0, "{} wrong:\n{}", all.wrong.len(), all.wrong.join("\n"));
}

#[test]
#[ignore = "takes long: make faults"]
fn sweep_of_faults_is_all_or_nothing() {
    if injector::available("sweep_of_faults_is_all_or_nothing") {
        sweep(1);
    }
}

#[test]
fn sample_of_faults_is_all_or_nothing() {
    if injector::available("sample_of_faults_is_all_or_nothing") {
        sweep(10);
    }
}
