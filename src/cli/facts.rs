//! What `ls` tells of a container, and where it is found out.

use super::cgroup_files::CgroupFiles;
use super::containers::{add, items};
use super::{Target, addresses, usage};
use crate::cgroup::find::Hierarchies;
use crate::control::client::Container;
use crate::control::proto::Command;
use crate::error::Result;
use crate::state::State;
use crate::text::shown;
use core::ffi::CStr;
use std::ffi::CString;
use std::os::fd::AsRawFd;

/// What is asked of a config.
const KEYS: [&CStr; 3] = [c"lxc.start.auto", c"lxc.group", c"lxc.idmap"];

/// What is known of a container.
pub struct Facts {
    /// Its name; inside of others with theirs before it.
    pub name: String,
    /// How many containers it is inside of.
    pub level: u32,
    /// By its supervisor; None: that gave no answer that can be understood.
    pub state: Option<State>,
    /// It has a supervisor, and is not stopped.
    pub runs: bool,
    /// Of its init, as its supervisor says.
    pub pid: Option<i32>,
    /// Bytes.
    pub ram: u64,
    /// Bytes.
    pub swap: u64,
    /// lxc.start.auto
    pub autostart: bool,
    /// lxc.group
    pub groups: Vec<String>,
    /// In the order of their bytes.
    pub interfaces: Vec<String>,
    /// Addresses.
    pub v4: Vec<String>,
    /// Addresses.
    pub v6: Vec<String>,
    /// It has an lxc.idmap.
    pub unprivileged: bool,
}

impl Facts {
    /// Only what there is without asking.
    pub fn new(container: &Container<'_>, state: Option<State>) -> Facts {
        Facts {
            name: shown(container.name).to_string(),
            level: 0,
            state,
            runs: state.is_some_and(|state| state != State::Stopped),
            pid: None,
            ram: 0,
            swap: 0,
            autostart: false,
            groups: Vec::new(),
            interfaces: Vec::new(),
            v4: Vec::new(),
            v6: Vec::new(),
            unprivileged: false,
        }
    }

    /// LXC's name of the state.
    pub fn state_name(&self) -> &'static str {
        self.state.map_or("UNKNOWN", State::name)
    }

    /// Takes over the values of `KEYS`.
    fn take_items(&mut self, [auto, groups, idmap]: [String; 3]) {
        self.groups = groups.lines().map(String::from).collect();
        self.autostart = auto == "1";
        self.unprivileged = !idmap.is_empty();
    }

    /// Looks into the network namespace of process `pid`.
    pub fn take_addresses(&mut self, pid: i32) {
        for address in addresses::of(pid) {
            if address.contains(':') { &mut self.v6 } else { &mut self.v4 }.push(address);
        }
        self.interfaces = interfaces(pid);
    }
}

/// The values of `KEYS` in a running container.
fn running_items(container: &Container<'_>) -> [String; 3] {
    KEYS.map(|key| {
        let value = container.config_item(key).ok().flatten().unwrap_or_default();
        String::from_utf8_lossy(&value).into_owned()
    })
}

/// Finds out about a container; `details`: all of it.
pub fn facts(
    container: &Container<'_>,
    state: Option<State>,
    details: bool,
    hierarchies: &'static Hierarchies<'static>,
) -> Result<Facts> {
    let mut facts = Facts::new(container, state);
    facts.take_items(match facts.runs {
        true => running_items(container),
        false => items(&Target { lxcpath: container.lxcpath, name: container.name, rcfile: None }, KEYS)?,
    });
    if !details || !facts.runs {
        return Ok(facts);
    }
    facts.pid = container.init_pid().ok().flatten();
    if let Some(pid) = facts.pid {
        facts.take_addresses(pid);
        let files = CgroupFiles::new(*container, hierarchies);
        facts.ram = usage::memory(&files).unwrap_or(0);
        facts.swap = usage::swap(&files).unwrap_or(0);
    }
    Ok(facts)
}

/// Finds out about a container inside of another one, from inside of that one's network; and its init's pid to this host.
/// What its supervisor says of pids and cgroups is true in there only.
pub fn inner_facts(container: &Container<'_>) -> Option<(Facts, Option<i32>)> {
    let mut facts = Facts::new(container, container.state().ok());
    facts.take_items(running_items(container));
    facts.pid = container.init_pid().ok().flatten();
    let pidfd = container.ask(Command::GetInitPidfd, &[]).ok().and_then(|answer| answer.fd);
    let pid = pidfd.and_then(|pidfd| {
        let about = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).ok()?;
        let pid = about.lines().find_map(|line| line.strip_prefix("Pid:"))?;
        pid.trim_ascii().parse().ok().filter(|pid| *pid > 0)
    });
    Some((facts, pid))
}

/// Names of the interfaces in the network namespace of a process, in the order of their bytes.
fn interfaces(pid: i32) -> Vec<String> {
    let table = std::fs::read(format!("/proc/{pid}/net/dev")).unwrap_or_default();
    let mut names: Vec<CString> = Vec::new();
    // Two lines are headings.
    for line in table.split(|b| *b == b'\n').skip(2) {
        if let Some(end) = memchr::memrchr(b':', line) {
            add(&mut names, CString::new(line.get(..end).unwrap_or_default().trim_ascii()).unwrap_or_default());
        }
    }
    names.iter().map(|name| shown(name).to_string()).collect()
}
