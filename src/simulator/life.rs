//! One run of the job, from its start to whatever ends it: its settings, its places, and its workers, stepped one by
//! one in an order that is drawn.

use super::broker::Broker;
use super::disk::{Drive, Platter};
use super::fate::{Fate, Fault};
use super::fuse::{Cut, Fuse};
use super::input::{Input, Witness};
use super::output::{Growth, Held, Output};
use super::shop::Shop;
use super::workers::workers;
use crate::cluster::Turns;
use crate::dead_letter::DeadLetters;
use crate::job::{self, Job, Shared, Stream};
use crate::output::{Sink, WORKER_SLOTS, Watch};
use crate::state::StateError;
use crate::state::folder::Folder;
use crate::state::open::State;
use crate::state::scribe::Scribe;
use crate::state::store::Store;
use crate::worker::{Places, Task, Turn};
use anyhow::{Result, ensure};
use deltacart_inputs::{Resume, Share, Source};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;
use timely::worker::Worker;

/// What every run of the job finds.
#[derive(Clone)]
pub(super) struct World {
    pub(super) fate: Fate,
    pub(super) shop: Shop,
    pub(super) broker: Broker,
    pub(super) disk: Platter,
    pub(super) witness: Witness,
}

/// A run of the job as its workers see it.
pub(super) struct Life {
    pub(super) job: Job,
    pub(super) fuse: Fuse,
    world: World,
    shared: Shared,
    /// How many partitions the output had at the beginning.
    output_partitions: u32,
    /// What is to be done beside the workers, sooner or later.
    asides: RefCell<VecDeque<Box<dyn FnOnce() + Send>>>,
}

impl Life {
    /// Begins a run, which finds its state, if it keeps any.
    pub(super) fn new(world: &World, job: Job, fuse: Fuse) -> Result<Life> {
        let state = job.state.as_ref().map(|_options| Life::state(world, &job, &fuse)).transpose()?;
        let turns = Turns::new(job.cluster.threads);
        let shared = Shared { turns, state: state.map(Arc::new), ..Shared::default() };
        let (world, output_partitions) = (world.clone(), world.broker.partitions());
        Ok(Life { job, fuse, world, shared, output_partitions, asides: RefCell::default() })
    }

    /// The snapshots, of which the newest that is good is to be gone on from.
    fn state(world: &World, job: &Job, fuse: &Fuse) -> Result<State> {
        let World { fate, disk, .. } = world;
        let drive = Drive { platter: disk.clone(), fuse: fuse.clone() };
        let folder = Arc::new(Folder::on(Arc::new(drive), Path::new("state"), true)?);
        let promised = disk.promised();
        let state = match State::in_store(job, Arc::clone(&folder) as Arc<dyn Store>) {
            Err(error) if matches!(error.downcast_ref(), Some(StateError::NoneGood { .. })) => {
                ensure!(promised.is_none(), "{promised:?} was safe, and nothing has happened to it: {error}");
                fate.hit(Fault::NoneGood);
                disk.empty();
                State::in_store(job, folder)?
            }
            state => state?,
        };
        let found = state.snapshot.as_ref().map(|snapshot| snapshot.manifest().name());
        ensure!(found >= promised, "{promised:?} was safe, and {found:?} is gone on from");
        if found < disk.newest() {
            fate.hit(Fault::OlderSnapshot);
        }
        fate.note(format_args!("{} begins with {found:?}", fuse.life()));
        Ok(state)
    }

    /// Asks it to end in good order.
    pub(super) fn stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }

    fn slot(number: usize) -> String {
        format!("job-{number}")
    }
}

impl Places for Life {
    fn source(
        &self,
        stream: &Stream,
        share: Share,
        from: Option<&Resume>,
        _needs_header: bool,
    ) -> Result<Box<dyn Source>> {
        self.fuse.burn()?;
        let mut streams = self.job.streams.iter();
        let (topic, _) = streams.find(|(_, other)| other.topic() == stream.topic()).unwrap();
        let (until_end, World { fate, shop, witness, .. }) = (stream.is_bounded(), &self.world);
        let witness = Witness::clone(witness);
        Ok(Box::new(Input::new((shop, topic), fate, &self.fuse, share, until_end, from, witness)))
    }

    fn sink(&self, share: Share) -> Result<Option<Box<dyn Sink>>> {
        self.fuse.burn()?;
        let World { fate, broker, .. } = &self.world;
        let slots = std::array::from_fn(|at| Life::slot(share.worker * WORKER_SLOTS + at));
        Ok(Some(Box::new(Output::new(broker, fate, &self.fuse, &slots))))
    }

    fn fence(&self, share: Share) -> Result<()> {
        let job::Delivery::ExactlyOnce { slots, .. } = self.job.delivery else { return Ok(()) };
        let spare = share.workers * WORKER_SLOTS..slots as usize;
        for spare in spare.filter(|slot| share.owns(*slot as u32)) {
            self.fuse.burn()?;
            self.world.broker.own(&Life::slot(spare), self.fuse.life());
        }
        Ok(())
    }

    fn watch(&self, share: Share) -> Result<Option<Box<dyn Watch>>> {
        let World { fate, broker, .. } = &self.world;
        let growth = || Growth::new(broker, fate, &self.fuse, self.output_partitions);
        Ok((share.worker == 0).then(|| Box::new(growth()) as Box<dyn Watch>))
    }

    fn held(&self, share: Share) -> Result<Option<Box<dyn Source>>> {
        self.fuse.burn()?;
        let World { fate, broker, .. } = &self.world;
        while broker.is_anything_open() {
            // That takes as long as it takes.
            broker.tend(false);
        }
        Ok(Some(Box::new(Held::new(broker, fate, &self.fuse, share))))
    }

    fn dead_letters(&self, _share: Share) -> Result<Option<DeadLetters>> {
        Ok(None)
    }

    fn scribe(&self, store: Arc<dyn Store>) -> Result<Scribe> {
        Ok(Scribe::inline(store))
    }

    fn aside(&self, work: Box<dyn FnOnce() + Send>) -> Result<()> {
        self.asides.borrow_mut().push_back(work);
        Ok(())
    }

    fn settle(&self, _share: Share) -> Result<()> {
        Ok(self.fuse.burn()?)
    }

    fn now(&self) -> Instant {
        self.world.fate.now()
    }
}

/// A life under way.
pub(super) struct Running<'a> {
    pub(super) life: &'a Life,
    // NB: dropped in this order, as on a real worker.
    tasks: Vec<Task<'a>>,
    workers: Vec<Worker>,
    done: Vec<bool>,
}

impl<'a> Running<'a> {
    pub(super) fn start(life: &'a Life) -> Running<'a> {
        let Life { job, shared, world, .. } = life;
        let mut workers = workers(job.cluster.threads, &world.fate);
        let tasks = workers.iter_mut().map(|worker| Task::new(worker, job, shared, life)).collect();
        let done = vec![false; workers.len()];
        Running { life, tasks, workers, done }
    }

    /// Some worker comes round, or something is done beside them. True when it is over.
    pub(super) fn step(&mut self) -> Result<bool> {
        let fate = &self.life.world.fate;
        let aside = fate.one_in(4).then(|| self.life.asides.borrow_mut().pop_front()).flatten();
        if let Some(aside) = aside {
            aside();
        } else {
            let number = fate.below(self.workers.len() as u64) as usize;
            let worker = &mut self.workers[number];
            self.done[number] |= self.tasks[number].turn(worker)? == Turn::Done;
            worker.step();
        }
        if self.life.fuse.is_dead() {
            return Err(Cut.into());
        }
        Ok(self.done.iter().all(|done| *done))
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        // Whatever becomes of what is dropped now, nobody outside sees it.
        self.life.fuse.kill();
        self.tasks.clear();
        for worker in &mut self.workers {
            worker.installed_dataflows().into_iter().for_each(|dataflow| worker.drop_dataflow(dataflow));
        }
    }
}
