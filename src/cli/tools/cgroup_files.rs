//! The files of a running container's cgroups: the supervisor says where it is in a hierarchy, the host's mounts where the
//! hierarchy is.

use crate::cgroup::find::{Hierarchies, Hierarchy};
use crate::cgroup::host;
use crate::control::client::Container;
use crate::control::proto::Command;
use crate::limits;
use crate::sys::fds;
use crate::text::{Arena, PathText};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use std::io::Read;
use std::os::fd::OwnedFd;

/// The cgroup hierarchies of this host. They live as long as the process.
pub fn hierarchies() -> &'static Hierarchies<'static> {
    let storage = Box::leak(Box::new([0; limits::HIERARCHIES * 512]));
    let found = host::hierarchies(&Arena::new(storage));
    Box::leak(found.unwrap_or_default())
}

/// The files of one container.
pub struct CgroupFiles<'c> {
    container: Container<'c>,
    hierarchies: &'static Hierarchies<'static>,
}

impl<'c> CgroupFiles<'c> {
    /// Of `container`, on a host with these hierarchies.
    pub fn new(container: Container<'c>, hierarchies: &'static Hierarchies<'static>) -> Self {
        CgroupFiles { container, hierarchies }
    }

    /// Opens a file of the container's own directory: in the v1 hierarchy of the controller that its name begins with, else
    /// in v2. ENOENT: there is none; EINVAL: this is no name of a file.
    pub fn open(&self, file: &[u8], flags: OFlag) -> nix::Result<OwnedFd> {
        if file.is_empty() || file.contains(&b'/') || file.contains(&0) || file == b".." || file == b"." {
            return Err(Errno::EINVAL);
        }
        let controller = file.split(|b| *b == b'.').next().unwrap_or_default();
        let v1 = self.hierarchies.iter().filter(|hierarchy| hierarchy.has(controller));
        let mut result = Err(Errno::ENOENT);
        for hierarchy in v1.chain(self.hierarchies.iter().filter(|hierarchy| hierarchy.v2)) {
            let Some(own) = self.directory(hierarchy, controller) else { continue };
            let bare = file.get(controller.len() + 1..).filter(|_| hierarchy.noprefix);
            for name in [Some(file), bare].into_iter().flatten() {
                let path = PathText::join(&[hierarchy.mountpoint.to_bytes(), &own, b"/", name]);
                let path = path.map_err(|_| Errno::ENAMETOOLONG)?;
                match fds::open(path.c(), flags, Mode::empty()) {
                    Ok(file) => return Ok(file),
                    Err(errno) => result = Err(errno),
                }
            }
        }
        result
    }

    /// What a file says; None if there is no such file, or none that can be read.
    pub fn read(&self, file: &str) -> Option<String> {
        let mut text = String::new();
        let file = self.open(file.as_bytes(), OFlag::O_RDONLY).ok()?;
        std::fs::File::from(file).read_to_string(&mut text).ok()?;
        Some(text)
    }

    /// Where the container is in a hierarchy, with a slash before it. The cgroup with the limits is asked for first: LXC can
    /// have another one below it. In v2 LXC knows the controllers that are there, and always the freezer.
    fn directory(&self, hierarchy: &Hierarchy<'_>, controller: &[u8]) -> Option<Vec<u8>> {
        let named = [controller, b"\0"].concat();
        let bodies = [&named, &b"freezer\0"[..]];
        let commands = [Command::GetLimitCgroup, Command::GetCgroup];
        let mut questions = bodies.into_iter().take(1 + usize::from(hierarchy.v2));
        let answer =
            questions.find_map(|body| commands.iter().find_map(|command| self.container.ask(*command, body).ok()));
        let mut own = answer?.body;
        if own.last() == Some(&0) {
            own.pop();
        }
        if !own.starts_with(b"/") {
            own.insert(0, b'/');
        }
        // Whoever answers says where inside the hierarchy, and nothing else.
        (!own.split(|b| *b == b'/').any(|part| part == b"..")).then_some(own)
    }
}
