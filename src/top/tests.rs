//! `top` over a source with scripted batches.

use super::*;
use crate::output::{Envelope, ListChange, OutputOptions, Records, RowKind, encode};
use deltacart_dataflows::Neighbour;
use deltacart_inputs::Fetched;

/// The batches of two partitions. An empty batch is a fetch that finds no records.
struct Script<'a> {
    batches: [Vec<Records>; 2],
    /// Set when everything has been read. Without it, the source ends then.
    stop: Option<&'a AtomicBool>,
}

impl Source for Script<'_> {
    fn partitions(&mut self) -> Result<Vec<u32>, SourceError> {
        Ok(vec![0, 1])
    }

    fn fetch(
        &mut self,
        partition: u32,
        _records_max: usize,
        each: &mut dyn FnMut(RawRecord<'_>),
    ) -> Result<Fetched, SourceError> {
        let batches = &mut self.batches[partition as usize];
        if batches.is_empty() {
            if let Some(stop) = self.stop {
                stop.store(true, Ordering::Relaxed);
            }
            return Ok(Fetched { ended: self.stop.is_none(), ..Fetched::default() });
        }
        let batch = batches.remove(0);
        for (offset, record) in (0..).zip(batch.iter()) {
            let (key, value) = (Some(record.key), record.value);
            each(RawRecord {
                partition,
                offset,
                key,
                value,
                headers: &[],
                timestamp: None,
                truncated: false,
            });
        }
        Ok(Fetched { records: batch.len(), ..Fetched::default() })
    }
}

/// The records of one change: the item's list goes from one neighbour to another, where `""` stands for no list.
fn change(item: &str, before: &str, after: &str) -> Records {
    let list = |other: &str| match other {
        "" => Vec::new(),
        _ => vec![Neighbour { item: other.into(), score: 500, count: 2 }],
    };
    let change = ListChange { item: item.into(), epoch: 1, before: list(before), after: list(after) };
    let mut records = Records::new();
    encode(
        &change,
        &OutputOptions { rows: RowKind::Item, envelope: Envelope::Upsert, scores: true, score_digits: 3 },
        &mut records,
    );
    records
}

/// In the end, the list of `a` is `y`, the list of `b` is `x`, and `c` has no list any more.
fn batches() -> [Vec<Records>; 2] {
    let first = vec![change("b", "", "x"), change("c", "", "x"), Records::new(), change("c", "x", "")];
    let second = vec![change("a", "", "x"), Records::new(), Records::new(), change("a", "x", "y")];
    [first, second]
}

fn run(mut source: Script<'_>, item: Option<&str>, follow: bool, limit: usize) -> (TopSummary, String) {
    let options = TopOptions { item: item.map(Name::from), follow, limit, sort: Sort::Support, json: false };
    let mut out = Vec::new();
    let never = AtomicBool::new(false);
    let stop = source.stop.unwrap_or(&never);
    let summary = top(&mut source, &options, stop, &mut out).unwrap();
    (summary, String::from_utf8(out).unwrap())
}

const HEADER: &str = "item  rank  neighbour  score  count\n";

#[test]
fn the_lists_at_the_end() {
    let (summary, text) = run(Script { batches: batches(), stop: None }, None, false, 20);
    assert_eq!(
        text,
        format!("{HEADER}a        1  y            0.5      2\nb        1  x            0.5      2\n")
    );
    assert_eq!(summary, TopSummary { records: 5, lists: 2, shown: 2, ..TopSummary::default() });
}

#[test]
fn fewer_than_there_are() {
    let (summary, text) = run(Script { batches: batches(), stop: None }, None, false, 1);
    assert_eq!(text, format!("{HEADER}a        1  y            0.5      2\n"));
    assert_eq!((summary.lists, summary.shown), (2, 1));
}

#[test]
fn one_item() {
    let (summary, text) = run(Script { batches: batches(), stop: None }, Some("b"), false, 20);
    assert_eq!(text, format!("{HEADER}b        1  x            0.5      2\n"));
    assert_eq!(summary, TopSummary { records: 5, lists: 1, shown: 1, ..TopSummary::default() });
    let (summary, text) = run(Script { batches: batches(), stop: None }, Some("c"), false, 20);
    assert_eq!((text.as_str(), summary.lists), ("", 0));
}

#[test]
fn lists_as_they_change() {
    let stop = AtomicBool::new(false);
    let (summary, text) = run(Script { batches: batches(), stop: Some(&stop) }, None, true, 20);
    let at_the_pause = "\
item  rank  neighbour  score  count
a        1  x            0.5      2
b        1  x            0.5      2
c        1  x            0.5      2
";
    let after_it = "  a           → +y 0.5  −x\n  c           → (no list any more)  −x\n";
    assert_eq!(text, format!("{at_the_pause}{after_it}"));
    assert_eq!(summary, TopSummary { records: 5, lists: 2, shown: 5, ..TopSummary::default() });
}

/// A list with larger counts comes first, whatever its id. As JSON, each list is a line.
#[test]
fn the_most_supported_come_first() {
    let list = |item: &str, count| {
        let after = vec![Neighbour { item: "x".into(), score: 500, count }];
        let change = ListChange { item: item.into(), epoch: 1, before: Vec::new(), after };
        let mut records = Records::new();
        let options =
            OutputOptions { rows: RowKind::Item, envelope: Envelope::Changes, scores: true, score_digits: 3 };
        encode(&change, &options, &mut records);
        records
    };
    let batches = || [vec![list("a", 2), list("b", 7)], vec![list("c", 7)]];
    for (sort, json, expected) in [
        (Sort::Support, true, vec!["b 7", "c 7"]),
        (Sort::Item, true, vec!["a 2", "b 7"]),
        (Sort::Support, false, vec!["b 7", "c 7"]),
    ] {
        let options = TopOptions { item: None, follow: false, limit: 2, sort, json };
        let mut out = Vec::new();
        let mut source = Script { batches: batches(), stop: None };
        let summary = top(&mut source, &options, &AtomicBool::new(false), &mut out).unwrap();
        assert_eq!((summary.lists, summary.shown), (3, 2));
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<String> = match json {
            true => text
                .lines()
                .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
                .map(|line| {
                    format!("{} {}", line["item"].as_str().unwrap(), line["recommendations"][0]["count"])
                })
                .collect(),
            false => text
                .lines()
                .skip(1)
                .map(|line| line.split_whitespace().collect::<Vec<_>>())
                .map(|words| format!("{} {}", words[0], words[4]))
                .collect(),
        };
        assert_eq!(lines, expected, "{text}");
    }
}

#[test]
fn stopped_at_once() {
    let stop = AtomicBool::new(true);
    let (summary, text) = run(Script { batches: batches(), stop: Some(&stop) }, None, false, 20);
    assert_eq!((summary.records, summary.interrupted), (2, true));
    assert!(text.starts_with(HEADER), "what was read is shown: {text}");
}

#[test]
fn other_records_are_skipped_and_counted() {
    struct Foreign;
    impl Source for Foreign {
        fn partitions(&mut self) -> Result<Vec<u32>, SourceError> {
            Ok(vec![0])
        }
        fn fetch(
            &mut self,
            partition: u32,
            _records_max: usize,
            each: &mut dyn FnMut(RawRecord<'_>),
        ) -> Result<Fetched, SourceError> {
            let value = Some(&b"not JSON"[..]);
            let (key, timestamp, truncated) = (None, None, false);
            each(RawRecord { partition, offset: 0, key, value, headers: &[], timestamp, truncated });
            Ok(Fetched { records: 1, ended: true, ..Fetched::default() })
        }
    }
    let options = TopOptions { item: None, follow: false, limit: 20, sort: Sort::Item, json: false };
    let summary = top(&mut Foreign, &options, &AtomicBool::new(false), &mut Vec::new()).unwrap();
    assert_eq!(summary, TopSummary { records: 1, unreadable: 1, ..TopSummary::default() });
}

#[test]
fn a_reader_that_left_is_an_end() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let options = TopOptions { item: None, follow: false, limit: 20, sort: Sort::Item, json: false };
    let mut source = Script { batches: batches(), stop: None };
    let summary = top(&mut source, &options, &AtomicBool::new(false), &mut Closed).unwrap();
    assert_eq!(summary.records, 5);
}
