//! Where the program's heap goes on when its static memory is full: blocks that are freed and used again.
//!
//! Blocks are of 16, 32, 64, ... bytes, cut from the end of a chunk; a freed one waits in the list of its size. What is larger
//! than half a chunk, or wants to lie on more than 16 bytes, is mapped and unmapped by itself. The C library's allocator would be
//! ten times as large, and made for threads that we do not have.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::{Cell, UnsafeCell};
use core::ptr::{self, NonNull};

/// The smallest block, and what every block lies on.
const LEAST: usize = 16;
/// The largest block that is cut from a chunk.
const MOST: usize = LEAST << (SIZES - 1);
const SIZES: usize = 12;
/// What the kernel is asked for at once.
const CHUNK: usize = 2 * MOST;

/// A freed block: in its first bytes lies the next one.
type Free = Option<NonNull<Link>>;

struct Link(Free);

/// The lists, and what is left to be cut.
pub struct Beyond {
    free: UnsafeCell<[Free; SIZES]>,
    /// What is left of the last chunk.
    rest: Cell<(*mut u8, usize)>,
}

// SAFETY: the program has one thread, and its signal handlers allocate nothing.
unsafe impl Sync for Beyond {}

/// The one that there is.
pub static BEYOND: Beyond = Beyond { free: UnsafeCell::new([None; SIZES]), rest: Cell::new((ptr::null_mut(), 0)) };

/// Which list a block of this layout belongs to; None: it is mapped by itself.
fn list_of(layout: Layout) -> Option<usize> {
    let size = layout.size().max(LEAST);
    (size <= MOST && layout.align() <= LEAST).then(|| (size - 1).ilog2() as usize + 1 - LEAST.ilog2() as usize)
}

fn map(size: usize) -> *mut u8 {
    let (writable, own) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: no address is asked for, so nothing that is mapped already is touched.
    let start = unsafe { libc::mmap(ptr::null_mut(), size, writable, own, -1, 0) };
    if start == libc::MAP_FAILED { ptr::null_mut() } else { start.cast() }
}

impl Beyond {
    /// Cuts a block off the chunk, or off a new one; what is left of the old one is lost.
    fn cut(&self, size: usize) -> *mut u8 {
        let (mut start, mut left) = self.rest.get();
        if left < size {
            (start, left) = (map(CHUNK), CHUNK);
            if start.is_null() {
                return start;
            }
        }
        self.rest.set((start.wrapping_add(size), left - size));
        start
    }
}

// SAFETY: a block is handed out once until it is freed: it is cut off the rest of a chunk, taken out of a list that it is put
// into only when it is freed, or a mapping of its own. It is as large as its list says, and lies on 16 bytes or on a page.
unsafe impl GlobalAlloc for Beyond {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(list) = list_of(layout) else { return map(layout.size()) };
        // SAFETY: one thread, and the reference does not leave this function.
        let free = unsafe { &mut *self.free.get() };
        let Some(head) = free.get_mut(list) else { return ptr::null_mut() };
        match *head {
            Some(block) => {
                // SAFETY: a block in a list is nobody's, and begins with its link.
                *head = unsafe { block.as_ref() }.0;
                block.as_ptr().cast()
            }
            None => self.cut(LEAST << list),
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some(block) = NonNull::new(block) else { return };
        let Some(list) = list_of(layout) else {
            // SAFETY: a mapping of this size, which its owner gives back.
            unsafe { libc::munmap(block.as_ptr().cast(), layout.size()) };
            return;
        };
        // SAFETY: one thread, and the reference does not leave this function.
        let free = unsafe { &mut *self.free.get() };
        if let Some(head) = free.get_mut(list) {
            let link = block.cast::<Link>();
            // SAFETY: the block is its owner's no more, has room for a link and lies on 16 bytes.
            unsafe { link.write(Link(*head)) };
            *head = Some(link);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_blocks_are_used_again_by_their_size() {
        let beyond = Beyond { free: UnsafeCell::new([None; SIZES]), rest: Cell::new((ptr::null_mut(), 0)) };
        let layout = |size| Layout::from_size_align(size, 8).unwrap();
        let sizes = [1, 16, 17, 100, MOST, MOST + 1];
        // SAFETY: each block is used within its layout and freed once.
        unsafe {
            let blocks = sizes.map(|size| beyond.alloc(layout(size)));
            for (block, size) in blocks.iter().zip(sizes) {
                assert!(block.is_aligned() && (*block as usize).is_multiple_of(LEAST));
                block.write_bytes(size as u8, size);
            }
            for (block, size) in blocks.iter().zip(sizes) {
                assert!(core::slice::from_raw_parts(*block, size).iter().all(|byte| *byte == size as u8));
                beyond.dealloc(*block, layout(size));
            }
            assert_eq!(beyond.alloc(layout(30)), blocks[2]);
            assert_eq!(beyond.alloc(layout(2)), blocks[1]);
        }
    }
}
