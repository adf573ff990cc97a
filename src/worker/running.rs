//! The running phase of a worker. Every turn fetches, sends, advances and commits as much as it can.
//!
//! ```text
//!          ┌──────────────────────────────── a turn ───────────────────────────────┐
//! source ─▶ fetch ─▶ decode ─▶ send ─▶ advance ─┐                          commit ─▶ offsets
//!                                               │ the dataflow's input        ▲
//!                                               ▼                             │ delivered (a probe)
//!                                       step: events ─▶ lists ─▶ changes ─▶ deliver ─▶ sink
//! ```
//!
//! The caller steps the worker between two turns; then operators compute and deliver. Nothing in a turn waits. The
//! [`EpochScheduler`] decides how much may be read and when the epoch ends; it reads nothing itself.

use super::coordination::Coordination;
use super::epoch_scheduler::EpochScheduler;
use super::ingest::Ingest;
use super::recovery::{LogReadBack, ReadBack, ReadBackInput, Reader, Recovery, TableReadBack};
use super::serving::ServingWorker;
use super::snapshots::{SnapshotDelivery, Snapshots};
use super::{Context, PARK_MAX, Turn};
use crate::job::{Delivery, Destination, Job, OutputStream, Stream};
use crate::metrics::{Step, WorkerMeter};
use crate::output::{
    InputOrigin, InputOrigins, LogFormat, NoteFormat, PredictionFormat, RowKind, Sink, StreamNumber, Watch,
};
use crate::outputs::{Content, TableSettings};
use crate::publish::{Cadence, EpochWriter, Publication, Publish, Publisher, Resumption};
use crate::summary::{Counter, HITS_AT, Tally};
use crate::verify::{all_rows, verify};
use anyhow::Result;
use deltacart_dataflows::{
    Epoch, Event, Note, Prediction, Recommendations, Requests, SnapshotRequest, recommend_core,
};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::operators::{Input, Inspect, Probe};
use timely::dataflow::{InputHandle, ProbeHandle, Scope, StreamVec};
use timely::worker::Worker;

type EventInput = InputHandle<Epoch, CapacityContainerBuilder<Vec<Event>>>;

/// A worker's dataflow handles and the parts that drive them.
pub(super) struct Running<'a> {
    ingest: Ingest<'a>,
    scheduler: EpochScheduler,
    recovery: Recovery,
    snapshots: Option<Snapshots>,
    serving: Option<ServingWorker>,
    /// `None` once there is nothing more to read.
    input: Option<EventInput>,
    /// Decide when the changes of each table are sent.
    cadences: Vec<Rc<Cadence>>,
    probes: Probes,
    /// Check the output topics while the job runs.
    watches: Vec<Box<dyn Watch>>,
    meter: WorkerMeter,
}

/// The dataflow's progress, by epoch.
struct Probes {
    /// Passes an epoch when its changes have been delivered.
    delivered: ProbeHandle<Epoch>,
    /// Passes an epoch when its changes have been delivered, or are held back by `--lists-every`.
    accepted: ProbeHandle<Epoch>,
}

/// The oldest epochs that are still open; `None` when all are closed.
#[derive(Clone, Copy)]
struct OldestEpochs {
    /// The oldest epoch that has not been delivered.
    undelivered: Option<Epoch>,
    /// The oldest epoch that is neither delivered nor held back. It bounds how far reading may run ahead.
    unaccepted: Option<Epoch>,
}

impl Probes {
    fn oldest(&self) -> OldestEpochs {
        let oldest = |probe: &ProbeHandle<Epoch>| probe.with_frontier(|frontier| frontier.first().copied());
        OldestEpochs { undelivered: oldest(&self.delivered), unaccepted: oldest(&self.accepted) }
    }
}

/// The handles of a dataflow that its worker keeps.
struct Dataflow {
    input: EventInput,
    /// What takes the records of each output stream as they are read back, by the number of the stream.
    read_backs: Vec<Box<dyn ReadBack>>,
    cadences: Vec<Rc<Cadence>>,
    probes: Probes,
    serving: Option<ServingWorker>,
    meter: WorkerMeter,
}

impl<'a> Running<'a> {
    /// Builds the dataflow and opens the input. Fencing is complete, so nobody else writes to the output. Any earlier
    /// run can have read only records that are in the input now.
    pub(super) fn new(
        worker: &mut Worker,
        context: &Context<'a>,
        sink: Option<Box<dyn Sink>>,
    ) -> Result<Self> {
        let &Context { job, shared, environment, share, ref tally, .. } = context;
        let ingest = Ingest::new(job, shared, environment, share, Rc::clone(tally))?;
        let snapshots = Snapshots::new(worker, job, shared, environment, &ingest)?;
        let request = snapshots.as_ref().map(Snapshots::request);
        let watches = environment.watches(share)?;
        let consumer_states = job.outputs.iter().map(|(_, stream)| environment.consumer_state(stream, share));
        let consumer_states = consumer_states.collect::<Result<Vec<_>>>()?;
        tracing::debug!(worker = share.worker, "the input and the output are open");
        let resumes: Vec<bool> = consumer_states.iter().map(Option::is_some).collect();
        let resumption = resumes.contains(&true).then(Rc::<Resumption>::default);
        let origins = input_origins(job, ingest.topic_ids());
        let Dataflow { input, read_backs, cadences, probes, serving, meter } =
            build(worker, context, sink, request, &resumes, resumption.clone(), origins);
        let scheduler = EpochScheduler::new(job.cut, job.limits, snapshots.is_some(), environment.now());
        // A stream that does not resume has nothing to be read back.
        let streams = job.outputs.iter().zip(consumer_states).zip(read_backs);
        let readers = streams.filter_map(|(((_number, stream), source), read_back)| {
            Some(Reader::new(stream, source?, read_back))
        });
        let recovery = Recovery::new(readers.collect(), resumption);
        let input = Some(input);
        Ok(Running {
            ingest,
            scheduler,
            recovery,
            snapshots,
            serving,
            input,
            cadences,
            probes,
            watches,
            meter,
        })
    }

    /// Does the work that can be done now. Returns [`Turn::Done`] when every epoch has been delivered.
    pub(super) fn turn(&mut self, context: &Context<'a>, coordination: &mut Coordination) -> Result<Turn> {
        if self.probes.delivered.done() {
            return Ok(Turn::Done);
        }
        self.watches.iter_mut().try_for_each(|watch| watch.check())?;
        let now = context.environment.now();
        let until_release = self.cadences.iter().filter_map(|cadence| cadence.turn(now)).min();
        let oldest = self.probes.oldest();
        self.commit(oldest, now)?;
        if let (Some(serving), true) = (&mut self.serving, self.recovery.is_over()) {
            serving.deliver(oldest.undelivered, self.recovery.base());
        }
        self.scheduler.keep_time(coordination, oldest.unaccepted, now);
        if let Some(snapshots) = &mut self.snapshots {
            let is_given_up = self.recovery.is_given_up();
            let delivery = SnapshotDelivery { unaccepted: oldest.unaccepted, is_given_up };
            snapshots.turn(coordination, &self.ingest, context.environment, delivery)?;
        }
        let mut is_busy = match self.is_restoring() {
            true => self.restore(coordination)?,
            false => self.fetch_and_send(coordination, oldest)?,
        };
        is_busy |= self.take_questions(coordination, oldest);
        is_busy |= self.recover(coordination)?;
        // NB: before the epoch advances, so that its first record is reported while the epoch is open.
        self.report(oldest);
        is_busy |= self.advance(coordination)?;
        if is_busy {
            return Ok(Turn::Busy);
        }
        let until_call = self.scheduler.until_call(coordination, now);
        let wake_ups = [Some(self.ingest.patience()), until_call, until_release];
        Ok(Turn::Idle(wake_ups.into_iter().flatten().min().unwrap_or(PARK_MAX)))
    }

    /// Commits the offsets of delivered epochs. While a restart recomputes epochs, none counts as delivered.
    fn commit(&mut self, oldest: OldestEpochs, now: Instant) -> Result<()> {
        let undelivered = if self.recovery.is_over() { oldest.undelivered } else { Some(0) };
        self.ingest.commit(undelivered, now)
    }

    /// Sends some events of the snapshot into the dataflow. Returns whether there was something to restore.
    fn restore(&mut self, coordination: &mut Coordination) -> Result<bool> {
        let (Some(snapshots), Some(input)) = (&mut self.snapshots, &mut self.input) else { return Ok(false) };
        if snapshots.restore(&mut |events| input.send_batch(events))? {
            tracing::debug!("the snapshot is read");
            let first = self.scheduler.begin_after_restore(coordination);
            input.advance_to(first);
            if let Some(serving) = &mut self.serving {
                serving.advance_to(first);
            }
        }
        Ok(true)
    }

    /// Fetches records up to the epoch's budget and sends their events into the dataflow. Returns whether there is
    /// more to do at once.
    fn fetch_and_send(&mut self, coordination: &mut Coordination, oldest: OldestEpochs) -> Result<bool> {
        let Running { ingest, scheduler, snapshots, input: Some(input), .. } = self else { return Ok(false) };
        if snapshots.as_ref().is_some_and(Snapshots::has_ended) {
            return Ok(false);
        }
        let Some(budget) = scheduler.budget(oldest.unaccepted) else { return Ok(ingest.is_skipping()) };
        let has_fetched = ingest.fetch(budget, &mut |events| input.send_batch(events))?;
        if has_fetched && scheduler.waits_for_calls() {
            coordination.report_used(scheduler.epoch());
        }
        Ok(has_fetched || ingest.is_skipping())
    }

    /// Sends questions into the dataflow. Returns whether there were any.
    fn take_questions(&mut self, coordination: &mut Coordination, oldest: OldestEpochs) -> bool {
        let may_take = self.recovery.is_over() && !self.is_restoring();
        let Running { scheduler, serving: Some(serving), .. } = self else { return false };
        let has_taken = may_take && scheduler.budget(oldest.unaccepted).is_some() && serving.take();
        if has_taken {
            coordination.report_used(scheduler.epoch());
        }
        has_taken
    }

    /// Whether all input has been read that there will be. A job that serves goes on until it is stopped.
    fn has_ended(&mut self, coordination: &Coordination) -> Result<bool> {
        Ok(coordination.is_stopped() || (self.serving.is_none() && self.ingest.has_ended()?))
    }

    /// Takes the next step of a restart. Returns whether there is more to do at once.
    fn recover(&mut self, coordination: &mut Coordination) -> Result<bool> {
        if self.recovery.is_over() {
            return Ok(false);
        }
        let has_read = !self.is_restoring() && self.ingest.has_caught_up();
        let read = has_read.then(|| self.scheduler.epoch());
        let goes_on = self.input.is_some() && !self.has_ended(coordination)?;
        self.recovery.turn(coordination, read, goes_on)
    }

    /// Reports this worker's progress to metrics and health checks.
    fn report(&mut self, oldest: OldestEpochs) {
        let step = match self.recovery.reads_output() {
            _ if self.is_restoring() => Step::Restoring,
            Some(records) => Step::ReadingOutput { records },
            None => Step::Reading,
        };
        let Running { ingest, scheduler, recovery, meter, .. } = self;
        let mut turn = ingest.turn(step, scheduler.epoch(), oldest.undelivered, oldest.unaccepted);
        // While a restart recomputes epochs, their delivery does not count.
        turn.reached_end &= recovery.is_over();
        meter.turn(turn, || ingest.probe());
    }

    fn is_restoring(&self) -> bool {
        self.snapshots.as_ref().is_some_and(Snapshots::is_restoring)
    }

    /// Ends the epoch or closes the input, if it is time. Returns whether it did.
    fn advance(&mut self, coordination: &mut Coordination) -> Result<bool> {
        if self.is_restoring() {
            return Ok(false);
        }
        let has_ended = self.has_ended(coordination)?;
        let Running { ingest, scheduler, snapshots, serving, input, .. } = self;
        let Some(open) = input else { return Ok(false) };
        let may_close = |snapshots: &mut Snapshots| snapshots.end(coordination);
        if has_ended && snapshots.as_mut().is_none_or(may_close) {
            ingest.end_epoch(*open.time());
            *input = None;
            if let Some(serving) = serving {
                serving.close();
            }
            return Ok(true);
        }
        let next = match has_ended {
            true => scheduler.follow(coordination),
            false => scheduler.begin_next(|records| ingest.all_gave(records), coordination),
        };
        let Some(next) = next else { return Ok(false) };
        ingest.end_epoch(*open.time());
        if let Some(snapshots) = snapshots {
            snapshots.pass(next, coordination, ingest)?;
        }
        open.advance_to(next);
        if let Some(serving) = serving {
            serving.advance_to(next);
        }
        Ok(true)
    }

    /// Waits until dead letters, offsets and the last snapshot are safe. The records have been delivered by now.
    pub(super) fn finish(&mut self, context: &Context<'a>) -> Result<()> {
        context.first_error.check()?;
        // The length of a pipe is unknown, so a stop before its end is not reported as an interruption.
        let has_pipe = context.shared.progress.bytes_total().is_none();
        let ends = context.job.streams.is_bounded() && !has_pipe;
        if ends && !self.ingest.has_ended()? {
            context.shared.unusable_reports.interrupt();
        }
        self.ingest.finish(!self.recovery.is_given_up(), context.environment.now())?;
        self.snapshots.as_mut().map_or(Ok(()), Snapshots::finish)?;
        context.environment.wait_until_readable(context.share)?;
        self.meter.last_turn(self.ingest.turn(Step::Reading, self.scheduler.epoch(), None, None), || {
            self.ingest.probe()
        });
        context.tally.borrow_mut().add(Counter::ItemsSampled, self.meter.items_sampled());
        Ok(())
    }
}

fn build(
    worker: &mut Worker,
    context: &Context<'_>,
    sink: Option<Box<dyn Sink>>,
    snapshots: Option<SnapshotRequest>,
    resumes: &[bool],
    resumption: Option<Rc<Resumption>>,
    origins: InputOrigins,
) -> Dataflow {
    let Context { job, shared, environment, tally, first_error, .. } = context;
    let writer = EpochWriter::new(sink, Rc::clone(tally), first_error.clone());
    let mut input = EventInput::new();
    let (mut read_backs, mut cadences) = (Vec::<Box<dyn ReadBack>>::new(), Vec::new());
    let (delivered, accepted) = (ProbeHandle::new(), ProbeHandle::new());
    let mut serving = ServingWorker::new(job, worker.index());
    let meter = worker.dataflow_named("Recommend", |scope| {
        let events = scope.input_from(&mut input);
        let questions = serving.as_mut().map(|serving| serving.questions(scope));
        let requests = Requests { snapshots, questions, predict: job.prequential };
        let recommendations = recommend_core(events.clone(), job.params, requests);
        if let Some(serving) = &serving {
            serving.follow(&recommendations).probe_with(&delivered).probe_with(&accepted);
        }
        let Recommendations { lists, carts, users, predictions, notes, work, sampling, state_stats, .. } =
            recommendations;
        if let Some(when) = job.verify {
            let rows = all_rows([&lists, &carts, &users]);
            let verified = verify(events, rows, when, job.params, Rc::clone(tally), first_error.clone());
            verified.probe_with(&delivered).probe_with(&accepted);
        }
        let notes = counted_notes(notes, Rc::clone(tally));
        notes.clone().probe_with(&delivered).probe_with(&accepted);
        let predictions = counted(predictions, Rc::clone(tally));
        predictions.clone().probe_with(&delivered).probe_with(&accepted);
        let mut publish = Publish::new(scope, tally);
        for ((number, stream), resumes) in job.outputs.iter().zip(resumes) {
            let publication = publication(job, number, stream, *resumes);
            let read_back: Box<dyn ReadBack> = match stream.content {
                Content::Lists(TableSettings { records, every }) => {
                    let cadence = Rc::new(Cadence::new(every, environment.now()));
                    cadences.push(Rc::clone(&cadence));
                    let mut input = ReadBackInput::new();
                    let consumer_state = scope.input_from(&mut input);
                    let rows = match records.rows {
                        RowKind::Item => &lists,
                        RowKind::Cart => &carts,
                        RowKind::User => &users,
                    };
                    publish.table(publication, records, cadence, rows.clone(), consumer_state);
                    let only = stream.file().map(|_path| records.envelope);
                    Box::new(TableReadBack { input, only, rows: records.rows })
                }
                Content::Notes => {
                    let format = NoteFormat::new(origins.clone());
                    publish_log(scope, &mut publish, publication, format, notes.clone())
                }
                Content::Predictions => {
                    let format = PredictionFormat::new(origins.clone());
                    publish_log(scope, &mut publish, publication, format, predictions.clone())
                }
            };
            read_backs.push(read_back);
        }
        let published = publish.build(resumption, writer);
        published.delivered.probe_with(&delivered);
        published.accepted.probe_with(&accepted);
        WorkerMeter::new(&shared.meter, scope.index(), Rc::clone(tally), work, sampling, state_stats)
    });
    Dataflow { input, read_backs, cadences, probes: Probes { delivered, accepted }, serving, meter }
}

/// Adds a log to what is published. Returns what takes its records as they are read back.
fn publish_log<'scope, F: LogFormat>(
    scope: Scope<'scope, Epoch>,
    publish: &mut Publish<'scope>,
    publication: Publication,
    format: F,
    log: StreamVec<'scope, Epoch, F::Record>,
) -> Box<dyn ReadBack> {
    let (mut input, format) = (ReadBackInput::new(), Rc::new(format));
    let marks = scope.input_from(&mut input);
    publish.log(publication, Rc::clone(&format), log, marks);
    Box::new(LogReadBack { input, format })
}

/// Counts notes by their kind.
fn counted_notes(notes: StreamVec<'_, Epoch, Note>, tally: Rc<RefCell<Tally>>) -> StreamVec<'_, Epoch, Note> {
    notes.inspect(move |note| tally.borrow_mut().add(Counter::of(note.kind), 1))
}

/// Counts predictions, and at which ranks they were.
fn counted(
    predictions: StreamVec<'_, Epoch, Prediction>,
    tally: Rc<RefCell<Tally>>,
) -> StreamVec<'_, Epoch, Prediction> {
    predictions.inspect(move |prediction| {
        let mut tally = tally.borrow_mut();
        tally.add(Counter::Predictions, 1);
        let Some(rank) = prediction.rank else { return };
        HITS_AT.iter().filter(|at| rank <= **at).for_each(|at| tally.add(Counter::Hits(*at), 1));
    })
}

/// How the records of logs name the input streams.
fn input_origins(job: &Job, topic_ids: Vec<Option<String>>) -> InputOrigins {
    let origin = |((_number, stream), id): ((u8, &Stream), Option<String>)| match stream.topic() {
        Some(name) => InputOrigin::Topic { name: name.to_owned(), id },
        None => InputOrigin::Files(stream.files().iter().map(|path| path.display().to_string()).collect()),
    };
    InputOrigins::new(job.streams.iter().zip(topic_ids).map(origin).collect())
}

/// How a stream of a job is published.
fn publication(job: &Job, number: StreamNumber, stream: &OutputStream, resumes: bool) -> Publication {
    let (publisher, keeps_order) = match stream.destination {
        Destination::File(_) => (Publisher::First, true),
        Destination::Topic(_) => (Publisher::Each, job.delivery != Delivery::AtLeastOnce),
    };
    Publication { number, publisher, resumes, keeps_order }
}
