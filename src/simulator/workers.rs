//! Timely workers that all live on one thread and are stepped by hand.
//!
//! ```text
//! worker 0 ──bytes──▶ queue ──▶ worker 1        one queue for each ordered pair, also from a worker to itself
//!                       └ the link: delivers some of the bytes that are there, or none yet
//! ```
//!
//! Timely builds each worker on a thread of its own, because each waits until all others have introduced themselves.
//! While it does so it asks, for each of its queues, for a policy that spills bytes when there are too many. In the
//! last of these requests the next worker can be built. The policy also decides when bytes are delivered, and so
//! makes a link slow.

use super::sim_context::{Fault, SimContext};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex};
use timely::bytes::arc::Bytes;
use timely::communication::Allocator;
use timely::communication::allocator::zero_copy::bytes_exchange::QueueEntry;
use timely::communication::allocator::zero_copy::bytes_slab::BytesRefill;
use timely::communication::allocator::zero_copy::spill::{BytesFetch, SpillPolicy, SpillPolicyFn};
use timely::communication::allocator::{Process, ProcessBuilder};
use timely::worker::Worker;

thread_local! {
    static UNBUILT: RefCell<Vec<ProcessBuilder>> = const { RefCell::new(Vec::new()) };
    static BUILT: RefCell<Vec<Process>> = const { RefCell::new(Vec::new()) };
    static ASKED: Cell<usize> = const { Cell::new(0) };
}

/// Builds the workers of one job.
pub(super) fn workers(count: usize, sim: &SimContext) -> Vec<Worker> {
    let links = sim.clone();
    let policy: SpillPolicyFn = Arc::new(move || {
        ASKED.set(ASKED.get() + 1);
        if ASKED.get().is_multiple_of(count) {
            build_next();
        }
        (Box::new(Sending), Box::new(Receiving(links.clone())))
    });
    ASKED.set(0);
    // The last worker is begun first. At its last request a builder has handed its queues to all workers except the
    // last one, so all other workers can be completed within that request.
    let builders = ProcessBuilder::new_bytes_vector(count, buffers(), Some(policy));
    UNBUILT.with_borrow_mut(|unbuilt| *unbuilt = builders);
    build_next();
    let built = BUILT.take();
    assert_eq!(built.len(), count, "every worker is built within another");
    // No timer: delayed activations run at the next step.
    let worker = |process| Worker::new(config(), Allocator::Process(process), None);
    built.into_iter().map(worker).collect()
}

fn build_next() {
    if let Some(builder) = UNBUILT.with_borrow_mut(Vec::pop) {
        let process = builder.build();
        BUILT.with_borrow_mut(|built| built.push(process));
    }
}

fn config() -> timely::WorkerConfig {
    let mut config = timely::WorkerConfig::default();
    differential_dataflow::configure(&mut config, &differential_dataflow::Config::default());
    config
}

/// The sending end of a link. It wraps bytes so that the receiving end decides when they arrive.
struct Sending;

impl SpillPolicy for Sending {
    fn apply(&mut self, queue: &mut VecDeque<QueueEntry>) {
        for entry in queue {
            if let QueueEntry::Bytes(bytes) = entry {
                *entry = QueueEntry::Paged(Box::new(OnItsWay(bytes.clone())));
            }
        }
    }
}

/// The receiving end of a link. It delivers bytes in order.
struct Receiving(SimContext);

impl SpillPolicy for Receiving {
    fn apply(&mut self, queue: &mut VecDeque<QueueEntry>) {
        if queue.is_empty() {
            return;
        }
        let late = match self.0.strikes(Fault::SlowLink) {
            true => 1 + self.0.below(queue.len() as u64) as usize,
            false => 0,
        };
        let arrived = queue.len() - late;
        let waiting = queue.split_off(arrived);
        for entry in std::mem::replace(queue, waiting).into_iter().rev() {
            let bytes = match entry {
                QueueEntry::Bytes(bytes) => vec![bytes],
                QueueEntry::Paged(on_its_way) => on_its_way.fetch().unwrap_or_default(),
            };
            bytes.into_iter().rev().for_each(|bytes| queue.push_front(QueueEntry::Bytes(bytes)));
        }
    }
}

struct OnItsWay(Bytes);

impl BytesFetch for OnItsWay {
    fn fetch(self: Box<Self>) -> Result<Vec<Bytes>, Box<dyn BytesFetch>> {
        Ok(vec![self.0])
    }
}

/// Buffers are large and many and runs are short, so buffers are reused.
fn buffers() -> BytesRefill {
    BytesRefill { logic: Arc::new(|size| Box::new(Buffer::of(size))), limit: None }
}

static POOL: Mutex<Vec<Box<[u8]>>> = Mutex::new(Vec::new());

struct Buffer(Box<[u8]>);

impl Buffer {
    fn of(size: usize) -> Buffer {
        let mut pool = POOL.lock().unwrap();
        match pool.iter().rposition(|bytes| bytes.len() == size) {
            Some(place) => Buffer(pool.swap_remove(place)),
            None => Buffer(vec![0; size].into_boxed_slice()),
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Ok(mut pool) = POOL.lock() {
            pool.push(std::mem::take(&mut self.0));
        }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}
