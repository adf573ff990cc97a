//! Orders of a shop, by time: what was bought together, by whom and when.

use anyhow::{Context, Result, bail};
use deltacart_dataflows::{Action, Event, Millis, Name, Position, route};
use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

/// One order.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    /// Its id.
    pub(crate) id: Name,
    /// Who bought.
    pub(crate) user: Option<Name>,
    /// When its first line was bought.
    pub(crate) time: Millis,
    /// The place of its first line in the file.
    pub(crate) offset: u64,
    /// What was bought, in the order of the file, each item once.
    pub(crate) items: Vec<Name>,
}

impl Order {
    /// The events of the order: a purchase of each item.
    pub(crate) fn events(&self) -> impl Iterator<Item = Event> {
        (0..).zip(&self.items).map(|(index, item)| Event {
            position: Position { offset: self.offset, index, ..Position::default() },
            basket: self.id.clone(),
            user: self.user.clone(),
            time: self.time,
            action: Action::Purchase(item.clone(), 1),
        })
    }

    /// One item, chosen by a hash of the order's id, and the others, the last one first.
    pub(crate) fn hide(&self) -> (Name, Vec<Name>) {
        let hidden = (route(&self.id) % self.items.len() as u64) as usize;
        let others = self.items.iter().enumerate().filter(|&(place, _item)| place != hidden);
        let mut others: Vec<Name> = others.map(|(_place, item)| item.clone()).collect();
        others.reverse();
        (self.items[hidden].clone(), others)
    }
}

/// The orders of a source by time, and how many of its last days are for tests. `None` if its file is missing.
pub(crate) fn read(source: &str, data: &[PathBuf]) -> Result<Option<(Vec<Order>, u64)>> {
    let (file, days) = match source {
        "online-retail" => ("online-retail.csv.gz", 14),
        "journey" => ("complete-journey.csv", 7),
        _ => bail!("unknown workload {source}; known are online-retail, journey"),
    };
    let Some(path) = data.iter().map(|folder| folder.join(file)).find(|path| path.exists()) else {
        eprintln!("skipped: {source}: {file} is in none of the folders of data");
        return Ok(None);
    };
    let lines = if days == 14 { online_retail(&path) } else { journey(&path) };
    let lines = lines.with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Some((orders(lines), days)))
}

/// Parts orders by time: those before the last `days`, and those of at least two items after.
pub(crate) fn split(mut orders: Vec<Order>, days: u64) -> (Vec<Order>, Vec<Order>) {
    let last = orders.iter().map(|order| order.time).max().unwrap_or(0);
    let from = (last / DAY + 1 - days) * DAY;
    let mut test: Vec<Order> = orders.extract_if(.., |order| order.time >= from).collect();
    test.retain(|order| order.items.len() >= 2);
    (orders, test)
}

const DAY: Millis = 24 * 3_600_000;

/// A line: order, user, time, item.
type Line = (Name, Option<Name>, Millis, Name);

/// Puts the lines of each order together, in the order of first lines.
fn orders(lines: Vec<Line>) -> Vec<Order> {
    let (mut orders, mut places): (Vec<Order>, HashMap<Name, usize>) = Default::default();
    for (offset, (id, user, time, item)) in (0..).zip(lines) {
        let place = *places.entry(id.clone()).or_insert_with(|| {
            orders.push(Order { id, user, time, offset, items: Vec::new() });
            orders.len() - 1
        });
        let items = &mut orders[place].items;
        if !items.contains(&item) {
            items.push(item);
        }
    }
    orders.sort_by_key(|order| order.time);
    orders
}

fn journey(path: &Path) -> Result<Vec<Line>> {
    let mut rows = csv::Reader::from_reader(BufReader::new(File::open(path)?));
    let mut lines = Vec::new();
    for row in rows.records() {
        let row = row?;
        lines.push((row[0].into(), Some(row[1].into()), millis(&row[4])?, row[2].into()));
    }
    Ok(lines)
}

/// Rows that are no cancellation. Some have no customer.
fn online_retail(path: &Path) -> Result<Vec<Line>> {
    let unpacked = flate2::read::MultiGzDecoder::new(File::open(path)?);
    let mut rows = csv::Reader::from_reader(BufReader::new(unpacked));
    let mut lines = Vec::new();
    // The text of this data set is Latin-1.
    for row in rows.byte_records() {
        let row = row?;
        let text = |column: usize| String::from_utf8_lossy(&row[column]).into_owned();
        if row[0].starts_with(b"C") || row[3].starts_with(b"-") {
            continue;
        }
        let user = (!row[6].is_empty()).then(|| text(6).into());
        lines.push((text(0).into(), user, millis(&text(4))?, text(1).into()));
    }
    Ok(lines)
}

/// A time such as 2011-12-09 12:50:00, in UTC.
fn millis(text: &str) -> Result<Millis> {
    let time: jiff::civil::DateTime = text.parse().with_context(|| format!("{text} is no time"))?;
    Ok(time.to_zoned(jiff::tz::TimeZone::UTC)?.timestamp().as_millisecond() as Millis)
}
