//! Scaling from one worker to several: how much faster they are, and how evenly the work is spread.
//!
//! What: the programs `fast` and `pipeline` (`common/programs.rs`) on a workload in epochs. Each worker sends the
//! changes of its share of the baskets, as partitions of a topic keyed by basket would bring them. All changes are
//! prepared before the clock runs. As in the job, up to `--ahead` epochs are open at once, and there are no huge
//! pages.
//!
//! Shapes, each a row `scale/WORKLOAD/PROGRAM/PROCESSESxWORKERS`:
//! - speed: one worker, two workers of one process, two processes of one worker (over loopback). `x_one` is the time
//!   of one worker divided by the time of the row. More workers than cores say nothing here, so there are none.
//! - evenness: `--many` workers, whatever the cores, on `--skewed`. It is measured not in seconds but by the work of
//!   each worker: the engine's own count, and the processor time of the worker's thread. `max_by_mean` is the most of
//!   one worker divided by the mean.
//!
//! ```text
//! cargo bench --bench scale -- [--workloads retail,journey] [--skewed zipf] [--programs fast,pipeline] [--many N]
//!     [--epoch N] [--ahead N] [--lines N] [--runs N] [--data DIR] [--json FILE]
//! ```

mod common;

use anyhow::{Context, Result, anyhow, bail, ensure};
use common::arguments::Arguments;
use common::observe::Watch;
use common::programs::{Program, build, config, items};
use common::rows::{Figures, Rows, number};
use common::workload::{Change, Prepared};
use common::{children, memory, workload};
use deltacart::memory_pages;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::net::TcpListener;
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

/// One measurement, in one of its processes.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Case {
    program: Program,
    path: PathBuf,
    lines: usize,
    epoch: usize,
    ahead: u64,
    threads: usize,
    processes: usize,
    process: usize,
    addresses: Vec<String>,
}

/// The result of one measurement. Of several processes, that of the first.
#[derive(Debug, Serialize, Deserialize)]
struct Outcome {
    events: usize,
    seconds: f64,
    lists_out: u64,
    workers: Vec<Share>,
}

/// The work of one worker.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Share {
    /// The engine's own count.
    work: u64,
    cpu_seconds: f64,
}

struct Options {
    programs: Vec<Program>,
    many: usize,
    epoch: usize,
    ahead: u64,
    lines: usize,
    runs: usize,
}

fn run() -> Result<()> {
    let mut arguments = Arguments::read();
    // As in the job. With huge pages, two workers would wait until twice as many of them are cleared.
    memory_pages::use_small_pages();
    if let Some(case) = children::case::<Case>(&mut arguments)? {
        return children::report(&measure(&case)?);
    }
    let programs = arguments.list("--programs", "fast,pipeline")?;
    let programs = programs.iter().map(|program| match program.as_str() {
        "fast" => Ok(Program::Fast),
        "pipeline" => Ok(Program::Pipeline),
        _ => bail!("unknown program {program}; known are fast, pipeline"),
    });
    let options = Options {
        programs: programs.collect::<Result<_>>()?,
        many: arguments.value("--many", 8)?,
        epoch: arguments.value("--epoch", 10_000)?,
        ahead: arguments.value("--ahead", 4)?,
        lines: arguments.value("--lines", usize::MAX)?,
        runs: arguments.value("--runs", 5)?,
    };
    let workloads = arguments.list("--workloads", "retail,journey")?;
    let skewed = arguments.list("--skewed", "zipf")?;
    let (data, json): (_, Option<PathBuf>) = (arguments.data()?, arguments.option("--json")?);
    arguments.end()?;
    ensure!(options.runs > 0 && options.epoch > 0 && options.ahead > 0, "runs, epochs and ahead are above 0");
    let mut rows = Rows::default();
    for (name, is_skewed) in
        workloads.iter().map(|name| (name, false)).chain(skewed.iter().map(|name| (name, true)))
    {
        let Some(workload) = workload::prepare(name, &data)? else { continue };
        for &program in &options.programs {
            let shapes: &[(usize, usize)] =
                if is_skewed { &[(1, options.many)] } else { &[(1, 1), (1, 2), (2, 1)] };
            compare(&workload, program, shapes, &options, &mut rows)?;
        }
        rows.write(json.as_deref())?;
    }
    print!("{}", rows.table());
    Ok(())
}

/// Measures one program on one workload in all shapes, and adds the rows. If there are several shapes, all are
/// compared with the first.
fn compare(
    workload: &Prepared,
    program: Program,
    shapes: &[(usize, usize)],
    options: &Options,
    rows: &mut Rows,
) -> Result<()> {
    let case = |&(processes, threads): &(usize, usize)| Case {
        program,
        path: workload.path.clone(),
        lines: workload.changes.min(options.lines),
        epoch: options.epoch,
        ahead: options.ahead,
        threads,
        processes,
        process: 0,
        addresses: Vec::new(),
    };
    let cases: Vec<Case> = shapes.iter().map(case).collect();
    let outcomes = children::measure_in_turn::<Case, Outcome>(&cases, options.runs)?;
    let medians: Vec<Outcome> =
        outcomes.into_iter().map(|runs| children::median(runs, |run| run.seconds)).collect();
    let first = medians.first().filter(|_first| shapes.len() > 1);
    for ((processes, threads), outcome) in shapes.iter().zip(&medians) {
        let name = format!("scale/{}/{program}/{processes}x{threads}", workload.name);
        rows.push(name, figures(outcome, first, *processes));
    }
    Ok(())
}

fn figures(outcome: &Outcome, first: Option<&Outcome>, processes: usize) -> Figures {
    let mut figures = vec![
        ("events", json!(outcome.events)),
        ("events_per_s", number(outcome.events as f64 / outcome.seconds)),
        ("seconds", number(outcome.seconds)),
    ];
    if let Some(first) = first {
        figures.push(("x_one", number(first.seconds / outcome.seconds)));
    }
    // The work of workers in other processes is not known here.
    if processes == 1 {
        let cpu: Vec<f64> = outcome.workers.iter().map(|worker| worker.cpu_seconds).collect();
        figures.extend(evenness(["cpu_s_mean", "cpu_s_max", "cpu_max_by_mean"], &cpu));
        let work: Vec<f64> = outcome.workers.iter().map(|worker| worker.work as f64).collect();
        figures.extend(evenness(["work_mean", "work_max", "work_max_by_mean"], &work));
    }
    figures
}

fn evenness(names: [&'static str; 3], shares: &[f64]) -> Figures {
    let mean = shares.iter().sum::<f64>() / shares.len().max(1) as f64;
    let max = shares.iter().copied().fold(0.0, f64::max);
    names.into_iter().zip([mean, max, max / mean].map(number)).collect()
}

/// Measures one case in this process. If the case has several processes, this one starts the others.
fn measure(case: &Case) -> Result<Outcome> {
    let mut case = case.clone();
    let mut others = Vec::new();
    if case.processes > 1 && case.process == 0 {
        case.addresses = free_addresses(case.processes)?;
        for process in 1..case.processes {
            others.push(children::start(&Case { process, ..case.clone() })?);
        }
    }
    let changes = Arc::new(workload::load(&case.path, case.lines)?);
    let communication = match (case.processes, case.threads) {
        (1, 1) => CommunicationConfig::Thread,
        (1, threads) => CommunicationConfig::Process(threads),
        (_, threads) => CommunicationConfig::Cluster {
            threads,
            process: case.process,
            addresses: case.addresses.clone(),
            report: false,
            zerocopy: false,
        },
    };
    let events = changes.len();
    let threads = timely::execute(config(communication), move |worker| work(worker, &case, &changes))
        .map_err(|error| anyhow!("cannot start the workers: {error}"))?;
    let workers: Result<Vec<_>, String> = threads.join().into_iter().collect();
    let workers = workers.map_err(|error| anyhow!("a worker stopped: {error}"))?;
    for other in others {
        children::outcome::<Outcome>(other)?;
    }
    Ok(Outcome {
        events,
        seconds: workers.first().context("a worker")?.0,
        lists_out: workers.iter().map(|worker| worker.1).sum(),
        workers: workers.iter().map(|worker| worker.2).collect(),
    })
}

/// The work of one worker. Returns the seconds until all epochs were complete, the lists emitted, and the work done.
fn work(worker: &mut Worker, case: &Case, changes: &[Change]) -> (f64, u64, Share) {
    let (index, peers) = (worker.index() as u32, worker.peers() as u32);
    let mut running = build(worker, case.program, items(changes), Watch::Count);
    for changes in changes.chunks(case.epoch) {
        let mine = changes.iter().copied().filter(|change| change.basket % peers == index);
        running.intake.prepare(&mut mine.into_iter());
    }
    // An empty epoch, which is complete when every worker is ready.
    running.intake.advance_to(1);
    worker.step_or_park_while(None, || running.probe.less_than(&1));
    let before = memory::thread_seconds();
    let start = Instant::now();
    let last = changes.chunks(case.epoch).len() as u64 + 1;
    for next in 2..=last {
        running.intake.send();
        running.intake.advance_to(next);
        let ahead = next.saturating_sub(case.ahead - 1);
        worker.step_or_park_while(None, || running.probe.less_than(&ahead));
    }
    worker.step_or_park_while(None, || running.probe.less_than(&last));
    let seconds = start.elapsed().as_secs_f64();
    let share = Share { work: running.work.get(), cpu_seconds: memory::thread_seconds() - before };
    let lists_out = running.seen.borrow().lists_out;
    (seconds, lists_out, share)
}

/// Addresses of loopback that were free a moment ago.
fn free_addresses(number: usize) -> Result<Vec<String>> {
    let listeners: Result<Vec<_>, _> = (0..number).map(|_process| TcpListener::bind("127.0.0.1:0")).collect();
    let listeners = listeners.context("no port is free")?;
    listeners.iter().map(|listener| Ok(listener.local_addr()?.to_string())).collect()
}
