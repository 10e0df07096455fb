#![no_main]
//! Hands argv to the library, nothing else.

#[cfg(not(feature = "alloc-audit"))]
use monopod::limits;

#[path = "sys/entry.rs"]
mod entry;
#[cfg(not(feature = "alloc-audit"))]
#[path = "sys/heap.rs"]
mod heap;
