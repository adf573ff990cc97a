//! Memory at a steady state: bytes per directed pair, and whether memory grows while lines come and go.
//!
//! What: the whole pipeline on one worker, loaded with the whole workload. Then, for `--minutes`, a line of a new
//! basket is added for every line of the oldest basket that is removed (`common/continuation.rs`), in epochs of
//! 10,000, as fast as possible. The state keeps its size and its shape, and is replaced many times over. Resident
//! memory, without that of the program itself, is sampled all the time.
//!
//! Shapes: the row is `steady/WORKLOAD`.
//! - `bytes_per_pair` is the mean memory in the last tenth of the time, divided by the directed pairs that then share
//!   a basket, which another process counts. It includes all state: names, baskets, quantities, postings, estimates,
//!   reserves, lists.
//! - `growth_percent` compares that mean with the mean of the second tenth.
//! - `memory`, for the plot, has points (seconds, MB).
//! - `parts_mb` is the memory that the collections of the ledger, the names, the store and the rows have allocated at
//!   the end, and `parts_loaded_mb` the same after loading. The rest is the allocator's.
//!
//! There are no huge pages, as in the job.
//!
//! ```text
//! cargo bench --bench steady -- [--workload journey] [--minutes N] [--lines N] [--data DIR] [--json FILE]
//! ```

mod common;

use anyhow::{Context, Result, anyhow};
use common::arguments::Arguments;
use common::continuation::{Continuation, Removes};
use common::counting::Counting;
use common::observe::Watch;
use common::programs::{Program, Running, build, config};
use common::rows::{Rows, number};
use common::workload::Change;
use common::{children, memory, workload};
use deltacart::memory_pages;
use deltacart_dataflows::StateCollector;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use timely::CommunicationConfig;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    common::exit(run())
}

/// The task of one process.
#[derive(Debug, Serialize, Deserialize)]
enum Case {
    /// Run for this many minutes.
    Run { path: PathBuf, lines: usize, minutes: f64 },
    /// Count the pairs after `changes` further changes.
    Pairs { path: PathBuf, lines: usize, changes: usize },
}

#[derive(Debug, Serialize, Deserialize)]
struct Outcome {
    /// Changes after the workload.
    changes: usize,
    seconds: f64,
    /// Resident bytes after loading, and at the peak.
    loaded: u64,
    peak: u64,
    /// (seconds, bytes)
    samples: Vec<(f64, u64)>,
    /// The bytes of the ledger, the names, the store and the rows: after loading, and at the end.
    parts: [[u64; 4]; 2],
}

fn run() -> Result<()> {
    let mut arguments = Arguments::read();
    // As in the job.
    memory_pages::use_small_pages();
    match children::case::<Case>(&mut arguments)? {
        Some(Case::Run { path, lines, minutes }) => return children::report(&go_on(&path, lines, minutes)?),
        Some(Case::Pairs { path, lines, changes }) => {
            return children::report(&pairs(&path, lines, changes)?);
        }
        None => {}
    }
    let name: String = arguments.value("--workload", "journey".to_owned())?;
    let minutes = arguments.value("--minutes", 30.0)?;
    let lines = arguments.value("--lines", usize::MAX)?;
    let (data, json): (_, Option<PathBuf>) = (arguments.data()?, arguments.option("--json")?);
    arguments.end()?;
    let Some(workload) = workload::prepare(&name, &data)? else { return Ok(()) };
    let path = workload.path;
    let outcome: Outcome = children::measure(&Case::Run { path: path.clone(), lines, minutes })?;
    let Outcome { changes, seconds, loaded, peak, samples, parts } = outcome;
    let [pairs_loaded, pairs]: [u64; 2] = [
        children::measure(&Case::Pairs { path: path.clone(), lines, changes: 0 })?,
        children::measure(&Case::Pairs { path, lines, changes })?,
    ];

    let mean = |from: f64, to: f64| {
        let part = samples.iter().filter(|(at, _bytes)| (seconds * from..=seconds * to).contains(at));
        let bytes: Vec<f64> = part.map(|(_at, bytes)| *bytes as f64).collect();
        bytes.iter().sum::<f64>() / bytes.len().max(1) as f64
    };
    let (early, late) = (mean(0.1, 0.2), mean(0.9, 1.0));
    let curve: Vec<_> =
        samples.iter().map(|(at, bytes)| json!([number(*at), number(*bytes as f64 / 1e6)])).collect();
    let parts = parts.map(|parts| parts.map(|bytes| number(bytes as f64 / 1e6)));
    let mut rows = Rows::default();
    rows.push(
        format!("steady/{name}"),
        vec![
            ("changes", json!(changes)),
            ("seconds", number(seconds)),
            ("events_per_s", number(changes as f64 / seconds)),
            ("loaded_mb", number(loaded as f64 / 1e6)),
            ("early_mb", number(early / 1e6)),
            ("late_mb", number(late / 1e6)),
            ("peak_mb", number(peak as f64 / 1e6)),
            ("growth_percent", number((late / early - 1.0) * 100.0)),
            ("pairs_loaded", json!(pairs_loaded)),
            ("pairs", json!(pairs)),
            ("bytes_per_pair_loaded", number(loaded as f64 / pairs_loaded.max(1) as f64)),
            ("bytes_per_pair", number(late / pairs.max(1) as f64)),
            ("parts_loaded_mb", json!(parts[0])),
            ("parts_mb", json!(parts[1])),
            ("memory", json!(curve)),
        ],
    );
    rows.write(json.as_deref())?;
    print!("{}", rows.table());
    Ok(())
}

/// The changes of an epoch.
const EPOCH: usize = 10_000;

/// The number of samples.
const SAMPLES: f64 = 240.0;

fn go_on(path: &std::path::Path, lines: usize, minutes: f64) -> Result<Outcome> {
    let state = workload::load(path, lines)?;
    let threads = timely::execute(config(CommunicationConfig::Thread), move |worker| {
        // The size of the generator of changes is subtracted, not the memory that is resident after it was made.
        // Memory that it freed may still be resident, and the pipeline would reuse it unseen.
        let before = memory::resident();
        let mut coming = Continuation::new(&state, Removes::Oldest);
        let before = before + coming.bytes();
        memory::forget_peak();
        let used = || memory::resident().saturating_sub(before);
        let mut running = build(worker, Program::Pipeline, 0, Watch::Count);
        running.take(worker, &state, EPOCH, 0);
        let mut epoch = state.len().div_ceil(EPOCH) as u64;
        let loaded = used();
        let parts_loaded = parts(&running);

        let duration = Duration::from_secs_f64(minutes * 60.0);
        let (mut samples, mut changes) = (Vec::with_capacity(SAMPLES as usize + 1), 0);
        let start = Instant::now();
        while start.elapsed() < duration {
            let more: Vec<Change> = coming.by_ref().take(EPOCH).collect();
            running.take(worker, &more, EPOCH, epoch);
            changes += more.len();
            epoch += 1;
            if start.elapsed() >= duration.mul_f64(samples.len() as f64 / SAMPLES) {
                samples.push((start.elapsed().as_secs_f64(), used()));
            }
        }
        let peak = memory::peak().saturating_sub(before);
        let parts = [parts_loaded, parts(&running)];
        Outcome { changes, seconds: start.elapsed().as_secs_f64(), loaded, peak, samples, parts }
    })
    .map_err(|error| anyhow!("cannot start a worker: {error}"))?;
    threads.join().pop().context("a worker")?.map_err(|error| anyhow!("a worker stopped: {error}"))
}

/// The bytes that the collections of each part have allocated.
fn parts(running: &Running) -> [u64; 4] {
    let stats = running.state_stats.as_ref().map(StateCollector::collect).unwrap_or_default();
    [stats.ledger_bytes, stats.names_bytes, stats.index_bytes, stats.rows_bytes]
}

/// The directed pairs that share a basket after `changes` further changes.
fn pairs(path: &std::path::Path, lines: usize, changes: usize) -> Result<u64> {
    let state = workload::load(path, lines)?;
    let coming = Continuation::new(&state, Removes::Oldest).take(changes);
    let held = workload::Lines::after(state.iter().copied().chain(coming));
    let mut lines = held.all();
    lines.sort_unstable();
    // Baskets are numbered anew, because those that are gone would take memory.
    let mut counting = Counting::default();
    let baskets = lines.chunk_by(|x, y| x.0 == y.0).zip(0..);
    let lines = baskets.flat_map(|(lines, basket)| {
        lines.iter().map(move |&(_old, item)| Change { basket, item, comes: true })
    });
    counting.bulk(&lines.collect::<Vec<_>>());
    Ok(counting.pairs())
}
