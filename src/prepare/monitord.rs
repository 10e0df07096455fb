//! LXC's monitor daemon: while an `lxc-monitor` runs, it reads a FIFO in which every container of an lxcpath tells its states.

use crate::control::proto::{self, News};
use crate::sys::fds::open;
use crate::text::{PathText, shown};
use core::ffi::CStr;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, SFlag, fstat};

/// Tells it what is new of container `name`. Where nobody reads, nothing happens.
#[inline(never)] // its path is for those who have a monitor
pub fn tell(news: News, lxcpath: &CStr, name: &CStr) {
    let path: Result<PathText, _> = PathText::format(format_args!("/run/lxc/{}/monitor-fifo", shown(lxcpath)));
    let flags = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_NOCTTY;
    let Ok(Ok(fifo)) = path.map(|path| open(path.c(), flags, Mode::empty())) else { return };
    // Anything else by that name is none of ours to write to.
    if fstat(&fifo).is_ok_and(|stat| stat.st_mode & libc::S_IFMT == SFlag::S_IFIFO.bits()) {
        let _ = nix::unistd::write(&fifo, &proto::message(news, name.to_bytes()));
    }
}
