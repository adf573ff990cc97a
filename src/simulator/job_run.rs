//! One run of the job: its settings, its environment, and its workers, which are stepped in random order.

use super::broker::{Broker, LISTS};
use super::disk::{Drive, Platter};
use super::input::{Input, Witness};
use super::kill_switch::{Cut, KillSwitch};
use super::letters::{Letters, Producer};
use super::output::{Growth, Output, ReadBack};
use super::retention::Retention;
use super::shop::Shop;
use super::sim_context::{Fault, SimContext};
use super::workers::workers;
use crate::cluster::Turns;
use crate::dead_letter::{DeadLetters, Labels};
use crate::job::{self, Job, OutputStream, Stream};
use crate::output::{Sink, WORKER_SLOTS, Watch};
use crate::process::Shared;
use crate::state::StateError;
use crate::state::folder::Folder;
use crate::state::open::State;
use crate::state::snapshot_writer::SnapshotWriter;
use crate::state::store::Store;
use crate::worker::{Environment, Task, Turn};
use anyhow::{Context, Result, ensure};
use deltacart_inputs::{Resume, Share, Source};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;
use timely::worker::Worker;

/// What all runs of the job share: the shop, the broker and the disk.
#[derive(Clone)]
pub(super) struct World {
    pub(super) sim: SimContext,
    pub(super) shop: Shop,
    pub(super) broker: Broker,
    pub(super) disk: Platter,
    pub(super) witness: Witness,
    pub(super) letters: Letters,
    pub(super) retention: Retention,
}

/// One run of the job, as the environment of its workers.
pub(super) struct JobRun {
    pub(super) job: Job,
    pub(super) kill_switch: KillSwitch,
    world: World,
    shared: Shared,
    /// How many partitions the output had when the run began.
    output_partitions: u32,
    /// Work that is to run outside the workers, at a random time.
    background_work: RefCell<VecDeque<Box<dyn FnOnce() + Send>>>,
}

impl JobRun {
    /// Begins a run and opens its state, if it has any.
    pub(super) fn new(world: &World, job: Job, kill_switch: KillSwitch) -> Result<JobRun> {
        world.retention.begin(kill_switch.run(), None);
        let state =
            job.state.as_ref().map(|_options| JobRun::state(world, &job, &kill_switch)).transpose()?;
        let turns = Turns::new(job.cluster.threads);
        let shared = Shared { turns, state: state.map(Arc::new), ..Shared::default() };
        let (world, output_partitions) = (world.clone(), world.broker.partitions(LISTS));
        Ok(JobRun { job, kill_switch, world, shared, output_partitions, background_work: RefCell::default() })
    }

    /// Opens the snapshot folder. The newest good snapshot is the one to resume from.
    ///
    /// # Errors
    /// When the folder cannot be opened, or when a snapshot that was safe is not found.
    fn state(world: &World, job: &Job, kill_switch: &KillSwitch) -> Result<State> {
        let World { sim, disk, .. } = world;
        let drive = Drive { platter: disk.clone(), kill_switch: kill_switch.clone() };
        let folder = Arc::new(Folder::on(Arc::new(drive), Path::new("state"), true)?);
        let promised = disk.promised();
        let state = match State::in_store(job, Arc::clone(&folder) as Arc<dyn Store>) {
            Err(error) if matches!(error.downcast_ref(), Some(StateError::NoneGood { .. })) => {
                ensure!(promised.is_none(), "{promised:?} was safe, and nothing has happened to it: {error}");
                sim.hit(Fault::NoneGood);
                disk.empty();
                State::in_store(job, folder)?
            }
            state => state?,
        };
        let found = state.snapshot.as_ref().map(|snapshot| snapshot.manifest().name());
        ensure!(found >= promised, "{promised:?} was safe, and {found:?} is gone on from");
        world.retention.begin(kill_switch.run(), found.as_deref().and_then(|name| disk.writer(name)));
        if found < disk.newest() {
            sim.hit(Fault::OlderSnapshot);
        }
        sim.note(format_args!("{} begins with {found:?}", kill_switch.run()));
        Ok(state)
    }

    /// Asks the run to end in good order.
    pub(super) fn stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }

    fn slot(number: usize) -> String {
        format!("job-{number}")
    }
}

impl Environment for JobRun {
    fn source(
        &self,
        stream: &Stream,
        share: Share,
        from: Option<&Resume>,
        _needs_header: bool,
    ) -> Result<Box<dyn Source>> {
        self.kill_switch.burn()?;
        let mut streams = self.job.streams.iter();
        let (topic, _) = streams.find(|(_, other)| other.topic() == stream.topic()).unwrap();
        let until_end = stream.is_bounded();
        Ok(Box::new(Input::open(&self.world, topic, &self.kill_switch, share, until_end, from)?))
    }

    fn sink(&self, share: Share) -> Result<Option<Box<dyn Sink>>> {
        self.kill_switch.burn()?;
        let World { sim, broker, .. } = &self.world;
        let slots = std::array::from_fn(|at| JobRun::slot(share.worker * WORKER_SLOTS + at));
        Ok(Some(Box::new(Output::new(broker, sim, &self.kill_switch, &slots, self.job.outputs.count()))))
    }

    fn fence(&self, share: Share) -> Result<()> {
        let job::Delivery::ExactlyOnce { slots, .. } = self.job.delivery else { return Ok(()) };
        let spare = share.workers * WORKER_SLOTS..slots as usize;
        for spare in spare.filter(|slot| share.owns(*slot as u32)) {
            self.kill_switch.burn()?;
            self.world.broker.own(&JobRun::slot(spare), self.kill_switch.run());
        }
        Ok(())
    }

    fn watches(&self, share: Share) -> Result<Vec<Box<dyn Watch>>> {
        let World { sim, broker, .. } = &self.world;
        let growth = || Growth::new(broker, sim, &self.kill_switch, self.output_partitions);
        Ok((share.worker == 0).then(|| Box::new(growth()) as Box<dyn Watch>).into_iter().collect())
    }

    fn consumer_state(&self, stream: &OutputStream, share: Share) -> Result<Option<Box<dyn Source>>> {
        self.kill_switch.burn()?;
        let World { sim, broker, .. } = &self.world;
        let (number, _) =
            self.job.outputs.iter().find(|(_, other)| *other == stream).context("a stream of the job")?;
        while broker.is_anything_open() {
            // The real job waits here until every transaction is decided. The simulated broker decides them at once.
            broker.tend(false);
        }
        Ok(Some(Box::new(ReadBack::new((broker, number), sim, &self.kill_switch, share))))
    }

    fn dead_letters(&self, share: Share) -> Result<Option<DeadLetters>> {
        let World { sim, letters, .. } = &self.world;
        let producer = Box::new(Producer::new(letters, sim, &self.kill_switch));
        let labels = Labels { connector: "deltacart".to_owned(), task: share.worker };
        Ok(Some(DeadLetters::to_producer(producer, "rejects", labels)))
    }

    fn snapshot_writer(&self, store: Arc<dyn Store>) -> Result<SnapshotWriter> {
        Ok(SnapshotWriter::inline(store))
    }

    fn run_in_background(&self, work: Box<dyn FnOnce() + Send>) -> Result<()> {
        self.background_work.borrow_mut().push_back(work);
        Ok(())
    }

    fn wait_until_readable(&self, _share: Share) -> Result<()> {
        Ok(self.kill_switch.burn()?)
    }

    fn now(&self) -> Instant {
        self.world.sim.now()
    }
}

/// A run in progress: its tasks and its timely workers.
pub(super) struct Running<'a> {
    pub(super) run: &'a JobRun,
    // NB: dropped in this order, as on a real worker.
    tasks: Vec<Task<'a>>,
    workers: Vec<Worker>,
    done: Vec<bool>,
}

impl<'a> Running<'a> {
    pub(super) fn start(run: &'a JobRun) -> Running<'a> {
        let JobRun { job, shared, world, .. } = run;
        let mut workers = workers(job.cluster.threads, &world.sim);
        let tasks = workers.iter_mut().map(|worker| Task::new(worker, job, shared, run)).collect();
        let done = vec![false; workers.len()];
        Running { run, tasks, workers, done }
    }

    /// Steps a random worker, or runs some work outside the workers. Returns true when the run is over.
    pub(super) fn step(&mut self) -> Result<bool> {
        let sim = &self.run.world.sim;
        let aside = sim.one_in(4).then(|| self.run.background_work.borrow_mut().pop_front()).flatten();
        if let Some(aside) = aside {
            aside();
        } else {
            let number = sim.below(self.workers.len() as u64) as usize;
            let worker = &mut self.workers[number];
            self.done[number] |= self.tasks[number].turn(worker)? == Turn::Done;
            worker.step();
        }
        if self.run.kill_switch.is_dead() {
            return Err(Cut.into());
        }
        Ok(self.done.iter().all(|done| *done))
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        // The values dropped from here on must have no effect outside.
        self.run.kill_switch.kill();
        self.tasks.clear();
        for worker in &mut self.workers {
            worker.installed_dataflows().into_iter().for_each(|dataflow| worker.drop_dataflow(dataflow));
        }
    }
}
