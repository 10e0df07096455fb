//! monopod beside the best of the others, row by row: who does the same job and needs less, or does more, is named.

use crate::reap::Reaper;
use crate::report::{Metric, Row};
use crate::subject::Kind;

/// A figure of a row; less is better unless the table says otherwise.
type Figure = fn(&Row) -> Option<f64>;

fn kilobytes(value: u64) -> Option<f64> {
    (value > 0).then_some(value as f64)
}

const ROWS: &[(&str, Figure, bool)] = &[
    ("start to init", |row| row.median(Metric::Start), false),
    ("cycle", |row| row.median(Metric::Cycle), false),
    ("teardown", |row| row.median(Metric::Teardown), false),
    ("CPU a cycle", |row| row.median(Metric::Cpu), false),
    ("restart", |row| row.median(Metric::Restart), false),
    ("init killed to gone", |row| row.median(Metric::Kill), false),
    ("stop command", |row| row.median(Metric::Stop), false),
    ("RSS", |row| kilobytes(row.footprint.rss), false),
    ("private dirty memory", |row| kilobytes(row.footprint.dirty), false),
    ("file and libraries", |row| kilobytes(row.footprint.file + row.footprint.libraries), false),
    ("system calls", |row| row.calls.map(|calls| calls.all as f64), false),
    ("files opened", |row| row.calls.map(|calls| calls.opens as f64), false),
    ("console throughput", |row| Some(row.console?.rate), true),
    ("CPU of the console", |row| Some(row.console?.cpu), false),
    ("PSS each, many held", |row| row.held.map(|held| held.pss as f64), false),
];

/// The same of a process 1.
type ReaperFigure = fn(&Reaper) -> f64;

const REAPING: &[(&str, ReaperFigure)] = &[
    ("CPU to reap", |reaper| reaper.median()),
    ("RSS as process 1", |reaper| reaper.footprint.rss as f64),
    ("private dirty memory as process 1", |reaper| reaper.footprint.dirty as f64),
];

/// Our figure, the best peer's, and its name.
fn sentence(what: &str, own: f64, best: f64, name: &str, more: bool) -> String {
    let ratio = if more { own / best } else { best / own };
    let place = if ratio >= 1.0 { "ahead of" } else { "**behind**" };
    format!("- {what}: {place} the best, {name}, by {:.2}x.", if ratio >= 1.0 { ratio } else { 1.0 / ratio })
}

/// Prints one sentence for each row that monopod's default build shares with a peer.
pub fn print(rows: &[Row], reapers: &[Reaper]) {
    println!("## Beside the peers\n");
    println!(
        "monopod's default build and the best of all others but the floor, whatever these leave out. Where that is bwrap, which makes \
         no cgroup and no ptys: monopod without them, too.\n"
    );
    let is_peer = |row: &&Row| !matches!(row.subject.kind, Kind::Floor | Kind::Monopod);
    if let Some(own) = rows.iter().find(|row| row.subject.kind == Kind::Monopod) {
        for (what, figure, more) in ROWS {
            let better = |one: &f64, other: &f64| if *more { other.total_cmp(one) } else { one.total_cmp(other) };
            let others = rows.iter().filter(is_peer).filter_map(|row| Some((figure(row)?, row)));
            let best = others.min_by(|(one, _), (other, _)| better(one, other));
            if let (Some(own), Some((best, row))) = (figure(own), best) {
                println!("{}", sentence(what, own, best, row.subject.label, *more));
                let bare = rows.iter().find(|row| row.subject.is_bare()).and_then(figure);
                if let Some(bare) = bare.filter(|_| row.subject.kind == Kind::Bwrap) {
                    println!(
                        "{}",
                        sentence(&format!("{what}, without cgroup and ptys"), bare, best, row.subject.label, *more)
                    );
                }
            }
        }
    }
    let Some(own) = reapers.iter().find(|reaper| reaper.label.starts_with("monopod")) else { return println!() };
    for (what, figure) in REAPING {
        let others = reapers.iter().skip(1).filter(|reaper| reaper.label != own.label && !reaper.cpu.is_empty());
        let best =
            others.map(|reaper| (figure(reaper), reaper.label)).min_by(|(one, _), (other, _)| one.total_cmp(other));
        if let Some((best, name)) = best.filter(|_| !own.cpu.is_empty()) {
            println!("{}", sentence(what, figure(own), best, name, false));
        }
    }
    println!();
}
