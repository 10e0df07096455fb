//! A property area as bionic makes it, for tests: allocated from the front, names in trees that nobody balances.

use std::sync::atomic::{Ordering::SeqCst, fence};

const DATA: usize = 128;
const NODE: usize = 20;
const INFO: usize = 4 + 92;

/// The bytes of an area.
pub struct Area<'a>(&'a mut [u8]);

impl<'a> Area<'a> {
    /// Makes zeroed bytes an empty area.
    pub fn format(bytes: &'a mut [u8]) -> Self {
        let mut area = Area(bytes);
        // The root, and from Android 12 on a place for a value that is being replaced.
        area.put(0, (NODE + 92) as u32);
        area.put(8, 0x504f_5250);
        area.put(12, 0xfc6e_d0ab);
        area
    }

    /// An area that exists.
    #[allow(dead_code)] // of the guest only
    pub fn open(bytes: &'a mut [u8]) -> Self {
        Area(bytes)
    }

    /// Makes a property or changes it, in bionic's order: dirty, value, serial.
    pub fn set(&mut self, name: &str, value: &str) {
        let info = self.property(name);
        let serial = self.get(info);
        self.put(info, serial | 1);
        fence(SeqCst);
        self.0[info + 4..info + 4 + value.len()].copy_from_slice(value.as_bytes());
        self.0[info + 4 + value.len()] = 0;
        fence(SeqCst);
        self.put(info, (value.len() as u32) << 24 | (serial & 0xff_ffff).wrapping_add(2) & 0xff_fffe);
    }

    /// Makes a constant that is too long for a value.
    #[allow(dead_code)] // of the unit tests only
    pub fn set_long(&mut self, name: &str, value: &str) {
        let info = self.property(name);
        let place = DATA + self.allocate(value.len() + 1);
        self.0[place..place + value.len()].copy_from_slice(value.as_bytes());
        self.put(info + 4 + 56, (place - info) as u32);
        self.put(info, 50 << 24 | 1 << 16);
    }

    /// Counts an area's own serial up. Who does it in shared memory wakes the word at byte 4.
    #[allow(dead_code)] // of the guest only
    pub fn count(&mut self) {
        fence(SeqCst);
        let serial = self.get(4);
        self.put(4, serial.wrapping_add(1));
    }

    fn property(&mut self, name: &str) -> usize {
        let mut node = DATA;
        for piece in name.split('.') {
            node = self.piece(node, piece);
        }
        if self.get(node + 4) == 0 {
            let info = self.allocate(INFO + name.len() + 1);
            self.0[DATA + info + INFO..][..name.len()].copy_from_slice(name.as_bytes());
            fence(SeqCst);
            self.put(node + 4, info as u32);
        }
        DATA + self.get(node + 4) as usize
    }

    fn piece(&mut self, parent: usize, piece: &str) -> usize {
        let mut link = parent + 16;
        loop {
            if self.get(link) == 0 {
                let node = self.allocate(NODE + piece.len() + 1);
                self.put(DATA + node, piece.len() as u32);
                self.0[DATA + node + NODE..][..piece.len()].copy_from_slice(piece.as_bytes());
                fence(SeqCst);
                self.put(link, node as u32);
            }
            let node = DATA + self.get(link) as usize;
            let length = self.get(node) as usize;
            let name = &self.0[node + NODE..][..length];
            link = match (piece.len(), piece.as_bytes()).cmp(&(length, name)) {
                std::cmp::Ordering::Equal => return node,
                std::cmp::Ordering::Less => node + 8,
                std::cmp::Ordering::Greater => node + 12,
            };
        }
    }

    fn allocate(&mut self, bytes: usize) -> usize {
        let place = self.get(0) as usize;
        self.put(0, (place + bytes.next_multiple_of(4)) as u32);
        place
    }

    fn get(&self, at: usize) -> u32 {
        u32::from_ne_bytes(self.0[at..at + 4].try_into().unwrap())
    }

    fn put(&mut self, at: usize, word: u32) {
        self.0[at..at + 4].copy_from_slice(&word.to_ne_bytes());
    }
}
