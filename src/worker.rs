//! One worker: builds its part of the dataflow, then fetches, sends, advances and steps until there is no more.
//!
//! ```text
//! every turn:  stop asked for? close the input
//!              the pace allows? fetch a bounded batch of each partition, decode, send
//!              the epoch is over? advance
//!              what is out? commit its offsets
//!              step, or park until something happens
//! ```
//!
//! Nothing in the loop waits: not for a record, not for the broker, not for an epoch to be out.

mod control;
mod intake;
mod pace;

use crate::job::{Destination, Job, Shared};
use crate::metrics::WorkerMeter;
use crate::output::{KafkaSink, Sink};
use crate::publish::{Outlet, Publisher, publish};
use crate::summary::{Counter, Summary, Tally};
use crate::verify::verify;
use anyhow::{Context, Result};
use control::Control;
use deltacart_dataflows::{Epoch, Event, Recommendations, recommend};
use deltacart_inputs::Share;
use intake::Intake;
use pace::Pace;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::operators::{Exchange, Input, Inspect, Probe};
use timely::dataflow::{InputHandle, ProbeHandle};
use timely::worker::Worker;

type EventInput = InputHandle<Epoch, CapacityContainerBuilder<Vec<Event>>>;

/// The first thing that went wrong in an operator, which cannot fail by itself.
#[derive(Clone, Default)]
pub(crate) struct Trouble(Rc<RefCell<Option<anyhow::Error>>>);

impl Trouble {
    pub(crate) fn set(&self, error: anyhow::Error) {
        self.0.borrow_mut().get_or_insert(error);
    }

    pub(crate) fn is_some(&self) -> bool {
        self.0.borrow().is_some()
    }

    fn check(&self) -> Result<()> {
        self.0.borrow_mut().take().map_or(Ok(()), Err)
    }
}

/// Runs one worker of a job to its end.
pub(crate) fn run(worker: &mut Worker, job: &Job, shared: &Shared) -> Result<()> {
    let tally = Rc::new(RefCell::new(Tally::default()));
    let trouble = Trouble::default();
    let share = Share { worker: worker.index(), workers: worker.peers() };
    let mut intake = Intake::new(job, share, shared, Rc::clone(&tally))?;
    let mut control = Control::new(worker);
    let (input, out, mut meter) = build(worker, job, shared, &tally, &trouble)?;
    let mut input = Some(input);
    let mut pace = Pace::new(job.cut, job.limits);

    while !out.done() {
        shared.turns.bump(worker.index());
        trouble.check()?;
        if shared.stop.load(Ordering::Relaxed) {
            control.stop_all();
        }
        let oldest = out.with_frontier(|frontier| frontier.first().copied());
        intake.commit(oldest)?;
        pace.keep_time(&mut control, oldest);
        let mut busy = false;
        if let Some(open) = &mut input {
            busy = pace.fetch(&mut intake, &mut control, oldest, &mut |events| open.send_batch(events))?;
        }
        meter.turn(intake.turn(pace.epoch(), oldest), || intake.probe());
        if let Some(open) = &mut input {
            if control.is_stopped() || intake.has_ended()? {
                intake.end_epoch(*open.time());
                input = None;
            } else if let Some(next) = pace.next_epoch(&intake, &control) {
                intake.end_epoch(*open.time());
                open.advance_to(next);
                busy = true;
            }
        }
        if busy {
            worker.step();
        } else {
            worker.step_or_park(Some(pace.patience(&intake, &control)));
        }
    }
    shared.turns.end(worker.index());
    trouble.check()?;
    intake.finish()?;
    drop(control);
    meter.last_turn(intake.turn(pace.epoch(), None), || intake.probe());
    tally.borrow_mut().add(Counter::ItemsSampled, meter.items_sampled());
    summarise(worker, &tally, shared);
    Ok(())
}

/// What the worker holds of its dataflow: what goes in, a probe of what is out, and what tells how it does.
type Dataflow = (EventInput, ProbeHandle<Epoch>, WorkerMeter);

/// Builds the dataflow.
fn build(
    worker: &mut Worker,
    job: &Job,
    shared: &Shared,
    tally: &Rc<RefCell<Tally>>,
    trouble: &Trouble,
) -> Result<Dataflow> {
    let (sink, publisher): (Option<Box<dyn Sink>>, _) = match (&job.output, &job.kafka) {
        (Destination::File(_), _) => {
            let sink = shared.output.clone().filter(|_| worker.index() == 0);
            (sink.map(|sink| Box::new(sink) as Box<dyn Sink>), Publisher::First)
        }
        (Destination::Topic(name), kafka) => {
            let kafka = kafka.as_ref().context("a topic needs brokers: add -b/--brokers")?;
            (Some(Box::new(KafkaSink::connect(kafka, name)?)), Publisher::Each)
        }
    };
    let outlet = Outlet::new(sink, job.records, Rc::clone(tally), trouble.clone());
    let (mut input, out) = (EventInput::new(), ProbeHandle::new());
    let meter = worker.dataflow_named("Recommend", |scope| {
        let events = scope.input_from(&mut input);
        let Recommendations { lists, notes, work, sampling, census } = recommend(events.clone(), job.params);
        if let Some(when) = job.verify {
            let verified = verify(events, lists.clone(), when, job.params, Rc::clone(tally), trouble.clone());
            verified.probe_with(&out);
        }
        let counts = Rc::clone(tally);
        notes.inspect(move |&note| counts.borrow_mut().add(Counter::of(note), 1)).probe_with(&out);
        publish(lists, publisher, outlet).probe_with(&out);
        WorkerMeter::new(&shared.meter, scope.index(), Rc::clone(tally), work, sampling, census)
    });
    Ok((input, out, meter))
}

/// Adds the counts of all workers up on worker 0.
fn summarise(worker: &mut Worker, tally: &Rc<RefCell<Tally>>, shared: &Shared) {
    let mut counts = InputHandle::<Epoch, CapacityContainerBuilder<Vec<(Counter, u64)>>>::new();
    let total = Rc::new(RefCell::new(Tally::default()));
    let sum = Rc::clone(&total);
    let added = worker.dataflow_named("Summary", |scope| {
        let everything = scope.input_from(&mut counts).exchange(|_count| 0);
        everything.inspect(move |(counter, count)| sum.borrow_mut().add(counter.clone(), *count)).probe().0
    });
    tally.borrow().iter().for_each(|(counter, count)| counts.send((counter.clone(), count)));
    counts.close();
    worker.step_or_park_while(None, || !added.done());
    if worker.index() == 0 {
        let summary = Summary { tally: total.take(), elapsed: Default::default() };
        *shared.summary.lock().unwrap_or_else(PoisonError::into_inner) = Some(summary);
    }
}
