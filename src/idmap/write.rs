//! Writing the maps of a newborn (user_namespaces(7)): by root itself, by newuidmap and newgidmap for everybody else.

use super::subid;
use crate::cgroup::limit::write_file;
use crate::config::isolation::IdMap;
use crate::config::{Config, Hook, HookKind};
use crate::error::{Error, Result};
use crate::hooks::{self, Moment};
use crate::limits;
use crate::prepare::host::Host;
use crate::sys::process::PATH;
use crate::text::{Line, PathText, shown};
use core::ffi::CStr;
use core::fmt::Write;
use nix::errno::Errno;
use nix::unistd::{AccessFlags, access, getegid, geteuid};

/// Lines that Linux takes before 4.15.
const FEW: usize = 5;
/// Three numbers of ten digits with what is between them.
const MAP_BYTES: usize = 33;

/// All maps of one kind, behind a tool's path.
type Text = Line<{ (limits::ID_MAPS + 1) * MAP_BYTES + limits::BUILT_PATH_BYTES }>;

/// Maps the ids of process `pid`, which is in a user namespace of its own and waits.
#[inline(never)] // for those who have id maps
pub fn apply(host: &mut Host<'_>, pid: i32) -> Result<()> {
    for groups in [false, true] {
        let mut own = host.config.isolation.idmap.iter().filter(|map| map.groups == groups);
        let id = if groups { getegid().as_raw() } else { geteuid().as_raw() };
        let (Some(first), second) = (own.next(), own.next()) else { continue };
        let alone = second.is_none() && first.count == 1 && first.outside == id;
        if geteuid().is_root() {
            write(host.config, first, pid)?;
        } else if alone && find(groups, host).is_none() {
            if groups {
                // What the kernel wants of one who maps its own group without leave. Before Linux 3.19 there is no such file.
                let _ = file(pid, "setgroups").and_then(|path| write_file(path.c(), b"deny"));
            }
            write(host.config, first, pid)?;
        } else {
            call(host, first, pid, None)?;
        }
    }
    Ok(())
}

/// Maps the container's ids, and our own, each to itself in the user namespace of process `pid`.
pub fn borrow(host: &mut Host<'_>, pid: i32) -> Result<()> {
    for (groups, own) in [(false, geteuid().as_raw()), (true, getegid().as_raw())] {
        if let Some(first) = host.config.isolation.idmap.iter().find(|map| map.groups == groups) {
            call(host, first, pid, Some(own))?;
        }
    }
    Ok(())
}

fn file(pid: i32, name: &str) -> nix::Result<PathText> {
    PathText::format(format_args!("/proc/{pid}/{name}")).map_err(|_| Errno::ENAMETOOLONG)
}

/// All maps of one kind, with `between` before each: the kernel wants them in one write. With an id of our own: as `borrow` says.
fn text(config: &Config<'_>, groups: bool, own: Option<u32>, line: &mut Text, between: &str) {
    for map in config.isolation.idmap.iter().filter(|map| map.groups == groups) {
        let inside = own.map_or(map.inside, |_| map.outside);
        let _ = write!(line, "{between}{inside} {} {}", map.outside, map.count);
    }
    let mapped = |id: u32| {
        config.isolation.idmap.iter().any(|map| map.groups == groups && id.wrapping_sub(map.outside) < map.count)
    };
    if let Some(own) = own.filter(|own| !mapped(*own)) {
        let _ = write!(line, "{between}{own} {own} 1");
    }
}

fn write(config: &Config<'_>, first: &IdMap, pid: i32) -> Result<()> {
    let mut lines = Text::new();
    text(config, first.groups, None, &mut lines, "\n");
    let name = if first.groups { "gid_map" } else { "uid_map" };
    let written = file(pid, name).and_then(|path| write_file(path.c(), lines.bytes().trim_ascii_start()));
    written.map_err(|errno| {
        let count = config.isolation.idmap.iter().filter(|map| map.groups == first.groups).count();
        let why = match errno {
            Errno::EPERM => ": not all ids outside are mapped in the user namespace that we are in ourselves",
            Errno::EINVAL if count > FEW => ": before Linux 4.15 there are at most five lines",
            _ => "",
        };
        let place = config.place(first.at);
        Error::os("idmap", errno, format_args!("{place}: lxc.idmap = {first}: write the {name} of the container{why}"))
    })
}

fn tool(groups: bool) -> &'static str {
    if groups { "newgidmap" } else { "newuidmap" }
}

/// Where newuidmap or newgidmap is.
fn find(groups: bool, host: &Host<'_>) -> Option<PathText> {
    let path = host.environment.iter().find_map(|word| word.to_bytes().strip_prefix(b"PATH="));
    let mut folders = path.unwrap_or(PATH).split(|byte| *byte == b':');
    folders.find_map(|folder| {
        let path = PathText::join(&[folder, b"/", tool(groups).as_bytes()]).ok()?;
        access(path.c(), AccessFlags::X_OK).is_ok().then_some(path)
    })
}

/// Has the tool write the maps, bounded like a hook, its words in our log.
fn call(host: &mut Host<'_>, first: &IdMap, pid: i32, own: Option<u32>) -> Result<()> {
    let groups = first.groups;
    let config = host.config;
    let Some(path) = find(groups, host) else {
        let (place, tool) = (config.place(first.at), tool(groups));
        return Err(Error::new(
            "idmap",
            format_args!("{place}: we are not root, and there is no {tool} (package uidmap)"),
        ));
    };
    let mut line = Text::new();
    let _ = write!(line, "{} {pid}", shown(path.c()));
    text(config, groups, own, &mut line, " ");
    line.push(b"\0");
    let command = CStr::from_bytes_until_nul(line.bytes()).unwrap_or(c"");
    let hook = Hook { kind: HookKind::IdMap, command, at: first.at };
    hooks::run_one(host, &hook, &Moment::default()).map_err(|error| missing(config, groups, error))
}

/// The error with the line that /etc/subuid lacks, if it is that.
fn missing(config: &Config<'_>, groups: bool, error: Error) -> Error {
    let (file, id) = if groups { (c"/etc/subgid", getegid().as_raw()) } else { (c"/etc/subuid", geteuid().as_raw()) };
    let uid = geteuid().as_raw();
    let name = subid::name_of(uid);
    let granted = |map: &&IdMap| map.outside == id && map.count == 1 || subid::grants(file, &name, uid, map);
    match config.isolation.idmap.iter().filter(|map| map.groups == groups).find(|map| !granted(map)) {
        None => error,
        Some(map) => {
            let mut words = Line::<160>::new();
            let (file, place) = (shown(file), config.place(map.at));
            let _ = write!(words, "; {file} needs the line {name}:{}:{} for {place}", map.outside, map.count);
            error.with_suffix(words.text())
        }
    }
}
