//! Writes a worker's parts beside it: the worker hands things over and is told when a part is safe.
//!
//! ```text
//! worker ── begin, ids ──▶ ┌────────┐
//! walk ──── baskets, end ─▶│ scribe ├─▶ store        a thread, or in the worker's own turn where there is to be none
//! worker ◀─ written, failed└────────┘
//! ```

use super::manifest::Part;
use super::part::{PartWriter, Written};
use super::store::{Put, Store};
use deltacart_dataflows::{BasketCopy, Epoch, Partition, SnapshotSink};
use deltacart_inputs::EventIds;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, Thread};

/// Lines that may wait to be written: beyond, the walk rests. Some 10 MB.
const WAITING_LINES_MAX: usize = 1 << 17;

/// A worker's scribe. Clones are the same one.
#[derive(Clone)]
pub struct SnapshotWriter(Rc<Pen>);

/// A part that is safe, or why it is not. Failures are words: they go to another worker.
pub type Outcome = Result<Part, String>;

enum Pen {
    Thread { to: Sender<Order>, from: Receiver<Outcome>, waiting: Arc<AtomicUsize> },
    Inline(Box<RefCell<(Desk, VecDeque<Outcome>)>>),
}

enum Order {
    Begin(String, Vec<(Partition, EventIds)>),
    Baskets(Vec<BasketCopy>),
    Finish,
}

impl SnapshotWriter {
    /// A scribe with a thread of its own, which wakes the one that made it.
    pub fn spawn(store: Arc<dyn Store>) -> io::Result<SnapshotWriter> {
        let (to, orders) = channel();
        let (outcomes, from) = channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let (left, worker) = (Arc::clone(&waiting), thread::current());
        let write = move || write(Desk::new(store), &orders, &outcomes, &left, &worker);
        thread::Builder::new().name("snapshots".to_owned()).spawn(write)?;
        Ok(SnapshotWriter(Rc::new(Pen::Thread { to, from, waiting })))
    }

    /// A scribe that writes when it is told to.
    pub fn inline(store: Arc<dyn Store>) -> SnapshotWriter {
        SnapshotWriter(Rc::new(Pen::Inline(Box::new(RefCell::new((Desk::new(store), VecDeque::new()))))))
    }

    /// Begins a part with the event ids of partitions. One that was under way is given up.
    pub fn begin(&self, name: String, ids: Vec<(Partition, EventIds)>) {
        self.order(Order::Begin(name, ids));
    }

    /// What has become of the parts that were begun, one by one.
    pub fn outcome(&self) -> Option<Outcome> {
        match &*self.0 {
            Pen::Thread { from, .. } => from.try_recv().ok(),
            Pen::Inline(desk) => desk.borrow_mut().1.pop_front(),
        }
    }

    fn order(&self, order: Order) {
        match &*self.0 {
            Pen::Thread { to, waiting, .. } => {
                waiting.fetch_add(order.lines(), Ordering::Relaxed);
                // A thread that has gone has panicked, and so ended the process.
                let _ = to.send(order);
            }
            Pen::Inline(desk) => {
                let (desk, outcomes) = &mut *desk.borrow_mut();
                outcomes.extend(desk.take(order));
            }
        }
    }
}

impl SnapshotSink for SnapshotWriter {
    fn is_ready(&self) -> bool {
        match &*self.0 {
            Pen::Thread { waiting, .. } => waiting.load(Ordering::Relaxed) < WAITING_LINES_MAX,
            Pen::Inline(_) => true,
        }
    }

    fn take(&mut self, _epoch: Epoch, baskets: Vec<BasketCopy>) {
        self.order(Order::Baskets(baskets));
    }

    fn finish(&mut self, _epoch: Epoch) {
        self.order(Order::Finish);
    }
}

/// The thread: until the worker has gone.
fn write(
    mut desk: Desk,
    orders: &Receiver<Order>,
    outcomes: &Sender<Outcome>,
    waiting: &AtomicUsize,
    worker: &Thread,
) {
    for order in orders {
        let lines = order.lines();
        if let Some(outcome) = desk.take(order)
            && outcomes.send(outcome).is_ok()
        {
            worker.unpark();
        }
        waiting.fetch_sub(lines, Ordering::Relaxed);
    }
}

impl Order {
    /// How much work it is, about.
    fn lines(&self) -> usize {
        match self {
            Order::Baskets(baskets) => {
                baskets.iter().map(|basket| 1 + basket.lines.len() + basket.users.len()).sum()
            }
            _ => 0,
        }
    }
}

/// Where parts are written, one at a time.
struct Desk {
    store: Arc<dyn Store>,
    /// Gone when it is finished, or has failed: then nothing is written until the next one begins.
    part: Option<Writing>,
    /// Why it failed; told at its end, when nothing of it is to come any more.
    failure: Option<String>,
}

struct Writing {
    writer: PartWriter<Box<dyn Put>>,
    name: String,
    /// Whose event ids are in it.
    partitions: Vec<Partition>,
}

impl Desk {
    fn new(store: Arc<dyn Store>) -> Desk {
        Desk { store, part: None, failure: None }
    }

    /// Does what it is told; tells what became of the part when that is known.
    fn take(&mut self, order: Order) -> Option<Outcome> {
        let done = match order {
            Order::Begin(name, ids) => {
                self.failure = None;
                self.begin(name, &ids)
            }
            Order::Baskets(baskets) => self.baskets(&baskets),
            Order::Finish => {
                let part = self.finish();
                return self.failure.take().map(Err).or(part.transpose());
            }
        };
        if let Err(failure) = done {
            (self.part, self.failure) = (None, Some(failure));
        }
        None
    }

    fn begin(&mut self, name: String, ids: &[(Partition, EventIds)]) -> Result<(), String> {
        self.part = None;
        let put = self.store.put(&name).map_err(|error| chain(&error))?;
        let write = || {
            let mut writer = PartWriter::new(put)?;
            ids.iter().try_for_each(|(partition, ids)| writer.ids(*partition, ids.iter()))?;
            Ok(writer)
        };
        let writer = write().map_err(|error| self.failed(&name, &error))?;
        let partitions = ids.iter().map(|(partition, _ids)| *partition).collect();
        self.part = Some(Writing { writer, name, partitions });
        Ok(())
    }

    fn baskets(&mut self, baskets: &[BasketCopy]) -> Result<(), String> {
        let Some(Writing { writer, name, .. }) = &mut self.part else { return Ok(()) };
        let written = baskets.iter().try_for_each(|basket| writer.basket(basket));
        let name = name.clone();
        written.map_err(|error| self.failed(&name, &error))
    }

    fn finish(&mut self) -> Result<Option<Part>, String> {
        let Some(Writing { writer, name, partitions }) = self.part.take() else { return Ok(None) };
        let written = writer.finish().and_then(|(put, written)| put.commit().map(|()| written));
        let written = written.map_err(|error| self.failed(&name, &error))?;
        let Written { bytes, crc32, baskets, lines, ids } = written;
        Ok(Some(Part { name, bytes, crc32, baskets, lines, ids, partitions }))
    }

    fn failed(&self, name: &str, error: &io::Error) -> String {
        format!("cannot write {name} to {}: {error}", self.store.place())
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}
