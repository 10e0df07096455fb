//! `device`: gives a device node of the host to a running container, or takes it away.

use super::cgroup_files::{CgroupFiles, hierarchies};
use super::prepass::Operands;
use super::{Call, Outcome, parse};
use crate::control::client::{Container, Failure};
use crate::control::proto::Command;
use crate::rootfs::beneath::{Name, Root, split};
use crate::text::{PathText, shown};
use argh::{ArgsInfo, FromArgs};
use core::ffi::CStr;
use core::fmt::{self, Write};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat, major, minor, mknodat, stat, umask};
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::os::fd::OwnedFd;

/// Makes a device node of the host in a running container and allows it there, or takes both away. Exit code: 0 done, 1 failed.
#[derive(FromArgs, ArgsInfo)]
struct Args {}

/// A device of the host, and its place in the container.
struct Device<'a> {
    stat: FileStat,
    target: &'a CStr,
}

/// What failed: the step, and the kernel's or the supervisor's answer.
struct Problem(&'static str, Failure);

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0, self.1)
    }
}

/// Runs the verb.
pub fn run(call: &Call<'_>) -> Outcome {
    let mut line = parse::<Args>(call, Operands::Anywhere, " add|del DEVICE [PATH]")?;
    let target = line.target()?;
    let name = shown(target.name);
    let (verb, device, place) = match *line.operands {
        [verb, device] => (verb, device, device),
        [verb, device, place] => (verb, device, place),
        _ => return Err(line.fail(format_args!("add or del and a device are needed, and its path in the container"))),
    };
    let adds = match verb.to_bytes() {
        b"add" => true,
        b"del" => false,
        _ => return Err(line.fail(format_args!("'{}' is neither add nor del", shown(verb)))),
    };
    let shown_device = shown(device);
    let interface = PathText::join(&[b"/sys/class/net/", device.to_bytes()]);
    if !device.to_bytes().contains(&b'/') && interface.is_ok_and(|path| stat(path.c()).is_ok()) {
        let what = format_args!("'{shown_device}' is a network interface: moving those is not built");
        return Err(line.fail(what));
    }
    let stat = match stat(device) {
        Ok(stat) if stat.st_rdev != 0 && kind(&stat).is_some() => stat,
        Ok(_) => return Err(line.fail(format_args!("'{shown_device}' is no device"))),
        Err(errno) => return Err(line.fail(format_args!("'{shown_device}': {}", errno.desc()))),
    };
    let container = target.container();
    let device = Device { stat, target: place };
    let done = if adds { add(&container, &device) } else { remove(&container, &device) };
    match done {
        Ok(()) => Ok(0),
        Err(problem) => Err(line.fail(format_args!("{} {shown_device} of '{name}': {problem}", shown(verb)))),
    }
}

/// Makes the node unless it is there, then allows it; a new node that is not allowed does not stay.
fn add(container: &Container<'_>, device: &Device<'_>) -> Result<(), Problem> {
    let (directory, name) = inside(container, device, true)?;
    let mode = Mode::from_bits_truncate(device.stat.st_mode & 0o777);
    let kind = SFlag::from_bits_truncate(device.stat.st_mode & libc::S_IFMT);
    let before = umask(Mode::empty());
    let made = mknodat(&directory, name.c(), kind, mode, device.stat.st_rdev);
    umask(before);
    match made {
        Err(Errno::EEXIST) => {
            is_there(&directory, &name, device)?;
            permit(container, device, true)
        }
        made => {
            made.map_err(os("make the node"))?;
            permit(container, device, true).inspect_err(|_| {
                let _ = unlinkat(&directory, name.c(), UnlinkatFlags::NoRemoveDir);
            })
        }
    }
}

/// Whether the node is there. Err: something else is.
fn is_there(directory: &OwnedFd, name: &Name, device: &Device<'_>) -> Result<bool, Problem> {
    match fstatat(directory, name.c(), AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(there) if kind(&there) == kind(&device.stat) && there.st_rdev == device.stat.st_rdev => Ok(true),
        Ok(_) => Err(Problem("its path is taken by something else", Failure::Os(Errno::EEXIST))),
        Err(Errno::ENOENT) => Ok(false),
        Err(errno) => Err(os("look at the node")(errno)),
    }
}

/// Takes the node away if there is one, then forbids it.
fn remove(container: &Container<'_>, device: &Device<'_>) -> Result<(), Problem> {
    let (directory, name) = inside(container, device, false)?;
    if is_there(&directory, &name, device)? {
        unlinkat(&directory, name.c(), UnlinkatFlags::NoRemoveDir).map_err(os("remove the node"))?;
    }
    permit(container, device, false)
}

/// The directory of the node in the root of the container's init, by descriptor: no link of the guest's is followed.
fn inside(container: &Container<'_>, device: &Device<'_>, makes: bool) -> Result<(OwnedFd, Name), Problem> {
    let init = || container.init_pid().and_then(|pid| pid.ok_or(Failure::NotRunning));
    let init = || init().map_err(|failure| Problem("ask for init", failure));
    let pid = init()?;
    let root = PathText::format(format_args!("/proc/{pid}/root")).map_err(|_| Errno::ENAMETOOLONG);
    let root = root.and_then(|path| Root::open(path.c())).map_err(os("open its root"))?;
    // If that pid is init's still, it was the root of no other process.
    if init()? != pid {
        return Err(Problem("open its root", Failure::NotRunning));
    }
    let (directory, name) = split(device.target.to_bytes());
    if name.is_empty() || name == b"." || name == b".." {
        return Err(os("the path in the container")(Errno::EINVAL));
    }
    let open = match makes && !directory.is_empty() {
        true => root.make_directories(directory),
        false => root.look_up(directory, OFlag::O_PATH | OFlag::O_DIRECTORY),
    };
    Ok((open.map_err(os("open the node's directory"))?, Name::new(name).map_err(os("the path in the container"))?))
}

/// Tells the devices cgroup: by its files in v1; in v2 by the supervisor, whose program decides there.
fn permit(container: &Container<'_>, device: &Device<'_>, allow: bool) -> Result<(), Problem> {
    let letter = kind(&device.stat).unwrap_or('c');
    let (major, minor) = (major(device.stat.st_rdev), minor(device.stat.st_rdev));
    let hierarchies = hierarchies();
    if hierarchies.iter().any(|hierarchy| hierarchy.has(b"devices")) {
        let file = if allow { "devices.allow" } else { "devices.deny" };
        let file = CgroupFiles::new(*container, hierarchies).open(file.as_bytes(), OFlag::O_WRONLY);
        let file = file.map_err(os("open its devices cgroup"))?;
        let mut rule = String::new();
        let _ = write!(rule, "{letter} {major}:{minor} rwm");
        return nix::unistd::write(file, rule.as_bytes()).map(drop).map_err(os("write its devices cgroup"));
    }
    let answer = container.ask(Command::AddBpfDeviceCgroup, &rule(letter, major as u32, minor as u32, allow));
    answer.map(drop).map_err(|failure| Problem("tell its devices cgroup", failure))
}

/// Bytes of the fields, and of the list's two pointers behind them, which are nobody's business but count (seen from LXC 5.0.2).
const FIELDS: usize = 20;
const ITEM: usize = FIELDS.next_multiple_of(size_of::<usize>()) + 2 * size_of::<usize>();

/// LXC's `struct device_item {char type; int major, minor; char access[4]; int allow; struct list_head head}`.
fn rule(letter: char, major: u32, minor: u32, allow: bool) -> [u8; ITEM] {
    let mut bytes = [0; ITEM];
    let numbers = |number: u32| number.to_ne_bytes();
    let fields = [[letter as u8, 0, 0, 0], numbers(major), numbers(minor), *b"rwm\0", numbers(allow.into())];
    bytes.iter_mut().zip(fields.into_iter().flatten()).for_each(|(byte, field)| *byte = field);
    bytes
}

/// `c` or `b`; None for what is no device.
fn kind(stat: &FileStat) -> Option<char> {
    match stat.st_mode & libc::S_IFMT {
        libc::S_IFCHR => Some('c'),
        libc::S_IFBLK => Some('b'),
        _ => None,
    }
}

fn os(step: &'static str) -> impl Fn(Errno) -> Problem {
    move |errno| Problem(step, Failure::Os(errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_has_the_fields_at_lxcs_places() {
        let bytes = rule('b', 7, 0x1_0003, true);
        assert_eq!(bytes[0], b'b');
        let int = |at: usize| i32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
        assert_eq!([int(4), int(8), int(16)], [7, 0x1_0003, 1]);
        assert_eq!(&bytes[12..16], b"rwm\0");
    }
}
