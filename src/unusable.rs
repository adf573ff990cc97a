//! UnusableReports: the messages about records and inputs that cannot be used, during the run and at its end.
//!
//! ```text
//!  first reject of each reason ───────────────▶ a warning, with the place and the reason
//!  many records, and none of them used ───────▶ a warning, once
//!  a file has ended, and none of it was used ─▶ the last message of the run, and exit code 1
//! ```

use crate::dead_letter::{Found, Origin};
use crate::plural::counted;
use deltacart_inputs::{RawRecord, Reject};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A warning is logged after this many rejects and other events without a useful one.
const MANY: u64 = 100;

/// The unusable_reports of a process: those already logged, and those for the end. Clones share them between workers.
#[derive(Clone, Default)]
pub(crate) struct UnusableReports(Arc<Mutex<Messages>>);

#[derive(Default)]
struct Messages {
    /// The reasons for rejects that have been logged.
    reasons: BTreeSet<&'static str>,
    /// The inputs whose records were all rejected so far, and those that had only events of other kinds: each is
    /// warned of once.
    all_rejected: BTreeSet<String>,
    all_others: BTreeSet<String>,
    /// The first reject of each topic and file.
    first: BTreeMap<String, String>,
    /// The messages about inputs of which nothing could be used.
    unusable: Vec<String>,
    is_interrupted: bool,
}

/// What became of the records of one partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Uses {
    /// Records that were rejected.
    pub(crate) rejected: u64,
    /// Events that were parsed and concern baskets, though perhaps without effect.
    pub(crate) useful: u64,
    /// Events that were parsed and do not concern baskets.
    pub(crate) others: u64,
}

impl Uses {
    pub(crate) fn add(&mut self, more: Uses) {
        self.rejected += more.rejected;
        self.useful += more.useful;
        self.others += more.others;
    }
}

fn shown(path: &str) -> &str {
    if path == "-" { "standard input" } else { path }
}

impl UnusableReports {
    /// Takes a rejected record, or a rejected part of one. Logs the first reject of each reason.
    pub(crate) fn reject(&self, origin: Origin<'_>, record: &RawRecord<'_>, reject: &Reject, is_part: bool) {
        let mut messages = self.lock();
        let name = reject.reason.name();
        let why = || format!("{name}: {}", reject.detail);
        let found = origin.found.name();
        if !is_part && !messages.first.contains_key(found) {
            messages.first.insert(found.to_owned(), why());
        }
        if !messages.reasons.insert(name) {
            return;
        }
        let place = match origin.found {
            Found::File(path) => format!("{}, record {}", shown(path), record.offset + 1),
            Found::Topic(topic) => {
                format!("topic {topic}, partition {}, offset {}", record.partition, record.offset)
            }
        };
        let what = if is_part { "a line of " } else { "" };
        tracing::warn!("{what}{place} cannot be used: {}; more like it are only counted", why());
    }

    /// Judges what has been read of a partition. If it is much and of no use, logs a warning, once. `ended` says that
    /// it is a whole file. If all records of a file were rejected, a message is kept for the end of the run.
    pub(crate) fn judge(&self, origin: Origin<'_>, uses: Uses, ended: bool) {
        let Uses { rejected, useful, others } = uses;
        let format = origin.format;
        let is_due = ended || rejected + others >= MANY;
        if useful > 0 || rejected + others == 0 || !is_due {
            return;
        }
        let place = match origin.found {
            Found::File(path) => shown(path).to_owned(),
            Found::Topic(topic) => format!("topic {topic}"),
        };
        let mut messages = self.lock();
        if others > 0 {
            if messages.all_others.insert(place.clone()) {
                let others = counted(others, "event(s)");
                tracing::warn!(
                    "nothing of {place} concerns baskets so far: {others} of other kinds; --event-names says what a \
                     shop's own names mean, --format what shape the events have (now {format})"
                );
            }
            return;
        }
        let why = messages.first.get(origin.found.name()).cloned().unwrap_or_default();
        if ended {
            let records = counted(rejected, "record(s)");
            let message = format!(
                "nothing of {place} could be used: {records} rejected, the first as {why}; check --format (now \
                 {format}): docs/formats.md has what each expects"
            );
            messages.unusable.push(message);
        } else if messages.all_rejected.insert(place.clone()) {
            tracing::warn!(
                "none of the first {rejected} records of {place} could be used, the first as {why}; check --format (now \
                 {format})"
            );
        }
    }

    /// Notes that the input was not read to its end.
    pub(crate) fn interrupt(&self) {
        self.lock().is_interrupted = true;
    }

    /// Why the run did not fulfil its task; `None` if it did.
    pub(crate) fn verdict(&self) -> Option<String> {
        let messages = self.lock();
        if messages.is_interrupted {
            return Some(
                "interrupted before the end of the input: the lists are of what was read".to_owned(),
            );
        }
        (!messages.unusable.is_empty()).then(|| messages.unusable.join("; "))
    }

    /// The first reject of one of the inputs that had any: the first by name.
    pub(crate) fn first(&self) -> Option<String> {
        self.lock().first.values().next().cloned()
    }

    /// The messages are valid after every assignment, so a poisoned lock may be used.
    fn lock(&self) -> MutexGuard<'_, Messages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
