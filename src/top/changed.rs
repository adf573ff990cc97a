//! Changes of lists between two displays: the items that entered, the items that left, and a line that shows them.
//!
//! ```text
//!   tea-3       → cup-4 0.412 · +coffee-8 0.377 · spice-2 0.301  −bed-40
//! ```

use super::escaped;
use crate::output::{Decimal, Entry, FoldError, Lists};
use deltacart_dataflows::Name;
use deltacart_inputs::RawRecord;
use std::collections::BTreeMap;

/// The width of the item's column, in characters: the length of the longest usual id.
const ITEM_WIDTH: usize = 11;

/// Lists that records are folded into, with those that changed since they were shown.
#[derive(Default)]
pub(crate) struct Watched {
    lists: Lists,
    /// The records read so far.
    records: u64,
    /// Of each changed list, the entries that were shown last, and the number of the record that changed it last.
    changed: BTreeMap<Name, (Vec<Entry>, u64)>,
}

/// A list that differs from what was shown last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChangedList {
    pub(crate) item: Name,
    /// The entries that were shown last. Empty if there was no list.
    pub(crate) before: Vec<Entry>,
    /// The current entries. Empty if there is no list any more.
    pub(crate) after: Vec<Entry>,
}

/// The parts of a line that may be coloured: items that entered, and items that left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Came,
    Went,
}

impl Watched {
    /// Watches `lists`, none of which counts as changed.
    pub(crate) fn of(lists: Lists) -> Watched {
        Watched { lists, ..Watched::default() }
    }

    /// The current lists.
    pub(crate) fn lists(&self) -> &Lists {
        &self.lists
    }

    /// The records read so far, unreadable ones included.
    pub(crate) fn records(&self) -> u64 {
        self.records
    }

    /// Folds a record into the lists.
    ///
    /// # Errors
    /// When it is not a record of a list.
    pub(crate) fn take(&mut self, record: &RawRecord<'_>) -> Result<(), FoldError> {
        self.records += 1;
        let about = self.lists.about(record.key, record.value);
        let before = about.map(|item| self.entries(&item)).unwrap_or_default();
        if let Some(item) = self.lists.apply_in(record.partition, record.key, record.value)? {
            self.changed.entry(item).or_insert((before, 0)).1 = self.records;
        }
        Ok(())
    }

    /// Takes the lists that changed since the last call. Those with other members come first, then those that changed
    /// last.
    pub(crate) fn take_changed(&mut self) -> Vec<ChangedList> {
        let changed = std::mem::take(&mut self.changed).into_iter();
        let mut changed: Vec<(u64, ChangedList)> = changed
            .map(|(item, (before, record))| {
                let after = self.entries(&item);
                (record, ChangedList { item, before, after })
            })
            .filter(|(_record, list)| list.before != list.after)
            .collect();
        changed.sort_by_key(|(record, list)| (!list.has_other_members(), u64::MAX - record));
        changed.into_iter().map(|(_record, list)| list).collect()
    }

    fn entries(&self, item: &str) -> Vec<Entry> {
        self.lists.get(item).map_or_else(Vec::new, |list| list.entries.clone())
    }
}

impl ChangedList {
    /// Whether `item` is not in the list that was shown before.
    pub(crate) fn is_new(&self, item: &str) -> bool {
        !self.before.iter().any(|entry| entry.item == item)
    }

    /// The items that have left the list, in the order of their former ranks.
    pub(crate) fn left(&self) -> impl Iterator<Item = &str> {
        let stayed = |left: &Entry| self.after.iter().any(|entry| entry.item == left.item);
        self.before.iter().filter(move |entry| !stayed(entry)).map(|entry| entry.item.as_str())
    }

    /// Whether the items or their order differ, so more than scores.
    pub(crate) fn has_other_order(&self) -> bool {
        let items = |entries: &[Entry]| entries.iter().map(|entry| entry.item.clone()).collect::<Vec<_>>();
        items(&self.before) != items(&self.after)
    }

    fn has_other_members(&self) -> bool {
        self.left().next().is_some() || self.after.iter().any(|entry| self.is_new(&entry.item))
    }

    /// The list in one line, with the items that entered and left. `painted` may add colours to a part.
    pub(crate) fn line(&self, painted: &dyn Fn(Part, String) -> String) -> String {
        let scores = self.after.iter().filter_map(|entry| entry.score);
        let digits = scores.map(Decimal::digits).max().unwrap_or_default();
        let entry = |entry: &Entry| {
            let score = entry.score.map_or(String::new(), |score| format!(" {}", score.to_fixed(digits)));
            let item = escaped(&entry.item);
            match self.is_new(&entry.item) {
                true => painted(Part::Came, format!("+{item}{score}")),
                false => format!("{item}{score}"),
            }
        };
        let entries: Vec<String> = self.after.iter().map(entry).collect();
        let entries = if entries.is_empty() { "(no list any more)".to_owned() } else { entries.join(" · ") };
        let left: String =
            self.left().map(|item| painted(Part::Went, format!("  −{}", escaped(item)))).collect();
        format!("  {:ITEM_WIDTH$} → {entries}{left}", escaped(&self.item))
    }
}
