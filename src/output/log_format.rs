//! The interface of all logs: how a record is written, and its place in the log.

use super::Records;
use anyhow::Result;
use deltacart_dataflows::Epoch;
use timely::ExchangeData;

/// How the records of a log are written and read back.
///
/// A *lane* is a part of the log whose records have an order that follows from the input alone. A record's *place*
/// orders it in its lane, and no two records of a lane have the same place.
pub(crate) trait LogFormat: 'static {
    /// A record before it is encoded.
    type Record: ExchangeData + Clone;
    /// A lane.
    type Lane: ExchangeData + Clone + Ord;
    /// A place in a lane.
    type Place: ExchangeData + Clone + Ord;

    /// Whether a restart that reads input again makes the same records of it. If not, it publishes none of them: only
    /// those of input that comes after it has caught up.
    const REPEATS: bool;

    /// The lane and the place of a record. `None` if it has no place; then it is not published.
    fn place(&self, record: &Self::Record) -> Option<(Self::Lane, Self::Place)>;

    /// The worker that publishes a lane, modulo the number of workers.
    fn route(lane: &Self::Lane) -> u64;

    /// Appends a record, with the epoch that it names.
    fn encode(&self, record: &Self::Record, epoch: Epoch, records: &mut Records);

    /// Reads back the epoch of a record and its place in the log. There is no place if the job does not read that
    /// input any more.
    ///
    /// # Errors
    /// When the record is not one of this log.
    fn read(&self, value: &[u8]) -> Result<EpochAndPlace<Self::Lane, Self::Place>>;
}

/// The epoch of a record, and its lane and place, if the job still reads that input.
pub(crate) type EpochAndPlace<L, P> = (Epoch, Option<(L, P)>);

/// A record of a log as it was read back: its lane, the epoch that it names, and its place in the lane.
pub(crate) type Mark<F> = (<F as LogFormat>::Lane, Epoch, <F as LogFormat>::Place);
