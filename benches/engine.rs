//! The engine beside the reference dataflow, and beside hash counting alone.
//!
//! What: a workload's changes in, all lists maintained (cosine, k = 10, 3 digits), on one worker, inside the dataflow:
//! nothing is decoded and nothing written. `common/programs.rs` says what the programs are, `common/counting.rs` what
//! hash counting does, `common/workload.rs` what a change is, `common/sources.rs` where they come from.
//!
//! Shapes, each a row `engine/WORKLOAD/EPOCH/PROGRAM`:
//! - `1000`, `10000`: epochs of so many changes, one after the other, as a stream would bring them; an epoch starts
//!   when the one before is out. The time is that of all epochs.
//! - `bulk`: the whole workload as one epoch, as a restart would bring it.
//! - `reference` slows as it grows, so it is given the first lines only (`--reference-lines`), and `fast` once more
//!   with as many. Rows of the first lines only have `@LINES` behind the program.
//!
//! First, without a clock, each program's lists are compared (`count` has none), its records are encoded and counted,
//! and the pairs are counted. Then each case is measured `--runs` times, each time in a process of its own, all cases
//! in turn, those of a workload with removes beside those without; a row is the run whose time is the median,
//! `seconds_min` and `seconds_max` are the fastest and the slowest. `x_adds` is the time per event by that without
//! removes. Memory is what the process has resident above what the workload itself takes: at its peak, and at the end.
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
    /// As many changes are an epoch; None is bulk.
    epoch: Option<usize>,
    task: Task,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Task {
    Measure,
    /// What comes out, without a clock.
    Check,
    /// The same, with the lists on standard output.
    Lists,
}

/// What a measurement found.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Outcome {
    events: usize,
    seconds: f64,
    /// Seconds of the epochs, sorted.
    epoch_p50: f64,
    epoch_p99: f64,
    epoch_max: f64,
    /// Bytes.
    peak: u64,
    steady: u64,
    lists_out: u64,
    /// Of a check only.
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

/// A case, what its check found, and what its runs did.
struct Measured {
    case: Case,
    check: Outcome,
    median: Outcome,
    /// The seconds of the fastest and of the slowest run.
    range: [f64; 2],
}

/// What the name of a workload with removes ends with.
const REMOVES: &str = ":removes";

/// All rows of a workload, and of the same with removes, which takes turns with it.
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
                // The first workload of several is the one without removes.
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

/// What is to be measured beside each other.
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

/// Runs each case without a clock, and compares all changes of lists, epoch by epoch, of those that took the same
/// changes.
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
    /// The figures of the row; `count` is hash counting on the same changes, `adds` the same program without removes.
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
