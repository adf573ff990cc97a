//! The open subjects of one worker, and which of them are answered in an epoch.
//!
//! ```text
//! a subject changed ──────────────▶ it is answered in this epoch
//! a refresh: Tick::Oldest ────────▶ so are those that were answered longest ago, a limited number
//!            Tick::All ───────────▶ so are all: somebody was forgotten, and no answer may keep a trace of them
//! a subject closed ───────────────▶ its answer is withdrawn
//! ```

use crate::{Epoch, Name};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A request to answer open subjects again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Tick {
    /// As many as the limit allows, those first that were answered longest ago.
    Oldest,
    /// All.
    All,
}

/// Open subjects with their content.
pub(super) struct OpenSubjects<C> {
    /// The most subjects that one refresh answers.
    refresh_max: usize,
    /// By name: when the subject was answered last, and what it is made of.
    subjects: BTreeMap<Name, (Epoch, C)>,
    /// (epoch of the last answer, name) of every subject.
    by_epoch: BTreeSet<(Epoch, Name)>,
    /// The subjects that are answered in the epoch in progress, or withdrawn.
    changed: BTreeSet<Name>,
    /// How many subjects the last refresh left for the next one.
    left: usize,
}

impl<C> OpenSubjects<C> {
    /// No subjects.
    pub(super) fn new(refresh_max: usize) -> Self {
        let (subjects, by_epoch, changed) = Default::default();
        OpenSubjects { refresh_max, subjects, by_epoch, changed, left: 0 }
    }

    /// What the open subjects are made of.
    pub(super) fn contents(&self) -> impl Iterator<Item = &C> {
        self.subjects.values().map(|(_answered, content)| content)
    }

    /// The number of open subjects.
    pub(super) fn len(&self) -> usize {
        self.subjects.len()
    }

    /// How many subjects the last refresh left for the next one.
    pub(super) fn left(&self) -> usize {
        self.left
    }

    /// Opens a subject, or changes it. It is answered in this epoch.
    pub(super) fn open(&mut self, name: &Name, content: C) {
        let answered = self.subjects.get(name).map_or(0, |(answered, _content)| *answered);
        self.by_epoch.insert((answered, name.clone()));
        self.subjects.insert(name.clone(), (answered, content));
        self.changed.insert(name.clone());
    }

    /// Closes a subject, if it is open.
    pub(super) fn close(&mut self, name: &Name) {
        if let Some((answered, _content)) = self.subjects.remove(name) {
            self.by_epoch.remove(&(answered, name.clone()));
            self.changed.insert(name.clone());
        }
    }

    /// Ends an epoch: calls `each` for every subject that it concerns, by name, with its content or none if it is
    /// closed.
    pub(super) fn end_epoch(
        &mut self,
        epoch: Epoch,
        tick: Option<Tick>,
        mut each: impl FnMut(Name, Option<&C>),
    ) {
        let OpenSubjects { refresh_max, subjects, by_epoch, changed, left } = self;
        let limit = match tick {
            None => 0,
            Some(Tick::Oldest) => *refresh_max,
            Some(Tick::All) => usize::MAX,
        };
        if limit > 0 {
            let stale = by_epoch.iter().filter(|(_answered, name)| !changed.contains(name));
            let oldest: Vec<Name> = stale.take(limit).map(|(_answered, name)| name.clone()).collect();
            *left = by_epoch.len().saturating_sub(changed.len() + oldest.len());
            changed.extend(oldest);
        }
        for name in std::mem::take(changed) {
            let subject = subjects.get_mut(&name);
            if let Some((answered, _content)) = subject {
                by_epoch.remove(&(*answered, name.clone()));
                by_epoch.insert((epoch, name.clone()));
                *answered = epoch;
            }
            let content = subjects.get(&name).map(|(_answered, content)| content);
            each(name, content);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(
        subjects: &mut OpenSubjects<u32>,
        epoch: Epoch,
        tick: Option<Tick>,
    ) -> Vec<(String, Option<u32>)> {
        let mut all = Vec::new();
        subjects.end_epoch(epoch, tick, |name, content| all.push((name.to_string(), content.copied())));
        all
    }

    #[test]
    fn the_oldest_are_refreshed_first() {
        let mut subjects = OpenSubjects::new(2);
        let some = |names: &[(&str, u32)]| {
            names.iter().map(|&(name, content)| (name.to_owned(), Some(content))).collect::<Vec<_>>()
        };
        for (name, content) in [("a", 1), ("b", 2), ("c", 3)] {
            subjects.open(&name.into(), content);
        }
        assert_eq!(answered(&mut subjects, 5, None), some(&[("a", 1), ("b", 2), ("c", 3)]));
        subjects.open(&"a".into(), 4);
        assert_eq!(answered(&mut subjects, 6, None), some(&[("a", 4)]));
        assert_eq!(answered(&mut subjects, 7, Some(Tick::Oldest)), some(&[("b", 2), ("c", 3)]));
        assert_eq!(answered(&mut subjects, 8, Some(Tick::Oldest)), some(&[("a", 4), ("b", 2)]));
        assert_eq!(answered(&mut subjects, 9, Some(Tick::All)), some(&[("a", 4), ("b", 2), ("c", 3)]));
    }

    #[test]
    fn a_closed_subject_is_said_once() {
        let mut subjects = OpenSubjects::new(9);
        subjects.open(&"a".into(), 1);
        subjects.close(&"a".into());
        subjects.close(&"b".into());
        assert_eq!(answered(&mut subjects, 1, Some(Tick::All)), [("a".to_owned(), None)]);
        assert_eq!(answered(&mut subjects, 2, Some(Tick::All)), []);
        assert!(subjects.by_epoch.is_empty() && subjects.subjects.is_empty());
    }
}
