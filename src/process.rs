//! One process of a run: the state that its threads share, and the handle that watches and stops the run.

use crate::cluster::Turns;
use crate::metrics::Meter;
use crate::output::{FileSink, StreamNumber};
use crate::state::open::State;
use crate::summary::Summary;
use crate::unusable::UnusableReports;
use deltacart_inputs::file::FileProgress;
use deltacart_inputs::kafka::TopicState;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

/// The state that the threads of a process share.
#[derive(Clone, Default)]
pub(crate) struct Shared {
    /// Set from outside to end the job in good order.
    pub(crate) stop: Arc<AtomicBool>,
    /// The progress of reading the files.
    pub(crate) progress: FileProgress,
    /// The files that this process writes, shared by its workers: those of output streams by number, and the dead
    /// letters.
    pub(crate) outputs: BTreeMap<StreamNumber, FileSink>,
    pub(crate) dead_letters: Option<FileSink>,
    /// The output topics as they were at the start of the job, by the number of the stream.
    pub(crate) output_topics: BTreeMap<StreamNumber, TopicState>,
    /// The number of turns of the loop of each worker of this process.
    pub(crate) turns: Turns,
    /// The snapshots, and the one that the job resumes from.
    pub(crate) state: Option<Arc<State>>,
    /// The summary of the run. Worker 0 sets it at the end.
    pub(crate) summary: Arc<Mutex<Option<Summary>>>,
    /// The metrics of the run.
    pub(crate) meter: Meter,
    /// The reports about records and inputs that cannot be used.
    pub(crate) unusable_reports: UnusableReports,
}

/// A handle to watch a run and to end it from outside.
#[derive(Clone, Default)]
pub struct Handle {
    pub(crate) shared: Shared,
}

impl Handle {
    /// A handle that ends the job when `stop` is set.
    pub fn new(stop: Arc<AtomicBool>) -> Self {
        Handle { shared: Shared { stop, ..Shared::default() } }
    }

    /// The metrics of the run.
    pub fn meter(&self) -> &Meter {
        &self.shared.meter
    }

    /// Why this process did not complete its task although nothing failed: it was interrupted before the end of its
    /// input, or nothing of an input could be used. `None` if it completed it.
    pub fn verdict(&self) -> Option<String> {
        self.shared.unusable_reports.verdict()
    }

    /// Why the first record was rejected, if one was.
    pub fn first_reject(&self) -> Option<String> {
        self.shared.unusable_reports.first()
    }

    /// The progress of reading the input files.
    pub fn progress(&self) -> &FileProgress {
        &self.shared.progress
    }
}
