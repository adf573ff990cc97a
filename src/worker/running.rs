//! A worker at its work: the dataflow it has built, what it reads into it, and when its epochs end.

use super::coordination::Coordination;
use super::epoch_scheduler::EpochScheduler;
use super::ingest::Ingest;
use super::recovery::{ConsumerInput, Recovery};
use super::snapshots::Snapshots;
use super::{Context, Turn};
use crate::job::Destination;
use crate::metrics::{Step, WorkerMeter};
use crate::output::{Sink, Watch};
use crate::publish::{Cadence, EpochWriter, Publisher, Resumption, publish};
use crate::summary::Counter;
use crate::verify::verify;
use anyhow::Result;
use deltacart_dataflows::{Epoch, Event, Recommendations, SnapshotRequest, recommend_core};
use std::rc::Rc;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::operators::{Input, Inspect, Probe};
use timely::dataflow::{InputHandle, ProbeHandle};
use timely::worker::Worker;

type EventInput = InputHandle<Epoch, CapacityContainerBuilder<Vec<Event>>>;

/// What a worker holds of its dataflow, and what drives it.
pub(super) struct Running<'a> {
    ingest: Ingest<'a>,
    scheduler: EpochScheduler,
    recovery: Recovery,
    snapshots: Option<Snapshots>,
    /// Open until there is nothing more to read.
    input: Option<EventInput>,
    /// When lists leave.
    cadence: Rc<Cadence>,
    /// What is out.
    out: ProbeHandle<Epoch>,
    /// What is out or held back.
    taken: ProbeHandle<Epoch>,
    /// Looks at the output.
    watch: Option<Box<dyn Watch>>,
    /// What tells those who watch.
    meter: WorkerMeter,
}

/// What the dataflow is made of, seen from outside.
struct Dataflow {
    input: EventInput,
    consumer_state: ConsumerInput,
    out: ProbeHandle<Epoch>,
    taken: ProbeHandle<Epoch>,
    meter: WorkerMeter,
}

impl<'a> Running<'a> {
    /// Builds the dataflow and opens the input. Nobody else writes to the output any more: what is in the input now is
    /// all that any earlier run can have read.
    pub(super) fn new(
        worker: &mut Worker,
        context: &Context<'a>,
        sink: Option<Box<dyn Sink>>,
    ) -> Result<Self> {
        let &Context { job, shared, environment, share, ref tally, .. } = context;
        let ingest = Ingest::new(job, shared, environment, share, Rc::clone(tally))?;
        let snapshots = Snapshots::new(worker, job, shared, environment, &ingest)?;
        let request = snapshots.as_ref().map(Snapshots::request);
        let watch = environment.watch(share)?;
        let consumer_state = environment.consumer_state(share)?;
        tracing::debug!(worker = share.worker, "the input and the output are open");
        let resumption = consumer_state.is_some().then(Rc::<Resumption>::default);
        let cadence = Rc::new(Cadence::new(job.lists_every, environment.now()));
        let Dataflow { input, consumer_state: held_input, out, taken, meter } =
            build(worker, context, sink, request, resumption.clone(), Rc::clone(&cadence));
        let scheduler = EpochScheduler::new(job.cut, job.limits, snapshots.is_some(), environment.now());
        let recovery = Recovery::new(job, consumer_state.zip(resumption), held_input);
        let input = Some(input);
        Ok(Running { ingest, scheduler, recovery, snapshots, input, cadence, out, taken, watch, meter })
    }

    /// One turn; done when everything is out.
    pub(super) fn turn(&mut self, context: &Context<'a>, coordination: &mut Coordination) -> Result<Turn> {
        if self.out.done() {
            return Ok(Turn::Done);
        }
        if let Some(watch) = &mut self.watch {
            watch.check()?;
        }
        let now = context.environment.now();
        let until_lists_leave = self.cadence.turn(now);
        let oldest = self.out.with_frontier(|frontier| frontier.first().copied());
        let oldest_ahead = self.taken.with_frontier(|frontier| frontier.first().copied());
        // Epochs that are only computed again are not out.
        self.ingest.commit(if self.recovery.is_over() { oldest } else { Some(0) }, now)?;
        self.scheduler.keep_time(coordination, oldest_ahead, now);
        if let Some(snapshots) = &mut self.snapshots {
            snapshots.turn(coordination, &self.ingest, context.environment)?;
        }
        let mut busy = self.read(coordination, oldest_ahead)?;
        busy |= self.recover(coordination)?;
        self.tell(oldest, oldest_ahead);
        busy |= self.advance(coordination)?;
        if busy {
            return Ok(Turn::Busy);
        }
        let patience = self.scheduler.patience(&self.ingest, coordination, now);
        Ok(Turn::Idle(until_lists_leave.map_or(patience, |left| left.min(patience))))
    }

    /// Tells those who watch how far this worker has come. After the reading, so that an epoch's first record is seen
    /// before the epoch ends.
    fn tell(&mut self, oldest: Option<Epoch>, oldest_ahead: Option<Epoch>) {
        let step = match self.recovery.reads_output() {
            _ if self.is_restoring() => Step::Restoring,
            Some(records) => Step::ReadingOutput { records },
            None => Step::Reading,
        };
        let Running { ingest, scheduler, recovery, meter, .. } = self;
        let mut turn = ingest.turn(scheduler.epoch(), oldest, oldest_ahead);
        turn.step = step;
        // What is only computed again is not out.
        turn.reached_end &= recovery.is_over();
        meter.turn(turn, || ingest.probe());
    }

    fn is_restoring(&self) -> bool {
        self.snapshots.as_ref().is_some_and(Snapshots::is_restoring)
    }

    /// Restores some of a snapshot, or reads on; true if there was something.
    fn read(&mut self, coordination: &mut Coordination, oldest: Option<Epoch>) -> Result<bool> {
        let Running { ingest, scheduler, snapshots, input: Some(open), .. } = self else { return Ok(false) };
        if let Some(snapshots) = snapshots.as_mut().filter(|snapshots| snapshots.is_restoring()) {
            if snapshots.restore(&mut |events| open.send_batch(events))? {
                tracing::debug!("the snapshot is read");
                open.advance_to(scheduler.begin_after_restore(coordination));
            }
            return Ok(true);
        }
        if snapshots.as_ref().is_some_and(Snapshots::has_ended) {
            return Ok(false);
        }
        let found = scheduler.fetch(ingest, coordination, oldest, &mut |events| open.send_batch(events))?;
        Ok(found || ingest.is_skipping())
    }

    /// Goes on with what a restart takes.
    fn recover(&mut self, coordination: &mut Coordination) -> Result<bool> {
        if self.recovery.is_over() {
            return Ok(false);
        }
        let has_read = !self.is_restoring() && self.ingest.has_caught_up();
        let read = has_read.then(|| self.scheduler.epoch());
        let goes_on = self.input.is_some() && !self.ingest.has_ended()?;
        self.recovery.turn(coordination, read, goes_on)
    }

    /// Ends the epoch, or the input, when it is time; true if it did.
    fn advance(&mut self, coordination: &mut Coordination) -> Result<bool> {
        if self.is_restoring() {
            return Ok(false);
        }
        let Running { ingest, scheduler, snapshots, input, .. } = self;
        let Some(open) = input else { return Ok(false) };
        let has_ended = coordination.is_stopped() || ingest.has_ended()?;
        let may_close = |snapshots: &mut Snapshots| snapshots.end(coordination);
        if has_ended && snapshots.as_mut().is_none_or(may_close) {
            ingest.end_epoch(*open.time());
            *input = None;
            return Ok(true);
        }
        let next = if has_ended {
            scheduler.follow(coordination)
        } else {
            scheduler.next_epoch(ingest, coordination)
        };
        let Some(next) = next else { return Ok(false) };
        ingest.end_epoch(*open.time());
        if let Some(snapshots) = snapshots {
            snapshots.pass(next, coordination, ingest)?;
        }
        open.advance_to(next);
        Ok(true)
    }

    /// Waits until what belongs to the records that are out is safe, too.
    pub(super) fn finish(&mut self, context: &Context<'a>) -> Result<()> {
        context.first_error.check()?;
        // Of a pipe there is no telling.
        let has_pipe = context.shared.progress.bytes_total().is_none();
        let ends = context.job.streams.is_bounded() && !has_pipe;
        if ends && !self.ingest.has_ended()? {
            context.shared.complaints.interrupt();
        }
        self.ingest.finish(!self.recovery.is_given_up(), context.environment.now())?;
        self.snapshots.as_mut().map_or(Ok(()), Snapshots::finish)?;
        context.environment.settle(context.share)?;
        self.meter.last_turn(self.ingest.turn(self.scheduler.epoch(), None, None), || self.ingest.probe());
        context.tally.borrow_mut().add(Counter::ItemsSampled, self.meter.items_sampled());
        Ok(())
    }
}

fn build(
    worker: &mut Worker,
    context: &Context<'_>,
    sink: Option<Box<dyn Sink>>,
    snapshots: Option<SnapshotRequest>,
    resumption: Option<Rc<Resumption>>,
    cadence: Rc<Cadence>,
) -> Dataflow {
    let Context { job, shared, tally, first_error, .. } = context;
    let publisher = match &job.output {
        Destination::File(_) => Publisher::First,
        Destination::Topic(_) => Publisher::Each,
    };
    let epoch_writer = EpochWriter::new(sink, job.records, Rc::clone(tally), first_error.clone());
    let (mut input, mut consumer_state) = (EventInput::new(), ConsumerInput::new());
    let (out, taken) = (ProbeHandle::new(), ProbeHandle::new());
    let meter = worker.dataflow_named("Recommend", |scope| {
        let events = scope.input_from(&mut input);
        let consumer_state = scope.input_from(&mut consumer_state);
        let Recommendations { lists, notes, work, sampling, state_stats } =
            recommend_core(events.clone(), job.params, snapshots);
        if let Some(when) = job.verify {
            let verified =
                verify(events, lists.clone(), when, job.params, Rc::clone(tally), first_error.clone());
            verified.probe_with(&out).probe_with(&taken);
        }
        let counts = Rc::clone(tally);
        let notes = notes.inspect(move |&note| counts.borrow_mut().add(Counter::of(note), 1));
        notes.probe_with(&out).probe_with(&taken);
        let published = publish(lists, consumer_state, publisher, resumption, cadence, epoch_writer);
        published.out.probe_with(&out);
        published.taken.probe_with(&taken);
        WorkerMeter::new(&shared.meter, scope.index(), Rc::clone(tally), work, sampling, state_stats)
    });
    Dataflow { input, consumer_state, out, taken, meter }
}
