//! Error texts in static memory, lent out one at a time: they are rare and large, so they are neither carried about on the
//! stack by every function that may fail nor put on a heap that the supervisor does not have.

use crate::limits::{ERROR_BYTES, ERRORS};
use crate::text::Line;
use core::cell::UnsafeCell;
use core::num::NonZeroU8;
use core::sync::atomic::{AtomicBool, Ordering};

/// What is lent: what an error says.
pub struct Note {
    /// The step that failed.
    pub step: Option<&'static str>,
    /// What it was about.
    pub text: Line<ERROR_BYTES>,
    /// The kernel's answer; 0 where there was none.
    pub errno: i32,
}

impl Note {
    /// All zeroes, so that the places take no room in the file.
    const EMPTY: Note = Note { step: None, text: Line::new(), errno: 0 };
}

struct Place {
    taken: AtomicBool,
    note: UnsafeCell<Note>,
}

// SAFETY: `note` is reached only through the place's `Lease`, of which there is one at a time: `taken` is set when it is
// made and cleared when it is dropped, with acquire and release between the two holders.
unsafe impl Sync for Place {}

const _: () = assert!(ERRORS < NONE.get() as usize);

#[unsafe(link_section = ".bss.large")]
static PLACES: [Place; ERRORS] =
    [const { Place { taken: AtomicBool::new(false), note: UnsafeCell::new(Note::EMPTY) } }; ERRORS];

/// A note that is ours until this is dropped; or none, if all were lent: then it reads as an empty one.
pub struct Lease(NonZeroU8);

/// The number of no place.
const NONE: NonZeroU8 = NonZeroU8::MAX;

impl Lease {
    /// An empty note.
    pub fn empty() -> Lease {
        let free = |place: &Place| !place.taken.swap(true, Ordering::Acquire);
        let number = PLACES.iter().position(free).and_then(|index| NonZeroU8::new(index as u8 + 1));
        let mut lease = Lease(number.unwrap_or(NONE));
        if let Some(note) = lease.note_mut() {
            note.text.clear();
            note.errno = 0;
        }
        lease
    }

    fn place(&self) -> Option<&'static Place> {
        PLACES.get(usize::from(self.0.get()) - 1)
    }

    /// The note.
    #[inline(never)]
    pub fn note(&self) -> &Note {
        match self.place() {
            // SAFETY: the place is ours alone as long as `self` lives, and `self` is borrowed for reading.
            Some(place) => unsafe { &*place.note.get() },
            None => const { &Note::EMPTY },
        }
    }

    /// The note, to be written.
    #[inline(never)]
    pub fn note_mut(&mut self) -> Option<&mut Note> {
        // SAFETY: the place is ours alone as long as `self` lives, and `self` is borrowed for writing.
        self.place().map(|place| unsafe { &mut *place.note.get() })
    }
}

impl Drop for Lease {
    #[inline(never)]
    fn drop(&mut self) {
        if let Some(place) = self.place() {
            place.taken.store(false, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lease_dropped_is_lent_again_and_empty() {
        // Other tests have leases too, so only what is ours is looked at.
        let mut first = Lease::empty();
        first.note_mut().unwrap().text.push(b"one");
        let second = Lease::empty();
        assert_ne!(first.0, second.0);
        assert_eq!(second.note().text.bytes(), b"");
        assert_eq!(first.note().text.bytes(), b"one");
        drop((first, second));
        let held: Vec<Lease> = (0..8).map(|_| Lease::empty()).collect();
        assert!(held.iter().all(|lease| lease.note().text.bytes().is_empty()));
    }

    #[test]
    fn lease_of_no_place_reads_as_empty() {
        let mut none = Lease(NONE);
        assert!(none.note_mut().is_none());
        assert_eq!(none.note().text.bytes(), b"");
    }
}
