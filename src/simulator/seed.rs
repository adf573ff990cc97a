//! One seed: a shop, a broker, a disk, and one life of the job after the other, until the last one ends in good order.

use super::broker::Broker;
use super::check::{self, Commit};
use super::fate::{Bug, Fate, Fault};
use super::fuse::Fuse;
use super::input::Witness;
use super::life::{Life, Running, World};
use super::shop::Shop;
use crate::job::{AheadLimits, Cluster, Cut, Delivery, Destination, Input, Job, Verify};
use crate::output::{Envelope, OutputOptions};
use anyhow::{Context, Result, ensure};
use deltacart_dataflows::{Engine, ListParams, Measure, Params, Scoring};
use deltacart_inputs::kafka::StartFrom;
use deltacart_inputs::{DecodeOptions, Format};
use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::num::NonZeroU64;
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

/// How the workers of a job, over all lives, may be numbered.
const SLOTS: u32 = 4;

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
    /// What lists were computed with in each life, and by how many workers.
    params: Vec<(Params, usize)>,
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
        let world = World { fate: fate.clone(), shop, broker, witness };
        Seed {
            world,
            fate: fate.clone(),
            commits,
            horizon,
            basket_items_max: fate.pick(&[3, 100]),
            params: Vec::new(),
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
            let running = Running::start(cell.get_or_init(|| self.life(number, false)));
            zombie = self.live(running, zombie)?;
        }
        drop(zombie);
        self.fate.calm();
        self.produce(self.records_left);
        self.last_life(&cells[lives], lives)?;
        let said = check::history(&self.world, &self.params, &self.commits.borrow())?;
        check::end(&self.world, &self.params[lives].0)?;
        if self.fate.one_in(4) {
            // And once more nothing is to be said.
            let again = cells[lives + 1].get_or_init(|| self.life(lives + 1, true));
            self.last_life(&cells[lives + 1], lives + 1)?;
            let _ = again;
            let more = check::history(&self.world, &self.params, &self.commits.borrow())?;
            ensure!(self.params[lives].0 != self.params[lives + 1].0 || said == more, "said once more");
        }
        Ok(())
    }

    fn produce(&mut self, records: u64) {
        let records = records.min(self.records_left);
        self.records_left -= records;
        self.world.shop.produce(records);
    }

    /// A life with settings of its own.
    fn life(&mut self, number: usize, is_last: bool) -> Life {
        let job = self.job(is_last);
        let calls = match !is_last && self.fate.one_in(3) {
            true => self.fate.below(STEPS),
            false => u64::MAX,
        };
        let fuse = Fuse::new(number, &self.fate, calls);
        self.params.push((job.params, job.cluster.threads));
        self.fate.note(format_args!("life {number}: {} workers, {:?}", job.cluster.threads, job.params));
        Life::new(&self.world, job, fuse, None)
    }

    fn job(&mut self, until_end: bool) -> Job {
        let fate = &self.fate;
        let workers = 1 + fate.below(SLOTS.into()) as usize;
        let mut scoring = Scoring::new(fate.pick(&Measure::ALL));
        scoring.digits = fate.below(5) as u32;
        let lists = ListParams { k: 1 + fate.below(5) as usize, scoring, scores: !fate.one_in(8) };
        let mut params =
            Params { engine: Engine::Fast, lists, basket_items_max: self.basket_items_max, item_baskets_max: None };
        match self.params.last() {
            Some(&(before, _)) if !fate.strikes(Fault::OtherSettings) => params = before,
            _ => {}
        }
        let mut decode = DecodeOptions::new(Format::Json);
        decode.duplicate_horizon = self.horizon;
        Job {
            input: Input::Topic {
                name: "carts".to_owned(),
                from: StartFrom::Beginning,
                until_end,
                metadata_refresh: Duration::from_secs(1),
            },
            decode,
            params,
            output: Destination::Topic("lists".to_owned()),
            records: OutputOptions {
                envelope: Envelope::Upsert,
                scores: params.lists.scores,
                score_digits: params.lists.scoring.digits,
            },
            output_partitions: None,
            dead_letters: None,
            cut: Cut::Tick(Duration::from_millis(fate.pick(&[0, 1, 10, 50]))),
            limits: AheadLimits {
                epochs: 1 + fate.below(4),
                epoch_events: 1 + fate.below(50) as usize,
                epoch_bytes: 1 << 20,
            },
            verify: fate.one_in(4).then_some(Verify::Every(NonZeroU64::MIN)),
            cluster: Cluster::of_threads(workers),
            kafka: None,
            delivery: Delivery::ExactlyOnce { job: "job".to_owned(), slots: SLOTS },
            resume: true,
            state: None,
        }
    }

    /// A life that ends somehow. It is returned if it is to go on beside the next one.
    fn live<'a>(&mut self, mut running: Running<'a>, mut zombie: Option<Running<'a>>) -> Result<Option<Running<'a>>> {
        let steps = self.fate.below(STEPS);
        for step in 0.. {
            self.tick();
            if let Some(old) = zombie.as_mut().filter(|_| self.fate.one_in(3)) {
                // It may fail of whatever comes its way, now that another one has taken over.
                if old.step().is_err() || self.fate.one_in(200) {
                    zombie = None;
                }
                continue;
            }
            match running.step() {
                Ok(false) => {}
                Ok(true) => break,
                Err(_) if running.life.fuse.is_dead() || running.life.fuse.is_excused() => break,
                Err(error) => return Err(error).context("the job failed, and nothing was wrong"),
            }
            if step == steps {
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
        let mut running = Running::start(cell.get_or_init(|| self.life(number, true)));
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
        if fate.one_in(20) {
            let some = fate.below(6);
            self.produce(some);
        }
        if self.world.shop.partitions() < 5 && fate.strikes(Fault::PartitionAdded) {
            self.world.shop.grow();
        }
        if fate.one_in(10) {
            self.world.broker.tend(true);
        }
    }
}
