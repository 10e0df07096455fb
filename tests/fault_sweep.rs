//! The whole sweep of faults: each system call of a start, a restart, a stop, a running container's supervisor and an attach
//! fails with each errno that the kernel could answer, falls short, comes late, or its process is killed there. `make faults`
//! runs all of it and prints a table; a thin sample runs with the other tests. What a point must come to is in `judge`.
//!
//! MONOPOD_SWEEP="stop:files" tries only the phases and classes whose `PHASE:CLASS` contains one of its words.

mod classes;
mod judge;
mod phases;

use crate::support::injector::{self, Call, Fault};
use classes::CLASSES;
use judge::Verdict;
use phases::{Phase, Session};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

/// One run: what happens in it, and where.
pub type Point = Vec<(Call, Fault)>;

/// What came of one phase and class.
struct Row {
    title: String,
    verdicts: Vec<(Point, Verdict)>,
    seconds: f64,
}

impl Row {
    fn count(&self, which: impl Fn(&Verdict) -> bool) -> usize {
        self.verdicts.iter().filter(|(_, verdict)| which(verdict)).count()
    }

    fn print(&self) {
        let unchanged = self.count(|verdict| matches!(verdict, Verdict::Unchanged));
        let refused = self.count(|verdict| matches!(verdict, Verdict::Refused));
        let missed = self.count(|verdict| matches!(verdict, Verdict::NotReached));
        let wrong = self.count(|verdict| matches!(verdict, Verdict::Wrong(_)));
        let Row { title, verdicts, seconds } = self;
        println!("{title:28} {:7} {unchanged:9} {refused:7} {missed:11} {wrong:5} {seconds:7.1}", verdicts.len());
    }
}

/// Runs all points on several guests at once; most of a start is waiting.
fn run_all(phase: Phase, title: String, points: Vec<Point>) -> Row {
    let begin = Instant::now();
    let workers = std::thread::available_parallelism().map_or(2, usize::from) * 2;
    let next = AtomicUsize::new(0);
    let verdicts = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..workers.min(points.len()) {
            scope.spawn(|| {
                let guest = phase.guest();
                let mut session = Session::open(phase, &guest);
                while let Some(point) = points.get(next.fetch_add(1, Relaxed)) {
                    let verdict = session.verdict(point);
                    verdicts.lock().unwrap().push((point.clone(), verdict));
                }
                if let Some(problem) = session.close() {
                    verdicts.lock().unwrap().push((Vec::new(), Verdict::Wrong(problem)));
                }
            });
        }
    });
    Row { title, verdicts: verdicts.into_inner().unwrap(), seconds: begin.elapsed().as_secs_f64() }
}

/// Each `step`th point of each class in each phase that is wanted.
fn sweep(step: usize) {
    let wanted = std::env::var("MONOPOD_SWEEP").unwrap_or_default();
    let wanted = |title: &str| wanted.is_empty() || wanted.split(' ').any(|word| title.contains(word));
    println!(
        "{:28} {:>7} {:>9} {:>7} {:>11} {:>5} {:>7}",
        "", "points", "unchanged", "refused", "not reached", "wrong", "s"
    );
    let mut rows = Vec::new();
    for phase in Phase::ALL {
        if !CLASSES.iter().any(|class| wanted(&format!("{phase:?}:{}", class.name))) {
            continue;
        }
        let calls = phase.calls();
        for class in &CLASSES {
            let title = format!("{phase:?}:{}", class.name);
            let points: Vec<_> =
                class.points(phase, &calls).into_iter().skip(rows.len() % step).step_by(step).collect();
            if wanted(&title) && !points.is_empty() {
                let row = run_all(phase, title, points);
                row.print();
                rows.push(row);
            }
        }
    }
    let all = Row {
        title: "all".into(),
        seconds: rows.iter().map(|row| row.seconds).sum(),
        verdicts: rows.into_iter().flat_map(|row| row.verdicts).collect(),
    };
    all.print();
    let wrong: Vec<_> = all.verdicts.iter().filter_map(|(point, verdict)| verdict.complaint(point)).collect();
    assert!(wrong.is_empty() && !all.verdicts.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
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
        sweep(100);
    }
}
