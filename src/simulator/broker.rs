//! The simulated broker: the output topics, with transactions that behave as in Kafka.
//!
//! ```text
//! partition   a a b · b  a   a, b: records of transactions;  ·: the first that is open or not yet marked
//!                   ╰── committed readers stop here
//! ```
//!
//! The writer chooses a record's partition. A topic may grow, and then keys belong to other partitions ([`home`]).
//!
//! A transactional id belongs to the run that initialised it last. Every earlier owner is refused, and its open
//! transaction is aborted. A transaction that is open for too long is aborted as well, and its owner is refused from
//! then on.

use super::sim_context::{Bug, Fault, SimContext};
use crate::output::StreamNumber;
use deltacart_dataflows::route;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// How long a transaction may be open.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(60);

/// The stream of the lists.
pub(super) const LISTS: StreamNumber = 0;

/// The stream of the notes.
pub(super) const NOTES: StreamNumber = 1;

/// The number of topics, one for each output stream.
const TOPICS: usize = 2;

/// A record of an output topic.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) key: Vec<u8>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) transaction: usize,
    /// How many epochs the writer had closed before this record.
    pub(super) closed: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Open,
    /// Decided as committed, but its records are not marked yet.
    Deciding,
    Committed,
    Aborted,
}

pub(super) struct Transaction {
    pub(super) state: State,
    /// The run of the job that wrote it.
    pub(super) run: usize,
    /// Its place in the order of decisions, from 1.
    pub(super) order: usize,
    since: Duration,
}

/// The state of a transactional id.
#[derive(Default)]
struct Slot {
    epoch: u64,
    open: Option<usize>,
}

/// The partition of a key in a topic with this many partitions.
pub(super) fn home(key: &[u8], partitions: u32) -> u32 {
    (route(&String::from_utf8_lossy(key)) % u64::from(partitions)) as u32
}

/// The right to write under a transactional id.
#[derive(Clone, Debug)]
pub(super) struct Owner {
    slot: String,
    epoch: u64,
    run: usize,
}

/// The error of an owner whose id was taken over.
#[derive(Debug)]
pub(super) struct Fenced;

/// The broker. Clones share it.
#[derive(Clone)]
pub(super) struct Broker(Rc<RefCell<Inner>>);

struct Inner {
    sim: SimContext,
    /// The records of each topic, by stream and partition.
    topics: [Vec<Vec<Entry>>; TOPICS],
    transactions: Vec<Transaction>,
    slots: BTreeMap<String, Slot>,
    decided: usize,
}

impl Broker {
    pub(super) fn new(sim: &SimContext) -> Broker {
        let topics = std::array::from_fn(|_| vec![Vec::new(); 1 + sim.below(3) as usize]);
        let (transactions, slots) = (Vec::new(), BTreeMap::new());
        Broker(Rc::new(RefCell::new(Inner { sim: sim.clone(), topics, transactions, slots, decided: 0 })))
    }

    /// Takes over a transactional id. Aborts the open transaction of the previous owner.
    pub(super) fn own(&self, slot: &str, run: usize) -> Owner {
        let mut inner = self.0.borrow_mut();
        let slot = match inner.sim.has(Bug::NoFencing) {
            true => format!("{slot} of {run}"),
            false => slot.to_owned(),
        };
        let known = inner.slots.entry(slot.clone()).or_default();
        known.epoch += 1;
        let (epoch, open) = (known.epoch, known.open.take());
        if let Some(open) = open {
            inner.end(open, State::Aborted);
        }
        inner.sim.note(format_args!("{run} owns {slot}"));
        Owner { slot, epoch, run }
    }

    /// Writes a record into the owner's transaction. Begins a transaction if none is open.
    pub(super) fn write(
        &self,
        owner: &Owner,
        (stream, partition, closed): (StreamNumber, u32, usize),
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(), Fenced> {
        let mut inner = self.0.borrow_mut();
        let since = inner.sim.elapsed();
        let Inner { slots, transactions, topics, sim, .. } = &mut *inner;
        let slot = slots.get_mut(&owner.slot).filter(|slot| slot.epoch == owner.epoch).ok_or(Fenced)?;
        let transaction = *slot.open.get_or_insert_with(|| {
            transactions.push(Transaction { state: State::Open, run: owner.run, order: 0, since });
            transactions.len() - 1
        });
        let entry = Entry { key: key.to_vec(), value: value.map(<[u8]>::to_vec), transaction, closed };
        sim.note(format_args!(
            "{} writes {transaction} to {stream}.{partition}: {}",
            owner.run,
            entry.text()
        ));
        topics[stream][partition as usize].push(entry);
        Ok(())
    }

    /// Ends the owner's transaction, if one is open.
    pub(super) fn end(&self, owner: &Owner, commit: bool) -> Result<(), Fenced> {
        let mut inner = self.0.borrow_mut();
        let slot = inner.slots.get_mut(&owner.slot).filter(|slot| slot.epoch == owner.epoch).ok_or(Fenced)?;
        if let Some(open) = slot.open.take() {
            let late = commit && inner.sim.strikes(Fault::ReadableLate);
            inner.end(
                open,
                match (commit, late) {
                    (true, true) => State::Deciding,
                    (true, false) => State::Committed,
                    (false, _) => State::Aborted,
                },
            );
        }
        Ok(())
    }

    /// Marks decided transactions, and aborts those that have been open for too long. Without `patience` all open
    /// ones are aborted.
    pub(super) fn tend(&self, patience: bool) {
        let mut inner = self.0.borrow_mut();
        let now = inner.sim.elapsed();
        for number in 0..inner.transactions.len() {
            let Transaction { state, since, .. } = inner.transactions[number];
            match state {
                State::Deciding => inner.transactions[number].state = State::Committed,
                State::Open if !patience || now.saturating_sub(since) > TRANSACTION_TIMEOUT => {
                    inner.sim.hit(Fault::TransactionExpired);
                    for slot in inner.slots.values_mut().filter(|slot| slot.open == Some(number)) {
                        (slot.open, slot.epoch) = (None, slot.epoch + 1);
                    }
                    inner.end(number, State::Aborted);
                }
                _ => {}
            }
        }
    }

    /// Whether any transaction is open or not yet marked.
    pub(super) fn is_anything_open(&self) -> bool {
        let inner = self.0.borrow();
        inner.transactions.iter().any(|it| matches!(it.state, State::Open | State::Deciding))
    }

    pub(super) fn partitions(&self, stream: StreamNumber) -> u32 {
        self.0.borrow().topics[stream].len() as u32
    }

    /// Adds a partition to a topic.
    pub(super) fn grow(&self, stream: StreamNumber) {
        self.0.borrow_mut().topics[stream].push(Vec::new());
    }

    /// The records of a partition that a committed reader sees.
    pub(super) fn committed(&self, stream: StreamNumber, partition: u32) -> Vec<Entry> {
        let inner = self.0.borrow();
        let state = |entry: &&Entry| inner.transactions[entry.transaction].state;
        let stable = inner.topics[stream][partition as usize]
            .iter()
            .take_while(|entry| !matches!(state(entry), State::Open | State::Deciding));
        stable.filter(|entry| state(entry) == State::Committed).cloned().collect()
    }

    /// How many transactions have been decided.
    pub(super) fn decided(&self) -> usize {
        self.0.borrow().decided
    }

    /// The run that wrote a transaction, and its place in the order of decisions.
    pub(super) fn origin(&self, transaction: usize) -> (usize, usize) {
        let inner = self.0.borrow();
        let Transaction { run, order, .. } = inner.transactions[transaction];
        (run, order)
    }
}

impl Inner {
    fn end(&mut self, number: usize, state: State) {
        self.sim.note(format_args!("transaction {number} is {state:?}"));
        self.decided += 1;
        let transaction = &mut self.transactions[number];
        (transaction.state, transaction.order) = (state, self.decided);
    }
}

impl Entry {
    pub(super) fn text(&self) -> String {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        format!("{} = {}", text(&self.key), self.value.as_deref().map_or("nothing".to_owned(), text))
    }
}
