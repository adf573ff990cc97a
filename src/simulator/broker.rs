//! The output topic, and transactions as Kafka has them.
//!
//! ```text
//! partition   a a b · b  a   a, b: records of transactions;  ·: the first that is open, or not yet marked:
//!                   ╰── committed readers stop here
//! ```
//!
//! Who writes says into which partition; the topic may grow, and then keys belong elsewhere ([`home`]).
//!
//! A transactional id belongs to whoever initialised it last: every earlier owner is refused, and what it had open is
//! taken back. A transaction that is open for too long is taken back as well, and its owner is refused from then on.

use super::sim_context::{Bug, Fault, SimContext};
use deltacart_dataflows::route;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// How long a transaction may be open.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(60);

/// One record that was written.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) key: Vec<u8>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) transaction: usize,
    /// How many epochs its writer had closed before.
    pub(super) closed: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Open,
    /// It is decided, but its records are not marked yet.
    Deciding,
    Committed,
    Aborted,
}

pub(super) struct Transaction {
    pub(super) state: State,
    /// Which run of the job has written it.
    pub(super) run: usize,
    /// Its place among those that are decided.
    pub(super) order: usize,
    since: Duration,
}

/// Who may write under an id.
#[derive(Default)]
struct Slot {
    epoch: u64,
    open: Option<usize>,
}

/// The partition of a key in a topic of so many.
pub(super) fn home(key: &[u8], partitions: u32) -> u32 {
    (route(&String::from_utf8_lossy(key)) % u64::from(partitions)) as u32
}

/// Right to write.
#[derive(Clone, Debug)]
pub(super) struct Owner {
    slot: String,
    epoch: u64,
    run: usize,
}

/// Somebody has taken over.
#[derive(Debug)]
pub(super) struct Fenced;

/// Clones are the same one.
#[derive(Clone)]
pub(super) struct Broker(Rc<RefCell<Inner>>);

struct Inner {
    sim: SimContext,
    partitions: Vec<Vec<Entry>>,
    transactions: Vec<Transaction>,
    slots: BTreeMap<String, Slot>,
    decided: usize,
}

impl Broker {
    pub(super) fn new(sim: &SimContext) -> Broker {
        let partitions = vec![Vec::new(); 1 + sim.below(3) as usize];
        let (transactions, slots) = (Vec::new(), BTreeMap::new());
        Broker(Rc::new(RefCell::new(Inner { sim: sim.clone(), partitions, transactions, slots, decided: 0 })))
    }

    /// Takes an id over.
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

    /// Writes a record into the owner's transaction, which is begun if it is not.
    pub(super) fn write(
        &self,
        owner: &Owner,
        (partition, closed): (u32, usize),
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(), Fenced> {
        let mut inner = self.0.borrow_mut();
        let since = inner.sim.elapsed();
        let Inner { slots, transactions, partitions, sim, .. } = &mut *inner;
        let slot = slots.get_mut(&owner.slot).filter(|slot| slot.epoch == owner.epoch).ok_or(Fenced)?;
        let transaction = *slot.open.get_or_insert_with(|| {
            transactions.push(Transaction { state: State::Open, run: owner.run, order: 0, since });
            transactions.len() - 1
        });
        let entry = Entry { key: key.to_vec(), value: value.map(<[u8]>::to_vec), transaction, closed };
        sim.note(format_args!("{} writes {transaction} to {partition}: {}", owner.run, entry.text()));
        partitions[partition as usize].push(entry);
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

    /// Marks what is decided, and takes back what has been open for too long; without patience, whatever is open.
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

    /// Whether a transaction is open or not yet marked.
    pub(super) fn is_anything_open(&self) -> bool {
        let inner = self.0.borrow();
        inner.transactions.iter().any(|it| matches!(it.state, State::Open | State::Deciding))
    }

    pub(super) fn partitions(&self) -> u32 {
        self.0.borrow().partitions.len() as u32
    }

    /// Gives the topic one partition more.
    pub(super) fn grow(&self) {
        self.0.borrow_mut().partitions.push(Vec::new());
    }

    /// What a committed reader sees of a partition.
    pub(super) fn committed(&self, partition: u32) -> Vec<Entry> {
        let inner = self.0.borrow();
        let state = |entry: &&Entry| inner.transactions[entry.transaction].state;
        let stable = inner.partitions[partition as usize]
            .iter()
            .take_while(|entry| !matches!(state(entry), State::Open | State::Deciding));
        stable.filter(|entry| state(entry) == State::Committed).cloned().collect()
    }

    /// How many transactions have been decided.
    pub(super) fn decided(&self) -> usize {
        self.0.borrow().decided
    }

    /// The run that wrote a transaction, and its place among all that were decided.
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
