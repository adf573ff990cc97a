//! The sources of workloads: three public data sets, and a synthetic shop.
//!
//! | source | what | a basket is |
//! |---|---|---|
//! | `retail` | FIMI retail, a Belgian supermarket, in the order of the file | a receipt |
//! | `journey` | Complete Journey, a year of a grocery chain, by time | a receipt |
//! | `households` | Complete Journey again | a household: few, and up to thousands of items |
//! | `online-retail` | Online Retail, a year of invoices, cancellations among them, by time | a customer |
//! | `zipf` | the generator: 1,000,000 items, Zipf's exponent 1, 3 removes to 7 adds | a session |

use super::workload::Change;
use anyhow::{Context, Result, bail};
use deltacart_inputs::generate::{CartAction, Shop, ShopSettings};
use std::collections::HashMap;
use std::fs::File;
use std::hash::Hash;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// The names of all sources.
pub(crate) const SOURCES: [&str; 5] = ["retail", "journey", "households", "online-retail", "zipf"];

/// The number of events of the generator.
const ZIPF_EVENTS: u64 = 2_000_000;

/// All changes of a source. If its file is missing, the result is `None`, and a line says why.
pub(crate) fn read(source: &str, data: &[PathBuf]) -> Result<Option<Vec<Change>>> {
    let (file, hint) = match source {
        "retail" => ("retail.dat", "FIMI retail, see docs/benchmarks.md"),
        "journey" | "households" => ("complete-journey.csv", "run scripts/fetch-data"),
        "online-retail" => ("online-retail.csv.gz", "Online Retail, see docs/benchmarks.md"),
        "zipf" => return zipf().map(Some),
        _ => bail!("unknown workload {source}; known are {}", SOURCES.join(", ")),
    };
    let Some(path) = data.iter().map(|folder| folder.join(file)).find(|path| path.exists()) else {
        eprintln!("skipped: {source}: {file} is in none of the folders of data ({hint})");
        return Ok(None);
    };
    let changes = match source {
        "retail" => retail(&path),
        "journey" => journey(&path, "basket_id"),
        "households" => journey(&path, "household_id"),
        _ => online_retail(&path),
    };
    changes.map(Some).with_context(|| format!("cannot read {}", path.display()))
}

/// Converts signed quantities to changes. The quantity of a line is at least 0, and the line is an interaction while
/// it is above 0.
struct Quantities<B, I> {
    baskets: HashMap<B, u32>,
    items: HashMap<I, u32>,
    quantities: HashMap<(u32, u32), u64>,
    changes: Vec<Change>,
}

impl<B: Hash + Eq, I: Hash + Eq> Quantities<B, I> {
    fn new() -> Self {
        Quantities {
            baskets: HashMap::new(),
            items: HashMap::new(),
            quantities: HashMap::new(),
            changes: Vec::new(),
        }
    }

    fn update(&mut self, basket: B, item: I, new: impl FnOnce(u64) -> u64) {
        let (baskets, items) = (self.baskets.len() as u32, self.items.len() as u32);
        let basket = *self.baskets.entry(basket).or_insert(baskets);
        let item = *self.items.entry(item).or_insert(items);
        let quantity = self.quantities.entry((basket, item)).or_default();
        let before = std::mem::replace(quantity, new(*quantity));
        if (before > 0) != (*quantity > 0) {
            self.changes.push(Change { basket, item, comes: *quantity > 0 });
        }
    }
}

/// Reads one basket per line: item numbers separated by blanks.
fn retail(path: &Path) -> Result<Vec<Change>> {
    let mut lines = Quantities::new();
    for (basket, line) in (0u32..).zip(BufReader::new(File::open(path)?).lines()) {
        for word in line?.split_whitespace() {
            let item: u32 = word.parse().with_context(|| format!("{word} is no item number"))?;
            lines.update(basket, item, |_quantity| 1);
        }
    }
    Ok(lines.changes)
}

/// Reads the file of `scripts/fetch-data`: one purchased line per row, by time.
fn journey(path: &Path, basket: &str) -> Result<Vec<Change>> {
    let mut rows = csv::Reader::from_reader(BufReader::new(File::open(path)?));
    let [basket, item] = columns(rows.headers()?, [basket, "product_id"])?;
    let mut lines = Quantities::new();
    let mut row = csv::StringRecord::new();
    while rows.read_record(&mut row)? {
        let number = |column: usize| row[column].parse::<u64>().context("an id that is no number");
        lines.update(number(basket)?, number(item)?, |_quantity| 1);
    }
    Ok(lines.changes)
}

/// Reads invoices with signed quantities. Rows without a customer are left out.
fn online_retail(path: &Path) -> Result<Vec<Change>> {
    let unpacked: Box<dyn Read> = Box::new(flate2::read::MultiGzDecoder::new(File::open(path)?));
    let mut rows = csv::Reader::from_reader(BufReader::new(unpacked));
    let [customer, item, quantity] = columns(rows.headers()?, ["CustomerID", "StockCode", "Quantity"])?;
    let mut lines = Quantities::new();
    // The text of this data set is Latin-1.
    let mut row = csv::ByteRecord::new();
    while rows.read_byte_record(&mut row)? {
        if !row[customer].is_empty() {
            let quantity: i64 = std::str::from_utf8(&row[quantity])?.parse()?;
            let sum = |before: u64| before.saturating_add_signed(quantity);
            lines.update(row[customer].to_vec(), row[item].to_vec(), sum);
        }
    }
    Ok(lines.changes)
}

fn columns<const N: usize>(header: &csv::StringRecord, names: [&str; N]) -> Result<[usize; N]> {
    let mut places = [0; N];
    for (place, name) in places.iter_mut().zip(names) {
        let found = header.iter().position(|column| column == name);
        *place = found.with_context(|| format!("there is no column {name}"))?;
    }
    Ok(places)
}

/// The adds, removes and sets of the generator. The few carts that are emptied at the end are not emptied here.
fn zipf() -> Result<Vec<Change>> {
    let settings = ShopSettings {
        items: 1_000_000,
        users: 1_000_000,
        zipf_exponent: 1.0,
        lines_per_basket: 10.0,
        // Some removes take one of several units, and have no effect here. Of the changes with an effect, 3 of 10 are
        // removes.
        removes_per_add: 0.46,
        stray_share: 0.0,
        purchases_per_add: 0.0,
        events: Some(ZIPF_EVENTS),
        ..ShopSettings::default()
    };
    let mut lines = Quantities::new();
    for event in Shop::new(settings)? {
        let basket = event.basket;
        match event.action {
            CartAction::Add(line) => {
                lines.update(basket, line.item.rank(), |before| before + u64::from(line.quantity));
            }
            CartAction::Set(line) => lines.update(basket, line.item.rank(), |_before| line.quantity.into()),
            CartAction::Remove { item, quantity } => lines.update(basket, item.rank(), |before| {
                quantity.map_or(0, |quantity| before.saturating_sub(quantity.into()))
            }),
            _ => {}
        }
    }
    Ok(lines.changes)
}
