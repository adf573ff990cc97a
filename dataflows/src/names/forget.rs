//! Forgetting items: reports to the registry about which items are held, and which this worker has forgotten.
//!
//! ```text
//! lists ────────────────────────────────┬──▶ lists, unchanged
//!                               ┌───────┴──┐
//! held or released, by item ───▶│  forget  ├──▶ reports to the registries, by epoch
//!                               └──────────┘
//! ```
//!
//! The operator stands behind the lists. When its frontier passes an epoch, no event, line or list of that epoch is in
//! flight, so none of them names an item any more.

use super::name_table::SharedNames;
use super::registry::{HeldChange, Report};
use crate::{Diff, Epoch, List, Name};
use differential_dataflow::{AsCollection, VecCollection};
use std::collections::BTreeMap;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::ConnectLoop;
use timely::dataflow::operators::feedback::Handle;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

/// Lists with names.
type Lists<'scope> = VecCollection<'scope, Epoch, (Name, List), Diff>;

/// Reports to the registries, and passes the lists through.
///
/// For each closed epoch, the reports say which items baskets of this worker began to hold (`held`) or hold no more.
/// Further reports say which retired items this worker has forgotten.
pub(crate) fn forget<'scope>(
    lists: Lists<'scope>,
    held: StreamVec<'scope, Epoch, HeldChange>,
    names: SharedNames,
    reports: Handle<'scope, Epoch, Vec<Report>>,
) -> Lists<'scope> {
    let mut builder = OperatorBuilder::new("ForgetItems".to_owned(), lists.inner.scope());
    let mut lists = builder.new_input(lists.inner, Pipeline);
    let (mut through, output) = builder.new_output();
    let mut held = builder.new_input_connection(held, Pipeline, []);
    let (report_output, reported) = builder.new_output_connection([]);
    let mut report_output = OutputBuilder::from(report_output);
    builder.build(move |capabilities| {
        // The capability of the reports, at the oldest open epoch.
        let mut open = capabilities.into_iter().nth(1);
        let mut stash: BTreeMap<Epoch, Vec<HeldChange>> = BTreeMap::new();
        move |frontiers| {
            let mut through = through.activate();
            lists.for_each(|capability, lists| through.give(&capability, lists));
            held.for_each(|capability, changes: &mut Vec<HeldChange>| {
                let Some(&epoch) = capability.least() else { return };
                stash.entry(epoch).or_default().append(changes);
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
            let mut reports = report_output.activate();
            while let Some(entry) = stash.first_entry().filter(|entry| *entry.key() < oldest) {
                let (epoch, changes) = entry.remove_entry();
                let capability = capability.delayed(&epoch);
                reports.session(&capability).give_iterator(changes.into_iter().map(Report::Held));
            }
            // At the last closed epoch: the reports of who holds the item come no later.
            let last = capability.delayed(&(oldest - 1));
            let mut names = names.borrow_mut();
            let forgotten = std::iter::from_fn(|| names.forget_next(oldest));
            let forgotten = forgotten.map(|(item, generation)| Report::Forgotten { item, generation });
            reports.session(&last).give_iterator(forgotten);
            capability.downgrade(&oldest);
        }
    });
    reported.connect_loop(reports);
    output.as_collection()
}
