//! The verbs that look at running containers and change them: all that a board can do without.
//!
//! One file for each verb (`freeze` has both ways of it, `system_config` is `lxc-config`), and what several of them are made of:
//! * `containers` finds them, `facts` asks about one, `listing` prints them, `regex` is the filter of their names,
//! * `cgroup_files` finds the files of a container's cgroups, `usage` reads figures from them, `resources` is that part of `info`,
//!   `rounds` one round of `top`,
//! * `stuck` names the processes that keep a container from ending, `json` writes JSON.

use super::*;

mod attach;
mod autostart;
mod cgroup;
mod cgroup_files;
mod check;
mod console;
mod containers;
mod device;
mod execute;
mod explain;
mod facts;
mod freeze;
mod json;
mod listing;
mod ls;
mod monitor;
mod regex;
pub mod resources;
mod rounds;
pub mod stuck;
pub mod system_config;
mod top;
mod update_config;
mod usage;

/// Their rows of the table of verbs.
pub const VERBS: &[Verb] = &[
    Verb { name: "attach", lxc: "attach", summary: "run a command inside it", run: attach::run },
    Verb { name: "execute", lxc: "execute", summary: "start a container for one command", run: execute::run },
    Verb { name: "console", lxc: "console", summary: "connect our terminal to its console or ttys", run: console::run },
    Verb { name: "ls", lxc: "ls", summary: "list containers", run: ls::run },
    Verb { name: "top", lxc: "top", summary: "show what containers use, again and again", run: top::run },
    Verb {
        name: "autostart",
        lxc: "autostart",
        summary: "start, stop or list those that start with the machine",
        run: autostart::run,
    },
    Verb { name: "cgroup", lxc: "cgroup", summary: "read or set a file of its cgroup", run: cgroup::run },
    Verb { name: "device", lxc: "device", summary: "give it a device, or take one away", run: device::run },
    Verb { name: "freeze", lxc: "freeze", summary: "freeze all its processes", run: freeze::freeze },
    Verb { name: "unfreeze", lxc: "unfreeze", summary: "let them go on", run: freeze::unfreeze },
    Verb { name: "monitor", lxc: "monitor", summary: "tell changes of state as they happen", run: monitor::run },
    Verb { name: "check", lxc: "checkconfig", summary: "say whether it will run here", run: check::run },
    Verb {
        name: "update-config",
        lxc: "update-config",
        summary: "rewrite its config with today's key names",
        run: update_config::run,
    },
    Verb { name: "explain", lxc: "", summary: "print the steps of its start, doing none of them", run: explain::run },
];
