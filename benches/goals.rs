//! The goals, one sentence each: what was measured, which landing it reaches, what is missing.

use crate::place::View;
use crate::reap::Reaper;
use crate::report::{Metric, Row, floor};
use crate::subject::{Build, Kind};
use crate::trace::Calls;

/// The rows that a figure may be compared with.
struct Others<'a> {
    floor: &'a Row,
    lxc: Option<&'a Row>,
    /// monopod's default build with all hierarchies, and how many these are beside `cpu`.
    everywhere: Option<&'a Row>,
    further: usize,
    /// monopod as process 1 for one command, over the floor; the default build only.
    reaping: Option<f64>,
}

/// How a goal's figure is made of the subject's row and others.
type Figure = fn(&Row, &Others<'_>) -> Option<f64>;

/// One row of the goals: a first landing, and where it is going.
struct Goal {
    what: &'static str,
    unit: &'static str,
    figure: Figure,
    /// The first landing: the default build's and the small one's.
    first: [f64; 2],
    /// Where it is going; none where the goal is the other build's.
    aim: [Option<f64>; 2],
    /// Whether more is better.
    more: bool,
}

const fn ratio(what: &'static str, figure: Figure, first: f64, aim: f64) -> Goal {
    Goal { what, unit: "x the floor", figure, first: [first, first], aim: [Some(aim), Some(aim)], more: false }
}

const fn count(what: &'static str, unit: &'static str, figure: Figure, first: f64, aim: f64) -> Goal {
    Goal { what, unit, figure, first: [first, first], aim: [Some(aim), Some(aim)], more: false }
}

fn times(row: &Row, others: &Others<'_>, metric: Metric) -> Option<f64> {
    Some(row.median(metric)? / others.floor.median(metric)?)
}

fn kilobytes(value: u64) -> Option<f64> {
    (value > 0).then_some(value as f64)
}

/// What one more hierarchy adds to a count; only the default build is measured with all of them.
fn further(row: &Row, others: &Others<'_>, of: fn(Calls) -> usize) -> Option<f64> {
    let everywhere = others.everywhere.filter(|other| other.subject.program == row.subject.program)?;
    Some((of(everywhere.calls?) as f64 - of(row.calls?) as f64) / others.further as f64)
}

const GOALS: &[Goal] = &[
    ratio("start to init's first instruction", |r, o| times(r, o, Metric::Start), 1.5, 1.2),
    ratio("start-exit-cleaned cycle", |r, o| times(r, o, Metric::Cycle), 1.4, 1.2),
    ratio("restart", |r, o| times(r, o, Metric::Restart), 1.5, 1.15),
    ratio("init killed to supervisor gone", |r, o| times(r, o, Metric::Kill), 1.3, 1.1),
    ratio("stop command", |r, o| times(r, o, Metric::Stop), 1.5, 1.2),
    ratio("CPU per cycle", |r, o| times(r, o, Metric::Cpu), 1.5, 1.25),
    Goal { aim: [None, Some(150.0)], ..count("idle RSS", " kB", |r, _| kilobytes(r.footprint.rss), 400.0, 150.0) },
    Goal {
        aim: [None, Some(32.0)],
        ..count("idle private dirty", " kB", |r, _| kilobytes(r.footprint.dirty), 48.0, 32.0)
    },
    Goal {
        what: "file size",
        unit: " kB",
        figure: |r, _| kilobytes((r.footprint.file + r.footprint.libraries).div_ceil(1000)),
        first: [600.0, 350.0],
        aim: [None, Some(250.0)],
        more: false,
    },
    count("files opened in a cycle", "", |r, _| r.calls.map(|c| c.opens as f64), 20.0, 16.0),
    count("system calls in a cycle", "", |r, _| r.calls.map(|c| c.all as f64), 150.0, 120.0),
    count("files opened for each further hierarchy", "", |r, o| further(r, o, |calls| calls.opens), 3.0, 3.0),
    count("system calls for each further hierarchy", "", |r, o| further(r, o, |calls| calls.all), 14.0, 14.0),
    count("idle wake-ups", "", |r, _| kilobytes(r.footprint.rss).map(|_| r.footprint.switches as f64), 0.0, 0.0),
    Goal { more: true, ..ratio("console throughput", |r, o| Some(r.console?.rate / o.floor.console?.rate), 1.1, 1.36) },
    count("console bytes lost", "", |r, _| r.console.map(|c| c.lost as f64), 0.0, 0.0),
    count("console CPU", "x lxc-start's", |r, o| Some(r.console?.cpu / o.lxc?.console?.cpu), 1.0, 1.0),
    count("PSS each, many held", " kB", |r, _| r.held.map(|h| h.pss as f64), 60.0, 35.0),
    count("start with many held", "x the first starts", |r, _| r.held.map(|h| h.slowdown), 1.3, 1.1),
    ratio("CPU to reap orphans", |r, o| o.reaping.filter(|_| r.subject.build == Some(Build::Default)), 1.15, 1.0),
    count("hangs of inits that exit at once", "", |r, _| r.exits.map(|(_, hangs, _)| hangs as f64), 0.0, 0.0),
    count("cgroups left by them", "", |r, _| r.exits.map(|(_, _, left)| left as f64), 0.0, 0.0),
];

/// A figure without needless decimals.
fn number(value: f64, unit: &str) -> String {
    if unit.starts_with('x') { format!("{value:.2}{unit}") } else { format!("{value:.0}{unit}") }
}

/// How a figure stands to a mark.
fn verdict(value: f64, mark: f64, goal: &Goal) -> String {
    let missing = if goal.more { mark - value } else { value - mark };
    let short = goal.unit.get(..1).filter(|unit| *unit == "x").unwrap_or(goal.unit);
    let told = number(mark, short);
    // What the sentence shows rounded is also judged rounded.
    let smallest = if short == "x" { 0.005 } else { 0.5 };
    if missing < smallest { format!("{told} reached") } else { format!("{told} missed by {}", number(missing, short)) }
}

/// Prints one sentence for each goal and build.
pub fn print(rows: &[Row], reapers: &[Reaper], further: usize) {
    let Some(floor) = floor(rows) else { return };
    let lxc = rows.iter().find(|row| row.subject.kind == Kind::Lxc);
    let everywhere = rows.iter().find(|row| row.subject.kind == Kind::Monopod && row.subject.view == View::AsFound);
    let reaping = reapers.first().zip(reapers.iter().find(|one| one.label.starts_with("monopod")));
    let reaping = reaping.map(|(floor, own)| own.median() / floor.median());
    let others = Others { floor, lxc, everywhere, further, reaping };
    println!("## Goals\n");
    if !rows.iter().any(|row| row.subject.build.is_some()) {
        println!("monopod was not measured.");
    }
    for row in rows {
        let Some(build) = row.subject.build else { continue };
        for goal in GOALS {
            println!("- {}, {}: {}.", row.subject.label, goal.what, stand(goal, build, row, &others));
        }
    }
}

/// Where a build stands to a goal.
fn stand(goal: &Goal, build: Build, row: &Row, others: &Others<'_>) -> String {
    let Some(value) = (goal.figure)(row, others).filter(|value| value.is_finite()) else {
        return "not measured in this run".to_owned();
    };
    let ([first, first_small], [aim, aim_small]) = (goal.first, goal.aim);
    let (first, aim) = if build == Build::Default { (first, aim) } else { (first_small, aim_small) };
    let aim = aim.map_or(String::new(), |aim| format!(", goal {}", verdict(value, aim, goal)));
    format!("{}; first landing {}{aim}", number(value, goal.unit), verdict(value, first, goal))
}
