//! One seed: a shop, a broker, a disk, and several runs of the job, the last of which ends in good order.

use super::broker::{Broker, LISTS, NOTES};
use super::check::{self, Commit, RunSettings};
use super::disk::Platter;
use super::input::Witness;
use super::job_run::{JobRun, Running, World};
use super::kill_switch::KillSwitch;
use super::letters::{Letters, TOPICS};
use super::notes;
use super::retention::Retention;
use super::shop::Shop;
use super::sim_context::{Bug, Fault, SimContext};
use crate::files::ExistingFile;
use crate::job::{
    AheadLimits, Cluster, Cut, Delivery, Destination, Input, Job, Outputs, StateOptions, StatePlace, Stream,
    Streams, Verify,
};
use crate::output::{Envelope, OutputOptions, RowKind, WORKER_SLOTS};
use crate::outputs::Content;
use anyhow::{Context, Result, ensure};
use deltacart_dataflows::{Algorithm, Evidence, ListParams, Measure, Params, Scoring};
use deltacart_inputs::kafka::StartFrom;
use deltacart_inputs::{DecodeOptions, Format, OnExpired};
use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroU64};
use std::rc::Rc;
use std::time::Duration;

/// The result of a seed.
pub(super) struct Outcome {
    /// How often each fault struck.
    pub(super) hits: BTreeMap<Fault, u64>,
    /// The hash of everything that happened.
    pub(super) trace: u64,
    /// Why the seed failed; `None` if it passed.
    pub(super) failure: Option<anyhow::Error>,
}

/// A run is suspended, killed or stopped within `STEPS` steps. After `STEPS_MAX` steps it counts as stuck.
const STEPS: u64 = 1500;
const STEPS_MAX: u64 = 100_000;

/// The most runs before the last one.
const LIVES: u64 = 4;

/// The records that producers write in a seed.
const RECORDS: u64 = 80;

/// The most partitions of the output.
const OUTPUT_PARTITIONS_MAX: u32 = 5;

/// The most workers of the job in any run.
const WORKERS: u64 = 4;

/// Runs a seed.
pub(super) fn run(seed: u64, bug: Option<Bug>) -> Outcome {
    let sim = SimContext::new(seed, bug);
    let failure = Seed::new(&sim).run().err();
    Outcome { hits: sim.hits(), trace: sim.trace(), failure }
}

struct Seed {
    world: World,
    sim: SimContext,
    commits: Rc<RefCell<Vec<Commit>>>,
    /// The number of event ids remembered for duplicates; the same in all runs.
    horizon: usize,
    basket_items_max: usize,
    /// Which events hold an item in a basket; the same in all runs.
    evidence: Evidence,
    /// The settings of each run so far.
    settings: Vec<RunSettings>,
    /// How many topics the job reads. A topic may be added behind the first at any start.
    topics: u8,
    records_left: u64,
}

impl Seed {
    fn new(sim: &SimContext) -> Seed {
        let horizon = sim.pick(&[1, 5, 30, 1000]);
        // Adds and purchases always count: beacons are added, and baskets in both topics need either of them.
        let evidence = if sim.one_in(3) { "view,add,purchase".parse() } else { Ok(Evidence::default()) };
        let evidence = evidence.expect("three kinds of evidence");
        let (shop, broker) = (Shop::new(sim, horizon, evidence), Broker::new(sim));
        let commits: Rc<RefCell<Vec<Commit>>> = Rc::default();
        let (known, place) = (Rc::clone(&commits), broker.clone());
        let (letters, retention) = (Letters::default(), Retention::default());
        let arrived = letters.clone();
        let witness: Witness = Rc::new(move |run, partition, offset| {
            let (decided, letters) = (place.decided(), arrived.len());
            known.borrow_mut().push(Commit { run, decided, letters, partition, offset });
        });
        let disk = Platter::new(sim);
        let world = World { sim: sim.clone(), shop, broker, disk, witness, letters, retention };
        Seed {
            world,
            sim: sim.clone(),
            commits,
            horizon,
            basket_items_max: sim.pick(&[3, 100]),
            evidence,
            settings: Vec::new(),
            topics: 1,
            records_left: RECORDS,
        }
    }

    fn run(&mut self) -> Result<()> {
        let runs = 1 + self.sim.below(LIVES) as usize;
        let cells: Vec<OnceCell<JobRun>> = (0..runs + 2).map(|_| OnceCell::new()).collect();
        let first = self.sim.below(20);
        self.produce(first);
        let mut zombie = None;
        for (number, cell) in cells[..runs].iter().enumerate() {
            // A run that hangs holds the lock of the state folder.
            let keeps_state = zombie.as_ref().is_none_or(|old: &Running<'_>| old.run.job.state.is_none());
            if let Some(run) = self.start_run(number, keeps_state)? {
                zombie = self.live(Running::start(cell.get_or_init(|| run)), zombie)?;
            }
            self.accidents(&mut zombie);
        }
        drop(zombie);
        self.sim.calm();
        self.world.disk.free();
        self.produce(self.records_left);
        self.last_run(&cells[runs], runs)?;
        let published = check::history(&self.world, &self.settings, &self.commits.borrow())?;
        check::end(&self.world, &self.settings)?;
        let noted = self.check_notes()?;
        if self.sim.one_in(4) {
            self.last_run(&cells[runs + 1], runs + 1)?;
            let again = check::history(&self.world, &self.settings, &self.commits.borrow())?;
            ensure!(published == again, "something is told that consumers know");
            ensure!(noted == self.check_notes()?, "something is noted again");
        }
        Ok(())
    }

    /// Checks the notes when the input has been read to its end. Returns how many there are.
    fn check_notes(&self) -> Result<usize> {
        let params = self.settings.last().context("there was a run")?.params;
        notes::check(&self.world, params, &self.commits.borrow(), true)
    }

    /// Lets accidents happen between two runs.
    fn accidents(&mut self, zombie: &mut Option<Running<'_>>) {
        if self.sim.strikes(Fault::PowerLost) {
            *zombie = None;
            self.world.disk.crash();
        }
        self.grow_output();
        if self.sim.wants(Fault::InputExpired) {
            self.world.shop.expire();
        }
        if self.sim.wants(Fault::BitFlipped) {
            self.world.disk.flip();
            // The zombie may still be reading a snapshot that it found good.
            zombie.iter().for_each(|old| old.run.kill_switch.excuse());
        }
        if self.sim.strikes(Fault::SnapshotsRemoved) {
            self.world.disk.remove_some();
            zombie.iter().for_each(|old| old.run.kill_switch.excuse());
        }
    }

    fn grow_output(&mut self) {
        let stream = self.sim.pick(&[LISTS, LISTS, NOTES]);
        if self.world.broker.partitions(stream) < OUTPUT_PARTITIONS_MAX
            && self.sim.strikes(Fault::OutputGrown)
        {
            self.world.broker.grow(stream);
        }
    }

    fn produce(&mut self, records: u64) {
        let records = records.min(self.records_left);
        self.records_left -= records;
        self.world.shop.produce(records);
    }

    /// Begins a run with settings of its own. `None` if it fails at once and has reason to.
    fn start_run(&mut self, number: usize, keeps_state: bool) -> Result<Option<JobRun>> {
        let calls = match self.sim.wants(Fault::KilledInside) {
            true => self.sim.below(STEPS),
            false => u64::MAX,
        };
        let (job, kill_switch) = (self.job(false, keeps_state), KillSwitch::new(number, &self.sim, calls));
        match JobRun::new(&self.world, job, kill_switch.clone()) {
            Ok(run) => Ok(Some(run)),
            Err(_) if kill_switch.is_dead() || kill_switch.is_excused() => Ok(None),
            Err(error) => Err(error).context("the job does not begin, and nothing is wrong"),
        }
    }

    fn job(&mut self, until_end: bool, keeps_state: bool) -> Job {
        let sim = &self.sim;
        let keeps_state = keeps_state && !sim.strikes(Fault::WithoutState);
        let on_expired = sim.pick(&[OnExpired::Fail, OnExpired::Continue]);
        let every = sim.pick(&[None, Some(0), Some(20), Some(1000)]).map(Duration::from_millis);
        let mut scoring = Scoring::new(sim.pick(&Measure::ALL));
        scoring.digits = sim.below(5) as u32;
        let lists = ListParams { k: 1 + sim.below(5) as usize, scoring, scores: !sim.one_in(8) };
        let mut params = Params {
            algorithm: Algorithm::Fast,
            lists,
            basket_items_max: self.basket_items_max,
            basket_idle: None,
            item_baskets_max: NonZeroU32::new(sim.pick(&[0, 0, 0, 0, 0, 0, 2, 8])),
            evidence: self.evidence,
            open_for: None,
            answers: None,
        };
        let mut workers = 1 + sim.below(WORKERS) as usize;
        let mut envelope = sim.pick(&Envelope::ALL);
        if let Some(before) = self.settings.last() {
            params = if sim.wants(Fault::OtherSettings) { params } else { before.params };
            workers = if sim.wants(Fault::Rescaled) { workers } else { before.workers };
            envelope = if sim.wants(Fault::OtherEnvelope) { envelope } else { before.envelope };
            for (differs, fault) in [
                (params != before.params, Fault::OtherSettings),
                (workers != before.workers, Fault::Rescaled),
                (envelope != before.envelope, Fault::OtherEnvelope),
            ] {
                if differs {
                    sim.hit(fault);
                }
            }
        }
        let topics = self.world.shop.topics();
        if until_end {
            self.topics = topics;
        } else if self.topics < topics && sim.one_in(3) {
            self.topics += 1;
        }
        let streams = streams(self.topics, until_end, self.horizon, self.evidence);
        let job = Job {
            streams,
            params,
            outputs: Outputs::lists(
                Destination::Topic("lists".to_owned()),
                OutputOptions {
                    rows: RowKind::Item,
                    envelope,
                    scores: params.lists.scores,
                    score_digits: params.lists.scoring.digits,
                },
                sim.pick(&[None, None, Some(2), Some(50), Some(1000)]).map(Duration::from_millis),
            )
            .with(Content::Notes, Some(Destination::Topic("notes".to_owned()))),
            output_partitions: None,
            dead_letters: Some(Destination::Topic("rejects".to_owned())),
            cut: match NonZeroU64::new(sim.below(20)) {
                Some(records) if sim.one_in(4) => Cut::Records(records),
                _ => Cut::Tick(Duration::from_millis(sim.pick(&[0, 1, 10, 50]))),
            },
            limits: AheadLimits {
                epochs: 1 + sim.below(4),
                epoch_events: 1 + sim.below(50) as usize,
                epoch_bytes: 1 << 20,
            },
            prequential: None,
            verify: sim.one_in(4).then_some(Verify::Every(NonZeroU64::MIN)),
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
                on_expired: if until_end { OnExpired::Continue } else { on_expired },
            }),
            serving: None,
        };
        self.sim.note(format_args!("{job:?}"));
        self.settings.push(RunSettings { params, workers, envelope });
        job
    }

    /// Steps a run until it ends somehow. Returns it if it becomes a zombie, which continues beside the next run.
    fn live<'a>(
        &mut self,
        mut running: Running<'a>,
        mut zombie: Option<Running<'a>>,
    ) -> Result<Option<Running<'a>>> {
        let (steps, mut is_ending) = (self.sim.below(STEPS), false);
        for step in 0.. {
            self.tick();
            if let Some(old) = zombie.as_mut().filter(|_| self.sim.one_in(3)) {
                if !goes_on(old)? || self.sim.one_in(500) {
                    zombie = None;
                }
                continue;
            }
            if !goes_on(&mut running)? {
                break;
            }
            if step >= steps && !is_ending {
                is_ending = true;
                match self.sim.below(3) {
                    0 => {
                        self.sim.hit(Fault::Zombie);
                        return Ok(Some(running));
                    }
                    1 => {
                        self.sim.hit(Fault::Killed);
                        break;
                    }
                    _ => {
                        self.sim.hit(Fault::Stopped);
                        running.run.stop();
                    }
                }
            }
            ensure!(step < STEPS_MAX, "stuck");
        }
        Ok(None)
    }

    /// Runs the job without faults to the end of the input.
    fn last_run(&mut self, cell: &OnceCell<JobRun>, number: usize) -> Result<()> {
        let (job, kill_switch) = (self.job(true, true), KillSwitch::new(number, &self.sim, u64::MAX));
        let run = JobRun::new(&self.world, job, kill_switch).context("the last run does not begin")?;
        let mut running = Running::start(cell.get_or_init(|| run));
        for _ in 0..STEPS_MAX {
            self.tick();
            if running.step().context("the last run failed")? {
                self.world.broker.tend(true);
                return Ok(());
            }
        }
        anyhow::bail!("the last run is stuck")
    }

    /// Passes time and lets the environment change between two steps.
    fn tick(&mut self) {
        let sim = self.sim.clone();
        let micros = match () {
            () if sim.strikes(Fault::ClockStood) => 0,
            () if sim.strikes(Fault::ClockJumped) => 1_000_000 * (30 + sim.below(100)),
            () if sim.one_in(100) => 1_000_000,
            () => sim.below(3000),
        };
        sim.pass(Duration::from_micros(micros));
        if sim.one_in(50) {
            let some = sim.below(6);
            self.produce(some);
        }
        if self.world.shop.partitions().len() < 5 && sim.strikes(Fault::PartitionAdded) {
            self.world.shop.grow();
        }
        if sim.wants(Fault::InputOvertaken) {
            self.world.shop.expire();
        }
        if sim.one_in(500) {
            self.grow_output();
        }
        if sim.one_in(10) {
            self.world.broker.tend(true);
        }
    }
}

/// The first topics as the input of a job.
fn streams(topics: u8, until_end: bool, horizon: usize, evidence: Evidence) -> Streams {
    let mut decode = DecodeOptions::new(Format::Json);
    decode.duplicate_horizon = horizon;
    decode.views = evidence.has_views();
    let topic = |name: &str| Input::Topic {
        name: name.to_owned(),
        from: StartFrom::Beginning,
        until_end,
        metadata_refresh: Duration::from_secs(1),
    };
    let streams = TOPICS.into_iter().take(topics.into());
    let streams = streams.map(|name| Stream { input: topic(name), decode: decode.clone() });
    Streams::new(streams.collect()).unwrap()
}

/// Steps a run. Returns false when it is over, in good order or not.
///
/// # Errors
/// When the job fails although nothing is wrong.
fn goes_on(running: &mut Running<'_>) -> Result<bool> {
    match running.step() {
        Ok(is_over) => Ok(!is_over),
        Err(_) if running.run.kill_switch.is_dead() || running.run.kill_switch.is_excused() => Ok(false),
        Err(error) => Err(error).context("the job fails, and nothing is wrong"),
    }
}
