//! What only Android guests need. Everything here is asked for by `monopod.preset = android` or a key of its own, and does
//! nothing otherwise.

pub mod areas;
pub mod crash;
pub mod image;
pub mod kmsg;
pub mod properties;
pub mod property_service;
pub mod reasons;

#[cfg(test)]
#[path = "../../tests/init/area.rs"]
mod area;
