//! The demo itself for a few seconds, and its output line by line.

use super::screen::{Block, Screen};
use super::*;
use crate::top::{ChangedList, Watched};
use deltacart_inputs::RawRecord;

static NEVER: AtomicBool = AtomicBool::new(false);

fn shown(options: &DemoOptions, stop: &AtomicBool) -> (DemoSummary, String, Duration) {
    let began = Instant::now();
    let mut out = Vec::new();
    let summary = demo(options, stop, &mut out).unwrap();
    (summary, String::from_utf8(out).unwrap(), began.elapsed())
}

#[test]
fn demo_shows_lists_changing() {
    let (summary, text, elapsed) = shown(&DemoOptions { seconds: Some(3), ..DemoOptions::default() }, &NEVER);
    assert!(elapsed < Duration::from_secs(30), "took {elapsed:?}");
    let lists = text.lines().filter(|line| line.contains(" → ")).count() as u64;
    assert!(lists > 0 && lists == summary.shown, "{text}");
    assert!(text.lines().filter(|line| line.contains(" events in · ")).count() >= 2, "{text}");
    assert!(text.contains(" · +"), "some item enters some list\n{text}");
    assert!(!text.contains('\x1b'), "plain lines where there is no terminal");
    assert!(summary.shop.events > HEAD_START, "{summary:?}");
    let count = |counter| summary.job.tally.get(&counter);
    assert!(count(Counter::Records) > 0 && count(Counter::Events) > 0, "{summary:?}");
    assert_eq!(summary.job.tally.rejects().count(), 0);
    assert_eq!(summary.changes, count(Counter::RecordsOut), "the reader has read what the job wrote");
    assert!(text.trim_end().ends_with(&summary.job.to_string()), "{text}");
}

#[test]
fn a_stop_ends_it() {
    let stop = AtomicBool::new(false);
    let options = DemoOptions { is_terminal: true, ..DemoOptions::default() };
    let (_summary, text, elapsed) = thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(2_500));
            stop.store(true, Ordering::Relaxed);
        });
        shown(&options, &stop)
    });
    assert!(elapsed < Duration::from_secs(30), "took {elapsed:?}");
    assert!(text.contains("\x1b["), "{text}");
}

#[test]
fn a_reader_that_left_ends_it() {
    struct Gone;
    impl Write for Gone {
        fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let summary = demo(&DemoOptions::default(), &NEVER, &mut Gone).unwrap();
    assert_eq!(summary.shown, 0);
}

#[test]
fn impossible_options() {
    for rate in [0.0, 0.5, f64::NAN, f64::INFINITY, 5_001.0] {
        let error = DemoOptions { rate, ..DemoOptions::default() }.validate().unwrap_err();
        assert!(matches!(error, DemoError::Rate(_)), "{rate}");
    }
    for k in [0, 21] {
        let error = DemoOptions { k, ..DemoOptions::default() }.validate().unwrap_err();
        assert_eq!(error, DemoError::ListLength(k));
    }
    assert_eq!(DemoOptions::default().validate(), Ok(()));
}

/// Folds records of lists, each given as its item and its neighbours with their scores.
fn take(held: &mut Watched, records: &[(&str, &[(&str, f64)])]) {
    for (item, entries) in records {
        let rows: Vec<String> = entries
            .iter()
            .map(|(item, score)| {
                let item = serde_json::to_string(item).unwrap();
                format!(r#"{{"item":{item},"score":{score},"count":2}}"#)
            })
            .collect();
        let value = format!(
            r#"{{"version":1,"item":"{item}","epoch":1,"recommendations":[{}],"changes":{{}}}}"#,
            rows.join(",")
        );
        held.take(&record(item, Some(&value))).unwrap();
    }
}

fn record<'a>(key: &'a str, value: Option<&'a str>) -> RawRecord<'a> {
    RawRecord {
        partition: 0,
        offset: 0,
        key: Some(key.as_bytes()),
        value: value.map(str::as_bytes),
        headers: &[],
        timestamp: None,
        truncated: false,
    }
}

fn items(changed: &[ChangedList]) -> Vec<&str> {
    changed.iter().map(|list| list.item.as_str()).collect()
}

#[test]
fn other_members_come_first_then_the_last_changed() {
    let mut held = Watched::default();
    take(&mut held, &[("a", &[("x", 0.5)]), ("b", &[("x", 0.5)]), ("c", &[("x", 0.5)])]);
    assert_eq!(items(&held.take_changed()), ["c", "b", "a"]);
    assert_eq!(held.take_changed(), []);
    let both: &[(&str, f64)] = &[("x", 0.5), ("y", 0.25)];
    take(&mut held, &[("a", both), ("b", &[("x", 0.75)]), ("c", &[("x", 0.4)]), ("c", &[("x", 0.5)])]);
    // `c` is as it was shown, so it has not changed.
    let changed = held.take_changed();
    assert_eq!(items(&changed), ["a", "b"]);
    assert!(changed[0].is_new("y") && !changed[0].is_new("x"));
    take(&mut held, &[("a", &[("z", 0.5)])]);
    held.take(&record("b", None)).unwrap();
    held.take(&record("b", Some("no list"))).unwrap_err();
    let changed = held.take_changed();
    assert_eq!(items(&changed), ["b", "a"]);
    assert_eq!(changed[0].after, []);
    assert_eq!(changed[1].left().collect::<Vec<_>>(), ["x", "y"]);
    assert_eq!((held.lists().len(), held.records()), (2, 10));
}

fn written(is_terminal: bool, blocks: &[Block]) -> String {
    let mut out = Vec::new();
    let mut screen = Screen::new(&mut out, is_terminal);
    blocks.iter().for_each(|block| screen.show(block).unwrap());
    String::from_utf8(out).unwrap()
}

#[test]
fn a_block_says_what_entered_and_what_left() {
    let mut held = Watched::default();
    take(&mut held, &[("tea-3", &[("cup-4", 0.4), ("bed-40", 0.125)]), ("pen-9", &[("cup-4", 1.0)])]);
    held.take_changed();
    take(&mut held, &[("tea-3", &[("cup-4", 0.412), ("\u{1b}[2J", 0.3)])]);
    held.take(&record("pen-9", None)).unwrap();
    let changed = held.take_changed();
    let block = Block { elapsed: Duration::from_millis(2_900), events: 7, changes: 4, lists: 1, changed };
    let expected = "\
2 s · 7 events in · 4 list changes out · 1 items have a list
  pen-9       → (no list any more)  −cup-4
  tea-3       → cup-4 0.412 · +\\u{1b}[2J 0.300  −bed-40
";
    assert_eq!(written(false, std::slice::from_ref(&block)), expected);
    let on_terminal = written(true, &[block.clone(), Block { changed: vec![], ..block }]);
    assert!(
        on_terminal.contains("\x1b[32m+\\u{1b}[2J 0.300\x1b[0m\x1b[31m  −bed-40\x1b[0m\n"),
        "{on_terminal:?}"
    );
    // The second block is written over the three lines of the first.
    assert_eq!(on_terminal.matches("\x1b[3A\x1b[J").count(), 1, "{on_terminal:?}");
    assert_eq!(on_terminal.matches("\x1b[?7l").count(), on_terminal.matches("\x1b[?7h").count());
}
