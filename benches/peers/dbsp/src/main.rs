//! The lists, maintained by DBSP, in the fastest program that was found.
//!
//! ```text
//! interactions ─┬─ by basket ─ pairs a < b ─ counted ─ mirrored ─┐
//!               │                                      (b, a, c) ├─ c²/n(b) ─ top k of a ─┬─ joined with n(a) ─▶ lists
//!               └─ supports n ───────────────────────────────────┴────────────────────────┘
//! ```
//!
//! The reasons for this shape: c/√(n(a)·n(b)) and c²/n(b) put the row of a in the same order. A change of n(a) would
//! touch every candidate of a, so n(a) is joined to the k rows of the list and not to thousands of candidates. A pair
//! is counted once and mirrored afterwards. The output of an operator is cut into chunks of a million records, not of
//! 10,000.
//!
//! There is one worker (DBSP merges in another thread beside it), no storage, and one transaction per epoch. The
//! clock runs from an epoch's events to its changes of the lists. It stands still while the driver stores the lists
//! for the check.
//!
//! ```text
//! cargo run --release -- --workload FILE [--lines N] [--epoch N] [--seconds S] [--lists FILE]
//! ```
//!
//! Standard output has a line of JSON for every epoch and one for the whole run. `--lists` writes the lists after the
//! last epoch that was taken in, as `item,rank,other,score`.

use anyhow::{Context, Result, bail};
use dbsp::circuit::CircuitConfig;
use dbsp::typed_batch::SpineSnapshot;
use dbsp::utils::Tup2;
use dbsp::{
    IndexedZSetReader, OrdIndexedZSet, OrdZSet, OutputHandle, RootCircuit, Runtime, Stream, ZSetHandle,
    ZWeight,
};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Basket = u32;
type Item = u32;
type Interaction = Tup2<Basket, Item>;
/// The bits of a score, and the other item with its bits inverted. Positive doubles are in the order of their bits,
/// so an entry that ranks higher is larger.
type Entry = Tup2<u64, Item>;
type Lists = OrdIndexedZSet<Item, Entry>;

const K: usize = 10;
const CHUNK_RECORDS: u64 = 1_000_000;

fn main() -> Result<()> {
    let options = Options::parse()?;
    let events = read(&options)?;
    let config = CircuitConfig::with_workers(1).with_splitter_chunk_size_records(CHUNK_RECORDS);
    let (mut circuit, (input, output)) = Runtime::init_circuit(config, |circuit| Ok(build(circuit)))?;

    let mut lists: HashMap<(Item, Entry), ZWeight> = HashMap::new();
    let mut elapsed = Duration::ZERO;
    let mut taken = 0;
    let mut checkpoints = Vec::new();
    for epoch in events.chunks(options.epoch) {
        if elapsed.as_secs_f64() > options.seconds {
            break;
        }
        let start = Instant::now();
        input.append(&mut epoch.to_vec());
        circuit.transaction()?;
        let changes = output.concat();
        elapsed += start.elapsed();

        for (item, entry, weight) in changes.iter() {
            *lists.entry((item, entry)).or_default() += weight;
        }
        lists.retain(|_entry, weight| *weight != 0);
        taken += epoch.len();
        println!(r#"{{"events":{taken},"seconds":{:.4}}}"#, elapsed.as_secs_f64());
        checkpoints.push(format!("[{taken},{:.4}]", elapsed.as_secs_f64()));
    }
    println!(
        r#"{{"program":"dbsp","events":{taken},"epoch":{},"seconds":{:.4},"checkpoints":[{}],"peak_bytes":{}}}"#,
        options.epoch,
        elapsed.as_secs_f64(),
        checkpoints.join(","),
        peak_bytes()?,
    );
    if let Some(path) = &options.lists {
        write(path, lists.into_keys().collect())?;
    }
    // The process ends here, without taking the circuit down batch by batch.
    std::process::exit(0);
}

/// Builds the dataflow, with the handles of its input and output.
fn build(circuit: &mut RootCircuit) -> (ZSetHandle<Interaction>, OutputHandle<SpineSnapshot<Lists>>) {
    let (interactions, input) = circuit.add_input_zset::<Interaction>();
    let supports = interactions.map_index(|Tup2(_basket, item)| (*item, ())).weighted_count();
    let ranked = candidates(&interactions).join_index(&supports, |&other, &Tup2(item, count), &support| {
        let square = f64::from(count) * f64::from(count) / support as f64;
        Some((item, Tup2(square.to_bits(), !other)))
    });
    let lists = ranked.topk_desc(K).join_index(&supports, |&item, &Tup2(square, other), &support| {
        let score = (f64::from_bits(square) / support as f64).sqrt();
        Some((item, Tup2(score.to_bits(), other)))
    });
    (input, lists.accumulate_output())
}

/// Every ordered pair with its count, keyed by the item whose candidate is to be ranked.
fn candidates(
    interactions: &Stream<RootCircuit, OrdZSet<Interaction>>,
) -> Stream<RootCircuit, OrdIndexedZSet<Item, Tup2<Item, u32>>> {
    let by_basket = interactions.map_index(|Tup2(basket, item)| (*basket, *item));
    let pairs = by_basket
        .join_index(&by_basket, |_basket, &a, &b| (a < b).then_some((Tup2(a, b), ())))
        .weighted_count();
    pairs.flat_map_index(|(&Tup2(a, b), &count)| {
        let count = u32::try_from(count).expect("a basket's number is a u32");
        [(b, Tup2(a, count)), (a, Tup2(b, count))]
    })
}

/// The options of the program.
struct Options {
    workload: String,
    lines: usize,
    epoch: usize,
    seconds: f64,
    lists: Option<String>,
}

impl Options {
    fn parse() -> Result<Self> {
        let (mut workload, mut lines, mut epoch, mut seconds, mut lists) =
            (None, usize::MAX, 10_000, f64::MAX, None);
        let mut arguments = std::env::args().skip(1);
        while let Some(flag) = arguments.next() {
            let value = arguments.next().with_context(|| format!("{flag} needs a value"))?;
            match flag.as_str() {
                "--workload" => workload = Some(value),
                "--lines" => lines = value.parse()?,
                "--epoch" => epoch = value.parse()?,
                "--seconds" => seconds = value.parse()?,
                "--lists" => lists = Some(value),
                _ => bail!("{flag} is not known"),
            }
        }
        let workload = workload.context("--workload names the file of events")?;
        Ok(Self { workload, lines, epoch, seconds, lists })
    }
}

/// Reads the events, in the form that the input takes.
fn read(options: &Options) -> Result<Vec<Tup2<Interaction, ZWeight>>> {
    let text = fs::read_to_string(&options.workload).with_context(|| options.workload.clone())?;
    text.lines().take(options.lines).map(|line| event(line).with_context(|| format!("`{line}`"))).collect()
}

fn event(line: &str) -> Result<Tup2<Interaction, ZWeight>> {
    let (basket, rest) = line.split_once(',').context("no item")?;
    let (item, diff) = rest.split_once(',').context("no diff")?;
    Ok(Tup2(Tup2(basket.parse()?, item.parse()?), diff.parse()?))
}

fn write(path: &str, mut entries: Vec<(Item, Entry)>) -> Result<()> {
    entries.sort_unstable_by_key(|&(item, Tup2(score, other))| (item, !score, !other));
    let mut file = BufWriter::new(File::create(path)?);
    let mut rank = 0;
    for (index, &(item, Tup2(score, other))) in entries.iter().enumerate() {
        rank = if index > 0 && entries[index - 1].0 == item { rank + 1 } else { 1 };
        writeln!(file, "{item},{rank},{},{}", !other, f64::from_bits(score))?;
    }
    Ok(file.flush()?)
}

/// The peak of resident memory of this process in bytes, as Linux reports it.
fn peak_bytes() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes * 1024)
}
