//! `make bench`: one run that starts, stops, restarts and holds a container under every tool, and divides by the floor.
//!
//! The order of a run, each step in the file of its name:
//! 1. `place`: a private mount namespace, a container rootfs on a tmpfs, two views of the cgroup hierarchies
//! 2. `subject`: which tools are here, and the command lines that make each do the same work
//! 3. `latency`: interleaved rounds, each start after a pause (`parts` are what is timed, `life` runs one container, `stamps`
//!    are the clocks)
//! 4. `footprint`: idle memory, descriptors, wake-ups, sizes; `trace`: system calls and files opened; `profile`: where a
//!    cycle's time goes
//! 5. `console`: what init writes to /dev/console, relayed to a file; `held`: many containers at once;
//!    `crowd`: many clients at the command socket; `reap`: orphans left to process 1
//! 6. `machine` and `report`: what it ran on and the tables in Markdown; `goals`: one sentence for each goal; `peers`: one for
//!    each row that somebody else has as well
//!
//! Nothing here asserts a time: a machine's milliseconds are its own, only ratios of one run are worth comparing.

mod console;
mod crowd;
mod footprint;
mod goals;
mod held;
mod latency;
mod life;
mod machine;
mod oci;
mod options;
mod parts;
mod peers;
mod place;
mod profile;
mod reap;
mod report;
mod stamps;
mod subject;
mod trace;

use std::process::ExitCode;

fn main() -> ExitCode {
    match options::Options::from_args().and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("bench: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &options::Options) -> Result<(), String> {
    place::close_inherited();
    let machine = machine::sentence();
    let mut subjects = subject::present()?;
    let place = place::Place::enter()?;
    subject::keep_working(&place, &mut subjects);
    if !subjects.iter().any(subject::Subject::is_floor) {
        return Err("the floor program does not run here, so there is nothing to divide by".to_owned());
    }

    let mut results: Vec<report::Row> = subjects.into_iter().enumerate().map(report::Row::new).collect();
    latency::measure(&place, &mut results, options.rounds);
    footprint::measure(&place, &mut results);
    trace::measure(&place, &mut results);
    console::measure(&place, &mut results, options.console_bytes);
    if options.held > 0 {
        held::measure(&place, &mut results, options.held);
    }
    if options.exits > 0 {
        held::many_exits(&place, &mut results, options.exits);
    }

    if options.questions > 0 {
        crowd::measure(&place, &mut results, options.questions);
    }

    let reapers = if options.orphans > 0 { reap::measure(&place, &results, options.orphans) } else { Vec::new() };

    println!("{machine}\n");
    report::print(&results, options);
    profile::print(&place, &results);
    report::reapers(&reapers, options.orphans);
    peers::print(&results, &reapers);
    goals::print(&results, &reapers, place.further_hierarchies());
    place.left_behind(&results)
}
