//! The name table of one worker: the name of each item, and the item of each name.

use crate::id_vec::{Id, IdVec};
use crate::interner::NameIndex;
use crate::state_stats::{Measured, StateStats};
use crate::{Epoch, Item, List, Name, Neighbour};
use foldhash::fast::{FixedState, RandomState};
use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::hash::BuildHasher;
use std::rc::Rc;

/// The names of all items, as one worker knows them. The operators of a worker share one table.
///
/// # Examples
/// ```
/// use deltacart_dataflows::{Item, Names};
/// let mut names = Names::default();
/// names.insert(Item::new(0), &"tea".into());
/// names.insert(Item::new(1), &"mug".into());
/// assert_eq!(names.item("mug"), Some(Item::new(1)));
/// assert!(names.cmp(Item::new(1), Item::new(0)).is_lt(), "mug comes before tea");
/// ```
#[derive(Default)]
pub struct Names {
    /// Empty where no item has the number. A forgotten name stays until its number is reused, because a basket of
    /// another worker may still hold the item.
    names: IdVec<Item, Name>,
    /// The first eight bytes of each name as a number. They decide most comparisons without reading the name.
    prefixes: IdVec<Item, u64>,
    /// Finds the item of a name.
    items: NameIndex,
    /// Items that events are no longer numbered with, unless the registry assigns the number again.
    retiring: BTreeMap<Item, Generation>,
    /// Retired items in the order in which they can be forgotten.
    retirements: VecDeque<Retirement>,
    /// Names that were requested and have not arrived, so that each is requested once.
    requested: HashSet<Name, RandomState>,
    /// The newest epoch of which this worker has numbered events.
    newest_epoch: Epoch,
    /// Items of this worker's registry that all workers have forgotten, since the start.
    forgotten: u64,
}

/// Counts the retirements of one number, so that a late confirmation of an earlier one is recognised.
pub(crate) type Generation = u32;

/// A retired item. It can be forgotten when `epoch` is closed, since no later event is numbered with it.
struct Retirement {
    /// The newest epoch of which this worker had numbered events when the item was retired.
    epoch: Epoch,
    /// The item.
    item: Item,
    /// Which retirement of the number this is.
    generation: Generation,
}

/// One worker's [`Names`], shared by its operators.
pub type SharedNames = Rc<RefCell<Names>>;

impl Names {
    /// The item's name. Constant time.
    ///
    /// # Panics
    /// If the number is larger than every number that was inserted.
    pub fn name(&self, item: Item) -> &Name {
        &self.names[item]
    }

    /// The item of this name, if the worker knows one. Constant time.
    pub fn item(&self, name: &str) -> Option<Item> {
        self.items.get(self.names.values(), name).map(Item::new)
    }

    /// The item of this name, unless it is being retired.
    pub(super) fn item_in_use(&self, name: &str) -> Option<Item> {
        self.item(name).filter(|item| !self.retiring.contains_key(item))
    }

    /// Orders two items by the bytes of their names.
    ///
    /// # Panics
    /// If a number is larger than every number that was inserted.
    pub fn cmp(&self, x: Item, y: Item) -> Ordering {
        let by_prefix = self.prefixes[x].cmp(&self.prefixes[y]);
        by_prefix.then_with(|| self.names[x].cmp(&self.names[y]))
    }

    /// A list with names in place of numbers.
    pub(crate) fn named_list(&self, list: &[Neighbour<Item>]) -> List {
        let named =
            |&Neighbour { item, score, count }| Neighbour { item: self.name(item).clone(), score, count };
        list.iter().map(named).collect()
    }

    /// Stores the name of an item.
    ///
    /// # Panics
    /// If the number still belongs to another name.
    pub fn insert(&mut self, item: Item, name: &Name) {
        self.names.make_room(item.index() + 1);
        let old = &self.names[item];
        assert!(
            old == name || self.item(old) != Some(item),
            "a number is reused after every worker has forgotten its name"
        );
        let mut prefix = [0; 8];
        let length = name.len().min(8);
        prefix[..length].copy_from_slice(&name.as_bytes()[..length]);
        *self.prefixes.get_or_default(item) = u64::from_be_bytes(prefix);
        self.names[item] = name.clone();
        self.retiring.remove(&item);
        self.requested.remove(name);
        self.items.insert(self.names.values(), item.number());
    }

    /// Notes that events of this epoch are being numbered.
    pub(super) fn enter_epoch(&mut self, epoch: Epoch) {
        self.newest_epoch = self.newest_epoch.max(epoch);
    }

    /// Notes that a name is requested. Returns whether it was not requested yet.
    pub(super) fn request(&mut self, name: &Name) -> bool {
        self.requested.insert(name.clone())
    }

    /// Stops numbering events with this item.
    pub(super) fn retire(&mut self, item: Item, generation: Generation) {
        if self.item(&self.names[item]) == Some(item) {
            self.retiring.insert(item, generation);
        }
        self.retirements.push_back(Retirement { epoch: self.newest_epoch, item, generation });
    }

    /// Forgets the next retired item of which no event is in flight: all epochs before `open` are closed.
    pub(super) fn forget_next(&mut self, open: Epoch) -> Option<(Item, Generation)> {
        let Retirement { item, generation, .. } =
            self.retirements.pop_front_if(|retirement| retirement.epoch < open)?;
        if self.retiring.get(&item) == Some(&generation) {
            self.retiring.remove(&item);
            // Does nothing if the name has another number by now.
            self.items.remove(self.names.values(), item.number());
        }
        Some((item, generation))
    }

    /// Sets how many items this worker's registry has forgotten since the start.
    pub(super) fn set_forgotten(&mut self, forgotten: u64) {
        self.forgotten = forgotten;
    }
}

impl Measured for Names {
    fn add_to(&self, stats: &mut StateStats) {
        stats.items += self.items.len() as u64;
        stats.items_forgotten += self.forgotten;
        let long = self.names.values().iter().filter(|name| name.is_heap_allocated());
        let long: usize = long.map(|name| name.capacity()).sum();
        let requested = self.requested.capacity() * size_of::<Name>();
        stats.names_bytes += self.items.bytes() + (requested + long) as u64;
        stats.names_bytes += self.names.bytes() + self.prefixes.bytes();
    }
}

/// The worker that a name belongs to, modulo the number of workers. The same on every process of a run.
///
/// ```
/// use deltacart_dataflows::route;
/// let workers = 4;
/// assert_eq!(route("ben") % workers, route("ben") % workers);
/// ```
pub fn route(name: &str) -> u64 {
    FixedState::with_seed(0).hash_one(name)
}
