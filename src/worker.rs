//! One worker: builds its part of the dataflow, then works turn by turn until every epoch has been delivered.
//!
//! ```text
//! fencing the output ─▶ running, turn by turn ─▶ adding up the counts ─▶ done
//!
//! first turns:  restore the snapshot, if there is one
//! every turn:   commit the offsets of delivered epochs
//!               fetch a bounded batch of each partition, decode it, send its events into the dataflow
//!               after a restart: read the consumer state, and agree with the other workers when to publish
//!               advance to the next epoch when this one is over; at the end close the input
//! between:      step the dataflow, or park until something happens
//! ```
//!
//! A [`Task`] is all of this as a state machine. [`Task::turn`] does what can be done now and says whether there is
//! more. Nothing in it waits: not for a record, not for the broker, not for an epoch to be delivered. The loop in
//! [`run`] steps and parks. Everything that a worker reads and writes comes from its [`Environment`].

mod backlog;
mod fencing;
mod coordination;
mod counts;
mod inputs;
mod ingest;
mod epoch_scheduler;
mod environment;
mod recovery;
mod running;
mod serving;
mod snapshots;

#[cfg(test)]
mod tests;

use crate::first_error::FirstError;
use crate::job::Job;
use crate::process::Shared;
use crate::summary::{Counter, Summary, Tally};
use anyhow::Result;
use coordination::Coordination;
use deltacart_dataflows::Epoch;
use deltacart_inputs::Share;
pub(crate) use environment::{Environment, System};
use fencing::Fencing;
use running::Running;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::operators::{Exchange, Input, Inspect, Probe};
use timely::dataflow::{InputHandle, ProbeHandle};
use timely::worker::Worker;

/// Runs one worker of a job until the job is over.
pub(crate) fn run(worker: &mut Worker, job: &Job, shared: &Shared) -> Result<()> {
    let environment = System { job, shared };
    let mut task = Task::new(worker, job, shared, &environment);
    loop {
        match task.turn(worker)? {
            Turn::Busy => worker.step(),
            Turn::Idle(patience) => worker.step_or_park(Some(patience)),
            Turn::Done => return Ok(()),
        };
    }
}

/// What the loop does after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// More can be done at once: step, then take the next turn.
    Busy,
    /// Step. If nothing moves, sleep for at most this long; a wake-up ends the sleep earlier.
    Idle(Duration),
    /// The worker has finished.
    Done,
}

/// The longest sleep while a worker waits for other workers. Their progress wakes it earlier.
const PARK_MAX: Duration = Duration::from_millis(100);

/// One worker of a job.
pub(crate) struct Task<'a> {
    context: Context<'a>,
    coordination: Coordination,
    phase: Phase<'a>,
}

/// The values that every part of a worker uses.
pub(crate) struct Context<'a> {
    job: &'a Job,
    shared: &'a Shared,
    environment: &'a dyn Environment,
    share: Share,
    tally: Rc<RefCell<Tally>>,
    first_error: FirstError,
}

enum Phase<'a> {
    Fencing(Fencing),
    Running(Box<Running<'a>>),
    Counting(Count),
    Done,
}

impl<'a> Task<'a> {
    pub(crate) fn new(
        worker: &mut Worker,
        job: &'a Job,
        shared: &'a Shared,
        environment: &'a dyn Environment,
    ) -> Self {
        let share = Share { worker: worker.index(), workers: worker.peers() };
        let (tally, first_error) = (Rc::default(), FirstError::default());
        let context = Context { job, shared, environment, share, tally, first_error };
        Task { context, coordination: Coordination::new(worker), phase: Phase::Fencing(Fencing::new()) }
    }

    /// Does the work that can be done now.
    pub(crate) fn turn(&mut self, worker: &mut Worker) -> Result<Turn> {
        let Task { context, coordination, phase } = self;
        context.first_error.check()?;
        if context.shared.stop.load(Ordering::Relaxed) {
            coordination.stop_all();
        }
        let next = match phase {
            Phase::Fencing(fencing) => {
                if !fencing.turn(coordination, context.environment, context.share)? {
                    return Ok(Turn::Idle(PARK_MAX));
                }
                Phase::Running(Box::new(Running::new(worker, context, fencing.take_sink())?))
            }
            Phase::Running(running) => {
                // The watchdog counts turns from here on. Fencing, before this, connects to brokers and has its own
                // time-outs.
                context.shared.turns.bump(context.share.worker);
                let turn = running.turn(context, coordination)?;
                if turn != Turn::Done {
                    return Ok(turn);
                }
                context.shared.turns.end(context.share.worker);
                running.finish(context)?;
                Phase::Counting(Count::new(worker, &context.tally))
            }
            Phase::Counting(count) if count.added.done() => {
                if context.share.worker == 0 {
                    let summary = Summary { tally: count.total.take(), elapsed: Default::default() };
                    *context.shared.summary.lock().unwrap_or_else(PoisonError::into_inner) = Some(summary);
                }
                Phase::Done
            }
            Phase::Counting(_) => return Ok(Turn::Idle(PARK_MAX)),
            Phase::Done => return Ok(Turn::Done),
        };
        *phase = next;
        Ok(Turn::Busy)
    }
}

/// Adds up the counts of all workers on worker 0.
struct Count {
    total: Rc<RefCell<Tally>>,
    added: ProbeHandle<Epoch>,
}

impl Count {
    fn new(worker: &mut Worker, tally: &Rc<RefCell<Tally>>) -> Count {
        let mut counts = InputHandle::<Epoch, CapacityContainerBuilder<Vec<(Counter, u64)>>>::new();
        let total = Rc::new(RefCell::new(Tally::default()));
        let sum = Rc::clone(&total);
        let added = worker.dataflow_named("Summary", |scope| {
            let everything = scope.input_from(&mut counts).exchange(|_count| 0);
            everything
                .inspect(move |(counter, count)| sum.borrow_mut().add(counter.clone(), *count))
                .probe()
                .0
        });
        tally.borrow().iter().for_each(|(counter, count)| counts.send((counter.clone(), count)));
        Count { total, added }
    }
}
