//! The engine compared with the reference dataflow, and with hash counting alone.
//!
//! What: a workload's changes enter, and all lists are maintained (cosine, k = 10, 3 digits), on one worker, inside
//! the dataflow. Nothing is decoded and nothing is written. `common/programs.rs` describes the programs,
//! `common/counting.rs` hash counting, `common/workload.rs` a change, and `common/sources.rs` the sources of changes.
//!
//! Shapes, each a row `engine/WORKLOAD/EPOCH/PROGRAM`:
//! - `1000`, `10000`: epochs of this many changes, one after the other, as a stream would bring them. An epoch starts
//!   when the one before is complete. The time is that of all epochs.
//! - `bulk`: the whole workload as one epoch, as a restart would bring it.
//! - `reference` slows down as its state grows, so it gets the first lines only (`--reference-lines`), and `fast` is
//!   measured once more on as many. Rows of the first lines only have `@LINES` behind the program.
//!
//! First, without a clock, the lists of the programs are compared (`count` has none), their records are encoded and
//! counted, and the pairs are counted. Then each case is measured `--runs` times, each time in its own process. All
//! cases take turns, and those of a workload with removes run beside those without.
//!
//! A row is the run with the median time; `seconds_min` and `seconds_max` are the fastest and the slowest. `x_adds`
//! is the time per event divided by that without removes. Memory is the resident memory of the process without that
//! of the workload itself: at its peak, and at the end.
//!
//! ```text
//! cargo bench --bench engine -- [--workloads retail,journey:removes,…] [--epochs 1000,10000,bulk]
//!     [--programs fast,pipeline,reference,count] [--runs N] [--lines N] [--reference-lines N] [--data DIR]
//!     [--json FILE]
//! cargo bench --bench engine -- --export WORKLOAD [--lines N]            changes as text, for programs elsewhere
//! cargo bench --bench engine -- --export-lists WORKLOAD [--lines N]      the lists they lead to
//! ```

mod common;

use anyhow::{Context, Result, anyhow, bail, ensure};
use common::arguments::Arguments;
use common::counting::Counting;
use common::observe::Watch;
use common::programs::{Program, build, config, items};
use common::rows::{Figures, Rows, number};
use common::workload::{Change, Prepared};
use common::{children, memory, workload};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    common::exit(run())
}

/// One measurement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Case {
    program: Program,
    path: PathBuf,
    lines: usize,
    /// The changes of an epoch. `None` is bulk.
    epoch: Option<usize>,
    task: Task,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Task {
    Measure,
    /// Compares output, without a clock.
    Check,
    /// Compares output, and writes the lists to standard output.
    Lists,
}

/// The result of one measurement.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Outcome {
    events: usize,
    seconds: f64,
    /// The seconds of an epoch: two percentiles and the most.
    epoch_p50: f64,
    epoch_p99: f64,
    epoch_max: f64,
    /// Resident bytes, without those of the workload.
    peak: u64,
    steady: u64,
    lists_out: u64,
    /// Set by a check only.
    records: u64,
    bytes: u64,
    fingerprint: String,
    history: u64,
    pairs: u64,
}

struct Options {
    workloads: Vec<String>,
    epochs: Vec<String>,
    programs: Vec<String>,
    runs: usize,
    lines: usize,
    reference_lines: usize,
    data: Vec<PathBuf>,
    json: Option<PathBuf>,
}

fn run() -> Result<()> {
    let mut arguments = Arguments::read();
    if let Some(case) = children::case::<Case>(&mut arguments)? {
        let outcome = measure(&case)?;
        return if case.task == Task::Lists { Ok(()) } else { children::report(&outcome) };
    }
    let export: Option<String> = arguments.option("--export")?;
    let lists: Option<String> = arguments.option("--export-lists")?;
    let options = Options {
        workloads: arguments.list("--workloads", "retail,retail:removes,journey,journey:removes")?,
        epochs: arguments.list("--epochs", "1000,10000,bulk")?,
        programs: arguments.list("--programs", "fast,pipeline,reference,count")?,
        runs: arguments.value("--runs", 5)?,
        lines: arguments.value("--lines", usize::MAX)?,
        reference_lines: arguments.value("--reference-lines", 50_000)?,
        data: arguments.data()?,
        json: arguments.option("--json")?,
    };
    arguments.end()?;
    ensure!(options.runs > 0, "a measurement has at least one run");
    if let Some(name) = export {
        return export_changes(&name, &options);
    }
    if let Some(name) = lists {
        return export_lists(&name, &options);
    }
    let mut rows = Rows::default();
    let plain = |name: &String| name.trim_end_matches(REMOVES).to_owned();
    for names in options.workloads.chunk_by(|x, y| plain(x) == plain(y)) {
        let workloads: Result<Vec<_>> =
            names.iter().filter_map(|name| workload::prepare(name, &options.data).transpose()).collect();
        compare(&workloads?, &options, &mut rows)?;
        rows.write(options.json.as_deref())?;
    }
    print!("{}", rows.table());
    Ok(())
}

fn export_changes(name: &str, options: &Options) -> Result<()> {
    let Some(mut changes) = workload::make(name, &options.data)? else { return Ok(()) };
    changes.truncate(options.lines);
    workload::export(&changes, &mut std::io::stdout().lock())
}

fn export_lists(name: &str, options: &Options) -> Result<()> {
    let Some(Prepared { path, .. }) = workload::prepare(name, &options.data)? else { return Ok(()) };
    let case = Case { program: Program::Fast, path, lines: options.lines, epoch: None, task: Task::Lists };
    measure(&case).map(|_outcome| ())
}

/// A case, with the result of its check and of its runs.
struct Measured {
    case: Case,
    check: Outcome,
    median: Outcome,
    /// The seconds of the fastest and of the slowest run.
    range: [f64; 2],
}

/// The end of the name of a workload with removes.
const REMOVES: &str = ":removes";

/// Measures all cases of a workload, and of the same workload with removes in turn, and adds their rows.
fn compare(workloads: &[Prepared], options: &Options, rows: &mut Rows) -> Result<()> {
    for epoch in &options.epochs {
        let mut cases: Vec<Case> = Vec::new();
        let mut checks: Vec<Outcome> = Vec::new();
        for workload in workloads {
            let of_workload = self::cases(workload, epoch, options)?;
            checks.extend(check(&of_workload)?);
            cases.extend(of_workload);
        }
        let outcomes = children::measure_in_turn::<Case, Outcome>(&cases, options.runs)?;
        let measured = cases.into_iter().zip(checks).zip(outcomes).map(|((case, check), runs)| {
            let fastest = runs.iter().map(|run| run.seconds).fold(f64::MAX, f64::min);
            let slowest = runs.iter().map(|run| run.seconds).fold(0.0, f64::max);
            Measured {
                case,
                check,
                median: children::median(runs, |run| run.seconds),
                range: [fastest, slowest],
            }
        });
        let measured: Vec<Measured> = measured.collect();
        for workload in workloads {
            for row in measured.iter().filter(|row| row.case.path == workload.path) {
                let name = name(workload, epoch, &row.case);
                ensure!(row.median.lists_out == row.check.lists_out, "{name} did not do its work");
                let count = |other: &&Measured| {
                    other.case.program == Program::Count
                        && (&other.case.path, other.case.lines) == (&row.case.path, row.case.lines)
                };
                // The first workload is the one without removes.
                let adds = |other: &&Measured| {
                    other.case.program == row.case.program
                        && other.case.path == workloads[0].path
                        && workload.name.ends_with(REMOVES)
                };
                rows.push(name, row.figures(measured.iter().find(count), measured.iter().find(adds)));
            }
        }
    }
    Ok(())
}

/// The cases of a workload that are compared with each other.
fn cases(workload: &Prepared, epoch: &str, options: &Options) -> Result<Vec<Case>> {
    let whole = workload.changes.min(options.lines);
    let some = whole.min(options.reference_lines);
    let epoch = match epoch {
        "bulk" => None,
        number => Some(number.parse().with_context(|| format!("--epochs {number}"))?),
    };
    let mut cases = Vec::new();
    for program in &options.programs {
        let (program, lines) = match program.as_str() {
            "fast" => (Program::Fast, whole),
            "pipeline" => (Program::Pipeline, whole),
            "reference" => (Program::Reference, some),
            "count" => (Program::Count, whole),
            _ => bail!("unknown program {program}; known are fast, pipeline, reference, count"),
        };
        let case = |program| Case { program, path: workload.path.clone(), lines, epoch, task: Task::Measure };
        cases.push(case(program));
        if program == Program::Reference && lines < whole {
            cases.push(case(Program::Fast));
        }
    }
    Ok(cases)
}

fn name(workload: &Prepared, epoch: &str, case: &Case) -> String {
    let part = if case.lines < workload.changes { format!("@{}", case.lines) } else { String::new() };
    format!("engine/{}/{epoch}/{}{part}", workload.name, case.program)
}

/// Runs each case without a clock. Compares the changes of lists, epoch by epoch, of all cases with the same changes.
fn check(cases: &[Case]) -> Result<Vec<Outcome>> {
    let mut checks: Vec<Outcome> = Vec::new();
    for case in cases {
        eprintln!("check: {} on {} changes", case.program, case.lines);
        let check: Outcome = children::measure(&Case { task: Task::Check, ..case.clone() })?;
        for (other, found) in cases.iter().zip(&checks) {
            let comparable =
                other.lines == case.lines && ![other.program, case.program].contains(&Program::Count);
            ensure!(
                !comparable || (&found.fingerprint, found.history) == (&check.fingerprint, check.history),
                "{} and {} have different lists at some epoch of {} changes of {}",
                other.program,
                case.program,
                case.lines,
                case.path.display()
            );
        }
        checks.push(check);
    }
    Ok(checks)
}

impl Measured {
    /// The figures of the row. `count` is hash counting on the same changes, `adds` the same program without removes.
    fn figures(&self, count: Option<&Measured>, adds: Option<&Measured>) -> Figures {
        let Measured { check, median, range, .. } = self;
        let events = median.events as f64;
        let mut figures = vec![
            ("events", json!(median.events)),
            ("events_per_s", number(events / median.seconds)),
            ("seconds", number(median.seconds)),
            ("seconds_min", number(range[0])),
            ("seconds_max", number(range[1])),
        ];
        if let Some(count) = count {
            let pairs = count.check.pairs;
            figures.push(("x_count", number(median.seconds / count.median.seconds)));
            figures.push(("pairs", json!(pairs)));
            figures.push(("bytes_per_pair", number(median.steady as f64 / pairs.max(1) as f64)));
        }
        if let Some(Measured { median: adds, .. }) = adds.filter(|adds| !std::ptr::eq(*adds, self)) {
            let per_event = |outcome: &Outcome| outcome.seconds / outcome.events as f64;
            figures.push(("x_adds", number(per_event(median) / per_event(adds))));
        }
        figures.extend([
            ("peak_mb", number(median.peak as f64 / 1e6)),
            ("steady_mb", number(median.steady as f64 / 1e6)),
            ("epoch_ms_p50", number(median.epoch_p50 * 1e3)),
            ("epoch_ms_p99", number(median.epoch_p99 * 1e3)),
            ("epoch_ms_max", number(median.epoch_max * 1e3)),
        ]);
        if check.records > 0 {
            figures.push(("records_per_event", number(check.records as f64 / events)));
            figures.push(("bytes_per_event", number(check.bytes as f64 / events)));
            figures.push(("fingerprint", json!(check.fingerprint)));
        }
        figures
    }
}

/// Measures one case in this process.
fn measure(case: &Case) -> Result<Outcome> {
    let changes = Arc::new(workload::load(&case.path, case.lines)?);
    let epoch = case.epoch.unwrap_or(changes.len()).max(1);
    let before = memory::resident();
    memory::forget_peak();
    let mut outcome = match case.program {
        Program::Count => count(&changes, case.epoch),
        program => maintain(program, Arc::clone(&changes), epoch, case.task)?,
    };
    outcome.events = changes.len();
    outcome.peak = memory::peak().saturating_sub(before);
    outcome.steady = outcome.steady.saturating_sub(before);
    Ok(outcome)
}

fn count(changes: &[Change], epoch: Option<usize>) -> Outcome {
    let mut counting = Counting::default();
    let mut seconds = Vec::new();
    let mut timed = |work: &mut dyn FnMut()| {
        let start = Instant::now();
        work();
        seconds.push(start.elapsed().as_secs_f64());
    };
    match epoch {
        Some(epoch) => changes.chunks(epoch).for_each(|changes| timed(&mut || counting.epoch(changes))),
        None => timed(&mut || counting.bulk(changes)),
    }
    let mut outcome = Outcome { steady: memory::resident(), ..timings(seconds) };
    outcome.pairs = counting.pairs();
    outcome
}

fn maintain(program: Program, changes: Arc<Vec<Change>>, epoch: usize, task: Task) -> Result<Outcome> {
    let threads = timely::execute(config(timely::CommunicationConfig::Thread), move |worker| {
        let mut running = build(
            worker,
            program,
            items(&changes),
            if task == Task::Measure { Watch::Count } else { Watch::Keep },
        );
        let seconds = running.take(worker, &changes, epoch, 0);
        let mut outcome = Outcome { steady: memory::resident(), ..timings(seconds) };
        let seen = running.seen.borrow();
        outcome.lists_out = seen.lists_out;
        if task != Task::Measure {
            outcome.records = seen.records;
            outcome.bytes = seen.bytes;
            outcome.fingerprint = seen.fingerprint();
            outcome.history = seen.history;
        }
        if task == Task::Lists {
            seen.lines().for_each(|line| println!("{line}"));
        }
        outcome
    })
    .map_err(|error| anyhow!("cannot start a worker: {error}"))?;
    let outcome = threads.join().pop().context("a worker")?;
    outcome.map_err(|error| anyhow!("a worker stopped: {error}"))
}

fn timings(mut epochs: Vec<f64>) -> Outcome {
    let seconds = epochs.iter().sum();
    epochs.sort_by(f64::total_cmp);
    let at = |share: f64| epochs.get((epochs.len() as f64 * share) as usize).or(epochs.last()).copied();
    let [epoch_p50, epoch_p99, epoch_max] = [0.5, 0.99, 1.0].map(|share| at(share).unwrap_or_default());
    Outcome { seconds, epoch_p50, epoch_p99, epoch_max, ..Outcome::default() }
}
