//! Fencing: takes over the output's transactional ids, so that no earlier run can write to the output any more.
//!
//! Even a run that was suspended for a long time cannot write after that.
//!
//! ```text
//! worker 0:  takes its slots ─┐           ┌─ spare slots ─┐             ┌ still owns slot 0? ┐
//! others:                     └ all know ─┤  own slots    ├─ all know ──┴────────────────────┴─ all know ─▶ running
//! ```
//!
//! Two runs may start at the same time. The one that takes slot 0 last survives; the other finds slot 0 lost before
//! it has published anything. If the other took another slot last, the first transaction of that slot ends this run,
//! too. The next start has no rival.

use crate::output::Sink;
use crate::worker::coordination::{Coordination, Stage};
use crate::worker::environment::Environment;
use anyhow::Result;
use deltacart_inputs::Share;

/// A worker's progress through the stages of fencing.
pub(super) struct Fencing {
    next: Option<Stage>,
    sink: Option<Box<dyn Sink>>,
}

impl Fencing {
    pub(super) fn new() -> Self {
        Fencing { next: Some(Stage::Claimed), sink: None }
    }

    /// Takes the steps that the other workers' progress allows. Returns true once all workers have finished.
    pub(super) fn turn(
        &mut self,
        coordination: &mut Coordination,
        environment: &dyn Environment,
        share: Share,
    ) -> Result<bool> {
        let is_first = share.worker == 0;
        match self.next {
            Some(Stage::Claimed) => {
                if is_first {
                    self.sink = environment.sink(share)?;
                }
                self.pass(coordination, Stage::Claimed, Some(Stage::Fenced));
            }
            Some(Stage::Fenced) if coordination.all_passed(Stage::Claimed).is_some() => {
                if !is_first {
                    self.sink = environment.sink(share)?;
                }
                environment.fence(share)?;
                self.pass(coordination, Stage::Fenced, Some(Stage::Confirmed));
            }
            Some(Stage::Confirmed) if coordination.all_passed(Stage::Fenced).is_some() => {
                if let Some(sink) = self.sink.as_mut().filter(|_| is_first) {
                    sink.check_not_fenced()?;
                }
                tracing::debug!(worker = share.worker, "the output is taken over");
                self.pass(coordination, Stage::Confirmed, None);
            }
            _ => {}
        }
        Ok(self.next.is_none() && coordination.all_passed(Stage::Confirmed).is_some())
    }

    fn pass(&mut self, coordination: &mut Coordination, stage: Stage, next: Option<Stage>) {
        coordination.pass(stage, 0);
        self.next = next;
    }

    /// Hands over the output that was opened.
    pub(super) fn take_sink(&mut self) -> Option<Box<dyn Sink>> {
        self.sink.take()
    }
}
