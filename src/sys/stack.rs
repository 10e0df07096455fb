//! Giving the stack's unused depth back.
//!
//! Reading a config and preparing a start go 200 KB deep once; supervising needs a few pages. The kernel never takes touched
//! stack pages back by itself, and on a phone they are most of what an idle supervisor would hold.

/// How far below the present frame the stack is left alone: room for the system call's own frame and a red zone.
const MARGIN: usize = 1024;
/// How deep a start may have gone.
const DEPTH: usize = 1024 * 1024;
const PAGE: usize = 4096;

/// Drops the pages of the stack from well below this frame downwards.
#[inline(never)]
pub fn trim() {
    let here = core::hint::black_box(0u8);
    let top = (&here as *const u8 as usize).saturating_sub(MARGIN) & !(PAGE - 1);
    let bottom = top.saturating_sub(DEPTH) & !(PAGE - 1);
    // SAFETY: the stack grows downwards, so what lies below this frame by more than a margin belongs to no live call, and
    // this is the process's only thread. Parts of the range that are not mapped make the call answer ENOMEM, after it has
    // dealt with the rest; a page size above 4 KiB makes it answer EINVAL and do nothing.
    unsafe { libc::madvise(bottom as *mut libc::c_void, top - bottom, libc::MADV_DONTNEED) };
}
