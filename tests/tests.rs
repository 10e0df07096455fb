//! The tests that start containers. They need root; each has a mount namespace, a /run and names of its own, so they run
//! beside each other and leave the machine as it was, which they check.
//!
//! `support` has the [`Guest`](support::Guest) that every test begins with; `init/` is the program that runs inside.
#![allow(unsafe_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

mod android_configs;
mod android_guests;
mod android_image;
mod attach;
mod attach_terminal;
mod autostart;
mod backoff;
mod cgroup_dir;
mod cgroups;
mod check;
mod check_agrees;
mod clients;
mod command_line;
mod config_errors;
mod console;
mod console_client;
mod crash_report;
mod cross_tools;
mod crowd;
mod docs;
mod ephemeral;
mod execute;
mod explain;
#[cfg(feature = "seccomp")]
mod fault_sweep;
mod faults;
mod guard;
mod hooks;
mod host_untouched;
mod hostile_init;
mod hostile_rootfs;
mod identity;
#[cfg(feature = "idmap")]
mod idmap;
mod label;
mod lifecycle;
mod logging;
mod look;
mod lsm;
mod lxc_api;
mod lxc_configs;
mod mount_targets;
mod mounts;
mod namespaces;
mod net;
mod notify;
mod old_kernels;
mod pid1;
mod ready;
mod real_inits;
mod reboot_policy;
mod resources;
mod seccomp;
mod soak;
mod soak_load;
mod stop;
mod storage;
mod supervisor_death;
mod tools;
mod trace;
mod unprivileged;
mod unsafe_code;
mod update_config;
mod user;
mod valgrind;
