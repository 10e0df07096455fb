//! Capability sets as bit masks, by capget(2) and capset(2). The `caps` crate keeps sets in a HashSet; the child has no heap.

use super::check;
use nix::errno::Errno;

/// `_LINUX_CAPABILITY_VERSION_3`: 64 capabilities in two words.
const VERSION_3: u32 = 0x2008_0522;

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Words {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// The three sets of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sets {
    /// What is in force.
    pub effective: u64,
    /// What may be put in force.
    pub permitted: u64,
    /// What an exec of a capable file would keep.
    pub inheritable: u64,
}

/// Reads the sets of this process.
pub fn get() -> nix::Result<Sets> {
    let mut header = Header { version: VERSION_3, pid: 0 };
    let mut words = [Words::default(); 2];
    // SAFETY: version 3 writes two `Words`, and a header of that version outlives the call.
    check(unsafe { libc::syscall(libc::SYS_capget, &mut header as *mut Header, words.as_mut_ptr()) })?;
    let [low, high] = words;
    let join = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
    Ok(Sets {
        effective: join(low.effective, high.effective),
        permitted: join(low.permitted, high.permitted),
        inheritable: join(low.inheritable, high.inheritable),
    })
}

/// Sets the sets of this process.
pub fn set(sets: Sets) -> nix::Result<()> {
    let mut header = Header { version: VERSION_3, pid: 0 };
    let word = |shift: u32| Words {
        effective: (sets.effective >> shift) as u32,
        permitted: (sets.permitted >> shift) as u32,
        inheritable: (sets.inheritable >> shift) as u32,
    };
    let words = [word(0), word(32)];
    // SAFETY: version 3 reads two `Words`; both arguments outlive the call.
    check(unsafe { libc::syscall(libc::SYS_capset, &mut header as *mut Header, words.as_ptr()) }).map(drop)
}

/// Drops one capability from the bounding set by number; EINVAL = the kernel has no such capability.
pub fn drop_bounding(number: u32) -> nix::Result<()> {
    // SAFETY: numbers only.
    check(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(number), 0, 0, 0) }.into()).map(drop)
}

/// Drops what a bounding set lacks, and all that an exec could give back.
pub fn keep_within(bounding: u64) -> nix::Result<()> {
    for number in (0..64).filter(|number| bounding >> number & 1 == 0) {
        match drop_bounding(number) {
            Ok(()) => {}
            Err(Errno::EINVAL) => break,
            Err(errno) => return Err(errno),
        }
    }
    set(Sets { inheritable: 0, ..get()? })?;
    match clear_ambient() {
        Ok(()) | Err(Errno::EINVAL) => Ok(()),
        other => other,
    }
}

/// Empties the ambient set; EINVAL before Linux 4.3, which has none.
pub fn clear_ambient() -> nix::Result<()> {
    // SAFETY: numbers only.
    check(unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong, 0, 0, 0) }.into())
        .map(drop)
}
