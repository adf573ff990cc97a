//! Taking the output over, so that no earlier run, however long it slept, can write to it any more.
//!
//! ```text
//! worker 0:  takes its slots ─┐           ┌─ spare slots ─┐             ┌ has it slot 0 still? ┐
//! others:                     └ all know ─┤  own slots    ├─ all know ──┴──────────────────────┴─ all know ─▶ go on
//! ```
//!
//! Of two runs that start at the same time the one that takes slot 0 last goes on: the other finds slot 0 lost before
//! it has published anything. If the other took another slot last, the first transaction of that slot ends this one,
//! too; its next start has nobody beside it.

use crate::output::Sink;
use crate::worker::coordination::{Coordination, Stage};
use crate::worker::environment::Environment;
use anyhow::Result;
use deltacart_inputs::Share;

/// How far a worker has got with it.
pub(super) struct Fencing {
    next: Option<Stage>,
    sink: Option<Box<dyn Sink>>,
}

impl Fencing {
    pub(super) fn new() -> Self {
        Fencing { next: Some(Stage::Claimed), sink: None }
    }

    /// Goes as far as the others allow; true when it is done.
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
                    sink.confirm()?;
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

    /// What was taken over.
    pub(super) fn take_sink(&mut self) -> Option<Box<dyn Sink>> {
        self.sink.take()
    }
}
