//! The cost of writing and loading a snapshot, by the codec of its parts.
//!
//! What: all baskets of a workload are encoded as one part in memory, and decoded from it as events. A worker's
//! snapshot writer and a restart do the same. The disk is left out, because its speed is not a property of the codec.
//! `mb` is the size that a disk would have to store.
//!
//! Shapes: the row is `codec/WORKLOAD/CODEC`, with the medians of `--runs`. Without the feature `abomonation`, the
//! codec is `default` (LEB128, zstd, CRC-32). With the feature, it is `abomonation`.
//!
//! ```text
//! cargo bench --bench codec -- [--workload journey] [--lines N] [--runs N] [--data DIR] [--json FILE]
//! cargo bench --bench codec --features abomonation -- …
//! ```

mod common;

use anyhow::{Result, ensure};
use common::arguments::Arguments;
use common::rows::{Rows, number};
use common::workload::{self, Change, basket_name, item_name};
use deltacart::state::part::{Block, PartReader, PartWriter};
use deltacart_dataflows::{BasketCopy, Units};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    common::exit(run())
}

fn run() -> Result<()> {
    let mut arguments = Arguments::read();
    let name: String = arguments.value("--workload", "journey".to_owned())?;
    let lines: usize = arguments.value("--lines", usize::MAX)?;
    let runs: usize = arguments.value("--runs", 5)?;
    let (data, json): (_, Option<PathBuf>) = (arguments.data()?, arguments.option("--json")?);
    arguments.end()?;
    ensure!(runs > 0, "--runs is above 0");
    let Some(mut changes) = workload::make(&name, &data)? else { return Ok(()) };
    changes.truncate(lines);
    let baskets = baskets(&changes);

    let (mut writes, mut loads, mut bytes, mut events) = (Vec::new(), Vec::new(), 0, 0);
    for _ in 0..runs {
        let start = Instant::now();
        let part = write(&baskets)?;
        writes.push(start.elapsed().as_secs_f64());
        let start = Instant::now();
        events = load(&part)?;
        loads.push(start.elapsed().as_secs_f64());
        bytes = part.len();
    }
    let codec = if cfg!(feature = "abomonation") { "abomonation" } else { "default" };
    let figures = vec![
        ("lines", json!(events)),
        ("baskets", json!(baskets.len())),
        ("write_s", number(median(writes))),
        ("load_s", number(median(loads))),
        ("mb", number(bytes as f64 / 1e6)),
    ];
    let mut rows = Rows::default();
    rows.push(format!("codec/{name}/{codec}"), figures);
    rows.write(json.as_deref())?;
    print!("{}", rows.table());
    Ok(())
}

fn median(mut found: Vec<f64>) -> f64 {
    found.sort_by(f64::total_cmp);
    found[found.len() / 2]
}

/// The baskets after all changes, in the form in which a worker's snapshot scan emits them.
fn baskets(changes: &[Change]) -> Vec<BasketCopy> {
    let mut baskets = BTreeMap::new();
    for change in changes {
        let lines: &mut Vec<_> = baskets.entry(change.basket).or_default();
        match change.comes {
            true => lines.push((item_name(change.item), Units { cart: 1, ..Units::default() })),
            false => lines.retain(|(item, _units)| *item != item_name(change.item)),
        }
    }
    let baskets = baskets.into_iter().filter(|(_, lines)| !lines.is_empty());
    let copy = |(basket, lines)| BasketCopy { basket: basket_name(basket), lines, ..BasketCopy::default() };
    baskets.map(copy).collect()
}

fn write(baskets: &[BasketCopy]) -> Result<Vec<u8>> {
    let mut writer = PartWriter::new(Vec::new())?;
    baskets.iter().try_for_each(|basket| writer.basket(basket))?;
    Ok(writer.finish()?.0)
}

/// Decodes a part, and returns the number of its events.
fn load(part: &[u8]) -> Result<usize> {
    let (mut reader, mut events, mut entries) = (PartReader::new(part)?, 0, 0);
    while let Some(block) = reader.block()? {
        let Block::Baskets(baskets) = block else { continue };
        for basket in baskets {
            events += BasketCopy::into_events(basket, entries).count();
            entries += 1;
        }
    }
    Ok(events)
}
