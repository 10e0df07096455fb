//! The program's heap: a mark that moves up through static memory.
//!
//! A start allocates some dozens of blocks that live as long as the process, and then never again. The C library's allocator
//! spends a system call and a page on nearly each of them, as they are of different sizes; here they lie side by side. The
//! youngest block grows and goes in place. What is freed out of order is lost until the end, and what does not fit any more
//! comes from `beyond`: a command that works on for hours loses no more than `SIZE`.
//!
//! This file is a module of the program, not of the library, whose tests have threads.
#![allow(unsafe_code)]

use crate::limits::TEXT_BYTES;
use beyond::BEYOND;
use core::cell::{Cell, UnsafeCell};
use core::ptr;
use std::alloc::{GlobalAlloc, Layout};

#[path = "beyond.rs"]
mod beyond;

/// Bytes. The text of a config, and room for everything else. Pages that are never written cost nothing.
const SIZE: usize = TEXT_BYTES + 128 * 1024;

#[cfg(not(test))]
#[global_allocator]
#[unsafe(link_section = ".bss.large")]
static HEAP: Heap = Heap::new();

/// The heap.
#[repr(C)] // The marks in the first page, which is used, not behind the last, which is not.
pub struct Heap {
    /// Where the next block begins.
    top: Cell<usize>,
    /// How far blocks have ever reached: what is above is still zero.
    reached: Cell<usize>,
    memory: UnsafeCell<[u8; SIZE]>,
}

// SAFETY: the program has one thread, and its signal handlers allocate nothing.
unsafe impl Sync for Heap {}

impl Heap {
    /// Nothing is allocated.
    pub const fn new() -> Self {
        Heap { memory: UnsafeCell::new([0; SIZE]), top: Cell::new(0), reached: Cell::new(0) }
    }

    fn base(&self) -> *mut u8 {
        self.memory.get().cast()
    }

    /// Where a block lies in our memory, if it is ours.
    fn offset(&self, block: *mut u8) -> Option<usize> {
        let offset = (block as usize).wrapping_sub(self.base() as usize);
        (offset < SIZE).then_some(offset)
    }

    fn rise(&self, top: usize) {
        self.top.set(top);
        self.reached.set(self.reached.get().max(top));
    }
}

// SAFETY: blocks are `layout.size()` bytes of `memory` from an aligned address on, and disjoint: each begins at or above `top`,
// which is the end of the highest block that was not freed. The others are `BEYOND`'s, handed back to it unchanged.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let base = self.base() as usize;
        let begin = (base + self.top.get()).next_multiple_of(layout.align()) - base;
        match begin.checked_add(layout.size()) {
            Some(end) if end <= SIZE => {
                self.rise(end);
                // SAFETY: `begin` is inside `memory`, by the comparison above.
                unsafe { self.base().add(begin) }
            }
            // SAFETY: the caller's contract is the same.
            _ => unsafe { BEYOND.alloc(layout) },
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let reached = self.reached.get();
        // SAFETY: the caller's contract is `alloc`'s.
        let block = unsafe { self.alloc(layout) };
        let used = match self.offset(block) {
            Some(begin) => reached.saturating_sub(begin).min(layout.size()),
            None if block.is_null() => 0,
            None => layout.size(),
        };
        // SAFETY: `used` is at most the block's size.
        unsafe { ptr::write_bytes(block, 0, used) };
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match self.offset(block) {
            Some(begin) if begin + layout.size() == self.top.get() => self.top.set(begin),
            Some(_) => {}
            // SAFETY: what is not ours came from there.
            None => unsafe { BEYOND.dealloc(block, layout) },
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Some(begin) = self.offset(block) else {
            // SAFETY: what is not ours came from there.
            return unsafe { BEYOND.realloc(block, layout, size) };
        };
        if begin + layout.size() == self.top.get() && size <= SIZE - begin {
            self.rise(begin + size);
            return block;
        }
        // SAFETY: the alignment is one of an existing layout, and the caller's contract keeps the size within bounds.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        // SAFETY: the new block is another one than the old; what is copied is in both.
        unsafe {
            let new = self.alloc(wanted);
            if !new.is_null() {
                ptr::copy_nonoverlapping(block, new, layout.size().min(size));
                self.dealloc(block, layout);
            }
            new
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).unwrap()
    }

    #[test]
    fn heap_blocks_are_aligned_and_apart() {
        let heap = Box::new(Heap::new());
        // SAFETY: nothing is freed, and nothing outside of a block is touched.
        let [one, two, three] = unsafe { [(3, 1), (8, 64), (5, 8)].map(|(s, a)| heap.alloc(layout(s, a)) as usize) };
        assert!(one + 3 <= two && two.is_multiple_of(64) && two + 8 <= three && three.is_multiple_of(8));
    }

    #[test]
    fn heap_youngest_block_grows_in_place_and_an_older_one_moves() {
        let heap = Box::new(Heap::new());
        // SAFETY: each block is used with the layout that it has at that time.
        unsafe {
            let old = heap.alloc(layout(4, 4));
            let young = heap.alloc(layout(4, 4));
            young.cast::<u32>().write(7);
            assert_eq!(heap.realloc(young, layout(4, 4), 4000), young);
            old.cast::<u32>().write(8);
            let moved = heap.realloc(old, layout(4, 4), 12);
            assert_ne!(moved, old);
            assert_eq!((moved.cast::<u32>().read(), young.cast::<u32>().read()), (8, 7));
        }
    }

    #[test]
    fn heap_zeroed_block_is_zero_where_another_was() {
        let heap = Box::new(Heap::new());
        // SAFETY: each block is used within its layout and freed once.
        unsafe {
            let used = heap.alloc(layout(64, 8));
            used.write_bytes(1, 64);
            heap.dealloc(used, layout(64, 8));
            let fresh = heap.alloc_zeroed(layout(128, 8));
            assert_eq!(fresh, used);
            assert!(core::slice::from_raw_parts(fresh, 128).iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn heap_full_goes_on_beyond() {
        let heap = Box::new(Heap::new());
        let large = layout(SIZE + 1, 8);
        // SAFETY: the block is freed once, with its layout at that time.
        unsafe {
            let block = heap.alloc_zeroed(large);
            assert!(heap.offset(block).is_none() && block.add(SIZE).read() == 0);
            let block = heap.realloc(block, large, SIZE + 2);
            heap.dealloc(block, layout(SIZE + 2, 8));
        }
        assert_eq!(heap.top.get(), 0);
    }
}
