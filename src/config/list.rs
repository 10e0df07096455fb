//! A list that grows on the heap while the config is read, and refuses to grow beyond its limit.
//!
//! The config is read once, before anything runs, so it may allocate; what it then holds is as large as what the user wrote,
//! not as large as what he might have written. (With fixed capacity inside the config it would be 69 KB, all of it dirtied
//! by being moved into place: more than everything else that the idle supervisor needs.)

use core::ops::{Deref, DerefMut};

/// The list is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// At most `N` items.
#[derive(Clone, Debug)]
pub struct List<T, const N: usize> {
    items: Vec<T>,
}

impl<T, const N: usize> List<T, N> {
    /// An empty list.
    pub const fn new() -> Self {
        List { items: Vec::new() }
    }

    /// Appends an item, unless the list is full.
    pub fn push(&mut self, item: T) -> Result<(), Full> {
        if self.items.len() >= N {
            return Err(Full);
        }
        self.items.push(item);
        Ok(())
    }

    /// Inserts an item at `index` (clamped to the length), unless the list is full.
    pub fn insert(&mut self, index: usize, item: T) -> Result<(), Full> {
        if self.items.len() >= N {
            return Err(Full);
        }
        self.items.insert(index.min(self.items.len()), item);
        Ok(())
    }

    /// How many items it takes.
    pub const fn capacity(&self) -> usize {
        N
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.items.clear();
    }

    /// Keeps only what `keep` says.
    pub fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        // Shorter than Vec's own, which is made for lists of more than a few.
        let mut at = 0;
        while let Some(item) = self.items.get(at) {
            if keep(item) {
                at += 1;
            } else {
                self.items.remove(at);
            }
        }
    }
}

impl<T, const N: usize> Default for List<T, N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T, const N: usize> Deref for List<T, N> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.items
    }
}

impl<T, const N: usize> DerefMut for List<T, N> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.items
    }
}

impl<'a, T, const N: usize> IntoIterator for &'a List<T, N> {
    type Item = &'a T;
    type IntoIter = core::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_full_refuses_an_item() {
        let mut list = List::<u8, 2>::new();
        assert_eq!((list.push(1), list.push(2), list.push(3)), (Ok(()), Ok(()), Err(Full)));
        assert_eq!(list.insert(0, 4), Err(Full));
        list.clear();
        assert_eq!((list.insert(9, 5), list.insert(0, 6)), (Ok(()), Ok(())));
        assert_eq!(&*list, &[6, 5]);
    }
}
