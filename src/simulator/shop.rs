//! A small shop, what its producers write, and what that means: the input of a simulation, with the truth beside it.
//!
//! # Notes
//! - Every basket and every user is of one partition, so the order of their events is that of its records.
//! - Each partition has a *beacon*: two items that are only ever together, each time in a new basket. Their count in
//!   the published lists tells how far the partition had been read, and must never fall.

use super::fate::{Fate, Fault};
use deltacart_dataflows::{Action, Event, Model, Name, Params, Position};
use deltacart_testing::{Plan, Random, Size, Zipf};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

/// A record of the topic.
#[derive(Clone)]
pub(super) struct Record {
    pub(super) value: Vec<u8>,
    /// What it means, where it has not been said before.
    pub(super) events: Vec<Event>,
    /// How many records of the partition up to this one are its beacon's.
    pub(super) beacons: u32,
}

#[derive(Default)]
struct Partition {
    records: Vec<Record>,
    /// Ids that are still remembered, and what was said under them.
    recent: VecDeque<(Name, Vec<u8>)>,
    events: u64,
    beacons: u32,
}

/// The topic. Clones are the same one.
#[derive(Clone)]
pub(super) struct Shop(Rc<RefCell<Inner>>);

struct Inner {
    fate: Fate,
    partitions: Vec<Partition>,
    /// Which items and baskets its customers choose.
    items: Zipf,
    baskets: Zipf,
    random: Random,
    /// Among how many ids a repetition is found.
    horizon: usize,
}

impl Shop {
    pub(super) fn new(fate: &Fate, horizon: usize) -> Shop {
        let partitions = (0..1 + fate.below(3)).map(|_| Partition::default()).collect();
        let mut random = Random::new(fate.below(u64::MAX));
        let plan = Plan::draw(&mut random, Size::Small);
        // A seed has few records: in more baskets, hardly any two items would be together.
        let items = Zipf::new(plan.items.min(12), plan.item_skew);
        let baskets = Zipf::new(plan.baskets.min(8), plan.basket_skew);
        let fate = fate.clone();
        Shop(Rc::new(RefCell::new(Inner { fate, partitions, items, baskets, random, horizon })))
    }

    /// Producers write so many records, somewhere.
    pub(super) fn produce(&self, records: u64) {
        let mut inner = self.0.borrow_mut();
        for _ in 0..records {
            let partition = inner.fate.below(inner.partitions.len() as u64) as usize;
            inner.write(partition);
        }
    }

    /// A partition appears.
    pub(super) fn grow(&self) {
        self.0.borrow_mut().partitions.push(Partition::default());
    }

    pub(super) fn partitions(&self) -> u32 {
        self.0.borrow().partitions.len() as u32
    }

    /// Where a partition ends now.
    pub(super) fn end(&self, partition: u32) -> u64 {
        self.0.borrow().partitions[partition as usize].records.len() as u64
    }

    pub(super) fn record(&self, partition: u32, offset: u64) -> Option<Vec<u8>> {
        let inner = self.0.borrow();
        inner.partitions[partition as usize].records.get(offset as usize).map(|record| record.value.clone())
    }

    /// How many of the beacon's records lie before an offset.
    pub(super) fn beacons_before(&self, partition: u32, offset: u64) -> u32 {
        let inner = self.0.borrow();
        let before = &inner.partitions[partition as usize].records[..offset as usize];
        before.last().map_or(0, |record| record.beacons)
    }

    /// The plain model after all records.
    pub(super) fn model(&self, params: Params) -> Model {
        let mut model = Model::new(params);
        let inner = self.0.borrow();
        let records = inner.partitions.iter().flat_map(|partition| &partition.records);
        records.flat_map(|record| &record.events).for_each(|event| model.apply(event));
        model
    }

    /// What each record of a partition means.
    pub(super) fn meanings(&self, partition: u32) -> Vec<Vec<Event>> {
        let inner = self.0.borrow();
        inner.partitions[partition as usize].records.iter().map(|record| record.events.clone()).collect()
    }
}

/// The two items of a partition's beacon.
pub(super) fn beacon(partition: u32) -> [Name; 2] {
    [format!("beacon {partition}").into(), format!("witness {partition}").into()]
}

impl Inner {
    fn write(&mut self, number: usize) {
        let fate = self.fate.clone();
        let partition = &self.partitions[number];
        if let (false, true) = (partition.recent.is_empty(), fate.strikes(Fault::EventRepeated)) {
            let place = fate.below(partition.recent.len() as u64) as usize;
            let value = partition.recent[place].1.clone();
            return self.push(number, value, Vec::new());
        }
        if fate.strikes(Fault::Garbage) {
            let garbage: [&[u8]; 4] = [
                b"",
                b"{\"event\":\"add\"}",
                b"\xff\x00",
                b"{\"event\":\"add\",\"basket\":\"b\",\"item\":{}}",
            ];
            return self.push(number, fate.pick(&garbage).to_vec(), Vec::new());
        }
        let partition = &mut self.partitions[number];
        partition.events += 1;
        let id = Name::from(format!("e{number}-{}", partition.events));
        let (value, events) = match fate.one_in(4) {
            true => {
                partition.beacons += 1;
                let basket = format!("beacon {number} {}", partition.beacons);
                told("add", &basket, None, Some(&beacon(number as u32)), None, &id)
            }
            false => self.event(number, &id),
        };
        let partition = &mut self.partitions[number];
        partition.recent.push_back((id, value.clone()));
        if partition.recent.len() > self.horizon {
            partition.recent.pop_front();
        }
        self.push(number, value, events);
    }

    fn push(&mut self, number: usize, value: Vec<u8>, events: Vec<Event>) {
        let partition = &mut self.partitions[number];
        let beacons = partition.beacons;
        self.fate.note(format_args!(
            "{number}:{}: {}",
            partition.records.len(),
            String::from_utf8_lossy(&value)
        ));
        partition.records.push(Record { value, events, beacons });
    }

    /// Something that a customer does.
    fn event(&mut self, number: usize, id: &str) -> (Vec<u8>, Vec<Event>) {
        let fate = &self.fate;
        let basket = format!("b{number}-{}", self.baskets.draw(&mut self.random));
        let user = fate.one_in(3).then(|| format!("u{number}-{}", fate.below(3)));
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
        let kind = fate.pick(&kinds);
        if kind == "forget user" {
            let user = format!("u{number}-{}", fate.below(3));
            return told(kind, "", Some(&user), None, None, id);
        }
        let quantity = (1 + fate.below(3)) as u32;
        let (items, quantity) = match kind {
            "clear" | "checkout" | "cancel" | "forget" => (None, None),
            "set" => (Some(&item[..]), Some(quantity - 1)),
            "remove" | "refund" if fate.one_in(2) => (Some(&item[..]), None),
            _ => (Some(&item[..]), Some(quantity)),
        };
        told(kind, &basket, user.as_deref(), items, quantity, id)
    }
}

/// An event as a record, and as it is to be understood.
fn told(
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
