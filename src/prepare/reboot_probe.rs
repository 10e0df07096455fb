//! Whether a container's reboot(2) can be told from the host's.
//!
//! Since Linux 3.4 reboot(2) in a pid namespace ends only that namespace's init. Before, it reboots the machine, so that
//! CAP_SYS_BOOT must be dropped. A kernel that says it is 3.4 or newer is believed; an older one is asked: in a new pid
//! namespace CAD_ON and CAD_OFF answer EINVAL where the kernel knows pid namespaces, and where it does not, setting the
//! value that is set already does no harm.

use crate::sys::clone::{Fork, clone};
use crate::sys::fds::open;
use crate::sys::process::{self, Exit};
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::sys::utsname::uname;
use std::os::unix::ffi::OsStrExt;

/// True if CAP_SYS_BOOT must be dropped.
pub fn must_drop_sys_boot() -> bool {
    let aware = uname().is_ok_and(|name| at_least(name.release().as_bytes(), (3, 4)));
    !aware && !ask_kernel()
}

/// Compares the first two numbers of a kernel release.
fn at_least(release: &[u8], wanted: (u64, u64)) -> bool {
    let mut numbers = release.split(|b| !b.is_ascii_digit()).map(crate::text::number);
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(major), Some(minor)) => (major, minor) >= wanted,
        _ => false,
    }
}

const KNOWS: i32 = 0;
const KNOWS_NOT: i32 = 1;

fn ask_kernel() -> bool {
    let mut present = [0u8; 2];
    let read = open(c"/proc/sys/kernel/ctrl-alt-del", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
        .and_then(|file| nix::unistd::read(&file, &mut present));
    if read.is_err() {
        return false;
    }
    let [digit, _] = present;
    let same = if digit == b'0' { libc::RB_DISABLE_CAD } else { libc::RB_ENABLE_CAD };
    match clone(libc::CLONE_NEWPID as u64) {
        Ok(Fork::Child) => {
            let refused = process::reboot(same) == Err(nix::errno::Errno::EINVAL);
            process::exit_now(if refused { KNOWS } else { KNOWS_NOT })
        }
        Ok(Fork::Parent(pid)) => process::wait(pid) == Ok(Exit::Code(KNOWS)),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_least_releases_as_kernels_write_them() {
        assert!(at_least(b"6.18.44-fc", (3, 4)));
        assert!(at_least(b"3.10.108-android+", (3, 4)));
        assert!(at_least(b"3.4", (3, 4)));
        assert!(!at_least(b"3.3.8", (3, 4)));
        assert!(!at_least(b"2.6.60", (3, 4)));
        assert!(!at_least(b"weird", (3, 4)));
    }
}
