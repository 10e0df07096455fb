//! What only the machine's init asks of the kernel: modules, the watchdog, the end of everything.

use super::check;
use core::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `MODULE_INIT_COMPRESSED_FILE` (Linux 5.17)
const COMPRESSED: libc::c_int = 4;

/// finit_module(2) (Linux 3.8). EEXIST when it is loaded already.
pub fn load_module(file: BorrowedFd<'_>, parameters: &CStr, compressed: bool) -> nix::Result<()> {
    let flags = if compressed { COMPRESSED } else { 0 };
    // SAFETY: `parameters` is a C string that outlives the call; the kernel only reads it.
    check(unsafe { libc::syscall(libc::SYS_finit_module, file.as_raw_fd(), parameters.as_ptr(), flags) }).map(drop)
}

/// reboot(2) with LINUX_REBOOT_CMD_RESTART2: `argument` goes to firmware or boot loader. Returns only its error.
pub fn reboot_with(argument: &CStr) -> nix::Result<()> {
    let (magic, magic2) = (libc::LINUX_REBOOT_MAGIC1, libc::LINUX_REBOOT_MAGIC2);
    // SAFETY: `argument` is a C string that outlives the call; the kernel copies it.
    check(unsafe { libc::syscall(libc::SYS_reboot, magic, magic2, libc::LINUX_REBOOT_CMD_RESTART2, argument.as_ptr()) })
        .map(drop)
}

/// `WDIOC_SETTIMEOUT`, `_IOWR('W', 6, int)` (Documentation/watchdog/watchdog-api.rst).
const WDIOC_SETTIMEOUT: u32 = 0xc004_5706;

/// Sets a watchdog's time; the time that it took, in seconds. ENOTTY or EOPNOTSUPP where it has but one.
pub fn set_watchdog_timeout(device: BorrowedFd<'_>, seconds: u32) -> nix::Result<u32> {
    let mut seconds = seconds as libc::c_int;
    // SAFETY: the call reads and writes one int, which outlives it.
    check(unsafe { libc::ioctl(device.as_raw_fd(), WDIOC_SETTIMEOUT as _, &mut seconds as *mut libc::c_int) }.into())?;
    Ok(seconds.unsigned_abs())
}
