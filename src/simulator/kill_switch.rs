//! How long a run of the job lasts: so many calls to the outside, and then, in the middle of whatever it does, nothing
//! that it does has any effect any more.

use super::sim_context::{Fault, SimContext};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use thiserror::Error;

/// Clones are the same one.
#[derive(Clone)]
pub(super) struct KillSwitch(Arc<Inner>);

struct Inner {
    run: usize,
    sim: SimContext,
    left: AtomicU64,
    is_dead: AtomicBool,
    /// Something has happened that may end the job with an error.
    is_excused: AtomicBool,
}

/// It is over.
#[derive(Debug, Error)]
#[error("simulated: killed")]
pub(super) struct Cut;

impl KillSwitch {
    pub(super) fn new(run: usize, sim: &SimContext, calls: u64) -> KillSwitch {
        KillSwitch(Arc::new(Inner {
            run,
            sim: sim.clone(),
            left: AtomicU64::new(calls),
            is_dead: AtomicBool::new(false),
            is_excused: AtomicBool::new(false),
        }))
    }

    /// Which run it is.
    pub(super) fn run(&self) -> usize {
        self.0.run
    }

    /// One call to the outside.
    pub(super) fn burn(&self) -> Result<(), Cut> {
        if self.is_dead() {
            return Err(Cut);
        }
        let left = self.0.left.load(Ordering::Relaxed);
        if left == 0 {
            self.0.sim.hit(Fault::KilledInside);
            self.kill();
            return Err(Cut);
        }
        self.0.left.store(left - 1, Ordering::Relaxed);
        Ok(())
    }

    pub(super) fn kill(&self) {
        self.0.is_dead.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_dead(&self) -> bool {
        self.0.is_dead.load(Ordering::Relaxed)
    }

    /// From now on the job may end with an error, and be right.
    pub(super) fn excuse(&self) {
        self.0.is_excused.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_excused(&self) -> bool {
        self.0.is_excused.load(Ordering::Relaxed)
    }
}
