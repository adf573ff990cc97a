//! The most popular items: what is shown where a list is empty.
//!
//! The popularity of an item is the largest count of its list: the most baskets that hold it and one of its
//! neighbours. It is known from the published lists alone, so a replica has the same as the job. `deltacart top` orders
//! lists by it.

use super::query::N_MAX;
use super::tables::Table;
use crate::output::Published;
use deltacart_dataflows::Name;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The most items that are kept: as many as can be asked for, with as many skipped before them.
pub(super) const POPULAR_MAX: usize = 2 * N_MAX;

/// How old the ranking may be. It is made by reading every list, so not for each request.
const AGE_MAX: Duration = Duration::from_secs(1);

/// An item with its popularity.
pub(super) type Ranked = (Name, u32);

/// The latest ranking of the items.
#[derive(Default)]
pub(super) struct Popular(Mutex<Ranking>);

#[derive(Default)]
struct Ranking {
    items: Arc<[Ranked]>,
    made_at: Option<Instant>,
    is_being_made: bool,
}

impl Popular {
    /// The latest ranking, best first, and whether the caller is to make a newer one.
    pub(super) fn latest(&self) -> (Arc<[Ranked]>, bool) {
        let mut ranking = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_old = ranking.made_at.is_none_or(|at| at.elapsed() >= AGE_MAX);
        let is_callers = is_old && !ranking.is_being_made;
        ranking.is_being_made |= is_callers;
        (Arc::clone(&ranking.items), is_callers)
    }

    /// Ranks the items of `table`. It reads the whole table, so it is no work for a thread that serves requests.
    pub(super) fn make(&self, table: &Table) -> Arc<[Ranked]> {
        let items: Arc<[Ranked]> = ranked(table).into();
        let mut ranking = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *ranking = Ranking { items: Arc::clone(&items), made_at: Some(Instant::now()), is_being_made: false };
        items
    }
}

/// The popularity of the item with this list. 0 where lists have no counts.
pub(super) fn popularity(list: &Published) -> u32 {
    list.entries.iter().filter_map(|entry| entry.count).max().unwrap_or_default()
}

fn ranked(table: &Table) -> Vec<Ranked> {
    let mut items: Vec<Ranked> = Vec::new();
    let order = |x: &Ranked, y: &Ranked| y.1.cmp(&x.1).then_with(|| x.0.cmp(&y.0));
    table.each(|item, list| {
        items.push((item.clone(), popularity(list)));
        if items.len() >= 4 * POPULAR_MAX {
            items.select_nth_unstable_by(POPULAR_MAX - 1, order);
            items.truncate(POPULAR_MAX);
        }
    });
    items.sort_unstable_by(order);
    items.truncate(POPULAR_MAX);
    items
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Entry;

    #[test]
    fn the_most_counted_come_first_and_ties_by_name() {
        let table = Table::default();
        for number in 0..5 * POPULAR_MAX as u32 {
            let entry = |count| Entry { rank: 1, item: "other".into(), score: None, count: Some(count) };
            let entries = vec![entry(1), entry(number / 2)];
            table
                .put(format!("{number:05}").as_str().into(), Some(Arc::new(Published { epoch: 0, entries })));
        }
        let popular = Popular::default();
        assert!(popular.latest().1 && !popular.latest().1, "one caller makes it");
        let items = popular.make(&table);
        assert_eq!(items.len(), POPULAR_MAX);
        let first: Vec<(&str, u32)> =
            items[..3].iter().map(|(item, count)| (item.as_str(), *count)).collect();
        assert_eq!(first, [("09998", 4999), ("09999", 4999), ("09996", 4998)]);
        assert_eq!(popular.latest(), (items, false));
    }
}
