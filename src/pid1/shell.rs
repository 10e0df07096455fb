//! The emergency shell: for a person at the console when nothing else works.

use super::children::{Stdio, launch};
use super::console::say;
use super::settings::Settings;
use crate::text::shown;
use core::ffi::CStr;
use nix::unistd::{AccessFlags, access};

/// Where one may be, in the order in which it is tried.
const SHELLS: [&CStr; 4] = [c"/bin/sh", c"/system/bin/sh", c"/bin/busybox", c"/sbin/busybox"];

/// Opens it. Its pid; None where there is none, or shall be none: then the machine waits.
pub fn open(settings: &Settings<'_>, environment: &[&CStr]) -> Option<i32> {
    let there = |path: &&CStr| access(*path, AccessFlags::X_OK).is_ok();
    let path = match settings.shell {
        Some(path) if path == c"none" => {
            say(format_args!("waiting: monopod.init.shell = none; SIGHUP to process 1 tries again"));
            return None;
        }
        Some(path) => Some(path).filter(there),
        None => SHELLS.into_iter().find(there),
    };
    let Some(path) = path else {
        say(format_args!(
            "waiting: there is no shell here (monopod.init.shell names one); SIGHUP to process 1 tries again"
        ));
        return None;
    };
    say(format_args!("emergency shell: exit to try again"));
    match launch(path, &[c"sh"], environment, Stdio::Person) {
        Ok(pid) => Some(pid),
        Err(errno) => {
            say(format_args!("waiting: {} cannot be started: {}", shown(path), errno.desc()));
            None
        }
    }
}
