//! A worker's part in snapshots, from the restore at the start to the last snapshot at shutdown.
//!
//! ```text
//! worker 0   due? announce S ──▶ everyone                                          all reported? manifest ─▶ next
//! worker w                       S ends: offsets and ids to the snapshot writer,            ▲
//!                                scan requested ─▶ part is safe ─▶ report to worker 0 ──────┘
//! ```
//!
//! At an orderly shutdown no worker closes its input alone. Each reports to worker 0 that it has no more to read, and
//! follows the epochs. When all have reported, worker 0 announces a last snapshot, if anything was read since the one
//! before. When that is safe, no more epochs are called, and every worker closes its input.
//!
//! # Notes
//! - A snapshot that cannot be written is abandoned with a warning. The previous one stays, the job continues, and
//!   the next is taken when it is due. If the last one fails, the job ends with an error, because the user was
//!   promised it.
//! - A snapshot may be ahead of the published lists. The next start compares it with the consumer state.
//! - A snapshot is not ahead of the published notes: a restart that begins behind an event cannot note it again. So
//!   with a log among the outputs, a snapshot is completed when its epoch has been delivered.
//! - A part is reported only when the dead letters known so far have arrived. So no dead letter is lost between an
//!   offset and a snapshot.

use crate::job::Job;
use crate::metrics::Meter;
use crate::process::Shared;
use crate::state::load::{Events, Snapshot};
use crate::state::manifest::{Manifest, Part, PartitionOffset};
use crate::state::snapshot_catalog::{SnapshotCatalog, Taken};
use crate::state::snapshot_writer::{Outcome, SnapshotWriter};
use crate::worker::coordination::Coordination;
use crate::worker::environment::Environment;
use crate::worker::ingest::{Ingest, InputState};
use anyhow::{Result, anyhow, bail, ensure};
use deltacart_dataflows::{Epoch, Event, SnapshotRequest};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::InputHandle;
use timely::dataflow::operators::{Exchange, Input, Inspect};
use timely::worker::Worker;

/// Reports of the workers to worker 0.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Report {
    /// The snapshot that this worker restores, by [`Manifest::id`].
    Begins(Option<u32>),
    /// The worker has no more to read.
    HasEnded,
    /// A snapshot's number, this worker's part or why it failed, and the offsets that belong to it.
    Part(u64, Result<Part, String>, Vec<PartitionOffset>),
}

type Reports = InputHandle<u64, CapacityContainerBuilder<Vec<Report>>>;

/// How far the output is, for snapshots that must not be ahead of it.
#[derive(Clone, Copy)]
pub(super) struct SnapshotDelivery {
    /// The oldest epoch that is neither delivered nor held back. Notes are never held back.
    pub(super) unaccepted: Option<Epoch>,
    /// The job was stopped before it had caught up: nothing is published any more.
    pub(super) is_given_up: bool,
}

/// One worker's part in snapshots.
pub(super) struct Snapshots {
    index: usize,
    snapshot_writer: SnapshotWriter,
    request: SnapshotRequest,
    /// The part of the snapshot that is still to be restored.
    restore: Option<Events>,
    events: Vec<Event>,
    tell: Reports,
    /// The last snapshot whose offsets this worker has recorded.
    kept: Option<u64>,
    /// The offsets of the snapshot in progress, until this worker's part is reported.
    offsets: Vec<PartitionOffset>,
    outcome: Option<Outcome>,
    has_ended: bool,
    /// The duties of worker 0; `None` on the others.
    coordinator: Option<Coordinator>,
}

impl Snapshots {
    /// Joins the job's snapshots, if it takes any.
    pub(super) fn new(
        worker: &mut Worker,
        job: &Job,
        shared: &Shared,
        environment: &dyn Environment,
        ingest: &Ingest<'_>,
    ) -> Result<Option<Snapshots>> {
        let (Some(state), Some(options)) = (&shared.state, &job.state) else { return Ok(None) };
        let (index, workers) = (worker.index(), worker.peers());
        let snapshot_writer = environment.snapshot_writer(Arc::clone(&state.store))?;
        let request = SnapshotRequest::new(Box::new(snapshot_writer.clone()));
        let reports: Rc<RefCell<Vec<Report>>> = Rc::default();
        let received = Rc::clone(&reports);
        let mut tell = Reports::new();
        worker.dataflow_named("Snapshots", |scope| {
            let reports = scope.input_from(&mut tell).exchange(|_report| 0);
            reports.inspect(move |report| received.borrow_mut().push(report.clone()));
        });
        let begins = state.snapshot.as_ref().map(|snapshot| snapshot.manifest().id());
        let coordinator = if index == 0 {
            let loaded = state.snapshot.as_ref().map(|snapshot| snapshot.manifest().sequence);
            let catalog =
                SnapshotCatalog::new(Arc::clone(&state.store), state.shape.clone(), workers, loaded)?;
            Some(Coordinator {
                catalog: Some(catalog),
                completing: None,
                reports,
                meter: shared.meter.clone(),
                workers,
                every: options.every,
                has_log: job.outputs.have_log(),
                begins,
                topic_ids: ingest.topic_ids(),
                announced_at: environment.now(),
                newest: None,
                under_way: None,
                ended: 0,
                failure: None,
            })
        } else {
            None
        };
        let restore = state.snapshot.as_ref().map(|snapshot: &Snapshot| snapshot.events(index, workers));
        let (events, offsets) = (Vec::new(), Vec::new());
        let mut snapshots = Snapshots {
            index,
            snapshot_writer,
            request,
            restore,
            events,
            tell,
            kept: None,
            offsets,
            outcome: None,
            has_ended: false,
            coordinator,
        };
        snapshots.report(Report::Begins(begins));
        Ok(Some(snapshots))
    }

    /// The handle by which the dataflow is asked for a scan.
    pub(super) fn request(&self) -> SnapshotRequest {
        self.request.clone()
    }

    /// Whether some of a snapshot is still to be restored.
    pub(super) fn is_restoring(&self) -> bool {
        self.restore.is_some()
    }

    /// Sends some events of the snapshot. Returns true when none are left.
    pub(super) fn restore(&mut self, send: &mut dyn FnMut(&mut Vec<Event>)) -> Result<bool> {
        let Some(restore) = &mut self.restore else { return Ok(true) };
        if restore.next(&mut self.events)? {
            send(&mut self.events);
            self.events.clear();
            return Ok(false);
        }
        (self.restore, self.events) = (None, Vec::new());
        Ok(true)
    }

    /// Ends the worker's epoch; the next one is `next`. If a snapshot lies between, records its offsets and asks for
    /// a scan.
    pub(super) fn pass(
        &mut self,
        next: Epoch,
        coordination: &Coordination,
        ingest: &mut Ingest<'_>,
    ) -> Result<()> {
        let Some((epoch, number)) = coordination.announced() else { return Ok(()) };
        if epoch < next && self.kept != Some(number) {
            let InputState { offsets, ids } = ingest.kept()?;
            self.snapshot_writer.begin(SnapshotCatalog::part_name(number, self.index), ids);
            self.request.request(epoch);
            (self.kept, self.offsets) = (Some(number), offsets);
        }
        Ok(())
    }

    /// Reports that the worker has no more to read. Returns whether it may close its input.
    pub(super) fn end(&mut self, coordination: &Coordination) -> bool {
        if !self.has_ended {
            self.has_ended = true;
            self.report(Report::HasEnded);
        }
        coordination.called().is_none()
    }

    /// Whether the worker has reported that it has no more to read.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Reports this worker's part once it is safe. Worker 0 also announces and completes snapshots.
    pub(super) fn turn(
        &mut self,
        coordination: &mut Coordination,
        ingest: &Ingest<'_>,
        environment: &dyn Environment,
        delivery: SnapshotDelivery,
    ) -> Result<()> {
        if self.outcome.is_none() {
            self.outcome = self.snapshot_writer.outcome();
        }
        if let (Some(number), true) = (self.kept, ingest.letters_are_out())
            && let Some(outcome) = self.outcome.take()
        {
            let offsets = std::mem::take(&mut self.offsets);
            self.report(Report::Part(number, outcome, offsets));
        }
        let is_restoring = self.is_restoring();
        self.coordinator
            .as_mut()
            .map_or(Ok(()), |coordinator| coordinator.turn(coordination, environment, is_restoring, delivery))
    }

    /// Ends the worker's part.
    ///
    /// # Errors
    /// When the last snapshot could not be written.
    pub(super) fn finish(&mut self) -> Result<()> {
        let failure = self.coordinator.as_mut().and_then(|coordinator| coordinator.failure.take());
        failure.map_or(Ok(()), |failure| {
            Err(anyhow!(
                "everything is published, but the last snapshot is not written: {failure}; the next start reads more of \
                 the input again, and publishes nothing twice"
            ))
        })
    }

    fn report(&mut self, report: Report) {
        self.tell.send(report);
        // NB: flushing alone leaves the record in the channel between workers. Closing the record's time sends it.
        let next = *self.tell.time() + 1;
        self.tell.advance_to(next);
    }
}

/// The duties of worker 0: it announces and completes the snapshots of the job.
struct Coordinator {
    /// `None` while a snapshot is being completed.
    catalog: Option<SnapshotCatalog>,
    completing: Option<Completing>,
    reports: Rc<RefCell<Vec<Report>>>,
    meter: Meter,
    workers: usize,
    every: Option<Duration>,
    /// Whether an output is a log.
    has_log: bool,
    begins: Option<u32>,
    topic_ids: Vec<Option<String>>,
    /// When the last snapshot was announced.
    announced_at: Instant,
    /// The epoch of the newest snapshot taken in this run.
    newest: Option<Epoch>,
    under_way: Option<UnderWay>,
    ended: usize,
    /// Why the last snapshot could not be written.
    failure: Option<String>,
}

struct UnderWay {
    taken: Taken,
    /// How many workers have reported their parts.
    reports: usize,
    failure: Option<String>,
    is_last: bool,
}

/// A snapshot whose manifest is being written, outside the worker's thread.
struct Completing {
    done: Receiver<(SnapshotCatalog, Result<Manifest, String>)>,
    epoch: Epoch,
    is_last: bool,
}

impl Coordinator {
    fn turn(
        &mut self,
        coordination: &mut Coordination,
        environment: &dyn Environment,
        is_restoring: bool,
        delivery: SnapshotDelivery,
    ) -> Result<()> {
        let reports = std::mem::take(&mut *self.reports.borrow_mut());
        reports.into_iter().try_for_each(|report| self.take(report))?;
        self.finish(coordination, environment.now())?;
        // Nothing is published any more, so a snapshot would pass over notes.
        let would_lose_notes = self.has_log && delivery.is_given_up;
        match &self.under_way {
            Some(under_way) if under_way.reports == self.workers => {
                let epoch = under_way.taken.epoch;
                let is_delivered = delivery.unaccepted.is_none_or(|oldest| oldest > epoch);
                if would_lose_notes {
                    self.under_way = None;
                } else if is_delivered || !self.has_log {
                    self.close(environment)?;
                }
            }
            Some(_) => {}
            // NB: a worker that has restored its part moves to the next epoch, which is called only when worker 0 has
            // restored its part, too. A snapshot announced before that would be of an epoch that other workers have
            // left.
            None if is_restoring => {}
            None if would_lose_notes => {
                if self.ended == self.workers {
                    coordination.call_no_more();
                }
            }
            None => self.open(coordination, environment.now()),
        }
        Ok(())
    }

    fn take(&mut self, report: Report) -> Result<()> {
        match report {
            Report::Begins(begins) => ensure!(
                begins == self.begins,
                "the processes of the job see different snapshots: --state is to be the same folder for all"
            ),
            Report::HasEnded => self.ended += 1,
            Report::Part(number, outcome, offsets) => {
                if let Some(under_way) = self.under_way.as_mut().filter(|it| it.taken.sequence == number) {
                    under_way.reports += 1;
                    under_way.taken.offsets.extend(offsets);
                    match outcome {
                        Ok(part) => under_way.taken.parts.push(part),
                        Err(failure) => under_way.failure = Some(failure),
                    }
                }
            }
        }
        Ok(())
    }

    /// Announces the next snapshot if one is due. Ends the job if all workers have ended and no snapshot is needed.
    fn open(&mut self, coordination: &mut Coordination, now: Instant) {
        let is_last = self.ended == self.workers;
        let is_due =
            self.every.is_some_and(|every| now.saturating_duration_since(self.announced_at) >= every);
        let Some(catalog) = self.catalog.as_mut().filter(|_| is_last || is_due) else { return };
        // A snapshot is needed if records were read since the newest one. Epochs without records change nothing.
        if coordination.used_by_any() > self.newest {
            let sequence = catalog.begin();
            let Some(epoch) = coordination.announce(sequence) else { return };
            let taken = Taken { sequence, epoch, topic_ids: self.topic_ids.clone(), ..Taken::default() };
            self.under_way = Some(UnderWay { taken, reports: 0, failure: None, is_last });
        } else if is_last {
            coordination.call_no_more();
        }
        self.announced_at = now;
    }

    /// Completes or abandons the snapshot, once all workers have reported.
    fn close(&mut self, environment: &dyn Environment) -> Result<()> {
        let (Some(under_way), Some(mut catalog)) = (self.under_way.take(), self.catalog.take()) else {
            return Ok(());
        };
        let UnderWay { taken, failure, is_last, .. } = under_way;
        let (sequence, epoch, worker) = (taken.sequence, taken.epoch, thread::current());
        let (tell, done) = channel();
        let complete = move || {
            let result = match failure {
                None => catalog.complete(taken).map_err(|error| format!("{:#}", anyhow::Error::from(error))),
                Some(failure) => Err(failure),
            };
            if result.is_err() {
                catalog.give_up(sequence);
            }
            // The receiver is gone if the job has ended.
            let _ = tell.send((catalog, result));
            worker.unpark();
        };
        self.completing = Some(Completing { done, epoch, is_last });
        environment.run_in_background(Box::new(complete))
    }

    /// Takes the result of the snapshot that was being completed, if there is one.
    fn finish(&mut self, coordination: &mut Coordination, now: Instant) -> Result<()> {
        let Some(Completing { done, epoch, is_last }) = &self.completing else { return Ok(()) };
        let (epoch, is_last) = (*epoch, *is_last);
        let (catalog, result) = match done.try_recv() {
            Ok(answer) => answer,
            Err(TryRecvError::Empty) => return Ok(()),
            Err(TryRecvError::Disconnected) => bail!("what completes snapshots has stopped"),
        };
        (self.catalog, self.completing) = (Some(catalog), None);
        match result {
            Ok(manifest) => {
                tracing::debug!(name = manifest.name(), epoch, "a snapshot is safe");
                self.newest = Some(epoch);
                let taken = now.saturating_duration_since(self.announced_at);
                let bytes = manifest.parts.iter().map(|part| part.bytes).sum();
                self.meter.snapshot_taken(now, taken.as_secs_f64(), bytes);
            }
            Err(failure) if is_last => self.failure = Some(failure),
            Err(failure) => tracing::warn!("a snapshot failed: {failure}"),
        }
        if is_last {
            coordination.call_no_more();
        }
        Ok(())
    }
}
