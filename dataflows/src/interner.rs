//! An interner: names get dense numbers from 0, and each name is stored once.
//!
//! A vector holds the names. Beside it, a hash table holds the numbers ([`NameIndex`]). A look-up hashes a name and
//! compares it with the one in the vector.
//!
//! ```text
//! name ──hash──▶ table: 2 ──▶ names[2] == name? ──▶ number 2
//! number 2 ─────────────────▶ names[2] ───────────▶ name
//! ```
//!
//! A removed name frees its number for another name. Names may be of several kinds: a free number goes to a name of its
//! own kind only, so a number keeps its kind for ever.
//!
//! # Notes
//! The hash has a random seed, so hostile names cannot make the table slow. Nothing that can be observed depends on it.

use crate::Name;
use crate::state_stats::{bytes, bytes_of_all};
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use std::hash::BuildHasher;

/// A two-way table of names and their numbers.
#[derive(Default)]
pub(crate) struct Interner {
    /// Finds the number of a name.
    index: NameIndex,
    /// The name of each number. Empty where the number is free.
    names: Vec<Name>,
    /// The free numbers of each kind.
    free: Vec<Vec<u32>>,
}

/// Finds the number of a name. The caller keeps the names, each at its number in a slice.
#[derive(Default)]
pub(crate) struct NameIndex {
    /// The numbers, by the hashes of their names.
    table: HashTable<u32>,
    /// Seeded at random.
    hasher: RandomState,
}

impl NameIndex {
    /// The number of `name`, if it has one.
    pub(crate) fn get(&self, names: &[Name], name: &str) -> Option<u32> {
        self.table.find(self.hash(name), |&number| names[number as usize] == name).copied()
    }

    /// Maps the name at `number` to that number, in place of the number that it had before.
    pub(crate) fn insert(&mut self, names: &[Name], number: u32) {
        let name = &names[number as usize];
        let (hash, hasher) = (self.hash(name), &self.hasher);
        let is_name = |&number: &u32| names[number as usize] == *name;
        let hash_of = |&number: &u32| hasher.hash_one(names[number as usize].as_str());
        self.table.entry(hash, is_name, hash_of).insert(number);
    }

    /// Removes a number whose name is still in `names`. Returns whether the name had that number.
    pub(crate) fn remove(&mut self, names: &[Name], number: u32) -> bool {
        let entry = self.table.find_entry(self.hash(&names[number as usize]), |&other| other == number);
        entry.map(|entry| entry.remove()).is_ok()
    }

    /// The number of names.
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// The bytes it has allocated.
    pub(crate) fn bytes(&self) -> u64 {
        self.table.allocation_size() as u64
    }

    /// The hash of a name.
    fn hash(&self, name: &str) -> u64 {
        self.hasher.hash_one(name)
    }
}

impl Interner {
    /// The number of `name`, if it has one.
    pub(crate) fn get(&self, name: &str) -> Option<u32> {
        self.index.get(&self.names, name)
    }

    /// The number of `name`, and whether it is new. A new name is of kind 0.
    pub(crate) fn get_or_insert(&mut self, name: &Name) -> (u32, bool) {
        self.get_or_insert_of_kind(0, name)
    }

    /// The number of `name`, and whether it is new. The caller always gives a name the same kind.
    pub(crate) fn get_or_insert_of_kind(&mut self, kind: u8, name: &Name) -> (u32, bool) {
        if let Some(number) = self.get(name) {
            return (number, false);
        }
        let number = match self.free.get_mut(usize::from(kind)).and_then(Vec::pop) {
            Some(number) => {
                self.names[number as usize] = name.clone();
                number
            }
            None => {
                self.names.push(name.clone());
                u32::try_from(self.names.len() - 1).expect("four billion names do not fit in memory")
            }
        };
        self.index.insert(&self.names, number);
        (number, true)
    }

    /// Removes a name of kind 0 and frees its number. Does nothing when the number is free.
    pub(crate) fn remove(&mut self, number: u32) {
        self.remove_of_kind(0, number);
    }

    /// Removes a name of this kind and frees its number. Does nothing when the number is free.
    pub(crate) fn remove_of_kind(&mut self, kind: u8, number: u32) {
        let was_in_use = self.index.remove(&self.names, number);
        self.names[number as usize] = Name::default();
        if was_in_use {
            if self.free.len() <= usize::from(kind) {
                self.free.resize(usize::from(kind) + 1, Vec::new());
            }
            self.free[usize::from(kind)].push(number);
        }
    }

    /// The name of a number that is in use.
    pub(crate) fn name(&self, number: u32) -> &Name {
        &self.names[number as usize]
    }

    /// The number of names.
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// The bytes it has allocated.
    pub(crate) fn bytes(&self) -> u64 {
        let long = self.names.iter().filter(|name| name.is_heap_allocated());
        let long: usize = long.map(|name| name.capacity()).sum();
        self.index.bytes() + long as u64 + bytes(&self.names) + bytes_of_all(&self.free)
    }

    /// One more than the largest number that was ever in use.
    pub(crate) fn numbers_end(&self) -> usize {
        self.names.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_dense_stable_and_reused() {
        let mut interner = Interner::default();
        let (a, b, c): (Name, Name, Name) = ("a".into(), "b".into(), "c".into());
        assert_eq!(interner.get_or_insert(&a), (0, true));
        assert_eq!(interner.get_or_insert(&b), (1, true));
        assert_eq!(interner.get_or_insert(&a), (0, false));
        assert_eq!(interner.get("b"), Some(1));
        interner.remove(0);
        assert_eq!(interner.get("a"), None);
        assert_eq!(interner.get_or_insert(&c), (0, true));
        assert_eq!(interner.get_or_insert(&a), (2, true));
        assert_eq!(interner.numbers_end(), 3);
    }

    #[test]
    fn a_number_keeps_its_kind() {
        let mut interner = Interner::default();
        let (a, b, c): (Name, Name, Name) = ("a".into(), "b".into(), "c".into());
        assert_eq!(interner.get_or_insert_of_kind(3, &a), (0, true));
        interner.remove_of_kind(3, 0);
        assert_eq!(interner.get_or_insert_of_kind(1, &b), (1, true));
        assert_eq!(interner.get_or_insert_of_kind(3, &c), (0, true));
    }
}
