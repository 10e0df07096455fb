//! The control device of a binderfs (include/uapi/linux/android/binderfs.h).

use super::check;
use nix::errno::Errno;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `struct binderfs_device`: in the name, out the numbers.
#[repr(C)]
struct Device {
    name: [u8; 256],
    major: u32,
    minor: u32,
}

/// BINDER_CTL_ADD, _IOWR('b', 1, struct binderfs_device): both ways, the size, the letter, the number.
const CTL_ADD: u32 = 3 << 30 | (size_of::<Device>() as u32) << 16 | (b'b' as u32) << 8 | 1;

/// Adds a node to the binderfs of which `control` is the control device. EEXIST: it has it.
pub fn add(control: BorrowedFd<'_>, name: &[u8]) -> nix::Result<()> {
    let mut device = Device { name: [0; 256], major: 0, minor: 0 };
    match device.name.get_mut(..name.len()) {
        // One byte at least is left for the NUL.
        Some(place) if name.len() < 256 => place.copy_from_slice(name),
        _ => return Err(Errno::ENAMETOOLONG),
    }
    // SAFETY: the request's size is that of `device`, which the kernel reads and writes and which outlives the call.
    check(unsafe { libc::ioctl(control.as_raw_fd(), CTL_ADD as _, &mut device as *mut Device) }.into()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn add_request_is_the_kernels() {
        assert_eq!(CTL_ADD, 0xc108_6201);
        assert_eq!((size_of::<Device>(), core::mem::offset_of!(Device, major)), (264, 256));
    }
}
