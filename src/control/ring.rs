//! The last bytes of the console, for who asks later (`lxc.console.buffer.size`).

/// A ring of bytes that forgets the oldest.
pub struct Ring {
    bytes: Vec<u8>,
    /// Where the next byte goes.
    at: usize,
    /// How many of the bytes before it are remembered.
    used: usize,
}

impl Ring {
    /// A ring of `size` bytes; the only memory of the supervisor that grows with a setting, taken before the first life.
    pub fn new(size: usize) -> Self {
        Ring { bytes: vec![0; size], at: 0, used: 0 }
    }

    /// Remembers bytes, forgetting the oldest.
    pub fn push(&mut self, bytes: &[u8]) {
        let size = self.bytes.len();
        let mut rest = bytes.get(bytes.len().saturating_sub(size)..).unwrap_or(bytes);
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(size - self.at));
            if let Some(space) = self.bytes.get_mut(self.at..self.at + now.len()) {
                space.copy_from_slice(now);
            }
            self.at = (self.at + now.len()) % size;
            self.used = (self.used + now.len()).min(size);
            rest = later;
        }
    }

    /// How many bytes are remembered.
    pub fn len(&self) -> usize {
        self.used
    }

    /// Nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// `length` of the remembered bytes from the `from`th oldest on, as far as there are, in two parts.
    pub fn slice(&self, from: usize, length: usize) -> [&[u8]; 2] {
        let size = self.bytes.len();
        let from = from.min(self.used);
        let length = length.min(self.used - from);
        let begin = if size == 0 { 0 } else { (self.at + size - self.used + from) % size };
        let first = length.min(size - begin);
        [self.bytes.get(begin..begin + first), self.bytes.get(..length - first)].map(Option::unwrap_or_default)
    }

    /// Forgets the `count` oldest.
    pub fn forget(&mut self, count: usize) {
        self.used -= count.min(self.used);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(ring: &Ring) -> Vec<u8> {
        ring.slice(0, usize::MAX).concat()
    }

    #[test]
    fn ring_more_than_its_size_keeps_the_last_bytes() {
        let mut ring = Ring::new(4);
        ring.push(b"ab");
        assert_eq!(seen(&ring), b"ab");
        ring.push(b"cde");
        assert_eq!(seen(&ring), b"bcde");
        ring.push(b"0123456789");
        assert_eq!(seen(&ring), b"6789");
        ring.push(b"x");
        assert_eq!(seen(&ring), b"789x");
    }

    #[test]
    fn ring_forgets_from_the_oldest_and_slices_anywhere() {
        let mut ring = Ring::new(5);
        ring.push(b"abcdefg");
        assert_eq!(ring.slice(1, 3).concat(), b"def");
        assert_eq!(ring.slice(9, 3).concat(), b"");
        ring.forget(2);
        assert_eq!((seen(&ring), ring.len()), (b"efg".to_vec(), 3));
        ring.push(b"hij");
        assert_eq!(seen(&ring), b"fghij");
        ring.forget(99);
        assert!(ring.is_empty() && seen(&ring).is_empty());
        ring.push(b"k");
        assert_eq!(seen(&ring), b"k");
    }
}
