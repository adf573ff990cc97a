//! The kill switch of a run: after a number of calls to the environment, nothing that the run does has any effect.
//!
//! So a run may be killed in the middle of a turn.

use super::sim_context::{Fault, SimContext};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use thiserror::Error;

/// The kill switch. Clones share it.
#[derive(Clone)]
pub(super) struct KillSwitch(Arc<Inner>);

struct Inner {
    run: usize,
    sim: SimContext,
    left: AtomicU64,
    is_dead: AtomicBool,
    /// A fault has struck after which the job may end with an error.
    is_excused: AtomicBool,
}

/// The error of every call after the run was killed.
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

    /// The number of the run.
    pub(super) fn run(&self) -> usize {
        self.0.run
    }

    /// Counts a call to the environment. Fails once the run has been killed.
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

    /// Allows the job to end with an error from now on.
    pub(super) fn excuse(&self) {
        self.0.is_excused.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_excused(&self) -> bool {
        self.0.is_excused.load(Ordering::Relaxed)
    }
}
