#![no_main]
//! Hands argv to the library, nothing else.

#[path = "sys/entry.rs"]
mod entry;
