//! The epoch writer of one worker: hands the encoded records of all streams to the sink, epoch by epoch.
//!
//! ```text
//! stream 0 ── encode ──▶ records ─┐
//! stream 1 ── encode ──▶ records ─┴──▶ sink: the records of an epoch, then its end
//! ```

use super::publisher::StreamPublisher;
use crate::first_error::FirstError;
use crate::output::{Records, Sent, Sink, SinkError, StreamNumber};
use crate::summary::{Counter, Tally};
use deltacart_dataflows::Epoch;
use std::cell::RefCell;
use std::rc::Rc;

/// How many bytes of a stream are encoded ahead of the sink when many records are to be sent at once.
const ENCODED_BYTES: usize = 1 << 20;

/// Hands records to the sink of one worker.
pub(crate) struct EpochWriter {
    /// `None` on workers that publish nothing.
    sink: Option<Box<dyn Sink>>,
    tally: Rc<RefCell<Tally>>,
    first_error: FirstError,
    /// The epoch that is being handed to the sink.
    open: Option<Epoch>,
    /// The sink's counts that have been added to `tally` already.
    counted: Sent,
}

/// A stream on one worker: what publishes it, and its encoded records that the sink has not taken yet.
pub(super) struct OutputQueue {
    pub(super) number: StreamNumber,
    pub(super) publisher: Box<dyn StreamPublisher>,
    pub(super) records: Records,
}

impl EpochWriter {
    pub(crate) fn new(
        sink: Option<Box<dyn Sink>>,
        tally: Rc<RefCell<Tally>>,
        first_error: FirstError,
    ) -> Self {
        EpochWriter { sink, tally, first_error, open: None, counted: Sent::default() }
    }

    /// The partition that a stream's records of `key` go to, if its destination has partitions.
    pub(super) fn partition_of(&self, stream: StreamNumber, key: &[u8]) -> Option<u32> {
        self.sink.as_ref().and_then(|sink| sink.partition_of(stream, key))
    }

    /// Whether another epoch may follow: the sink has taken all records of the one before.
    pub(super) fn has_room(&self) -> bool {
        self.open.is_none()
    }

    /// Begins to hand an epoch to the sink. Its records are in the queues, or are encoded as there is room.
    pub(super) fn open(&mut self, epoch: Epoch) {
        self.open = Some(epoch);
    }

    /// Sets the first error, which ends the job.
    pub(super) fn fail(&self, error: anyhow::Error) {
        self.first_error.set(error);
    }

    /// Continues delivery, and returns how many of the last epochs have not been delivered; `None` after a failure.
    pub(super) fn push(&mut self, queues: &mut [OutputQueue]) -> Option<usize> {
        if self.first_error.is_some() {
            return None;
        }
        match self.try_push(queues) {
            Ok(epochs) => {
                self.count();
                Some(epochs)
            }
            Err(error) => {
                self.first_error.set(error.into());
                None
            }
        }
    }

    fn try_push(&mut self, queues: &mut [OutputQueue]) -> Result<usize, SinkError> {
        let mut is_sent = true;
        for OutputQueue { number, publisher, records } in queues {
            publisher.encode_more(records, ENCODED_BYTES);
            // Records never reach a worker without a destination for them.
            if let (Some(sink), false) = (&mut self.sink, records.is_empty()) {
                sink.send(*number, records)?;
            }
            is_sent &= records.is_empty() && !publisher.has_more();
        }
        let closed = if is_sent { self.open.take() } else { None };
        let Some(sink) = &mut self.sink else { return Ok(usize::from(self.open.is_some())) };
        if let Some(epoch) = closed {
            sink.close_epoch(epoch)?;
        }
        Ok(sink.poll()?.epochs + usize::from(self.open.is_some()))
    }

    fn count(&mut self) {
        let Some(sink) = &self.sink else { return };
        let (sent, before) = (sink.sent(), std::mem::replace(&mut self.counted, sink.sent()));
        let mut tally = self.tally.borrow_mut();
        tally.add(Counter::RecordsOut, sent.records - before.records);
        tally.add(Counter::BytesOut, sent.bytes - before.bytes);
    }
}
