//! 4 · Names again: the numbers of lists become names, in the last box before they are published.

use crate::names::name_table::SharedNames;
use crate::{Diff, Epoch, Item, List, Name, NumberedList};
use differential_dataflow::{AsCollection, VecCollection};
use timely::dataflow::operators::vec::Map;

/// Replaces the numbers in lists by names. Takes time in proportion to the entries, and keeps no state.
///
/// Every number must still have its name when its list arrives. [`recommend`](crate::recommend) makes sure of that: the
/// box that frees numbers stands behind this one.
pub fn name_lists<'scope>(
    lists: VecCollection<'scope, Epoch, (Item, NumberedList), Diff>,
    names: SharedNames,
) -> VecCollection<'scope, Epoch, (Name, List), Diff> {
    let named = lists.inner.map(move |((item, list), epoch, diff)| {
        let names = names.borrow();
        ((names.name(item).clone(), names.named_list(&list)), epoch, diff)
    });
    named.as_collection()
}
