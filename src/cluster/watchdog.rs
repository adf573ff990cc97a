//! The watchdog: ends this process if one of its workers takes no turn for too long.
//!
//! Other processes see only that this one is alive (`heartbeat`). Its pings come from a thread of their own, so that
//! a long step does not look like a dead process. A worker that hangs on a lock, or on a file that does not answer,
//! is found here.
//!
//! Time is counted in looks of the watchdog. A process that was suspended as a whole and continues has lost at most
//! one.

use super::shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;
use tracing::warn;

/// How many turns each worker of this process has taken.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turns(Arc<[AtomicU64]>);

/// The count of a worker that has taken no turn yet. It connects and builds its dataflow, which have their own
/// time-outs.
const NOT_YET: u64 = 0;

/// The count of a worker that has ended its loop.
const DONE: u64 = u64::MAX;

impl Turns {
    /// Counts for this many workers.
    pub(crate) fn new(threads: usize) -> Turns {
        Turns((0..threads).map(|_| AtomicU64::new(NOT_YET)).collect())
    }

    /// The count of a worker, by its index among all workers of the cluster.
    fn of(&self, worker: usize) -> Option<&AtomicU64> {
        self.0.get(worker.checked_rem(self.0.len())?)
    }

    /// Counts a turn of a worker.
    pub(crate) fn bump(&self, worker: usize) {
        if let Some(turns) = self.of(worker) {
            turns.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Notes that a worker has ended its loop.
    pub(crate) fn end(&self, worker: usize) {
        if let Some(turns) = self.of(worker) {
            turns.store(DONE, Ordering::Relaxed);
        }
    }

    fn counts(&self) -> impl Iterator<Item = u64> {
        self.0.iter().map(|turns| turns.load(Ordering::Relaxed))
    }
}

/// How many times the watchdog looks within the stall time-out.
const LOOKS: u32 = 60;

/// The counts of the last look.
struct Stalls {
    /// For each worker its last count, and the number of looks since it changed.
    seen: Vec<(u64, u32)>,
}

impl Stalls {
    /// Looks at the counts. Returns the worker that has stood still for longest, and for how many looks.
    fn look(&mut self, counts: impl Iterator<Item = u64>) -> Option<(usize, u32)> {
        for (seen, count) in self.seen.iter_mut().zip(counts) {
            *seen = match seen {
                (before, looks) if *before == count && ![NOT_YET, DONE].contains(&count) => {
                    (count, *looks + 1)
                }
                _ => (count, 0),
            };
        }
        let worst = self.seen.iter().enumerate().max_by_key(|(_, (_, looks))| *looks);
        worst.map(|(worker, (_, looks))| (worker, *looks)).filter(|(_, looks)| *looks > 0)
    }
}

/// Watches the workers while it is held.
pub(crate) struct Watchdog(Arc<AtomicBool>);

impl Watchdog {
    /// Watches the workers of this process, the first of which has the index `first`, with the stall time-out
    /// `stall`.
    pub(crate) fn start(turns: Turns, first: usize, stall: Duration) -> std::io::Result<Watchdog> {
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let watch = move || {
            let mut stalls = Stalls { seen: vec![(NOT_YET, 0); turns.0.len()] };
            while !over.load(Ordering::Relaxed) {
                thread::sleep(stall / LOOKS);
                match stalls.look(turns.counts()) {
                    Some((worker, LOOKS..)) if !over.load(Ordering::Relaxed) => shutdown::die(&format!(
                        "worker {} has not come round for {stall:?} (--stall-timeout): it hangs, or a step takes longer",
                        first + worker
                    )),
                    Some((worker, looks)) if looks == LOOKS / 2 => {
                        warn!("worker {} has not come round for {:?}", first + worker, stall / 2);
                    }
                    _ => {}
                }
            }
        };
        thread::Builder::new().name("watchdog".to_owned()).spawn(watch)?;
        Ok(Watchdog(is_over))
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_stands_still_is_found_and_others_are_not() {
        let turns = Turns::new(3);
        let mut stalls = Stalls { seen: vec![(NOT_YET, 0); 3] };
        // Of processes with three workers each, this is the second: worker 5 is its last.
        turns.bump(5);
        for looks in 0..100 {
            turns.bump(3);
            let found = stalls.look(turns.counts());
            assert_eq!(found, (looks > 0).then_some((2, looks)), "worker 4 has not begun");
        }
        turns.bump(5);
        assert_eq!(stalls.look(turns.counts()), Some((0, 1)), "now it is the first that has not moved");
        for worker in 3..6 {
            turns.end(worker);
        }
        for _ in 0..100 {
            assert_eq!(stalls.look(turns.counts()), None, "who is done may stand still");
        }
    }
}
