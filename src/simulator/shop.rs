//! A simulated shop: the records of its producers, and the events that these mean, which the model gets.
//!
//! # Notes
//! - A shop writes to one topic or to two. Every user, and nearly every basket, is of one partition, so the order of
//!   their events is that of its records.
//! - A few baskets are in both topics. Their items are only added or bought, so their final content does not depend
//!   on which topic is read first.
//! - Some records cannot be used, or not all of them. Each of these has one dead letter.
//! - The broker may delete the oldest records of a partition. The shop remembers them.
//! - Each partition has a *beacon*: two items that are only ever together, each time in a new basket. Their count in
//!   the published lists shows how far the partition had been read, and must never fall.

use super::retention::Gaps;
use super::sim_context::{Fault, SimContext};
use deltacart_dataflows::{Action, Event, Evidence, Model, Name, Params, Partition, Position};
use deltacart_testing::{Plan, Random, Size, Zipf};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

/// A record of an input topic.
#[derive(Clone)]
pub(super) struct Record {
    pub(super) value: Vec<u8>,
    /// The id of its events, by which a repetition is found.
    id: Option<Name>,
    /// The events that the record means, unless it repeats an earlier record.
    events: Vec<Event>,
    /// The value of its dead letter, if it cannot be used, or only a part of it.
    letter: Option<Vec<u8>>,
    /// How many records of the partition, up to this one, are its beacon's.
    pub(super) beacons: u32,
}

#[derive(Default)]
struct Log {
    records: Vec<Record>,
    /// How many of the records the broker has deleted.
    first: u64,
    /// The offsets of records whose ids the job still remembers.
    recent: VecDeque<usize>,
    events: u64,
    beacons: u32,
}

/// The shop's topics. Clones share them.
#[derive(Clone)]
pub(super) struct Shop(Rc<RefCell<Inner>>);

struct Inner {
    sim: SimContext,
    /// The partitions, by topic and number.
    topics: Vec<Vec<Log>>,
    /// The distributions by which customers choose items and baskets.
    items: Zipf,
    baskets: Zipf,
    random: Random,
    /// Within how many ids of a partition a repetition is found.
    horizon: usize,
    /// Customers look at items where views are evidence.
    evidence: Evidence,
}

impl Shop {
    pub(super) fn new(sim: &SimContext, horizon: usize, evidence: Evidence) -> Shop {
        let partitions = || (0..1 + sim.below(3)).map(|_| Log::default()).collect();
        let topics = (0..1 + u64::from(sim.one_in(3))).map(|_| partitions()).collect();
        let mut random = Random::new(sim.below(u64::MAX));
        let plan = Plan::draw(&mut random, Size::Small);
        // A seed has few records. With more baskets, hardly any two items would be together.
        let items = Zipf::new(plan.items.min(12), plan.item_skew);
        let baskets = Zipf::new(plan.baskets.min(8), plan.basket_skew);
        let sim = sim.clone();
        Shop(Rc::new(RefCell::new(Inner { sim, topics, items, baskets, random, horizon, evidence })))
    }

    /// Writes this many records to random partitions.
    pub(super) fn produce(&self, records: u64) {
        let mut inner = self.0.borrow_mut();
        for _ in 0..records {
            let partitions = inner.partitions();
            let partition = inner.sim.pick(&partitions);
            inner.write(partition);
        }
    }

    /// Adds a partition to a random topic.
    pub(super) fn grow(&self) {
        let mut inner = self.0.borrow_mut();
        let topic = inner.sim.below(inner.topics.len() as u64) as usize;
        inner.topics[topic].push(Log::default());
    }

    /// Deletes some of the oldest records of a random partition, perhaps all.
    pub(super) fn expire(&self) {
        let mut inner = self.0.borrow_mut();
        let partition = inner.sim.pick(&inner.partitions());
        let (sim, log) = (inner.sim.clone(), inner.log_mut(partition));
        log.first += sim.below(log.records.len() as u64 - log.first + 1);
        sim.note(format_args!("{} begins at {}", place(partition), log.first));
    }

    pub(super) fn topics(&self) -> u8 {
        self.0.borrow().topics.len() as u8
    }

    /// The partitions of all topics.
    pub(super) fn partitions(&self) -> Vec<Partition> {
        self.0.borrow().partitions()
    }

    /// How many partitions a topic has.
    pub(super) fn partitions_of(&self, topic: u8) -> u32 {
        self.0.borrow().topics[usize::from(topic)].len() as u32
    }

    /// The offset of the first record of a partition that the broker has not deleted.
    pub(super) fn first(&self, partition: Partition) -> u64 {
        self.0.borrow().log(partition).first
    }

    /// The offset after the last record of a partition.
    pub(super) fn end(&self, partition: Partition) -> u64 {
        self.0.borrow().log(partition).records.len() as u64
    }

    pub(super) fn record(&self, partition: Partition, offset: u64) -> Option<Vec<u8>> {
        let inner = self.0.borrow();
        inner.log(partition).records.get(offset as usize).map(|record| record.value.clone())
    }

    /// How many of the beacon's records lie before an offset.
    pub(super) fn beacons_before(&self, partition: Partition, offset: u64) -> u32 {
        let inner = self.0.borrow();
        let before = &inner.log(partition).records[..offset as usize];
        before.last().map_or(0, |record| record.beacons)
    }

    /// The plain model after all records but those in `gaps`.
    pub(super) fn model(&self, params: Params, gaps: &Gaps) -> Model {
        let mut model = Model::new(params);
        let meanings = self.partitions().into_iter().flat_map(|partition| self.meanings(partition, gaps));
        meanings.flatten().for_each(|event| model.apply(&event));
        model
    }

    /// The events of each record of a partition. Those in `gaps` have none.
    pub(super) fn meanings(&self, partition: Partition, gaps: &Gaps) -> Vec<Vec<Event>> {
        let inner = self.0.borrow();
        let mut recent: VecDeque<&Name> = VecDeque::new();
        let mut meanings = Vec::new();
        for (offset, record) in (0..).zip(&inner.log(partition).records) {
            let is_repeated = record.id.as_ref().is_some_and(|id| recent.contains(&id));
            if is_repeated || gaps.has(partition, offset) {
                meanings.push(Vec::new());
                continue;
            }
            recent.extend(&record.id);
            if recent.len() > inner.horizon {
                recent.pop_front();
            }
            meanings.push(record.events.clone());
        }
        meanings
    }

    /// The offsets of a partition's records that have a dead letter, and its value.
    pub(super) fn letters(&self, partition: Partition) -> Vec<(u64, Vec<u8>)> {
        let inner = self.0.borrow();
        let records = (0..).zip(&inner.log(partition).records);
        records.filter_map(|(offset, record)| Some((offset, record.letter.clone()?))).collect()
    }
}

/// The two items of a partition's beacon.
pub(super) fn beacon(partition: Partition) -> [Name; 2] {
    let place = place(partition);
    [format!("beacon {place}").into(), format!("witness {place}").into()]
}

/// Whether a basket may be in both topics.
pub(super) fn is_shared(basket: &str) -> bool {
    basket.starts_with(SHARED)
}

/// The beginning of the names of baskets in both topics.
const SHARED: &str = "both ";

/// The name of a partition in ids.
fn place(partition: Partition) -> String {
    format!("{}.{}", partition.stream(), partition.number())
}

/// A record that cannot be decoded.
fn garbage(sim: &SimContext) -> Record {
    let values: [&[u8]; 4] =
        [b"", b"{\"event\":\"add\"}", b"\xff\x00", b"{\"event\":\"add\",\"basket\":\"b\",\"item\":{}}"];
    let value = sim.pick(&values).to_vec();
    Record { id: None, events: Vec::new(), letter: Some(value.clone()), value, beacons: 0 }
}

/// How many items a basket in both topics may have: as many as the smallest basket limit allows.
const SHARED_ITEMS: u64 = 3;

impl Inner {
    fn partitions(&self) -> Vec<Partition> {
        let numbers = |(topic, logs): (u8, &Vec<Log>)| {
            (0..logs.len() as u32).map(move |number| Partition::new(topic, number).unwrap())
        };
        (0..).zip(&self.topics).flat_map(numbers).collect()
    }

    fn log(&self, partition: Partition) -> &Log {
        &self.topics[usize::from(partition.stream())][partition.number() as usize]
    }

    fn log_mut(&mut self, partition: Partition) -> &mut Log {
        &mut self.topics[usize::from(partition.stream())][partition.number() as usize]
    }

    fn write(&mut self, partition: Partition) {
        let sim = self.sim.clone();
        let log = self.log(partition);
        if let (false, true) = (log.recent.is_empty(), sim.strikes(Fault::EventRepeated)) {
            let place = sim.below(log.recent.len() as u64) as usize;
            let record = log.records[log.recent[place]].clone();
            return self.push(partition, record);
        }
        if sim.strikes(Fault::Garbage) {
            let record = if sim.one_in(3) { self.half_a_record(partition) } else { garbage(&sim) };
            return self.push(partition, record);
        }
        let log = self.log_mut(partition);
        log.events += 1;
        let id = Name::from(format!("e{}-{}", place(partition), log.events));
        let (value, events) = match sim.one_in(4) {
            true => {
                log.beacons += 1;
                let basket = format!("beacon {} {}", place(partition), log.beacons);
                produced("add", &basket, None, Some(&beacon(partition)), None, &id)
            }
            false if self.topics.len() > 1 && sim.one_in(6) => self.shared_event(&id),
            false => self.event(partition, &id),
        };
        let horizon = self.horizon;
        let log = self.log_mut(partition);
        log.recent.push_back(log.records.len());
        if log.recent.len() > horizon {
            log.recent.pop_front();
        }
        self.push(partition, Record { value, id: Some(id), events, letter: None, beacons: 0 });
    }

    fn push(&mut self, partition: Partition, mut record: Record) {
        let log = self.log(partition);
        let text = String::from_utf8_lossy(&record.value);
        self.sim.note(format_args!("{}:{}: {text}", place(partition), log.records.len()));
        record.beacons = log.beacons;
        self.log_mut(partition).records.push(record);
    }

    /// An event with two lines, of which one has no item.
    fn half_a_record(&mut self, partition: Partition) -> Record {
        let basket = format!("b{}-{}", place(partition), self.baskets.draw(&mut self.random));
        let item = format!("i{}", self.items.draw(&mut self.random));
        let bad_line = r#"{"quantity":2}"#;
        let value =
            format!(r#"{{"event":"add","basket":"{basket}","items":[{{"item":"{item}"}},{bad_line}]}}"#);
        let (_, events) = produced("add", &basket, None, Some(&[item.into()]), None, "");
        let letter = Some(bad_line.as_bytes().to_vec());
        Record { value: value.into_bytes(), id: None, events, letter, beacons: 0 }
    }

    /// An event of a basket that is in both topics.
    fn shared_event(&self, id: &str) -> (Vec<u8>, Vec<Event>) {
        let basket = format!("{SHARED}{}", self.sim.below(2));
        let item = [Name::from(format!("i{}", self.sim.below(SHARED_ITEMS)))];
        produced(self.sim.pick(&["add", "purchase"]), &basket, None, Some(&item), Some(1), id)
    }

    /// A random event of a customer.
    fn event(&mut self, partition: Partition, id: &str) -> (Vec<u8>, Vec<Event>) {
        let (sim, place) = (&self.sim, place(partition));
        let basket = format!("b{place}-{}", self.baskets.draw(&mut self.random));
        let user = sim.one_in(3).then(|| format!("u{place}-{}", sim.below(3)));
        let item = [Name::from(format!("i{}", self.items.draw(&mut self.random)))];
        let kinds = [
            "add",
            "add",
            "add",
            "add",
            "add",
            "add",
            "set",
            "remove",
            "remove",
            "purchase",
            "purchase",
            "refund",
            "clear",
            "checkout",
            "cancel",
            "forget",
            "forget user",
        ];
        let kind = if self.evidence.has_views() && sim.one_in(4) { "view" } else { sim.pick(&kinds) };
        if kind == "forget user" {
            let user = format!("u{place}-{}", sim.below(3));
            return produced(kind, "", Some(&user), None, None, id);
        }
        let quantity = (1 + sim.below(3)) as u32;
        let (items, quantity) = match kind {
            "clear" | "checkout" | "cancel" | "forget" => (None, None),
            "set" => (Some(&item[..]), Some(quantity - 1)),
            "remove" | "refund" if sim.one_in(2) => (Some(&item[..]), None),
            _ => (Some(&item[..]), Some(quantity)),
        };
        produced(kind, &basket, user.as_deref(), items, quantity, id)
    }
}

/// An event as a record, and the events that the job should decode from it.
fn produced(
    kind: &str,
    basket: &str,
    user: Option<&str>,
    items: Option<&[Name]>,
    quantity: Option<u32>,
    id: &str,
) -> (Vec<u8>, Vec<Event>) {
    let event = match kind {
        "checkout" => "purchase",
        "forget user" => "forget",
        _ => kind,
    };
    let mut value = serde_json::json!({ "event": event, "id": id });
    if !basket.is_empty() {
        value["basket"] = basket.into();
    }
    if let Some(user) = user {
        value["user"] = user.into();
    }
    if let Some(items) = items {
        let line = |item: &Name| match quantity {
            Some(quantity) => serde_json::json!({ "item": item.as_str(), "quantity": quantity }),
            None => serde_json::json!({ "item": item.as_str() }),
        };
        value["items"] = items.iter().map(line).collect();
    }
    let action = |item: Name| match (kind, quantity) {
        ("view", _) => Action::View(item),
        ("add", quantity) => Action::Add(item, quantity.unwrap_or(1)),
        ("set", quantity) => Action::Set(item, quantity.unwrap_or(0)),
        ("remove", quantity) => Action::Remove(item, quantity),
        ("purchase", quantity) => Action::Purchase(item, quantity.unwrap_or(1)),
        ("refund", quantity) => Action::Refund(item, quantity),
        _ => unreachable!("{kind} is about no item"),
    };
    let actions = match (kind, items) {
        ("clear", _) => vec![Action::Clear],
        ("checkout", _) => vec![Action::Checkout],
        ("cancel", _) => vec![Action::Cancel],
        ("forget", _) => vec![Action::Forget],
        ("forget user", _) => vec![Action::ForgetUser],
        (_, items) => items.unwrap_or_default().iter().cloned().map(action).collect(),
    };
    let event = |action| Event {
        position: Position::default(),
        basket: basket.into(),
        user: user.map(Name::from),
        time: 0,
        action,
    };
    (value.to_string().into_bytes(), actions.into_iter().map(event).collect())
}
