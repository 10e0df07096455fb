//! What only Android guests need. Everything here is asked for by `monopod.preset = android` or a key of its own, and does
//! nothing otherwise.
//!
//! `image` and `init` look at the rootfs and choose init's command line, `boot_arguments` are the androidboot words, `clean`
//! removes what an earlier life left, `cgroups` the groups that it left, `binder` and `devices` make the nodes. `properties`
//! and `areas` read what a guest says of itself, `property_service` tells it something; `reasons`, `kmsg` and `crash` are
//! about its end.

pub mod areas;
pub mod binder;
pub mod boot_arguments;
pub mod cgroups;
pub mod clean;
pub mod crash;
pub mod devices;
pub mod image;
pub mod init;
pub mod kmsg;
pub mod properties;
pub mod property_service;
pub mod reasons;

#[cfg(test)]
#[path = "../../tests/init/area.rs"]
mod area;
