//! What each run of the job has not seen of the input, because the broker had deleted it.
//!
//! A run sees what the snapshot has that it resumes from, and all records from there on that the broker still has.
//! So the lists of a run are those of the model without these records.

use deltacart_dataflows::Partition;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::rc::Rc;

/// The offsets that a run has not seen, by partition.
#[derive(Clone, Debug, Default)]
pub(super) struct Gaps(BTreeMap<Partition, Vec<Range<u64>>>);

impl Gaps {
    pub(super) fn has(&self, partition: Partition, offset: u64) -> bool {
        self.0.get(&partition).is_some_and(|gaps| gaps.iter().any(|gap| gap.contains(&offset)))
    }
}

/// The gaps of all runs. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Retention(Rc<RefCell<Inner>>);

#[derive(Default)]
struct Inner {
    gaps: BTreeMap<usize, Gaps>,
    refused: BTreeSet<usize>,
}

impl Retention {
    /// A run begins, and resumes from a snapshot that the run `from` has written.
    pub(super) fn begin(&self, run: usize, from: Option<usize>) {
        let gaps = from.map(|from| self.gaps(from)).unwrap_or_default();
        self.0.borrow_mut().gaps.insert(run, gaps);
    }

    /// A run continues behind records that are gone.
    pub(super) fn skip(&self, run: usize, partition: Partition, gone: Range<u64>) {
        let gaps = &mut self.0.borrow_mut().gaps;
        gaps.entry(run).or_default().0.entry(partition).or_default().push(gone);
    }

    /// A run must end, because records are gone.
    pub(super) fn refuse(&self, run: usize) {
        self.0.borrow_mut().refused.insert(run);
    }

    /// Whether a run had to end before it began to publish.
    pub(super) fn has_refused(&self, run: usize) -> bool {
        self.0.borrow().refused.contains(&run)
    }

    pub(super) fn gaps(&self, run: usize) -> Gaps {
        self.0.borrow().gaps.get(&run).cloned().unwrap_or_default()
    }

    /// Whether every run has seen the whole input.
    pub(super) fn is_whole(&self) -> bool {
        self.0.borrow().gaps.values().all(|gaps| gaps.0.is_empty())
    }
}
