//! A process that ends when a property has a value: woken by bionic's futex, never by the clock.
//!
//! It maps the guest's areas, so a guest that cuts them short ends it by SIGBUS. That is the watcher's to see, and nobody
//! else's business.

use crate::android::areas::{Area, Areas};
use crate::android::properties::{self, SERIAL_AT};
use crate::sys::mapping::Mapping;
use nix::errno::Errno;
use std::os::fd::AsFd;

/// Areas that are looked at. Android 15 has about 500 contexts, vendors add some.
const AREAS: usize = 1024;

/// Waits until one of the areas has the property `name` with this value, or any.
///
/// # Errors
/// What kept an area from being mapped; EFAULT: `serial` became too short.
pub fn wait_for(areas: &Areas, serial: &Area, name: &[u8], value: Option<&[u8]>) -> nix::Result<()> {
    let counter = Mapping::of(serial.file.as_fd(), serial.length)?;
    let mut mapped: heapless::Vec<Mapping, AREAS> = heapless::Vec::new();
    areas.for_each(&mut |area| match area.length {
        0 => true,
        length => Mapping::of(area.file.as_fd(), length).is_ok_and(|mapping| mapped.push(mapping).is_ok()),
    })?;
    loop {
        // Looked at before the properties are: a change meanwhile ends the wait at once.
        let seen = counter.word(SERIAL_AT).ok_or(Errno::EFAULT)?;
        let found = mapped.iter().find_map(|area| properties::read(&|at| area.word(at), name));
        if found.is_some_and(|found| value.is_none_or(|value| found == value)) {
            return Ok(());
        }
        counter.wait(SERIAL_AT, seen)?;
        super::watcher::breathe();
    }
}
