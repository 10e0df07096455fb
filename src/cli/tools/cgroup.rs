//! `cgroup`: reads or sets a file of a container's cgroup.

use super::cgroup_files::{CgroupFiles, hierarchies};
use super::prepass::Operands;
use super::{Call, Outcome, parse, print};
use crate::text::shown;
use argh::{ArgsInfo, FromArgs};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use std::fs::File;
use std::io::{Read, Write};

/// Prints a file of a container's cgroup, such as memory.max, or writes VALUE to it. Exit code: 0 done, 1 failed.
#[derive(FromArgs, ArgsInfo)]
struct Args {}

/// Runs the verb.
pub fn run(call: &Call<'_>) -> Outcome {
    let mut line = parse::<Args>(call, Operands::Anywhere, " FILE [VALUE]")?;
    let target = line.target()?;
    let name = shown(target.name);
    let (file, value) = match *line.operands {
        [file] => (file, None),
        [file, value] => (file, Some(value)),
        _ => return Err(line.fail(format_args!("a file of the cgroup is needed, and a value to set it"))),
    };
    let container = target.container();
    if container.init_pid().is_err() {
        return Err(line.fail(format_args!("'{name}' is not running")));
    }
    let flags = if value.is_some() { OFlag::O_WRONLY } else { OFlag::O_RDONLY };
    let mut text = Vec::new();
    let done = CgroupFiles::new(container, hierarchies()).open(file.to_bytes(), flags).map_err(std::io::Error::from);
    let done = done.map(File::from).and_then(|mut file| match value {
        Some(value) => file.write_all(value.to_bytes()),
        None => file.read_to_end(&mut text).map(drop),
    });
    if let Err(error) = done {
        let way = if value.is_some() { "set" } else { "read" };
        let errno = Errno::from_raw(error.raw_os_error().unwrap_or(0));
        return Err(line.fail(format_args!("{way} {} of '{name}': {}", shown(file), errno.desc())));
    }
    let mut text = String::from_utf8_lossy(&text).into_owned();
    // LXC's tool ends with a newline of its own, whatever the file ends with.
    if value.is_none() && (call.stock || !text.ends_with('\n')) {
        text.push('\n');
    }
    Ok(print(&text))
}
