//! The console's throughput: init writes as fast as it can, the supervisor relays to a file, nothing may be lost.

use crate::parts;
use crate::place::Place;
use crate::report::{Row, median};

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

/// Passes for each supervisor. The median counts: reader, writer and the kernel's worker between them fall into one of several
/// rhythms, and the best pass tells of luck.
const PASSES: usize = 7;

/// Interleaved passes of each supervisor.
pub fn measure(place: &Place, rows: &mut [Row], bytes: u64) {
    let mut passes: Vec<Vec<Console>> = rows.iter().map(|_| Vec::new()).collect();
    for _ in 0..PASSES {
        for (row, passes) in rows.iter_mut().zip(&mut passes).filter(|(row, _)| row.subject.relays()) {
            match parts::spew(place, &row.subject, bytes) {
                Ok((time, cpu, arrived)) => {
                    passes.push(Console { rate: bytes as f64 / time / 1e3, cpu, lost: bytes.abs_diff(arrived) })
                }
                Err(reason) => row.failed(place, "console", &reason),
            }
        }
    }
    for (row, passes) in rows.iter_mut().zip(passes).filter(|(_, passes)| !passes.is_empty()) {
        let of = |figure: fn(&Console) -> f64| median(&passes.iter().map(figure).collect::<Vec<_>>());
        let lost = passes.iter().map(|pass| pass.lost).sum();
        row.console = Some(Console { rate: of(|pass| pass.rate), cpu: of(|pass| pass.cpu), lost });
    }
}
