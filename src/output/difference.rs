//! The difference between two lists of one item, entry by entry.

use deltacart_dataflows::Neighbour;

/// The difference between two lists. Its buffers are reused from list to list.
#[derive(Debug, Default)]
pub(super) struct Difference {
    /// For each entry of the list after: its index in the list before.
    origins: Vec<Option<usize>>,
    /// For each entry of the list before: its position among the entries that are in both lists, if it is one of
    /// them.
    places: Vec<Option<usize>>,
    /// For each entry of the list after: its change.
    changes: Vec<Change>,
}

/// The change of one entry of the list after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It was not in the list before.
    Added,
    /// Its score or count changed, whatever its position.
    Rescored,
    /// Its score and count are unchanged. Its position among the entries that are in both lists changed.
    Moved,
    /// Only its rank changed, because other entries entered or left before it.
    Shifted,
    /// Nothing changed.
    Same,
}

impl Difference {
    /// Compares two lists, each without repeated items. Without `scores`, scores and counts are ignored.
    ///
    /// The time is linear for lists that differ in few positions. At worst it is the product of their lengths.
    pub(super) fn compare(&mut self, before: &[Neighbour], after: &[Neighbour], scores: bool) {
        self.find_origins(before, after);
        let mut place = 0;
        self.changes.clear();
        for (rank, (entry, origin)) in after.iter().zip(&self.origins).enumerate() {
            let Some(origin) = *origin else {
                self.changes.push(Change::Added);
                continue;
            };
            let old = &before[origin];
            self.changes.push(if scores && (old.score, old.count) != (entry.score, entry.count) {
                Change::Rescored
            } else if self.places[origin] != Some(place) {
                Change::Moved
            } else if origin != rank {
                Change::Shifted
            } else {
                Change::Same
            });
            place += 1;
        }
    }

    /// Fills `origins` and `places`. An entry is expected right after the one found before it. If it is not there,
    /// the whole list is searched.
    fn find_origins(&mut self, before: &[Neighbour], after: &[Neighbour]) {
        self.origins.clear();
        self.places.clear();
        self.places.resize(before.len(), None);
        let mut expected = 0;
        for entry in after {
            let origin = match before.get(expected) {
                Some(other) if other.item == entry.item => Some(expected),
                _ => before.iter().position(|other| other.item == entry.item),
            };
            if let Some(origin) = origin {
                self.places[origin] = Some(0);
                expected = origin + 1;
            }
            self.origins.push(origin);
        }
        for (number, place) in self.places.iter_mut().flatten().enumerate() {
            *place = number;
        }
    }

    /// Whether readers cannot tell the two lists apart.
    pub(super) fn is_none(&self) -> bool {
        self.places.iter().all(Option::is_some) && self.changes.iter().all(|change| *change == Change::Same)
    }

    /// For each entry of the list after: its change.
    pub(super) fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Whether the entry at `index` of the list after had the same index in the list before.
    pub(super) fn keeps_rank(&self, index: usize) -> bool {
        self.origins[index] == Some(index)
    }

    /// For each entry of the list before: whether it left.
    pub(super) fn gone(&self) -> impl Iterator<Item = bool> {
        self.places.iter().map(Option::is_none)
    }
}

#[cfg(test)]
mod tests {
    use super::Change::*;
    use super::*;

    /// A list of one-letter items. Each is scored by its position in the alphabet, an upper-case letter by another
    /// score.
    fn list(items: &str) -> Vec<Neighbour> {
        let entry = |item: char| Neighbour {
            item: item.to_lowercase().collect(),
            score: i64::from(u32::from(item)),
            count: 1,
        };
        items.chars().map(entry).collect()
    }

    fn check(before: &str, after: &str, changes: &[Change], gone: &str) {
        let (before, after) = (list(before), list(after));
        let mut difference = Difference::default();
        difference.compare(&before, &after, true);
        assert_eq!(difference.changes(), changes);
        let found: String = before
            .iter()
            .zip(difference.gone())
            .filter(|(_, gone)| *gone)
            .map(|(entry, _)| entry.item.as_str())
            .collect();
        assert_eq!(found, gone);
        assert_eq!(difference.is_none(), before == after);
    }

    #[test]
    fn entries_that_come_and_go() {
        check("", "ab", &[Added, Added], "");
        check("ab", "", &[], "ab");
        check("abc", "xabc", &[Added, Shifted, Shifted, Shifted], "");
        check("abc", "bcx", &[Shifted, Shifted, Added], "a");
        check("abc", "ab", &[Same, Same], "c");
    }

    #[test]
    fn entries_that_stay() {
        check("abc", "abc", &[Same, Same, Same], "");
        check("abc", "aBc", &[Same, Rescored, Same], "");
        check("abc", "acb", &[Same, Moved, Moved], "");
        check("abc", "Cab", &[Rescored, Moved, Moved], "");
        check("abcd", "xacd", &[Added, Shifted, Same, Same], "b");
    }

    #[test]
    fn without_scores() {
        let mut difference = Difference::default();
        difference.compare(&list("abc"), &list("aBC"), false);
        assert!(difference.is_none());
        difference.compare(&list("abc"), &list("aCb"), false);
        assert_eq!(difference.changes(), [Same, Moved, Moved]);
    }
}
