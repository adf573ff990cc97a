//! The destinations of one worker's streams: one sink for all topics, and one for each file.
//!
//! ```text
//! stream 0 ──▶ ┌ topics ── stream 0 ┐
//! stream 1 ──▶ ┤        └─ stream 1 ┴─ one transaction
//! stream 2 ──▶ └ a file
//! ```

use super::{Delivery, Records, Sent, Sink, SinkError, StreamNumber};
use deltacart_dataflows::Epoch;
use std::collections::BTreeMap;

/// Several sinks as one.
#[derive(Default)]
pub(crate) struct SinkSet {
    sinks: Vec<Box<dyn Sink>>,
    /// The sink of each stream, and the number of the stream in that sink.
    routes: BTreeMap<StreamNumber, (usize, StreamNumber)>,
}

impl SinkSet {
    /// Adds a sink. It gets the records of `streams`, and numbers them from 0.
    pub(crate) fn add(&mut self, sink: Box<dyn Sink>, streams: impl IntoIterator<Item = StreamNumber>) {
        let index = self.sinks.len();
        self.routes.extend(streams.into_iter().zip(0..).map(|(stream, number)| (stream, (index, number))));
        self.sinks.push(sink);
    }

    /// Whether the worker writes nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.sinks.is_empty()
    }
}

impl Sink for SinkSet {
    fn send(&mut self, stream: StreamNumber, records: &mut Records) -> Result<(), SinkError> {
        let (sink, number) = self.routes[&stream];
        self.sinks[sink].send(number, records)
    }

    /// The epochs that some sink has not delivered yet are those of the sink that is furthest behind.
    fn poll(&mut self) -> Result<Delivery, SinkError> {
        let mut all = Delivery::default();
        for sink in &mut self.sinks {
            let Delivery { records, epochs } = sink.poll()?;
            all = Delivery { records: all.records + records, epochs: all.epochs.max(epochs) };
        }
        Ok(all)
    }

    fn close_epoch(&mut self, epoch: Epoch) -> Result<(), SinkError> {
        self.sinks.iter_mut().try_for_each(|sink| sink.close_epoch(epoch))
    }

    fn check_not_fenced(&mut self) -> Result<(), SinkError> {
        self.sinks.iter_mut().try_for_each(|sink| sink.check_not_fenced())
    }

    fn partition_of(&self, stream: StreamNumber, key: &[u8]) -> Option<u32> {
        let (sink, number) = *self.routes.get(&stream)?;
        self.sinks[sink].partition_of(number, key)
    }

    fn sent(&self) -> Sent {
        self.sinks.iter().map(|sink| sink.sent()).sum()
    }
}
