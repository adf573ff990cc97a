//! Names numbered densely from 0, each stored once; numbers of forgotten names are given out again.
//!
//! A hash table of numbers beside a vector of names ([`ByName`]): a look-up hashes the name and compares it where it
//! stands. The hash has a random seed, so that no set of hostile ids makes the table slow; nothing observable
//! depends on it.
//!
//! Names may be of several kinds: a number is given again to names of the same kind only, so it says the kind for ever.

use crate::Name;
use crate::sizes::{bytes, bytes_of_all};
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use std::hash::BuildHasher;

/// A two-way table of names and their numbers.
#[derive(Default)]
pub(crate) struct Numbers {
    by_name: ByName,
    names: Vec<Name>,
    /// By kind.
    free: Vec<Vec<u32>>,
}

/// Numbers, each found by its name, which stands at that number in a vector of whoever asks.
#[derive(Default)]
pub(crate) struct ByName {
    table: HashTable<u32>,
    hasher: RandomState,
}

impl ByName {
    /// The number of `name`, if it has one.
    pub(crate) fn get(&self, names: &[Name], name: &str) -> Option<u32> {
        self.table.find(self.hash(name), |&number| names[number as usize] == name).copied()
    }

    /// Has the name that stands at `number` found there, and no more where it was found before.
    pub(crate) fn insert(&mut self, names: &[Name], number: u32) {
        let name = &names[number as usize];
        let (hash, hasher) = (self.hash(name), &self.hasher);
        let is_name = |&number: &u32| names[number as usize] == *name;
        let hash_of = |&number: &u32| hasher.hash_one(names[number as usize].as_str());
        self.table.entry(hash, is_name, hash_of).insert(number);
    }

    /// Forgets the number, whose name still stands there. Returns whether its name was found there.
    pub(crate) fn remove(&mut self, names: &[Name], number: u32) -> bool {
        let entry = self.table.find_entry(self.hash(&names[number as usize]), |&other| other == number);
        entry.map(|entry| entry.remove()).is_ok()
    }

    /// How many numbers there are.
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// The bytes it has allocated.
    pub(crate) fn bytes(&self) -> u64 {
        self.table.allocation_size() as u64
    }

    fn hash(&self, name: &str) -> u64 {
        self.hasher.hash_one(name)
    }
}

impl Numbers {
    /// The number of `name`, if it has one.
    pub(crate) fn get(&self, name: &str) -> Option<u32> {
        self.by_name.get(&self.names, name)
    }

    /// The number of `name`, and whether it was given just now.
    pub(crate) fn get_or_insert(&mut self, name: &Name) -> (u32, bool) {
        self.get_or_insert_of_kind(0, name)
    }

    /// The same for a name that is of this kind whenever it is met.
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
                u32::try_from(self.names.len() - 1).expect("names of four billion items do not fit in memory")
            }
        };
        self.by_name.insert(&self.names, number);
        (number, true)
    }

    /// Forgets a name; its number may be given to another. Does nothing when the number is free already.
    pub(crate) fn remove(&mut self, number: u32) {
        self.remove_of_kind(0, number);
    }

    /// The same for a name of this kind.
    pub(crate) fn remove_of_kind(&mut self, kind: u8, number: u32) {
        let was_given = self.by_name.remove(&self.names, number);
        self.names[number as usize] = Name::default();
        if was_given {
            if self.free.len() <= usize::from(kind) {
                self.free.resize(usize::from(kind) + 1, Vec::new());
            }
            self.free[usize::from(kind)].push(number);
        }
    }

    /// The name of a number that is given to one.
    pub(crate) fn name(&self, number: u32) -> &Name {
        &self.names[number as usize]
    }

    /// How many names have a number.
    pub(crate) fn given(&self) -> usize {
        self.by_name.len()
    }

    /// The bytes it has allocated.
    pub(crate) fn bytes(&self) -> u64 {
        let long = self.names.iter().filter(|name| name.is_heap_allocated());
        let long: usize = long.map(|name| name.capacity()).sum();
        self.by_name.bytes() + long as u64 + bytes(&self.names) + bytes_of_all(&self.free)
    }

    /// One more than the largest number ever given.
    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_dense_stable_and_given_again() {
        let mut numbers = Numbers::default();
        let (a, b, c): (Name, Name, Name) = ("a".into(), "b".into(), "c".into());
        assert_eq!(numbers.get_or_insert(&a), (0, true));
        assert_eq!(numbers.get_or_insert(&b), (1, true));
        assert_eq!(numbers.get_or_insert(&a), (0, false));
        assert_eq!(numbers.get("b"), Some(1));
        numbers.remove(0);
        assert_eq!(numbers.get("a"), None);
        assert_eq!(numbers.get_or_insert(&c), (0, true));
        assert_eq!(numbers.get_or_insert(&a), (2, true));
        assert_eq!(numbers.len(), 3);
    }

    #[test]
    fn a_number_keeps_its_kind() {
        let mut numbers = Numbers::default();
        let (a, b, c): (Name, Name, Name) = ("a".into(), "b".into(), "c".into());
        assert_eq!(numbers.get_or_insert_of_kind(3, &a), (0, true));
        numbers.remove_of_kind(3, 0);
        assert_eq!(numbers.get_or_insert_of_kind(1, &b), (1, true));
        assert_eq!(numbers.get_or_insert_of_kind(3, &c), (0, true));
    }
}
