//! What was measured, and the Markdown tables made of it.

use crate::console::Console;
use crate::crowd::{Asked, Crowd, PHASES};
use crate::footprint::Footprint;
use crate::held::Held;
use crate::options::Options;
use crate::place::Place;
use crate::reap::Reaper;
use crate::subject::Subject;
use crate::trace::Calls;

/// The times that are sampled in each round, in ms.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// Start to init's first instruction.
    Start,
    /// Start to supervisor gone, with an init that exits at once.
    Cycle,
    /// Init's exit to supervisor gone.
    Teardown,
    /// CPU time of a cycle, init's included.
    Cpu,
    /// Reboot inside to the next init's first instruction.
    Restart,
    /// SIGKILL to init until the supervisor is gone.
    Kill,
    /// The stop command's start until it and the supervisor are gone.
    Stop,
}

const TIMES: [(Metric, &str); 7] = [
    (Metric::Start, "start to init"),
    (Metric::Cycle, "cycle"),
    (Metric::Teardown, "teardown"),
    (Metric::Cpu, "CPU a cycle"),
    (Metric::Restart, "restart"),
    (Metric::Kill, "init killed to gone"),
    (Metric::Stop, "stop command"),
];

/// All that is known of one subject.
pub struct Row {
    /// The subject.
    pub subject: Subject,
    /// Idle figures.
    pub footprint: Footprint,
    /// System calls of a cycle.
    pub calls: Option<Calls>,
    /// Console throughput.
    pub console: Option<Console>,
    /// Many at once.
    pub held: Option<Held>,
    /// Inits that ended at once, hangs among them, cgroups left.
    pub exits: Option<(usize, usize, usize)>,
    /// A crowd at its socket.
    pub crowd: Option<Crowd>,
    order: usize,
    samples: Vec<(Metric, f64)>,
    failures: Vec<(String, usize)>,
}

impl Row {
    /// A subject of which nothing is known yet, at its place in the tables.
    pub fn new((order, subject): (usize, Subject)) -> Self {
        Row {
            subject,
            footprint: Footprint::default(),
            calls: None,
            console: None,
            held: None,
            exits: None,
            crowd: None,
            order,
            samples: Vec::new(),
            failures: Vec::new(),
        }
    }

    /// Its place in the tables.
    pub fn order(&self) -> usize {
        self.order
    }

    /// Keeps a sample.
    pub fn sample(&mut self, metric: Metric, value: f64) {
        self.samples.push((metric, value));
    }

    /// Keeps a failure, and clears its cgroups out of the next start's way.
    pub fn failed(&mut self, place: &Place, part: &str, reason: &str) {
        eprintln!("\nbench: {}: {part}: {reason}", self.subject.label);
        let told = format!("{part}: {reason}");
        match self.failures.iter_mut().find(|(before, _)| *before == told) {
            Some((_, times)) => *times += 1,
            None => self.failures.push((told, 1)),
        }
        place.sweep(self.subject.name());
    }

    /// How often it failed so far.
    pub fn failures(&self) -> usize {
        self.failures.iter().map(|(_, times)| times).sum()
    }

    fn sorted(&self, metric: Metric) -> Vec<f64> {
        sorted(self.samples.iter().filter(|(of, _)| *of == metric).map(|(_, value)| *value))
    }

    /// The median of a metric.
    pub fn median(&self, metric: Metric) -> Option<f64> {
        at(&self.sorted(metric), 0.5)
    }
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The value at a part of the way through a sorted list, between two neighbours where it falls there.
fn at(sorted: &[f64], part: f64) -> Option<f64> {
    let place = sorted.len().checked_sub(1)? as f64 * part;
    let (low, high) = (sorted.get(place.floor() as usize)?, sorted.get(place.ceil() as usize)?);
    Some(low + (high - low) * place.fract())
}

/// The median; not a number for an empty list.
pub fn median(values: &[f64]) -> f64 {
    at(&sorted(values.iter().copied()), 0.5).unwrap_or(f64::NAN)
}

/// The floor's row.
pub fn floor(rows: &[Row]) -> Option<&Row> {
    rows.iter().find(|row| row.subject.is_floor())
}

fn time_cell(row: &Row, floor: &Row, metric: Metric) -> String {
    let samples = row.sorted(metric);
    let (Some(low), Some(median), Some(high)) = (at(&samples, 0.25), at(&samples, 0.5), at(&samples, 0.75)) else {
        return "-".to_owned();
    };
    let spread = format!("{median:.2} ms, {low:.2}..{high:.2}");
    match floor.median(metric) {
        Some(base) if !row.subject.is_floor() => format!("**{:.2}x** ({spread})", median / base),
        _ => spread,
    }
}

/// A count with its ratio to the floor's.
fn count_cell(value: u64, base: u64, row: &Row) -> String {
    if row.subject.is_floor() || base == 0 {
        value.to_string()
    } else {
        format!("{value} ({:.1}x)", value as f64 / base as f64)
    }
}

fn table(head: &[&str], rows: &[Row], cells: impl Fn(&Row) -> Vec<String>) {
    println!("| tool | {} |\n|---|{}", head.join(" | "), "---|".repeat(head.len()));
    for row in rows {
        println!("| {} | {} |", row.subject.label, cells(row).join(" | "));
    }
    println!();
}

/// Prints the tables.
pub fn print(rows: &[Row], options: &Options) {
    let Some(floor) = floor(rows) else { return };
    let rounds = options.rounds;
    println!("## Times\n");
    println!(
        "Medians of {rounds} interleaved rounds and their quartiles, each start after 0.12 s of rest; the ratio to the floor is in bold.\n"
    );
    let names: Vec<&str> = TIMES.iter().map(|(_, name)| *name).collect();
    table(&names, rows, |row| TIMES.iter().map(|(metric, _)| time_cell(row, floor, *metric)).collect());

    println!("## Footprint\n");
    println!(
        "One idle container; wake-ups in 3 s; system calls and opened files of one cycle without the container's init.\n"
    );
    let head = [
        "RSS kB",
        "private dirty kB",
        "PSS kB",
        "processes",
        "descriptors",
        "wake-ups",
        "file + libraries kB",
        "system calls",
        "files opened",
    ];
    table(&head, rows, |row| {
        let (own, base) = (&row.footprint, &floor.footprint);
        let (calls, base_calls) = (row.calls.unwrap_or_default(), floor.calls.unwrap_or_default());
        vec![
            count_cell(own.rss, base.rss, row),
            count_cell(own.dirty, base.dirty, row),
            own.pss.to_string(),
            own.processes.to_string(),
            own.fds.to_string(),
            own.switches.to_string(),
            format!("{} + {}", own.file.div_ceil(1000), own.libraries.div_ceil(1000)),
            count_cell(calls.all as u64, base_calls.all as u64, row),
            count_cell(calls.opens as u64, base_calls.opens as u64, row),
        ]
    });

    println!("## Console and many containers\n");
    let megabytes = options.console_bytes / 1_000_000;
    println!(
        "{megabytes} MB from init to /dev/console, relayed to a file (in lines of 80; medians of seven passes); {} containers held at once.\n",
        options.held
    );
    let head = ["console MB/s", "CPU s for 100 MB", "bytes lost", "PSS kB each, held", "last starts to first"];
    table(&head, rows, |row| {
        let dash = || "-".to_owned();
        let rate = |c: Console| match floor.console {
            Some(base) if !row.subject.is_floor() => format!("{:.0} ({:.2}x)", c.rate, c.rate / base.rate),
            _ => format!("{:.0}", c.rate),
        };
        vec![
            row.console.map_or_else(dash, rate),
            row.console.map_or_else(dash, |c| format!("{:.2}", c.cpu * 100.0 / megabytes as f64 / 1e3)),
            row.console.map_or_else(dash, |c| c.lost.to_string()),
            row.held.map_or_else(dash, |h| h.pss.to_string()),
            row.held.map_or_else(dash, |h| format!("{:.2}x", h.slowdown)),
        ]
    });
    if options.questions > 0 {
        crowds(rows);
    }
    for row in rows {
        for (failure, times) in &row.failures {
            println!("{}, {failure} ({times} times).\n", row.subject.label);
        }
    }
}

/// Prints the table of processes 1.
pub fn reapers(reapers: &[Reaper], count: usize) {
    let Some(floor) = reapers.first() else { return };
    println!("## Process 1 for one command\n");
    println!(
        "CPU to reap {count} orphans (median and range of three passes), and what it holds behind them; the floor is a loop \
         around wait(2).\n"
    );
    println!("| tool | CPU | RSS kB | private dirty kB | file + libraries kB |\n|---|---|---|---|---|");
    for reaper in reapers {
        let times = sorted(reaper.cpu.iter().copied());
        let own = &reaper.footprint;
        let (Some(low), Some(high)) = (times.first(), times.last()) else { continue };
        println!(
            "| {} | **{:.2}x** ({:.1} ms, {low:.1}..{high:.1}) | {} | {} | {} + {} |",
            reaper.label,
            reaper.median() / floor.median(),
            reaper.median(),
            own.rss,
            own.dirty,
            own.file.div_ceil(1000),
            own.libraries.div_ceil(1000),
        );
    }
    println!();
    for (label, reason) in reapers.iter().filter_map(|reaper| Some((reaper.label, reaper.failure.as_ref()?))) {
        println!("{label}, reaping: {reason}.\n");
    }
}

fn asked_cell(asked: &Asked) -> String {
    let times = sorted(asked.times.iter().copied());
    let (Some(median), Some(late), Some(last)) = (at(&times, 0.5), at(&times, 0.99), times.last()) else {
        return format!("{} without an answer", asked.failed);
    };
    let failed = if asked.failed > 0 { format!(", {} without an answer", asked.failed) } else { String::new() };
    format!("{median:.2}, **{late:.2}**, {last:.2}{failed} (of {})", asked.times.len() + asked.failed)
}

fn crowds(rows: &[Row]) {
    println!("## A crowd of clients\n");
    println!(
        "ms from connect to answer of GET_STATE, and of a whole `info -s`, while clients do what the row says: median, 99th percentile, maximum.\n"
    );
    println!("| tool | meanwhile | GET_STATE | info -s |\n|---|---|---|---|");
    let with = || rows.iter().filter_map(|row| row.crowd.as_ref().map(|crowd| (row.subject.label, crowd)));
    for (label, crowd) in with() {
        for (phase, [state, info]) in PHASES.iter().zip(&crowd.phases) {
            println!("| {label} | {phase} | {} | {} |", asked_cell(state), asked_cell(info));
        }
    }
    println!("\nWhat the supervisor holds before, after one such crowd, and after a second one.\n");
    println!("| tool | RSS kB | private dirty kB | descriptors |\n|---|---|---|---|");
    for (label, crowd) in with() {
        let [before, once, twice] = crowd.kept;
        let cells: Vec<String> =
            before.iter().zip(once).zip(twice).map(|((a, b), c)| format!("{a}, {b}, {c}")).collect();
        println!("| {label} | {} |", cells.join(" | "));
    }
    println!();
}
