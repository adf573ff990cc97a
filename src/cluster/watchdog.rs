//! A watch over the workers of this process: one that does not come round ends it.
//!
//! Other processes see only that this one lives (`pulse`): its pings come from a thread of their own, so that a long
//! step does not look like a death. What hangs inside, in a file that does not answer or on a lock, is found here.
//!
//! Time is counted in turns of the watchdog itself: a process that was stopped as a whole and goes on has lost no more
//! than one of them.

use super::shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;
use tracing::warn;

/// How often each worker of this process has come round.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turns(Arc<[AtomicU64]>);

/// The count of a worker that has not come round at all: it connects and builds, which have time-outs of their own.
const NOT_YET: u64 = 0;

/// The count of a worker that has ended its loop.
const DONE: u64 = u64::MAX;

impl Turns {
    /// For so many workers of this process.
    pub(crate) fn new(threads: usize) -> Turns {
        Turns((0..threads).map(|_| AtomicU64::new(NOT_YET)).collect())
    }

    /// The place of a worker, by its index among all of the cluster.
    fn of(&self, worker: usize) -> Option<&AtomicU64> {
        self.0.get(worker.checked_rem(self.0.len())?)
    }

    /// A worker has come round.
    pub(crate) fn bump(&self, worker: usize) {
        if let Some(turns) = self.of(worker) {
            turns.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A worker has ended its loop.
    pub(crate) fn end(&self, worker: usize) {
        if let Some(turns) = self.of(worker) {
            turns.store(DONE, Ordering::Relaxed);
        }
    }

    fn counts(&self) -> impl Iterator<Item = u64> {
        self.0.iter().map(|turns| turns.load(Ordering::Relaxed))
    }
}

/// How many times the watchdog looks within the time that a worker has.
const LOOKS: u32 = 60;

/// What the watchdog knows.
struct Stalls {
    /// Of each worker the count that was seen last, and how often it was the same.
    seen: Vec<(u64, u32)>,
}

impl Stalls {
    /// Looks at the counts; tells of a worker that stands still, and for how many looks.
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

/// Watches while it is held.
pub(crate) struct Watchdog(Arc<AtomicBool>);

impl Watchdog {
    /// Watches the workers of this process, of which the first has the index `first`.
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
