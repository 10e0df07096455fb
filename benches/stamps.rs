//! The clocks, and init's stamps in a file of the rootfs: records of two 64-bit words, see init.c.
//!
//! Init stamps the same monotonic clock that the driver reads, for no subject makes a time namespace.

use crate::place::Place;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_gettime};
use std::fs;

/// The monotonic clock, in ns.
pub fn now() -> u64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |t| t.num_nanoseconds().unsigned_abs())
}

/// Milliseconds between two readings of the clock, in ns.
pub fn ms(from: u64, to: u64) -> f64 {
    to.saturating_sub(from) as f64 / 1e6
}

/// CPU time of all ended children so far, in ms.
pub fn children_cpu() -> f64 {
    getrusage(UsageWho::RUSAGE_CHILDREN)
        .map_or(0.0, |u| (u.user_time().num_microseconds() + u.system_time().num_microseconds()) as f64 / 1e3)
}

/// What init wrote.
#[derive(Default)]
pub struct Stamps {
    /// First instructions, one for each life, in ns.
    pub first: Vec<u64>,
    /// The last moments, where init ended by itself, in ns.
    pub last: Vec<u64>,
    /// Init's own CPU time, in ns.
    pub cpu: Vec<u64>,
}

/// Reads them.
pub fn stamps(place: &Place) -> Stamps {
    let mut stamps = Stamps::default();
    for record in fs::read(place.rootfs().join("stamps")).unwrap_or_default().as_chunks::<16>().0 {
        let (what, value) = record.split_at(8);
        let value = value.try_into().map_or(0, u64::from_ne_bytes);
        match what.first() {
            Some(1) => stamps.first.push(value),
            Some(2) => stamps.last.push(value),
            Some(3) => stamps.cpu.push(value),
            _ => {}
        }
    }
    stamps
}
