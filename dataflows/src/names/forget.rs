//! When an item may be forgotten: behind the lists, where an epoch is closed when nothing of it names an item any more.
//!
//! ```text
//! lists ─────────────────────────────┬──▶ lists, as they are
//!                          ┌─────────┴┐
//! held, or no more ───────▶│  forget  ├──▶ reports to the registries, by epochs
//!                          └──────────┘
//! ```

use super::{Round, SharedNames};
use crate::{Diff, Epoch, Item, List, Name};
use differential_dataflow::{AsCollection, VecCollection};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::ConnectLoop;
use timely::dataflow::operators::feedback::Handle;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

/// What a worker tells the registry of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Report {
    /// A basket here holds the item since that epoch, or none does any more.
    Held(Item, bool),
    /// No event under way that was numbered here says it, and none will unless the name is asked for.
    Forgotten(Item, Round),
}

impl Report {
    pub(super) fn item(self) -> Item {
        match self {
            Report::Held(item, _) | Report::Forgotten(item, _) => item,
        }
    }
}

type Lists<'scope> = VecCollection<'scope, Epoch, (Name, List), Diff>;

/// Tells the registries which items are held, by what changed at each epoch, and which this worker has forgotten;
/// hands the lists through.
pub(crate) fn forget<'scope>(
    lists: Lists<'scope>,
    held: StreamVec<'scope, Epoch, (Item, bool)>,
    names: SharedNames,
    reports: Handle<'scope, Epoch, Vec<Report>>,
) -> Lists<'scope> {
    let mut builder = OperatorBuilder::new("ForgetItems".to_owned(), lists.inner.scope());
    let mut lists = builder.new_input(lists.inner, Pipeline);
    let (mut through, output) = builder.new_output();
    let mut held = builder.new_input_connection(held, Pipeline, []);
    let (told, reported) = builder.new_output_connection([]);
    let mut told = OutputBuilder::from(told);
    builder.build(move |capabilities| {
        // That of the reports, at the oldest epoch that is not closed.
        let mut open = capabilities.into_iter().nth(1);
        let mut waiting: BTreeMap<Epoch, Vec<(Item, bool)>> = BTreeMap::new();
        move |frontiers| {
            let mut through = through.activate();
            lists.for_each(|capability, lists| through.give(&capability, lists));
            held.for_each(|capability, changes: &mut Vec<(Item, bool)>| {
                let Some(&epoch) = capability.least() else { return };
                waiting.entry(epoch).or_default().append(changes);
            });
            let oldest =
                frontiers.iter().map(|frontier| frontier.frontier().first().copied()).min().flatten();
            let (Some(oldest), Some(capability)) = (oldest, &mut open) else {
                open = None;
                return;
            };
            if oldest <= *capability.time() {
                return;
            }
            let mut told = told.activate();
            while let Some(entry) = waiting.first_entry().filter(|entry| *entry.key() < oldest) {
                let (epoch, changes) = entry.remove_entry();
                let capability = capability.delayed(&epoch);
                let reports = changes.into_iter().map(|(item, is_held)| Report::Held(item, is_held));
                told.session(&capability).give_iterator(reports);
            }
            // At the last closed epoch: what is held then is told by then.
            let last = capability.delayed(&(oldest - 1));
            let mut names = names.borrow_mut();
            let forgotten = std::iter::from_fn(|| names.next_left(oldest));
            told.session(&last).give_iterator(forgotten.map(|(item, round)| Report::Forgotten(item, round)));
            capability.downgrade(&oldest);
        }
    });
    reported.connect_loop(reports);
    output.as_collection()
}
