//! Real data beside the workspace: every row is used, ignored or rejected, and the sums agree.

use crate::skipped::skip;
use crate::{decoder, record};
use deltacart_dataflows::{Action, Event};
use deltacart_inputs::{RawRecord, Reason};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;

/// What became of a file's records.
#[derive(Default)]
struct Tally {
    records: u64,
    headers: u64,
    used: u64,
    views: u64,
    events: Vec<Event>,
    rejects: BTreeMap<Reason, u64>,
}

/// The path of a file of real data, if it is there.
fn path(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data").join(name);
    if !path.exists() {
        skip(format_args!("{} is not there", path.display()));
        return None;
    }
    Some(path)
}

/// Decodes files of one record a line, each file a partition.
fn tally(flags: &str, files: impl IntoIterator<Item = Box<dyn Read>>) -> Tally {
    let mut decoder = decoder(flags);
    let mut tally = Tally::default();
    for (partition, file) in files.into_iter().enumerate() {
        for (offset, line) in BufReader::new(file).split(b'\n').enumerate() {
            let line = line.unwrap();
            let record = RawRecord { partition: partition as u32, ..record(offset as u64, &line) };
            tally.records += 1;
            match decoder.decode(&record, &mut tally.events) {
                Ok(decoded) if decoded.header => tally.headers += 1,
                Ok(decoded) if decoded.views == 1 => tally.views += 1,
                Ok(_) => tally.used += 1,
                Err(reject) => *tally.rejects.entry(reject.reason).or_default() += 1,
            }
        }
    }
    tally
}

fn baskets(tally: &Tally) -> usize {
    tally.events.iter().map(|event| &event.basket).collect::<BTreeSet<_>>().len()
}

#[test]
fn online_retail() {
    let Some(path) = path("online-retail.csv.gz") else { return };
    let open = || -> [Box<dyn Read>; 1] {
        [Box::new(flate2::read::MultiGzDecoder::new(std::fs::File::open(&path).unwrap()))]
    };
    let by_order = tally("--format online-retail", open());
    assert_eq!((by_order.records, by_order.headers, by_order.used), (541_910, 1, 541_909));
    assert_eq!(by_order.rejects, BTreeMap::new());
    assert_eq!(baskets(&by_order), 25_900);
    let refunds = by_order.events.iter().filter(|event| matches!(event.action, Action::Refund(..))).count();
    assert_eq!(refunds, 10_624);

    let by_user = tally("--format online-retail --basket user", open());
    assert_eq!(by_user.rejects, BTreeMap::from([(Reason::MissingBasket, 135_080)]));
    assert_eq!(by_user.used + 135_080, 541_909);
    assert_eq!(baskets(&by_user), 4_372);
    assert!(by_user.events.iter().all(|event| event.user.as_ref() == Some(&event.basket)));
    assert!(by_user.events.iter().all(|event| event.basket.bytes().all(|b| b.is_ascii_digit())));
}

#[test]
fn rees46() {
    let months = ["2022_oct", "2022_nov", "2022_dec", "2023_jan", "2023_feb"];
    let paths: Option<Vec<PathBuf>> =
        months.iter().map(|month| path(&format!("rees46-cosmetics/data_{month}.csv"))).collect();
    let Some(paths) = paths else { return };
    let open = || paths.iter().map(|path| Box::new(std::fs::File::open(path).unwrap()) as Box<dyn Read>);
    for flags in ["--format rees46", "--format rees46 --basket user"] {
        let tally = tally(flags, open());
        assert_eq!((tally.records, tally.headers), (5_000, 5));
        assert_eq!((tally.views, tally.used), (2_321, 1_300 + 1_051 + 323));
        assert_eq!(tally.rejects, BTreeMap::new());
    }
}

#[test]
fn fimi_retail() {
    let Some(path) = path("retail.dat") else { return };
    let tally = tally("--format fimi", [Box::new(std::fs::File::open(path).unwrap()) as Box<dyn Read>]);
    assert_eq!((tally.records, tally.used), (88_162, 88_162));
    assert_eq!(tally.events.len(), 908_576);
    assert_eq!(baskets(&tally), 88_162);
    let items: BTreeSet<_> = tally.events.iter().filter_map(|event| event.action.item()).collect();
    assert_eq!(items.len(), 16_470);
}
