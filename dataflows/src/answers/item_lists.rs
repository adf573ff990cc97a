//! The neighbour lists of a subject's items, from the workers that publish them.
//!
//! The operator shares each list with the row that published it, so it holds two words per item.

use crate::answers::carts::Asked;
use crate::answers::query::{Replied, Reply};
use crate::epochs::per_epoch_of_two;
use crate::id_vec::IdVec;
use crate::{Diff, Epoch, Item, NumberedList};
use differential_dataflow::VecCollection;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;

/// Replies to what is asked on this worker with the lists that this worker publishes. `asked` must come to every
/// worker.
pub(super) fn item_lists<'scope>(
    lists: VecCollection<'scope, Epoch, (Item, NumberedList), Diff>,
    asked: StreamVec<'scope, Epoch, Asked>,
) -> StreamVec<'scope, Epoch, Replied> {
    let mut known: IdVec<Item, Option<NumberedList>> = IdVec::default();
    per_epoch_of_two(
        (lists.inner, Pipeline),
        (asked, Pipeline),
        "ItemLists",
        move |_epoch, lists, asked, session| {
            // All that go, then all that come: an item may have one of each.
            lists.sort_by_key(|(_list, _epoch, diff)| *diff);
            for ((item, list), _epoch, diff) in lists.drain(..) {
                *known.get_or_default(item) = (diff > 0).then_some(list);
            }
            for asked in asked.drain(..) {
                let Asked::Ask(ask) = asked else { continue };
                if !ask.params.uses_lists() {
                    continue;
                }
                let list = |(place, &item): (u32, &Item)| {
                    let list = known.get(item)?.as_ref()?;
                    Some((place, list.to_vec()))
                };
                let found: Vec<_> = (0..).zip(&ask.items).filter_map(list).collect();
                if !found.is_empty() {
                    session.give((ask.subject, ask.owner, Reply::Lists(found)));
                }
            }
            true
        },
    )
}
