//! Tests of the publishing operator with a sink that remembers.
//!
//! Whatever the consumer state and the computed lists are, and whenever publishing begins, consumers see each list
//! once and end with the computed lists.

use super::list_changes::Update;
use super::*;
use crate::first_error::FirstError;
use crate::output::consumer_state::read_consumer_record;
use crate::output::{Delivery, Envelope, OutputOptions, Records, RowKind, Sent, Sink, SinkError};
use deltacart_dataflows::Neighbour;
use differential_dataflow::AsCollection;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::time::Instant;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::operators::{Input, Probe};
use timely::dataflow::{InputHandle, ProbeHandle};

/// The keys and values that a sink has taken, by stream.
type Seen = Rc<RefCell<[Vec<KeyValue>; 2]>>;

/// A sink that must be polled several times before an epoch is delivered. It takes more epochs meanwhile.
#[derive(Default)]
struct Remembering {
    seen: Seen,
    epochs: usize,
    asked: usize,
}

impl Sink for Remembering {
    fn send(&mut self, stream: StreamNumber, records: &mut Records) -> Result<(), SinkError> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        if let Some(record) = records.front() {
            self.seen.borrow_mut()[stream].push((text(record.key), record.value.map(text)));
            records.pop();
        }
        Ok(())
    }

    fn poll(&mut self) -> Result<Delivery, SinkError> {
        self.asked += 1;
        if self.asked.is_multiple_of(3) {
            self.epochs = self.epochs.saturating_sub(1);
        }
        Ok(Delivery { records: 0, epochs: self.epochs })
    }

    fn close_epoch(&mut self, _epoch: Epoch) -> Result<(), SinkError> {
        self.epochs += 1;
        Ok(())
    }

    fn sent(&self) -> Sent {
        Sent::default()
    }
}

/// The number added to the epochs of the resumed run.
const BASE: Epoch = 4;

const ITEMS: [&str; 3] = ["a", "b", "c"];
const OPTIONS: OutputOptions =
    OutputOptions { rows: RowKind::Item, envelope: Envelope::Upsert, scores: true, score_digits: 2 };

/// One of few possible lists: empty for score 0, else one neighbour with this score.
fn list(score: u8) -> List {
    let neighbour = Neighbour { item: "other".into(), score: score.into(), count: 1 };
    if score == 0 { List::new() } else { vec![neighbour] }
}

fn record(item: &str, score: u8) -> ConsumerRecord {
    let score = f64::from(score) / 100.0;
    let value = format!(
        r#"{{"version":1,"item":"{item}","epoch":3,"recommendations":[{{"item":"other","score":{score},"count":1}}]}}"#
    );
    read_consumer_record(0, Some(item.as_bytes()), Some(value.as_bytes())).unwrap().0
}

fn every_epoch() -> Rc<Cadence> {
    Rc::new(Cadence::new(None, Instant::now()))
}

/// The lists as stream 0, which resumes or does not.
fn lists_stream(resumes: bool) -> Publication {
    Publication { number: 0, publisher: Publisher::Each, resumes, keeps_order: true }
}

/// A log of numbers in two lanes, as stream 1. The value of a record is its epoch.
struct Numbers;

impl LogFormat for Numbers {
    type Record = u64;
    type Lane = u64;
    type Place = u64;

    const REPEATS: bool = true;

    fn place(&self, record: &u64) -> Option<(u64, u64)> {
        Some((record % 2, *record))
    }

    fn route(lane: &u64) -> u64 {
        *lane
    }

    fn encode(&self, record: &u64, epoch: Epoch, records: &mut Records) {
        records.push_value(record.to_string().as_bytes(), epoch.to_string().as_bytes());
    }

    fn read(&self, _value: &[u8]) -> anyhow::Result<(Epoch, Option<(u64, u64)>)> {
        anyhow::bail!("numbers are not read back from bytes")
    }
}

fn writer(seen: &Seen) -> EpochWriter {
    let sink = Remembering { seen: Rc::clone(seen), ..Remembering::default() };
    EpochWriter::new(Some(Box::new(sink)), Rc::default(), FirstError::default())
}

/// A random run. Each epoch names the items whose lists it replaces.
#[derive(Clone, Debug)]
struct Run {
    consumer_state: Vec<u8>,
    epochs: Vec<Vec<(usize, u8)>>,
    /// The epoch after which the job learns that it has caught up, and the epoch that it had caught up at.
    known_after: usize,
    caught_up: usize,
    /// The shortest time between two sends, and the duration of each epoch, in milliseconds.
    every: Option<u64>,
    took: Vec<u64>,
}

fn any_run() -> impl Strategy<Value = Run> {
    let epoch = prop::collection::vec((0..ITEMS.len(), 0..3_u8), 0..4);
    let parts = (prop::collection::vec(0..3_u8, ITEMS.len()), prop::collection::vec(epoch, 1..12));
    let times = (prop::option::of(1..9_u64), prop::collection::vec(0..4_u64, 12));
    (parts, any::<prop::sample::Index>(), any::<prop::sample::Index>(), times).prop_map(
        |((consumer_state, epochs), known_after, caught_up, (every, took))| {
            let known_after = known_after.index(epochs.len());
            Run {
                caught_up: caught_up.index(known_after + 1),
                consumer_state,
                epochs,
                known_after,
                every,
                took,
            }
        },
    )
}

/// A record as a consumer sees it. One without a value is a tombstone.
type KeyValue = (String, Option<String>);

/// Plays a run. Returns the records that a consumer sees, and all lists at the end of each epoch.
fn play(run: Run) -> (Vec<KeyValue>, Vec<Vec<List>>) {
    timely::execute_directly(move |worker| {
        let seen = Seen::default();
        let resumption = Rc::<Resumption>::default();
        let (mut lists, mut consumer_state) = (
            InputHandle::<Epoch, CapacityContainerBuilder<Vec<Update>>>::new(),
            InputHandle::<Epoch, CapacityContainerBuilder<Vec<ConsumerRecord>>>::new(),
        );
        let out = ProbeHandle::new();
        let begin = Some(Rc::clone(&resumption));
        let mut time = Instant::now();
        let cadence = Rc::new(Cadence::new(run.every.map(Duration::from_millis), time));
        let (clock, taken) = (Rc::clone(&cadence), ProbeHandle::new());
        worker.dataflow(|scope| {
            let lists = scope.input_from(&mut lists).as_collection();
            let consumer_state = scope.input_from(&mut consumer_state);
            let mut publish = Publish::new(scope, &Rc::default());
            publish.table(lists_stream(true), OPTIONS, cadence, lists, consumer_state);
            let published = publish.build(begin, writer(&seen));
            published.delivered.probe_with(&out);
            published.accepted.probe_with(&taken);
        });
        for (item, score) in ITEMS.iter().zip(&run.consumer_state).filter(|(_item, score)| **score > 0) {
            consumer_state.send(record(item, *score));
        }
        consumer_state.close();
        let (mut now, mut history) = (vec![List::new(); ITEMS.len()], Vec::new());
        for (epoch, changes) in run.epochs.iter().enumerate() {
            let before = now.clone();
            changes.iter().for_each(|(item, score)| now[*item] = list(*score));
            for (item, (before, after)) in before.into_iter().zip(&now).enumerate() {
                let name = Name::from(ITEMS[item]);
                if before != *after {
                    let went = (!before.is_empty()).then(|| ((name.clone(), before), epoch as Epoch, -1));
                    let came = (!after.is_empty()).then(|| ((name, after.clone()), epoch as Epoch, 1));
                    went.into_iter().chain(came).for_each(|update| lists.send(update));
                }
            }
            lists.advance_to(epoch as Epoch + 1);
            history.push(now.clone());
            time += Duration::from_millis(run.took[epoch]);
            clock.turn(time);
            // One step runs the operator; the others bring its progress to the probe.
            (0..4).for_each(|_| {
                worker.step();
            });
            assert!(epoch >= run.known_after || seen.borrow()[0].is_empty(), "published while catching up");
            assert!(epoch >= run.known_after || !out.less_than(&(epoch as Epoch)), "reading is held up");
            if epoch == run.known_after {
                resumption.know(BASE);
                resumption.begin(Begin::At(run.caught_up as Epoch));
            }
        }
        lists.close();
        worker.step_while(|| !out.done());
        assert!(resumption.is_published() && taken.done());
        let [lists, _log] = seen.take();
        (lists, history)
    })
}

proptest! {
    #[test]
    fn consumers_see_each_list_once_and_end_with_what_is_computed(run in any_run()) {
        let mut shown: BTreeMap<String, (u64, String)> = BTreeMap::new();
        for (item, score) in ITEMS.iter().zip(&run.consumer_state).filter(|(_item, score)| **score > 0) {
            shown.insert((*item).to_owned(), (3, text(&list(*score))));
        }
        let (seen, history) = play(run.clone());
        let mut told = BTreeSet::new();
        for (key, value) in seen {
            let before = shown.get(&key).cloned();
            let Some(value) = value else {
                prop_assert!(shown.remove(&key).is_some(), "{} is taken away and was not there", key);
                continue;
            };
            let value: serde_json::Value = serde_json::from_str(&value).unwrap();
            let (epoch, list) = (value["epoch"].as_u64().unwrap(), value["recommendations"].to_string());
            let at = ITEMS.iter().position(|item| *item == key).unwrap();
            prop_assert_eq!(&list, &text(&history[(epoch - BASE) as usize][at]), "{} at epoch {}", key, epoch);
            told.insert(epoch);
            if let Some((epoch_before, list_before)) = before {
                prop_assert!(epoch > epoch_before && list != list_before, "{} {} {}", key, epoch, list);
            }
            shown.insert(key, (epoch, list));
        }
        for (item, list) in ITEMS.iter().zip(&history[history.len() - 1]) {
            let shown = shown.get(*item).map_or_else(String::new, |(_epoch, list)| list.clone());
            prop_assert_eq!(shown, text(list));
        }
        if let Some(every) = run.every {
            // The difference, then one send per period, and the rest at the end.
            let times = 2 + run.took[run.known_after..run.epochs.len()].iter().sum::<u64>() / every;
            prop_assert!(told.len() as u64 <= times, "lists leave at {:?}, and there was time for {}", told, times);
        }
    }
}

/// A job that is stopped before it has caught up publishes nothing, and finishes.
#[test]
fn nothing_is_published_that_is_not_caught_up() {
    timely::execute_directly(|worker| {
        let seen = Seen::default();
        let resumption = Rc::<Resumption>::default();
        let mut lists = InputHandle::<Epoch, CapacityContainerBuilder<Vec<Update>>>::new();
        let mut consumer_state = InputHandle::<Epoch, CapacityContainerBuilder<Vec<ConsumerRecord>>>::new();
        let out = ProbeHandle::new();
        let begin = Some(Rc::clone(&resumption));
        worker.dataflow(|scope| {
            let lists = scope.input_from(&mut lists).as_collection();
            let consumer_state = scope.input_from(&mut consumer_state);
            let mut publish = Publish::new(scope, &Rc::default());
            publish.table(lists_stream(true), OPTIONS, every_epoch(), lists, consumer_state);
            publish.build(begin, writer(&seen)).delivered.probe_with(&out);
        });
        consumer_state.send(record("a", 1));
        lists.send((("b".into(), list(1)), 0, 1));
        lists.advance_to(1);
        consumer_state.close();
        (0..9).for_each(|_| {
            worker.step();
        });
        assert!(!out.done());
        resumption.begin(Begin::Never);
        worker.step();
        // Updates that were in flight still arrive.
        lists.send((("b".into(), list(1)), 1, -1));
        lists.send((("b".into(), list(2)), 1, 1));
        lists.close();
        worker.step_while(|| !out.done());
        assert!(seen.borrow()[0].is_empty() && !resumption.is_published());
    });
}

/// Held-back changes do not bound the work ahead, and are not delivered until they are sent. The worker's clock
/// decides.
#[test]
fn lists_that_wait_hold_up_no_epoch() {
    timely::execute_directly(|worker| {
        let seen = Seen::default();
        let mut lists = InputHandle::<Epoch, CapacityContainerBuilder<Vec<Update>>>::new();
        let mut consumer_state = InputHandle::<Epoch, CapacityContainerBuilder<Vec<ConsumerRecord>>>::new();
        let (out, taken, start) = (ProbeHandle::new(), ProbeHandle::new(), Instant::now());
        let cadence = Rc::new(Cadence::new(Some(Duration::from_secs(10)), start));
        let clock = Rc::clone(&cadence);
        worker.dataflow(|scope| {
            let lists = scope.input_from(&mut lists).as_collection();
            let consumer_state = scope.input_from(&mut consumer_state);
            let mut publish = Publish::new(scope, &Rc::default());
            publish.table(lists_stream(false), OPTIONS, cadence, lists, consumer_state);
            let published = publish.build(None, writer(&seen));
            published.delivered.probe_with(&out);
            published.accepted.probe_with(&taken);
        });
        consumer_state.close();
        for score in 1..4 {
            let epoch = Epoch::from(score) - 1;
            if score > 1 {
                lists.send((("a".into(), list(score - 1)), epoch, -1));
            }
            lists.send((("a".into(), list(score)), epoch, 1));
            lists.advance_to(epoch + 1);
            (0..20).for_each(|_| {
                worker.step();
            });
        }
        let epochs = |seen: &Seen| -> Vec<u64> {
            let value = |(_key, value): &(String, Option<String>)| value.clone().unwrap();
            let epoch =
                |value: String| serde_json::from_str::<serde_json::Value>(&value).unwrap()["epoch"].as_u64();
            seen.borrow()[0].iter().map(value).filter_map(epoch).collect()
        };
        assert_eq!(epochs(&seen), [0], "a change after a quiet time leaves at once, the next ones wait");
        assert!(!taken.less_than(&3) && out.less_than(&2) && !out.less_than(&1));
        assert_eq!(clock.turn(start + Duration::from_secs(4)), Some(Duration::from_secs(6)));
        (0..20).for_each(|_| {
            worker.step();
        });
        assert_eq!(epochs(&seen), [0]);
        clock.turn(start + Duration::from_secs(10));
        worker.step_while(|| out.less_than(&3));
        assert_eq!(epochs(&seen), [0, 2], "the newest state, at the epoch at which it is exact");
        // At the end held-back changes are sent, and changes that cancel leave no record.
        lists.send((("a".into(), list(3)), 3, -1));
        lists.advance_to(4);
        (0..20).for_each(|_| {
            worker.step();
        });
        lists.send((("a".into(), list(3)), 4, 1));
        lists.send((("b".into(), list(1)), 4, 1));
        lists.close();
        worker.step_while(|| !out.done());
        assert_eq!(epochs(&seen), [0, 2, 4]);
        assert_eq!(seen.borrow()[0].last().unwrap().0, "b");
    });
}

/// A log is published while a table catches up, as soon as the log has been read back: each record once, in the order
/// of its lane, with the epoch that it belongs to.
#[test]
fn a_log_goes_on_behind_its_end_and_waits_for_no_table() {
    timely::execute_directly(|worker| {
        let (seen, resumption) = (Seen::default(), Rc::<Resumption>::default());
        let mut lists = InputHandle::<Epoch, CapacityContainerBuilder<Vec<Update>>>::new();
        let mut consumer_state = InputHandle::<Epoch, CapacityContainerBuilder<Vec<ConsumerRecord>>>::new();
        let mut numbers = InputHandle::<Epoch, CapacityContainerBuilder<Vec<u64>>>::new();
        let mut marks = InputHandle::<Epoch, CapacityContainerBuilder<Vec<Mark<Numbers>>>>::new();
        let (out, taken, begin) = (ProbeHandle::new(), ProbeHandle::new(), Some(Rc::clone(&resumption)));
        worker.dataflow(|scope| {
            let lists = scope.input_from(&mut lists).as_collection();
            let consumer_state = scope.input_from(&mut consumer_state);
            let (numbers, marks) = (scope.input_from(&mut numbers), scope.input_from(&mut marks));
            let mut publish = Publish::new(scope, &Rc::default());
            publish.table(lists_stream(true), OPTIONS, every_epoch(), lists, consumer_state);
            let log = Publication { number: 1, ..lists_stream(true) };
            publish.log(log, Rc::new(Numbers), numbers, marks);
            let published = publish.build(begin, writer(&seen));
            published.delivered.probe_with(&out);
            published.accepted.probe_with(&taken);
        });
        // The operator polls the sink every millisecond.
        let mut step = |times| {
            (0..times).for_each(|_| {
                worker.step_or_park(Some(Duration::from_millis(2)));
            })
        };
        consumer_state.close();
        // The log has 3 and 4: what it computes again up to there is not published again.
        marks.send((1, 2, 3));
        marks.send((0, 3, 4));
        [5, 3, 1, 4, 2].into_iter().for_each(|number| numbers.send(number));
        lists.send((("a".into(), list(1)), 0, 1));
        lists.advance_to(1);
        numbers.advance_to(1);
        step(20);
        assert!(seen.borrow()[1].is_empty(), "the log is not read back yet");
        assert!(taken.less_than(&1), "an epoch that waits bounds the work ahead");
        marks.close();
        resumption.know(BASE);
        step(20);
        let of_log = |seen: &Seen| -> Vec<(String, String)> {
            let pair = |(key, value): &KeyValue| (key.clone(), value.clone().unwrap());
            seen.borrow()[1].iter().map(pair).collect()
        };
        let pair = |key: &str, epoch: Epoch| (key.to_owned(), (BASE + epoch).to_string());
        assert_eq!(of_log(&seen), [pair("5", 0)]);
        assert!(seen.borrow()[0].is_empty(), "the table has not caught up");
        [9, 6, 8, 7].into_iter().for_each(|number| numbers.send(number));
        lists.advance_to(2);
        numbers.advance_to(2);
        step(20);
        assert_eq!(of_log(&seen)[1..], [pair("6", 1), pair("8", 1), pair("7", 1), pair("9", 1)]);
        resumption.begin(Begin::At(1));
        step(20);
        assert_eq!((seen.borrow()[0].len(), resumption.is_published()), (1, true));
        lists.close();
        numbers.close();
        step(20);
        assert!(out.done() && taken.done());
    });
}

/// A list as it appears in a record.
fn text(list: &List) -> String {
    let entry = |entry: &Neighbour| {
        let score = f64::from(entry.score as u8) / 100.0;
        format!(r#"{{"count":1,"item":"other","score":{score}}}"#)
    };
    let entries: Vec<String> = list.iter().map(entry).collect();
    if entries.is_empty() { String::new() } else { format!("[{}]", entries.join(",")) }
}
