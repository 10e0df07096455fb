//! LXC's monitor daemon: while an `lxc-monitor` runs, it reads a FIFO in which every container of an lxcpath tells its states.

use crate::control::proto::{self, News};
use crate::sys::fds::open;
use crate::text::{Arena, Full};
use core::ffi::CStr;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, SFlag, fstat};

/// Where the monitor of an lxcpath reads.
pub fn fifo<'t>(lxcpath: &CStr, arena: &Arena<'t>) -> Result<&'t CStr, Full> {
    arena.join(&[b"/run/lxc/", lxcpath.to_bytes(), b"/monitor-fifo"])
}

/// Tells it what is new of container `name`. Where nobody reads, nothing happens.
pub fn tell(news: News, fifo: &CStr, name: &CStr) {
    let flags = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_NOCTTY;
    let Ok(fifo) = open(fifo, flags, Mode::empty()) else { return };
    // Anything else by that name is none of ours to write to.
    if fstat(&fifo).is_ok_and(|stat| stat.st_mode & libc::S_IFMT == SFlag::S_IFIFO.bits()) {
        let _ = nix::unistd::write(&fifo, &proto::message(news, name.to_bytes()));
    }
}
