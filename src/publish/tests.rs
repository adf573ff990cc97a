//! The operator with a sink that remembers: whatever consumers hold, whatever is computed, and whenever it begins, they
//! see each list once, and end with what is computed.

use super::*;
use crate::output::held::read_held;
use crate::output::{Envelope, OutputOptions, Records, Sent, Sink, SinkError};
use crate::worker::Trouble;
use deltacart_dataflows::Neighbour;
use differential_dataflow::AsCollection;
use proptest::prelude::*;
use timely::dataflow::operators::{Input, Probe};
use timely::dataflow::{InputHandle, ProbeHandle};

type Seen = Rc<RefCell<Vec<(String, Option<String>)>>>;

/// A sink whose records take some asking to arrive.
struct Remembering {
    seen: Seen,
    open: usize,
    asked: usize,
}

impl Sink for Remembering {
    fn send(&mut self, records: &mut Records) -> Result<(), SinkError> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        if let Some(record) = records.front() {
            self.seen.borrow_mut().push((text(record.key), record.value.map(text)));
            self.open += 1;
            records.pop();
        }
        Ok(())
    }

    fn poll(&mut self) -> Result<usize, SinkError> {
        self.asked += 1;
        Ok(if self.asked.is_multiple_of(3) { self.open } else { 1 })
    }

    fn close_epoch(&mut self, _epoch: Epoch) -> Result<(), SinkError> {
        self.open = 0;
        Ok(())
    }

    fn sent(&self) -> Sent {
        Sent::default()
    }
}

const ITEMS: [&str; 3] = ["a", "b", "c"];
const OPTIONS: OutputOptions = OutputOptions { envelope: Envelope::Upsert, scores: true, score_digits: 2 };

/// The list of an item, of which there are few: none, and those of one neighbour with these scores.
fn list(score: u8) -> List {
    let neighbour = Neighbour { item: "other".into(), score: score.into(), count: 1 };
    if score == 0 { List::new() } else { vec![neighbour] }
}

fn record(item: &str, score: u8) -> HeldRecord {
    let score = f64::from(score) / 100.0;
    let value = format!(
        r#"{{"version":1,"item":"{item}","epoch":3,"recommendations":[{{"item":"other","score":{score},"count":1}}]}}"#
    );
    read_held(0, Some(item.as_bytes()), Some(value.as_bytes())).unwrap().0
}

/// What happens in a run: of each epoch the items that get another list.
#[derive(Clone, Debug)]
struct Run {
    held: Vec<u8>,
    epochs: Vec<Vec<(usize, u8)>>,
    /// When the job has caught up: after which epoch it is known, and which epoch it was.
    known_after: usize,
    caught_up: usize,
}

fn any_run() -> impl Strategy<Value = Run> {
    let epoch = prop::collection::vec((0..ITEMS.len(), 0..3_u8), 0..4);
    let parts = (prop::collection::vec(0..3_u8, ITEMS.len()), prop::collection::vec(epoch, 1..8));
    (parts, any::<prop::sample::Index>(), any::<prop::sample::Index>()).prop_map(
        |((held, epochs), known_after, caught_up)| {
            let known_after = known_after.index(epochs.len());
            Run { caught_up: caught_up.index(known_after + 1), held, epochs, known_after }
        },
    )
}

/// Runs it, and gives what a consumer sees, and the lists at the end.
fn play(run: Run) -> (Vec<(String, Option<String>)>, Vec<List>) {
    timely::execute_directly(move |worker| {
        let seen = Seen::default();
        let sink = Remembering { seen: Rc::clone(&seen), open: 0, asked: 0 };
        let outlet = Outlet::new(Some(Box::new(sink)), OPTIONS, Rc::default(), Trouble::default());
        let resumption = Rc::<Resumption>::default();
        let (mut lists, mut held) = (
            InputHandle::<Epoch, CapacityContainerBuilder<Vec<Update>>>::new(),
            InputHandle::<Epoch, CapacityContainerBuilder<Vec<HeldRecord>>>::new(),
        );
        let out = ProbeHandle::new();
        let begin = Some(Rc::clone(&resumption));
        worker.dataflow(|scope| {
            let lists = scope.input_from(&mut lists).as_collection();
            let held = scope.input_from(&mut held);
            publish(lists, held, Publisher::Each, begin, outlet).probe_with(&out);
        });
        for (item, score) in ITEMS.iter().zip(&run.held).filter(|(_item, score)| **score > 0) {
            held.send(record(item, *score));
        }
        held.close();
        let mut now = vec![List::new(); ITEMS.len()];
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
            // A step to schedule it, and some until the probe hears of it.
            (0..4).for_each(|_| {
                worker.step();
            });
            assert!(epoch >= run.known_after || seen.borrow().is_empty(), "published while catching up");
            assert!(epoch >= run.known_after || !out.less_than(&(epoch as Epoch)), "reading is held up");
            if epoch == run.known_after {
                resumption.begin(Begin::At { base: 4, caught_up: run.caught_up as Epoch });
            }
        }
        lists.close();
        worker.step_while(|| !out.done());
        assert!(resumption.is_published());
        (seen.take(), now)
    })
}

proptest! {
    #[test]
    fn consumers_see_each_list_once_and_end_with_what_is_computed(run in any_run()) {
        let mut shown: BTreeMap<String, (u64, String)> = BTreeMap::new();
        for (item, score) in ITEMS.iter().zip(&run.held).filter(|(_item, score)| **score > 0) {
            shown.insert((*item).to_owned(), (3, text(&list(*score))));
        }
        let (seen, lists) = play(run);
        for (key, value) in seen {
            let before = shown.get(&key).cloned();
            let Some(value) = value else {
                prop_assert!(shown.remove(&key).is_some(), "{} is taken away and was not there", key);
                continue;
            };
            let value: serde_json::Value = serde_json::from_str(&value).unwrap();
            let (epoch, list) = (value["epoch"].as_u64().unwrap(), value["recommendations"].to_string());
            if let Some((epoch_before, list_before)) = before {
                prop_assert!(epoch > epoch_before && list != list_before, "{} {} {}", key, epoch, list);
            }
            shown.insert(key, (epoch, list));
        }
        for (item, list) in ITEMS.iter().zip(lists) {
            let shown = shown.get(*item).map_or_else(String::new, |(_epoch, list)| list.clone());
            prop_assert_eq!(shown, text(&list));
        }
    }
}

/// A job that ends before it has caught up says nothing, and ends.
#[test]
fn nothing_is_published_that_is_not_caught_up() {
    timely::execute_directly(|worker| {
        let seen = Seen::default();
        let sink = Remembering { seen: Rc::clone(&seen), open: 0, asked: 0 };
        let outlet = Outlet::new(Some(Box::new(sink)), OPTIONS, Rc::default(), Trouble::default());
        let resumption = Rc::<Resumption>::default();
        let mut lists = InputHandle::<Epoch, CapacityContainerBuilder<Vec<Update>>>::new();
        let mut held = InputHandle::<Epoch, CapacityContainerBuilder<Vec<HeldRecord>>>::new();
        let out = ProbeHandle::new();
        let begin = Some(Rc::clone(&resumption));
        worker.dataflow(|scope| {
            let lists = scope.input_from(&mut lists).as_collection();
            let held = scope.input_from(&mut held);
            publish(lists, held, Publisher::Each, begin, outlet).probe_with(&out);
        });
        held.send(record("a", 1));
        lists.send((("b".into(), list(1)), 0, 1));
        lists.advance_to(1);
        held.close();
        (0..9).for_each(|_| {
            worker.step();
        });
        assert!(!out.done());
        resumption.begin(Begin::Never);
        worker.step();
        // What is on its way comes all the same.
        lists.send((("b".into(), list(1)), 1, -1));
        lists.send((("b".into(), list(2)), 1, 1));
        lists.close();
        worker.step_while(|| !out.done());
        assert!(seen.borrow().is_empty() && !resumption.is_published());
    });
}

/// A list as a record shows it.
fn text(list: &List) -> String {
    let entry = |entry: &Neighbour| {
        let score = f64::from(entry.score as u8) / 100.0;
        format!(r#"{{"count":1,"item":"other","score":{score}}}"#)
    };
    let entries: Vec<String> = list.iter().map(entry).collect();
    if entries.is_empty() { String::new() } else { format!("[{}]", entries.join(",")) }
}
