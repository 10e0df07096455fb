//! Giving back what only a start needed: the stack's unused depth, and the program's own pages as far as they are mapped.
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

unsafe extern "C" {
    /// Where the linker has put the beginning of the program, and the end of its code.
    safe static __executable_start: u8;
    safe static etext: u8;
}

/// Lets go of the mapping of the program's code and constants: what runs next maps the little that it needs again, out of the
/// page cache and without a copy. A start runs through nearly all of it, the supervisor's loop through a tenth.
pub fn give_code_back() {
    let begin = &raw const __executable_start as usize & !(PAGE - 1);
    let end = (&raw const etext as usize).next_multiple_of(PAGE);
    // SAFETY: the range is the program's read-only part, which is a private mapping of its file and never written: what is
    // dropped is read from the same file again. Where it is not mapped, or pages are larger, the call changes nothing.
    unsafe { libc::madvise(begin as *mut libc::c_void, end - begin, libc::MADV_DONTNEED) };
}
