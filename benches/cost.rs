//! The cost of the engine as work grows: the measurements behind the model of docs/cost.md.
//!
//! What: the program `fast` (`common/programs.rs`) on synthetic shops that differ in one parameter at a time: events,
//! basket size, items, k, the epoch, removes. Then the same shop runs on several workers. A shop is seeded. All of
//! its baskets have the same number of different items, each drawn with Zipf's exponent 1, and come one after the
//! other. With removes, an add is followed by the remove of some earlier line with a chance of 1 in 5.
//!
//! Shapes: most shops differ in one parameter, because a model with few terms needs each of them to vary alone. Some
//! differ in several, because the model must hold there too. `retail` and `journey`, if their data is there, are
//! measured the same way as a check: the model is not fitted to them. Rows are `cost/SHOP/kK/EPOCH/WORKERS`, where a
//! shop is `BASKETxITEMS@EVENTS`, followed by `:removes` if it has any.
//!
//! Beside time and memory, a row has the variables of the model:
//! - directed pairs that entered or left (an event in a basket of n other items makes 2n);
//! - distinct directed pairs and lines at the end;
//! - lists emitted;
//! - the engine's own count of work;
//! - the mean support of an event's item.
//!
//! `cpu_seconds` is the processor time of all workers. On one worker of a quiet machine, it is the elapsed time. With
//! more workers than cores, it still measures the work, and `seconds` says nothing.
//!
//! ```text
//! cargo bench --bench cost -- [--runs N] [--checks retail,journey] [--lines N] [--data DIR] [--json FILE]
//! scripts/cost-model [FILE]               fits the model and writes it into docs/cost.md
//! ```

mod common;

use anyhow::{Context, Result, anyhow, ensure};
use common::arguments::Arguments;
use common::counting::Counting;
use common::observe::Watch;
use common::programs::{Program, build_with, config, items, list_params};
use common::random::Random;
use common::rows::{Figures, Rows, number};
use common::workload::{Change, Lines};
use common::{children, memory, workload};
use deltacart_dataflows::ListParams;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;
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
    name: String,
    /// The size of a shop's baskets. `None` for a data set.
    basket: Option<usize>,
    path: PathBuf,
    events: usize,
    k: usize,
    epoch: usize,
    workers: usize,
}

/// The result of one measurement.
#[derive(Debug, Serialize, Deserialize)]
struct Outcome {
    seconds: f64,
    cpu_seconds: f64,
    /// The resident bytes at the end, without those of the changes.
    steady: u64,
    told: u64,
    work: u64,
    about: About,
}

/// Properties of a workload that do not depend on an engine.
#[derive(Debug, Serialize, Deserialize)]
struct About {
    events: usize,
    increments: u64,
    items: usize,
    baskets: usize,
    lines: usize,
    pairs: u64,
    support: f64,
}

/// Basket size, items, events, k, epoch, removes.
type Shape = (usize, usize, usize, usize, usize, bool);

const SHAPES: [Shape; 27] = [
    (8, 20_000, 500_000, 10, 10_000, false),
    // Shapes that differ from the first in one parameter.
    (4, 20_000, 500_000, 10, 10_000, false),
    (16, 20_000, 500_000, 10, 10_000, false),
    (32, 20_000, 500_000, 10, 10_000, false),
    (8, 2_000, 500_000, 10, 10_000, false),
    (8, 200_000, 500_000, 10, 10_000, false),
    (8, 20_000, 500_000, 5, 10_000, false),
    (8, 20_000, 500_000, 20, 10_000, false),
    (8, 20_000, 500_000, 10, 1_000, false),
    (8, 20_000, 125_000, 10, 10_000, false),
    (8, 20_000, 250_000, 10, 10_000, false),
    (8, 20_000, 1_000_000, 10, 10_000, false),
    (8, 20_000, 2_000_000, 10, 10_000, false),
    (8, 20_000, 500_000, 10, 10_000, true),
    // Shapes with many lines and few pairs.
    (4, 2_000, 3_000_000, 10, 10_000, false),
    (16, 2_000, 2_000_000, 10, 10_000, false),
    // Shapes that differ in several parameters.
    (4, 2_000, 500_000, 10, 1_000, false),
    (4, 20_000, 500_000, 20, 1_000, false),
    (16, 2_000, 500_000, 10, 10_000, false),
    (16, 20_000, 250_000, 10, 1_000, false),
    (16, 200_000, 500_000, 10, 10_000, false),
    (16, 20_000, 500_000, 5, 10_000, true),
    (32, 2_000, 250_000, 20, 10_000, false),
    (32, 20_000, 500_000, 5, 10_000, false),
    (8, 2_000, 500_000, 5, 1_000, true),
    (8, 200_000, 1_000_000, 20, 10_000, false),
    (16, 200_000, 250_000, 10, 1_000, true),
];

/// The numbers of workers, above one, on which the first shape is measured.
const WORKERS: [usize; 3] = [2, 4, 8];

fn run() -> Result<()> {
    let mut arguments = Arguments::read();
    if let Some(case) = children::case::<Case>(&mut arguments)? {
        return children::report(&measure(&case)?);
    }
    let runs = arguments.value("--runs", 1)?;
    let lines = arguments.value("--lines", usize::MAX)?;
    let checks = arguments.list("--checks", "retail,journey")?;
    let (data, json): (_, Option<PathBuf>) = (arguments.data()?, arguments.option("--json")?);
    arguments.end()?;
    ensure!(runs > 0, "a measurement has at least one run");
    let mut cases = cases(lines)?;
    for name in checks {
        let Some(prepared) = workload::prepare(&name, &data)? else { continue };
        let events = prepared.changes.min(lines);
        let case = |epoch| Case {
            name: format!("cost/{name}/k10/{epoch}/1"),
            basket: None,
            path: prepared.path.clone(),
            events,
            k: 10,
            epoch,
            workers: 1,
        };
        cases.extend([1_000, 10_000].map(case));
    }
    let mut rows = Rows::default();
    for (case, outcomes) in cases.iter().zip(children::measure_in_turn::<Case, Outcome>(&cases, runs)?) {
        let median = children::median(outcomes, |outcome| outcome.seconds);
        rows.push(case.name.clone(), figures(case, &median));
    }
    rows.write(json.as_deref())?;
    print!("{}", rows.table());
    Ok(())
}

/// The cases of all shops.
fn cases(lines: usize) -> Result<Vec<Case>> {
    let alone = SHAPES.into_iter().map(|shape| (shape, 1));
    let shapes = alone.chain(WORKERS.into_iter().map(|workers| (SHAPES[0], workers)));
    let case = |((basket, items, events, k, epoch, removes), workers): (Shape, usize)| {
        let events = events.min(lines);
        let shop_name = format!("{basket}x{items}@{events}{}", if removes { ":removes" } else { "" });
        // The shop is made in this process, not in the child that measures. Otherwise the memory that making it freed
        // would be reused there, and not be counted.
        let path = workload::write(&format!("shop-{shop_name}"), &shop(basket, items, removes, events))?.path;
        let name = format!("cost/{shop_name}/k{k}/{epoch}/{workers}");
        Ok(Case { name, basket: Some(basket), path, events, k, epoch, workers })
    };
    shapes.map(case).collect()
}

fn figures(case: &Case, outcome: &Outcome) -> Figures {
    let about = &outcome.about;
    let events = about.events as f64;
    vec![
        ("events", json!(about.events)),
        ("events_per_s", number(events / outcome.seconds)),
        ("seconds", number(outcome.seconds)),
        ("cpu_seconds", number(outcome.cpu_seconds)),
        ("steady_bytes", json!(outcome.steady)),
        ("basket", json!(case.basket)),
        ("k", json!(case.k)),
        ("epoch", json!(case.epoch)),
        ("workers", json!(case.workers)),
        ("increments_per_event", number(about.increments as f64 / events)),
        ("told_per_event", number(outcome.told as f64 / events)),
        ("work_per_event", number(outcome.work as f64 / events)),
        ("support", number(about.support)),
        ("pairs", json!(about.pairs)),
        ("lines", json!(about.lines)),
        ("items", json!(about.items)),
        ("baskets", json!(about.baskets)),
    ]
}

/// Measures one case in this process.
fn measure(case: &Case) -> Result<Outcome> {
    let changes = Arc::new(workload::load(&case.path, case.events)?);
    let before = memory::resident();
    let communication = match case.workers {
        1 => CommunicationConfig::Thread,
        workers => CommunicationConfig::Process(workers),
    };
    let (of_workers, lists, epoch) =
        (Arc::clone(&changes), ListParams { k: case.k, ..list_params() }, case.epoch);
    let threads =
        timely::execute(config(communication), move |worker| work(worker, &of_workers, lists, epoch))
            .map_err(|error| anyhow!("cannot start the workers: {error}"))?;
    let workers: Result<Vec<Share>, String> = threads.join().into_iter().collect();
    let workers = workers.map_err(|error| anyhow!("a worker stopped: {error}"))?;
    let first = workers.first().context("a worker")?;
    Ok(Outcome {
        seconds: first.seconds,
        cpu_seconds: workers.iter().map(|worker| worker.cpu_seconds).sum(),
        steady: first.resident.saturating_sub(before),
        told: workers.iter().map(|worker| worker.told).sum(),
        work: workers.iter().map(|worker| worker.work).sum(),
        about: about(&changes),
    })
}

/// The result of one worker.
struct Share {
    seconds: f64,
    cpu_seconds: f64,
    resident: u64,
    told: u64,
    work: u64,
}

/// The work of one worker: it sends the changes of its baskets epoch by epoch, and waits until each epoch is
/// complete.
fn work(worker: &mut Worker, changes: &[Change], lists: ListParams, epoch: usize) -> Share {
    let (index, peers) = (worker.index() as u32, worker.peers() as u32);
    let mut running = build_with(worker, Program::Fast, items(changes), Watch::Count, lists);
    let (mut seconds, mut cpu_seconds) = (0.0, 0.0);
    for (next, changes) in (1..).zip(changes.chunks(epoch)) {
        let mine = changes.iter().copied().filter(|change| change.basket % peers == index);
        running.intake.prepare(&mut mine.into_iter());
        let (start, before) = (Instant::now(), memory::thread_seconds());
        running.intake.send();
        running.intake.advance_to(next);
        worker.step_or_park_while(None, || running.probe.less_than(&next));
        seconds += start.elapsed().as_secs_f64();
        cpu_seconds += memory::thread_seconds() - before;
    }
    let told = running.seen.borrow().lists_out;
    Share { seconds, cpu_seconds, resident: memory::resident(), told, work: running.work.get() }
}

/// The first events of a shop, as the header describes it.
fn shop(basket: usize, items: usize, removes: bool, events: usize) -> Vec<Change> {
    let mut sums = Vec::with_capacity(items);
    let mut sum = 0.0;
    for rank in 1..=items {
        sum += 1.0 / rank as f64;
        sums.push(sum);
    }
    let mut random = Random::new(8);
    let mut held = Lines::default();
    let mut changes = Vec::with_capacity(events + 1);
    // Items are numbered in the order in which they appear, as in every workload.
    let (mut numbers, mut known) = (vec![None; items], 0);
    let mut picked: Vec<u32> = Vec::new();
    for number in 0.. {
        picked.clear();
        while picked.len() < basket && changes.len() < events {
            let at = random.share() * sum;
            let rank = sums.partition_point(|&sum| sum <= at).min(items - 1);
            let item = *numbers[rank].get_or_insert_with(|| {
                known += 1;
                known - 1
            });
            if picked.contains(&item) {
                continue;
            }
            picked.push(item);
            let comes = Change { basket: number, item, comes: true };
            changes.push(comes);
            if removes {
                held.apply(comes);
                if random.share() < 0.2 {
                    let (basket, item) = held.any(&mut random);
                    let goes = Change { basket, item, comes: false };
                    held.apply(goes);
                    changes.push(goes);
                }
            }
        }
        if changes.len() >= events {
            break;
        }
    }
    changes.truncate(events);
    changes
}

/// The properties of a workload. The clock has stopped before.
fn about(changes: &[Change]) -> About {
    let items = items(changes) as usize;
    let baskets = changes.iter().map(|change| change.basket as usize + 1).max().unwrap_or(0);
    let mut sizes = vec![0u64; baskets];
    let mut supports = vec![0u64; items];
    let (mut increments, mut support) = (0, 0);
    for change in changes {
        let (size, held) = (&mut sizes[change.basket as usize], &mut supports[change.item as usize]);
        if change.comes {
            increments += 2 * *size;
            *size += 1;
            *held += 1;
        } else {
            *size -= 1;
            increments += 2 * *size;
            *held -= 1;
        }
        support += *held;
    }
    let mut counting = Counting::default();
    counting.bulk(changes);
    About {
        events: changes.len(),
        increments,
        items: supports.iter().filter(|&&support| support > 0).count(),
        baskets,
        lines: sizes.iter().sum::<u64>() as usize,
        pairs: counting.pairs(),
        support: support as f64 / changes.len().max(1) as f64,
    }
}
