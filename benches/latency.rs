//! Latency from an event to its lists, when events come at a fixed rate whether the system keeps up or not.
//!
//! What: the whole pipeline on one worker, with the state of the whole workload. Then more events come
//! (`common/continuation.rs`: new baskets like the old, one change in five a remove), each at a *scheduled* time. Its
//! latency ends when the records of its epoch are encoded and handed over, inside the dataflow. The latency of an
//! event that enters late, because the worker was busy, starts at its scheduled time: the schedule never waits for
//! the system (no coordinated omission). The latency of every event is kept; nothing is sampled.
//!
//! Shapes: an epoch ends at a tick if anything came, and at most `--ahead` epochs are open. When they are, the
//! current epoch grows, as in the job. The capacity is measured on the same state with the same events, in epochs of
//! 10,000, one after the other. Rates are events a second, or shares of that capacity. Each row
//! `latency/WORKLOAD/TICKms/RATE` is the run with the median p99 of `--runs`, each in its own process. The first
//! `--warm-up` seconds do not count.
//!
//! With `+snapshots` behind a rate, a snapshot begins every second and is written to a folder, as in the job. Then
//! only those events count that were due or in flight while a snapshot was taken.
//!
//! ```text
//! cargo bench --bench latency -- [--workload journey] [--rates 10000,10000+snapshots,10%,50%,90%] [--ticks 5,50]
//!     [--seconds N] [--warm-up N] [--ahead N] [--lines N] [--runs N] [--data DIR] [--json FILE]
//! ```

mod common;

use anyhow::{Context, Result, anyhow, ensure};
use common::arguments::Arguments;
use common::continuation::{Continuation, Removes};
use common::latencies::{Latencies, Summary};
use common::observe::Watch;
use common::programs::{Running, build_pipeline, config};
use common::rows::{Rows, number};
use common::workload::Change;
use common::{children, workload};
use deltacart::state::folder::Folder;
use deltacart::state::manifest::part_name;
use deltacart::state::snapshot_writer::SnapshotWriter;
use deltacart::state::store::Store;
use deltacart_dataflows::{Epoch, SnapshotRequest};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use timely::CommunicationConfig;
use timely::worker::Worker;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    common::exit(run())
}

/// One measurement.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Case {
    path: PathBuf,
    lines: usize,
    /// Events a second. `None` measures the capacity.
    rate: Option<f64>,
    tick_ms: u64,
    seconds: f64,
    warm_up: f64,
    ahead: u64,
    snapshots: bool,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Outcome {
    /// Events a second that the dataflow took in.
    rate: f64,
    epochs: u64,
    records: u64,
    latencies: Summary,
    /// The seconds that each snapshot took.
    snapshots: Vec<f64>,
}

fn run() -> Result<()> {
    let mut arguments = Arguments::read();
    if let Some(case) = children::case::<Case>(&mut arguments)? {
        return children::report(&measure(&case)?);
    }
    let name: String = arguments.value("--workload", "journey".to_owned())?;
    let rates = arguments.list("--rates", "10000,10000+snapshots,10%,50%,90%")?;
    let ticks = arguments.list("--ticks", "5,50")?;
    let runs: usize = arguments.value("--runs", 5)?;
    let (data, json): (_, Option<PathBuf>) = (arguments.data()?, arguments.option("--json")?);
    let mut case = Case {
        path: PathBuf::new(),
        lines: arguments.value("--lines", usize::MAX)?,
        rate: None,
        tick_ms: 0,
        seconds: arguments.value("--seconds", 30.0)?,
        warm_up: arguments.value("--warm-up", 3.0)?,
        ahead: arguments.value("--ahead", 4)?,
        snapshots: false,
    };
    arguments.end()?;
    ensure!(runs > 0 && case.ahead > 0, "runs and epochs ahead are above 0");
    let Some(workload) = workload::prepare(&name, &data)? else { return Ok(()) };
    case.path = workload.path;
    let mut rows = Rows::default();

    let [found] = &mut children::measure_in_turn::<Case, Outcome>(&[case.clone()], runs)?[..] else {
        unreachable!("one case has one list of outcomes")
    };
    let capacity = children::median(std::mem::take(found), |run| run.rate).rate;
    rows.push(format!("latency/{name}/capacity"), vec![("events_per_s", number(capacity))]);

    for tick in &ticks {
        let cases: Result<Vec<Case>> = rates
            .iter()
            .map(|rate| {
                let tick_ms = tick.parse().with_context(|| format!("--ticks {tick}"))?;
                let (rate, snapshots) = match rate.strip_suffix("+snapshots") {
                    Some(rate) => (rate, true),
                    None => (rate.as_str(), false),
                };
                let rate = Some(events_per_second(rate, capacity)?);
                Ok(Case { rate, tick_ms, snapshots, ..case.clone() })
            })
            .collect();
        let outcomes = children::measure_in_turn::<Case, Outcome>(&cases?, runs)?;
        for (rate, runs) in rates.iter().zip(outcomes) {
            let outcome = children::median(runs, |run| run.latencies.p99);
            let mut figures = vec![
                ("events_per_s", number(outcome.rate)),
                ("epochs", json!(outcome.epochs)),
                ("records", json!(outcome.records)),
            ];
            if !outcome.snapshots.is_empty() {
                let (count, sum) = (outcome.snapshots.len(), outcome.snapshots.iter().sum::<f64>());
                figures.extend([("snapshots", json!(count)), ("snapshot_s", number(sum / count as f64))]);
            }
            figures.extend(outcome.latencies.figures());
            rows.push(format!("latency/{name}/{tick}ms/{rate}"), figures);
        }
        rows.write(json.as_deref())?;
    }
    print!("{}", rows.table());
    Ok(())
}

/// A rate as given, a number or a share of the capacity, in events a second.
fn events_per_second(rate: &str, capacity: f64) -> Result<f64> {
    let rate = match rate.strip_suffix('%') {
        Some(share) => share.parse::<f64>().map(|share| capacity * share / 100.0),
        None => rate.parse(),
    };
    rate.ok().filter(|rate| *rate > 0.0).context("--rates wants events a second, or shares such as 50%")
}

/// The share of changes that are removes.
const REMOVES_SHARE: f64 = 0.2;

/// The changes of an epoch when the capacity is measured.
const CAPACITY_EPOCH: usize = 10_000;

fn measure(case: &Case) -> Result<Outcome> {
    let case = case.clone();
    let state = workload::load(&case.path, case.lines)?;
    let threads = timely::execute(config(CommunicationConfig::Thread), move |worker| {
        let mut coming = Continuation::new(&state, Removes::Any(REMOVES_SHARE));
        let mut snapshots =
            case.snapshots.then(|| Snapshots::new().expect("a folder for snapshots can be made"));
        let request = snapshots.as_ref().map(|snapshots| snapshots.request.clone());
        let mut running = build_pipeline(worker, Watch::Encode, request);
        running.take(worker, &state, state.len().max(1), 0);
        match case.rate {
            None => capacity(worker, &mut running, &mut coming, &case),
            Some(rate) => {
                let total = (rate * (case.warm_up + case.seconds)) as usize;
                // The changes are picked beforehand, because picking them is not the system's work. Events are made
                // of them while the clock runs, as decoding would make them.
                let changes: Vec<Change> = coming.take(total).collect();
                let outcome = open_loop(worker, &mut running, &changes, rate, &case, &mut snapshots);
                Outcome { snapshots: snapshots.map_or(Vec::new(), |snapshots| snapshots.seconds), ..outcome }
            }
        }
    })
    .map_err(|error| anyhow!("cannot start a worker: {error}"))?;
    threads.join().pop().context("a worker")?.map_err(|error| anyhow!("a worker stopped: {error}"))
}

/// Measures how many events a second the pipeline takes in when the next epoch is always ready.
fn capacity(worker: &mut Worker, running: &mut Running, coming: &mut Continuation, case: &Case) -> Outcome {
    let (mut events, mut seconds, mut epoch) = (0, 0.0, 1);
    while seconds < case.warm_up + case.seconds {
        let changes: Vec<Change> = coming.take(CAPACITY_EPOCH).collect();
        seconds += running.take(worker, &changes, CAPACITY_EPOCH, epoch)[0];
        events += changes.len();
        epoch += 1;
    }
    Outcome { rate: events as f64 / seconds, epochs: epoch, ..Outcome::default() }
}

/// The most events that are sent in one turn. The job reads as many at a time.
const TURN_EVENTS: usize = 4096;

fn open_loop(
    worker: &mut Worker,
    running: &mut Running,
    changes: &[Change],
    rate: f64,
    case: &Case,
    snapshots: &mut Option<Snapshots>,
) -> Outcome {
    let tick = Duration::from_millis(case.tick_ms);
    let scheduled = |event: usize| Duration::from_secs_f64(event as f64 / rate);
    let warm = (rate * case.warm_up) as usize;
    let mut latencies = Latencies::default();
    let records_before = running.seen.borrow().records;
    // The epoch that is open for events; and the epochs before it that are not complete, each with the number of the
    // first event behind it.
    let (mut epoch, mut under_way) = (1, VecDeque::new());
    let (mut sent, mut closed, mut out, mut epochs) = (0, 0, 0, 0);
    let mut last_tick = Duration::ZERO;
    let start = Instant::now();
    while out < changes.len() {
        let now = start.elapsed();
        let due = ((now.as_secs_f64() * rate) as usize + 1).min(changes.len());
        if sent < due {
            let turn = &changes[sent..due.min(sent + TURN_EVENTS)];
            running.intake.prepare(&mut turn.iter().copied());
            running.intake.send();
            sent += turn.len();
        }
        if now - last_tick >= tick && (under_way.len() as u64) < case.ahead {
            last_tick = now;
            if sent > closed {
                if let Some(snapshots) = snapshots {
                    snapshots.end_of(epoch, now);
                }
                under_way.push_back((epoch, sent));
                epoch += 1;
                running.intake.advance_to(epoch);
                closed = sent;
            }
        }
        if under_way.is_empty() && sent >= due {
            let next = scheduled(sent).min(last_tick + tick);
            worker.step_or_park(Some(next.saturating_sub(start.elapsed())));
        } else {
            worker.step();
        }
        let arrived = start.elapsed();
        if let Some(snapshots) = snapshots {
            snapshots.look(arrived);
        }
        while let Some(&(oldest, end)) = under_way.front()
            && !running.probe.less_equal(&oldest)
        {
            for due in (out.max(warm)..end).map(scheduled) {
                if snapshots.as_ref().is_none_or(|snapshots| snapshots.were_taken_since(due)) {
                    latencies.push(arrived.saturating_sub(due));
                }
            }
            out = end;
            epochs += 1;
            under_way.pop_front();
        }
    }
    let rate = changes.len() as f64 / start.elapsed().as_secs_f64();
    let records = running.seen.borrow().records - records_before;
    Outcome { rate, epochs, records, latencies: latencies.summary(), snapshots: Vec::new() }
}

/// The time between the beginnings of two snapshots.
const SNAPSHOT_EVERY: Duration = Duration::from_secs(1);

/// Takes snapshots as the job does, each of one part.
struct Snapshots {
    request: SnapshotRequest,
    snapshot_writer: SnapshotWriter,
    store: Arc<dyn Store>,
    _folder: tempfile::TempDir,
    /// When the last snapshot began, and when it was complete on disk.
    began: Duration,
    ended: Option<Duration>,
    seconds: Vec<f64>,
}

impl Snapshots {
    fn new() -> Result<Snapshots> {
        let folder = tempfile::tempdir()?;
        let store: Arc<dyn Store> = Arc::new(Folder::open(folder.path(), true)?);
        let snapshot_writer = SnapshotWriter::spawn(Arc::clone(&store))?;
        let request = SnapshotRequest::new(Box::new(snapshot_writer.clone()));
        let (began, ended) = (Duration::ZERO, Some(Duration::ZERO));
        Ok(Snapshots { request, snapshot_writer, store, _folder: folder, began, ended, seconds: Vec::new() })
    }

    fn name(&self) -> String {
        part_name(self.seconds.len() as u64, 0)
    }

    /// Starts a snapshot at the end of `epoch`, if one is due. Called before the epoch is closed.
    fn end_of(&mut self, epoch: Epoch, now: Duration) {
        if self.ended.is_some() && now - self.began >= SNAPSHOT_EVERY {
            self.snapshot_writer.begin(self.name(), Vec::new());
            self.request.request(epoch);
            (self.began, self.ended) = (now, None);
        }
    }

    /// Notes the end of the current snapshot, if it is complete on disk.
    fn look(&mut self, now: Duration) {
        if let Some(outcome) = self.snapshot_writer.outcome() {
            outcome.expect("a snapshot can be written");
            self.store.delete(&self.name()).expect("a snapshot can be removed");
            self.seconds.push((now - self.began).as_secs_f64());
            self.ended = Some(now);
        }
    }

    fn were_taken_since(&self, due: Duration) -> bool {
        self.ended.is_none_or(|ended| ended >= due && !self.seconds.is_empty())
    }
}
