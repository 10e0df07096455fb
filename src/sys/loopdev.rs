//! Loop devices (loop(4)): the kernel's requests for a file that is to be a block device.

use super::check;
use nix::errno::Errno;
use std::os::fd::{AsRawFd, BorrowedFd};

const SET_FD: u32 = 0x4c00;
const CLR_FD: u32 = 0x4c01;
const SET_STATUS64: u32 = 0x4c04;
const CONFIGURE: u32 = 0x4c0a;
const CTL_GET_FREE: u32 = 0x4c82;

const READ_ONLY: u32 = 1;
/// The device lets go of the file when nobody has it open or mounted any more.
const AUTOCLEAR: u32 = 4;

/// `struct loop_info64` of <linux/loop.h>.
#[repr(C)]
struct Info {
    /// Device, inode, device number, offset and limit: 0 means what is the case already.
    numbers: [u64; 5],
    number: u32,
    encryption: [u32; 2],
    flags: u32,
    file_name: [u8; 64],
    crypt: [u8; 96],
    init: [u64; 2],
}

/// `struct loop_config`
#[repr(C)]
struct Config {
    fd: u32,
    block_size: u32,
    info: Info,
    reserved: [u64; 8],
}

impl Info {
    /// `name` is what losetup(8) shows; the kernel keeps 63 bytes of it.
    fn new(read_only: bool, name: &[u8]) -> Info {
        let mut file_name = [0; 64];
        for (to, from) in file_name.iter_mut().zip(name).take(63) {
            *to = *from;
        }
        let flags = AUTOCLEAR | if read_only { READ_ONLY } else { 0 };
        Info { numbers: [0; 5], number: 0, encryption: [0; 2], flags, file_name, crypt: [0; 96], init: [0; 2] }
    }
}

/// The number of a device that nobody uses; the kernel makes one if there is none. `control` is /dev/loop-control (Linux 3.1).
pub fn free(control: BorrowedFd<'_>) -> nix::Result<u32> {
    // SAFETY: the request takes no memory.
    check(unsafe { libc::ioctl(control.as_raw_fd(), CTL_GET_FREE as _) }.into()).map(|number| number as u32)
}

/// Makes `device` show `file` until its last user is gone (Linux 5.8). EBUSY: somebody was faster. EINVAL: no such request.
pub fn configure(device: BorrowedFd<'_>, file: BorrowedFd<'_>, read_only: bool, name: &[u8]) -> nix::Result<()> {
    let config =
        Config { fd: file.as_raw_fd() as u32, block_size: 0, info: Info::new(read_only, name), reserved: [0; 8] };
    // SAFETY: the kernel reads a `loop_config`, which outlives the call.
    check(unsafe { libc::ioctl(device.as_raw_fd(), CONFIGURE as _, &raw const config) }.into()).map(drop)
}

/// The same by the two requests of older kernels, which take read-only from how the two are open.
pub fn configure_in_two(device: BorrowedFd<'_>, file: BorrowedFd<'_>, name: &[u8]) -> nix::Result<()> {
    let device = device.as_raw_fd();
    // SAFETY: the request's argument is a descriptor.
    check(unsafe { libc::ioctl(device, SET_FD as _, file.as_raw_fd()) }.into())?;
    let info = Info::new(false, name);
    // SAFETY: the kernel reads a `loop_info64`, which outlives the call.
    check(unsafe { libc::ioctl(device, SET_STATUS64 as _, &raw const info) }.into()).map(drop).inspect_err(
        |_: &Errno| {
            // SAFETY: the request takes no memory.
            unsafe { libc::ioctl(device, CLR_FD as _, 0) };
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_is_the_kernels() {
        assert_eq!((size_of::<Info>(), size_of::<Config>()), (232, 304));
        assert_eq!((core::mem::offset_of!(Info, flags), core::mem::offset_of!(Info, file_name)), (52, 56));
    }
}
