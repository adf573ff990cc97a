//! One seed: a shop, a broker, a disk, and one life of the job after the other, until the last one ends in good order.

use super::broker::Broker;
use super::check::{self, Commit, LifeSettings};
use super::disk::Platter;
use super::fate::{Bug, Fate, Fault};
use super::fuse::Fuse;
use super::input::Witness;
use super::life::{Life, Running, World};
use super::shop::Shop;
use crate::files::ExistingFile;
use crate::job::{
    AheadLimits, Cluster, Cut, Delivery, Destination, Input, Job, StateOptions, StatePlace, Stream, Streams,
    Verify,
};
use crate::output::{Envelope, OutputOptions, WORKER_SLOTS};
use anyhow::{Context, Result, ensure};
use deltacart_dataflows::{Algorithm, ListParams, Measure, Params, Scoring};
use deltacart_inputs::kafka::StartFrom;
use deltacart_inputs::{DecodeOptions, Format, OnExpired};
use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroU64};
use std::rc::Rc;
use std::time::Duration;

/// What a seed came to.
pub(super) struct Outcome {
    /// How often each fault struck.
    pub(super) hits: BTreeMap<Fault, u64>,
    /// Everything that happened, in a number.
    pub(super) trace: u64,
    /// Why it is wrong, if it is.
    pub(super) failure: Option<anyhow::Error>,
}

/// Steps after which a life is killed, if nothing else ends it; and those after which the last one is stuck.
const STEPS: u64 = 1500;
const STEPS_MAX: u64 = 100_000;

/// The most lives that end badly.
const LIVES: u64 = 4;

/// Records that producers write over a seed.
const RECORDS: u64 = 80;

/// Beyond, the output does not grow.
const OUTPUT_PARTITIONS_MAX: u32 = 5;

/// The most workers that a job has in any life.
const WORKERS: u64 = 4;

/// Runs a seed.
pub(super) fn run(seed: u64, bug: Option<Bug>) -> Outcome {
    let fate = Fate::new(seed, bug);
    let failure = Seed::new(&fate).run().err();
    Outcome { hits: fate.hits(), trace: fate.trace(), failure }
}

struct Seed {
    world: World,
    fate: Fate,
    commits: Rc<RefCell<Vec<Commit>>>,
    /// The same in all lives.
    horizon: usize,
    basket_items_max: usize,
    /// Those of each life.
    settings: Vec<LifeSettings>,
    /// How many topics the job reads: a topic may come behind the first at any start.
    topics: u8,
    records_left: u64,
}

impl Seed {
    fn new(fate: &Fate) -> Seed {
        let horizon = fate.pick(&[1, 5, 30, 1000]);
        let (shop, broker) = (Shop::new(fate, horizon), Broker::new(fate));
        let commits: Rc<RefCell<Vec<Commit>>> = Rc::default();
        let (known, place) = (Rc::clone(&commits), broker.clone());
        let witness: Witness = Rc::new(move |partition, offset| {
            known.borrow_mut().push(Commit { decided: place.decided(), partition, offset });
        });
        let world = World { fate: fate.clone(), shop, broker, disk: Platter::new(fate), witness };
        Seed {
            world,
            fate: fate.clone(),
            commits,
            horizon,
            basket_items_max: fate.pick(&[3, 100]),
            settings: Vec::new(),
            topics: 1,
            records_left: RECORDS,
        }
    }

    fn run(&mut self) -> Result<()> {
        let lives = 1 + self.fate.below(LIVES) as usize;
        let cells: Vec<OnceCell<Life>> = (0..lives + 2).map(|_| OnceCell::new()).collect();
        let first = self.fate.below(20);
        self.produce(first);
        let mut zombie = None;
        for (number, cell) in cells[..lives].iter().enumerate() {
            // Whoever hangs holds a lock on the folder.
            let keeps_state = zombie.as_ref().is_none_or(|old: &Running<'_>| old.life.job.state.is_none());
            if let Some(life) = self.life(number, keeps_state)? {
                zombie = self.live(Running::start(cell.get_or_init(|| life)), zombie)?;
            }
            self.accidents(&mut zombie);
        }
        drop(zombie);
        self.fate.calm();
        self.world.disk.free();
        self.produce(self.records_left);
        self.last_life(&cells[lives], lives)?;
        let told = check::history(&self.world, &self.settings, &self.commits.borrow())?;
        check::end(&self.world, &self.settings)?;
        if self.fate.one_in(4) {
            self.last_life(&cells[lives + 1], lives + 1)?;
            let again = check::history(&self.world, &self.settings, &self.commits.borrow())?;
            ensure!(told == again, "something is told that consumers know");
        }
        Ok(())
    }

    /// What happens between two lives.
    fn accidents(&mut self, zombie: &mut Option<Running<'_>>) {
        if self.fate.strikes(Fault::PowerLost) {
            *zombie = None;
            self.world.disk.crash();
        }
        self.grow_output();
        if self.fate.wants(Fault::BitFlipped) {
            self.world.disk.flip();
            // Perhaps it is still reading what it has found good.
            zombie.iter().for_each(|old| old.life.fuse.excuse());
        }
        if self.fate.strikes(Fault::SnapshotsRemoved) {
            self.world.disk.remove_some();
            zombie.iter().for_each(|old| old.life.fuse.excuse());
        }
    }

    fn grow_output(&mut self) {
        if self.world.broker.partitions() < OUTPUT_PARTITIONS_MAX && self.fate.strikes(Fault::OutputGrown) {
            self.world.broker.grow();
        }
    }

    fn produce(&mut self, records: u64) {
        let records = records.min(self.records_left);
        self.records_left -= records;
        self.world.shop.produce(records);
    }

    /// A life with settings of its own; none, if it fails at once, and may.
    fn life(&mut self, number: usize, keeps_state: bool) -> Result<Option<Life>> {
        let calls = match self.fate.wants(Fault::KilledInside) {
            true => self.fate.below(STEPS),
            false => u64::MAX,
        };
        let (job, fuse) = (self.job(false, keeps_state), Fuse::new(number, &self.fate, calls));
        match Life::new(&self.world, job, fuse.clone()) {
            Ok(life) => Ok(Some(life)),
            Err(_) if fuse.is_dead() || fuse.is_excused() => Ok(None),
            Err(error) => Err(error).context("the job does not begin, and nothing is wrong"),
        }
    }

    fn job(&mut self, until_end: bool, keeps_state: bool) -> Job {
        let fate = &self.fate;
        let keeps_state = keeps_state && !fate.strikes(Fault::WithoutState);
        let every = fate.pick(&[None, Some(0), Some(20), Some(1000)]).map(Duration::from_millis);
        let mut scoring = Scoring::new(fate.pick(&Measure::ALL));
        scoring.digits = fate.below(5) as u32;
        let lists = ListParams { k: 1 + fate.below(5) as usize, scoring, scores: !fate.one_in(8) };
        let mut params = Params {
            algorithm: Algorithm::Fast,
            lists,
            basket_items_max: self.basket_items_max,
            basket_idle: None,
            item_baskets_max: NonZeroU32::new(fate.pick(&[0, 0, 0, 0, 0, 0, 2, 8])),
        };
        let mut workers = 1 + fate.below(WORKERS) as usize;
        let mut envelope = fate.pick(&Envelope::ALL);
        if let Some(before) = self.settings.last() {
            params = if fate.wants(Fault::OtherSettings) { params } else { before.params };
            workers = if fate.wants(Fault::Rescaled) { workers } else { before.workers };
            envelope = if fate.wants(Fault::OtherEnvelope) { envelope } else { before.envelope };
            for (differs, fault) in [
                (params != before.params, Fault::OtherSettings),
                (workers != before.workers, Fault::Rescaled),
                (envelope != before.envelope, Fault::OtherEnvelope),
            ] {
                if differs {
                    fate.hit(fault);
                }
            }
        }
        let topics = self.world.shop.topics();
        if until_end {
            self.topics = topics;
        } else if self.topics < topics && fate.one_in(3) {
            self.topics += 1;
        }
        let streams = streams(self.topics, until_end, self.horizon);
        let job = Job {
            streams,
            params,
            output: Destination::Topic("lists".to_owned()),
            records: OutputOptions {
                envelope,
                scores: params.lists.scores,
                score_digits: params.lists.scoring.digits,
            },
            lists_every: fate.pick(&[None, None, Some(2), Some(50), Some(1000)]).map(Duration::from_millis),
            output_partitions: None,
            dead_letters: None,
            cut: match NonZeroU64::new(fate.below(20)) {
                Some(records) if fate.one_in(4) => Cut::Records(records),
                _ => Cut::Tick(Duration::from_millis(fate.pick(&[0, 1, 10, 50]))),
            },
            limits: AheadLimits {
                epochs: 1 + fate.below(4),
                epoch_events: 1 + fate.below(50) as usize,
                epoch_bytes: 1 << 20,
            },
            verify: fate.one_in(4).then_some(Verify::Every(NonZeroU64::MIN)),
            cluster: Cluster::of_threads(workers),
            kafka: None,
            delivery: Delivery::ExactlyOnce {
                job: "job".to_owned(),
                slots: WORKERS as u32 * WORKER_SLOTS as u32,
            },
            existing: ExistingFile::Resume,
            state: keeps_state.then(|| StateOptions {
                place: StatePlace::Folder("state".into()),
                every,
                on_expired: OnExpired::Fail,
            }),
        };
        self.fate.note(format_args!("{job:?}"));
        self.settings.push(LifeSettings { params, workers, envelope });
        job
    }

    /// A life that ends somehow. It is returned if it is to go on beside the next one.
    fn live<'a>(
        &mut self,
        mut running: Running<'a>,
        mut zombie: Option<Running<'a>>,
    ) -> Result<Option<Running<'a>>> {
        let (steps, mut is_ending) = (self.fate.below(STEPS), false);
        for step in 0.. {
            self.tick();
            if let Some(old) = zombie.as_mut().filter(|_| self.fate.one_in(3)) {
                if !goes_on(old)? || self.fate.one_in(500) {
                    zombie = None;
                }
                continue;
            }
            if !goes_on(&mut running)? {
                break;
            }
            if step >= steps && !is_ending {
                is_ending = true;
                match self.fate.below(3) {
                    0 => {
                        self.fate.hit(Fault::Zombie);
                        return Ok(Some(running));
                    }
                    1 => {
                        self.fate.hit(Fault::Killed);
                        break;
                    }
                    _ => {
                        self.fate.hit(Fault::Stopped);
                        running.life.stop();
                    }
                }
            }
            ensure!(step < STEPS_MAX, "stuck");
        }
        Ok(None)
    }

    /// A life in which nothing goes wrong, to the end of the input.
    fn last_life(&mut self, cell: &OnceCell<Life>, number: usize) -> Result<()> {
        let (job, fuse) = (self.job(true, true), Fuse::new(number, &self.fate, u64::MAX));
        let life = Life::new(&self.world, job, fuse).context("the last life does not begin")?;
        let mut running = Running::start(cell.get_or_init(|| life));
        for _ in 0..STEPS_MAX {
            self.tick();
            if running.step().context("the last life failed")? {
                self.world.broker.tend(true);
                return Ok(());
            }
        }
        anyhow::bail!("the last life is stuck")
    }

    /// What happens outside between two steps.
    fn tick(&mut self) {
        let fate = self.fate.clone();
        let micros = match () {
            () if fate.strikes(Fault::ClockStood) => 0,
            () if fate.strikes(Fault::ClockJumped) => 1_000_000 * (30 + fate.below(100)),
            () if fate.one_in(100) => 1_000_000,
            () => fate.below(3000),
        };
        fate.pass(Duration::from_micros(micros));
        if fate.one_in(50) {
            let some = fate.below(6);
            self.produce(some);
        }
        if self.world.shop.partitions().len() < 5 && fate.strikes(Fault::PartitionAdded) {
            self.world.shop.grow();
        }
        if fate.one_in(500) {
            self.grow_output();
        }
        if fate.one_in(10) {
            self.world.broker.tend(true);
        }
    }
}

/// So many topics as the input of a job.
fn streams(topics: u8, until_end: bool, horizon: usize) -> Streams {
    let mut decode = DecodeOptions::new(Format::Json);
    decode.duplicate_horizon = horizon;
    let topic = |name: &str| Input::Topic {
        name: name.to_owned(),
        from: StartFrom::Beginning,
        until_end,
        metadata_refresh: Duration::from_secs(1),
    };
    let streams = ["carts", "orders"].into_iter().take(topics.into());
    let streams = streams.map(|name| Stream { input: topic(name), decode: decode.clone() });
    Streams::new(streams.collect()).unwrap()
}

/// Lets a life make a step; false when it is over, for good or for bad. It may fail if something is wrong.
fn goes_on(running: &mut Running<'_>) -> Result<bool> {
    match running.step() {
        Ok(is_over) => Ok(!is_over),
        Err(_) if running.life.fuse.is_dead() || running.life.fuse.is_excused() => Ok(false),
        Err(error) => Err(error).context("the job fails, and nothing is wrong"),
    }
}
