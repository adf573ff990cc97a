//! The engines beside each other, and beside hash counting alone.
//!
//! What: interactions in, all lists maintained (cosine, k = 10, 3 digits), on one worker, inside the dataflow: nothing
//! is decoded and nothing written. Each row of the table is a process of its own, so that its peak memory is its own.
//!
//! Shapes: FIMI retail, 908,576 lines of 88,162 baskets, in the order of the file.
//! - `epochs`: the first lines in epochs of 10,000, as a stream would bring them. The reference slows as it grows, so
//!   it is measured, like the others, on the first 300,000 lines.
//! - `batch`: the whole file as one epoch, as a restart would bring it.
//! - `count`: the pairs of the same lines counted in hash tables, one table per item, and nothing else: no scores, no
//!   lists. What any program that stores its counts has to do.
//!
//! ```text
//! cargo bench --bench engine -- [FILE] [--lines N] [--epoch N] [--runs N]
//! ```

use anyhow::{Context, Result, bail, ensure};
use deltacart_dataflows::{
    Basket, Diff, Epoch, Item, ListParams, Measure, Name, Names, Scoring, neighbours, reference_neighbours,
};
use differential_dataflow::VecCollection;
use differential_dataflow::input::InputSession;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::process::{Command, ExitCode};
use std::rc::Rc;
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The file that is measured unless another is named.
const RETAIL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/retail.dat");

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("engine: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What is measured.
struct Options {
    file: String,
    lines: usize,
    epoch: usize,
    runs: usize,
    /// One row of the table, measured in this process.
    program: Option<String>,
}

/// One measurement.
struct Figures {
    events: usize,
    seconds: f64,
    /// Peak resident memory above what the input itself took.
    bytes: u64,
    /// A fingerprint of the result, to see that nobody skipped work.
    entries: u64,
}

fn run() -> Result<()> {
    let options = options()?;
    if let Some(program) = &options.program {
        let figures = measure(program, &options)?;
        println!("{} {} {} {}", figures.events, figures.seconds, figures.bytes, figures.entries);
        return Ok(());
    }
    if !std::path::Path::new(&options.file).exists() {
        println!("skipped: {} is not there", options.file);
        return Ok(());
    }
    let epochs = ["fast", "reference", "count"];
    let batch = ["fast-batch", "count-batch"];
    println!(
        "{:<12} {:>10} {:>10} {:>12} {:>10} {:>10}",
        "program", "events", "seconds", "events/s", "MB", "entries"
    );
    let mut medians = HashMap::new();
    for program in epochs.into_iter().chain(batch) {
        let mut runs = Vec::new();
        for _run in 0..options.runs {
            runs.push(in_a_process(program, &options)?);
        }
        runs.sort_by(|x, y| x.seconds.total_cmp(&y.seconds));
        let figures = runs.swap_remove(runs.len() / 2);
        println!(
            "{program:<12} {:>10} {:>10.3} {:>12.0} {:>10.1} {:>10}",
            figures.events,
            figures.seconds,
            figures.events as f64 / figures.seconds,
            figures.bytes as f64 / 1e6,
            figures.entries
        );
        medians.insert(program, figures);
    }
    let [fast, reference, batch, count] =
        ["fast", "reference", "fast-batch", "count-batch"].map(|name| &medians[name]);
    ensure!(fast.entries == reference.entries, "the engines differ");
    println!("fast / reference, events per second: {:.1}", reference.seconds / fast.seconds);
    println!("fast / reference, memory: {:.3}", fast.bytes as f64 / reference.bytes as f64);
    println!("fast / count, seconds in epochs: {:.2}", fast.seconds / medians["count"].seconds);
    println!("fast / count, seconds in one batch: {:.2}", batch.seconds / count.seconds);
    Ok(())
}

fn options() -> Result<Options> {
    let mut options =
        Options { file: RETAIL.to_owned(), lines: 300_000, epoch: 10_000, runs: 3, program: None };
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().with_context(|| format!("{argument} wants a value"));
        match argument.as_str() {
            "--lines" => options.lines = value()?.parse()?,
            "--epoch" => options.epoch = value()?.parse()?,
            "--runs" => options.runs = value()?.parse()?,
            "--program" => options.program = Some(value()?),
            file if !file.starts_with('-') => options.file = file.to_owned(),
            _ => bail!("unknown argument {argument}"),
        }
    }
    ensure!(options.epoch > 0 && options.runs > 0, "an epoch has events, a measurement runs");
    Ok(options)
}

/// Measures one program in a process of its own.
fn in_a_process(program: &str, options: &Options) -> Result<Figures> {
    let output = Command::new(std::env::current_exe()?)
        .args([&options.file, "--program", program])
        .args(["--lines", &options.lines.to_string(), "--epoch", &options.epoch.to_string()])
        .output()?;
    ensure!(output.status.success(), "{program} failed: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    let [events, seconds, bytes, entries] = text.split_whitespace().collect::<Vec<_>>()[..] else {
        bail!("{program} printed {text:?}");
    };
    Ok(Figures {
        events: events.parse()?,
        seconds: seconds.parse()?,
        bytes: bytes.parse()?,
        entries: entries.parse()?,
    })
}

fn measure(program: &str, options: &Options) -> Result<Figures> {
    let (mut lines, names) = read(&options.file)?;
    let (program, batch) = match program.strip_suffix("-batch") {
        Some(program) => (program, true),
        None => (program, false),
    };
    let epoch = if batch { lines.len() } else { options.epoch };
    if !batch {
        lines.truncate(options.lines);
    }
    let lists = ListParams { k: 10, scoring: Scoring::new(Measure::Cosine), scores: true };
    let before = resident_peak();
    let start = Instant::now();
    let entries = match program {
        "fast" => maintain(&lines, epoch, move |interactions| {
            neighbours(interactions, Rc::new(RefCell::new(names)), lists).map(|(_item, list)| list.len())
        }),
        "reference" => maintain(&lines, epoch, move |interactions| {
            reference_neighbours(interactions, lists).map(|(_item, list)| list.len())
        }),
        "count" => count(&lines),
        _ => bail!("unknown program {program}"),
    };
    let seconds = start.elapsed().as_secs_f64();
    Ok(Figures { events: lines.len(), seconds, bytes: resident_peak() - before, entries })
}

/// The lines (basket, item) of a file that has a basket per line, and the items' names.
fn read(file: &str) -> Result<(Vec<(Basket, Item)>, Names)> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?;
    let mut names = Names::default();
    let mut lines = Vec::new();
    for (basket, line) in (0..).zip(text.lines()) {
        for word in line.split_whitespace() {
            let item: Item = word.parse().with_context(|| format!("{word} is no item number"))?;
            names.insert(item, &Name::from(word));
            lines.push((basket, item));
        }
    }
    Ok((lines, names))
}

/// Interactions as they go in.
type Interactions<'scope> = VecCollection<'scope, Epoch, (Basket, Item), Diff>;

/// The lengths of all lists.
type Lengths<'scope> = VecCollection<'scope, Epoch, usize, Diff>;

/// Runs an engine over the lines; returns how many entries all lists have in the end.
fn maintain(
    lines: &[(Basket, Item)],
    epoch: usize,
    engine: impl for<'scope> FnOnce(Interactions<'scope>) -> Lengths<'scope> + Send + Sync + 'static,
) -> u64 {
    let lines = lines.to_vec();
    let entries = timely::execute_directly(move |worker| {
        let mut input = InputSession::new();
        let entries = Rc::new(Cell::new(0));
        let counter = Rc::clone(&entries);
        let probe = worker.dataflow(|scope| {
            let lengths = engine(input.to_collection(scope));
            lengths
                .inspect(move |(length, _epoch, diff)| counter.set(counter.get() + *length as isize * diff))
                .probe()
                .0
        });
        for (number, epoch) in (1..).zip(lines.chunks(epoch)) {
            epoch.iter().for_each(|&line| input.insert(line));
            input.advance_to(number);
            input.flush();
            worker.step_while(|| probe.less_than(&number));
        }
        entries.get()
    });
    entries as u64
}

/// Counts the pairs of all lines, both ways; returns how many different ones there are.
fn count(lines: &[(Basket, Item)]) -> u64 {
    let mut rows: Vec<hashbrown::HashMap<Item, u32, foldhash::fast::FixedState>> = Vec::new();
    for basket in lines.chunk_by(|x, y| x.0 == y.0) {
        for (at, &(_basket, a)) in basket.iter().enumerate() {
            for &(_basket, b) in &basket[..at] {
                let needed = a.max(b) as usize + 1;
                if rows.len() < needed {
                    rows.resize_with(needed, Default::default);
                }
                *rows[a as usize].entry(b).or_default() += 1;
                *rows[b as usize].entry(a).or_default() += 1;
            }
        }
    }
    rows.iter().map(|row| row.len() as u64).sum()
}

/// The most memory this process ever had resident, in bytes; 0 where the system does not tell.
fn resident_peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok())
        .map_or(0, |kilobytes| kilobytes * 1024)
}
