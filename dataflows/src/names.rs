//! 0 · Names to numbers: every worker knows every item's number and name, until no basket holds the item.
//!
//! ```text
//!            ┌─────────┐ unknown names ┌──────────┐ (item, name)  ┌───────────┐
//! events ───▶│ look up ├──────────────▶│ registry ├───broadcast──▶│ translate ├─┐
//!            └─┬───┬───┘   exchanged   └──────────┘               └─────▲─────┘ ▼
//!              │   └─── events with unknown names, until those arrive ──┘       ├─▶ events with numbered items
//!              └──────────────────────── all other events ──────────────────────┘
//!
//!            ┌────────┐ held or released, forgotten ┌──────────┐ retired items
//! lists ────▶│ forget ├────────────────────────────▶│ registry ├───broadcast──▶ name table
//!            └────────┘    by epoch, exchanged      └──────────┘
//! ```
//!
//! - The worker that a name hashes to assigns its number: `local number · workers + index of the worker`. So
//!   a number is the same everywhere and says who owns the item.
//! - A worker requests a name only when it meets it for the first time. Its [`name_table`] keeps what it knows.
//! - The [`registry`] assigns numbers, retires items that no basket holds, and reuses their numbers. The operator
//!   [`forget`] reports when that is safe.
//! - [`name_lists`] turns numbers into names again.
//!
//! # Notes
//! An operator downstream of `translate` may read the [`Names`] of every item of an epoch: the epoch's frontier passes
//! only when its names have arrived at every worker.

mod name_table;
pub use name_table::{Names, SharedNames, route};

mod registry;
pub(crate) use registry::HeldChange;

mod forget;
pub(crate) use forget::forget;

mod name_lists;
pub use name_lists::name_lists;

use crate::{Epoch, Event, Item, Name};
use registry::{Report, assign_numbers};
use std::collections::BTreeMap;
use std::rc::Rc;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::core::{Concat, Feedback};
use timely::dataflow::operators::feedback::Handle;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::{Capability, generic::Operator};

/// Events whose items have numbers.
pub(crate) struct Numbered<'scope> {
    /// All events. Those whose names were unknown come when the names have arrived.
    pub(crate) events: StreamVec<'scope, Epoch, Event<Item>>,
    /// Has the names of an epoch before the epoch's events are emitted.
    pub(crate) names: SharedNames,
    /// The input of the registry for what [`forget`] reports.
    pub(crate) reports: Handle<'scope, Epoch, Vec<Report>>,
}

/// Numbers the items of `events`.
pub(crate) fn number_items(events: StreamVec<'_, Epoch, Event>) -> Numbered<'_> {
    let names = SharedNames::default();
    let (reports, reported) = events.scope().feedback(1);
    let LookedUp { numbered, waiting, unknown } = look_up(events, &names);
    let assignments = assign_numbers(unknown, reported, &names);
    let events = numbered.concat(translate(waiting, assignments, Rc::clone(&names)));
    Numbered { events, names, reports }
}

/// Events, parted by whether the number of their item is known.
struct LookedUp<'scope> {
    /// Events without an item, and those whose item has a number.
    numbered: StreamVec<'scope, Epoch, Event<Item>>,
    /// Events that wait until the number of their item arrives.
    waiting: StreamVec<'scope, Epoch, Event>,
    /// Names that this worker meets for the first time.
    unknown: StreamVec<'scope, Epoch, Name>,
}

/// Numbers the events whose items are known, and requests the names of the others.
fn look_up<'scope>(events: StreamVec<'scope, Epoch, Event>, names: &SharedNames) -> LookedUp<'scope> {
    let mut builder = OperatorBuilder::new("LookUpNames".to_owned(), events.scope());
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
                names.enter_epoch(capability.least().copied().unwrap_or_default());
                let mut numbered = output_numbered.session(&capability);
                let mut waiting = output_waiting.session(&capability);
                let mut unknown = output_unknown.session(&capability);
                for event in events.drain(..) {
                    let name = event.action.item();
                    let item = name.and_then(|name| names.item_in_use(name));
                    match name.filter(|_| item.is_none()) {
                        Some(name) => {
                            if names.request(name) {
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
    LookedUp { numbered, waiting, unknown }
}

/// The event with its item's number in place of the name.
fn number(event: Event, item: impl FnOnce(Name) -> Item) -> Event<Item> {
    let Event { position, basket, user, time, action } = event;
    Event { position, basket, user, time, action: action.map_item(item) }
}

/// Stores assigned numbers in the name table. Numbers the waiting events of an epoch when all of its names
/// have arrived.
fn translate<'scope>(
    events: StreamVec<'scope, Epoch, Event>,
    assignments: StreamVec<'scope, Epoch, (Item, Name)>,
    names: SharedNames,
) -> StreamVec<'scope, Epoch, Event<Item>> {
    events.binary_frontier(assignments, Pipeline, Pipeline, "TranslateItems", move |_capability, _info| {
        let mut stash: BTreeMap<Epoch, (Capability<Epoch>, Vec<Vec<Event>>)> = BTreeMap::new();
        move |(events, _), (assignments, names_frontier), output| {
            let mut names = names.borrow_mut();
            assignments.for_each(|_capability, batch| {
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
