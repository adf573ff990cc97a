//! What is asked and when: cases, and the plan that asks them.

use crate::evaluate::data::Id;
use deltacart_dataflows::Millis;
use std::collections::BTreeMap;
use std::ops::Range;

/// What is asked and when.
#[derive(Debug, Default)]
pub struct Plan {
    /// The events that are learned, by their place in the log, in order.
    pub order: Vec<u32>,
    /// The rounds, one after the other.
    pub rounds: Vec<Round>,
    /// Everything that is asked.
    pub cases: Cases,
    /// What could not be asked, by reason.
    pub skipped: BTreeMap<&'static str, u64>,
    /// What belongs together: `order`, `session`, `user` or `line`.
    pub unit: &'static str,
}

/// Something to learn, and what is asked next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// A range of [`Plan::order`].
    pub learn: Range<usize>,
    /// A range of [`Cases::cases`].
    pub ask: Range<usize>,
}

impl Plan {
    /// Counts something that cannot be asked.
    pub(super) fn skip(&mut self, reason: &'static str) {
        *self.skipped.entry(reason).or_default() += 1;
    }

    /// The units of which there are cases.
    pub fn units(&self) -> usize {
        self.cases.units as usize
    }
}

/// Cases, with what is given in common stored once.
#[derive(Debug, Default)]
pub struct Cases {
    /// The cases, in the order in which they are asked.
    pub cases: Vec<Case>,
    /// Items in the order in which they came. A case has the beginning of one of them.
    pub(super) sequences: Vec<Vec<Id>>,
    truths: Vec<Id>,
    units: u32,
}

/// Something to predict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// The number of its unit: 0, 1, 2 …
    pub unit: u32,
    /// The user who asks, if there is one.
    pub user: Option<Id>,
    /// The basket that is asked about, where it may have been learned in part. It is no neighbour of itself.
    pub basket: Option<Id>,
    /// When it is asked.
    pub time: Millis,
    sequence: u32,
    given: u32,
    /// The place in the sequence that is not given.
    hidden: Option<u32>,
    truth: (u32, u32),
}

impl Cases {
    /// The items that are given, the most recent first.
    pub fn given(&self, case: &Case) -> impl Iterator<Item = Id> {
        let given = self.sequences[case.sequence as usize][..case.given as usize].iter().enumerate().rev();
        let hidden = case.hidden.map(|place| place as usize);
        given.filter(move |(place, _item)| Some(*place) != hidden).map(|(_place, item)| *item)
    }

    /// The items to find. None comes twice.
    pub fn truth(&self, case: &Case) -> &[Id] {
        &self.truths[case.truth.0 as usize..case.truth.1 as usize]
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.cases.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.cases.is_empty()
    }

    pub(super) fn new_unit(&mut self) -> u32 {
        self.units += 1;
        self.units - 1
    }

    pub(super) fn new_sequence(&mut self, items: Vec<Id>) -> u32 {
        self.sequences.push(items);
        self.sequences.len() as u32 - 1
    }

    /// Adds a case of which `given` items of a sequence are given, all but the hidden one.
    pub(super) fn push(
        &mut self,
        asker: Asker,
        sequence: u32,
        given: u32,
        hidden: Option<u32>,
        truth: &[Id],
    ) {
        let begin = self.truths.len() as u32;
        for item in truth {
            if !self.truths[begin as usize..].contains(item) {
                self.truths.push(*item);
            }
        }
        let Asker { unit, user, basket, time } = asker;
        let truth = (begin, self.truths.len() as u32);
        self.cases.push(Case { unit, user, basket, time, sequence, given, hidden, truth });
    }
}

/// Who asks, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker {
    pub(super) unit: u32,
    pub(super) user: Option<Id>,
    pub(super) basket: Option<Id>,
    pub(super) time: Millis,
}
