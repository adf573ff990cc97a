//! 0 · Items numbered: every worker knows every item's number and name, until no basket holds the item.
//!
//! ```text
//!            ┌───────┐ unknown names ┌──────────┐ (number, name) ┌───────────┐
//! events ───▶│  ask  ├──────────────▶│ registry ├───broadcast───▶│ translate ├─┐
//!            └─┬───┬─┘   exchanged   └──────────┘                └─────▲─────┘ ▼
//!              │   └── events about those, kept until the names are in ┘       ├─▶ events with numbered items
//!              └────────────────────── all other events ───────────────────────┘
//!
//!            ┌────────┐ held, or no more; forgotten ┌──────────┐ to be forgotten
//! lists ────▶│ forget ├────────────────────────────▶│ registry ├────broadcast────▶ names
//!            └────────┘        by epochs            └──────────┘
//! ```
//!
//! The worker that a name hashes to numbers it: `its own count · workers + its index`, so a number is the same
//! everywhere and says who owns the item. A worker asks for a name only when it meets it for the first time.
//! [`registry`] gives numbers, and takes them back from items that no basket holds any more, to give them again;
//! [`forget`] tells it when that may be.
//!
//! # Notes
//! Whatever is downstream of both at an epoch may read [`Names`] for every item met up to that epoch: the epoch's
//! frontier cannot pass while a name of it is on its way to any worker. And a number means the same item until all
//! that can have seen it is done with: see [`registry`].

mod forget;
mod registry;

pub(crate) use forget::forget;

use crate::numbers::ByName;
use crate::sizes::{StateStats, bytes};
use crate::{Epoch, Event, Item, Name};
use foldhash::fast::RandomState;
use forget::Report;
use registry::register;
use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::hash::BuildHasher;
use std::rc::Rc;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::core::{Concat, Feedback};
use timely::dataflow::operators::feedback::Handle;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::{Capability, generic::Operator};

/// The names of all items, as this worker knows them; shared by the operators of one worker.
#[derive(Default)]
pub struct Names {
    /// By number; empty where the number is not given yet. What was forgotten stays until its number is given again:
    /// another worker's baskets may still hold the item.
    names: Vec<Name>,
    /// By number: the name's first eight bytes as a number, which decides most comparisons without a look at the name.
    prefixes: Vec<u64>,
    /// The numbers by which events are numbered, each found by its name.
    items: ByName,
    /// Of those, the numbers that are being forgotten: no more events are numbered with them, unless told again.
    leaves: BTreeMap<Item, Round>,
    /// Names on their way to this worker, so that each is asked for once.
    asked: HashSet<Name, RandomState>,
    /// The newest epoch of which this worker has numbered events.
    newest: Epoch,
    /// What is to be forgotten, the first to go first.
    leaving: VecDeque<Leaving>,
    /// Items of this worker's registry that were forgotten everywhere.
    forgotten: u64,
}

/// How often a number was to be forgotten.
type Round = u32;

/// A number that goes when the epoch is closed: later events are not numbered with it.
struct Leaving {
    epoch: Epoch,
    item: Item,
    round: Round,
}

/// A worker's shared [`Names`].
pub type SharedNames = Rc<RefCell<Names>>;

impl Names {
    /// The item's name.
    pub fn name(&self, item: Item) -> &Name {
        &self.names[item as usize]
    }

    /// The number of the item of this name, if any worker has met it and told, and it is not forgotten.
    pub fn item(&self, name: &str) -> Option<Item> {
        self.items.get(&self.names, name)
    }

    /// The same, unless it is being forgotten.
    fn item_to_stay(&self, name: &str) -> Option<Item> {
        self.item(name).filter(|item| !self.leaves.contains_key(item))
    }

    /// Orders two items by the bytes of their names.
    pub fn cmp(&self, x: Item, y: Item) -> Ordering {
        let by_prefix = self.prefixes[x as usize].cmp(&self.prefixes[y as usize]);
        by_prefix.then_with(|| self.names[x as usize].cmp(&self.names[y as usize]))
    }

    /// Learns an item's name.
    pub fn insert(&mut self, item: Item, name: &Name) {
        let index = item as usize;
        if self.names.len() <= index {
            self.names.resize(index + 1, Name::default());
            self.prefixes.resize(index + 1, 0);
        }
        let old = &self.names[index];
        assert!(
            old == name || self.item(old) != Some(item),
            "a number is given again when all have forgotten it"
        );
        let mut prefix = [0; 8];
        let length = name.len().min(8);
        prefix[..length].copy_from_slice(&name.as_bytes()[..length]);
        self.prefixes[index] = u64::from_be_bytes(prefix);
        self.names[index] = name.clone();
        self.leaves.remove(&item);
        self.asked.remove(name);
        self.items.insert(&self.names, item);
    }

    /// No event is to be numbered with this item from now on.
    fn leave(&mut self, item: Item, round: Round) {
        if self.item(&self.names[item as usize]) == Some(item) {
            self.leaves.insert(item, round);
        }
        self.leaving.push_back(Leaving { epoch: self.newest, item, round });
    }

    /// The next item of which no event is under way: all epochs before `open` are closed. It is forgotten here.
    fn next_left(&mut self, open: Epoch) -> Option<(Item, Round)> {
        let Leaving { item, round, .. } = self.leaving.pop_front_if(|leaving| leaving.epoch < open)?;
        if self.leaves.get(&item) == Some(&round) {
            self.leaves.remove(&item);
            // Does nothing if the name has got another number since.
            self.items.remove(&self.names, item);
        }
        Some((item, round))
    }

    /// Adds up what it holds.
    pub(crate) fn measure(&self, sizes: &mut StateStats) {
        sizes.items = self.items.len() as u64;
        sizes.items_forgotten = self.forgotten;
        let long = self.names.iter().filter(|name| name.is_heap_allocated());
        let long: usize = long.map(|name| name.capacity()).sum();
        let asked = self.asked.capacity() * size_of::<Name>();
        sizes.names_bytes = self.items.bytes() + (asked + long) as u64;
        sizes.names_bytes += bytes(&self.names) + bytes(&self.prefixes);
    }

    /// Whether a name that is not known has to be asked for: it is not on its way.
    fn ask(&mut self, name: &Name) -> bool {
        self.asked.insert(name.clone())
    }
}

/// A name's worker, modulo the number of workers: the same on every process of a run, whatever its hash tables are
/// seeded with.
pub fn route(name: &str) -> u64 {
    foldhash::fast::FixedState::with_seed(0).hash_one(name)
}

/// Events whose items have numbers.
pub(crate) struct Numbered<'scope> {
    pub(crate) events: StreamVec<'scope, Epoch, Event<Item>>,
    /// The names are in it before the events are given.
    pub(crate) names: SharedNames,
    /// For [`forget`].
    pub(crate) reports: Handle<'scope, Epoch, Vec<Report>>,
}

/// Numbers the items of `events`.
pub(crate) fn number_items(events: StreamVec<'_, Epoch, Event>) -> Numbered<'_> {
    let names = SharedNames::default();
    let (reports, reported) = events.scope().feedback(1);
    let Asked { numbered, waiting, unknown } = ask(events, &names);
    let answers = register(unknown, reported, &names);
    let events = numbered.concat(translate(waiting, answers, Rc::clone(&names)));
    Numbered { events, names, reports }
}

/// What becomes of events when their items' names are looked up.
struct Asked<'scope> {
    /// Nothing is unknown.
    numbered: StreamVec<'scope, Epoch, Event<Item>>,
    /// The item's name is on its way.
    waiting: StreamVec<'scope, Epoch, Event>,
    /// Names that this worker meets for the first time.
    unknown: StreamVec<'scope, Epoch, Name>,
}

fn ask<'scope>(events: StreamVec<'scope, Epoch, Event>, names: &SharedNames) -> Asked<'scope> {
    let mut builder = OperatorBuilder::new("AskNames".to_owned(), events.scope());
    let mut input = builder.new_input(events, Pipeline);
    let (output_numbered, numbered) = builder.new_output();
    let mut output_numbered = OutputBuilder::from(output_numbered);
    let (output_waiting, waiting) = builder.new_output();
    let mut output_waiting = OutputBuilder::from(output_waiting);
    let (output_unknown, unknown) = builder.new_output();
    let mut output_unknown = OutputBuilder::from(output_unknown);
    let names = Rc::clone(names);
    builder.build(move |_capabilities| {
        move |_frontiers| {
            let mut names = names.borrow_mut();
            let mut output_numbered = output_numbered.activate();
            let mut output_waiting = output_waiting.activate();
            let mut output_unknown = output_unknown.activate();
            input.for_each(|capability, events: &mut Vec<Event>| {
                names.newest = names.newest.max(capability.least().copied().unwrap_or_default());
                let mut numbered = output_numbered.session(&capability);
                let mut waiting = output_waiting.session(&capability);
                let mut unknown = output_unknown.session(&capability);
                for event in events.drain(..) {
                    let name = event.action.item();
                    let item = name.and_then(|name| names.item_to_stay(name));
                    match name.filter(|_| item.is_none()) {
                        Some(name) => {
                            if names.ask(name) {
                                unknown.give(name.clone());
                            }
                            waiting.give(event);
                        }
                        None => numbered.give(number(event, |_| item.expect("a name has its number by now"))),
                    }
                }
            });
        }
    });
    Asked { numbered, waiting, unknown }
}

/// The event about the item's number.
fn number(event: Event, item: impl FnOnce(Name) -> Item) -> Event<Item> {
    let Event { position, basket, user, time, action } = event;
    Event { position, basket, user, time, action: action.map_item(item) }
}

/// Learns names, and replaces items' names by numbers once an epoch's names are all in.
fn translate<'scope>(
    events: StreamVec<'scope, Epoch, Event>,
    numbered: StreamVec<'scope, Epoch, (Item, Name)>,
    names: SharedNames,
) -> StreamVec<'scope, Epoch, Event<Item>> {
    events.binary_frontier(numbered, Pipeline, Pipeline, "TranslateItems", move |_capability, _info| {
        let mut stash: BTreeMap<Epoch, (Capability<Epoch>, Vec<Vec<Event>>)> = BTreeMap::new();
        move |(events, _), (numbered, names_frontier), output| {
            let mut names = names.borrow_mut();
            numbered.for_each(|_capability, batch| {
                for (item, name) in batch.drain(..) {
                    names.insert(item, &name);
                }
            });
            events.for_each(|capability, batch| {
                let Some(&epoch) = capability.least() else { return };
                let Some(retained) = capability.retain_least(output.output_index()) else { return };
                stash.entry(epoch).or_insert((retained, Vec::new())).1.push(std::mem::take(batch));
            });
            while let Some(entry) = stash.first_entry() {
                if names_frontier.less_equal(entry.key()) {
                    break;
                }
                let (capability, batches) = entry.remove();
                let mut session = output.session(&capability);
                for event in batches.into_iter().flatten() {
                    session.give(number(event, |name| {
                        names.item(&name).expect("names of an epoch are known before it is translated")
                    }));
                }
            }
        }
    })
}
