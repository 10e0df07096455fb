//! What only Android guests need.
//!
//! `image` and `init` look at the rootfs and choose init's command line, `boot_arguments` are the androidboot words, `clean`
//! removes what an earlier life left, `cgroups` the groups that it left, `binder` and `devices` make the nodes.

pub mod binder;
pub mod boot_arguments;
pub mod cgroups;
pub mod clean;
pub mod devices;
pub mod image;
pub mod init;
