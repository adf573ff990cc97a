//! From an epoch's updates to list changes, in the order of items.

use crate::output::ListChange;
use deltacart_dataflows::{Diff, Epoch, List, Name};
use differential_dataflow::consolidation::consolidate;

/// A list that is retracted (-1) or inserted (+1), with its item.
pub(crate) type Update = ((Name, List), Epoch, Diff);

/// Scratch space for the order of updates.
#[derive(Default)]
pub(crate) struct ListChanges {
    order: Vec<Place>,
}

/// The first eight bytes of an item's name, and the index of its update. The bytes decide most comparisons without a
/// look at the name.
type Place = (u64, u32);

/// Fills `order` with the places of the updates in the order of their items. An item has few updates, usually the
/// retracted and the inserted list, so lists need no order and are not compared.
fn sort_by_item(updates: &[Update], order: &mut Vec<Place>) {
    order.clear();
    order.extend((0..).zip(updates).map(|(index, ((item, _list), _epoch, _diff))| (prefix(item), index)));
    order.sort_unstable_by(|x, y| {
        let by_name = || item(updates, x).cmp(item(updates, y));
        x.0.cmp(&y.0).then_with(by_name).then(x.1.cmp(&y.1))
    });
}

fn item<'a>(updates: &'a [Update], place: &Place) -> &'a Name {
    &updates[place.1 as usize].0.0
}

/// The first eight bytes as a number that orders as they do. A shorter name is padded with zeros.
fn prefix(name: &Name) -> u64 {
    let mut first = [0; 8];
    let length = name.len().min(8);
    first[..length].copy_from_slice(&name.as_bytes()[..length]);
    u64::from_be_bytes(first)
}

impl ListChange {
    fn put(&mut self, list: List, diff: Diff) {
        match diff {
            -1 => self.before = list,
            1 => self.after = list,
            _ => panic!("an item has one list"),
        }
    }
}

impl ListChanges {
    /// Calls `each` with each item's change, in the order of items.
    pub(crate) fn each(&mut self, epoch: Epoch, updates: &mut [Update], mut each: impl FnMut(ListChange)) {
        sort_by_item(updates, &mut self.order);
        let mut rest = &self.order[..];
        while let Some(first) = rest.first() {
            let is_of_item =
                |place: &&Place| place.0 == first.0 && item(updates, place) == item(updates, first);
            let (of_item, others) = rest.split_at(rest.iter().take_while(is_of_item).count());
            rest = others;
            let item = item(updates, first).clone();
            let mut change = ListChange { item, epoch, before: List::new(), after: List::new() };
            let lists = of_item.iter().map(|&(_prefix, index)| {
                let ((_item, list), _epoch, diff) = &mut updates[index as usize];
                (std::mem::take(list), *diff)
            });
            if of_item.len() <= 2 {
                lists.for_each(|(list, diff)| change.put(list, diff));
            } else {
                let mut lists: Vec<(List, Diff)> = lists.collect();
                consolidate(&mut lists);
                lists.into_iter().for_each(|(list, diff)| change.put(list, diff));
            }
            if change.before != change.after {
                each(change);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use deltacart_dataflows::Neighbour;

    fn list(other: &str) -> List {
        vec![Neighbour { item: other.into(), score: 1, count: 1 }]
    }

    #[test]
    fn changes_are_ordered_by_item_and_what_cancels_is_none() {
        let mut updates = [
            ("longer-than-eight-b", "x", 1),
            ("same", "x", -1),
            ("longer-than-eight-a", "x", 1),
            ("shared", "x", -1),
            ("short", "y", 1),
            ("same", "x", 1),
            ("shared", "y", 1),
            ("shared", "y", -1),
            ("short", "x", -1),
            ("shared", "z", 1),
        ]
        .map(|(item, other, diff)| ((item.into(), list(other)), 7, diff));
        let mut changes = Vec::new();
        ListChanges::default().each(7, &mut updates, |change| changes.push(change));
        let items: Vec<&str> = changes.iter().map(|change| change.item.as_str()).collect();
        assert_eq!(items, ["longer-than-eight-a", "longer-than-eight-b", "shared", "short"]);
        assert_eq!((&changes[2].before, &changes[2].after), (&list("x"), &list("z")));
    }
}
