//! The size of the state: counts, and the bytes that it takes.
//!
//! No statistics are kept up. A [`StateCollector`] walks over the state whenever it is asked.
//!
//! # Notes
//! Bytes are those that the collections have allocated, used or not. The overhead of the allocator is not among them.

use std::cell::RefCell;
use std::rc::Rc;

/// The size of one worker's state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateStats {
    /// Baskets with at least one line, of those that this worker owns.
    pub baskets: u64,
    /// Lines of those baskets.
    pub lines: u64,
    /// Users with at least one of those baskets.
    pub users: u64,
    /// Items that have a name. Every worker knows all of them.
    pub items: u64,
    /// Items that were forgotten since the start, of those that this worker numbers.
    pub items_forgotten: u64,
    /// Items whose row this worker keeps, or a part of it.
    pub rows: u64,
    /// Open carts that are answered, of those whose baskets this worker owns.
    pub open_carts: u64,
    /// Users who are answered, of those that this worker owns.
    pub open_users: u64,
    /// Carts and users that the last refresh left for the next one, because of its limit.
    pub refresh_left: u64,
    /// Bytes of what carts and users are made of.
    pub subjects_bytes: u64,
    /// Bytes of the baskets: lines, names and users.
    pub ledger_bytes: u64,
    /// Bytes of the names of items.
    pub names_bytes: u64,
    /// Bytes of the interactions, by basket and by item.
    pub index_bytes: u64,
    /// Bytes of reserves, estimates, lists and supports.
    pub rows_bytes: u64,
}

/// State that can be measured.
pub(crate) trait Measured {
    /// Adds what it holds to `stats`. Takes some nanoseconds for each basket, item or row.
    fn add_to(&self, stats: &mut StateStats);
}

/// Measures one worker's state on demand, between two steps of the worker.
///
/// It shares the state with the operators of the dataflow, so it needs no messages, and adds no work to them.
#[derive(Clone, Default)]
pub struct StateCollector {
    /// The parts of the state.
    parts: Vec<Rc<RefCell<dyn Measured>>>,
}

impl StateCollector {
    /// Measures one more part of the state.
    pub(crate) fn add(&mut self, part: Rc<RefCell<dyn Measured>>) {
        self.parts.push(part);
    }

    /// The size of the state now. Takes time in proportion to the number of baskets, items and rows.
    ///
    /// # Panics
    /// While the worker is inside one of the dataflow's operators. Between two steps it never is.
    pub fn collect(&self) -> StateStats {
        let mut stats = StateStats::default();
        self.parts.iter().for_each(|part| part.borrow().add_to(&mut stats));
        stats
    }
}

/// The bytes that a vector has allocated.
pub(crate) fn bytes<T>(vector: &Vec<T>) -> u64 {
    (vector.capacity() * size_of::<T>()) as u64
}

/// The bytes that vectors have allocated, all of them together.
pub(crate) fn bytes_of_all<'a, T: 'a>(vectors: impl IntoIterator<Item = &'a Vec<T>>) -> u64 {
    vectors.into_iter().map(bytes).sum()
}
