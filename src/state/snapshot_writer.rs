//! The snapshot writer: it writes a worker's parts beside the worker, and reports when a part is durable.
//!
//! ```text
//! worker ── begin, ids ──▶ ┌────────┐
//! scan ──── baskets, end ─▶│ writer ├─▶ store        on a thread, or inline in the worker's own turn
//! worker ◀─ part, failure ─└────────┘
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

/// The number of lines that may wait to be written, some 10 MB. The scan pauses at this limit.
const WAITING_LINES_MAX: usize = 1 << 17;

/// The snapshot writer of one worker. Clones share it.
#[derive(Clone)]
pub struct SnapshotWriter(Rc<Backend>);

/// A part that is durable, or why it is not. The failure is text, because it is sent to another worker.
pub type Outcome = Result<Part, String>;

enum Backend {
    Thread { to: Sender<Command>, from: Receiver<Outcome>, waiting: Arc<AtomicUsize> },
    Inline(Box<RefCell<(PartStore, VecDeque<Outcome>)>>),
}

enum Command {
    Begin(String, Vec<(Partition, EventIds)>),
    Baskets(Vec<BasketCopy>),
    Finish,
}

impl SnapshotWriter {
    /// A writer with a thread of its own. The thread unparks the caller's thread after each outcome.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn spawn(store: Arc<dyn Store>) -> io::Result<SnapshotWriter> {
        let (to, commands) = channel();
        let (outcomes, from) = channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let (left, worker) = (Arc::clone(&waiting), thread::current());
        let write = move || write(PartStore::new(store), &commands, &outcomes, &left, &worker);
        thread::Builder::new().name("snapshots".to_owned()).spawn(write)?;
        Ok(SnapshotWriter(Rc::new(Backend::Thread { to, from, waiting })))
    }

    /// A writer that writes within the calls of its methods.
    pub fn inline(store: Arc<dyn Store>) -> SnapshotWriter {
        SnapshotWriter(Rc::new(Backend::Inline(Box::new(RefCell::new((
            PartStore::new(store),
            VecDeque::new(),
        ))))))
    }

    /// Begins a part with the event ids of partitions. An unfinished part is abandoned.
    pub fn begin(&self, name: String, ids: Vec<(Partition, EventIds)>) {
        self.send(Command::Begin(name, ids));
    }

    /// The next outcome of a part, if there is one.
    pub fn outcome(&self) -> Option<Outcome> {
        match &*self.0 {
            Backend::Thread { from, .. } => from.try_recv().ok(),
            Backend::Inline(parts) => parts.borrow_mut().1.pop_front(),
        }
    }

    fn send(&self, command: Command) {
        match &*self.0 {
            Backend::Thread { to, waiting, .. } => {
                waiting.fetch_add(command.lines(), Ordering::Relaxed);
                // If the thread is gone, it has panicked, and that has ended the process.
                let _ = to.send(command);
            }
            Backend::Inline(parts) => {
                let (parts, outcomes) = &mut *parts.borrow_mut();
                outcomes.extend(parts.take(command));
            }
        }
    }
}

impl SnapshotSink for SnapshotWriter {
    fn is_ready(&self) -> bool {
        match &*self.0 {
            Backend::Thread { waiting, .. } => waiting.load(Ordering::Relaxed) < WAITING_LINES_MAX,
            Backend::Inline(_) => true,
        }
    }

    fn take(&mut self, _epoch: Epoch, baskets: Vec<BasketCopy>) {
        self.send(Command::Baskets(baskets));
    }

    fn finish(&mut self, _epoch: Epoch) {
        self.send(Command::Finish);
    }
}

/// The body of the thread. It ends when the worker's side is dropped.
fn write(
    mut parts: PartStore,
    commands: &Receiver<Command>,
    outcomes: &Sender<Outcome>,
    waiting: &AtomicUsize,
    worker: &Thread,
) {
    for command in commands {
        let lines = command.lines();
        if let Some(outcome) = parts.take(command)
            && outcomes.send(outcome).is_ok()
        {
            worker.unpark();
        }
        waiting.fetch_sub(lines, Ordering::Relaxed);
    }
}

impl Command {
    /// The approximate amount of work, in lines.
    fn lines(&self) -> usize {
        match self {
            Command::Baskets(baskets) => {
                baskets.iter().map(|basket| 1 + basket.lines.len() + basket.users.len()).sum()
            }
            _ => 0,
        }
    }
}

/// Writes parts to the store, one at a time.
struct PartStore {
    store: Arc<dyn Store>,
    /// `None` after the part is finished or has failed. Then nothing is written until the next part begins.
    part: Option<OpenPart>,
    /// Why the part failed. Reported at its end, when no more of it will come.
    failure: Option<String>,
}

struct OpenPart {
    writer: PartWriter<Box<dyn Put>>,
    name: String,
    /// The partitions whose event ids are in it.
    partitions: Vec<Partition>,
}

impl PartStore {
    fn new(store: Arc<dyn Store>) -> PartStore {
        PartStore { store, part: None, failure: None }
    }

    /// Executes an order. Returns the outcome of the part at its end.
    fn take(&mut self, command: Command) -> Option<Outcome> {
        let done = match command {
            Command::Begin(name, ids) => {
                self.failure = None;
                self.begin(name, &ids)
            }
            Command::Baskets(baskets) => self.baskets(&baskets),
            Command::Finish => {
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
        self.part = Some(OpenPart { writer, name, partitions });
        Ok(())
    }

    fn baskets(&mut self, baskets: &[BasketCopy]) -> Result<(), String> {
        let Some(OpenPart { writer, name, .. }) = &mut self.part else { return Ok(()) };
        let written = baskets.iter().try_for_each(|basket| writer.basket(basket));
        let name = name.clone();
        written.map_err(|error| self.failed(&name, &error))
    }

    fn finish(&mut self) -> Result<Option<Part>, String> {
        let Some(OpenPart { writer, name, partitions }) = self.part.take() else { return Ok(None) };
        let written = writer.finish().and_then(|(put, written)| put.commit().map(|()| written));
        let written = written.map_err(|error| self.failed(&name, &error))?;
        let Written { bytes, crc32, baskets, lines, ids } = written;
        Ok(Some(Part { name, bytes, crc32, baskets, lines, ids, partitions }))
    }

    fn failed(&self, name: &str, error: &io::Error) -> String {
        format!("cannot write {name} to {}: {error}", self.store.place())
    }
}

/// An error with its causes, as text.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}
