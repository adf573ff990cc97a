//! A worker at its work: the dataflow it has built, what it reads into it, and when its epochs end.

use super::control::Control;
use super::intake::Intake;
use super::pace::Pace;
use super::recovery::{HeldInput, Recovery};
use super::{Context, Turn};
use crate::job::Destination;
use crate::output::Sink;
use crate::publish::{Outlet, Publisher, Resumption, publish};
use crate::summary::Counter;
use crate::verify::verify;
use anyhow::Result;
use deltacart_dataflows::{Epoch, Event, Recommendations, Sampling, recommend};
use std::rc::Rc;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::operators::{Input, Inspect, Probe};
use timely::dataflow::{InputHandle, ProbeHandle};
use timely::worker::Worker;

type EventInput = InputHandle<Epoch, CapacityContainerBuilder<Vec<Event>>>;

/// What a worker holds of its dataflow, and what drives it.
pub(super) struct Running<'a> {
    intake: Intake<'a>,
    pace: Pace,
    recovery: Recovery,
    /// Open until there is nothing more to read.
    input: Option<EventInput>,
    /// What is out.
    out: ProbeHandle<Epoch>,
    sampling: Option<Sampling>,
}

/// What the dataflow is made of, seen from outside.
struct Dataflow {
    input: EventInput,
    held: HeldInput,
    out: ProbeHandle<Epoch>,
    sampling: Option<Sampling>,
}

impl<'a> Running<'a> {
    /// Builds the dataflow and opens the input. Nobody else writes to the output any more: what is in the input now is
    /// all that any earlier run can have read.
    pub(super) fn new(
        worker: &mut Worker,
        context: &Context<'a>,
        sink: Option<Box<dyn Sink>>,
    ) -> Result<Self> {
        let &Context { job, places, share, ref tally, .. } = context;
        let intake = Intake::new(job, places, share, Rc::clone(tally))?;
        let held = places.held(share)?;
        let resumption = held.is_some().then(Rc::<Resumption>::default);
        let Dataflow { input, held: held_input, out, sampling } =
            build(worker, context, sink, resumption.clone());
        let pace = Pace::new(job.cut, job.limits, places.now());
        let recovery = Recovery::new(job, held.zip(resumption), held_input);
        Ok(Running { intake, pace, recovery, input: Some(input), out, sampling })
    }

    /// One turn; done when everything is out.
    pub(super) fn turn(&mut self, context: &Context<'a>, control: &mut Control) -> Result<Turn> {
        if self.out.done() {
            return Ok(Turn::Done);
        }
        let Running { intake, pace, recovery, .. } = self;
        let now = context.places.now();
        let oldest = self.out.with_frontier(|frontier| frontier.first().copied());
        // Epochs that are only computed again are not out.
        intake.commit(if recovery.is_over() { oldest } else { Some(0) }, now)?;
        pace.keep_time(control, oldest, now);
        let mut busy = false;
        if let Some(open) = &mut self.input {
            busy = pace.fetch(intake, control, oldest, &mut |events| open.send_batch(events))?;
        }
        busy |= recovery.turn(control, intake.has_caught_up().then(|| pace.epoch()))?;
        if let Some(open) = &mut self.input {
            if control.is_stopped() || intake.has_ended()? {
                intake.end_epoch(*open.time());
                self.input = None;
            } else if let Some(next) = pace.next_epoch(intake, control) {
                intake.end_epoch(*open.time());
                open.advance_to(next);
                busy = true;
            }
        }
        Ok(if busy { Turn::Busy } else { Turn::Idle(pace.patience(intake, control, now)) })
    }

    /// Waits until what belongs to the records that are out is safe, too.
    pub(super) fn finish(&mut self, context: &Context<'a>) -> Result<()> {
        context.trouble.check()?;
        self.intake.finish(!self.recovery.is_given_up(), context.places.now())?;
        context.places.settle(context.share)?;
        let sampled = self.sampling.as_ref().map_or(0, Sampling::over);
        context.tally.borrow_mut().add(Counter::ItemsSampled, sampled);
        Ok(())
    }
}

fn build(
    worker: &mut Worker,
    context: &Context<'_>,
    sink: Option<Box<dyn Sink>>,
    resumption: Option<Rc<Resumption>>,
) -> Dataflow {
    let Context { job, tally, trouble, .. } = context;
    let publisher = match &job.output {
        Destination::File(_) => Publisher::First,
        Destination::Topic(_) => Publisher::Each,
    };
    let outlet = Outlet::new(sink, job.records, Rc::clone(tally), trouble.clone());
    let (mut input, mut held, out) = (EventInput::new(), HeldInput::new(), ProbeHandle::new());
    let sampling = worker.dataflow_named("Recommend", |scope| {
        let events = scope.input_from(&mut input);
        let held = scope.input_from(&mut held);
        let Recommendations { lists, notes, sampling, .. } = recommend(events.clone(), job.params);
        if let Some(when) = job.verify {
            let verified = verify(events, lists.clone(), when, job.params, Rc::clone(tally), trouble.clone());
            verified.probe_with(&out);
        }
        let counts = Rc::clone(tally);
        notes.inspect(move |&note| counts.borrow_mut().add(Counter::of(note), 1)).probe_with(&out);
        publish(lists, held, publisher, resumption, outlet).probe_with(&out);
        sampling
    });
    Dataflow { input, held, out, sampling }
}
