//! The programs that are compared, each as a dataflow with an input and a probe, on one worker or several.
//!
//! - `fast`: interactions in, lists out. This is the engine alone, with items that are numbered beforehand.
//! - `pipeline`: events with names in, lists out. It numbers items, and maintains baskets with quantities,
//!   interactions and the engine.
//! - `reference`: interactions in, lists out, by the obvious differential program.
//!
//! All of them use cosine, k = 10 and scores of 3 digits, the defaults of the job.

use super::intake::{Events, Intake, Interactions};
use super::observe::{Seen, Watch, observe};
use super::workload::{Change, item_name};
use deltacart_dataflows::{
    Algorithm, Epoch, Evidence, Item, ListParams, Measure, Names, Neighbours, Params, Recommendations,
    Requests, Scoring, SnapshotRequest, StateCollector, Work, name_lists, neighbours, recommend_core,
    reference_neighbours,
};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::time::Instant;
use timely::dataflow::ProbeHandle;
use timely::dataflow::operators::Input;
use timely::worker::Worker;

/// The program that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Program {
    Fast,
    Pipeline,
    Reference,
    /// Hash counting alone, which is no dataflow: see [`super::counting`].
    Count,
}

impl fmt::Display for Program {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Program::Fast => "fast",
            Program::Pipeline => "pipeline",
            Program::Reference => "reference",
            Program::Count => "count",
        })
    }
}

/// The settings of lists of all programs.
pub(crate) fn list_params() -> ListParams {
    ListParams { k: 10, scoring: Scoring::new(Measure::Cosine), scores: true }
}

/// The settings of the pipeline.
pub(crate) fn params() -> Params {
    Params {
        algorithm: Algorithm::Fast,
        lists: list_params(),
        basket_items_max: 10_000,
        basket_idle: None,
        item_baskets_max: None,
        evidence: Evidence::default(),
        open_for: None,
        answers: None,
    }
}

/// A running dataflow.
pub(crate) struct Running {
    pub(crate) intake: Box<dyn Intake>,
    pub(crate) probe: ProbeHandle<Epoch>,
    pub(crate) seen: Rc<RefCell<Seen>>,
    /// The engine's own count of work on this worker.
    pub(crate) work: Work,
    /// The size of the state, if the program reports it.
    pub(crate) state_stats: Option<StateCollector>,
}

/// Timely's settings for `communication`, with the idle merging of arrangements that the job sets.
pub(crate) fn config(communication: timely::CommunicationConfig) -> timely::Config {
    let mut config = timely::Config { communication, worker: Default::default() };
    let merging = differential_dataflow::Config::default().idle_merge_effort(Some(1000));
    differential_dataflow::configure(&mut config.worker, &merging);
    config
}

/// Builds a program on a worker. `items` is the number of items that will occur.
pub(crate) fn build(worker: &mut Worker, program: Program, items: u32, watch: Watch) -> Running {
    build_with(worker, program, items, watch, list_params())
}

/// Builds a program with other settings of lists. The pipeline always has those of [`params`].
pub(crate) fn build_with(
    worker: &mut Worker,
    program: Program,
    items: u32,
    watch: Watch,
    lists: ListParams,
) -> Running {
    if program == Program::Pipeline {
        return build_pipeline(worker, watch, None);
    }
    let seen = Rc::new(RefCell::new(Seen::default()));
    let mut interactions = Interactions::new();
    let (probe, work) = worker.dataflow(|scope| {
        let interactions = interactions.input.to_collection(scope);
        match program {
            Program::Reference => {
                let lists = reference_neighbours(interactions, lists);
                (observe(lists, watch, &seen), Work::default())
            }
            _ => {
                let names = names(items);
                let Neighbours { lists, work, .. } = neighbours(interactions, Rc::clone(&names), lists);
                (observe(name_lists(lists, names), watch, &seen), work)
            }
        }
    });
    Running { intake: Box::new(interactions), probe, seen, work, state_stats: None }
}

/// Builds the pipeline. With `snapshots`, copies of its baskets can be requested.
pub(crate) fn build_pipeline(
    worker: &mut Worker,
    watch: Watch,
    snapshots: Option<SnapshotRequest>,
) -> Running {
    let seen = Rc::new(RefCell::new(Seen::default()));
    let mut events = Events::default();
    let (probe, work, state_stats) = worker.dataflow(|scope| {
        let events = scope.input_from(&mut events.input);
        let Recommendations { lists, work, state_stats, .. } =
            recommend_core(events, params(), Requests { snapshots, ..Requests::default() });
        (observe(lists, watch, &seen), work, Some(state_stats))
    });
    Running { intake: Box::new(events), probe, seen, work, state_stats }
}

/// The names of items, which the engine alone gets beforehand.
fn names(items: u32) -> Rc<RefCell<Names>> {
    let mut names = Names::default();
    (0..items).for_each(|item| names.insert(Item::new(item), &item_name(item)));
    Rc::new(RefCell::new(names))
}

/// The largest item plus one; 0 without changes.
pub(crate) fn items(changes: &[Change]) -> u32 {
    changes.iter().map(|change| change.item + 1).max().unwrap_or(0)
}

impl Running {
    /// Takes in changes in epochs of `epoch` changes, the first with the number `first`. Waits until each epoch is
    /// complete, and returns the seconds of each.
    pub(crate) fn take(
        &mut self,
        worker: &mut Worker,
        changes: &[Change],
        epoch: usize,
        first: Epoch,
    ) -> Vec<f64> {
        let mut seconds = Vec::with_capacity(changes.len() / epoch + 1);
        for (next, changes) in (first + 1..).zip(changes.chunks(epoch)) {
            self.intake.prepare(&mut changes.iter().copied());
            let start = Instant::now();
            self.intake.send();
            self.intake.advance_to(next);
            worker.step_while(|| self.probe.less_than(&next));
            seconds.push(start.elapsed().as_secs_f64());
        }
        seconds
    }
}
