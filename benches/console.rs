//! The console's throughput: init writes as fast as it can, the supervisor relays to a file, nothing may be lost.

use crate::parts;
use crate::place::Place;
use crate::report::Row;

/// What came through.
#[derive(Clone, Copy)]
pub struct Console {
    /// 10^6 bytes in a second, by init's clock.
    pub rate: f64,
    /// The supervisor's CPU, in ms for all of it.
    pub cpu: f64,
    /// Bytes that did not arrive.
    pub lost: u64,
}

/// Passes for each supervisor. The best one counts: reader and writer of a pty fall into one of several rhythms, and the
/// neighbours on the machine only ever make it slower.
const PASSES: usize = 3;

/// Interleaved passes of each supervisor.
pub fn measure(place: &Place, rows: &mut [Row], bytes: u64) {
    for _ in 0..PASSES {
        for row in rows.iter_mut().filter(|row| row.subject.relays()) {
            match parts::spew(place, &row.subject, bytes) {
                Ok((time, cpu, arrived)) => {
                    let rate = bytes as f64 / time / 1e3;
                    let lost = bytes.abs_diff(arrived);
                    let before = row.console.take();
                    let lost = lost + before.map_or(0, |c| c.lost);
                    row.console = before.filter(|c| c.rate > rate).map(|c| Console { lost, ..c }).or(Some(Console {
                        rate,
                        cpu,
                        lost,
                    }));
                }
                Err(reason) => row.failed(place, "console", &reason),
            }
        }
    }
}
